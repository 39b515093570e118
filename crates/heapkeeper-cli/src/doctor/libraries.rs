//! The shared libraries of a program, found as the loader of glibc finds them.

use super::elf::{Elf, Ident};
use std::collections::{HashMap, HashSet, VecDeque};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Libraries that are looked at; more than any real program has.
const LIBRARY_COUNT_MAX: usize = 1024;
/// Where the loader looks last.
const DEFAULT_FOLDERS: &[&str] = &[
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];
/// The loader's index of libraries, written by ldconfig.
const CACHE_FILE: &str = "/etc/ld.so.cache";

/// A library of the program.
#[derive(Debug)]
pub struct Library {
    /// The name that it was asked for by.
    pub name: String,
    /// Where it is; None: not found.
    pub path: Option<PathBuf>,
    /// What it says about itself; empty if it could not be read.
    pub elf: Elf,
    /// Whether the program itself asks for it, not only another library.
    pub direct: bool,
}

/// Finds all libraries that will be loaded at the start, in the loader's order.
pub fn all(program_path: &Path, program: &Elf) -> Vec<Library> {
    let search = Search::new(program_path, program);
    let mut seen: HashSet<String> = HashSet::new();
    let mut found = Vec::new();
    let mut queue: VecDeque<(String, Vec<String>)> = VecDeque::new();
    let enqueue = |queue: &mut VecDeque<_>, path: &Path, elf: &Elf| {
        let runpath = origin_expanded(&elf.runpath, path);
        queue.extend(elf.needed.iter().map(|name| (name.clone(), runpath.clone())));
    };
    enqueue(&mut queue, program_path, program);
    while let Some((name, runpath)) = queue.pop_front() {
        if found.len() == LIBRARY_COUNT_MAX || !seen.insert(name.clone()) {
            continue;
        }
        let path = search.find(&name, &runpath);
        let elf = path.as_deref().and_then(|path| Elf::read(path).ok()).unwrap_or_default();
        if let Some(path) = &path {
            enqueue(&mut queue, path, &elf);
        }
        let direct = program.needed.contains(&name);
        found.push(Library { name, path, elf, direct });
    }
    found
}

/// Where the loader looks, in its order.
struct Search {
    rpath: Vec<String>,
    environment: Vec<String>,
    cache: HashMap<String, Vec<PathBuf>>,
}

impl Search {
    fn new(program_path: &Path, program: &Elf) -> Self {
        // DT_RPATH counts only where there is no DT_RUNPATH.
        let rpath = if program.runpath.is_empty() {
            origin_expanded(&program.rpath, program_path)
        } else {
            Vec::new()
        };
        let environment = std::env::var("LD_LIBRARY_PATH").unwrap_or_default();
        let environment =
            environment.split([':', ';']).filter(|dir| !dir.is_empty()).map(str::to_owned).collect();
        let cache = std::fs::read(CACHE_FILE).ok().and_then(|data| parse_cache(&data)).unwrap_or_default();
        Search { rpath, environment, cache }
    }

    fn find(&self, name: &str, runpath: &[String]) -> Option<PathBuf> {
        if name.contains('/') {
            return usable(PathBuf::from(name));
        }
        let in_folder = |dir: &String| usable(Path::new(dir).join(name));
        let folders = || self.rpath.iter().chain(&self.environment).chain(runpath).find_map(in_folder);
        let cached = || self.cache.get(name)?.iter().find_map(|path| usable(path.clone()));
        let defaults = || DEFAULT_FOLDERS.iter().find_map(|dir| usable(Path::new(dir).join(name)));
        folders().or_else(cached).or_else(defaults)
    }
}

/// The path, if there is a file for our machine; the loader passes over others too.
fn usable(path: PathBuf) -> Option<PathBuf> {
    let mut head = [0; 20];
    std::fs::File::open(&path).ok()?.read_exact(&mut head).ok()?;
    Ident::read(&head)?.is_ours().then_some(path)
}

fn origin_expanded(folders: &[String], of: &Path) -> Vec<String> {
    let folder =
        std::fs::canonicalize(of).ok().and_then(|path| path.parent().map(Path::to_owned)).unwrap_or_default();
    let folder = folder.to_string_lossy();
    folders.iter().map(|dir| dir.replace("${ORIGIN}", &folder).replace("$ORIGIN", &folder)).collect()
}

/// Reads the loader's cache in the format that glibc has written since 2.2 (dl-cache.h, cache_file_new).
fn parse_cache(data: &[u8]) -> Option<HashMap<String, Vec<PathBuf>>> {
    const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
    const HEADER_BYTES: usize = 48;
    const ENTRY_BYTES: usize = 24;
    // An old-format table may stand before it; offsets then count from the new one.
    let start = data.windows(MAGIC.len()).position(|window| window == MAGIC)?;
    let data = &data[start..];
    let word = |at: usize| Some(u32::from_le_bytes(data.get(at..at + 4)?.try_into().ok()?) as usize);
    let text = |at: usize| {
        let bytes = data.get(at..)?;
        let len = bytes.iter().position(|&b| b == 0)?;
        Some(String::from_utf8_lossy(&bytes[..len]).into_owned())
    };
    let count = word(MAGIC.len())?;
    let mut cache: HashMap<String, Vec<PathBuf>> = HashMap::new();
    for entry in (0..count).map(|i| HEADER_BYTES + i * ENTRY_BYTES) {
        let (name, path) = (text(word(entry + 4)?)?, text(word(entry + 8)?)?);
        cache.entry(name).or_default().push(path.into());
    }
    Some(cache)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_libraries_of_the_running_program() {
        let path = Path::new("/proc/self/exe");
        let libraries = all(path, &Elf::read(path).unwrap());
        let libc = libraries.iter().find(|library| library.name.starts_with("libc.so")).unwrap();
        assert!(libc.direct && libc.path.is_some());
        assert!(libc.elf.exported.contains("malloc"));
    }

    #[test]
    fn a_damaged_cache_is_no_cache() {
        assert!(parse_cache(b"nothing").is_none());
        assert!(parse_cache(b"glibc-ld.so.cache1.1\xff\xff\xff\xff").is_none());
        if let Ok(data) = std::fs::read(CACHE_FILE) {
            let cache = parse_cache(&data).unwrap();
            assert!(cache.contains_key("libc.so.6"), "{} entries", cache.len());
        }
    }

    #[test]
    fn origin_is_the_folder_of_the_asking_file() {
        let folders = origin_expanded(&["$ORIGIN/../lib".into(), "/x".into()], Path::new("/proc/self/exe"));
        let own = std::env::current_exe().unwrap();
        assert_eq!(folders[0], format!("{}/../lib", own.parent().unwrap().display()));
        assert_eq!(folders[1], "/x");
    }
}
