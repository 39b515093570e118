//! Graphs of blocks in a real heap over the fake operating system, against what is known of their edges.
#![allow(unsafe_code, reason = "writes pointers into blocks")]

use hk_guard::{Event, Freed, Guards, Request, Side};
use hk_heap::{Heap, Options, ThreadHeap};
use hk_os::Fake;
use hk_scan::{
    Block, Blocks, Filter, Found, HeapAndGuards, Leak, LeakKind, LeakSets, Marker, Marks, Pending, find_leaks,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;

const MIB: usize = 1 << 20;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        // xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016).
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }
}

/// A heap, its blocks and their edges. Some blocks are guarded.
struct Graph {
    heap: &'static Heap<Fake>,
    guards: &'static Guards<Fake>,
    blocks: Vec<Block>,
    edges: Vec<BTreeSet<usize>>,
    roots: Vec<usize>,
}

impl Graph {
    fn new(heap_bytes: usize) -> Graph {
        let heap: &Heap<Fake> = Box::leak(Box::new(Heap::new(Fake::new(heap_bytes))));
        heap.start(&Options { guards: true, ..Options::default() }).unwrap();
        let guards: &Guards<Fake> = Box::leak(Box::new(Guards::new(Fake::new(0))));
        let (area, area_bytes) = heap.guard_area().unwrap();
        let options = hk_guard::Options { rest_pages: 64, bytes_max: 64 * MIB, commit: |_| true };
        guards.start(area, area_bytes, &options).unwrap();
        Graph { heap, guards, blocks: Vec::new(), edges: Vec::new(), roots: Vec::new() }
    }

    fn allocate(&mut self, owner: &ThreadHeap, bytes: usize) -> usize {
        let block = self.heap.allocate(owner, bytes);
        assert!(!block.is_null());
        let bytes = self.heap.usable_bytes(block).unwrap();
        self.add(block, bytes)
    }

    fn allocate_guarded(&mut self, bytes: usize, side: Side) -> usize {
        let allocated = Event { stack: 1, thread: 1, time_ns: 1 };
        let request = Request { bytes, align: 16, side, zeroed: false, family: 1, allocated };
        let block = self.guards.allocate(&request).unwrap().as_ptr();
        self.add(block, bytes)
    }

    fn add(&mut self, block: *mut u8, bytes: usize) -> usize {
        // SAFETY: a block of so many bytes.
        unsafe { block.write_bytes(0, bytes) };
        let block = self.all().block_at(block.expose_provenance()).unwrap();
        assert_eq!(block.bytes, bytes);
        self.blocks.push(block);
        self.edges.push(BTreeSet::new());
        self.blocks.len() - 1
    }

    fn all(&self) -> HeapAndGuards<'static, Fake, Fake> {
        HeapAndGuards::new(self.heap, self.guards)
    }

    /// Writes a pointer to `to`, or into it, at a word of `from`.
    fn point(&mut self, from: usize, word: usize, to: usize, inside: usize) {
        let place: *mut usize = std::ptr::with_exposed_provenance_mut(self.blocks[from].start + word * 8);
        // SAFETY: within the block.
        unsafe { place.write(self.blocks[to].start + inside) };
        self.edges[from].insert(to);
    }

    /// Frees all blocks.
    fn clear(&mut self, owner: &ThreadHeap) {
        for block in self.blocks.drain(..) {
            let event = Event { stack: 2, thread: 1, time_ns: 2 };
            if self.guards.contains(block.start) {
                assert!(matches!(self.guards.free(block.start, event), Freed::Done(_, None)));
            } else {
                self.heap.free(owner, std::ptr::with_exposed_provenance_mut(block.start)).unwrap();
            }
        }
        self.edges.clear();
        self.roots.clear();
    }

    fn reached_from(&self, starts: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
        let mut reached = BTreeSet::new();
        let mut left: Vec<usize> = starts.into_iter().collect();
        while let Some(node) = left.pop() {
            if reached.insert(node) {
                left.extend(&self.edges[node]);
            }
        }
        reached
    }
}

