//! Random graphs, against the plainest ways to find the same.

mod common;

use common::{Plain, Random};
use hk_graph::*;

const GRAPHS: u64 = 3000;

fn graphs() -> impl Iterator<Item = Plain> {
    (0..GRAPHS).map(|seed| Plain::random(&mut Random(seed)))
}

fn lost(plain: &Plain) -> Vec<bool> {
    plain.reach(&plain.roots, None).iter().map(|reached| !reached).collect()
}

#[test]
fn what_roots_lead_to_is_reached() {
    let mut with_all = [0, 0];
    for plain in graphs() {
        let snapshot = plain.snapshot();
        let reached = reached(&snapshot);
        let expected = plain.reach(&plain.roots, None);
        for (block, &is_reached) in expected.iter().enumerate() {
            assert_eq!(reached.marks.contains(block as u32), is_reached, "{plain:?}");
        }
        let sizes = plain.sizes.iter().zip(&expected).filter(|(_, reached)| **reached);
        assert_eq!(reached.bytes, sizes.map(|(size, _)| size).sum::<u64>());
        assert_eq!(reached.blocks, expected.iter().filter(|reached| **reached).count() as u64);
        with_all[usize::from(reached.blocks == plain.len() as u64)] += 1;
    }
    assert!(with_all.iter().all(|&n| n > 100), "{with_all:?}");
}

/// By the definition: a lost block that no other lost one points at is told; of what these do not lead to, one block of each component of blocks
/// that lead to each other is told, if nothing else that is left leads there. What is told once is not told again.
#[test]
fn leaks_are_those_of_the_definition() {
    let mut kinds = [0, 0];
    for plain in graphs() {
        let snapshot = plain.snapshot();
        let found = find_leaks(&snapshot);
        let lost = lost(&plain);
        let all = || (0..plain.len()).filter(|&block| lost[block]);
        let points_at = |from: usize, to: usize| plain.pointers[from].contains(&to);
        let is_direct =
            |block: usize| lost[block] && !all().any(|other| other != block && points_at(other, block));
        let direct: Vec<usize> = all().filter(|&block| is_direct(block)).collect();
        let told: Vec<usize> = told(&found, LeakKind::Direct);
        assert_eq!(told, direct, "{plain:?}");

        let with_direct = plain.reach(&direct, None);
        let left: Vec<usize> = all().filter(|&block| !with_direct[block]).collect();
        let leads = |from: usize, to: usize| plain.reach(&[from], None)[to];
        let cycles = self::told(&found, LeakKind::Cycle);
        // Each is in a component of which nothing else that is left leads there, and of each such component there is one.
        let is_source = |block: usize| left.iter().all(|&other| !leads(other, block) || leads(block, other));
        assert!(cycles.iter().all(|&block| left.contains(&block) && is_source(block)), "{plain:?}");
        for &block in left.iter().filter(|&&block| is_source(block)) {
            let of_component = cycles.iter().filter(|&&told| leads(told, block) && leads(block, told));
            assert_eq!(of_component.count(), 1, "{plain:?}");
        }
        // Every lost block is told or counted, once.
        let (blocks, bytes) = found.leaks.iter().fold((0, 0), |(blocks, bytes), leak| {
            let own = snapshot.graph.bytes(leak.block);
            (blocks + 1 + leak.indirect_blocks, bytes + own + leak.indirect_bytes)
        });
        assert_eq!(blocks, all().count() as u64, "{plain:?}");
        assert_eq!(bytes, all().map(|block| plain.sizes[block]).sum::<u64>(), "{plain:?}");
        kinds[0] += direct.len();
        kinds[1] += cycles.len();
    }
    assert!(kinds.iter().all(|&n| n > 200), "{kinds:?}");
}

fn told(found: &Lost, kind: LeakKind) -> Vec<usize> {
    found.leaks.iter().filter(|leak| leak.kind == kind).map(|leak| leak.block as usize).collect()
}

/// Roots in two groups, drawn at random.
fn groups(plain: &Plain, random: &mut Random) -> Vec<u32> {
    plain.roots.iter().map(|_| random.below(2) as u32).collect()
}

#[test]
fn a_block_retains_what_cannot_be_reached_without_it() {
    let mut deep = 0;
    for (seed, plain) in (0..).zip(graphs()) {
        let snapshot = plain.snapshot();
        let of_root = groups(&plain, &mut Random(seed));
        let members = of_root.iter().copied().zip(snapshot.roots.iter().map(|root| root.block));
        let groups = RootGroups::new(2, members);
        let tree = dominators(&snapshot.graph, &groups);
        let retained = Retained::new(&snapshot.graph, &tree);
        let reached = plain.reach(&plain.roots, None);
        let size = |without: &[bool]| {
            let gone = (0..plain.len()).filter(|&block| reached[block] && !without[block]);
            gone.fold(Size::default(), |mut sum, block| {
                sum += Size { bytes: plain.sizes[block], blocks: 1 };
                sum
            })
        };
        for (block, is_reached) in reached.iter().enumerate() {
            let expected = is_reached.then(|| size(&plain.reach(&plain.roots, Some(block))));
            assert_eq!(retained.of_block(block as u32), expected, "{block} of {plain:?}");
            deep += usize::from(expected.is_some_and(|size| size.blocks > 3));
        }
        let mut alone = Size::default();
        for group in 0..2 {
            let others = plain.roots.iter().zip(&of_root).filter(|(_, of)| **of != group);
            let others: Vec<usize> = others.map(|(root, _)| *root).collect();
            let expected = size(&plain.reach(&others, None));
            assert_eq!(retained.of_group(group), expected, "group {group} of {plain:?}");
            alone += expected;
        }
        let shared = retained.shared();
        alone += shared;
        assert_eq!(retained.reached(), alone, "{plain:?}");
    }
    assert!(deep > 500, "{deep}");
}

