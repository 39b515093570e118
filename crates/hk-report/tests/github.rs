//! Workflow commands: one per line, at the right place, no more than are shown.

mod common;

use common::samples;
use hk_report::to_github;
use std::path::Path;

fn lines(report: &hk_report::Report) -> Vec<String> {
    to_github(report, Path::new(samples::ROOT)).lines().map(str::to_owned).collect()
}

#[test]
fn ten_errors_are_shown_and_the_others_counted() {
    let lines = lines(&samples::with_everything());
    assert_eq!(lines.len(), 11);
    assert!(lines[..10].iter().all(|line| line.starts_with("::error ")), "{lines:#?}");
    assert!(lines[10].starts_with("::notice title=Heapkeeper::2 more findings are not shown"));
    assert!(!lines.iter().any(|line| line.contains("image_blur") || line.contains("reply_send")));
}

#[test]
fn a_command_names_the_line_and_the_culprit() {
    let first = &lines(&samples::with_everything())[0];
    let head = "::error file=src/session.c,line=19,title=double free HK-DF-3f9a01c2::\
        double free (CWE-415): session_close() frees";
    assert!(first.starts_with(head), "{first}");
    assert!(first.contains("%0ALikely culprit (high confidence): cache_evict at cache.c:22%0A- 4119 of"));
}

#[test]
fn without_new_findings_nothing_is_said() {
    assert!(lines(&samples::without_findings()).is_empty());
    let mut known = samples::with_everything();
    known.findings.iter_mut().for_each(|finding| finding.status = "known".into());
    assert!(lines(&known).is_empty());
}
