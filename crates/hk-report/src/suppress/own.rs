//! Our format: blocks that begin with `[NAME]`, of lines `key: value`.

use super::stack::FramePattern;
use super::{Date, Lines, Stack, Suppression, Target};
use crate::names::{KINDS, kind_name};

const KEYS: &str = "id, kind, frame, in, until, max, why, owner";

/// The text that suppresses one bug: to be copied into a file.
pub fn by_id(id: &str, title: &str) -> [String; 3] {
    [format!("[{title}]"), format!("id: {id}"), "why:".into()]
}

/// A block that is being read.
#[derive(Default)]
struct Block {
    number: usize,
    name: String,
    id: Option<String>,
    kinds: Vec<String>,
    which: Option<Stack>,
    frames: Vec<FramePattern>,
    until: Option<Date>,
    max: Option<u64>,
    why: Option<String>,
    owner: Option<String>,
}

pub(super) fn parse(mut lines: Lines<'_>) -> Result<Vec<Suppression>, String> {
    let mut found = Vec::new();
    let mut block: Option<Block> = None;
    while let Some((number, line)) = lines.next() {
        let error = |what: &str| lines.error(number, what);
        if let Some(name) = line.strip_prefix('[') {
            let name = name.strip_suffix(']').map(str::trim).filter(|name| !name.is_empty());
            let name = name.ok_or_else(|| error("a suppression begins with its name in brackets: [NAME]"))?;
            if let Some(done) = block.take() {
                found.push(done.finish(&lines)?);
            }
            block = Some(Block { number, name: name.into(), ..Block::default() });
            continue;
        }
        let block = block.as_mut().ok_or_else(|| error("this stands before the first [NAME]"))?;
        let (key, value) = line
            .split_once(':')
            .ok_or_else(|| error(&format!("expected 'key: value', with one of the keys {KEYS}")))?;
        block.set(key.trim(), value.trim()).map_err(|what| error(&what))?;
    }
    if let Some(done) = block {
        found.push(done.finish(&lines)?);
    }
    Ok(found)
}

impl Block {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            // Notes may wait for their text.
            "why" => self.why = Some(value.into()).filter(|text: &String| !text.is_empty()),
            "owner" => self.owner = Some(value.into()).filter(|text: &String| !text.is_empty()),
            _ if value.is_empty() => {
                return Err(format!("'{key}:' has no value: remove the line or give one"));
            }
            "id" if !value.starts_with("HK-") => {
                return Err(format!(
                    "'{value}' is no id: it has the form HK-DF-1234abcd, as reports show it"
                ));
            }
            "id" => self.id = Some(value.into()),
            "kind" => self.kinds.push(kind(value)?),
            "frame" => self.frames.push(frame(value)),
            "in" => self.which = Some(stack(value)?),
            "until" => {
                let wrong = || {
                    format!("'{value}' is no day: give it as 2027-03-31, the last day on which this holds")
                };
                self.until = Some(Date::parse(value).ok_or_else(wrong)?);
            }
            "max" => {
                let number = value.parse().ok().filter(|&number| number > 0);
                self.max =
                    Some(number.ok_or_else(|| format!("'{value}' is no number of bad calls above 0"))?);
            }
            _ => return Err(format!("no key '{key}': use one of {KEYS}")),
        }
        Ok(())
    }

    fn finish(self, lines: &Lines<'_>) -> Result<Suppression, String> {
        let error = |what: &str| Err(lines.error(self.number, &format!("[{}]: {what}", self.name)));
        let target = match self.id {
            Some(_) if !self.frames.is_empty() || self.which.is_some() => {
                return error("give either an id or frames: an id names one bug already");
            }
            Some(id) => Target::Id(id),
            None if self.frames.iter().all(|frame| *frame == FramePattern::Any) => {
                return error("it would suppress everything: give an 'id:' or a 'frame:' that is not '...'");
            }
            None => Target::Frames(self.which, self.frames),
        };
        Ok(Suppression {
            until: self.until,
            max: self.max,
            why: self.why,
            owner: self.owner,
            kinds: self.kinds,
            ..Suppression::new(&self.name, lines.place(self.number), target)
        })
    }
}

