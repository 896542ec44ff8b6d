//! Statements that cannot be checked yet, each by what it waits for.
//!
//! Nothing is believed of what waits, so anybody can fill this: it is bounded, the oldest go first,
//! and what is dropped is offered again. Only what waits for the very thing that has come is tried
//! again, so a full list costs nobody anything.

use std::{collections::BTreeMap, sync::Arc};

use signpost_protocol::{ContentHash, OrganizationId};

/// Statements that wait, at most: a catch-up brings them in any order.
const WAITING_MAX: usize = 4_096;

/// What a statement waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// A proposal that names the organization.
    Organization(OrganizationId),
    /// A decided reset of the organization's root.
    Root(OrganizationId),
    /// Another key set of the organization.
    Keys(OrganizationId),
    /// The organization's becoming a steward.
    Steward(OrganizationId),
    /// A decided epoch of this number.
    Epoch(u64),
    /// An approval of the proposal by a steward of the epoch that decides it.
    Beginning(ContentHash),
    /// The proposal's being open, or decided.
    Proposal(ContentHash),
    /// Enough approvals of the proposal.
    Decision(ContentHash),
    /// The call to the ceremony.
    Ceremony(ContentHash),
}

/// A statement that waits, with what it waits for.
type Key = (Need, ContentHash);

/// What waits, by need, with its place in the queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    by_need: BTreeMap<Key, (u64, Arc<[u8]>)>,
    queue: BTreeMap<u64, Key>,
    next: u64,
}

impl Waiting {
    pub(super) fn add(&mut self, need: Need, hash: ContentHash, bytes: &Arc<[u8]>) {
        let key = (need, hash);
        if self.by_need.contains_key(&key) {
            return;
        }
        if self.queue.len() == WAITING_MAX
            && let Some((_, oldest)) = self.queue.pop_first()
        {
            self.by_need.remove(&oldest);
        }
        self.by_need.insert(key, (self.next, bytes.clone()));
        self.queue.insert(self.next, key);
        self.next += 1;
    }

    /// What waited for this; it does so no longer.
    pub(super) fn met(&mut self, need: Need) -> Vec<(ContentHash, Arc<[u8]>)> {
        let range = (need, ContentHash([0; 32]))..=(need, ContentHash([0xff; 32]));
        let keys: Vec<_> = self.by_need.range(range).map(|(key, _)| *key).collect();
        let waited = keys.into_iter().filter_map(|key| {
            let (place, bytes) = self.by_need.remove(&key)?;
            self.queue.remove(&place);
            Some((key.1, bytes))
        });
        waited.collect()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}
