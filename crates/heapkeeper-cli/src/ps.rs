//! `heapkeeper ps`: which processes run on our heap and can be asked.

use crate::live::reach::{Reached, reach_all};
use crate::{Failure, VerbResult, lines};
use hk_format::Mode;
use hk_report::{bytes, clean, count};
use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// Options of `heapkeeper ps`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Tell how many processes are other users', which are not looked at
    #[arg(short, long)]
    verbose: bool,
}

/// Prints a line for each.
pub fn run(args: &Args) -> VerbResult {
    let (processes, others) =
        reach_all().map_err(|e| Failure::new(format!("ps: cannot list processes: /proc: {e}")))?;
    std::io::stdout()
        .write_all(table(&processes).as_bytes())
        .map_err(|e| Failure::new(format!("ps: cannot write to standard output: {e}")))?;
    if args.verbose && others > 0 {
        lines::tell(&format!("{} of other users not looked at", count(others as u64, "process")));
    }
    Ok(ExitCode::SUCCESS)
}

fn table(processes: &[Reached]) -> String {
    let heads = ["PID", "PROGRAM", "MODE", "GUARD", "LIVE", "AGE", "FINDINGS", "RECORDING"];
    let heads = heads.map(str::to_owned);
    let rows: Vec<[String; 8]> = std::iter::once(heads).chain(processes.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Numbers to the right.
            let _ = match column {
                0 | 4..=6 => write!(text, "{cell:>width$}  "),
                _ => write!(text, "{cell:<width$}  "),
            };
        }
        text.push_str(&row[7]);
        text.push('\n');
    }
    text
}

fn row(process: &Reached) -> [String; 8] {
    let record = &process.record;
    let mode = Mode::from_number(record.mode).map_or("?", Mode::name);
    let guard = match record.guard_every {
        0 => "off".into(),
        every => format!("1/{every}"),
    };
    [
        process.pid.to_string(),
        process.name(),
        mode.into(),
        guard,
        bytes(record.figures.live_bytes),
        age(record.start_ns),
        record.finding_count.to_string(),
        clean(&process.path.to_string_lossy()),
    ]
}

/// Since when it runs, in its two largest units.
fn age(start_ns: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    let seconds = now.saturating_sub(start_ns) / 1_000_000_000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}
