//! `heapkeeper doctor`: whether a program can run on our heap, and what would be missing.
//!
//! Nothing is started. The command is followed to the file that the kernel would load ([`target`]), that file
//! and its libraries are read ([`elf`], [`libraries`]), and what the system allows is asked or tried
//! ([`limits`], [`kernel`], [`probe`]). Each check gives lines ([`diagnosis::Line`]): a fact, and what follows
//! from it. The worst line decides the verdict.

mod debug_info;
mod diagnosis;
mod elf;
mod environment;
mod kernel;
mod libraries;
mod limits;
pub mod packages;
mod privileges;
mod probe;
mod program;
mod signs;
mod target;

use crate::{Failure, VerbResult};
use diagnosis::{Diagnosis, Level, Line};
use elf::{Elf, Ident};
use hk_report::Style;
use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use target::Target;

/// Whether the system tells which memory is written to, so that a quarantine can be swept while the program runs.
pub fn tracks_writes() -> bool {
    probe::userfault_write_protection().is_ok() && probe::pagemap_scan().is_ok()
}

/// Options of `heapkeeper doctor`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Exit status: 0 if the program will run on our heap (also with limits), 1 if it will not."
)]
pub struct Args {
    /// The program to look at; its arguments are not looked at
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "CMD")]
    #[arg(value_hint = clap::ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

/// Runs the verb: exit status 0 if the program will run on our heap, 1 if not, 125 if the text cannot be written.
pub fn run(args: &Args) -> VerbResult {
    let diagnosis = diagnose(&args.command[0]);
    let mut out = std::io::stdout();
    let colour = Style::for_output(out.is_terminal()) == Style::Colour;
    out.write_all(diagnosis.render(colour).as_bytes())
        .map_err(|error| Failure::new(format!("doctor: standard output cannot be written: {error}")))?;
    Ok(ExitCode::from(diagnosis.verdict().exit_status()))
}

/// The files of the libraries that a program is linked to, and those of theirs.
pub fn library_files(program: &Path) -> Vec<PathBuf> {
    let Ok(elf) = Elf::read(program) else { return Vec::new() };
    libraries::all(program, &elf).into_iter().filter_map(|library| library.path).collect()
}

/// Looks at everything that a run of this command would meet.
fn diagnose(command: &OsStr) -> Diagnosis {
    let mut diagnosis = Diagnosis::default();
    match target::find(command, std::env::var_os("PATH").as_deref()) {
        Ok(target) => look_at(&mut diagnosis, &target),
        Err(error) => {
            diagnosis.add("program", vec![Line::new(Level::Problem, error.to_string(), error.follows())]);
        }
    }
    diagnosis.add("environment", environment::lines());
    diagnosis.add("limits", limits::lines());
    diagnosis.add("kernel", kernel::lines());
    diagnosis
}

/// Looks at the program's file and, where they can be read, at its libraries.
fn look_at(diagnosis: &mut Diagnosis, target: &Target) {
    let path = target.path.as_path();
    let mut lines = vec![Line::new(Level::Ok, format!("the program is {}", path.display()), file_note(path))];
    lines.extend(program::script_line(target));
    let (elf, libraries) = match read(path) {
        Ok(elf) => {
            let libraries = libraries::all(path, &elf);
            (elf, libraries)
        }
        Err(line) => {
            lines.push(line);
            return diagnosis.add("program", lines);
        }
    };
    lines.extend(program::linkage_lines(path, &elf));
    lines.extend(program::missing_library_lines(&libraries));
    diagnosis.add("program", lines);
    diagnosis.add("allocators", program::allocator_lines(&elf, &libraries));
    diagnosis.add("debug info", debug_info::lines(path, &elf, &libraries));
}

fn file_note(path: &Path) -> String {
    match (std::fs::symlink_metadata(path), std::fs::canonicalize(path)) {
        (Ok(meta), Ok(real)) if meta.is_symlink() => {
            format!("a link to {}, which is read; nothing is started", real.display())
        }
        _ => "its file and those of its libraries are read; nothing is started".to_owned(),
    }
}

/// Reads the program, or says in a line why it cannot be covered or judged.
fn read(path: &Path) -> Result<Elf, Line> {
    let unreadable = |why: String| {
        Line::new(
            Level::Problem,
            format!("{} cannot be read as an ELF program: {why}", path.display()),
            "the kernel will most likely not start it",
        )
    };
    let mut head = [0; 20];
    std::fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut head))
        .map_err(|e| unreadable(e.to_string()))?;
    let ident = Ident::read(&head).ok_or_else(|| unreadable("it does not begin as one".to_owned()))?;
    if !ident.is_ours() {
        return Err(program::other_machine_line(ident));
    }
    Elf::read(path).map_err(unreadable)
}
