//! How much memory the process may use.

use super::{Errno, read_file};

/// What the machine has, or what the control group allows (cgroups(7), version 2: memory.max) where that is less. The group is looked for
/// where a container sees its own: at the root of the hierarchy.
pub(super) fn bytes_max() -> usize {
    let mut text = [0u8; 64];
    let text = read_file(c"/sys/fs/cgroup/memory.max", &mut text);
    match number(text) {
        Some(allowed) => allowed.min(machine_bytes()),
        None => machine_bytes(),
    }
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

/// The digits at the start; None if there are none (`max`).
fn number(text: &[u8]) -> Option<usize> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(None, |sum: Option<usize>, &digit| {
        Some(sum.unwrap_or(0).saturating_mul(10).saturating_add(usize::from(digit - b'0')))
    })
}
