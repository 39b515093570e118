//! The one variable that carries all choices: `HEAPKEEPER=key=value,key=value`.
//!
//! The command writes it, the library reads it, the Rust API reads it: with this parser. A comma or a
//! percent sign inside a value is written `%2C` and `%25`. A setting that is unknown or malformed is
//! named and ignored; the rest holds.

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
}

impl Mode {
    /// Its name in settings and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Manual => "manual",
            Mode::Keep => "keep",
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

/// One setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting<'a> {
    /// `mode=manual|keep`.
    Mode(Mode),
    /// `on-finding=report|abort`.
    OnFinding(OnFinding),
    /// `recorder=PATH`: the recording to write to; still percent-encoded.
    Recorder(&'a [u8]),
    /// `purge-delay-ms=N`: how long freed memory is kept before it goes back to the system.
    PurgeDelayMs(u32),
    /// `huge-pages=none|small|all`.
    HugePages(HugePages),
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
}

impl Settings {
    /// The defaults.
    pub const DEFAULT: Settings = Settings {
        mode: Mode::Manual,
        on_finding: OnFinding::Report,
        purge_delay_ms: 250,
        huge_pages: HugePages::Small,
    };

    /// Takes one setting over. Paths are the caller's affair.
    pub fn apply(&mut self, setting: Setting<'_>) {
        match setting {
            Setting::Mode(mode) => self.mode = mode,
            Setting::OnFinding(on_finding) => self.on_finding = on_finding,
            Setting::PurgeDelayMs(ms) => self.purge_delay_ms = ms,
            Setting::HugePages(huge_pages) => self.huge_pages = huge_pages,
            Setting::Recorder(_) | Setting::Library(_) => {}
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
            _ => Err(error("mode is manual or keep")),
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
        b"recorder" | b"lib" if value.is_empty() => Err(error("a path is missing")),
        b"recorder" | b"lib" if !is_encoded(value) => {
            Err(error("in a path, % stands before two hexadecimal digits (a comma is %2C)"))
        }
        b"recorder" => Ok(Setting::Recorder(value)),
        b"lib" => Ok(Setting::Library(value)),
        _ => Err(error("no such setting")),
    }
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
    fn refuses_numbers_that_overflow_and_paths_that_do_not_fit() {
        assert!(parse(b"purge-delay-ms=4294967296").next().unwrap().is_err());
        assert_eq!(parse(b"purge-delay-ms=4294967295").next(), Some(Ok(Setting::PurgeDelayMs(u32::MAX))));
        assert_eq!(decode_path(b"abc", &mut [0; 2]), None);
        assert_eq!(decode_path(b"a%2", &mut [0; 9]), None);
    }
}
