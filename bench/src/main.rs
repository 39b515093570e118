//! Runs the same programs on Heapkeeper and on its rivals, all by LD_PRELOAD, and prints CPU time, peak RSS
//! and RSS after the peak as ratios to mimalloc 3.
//!
//! The method is told in `README.md` beside this package. In short: a static launcher takes the resource
//! usage of the whole process tree ([`launch`]), runs are interleaved in random order and the first is
//! thrown away ([`measure`]), mimalloc is entered twice so that every table shows its own noise
//! ([`allocators`]), and the bars are judged with that noise taken off ([`verdict`]).

mod allocators;
mod args;
mod cache;
mod charts;
mod debian;
mod inputs;
mod kept;
mod launch;
mod machine;
mod measure;
mod memory;
mod report;
mod rust;
mod stats;
mod verdict;
mod victims;
mod workloads;

use std::process::ExitCode;

use allocators::Allocator;
use args::{Args, Statistic};
use cache::Cache;
use clap::Parser;
use launch::Launcher;
use measure::Row;
use workloads::{Job, WORKLOADS, Workload};

fn main() -> ExitCode {
    match bench(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("hk-bench: {why}");
            ExitCode::from(2)
        }
    }
}

/// The whole of it; false when `--check` was given and a bar is missed.
fn bench(args: &Args) -> Result<bool, String> {
    if args.install {
        debian::install(&workloads::packages())?;
    }
    if args.list {
        list();
        return Ok(true);
    }
    if let Some(folder) = &args.from {
        let (rows, allocators) = kept::read(folder)?;
        let (summary, met) = summarise(&rows, &allocators, args.statistic, "");
        print!("{summary}");
        return Ok(met || !args.check);
    }
    let cache = Cache::open()?;
    let launcher = Launcher::build(&cache)?;
    let (mut allocators, mut missing) = allocators::collect(args, &cache)?;
    let versions = prove_all(&mut allocators, &launcher)?;
    let (ready, skipped) = make_ready(args, &cache)?;
    let machine = machine::describe();
    print!("{machine}\n{versions}");
    let rust = rust::prepare(args, &cache)?;
    if ready.is_empty() && rust.is_none() {
        let why = skipped.first().map_or("--only matches no workload; --list shows them", String::as_str);
        return Err(format!("nothing to measure: {why}"));
    }
    missing.extend(rust.iter().flat_map(|programs| programs.missing.clone()));
    missing.iter().for_each(|why| println!("not measured: {why}"));
    skipped.iter().for_each(|why| println!("skipped: {why}"));
    println!();

    // Charts are for keeping.
    let courses = match &args.out {
        Some(_) => memory::follow(&ready, &allocators, &launcher)?,
        None => Vec::new(),
    };
    let rows = measure::measure(ready, &allocators, &launcher, args);
    prove_all(&mut allocators, &launcher)?;
    let (caught, uncompiled) = match &args.victims_folder() {
        Some(folder) => victims::run(folder, &cache, &allocators, &launcher)?,
        None => Default::default(),
    };
    uncompiled.iter().for_each(|why| println!("skipped: {why}"));
    let (summary, met) = summarise(&rows, &allocators, args.statistic, &victims::table(&caught, &allocators));
    let (rust_summary, rust_runs) = rust::measure(rust.as_ref(), &launcher, args);
    let summary = summary + &rust_summary;
    print!("{summary}");
    if let Some(folder) = &args.out {
        let about =
            format!("{machine}command: {}\n\n{versions}{}", command_line(), lines(&missing, &skipped));
        let mut files = vec![("summary.txt", summary), ("machine.txt", about)];
        files.push(("runs.csv", report::runs_csv(&rows, &allocators)));
        files.push(("rust.csv", rust_runs));
        files.push(("victims.csv", victims::csv(&caught, &allocators)));
        files.push(("memory.csv", memory::csv(&courses, &allocators)));
        files.extend(charts::all(&rows, &allocators, &courses, args.statistic)?);
        // What was not measured leaves no file.
        files.retain(|(_, text)| text.lines().nth(1).is_some());
        report::keep(folder, &files)?;
        println!("raw results in {}", folder.display());
    }
    Ok(met || !args.check)
}

/// Everything that is printed of the runs, `more` between the tables and the verdict; and whether all bars are met.
fn summarise(rows: &[Row], allocators: &[Allocator], statistic: Statistic, more: &str) -> (String, bool) {
    if rows.is_empty() {
        return (String::new(), true);
    }
    let tables = report::tables(rows, allocators, statistic);
    let start_up = report::start_up(rows, allocators, statistic);
    let notes = report::notes(rows, allocators);
    let (verdict, met) = verdict::write(rows, allocators, statistic);
    (format!("{tables}{start_up}{more}{notes}\n{verdict}"), met)
}

/// Proves for each allocator that a program under the very same conditions runs on it; gives their versions.
fn prove_all(allocators: &mut [Allocator], launcher: &Launcher) -> Result<String, String> {
    let mut text = String::new();
    for allocator in allocators {
        allocator.version = allocators::prove(allocator, &mut launcher.probe(allocator))?;
        let library = allocator.library.as_ref().map_or("no preload".into(), |path| {
            path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
        });
        text.push_str(&format!(
            "{}: {} ({library}, malloc and free are its own)\n",
            allocator.name, allocator.version
        ));
    }
    Ok(text)
}

/// A workload and how to start it.
type Ready = (&'static Workload, Job);

/// The chosen workloads, made ready, and why any is skipped.
fn make_ready(args: &Args, cache: &Cache) -> Result<(Vec<Ready>, Vec<String>), String> {
    let mut ready = Vec::new();
    let mut skipped = Vec::new();
    for workload in WORKLOADS.iter().filter(|w| w.matches(&args.only) && (w.quick || !args.quick)) {
        match workload.ready(cache) {
            Ok(job) => ready.push((workload, job)),
            Err(why) => skipped.push(format!("{}: {why}", workload.name)),
        }
    }
    Ok((ready, skipped))
}

fn list() {
    for workload in WORKLOADS.iter().chain(workloads::RUST_WORKLOADS) {
        let quick = if workload.quick { " (quick)" } else { "" };
        println!("{:10} {}{quick}", workload.group.name(), workload.name);
    }
}

/// The arguments as they were given, without the paths of this machine's folders.
fn command_line() -> String {
    let arguments = std::env::args().skip(1);
    let short = arguments.map(|text| match text.rsplit_once('/') {
        Some((_, name)) => name.to_string(),
        None => text,
    });
    ["hk-bench".to_string()].into_iter().chain(short).collect::<Vec<_>>().join(" ")
}

fn lines(missing: &[String], skipped: &[String]) -> String {
    let missing = missing.iter().map(|why| format!("not measured: {why}\n"));
    missing.chain(skipped.iter().map(|why| format!("skipped: {why}\n"))).collect()
}
