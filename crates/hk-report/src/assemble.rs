//! From a recording and its symbols to a report.

use crate::coverage;
use crate::finding::finding;
use crate::identity::Merged;
use crate::model::*;
use crate::names::unknown;
use crate::recording::{Body, Recording, RecordingError};
use hk_format::{FileHeader, NoteKind, NoteRecord, ProcessOrigin, ProcessRecord, ProcessState};
use hk_symbols::Symbolizer;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What only the command that ran CMD knows.
#[derive(Clone, Debug, Default)]
pub struct RunFacts {
    /// CMD with its arguments.
    pub command: Option<Vec<String>>,
    /// How CMD ended.
    pub exit: Option<Exit>,
    /// Highest resident size of CMD or one of its children, in bytes.
    pub resident_peak: Option<Figure>,
}

/// How CMD ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

/// The whole report. `explain` tells why a program that made no heap could not be covered.
pub fn assemble(
    recording: &Recording,
    symbolizer: &mut Symbolizer,
    facts: &RunFacts,
    explain: &dyn Fn(&Path) -> String,
) -> Result<Report, RecordingError> {
    let header = recording.header()?;
    let processes = recording.processes()?;
    let all = recording.records()?;
    let by_index: HashMap<u32, &ProcessRecord> = processes.iter().map(|(i, p)| (*i, p)).collect();

    let mut findings = Merged::default();
    let (mut execs, mut notes) = (Vec::new(), Notes::default());
    for record in &all.records {
        let process = by_index.get(&record.header.process).copied();
        match &record.body {
            Body::Finding(body) => findings.add(finding(record, body, process, symbolizer)),
            Body::Exec(exec) => execs.push(**exec),
            Body::Note(note) if note.note == NoteKind::OwnMalloc as u32 => {
                notes.own_mallocs.insert(record.header.process);
            }
            Body::Note(note) => notes.add(note, process.map_or(0, |p| p.pid)),
        }
    }
    notes.list.extend(no_room(&header));
    notes.list.extend(cut_short(recording.missing_bytes()?, &header));
    let findings = findings.list;
    let mut not_covered = coverage::not_covered(&execs, &processes, explain);
    not_covered.extend(own_mallocs(&notes.own_mallocs, &by_index));
    let summary = Summary {
        findings: findings.len() as u64,
        bad_calls: findings.iter().map(|f| f.repeats).sum(),
        processes: (lasting(&processes).filter(|record| !is_second_heap(record)).count() as u64)
            .saturating_sub(notes.own_mallocs.len() as u64),
        not_covered: not_covered.iter().map(|n| n.times).sum(),
        records_dropped: header.dropped,
        records_torn: all.torn,
        resident_peak_bytes: facts.resident_peak.map(|peak| at_least(peak, &processes)),
        ..live_at_end(&processes)
    };
    Ok(Report {
        schema: SCHEMA.into(),
        version: SCHEMA_VERSION,
        heapkeeper: env!("CARGO_PKG_VERSION").into(),
        command: facts.command.clone(),
        exit_status: facts.exit.and_then(|exit| if let Exit::Status(n) = exit { Some(n) } else { None }),
        exit_signal: facts.exit.and_then(|exit| if let Exit::Signal(n) = exit { Some(n) } else { None }),
        summary,
        findings,
        processes: processes.iter().map(|(_, record)| process(record)).collect(),
        not_covered,
        notes: notes.list,
        missing_debug_info: missing(symbolizer),
    })
}

/// The program's path. The record keeps the end of a long one: the system may still know the whole.
pub(crate) fn exe_path(process: &ProcessRecord) -> PathBuf {
    let name = process.name_bytes();
    let recorded = PathBuf::from(OsStr::from_bytes(name));
    if name.is_empty() || name.starts_with(b"/") {
        return recorded;
    }
    match std::fs::read_link(format!("/proc/{}/exe", process.pid)) {
        Ok(whole) if whole.as_os_str().as_bytes().ends_with(name) => whole,
        _ => recorded,
    }
}

/// The entries that a process ended with: not those that a later exec of the same process replaced.
fn lasting(processes: &[(u32, ProcessRecord)]) -> impl Iterator<Item = &ProcessRecord> {
    processes.iter().enumerate().filter_map(|(at, (_, record))| {
        let replaced = record.state == ProcessState::Replaced as u32
            && processes[at + 1..].iter().any(|(_, later)| later.pid == record.pid);
        (!replaced).then_some(record)
    })
}

fn is_second_heap(record: &ProcessRecord) -> bool {
    record.origin == ProcessOrigin::SecondHeap as u32
}

