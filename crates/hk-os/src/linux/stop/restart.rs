//! Goes on with a system call that the signal interrupted, so that the program does not see EINTR.
//!
//! Most calls the kernel makes again by itself (SA_RESTART). Of the others some are gone on with where they were (`restart_syscall`, signal(7)),
//! which has to be asked for before the handler returns, as that forgets them; the rest is made again, which makes no difference
//! where the call waits without end, or where the kernel has written down what is left of the time.
//!
//! The call's number is gone by then, but for the instruction before the call, which has it; a host's syscall(2) keeps it
//! ([`make_call`](super::super::make_call)).

use super::super::bare::{number_of_call, system_call};
use super::super::monotonic_ns;
use super::threads;
use core::arch::naked_asm;

/// `syscall`.
const SYSCALL: [u8; 2] = [0x0F, 0x05];
/// `mov eax, imm32`.
const MOVE: u8 = 0xB8;
/// The number stands at most so far before the call.
const SEARCH_BYTES: usize = 12;
const PAGE_BYTES: usize = 4096;
const INTERRUPTED: i64 = -(libc::EINTR as i64);

/// Calls that the kernel can go on with.
const GONE_ON_WITH: [i64; 4] =
    [libc::SYS_poll, libc::SYS_nanosleep, libc::SYS_clock_nanosleep, libc::SYS_futex];
/// Calls that are made again: they wait without end, their time-out is up to date, or they are never interrupted but by a time-out of a socket.
const MADE_AGAIN: [i64; 22] = [
    libc::SYS_select,
    libc::SYS_pselect6,
    libc::SYS_ppoll,
    libc::SYS_epoll_pwait2,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_pause,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_io_getevents,
    libc::SYS_io_uring_enter,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_accept,
    libc::SYS_accept4,
];
/// Those whose time-out in milliseconds is the fourth argument.
const TIMED: [i64; 2] = [libc::SYS_epoll_wait, libc::SYS_epoll_pwait];

/// Mends what the interrupted thread is going to see. Does not return if the thread was just here.
///
/// # Safety
/// `context` is that of the calling handler.
pub(super) unsafe fn resume(context: &mut libc::ucontext_t) {
    let registers = &mut context.uc_mcontext.gregs;
    let (at, result) = (registers[libc::REG_RIP as usize] as usize, registers[libc::REG_RAX as usize]);
    let (first, last) = (again as *const () as usize, interrupted as *const () as usize);
    if (first..last).contains(&at) || at == last && result == INTERRUPTED {
        // Returning would have the kernel forget what is gone on with.
        // SAFETY: the registers of that code, whose frame lies above this one.
        unsafe { jump_back(registers.as_ptr()) };
    }
    if result != INTERRUPTED {
        return;
    }
    let stack_pointer = registers[libc::REG_RSP as usize] as usize;
    let Some(number) = number_of_call(at, stack_pointer).or_else(|| number_before(at)) else { return };
    if GONE_ON_WITH.contains(&number) {
        // Other signals are to interrupt it as they would have.
        // SAFETY: glibc's set is larger than the kernel's, of which it has the first word.
        let mask = unsafe { (&raw const context.uc_sigmask).cast::<u64>().read() };
        registers[libc::REG_RAX as usize] = go_on(mask);
    } else if MADE_AGAIN.contains(&number) || TIMED.contains(&number) {
        if TIMED.contains(&number) {
            keep_time(registers);
        }
        registers[libc::REG_RAX as usize] = number;
        registers[libc::REG_RIP as usize] -= SYSCALL.len() as i64;
    }
}

/// The number of the system call behind which `at` is, if it is one.
fn number_before(at: usize) -> Option<i64> {
    let (code, known) = code_before(at);
    let byte = |distance: usize| (distance <= known).then(|| code[SEARCH_BYTES - distance]);
    if [byte(2), byte(1)] != SYSCALL.map(Some) {
        return None;
    }
    let number = |distance: usize| {
        let bytes = [byte(distance - 1)?, byte(distance - 2)?, byte(distance - 3)?, byte(distance - 4)?];
        Some(i64::from(u32::from_le_bytes(bytes)))
            .filter(|&number| byte(distance) == Some(MOVE) && number < 512)
    };
    (5 + SYSCALL.len()..=SEARCH_BYTES).find_map(number)
}

