//! System calls without libc, whose functions may be the program's own, are cancellation points, and set errno; and for threads that libc does not
//! know of.

use super::sandbox::{Optional, may};
use core::arch::{asm, global_asm, naked_asm};
use core::ffi::c_int;

/// Makes a call; an error is its number, less than 0.
///
/// # Safety
/// The arguments must be what the call wants, and what it does to memory nothing that Rust relies on.
pub unsafe fn system_call(number: libc::c_long, arguments: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the instruction changes rcx and r11 only; what it does to memory is the caller's affair.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") arguments[0], in("rsi") arguments[1], in("rdx") arguments[2],
            in("r10") arguments[3], in("r8") arguments[4], in("r9") arguments[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Makes a call as glibc's syscall does (sysdeps/unix/sysv/linux/x86_64/syscall.S): an error goes to errno, and gives -1. Its number is kept below the
/// stack pointer, where signals leave it, so that a call that a stop interrupts can be gone on with.
///
/// # Safety
/// As for [`system_call`].
#[unsafe(naked)]
pub unsafe extern "C" fn make_call(
    number: usize,
    first: usize,
    second: usize,
    third: usize,
    fourth: usize,
    fifth: usize,
    sixth: usize,
) -> libc::c_long {
    naked_asm!(
        ".cfi_startproc",
        "mov qword ptr [rsp - 8], rdi",
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "mov r10, r8",
        "mov r8, r9",
        "mov r9, qword ptr [rsp + 8]",
        "syscall",
        ".global heapkeeper_called",
        ".hidden heapkeeper_called",
        "heapkeeper_called:",
        "cmp rax, -4095",
        "jae 2f",
        "ret",
        "2:",
        "mov rdi, rax",
        "jmp {failed}",
        ".cfi_endproc",
        failed = sym failed,
    )
}

unsafe extern "C" {
    /// Where [`make_call`] is right after its call.
    #[link_name = "heapkeeper_called"]
    fn called();
}

extern "C" fn failed(result: libc::c_long) -> libc::c_long {
    super::Errno::set(-result as c_int);
    -1
}

/// The number of the call right after which a thread is with this stack pointer, if it is one of [`make_call`].
pub(super) fn number_of_call(at: usize, stack_pointer: usize) -> Option<i64> {
    // The function is named so that it is there where nobody calls it.
    let (function, end) = (make_call as *const () as usize, called as *const () as usize);
    if at != end || at < function {
        return None;
    }
    let number: *const i64 = core::ptr::with_exposed_provenance(stack_pointer - size_of::<i64>());
    // SAFETY: of that function, which has just put it there; signals leave 128 bytes below the stack pointer alone (System V ABI, AMD64, 3.2.2).
    Some(unsafe { number.read() })
}

global_asm!(
    ".pushsection .text.heapkeeper_restore, \"ax\", @progbits",
    // Unwinders know a signal's frame by these bytes (glibc's, sysdeps/unix/sysv/linux/x86_64/sigaction.c).
    ".p2align 4",
    ".hidden heapkeeper_restore",
    ".globl heapkeeper_restore",
    "heapkeeper_restore:",
    ".byte 0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05",
    ".popsection",
);

unsafe extern "C" {
    /// What a handler returns to (rt_sigreturn(2)).
    fn heapkeeper_restore();
}

/// Says that there is a function to return to.
const SA_RESTORER: u64 = 0x0400_0000;
/// Bytes of the kernel's sets of signals.
const SIGNAL_SET_BYTES: usize = 8;

/// What is done on a signal, as the kernel has it (rt_sigaction(2)).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelAction {
    /// SIG_DFL, SIG_IGN, or a function.
    pub handler: usize,
    /// Of sigaction(2).
    pub flags: u64,
    restorer: usize,
    /// Signals 1 to 64.
    pub mask: u64,
}

impl KernelAction {
    /// One with a handler.
    pub fn handled_by(handler: usize, flags: u64, mask: u64) -> Self {
        let restorer: unsafe extern "C" fn() = heapkeeper_restore;
        KernelAction { handler, flags: flags | SA_RESTORER, restorer: restorer as usize, mask }
    }

    /// Its flags as sigaction(2) has them.
    pub fn public_flags(&self) -> u64 {
        self.flags & !SA_RESTORER
    }
}

/// Sets what is done on a signal, if there is anything new, past libc's function; gives what it was. None where it is refused, or a sandbox
/// forbids to ask.
pub fn exchange_kernel_action(signal: c_int, new: Option<KernelAction>) -> Option<KernelAction> {
    if !may(Optional::SignalAction) {
        return None;
    }
    let new: *const KernelAction = new.as_ref().map_or(core::ptr::null(), |action| action);
    let mut old = KernelAction::default();
    let places = (new.addr(), (&raw mut old).addr());
    let arguments = [signal as usize, places.0, places.1, SIGNAL_SET_BYTES, 0, 0];
    // SAFETY: null or a valid action, and a place for the old one; sizes as the kernel has them.
    let failed = unsafe { system_call(libc::SYS_rt_sigaction, arguments) };
    (failed == 0).then_some(old)
}
