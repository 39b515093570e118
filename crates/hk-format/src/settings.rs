//! The one variable that carries all choices: `HEAPKEEPER=key=value,key=value`.
//!
//! The command writes it, the library reads it, the Rust API reads it: with this parser. A comma or a
//! percent sign inside a value is written `%2C` and `%25`. A setting that is unknown or malformed is
//! named and ignored; the rest holds.

use crate::numbered;
use core::fmt;

/// The name of the variable.
pub const SETTINGS_VARIABLE: &str = "HEAPKEEPER";

/// Who answers when a block is no longer in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The program, by free.
    #[default]
    Manual,
    /// Nobody: nothing is ever reused.
    Keep,
    /// A sweep that finds no pointer to the block, after the program has freed it.
    Quarantine,
}

impl Mode {
    /// The mode with the number that records have ([`crate::ProcessRecord::mode`]).
    pub const fn from_number(number: u32) -> Option<Mode> {
        match number {
            0 => Some(Mode::Manual),
            1 => Some(Mode::Keep),
            2 => Some(Mode::Quarantine),
            _ => None,
        }
    }

    /// Its name in settings and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Manual => "manual",
            Mode::Keep => "keep",
            Mode::Quarantine => "quarantine",
        }
    }
}

/// What happens after a finding was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFinding {
    /// The bad call is ignored, the program goes on.
    #[default]
    Report,
    /// The program is stopped by SIGABRT.
    Abort,
}

impl OnFinding {
    /// Its name in settings and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            OnFinding::Report => "report",
            OnFinding::Abort => "abort",
        }
    }
}

/// For what the heap asks the system for huge pages (of 2 MiB).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HugePages {
    /// Nothing.
    None,
    /// Small blocks, once a heap is so large that a page that is mostly unused matters little.
    #[default]
    Small,
    /// All blocks, from the start.
    All,
}

impl HugePages {
    /// Its name in settings.
    pub const fn name(self) -> &'static str {
        match self {
            HugePages::None => "none",
            HugePages::Small => "small",
            HugePages::All => "all",
        }
    }
}

/// Which blocks are guarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guard {
    /// None.
    #[default]
    Off,
    /// One in so many, in the mean; 1: all.
    OneIn(u32),
    /// Those that are allocated below certain places in the code.
    Sites,
}

/// At which end of its pages a guarded block stands: there the first byte beyond it is trapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GuardSide {
    /// At the end, so that accesses behind it are trapped.
    End,
    /// At the start, so that accesses before it are trapped.
    Start,
    /// Now at the one, now at the other.
    #[default]
    Both,
}

impl GuardSide {
    /// Its name in settings.
    pub const fn name(self) -> &'static str {
        match self {
            GuardSide::End => "end",
            GuardSide::Start => "start",
            GuardSide::Both => "both",
        }
    }
}

/// When lost blocks are looked for unasked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leaks {
    /// Never.
    #[default]
    Off,
    /// When the program ends.
    Exit,
}

impl Leaks {
    /// Its name in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Leaks::Off => "off",
            Leaks::Exit => "exit",
        }
    }
}

numbered! {
    /// How the quarantine is swept.
    pub enum Engine {
        /// While the program runs where there is much to look at and the system tracks writes, else while it stands still.
        Auto = 0,
        /// While it stands still.
        Stopped = 1,
        /// While it runs.
        Tracked = 2,
        /// As `Tracked`, but what is written to meanwhile is not looked at again: unsound, for the test that has to find that out.
        Blind = 3,
        /// Not at all: blocks are released by age.
        Relaxed = 4,
    }
}

impl Engine {
    /// Its name in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Engine::Auto => "auto",
            Engine::Stopped => "stopped",
            Engine::Tracked => "tracked",
            Engine::Blind => "blind",
            Engine::Relaxed => "relaxed",
        }
    }
}

