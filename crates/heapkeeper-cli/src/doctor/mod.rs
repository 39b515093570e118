//! `heapkeeper doctor`: (in progress)

use crate::{Failure, VerbResult};
use std::ffi::OsString;

/// Options of `heapkeeper doctor`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The program to look at, with its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs the verb.
pub fn run(_args: &Args) -> VerbResult {
    Err(Failure::new("doctor: not built yet"))
}
