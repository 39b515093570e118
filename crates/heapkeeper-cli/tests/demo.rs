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

/// Where the small program does this in this function: `demo/program.rs:LINE`.
fn line_of(function: &str, what: &str) -> String {
    let mut lines =
        PROGRAM.lines().zip(1..).skip_while(|(line, _)| !line.contains(&format!("fn {function}(")));
    let (_, number) = lines.find(|(line, _)| line.contains(what)).expect("a line of the small program");
    format!("demo/program.rs:{number}")
}

/// Where the small program makes the wrong call of this function, which stands below its comment.
fn wrong_line(function: &str) -> String {
    let mut lines =
        PROGRAM.lines().zip(1..).skip_while(|(line, _)| !line.contains(&format!("fn {function}(")));
    let (_, comment) = lines.find(|(line, _)| line.contains("SAFETY: none. Wrong:")).expect("a wrong call");
    format!("demo/program.rs:{}", comment + 1)
}

/// The text without its line breaks: long lines of a finding are broken to fit a terminal.
fn unbroken(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_whole_demo_shows_what_goes_wrong_and_what_is_caught() {
    let text = shown(&[]);
    assert!(text.starts_with("A small program totals four orders"), "{text}");

    let right = section(&text, "1  freed after their last use");
    assert_eq!(right.matches("total 10, packed 3+3+2+2").count(), 2, "{right}");
    assert!(right.contains("right, nothing to report"), "{right}");

    let leak = section(&text, "2  never freed");
    let line = line_of("never_freed", "= new_vector(");
    let sentence = "a 32-byte block that new_vector() allocated is lost: nothing points at it";
    assert!(leak.contains("right, and CAUGHT") && unbroken(leak).contains(sentence), "{leak}");
    assert!(unbroken(leak).contains(&format!("← never_freed {line}")), "{leak}");

    assert!(text.contains("3 of 5 ways went wrong. Heapkeeper caught 4 and made 3 of these"), "{text}");
    assert!(text.contains("Not yet caught: none."), "{text}");
    assert_eq!(text.matches("exit status 97      ").count(), 4, "{text}");
}

#[test]
fn the_read_after_free_is_caught_with_all_three_lines() {
    let text = shown(&["--only", "before-the-loop"]);
    assert!(text.contains("total 36, packed 9+9+9+9") && text.contains("WRONG, no word of it"), "{text}");
    // What was in the block is gone: no stranger's data is read.
    assert!(text.contains("total 0, packed 0+0+0+0") && text.contains("WRONG, but CAUGHT"), "{text}");
    let text = unbroken(&text);
    let sentence = "heapkeeper: use after free (CWE-416): add_up() reads 8 bytes at the start of a 32-byte block that \
                    put_away() had freed";
    assert!(text.contains(sentence), "{text}");
    let function = "freed_before_the_loop";
    let call = line_of(function, "= new_vector(");
    assert!(text.contains(&format!("← {function} {call} thread orders")), "no {call} in: {text}");
    let free = line_of("put_away", "libc::free(");
    assert!(text.contains(&format!("put_away {free} thread clerk")), "no {free} in: {text}");
    let read = line_of("add_up", "read_volatile()");
    assert!(text.contains(&format!("add_up {read} ← {function}")), "no {read} in: {text}");
    assert!(text.contains("| total += unsafe { order.read_volatile() };"), "{text}");
}

#[test]
fn the_double_free_is_caught_with_its_line_and_the_answer_is_right() {
    let text = shown(&["--only", "twice"]);
    assert!(text.contains("total 10, packed 9+9+9+9"), "the system's malloc gave no wrong answer: {text}");
    assert!(text.contains("right, and CAUGHT"), "{text}");
    let text = unbroken(&text);
    let sentence =
        "heapkeeper: double free (CWE-415): freed_twice() frees a 32-byte block that freed_twice() had freed";
    assert!(text.contains(sentence), "{text}");
    let source = "| unsafe { libc::free(orders.cast()) };";
    let (first, second) = (line_of("freed_twice", "libc::free("), wrong_line("freed_twice"));
    for line in [first, second] {
        assert!(text.contains(&format!("us freed_twice {line} thread orders")), "no {line} in: {text}");
    }
    assert_eq!(text.matches(source).count(), 2, "{text}");
}

#[test]
fn the_invalid_free_is_caught_with_its_line_and_the_program_lives_on() {
    let text = shown(&["--only", "wrong-address"]);
    assert!(text.contains("killed by SIGABRT") && text.contains("DEAD, no word of where"), "{text}");
    assert!(text.contains("exit status 97      right, and CAUGHT"), "{text}");
    let text = unbroken(&text);
    let sentence = "heapkeeper: invalid free (CWE-761): freed_from_the_wrong_address() frees an address 24 bytes \
                    inside a 32-byte block that is allocated";
    assert!(text.contains(sentence), "{text}");
    let line = wrong_line("freed_from_the_wrong_address");
    assert!(text.contains(&format!("freed_from_the_wrong_address {line}")), "no {line} in: {text}");
}

#[test]
fn the_page_has_what_was_found_in_all_ways() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("demo.html");
    shown(&["--html", file.to_str().expect("a path")]);
    let page = std::fs::read_to_string(file).expect("a page");
    assert!(page.contains("<h1>5 memory bugs in heapkeeper</h1>"), "{page}");
    for kind in ["Leak", "Use after free", "Double free", "Invalid free"] {
        assert!(page.contains(&format!("<span class=\"kind\">{kind}</span>")), "no {kind} in: {page}");
    }
    assert!(page.contains("total += unsafe { order.read_volatile() };"), "{page}");
}

#[test]
fn lines_fit_a_terminal() {
    for line in shown(&[]).lines() {
        assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
    }
}