/// One setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting<'a> {
    /// `mode=manual|keep|quarantine`.
    Mode(Mode),
    /// `on-finding=report|abort`.
    OnFinding(OnFinding),
    /// `recorder=PATH`: the recording to write to; still percent-encoded.
    Recorder(&'a [u8]),
    /// `purge-delay-ms=N`: how long freed memory is kept before it goes back to the system.
    PurgeDelayMs(u32),
    /// `huge-pages=none|small|all`.
    HugePages(HugePages),
    /// `guard=off|1/N`.
    Guard(Guard),
    /// `guard=site:FUNC|site:FILE:LINE`; still percent-encoded.
    GuardSite(&'a [u8]),
    /// `guard-side=end|start|both`.
    GuardSide(GuardSide),
    /// `guard-batch=N`: so many freed blocks may wait for their guards.
    GuardBatch(u32),
    /// `guard-sites=START-END[@LIBRARY]+...`: where the code of those sites lies, as addresses in the file of the program or of a library, in
    /// hexadecimal. The command writes it, as it can read debug information.
    GuardSites(&'a [u8]),
    /// `leaks=off|exit`.
    Leaks(Leaks),
    /// `quarantine-mib=N`: with so much freed since the last sweep, and a share of what that one looked at, the next one is due.
    QuarantineMib(u32),
    /// `quarantine-percent=N`: that share.
    QuarantinePercent(u32),
    /// `sweep-cpu-percent=N`: of the process's time on processors sweeps may take so much, as far as memory allows.
    SweepCpuPercent(u32),
    /// `sweep=auto|stopped|tracked|blind|relaxed`.
    Engine(Engine),
    /// `zero=on|off`: whether small blocks are zeroed when they go into quarantine.
    Zero(bool),
    /// `lib=PATH`: the library itself, so that it can be put under children whose environment was cleared; still percent-encoded.
    Library(&'a [u8]),
}

/// A part of the variable that is not a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettingError<'a> {
    /// The part between two commas.
    pub text: &'a [u8],
    /// What is wrong with it.
    pub why: &'static str,
}

impl fmt::Display for SettingError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SETTINGS_VARIABLE}: '{}' ignored: {}", self.text.escape_ascii(), self.why)
    }
}

/// All choices of a process, with their defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Default manual.
    pub mode: Mode,
    /// Default report.
    pub on_finding: OnFinding,
    /// Default 250 ms. Zero: at once.
    pub purge_delay_ms: u32,
    /// Default small.
    pub huge_pages: HugePages,
    /// Default off.
    pub guard: Guard,
    /// Default both.
    pub guard_side: GuardSide,
    /// Default 0: the guard stands before free returns.
    pub guard_batch: u32,
    /// Default off.
    pub leaks: Leaks,
    /// Default 12 MiB.
    pub quarantine_mib: u32,
    /// Default 15.
    pub quarantine_percent: u32,
    /// Default 5.
    pub sweep_cpu_percent: u32,
    /// Default auto.
    pub engine: Engine,
    /// Default true.
    pub zero: bool,
}

/// One block in so many is guarded by `heapkeeper run`.
pub const GUARD_EVERY_DEFAULT: u32 = 5000;
/// Freed blocks that may wait for their guards, at most.
pub const GUARD_BATCH_MAX: u32 = 64;

impl Settings {
    /// The defaults.
    pub const DEFAULT: Settings = Settings {
        mode: Mode::Manual,
        on_finding: OnFinding::Report,
        purge_delay_ms: 250,
        huge_pages: HugePages::Small,
        guard: Guard::Off,
        guard_side: GuardSide::Both,
        guard_batch: 0,
        leaks: Leaks::Off,
        quarantine_mib: 12,
        quarantine_percent: 15,
        sweep_cpu_percent: 5,
        engine: Engine::Auto,
        zero: true,
    };

