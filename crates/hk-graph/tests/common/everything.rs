//! All that is made of a snapshot, for tests that damage it, and for the fuzzer.

use hk_graph::*;

/// Makes everything, and checks that what is found in two ways is the same.
pub fn use_it(snapshot: &Snapshot) {
    let lost = find_leaks(snapshot);
    let groups = RootGroups::new(1, snapshot.roots.iter().map(|root| (0, root.block)));
    let tree = dominators(&snapshot.graph, &groups);
    let retained = Retained::new(&snapshot.graph, &tree);
    retained.accumulations(0);
    let paths = Paths::new(snapshot);
    for block in 0..snapshot.graph.len() as u32 {
        assert_eq!(paths.to(block).is_some(), lost.reached.contains(block));
        assert_eq!(retained.of_block(block).is_some(), lost.reached.contains(block));
        holders(snapshot, block);
    }
    dangling(snapshot, &lost.reached);
    let frames = snapshot.lives.all().iter().map(|life| snapshot.stacks.frames(life.stack).len());
    assert!(frames.sum::<usize>() < 100);
}
