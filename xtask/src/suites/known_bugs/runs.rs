//! Runs variants and twins under the tools, several at once, and keeps what each said.

use crate::suites::known_bugs::matrix::Variant;
use crate::suites::known_bugs::promise::Promise;
use crate::suites::known_bugs::tools::{Runner, Seen, Tool};
use std::sync::Mutex;
use std::time::Instant;

/// A variant to be run under a tool.
#[derive(Clone, Copy)]
pub struct Task<'a> {
    /// The tool.
    pub tool: Tool,
    /// The variant.
    pub variant: &'a Variant,
}

/// What became of it.
pub struct Answer<'a> {
    /// What was run.
    pub task: Task<'a>,
    /// About the program with the bug.
    pub bug: Seen,
    /// About its twin.
    pub twin: Seen,
}

/// Runs all; those that the time does not suffice for are broken.
pub fn all<'a>(runner: &Runner, tasks: &[Task<'a>], deadline: Instant) -> Vec<Answer<'a>> {
    let next = Mutex::new(tasks.iter().enumerate());
    let answers = Mutex::new(Vec::with_capacity(tasks.len()));
    let worker = |number: usize| {
        loop {
            let Some((place, &task)) = next.lock().expect("no worker panics").next() else { return };
            let run = |twin| match Instant::now() < deadline {
                true => runner.run(task.tool, task.variant, twin, number),
                false => Seen::Broken("not run: the suite's minutes are used up".into()),
            };
            let answer = Answer { task, bug: run(false), twin: run(true) };
            answers.lock().expect("no worker panics").push((place, answer));
        }
    };
    let count = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for number in 0..count {
            scope.spawn(move || worker(number));
        }
    });
    let mut answers = answers.into_inner().expect("no worker panics");
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

impl Task<'_> {
    /// Its name, which `--only` looks at: the tool, the program and its arguments.
    pub fn name(&self) -> String {
        format!("{} {}", self.tool.name(), self.variant.name())
    }

    /// Whether a silent tool is a failure. Ours must keep its promise; a sanitizer or valgrind that is silent
    /// without a known reason casts doubt on whether the bug is one.
    fn must_report(&self) -> bool {
        let has_excuse = self.variant.misses.contains_key(self.tool.family());
        match self.tool {
            Tool::Heapkeeper | Tool::HeapkeeperEnd => {
                !has_excuse && !matches!(self.tool.promise(self.variant), Promise::Nothing(_))
            }
            Tool::Asan | Tool::AsanFast | Tool::Valgrind => !has_excuse,
            Tool::Glibc => false,
        }
    }
}

impl Answer<'_> {
    /// `Err` says in what way the answer is not what it must be; `None` that the variant is not possible
    /// here.
    pub fn verdict(&self) -> Option<Result<(), String>> {
        let must_report = self.task.must_report();
        Some(match (&self.bug, &self.twin) {
            (Seen::Skipped(_), _) | (_, Seen::Skipped(_)) => return None,
            (_, Seen::Broken(text)) => Err(format!("the twin: {text}")),
            (_, Seen::Report | Seen::Misnamed(_)) => Err("the twin is reported".into()),
            (Seen::Broken(text), _) => Err(text.clone()),
            (Seen::Misnamed(text), _) if must_report => Err(text.clone()),
            (Seen::Nothing, _) if must_report => Err("not reported".into()),
            _ => Ok(()),
        })
    }
}
