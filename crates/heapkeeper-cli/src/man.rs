//! `heapkeeper man`: the manual page, made from the table of verbs.

use crate::{Failure, VerbResult, cli};
use std::io::Write;
use std::process::ExitCode;

/// Options of `heapkeeper man`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Prints the page in roff, for `man -l -` or a packager.
pub fn run(_args: &Args) -> VerbResult {
    let page = page().map_err(|e| Failure::new(format!("man: cannot make the page: {e}")))?;
    std::io::stdout()
        .write_all(&page)
        .map_err(|e| Failure::new(format!("man: cannot write to standard output: {e}")))?;
    Ok(ExitCode::SUCCESS)
}

fn page() -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(cli::table()).render(&mut page)?;
    Ok(page)
}
