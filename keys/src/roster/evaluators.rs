//! Who evaluates: the chain of records from the founding on, and which of them is in force.

use std::collections::BTreeSet;

use signpost_protocol::{
    ContentHash, KeyEpoch, OrganizationId, Timestamp,
    blind::EvaluatorSet,
    roster::{Change, EvaluatorsRecord, Subject},
};

use super::{
    law::{Law, State},
    statements::Statements,
};
use crate::blinding::{self, EvaluatorIndex, PublicShare};

/// Former sets that are remembered: askers that have not heard of the new ones use them for a while.
const FORMER_MAX: usize = 4;

/// Who evaluates, by the record that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluators {
    /// The version of the record; 0 is the founding's.
    pub version: u64,
    /// The id of the proposal that made it law; the network id for the founding's.
    pub id: ContentHash,
    /// The sets, by ascending key epoch. None before the first ceremony of a network.
    pub sets: Vec<EvaluatorSet>,
    /// The newest key epoch that there ever was: none is used again for another key.
    pub newest_epoch: Option<KeyEpoch>,
    /// The sets that others have taken the place of, the latest first, each with the instant since when.
    pub former: Vec<(EvaluatorSet, Timestamp)>,
}

impl Evaluators {
    pub(super) fn of_founding(statements: &Statements) -> Self {
        Self {
            version: 0,
            id: ContentHash(statements.network.0),
            sets: statements.founding.evaluators.iter().cloned().collect(),
            newest_epoch: statements.founding.evaluators.as_ref().map(|set| set.key_epoch),
            former: Vec::new(),
        }
    }

    /// The set by which locators are made; none before the first ceremony of a network.
    #[must_use]
    pub fn current(&self) -> Option<&EvaluatorSet> {
        self.sets.first()
    }

