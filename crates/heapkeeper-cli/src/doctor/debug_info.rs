//! Whether reports will show source lines: debug info of the program and of the libraries it asks for.

use super::diagnosis::{Level, Line};
use super::elf::Elf;
use super::libraries::Library;
use super::packages::{self, Advice};
use hk_symbols::DebugFolders;
use std::path::{Path, PathBuf};

/// Where distributions put the debug info that they split off.
const DEBUG_FOLDER: &str = "/usr/lib/debug";
/// Libraries named in one line of those that have debug info.
const NAMED_MAX: usize = 6;

/// A file that a stack may lead through.
struct Module<'a> {
    name: &'a str,
    path: PathBuf,
    elf: &'a Elf,
}

/// One line for the program, one for each direct library without debug info, one for those with.
pub fn lines(program_path: &Path, program: &Elf, libraries: &[Library]) -> Vec<Line> {
    let module = |name, path: &Path, elf| Module {
        name,
        path: std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()),
        elf,
    };
    let program = module("the program", program_path, program);
    let direct = libraries.iter().filter(|library| library.direct);
    let direct = direct.filter_map(|lib| Some(module(&lib.name, lib.path.as_deref()?, &lib.elf)));
    let (with, without): (Vec<_>, Vec<_>) = direct.partition(|module| debug_file(module).is_some());
    let program_file = debug_file(&program);

    let mut missing: Vec<&Path> = without.iter().map(|module| module.path.as_path()).collect();
    missing.extend(program_file.is_none().then_some(program.path.as_path()));
    let advice = packages::advice(&missing);

    let mut lines = vec![match program_file {
        Some(file) => program_line_with(&program, &file),
        None => missing_line(&program, Level::Warning, &advice),
    }];
    lines.extend(without.iter().map(|module| missing_line(module, Level::Note, &advice)));
    lines.extend(with_line(&with));
    lines.extend(advice.archive_line());
    lines
}

fn program_line_with(program: &Module<'_>, file: &Path) -> Line {
    let place = match file == program.path {
        true => "in the program".to_owned(),
        false => format!("of the program in {}", file.display()),
    };
    Line::new(
        Level::Ok,
        format!("debug info {place}"),
        "reports name functions, inlined ones too, with file and line",
    )
}

fn with_line(with: &[Module<'_>]) -> Option<Line> {
    let mut names: Vec<String> = with.iter().take(NAMED_MAX).map(|module| module.name.to_owned()).collect();
    if with.len() > NAMED_MAX {
        names.push(format!("{} more", with.len() - NAMED_MAX));
    }
    let fact = format!("debug info of {} is there", names.join(", "));
    (!with.is_empty())
        .then(|| Line::new(Level::Ok, fact, "frames in these libraries get file and line as well"))
}

fn missing_line(module: &Module<'_>, level: Level, advice: &Advice) -> Line {
    let id = module.elf.build_id.as_deref();
    let shown = match module.elf.has_symbols {
        true => "its frames show functions, but neither lines nor inlined functions",
        false => "its frames show exported functions at most",
    };
    let id_text = id.map_or("it has no build id".to_owned(), |id| format!("build id {id}"));
    let fact = format!("no debug info for {}", module.name);
    Line::new(level, fact, format!("{shown}; {} ({id_text})", advice.how(&module.path, id)))
}

/// The file that holds a module's debug info: found by the code that reports use.
fn debug_file(module: &Module<'_>) -> Option<PathBuf> {
    hk_symbols::find_debug_info(&module.path, &DebugFolders::default()).ok()
}

/// Where the debug info of a build id (in hexadecimal) is installed.
pub fn build_id_path(id: &str) -> Option<PathBuf> {
    let (head, tail) = id.split_at_checked(2)?;
    (!tail.is_empty())
        .then(|| Path::new(DEBUG_FOLDER).join(".build-id").join(head).join(format!("{tail}.debug")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_id_is_a_path() {
        assert_eq!(build_id_path("ab12cd"), Some(PathBuf::from("/usr/lib/debug/.build-id/ab/12cd.debug")));
        assert_eq!(build_id_path("ab"), None);
        assert_eq!(build_id_path(""), None);
    }
}
