//! What this node owes to ceremonies of evaluators that its admins have joined.
//!
//! A part in a ceremony is a function of its secret seed and of the messages that have come, both on
//! disk, so it is worked out anew whenever something has come; a node that was restarted goes on where
//! it was. What it has gone by when it confirmed is kept too: nothing that comes later can make it
//! conclude otherwise than it has told the others.

use std::{collections::BTreeMap, sync::Arc};

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use signpost_keys::{
    ValidAt,
    blinding::{
        KeyShare,
        ceremony::{Advance, MessageKind, Messages, Progress, ReshareRole, Role, Task, advance},
    },
    roster::{Ceremony, MessageSlot, ceremony_task},
    sign,
};
use signpost_protocol::{
    ContentHash, OrganizationId,
    blind::EvaluatorSet,
    codec::{self, ByteString},
    roster::{CeremonyCall, CeremonyConsent, CeremonyMessage},
};
use tracing::{error, info, warn};
use zeroize::Zeroizing;

use super::{
    Core, Turn,
    ceremony_part::{Part, PartRow, Stage, confirm_as_law},
    event::{Action, Persist, Ticket},
    local::{JoinCeremonyError, LocalReply},
    membership::From,
    rows,
};
use crate::store::Batch;

/// Ceremonies and shares kept at one time: a share in force, its successor, a few attempts.
const PARTS_MAX: usize = 16;
/// Milliseconds between two times that the own part is worked out while messages keep coming: it takes
/// some 15 ms with five evaluators.
const DRIVE_SPACING: u64 = 200;
/// Milliseconds between two times that it is looked whether a share has become useless by time alone.
const LOOK_INTERVAL: u64 = 60_000;

/// The ceremonies that this node has joined, by their calls.
#[derive(Default)]
pub(super) struct Ceremonies {
    parts: BTreeMap<ContentHash, Part>,
    /// Whether something has come since the parts were worked out.
    is_behind: bool,
    driven_at: u64,
    /// Faults that were logged.
    said: BTreeMap<ContentHash, String>,
}

impl Ceremonies {
    /// Notes that something has come.
    pub(super) const fn changed(&mut self) {
        self.is_behind = true;
    }

    /// Has it looked from time to time whether something has become useless.
    pub(super) const fn maintain(&mut self, uptime: u64) {
        self.is_behind |= uptime >= self.driven_at + LOOK_INTERVAL;
    }

    pub(super) fn wakeup(&self) -> u64 {
        let waits = self.is_behind && !self.parts.is_empty();
        if waits { self.driven_at + DRIVE_SPACING } else { u64::MAX }
    }
}

impl Core {
    /// Takes up the parts and shares that an earlier life has stored.
    pub(super) fn load_ceremonies(&mut self, turn: &Turn<'_>) -> Result<(), rows::RowError> {
        for (key, sealed) in turn.store.scan(rows::CEREMONIES_PREFIX, None, PARTS_MAX)? {
            let damaged = || rows::RowError::Damaged("part in a ceremony of evaluators");
            let id = rows::ceremony_of_key(&key).ok_or_else(damaged)?;
            let plain = self.me.storage.open(&key, &sealed).map_err(|_| damaged())?;
            let row =
                codec::decode::<PartRow>("part", &plain, plain.len()).map_err(|_| damaged())?;
            let part = Part::of_row(&row).ok_or_else(damaged)?;
            if let Stage::Done(share) = &part.stage {
                self.shares.held.push(share.clone());
            }
            self.ceremonies.parts.insert(id, part);
        }
        self.ceremonies.is_behind = true;
        Ok(())
    }

    fn part_batch(&mut self, id: &ContentHash) -> Batch {
        let mut batch = Batch::default();
        let key = rows::ceremony_key(id);
        let written = match self.ceremonies.parts.get(id) {
            Some(part) => {
                let plain = Zeroizing::new(codec::encode(&part.row()));
                let sealed = self.me.storage.seal(&key, &plain, &mut self.rng);
                batch.put(key, sealed)
            }
            None => batch.delete(key),
        };
        written.expect("a part fits an empty batch: its messages are within their cap");
        batch
    }

    /// Joins a ceremony for one of the organizations that this node serves.
    pub(super) fn join_ceremony(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        asking: OrganizationId,
        consent: &[u8],
    ) {
        let joined = self.consented(turn, asking, consent).and_then(|id| {
            let part = self.part_in(turn, asking, &id)?;
            Ok((id, part))
        });
        let (id, part) = match joined {
            Ok(joined) => joined,
            Err(error) => return turn.answer(ticket, LocalReply::JoinCeremony(Err(error))),
        };
        let batches = match part {
            // It takes part already.
            None => Vec::new(),
            Some(part) => {
                self.ceremonies.parts.insert(id, part);
                self.ceremonies.changed();
                vec![self.part_batch(&id)]
            }
        };
        let failed = LocalReply::JoinCeremony(Err(JoinCeremonyError::Storage(String::new())));
        turn.act(Action::Persist(Persist {
            batches,
            then: vec![Action::Answer { ticket, reply: LocalReply::JoinCeremony(Ok(())) }],
            otherwise: vec![Action::Answer { ticket, reply: failed }],
            ..Persist::default()
        }));
    }

