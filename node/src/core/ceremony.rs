//! What this node owes to ceremonies of evaluators that its admins have joined.
//!
//! A part in a ceremony is a function of its secret seed and of the messages that have come, both on
//! disk, so it is worked out anew whenever something has come; a node that was restarted goes on where
//! it was. What it has gone by when it confirmed is kept too: nothing that comes later can make it
//! conclude otherwise than it has told the others.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode, bytes::ByteArray};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use signpost_keys::{
    blinding::{
        EvaluatorIndex, KeyShare,
        ceremony::{Advance, MessageKind, Messages, Progress, ReshareRole, Role, Task, advance},
    },
    roster::{Ceremony, MessageSlot, State},
    sign,
};
use signpost_protocol::{
    ContentHash, OrganizationId,
    blind::EvaluatorSet,
    codec::{self, ByteString},
    roster::{CeremonyCall, CeremonyMessage, Change},
};
use tracing::{error, info, warn};
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    Core, Turn,
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

/// A part in a ceremony, as it is stored.
struct Part {
    organization: OrganizationId,
    /// Whose key is handed on, if one is.
    old: Option<EvaluatorSet>,
    stage: Stage,
}

enum Stage {
    /// Under way. All that this party draws follows from the seed. Once it has confirmed, the messages
    /// by which it has are fixed.
    Open { seed: Zeroizing<[u8; 32]>, fixed: Option<Messages> },
    /// All have confirmed, and this is what came out.
    Done(std::sync::Arc<KeyShare>),
}

/// The row of a part, sealed as a whole.
#[derive(Encode, Decode)]
#[cbor(map)]
struct PartRow {
    #[n(0)]
    organization: OrganizationId,
    #[n(1)]
    old: Option<EvaluatorSet>,
    #[n(2)]
    seed: Option<ByteArray<32>>,
    #[n(3)]
    fixed: Option<ByteString<{ rows::FIXED_MESSAGES_BYTES_MAX }>>,
    /// Index and scalar of the share.
    #[n(4)]
    share: Option<(u16, ByteArray<32>)>,
}

impl Drop for PartRow {
    fn drop(&mut self) {
        self.seed.iter_mut().for_each(|seed| seed.as_mut().zeroize());
        self.share.iter_mut().for_each(|(_, scalar)| scalar.as_mut().zeroize());
    }
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

impl Part {
    fn row(&self) -> PartRow {
        let (mut seed, mut fixed, mut share) = (None, None, None);
        match &self.stage {
            Stage::Open { seed: drawn, fixed: messages } => {
                seed = Some(ByteArray::from(**drawn));
                fixed = messages.as_ref().and_then(|m| ByteString::new(m.to_bytes()?));
            }
            Stage::Done(held) => {
                share = Some((held.index().get(), ByteArray::from(*held.to_bytes())));
            }
        }
        PartRow { organization: self.organization, old: self.old.clone(), seed, fixed, share }
    }

