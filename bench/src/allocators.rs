//! The allocators that are compared: finding or building each, and proving that a program runs on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::args::Args;
use crate::cache::{Cache, digest, run_quietly};
use crate::debian;

/// The name of the second entry of the same mimalloc, whose ratio is the noise of its row.
pub const TWIN: &str = "A/A";

/// One column of the tables.
#[derive(Clone, Debug)]
pub struct Allocator {
    /// What `--allocators` and the tables call it.
    pub name: String,
    /// What to preload; none is the C library's own malloc.
    pub library: Option<PathBuf>,
    /// More variables for the program.
    pub env: Vec<(String, String)>,
    /// What it says of itself, or where its source is from.
    pub version: String,
    /// One of ours: judged by the bars.
    pub ours: bool,
}

impl Allocator {
    fn new(name: &str, library: Option<PathBuf>, version: &str) -> Allocator {
        Allocator { name: name.into(), library, env: Vec::new(), version: version.into(), ours: false }
    }

    /// One of which only the name matters.
    pub fn named(name: &str) -> Allocator {
        Allocator::new(name, None, "")
    }

    /// One that is part of the programs in a folder, which a job names without a path.
    pub fn in_folder(name: &str, folder: &Path) -> Allocator {
        let mut allocator = Allocator::named(name);
        allocator.env.push(("PATH".into(), folder.to_string_lossy().into_owned()));
        allocator
    }
}

/// The columns in order (the base first, its twin second), and why any wanted one is missing.
pub fn collect(args: &Args, cache: &Cache) -> Result<(Vec<Allocator>, Vec<String>), String> {
    let peers = Peers::fetch(cache)?;
    let mimalloc = peers.build_mimalloc(cache)?;
    let twin = cache.path("bin/libmimalloc-twin.so");
    fs::copy(&mimalloc, &twin).map_err(|e| format!("cannot copy mimalloc to {}: {e}", twin.display()))?;

    let mut found =
        vec![Allocator::new("mimalloc", Some(mimalloc), ""), Allocator::new(TWIN, Some(twin), "")];
    let mut missing = Vec::new();
    let mut offer = |name: &str, made: Result<Allocator, String>| {
        if args.wants_allocator(name) {
            made.map_or_else(|why| missing.push(format!("{name}: {why}")), |it| found.push(it));
        }
    };
    offer("glibc", Ok(Allocator::new("glibc", None, "")));
    offer("jemalloc", installed("jemalloc", &["libjemalloc.so.2"], "libjemalloc2"));
    offer(
        "tcmalloc",
        installed("tcmalloc", &["libtcmalloc_minimal.so.4", "libtcmalloc.so.4"], "libtcmalloc-minimal4"),
    );
    if args.wants_allocator("snmalloc") {
        let version = format!("snmalloc (snmalloc-sys {})", peers.snmalloc_version);
        let built = peers.build_snmalloc(cache);
        offer("snmalloc", built.map(|library| Allocator::new("snmalloc", Some(library), &version)));
    }
    if args.wants_allocator("rpmalloc") {
        let version = format!("rpmalloc 1.4.3 (rpmalloc-sys {})", peers.rpmalloc_version);
        let built = peers.build_rpmalloc(cache);
        offer("rpmalloc", built.map(|library| Allocator::new("rpmalloc", Some(library), &version)));
    }
    for lib in ours(args)? {
        offer("heapkeeper", lib);
    }
    Ok((found, missing))
}

