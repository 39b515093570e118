//! Runs one job on one allocator by way of the static launcher, and reads what it cost.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::allocators::Allocator;
use crate::cache::{Cache, digest, run_quietly};
use crate::workloads::{Job, Server, clear_leftovers};

/// No job takes longer than a few seconds; one that hangs is killed and counted as failed.
const TIMEOUT_SECONDS: &str = "60";
/// How long a server may take until it listens.
const SERVER_START_MAX: Duration = Duration::from_secs(10);
/// The lines by which a workload tells what it measured itself: resident memory after the peak, and percentiles of the latency of
/// its calls. They are not part of the output that is compared.
const RSS_AFTER_KEY: &str = "rss_after_kib=";
const MALLOC_KEY: &str = "malloc_ns=";
const FREE_KEY: &str = "free_ns=";

/// The percentiles of a latency, as `latency.c` prints them.
pub const CENTILES: [f64; 12] =
    [50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 99.995, 99.999, 100.0];

/// Latencies in nanoseconds at [`CENTILES`].
pub type Latency = [u64; CENTILES.len()];

/// What one run cost: the whole process tree, from its resource usage.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// CPU time in user mode, microseconds.
    pub user_us: u64,
    /// CPU time in the kernel, microseconds.
    pub sys_us: u64,
    /// Time on the clock, microseconds.
    pub wall_us: u64,
    /// Largest resident set of any process of the tree, KiB.
    pub peak_rss_kib: u64,
    /// Page faults served without I/O.
    pub minor_faults: u64,
    /// Page faults that waited for I/O.
    pub major_faults: u64,
    /// Context switches.
    pub switches: u64,
    /// Resident memory two seconds after all was freed, KiB, where the workload measures it.
    pub rss_after_kib: Option<u64>,
    /// Latency of single calls, where the workload measures it.
    pub malloc_ns: Option<Latency>,
    /// The same of free.
    pub free_ns: Option<Latency>,
    /// Fingerprint of the output.
    pub output: u64,
}

impl Sample {
    /// CPU time, user and system, microseconds.
    pub fn cpu_us(&self) -> u64 {
        self.user_us + self.sys_us
    }
}

/// The compiled launcher and probe.
pub struct Launcher<'a> {
    cache: &'a Cache,
    launcher: PathBuf,
    probe: PathBuf,
}

impl<'a> Launcher<'a> {
    /// Compiles both.
    pub fn build(cache: &'a Cache) -> Result<Self, String> {
        let compile = |name: &str, text: &[u8], flags: &[&str]| {
            let source = cache.put(&format!("src/{name}.c"), text)?;
            cache.make(&format!("bin/{name}"), &[text], |output| {
                let mut cc = Command::new("cc");
                cc.arg("-O2").args(flags).arg(&source).arg("-o").arg(output).arg("-ldl");
                cc
            })
        };
        Ok(Launcher {
            cache,
            launcher: compile("launch", include_bytes!("../launcher/launch.c"), &["-static"])?,
            probe: compile("probe", include_bytes!("../launcher/probe.c"), &[])?,
        })
    }

    /// The probe, to be run under the same conditions as the jobs.
    pub fn probe(&self, allocator: &Allocator) -> Command {
        let mut command = Command::new(&self.probe);
        set_environment(&mut command, &Job::default(), allocator);
        command
    }

    /// Gives a command that is started without the launcher the environment and folder of a measured program.
    pub fn prepare(&self, command: &mut Command, job: &Job, allocator: &Allocator) {
        command.current_dir(self.cache.path("run"));
        set_environment(command, job, allocator);
    }

    /// One run; the error says what went wrong in one line.
    pub fn run(&self, job: &Job, allocator: &Allocator) -> Result<Sample, String> {
        clear_leftovers(job);
        let mut child = self.start(job, allocator, TIMEOUT_SECONDS)?;
        let driven = job.server.as_ref().map_or(Ok(()), |server| drive(server, &mut child));
        let status = child.wait().map_err(|e| format!("cannot wait for the launcher: {e}"))?;
        let errors = fs::read_to_string(self.errors_path()).unwrap_or_default();
        let said = errors.lines().next_back().unwrap_or("no message");
        driven?;
        if !status.success() {
            return Err(format!("the launcher ended with {status}: {said}"));
        }
        let report = fs::read_to_string(self.report_path()).unwrap_or_default();
        let output = fs::read(self.output_path()).unwrap_or_default();
        parse(&report, &output, job).map_err(|why| format!("{why}: {said}"))
    }

    /// How a job ended (`exit:N`, `signal:N`, or `timeout:` and more), and whether anything was written to its standard error: for a
    /// program that is run for that alone, and may take so many seconds.
    pub fn ending(&self, job: &Job, allocator: &Allocator, seconds: &str) -> Result<(String, bool), String> {
        let status = self.start(job, allocator, seconds)?.wait();
        let status = status.map_err(|e| format!("cannot wait for the launcher: {e}"))?;
        if !status.success() {
            return Err(format!("the launcher ended with {status}"));
        }
        let report = fs::read_to_string(self.report_path()).unwrap_or_default();
        let ended = report.split_ascii_whitespace().next_back().ok_or("the launcher left no report")?;
        let said = fs::metadata(self.errors_path()).is_ok_and(|errors| errors.len() > 0);
        Ok((ended.to_string(), said))
    }

