//! The shortest way from a root to a block.

use crate::bits::Bits;
use crate::snapshot::Snapshot;
use hk_format::RootKind;

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
    /// The root that each way begins with.
    roots: Vec<u32>,
    /// Pointers in blocks on each way.
    distances: Vec<u32>,
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
        let mut order: Vec<u32> = (0..snapshot.roots.len() as u32).collect();
        order.sort_by_key(|&root| rank(snapshot.roots[root as usize].kind));
        let mut paths = Paths {
            snapshot,
            reached: Bits::new(graph.len()),
            before: vec![0; graph.len()],
            roots: vec![0; graph.len()],
            distances: vec![0; graph.len()],
        };
        let mut level = Vec::new();
        for root in order {
            let block = snapshot.roots[root as usize].block;
            if paths.reached.insert(block) {
                paths.roots[block as usize] = root;
                level.push(block);
            }
        }
        while !level.is_empty() {
            let mut next_level = Vec::new();
            for &block in &level {
                let (root, distance) = (paths.roots[block as usize], paths.distances[block as usize] + 1);
                for &target in graph.targets(block) {
                    if paths.reached.insert(target) {
                        paths.before[target as usize] = block;
                        paths.roots[target as usize] = root;
                        paths.distances[target as usize] = distance;
                        next_level.push(target);
                    }
                }
            }
            level = next_level;
        }
        paths
    }

    /// Blocks that roots lead to.
    pub fn reached(&self) -> &Bits {
        &self.reached
    }

    /// The place in [`Snapshot::roots`] of the root that is nearest to a block, and how many pointers in blocks lead from there; None if no root does.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn nearest(&self, block: u32) -> Option<(usize, u32)> {
        let at = block as usize;
        self.reached.contains(block).then(|| (self.roots[at] as usize, self.distances[at]))
    }

    /// The way to a block; None if no root leads to it.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn to(&self, block: u32) -> Option<Path> {
        let (root, distance) = self.nearest(block)?;
        let mut steps = Vec::with_capacity(distance as usize);
        let mut at = block;
        for _ in 0..distance {
            let holder = self.before[at as usize];
            let mut pointers = self.snapshot.graph.pointers(holder);
            let word = pointers.find(|&(_, target)| target == at).map_or(0, |(word, _)| word);
            steps.push(Step { block: holder, word });
            at = holder;
        }
        steps.reverse();
        Some(Path { root, steps, block })
    }
}
