//! Where separate debug files lie.

use crate::elf::Image;
use crate::hex;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The folders that are searched, in order.
#[derive(Clone, Debug)]
pub struct DebugFolders {
    /// Each with `.build-id/xx/yyyy.debug` and, for debug links, the modules' own folders below it.
    pub roots: Vec<PathBuf>,
    /// The cache of debuginfod clients, with `BUILDID/debuginfo`; only read, nothing is fetched.
    pub debuginfod_cache: Option<PathBuf>,
}

impl Default for DebugFolders {
    fn default() -> Self {
        DebugFolders { roots: vec!["/usr/lib/debug".into()], debuginfod_cache: debuginfod_cache() }
    }
}

fn debuginfod_cache() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("DEBUGINFOD_CACHE_PATH")
        .or_else(|| absolute("XDG_CACHE_HOME").map(|cache| cache.join("debuginfod_client")))
        .or_else(|| absolute("HOME").map(|home| home.join(".cache/debuginfod_client")))
}

/// The separate debug file of a module, by build id or debug link; one that has DWARF and that is of the
/// same build. `image` is the module itself, where it can still be read.
pub fn debug_file(
    image: Option<&Image>,
    path: &Path,
    build_id: &[u8],
    folders: &DebugFolders,
) -> Option<Image> {
    by_build_id(build_id, "debug", folders).filter(Image::has_debug_info).or_else(|| {
        let (name, crc) = image?.debug_link()?;
        by_debug_link(OsStr::from_bytes(&name), crc, path, build_id, folders)
    })
}

/// The file that holds what the DWARF of `image` shares with other files.
pub fn supplement(image: &Image, folders: &DebugFolders) -> Option<Image> {
    let (name, build_id) = image.supplement()?;
    let named = image.path().parent()?.join(OsStr::from_bytes(&name));
    by_build_id(&build_id, "debug", folders)
        .or_else(|| Image::open(&named).filter(|found| found.build_id() == build_id))
}

fn by_build_id(build_id: &[u8], suffix: &str, folders: &DebugFolders) -> Option<Image> {
    let (first, rest) = build_id.split_first().filter(|(_, rest)| !rest.is_empty())?;
    let below = format!(".build-id/{first:02x}/{}.{suffix}", hex(rest));
    let in_roots = folders.roots.iter().map(|root| root.join(&below));
    let in_cache = folders.debuginfod_cache.iter().map(|cache| cache.join(hex(build_id)).join("debuginfo"));
    in_roots.chain(in_cache).filter_map(|path| Image::open(&path)).find(|image| image.build_id() == build_id)
}

fn by_debug_link(
    name: &OsStr,
    crc: u32,
    module: &Path,
    build_id: &[u8],
    folders: &DebugFolders,
) -> Option<Image> {
    // The folder as the loader had it, and as it really is (/lib is a link to /usr/lib).
    let real = std::fs::canonicalize(module).ok();
    let parents = [Some(module), real.as_deref()].into_iter().flatten().filter_map(Path::parent);
    let candidates = parents.flat_map(|parent| {
        let below = parent.strip_prefix("/").unwrap_or(parent).to_path_buf();
        let beside = [parent.join(name), parent.join(".debug").join(name)];
        beside.into_iter().chain(folders.roots.iter().map(move |root| root.join(&below).join(name)))
    });
    candidates.filter_map(|path| Image::open(&path)).find(|image| {
        let same_build = match build_id.is_empty() {
            false => image.build_id() == build_id,
            true => image.crc() == Some(crc),
        };
        same_build && image.has_debug_info()
    })
}
