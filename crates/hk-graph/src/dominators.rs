//! Which blocks would come free with which: a block dominates another if every way from a root to that one leads through it.
//!
//! A node of no size stands before all roots, and one for each group of roots (a variable, a thread's stack) between it and them, so that what
//! hangs on a group alone is dominated by the group. Immediate dominators are found by the semi-NCA algorithm: semidominators by a depth-first
//! search and path compression (Lengauer and Tarjan, "A fast algorithm for finding dominators in a flowgraph", 1979), from which the immediate ones
//! follow as nearest common ancestors (Georgiadis, "Linear-Time Algorithms for Dominators and Related Problems", 2005, chapter 2). In the worst case
//! quadratic, in practice faster than what has a better bound, and with less memory.

use crate::graph::Graph;
use std::ops::Range;

/// No number.
const NONE: u32 = u32::MAX;

/// Roots in groups: the blocks that each group's roots lead to.
#[derive(Clone, Debug)]
pub struct RootGroups {
    first: Vec<u32>,
    blocks: Vec<u32>,
}

impl RootGroups {
    /// `members` are groups, below `groups`, with a block that a root of the group points to.
    ///
    /// # Panics
    /// If a group is not below `groups`.
    pub fn new(groups: u32, members: impl Iterator<Item = (u32, u32)> + Clone) -> RootGroups {
        let (first, blocks) = rows(groups as usize, || members.clone());
        RootGroups { first, blocks }
    }

    /// How many groups.
    pub fn len(&self) -> usize {
        self.first.len() - 1
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn blocks(&self, group: usize) -> &[u32] {
        &self.blocks[self.first[group] as usize..self.first[group + 1] as usize]
    }
}

/// The tree of dominators. Its nodes are numbered from 0, which stands before all groups, in the order of a depth-first search: a node's dominator
/// has a lower number.
#[derive(Clone, Debug)]
pub struct Dominators {
    /// The block or, behind all blocks, the group that each node is.
    vertices: Vec<u32>,
    /// The node that each block and, behind all blocks, each group is.
    nodes: Vec<u32>,
    /// The immediate dominator of each node.
    idoms: Vec<u32>,
    blocks: u32,
}

impl Dominators {
    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.idoms.len()
    }

    /// Whether there is no node but the first.
    pub fn is_empty(&self) -> bool {
        self.len() <= 1
    }

    /// The node of a block; None if no root leads to it.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn node_of(&self, block: u32) -> Option<u32> {
        Some(self.nodes[block as usize]).filter(|&node| node != NONE)
    }

    /// The node of a group of roots.
    ///
    /// # Panics
    /// If there is no such group.
    pub fn node_of_group(&self, group: u32) -> u32 {
        self.nodes[(self.blocks + group) as usize]
    }

    /// The block that a node is; None for groups and for what stands before them.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn block_of(&self, node: u32) -> Option<u32> {
        Some(self.vertices[node as usize]).filter(|&vertex| vertex < self.blocks)
    }

    /// The node that dominates a node immediately; that of 0 is 0.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn idom(&self, node: u32) -> u32 {
        self.idoms[node as usize]
    }

    /// All nodes but the first, highest first: each before the one that dominates it.
    pub(crate) fn upwards(&self) -> std::iter::Rev<Range<u32>> {
        (1..self.len() as u32).rev()
    }

    /// The nodes that each node dominates immediately: where those of each begin, and, at last, where all end; and the nodes.
    pub(crate) fn children(&self) -> (Vec<u32>, Vec<u32>) {
        let edges = || (1..self.len() as u32).map(|node| (self.idoms[node as usize], node));
        rows(self.len(), edges)
    }
}

/// Pairs by their first number, as compressed sparse rows.
fn rows<I: Iterator<Item = (u32, u32)>>(count: usize, pairs: impl Fn() -> I) -> (Vec<u32>, Vec<u32>) {
    let mut first = Vec::with_capacity(count + 1);
    first.resize(count, 0u32);
    pairs().for_each(|(row, _)| first[row as usize] += 1);
    let mut sum = 0;
    for place in &mut first {
        sum += *place;
        *place = sum;
    }
    let mut values = vec![0; sum as usize];
    // Each row is filled from its end, so that in the end the beginnings are left.
    pairs().for_each(|(row, value)| {
        let place = &mut first[row as usize];
        *place -= 1;
        values[*place as usize] = value;
    });
    first.push(sum);
    (first, values)
}

