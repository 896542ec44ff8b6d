//! `signpost demo`: a whole federation on one machine, to see and to try.
//!
//! Founds a network of invented organizations, runs each node as a process of its own, has their
//! evaluators make the blinding key, fills them
//! with synthetic patients, and compares look-ups from all sides with what is known to be true,
//! with every node up and with one down. What it shows it has checked: any difference makes the
//! exit code 1. Everything goes through the nodes' public API, as a clinical system would.

mod announce;
mod ceremony;
mod client;
mod federation;
mod founding;
mod load;
mod outage;
mod ports;
mod processes;
mod progress;
mod report;
mod trial;
mod truth;
mod workspace;

use std::{
    io::{Write as _, stdout},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use signpost_protocol::OdsCode;

use crate::{
    atomic_file::AtomicFile,
    interrupt::Interrupt,
    synthetic::{Organization, PATIENTS_MAX, Population},
};
use federation::Federation;
use progress::Progress;
use report::{OrganizationLine, Report, notice};
use truth::{Survey, TRUTH_FILE};

/// Every demonstration has the same patients, so that two can be compared.
const SEED: u64 = 1;
/// Most organizations: each is a process, and a laptop should bear them all.
const ORGANIZATIONS_MAX: usize = 20;
/// How often it is looked whether a node has died.
const WATCH_POLL: Duration = Duration::from_millis(250);

/// Runs a demonstration federation on this machine: several organizations, each node a process of
/// its own, with synthetic patients.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signpost demo
      Five organizations and 1,000 patients; stays up until Ctrl-C.
  signpost demo --once
      The same, but ends after the report; the exit code says whether all was well.
  signpost demo --orgs 3 --patients 10000 --dir ./demo
      Keeps everything in ./demo; ./demo/federation.json says where the nodes are.
  signpost demo --ods T1,T2,T3 --port-base 7700
      Codes and ports of your choice.")]
pub struct Args {
    /// How many organizations, 1 to 20.
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u8).range(1..=20), conflicts_with = "ods")]
    pub orgs: u8,
    /// ODS-style codes of the organizations, separated by commas, instead of invented ones.
    #[arg(long, value_name = "CODE,CODE...", value_delimiter = ',')]
    pub ods: Vec<OdsCode>,
    /// How many synthetic patients, 1 to 900,000.
    #[arg(long, value_name = "M", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(PATIENTS_MAX)))]
    pub patients: u32,
    /// Where to keep the nodes' files [default: a temporary directory, removed at the end].
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// First of the ports to use, two a node [default: free ports].
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u16).range(1..))]
    pub port_base: Option<u16>,
    /// End after the report.
    #[arg(long)]
    pub once: bool,
}

impl Args {
    /// The organizations that are asked for; the mistake in words when they make no sense.
    fn organizations(&self) -> Result<Vec<Organization>, String> {
        if self.ods.is_empty() {
            return Ok(Organization::invent(self.orgs.into()));
        }
        if self.ods.len() > ORGANIZATIONS_MAX {
            return Err(format!("--ods takes at most {ORGANIZATIONS_MAX} codes"));
        }
        for (at, code) in self.ods.iter().enumerate() {
            if self.ods[..at].contains(code) {
                return Err(format!("--ods names {code} twice"));
            }
        }
        let codes = self.ods.iter().cloned().enumerate();
        Ok(codes.map(|(position, code)| Organization::at(position, code)).collect())
    }
}

