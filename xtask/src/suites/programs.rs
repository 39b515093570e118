//! Sound programs of `victims/programs` that must behave on our heap as on any other: threads, fork, signals,
//! constructors, foreign pointers, the malloc family's results and errors.
//!
//! Each runs through `heapkeeper run` and under a bare LD_PRELOAD; neither may bring a finding or a line on
//! the program's own output.

use crate::compile::{self, Job};
use crate::context::Context;
use crate::outcome::{Outcome, Verdict};
use crate::packages;
use crate::process::Run;
use crate::suites::report::Report;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One program and how it is run.
pub struct Program {
    /// File name of the source without its ending; also of the test, with the arguments.
    pub name: &'static str,
    /// Arguments.
    pub args: &'static [&'static str],
    /// Arguments in the long run.
    pub soak_args: &'static [&'static str],
    /// Seconds that it may take.
    pub seconds: u64,
    /// Flags of the linker.
    pub link: &'static [&'static str],
    /// A file that must be there, from [`packages::NEEDS`].
    pub needs: Option<&'static str>,
    /// Whether it would run out of memory if none were reused, as in the mode `keep`.
    pub reuses: bool,
}

impl Program {
    const fn new(
        name: &'static str,
        args: &'static [&'static str],
        soak_args: &'static [&'static str],
    ) -> Program {
        Program { name, args, soak_args, seconds: 60, link: &["-ldl"], needs: None, reuses: false }
    }

    const fn reusing(mut self) -> Program {
        self.reuses = true;
        self
    }

    const fn linked(mut self, link: &'static [&'static str], needs: Option<&'static str>) -> Program {
        self.link = link;
        self.needs = needs;
        self
    }
}

/// The programs. Arguments are sizes of the work, which the long run raises.
const PROGRAMS: &[Program] = &[
    Program::new("conformance", &[], &[]),
    Program::new("calloc_is_zero", &[], &[]),
    Program::new("calloc_is_zero", &["locked"], &["locked"]),
    Program::new("new_and_delete", &[], &[]),
    Program::new("invisible", &[], &[]),
    Program::new("stress", &["1", "1", "1"], &["1", "30", "1"]).reusing(),
    Program::new("stress", &["4", "2", "4"], &["8", "120", "20"]).reusing(),
    Program::new("stress", &["16", "2", "8"], &["32", "60", "20"]).reusing(),
    Program::new("producer_consumer", &["300000"], &["20000000"]).reusing(),
    Program::new("fork_storm", &["3", "200", "5"], &["6", "5000", "10"]).reusing(),
    Program::new("raw_fork_storm", &["3", "200", "10"], &["6", "5000", "20"]).reusing(),
    Program::new("signal_forks", &["30"], &["3000"]).reusing(),
    Program::new("signal_forks", &["30", "raw"], &["3000", "raw"]).reusing(),
    Program::new("no_cancellation", &[], &[]),
    Program::new("sandboxed", &[], &[]),
    Program::new("nested_forks", &[], &[]),
    Program::new("vfork_and_spawn", &[], &[]),
    Program::new("short_threads", &["8000"], &["200000"]).reusing(),
    Program::new("many_threads", &[], &[]).reusing(),
    Program::new("detached_threads", &[], &[]),
    Program::new("lazy_memory", &[], &[]),
    Program::new("few_mappings", &[], &[]).reusing(),
    Program::new("tls_destructors", &[], &[]),
    Program::new("signal_storm", &["1"], &["20"]),
    Program::new("signal_leak", &["1"], &["20"]),
    Program::new("signal_threads", &["1"], &["60"]),
    Program::new("fork_orphans", &["300"], &["10000"]),
    Program::new("ping_pong_polls", &[], &[]).reusing(),
    Program::new("exit_handlers", &[], &[]),
    Program::new("exit_while_busy", &["60"], &["2000"]).reusing(),
    Program::new("constructors", &[], &[]).linked(&["-Wl,--no-as-needed", "-lconstructor_library"], None),
    Program::new("dlopen_storm", &["200"], &["5000"]),
    Program::new("foreign_owners", &[], &[]),
    Program::new("jemalloc_beside", &[], &[])
        .linked(&["-Wl,--no-as-needed", "-ljemalloc"], Some("/usr/include/jemalloc/jemalloc.h")),
    Program::new("locked_memory", &[], &[]),
    Program::new("fault_handlers", &[], &[]),
    Program::new("alarms", &["1"], &["20"]),
    Program::new("own_operators", &[], &[]),
    Program::new("messages", &[], &[]),
];

