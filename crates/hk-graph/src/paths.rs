//! The shortest way from a root to a block.

use crate::bits::Bits;
use crate::snapshot::Snapshot;
use hk_format::RootKind;
use std::collections::HashMap;

/// A pointer on the way: the block that holds it, and where it stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The block.
    pub block: u32,
    /// Words of 8 bytes from its start.
    pub word: u32,
}

/// A way from a root to a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The root's place in [`Snapshot::roots`].
    pub root: usize,
    /// Blocks on the way, the first of which the root points to.
    pub steps: Vec<Step>,
    /// Where it ends.
    pub block: u32,
}

/// Shortest ways to all blocks.
#[derive(Clone, Debug)]
pub struct Paths<'a> {
    snapshot: &'a Snapshot,
    reached: Bits,
    /// The block before each block that a block leads to.
    before: Vec<u32>,
    /// The root that leads to a block.
    roots: HashMap<u32, usize>,
}

/// Of roots that are equally near the one is told that says most: a variable rather than a register.
fn rank(kind: RootKind) -> u32 {
    match kind {
        RootKind::Data => 0,
        RootKind::Other => 1,
        RootKind::Stack => 2,
        RootKind::Register => 3,
    }
}

impl Paths<'_> {
    /// Searches breadth first from all roots.
    pub fn new(snapshot: &Snapshot) -> Paths<'_> {
        let graph = &snapshot.graph;
        let mut order: Vec<usize> = (0..snapshot.roots.len()).collect();
        order.sort_by_key(|&root| rank(snapshot.roots[root].kind));
        let mut reached = Bits::new(graph.len());
        let mut roots = HashMap::new();
        let mut level = Vec::new();
        for root in order {
            let block = snapshot.roots[root].block;
            if reached.insert(block) {
                roots.insert(block, root);
                level.push(block);
            }
        }
        let mut before = vec![0; graph.len()];
        while !level.is_empty() {
            let mut next_level = Vec::new();
            for &block in &level {
                for &target in graph.targets(block) {
                    if reached.insert(target) {
                        before[target as usize] = block;
                        next_level.push(target);
                    }
                }
            }
            level = next_level;
        }
        Paths { snapshot, reached, before, roots }
    }

    /// Blocks that roots lead to.
    pub fn reached(&self) -> &Bits {
        &self.reached
    }

    /// The way to a block; None if no root leads to it.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn to(&self, block: u32) -> Option<Path> {
        if !self.reached.contains(block) {
            return None;
        }
        let mut steps = Vec::new();
        let mut at = block;
        let root = loop {
            if let Some(&root) = self.roots.get(&at) {
                break root;
            }
            let holder = self.before[at as usize];
            let mut pointers = self.snapshot.graph.pointers(holder);
            let word = pointers.find(|&(_, target)| target == at).map_or(0, |(word, _)| word);
            steps.push(Step { block: holder, word });
            at = holder;
        };
        steps.reverse();
        Some(Path { root, steps, block })
    }
}
