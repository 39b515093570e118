//! The report: plain data, the same for text and JSON. The fields are the JSON schema.
//!
//! Fields may be added under the same [`SCHEMA_VERSION`]; a change of what a field means raises it.
//! Names of kinds, calls, places and states are words of the enums below, in lower case with hyphens.

use serde::{Deserialize, Serialize};

/// Value of [`Report::schema`].
pub const SCHEMA: &str = "heapkeeper-report";
/// Value of [`Report::version`].
pub const SCHEMA_VERSION: u32 = 1;

/// All that is known of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// Always [`SCHEMA_VERSION`].
    pub version: u32,
    /// Version of the heapkeeper that made the report.
    pub heapkeeper: String,
    /// CMD with its arguments; null when made from a kept recording.
    pub command: Option<Vec<String>>,
    /// Exit status of CMD, if it ended by exit.
    pub exit_status: Option<i32>,
    /// Signal that ended CMD, if one did.
    pub exit_signal: Option<i32>,
    /// Counts and sizes over the whole run.
    pub summary: Summary,
    /// One entry per bug, in the order in which they were first seen.
    pub findings: Vec<Finding>,
    /// The processes that ran on our heap.
    pub processes: Vec<Process>,
    /// Programs that did not run on our heap.
    pub not_covered: Vec<NotCovered>,
    /// What else a user should know.
    pub notes: Vec<Note>,
    /// Modules that stacks run through and that gave no lines.
    pub missing_debug_info: Vec<Missing>,
}

/// Counts and sizes over the whole run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Entries of `findings`.
    pub findings: u64,
    /// Bad calls over all findings: the sum of their repeats.
    pub bad_calls: u64,
    /// Processes on our heap; one that replaced itself by exec counts once.
    pub processes: u64,
    /// Programs not on our heap, repeats included.
    pub not_covered: u64,
    /// Records that were lost: the recording was full, or the disk.
    pub records_dropped: u64,
    /// Records that were begun and never finished: their process died while writing.
    pub records_torn: u64,
    /// Bytes of blocks not freed at the processes' ends, summed.
    pub live_bytes: Option<Figure>,
    /// Blocks not freed at the processes' ends, summed; null if a process was not counted.
    pub live_blocks: Option<Figure>,
    /// Highest resident size of CMD or one of its children, in bytes, from the kernel; null when made from a
    /// kept recording.
    pub resident_peak_bytes: Option<Figure>,
}

/// Whether a figure was counted or estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// Counted.
    Exact,
    /// Off by at most `error`.
    Estimate,
}

/// A number that says how sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    /// The number.
    pub value: u64,
    /// How sure.
    pub certainty: Certainty,
    /// How far an estimate may be off, in the unit of `value`; 0 when exact.
    pub error: u64,
}

impl Figure {
    /// A counted number.
    pub const fn exact(value: u64) -> Figure {
        Figure { value, certainty: Certainty::Exact, error: 0 }
    }

    /// An upper bound, once `error` is added to it.
    pub const fn estimate(value: u64, error: u64) -> Figure {
        Figure { value, certainty: Certainty::Estimate, error }
    }
}

/// An address, written as `"0x…"`: JSON readers lose bits of large numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Address(pub u64);

impl From<Address> for String {
    fn from(address: Address) -> String {
        format!("{:#x}", address.0)
    }
}

impl TryFrom<String> for Address {
    type Error = String;
    fn try_from(text: String) -> Result<Address, String> {
        let digits = text.strip_prefix("0x").ok_or(format!("'{text}' is no address: expected 0x…"))?;
        u64::from_str_radix(digits, 16).map(Address).map_err(|e| format!("'{text}' is no address: {e}"))
    }
}

