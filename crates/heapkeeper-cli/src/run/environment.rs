//! The choices of a run, and how they travel to the library: in `HEAPKEEPER`, next to `LD_PRELOAD`.

use super::session::Verb;
use crate::lines::Sink;
use crate::options::RunOptions;
use crate::sites::Sites;
use crate::{Failure, doctor, os};
use hk_format::{
    Engine, Guard, GuardSide, Leaks, Mode, OnFinding, SETTINGS_VARIABLE, Setting, SettingError, Settings,
    decode_path, parse_settings,
};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::Command;

const PRELOAD_VARIABLE: &str = "LD_PRELOAD";

/// `--mode` on the command line.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub enum ModeName {
    /// The program, by free: every invalid free and second free is caught (the default)
    Manual,
    /// Nobody: nothing is ever reused, which shows what never freeing costs
    Keep,
    /// A sweep: a freed block is reused when no pointer to it is left, so that its use after free harms nobody
    Quarantine,
}

/// `--on-finding` on the command line.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub enum OnFindingName {
    /// The bad call is ignored and the program goes on (the default)
    Report,
    /// The program is stopped by SIGABRT
    Abort,
}

/// `--leaks` on the command line.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub enum LeaksName {
    /// Never
    Off,
    /// When the program ends
    Exit,
}

/// `--guard` on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuardChoice {
    /// Off, or one in so many.
    Rate(Guard),
    /// What is allocated below a place in the code.
    Site(String),
}

impl GuardChoice {
    /// Reads what stands behind `--guard`, with the settings' own parser.
    pub fn parse(text: &str) -> Result<GuardChoice, String> {
        let mut setting = b"guard=".to_vec();
        encode(text.as_bytes(), &mut setting);
        match parse_settings(&setting).next() {
            Some(Ok(Setting::Guard(guard))) => Ok(GuardChoice::Rate(guard)),
            Some(Ok(Setting::GuardSite(_))) => Ok(GuardChoice::Site(text["site:".len()..].to_owned())),
            Some(Err(SettingError { why, .. })) => Err(why.into()),
            _ => Err("guard is off, 1/N, site:FUNC or site:FILE:LINE".into()),
        }
    }
}

/// What was chosen: by the variable where it is set, by the command line above that.
pub struct Choices {
    settings: Settings,
    /// Where the code of the sites lies, if blocks of certain sites are guarded.
    sites: Option<Sites>,
}

impl Choices {
    /// Reads both; names parts of the variable that are no settings. An error if there is no such site in the program.
    pub fn new(
        options: &RunOptions,
        verb: Verb,
        program: Option<&Path>,
        sink: &Sink,
    ) -> Result<Choices, Failure> {
        let (mut settings, site, mut names_guard) = from_variable(verb, sink);
        for setting in given(options) {
            settings.apply(setting);
        }
        names_guard |= options.guard.is_some();
        if settings.mode == Mode::Quarantine && !names_guard && verb.guard != Guard::OneIn(1) {
            // A guarded block rests for a time after its free, and is not swept.
            settings.guard = Guard::Off;
        }
        let sites = match &options.guard {
            Some(GuardChoice::Site(site)) => {
                settings.guard = Guard::Sites;
                Some(Sites::find(site, program)?)
            }
            _ => site.filter(|_| settings.guard == Guard::Sites).and_then(|site| {
                // It may be meant for another program, as a run may start one.
                let found = Sites::find(&site, program);
                found.map_err(|failure| sink.line(&format!("{SETTINGS_VARIABLE}: ignored: {failure}"))).ok()
            }),
        };
        if settings.guard == Guard::Sites && sites.is_none() {
            settings.guard = verb.guard;
        }
        Ok(Choices { settings, sites })
    }

    /// The site whose blocks are guarded, if it is one.
    pub fn site(&self) -> Option<&str> {
        self.sites.as_ref().map(Sites::text)
    }

    /// Guards stand at this side from now on.
    pub fn set_guard_side(&mut self, side: GuardSide) {
        self.settings.guard_side = side;
    }

    /// Lost blocks are looked for at these times from now on.
    pub fn set_leaks(&mut self, leaks: Leaks) {
        self.settings.leaks = leaks;
    }

    /// Whether every block is to be guarded, or all of certain sites.
    pub fn guards_all(&self) -> bool {
        matches!(self.settings.guard, Guard::OneIn(1) | Guard::Sites)
    }

