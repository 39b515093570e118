//! Reports made by hand: a finding of every kind, with what is odd about names, stacks and sizes in real
//! programs.

mod findings;
mod parts;

use findings::all_findings;
use hk_report::*;

/// Where the samples' sources lie.
pub const ROOT: &str = "/src/shop";

/// A report of a clean run.
pub fn without_findings() -> Report {
    Report {
        schema: SCHEMA.into(),
        version: SCHEMA_VERSION,
        heapkeeper: "0.1.0".into(),
        command: Some(vec!["./shop".into(), "--orders".into(), "a b.txt".into()]),
        exit_status: Some(0),
        exit_signal: None,
        summary: Summary { processes: 1, live_blocks: Some(Figure::exact(3)), ..Summary::default() },
        findings: Vec::new(),
        processes: vec![process(4711)],
        not_covered: Vec::new(),
        notes: Vec::new(),
        missing_debug_info: Vec::new(),
    }
}

/// A report with everything that there can be.
pub fn with_everything() -> Report {
    let findings = all_findings();
    let summary = Summary {
        findings: findings.len() as u64,
        bad_calls: findings.iter().map(|finding| finding.repeats).sum(),
        processes: 2,
        not_covered: 3,
        records_dropped: 2,
        records_torn: 1,
        live_bytes: Some(Figure::exact(4096)),
        live_blocks: Some(Figure::estimate(12, 4)),
        resident_peak_bytes: Some(Figure::exact(9 << 20)),
    };
    let note =
        |kind: &str, message: &str| Note { kind: kind.into(), message: message.into(), pid: 4711, times: 1 };
    Report {
        summary,
        findings,
        exit_status: None,
        exit_signal: Some(6),
        processes: vec![process(4711), Process { pid: 4712, forked: true, bad_calls: 2, ..process(4712) }],
        not_covered: vec![NotCovered {
            path: "/usr/bin/busybox".into(),
            reason: "it is statically linked".into(),
            pid: 4713,
            times: 3,
        }],
        notes: vec![
            note("small-reservation", "only 64 GiB of address space were granted"),
            note("bad-setting", "'guard=<often>' is no setting"),
        ],
        missing_debug_info: vec![Missing {
            module: "/opt/vendor/libpay.so.2".into(),
            build_id: "1a2b3c4d5e6f".into(),
            reason: "no debug file was found".into(),
        }],
        ..without_findings()
    }
}

fn process(pid: u32) -> Process {
    let some = Figure::estimate(4096, 512);
    Process {
        pid,
        ppid: 4000,
        exe: "/src/shop/build/shop".into(),
        mode: "manual".into(),
        state: "counted".into(),
        forked: false,
        second_heap: false,
        bad_calls: 11,
        thread_heaps: 3,
        guard_every: 1000,
        guard_method: "guard-pages".into(),
        guarded_blocks: 4120,
        unguarded_blocks: 1,
        sweeps: None,
        figures: Figures {
            live_bytes: Figure::exact(4096),
            live_blocks: Some(Figure::exact(12)),
            live_peak_bytes: some,
            heap_bytes: some,
            heap_peak_bytes: some,
            resident_bytes: Some(Figure::exact(9 << 20)),
        },
    }
}
