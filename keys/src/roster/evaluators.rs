//! Who evaluates: the chain of records from the founding on, and which of them is in force.

use std::collections::{BTreeMap, BTreeSet};

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

/// Former sets that are remembered: askers that have not heard of the new ones use them for a while, and
/// whoever answered wrongly by one can be shown to have; refreshed every quarter, for sixteen years.
const FORMER_MAX: usize = 64;
/// By how much a version may exceed the one in force: some are passed over, where stewards have approved what
/// came to nothing.
pub const VERSIONS_AHEAD_MAX: u64 = 1_000;

/// Who evaluates, by the record that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluators {
    /// The version of the record; 0 is the founding's.
    pub version: u64,
    /// The id of the proposal that made it law; the network id for the founding's.
    pub id: ContentHash,
    /// The sets, by ascending key epoch. None before the first ceremony of a network.
    pub sets: Vec<EvaluatorSet>,
    /// What all have confirmed in each ceremony of which the outcome is or was in force.
    pub adopted: BTreeMap<ContentHash, ContentHash>,
    /// The ids of the records that led here, the latest first; as many as sets are remembered.
    pub chain: Vec<ContentHash>,
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
            adopted: BTreeMap::new(),
            chain: Vec::new(),
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
        if record.version > self.version.saturating_add(VERSIONS_AHEAD_MAX) {
            return Err("it passes over too many versions");
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
        self.adopted.insert(record.ceremony, record.transcript);
        self.chain.insert(0, id);
        self.chain.truncate(FORMER_MAX);
        (self.version, self.id, self.sets) = (record.version, id, sets);
    }
}

impl Law {
    /// Follows the chain of records. One that became law counts until another follows it, also when its
    /// approvals have come into doubt: the shares of the one before may be gone.
    ///
    /// Of several that would follow the same, whatever their versions, the one counts to which enough
    /// stewards bore witness first: an approval that was held back, or is dated back, has no witness from
    /// then. Before there is any, which is for seconds, the one proposed last.
    pub(super) fn follow_evaluators(&mut self, statements: &Statements) {
        let mut state = self.evaluators.clone();
        let versions = (Subject::Evaluators, 0)..=(Subject::Evaluators, u64::MAX);
        let ids = statements.subjects.range(versions).flat_map(|(_, ids)| ids);
        let mut left: Vec<_> = ids.filter(|id| self.is_or_was_law(id)).copied().collect();
        loop {
            let follows = |id: &&ContentHash| {
                self.evaluators_record(id).is_some_and(|record| state.check_next(record).is_ok())
            };
            let rank = |id: &&ContentHash| {
                let seen = self.witnessed_at(statements, id).unwrap_or(Timestamp(u64::MAX));
                let proposed = self.proposal(id).map(|decision| decision.proposal.issued);
                (seen, std::cmp::Reverse(proposed), **id)
            };
            let next = left.iter().filter(follows).min_by_key(rank).copied();
            let Some(id) = next else { break };
            let since = self.proposal(&id).and_then(|decision| decision.decided);
            let Some(record) = self.evaluators_record(&id) else { break };
            let before = state.id;
            state.follow(record, id, since.unwrap_or_default());
            self.set_state(&before, State::Superseded);
            left.retain(|other| *other != id);
        }
        left.iter().for_each(|id| self.set_state(id, State::Superseded));
        self.evaluators = state;
    }

    /// When enough stewards of the epoch that decided a proposal had borne witness to it.
    fn witnessed_at(&self, statements: &Statements, id: &ContentHash) -> Option<Timestamp> {
        let number = usize::try_from(self.proposal(id)?.proposal.epoch).ok()?;
        let epoch = self.epochs.get(number)?;
        let mut seen: Vec<_> = (epoch.stewards())
            .filter_map(|steward| Some(statements.witness(&steward.organization, id)?.0))
            .collect();
        seen.sort_unstable();
        seen.get(usize::from(epoch.threshold()).checked_sub(1)?).copied()
    }

    /// What all have confirmed in a ceremony, if what came out of it is or was in force.
    #[must_use]
    pub fn adopted(&self, ceremony: &ContentHash) -> Option<ContentHash> {
        self.evaluators.adopted.get(ceremony).copied()
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