    /// For the start line.
    pub fn describe(&self) -> String {
        let on_finding = match self.settings.on_finding {
            OnFinding::Report => "bad calls are reported and ignored",
            OnFinding::Abort => "the first finding stops it",
        };
        format!("mode {}: {on_finding}; {}", self.describe_mode(), self.describe_guard())
    }

    fn describe_mode(&self) -> String {
        let name = self.settings.mode.name();
        if self.settings.mode != Mode::Quarantine {
            return name.into();
        }
        let how = match self.settings.engine {
            Engine::Relaxed => "relaxed: freed blocks are released by age, as was asked for",
            Engine::Blind => {
                "unsound: what is written to during a sweep is not looked at again, as was asked for"
            }
            Engine::Stopped => "strict: it stands still while it is swept, as was asked for",
            Engine::Auto | Engine::Tracked if doctor::tracks_writes() => "strict: it is swept while it runs",
            Engine::Auto => {
                "strict: it stands still while it is swept, as the system tracks no writes (Linux 6.7, userfaultfd)"
            }
            Engine::Tracked => {
                "strict: but the system tracks no writes (Linux 6.7, userfaultfd), so no sweep will work"
            }
        };
        format!("{name} ({how})")
    }

    fn describe_guard(&self) -> String {
        let what = match (self.settings.guard, &self.sites) {
            (Guard::Off, _) => return "no block is guarded".into(),
            (Guard::OneIn(1), _) => "every block is guarded".into(),
            (Guard::OneIn(every), _) => format!("1 block in {every} is guarded"),
            (Guard::Sites, Some(sites)) => format!("blocks allocated below {} are guarded", sites.text()),
            (Guard::Sites, None) => "blocks of certain sites are guarded".into(),
        };
        let what = match self.settings.guard_batch {
            0 => what,
            batch => format!("{what}, what was freed {batch} blocks at a time"),
        };
        match os::has_guard_pages() {
            true => what,
            false => format!(
                "{what}, few at a time, as there are no guard pages here (Linux 6.13): mprotect has to do"
            ),
        }
    }

    /// Gives CMD the two variables. Without `preload` CMD itself, whose loader would complain about the
    /// library, is left alone.
    pub fn apply(&self, command: &mut Command, library: &Path, recording: &Path, preload: bool) {
        command.env(SETTINGS_VARIABLE, self.value(library, recording));
        if preload {
            let before = std::env::var_os(PRELOAD_VARIABLE).unwrap_or_default();
            command.env(PRELOAD_VARIABLE, prepend(library.as_os_str(), &before));
        }
    }

    fn value(&self, library: &Path, recording: &Path) -> OsString {
        let Settings {
            mode,
            on_finding,
            purge_delay_ms,
            huge_pages,
            guard,
            guard_side,
            guard_batch,
            leaks,
            quarantine_mib,
            quarantine_percent,
            sweep_cpu_percent,
            engine,
            zero,
        } = self.settings;
        let mut value = OsString::from(format!(
            "mode={},on-finding={},purge-delay-ms={purge_delay_ms},huge-pages={},guard-side={},guard-batch={guard_batch},leaks={},",
            mode.name(),
            on_finding.name(),
            huge_pages.name(),
            guard_side.name(),
            leaks.name(),
        ));
        if mode == Mode::Quarantine {
            value.push(format!(
                "quarantine-mib={quarantine_mib},quarantine-percent={quarantine_percent},sweep-cpu-percent={sweep_cpu_percent},sweep={},zero={},",
                engine.name(),
                if zero { "on" } else { "off" }
            ));
        }
        match guard {
            Guard::Off => value.push("guard=off,"),
            Guard::OneIn(every) => value.push(format!("guard=1/{every},")),
            Guard::Sites => self.sites.iter().for_each(|sites| {
                value.push("guard=site:");
                let mut text = Vec::new();
                encode(sites.text().as_bytes(), &mut text);
                value.push(OsString::from_vec(text));
                value.push(format!(",guard-sites={},", sites.ranges()));
            }),
        }
        value.push(recorder_setting(recording));
        let mut value = value.into_vec();
        value.extend_from_slice(b",lib=");
        encode(library.as_os_str().as_bytes(), &mut value);
        OsString::from_vec(value)
    }
}

/// The setting that names the recording.
pub fn recorder_setting(recording: &Path) -> OsString {
    let mut setting = b"recorder=".to_vec();
    encode(recording.as_os_str().as_bytes(), &mut setting);
    OsString::from_vec(setting)
}

