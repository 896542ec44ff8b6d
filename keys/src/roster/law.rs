//! What counts, of all statements, at an instant: a pure function of both.
//!
//! The order is: the chain of steward epochs; each member's record; resets of root keys. Which
//! approvals count is worked out in `counting`.
//!
//! What a single steward writes, the time of its approval above all, decides nothing: it could be
//! dated back at will. The instants that matter are those that `threshold` stewards have signed
//! (when a proposal was issued and when it expires) or have borne witness at.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};
use signpost_protocol::{
    ContentHash, OdsCode, OrganizationId, Timestamp,
    roster::{Change, MemberRecord, Proposal, Standing, Subject},
};

use super::{
    approvals::{Proposed, overlap},
    counting::{Counted, Counter, Counts, Outcome, settles},
    epoch::Epoch,
    evaluators::Evaluators,
    statements::Statements,
};

/// What counts at an instant.
#[derive(Clone, Debug)]
pub struct Law {
    /// The epochs, from the founding to the present one.
    pub(super) epochs: Vec<Arc<Epoch>>,
    pub(super) members: BTreeMap<OrganizationId, MemberLaw>,
    /// The proposals of the resets in effect, by organization, in the order of their lineages.
    resets: BTreeMap<OrganizationId, Vec<ContentHash>>,
    pub(super) evaluators: Evaluators,
    proposals: BTreeMap<ContentHash, Decision>,
    /// Those that count only until they are approved again.
    doubted: BTreeSet<ContentHash>,
    pub(super) findings: Vec<Finding>,
    /// When time alone will change something, at the earliest.
    pub(super) next_change: Option<Timestamp>,
}

/// A member's record that counts.
#[derive(Clone, Debug)]
pub(super) struct MemberLaw {
    /// The proposal that made it; none in the founding.
    proposal: Option<ContentHash>,
    pub(super) version: u64,
    pub(super) standing: Standing,
    pub(super) ods: OdsCode,
    pub(super) name: String,
    pub(super) class_max: u8,
    pub(super) successor: Option<OrganizationId>,
    /// Since when.
    pub(super) since: Timestamp,
}

impl MemberLaw {
    fn new(proposal: Option<ContentHash>, record: &MemberRecord, since: Timestamp) -> Self {
        Self {
            proposal,
            version: record.version,
            standing: record.standing,
            ods: record.ods.clone(),
            name: record.name.to_string(),
            class_max: record.class_max,
            successor: record.successor,
            since,
        }
    }
}

/// What has become of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// More approvals are needed.
    Open,
    /// It is void: too few approved it in time, as far as is known.
    Expired,
    /// It is law.
    Law,
    /// It is approved, and takes effect at this instant unless a former root key objects.
    Waits(Timestamp),
    /// It is approved, and a former root key has objected.
    Objected,
    /// It was law until its approvals came into doubt and nobody approved it again in time.
    Fallen,
    /// Something newer has taken its place.
    Superseded,
    /// Another proposal for the same version is law as well, so that neither counts.
    Conflicts,
}

/// A proposal, who has approved it, and what has become of it.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The proposal.
    pub proposal: Arc<Proposal>,
    /// Who has approved it when, and how that counts.
    pub approvals: Vec<(OrganizationId, Timestamp, Counts)>,
    /// How many approvals it takes from the stewards of its epoch.
    pub needed: u16,
    /// What has become of it.
    pub state: State,
    /// When the last approval that it takes was given, by the stewards' word: since when an epoch counts
    /// as heard of, and otherwise for people.
    pub decided: Option<Timestamp>,
}

/// Something that people should look into.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// A steward has approved two things of which only one can be law. The ids of both prove it.
    Equivocation {
        /// Who.
        steward: OrganizationId,
        /// Of what.
        subject: Subject,
        /// Which version of it.
        version: u64,
        /// The ids of two of the proposals.
        proposals: [ContentHash; 2],
    },
    /// An organization has signed two different key sets of the same version.
    ContradictoryKeys {
        /// Who.
        organization: OrganizationId,
        /// Which version.
        version: u64,
    },
    /// A decision rests on approvals that are in doubt: approve it again before the instant.
    ApproveAgain {
        /// Which proposal.
        proposal: ContentHash,
        /// Until when it counts all the same.
        until: Timestamp,
    },
    /// Two organizations were admitted with one ODS code; the later one is treated as suspended.
    DuplicateOds {
        /// The code.
        ods: OdsCode,
        /// Who had it first.
        first: OrganizationId,
        /// Who came later.
        second: OrganizationId,
    },
    /// Two proposals for one subject and version are law: neither counts.
    Conflict {
        /// Of what.
        subject: Subject,
        /// Which version of it.
        version: u64,
    },
}

