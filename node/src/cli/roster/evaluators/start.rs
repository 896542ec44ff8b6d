//! `signpost evaluators ceremony start`, `refresh` and `reshare`: a steward's call.

use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;
use signpost_keys::sign;
use signpost_protocol::{
    ContentHash, OrganizationId,
    roster::{Change, EvaluatorsRecord},
    statement::statement_hash,
};

use super::{
    super::{
        admin_log::{AdminLog, Entry, Event},
        checks, fail,
        govern::{self, Act, Signing, lines_printable},
        view::View,
        words::{name, short, time},
    },
    plan::{self, Wanted},
};
use crate::{
    cli::text::{print, tell},
    runtime::wall_clock,
};

/// How long a ceremony may take, in hours, unless told otherwise: a week, for people to come together.
const HOURS_DEFAULT: u64 = 7 * 24;

/// Arguments of `signpost evaluators ceremony start`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Five evaluators of different sectors are advised, of whom three are enough: then two may be away, and
no two of them can find out patients. Every one of them has to take part in the ceremony; if one does
not, call to another without it.

Examples:
  signpost evaluators ceremony start --evaluators RX1,RX2,RX3,RX4,RX5 --threshold 3
  signpost evaluators ceremony start --evaluators RX1,RX2,RX3 --threshold 2 --dry-run")]
pub(super) struct StartArgs {
    /// The evaluators to be, by ODS code.
    #[arg(long, value_name = "ODS,ODS...", value_delimiter = ',', required = true)]
    evaluators: Vec<String>,
    /// How many of them it takes to evaluate.
    #[arg(long, value_name = "COUNT")]
    threshold: u16,
    /// How long the ceremony may take, in hours.
    #[arg(long, value_name = "HOURS", default_value_t = HOURS_DEFAULT,
          value_parser = clap::value_parser!(u64).range(1..=720))]
    hours: u64,
    #[command(flatten)]
    pub(super) signing: Signing,
}

/// Arguments of `signpost evaluators refresh`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Do it every quarter, and whenever a share may have been stolen: fewer than the threshold of old shares
are useless beside new ones.

Examples:
  signpost evaluators refresh
  signpost evaluators refresh --without RX3")]
pub(super) struct RefreshArgs {
    /// Holders of shares that are away, by ODS code: they do not deal, and get new shares all the same if
    /// they come back before the ceremony is over.
    #[arg(long, value_name = "ODS,ODS...", value_delimiter = ',')]
    without: Vec<String>,
    /// How long the ceremony may take, in hours.
    #[arg(long, value_name = "HOURS", default_value_t = HOURS_DEFAULT,
          value_parser = clap::value_parser!(u64).range(1..=720))]
    hours: u64,
    #[command(flatten)]
    pub(super) signing: Signing,
}

/// Arguments of `signpost evaluators reshare`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signpost evaluators reshare --evaluators RX1,RX2,RX4,RX5,RX6,RX7,RX8 --threshold 4
  signpost evaluators reshare --evaluators RX1,RX2,RX4 --threshold 2 --without RX3")]
pub(super) struct ReshareArgs {
    /// The evaluators to be, by ODS code: all of them, those that stay too.
    #[arg(long, value_name = "ODS,ODS...", value_delimiter = ',', required = true)]
    evaluators: Vec<String>,
    /// How many of them it takes to evaluate.
    #[arg(long, value_name = "COUNT")]
    threshold: u16,
    /// Holders of shares that are away, by ODS code: they do not deal.
    #[arg(long, value_name = "ODS,ODS...", value_delimiter = ',')]
    without: Vec<String>,
    /// How long the ceremony may take, in hours.
    #[arg(long, value_name = "HOURS", default_value_t = HOURS_DEFAULT,
          value_parser = clap::value_parser!(u64).range(1..=720))]
    hours: u64,
    #[command(flatten)]
    pub(super) signing: Signing,
}

/// Runs `signpost evaluators ceremony start`.
pub(super) fn start(act: &Act<'_>, args: &StartArgs) -> anyhow::Result<ExitCode> {
    let view = act.source.view()?;
    if view.roster.evaluators().current().is_some() {
        return Err(fail(
            "the network has a key already",
            "hand it on to new shares with `signpost evaluators refresh` or `signpost evaluators reshare`",
        ));
    }
    let wanted = Wanted {
        evaluators: members(&view, &args.evaluators)?,
        threshold: args.threshold,
        without: Vec::new(),
        life: plan::hours(args.hours),
    };
    call(act, view, wanted)
}

