//! `heapkeeper run`: runs a program on our heap, tells findings as they happen, and sums up at its end.
//!
//! ```text
//! prepare   library unpacked, recording made, output files opened     ([`environment`], [`recording`])
//! start     CMD with LD_PRELOAD and HEAPKEEPER, everything else as we were started
//! wait      signals and job control pass through                      ([`supervise`])
//!           meanwhile a thread tells findings as they are recorded    ([`watch`])
//! sum up    the recording is read once more, whole                    ([`finish`])
//! end       as CMD ended
//! ```
//!
//! Nothing is written to a descriptor that CMD has been given but by CMD itself: our lines go to our own
//! standard error or to `--log`.

mod descendants;
mod environment;
mod finish;
mod recording;
mod supervise;
mod watch;

use crate::lines::Sink;
use crate::output::{self, Output};
use crate::{Failure, VerbResult, inspect, library, os};
use environment::Choices;
use hk_report::clean;
use recording::RecordingFile;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use watch::{Watch, Watcher};

/// Exit codes of env(1): CMD was found but cannot be run; CMD was not found.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

const AFTER_HELP: &str = "\
Exit status: that of CMD; if a signal ended CMD, heapkeeper ends by the same signal. 125 if heapkeeper itself \
failed, 126 if CMD cannot be executed, 127 if it was not found.

The choices travel in the variable HEAPKEEPER=key=value,…; one that is set already is the default here.";

/// Options of `heapkeeper run`.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Who answers when memory is no longer in use
    #[arg(long, value_enum, value_name = "MODE")]
    mode: Option<environment::ModeName>,
    /// What happens after a bad free was reported
    #[arg(long, value_enum, value_name = "WHAT")]
    on_finding: Option<environment::OnFindingName>,
    /// Write the report to FILE as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep the recording in FILE, for `heapkeeper report FILE`
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Write heapkeeper's lines to FILE and not to standard error
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// The program to run, with its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "CMD")]
    #[arg(value_hint = clap::ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

/// What a run has at hand.
struct Run {
    command: Vec<OsString>,
    /// The file that CMD is, as far as it can be known beforehand.
    program: Option<PathBuf>,
    /// Why CMD cannot be covered, where that can be known beforehand.
    obstacle: Option<String>,
    recording: RecordingFile,
    json: Option<Output>,
    sink: Arc<Sink>,
}

/// Runs CMD. Does not return if a signal ended CMD.
pub fn run(args: &Args) -> VerbResult {
    for (option, path) in [("--json", &args.json), ("--log", &args.log), ("--record", &args.record)] {
        if path.as_ref().is_some_and(|path| path.as_os_str() == "-") {
            return Err(Failure::new(format!(
                "{option} -: standard output is the program's own; give a file"
            )));
        }
    }
    refuse_option_as_command(&args.command)?;
    let files = [("--json", &args.json), ("--log", &args.log), ("--record", &args.record)];
    let given: Vec<_> = files.iter().filter_map(|(option, path)| Some((*option, path.as_deref()?))).collect();
    output::refuse_same(&given)?;
    let program = inspect::find(&args.command[0]);
    if let Some(program) = &program {
        output::refuse_program(&given, program)?;
    }
    // First of all, while there is one thread.
    let signals = os::Signals::take_over();
    let sink = match &args.log {
        Some(path) => Arc::new(Sink::file(path)?),
        None => Arc::new(Sink::standard_error()),
    };
    let choices = Choices::new(args, &sink);
    let library = library::unpack()?;
    let mut run = Run {
        obstacle: program.as_deref().and_then(inspect::obstacle),
        json: args.json.as_deref().map(Output::create).transpose()?,
        // Last, as it is not removed if something else fails.
        recording: RecordingFile::create(args.record.as_deref())?,
        command: args.command.clone(),
        program,
        sink,
    };
    let mut command = Command::new(&args.command[0]);
    command.args(&args.command[1..]);
    let preload = !run.program.as_deref().is_some_and(inspect::refuses_preload);
    choices.apply(&mut command, &library, run.recording.path(), preload);
    signals.hand_down(&mut command);

    let started = finish::Started::now();
    let watcher = Watcher::open(&run).inspect_err(|_| run.recording.withdraw())?;
    let child = start(&mut command, &run)?;
    run.recording.begin();
    run.sink.begin();
    run.sink.line(&start_line(&run, &choices));
    let watch = Watch::start(watcher);
    let ended = supervise::supervise(&signals, child.id());
    let watcher = watch.map_or_else(|watcher| *watcher, Watch::stop);
    // From here on a signal is meant for us.
    signals.give_back();
    finish::finish(run, &child, &started, watcher, ended)
}

/// A misspelt option is taken for CMD otherwise. A program of such a name can be given behind `--`.
fn refuse_option_as_command(command: &[OsString]) -> Result<(), Failure> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let before = words.len().checked_sub(command.len() + 1).map(|at| &words[at]);
    if !command[0].as_encoded_bytes().starts_with(b"-") || before.is_some_and(|word| word == "--") {
        return Ok(());
    }
    let name = command[0].to_string_lossy();
    Err(Failure::new(format!(
        "run has no option {}: see 'heapkeeper run --help'; a program of that name goes behind --",
        clean(&name)
    )))
}

/// Starts CMD; where that fails, says so with the exit code of env(1).
fn start(command: &mut Command, run: &Run) -> Result<Child, Failure> {
    command.spawn().map_err(|error| {
        run.recording.withdraw();
        let name = match run.command[0].to_string_lossy() {
            empty if empty.is_empty() => "''".into(),
            name => clean(&name),
        };
        match error.kind() {
            std::io::ErrorKind::NotFound => {
                Failure::with_code(format!("cannot run {name}: {error}"), NOT_FOUND)
            }
            _ => Failure::with_code(format!("cannot run {name}: {error}"), NOT_EXECUTABLE),
        }
    })
}

fn start_line(run: &Run, choices: &Choices) -> String {
    let name = clean(&run.command[0].to_string_lossy());
    match &run.obstacle {
        None => format!("running {name} on our heap, {}", choices.describe()),
        Some(why) => {
            format!("running {name}, which cannot be covered: {why}; programs that it starts may be")
        }
    }
}
