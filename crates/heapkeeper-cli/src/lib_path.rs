//! `heapkeeper lib`: unpacks the library and prints its path.

use crate::{Failure, VerbResult, library};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

/// Options of `heapkeeper lib`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Prints the path, for `LD_PRELOAD=$(heapkeeper lib) CMD`.
pub fn run(_args: &Args) -> VerbResult {
    let path = library::unpack()?;
    let mut line = path.as_os_str().as_bytes().to_vec();
    line.push(b'\n');
    std::io::stdout()
        .write_all(&line)
        .map_err(|e| Failure::new(format!("lib: cannot write to standard output: {e}")))?;
    Ok(ExitCode::SUCCESS)
}