/// The tree of dominators of all that the groups' roots lead to.
pub fn dominators(graph: &Graph, groups: &RootGroups) -> Dominators {
    let all_groups: Vec<u32> = (0..groups.len() as u32).map(|group| graph.len() as u32 + group).collect();
    let flow = Flow { graph, groups, all_groups };
    let Searched { vertices, nodes, parents } = flow.search();
    let (first, predecessors) = flow.predecessors(&vertices, &nodes);
    let mut idoms = parents.clone();
    let mut forest = Forest::new(parents);
    for node in (1..vertices.len() as u32).rev() {
        let row = first[node as usize] as usize..first[node as usize + 1] as usize;
        forest.semidominate(node, &predecessors[row]);
    }
    for node in 1..vertices.len() {
        let semi = forest.nodes[node].semi;
        let mut idom = idoms[node];
        while idom > semi {
            idom = idoms[idom as usize];
        }
        idoms[node] = idom;
    }
    Dominators { vertices, nodes, idoms, blocks: graph.len() as u32 }
}

/// What is searched: vertices are blocks and, behind them, groups. What stands before all is [`NONE`].
struct Flow<'a> {
    graph: &'a Graph,
    groups: &'a RootGroups,
    all_groups: Vec<u32>,
}

/// What a depth-first search gives.
struct Searched {
    vertices: Vec<u32>,
    nodes: Vec<u32>,
    parents: Vec<u32>,
}

impl Flow<'_> {
    fn successors(&self, vertex: u32) -> &[u32] {
        match (vertex as usize).checked_sub(self.graph.len()) {
            None => self.graph.targets(vertex),
            Some(_) if vertex == NONE => &self.all_groups,
            Some(group) => self.groups.blocks(group),
        }
    }

    fn search(&self) -> Searched {
        let mut nodes = vec![NONE; self.graph.len() + self.groups.len()];
        let (mut vertices, mut parents) = (vec![NONE], vec![0]);
        // Vertices on the way, their nodes, and how many of their successors were looked at.
        let mut way = vec![(NONE, 0u32, 0u32)];
        while let Some((vertex, node, looked_at)) = way.last_mut() {
            let Some(&next) = self.successors(*vertex).get(*looked_at as usize) else {
                way.pop();
                continue;
            };
            *looked_at += 1;
            if nodes[next as usize] == NONE {
                let parent = *node;
                let number = vertices.len() as u32;
                nodes[next as usize] = number;
                vertices.push(next);
                parents.push(parent);
                way.push((next, number, 0));
            }
        }
        Searched { vertices, nodes, parents }
    }

    /// Of each node, as compressed sparse rows.
    fn predecessors(&self, vertices: &[u32], nodes: &[u32]) -> (Vec<u32>, Vec<u32>) {
        let edges = || {
            vertices.iter().enumerate().flat_map(|(node, &vertex)| {
                let to = move |&next: &u32| (nodes[next as usize], node as u32);
                self.successors(vertex).iter().map(to)
            })
        };
        rows(vertices.len(), edges)
    }
}

/// What is known of a node: together, as it is looked at together.
#[derive(Clone, Copy)]
struct Node {
    /// Its parent, or a farther ancestor once the way there is compressed.
    ancestor: u32,
    /// The node with the lowest semidominator on the compressed way.
    label: u32,
    semi: u32,
}

/// Nodes whose semidominators are known hang together in trees.
struct Forest {
    nodes: Vec<Node>,
    /// Empty between calls.
    way: Vec<u32>,
}

impl Forest {
    fn new(parents: Vec<u32>) -> Forest {
        let node = |(number, ancestor): (usize, u32)| {
            let number = number as u32;
            Node { ancestor, label: number, semi: number }
        };
        Forest { nodes: parents.into_iter().enumerate().map(node).collect(), way: Vec::new() }
    }

    /// Finds the semidominator of a node; those of all higher ones are known.
    fn semidominate(&mut self, node: u32, predecessors: &[u32]) {
        let mut semi = self.nodes[node as usize].ancestor;
        for &predecessor in predecessors {
            let label = self.lowest(predecessor, node + 1);
            semi = semi.min(self.nodes[label as usize].semi);
        }
        self.nodes[node as usize].semi = semi;
    }

    /// Of a node and its ancestors from `linked` on the one with the lowest semidominator. The ways to their tree's root are made short.
    fn lowest(&mut self, node: u32, linked: u32) -> u32 {
        let mut at = node;
        while self.nodes[at as usize].ancestor >= linked {
            self.way.push(at);
            at = self.nodes[at as usize].ancestor;
        }
        let mut above = self.nodes[at as usize];
        let mut lowest = self.nodes[above.label as usize].semi;
        while let Some(below) = self.way.pop() {
            let mut this = self.nodes[below as usize];
            this.ancestor = above.ancestor;
            let own = self.nodes[this.label as usize].semi;
            if lowest < own {
                this.label = above.label;
            } else {
                lowest = own;
            }
            self.nodes[below as usize] = this;
            above = this;
        }
        above.label
    }
}
