//! The bars and whether they are met.

use crate::allocators::Allocator;
use crate::args::Statistic;
use crate::measure::{Figure, Row};
use crate::stats::geometric_mean;
use crate::workloads::Group;

/// Fewer rows than this prove nothing.
pub const ROWS_MIN: usize = 10;
/// Of these, so many have to be real programs.
pub const REAL_ROWS_MIN: usize = 5;

/// A figure whose geometric mean over all rows may not be above a limit.
pub struct Bar {
    /// What is said of it.
    pub name: &'static str,
    /// The figure.
    pub figure: Figure,
    /// The largest ratio to the base that passes.
    pub limit: f64,
}

/// All bars.
pub const BARS: &[Bar] = &[
    Bar { name: "CPU time, geometric mean", figure: Figure::Cpu, limit: 1.05 },
    Bar { name: "peak RSS, geometric mean", figure: Figure::PeakRss, limit: 1.10 },
];

/// How a bar stands for one allocator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standing {
    /// Measured: the ratio and the spread of the A/A pair.
    Measured {
        /// Geometric mean of the ratios to the base.
        ratio: f64,
        /// What the base's twin shows for the same mean.
        spread: f64,
        /// Whether the ratio less the spread is within the limit.
        met: bool,
    },
    /// A run failed, or there are too few rows.
    NotMeasured(&'static str),
}

/// Geometric mean over the rows of a group (or all) of one allocator's ratios, and how many rows it covers.
pub fn mean(
    rows: &[Row],
    group: Option<Group>,
    index: usize,
    figure: Figure,
    statistic: Statistic,
) -> Option<(f64, usize)> {
    let is_wanted = |row: &&Row| {
        figure.is_of(row.workload.group) && group.is_none_or(|group| row.workload.group == group)
    };
    let in_group = rows.iter().filter(is_wanted);
    let ratios: Vec<f64> = in_group.filter_map(|row| row.ratio(index, figure, statistic)).collect();
    Some((geometric_mean(&ratios)?, ratios.len()))
}

/// Judges one bar for the allocator at `index`. A workload that failed fails the bar: leaving it out would
/// reward crashing.
pub fn judge(bar: &Bar, rows: &[Row], index: usize, statistic: Statistic) -> Standing {
    let rows_count = rows.iter().filter(|row| bar.figure.is_of(row.workload.group)).count();
    if rows.iter().any(|row| row.cells[index].value(Figure::Cpu, statistic).is_none()) {
        return Standing::NotMeasured("a workload failed on it");
    }
    let real = rows.iter().filter(|row| row.workload.group == Group::Real).count();
    if rows_count < ROWS_MIN || real < REAL_ROWS_MIN {
        return Standing::NotMeasured("too few workloads: ten are needed, five of them real programs");
    }
    let ratio = mean(rows, None, index, bar.figure, statistic);
    let twin = mean(rows, None, 1, bar.figure, statistic);
    match ratio.zip(twin) {
        Some(((ratio, _), (twin, _))) => {
            let spread = (twin - 1.0).abs();
            Standing::Measured { ratio, spread, met: ratio - spread <= bar.limit }
        }
        None => Standing::NotMeasured("the base failed"),
    }
}

/// The verdict in words, and whether every bar is met by every entry of ours.
pub fn write(rows: &[Row], allocators: &[Allocator], statistic: Statistic) -> (String, bool) {
    let mut text = String::new();
    let mut all_met = true;
    for (index, allocator) in allocators.iter().enumerate().filter(|(_, allocator)| allocator.ours) {
        for bar in BARS {
            let line = match judge(bar, rows, index, statistic) {
                Standing::Measured { ratio, spread, met } => {
                    all_met &= met;
                    let word = if met { "met" } else { "MISSED" };
                    format!("{ratio:.3} less A/A {spread:.3}, bar {:.2}: {word}", bar.limit)
                }
                Standing::NotMeasured(why) => {
                    all_met = false;
                    format!("not judged: {why}")
                }
            };
            text.push_str(&format!("{}: {}: {line}\n", allocator.name, bar.name));
        }
    }
    if !allocators.iter().any(|allocator| allocator.ours) {
        text.push_str("Heapkeeper was not measured, so no bar is judged.\n");
        all_met = false;
    }
    (text, all_met)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::Sample;
    use crate::measure::Cell;
    use crate::workloads::{Job, WORKLOADS};

    fn rows(count: usize, cpu_us: [u64; 3]) -> Vec<Row<'static>> {
        let cell = |user_us| Cell {
            samples: vec![Sample { user_us, peak_rss_kib: 50, ..Sample::default() }],
            failures: Vec::new(),
        };
        let row = |workload| Row {
            workload,
            job: Job::default(),
            cells: cpu_us.map(cell).to_vec(),
            expected: None,
        };
        WORKLOADS.iter().take(count).map(row).collect()
    }

    #[test]
    fn the_spread_is_taken_off_the_ratio() {
        let judged = |cpu_us| judge(&BARS[0], &rows(10, cpu_us), 2, Statistic::Median);
        assert!(matches!(judged([1000, 1000, 1040]), Standing::Measured { met: true, .. }));
        assert!(matches!(judged([1000, 1000, 1060]), Standing::Measured { met: false, .. }));
        assert!(matches!(judged([1000, 1020, 1060]), Standing::Measured { met: true, .. }));
    }

    #[test]
    fn few_rows_or_a_failure_prove_nothing() {
        assert!(matches!(
            judge(&BARS[0], &rows(4, [1, 1, 1]), 2, Statistic::Median),
            Standing::NotMeasured(_)
        ));
        let mut failed = rows(10, [1000, 1000, 900]);
        failed[3].cells[2].failures.push("ended with signal:11".into());
        assert!(matches!(judge(&BARS[0], &failed, 2, Statistic::Median), Standing::NotMeasured(_)));
    }
}
