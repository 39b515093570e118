//! The JUnit form: well-formed, as the schema of Jenkins wants it, and counted right.

mod common;

use common::samples;
use hk_report::to_junit;
use std::process::Command;

/// Only what a parser takes is XML: escape sequences of terminals and other characters that it forbids are
/// not.
#[test]
fn it_is_well_formed_and_counts_right() {
    let xml = to_junit(&samples::with_everything());
    let document = roxmltree::Document::parse(&xml).unwrap();
    let suite = document.descendants().find(|node| node.has_tag_name("testsuite")).unwrap();
    let number = |name: &str| suite.attribute(name).unwrap().parse::<usize>().unwrap();
    let count = |name: &str| suite.descendants().filter(|node| node.has_tag_name(name)).count();
    assert_eq!(suite.attribute("name"), Some("heapkeeper"));
    assert_eq!((number("tests"), number("failures"), number("skipped")), (14, 12, 2));
    assert_eq!((count("testcase"), count("failure"), count("skipped")), (14, 12, 2));
    let first = suite.descendants().find(|node| node.has_tag_name("failure")).unwrap();
    assert!(first.attribute("message").unwrap().starts_with("double free (CWE-415): session_close()"));
    assert!(first.text().unwrap().contains("#0 session_close"));
    let skipped = suite.descendants().rfind(|node| node.has_tag_name("skipped")).unwrap();
    assert!(skipped.attribute("message").unwrap().ends_with("owner <net team>)"));
}

#[test]
fn a_clean_run_is_one_passed_test() {
    let xml = to_junit(&samples::without_findings());
    let document = roxmltree::Document::parse(&xml).unwrap();
    let tests: Vec<_> = document.descendants().filter(|node| node.has_tag_name("testcase")).collect();
    assert_eq!(tests.len(), 1);
    assert!(!tests[0].has_children());
}

#[test]
fn it_fits_the_schema_of_jenkins_by_xmllint() {
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemas/junit-10.xsd");
    let folder = tempfile::tempdir().unwrap();
    for (name, report) in [("all.xml", samples::with_everything()), ("none.xml", samples::without_findings())]
    {
        let path = folder.path().join(name);
        std::fs::write(&path, to_junit(&report)).unwrap();
        let Ok(checked) = Command::new("xmllint").args(["--noout", "--schema", schema]).arg(&path).output()
        else {
            eprintln!("skipped: xmllint is not there; apt-get install libxml2-utils");
            return;
        };
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
}
