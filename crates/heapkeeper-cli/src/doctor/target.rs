//! From what the user typed to the file that the kernel would load: along PATH, and through `#!` lines.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Bytes of a file's start that the kernel looks at for a `#!` line (BINPRM_BUF_SIZE).
const SCRIPT_LINE_BYTES: usize = 256;
/// Interpreters of interpreters that the kernel follows.
const SCRIPT_DEPTH_MAX: usize = 5;
/// What execvp(3) runs scripts without a `#!` line with (_PATH_BSHELL).
const SHELL: &str = "/bin/sh";
/// PATH where none is set, as glibc's execvp has it.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The program file behind a command.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// The ELF file (by its first bytes) that runs in the end.
    pub path: PathBuf,
    /// The scripts that led to it, outermost first; empty if the command is a program itself.
    pub scripts: Vec<PathBuf>,
}

/// Why there is no such file.
#[derive(Debug, PartialEq, Eq)]
pub enum TargetError {
    /// No directory of PATH holds it, or the path does not exist.
    NotFound { name: OsString, named_by: Option<PathBuf> },
    /// It is there, but may not be executed.
    NotExecutable(PathBuf),
    /// A folder, or a device.
    NoFile(PathBuf),
    /// Neither ELF nor script.
    UnknownFormat(PathBuf),
    /// More interpreters of interpreters than the kernel follows.
    TooDeep(PathBuf),
    /// It cannot be read, so nothing can be said about it.
    Unreadable(PathBuf, String),
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TargetError::NotFound { name, named_by: Some(script) } => {
                write!(f, "{} needs {}, which does not exist here", script.display(), name.display())
            }
            TargetError::NotFound { name, .. } if name.is_empty() => {
                f.write_str("the program's name is empty")
            }
            TargetError::NotFound { name, named_by: None } if name.as_bytes().contains(&b'/') => {
                write!(f, "{} does not exist", name.display())
            }
            TargetError::NotFound { name, .. } => write!(f, "{} is in no directory of PATH", name.display()),
            TargetError::NotExecutable(path) => write!(f, "{} is not an executable file", path.display()),
            TargetError::NoFile(path) => write!(f, "{} is no file", path.display()),
            TargetError::UnknownFormat(path) => {
                write!(f, "{} is neither an ELF program nor a script with a #! line", path.display())
            }
            TargetError::TooDeep(path) => {
                write!(f, "{} has more than {SCRIPT_DEPTH_MAX} interpreters of interpreters", path.display())
            }
            TargetError::Unreadable(path, why) => write!(f, "{} cannot be read: {why}", path.display()),
        }
    }
}

impl TargetError {
    /// What follows from it.
    pub fn follows(&self) -> &'static str {
        match self {
            TargetError::NotFound { .. } => "nothing would be started (heapkeeper run ends with status 127)",
            TargetError::NotExecutable(_) => {
                "nothing would be started (heapkeeper run ends with status 126); chmod +x it"
            }
            TargetError::NoFile(_) => "nothing would be started (heapkeeper run ends with status 126)",
            TargetError::UnknownFormat(_) => {
                "the kernel will not start it; name its interpreter, as in: sh FILE"
            }
            TargetError::TooDeep(_) => "the kernel will not start it",
            TargetError::Unreadable(..) => {
                "it may run, but nothing can be said beforehand; look at it as a user who may read it"
            }
        }
    }
}

/// Finds the file. `search_path` is the value of PATH, if set.
pub fn find(command: &OsStr, search_path: Option<&OsStr>) -> Result<Target, TargetError> {
    let mut scripts = Vec::new();
    let mut path = locate(command, search_path, None)?;
    loop {
        let head = read_head(&path)?;
        if head.starts_with(b"\x7fELF") {
            return Ok(Target { path, scripts });
        }
        if !head.starts_with(b"#!") && scripts.is_empty() {
            // What the kernel does not know, execvp(3) gives to the shell.
            let shell = check(PathBuf::from(SHELL), Some(&path))?;
            scripts.push(path);
            path = shell;
            continue;
        }
        let line = script_line(&head).ok_or_else(|| TargetError::UnknownFormat(path.clone()))?;
        if scripts.len() == SCRIPT_DEPTH_MAX {
            return Err(TargetError::TooDeep(scripts.swap_remove(0)));
        }
        let (name, by_path) = interpreter(line).ok_or_else(|| TargetError::UnknownFormat(path.clone()))?;
        // The kernel takes the interpreter's path as it stands; only env(1) looks along PATH.
        let next = if by_path {
            locate(name, search_path, Some(&path))?
        } else {
            check(PathBuf::from(name), Some(&path))?
        };
        scripts.push(path);
        path = next;
    }
}

