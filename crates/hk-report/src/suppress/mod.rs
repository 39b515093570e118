//! Suppressions: findings that somebody has looked at and that are not to count.
//!
//! ```text
//! own.rs        our format: blocks with a name, an id or the frames of a stack, an end and an owner
//! valgrind.rs   valgrind's blocks in braces
//! lsan.rs       the sanitizers' lines `kind:pattern`
//! ```
//!
//! Which of them a file is shows by its first line that is not a comment.

mod date;
mod glob;
mod lsan;
mod own;
mod stack;
mod valgrind;

pub use date::Date;
pub use own::by_id;

use crate::model::{Finding, StackFrame};
use stack::{FramePattern, begins_so};

/// One entry of a suppression file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    /// What its author called it.
    pub name: String,
    /// Where it stands: `FILE:LINE`.
    pub place: String,
    /// The last day on which it holds.
    pub until: Option<Date>,
    /// How many bad calls it covers.
    pub max: Option<u64>,
    /// Why it is there.
    pub why: Option<String>,
    /// Who knows more.
    pub owner: Option<String>,
    target: Target,
    /// Kinds of findings; empty: all.
    kinds: Vec<String>,
    /// Bytes of the access, where an entry says that.
    access_bytes: Option<u64>,
}

/// What a suppression is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// One bug.
    Id(String),
    /// Those with such frames in a stack of this kind, or in any.
    Frames(Option<Stack>, Vec<FramePattern>),
    /// Those with any frame of the allocation whose function, source file or module has a part like this.
    AnyFrame(String),
    /// Something that this version does not find, for the reason given. Accepted, so that one file serves several tools.
    Nothing(String),
}

/// The stacks of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stack {
    Misuse,
    Allocated,
    Freed,
}

impl Suppression {
    fn new(name: &str, place: String, target: Target) -> Suppression {
        Suppression {
            name: name.into(),
            place,
            until: None,
            max: None,
            why: None,
            owner: None,
            target,
            kinds: Vec::new(),
            access_bytes: None,
        }
    }

    /// Whether it is about this finding, whatever the day and the number of calls.
    pub fn is_about(&self, finding: &Finding) -> bool {
        let bytes = finding.access.as_ref().and_then(|access| access.bytes);
        let right_kind = self.kinds.is_empty() || self.kinds.contains(&finding.kind);
        let right_size = self.access_bytes.is_none() || bytes.is_none() || self.access_bytes == bytes;
        right_kind
            && right_size
            && match &self.target {
                Target::Id(id) => *id == finding.id,
                Target::Frames(which, frames) => {
                    stacks(finding, *which).iter().any(|stack| begins_so(stack, frames))
                }
                Target::AnyFrame(pattern) => {
                    let allocated = stacks(finding, Some(Stack::Allocated));
                    allocated.into_iter().flatten().any(|frame| has_part(frame, pattern))
                }
                Target::Nothing(_) => false,
            }
    }

    /// Why it can never be about anything; None if it can.
    pub fn not_applicable(&self) -> Option<&str> {
        match &self.target {
            Target::Nothing(why) => Some(why),
            _ => None,
        }
    }
}

/// As LeakSanitizer reads its patterns: they fit anywhere, unless `^` or `$` stands at their ends.
fn has_part(frame: &StackFrame, pattern: &str) -> bool {
    let (begin, pattern) = pattern.strip_prefix('^').map_or(("*", pattern), |rest| ("", rest));
    let (end, pattern) = pattern.strip_suffix('$').map_or(("*", pattern), |rest| ("", rest));
    let whole = format!("{begin}{pattern}{end}");
    let texts = [&frame.function, &frame.file, &frame.module];
    texts.into_iter().flatten().any(|text| glob::matches(&whole, text))
}

fn stacks(finding: &Finding, which: Option<Stack>) -> Vec<&[StackFrame]> {
    let life = finding.life.as_ref();
    let all = [
        (Stack::Misuse, Some(&finding.stack)),
        (Stack::Allocated, life.map(|life| &life.allocated.stack)),
        (Stack::Freed, life.and_then(|life| life.freed.as_ref()).map(|freed| &freed.stack)),
    ];
    let wanted = all.into_iter().filter(|(kind, _)| which.is_none_or(|which| which == *kind));
    wanted.filter_map(|(_, stack)| stack.map(Vec::as_slice)).collect()
}

/// The suppressions of a file, whichever of the formats it has. An error says where and what to do.
pub fn parse_suppressions(file: &str, text: &str) -> Result<Vec<Suppression>, String> {
    let lines = Lines { file, lines: text.lines().enumerate() };
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    match first {
        None => Ok(Vec::new()),
        Some(line) if line.starts_with('[') => own::parse(lines),
        Some(line) if line.starts_with('{') => valgrind::parse(lines),
        Some(line) if lsan::is_entry(line) => lsan::parse(lines),
        Some(_) => {
            let mut lines = lines;
            let (number, _) = lines.next().unwrap_or((1, ""));
            Err(lines.error(
                number,
                "this is no suppression file: an entry begins with '[NAME]' (heapkeeper), '{' (valgrind) or \
                 'KIND:PATTERN' (sanitizers)",
            ))
        }
    }
}

/// The lines of a file that are not empty and no comments, with their numbers.
#[derive(Clone)]
struct Lines<'a> {
    file: &'a str,
    lines: std::iter::Enumerate<std::str::Lines<'a>>,
}

impl<'a> Lines<'a> {
    fn place(&self, number: usize) -> String {
        format!("{}:{number}", self.file)
    }

    fn error(&self, number: usize, what: &str) -> String {
        format!("{}: {what}", self.place(number))
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = (usize, &'a str);
    fn next(&mut self) -> Option<(usize, &'a str)> {
        let mut lines = self.lines.by_ref().map(|(at, line)| (at + 1, line.trim()));
        lines.find(|(_, line)| !line.is_empty() && !line.starts_with('#'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_known_by_the_first_entry() {
        assert_eq!(parse_suppressions("s", "# nothing\n\n"), Ok(Vec::new()));
        let error = parse_suppressions("s.txt", "\n# x\nwhat is this\n").unwrap_err();
        assert!(error.starts_with("s.txt:3: this is no suppression file"), "{error}");
        assert_eq!(parse_suppressions("s", "leak:foo\n").unwrap().len(), 1);
        assert_eq!(parse_suppressions("s", "[a]\nid: HK-DF-00000000\n").unwrap()[0].place, "s:1");
        assert_eq!(parse_suppressions("s", "{\nx\nMemcheck:Free\nfun:a\n}\n").unwrap()[0].name, "x");
    }
}
