//! `heapkeeper demo`, run as a user runs it: everything that it shows is checked against what has to happen.

use std::process::{Command, Output};

/// The source of the small program: the lines that reports have to name are looked up in it.
const PROGRAM: &str = include_str!("../src/demo/program.rs");

fn demo(arguments: &[&str]) -> Output {
    let cache = tempfile::tempdir().expect("a temporary folder");
    Command::new(env!("CARGO_BIN_EXE_heapkeeper"))
        .arg("demo")
        .args(arguments)
        .env("XDG_CACHE_HOME", cache.path())
        .output()
        .expect("heapkeeper")
}

fn shown(arguments: &[&str]) -> String {
    let output = demo(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(errors.is_empty(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains('\x1b'), "colour where no terminal is");
    text
}

/// The lines of one way: to the next headline, or the end.
fn section<'a>(text: &'a str, title: &str) -> &'a str {
    let start = text.find(title).unwrap_or_else(|| panic!("no {title:?} in:\n{text}"));
    let rule = text[start..].find('─').map_or(start, |at| start + at);
    let headline = rule + text[rule..].find('\n').unwrap_or(0);
    let end = text[headline..].find("──").map_or(text.len(), |len| headline + len);
    &text[start..end]
}

/// Where the small program makes the wrong call of this function: `demo/program.rs:LINE`.
fn wrong_line(function: &str) -> String {
    let mut lines =
        PROGRAM.lines().enumerate().skip_while(|(_, line)| !line.contains(&format!("fn {function}(")));
    let (comment, _) = lines.find(|(_, line)| line.contains("SAFETY: none. Wrong:")).expect("a wrong call");
    // The call stands below its comment, and lines are counted from one.
    format!("demo/program.rs:{}", comment + 2)
}

#[test]
fn the_whole_demo_shows_what_goes_wrong_and_what_is_caught() {
    let text = shown(&[]);
    assert!(text.starts_with("A small program totals four orders"), "{text}");

    let right = section(&text, "1  freed after their last use");
    assert_eq!(right.matches("total 10, packed 3+3+2+2").count(), 2, "{right}");
    assert!(right.contains("right, nothing to report"), "{right}");

    let leak = section(&text, "2  never freed");
    assert!(leak.contains("right, NOT YET CAUGHT") && leak.contains("Leaks are not yet reported."), "{leak}");
    let numbers: Vec<u64> = leak
        .rsplit("tells:")
        .next()
        .unwrap()
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|n| n.parse().ok())
        .collect();
    // "N blocks are live, against M in way 1": the one block that was not freed.
    assert_eq!(numbers[0], numbers[1] + 1, "{leak}");

    let read = section(&text, "3  freed before the loop");
    assert!(read.contains("total 36, packed 9+9+9+9") && read.contains("WRONG, no word of it"), "{read}");
    assert!(read.contains("NOT YET CAUGHT") && read.contains("Reads are not yet watched."), "{read}");

    assert!(text.contains("Heapkeeper caught 2"), "{text}");
    assert!(text.contains("Not yet caught: never, before-the-loop."), "{text}");
}

#[test]
fn the_double_free_is_caught_with_its_line_and_the_answer_is_right() {
    let text = shown(&["--only", "twice"]);
    assert!(text.contains("total 10, packed 9+9+9+9"), "the system's malloc gave no wrong answer: {text}");
    assert!(text.contains("right, and CAUGHT"), "{text}");
    assert!(
        text.contains("heapkeeper: double free (CWE-415): freed_twice() frees a 32-byte block"),
        "{text}"
    );
    let line = wrong_line("freed_twice");
    assert!(text.contains(&format!("#0 freed_twice  {line}")), "no {line} in: {text}");
    assert!(
        text.contains(&format!("the source at {line}:  unsafe {{ libc::free(orders.cast()) }};")),
        "{text}"
    );
}

#[test]
fn the_invalid_free_is_caught_with_its_line_and_the_program_lives_on() {
    let text = shown(&["--only", "wrong-address"]);
    assert!(text.contains("killed by SIGABRT") && text.contains("DEAD, no word of where"), "{text}");
    assert!(text.contains("right, and CAUGHT"), "{text}");
    assert!(
        text.contains("heapkeeper: invalid free (CWE-761): freed_from_the_wrong_address() frees"),
        "{text}"
    );
    assert!(text.contains("24 bytes inside a 32-byte block that is allocated"), "{text}");
    let line = wrong_line("freed_from_the_wrong_address");
    assert!(text.contains(&format!("#0 freed_from_the_wrong_address  {line}")), "no {line} in: {text}");
}

#[test]
fn lines_fit_a_terminal() {
    // A report's lines are as long as names and paths are.
    for line in shown(&[]).lines().filter(|line| !line.contains("heapkeeper: ")) {
        assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
    }
}