#[test]
fn a_site_retains_what_its_topmost_blocks_do() {
    for (seed, plain) in (0..).zip(graphs()) {
        let snapshot = plain.snapshot();
        let mut random = Random(seed);
        let sites: Vec<Option<u32>> =
            (0..plain.len()).map(|_| [None, Some(0), Some(1)][random.below(3)]).collect();
        let groups = RootGroups::new(1, snapshot.roots.iter().map(|root| (0, root.block)));
        let tree = dominators(&snapshot.graph, &groups);
        let retained = Retained::new(&snapshot.graph, &tree);
        let reached = plain.reach(&plain.roots, None);
        let found = retained.of_sites(2, |block| sites[block as usize]);
        for site in [0, 1] {
            // A block is dominated by another if it is gone without that one.
            let of_site: Vec<usize> =
                (0..plain.len()).filter(|&block| reached[block] && sites[block] == Some(site)).collect();
            let below = |block: usize| {
                let mut others = of_site.iter().filter(|&&other| other != block);
                others.any(|&other| !plain.reach(&plain.roots, Some(other))[block])
            };
            let topmost = of_site.iter().filter(|&&block| !below(block));
            let expected = topmost.fold(Size::default(), |mut sum, &block| {
                sum += retained.of_block(block as u32).unwrap();
                sum
            });
            assert_eq!(found[site as usize], expected, "site {site} of {plain:?}");
        }
    }
}

#[test]
fn paths_are_real_and_none_is_shorter() {
    for plain in graphs() {
        let snapshot = plain.snapshot();
        let paths = Paths::new(&snapshot);
        // Blocks by how far they are from a root.
        let mut distance: Vec<Option<usize>> = vec![None; plain.len()];
        plain.roots.iter().for_each(|&root| distance[root] = Some(0));
        for round in 0..plain.len() {
            for block in (0..plain.len()).filter(|&block| distance[block] == Some(round)).collect::<Vec<_>>()
            {
                for &target in &plain.pointers[block] {
                    distance[target] = distance[target].or(Some(round + 1));
                }
            }
        }
        for (block, &distance) in distance.iter().enumerate() {
            let path = paths.to(block as u32);
            assert_eq!(path.as_ref().map(|path| path.steps.len()), distance, "{block} of {plain:?}");
            let nearest = paths.nearest(block as u32);
            assert_eq!(nearest, path.as_ref().map(|path| (path.root, path.steps.len() as u32)));
            let Some(path) = path else { continue };
            let mut at = plain.roots[path.root];
            for step in &path.steps {
                assert_eq!(step.block as usize, at, "{plain:?}");
                at = plain.pointers[at][step.word as usize];
            }
            assert_eq!((at, path.block as usize), (block, block));
        }
    }
}

#[test]
fn holders_are_all_that_point_there() {
    for plain in graphs() {
        let snapshot = plain.snapshot();
        for block in 0..plain.len() {
            let mut expected: Vec<(usize, usize)> = Vec::new();
            for (holder, pointers) in plain.pointers.iter().enumerate() {
                let words = pointers.iter().enumerate().filter(|&(_, &target)| target == block);
                expected.extend(words.map(|(word, _)| (holder, word)));
            }
            let found = holders(&snapshot, block as u32);
            let blocks: Vec<(usize, usize)> = found
                .iter()
                .filter_map(|holder| match holder {
                    Holder::Block { block, word } => Some((*block as usize, *word as usize)),
                    Holder::Root { .. } => None,
                })
                .collect();
            assert_eq!(blocks, expected);
            let roots = plain.roots.iter().filter(|&&root| root == block).count();
            assert_eq!(found.len(), blocks.len() + roots);
        }
    }
}

#[test]
fn addresses_lie_in_the_block_that_has_them() {
    for plain in graphs() {
        let snapshot = plain.snapshot();
        let starts = plain.starts();
        for (number, (&start, &size)) in starts.iter().zip(&plain.sizes).enumerate() {
            let number = Some(number as u32);
            assert_eq!(snapshot.graph.find(start), number);
            assert_eq!(snapshot.graph.find(start + 1), None);
            assert_eq!(snapshot.graph.containing(start), number);
            assert_eq!(snapshot.graph.containing(start + size - 1), number);
            assert_ne!(snapshot.graph.containing(start + size), number);
        }
    }
}

/// Nothing here may take a stack frame, or a glance at all that is there, for each block.
#[test]
fn a_list_of_a_million_blocks_is_no_trouble() {
    let count = 1_000_000;
    let list = |roots: Vec<usize>| Plain {
        sizes: vec![16; count],
        pointers: (0..count).map(|at| if at + 1 < count { vec![at + 1] } else { vec![0] }).collect(),
        roots,
    };
    let snapshot = list(vec![0]).snapshot();
    let groups = RootGroups::new(1, snapshot.roots.iter().map(|root| (0, root.block)));
    let tree = dominators(&snapshot.graph, &groups);
    let retained = Retained::new(&snapshot.graph, &tree);
    let half = Size { bytes: 8 * count as u64, blocks: count as u64 / 2 };
    assert_eq!(retained.of_block(count as u32 / 2), Some(half));
    assert_eq!(retained.of_sites(1, |_| Some(0)), [retained.reached()]);
    assert_eq!(Paths::new(&snapshot).to(count as u32 - 1).unwrap().steps.len(), count - 1);
    let lost = find_leaks(&list(vec![]).snapshot());
    assert_eq!(lost.leaks.len(), 1);
    assert_eq!((lost.leaks[0].kind, lost.leaks[0].indirect_blocks), (LeakKind::Cycle, count as u64 - 1));
}