    fn of_row(row: &PartRow) -> Option<Self> {
        let stage = if let Some((index, scalar)) = &row.share {
            let share = KeyShare::from_bytes(EvaluatorIndex::new(*index)?, scalar).ok()?;
            Stage::Done(std::sync::Arc::new(share))
        } else {
            let fixed = match &row.fixed {
                Some(bytes) => Some(Messages::from_bytes(bytes).ok()?),
                None => None,
            };
            Stage::Open { seed: Zeroizing::new(**row.seed.as_ref()?), fixed }
        };
        Some(Self { organization: row.organization, old: row.old.clone(), stage })
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
        id: ContentHash,
    ) {
        let part = match self.part_in(turn, asking, &id) {
            Ok(part) => part,
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

    /// The part that an organization of this node is to take in a ceremony; none if it has one already.
    fn part_in(
        &mut self,
        turn: &Turn<'_>,
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
                false => refuse("another organization of this node takes part in it"),
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
        if !self.roster.epoch().stewards().any(is_steward) {
            return refuse("whoever called to it is no steward now");
        }
        let old = match self.roster.evaluators().handed_on(call) {
            Ok(old) => old.cloned(),
            Err(reason) => return refuse(reason),
        };
        if let Err(error) = ceremony.task(old.as_ref()) {
            return Err(JoinCeremonyError::Refused(error.to_string()));
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
        // Two shares at one node would be one.
        let others = call.evaluators.iter().filter(|one| **one != asking);
        if receives.is_some() && others.clone().any(|other| self.served(other).is_some()) {
            return refuse(
                "this node serves two of the evaluators, whose shares would be as good as one",
            );
        }
        if self.ceremonies.parts.len() >= PARTS_MAX {
            return refuse("this node takes part in too many ceremonies: wait until some are over");
        }
        let mut seed = Zeroizing::new([0; 32]);
        self.rng.fill_bytes(&mut *seed);
        info!(ceremony = %id, "this node takes part in a ceremony of evaluators");
        Ok(Some(Part { organization: asking, old, stage: Stage::Open { seed, fixed: None } }))
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
        let Some(ceremony) = self.membership.statements.ceremony(&id).cloned() else { return };
        let Some(part) = self.ceremonies.parts.get(&id) else { return };
        let Stage::Open { seed, fixed } = &part.stage else { return };
        let mut received = ceremony.received(ceremony.receiver(&part.organization));
        if let Some(fixed) = fixed {
            received = Messages { confirmations: received.confirmations, ..fixed.clone() };
        }
        let is_fixed = fixed.is_some();
        let advanced = match self.advance_part(part, seed, &ceremony, &received) {
            Ok(advanced) => advanced,
            Err(reason) => return self.say_fault(id, reason),
        };
        let organization = part.organization;
        if advanced.confirms() && !is_fixed {
            if let Some(Part { stage: Stage::Open { fixed, .. }, .. }) =
                self.ceremonies.parts.get_mut(&id)
            {
                *fixed = Some(Messages { confirmations: Vec::new(), ..received });
            }
            self.persist_part(turn, &id);
        }
        self.send_due(turn, (id, organization), &ceremony, &advanced);
        match advanced.progress {
            Progress::Done(outcome) => {
                let Some(share) = outcome.into_parts().1 else { return };
                let share = std::sync::Arc::new(share);
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
        part: &Part,
        seed: &[u8; 32],
        ceremony: &Ceremony,
        received: &Messages,
    ) -> Result<Advance, String> {
        let organization = &part.organization;
        let (deals, receives) = (ceremony.dealer(organization), ceremony.receiver(organization));
        let task = ceremony.task(part.old.as_ref()).map_err(|error| error.to_string())?;
        let held = part.old.as_ref().and_then(|old| self.own_share(old)).map(|(_, share)| share);
        let role = match (&task, deals, receives) {
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
        let call: &CeremonyCall = ceremony.call();
        if turn.now.unix >= call.expires {
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

    /// Deletes the parts and shares that are of no use any more: of ceremonies that came to nothing, and
    /// of sets whose place others have taken for long enough.
    fn forget_parts(&mut self, turn: &mut Turn<'_>) {
        // What has become law while this node was away may need what seems to be of no use.
        if !self.has_compared_roster() || !(self.clock_is_confirmed() || self.is_alone()) {
            return;
        }
        let law = self.law(turn.now.unix);
        let proposed = |id: &ContentHash| {
            law.proposals().any(|(_, decision)| match &decision.proposal.change {
                Change::Evaluators(record) => {
                    record.ceremony == *id && matches!(decision.state, State::Open)
                }
                _ => false,
            })
        };
        let is_needed = |(id, part): (&ContentHash, &Part)| {
            let Stage::Done(share) = &part.stage else {
                return self.membership.statements.ceremony(id).is_some();
            };
            let lists = |set: &EvaluatorSet| {
                let public = share.public().to_bytes();
                set.evaluators.iter().any(|one| *one.public_share == public)
            };
            self.answered_sets(turn.now.unix).any(lists)
                || self.membership.statements.ceremony(id).is_some_and(|ceremony| {
                    self.roster.evaluators().handed_on(ceremony.call()).is_ok()
                })
                || proposed(id)
        };
        let gone: Vec<_> = (self.ceremonies.parts.iter())
            .filter(|entry| !is_needed(*entry))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            if let Some(Part { stage: Stage::Done(share), .. }) = self.ceremonies.parts.remove(&id)
            {
                self.shares.held.retain(|held| !std::sync::Arc::ptr_eq(held, &share));
                info!(ceremony = %id, "a share of the blinding key that is not in force was deleted");
            }
            self.ceremonies.said.remove(&id);
            self.persist_part(turn, &id);
        }
    }
}
