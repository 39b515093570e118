//! The tables, and the files with the raw results.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::allocators::Allocator;
use crate::args::Statistic;
use crate::cache::replace;
use crate::launch::Latency;
use crate::measure::{Cell, Figure, Row, SPREAD_MAX};
use crate::verdict::mean;
use crate::workloads::{Group, SPAWN_COUNT};

/// Width of a column of ratios.
const COLUMN: usize = 11;
/// Width of the column of names.
const NAME: usize = 26;

/// What a table is of.
struct Table {
    figure: Figure,
    title: &'static str,
    unit: &'static str,
    /// The base's figures are divided by this to be printed.
    scale: f64,
}

const TABLES: &[Table] = &[
    Table { figure: Figure::Cpu, title: "CPU time", unit: "ms", scale: 1000.0 },
    Table { figure: Figure::PeakRss, title: "Peak RSS", unit: "MiB", scale: 1024.0 },
    Table {
        figure: Figure::RssAfter,
        title: "RSS 2 s after a peak that was freed",
        unit: "MiB",
        scale: 1024.0,
    },
    Table { figure: Figure::Wall, title: "Time on the clock, threads", unit: "ms", scale: 1000.0 },
    Table { figure: Figure::Malloc(0), title: "malloc, median latency", unit: "ns", scale: 1.0 },
    Table { figure: Figure::Malloc(CENTILE_9999), title: "malloc, p99.99 latency", unit: "ns", scale: 1.0 },
    Table { figure: Figure::Free(0), title: "free, median latency", unit: "ns", scale: 1.0 },
    Table { figure: Figure::Free(CENTILE_9999), title: "free, p99.99 latency", unit: "ns", scale: 1.0 },
];

const START_UP_ROW: &str = "spawn";

/// 99.99 in [`crate::launch::CENTILES`].
pub const CENTILE_9999: usize = 8;
const _: () = assert!(crate::launch::CENTILES[CENTILE_9999] == 99.99);

/// All tables of ratios to the base.
pub fn tables(rows: &[Row], allocators: &[Allocator], statistic: Statistic) -> String {
    let mut text = String::new();
    for table in TABLES {
        if rows.iter().any(|row| table.is_of(row)) {
            write_table(&mut text, table, rows, allocators, statistic);
        }
    }
    text
}

fn write_table(
    text: &mut String,
    table: &Table,
    rows: &[Row],
    allocators: &[Allocator],
    statistic: Statistic,
) {
    let how = match statistic {
        Statistic::Median => "median",
        Statistic::Min => "minimum",
    };
    let _ = writeln!(text, "{}, ratio to mimalloc, {how}", table.title);
    let _ = write!(text, "{:NAME$}{:>COLUMN$}", "", format!("base {}", table.unit));
    for allocator in &allocators[1..] {
        let _ = write!(text, "{:>COLUMN$}", allocator.name);
    }
    text.push('\n');
    for row in rows.iter().filter(|row| table.is_of(row)) {
        write_row(text, table, row, allocators, statistic);
    }
    for (group, name) in
        [(Some(Group::Real), "real programs"), (Some(Group::Synthetic), "synthetic"), (None, "all")]
    {
        write_mean(text, table, rows, allocators, group, name, statistic);
    }
    if statistic == Statistic::Median {
        write_mean(text, table, rows, allocators, None, "all, minimum of runs", Statistic::Min);
    }
    text.push('\n');
}

impl Table {
    fn is_of(&self, row: &Row) -> bool {
        let has_figure = |cell: &Cell| cell.samples.iter().any(|sample| self.figure.of(sample).is_some());
        self.figure.is_of(row.workload.group) && row.cells.iter().any(has_figure)
    }
}

fn write_row(text: &mut String, table: &Table, row: &Row, allocators: &[Allocator], statistic: Statistic) {
    let noisy = row.spread(table.figure, statistic).is_some_and(|spread| spread > SPREAD_MAX);
    let name = format!("{}{}", row.workload.name, if noisy { " ~" } else { "" });
    let base = row.cells[0].value(table.figure, statistic);
    let _ = write!(
        text,
        "{name:NAME$}{:>COLUMN$}",
        base.map_or("F".into(), |b| format!("{:.1}", b / table.scale))
    );
    for index in 1..allocators.len() {
        let ratio = row.ratio(index, table.figure, statistic);
        let _ = write!(text, "{:>COLUMN$}", ratio.map_or("F".into(), |ratio| format!("{ratio:.2}")));
    }
    text.push('\n');
}

fn write_mean(
    text: &mut String,
    table: &Table,
    rows: &[Row],
    allocators: &[Allocator],
    group: Option<Group>,
    name: &str,
    statistic: Statistic,
) {
    let Some((_, count)) = mean(rows, group, 0, table.figure, statistic) else { return };
    let _ = write!(text, "{:NAME$}{:>COLUMN$}", format!("= {name} ({count})"), "");
    for index in 1..allocators.len() {
        let cell = mean(rows, group, index, table.figure, statistic)
            .map_or("F".into(), |(ratio, covered)| {
                format!("{ratio:.3}{}", if covered < count { "*" } else { "" })
            });
        let _ = write!(text, "{cell:>COLUMN$}");
    }
    text.push('\n');
}

