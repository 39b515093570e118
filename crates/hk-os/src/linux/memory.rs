//! How much memory the process may use, and how much is left of that.
//!
//! Control groups are asked (cgroups(7), both versions): that of the process and those that it lies in, as far as they are to be seen. In a container
//! its own group is often at the root of what is mounted.

use super::{Errno, read_file};
use core::ffi::CStr;

const ROOT: &[u8] = b"/sys/fs/cgroup";
const PATH_BYTES_MAX: usize = 1024;

/// The files of a version of control groups.
struct Version {
    /// Where the hierarchy lies below [`ROOT`].
    folder: &'static [u8],
    /// What stands before the process's group in /proc/self/cgroup, behind the hierarchy's number.
    controller: &'static [u8],
    limit: &'static [u8],
    used: &'static [u8],
}

const VERSIONS: [Version; 2] = [
    Version { folder: b"", controller: b"::", limit: b"/memory.max", used: b"/memory.current" },
    Version {
        folder: b"/memory",
        controller: b":memory:",
        limit: b"/memory.limit_in_bytes",
        used: b"/memory.usage_in_bytes",
    },
];

/// What the machine has, or what control groups allow where that is less, in bytes.
pub(super) fn bytes_max() -> usize {
    let mut least = machine_bytes();
    for_each_group(|limit, _| least = least.min(limit));
    least
}

/// What of that is not in use yet, in bytes.
pub(super) fn bytes_left() -> usize {
    let mut least = available_bytes();
    for_each_group(|limit, used| least = least.min(limit.saturating_sub(used)));
    least
}

/// Calls `found` with what each group allows and what it uses, if it has a limit.
fn for_each_group(mut found: impl FnMut(usize, usize)) {
    let mut text = [0; PATH_BYTES_MAX];
    let own = read_file(c"/proc/self/cgroup", &mut text);
    for version in &VERSIONS {
        let mut group = group_of(own, version.controller).unwrap_or_default();
        loop {
            let limit = read_number(&[ROOT, version.folder, group, version.limit]);
            if let Some(limit) = limit {
                let used = read_number(&[ROOT, version.folder, group, version.used]).unwrap_or(0);
                found(limit, used);
            }
            let Some(end) = group.iter().rposition(|&byte| byte == b'/') else { break };
            group = &group[..end];
        }
    }
}

/// The process's group in a hierarchy, without a slash at its end.
fn group_of<'a>(text: &'a [u8], controller: &[u8]) -> Option<&'a [u8]> {
    let lines = text.split(|&byte| byte == b'\n');
    let group = lines.filter_map(|line| {
        let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
        line.get(digits..)?.strip_prefix(controller)
    });
    // A group outside of what a container sees.
    group.map(|group| group.strip_suffix(b"/").unwrap_or(group)).find(|group| !group.starts_with(b"/.."))
}

fn read_number(parts: &[&[u8]]) -> Option<usize> {
    let mut path = [0; PATH_BYTES_MAX];
    let mut len = 0;
    for part in parts {
        path.get_mut(len..len + part.len())?.copy_from_slice(part);
        len += part.len();
    }
    let path = CStr::from_bytes_until_nul(&path).ok()?;
    let mut text = [0u8; 64];
    number(read_file(path, &mut text))
}

fn machine_bytes() -> usize {
    let _errno = Errno::keep();
    let mut info = core::mem::MaybeUninit::<libc::sysinfo>::zeroed();
    // SAFETY: a valid place for the result.
    if unsafe { libc::syscall(libc::SYS_sysinfo, info.as_mut_ptr()) } != 0 {
        return 1 << 30;
    }
    // SAFETY: zeroed first, and written by the kernel; all bit patterns are valid.
    let info = unsafe { info.assume_init() };
    (info.totalram as usize).saturating_mul(info.mem_unit as usize)
}

/// What the machine could give without swapping (MemAvailable, proc(5)).
fn available_bytes() -> usize {
    const NAME: &[u8] = b"MemAvailable:";
    let mut text = [0; 256];
    let text = read_file(c"/proc/meminfo", &mut text);
    let line = text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(NAME));
    let kib = line.and_then(|rest| number(rest.trim_ascii_start()));
    kib.map_or_else(machine_bytes, |kib| kib.saturating_mul(1024))
}

/// The digits at the start; None if there are none (`max`).
fn number(text: &[u8]) -> Option<usize> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(None, |sum: Option<usize>, &digit| {
        Some(sum.unwrap_or(0).saturating_mul(10).saturating_add(usize::from(digit - b'0')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_in_a_group_of_either_version() {
        let text = b"12:cpu,cpuacct:/a\n5:memory:/docker/abc\n0::/system.slice/x.service\n";
        assert_eq!(group_of(text, b"::"), Some(&b"/system.slice/x.service"[..]));
        assert_eq!(group_of(text, b":memory:"), Some(&b"/docker/abc"[..]));
        assert_eq!(group_of(b"0::/\n", b"::"), Some(&b""[..]));
        assert_eq!(group_of(b"0::/../other\n", b"::"), None, "not to be seen from here");
        assert_eq!(group_of(b"", b"::"), None);
    }

    #[test]
    fn no_more_is_left_than_there_is() {
        assert!(bytes_left() <= bytes_max());
        assert!(bytes_left() > 1 << 20, "{}", bytes_left());
    }
}