    /// Whether a record may follow.
    ///
    /// # Errors
    /// Says which rule it breaks: it names another one before it, shares of a key that exists are of
    /// another key or not newer, or said to be dealt when they were not or the other way round, a new
    /// key has no new epoch, or one party dealt it.
    pub fn check_next(&self, record: &EvaluatorsRecord) -> Result<(), &'static str> {
        if record.version <= self.version || record.previous != self.id {
            return Err("it does not follow the evaluators that are in force");
        }
        for set in record.sets.iter() {
            let before = self.sets.iter().find(|before| before.key_epoch == set.key_epoch);
            match before {
                Some(before) if before == set => {}
                Some(before) if before.group != set.group => {
                    return Err("it has another key in the same key epoch");
                }
                Some(before) if before.share_epoch >= set.share_epoch => {
                    return Err("its shares are not newer than those in force");
                }
                // Whoever knew the key knows it still, however often it is handed on.
                Some(before) if before.dealt != set.dealt => {
                    return Err("whether one party dealt the key is not what the roster says");
                }
                _ if set.threshold < 2 => {
                    return Err("each of its shares would be the whole key");
                }
                None if self.newest_epoch.is_some_and(|newest| newest >= set.key_epoch) => {
                    return Err("its key epoch is not newer than all before");
                }
                None if set.dealt => {
                    return Err("one party dealt the key, and could have kept it");
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn follow(&mut self, record: &EvaluatorsRecord, id: ContentHash, since: Timestamp) {
        let sets = record.sets.to_vec();
        let gone = self.sets.drain(..).filter(|set| !sets.contains(set));
        let gone: Vec<_> = gone.map(|set| (set, since)).collect();
        self.former.splice(0..0, gone);
        self.former.truncate(FORMER_MAX);
        let newest = sets.iter().map(|set| set.key_epoch).max();
        self.newest_epoch = self.newest_epoch.max(newest);
        (self.version, self.id, self.sets) = (record.version, id, sets);
    }
}

impl Law {
    /// Follows the chain of records. One that became law counts until another follows it, also when its
    /// approvals have come into doubt: the shares of the one before may be gone.
    pub(super) fn follow_evaluators(&mut self, statements: &Statements) {
        let mut state = self.evaluators.clone();
        let versions = (Subject::Evaluators, 0)..=(Subject::Evaluators, u64::MAX);
        for ((subject, version), ids) in statements.subjects.range(versions) {
            let ids: Vec<_> = ids.iter().filter(|id| self.is_or_was_law(id)).copied().collect();
            let (follow, others): (Vec<_>, Vec<_>) = ids.into_iter().partition(|id| {
                self.evaluators_record(id).is_some_and(|r| state.check_next(r).is_ok())
            });
            others.iter().for_each(|id| self.set_state(id, State::Superseded));
            // What was built upon stays, whatever comes up beside it later: its shares were handed on.
            let mut upheld = follow.iter().filter(|id| self.is_followed(statements, id));
            let id = match (upheld.next(), upheld.next()) {
                (Some(id), None) => Some(*id),
                _ => None,
            };
            if let Some(upheld) = id {
                let others = follow.iter().filter(|id| **id != upheld).copied();
                for other in others.collect::<Vec<_>>() {
                    self.set_state(&other, State::Superseded);
                }
            }
            let id = id.or_else(|| self.prevailing(&follow, *subject, *version));
            let Some(id) = id else { continue };
            let since = self.proposal(&id).and_then(|decision| decision.decided);
            let Some(record) = self.evaluators_record(&id) else { continue };
            let (before, adopted) = (state.id, (record.ceremony, record.transcript));
            state.follow(record, id, since.unwrap_or_default());
            self.adopted.insert(adopted.0, adopted.1);
            self.set_state(&before, State::Superseded);
        }
        self.evaluators = state;
    }

    /// What all have confirmed in a ceremony, if what came out of it is or was in force.
    #[must_use]
    pub fn adopted(&self, ceremony: &ContentHash) -> Option<ContentHash> {
        self.adopted.get(ceremony).copied()
    }

    /// Whether a record that is or was law names this one as the one before it.
    fn is_followed(&self, statements: &Statements, id: &ContentHash) -> bool {
        let versions = (Subject::Evaluators, 0)..=(Subject::Evaluators, u64::MAX);
        let mut records = statements.subjects.range(versions).flat_map(|(_, ids)| ids);
        records.any(|later| {
            self.is_or_was_law(later)
                && self.evaluators_record(later).is_some_and(|record| record.previous == *id)
        })
    }

    fn evaluators_record(&self, id: &ContentHash) -> Option<&EvaluatorsRecord> {
        match &self.proposal(id)?.proposal.change {
            Change::Evaluators(record) => Some(record),
            _ => None,
        }
    }
}

/// Checks what a record would make law, as far as it can be without knowing what is in force.
pub(super) fn check_record(record: &EvaluatorsRecord) -> Result<(), &'static str> {
    if record.version == 0 {
        return Err("version 0 of the evaluators is that of the founding");
    }
    if record.sets.is_empty() {
        return Err("it names no evaluators");
    }
    if !record.sets.windows(2).all(|pair| pair[0].key_epoch < pair[1].key_epoch) {
        return Err("key epochs do not ascend");
    }
    // Whether they are members is left to whoever asks them: members come and go.
    record.sets.iter().try_for_each(|set| check_set(set, |_| true))
}

/// Checks that a set is of one key, and that its evaluators fit.
pub(super) fn check_set(
    set: &EvaluatorSet,
    is_member: impl Fn(&OrganizationId) -> bool,
) -> Result<(), &'static str> {
    let mut shares = Vec::new();
    for (position, evaluator) in set.evaluators.iter().enumerate() {
        if usize::from(evaluator.index) != position + 1 {
            return Err("evaluators are not numbered from 1");
        }
        if !is_member(&evaluator.organization) {
            return Err("an evaluator is not a member");
        }
        let share = PublicShare::from_bytes(*evaluator.public_share)
            .map_err(|_| "a public share is not a group element")?;
        let index =
            EvaluatorIndex::new(evaluator.index).ok_or("evaluators are not numbered from 1")?;
        shares.push((index, share));
    }
    let distinct: BTreeSet<_> = set.evaluators.iter().map(|e| e.organization).collect();
    if distinct.len() != set.evaluators.len() {
        return Err("an organization evaluates twice");
    }
    let group =
        PublicShare::from_bytes(*set.group).map_err(|_| "the group key is not a group element")?;
    if !blinding::group_public_matches(usize::from(set.threshold), &shares, &group) {
        return Err("the public shares do not make up the group key");
    }
    Ok(())
}
