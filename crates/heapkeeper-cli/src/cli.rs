//! The one table of verbs and options: help, man page and completions are made from it.

use crate::{
    VerbResult, check, completions, dangling, demo, diff, doctor, init, leaks, lib_path, library, man, ps,
    report, retained, run, snap, uninstall, who, why,
};
use clap::{CommandFactory, Parser, Subcommand};

const LONG_ABOUT: &str = "\
Runs an unmodified Linux program on Heapkeeper's heap. Every invalid free, and every second free of a \
block that has not been handed out again, is caught at the call, named with its source line, and made \
harmless.";

/// One heap under any program: catches bad frees, names them, makes them harmless.
#[derive(Parser, Debug)]
#[command(name = "heapkeeper", version = library::VERSION_LINE, long_about = LONG_ABOUT)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Run a program on our heap
    Run(run::Args),
    /// Run a program with every block guarded, and fail if anything is found: for tests
    Check(check::Args),
    /// See five ways of freeing memory, on the system's malloc and on our heap
    Demo(demo::Args),
    /// Tell beforehand whether a program can be covered, and what would be missing
    Doctor(doctor::Args),
    /// Print a kept recording again
    Report(report::Args),
    /// List the processes that run on our heap and can be asked
    Ps(ps::Args),
    /// Tell where the resident memory of a running process goes
    Why(why::Args),
    /// Take a snapshot of a running process: all blocks, and every pointer to one
    Snap(snap::Args),
    /// Tell who holds a block, or the blocks of an allocation site: the shortest way there from a variable, stack or register
    Who(who::Args),
    /// Tell what would come free with a variable, a block, or the blocks of an allocation site
    Retained(retained::Args),
    /// Tell which allocation sites and sizes grew from one snapshot to another
    Diff(diff::Args),
    /// Tell blocks that nothing leads to any more
    Leaks(leaks::Args),
    /// Tell freed blocks that something still points to
    Dangling(dangling::Args),
    /// Print what puts our heap under a service, an image or a test suite for good
    Init(init::Args),
    /// Print the library's path, for a bare LD_PRELOAD
    Lib(lib_path::Args),
    /// Remove what heapkeeper unpacked into the cache folder
    Uninstall(uninstall::Args),
    /// Print the manual page
    Man(man::Args),
    /// Print a shell's completion script
    Completions(completions::Args),
}

/// The table as clap's value, for what is generated from it.
pub fn table() -> clap::Command {
    Cli::command()
}

/// Reads the command line and runs the verb.
pub fn dispatch() -> VerbResult {
    match Cli::try_parse() {
        Ok(cli) => match cli.verb {
            Verb::Run(args) => run::run(&args),
            Verb::Check(args) => check::run(&args),
            Verb::Demo(args) => demo::run(&args),
            Verb::Doctor(args) => doctor::run(&args),
            Verb::Report(args) => report::run(&args),
            Verb::Ps(args) => ps::run(&args),
            Verb::Why(args) => why::run(&args),
            Verb::Snap(args) => snap::run(&args),
            Verb::Who(args) => who::run(&args),
            Verb::Retained(args) => retained::run(&args),
            Verb::Diff(args) => diff::run(&args),
            Verb::Leaks(args) => leaks::run(&args),
            Verb::Dangling(args) => dangling::run(&args),
            Verb::Init(args) => init::run(&args),
            Verb::Lib(args) => lib_path::run(&args),
            Verb::Uninstall(args) => uninstall::run(&args),
            Verb::Man(args) => man::run(&args),
            Verb::Completions(args) => completions::run(&args),
        },
        Err(answer) => Ok(usage(&answer)),
    }
}

/// Prints help, the version, or what is wrong with the command line.
fn usage(answer: &clap::Error) -> std::process::ExitCode {
    let _ = answer.print();
    match answer.use_stderr() {
        true => crate::failure::OWN_ERROR.into(),
        false => std::process::ExitCode::SUCCESS,
    }
}
