//! `heapkeeper run`: (in progress)

use crate::{Failure, VerbResult};

/// Options of `heapkeeper run`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs the verb.
pub fn run(_args: &Args) -> VerbResult {
    Err(Failure::new("run: not built yet"))
}
