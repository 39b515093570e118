//! The embedded library in the cache folder, and the verbs that are made from the one table.

mod common;

use common::*;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn lib(cache: &Path) -> Command {
    let mut command = heapkeeper();
    command.arg("lib").env("XDG_CACHE_HOME", cache);
    command
}

fn path_of(command: &mut Command) -> PathBuf {
    PathBuf::from(text(&succeed(command).stdout).trim_end())
}

#[test]
fn it_is_unpacked_under_its_hash_for_this_user_alone() {
    let cache = tempfile::tempdir().unwrap();
    let path = path_of(&mut lib(cache.path()));
    let version = text(&succeed(heapkeeper().arg("--version")).stdout);
    let hash = version.trim().split("(library ").nth(1).unwrap().trim_end_matches(')');
    assert_eq!(path, cache.path().join(format!("heapkeeper/libheapkeeper-{hash}.so")));
    assert!(hash.len() >= 16 && std::fs::read(&path).unwrap().starts_with(b"\x7fELF"));
    let mode = std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn many_that_start_at_once_find_it_whole() {
    let cache = tempfile::tempdir().unwrap();
    let children: Vec<_> =
        (0..12).map(|_| lib(cache.path()).stdout(Stdio::piped()).spawn().unwrap()).collect();
    let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    assert!(outputs.iter().all(|output| output.status.success() && output.stdout == outputs[0].stdout));
    let entries = std::fs::read_dir(cache.path().join("heapkeeper")).unwrap();
    assert_eq!(entries.count(), 1, "no temporary file is left");
}

#[test]
fn a_damaged_file_is_replaced() {
    let cache = tempfile::tempdir().unwrap();
    let path = path_of(&mut lib(cache.path()));
    let whole = std::fs::read(&path).unwrap();
    for damage in [&b""[..], &whole[..whole.len() / 2], b"\x7fELF something else"] {
        std::fs::write(&path, damage).unwrap();
        assert_eq!(path_of(&mut lib(cache.path())), path);
        assert!(std::fs::read(&path).unwrap() == whole);
    }
}

#[test]
fn folders_that_cannot_serve_are_named_in_one_line() {
    let cache = tempfile::tempdir().unwrap();
    let file = cache.path().join("file");
    std::fs::write(&file, "").unwrap();
    let spaced = cache.path().join("with space");
    std::fs::create_dir(&spaced).unwrap();
    let open = cache.path().join("open");
    std::fs::create_dir_all(open.join("heapkeeper")).unwrap();
    std::fs::set_permissions(open.join("heapkeeper"), PermissionsExt::from_mode(0o777)).unwrap();
    for folder in [file.as_path(), Path::new("/proc/no"), &spaced, &open] {
        let output = lib(folder).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.starts_with("heapkeeper: ") && said.contains("set XDG_CACHE_HOME"), "{said}");
        assert!(said.contains(folder.to_str().unwrap()), "{said}");
    }
    let output = heapkeeper().arg("lib").env_remove("HOME").env_remove("XDG_CACHE_HOME").output().unwrap();
    assert!(text(&output.stderr).contains("set XDG_CACHE_HOME or HOME"));
}

#[test]
fn uninstall_empties_the_folder_and_leaves_what_is_not_ours() {
    let cache = tempfile::tempdir().unwrap();
    let path = path_of(&mut lib(cache.path()));
    let folder = path.parent().unwrap();
    std::fs::write(folder.join("libheapkeeper-0123456789abcdef.so"), "an older one").unwrap();
    let foreign = folder.join("notes");
    std::fs::write(&foreign, "").unwrap();
    let uninstall = || {
        let mut command = heapkeeper();
        text(&succeed(command.arg("uninstall").env("XDG_CACHE_HOME", cache.path())).stderr)
    };
    uninstall();
    let left: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left.as_slice(), std::slice::from_ref(&foreign));
    std::fs::remove_file(foreign).unwrap();
    uninstall();
    assert!(!folder.exists());
    assert_eq!(uninstall(), "heapkeeper: nothing to remove\n");
}

#[test]
fn help_page_and_completions_name_every_verb() {
    let verbs = ["run", "demo", "doctor", "report", "init", "lib", "uninstall", "man", "completions"];
    let said = |args: &[&str]| text(&succeed(heapkeeper().args(args)).stdout);
    let texts = [
        said(&["--help"]),
        said(&["man"]),
        said(&["completions", "bash"]),
        said(&["completions", "zsh"]),
        said(&["completions", "fish"]),
    ];
    for verb in verbs {
        assert!(texts.iter().all(|text| text.contains(verb)), "{verb}");
    }
    assert!(texts[1].contains(".TH heapkeeper"), "{}", texts[1]);
    assert!(said(&["run", "--help"]).contains("126 if CMD cannot be executed"));
    // The options of `run` are in the page too: it is the one reference.
    assert!(texts[1].contains("on\\-finding"), "{}", texts[1]);
}
