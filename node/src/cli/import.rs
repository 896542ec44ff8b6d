//! `signpost import`: brings the pointers of a file to the running node, line by line, and
//! accounts for every one of them.
//!
//! What the node acknowledged is durable there, and importing it again changes nothing. So the
//! answer to every interruption is the same: run the command again.

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Deserialize;
use serde_json::json;

use super::{
    PARTLY,
    client::{Client, ClientError},
    error,
    input::{Items, LINE_BYTES_MAX, Place},
    text::{print, printable, tell},
};
use crate::core::local::{Effect, WRITES_PER_REQUEST_MAX};

/// Bytes of one request: the node accepts 4 MiB; a last line of full length still fits.
const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024 - LINE_BYTES_MAX - 1024;
/// The first pause before lines are sent again for which the node was too busy; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest of these pauses: a node that recovers is noticed within this.
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// How long one request is tried in pauses: an evaluator's restart takes less; longer needs a person.
const PAUSES_MAX: Duration = Duration::from_secs(60);

/// Arguments of `signpost import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A FILE is a FHIR DocumentReference, a Bundle of them, or NDJSON (one a line), plain or gzipped;
which it is follows from its content. A resource with an id keeps it. Importing the same content
again changes nothing, so after an interruption simply run the same command again.

Exit code: 0 when all was imported, 3 when some of it was, 1 when nothing was.

