//! Threads that exchange blocks, free them rightly and wrongly, end and are succeeded by others. At each point of
//! rest the heap is checked whole, and every free too many has been reported once.
#![cfg(not(hk_loom))]
#![allow(unsafe_code, reason = "threads write into the blocks that they got")]

#[path = "oracle/random.rs"]
mod random;

use hk_heap::{Heap, Options, ThreadHeap};
use hk_os::{Fake, Linux, Os};
use random::Random;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

const WORKERS: usize = 4;
const GENERATIONS: u64 = if cfg!(miri) { 1 } else { 8 };
const STEPS: u64 = if cfg!(miri) { 50 } else { 1500 };
const LIVE_MAX: usize = 400;

/// A live block; its first and last byte hold `tag`.
struct Block {
    address: usize,
    bytes: usize,
    tag: u8,
}

/// What one worker sends to another.
enum Message {
    /// It is yours now.
    Gift(Block),
    /// Free it so many times; a free too many is refused. Then say so.
    Free { address: usize, times: u32, done: Arc<AtomicBool> },
    /// Say that you begin, and free it while I do. Then say so.
    Race { address: usize, begun: Arc<AtomicBool>, done: Arc<AtomicBool> },
}

#[derive(Default)]
struct Totals {
    /// Frees too many that the workers committed.
    surplus: AtomicU64,
    /// Frees that were refused at once.
    refused: AtomicU64,
    /// Workers that have no more to do in this generation.
    idle: AtomicUsize,
}

struct Worker<'a, O: Os> {
    heap: &'a Heap<O>,
    thread: &'a ThreadHeap,
    totals: &'a Totals,
    random: Random,
    live: Vec<Block>,
    inbox: Receiver<Message>,
    others: Vec<Sender<Message>>,
}

