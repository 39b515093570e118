//! The library that puts the heap under an unmodified program: the C face of [`heapkeeper::process::ProcessHeap`].
//!
//! - [`family`]: malloc and its relatives, with glibc's errors.
//! - [`operators`]: C++'s new and delete.
//! - [`info`]: what programs may ask of an allocator.
//! - [`foreign`]: pointers that other allocators handed out go back to them.
//! - [`exec`]: programs that this one starts get the heap too, also with a cleared environment.
//! - [`target`]: but not one that the library would disturb.
//! - [`limits`]: a program that limits its address space finds room below the limit.
//! - [`system_calls`], [`streams`]: buffers that system calls are given; [`arguments`]: what else they are given. [`loading`]: libraries that come and go.
//! - [`waits`]: children of ours that the program does not wait for.
//! - [`lifecycle`]: what is done when the program starts and ends.
//!
//! It links to libc alone, is built without std, and writes to no descriptor of the program: see `xtask tidy`
//! for the list of what it may import.
#![no_std]
#![allow(unsafe_code, reason = "the C interface")]

mod arguments;
mod exec;
mod exec_environment;
mod family;
mod foreign;
mod host;
mod info;
mod lifecycle;
mod limits;
mod loading;
mod next;
mod operators;
mod panic;
mod sandbox;
mod shell;
mod signal_masks;
mod signals;
mod streams;
mod system_calls;
mod target;
mod waits;
