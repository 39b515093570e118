//! From synthetic recordings to text and JSON.

mod common;

use common::*;
use hk_format::*;
use hk_report::*;
use hk_symbols::{DebugFolders, Symbolizer};
use std::path::Path;
use std::process::Command;
use zerocopy::IntoBytes;

fn symbolizer() -> Symbolizer {
    Symbolizer::with_folders(DebugFolders { roots: Vec::new(), debuginfod_cache: None })
}

fn report(fake: &FakeRecording) -> Report {
    let recording = Recording::open(fake.path()).unwrap();
    let explain = |path: &Path| format!("{} looks static", path.display());
    assemble(&recording, &mut symbolizer(), &RunFacts::default(), &explain).unwrap()
}

/// A program whose bad call lies in an inlined function, and where that call returns to.
struct Program {
    _folder: tempfile::TempDir,
    path: String,
    pcs: Vec<u64>,
}

fn program() -> Program {
    const SOURCE: &str = "
        #include <stdlib.h>
        void *volatile block;
        static inline __attribute__((always_inline)) void release(void *p) {
            __asm__ volatile(\"bad_call: nop\" ::: \"memory\");
        }
        __attribute__((noinline)) void order_total(void *p) { release(p); __asm__ volatile(\"\"); }
        int main(void) {
            order_total(block);
            __asm__ volatile(\"main_call: nop\" ::: \"memory\");
            return 0;
        }";
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("orders.c");
    let path = folder.path().join("orders");
    std::fs::write(&source, SOURCE).unwrap();
    let gcc = Command::new("gcc").args(["-g", "-O1", "-o"]).arg(&path).arg(&source).status().unwrap();
    assert!(gcc.success());
    let nm = String::from_utf8(Command::new("nm").arg(&path).output().unwrap().stdout).unwrap();
    let address = |symbol: &str| {
        let line = nm.lines().find(|line| line.ends_with(&format!(" {symbol}"))).unwrap();
        BIAS + u64::from_str_radix(line.split(' ').next().unwrap(), 16).unwrap() + 1
    };
    let pcs = vec![address("bad_call"), address("main_call")];
    Program { path: path.to_str().unwrap().into(), _folder: folder, pcs }
}

#[test]
fn a_double_free_reads_well() {
    let program = program();
    let mut fake = FakeRecording::new();
    let index = fake.process(process(42, &program.path, ProcessState::Counted, 1));
    fake.record(with_stack(double_free(index), "", &[], &program.pcs).as_bytes());
    let report = report(&fake);
    let folder = Path::new(&program.path).parent().unwrap().to_str().unwrap();
    let text = report_text(&report, Style::Plain).replace(folder, "DIR");
    assert_eq!(
        text,
        "\
heapkeeper: double free (CWE-415): release() frees a 32-byte block that is already free
heapkeeper:   HK-DF-ccbbb5ec, thread orders (4711), process orders (42)
heapkeeper:   #0 release  DIR/orders.c:5 (inlined)
heapkeeper:      | __asm__ volatile(\"bad_call: nop\" ::: \"memory\");
heapkeeper:   #1 order_total  DIR/orders.c:7
heapkeeper:   #2 main  DIR/orders.c:10
heapkeeper:   at address 0x7f0000001040
heapkeeper:   the call was ignored, the program goes on
heapkeeper:   who allocated and freed the block was not recorded, as it was not guarded
heapkeeper: 1 finding (1 double free) in 1 process
heapkeeper: orders (42) at exit: 320 bytes live in 2 blocks (exact), 5.0 MiB resident (exact)
heapkeeper: orders (42) at its peak: at most 1.0 MiB live (estimate), 3.0 MiB of heap (exact)
"
    );
}

#[test]
fn the_json_has_every_field_and_reads_back() {
    let program = program();
    let mut fake = FakeRecording::new();
    let index = fake.process(process(42, &program.path, ProcessState::Counted, 1));
    fake.record(with_stack(double_free(index), "", &[], &program.pcs).as_bytes());
    let report = report(&fake);
    let json = to_json(&report);
    assert_eq!(from_json(&json).unwrap(), report);

    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&value["schema"], &value["version"]), (&"heapkeeper-report".into(), &1.into()));
    let finding = &value["findings"][0];
    assert_eq!((&finding["kind"], &finding["cwe"]), (&"double-free".into(), &415.into()));
    assert_eq!((&finding["call"], &finding["place"]), (&"free".into(), &"free-block".into()));
    assert_eq!(finding["address"], "0x7f0000001040");
    assert_eq!(finding["block"], serde_json::json!({"start": "0x7f0000001040", "bytes": 32, "offset": 0}));
    assert_eq!(finding["thread"], serde_json::json!({"name": "orders", "id": 4711}));
    assert_eq!(finding["process"], serde_json::json!({"pid": 42, "exe": program.path}));
    assert_eq!((&finding["repeats"], &finding["stack_state"]), (&1.into(), &"whole".into()));
    let frame = &finding["stack"][0];
    assert_eq!((&frame["function"], &frame["line"]), (&"release".into(), &5.into()));
    assert_eq!((&frame["inlined"], &frame["module"]), (&true.into(), &program.path.clone().into()));
    assert_eq!(frame["pc"], format!("{:#x}", program.pcs[0]));
    assert_eq!(frame["offset"], format!("{:#x}", program.pcs[0] - BIAS));
    let live = serde_json::json!({"value": 320, "certainty": "exact", "error": 0});
    assert_eq!(value["processes"][0]["figures"]["live_bytes"], live);
    assert_eq!(value["summary"]["live_bytes"], live);

    let other = json.replace("\"version\": 1", "\"version\": 2");
    assert!(from_json(&other).unwrap_err().contains("version 2"));
}

#[test]
fn the_same_bug_in_two_processes_is_one_finding() {
    let program = program();
    let mut fake = FakeRecording::new();
    let first = fake.process(process(42, &program.path, ProcessState::Counted, 1));
    let second =
        fake.process(ProcessRecord { origin: 1, ..process(43, &program.path, ProcessState::Counted, 2) });
    let bad = |index, repeats, address| FindingRecord { repeats, address, ..double_free(index) };
    fake.record(with_stack(bad(first, 2, 0x10), "", &[], &program.pcs).as_bytes());
    fake.record(with_stack(bad(second, 1, 0x20), "", &[], &program.pcs).as_bytes());
    // Another stack is another bug; findings without a stack are the same only if the call is.
    fake.record(with_stack(bad(first, 1, 0x30), "", &[], &program.pcs[1..]).as_bytes());
    fake.record(bad(first, 1, 0x40).as_bytes());
    fake.record(bad(first, 1, 0x50).as_bytes());
    let report = report(&fake);
    let counts: Vec<(u64, u64)> = report.findings.iter().map(|f| (f.repeats, f.process_count)).collect();
    assert_eq!(counts, [(3, 2), (1, 1), (1, 1), (1, 1)]);
    assert_eq!((report.summary.findings, report.summary.bad_calls, report.summary.processes), (4, 6, 2));
    let text = summary_text(&report, Style::Plain);
    assert!(text.contains("4 findings (4 double free, 6 bad calls) in 2 processes"), "{text}");
    assert!(text.contains("seen 3 times in 2 processes, first: double free"), "{text}");
    assert!(text.contains("1 other process: the largest was orders (43)"), "{text}");
}

#[test]
fn a_killed_process_has_estimates() {
    let mut fake = FakeRecording::new();
    fake.process(process(42, "/bin/orders", ProcessState::Running, 1));
    let report = report(&fake);
    assert_eq!(report.processes[0].figures.live_bytes, Figure::estimate(320, 4096));
    assert_eq!(report.processes[0].figures.live_blocks, None);
    assert_eq!((report.summary.live_blocks, report.processes[0].figures.resident_bytes), (None, None));
    let text = summary_text(&report, Style::Plain);
    assert!(text.contains("no findings in 1 process\n"), "{text}");
    assert!(
        text.contains("ended without telling, or still runs): at most 4.3 KiB live (estimate)"),
        "{text}"
    );
}

#[test]
fn programs_that_made_no_heap_are_named() {
    let mut fake = FakeRecording::new();
    fake.process(process(42, "/bin/sh", ProcessState::Replaced, 1));
    // 43 was covered after its exec, 44 not, 42 replaced itself and was covered; 45 could not be started.
    fake.process(ProcessRecord { origin: 1, ..process(43, "/bin/sh", ProcessState::Replaced, 5) });
    fake.process(process(43, "/bin/ls", ProcessState::Counted, 12));
    fake.process(ProcessRecord { origin: 1, ..process(44, "/bin/sh", ProcessState::Replaced, 15) });
    fake.process(process(42, "/bin/cat", ProcessState::Counted, 31));
    for (pid, path, time, state) in [
        (43, "/bin/ls", 10, ExecState::Attempted),
        (44, "/bin/busybox", 20, ExecState::Attempted),
        (42, "/bin/cat", 30, ExecState::Attempted),
        (45, "/bin/none", 40, ExecState::Failed),
        // A pid that is used again: the covered /bin/ls of 43 is not this one.
        (43, "/bin/busybox", 50, ExecState::Attempted),
    ] {
        fake.record(exec(pid, path, time, state).as_bytes());
    }
    let mut spawned = exec(42, "/bin/mount", 60, ExecState::Spawned);
    spawned.child_pid = 46;
    fake.record(spawned.as_bytes());
    let report = report(&fake);
    let named: Vec<(&str, u32, u64)> =
        report.not_covered.iter().map(|n| (n.path.as_str(), n.pid, n.times)).collect();
    assert_eq!(named, [("/bin/busybox", 44, 2), ("/bin/mount", 46, 1)]);
    assert_eq!((report.summary.processes, report.summary.not_covered), (3, 3));
    let text = summary_text(&report, Style::Plain);
    assert!(text.contains("no findings in 3 processes, 3 programs not covered"), "{text}");
    assert!(text.contains("not covered: /bin/busybox, 2 times: /bin/busybox looks static"), "{text}");
}

#[test]
fn notes_are_sentences_and_counted() {
    let mut fake = FakeRecording::new();
    fake.process(process(42, "/bin/sh", ProcessState::Counted, 1));
    fake.record(note(NoteKind::BadSetting, 0, "speed=11").as_bytes());
    fake.record(note(NoteKind::BadSetting, 0, "speed=11").as_bytes());
    fake.record(note(NoteKind::OutOfMemory, 1 << 40, "").as_bytes());
    fake.header.dropped = 3;
    fake.header.process_next = PROCESS_CAPACITY + 5;
    fake.write_header();
    let text = summary_text(&report(&fake), Style::Plain);
    assert!(
        text.contains("note: the setting 'speed=11' was ignored: it is unknown or malformed (2 times)\n")
    );
    assert!(text.contains("note: no memory for 1.0 TiB: the program was given NULL\n"), "{text}");
    assert!(text.contains("note: 5 processes found no room in the recording"), "{text}");
    assert!(text.contains("note: 3 records did not fit into the recording"), "{text}");
}

#[test]
fn every_kind_call_and_place_has_its_sentence() {
    let mut fake = FakeRecording::new();
    let index = fake.process(process(42, "/opt/shop/orders", ProcessState::Counted, 1));
    let foreign = |kind: FindingKind, place: Place, name: &str| {
        let mut record = double_free(index);
        (record.finding, record.place) = (kind as u32, place as u32);
        (record.block_start, record.block_bytes, record.place_start) = (0, 0, 0x1000);
        record.place_name[..name.len()].copy_from_slice(name.as_bytes());
        record
    };
    let called = |call: Call| FindingRecord { call: call as u32, ..double_free(index) };
    let inside = |place: Place| FindingRecord {
        finding: FindingKind::NotBlockStart as u32,
        place: place as u32,
        block_start: 0x7f00_0000_1038,
        ..double_free(index)
    };
    let usable = FindingRecord { finding: FindingKind::UseAfterFree as u32, ..called(Call::UsableSize) };
    let not_of_heap = FindingKind::NotOfHeap;
    let cases = [
        (
            called(Call::Realloc),
            "double free (CWE-415): the program reallocates a 32-byte block that is already free",
        ),
        (
            called(Call::SeenLater),
            "double free (CWE-415): a 32-byte block was freed twice at nearly the same time; the program came upon \
             it, but did not free it",
        ),
        (
            usable,
            "use after free (CWE-416): the program asks for the size of a 32-byte block that is already free",
        ),
        (
            inside(Place::InsideLiveBlock),
            "invalid free (CWE-761): the program frees an address 8 bytes inside a 32-byte block that is allocated",
        ),
        (
            inside(Place::InsideFreeBlock),
            "invalid free (CWE-761): the program frees an address 8 bytes inside a 32-byte block that is free",
        ),
        (
            foreign(not_of_heap, Place::Stack, ""),
            "invalid free (CWE-590): the program frees an address on a thread's stack",
        ),
        (
            foreign(not_of_heap, Place::StaticData, "/usr/lib/libshop.so"),
            "invalid free (CWE-590): the program frees an address in the static data of libshop.so",
        ),
        (
            foreign(not_of_heap, Place::StaticData, ""),
            "invalid free (CWE-590): the program frees an address in the static data of orders",
        ),
        (
            foreign(not_of_heap, Place::MappedFile, "/tmp/table"),
            "invalid free (CWE-590): the program frees an address in the mapped file /tmp/table",
        ),
        (
            foreign(not_of_heap, Place::Unmapped, ""),
            "invalid free (CWE-590): the program frees an address where no memory is",
        ),
    ];
    for (at, (record, _)) in cases.iter().enumerate() {
        // Without a stack, calls with the same address are one.
        fake.record(
            FindingRecord { header: RecordHeader { tid: at as u32, ..record.header }, ..*record }.as_bytes(),
        );
    }
    let report = report(&fake);
    for (finding, (_, expected)) in report.findings.iter().zip(&cases) {
        assert_eq!(&finding.message, expected);
    }
}

#[test]
fn nothing_a_program_names_can_end_a_line_or_drive_a_terminal() {
    let mut fake = FakeRecording::new();
    let index = fake.process(process(42, "/tmp/a\nheapkeeper: lie\x1b[2J", ProcessState::Counted, 1));
    let mut record = with_stack(double_free(index), "/tmp/lib\nx.so", &[], &[BIAS + 5]);
    record.thread_name[..4].copy_from_slice(b"a\r\nb");
    fake.record(record.as_bytes());
    let text = report_text(&report(&fake), Style::Plain);
    assert!(!text.contains('\x1b') && !text.contains('\r'), "{text}");
    assert!(text.lines().all(|line| line.starts_with(LINE_PREFIX)), "{text}");
    assert!(!text.contains("\nheapkeeper: lie"), "{text}");
}

#[test]
fn colours_only_where_they_are_asked_for() {
    let mut fake = FakeRecording::new();
    let index = fake.process(process(42, "/bin/orders", ProcessState::Counted, 1));
    fake.record(double_free(index).as_bytes());
    let report = report(&fake);
    assert!(!report_text(&report, Style::Plain).contains('\x1b'));
    let coloured = report_text(&report, Style::Colour);
    assert!(coloured.contains("\x1b[1;31mdouble free (CWE-415)\x1b[0m"), "{coloured}");
    assert!(coloured.lines().all(|line| line.starts_with(LINE_PREFIX)));
    assert_eq!(Style::for_output(false), Style::Plain);
}

#[test]
fn stacks_that_end_early_say_so() {
    let mut fake = FakeRecording::new();
    let index = fake.process(process(42, "/bin/orders", ProcessState::Counted, 1));
    for state in [StackState::Absent, StackState::Cut, StackState::Broken] {
        let address = u64::from(state as u32);
        fake.record(FindingRecord { address, stack_state: state as u32, ..double_free(index) }.as_bytes());
    }
    let text = report_text(&report(&fake), Style::Plain);
    for remark in ["no stack: the process ended", "the stack goes on", "the stack ends early"] {
        assert_eq!(text.matches(remark).count(), 1, "{text}");
    }
}