/// Our own entries: what `--lib` names, else the library beside this program.
fn ours(args: &Args) -> Result<Vec<Result<Allocator, String>>, String> {
    let entry = |name: &str, path: &Path, settings: Option<&str>| {
        let library = path.canonicalize().map_err(|e| format!("{}: {e}", path.display()))?;
        let mut entry = Allocator::new(name, Some(library), "");
        entry.ours = true;
        let settings = settings.or(args.settings.as_deref());
        entry.env.extend(settings.map(|text| ("HEAPKEEPER".to_string(), text.to_string())));
        Ok::<_, String>(entry)
    };
    if args.libs.is_empty() {
        let beside = std::env::current_exe().unwrap_or_default().with_file_name("libheapkeeper_preload.so");
        let made = entry("heapkeeper", &beside, None).map_err(|why| {
            format!("{why}; build it with `cargo build -p hk-preload --release` or name one with --lib")
        });
        return Ok(vec![made]);
    }
    let named = args.libs.iter().map(|text| {
        let (build, settings) = match text.split_once(',') {
            Some((build, settings)) => (build, Some(settings)),
            None => (text.as_str(), None),
        };
        match build.split_once('=') {
            Some((name, path)) => entry(name, Path::new(path), settings),
            None => entry("heapkeeper", Path::new(build), settings),
        }
    });
    named.map(|made| made.map(Ok)).collect::<Result<_, _>>().map_err(|why: String| format!("--lib {why}"))
}

/// A library from a Debian package.
fn installed(name: &str, files: &[&str], package: &str) -> Result<Allocator, String> {
    let arch = std::env::consts::ARCH;
    let folders = [format!("/usr/lib/{arch}-linux-gnu"), "/usr/lib64".into(), "/usr/lib".into()];
    let candidates = files.iter().flat_map(|file| folders.iter().map(move |dir| Path::new(dir).join(file)));
    let library = candidates.into_iter().find_map(|path| path.canonicalize().ok());
    let library = library.ok_or_else(|| format!("not installed; {}", debian::how_to_get(package)))?;
    Ok(Allocator::new(name, Some(library), ""))
}

/// Where cargo put the sources of the rivals that come as packages.
struct Peers {
    mimalloc: PathBuf,
    snmalloc: PathBuf,
    snmalloc_version: String,
    rpmalloc: PathBuf,
    rpmalloc_version: String,
}

impl Peers {
    fn fetch(cache: &Cache) -> Result<Peers, String> {
        let manifest = cache.put("peers/Cargo.toml", include_bytes!("../peers/Cargo.toml"))?;
        cache.put("peers/Cargo.lock", include_bytes!("../peers/Cargo.lock"))?;
        cache.put("peers/src/lib.rs", b"")?;
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let text = run_quietly(
            Command::new(cargo)
                .args(["metadata", "--locked", "--format-version", "1", "--manifest-path"])
                .arg(manifest),
        )?;
        let metadata: serde_json::Value =
            serde_json::from_slice(&text).map_err(|e| format!("cargo metadata: {e}"))?;
        let find = |name: &str| {
            let packages = metadata["packages"].as_array().into_iter().flatten();
            let package = packages.into_iter().find(|package| package["name"] == name);
            let package = package.ok_or_else(|| format!("cargo metadata names no {name}"))?;
            let manifest = package["manifest_path"].as_str().unwrap_or_default();
            let folder = Path::new(manifest).parent().unwrap_or(Path::new("")).to_path_buf();
            Ok::<_, String>((folder, package["version"].as_str().unwrap_or("?").to_string()))
        };
        let (mimalloc, _) = find("libmimalloc-sys")?;
        let (snmalloc, snmalloc_version) = find("snmalloc-sys")?;
        let (rpmalloc, rpmalloc_version) = find("rpmalloc-sys")?;
        Ok(Peers {
            mimalloc: mimalloc.join("c_src/mimalloc/v3"),
            snmalloc: snmalloc.join("upstream"),
            snmalloc_version,
            rpmalloc: rpmalloc.join("rpmalloc/rpmalloc"),
            rpmalloc_version,
        })
    }

