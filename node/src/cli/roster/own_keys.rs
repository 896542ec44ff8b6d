//! `signpost keys`: an organization's own keys. Its root key alone decides about them; nobody has to
//! agree, and every member follows from the next message on.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use getrandom::SysRng;
use rand_core::UnwrapErr;
use serde_json::json;
use signpost_keys::{SecretKey, keystore::Cost};
use signpost_protocol::{
    OrganizationId, Timestamp,
    codec::Bounded,
    roster::{KeyRecord, OrganizationKeys, Revocation, RevocationReason},
    statement::KeyUse,
};

use super::{
    by_root::{Options, Own, Signed, last_set, next_set},
    fail, keys_words,
    source::Source,
    words::{name, time},
};
use crate::{
    cli::{behalf::Behalf, text::print},
    setup::{KEY_LEAD, KEY_LIFE, OwnKey, keep_roster, new_root, organization_of, replace_key},
};

/// What is asked before a set of keys is signed.
const TO_SIGN: &str = "To sign this,";
/// How long a key that was renewed goes on to count, in milliseconds: two weeks (DESIGN §5), in which
/// whoever is away learns of the new one.
const OVERLAP: u64 = 14 * 24 * 3_600_000;

/// Arguments of `signpost keys`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The root key signs the whole set of an organization's keys anew; nothing else is needed, and no steward
is asked. A key that was revoked counts for nothing from that instant on, at every member.

Examples:
  signpost keys list
  signpost keys renew transport
  signpost keys renew transport --revoke compromised
  signpost keys revoke 1f0b77aa --reason retired
  signpost keys new-root --out /media/offline/new
  signpost keys republish --root /media/offline/new/root.keystore")]
pub(in crate::cli) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists the organization's keys, as this node's roster has them.
    List {
        #[command(flatten)]
        behalf: Behalf,
    },
    /// Draws a new key for the node, and lists it; a restart of the node takes it into use.
    Renew {
        /// Which key.
        #[arg(value_enum)]
        which: OwnKey,
        /// Revokes the old one at once, for this reason, instead of letting it count for 14 days.
        #[arg(long, value_enum, value_name = "REASON")]
        revoke: Option<Reason>,
        #[command(flatten)]
        options: Options,
    },
    /// Revokes a key.
    Revoke {
        /// The first digits of its id: `signpost keys list` has them.
        #[arg(value_name = "KEY")]
        key: String,
        /// Why.
        #[arg(long, value_enum)]
        reason: Reason,
        /// Since when, RFC 3339 [default: now].
        #[arg(long, value_name = "TIME")]
        since: Option<jiff::Timestamp>,
        #[command(flatten)]
        options: Options,
    },
    /// Draws a new root key, for an organization that has lost its own, and says what to tell the
    /// stewards.
    NewRoot {
        /// A new directory for the two root keystores and their passphrase.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Signs the present set of keys with a root key that has taken the place of the old one.
    Republish {
        #[command(flatten)]
        options: Options,
    },
}

/// Why a key is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Reason {
    /// Somebody else may have it.
    Compromised,
    /// Another has taken its place.
    Superseded,
    /// It is no longer needed.
    Retired,
}

impl Reason {
    const fn said(self) -> RevocationReason {
        match self {
            Self::Compromised => RevocationReason::Compromised,
            Self::Superseded => RevocationReason::Superseded,
            Self::Retired => RevocationReason::Retired,
        }
    }
}

/// Runs the command.
pub(in crate::cli) fn command(dir: &Path, args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::List { behalf } => list(dir, behalf, json),
        Command::Renew { which, revoke, options } => renew(dir, *which, *revoke, options, json),
        Command::Revoke { key, reason, since, options } => {
            revoke(dir, key, *reason, *since, options, json)
        }
        Command::NewRoot { out } => draw_root(out, json),
        Command::Republish { options } => {
            let own = Own::open(dir, options)?;
            let set = next_set(&own.view, &own.organization)?;
            publish(&own, options, set, "its keys are listed by the new root key", json)
        }
    }
}