impl Law {
    pub(super) fn of(statements: &Statements, now: Timestamp) -> Self {
        let mut law = Self {
            epochs: vec![statements.first.clone()],
            members: BTreeMap::new(),
            resets: BTreeMap::new(),
            evaluators: Evaluators::of_founding(statements),

            proposals: BTreeMap::new(),
            doubted: BTreeSet::new(),
            findings: Vec::new(),
            next_change: None,
        };
        let counter = Counter::new(statements, now);
        law.find_contradictions(statements);
        law.follow_epochs(&counter, now);
        law.count(&counter, now);
        law.settle_members(statements);
        law.settle_resets(&counter, now);
        law.follow_evaluators(statements);
        law.refuse_duplicate_codes(statements);
        law
    }

    /// Every proposal that is known, by id.
    pub fn proposals(&self) -> impl Iterator<Item = (&ContentHash, &Decision)> {
        self.proposals.iter()
    }

    /// One proposal.
    #[must_use]
    pub fn proposal(&self, id: &ContentHash) -> Option<&Decision> {
        self.proposals.get(id)
    }

    /// Who evaluates.
    #[must_use]
    pub const fn evaluators(&self) -> &Evaluators {
        &self.evaluators
    }

    /// The record of a member that counts. Where the member stands may be worse than it says: see
    /// [`Member::standing`](super::Member::standing).
    #[must_use]
    pub fn record<'a>(
        &'a self,
        statements: &'a Statements,
        organization: &OrganizationId,
    ) -> Option<&'a MemberRecord> {
        let Some(id) = self.members.get(organization)?.proposal else {
            let mut founders = statements.founding.members.iter();
            return founders.find(|record| record.organization() == *organization);
        };
        match &self.proposals.get(&id)?.proposal.change {
            Change::Member(record) => Some(record),
            _ => None,
        }
    }

    /// From when on a steward's heartbeat bears witness to a proposal that is law, at `now`: at any time;
    /// but once more when it is settled, and to the reset of a root key not before it is in effect. None
    /// while there is nothing to bear witness to, or a doubt would be cut short.
    #[must_use]
    pub fn witnessed_from(&self, id: &ContentHash, now: Timestamp) -> Option<Timestamp> {
        let Decision { proposal, state, .. } = self.proposals.get(id)?;
        let epoch = usize::try_from(proposal.epoch).ok().and_then(|at| self.epochs.get(at))?;
        match (state, &proposal.change) {
            (State::Law, Change::Root(_)) => {
                Some(proposal.expires.plus(epoch.parameters.reset_wait))
            }
            (_, Change::Root(_)) => None,
            // What was never in force must not look later as if it had been seen to be.
            (State::Superseded, Change::Evaluators(record))
                if !self.evaluators.adopted.contains_key(&record.ceremony) =>
            {
                None
            }
            (State::Law | State::Superseded, _) => {
                let settles = settles(proposal, self.epochs.first()?);
                match (settles <= now, self.doubted.contains(id)) {
                    (false, _) => Some(Timestamp(0)),
                    (true, false) => Some(settles),
                    // By now any witness would settle it.
                    (true, true) => None,
                }
            }
            _ => None,
        }
    }

    /// The names of all that is law, hashed: what two nodes that agree have in common.
    #[must_use]
    pub fn digest(&self) -> ContentHash {
        let mut hash = Sha256::new();
        for (id, decision) in &self.proposals {
            if matches!(decision.state, State::Law) {
                hash.update(id.as_bytes());
            }
        }
        ContentHash(hash.finalize().into())
    }

    /// The ids of the resets of an organization that are in effect, in order.
    pub(super) fn resets_in_effect(&self, organization: &OrganizationId) -> &[ContentHash] {
        self.resets.get(organization).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn set_state(&mut self, id: &ContentHash, state: State) {
        self.proposals.entry(*id).and_modify(|decision| decision.state = state);
    }

    fn change_at(&mut self, instant: Timestamp, now: Timestamp) {
        if instant > now {
            let next = self.next_change.get_or_insert(instant);
            *next = (*next).min(instant);
        }
    }

    fn find_contradictions(&mut self, statements: &Statements) {
        for ((steward, _), proof) in &statements.contradictions {
            self.findings.push(Finding::Equivocation {
                steward: *steward,
                subject: proof.subject,
                version: proof.version,
                proposals: proof.proposals,
            });
        }
    }

    /// Notes what has become of a proposal; whether it is law or was.
    fn note(
        &mut self,
        id: ContentHash,
        proposed: &Proposed,
        (outcome, needed, approvals): (Outcome, u16, Counted),
        now: Timestamp,
    ) -> bool {
        let state = match outcome {
            Outcome::Open if proposed.proposal.expires <= now => State::Expired,
            Outcome::Open => State::Open,
            Outcome::Until(until) if until <= now => State::Fallen,
            Outcome::Until(_) | Outcome::Fully => State::Law,
        };
        if let Outcome::Until(until) = outcome {
            self.doubted.insert(id);
            self.findings.push(Finding::ApproveAgain { proposal: id, until });
            self.change_at(until, now);
        }
        if state == State::Open {
            self.change_at(proposed.proposal.expires, now);
        }
        let mut given: Vec<_> =
            approvals.iter().filter(|a| !matches!(a.2, Counts::Not(_))).map(|a| a.1).collect();
        given.sort_unstable();
        let is_law = outcome != Outcome::Open;
        let last_needed = given.get(usize::from(needed).saturating_sub(1)).copied();
        let decided = last_needed.filter(|_| is_law);
        let proposal = proposed.proposal.clone();
        let mut approvals = approvals;
        approvals.sort_by_key(|(steward, issued, _)| (*issued, *steward));
        self.proposals.insert(id, Decision { proposal, approvals, needed, state, decided });
        is_law
    }

    /// Of proposals for one subject and version that are law, the one that counts: what is not in
    /// doubt before what is, a later epoch's before an earlier one's, and of two whose lives do not
    /// overlap the later. None when they contradict each other.
    pub(super) fn prevailing(
        &mut self,
        ids: &[ContentHash],
        subject: Subject,
        version: u64,
    ) -> Option<ContentHash> {
        let rank = |id: &ContentHash| {
            let decision = &self.proposals[id];
            let is_law = decision.state == State::Law;
            (is_law, !self.doubted.contains(id), decision.proposal.epoch)
        };
        let [_, _, ..] = ids else { return ids.first().copied() };
        let best = ids.iter().map(rank).max()?;
        let equals: Vec<_> = ids.iter().filter(|id| rank(id) == best).copied().collect();
        let last = *equals.iter().max_by_key(|id| self.proposals[*id].proposal.issued)?;
        let contradicts = |id: &&ContentHash| {
            **id != last && overlap(&self.proposals[*id].proposal, &self.proposals[&last].proposal)
        };
        let is_conflict = equals.iter().any(|id| contradicts(&id));
        for id in ids {
            let becomes = if is_conflict && equals.contains(id) {
                State::Conflicts
            } else {
                State::Superseded
            };
            if is_conflict || *id != last {
                self.set_state(id, becomes);
            }
        }
        if is_conflict {
            self.findings.push(Finding::Conflict { subject, version });
            return None;
        }
        Some(last)
    }

    /// Follows the chain of epochs as far as it is law.
    fn follow_epochs(&mut self, counter: &Counter<'_>, now: Timestamp) {
        let numbers = (Subject::Stewards, 0)..=(Subject::Stewards, u64::MAX);
        for ((_, number), candidates) in counter.statements.subjects.range(numbers) {
            let mut laws = Vec::new();
            for id in candidates {
                let Some((proposed, change)) = counter.epoch_change(id) else { continue };
                let before = self.epochs.last().filter(|before| {
                    before.number == proposed.proposal.epoch && before.id == change.previous
                });
                let counted = match (before, Epoch::proposed(*id, change)) {
                    (Some(before), Ok(next)) => counter.count_epoch(*id, proposed, before, &next),
                    _ => (Outcome::Open, 0, Vec::new()),
                };
                if self.note(*id, proposed, counted, now) {
                    laws.push(*id);
                }
            }
            let Some(id) = self.prevailing(&laws, Subject::Stewards, *number) else { continue };
            let Some((_, change)) = counter.epoch_change(&id) else { continue };
            if let Ok(mut next) = Epoch::proposed(id, change) {
                next.since = self.proposals[&id].decided.unwrap_or_default();
                self.epochs.push(Arc::new(next));
            }
        }
    }

    /// Counts the approvals of members' records and resets.
    fn count(&mut self, counter: &Counter<'_>, now: Timestamp) {
        for (id, proposed) in &counter.statements.proposals {
            if matches!(proposed.proposal.change, Change::Stewards(_)) {
                continue;
            }
            let at = usize::try_from(proposed.proposal.epoch).unwrap_or(usize::MAX);
            let counted = match self.epochs.get(at) {
                None => (Outcome::Open, 0, Vec::new()),
                Some(epoch) => {
                    let next = at.checked_add(1).and_then(|at| self.epochs.get(at));
                    let next = next.and_then(|next| counter.statements.proposals.get(&next.id));
                    let ended = next.map(|next| next.proposal.expires);
                    let (outcome, counted) = counter.count(*id, proposed, epoch, None, ended);
                    (outcome, epoch.threshold, counted)
                }
            };
            self.note(*id, proposed, counted, now);
        }
    }

    pub(super) fn is_or_was_law(&self, id: &ContentHash) -> bool {
        self.proposals.get(id).is_some_and(|d| matches!(d.state, State::Law | State::Fallen))
    }

    /// Of each member the record of the highest version that is law.
    fn settle_members(&mut self, statements: &Statements) {
        for record in statements.founding.members.iter() {
            let law = MemberLaw::new(None, record, statements.founding.founded);
            self.members.insert(record.organization(), law);
        }
        // Versions ascend, so the last one that counts stays.
        for ((subject, version), ids) in &statements.subjects {
            let Subject::Member(organization) = subject else { continue };
            let laws: Vec<_> = ids.iter().filter(|id| self.is_or_was_law(id)).copied().collect();
            let Some(id) = self.prevailing(&laws, *subject, *version) else { continue };
            let decision = &self.proposals[&id];
            let Change::Member(record) = &decision.proposal.change else { continue };
            let since = decision.decided.unwrap_or_default();
            let mut law = MemberLaw::new(Some(id), record, since);
            // What must be approved again and was not cuts off, rather than lets in.
            if decision.state == State::Fallen && law.standing == Standing::Admitted {
                law.standing = Standing::Suspended;
            }
            if let Some(MemberLaw { proposal: Some(before), .. }) =
                self.members.insert(*organization, law)
            {
                self.set_state(&before, State::Superseded);
            }
        }
    }

    /// The resets of root keys that are in effect, or wait.
    fn settle_resets(&mut self, counter: &Counter<'_>, now: Timestamp) {
        let mut chain: Vec<ContentHash> = Vec::new();
        let mut of = None;
        for ((subject, lineage), ids) in &counter.statements.subjects {
            let Subject::Root(organization) = subject else { continue };
            if of != Some(*organization) {
                of = Some(*organization);
                chain.clear();
            }
            // What has taken effect, and was seen to by enough stewards, stays so.
            let is_law =
                |id: &&ContentHash| self.is_or_was_law(id) || counter.is_final(id, &self.epochs);
            let laws: Vec<_> = ids.iter().filter(is_law).copied().collect();
            let Some(id) = self.prevailing(&laws, *subject, *lineage) else { continue };
            let Some(reset) = counter.reset(&id, &self.epochs) else { continue };
            self.change_at(reset.effect, now);
            let decision = self.proposals.get_mut(&id).expect("it was counted");
            let is_law = reset.is_final || decision.state == State::Law;
            if !is_law {
                continue;
            }
            decision.state = if *lineage != chain.len() as u64 + 1 {
                // The one before it is missing.
                State::Open
            } else if !reset.is_final && counter.objected(&id, &reset, &chain) {
                State::Objected
            } else if reset.effect > now {
                State::Waits(reset.effect)
            } else {
                chain.push(id);
                self.resets.insert(*organization, chain.clone());
                State::Law
            };
        }
    }

    /// An ODS code belongs to whoever was first proposed for it, of those that are admitted with
    /// it: no approval that comes later, or is dated back, changes that.
    fn refuse_duplicate_codes(&mut self, statements: &Statements) {
        let mut by_code: BTreeMap<OdsCode, Vec<OrganizationId>> = BTreeMap::new();
        for (organization, law) in &self.members {
            if law.standing == Standing::Admitted {
                by_code.entry(law.ods.clone()).or_default().push(*organization);
            }
        }
        for (ods, members) in by_code {
            let [_, _, ..] = members.as_slice() else { continue };
            let mut claims: Vec<_> = members
                .into_iter()
                .map(|organization| {
                    (self.first_claim(statements, organization, &ods), organization)
                })
                .collect();
            claims.sort_unstable();
            let first = claims[0].1;
            for (_, second) in claims.split_off(1) {
                self.members.entry(second).and_modify(|law| law.standing = Standing::Suspended);
                let ods = ods.clone();
                self.findings.push(Finding::DuplicateOds { ods, first, second });
            }
        }
    }

    /// When it was first proposed that an organization be admitted with a code, of what became law.
    fn first_claim(
        &self,
        statements: &Statements,
        organization: OrganizationId,
        ods: &OdsCode,
    ) -> Timestamp {
        let claims = |record: &MemberRecord| {
            record.standing == Standing::Admitted
                && record.ods == *ods
                && record.organization() == organization
        };
        if statements.founding.members.iter().any(claims) {
            return Timestamp(0);
        }
        let subject = Subject::Member(organization);
        let ids = statements.subjects.range((subject, 0)..=(subject, u64::MAX));
        let laws = ids.flat_map(|(_, ids)| ids).filter_map(|id| self.proposals.get(id));
        let claimed =
            laws.filter_map(|decision| match (&decision.state, &decision.proposal.change) {
                (State::Law | State::Superseded, Change::Member(record)) if claims(record) => {
                    Some(decision.proposal.issued)
                }
                _ => None,
            });
        claimed.min().unwrap_or(Timestamp(u64::MAX))
    }
}
