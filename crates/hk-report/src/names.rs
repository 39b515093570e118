//! The words of the report for the numbers of the recording.

use hk_format::{AccessKind, Call, Evidence, Family, FindingKind, Loss, Place, StackState};

/// A number that this version does not know.
pub(crate) fn unknown(number: u32) -> String {
    format!("unknown-{number}")
}

/// The word for a number, or what says that it is not known.
pub(crate) fn word<T>(number: u32, known: Option<T>, name: impl Fn(T) -> &'static str) -> String {
    known.map_or_else(|| unknown(number), |value| name(value).into())
}

pub(crate) const fn evidence_name(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Call => "call",
        Evidence::Trap => "trap",
        Evidence::Canary => "canary",
        Evidence::Buffer => "buffer",
        Evidence::Scan => "scan",
    }
}

pub(crate) const fn access_name(access: AccessKind) -> &'static str {
    match access {
        AccessKind::None => "none",
        AccessKind::Read => "read",
        AccessKind::Write => "write",
        AccessKind::Execute => "execute",
    }
}

pub(crate) const fn family_name(family: Family) -> &'static str {
    match family {
        Family::Unknown => "unknown",
        Family::Malloc => "malloc",
        Family::New => "new",
        Family::NewArray => "new-array",
        Family::Rust => "rust",
    }
}

pub(crate) const fn loss_name(loss: Loss) -> &'static str {
    match loss {
        Loss::None => "none",
        Loss::Direct => "direct",
        Loss::Cycle => "cycle",
    }
}

/// All kinds of findings.
pub(crate) const KINDS: [FindingKind; 11] = [
    FindingKind::DoubleFree,
    FindingKind::UseAfterFree,
    FindingKind::NotOfHeap,
    FindingKind::NotBlockStart,
    FindingKind::OverrunWrite,
    FindingKind::UnderrunWrite,
    FindingKind::OverrunRead,
    FindingKind::UnderrunRead,
    FindingKind::MismatchedDeallocation,
    FindingKind::WrongLayout,
    FindingKind::Leak,
];

pub(crate) const fn kind_name(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::DoubleFree => "double-free",
        FindingKind::UseAfterFree => "use-after-free",
        FindingKind::NotOfHeap => "not-of-heap",
        FindingKind::NotBlockStart => "not-block-start",
        FindingKind::OverrunWrite => "overrun-write",
        FindingKind::UnderrunWrite => "underrun-write",
        FindingKind::OverrunRead => "overrun-read",
        FindingKind::UnderrunRead => "underrun-read",
        FindingKind::MismatchedDeallocation => "mismatched-deallocation",
        FindingKind::WrongLayout => "wrong-layout",
        FindingKind::Leak => "leak",
    }
}

pub(crate) const fn call_name(call: Call) -> &'static str {
    match call {
        Call::Free => "free",
        Call::Realloc => "realloc",
        Call::UsableSize => "malloc-usable-size",
        Call::SeenLater => "seen-later",
        Call::Dealloc => "dealloc",
        Call::Access => "access",
        Call::SystemCall => "system-call",
        Call::Delete => "delete",
        Call::DeleteArray => "delete-array",
        Call::Exit => "exit",
        Call::Scan => "scan",
    }
}

pub(crate) const fn place_name(place: Place) -> &'static str {
    match place {
        Place::FreeBlock => "free-block",
        Place::RetiredBlock => "retired-block",
        Place::InsideLiveBlock => "inside-live-block",
        Place::InsideFreeBlock => "inside-free-block",
        Place::NoBlock => "no-block",
        Place::Stack => "stack",
        Place::StaticData => "static-data",
        Place::MappedFile => "mapped-file",
        Place::Anonymous => "anonymous",
        Place::Unmapped => "unmapped",
        Place::Code => "code",
        Place::OwnTables => "own-tables",
        Place::OtherHeap => "other-heap",
    }
}

pub(crate) const fn stack_state_name(state: StackState) -> &'static str {
    match state {
        StackState::Absent => "absent",
        StackState::Whole => "whole",
        StackState::Cut => "cut",
        StackState::Broken => "broken",
    }
}
