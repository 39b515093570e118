//! A Rust program writes a snapshot of itself.

use heapkeeper::{Heapkeeper, SnapshotError};
use hk_format::{BlockRecord, ChunkHeader, ChunkKind, PointerRecord, SnapshotHeader, SnapshotTotals};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::Path;
use zerocopy::FromBytes;

#[global_allocator]
static HEAP: Heapkeeper = Heapkeeper::new();

struct Order {
    next: Option<Box<Order>>,
    _room: [u64; 20],
}

fn path_of(path: &Path) -> CString {
    CString::new(path.to_str().unwrap()).unwrap()
}

/// Blocks by their addresses, with what they point to.
fn blocks_of(bytes: &[u8]) -> BTreeMap<u64, Vec<u64>> {
    let (header, mut rest) = SnapshotHeader::read_from_prefix(bytes).unwrap();
    assert_eq!(header.pid, std::process::id());
    assert!(header.stop_ns > 0);
    let mut blocks = BTreeMap::<u64, Vec<u64>>::new();
    loop {
        let (chunk, behind) = ChunkHeader::read_from_prefix(rest).unwrap();
        let (mut body, behind) = behind.split_at(chunk.bytes as usize);
        rest = behind;
        match ChunkKind::from_u32(chunk.kind).unwrap() {
            ChunkKind::Block => {
                for _ in 0..chunk.count {
                    let (block, behind) = BlockRecord::read_from_prefix(body).unwrap();
                    body = behind;
                    for _ in 0..block.pointers {
                        let (pointer, behind) = PointerRecord::read_from_prefix(body).unwrap();
                        body = behind;
                        blocks.entry(block.start).or_default().push(pointer.target);
                    }
                    blocks.entry(block.start).or_default();
                }
            }
            ChunkKind::End => {
                assert!(rest.is_empty());
                assert_eq!(SnapshotTotals::read_from_bytes(body).unwrap().blocks, blocks.len() as u64);
                return blocks;
            }
            _ => {}
        }
    }
}

#[test]
fn a_list_is_in_it_from_its_head_to_its_end() {
    let folder = std::env::temp_dir().join(format!("hk-snapshot-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let mut list: Option<Box<Order>> = None;
    for _ in 0..100 {
        list = Some(Box::new(Order { next: list, _room: [0; 20] }));
    }
    let head = std::ptr::from_ref(list.as_deref().unwrap()).addr() as u64;
    let path = folder.join("whole");
    HEAP.snapshot(&path_of(&path)).unwrap();
    // Again, over the first.
    HEAP.snapshot(&path_of(&path)).unwrap();
    let blocks = blocks_of(&std::fs::read(&path).unwrap());
    let (mut at, mut length) = (head, 1);
    while let [next] = blocks[&at][..] {
        (at, length) = (next, length + 1);
    }
    assert_eq!(length, 100);
    // Where it can't be written, nothing is left.
    let nowhere = folder.join("none/file");
    assert_eq!(HEAP.snapshot(&path_of(&nowhere)), Err(SnapshotError::File(2)));
    assert_eq!(HEAP.snapshot(c"/dev/full/x"), Err(SnapshotError::File(20)));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    std::fs::remove_dir_all(&folder).unwrap();
    while let Some(mut order) = list {
        list = order.next.take();
    }
}
