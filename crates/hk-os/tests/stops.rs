//! Threads that wait in system calls while they are stopped again and again: no call returns before its time, or says that it was interrupted.

#![allow(unsafe_code, reason = "system calls")]

use hk_os::{StopFailure, make_call, stop_others};
use std::ptr::{null, null_mut};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// One stop at a time in a process: tests of it take turns.
static TURN: Mutex<()> = Mutex::new(());
static SECOND: libc::timespec = libc::timespec { tv_sec: 1, tv_nsec: 0 };

/// What the threads wait for.
struct Things {
    pipe: [i32; 2],
    queue: i32,
    semaphores: i32,
    messages: i32,
}

impl Things {
    fn new() -> Things {
        let mut pipe = [0; 2];
        // SAFETY: a place for two descriptors.
        assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
        // SAFETY: no pointers.
        let queue = unsafe { libc::epoll_create1(0) };
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        // SAFETY: an event.
        assert_eq!(unsafe { libc::epoll_ctl(queue, libc::EPOLL_CTL_ADD, pipe[0], &raw mut event) }, 0);
        // SAFETY: no pointers.
        let semaphores = unsafe { libc::semget(libc::IPC_PRIVATE, 2, 0o600) };
        // SAFETY: no pointers.
        let messages = unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) };
        Things { pipe, queue, semaphores, messages }
    }

    /// Ends the calls that wait without end.
    fn end(&self) {
        // SAFETY: a byte.
        unsafe { libc::write(self.pipe[1], c"x".as_ptr().cast(), 1) };
        let mut up = libc::sembuf { sem_num: 0, sem_op: 1, sem_flg: 0 };
        // SAFETY: one operation.
        unsafe { libc::semop(self.semaphores, &raw mut up, 1) };
        let message = [1_u64, 0];
        // SAFETY: a type and eight bytes.
        unsafe { libc::msgsnd(self.messages, message.as_ptr().cast(), 8, 0) };
    }
}

impl Drop for Things {
    fn drop(&mut self) {
        // SAFETY: our own.
        unsafe { libc::semctl(self.semaphores, 0, libc::IPC_RMID) };
        // SAFETY: as above.
        unsafe { libc::msgctl(self.messages, libc::IPC_RMID, null_mut()) };
    }
}

/// Ends them also where the test fails.
struct Ending<'a>(&'a Things);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A call that waits for a second, or until it is ended; gives its result.
type Wait = fn(&Things) -> i64;

fn readable(things: &Things) -> libc::pollfd {
    libc::pollfd { fd: things.pipe[0], events: libc::POLLIN, revents: 0 }
}

fn operation(number: u16) -> libc::sembuf {
    libc::sembuf { sem_num: number, sem_op: -1, sem_flg: 0 }
}

fn files(things: &Things) -> libc::fd_set {
    // SAFETY: all zero is the empty set.
    let mut set: libc::fd_set = unsafe { std::mem::zeroed() };
    // SAFETY: a set with room for the descriptor.
    unsafe { libc::FD_SET(things.pipe[0], &raw mut set) };
    set
}

// Not in libc's crate for this system.
unsafe extern "C" {
    fn semtimedop(
        id: i32,
        operations: *mut libc::sembuf,
        count: usize,
        timeout: *const libc::timespec,
    ) -> i32;
}