/// Sets for a graph's heap.
struct Memory([Vec<AtomicU64>; 4]);

impl Memory {
    fn of(graph: &Graph) -> Memory {
        let words = Marks::words_needed(graph.all().number_limit());
        Memory(std::array::from_fn(|_| (0..words).map(|_| AtomicU64::new(0)).collect()))
    }

    fn sets(&self) -> LeakSets<'_> {
        let [reached, pointed_at, visited, begun] = std::array::from_fn(|nth| Marks::new(&self.0[nth]));
        LeakSets { reached, pointed_at, visited, begun }
    }
}

/// Marks from the roots, and gives the leaks.
fn leaks_of(graph: &Graph, stack: &mut [Pending], filter: Filter) -> Vec<Leak> {
    let memory = Memory::of(graph);
    let (all, sets) = (graph.all(), memory.sets());
    let mut marker = Marker::new(&all, sets.reached, stack, filter);
    // SAFETY: a list of ours, and blocks of a heap at rest.
    unsafe { marker.mark_from(graph.roots.as_ptr().addr(), size_of_val(&graph.roots[..])) };
    let mut leaks = Vec::new();
    // SAFETY: as above.
    unsafe { find_leaks(&all, sets, stack, |leak| leaks.push(leak)) };
    all.for_each(&mut |block| assert!(sets.reached.contains(block.number)));
    leaks
}

fn fill_randomly(graph: &mut Graph, owner: &ThreadHeap, seed: u64) {
    let mut random = Random(seed * 7919 + 1);
    let count = 2 + random.below(if cfg!(miri) { 20 } else { 120 });
    for _ in 0..count {
        let bytes = match random.below(20) {
            0 => 40_000 + random.below(60_000),
            1..4 => 600 + random.below(5000),
            _ => 8 + random.below(200),
        };
        match random.below(4) {
            0 => graph.allocate_guarded(bytes, Side::Start),
            1 => graph.allocate_guarded(bytes, Side::End),
            _ => graph.allocate(owner, bytes),
        };
    }
    // Of some of the words that pointed somewhere another pointer takes the place: edges are what is there in the end.
    let mut words: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for _ in 0..random.below(count * 2) {
        let (from, to) = (random.below(count), random.below(count));
        let word = random.below(graph.blocks[from].bytes / 8);
        let inside = if random.below(3) == 0 { random.below(graph.blocks[to].bytes) } else { 0 };
        graph.point(from, word, to, inside);
        words.insert((from, word), to);
    }
    for _ in 0..random.below(4) {
        // A ring, from which and to which other edges may lead.
        let ring: Vec<usize> = (0..1 + random.below(5)).map(|_| random.below(count)).collect();
        for (nth, &from) in ring.iter().enumerate() {
            let to = ring[(nth + 1) % ring.len()];
            graph.point(from, nth % (graph.blocks[from].bytes / 8), to, 0);
            words.insert((from, nth % (graph.blocks[from].bytes / 8)), to);
        }
    }
    graph.edges.iter_mut().for_each(BTreeSet::clear);
    for (&(from, _), &to) in &words {
        graph.edges[from].insert(to);
    }
    for _ in 0..random.below(6) {
        let (to, inside) = (random.below(count), random.below(2));
        graph.roots.push(graph.blocks[to].start + inside * random.below(graph.blocks[to].bytes));
    }
    graph.roots.push(usize::MAX);
}