/// Runs `signpost demo`. With `json` the report on standard output is JSON; progress always goes
/// to standard error.
///
/// Exit codes: 0 when all was as it should be, 1 when a look-up differed from the truth, 2 for
/// options that make no sense.
///
/// # Errors
/// When the federation cannot be founded, started or asked.
pub fn command(args: Args, json: bool) -> anyhow::Result<ExitCode> {
    let progress = Progress::to_stderr();
    let organizations = match args.organizations() {
        Ok(organizations) => organizations,
        Err(mistake) => {
            progress.say(&format!("error: {mistake}"));
            return Ok(ExitCode::from(2));
        }
    };
    let population = Population::new(SEED, organizations, args.patients)
        .context("--patients or --orgs is out of range")?;
    let interrupt = Interrupt::on_signals()?;
    // Dropped after the federation, so that no node writes to a directory that is being removed.
    let workspace = workspace::Workspace::open(args.dir.as_deref())?;
    let dir = workspace.path();
    let kept = if workspace.is_temporary() { "removed at the end" } else { "kept" };
    progress.say(&format!("Directory: {} ({kept})", dir.display()));
    let program = std::env::current_exe().context("cannot find this program's own file")?;

    let mut federation = found(&population, dir, &program, args.port_base, progress, &interrupt)?;
    let (report, survey) = show(&population, dir, &mut federation, progress, &interrupt)?;
    print(&report, json)?;
    if !report.ok {
        return Ok(ExitCode::FAILURE);
    }
    announce::write(dir, federation.nodes(), &survey.numbers)
        .context("cannot write federation.json")?;
    if !args.once {
        stay(&mut federation, dir, &survey, &program, progress, &interrupt);
        announce::write_stopped(dir, &survey.numbers).context("cannot write federation.json")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Founds the network and starts its nodes.
fn found(
    population: &Population,
    dir: &Path,
    program: &Path,
    port_base: Option<u16>,
    progress: Progress,
    interrupt: &Interrupt,
) -> anyhow::Result<Federation> {
    let organizations = population.organizations();
    let names: Vec<_> = organizations.iter().map(|o| o.ods.as_str()).collect();
    let ports = ports::choose(&names, port_base)?;
    let step = progress.step("Founding the network", 0);
    let (specs, warnings) = founding::found(population, dir, &ports)?;
    step.done(&format!("{} organizations", organizations.len()));
    progress.say(notice(specs.len()));
    warnings.iter().for_each(|warning| progress.say(&format!("warning: {warning}")));

    let step = progress.step("Starting the nodes", specs.len() as u64);
    let mut federation = Federation::start_all(program.to_owned(), specs)?;
    federation.await_ready(&step, interrupt)?;
    step.done("all ready, each with the digest of every other");
    ceremony::make_key(&federation, program, progress, interrupt)?;
    Ok(federation)
}

/// Fills the nodes and puts them to the test.
fn show(
    population: &Population,
    dir: &Path,
    federation: &mut Federation,
    progress: Progress,
    interrupt: &Interrupt,
) -> anyhow::Result<(Report, Survey)> {
    let step = progress.step("Making patients", population.len().into());
    let mut file =
        AtomicFile::create(&dir.join(TRUTH_FILE)).context("cannot write the truth file")?;
    let survey = truth::survey(population, &mut file, || step.advance(1))
        .and_then(|survey| file.commit().map(|()| survey))
        .context("cannot write the truth file")?;
    step.done(&format!("{} with {} pointers", population.len(), survey.pointers()));

    let step = progress.step("Importing pointers", survey.pointers());
    let started = Instant::now();
    load::import(population, federation.nodes(), &step, interrupt)?;
    let import_seconds = started.elapsed().as_secs_f64();
    step.done(&format!("{} pointers", survey.pointers()));

    let pairs = survey.last.iter().flatten().count() * federation.nodes().len();
    let step = progress.step("Waiting for the news to spread", pairs as u64);
    trial::await_news(federation.nodes(), &survey.last, &step, interrupt)?;
    step.done("every node finds what the others imported");

    let step = progress.step("Looking patients up", survey.cases.len() as u64);
    let look_ups = trial::run(federation.nodes(), &survey, &step, interrupt)?;
    step.done(&format!("{} look-ups, {} wrong", look_ups.look_ups, look_ups.faults.len()));

    let step = progress.step("Killing a node and starting it again", 0);
    let outage = outage::run(federation, &survey, interrupt)?;
    step.done(outage.as_ref().map_or("not possible here", |outage| outage.ods.as_str()));
    federation.nodes_alive()?;

    let faults = look_ups.faults.iter().chain(outage.iter().flat_map(|outage| &outage.faults));
    let faults: Vec<_> = faults.cloned().collect();
    let organizations = population.organizations().iter().zip(&survey.tallies);
    let report = Report {
        ok: faults.is_empty(),
        notice: notice(population.organizations().len()),
        dir: dir.display().to_string(),
        patients: population.len(),
        pointers: survey.pointers(),
        import_seconds,
        organizations: organizations
            .map(|(organization, tally)| OrganizationLine {
                ods: organization.ods.as_str().to_owned(),
                name: organization.name.clone(),
                kind: organization.kind.words(),
                tally: *tally,
            })
            .collect(),
        look_ups,
        outage,
        faults,
    };
    Ok((report, survey))
}

fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    let text = if json { serde_json::to_string_pretty(report)? } else { report.render() };
    let mut out = stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).context("cannot print the report")
}

