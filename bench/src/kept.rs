//! Runs that were kept: reads a result folder's `runs.csv` again, so that its tables and verdict can be made anew.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use crate::allocators::Allocator;
use crate::launch::{Sample, latency};
use crate::measure::{Cell, Row};
use crate::workloads::{Job, WORKLOADS};

/// Rows and columns of the runs in `folder`, in the order in which they were written. A column whose name begins like ours is ours.
pub fn read(folder: &Path) -> Result<(Vec<Row<'static>>, Vec<Allocator>), String> {
    let path = folder.join("runs.csv");
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut names: Vec<&str> = Vec::new();
    let mut cells: Vec<(&str, HashMap<&str, Cell>)> = Vec::new();
    for (number, line) in text.lines().enumerate().skip(1) {
        let bad = || format!("{}:{}: not a line of runs.csv", path.display(), number + 1);
        let fields: Vec<&str> = line.splitn(15, ',').collect();
        let &[workload, _, allocator, ..] = &fields[..] else { return Err(bad()) };
        if !names.contains(&allocator) {
            names.push(allocator);
        }
        if cells.last().is_none_or(|(name, _)| *name != workload) {
            cells.push((workload, HashMap::new()));
        }
        let row = &mut cells.last_mut().ok_or_else(bad)?.1;
        let cell = row.entry(allocator).or_default();
        match fields.last() {
            Some(&"ok") => cell.samples.push(sample(&fields).ok_or_else(bad)?),
            Some(why) => cell.failures.push(why.trim_matches('"').to_string()),
            None => return Err(bad()),
        }
    }
    let allocators = names.iter().map(|name| {
        let mut allocator = Allocator::named(name);
        allocator.ours = name.starts_with("heapkeeper");
        allocator
    });
    let rows = cells.into_iter().filter_map(|(name, mut row)| {
        let workload = WORKLOADS.iter().find(|workload| workload.name == name)?;
        let cells = names.iter().map(|name| row.remove(name).unwrap_or_default()).collect();
        Some(Row { workload, job: Job::default(), cells, expected: None })
    });
    Ok((rows.collect(), allocators.collect()))
}

fn sample(fields: &[&str]) -> Option<Sample> {
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Sample {
        user_us: number(4)?,
        sys_us: number(5)?,
        wall_us: number(6)?,
        peak_rss_kib: number(7)?,
        minor_faults: number(8)?,
        major_faults: number(9)?,
        switches: number(10)?,
        rss_after_kib: number(11),
        malloc_ns: latency(fields.get(12)?, ' '),
        free_ns: latency(fields.get(13)?, ' '),
        output: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::runs_csv;

    #[test]
    fn what_was_written_is_read() {
        let sample = Sample {
            user_us: 7,
            sys_us: 2,
            peak_rss_kib: 5,
            rss_after_kib: Some(3),
            malloc_ns: Some([4; 12]),
            ..Sample::default()
        };
        let cell = Cell { samples: vec![sample, Sample::default()], failures: vec!["ended, badly".into()] };
        let row = |index: usize| Row {
            workload: &WORKLOADS[index],
            job: Job::default(),
            cells: vec![cell.clone(), Cell::default(), cell.clone()],
            expected: None,
        };
        let names = ["mimalloc", "nobody", "heapkeeper"].map(Allocator::named);
        let folder = std::env::temp_dir().join(format!("hk-bench-kept-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("runs.csv"), runs_csv(&[row(0), row(3)], &names)).expect("a file");
        let (rows, allocators) = read(&folder).expect("well written");
        fs::remove_dir_all(&folder).expect("was made");
        assert_eq!(
            allocators.iter().map(|a| (&a.name[..], a.ours)).collect::<Vec<_>>(),
            [("mimalloc", false), ("heapkeeper", true)]
        );
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1].workload.name, WORKLOADS[3].name);
        assert_eq!(rows[1].cells[1].samples, cell.samples);
        assert_eq!(rows[1].cells[1].failures, cell.failures);
    }
}
