//! A finding as the demo quotes it: with the small program's source, and in lines that fit.

use hk_report::{Finding, Style, finding_text};
use std::fmt::Write;

/// The small program's text: whoever runs the demo has the program, but rarely its sources in the folder where it was built.
const PROGRAM_SOURCE: &str = include_str!("program.rs");
/// Where the sources lie below the folder in which the command was built.
const SOURCES: &str = "heapkeeper-cli/src/";
/// Columns in which a line has to begin to go on that is broken, and up to which a gap may be in what stands before it.
const HANG: usize = 14;
const HANG_MAX: usize = 39;

/// The finding with paths that begin at `src/`, and the lines that they name from what the command carries.
pub fn with_source(finding: &Finding) -> Finding {
    let mut finding = finding.clone();
    let lives = finding.life.iter_mut().flat_map(|life| life.freed.iter_mut().chain([&mut life.allocated]));
    let stacks = lives.map(|event| &mut event.stack).chain([&mut finding.stack]);
    for frame in stacks.flatten() {
        let Some((_, file)) = frame.file.as_deref().and_then(|file| file.rsplit_once(SOURCES)) else {
            continue;
        };
        let file = file.to_owned();
        frame.source = frame.line.filter(|_| file == "demo/program.rs").and_then(source_line);
        frame.file = Some(file);
    }
    finding
}

fn source_line(number: u32) -> Option<String> {
    let line = PROGRAM_SOURCE.lines().nth(number.checked_sub(1)? as usize)?;
    Some(line.trim().to_owned())
}

/// The finding's lines, broken between words at the width.
pub fn quoted(finding: &Finding, indent: &str, width: usize, style: Style) -> String {
    let mut out = String::new();
    for line in finding_text(&with_source(finding), style).lines() {
        for part in broken(line, width - indent.len()) {
            let _ = writeln!(out, "{indent}{part}");
        }
    }
    out
}

/// A line in as many as it needs. What goes on stands below the text, not below its label.
fn broken(line: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let (mut used, mut hang) = (0, HANG);
    for word in line.split_inclusive(' ') {
        let columns = columns(word);
        // The blank behind the last word may stick out.
        if used + columns > width + usize::from(word.ends_with(' ')) && used > hang {
            lines.push(" ".repeat(hang));
            used = hang;
        }
        lines.last_mut().expect("there is one from the start").push_str(word);
        used += columns;
        if lines.len() == 1 && lines[0].ends_with("  ") && used <= HANG_MAX {
            hang = used;
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

/// Columns that a text takes: its characters, without sequences that set colours.
fn columns(text: &str) -> usize {
    let mut in_sequence = false;
    let shown = text.chars().filter(|&c| {
        let was_in_sequence = in_sequence;
        in_sequence = c == '\x1b' || in_sequence && c != 'm';
        !in_sequence && !was_in_sequence
    });
    shown.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_goes_on_below_its_text_and_colours_take_no_columns() {
        let line = "heapkeeper:   \x1b[1mFIX\x1b[0m  either this or that";
        assert_eq!(broken(line, 40), [line]);
        assert_eq!(
            broken(line, 30),
            ["heapkeeper:   \x1b[1mFIX\x1b[0m  either this", "                   or that"]
        );
        assert_eq!(columns(line), 38);
    }

    #[test]
    fn a_word_that_is_longer_than_a_line_stands_alone() {
        assert_eq!(broken("heapkeeper: aaaaaaaaaaaaaaaaaaaaaaaa b", 16).len(), 2);
    }

    #[test]
    fn lines_of_the_small_program_are_quoted_from_the_command_itself() {
        let frame = hk_report::StackFrame {
            file: Some("/elsewhere/crates/heapkeeper-cli/src/demo/program.rs".into()),
            line: Some(1),
            ..Default::default()
        };
        let finding = Finding { stack: vec![frame], ..Finding::default() };
        let frame = with_source(&finding).stack.remove(0);
        assert_eq!(frame.file.as_deref(), Some("demo/program.rs"));
        assert_eq!(frame.source.as_deref(), PROGRAM_SOURCE.lines().next());
    }
}
