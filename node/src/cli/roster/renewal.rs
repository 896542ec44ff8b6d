//! Renewing a key that a node holds, in steps after each of which a kill does no harm: the new key is
//! drawn into the node's keystore, each organization that uses it lists it in a set of its own, and
//! when all do it takes the place of the old one. Whoever begins again goes on where it was.

use std::path::Path;

use rand_core::CryptoRng;
use signpost_keys::SecretKey;
use signpost_protocol::{
    OdsCode, OrganizationId, PublicKey,
    roster::{KeyRecord, OrganizationKeys, Revocation, Standing},
    statement::KeyUse,
};

use super::{
    by_root::with_keys,
    fail,
    keys_words::Reason,
    view::View,
    words::{name, names, time},
};
use crate::setup::{
    self, KEY_LEAD, KEY_LIFE, NodeKeys, OwnKey, keep_roster, organization_dir, organization_of,
};

/// How long a key that was renewed goes on to count, in milliseconds: two weeks (DESIGN §5), in which
/// whoever is away learns of the new one.
const OVERLAP: u64 = 14 * 24 * 3_600_000;
/// Organizations that are listed one by one: more are hundreds, and all get the same command.
const LISTED_MAX: usize = 20;

/// A key of a node on its way to be replaced.
pub(super) struct Renewal {
    which: OwnKey,
    organization: OrganizationId,
    /// Who must list the new key before the node can use it, with the names of their folders: for a
    /// transport key all that the node serves.
    listing: Vec<(OdsCode, OrganizationId)>,
    used: PublicKey,
    next: PublicKey,
    drawn: Drawn,
    keys: NodeKeys,
}

/// When the new key was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drawn {
    Now,
    /// By an earlier command.
    Before,
    /// Now, because the one from before does not count any more.
    Again,
}

impl Renewal {
    /// Finds the new key in the node's keystore, or draws it: from then on it is on disk, but in a
    /// rehearsal.
    pub(super) fn begin(
        dir: &Path,
        which: OwnKey,
        organization: &OrganizationId,
        view: &View,
        dry_run: bool,
        rng: &mut impl CryptoRng,
    ) -> anyhow::Result<Self> {
        let mut keys = NodeKeys::open(dir)?;
        let mut served = Vec::new();
        for ods in setup::organizations(dir)? {
            let organization = organization_of(&organization_dir(dir, &ods))?;
            served.push((ods, organization));
        }
        let transport = keys.in_use(OwnKey::Transport, organization)?;
        for (ods, other) in &served {
            check_is_there(view, which, (ods, other), &transport)?;
        }
        let used = keys.in_use(which, organization)?;
        let listing = match which {
            OwnKey::Transport => served,
            OwnKey::Pointer => served.into_iter().filter(|(_, one)| one == organization).collect(),
        };
        let staged = keys.staged(which, organization)?;
        let is_void = |key: &PublicKey| {
            let mut listed = listing.iter().filter_map(|(_, one)| record(view, which, one, key));
            listed.any(|record| !counts(view, &record))
        };
        let (drawn, next) = match staged {
            Some(key) if !is_void(&key) => (Drawn::Before, Some(key)),
            Some(_) => (Drawn::Again, None),
            None => (Drawn::Now, None),
        };
        let next = match next {
            Some(key) => key,
            None if dry_run => SecretKey::generate(rng).public(),
            None => keys.stage(which, organization, rng)?,
        };
        Ok(Self { which, organization: *organization, listing, used, next, drawn, keys })
    }