fn list(dir: &Path, behalf: &Behalf, json: bool) -> anyhow::Result<ExitCode> {
    let view = Source::new(dir, behalf, None)?.view()?;
    let organization = organization_of(&behalf.folder(dir)?)?;
    let keys = view.roster.keys_of(&organization);
    if json {
        let keys = keys.iter().map(|key| {
            json!({
                "key": key.key.key_id().to_string(),
                "use": keys_words::usage(key.usage),
                "node": key.node.map(|node| node.to_string()),
                "not_before": time(key.not_before),
                "not_after": time(key.not_after),
                "revoked_since": key.revoked.map(|revoked| time(revoked.since)),
                "valid": keys_words::validity(key, view.now),
            })
        });
        print(&json!({ "keys": keys.collect::<Vec<_>>() }).to_string())?;
        return Ok(ExitCode::SUCCESS);
    }
    let lines = keys
        .iter()
        .map(|key| format!("{}: {}", keys_words::key(key), keys_words::validity(key, view.now)));
    print(&lines.collect::<Vec<_>>().join("\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn draw_root(out: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let (root, next) = new_root(out, Cost::standard(), &mut UnwrapErr(SysRng))?;
    let text = format!(
        "\
A new root key and its successor are in {out}, with the passphrase that opens both.

Next:
  1. Ask a steward, in person or by telephone, to propose the reset of your root key:
       signpost roster propose reset-root ODS --root {root} --next-root {next} --reason '...'
  2. When it has taken effect (`signpost roster log`), list your keys by it:
       signpost keys republish --root {out}/root.keystore
  3. Keep the two keystores in two separate places, offline.
",
        out = out.display()
    );
    let report = json!({
        "root": root.to_string(),
        "next_root": next.to_string(),
        "directory": out,
    });
    print(&if json { report.to_string() } else { text })?;
    Ok(ExitCode::SUCCESS)
}

fn renew(
    dir: &Path,
    which: OwnKey,
    revoke: Option<Reason>,
    options: &Options,
    json: bool,
) -> anyhow::Result<ExitCode> {
    if which == OwnKey::Transport && crate::setup::organizations(dir)?.len() > 1 {
        return Err(fail(
            "this node serves several organizations, and each of them lists its transport key: it \
             cannot be renewed for one of them alone",
            "renewing it for all of them at once is not there yet",
        ));
    }
    let own = Own::open(dir, options)?;
    let usage = match which {
        OwnKey::Transport => KeyUse::Transport,
        OwnKey::Pointer => KeyUse::Pointer,
    };
    let now = own.view.now;
    let mut set = next_set(&own.view, &own.organization)?;
    let mut keys = set.keys.to_vec();
    let used = setup_key(dir, which, &own.organization)?;
    let old = keys.iter_mut().find(|key| key.key == used && key.usage == usage);
    let old = old.ok_or_else(|| {
        fail(
            "the roster does not list the key that this node has in use",
            "wait until the node has caught up, or publish its keys again: signpost keys republish",
        )
    })?;
    match revoke {
        // One that stands already, from an attempt that was cut short, is the earlier one.
        Some(reason) => {
            old.revoked.get_or_insert(Revocation { since: now, reason: reason.said() });
        }
        None => old.not_after = old.not_after.min(now.plus(OVERLAP)),
    }
    let key = SecretKey::generate(&mut UnwrapErr(SysRng));
    let not_before = now.minus(KEY_LEAD);
    let new = KeyRecord {
        key: key.public(),
        not_before,
        not_after: not_before.plus(KEY_LIFE),
        revoked: None,
        ..*old
    };
    keys.push(new);
    // Old transport keys stay listed: a steward's heartbeats bear witness for as long as theirs is.
    set.keys = bounded(keys)?;
    let shown = words(&own, &set)?;
    if options.dry_run {
        return Own::rehearsed(&shown, &json!({ "what": shown, "signed": false }), json);
    }
    let Signed { statement, after } = own.hand_on(set, &shown, TO_SIGN)?;
    // First the roster that the node begins with, so that whichever of its keys it finds when it
    // starts is listed there; then the key.
    keep_roster(dir, &after.statements.write())?;
    replace_key(dir, which, &own.organization, &key, &mut UnwrapErr(SysRng))?;
    let done = "the new key is listed; start the node again to take it into use";
    let statement = statement.to_string();
    let report = json!({ "what": shown, "signed": true, "statement": statement, "next": done });
    let who = name(&own.view, &own.organization);
    let text = format!("Signed for {who}, and handed on to the members: {done}.\n");
    print(&if json { report.to_string() } else { text })?;
    Ok(ExitCode::SUCCESS)
}

/// The public half of a key that the node has in use.
fn setup_key(
    dir: &Path,
    which: OwnKey,
    organization: &OrganizationId,
) -> anyhow::Result<signpost_protocol::PublicKey> {
    let identity = crate::setup::open(dir)?;
    let served = identity.served.iter().find(|served| served.organization == *organization);
    Ok(match (which, served) {
        (OwnKey::Transport, _) => identity.transport.public(),
        (OwnKey::Pointer, Some(served)) => served.pointer.public(),
        (OwnKey::Pointer, None) => anyhow::bail!("the node does not serve this organization"),
    })
}

fn revoke(
    dir: &Path,
    prefix: &str,
    reason: Reason,
    since: Option<jiff::Timestamp>,
    options: &Options,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let own = Own::open(dir, options)?;
    let since = match since {
        None => own.view.now,
        Some(since) => {
            Timestamp(u64::try_from(since.as_millisecond()).context("a time before 1970")?)
        }
    };
    let mut set = next_set(&own.view, &own.organization)?;
    let mut keys = set.keys.to_vec();
    let is_it = |key: &KeyRecord| key.key.key_id().to_string().starts_with(prefix);
    let mut found = keys.iter_mut().filter(|key| is_it(key));
    let (Some(key), None) = (found.next(), found.next()) else {
        return Err(fail(
            format!("{prefix} is not the beginning of exactly one key's id"),
            "`signpost keys list` has the ids of all",
        ));
    };
    if key.revoked.is_some_and(|revoked| revoked.since <= since) {
        return Err(fail("the key is revoked already", "`signpost keys list` says since when"));
    }
    key.revoked = Some(Revocation { since, reason: reason.said() });
    set.keys = bounded(keys)?;
    publish(&own, options, set, "the key counts for nothing any more", json)
}

fn bounded<T, const MAX: usize>(items: Vec<T>) -> anyhow::Result<Bounded<T, MAX>> {
    Bounded::new(items).ok_or_else(|| {
        fail(
            format!("a set of keys holds at most {MAX}"),
            "keys whose signatures nobody needs any more have to be taken out first",
        )
    })
}

/// The set, and what it changes, in plain words.
fn words(own: &Own<'_>, set: &OrganizationKeys) -> anyhow::Result<String> {
    let last = last_set(&own.view, &own.organization)?;
    let who = name(&own.view, &own.organization);
    let mut shown = format!("The keys of {who}, version {}:\n", set.version);
    for line in keys_words::difference(last, set) {
        shown += &format!("  {line}\n");
    }
    if set.lineage > last.lineage {
        shown += "  Signed by the root key that has taken the place of the old one.\n";
    }
    Ok(shown)
}

/// Shows the set, asks, signs it, and brings it to the node.
fn publish(
    own: &Own<'_>,
    options: &Options,
    set: OrganizationKeys,
    done: &str,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let shown = words(own, &set)?;
    if options.dry_run {
        return Own::rehearsed(&shown, &json!({ "what": shown, "signed": false }), json);
    }
    let Signed { statement, .. } = own.hand_on(set, &shown, TO_SIGN)?;
    let statement = statement.to_string();
    let report = json!({ "what": shown, "signed": true, "statement": statement, "next": done });
    let who = name(&own.view, &own.organization);
    let text = format!("Signed for {who}, and handed on to the members: {done}.\n");
    print(&if json { report.to_string() } else { text })?;
    Ok(ExitCode::SUCCESS)
}
