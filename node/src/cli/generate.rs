//! `signpost generate`: large synthetic inputs, the same for the same seed.
//!
//! Everything follows from [`Population`], whose patients are drawn one by one: a million pointers
//! pass through without ever being in memory together. Every pointer has its id, so importing a
//! file twice changes nothing the second time.

mod sink;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use signpost_protocol::OdsCode;

use self::sink::Sink;
use super::{
    error::Hinted,
    text::{print, tell},
};
use crate::synthetic::{Organization, PATIENTS_MAX, Population};

/// Most organizations at a time: each has a file open, of the 1,024 that a process commonly may.
const ORGANIZATIONS_MAX: usize = 500;
/// Lines between two looks at the progress bar.
const TICK_LINES: u64 = 256;

/// Arguments of `signpost generate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Writes FHIR DocumentReferences, one a line, of patients who do not exist: their numbers, 999 000
0000 to 999 999 9999, are never issued. The same options write the same bytes, and a larger number
of patients or pointers begins with the same lines as a smaller one. Importing a file twice changes
nothing the second time.

One organization goes to standard output or to a file, several go to a directory with a file each;
then they share their patients as English organizations do.

Examples:
  signpost generate --ods RX1 --pointers 1000 | signpost import -
  signpost generate --ods RX1 --pointers 1000000 --output pointers.ndjson.gz
  signpost generate --orgs 20 --patients 10000 --seed 7 --output extracts/")]
pub(super) struct Args {
    /// What decides who the patients are.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// ODS code of the organization whose records they are; several, separated by commas.
    #[arg(long, value_name = "CODE", value_delimiter = ',', required_unless_present = "orgs")]
    ods: Vec<OdsCode>,
    /// So many invented organizations instead.
    #[arg(long, value_name = "N", conflicts_with = "ods",
          value_parser = clap::value_parser!(u16).range(1..=ORGANIZATIONS_MAX as i64))]
    orgs: Option<u16>,
    /// Exactly so many pointers, of all organizations together.
    #[arg(long, value_name = "N", required_unless_present = "patients",
          value_parser = clap::value_parser!(u64).range(1..))]
    pointers: Option<u64>,
    /// All pointers of so many patients, 1 to 900,000.
    #[arg(long, value_name = "M", conflicts_with = "pointers",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(PATIENTS_MAX)))]
    patients: Option<u32>,
    /// The file to write, compressed when its name ends in .gz; the directory, for several
    /// organizations [default: standard output].
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,
}

/// What was written.
#[derive(Debug, Default, PartialEq, Eq)]
struct Summary {
    patients: u64,
    /// By position of the organization.
    pointers: Vec<u64>,
}

/// Runs the command.
pub(super) fn command(args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    let organizations = organizations(args)?;
    let population =
        Population::new(args.seed, organizations, args.patients.unwrap_or(PATIENTS_MAX))
            .context("these organizations make no population")?;
    let codes: Vec<_> = population.organizations().iter().map(|o| o.ods.to_string()).collect();
    let mut sinks = sinks(args.output.as_deref(), &codes)?;
    let bar = progress(args.pointers.unwrap_or_else(|| u64::from(population.len())), json);
    let written = write(&population, args.pointers, &mut sinks, &bar);
    bar.finish_and_clear();
    let summary = match written {
        // Who reads has had enough (`| head`).
        Err(Failure::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            return Ok(ExitCode::SUCCESS);
        }
        written => written?,
    };
    sinks.into_iter().try_for_each(Sink::finish)?;
    let report = if json {
        let files = codes.iter().zip(&summary.pointers);
        let files: Vec<_> =
            files.map(|(ods, pointers)| json!({"ods": ods, "pointers": pointers})).collect();
        let pointers: u64 = summary.pointers.iter().sum();
        let patients = summary.patients;
        json!({"seed": args.seed, "patients": patients, "pointers": pointers, "organizations": files})
            .to_string()
    } else {
        let pointers: u64 = summary.pointers.iter().sum();
        format!("{pointers} pointers of {} patients", summary.patients)
    };
    // Standard output has the pointers unless they went elsewhere.
    match args.output {
        Some(_) => print(&report)?,
        None => tell(&report),
    }
    Ok(ExitCode::SUCCESS)
}

fn organizations(args: &Args) -> anyhow::Result<Vec<Organization>> {
    if let Some(count) = args.orgs {
        return Ok(Organization::invent(count.into()));
    }
    if args.ods.len() > ORGANIZATIONS_MAX {
        bail!("--ods takes at most {ORGANIZATIONS_MAX} codes");
    }
    for (at, code) in args.ods.iter().enumerate() {
        if args.ods[..at].contains(code) {
            bail!("--ods names {code} twice");
        }
    }
    let codes = args.ods.iter().cloned().enumerate();
    Ok(codes.map(|(position, code)| Organization::at(position, code)).collect())
}

/// Where each organization's pointers go.
fn sinks(output: Option<&Path>, codes: &[String]) -> anyhow::Result<Vec<Sink>> {
    match (output, codes) {
        (None, [_]) => Ok(vec![Sink::stdout()]),
        (Some(file), [_]) if !file.is_dir() => Ok(vec![Sink::file(file)?]),
        (None, _) => Err(Hinted {
            message: "the pointers of several organizations cannot go to one place".to_owned(),
            hint: "name a directory with --output; it gets a file for each".to_owned(),
        }
        .into()),
        (Some(dir), _) => {
            let made = std::fs::create_dir_all(dir);
            made.with_context(|| format!("cannot make the directory {}", dir.display()))?;
            codes.iter().map(|ods| Sink::file(&dir.join(format!("{ods}.ndjson")))).collect()
        }
    }
}

/// Why not everything was written.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Write(#[from] io::Error),
    #[error(
        "there are no more than {written} pointers: the range of numbers for invented patients \
         ends with patient {PATIENTS_MAX}"
    )]
    Exhausted { written: u64 },
}

/// Writes the pointers of all patients, or exactly `pointers` of them, to the organizations' sinks.
fn write(
    population: &Population,
    pointers: Option<u64>,
    sinks: &mut [impl io::Write],
    bar: &ProgressBar,
) -> Result<Summary, Failure> {
    let mut summary = Summary { patients: 0, pointers: vec![0; sinks.len()] };
    let mut written = 0;
    for patient in population.patients() {
        summary.patients += 1;
        for &holder in &patient.holders {
            let organization = &population.organizations()[holder];
            for record in population.records(&patient, holder) {
                let resource = record.resource(&patient.number, organization);
                serde_json::to_writer(&mut sinks[holder], &resource).map_err(io::Error::from)?;
                sinks[holder].write_all(b"\n")?;
                summary.pointers[holder] += 1;
                written += 1;
                if written % TICK_LINES == 0 {
                    bar.set_position(if pointers.is_some() { written } else { summary.patients });
                }
                if pointers == Some(written) {
                    return Ok(summary);
                }
            }
        }
    }
    match pointers {
        Some(_) => Err(Failure::Exhausted { written }),
        None => Ok(summary),
    }
}

/// A bar over pointers or patients. Hidden without a terminal.
fn progress(total: u64, json: bool) -> ProgressBar {
    let target = if json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    bar.set_style(
        ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} {eta} left")
            .expect("the template is a constant that indicatif accepts"),
    );
    bar
}
