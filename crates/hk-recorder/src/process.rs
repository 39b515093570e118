//! This process's line in the recording's table.

use crate::mapping::AllAtomic;
use crate::recording::{NO_PROCESS, Recording, make_room};
use crate::sys;
use core::mem::{offset_of, size_of};
use core::sync::atomic::{AtomicU64, Ordering};
use hk_format::{
    Figures, FileHeader, PROCESS_NAME_BYTES, PROCESS_TABLE_OFFSET, ProcessOrigin, ProcessRecord,
    ProcessState, SweepFigures,
};
use zerocopy::IntoBytes;

/// The mapped [`Figures`] of this process, to be kept current in place; same layout.
#[repr(C)]
#[derive(Debug, Default)]
pub struct SharedFigures {
    /// See [`Figures::live_bytes`].
    pub live_bytes: AtomicU64,
    /// See [`Figures::live_blocks`].
    pub live_blocks: AtomicU64,
    /// See [`Figures::live_peak_bytes`].
    pub live_peak_bytes: AtomicU64,
    /// See [`Figures::live_error_bytes`].
    pub live_error_bytes: AtomicU64,
    /// See [`Figures::span_bytes`].
    pub span_bytes: AtomicU64,
    /// See [`Figures::span_peak_bytes`].
    pub span_peak_bytes: AtomicU64,
}

const _: () = assert!(size_of::<SharedFigures>() == size_of::<Figures>());
const _: () = assert!(offset_of!(SharedFigures, live_bytes) == offset_of!(Figures, live_bytes));
const _: () = assert!(offset_of!(SharedFigures, live_blocks) == offset_of!(Figures, live_blocks));
const _: () = assert!(offset_of!(SharedFigures, live_peak_bytes) == offset_of!(Figures, live_peak_bytes));
const _: () = assert!(offset_of!(SharedFigures, live_error_bytes) == offset_of!(Figures, live_error_bytes));
const _: () = assert!(offset_of!(SharedFigures, span_bytes) == offset_of!(Figures, span_bytes));
const _: () = assert!(offset_of!(SharedFigures, span_peak_bytes) == offset_of!(Figures, span_peak_bytes));
const _: () = assert!(offset_of!(ProcessRecord, figures) % 8 == 0);

#[allow(unsafe_code, reason = "a promise about the layout")]
// SAFETY: six AtomicU64, laid out as the format's figures (asserted above), aligned to 8.
unsafe impl AllAtomic for SharedFigures {}

impl Recording {
    /// Claims this process's entry: once after [`Recording::open`], and again in each fork child, which then
    /// starts with its parent's figures and name. If the table or the disk is full the
    /// process runs on without an entry; its findings are recorded all the same.
    ///
    /// `mode` is the number that [`ProcessRecord::mode`] wants.
    pub fn claim_process(&self, origin: ProcessOrigin, mode: u32) {
        let before = self.process.swap(NO_PROCESS, Ordering::AcqRel);
        self.forget_findings();
        let Some(index) = self.claim_entry() else { return };
        let at = entry_offset(index);
        let put = |field: usize, value: u32| self.put_u32(at + field, value);
        put(offset_of!(ProcessRecord, pid), sys::pid());
        put(offset_of!(ProcessRecord, ppid), sys::parent_pid());
        put(offset_of!(ProcessRecord, mode), mode);
        put(offset_of!(ProcessRecord, origin), origin as u32);
        self.put_u64(at + offset_of!(ProcessRecord, start_ns), hk_os::now_ns());
        if origin == ProcessOrigin::Fork && before != NO_PROCESS {
            self.inherit(entry_offset(before), at);
        } else {
            self.put_program_name(at);
        }
        self.put_state(at, ProcessState::Running);
        self.process.store(index, Ordering::Release);
    }

    /// Whether this is the process that the recording begins with, in whatever program, and not one that it has made.
    pub fn is_first_process(&self) -> bool {
        let pid_of = |entry: usize| {
            // Relaxed: of the first process and its programs, one after the other.
            self.mapping.u32(entry + offset_of!(ProcessRecord, pid)).map(|pid| pid.load(Ordering::Relaxed))
        };
        self.own_entry().is_some_and(|own| pid_of(own) == pid_of(entry_offset(0)))
    }

    /// Where the heap keeps its figures, if the process has an entry. The reference is good until the
    /// process claims another entry (fork): then ask again.
    pub fn figures(&self) -> Option<&SharedFigures> {
        self.mapping.group(self.own_entry()? + offset_of!(ProcessRecord, figures))
    }

    /// Tells how far the process has come; `end_ns` is 0 while it runs.
    pub fn set_process_state(&self, state: ProcessState, end_ns: u64) {
        let Some(at) = self.own_entry() else { return };
        self.put_u64(at + offset_of!(ProcessRecord, end_ns), end_ns);
        self.put_state(at, state);
    }

    /// Sets how many thread heaps were ever in use at the same time.
    pub fn set_heap_count(&self, count: u32) {
        let Some(at) = self.own_entry() else { return };
        self.put_u32(at + offset_of!(ProcessRecord, heap_count), count);
    }

