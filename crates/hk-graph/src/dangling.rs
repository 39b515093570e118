//! Free blocks that something still points to: each such pointer is a use after free that has not happened yet, or a number that looks like one.

use crate::bits::Bits;
use crate::holders::Holder;
use crate::snapshot::Snapshot;
use std::collections::HashMap;

/// A free block, and who still points to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dangling {
    /// Its place in [`Snapshot::freed`].
    pub freed: u32,
    /// Roots, and live blocks that can be reached.
    pub holders: Vec<Holder>,
}

/// Free blocks to which roots or blocks in `reached` point, by address. What lost blocks point to nobody can use.
pub fn dangling(snapshot: &Snapshot, reached: &Bits) -> Vec<Dangling> {
    let mut by_freed: HashMap<u32, Vec<Holder>> = HashMap::new();
    for pointer in &snapshot.freed_pointers {
        let is_in_use = match pointer.holder {
            Holder::Root { .. } => true,
            Holder::Block { block, .. } => reached.contains(block),
        };
        if is_in_use {
            by_freed.entry(pointer.freed).or_default().push(pointer.holder);
        }
    }
    let mut all: Vec<Dangling> =
        by_freed.into_iter().map(|(freed, holders)| Dangling { freed, holders }).collect();
    all.sort_unstable_by_key(|dangling| dangling.freed);
    all
}

/// Those of the second snapshot that dangled in the first already, in the same places: a pointer that is about to be overwritten does not do so twice.
pub fn still_dangling(first: (&Snapshot, &[Dangling]), second: (&Snapshot, &[Dangling])) -> Vec<Dangling> {
    let key = |snapshot: &Snapshot, dangling: &Dangling| {
        let freed = &snapshot.freed[dangling.freed as usize];
        (freed.start, freed.bytes, freed.freed_ns)
    };
    let before: HashMap<_, &Dangling> = first.1.iter().map(|each| (key(first.0, each), each)).collect();
    let mut still = Vec::new();
    for dangling in second.1 {
        let Some(old) = before.get(&key(second.0, dangling)) else { continue };
        let places: Vec<Holder> = old.holders.iter().map(|holder| by_address(first.0, *holder)).collect();
        let same = |holder: &&Holder| places.contains(&by_address(second.0, **holder));
        let holders: Vec<Holder> = dangling.holders.iter().filter(same).copied().collect();
        if !holders.is_empty() {
            still.push(Dangling { freed: dangling.freed, holders });
        }
    }
    still
}

/// A holder in a form that is the same in each snapshot: a word in a block is a place in memory.
fn by_address(snapshot: &Snapshot, holder: Holder) -> Holder {
    match holder {
        Holder::Root { .. } => holder,
        Holder::Block { block, word } => Holder::Root {
            place: snapshot.graph.block(block).start + u64::from(word) * 8,
            kind: hk_format::RootKind::Other,
            tid: 0,
        },
    }
}