/// Runs `signpost evaluators refresh`.
pub(super) fn refresh(act: &Act<'_>, args: &RefreshArgs) -> anyhow::Result<ExitCode> {
    let view = act.source.view()?;
    let set = view.roster.evaluators().current().ok_or_else(no_key)?;
    let wanted = Wanted {
        evaluators: set.evaluators.iter().map(|one| one.organization).collect(),
        threshold: set.threshold,
        without: members(&view, &args.without)?,
        life: plan::hours(args.hours),
    };
    call(act, view, wanted)
}

/// Runs `signpost evaluators reshare`.
pub(super) fn reshare(act: &Act<'_>, args: &ReshareArgs) -> anyhow::Result<ExitCode> {
    let view = act.source.view()?;
    view.roster.evaluators().current().ok_or_else(no_key)?;
    let wanted = Wanted {
        evaluators: members(&view, &args.evaluators)?,
        threshold: args.threshold,
        without: members(&view, &args.without)?,
        life: plan::hours(args.hours),
    };
    call(act, view, wanted)
}

fn no_key() -> anyhow::Error {
    fail(
        "the network has no key yet, so there is nothing to hand on",
        "have its evaluators make one: `signpost evaluators ceremony start`",
    )
}

fn members(view: &View, codes: &[String]) -> anyhow::Result<Vec<OrganizationId>> {
    codes.iter().map(|code| Ok(view.find_member(code)?.organization)).collect()
}

/// Shows a call, asks, signs it and hands it on.
fn call(act: &Act<'_>, view: View, wanted: Wanted) -> anyhow::Result<ExitCode> {
    act.check_way_out()?;
    let key = act.govern_key()?;
    // Only stewards in office call; which of them this is does not depend on what is proposed.
    let change = Change::Evaluators(EvaluatorsRecord {
        version: 0,
        previous: ContentHash([0; 32]),
        sets: signpost_protocol::codec::Bounded::default(),
        ceremony: ContentHash([0; 32]),
        transcript: ContentHash([0; 32]),
    });
    let steward = checks::steward(&view, &key.public(), &change)?;
    checks::governance(&view)?;
    checks::key(&view, &steward, &key.public())?;
    let call = plan::call(&view, steward, wanted)?;
    let text = plan::words(&view, &call);
    let what = text.lines().next().unwrap_or_default().to_owned();
    if act.options.dry_run {
        let done = format!("{text}Dry run: nothing was signed, and nothing written.\n");
        let report =
            json!({ "what": what, "lines": text.lines().collect::<Vec<_>>(), "signed": false });
        print(&if act.json { report.to_string() } else { lines_printable(&done) })?;
        return Ok(ExitCode::SUCCESS);
    }
    tell(&lines_printable(&text));
    act.confirm(None)?;
    let expires = call.expires;
    let statement = sign(call, &key, &view.roster.network());
    let new = vec![statement.bytes().to_vec()];
    let after = view.with(&new)?;
    let id = statement_hash(&new[0]);
    let mut log = AdminLog::open(act.dir)?;
    let entry = |event| Entry {
        time: time(wall_clock()),
        command: act.command.to_owned(),
        event,
        what: what.clone(),
        organization: steward.to_string(),
        statement: id.to_string(),
        proposal: id.to_string(),
        subject: "ceremony".to_owned(),
        version: statement.number,
        expires: expires.0,
        approves: false,
    };
    log.append(entry(Event::Signed))?;
    let view = govern::hand_on(act, &view, &new, &mut log, &entry, after)?;
    let who = view.statements.ceremony(&id).context("the node did not keep the call")?;
    let parties: Vec<String> =
        super::progress::parties(who).iter().map(|one| name(&view, one)).collect();
    let next = format!(
        "each of these takes part, at its own node, with `signpost evaluators ceremony join {}`: {}.",
        short(&id),
        parties.join(", ")
    );
    let done =
        format!("Called to ceremony {}, and handed on to the members.\nNext: {next}\n", short(&id));
    let report = json!({
        "ceremony": id.to_string(), "what": what, "signed": true, "parties": parties, "next": next,
    });
    print(&if act.json { report.to_string() } else { lines_printable(&done) })?;
    Ok(ExitCode::SUCCESS)
}
