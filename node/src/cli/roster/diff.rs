//! `signpost roster diff`: what is different between two rosters, in plain words.

use std::{path::PathBuf, process::ExitCode};

use serde_json::json;
use signpost_keys::roster::State;
use signpost_protocol::limits;

use super::{
    change::title,
    govern::lines_printable,
    handed, keys_words,
    source::Source,
    view::View,
    words::{name, names, short, standing, state},
};
use crate::{cli::text::print, runtime::wall_clock};

/// Arguments of `signpost roster diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Says what has to change in the first roster to become the second: members, keys, stewards, proposals.

Examples:
  signpost roster diff last-month.cbor
  signpost roster diff ours.cbor theirs.cbor")]
pub(super) struct Args {
    /// A roster file.
    #[arg(value_name = "FILE")]
    first: PathBuf,
    /// A newer roster file; the running node's roster otherwise.
    #[arg(value_name = "FILE2")]
    second: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn command(
    source: impl FnOnce() -> anyhow::Result<Source>,
    args: &Args,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let read = |path| handed::read(path, limits::ROSTER_FILE_BYTES_MAX);
    let now = wall_clock();
    let before = View::read(&read(&args.first)?, None, now)?;
    let second = match &args.second {
        Some(path) => read(path)?,
        None => source()?.bytes()?,
    };
    let after = View::read(&second, Some(before.roster.network()), now)?;
    let lines = difference(&before, &after);
    print(&if as_json {
        json!({ "different": !lines.is_empty(), "lines": lines }).to_string()
    } else if lines.is_empty() {
        "Nothing: both say the same of members, keys, stewards and proposals.".to_owned()
    } else {
        lines_printable(&lines.join("\n"))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What the second roster has that the first has not, and the other way round.
pub(super) fn difference(before: &View, after: &View) -> Vec<String> {
    let mut lines = members(before, after);
    let (old, new) = (before.roster.epoch(), after.roster.epoch());
    if old.number() != new.number() || old.id() != new.id() {
        let of = |view: &View| -> Vec<_> {
            view.roster.epoch().stewards().map(|steward| steward.organization).collect()
        };
        lines.push(format!(
            "Stewards: epoch {} ({}; {} make law) → epoch {} ({}; {} make law).",
            old.number(),
            names(after, &of(before)),
            old.threshold(),
            new.number(),
            names(after, &of(after)),
            new.threshold()
        ));
    }
    for (id, decision) in after.law.proposals() {
        let what = || title(after, &decision.proposal.change);
        match before.law.proposal(id) {
            None => {
                lines.push(format!("New proposal {}: {} ({})", short(id), what(), state(after, id)))
            }
            Some(old)
                if old.state != decision.state || approvals(before, id) != approvals(after, id) =>
            {
                lines.push(format!(
                    "Proposal {}: {} ({} → {})",
                    short(id),
                    what(),
                    state(before, id),
                    state(after, id)
                ));
            }
            Some(_) => {}
        }
    }
    let gone = before.law.proposals().filter(|(id, _)| after.law.proposal(id).is_none());
    for (id, decision) in gone {
        let fate = match decision.state {
            State::Expired => "it has expired",
            _ => "the second roster does not know it",
        };
        let what = title(before, &decision.proposal.change);
        lines.push(format!("Proposal {}: {what} ({fate})", short(id)));
    }
    lines
}

fn approvals(view: &View, id: &signpost_protocol::ContentHash) -> usize {
    view.statements.approvers(id).len()
}

fn members(before: &View, after: &View) -> Vec<String> {
    let mut lines = Vec::new();
    for member in after.roster.members() {
        let organization = &member.organization;
        let who = name(after, organization);
        let Some(old) = before.member(organization) else {
            lines.push(format!("New member {who}, {}.", standing(member.standing)));
            continue;
        };
        let mut changes = Vec::new();
        let mut compare = |what: &str, old: String, new: String| {
            if old != new {
                changes.push(format!("{what} {old} → {new}"));
            }
        };
        compare(
            "standing",
            standing(old.standing).to_owned(),
            standing(member.standing).to_owned(),
        );
        compare("ODS code", old.ods.to_string(), member.ods.to_string());
        compare("name", old.name.clone(), member.name.clone());
        compare("largest digest class", old.class_max.to_string(), member.class_max.to_string());
        compare("record version", old.version.to_string(), member.version.to_string());
        compare("lineage of root keys", old.lineage.to_string(), member.lineage.to_string());
        if !changes.is_empty() {
            lines.push(format!("{who}: {}.", changes.join("; ")));
        }
        match (before.last_keys(organization), after.last_keys(organization)) {
            (Some(old), Some(new)) if old.hash() != new.hash() => {
                let changes = keys_words::difference(old, new);
                lines.extend(changes.iter().map(|line| format!("{who}: {line}")));
            }
            (None, Some(new)) => lines.push(format!("{who} lists {}.", keys_words::summary(new))),
            _ => {}
        }
    }
    let gone = before.roster.members().filter(|old| after.member(&old.organization).is_none());
    lines.extend(
        gone.map(|old| format!("{} is not in the second roster.", name(before, &old.organization))),
    );
    lines
}
