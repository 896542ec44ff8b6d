//! Signs of life of the stewards, and what they bear witness to.

use std::sync::Arc;

use signpost_protocol::{
    ContentHash, KeyId, OrganizationId, Timestamp, limits,
    roster::{Change, Heartbeat, Steward},
    statement::{Body as _, Envelope},
};

use super::{
    approvals::Status,
    counting::settles,
    heartbeats::{Heartbeats, Second},
    statements::{Place, Refusal, Statements, Step},
    waiting::Need,
};
use crate::{signing, verified::Verified};

/// By how much the number of a heartbeat may exceed the network's age in milliseconds, whatever
/// interval its epochs agree on: no steward comes near unless a thief of its key does.
const HEARTBEATS_AHEAD_MAX: u64 = 1_000;

/// Heartbeats that are kept: half of the room, so that a steward who fills it with witness by many keys
/// stops no decision.
const HEARTBEATS_MAX: usize = limits::STATEMENTS_MAX / 2;

impl Statements {
    /// The heartbeats of one steward, by the keys that signed them.
    pub(super) fn heartbeats_of(
        &self,
        steward: &OrganizationId,
    ) -> impl Iterator<Item = (&KeyId, &Heartbeats)> {
        let keys = (*steward, KeyId([0; 16]))..=(*steward, KeyId([0xff; 16]));
        self.heartbeats.range(keys).map(|((_, key), beats)| (key, beats))
    }

    /// When a steward was last heard of, by a key that counted then.
    pub(super) fn last_heard(&self, steward: &OrganizationId) -> Option<Timestamp> {
        let organization = self.organizations.get(steward)?;
        let newest = self.heartbeats_of(steward).filter_map(|(key, beats)| {
            let (_, valid) = organization.transport_key(key)?;
            beats.newest().filter(|issued| valid.contains(issued))
        });
        newest.max()
    }

