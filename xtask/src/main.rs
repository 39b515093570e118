//! The project's chores: `cargo xtask test` is everything that CI runs, `cargo xtask soak` what takes longer,
//! `cargo xtask tidy` the rules that no compiler checks, `cargo xtask setup` what has to be installed.
//!
//! A *suite* is a list of tests with a budget of minutes. It prints one line, its failures in detail above
//! it; the last line of all is `N passed, N failed, N skipped`. Whatever cannot be tested on this machine is
//! counted as skipped, with the way to get it, and never as passed.

mod artefacts;
mod compile;
mod context;
mod outcome;
mod packages;
mod process;
mod suites;
mod tidy;

use context::Context;
use outcome::Tally;
use std::process::ExitCode;
use suites::Suite;

const USAGE: &str = "\
usage: cargo xtask test [SUITE...] [--list] [--only TEXT] [--command PATH]
       cargo xtask soak [SUITE...] [--list] [--only TEXT] [--command PATH]
       cargo xtask tidy
       cargo xtask setup

test       everything that CI runs, or the suites named
soak       long stress, big suites and benches; raw results go to bench/results/
tidy       the rules of the code that no compiler checks
setup      installs the programs that the tests use (as root, with apt-get)
--list     says which suites there are
--only     runs only the tests whose names contain TEXT
--command  tests this heapkeeper command instead of building one";

struct Arguments {
    verb: String,
    suites: Vec<String>,
    list: bool,
    only: String,
    command: Option<String>,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)).and_then(|arguments| run(&arguments)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let verb = words.next().ok_or(USAGE)?;
    let mut arguments =
        Arguments { verb, suites: Vec::new(), list: false, only: String::new(), command: None };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--list" => arguments.list = true,
            "--only" => arguments.only = words.next().ok_or("--only needs a text")?,
            "--command" => arguments.command = Some(words.next().ok_or("--command needs a path")?),
            option if option.starts_with('-') => return Err(format!("no option {option}\n{USAGE}")),
            _ => arguments.suites.push(word),
        }
    }
    Ok(arguments)
}

fn run(arguments: &Arguments) -> Result<bool, String> {
    match arguments.verb.as_str() {
        "test" => run_suites(arguments, suites::TEST),
        "soak" => run_suites(arguments, suites::SOAK),
        "tidy" => run_suites(&Arguments { suites: vec!["tidy".into()], ..quiet(arguments) }, suites::TEST),
        "setup" => packages::setup().map(|()| true),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(true)
        }
        verb => Err(format!("no verb '{verb}'\n{USAGE}")),
    }
}

fn quiet(arguments: &Arguments) -> Arguments {
    Arguments {
        verb: arguments.verb.clone(),
        suites: Vec::new(),
        list: arguments.list,
        only: arguments.only.clone(),
        command: arguments.command.clone(),
    }
}

fn run_suites(arguments: &Arguments, table: &[Suite]) -> Result<bool, String> {
    if arguments.list {
        for suite in table {
            println!("{:12} {:5} s  {}", suite.name, suite.seconds, suite.what);
        }
        return Ok(true);
    }
    if let Some(unknown) = arguments.suites.iter().find(|name| !table.iter().any(|s| s.name == **name)) {
        return Err(format!("no suite '{unknown}'; --list names them"));
    }
    let mut context =
        Context::new(arguments.only.clone(), arguments.command.clone(), arguments.verb == "soak")?;
    if context.soak {
        context.results = Some(results_file(&context)?);
    }
    let chosen =
        |suite: &&Suite| arguments.suites.is_empty() || arguments.suites.iter().any(|n| n == suite.name);
    let mut tally = Tally::default();
    for suite in table.iter().filter(chosen) {
        tally += suites::run(suite, &mut context);
    }
    context.say(&tally.to_string());
    Ok(tally.failed == 0)
}

/// A dated file under bench/results that begins with what it was measured on.
fn results_file(context: &Context) -> Result<std::path::PathBuf, String> {
    let script = "date -u +%Y-%m-%d-%H%M; date -u; git log -1 --format='commit %H'; uname -srm; nproc; \
        grep -m1 'model name' /proc/cpuinfo; grep MemTotal /proc/meminfo";
    let run = process::Run::new("/bin/sh", std::time::Duration::from_secs(20));
    let ended = run.args(["-c", script]).folder(&context.root).succeeds()?;
    let (name, machine) = ended.stdout.split_once('\n').ok_or("date printed nothing")?;
    let folder = context.root.join("bench/results");
    let path = folder.join(format!("{name}-soak.txt"));
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(&path, machine))
        .map_err(|e| format!("{}: {e}", path.display()))?;
    println!("results are kept in {}", path.display());
    Ok(path)
}
