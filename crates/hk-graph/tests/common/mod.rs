//! What the tests share: plain graphs, drawn at random, and the way through a snapshot's bytes.
#![allow(dead_code, reason = "each test file uses its own part")]

use hk_format::{FreedRecord, PointerRecord, RootKind, RootRecord, SnapshotHeader};
use hk_graph::{Snapshot, Writer, read};
use zerocopy::FromZeros;

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// Blocks with the blocks that each points to, and the blocks that roots point to.
#[derive(Clone, Debug, Default)]
pub struct Plain {
    pub sizes: Vec<u64>,
    pub pointers: Vec<Vec<usize>>,
    pub roots: Vec<usize>,
}

impl Plain {
    /// Few blocks and few pointers to each, so that all shapes come up: chains, circles, islands.
    pub fn random(random: &mut Random) -> Plain {
        let count = 1 + random.below(24);
        let density = random.below(4);
        let mut plain = Plain::default();
        for _ in 0..count {
            let pointers = (0..random.below(density + 2)).map(|_| random.below(count)).collect::<Vec<_>>();
            plain.sizes.push(8 * (pointers.len() as u64 + random.below(20) as u64 + 1));
            plain.pointers.push(pointers);
        }
        plain.roots = (0..random.below(4)).map(|_| random.below(count)).collect();
        plain
    }

    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// The address of each block. Gaps of all sizes lie between them, so that they lie in many pieces of memory.
    pub fn starts(&self) -> Vec<u64> {
        let mut at = 0x7f00_0000_0000;
        let place = |(number, size): (usize, &u64)| {
            let start = at;
            at += size + [0, 8, 0, 70_000, 0, 16][number % 6];
            start
        };
        self.sizes.iter().enumerate().map(place).collect()
    }

    pub fn bytes(&self) -> Vec<u8> {
        let starts = self.starts();
        let mut writer = Writer::new(Vec::new(), SnapshotHeader { every: 1, ..header() }).unwrap();
        for (at, &target) in self.roots.iter().enumerate() {
            let place = 0x5000 + at as u64 * 8;
            writer.root(&root(place, starts[target], RootKind::Data)).unwrap();
        }
        for (number, &start) in starts.iter().enumerate() {
            let pointer = |(word, &target): (usize, &usize)| pointer(starts[target], word as u32);
            let pointers: Vec<PointerRecord> =
                self.pointers[number].iter().enumerate().map(pointer).collect();
            writer.block(start, self.sizes[number], &pointers).unwrap();
        }
        writer.finish().unwrap()
    }

    pub fn snapshot(&self) -> Snapshot {
        read(&self.bytes()[..]).unwrap()
    }

    /// What can be reached from here, without ever looking at `without`: by looking again until nothing new comes.
    pub fn reach(&self, from: &[usize], without: Option<usize>) -> Vec<bool> {
        let mut reached = vec![false; self.len()];
        from.iter().filter(|&&block| Some(block) != without).for_each(|&block| reached[block] = true);
        loop {
            let before = reached.clone();
            for block in (0..self.len()).filter(|&block| before[block]) {
                for &target in self.pointers[block].iter().filter(|&&target| Some(target) != without) {
                    reached[target] = true;
                }
            }
            if reached == before {
                return reached;
            }
        }
    }
}

pub fn header() -> SnapshotHeader {
    SnapshotHeader { pid: 42, heap_start: 0x7f00_0000_0000, heap_bytes: 1 << 40, ..FromZeros::new_zeroed() }
}

pub fn root(place: u64, target: u64, kind: RootKind) -> RootRecord {
    RootRecord { place, target, kind: kind as u32, tid: 0, is_freed: 0, reserved: 0 }
}

pub fn pointer(target: u64, word: u32) -> PointerRecord {
    PointerRecord { target, word, is_freed: 0 }
}

pub fn freed(start: u64, bytes: u64) -> FreedRecord {
    FreedRecord { start, bytes, ..FromZeros::new_zeroed() }
}