fn locate(
    name: &OsStr,
    search_path: Option<&OsStr>,
    named_by: Option<&Path>,
) -> Result<PathBuf, TargetError> {
    // An empty name is looked for nowhere, as by execvp(3).
    if name.is_empty() || name.as_bytes().contains(&b'/') {
        return check(PathBuf::from(name), named_by);
    }
    let mut refused = None;
    for dir in search_path.unwrap_or(OsStr::new(DEFAULT_PATH)).as_bytes().split(|&b| b == b':') {
        let dir = if dir.is_empty() { Path::new(".") } else { Path::new(OsStr::from_bytes(dir)) };
        match check(dir.join(name), named_by) {
            Ok(path) => return Ok(path),
            Err(error @ (TargetError::NotExecutable(_) | TargetError::NoFile(_))) => {
                refused = refused.or(Some(error))
            }
            Err(_) => {}
        }
    }
    Err(refused
        .unwrap_or(TargetError::NotFound { name: name.to_owned(), named_by: named_by.map(Path::to_owned) }))
}

fn check(path: PathBuf, named_by: Option<&Path>) -> Result<PathBuf, TargetError> {
    match std::fs::metadata(&path) {
        Ok(meta) if meta.is_file() && meta.permissions().mode() & 0o111 != 0 => Ok(path),
        Ok(meta) if !meta.is_file() => Err(TargetError::NoFile(path)),
        Ok(_) => Err(TargetError::NotExecutable(path)),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(TargetError::NotExecutable(path))
        }
        Err(_) => Err(TargetError::NotFound { name: path.into(), named_by: named_by.map(Path::to_owned) }),
    }
}

fn read_head(path: &Path) -> Result<Vec<u8>, TargetError> {
    let unreadable = |error: std::io::Error| TargetError::Unreadable(path.to_owned(), error.to_string());
    let mut head = Vec::with_capacity(SCRIPT_LINE_BYTES);
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(SCRIPT_LINE_BYTES as u64).read_to_end(&mut head).map_err(unreadable)?;
    Ok(head)
}

/// What stands between `#!` and the line's end.
fn script_line(head: &[u8]) -> Option<&[u8]> {
    let line = head.strip_prefix(b"#!")?.split(|&b| b == b'\n' || b == 0).next()?.trim_ascii();
    (!line.is_empty()).then_some(line)
}

/// The program that a `#!` line ends in, and whether it is looked up along PATH (through env).
fn interpreter(line: &[u8]) -> Option<(&OsStr, bool)> {
    let blank = |b: &u8| *b == b' ' || *b == b'\t';
    let end = line.iter().position(blank).unwrap_or(line.len());
    let (program, argument) = (&line[..end], line[end..].trim_ascii());
    if Path::new(OsStr::from_bytes(program)).file_name() != Some(OsStr::new("env")) || argument.is_empty() {
        return Some((OsStr::from_bytes(program), false));
    }
    let command = match argument.strip_prefix(b"-S").or_else(|| argument.strip_prefix(b"--split-string=")) {
        Some(words) => env_command(words)?,
        // Without -S the kernel hands over everything as one argument.
        None => argument,
    };
    Some((OsStr::from_bytes(command), true))
}

/// The command among env's words: behind its options and NAME=VALUE pairs.
fn env_command(words: &[u8]) -> Option<&[u8]> {
    let mut words = words.split(|b| *b == b' ' || *b == b'\t').filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        match word {
            b"-u" | b"--unset" | b"-C" | b"--chdir" => drop(words.next()),
            _ if word.starts_with(b"-") || word.contains(&b'=') => {}
            _ => return Some(word),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(line: &str) -> Option<(String, bool)> {
        interpreter(script_line(line.as_bytes())?)
            .map(|(name, by_path)| (name.to_str().unwrap().to_owned(), by_path))
    }

    #[test]
    fn reads_script_lines_as_the_kernel_and_env_do() {
        assert_eq!(through("#!/bin/sh -e\nls"), Some(("/bin/sh".into(), false)));
        assert_eq!(through("#! /bin/sh"), Some(("/bin/sh".into(), false)));
        assert_eq!(through("#!/usr/bin/env python3\n"), Some(("python3".into(), true)));
        assert_eq!(through("#!/usr/bin/env -S A=1 -u HOME -i node --x y\n"), Some(("node".into(), true)));
        assert_eq!(through("#!/usr/bin/env --split-string=perl -w"), Some(("perl".into(), true)));
        assert_eq!(through("#!/usr/bin/env python3 -u\n"), Some(("python3 -u".into(), true)));
        assert_eq!(through("#!/usr/bin/env -S A=1\n"), None);
        assert_eq!(through("#!\nls"), None);
        assert_eq!(through("ls"), None);
    }
}
