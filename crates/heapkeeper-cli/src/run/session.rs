//! What a verb that runs programs has at hand, from the command line to the last line.

use super::environment::Choices;
use super::finish::{self, Ran};
use super::recording::RecordingFile;
use super::supervise;
use super::teller::Teller;
use super::watch::{Watch, Watcher};
use crate::forms::{Forms, Wanted};
use crate::lines::Sink;
use crate::options::{RunOptions, refuse_option_as_command};
use crate::words::typed;
use crate::{Failure, dangling, inspect, judging, library, os};
use hk_format::{Guard, GuardSide, Leaks};
use hk_report::{Baseline, Judge, Judgement, Report, clean, judgement_text, summary_text};
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;

/// Exit codes of env(1): CMD was found but cannot be run; CMD was not found.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// What the verbs differ in.
#[derive(Clone, Copy)]
pub struct Verb {
    /// Its name on the command line.
    pub name: &'static str,
    /// Which blocks are guarded if nobody says.
    pub guard: Guard,
    /// At which side, likewise.
    pub guard_side: GuardSide,
    /// When lost blocks are looked for, unless the user says.
    pub leaks: Leaks,
    /// Whether it is for runs whose findings are counted again and again.
    pub keeps_account: bool,
}

/// Everything that is there before CMD is started.
pub struct Session {
    pub command: Vec<OsString>,
    /// The file that CMD is, as far as it can be known beforehand.
    pub program: Option<PathBuf>,
    /// Why CMD cannot be covered, where that can be known beforehand.
    pub obstacle: Option<String>,
    pub sink: Arc<Sink>,
    choices: Choices,
    library: PathBuf,
    judge: Arc<Judge>,
    /// Whether somebody keeps account of findings, and may want to suppress one.
    offers_suppression: bool,
    forms: Forms,
    record: Option<PathBuf>,
    recordings: Vec<(RecordingFile, finish::Rest)>,
    /// None while a run has it.
    teller: Option<Teller>,
    signals: os::Signals,
}

impl Session {
    /// Reads and opens all that the options name, and finds errors before anything is started.
    pub fn prepare(options: &RunOptions, command: &[OsString], verb: Verb) -> Result<Session, Failure> {
        refuse_option_as_command(verb.name, command)?;
        let program = inspect::find(&command[0]);
        options.check_files(program.as_deref())?;
        // First of all, while there is one thread.
        let signals = os::Signals::take_over();
        let sink = Arc::new(match &options.log {
            Some(path) => Sink::file(path)?,
            None => Sink::standard_error(),
        });
        let judge = Arc::new(judging::judge(options.baseline.as_deref(), &options.suppressions, &sink)?);
        let choices = Choices::new(options, verb, program.as_deref(), &sink)?;
        let forms = Forms::open(Wanted {
            json: options.json.as_deref(),
            sarif: options.sarif.as_deref(),
            junit: options.junit.as_deref(),
            html: options.html.as_deref(),
            github: options.github,
        })?;
        // Whoever guards all has seen all that there is to see.
        let check = (!choices.guards_all()).then(|| format!("heapkeeper check -- {}", typed(command)));
        Ok(Session {
            obstacle: program.as_deref().and_then(inspect::obstacle),
            teller: Some(Teller::new(&sink, &judge, options.new_only, check)),
            library: library::unpack()?,
            command: command.to_vec(),
            offers_suppression: verb.keeps_account
                || options.baseline.is_some()
                || !options.suppressions.is_empty(),
            record: options.record.clone(),
            recordings: Vec::new(),
            program,
            sink,
            choices,
            judge,
            forms,
            signals,
        })
    }

    /// Guards stand at this side, if one is given, and not where the variable says.
    pub fn guard_at(&mut self, side: Option<GuardSide>) {
        if let Some(side) = side {
            self.choices.set_guard_side(side);
        }
    }

    /// Lost blocks are looked for at these times.
    pub fn look_for_leaks(&mut self, leaks: Leaks) {
        self.choices.set_leaks(leaks);
    }

