//! `signpost leave`: an organization takes its nodes and keys out of the network.
//!
//! Nobody has to agree to that: the root key signs a set of keys in which there is no node, and from
//! then on nobody asks or believes it. That it is no member any more is for the stewards to decide.

use std::{path::Path, process::ExitCode};

use anyhow::Context as _;
use serde_json::json;
use signpost_keys::Member;
use signpost_protocol::{
    OrganizationId,
    blind::EvaluatorSet,
    codec::Bounded,
    roster::{KeyRecord, OrganizationKeys, Revocation, RevocationReason, Standing},
    statement::KeyUse,
};

use super::{
    by_root::{Options, Own, Signed, next_set},
    fail,
    view::View,
    words::name,
};
use crate::cli::text::print;

/// Arguments of `signpost leave`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Signs, with the organization's root key, that it has no node and no key any more, and hands that on to
the members by the running node. It shows first what stays behind where. A steward hands its office over
before it leaves.

Examples:
  signpost leave --dry-run
  signpost leave
  signpost leave --organization RX9 --root /media/offline/root.keystore")]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    options: Options,
}

/// Runs the command.
pub(in crate::cli) fn command(dir: &Path, args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    let own = Own::open(dir, &args.options)?;
    let view = &own.view;
    let member =
        view.member(&own.organization).context("the roster does not list this organization")?;
    let ods = member.ods.as_str();
    check(view, member)?;
    let shown = stays_behind(view, member);
    if args.options.dry_run {
        let report = json!({ "ods": ods, "left": false, "stays": shown });
        return Own::rehearsed(&format!("{shown}\n"), &report, json);
    }
    let keys = last_keys(view, &own.organization)?;
    let Signed { statement, .. } = own.hand_on(keys, &shown, "To leave the network,")?;
    let expel = format!("signpost roster propose expel {ods} --reason 'It has left'");
    let text = format!(
        "\
{who} has left {network}: it lists no node and no key any more.

Next:
  1. Tell the stewards ({stewards}), by other means, that it has left; one of them types
       {expel}
     Until that is decided, results at the others name {ods}.
  2. Leave the node running for a minute, so that the news spreads; then stop it.
  3. Take your clinical systems off it, and keep its directory as long as your records are kept.
",
        who = name(view, &own.organization),
        network = view.roster.name(),
        stewards = super::words::names(
            view,
            &view.roster.epoch().stewards().map(|steward| steward.organization).collect::<Vec<_>>()
        ),
    );
    let report =
        json!({ "ods": ods, "left": true, "statement": statement.to_string(), "next": expel });
    print(&if json { report.to_string() } else { text })?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses what would harm the others.
fn check(view: &View, member: &Member) -> anyhow::Result<()> {
    let who = name(view, &member.organization);
    if member.standing == Standing::Expelled || member.nodes.is_empty() {
        return Err(fail(
            format!("{who} has left already"),
            "`signpost roster show` has where the members stand",
        ));
    }
    if view.roster.epoch().has(&member.organization) {
        return Err(fail(
            format!(
                "{who} is a steward: without it, fewer could decide than the network counts on"
            ),
            format!(
                "first hand the office over: signpost roster propose stewards --remove {0} --reason \
                 '{0} is leaving'",
                member.ods
            ),
        ));
    }
    if let Some(set) = evaluates(view, member)
        && set.evaluators.len() <= usize::from(set.threshold)
    {
        return Err(fail(
            format!("{who} is one of the {} evaluators, all of which are needed", set.threshold),
            "no look-up would work in the network without it: first hand the key on to others, with `signpost \
             evaluators reshare`",
        ));
    }
    Ok(())
}

/// The next set of keys: no node, and so none of the keys that a node holds; the govern keys revoked.
pub(super) fn last_keys(
    view: &View,
    organization: &OrganizationId,
) -> anyhow::Result<OrganizationKeys> {
    let set = next_set(view, organization)?;
    let retired = Revocation { since: view.now, reason: RevocationReason::Retired };
    let govern = set.keys.iter().filter(|key| key.usage == KeyUse::Govern);
    let keys = govern.map(|key| KeyRecord { revoked: key.revoked.or(Some(retired)), ..*key });
    let keys = Bounded::new(keys.collect()).expect("no more than there were");
    Ok(OrganizationKeys { nodes: Bounded::default(), keys, ..set })
}

/// The evaluators, if the member is one of them.
fn evaluates<'a>(view: &'a View, member: &Member) -> Option<&'a EvaluatorSet> {
    let set = view.roster.evaluators().current()?;
    set.evaluators.iter().any(|one| one.organization == member.organization).then_some(set)
}

/// What leaving means, and what it leaves.
fn stays_behind(view: &View, member: &Member) -> String {
    let who = name(view, &member.organization);
    let evaluator = if let Some(set) = evaluates(view, member) {
        format!(
            "  - It is one of {} evaluators, of which {} are needed for every look-up: one fewer may \
             be away from now on.\n",
            set.evaluators.len(),
            set.threshold
        )
    } else {
        String::new()
    };
    format!(
        "\
{who} leaves the network {network}. Nobody has to agree; to come back it has to be let in by the
stewards, or apply anew.

What happens at once:
  - The other members stop asking its nodes, and stop answering them.
  - Its own clinical systems find nothing at other members any more; do not lead them to take that for
    \"no records\".
{evaluator}
What stays behind:
  - Its own pointers stay in its own store, and are found by nobody. Export them first, if another node
    is to have them (`signpost export`).
  - Its records stay where they are: Signpost never held them.
  - At the other members: its name and its old statements in the roster, for good; its last digest,
    until they clear it away; and in their disclosure records, what it asked and what it was told.
  - In its own disclosure records: what it disclosed to whom. Keep them as long as the law says.
  - Results at the others name it as a member without a node until the stewards expel it.
  - The tokens of its clinical systems go on opening this node's API: stop the node when all is done.
",
        network = view.roster.name(),
    )
}
