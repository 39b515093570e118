//! What is told of a block or a site: plain data, the same for text and JSON.

use super::none;
use crate::Failure;
use crate::snapshot::{Head, NOT_RECORDED, Names, SizeModel, figure, plus};
use hk_graph::{Count, Holder, Path, Paths, dangling, holders};
use hk_report::{Address, Figure, StackFrame};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Holders that are named.
const HOLDERS_MAX: usize = 10;
/// Ways that are told of a site.
const WAYS_MAX: usize = 5;
/// Steps of a way that are told in full; of a longer one its two ends are.
pub const STEPS_MAX: usize = 24;

/// See the module head.
#[derive(Serialize)]
pub struct Answer {
    #[serde(flatten)]
    pub head: Head,
    /// What was asked for.
    pub asked: String,
    /// If an address was.
    pub block: Option<Block>,
    /// If a site was.
    pub site: Option<SiteAnswer>,
    /// Shortest ways from roots.
    pub ways: Vec<Way>,
}

/// A block, live or free.
#[derive(Serialize)]
pub struct Block {
    pub address: Address,
    pub bytes: u64,
    /// Of the address that was asked for, from the block's start.
    pub offset: u64,
    /// `reached`, `lost`, `free`.
    pub state: &'static str,
    pub allocated: Option<Event>,
    pub freed: Option<Event>,
    /// Pointers to it.
    pub holder_count: usize,
    /// The first of them.
    pub holders: Vec<HolderRow>,
}

/// A place that points to a block.
#[derive(Serialize)]
pub struct HolderRow {
    pub place: String,
    /// As the program would write it, where types tell that it is a pointer.
    pub expression: Option<String>,
}

/// An allocation or a free.
#[derive(Serialize)]
pub struct Event {
    #[serde(skip)]
    pub links: Vec<String>,
    pub site: String,
    pub thread: String,
    pub time_ns: u64,
    pub stack: Vec<StackFrame>,
}

/// Blocks of sites.
#[derive(Serialize)]
pub struct SiteAnswer {
    pub sites: Vec<String>,
    /// Those that are recorded.
    pub recorded: SizeModel,
    pub blocks: Figure,
    pub bytes: Figure,
    /// Of the recorded ones those that nothing leads to.
    pub lost_blocks: u64,
}

/// A way from a root.
#[derive(Serialize)]
pub struct Way {
    /// The place that holds the first pointer.
    pub root: String,
    /// The last pointer as the program would write it, where types tell.
    pub expression: Option<String>,
    /// Blocks from the first to the one that is meant; of a long way the middle is left out.
    pub steps: Vec<Step>,
    /// All blocks of the way.
    pub length: usize,
    /// Blocks of the site that are reached from the same variable or thread first.
    pub blocks: u64,
}

/// A block on a way.
#[derive(Serialize)]
pub struct Step {
    pub address: Address,
    /// Where the pointer to the next one stands, in bytes from its start; null for the last.
    pub offset: Option<u64>,
    pub bytes: u64,
    pub site: Option<String>,
    #[serde(skip)]
    pub text: String,
}