    /// Of the organization's next set, what it has to sign for the new key; none when the roster says
    /// all of it already.
    pub(super) fn set(
        &self,
        view: &View,
        set: OrganizationKeys,
        revoke: Option<Reason>,
    ) -> anyhow::Result<Option<OrganizationKeys>> {
        let now = view.now;
        let is_listed = self.is_listed(view, &self.organization);
        if is_listed && revoke.is_none() {
            return Ok(None);
        }
        let usage = usage(self.which);
        let mut keys = set.keys.to_vec();
        let old = keys.iter_mut().find(|key| key.key == self.used && key.usage == usage);
        let old = old.ok_or_else(|| {
            fail(
                "the roster does not list the key that this node has in use",
                "wait until the node has caught up, or publish its keys again: signpost keys republish",
            )
        })?;
        let is_revoked = is_revoked(view, old);
        match revoke {
            Some(_) if is_revoked && is_listed => return Ok(None),
            // One that stands already, from before, is the earlier one.
            Some(_) if is_revoked => {}
            Some(reason) => {
                old.revoked = Some(Revocation { since: now, reason: reason.said() });
            }
            None => old.not_after = old.not_after.min(now.plus(OVERLAP)),
        }
        let not_before = now.minus(KEY_LEAD);
        let new = KeyRecord {
            key: self.next,
            not_before,
            not_after: not_before.plus(KEY_LIFE),
            revoked: None,
            ..*old
        };
        // Old transport keys stay listed: a steward's heartbeats bear witness for as long as theirs is.
        if keys.iter().all(|key| key.key != self.next) {
            keys.push(new);
        }
        with_keys(set, keys).map(Some)
    }

    /// Who does not list the new key yet.
    pub(super) fn missing(&self, view: &View) -> Vec<&(OdsCode, OrganizationId)> {
        self.listing.iter().filter(|(_, one)| !self.is_listed(view, one)).collect()
    }

    /// Puts the new key in the place of the old one, if all list it; whether they do.
    pub(super) fn finish(
        &mut self,
        dir: &Path,
        view: &View,
        rng: &mut impl CryptoRng,
    ) -> anyhow::Result<bool> {
        if !self.missing(view).is_empty() {
            return Ok(false);
        }
        // First the roster that the node begins with, so that whichever of its keys it finds when it
        // starts is listed there.
        keep_roster(dir, &view.statements.write())?;
        self.keys.take_into_use(self.which, &self.organization, rng)?;
        Ok(true)
    }

    /// Where the new key is from, when it was not just drawn.
    pub(super) fn origin(&self) -> &'static str {
        match self.drawn {
            Drawn::Now => "",
            Drawn::Before => {
                "A new key was drawn earlier and is in the node's keystore: this goes on with it.\n"
            }
            Drawn::Again => {
                "The key that was drawn earlier is revoked or has expired: another takes its place.\n"
            }
        }
    }

    /// What a person must know before he signs a set that revokes the old key.
    pub(super) fn warning(
        &self,
        view: &View,
        set: &OrganizationKeys,
        revoke: Option<Reason>,
    ) -> String {
        let revokes = |key: &&KeyRecord| key.key == self.used && is_revoked(view, key);
        let Some(reason) = revoke.filter(|_| set.keys.iter().any(|key| revokes(&key))) else {
            return String::new();
        };
        if self.which == OwnKey::Pointer {
            return String::new();
        }
        let who = name(view, &self.organization);
        let others: Vec<_> = self
            .missing(view)
            .into_iter()
            .map(|(_, one)| one)
            .filter(|one| **one != self.organization)
            .collect();
        if others.is_empty() {
            return format!(
                "CAREFUL: as soon as this is signed {who} is cut off, until the node is started again \
                 with the new key.\n"
            );
        }
        let own = self.listing.iter().find(|(_, one)| *one == self.organization);
        format!(
            "CAREFUL: as soon as this is signed {who} is cut off: nobody accepts the old key for it, \
             and the node goes on with that until the new one is listed for {} as well and the node \
             is started again. Without --revoke it works on meanwhile; when the node has the new key, \
             the old one is revoked by\n  signpost keys revoke {} --reason {}{}\n",
            some(&others, |others| names(view, others.iter().copied())),
            &self.used.key_id().to_string()[..8],
            reason.typed(),
            own.map_or_else(String::new, |(ods, _)| format!(" --organization {ods}"))
        )
    }

    /// What is to be done before the node can use the new key: who has to type what, and by when.
    pub(super) fn left(&self, view: &View, revoke: Option<Reason>) -> String {
        let missing = self.missing(view);
        let revoke = revoke.map_or_else(String::new, |why| format!(" --revoke {}", why.typed()));
        let mut text = "The node goes on with the old key until all organizations that it serves list \
                        the new one. Still to be typed, each with the organization's own root key:\n"
            .to_owned();
        for (ods, one) in missing.iter().take(LISTED_MAX) {
            let who = name(view, one);
            text +=
                &format!("  {who}: signpost keys renew transport --organization {ods}{revoke}\n");
        }
        if let Some(more @ 1..) = missing.len().checked_sub(LISTED_MAX) {
            text += &format!("  and for {more} more\n");
        }
        let listed = |one: &OrganizationId| record(view, self.which, one, &self.used);
        let old: Vec<_> =
            self.listing.iter().filter_map(|(_, one)| Some((one, listed(one)?))).collect();
        let cut_off: Vec<_> =
            old.iter().filter(|(_, key)| !counts(view, key)).map(|(one, _)| *one).collect();
        if !cut_off.is_empty() {
            text += &format!(
                "Cut off until then, because the old key does not count for them: {}.\n",
                some(&cut_off, |some| names(view, some.iter().copied()))
            );
        }
        let first = old.iter().filter(|(_, key)| counts(view, key));
        if let Some((one, key)) = first.min_by_key(|(_, key)| key.not_after) {
            text += &format!(
                "The old key counts for {} until {}: later it would be cut off as well.\n",
                name(view, one),
                time(key.not_after)
            );
        }
        text
    }

    fn is_listed(&self, view: &View, organization: &OrganizationId) -> bool {
        let record = record(view, self.which, organization, &self.next);
        record.is_some_and(|record| counts(view, &record))
    }
}

