//! `heapkeeper retained`: what would come free with a variable, a block, or all blocks of an allocation site.

use crate::VerbResult;
use crate::snapshot::{
    Head, Names, Options, Page, SizeModel, Table, blocks_text, bytes_text, figure, fit, load, percent, tell,
};
use hk_graph::{Census, Count, Paths, Retained, RootGroups, Size, Snapshot, dominators};
use hk_report::{Address, Figure, StackFrame, bytes, count};
use serde::Serialize;

/// Rows of each table; JSON has all.
const ROWS_MAX: usize = 15;
/// Accumulation points retain at least this part of the heap.
const POINT_SHARE: u64 = 100;
/// Accumulation points that are told, in JSON too.
const POINTS_MAX: usize = 20;

const AFTER_HELP: &str = "\
A block retains itself and all blocks that only lead from it: they could be freed with it. An accumulation point \
retains much, through no single block below it: a table, a list's head, a cache. What a site retains is a lower \
bound: what only several of its blocks hold together is not counted, nor, if not every block's allocation is \
recorded, what the others hold.";

/// Options of `heapkeeper retained`.
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
    reached: SizeModel,
    lost: SizeModel,
    /// Those that retain most first.
    roots: Vec<RootRow>,
    /// What several roots hold together.
    shared: SizeModel,
    accumulations: Vec<Point>,
    sites: Vec<SiteRow>,
    /// Blocks whose allocation was not recorded, by their size.
    not_recorded: Vec<SizeRow>,
}

#[derive(Serialize)]
struct RootRow {
    kind: &'static str,
    name: String,
    retained: SizeModel,
}

#[derive(Serialize)]
struct Point {
    address: Address,
    block_bytes: u64,
    site: Option<String>,
    #[serde(skip)]
    links: Vec<String>,
    /// The pointer that leads there, as the program would write it; or, where types do not tell, the root that is nearest.
    held_by: String,
    retained: SizeModel,
    children: u64,
    largest_child_bytes: u64,
}

#[derive(Serialize)]
struct SiteRow {
    site: String,
    #[serde(skip)]
    links: Vec<String>,
    blocks: Figure,
    bytes: Figure,
    /// By the blocks that are recorded: a lower bound.
    retained: SizeModel,
    stack: Vec<StackFrame>,
}

#[derive(Serialize)]
struct SizeRow {
    block_bytes: u64,
    blocks: u64,
    bytes: u64,
}

/// Reads the snapshot, and tells.
pub fn run(args: &Args) -> VerbResult {
    let snapshot = load(&args.options.target)?;
    let mut names = Names::new(&snapshot);
    let answer = answer(&snapshot, &mut names);
    tell("retained", args.options.json.as_deref(), &answer, |page| text(page, &answer, &names))
}

fn answer(snapshot: &Snapshot, names: &mut Names<'_>) -> Answer {
    let places = names.places();
    let members = places.of_roots.iter().copied().zip(snapshot.roots.iter().map(|root| root.block));
    let tree = dominators(&snapshot.graph, &RootGroups::new(places.groups.len() as u32, members));
    let retained = Retained::new(&snapshot.graph, &tree);
    let reached = retained.reached();
    let head = Head::new("retained", names);
    let mut roots: Vec<RootRow> = (0..)
        .zip(places.groups)
        .map(|(number, group)| RootRow {
            kind: group.kind,
            name: group.text,
            retained: retained.of_group(number).into(),
        })
        .filter(|row| row.retained.blocks > 0)
        .collect();
    roots.sort_by_key(|row| std::cmp::Reverse((row.retained.bytes, row.retained.blocks)));
    Answer {
        lost: SizeModel { bytes: head.live.bytes - reached.bytes, blocks: head.live.blocks - reached.blocks },
        reached: reached.into(),
        roots,
        shared: retained.shared().into(),
        accumulations: accumulations(snapshot, names, &retained),
        sites: sites(snapshot, names, &retained),
        not_recorded: not_recorded(snapshot, names),
        head,
    }
}

fn accumulations(snapshot: &Snapshot, names: &mut Names<'_>, retained: &Retained<'_>) -> Vec<Point> {
    let bytes_min = (retained.reached().bytes / POINT_SHARE).max(1);
    let mut found = retained.accumulations(bytes_min);
    found.truncate(POINTS_MAX);
    if found.is_empty() {
        return Vec::new();
    }
    let paths = Paths::new(snapshot);
    let point = |point: hk_graph::Accumulation| {
        let block = snapshot.graph.block(point.block);
        let path = paths.to(point.block);
        let held_by = path.map_or_else(String::new, |path| {
            let root = &snapshot.roots[path.root];
            let expression = names.expression(&path);
            expression.unwrap_or_else(|| names.root_text(root.place, root.kind, root.tid))
        });
        let site = names.site_of(point.block).map(|site| &names.sites[site as usize]);
        Point {
            address: Address(block.start),
            block_bytes: block.bytes,
            site: site.map(|site| site.label()),
            links: site.map_or_else(Vec::new, |site| site.links.clone()),
            held_by,
            retained: point.retained.into(),
            children: point.children,
            largest_child_bytes: point.largest_child_bytes,
        }
    };
    found.into_iter().map(point).collect()
}

