//! When two findings are the same bug, and what a bug is called in every run.
//!
//! Within a run two findings are the same bug if the same lines of the program's own code made them: those of the innermost own
//! frames of the bad call, of the allocation and of the first free. Deeper callers do not tell bugs apart. Only of guarded blocks are the latter two
//! known; a finding of another block is the same bug if the bad call is the same. Across runs a bug has an id made of the names of these functions
//! alone, so that it outlives a rebuild and edits elsewhere in the file; bad frees, which are found of all blocks, have an id of the bad call's
//! alone, so that it does not depend on how many blocks are guarded.

use crate::fold::{file_name, is_library};
use crate::model::{Address, Finding, Leak, StackFrame};
use crate::sentence;
use hk_symbols::short_name;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Own frames of the bad call that tell bugs apart: a program may free through wrappers of its own.
const OWN_FRAMES: usize = 4;
/// The same for the allocation and the free.
const EVENT_OWN_FRAMES: usize = 2;

/// What makes two findings the same bug. Findings without a stack are the same only if they are the same call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BugKey {
    kind: String,
    call: String,
    place: String,
    stack: Vec<StackFrame>,
    allocated: Vec<StackFrame>,
    freed: Vec<StackFrame>,
    without_stack: Option<(Address, u32, u32)>,
}

impl BugKey {
    /// The same of a finding whose block was not guarded.
    fn without_life(&self) -> BugKey {
        BugKey { allocated: Vec::new(), freed: Vec::new(), ..self.clone() }
    }
}

/// Bugs, and something of each.
#[derive(Debug)]
pub struct Bugs<T> {
    by_key: HashMap<BugKey, T>,
    /// The first key that is so without a life.
    with_life: HashMap<BugKey, BugKey>,
}

impl<T> Default for Bugs<T> {
    fn default() -> Self {
        Bugs { by_key: HashMap::new(), with_life: HashMap::new() }
    }
}

impl<T> Bugs<T> {
    /// What there is of the bug with this key, or of one that is the same as far as either is known.
    pub fn get(&mut self, key: &BugKey) -> Option<&T> {
        let bare = key.without_life();
        if *key == bare {
            return self.by_key.get(key).or_else(|| self.by_key.get(self.with_life.get(&bare)?));
        }
        // From here on its life is known, and tells it from others.
        if !self.by_key.contains_key(key)
            && let Some(value) = self.by_key.remove(&bare)
        {
            self.with_life.insert(bare, key.clone());
            self.by_key.insert(key.clone(), value);
        }
        self.by_key.get(key)
    }

    /// One more bug.
    pub fn insert(&mut self, key: BugKey, value: T) {
        self.with_life.entry(key.without_life()).or_insert_with(|| key.clone());
        self.by_key.insert(key, value);
    }
}

/// The key of a finding.
pub fn bug_key(finding: &Finding) -> BugKey {
    let one_call = (finding.address, finding.thread.id, finding.process.pid);
    let (allocated, freed) = events(finding);
    // What tells leaks apart is who allocated.
    let own = if finding.leak.is_some() { OWN_FRAMES } else { EVENT_OWN_FRAMES };
    BugKey {
        kind: finding.kind.clone(),
        call: finding.call.clone(),
        // Whether a free block's span is still there makes no difference; nor, for an access, which byte of the block it met first.
        place: match &finding.access {
            // Of a leak without a stack the size is all that is known.
            _ if finding.leak.is_some() => loss_key(finding),
            Some(_) => String::new(),
            None => finding.place.replace("retired-block", "free-block"),
        },
        stack: innermost(&finding.stack, OWN_FRAMES).map(essence).collect(),
        allocated: innermost(allocated, own).map(essence).collect(),
        freed: innermost(freed, EVENT_OWN_FRAMES).map(essence).collect(),
        // Damage that was found at the end has no stack; who allocated the block tells it apart.
        without_stack: (finding.stack.is_empty() && allocated.is_empty() && finding.leak.is_none())
            .then_some(one_call),
    }
}

/// How blocks were lost, and of which size they are if that is all that tells them apart.
fn loss_key(finding: &Finding) -> String {
    let loss = finding.leak.as_ref().map_or("", |leak| &leak.loss);
    let size = finding.block.as_ref().filter(|_| finding.life.is_none()).map_or(0, |block| block.bytes);
    format!("{loss}-{size}")
}

