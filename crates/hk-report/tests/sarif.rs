//! The SARIF form against the format's own schema, and what services make use of.

mod common;

use common::samples;
use hk_report::to_sarif;
use serde_json::Value;
use std::path::Path;

fn log(report: &hk_report::Report) -> Value {
    serde_json::from_str(&to_sarif(report, Path::new(samples::ROOT))).unwrap()
}

fn results() -> Vec<Value> {
    log(&samples::with_everything())["runs"][0]["results"].as_array().unwrap().clone()
}

#[test]
fn logs_fit_the_schema() {
    // The schema's pattern for languages has a bracket too many and is no regular expression; we name no
    // language.
    let schema = include_str!("schemas/sarif-schema-2.1.0.json").replace("[a-zA-Z]{2}]?$", "[a-zA-Z]{2}$");
    let schema = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    for report in [samples::with_everything(), samples::without_findings()] {
        let log = log(&report);
        let errors: Vec<String> =
            validator.iter_errors(&log).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
    assert!(!validator.is_valid(&serde_json::json!({ "version": "2.1.0" })));
}

#[test]
fn a_result_points_into_the_sources() {
    let result = &results()[0];
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "src/session.c");
    assert_eq!(place["artifactLocation"]["uriBaseId"], "SRCROOT");
    assert_eq!(place["region"]["startLine"], 19);
    assert_eq!(result["partialFingerprints"]["heapkeeperBug/v1"], "HK-DF-3f9a01c2");
    assert_eq!(result["ruleId"], "double-free");
    assert_eq!(result["stacks"].as_array().unwrap().len(), 3);
    let names = &results()[1]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
    assert_eq!(names, "src/kasse/z%C3%A4hler%201.cc");
}

#[test]
fn the_flow_follows_the_life_of_the_block() {
    let flow = &results()[0]["codeFlows"][0]["threadFlows"];
    let mut moments: Vec<(u64, String)> = flow
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|thread| thread["locations"].as_array().unwrap())
        .map(|place| {
            let order = place["executionOrder"].as_u64().unwrap();
            (order, place["location"]["message"]["text"].as_str().unwrap().to_owned())
        })
        .collect();
    moments.sort();
    assert_eq!(moments[0].1, "allocated in thread main (4711), 1.0 ms after the start of the process");
    assert_eq!(moments[1].1, "freed in thread evictor (4730), 18 ms after the start of the process");
    assert_eq!(moments[2].1, "freed again in thread main (4711), 20 ms after the start of the process");
}

#[test]
fn known_and_suppressed_results_say_so() {
    let results = results();
    assert_eq!(results[0]["baselineState"], "new");
    assert_eq!(results[0]["suppressions"], serde_json::json!([]));
    assert_eq!(results[3]["baselineState"], "unchanged");
    let suppression = &results[5]["suppressions"][0];
    assert_eq!(suppression["kind"], "external");
    assert!(suppression["justification"].as_str().unwrap().contains("2027-01-31"));
}

/// What a viewer looks up by index must be what is named.
#[test]
fn indices_lead_to_what_they_name() {
    let log = log(&samples::with_everything());
    let run = &log["runs"][0];
    let (rules, taxa) = (&run["tool"]["driver"]["rules"], &run["taxonomies"][0]["taxa"]);
    let index = |value: &Value| value["index"].as_u64().unwrap() as usize;
    for result in run["results"].as_array().unwrap() {
        let rule = &rules[result["ruleIndex"].as_u64().unwrap() as usize];
        assert_eq!(rule["id"], result["ruleId"]);
        for taxon in result["taxa"].as_array().unwrap() {
            assert_eq!(taxa[index(taxon)]["id"], taxon["id"]);
            assert_eq!(rule["relationships"][0]["target"]["id"], taxon["id"]);
        }
    }
}
