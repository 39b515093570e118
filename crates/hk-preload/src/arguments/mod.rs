//! What other functions hand to the system than buffers: paths, structures, arrays. At a guard the kernel answers EFAULT, and no trap tells; so
//! arguments of guarded blocks are looked at here before the call.
//!
//! [`functions`] says which argument of which function leads to what. Each has a stub that lays down its arguments, looks, and goes on to libc's
//! function as if that had been called: arguments beyond six, cancellation, and who called stay as they are.

mod functions;

use crate::host::PROCESS;
use crate::next::{is_of_libc, look_up};
use crate::{system_calls, waits};
use core::ffi::{CStr, c_int, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use functions::{ARGUMENTS, BARE, FUNCTION_COUNT, NAMES};
pub use functions::{WAIT4, WAITID, WAITPID};

const PAGE_BYTES: usize = 4096;

/// Which argument, from 0, says how many.
#[derive(Clone, Copy)]
enum Count {
    /// One of 32 bits; the rest of its register may be anything (System V ABI, AMD64, 3.2.3).
    Int(u8),
    /// One of 64 bits.
    Size(u8),
}

/// What a pointer leads to.
#[derive(Clone, Copy)]
enum Kind {
    /// A text that ends with a NUL, which is read.
    Text,
    /// So many bytes, which are read.
    Reads(usize),
    /// So many bytes, which are filled.
    Fills(usize),
    /// An array of which so many bytes are read for each of as many as that argument says.
    ReadsEach(usize, Count),
    /// The same, filled.
    FillsEach(usize, Count),
    /// Bytes for each of as many as that argument says, of which the call fills as many as come.
    Room(usize, Count),
    /// So many buffers as that argument says, which are read.
    ReadsParts(Count),
    /// The same, of which the call fills as much as comes.
    FillsParts(Count),
    /// A bit for each of as many as that argument says, in words of 64; read and filled.
    Bits(Count),
    /// Room for as many bytes as the number says that this argument leads to.
    RoomOf(u8),
    /// The number that such a room has, if there is one at that argument.
    RoomBytes(u8),
    /// Something whose size depends on other arguments.
    Any,
    /// What fcntl's command makes of it.
    OfFcntl,
    /// Something, if ioctl's request says that it is an address at all.
    OfIoctl,
    /// epoll_ctl's event, which it does not look at if it is to forget a file (epoll_ctl(2)).
    OfEpollCtl,
    /// What is left of a sleep that was not one up to a time (clock_nanosleep(2)).
    OfSleep,
    /// A message for a queue, as long as that argument says behind its type (msgsnd(2)).
    Message(u8),
    /// Room for such a message (msgrcv(2)).
    MessageRoom(u8),
    /// So many messages as that argument says, that go out (sendmmsg(2)).
    MessagesOut(Count),
    /// The same, that come in (recvmmsg(2)).
    MessagesIn(Count),
    /// A byte for each page of as many bytes as that argument says, filled.
    Pages(Count),
    /// Something, if the command, which is that argument, is one of those that take an address.
    OfControl(u8, u32),
    /// Texts, and a list of where they are, which ends with NULL.
    List,
}

/// Which argument of a function, from 0, is what.
type Argument = (u8, Kind);
/// So many arguments are looked at, at most.
const ARGUMENTS_MAX: usize = 4;

/// The arguments of a function, for a table without pointers: those would have to be relocated at each start.
const fn table_row(arguments: &[Argument]) -> [Option<Argument>; ARGUMENTS_MAX] {
    let mut row = [None; ARGUMENTS_MAX];
    let mut nth = 0;
    while nth < arguments.len() {
        row[nth] = Some(arguments[nth]);
        nth += 1;
    }
    row
}

/// libc's functions, in the order of [`functions`].
static NEXT: [AtomicPtr<c_void>; FUNCTION_COUNT] = [const { AtomicPtr::new(null_mut()) }; FUNCTION_COUNT];
/// Whether the next function is libc's. A library may have one of its own under that name, with arguments of whatever kind.
static IS_LIBC: [AtomicBool; FUNCTION_COUNT] = [const { AtomicBool::new(false) }; FUNCTION_COUNT];

/// At the start: a look-up may allocate, and these functions may be called in signal handlers and in children.
pub fn begin() {
    for (nth, name) in NAMES.split_inclusive(|&byte| byte == 0).enumerate() {
        let next = CStr::from_bytes_with_nul(name).map_or(null_mut(), look_up);
        // Relaxed: whoever calls these functions in other threads was started later.
        NEXT[nth].store(next, Ordering::Relaxed);
        IS_LIBC[nth].store(is_of_libc(next), Ordering::Relaxed);
    }
    NEXT_CLOCK.store(look_up(c"clock_gettime"), Ordering::Relaxed);
}

/// What a stub goes on to.
pub fn next(nth: usize) -> *mut c_void {
    // Relaxed: as above.
    let mut next = NEXT[nth].load(Ordering::Relaxed);
    if next.is_null() {
        // Before the start.
        let name = NAMES.split_inclusive(|&byte| byte == 0).nth(nth);
        next = name.and_then(|name| CStr::from_bytes_with_nul(name).ok()).map_or(null_mut(), look_up);
    }
    if next.is_null() { absent as extern "C" fn() -> c_int as *mut c_void } else { next }
}

/// As a stub lays them down.
#[repr(C)]
struct Saved {
    vector_count: usize,
    last_first: [usize; 6],
    return_address: usize,
    /// A seventh argument, if there is one: the first on the stack.
    seventh: usize,
}

/// In place of a function's number: syscall(2).
pub const SYSCALL: usize = FUNCTION_COUNT;
/// The same of clock_gettime(3).
const CLOCK: usize = FUNCTION_COUNT + 1;
/// libc's clock_gettime.
static NEXT_CLOCK: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

/// Looks at the arguments of the function of that number; gives what to go on to.
extern "C" fn look(saved: &Saved, nth: usize) -> *mut c_void {
    if nth == SYSCALL {
        look_at_bare(saved);
        return hk_os::make_call as *mut c_void;
    }
    if nth == CLOCK {
        return look_at_clock(saved);
    }
    if nth == functions::SIGNAL_STACK {
        note_signal_stack(saved.last_first[5]);
    }
    if PROCESS.is_guarding() && IS_LIBC[nth].load(Ordering::Relaxed) {
        for (argument, kind) in ARGUMENTS[nth].into_iter().flatten() {
            look_at(saved, argument.into(), kind);
        }
    }
    let instead =
        if IS_LIBC[nth].load(Ordering::Relaxed) { waits::instead_of(nth, &saved.last_first) } else { None };
    instead.unwrap_or_else(|| next(nth))
}

/// Looks at the arguments of a call that is made by its number, its first argument.
fn look_at_bare(saved: &Saved) {
    let [fifth, fourth, third, second, first, number] = saved.last_first;
    if number == libc::SYS_sigaltstack as usize {
        note_signal_stack(first);
    }
    if !PROCESS.is_guarding() {
        return;
    }
    let Some((_, arguments)) = BARE.iter().find(|(of, _)| usize::from(*of) == number) else { return };
    let last_first = [saved.seventh, fifth, fourth, third, second, first];
    let shifted = Saved { last_first, ..*saved };
    for &(argument, kind) in arguments.iter().flatten() {
        look_at(&shifted, argument.into(), kind);
    }
}

/// Threads are stopped by a signal, for which there has to be room in the stack that lies at this address.
fn note_signal_stack(address: usize) {
    let Some(last) = address.checked_add(size_of::<libc::stack_t>() - size_of::<u64>()) else { return };
    if hk_recorder::is_readable(address) && hk_recorder::is_readable(last) {
        let stack: *const libc::stack_t = core::ptr::with_exposed_provenance(address);
        // SAFETY: both of its ends were found readable; the kernel minds no alignment.
        hk_os::note_signal_stack(&unsafe { stack.read_unaligned() });
    }
}

/// Looks at where clock_gettime is to leave the time; gives what to go on to.
#[cold]
fn look_at_clock(saved: &Saved) -> *mut c_void {
    let next = NEXT_CLOCK.load(Ordering::Relaxed);
    if PROCESS.is_guarding() && is_of_libc(next) {
        look_at(saved, 1, Kind::Fills(size_of::<libc::timespec>()));
    }
    next
}

#[inline]
fn look_at(saved: &Saved, nth: usize, kind: Kind) {
    let argument = |nth: usize| saved.last_first[5 - nth];
    let count_of = |count: Count| match count {
        // A negative one is refused before anything is read.
        Count::Int(nth) => usize::try_from(argument(nth.into()) as c_int).unwrap_or(0),
        Count::Size(nth) => argument(nth.into()),
    };
    let address: *const u8 = core::ptr::with_exposed_provenance(argument(nth));
    match kind {
        Kind::ReadsParts(count) => return system_calls::parts_go_out(address.cast(), count_of(count)),
        Kind::FillsParts(count) => return system_calls::parts_come_in(address.cast(), count_of(count)),
        Kind::MessagesOut(count) => return system_calls::messages_go_out(address.cast(), count_of(count)),
        Kind::MessagesIn(count) => return system_calls::messages_come_in(address.cast(), count_of(count)),
        Kind::List => return system_calls::texts_go_out(address.cast()),
        _ if !PROCESS.may_be_guarded(address) => return,
        _ => {}
    }
    let bytes_of = |bytes: usize, count: Count| count_of(count).saturating_mul(bytes);
    match kind {
        Kind::Text => PROCESS.check_text(address),
        Kind::Reads(bytes) => _ = PROCESS.check_outgoing(address, bytes),
        Kind::Fills(bytes) => _ = PROCESS.check_filled(address, bytes),
        Kind::ReadsEach(bytes, count) => _ = PROCESS.check_outgoing(address, bytes_of(bytes, count)),
        Kind::FillsEach(bytes, count) => _ = PROCESS.check_filled(address, bytes_of(bytes, count)),
        Kind::Room(bytes, count) => PROCESS.check_room(address, bytes_of(bytes, count)),
        Kind::ReadsParts(_)
        | Kind::FillsParts(_)
        | Kind::MessagesOut(_)
        | Kind::MessagesIn(_)
        | Kind::List => {}
        Kind::Bits(count) => _ = PROCESS.check_outgoing(address, system_calls::set_bytes(count_of(count))),
        Kind::RoomOf(at) => PROCESS.check_room(address, number_at(argument(at.into()))),
        Kind::RoomBytes(room) if argument(room.into()) == 0 => {}
        Kind::RoomBytes(_) => _ = PROCESS.check_outgoing(address, size_of::<libc::socklen_t>()),
        Kind::OfSleep if argument(1) as c_int & libc::TIMER_ABSTIME != 0 => {}
        Kind::MessageRoom(bytes) => PROCESS.check_room(address, argument(bytes.into()).saturating_add(8)),
        Kind::Pages(count) => _ = PROCESS.check_filled(address, count_of(count).div_ceil(PAGE_BYTES)),
        Kind::OfControl(command, with_address)
            if 1_u32.checked_shl(argument(command.into()) as u32).unwrap_or(0) & with_address == 0 => {}
        Kind::Message(bytes) => _ = PROCESS.check_outgoing(address, argument(bytes.into()).saturating_add(8)),
        Kind::OfFcntl => _ = PROCESS.check_outgoing(address, functions::fcntl_bytes(argument(1))),
        Kind::OfIoctl if !functions::is_ioctl_of_memory(argument(1)) => {}
        Kind::OfEpollCtl if argument(1) as c_int == libc::EPOLL_CTL_DEL => {}
        Kind::OfEpollCtl => _ = PROCESS.check_outgoing(address, size_of::<libc::epoll_event>()),
        Kind::Any | Kind::OfIoctl | Kind::OfSleep | Kind::OfControl(..) => PROCESS.check_room(address, 1),
    }
}

/// The length that a call is told by address; 0 if it can't be read.
fn number_at(address: usize) -> usize {
    let place: *const libc::socklen_t = core::ptr::with_exposed_provenance(address);
    if !place.is_aligned() || !hk_recorder::is_readable(address) {
        return 0;
    }
    // SAFETY: found readable, and within a word.
    unsafe { place.read() as usize }
}

/// In place of a function that this libc does not have.
extern "C" fn absent() -> c_int {
    hk_os::Errno::set(libc::ENOSYS);
    -1
}

/// clock_gettime(3): of the clocks that take a system call, those of the processor's time, the argument is looked at; the others write to it
/// themselves (vdso(7)), and are called often.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn clock_gettime() {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "mov rax, qword ptr [rip + {next}]",
        "test rax, rax",
        "jz 3f",
        "cmp edi, {process}",
        "je 2f",
        "cmp edi, {thread}",
        "je 2f",
        // Those of other processes and threads are negative.
        "test edi, edi",
        "js 2f",
        "jmp rax",
        "2:",
        "mov r11d, {number}",
        "jmp {common}",
        // Before the start, when the heap itself may ask, nothing can be looked up.
        "3:",
        "mov rdx, rsi",
        "movsxd rsi, edi",
        "mov edi, {call}",
        "jmp {make}",
        ".cfi_endproc",
        process = const libc::CLOCK_PROCESS_CPUTIME_ID,
        thread = const libc::CLOCK_THREAD_CPUTIME_ID,
        next = sym NEXT_CLOCK,
        number = const CLOCK,
        common = sym common,
        call = const libc::SYS_clock_gettime,
        make = sym hk_os::make_call,
    )
}

