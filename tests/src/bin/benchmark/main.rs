//! Measures Signpost, and beside each figure, turn by turn in the same run, what cannot be had for
//! less: so that noise of the machine hits both, and a figure says something on any machine.
//!
//! ```sh
//! cargo run --release -p signpost-tests --bin benchmark
//! ```
//!
//! One program for everything: it is the node that it measures (through a link named `signpost`),
//! and the bare processes that the floors are measured against.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program's output")]

mod child;
mod england;
mod evaluations;
mod figures;
mod floors;
mod footprint;
mod http;
mod locate;
mod record;
mod search;
mod setting;
mod writes;

use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::Context as _;
use clap::Parser;

use figures::{Figure, Group};
use setting::{ORGANIZATIONS, Scale, Setting};

/// The name under which this program is the product.
const PRODUCT: &str = "signpost";
/// Patients that each node of the five may advertise.
const PATIENTS_MAX: u64 = 200_000;

/// Measures Signpost beside its floors.
#[derive(Debug, Parser)]
#[command(name = "benchmark")]
struct Args {
    /// How much to measure: `small` takes some minutes, `full` is for the record.
    #[arg(long, value_enum, default_value = "small")]
    scale: Scale,
    /// Only these, separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = MEASUREMENTS.map(|(name, ..)| name))]
    only: Vec<String>,
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Puts the tables into docs/benchmarks/README.md and README.md.
    #[arg(long)]
    write_docs: bool,
    /// Adds no line to docs/benchmarks/history.jsonl.
    #[arg(long)]
    no_history: bool,
    /// Is one of the processes that floors are measured against.
    #[arg(long, hide = true)]
    child: Option<String>,
}

/// What a measurement needs.
enum Measurement {
    /// The five-node network.
    Network(fn(&Setting, Scale) -> anyhow::Result<Vec<Figure>>),
    /// Nothing but this process and a directory.
    Alone(fn(&Path, Scale) -> anyhow::Result<Vec<Figure>>),
}

const MEASUREMENTS: [(&str, &str, Measurement); 7] = [
    (
        "locate",
        "one look-up after the other, over HTTP, in a network of five processes",
        Measurement::Network(locate::measure),
    ),
    (
        "search",
        "look-ups as fast as they are answered, in the same network",
        Measurement::Network(search::measure),
    ),
    (
        "create",
        "pointers made one by one over HTTP, in the same network",
        Measurement::Network(writes::measure_create),
    ),
    (
        "import",
        "`signpost import` of generated pointers, from its start to its end, in the same network",
        Measurement::Network(writes::measure_import),
    ),
    (
        "england",
        "one locator against every digest, filters mapped from disk",
        Measurement::Alone(england::measure),
    ),
    ("evaluations", "an evaluator's work, in one thread", Measurement::Alone(evaluations::measure)),
    (
        "footprint",
        "a node that holds many pointers, from `signpost generate` by `signpost import`",
        Measurement::Alone(footprint::measure),
    ),
];

fn main() -> ExitCode {
    let name = std::env::args_os().next().map(PathBuf::from);
    if name.is_some_and(|name| name.file_name().is_some_and(|name| name == PRODUCT)) {
        return signpost_node::cli::main();
    }
    let args = Args::parse();
    let done = match &args.child {
        Some(what) => child::run(what),
        None => measure(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("warning: built without --release; the figures mean nothing");
    }
    let dir = tempfile::tempdir()?;
    let program = dir.path().join(PRODUCT);
    symlink(std::env::current_exe()?, &program).context("cannot link this program")?;
    let mut network = None;
    let mut groups = Vec::new();
    for (name, about, measurement) in &MEASUREMENTS {
        if !args.only.is_empty() && !args.only.iter().any(|only| only == name) {
            continue;
        }
        eprintln!("{name}: {about} ...");
        let started = Instant::now();
        let figures = match measurement {
            Measurement::Network(measure) => {
                let setting = network
                    .get_or_insert_with(|| Setting::start(&program, ORGANIZATIONS, PATIENTS_MAX));
                measure(setting, args.scale)
            }
            Measurement::Alone(measure) => {
                // Five idle nodes are not quite idle.
                network = None;
                measure(&program, args.scale)
            }
        };
        let figures = figures.with_context(|| format!("{name} could not be measured"))?;
        let seconds = started.elapsed().as_secs_f64();
        groups.push(Group { name, about: (*about).to_owned(), seconds, figures });
    }
    let run = record::Run::new(args.scale, groups);
    println!("{}", if args.json { run.json() } else { run.text() });
    if !args.no_history {
        run.append_history()?;
    }
    if args.write_docs {
        run.write_docs()?;
    }
    Ok(())
}
