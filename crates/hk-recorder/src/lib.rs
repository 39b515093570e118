//! The recording, as seen from inside the program: who runs, what was found, and on which stack.
//!
//! Everything here may be called from inside a bad `free()`: in any thread, with any lock of the program
//! held, on a stack of 16 KiB, between fork and exec, from a signal handler that interrupted this very
//! code. Therefore:
//!
//! - nothing is allocated, and nothing is locked: what is shared is atomics in the mapped file and one
//!   lock-free table; buffers are small and on the stack of the caller;
//! - system calls are made directly ([`sys`]): libc's wrappers are cancellation points, may be replaced by
//!   the program, and set `errno`, which `free` must leave alone;
//! - memory of the program is read only after the kernel has said that it can be ([`probe`]), or, for the
//!   stacks of blocks, where that is known ([`stack_words`]);
//! - a page of the file is touched only after the kernel has made room for it, so that a full disk costs a
//!   record and not a SIGBUS.
//!
//! A finding is committed to the file before its stack is taken. What the records look like is told by
//! [`hk_format`]; names of functions are found later, by the `heapkeeper` command.
#![no_std]

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
compile_error!("hk-recorder knows Linux on x86-64 only: see sys.rs and registers.rs for what a port needs");

mod control;
mod finding;
mod line;
mod mapping;
mod maps;
mod pair;
mod probe;
mod process;
mod read_word;
mod recording;
mod region;
mod registers;
mod seen;
mod stack_area;
mod stack_words;
mod stacks;
mod sys;
mod unwind;

pub use control::{Answer, Unwanted};
pub use finding::{Access, BadCall, BlockEvent, BlockLife, FreeSite, LostBlocks, Recorded};
pub use line::{print_bad_setting, print_leak, print_line};
pub use maps::{MappedData, PlaceInfo, ReadableMapping, describe_place, for_each_readable_mapping};
pub use process::{SharedFigures, program_path};
pub use read_word::{resume_after_bad_read, set_reads_recover};
pub use recording::{ExecToken, Recording};
pub use registers::{Innermost, Registers};
pub use stack_area::{ModuleArea, StackArea};
pub use stacks::{StackId, StackModule, Stacks};
pub use sys::{Errno, is_readable, thread_name, tid};
pub use unwind::{ModuleList, STACK_FRAMES_MAX, module_range, registers_above};
