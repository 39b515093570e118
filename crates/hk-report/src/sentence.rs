//! The first sentence of a finding: what was done wrong, readable without a stack.

use crate::fold::{file_name, own_frame};
use crate::model::{Access, Finding, Leak, StackFrame};
use crate::units;
use hk_symbols::short_name;

/// `double free (CWE-415): order_total() frees a 32-byte block that is already free`.
pub fn first_sentence(finding: &Finding) -> String {
    let cwe = match finding.cwe {
        0 => String::new(),
        number => format!(" (CWE-{number})"),
    };
    format!("{}{cwe}: {}", title(&finding.kind), what_happened(finding))
}

/// The kind in two or three words.
pub fn title(kind: &str) -> &str {
    match kind {
        "double-free" => "double free",
        "use-after-free" => "use after free",
        "not-of-heap" | "not-block-start" => "invalid free",
        "overrun-write" => "write past the end",
        "underrun-write" => "write before the start",
        "overrun-read" => "read past the end",
        "underrun-read" => "read before the start",
        "mismatched-deallocation" => "mismatched deallocation",
        "wrong-layout" => "deallocation with a wrong layout",
        "leak" => "leak",
        other => other,
    }
}

fn what_happened(finding: &Finding) -> String {
    if let Some(leak) = &finding.leak {
        return lost(finding, leak);
    }
    let who = culprit(&finding.stack);
    if finding.call == "seen-later" {
        return format!(
            "{} was freed twice at nearly the same time; {who} came upon it, but did not free it",
            block_noun(finding)
        );
    }
    if let Some(access) = &finding.access {
        return match finding.evidence.as_str() {
            "canary" => overwritten(finding, access),
            _ => {
                let (does, accessed) = (does_access(finding, access), accessed(finding));
                // Two numbers that follow each other are read as one, and where the access was, as how much it was.
                let follow = access.kind != "execute" && accessed.starts_with(|c: char| c.is_ascii_digit());
                let between = if follow { "," } else { "" };
                format!("{who} {does}{between} {accessed}")
            }
        };
    }
    if matches!(finding.kind.as_str(), "mismatched-deallocation" | "wrong-layout") {
        return mismatched(finding, &who);
    }
    let does = match finding.call.as_str() {
        "realloc" => "reallocates",
        "malloc-usable-size" => "asks for the size of",
        _ => "frees",
    };
    format!("{who} {does} {}", object(finding))
}

/// `72 bytes in 3 blocks that session_open() allocated are lost: nothing points at them`.
fn lost(finding: &Finding, leak: &Leak) -> String {
    let one = leak.blocks == 1;
    let allocated = finding.life.as_ref().map(|life| culprit(&life.allocated.stack));
    let by = allocated.map_or(String::new(), |who| format!(" that {who} allocated"));
    let each = finding.block.as_ref().map_or(0, |block| block.bytes);
    let blocks = match leak.blocks {
        1 => format!("{} {each}-byte block{by}", article(each)),
        n if each * n == leak.bytes => format!("{n} blocks of {}{by}", units::count(each, "byte")),
        n => format!("{} in {n} blocks{by}", units::bytes(leak.bytes)),
    };
    let (is, them) = if one { ("is", "it") } else { ("are", "them") };
    if leak.loss == "cycle" {
        let cycles = if one { "a cycle" } else { "cycles" };
        return format!("{blocks} {is} lost in {cycles}: only blocks that are lost as well lead to {them}");
    }
    format!("{blocks} {is} lost: nothing points at {them}")
}

/// `reads 4 bytes`, or `jumps`.
fn does_access(finding: &Finding, access: &Access) -> String {
    let verb = match (access.kind.as_str(), finding.call.as_str()) {
        ("execute", _) => return "jumps to an address".into(),
        ("write", "system-call") => "lets the system write",
        ("write", _) => "writes",
        (_, "system-call") => "lets the system read",
        _ => "reads",
    };
    match access.bytes {
        Some(bytes) => format!("{verb} {}", units::count(bytes, "byte")),
        None => verb.into(),
    }
}

/// Where the access went: relative to the block, and what had become of that.
fn accessed(finding: &Finding) -> String {
    let Some(block) = &finding.block else { return "at an address that is no block's".into() };
    let noun = block_noun(finding);
    let (offset, bytes) = (block.offset, block.bytes as i64);
    let place = if offset < 0 {
        format!("{} before the start of {noun}", units::count(offset.unsigned_abs(), "byte"))
    } else if offset < bytes {
        match offset {
            0 => format!("at the start of {noun}"),
            _ => format!("{} into {noun}", units::count(offset as u64, "byte")),
        }
    } else if offset == bytes {
        format!("right past the end of {noun}")
    } else {
        format!("{} past the end of {noun}", units::count((offset - bytes) as u64, "byte"))
    };
    match finding.life.as_ref().and_then(|life| life.freed.as_ref()) {
        // When the bytes were overwritten nobody saw.
        Some(freed) if finding.evidence == "canary" => {
            format!("{place} that {} had freed", culprit(&freed.stack))
        }
        Some(freed) if finding.kind == "use-after-free" => {
            let before = units::duration(finding.time_ns.saturating_sub(freed.time_ns));
            format!("{place} that {} had freed {before} earlier", culprit(&freed.stack))
        }
        _ => place,
    }
}