impl<O: Os> Worker<'_, O> {
    fn run(&mut self) {
        for _ in 0..STEPS {
            self.serve();
            match self.random.below(100) {
                0..40 => self.allocate(),
                40..70 => self.free_one(),
                70..90 => self.give(),
                90..93 => self.free_twice(),
                93..96 => self.have_freed(2),
                96..98 => self.race(),
                98 => self.have_freed(1),
                _ => self.change_heaps(),
            }
        }
        self.totals.idle.fetch_add(1, Ordering::SeqCst);
        while self.totals.idle.load(Ordering::SeqCst) < WORKERS {
            self.serve();
            thread::yield_now();
        }
        self.serve();
    }

    fn new_block(&mut self, bytes: usize) -> Block {
        let place = self.heap.allocate(self.thread, bytes);
        assert!(!place.is_null());
        let block = Block { address: place.expose_provenance(), bytes, tag: self.random.next() as u8 };
        block.mark();
        block
    }

    fn allocate(&mut self) {
        let limit = [100, 300, 3000, 40_000][self.random.below(4) as usize];
        let bytes = 1 + self.random.below(limit) as usize;
        let block = self.new_block(bytes);
        self.live.push(block);
        while self.live.len() > LIVE_MAX {
            self.free_one();
        }
    }

    fn take(&mut self) -> Option<Block> {
        let count = self.live.len() as u64;
        (count > 0).then(|| self.live.swap_remove(self.random.below(count) as usize))
    }

    fn free(&self, address: usize) {
        if self.heap.free(self.thread, std::ptr::with_exposed_provenance_mut(address)).is_err() {
            self.totals.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Frees a live block: never refused.
    fn free_rightly(&self, block: &Block) {
        block.check();
        let place = std::ptr::with_exposed_provenance_mut(block.address);
        self.heap.free(self.thread, place).expect("a live block can be freed");
    }

    fn free_one(&mut self) {
        if let Some(block) = self.take() {
            self.free_rightly(&block);
        }
    }

    fn send(&mut self, message: Message) {
        let to = self.random.below(self.others.len() as u64) as usize;
        self.others[to].send(message).expect("workers end together");
    }

    fn give(&mut self) {
        if let Some(block) = self.take() {
            self.send(Message::Gift(block));
        }
    }

    /// A block and a neighbour that stays live, so that the span stays in use; None if there is none.
    fn pair(&mut self) -> Option<(Block, Block)> {
        let bytes = 1 + self.random.below(200) as usize;
        let (first, second) = (self.new_block(bytes), self.new_block(bytes));
        let near = first.address >> 16 == second.address >> 16;
        if near {
            return Some((first, second));
        }
        self.live.extend([first, second]);
        None
    }

    fn free_twice(&mut self) {
        let Some((block, neighbour)) = self.pair() else { return };
        self.totals.surplus.fetch_add(1, Ordering::Relaxed);
        self.free_rightly(&block);
        assert!(self.heap.free(self.thread, block.place()).is_err(), "freed twice");
        self.totals.refused.fetch_add(1, Ordering::Relaxed);
        self.live.push(neighbour);
    }

    /// Another thread frees a block of ours, maybe twice; we allocate nothing meanwhile.
    fn have_freed(&mut self, times: u32) {
        let Some((block, neighbour)) = self.pair() else { return };
        self.totals.surplus.fetch_add(u64::from(times - 1), Ordering::Relaxed);
        let done = Arc::new(AtomicBool::new(false));
        self.send(Message::Free { address: block.address, times, done: done.clone() });
        self.wait_for(&done);
        self.live.push(neighbour);
    }

    /// Another thread and this one free a block at the same time.
    fn race(&mut self) {
        let Some((block, neighbour)) = self.pair() else { return };
        self.totals.surplus.fetch_add(1, Ordering::Relaxed);
        let (begun, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        self.send(Message::Race { address: block.address, begun: begun.clone(), done: done.clone() });
        self.wait_for(&begun);
        self.free(block.address);
        self.wait_for(&done);
        self.live.push(neighbour);
    }

    /// Does what others ask for until they did what we asked for: two that wait for each other both go on.
    fn wait_for(&mut self, flag: &AtomicBool) {
        while !flag.load(Ordering::Acquire) {
            self.serve();
            std::hint::spin_loop();
        }
    }

    /// Does what others ask for. Allocates nothing from the heap.
    fn serve(&mut self) {
        while let Ok(message) = self.inbox.try_recv() {
            match message {
                Message::Gift(block) => self.live.push(block),
                Message::Free { address, times, done } => {
                    (0..times).for_each(|_| self.free(address));
                    done.store(true, Ordering::Release);
                }
                Message::Race { address, begun, done } => {
                    begun.store(true, Ordering::Release);
                    self.free(address);
                    done.store(true, Ordering::Release);
                }
            }
        }
    }

    /// As if the thread ended and another came, while others free its blocks.
    fn change_heaps(&mut self) {
        self.heap.detach(self.thread);
        self.thread = self.heap.attach().expect("there is memory");
    }
}

impl Block {
    fn place(&self) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut(self.address)
    }

    fn last_place(&self) -> *mut u8 {
        self.place().wrapping_add(self.bytes - 1)
    }

    fn mark(&self) {
        // SAFETY: the block is this thread's.
        unsafe { self.place().write(self.tag) };
        // SAFETY: as above, and that long.
        unsafe { self.last_place().write(self.tag) };
    }

    fn check(&self) {
        // SAFETY: the block is this thread's.
        let first = unsafe { self.place().read() };
        // SAFETY: as above, and that long.
        let last = unsafe { self.last_place().read() };
        assert_eq!((first, last), (self.tag, self.tag), "contents of a live block changed");
    }
}

/// Runs generations of workers on `heap`. `late` counts the double frees that its owners found.
fn exchange<O: Os>(heap: &Heap<O>, late: &AtomicU64) {
    let totals = Totals::default();
    let mut estates: Vec<Vec<Block>> = (0..WORKERS).map(|_| Vec::new()).collect();
    for generation in 0..GENERATIONS {
        totals.idle.store(0, Ordering::SeqCst);
        run_generation(heap, &totals, generation, &mut estates);
        heap.verify();
        let live: usize = estates.iter().map(Vec::len).sum();
        assert_eq!(heap.count().live_blocks, live as u64, "live blocks after generation {generation}");
        let reported = totals.refused.load(Ordering::Relaxed) + late.load(Ordering::Relaxed);
        assert_eq!(reported, totals.surplus.load(Ordering::Relaxed), "frees too many, and those reported");
    }
    // One more is made when the one that could be had is being drained by a thread that waits for its turn.
    assert!(heap.heap_count() as usize <= 2 * WORKERS, "ended threads' heaps are taken over");
    let thread = heap.attach().unwrap();
    for block in estates.into_iter().flatten() {
        block.check();
        heap.free(thread, block.place()).expect("a live block can be freed");
    }
    assert_eq!(heap.count().live_blocks, 0);
    heap.verify();
}

fn run_generation<O: Os>(heap: &Heap<O>, totals: &Totals, generation: u64, estates: &mut [Vec<Block>]) {
    let (senders, inboxes): (Vec<_>, Vec<_>) = (0..WORKERS).map(|_| channel()).unzip();
    thread::scope(|scope| {
        for (index, (estate, inbox)) in estates.iter_mut().zip(inboxes).enumerate() {
            let mut others = senders.clone();
            others.swap_remove(index);
            scope.spawn(move || {
                let thread = heap.attach().expect("there is memory");
                let random = Random::new(generation * WORKERS as u64 + index as u64);
                let live = std::mem::take(estate);
                let mut worker = Worker { heap, thread, totals, random, live, inbox, others };
                worker.run();
                heap.detach(worker.thread);
                *estate = worker.live;
            });
        }
    });
}

fn options() -> Options {
    Options { reserve_bytes_max: 1 << 30, ..Options::default() }
}

#[test]
fn threads_exchange_blocks_on_a_fake_system() {
    static LATE: AtomicU64 = AtomicU64::new(0);
    let heap = Heap::new(Fake::new(1 << 30));
    heap.start(&options()).unwrap();
    heap.set_late_finding(|_, _| _ = LATE.fetch_add(1, Ordering::Relaxed));
    exchange(&heap, &LATE);
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no such system calls")]
fn threads_exchange_blocks_on_linux() {
    static LATE: AtomicU64 = AtomicU64::new(0);
    let heap = Heap::new(Linux);
    heap.start(&options()).unwrap();
    heap.expect_signals(false);
    heap.set_late_finding(|_, _| _ = LATE.fetch_add(1, Ordering::Relaxed));
    exchange(&heap, &LATE);
}

/// Frees of last blocks, by other threads than the spans' owners: spans are given up all the time, and no free
/// of this program without mistakes is refused.
#[test]
fn right_frees_are_never_refused() {
    let heap = Heap::new(Fake::new(256 << 20));
    heap.start(&Options { reserve_bytes_max: 256 << 20, ..Options::default() }).unwrap();
    let rounds = if cfg!(miri) { 20 } else { 10_000 };
    let (sender, inbox) = channel::<usize>();
    let inbox = Mutex::new(inbox);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let thread = heap.attach().unwrap();
                loop {
                    let Ok(address) = inbox.lock().unwrap().recv() else { break };
                    let place = std::ptr::with_exposed_provenance_mut(address);
                    heap.free(thread, place).expect("a live block can be freed");
                }
                heap.detach(thread);
            });
        }
        let (heap, sender) = (&heap, sender);
        scope.spawn(move || {
            let thread = heap.attach().unwrap();
            for round in 0..rounds {
                // Few blocks a span: it is soon used up, and soon free.
                let place = heap.allocate(thread, 8000 + round % 3 * 8000);
                sender.send(place.expose_provenance()).unwrap();
            }
            heap.detach(thread);
        });
    });
    assert_eq!(heap.count().live_blocks, 0);
    heap.verify();
}
