//! Whatever a file holds, the reader gives a snapshot or one clear error.

mod common;
#[path = "common/everything.rs"]
mod everything;

use common::*;
use everything::use_it;
use hk_format::*;
use hk_graph::*;
use zerocopy::FromZeros;

const HEAP: u64 = 0x7f00_0000_0000;

/// One with items of every kind.
fn whole() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), SnapshotHeader { every: 100, ..header() }).unwrap();
    let module = ModuleHeader { start: 0x1000, end: 0x9000, build_id_len: 3, ..FromZeros::new_zeroed() };
    writer.module(module, b"/opt/shop/bin/orders").unwrap();
    writer.module(module, b"").unwrap();
    let thread = ThreadRecord { tid: 42, name: *b"orders\0\0\0\0\0\0\0\0\0\0", ..FromZeros::new_zeroed() };
    writer.thread(&thread).unwrap();
    let mapping = MappingRecord { start: 0x5000, end: 0x6000, ..FromZeros::new_zeroed() };
    writer.mapping(&mapping).unwrap();
    writer.root(&root(0x5008, HEAP, RootKind::Data)).unwrap();
    writer.root(&RootRecord { is_freed: 1, ..root(3, HEAP + 4096, RootKind::Register) }).unwrap();
    let dangling = PointerRecord { is_freed: 1, ..pointer(HEAP + 4096, 1) };
    writer.block(HEAP, 64, &[pointer(HEAP + 64, 0), dangling, pointer(HEAP, 7)]).unwrap();
    writer.block(HEAP + 64, 64, &[]).unwrap();
    writer.block(HEAP + 128, 29, &[pointer(HEAP, 3)]).unwrap();
    let life = KnownLife {
        start: HEAP + 64,
        requested_bytes: 60,
        rounded_bytes: 64,
        time_ns: 7,
        tid: 42,
        stack: 900,
    };
    writer.life(&life).unwrap();
    writer.life(&KnownLife { start: HEAP, stack: 0, ..life }).unwrap();
    writer.freed(&FreedRecord { allocated_stack: 7, freed_stack: 900, ..freed(HEAP + 4096, 16) }).unwrap();
    writer.stack(900, &[1, 2, 3]).unwrap();
    writer.stack(7, &[]).unwrap();
    writer.area(&area(AreaKind::Blocks, HEAP)).unwrap();
    writer.span(&span(HEAP, 70), &[LIVE, SpanWord { retained: 1 << 5, ..LIVE }]).unwrap();
    writer.span(&span(HEAP + 65536, 3), &[SpanWord { available: 0b110, ..LIVE }]).unwrap();
    writer.finish().unwrap()
}

const LIVE: SpanWord = SpanWord { live: 1, retained: 0, available: 0 };

fn area(kind: AreaKind, start: u64) -> AreaRecord {
    AreaRecord { start, bytes: 1 << 20, kind: kind as u32, reserved: 0 }
}

fn span(start: u64, block_count: u32) -> SpanRecord {
    SpanRecord { start, bytes: 65536, block_bytes: 64, block_count, words: 0 }
}