/// Where all stubs go on, with their number in r11.
#[unsafe(naked)]
pub extern "C" fn common() {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        "push rsi",
        ".cfi_adjust_cfa_offset 8",
        "push rdx",
        ".cfi_adjust_cfa_offset 8",
        "push rcx",
        ".cfi_adjust_cfa_offset 8",
        "push r8",
        ".cfi_adjust_cfa_offset 8",
        "push r9",
        ".cfi_adjust_cfa_offset 8",
        // How many vector registers a variadic call uses (System V ABI, AMD64, 3.5.7).
        "push rax",
        ".cfi_adjust_cfa_offset 8",
        // The function may be a library's own, with numbers as arguments; vectors of more than 16 bytes are not kept.
        "sub rsp, 128",
        ".cfi_adjust_cfa_offset 128",
        "movups [rsp], xmm0",
        "movups [rsp + 16], xmm1",
        "movups [rsp + 32], xmm2",
        "movups [rsp + 48], xmm3",
        "movups [rsp + 64], xmm4",
        "movups [rsp + 80], xmm5",
        "movups [rsp + 96], xmm6",
        "movups [rsp + 112], xmm7",
        "lea rdi, [rsp + 128]",
        "mov rsi, r11",
        "call {look}",
        "mov r11, rax",
        "movups xmm0, [rsp]",
        "movups xmm1, [rsp + 16]",
        "movups xmm2, [rsp + 32]",
        "movups xmm3, [rsp + 48]",
        "movups xmm4, [rsp + 64]",
        "movups xmm5, [rsp + 80]",
        "movups xmm6, [rsp + 96]",
        "movups xmm7, [rsp + 112]",
        "add rsp, 128",
        ".cfi_adjust_cfa_offset -128",
        "pop rax",
        ".cfi_adjust_cfa_offset -8",
        "pop r9",
        ".cfi_adjust_cfa_offset -8",
        "pop r8",
        ".cfi_adjust_cfa_offset -8",
        "pop rcx",
        ".cfi_adjust_cfa_offset -8",
        "pop rdx",
        ".cfi_adjust_cfa_offset -8",
        "pop rsi",
        ".cfi_adjust_cfa_offset -8",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        "jmp r11",
        ".cfi_endproc",
        look = sym look,
    )
}

