//! The published schema of the JSON report: whatever we write fits it, and there is no field that it does not
//! describe.

mod common;

use common::samples;
use hk_report::{JSON_SCHEMA, Report, to_json};
use serde_json::{Value, json};

fn schema() -> Value {
    serde_json::from_str(JSON_SCHEMA).unwrap()
}

fn errors(schema: &Value, report: &Value) -> Vec<String> {
    let validator = jsonschema::draft202012::new(schema).unwrap();
    validator.iter_errors(report).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn json_of(report: &Report) -> Value {
    serde_json::from_str(&to_json(report)).unwrap()
}

/// Readers must take fields of later versions, so the published schema does; this one takes none but those
/// described.
fn strict(mut schema: Value) -> Value {
    fn close(node: &mut Value) {
        match node {
            Value::Object(fields) => {
                if fields.contains_key("properties") && fields.get("type") == Some(&json!("object")) {
                    fields.insert("additionalProperties".into(), json!(false));
                }
                fields.values_mut().for_each(close);
            }
            Value::Array(values) => values.iter_mut().for_each(close),
            _ => {}
        }
    }
    close(&mut schema);
    schema
}

#[test]
fn the_schema_is_one() {
    assert!(jsonschema::meta::is_valid(&schema()));
}

#[test]
fn reports_hold_nothing_that_is_not_described() {
    let strict = strict(schema());
    for report in [samples::with_everything(), samples::without_findings()] {
        let errors = errors(&strict, &json_of(&report));
        assert!(errors.is_empty(), "{errors:#?}");
    }
}

/// What is optional in the model is there in one finding and absent in another, so each branch is seen.
#[test]
fn the_samples_have_all_that_is_optional_and_lack_it() {
    let report = json_of(&samples::with_everything());
    let findings = report["findings"].as_array().unwrap();
    for field in ["access", "block", "region", "life", "population", "culprit", "fix", "suppressed_by"] {
        assert!(findings.iter().any(|finding| finding[field].is_null()), "{field} is never absent");
        assert!(findings.iter().any(|finding| !finding[field].is_null()), "{field} is always absent");
    }
}

#[test]
fn a_report_of_a_later_version_is_taken_and_a_wrong_one_refused() {
    let mut report = json_of(&samples::with_everything());
    report["findings"][0]["a_later_field"] = json!(1);
    assert!(errors(&schema(), &report).is_empty());
    assert!(!errors(&strict(schema()), &report).is_empty());
    report["findings"][0]["address"] = json!(4096);
    report["findings"][1]["kind"] = json!("bad luck");
    assert_eq!(errors(&schema(), &report).len(), 2);
}

#[test]
fn everything_is_described_and_what_is_required_exists() {
    fn check(path: &str, node: &Value) {
        let Value::Object(fields) = node else { return };
        for (name, field) in fields.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let described = field.get("description").is_some() || field.get("$ref").is_some();
            assert!(described, "{path}/{name}");
            check(&format!("{path}/{name}"), field);
        }
        for name in fields.get("required").and_then(Value::as_array).into_iter().flatten() {
            assert!(fields["properties"].get(name.as_str().unwrap()).is_some(), "{path} requires {name}");
        }
    }
    let schema = schema();
    check("", &schema);
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        assert!(definition.get("description").is_some(), "{name}");
        check(name, definition);
    }
}
