//! Renewing a key that a node holds, in steps after each of which a kill does no harm: the new key is
//! drawn into the node's keystore, each organization that uses it lists it in a set of its own, and
//! when all do, and another node has heard of it, it takes the place of the old one. Whoever begins
//! again goes on where it was.

use rand_core::CryptoRng;
use signpost_keys::{SecretKey, roster::PeerStanding};
use signpost_protocol::{
    NodeId, OdsCode, OrganizationId, PublicKey, Timestamp,
    roster::{KeyRecord, OrganizationKeys, Revocation, Standing},
    statement::KeyUse,
};

use super::{
    by_root::with_keys,
    fail,
    keys_words::{self, Reason},
    view::View,
    words::{name, names, time},
};
use crate::setup::{
    self, KEY_LEAD, KEY_LIFE, KeysLock, NodeKeys, OwnKey, keep_roster, organization_dir,
    organization_of,
};

/// How long a key that was renewed goes on to count, in milliseconds: two weeks (DESIGN §5), in which
/// whoever is away learns of the new one.
const OVERLAP: u64 = 14 * 24 * 3_600_000;
/// How long ago a key may have been listed, in milliseconds, for the same command to be a repetition
/// rather than another renewal: an hour.
const REPEATED: u64 = 3_600_000;
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

