//! `heapkeeper uninstall`: empties the cache folder.

use crate::{VerbResult, library, lines};
use std::process::ExitCode;

/// Options of `heapkeeper uninstall`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Removes what was unpacked. The command itself is removed by whatever installed it.
pub fn run(_args: &Args) -> VerbResult {
    let removed = library::remove()?;
    if removed.is_empty() {
        lines::tell("nothing to remove");
    }
    for path in removed {
        lines::tell(&format!("removed {}", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}