fn live_at_end(processes: &[(u32, ProcessRecord)]) -> Summary {
    let ends: Vec<Figures> = lasting(processes).map(|record| process(record).figures).collect();
    if ends.is_empty() {
        return Summary::default();
    }
    let blocks: Option<Vec<Figure>> = ends.iter().map(|f| f.live_blocks).collect();
    Summary {
        live_bytes: Some(sum(ends.iter().map(|f| f.live_bytes))),
        live_blocks: blocks.map(|blocks| sum(blocks.into_iter())),
        ..Summary::default()
    }
}

/// A peak is no less than what processes counted themselves; the kernel's figure lags behind by some pages.
fn at_least(peak: Figure, processes: &[(u32, ProcessRecord)]) -> Figure {
    let counted = processes.iter().map(|(_, record)| record.resident_bytes).max().unwrap_or(0);
    Figure { value: peak.value.max(counted), ..peak }
}

fn sum(figures: impl Iterator<Item = Figure>) -> Figure {
    figures.fold(Figure::exact(0), |total, figure| Figure {
        value: total.value.saturating_add(figure.value),
        certainty: if figure.certainty == Certainty::Exact { total.certainty } else { figure.certainty },
        error: total.error.saturating_add(figure.error),
    })
}

fn process(record: &ProcessRecord) -> Process {
    Process {
        pid: record.pid,
        ppid: record.ppid,
        exe: exe_path(record).to_string_lossy().into_owned(),
        mode: hk_format::Mode::from_number(record.mode)
            .map_or_else(|| unknown(record.mode), |mode| mode.name().into()),
        state: match ProcessState::from_u32(record.state) {
            Some(ProcessState::Unused) | None => unknown(record.state),
            Some(ProcessState::Running) => "running".into(),
            Some(ProcessState::Counted) => "counted".into(),
            Some(ProcessState::Replaced) => "replaced".into(),
            Some(ProcessState::CountedRoughly) => "counted-roughly".into(),
        },
        forked: record.origin == ProcessOrigin::Fork as u32,
        second_heap: is_second_heap(record),
        bad_calls: u64::from(record.finding_count),
        thread_heaps: record.heap_count,
        guard_every: record.guard_every,
        guard_method: if record.guard_method == 0 { "guard-pages" } else { "protection" }.into(),
        guarded_blocks: record.guarded_blocks,
        unguarded_blocks: record.unguarded_blocks,
        figures: figures(record),
        sweeps: (record.mode == hk_format::Mode::Quarantine as u32).then(|| sweeps(&record.sweeps)),
    }
}

fn sweeps(raw: &hk_format::SweepFigures) -> Sweeps {
    const US: u64 = 1000;
    Sweeps {
        count: raw.sweeps,
        dropped: raw.dropped,
        released_blocks: raw.released_blocks,
        released_bytes: raw.released_bytes,
        held_blocks: raw.held_blocks,
        held_bytes: raw.held_bytes,
        stop_us_max: raw.stop_ns_max / US,
        stop_us_total: raw.stop_ns_total / US,
        sweeper_us: raw.sweeper_ns / US,
        stalls: raw.stalls,
        stall_us_total: raw.stall_ns_total / US,
    }
}

fn figures(record: &ProcessRecord) -> Figures {
    let exact = record.state == ProcessState::Counted as u32;
    let counted = exact || record.state == ProcessState::CountedRoughly as u32;
    let raw = &record.figures;
    let at_exit = |value| if exact { Figure::exact(value) } else { Figure::estimate(value, 0) };
    let live = match counted {
        true => at_exit(raw.live_bytes),
        false => Figure::estimate(raw.live_bytes, raw.live_error_bytes),
    };
    Figures {
        live_bytes: live,
        live_blocks: counted.then(|| at_exit(raw.live_blocks)),
        live_peak_bytes: Figure::estimate(raw.live_peak_bytes, raw.live_error_bytes),
        heap_bytes: Figure::exact(raw.span_bytes),
        heap_peak_bytes: Figure::exact(raw.span_peak_bytes),
        resident_bytes: (counted && record.resident_bytes != 0).then(|| Figure::exact(record.resident_bytes)),
    }
}

#[derive(Default)]
struct Notes {
    list: Vec<Note>,
    /// Processes whose program has a malloc of its own.
    own_mallocs: BTreeSet<u32>,
    by_text: BTreeMap<(String, String), usize>,
}

impl Notes {
    fn add(&mut self, record: &NoteRecord, pid: u32) {
        let (kind, message) = note_text(record);
        let key = (kind.clone(), message.clone());
        match self.by_text.get(&key) {
            Some(&at) => self.list[at].times += 1,
            None => {
                self.by_text.insert(key, self.list.len());
                self.list.push(Note { kind, message, pid, times: 1 });
            }
        }
    }
}

