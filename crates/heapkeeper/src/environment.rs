//! Settings, from the environment.

use crate::process::{Host, ProcessHeap};
use core::ffi::{CStr, c_char};
use hk_format::{
    Guard, GuardRange, NoteKind, SETTINGS_VARIABLE, Setting, SettingError, Settings, decode_path,
    guard_range, parse_settings,
};
use hk_recorder::print_bad_setting;

unsafe extern "C" {
    /// The environment, NULL until libc has started.
    static environ: *const *const c_char;
}

const PATH_BYTES_MAX: usize = 4096;
/// NAME_MAX of linux/limits.h.
const FILE_NAME_BYTES_MAX: usize = 255;

/// Whether libc has set the environment up.
pub fn is_ready() -> bool {
    // SAFETY: libc's variable; read once, and written by libc before other threads exist.
    !unsafe { environ }.is_null()
}

/// The value of `HEAPKEEPER`, empty if it is not set. The environment is looked at directly: getenv may be
/// the program's own.
fn value() -> &'static [u8] {
    // SAFETY: as in `is_ready`.
    let mut entry = unsafe { environ };
    while !entry.is_null() {
        // SAFETY: environ is a NULL-terminated array of C strings.
        let text = unsafe { *entry };
        if text.is_null() {
            break;
        }
        // SAFETY: as above.
        let text = unsafe { CStr::from_ptr(text) }.to_bytes();
        if let Some(value) =
            text.strip_prefix(SETTINGS_VARIABLE.as_bytes()).and_then(|rest| rest.strip_prefix(b"="))
        {
            return value;
        }
        // SAFETY: not at the terminator, so there is another entry.
        entry = unsafe { entry.add(1) };
    }
    b""
}

/// Calls `work` with each path that the settings have for a recording, with `ending` behind it.
pub(crate) fn with_recorder_path(ending: &[u8], mut work: impl FnMut(&CStr)) {
    let mut path = [0u8; PATH_BYTES_MAX];
    let room = PATH_BYTES_MAX - 1 - ending.len();
    for setting in parse_settings(value()).flatten() {
        let Setting::Recorder(encoded) = setting else { continue };
        let Some(len) = decode_path(encoded, &mut path[..room]) else { continue };
        path[len..len + ending.len()].copy_from_slice(ending);
        path[len + ending.len()] = 0;
        if let Ok(path) = CStr::from_bytes_until_nul(&path) {
            work(path);
        }
    }
}

impl<H: Host> ProcessHeap<H> {
    /// The settings that can be read; defaults for the rest.
    pub(crate) fn read_settings(&self) -> Settings {
        let mut settings = Settings::DEFAULT;
        if H::guard_every() > 0 {
            settings.guard = Guard::OneIn(H::guard_every());
        }
        parse_settings(value()).flatten().for_each(|setting| settings.apply(setting));
        settings
    }

    /// Has the code watched that `guard-sites` names: addresses in the program's file, or in that of a library, which may come later.
    pub(crate) fn name_sites(&self) {
        let bias = hk_os::program_bias() as u64;
        for setting in parse_settings(value()).flatten() {
            let Setting::GuardSites(ranges) = setting else { continue };
            for range in ranges.split(|&byte| byte == b'+') {
                let mut name = [0; FILE_NAME_BYTES_MAX];
                match guard_range(range) {
                    Some(GuardRange { start, end, library: None }) => {
                        self.guarding.sites.name(start.wrapping_add(bias), end.wrapping_add(bias));
                    }
                    Some(GuardRange { start, end, library: Some(encoded) }) => {
                        let len = decode_path(encoded, &mut name).unwrap_or(0);
                        self.guarding.sites.name_in_library(start, end, &name[..len]);
                    }
                    None => {}
                }
            }
        }
    }

    pub(crate) fn note_bad_settings(&self) {
        self.note_unresolved_site();
        for error in parse_settings(value()).filter_map(Result::err) {
            if self.recording.is_open() {
                self.recording.note(NoteKind::BadSetting, 0, error.text);
            } else {
                print_bad_setting(&error);
            }
        }
    }

    /// A site that nobody looked up: where its code lies is in debug information, which is not read in here.
    fn note_unresolved_site(&self) {
        if self.guarding.sites.are_watched() {
            return;
        }
        for part in value().split(|&byte| byte == b',') {
            if part.starts_with(b"guard=site:") && !self.recording.is_open() {
                let why = "only the command can look up where its code is: heapkeeper run --guard site:...";
                print_bad_setting(&SettingError { text: part, why });
            }
        }
    }

    pub(crate) fn open_recording(&self) {
        with_recorder_path(b"", |path| {
            // A recording that can't be opened (other user, other root) leaves the process unrecorded; the
            // command tells so, as it misses the process.
            let _ = self.recording.open(path);
        });
    }
}
