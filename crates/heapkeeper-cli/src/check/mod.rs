//! `heapkeeper check`: runs a program as strictly as can be, and says by its exit status whether anything new was found, and whether
//! enough was seen to say so.

mod blind;

use crate::options::RunOptions;
use crate::output::Output;
use crate::run::end_as;
use crate::run::session::{Session, Verb};
use crate::{Failure, VerbResult};
use hk_format::{Guard, GuardSide, Leaks};
use hk_report::{Exit, Judgement, Report, count, merge};
use std::ffi::OsString;
use std::process::ExitCode;

/// There are findings that are neither suppressed nor in the baseline.
const FOUND: u8 = 97;
/// Nothing was found, and too little was seen for that to mean anything.
const BLIND: u8 = 98;

const AFTER_HELP: &str = "\
Exit status: that of CMD if nothing new was found (if a signal ended CMD, heapkeeper ends by the same signal); \
97 if something was; 98 if nothing was found, but heapkeeper was blind: CMD could not be covered, or blocks went \
unguarded. 125 if heapkeeper itself failed, 126 if CMD cannot be executed, 127 if it was not found.

Findings that are suppressed (--suppressions) or in the baseline (--baseline) do not count.

The choices travel in the variable HEAPKEEPER=key=value,…; one that is set already is the default here.";

/// `--side` on the command line.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub enum SideName {
    /// Accesses past a block's end trap (the default)
    End,
    /// Accesses before a block's start trap
    Start,
    /// Run CMD twice, once with each, and report what either found
    Both,
}

/// Options of `heapkeeper check`.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    options: RunOptions,
    /// At which side of a block the guard stands that traps the first byte beyond it
    #[arg(long, value_enum, value_name = "SIDE")]
    side: Option<SideName>,
    /// Write what was found into the baseline, in place of what was in it; then nothing of it counts
    #[arg(long, requires = "baseline")]
    update_baseline: bool,
    /// The program to run, with its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "CMD")]
    #[arg(value_hint = clap::ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

/// What `check` is content with.
const CHECK: Verb = Verb {
    name: "check",
    guard: Guard::OneIn(1),
    guard_side: GuardSide::End,
    leaks: Leaks::Exit,
    keeps_account: true,
};

/// Runs CMD, once or twice. Does not return if nothing was found and a signal ended CMD.
pub fn run(args: &Args) -> VerbResult {
    let mut session = Session::prepare(&args.options, &args.command, CHECK)?;
    let update = args.options.baseline.as_deref().filter(|_| args.update_baseline);
    let update = update.map(Output::create).transpose()?;
    let (report, exit) = runs(&mut session, args.side)?;
    let (report, judgement) = session.conclude(report)?;
    let blind = blind::reason(&report, session.guards_all());
    if let Some(why) = &blind {
        session.sink.line(&format!("blind: {why}"));
    }
    let ended = match (update, blind.is_some()) {
        (Some(_), true) => {
            session.sink.line("the baseline was not written: what was not seen may still be there");
            Some(BLIND)
        }
        (Some(baseline), false) => {
            baseline.commit(Session::baseline_of(&report).as_bytes())?;
            let written = count(judgement.new + judgement.known, "finding");
            session.sink.line(&format!("the baseline has {written} now"));
            None
        }
        (None, blind) => verdict(&session, &judgement, blind),
    };
    session.sink.check()?;
    ended.map_or_else(|| end_as(exit), |code| Ok(ExitCode::from(code)))
}

/// One run, or one for each side: then whichever ended badly is how CMD ended.
fn runs(session: &mut Session, side: Option<SideName>) -> Result<(Report, Exit), Failure> {
    let side = match side {
        None => None,
        Some(SideName::End) => Some(GuardSide::End),
        Some(SideName::Start) => Some(GuardSide::Start),
        Some(SideName::Both) => return both_sides(session),
    };
    session.guard_at(side);
    let ran = session.run(None)?;
    Ok((ran.report, ran.exit))
}

fn both_sides(session: &mut Session) -> Result<(Report, Exit), Failure> {
    let first = session.run(Some(GuardSide::End))?;
    if first.interrupted {
        session.sink.line("interrupted: the run with guards at the blocks' start was left out");
        return Ok((first.report, first.exit));
    }
    // The same would be lost again.
    session.look_for_leaks(Leaks::Off);
    let second = session.run(Some(GuardSide::Start))?;
    let exit = if matches!(first.exit, Exit::Status(0)) { second.exit } else { first.exit };
    Ok((merge(first.report, second.report), exit))
}

/// Says what the exit status will say. None: that of CMD.
fn verdict(session: &Session, judgement: &Judgement, blind: bool) -> Option<u8> {
    match (judgement.new, blind) {
        (0, false) => None,
        (0, true) => {
            session.sink.line(&format!("check: too little was seen (exit status {BLIND})"));
            Some(BLIND)
        }
        (new, _) => {
            session.sink.line(&format!("check: {} (exit status {FOUND})", count(new, "new finding")));
            Some(FOUND)
        }
    }
}
