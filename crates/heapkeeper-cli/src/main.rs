//! The `heapkeeper` command: runs an unmodified program on Heapkeeper's heap, and tells what went wrong.
//!
//! One clap table ([`cli::Cli`]) gives the help, the man page and the completions; one thin file per verb
//! takes its arguments and gives an exit code. What the verbs share: the embedded library ([`library`]),
//! what a program file is ([`inspect`]), and where lines go ([`lines`]).

mod check;
mod cli;
mod completions;
mod dangling;
pub mod demo;
mod diff;
pub mod doctor;
mod failure;
mod forms;
mod init;
mod inspect;
mod judging;
mod leaks;
mod lib_path;
mod library;
mod lines;
mod live;
mod man;
mod options;
mod os;
mod output;
mod ps;
mod report;
mod retained;
mod run;
mod sites;
mod snap;
mod snapshot;
mod uninstall;
mod who;
mod why;
mod words;

pub use failure::{Failure, VerbResult};

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::dispatch().unwrap_or_else(|failure| failure.tell())
}
