//! What happened in the end, what would have happened on another heap, what to do, and how sure all of it is.

use super::{Lines, View, clean};
use crate::culprit::bytes_missed;
use crate::model::{Access, Block, Finding, Leak, Life};
use crate::units;
use std::fmt::Write;

/// Blocks above this size may be mappings of their own in glibc (M_MMAP_THRESHOLD is 128 KiB at first).
const GLIBC_SMALL: u64 = 64 << 10;

pub(super) fn push(lines: &mut Lines, finding: &Finding, view: View<'_>) {
    let strong = |label: &str| view.style.strong(label);
    if let Some(leak) = &finding.leak {
        push_lost(lines, leak, view);
    }
    if finding.life.is_none() {
        let dim = |text: &str| view.style.dim(text);
        lines.push(&dim(&place(finding)));
        lines.push(&dim(&format!("  {}", outcome(finding))));
        if life_is_missing(finding) {
            lines.push(&dim("  who allocated and freed the block was not recorded, as it was not guarded"));
        }
        return;
    }
    let glibc = with_glibc(finding).map_or(String::new(), |what| format!("; with glibc {what}"));
    lines.push(&format!("  {}  {}{glibc}", strong("WHAT HAPPENED"), outcome(finding)));
    if let Some(fix) = &finding.fix {
        lines.push(&format!("  {}  {}", strong("FIX"), clean(fix)));
    }
    lines.push(&format!("  {}  {}", strong("HOW SURE"), how_sure(finding)));
}

/// What else was lost, and how that is known.
fn push_lost(lines: &mut Lines, leak: &Leak, view: View<'_>) {
    if leak.indirect_blocks > 0 {
        lines.push(&format!(
            "  {}  {} in {} that nothing else leads to",
            view.style.strong(if leak.blocks == 1 { "LOST WITH IT" } else { "LOST WITH THEM" }),
            units::bytes(leak.indirect_bytes),
            units::count(leak.indirect_blocks, "block"),
        ));
    }
    if leak.sampled_every != 1 {
        let every = match leak.sampled_every {
            0 => "only blocks of certain sites have".to_owned(),
            every => format!("one block in {every} has"),
        };
        lines.push(&format!("  {} its allocation recorded; of all others the size is known", every));
    }
}

/// Whether the finding is about a block of whose life nothing was recorded.
pub(super) fn life_is_missing(finding: &Finding) -> bool {
    let is_block = matches!(
        finding.place.as_str(),
        "free-block" | "retired-block" | "inside-live-block" | "inside-free-block"
    );
    is_block && finding.life.is_none()
}

fn place(finding: &Finding) -> String {
    let mut line = format!("  at address {:#x}", finding.address.0);
    if let Some(block) = finding.block.as_ref().filter(|block| block.offset != 0) {
        let _ = write!(line, ", block at {:#x}", block.start.0);
    }
    line
}

/// What became of the call or access: this is how the library answers, in every mode.
fn outcome(finding: &Finding) -> &'static str {
    let opened = finding.life.as_ref().is_some_and(|life| life.opened);
    match (finding.call.as_str(), finding.evidence.as_str()) {
        _ if finding.aborted => "SIGABRT was raised, as --on-finding abort asks",
        (_, "scan") => "nothing: the memory stays allocated until the process ends",
        (_, "canary") => "nothing at that moment: the overwritten bytes were found later",
        ("access", _) if opened => "the block's page was opened for the access, the program goes on",
        ("access", _) => "the access could not be let through: the program got SIGSEGV",
        ("system-call", _) => "the block's page was opened for the system call, the program goes on",
        ("realloc", _) => "the call was given a new block, the program goes on",
        ("malloc-usable-size", _) => "the call was given 0, the program goes on",
        ("seen-later", _) => "the second free was ignored, the program goes on",
        _ if matches!(finding.kind.as_str(), "mismatched-deallocation" | "wrong-layout") => {
            "the block was freed all the same, the program goes on"
        }
        _ => "the call was ignored, the program goes on",
    }
}

/// What glibc does in the same place, where that is certain.
fn with_glibc(finding: &Finding) -> Option<String> {
    match finding.kind.as_str() {
        "double-free" => Some("it aborts at best; at worst the next owner's block is freed unnoticed".into()),
        "mismatched-deallocation" => Some("this goes unnoticed".into()),
        _ => {
            let (life, block) = (finding.life.as_ref()?, finding.block.as_ref()?);
            access_with_glibc(finding.access.as_ref()?, life, block)
        }
    }
}

fn access_with_glibc(access: &Access, life: &Life, block: &Block) -> Option<String> {
    if life.requested_bytes > GLIBC_SMALL || life.align_bytes > 16 || access.kind == "execute" {
        return None;
    }
    let does = if access.kind == "write" { "write" } else { "read" };
    let end = block.offset.checked_add_unsigned(access.bytes.unwrap_or(1))?;
    // A chunk's head is 8 bytes before the block, the next one's follows what can be used of it.
    let usable = ((life.requested_bytes + 8).next_multiple_of(16).max(32) - 8) as i64;
    if life.freed.is_some() && block.offset >= 0 && end <= usable {
        return Some(match does {
            "write" => "this write goes unnoticed, and damages what has that memory by then".into(),
            _ => "this read goes unnoticed, and gives what has that memory by then".into(),
        });
    }
    match (does, block.offset) {
        (_, 0..) if end <= usable => Some(format!("this {does} goes unnoticed: it meets unused bytes")),
        ("write", -8..) if end <= usable + 8 => {
            Some("this write damages the size of a block, which shows later, elsewhere, or never".into())
        }
        ("read", -8..) if end <= usable + 8 => Some("this read goes unnoticed".into()),
        _ => None,
    }
}

fn how_sure(finding: &Finding) -> String {
    let fact = match finding.evidence.as_str() {
        "trap" => "the processor trapped at this very access",
        "canary" => "the bytes were overwritten; who did it is not known",
        "buffer" => "the system call was given this buffer",
        "scan" => {
            "no register, stack, static data or reachable block has its address (an address that is encoded or on disk is not seen)"
        }
        _ => "the heap knows the state of each of its blocks",
    };
    let inference = match (&finding.culprit, &finding.fix) {
        (None, None) => "",
        (Some(_), None) => "; the culprit is inference",
        (None, Some(_)) => "; the fix is inference",
        (Some(_), Some(_)) => "; culprit and fix are inference",
    };
    let meant = bytes_missed(finding).map_or_else(String::new, |bytes| {
        format!(
            "; that this block was meant is inference: it is the nearest, {} away",
            units::count(bytes, "byte")
        )
    });
    format!("certain: {fact}{inference}{meant}")
}
