//! The report of one look at a process's heap, from outside of a run.

use crate::assemble::missing;
use crate::finding::finding;
use crate::identity::Merged;
use crate::model::{Figure, Report, SCHEMA, SCHEMA_VERSION, Summary};
use crate::recording::{Body, Record};
use hk_format::{Figures, FindingRecord, ProcessRecord, RecordHeader, RecordState};
use hk_symbols::Symbolizer;

/// The report of findings that are in no recording. Of the process's figures the live blocks and bytes count; they are exact.
pub fn scan_report(
    process: &ProcessRecord,
    findings: impl Iterator<Item = Box<FindingRecord>>,
    symbolizer: &mut Symbolizer,
) -> Report {
    let mut merged = Merged::default();
    for body in findings {
        let header: RecordHeader = body.header;
        let record = Record { offset: 0, state: RecordState::Complete, header, body: Body::Finding(body) };
        if let Body::Finding(body) = &record.body {
            merged.add(finding(&record, body, Some(process), symbolizer));
        }
    }
    let findings = merged.list;
    let Figures { live_bytes, live_blocks, .. } = process.figures;
    Report {
        schema: SCHEMA.into(),
        version: SCHEMA_VERSION,
        heapkeeper: env!("CARGO_PKG_VERSION").into(),
        command: None,
        exit_status: None,
        exit_signal: None,
        summary: Summary {
            findings: findings.len() as u64,
            bad_calls: findings.iter().map(|finding| finding.repeats).sum(),
            processes: 1,
            live_bytes: Some(Figure::exact(live_bytes)),
            live_blocks: Some(Figure::exact(live_blocks)),
            ..Summary::default()
        },
        findings,
        processes: Vec::new(),
        not_covered: Vec::new(),
        notes: Vec::new(),
        missing_debug_info: missing(symbolizer),
    }
}
