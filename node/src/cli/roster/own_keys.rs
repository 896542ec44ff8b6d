//! `signpost keys`: an organization's own keys. Its root key alone decides about them; nobody has to
//! agree, and every member follows from the next message on.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Subcommand;
use getrandom::SysRng;
use rand_core::UnwrapErr;
use serde_json::json;
use signpost_keys::{keystore::Cost, roster::PeerStanding};
use signpost_protocol::{
    Timestamp,
    roster::{KeyRecord, OrganizationKeys, Revocation},
};

use super::{
    by_root::{Options, Own, Signed, last_set, next_set, with_keys},
    fail,
    heard::{BY_FILE, Heard, unheard},
    keys_words::{self, Reason},
    own_nodes,
    renewal::{Begin, Renewal, with_keys_in_use},
    source::Source,
    view::View,
    words::{name, time},
};
use crate::{
    cli::{
        PARTLY,
        behalf::Behalf,
        text::{print, tell},
    },
    setup::{NodeKeys, OwnKey, new_root, organization_of},
};

/// What is asked before a set of keys is signed.
pub(super) const TO_SIGN: &str = "To sign this,";

/// Arguments of `signpost keys`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The root key signs the whole set of an organization's keys anew; nothing else is needed, and no steward
is asked. A key that was revoked counts for nothing from that instant on, at every member.

