//! The bars and whether they are met.

use std::fmt::Write as _;

use crate::allocators::{Allocator, TWIN};
use crate::args::Statistic;
use crate::measure::{Figure, Row};
use crate::report::{CENTILE_9999, start_up_costs};
use crate::stats::geometric_mean;
use crate::workloads::Group;

/// Fewer rows than this prove nothing.
const ROWS_MIN: usize = 10;
/// Of these, so many have to be real programs.
const REAL_ROWS_MIN: usize = 5;

/// A figure whose geometric mean over some rows may not be above a limit.
struct MeanBar {
    name: &'static str,
    figure: Figure,
    /// All, if there is none.
    group: Option<Group>,
    /// The largest ratio to the base that passes.
    limit: f64,
}

const MEAN_BARS: &[MeanBar] = &[
    MeanBar { name: "CPU time, real programs", figure: Figure::Cpu, group: Some(Group::Real), limit: 0.97 },
    MeanBar { name: "CPU time, synthetic", figure: Figure::Cpu, group: Some(Group::Synthetic), limit: 0.90 },
    MeanBar {
        name: "peak RSS, real programs",
        figure: Figure::PeakRss,
        group: Some(Group::Real),
        limit: 0.58,
    },
    MeanBar { name: "peak RSS, all", figure: Figure::PeakRss, group: None, limit: 0.50 },
];

/// A figure that may on no row be above a limit.
struct RowBar {
    name: &'static str,
    figure: Figure,
    against: Against,
    /// The largest ratio that passes.
    limit: f64,
}

#[derive(Clone, Copy, PartialEq)]
enum Against {
    Base,
    /// Whoever of the others is best on the row.
    BestPeer,
}

const ROW_BARS: &[RowBar] = &[
    RowBar { name: "CPU time, each workload", figure: Figure::Cpu, against: Against::BestPeer, limit: 1.10 },
    RowBar { name: "RSS after a peak", figure: Figure::RssAfter, against: Against::BestPeer, limit: 1.10 },
    // A throughput that is 5 % lower.
    RowBar {
        name: "time on the clock, threads",
        figure: Figure::Wall,
        against: Against::BestPeer,
        limit: 1.0 / 0.95,
    },
    RowBar {
        name: "malloc, p99.99",
        figure: Figure::Malloc(CENTILE_9999),
        against: Against::Base,
        limit: 1.0,
    },
    RowBar { name: "free, p99.99", figure: Figure::Free(CENTILE_9999), against: Against::Base, limit: 1.0 },
];

/// On so large a part of the workloads it has to be ahead of all others in CPU time.
const AHEAD_SHARE: f64 = 1.0 / 3.0;

/// What a short process may cost more than on glibc: CPU time in ms, page faults, resident memory in MiB.
const START_UP_MAX: [f64; 3] = [0.2, 20.0, 0.3];

/// How a bar stands for one allocator: met or not, and the figures.
type Standing = Result<(bool, String), &'static str>;

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

/// A workload that failed fails the bar: leaving it out would reward crashing.
fn judge_mean(bar: &MeanBar, rows: &[Row], index: usize, statistic: Statistic) -> Standing {
    let count = rows.iter().filter(|row| bar.figure.is_of(row.workload.group)).count();
    if rows.iter().any(|row| row.cells[index].value(Figure::Cpu, statistic).is_none()) {
        return Err("a workload failed on it");
    }
    let real = rows.iter().filter(|row| row.workload.group == Group::Real).count();
    if count < ROWS_MIN || real < REAL_ROWS_MIN {
        return Err("too few workloads: ten are needed, five of them real programs");
    }
    let (ratio, _) = mean(rows, bar.group, index, bar.figure, statistic).ok_or("the base failed")?;
    let (twin, _) = mean(rows, bar.group, 1, bar.figure, statistic).ok_or("the base failed")?;
    let spread = (twin - 1.0).abs();
    Ok((ratio - spread <= bar.limit, format!("{ratio:.3} less A/A {spread:.3}, bar {:.2}", bar.limit)))
}

/// The best of the others on a row, and who that is.
fn best_peer<'a>(
    row: &Row,
    allocators: &'a [Allocator],
    figure: Figure,
    statistic: Statistic,
) -> Option<(f64, &'a str)> {
    let peers = row.cells.iter().zip(allocators).filter(|(_, peer)| !peer.ours && peer.name != TWIN);
    let values = peers.filter_map(|(cell, peer)| Some((cell.value(figure, statistic)?, peer.name.as_str())));
    values.min_by(|a, b| a.0.total_cmp(&b.0))
}

fn judge_rows(
    bar: &RowBar,
    rows: &[Row],
    allocators: &[Allocator],
    index: usize,
    statistic: Statistic,
) -> Standing {
    let mut above = Vec::new();
    let mut count = 0;
    for row in rows.iter().filter(|row| bar.figure.is_of(row.workload.group)) {
        let other = match bar.against {
            Against::Base => row.cells[0].value(bar.figure, statistic).map(|value| (value, "mimalloc")),
            Against::BestPeer => best_peer(row, allocators, bar.figure, statistic),
        };
        if !row.cells[index].failures.is_empty() {
            return Err("a workload failed on it");
        }
        let Some((own, (other, who))) = row.cells[index].value(bar.figure, statistic).zip(other) else {
            continue;
        };
        count += 1;
        let ratio = own / other;
        if ratio - row.spread(bar.figure, statistic).unwrap_or(0.0) > bar.limit {
            above.push(format!("{} {ratio:.2} of {who}", row.workload.name));
        }
    }
    if count == 0 {
        return Err("no such row was run");
    }
    let list = if above.is_empty() { String::new() } else { format!(" ({})", above.join(", ")) };
    Ok((above.is_empty(), format!("{} of {count} rows above {:.2}{list}", above.len(), bar.limit)))
}

