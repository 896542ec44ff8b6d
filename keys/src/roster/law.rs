//! What counts, of all statements, at an instant: a pure function of both.
//!
//! The order is: the chain of steward epochs; each member's record; resets of root keys. An
//! approval counts by itself unless its key is in doubt, because the key was revoked as of an
//! instant or its steward has approved two things of which only one can be law. Then it counts only
//! where other stewards have borne witness to the proposal in time: an approval that is dated back
//! has no witness.
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
    ContentHash, KeyId, OdsCode, OrganizationId, Timestamp,
    roster::{Change, MemberRecord, Proposal, Standing, StewardEpoch, Subject},
};

use super::{
    approvals::{Proposed, Signer, Status, overlap},
    epoch::Epoch,
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

/// How one approval counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// Fully.
    Fully,
    /// Its key is in doubt, and fewer stewards than needed have borne witness: it counts until this
    /// instant (exclusive).
    Until(Timestamp),
    /// Not at all.
    Not(&'static str),
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

/// The outcome of counting approvals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Not enough.
    Open,
    /// Enough, until this instant.
    Until(Timestamp),
    /// Enough.
    Fully,
}

type Counted = Vec<(OrganizationId, Timestamp, Counts)>;

/// From when on witness to a decision settles it: no revocation that comes later, whatever date it
/// gives, undoes it. Until then a stolen key may be noticed.
fn settles(proposal: &Proposal, epoch: &Epoch) -> Timestamp {
    proposal.expires.plus(epoch.parameters.reapproval_grace)
}

/// Everything that counting needs to know.
struct Counter<'a> {
    statements: &'a Statements,
    /// Keys of stewards that are revoked: since when, and when that was said.
    revoked: BTreeMap<Signer, (Timestamp, Timestamp)>,
}

