//! Runs a program with a time limit and keeps what it printed.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A program to run: a `Command` with a time limit, in a process group of its own.
pub struct Run {
    command: Command,
    limit: Duration,
    name: String,
}

/// How a program ended and what it printed.
#[derive(Debug)]
pub struct Ended {
    /// Its status; that of a killed one when it took too long.
    pub status: ExitStatus,
    /// Standard output, with bytes that are no UTF-8 replaced.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// Whether it was killed because its time was up.
    pub timed_out: bool,
}

impl Run {
    /// A program with the environment of this process but nothing of ours in it, reading nothing.
    pub fn new(program: impl AsRef<OsStr>, limit: Duration) -> Run {
        let mut command = Command::new(program.as_ref());
        command.stdin(Stdio::null()).env_remove("LD_PRELOAD").env_remove("HEAPKEEPER").process_group(0);
        // Cargo sets these for xtask; a nested cargo must not take them for its own.
        for (key, _) in std::env::vars_os() {
            let text = key.to_string_lossy();
            if text.starts_with("CARGO_PKG") || text.starts_with("CARGO_MANIFEST") || text == "RUSTFLAGS" {
                command.env_remove(&key);
            }
        }
        Run { command, limit, name: program.as_ref().to_string_lossy().into_owned() }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Run {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Run {
        self.command.args(arguments);
        self
    }

    /// Sets a variable.
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Run {
        self.command.env(key, value);
        self
    }

    /// Runs it there.
    pub fn folder(mut self, folder: &Path) -> Run {
        self.command.current_dir(folder);
        self
    }

    /// Runs it to its end or the time limit. Its output goes through files: a grandchild that outlives it
    /// and holds a pipe open would keep us waiting.
    pub fn ended(mut self) -> Result<Ended, String> {
        let (out_path, err_path) = (output_path("out"), output_path("err"));
        let create = |path: &Path| File::create(path).map_err(|e| format!("{}: {e}", path.display()));
        self.command.stdout(create(&out_path)?).stderr(create(&err_path)?);
        let child = self.command.spawn().map_err(|e| format!("{}: cannot be started: {e}", self.name))?;
        let (status, timed_out) = wait(child, self.limit)?;
        let ended = Ended { status, stdout: taken(&out_path)?, stderr: taken(&err_path)?, timed_out };
        Ok(ended)
    }

    /// Runs it; anything but exit status 0 is an error with its last lines.
    pub fn succeeds(self) -> Result<Ended, String> {
        let (name, limit) = (self.name.clone(), self.limit);
        let ended = self.ended()?;
        if ended.status.success() && !ended.timed_out {
            return Ok(ended);
        }
        Err(format!("{name}: {}\n{}", ended.how(limit), ended.last_lines(30)))
    }
}

impl Ended {
    /// How it ended, in words.
    pub fn how(&self, limit: Duration) -> String {
        match (self.timed_out, self.status.code(), self.status.signal()) {
            (true, ..) => format!("did not end within {} s and was killed", limit.as_secs()),
            (_, Some(code), _) => format!("exit status {code}"),
            (_, _, Some(signal)) => format!("ended by signal {signal}"),
            _ => "ended in an unknown way".into(),
        }
    }

    /// The ends of both outputs.
    pub fn last_lines(&self, lines: usize) -> String {
        let out = crate::outcome::tail(self.stdout.trim_end(), lines);
        let err = crate::outcome::tail(self.stderr.trim_end(), lines);
        [out, err].iter().filter(|text| !text.is_empty()).map(|text| format!("{text}\n")).collect()
    }
}

fn wait(mut child: Child, limit: Duration) -> Result<(ExitStatus, bool), String> {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_micros(300);
    loop {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            return Ok((status, false));
        }
        if Instant::now() >= end {
            kill_group(&child);
            let status = child.wait().map_err(|e| e.to_string())?;
            return Ok((status, true));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

fn kill_group(child: &Child) {
    send("KILL", &format!("-{}", child.id()));
}

/// The shell's kill: std knows no groups.
fn send(signal: &str, target: &str) {
    let _ = Command::new("/bin/sh")
        .args(["-c", "kill -s \"$1\" -- \"$2\" 2>/dev/null", "sh", signal, target])
        .status();
}

fn output_path(kind: &str) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("heapkeeper-xtask-{}-{number}.{kind}", std::process::id()))
}

fn taken(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| file.read_to_end(&mut bytes));
    let _ = std::fs::remove_file(path);
    read.map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