/// Defines the stubs and their tables: `name(argument: kind, …);`.
macro_rules! stubs {
    ($($name:ident($($nth:literal: $kind:expr),+);)+) => {
        /// The names, each with a NUL behind it.
        pub(super) const NAMES: &[u8] = concat!($(stringify!($name), "\0"),+).as_bytes();
        /// What the functions are given.
        pub(super) static ARGUMENTS: [[Option<Argument>; ARGUMENTS_MAX]; FUNCTION_COUNT] =
            [$(table_row(&[$(($nth, $kind)),+])),+];
        /// How many there are.
        pub(super) const FUNCTION_COUNT: usize = [$(stringify!($name)),+].len();

        #[expect(non_camel_case_types, reason = "the functions' own names")]
        #[repr(u32)]
        enum Number { $($name),+ }

        /// That of sigaltstack.
        pub(super) const SIGNAL_STACK: usize = Number::sigaltstack as usize;
        /// Those of functions that wait for children.
        pub const WAITPID: usize = Number::waitpid as usize;
        /// As above.
        pub const WAIT4: usize = Number::wait4 as usize;
        /// As above.
        pub const WAITID: usize = Number::waitid as usize;

        $(
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            extern "C" fn $name() {
                core::arch::naked_asm!(
                    ".cfi_startproc",
                    "mov r11d, {number}",
                    "jmp {common}",
                    ".cfi_endproc",
                    number = const Number::$name as u32,
                    common = sym common,
                )
            }
        )+
    };
}
use stubs;

/// Defines the table of calls by number: `number(argument: kind, …);`.
macro_rules! bare {
    ($($number:ident($($nth:literal: $kind:expr),+);)+) => {
        /// What the system's calls are given.
        pub(super) static BARE: [(u16, [Option<Argument>; ARGUMENTS_MAX]); [$(stringify!($number)),+].len()] =
            [$(($number as u16, table_row(&[$(($nth, $kind)),+]))),+];
    };
}
use bare;