fn judge_ahead(rows: &[Row], allocators: &[Allocator], index: usize, statistic: Statistic) -> Standing {
    let of_group = rows.iter().filter(|row| row.workload.group.has_costs());
    let pairs: Vec<(f64, f64)> = of_group
        .filter_map(|row| {
            let own = row.cells[index].value(Figure::Cpu, statistic)?;
            Some((own, best_peer(row, allocators, Figure::Cpu, statistic)?.0))
        })
        .collect();
    if pairs.is_empty() {
        return Err("no such row was run");
    }
    let ahead = pairs.iter().filter(|(own, best)| own < best).count();
    let met = ahead as f64 >= pairs.len() as f64 * AHEAD_SHARE;
    Ok((met, format!("on {ahead} of {} workloads, bar a third", pairs.len())))
}

fn judge_start_up(rows: &[Row], allocators: &[Allocator], index: usize, statistic: Statistic) -> Standing {
    let costs =
        start_up_costs(rows, allocators, index, statistic).ok_or("neither glibc nor that row was run")?;
    let met = costs.iter().zip(START_UP_MAX).all(|(cost, max)| *cost <= max);
    let [ms, faults, mib] = costs;
    let [ms_max, faults_max, mib_max] = START_UP_MAX;
    Ok((
        met,
        format!(
            "{ms:.2} ms, {faults:.1} faults, {mib:.2} MiB more than glibc, bar {ms_max}, {faults_max}, {mib_max}"
        ),
    ))
}

/// The verdict in words, and whether every bar is met by every entry of ours.
pub fn write(rows: &[Row], allocators: &[Allocator], statistic: Statistic) -> (String, bool) {
    let mut text = String::new();
    let mut all_met = true;
    for (index, allocator) in allocators.iter().enumerate().filter(|(_, allocator)| allocator.ours) {
        let mut say = |name: &str, standing: Standing| {
            let line = match standing {
                Ok((true, figures)) => format!("{figures}: met"),
                Ok((false, figures)) => format!("{figures}: MISSED"),
                Err(why) => format!("not judged: {why}"),
            };
            all_met &= line.ends_with(": met");
            let _ = writeln!(text, "{}: {name}: {line}", allocator.name);
        };
        for bar in MEAN_BARS {
            say(bar.name, judge_mean(bar, rows, index, statistic));
        }
        for bar in ROW_BARS {
            say(bar.name, judge_rows(bar, rows, allocators, index, statistic));
        }
        say("CPU time, ahead of all", judge_ahead(rows, allocators, index, statistic));
        say("start-up of a short process", judge_start_up(rows, allocators, index, statistic));
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

    const REAL_CPU: &MeanBar = &MEAN_BARS[0];

    fn rows<const N: usize>(count: usize, cpu_us: [u64; N]) -> Vec<Row<'static>> {
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

    fn columns<const N: usize>(names: [&str; N]) -> Vec<Allocator> {
        let ours = |name: &str| Allocator { ours: name == "ours", ..Allocator::named(name) };
        names.map(ours).to_vec()
    }

    #[test]
    fn the_spread_is_taken_off_the_ratio() {
        let is_met = |cpu_us| judge_mean(REAL_CPU, &rows(10, cpu_us), 2, Statistic::Median).unwrap().0;
        assert!(is_met([1000, 1000, 960]) && !is_met([1000, 1000, 980]) && is_met([1000, 1020, 980]));
    }

    #[test]
    fn few_rows_or_a_failure_prove_nothing() {
        assert!(judge_mean(REAL_CPU, &rows(4, [1, 1, 1]), 2, Statistic::Median).is_err());
        let mut failed = rows(10, [1000, 1000, 900]);
        failed[3].cells[2].failures.push("ended with signal:11".into());
        assert!(judge_mean(REAL_CPU, &failed, 2, Statistic::Median).is_err());
    }

    #[test]
    fn the_best_peer_is_neither_the_twin_nor_ours() {
        let allocators = columns(["mimalloc", TWIN, "other", "ours"]);
        let judged = |cpu_us| {
            let rows = rows(3, cpu_us);
            let bar = judge_rows(&ROW_BARS[0], &rows, &allocators, 3, Statistic::Min).unwrap();
            (bar.0, judge_ahead(&rows, &allocators, 3, Statistic::Min).unwrap().0)
        };
        assert_eq!(judged([1000, 1000, 900, 980]), (true, false));
        assert_eq!(judged([1000, 1000, 900, 1000]), (false, false));
        assert_eq!(judged([1000, 1000, 900, 890]), (true, true));
        let rows = rows(3, [1000, 1000, 900, 1000]);
        let (_, said) = judge_rows(&ROW_BARS[0], &rows, &allocators, 3, Statistic::Min).unwrap();
        assert!(said.contains("1.11 of other"), "{said}");
    }
}
