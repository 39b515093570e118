//! Resident memory over the course of a run, looked at from outside.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::allocators::Allocator;
use crate::launch::Launcher;
use crate::workloads::{Job, Workload};

/// Time between two looks.
const STEP: Duration = Duration::from_millis(10);

/// One look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Since the start, milliseconds.
    pub ms: u64,
    /// Resident memory of the process, KiB.
    pub kib: u64,
}

/// One workload on every allocator, one run each.
pub struct Course {
    /// File of its chart.
    pub chart: &'static str,
    /// What the chart shows.
    pub title: &'static str,
    /// The points, in the order of the allocators.
    pub of_allocators: Vec<Vec<Point>>,
}

/// The rows whose memory is followed.
const FOLLOWED: &[(&str, &str, &str)] = &[
    ("peak-idle", "memory-peak-idle.svg", "A peak of small blocks is freed, then the program sleeps"),
    (
        "peak-trickle",
        "memory-peak-trickle.svg",
        "A peak of small blocks is freed, then the program does a little",
    ),
    (
        "peak-scattered",
        "memory-peak-scattered.svg",
        "A peak of small blocks is freed but for a few, then the program does a little",
    ),
    ("fragment", "memory-fragment.svg", "Blocks of changing sizes come and go"),
];

/// Follows what is to be followed of `jobs`.
pub fn follow(
    jobs: &[(&'static Workload, Job)],
    allocators: &[Allocator],
    launcher: &Launcher,
) -> Result<Vec<Course>, String> {
    let mut courses = Vec::new();
    for &(name, chart, title) in FOLLOWED {
        let Some((_, job)) = jobs.iter().find(|(workload, _)| workload.name == name) else { continue };
        let points = allocators.iter().map(|allocator| one_run(job, allocator, launcher));
        courses.push(Course { chart, title, of_allocators: points.collect::<Result<_, _>>()? });
    }
    Ok(courses)
}

fn one_run(job: &Job, allocator: &Allocator, launcher: &Launcher) -> Result<Vec<Point>, String> {
    let mut command = Command::new(&job.argv[0]);
    command.args(&job.argv[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    launcher.prepare(&mut command, job, allocator);
    let mut child = command.spawn().map_err(|e| format!("cannot start {}: {e}", job.argv[0].display()))?;
    let start = Instant::now();
    let mut points = Vec::new();
    while child.try_wait().map_err(|e| format!("cannot wait: {e}"))?.is_none() {
        if let Some(kib) = resident_kib(&child) {
            points.push(Point { ms: start.elapsed().as_millis() as u64, kib });
        }
        std::thread::sleep(STEP);
    }
    Ok(points)
}

fn resident_kib(child: &Child) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{}/statm", child.id())).ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    // A process that has ended has no memory.
    (pages > 0).then_some(pages * 4)
}

/// All points, as a table.
pub fn csv(courses: &[Course], allocators: &[Allocator]) -> String {
    let mut text = String::from("chart,allocator,ms,resident_kib\n");
    for course in courses {
        for (points, allocator) in course.of_allocators.iter().zip(allocators) {
            for point in points {
                text.push_str(&format!("{},{},{},{}\n", course.chart, allocator.name, point.ms, point.kib));
            }
        }
    }
    text
}
