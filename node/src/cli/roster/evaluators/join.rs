//! `signpost evaluators ceremony join`: has the node that runs here take part.

use std::{path::Path, process::ExitCode};

use serde_json::json;
use signpost_keys::{blinding::ceremony::MessageKind, roster::Ceremony};

use super::{
    super::{
        fail,
        govern::lines_printable,
        source::Source,
        words::{name, short},
    },
    plan,
};
use crate::{
    cli::{
        behalf::Behalf,
        confirm::confirm,
        text::{print, tell},
    },
    setup::organization_of,
};

/// Arguments of `signpost evaluators ceremony join`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The node does the rest by itself, and goes on where it was after a restart; the share that comes of it
is kept, sealed, in the node's own store. Compare what is shown with what the stewards have told you.

Examples:
  signpost evaluators ceremony join
  signpost evaluators ceremony join 3fa9c1 --yes")]
pub(super) struct Args {
    /// The ceremony, by the first six or more digits of its id [default: the only one to join].
    #[arg(value_name = "ID")]
    ceremony: Option<String>,
    /// Asks no questions: for scripts.
    #[arg(long)]
    yes: bool,
    /// Shows what it would join, and joins nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub(super) fn command(
    dir: &Path,
    behalf: &Behalf,
    source: &Source,
    args: &Args,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let view = source.view()?;
    let own = organization_of(&behalf.folder(dir)?)?;
    let has_part = |one: &Ceremony| one.dealer(&own).is_some() || one.receiver(&own).is_some();
    // Where this node has confirmed already, nothing is left to join.
    let waits = |one: &Ceremony| {
        let mut sent = one.messages().filter(|(_, message)| message.organization == own);
        has_part(one) && !sent.any(|((kind, ..), _)| kind == MessageKind::Confirmation)
    };
    let (id, ceremony) = super::find(&view, args.ceremony.as_deref(), waits)?;
    if !has_part(ceremony) {
        return Err(fail(
            format!("{} has no part in ceremony {}", name(&view, &own), short(&id)),
            "`signpost evaluators ceremony status` says who has",
        ));
    }
    let words = plan::words(&view, ceremony.call());
    let caller = name(&view, &ceremony.call().steward);
    let text = format!("Ceremony {}, called by {caller}:\n{words}", short(&id));
    if args.dry_run {
        print(&lines_printable(&format!("{text}Dry run: nothing was joined.\n")))?;
        return Ok(ExitCode::SUCCESS);
    }
    tell(&lines_printable(&text));
    if !args.yes {
        confirm("Take part?", None, "nothing was joined")?;
    }
    source.join_ceremony(&id)?;
    let next = format!(
        "the node does the rest; `signpost evaluators ceremony status {}` says how far it has come.",
        short(&id)
    );
    let report = json!({ "ceremony": id.to_string(), "joined": true, "next": next });
    let done =
        format!("{} takes part in ceremony {}.\nNext: {next}\n", name(&view, &own), short(&id));
    print(&if json { report.to_string() } else { lines_printable(&done) })?;
    Ok(ExitCode::SUCCESS)
}