fn check(graph: &Graph, leaks: &[Leak]) {
    let at: BTreeMap<usize, usize> =
        graph.blocks.iter().enumerate().map(|(node, block)| (block.start, node)).collect();
    let of_address = |address: usize| {
        let (_, &node) = at.range(..=address).next_back()?;
        (address < graph.blocks[node].start + graph.blocks[node].bytes).then_some(node)
    };
    let live = graph.reached_from(graph.roots.iter().filter_map(|&root| of_address(root)));
    let lost: BTreeSet<usize> = (0..graph.blocks.len()).filter(|node| !live.contains(node)).collect();
    let direct: BTreeSet<usize> = lost
        .iter()
        .copied()
        .filter(|&node| !lost.iter().any(|&other| other != node && graph.edges[other].contains(&node)))
        .collect();
    let heads = |kind: LeakKind| {
        let heads = leaks.iter().filter(|leak| leak.kind == kind).map(|leak| at[&leak.block.start]);
        heads.collect::<Vec<usize>>()
    };
    assert_eq!(heads(LeakKind::Direct).into_iter().collect::<BTreeSet<_>>(), direct);
    // Each cycle's block can be reached from itself, from all that lead to it, and from no other cycle's.
    let covered = graph.reached_from(direct.iter().copied());
    let cycles = heads(LeakKind::Cycle);
    for &head in &cycles {
        assert!(lost.contains(&head) && !covered.contains(&head));
        let from_it = graph.reached_from([head]);
        let leads_to_it = |node: &usize| graph.edges[*node].contains(&head);
        assert!(from_it.iter().any(leads_to_it), "it lies in a circle");
        for &node in lost.iter().filter(|node| graph.reached_from([**node]).contains(&head)) {
            assert!(from_it.contains(&node), "what leads to it lies in its circle");
        }
        assert!(cycles.iter().all(|other| *other == head || !from_it.contains(other)), "each circle once");
    }
    // Everything that was lost is counted once.
    let blocks: u64 = leaks.iter().map(|leak| 1 + leak.indirect_blocks).sum();
    let bytes: u64 = leaks.iter().map(|leak| leak.block.bytes as u64 + leak.indirect_bytes).sum();
    assert_eq!(blocks, lost.len() as u64);
    assert_eq!(bytes, lost.iter().map(|&node| graph.blocks[node].bytes as u64).sum::<u64>());
}

#[test]
fn leaks_are_exactly_those_of_the_edges() {
    let (mut direct, mut cycles) = (0, 0);
    let mut graph = Graph::new(1024 * MIB);
    let owner = graph.heap.attach().unwrap();
    for seed in 0..if cfg!(miri) { 3 } else { 400 } {
        graph.clear(owner);
        fill_randomly(&mut graph, owner, seed);
        for (filter, room) in [(Filter::Portable, 1000), (Filter::best(), 1000), (Filter::best(), 1)] {
            let leaks = leaks_of(&graph, &mut vec![Pending::default(); room], filter);
            check(&graph, &leaks);
            direct += leaks.iter().filter(|leak| leak.kind == LeakKind::Direct).count();
            cycles += leaks.iter().filter(|leak| leak.kind == LeakKind::Cycle).count();
        }
    }
    assert!(cfg!(miri) || direct > 1000 && cycles > 100, "{direct} direct, {cycles} cycles");
}

#[test]
fn freed_blocks_are_neither_lost_nor_followed() {
    let mut graph = Graph::new(256 * MIB);
    let owner = graph.heap.attach().unwrap();
    let nodes: Vec<usize> = (0..3).map(|_| graph.allocate(owner, 64)).collect();
    graph.point(nodes[0], 0, nodes[1], 0);
    graph.point(nodes[1], 0, nodes[2], 0);
    graph.roots.push(graph.blocks[nodes[0]].start);
    let freed = graph.blocks[nodes[1]].start;
    graph.heap.free(owner, std::ptr::with_exposed_provenance_mut(freed)).unwrap();
    let leaks = leaks_of(&graph, &mut [Pending::default(); 4], Filter::best());
    let expected =
        Leak { kind: LeakKind::Direct, block: graph.blocks[nodes[2]], indirect_blocks: 0, indirect_bytes: 0 };
    assert_eq!(leaks, [expected]);
}

