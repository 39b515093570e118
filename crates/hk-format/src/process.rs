//! One line per process of a run.

use crate::numbered;
use core::mem::size_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes kept of a program's path (its end, if it is longer).
pub const PROCESS_NAME_BYTES: usize = 128;

numbered! {
    /// How far a process has come.
    pub enum ProcessState {
        /// The entry is not in use.
        Unused = 0,
        /// Running, or ended without telling (killed, aborted): the figures are estimates.
        Running = 1,
        /// Ended by exit or `_exit`: the live figures were counted block by block.
        Counted = 2,
        /// Replaced by another program through exec; the same process has a later entry if that one is covered.
        Replaced = 3,
        /// Ended by exit while other threads ran: counted likewise, but they may have changed what was counted.
        CountedRoughly = 4,
    }
}

numbered! {
    /// How an entry of the process table came to be.
    pub enum ProcessOrigin {
        /// A program started.
        Program = 0,
        /// A process forked; no exec yet.
        Fork = 1,
        /// A second heap in a process that has an entry already: a Rust program's own, beside the preloaded one.
        SecondHeap = 2,
    }
}

/// What the heap knows of its size. All in bytes but the blocks.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Figures {
    /// Bytes of live blocks (block sizes, not requested sizes): an estimate while the process runs, exact
    /// when the state is [`ProcessState::Counted`].
    pub live_bytes: u64,
    /// Live blocks; written only when counted.
    pub live_blocks: u64,
    /// Highest `live_bytes` seen at a refill: an estimate, too high by at most what `live_error_bytes` says.
    pub live_peak_bytes: u64,
    /// How far the estimates may be off, in bytes: blocks exposed to threads and not yet handed out.
    pub live_error_bytes: u64,
    /// Bytes of spans in use now: exact.
    pub span_bytes: u64,
    /// Highest `span_bytes`: exact.
    pub span_peak_bytes: u64,
}

/// What sweeps of the quarantine did so far. All zero in other modes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct SweepFigures {
    /// Sweeps that were made.
    pub sweeps: u64,
    /// Sweeps that were given up: a thread did not stop, the system refused something, there was no memory.
    pub dropped: u64,
    /// Blocks that were released.
    pub released_blocks: u64,
    /// Their bytes.
    pub released_bytes: u64,
    /// Blocks that were free by the program's word and to which something pointed at the last sweep.
    pub held_blocks: u64,
    /// Their bytes.
    pub held_bytes: u64,
    /// The longest stop of all threads, in nanoseconds.
    pub stop_ns_max: u64,
    /// All of them together, in nanoseconds.
    pub stop_ns_total: u64,
    /// Time on a processor that sweeps took, in nanoseconds.
    pub sweeper_ns: u64,
    /// How often a thread that freed had to wait for a sweep.
    pub stalls: u64,
    /// Those waits together, in nanoseconds.
    pub stall_ns_total: u64,
    /// A [`crate::Engine`]: what is known to work here.
    pub engine: u64,
}

/// One process. Claimed at its start (or after fork, in the child); figures are kept up to date in place.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct ProcessRecord {
    /// A [`ProcessState`]; written last when the entry is made.
    pub state: u32,
    /// Process id, as the process itself sees it.
    pub pid: u32,
    /// Parent's process id.
    pub ppid: u32,
    /// 0 manual, 1 keep, 2 quarantine ([`crate::Mode`]).
    pub mode: u32,
    /// Start (of this entry), nanoseconds since 1970.
    pub start_ns: u64,
    /// End, nanoseconds since 1970; 0 while running or if it ended without telling.
    pub end_ns: u64,
    /// Sizes.
    pub figures: Figures,
    /// Findings in this process, repeats included.
    pub finding_count: u32,
    /// Thread heaps that were ever in use at the same time.
    pub heap_count: u32,
    /// A [`ProcessOrigin`].
    pub origin: u32,
    /// Bytes used of `name`.
    pub name_len: u32,
    /// The program's path, from /proc/self/exe.
    pub name: [u8; PROCESS_NAME_BYTES],
    /// Resident bytes when counted (from /proc/self/statm), else 0.
    pub resident_bytes: u64,
    /// Blocks that were guarded so far.
    pub guarded_blocks: u64,
    /// Blocks that should have been guarded, and could not be: there was no memory left for it.
    pub unguarded_blocks: u64,
    /// One block in so many is guarded; 0: none.
    pub guard_every: u32,
    /// How guards are put up: 0 by guard pages (Linux 6.13), 1 by mprotect.
    pub guard_method: u32,
    /// The quarantine.
    pub sweeps: SweepFigures,
}

const _: () = assert!(size_of::<ProcessRecord>() == 352);

impl ProcessRecord {
    /// The program's path as bytes, without filler.
    pub fn name_bytes(&self) -> &[u8] {
        &self.name[..(self.name_len as usize).min(PROCESS_NAME_BYTES)]
    }
}