    fn start(&self, job: &Job, allocator: &Allocator, seconds: &str) -> Result<Child, String> {
        let open =
            |path: &PathBuf| File::create(path).map_err(|e| format!("cannot write {}: {e}", path.display()));
        let mut command = Command::new(&self.launcher);
        command.arg(self.report_path()).arg(seconds).args(&job.argv).current_dir(self.cache.path("run"));
        set_environment(&mut command, job, allocator);
        command.stdin(match &job.stdin {
            Some(path) => {
                Stdio::from(File::open(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?)
            }
            None => Stdio::null(),
        });
        command.stdout(open(&self.output_path())?).stderr(open(&self.errors_path())?);
        command.spawn().map_err(|e| format!("cannot start the launcher: {e}"))
    }

    fn report_path(&self) -> PathBuf {
        self.cache.path("run/report")
    }

    fn output_path(&self) -> PathBuf {
        self.cache.path("run/output")
    }

    fn errors_path(&self) -> PathBuf {
        self.cache.path("run/errors")
    }
}

/// The environment of every measured program: nothing of the caller's but PATH.
fn set_environment(command: &mut Command, job: &Job, allocator: &Allocator) {
    command.env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("LANG", "C").env("HOME", "/nonexistent").env("TZ", "UTC");
    command.envs(job.env.iter().map(|(key, value)| (key, value)));
    command.envs(allocator.env.iter().map(|(key, value)| (key, value)));
    if let Some(library) = &allocator.library {
        command.env("LD_PRELOAD", library);
    } else if job.brings_allocator {
        command.env("LD_PRELOAD", "libc.so.6");
    }
}

/// Puts load on a server that was just started, then ends it.
fn drive(server: &Server, child: &mut Child) -> Result<(), String> {
    let start = Instant::now();
    while UnixStream::connect(&server.socket).is_err() {
        if child.try_wait().is_ok_and(|ended| ended.is_some()) || start.elapsed() > SERVER_START_MAX {
            return Err("the server does not listen".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let run = |argv: &[std::ffi::OsString]| run_quietly(Command::new(&argv[0]).args(&argv[1..]));
    let loaded = run(&server.client);
    // `shutdown` closes the connection unanswered, which the client may call an error.
    let _ = run(&server.stop);
    loaded.map(|_| ())
}

/// Reads the launcher's line and the program's output.
fn parse(report: &str, output: &[u8], job: &Job) -> Result<Sample, String> {
    let mut fields = report.split_ascii_whitespace();
    let mut number =
        || fields.next().and_then(|text| text.parse::<u64>().ok()).ok_or("the launcher left no report");
    let mut sample = Sample {
        user_us: number()?,
        sys_us: number()?,
        wall_us: number()?,
        peak_rss_kib: number()?,
        minor_faults: number()?,
        major_faults: number()?,
        switches: number()?,
        ..Sample::default()
    };
    match fields.next() {
        Some("exit:0") => {}
        Some(status) => return Err(format!("ended with {status}")),
        None => return Err("the launcher left no status".into()),
    }
    let text = String::from_utf8_lossy(output);
    let is_figure =
        |line: &&str| [RSS_AFTER_KEY, MALLOC_KEY, FREE_KEY].iter().any(|key| line.starts_with(key));
    let (figures, rest): (Vec<&str>, Vec<&str>) = text.lines().partition(is_figure);
    let figure = |key| figures.iter().find_map(|line| line.strip_prefix(key));
    sample.rss_after_kib = figure(RSS_AFTER_KEY).and_then(|text| text.parse().ok());
    sample.malloc_ns = figure(MALLOC_KEY).and_then(|text| latency(text, ','));
    sample.free_ns = figure(FREE_KEY).and_then(|text| latency(text, ','));
    if !job.output_varies {
        sample.output = digest(&[rest.join("\n").as_bytes()]);
    }
    Ok(sample)
}

/// Percentiles as they are written between separators.
pub fn latency(text: &str, separator: char) -> Option<Latency> {
    let values: Result<Vec<u64>, _> = text.split(separator).map(str::parse).collect();
    values.ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_percentiles() {
        let text = b"malloc_ns=1,2,3,4,5,6,7,8,9,10,11,12\nfree_ns=1,2\n7\n";
        let sample = parse("1 1 1 1 1 1 1 exit:0", text, &Job::default()).expect("good report");
        assert_eq!(sample.malloc_ns.map(|ns| ns[8]), Some(9));
        assert_eq!(sample.free_ns, None);
        assert_eq!(sample.output, digest(&[b"7"]));
    }

    #[test]
    fn reads_a_report_and_takes_the_memory_line_out_of_the_output() {
        let report = "1000 500 2000 4096 10 1 3 exit:0\n";
        let one = parse(report, b"rss_after_kib=77\n42\n", &Job::default()).expect("good report");
        let other = parse(report, b"rss_after_kib=99\n42\n", &Job::default()).expect("good report");
        assert_eq!((one.cpu_us(), one.peak_rss_kib, one.rss_after_kib), (1500, 4096, Some(77)));
        assert_eq!(one.output, other.output);
        let changed = parse(report, b"rss_after_kib=77\n43\n", &Job::default()).expect("good report");
        assert_ne!(one.output, changed.output);
    }

    #[test]
    fn a_crash_and_an_empty_report_are_errors() {
        assert_eq!(
            parse("1 1 1 1 1 1 1 signal:11", b"", &Job::default()).unwrap_err(),
            "ended with signal:11"
        );
        assert!(parse("", b"", &Job::default()).is_err());
    }
}
