//! The schedule: interleaved, shuffled runs, the first thrown away, noisy rows repeated.

use std::io::Write as _;

use crate::allocators::Allocator;
use crate::args::{Args, Statistic};
use crate::inputs::Random;
use crate::launch::{Launcher, Sample};
use crate::stats;
use crate::workloads::{Group, Job, Workload};

/// A row whose A/A spread is above this is repeated.
pub const SPREAD_MAX: f64 = 0.05;
/// A cell that failed this often is not tried again.
const FAILURES_MAX: usize = 2;

/// One allocator on one workload.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    /// The measured runs, in the order in which they were made.
    pub samples: Vec<Sample>,
    /// What went wrong, one line each.
    pub failures: Vec<String>,
}

/// One workload on every allocator; cells in the order of the allocators.
pub struct Row<'a> {
    /// Its description.
    pub workload: &'a Workload,
    /// How it is started.
    pub job: Job,
    /// One for each allocator.
    pub cells: Vec<Cell>,
    /// Fingerprint of the base's output, which all others have to give too.
    pub expected: Option<u64>,
}

/// A figure of a run that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// CPU time.
    Cpu,
    /// Peak resident memory.
    PeakRss,
    /// Resident memory two seconds after all was freed.
    RssAfter,
    /// Page faults served without I/O.
    MinorFaults,
    /// Time on the clock.
    Wall,
    /// Latency of a single malloc, at a percentile of [`crate::launch::CENTILES`] by its place there.
    Malloc(usize),
    /// The same of free.
    Free(usize),
}

impl Figure {
    /// Whether rows of a group have it.
    pub fn is_of(self, group: Group) -> bool {
        match self {
            Figure::Cpu | Figure::PeakRss | Figure::RssAfter | Figure::MinorFaults => group.has_costs(),
            Figure::Wall => group == Group::Scaling,
            Figure::Malloc(_) | Figure::Free(_) => group == Group::Latency,
        }
    }

    /// The figure of one run: microseconds, KiB or nanoseconds.
    pub fn of(self, sample: &Sample) -> Option<f64> {
        match self {
            Figure::Cpu => Some(sample.cpu_us() as f64),
            Figure::PeakRss => Some(sample.peak_rss_kib as f64),
            Figure::RssAfter => sample.rss_after_kib.map(|kib| kib as f64),
            Figure::MinorFaults => Some(sample.minor_faults as f64),
            Figure::Wall => Some(sample.wall_us as f64),
            Figure::Malloc(centile) => sample.malloc_ns.map(|ns| ns[centile] as f64),
            Figure::Free(centile) => sample.free_ns.map(|ns| ns[centile] as f64),
        }
    }
}

impl Cell {
    /// The figure of the cell, if every run of it worked.
    pub fn value(&self, figure: Figure, statistic: Statistic) -> Option<f64> {
        if !self.failures.is_empty() {
            return None;
        }
        let values: Vec<f64> = self.samples.iter().filter_map(|sample| figure.of(sample)).collect();
        stats::reduce(&values, statistic)
    }
}

impl Row<'_> {
    /// The ratio of the cell `index` to the base, the first cell.
    pub fn ratio(&self, index: usize, figure: Figure, statistic: Statistic) -> Option<f64> {
        let base = self.cells[0].value(figure, statistic)?;
        Some(self.cells[index].value(figure, statistic)? / base)
    }

    /// How far the base's twin is from the base: the noise of the row.
    pub fn spread(&self, figure: Figure, statistic: Statistic) -> Option<f64> {
        self.ratio(1, figure, statistic).map(|ratio| (ratio - 1.0).abs())
    }
}

