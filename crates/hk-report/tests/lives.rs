//! Findings about guarded blocks, whose lives are known, as text.

mod common;

use common::*;
use hk_format::*;
use hk_report::*;
use hk_symbols::{DebugFolders, Symbolizer};
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use zerocopy::IntoBytes;

const MS: u64 = 1_000_000;

/// A program whose calls have labels, and where those calls return to.
struct Program {
    _folder: tempfile::TempDir,
    path: String,
    pcs: HashMap<String, u64>,
}

fn program() -> Program {
    let source = r#"
#define AT(label) __asm__ volatile(#label "_label: nop" ::: "memory")
__attribute__((noinline)) void session_open(void) { AT(open); }
__attribute__((noinline)) void cache_evict(void) { AT(evict); }
__attribute__((noinline)) void session_close(void) { AT(close); }
int main(void) {
    session_open(); AT(main1);
    cache_evict(); AT(main2);
    session_close(); AT(main3);
    return 0;
}
"#;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("leaky.c");
    let path = folder.path().join("leaky");
    std::fs::write(&file, source).unwrap();
    let gcc = Command::new("gcc").args(["-g", "-O1", "-o"]).arg(&path).arg(&file).status().unwrap();
    assert!(gcc.success());
    let nm = String::from_utf8(Command::new("nm").arg(&path).output().unwrap().stdout).unwrap();
    let label = |line: &str| {
        let (address, name) = (line.split(' ').next()?, line.rsplit(' ').next()?);
        Some((name.strip_suffix("_label")?.to_owned(), BIAS + u64::from_str_radix(address, 16).ok()? + 1))
    };
    let pcs = nm.lines().filter_map(label).collect();
    Program { path: path.to_str().unwrap().into(), _folder: folder, pcs }
}

impl Program {
    fn pcs(&self, names: &[&str]) -> Vec<u64> {
        names.iter().map(|name| self.pcs[*name]).collect()
    }

    /// The finding's text, with this folder's name left out.
    fn text<'a>(&self, record: &FindingRecord, view: impl Into<View<'a>>) -> String {
        let folder = Path::new(&self.path).parent().unwrap().to_str().unwrap();
        finding_text(&self.finding(record), view).replace(&format!("{folder}/"), "")
    }

    fn finding(&self, record: &FindingRecord) -> Finding {
        let mut fake = FakeRecording::new();
        fake.process(process(42, &self.path, ProcessState::Counted, 1));
        fake.record(with_stack(*record, "", &[], &self.pcs(&["close", "main3"])).as_bytes());
        let recording = Recording::open(fake.path()).unwrap();
        let folders = DebugFolders { roots: Vec::new(), debuginfod_cache: None };
        let report =
            assemble(&recording, &mut Symbolizer::with_folders(folders), &RunFacts::default(), &|_| {
                "".into()
            });
        report.unwrap().findings.remove(0)
    }

    fn allocated(&self) -> EventRecord {
        event(12 * MS, Family::Malloc, &self.pcs(&["open", "main1"]))
    }

    fn freed(&self) -> EventRecord {
        event(12 * MS + 20_000, Family::Malloc, &self.pcs(&["evict", "main2"]))
    }

    /// A double free in session_close of a block that cache_evict had freed.
    fn twice(&self) -> FindingRecord {
        let mut record = with_life(double_free(0), 42, self.allocated(), self.freed());
        record.header.time_ns = 13 * MS + 820_000;
        record.address = record.block_start;
        record
    }
}

