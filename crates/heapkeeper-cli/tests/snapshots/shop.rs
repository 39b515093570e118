//! From what `shop.c` says of itself to a snapshot.

use hk_format::*;
use hk_graph::Writer;
use std::collections::BTreeMap;
use std::path::Path;
use zerocopy::FromZeros;

/// When the snapshots are taken, in nanoseconds since 1970.
pub const TIME_NS: u64 = 1_800_000_000_000_000_000;

#[derive(Default)]
struct Block {
    bytes: u64,
    is_freed: bool,
    pointers: Vec<PointerRecord>,
    allocated: u32,
    freed: u32,
}

/// Runs the program, and writes a snapshot of which one block in `every` has its allocation recorded.
pub fn snapshot(program: &Path, more: u32, every: u32, file: &Path) {
    let ran = super::succeed(std::process::Command::new(program).arg(more.to_string()));
    let said = super::text(&ran.stdout);
    let number = |word: &str| match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).unwrap(),
        None => word.parse().unwrap(),
    };
    let (mut modules, mut roots, mut pid) = (Vec::new(), Vec::new(), 0);
    let mut blocks: BTreeMap<u64, Block> = BTreeMap::new();
    let mut stacks: Vec<Vec<u64>> = Vec::new();
    for line in said.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["module", start, end, bias, path] => modules.push(([start, end, bias].map(number), path)),
            ["pid", word] => pid = number(word) as u32,
            ["root", start, word, target, is_freed] => roots.push(RootRecord {
                place: number(start) + number(word) * 8,
                target: number(target),
                kind: RootKind::Data as u32,
                is_freed: number(is_freed) as u32,
                ..FromZeros::new_zeroed()
            }),
            ["block", start, bytes, is_freed] => {
                let block = blocks.entry(number(start)).or_default();
                (block.bytes, block.is_freed) = (number(bytes), is_freed == "1");
            }
            ["pointer", start, word, target, is_freed] => {
                let pointer = PointerRecord {
                    target: number(target),
                    word: number(word) as u32,
                    is_freed: number(is_freed) as u32,
                };
                blocks.entry(number(start)).or_default().pointers.push(pointer);
            }
            [what @ ("allocated" | "freed"), start, ref frames @ ..] => {
                stacks.push(frames.iter().map(|frame| number(frame)).collect());
                let block = blocks.entry(number(start)).or_default();
                match what {
                    "allocated" => block.allocated = stacks.len() as u32,
                    _ => block.freed = stacks.len() as u32,
                }
            }
            _ => panic!("{line}"),
        }
    }
    let path = program.as_os_str().as_encoded_bytes();
    let mut name = [0; hk_format::PROCESS_NAME_BYTES];
    name[..path.len()].copy_from_slice(path);
    let header = SnapshotHeader {
        program_len: path.len() as u32,
        program: name,
        pid,
        time_ns: TIME_NS + u64::from(more) * 1_000_000_000,
        start_ns: TIME_NS - 60_000_000_000,
        every,
        ..FromZeros::new_zeroed()
    };
    let mut writer = Writer::new(std::fs::File::create(file).unwrap(), header).unwrap();
    for ([start, end, bias], path) in &modules {
        let header = ModuleHeader { start: *start, end: *end, bias: *bias, ..FromZeros::new_zeroed() };
        writer.module(header, path.as_bytes()).unwrap();
    }
    let thread = ThreadRecord { tid: pid, name: *b"shop\0\0\0\0\0\0\0\0\0\0\0\0", ..FromZeros::new_zeroed() };
    writer.thread(&thread).unwrap();
    let mut mapping = MappingRecord::new_zeroed();
    (mapping.start, mapping.end) = (modules[0].0[1] - 8, modules[0].0[1]);
    mapping.path_len = path.len() as u32;
    mapping.path[..path.len()].copy_from_slice(path);
    writer.mapping(&mapping).unwrap();
    roots.iter().for_each(|root| writer.root(root).unwrap());
    let live = || blocks.iter().filter(|(_, block)| !block.is_freed);
    live().for_each(|(&start, block)| writer.block(start, block.bytes, &block.pointers).unwrap());
    for (at, (&start, block)) in live().enumerate() {
        if every > 0 && at % every as usize == 0 {
            let life = KnownLife {
                start,
                requested_bytes: block.bytes,
                rounded_bytes: block.bytes,
                time_ns: TIME_NS - 5_000_000_000,
                tid: pid,
                stack: block.allocated,
            };
            writer.life(&life).unwrap();
        }
    }
    for (&start, block) in blocks.iter().filter(|(_, block)| block.is_freed) {
        let freed = FreedRecord {
            start,
            bytes: block.bytes,
            requested_bytes: block.bytes,
            allocated_ns: TIME_NS - 5_000_000_000,
            freed_ns: TIME_NS - 2_000_000_000,
            allocated_stack: block.allocated,
            freed_stack: block.freed,
            allocated_tid: pid,
            freed_tid: pid,
        };
        writer.freed(&freed).unwrap();
    }
    for (number, frames) in (1..).zip(&stacks) {
        writer.stack(number, frames).unwrap();
    }
    writer.finish().unwrap();
}
