//! What the HTML page holds, and what can never get into it.

mod common;

use common::samples;
use hk_report::to_html;

#[test]
fn it_needs_nothing_from_elsewhere() {
    let html = to_html(&samples::with_everything());
    assert!(html.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"));
    for fetched in ["src=", "@import", "url(", "<link rel=\"stylesheet", "<iframe", "<img"] {
        assert!(!html.contains(fetched), "{fetched}");
    }
    assert!(html.contains("<meta name=\"viewport\" content=\"width=device-width"));
}

#[test]
fn what_programs_are_called_is_text() {
    let mut report = samples::with_everything();
    let evil = "<script>alert(1)</script>\"'>\u{202e}\u{1b}";
    for finding in &mut report.findings {
        finding.id = evil.into();
        finding.kind = evil.into();
        finding.status = evil.into();
        finding.message = evil.into();
        finding.evidence = evil.into();
        finding.thread.name = evil.into();
        finding.process.exe = evil.into();
        finding.fix = Some(evil.into());
        finding.suppressed_by = Some(evil.into());
        if let Some(culprit) = &mut finding.culprit {
            (culprit.function, culprit.place, culprit.confidence) =
                (evil.into(), Some(evil.into()), evil.into());
            culprit.reasons = vec![evil.into()];
        }
        for frame in &mut finding.stack {
            (frame.function, frame.file, frame.module) =
                (Some(evil.into()), Some(evil.into()), Some(evil.into()));
            frame.source = Some(evil.into());
        }
        if let Some(life) = &mut finding.life {
            (life.allocated.thread.name, life.allocated.stack_state) = (evil.into(), evil.into());
            life.allocated.stack.clone_from(&finding.stack);
        }
    }
    report.command = Some(vec![evil.into()]);
    report.processes[0].exe = evil.into();
    report.not_covered[0].reason = evil.into();
    report.notes[0].message = evil.into();
    report.missing_debug_info[0].build_id = evil.into();
    let html = to_html(&report);
    assert!(!html.contains("<script>alert"));
    assert!(!html.contains(['\u{202e}', '\u{1b}']));
    assert!(!html.contains("\"'>"));
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert_eq!(html.matches("<script>").count(), 1);
}

#[test]
fn a_finding_says_what_who_and_what_to_do() {
    let html = to_html(&samples::with_everything());
    let start = html.find("<article class=\"finding\" id=\"HK-DF-3f9a01c2\"").unwrap();
    let article = &html[start..start + html[start..].find("</article>").unwrap()];
    for part in [
        "<span class=\"kind\">Double free</span> session_close() frees a 42-byte block \
         that cache_evict() had freed 1.8 ms earlier",
        "https://cwe.mitre.org/data/definitions/415.html",
        "seen 3 times in 2 processes",
        "<h3>Likely culprit</h3>",
        "high confidence",
        "<h3>What to do</h3>",
        "in use for 17 ms",
        "free for 1.8 ms",
        "at the start of the block",
        "3 library frames",
        "free(session-&gt;name);",
    ] {
        assert!(article.contains(part), "{part}");
    }
}

#[test]
fn a_clean_run_says_so() {
    let html = to_html(&samples::without_findings());
    assert!(html.contains("<h1>No memory bugs seen in shop</h1>"));
    assert!(!html.contains("<article"));
}

/// A report from elsewhere may hold any number.
#[test]
fn absurd_numbers_are_drawn_somehow() {
    let mut report = samples::with_everything();
    for finding in &mut report.findings {
        (finding.time_ns, finding.repeats) = (u64::MAX, u64::MAX);
        if let Some(block) = &mut finding.block {
            (block.bytes, block.offset) = (u64::MAX, i64::MIN);
        }
        if let Some(life) = &mut finding.life {
            (life.pages_start.0, life.pages_end.0) = (u64::MAX, 0);
        }
    }
    for process in &mut report.processes {
        process.figures.live_peak_bytes.value = u64::MAX;
    }
    let html = to_html(&report);
    assert!(!html.contains("NaN") && !html.contains("=\"inf"));
}
