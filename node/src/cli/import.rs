//! `signpost import`: brings the pointers of files to the running node, line by line, and accounts
//! for every one of them.
//!
//! What the node acknowledged is durable there, and importing it again changes nothing. So the
//! answer to every interruption is the same: run the command again.

mod inputs;
mod node;
mod pipeline;
mod replace;
mod report;
mod seen;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use self::{
    inputs::Input,
    node::{HttpNode, Outcome},
    pipeline::{Interruption, Pipeline, Sending, Settled},
    report::{Report, Tally, progress},
    seen::{Position, Seen},
};
use super::{
    INTERRUPTED, PARTLY,
    behalf::Behalf,
    client::Client,
    error,
    input::{Additions, CsvOptions, DocumentUrl, Items, Options},
};
use crate::{core::source::Source, fhir::identifier::Custodian, interrupt::Interrupt};

/// Arguments of `signpost import`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
A FILE is a FHIR DocumentReference, a Bundle of them, NDJSON (one a line) or CSV with a header,
plain or gzipped; which it is follows from its content. A resource with an id keeps it. Importing
the same content again changes nothing, so after an interruption (also Ctrl-C) simply run the same
command again. docs/import.md has the formats, the CSV columns and the nightly job.

Exit code: 0 when all was imported, 3 when some of it was, 1 when nothing was, 130 after Ctrl-C.

