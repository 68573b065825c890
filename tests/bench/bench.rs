//! `make bench`: the tables of figures, each measured beside its peers in the
//! same run. Arguments choose tables (`boots`); none means all of them.
//! `runs=N` sets how often each figure is taken; `case=WORD` keeps the boots whose
//! name holds that word, and of the offers those at that rate.

// A table is for standard output, and a bench stops at the first thing that is wrong.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used)]

#[path = "../fake/mod.rs"]
mod fake;
#[path = "../lab/mod.rs"]
mod lab;

mod boots;
mod dhcp;
mod http;
mod size;
mod tftp;

use std::process::ExitCode;

use lab::Failure;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// One table: its name on the command line, and what prints it.
type Table = (&'static str, fn(&Options) -> Result<(), Failure>);

/// How to measure.
struct Options {
    /// How often a figure is taken; each table knows how often it needs.
    runs: Option<usize>,
    /// The rows that are wanted, of the tables that have many.
    case: String,
}

const TABLES: [Table; 5] = [
    ("boots", boots::print),
    ("dhcp", dhcp::print),
    ("http", http::print),
    ("size", size::print),
    ("tftp", tftp::print),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // Some tables start this program again, as a server or a client.
    match tftp::serve_if_asked() {
        Ok(false) if !http::role(&words) => {}
        Ok(_) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    let option = |name: &str| words.iter().find_map(|word| word.strip_prefix(name));
    let options = Options {
        runs: option("runs=").and_then(|runs| runs.parse().ok()),
        case: option("case=").unwrap_or_default().to_owned(),
    };
    // Cargo adds --bench; whatever has no dash and no = is a table.
    let wanted: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|word| !word.starts_with('-') && !word.contains('='))
        .collect();
    let names = TABLES.map(|(name, _)| name);
    if let Some(unknown) = wanted.iter().find(|word| !names.contains(word)) {
        eprintln!("no table {unknown:?}; there are: {}", names.join(", "));
        return ExitCode::from(64);
    }
    for (name, print) in TABLES {
        if !wanted.is_empty() && !wanted.contains(&name) {
            continue;
        }
        if let Err(failure) = print(&options) {
            eprintln!("{name}: {failure}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Where both sides have a core of their own, these.
const OUR_CORE: usize = 0;
const SERVERS_CORE: usize = 1;

/// Keeps this thread, and whom it starts, on this core, or lets it go again.
fn stay_on(core: Option<usize>) -> Result<(), Failure> {
    let mut cores = CpuSet::new();
    let wanted = core.map_or(0..CpuSet::count(), |core| core..core + 1);
    let outcome = wanted.into_iter().try_for_each(|core| cores.set(core));
    let outcome = outcome.and_then(|()| sched_setaffinity(Pid::from_raw(0), &cores));
    outcome.map_err(|error| Failure::new(error.to_string()))
}

/// The figure in the middle, or halfway between the two that are.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 {
        figures[middle]
    } else {
        f64::midpoint(figures[middle - 1], figures[middle])
    }
}