#[test]
fn a_double_free_tells_the_life_of_its_block() {
    let program = program();
    let mut record = program.twice();
    record.life.site_blocks = 4121;
    record.life.site_frees = 4120;
    record.life.free_sites[0] = free_site(4119, &program.pcs(&["close", "main3"]));
    record.life.free_sites[1] = free_site(1, &program.pcs(&["evict", "main2"]));
    let text = program.text(&record, View { recording: Some("kept.hkrec"), ..View::default() });
    assert_eq!(
        text,
        "\
heapkeeper: double free (CWE-415): session_close() frees a 42-byte block that cache_evict() had freed 1.8 ms earlier
heapkeeper:   HK-DF-a6406d8c, thread orders (4711), process leaky (42)
heapkeeper:   likely culprit: cache_evict  leaky.c:4  (confidence high; inference: see WHY)
heapkeeper:   LIFE OF THE BLOCK at 0x7f0000001fd0: 42 bytes, from malloc, allocated 12 ms after the program's start
heapkeeper:     allocated         +0  session_open leaky.c:3 ← main leaky.c:7  thread orders (4711)
heapkeeper:                           | __attribute__((noinline)) void session_open(void) { AT(open); }
heapkeeper:     freed         +20 us  cache_evict leaky.c:4 ← main leaky.c:8  thread orders (4711)
heapkeeper:                           | __attribute__((noinline)) void cache_evict(void) { AT(evict); }
heapkeeper:     FREED AGAIN  +1.8 ms  session_close leaky.c:5 ← main leaky.c:9  thread orders (4711)
heapkeeper:                           | __attribute__((noinline)) void session_close(void) { AT(close); }
heapkeeper:   WHY cache_evict
heapkeeper:     4119 of 4120 freed blocks of this allocation site were freed by session_close, 1 by cache_evict
heapkeeper:     session_close did what it does with every block of this site
heapkeeper:   WHAT HAPPENED  the call was ignored, the program goes on; with glibc it aborts at best; at worst the next owner's block is freed unnoticed
heapkeeper:   FIX  either cache_evict at leaky.c:4 does not own the block and must not free it, or all pointers to the block are to be set to NULL there
heapkeeper:   HOW SURE  certain: the heap knows the state of each of its blocks; culprit and fix are inference
heapkeeper:   NEXT  heapkeeper report kept.hkrec --id HK-DF-a6406d8c
"
    );
}

/// A bad access to a block of 42 bytes, so many bytes from its start.
fn accessed(program: &Program, kind: FindingKind, write: bool, offset: i64, freed: bool) -> FindingRecord {
    let freed = if freed { program.freed() } else { event(0, Family::Malloc, &[]) };
    let mut record = with_life(double_free(0), 42, program.allocated(), freed);
    record.header.time_ns = 12 * MS + 500_000;
    with_access(record, kind, write, offset)
}

#[test]
fn accesses_say_where_and_what_glibc_would_have_done() {
    use FindingKind::{OverrunRead, OverrunWrite, UnderrunWrite, UseAfterFree};
    let program = program();
    for (kind, write, offset, freed, sentence, moment, glibc) in [
        (
            UseAfterFree,
            false,
            0,
            true,
            "use after free (CWE-416): session_close() reads 4 bytes at the start of a 42-byte block that cache_evict() had freed 480 us earlier",
            "READ",
            "with glibc this read goes unnoticed, and gives what has that memory by then",
        ),
        (
            UseAfterFree,
            true,
            8,
            true,
            "use after free (CWE-416): session_close() writes 4 bytes, 8 bytes into a 42-byte block that cache_evict() had freed 480 us earlier",
            "WRITTEN",
            "with glibc this write goes unnoticed, and damages what has that memory by then",
        ),
        (
            OverrunWrite,
            true,
            42,
            false,
            "write past the end (CWE-122): session_close() writes 4 bytes right past the end of a 42-byte block",
            "WRITTEN",
            "with glibc this write goes unnoticed: it meets unused bytes",
        ),
        (
            OverrunRead,
            false,
            70,
            false,
            "read past the end (CWE-126): session_close() reads 4 bytes, 28 bytes past the end of a 42-byte block",
            "READ",
            "the program goes on\n",
        ),
        (
            OverrunWrite,
            true,
            54,
            false,
            "write past the end (CWE-122): session_close() writes 4 bytes, 12 bytes past the end of a 42-byte block",
            "WRITTEN",
            "with glibc this write damages the size of a block, which shows later, elsewhere, or never",
        ),
        (
            UnderrunWrite,
            true,
            -4,
            false,
            "write before the start (CWE-124): session_close() writes 4 bytes, 4 bytes before the start of a 42-byte block",
            "WRITTEN",
            "with glibc this write damages the size of a block",
        ),
    ] {
        let text = program.text(&accessed(&program, kind, write, offset, freed), Style::Plain);
        assert_eq!(text.lines().next().unwrap(), format!("heapkeeper: {sentence}"));
        assert!(text.contains(&format!("heapkeeper:     {moment}")), "{text}");
        assert!(
            text.contains("WHAT HAPPENED  the block's page was opened for the access, the program goes on"),
            "{text}"
        );
        assert!(text.contains(glibc), "{text}");
        assert!(text.contains("HOW SURE  certain: the processor trapped at this very access"), "{text}");
        assert_eq!(text.contains("    freed "), freed, "{text}");
    }
}