    /// Takes one setting over. Paths are the caller's affair.
    pub fn apply(&mut self, setting: Setting<'_>) {
        match setting {
            Setting::Mode(mode) => self.mode = mode,
            Setting::OnFinding(on_finding) => self.on_finding = on_finding,
            Setting::PurgeDelayMs(ms) => self.purge_delay_ms = ms,
            Setting::HugePages(huge_pages) => self.huge_pages = huge_pages,
            Setting::Guard(guard) => self.guard = guard,
            Setting::GuardSite(_) => self.guard = Guard::Sites,
            Setting::GuardSide(side) => self.guard_side = side,
            Setting::GuardBatch(count) => self.guard_batch = count,
            Setting::Leaks(leaks) => self.leaks = leaks,
            Setting::QuarantineMib(mib) => self.quarantine_mib = mib,
            Setting::QuarantinePercent(percent) => self.quarantine_percent = percent,
            Setting::SweepCpuPercent(percent) => self.sweep_cpu_percent = percent,
            Setting::Engine(engine) => self.engine = engine,
            Setting::Zero(zero) => self.zero = zero,
            Setting::Recorder(_) | Setting::Library(_) | Setting::GuardSites(_) => {}
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings::DEFAULT
    }
}

/// Reads the variable's value part by part.
pub fn parse(value: &[u8]) -> impl Iterator<Item = Result<Setting<'_>, SettingError<'_>>> {
    value.split(|&b| b == b',').filter(|part| !part.is_empty()).map(parse_part)
}

fn parse_part(text: &[u8]) -> Result<Setting<'_>, SettingError<'_>> {
    let error = |why| SettingError { text, why };
    let equals = text.iter().position(|&b| b == b'=').ok_or(error("expected key=value"))?;
    let (key, value) = (&text[..equals], &text[equals + 1..]);
    match key {
        b"mode" => match value {
            b"manual" => Ok(Setting::Mode(Mode::Manual)),
            b"keep" => Ok(Setting::Mode(Mode::Keep)),
            b"quarantine" => Ok(Setting::Mode(Mode::Quarantine)),
            _ => Err(error("mode is manual, keep or quarantine")),
        },
        b"on-finding" => match value {
            b"report" => Ok(Setting::OnFinding(OnFinding::Report)),
            b"abort" => Ok(Setting::OnFinding(OnFinding::Abort)),
            _ => Err(error("on-finding is report or abort")),
        },
        b"purge-delay-ms" => number(value)
            .map(Setting::PurgeDelayMs)
            .ok_or(error("purge-delay-ms is a whole number of milliseconds, at most 4294967295")),
        b"huge-pages" => match value {
            b"none" => Ok(Setting::HugePages(HugePages::None)),
            b"small" => Ok(Setting::HugePages(HugePages::Small)),
            b"all" => Ok(Setting::HugePages(HugePages::All)),
            _ => Err(error("huge-pages is none, small or all")),
        },
        b"guard" => guard(value).ok_or(error("guard is off, 1/N, site:FUNC or site:FILE:LINE")),
        b"guard-side" => match value {
            b"end" => Ok(Setting::GuardSide(GuardSide::End)),
            b"start" => Ok(Setting::GuardSide(GuardSide::Start)),
            b"both" => Ok(Setting::GuardSide(GuardSide::Both)),
            _ => Err(error("guard-side is end, start or both")),
        },
        b"guard-batch" => number(value)
            .filter(|&count| count <= GUARD_BATCH_MAX)
            .map(Setting::GuardBatch)
            .ok_or(error("guard-batch is a number of freed blocks, at most 64")),
        b"leaks" => match value {
            b"off" => Ok(Setting::Leaks(Leaks::Off)),
            b"exit" => Ok(Setting::Leaks(Leaks::Exit)),
            _ => Err(error("leaks is off or exit")),
        },
        b"quarantine-mib" => number(value)
            .filter(|&mib| mib > 0)
            .map(Setting::QuarantineMib)
            .ok_or(error("quarantine-mib is a whole number of MiB, at least 1")),
        b"quarantine-percent" => number(value)
            .filter(|&percent| percent <= 1000)
            .map(Setting::QuarantinePercent)
            .ok_or(error("quarantine-percent is a whole number of percent, at most 1000")),
        b"sweep-cpu-percent" => number(value)
            .filter(|percent| (1..=100).contains(percent))
            .map(Setting::SweepCpuPercent)
            .ok_or(error("sweep-cpu-percent is a whole number of percent, 1 to 100")),
        b"sweep" => match value {
            b"auto" => Ok(Setting::Engine(Engine::Auto)),
            b"stopped" => Ok(Setting::Engine(Engine::Stopped)),
            b"tracked" => Ok(Setting::Engine(Engine::Tracked)),
            b"blind" => Ok(Setting::Engine(Engine::Blind)),
            b"relaxed" => Ok(Setting::Engine(Engine::Relaxed)),
            _ => Err(error("sweep is auto, stopped, tracked or relaxed")),
        },
        b"zero" => match value {
            b"on" => Ok(Setting::Zero(true)),
            b"off" => Ok(Setting::Zero(false)),
            _ => Err(error("zero is on or off")),
        },
        b"guard-sites" if value.split(|&b| b == b'+').all(|range| guard_range(range).is_some()) => {
            Ok(Setting::GuardSites(value))
        }
        b"guard-sites" => Err(error("guard-sites is START-END+START-END@LIBRARY..., in hexadecimal")),
        b"recorder" | b"lib" if value.is_empty() => Err(error("a path is missing")),
        b"recorder" | b"lib" if !is_encoded(value) => {
            Err(error("in a path, % stands before two hexadecimal digits (a comma is %2C)"))
        }
        b"recorder" => Ok(Setting::Recorder(value)),
        b"lib" => Ok(Setting::Library(value)),
        _ => Err(error("no such setting")),
    }
}

fn guard(value: &[u8]) -> Option<Setting<'_>> {
    if value == b"off" {
        return Some(Setting::Guard(Guard::Off));
    }
    if let Some(site) = value.strip_prefix(b"site:") {
        return (!site.is_empty() && is_encoded(site)).then_some(Setting::GuardSite(site));
    }
    let every = number(value.strip_prefix(b"1/")?)?;
    (every > 0).then_some(Setting::Guard(Guard::OneIn(every)))
}