/// Those that do so much that not all of their blocks can be guarded in a test's time, and the arguments with which they can.
const LIGHTER: &[(&str, &[&str])] = &[
    ("stress", &["4", "1", "4"]),
    ("producer_consumer", &["20000"]),
    ("fork_storm", &["3", "20", "5"]),
    ("raw_fork_storm", &["3", "20", "10"]),
    ("signal_forks", &["5"]),
    ("short_threads", &["500"]),
    ("many_threads", &[]),
    ("few_mappings", &[]),
    ("ping_pong_polls", &[]),
    ("fork_orphans", &["30"]),
    ("exit_while_busy", &["10"]),
    ("dlopen_storm", &["50"]),
];

/// Of which some blocks go unguarded, as they lock their memory or ask for more than there is.
const PARTLY_GUARDED: &[&str] = &["locked_memory", "few_mappings", "many_threads"];

/// That lose blocks on purpose, by leaving malloc by longjmp, say; and one whose sandbox forbids to look for them.
const LOSING: &[&str] = &["tls_destructors", "fault_handlers", "alarms", "vfork_and_spawn", "sandboxed"];

const LIBRARIES: &[&str] = &["constructor_library", "deep_bound_plugin"];

/// A program's exit status that says: cannot be told here.
const SKIPPED: i32 = 77;

/// All programs.
pub fn suite(context: &mut Context) {
    for program in PROGRAMS {
        let args = if context.soak { program.soak_args } else { program.args };
        let name = [&[program.name], args].concat().join(" ");
        if !context.wants(&name) {
            continue;
        }
        if let Err(why) = program.needs.map_or(Ok(()), |file| packages::require(&[file])) {
            context.record(&name, Outcome::Skipped(why));
            continue;
        }
        match compiled(context, program.name, program.link) {
            Err(text) => context.record(&name, Err(text)),
            Ok(path) => {
                let seconds = if context.soak { 900 } else { program.seconds };
                let limit = Duration::from_secs(seconds);
                context.test_or_skip(&format!("{name} (run)"), |c| through_run(c, &path, args, limit));
                // Once more without the command: nothing takes findings off the program's output here.
                context.test_or_skip(&format!("{name} (preload)"), |c| preloaded(c, &path, "", args, limit));
                if let Some(args) = lighter(program, args) {
                    context.test_or_skip(&format!("{name} (check)"), |c| {
                        all_guarded(c, &path, args, limit, program.name)
                    });
                }
                if !program.reuses {
                    let keep = "mode=keep";
                    context
                        .test_or_skip(&format!("{name} (keep)"), |c| preloaded(c, &path, keep, args, limit));
                }
            }
        }
    }
}

/// Whose alarms leave no time for guarded blocks: one every 15 us, with five blocks each, of some 5 us.
const TOO_BUSY: &[&str] = &["signal_leak"];

/// The arguments for a run in which all blocks are guarded; None if there is none, or the same program has one already.
fn lighter(program: &Program, args: &'static [&'static str]) -> Option<&'static [&'static str]> {
    if TOO_BUSY.contains(&program.name) {
        return None;
    }
    let Some((_, lighter)) = LIGHTER.iter().find(|(name, _)| *name == program.name) else {
        return Some(args);
    };
    let first = PROGRAMS.iter().find(|other| other.name == program.name)?;
    std::ptr::eq(first, program).then_some(lighter)
}

