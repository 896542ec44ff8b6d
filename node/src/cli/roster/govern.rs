//! What every command that signs does: show, ask, sign, log, hand on, and say what comes next.
//!
//! The line "signed" is on disk before the statement leaves, and nothing that is shown or refused
//! leaves a trace.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use serde_json::{Value, json};
use signpost_keys::{SecretKey, roster::State, sign};
use signpost_protocol::{
    ContentHash, OrganizationId,
    codec::ByteString,
    roster::{Approval, Change, Proposal},
    statement::statement_hash,
};

use super::{
    admin_log::{self, AdminLog, Entry, Event},
    change::{self, Words},
    checks, doubt, fail, handed,
    source::{Outcome, Source},
    tally,
    view::View,
    words::{self, count, name, short, time},
};
use crate::{
    cli::{
        behalf::Behalf,
        confirm::confirm,
        text::{print, printable, tell},
    },
    runtime::wall_clock,
    setup::{AdminKey, admin_key},
};

/// Options of the commands that sign.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Signing {
    /// Shows everything and makes all checks, but signs nothing and writes nothing.
    #[arg(long, global = true)]
    pub(super) dry_run: bool,
    /// Asks no questions: for scripts.
    #[arg(long, global = true)]
    pub(super) yes: bool,
    /// Writes what is new to a file, to be handed on, instead of bringing it to the node.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// The keystore of the govern key [default: govern.keystore in the organization's folder].
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) govern: Option<PathBuf>,
    /// The file with the keystore's passphrase [default: the file of that name beside the keystore].
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
}

/// A command at work.
pub(super) struct Act<'a> {
    pub(super) command: &'static str,
    pub(super) dir: &'a Path,
    pub(super) behalf: &'a Behalf,
    pub(super) json: bool,
    pub(super) options: &'a Signing,
    pub(super) source: &'a Source,
}

impl Act<'_> {
    /// The govern key.
    pub(super) fn govern_key(&self) -> anyhow::Result<SecretKey> {
        self.admin_key(AdminKey::Govern, self.options.govern.as_deref())
    }

    /// A key of an admin: from `keystore`, else from the organization's folder.
    pub(super) fn admin_key(
        &self,
        which: AdminKey,
        keystore: Option<&Path>,
    ) -> anyhow::Result<SecretKey> {
        let passphrase = self.options.passphrase_file.as_deref();
        let folder = match keystore {
            Some(_) => None,
            None => Some(self.behalf.folder(self.dir)?),
        };
        Ok(admin_key(folder.as_deref(), which, keystore, passphrase)?)
    }

    /// Without a node, new statements need a file to go to.
    pub(super) fn check_way_out(&self) -> anyhow::Result<()> {
        match (self.source, &self.options.out, self.options.dry_run) {
            (Source::File(_), None, false) => Err(fail(
                "with --file there is no node to bring the signed statement to".to_owned(),
                "name a file for it with --out, and import that at a node",
            )),
            _ => Ok(()),
        }
    }

    /// Whether the person agrees to what was shown.
    ///
    /// # Errors
    /// When he does not.
    pub(super) fn confirm(&self, code: Option<&str>) -> anyhow::Result<()> {
        if self.options.yes {
            return Ok(());
        }
        let question = if code.is_some() { "To sign this," } else { "Sign this?" };
        confirm(question, code, "nothing was signed")
    }

    /// Shows a proposal before it is signed: on standard error, or as the result of a dry run.
    fn show(&self, id: &ContentHash, words: &Words) -> anyhow::Result<()> {
        let text = lines_printable(&format!("Proposal {}\n{}", short(id), words.text()));
        match (self.options.dry_run, self.json) {
            (true, false) => print(&text)?,
            _ => tell(&text),
        }
        Ok(())
    }
}

