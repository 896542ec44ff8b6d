//! `signpost roster review` and `approve`: what a proposal says, and a steward's signature under it.

use std::{path::Path, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use signpost_protocol::{ContentHash, codec, roster::Proposal};

use super::{
    change::{Words, objection},
    fail,
    govern::{self, Act, Signing, describe, lines_printable, next_step},
    handed::Handed,
    source::Source,
    tally,
    view::View,
    words::{self, counts, name, names, short, time},
};
use crate::cli::text::print;

/// Arguments of `signpost roster review`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Signs nothing. An id may be cut to its first six digits.

Examples:
  signpost roster review 3fa9c1
  signpost roster review proposal-3fa9c1d2.cbor
  signpost roster --file roster.cbor review 3fa9c1")]
pub(super) struct ReviewArgs {
    /// The id of a proposal, or a file that holds one.
    #[arg(value_name = "ID|FILE")]
    proposal: String,
}

/// Arguments of `signpost roster approve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Shows the proposal and asks before it signs; the passphrase opens the govern keystore. An approval
cannot be taken back: a steward that approves two proposals for the same version contradicts itself
in public, so this refuses to.

Examples:
  signpost roster approve 3fa9c1
  signpost roster approve 3fa9c1 --dry-run
  signpost roster approve proposal-3fa9c1d2.cbor
  signpost roster --file roster.cbor approve 3fa9c1 --govern /media/key/govern.keystore \\
      --passphrase-file /media/key/passphrase --out approval.cbor")]
pub(super) struct ApproveArgs {
    /// The id of a proposal, or a file that holds one.
    #[arg(value_name = "ID|FILE")]
    proposal: String,
    #[command(flatten)]
    pub(super) signing: Signing,
}

/// A proposal that a person has named.
struct Found {
    /// The roster, with what the file holds.
    view: View,
    id: ContentHash,
    proposal: Proposal,
    /// Statements of the file that the roster did not have.
    new: Vec<Vec<u8>>,
}

/// Runs `signpost roster review`.
pub(super) fn review(source: &Source, args: &ReviewArgs, json: bool) -> anyhow::Result<ExitCode> {
    let Found { view, id, proposal, .. } = find(source.view()?, &args.proposal)?;
    let words = Words::of(&view, &id, &proposal);
    if json {
        let mut value = describe(&view, &id, &words);
        value["next"] = next_step(&view, &id, None).into();
        print(&value.to_string())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = format!("Proposal {id}\n{}", words.text());
    text += &approvals(&view, &id, &proposal);
    for protest in view.statements.objections_to(&id) {
        text += &format!("{}\n", objection(&view, protest));
    }
    let next = match view.law.proposal(&id) {
        Some(_) => next_step(&view, &id, None),
        None => format!("a steward approves it: `signpost roster approve {}`.", args.proposal),
    };
    text += &format!("State: {}.\nNext: {next}\n", words::state(&view, &id));
    print(&lines_printable(&text))?;
    Ok(ExitCode::SUCCESS)
}

/// Who has approved, and whose approval would still count.
fn approvals(view: &View, id: &ContentHash, proposal: &Proposal) -> String {
    let mut text = String::new();
    if let Some(decision) = view.law.proposal(id) {
        for (steward, at, how) in &decision.approvals {
            text +=
                &format!("Approved by {} at {}{}.\n", name(view, steward), time(*at), counts(how));
        }
    }
    for group in tally::groups(view, id, proposal) {
        text += &format!(
            "Of {} {} of {} needed have approved; not yet: {}.\n",
            group.label,
            group.approved.len(),
            group.needed,
            names(view, &group.others)
        );
    }
    text
}

/// Runs `signpost roster approve`.
pub(super) fn approve(act: &Act<'_>, args: &ApproveArgs) -> anyhow::Result<ExitCode> {
    act.check_way_out()?;
    let found = find(act.source.view()?, &args.proposal)?;
    let key = act.govern_key()?;
    let bytes = codec::encode(&found.proposal);
    // Proposals are read in their one deterministic form, so this is what others approve.
    if ContentHash::of(&bytes) != found.id {
        return Err(fail(
            format!(
                "proposal {} is spelt in a way that this version does not write",
                short(&found.id)
            ),
            "approve it with the version of Signpost that wrote it",
        ));
    }
    govern::approve(act, &found.view, &key, &bytes, &found.proposal, found.new)
}

/// The proposal that a text names: one that is known by its id, else one in a file.
fn find(view: View, text: &str) -> anyhow::Result<Found> {
    let path = Path::new(text);
    if !path.is_file() {
        let id = view.find_proposal(text)?;
        let proposal = view.decision(&id)?.proposal.clone();
        return Ok(Found { view, id, proposal: Arc::unwrap_or_clone(proposal), new: Vec::new() });
    }
    let handed = Handed::read(path, &view.roster.network())?;
    let proposals = handed.proposals();
    let (unknown, known): (Vec<_>, Vec<_>) =
        proposals.into_iter().partition(|(id, _)| view.law.proposal(id).is_none());
    let mut candidates = if unknown.is_empty() { known } else { unknown };
    let (id, proposal) = match (candidates.pop(), candidates.len()) {
        (Some(found), 0) => found,
        (None, _) => {
            return Err(fail(
                format!("{text} holds no proposal"),
                "it may be a roster: `signpost roster import` takes it up, `signpost roster log` lists \
                 proposals",
            ));
        }
        (Some((last, _)), _) => {
            let ids = candidates.iter().map(|(id, _)| short(id)).chain([short(&last)]);
            return Err(fail(
                format!("{text} holds several proposals: {}", ids.collect::<Vec<_>>().join(", ")),
                "import it (`signpost roster import`), then name one of them by its id",
            ));
        }
    };
    let is_new = |bytes: &Vec<u8>| {
        !view.statements.has(&signpost_protocol::statement::statement_hash(bytes))
    };
    let new: Vec<Vec<u8>> = handed.statements.into_iter().filter(is_new).collect();
    // Without an approval a draft's companions have nothing to rest on yet.
    let view = match handed.draft {
        Some(_) => view,
        None => view.with(&new).with_context(|| format!("{text} does not hold"))?,
    };
    Ok(Found { view, id, proposal, new })
}
