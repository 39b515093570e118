//! `heapkeeper why`: where the resident memory of a running process goes.
//!
//! ```text
//! snapshot's head comes ──► look at once: smaps, pagemap ──► the rest of the snapshot ──► HeapUse ──► Account ──► text, JSON
//! ```
//!
//! The program goes on when the head comes: what it does until both files are read is the account's error, and a part of its own.

mod account;
mod advice;
mod heap;
mod present;
mod seen;
mod text;

use crate::VerbResult;
use crate::snapshot::{Head, Names, take_and_look, tell};
use account::{Account, Kind};
use advice::{Facts, advice};
use heap::HeapUse;
use seen::Seen;
use serde::Serialize;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
The parts sum to the resident size (RSS) as /proc/PID/smaps_rollup has it. What of live blocks was requested and what the heap rounded up is \
estimated by the blocks whose allocations are recorded. Memory that several processes map counts in each.";

/// Options of `heapkeeper why`.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Write it as JSON to OUT (`-`: standard output) and not as text
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,
    /// The process, which runs on our heap: see heapkeeper ps
    #[arg(value_name = "PID")]
    pid: u32,
}

#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    head: Head,
    /// All parts together.
    resident_bytes: u64,
    /// The largest first.
    parts: Vec<PartRow>,
    /// Blocks by which the rounding of live blocks was estimated.
    known_requests: u64,
    /// Whether there are live blocks that the heap may have rounded up.
    #[serde(skip)]
    has_rounded: bool,
    /// Not resident: swapped out.
    swapped_bytes: u64,
    /// Not counted as resident.
    page_table_bytes: u64,
}

#[derive(Clone, Serialize)]
struct PartRow {
    part: Kind,
    /// Of a file or mapping.
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    bytes: u64,
    /// To a tenth, so that all sum to 100.
    percent: f64,
    is_estimate: bool,
    #[serde(skip)]
    permille: u64,
    title: String,
    advice: String,
}

/// Looks, and tells.
pub fn run(args: &Args) -> VerbResult {
    let (snapshot, seen) = take_and_look(args.pid, |header| {
        Seen::look(args.pid, (header.heap_start, header.heap_start.saturating_add(header.heap_bytes)))
    })?;
    let names = Names::new(&snapshot);
    let heap = HeapUse::new(&snapshot, &seen.present);
    let account = Account::new(&snapshot, &seen, &heap);
    let threads = snapshot.threads.len() as u64;
    let facts = Facts { pid: args.pid, heap: &heap, threads, header: &snapshot.header };
    let answer = Answer {
        head: Head::new("why", &names),
        resident_bytes: account.resident,
        parts: rows(&account, &facts),
        known_requests: heap.known_requests,
        has_rounded: heap.live_rounded > 0,
        swapped_bytes: seen.swapped,
        page_table_bytes: seen.page_tables,
    };
    tell("why", args.json.as_deref(), &answer, |page| text::text(page, &answer, &names))
}

fn rows(account: &Account, facts: &Facts<'_>) -> Vec<PartRow> {
    let row = |(((kind, name), part), permille): ((&(Kind, String), &account::Part), u64)| PartRow {
        part: *kind,
        name: name.clone(),
        bytes: part.bytes,
        percent: permille as f64 / 10.0,
        is_estimate: facts.heap.is_estimated() && matches!(kind, Kind::Live | Kind::Rounding),
        permille,
        title: advice::title(*kind, facts),
        advice: advice(*kind, part, facts),
    };
    let mut rows: Vec<PartRow> = account.parts.iter().zip(account.permilles()).map(row).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.bytes));
    rows
}