/// Compiles one program, and the libraries before it.
pub fn compiled(context: &Context, name: &str, link: &[&str]) -> Result<PathBuf, String> {
    let (sources, folder) = (context.root.join("victims/programs"), context.scratch.join("programs"));
    let library = |name: &&str| Job {
        source: sources.join(format!("{name}.c")),
        output: folder.join(format!("lib{name}.so")),
        flags: vec!["-fPIC".into(), "-shared".into()],
    };
    let ending = if sources.join(format!("{name}.cpp")).exists() { "cpp" } else { "c" };
    let search = format!("-L{}", folder.display());
    let program = Job {
        source: sources.join(format!("{name}.{ending}")),
        output: folder.join(name),
        flags: std::iter::once(search).chain(link.iter().map(|flag| flag.to_string())).collect(),
    };
    let libraries: Vec<Job> = LIBRARIES.iter().map(library).collect();
    for jobs in [libraries, vec![program]] {
        if let Some((source, text)) = compile::all(&jobs).pop() {
            return Err(format!("{} does not compile:\n{text}", source.display()));
        }
    }
    Ok(folder.join(name))
}

/// What the program prints without us.
fn plain_output(path: &Path, args: &[&str], limit: Duration) -> Result<String, String> {
    Ok(Run::new(path, limit).args(args).ended()?.stdout)
}

fn through_run(context: &Context, path: &Path, args: &[&str], limit: Duration) -> Outcome {
    through(context, ("run", &[]), path, args, limit, &[0])
}

/// Every block is guarded, and nothing comes of it.
fn all_guarded(context: &Context, path: &Path, args: &[&str], limit: Duration, name: &str) -> Outcome {
    /// What `heapkeeper check` says if it saw too little.
    const BLIND: i32 = 98;
    let statuses: &[i32] = if PARTLY_GUARDED.contains(&name) { &[0, BLIND] } else { &[0] };
    let options: &[&str] = if LOSING.contains(&name) { &["--leaks=off"] } else { &[] };
    through(context, ("check", options), path, args, limit, statuses)
}

fn through(
    context: &Context,
    (verb, more): (&str, &[&str]),
    path: &Path,
    args: &[&str],
    limit: Duration,
    statuses: &[i32],
) -> Outcome {
    let json = context.scratch.join("program.json");
    let _ = std::fs::remove_file(&json);
    let json_text = json.to_string_lossy();
    let options: Vec<&str> = ["--json", &json_text].iter().chain(more).copied().collect();
    let ran = context.artefacts().and_then(|a| a.verb(verb, &options, path, limit).args(args).ended());
    let ended = match ran {
        Ok(ended) => ended,
        Err(text) => return Outcome::Failed(text),
    };
    if ended.status.code() == Some(SKIPPED) {
        return Outcome::Skipped(ended.stdout.trim().into());
    }
    let sound = || -> Verdict {
        let ends_well = ended.status.code().is_some_and(|status| statuses.contains(&status));
        if !ends_well || ended.timed_out || !ended.stdout.lines().any(|line| line == "ok") {
            return Err(format!("{}\n{}", ended.how(limit), ended.last_lines(20)));
        }
        let mut own_lines = ended.stderr.lines().filter(|line| !line.starts_with("heapkeeper:"));
        if let Some(line) = own_lines.next() {
            return Err(format!("a line on standard error that is not the command's: {line}"));
        }
        Report::read(&json)?.has_no_findings()
    };
    sound().into()
}

fn preloaded(context: &Context, path: &Path, settings: &str, args: &[&str], limit: Duration) -> Outcome {
    let ran = context.artefacts().and_then(|a| a.preloaded(settings, path, limit).args(args).ended());
    let ended = match ran {
        Ok(ended) => ended,
        Err(text) => return Outcome::Failed(text),
    };
    if ended.status.code() == Some(SKIPPED) {
        return Outcome::Skipped(ended.stdout.trim().into());
    }
    let sound = || -> Verdict {
        if !ended.status.success() || ended.timed_out || !ended.stderr.is_empty() {
            return Err(format!("{}\n{}", ended.how(limit), ended.last_lines(20)));
        }
        // Programs that say how they see themselves say the same without us.
        if path.ends_with("invisible") && ended.stdout != plain_output(path, args, limit)? {
            return Err(format!("prints what it does not print without us: {}", ended.stdout));
        }
        match ended.stdout.lines().any(|line| line == "ok") {
            true => Ok(()),
            false => Err(format!("did not end well: {}", ended.stdout)),
        }
    };
    sound().into()
}
