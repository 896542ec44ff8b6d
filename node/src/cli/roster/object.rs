//! `signpost roster object`: a root key's protest against its own replacement.

use std::{path::PathBuf, process::ExitCode};

use serde_json::json;
use signpost_keys::{roster::State, sign};
use signpost_protocol::{
    roster::{Change, Objection},
    statement::statement_hash,
};

use super::{
    admin_log::{self, AdminLog, Entry, Event},
    change::{self, Words},
    draft, fail,
    govern::{self, Act, Signing, lines_printable},
    words::{self, name, short, time},
};
use crate::{
    cli::text::{print, tell},
    runtime::wall_clock,
    setup::AdminKey,
};

/// Arguments of `signpost roster object`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Whoever still has a former root key can stop its replacement until it takes effect: if the stewards
were deceived, this is the answer. It needs the root keystore, not the govern one.

Examples:
  signpost roster object 3fa9c1 --reason 'Nobody here has asked for this'
  signpost roster --file roster.cbor object 3fa9c1 --reason 'We still have our key' \\
      --root /media/key/root.keystore --passphrase-file /media/key/passphrase --out objection.cbor")]
pub(super) struct Args {
    /// The id of the proposal.
    #[arg(value_name = "ID")]
    proposal: String,
    /// Why, for the people who decide.
    #[arg(long)]
    reason: String,
    /// The keystore of the root key [default: root.keystore in the organization's folder].
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    #[command(flatten)]
    pub(super) signing: Signing,
}

/// Runs the command.
pub(super) fn command(act: &Act<'_>, args: &Args) -> anyhow::Result<ExitCode> {
    act.check_way_out()?;
    let view = act.source.view()?;
    let id = view.find_proposal(&args.proposal)?;
    let decision = view.decision(&id)?;
    let Change::Root(reset) = &decision.proposal.change else {
        return Err(fail(
            format!("proposal {} replaces no root key", short(&id)),
            "only the replacement of a root key can be objected to; against all else speak with the \
             stewards",
        ));
    };
    match decision.state {
        State::Open | State::Waits(_) | State::Objected => {}
        _ => {
            return Err(fail(
                format!("it is too late to object: {}", words::state(&view, &id)),
                "speak with the stewards: they can suspend the organization, or reset the root key \
                 again",
            ));
        }
    }
    let key = act.admin_key(AdminKey::Root, args.root.as_deref())?;
    let who = name(&view, &reset.organization);
    if !view.statements.is_root_before(&reset.organization, &key.key_id(), reset.lineage) {
        return Err(fail(
            format!("this is no former root key of {who}"),
            "name the right keystore with --root",
        ));
    }
    let objection = Objection {
        organization: reset.organization,
        proposal: id,
        reason: draft::text(&args.reason, "a reason")?,
        issued: view.now,
    };
    let said = change::objection(&view, &objection);
    let statement = sign(objection, &key, &view.roster.network());
    let new = vec![statement.bytes().to_vec()];
    let after = view.with(&new)?;
    let words = Words::of(&view, &id, &decision.proposal);
    let shown = lines_printable(&format!("Proposal {}\n{}{said}", short(&id), words.text()));
    if act.options.dry_run {
        let text = format!("{shown}\nDry run: nothing was signed, and nothing written.");
        let json = json!({ "proposal": id.to_string(), "what": said, "signed": false });
        print(&if act.json { json.to_string() } else { text })?;
        return Ok(ExitCode::SUCCESS);
    }
    tell(&shown);
    let mut log = AdminLog::open(act.dir)?;
    act.confirm(None)?;
    let entry = |event| Entry {
        time: time(wall_clock()),
        command: act.command.to_owned(),
        event,
        what: said.clone(),
        organization: reset.organization.to_string(),
        statement: statement_hash(&new[0]).to_string(),
        proposal: id.to_string(),
        subject: admin_log::subject(decision.proposal.change.subject().0),
        version: u64::from(reset.lineage),
        expires: decision.proposal.expires.0,
        approves: false,
    };
    log.append(entry(Event::Signed))?;
    let after = govern::hand_on(act, &view, &new, &mut log, &entry, after)?;
    let next = match &act.options.out {
        Some(out) => format!("bring {0} to a node: `signpost roster import {0}`.", out.display()),
        None => "tell the stewards by other means as well why you object.".to_owned(),
    };
    let text = format!("Objected for {who}.\nState: {}.\nNext: {next}", words::state(&after, &id));
    let json = json!({
        "proposal": id.to_string(),
        "what": said,
        "signed": true,
        "statement": statement_hash(&new[0]).to_string(),
        "state": after.law.proposal(&id).map(|decision| words::state_code(&decision.state)),
        "next": next,
    });
    print(&if act.json { json.to_string() } else { lines_printable(&text) })?;
    Ok(ExitCode::SUCCESS)
}