/// One bug: all bad calls of one kind from one stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Names the bug in every run and every build: `HK-`, two or three letters for the kind, a hyphen, eight hexadecimal digits.
    #[serde(default)]
    pub id: String,
    /// `double-free`, `use-after-free`, `not-of-heap`, `not-block-start`, `overrun-write`, `underrun-write`, `overrun-read`,
    /// `underrun-read`, `mismatched-deallocation`, `wrong-layout`, `leak`.
    pub kind: String,
    /// Number in the Common Weakness Enumeration; 0 if unknown.
    pub cwe: u32,
    /// The first sentence of the text report.
    pub message: String,
    /// The bad call: `free`, `realloc`, `malloc-usable-size`, `seen-later`, `dealloc`, `delete`, `delete-array`; `access`: no call, but an
    /// instruction of the program; `system-call`; `exit`: damage or a leak that was found at the end; `scan`: a leak that was found before.
    pub call: String,
    /// What shows it: `call` (the heap knows its blocks), `trap` (the processor), `canary` (overwritten bytes, found later), `buffer` (that of a
    /// system call), `scan` (all memory was looked through for pointers).
    #[serde(default)]
    pub evidence: String,
    /// What an instruction or system call did with the address.
    #[serde(default)]
    pub access: Option<Access>,
    /// When, in nanoseconds since the process's start.
    #[serde(default)]
    pub time_ns: u64,
    /// The address that was passed (of the first bad call).
    pub address: Address,
    /// What lies there: `free-block`, `retired-block`, `inside-live-block`, `inside-free-block`, `no-block`,
    /// `stack`, `static-data`, `mapped-file`, `anonymous`, `unmapped`, `code`, `own-tables`, `other-heap`.
    pub place: String,
    /// The block that the address lies in, if it lies in one.
    pub block: Option<Block>,
    /// The mapping that a foreign address lies in, if it is known.
    pub region: Option<Region>,
    /// The thread of the first bad call.
    pub thread: ThreadRef,
    /// The process of the first bad call.
    pub process: ProcessRef,
    /// Processes that made the bad call.
    pub process_count: u64,
    /// Bad calls.
    pub repeats: u64,
    /// Whether a process was stopped by SIGABRT because of it.
    pub aborted: bool,
    /// The stack of the bad call, innermost first; inlined functions are frames of their own.
    pub stack: Vec<StackFrame>,
    /// `whole`, `cut` (deeper than what is recorded), `broken` (no unwind information), `absent`.
    pub stack_state: String,
    /// The block's life, if it was guarded.
    #[serde(default)]
    pub life: Option<Life>,
    /// What was lost, if it is a leak, of which the block is the oldest.
    #[serde(default)]
    pub leak: Option<Leak>,
    /// Who frees the blocks of this allocation site.
    #[serde(default)]
    pub population: Option<Population>,
    /// Where the mistake probably is: an inference.
    #[serde(default)]
    pub culprit: Option<Culprit>,
    /// What to do, in words, where that follows.
    #[serde(default)]
    pub fix: Option<String>,
    /// `new`; `known` (it is in the baseline); `suppressed`.
    #[serde(default)]
    pub status: String,
    /// Which suppression, if it is suppressed.
    #[serde(default)]
    pub suppressed_by: Option<String>,
}

/// Blocks of one allocation site that were lost in the same way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leak {
    /// `direct`: nothing points at any of them. `cycle`: they lie in circles of blocks that point at each other, and nothing else does.
    pub loss: String,
    /// How many: of cycles, one for each.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blocks that were lost with them, as only they lead there; of a cycle its other blocks too.
    pub indirect_blocks: u64,
    /// Their bytes.
    pub indirect_bytes: u64,
    /// One block in so many has its allocation recorded, in the mean; the others are told by their size.
    pub sampled_every: u32,
}

/// A bad access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// `read`, `write`, `execute`.
    pub kind: String,
    /// How many bytes; null if that is not known.
    pub bytes: Option<u64>,
    /// The instruction, disassembled; null if there was none or its bytes are not known.
    pub instruction: Option<String>,
}

/// What is known of a guarded block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// What was asked for.
    pub requested_bytes: u64,
    /// The alignment that was asked for.
    pub align_bytes: u64,
    /// The block's own pages; inaccessible ones stand before and behind.
    pub pages_start: Address,
    /// Their end.
    pub pages_end: Address,
    /// Whether the guard was taken away for the access, so that the program goes on.
    pub opened: bool,
    /// The allocation.
    pub allocated: Event,
    /// The free, if there was one.
    pub freed: Option<Event>,
}

/// An allocation or a free.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in nanoseconds since the process's start.
    pub time_ns: u64,
    /// `malloc` (and its like), `new`, `new-array`, `rust`, `unknown`.
    pub family: String,
    /// The thread.
    pub thread: ThreadRef,
    /// The stack, innermost first.
    pub stack: Vec<StackFrame>,
    /// See [`Finding::stack_state`].
    pub stack_state: String,
}

/// Who frees the blocks of an allocation site, of those that were guarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Population {
    /// Blocks of the site.
    pub blocks: u64,
    /// Of which so many were freed.
    pub frees: u64,
    /// By whom, most frequent first.
    pub free_sites: Vec<FreeSite>,
}

/// A site that frees blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeSite {
    /// How many.
    pub count: u64,
    /// The innermost frames.
    pub stack: Vec<StackFrame>,
}

/// Where the mistake probably is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Culprit {
    /// The function's name.
    pub function: String,
    /// Its place in the source, `file:line`, if that is known.
    pub place: Option<String>,
    /// `high`, `medium`, `low`.
    pub confidence: String,
    /// Sentences that say why.
    pub reasons: Vec<String>,
}