/// Measures all rows. The first round is thrown away: it fills caches and shows what fails.
pub fn measure<'a>(
    ready: Vec<(&'a Workload, Job)>,
    allocators: &[Allocator],
    launcher: &Launcher,
    args: &Args,
) -> Vec<Row<'a>> {
    let mut rows: Vec<Row> = ready
        .into_iter()
        .map(|(workload, job)| Row {
            workload,
            job,
            cells: vec![Cell::default(); allocators.len()],
            expected: None,
        })
        .collect();
    let mut random = Random(args.seed);
    for run in 0..=args.runs() {
        let chosen: Vec<usize> = (0..rows.len()).collect();
        round(&mut rows, chosen, run > 0, allocators, launcher, &mut random);
        let which = if run == 0 { " (thrown away)" } else { "" };
        milestone(&format!("run {run} of {} done{which}", args.runs()));
    }
    for run in args.runs() + 1..=args.runs_max() {
        let noisy: Vec<usize> = (0..rows.len()).filter(|&row| is_noisy(&rows[row], args.statistic)).collect();
        if noisy.is_empty() {
            break;
        }
        milestone(&format!("repeating {} noisy rows, run {run} of at most {}", noisy.len(), args.runs_max()));
        round(&mut rows, noisy, true, allocators, launcher, &mut random);
    }
    progress("");
    rows
}

fn is_noisy(row: &Row, statistic: Statistic) -> bool {
    let figure = if row.workload.group.has_costs() { Figure::Cpu } else { Figure::Wall };
    row.spread(figure, statistic).is_some_and(|spread| spread > SPREAD_MAX)
}

/// One run of each chosen row on each allocator, both in random order.
fn round(
    rows: &mut [Row],
    mut chosen: Vec<usize>,
    keep: bool,
    allocators: &[Allocator],
    launcher: &Launcher,
    random: &mut Random,
) {
    random.shuffle(&mut chosen);
    for row in chosen {
        let row = &mut rows[row];
        let mut order: Vec<usize> = (0..allocators.len()).collect();
        random.shuffle(&mut order);
        if !keep {
            order.sort_unstable(); // the base first: its output is what the others have to give
        }
        for index in order {
            if row.cells[index].failures.len() >= FAILURES_MAX {
                continue;
            }
            progress(&format!("{} on {}", row.workload.name, allocators[index].name));
            let result = launcher.run(&row.job, &allocators[index]).and_then(|sample| {
                let expected = *row.expected.get_or_insert(sample.output);
                let differs = || format!("its output differs from that on {}", allocators[0].name);
                (expected == sample.output).then_some(sample).ok_or_else(differs)
            });
            match result {
                Ok(sample) if keep => row.cells[index].samples.push(sample),
                Ok(_) => {}
                Err(why) => row.cells[index].failures.push(why),
            }
        }
    }
}

/// What has been reached: overwritten by the next on a terminal, a line of its own elsewhere.
fn milestone(text: &str) {
    if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        progress(text);
    } else {
        eprintln!("{text}");
    }
}

/// One line on a terminal that overwrites itself; nothing elsewhere.
fn progress(text: &str) {
    let mut stderr = std::io::stderr();
    if std::io::IsTerminal::is_terminal(&stderr) {
        let _ = write!(stderr, "\r\x1b[K{text}");
        let _ = stderr.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::WORKLOADS;

    fn cell(cpu_us: &[u64]) -> Cell {
        let sample = |&user_us| Sample { user_us, peak_rss_kib: 100, ..Sample::default() };
        Cell { samples: cpu_us.iter().map(sample).collect(), failures: Vec::new() }
    }

    #[test]
    fn ratios_are_to_the_base_and_the_twin_is_the_noise() {
        let cells = vec![cell(&[100, 102, 98]), cell(&[108, 110, 109]), cell(&[50, 49, 60])];
        let row = Row { workload: &WORKLOADS[0], job: Job::default(), cells, expected: None };
        assert_eq!(row.ratio(2, Figure::Cpu, Statistic::Median), Some(0.5));
        assert!(is_noisy(&row, Statistic::Median));
        assert_eq!(row.spread(Figure::PeakRss, Statistic::Median), Some(0.0));
        assert_eq!(row.ratio(2, Figure::RssAfter, Statistic::Median), None);
    }

    #[test]
    fn a_cell_that_failed_once_has_no_figure() {
        let mut failed = cell(&[100, 100]);
        failed.failures.push("ended with signal:11".into());
        assert_eq!(failed.value(Figure::Cpu, Statistic::Min), None);
    }
}
