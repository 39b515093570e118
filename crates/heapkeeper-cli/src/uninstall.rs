//! `heapkeeper uninstall`: (in progress)

use crate::{Failure, VerbResult};

/// Options of `heapkeeper uninstall`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs the verb.
pub fn run(_args: &Args) -> VerbResult {
    Err(Failure::new("uninstall: not built yet"))
}