/// The bytes before `at`, and how many of them, from the last on, can be read: code may begin there, with nothing in the page before, or be such
/// that it can only be run.
fn code_before(at: usize) -> ([u8; SEARCH_BYTES], usize) {
    let mut code = [0; SEARCH_BYTES];
    let in_last_page = ((at - 1) % PAGE_BYTES + 1).min(SEARCH_BYTES);
    let (before, last) = code.split_at_mut(SEARCH_BYTES - in_last_page);
    let place = |address: usize, bytes: usize| libc::iovec {
        iov_base: core::ptr::with_exposed_provenance_mut(address),
        iov_len: bytes,
    };
    // The kernel stops at the first part that it can't read (process_vm_readv(2)).
    let from = [place(at - in_last_page, last.len()), place(at - SEARCH_BYTES, before.len())];
    let to = [(&mut *last), (&mut *before)]
        .map(|part| libc::iovec { iov_base: part.as_mut_ptr().cast(), iov_len: part.len() });
    // The thread's number, as the process's first thread may have left.
    let own = threads::own_id() as usize;
    let arguments = [own, to.as_ptr().addr(), to.len(), from.as_ptr().addr(), from.len(), 0];
    // SAFETY: the kernel writes to the two parts of `code` alone, for as much as they have.
    let came = unsafe { system_call(libc::SYS_process_vm_readv, arguments) };
    (code, came.max(0) as usize)
}

/// A call that was to be over so long ago is another one.
const OVERDUE_MS_MAX: i32 = 60_000;

/// Has a call that is made again wait for what is left of its time. How long it had waited when it was first interrupted is not known; from then on
/// it is: until when it waits, in ms of the clock, stands in the upper half of the time-out's register, of which the kernel reads the lower one. In
/// a call that was not interrupted yet that half is zero, as programs set an int there.
fn keep_time(registers: &mut [libc::greg_t; 23]) {
    let place = &mut registers[libc::REG_R10 as usize];
    let timeout_ms = *place as i32;
    // Without end; or not at all, and then it is not interrupted either.
    if timeout_ms <= 0 {
        return;
    }
    let now = (monotonic_ns() / 1_000_000) as u32;
    let noted = (*place as u64 >> 32) as u32;
    let left_ms = noted.wrapping_sub(now) as i32;
    if noted != 0 && (-OVERDUE_MS_MAX..=timeout_ms).contains(&left_ms) {
        *place = with_time(noted, left_ms.max(0));
    } else {
        // Zero is of none.
        *place = with_time(now.wrapping_add(timeout_ms as u32).max(1), timeout_ms);
    }
}

fn with_time(until: u32, timeout_ms: i32) -> libc::greg_t {
    i64::from(until) << 32 | i64::from(timeout_ms)
}

/// Restores the thread's mask and has the kernel go on with its call; gives the result.
#[unsafe(naked)]
extern "C" fn go_on(mask: u64) -> i64 {
    naked_asm!(
        ".cfi_startproc",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        "jmp {again}",
        ".cfi_endproc",
        again = sym again,
    )
}

/// The rest of [`go_on`], on its frame. May be begun again at any time.
#[unsafe(naked)]
extern "C" fn again() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_adjust_cfa_offset 8",
        "mov eax, {set_mask}",
        "mov edi, {set}",
        "mov rsi, rsp",
        "xor edx, edx",
        "mov r10d, 8",
        "syscall",
        "mov eax, {restart}",
        "syscall",
        ".global heapkeeper_interrupted",
        ".hidden heapkeeper_interrupted",
        "heapkeeper_interrupted:",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        "ret",
        ".cfi_endproc",
        set_mask = const libc::SYS_rt_sigprocmask,
        set = const libc::SIG_SETMASK,
        restart = const libc::SYS_restart_syscall,
    )
}

unsafe extern "C" {
    /// Where [`again`] is when its call was interrupted.
    #[link_name = "heapkeeper_interrupted"]
    fn interrupted();
}

/// Leaves all frames down to that of [`again`], which begins again.
///
/// # Safety
/// The registers are those of a thread in [`again`], interrupted by the calling handler.
#[unsafe(naked)]
unsafe extern "C" fn jump_back(registers: *const i64) -> ! {
    naked_asm!(
        "mov rbx, [rdi + 8 * {rbx}]",
        "mov rbp, [rdi + 8 * {rbp}]",
        "mov r12, [rdi + 8 * {r12}]",
        "mov r13, [rdi + 8 * {r13}]",
        "mov r14, [rdi + 8 * {r14}]",
        "mov r15, [rdi + 8 * {r15}]",
        "mov rsp, [rdi + 8 * {rsp}]",
        "jmp {again}",
        rbx = const libc::REG_RBX,
        rbp = const libc::REG_RBP,
        r12 = const libc::REG_R12,
        r13 = const libc::REG_R13,
        r14 = const libc::REG_R14,
        r15 = const libc::REG_R15,
        rsp = const libc::REG_RSP,
        again = sym again,
    )
}
