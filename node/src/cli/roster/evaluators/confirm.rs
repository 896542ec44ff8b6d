//! `signpost evaluators ceremony confirm`: stewards put what came out of a ceremony in force.

use std::{collections::BTreeSet, process::ExitCode};

use serde_json::json;
use signpost_keys::{
    blinding::ceremony::Progress,
    roster::{State, VERSIONS_AHEAD_MAX},
};
use signpost_protocol::{
    codec,
    roster::{Change, EvaluatorsRecord, Subject},
};

use super::{
    super::{
        draft, fail,
        govern::{self, Act, Signing},
        words::short,
    },
    progress,
};
use crate::cli::text::print;

/// Arguments of `signpost evaluators ceremony confirm`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The first steward to type it proposes what came out, and approves it; the others approve the same. It is
in force as soon as enough of them have. It is the same as proposing and approving anything else:
`signpost roster review` shows it, `signpost roster log` keeps it.

Examples:
  signpost evaluators ceremony confirm
  signpost evaluators ceremony confirm 3fa9c1 --dry-run")]
pub(super) struct Args {
    /// The ceremony, by the first six or more digits of its id [default: the only one under way].
    #[arg(value_name = "ID")]
    ceremony: Option<String>,
    /// Why, for the people who decide [default: that all evaluators have confirmed it].
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    pub(super) signing: Signing,
}

/// Runs the command.
pub(super) fn command(act: &Act<'_>, args: &Args) -> anyhow::Result<ExitCode> {
    act.check_way_out()?;
    let view = act.source.view()?;
    let found = super::find(&view, args.ceremony.as_deref(), |_| true);
    let in_force = match (&found, &args.ceremony) {
        (Ok((id, _)), _) => view.law.adopted(id).is_some(),
        (Err(_), None) => {
            view.statements.ceremonies().any(|(id, _)| view.law.adopted(id).is_some())
        }
        (Err(_), Some(_)) => false,
    };
    if in_force {
        let text = "What came out is in force already, so nothing was signed.\n";
        print(&if act.json {
            json!({ "signed": false, "state": "law" }).to_string()
        } else {
            text.to_owned()
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let (id, ceremony) = found?;
    let state = view.roster.evaluators();
    let status = "`signpost evaluators ceremony status` says how far it has come";
    let outcome = match ceremony.watch(state) {
        Ok(Progress::Done(outcome)) => outcome,
        Ok(Progress::Failed(fault)) => {
            return Err(fail(
                format!(
                    "ceremony {} came to nothing: {}",
                    short(&id),
                    progress::fault(&view, ceremony, &fault)
                ),
                "a steward can call to another attempt",
            ));
        }
        Ok(_) => return Err(fail(format!("ceremony {} is not complete", short(&id)), status)),
        Err(reason) => return Err(fail(format!("nothing can come of it: {reason}"), status)),
    };
    let record = state
        .next(ceremony, &outcome)
        .map_err(|reason| fail(format!("nothing can come of it: {reason}"), status))?;
    // A version that somebody has approved something else for is passed over, as far as there are any.
    let last = state.version + VERSIONS_AHEAD_MAX;
    let taken: BTreeSet<u64> = (view.law.proposals())
        .filter_map(|(_, decision)| match decision.proposal.change.subject() {
            (Subject::Evaluators, version) => Some(version),
            _ => None,
        })
        .collect();
    let free =
        (state.version + 1..=last).find(|version| taken.range(*version..=last).next().is_none());
    let version = free.ok_or_else(|| {
        fail("there are too many open proposals about evaluators", "wait until some have expired")
    })?;
    let key = act.govern_key()?;
    // What another steward has proposed already is approved rather than proposed again.
    let same = view.law.proposals().find(|(_, decision)| {
        decision.state == State::Open
            && decision.proposal.epoch == view.roster.epoch().number()
            && match &decision.proposal.change {
                Change::Evaluators(other) => {
                    let same = EvaluatorsRecord { version: other.version, ..record.clone() };
                    *other == same && state.check_next(other).is_ok()
                }
                _ => false,
            }
    });
    let proposal = match same {
        Some((_, decision)) => decision.proposal.as_ref().clone(),
        None => {
            let reason = format!("All evaluators have confirmed ceremony {}", short(&id));
            let reason = args.reason.as_deref().unwrap_or(&reason);
            let change = Change::Evaluators(EvaluatorsRecord { version, ..record });
            draft::proposal(&view, change, reason)?
        }
    };
    govern::approve(act, &view, &key, &codec::encode(&proposal), &proposal, Vec::new())
}
