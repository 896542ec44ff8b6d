//! From a call to what is planned, and from what came out to the record that puts it in force.

use std::collections::BTreeMap;

use signpost_protocol::{
    ContentHash,
    blind::{Evaluator, EvaluatorSet},
    codec::Bounded,
    roster::{CeremonyCall, EvaluatorsRecord},
};

use super::{Ceremony, Evaluators};
use crate::blinding::{
    EvaluatorIndex, PublicShare,
    ceremony::{
        CeremonyId, GeneratePlan, MessageKind, Messages, Outcome, PlanError, Progress,
        PublicKeySet, ResharePlan, Task, watch,
    },
};

/// The share epoch of a key that was just made.
const FIRST_SHARE_EPOCH: u32 = 1;

impl Evaluators {
    /// The set whose key a call would hand on; none when it would make a new one.
    ///
    /// # Errors
    /// Says why nothing that comes out could follow what is in force.
    pub fn handed_on(&self, call: &CeremonyCall) -> Result<Option<&EvaluatorSet>, &'static str> {
        if call.previous != self.id {
            return Err("it starts from other evaluators than those in force");
        }
        let set = self.sets.iter().find(|set| set.key_epoch == call.key_epoch);
        let Some(set) = set else {
            if !call.dealers.is_empty() {
                return Err("there is no key of this epoch to hand on");
            }
            if self.newest_epoch.is_some_and(|newest| newest >= call.key_epoch) {
                return Err("a new key has a newer epoch than all before");
            }
            let is_first = call.share_epoch == FIRST_SHARE_EPOCH;
            return if is_first { Ok(None) } else { Err("shares of a new key are of epoch 1") };
        };
        if call.dealers.is_empty() {
            return Err("there is a key of this epoch already");
        }
        if Some(call.share_epoch) != set.share_epoch.checked_add(1) {
            return Err("its shares are not the next ones");
        }
        let holds = |dealer: &signpost_protocol::roster::Dealer| {
            let mut holders = set.evaluators.iter();
            holders.any(|one| one.index == dealer.index && one.organization == dealer.organization)
        };
        if !call.dealers.iter().all(holds) {
            return Err("a dealer holds no share of the key");
        }
        if call.dealers.len() < usize::from(set.threshold) {
            return Err("it names fewer dealers than it takes to hand the key on");
        }
        Ok(Some(set))
    }

    /// The record that puts in force what came out of a ceremony.
    ///
    /// # Errors
    /// As [`Self::handed_on`].
    pub fn next(
        &self,
        ceremony: &Ceremony,
        outcome: &Outcome,
    ) -> Result<EvaluatorsRecord, &'static str> {
        let call = ceremony.call();
        let old = self.handed_on(call)?;
        let keys = outcome.keys();
        let evaluators = call.evaluators.iter().zip(keys.shares());
        let evaluators = evaluators.map(|(organization, (index, share))| Evaluator {
            index: index.get(),
            organization: *organization,
            public_share: share.to_bytes().into(),
        });
        let new = EvaluatorSet {
            key_epoch: call.key_epoch,
            share_epoch: call.share_epoch,
            threshold: call.threshold,
            group: keys.group_public().to_bytes().into(),
            evaluators: Bounded::new(evaluators.collect()).ok_or("it has too many evaluators")?,
            // Whoever knew the key knows it still, however often it is handed on.
            dealt: old.is_some_and(|old| old.dealt),
        };
        let others = self.sets.iter().filter(|set| set.key_epoch != call.key_epoch);
        let mut sets: Vec<_> = others.cloned().chain([new]).collect();
        sets.sort_by_key(|set| set.key_epoch);
        Ok(EvaluatorsRecord {
            version: self.version.saturating_add(1),
            previous: self.id,
            sets: Bounded::new(sets).ok_or("there are two keys already: retire one first")?,
            ceremony: ceremony.id(),
            transcript: ContentHash(outcome.transcript()),
        })
    }
}

impl Ceremony {
    /// What is planned. `old` is the set whose key is handed on.
    ///
    /// # Errors
    /// When the numbers make no ceremony.
    pub fn task(&self, old: Option<&EvaluatorSet>) -> Result<Task, PlanError> {
        ceremony_task(&self.id(), self.call(), old)
    }

    /// What has come, sorted by kind; of sealed shares those for this receiver.
    #[must_use]
    pub fn received(&self, receiver: Option<EvaluatorIndex>) -> Messages {
        let mut received = Messages::default();
        let is_others = |to: Option<EvaluatorIndex>| to.is_some() && to != receiver;
        for ((kind, sender, to), message) in self.messages() {
            if is_others(to) {
                continue;
            }
            let list = match kind {
                MessageKind::Dealing => &mut received.dealings,
                MessageKind::Enrolment => &mut received.enrolments,
                MessageKind::SealedShare => &mut received.shares,
                MessageKind::Confirmation => &mut received.confirmations,
            };
            list.push((sender, message.message.to_vec()));
        }
        received
    }

    /// How far it has come, for whoever takes no part in it: done when all evaluators have confirmed
    /// what follows from what their dealers have shown.
    ///
    /// # Errors
    /// Says why nothing that comes out could follow what is in force.
    pub fn watch(&self, evaluators: &Evaluators) -> Result<Progress, String> {
        let old = evaluators.handed_on(self.call())?;
        let task = self.task(old).map_err(|error| error.to_string())?;
        Ok(watch(&task, &self.received(None)))
    }
}

/// What the call of this name plans. `old` is the set whose key is handed on.
///
/// # Errors
/// When the numbers make no ceremony.
pub fn ceremony_task(
    id: &ContentHash,
    call: &CeremonyCall,
    old: Option<&EvaluatorSet>,
) -> Result<Task, PlanError> {
    let id = CeremonyId::new(id.0);
    let (threshold, count) = (usize::from(call.threshold), call.evaluators.len());
    let Some(old) = old else {
        return GeneratePlan::new(id, threshold, count).map(Task::Generate);
    };
    let dealers = call.dealers.iter().filter_map(|dealer| EvaluatorIndex::new(dealer.index));
    let dealers: Vec<_> = dealers.collect();
    ResharePlan::new(id, &key_set(old)?, &dealers, threshold, count).map(Task::Reshare)
}

/// The public half of a key, as the roster lists it.
fn key_set(set: &EvaluatorSet) -> Result<PublicKeySet, PlanError> {
    let share = |one: &Evaluator| {
        let share = PublicShare::from_bytes(*one.public_share).ok()?;
        Some((EvaluatorIndex::new(one.index)?, share))
    };
    let shares: Option<BTreeMap<_, _>> = set.evaluators.iter().map(share).collect();
    let group = PublicShare::from_bytes(*set.group).map_err(|_| PlanError::NotOneKey)?;
    let shares = shares.ok_or(PlanError::NotOneKey)?.into_iter().collect();
    PublicKeySet::new(usize::from(set.threshold), shares, group)
}