/// A block of the heap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Its first byte.
    pub start: Address,
    /// Its size in bytes, as the heap rounded it.
    pub bytes: u64,
    /// How far behind its start the address lies; less than 0 if before it.
    pub offset: i64,
}

/// A mapping of the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// First byte.
    pub start: Address,
    /// End.
    pub end: Address,
    /// The file or module, if it has one.
    pub name: Option<String>,
}

/// A thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadRef {
    /// As pthread_setname_np set it.
    pub name: String,
    /// As gettid gives it.
    pub id: u32,
}

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRef {
    /// As getpid gives it.
    pub pid: u32,
    /// Path of the program; empty if unknown.
    pub exe: String,
}

/// One function on a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StackFrame {
    /// Demangled, with parameters where the language has them in the name.
    pub function: Option<String>,
    /// As the compiler was given it.
    pub file: Option<String>,
    /// From 1.
    pub line: Option<u32>,
    /// Whether it is inlined into the next frame.
    pub inlined: bool,
    /// Path of the program or library.
    pub module: Option<String>,
    /// `pc` as an address in the module's file.
    pub offset: Option<Address>,
    /// Return address.
    pub pc: Address,
    /// The line's text, if the source was there.
    #[serde(default)]
    pub source: Option<String>,
}

/// A process on our heap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// As getpid gives it.
    pub pid: u32,
    /// Parent's.
    pub ppid: u32,
    /// Path of the program; empty if unknown.
    pub exe: String,
    /// `manual`, `keep` or `quarantine`.
    pub mode: String,
    /// `running` (still, or ended without telling), `counted`, `counted-roughly` (other threads ran meanwhile), `replaced` (by exec).
    pub state: String,
    /// Made by fork, no exec since.
    pub forked: bool,
    /// Not another process, but a second heap in the one with this pid: a Rust program's global allocator.
    #[serde(default)]
    pub second_heap: bool,
    /// Bad calls in it.
    pub bad_calls: u64,
    /// Thread heaps that were in use at the same time.
    pub thread_heaps: u32,
    /// One block in so many was guarded; 0: none, or those of certain sites.
    #[serde(default)]
    pub guard_every: u32,
    /// How guards were put up: `guard-pages`, `protection` (mprotect).
    #[serde(default)]
    pub guard_method: String,
    /// Blocks that were guarded.
    #[serde(default)]
    pub guarded_blocks: u64,
    /// Blocks that were to be guarded and were not, as there was no memory left for it.
    #[serde(default)]
    pub unguarded_blocks: u64,
    /// Sizes.
    pub figures: Figures,
    /// In mode quarantine.
    #[serde(default)]
    pub sweeps: Option<Sweeps>,
}

/// What sweeps of the quarantine did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweeps {
    /// How many.
    pub count: u64,
    /// How many were given up.
    pub dropped: u64,
    /// Blocks that were released.
    pub released_blocks: u64,
    /// Their bytes.
    pub released_bytes: u64,
    /// Blocks that were freed, and to which something pointed at the last sweep.
    pub held_blocks: u64,
    /// Their bytes.
    pub held_bytes: u64,
    /// The longest stop of the program's threads.
    pub stop_us_max: u64,
    /// All stops together.
    pub stop_us_total: u64,
    /// Processor time of sweeps.
    pub sweeper_us: u64,
    /// How often a thread that freed had to wait.
    pub stalls: u64,
    /// All those waits together.
    pub stall_us_total: u64,
}

/// Sizes of a process's heap, in bytes but for the blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Blocks not freed at the end (block sizes, not requested sizes).
    pub live_bytes: Figure,
    /// Their number; null unless counted.
    pub live_blocks: Option<Figure>,
    /// Highest `live_bytes`.
    pub live_peak_bytes: Figure,
    /// Memory that the heap holds for blocks at the end.
    pub heap_bytes: Figure,
    /// Highest `heap_bytes`.
    pub heap_peak_bytes: Figure,
    /// Resident size at the end; null unless counted.
    pub resident_bytes: Option<Figure>,
}

/// A program that did not run on our heap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotCovered {
    /// Path of the program.
    pub path: String,
    /// Why not.
    pub reason: String,
    /// Process of the first time.
    pub pid: u32,
    /// How often it was started.
    pub times: u64,
}

/// Something that is no finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// `bad-setting`, `small-reservation`, `out-of-memory`, `address-space-limited`, `no-heap`,
    /// `foreign-owner`, `too-many-processes`.
    pub kind: String,
    /// One sentence.
    pub message: String,
    /// Process of the first time.
    pub pid: u32,
    /// How often.
    pub times: u64,
}

/// A module without lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Path of the module.
    pub module: String,
    /// In hexadecimal digits; empty if it has none.
    pub build_id: String,
    /// Why there are no lines.
    pub reason: String,
}
