//! Findings as they come into the file: repeats, races, forks, small stacks, full disks.
#![allow(unsafe_code, clippy::multiple_unsafe_ops_per_block, reason = "tests call libc")]

mod common;

use common::{TestFile, open};
use hk_format::parse_settings;
use hk_format::{
    Call, FRAME_COUNT_MAX, FindingKind, FindingRecord, Place, ProcessOrigin, RecordState, StackState,
};
use hk_recorder::{
    BadCall, Innermost, Recorded, Recording, Registers, describe_place, print_bad_setting, print_line,
};
use std::ffi::c_void;
use std::os::fd::FromRawFd;

const BAD: BadCall = BadCall {
    time_ns: 0,
    evidence: hk_format::Evidence::Call,
    access: hk_recorder::Access { kind: None, bytes: 0, code: &[] },
    life: None,
    leak: None,
    kind: FindingKind::DoubleFree,
    call: Call::Free,
    place: Place::FreeBlock,
    address: 0x7000_0010,
    block_start: 0x7000_0000,
    block_bytes: 32,
    place_start: 0,
    place_end: 0,
    place_name: b"",
    aborted: false,
};

#[inline(never)]
fn bad_free(recording: &Recording) -> Recorded {
    recording.record_finding(&BAD, &Registers::capture(), Innermost::AtCapture)
}

#[inline(never)]
fn at_depth(depth: u32, leaf: &dyn Fn()) -> u32 {
    if depth == 0 {
        leaf();
        return 0;
    }
    at_depth(depth - 1, leaf) + std::hint::black_box(depth)
}

fn started(file: &TestFile) -> &'static Recording {
    let recording = open(&file.c_path());
    recording.claim_process(ProcessOrigin::Program, 0);
    recording
}

#[test]
fn a_finding_is_written_with_its_stack_and_modules() {
    let file = TestFile::new(2 << 20, 2);
    let recording = started(&file);
    let recorded = bad_free(recording);
    assert!(recorded.first && recorded.kept);
    let finding = file.findings()[0];
    assert_eq!(finding.header.state, RecordState::Complete as u32);
    assert_eq!((finding.finding, finding.call, finding.place), (1, 1, 1));
    assert_eq!((finding.address, finding.block_start, finding.block_bytes), (0x7000_0010, 0x7000_0000, 32));
    assert_eq!(finding.stack_state, StackState::Whole as u32);
    // The test harness names its threads after the tests.
    assert_eq!(finding.thread_name_bytes(), b"a_finding_is_wr");
    assert!(finding.frames()[0].abs_diff(bad_free as fn(&Recording) -> Recorded as usize as u64) < 1000);
    let modules: Vec<_> = finding.modules().collect();
    for frame in finding.frames() {
        assert!(modules.iter().any(|module| (module.header.start..module.header.end).contains(frame)));
    }
    assert_eq!(modules[0].path, b"");
    assert!(modules[0].build_id().len() >= 8);
    let libc = modules.iter().find(|module| module.path.ends_with(b"/libc.so.6")).unwrap();
    assert_eq!(libc.build_id().len(), 20);
    assert_eq!(file.header().finding_count, 1);
    assert_eq!(file.process(0).finding_count, 1);
}

#[test]
fn the_same_call_on_the_same_path_is_a_repeat() {
    let file = TestFile::new(2 << 20, 2);
    let recording = started(&file);
    let results: Vec<_> = (0..10).map(|_| bad_free(recording)).collect();
    assert!(results[0].first && results[1..].iter().all(|again| !again.first && again.kept));
    at_depth(3, &|| assert!(bad_free(recording).first));
    let other = BadCall { kind: FindingKind::UseAfterFree, ..BAD };
    recording.record_finding(&other, &Registers::capture(), Innermost::AtCapture);
    let repeats: Vec<_> = file.findings().iter().map(|finding| finding.repeats).collect();
    assert_eq!(repeats, [10, 1, 1]);
    assert_eq!(file.header().finding_count, 12);
    assert_eq!(file.process(0).finding_count, 12);
}

#[inline(never)]
fn wrapper_of_free(recording: &Recording) -> Recorded {
    std::hint::black_box(bad_free(recording))
}

