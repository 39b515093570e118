//! Parts that the JSON forms of several verbs have.

use super::names::Names;
use hk_graph::{Estimate, Size};
use hk_report::{Figure, bytes};
use serde::Serialize;

/// What every answer begins with.
#[derive(Debug, Serialize)]
pub struct Head {
    /// `heapkeeper-` and the verb.
    pub schema: String,
    /// Raised if the meaning of a field changes.
    pub version: u32,
    /// Version of the heapkeeper that made the answer.
    pub heapkeeper: &'static str,
    /// The process, as it sees itself.
    pub pid: u32,
    /// Path of its program; empty if that is not known.
    pub exe: String,
    /// When the snapshot was taken, nanoseconds since 1970.
    pub time_ns: u64,
    /// One block in so many has its allocation recorded (1: all, 0: none, or those of certain sites).
    pub sampled_every: u32,
    /// Live blocks and their bytes.
    pub live: SizeModel,
}

impl Head {
    /// For a verb's answer.
    pub fn new(verb: &str, names: &Names<'_>) -> Head {
        let header = &names.snapshot.header;
        let totals = &names.snapshot.totals;
        Head {
            schema: format!("heapkeeper-{verb}"),
            version: 1,
            heapkeeper: env!("CARGO_PKG_VERSION"),
            pid: header.pid,
            exe: names.exe().to_string_lossy().into_owned(),
            time_ns: header.time_ns,
            sampled_every: header.every,
            live: SizeModel { bytes: totals.block_bytes, blocks: totals.blocks },
        }
    }
}

/// Blocks and their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SizeModel {
    /// Bytes.
    pub bytes: u64,
    /// Blocks.
    pub blocks: u64,
}

impl From<Size> for SizeModel {
    fn from(size: Size) -> SizeModel {
        SizeModel { bytes: size.bytes, blocks: size.blocks }
    }
}

/// As reports have it.
pub fn figure(estimate: Estimate) -> Figure {
    match estimate.error {
        0 => Figure::exact(estimate.value),
        error => Figure::estimate(estimate.value, error),
    }
}

/// `1.2 MiB`, or `1.2 MiB ± 0.3 MiB`.
pub fn bytes_text(figure: &Figure) -> String {
    match figure.error {
        0 => bytes(figure.value),
        error => format!("{} ± {}", bytes(figure.value), bytes(error)),
    }
}

/// `1200`, or `1200 ± 300`.
pub fn blocks_text(figure: &Figure) -> String {
    match figure.error {
        0 => figure.value.to_string(),
        error => format!("{} ± {error}", figure.value),
    }
}
