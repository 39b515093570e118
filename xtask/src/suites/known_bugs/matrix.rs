//! The matrix: which variants of which program there are, and what is expected of each. Read from
//! `victims/known-bugs/matrix.json`, whose groups are products of ways, sizes, distances and lives.

use crate::suites::known_bugs::promise::{self, Promise};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Variants that differ in four dimensions and have the rest in common.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    /// The row of the table.
    class: String,
    /// The program, without its ending.
    program: String,
    /// Its first argument.
    word: String,
    how: Vec<String>,
    bytes: Vec<u64>,
    distance: Vec<u64>,
    life: Vec<String>,
    /// The kind of the finding, or several of which any will do.
    kinds: Vec<String>,
    cwe: Vec<u32>,
    /// Functions on the finding's stacks; without it those of the word's events.
    sites: Option<Vec<String>>,
    /// Reads to the first zero, wherever that is.
    #[serde(default)]
    reads_to_zero: bool,
    /// Tools that cannot see these bugs, and why.
    #[serde(default)]
    misses: BTreeMap<String, String>,
}

/// One bug, and its twin.
#[derive(Clone, Debug)]
pub struct Variant {
    /// The row of the table.
    pub class: String,
    /// The program, without its ending.
    pub program: String,
    /// Its arguments but the last.
    pub words: Vec<String>,
    /// Kinds of which the finding has one.
    pub kinds: Vec<String>,
    /// CWE numbers of which the finding has one.
    pub cwe: Vec<u32>,
    /// Functions that the finding's stacks name, if it is seen when it happens.
    pub sites: Vec<String>,
    /// What blocks at the end of their pages promise.
    pub at_end: Promise,
    /// What both ends promise.
    pub at_both: Promise,
    /// Tools that cannot see it, and why.
    pub misses: BTreeMap<String, String>,
    /// Whether the short run has it: one of each group.
    pub in_sample: bool,
}

impl Variant {
    /// Its name: the program and the arguments.
    pub fn name(&self) -> String {
        format!("{} {}", self.program, self.words.join(" "))
    }

    /// The row of the table: what is not promised has one of its own.
    pub fn row(&self) -> String {
        match self.at_both {
            Promise::Nothing(_) => format!("{} (not promised)", self.class),
            _ => self.class.clone(),
        }
    }
}

/// All variants, in the order of the file.
pub fn read(path: &Path) -> Result<Vec<Variant>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let groups: Vec<Group> = serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(groups.iter().flat_map(Group::variants).collect())
}

impl Group {
    fn variants(&self) -> Vec<Variant> {
        let mut variants = Vec::new();
        for how in &self.how {
            for &bytes in &self.bytes {
                for &distance in &self.distance {
                    let range = promise::Range { width: width_of(how), bytes, distance };
                    if self.is_possible(&range) {
                        variants.extend(self.life.iter().map(|life| self.variant(how, &range, life)));
                    }
                }
            }
        }
        // The one in the middle: neither the smallest block nor the first way.
        let mut promised: Vec<&mut Variant> =
            variants.iter_mut().filter(|v| !matches!(v.at_both, Promise::Nothing(_))).collect();
        let middle = promised.len() / 2;
        if let Some(variant) = promised.get_mut(middle) {
            variant.in_sample = true;
        }
        variants
    }

    /// A wide access may not fit the block, where it has to lie in the block.
    fn is_possible(&self, range: &promise::Range) -> bool {
        let width = range.width.unwrap_or(1);
        match self.word.as_str() {
            "overrun" => width <= range.bytes + range.distance,
            "underrun" => width <= range.bytes + range.distance,
            "use-after-free" | "stale-pointer" => range.distance + width <= range.bytes,
            _ => true,
        }
    }

    fn variant(&self, how: &str, range: &promise::Range, life: &str) -> Variant {
        let number = |n: u64| n.to_string();
        let writes = self.kinds.iter().any(|kind| kind.ends_with("-write"));
        let promise = |side| match self.word.as_str() {
            "overrun" if self.class == "containers" => Promise::AtOnce,
            "overrun" if self.reads_to_zero => promise::of_text(range),
            "overrun" => promise::of_overrun(range, writes),
            "underrun" => promise::of_underrun(range, writes, side),
            _ => Promise::AtOnce,
        };
        Variant {
            class: self.class.clone(),
            program: self.program.clone(),
            words: vec![
                self.word.clone(),
                how.into(),
                number(range.bytes),
                number(range.distance),
                life.into(),
            ],
            kinds: self.kinds.clone(),
            cwe: self.cwe.clone(),
            sites: self.sites.clone().unwrap_or_else(|| sites_of(&self.word)),
            at_end: promise(promise::Side::End),
            at_both: promise(promise::Side::Both),
            misses: self.misses.clone(),
            in_sample: false,
        }
    }
}

/// The functions whose calls make the bug.
fn sites_of(word: &str) -> Vec<String> {
    let sites: &[&str] = match word {
        "use-after-free" | "stale-pointer" | "double-free" => &["alloc_site", "free_site", "bug_site"],
        _ => &["alloc_site", "bug_site"],
    };
    sites.iter().map(|site| site.to_string()).collect()
}

/// `read8`: eight bytes. Without a number: the whole range.
fn width_of(how: &str) -> Option<u64> {
    if how == "read" || how == "write" {
        return None;
    }
    how.strip_prefix("read").or(how.strip_prefix("write")).and_then(|digits| digits.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_is_sound() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../victims/known-bugs/matrix.json");
        let variants = read(&path).unwrap();
        let mut names: Vec<String> = variants.iter().map(Variant::name).collect();
        names.sort();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all, "a variant is there twice");
        assert!((20..=80).contains(&variants.iter().filter(|v| v.in_sample).count()));
    }

    #[test]
    fn widths_stand_at_the_end_of_the_way() {
        assert_eq!(width_of("read32"), Some(32));
        assert_eq!(width_of("memcpy-to"), None);
        assert_eq!(width_of("readv"), None);
    }
}