// SAFETY, in all of them: pointers to what lives through the call, or null.
#[allow(clippy::undocumented_unsafe_blocks, reason = "see above")]
const WAITS: &[(&str, Wait)] = &[
    ("poll", |things| unsafe { libc::poll(&mut readable(things), 1, 1000) }.into()),
    ("poll without end", |things| unsafe { libc::poll(&mut readable(things), 1, -1) }.into()),
    ("ppoll", |things| unsafe { libc::ppoll(&mut readable(things), 1, &raw const SECOND, null()) }.into()),
    ("nanosleep", |_| unsafe { libc::nanosleep(&raw const SECOND, null_mut()) }.into()),
    ("nanosleep with a rest", |_| {
        let mut rest = SECOND;
        unsafe { libc::nanosleep(&raw const SECOND, &raw mut rest) }.into()
    }),
    ("clock_nanosleep", |_| {
        // It gives the error itself.
        match unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, 0, &raw const SECOND, null_mut()) } {
            libc::EINTR => interrupted(),
            _ => 0,
        }
    }),
    ("select", |things| {
        let mut second = libc::timeval { tv_sec: 1, tv_usec: 0 };
        let mut set = files(things);
        let (set, none) = (&raw mut set, null_mut());
        unsafe { libc::select(things.pipe[0] + 1, set, none, none, &raw mut second) }.into()
    }),
    ("pselect", |things| {
        let mut set = files(things);
        let (set, none) = (&raw mut set, null_mut());
        unsafe { libc::pselect(things.pipe[0] + 1, set, none, none, &raw const SECOND, null()) }.into()
    }),
    ("epoll_wait", |things| {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        unsafe { libc::epoll_wait(things.queue, &raw mut event, 1, 1000) }.into()
    }),
    ("epoll_wait without end", |things| {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        unsafe { libc::epoll_wait(things.queue, &raw mut event, 1, -1) }.into()
    }),
    ("epoll_pwait", |things| {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        unsafe { libc::epoll_pwait(things.queue, &raw mut event, 1, 1000, null()) }.into()
    }),
    ("futex by number", |_| {
        let word = 0_u32;
        let (word, second) = (&raw const word, &raw const SECOND);
        let operation = (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG) as usize;
        unsafe { make_call(libc::SYS_futex as usize, word.addr(), operation, 0, second.addr(), 0, 0) }
    }),
    ("epoll_wait by number", |things| {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        let (queue, event) = (things.queue as usize, &raw mut event);
        unsafe { make_call(libc::SYS_epoll_wait as usize, queue, event.addr(), 1, 1000, 0, 0) }
    }),
    ("semop", |things| unsafe { libc::semop(things.semaphores, &mut operation(0), 1) }.into()),
    ("semtimedop", |things| {
        let mut waits = operation(1);
        unsafe { semtimedop(things.semaphores, &raw mut waits, 1, &raw const SECOND) }.into()
    }),
    ("msgrcv", |things| {
        let mut message = [0_u64; 2];
        unsafe { libc::msgrcv(things.messages, message.as_mut_ptr().cast(), 8, 0, 0) as i64 }
    }),
    ("sigtimedwait", |_| {
        let mut set = unsafe { std::mem::zeroed() };
        unsafe { libc::sigaddset(&raw mut set, libc::SIGUSR2) };
        unsafe { libc::sigtimedwait(&raw const set, null_mut(), &raw const SECOND) }.into()
    }),
    ("a condition", |_| {
        let (lock, condition) = (Mutex::new(()), std::sync::Condvar::new());
        let begin = Instant::now();
        let mut guard = lock.lock().unwrap();
        while begin.elapsed() < Duration::from_secs(1) {
            guard = condition.wait_timeout(guard, Duration::from_secs(1) - begin.elapsed()).unwrap().0;
        }
        0
    }),
];

fn interrupted() -> i64 {
    // SAFETY: the calling thread's own.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    unsafe { *errno = libc::EINTR };
    -1
}

/// What was wrong with a call, if anything was.
fn judge(name: &str, things: &Things, wait: Wait, longest: Duration) -> Option<String> {
    let begin = Instant::now();
    let result = wait(things);
    let error = std::io::Error::last_os_error().raw_os_error();
    let took = begin.elapsed();
    if result < 0 && error == Some(libc::EINTR) {
        return Some(format!("{name}: EINTR after {took:?}"));
    }
    let is_right = (Duration::from_millis(950)..longest).contains(&took);
    (!is_right).then(|| format!("{name}: took {took:?}, and gave {result}"))
}

/// What is made again from its start waits longer, where it is not known since when it did.
fn longest(name: &str) -> Duration {
    let is_made_again = matches!(name, "semtimedop" | "sigtimedwait");
    Duration::from_millis(if is_made_again { 2600 } else { 1700 })
}

#[test]
fn stops_are_unseen_by_calls_that_wait() {
    let _turn = TURN.lock().unwrap();
    let things = Things::new();
    let mut stops = 0;
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let start = |&(name, wait): &'static (&str, Wait)| {
            let things = &things;
            scope.spawn(move || judge(name, things, wait, longest(name)))
        };
        let threads: Vec<_> = WAITS.iter().map(start).collect();
        let ending = Ending(&things);
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(1020) {
            drop(stop_others(1000).unwrap());
            stops += 1;
            std::thread::sleep(Duration::from_millis(3));
        }
        drop(ending);
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "after {stops} stops: {wrong:#?}");
    assert!(stops > 20);
}