    /// Runs CMD once. Of several runs each is given its side, and has a recording of its own.
    pub fn run(&mut self, side: Option<GuardSide>) -> Result<Ran, Failure> {
        self.guard_at(side);
        let mut recording = RecordingFile::create(self.record_as(side).as_deref())?;
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        let preload = !self.program.as_deref().is_some_and(inspect::refuses_preload);
        self.choices.apply(&mut command, &self.library, recording.path(), preload);
        self.signals.hand_down(&mut command);

        let started = finish::Started::now();
        let mut teller = self.teller.take().expect("no other run is going on");
        teller.recorded_in(recording.path());
        let watcher = Watcher::open(&recording, teller).inspect_err(|_| recording.withdraw())?;
        let child = self.start(&mut command, &recording)?;
        recording.begin();
        self.sink.begin();
        self.sink.line(&self.start_line(side));
        let watch = Watch::start(watcher);
        let ended = supervise::supervise(&self.signals, child.id());
        let mut watcher = watch.map_or_else(|watcher| *watcher, Watch::stop);
        let rest = finish::Rest::running(&recording);
        let report = finish::report(self, &child, &started, &mut watcher, ended)?;
        self.teller = Some(watcher.into_teller());
        let rest = rest.with(&report, &recording);
        self.recordings.push((recording, rest));
        Ok(Ran { report, exit: ended.exit, interrupted: ended.interrupted })
    }

    /// Judges the report, sums up, and writes the files. Gives the report as it was judged.
    pub fn conclude(&mut self, mut report: Report) -> Result<(Report, Judgement), Failure> {
        // From here on a signal is meant for us.
        self.signals.give_back();
        let judgement = self.judge.judge(&mut report);
        if let Some(teller) = &mut self.teller {
            teller.tell_rest(&report);
        }
        finish::tell_end(self, &report);
        self.sink.text(&summary_text(&report, self.sink.style()));
        self.tell_idle_site(&report);
        self.tell_dangling();
        self.sink.text(&judgement_text(&judgement, &report, self.offers_suppression));
        for (recording, rest) in &self.recordings {
            finish::keep_or_discard(&self.sink, recording, rest, &report);
        }
        let annotations = std::mem::take(&mut self.forms).write(&report)?;
        // Standard output is the program's; GitHub reads both.
        let _ = std::io::stderr().write_all(annotations.as_bytes());
        self.sink.check()?;
        Ok((report, judgement))
    }

    /// In mode quarantine: what still pointed to freed blocks at the end.
    fn tell_dangling(&self) {
        for (recording, _) in &self.recordings {
            let path = recording.last_snapshot();
            if path.exists() {
                dangling::summary(&path).iter().for_each(|line| self.sink.line(line));
                let _ = std::fs::remove_file(&path);
            }
        }
    }

    /// A site that allocated nothing may be another one than was meant.
    fn tell_idle_site(&self, report: &Report) {
        let guarded: u64 = report.processes.iter().map(|process| process.guarded_blocks).sum();
        if let Some(site) = self.choices.site().filter(|_| guarded == 0) {
            self.sink
                .line(&format!("note: no block was allocated below {}, so none was guarded", clean(site)));
        }
    }

    /// Whether every block was to be guarded, or all of certain sites.
    pub fn guards_all(&self) -> bool {
        self.choices.guards_all()
    }

    /// The findings of a judged report as a baseline.
    pub fn baseline_of(report: &Report) -> String {
        Baseline::of(&report.findings).to_json()
    }

    fn record_as(&self, side: Option<GuardSide>) -> Option<PathBuf> {
        let path = self.record.as_ref()?;
        Some(match side {
            None => path.clone(),
            Some(side) => {
                let mut name = path.clone().into_os_string();
                name.push(format!(".{}", side.name()));
                name.into()
            }
        })
    }

    /// Starts CMD; where that fails, says so with the exit code of env(1).
    fn start(&self, command: &mut Command, recording: &RecordingFile) -> Result<Child, Failure> {
        command.spawn().map_err(|error| {
            recording.withdraw();
            let name = match self.command[0].to_string_lossy() {
                empty if empty.is_empty() => "''".into(),
                name => clean(&name),
            };
            let code = match error.kind() {
                std::io::ErrorKind::NotFound => NOT_FOUND,
                _ => NOT_EXECUTABLE,
            };
            Failure::with_code(format!("cannot run {name}: {error}"), code)
        })
    }

    fn start_line(&self, side: Option<GuardSide>) -> String {
        let name = clean(&self.command[0].to_string_lossy());
        let of_two = match side {
            Some(side) => format!(" (guards at the blocks' {})", side.name()),
            None => String::new(),
        };
        match &self.obstacle {
            None => format!("running {name} on our heap{of_two}, {}", self.choices.describe()),
            Some(why) => {
                format!("running {name}, which cannot be covered: {why}; programs that it starts may be")
            }
        }
    }
}

/// Whether somebody is to look at a finding of this status.
pub fn is_told(status: &str, new_only: bool) -> bool {
    match status {
        "suppressed" => false,
        "known" => !new_only,
        _ => true,
    }
}
