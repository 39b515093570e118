//! Programs with known bugs, each with its twin, under `heapkeeper check`, the address sanitizer, valgrind and
//! nothing at all: what each finds, misses, and makes up, and what it costs.
//!
//! For ours, every promise of the layout has to hold. The others tell whether the bugs are bugs: where a
//! sanitizer or valgrind is silent, the matrix has to say why.

mod check;
mod cost;
mod matrix;
mod programs;
mod promise;
mod runs;
mod table;
mod tools;

use crate::context::Context;
use crate::outcome::Outcome;
use matrix::Variant;
use programs::Programs;
use runs::{Answer, Task};
use std::collections::BTreeSet;
use std::path::PathBuf;
use tools::{Runner, Tool};

/// Valgrind takes half a second a run: unless `--only` asks for it, it is shown one variant in so many.
const VALGRIND_SHARE_SAMPLE: usize = 2;
const VALGRIND_SHARE_SOAK: usize = 3;

/// One variant of each group, or in the long run all of them.
pub fn suite(context: &mut Context) {
    let ready = matrix::read(&context.root.join("victims/known-bugs/matrix.json"))
        .and_then(|variants| Ok((variants, Programs::build(context)?)));
    let (variants, programs) = match ready {
        Ok(ready) => ready,
        Err(text) => return context.record("known-bugs", Err(text)),
    };
    let tools = tools_here(context);
    let tasks = tasks(context, &variants, &tools);
    let tasks = without_missing_builds(context, &programs, tasks);
    let answers = {
        let runner = Runner {
            programs: &programs,
            artefacts: context.artefacts().ok(),
            scratch: context.scratch.clone(),
        };
        runs::all(&runner, &tasks, context.deadline)
    };
    answers.iter().for_each(|answer| record(context, answer));
    let measured: Vec<Tool> = tools.into_iter().filter(|t| tasks.iter().any(|a| a.tool == *t)).collect();
    let (costs, errors) = cost::all(context, &programs, &measured);
    for (tool, text) in errors {
        context.record(&format!("{} steady", tool.name()), Err(text));
    }
    context.say(table::text(&answers, &costs).trim_end());
    keep(context, &answers);
}

/// The tools that are there; the others are skipped.
fn tools_here(context: &mut Context) -> Vec<Tool> {
    let wanted: Vec<Tool> = Tool::ALL.into_iter().collect();
    let mut here = Vec::new();
    for tool in wanted {
        match tool.is_there(context.artefacts().ok()) {
            Ok(()) => here.push(tool),
            Err(why) => context.record(tool.name(), Outcome::Skipped(why)),
        }
    }
    here
}

fn tasks<'a>(context: &Context, variants: &'a [Variant], tools: &[Tool]) -> Vec<Task<'a>> {
    let valgrind_share = match (context.is_narrowed(), context.soak) {
        (true, _) => 1,
        (false, true) => VALGRIND_SHARE_SOAK,
        (false, false) => VALGRIND_SHARE_SAMPLE,
    };
    let chosen: Vec<&Variant> = variants.iter().filter(|v| v.in_sample || context.soak).collect();
    let mut tasks = Vec::new();
    for &tool in tools {
        let share = if tool == Tool::Valgrind { valgrind_share } else { 1 };
        tasks.extend(chosen.iter().step_by(share).map(|variant| Task { tool, variant }));
    }
    tasks.retain(|task| context.wants(&task.name()));
    tasks.retain(|task| Programs::can_be(&task.variant.program, task.tool.build()));
    tasks
}

/// Builds that are not there: one skipped test each, with the way to get it.
fn without_missing_builds<'a>(
    context: &mut Context,
    programs: &Programs,
    tasks: Vec<Task<'a>>,
) -> Vec<Task<'a>> {
    let is_there = |task: &Task| programs.path(&task.variant.program, task.tool.build()).is_some();
    let (tasks, missing): (Vec<Task>, Vec<Task>) = tasks.into_iter().partition(is_there);
    let names: BTreeSet<String> =
        missing.iter().map(|task| format!("{} {}", task.tool.name(), task.variant.program)).collect();
    for name in names {
        let why = "no toolchain with sanitizers; rustup toolchain install nightly";
        context.record(&name, Outcome::Skipped(why.into()));
    }
    tasks
}

fn record(context: &mut Context, answer: &Answer) {
    let name = answer.task.name();
    match answer.verdict() {
        Some(verdict) => context.record(&name, verdict),
        None => context.record(&name, Outcome::Skipped("not possible here".into())),
    }
}

/// Every answer, beside the long run's results or in the scratch folder.
fn keep(context: &mut Context, answers: &[Answer]) {
    let path = match &context.results {
        Some(results) => PathBuf::from(results.to_string_lossy().replace("-soak.txt", "-known-bugs.tsv")),
        None => context.scratch.join("known-bugs.tsv"),
    };
    match std::fs::write(&path, table::raw(answers)) {
        Ok(()) => {
            let name = path.strip_prefix(&context.root).unwrap_or(&path);
            context.say(&format!("every answer: {}", name.display()));
        }
        Err(e) => context.record("known-bugs", Err(format!("{}: {e}", path.display()))),
    }
}