#[test]
fn spans_and_areas_that_cannot_be_are_refused() {
    let refused = |write: &dyn Fn(&mut Writer<Vec<u8>>)| {
        let mut writer = Writer::new(Vec::new(), header()).unwrap();
        write(&mut writer);
        let read = read(&writer.finish().unwrap()[..]);
        assert!(matches!(read, Err(SnapshotError::Damaged { .. })), "{read:?}");
    };
    let words =
        |record: SpanRecord, words: &[SpanWord]| refused(&|writer| writer.span(&record, words).unwrap());
    words(span(HEAP, 64), &[]);
    words(span(HEAP, 64), &[LIVE, LIVE]);
    words(span(HEAP, 1025), &[LIVE; 17]);
    words(SpanRecord { block_bytes: 0, ..span(HEAP, 1) }, &[LIVE]);
    words(SpanRecord { block_bytes: u64::MAX, ..span(HEAP, 2) }, &[LIVE]);
    words(span(u64::MAX - 65534, 1), &[LIVE]);
    // A block that is in two sets, and one that is not there.
    words(span(HEAP, 64), &[SpanWord { retained: 1, ..LIVE }]);
    words(span(HEAP, 64), &[SpanWord { live: 2, retained: 4, available: 6 }]);
    words(span(HEAP, 63), &[SpanWord { live: 1 << 63, ..LIVE }]);
    words(span(HEAP, 65), &[LIVE, SpanWord { available: 2, ..LIVE }]);
    refused(&|writer| {
        writer.span(&span(HEAP, 1), &[LIVE]).unwrap();
        writer.span(&span(HEAP + 4096, 1), &[LIVE]).unwrap();
    });
    refused(&|writer| writer.area(&AreaRecord { kind: 9, ..area(AreaKind::Own, HEAP) }).unwrap());
    refused(&|writer| writer.area(&area(AreaKind::Own, u64::MAX - 1)).unwrap());
}

#[test]
fn what_was_written_is_read() {
    let snapshot = read(&whole()[..]).unwrap();
    assert_eq!((snapshot.header.pid, snapshot.header.every), (42, 100));
    assert_eq!(snapshot.modules[0].path, b"/opt/shop/bin/orders");
    assert_eq!((snapshot.modules[1].path.len(), snapshot.modules[1].build_id().len()), (0, 3));
    assert_eq!(snapshot.thread(42).unwrap().name[..6], *b"orders");
    assert_eq!(snapshot.mappings[0].end, 0x6000);
    assert_eq!(snapshot.roots, [Root { place: 0x5008, kind: RootKind::Data, tid: 0, block: 0 }]);
    assert_eq!(snapshot.graph.block(2), Block { start: HEAP + 128, bytes: 29 });
    assert_eq!(snapshot.graph.pointers(0).collect::<Vec<_>>(), [(0, 1), (7, 0)]);
    assert_eq!((snapshot.graph.targets(1), snapshot.graph.targets(2)), (&[][..], &[0][..]));
    let life = snapshot.lives.of(1).unwrap();
    assert_eq!((life.requested_bytes, snapshot.stacks.frames(life.stack)), (60, &[1, 2, 3][..]));
    assert_eq!(snapshot.stacks.frames(snapshot.lives.of(0).unwrap().stack), []);
    assert_eq!(snapshot.lives.of(2), None);
    assert_eq!(snapshot.freed_at(HEAP + 4096 + 15), Some(0));
    assert_eq!(snapshot.freed_at(HEAP + 4096 + 16), None);
    assert_eq!(snapshot.stacks.frames(snapshot.freed[0].freed_stack), [1, 2, 3]);
    assert_eq!(snapshot.areas, [area(AreaKind::Blocks, HEAP)]);
    let spans: Vec<_> =
        snapshot.spans.all().map(|(span, words)| (span.start, words.len(), words[0])).collect();
    assert_eq!(spans, [(HEAP, 2, LIVE), (HEAP + 65536, 1, SpanWord { available: 6, ..LIVE })]);
    let reached = reached(&snapshot);
    let dangling = dangling(&snapshot, &reached.marks);
    let register = Holder::Root { place: 3, kind: RootKind::Register, tid: 0 };
    assert_eq!(
        dangling,
        [Dangling { freed: 0, holders: vec![register, Holder::Block { block: 0, word: 1 }] }]
    );
}

#[test]
fn nothing_is_read_beyond_the_end() {
    let mut bytes = whole();
    let length = bytes.len();
    bytes.extend_from_slice(b"what follows in a stream");
    let mut rest = &bytes[..];
    read(&mut rest).unwrap();
    assert_eq!(bytes.len() - rest.len(), length);
}