/// One range of `guard-sites`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardRange<'a> {
    /// The first address, as the file has it.
    pub start: u64,
    /// The end.
    pub end: u64,
    /// The file name of a library, percent-encoded; None: the program.
    pub library: Option<&'a [u8]>,
}

/// Reads one range of `guard-sites`. None if it is malformed.
pub fn guard_range(range: &[u8]) -> Option<GuardRange<'_>> {
    let text = core::str::from_utf8(range).ok()?;
    let (addresses, library) = match text.split_once('@') {
        Some((addresses, library)) => (addresses, Some(library)),
        None => (text, None),
    };
    let (start, end) = addresses.split_once('-')?;
    let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    let library = library.map(str::as_bytes);
    let is_named = library.is_none_or(|name| !name.is_empty() && is_encoded(name));
    (start < end && is_named).then_some(GuardRange { start, end, library })
}

fn is_encoded(path: &[u8]) -> bool {
    let digits_follow =
        |at: usize| path.get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    path.iter().enumerate().all(|(at, &byte)| byte != b'%' || digits_follow(at))
}

fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u32, |n, &d| {
        let digit = d.is_ascii_digit().then(|| u32::from(d - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })
}

/// Decodes a percent-encoded path into `out`; gives its length, or None if it is malformed or too long.
pub fn decode_path(encoded: &[u8], out: &mut [u8]) -> Option<usize> {
    let (mut at, mut len) = (0, 0);
    while at < encoded.len() {
        let byte = if encoded[at] == b'%' {
            let hex = core::str::from_utf8(encoded.get(at + 1..at + 3)?).ok()?;
            at += 2;
            u8::from_str_radix(hex, 16).ok()?
        } else {
            encoded[at]
        };
        at += 1;
        *out.get_mut(len)? = byte;
        len += 1;
    }
    Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::vec::Vec;

    #[test]
    fn reads_all_settings_and_names_bad_ones() {
        let parts: Vec<_> =
            parse(b"mode=keep,,speed=11,on-finding=abort,purge-delay-ms=7x,recorder=/tmp/a%2Cb").collect();
        assert_eq!(parts[0], Ok(Setting::Mode(Mode::Keep)));
        assert_eq!(parts[1], Err(SettingError { text: b"speed=11", why: "no such setting" }));
        assert_eq!(parts[2], Ok(Setting::OnFinding(OnFinding::Abort)));
        assert_eq!(parts[3].unwrap_err().text, b"purge-delay-ms=7x");
        let Ok(Setting::Recorder(path)) = parts[4] else { panic!("{:?}", parts[4]) };
        let mut out = [0; 16];
        let len = decode_path(path, &mut out).unwrap();
        assert_eq!(&out[..len], b"/tmp/a,b");
    }

    #[test]
    fn refuses_paths_that_are_not_encoded() {
        for bad in [&b"recorder=%ZZ"[..], b"lib=/a%2", b"recorder=%", b"recorder="] {
            assert!(parse(bad).next().unwrap().is_err());
        }
        assert_eq!(parse(b"lib=/%25").next(), Some(Ok(Setting::Library(b"/%25"))));
    }

    #[test]
    fn reads_what_is_to_be_guarded() {
        let read = |text: &'static [u8]| parse(text).next().unwrap();
        assert_eq!(read(b"guard=off"), Ok(Setting::Guard(Guard::Off)));
        assert_eq!(read(b"guard=1/5000"), Ok(Setting::Guard(Guard::OneIn(5000))));
        assert_eq!(read(b"guard=site:a.c:12"), Ok(Setting::GuardSite(b"a.c:12")));
        for bad in
            [&b"guard=1/0"[..], b"guard=2/3", b"guard=1/", b"guard=site:", b"guard-batch=65", b"guard="]
        {
            assert!(parse(bad).next().unwrap().is_err(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn refuses_numbers_that_overflow_and_paths_that_do_not_fit() {
        assert!(parse(b"purge-delay-ms=4294967296").next().unwrap().is_err());
        assert_eq!(parse(b"purge-delay-ms=4294967295").next(), Some(Ok(Setting::PurgeDelayMs(u32::MAX))));
        assert_eq!(decode_path(b"abc", &mut [0; 2]), None);
        assert_eq!(decode_path(b"a%2", &mut [0; 9]), None);
    }
}