#[test]
fn free_blocks_are_found_as_live_ones_are() {
    let mut graph = Graph::new(256 * MIB);
    let owner = graph.heap.attach().unwrap();
    let mut nodes: Vec<usize> = [64, 64, 3000].map(|bytes| graph.allocate(owner, bytes)).into();
    nodes.extend([Side::Start, Side::End].map(|side| graph.allocate_guarded(200, side)));
    let blocks: Vec<Block> = nodes.iter().map(|&node| graph.blocks[node]).collect();
    let all = graph.all();
    let find = |block: &Block| [block.start, block.start + block.bytes - 1].map(|address| all.find(address));
    let is_among = |block: &Block| {
        let mut found = Vec::new();
        all.for_each_free(|free| found.push(free));
        assert!(found.is_sorted_by_key(|free| free.start));
        found.contains(block)
    };
    for block in &blocks {
        assert_eq!(find(block), [Some((*block, true)); 2]);
        assert!(!is_among(block));
    }
    graph.clear(owner);
    for block in &blocks {
        assert_eq!(find(block), [Some((*block, false)); 2]);
        assert!(is_among(block));
    }
    assert_eq!(all.find(all.range().start - 1), None);
}

#[test]
fn a_chain_and_a_star_need_no_stack() {
    let count = if cfg!(miri) { 200 } else { 1_000_000 };
    let mut graph = Graph::new(256 * MIB);
    let owner = graph.heap.attach().unwrap();
    // A chain, of which the star's leaves are the links.
    let star = graph.allocate(owner, count * 8);
    for nth in 0..count {
        let link = graph.allocate(owner, 16);
        if nth > 0 {
            graph.point(link - 1, 0, link, 0);
        }
    }
    for (roots, room) in [(vec![star + 1], 1), (vec![star], 1), (vec![star], 100)] {
        graph.roots = roots.iter().map(|&node| graph.blocks[node].start).collect();
        if roots[0] == star {
            (0..count).for_each(|nth| graph.point(star, nth, star + 1 + nth, 0));
        }
        let (memory, all) = (Memory::of(&graph), graph.all());
        let mut stack = vec![Pending::default(); room];
        let mut marker = Marker::new(&all, memory.sets().reached, &mut stack, Filter::best());
        // SAFETY: a list of ours, and blocks of a heap at rest.
        unsafe { marker.mark_from(graph.roots.as_ptr().addr(), size_of_val(&graph.roots[..])) };
        let expected = count + usize::from(roots[0] == star);
        assert_eq!(marker.marked().0, expected as u64);
    }
}

#[test]
fn words_are_found_wherever_they_stand() {
    let range = hk_scan::AddressRange { start: 0x7000_0000_0000, bytes: 0x1000 };
    let mut random = Random(3);
    for count in 0..200 {
        let mut words: Vec<usize> = (0..count).map(|_| random.below(usize::MAX >> 33)).collect();
        for _ in 0..count / 3 {
            let nth = random.below(count);
            words[nth] = match random.below(6) {
                0 => range.start,
                1 => range.start + range.bytes - 1,
                2 => range.start + range.bytes,
                3 => range.start - 1,
                4 => usize::MAX - random.below(5),
                _ => range.start + random.below(range.bytes),
            };
        }
        let expected: Vec<usize> = words.iter().copied().filter(|&word| range.contains(word)).collect();
        for filter in [Filter::Portable, Filter::best()] {
            // An odd start leaves the first word out.
            for skipped in [0, 1, 7, 8] {
                let bytes = (count * 8usize).saturating_sub(skipped);
                let mut found: Vec<usize> = Vec::new();
                let mut kept = Found::new();
                let mut give = |some: &mut [usize]| found.extend_from_slice(some);
                let start = words.as_ptr().addr() + skipped;
                // SAFETY: within the list.
                unsafe { filter.find(start, bytes, range, &mut kept, &mut give) };
                kept.give(&mut give);
                let first = usize::from(skipped > 0 && count > 0 && range.contains(words[0]));
                assert_eq!(found, expected[first..], "{filter:?}, {count} words, {skipped} bytes in");
            }
        }
    }
}
