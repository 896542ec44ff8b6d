//! Which digests of other nodes to believe, and what they say about a locator.
//!
//! A head counts once it is signed by a key of that very node, newer than what is known, within
//! its class, and all its parts have been fetched and checked. Until then the one before it stays
//! in use: an old digest finds candidates that no digest would miss.

use std::collections::{BTreeMap, HashSet};

use signpost_keys::{ValidAt, Verified};
use signpost_protocol::{
    ContentHash, KeyEpoch, Locator, NodeId, OrganizationId, PublicKey,
    digest::{DigestHead, FILTER_KIND_BLOOM_AES12, FilterHead},
    limits,
    roster::Standing,
};
use tracing::{debug, info, warn};

use super::{
    Core, Now, Persist, Turn,
    completeness::{Cause, CauseKind, Completeness},
    event::Action,
    rows,
};
use crate::{
    digests::{
        ChangeList, Changes, DigestKeying, Filter, LocatorKey, SharedBytes, SizeClass, test_all,
    },
    network::Verdict,
    store::Batch,
};

/// Milliseconds that a newer head may wait for its parts before its writer counts as stale: most
/// are here within a second.
const FETCH_PATIENCE: u64 = 10_000;
/// How many rounds of maintenance lie between two clean-ups of blobs: about ten minutes, in which a
/// member that makes ever new filters costs the others no more than what they fetch in that time.
const RETAIN_EVERY: u32 = 600;
/// Milliseconds by which the version of a head may be above the clock, from which versions are taken:
/// a year, as with a clock that was very wrong once. A thief of a key could otherwise sign the last
/// version that there is, and nothing newer would ever be possible.
const VERSION_AHEAD_MAX: u64 = 366 * 24 * 3_600_000;

/// The digests of all other nodes.
#[derive(Default)]
pub(super) struct Digests {
    table: BTreeMap<(OrganizationId, NodeId), Entry>,
    rounds: u32,
    comparisons: usize,
}

#[derive(Default)]
struct Entry {
    current: Option<Digest>,
    incoming: Option<Verified<DigestHead>>,
    /// Since when (uptime) a newer head than the current one waits for its parts.
    waiting_since: Option<u64>,
    /// Heads up to this version were fetched and found bad.
    bad_version: u64,
    /// Whether the writer issues heads without knowing of the one in use: it lost something.
    has_lost: bool,
}

/// A head whose parts are here and hold.
struct Digest {
    head: Verified<DigestHead>,
    /// The uptime at which it was put to use: its age by a clock that does not jump.
    since: u64,
    filters: Vec<ReadyFilter>,
}

/// A filter with its changes, ready to be tested.
#[derive(Clone)]
pub(super) struct ReadyFilter {
    pub(super) key_epoch: KeyEpoch,
    pub(super) filter: Filter,
    pub(super) keying: DigestKeying,
    pub(super) changes: Changes,
}

/// A node that may hold pointers for a locator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) organization: OrganizationId,
    pub(super) node: NodeId,
}

impl Digests {
    pub(super) fn newest(
        &self,
        organization: &OrganizationId,
        node: &NodeId,
    ) -> Option<&Verified<DigestHead>> {
        self.table.get(&(*organization, *node)).and_then(Entry::newest)
    }

    /// The newest heads of the nodes of these organizations.
    pub(super) fn newest_heads(
        &self,
        of: impl Fn(&OrganizationId) -> bool,
    ) -> impl Iterator<Item = &Verified<DigestHead>> {
        let table = self.table.iter().filter(move |((organization, _), _)| of(organization));
        table.filter_map(|(_, entry)| entry.newest())
    }

    fn named_blobs(&self) -> impl Iterator<Item = ContentHash> + '_ {
        self.table.values().flat_map(Entry::named_blobs)
    }
}

impl Digest {
    /// The filter in use, if it is the very one that a newer head names.
    fn same_filter(&self, newer: &FilterHead) -> Option<&Filter> {
        let at = self.head.filters.iter().position(|known| {
            known.filter == newer.filter
                && known.class == newer.class
                && known.ones == newer.ones
                && known.salt == newer.salt
        })?;
        self.filters.get(at).map(|ready| &ready.filter)
    }
}