#[test]
fn nothing_runs_while_all_are_stopped() {
    let _turn = TURN.lock().unwrap();
    let (done, count) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    count.fetch_add(1, Ordering::Relaxed);
                    // Threads come and go.
                    std::thread::spawn(|| {}).join().unwrap();
                }
            });
        }
        for _ in 0..300 {
            let stopped = stop_others(5000).unwrap();
            let before = count.load(Ordering::Relaxed);
            let pointers: Vec<usize> = stopped.contexts().map(|context| context.stack_pointer()).collect();
            assert!(pointers.len() >= 8 && pointers.iter().all(|&pointer| pointer != 0));
            std::thread::sleep(Duration::from_micros(100));
            assert_eq!(count.load(Ordering::Relaxed), before);
            drop(stopped);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_thread_that_does_not_answer_costs_the_stop_alone() {
    let _turn = TURN.lock().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let deaf = scope.spawn(|| be_deaf(&done));
        std::thread::sleep(Duration::from_millis(20));
        for _ in 0..20 {
            assert!(matches!(stop_others(5), Err(StopFailure::NoAnswer(_))));
        }
        done.store(true, Ordering::Relaxed);
        deaf.join().unwrap();
    });
    drop(stop_others(1000).unwrap());
}

/// Sleeps with all signals blocked.
fn be_deaf(done: &AtomicBool) {
    let all = !0_u64;
    let no_set = null_mut::<u64>();
    // SAFETY: a set of the kernel's size. By the bare call, as libc leaves its own signals unblocked.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const all, no_set, 8) };
    while !done.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(1));
    }
    // SAFETY: as above. What was sent comes now, and means nothing any more.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_UNBLOCK, &raw const all, no_set, 8) };
}

#[test]
fn nobody_waits_for_a_thread_that_blocks_the_signal() {
    const PATIENCE_MS: u32 = 60_000;
    let _turn = TURN.lock().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let deaf = scope.spawn(|| be_deaf(&done));
        std::thread::sleep(Duration::from_millis(20));
        let begin = Instant::now();
        let stopped = stop_others(PATIENCE_MS);
        let took = begin.elapsed();
        done.store(true, Ordering::Relaxed);
        assert!(matches!(stopped, Err(StopFailure::NoAnswer(_))), "{stopped:?}");
        assert!(took < Duration::from_millis(PATIENCE_MS.into()) / 2, "{took:?}");
        deaf.join().unwrap();
    });
}

/// The state of a thread (proc(5)).
fn state_of(thread: u64) -> char {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
    text[text.rfind(')').unwrap() + 2..].chars().next().unwrap()
}

/// Makes a process that is not another program before somebody writes to a pipe; gives how it ended. libc blocks all signals until then.
fn spawn_behind(pipe: &std::ffi::CStr) -> i32 {
    let mut actions = std::mem::MaybeUninit::uninit();
    // SAFETY: room for what it makes.
    assert_eq!(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) }, 0);
    // SAFETY: made above, and a path that ends with NUL.
    unsafe {
        libc::posix_spawn_file_actions_addopen(actions.as_mut_ptr(), 0, pipe.as_ptr(), libc::O_RDONLY, 0)
    };
    let arguments = [c"true".as_ptr().cast_mut(), null_mut()];
    let (mut child, mut status) = (0, -1);
    // SAFETY: what is given lives through the call; there is no environment.
    unsafe {
        let environment = [null_mut()];
        let (arguments, environment) = (arguments.as_ptr(), environment.as_ptr());
        libc::posix_spawn(
            &raw mut child,
            c"/bin/true".as_ptr(),
            actions.as_ptr(),
            null(),
            arguments,
            environment,
        )
    };
    // SAFETY: a place for the status.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    // SAFETY: made above.
    unsafe { libc::posix_spawn_file_actions_destroy(actions.as_mut_ptr()) };
    status
}