/// Nobody saw the write itself.
fn overwritten(finding: &Finding, access: &Access) -> String {
    let bytes = access.bytes.map_or("bytes".into(), |bytes| units::count(bytes, "byte"));
    let were = if access.bytes == Some(1) { "was" } else { "were" };
    let found = match finding.call.as_str() {
        "exit" => "which was found when the program ended".into(),
        _ if finding.kind == "use-after-free" => {
            "which was found when its memory was to be used again".into()
        }
        _ => format!("which was found when {} freed it", culprit(&finding.stack)),
    };
    format!("{bytes} {were} overwritten {}, {found}", accessed(finding))
}

fn mismatched(finding: &Finding, who: &str) -> String {
    let noun = block_noun(finding);
    let family = finding.life.as_ref().map_or("unknown", |life| life.allocated.family.as_str());
    if finding.kind == "wrong-layout" {
        return format!("{who} deallocates {noun} with another size or alignment than it was allocated with");
    }
    let by = match finding.call.as_str() {
        "delete" => "delete",
        "delete-array" => "delete[]",
        "realloc" => "realloc",
        "dealloc" => "Rust's dealloc",
        _ => "free",
    };
    let from = match family {
        "new" => "new",
        "new-array" => "new[]",
        "malloc" => "malloc",
        "rust" => "Rust's alloc",
        _ => "another function",
    };
    format!("{who} frees {noun} by {by} that was allocated by {from}")
}

/// Who made the call: the innermost function that is no library code.
fn culprit(stack: &[StackFrame]) -> String {
    let Some(frame) = own_frame(stack).or(stack.first()) else { return "the program".into() };
    match (&frame.function, &frame.module) {
        (Some(function), _) => with_parentheses(&short_name(function)),
        (None, Some(module)) => format!("code in {}", file_name(module)),
        (None, None) => "the program".into(),
    }
}

fn with_parentheses(name: &str) -> String {
    let plain = name.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    if plain { format!("{name}()") } else { name.to_owned() }
}

/// `a 32-byte block`, or `a block` where the size is not known.
fn block_noun(finding: &Finding) -> String {
    match finding.block.as_ref().map_or(0, |block| block.bytes) {
        0 => "a block".into(),
        bytes => format!("{} {bytes}-byte block", article(bytes)),
    }
}

/// An 8-byte block, an 11-byte, 18-byte or 80-byte block: by how the number begins when spoken.
fn article(number: u64) -> &'static str {
    let digits = number.to_string();
    let leading = &digits[..digits.len() - (digits.len() - 1) / 3 * 3];
    if leading.starts_with('8') || leading == "11" || leading == "18" { "an" } else { "a" }
}

fn object(finding: &Finding) -> String {
    let block = block_noun(finding);
    let inside = |state: &str| match &finding.block {
        Some(b) => format!(
            "an address {} inside {block} that is {state}",
            units::count(b.offset.unsigned_abs(), "byte")
        ),
        None => format!("an address inside a block that is {state}"),
    };
    let region = finding.region.as_ref().and_then(|region| region.name.as_deref());
    match finding.place.as_str() {
        "free-block" => match finding.life.as_ref().and_then(|life| life.freed.as_ref()) {
            Some(freed) => {
                let before = units::duration(finding.time_ns.saturating_sub(freed.time_ns));
                format!("{block} that {} had freed {before} earlier", culprit(&freed.stack))
            }
            None => format!("{block} that is already free"),
        },
        "retired-block" => format!("{block} that is already free, and whose memory was given back"),
        "inside-live-block" => inside("allocated"),
        "inside-free-block" => inside("free"),
        "no-block" => "an address in the heap's range where no block is".into(),
        "stack" => "an address on a thread's stack".into(),
        "static-data" => match region {
            Some(name) => format!("an address in the static data of {}", file_name(name)),
            None => "an address in static data".into(),
        },
        "mapped-file" => match region {
            Some(name) => format!("an address in the mapped file {name}"),
            None => "an address in a mapped file".into(),
        },
        "anonymous" => "an address in memory that is no allocator's".into(),
        "unmapped" => "an address where no memory is".into(),
        "code" => match region {
            Some(name) => format!("an address in the code of {}", file_name(name)),
            None => "an address in the program's code".into(),
        },
        "own-tables" => "an address in heapkeeper's own tables".into(),
        "other-heap" => "an address in another allocator's memory where that one has no block".into(),
        _ => "an address that is not a block's".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn articles_follow_the_spoken_number() {
        for (number, expected) in [(8, "an"), (11, "an"), (18, "an"), (16, "a"), (80, "an"), (112, "a")] {
            assert_eq!(article(number), expected, "{number}");
        }
        for (number, expected) in [(1152, "a"), (8192, "an"), (11_264, "an"), (800, "an"), (1_800_000, "a")] {
            assert_eq!(article(number), expected, "{number}");
        }
    }
}