    /// As its own CMake file builds the shared library by default.
    fn build_mimalloc(&self, cache: &Cache) -> Result<PathBuf, String> {
        let source = self.mimalloc.join("src/static.c");
        cache.make("bin/libmimalloc.so", &[], |output| {
            let mut cc = Command::new("cc");
            cc.args(["-O3", "-DNDEBUG", "-DMI_BUILD_RELEASE", "-DMI_MALLOC_OVERRIDE", "-DMI_SHARED_LIB"]);
            cc.args([
                "-DMI_SHARED_LIB_EXPORT",
                "-shared",
                "-fPIC",
                "-fvisibility=hidden",
                "-fno-builtin-malloc",
            ]);
            cc.args(["-ftls-model=initial-exec", "-pthread", "-w"]);
            cc.arg("-I").arg(self.mimalloc.join("include")).arg(source).arg("-o").arg(output);
            cc
        })
    }

    /// As its own build files make the shared library, with its malloc and preload on.
    fn build_rpmalloc(&self, cache: &Cache) -> Result<PathBuf, String> {
        let source = self.rpmalloc.join("rpmalloc.c");
        cache.make("bin/librpmalloc.so", &[], |output| {
            let mut cc = Command::new("cc");
            cc.args(["-std=gnu11", "-O3", "-DNDEBUG", "-DENABLE_PRELOAD=1", "-DENABLE_OVERRIDE=1"]);
            cc.args(["-D_GNU_SOURCE=1", "-fPIC", "-shared", "-fno-builtin-malloc", "-fvisibility=hidden"]);
            cc.args(["-ftls-model=initial-exec", "-pthread", "-w"])
                .arg(source)
                .arg("-o")
                .arg(output)
                .arg("-ldl");
            cc
        })
    }

    /// As its own CMake file builds the `snmallocshim` library by default.
    fn build_snmalloc(&self, cache: &Cache) -> Result<PathBuf, String> {
        let folder = self.snmalloc.join("src/snmalloc/override");
        cache.make("bin/libsnmalloc.so", &[], |output| {
            let mut cxx = Command::new("g++");
            cxx.args(["-std=c++20", "-O3", "-DNDEBUG", "-mcx16", "-mprfchw", "-shared", "-fPIC", "-w"]);
            cxx.args(["-DSNMALLOC_USE_WAIT_ON_ADDRESS=1", "-DSNMALLOC_USE_CXX11_THREAD_ATEXIT_DIRECT"]);
            cxx.args(["-fvisibility=hidden", "-fomit-frame-pointer", "-ftls-model=initial-exec", "-pthread"]);
            cxx.args(["-static-libstdc++", "-DSNMALLOC_EXPORT=__attribute__((visibility(\"default\")))"]);
            cxx.arg("-I").arg(self.snmalloc.join("src"));
            cxx.arg(folder.join("malloc.cc"))
                .arg(folder.join("new.cc"))
                .arg("-o")
                .arg(output)
                .arg("-latomic");
            cxx
        })
    }
}

/// For a library that tells no version: where its source is from, else a fingerprint of the file.
fn fallback_version(allocator: &Allocator) -> String {
    let bytes = allocator.library.as_ref().and_then(|path| fs::read(path).ok()).unwrap_or_default();
    match allocator.version.as_str() {
        "" => format!("tells no version; file {:016x}", digest(&[&bytes])),
        known => known.to_string(),
    }
}

/// Runs the probe on `allocator` and fails unless `malloc` and `free` are really its own; gives the version.
pub fn prove(allocator: &Allocator, probe: &mut Command) -> Result<String, String> {
    let text = run_quietly(probe).map_err(|why| format!("{}: the probe {why}", allocator.name))?;
    let text = String::from_utf8_lossy(&text);
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let is_own = |path: &str| match &allocator.library {
        Some(library) => Path::new(path) == library,
        None => path.contains("/libc.so.6") || path.contains("/libc-2."),
    };
    for symbol in ["malloc", "free"] {
        let owner = value(symbol).unwrap_or("?");
        if !is_own(owner) {
            return Err(format!("{}: {symbol} is bound to {owner}, not to its library", allocator.name));
        }
    }
    if value("mapped") != Some("1") {
        return Err(format!("{}: its library is not mapped into the program", allocator.name));
    }
    Ok(value("version").map_or_else(|| fallback_version(allocator), str::to_string))
}
