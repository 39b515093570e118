//! How long a snapshot of many blocks takes to be read and analysed, and how much memory.
//!
//! ```text
//! cargo run --release -p hk-graph --example throughput -- write FILE BLOCKS tree|random
//! /usr/bin/time -v cargo run --release -p hk-graph --example throughput -- analyse FILE
//! ```

use hk_format::{KnownLife, PointerRecord, RootKind, RootRecord, SnapshotHeader};
use hk_graph::{Paths, Retained, RootGroups, Snapshot, Writer, dominators, find_leaks, read};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::Instant;
use zerocopy::FromZeros;

const HEAP: u64 = 0x7f00_0000_0000;
/// Blocks of one size lie together, as in the heap: in spans of 64 KiB.
const SPAN_BYTES: u64 = 64 << 10;
const SIZES: [u64; 8] = [16, 32, 32, 48, 64, 96, 160, 1024];
const ROOTS: u64 = 10_000;
const EVERY: u64 = 1000;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["write", file, blocks, shape] => {
            write(file, blocks.parse().expect("a number of blocks"), shape == "random");
        }
        ["analyse", file] => analyse(file),
        _ => panic!("see the head of this file"),
    }
}

/// A snapshot in which each block points to two: to its children in a binary tree, and a third of the time to any other block; or always to any.
fn write(file: &str, count: u64, is_random: bool) {
    let (mut starts, mut at, mut random) = (Vec::with_capacity(count as usize), HEAP, Random(1));
    while starts.len() < count as usize {
        let bytes = SIZES[random.below(SIZES.len() as u64) as usize];
        let blocks = (SPAN_BYTES / bytes).min(count - starts.len() as u64);
        starts.extend((0..blocks).map(|block| (at + block * bytes, bytes)));
        at += SPAN_BYTES;
    }
    // Neighbours in the tree are not neighbours in memory.
    let mut places: Vec<u32> = (0..count as u32).collect();
    (1..count).rev().for_each(|last| places.swap(last as usize, random.below(last + 1) as usize));
    let mut children = vec![[0u32; 2]; count as usize];
    for (number, &place) in places.iter().enumerate() {
        let child = |side: usize| places.get(2 * number + 1 + side).copied();
        children[place as usize] = [0, 1].map(|side| child(side).unwrap_or(place));
    }
    let header = SnapshotHeader { every: EVERY as u32, ..FromZeros::new_zeroed() };
    let out = BufWriter::new(File::create(file).expect("the file can be made"));
    let mut writer = Writer::new(out, header).expect("written");
    let mut root = |place: u64, block: u32| {
        let (target, kind) = (starts[block as usize].0, RootKind::Data as u32);
        let record = RootRecord { place, target, kind, ..FromZeros::new_zeroed() };
        writer.root(&record).expect("written");
    };
    root(0x5000, places[0]);
    (1..ROOTS).for_each(|at| root(0x5000 + at * 8, random.below(count) as u32));
    for (number, &(start, bytes)) in starts.iter().enumerate() {
        let pointers = [0, 1].map(|side| {
            let any = is_random || random.below(3) == 0;
            let block = if any { random.below(count) as u32 } else { children[number][side] };
            PointerRecord { target: starts[block as usize].0, word: side as u32, is_freed: 0 }
        });
        writer.block(start, bytes, &pointers).expect("written");
    }
    for &(start, requested_bytes) in starts.iter().step_by(EVERY as usize) {
        let stack = 1 + random.below(1000) as u32;
        writer
            .life(&KnownLife {
                start,
                requested_bytes,
                rounded_bytes: requested_bytes,
                time_ns: 1,
                tid: 1,
                stack,
            })
            .expect("written");
    }
    (1..=1000).for_each(|stack| writer.stack(stack, &[0x1000 + u64::from(stack)]).expect("written"));
    writer.finish().and_then(|mut out| out.flush()).expect("written");
}

fn analyse(file: &str) {
    let begin = Instant::now();
    let mut last = begin;
    let mut told = |what: &str| {
        println!("{what:<36} {:6.2} s, {:4} MB at most so far", last.elapsed().as_secs_f64(), peak_mb());
        last = Instant::now();
    };
    let snapshot = read(File::open(file).expect("the file can be read")).expect("a snapshot");
    let graph = &snapshot.graph;
    told(&format!("{} blocks read", graph.len()));
    let sites = retained(&snapshot, &mut told);
    println!("{:<36} {:6.2} s", "together", begin.elapsed().as_secs_f64());
    println!("a site retains {} MB", sites / 1_000_000);
    let lost = find_leaks(&snapshot);
    told(&format!("{} leaks", lost.leaks.len()));
    let paths = Paths::new(&snapshot);
    let far = (0..graph.len() as u32).step_by(997).filter_map(|block| paths.to(block));
    told(&format!("ways of {} at most", far.map(|path| path.steps.len()).max().unwrap_or(0)));
}

fn retained(snapshot: &Snapshot, told: &mut impl FnMut(&str)) -> u64 {
    let group = |place: u64| (place / 8 % 100) as u32;
    let groups = RootGroups::new(100, snapshot.roots.iter().map(|root| (group(root.place), root.block)));
    let tree = dominators(&snapshot.graph, &groups);
    told("dominators");
    let retained = Retained::new(&snapshot.graph, &tree);
    told(&format!("{} MB retained", retained.reached().bytes / 1_000_000));
    told(&format!("{} accumulation points", retained.accumulations(retained.reached().bytes / 100).len()));
    let site = |block| snapshot.lives.of(block).map(|life| life.stack - 1);
    let sites = retained.of_sites(snapshot.stacks.len(), site);
    told("retained by sites");
    sites.iter().map(|size| size.bytes).max().unwrap_or(0)
}

/// The process's highest resident size so far.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) / 1000
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}