    /// The ceremony that an organization's admins have signed to take part in.
    fn consented(
        &self,
        turn: &Turn<'_>,
        asking: OrganizationId,
        consent: &[u8],
    ) -> Result<ContentHash, JoinCeremonyError> {
        let now = ValidAt::Now(turn.now.unix);
        let consent = self.roster.verify::<CeremonyConsent>(consent, now);
        let consent = consent.map_err(|error| JoinCeremonyError::Refused(error.to_string()))?;
        if consent.organization != asking {
            return Err(JoinCeremonyError::Refused(
                "another organization has signed that it takes part".to_owned(),
            ));
        }
        Ok(consent.ceremony)
    }

    /// The part that an organization of this node is to take in a ceremony; none if it has one already.
    fn part_in(
        &mut self,
        turn: &mut Turn<'_>,
        asking: OrganizationId,
        id: &ContentHash,
    ) -> Result<Option<Part>, JoinCeremonyError> {
        let refuse = |reason: &str| Err(JoinCeremonyError::Refused(reason.to_owned()));
        let Some(ceremony) = self.membership.statements.ceremony(id) else {
            return Err(JoinCeremonyError::Unknown);
        };
        let call = ceremony.call();
        if let Some(part) = self.ceremonies.parts.get(id) {
            return match part.organization == asking {
                true => Ok(None),
                false => refuse(
                    "another organization of this node takes part in it: call to another ceremony \
                     without one of them (--without, where it is to hand the key on)",
                ),
            };
        }
        self.check_admitted(&asking)
            .map_err(|error| JoinCeremonyError::Refused(error.to_string()))?;
        if turn.now.unix >= call.expires {
            return refuse("its time is over: a steward can call to another");
        }
        let is_steward = |steward: signpost_protocol::roster::Steward| {
            steward.organization == call.steward && steward.govern.key_id() == call.key_id()
        };
        // A key that was revoked since is no steward's any more.
        let counts = self.roster.verify::<CeremonyCall>(call.bytes(), ValidAt::Now(turn.now.unix));
        if counts.is_err() || !self.roster.epoch().stewards().any(is_steward) {
            return refuse("whoever called to it is no steward now");
        }
        let old = match self.roster.evaluators().handed_on(call) {
            Ok(old) => old.cloned(),
            Err(reason) => return refuse(reason),
        };
        if let Err(error) = ceremony.task(old.as_ref()) {
            return Err(JoinCeremonyError::Refused(error.to_string()));
        }
        if !self.has_compared_roster() {
            return refuse(
                "this node has not compared its roster with another since it started: try again",
            );
        }
        let parties =
            call.evaluators.iter().chain(call.dealers.iter().map(|one| &one.organization));
        for party in parties.clone() {
            if !self.roster.is_admitted(party) {
                let (ods, name) = self.label(party);
                let reason = format!("{name} ({ods}) has a part in it and is no admitted member");
                return Err(JoinCeremonyError::Refused(reason));
            }
        }
        let nodes = |one: &OrganizationId| {
            let nodes = self.roster.member(one).into_iter().flat_map(|member| &member.nodes);
            nodes.map(|node| node.node).collect::<Vec<_>>()
        };
        for (at, one) in call.evaluators.iter().enumerate() {
            let mut before = call.evaluators[..at].iter();
            if before.any(|other| nodes(other).iter().any(|node| nodes(one).contains(node))) {
                return refuse(
                    "two of its evaluators are served by one node: two shares there would be one",
                );
            }
        }
        if ceremony.messages().any(|(_, message)| message.organization == asking) {
            return refuse(
                "this organization takes part already, with another node or before this one lost its store",
            );
        }
        let (deals, receives) = (ceremony.dealer(&asking), ceremony.receiver(&asking));
        if deals.is_none() && receives.is_none() {
            return refuse("this organization has no part in it");
        }
        if deals.is_some() && old.as_ref().is_some_and(|set| !self.evaluates_for(set, &asking)) {
            return refuse(
                "this node has no share of the key to hand on: join at the node of this organization \
                 that has",
            );
        }
        let call = (**call).clone();
        self.make_room(turn);
        if self.ceremonies.parts.len() >= PARTS_MAX {
            return refuse("this node takes part in too many ceremonies: wait until some are over");
        }
        let mut seed = Zeroizing::new([0; 32]);
        self.rng.fill_bytes(&mut *seed);
        info!(ceremony = %id, "this node takes part in a ceremony of evaluators");
        let stage = Stage::Open { seed, fixed: None };
        Ok(Some(Part { organization: asking, call, old, stage }))
    }

