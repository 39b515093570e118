//! What a program file is, as far as it decides whether our library can be loaded into it.

use crate::os;
use object::elf::{EM_AARCH64, EM_X86_64, Machine, PT_INTERP};
use object::read::ReadCache;
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{FileKind, LittleEndian};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Interpreters of interpreters that the kernel follows.
const SCRIPT_DEPTH_MAX: usize = 5;
/// Bytes of a script's first line that the kernel reads.
const SCRIPT_LINE_BYTES: usize = 256;
/// PATH where none is set, as execvp has it.
const DEFAULT_PATH: &str = "/bin:/usr/bin";
/// The machine that our library is made for.
const OUR_MACHINE: Machine = if cfg!(target_arch = "aarch64") { EM_AARCH64 } else { EM_X86_64 };

/// The file that execvp would take for a command; None if there is none.
pub fn find(command: &OsStr) -> Option<PathBuf> {
    let executable = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    if command.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(command)).filter(executable);
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    std::env::split_paths(&path).map(|folder| folder.join(command)).find(executable)
}

/// Why our library cannot be loaded into a program, in a few words; None if nothing speaks against it, or
/// the file cannot be read.
pub fn obstacle(path: &Path) -> Option<String> {
    let mut path = path.to_path_buf();
    for depth in 0..=SCRIPT_DEPTH_MAX {
        if let Some(interpreter) = script_interpreter(&path) {
            path = interpreter;
            continue;
        }
        let what = program_obstacle(&path)?;
        return Some(match depth {
            0 => what,
            _ => format!("it is a script, and its interpreter {}: {what}", path.display()),
        });
    }
    None
}

/// The same where a program was started and did not report in: there is always something to say.
pub fn explain(path: &Path) -> String {
    obstacle(path).unwrap_or_else(|| match path.exists() {
        true => "nothing was heard of it: it ended at once, its start ignored LD_PRELOAD, or it could not open the library or the \
                 recording (its address space is limited, it is another user's or in a sandbox)"
            .into(),
        false => "nothing was heard of it, and its file is gone".into(),
    })
}

/// Whether a loader would complain, or fail, if the library were put under this program itself.
pub fn refuses_preload(path: &Path) -> bool {
    matches!(elf_kind(path), Some(Elf::OtherMachine | Elf::Musl))
}

fn script_interpreter(path: &Path) -> Option<PathBuf> {
    let mut head = Vec::new();
    let file = open(path)?;
    file.take(SCRIPT_LINE_BYTES as u64).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|&b| b == b'\n').next()?;
    let word = line.split(|&b| b == b' ' || b == b'\t').find(|word| !word.is_empty())?;
    Some(PathBuf::from(OsString::from_vec(word.to_vec())))
}

/// Opening a FIFO would wait for a writer.
fn open(path: &Path) -> Option<File> {
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    File::open(path).ok()
}

fn program_obstacle(path: &Path) -> Option<String> {
    let text = match elf_kind(path)? {
        Elf::OtherMachine => "it is not a 64-bit program of this machine",
        Elf::Static => "it is statically linked, so nothing can be preloaded into it",
        Elf::Musl => "it is made for musl, and our library for glibc",
        Elf::Dynamic => return privileges(path).map(str::to_owned),
    };
    Some(text.to_owned())
}

/// The loader ignores LD_PRELOAD for programs that gain rights by being started.
fn privileges(path: &Path) -> Option<&'static str> {
    let metadata = std::fs::metadata(path).ok()?;
    let (mode, (user, group)) = (metadata.mode(), os::real_ids());
    if mode & libc::S_ISUID != 0 && metadata.uid() != user {
        return Some("it is setuid, and the loader ignores LD_PRELOAD for it");
    }
    // Without the group's execute bit, setgid is a mark for locking.
    let set_group = libc::S_ISGID | libc::S_IXGRP;
    if mode & set_group == set_group && metadata.gid() != group {
        return Some("it is setgid, and the loader ignores LD_PRELOAD for it");
    }
    let gains = user != 0 && os::has_capabilities(path);
    gains.then_some("it has file capabilities, and the loader ignores LD_PRELOAD for it")
}

/// What matters of an ELF program.
enum Elf {
    OtherMachine,
    Static,
    Musl,
    Dynamic,
}

/// None if the file is no ELF file or cannot be read.
fn elf_kind(path: &Path) -> Option<Elf> {
    let cache = ReadCache::new(open(path)?);
    match FileKind::parse(&cache).ok()? {
        FileKind::Elf32 => return Some(Elf::OtherMachine),
        FileKind::Elf64 => {}
        _ => return None,
    }
    let Ok(elf) = ElfFile64::<LittleEndian, _>::parse(&cache) else { return Some(Elf::OtherMachine) };
    if elf.elf_header().e_machine.get(LittleEndian) != OUR_MACHINE {
        return Some(Elf::OtherMachine);
    }
    let interpreter = elf.elf_program_headers().iter().find(|h| h.p_type(LittleEndian) == PT_INTERP);
    let Some(interpreter) = interpreter else { return Some(Elf::Static) };
    let name = interpreter.data(LittleEndian, &cache).ok()?;
    let is_musl = name.windows(7).any(|part| part == b"ld-musl");
    Some(if is_musl { Elf::Musl } else { Elf::Dynamic })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn script(line: &str) -> tempfile::TempPath {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(line.as_bytes()).unwrap();
        file.into_temp_path()
    }

    #[test]
    fn finds_commands_as_execvp_does() {
        assert!(find(OsStr::new("sh")).unwrap().is_absolute());
        assert_eq!(find(OsStr::new("/bin/sh")), Some("/bin/sh".into()));
        assert_eq!(find(OsStr::new("/etc/passwd")), None);
        assert_eq!(find(OsStr::new("no-such-command-anywhere")), None);
    }

    #[test]
    fn dynamic_programs_and_their_scripts_have_no_obstacle() {
        assert_eq!(obstacle(Path::new("/bin/sh")), None);
        assert_eq!(obstacle(&script("#! /bin/sh -e\necho")), None);
        assert_eq!(obstacle(Path::new("/etc/passwd")), None);
        assert!(!refuses_preload(Path::new("/bin/sh")));
    }

    #[test]
    fn static_programs_and_scripts_of_theirs_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let (source, program) = (folder.path().join("x.c"), folder.path().join("x"));
        std::fs::write(&source, "int main(void) { return 0; }").unwrap();
        let gcc =
            std::process::Command::new("gcc").args(["-static", "-o"]).arg(&program).arg(&source).status();
        assert!(gcc.unwrap().success());
        assert!(obstacle(&program).unwrap().contains("statically linked"));
        let text = obstacle(&script(&format!("#!{}\n", program.display()))).unwrap();
        assert!(text.starts_with("it is a script, and its interpreter"), "{text}");
    }

    #[test]
    fn a_32_bit_program_refuses_the_library() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut head = vec![0u8; 64];
        head[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
        file.write_all(&head).unwrap();
        assert!(refuses_preload(file.path()));
        assert!(obstacle(file.path()).unwrap().contains("not a 64-bit program"));
    }

    #[test]
    fn a_script_that_interprets_itself_ends() {
        let path = script("");
        std::fs::write(&path, format!("#!{}\n", path.display())).unwrap();
        assert_eq!(obstacle(&path), None);
    }
}