#[test]
fn a_block_with_more_pointers_than_a_chunk_holds_is_one_block() {
    let count = 200_000;
    let plain = Plain {
        sizes: vec![8, count * 8, 8],
        pointers: vec![vec![], (0..count as usize).map(|at| at % 3).collect(), vec![]],
        roots: vec![1],
    };
    let snapshot = plain.snapshot();
    let found: Vec<u32> = snapshot.graph.targets(1).to_vec();
    assert_eq!((snapshot.graph.len(), found.len()), (3, count as usize));
    assert!(found.iter().enumerate().all(|(at, &target)| target == at as u32 % 3));
}

#[test]
fn a_cut_file_says_where() {
    let bytes = whole();
    for length in 0..bytes.len() {
        match read(&bytes[..length]) {
            Err(SnapshotError::Cut { offset }) if length >= 8 => assert_eq!(offset, length as u64),
            Err(SnapshotError::NotASnapshot) if length < 8 => {}
            other => panic!("cut at {length}: {other:?}"),
        }
    }
}

/// No flip of one bit makes the reader panic; in heads and numbers that are checked it is found, in others it makes another snapshot.
#[test]
fn flipped_bits_do_no_harm() {
    let bytes = whole();
    let mut refused = 0;
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        match read(&damaged[..]) {
            Ok(snapshot) => use_it(&snapshot),
            Err(error) => {
                assert!(!error.to_string().contains('\n'));
                refused += 1;
            }
        }
    }
    assert!(refused > bytes.len(), "{refused}");
}

/// Many damages at once, and pieces in the wrong place.
#[test]
fn random_damage_does_no_harm() {
    let bytes = whole();
    let mut random = Random(1);
    for _ in 0..20_000 {
        let mut damaged = bytes.clone();
        for _ in 0..1 + random.below(4) {
            let (from, to) = (random.below(bytes.len() / 8) * 8, random.below(bytes.len() / 8) * 8);
            match random.below(3) {
                0 => damaged[to] = random.next() as u8,
                1 => damaged[to..to + 8].copy_from_slice(&bytes[from..from + 8]),
                _ => damaged[to..to + 8].copy_from_slice(&(random.next() >> random.below(64)).to_le_bytes()),
            }
        }
        if let Ok(snapshot) = read(&damaged[..]) {
            use_it(&snapshot);
        }
    }
}

#[track_caller]
fn refuses(bytes: &[u8], part: &str) {
    let error = read(bytes).unwrap_err().to_string();
    assert!(error.contains(part), "{error}");
}

#[test]
fn what_contradicts_itself_is_named() {
    refuses(b"#!/bin/sh\n", "it is no snapshot: give a file that `heapkeeper snap` wrote");
    let mut other_version = whole();
    other_version[8] = 9;
    refuses(&other_version, "it has version 9, this heapkeeper reads version 3");
    let make = |fill: &dyn Fn(&mut Writer<Vec<u8>>)| {
        let mut writer = Writer::new(Vec::new(), header()).unwrap();
        fill(&mut writer);
        writer.finish().unwrap()
    };
    let at = |writer: &mut Writer<Vec<u8>>, start: u64, pointers: &[PointerRecord]| {
        writer.block(start, 32, pointers).unwrap();
    };
    refuses(
        &make(&|w| {
            at(w, 64, &[]);
            at(w, 80, &[]);
        }),
        "block 0x50 is not behind the one before it",
    );
    refuses(&make(&|w| at(w, u64::MAX - 8, &[])), "goes beyond the last address");
    refuses(&make(&|w| at(w, 64, &[pointer(72, 0)])), "a pointer to 0x48, where no live block is");
    refuses(&make(&|w| at(w, 64, &[pointer(64, 4)])), "a pointer behind its block's 32 bytes");
    refuses(&make(&|w| w.root(&root(1, 64, RootKind::Data)).unwrap()), "a pointer to 0x40, where no live");
    let stray = RootRecord { is_freed: 1, ..root(1, 64, RootKind::Data) };
    refuses(&make(&|w| w.root(&stray).unwrap()), "a pointer to 0x40, where no free block is");
    let life = KnownLife { start: 64, requested_bytes: 1, rounded_bytes: 16, time_ns: 1, tid: 1, stack: 5 };
    refuses(&make(&|w| w.life(&life).unwrap()), "a life of 0x40, where no live block is");
    let with_life = |w: &mut Writer<Vec<u8>>| {
        at(w, 64, &[]);
        w.life(&life).unwrap();
    };
    refuses(&make(&with_life), "stack 5 is named and not there");
    refuses(
        &make(&|w| {
            with_life(w);
            w.life(&life).unwrap();
            w.stack(5, &[]).unwrap();
        }),
        "a block has two lives",
    );
    refuses(
        &make(&|w| {
            w.stack(5, &[]).unwrap();
            w.stack(5, &[]).unwrap();
        }),
        "stack 5 is there twice",
    );
}