/// Approves a proposal with a steward's govern key. `companions` are statements that go with it.
pub(super) fn approve(
    act: &Act<'_>,
    view: &View,
    key: &SecretKey,
    bytes: &[u8],
    proposal: &Proposal,
    companions: Vec<Vec<u8>>,
) -> anyhow::Result<ExitCode> {
    let id = ContentHash::of(bytes);
    let steward = checks::steward(view, &key.public(), &proposal.change)?;
    checks::governance(view)?;
    checks::key(view, &steward, &key.public())?;
    checks::proposal(view, &id, proposal)?;
    checks::begun(view, &steward, &id)?;
    let (about, version) = proposal.change.subject();
    // A rehearsal reads the log and makes none.
    let (mut log, earlier) = match act.options.dry_run {
        true => (None, admin_log::peek(act.dir)?),
        false => {
            let log = AdminLog::open(act.dir)?;
            let earlier = log.entries().to_vec();
            (Some(log), earlier)
        }
    };
    let signed = admin_log::signed(&earlier, &steward, about, version);
    checks::contradiction(view, &steward, &id, proposal, &signed)?;
    act.check_way_out()?;

    let approval = Approval {
        steward,
        proposal: ByteString::new(bytes.to_vec()).context("the proposal is too long")?,
        issued: view.now,
    };
    let words = Words::of(view, &id, proposal);
    let key_id = key.key_id();
    let has_approved = view
        .statements
        .approvers(&id)
        .iter()
        .any(|(who, with, _)| (*who, *with) == (steward, key_id));
    if has_approved {
        act.show(&id, &words)?;
        let text =
            format!("{} has approved this already, so nothing was signed.", name(view, &steward));
        report(act, view, &id, &words, None, &text)?;
        return Ok(ExitCode::SUCCESS);
    }
    // What nodes would refuse is not signed; this signature is thrown away.
    let statement = sign(approval, key, &view.roster.network());
    let mut new = vec![statement.bytes().to_vec()];
    new.extend(companions);
    let after = view.with(&new)?;
    act.show(&id, &words)?;
    if act.options.dry_run {
        let text = "Dry run: nothing was signed, and nothing written.";
        report(act, view, &id, &words, None, text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let own = name_code(view, &steward);
    let code = match (&proposal.change, change::is_grave(view, &proposal.change)) {
        (Change::Stewards(_), _) => Some(own),
        (_, subject) => subject.map(|subject| name_code(view, &subject)),
    };
    act.confirm(code.as_deref())?;

    let entry = |event| Entry {
        time: time(wall_clock()),
        command: act.command.to_owned(),
        event,
        what: words.title.clone(),
        organization: steward.to_string(),
        statement: statement_hash(&new[0]).to_string(),
        proposal: id.to_string(),
        subject: admin_log::subject(about),
        version,
        expires: proposal.expires.0,
        approves: true,
    };
    let log = log.as_mut().context("the log is open unless this is a rehearsal")?;
    log.append(entry(Event::Signed))?;
    let after = hand_on(act, view, &new, log, &entry, after)?;
    let text = match &act.options.out {
        Some(out) => {
            format!("Signed for {}, and written to {}.", name(view, &steward), out.display())
        }
        None => format!("Signed for {}, and handed on to the members.", name(view, &steward)),
    };
    report(act, &after, &id, &words, Some(&new[0]), &text)?;
    Ok(ExitCode::SUCCESS)
}

/// Brings new statements to the node, or writes them to a file, and notes in the log what became of
/// the first one, which was signed here. Returns the roster after it.
pub(super) fn hand_on(
    act: &Act<'_>,
    view: &View,
    new: &[Vec<u8>],
    log: &mut AdminLog,
    entry: &impl Fn(Event) -> Entry,
    after: View,
) -> anyhow::Result<View> {
    if let Some(out) = &act.options.out {
        handed::write(out, &handed::parcel(view.statements.founding(), new))?;
        log.append(entry(Event::Written))?;
        return Ok(after);
    }
    let outcomes = act.source.submit(view.statements.founding(), new.to_vec());
    let outcomes = outcomes.context(
        "the statement is signed and in the log, but the node did not take it up; run the same \
         command again",
    )?;
    let refused = |outcome: &&Outcome| outcome.outcome == "refused";
    if let Some(outcome) = outcomes.iter().find(refused) {
        let own = new.first().map(|bytes| statement_hash(bytes).to_string());
        let event =
            if own.as_ref() == Some(&outcome.statement) { Event::Refused } else { Event::Accepted };
        log.append(entry(event))?;
        let what = outcome.kind.as_deref().unwrap_or("statement");
        let reason = outcome.reason.as_deref().unwrap_or("without a reason");
        return Err(fail(
            format!("the node refused the {what}: {reason}"),
            "compare this machine's clock with the node's; `signpost roster verify` checks the \
             node's roster",
        ));
    }
    log.append(entry(Event::Accepted))?;
    act.source.view()
}

/// The result of a command about a proposal: what was done, where it stands, what comes next.
fn report(
    act: &Act<'_>,
    view: &View,
    id: &ContentHash,
    words: &Words,
    signed: Option<&[u8]>,
    done: &str,
) -> anyhow::Result<()> {
    let next = next_step(view, id, act.options.out.as_deref().filter(|_| signed.is_some()));
    if act.json {
        let mut value = describe(view, id, words);
        value["signed"] = signed.is_some().into();
        value["statement"] = signed.map(|bytes| statement_hash(bytes).to_string()).into();
        value["next"] = next.into();
        return Ok(print(&value.to_string())?);
    }
    let state = words::state(view, id);
    Ok(print(&lines_printable(&format!("{done}\nState: {state}.\nNext: {next}\n")))?)
}

/// A proposal for programs.
pub(super) fn describe(view: &View, id: &ContentHash, words: &Words) -> Value {
    let decision = view.law.proposal(id);
    let state = decision.map(|decision| words::state_code(&decision.state));
    let approvals: Vec<Value> = view
        .statements
        .approvers(id)
        .into_iter()
        .map(|(steward, key, at)| {
            json!({
                "organization": steward.to_string(),
                "name": name(view, &steward),
                "key": key.to_string(),
                "time": time(at),
            })
        })
        .collect();
    let missing = decision.map(|decision| {
        let groups = tally::groups(view, id, &decision.proposal);
        groups.iter().map(tally::Group::missing).max().unwrap_or(0)
    });
    json!({
        "proposal": id.to_string(),
        "what": words.title,
        "lines": words.lines,
        "warnings": words.warnings,
        "state": state,
        "approvals": approvals,
        "missing": missing,
    })
}

/// What a person does next about a proposal.
pub(super) fn next_step(view: &View, id: &ContentHash, out: Option<&Path>) -> String {
    if let (None, Some(mend)) = (out, doubt::mend(view, id)) {
        return format!("{mend}.");
    }
    let short = short(id);
    let decision = view.law.proposal(id);
    let waits_for = decision.map(|decision| tally::groups(view, id, &decision.proposal));
    let missing =
        waits_for.as_ref().and_then(|groups| groups.iter().map(tally::Group::missing).max());
    let undecided = decision.is_some_and(|decision| decision.state == State::Open);
    match (undecided, missing, out) {
        (_, _, Some(out)) => format!(
            "bring {out} to a node (`signpost roster import {out}`), or hand it to another steward \
             (`signpost roster approve {out}`).",
            out = out.display()
        ),
        (true, Some(missing @ 1..), None) => format!(
            "{} needed: send the stewards this id, {short}; each reads it (`signpost roster review \
             {short}`) and approves it (`signpost roster approve {short}`). Not approved yet: {}.",
            count(missing as u64, "more approval"),
            words::names(view, &tally::others(&waits_for.unwrap_or_default()))
        ),
        (false, _, None) if decision.is_none() => {
            "run it again without --dry-run to sign it.".to_owned()
        }
        _ => format!(
            "nothing is left to approve; `signpost roster review {short}` tells where it stands."
        ),
    }
}

/// The ODS code of an organization, as a person types it to confirm.
fn name_code(view: &View, organization: &OrganizationId) -> String {
    match view.member(organization) {
        Some(member) => member.ods.to_string(),
        None => organization.to_string()[..8].to_owned(),
    }
}

/// Text of several lines, each without what would steer the terminal.
pub(super) fn lines_printable(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}