    /// Works out what this node owes to the ceremonies that it has joined, if something has come.
    pub(super) fn drive_ceremonies(&mut self, turn: &mut Turn<'_>) {
        if self.ceremonies.wakeup() > turn.now.uptime {
            return;
        }
        self.ceremonies.is_behind = false;
        self.ceremonies.driven_at = turn.now.uptime;
        for id in self.ceremonies.parts.keys().copied().collect::<Vec<_>>() {
            self.drive_ceremony(turn, id);
        }
        self.forget_parts(turn);
    }

    fn drive_ceremony(&mut self, turn: &mut Turn<'_>, id: ContentHash) {
        let is_open = |part: &Part| matches!(part.stage, Stage::Open { .. });
        if !self.ceremonies.parts.get(&id).is_some_and(is_open) {
            return;
        }
        let ceremony = self.membership.statements.ceremony(&id).cloned();
        let Some(part) = self.ceremonies.parts.get(&id) else { return };
        let Stage::Open { seed, fixed } = &part.stage else { return };
        let known = ceremony.as_ref().map(|one| one.received(part.receiver()));
        let mut received = match (fixed, known) {
            (Some(fixed), known) => {
                let confirmations = known.map(|known| known.confirmations).unwrap_or_default();
                Messages { confirmations, ..fixed.clone() }
            }
            (None, Some(known)) => known,
            (None, None) => return,
        };
        let is_fixed = fixed.is_some();
        let mut advanced = match self.advance_part(&id, part, seed, &received) {
            Ok(advanced) => advanced,
            Err(reason) => return self.say_fault(id, reason),
        };
        let organization = part.organization;
        if let Some(adopted) = self.roster.evaluators().adopted.get(&id).copied()
            && confirm_as_law(part, &adopted, &advanced, &mut received)
            && let Ok(again) = self.advance_part(&id, part, seed, &received)
        {
            advanced = again;
        }
        if advanced.confirms() && !is_fixed {
            if let Some(Part { stage: Stage::Open { fixed, .. }, .. }) =
                self.ceremonies.parts.get_mut(&id)
            {
                *fixed = Some(Messages { confirmations: Vec::new(), ..received });
            }
            self.persist_part(turn, &id);
        }
        if let Some(ceremony) = &ceremony {
            self.send_due(turn, (id, organization), ceremony, &advanced);
        }
        match advanced.progress {
            Progress::Done(outcome) => {
                let Some(share) = outcome.into_parts().1 else { return };
                let share = Arc::new(share);
                if let Some(part) = self.ceremonies.parts.get_mut(&id) {
                    part.stage = Stage::Done(share.clone());
                }
                self.shares.held.push(share);
                self.persist_part(turn, &id);
                info!(ceremony = %id, "a ceremony is complete: this node has its share");
            }
            Progress::Failed(fault) => self.say_fault(id, fault.to_string()),
            _ => {}
        }
    }

    fn advance_part(
        &self,
        id: &ContentHash,
        part: &Part,
        seed: &[u8; 32],
        received: &Messages,
    ) -> Result<Advance, String> {
        let task = ceremony_task(id, &part.call, part.old.as_ref());
        let task = task.map_err(|error| error.to_string())?;
        let held = part.old.as_ref().and_then(|old| self.own_share(old)).map(|(_, share)| share);
        let role = match (&task, part.dealer(), part.receiver()) {
            (Task::Generate(_), _, Some(index)) => Role::Generates(index),
            (Task::Reshare(_), Some(_), receives) => {
                let share = held.as_deref().ok_or("this node has lost the share to hand on")?;
                Role::Reshares(match receives {
                    Some(receiver) => ReshareRole::Both { share, receiver },
                    None => ReshareRole::Dealer(share),
                })
            }
            (Task::Reshare(_), None, Some(index)) => Role::Reshares(ReshareRole::Receiver(index)),
            _ => return Err("this organization has no part in it".to_owned()),
        };
        let mut rng = ChaCha20Rng::from_seed(*seed);
        advance(&task, role, received, &mut rng).map_err(|error| error.to_string())
    }

