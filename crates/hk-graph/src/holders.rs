//! Who points to a block.

use crate::snapshot::{Root, Snapshot};
use hk_format::RootKind;

/// A place that holds a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// No block.
    Root {
        /// Where it stands: an address, or a register's number in DWARF.
        place: u64,
        /// What kind of place that is.
        kind: RootKind,
        /// The thread, for registers and stacks.
        tid: u32,
    },
    /// A live block.
    Block {
        /// Which.
        block: u32,
        /// Words of 8 bytes from its start.
        word: u32,
    },
}

impl From<&Root> for Holder {
    fn from(root: &Root) -> Holder {
        Holder::Root { place: root.place, kind: root.kind, tid: root.tid }
    }
}

/// All pointers to a live block: those of roots, then those of blocks in the order of addresses.
pub fn holders(snapshot: &Snapshot, block: u32) -> Vec<Holder> {
    let roots = snapshot.roots.iter().filter(|root| root.block == block).map(Holder::from);
    let blocks = snapshot.graph.holders(block).map(|(block, word)| Holder::Block { block, word });
    roots.chain(blocks).collect()
}