/// Who holds the block at an address.
pub fn at_address(names: &mut Names<'_>, address: u64) -> Result<Answer, Failure> {
    let asked = format!("{address:#x}");
    let snapshot = names.snapshot;
    let head = Head::new("who", names);
    if let Some(block) = snapshot.graph.containing(address) {
        let paths = Paths::new(snapshot);
        let path = paths.to(block);
        let found = snapshot.graph.block(block);
        let allocated = snapshot.lives.of(block).map(|life| event(names, life.stack, life.tid, life.time_ns));
        let all = holders(snapshot, block);
        let block = Block {
            address: Address(found.start),
            bytes: found.bytes,
            offset: address - found.start,
            state: if path.is_some() { "reached" } else { "lost" },
            allocated,
            freed: None,
            holder_count: all.len(),
            holders: named(names, &paths, &all),
        };
        let ways = path.map(|path| way(names, &path, 1)).into_iter().collect();
        return Ok(Answer { head, asked, block: Some(block), site: None, ways });
    }
    let Some(freed) = snapshot.freed_at(address) else {
        return Err(none(&asked, &no_block(names, address)));
    };
    let record = snapshot.freed[freed as usize];
    let paths = Paths::new(snapshot);
    let found = dangling(snapshot, paths.reached()).into_iter().find(|each| each.freed == freed);
    let all = found.map_or_else(Vec::new, |found| found.holders);
    let known = |stack: u32, tid: u32, time_ns: u64| (time_ns != 0).then_some((stack, tid, time_ns));
    let told = |at: Option<(u32, u32, u64)>| at.map(|(stack, tid, ns)| event(names, stack, tid, ns));
    let block = Block {
        address: Address(record.start),
        bytes: record.bytes,
        offset: address - record.start,
        state: "free",
        allocated: told(known(record.allocated_stack, record.allocated_tid, record.allocated_ns)),
        freed: told(known(record.freed_stack, record.freed_tid, record.freed_ns)),
        holder_count: all.len(),
        holders: named(names, &paths, &all),
    };
    Ok(Answer { head, asked, block: Some(block), site: None, ways: Vec::new() })
}

/// Who holds the blocks that were allocated at sites of such a name.
pub fn at_site(names: &mut Names<'_>, text: &str) -> Result<Answer, Failure> {
    let snapshot = names.snapshot;
    let is_meant: Vec<bool> = names.sites.iter().map(|site| site.matches(text)).collect();
    let site_of = |block: u32| names.site_of(block);
    let lives = snapshot.lives.all().iter();
    let blocks: Vec<u32> = lives
        .map(|life| life.block)
        .filter(|&block| site_of(block).is_some_and(|site| is_meant[site as usize]))
        .collect();
    if blocks.is_empty() {
        return Err(none(text, &no_site(names)));
    }
    let paths = Paths::new(snapshot);
    let mut counted = Count::default();
    // Of each variable or thread the block that is nearest, how far it is, and how many there are.
    let mut ways: BTreeMap<String, (u32, u32, u64)> = BTreeMap::new();
    let mut group_of: HashMap<usize, String> = HashMap::new();
    let mut lost_blocks = 0;
    for &block in &blocks {
        counted.add(snapshot.graph.bytes(block));
        let Some((root, distance)) = paths.nearest(block) else {
            lost_blocks += 1;
            continue;
        };
        let group = group_of.entry(root).or_insert_with(|| {
            let root = &snapshot.roots[root];
            names.group(root.place, root.kind, root.tid).text
        });
        let nearest = ways.entry(group.clone()).or_insert((distance, block, 0));
        *nearest =
            (nearest.0.min(distance), if distance < nearest.0 { block } else { nearest.1 }, nearest.2 + 1);
    }
    let mut ways: Vec<(u32, u32, u64)> = ways.into_values().collect();
    ways.sort_by_key(|&(distance, block, count)| (std::cmp::Reverse(count), distance, block));
    ways.truncate(WAYS_MAX);
    let mut sites: Vec<u32> = blocks.iter().filter_map(|&block| names.site_of(block)).collect();
    sites.sort_unstable();
    sites.dedup();
    let scale = names.scale();
    let site = SiteAnswer {
        sites: sites.iter().map(|&site| names.sites[site as usize].label()).collect(),
        recorded: SizeModel { bytes: counted.bytes, blocks: counted.blocks },
        blocks: figure(scale.blocks(&counted)),
        bytes: figure(scale.bytes(&counted)),
        lost_blocks,
    };
    let ways =
        ways.iter().filter_map(|&(_, block, count)| Some(way(names, &paths.to(block)?, count))).collect();
    let head = Head::new("who", names);
    Ok(Answer { head, asked: text.into(), block: None, site: Some(site), ways })
}

