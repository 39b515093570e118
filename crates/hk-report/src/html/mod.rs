//! The report as one HTML file that needs nothing else: no network, no script for reading, no server.
//!
//! A finding is read from top to bottom: what happened, who probably did it, what to do, the block's life and
//! where the access went as drawings, then the stacks. All text that came from programs passes through
//! [`markup::escaped`](crate::markup::escaped).

mod facts;
mod finding;
mod page;
mod run;
mod stack;
mod svg;
mod timeline;

use crate::markup::escaped;
use crate::model::{Finding, Report};
use crate::status::is_new;
use crate::units::count;
use std::collections::HashSet;
use std::fmt::Write;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// Nothing is ever fetched, whatever a name in the report looks like.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

/// The whole page.
pub fn to_html(report: &Report) -> String {
    let findings = in_reading_order(report);
    let headline = escaped(&headline(report, &findings));
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>{headline}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
    );
    html.push_str(&header(report, &headline));
    let anchors = anchors(&findings);
    if !findings.is_empty() {
        html.push_str(&contents(&findings, &anchors));
    }
    for (at, finding) in findings.iter().enumerate() {
        html.push_str(&finding::article(finding, at, &anchors[at]));
    }
    html.push_str(&run::section(report));
    let _ = write!(html, "</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n");
    html
}

/// What is new comes first.
fn in_reading_order(report: &Report) -> Vec<&Finding> {
    let mut findings: Vec<&Finding> = report.findings.iter().collect();
    findings.sort_by_key(|finding| !is_new(finding));
    findings
}

/// Where links to the findings lead: their ids, which are the same in every report of the bug. Of what is no
/// id, or is there twice, the number on this page.
fn anchors(findings: &[&Finding]) -> Vec<String> {
    let mut taken = HashSet::new();
    let mut anchors = Vec::new();
    for (at, finding) in findings.iter().enumerate() {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let is_id = finding.id.starts_with("HK-") && finding.id.chars().all(is_plain);
        let is_usable = is_id && taken.insert(finding.id.as_str());
        anchors.push(if is_usable { finding.id.clone() } else { format!("finding-{}", at + 1) });
    }
    anchors
}

fn headline(report: &Report, findings: &[&Finding]) -> String {
    let program = match report.command.as_ref().and_then(|command| command.first()) {
        Some(program) => format!(" in {}", crate::fold::file_name(program)),
        None => String::new(),
    };
    let new = findings.iter().filter(|finding| is_new(finding)).count();
    match (new, findings.len()) {
        (0, 0) => format!("No memory bugs seen{program}"),
        (0, _) => format!("No new memory bugs{program}"),
        (1, _) => format!("1 memory bug{program}"),
        (n, _) => format!("{n} memory bugs{program}"),
    }
}

fn header(report: &Report, headline: &str) -> String {
    let mut html =
        format!("<header class=\"top\">\n<p class=\"brand\">Heapkeeper</p>\n<h1>{headline}</h1>\n");
    if let Some(command) = &report.command {
        let _ = writeln!(html, "<p class=\"command\"><code>{}</code></p>", escaped(&command.join(" ")));
    }
    let _ = writeln!(html, "<ul class=\"counts\">{}</ul>\n</header>", counts(report));
    html
}

/// The run in a line of short statements.
fn counts(report: &Report) -> String {
    let with =
        |status: &str| report.findings.iter().filter(|finding| finding.status == status).count() as u64;
    let summary = &report.summary;
    let ended = match (report.exit_status, report.exit_signal) {
        (_, Some(signal)) => Some(format!("ended by signal {signal}")),
        (Some(status), None) => Some(format!("exit status {status}")),
        (None, None) => None,
    };
    let some = |n: u64, text: String| (n > 0).then_some(text);
    let statements = [
        some(summary.bad_calls, count(summary.bad_calls, "bad call")),
        some(with("known"), format!("{} known before", with("known"))),
        some(with("suppressed"), format!("{} suppressed", with("suppressed"))),
        Some(format!("{} covered", count(summary.processes, "process"))),
        some(summary.not_covered, format!("{} not covered", count(summary.not_covered, "program"))),
        ended,
    ];
    statements.iter().flatten().map(|text| format!("<li>{}</li>", escaped(text))).collect()
}

/// Links to the findings; the script adds a filter to it.
fn contents(findings: &[&Finding], anchors: &[String]) -> String {
    let mut html = String::from("<nav class=\"contents\" aria-label=\"Findings\">\n<ol>\n");
    for (at, finding) in findings.iter().enumerate() {
        let (kind, sentence) = finding::headline(finding);
        let _ = writeln!(
            html,
            "<li{}><a href=\"#{}\"><span class=\"kind\">{kind}</span> \
             <span class=\"what\">{sentence}</span>{}</a></li>",
            if is_new(finding) { "" } else { " class=\"accepted\"" },
            anchors[at],
            finding::status_mark(finding),
        );
    }
    html.push_str("</ol>\n</nav>\n");
    html
}
