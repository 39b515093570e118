//! Whether the library can be put under a program that is about to be started.
//!
//! ld.so of another libc or another architecture cannot load it: musl's ends the program, glibc's for 32 bits prints an
//! error on the program's stderr, and so does ld.so if the file can't be read, as after a change of user. Such a
//! program has to be started as if we were not there. Static and setuid programs need no care: no ld.so runs,
//! or it ignores us.
//!
//! All of this runs in vfork children and on small stacks: nothing is allocated, files are read in small pieces, and
//! only by bare system calls, as libc's wrappers are cancellation points.

use core::ffi::{CStr, c_char};
use core::mem::{MaybeUninit, offset_of};
use hk_os::Errno;
use libc::{AT_FDCWD, Elf64_Ehdr, Elf64_Phdr, c_int};

/// What is known of a program's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// There is no regular file that could be run.
    Absent,
    /// The library can be put under it, or does no harm, or nothing is known against it.
    Fits,
    /// The library would disturb it.
    Unfit,
}

/// Enough for an ELF header, the program headers of most programs, and the first line of a script (Linux: 256 bytes).
const HEAD_BYTES: usize = 1024;
const SCRIPT_LINE_BYTES: usize = 256;
const INTERPRETER_BYTES: usize = 256;
/// Program headers beyond these are not looked at; compilers make about 14.
const PROGRAM_HEADER_COUNT_MAX: usize = 128;

/// A file opened for reading; closed when dropped.
struct File(c_int);

impl File {
    /// None if it can't be read or opened. The caller has seen that it is a regular file.
    fn open(folder: c_int, path: *const c_char) -> Option<File> {
        let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NOCTTY | libc::O_NONBLOCK;
        // SAFETY: the path is a C string; the call only reads it.
        let fd = unsafe { libc::syscall(libc::SYS_openat, folder, path, flags, 0) } as c_int;
        (fd >= 0).then_some(File(fd))
    }

    /// What could be read from `offset` on.
    fn read<'a>(&self, offset: u64, buffer: &'a mut [u8]) -> &'a [u8] {
        // SAFETY: the kernel writes into the buffer at most.
        let len = unsafe {
            libc::syscall(libc::SYS_pread64, self.0, buffer.as_mut_ptr(), buffer.len(), offset as i64)
        };
        &buffer[..len.max(0) as usize]
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: our own descriptor, closed once.
        unsafe { libc::syscall(libc::SYS_close, self.0) };
    }
}

/// Whether a path leads to a regular file. False too if a folder on the way can't be searched: exec fails then.
pub fn is_file(folder: c_int, path: *const c_char) -> bool {
    let mut status = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the path is a C string, and there is room for the result.
    let failed = unsafe { libc::syscall(libc::SYS_newfstatat, folder, path, status.as_mut_ptr(), 0) } != 0;
    // SAFETY: zeroed first, and any bits are valid integers.
    let status = unsafe { status.assume_init() };
    !failed && status.st_mode & libc::S_IFMT == libc::S_IFREG
}

/// Whether the new program's ld.so will be able to read the library. access(2) asks for the real user and without the
/// capabilities that exec takes from it; where the effective user differs from that, ld.so ignores LD_PRELOAD.
fn can_be_loaded(library: &CStr) -> bool {
    // SAFETY: a C string.
    unsafe { libc::syscall(libc::SYS_access, library.as_ptr(), libc::R_OK) == 0 }
}

/// Judges the file at `path` (relative to `folder` as openat(2) takes it), which is to be run with the library at
/// `library` in LD_PRELOAD. errno stays as it is.
#[inline(never)]
pub fn judge(folder: c_int, path: *const c_char, library: &CStr) -> Target {
    let _errno = Errno::keep();
    if !is_file(folder, path) {
        return Target::Absent;
    }
    if !can_be_loaded(library) {
        return Target::Unfit;
    }
    let Some(file) = File::open(folder, path) else { return Target::Fits };
    let mut head = [0u8; HEAD_BYTES];
    let start = file.read(0, &mut head);
    let mut interpreter = [0u8; INTERPRETER_BYTES];
    let fits = match script_interpreter(start, &mut interpreter) {
        None => is_fit_elf(&file, start),
        // One level: an interpreter that is a script itself is rare, and covers itself when it is run.
        Some(path) => {
            drop(file);
            match File::open(AT_FDCWD, path.as_ptr()) {
                None => true,
                Some(file) => is_fit_elf(&file, file.read(0, &mut head)),
            }
        }
    };
    if fits { Target::Fits } else { Target::Unfit }
}

/// The program that runs a script, `#! PATH [ARGUMENT]` (execve(2)). None if the file is no script.
fn script_interpreter<'a>(head: &[u8], buffer: &'a mut [u8; INTERPRETER_BYTES]) -> Option<&'a CStr> {
    let line = head.strip_prefix(b"#!")?;
    let line = &line[..line.len().min(SCRIPT_LINE_BYTES - 2)];
    let line = line.split(|&b| b == b'\n').next()?;
    let path = line.split(|b| b" \t\0".contains(b)).find(|part| !part.is_empty())?;
    buffer[..path.len()].copy_from_slice(path);
    buffer[path.len()] = 0;
    CStr::from_bytes_until_nul(buffer).ok()
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(offset..)?.first_chunk().copied()?))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(offset..)?.first_chunk().copied()?))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(offset..)?.first_chunk().copied()?))
}

/// Whether a file is no ELF file at all, or one for this architecture that is static or run by glibc's ld.so.
fn is_fit_elf(file: &File, head: &[u8]) -> bool {
    if !head.starts_with(b"\x7fELF") {
        return true;
    }
    let class = head.get(libc::EI_CLASS).copied();
    let order = head.get(libc::EI_DATA).copied();
    let machine = u16_at(head, offset_of!(Elf64_Ehdr, e_machine));
    if class != Some(libc::ELFCLASS64) || order != Some(libc::ELFDATA2LSB) || machine != Some(libc::EM_X86_64)
    {
        return false;
    }
    let mut buffer = [0u8; INTERPRETER_BYTES];
    match interpreter_name(file, head, &mut buffer) {
        None => true,
        Some(name) => name.starts_with(b"ld-linux") || name.starts_with(b"ld-lsb"),
    }
}

/// The last part of the name of the ld.so that an ELF file asks for (PT_INTERP). None if it asks for none.
fn interpreter_name<'a>(
    file: &File,
    head: &[u8],
    buffer: &'a mut [u8; INTERPRETER_BYTES],
) -> Option<&'a [u8]> {
    let table = u64_at(head, offset_of!(Elf64_Ehdr, e_phoff))?;
    let entry_bytes = u64::from(u16_at(head, offset_of!(Elf64_Ehdr, e_phentsize))?);
    let count = usize::from(u16_at(head, offset_of!(Elf64_Ehdr, e_phnum))?).min(PROGRAM_HEADER_COUNT_MAX);
    for index in 0..count {
        let at = table.checked_add(index as u64 * entry_bytes)?;
        let mut own = [0u8; size_of::<Elf64_Phdr>()];
        let near = usize::try_from(at).ok().and_then(|at| head.get(at..at.checked_add(own.len())?));
        let entry = match near {
            Some(entry) => entry,
            None => file.read(at, &mut own),
        };
        if u32_at(entry, offset_of!(Elf64_Phdr, p_type))? == libc::PT_INTERP {
            let path = file.read(u64_at(entry, offset_of!(Elf64_Phdr, p_offset))?, buffer);
            let path = path.split(|&b| b == 0).next()?;
            return path.rsplit(|&b| b == b'/').next();
        }
    }
    None
}
