//! The workloads: the table of them, and making each ready to run.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::cache::{Cache, run_quietly};
use crate::{debian, inputs};

/// Which geometric mean a workload belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// An unmodified program from a Debian package.
    Real,
    /// A small program of our own that does little but allocate.
    Synthetic,
    /// A Rust program of our own, on the global allocator that it was built with.
    Rust,
    /// The same work on more and more threads: time on the clock counts.
    Scaling,
    /// Single calls: percentiles of their latency count.
    Latency,
}

impl Group {
    /// Whether CPU time and memory of its rows are compared.
    pub fn has_costs(self) -> bool {
        matches!(self, Group::Real | Group::Synthetic | Group::Rust)
    }

    /// The word used in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Group::Real => "real",
            Group::Synthetic => "synthetic",
            Group::Rust => "rust",
            Group::Scaling => "scaling",
            Group::Latency => "latency",
        }
    }
}

/// One row of the tables, before it is made ready.
pub struct Workload {
    /// Its name in tables and for `--only`.
    pub name: &'static str,
    /// Real or synthetic.
    pub group: Group,
    /// Part of `--quick`.
    pub quick: bool,
    /// The Debian package of its program.
    package: Option<&'static str>,
    program: Program,
}

enum Program {
    /// A C file of ours and its arguments.
    Own(&'static str, &'static [&'static str]),
    /// Somebody's program, made ready by a function.
    Real(&'static str, fn(&Cache, PathBuf) -> Result<Job, String>),
}

/// What to start, in a form that the launcher can run under any allocator.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// More variables for it.
    pub env: Vec<(&'static str, String)>,
    /// What it reads.
    pub stdin: Option<PathBuf>,
    /// It is a server: what drives it.
    pub server: Option<Server>,
    /// Its output differs from run to run and is not compared.
    pub output_varies: bool,
    /// It is linked with an allocator of its own, so that plain glibc has to be preloaded too.
    pub brings_allocator: bool,
}

/// How a server is driven; its clients run without any preload, only the server's cost is counted.
#[derive(Clone, Debug)]
pub struct Server {
    /// The Unix socket on which it listens.
    pub socket: PathBuf,
    /// The load.
    pub client: Vec<OsString>,
    /// What makes it end.
    pub stop: Vec<OsString>,
}

macro_rules! own {
    ($name:literal, $file:literal, $quick:expr $(, $arg:literal)*) => {
        own!(Synthetic, $name, $file, $quick $(, $arg)*)
    };
    ($group:ident, $name:literal, $file:literal, $quick:expr $(, $arg:literal)*) => {
        Workload {
            name: $name,
            group: Group::$group,
            quick: $quick,
            package: None,
            program: Program::Own($file, &[$($arg),*]),
        }
    };
}

const fn real(
    name: &'static str,
    package: &'static str,
    binary: &'static str,
    quick: bool,
    ready: fn(&Cache, PathBuf) -> Result<Job, String>,
) -> Workload {
    Workload {
        name,
        group: Group::Real,
        quick,
        package: Some(package),
        program: Program::Real(binary, ready),
    }
}

/// All rows, in the order of the tables.
pub const WORKLOADS: &[Workload] = &[
    real("python", "python3", "python3", true, python),
    real("lua", "lua5.4", "lua5.4", true, lua),
    real("perl", "perl", "perl", true, perl),
    real("cc1plus", "g++", "g++", true, cc1plus),
    // Debian's, as the Rust project's own brings an allocator that no preload replaces.
    real("rustc", "rustc", "/usr/bin/rustc", false, rustc),
    real("sqlite", "sqlite3", "sqlite3", true, sqlite),
    real("git", "git", "git", false, git),
    real("ghostscript", "ghostscript", "gs", false, ghostscript),
    real("z3", "z3", "z3", false, z3),
    real("redis", "redis-server", "redis-server", false, redis),
    real("spawn", "coreutils", "true", true, spawn),
    own!("churn-small", "churn_small", true),
    own!("random-life", "random_life", true),
    own!("batches", "batches", false),
    own!("simple", "simple", false),
    own!("simple-threads-1", "simple_threads", false, "1"),
    own!("simple-threads-2", "simple_threads", false, "2"),
    own!("bleeding-1", "bleeding", false, "1"),
    own!("bleeding-2", "bleeding", true, "2"),
    own!("handoff-2", "handoff", true, "1"),
    own!("server-2", "server", true, "2"),
    own!("short-threads", "short_threads", true),
    own!("pools-1", "pools", false, "1"),
    own!("pools-2", "pools", false, "2"),
    own!("large", "large", true),
    own!("grow", "grow", false),
    own!("fragment", "fragment", false),
    own!("hours", "hours", false),
    own!("peak-idle", "peak", true, "idle"),
    own!("peak-trickle", "peak", false, "trickle"),
    own!("peak-scattered", "peak", false, "scattered"),
    own!(Scaling, "scale-2", "scale", false, "2"),
    own!(Scaling, "scale-8", "scale", false, "8"),
    own!(Scaling, "scale-32", "scale", false, "32"),
    own!(Scaling, "scale-128", "scale", false, "128"),
    own!(Latency, "latency", "latency", false),
];

/// The rows of the second table: Rust programs on global allocators (see [`crate::rust`]).
pub const RUST_WORKLOADS: &[Workload] =
    &[rust("rust-service"), rust("rust-collections"), rust("rust-syntax"), rust("rust-tasks")];

const fn rust(name: &'static str) -> Workload {
    Workload { name, group: Group::Rust, quick: false, package: None, program: Program::Own("", &[]) }
}

/// The C files of the synthetic workloads, by the name of the program.
const SOURCES: &[(&str, &[u8])] = &[
    ("churn_small", include_bytes!("../workloads/churn_small.c")),
    ("random_life", include_bytes!("../workloads/random_life.c")),
    ("batches", include_bytes!("../workloads/batches.c")),
    ("simple", include_bytes!("../workloads/simple.c")),
    ("simple_threads", include_bytes!("../workloads/simple_threads.c")),
    ("bleeding", include_bytes!("../workloads/bleeding.c")),
    ("handoff", include_bytes!("../workloads/handoff.c")),
    ("server", include_bytes!("../workloads/server.c")),
    ("short_threads", include_bytes!("../workloads/short_threads.c")),
    ("pools", include_bytes!("../workloads/pools.c")),
    ("hours", include_bytes!("../workloads/hours.c")),
    ("large", include_bytes!("../workloads/large.c")),
    ("grow", include_bytes!("../workloads/grow.c")),
    ("fragment", include_bytes!("../workloads/fragment.c")),
    ("peak", include_bytes!("../workloads/peak.c")),
    ("scale", include_bytes!("../workloads/scale.c")),
    ("latency", include_bytes!("../workloads/latency.c")),
];

/// The Debian packages that all workloads and rivals together need.
pub fn packages() -> Vec<&'static str> {
    let mut all: Vec<&str> = WORKLOADS.iter().filter_map(|workload| workload.package).collect();
    all.extend(["redis-tools", "gcc", "libc6-dev", "libjemalloc2", "libtcmalloc-minimal4"]);
    all
}

impl Workload {
    /// Whether `--only` asks for it: part of the name, or the group.
    pub fn matches(&self, patterns: &[String]) -> bool {
        let hit = |pattern: &String| self.name.contains(pattern.as_str()) || self.group.name() == pattern;
        patterns.is_empty() || patterns.iter().any(hit)
    }

    /// Compiles or generates what it needs; the error says how to get what is missing.
    pub fn ready(&self, cache: &Cache) -> Result<Job, String> {
        match self.program {
            Program::Own(file, arguments) => {
                let program = compile(cache, file)?;
                let arguments = arguments.iter().map(OsString::from);
                Ok(Job { argv: [program.into()].into_iter().chain(arguments).collect(), ..Job::default() })
            }
            Program::Real(binary, ready) => {
                let package = self.package.unwrap_or(binary);
                let program = debian::find_program(binary)
                    .ok_or_else(|| format!("{binary} is missing; {}", debian::how_to_get(package)))?;
                ready(cache, program)
            }
        }
    }
}

fn compile(cache: &Cache, file: &str) -> Result<PathBuf, String> {
    const COMMON: &[u8] = include_bytes!("../workloads/common.h");
    let (_, text) =
        SOURCES.iter().find(|(name, _)| *name == file).ok_or_else(|| format!("no source {file}"))?;
    cache.put("src/common.h", COMMON)?;
    let source = cache.put(&format!("src/{file}.c"), text)?;
    cache.make(&format!("bin/{file}"), &[COMMON, text], |output| {
        let mut cc = Command::new("cc");
        // The compiler may not pair up a malloc and a free and delete both.
        cc.args(["-O2", "-fno-builtin-malloc", "-pthread"]).arg(&source).arg("-o").arg(output);
        cc
    })
}

fn job<const N: usize>(argv: [OsString; N]) -> Job {
    Job { argv: argv.to_vec(), ..Job::default() }
}

fn python(cache: &Cache, program: PathBuf) -> Result<Job, String> {
    let script = cache.put("inputs/objects.py", include_bytes!("../inputs/objects.py"))?;
    let mut job = job([program.into(), script.into()]);
    job.env = vec![("PYTHONMALLOC", "malloc".into()), ("PYTHONHASHSEED", "0".into())];
    Ok(job)
}

fn lua(cache: &Cache, program: PathBuf) -> Result<Job, String> {
    let script = cache.put("inputs/trees.lua", include_bytes!("../inputs/trees.lua"))?;
    Ok(job([program.into(), script.into()]))
}

fn perl(cache: &Cache, program: PathBuf) -> Result<Job, String> {
    let script = cache.put("inputs/words.pl", include_bytes!("../inputs/words.pl"))?;
    let mut job = job([program.into(), script.into()]);
    job.env = vec![("PERL_HASH_SEED", "0".into()), ("PERL_PERTURB_KEYS", "0".into())];
    Ok(job)
}

/// The compiler proper, on a file that was preprocessed beforehand.
fn cc1plus(cache: &Cache, program: PathBuf) -> Result<Job, String> {
    let text = inputs::cpp_file(5);
    let source = cache.put("inputs/units.cc", text.as_bytes())?;
    let preprocessed = cache.make("inputs/units.ii", &[text.as_bytes()], |output| {
        let mut cxx = Command::new(&program);
        cxx.args(["-E", "-std=c++17"]).arg(&source).arg("-o").arg(output);
        cxx
    })?;
    let asked = run_quietly(Command::new(&program).arg("-print-prog-name=cc1plus"))?;
    let compiler = String::from_utf8_lossy(&asked).trim().to_string();
    let mut job = job([compiler.into(), "-quiet".into(), "-fpreprocessed".into(), "-std=c++17".into()]);
    job.argv.extend(["-O0".into(), preprocessed.into(), "-o".into(), "/dev/null".into()]);
    Ok(job)
}

/// A library of two of the Rust programs that the bench has anyway.
fn rustc(cache: &Cache, program: PathBuf) -> Result<Job, String> {
    let modules = [
        ("random", include_str!("../rust/src/random.rs")),
        ("collections", include_str!("../rust/src/collections.rs")),
        ("service", include_str!("../rust/src/service.rs")),
    ];
    let module =
        |(name, text): (&str, &str)| format!("pub mod {name} {{\n{}\n}}\n", text.replace("//!", "//"));
    let source = cache.put("inputs/programs.rs", modules.map(module).concat().as_bytes())?;
    let mut job = job([program.into(), "--edition=2021".into(), "--crate-type=lib".into()]);
    job.argv.extend(["--crate-name=programs", "-Ccodegen-units=1", "-o"].map(OsString::from));
    job.argv.extend([cache.path("run/programs.o").into(), "--emit=obj".into(), source.into()]);
    Ok(job)
}

fn sqlite(cache: &Cache, program: PathBuf) -> Result<Job, String> {
    let script = cache.put("inputs/orders.sql", include_bytes!("../inputs/orders.sql"))?;
    let mut job = job([program.into(), "-batch".into(), ":memory:".into()]);
    job.stdin = Some(script);
    Ok(job)
}

/// All differences of a history, then all its objects packed anew (to nowhere, so that each run is alike).
fn git(cache: &Cache, program: PathBuf) -> Result<Job, String> {
    let stream = inputs::git_history(500);
    let history = cache.put("inputs/history.fi", stream.as_bytes())?;
    let repository = cache.make("inputs/history.git", &[stream.as_bytes()], |output| {
        let mut sh = Command::new("sh");
        sh.args(["-e", "-c", "rm -rf \"$2\" \"${2%.new}.git\"; \"$0\" init -q --bare \"$2\"; \"$0\" -C \"$2\" fast-import --quiet <\"$1\""]);
        sh.arg(&program).arg(&history).arg(output);
        sh
    })?;
    let script = "git log -p --stat -M main >/dev/null; \
        git rev-list --objects main | git pack-objects --threads=1 --window=8 --no-reuse-delta --stdout -q | wc -c";
    let mut job = job(["sh".into(), "-c".into(), script.into()]);
    job.env = vec![
        ("GIT_DIR", repository.to_string_lossy().into_owned()),
        ("GIT_CONFIG_GLOBAL", "/dev/null".into()),
        ("GIT_CONFIG_NOSYSTEM", "1".into()),
        ("GIT_PAGER", "cat".into()),
    ];
    Ok(job)
}

fn ghostscript(cache: &Cache, program: PathBuf) -> Result<Job, String> {
    let pages = cache.put("inputs/pages.ps", include_bytes!("../inputs/pages.ps"))?;
    let mut job = job([program.into(), "-q".into(), "-dNOPAUSE".into(), "-dBATCH".into(), "-dSAFER".into()]);
    job.argv.extend(["-sDEVICE=ppmraw".into(), "-r72".into(), "-o".into(), "/dev/null".into(), pages.into()]);
    Ok(job)
}

fn z3(cache: &Cache, program: PathBuf) -> Result<Job, String> {
    let puzzle = cache.put("inputs/puzzle.smt2", inputs::solver_puzzle().as_bytes())?;
    Ok(job([program.into(), "rlimit=400000".into(), puzzle.into()]))
}

fn redis(cache: &Cache, program: PathBuf) -> Result<Job, String> {
    let client = debian::find_program("redis-benchmark").zip(debian::find_program("redis-cli"));
    let (bench, cli) =
        client.ok_or_else(|| format!("redis-benchmark is missing; {}", debian::how_to_get("redis-tools")))?;
    // A Unix socket's path may have at most 107 bytes: the cache may lie too deep.
    let socket = std::env::temp_dir().join(format!("hk-bench-{}.sock", std::process::id()));
    let mut job = job([program.into(), "--port".into(), "0".into(), "--unixsocket".into(), (&socket).into()]);
    job.argv.extend(["--save", "", "--appendonly", "no", "--loglevel", "warning"].map(OsString::from));
    job.argv.extend(["--dir".into(), cache.path("run").into()]);
    let mut load = vec![bench.into(), "-s".into(), (&socket).into()];
    let load_options = "-q -n 70000 -r 20000 -P 16 -c 4 -d 200 -t set,get,lpush,lpop,sadd,hset,zadd";
    load.extend(load_options.split(' ').map(OsString::from));
    let stop = vec![cli.into(), "-s".into(), (&socket).into(), "shutdown".into(), "nosave".into()];
    job.server = Some(Server { socket, client: load, stop });
    job.output_varies = true;
    job.brings_allocator = true; // Debian links it with jemalloc
    Ok(job)
}

/// Programs that `spawn.sh` starts.
pub const SPAWN_COUNT: u32 = 400;

fn spawn(cache: &Cache, _program: PathBuf) -> Result<Job, String> {
    let script = cache.put("inputs/spawn.sh", include_bytes!("../inputs/spawn.sh"))?;
    Ok(job(["sh".into(), script.into(), SPAWN_COUNT.to_string().into()]))
}

/// Takes away what an earlier run may have left.
pub fn clear_leftovers(job: &Job) {
    if let Some(server) = &job.server {
        let _ = fs::remove_file(&server.socket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_own_workload_has_its_source_and_a_name_of_its_own() {
        let mut names: Vec<&str> = WORKLOADS.iter().map(|workload| workload.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), WORKLOADS.len());
        for workload in WORKLOADS {
            if let Program::Own(file, _) = workload.program {
                assert!(SOURCES.iter().any(|(name, _)| *name == file), "{file}");
            }
        }
    }

    #[test]
    fn quick_has_enough_rows_for_the_bars() {
        let quick = |group| WORKLOADS.iter().filter(|w| w.quick && w.group == group).count();
        assert!(quick(Group::Real) >= 5 && quick(Group::Real) + quick(Group::Synthetic) >= 10);
    }

    #[test]
    fn patterns_match_names_and_groups() {
        let count = |pattern: &str| WORKLOADS.iter().filter(|w| w.matches(&[pattern.to_string()])).count();
        assert_eq!(count("python"), 1);
        assert!(count("real") >= 10);
        assert_eq!(count("nothing-like-it"), 0);
    }
}