    /// Signs and sends what is due and was not sent yet.
    fn send_due(
        &mut self,
        turn: &mut Turn<'_>,
        (id, organization): (ContentHash, OrganizationId),
        ceremony: &Ceremony,
        advanced: &Advance,
    ) {
        // What a wrong clock had signed nobody would take, and it would not be signed again.
        let is_timely = self.clock_is_confirmed() || self.is_alone();
        if !is_timely || turn.now.unix >= ceremony.call().expires {
            return;
        }
        let was_sent = |kind: MessageKind, bytes: &[u8]| {
            let is_it =
                |((of, ..), sent): (MessageSlot, &signpost_keys::Verified<CeremonyMessage>)| {
                    of == kind && sent.organization == organization && *sent.message == *bytes
                };
            ceremony.messages().any(is_it)
        };
        let due = advanced.due.iter().filter(|due| !was_sent(due.kind, &due.bytes));
        let signed = due.filter_map(|due| {
            let message = ByteString::new(due.bytes.clone())?;
            let body =
                CeremonyMessage { organization, ceremony: id, message, issued: turn.now.unix };
            let signed = sign(body, &self.me.transport, &self.roster.network());
            Some(signed.bytes().to_vec())
        });
        let signed: Vec<_> = signed.collect();
        for result in self.take_statements(turn, &signed, From::Here) {
            if let Err(error) = result {
                error!(%error, ceremony = %id, "an own message of a ceremony does not hold");
            }
        }
    }

    fn persist_part(&mut self, turn: &mut Turn<'_>, id: &ContentHash) {
        let batches = vec![self.part_batch(id)];
        turn.act(Action::Persist(Persist { batches, ..Persist::default() }));
    }

    fn say_fault(&mut self, id: ContentHash, fault: String) {
        if self.ceremonies.said.get(&id) != Some(&fault) {
            warn!(ceremony = %id, fault, "a ceremony of evaluators cannot be completed");
            self.ceremonies.said.insert(id, fault);
        }
    }

    /// Whether a part may still be of use.
    fn is_needed(&self, id: &ContentHash, part: &Part, uptime: u64) -> bool {
        let evaluators = self.roster.evaluators();
        let is_under_way = self.membership.statements.ceremony(id).is_some();
        // Nothing has followed yet what it started from, so that it may be approved, however late.
        let may_follow = part.call.previous == evaluators.id;
        match &part.stage {
            Stage::Open { fixed: None, .. } => is_under_way,
            Stage::Open { fixed: Some(_), .. } => is_under_way || may_follow,
            Stage::Done(share) => {
                let public = share.public().to_bytes();
                let lists = |set: &EvaluatorSet| {
                    set.evaluators.iter().any(|one| *one.public_share == public)
                };
                // A decision that few have borne witness to could become undecided again.
                let statements = &self.membership.statements;
                let is_sure = evaluators.chain.iter().all(|id| statements.is_witnessed(id));
                may_follow
                    || self.answered_sets(uptime).any(lists)
                    || (!is_sure && evaluators.former.iter().any(|(set, _)| lists(set)))
            }
        }
    }

    /// Deletes the parts and shares that are of no use any more: of ceremonies that came to nothing, and
    /// of sets whose place others have taken for long enough.
    fn forget_parts(&mut self, turn: &mut Turn<'_>) {
        // What has become law while this node was away may need what seems to be of no use.
        if !self.has_compared_roster() || !(self.clock_is_confirmed() || self.is_alone()) {
            return;
        }
        let uptime = turn.now.uptime;
        let gone: Vec<_> = (self.ceremonies.parts.iter())
            .filter(|(id, part)| !self.is_needed(id, part, uptime))
            .map(|(id, _)| *id)
            .collect();
        gone.into_iter().for_each(|id| self.forget_part(turn, id));
    }

    /// Where too many attempts have come to nothing, forgets the oldest of them.
    fn make_room(&mut self, turn: &mut Turn<'_>) {
        let lists = |share: &KeyShare| {
            let public = share.public().to_bytes();
            let sets = self.roster.evaluators().sets.iter();
            let former = self.roster.evaluators().former.iter().map(|(set, _)| set);
            let mut all = sets.chain(former).flat_map(|set| set.evaluators.iter());
            all.any(|one| *one.public_share == public)
        };
        let is_spare = |(id, part): &(&ContentHash, &Part)| {
            let is_listed = matches!(&part.stage, Stage::Done(share) if lists(share));
            !is_listed && self.membership.statements.ceremony(id).is_none()
        };
        if self.ceremonies.parts.len() < PARTS_MAX {
            return;
        }
        let spare = self.ceremonies.parts.iter().filter(is_spare);
        let oldest = spare.min_by_key(|(_, part)| part.call.issued).map(|(id, _)| *id);
        oldest.into_iter().for_each(|id| self.forget_part(turn, id));
    }

    fn forget_part(&mut self, turn: &mut Turn<'_>, id: ContentHash) {
        if let Some(Part { stage: Stage::Done(share), .. }) = self.ceremonies.parts.remove(&id) {
            self.shares.held.retain(|held| !Arc::ptr_eq(held, &share));
            info!(ceremony = %id, "a share of the blinding key that is not in force was deleted");
        }
        self.ceremonies.said.remove(&id);
        self.persist_part(turn, &id);
    }
}