    /// When a steward bore witness to a proposal, first and for the second time, by a key that counted
    /// then.
    pub(super) fn witness(
        &self,
        steward: &OrganizationId,
        proposal: &ContentHash,
    ) -> Option<(Timestamp, Timestamp)> {
        let organization = self.organizations.get(steward)?;
        let borne = self.heartbeats_of(steward).filter_map(|(key, beats)| {
            let (_, valid) = organization.transport_key(key)?;
            let (first, second) = beats.witness(proposal)?;
            let second = if valid.contains(&second) { second } else { first };
            valid.contains(&first).then_some((first, second))
        });
        borne.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// The newest heartbeat of a steward by a key that counted then.
    #[must_use]
    pub fn last_heartbeat(&self, steward: &OrganizationId) -> Option<&Verified<Heartbeat>> {
        let organization = self.organizations.get(steward)?;
        let beats = self.heartbeats_of(steward).filter_map(|(key, beats)| {
            let (_, valid) = organization.transport_key(key)?;
            beats.iter().filter(|beat| valid.contains(&beat.issued)).max_by_key(|b| b.issued)
        });
        beats.max_by_key(|beat| beat.issued)
    }

    /// The number of the next heartbeat of a steward: one more than the last, whoever signed it, but no
    /// more than others take.
    #[must_use]
    pub fn next_heartbeat_number(&self, steward: &OrganizationId, now: Timestamp) -> u64 {
        let beats = self.heartbeats_of(steward).flat_map(|(_, beats)| beats.iter());
        let last = beats.map(|beat| beat.number).max().unwrap_or_default();
        last.saturating_add(1).min(self.heartbeat_number_max(now))
    }

    fn heartbeat_number_max(&self, issued: Timestamp) -> u64 {
        issued.since(self.founding.founded).saturating_add(HEARTBEATS_AHEAD_MAX)
    }

    /// Whether a steward has borne witness to a proposal at `since` or later.
    #[must_use]
    pub fn has_witnessed(
        &self,
        steward: &OrganizationId,
        proposal: &ContentHash,
        since: Timestamp,
    ) -> bool {
        self.witness(steward, proposal).is_some_and(|(_, last)| last >= since)
    }

    /// Whether as many stewards of some epoch as make law in it have borne witness to a proposal: then no
    /// revocation makes it undecided again, whatever date it gives.
    #[must_use]
    pub fn is_witnessed(&self, proposal: &ContentHash) -> bool {
        self.epochs().any(|epoch| {
            let seen = |one: &Steward| self.witness(&one.organization, proposal).is_some();
            epoch.stewards().filter(seen).count() >= usize::from(epoch.threshold())
        })
    }

    pub(super) fn take_heartbeat(
        &mut self,
        hash: ContentHash,
        bytes: &[u8],
        now: Option<Timestamp>,
    ) -> Result<Step, Refusal> {
        let envelope = Envelope::parse(Heartbeat::KIND, bytes, Heartbeat::BYTES_MAX)?;
        let key_id = envelope.key_id();
        // Whose key to look for stands inside; nothing else is believed before the signature.
        let claimed: Heartbeat = envelope.body()?;
        let steward = claimed.steward;
        if !self.is_or_was_steward(&steward) {
            return Ok(Step::Waits(Need::Steward(steward)));
        }
        let Some(organization) = self.organizations.get(&steward) else {
            return Ok(Step::Waits(Need::Organization(steward)));
        };
        // One that is later than its key is kept, for a revocation may come before it or after; it
        // does not count.
        let key = organization.transport_key(&key_id);
        let Some((key, _)) = key.filter(|(_, valid)| valid.start <= claimed.issued) else {
            return Ok(Step::Waits(Need::Keys(steward)));
        };
        let beat = signing::verify::<Heartbeat>(&envelope, bytes, key, &self.network)?;
        self.check_issued(beat.issued, now)?;
        if beat.number > self.heartbeat_number_max(beat.issued) {
            return Err(Refusal::Inconsistent("the steward issues too many heartbeats"));
        }
        let undecided: Vec<_> =
            beat.witnessed.iter().filter(|id| self.second_of(id).is_none()).copied().collect();
        let mut beats = self.heartbeats.remove(&(steward, key_id)).unwrap_or_default();
        let kept: usize = self.heartbeats.values().map(|beats| beats.iter().len()).sum();
        // Where there is no room for witness, there still is for a sign of life.
        let has_room = kept + beats.iter().len() < HEARTBEATS_MAX;
        let second = |id: &ContentHash| self.second_of(id).filter(|_| has_room);
        let dropped = beats.add(beat, second);
        self.heartbeats.insert((steward, key_id), beats);
        self.keep(hash, Place::Heartbeat(steward, key_id));
        for old in &dropped {
            self.drop_statement(old);
        }
        // What it bears witness to may still be on its way.
        let bytes: Arc<[u8]> = bytes.into();
        for id in undecided {
            self.waiting.add(Need::Decision(id), hash, &bytes);
        }
        Ok(Step::Taken)
    }

    /// Which heartbeat is kept beside the first that bears witness to a proposal, if it is decided.
    fn second_of(&self, id: &ContentHash) -> Option<Second> {
        let proposed = self.proposals.get(id).filter(|p| p.status == Status::Decided)?;
        Some(match &proposed.proposal.change {
            Change::Root(_) => Second::Last,
            _ => Second::From(settles(&proposed.proposal, &self.first)),
        })
    }

    /// Looks among the heartbeats that are kept anyhow for witness to what has been decided.
    pub(super) fn find_witness(&mut self, id: &ContentHash) {
        let Some(second) = self.second_of(id) else { return };
        let mut dropped = Vec::new();
        for beats in self.heartbeats.values_mut() {
            let naming = beats.iter().filter(|beat| beat.witnessed.contains(id));
            for beat in naming.cloned().collect::<Vec<_>>() {
                dropped.extend(beats.add(beat, |named| (named == id).then_some(second)));
            }
        }
        dropped.iter().for_each(|hash| self.drop_statement(hash));
    }

    /// Heartbeats of keys that a steward does not list any more wait until it does so again.
    pub(super) fn review_heartbeats(&mut self, steward: &OrganizationId) {
        let organization = &self.organizations[steward];
        let is_gone = |(key, beats): &(&KeyId, &Heartbeats)| match organization.transport_key(key) {
            None => true,
            Some((_, valid)) => beats.iter().any(|beat| beat.issued < valid.start),
        };
        let gone: Vec<_> =
            self.heartbeats_of(steward).filter(is_gone).map(|(key, _)| *key).collect();
        for key in gone {
            let Some(beats) = self.heartbeats.remove(&(*steward, key)) else { continue };
            for beat in beats.iter() {
                self.drop_statement(&beat.hash());
                self.waiting.add(Need::Keys(*steward), beat.hash(), &beat.bytes().into());
            }
        }
    }
}
