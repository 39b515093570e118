//! `heapkeeper dangling`: freed blocks that something still points to, before anybody uses them.

use crate::VerbResult;
use crate::snapshot::{Head, NOT_RECORDED, Names, Options, Page, WIDTH, fit, load, load_twice, tell};
use hk_graph::{Dangling, Holder, Paths, Snapshot, dangling, still_dangling};
use hk_report::{Address, count, duration};
use serde::Serialize;
use std::collections::HashMap;
use std::path::Path;

/// Groups of blocks that the text tells; JSON has all blocks.
const GROUPS_MAX: usize = 20;
/// Holders of each, likewise.
const HOLDERS_MAX: usize = 3;
/// Blocks that the end of a run tells.
const SUMMARY_MAX: usize = 5;

const AFTER_HELP: &str = "\
What is no pointer by the program's types is a maybe: a number may look like an address. And any pointer to a freed \
block may never be used again. Guarded blocks tell who allocated and who freed them.";

/// Options of `heapkeeper dangling`.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    options: Options,
}

#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    head: Head,
    blocks: Vec<Block>,
}

#[derive(Serialize)]
struct Block {
    address: Address,
    bytes: u64,
    /// What was asked for; null if that is not known.
    requested_bytes: Option<u64>,
    allocated: Option<Event>,
    freed: Option<Event>,
    holders: Vec<HolderRow>,
}

impl Block {
    /// Whether anything that points there is a pointer by its type.
    fn is_likely(&self) -> bool {
        self.holders.iter().any(|holder| holder.expression.is_some())
    }
}

#[derive(Serialize)]
struct HolderRow {
    place: String,
    /// As the program would write it, where types tell that it is a pointer.
    expression: Option<String>,
    /// `likely`: by its type it is a pointer. `maybe`: it may be a number that looks like one.
    certainty: &'static str,
}

#[derive(Serialize)]
struct Event {
    site: String,
    #[serde(skip)]
    links: Vec<String>,
    thread: String,
    time_ns: u64,
}

/// Reads the snapshot, and tells.
pub fn run(args: &Args) -> VerbResult {
    let (first, snapshot) = load_twice(&args.options.target)?;
    let paths = Paths::new(&snapshot);
    let mut found = dangling(&snapshot, paths.reached());
    if let Some(first) = first {
        let before = dangling(&first, Paths::new(&first).reached());
        found = still_dangling((&first, &before), (&snapshot, &found));
    }
    let mut names = Names::new(&snapshot);
    let mut blocks: Vec<Block> =
        found.iter().map(|found| block(&snapshot, &mut names, &paths, found)).collect();
    // What is surest first, then what is known most of.
    blocks.sort_by_key(|block| (!block.is_likely(), block.freed.is_none(), block.address.0));
    let answer = Answer { head: Head::new("dangling", &names), blocks };
    tell("dangling", args.options.json.as_deref(), &answer, |page| text(page, &answer, &names))
}

/// For the end of a run: lines for the blocks of a snapshot that most is known of.
pub fn summary(path: &Path) -> Vec<String> {
    let Ok(snapshot) = load(path) else { return Vec::new() };
    let paths = Paths::new(&snapshot);
    let found = dangling(&snapshot, paths.reached());
    let mut names = Names::new(&snapshot);
    let mut blocks: Vec<Block> =
        found.iter().map(|found| block(&snapshot, &mut names, &paths, found)).collect();
    blocks.sort_by_key(|block| (!block.is_likely(), block.freed.is_none(), block.address.0));
    let process = names.process();
    if blocks.is_empty() {
        return vec![format!("{process}: nothing in use points to a freed block")];
    }
    let pointers: usize = blocks.iter().map(|block| block.holders.len()).sum();
    let head = format!(
        "{process}: at its end {} to {} remained, which nothing has used yet:",
        count(pointers as u64, "pointer"),
        count(blocks.len() as u64, "freed block")
    );
    let told = blocks.iter().take(SUMMARY_MAX).map(summary_line);
    let left = blocks.len().checked_sub(SUMMARY_MAX).filter(|&left| left > 0);
    let left =
        left.map(|left| format!("  and {left} more; while it runs, heapkeeper dangling PID tells all"));
    std::iter::once(head).chain(told).chain(left).collect()
}

/// `  40 bytes, freed by main serv.c:11: likely in conn_table[3]->session`.
fn summary_line(block: &Block) -> String {
    let bytes = count(block.requested_bytes.unwrap_or(block.bytes), "byte");
    let by = |event: &Option<Event>, what: &str| match event {
        Some(event) if !event.site.is_empty() => format!(", {what} by {}", event.site),
        _ => String::new(),
    };
    let (allocated, freed) = (by(&block.allocated, "allocated"), by(&block.freed, "freed"));
    let holder = block.holders.iter().find(|holder| holder.expression.is_some()).or(block.holders.first());
    let holder = holder.map_or_else(String::new, |holder| match &holder.expression {
        Some(expression) => format!(": likely in {expression}"),
        None => format!(": maybe in {}", holder.place),
    });
    let more = match block.holders.len() {
        0 | 1 => String::new(),
        n => format!(", and in {} more", n - 1),
    };
    format!("  {bytes} at {:#x}{allocated}{freed}{holder}{more}", block.address.0)
}

