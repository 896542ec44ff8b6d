//! `signpost evaluators ceremony confirm`: stewards put what came out of a ceremony in force.

use std::process::ExitCode;

use signpost_keys::{blinding::ceremony::Progress, roster::State};
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
    let (id, ceremony) = super::find(&view, args.ceremony.as_deref(), |_| true)?;
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
    // A version that somebody has approved something else for is passed over.
    let version = view.version_seen(Subject::Evaluators) + 1;
    let key = act.govern_key()?;
    // What another steward has proposed already is approved rather than proposed again.
    let same = view.law.proposals().find(|(_, decision)| {
        decision.state == State::Open
            && match &decision.proposal.change {
                Change::Evaluators(other) => {
                    *other == EvaluatorsRecord { version: other.version, ..record.clone() }
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
