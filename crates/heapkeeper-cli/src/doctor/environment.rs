//! What surrounds a run: our library in its folder, and other libraries that are put under every program, by
//! LD_PRELOAD and by /etc/ld.so.preload.

use super::diagnosis::{Level, Line};
use super::elf::Elf;
use super::probe;
use crate::library;
use std::path::Path;

/// The system-wide list; the loader takes it after LD_PRELOAD.
const SYSTEM_LIST: &str = "/etc/ld.so.preload";

/// One line for our library, one for each other.
pub fn lines() -> Vec<Line> {
    let variable = std::env::var("LD_PRELOAD").unwrap_or_default();
    let list = std::fs::read_to_string(SYSTEM_LIST).unwrap_or_default();
    let mut lines = vec![library_line()];
    lines.extend(names(&variable).map(|name| line(name, "LD_PRELOAD")));
    lines.extend(names(&list).map(|name| line(name, SYSTEM_LIST)));
    lines
}

/// Unpacks the library, as a run would.
fn library_line() -> Line {
    let path = match library::unpack() {
        Ok(path) => path,
        Err(failure) => {
            return Line::new(Level::Problem, failure.to_string(), "nothing can be run without it");
        }
    };
    match probe::map_as_code(&path) {
        Ok(()) => Line::new(
            Level::Ok,
            format!("heapkeeper's library is {}", path.display()),
            "it is put under the program from there",
        ),
        Err(error) => Line::new(
            Level::Problem,
            format!("heapkeeper's library {} cannot be loaded: {error}", path.display()),
            "its file system may be mounted with noexec; set XDG_CACHE_HOME to a folder on another",
        ),
    }
}

fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split(|c: char| c == ':' || c.is_whitespace()).filter(|name| !name.is_empty())
}

fn line(name: &str, place: &str) -> Line {
    let fact = format!("{name} is preloaded too ({place})");
    match Elf::read(Path::new(name)) {
        Ok(elf) if elf.defines("malloc") => Line::new(
            Level::Warning,
            format!("{fact} and defines malloc"),
            "heapkeeper is put before it, so its malloc gets no calls; take one of the two away",
        ),
        Ok(_) => Line::new(Level::Note, fact, "heapkeeper is put before it; both work"),
        Err(_) => {
            Line::new(Level::Note, format!("{fact}, and cannot be read"), "heapkeeper is put before it")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_split_as_the_loader_splits_them() {
        assert_eq!(names(" a.so:b.so  /c/d.so\n").collect::<Vec<_>>(), ["a.so", "b.so", "/c/d.so"]);
        assert_eq!(names("").count(), 0);
    }

    #[test]
    fn a_library_with_a_malloc_is_a_limit() {
        let libc =
            ["/lib/x86_64-linux-gnu/libc.so.6", "/lib/aarch64-linux-gnu/libc.so.6", "/lib64/libc.so.6"];
        if let Some(path) = libc.iter().find(|path| Path::new(path).exists()) {
            assert_eq!(line(path, "LD_PRELOAD").level, Level::Warning);
        }
        assert_eq!(line("/does/not/exist.so", "LD_PRELOAD").level, Level::Note);
    }
}
