//! `heapkeeper diff A B`: what grew and what shrank from one snapshot to another.

use crate::VerbResult;
use crate::snapshot::{Head, Names, Options, Page, SizeModel, Table, figure, load, signed, tell};
use clap::ValueHint;
use hk_graph::{Census, Change, Scale, Snapshot, changes};
use hk_report::{Figure, bytes, count, duration};
use serde::Serialize;
use std::path::PathBuf;

/// Rows of each table; JSON has all.
const ROWS_MAX: usize = 20;

const AFTER_HELP: &str = "\
Sites are compared by the functions and lines of their stacks, so that the two snapshots may be of two runs. Where \
only one block in N is recorded, figures of sites are estimates; those of sizes are counted.";

/// Options of `heapkeeper diff`.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    before: Options,
    /// A later snapshot
    #[arg(value_name = "LATER", value_hint = ValueHint::FilePath)]
    after: PathBuf,
}

#[derive(Serialize)]
struct Answer {
    before: Head,
    after: Head,
    /// Those that changed by most bytes first.
    sites: Vec<SiteRow>,
    /// Of blocks whose site is not known; where one in many is recorded, of all blocks.
    sizes: Vec<SizeRow>,
    sizes_of_all: bool,
}

#[derive(Serialize)]
struct SiteRow {
    site: String,
    #[serde(skip)]
    links: Vec<String>,
    bytes_before: Figure,
    bytes_after: Figure,
    blocks_before: Figure,
    blocks_after: Figure,
}

#[derive(Serialize)]
struct SizeRow {
    block_bytes: u64,
    before: SizeModel,
    after: SizeModel,
}

/// Reads both, and tells.
pub fn run(args: &Args) -> VerbResult {
    let before = load(&args.before.target)?;
    let before = Side::of(&before);
    let after = load(&args.after)?;
    let after = Side::of(&after);
    let site = |change: Change<Vec<String>>| SiteRow {
        site: change.key.join(" ← "),
        bytes_before: figure(before.scale.bytes(&change.before)),
        bytes_after: figure(after.scale.bytes(&change.after)),
        blocks_before: figure(before.scale.blocks(&change.before)),
        blocks_after: figure(after.scale.blocks(&change.after)),
        links: change.key,
    };
    let size = |change: Change<u64>| SizeRow {
        block_bytes: change.key,
        before: SizeModel { bytes: change.before.bytes, blocks: change.before.blocks },
        after: SizeModel { bytes: change.after.bytes, blocks: change.after.blocks },
    };
    let mut sites: Vec<SiteRow> = changes(&before.sites, &after.sites).into_iter().map(site).collect();
    // By what they stand for: the two may be sampled unalike.
    sites.sort_by_key(|row| std::cmp::Reverse(row.bytes_after.value.abs_diff(row.bytes_before.value)));
    let sizes_of_all = before.scale.is_estimate() || after.scale.is_estimate();
    let (from, to) = match sizes_of_all {
        true => (&before.sizes, &after.sizes),
        false => (&before.other_sizes, &after.other_sizes),
    };
    let sizes = changes(from, to).into_iter().map(size).collect();
    let answer = Answer { before: before.head, after: after.head, sites, sizes, sizes_of_all };
    let processes = (before.process, after.process);
    tell("diff", args.before.json.as_deref(), &answer, |page| text(page, &answer, &processes))
}

/// What is compared of a snapshot.
struct Side {
    head: Head,
    process: String,
    scale: Scale,
    sites: Census<Vec<String>>,
    sizes: Census<u64>,
    /// Of blocks whose site is not known.
    other_sizes: Census<u64>,
}

impl Side {
    fn of(snapshot: &Snapshot) -> Side {
        let names = Names::new(snapshot);
        let (mut sites, mut sizes, mut other_sizes) = (Census::new(), Census::new(), Census::new());
        let mut of_sites = vec![hk_graph::Count::default(); names.sites.len()];
        for block in 0..snapshot.graph.len() as u32 {
            let bytes = snapshot.graph.bytes(block);
            sizes.entry(bytes).or_insert_with(hk_graph::Count::default).add(bytes);
            match names.site_of(block) {
                Some(site) => of_sites[site as usize].add(bytes),
                None => other_sizes.entry(bytes).or_insert_with(hk_graph::Count::default).add(bytes),
            }
        }
        for (site, counted) in names.sites.iter().zip(of_sites).filter(|(_, counted)| counted.blocks > 0) {
            sites.insert(site.links.clone(), counted);
        }
        let head = Head::new("diff", &names);
        Side { head, process: names.process(), scale: names.scale(), sites, sizes, other_sizes }
    }
}