#[test]
fn two_calls_through_one_wrapper_are_two_findings() {
    let file = TestFile::new(2 << 20, 2);
    let recording = started(&file);
    for round in 0..3 {
        let one = std::hint::black_box(wrapper_of_free(recording));
        let other = std::hint::black_box(wrapper_of_free(recording));
        assert_eq!((one.first, other.first), (round == 0, round == 0));
    }
    let findings = file.findings();
    assert_eq!(findings.iter().map(|finding| finding.repeats).collect::<Vec<_>>(), [3, 3]);
    assert_eq!(findings[0].frames[..2], findings[1].frames[..2]);
    assert_ne!(findings[0].frames[2], findings[1].frames[2]);
}

#[test]
fn repeats_of_racing_threads_are_all_counted() {
    let file = TestFile::new(4 << 20, 2);
    let recording = started(&file);
    let start = std::sync::Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                start.wait();
                // One place of the program, as far as the table can tell: the registers are made up.
                let same = Registers { rip: 0x1234, rsp: 0x5000, ..Registers::default() };
                for _ in 0..1000 {
                    recording.record_finding(&BAD, &same, Innermost::AtCapture);
                }
            });
        }
    });
    // Two that race for the first place may both get a record.
    let findings = file.findings();
    assert!((1..=2).contains(&findings.len()));
    assert_eq!(findings.iter().map(|finding| finding.repeats).sum::<u32>(), 4000);
    assert_eq!(findings[0].stack_state, StackState::Broken as u32);
    assert_eq!(file.header().finding_count, 4000);
}

#[test]
fn a_flood_of_findings_is_counted_but_not_kept() {
    let file = TestFile::new(64 << 20, 2);
    let recording = started(&file);
    let mut kept = 0;
    for i in 0..5000u64 {
        let registers = Registers { rip: 0x1000 + i, ..Registers::default() };
        kept += u32::from(recording.record_finding(&BAD, &registers, Innermost::AtCapture).kept);
    }
    assert_eq!((kept, file.findings().len()), (2000, 2000));
    assert_eq!(file.header().finding_count, 5000);
    assert_eq!(file.header().dropped, 3000);
}

#[test]
fn a_deep_stack_is_cut() {
    let file = TestFile::new(2 << 20, 2);
    let recording = started(&file);
    at_depth(500, &|| {
        bad_free(recording);
    });
    let finding = file.findings()[0];
    assert_eq!(finding.stack_state, StackState::Cut as u32);
    assert_eq!(finding.frames().len(), FRAME_COUNT_MAX);
}

#[test]
fn a_fork_child_tells_its_own_findings() {
    let file = TestFile::new(2 << 20, 4);
    let recording = started(&file);
    let find_both_times = || {
        for round in 0..2 {
            bad_free(recording);
            if round == 0 {
                // SAFETY: the child only records, and leaves by _exit.
                match unsafe { libc::fork() } {
                    0 => recording.claim_process(ProcessOrigin::Fork, 0),
                    child => {
                        let mut status = 0;
                        // SAFETY: our child; the status is written to a live integer.
                        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
                        assert_eq!(status, 0);
                        return;
                    }
                }
            }
        }
        // SAFETY: in the child, which has nothing to clean up.
        unsafe { libc::_exit(0) };
    };
    find_both_times();
    let findings = file.findings();
    assert_eq!(findings.iter().map(|finding| finding.header.process).collect::<Vec<_>>(), [0, 1]);
    assert!(findings.iter().all(|finding| finding.repeats == 1));
    assert_eq!((file.process(0).finding_count, file.process(1).finding_count), (1, 1));
    assert_ne!(file.process(0).pid, file.process(1).pid);
    assert_eq!(file.process(1).ppid, file.process(0).pid);
}

/// What a thread on a painted stack is given.
struct Task {
    recording: &'static Recording,
    run: fn(&Recording),
}

extern "C" fn run_task(argument: *mut c_void) -> *mut c_void {
    // SAFETY: the creator passes a task that outlives the thread.
    let task = unsafe { &*argument.cast::<Task>() };
    (task.run)(task.recording);
    std::ptr::null_mut()
}

