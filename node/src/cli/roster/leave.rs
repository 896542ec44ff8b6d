//! `signpost leave`: an organization takes its nodes and keys out of the network.
//!
//! Nobody has to agree to that: the root key signs a set of keys in which there is no node, and from
//! then on nobody asks or believes it. That it is no member any more is for the stewards to decide.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use serde_json::json;
use signpost_keys::{Member, sign};
use signpost_protocol::{
    OrganizationId, Timestamp,
    codec::Bounded,
    roster::{KeyRecord, OrganizationKeys, Revocation, RevocationReason, Standing},
    statement::{KeyUse, statement_hash},
};

use super::{fail, own_keys::next_version, source::Source, view::View, words::name};
use crate::{
    cli::{
        behalf::Behalf,
        confirm::confirm,
        text::{print, tell},
    },
    setup::{AdminKey, admin_key, organization_of},
};

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
    behalf: Behalf,
    /// The root keystore [default: root.keystore in the organization's folder].
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// The file with the keystore's passphrase [default: the file of that name beside the keystore].
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Shows everything, but signs nothing.
    #[arg(long)]
    dry_run: bool,
    /// Asks no questions: for scripts.
    #[arg(long)]
    yes: bool,
}

/// Runs the command.
pub(in crate::cli) fn command(dir: &Path, args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    let folder = args.behalf.folder(dir)?;
    let source = Source::new(dir, &args.behalf, None)?;
    let view = source.view()?;
    let organization = organization_of(&folder)?;
    let member =
        view.member(&organization).context("the roster does not list this organization")?;
    let ods = member.ods.as_str();
    check(&view, member)?;
    let shown = stays_behind(&view, member);
    if args.dry_run {
        let text = format!("{shown}\nDry run: nothing was signed.\n");
        let report = json!({ "ods": ods, "left": false, "stays": shown });
        print(&if json { report.to_string() } else { text })?;
        return Ok(ExitCode::SUCCESS);
    }
    tell(&shown);
    let passphrase = args.passphrase_file.as_deref();
    let root = admin_key(Some(&folder), AdminKey::Root, args.root.as_deref(), passphrase)?;
    let keys = last_keys(&view, &organization, view.now)?;
    let statement = sign(keys, &root, &view.roster.network());
    // What nodes would refuse, such as what another key signed, is not handed on.
    view.with(&[statement.bytes().to_vec()])?;
    if !args.yes {
        confirm("To leave the network,", Some(ods), "nothing was handed on")?;
    }
    let outcomes = source.submit(view.statements.founding(), vec![statement.bytes().to_vec()])?;
    if let Some(outcome) = outcomes.iter().find(|outcome| outcome.outcome == "refused") {
        let reason = outcome.reason.as_deref().unwrap_or("without a reason");
        return Err(fail(
            format!("the node refused the statement: {reason}"),
            "compare this machine's clock with the node's",
        ));
    }
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
        who = name(&view, &organization),
        network = view.roster.name(),
        stewards = super::words::names(
            &view,
            &view.roster.epoch().stewards().map(|steward| steward.organization).collect::<Vec<_>>()
        ),
    );
    let hash = statement_hash(statement.bytes()).to_string();
    let report = json!({ "ods": ods, "left": true, "statement": hash, "next": expel });
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
    let set = view.roster.evaluators();
    let evaluates = set.evaluators.iter().any(|e| e.organization == member.organization);
    if evaluates && set.evaluators.len() <= usize::from(set.threshold) {
        return Err(fail(
            format!("{who} is one of the {} evaluators, all of which are needed", set.threshold),
            "no look-up would work in the network without it: the evaluators have to change first",
        ));
    }
    Ok(())
}

/// The next set of keys: no node, and so none of the keys that a node holds; the govern keys revoked.
fn last_keys(
    view: &View,
    organization: &OrganizationId,
    now: Timestamp,
) -> anyhow::Result<OrganizationKeys> {
    let last = view.last_keys(organization).ok_or_else(|| {
        fail("the roster has no keys of this organization", "wait until the node has caught up")
    })?;
    let retired = Revocation { since: now, reason: RevocationReason::Retired };
    let govern = last.keys.iter().filter(|key| key.usage == KeyUse::Govern);
    let keys = govern.map(|key| KeyRecord { revoked: key.revoked.or(Some(retired)), ..*key });
    Ok(OrganizationKeys {
        organization: *organization,
        lineage: last.lineage,
        version: next_version(last)?,
        previous: last.hash(),
        nodes: Bounded::default(),
        keys: Bounded::new(keys.collect()).expect("no more than there were"),
        issued: now,
    })
}

/// What leaving means, and what it leaves.
fn stays_behind(view: &View, member: &Member) -> String {
    let who = name(view, &member.organization);
    let set = view.roster.evaluators();
    let evaluates = set.evaluators.iter().any(|e| e.organization == member.organization);
    let evaluator = if evaluates {
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
