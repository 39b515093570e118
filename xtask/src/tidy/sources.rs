//! Rules for the text of source files: length, words that stand for unfinished work, places of one machine.

use crate::outcome::Verdict;
use crate::process::Run;
use std::path::Path;
use std::time::Duration;

/// Lines of a source file at most. It may be lowered, not raised.
const FILE_LINES_MAX: usize = 800;

/// Words that no file of the project holds, with why. Written apart, so that this file does not hold them.
const BANNED: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "unfinished work"),
    (concat!("FIX", "ME"), "unfinished work"),
    (concat!("XX", "X"), "unfinished work"),
    (concat!("todo", "!("), "unfinished work"),
    (concat!("unimplemented", "!("), "unfinished work"),
    (concat!("dbg", "!("), "left from debugging"),
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/home", "/"), "a path of one machine"),
    (concat!("index.crates", ".io"), "a registry's host"),
    (concat!("static.crates", ".io"), "a registry's host"),
];

/// Where a banned text is the very subject.
const EXEMPT: &[(&str, &str)] = &[];

/// Endings of text files that people wrote.
const TEXT: &[&str] = &["rs", "c", "cpp", "h", "toml", "md", "sh", "py", "json", "yml", "yaml"];

/// Checks every file that git knows.
pub fn check(root: &Path) -> Verdict {
    let words = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let ended = Run::new("git", Duration::from_secs(30)).args(words).folder(root).succeeds()?;
    let mut wrong = Vec::new();
    for name in ended.stdout.lines().filter(|name| is_text(name)) {
        // A file that was deleted and not yet committed is no longer there.
        if let Ok(text) = std::fs::read_to_string(root.join(name)) {
            wrong.extend(complaints(name, &text));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

fn is_text(name: &str) -> bool {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    (TEXT.contains(&ending) || name.starts_with(".ci/")) && !name.starts_with("bench/results/")
}

fn complaints(name: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let lines = text.lines().count();
    if name.ends_with(".rs") && lines > FILE_LINES_MAX {
        wrong.push(format!("{name}: {lines} lines, at most {FILE_LINES_MAX}: look for the seam"));
    }
    for (number, line) in text.lines().enumerate() {
        for (word, why) in BANNED.iter().filter(|(word, _)| holds(line, word)) {
            if !EXEMPT.contains(&(name, word)) {
                wrong.push(format!("{name}:{}: '{word}': {why}", number + 1));
            }
        }
    }
    wrong
}

/// Whether the line holds the word, not as a part of a longer one (`mktemp` has its own use for X).
fn holds(line: &str, word: &str) -> bool {
    let part_of_word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    line.match_indices(word).any(|(at, _)| {
        let starts_as_word = word.starts_with(|c: char| c.is_ascii_alphanumeric());
        let ends_as_word = word.ends_with(|c: char| c.is_ascii_alphanumeric());
        let before = starts_as_word && part_of_word(line[..at].chars().next_back());
        let after = ends_as_word && part_of_word(line[at + word.len()..].chars().next());
        !before && !after
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_words_but_not_parts_of_words() {
        let unfinished = concat!("// TO", "DO: later");
        assert_eq!(complaints("a.rs", unfinished).len(), 1);
        assert!(complaints("a.sh", "mktemp /tmp/a.XXXXXX").is_empty());
        assert_eq!(complaints("a.rs", concat!("path = \"/wo", "rk/main\"")).len(), 1);
    }

    #[test]
    fn long_files_are_named() {
        assert_eq!(complaints("a.rs", &"\n".repeat(FILE_LINES_MAX + 1)).len(), 1);
        assert!(complaints("a.rs", &"\n".repeat(FILE_LINES_MAX)).is_empty());
    }
}
