//! `heapkeeper dangling`: freed blocks that something still points to, before anybody uses them.

use crate::VerbResult;
use crate::snapshot::{Head, Names, Options, Page, WIDTH, fit, load_twice, tell};
use hk_graph::{Dangling, Holder, Paths, Snapshot, dangling, still_dangling};
use hk_report::{Address, count, duration};
use serde::Serialize;

/// Blocks that the text tells; JSON has all.
const BLOCKS_MAX: usize = 30;
/// Holders of each, likewise.
const HOLDERS_MAX: usize = 5;
/// Columns of an event's line that its site leaves to the rest: thread and time.
const EVENT_REST: usize = 58;

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
    // What is known most of first, then what most point to.
    blocks.sort_by_key(|block| {
        (block.freed.is_none(), std::cmp::Reverse(block.holders.len()), block.address.0)
    });
    let answer = Answer { head: Head::new("dangling", &names), blocks };
    tell("dangling", &args.options, &answer, |page| text(page, &answer, &names))
}

fn block(snapshot: &Snapshot, names: &mut Names<'_>, paths: &Paths<'_>, found: &Dangling) -> Block {
    let record = &snapshot.freed[found.freed as usize];
    let event = |stack: u32, tid: u32, time_ns: u64| {
        let site = names.site_of_stack(stack).map(|site| &names.sites[site as usize]);
        (time_ns != 0).then(|| Event {
            site: site.map_or_else(String::new, |site| site.label()),
            links: site.map_or_else(Vec::new, |site| site.links.clone()),
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
        holders: found.holders.iter().map(|&holder| holder_row(names, paths, holder)).collect(),
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
    for block in answer.blocks.iter().take(BLOCKS_MAX) {
        push_block(page, answer, block);
    }
    if let Some(left @ 1..) = answer.blocks.len().checked_sub(BLOCKS_MAX) {
        page.remark(&format!("\nand {} more", count(left as u64, "freed block")));
    }
    page.remark(
        "\nlikely: by its type it is a pointer; maybe: it may be a number that looks like an address.",
    );
    page.remark("Either may never be used again.");
    if let Some(coverage) = names.coverage() {
        page.remark(&coverage);
    }
}

fn push_block(page: &mut Page, answer: &Answer, block: &Block) {
    let bytes = count(block.requested_bytes.unwrap_or(block.bytes), "byte");
    page.head(&format!("{bytes} at {:#x}", block.address.0), "");
    let event = |page: &mut Page, what: &str, event: &Event| {
        let when = duration(answer.head.time_ns.saturating_sub(event.time_ns));
        let site = match event.links.is_empty() {
            true => "a place that was not recorded".into(),
            false => fit(&event.links, WIDTH - EVENT_REST),
        };
        page.line(&format!("  {what}  {site}  thread {}, {when} before the snapshot", event.thread));
    };
    if let Some(freed) = &block.freed {
        event(page, "freed      ", freed);
    }
    if let Some(allocated) = &block.allocated {
        event(page, "allocated  ", allocated);
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
