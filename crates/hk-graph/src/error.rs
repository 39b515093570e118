//! Why a snapshot cannot be read.

use hk_format::SNAPSHOT_VERSION;
use std::{fmt, io};

/// The text is one line that says what is wrong, where, and what to do; which snapshot it was the caller knows.
#[derive(Debug)]
pub enum SnapshotError {
    /// It cannot be read on.
    Io {
        /// Bytes that were read before.
        offset: u64,
        /// What the system says.
        error: io::Error,
    },
    /// It does not begin as a snapshot does.
    NotASnapshot,
    /// It has another layout.
    OtherVersion(u32),
    /// It ends before its end.
    Cut {
        /// Where.
        offset: u64,
    },
    /// It contradicts itself, or the layout.
    Damaged {
        /// Where, in bytes from its start.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// More blocks, pointers or roots than this version can number: four thousand million.
    TooLarge {
        /// Where that many were reached.
        offset: u64,
    },
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { offset, error } => write!(f, "it cannot be read beyond byte {offset}: {error}"),
            Self::NotASnapshot => f.write_str("it is no snapshot: give a file that `heapkeeper snap` wrote"),
            Self::OtherVersion(version) => write!(
                f,
                "it has version {version}, this heapkeeper reads version {SNAPSHOT_VERSION}: use the heapkeeper that made it"
            ),
            Self::Cut { offset } => write!(f, "it is cut short at byte {offset}: take it again"),
            Self::Damaged { offset, what } => {
                write!(f, "it is damaged at byte {offset}: {what}; take it again")
            }
            Self::TooLarge { offset } => {
                write!(f, "it has more blocks, pointers or roots than can be numbered (at byte {offset})")
            }
        }
    }
}

impl std::error::Error for SnapshotError {}
