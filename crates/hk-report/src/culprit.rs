//! Who probably made the mistake, and what to do about it. Facts are the heap's; what is said here is inference, and says so.

use crate::fold::{file_name, own_frame};
use crate::model::{Culprit, Finding, FreeSite, StackFrame};
use crate::units::count;
use hk_symbols::short_name;

/// A share of a site's frees, in per cent, from which on who frees otherwise is odd.
const USUAL_PER_CENT: u64 = 80;
/// Frees from which on a share says something.
const FREES_MIN: u64 = 10;

/// An access that misses its block by more than this, and by more than the block's size, may have been meant for any.
const MISS_BYTES_MAX: u64 = 64;

/// See the module head. None where nothing speaks for one place more than for another.
pub(crate) fn culprit(finding: &Finding) -> Option<Culprit> {
    match finding.kind.as_str() {
        "use-after-free" if bytes_missed(finding).is_some() => None,
        "double-free" | "use-after-free" => of_early_free(finding),
        "overrun-write" | "underrun-write" | "overrun-read" | "underrun-read"
            if finding.evidence != "canary" =>
        {
            let frame = own_frame(&finding.stack)?;
            Some(at(frame, "high", vec!["it made the access itself".into()]))
        }
        "mismatched-deallocation" | "wrong-layout" | "not-block-start" | "not-of-heap" => {
            let frame = own_frame(&finding.stack)?;
            Some(at(frame, "medium", vec!["it made the call with that address".into()]))
        }
        _ => None,
    }
}

/// How far an access is from its block, if that is so far that another may have been meant.
pub(crate) fn bytes_missed(finding: &Finding) -> Option<u64> {
    let block = finding.block.as_ref().filter(|_| finding.access.is_some())?;
    let beyond = block.offset.checked_sub_unsigned(block.bytes).filter(|&beyond| beyond > 0);
    let missed = if block.offset < 0 { block.offset.unsigned_abs() } else { beyond?.unsigned_abs() };
    (missed > MISS_BYTES_MAX.max(block.bytes)).then_some(missed)
}

/// The block was freed, and somebody went on using it: either the free came too early, or the use too late.
fn of_early_free(finding: &Finding) -> Option<Culprit> {
    let freed = finding.life.as_ref()?.freed.as_ref()?;
    let (first, last) = (own_frame(&freed.stack)?, own_frame(&finding.stack)?);
    let (first_name, last_name) = (name(first), name(last));
    if let Some(population) = &finding.population
        && population.frees >= FREES_MIN
    {
        let by_first = frees_by(&population.free_sites, first);
        let usual =
            population.free_sites.first().filter(|s| s.count * 100 >= population.frees * USUAL_PER_CENT);
        let usual_name = usual.and_then(|site| own_frame(&site.stack)).map(name);
        if let (Some(usual), Some(usual_name)) = (usual, &usual_name)
            && *usual_name != first_name
        {
            let reasons = vec![
                format!(
                    "{} of {} freed blocks of this allocation site were freed by {usual_name}, {by_first} by {first_name}",
                    usual.count, population.frees
                ),
                format!("{last_name} did what it does with every block of this site"),
            ];
            return Some(at(first, "high", reasons));
        }
        if finding.kind == "double-free"
            && usual_name.as_ref() == Some(&first_name)
            && first_name != last_name
        {
            let reasons = vec![format!(
                "{first_name}, which freed the block first, frees the blocks of this allocation site as a rule ({} of {}); {last_name} does not",
                by_first, population.frees
            )];
            return Some(at(last, "medium", reasons));
        }
    }
    if first_name == last_name {
        return Some(at(first, "medium", vec!["it freed the block and went on to use it".into()]));
    }
    let reasons = vec![format!("it freed the block while {last_name} still had a pointer to it")];
    Some(at(first, "low", reasons))
}

fn frees_by(sites: &[FreeSite], frame: &StackFrame) -> u64 {
    let wanted = name(frame);
    sites.iter().filter(|s| own_frame(&s.stack).is_some_and(|f| name(f) == wanted)).map(|s| s.count).sum()
}

fn at(frame: &StackFrame, confidence: &str, reasons: Vec<String>) -> Culprit {
    Culprit { function: name(frame), place: place(frame), confidence: confidence.into(), reasons }
}

fn name(frame: &StackFrame) -> String {
    match (&frame.function, &frame.module) {
        (Some(function), _) => short_name(function),
        // With its place: two calls in a program without symbols are not the same for that.
        (None, Some(module)) => {
            let offset = frame.offset.map_or(String::new(), |offset| format!("+{:#x}", offset.0));
            format!("{}{offset}", file_name(module))
        }
        (None, None) => "the program".into(),
    }
}

fn place(frame: &StackFrame) -> Option<String> {
    Some(format!("{}:{}", file_name(frame.file.as_deref()?), frame.line?))
}

/// What to do, where that follows from what is known.
pub(crate) fn fix(finding: &Finding) -> Option<String> {
    let life = finding.life.as_ref();
    if bytes_missed(finding).is_some() {
        return None;
    }
    match finding.kind.as_str() {
        "double-free" | "use-after-free" => {
            let freed = own_frame(&life?.freed.as_ref()?.stack)?;
            Some(format!(
                "either {} at {} does not own the block and must not free it, or all pointers to the block are to be set to NULL there",
                name(freed),
                place(freed)?
            ))
        }
        "mismatched-deallocation" => {
            let right = match life?.allocated.family.as_str() {
                "new" => "delete",
                "new-array" => "delete[]",
                "malloc" => "free",
                "rust" => "Rust's dealloc",
                _ => return None,
            };
            Some(format!("free the block by {right}, as it was allocated"))
        }
        "overrun-write" | "overrun-read" => {
            let (life, block) = (life?, finding.block.as_ref()?);
            let bytes = finding.access.as_ref().and_then(|access| access.bytes).unwrap_or(1);
            let needed = block.offset.checked_add(i64::try_from(bytes).ok()?)?;
            let allocated = own_frame(&life.allocated.stack)?;
            (finding.call == "access" && needed > 0).then_some(format!(
                "this access needs a block of {needed} bytes; {} at {} asked for {}",
                name(allocated),
                place(allocated)?,
                life.requested_bytes
            ))
        }
        "leak" => {
            // Who frees the others.
            let population = finding.population.as_ref()?;
            let site = population.free_sites.first()?;
            let frame = own_frame(&site.stack)?;
            let others = count(site.count, "other block");
            Some(format!("free them as {} at {} does with {others} of this site", name(frame), place(frame)?))
        }
        "not-block-start" => {
            let block = finding.block.as_ref()?;
            (block.offset > 0).then(|| {
                format!(
                    "free the start of the block, {} before this address",
                    count(block.offset as u64, "byte")
                )
            })
        }
        _ => None,
    }
}
