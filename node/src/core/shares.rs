//! Which set of evaluators this node asks, and which shares of the blinding key it holds itself.
//!
//! When shares change and the key does not, evaluators answer by old ones for a while, and nodes go on
//! asking by them for a moment: so nobody needs to hear of the change at the same time as the others.

use std::{collections::BTreeMap, sync::Arc};

use signpost_keys::blinding::KeyShare;
use signpost_protocol::{
    KeyEpoch, OrganizationId, Timestamp,
    blind::{Evaluator, EvaluatorSet},
};

use super::{Core, Turn};

/// The key epoch of a network's first key; heads name it before there is one.
const FIRST_KEY_EPOCH: KeyEpoch = KeyEpoch(1);
/// Milliseconds for which a node that has heard of new shares of the same key goes on with the old:
/// news take a second or so, and an evaluator that has not heard yet could not answer by the new.
const SWITCH_AFTER: u64 = 10_000;

/// The evaluators that are asked now, and own shares.
#[derive(Default)]
pub(super) struct Shares {
    /// Whatever set each is of.
    pub(super) held: Vec<Arc<KeyShare>>,
    in_use: Option<Arc<EvaluatorSet>>,
    /// The uptime at which the set of the roster comes into use.
    switch_at: Option<u64>,
    /// The uptime at which this node has heard that a set is one no longer, by its epochs.
    former: BTreeMap<(KeyEpoch, u32), u64>,
}

impl Shares {
    pub(super) fn new(dealt: Option<KeyShare>) -> Self {
        Self { held: dealt.into_iter().map(Arc::new).collect(), ..Self::default() }
    }

    pub(super) fn wakeup(&self) -> u64 {
        self.switch_at.unwrap_or(u64::MAX)
    }
}

impl Core {
    /// The evaluators to ask; none while the network has no key.
    pub(super) fn evaluator_set(&self) -> Option<Arc<EvaluatorSet>> {
        self.shares.in_use.clone()
    }

    /// The key epoch by which locators are made.
    pub(super) fn key_epoch(&self) -> KeyEpoch {
        self.shares.in_use.as_ref().map_or(FIRST_KEY_EPOCH, |set| set.key_epoch)
    }

    /// Takes into use what the roster says, or makes up its mind when to.
    pub(super) fn follow_evaluators(&mut self, turn: &Turn<'_>) {
        let uptime = turn.now.uptime;
        let former = self.roster.evaluators().former.iter();
        let former = former.map(|(set, _)| (set.key_epoch, set.share_epoch));
        let known = &self.shares.former;
        self.shares.former =
            former.map(|epochs| (epochs, *known.get(&epochs).unwrap_or(&uptime))).collect();
        let law = self.roster.evaluators().current();
        let shares = &mut self.shares;
        if shares.in_use.as_deref() == law {
            shares.switch_at = None;
            return;
        }
        let is_same_key = match (&shares.in_use, law) {
            (Some(old), Some(new)) => old.key_epoch == new.key_epoch,
            _ => false,
        };
        let switch_at = *shares.switch_at.get_or_insert(uptime + SWITCH_AFTER);
        if !is_same_key || switch_at <= uptime {
            shares.in_use = law.cloned().map(Arc::new);
            shares.switch_at = None;
            self.peers.forget_without_share();
        }
    }

    /// Own share of a set, and as which of its evaluators.
    pub(super) fn own_share(&self, set: &EvaluatorSet) -> Option<(Evaluator, Arc<KeyShare>)> {
        let mut own = set.evaluators.iter().filter(|one| self.served(&one.organization).is_some());
        own.find_map(|one| {
            let is_it = |share: &&Arc<KeyShare>| {
                share.index().get() == one.index && share.public().to_bytes() == *one.public_share
            };
            Some((*one, self.shares.held.iter().find(is_it)?.clone()))
        })
    }

    /// Whether this node has the share that a set lists for an organization.
    pub(super) fn evaluates_for(&self, set: &EvaluatorSet, organization: &OrganizationId) -> bool {
        self.own_share(set).is_some_and(|(evaluator, _)| evaluator.organization == *organization)
    }

    /// The sets by which others may still be answered: those in force, and their predecessors for as
    /// long, since this node has heard of the change, as a digest head counts without being issued again.
    /// Whoever has heard of nothing for longer is cut off from digests as well.
    pub(super) fn answered_sets(&self, uptime: u64) -> impl Iterator<Item = &EvaluatorSet> {
        let evaluators = self.roster.evaluators();
        let grace = self.roster.parameters().head_age_max;
        let is_answered = move |(set, _): &&(EvaluatorSet, Timestamp)| {
            let heard = self.shares.former.get(&(set.key_epoch, set.share_epoch));
            heard.is_none_or(|heard| uptime < heard + grace)
        };
        let former = evaluators.former.iter().filter(is_answered);
        evaluators.sets.iter().chain(former.map(|(set, _)| set))
    }
}