/// Runs `run` in a thread with a stack of `bytes` bytes; gives how many of them were written to.
fn stack_bytes_used(bytes: usize, recording: &'static Recording, run: fn(&Recording)) -> usize {
    const PAINT: u8 = 0xa5;
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new anonymous mapping, with a page before it for the guard.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes + 4096, libc::PROT_NONE, flags, -1, 0) };
    assert_ne!(start, libc::MAP_FAILED);
    let stack = start.wrapping_byte_add(4096);
    // SAFETY: the rest of our own mapping.
    assert_eq!(unsafe { libc::mprotect(stack, bytes, rights) }, 0);
    // SAFETY: mapped writable just now, with this size.
    unsafe { std::ptr::write_bytes(stack.cast::<u8>(), PAINT, bytes) };
    let mut task = Task { recording, run };
    // SAFETY: plain calls of pthread with live arguments; the thread is joined before they end.
    unsafe {
        let mut attributes = std::mem::zeroed();
        assert_eq!(libc::pthread_attr_init(&mut attributes), 0);
        assert_eq!(libc::pthread_attr_setstack(&mut attributes, stack, bytes), 0);
        let mut thread = 0;
        assert_eq!(libc::pthread_create(&mut thread, &attributes, run_task, (&raw mut task).cast()), 0);
        assert_eq!(libc::pthread_join(thread, std::ptr::null_mut()), 0);
    }
    // SAFETY: still mapped, and nobody writes there any more.
    let painted = unsafe { std::slice::from_raw_parts(stack.cast::<u8>(), bytes) };
    let unused = painted.iter().take_while(|&&byte| byte == PAINT).count();
    // SAFETY: the thread is gone.
    unsafe { libc::munmap(start, bytes + 4096) };
    bytes - unused
}

#[test]
fn a_small_stack_is_enough() {
    let file = TestFile::new(2 << 20, 2);
    let recording = started(&file);
    // Unoptimised code is several times as hungry as the library is.
    let (bytes, allowed) = if cfg!(debug_assertions) { (128 << 10, 32 << 10) } else { (16 << 10, 6 << 10) };
    let idle = stack_bytes_used(bytes, recording, |_| {});
    let finding = stack_bytes_used(bytes, recording, |recording| {
        bad_free(recording);
    });
    let place = stack_bytes_used(bytes, recording, |_| {
        let local = 0u8;
        assert_eq!(describe_place(&raw const local as u64).place, Place::Stack);
    });
    let claim =
        stack_bytes_used(bytes, recording, |recording| recording.claim_process(ProcessOrigin::Program, 0));
    println!("idle {idle}; finding {}, place {}, claim {}", finding - idle, place - idle, claim - idle);
    assert!(finding.max(place).max(claim) - idle <= allowed);
    assert_eq!(file.findings()[0].stack_state, StackState::Whole as u32);
}

