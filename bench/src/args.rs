//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Runs the same programs on Heapkeeper and on its rivals, and prints CPU time and memory as ratios.
#[derive(Debug, Parser)]
#[command(name = "hk-bench", version)]
pub struct Args {
    /// Measured runs of each program on each allocator; one more run before them is thrown away
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,

    /// Rows whose A/A spread is above 5 % are repeated up to this many runs
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub runs_max: u32,

    /// Only workloads whose name or group contains one of these (comma separated)
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub only: Vec<String>,

    /// Only these allocators (comma separated): glibc, jemalloc, tcmalloc, mimalloc, snmalloc, rpmalloc, heapkeeper.
    /// mimalloc, the base of all ratios, is always there, twice
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub allocators: Vec<String>,

    /// Heapkeeper's preload library (default: the one beside this program). Given more than once, with
    /// names, several builds are compared: `--lib old=PATH --lib new=PATH`; or one with several settings:
    /// `--lib off=PATH --lib on=PATH,guard=1/50`
    #[arg(long = "lib", value_name = "[NAME=]PATH[,SETTINGS]")]
    pub libs: Vec<String>,

    /// Settings for Heapkeeper (the HEAPKEEPER variable), e.g. `mode=keep`
    #[arg(long, value_name = "KEY=VALUE,...")]
    pub settings: Option<String>,

    /// Keep raw results, tables and a description of the machine in this folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Measure nothing: make the tables and the verdict of the runs that are kept in this folder anew
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,

    /// Three runs of fewer workloads, on mimalloc, glibc and Heapkeeper only, without repeats
    #[arg(long)]
    pub quick: bool,

    /// Install what is missing (Debian packages) before measuring
    #[arg(long)]
    pub install: bool,

    /// Exit with status 1 when a bar is missed or a run failed
    #[arg(long)]
    pub check: bool,

    /// Run the victims (one program per bug) in this folder on all allocators, and print what each catches (default: those of this
    /// repository, unless --only or --quick is given)
    #[arg(long, value_name = "DIR")]
    pub victims: Option<PathBuf>,

    /// Which of the runs a cell stands for
    #[arg(long, value_enum, default_value_t = Statistic::Median)]
    pub statistic: Statistic,

    /// Seed of the order in which runs are shuffled
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// List the workloads and allocators, measure nothing
    #[arg(long)]
    pub list: bool,
}

/// How the runs of one cell become one figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Statistic {
    /// The fastest (or smallest) run.
    Min,
    /// The run in the middle.
    Median,
}

impl Args {
    /// Measured runs, after what `--quick` says.
    pub fn runs(&self) -> u32 {
        if self.quick { self.runs.min(3) } else { self.runs }
    }

    /// The most runs that a noisy row gets.
    pub fn runs_max(&self) -> u32 {
        if self.quick { self.runs() } else { self.runs_max.max(self.runs) }
    }

    /// Where the victims lie, if they are to be run.
    pub fn victims_folder(&self) -> Option<PathBuf> {
        let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../victims"));
        let is_whole = self.only.is_empty() && !self.quick;
        self.victims.clone().or_else(|| (is_whole && beside.is_dir()).then_some(beside))
    }

    /// Whether the allocator of this name is to be measured.
    pub fn wants_allocator(&self, name: &str) -> bool {
        match (self.allocators.is_empty(), self.quick) {
            (true, true) => matches!(name, "glibc" | "mimalloc" | "heapkeeper"),
            (true, false) => true,
            (false, _) => name == "mimalloc" || self.allocators.iter().any(|wanted| wanted == name),
        }
    }
}