#[test]
fn what_was_lost_at_one_moment_only_is_no_leak_of_both() {
    let snapshot = |roots: Vec<usize>| {
        Plain { sizes: vec![16, 16, 32], pointers: vec![vec![], vec![2], vec![]], roots }.snapshot()
    };
    let (first, second) = (snapshot(vec![0]), snapshot(vec![]));
    let (lost_first, lost_second) = (find_leaks(&first), find_leaks(&second));
    let both = intersect((&first, &lost_first), (&second, &lost_second));
    assert_eq!(both.iter().map(|leak| (leak.block, leak.indirect_blocks)).collect::<Vec<_>>(), [(1, 1)]);
    // The same address with another block is not the same block.
    let grown = Plain { sizes: vec![16, 24, 32], pointers: vec![vec![]; 3], roots: vec![0, 2] }.snapshot();
    let lost_grown = find_leaks(&grown);
    assert_eq!(lost_grown.leaks.len(), 1);
    assert_eq!(intersect((&first, &lost_first), (&grown, &lost_grown)), []);
}

#[test]
fn what_dangles_at_one_moment_only_is_not_told_of_both() {
    let snapshot = |words: &[u32], freed_ns: u64| {
        let mut writer = Writer::new(Vec::new(), header()).unwrap();
        writer.root(&root(0x5008, HEAP, RootKind::Data)).unwrap();
        let pointers: Vec<PointerRecord> =
            words.iter().map(|&word| PointerRecord { is_freed: 1, ..pointer(HEAP + 4096, word) }).collect();
        writer.block(HEAP, 64, &pointers).unwrap();
        writer.freed(&FreedRecord { freed_ns, ..freed(HEAP + 4096, 16) }).unwrap();
        read(&writer.finish().unwrap()[..]).unwrap()
    };
    let all = |snapshot: &Snapshot| dangling(snapshot, &reached(snapshot).marks);
    let still =
        |first: &Snapshot, second: &Snapshot| still_dangling((first, &all(first)), (second, &all(second)));
    let (first, second) = (snapshot(&[1, 2], 5), snapshot(&[2, 3], 5));
    assert_eq!(still(&first, &second)[0].holders, [Holder::Block { block: 0, word: 2 }]);
    assert_eq!(still(&first, &snapshot(&[3], 5)), []);
    assert_eq!(still(&first, &snapshot(&[1, 2], 6)), []);
}

#[test]
fn where_things_pile_up_is_told() {
    // A chain of three leads to a table of eight, one of which is large.
    let plain = Plain {
        sizes: vec![16, 16, 64, 100, 100, 100, 100, 100, 100, 100, 160],
        pointers: [vec![1], vec![2], (3..11).collect()].into_iter().chain(vec![vec![]; 8]).collect(),
        roots: vec![0],
    };
    let plain = Plain { sizes: plain.sizes.iter().map(|size| size * 8).collect(), ..plain };
    let snapshot = plain.snapshot();
    let tree = dominators(&snapshot.graph, &RootGroups::new(1, [(0, 0)].into_iter()));
    let points = Retained::new(&snapshot.graph, &tree).accumulations(100);
    let retained = Size { bytes: 8 * (64 + 700 + 160), blocks: 9 };
    let table = Accumulation { block: 2, retained, children: 8, largest_child_bytes: 8 * 160 };
    assert_eq!(points, [table]);
}