/// Whether damage that was found later is what the processor trapped at in another run, where the guard stood at the block's other side.
pub(crate) fn is_damage_of(damage: &Finding, trap: &Finding) -> bool {
    let (damage_key, trap_key) = (bug_key(damage), bug_key(trap));
    let is_same_block = damage_key.kind == trap_key.kind
        && damage_key.allocated == trap_key.allocated
        && damage_key.freed == trap_key.freed;
    let overlaps = match (bytes_of(damage), bytes_of(trap)) {
        (Some(one), Some(other)) => one.start < other.end && other.start < one.end,
        _ => false,
    };
    damage.evidence == "canary" && trap.evidence != "canary" && is_same_block && overlaps
}

/// Where an access was, counted from its block's start.
fn bytes_of(finding: &Finding) -> Option<Range<i64>> {
    let (block, access) = (finding.block.as_ref()?, finding.access.as_ref()?);
    Some(block.offset..block.offset.saturating_add_unsigned(access.bytes.unwrap_or(1)))
}

fn events(finding: &Finding) -> (&[StackFrame], &[StackFrame]) {
    let life = finding.life.as_ref();
    let freed = life.and_then(|life| life.freed.as_ref());
    (life.map_or(&[], |life| &life.allocated.stack), freed.map_or(&[], |freed| &freed.stack))
}

/// The frames down to the last of so many own ones; all if there is no own one.
fn innermost(stack: &[StackFrame], own: usize) -> impl Iterator<Item = &StackFrame> {
    let mut seen = 0;
    stack.iter().take_while(move |frame| {
        let goes_on = seen < own;
        seen += usize::from(!is_library(frame));
        goes_on
    })
}

/// What of a frame is the same in every run: the line where there is one, else the place in the module. Of library code only which function it is:
/// a copy meets a guard now in one of its instructions, now in another.
fn essence(frame: &StackFrame) -> StackFrame {
    if is_library(frame) && frame.module.is_some() {
        let (function, module) = (frame.function.clone(), frame.module.clone());
        return StackFrame { function, module, ..StackFrame::default() };
    }
    let has_line = frame.function.is_some() && frame.line.is_some();
    let in_module = frame.module.is_some();
    StackFrame {
        offset: frame.offset.filter(|_| !has_line),
        pc: if in_module { Address(0) } else { frame.pc },
        source: None,
        ..frame.clone()
    }
}

/// `HK-`, letters for the kind, and a hash of the names: see the module head.
pub(crate) fn id(finding: &Finding) -> String {
    let (allocated, freed) = events(finding);
    let mut hash = Hash::new();
    hash.add(&finding.kind);
    if finding.leak.is_some() {
        hash.add(&loss_key(finding));
    }
    hash.names(&finding.stack, OWN_FRAMES);
    // What tells leaks apart is who allocated.
    let own = if finding.leak.is_some() { OWN_FRAMES } else { EVENT_OWN_FRAMES };
    let is_found_of_all = matches!(finding.kind.as_str(), "double-free" | "not-of-heap" | "not-block-start");
    for event in [allocated, freed] {
        hash.names(if is_found_of_all { &[] } else { event }, own);
    }
    format!("HK-{}-{:08x}", letters(&finding.kind), hash.0 as u32 ^ (hash.0 >> 32) as u32)
}

fn letters(kind: &str) -> &'static str {
    match kind {
        "double-free" => "DF",
        "use-after-free" => "UAF",
        "not-of-heap" | "not-block-start" => "IF",
        "overrun-write" => "OW",
        "underrun-write" => "UW",
        "overrun-read" => "OR",
        "underrun-read" => "UR",
        "mismatched-deallocation" => "MD",
        "wrong-layout" => "WL",
        "leak" => "LK",
        _ => "X",
    }
}

/// FNV-1a, which is the same in every version of Rust and on every machine.
struct Hash(u64);

