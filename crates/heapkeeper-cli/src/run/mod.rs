//! `heapkeeper run`: runs a program on our heap, tells findings as they happen, and sums up at its end.
//!
//! ```text
//! prepare   files read and opened, library unpacked              ([`session`], [`environment`])
//! start     CMD with LD_PRELOAD and HEAPKEEPER, everything else as we were started; a recording    ([`recording`])
//! wait      signals and job control pass through                 ([`supervise`])
//!           meanwhile a thread tells findings as they are recorded    ([`watch`], [`teller`])
//! report    the recording is read once more, whole               ([`finish`])
//! conclude  the summary, and the files that were asked for       ([`session`])
//! end       as CMD ended
//! ```
//!
//! Nothing is written to a descriptor that CMD has been given but by CMD itself: our lines go to our own
//! standard error or to `--log`. `heapkeeper check` goes the same way, maybe twice, and ends otherwise.

mod descendants;
pub mod environment;
mod finish;
mod recording;
pub mod session;
mod supervise;
mod teller;
mod watch;

use crate::options::RunOptions;
use crate::{VerbResult, os};
use hk_format::{GUARD_EVERY_DEFAULT, Guard, GuardSide, Leaks};
use hk_report::Exit;
use session::{Session, Verb};
use std::ffi::OsString;
use std::process::ExitCode;

const AFTER_HELP: &str = "\
Exit status: that of CMD; if a signal ended CMD, heapkeeper ends by the same signal. 125 if heapkeeper itself \
failed, 126 if CMD cannot be executed, 127 if it was not found.

The choices travel in the variable HEAPKEEPER=key=value,…; one that is set already is the default here.";

/// Options of `heapkeeper run`.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    options: RunOptions,
    /// The program to run, with its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "CMD")]
    #[arg(value_hint = clap::ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

/// What `run` is content with.
const RUN: Verb = Verb {
    name: "run",
    guard: Guard::OneIn(GUARD_EVERY_DEFAULT),
    guard_side: GuardSide::Both,
    leaks: Leaks::Off,
    keeps_account: false,
};

/// Runs CMD. Does not return if a signal ended CMD.
pub fn run(args: &Args) -> VerbResult {
    let mut session = Session::prepare(&args.options, &args.command, RUN)?;
    let ran = session.run(None)?;
    session.conclude(ran.report)?;
    end_as(ran.exit)
}

/// Ends this process as CMD ended.
pub fn end_as(exit: Exit) -> VerbResult {
    match exit {
        Exit::Status(status) => Ok(ExitCode::from(status as u8)),
        Exit::Signal(signal) => {
            os::die_by(signal);
            // Not every signal ends a process that asks for it: the shells' way of telling.
            Ok(ExitCode::from((128 + signal) as u8))
        }
    }
}