fn way(names: &mut Names<'_>, path: &Path, blocks: u64) -> Way {
    let snapshot = names.snapshot;
    let root = &snapshot.roots[path.root];
    let length = path.steps.len() + 1;
    let on_way = path.steps.iter().map(|step| (step.block, Some(step.word))).chain([(path.block, None)]);
    let half = STEPS_MAX / 2;
    let shown =
        on_way.enumerate().filter(|(at, _)| length <= STEPS_MAX || *at < half || *at >= length - half);
    let step = |(_, (block, word)): (usize, (u32, Option<u32>))| Step {
        address: Address(snapshot.graph.block(block).start),
        offset: word.map(|word| u64::from(word) * 8),
        bytes: snapshot.graph.bytes(block),
        site: names.site_of(block).map(|site| names.sites[site as usize].label()),
        text: names.block_text(block),
    };
    let steps = shown.map(step).collect();
    let expression = names.expression(path);
    Way { root: names.root_text(root.place, root.kind, root.tid), expression, steps, length, blocks }
}

fn named(names: &mut Names<'_>, paths: &Paths<'_>, holders: &[Holder]) -> Vec<HolderRow> {
    let row = |&holder| HolderRow {
        expression: names.holder_expression(paths, holder),
        place: names.holder_text(holder),
    };
    holders.iter().take(HOLDERS_MAX).map(row).collect()
}

fn event(names: &Names<'_>, stack: u32, tid: u32, time_ns: u64) -> Event {
    let site = names.site_of_stack(stack).map(|site| &names.sites[site as usize]);
    Event {
        links: site.map_or_else(|| vec![NOT_RECORDED.into()], |site| site.links.clone()),
        site: site.map_or_else(String::new, |site| site.label()),
        thread: names.thread(tid),
        time_ns,
        stack: site.map_or_else(Vec::new, |site| site.stack.clone()),
    }
}

/// What lies near an address that is in no block.
fn no_block(names: &Names<'_>, address: u64) -> String {
    let graph = &names.snapshot.graph;
    let (before, after) = graph.beside(address);
    let before = before.map(|block| graph.block(block)).map(|block| {
        let behind = address - (block.start + block.bytes);
        format!("a block of {} bytes ends {} before", block.bytes, in_bytes(behind))
    });
    let after = after.map(|block| graph.block(block)).map(|block| {
        format!("a block of {} bytes begins {} behind", block.bytes, in_bytes(block.start - address))
    });
    let near: Vec<String> = before.into_iter().chain(after).collect();
    let near = if near.is_empty() { "there are no blocks".into() } else { near.join(", and ") };
    format!("no live block lies there, and no free one that something points to; {near}")
}

fn in_bytes(bytes: u64) -> String {
    if bytes == 0 { "right".into() } else { hk_report::bytes(bytes) }
}

fn no_site(names: &Names<'_>) -> String {
    let lives = names.snapshot.lives.all().iter();
    let known: BTreeSet<u32> = lives.filter_map(|life| names.site_of_stack(life.stack)).collect();
    let mut largest: Vec<&str> =
        known.iter().map(|&site| names.sites[site as usize].links[0].as_str()).collect();
    largest.sort_unstable();
    largest.dedup();
    largest.truncate(5);
    let there = match largest.is_empty() {
        true => "no block's allocation was recorded".to_owned(),
        false => format!("blocks were allocated by {}, for example", largest.join(", ")),
    };
    let coverage = names.coverage().map_or(String::new(), |coverage| format!(" ({coverage})"));
    format!("no live block is known to be allocated at a function or line of that name: {there}{coverage}")
}

impl Step {
    /// `0x7f00…+0x18`.
    pub fn place(&self) -> String {
        format!("{:#x}{}", self.address.0, self.offset.map_or_else(String::new, plus))
    }
}
