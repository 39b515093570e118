//! The file's side: opening, claiming, small records, and files that are full or wrong.

mod common;

use common::{TestFile, open};
use hk_format::{
    ExecRecord, ExecState, FileHeader, NoteKind, NoteRecord, ProcessOrigin, ProcessRecord, ProcessState,
    RecordKind, RecordState, VERSION,
};
use hk_recorder::{Errno, Recording};
use std::sync::atomic::Ordering::Relaxed;
use zerocopy::IntoBytes;

#[test]
fn a_process_claims_its_entry_and_keeps_its_figures_in_place() {
    let file = TestFile::new(2 << 20, 4);
    let recording = open(&file.c_path());
    assert_eq!(recording.process_index(), None);
    assert!(recording.figures().is_none());
    recording.claim_process(ProcessOrigin::Program, 1);
    assert_eq!(recording.process_index(), Some(0));
    let entry = file.process(0);
    assert_eq!(entry.state, ProcessState::Running as u32);
    assert_eq!((entry.pid, entry.mode, entry.origin), (std::process::id(), 1, 0));
    let program = std::env::current_exe().unwrap();
    let program = program.as_os_str().as_encoded_bytes();
    assert_eq!(entry.name_bytes(), &program[program.len().saturating_sub(128)..]);
    let figures = recording.figures().unwrap();
    figures.live_bytes.fetch_add(4711, Relaxed);
    figures.span_peak_bytes.store(1 << 40, Relaxed);
    recording.set_heap_count(3);
    recording.set_resident_bytes(99);
    recording.set_process_state(ProcessState::Counted, 77);
    let entry = file.process(0);
    assert_eq!((entry.figures.live_bytes, entry.figures.span_peak_bytes), (4711, 1 << 40));
    assert_eq!((entry.heap_count, entry.resident_bytes, entry.end_ns), (3, 99, 77));
    assert_eq!(entry.state, ProcessState::Counted as u32);
}

#[test]
fn a_fork_child_starts_with_its_parents_figures() {
    let file = TestFile::new(2 << 20, 4);
    let recording = open(&file.c_path());
    recording.claim_process(ProcessOrigin::Program, 0);
    recording.figures().unwrap().live_bytes.store(5, Relaxed);
    recording.claim_process(ProcessOrigin::Fork, 0);
    recording.figures().unwrap().live_bytes.fetch_add(1, Relaxed);
    let (parent, child) = (file.process(0), file.process(1));
    assert_eq!((parent.figures.live_bytes, child.figures.live_bytes), (5, 6));
    assert_eq!((parent.origin, child.origin), (0, 1));
    assert_eq!(parent.name_bytes(), child.name_bytes());
}

#[test]
fn a_full_process_table_leaves_the_process_without_an_entry() {
    let file = TestFile::new(2 << 20, 1);
    let recording = open(&file.c_path());
    recording.claim_process(ProcessOrigin::Program, 0);
    recording.claim_process(ProcessOrigin::Fork, 0);
    assert_eq!(recording.process_index(), None);
    assert!(recording.figures().is_none());
    recording.set_process_state(ProcessState::Counted, 1);
    assert_eq!(file.process(0).state, ProcessState::Running as u32);
    recording.note(NoteKind::NoHeap, 12, b"");
    assert_eq!(file.records::<NoteRecord>(RecordKind::Note)[0].header.process, u32::MAX);
}

#[test]
fn notes_and_execs_are_written_whole() {
    let file = TestFile::new(2 << 20, 2);
    let recording = open(&file.c_path());
    recording.claim_process(ProcessOrigin::Program, 0);
    recording.note(NoteKind::BadSetting, 7, &[b'x'; 300]);
    let token = recording.exec_begin(b"/bin/true", 123).unwrap();
    let attempted = file.records::<ExecRecord>(RecordKind::Exec)[0];
    assert_eq!(attempted.header.state, RecordState::Written as u32);
    assert_eq!(attempted.exec_state, ExecState::Attempted as u32);
    recording.exec_end(token, ExecState::Spawned, 456, 0);
    let failed = recording.exec_begin(b"/no/such", 124).unwrap();
    recording.exec_end(failed, ExecState::Failed, 0, 2);

    let note = file.records::<NoteRecord>(RecordKind::Note)[0];
    assert_eq!((note.note, note.value, note.text_bytes()), (1, 7, &[b'x'; 200][..]));
    assert_eq!(note.header.state, RecordState::Complete as u32);
    assert!(note.header.time_ns > 1_600_000_000_000_000_000);
    let execs = file.records::<ExecRecord>(RecordKind::Exec);
    assert_eq!((execs[0].path_bytes(), execs[0].pid, execs[0].child_pid), (&b"/bin/true"[..], 123, 456));
    assert_eq!((execs[1].exec_state, execs[1].error), (ExecState::Failed as u32, 2));
    assert_eq!(execs[1].header.state, RecordState::Complete as u32);
}

