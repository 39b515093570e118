//! The folder for everything the bench makes: compiled workloads, the rivals' libraries, generated inputs.
//!
//! It lies in the target folder, never in the source tree. What is made from text that has not changed is
//! not made again.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The cache folder and how to put things there.
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `bench-cache` in the target folder of this very program.
    pub fn open() -> Result<Cache, String> {
        let exe = std::env::current_exe().map_err(|e| format!("cannot find this program's own path: {e}"))?;
        let target = exe.parent().and_then(Path::parent).ok_or("this program lies in no target folder")?;
        let cache = Cache { root: target.join("bench-cache") };
        for folder in ["bin", "victims", "inputs", "peers/src", "run", "src"] {
            let path = cache.path(folder);
            fs::create_dir_all(&path).map_err(|e| format!("cannot make {}: {e}", path.display()))?;
        }
        Ok(cache)
    }

    /// A path in the cache.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// Writes `text` to `name` unless it is there already; the file is replaced atomically.
    pub fn put(&self, name: &str, text: &[u8]) -> Result<PathBuf, String> {
        let path = self.path(name);
        if fs::read(&path).is_ok_and(|old| old == text) {
            return Ok(path);
        }
        replace(&path, text)?;
        Ok(path)
    }

    /// Makes `output` by running `command`, which writes to the path it is given, unless it was made by the
    /// same command from the same `sources` before.
    pub fn make(
        &self,
        output: &str,
        sources: &[&[u8]],
        command: impl FnOnce(&Path) -> Command,
    ) -> Result<PathBuf, String> {
        let path = self.path(output);
        let fresh = path.with_extension("new");
        let mut command = command(&fresh);
        let recipe = format!("{command:?}\n{:016x}\n", digest(sources));
        let stamp = path.with_extension("recipe");
        if path.exists() && fs::read_to_string(&stamp).is_ok_and(|old| old == recipe) {
            return Ok(path);
        }
        run_quietly(&mut command)?;
        fs::rename(&fresh, &path).map_err(|e| format!("cannot move {} into place: {e}", fresh.display()))?;
        replace(&stamp, recipe.as_bytes())?;
        Ok(path)
    }
}

/// Writes a file by way of a temporary one beside it.
pub fn replace(path: &Path, text: &[u8]) -> Result<(), String> {
    let temporary = path.with_file_name(format!(
        ".{}.{}",
        path.file_name().and_then(OsStr::to_str).unwrap_or("file"),
        std::process::id()
    ));
    fs::write(&temporary, text)
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// Runs a command to its end; its output appears only in the error.
pub fn run_quietly(command: &mut Command) -> Result<Vec<u8>, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("cannot start {name}: {e}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first_lines: Vec<&str> = said.lines().take(8).collect();
    Err(format!("{name} failed ({}): {}", output.status, first_lines.join("\n    ")))
}

/// FNV-1a over some texts: tells changed sources apart, nothing more.
pub fn digest(texts: &[&[u8]]) -> u64 {
    let bytes = texts.iter().flat_map(|text| text.iter().chain(&[0u8]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_sees_where_one_text_ends() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_eq!(digest(&[b"ab"]), digest(&[b"ab"]));
    }
}