fn block(snapshot: &Snapshot, names: &mut Names<'_>, paths: &Paths<'_>, found: &Dangling) -> Block {
    let record = &snapshot.freed[found.freed as usize];
    let mut holders: Vec<HolderRow> =
        found.holders.iter().map(|&holder| holder_row(names, paths, holder)).collect();
    holders.sort_by_key(|holder| holder.expression.is_none());
    let event = |stack: u32, tid: u32, time_ns: u64| {
        let site = names.site_of_stack(stack).map(|site| &names.sites[site as usize]);
        (time_ns != 0).then(|| Event {
            site: site.map_or_else(String::new, |site| site.label()),
            links: site.map_or_else(|| vec![NOT_RECORDED.into()], |site| site.links.clone()),
            thread: names.thread(tid),
            time_ns,
        })
    };
    Block {
        address: Address(record.start),
        bytes: record.bytes,
        requested_bytes: (record.requested_bytes != 0).then_some(record.requested_bytes),
        allocated: event(record.allocated_stack, record.allocated_tid, record.allocated_ns),
        freed: event(record.freed_stack, record.freed_tid, record.freed_ns),
        holders,
    }
}

fn holder_row(names: &mut Names<'_>, paths: &Paths<'_>, holder: Holder) -> HolderRow {
    let expression = names.holder_expression(paths, holder);
    let certainty = if expression.is_some() { "likely" } else { "maybe" };
    HolderRow { place: names.holder_text(holder), expression, certainty }
}

fn text(page: &mut Page, answer: &Answer, names: &Names<'_>) {
    let pointers: usize = answer.blocks.iter().map(|block| block.holders.len()).sum();
    if pointers == 0 {
        page.line(&format!("{}: nothing that is in use points to a freed block", names.process()));
        return;
    }
    let (lead, uses) = match pointers {
        1 => ("leads", "a use after free"),
        _ => ("lead", "uses after free"),
    };
    page.line(&format!(
        "{}: {} {lead} to {}: maybe {uses} to come",
        names.process(),
        count(pointers as u64, "pointer"),
        count(answer.blocks.len() as u64, "freed block"),
    ));
    let groups = groups(&answer.blocks);
    groups.iter().take(GROUPS_MAX).for_each(|group| push_group(page, answer, group));
    let left = groups.iter().skip(GROUPS_MAX).map(|group| group.len() as u64).sum();
    if left > 0 {
        page.remark(&format!("\nand {} more", count(left, "freed block")));
    }
    page.remark(
        "\nlikely: by its type it is a pointer; maybe: it may be a number that looks like an address.",
    );
    page.remark("Either may never be used again.");
    if let Some(coverage) = names.coverage() {
        page.remark(&coverage);
    }
}

/// Blocks of one history, or of one size if it is not known; in the order of what is surest, and then of most blocks.
fn groups(blocks: &[Block]) -> Vec<Vec<&Block>> {
    let mut groups: Vec<Vec<&Block>> = Vec::new();
    let mut by_key: HashMap<_, usize> = HashMap::new();
    for block in blocks {
        let site = |event: &Option<Event>| event.as_ref().map(|event| event.site.clone());
        let bytes = if block.freed.is_none() { block.bytes } else { 0 };
        let key = (block.is_likely(), site(&block.freed), site(&block.allocated), bytes);
        let group = *by_key.entry(key).or_insert(groups.len());
        if group == groups.len() {
            groups.push(Vec::new());
        }
        groups[group].push(block);
    }
    groups.sort_by_key(|group| (!group[0].is_likely(), std::cmp::Reverse(group.len())));
    groups
}

/// The first block of the group stands for all.
fn push_group(page: &mut Page, answer: &Answer, group: &[&Block]) {
    let block = group[0];
    let sizes = || group.iter().map(|block| block.requested_bytes.unwrap_or(block.bytes));
    let (least, most) = (sizes().min().unwrap_or(0), sizes().max().unwrap_or(0));
    let size = if least == most { count(most, "byte") } else { format!("{least} to {most} bytes") };
    match group.len() as u64 {
        1 => page.head(&format!("{size} at {:#x}", block.address.0), ""),
        n => page.head(&format!("{n} blocks of {size}"), &format!(", as at {:#x}", block.address.0)),
    }
    let events = [("freed", &block.freed), ("allocated", &block.allocated)];
    for (what, event) in events.into_iter().filter_map(|(what, event)| Some((what, event.as_ref()?))) {
        let before = duration(answer.head.time_ns.saturating_sub(event.time_ns));
        page.line(&format!("  {what} {before} before the snapshot by thread {}", event.thread));
        page.line(&format!("      {}", fit(&event.links, WIDTH - 6)));
    }
    for holder in block.holders.iter().take(HOLDERS_MAX) {
        match &holder.expression {
            Some(expression) => page.line(&format!("  likely in {expression}: {}", holder.place)),
            None => page.line(&format!("  maybe in  {}", holder.place)),
        }
    }
    if let Some(left @ 1..) = block.holders.len().checked_sub(HOLDERS_MAX) {
        page.remark(&format!("  and {} more", count(left as u64, "pointer")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_one_history_are_one_group_and_what_is_sure_comes_first() {
        let event =
            |site: &str| Event { site: site.into(), links: Vec::new(), thread: String::new(), time_ns: 1 };
        let block = |address, bytes, freed: Option<&str>, expression: Option<&str>| Block {
            address: Address(address),
            bytes,
            requested_bytes: None,
            allocated: freed.map(|_| event("allocator")),
            freed: freed.map(event),
            holders: vec![HolderRow {
                place: String::new(),
                expression: expression.map(str::to_owned),
                certainty: "",
            }],
        };
        let blocks = [
            block(1, 16, Some("close"), None),
            block(2, 32, Some("close"), None),
            block(3, 16, None, None),
            block(4, 32, None, None),
            block(5, 32, None, None),
            block(6, 32, None, None),
            block(7, 16, Some("close"), Some("head->next")),
        ];
        let told: Vec<Vec<u64>> =
            groups(&blocks).iter().map(|group| group.iter().map(|block| block.address.0).collect()).collect();
        assert_eq!(told, [vec![7], vec![4, 5, 6], vec![1, 2], vec![3]]);
    }
}