/// What the signs in the tables mean, and every failure.
pub fn notes(rows: &[Row], allocators: &[Allocator]) -> String {
    let mut text = String::from(
        "A/A is the same mimalloc under a second name: its distance from 1 is the noise of the row; ~ marks rows \
         where that is above 5 %. F failed; * is a mean over fewer rows, as some failed.\n",
    );
    for row in rows.iter().filter(|row| row.job.brings_allocator) {
        let _ = writeln!(
            text,
            "{}: linked with an allocator of its own; the glibc column preloads libc.so.6 over it.",
            row.workload.name
        );
    }
    text + &failures(rows, allocators)
}

/// Every cell that failed, a line each.
pub fn failures(rows: &[Row], allocators: &[Allocator]) -> String {
    let mut text = String::new();
    for row in rows {
        for (cell, allocator) in row.cells.iter().zip(allocators) {
            if let Some(why) = cell.failures.first() {
                let count = cell.failures.len();
                let _ = writeln!(
                    text,
                    "{} on {}: failed {count} times: {why}",
                    row.workload.name, allocator.name
                );
            }
        }
    }
    text
}

/// Every run, one a line.
pub fn runs_csv(rows: &[Row], allocators: &[Allocator]) -> String {
    let mut text = String::from(
        "workload,group,allocator,run,user_us,sys_us,wall_us,peak_rss_kib,minor_faults,major_faults,switches,rss_after_kib,malloc_ns,free_ns,status\n",
    );
    for row in rows {
        for (cell, allocator) in row.cells.iter().zip(allocators) {
            let lead = format!("{},{},{}", row.workload.name, row.workload.group.name(), allocator.name);
            for (run, s) in cell.samples.iter().enumerate() {
                let after = s.rss_after_kib.map_or(String::new(), |kib| kib.to_string());
                let (mallocs, frees) = (centiles(s.malloc_ns), centiles(s.free_ns));
                let _ = writeln!(
                    text,
                    "{lead},{},{},{},{},{},{},{},{},{after},{mallocs},{frees},ok",
                    run + 1,
                    s.user_us,
                    s.sys_us,
                    s.wall_us,
                    s.peak_rss_kib,
                    s.minor_faults,
                    s.major_faults,
                    s.switches
                );
            }
            for why in &cell.failures {
                let _ = writeln!(text, "{lead},,,,,,,,,,,,\"{}\"", why.replace('"', "'").replace('\n', " "));
            }
        }
    }
    text
}

/// The percentiles of a latency, as one field.
fn centiles(latency: Option<Latency>) -> String {
    let texts: Vec<String> = latency.iter().flatten().map(u64::to_string).collect();
    texts.join(" ")
}

/// What a short process costs more than on glibc: the shell that starts one program after the other, per program. CPU time in ms, page
/// faults, resident memory in MiB.
pub fn start_up_costs(
    rows: &[Row],
    allocators: &[Allocator],
    index: usize,
    statistic: Statistic,
) -> Option<[f64; 3]> {
    let glibc = allocators.iter().position(|allocator| allocator.name == "glibc")?;
    let row = rows.iter().find(|row| row.workload.name == START_UP_ROW)?;
    let more = |figure, each: f64| {
        let value = |index: usize| row.cells[index].value(figure, statistic);
        Some((value(index)? - value(glibc)?) / each)
    };
    let programs = f64::from(SPAWN_COUNT);
    let faults = more(Figure::MinorFaults, programs)?;
    Some([more(Figure::Cpu, programs * 1000.0)?, faults, more(Figure::PeakRss, 1024.0)?])
}

/// The table of that.
pub fn start_up(rows: &[Row], allocators: &[Allocator], statistic: Statistic) -> String {
    let mut lines = String::new();
    for (index, allocator) in allocators.iter().enumerate().filter(|(_, allocator)| allocator.name != "glibc")
    {
        let Some(costs) = start_up_costs(rows, allocators, index, statistic) else { continue };
        let _ = write!(lines, "{:NAME$}", allocator.name);
        costs.iter().for_each(|cost| _ = write!(lines, "{cost:>COLUMN$.2}"));
        lines.push('\n');
    }
    if lines.is_empty() {
        return lines;
    }
    let head = format!("{:NAME$}{:>COLUMN$}{:>COLUMN$}{:>COLUMN$}", "", "CPU ms", "faults", "RSS MiB");
    format!("Start-up of a short process, more than on glibc, {START_UP_ROW}\n{head}\n{lines}\n")
}

/// Writes the files of a result folder.
pub fn keep(folder: &Path, files: &[(&str, String)]) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    files.iter().try_for_each(|(name, text)| replace(&folder.join(name), text.as_bytes()))
}
