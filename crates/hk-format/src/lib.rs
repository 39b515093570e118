//! What the library inside the program writes and the `heapkeeper` command reads.
//!
//! This crate is the only code that both sides share, and it knows neither: plain records with fixed
//! layouts, the settings string, and the names of things. It allocates nothing and makes no system call.
//!
//! # The recording
//!
//! One sparse file per run, made by the command (mode 0600), mapped whole and shared by every process of
//! the run; the descriptor is closed at once. The page cache keeps it whatever way a process ends.
//!
//! ```text
//! 0        FileHeader            one page: identity, the two bump counters, the control words
//! 4096     ProcessRecord x N     352 bytes each, claimed by `process_next.fetch_add(1)`
//! ring     1 MiB                 what a process answers to the command, see [`Control`]
//! records  64-byte aligned       each claimed by `record_next.fetch_add(len)`, begins with RecordHeader
//! ```
//!
//! A record is written in the order length, body, state; a reader ignores records whose state is
//! [`RecordState::Claimed`], and can step over them as the length came first.
//!
//! All integers are little endian (the machine's own); [`VERSION`] changes with any change of layout.
#![no_std]

mod control;
mod file;
mod finding;
mod process;
mod record;
mod settings;
mod snapshot;

pub use control::{
    Control, Judged, READER_PATIENCE_MS, RING_BYTES, Refusal, RequestState, RequestVerb, RequestWord,
    ring_bytes_waiting, ring_offset, ring_piece,
};
pub use file::{CONTROL_OFFSET, FileHeader, MAGIC, PAGE_BYTES, PROCESS_TABLE_OFFSET, VERSION, file_layout};
pub use finding::{
    AccessKind, CODE_BYTES, Call, EVENT_FRAME_COUNT_MAX, EventRecord, Evidence, FRAME_COUNT_MAX,
    FREE_SITES_MAX, Family, FindingKind, FindingRecord, FreeSiteRecord, LeakRecord, LifeRecord, Loss,
    MODULE_AREA_BYTES, ModuleHeader, ModuleIter, ModuleRef, Place, SITE_FRAME_COUNT_MAX, StackState,
};
pub use process::{Figures, PROCESS_NAME_BYTES, ProcessOrigin, ProcessRecord, ProcessState, SweepFigures};
pub use record::{
    EXEC_PATH_BYTES, ExecRecord, ExecState, NOTE_TEXT_BYTES, NoteKind, NoteRecord, RECORD_MAGIC,
    RecordHeader, RecordKind, RecordState,
};
pub use settings::{
    Engine, GUARD_BATCH_MAX, GUARD_EVERY_DEFAULT, Guard, GuardRange, GuardSide, HugePages, Leaks, Mode,
    OnFinding, SETTINGS_VARIABLE, Setting, SettingError, Settings, decode_path, guard_range,
    parse as parse_settings,
};
pub use snapshot::{
    AreaKind, AreaRecord, BlockRecord, CHUNK_BYTES_MAX, CHUNK_MAGIC, ChunkHeader, ChunkKind, FreedRecord,
    KnownLife, MAPPING_PATH_BYTES, MappingRecord, PointerRecord, RootKind, RootRecord, SNAPSHOT_MAGIC,
    SNAPSHOT_VERSION, SnapshotHeader, SnapshotTotals, SpanRecord, SpanWord, StackRecord, ThreadRecord,
};

/// What stands behind a recording's path in that of the snapshot that its first process leaves at its end, in mode quarantine.
pub const LAST_SNAPSHOT_ENDING: &str = ".hksnap";

/// Makes a plain enum with a stable number for each name, and the way back from the number.
macro_rules! numbered {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $value:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        $vis enum $name { $($(#[$vmeta])* $variant = $value,)* }
        impl $name {
            /// The variant with this number, if this version knows it.
            pub const fn from_u32(value: u32) -> Option<Self> {
                match value { $($value => Some(Self::$variant),)* _ => None }
            }
        }
    };
}
pub(crate) use numbered;