#[test]
fn an_overrun_names_the_size_that_would_do() {
    let program = program();
    let text = program.text(&accessed(&program, FindingKind::OverrunRead, false, 44, false), Style::Plain);
    assert!(text.contains("likely culprit: session_close  leaky.c:5  (confidence high; inference: it made the access itself)"), "{text}");
    assert!(
        text.contains("FIX  this access needs a block of 48 bytes; session_open at leaky.c:3 asked for 42\n"),
        "{text}"
    );
}

#[test]
fn what_ended_the_program_is_said() {
    let program = program();
    let mut record = accessed(&program, FindingKind::UseAfterFree, false, 0, true);
    record.life.opened = 0;
    assert!(
        program
            .text(&record, Style::Plain)
            .contains("the access could not be let through: the program got SIGSEGV")
    );
    record.aborted = 1;
    assert!(program.text(&record, Style::Plain).contains("SIGABRT was raised, as --on-finding abort asks"));
}

#[test]
fn damage_that_was_found_later_accuses_nobody() {
    let program = program();
    let mut record = accessed(&program, FindingKind::OverrunWrite, true, 42, false);
    (record.evidence, record.call) = (Evidence::Canary as u32, Call::Exit as u32);
    (record.access_bytes, record.code_len) = (3, 0);
    let text = program.text(&record, Style::Plain);
    let sentence = "3 bytes were overwritten right past the end of a 42-byte block, which was found when the program ended\n";
    assert!(text.contains(sentence), "{text}");
    assert!(!text.contains("culprit:"), "{text}");
    assert!(text.contains("damage found"), "{text}");
    assert!(
        text.contains("HOW SURE  certain: the bytes were overwritten; who did it is not known"),
        "{text}"
    );
}

#[test]
fn a_system_call_and_a_wrong_family_have_their_words() {
    let program = program();
    let mut record = accessed(&program, FindingKind::UseAfterFree, true, 0, true);
    (record.evidence, record.call, record.access_bytes) =
        (Evidence::Buffer as u32, Call::SystemCall as u32, 100);
    let text = program.text(&record, Style::Plain);
    assert!(text.contains("session_close() lets the system write 100 bytes"), "{text}");
    assert!(text.contains("certain: the system call was given this buffer"), "{text}");
    let mut record =
        with_life(double_free(0), 42, event(MS, Family::New, &[]), event(0, Family::Malloc, &[]));
    record.finding = FindingKind::MismatchedDeallocation as u32;
    record.header.time_ns = 2 * MS;
    let text = program.text(&record, Style::Plain);
    assert!(
        text.contains("session_close() frees a 42-byte block by free that was allocated by new\n"),
        "{text}"
    );
    assert!(text.contains("FIX  free the block by delete, as it was allocated\n"), "{text}");
}