Examples:
  signpost import pointers.ndjson.gz
  signpost import --json bundle.json letters/*.json
  zcat export.gz | signpost import -")]
pub(super) struct Args {
    /// Files to import; - reads standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Runs the command.
pub(super) fn command(dir: &Path, args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    let client = Client::open(dir)?;
    let mut sources = Vec::new();
    for file in &args.files {
        if file.as_os_str() != "-" {
            // A misspelt name is noticed before anything is imported.
            let size =
                std::fs::metadata(file).and_then(|meta| File::open(file).map(|_| meta.len()));
            sources.push((file, size.with_context(|| format!("cannot read {}", file.display()))?));
        } else {
            sources.push((file, 0));
        }
    }
    let bar = progress(sources.iter().map(|(_, size)| size).sum(), json);
    let mut node = HttpNode(&client);
    let mut report = Report { bar: bar.clone(), json };
    let mut refused = |place: &Place, fault: &Fault| report.refused(place, fault);
    let mut pause = std::thread::sleep;
    let mut importer = Importer::new(&mut node, &mut refused, &mut pause);
    let outcome = sources.iter().try_for_each(|(file, _)| {
        let name = file.display().to_string();
        let source: Box<dyn Read> = if name == "-" {
            Box::new(io::stdin().lock())
        } else {
            let opened = File::open(file).with_context(|| format!("cannot read {name}"))?;
            Box::new(bar.wrap_read(opened))
        };
        let name = if name == "-" { "stdin" } else { &name };
        importer.items(Items::new(name, source)).map_err(anyhow::Error::from)
    });
    let outcome = outcome.and_then(|()| importer.flush().map_err(anyhow::Error::from));
    let tally = importer.tally;
    bar.finish_and_clear();
    if let Err(error) = outcome {
        if tally.acknowledged() == 0 {
            return Err(error);
        }
        error::report(&error.context(tally.interrupted()), json);
        print(&if json { tally.json(true) } else { tally.text() })?;
        return Ok(ExitCode::from(PARTLY));
    }
    print(&if json { tally.json(false) } else { tally.text() })?;
    Ok(match (tally.refused, tally.acknowledged()) {
        (0, _) => ExitCode::SUCCESS,
        (_, 0) => ExitCode::FAILURE,
        _ => ExitCode::from(PARTLY),
    })
}

/// A bar over the bytes of the files; over time only when the size is unknown. Hidden without a terminal.
fn progress(bytes: u64, json: bool) -> ProgressBar {
    let target = if json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    if bytes == 0 {
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(style("{spinner} {elapsed} {msg}"));
        return bar;
    }
    let bar = ProgressBar::with_draw_target(Some(bytes), target);
    bar.set_style(style("{bar:30} {bytes}/{total_bytes} {eta} left"));
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are constants and well formed")
}

/// Why one line is not imported, in the node's words or ours.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Fault {
    /// A FHIR issue type.
    code: String,
    diagnostics: String,
    /// Whether the line may be accepted later as it is.
    #[serde(default)]
    retry: bool,
}

/// What became of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Done(Effect),
    Refused(Fault),
}

/// Takes lines.
trait Node {
    /// One outcome for each line, in their order.
    fn import(&mut self, lines: &[&str]) -> Result<Vec<Outcome>, ClientError>;
}

struct HttpNode<'a>(&'a Client);

impl Node for HttpNode<'_> {
    fn import(&mut self, lines: &[&str]) -> Result<Vec<Outcome>, ClientError> {
        let body = lines.join("\n") + "\n";
        let reply = self.0.post("/signpost/v1/import", "application/x-ndjson", &body, &[])?;
        outcomes(&reply.json::<Results>()?, lines.len())
    }
}

#[derive(Deserialize)]
struct Results {
    results: Vec<ResultOfLine>,
}

#[derive(Deserialize)]
struct ResultOfLine {
    effect: Option<Effect>,
    error: Option<Fault>,
}

fn outcomes(reply: &Results, lines: usize) -> Result<Vec<Outcome>, ClientError> {
    let garbled = || ClientError::Garbled("not one result for each line".to_owned());
    let outcomes: Vec<_> = reply
        .results
        .iter()
        .map(|result| match result {
            ResultOfLine { effect: Some(effect), error: None } => Ok(Outcome::Done(*effect)),
            ResultOfLine { effect: None, error: Some(fault) } => {
                Ok(Outcome::Refused(fault.clone()))
            }
            _ => Err(garbled()),
        })
        .collect::<Result<_, _>>()?;
    if outcomes.len() == lines { Ok(outcomes) } else { Err(garbled()) }
}

/// Why an import stopped before its end.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    /// The node cannot be reached, or its reply makes no sense.
    #[error("{0}")]
    Client(#[from] ClientError),
    /// The node stayed busy.
    #[error("the node could take no more for {} seconds: {}", PAUSES_MAX.as_secs(), .0.diagnostics)]
    Busy(Fault),
}

/// How many resources met which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    created: u64,
    updated: u64,
    unchanged: u64,
    refused: u64,
}

impl Tally {
    const fn acknowledged(&self) -> u64 {
        self.created + self.updated + self.unchanged
    }

    fn count(&mut self, effect: Effect) {
        match effect {
            Effect::Created => self.created += 1,
            Effect::Updated | Effect::Deleted => self.updated += 1,
            Effect::Unchanged => self.unchanged += 1,
        }
    }

    fn text(&self) -> String {
        let Self { created, updated, unchanged, refused } = self;
        format!("{created} created, {updated} updated, {unchanged} unchanged, {refused} refused")
    }

    fn json(&self, interrupted: bool) -> String {
        let Self { created, updated, unchanged, refused } = self;
        json!({
            "created": created, "updated": updated, "unchanged": unchanged, "refused": refused,
            "interrupted": interrupted,
        })
        .to_string()
    }

    fn interrupted(&self) -> error::Hinted {
        error::Hinted {
            message: format!(
                "the import stopped after {} pointers were acknowledged",
                self.acknowledged()
            ),
            hint: "run the same command again once this is mended: that is safe, because what was \
                   acknowledged is kept and the same content changes nothing"
                .to_owned(),
        }
    }
}

/// Gathers lines into requests and accounts for the outcomes.
struct Importer<'a> {
    node: &'a mut dyn Node,
    refused: &'a mut dyn FnMut(&Place, &Fault),
    pause: &'a mut dyn FnMut(Duration),
    chunk: Vec<(Place, String)>,
    chunk_bytes: usize,
    tally: Tally,
}

impl<'a> Importer<'a> {
    fn new(
        node: &'a mut dyn Node,
        refused: &'a mut dyn FnMut(&Place, &Fault),
        pause: &'a mut dyn FnMut(Duration),
    ) -> Self {
        Self { node, refused, pause, chunk: Vec::new(), chunk_bytes: 0, tally: Tally::default() }
    }

    fn items(&mut self, items: Items<'_>) -> Result<(), Interruption> {
        for item in items {
            match item.line {
                Ok(line) => {
                    self.chunk_bytes += line.len() + 1;
                    self.chunk.push((item.place, line));
                }
                Err(error) => {
                    let diagnostics = error.to_string();
                    let fault = Fault { code: "structure".to_owned(), diagnostics, retry: false };
                    self.refuse(&item.place, &fault);
                }
            }
            if self.chunk.len() == WRITES_PER_REQUEST_MAX || self.chunk_bytes >= REQUEST_BYTES_MAX {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn refuse(&mut self, place: &Place, fault: &Fault) {
        self.tally.refused += 1;
        (self.refused)(place, fault);
    }

    /// Sends what was gathered, and again what the node was too busy for.
    fn flush(&mut self) -> Result<(), Interruption> {
        self.chunk_bytes = 0;
        let mut chunk = std::mem::take(&mut self.chunk);
        let mut pause = PAUSE_MIN;
        let mut paused = Duration::ZERO;
        while !chunk.is_empty() {
            let lines: Vec<_> = chunk.iter().map(|(_, line)| line.as_str()).collect();
            let outcomes = match self.node.import(&lines) {
                Err(error) if error.is_busy() => {
                    let code = "transient".to_owned();
                    let fault = Fault { code, diagnostics: error.to_string(), retry: true };
                    vec![Outcome::Refused(fault); lines.len()]
                }
                reply => reply?,
            };
            let mut again = Vec::new();
            let mut busy = None;
            for ((place, line), outcome) in chunk.into_iter().zip(outcomes) {
                match outcome {
                    Outcome::Done(effect) => self.tally.count(effect),
                    Outcome::Refused(fault) if fault.retry => {
                        busy = Some(fault);
                        again.push((place, line));
                    }
                    Outcome::Refused(fault) => self.refuse(&place, &fault),
                }
            }
            if let Some(fault) = busy {
                if paused >= PAUSES_MAX {
                    return Err(Interruption::Busy(fault));
                }
                (self.pause)(pause);
                paused += pause;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            chunk = again;
        }
        Ok(())
    }
}

/// Says which lines were refused.
struct Report {
    bar: ProgressBar,
    json: bool,
}

impl Report {
    fn refused(&mut self, place: &Place, fault: &Fault) {
        self.bar.suspend(|| {
            if !self.json {
                tell(&refused_text(place, fault));
            } else if let Err(error) = print(&refused_json(place, fault)) {
                // The import goes on: what is lost of the report can be had by running it again.
                tell(&format!("cannot write the report: {error}"));
            }
        });
    }
}

fn refused_text(place: &Place, fault: &Fault) -> String {
    printable(&format!("{place}: {}", fault.diagnostics))
}

fn refused_json(place: &Place, fault: &Fault) -> String {
    json!({
        "file": place.file, "line": place.line, "entry": place.entry,
        "code": fault.code, "error": fault.diagnostics,
    })
    .to_string()
}
