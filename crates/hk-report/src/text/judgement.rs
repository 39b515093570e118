//! What the baseline and the suppressions made of a run.

use super::{Lines, clean};
use crate::fold::own_frame;
use crate::judge::Judgement;
use crate::model::{Finding, Report};
use crate::sentence::title;
use crate::suppress::by_id;
use crate::units::count;
use hk_symbols::short_name;

/// Names that one line has at most.
const NAMED_MAX: usize = 3;

/// The lines that follow the summary; none where there is nothing to say. With `offer`, how to suppress the first new finding.
pub fn judgement_text(judgement: &Judgement, report: &Report, offer: bool) -> String {
    let mut lines = Lines::default();
    not_seen(&mut lines, judgement);
    for remark in &judgement.remarks {
        lines.push(&format!("note: {}", clean(remark)));
    }
    unused(&mut lines, judgement);
    if let Some(finding) = report.findings.iter().find(|finding| offer && finding.status == "new") {
        how_to_suppress(&mut lines, finding);
    }
    lines.text
}

fn not_seen(lines: &mut Lines, judgement: &Judgement) {
    let ids = some_of(judgement.not_seen.iter().map(|known| known.id.as_str()));
    match judgement.not_seen.len() as u64 {
        0 => {}
        1 => lines.push(&format!(
            "1 known finding was not seen again: {ids} ({})",
            clean(&judgement.not_seen[0].message)
        )),
        n => lines.push(&format!("{} were not seen again: {ids}", count(n, "known finding"))),
    }
}

fn unused(lines: &mut Lines, judgement: &Judgement) {
    let n = judgement.unused.len() as u64;
    if n > 0 {
        let (were, names) =
            (if n == 1 { "was" } else { "were" }, some_of(judgement.unused.iter().map(String::as_str)));
        lines.push(&format!("{} {were} not used: {names}", count(n, "suppression")));
    }
    for (why, &n) in &judgement.not_applicable {
        let does = if n == 1 { "does" } else { "do" };
        lines.push(&format!("{} {does} not apply: {}", count(n, "suppression"), clean(why)));
    }
}

fn some_of<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(NAMED_MAX);
    let mut shown: Vec<String> = names.take(NAMED_MAX).map(clean).collect();
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}

/// Ready to be copied.
fn how_to_suppress(lines: &mut Lines, finding: &Finding) {
    lines.push(&format!("to suppress {}, put this into a file for --suppressions FILE:", finding.id));
    let name = match own_frame(&finding.stack).and_then(|frame| frame.function.as_deref()) {
        Some(function) => format!("{} in {}", title(&finding.kind), short_name(function)),
        None => title(&finding.kind).into(),
    };
    for line in by_id(&finding.id, &clean(&name)) {
        lines.push(&format!("  {line}"));
    }
}
