//! `heapkeeper snap PID -o FILE`: all blocks of a running process and every pointer to one, as a file.

use crate::live::{LiveSnapshot, failed, snapshot_of};
use crate::output::Output;
use crate::{Failure, VerbResult, lines};
use hk_format::SnapshotTotals;
use hk_report::{bytes, duration};
use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const AFTER_HELP: &str = "\
The process must run on our heap with a recording, as under `heapkeeper run`, and be of the same user. It sees the request when it \
allocates: one that does not is not asked. It stands still while an image of it is made, some 20 ms for each GiB, and goes on while that \
image writes the snapshot.";

/// Options of `heapkeeper snap`.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The process
    #[arg(value_name = "PID")]
    pid: u32,
    /// Where the snapshot goes; what is there is replaced once it is whole
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Takes the snapshot.
pub fn run(args: &Args) -> VerbResult {
    let mut output = Output::create_private(&args.output)?;
    let mut snapshot = snapshot_of(args.pid)?;
    let written = copy(args.pid, &mut snapshot, &mut output)?;
    output.put_in_place()?;
    let SnapshotTotals { blocks, block_bytes, pointers, roots, freed } = *snapshot.totals();
    lines::tell(&format!(
        "process {} stood still for {}; {blocks} live blocks of {}, {pointers} pointers in them, {roots} from elsewhere, {freed} free \
         blocks that something points to: {} in {}",
        args.pid,
        duration(snapshot.header().stop_ns),
        bytes(block_bytes),
        bytes(written),
        args.output.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Gives how many bytes there were.
fn copy(pid: u32, snapshot: &mut LiveSnapshot, output: &mut Output) -> Result<u64, Failure> {
    let mut buffer = vec![0; 1 << 18];
    let mut progress = Progress::new();
    let mut written = 0;
    loop {
        match snapshot.read(&mut buffer) {
            Ok(0) => return Ok(written),
            Ok(len) => {
                output.write(&buffer[..len])?;
                written += len as u64;
                progress.tell(written);
            }
            Err(error) => return Err(failed(pid, &error)),
        }
    }
}

/// A line that is written anew now and then, on a terminal alone.
struct Progress {
    told: Option<Instant>,
    is_terminal: bool,
}

impl Progress {
    const PERIOD: Duration = Duration::from_millis(200);

    fn new() -> Progress {
        Progress { told: Some(Instant::now()), is_terminal: std::io::stderr().is_terminal() }
    }

    fn tell(&mut self, written: u64) {
        if self.is_terminal && self.told.is_none_or(|told| told.elapsed() > Self::PERIOD) {
            self.told = Some(Instant::now());
            let _ = write!(std::io::stderr(), "\rheapkeeper: {} \x1b[K", bytes(written));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