    /// Sets how blocks are guarded: see [`ProcessRecord::guard_every`] and [`ProcessRecord::guard_method`].
    pub fn set_guarding(&self, every: u32, method: u32) {
        let Some(at) = self.own_entry() else { return };
        self.put_u32(at + offset_of!(ProcessRecord, guard_every), every);
        self.put_u32(at + offset_of!(ProcessRecord, guard_method), method);
    }

    /// Sets how many blocks were guarded so far.
    pub fn set_guarded_blocks(&self, count: u64) {
        let Some(at) = self.own_entry() else { return };
        self.put_u64(at + offset_of!(ProcessRecord, guarded_blocks), count);
    }

    /// Sets how many blocks should have been guarded and could not be.
    pub fn set_unguarded_blocks(&self, count: u64) {
        let Some(at) = self.own_entry() else { return };
        self.put_u64(at + offset_of!(ProcessRecord, unguarded_blocks), count);
    }

    /// Sets the resident bytes at the counting.
    pub fn set_resident_bytes(&self, bytes: u64) {
        let Some(at) = self.own_entry() else { return };
        self.put_u64(at + offset_of!(ProcessRecord, resident_bytes), bytes);
    }

    /// Writes down what sweeps did.
    pub fn set_sweeps(&self, figures: &SweepFigures) {
        let Some(at) = self.own_entry() else { return };
        for (nth, word) in figures.as_bytes().chunks_exact(size_of::<u64>()).enumerate() {
            let value = u64::from_ne_bytes(word.try_into().unwrap_or_default());
            self.put_u64(at + offset_of!(ProcessRecord, sweeps) + nth * size_of::<u64>(), value);
        }
    }

    /// Wall clock for [`Recording::set_process_state`], nanoseconds since 1970.
    pub fn now_ns() -> u64 {
        hk_os::now_ns()
    }

    /// Counts a finding, for the process and for the run.
    pub(crate) fn count_finding(&self) {
        self.add_u32(offset_of!(FileHeader, finding_count), 1);
        if let Some(at) = self.own_entry() {
            self.add_u32(at + offset_of!(ProcessRecord, finding_count), 1);
        }
    }

    /// Whether this process is the one that the recording began with, be it by another program.
    pub fn is_of_first_process(&self) -> bool {
        let pid = self.mapping.u32(entry_offset(0) + offset_of!(ProcessRecord, pid));
        self.is_open() && pid.is_some_and(|pid| pid.load(Ordering::Relaxed) == sys::pid())
    }

    fn own_entry(&self) -> Option<usize> {
        self.process_index().map(entry_offset)
    }

    fn claim_entry(&self) -> Option<u32> {
        let next = self.mapping.u32(offset_of!(FileHeader, process_next))?;
        let capacity = self.mapping.u32(offset_of!(FileHeader, process_capacity))?.load(Ordering::Relaxed);
        // Never past the capacity by more than the processes that race here, so that it cannot wrap.
        if next.load(Ordering::Relaxed) >= capacity {
            return None;
        }
        let index = next.fetch_add(1, Ordering::Relaxed);
        let room = index < capacity
            && make_room(self.mapping.base(), entry_offset(index), size_of::<ProcessRecord>());
        room.then_some(index)
    }

    fn inherit(&self, parent: usize, child: usize) {
        let figures = offset_of!(ProcessRecord, figures);
        for field in (figures..figures + size_of::<Figures>()).step_by(size_of::<u64>()) {
            let value = self.mapping.u64(parent + field).map_or(0, |word| word.load(Ordering::Relaxed));
            self.put_u64(child + field, value);
        }
        let mut name = [0u8; PROCESS_NAME_BYTES];
        self.mapping.load(parent + offset_of!(ProcessRecord, name), &mut name);
        let len = name.iter().position(|&b| b == 0).unwrap_or(name.len());
        self.put_name(child, &name[..len]);
    }

    fn put_program_name(&self, at: usize) {
        let mut path = [0; PROCESS_NAME_BYTES];
        let len = program_path(&mut path);
        self.put_name(at, &path[..len]);
    }

    fn put_name(&self, at: usize, name: &[u8]) {
        self.mapping.store(at + offset_of!(ProcessRecord, name), name);
        self.put_u32(at + offset_of!(ProcessRecord, name_len), name.len() as u32);
    }

    fn put_state(&self, at: usize, state: ProcessState) {
        if let Some(word) = self.mapping.u32(at + offset_of!(ProcessRecord, state)) {
            word.store(state as u32, Ordering::Release);
        }
    }
}

/// Path of the program that runs, or as much of its end as there is room for. Gives its length; 0 if it can't be read.
pub fn program_path(end: &mut [u8]) -> usize {
    let mut path = [0u8; 1024];
    let len = sys::read_link(c"/proc/self/exe", &mut path).unwrap_or(0).min(path.len());
    let kept = &path[len.saturating_sub(end.len())..len];
    end[..kept.len()].copy_from_slice(kept);
    kept.len()
}

fn entry_offset(index: u32) -> usize {
    PROCESS_TABLE_OFFSET + index as usize * size_of::<ProcessRecord>()
}