/// What the roster has of a key of an organization.
fn record(
    view: &View,
    which: OwnKey,
    organization: &OrganizationId,
    key: &PublicKey,
) -> Option<KeyRecord> {
    let keys = view.roster.keys_of(organization);
    keys.into_iter().find(|record| record.key == *key && record.usage == usage(which))
}

const fn usage(which: OwnKey) -> KeyUse {
    match which {
        OwnKey::Transport => KeyUse::Transport,
        OwnKey::Pointer => KeyUse::Pointer,
    }
}

fn is_revoked(view: &View, key: &KeyRecord) -> bool {
    key.revoked.is_some_and(|revoked| revoked.since <= view.now)
}

/// Whether a key counts, now and until it expires.
fn counts(view: &View, key: &KeyRecord) -> bool {
    key.revoked.is_none() && view.now < key.not_after
}

/// Refuses to go on beside an organization without which the node would not start, once the roster
/// that it begins with is that of today.
fn check_is_there(
    view: &View,
    which: OwnKey,
    (ods, organization): (&OdsCode, &OrganizationId),
    transport: &PublicKey,
) -> anyhow::Result<()> {
    let standing = view.member(organization).map(|member| member.standing);
    let is_listed = record(view, OwnKey::Transport, organization, transport).is_some();
    let is_out = which == OwnKey::Transport && standing == Some(Standing::Expelled);
    if is_listed && !is_out {
        return Ok(());
    }
    let who = name(view, organization);
    Err(fail(
        if is_out {
            format!("{who} was expelled, and the node still serves it")
        } else {
            format!("the roster does not list this node's transport key for {who}")
        },
        format!(
            "wait until the node has caught up; if {who} has left for good, move its folder, \
             organizations/{ods}, out of the node's directory, and type this again"
        ),
    ))
}

/// The first of them in words, and how many more there are.
fn some<T>(all: &[T], words: impl Fn(&[T]) -> String) -> String {
    match all.len().checked_sub(LISTED_MAX) {
        Some(more @ 1..) => format!("{} and {more} more", words(&all[..LISTED_MAX])),
        _ => words(all),
    }
}