impl Hash {
    fn new() -> Self {
        Hash(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, text: &str) {
        for byte in text.bytes().chain([0]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// Own functions only: which library functions are inlined is the compiler's affair.
    fn names(&mut self, stack: &[StackFrame], own: usize) {
        self.add("|");
        for frame in stack.iter().filter(|frame| !is_library(frame)).take(own) {
            match (&frame.function, &frame.module) {
                (Some(function), _) => self.add(&short_name(function)),
                (None, Some(module)) => {
                    self.add(file_name(module));
                    self.add(&frame.offset.map_or(String::new(), |offset| format!("{:x}", offset.0)));
                }
                (None, None) => self.add("?"),
            }
        }
    }
}

/// Blocks that were trapped on, so that what the same access left beside them is not told as another bug: a copy that goes on from the slack of a block
/// to its guard is seen at the guard, and again when the block is freed.
#[derive(Debug)]
pub struct Trapped<T>(HashMap<(u32, u64, u64, String), T>);

impl<T> Default for Trapped<T> {
    fn default() -> Self {
        Trapped(HashMap::new())
    }
}

impl<T> Trapped<T> {
    /// Which block of which process: by its allocation, as others have its place later.
    fn key(finding: &Finding) -> Option<(u32, u64, u64, String)> {
        let (block, life) = (finding.block.as_ref()?, finding.life.as_ref()?);
        Some((finding.process.pid, block.start.0, life.allocated.time_ns, finding.kind.clone()))
    }

    /// What was noted of the access that left this damage, if this is damage.
    pub fn access_of(&self, damage: &Finding) -> Option<&T> {
        if damage.evidence != "canary" { None } else { self.0.get(&Self::key(damage)?) }
    }

    /// Notes an access, if it trapped.
    pub fn note(&mut self, finding: &Finding, value: T) {
        if finding.evidence == "trap"
            && let Some(key) = Self::key(finding)
        {
            self.0.entry(key).or_insert(value);
        }
    }
}

/// Findings, each bug once.
#[derive(Default)]
pub(crate) struct Merged {
    trapped: Trapped<usize>,
    pub(crate) list: Vec<Finding>,
    pids: Vec<HashSet<u32>>,
    bugs: Bugs<usize>,
    ids: Ids,
}

/// The ids of a run: bugs in different lines of the same functions are told apart by their order.
#[derive(Debug, Default)]
pub struct Ids(HashMap<String, u32>);

impl Ids {
    /// The id for one more bug: `id`, or `id-2` and so on where it is taken.
    pub fn distinct(&mut self, id: String) -> String {
        let count = self.0.entry(id.clone()).or_default();
        *count += 1;
        if *count == 1 { id } else { format!("{id}-{count}") }
    }

    /// Takes an id that may have a number already.
    pub(crate) fn take(&mut self, id: &str) {
        // `HK-DF-1234abcd-2`: the number is the fourth part.
        let base: Vec<&str> = id.splitn(4, '-').take(3).collect();
        *self.0.entry(base.join("-")).or_default() += 1;
    }
}

impl Merged {
    pub(crate) fn add(&mut self, mut finding: Finding) {
        if let Some(&at) = self.trapped.access_of(&finding) {
            self.list[at].repeats += finding.repeats.saturating_sub(1);
            self.list[at].aborted |= finding.aborted;
            return;
        }
        let key = bug_key(&finding);
        let known = self.bugs.get(&key).copied();
        self.trapped.note(&finding, known.unwrap_or(self.list.len()));
        match known {
            None => {
                self.bugs.insert(key, self.list.len());
                self.pids.push(HashSet::from([finding.process.pid]));
                finding.id = self.ids.distinct(finding.id);
                self.list.push(finding);
            }
            Some(at) => {
                self.pids[at].insert(finding.process.pid);
                let first = &mut self.list[at];
                count_in(first, finding);
                first.process_count = self.pids[at].len() as u64;
            }
        }
    }
}

/// One more of a bug that is known. Whichever tells the block's life is shown.
pub(crate) fn count_in(known: &mut Finding, mut finding: Finding) {
    let counts = (known.repeats + finding.repeats, known.process_count + finding.process_count);
    let aborted = known.aborted | finding.aborted;
    let leak = match (known.leak.take(), finding.leak.take()) {
        (Some(one), Some(other)) => Some(sum(one, &other)),
        (one, other) => one.or(other),
    };
    if known.life.is_none() && finding.life.is_some() {
        finding.id = std::mem::take(&mut known.id);
        *known = finding;
    }
    (known.repeats, known.process_count) = counts;
    known.aborted = aborted;
    if leak.is_some() {
        // Nobody called: it is seen once, however many blocks there are.
        known.repeats = 1;
        known.leak = leak;
        known.message = sentence::first_sentence(known);
    }
}

fn sum(one: Leak, other: &Leak) -> Leak {
    Leak {
        blocks: one.blocks + other.blocks,
        bytes: one.bytes + other.bytes,
        indirect_blocks: one.indirect_blocks + other.indirect_blocks,
        indirect_bytes: one.indirect_bytes + other.indirect_bytes,
        ..one
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Event, Life};

    fn frame(function: &str, line: u32) -> StackFrame {
        StackFrame { function: Some(function.into()), line: Some(line), ..StackFrame::default() }
    }

    fn event(function: &str) -> Event {
        Event { stack: vec![frame(function, 7)], ..Event::default() }
    }

    fn double_free(caller: &str, life: Option<(&str, &str)>) -> Finding {
        let life = life.map(|(allocated, freed)| Life {
            allocated: event(allocated),
            freed: Some(event(freed)),
            requested_bytes: 16,
            align_bytes: 1,
            pages_start: Address(0),
            pages_end: Address(0),
            opened: false,
        });
        let stack = vec![frame("destroy", 3), frame(caller, 9)];
        let mut finding =
            Finding { kind: "double-free".into(), stack, life, repeats: 1, ..Finding::default() };
        finding.id = id(&finding);
        finding
    }

    #[test]
    fn a_bad_free_of_a_guarded_block_is_the_same_bug_as_one_of_another() {
        let (bare, told) = (double_free("main", None), double_free("main", Some(("new", "close"))));
        for findings in [[bare.clone(), told.clone()], [told.clone(), bare.clone()]] {
            let mut merged = Merged::default();
            findings.into_iter().for_each(|finding| merged.add(finding));
            assert_eq!(merged.list.len(), 1);
            let only = &merged.list[0];
            assert!(only.life.is_some() && only.repeats == 2 && only.id == bare.id, "{only:?}");
        }
    }

    #[test]
    fn what_an_access_left_beside_its_block_is_no_other_bug() {
        let overrun = |evidence: &str, function: &str, allocated_ns: u64| {
            let mut finding = double_free(function, Some(("new", "close")));
            finding.kind = "overrun-write".into();
            finding.evidence = evidence.into();
            finding.block = Some(crate::model::Block { start: Address(0x1000), bytes: 29, offset: 32 });
            let life = finding.life.as_mut().unwrap();
            (life.freed, life.allocated.time_ns) = (None, allocated_ns);
            finding
        };
        let mut merged = Merged::default();
        merged.add(overrun("trap", "fill", 1));
        merged.add(overrun("canary", "close", 1));
        // Another block has the place by now.
        merged.add(overrun("canary", "close", 2));
        let told: Vec<(&str, u64)> = merged.list.iter().map(|f| (f.evidence.as_str(), f.repeats)).collect();
        assert_eq!(told, [("trap", 1), ("canary", 1)]);
    }

    #[test]
    fn a_copy_that_meets_guards_in_two_of_its_instructions_is_one_bug() {
        let mut merged = Merged::default();
        for offset in [0x10, 0x24] {
            let mut finding = double_free("main", None);
            let copy = StackFrame {
                module: Some("/lib/libc.so.6".into()),
                offset: Some(Address(offset)),
                ..StackFrame::default()
            };
            finding.stack.insert(0, copy);
            merged.add(finding);
        }
        assert_eq!(merged.list.len(), 1);
    }

    #[test]
    fn bad_frees_are_told_apart_by_caller_and_as_far_as_it_is_known_by_life() {
        let mut merged = Merged::default();
        for finding in [
            double_free("main", Some(("new", "close"))),
            double_free("main", Some(("new", "evict"))),
            double_free("other", None),
            double_free("main", None),
        ] {
            merged.add(finding);
        }
        let told: Vec<(&str, u64)> =
            merged.list.iter().map(|f| (f.life.as_ref().map_or("", |_| "told"), f.repeats)).collect();
        assert_eq!(told, [("told", 2), ("told", 1), ("", 1)]);
    }

    #[test]
    fn which_was_seen_first_makes_no_difference() {
        let of = |life| double_free("main", life);
        let three = [of(None), of(Some(("new", "close"))), of(Some(("new", "evict")))];
        for order in [[0, 1, 2], [1, 0, 2], [1, 2, 0]] {
            let mut merged = Merged::default();
            order.iter().for_each(|&nth: &usize| merged.add(three[nth].clone()));
            assert_eq!(merged.list.len(), 2, "{order:?}");
        }
    }
}
