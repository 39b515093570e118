//! The choices of a run, and how they travel to the library: in `HEAPKEEPER`, next to `LD_PRELOAD`.

use super::Args;
use crate::lines::Sink;
use hk_format::{Guard, Mode, OnFinding, SETTINGS_VARIABLE, Setting, Settings, parse_settings};
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
}

/// `--on-finding` on the command line.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub enum OnFindingName {
    /// The bad call is ignored and the program goes on (the default)
    Report,
    /// The program is stopped by SIGABRT
    Abort,
}

/// What was chosen: by the variable where it is set, by the command line above that.
pub struct Choices {
    settings: Settings,
}

impl Choices {
    /// Reads both; names parts of the variable that are no settings.
    pub fn new(args: &Args, sink: &Sink) -> Choices {
        let mut settings = Settings::DEFAULT;
        let variable = std::env::var_os(SETTINGS_VARIABLE).unwrap_or_default();
        for part in parse_settings(variable.as_bytes()) {
            match part {
                Ok(setting) => settings.apply(setting),
                Err(error) => sink.line(&error.to_string()),
            }
        }
        match args.mode {
            Some(ModeName::Manual) => settings.apply(Setting::Mode(Mode::Manual)),
            Some(ModeName::Keep) => settings.apply(Setting::Mode(Mode::Keep)),
            None => {}
        }
        match args.on_finding {
            Some(OnFindingName::Report) => settings.apply(Setting::OnFinding(OnFinding::Report)),
            Some(OnFindingName::Abort) => settings.apply(Setting::OnFinding(OnFinding::Abort)),
            None => {}
        }
        Choices { settings }
    }

    /// For the start line.
    pub fn describe(&self) -> String {
        let on_finding = match self.settings.on_finding {
            OnFinding::Report => "bad frees are reported and ignored",
            OnFinding::Abort => "the first bad free stops it",
        };
        format!("mode {}: {on_finding}", self.settings.mode.name())
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
        let Settings { mode, on_finding, purge_delay_ms, huge_pages, guard, guard_side, guard_batch } =
            self.settings;
        let mut value = OsString::from(format!(
            "mode={},on-finding={},purge-delay-ms={purge_delay_ms},huge-pages={},guard-side={},guard-batch={guard_batch},",
            mode.name(),
            on_finding.name(),
            huge_pages.name(),
            guard_side.name(),
        ));
        match guard {
            Guard::Off => value.push("guard=off,"),
            Guard::OneIn(every) => value.push(format!("guard=1/{every},")),
            Guard::Sites => {}
        }
        value.push(recorder_setting(recording));
        let mut value = value.into_vec();
        value.extend_from_slice(b",lib=");
        encode(library, &mut value);
        OsString::from_vec(value)
    }
}

/// The setting that names the recording.
pub fn recorder_setting(recording: &Path) -> OsString {
    let mut setting = b"recorder=".to_vec();
    encode(recording, &mut setting);
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

/// A path as the settings' parser reads it.
fn encode(path: &Path, value: &mut Vec<u8>) {
    for &byte in path.as_os_str().as_bytes() {
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
    use hk_format::{GuardSide, HugePages, decode_path};

    #[test]
    fn the_library_reads_what_is_written_here() {
        let settings = Settings {
            mode: Mode::Keep,
            on_finding: OnFinding::Abort,
            purge_delay_ms: 7,
            huge_pages: HugePages::All,
            guard: Guard::OneIn(50),
            guard_side: GuardSide::Start,
            guard_batch: 3,
        };
        let paths = ["/cache/lib 100%,x.so", "/tmp/a,b%2C"];
        let value = Choices { settings }.value(Path::new(paths[0]), Path::new(paths[1]));
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
