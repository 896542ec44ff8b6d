//! `signpost roster verify`: everything checked anew, from the founding on.

use std::{path::PathBuf, process::ExitCode};

use serde_json::json;
use signpost_protocol::limits;

use super::{
    fail,
    govern::lines_printable,
    handed,
    show::findings,
    source::Source,
    view::Reading,
    words::{self, count},
};
use crate::{
    cli::{
        PARTLY,
        text::{fingerprint, fingerprint_words, print},
    },
    runtime::wall_clock,
};

/// Arguments of `signpost roster verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Checks every signature and rule, as a node does when it takes statements up; nothing is believed for
having been stored. The network's fingerprint words are what an admin of another member has to read
out to you: a roster of an invented network holds as well.

Exit code: 0 when everything holds, 3 when it does but people should look into something, 1 when
something does not hold.

Examples:
  signpost roster verify
  signpost roster verify roster.cbor")]
pub(super) struct Args {
    /// A roster file; the running node's roster otherwise.
    #[arg(value_name = "FILE")]
    path: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn command(
    source: impl FnOnce() -> anyhow::Result<Source>,
    args: &Args,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let bytes = match &args.path {
        Some(path) => handed::read(path, limits::ROSTER_FILE_BYTES_MAX)?,
        None => source()?.bytes()?,
    };
    let started = std::time::Instant::now();
    let reading = Reading::of(&bytes, None, wall_clock())?;
    let took = started.elapsed();
    let view = &reading.view;
    let found = findings(view);
    let network = view.roster.network();
    let kept: usize = reading.counts.values().sum();
    if as_json {
        let value = json!({
            "network": network.to_string(),
            "network_words": fingerprint_words(network.as_bytes()),
            "digest": view.roster.digest().to_string(),
            "statements": reading.counts,
            "expired": reading.void,
            "faults": reading.faults,
            "findings": found,
            "milliseconds": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        });
        print(&value.to_string())?;
    } else {
        let mut lines = vec![
            format!("network    {}", view.roster.name()),
            format!("           {}", fingerprint_words(network.as_bytes())),
            format!("           {}", fingerprint(&network.to_string())),
            format!("holds      {} in {} ms", count(kept as u64, "statement"), took.as_millis()),
        ];
        for (kind, number) in &reading.counts {
            lines.push(format!("           {number} {kind}"));
        }
        if reading.void > 0 {
            lines.push(format!("expired    {}", count(reading.void as u64, "approval")));
        }
        lines.push(format!("digest     {}", fingerprint(&view.roster.digest().to_string()[..16])));
        lines.push(format!("fresh      {}", words::freshness(view)));
        lines.extend(found.iter().map(|finding| format!("LOOK INTO  {finding}")));
        lines.extend(reading.faults.iter().map(|fault| format!("DOES NOT HOLD  {fault}")));
        print(&lines_printable(&lines.join("\n")))?;
    }
    match (reading.faults.len(), found.is_empty()) {
        (0, true) => Ok(ExitCode::SUCCESS),
        (0, false) => Ok(ExitCode::from(PARTLY)),
        (faults, _) => Err(fail(
            format!(
                "{} of the roster not hold",
                if faults == 1 { "1 part does".to_owned() } else { format!("{faults} parts do") }
            ),
            "get the roster anew from another member (`signpost roster export`)",
        )),
    }
}