#[test]
fn a_full_disk_costs_records_and_no_signal() {
    let folder = std::env::temp_dir().join(format!("hk-recorder-full-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let path = std::ffi::CString::new(folder.to_str().unwrap()).unwrap();
    // SAFETY: all strings end with zero bytes.
    let mounted = unsafe {
        let options = c"size=64k".as_ptr().cast();
        libc::mount(c"none".as_ptr(), path.as_ptr(), c"tmpfs".as_ptr(), 0, options)
    };
    if mounted != 0 {
        std::fs::remove_dir(&folder).unwrap();
        println!("skipped: only root may mount a file system of 64 KiB");
        return;
    }
    let (findings, dropped) = {
        let file = TestFile::at(&folder.join("recording"), 2 << 20, 4);
        let recording = started(&file);
        for i in 0..20u64 {
            let registers = Registers { rip: 0x1000 + i, ..Registers::default() };
            recording.record_finding(&BAD, &registers, Innermost::AtCapture);
        }
        (file.findings().len(), file.header().dropped)
    };
    // SAFETY: the path ends with a zero byte. Lazily, as the recording stays mapped.
    unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
    std::fs::remove_dir(&folder).unwrap();
    assert!((4..=8).contains(&findings), "{findings} records of 8 KiB on 64 KiB");
    assert_eq!(dropped, 20 - findings as u64);
}

#[test]
fn errno_is_left_alone() {
    let file = TestFile::new(hk_format::file_layout(1) + (1 << 13), 1);
    let recording = started(&file);
    // SAFETY: the thread's own errno.
    let errno = unsafe { &mut *libc::__errno_location() };
    *errno = 4711;
    for _ in 0..4 {
        at_depth(1, &|| {
            bad_free(recording);
        });
    }
    describe_place(1);
    recording.claim_process(ProcessOrigin::Fork, 0);
    assert_eq!(*errno, 4711);
}

/// Runs `print` in a fork child and gives what it writes to standard error.
fn stderr_of(print: impl Fn()) -> String {
    let mut pipe = [0; 2];
    // SAFETY: room for two descriptors.
    assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
    // SAFETY: the child only prints, and leaves by _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: both descriptors are open.
        unsafe { libc::dup2(pipe[1], 2) };
        print();
        // SAFETY: in the child, which has nothing to clean up.
        unsafe { libc::_exit(0) };
    }
    // SAFETY: ours, and not used afterwards.
    unsafe { libc::close(pipe[1]) };
    // SAFETY: ours, and owned by the file from now on.
    let reader = unsafe { std::fs::File::from_raw_fd(pipe[0]) };
    let text = std::io::read_to_string(reader).unwrap();
    // SAFETY: our child; no status is wanted.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    text
}

#[test]
fn without_a_recording_a_bad_setting_is_one_line() {
    let error = parse_settings(b"mode=keep,speed=11").find_map(Result::err).unwrap();
    let line = stderr_of(|| print_bad_setting(&error));
    assert_eq!(line, "heapkeeper: HEAPKEEPER: 'speed=11' ignored: no such setting\n");
}

#[test]
fn without_a_recording_a_finding_is_one_line() {
    let recording = Recording::new();
    let twice: Vec<_> = (0..2).map(|_| bad_free(&recording)).collect();
    let recorded = twice[0];
    assert!(recorded.first && !recorded.kept && recorded.callers[0] != 0);
    assert!(!twice[1].first);
    let line = stderr_of(|| print_line(&BAD, &recorded, false));
    let program = std::env::current_exe().unwrap();
    let program = program.file_name().unwrap().to_str().unwrap();
    let start = format!(
        "heapkeeper: double free (CWE-415) of 0x70000010 (block of 32 bytes) by free from {program}+0x"
    );
    assert!(line.starts_with(&start), "{line}");
    assert!(line.contains(", thread without_a_recor ("), "{line}");
    assert!(line.ends_with("; ignored; run it under 'heapkeeper run --' for the stack\n"), "{line}");

    assert!(recording.open(c"/no/such/recording").is_err() && recording.is_refused());
    let line = stderr_of(|| print_line(&BAD, &recorded, recording.is_refused()));
    assert!(line.ends_with("; ignored; no stack, as the recording could not be opened here\n"), "{line}");

    let inside = BadCall {
        kind: FindingKind::NotBlockStart,
        place: Place::InsideLiveBlock,
        address: 0x7000_0008,
        aborted: true,
        ..BAD
    };
    let unknown = Recorded { callers: [0x1001, 0, 0, 0, 0, 0], first: true, kept: false };
    let line = stderr_of(|| print_line(&inside, &unknown, false));
    assert!(
        line.contains("invalid free (CWE-761) of 0x70000008 (8 bytes into a block of 32 bytes)"),
        "{line}"
    );
    assert!(line.contains(" from 0x1000, ") && line.contains("; aborted; "), "{line}");

    let rust = BadCall { call: hk_format::Call::Dealloc, ..inside };
    let path = Recorded { callers: [0x1001, 0x2001, 0, 0, 0, 0], first: true, kept: false };
    let line = stderr_of(|| print_line(&rust, &path, false));
    assert!(line.contains(" by dealloc from 0x1000 < 0x2000, thread "), "{line}");

    let long = [b'n'; 1000];
    let foreign = BadCall { place: Place::StaticData, place_name: &long, ..inside };
    let line = stderr_of(|| print_line(&foreign, &unknown, false));
    assert!(line.len() == 512 && line.ends_with("n\n"), "{line}");
}

#[test]
fn records_and_findings_share_the_file() {
    assert_eq!(size_of::<FindingRecord>() % 64, 0);
    let file = TestFile::new(hk_format::file_layout(1) + 3 * size_of::<FindingRecord>() as u64, 1);
    let recording = started(&file);
    for i in 0..4u64 {
        let registers = Registers { rip: 0x1000 + i, ..Registers::default() };
        assert_eq!(recording.record_finding(&BAD, &registers, Innermost::AtCapture).kept, i < 3);
    }
    assert_eq!((file.findings().len(), file.header().dropped), (3, 1));
}
