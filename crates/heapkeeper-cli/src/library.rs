//! The preload library that this command carries, and the cache folder that it is unpacked to.
//!
//! The file's name holds the hash of its content, so versions do not meet. It is written beside its place
//! and renamed: whoever finds it finds it whole, also when two commands start at once. What is found there
//! is compared byte by byte before it is put under a program.

use crate::{Failure, os};
use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What `--version` prints after the name.
pub const VERSION_LINE: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (library ", env!("HEAPKEEPER_LIBRARY_HASH"), ")");
/// The library itself.
const CONTENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libheapkeeper.so"));
const FILE_NAME: &str = concat!("libheapkeeper-", env!("HEAPKEEPER_LIBRARY_HASH"), ".so");
/// What every file of ours in the folder begins with, temporary ones included.
const OUR_PREFIXES: [&str; 2] = ["libheapkeeper-", ".libheapkeeper-"];

/// Unpacks the library into the cache folder if it is not there yet, and gives its path.
pub fn unpack() -> Result<PathBuf, Failure> {
    let folder = folder()?;
    check_name(&folder)?;
    make_folder(&folder)?;
    let path = folder.join(FILE_NAME);
    if fs::read(&path).is_ok_and(|found| found == CONTENT) {
        return Ok(path);
    }
    write_whole(&folder, &path).map_err(|e| unusable(&folder, &e))?;
    Ok(path)
}

/// Removes the library, of all versions, and the folder if nothing else is in it; gives what was removed.
pub fn remove() -> Result<Vec<PathBuf>, Failure> {
    let folder = folder()?;
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(unusable(&folder, &e)),
    };
    let mut removed = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        if OUR_PREFIXES.iter().any(|prefix| name.as_bytes().starts_with(prefix.as_bytes())) {
            fs::remove_file(entry.path())
                .map_err(|e| Failure::new(format!("cannot remove {}: {e}", entry.path().display())))?;
            removed.push(entry.path());
        }
    }
    if fs::remove_dir(&folder).is_ok() {
        removed.push(folder);
    }
    Ok(removed)
}

/// `$XDG_CACHE_HOME/heapkeeper`, or `~/.cache/heapkeeper`.
fn folder() -> Result<PathBuf, Failure> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("heapkeeper"))
        .ok_or_else(|| {
            Failure::new("no folder for the library: set XDG_CACHE_HOME or HOME to an absolute path")
        })
}

/// The loader splits LD_PRELOAD at spaces and colons, and knows no quotes.
fn check_name(folder: &Path) -> Result<(), Failure> {
    match folder.as_os_str().as_bytes().iter().any(|b| b" :\t\n".contains(b)) {
        false => Ok(()),
        true => Err(Failure::new(format!(
            "the cache folder {} has a space or a colon in its name, which LD_PRELOAD cannot hold: set \
             XDG_CACHE_HOME to another folder",
            folder.display()
        ))),
    }
}

fn make_folder(folder: &Path) -> Result<(), Failure> {
    let parent = folder.parent().expect("it ends in heapkeeper");
    fs::create_dir_all(parent).map_err(|e| unusable(folder, &e))?;
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(unusable(folder, &e)),
        _ => {}
    }
    // Whoever may write there can put another library under the programs that are run.
    let metadata = fs::metadata(folder).map_err(|e| unusable(folder, &e))?;
    if metadata.uid() != os::effective_user() || metadata.mode() & 0o022 != 0 {
        return Err(Failure::new(format!(
            "the cache folder {} belongs to another user, or others may write to it: set XDG_CACHE_HOME to a \
             folder of your own",
            folder.display()
        )));
    }
    Ok(())
}

fn write_whole(folder: &Path, path: &Path) -> std::io::Result<()> {
    let temporary = folder.join(format!(".{FILE_NAME}.{}", os::unique_name()));
    let written = File::options()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&temporary)
        .and_then(|mut file| file.write_all(CONTENT))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn unusable(folder: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!(
        "cannot unpack the library into {}: {error}; set XDG_CACHE_HOME to a folder that can be written",
        folder.display()
    ))
}