#[test]
fn a_full_file_counts_what_it_drops() {
    let bytes = hk_format::file_layout(1) + 3 * size_of::<NoteRecord>() as u64;
    let file = TestFile::new(bytes, 1);
    let recording = open(&file.c_path());
    for value in 0..5 {
        recording.note(NoteKind::OutOfMemory, value, b"");
    }
    assert_eq!(file.records::<NoteRecord>(RecordKind::Note).len(), 3);
    assert_eq!(file.header().dropped, 2);
}

#[test]
fn the_control_word_is_seen() {
    let file = TestFile::new(2 << 20, 1);
    let recording = open(&file.c_path());
    assert_eq!(recording.request(), 0);
    file.write_at(&7u64.to_le_bytes(), hk_format::CONTROL_OFFSET as u64);
    assert_eq!(recording.request(), 7);
}

#[test]
fn what_is_no_recording_is_refused() {
    let refused = |file: &TestFile| Recording::new().open(&file.c_path()).unwrap_err();
    let file = TestFile::new(2 << 20, 1);
    file.write_at(&(VERSION + 1).to_le_bytes(), 8);
    assert_eq!(refused(&file), Errno(libc::EINVAL));
    let cut = TestFile::new(2 << 20, 1);
    cut.write_at(FileHeader::new(4 << 20, 1, 1).as_bytes(), 0);
    assert_eq!(refused(&cut), Errno(libc::EINVAL));
    let empty = TestFile::new(2 << 20, 1);
    std::fs::write(&empty.path, b"HEAP").unwrap();
    assert_eq!(refused(&empty), Errno(libc::EINVAL));
    assert_eq!(Recording::new().open(c"/no/such/file"), Err(Errno(libc::ENOENT)));
    let good = TestFile::new(2 << 20, 1);
    assert_eq!(open(&good.c_path()).open(&good.c_path()), Err(Errno(libc::EBUSY)));
}

#[test]
fn nothing_is_written_while_it_is_closed() {
    let recording = Recording::new();
    recording.claim_process(ProcessOrigin::Program, 0);
    recording.note(NoteKind::NoHeap, 0, b"");
    assert!(recording.exec_begin(b"/bin/true", 1).is_none());
    assert!(!recording.is_open() && recording.process_index().is_none() && recording.request() == 0);
}

#[test]
fn many_threads_claim_records_that_do_not_overlap() {
    let file = TestFile::new(4 << 20, 1);
    let recording = open(&file.c_path());
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            scope.spawn(move || {
                for i in 0..500 {
                    recording.note(NoteKind::OutOfMemory, thread << 32 | i, &[thread as u8 + 1; 200]);
                }
            });
        }
    });
    let mut notes = file.records::<NoteRecord>(RecordKind::Note);
    notes.sort_by_key(|note| note.value);
    assert_eq!(notes.len(), 2000);
    for (i, note) in notes.iter().enumerate() {
        let (thread, number) = (i as u64 / 500, i as u64 % 500);
        assert_eq!(note.value, thread << 32 | number);
        assert!(note.text_bytes().iter().all(|&b| b == thread as u8 + 1));
    }
}

#[test]
fn entries_of_a_small_table_do_not_run_into_records() {
    assert!(hk_format::file_layout(3) as usize >= 4096 + 3 * size_of::<ProcessRecord>());
    let file = TestFile::new(2 << 20, 3);
    let recording = open(&file.c_path());
    for _ in 0..3 {
        recording.claim_process(ProcessOrigin::Program, 0);
    }
    recording.note(NoteKind::NoHeap, 1, b"text");
    assert_eq!(file.process(2).state, ProcessState::Running as u32);
    assert_eq!(file.records::<NoteRecord>(RecordKind::Note)[0].text_bytes(), b"text");
}
