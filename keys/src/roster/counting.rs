//! Whether a proposal has the approvals that it takes: which of them count, fully or for a while.
//!
//! An approval counts by itself unless its key is in doubt, because the key was revoked as of an
//! instant or its steward has approved two things of which only one can be law. Then it counts only
//! where other stewards have borne witness to the proposal in time, since an approval that is dated
//! back has no witness; or once the decision is settled, since a revocation can be dated back too.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use signpost_protocol::{
    ContentHash, KeyId, OrganizationId, Timestamp,
    roster::{Change, Proposal, StewardEpoch, Subject},
};

use super::{
    approvals::{Proposed, Signer, Status},
    epoch::Epoch,
    statements::Statements,
};

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

/// The outcome of counting approvals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// Not enough.
    Open,
    /// Enough, until this instant.
    Until(Timestamp),
    /// Enough.
    Fully,
}

pub(super) type Counted = Vec<(OrganizationId, Timestamp, Counts)>;

/// From when on witness to a decision settles it: no revocation that comes later, whatever date it
/// gives, undoes it. Until then a stolen key may be noticed. By the durations of the `founding`, so that
/// it is the same instant for all who do not know yet which epochs are law.
pub(super) fn settles(proposal: &Proposal, founding: &Epoch) -> Timestamp {
    proposal.expires.plus(founding.parameters.reapproval_grace)
}

/// Everything that counting needs to know.
pub(super) struct Counter<'a> {
    pub(super) statements: &'a Statements,
    /// Keys of stewards that are revoked: since when, and when that was said.
    revoked: BTreeMap<Signer, (Timestamp, Timestamp)>,
}

/// The reset of a root key, as far as time goes.
pub(super) struct Reset {
    /// When it takes effect: not before all who may approve it have done so, plus the waiting time.
    pub(super) effect: Timestamp,
    /// Whether as many stewards as make law have seen it in effect: objections come too late.
    pub(super) is_final: bool,
}

impl<'a> Counter<'a> {
    pub(super) fn new(statements: &'a Statements, now: Timestamp) -> Self {
        let mut counter = Self { statements, revoked: BTreeMap::new() };
        for epoch in statements.epochs() {
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

    pub(super) fn epoch_change(
        &self,
        id: &ContentHash,
    ) -> Option<(&'a Proposed, &'a StewardEpoch)> {
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
            let epochs: Vec<_> = self.statements.epochs().cloned().collect();
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

    pub(super) fn reset(&self, id: &ContentHash, epochs: &[Arc<Epoch>]) -> Option<Reset> {
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

    pub(super) fn is_final(&self, id: &ContentHash, epochs: &[Arc<Epoch>]) -> bool {
        let is_decided =
            self.statements.proposals.get(id).is_some_and(|p| p.status == Status::Decided);
        is_decided && self.reset(id, epochs).is_some_and(|reset| reset.is_final)
    }

    /// Whether a root key that counted until the reset has objected before it took effect.
    pub(super) fn objected(&self, id: &ContentHash, reset: &Reset, chain: &[ContentHash]) -> bool {
        let objections = (*id, KeyId([0; 16]))..=(*id, KeyId([0xff; 16]));
        self.statements.objections.range(objections).any(|((_, key), objection)| {
            let organization = self.statements.organizations.get(&objection.organization);
            objection.issued < reset.effect
                && organization.is_some_and(|known| known.is_root_of(key, chain))
        })
    }

    /// Counts the approvals that an epoch needs: those of the stewards before it, and its own. All of them
    /// bear witness: of the former none may be left after some years.
    pub(super) fn count_epoch(
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
    pub(super) fn count(
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
        let in_time = witnessed.iter().filter(|at| **at < before).count();
        // A steward that is alone has nobody to bear witness.
        if others.is_empty() || in_time >= epoch.witnesses_without(&signer.0) {
            return Counts::Fully;
        }
        let settles = settles(proposal, &self.statements.first);
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

    /// Whether enough others have borne witness to a decision when it was settled, or later. Those of a
    /// later epoch may be the ones in office by then.
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
        let mut later = self.statements.epochs().filter(|later| later.number >= proposal.epoch);
        later.any(|epoch| {
            let seen = epoch.stewards().filter(|steward| has_seen(&steward.organization));
            seen.count() >= epoch.witnesses_without(&signer.0)
        })
    }
}