fn kind(value: &str) -> Result<String, String> {
    let names: Vec<&str> = KINDS.iter().map(|&kind| kind_name(kind)).collect();
    match names.contains(&value) {
        true => Ok(value.into()),
        false => Err(format!("no kind '{value}': use one of {}", names.join(", "))),
    }
}

fn frame(value: &str) -> FramePattern {
    if value == "..." {
        return FramePattern::Any;
    }
    match (value.strip_prefix("module:"), value.strip_prefix("file:")) {
        (Some(module), _) => FramePattern::Module(module.trim().into()),
        (_, Some(file)) => FramePattern::source(file.trim()),
        _ => FramePattern::Function(value.into()),
    }
}

fn stack(value: &str) -> Result<Stack, String> {
    match value {
        "misuse" => Ok(Stack::Misuse),
        "allocated" => Ok(Stack::Allocated),
        "freed" => Ok(Stack::Freed),
        _ => Err(format!("'{value}' is no stack: use misuse, allocated or freed")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_suppressions;
    use super::*;

    #[test]
    fn a_block_has_a_name_a_target_and_an_end() {
        let text = "
# known since 1.4
[ table of libshop ]
kind: double-free
kind: use-after-free
in: freed
frame: shop_close*
frame: ...
frame: module:libshop.so*
frame: file:*/orders.c:12
until: 2027-03-31
max: 3
why: fixed in 2.0
owner: shop team

[one bug]
id: HK-DF-1234abcd
why:
";
        let found = parse_suppressions("s.txt", text).unwrap();
        assert_eq!(found.len(), 2);
        let first = &found[0];
        assert_eq!((first.name.as_str(), first.place.as_str()), ("table of libshop", "s.txt:3"));
        assert_eq!(first.kinds, ["double-free", "use-after-free"]);
        assert_eq!((first.until, first.max), (Date::parse("2027-03-31"), Some(3)));
        assert_eq!((first.why.as_deref(), first.owner.as_deref()), (Some("fixed in 2.0"), Some("shop team")));
        let frames = vec![
            FramePattern::Function("shop_close*".into()),
            FramePattern::Any,
            FramePattern::Module("libshop.so*".into()),
            FramePattern::Source("*/orders.c".into(), Some(12)),
        ];
        assert_eq!(first.target, Target::Frames(Some(Stack::Freed), frames));
        assert_eq!((&found[1].target, &found[1].why), (&Target::Id("HK-DF-1234abcd".into()), &None));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, expected) in [
            ("[a\nid: HK-1", "s:1: a suppression begins with its name in brackets"),
            ("[a]\nspeed 11", "s:2: expected 'key: value'"),
            ("[a]\nspeed: 11", "s:2: no key 'speed': use one of id, kind"),
            ("[a]\nkind: leek", "s:2: no kind 'leek': use one of double-free, "),
            ("[a]\nid: 1234abcd", "s:2: '1234abcd' is no id"),
            ("[a]\nuntil: 31.3.2027", "s:2: '31.3.2027' is no day"),
            ("[a]\nmax: 0", "s:2: '0' is no number"),
            ("[a]\nin: stack", "s:2: 'stack' is no stack"),
            ("[a]\nframe:", "s:2: 'frame:' has no value"),
            ("[a]\nkind: double-free", "s:1: [a]: it would suppress everything"),
            ("[a]\nframe: ...\n[b]\nframe: x", "s:1: [a]: it would suppress everything"),
            ("[a]\nid: HK-DF-1\nframe: x", "s:1: [a]: give either an id or frames"),
        ] {
            let error = parse_suppressions("s", text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn the_text_for_one_bug_reads_back() {
        let text = by_id("HK-DF-1234abcd", "double free in release()").join("\n");
        let found = parse_suppressions("s", &text).unwrap();
        assert_eq!(found[0].target, Target::Id("HK-DF-1234abcd".into()));
    }
}