/// Leaves the nodes to whoever wants to try them, until told to stop.
fn stay(
    federation: &mut Federation,
    dir: &Path,
    survey: &Survey,
    program: &Path,
    progress: Progress,
    interrupt: &Interrupt,
) {
    if let Some(case) = survey.cases.first() {
        progress.say(&announce::invitation(dir, federation.nodes(), &case.patient, program));
    }
    while interrupt.pause(WATCH_POLL).is_ok() {
        federation.obituaries().iter().for_each(|line| progress.say(line));
    }
    progress.say("Stopping the nodes.");
    federation.stop();
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, String> {
        let words = std::iter::once("demo").chain(line.split_whitespace());
        Command::try_parse_from(words).map(|command| command.args).map_err(|e| e.to_string())
    }

    #[test]
    fn the_defaults_are_five_organizations_and_a_thousand_patients() {
        let args = parse("").unwrap();
        assert_eq!((args.orgs, args.patients, args.once), (5, 1000, false));
        assert_eq!(args.organizations().unwrap(), Organization::invent(5));
    }

    #[test]
    fn chosen_codes_name_the_organizations() {
        let organizations = parse("--ods T1,T2 --patients 1").unwrap().organizations().unwrap();
        let codes: Vec<_> = organizations.iter().map(|o| o.ods.as_str()).collect();
        assert_eq!(codes, ["T1", "T2"]);
    }

    /// As the program holds it: beside a global `--dir`, which means a node's directory elsewhere.
    #[derive(Debug, clap::Parser)]
    struct Program {
        #[arg(long, global = true)]
        dir: Option<PathBuf>,
        #[command(subcommand)]
        command: Subcommand,
    }

    #[derive(Debug, clap::Subcommand)]
    enum Subcommand {
        Demo(Args),
    }

    #[test]
    fn the_directory_is_the_demonstrations_own() {
        for (line, wanted) in [
            ("signpost demo", None),
            ("signpost demo --dir x", Some("x")),
            ("signpost --dir x demo", Some("x")),
        ] {
            let program = Program::try_parse_from(line.split(' ')).unwrap();
            let Subcommand::Demo(args) = program.command;
            assert_eq!(args.dir, wanted.map(PathBuf::from), "{line}");
        }
    }

    #[test]
    fn senseless_options_are_refused_with_the_reason() {
        for (line, reason) in [
            ("--orgs 0", "1..=20"),
            ("--orgs 21", "1..=20"),
            ("--patients 0", "1..=900000"),
            ("--patients 1000000", "1..=900000"),
            ("--ods t1", "upper-case"),
            ("--orgs 3 --ods T1", "cannot be used with"),
            ("--port-base 0", "1.."),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(reason), "{line}: {error}");
        }
        let twice = parse("--ods T1,T2,T1").unwrap().organizations().unwrap_err();
        assert!(twice.contains("T1 twice"), "{twice}");
        let codes: Vec<_> = (0..21).map(|n| format!("T{n}")).collect();
        let many = parse(&format!("--ods {}", codes.join(","))).unwrap().organizations();
        assert!(many.unwrap_err().contains("at most 20"));
    }
}
