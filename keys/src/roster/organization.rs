//! What is known of one organization: its roots and the key sets that they signed.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use signpost_protocol::{
    ContentHash, KeyId, NetworkId, NodeId, Timestamp,
    roster::{Inception, KeyRecord, OrganizationKeys},
    statement::{Envelope, KeyUse},
};

use super::statements::Refusal;
use crate::{
    signing::{self, CheckedKey},
    verified::Verified,
};

/// Govern keys of which the first revocation is kept, for each root: more than anybody revokes.
const REVOCATIONS_KEPT: usize = 8;

/// A root key, by the lineage for which it was proposed.
type Root = (u32, KeyId);

/// Everything that one organization has said of itself.
#[derive(Clone, Debug)]
pub(super) struct Organization {
    /// Its root keys: that of the inception, and those of decided resets with the proposals' ids.
    /// Two resets may compete for one lineage, and which counts is not known here.
    roots: BTreeMap<Root, (CheckedKey, BTreeSet<ContentHash>)>,
    sets: BTreeMap<Root, Sets>,
    /// How many proposals that are kept make it known; founders are known once more.
    pub(super) named: usize,
}

/// What one root has signed. Which sets are kept does not depend on the order in which they came.
#[derive(Clone, Debug, Default)]
struct Sets {
    /// The highest version: one set, or the two of the smallest hashes that contradict each other.
    newest: Vec<Arc<KeySet>>,
    /// For each govern key the lowest version that says it is revoked: no later set, and none from
    /// an old back-up, makes it valid again, or the revocation a new one.
    revoked: BTreeMap<KeyId, Arc<KeySet>>,
}

/// One statement of an organization's keys, checked.
#[derive(Debug)]
pub(super) struct KeySet {
    pub(super) statement: Verified<OrganizationKeys>,
    pub(super) hash: ContentHash,
    keys: Vec<(KeyRecord, KeyId, Arc<CheckedKey>)>,
}

/// A key that an organization lists now.
#[derive(Clone, Debug)]
pub(super) struct ListedKey {
    pub(super) record: KeyRecord,
    pub(super) id: KeyId,
    pub(super) key: Arc<CheckedKey>,
}

impl Organization {
    pub(super) fn new(inception: &Inception, root: CheckedKey) -> Self {
        let first = (0, inception.root.key_id());
        let roots = BTreeMap::from([(first, (root, BTreeSet::new()))]);
        Self { roots, sets: BTreeMap::new(), named: 1 }
    }

    /// Learns of the root key of a decided reset.
    pub(super) fn learn_root(&mut self, proposal: ContentHash, root: Root, key: CheckedKey) {
        let (_, proposals) = self.roots.entry(root).or_insert_with(|| (key, BTreeSet::new()));
        proposals.insert(proposal);
    }

    /// The root key of a lineage that this key id names.
    pub(super) fn root(&self, key_id: &KeyId, lineage: u32) -> Option<&CheckedKey> {
        self.roots.get(&(lineage, *key_id)).map(|(key, _)| key)
    }

    /// A root key of a lineage below `before`.
    pub(super) fn root_before(&self, key_id: &KeyId, before: u32) -> Option<&CheckedKey> {
        let mut roots = self.roots.range(..(before, KeyId([0; 16])));
        roots.find(|((_, id), _)| id == key_id).map(|(_, (key, _))| key)
    }

    /// Takes up a key set that was verified. Returns what is no longer kept; the new one itself
    /// when it is not.
    pub(super) fn add(&mut self, set: KeySet) -> Vec<ContentHash> {
        let root = (set.statement.lineage, set.statement.key_id());
        let sets = self.sets.entry(root).or_default();
        let mut before: Vec<_> = sets.iter().map(|set| set.hash).collect();
        before.push(set.hash);
        sets.add(Arc::new(set));
        before.retain(|hash| sets.iter().all(|set| set.hash != *hash));
        before
    }

    pub(super) fn get(&self, hash: &ContentHash) -> Option<&KeySet> {
        self.sets().find(|set| set.hash == *hash)
    }

    /// All that is kept; one that is kept for two reasons comes twice.
    pub(super) fn sets(&self) -> impl Iterator<Item = &KeySet> {
        self.sets.values().flat_map(Sets::iter)
    }

    /// What counts of the roots, when the resets of these ids are in effect, in their order: that
    /// of the latest that has signed anything.
    fn counts(&self, resets: &[ContentHash]) -> Option<&Sets> {
        let last = u32::try_from(resets.len()).unwrap_or(u32::MAX);
        let is_in_effect = |root: &Root| match (root.0 as usize).checked_sub(1) {
            None => true,
            Some(at) => self.roots.get(root).is_some_and(|(_, by)| by.contains(&resets[at])),
        };
        let mut sets = self.sets.range(..=(last, KeyId([0xff; 16]))).rev();
        sets.find(|(root, _)| is_in_effect(root)).map(|(_, sets)| sets)
    }

    /// Whether this key is the root when these resets are in effect, or was it before one of them.
    pub(super) fn is_root_of(&self, key_id: &KeyId, resets: &[ContentHash]) -> bool {
        self.roots.iter().any(|((lineage, id), (_, by))| {
            id == key_id
                && (*lineage == 0
                    || resets.get(*lineage as usize - 1).is_some_and(|reset| by.contains(reset)))
        })
    }

    /// The set that counts, or the two that contradict each other.
    pub(super) fn top(&self, resets: &[ContentHash]) -> &[Arc<KeySet>] {
        self.counts(resets).map(|sets| sets.newest.as_slice()).unwrap_or_default()
    }