fn cut_short(missing_bytes: u64, header: &FileHeader) -> Option<Note> {
    let message = format!(
        "the recording is cut short: only {} of {} are there; what the rest told is not told here",
        crate::units::bytes(header.file_bytes - missing_bytes),
        crate::units::bytes(header.file_bytes)
    );
    (missing_bytes > 0).then_some(Note { kind: "cut-short".into(), message, pid: 0, times: 1 })
}

/// Processes beyond the table's end are counted there, and nowhere else.
fn no_room(header: &FileHeader) -> Option<Note> {
    let missed = header.process_next.saturating_sub(header.process_capacity);
    let message = format!(
        "{} found no room in the recording: this report does not tell of them",
        crate::units::count(u64::from(missed), "process")
    );
    (missed > 0).then_some(Note { kind: "too-many-processes".into(), message, pid: 0, times: 1 })
}

/// Programs that run with our library, but do not call it.
fn own_mallocs(indices: &BTreeSet<u32>, by_index: &HashMap<u32, &ProcessRecord>) -> Vec<NotCovered> {
    let mut found: Vec<NotCovered> = Vec::new();
    for process in indices.iter().filter_map(|index| by_index.get(index)) {
        let path = exe_path(process).to_string_lossy().into_owned();
        match found.iter_mut().find(|entry| entry.path == path) {
            Some(entry) => entry.times += 1,
            None => {
                let reason = "it has a malloc of its own, which it calls instead of ours".into();
                found.push(NotCovered { path, reason, pid: process.pid, times: 1 });
            }
        }
    }
    found
}

fn note_text(record: &NoteRecord) -> (String, String) {
    let text = String::from_utf8_lossy(record.text_bytes());
    let bytes = crate::units::bytes(record.value);
    let (kind, message) = match NoteKind::from_u32(record.note) {
        None => return (unknown(record.note), format!("{text} ({})", record.value)),
        Some(NoteKind::BadSetting) => {
            ("bad-setting", format!("the setting '{text}' was ignored: it is unknown or malformed"))
        }
        Some(NoteKind::SmallReservation) => {
            ("small-reservation", format!("the heap could reserve only {bytes} of address space"))
        }
        Some(NoteKind::OutOfMemory) => {
            ("out-of-memory", format!("no memory for {bytes}: the program was given NULL"))
        }
        Some(NoteKind::AddressSpaceLimited) => (
            "address-space-limited",
            format!("the program limited its address space to {bytes}, less than the heap has reserved"),
        ),
        Some(NoteKind::NoHeap) => (
            "no-heap",
            format!("no heap could be made (errno {}): the program ran on the system's malloc", record.value),
        ),
        Some(NoteKind::GuardsThinned) => (
            "guards-thinned",
            format!(
                "guarding takes most of the {bytes} that it may take: from then on only some blocks were guarded"
            ),
        ),
        Some(NoteKind::GuardsByProtection) => (
            "guards-by-protection",
            format!(
                "guards are put up by mprotect, as this kernel has no guard pages (Linux 6.13), memory is locked, or a sandbox forbids them: at most {} blocks are guarded at a time",
                record.value
            ),
        ),
        Some(NoteKind::TrapsLost) => (
            "traps-lost",
            "the program took SIGSEGV over by a bare system call: bad accesses go unreported from then on"
                .into(),
        ),
        Some(NoteKind::Relaxed) => {
            let thread =
                if record.value == 0 { String::new() } else { format!(" (thread {})", record.value) };
            let message = format!(
                "the quarantine is relaxed: freed blocks are released by age, whether something points to them or not, as {text}{thread}"
            );
            ("quarantine-relaxed", message)
        }
        Some(NoteKind::NoScan) => {
            let thread =
                if record.value == 0 { String::new() } else { format!(" (thread {})", record.value) };
            ("no-scan", format!("no leaks were looked for: {text}{thread}"))
        }
        Some(NoteKind::EndedAtOnce) => {
            ("ended-at-once", "no leaks were looked for: the program ended by _exit".into())
        }
        Some(NoteKind::OwnMalloc) => ("own-malloc", "the program has a malloc of its own".into()),
        Some(NoteKind::ForeignOwner) => {
            ("foreign-owner", format!("blocks of another allocator ({text}) were handed on to it"))
        }
    };
    (kind.into(), message)
}

pub(crate) fn missing(symbolizer: &Symbolizer) -> Vec<Missing> {
    let to_report = |m: hk_symbols::MissingDebugInfo| Missing {
        module: m.path.to_string_lossy().into_owned(),
        build_id: hk_symbols::hex(&m.build_id),
        reason: m.why.text().into(),
    };
    symbolizer.missing().into_iter().map(to_report).collect()
}