Examples:
  signpost import pointers.ndjson.gz
  signpost import --json bundle.json letters/*.json
  zcat export.gz | signpost import -
  signpost import --replace --source PAS --dry-run extract.csv
      Says what a nightly extract would change. Without --dry-run it says so, and then does it.
  signpost import --source LAB --map lab.toml --custodian RX1 lab.csv
  signpost import --custodian RX1 --document-url 'https://records.example/{id}' synthea.json")]
pub(super) struct Args {
    /// Files to import; - reads standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The producer system that the pointers come from: letters, digits, dots, hyphens, underscores.
    #[arg(long, value_name = "NAME", default_value_t)]
    source: Source,
    /// Also deletes what the source has here and the files lack. Says first what will happen.
    #[arg(long)]
    replace: bool,
    /// Says what would happen, and writes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Lets --replace delete more than half of a source, or all of it.
    #[arg(long, requires = "replace")]
    allow_mass_delete: bool,
    /// The custodian of records that name none: its ODS code.
    #[arg(long, value_name = "CODE", value_parser = Custodian::parse)]
    custodian: Option<Custodian>,
    /// Where a record is to be had that stands in the resource itself; {id} is the record's id.
    #[arg(long, value_name = "URL")]
    document_url: Option<DocumentUrl>,
    /// How the columns of a CSV file are to be understood (TOML, see docs/import.md).
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// Leaves out CSV columns that have no meaning here.
    #[arg(long)]
    ignore_unknown_columns: bool,
    #[command(flatten)]
    behalf: Behalf,
}

/// Runs the command.
pub(super) fn command(dir: &Path, args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    run(dir, args, json, &Interrupt::on_signals_then_exit(INTERRUPTED.into())?)
}

fn run(dir: &Path, args: &Args, json: bool, interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
    let client = Client::open(dir, &args.behalf)?;
    let options = Options {
        additions: Additions {
            custodian: args.custodian.clone(),
            document_url: args.document_url.clone(),
        },
        csv: CsvOptions::read(args.map.as_deref(), args.ignore_unknown_columns)?,
    };
    let twice = args.replace && !args.dry_run;
    let inputs = args.files.iter().map(|file| Input::new(file, twice));
    let inputs = inputs.collect::<anyhow::Result<Vec<_>>>()?;
    let bytes = inputs.iter().map(|input| input.size).sum::<u64>();
    let report = Report { bar: progress(if twice { bytes * 2 } else { bytes }, json), json };
    let node = HttpNode { client: &client, source: &args.source };
    let import = Import { args, options: &options, inputs: &inputs, node, report, interrupt };
    let outcome = match args.replace || args.dry_run {
        true => import.in_two_passes(),
        false => import.in_one_pass(),
    };
    import.report.bar.finish_and_clear();
    outcome
}

/// One run of the command.
struct Import<'a> {
    args: &'a Args,
    options: &'a Options,
    inputs: &'a [Input],
    node: HttpNode<'a>,
    report: Report,
    interrupt: &'a Interrupt,
}

/// What came of reading all files once.
struct Pass {
    tally: Tally,
    /// Why it ended early.
    outcome: Result<(), Interruption>,
    /// Lines that were sent and not answered.
    unknown: usize,
    /// Lines that were refused.
    refused: HashSet<Position>,
    /// SHA-256 of each file that was read to its end.
    hashes: Vec<[u8; 32]>,
    /// Files that changed while they were read.
    changed: Vec<String>,
}

impl Import<'_> {
    fn in_one_pass(&self) -> anyhow::Result<ExitCode> {
        let Pass { tally, outcome, unknown, changed, .. } =
            self.pass(false, Some(&mut Seen::default()), &HashSet::new());
        for name in &changed {
            self.report.note(&format!(
                "{name} changed while it was read: what was read of it was imported, and may be \
                 neither its old content nor its new one. Import it again."
            ));
        }
        let code = self.end(&tally, outcome, unknown)?;
        let steady = changed.is_empty() || code != ExitCode::SUCCESS;
        Ok(if steady { code } else { ExitCode::from(PARTLY) })
    }

    /// Reads all files and sends every line. What stands in `reported` was said before.
    fn pass(
        &self,
        dry_run: bool,
        mut seen: Option<&mut Seen>,
        reported: &HashSet<Position>,
    ) -> Pass {
        let (mut tally, mut skipped) = (Tally::default(), 0);
        let (mut hashes, mut changed) = (Vec::new(), Vec::new());
        let mut refused = HashSet::new();
        let mut positions = Seen::default();
        let mut sink = |settled: Settled| {
            let Settled { place, text_hash, outcome } = settled;
            match outcome {
                Outcome::Refused(fault) => {
                    tally.refused += 1;
                    let position = positions.position(&place);
                    if !reported.contains(&position) {
                        self.report.refused(&place, &fault);
                    }
                    refused.insert(position);
                }
                Outcome::Done { effect, id } => {
                    let repeat = seen.as_mut().and_then(|seen| seen.note(&id, &place, text_hash));
                    if let Some(repeat) = repeat.as_ref().filter(|repeat| !repeat.same) {
                        self.report.repeated(&place, &repeat.before);
                    }
                    tally.count(match repeat {
                        // A node that writes nothing does not know the line before.
                        Some(repeat) if dry_run => repeat.effect(),
                        _ => effect,
                    });
                }
            }
        };
        let pause = self.pause();
        let sending = Sending { node: &self.node, pause: &pause, dry_run };
        let (outcome, unknown) = std::thread::scope(|scope| {
            let mut pipeline = Pipeline::new(scope, sending, &mut sink);
            let outcome = self.inputs.iter().try_for_each(|input| {
                let name = || input.name.clone();
                let file = |source| Interruption::File { name: name(), source };
                let (source, watch) = input.open().map_err(file)?;
                let source = self.report.bar.wrap_read(source);
                let mut items = Items::new(&input.name, source, self.options);
                let read = items.by_ref().try_for_each(|item| {
                    self.interrupt.check().map_err(|_| Interruption::Signal)?;
                    pipeline.push(item)
                });
                skipped += items.skipped();
                drop(items);
                read?;
                let reading = watch.end();
                hashes.push(reading.hash);
                if !reading.steady {
                    changed.push(name());
                }
                Ok(())
            });
            pipeline.finish(outcome)
        });
        // Ctrl-C may have ended the other side of a pipe as well, which looks like the end of a file.
        let outcome =
            outcome.and_then(|()| self.interrupt.check().map_err(|_| Interruption::Signal));
        tally.skipped = skipped;
        Pass { tally, outcome, unknown, refused, hashes, changed }
    }

    /// Waits, or says that it is time to stop.
    fn pause(&self) -> impl Fn(Duration) -> bool + Sync {
        let interrupt = self.interrupt.clone();
        move |duration| interrupt.pause(duration).is_ok()
    }

    /// Says the sum, and why it is not all.
    fn end(
        &self,
        tally: &Tally,
        outcome: Result<(), Interruption>,
        unknown: usize,
    ) -> anyhow::Result<ExitCode> {
        let interrupted = outcome.is_err();
        let mut code = tally.exit_code();
        if let Err(why) = outcome {
            let signal = matches!(why, Interruption::Signal);
            let hinted = tally.interrupted(&why, unknown);
            let error = anyhow::Error::from(why);
            if tally.acknowledged() == 0 && unknown == 0 && !signal {
                return Err(error);
            }
            self.said(&error.context(hinted), 0)?;
            code = ExitCode::from(if signal { INTERRUPTED } else { PARTLY });
        }
        self.report.result(&tally.text(self.args.replace), || {
            let mut value = tally.json();
            value["interrupted"] = interrupted.into();
            value
        })?;
        Ok(code)
    }

    /// Reports an error that is not the last word.
    fn said(&self, error: &anyhow::Error, code: u8) -> anyhow::Result<ExitCode> {
        self.report.bar.suspend(|| error::report(error, self.report.json));
        Ok(ExitCode::from(code))
    }
}

impl Tally {
    fn exit_code(&self) -> ExitCode {
        match (self.refused, self.acknowledged()) {
            (0, _) => ExitCode::SUCCESS,
            (_, 0) => ExitCode::FAILURE,
            _ => ExitCode::from(PARTLY),
        }
    }
}