#[test]
fn the_full_form_has_all_frames_addresses_and_builds() {
    let program = program();
    let record = accessed(&program, FindingKind::UseAfterFree, false, 0, true);
    let builds = [(program.path.clone(), "ab12".to_owned())].into_iter().collect();
    let view = View { full: true, builds: Some(&builds), recording: Some("kept"), ..View::default() };
    let text = program.text(&record, view);
    for name in ["open", "main1", "evict", "main2", "close", "main3"] {
        let pc = program.pcs[name];
        assert!(text.contains(&format!("  {pc:#x} = leaky+{:#x}\n", pc - BIAS)), "{name}: {text}");
    }
    assert!(text.contains("heapkeeper:       #0 cache_evict  leaky.c:4  0x"), "{text}");
    assert!(text.contains("heapkeeper:          | session_close(); AT(main3);\n"), "{text}");
    assert!(text.contains("instruction  mov eax,[rbx]\n"), "{text}");
    assert!(text.contains("module leaky  ab12\n"), "{text}");
    assert!(!text.contains("NEXT"), "{text}");
}

#[test]
fn programs_without_symbols_are_told_by_places() {
    let program = program();
    let record = with_stack(program.twice(), "", &[0xab, 0xcd], &[]);
    // Another build than the one on the disk: none of its symbols hold.
    let mut fake = FakeRecording::new();
    fake.process(process(42, &program.path, ProcessState::Counted, 1));
    fake.record(with_stack(record, "", &[0xab, 0xcd], &program.pcs(&["close", "main3"])).as_bytes());
    let recording = Recording::open(fake.path()).unwrap();
    assert_eq!(build_ids(&recording).unwrap()[&program.path], "abcd");
    let folders = DebugFolders { roots: Vec::new(), debuginfod_cache: None };
    let mut symbolizer = Symbolizer::with_folders(folders);
    let report = assemble(&recording, &mut symbolizer, &RunFacts::default(), &|_| "".into()).unwrap();
    let text = finding_text(&report.findings[0], Style::Plain);
    let evict = format!("leaky+{:#x}", program.pcs["evict"] - BIAS);
    assert!(
        text.contains(&format!(
            "likely culprit: {evict}  (confidence low; inference: it freed the block while leaky+"
        )),
        "{text}"
    );
    assert!(text.contains(&format!("freed         +20 us  {evict} ← leaky+")), "{text}");
}

#[test]
fn known_and_suppressed_findings_say_so() {
    let program = program();
    let mut finding = program.finding(&program.twice());
    let line = |finding: &Finding| finding_text(finding, Style::Plain).lines().nth(1).unwrap().to_owned();
    finding.repeats = 3;
    finding.process_count = 2;
    finding.status = "known".into();
    assert_eq!(
        line(&finding),
        "heapkeeper:   HK-DF-a6406d8c, seen 3 times in 2 processes, known, thread orders (4711), process leaky (42)"
    );
    finding.status = "suppressed".into();
    finding.suppressed_by = Some("x (s.txt:1)".into());
    assert!(line(&finding).contains(", suppressed by x (s.txt:1), "));
}

#[test]
fn an_unguarded_block_says_what_is_not_known_and_how_to_see_it() {
    let program = program();
    let view = View { check: Some("heapkeeper check -- ./leaky"), ..View::default() };
    let text = program.text(&double_free(0), view);
    assert!(
        text.contains("who allocated and freed the block was not recorded, as it was not guarded\n"),
        "{text}"
    );
    assert!(text.ends_with("heapkeeper:   NEXT  heapkeeper check -- ./leaky\n"), "{text}");
    let stack = FindingRecord {
        place: Place::Stack as u32,
        finding: FindingKind::NotOfHeap as u32,
        ..double_free(0)
    };
    assert!(!program.text(&stack, view).contains("NEXT"));
}
