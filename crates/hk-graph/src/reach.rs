//! What roots lead to.

use crate::bits::Bits;
use crate::graph::Graph;
use crate::snapshot::Snapshot;

/// Blocks that were reached, and how much they are.
#[derive(Clone, Debug)]
pub struct Reached {
    /// Which.
    pub marks: Bits,
    /// How many.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What the roots of a snapshot lead to.
pub fn reached(snapshot: &Snapshot) -> Reached {
    let mut marks = Bits::new(snapshot.graph.len());
    let mut pending = Vec::new();
    let (mut blocks, mut bytes) = (0, 0);
    for root in &snapshot.roots {
        let (more, more_bytes) = reach(&snapshot.graph, root.block, &mut marks, &mut pending);
        (blocks, bytes) = (blocks + more, bytes + more_bytes);
    }
    Reached { marks, blocks, bytes }
}

/// Marks a block and all that it leads to and that was not marked yet; gives how many those are, and their bytes. `pending` is empty, before and
/// after; it is given so that its memory is used again.
pub fn reach(graph: &Graph, from: u32, marks: &mut Bits, pending: &mut Vec<u32>) -> (u64, u64) {
    if !marks.insert(from) {
        return (0, 0);
    }
    pending.push(from);
    let (mut blocks, mut bytes) = (0, 0);
    while let Some(block) = pending.pop() {
        blocks += 1;
        bytes += graph.bytes(block);
        pending.extend(graph.targets(block).iter().filter(|&&target| marks.insert(target)));
    }
    (blocks, bytes)
}