Examples:
  signpost keys list
  signpost keys renew transport
  signpost keys renew transport --revoke compromised
  signpost keys renew transport --organization A81001 --root /media/offline/root.keystore
  signpost keys revoke 1f0b77aa --reason retired
  signpost keys add-node prepared.cbor
  signpost keys remove-node 4be1a0c2
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
    ///
    /// A transport key is used once all organizations that the node serves list it: each types this with
    /// its own root key, and when one other member's node has heard of it, for which this waits. What was
    /// cut short is gone on with when this is typed again.
    Renew {
        /// Which key.
        #[arg(value_enum)]
        which: OwnKey,
        /// Revokes the old one at once, for this reason, instead of letting it count for 14 days.
        #[arg(long, value_enum, value_name = "REASON")]
        revoke: Option<Reason>,
        /// Does not wait until another member's node is known to have heard of a new transport key: one
        /// has imported this node's roster by file.
        #[arg(long)]
        imported: bool,
        /// Draws another key although one was renewed within the last hour.
        #[arg(long)]
        again: bool,
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
    /// Lists a further node of the organization, which `signpost node prepare` made on another machine.
    AddNode {
        /// The file with what the new node asks for.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        options: Options,
    },
    /// Takes one of several nodes of the organization off the list, with its keys.
    RemoveNode {
        /// The first digits of its id: `signpost keys list` has them.
        #[arg(value_name = "NODE")]
        node: String,
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
    /// Signs the present set of keys anew: with a root key that has taken the place of the old one, or
    /// with the keys that the node has in use, should the set not list them.
    Republish {
        #[command(flatten)]
        options: Options,
    },
}

/// Runs the command.
pub(in crate::cli) fn command(dir: &Path, args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::List { behalf } => list(dir, behalf, json),
        Command::Renew { which, revoke, imported, again, options } => {
            let begin = Begin { dry_run: options.dry_run, again: *again };
            renew(dir, *which, *revoke, (begin, *imported), options, json)
        }
        Command::Revoke { key, reason, since, options } => {
            revoke(dir, key, *reason, *since, options, json)
        }
        Command::AddNode { file, options } => own_nodes::add(dir, file, options, json),
        Command::RemoveNode { node, options } => own_nodes::remove(dir, node, options, json),
        Command::NewRoot { out } => draw_root(out, json),
        Command::Republish { options } => republish(dir, options, json),
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
    (begin, imported): (Begin, bool),
    options: &Options,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let rng = &mut UnwrapErr(SysRng);
    let own = Own::open(dir, options)?;
    let (view, organization) = (&own.view, &own.organization);
    let who = name(view, organization);
    let mut renewal = Renewal::begin(own.lock.clone(), which, organization, view, begin, rng)?;
    let set = renewal.set(view, next_set(view, organization)?, revoke)?;
    let mut shown = renewal.origin().to_owned();
    match &set {
        Some(set) => {
            shown += &words(&own, set)?;
            shown += &renewal.warning(view, set, revoke);
        }
        None => shown += &format!("The roster lists it for {who}: there is nothing to sign.\n"),
    }
    if options.dry_run {
        return Own::rehearsed(&shown, &json!({ "what": shown, "signed": false }), json);
    }
    let signed = match set {
        Some(set) => Some(own.hand_on(set, &shown, TO_SIGN)?),
        None => {
            tell(&shown);
            None
        }
    };
    let after = signed.as_ref().map_or(view, |signed| &signed.after);
    let (heard, next) = take_into_use(&own, &mut renewal, after, (revoke, imported))?;
    let missing = renewal.missing(after).into_iter().map(|(ods, _)| ods.as_str());
    let missing: Vec<_> = missing.collect();
    let is_unheard = heard.is_none() && missing.is_empty();
    let report = json!({
        "what": shown,
        "signed": signed.is_some(),
        "statement": signed.as_ref().map(|signed| signed.statement.to_string()),
        "taken": heard.is_some(),
        "unheard": is_unheard,
        "missing": missing,
        "next": next,
    });
    let done = match signed {
        Some(_) => format!("Signed for {who}, and handed on to the members.\n"),
        None => String::new(),
    };
    print(&if json { report.to_string() } else { done + &next })?;
    Ok(if is_unheard { ExitCode::from(PARTLY) } else { ExitCode::SUCCESS })
}

/// Puts the new key in the place of the old one, once it may be used. What is known of others then, or
/// nothing when the node goes on with the old key; and what is to be done next.
fn take_into_use(
    own: &Own<'_>,
    renewal: &mut Renewal,
    view: &View,
    (revoke, imported): (Option<Reason>, bool),
) -> anyhow::Result<(Option<Heard>, String)> {
    if !renewal.is_complete(view)? {
        return Ok((None, renewal.left(view, revoke)));
    }
    let is_cut_off = renewal.is_cut_off(view);
    let heard = match renewal.must_be_heard_of(view)? && !imported {
        true => Heard::wait(|| own.source.status(), is_cut_off, std::thread::sleep),
        false => Some(Heard::Unasked),
    };
    let Some(heard) = heard else { return Ok((None, unheard(is_cut_off))) };
    renewal.finish(view, &mut UnwrapErr(SysRng))?;
    Ok((Some(heard), heard.next()))
}

fn republish(dir: &Path, options: &Options, json: bool) -> anyhow::Result<ExitCode> {
    let own = Own::open_waiting(dir, options)?;
    let keys = NodeKeys::open(own.lock.clone())?;
    let transport = keys.in_use(OwnKey::Transport, &own.organization)?;
    let pointer = keys.in_use(OwnKey::Pointer, &own.organization)?;
    let in_use = [(OwnKey::Transport, transport), (OwnKey::Pointer, pointer)];
    let set = next_set(&own.view, &own.organization)?;
    let set = with_keys_in_use(&own.view, set, &keys.node()?, in_use)?;
    let mut done = "its keys are listed anew.".to_owned();
    let standing = own.view.roster.standing_of_peer(&transport, own.view.now);
    if standing != PeerStanding::Member {
        done += &format!(
            "\nThe others may have let this node in no more, and then take nothing from it. If they still \
             do not in a minute (`signpost status`), bring the set to one of them by file:\n{BY_FILE}"
        );
    }
    publish(&own, options, set, &done, json)
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
    let set = next_set(&own.view, &own.organization)?;
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
    let set = with_keys(set, keys)?;
    publish(&own, options, set, "the key counts for nothing any more.", json)
}

/// The set, and what it changes, in plain words.
pub(super) fn words(own: &Own<'_>, set: &OrganizationKeys) -> anyhow::Result<String> {
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
    let done = done.trim_end();
    let text = format!("Signed for {who}, and handed on to the members: {done}\n");
    print(&if json { report.to_string() } else { text })?;
    Ok(ExitCode::SUCCESS)
}