    /// The keys that count: of two contradictory sets those that both list, revoked if either says
    /// so.
    pub(super) fn keys(&self, resets: &[ContentHash]) -> Vec<ListedKey> {
        let Some((first, others)) = self.top(resets).split_first() else { return Vec::new() };
        let listed = first.keys.iter().filter_map(|(record, id, key)| {
            let mut record = *record;
            for other in others {
                let (theirs, _, _) = other.keys.iter().find(|(theirs, _, _)| {
                    theirs.key == record.key
                        && theirs.usage == record.usage
                        && theirs.node == record.node
                })?;
                record.not_before = record.not_before.max(theirs.not_before);
                record.not_after = record.not_after.min(theirs.not_after);
                record.revoked = [record.revoked, theirs.revoked]
                    .into_iter()
                    .flatten()
                    .min_by_key(|revoked| revoked.since);
            }
            Some(ListedKey { record, id: *id, key: key.clone() })
        });
        listed.collect()
    }

    /// Since when a govern key is revoked, and when that was first said.
    pub(super) fn revoked(
        &self,
        key_id: &KeyId,
        resets: &[ContentHash],
    ) -> Option<(Timestamp, Timestamp)> {
        let sets = self.counts(resets)?;
        let said = sets.iter().filter_map(|set| Some((set.revoked(key_id)?, set.statement.issued)));
        said.reduce(|a, b| (a.0.min(b.0), a.1.min(b.1)))
    }

    /// A transport key that a set lists which is the newest of its root, and from when until when it
    /// counts there. Which root counts is left open, because heartbeats bear witness to what decides
    /// it; of those that list the key the latest has the say, so that a root that was replaced cannot
    /// take it away.
    pub(super) fn transport_key(&self, key_id: &KeyId) -> Option<(&CheckedKey, Range<Timestamp>)> {
        self.sets.values().rev().find_map(|sets| {
            let keys = sets.newest.iter().flat_map(|set| &set.keys);
            let found =
                keys.filter(|(record, id, _)| id == key_id && record.usage == KeyUse::Transport);
            found
                .map(|(record, _, key)| {
                    let revoked = record.revoked.map_or(record.not_after, |revoked| revoked.since);
                    (&**key, record.not_before..revoked.min(record.not_after))
                })
                .reduce(|(key, a), (_, b)| (key, a.start.max(b.start)..a.end.min(b.end)))
        })
    }
}

impl Sets {
    fn add(&mut self, set: Arc<KeySet>) {
        let version = |set: &Arc<KeySet>| set.statement.version;
        for (record, id, _) in &set.keys {
            if record.usage != KeyUse::Govern || record.revoked.is_none() {
                continue;
            }
            let place = |set: &Arc<KeySet>| (version(set), set.hash);
            let known = self.revoked.entry(*id).or_insert_with(|| set.clone());
            if place(&set) < place(known) {
                *known = set.clone();
            }
            if self.revoked.len() > REVOCATIONS_KEPT {
                let last = self.revoked.iter().max_by_key(|(id, set)| (place(set), **id));
                let last = last.map(|(id, _)| *id);
                last.and_then(|id| self.revoked.remove(&id));
            }
        }
        let newest = self.newest.first().map_or(0, version);
        if version(&set) > newest {
            self.newest.clear();
        }
        if version(&set) >= newest && self.newest.iter().all(|known| known.hash != set.hash) {
            self.newest.push(set);
            self.newest.sort_by_key(|set| set.hash);
            // Two suffice to show that they contradict each other.
            self.newest.truncate(2);
        }
    }

    fn iter(&self) -> impl Iterator<Item = &KeySet> {
        self.newest.iter().chain(self.revoked.values()).map(|set| &**set)
    }
}

/// Whether a key counts at an instant.
pub(super) fn is_valid_at(record: &KeyRecord, instant: Timestamp) -> bool {
    record.not_before <= instant
        && instant < record.not_after
        && record.revoked.is_none_or(|revoked| instant < revoked.since)
}

impl KeySet {
    fn revoked(&self, key_id: &KeyId) -> Option<Timestamp> {
        let (record, _, _) = self.keys.iter().find(|(_, id, _)| id == key_id)?;
        record.revoked.map(|revoked| revoked.since)
    }

    /// Verifies a key set under a root key, and checks that it is consistent.
    pub(super) fn verify(
        envelope: &Envelope,
        bytes: &[u8],
        root: &CheckedKey,
        network: &NetworkId,
    ) -> Result<Self, Refusal> {
        let statement = signing::verify::<OrganizationKeys>(envelope, bytes, root, network)?;
        let nodes: Vec<NodeId> = statement.nodes.iter().map(|node| node.node).collect();
        let refuse = |rule| Err(Refusal::Inconsistent(rule));
        if statement.version == 0 {
            return refuse("versions of a key set count up from 1");
        }
        if (1..nodes.len()).any(|at| nodes[..at].contains(&nodes[at])) {
            return refuse("an organization lists a node twice");
        }
        let mut keys: Vec<(KeyRecord, KeyId, Arc<CheckedKey>)> = Vec::new();
        for record in statement.keys.iter() {
            let fits = match (record.usage, record.node) {
                (KeyUse::Govern, None) => true,
                (KeyUse::Pointer | KeyUse::Transport, Some(node)) => nodes.contains(&node),
                _ => false,
            };
            if !fits {
                return refuse("a key is of no use here, or of a node that is not listed");
            }
            if record.not_before >= record.not_after {
                return refuse("a key is never valid");
            }
            let id = record.key.key_id();
            if id == envelope.key_id() {
                return refuse("a root key is in use for something else");
            }
            if keys.iter().any(|(_, known, _)| *known == id) {
                return refuse("a key is listed twice");
            }
            keys.push((*record, id, Arc::new(CheckedKey::new(&record.key)?)));
        }
        let hash = statement.hash();
        Ok(Self { statement, hash, keys })
    }
}
