//! What lies at addresses that are not the heap's.
#![allow(unsafe_code, clippy::multiple_unsafe_ops_per_block, reason = "tests call libc")]

use hk_format::Place;
use hk_recorder::describe_place;
use std::ffi::c_void;
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::sync::mpsc::channel;

static CONSTANT: [u8; 64] = [7; 64];
static mut ZEROED: [u8; 100_000] = [0; 100_000];
static mut INITIALISED: [u64; 8] = [7; 8];

fn map(rights: i32, flags: i32, fd: i32) -> *mut c_void {
    // SAFETY: a new mapping where nothing is.
    let start = unsafe { libc::mmap(null_mut(), 8192, rights, flags, fd, 0) };
    assert_ne!(start, libc::MAP_FAILED);
    start
}

fn place_of<T: ?Sized>(pointer: *const T) -> Place {
    let address = pointer.cast::<u8>() as u64;
    let info = describe_place(address);
    if info.place != Place::Unmapped {
        assert!((info.start..info.end).contains(&address));
    }
    info.place
}

#[test]
fn data_and_code_of_the_program_and_of_libraries() {
    let program = std::env::current_exe().unwrap();
    let program = program.as_os_str().as_encoded_bytes();
    for data in [&raw const CONSTANT as u64, &raw const ZEROED as u64 + 50_000, &raw const INITIALISED as u64]
    {
        let info = describe_place(data);
        assert_eq!(info.place, Place::StaticData);
        assert_eq!(info.name(), &program[program.len().saturating_sub(200)..]);
    }
    assert_eq!(place_of(map as *const ()), Place::Code);
    let function = describe_place(libc::getpid as *const () as u64);
    assert_eq!(function.place, Place::Code);
    assert!(function.name().ends_with(b"/libc.so.6"));
    // SAFETY: only the address is taken.
    let environ = unsafe { &raw const *libc::__errno_location() };
    assert_ne!(place_of(environ), Place::StaticData);
    unsafe extern "C" {
        static stdout: *mut c_void;
    }
    // SAFETY: libc's own pointer, set at its start.
    let file = unsafe { stdout };
    let info = describe_place(file as u64);
    assert_eq!(info.place, Place::StaticData);
    assert!(info.name().ends_with(b"/libc.so.6"));
}

#[test]
fn stacks_of_this_thread_and_of_others() {
    let local = 0u8;
    assert_eq!(place_of(&raw const local), Place::Stack);
    let (tell, address) = channel();
    let (stop, stopped) = channel::<()>();
    let thread = std::thread::spawn(move || {
        let local = 0u8;
        tell.send(&raw const local as usize).unwrap();
        stopped.recv().unwrap_err();
    });
    let of_other = address.recv().unwrap() as *const u8;
    assert_eq!(place_of(of_other), Place::Stack);
    drop(stop);
    thread.join().unwrap();
    // The program's arguments lie on the first thread's stack.
    // SAFETY: /proc/self/stat is not needed: getauxval gives an address on that stack.
    let random = unsafe { libc::getauxval(libc::AT_RANDOM) };
    let info = describe_place(random);
    assert_eq!((info.place, info.name()), (Place::Stack, &b"[stack]"[..]));
}

#[test]
fn mappings_of_all_kinds() {
    let (read, write) = (libc::PROT_READ, libc::PROT_WRITE);
    let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // Apart from its neighbours, lest the kernel join it with a stack or a module.
    let area = map(read | write | libc::PROT_EXEC, anonymous, -1);
    assert_eq!(place_of(area), Place::Code);
    // SAFETY: our own mapping; nobody uses it.
    unsafe { libc::mprotect(area, 4096, read) };
    assert_eq!(place_of(area), Place::Anonymous);
    assert_eq!(place_of(map(read | write, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1)), Place::MappedFile);
    assert_eq!(place_of(map(libc::PROT_NONE, anonymous, -1)), Place::Unmapped);

    let path = std::env::temp_dir().join(format!("hk-places-{}-{}", std::process::id(), "long".repeat(50)));
    std::fs::write(&path, [1; 8192]).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    let mapped = map(read, libc::MAP_PRIVATE, file.as_raw_fd());
    let info = describe_place(mapped as u64 + 5000);
    assert_eq!((info.place, info.end - info.start), (Place::MappedFile, 8192));
    // A long path keeps its end.
    assert!(path.as_os_str().as_encoded_bytes().ends_with(info.name()) && info.name().len() >= 100);
    std::fs::remove_file(&path).unwrap();

    // SAFETY: our own mapping, not used afterwards.
    unsafe { libc::munmap(mapped, 8192) };
    // Another test's new thread may get its stack there at once: then once more.
    let is_unmapped = |_| {
        let gone = map(read, anonymous, -1);
        // SAFETY: as above.
        unsafe { libc::munmap(gone, 8192) };
        place_of(gone) == Place::Unmapped
    };
    assert!((0..10).any(is_unmapped));
    assert_eq!(describe_place(0x10).place, Place::Unmapped);
    assert_eq!(describe_place(u64::MAX - 7).place, Place::Unmapped);
    // SAFETY: asks where the brk heap ends, and makes sure there is one.
    let end = unsafe { libc::sbrk(4096) };
    assert_eq!(place_of(end), Place::OtherHeap);
}
