//! How much would come free with a block, with all blocks of an allocation site, or with a root: what it *retains*.
//!
//! A block retains itself and what it dominates. A site retains what those of its blocks do that no other block of the site dominates; what only
//! several of them hold together is not counted, so that this is a lower bound.

use crate::dominators::Dominators;
use crate::graph::Graph;

/// So much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    /// Bytes of the blocks.
    pub bytes: u64,
    /// How many blocks.
    pub blocks: u64,
}

impl std::ops::AddAssign for Size {
    fn add_assign(&mut self, other: Size) {
        self.bytes += other.bytes;
        self.blocks += other.blocks;
    }
}

/// A block that retains much, through no single child: where things pile up (Eclipse MAT's accumulation point).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accumulation {
    /// The block.
    pub block: u32,
    /// What it retains.
    pub retained: Size,
    /// Blocks that it dominates immediately.
    pub children: u64,
    /// What the largest of these retains, in bytes.
    pub largest_child_bytes: u64,
}

/// What each node of the tree of dominators retains.
#[derive(Clone, Debug)]
pub struct Retained<'a> {
    tree: &'a Dominators,
    bytes: Vec<u64>,
    blocks: Vec<u32>,
}

impl Retained<'_> {
    /// Sums up the tree.
    pub fn new<'a>(graph: &Graph, tree: &'a Dominators) -> Retained<'a> {
        let (mut bytes, mut blocks) = (vec![0; tree.len()], vec![0; tree.len()]);
        for node in tree.upwards() {
            if let Some(block) = tree.block_of(node) {
                bytes[node as usize] += graph.bytes(block);
                blocks[node as usize] += 1;
            }
            let idom = tree.idom(node) as usize;
            bytes[idom] += bytes[node as usize];
            blocks[idom] += blocks[node as usize];
        }
        Retained { tree, bytes, blocks }
    }

    /// All that roots lead to.
    pub fn reached(&self) -> Size {
        self.of_node(0)
    }

    /// What a block retains; None if no root leads to it.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn of_block(&self, block: u32) -> Option<Size> {
        self.tree.node_of(block).map(|node| self.of_node(node))
    }

    /// What a group of roots retains: what no other group leads to.
    ///
    /// # Panics
    /// If there is no such group.
    pub fn of_group(&self, group: u32) -> Size {
        self.of_node(self.tree.node_of_group(group))
    }

    /// What no group retains alone, as several lead there.
    pub fn shared(&self) -> Size {
        let mut shared = Size::default();
        for node in self.tree.upwards() {
            if self.tree.idom(node) == 0 && self.tree.block_of(node).is_some() {
                shared += self.of_node(node);
            }
        }
        shared
    }

    /// Blocks that retain at least so many bytes, of which none of the blocks that they dominate immediately retains half; those that retain most
    /// first.
    pub fn accumulations(&self, bytes_min: u64) -> Vec<Accumulation> {
        let mut largest = vec![0; self.tree.len()];
        let mut children = vec![0u32; self.tree.len()];
        for node in self.tree.upwards() {
            let idom = self.tree.idom(node) as usize;
            largest[idom] = self.bytes[node as usize].max(largest[idom]);
            children[idom] += 1;
        }
        let mut found = Vec::new();
        for node in self.tree.upwards() {
            let (retained, largest_child_bytes) = (self.of_node(node), largest[node as usize]);
            let is_point = retained.bytes >= bytes_min && largest_child_bytes * 2 < retained.bytes;
            if let Some(block) = self.tree.block_of(node).filter(|_| is_point && children[node as usize] > 1)
            {
                let children = children[node as usize].into();
                found.push(Accumulation { block, retained, children, largest_child_bytes });
            }
        }
        found.sort_by_key(|point| (std::cmp::Reverse(point.retained), point.block));
        found
    }

    /// What each of so many sites retains; see the module head. `site_of` tells the site of a block, if it is known.
    ///
    /// # Panics
    /// If a site is not below `sites`.
    pub fn of_sites(&self, sites: usize, site_of: impl Fn(u32) -> Option<u32>) -> Vec<Size> {
        let mut retained = vec![Size::default(); sites];
        // Blocks of each site on the way from the tree's root to where the search is.
        let mut above = vec![0u32; sites];
        let (first, children) = self.tree.children();
        let mut way = vec![(0u32, None, first[0])];
        while let Some((node, site, next)) = way.last_mut() {
            if *next == first[*node as usize + 1] {
                if let Some(site) = *site {
                    above[site as usize] -= 1;
                }
                way.pop();
                continue;
            }
            let child = children[*next as usize];
            *next += 1;
            let site = self.tree.block_of(child).and_then(&site_of);
            if let Some(site) = site {
                if above[site as usize] == 0 {
                    retained[site as usize] += self.of_node(child);
                }
                above[site as usize] += 1;
            }
            way.push((child, site, first[child as usize]));
        }
        retained
    }

    fn of_node(&self, node: u32) -> Size {
        Size { bytes: self.bytes[node as usize], blocks: self.blocks[node as usize].into() }
    }
}
