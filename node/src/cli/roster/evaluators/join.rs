//! `signpost evaluators ceremony join`: has the node that runs here take part.

use std::process::ExitCode;

use serde_json::json;
use signpost_keys::{blinding::ceremony::MessageKind, roster::Ceremony, sign};
use signpost_protocol::roster::CeremonyConsent;

use super::{
    super::{
        admin_log::{AdminLog, Entry, Event},
        checks, fail,
        govern::{Act, Signing, lines_printable},
        words::{name, short, time},
    },
    plan,
};
use crate::{
    cli::text::{print, tell},
    runtime::wall_clock,
    setup::organization_of,
};

/// Arguments of `signpost evaluators ceremony join`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The organization's govern key signs that it takes part: whoever deals hands the key on to those who are
named, whether or not the stewards approve of it later. Compare what is shown with what they have told you.
The node does the rest by itself, and goes on where it was after a restart; the share that comes of it is
kept, sealed, in the node's own store.

Examples:
  signpost evaluators ceremony join
  signpost evaluators ceremony join 3fa9c1 --yes")]
pub(super) struct Args {
    /// The ceremony, by the first six or more digits of its id [default: the only one to join].
    #[arg(value_name = "ID")]
    ceremony: Option<String>,
    #[command(flatten)]
    pub(super) signing: Signing,
}

/// Runs the command.
pub(super) fn command(act: &Act<'_>, args: &Args) -> anyhow::Result<ExitCode> {
    let view = act.source.view()?;
    let own = organization_of(&act.behalf.folder(act.dir)?)?;
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
    let describe = |joined: bool, next: &str| {
        let lines: Vec<_> = text.lines().collect();
        json!({ "ceremony": id.to_string(), "lines": lines, "joined": joined, "next": next })
    };
    if act.options.dry_run {
        let next = "run it again without --dry-run to take part.";
        let done =
            format!("{text}Dry run: nothing was signed, and nothing joined.\nNext: {next}\n");
        let report = describe(false, next);
        print(&if act.json { report.to_string() } else { lines_printable(&done) })?;
        return Ok(ExitCode::SUCCESS);
    }
    let key = act.govern_key()?;
    checks::key(&view, &own, &key.public())?;
    tell(&lines_printable(&text));
    act.confirm(None)?;
    let consent = CeremonyConsent { organization: own, ceremony: id, issued: view.now };
    let consent = sign(consent, &key, &view.roster.network());
    let mut log = AdminLog::open(act.dir)?;
    let entry = |event| Entry {
        time: time(wall_clock()),
        command: act.command.to_owned(),
        event,
        what: words.lines().next().unwrap_or_default().to_owned(),
        organization: own.to_string(),
        statement: consent.hash().to_string(),
        proposal: id.to_string(),
        subject: "ceremony".to_owned(),
        version: ceremony.call().number,
        expires: ceremony.call().expires.0,
        approves: false,
    };
    log.append(entry(Event::Signed))?;
    if let Err(error) = act.source.join_ceremony(consent.bytes().to_vec()) {
        log.append(entry(Event::Refused))?;
        return Err(error);
    }
    log.append(entry(Event::Accepted))?;
    let next = format!(
        "the node does the rest; `signpost evaluators ceremony status {}` says how far it has come.",
        short(&id)
    );
    let done =
        format!("{} takes part in ceremony {}.\nNext: {next}\n", name(&view, &own), short(&id));
    let report = describe(true, &next);
    print(&if act.json { report.to_string() } else { lines_printable(&done) })?;
    Ok(ExitCode::SUCCESS)
}
