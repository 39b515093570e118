//! `heapkeeper completions SHELL`: a completion script, made from the table of verbs.

use crate::{Failure, VerbResult, cli};
use clap_complete::Shell;
use std::io::Write;
use std::process::ExitCode;

/// Options of `heapkeeper completions`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The shell to complete for
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub fn run(args: &Args) -> VerbResult {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli::table(), "heapkeeper", &mut script);
    std::io::stdout()
        .write_all(&script)
        .map_err(|e| Failure::new(format!("completions: cannot write to standard output: {e}")))?;
    Ok(ExitCode::SUCCESS)
}
