//! `signpost roster export` and `import`: rosters and statements travel by file.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use serde_json::json;

use super::{
    fail,
    govern::lines_printable,
    handed::{self, Handed},
    source::{Outcome, Source},
    words::count,
};
use crate::cli::{
    PARTLY,
    text::{fingerprint, fingerprint_words, print},
};

/// Refused statements that are named one by one.
const NAMED_MAX: usize = 20;

/// Arguments of `signpost roster export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file holds everything that a node needs to know of the network, and nothing secret. Whoever gets
it checks it with `signpost roster verify`, and the network's words with somebody he knows.

Examples:
  signpost roster export roster.cbor")]
pub(super) struct ExportArgs {
    /// Where to write it.
    #[arg(value_name = "FILE")]
    path: PathBuf,
}

/// Arguments of `signpost roster import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Takes a roster of this network, what `approve --out` or `object --out` wrote, or a single statement.
The node checks each statement as if a stranger had sent it; one that does not hold does not keep out
the others. With --file there is no node: --out names the file for both together.

Exit code: 0 when everything was taken up or known, 3 when some was not.

Examples:
  signpost roster import roster.cbor
  signpost roster import approval.cbor
  signpost roster --file roster.cbor import approval.cbor --out newer.cbor")]
pub(super) struct ImportArgs {
    /// A roster file, or a statement.
    #[arg(value_name = "FILE")]
    path: PathBuf,
    /// With --file: where to write both together.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs `signpost roster export`.
pub(super) fn export(
    source: &Source,
    args: &ExportArgs,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let bytes = source.bytes()?;
    let view = source.view()?;
    handed::write(&args.path, &bytes)?;
    let network = view.roster.network();
    let words = fingerprint_words(network.as_bytes());
    let members = view.roster.members().count();
    print(&if as_json {
        json!({
            "file": args.path,
            "network": network.to_string(),
            "network_words": words,
            "statements": view.statements.len(),
            "members": members,
            "digest": view.roster.digest().to_string(),
        })
        .to_string()
    } else {
        lines_printable(&format!(
            "Wrote {}: {} with {}, of {}.\n  {words}\n  {}\nNext: whoever gets it runs `signpost \
             roster verify {0}`, and has these words read out by somebody he knows.",
            args.path.display(),
            count(view.statements.len() as u64, "statement"),
            count(members as u64, "member"),
            view.roster.name(),
            fingerprint(&network.to_string())
        ))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `signpost roster import`.
pub(super) fn import(
    source: &Source,
    args: &ImportArgs,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let view = source.view()?;
    let handed = Handed::read(&args.path, &view.roster.network())?;
    if handed.draft.is_some() {
        return Err(fail(
            format!("{} holds a proposal that no steward has signed", args.path.display()),
            "a steward reads it (`signpost roster review FILE`) and signs it (`signpost roster \
             approve FILE`)",
        ));
    }
    let outcomes = match (source, &args.out) {
        (Source::Node(_), None) => source.submit(view.statements.founding(), handed.statements)?,
        (Source::Node(_), Some(_)) => {
            return Err(fail(
                "--out needs --file: a running node keeps what it takes up itself".to_owned(),
                "write the node's roster to a file with `signpost roster export`",
            ));
        }
        (Source::File(_), None) => {
            return Err(fail(
                "with --file there is no node to take the statements up".to_owned(),
                "name the file for both together with --out",
            ));
        }
        (Source::File(_), Some(out)) => merge(view, handed.statements, out)?,
    };
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for outcome in &outcomes {
        *counts.entry(outcome.outcome.as_str()).or_default() += 1;
    }
    let of = |what: &str| counts.get(what).copied().unwrap_or(0);
    let refused: Vec<&Outcome> =
        outcomes.iter().filter(|outcome| outcome.outcome == "refused").collect();
    if as_json {
        let refused = refused.iter().map(|o| json!({"statement": o.statement, "reason": o.reason}));
        let refused: Vec<_> = refused.collect();
        let value = json!({
            "new": of("new"), "known": of("known"), "waits": of("waits"), "refused": refused,
        });
        print(&value.to_string())?;
    } else {
        let mut text = format!(
            "{}: {} new, {} known already, {} waiting for others, {} refused.\n",
            count(outcomes.len() as u64, "statement"),
            of("new"),
            of("known"),
            of("waits"),
            refused.len()
        );
        for outcome in refused.iter().take(NAMED_MAX) {
            text += &format!(
                "refused: {} {}: {}\n",
                outcome.kind.as_deref().unwrap_or("something"),
                outcome.statement.get(..8).unwrap_or_default(),
                outcome.reason.as_deref().unwrap_or("without a reason")
            );
        }
        text += match (refused.is_empty(), of("waits"), of("new")) {
            (false, ..) => "Next: `signpost roster verify FILE` says what does not hold.",
            (_, 1.., _) => "Next: import the roster that the waiting ones were made with.",
            (_, 0, 1..) => "Next: `signpost roster log` shows what is decided and what is open.",
            _ => "Nothing in it was new.",
        };
        print(&lines_printable(&text))?;
    }
    Ok(match refused.is_empty() && of("waits") == 0 {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(PARTLY),
    })
}

/// Takes statements up into a roster file.
fn merge(
    view: super::view::View,
    mut statements: Vec<Vec<u8>>,
    out: &std::path::Path,
) -> anyhow::Result<Vec<Outcome>> {
    signpost_keys::roster::in_order(&mut statements);
    let mut all = view.statements;
    let outcomes = statements
        .iter()
        .map(|bytes| {
            let (outcome, reason) = match all.take(bytes, view.now) {
                Ok(taken) if taken.waits => ("waits", None),
                Ok(taken) if taken.new.is_empty() => ("known", None),
                Ok(_) => ("new", None),
                Err(error) => ("refused", Some(error.to_string())),
            };
            let kind = signpost_protocol::statement::Envelope::kind_of(bytes);
            Outcome {
                statement: signpost_protocol::statement::statement_hash(bytes).to_string(),
                kind: kind.map(|kind| kind.name().to_owned()),
                outcome: outcome.to_owned(),
                reason,
            }
        })
        .collect();
    handed::write(out, &all.write())?;
    Ok(outcomes)
}