/// How a renewal begins.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Begin {
    /// Whether nothing is to be written.
    pub(super) dry_run: bool,
    /// Whether another key is wanted although one was just renewed.
    pub(super) again: bool,
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
        lock: KeysLock,
        which: OwnKey,
        organization: &OrganizationId,
        view: &View,
        begin: Begin,
        rng: &mut impl CryptoRng,
    ) -> anyhow::Result<Self> {
        let mut keys = NodeKeys::open(lock)?;
        let served = served(&keys)?;
        let transport = keys.in_use(OwnKey::Transport, organization)?;
        for (ods, other) in &served {
            let pointer = keys.in_use(OwnKey::Pointer, other)?;
            check_is_there(view, which, (ods, other), &transport, &pointer)?;
        }
        let used = keys.in_use(which, organization)?;
        let listing = listing(which, organization, served);
        let staged = keys.staged(which, organization)?;
        if staged.is_none() && !begin.again {
            listing.iter().try_for_each(|(_, one)| refuse_repeated(view, which, one, &used))?;
        }
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
            None if begin.dry_run => SecretKey::generate(rng).public(),
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
                "wait until the node has caught up, or list the keys in use again: signpost keys \
                 republish",
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
        let not_after = not_before.plus(KEY_LIFE);
        let new = KeyRecord { key: self.next, not_before, not_after, revoked: None, ..*old };
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

    /// Whether all list the new key that have to; the node's folders are read anew.
    pub(super) fn is_complete(&mut self, view: &View) -> anyhow::Result<bool> {
        self.listing = listing(self.which, &self.organization, served(&self.keys)?);
        Ok(self.missing(view).is_empty())
    }

    /// Whether somebody else must have heard of the new key before the node may use it.
    ///
    /// A node whose transport key nobody knows is a stranger to all, and cannot tell them what would
    /// change that. A pointer key can follow later: the node is let in by the other one.
    pub(super) fn must_be_heard_of(&self, view: &View) -> anyhow::Result<bool> {
        let here = self.keys.node()?;
        let mut nodes = view.roster.admitted().flat_map(|member| &member.nodes);
        Ok(self.which == OwnKey::Transport && nodes.any(|node| node.node != here))
    }

    /// Whether nobody who has this roster lets the node in by the old key.
    pub(super) fn is_cut_off(&self, view: &View) -> bool {
        self.which == OwnKey::Transport
            && view.roster.standing_of_peer(&self.used, view.now) != PeerStanding::Member
    }

    /// Puts the new key in the place of the old one, if the node starts with it: all list it, as
    /// [`Self::is_complete`] has found.
    pub(super) fn finish(&mut self, view: &View, rng: &mut impl CryptoRng) -> anyhow::Result<()> {
        let renewed = Some((self.which, &self.organization));
        self.keys.check_starts(&view.roster, renewed).map_err(|error| {
            fail(
                format!("the node would not start with the new key, and goes on with the old one: {error}"),
                "list what is missing with `signpost keys republish --organization ODS`, or move the \
                 folder that does not belong there out of organizations/; then type this again: the \
                 new key is in the node's keystore",
            )
        })?;
        // First the roster that the node begins with, so that whichever of its keys it finds when it
        // starts is listed there.
        keep_roster(self.keys.dir(), &view.statements.write())?;
        Ok(self.keys.take_into_use(self.which, &self.organization, rng)?)
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

/// The organizations that a node serves, with the names of their folders.
fn served(keys: &NodeKeys) -> anyhow::Result<Vec<(OdsCode, OrganizationId)>> {
    let codes = setup::organizations(keys.dir())?.into_iter();
    let served = codes.map(|ods| {
        let organization = organization_of(&organization_dir(keys.dir(), &ods))?;
        Ok((ods, organization))
    });
    served.collect()
}

/// Who must list a new key: for a transport key all that the node serves.
fn listing(
    which: OwnKey,
    organization: &OrganizationId,
    served: Vec<(OdsCode, OrganizationId)>,
) -> Vec<(OdsCode, OrganizationId)> {
    let uses = |one: &OrganizationId| which == OwnKey::Transport || one == organization;
    served.into_iter().filter(|(_, one)| uses(one)).collect()
}

/// The set with the keys that the node `here` has in use, where it does not list them: of two sets of
/// one version, made at two machines, the one that is gone on from may lack what the other had.
pub(super) fn with_keys_in_use(
    view: &View,
    set: OrganizationKeys,
    here: &NodeId,
    in_use: [(OwnKey, PublicKey); 2],
) -> anyhow::Result<OrganizationKeys> {
    // Whoever has left lists no node, and no key of one.
    if set.nodes.iter().all(|node| node.node != *here) {
        return Ok(set);
    }
    let mut keys = set.keys.to_vec();
    for (which, key) in in_use {
        if keys.iter().all(|listed| listed.key != key) {
            keys.push(new_record(key, usage(which), *here, view.now));
        }
    }
    with_keys(set, keys)
}

/// What is listed of a key that was drawn at `now`.
const fn new_record(key: PublicKey, usage: KeyUse, node: NodeId, now: Timestamp) -> KeyRecord {
    let not_before = now.minus(KEY_LEAD);
    let not_after = not_before.plus(KEY_LIFE);
    KeyRecord { key, usage, node: Some(node), not_before, not_after, revoked: None }
}

/// Refuses to renew a key that was renewed just now: a command that was killed before it could say that
/// all was done is typed again, and is not meant to begin anew.
fn refuse_repeated(
    view: &View,
    which: OwnKey,
    organization: &OrganizationId,
    used: &PublicKey,
) -> anyhow::Result<()> {
    let Some(new) = record(view, which, organization, used) else { return Ok(()) };
    let listed_at = new.not_before.plus(KEY_LEAD);
    let is_old = |key: &&KeyRecord| {
        key.usage == new.usage && key.node == new.node && key.not_before < new.not_before
    };
    let keys = view.roster.keys_of(organization);
    let Some(old) = keys.iter().filter(is_old).max_by_key(|key| key.not_before) else {
        return Ok(());
    };
    if view.now.since(listed_at) >= REPEATED {
        return Ok(());
    }
    Err(fail(
        format!(
            "the renewal seems to be done: the key that the node starts with, {}, was listed at {}, \
             and follows {}",
            &used.key_id().to_string()[..8],
            time(listed_at),
            &old.key.key_id().to_string()[..8]
        ),
        "start the node again if that was not done since; `signpost keys revoke` revokes an old key, \
         and --again draws yet another one",
    ))
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
    pointer: &PublicKey,
) -> anyhow::Result<()> {
    let standing = view.member(organization).map(|member| member.standing);
    let is_out = which == OwnKey::Transport && standing == Some(Standing::Expelled);
    let is_listed =
        |(which, key): &(OwnKey, &PublicKey)| record(view, *which, organization, key).is_some();
    let keys = [(OwnKey::Transport, transport), (OwnKey::Pointer, pointer)];
    let unlisted = keys.into_iter().find(|key| !is_listed(key));
    let who = name(view, organization);
    let (message, again) = match unlisted {
        _ if is_out => (format!("{who} was expelled, and the node still serves it"), String::new()),
        None => return Ok(()),
        Some((unlisted, _)) => {
            let key = keys_words::usage(usage(unlisted));
            let message = format!("the roster does not list this node's {key} key for {who}");
            let again = ", or list the keys in use again (signpost keys republish --organization ";
            (message, format!("{again}{ods})"))
        }
    };
    Err(fail(
        message,
        format!(
            "wait until the node has caught up{again}; if {who} has left for good, move its folder, \
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