fn sites(snapshot: &Snapshot, names: &Names<'_>, retained: &Retained<'_>) -> Vec<SiteRow> {
    let mut counts = vec![Count::default(); names.sites.len()];
    for life in snapshot.lives.all() {
        if let Some(site) = names.site_of_stack(life.stack) {
            counts[site as usize].add(snapshot.graph.bytes(life.block));
        }
    }
    let retained = match snapshot.lives.all().is_empty() {
        true => vec![Size::default(); counts.len()],
        false => retained.of_sites(counts.len(), |block| names.site_of(block)),
    };
    let scale = names.scale();
    let row = |((site, counted), retained): ((&crate::snapshot::Site, &Count), Size)| SiteRow {
        site: site.label(),
        links: site.links.clone(),
        blocks: figure(scale.blocks(counted)),
        bytes: figure(scale.bytes(counted)),
        retained: retained.into(),
        stack: site.stack.clone(),
    };
    let rows = names.sites.iter().zip(&counts).zip(retained).filter(|((_, counted), _)| counted.blocks > 0);
    let mut rows: Vec<SiteRow> = rows.map(row).collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.retained.bytes.max(row.bytes.value), row.blocks.value)));
    rows
}

fn not_recorded(snapshot: &Snapshot, names: &Names<'_>) -> Vec<SizeRow> {
    let mut sizes: Census<u64> = Census::new();
    for block in (0..snapshot.graph.len() as u32).filter(|&block| names.site_of(block).is_none()) {
        let bytes = snapshot.graph.bytes(block);
        sizes.entry(bytes).or_default().add(bytes);
    }
    let row = |(block_bytes, count): (u64, Count)| SizeRow {
        block_bytes,
        blocks: count.blocks,
        bytes: count.bytes,
    };
    let mut rows: Vec<SizeRow> = sizes.into_iter().map(row).collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.bytes, row.block_bytes)));
    rows
}

fn text(page: &mut Page, answer: &Answer, names: &Names<'_>) {
    let live = answer.head.live;
    page.line(&format!("{}: {} in {} live", names.process(), bytes(live.bytes), count(live.blocks, "block")));
    if answer.lost.blocks > 0 {
        page.line(&format!(
            "{} of it in {} is lost: nothing leads there (see heapkeeper leaks)",
            bytes(answer.lost.bytes),
            count(answer.lost.blocks, "block")
        ));
    }
    root_table(page, answer);
    point_table(page, answer);
    site_table(page, answer);
    size_table(page, answer);
    if let Some(coverage) = names.coverage() {
        page.remark(&format!("\n{coverage}"));
    }
}

fn root_table(page: &mut Page, answer: &Answer) {
    page.head("Roots", ": what would come free with a variable or a thread");
    let mut table = Table::new(&["retained", "blocks", "heap", "root"]);
    let row = |size: SizeModel, name: String| {
        vec![bytes(size.bytes), size.blocks.to_string(), percent(size.bytes, answer.head.live.bytes), name]
    };
    answer.roots.iter().take(ROWS_MAX).for_each(|root| table.row(row(root.retained, root.name.clone())));
    if answer.shared.blocks > 0 {
        table.row(row(answer.shared, "several roots together".into()));
    }
    page.text(&table.text());
    more(page, answer.roots.len(), "root");
}

fn point_table(page: &mut Page, answer: &Answer) {
    /// What the numbers leave of a line for a site.
    const ROOM: usize = 42;
    if answer.accumulations.is_empty() {
        return;
    }
    page.head("Accumulation points", ": blocks that hold much, through no single block below them");
    let mut table = Table::new(&["retained", "blocks", "heap", "holds", "largest", "block"]);
    for point in &answer.accumulations {
        table.row(vec![
            bytes(point.retained.bytes),
            point.retained.blocks.to_string(),
            percent(point.retained.bytes, answer.head.live.bytes),
            point.children.to_string(),
            bytes(point.largest_child_bytes),
            format!("{:#x}, {}", point.address.0, count(point.block_bytes, "byte")),
        ]);
        let site = (!point.links.is_empty()).then(|| format!("allocated by {}", fit(&point.links, ROOM)));
        for line in [Some(format!("held by {}", point.held_by)), site].into_iter().flatten() {
            let mut below = vec![String::new(); 5];
            below.push(line);
            table.row(below);
        }
    }
    page.text(&table.text());
}

fn site_table(page: &mut Page, answer: &Answer) {
    if answer.sites.is_empty() {
        return;
    }
    page.head("Allocation sites", ": what their blocks are, and what they retain at least");
    let shown = || answer.sites.iter().take(ROWS_MAX);
    let cells = |row: &SiteRow| {
        let retained = row.retained.bytes;
        let share = percent(retained, answer.head.live.bytes);
        vec![bytes_text(&row.bytes), blocks_text(&row.blocks), bytes(retained), share]
    };
    let rows: Vec<_> = shown().map(|row| (cells(row), &row.links[..])).collect();
    let table = Table::of_chains(&["own bytes", "blocks", "retained", "heap", "site"], &rows);
    page.text(&table.text());
    more(page, answer.sites.len(), "site");
}

fn size_table(page: &mut Page, answer: &Answer) {
    if answer.not_recorded.is_empty() {
        return;
    }
    page.head("Allocated at: not recorded", ", by size of block");
    let mut table = Table::new(&["bytes", "blocks", "heap", "of"]);
    for row in answer.not_recorded.iter().take(ROWS_MAX) {
        let share = percent(row.bytes, answer.head.live.bytes);
        table.row(vec![bytes(row.bytes), row.blocks.to_string(), share, count(row.block_bytes, "byte")]);
    }
    page.text(&table.text());
    more(page, answer.not_recorded.len(), "size");
}

fn more(page: &mut Page, all: usize, noun: &str) {
    if let Some(left @ 1..) = all.checked_sub(ROWS_MAX) {
        page.remark(&format!("  and {} more", count(left as u64, noun)));
    }
}
