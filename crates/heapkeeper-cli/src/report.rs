//! `heapkeeper report`: (in progress)

use crate::{Failure, VerbResult};

/// Options of `heapkeeper report`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs the verb.
pub fn run(_args: &Args) -> VerbResult {
    Err(Failure::new("report: not built yet"))
}
