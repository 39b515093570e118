//! Which blocks were lost, and which only with others: the same blocks in the same words as `hk-scan` tells inside the program (`leaks.rs` there
//! says why this finds one block of each cycle).
//!
//! Of the blocks that no root leads to, those that no other lost block points at were *lost directly*; what they lead to was lost with them. What
//! is left after that can be reached from a cycle only. A block of each cycle that no other lost block leads to is told; the others were lost with
//! it.

use crate::bits::Bits;
use crate::graph::Graph;
use crate::reach::{reach, reached};
use crate::snapshot::Snapshot;

/// How a block was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeakKind {
    /// Nothing points at it but itself.
    Direct,
    /// It is one of blocks that point at each other in a circle.
    Cycle,
}

/// Blocks that were lost together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leak {
    /// How.
    pub kind: LeakKind,
    /// The block that leads to all others.
    pub block: u32,
    /// How many others were lost with it: each is counted with one leak.
    pub indirect_blocks: u64,
    /// Their bytes.
    pub indirect_bytes: u64,
}

/// All that was lost.
#[derive(Clone, Debug)]
pub struct Lost {
    /// One for each block that was lost directly, and for each cycle.
    pub leaks: Vec<Leak>,
    /// Blocks that roots lead to; all others were lost.
    pub reached: Bits,
}

/// See the module head.
pub fn find_leaks(snapshot: &Snapshot) -> Lost {
    let graph = &snapshot.graph;
    let reached = reached(snapshot).marks;
    let mut search = Search { graph, told: reached.clone(), pending: Vec::new(), leaks: Vec::new() };
    let pointed_at = pointed_at(graph, &reached);
    for block in numbers(graph).filter(|&block| !pointed_at.contains(block)) {
        search.tell(LeakKind::Direct, block);
    }
    let mut visited = Bits::new(graph.len());
    let mut begun = Vec::new();
    for block in numbers(graph).filter(|&block| !search.told.contains(block)) {
        if reach(graph, block, &mut visited, &mut search.pending).0 > 0 {
            begun.push(block);
        }
    }
    begun.iter().rev().for_each(|&block| search.tell(LeakKind::Cycle, block));
    Lost { leaks: search.leaks, reached }
}

/// Leaks of the second snapshot that were lost in the first already: the same block with the same size and, as far as it is known, the same life.
/// A block whose address was nowhere to be seen for a moment, as in the midst of a computation, is not lost twice.
pub fn intersect(first: (&Snapshot, &Lost), second: (&Snapshot, &Lost)) -> Vec<Leak> {
    let (before, lost_before) = first;
    let (after, lost_after) = second;
    let was_lost = |leak: &&Leak| {
        let block = after.graph.block(leak.block);
        before.graph.find(block.start).is_some_and(|old| {
            let is_same_life = match (before.lives.of(old), after.lives.of(leak.block)) {
                (Some(one), Some(other)) => (one.time_ns, one.tid) == (other.time_ns, other.tid),
                (None, None) => true,
                _ => false,
            };
            before.graph.block(old) == block && is_same_life && !lost_before.reached.contains(old)
        })
    };
    lost_after.leaks.iter().filter(was_lost).copied().collect()
}

struct Search<'a> {
    graph: &'a Graph,
    /// Blocks that were reached, and lost ones that were told.
    told: Bits,
    pending: Vec<u32>,
    leaks: Vec<Leak>,
}

impl Search<'_> {
    fn tell(&mut self, kind: LeakKind, block: u32) {
        let (blocks, bytes) = reach(self.graph, block, &mut self.told, &mut self.pending);
        if blocks > 0 {
            let (indirect_blocks, indirect_bytes) = (blocks - 1, bytes - self.graph.bytes(block));
            self.leaks.push(Leak { kind, block, indirect_blocks, indirect_bytes });
        }
    }
}

fn numbers(graph: &Graph) -> std::ops::Range<u32> {
    0..graph.len() as u32
}

/// Blocks that lost ones point at. A block that points at itself alone was lost directly.
fn pointed_at(graph: &Graph, reached: &Bits) -> Bits {
    let mut pointed_at = Bits::new(graph.len());
    for block in numbers(graph).filter(|&block| !reached.contains(block)) {
        graph.targets(block).iter().filter(|&&target| target != block).for_each(|&target| {
            pointed_at.insert(target);
        });
    }
    pointed_at
}
