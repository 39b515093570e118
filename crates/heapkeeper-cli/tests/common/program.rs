//! Programs under `heapkeeper run` that run while they are asked.

use super::snapshot::Snapshot;
use super::*;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{ChildStdin, ChildStdout, Stdio};

/// A program under `heapkeeper run`, which is told and tells things by lines.
pub struct Program {
    run: Child,
    pub pid: u32,
    pub folder: PathBuf,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Program {
    pub fn start(folder: &Path, options: &[&str], words: &[&str]) -> Program {
        let mut command = heapkeeper();
        command.arg("run").args(options).arg("--").args(words).env("TMPDIR", folder);
        let mut run = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (run.stdin.take(), BufReader::new(run.stdout.take().unwrap()));
        let pid = child_of(&run);
        Program { run, pid, folder: folder.into(), stdin, stdout }
    }

    /// The next line that it tells.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Lines `name number`, up to one that says `ready`.
    pub fn numbers(&mut self) -> BTreeMap<String, u64> {
        let mut numbers = BTreeMap::new();
        loop {
            let line = self.line();
            let Some((name, number)) = line.split_once(' ') else {
                assert_eq!(line, "ready");
                return numbers;
            };
            numbers.insert(name.to_owned(), number.parse().unwrap());
        }
    }

    pub fn tell(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// What it says after its input has ended, until its end.
    pub fn end(&mut self) -> String {
        self.stdin = None;
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        assert!(self.run.wait().unwrap().success(), "{rest}");
        rest
    }

    pub fn snap(&self, pid: u32, to: &Path) -> Command {
        let mut command = heapkeeper();
        command.args(["snap", &pid.to_string(), "-o"]).arg(to).stderr(Stdio::piped());
        command
    }

    pub fn snapshot(&self) -> Snapshot {
        let to = self.folder.join("out.hks");
        succeed(&mut self.snap(self.pid, &to));
        Snapshot::parse(&std::fs::read(to).unwrap())
    }

    /// The ids of its images.
    pub fn images(&self) -> Vec<u32> {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.filter(|id| {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
            stat.contains("(heapkeeper)") && parent == Some(self.pid)
        })
        .collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ =
            Command::new("kill").args(["-s", "KILL", &self.pid.to_string()]).stderr(Stdio::null()).status();
        let _ = self.run.wait();
    }
}

/// What each program here has: an end, and a way to allocate until then.
pub const HEAD: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/futex.h>
#include <time.h>
#include <unistd.h>
#define SITE __attribute__((noinline))
#define TELL(...) dprintf(1, __VA_ARGS__)
struct node { struct node *volatile next; char room[40]; };
/* Allocates until there is a line, or no more input. */
static int serve(void) {
    struct pollfd in = { 0, POLLIN, 0 };
    for (;;) {
        for (int i = 0; i < 300; i++) { void *volatile p = malloc(40); free((void *)p); p = NULL; }
        if (poll(&in, 1, 0) > 0) {
            char line[64];
            ssize_t len = read(0, line, sizeof line);
            return len > 0;
        }
        struct timespec pause = { 0, 1000000 };
        nanosleep(&pause, NULL);
    }
}
"#;

pub fn compile_live(folder: &Path, name: &str, source: &str) -> String {
    let source = format!("{HEAD}{source}");
    let program = compile(folder, &format!("{name}.c"), &source, &["-g", "-O1", "-w", "-pthread"]);
    program.to_str().unwrap().to_owned()
}
