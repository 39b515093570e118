//! A finding's facts in one line: which bug, how often, where, and what shows it.

use super::finding::status_mark;
use crate::fold::file_name;
use crate::kinds::{cwe_page, facts};
use crate::markup::escaped;
use crate::model::Finding;
use crate::units::count;

/// The line, and below it what takes a sentence.
pub(super) fn line(finding: &Finding) -> String {
    let facts = [weakness(finding), id(finding), Some(seen(finding)), thread(finding), process(finding)];
    let items: String = facts.iter().flatten().map(|fact| format!("<li>{fact}</li>")).collect();
    format!("<ul class=\"facts\">{items}</ul>\n<p class=\"evidence\">{}</p>\n", sentences(finding))
}

fn weakness(finding: &Finding) -> Option<String> {
    (finding.cwe != 0).then(|| {
        let name =
            facts(&finding.kind).map_or(String::new(), |facts| format!(": {}", escaped(facts.cwe_name)));
        format!("<a href=\"{}\" rel=\"noreferrer\">CWE-{}{name}</a>", cwe_page(finding.cwe), finding.cwe)
    })
}

fn id(finding: &Finding) -> Option<String> {
    let mark = status_mark(finding);
    (!finding.id.is_empty() || !mark.is_empty())
        .then(|| format!("<code>{}</code>{mark}", escaped(&finding.id)))
}

fn seen(finding: &Finding) -> String {
    match (finding.repeats, finding.process_count) {
        (0 | 1, _) => "seen once".into(),
        (2, 0 | 1) => "seen twice".into(),
        (n, 0 | 1) => format!("seen {n} times"),
        (n, processes) => format!("seen {n} times in {}", count(processes, "process")),
    }
}

fn thread(finding: &Finding) -> Option<String> {
    let thread = &finding.thread;
    (thread.id != 0).then(|| format!("thread <code>{}</code> ({})", escaped(&thread.name), thread.id))
}

fn process(finding: &Finding) -> Option<String> {
    let process = &finding.process;
    let name = escaped(file_name(&process.exe));
    (process.pid != 0).then(|| format!("process <code>{name}</code> ({})", process.pid))
}

/// How it was noticed, what did it, where, and what became of the program.
fn sentences(finding: &Finding) -> String {
    let noticed = match finding.evidence.as_str() {
        "call" => "The heap knows its blocks, and refused the call.",
        "trap" => "The processor stopped the access at a guarded page.",
        "canary" if finding.kind == "use-after-free" => {
            "Bytes of the freed block were found overwritten: the write itself was not seen."
        }
        "canary" => "Bytes around the block were found overwritten: the write itself was not seen.",
        "buffer" => "The buffer was looked at before the system call.",
        "scan" => "All memory was looked through: nothing leads to the block any more.",
        _ => "",
    };
    let instruction = finding.access.as_ref().and_then(|access| access.instruction.as_ref());
    let instruction =
        instruction.map_or(String::new(), |text| format!(" Instruction: <code>{}</code>.", escaped(text)));
    let opened = match finding.life.as_ref().is_some_and(|life| life.opened) && finding.evidence == "trap" {
        true => " The guard was taken away, so that the program goes on.",
        false => "",
    };
    let aborted = if finding.aborted { " The process was stopped by SIGABRT because of it." } else { "" };
    let suppressed = match &finding.suppressed_by {
        Some(by) => format!(" Suppressed by {}.", escaped(by)),
        None => String::new(),
    };
    let address = format!("Address <code>{:#x}</code>{}.", finding.address.0, region(finding));
    format!("{noticed}{instruction} {address}{opened}{aborted}{suppressed}")
}

/// The mapping that a foreign address lies in.
fn region(finding: &Finding) -> String {
    let Some(region) = &finding.region else { return String::new() };
    let name = match &region.name {
        Some(name) => format!(" <code>{}</code>", escaped(name)),
        None => String::new(),
    };
    format!(
        ", in the mapping{name} from <code>{:#x}</code> to <code>{:#x}</code>",
        region.start.0, region.end.0
    )
}