impl Entry {
    /// Whether something newer than the current digest is known and cannot be used.
    fn lags(&self, uptime: u64) -> bool {
        let version = self.current.as_ref().map_or(0, |digest| digest.head.version);
        self.bad_version > version
            || self.waiting_since.is_some_and(|since| uptime.saturating_sub(since) > FETCH_PATIENCE)
    }

    fn named_blobs(&self) -> HashSet<ContentHash> {
        let current = self.current.as_ref().map(|digest| &digest.head);
        let heads = current.into_iter().chain(&self.incoming);
        heads.flat_map(|head| head.filters.iter()).flat_map(blobs_of).collect()
    }

    fn newest(&self) -> Option<&Verified<DigestHead>> {
        self.incoming.as_ref().or(self.current.as_ref().map(|digest| &digest.head))
    }
}

/// The blobs that a filter consists of.
pub(super) fn blobs_of(filter: &FilterHead) -> impl Iterator<Item = ContentHash> + '_ {
    std::iter::once(filter.filter).chain(filter.changes.iter().copied())
}

impl ReadyFilter {
    /// Puts a filter together from its parts; `part` finds them by name. A filter that is `known` was
    /// checked before.
    pub(super) fn assemble(
        organization: &OrganizationId,
        head: &FilterHead,
        known: Option<&Filter>,
        mut part: impl FnMut(&ContentHash) -> Option<SharedBytes>,
    ) -> Result<Self, String> {
        let class = SizeClass::new(head.class).ok_or("unknown size class")?;
        let filter = match known {
            Some(known) => known.clone(),
            None => {
                let bytes = part(&head.filter).ok_or("the filter is not here")?;
                Filter::check(bytes, class, head.ones).map_err(|error| error.to_string())?
            }
        };
        let lists = head
            .changes
            .iter()
            .map(|hash| {
                let bytes = part(hash).ok_or("a change list is not here")?;
                ChangeList::decode((*bytes).as_ref(), class).map_err(|error| error.to_string())
            })
            .collect::<Result<Vec<_>, String>>()?;
        let changes = Changes::merge(class, &lists).map_err(|error| error.to_string())?;
        filter.check_changes(&changes).map_err(|error| error.to_string())?;
        let keying = DigestKeying::new(organization, &head.salt);
        Ok(Self { key_epoch: head.key_epoch, filter, keying, changes })
    }

    pub(super) fn may_contain(&self, key: &LocatorKey) -> bool {
        self.filter.may_contain(key, &self.keying, &self.changes)
    }
}

