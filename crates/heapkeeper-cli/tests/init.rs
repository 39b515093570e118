//! `heapkeeper init`: each snippet is held against the validator of its own format, and then used: what it
//! promises to do with a program that frees a block twice is seen to happen.

mod common;
#[path = "init/harnesses.rs"]
mod harnesses;
#[path = "init/places.rs"]
mod places;

use common::tools::*;
use common::*;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Frees a block twice.
const TWICE: &str = "#include <stdlib.h>\n#include <stdio.h>\nint main(void) {\n\
    void *volatile block = malloc(40);\n    free(block);\n    free(block);\n    puts(\"survived\");\n}\n";
const ONCE: &str =
    "#include <stdlib.h>\nint main(void) {\n    void *volatile block = malloc(40);\n    free(block);\n}\n";
/// The exit status of `heapkeeper check` after a finding.
const NEW_FINDING: i32 = 97;

/// The snippet, as text.
fn snippet(target: &str) -> String {
    text(&succeed(heapkeeper().args(["init", target])).stdout)
}

/// A folder that other users can read, as `tempfile`'s are not.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

fn write(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    path
}

/// Gives the value, or tells why the test is skipped and leaves it.
macro_rules! or_skip {
    ($value:expr) => {
        match $value {
            Ok(value) => value,
            Err(why) => return skip(&why),
        }
    };
}
pub(crate) use or_skip;

/// Runs a script in the shell, and gives what it printed, standard error included.
#[track_caller]
fn script(mut shell: Command, lines: &str) -> String {
    use std::io::Write;
    let mut child =
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{}\n{lines}\n{said}", output.status);
    said
}

#[test]
fn every_snippet_says_where_it_goes_and_how_to_undo_it() {
    for target in ["systemd", "docker", "cargo", "cmake", "pytest", "github"] {
        let text = snippet(target);
        assert!(text.starts_with("# Goes ") && text.ends_with('\n'), "{text}");
        let head: String = text.lines().take_while(|line| line.starts_with('#')).collect();
        assert!(head.contains("Undo: "), "{text}");
    }
}

#[test]
fn only_known_targets_are_taken_and_a_closed_output_is_named() {
    let output = heapkeeper().args(["init", "cron"]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(125), 0));
    assert!(text(&output.stderr).contains("systemd, docker, cargo, cmake, pytest, github"));
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = heapkeeper().args(["init", "cargo"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    let said = text(&output.stderr);
    assert!(said.starts_with("heapkeeper: init: cannot write to standard output: "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// What is shared with others does not hold a path of whoever made it, and does not need the library.
#[test]
fn shared_files_name_no_path_of_this_machine() {
    for target in ["cargo", "cmake", "pytest", "github"] {
        let mut command = heapkeeper();
        let output = succeed(command.args(["init", target]).env_remove("HOME").env_remove("XDG_CACHE_HOME"));
        assert!(!text(&output.stdout).contains(".so"), "{target}");
    }
    let output = heapkeeper().args(["init", "docker"]).env("XDG_CACHE_HOME", "/proc/no").output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(125), 0));
}