impl Law {
    pub(super) fn of(statements: &Statements, now: Timestamp) -> Self {
        let mut law = Self {
            epochs: vec![statements.first.clone()],
            members: BTreeMap::new(),
            resets: BTreeMap::new(),
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
    /// while there is nothing to bear witness to.
    #[must_use]
    pub fn witnessed_from(&self, id: &ContentHash, now: Timestamp) -> Option<Timestamp> {
        let Decision { proposal, state, .. } = self.proposals.get(id)?;
        let epoch = usize::try_from(proposal.epoch).ok().and_then(|at| self.epochs.get(at))?;
        match (state, &proposal.change) {
            (State::Law, Change::Root(_)) => {
                Some(proposal.expires.plus(epoch.parameters.reset_wait))
            }
            (_, Change::Root(_)) => None,
            (State::Law | State::Superseded, _) => {
                let settles = settles(proposal, epoch);
                let is_settled = settles <= now && !self.doubted.contains(id);
                Some(if is_settled { settles } else { Timestamp(0) })
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
    fn prevailing(
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
                self.proposals.entry(*id).and_modify(|decision| decision.state = becomes);
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

    fn is_or_was_law(&self, id: &ContentHash) -> bool {
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
                self.proposals.entry(before).and_modify(|d| d.state = State::Superseded);
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

/// The reset of a root key, as far as time goes.
struct Reset {
    /// When it takes effect: not before all who may approve it have done so, plus the waiting time.
    effect: Timestamp,
    /// Whether as many stewards as make law have seen it in effect: objections come too late.
    is_final: bool,
}

impl<'a> Counter<'a> {
    fn new(statements: &'a Statements, now: Timestamp) -> Self {
        let mut counter = Self { statements, revoked: BTreeMap::new() };
        let epochs = std::iter::once(&statements.first);
        for epoch in epochs.chain(statements.decided_epochs.values().flatten()) {
            for (steward, key, _) in &epoch.stewards {
                let organization = steward.organization;
                let Some(known) = statements.organizations.get(&organization) else { continue };
                let resets = counter.resets_by_signature(organization, now);
                if let Some(revoked) = known.revoked(key, &resets) {
                    counter.revoked.insert((organization, *key), revoked);
                }
            }
        }
        counter
    }

    fn epoch_change(&self, id: &ContentHash) -> Option<(&'a Proposed, &'a StewardEpoch)> {
        let proposed = self.statements.proposals.get(id)?;
        match &proposed.proposal.change {
            Change::Stewards(change) => Some((proposed, change)),
            _ => None,
        }
    }

    /// The resets of a steward's root in effect by the signatures alone. Whose root it is decides
    /// which approvals are in doubt, so this cannot depend on the latter.
    fn resets_by_signature(
        &self,
        organization: OrganizationId,
        now: Timestamp,
    ) -> Vec<ContentHash> {
        let mut chain = Vec::new();
        let subject = Subject::Root(organization);
        for (_, ids) in self.statements.subjects.range((subject, 1)..=(subject, u64::MAX)) {
            let epochs = self.statements.decided_epochs.values().flatten();
            let epochs: Vec<_> =
                std::iter::once(&self.statements.first).chain(epochs).cloned().collect();
            let in_effect = ids.iter().filter(|id| {
                let proposed = self.statements.proposals.get(id);
                proposed.is_some_and(|proposed| proposed.status == Status::Decided)
                    && self.reset(id, &epochs).is_some_and(|reset| {
                        reset.effect <= now
                            && (reset.is_final || !self.objected(id, &reset, &chain))
                    })
            });
            let last = in_effect.max_by_key(|id| self.statements.proposals[*id].proposal.issued);
            let Some(id) = last.copied() else { break };
            chain.push(id);
        }
        chain
    }

    fn reset(&self, id: &ContentHash, epochs: &[Arc<Epoch>]) -> Option<Reset> {
        let proposal = &self.statements.proposals.get(id)?.proposal;
        let epoch = epochs.iter().find(|epoch| epoch.number == proposal.epoch)?;
        let effect = proposal.expires.plus(epoch.parameters.reset_wait);
        let has_seen = |steward: &OrganizationId| {
            self.statements.witness(steward, id).is_some_and(|(_, last)| last >= effect)
        };
        let has_majority = |epoch: &Arc<Epoch>| {
            let seen = epoch.stewards().filter(|steward| has_seen(&steward.organization));
            seen.count() >= usize::from(epoch.threshold)
        };
        // Those of a later epoch may be the ones in office by then.
        let is_final = epochs.iter().filter(|later| later.number >= epoch.number).any(has_majority);
        Some(Reset { effect, is_final })
    }

    fn is_final(&self, id: &ContentHash, epochs: &[Arc<Epoch>]) -> bool {
        let is_decided =
            self.statements.proposals.get(id).is_some_and(|p| p.status == Status::Decided);
        is_decided && self.reset(id, epochs).is_some_and(|reset| reset.is_final)
    }

    /// Whether a root key that counted until the reset has objected before it took effect.
    fn objected(&self, id: &ContentHash, reset: &Reset, chain: &[ContentHash]) -> bool {
        let objections = (*id, KeyId([0; 16]))..=(*id, KeyId([0xff; 16]));
        self.statements.objections.range(objections).any(|((_, key), objection)| {
            let organization = self.statements.organizations.get(&objection.organization);
            objection.issued < reset.effect
                && organization.is_some_and(|known| known.is_root_of(key, chain))
        })
    }

    /// Counts the approvals that an epoch needs: those of the stewards before it, and its own.
    fn count_epoch(
        &self,
        id: ContentHash,
        proposed: &Proposed,
        before: &Epoch,
        next: &Epoch,
    ) -> (Outcome, u16, Counted) {
        let (old, mut counted) = self.count(id, proposed, before, Some(next), None);
        let (new, theirs) = self.count(id, proposed, next, Some(before), None);
        counted.extend(theirs.into_iter().filter(|(steward, ..)| !before.has(steward)));
        (old.min(new), before.threshold, counted)
    }

    /// Counts the approvals of the stewards of one epoch. Those of `also` may bear witness as well.
    /// `ended` is when nobody could begin the next epoch any more.
    fn count(
        &self,
        id: ContentHash,
        proposed: &Proposed,
        epoch: &Epoch,
        also: Option<&Epoch>,
        ended: Option<Timestamp>,
    ) -> (Outcome, Counted) {
        // Each steward has one key in an epoch, so nobody counts twice.
        let approvals = proposed.approvals.iter().filter(|((s, key), _)| epoch.has_key(s, key));
        let counted: Counted = approvals
            .map(|(signer, given)| {
                let counts = match ended {
                    Some(ended) if given.issued >= ended => Counts::Not("the epoch had ended"),
                    _ => self.counts(id, &proposed.proposal, epoch, also, signer),
                };
                (signer.0, given.issued, counts)
            })
            .collect();
        let outcomes = counted.iter().filter_map(|(_, _, counts)| match counts {
            Counts::Fully => Some(Outcome::Fully),
            Counts::Until(until) => Some(Outcome::Until(*until)),
            Counts::Not(_) => None,
        });
        let mut outcomes: Vec<_> = outcomes.collect();
        outcomes.sort_unstable_by(|a, b| b.cmp(a));
        let last_needed = outcomes.get(usize::from(epoch.threshold) - 1).copied();
        (last_needed.unwrap_or(Outcome::Open), counted)
    }

    /// How an approval counts.
    fn counts(
        &self,
        id: ContentHash,
        proposal: &Proposal,
        epoch: &Epoch,
        also: Option<&Epoch>,
        signer: &Signer,
    ) -> Counts {
        let revoked = self.revoked.get(signer).copied();
        let shown = self.statements.contradictions.get(signer).map(|proof| {
            let given = proof.proposals.iter().filter_map(|id| {
                self.statements.proposals.get(id)?.approvals.get(signer).map(|g| g.issued)
            });
            given.max().unwrap_or_default()
        });
        if revoked.is_none() && shown.is_none() {
            return Counts::Fully;
        }
        let deciding = also.filter(|also| also.number == proposal.epoch).unwrap_or(epoch);
        let also = also.into_iter().flat_map(Epoch::stewards);
        let others: BTreeSet<_> = epoch
            .stewards()
            .chain(also)
            .map(|steward| steward.organization)
            .filter(|organization| *organization != signer.0)
            .collect();
        let first = |other: &OrganizationId| Some(self.statements.witness(other, &id)?.0);
        let witnessed: Vec<_> = others.iter().filter_map(first).collect();
        // Whatever is dated back to before the revocation has no witness from before it.
        let before = revoked.map_or(Timestamp(u64::MAX), |(since, _)| since);
        if witnessed.iter().filter(|at| **at < before).count() >= epoch.witnesses_needed() {
            return Counts::Fully;
        }
        let settles = settles(proposal, deciding);
        if self.is_settled(id, proposal, settles, signer) {
            return Counts::Fully;
        }
        if witnessed.is_empty() {
            return Counts::Not("its key is in doubt, and nobody has borne witness to it");
        }
        // The time to approve again does not begin before all have had time to settle it, so that
        // nothing falls at once by a revocation that is dated back.
        let doubted = revoked.map(|(_, said)| said).max(shown).max(Some(settles));
        Counts::Until(doubted.unwrap_or_default().plus(epoch.parameters.reapproval_grace))
    }

    /// Whether as many others as with the signer make law have borne witness to a decision once it was
    /// settled. Those of a later epoch may be the ones in office by then.
    fn is_settled(
        &self,
        id: ContentHash,
        proposal: &Proposal,
        settles: Timestamp,
        signer: &Signer,
    ) -> bool {
        let has_seen = |steward: &OrganizationId| {
            *steward != signer.0
                && self.statements.witness(steward, &id).is_some_and(|(_, last)| last >= settles)
        };
        let epochs = std::iter::once(&self.statements.first)
            .chain(self.statements.decided_epochs.values().flatten())
            .filter(|later| later.number >= proposal.epoch);
        epochs.into_iter().any(|epoch| {
            let seen = epoch.stewards().filter(|steward| has_seen(&steward.organization));
            seen.count() >= epoch.witnesses_needed()
        })
    }
}
