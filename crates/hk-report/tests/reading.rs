//! The reader against whole, growing, torn and foreign files.

mod common;

use common::*;
use hk_format::*;
use hk_report::{Body, Recording, RecordingError, Tail};
use std::mem::size_of;
use std::path::Path;
use zerocopy::IntoBytes;

const NONE: [u64; 0] = [];

fn addresses(recording: &Recording) -> Vec<u64> {
    let records = recording.records().unwrap().records;
    let address = |body: &Body| match body {
        Body::Finding(finding) => Some(finding.address),
        _ => None,
    };
    records.iter().filter_map(|record| address(&record.body)).collect()
}

fn numbered(address: u64) -> FindingRecord {
    FindingRecord { address, ..double_free(0) }
}

#[test]
fn steps_over_torn_records() {
    let mut fake = FakeRecording::new();
    fake.record(numbered(1).as_bytes());
    // Claimed, the length never written.
    fake.claim(size_of::<FindingRecord>());
    fake.record(numbered(2).as_bytes());
    // The length is there, the body is not.
    let mut claimed = numbered(3);
    claimed.header.state = RecordState::Claimed as u32;
    fake.record(claimed.as_bytes());
    // A kind of a later version.
    let mut later = numbered(4);
    later.header.kind = 77;
    fake.record(later.as_bytes());
    fake.record(numbered(5).as_bytes());
    // The counter ran past the end of the file.
    fake.claim(2 * FILE_BYTES as usize);
    let recording = Recording::open(fake.path()).unwrap();
    assert_eq!(addresses(&recording), [1, 2, 5]);
    let torn = recording.records().unwrap().torn;
    assert_eq!(torn, 4, "the hole, the claimed one, the unknown kind, the hole at the end");
}

#[test]
fn lengths_that_lie_are_not_believed() {
    for len in [0u32, 1, 64, 8191, 1 << 30, u32::MAX - 63] {
        let mut fake = FakeRecording::new();
        let mut lying = numbered(1);
        lying.header.len = len;
        fake.record(lying.as_bytes());
        fake.record(numbered(2).as_bytes());
        let recording = Recording::open(fake.path()).unwrap();
        assert_eq!(addresses(&recording), [2], "length {len}");
    }
}

#[test]
fn a_file_that_was_cut_gives_what_is_left() {
    let mut fake = FakeRecording::new();
    fake.record(numbered(1).as_bytes());
    let second = fake.record(numbered(2).as_bytes());
    let bytes = std::fs::read(fake.path()).unwrap();
    let cut = fake.path().with_file_name("cut");
    std::fs::write(&cut, &bytes[..second as usize + 500]).unwrap();
    assert_eq!(addresses(&Recording::open(&cut).unwrap()), [1]);
    // Cut within the process table: no process, no record, no panic.
    std::fs::write(&cut, &bytes[..PROCESS_TABLE_OFFSET + 100]).unwrap();
    let recording = Recording::open(&cut).unwrap();
    assert_eq!((addresses(&recording), recording.processes().unwrap().len()), (vec![], 0));
}

#[test]
fn other_files_are_refused_in_one_line() {
    let fake = FakeRecording::new();
    let refused = |path: &Path| Recording::open(path).unwrap_err().to_string();
    let elsewhere = fake.path().with_file_name("x");

    assert!(refused(&elsewhere).contains("No such file"));
    std::fs::write(&elsewhere, b"").unwrap();
    assert!(refused(&elsewhere).contains("is not a recording"));
    std::fs::write(&elsewhere, [7; 9000]).unwrap();
    assert!(refused(&elsewhere).contains("is not a recording"));

    let other = FileHeader { version: VERSION + 1, ..fake.header };
    std::fs::write(&elsewhere, other.as_bytes()).unwrap();
    assert!(
        matches!(Recording::open(&elsewhere), Err(RecordingError::OtherVersion(_, v)) if v == VERSION + 1)
    );
    assert!(
        refused(&elsewhere)
            .contains(&format!("version {}, this heapkeeper reads version {VERSION}", VERSION + 1))
    );

    let damaged = FileHeader { records_offset: 64, ..fake.header };
    std::fs::write(&elsewhere, damaged.as_bytes()).unwrap();
    assert!(refused(&elsewhere).contains("damaged"));
    for line in [refused(&elsewhere), refused(Path::new("/"))] {
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}

#[test]
fn the_tail_gives_each_finding_once_and_when_it_is_complete() {
    let mut fake = FakeRecording::new();
    let recording = Recording::open(fake.path()).unwrap();
    let mut tail = Tail::new();
    let mut poll = || -> Vec<u64> {
        let found = tail.findings(&recording).unwrap();
        found
            .iter()
            .map(|record| match &record.body {
                Body::Finding(finding) => finding.address,
                other => panic!("{other:?}"),
            })
            .collect()
    };
    assert_eq!(poll(), NONE);
    fake.record(numbered(1).as_bytes());
    fake.record(exec(1, "/bin/true", 1, ExecState::Attempted).as_bytes());
    assert_eq!(poll(), [1]);
    assert_eq!(poll(), NONE);

    // One whose stack is still being taken does not hold up the next.
    let mut early = numbered(2);
    early.header.state = RecordState::Written as u32;
    let offset = fake.record(early.as_bytes());
    fake.record(numbered(3).as_bytes());
    assert_eq!(poll(), [3]);
    fake.write_at(numbered(2).as_bytes(), offset);
    assert_eq!(poll(), [2]);

    // One whose length is missing does, but not for ever.
    fake.claim(size_of::<FindingRecord>());
    fake.record(numbered(4).as_bytes());
    assert_eq!(poll(), NONE);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(poll(), [4]);
    assert_eq!(poll(), NONE);
}
