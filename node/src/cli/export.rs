//! `signpost export`: the node's own pointers as NDJSON, as `signpost import` takes them.
//!
//! A file appears whole or not at all. What changes at the node meanwhile is in it or not,
//! according to where it stands in the order of the ids; no pointer is left out that was there
//! throughout, and none comes twice.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use flate2::{Compression, write::GzEncoder};
use indicatif::{ProgressBar, ProgressDrawTarget};

use super::{
    INTERRUPTED,
    behalf::Behalf,
    client::Client,
    text::{print, tell},
};
use crate::{atomic_file::AtomicFile, core::source::Source, interrupt::Interrupt};

/// Arguments of `signpost export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Writes every pointer of the organization that this node holds and that is not deleted, one FHIR DocumentReference a
line, with the patient's number: keep the file as safe as any patient data. Importing it at the
same node changes nothing, if each source is exported and imported for itself.

Examples:
  signpost export > pointers.ndjson
  signpost export --source PAS --output pas.ndjson.gz")]
pub(super) struct Args {
    /// Only the pointers of this source.
    #[arg(long, value_name = "NAME")]
    source: Option<Source>,
    /// The file to write, gzipped if its name ends in .gz; else standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    behalf: Behalf,
}

/// Runs the command.
pub(super) fn command(dir: &Path, args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    let client = Client::open(dir, &args.behalf)?;
    let Some(path) = &args.output else {
        let mut out = io::stdout().lock();
        let written = pages(&client, args, &Interrupt::default(), json, &mut out);
        let written = written.and_then(|count| Ok(out.flush().map(|()| count)?));
        return match written {
            // A reader that has gone away (`| head`) has had enough.
            Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
            other => other.map(|_| ExitCode::SUCCESS),
        };
    };
    let interrupt = Interrupt::on_signals_then_exit(INTERRUPTED.into())?;
    let at = || format!("cannot write {}", path.display());
    let mut file = AtomicFile::create(path).with_context(at)?;
    let count = match path.extension().is_some_and(|extension| extension == "gz") {
        false => pages(&client, args, &interrupt, json, &mut file),
        true => {
            let mut gz = GzEncoder::new(&mut file, Compression::default());
            let count = pages(&client, args, &interrupt, json, &mut gz);
            count.and_then(|count| Ok(gz.finish().map(|_| count)?))
        }
    };
    if interrupt.check().is_err() {
        tell("interrupted: no file was written");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let count = count.with_context(at)?;
    file.commit().with_context(at)?;
    print(&match json {
        true => serde_json::json!({ "exported": count }).to_string(),
        false => format!("{count} pointers were exported"),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Writes all pages; returns how many lines they had. Stops between two when told to.
fn pages(
    client: &Client,
    args: &Args,
    interrupt: &Interrupt,
    json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<u64> {
    let target = if json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(None, target);
    let (mut after, mut count) = (None::<String>, 0);
    while interrupt.check().is_ok() {
        // Names of sources and ids need no encoding.
        let source = args.source.iter().map(|source| format!("source={source}"));
        let query: Vec<_> = source.chain(after.map(|after| format!("after={after}"))).collect();
        let reply = client.get(&format!("/signpost/v1/export?{}", query.join("&")))?;
        out.write_all(reply.body.as_bytes())?;
        count += reply.body.lines().count() as u64;
        bar.set_position(count);
        after = reply.next;
        if after.is_none() {
            break;
        }
    }
    bar.finish_and_clear();
    Ok(count)
}