#[test]
fn a_thread_that_waits_for_its_vfork_child_is_waited_for() {
    let _turn = TURN.lock().unwrap();
    let folder = std::env::temp_dir().join(format!("hk-stops-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("pipe");
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: a path that ends with NUL.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let thread = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let parent = scope.spawn(|| {
            // SAFETY: no arguments.
            thread.store(unsafe { libc::gettid() } as u64, Ordering::Relaxed);
            spawn_behind(&name)
        });
        let mut opener = std::process::Command::new("sh");
        let mut opener = opener.args(["-c", "sleep 1; : > \"$0\""]).arg(&path).spawn().unwrap();
        while thread.load(Ordering::Relaxed) == 0 || state_of(thread.load(Ordering::Relaxed)) != 'D' {
            assert!(opener.try_wait().unwrap().is_none(), "no parent was seen waiting");
            std::thread::sleep(Duration::from_millis(1));
        }
        let stopped = stop_others(60_000).map(drop);
        assert_eq!((parent.join().unwrap(), stopped), (0, Ok(())));
        assert!(opener.wait().unwrap().success());
    });
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_call_waits_its_own_time_and_not_what_is_left_of_an_earlier_one() {
    let _turn = TURN.lock().unwrap();
    let things = Things::new();
    let begun = AtomicU64::new(0);
    // From one frame, both of them.
    let wait = || {
        (0..2).map(|_| {
            let mut event = libc::epoll_event { events: 0, u64: 0 };
            let begin = Instant::now();
            begun.fetch_add(1, Ordering::SeqCst);
            // SAFETY: room for an event.
            let came = unsafe { libc::epoll_wait(things.queue, &raw mut event, 1, 1000) };
            let took = begin.elapsed();
            if came == 1 {
                // SAFETY: room for a byte.
                unsafe { libc::read(things.pipe[0], [0_u8].as_mut_ptr().cast(), 1) };
            }
            (came, took)
        })
    };
    let [first, second] = std::thread::scope(|scope| {
        let waiter = scope.spawn(|| wait().collect::<Vec<_>>().try_into().unwrap());
        let stop_in = |call: u64| {
            while begun.load(Ordering::SeqCst) < call {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(100));
            drop(stop_others(1000).unwrap());
        };
        stop_in(1);
        std::thread::sleep(Duration::from_millis(400));
        things.end();
        stop_in(2);
        waiter.join().unwrap()
    });
    assert_eq!((first.0, second.0), (1, 0), "{first:?} {second:?}");
    assert!(second.1 >= Duration::from_millis(950), "{second:?}");
}

/// Two pages, the second of which is code; the first can be read or not.
fn code_page(code: &[u8], first_access: i32) -> usize {
    const PAGE: usize = 4096;
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address of the kernel's choice.
    let pages = unsafe { libc::mmap(null_mut(), 2 * PAGE, access, kind, -1, 0) };
    assert_ne!(pages, libc::MAP_FAILED);
    let second: *mut u8 = pages.cast::<u8>().wrapping_add(PAGE);
    // SAFETY: of the mapping, which nobody else has.
    unsafe { second.copy_from_nonoverlapping(code.as_ptr(), code.len()) };
    // SAFETY: as above.
    assert_eq!(unsafe { libc::mprotect(pages, PAGE, first_access) }, 0);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::mprotect(second.cast(), PAGE, libc::PROT_READ | libc::PROT_EXEC) }, 0);
    second.expose_provenance()
}

/// Sleeps for a second by code that makes the call whose number is in rax.
fn sleep_by(code: usize) -> i64 {
    let result: i64;
    // SAFETY: a function that makes a call, of which it is told all, and returns.
    unsafe {
        std::arch::asm!(
            "call {code}",
            code = in(reg) code,
            inlateout("rax") libc::SYS_nanosleep => result,
            in("rdi") &raw const SECOND, in("rsi") 0,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    result
}

#[test]
fn code_that_cannot_be_read_is_not() {
    let _turn = TURN.lock().unwrap();
    const CALL: &[u8] = &[0x0F, 0x05, 0xC3];
    const NUMBER_AND_CALL: &[u8] = &[0xB8, 35, 0, 0, 0, 0x0F, 0x05, 0xC3];
    let interrupted = -i64::from(libc::EINTR);
    let cases = [
        // The number is not known, and so the call is not gone on with.
        (code_page(CALL, libc::PROT_NONE), interrupted),
        (code_page(CALL, libc::PROT_READ), interrupted),
        (code_page(NUMBER_AND_CALL, libc::PROT_NONE), 0),
    ];
    std::thread::scope(|scope| {
        let sleepers = cases.map(|(code, expected)| (scope.spawn(move || sleep_by(code)), expected));
        std::thread::sleep(Duration::from_millis(200));
        drop(stop_others(1000).unwrap());
        for (sleeper, expected) in sleepers {
            assert_eq!(sleeper.join().unwrap(), expected);
        }
    });
}