impl Core {
    /// Takes up the heads that were stored; what no longer verifies is fetched again.
    pub(super) fn load_heads(&mut self, turn: &mut Turn<'_>) -> Result<(), rows::RowError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = turn.store.scan(
                rows::HEADS_PREFIX,
                after.as_deref(),
                limits::HEADS_PER_FETCH_MAX,
            )?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (_, bytes) in &page {
                // Its source is long gone; parts that are not on disk come from whoever connects.
                self.offer_head(turn, bytes, PublicKey([0; 32]));
            }
        }
    }

    /// Considers a head that `source` passed on.
    pub(super) fn offer_head(
        &mut self,
        turn: &mut Turn<'_>,
        bytes: &[u8],
        source: PublicKey,
    ) -> Verdict {
        let Now { unix: now, uptime } = turn.now;
        let head = match self.roster.verify::<DigestHead>(bytes, ValidAt::Now(now)) {
            Ok(head) => head,
            Err(error) => {
                if self.complaints.may_log(&source, uptime) {
                    warn!(?source, %error, "refused a digest head");
                }
                return Verdict::Reject;
            }
        };
        let label = self.label(&head.organization).0;
        if self.roster.node_of_key(&head.key_id(), &head.organization) != Some(head.node) {
            if self.complaints.may_log(&source, uptime) {
                warn!(?source, ods = %label, "refused a digest head: its key is of another node");
            }
            return Verdict::Reject;
        }
        if head.version > now.plus(VERSION_AHEAD_MAX).0 {
            if self.complaints.may_log(&source, uptime) {
                warn!(?source, ods = %label, "refused a digest head: its version is out of bounds");
            }
            return Verdict::Reject;
        }
        if head.node == self.me.node {
            return self.on_own_head(turn, &head);
        }
        let entry = self.digests.table.entry((head.organization, head.node)).or_default();
        if let Some(known) = entry.newest() {
            if head.version == known.version
                && head.hash() != known.hash()
                && self.complaints.may_log(&source, uptime)
            {
                warn!(?source, ods = %label, version = head.version,
                    "two digest heads have the same version");
            }
            if head.version <= known.version {
                debug!(ods = %label, version = head.version, "a digest head is not newer");
                return Verdict::Ignore;
            }
        }
        if head.version <= entry.bad_version {
            return Verdict::Ignore;
        }
        let known = entry.newest().map_or(0, |known| known.version);
        entry.has_lost =
            head.restored_as_of.is_none() && head.life.is_some_and(|life| life.has_lost(known));
        if entry.has_lost {
            if self.complaints.may_log(&source, uptime) {
                warn!(
                    ods = %label, ours = known, theirs = head.version,
                    "a node has lost what its last digest stands for and does not know yet"
                );
            }
            return Verdict::Ignore;
        }
        if head.issued > now.plus(self.roster.parameters().clock_skew_max) {
            if self.complaints.may_log(&source, uptime) {
                warn!(?source, ods = %label, "ignored a digest head from the future: compare clocks");
            }
            return Verdict::Ignore;
        }
        if let Some(fault) = head.filters.iter().find_map(|filter| self.fault_of(&head, filter)) {
            if self.complaints.may_log(&source, uptime) {
                warn!(?source, ods = %label, version = head.version, fault, "refused a digest head");
            }
            return Verdict::Reject;
        }
        self.accept_head(turn, head, source);
        Verdict::Accept
    }

    /// Forgets the digests of nodes that no member lists any more, and whatever a key has signed that
    /// was revoked: its thief may have said anything, and with a version that no later head reaches.
    pub(super) fn forget_digests(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.unix;
        let is_void = |head: &Verified<DigestHead>| {
            let (key, organization) = (head.key_id(), &head.organization);
            self.roster.key_validity(&key, organization).is_none()
                || self.roster.revoked_since(&key, organization).is_some_and(|since| since <= now)
        };
        let is_gone = |(organization, node): &(OrganizationId, NodeId), entry: &Entry| {
            let member = self.roster.member(organization);
            let member = member.filter(|member| member.standing != Standing::Expelled);
            let current = entry.current.as_ref().map(|digest| &digest.head);
            member.is_none_or(|member| member.nodes.iter().all(|known| known.node != *node))
                || current.into_iter().chain(&entry.incoming).any(is_void)
        };
        let gone = self.digests.table.iter().filter(|(key, entry)| is_gone(key, entry));
        let gone: Vec<_> = gone.map(|(key, _)| *key).collect();
        for key in gone {
            self.digests.table.remove(&key);
            self.fetches.release(&key, &HashSet::new());
            let mut batch = Batch::new();
            batch.delete(rows::head_key(&key.0, &key.1)).expect("one key fits a batch");
            turn.act(Action::Persist(Persist { batches: vec![batch], ..Persist::default() }));
        }
    }

    /// What can be held against a filter before it is fetched.
    fn fault_of(&self, head: &DigestHead, filter: &FilterHead) -> Option<&'static str> {
        let Some(class) = SizeClass::new(filter.class) else { return Some("unknown size class") };
        if filter.kind != FILTER_KIND_BLOOM_AES12 {
            return Some("unknown kind of filter");
        }
        if !self.roster.class_allowed(&head.organization, filter.class) {
            return Some("its size class is above what the roster allows");
        }
        if filter.ones > class.ones_max() {
            return Some("it says maybe too often: more bits are set than a full filter has");
        }
        (filter.changes.len() > class.change_lists_max()).then_some("too many change lists")
    }

    fn accept_head(&mut self, turn: &mut Turn<'_>, head: Verified<DigestHead>, source: PublicKey) {
        let key = (head.organization, head.node);
        let entry = self.digests.table.entry(key).or_default();
        let parts: Vec<_> = head.filters.iter().flat_map(wanted_parts).collect();
        entry.incoming = Some(head);
        entry.waiting_since.get_or_insert(turn.now.uptime);
        // What only the head before this one named is no longer wanted.
        let named = entry.named_blobs();
        self.fetches.release(&key, &named);
        for (hash, length) in parts {
            self.want_blob(turn, hash, length, key, source);
        }
        self.promote(turn, key);
        self.pump_fetches(turn);
    }

    /// Puts an incoming head to use if all its parts are here.
    pub(super) fn promote(&mut self, turn: &mut Turn<'_>, key: (OrganizationId, NodeId)) {
        let Some(entry) = self.digests.table.get_mut(&key) else { return };
        let Some(head) = &entry.incoming else { return };
        if !head.filters.iter().flat_map(blobs_of).all(|hash| self.fetches.has(&hash)) {
            return;
        }
        let filters = head
            .filters
            .iter()
            .map(|filter| {
                let known = entry.current.as_ref().and_then(|digest| digest.same_filter(filter));
                ReadyFilter::assemble(&key.0, filter, known, |hash| self.fetches.bytes(hash))
            })
            .collect::<Result<Vec<_>, String>>();
        let head = entry.incoming.take().expect("looked at above");
        entry.waiting_since = None;
        let version = head.version;
        match filters {
            Ok(filters) => {
                debug!(?key, version, "a digest is in use");
                let mut batch = Batch::new();
                batch
                    .put(rows::head_key(&key.0, &key.1), head.bytes())
                    .expect("a head is far smaller than a row may be");
                turn.act(Action::Persist(Persist { batches: vec![batch], ..Persist::default() }));
                entry.current = Some(Digest { head, since: turn.now.uptime, filters });
            }
            Err(fault) => {
                entry.bad_version = version;
                warn!(organization = ?key.0, version, fault, "refused a digest after fetching it");
            }
        }
        let named = entry.named_blobs();
        self.fetches.release(&key, &named);
    }

    pub(super) fn maintain_digests(&mut self, turn: &mut Turn<'_>) {
        self.pump_fetches(turn);
        self.digests.rounds = self.digests.rounds.wrapping_add(1);
        if self.digests.rounds.is_multiple_of(RETAIN_EVERY) {
            let mut named: HashSet<ContentHash> = self.digests.named_blobs().collect();
            named.extend(self.own.values().flat_map(|own| own.named_blobs()));
            turn.act(Action::RetainBlobs(named));
        }
        let interval = self.roster.parameters().head_interval;
        let due = self.digests.rounds.is_multiple_of(
            u32::try_from(interval.div_ceil(super::MAINTENANCE_INTERVAL))
                .unwrap_or(u32::MAX)
                .max(1),
        );
        // Gossip may lose a head; one comparison an interval, each with the next peer, finds it.
        let count = self.peers.connected.len();
        // Until peers have told which own heads they know, the node waits: ask every second.
        if (due || self.is_recalling()) && count > 0 {
            self.digests.comparisons = self.digests.comparisons.wrapping_add(1);
            let nth = self.digests.comparisons % count;
            let peer = *self.peers.connected.keys().nth(nth).expect("nth is below the count");
            self.compare_heads(turn, peer);
        }
    }

    /// Tests a locator against the digest of every other node, and notes which digests cannot be
    /// relied on. With `only`, of that organization alone, which then is a candidate in any case.
    pub(super) fn candidates(
        &self,
        locator: &Locator,
        epoch: KeyEpoch,
        only: Option<OrganizationId>,
        now: Now,
        completeness: &mut Completeness,
    ) -> Vec<Candidate> {
        let key = LocatorKey::new(locator);
        let mut candidates = Vec::new();
        let mut tested = Vec::new();
        let mut tests = Vec::new();
        // Members and digests are in the same order: no search for each.
        let mut entries = self.digests.table.iter().peekable();
        let members =
            self.roster.admitted().filter(|member| only.is_none_or(|o| o == member.organization));
        for member in members {
            let organization = member.organization;
            let is_served = self.served(&organization).is_some();
            if member.nodes.is_empty() {
                completeness.add(self.without_node(&organization));
            }
            while entries.next_if(|((of, _), _)| *of < organization).is_some() {}
            for node in &member.nodes {
                if is_served && node.node == self.me.node {
                    continue;
                }
                let candidate = Candidate { organization, node: node.node };
                let entry = entries
                    .clone()
                    .take_while(|((of, _), _)| *of == organization)
                    .find(|((_, of), _)| *of == node.node)
                    .map(|(_, entry)| entry);
                let digest = entry.and_then(|entry| entry.current.as_ref());
                let filter =
                    digest.and_then(|digest| digest.filters.iter().find(|f| f.key_epoch == epoch));
                match (digest, filter) {
                    (Some(digest), Some(filter)) => {
                        let is_stale = entry.is_some_and(|entry| self.is_stale(entry, now));
                        self.note_age(digest, is_stale, completeness);
                        if entry.is_some_and(|entry| entry.has_lost) {
                            // Nobody has said since when; what it has is all that can be had.
                            let cause = self.restored(&organization, digest.head.issued);
                            completeness.add(Cause { since: None, ..cause });
                        }
                        if only.is_some() {
                            candidates.push(candidate);
                        } else {
                            tested.push(candidate);
                            tests.push((&filter.filter, &filter.keying, &filter.changes));
                        }
                    }
                    _ => {
                        completeness.add(self.missing(&organization));
                        if only.is_some() {
                            candidates.push(candidate);
                        }
                    }
                }
            }
        }
        let said = test_all(&key, &tests);
        candidates.extend(tested.iter().zip(said).filter(|(_, maybe)| *maybe).map(|(c, _)| *c));
        candidates
    }

    /// Whether something newer than the digest in use exists, or should.
    fn is_stale(&self, entry: &Entry, now: Now) -> bool {
        let age_max = self.roster.parameters().head_age_max;
        entry.lags(now.uptime)
            || entry.current.as_ref().is_some_and(|digest| {
                now.unix.since(digest.head.issued) > age_max
                    || now.unix > digest.head.expires
                    || now.uptime.saturating_sub(digest.since) > age_max
            })
    }

    /// The head in use for one node, and whether it is stale.
    pub(super) fn head_in_use(
        &self,
        organization: &OrganizationId,
        node: &NodeId,
        now: Now,
    ) -> Option<(&Verified<DigestHead>, bool)> {
        let entry = self.digests.table.get(&(*organization, *node))?;
        let digest = entry.current.as_ref()?;
        Some((&digest.head, self.is_stale(entry, now)))
    }

    fn note_age(&self, digest: &Digest, is_stale: bool, completeness: &mut Completeness) {
        let head = &digest.head;
        if is_stale {
            let reason = "has not renewed its digest: records made since then may be missed";
            let cause = self.cause(CauseKind::DigestStale, &head.organization, reason);
            completeness.add(Cause { since: Some(head.issued), ..cause });
        }
        if let Some(since) = head.restored_as_of {
            completeness.add(self.restored(&head.organization, since));
        }
    }

    fn missing(&self, organization: &OrganizationId) -> Cause {
        let reason = "no verified digest of it has arrived here: it may hold records";
        let cause = self.cause(CauseKind::DigestMissing, organization, reason);
        Cause { since: Some(self.started), ..cause }
    }

    fn without_node(&self, organization: &OrganizationId) -> Cause {
        let reason = "lists no node: it has left, or has not set one up; whatever it holds cannot be \
                      found here";
        self.cause(CauseKind::DigestMissing, organization, reason)
    }

    /// Notes in the log that a fetched part was not what its name says.
    pub(super) fn note_bad_blob(&self, from: &PublicKey) {
        info!(?from, "a peer sent a part of a digest that does not have the hash asked for");
    }
}

/// The parts of a filter with the length that its class gives them.
fn wanted_parts(filter: &FilterHead) -> Vec<(ContentHash, u64)> {
    let class = SizeClass::new(filter.class).expect("heads of unknown class are refused");
    let length = |hash: ContentHash| {
        let change = crate::digests::changes::CHANGE_BYTES as u64;
        if hash == filter.filter { class.bytes() as u64 } else { change }
    };
    blobs_of(filter).map(|hash| (hash, length(hash))).collect()
}
