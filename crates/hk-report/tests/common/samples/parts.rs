//! What findings are made of.

use super::ROOT;
use hk_report::*;

/// Nanoseconds.
pub const MS: u64 = 1_000_000;

/// A frame with a line below [`ROOT`].
pub fn frame(function: &str, file: &str, line: u32, source: &str) -> StackFrame {
    StackFrame {
        function: Some(function.into()),
        file: Some(format!("{ROOT}/{file}")),
        line: Some(line),
        module: Some(format!("{ROOT}/build/shop")),
        offset: Some(Address(0x1200 + u64::from(line))),
        pc: Address(0x5555_5555_5200 + u64::from(line)),
        source: (!source.is_empty()).then(|| source.into()),
        inlined: false,
    }
}

pub fn library(function: &str) -> StackFrame {
    StackFrame {
        function: Some(function.into()),
        module: Some("/lib/x86_64-linux-gnu/libc.so.6".into()),
        offset: Some(Address(0x2_7000)),
        pc: Address(0x7fff_f7a2_7000),
        ..StackFrame::default()
    }
}

/// An own frame and what calls every program.
pub fn stack(inner: &[StackFrame]) -> Vec<StackFrame> {
    let outer = ["__libc_start_call_main", "__libc_start_main_impl", "_start"].map(library);
    inner
        .iter()
        .cloned()
        .chain([frame("main", "src/main.c", 52, "return run(argc, argv);")])
        .chain(outer)
        .collect()
}

pub fn thread(name: &str, id: u32) -> ThreadRef {
    ThreadRef { name: name.into(), id }
}

pub fn event(time_ns: u64, inner: &[StackFrame]) -> Event {
    Event {
        time_ns,
        family: "malloc".into(),
        thread: thread("main", 4711),
        stack: stack(inner),
        stack_state: "whole".into(),
    }
}

/// A guarded block of so many bytes that ends as close to the guard as its alignment allows.
pub fn life(bytes: u64, align: u64, allocated: Event, freed: Option<Event>) -> (Block, Life) {
    let pages_start = 0x7f00_0000_1000;
    let pages_end = pages_start + bytes.max(1).next_multiple_of(4096);
    let start = (pages_end - bytes) / align * align;
    let life = Life {
        requested_bytes: bytes,
        align_bytes: align,
        pages_start: Address(pages_start),
        pages_end: Address(pages_end),
        opened: false,
        allocated,
        freed,
    };
    (Block { start: Address(start), bytes, offset: 0 }, life)
}

/// A finding at an offset into its block.
pub fn at_offset(kind: &str, cwe: u32, (block, life): (Block, Life), offset: i64) -> Finding {
    let address = Address(block.start.0.wrapping_add_signed(offset));
    Finding { block: Some(Block { offset, ..block }), life: Some(life), address, ..base(kind, cwe) }
}

pub fn base(kind: &str, cwe: u32) -> Finding {
    Finding {
        kind: kind.into(),
        cwe,
        call: "free".into(),
        evidence: "call".into(),
        time_ns: 20 * MS,
        place: "free-block".into(),
        thread: thread("main", 4711),
        process: ProcessRef { pid: 4711, exe: "/src/shop/build/shop".into() },
        process_count: 1,
        repeats: 1,
        stack_state: "whole".into(),
        status: "new".into(),
        ..Finding::default()
    }
}

pub fn access(kind: &str, bytes: Option<u64>, instruction: &str) -> Option<Access> {
    let instruction = (!instruction.is_empty()).then(|| instruction.into());
    Some(Access { kind: kind.into(), bytes, instruction })
}
