//! `heapkeeper demo`: (in progress)

use crate::{Failure, VerbResult};

/// Options of `heapkeeper demo`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs the verb.
pub fn run(_args: &Args) -> VerbResult {
    Err(Failure::new("demo: not built yet"))
}