fn text(page: &mut Page, answer: &Answer, (before, after): &(String, String)) {
    let (from, to) = (&answer.before, &answer.after);
    let whose = if before == after { after.clone() } else { format!("{before}, then {after}") };
    let apart = match to.time_ns.checked_sub(from.time_ns) {
        Some(ns) => format!("{} later", duration(ns)),
        None => {
            format!("{} earlier: the second snapshot is the older one", duration(from.time_ns - to.time_ns))
        }
    };
    page.line(&format!(
        "{whose}, {apart}: {}, {}{}",
        signed(from.live.bytes, to.live.bytes),
        blocks_by(from.live.blocks, to.live.blocks),
        rate(from, to),
    ));
    page.line(&format!(
        "{} in {} live, then {} in {}",
        bytes(from.live.bytes),
        count(from.live.blocks, "block"),
        bytes(to.live.bytes),
        count(to.live.blocks, "block"),
    ));
    if answer.sites.is_empty() && answer.sizes.is_empty() {
        page.line("Each site, and each size of block, has as many blocks as before.");
        return;
    }
    site_table(page, answer);
    size_table(page, answer);
}

/// `, 1.2 MiB a minute`, if they are far enough apart to say so.
fn rate(from: &Head, to: &Head) -> String {
    const APART_MIN_NS: u64 = 1_000_000_000;
    let grown = to.live.bytes.saturating_sub(from.live.bytes);
    match to.time_ns.checked_sub(from.time_ns) {
        Some(ns @ APART_MIN_NS..) if grown > 0 => {
            format!(" ({} a minute)", bytes((grown as f64 * 60e9 / ns as f64) as u64))
        }
        _ => String::new(),
    }
}

fn blocks_by(before: u64, after: u64) -> String {
    let sign = if after < before { "−" } else { "+" };
    format!("{sign}{}", count(after.abs_diff(before), "block"))
}

fn site_table(page: &mut Page, answer: &Answer) {
    if answer.sites.is_empty() {
        return;
    }
    let estimated = if answer.sizes_of_all { ", estimated from those that are recorded" } else { "" };
    page.head("By allocation site", estimated);
    let heads = ["bytes", "before", "after", "blocks", "before", "after", "site"];
    let shown = || answer.sites.iter().take(ROWS_MAX);
    let cells = |row: &SiteRow| {
        let (from, to) = (row.blocks_before.value, row.blocks_after.value);
        let bytes_by = signed(row.bytes_before.value, row.bytes_after.value);
        let bytes_error = together(&row.bytes_before, &row.bytes_after);
        let blocks_error = together(&row.blocks_before, &row.blocks_after);
        vec![
            if bytes_error == 0 { bytes_by } else { format!("{bytes_by} ± {}", bytes(bytes_error)) },
            bytes(row.bytes_before.value),
            bytes(row.bytes_after.value),
            if blocks_error == 0 {
                number_by(from, to)
            } else {
                format!("{} ± {blocks_error}", number_by(from, to))
            },
            from.to_string(),
            to.to_string(),
        ]
    };
    let rows: Vec<_> = shown().map(|row| (cells(row), &row.links[..])).collect();
    let table = Table::of_chains(&heads, &rows);
    page.text(&table.text());
    more(page, answer.sites.len(), "site");
}

/// How far the difference of two estimates is off in the mean.
fn together(one: &Figure, other: &Figure) -> u64 {
    (one.error as f64).hypot(other.error as f64).round() as u64
}

fn number_by(before: u64, after: u64) -> String {
    match after.cmp(&before) {
        std::cmp::Ordering::Less => format!("−{}", before - after),
        std::cmp::Ordering::Equal => "0".into(),
        std::cmp::Ordering::Greater => format!("+{}", after - before),
    }
}

fn size_table(page: &mut Page, answer: &Answer) {
    if answer.sizes.is_empty() {
        return;
    }
    let of =
        if answer.sizes_of_all { ", all blocks: counted" } else { ", of blocks whose site is not recorded" };
    page.head("By size of block", of);
    let mut table = Table::new(&["bytes", "before", "after", "blocks", "before", "after", "of"]);
    for row in answer.sizes.iter().take(ROWS_MAX) {
        table.row(vec![
            signed(row.before.bytes, row.after.bytes),
            bytes(row.before.bytes),
            bytes(row.after.bytes),
            number_by(row.before.blocks, row.after.blocks),
            row.before.blocks.to_string(),
            row.after.blocks.to_string(),
            count(row.block_bytes, "byte"),
        ]);
    }
    page.text(&table.text());
    more(page, answer.sizes.len(), "size");
}

fn more(page: &mut Page, all: usize, noun: &str) {
    if let Some(left @ 1..) = all.checked_sub(ROWS_MAX) {
        page.remark(&format!("  and {} more", count(left as u64, noun)));
    }
}