/// The library before whatever else is preloaded: its malloc has to be the first that is found.
fn prepend(library: &OsStr, before: &OsStr) -> OsString {
    let is_there = before.as_bytes().split(|b| b" :".contains(b)).any(|part| part == library.as_bytes());
    let mut value = library.to_os_string();
    if is_there {
        return before.to_os_string();
    }
    if !before.is_empty() {
        value.push(":");
        value.push(before);
    }
    value
}

/// What the variable says, above what the verb is content with; the site that it names, and whether it says what is guarded.
fn from_variable(verb: Verb, sink: &Sink) -> (Settings, Option<String>, bool) {
    let mut settings =
        Settings { guard: verb.guard, guard_side: verb.guard_side, leaks: verb.leaks, ..Settings::DEFAULT };
    let (mut site, mut names_guard) = (None, false);
    let variable = std::env::var_os(SETTINGS_VARIABLE).unwrap_or_default();
    for part in parse_settings(variable.as_bytes()) {
        match part {
            Ok(setting) => {
                if let Setting::GuardSite(text) = setting {
                    site = decode(text);
                }
                names_guard |= matches!(setting, Setting::Guard(_) | Setting::GuardSite(_));
                settings.apply(setting);
            }
            Err(error) => sink.line(&error.to_string()),
        }
    }
    (settings, site, names_guard)
}

/// What the command line says.
fn given(options: &RunOptions) -> impl Iterator<Item = Setting<'static>> {
    let mode = options.mode.map(|mode| match mode {
        ModeName::Manual => Setting::Mode(Mode::Manual),
        ModeName::Keep => Setting::Mode(Mode::Keep),
        ModeName::Quarantine => Setting::Mode(Mode::Quarantine),
    });
    let on_finding = options.on_finding.map(|what| match what {
        OnFindingName::Report => Setting::OnFinding(OnFinding::Report),
        OnFindingName::Abort => Setting::OnFinding(OnFinding::Abort),
    });
    let guard = match options.guard {
        Some(GuardChoice::Rate(guard)) => Some(Setting::Guard(guard)),
        _ => None,
    };
    let batch = options.guard_batch.map(Setting::GuardBatch);
    let leaks = options.leaks.map(|leaks| match leaks {
        LeaksName::Off => Setting::Leaks(Leaks::Off),
        LeaksName::Exit => Setting::Leaks(Leaks::Exit),
    });
    [mode, on_finding, guard, batch, leaks].into_iter().flatten()
}

/// A text that was percent-encoded.
fn decode(encoded: &[u8]) -> Option<String> {
    let mut text = vec![0; encoded.len()];
    let len = decode_path(encoded, &mut text)?;
    Some(String::from_utf8_lossy(&text[..len]).into_owned())
}

/// A path or text as the settings' parser reads it.
fn encode(text: &[u8], value: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b',' => value.extend_from_slice(b"%2C"),
            b'%' => value.extend_from_slice(b"%25"),
            _ => value.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hk_format::{Engine, HugePages};

    #[test]
    fn the_library_reads_what_is_written_here() {
        let settings = Settings {
            mode: Mode::Quarantine,
            on_finding: OnFinding::Abort,
            purge_delay_ms: 7,
            huge_pages: HugePages::All,
            guard: Guard::OneIn(50),
            guard_side: GuardSide::Start,
            guard_batch: 3,
            leaks: Leaks::Exit,
            quarantine_mib: 3,
            quarantine_percent: 7,
            sweep_cpu_percent: 9,
            engine: Engine::Tracked,
            zero: false,
        };
        let paths = ["/cache/lib 100%,x.so", "/tmp/a,b%2C"];
        let value = Choices { settings, sites: None }.value(Path::new(paths[0]), Path::new(paths[1]));
        let mut read = Settings::DEFAULT;
        let mut found = Vec::new();
        for part in parse_settings(value.as_bytes()) {
            let setting = part.unwrap();
            read.apply(setting);
            if let Setting::Library(path) | Setting::Recorder(path) = setting {
                let mut out = [0; 64];
                let len = decode_path(path, &mut out).unwrap();
                found.push(String::from_utf8(out[..len].to_vec()).unwrap());
            }
        }
        assert_eq!(read, settings);
        assert_eq!(found, [paths[1], paths[0]]);
    }

    #[test]
    fn the_library_comes_first_and_once() {
        let value = |before: &str| prepend(OsStr::new("/c/hk.so"), OsStr::new(before)).into_string().unwrap();
        assert_eq!(value(""), "/c/hk.so");
        assert_eq!(value("/a.so /b.so"), "/c/hk.so:/a.so /b.so");
        assert_eq!(value("/c/hk.so:/a.so"), "/c/hk.so:/a.so");
    }
}
