//! How fast memory is swept, beside a plain read of the same memory: `throughput [MIB]`.
//!
//! A heap of so many MiB, with blocks of 16 to 1024 bytes, of whose words a part are pointers to random blocks. Rounds alternate, the first is
//! left out, the fastest of each counts.
#![allow(unsafe_code, reason = "reads and writes blocks")]

use hk_heap::{Heap, Options};
use hk_os::Linux;
use hk_scan::{Blocks, Filter, Marks, mark_shallowly};
use std::sync::atomic::AtomicU64;
use std::time::Instant;

const ROUNDS: usize = 8;

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn plain_read(memory: &[AtomicU64]) -> u64 {
    // As the compiler does it for memory that nobody writes to.
    // SAFETY: nobody writes to it.
    let words = unsafe { std::slice::from_raw_parts(memory.as_ptr().cast::<u64>(), memory.len()) };
    words.iter().fold(0, |sum, word| sum ^ word)
}

fn main() {
    let mib: usize = std::env::args().nth(1).map_or(1024, |text| text.parse().expect("a number of MiB"));
    for per_cent in [0, 5, 30] {
        let heap = Heap::new(Linux);
        heap.start(&Options::default()).expect("address space");
        let owner = heap.attach().expect("a thread heap");
        let mut state = 0x9e37_79b9_7f4a_7c15;
        let (mut blocks, mut bytes) = (Vec::new(), 0);
        while bytes < mib << 20 {
            let size = 16 << (random(&mut state) % 7);
            let block = heap.allocate(owner, size);
            blocks.push((block.expose_provenance(), size));
            bytes += size;
        }
        for &(start, size) in &blocks {
            for word in 0..size / 8 {
                let to = blocks[random(&mut state) as usize % blocks.len()].0;
                let value = if random(&mut state) % 100 < per_cent { to } else { word };
                let place: *mut usize = std::ptr::with_exposed_provenance_mut(start + 8 * word);
                // SAFETY: a word of the block.
                unsafe { place.write(value) };
            }
        }
        let range = heap.range();
        // Slices of one class lie together; nearly all of the range is blocks.
        let place: *const AtomicU64 = std::ptr::with_exposed_provenance(range.start);
        // SAFETY: the heap's slices up to the top are committed.
        let memory = unsafe { std::slice::from_raw_parts(place, range.bytes / 8) };
        let bits: Vec<AtomicU64> =
            (0..Marks::words_needed(heap.number_limit())).map(|_| AtomicU64::new(0)).collect();
        let mut best = [f64::MAX; 3];
        for round in 0..ROUNDS {
            let filters = [Filter::Portable, Filter::best()];
            let mut times = [0.0; 3];
            times[2] = seconds(|| _ = std::hint::black_box(plain_read(memory)));
            for (time, filter) in times.iter_mut().zip(filters) {
                bits.iter().for_each(|word| word.store(0, std::sync::atomic::Ordering::Relaxed));
                let marks = Marks::new(&bits);
                // SAFETY: as above.
                *time =
                    seconds(|| unsafe { mark_shallowly(&heap, &marks, filter, range.start, range.bytes) });
            }
            if round > 0 {
                (0..3).for_each(|nth| best[nth] = best[nth].min(times[nth]));
            }
        }
        let speed = best.map(|time| range.bytes as f64 / time / 1e9);
        println!(
            "{per_cent:2} % pointers, {} MiB: {:.2} GB/s portable, {:.2} best, {:.2} plain read: {:.3} of it",
            range.bytes >> 20,
            speed[0],
            speed[1],
            speed[2],
            speed[1] / speed[2]
        );
    }
}
