//! Ceremonies of evaluators that are under way: the calls to them, and what their parties have sent.
//!
//! They travel like everything else of the roster, so that whoever was away gets all of them; but they
//! decide nothing, and go when the time of the call is over. Bounded: of each steward's key the newest
//! call that is not over, and of each party the messages that the ceremony asks of it, two of each where
//! it contradicts itself. Which stewards are in office, and who is a member, is for whoever takes part.

use std::collections::{BTreeMap, BTreeSet};

use signpost_protocol::{
    ContentHash, OrganizationId, Timestamp,
    roster::{CeremonyCall, CeremonyMessage},
    statement::{Body as _, Envelope},
};

use super::{
    statements::{Place, Refusal, Statements, Step},
    waiting::Need,
};
use crate::{
    blinding::{
        EvaluatorIndex,
        ceremony::{Confirmation, Dealing, Enrolment, MessageKind, SealedShare},
    },
    signing,
    verified::Verified,
};

/// What one message of a ceremony is: its kind, its sender, and for a sealed share its receiver.
pub type MessageSlot = (MessageKind, EvaluatorIndex, Option<EvaluatorIndex>);

/// A ceremony that was called, with what has come of it so far.
#[derive(Clone, Debug)]
pub struct Ceremony {
    call: Verified<CeremonyCall>,
    messages: BTreeMap<MessageSlot, Vec<Verified<CeremonyMessage>>>,
}

impl Ceremony {
    /// Its name: the hash of the call.
    #[must_use]
    pub fn id(&self) -> ContentHash {
        self.call.hash()
    }

    /// The call.
    #[must_use]
    pub const fn call(&self) -> &Verified<CeremonyCall> {
        &self.call
    }

    /// What has come: for each message that is due one, or the two that contradict each other.
    pub fn messages(&self) -> impl Iterator<Item = (MessageSlot, &Verified<CeremonyMessage>)> {
        self.messages.iter().flat_map(|(slot, all)| all.iter().map(|one| (*slot, one)))
    }

    /// The index under which an organization deals, if it does.
    #[must_use]
    pub fn dealer(&self, organization: &OrganizationId) -> Option<EvaluatorIndex> {
        if self.call.dealers.is_empty() {
            return self.receiver(organization);
        }
        let mut dealers = self.call.dealers.iter();
        let dealer = dealers.find(|dealer| dealer.organization == *organization)?;
        EvaluatorIndex::new(dealer.index)
    }

    /// The index under which an organization is to hold a share, if it is.
    #[must_use]
    pub fn receiver(&self, organization: &OrganizationId) -> Option<EvaluatorIndex> {
        let at = self.call.evaluators.iter().position(|one| one == organization)?;
        EvaluatorIndex::new(u16::try_from(at + 1).ok()?)
    }

    /// Whether an organization owes messages of this kind under this index.
    fn expects(&self, organization: &OrganizationId, slot: &MessageSlot) -> bool {
        let (kind, sender, receiver) = slot;
        if receiver.is_some_and(|to| usize::from(to.get()) > self.call.evaluators.len()) {
            return false;
        }
        let role = match kind {
            MessageKind::Dealing | MessageKind::SealedShare => self.dealer(organization),
            // Where a key is made, the dealing carries what an enrolment would.
            MessageKind::Enrolment if self.call.dealers.is_empty() => None,
            MessageKind::Enrolment | MessageKind::Confirmation => self.receiver(organization),
        };
        role == Some(*sender)
    }

    pub(super) fn get(
        &self,
        slot: &MessageSlot,
        hash: &ContentHash,
    ) -> Option<&Verified<CeremonyMessage>> {
        self.messages.get(slot)?.iter().find(|message| message.hash() == *hash)
    }

    /// Takes up a message; returns those that are not kept any more, or the new one if it is not kept.
    ///
    /// Of the same message signed twice the one of the smaller hash is kept, and of different ones in
    /// one place the two smallest: the same in whatever order they come.
    fn add(&mut self, slot: MessageSlot, message: Verified<CeremonyMessage>) -> Vec<ContentHash> {
        let kept = self.messages.entry(slot).or_default();
        let mut before: Vec<_> = kept.iter().map(Verified::hash).collect();
        before.push(message.hash());
        kept.push(message);
        kept.sort_by_key(Verified::hash);
        let mut seen: BTreeSet<Vec<u8>> = BTreeSet::new();
        kept.retain(|one| seen.insert(one.message.to_vec()));
        kept.truncate(2);
        before.retain(|hash| kept.iter().all(|one| one.hash() != *hash));
        before
    }

    /// Takes out the messages of an organization for which `holds` is not so any more.
    fn take_out(
        &mut self,
        organization: &OrganizationId,
        holds: impl Fn(&Verified<CeremonyMessage>) -> bool,
    ) -> Vec<Verified<CeremonyMessage>> {
        if self.dealer(organization).is_none() && self.receiver(organization).is_none() {
            return Vec::new();
        }
        let mut out = Vec::new();
        self.messages.retain(|_, kept| {
            let goes = |one: &mut Verified<CeremonyMessage>| {
                one.organization == *organization && !holds(one)
            };
            out.extend(kept.extract_if(.., goes));
            !kept.is_empty()
        });
        out
    }
}

impl Statements {
    /// The ceremonies that are under way, by their names.
    pub fn ceremonies(&self) -> impl Iterator<Item = (&ContentHash, &Ceremony)> {
        self.ceremonies.iter()
    }

    /// One of them.
    #[must_use]
    pub fn ceremony(&self, id: &ContentHash) -> Option<&Ceremony> {
        self.ceremonies.get(id)
    }

    /// The number of the next call of a steward: one more than its last.
    #[must_use]
    pub fn next_call_number(&self, steward: &OrganizationId) -> u64 {
        let calls = self.ceremonies.values().filter(|one| one.call.steward == *steward);
        calls.map(|one| one.call.number).max().map_or(1, |last| last.saturating_add(1))
    }

    pub(super) fn take_call(
        &mut self,
        hash: ContentHash,
        bytes: &[u8],
        now: Option<Timestamp>,
    ) -> Result<Step, Refusal> {
        let envelope = Envelope::parse(CeremonyCall::KIND, bytes, CeremonyCall::BYTES_MAX)?;
        let key_id = envelope.key_id();
        // Whose key to look for stands inside; nothing else is believed before the signature.
        let claimed: CeremonyCall = envelope.body()?;
        let steward = claimed.steward;
        let Some(key) = self.epochs().find_map(|epoch| epoch.key(&steward, &key_id)).cloned()
        else {
            return Ok(Step::Waits(Need::Steward(steward)));
        };
        let call = signing::verify::<CeremonyCall>(&envelope, bytes, &key, &self.network)?;
        self.check_issued(call.issued, now)?;
        check_call(&call).map_err(Refusal::Inconsistent)?;
        let of_steward = self.epochs().filter(|epoch| epoch.has_key(&steward, &key_id));
        let life_max = of_steward.map(|epoch| epoch.parameters.proposal_life_max).max();
        if life_max.is_none_or(|max| call.expires.since(call.issued) > max) {
            // Another epoch of this steward may allow for more, and come later.
            return Ok(Step::Waits(Need::Steward(steward)));
        }
        if now.is_some_and(|now| call.expires <= now) {
            // A roster file may be older than that.
            return Ok(Step::Lapsed);
        }
        let known = self.calls.get(&(steward, key_id)).copied();
        let place = |id: &ContentHash| self.ceremonies.get(id).map(|one| (one.call.number, *id));
        if known.as_ref().and_then(place).is_some_and(|known| known >= (call.number, hash)) {
            return Ok(Step::Taken);
        }
        known.inspect(|known| self.drop_ceremony(known));
        self.calls.insert((steward, key_id), hash);
        self.ceremonies.insert(hash, Ceremony { call, messages: BTreeMap::new() });
        self.keep(hash, Place::Call(hash));
        self.met.push(Need::Ceremony(hash));
        Ok(Step::Taken)
    }

    pub(super) fn take_message(
        &mut self,
        hash: ContentHash,
        bytes: &[u8],
        now: Option<Timestamp>,
    ) -> Result<Step, Refusal> {
        let envelope = Envelope::parse(CeremonyMessage::KIND, bytes, CeremonyMessage::BYTES_MAX)?;
        let key_id = envelope.key_id();
        // Which ceremony, and whose key, stands inside; nothing else is believed before the signature.
        let claimed: CeremonyMessage = envelope.body()?;
        let Some(ceremony) = self.ceremonies.get(&claimed.ceremony) else {
            return Ok(Step::Waits(Need::Ceremony(claimed.ceremony)));
        };
        let sender = claimed.organization;
        if ceremony.dealer(&sender).is_none() && ceremony.receiver(&sender).is_none() {
            return Err(Refusal::Inconsistent("its sender has no part in the ceremony"));
        }
        let Some(organization) = self.organizations.get(&sender) else {
            return Ok(Step::Waits(Need::Organization(sender)));
        };
        let key = organization.transport_key(&key_id);
        let Some((key, _)) = key.filter(|(_, valid)| valid.contains(&claimed.issued)) else {
            return Ok(Step::Waits(Need::Keys(sender)));
        };
        let message = signing::verify::<CeremonyMessage>(&envelope, bytes, key, &self.network)?;
        self.check_issued(message.issued, now)?;
        let refuse = |rule| Err(Refusal::Inconsistent(rule));
        let Some((slot, inside)) = read(&message.message) else {
            return refuse("it is no message of a ceremony");
        };
        let id = message.ceremony;
        if inside != id.0 {
            return refuse("the message is of another ceremony");
        }
        if !ceremony.expects(&sender, &slot) {
            return refuse("the ceremony does not expect this of its sender");
        }
        let Some(ceremony) = self.ceremonies.get_mut(&id) else { return Ok(Step::Taken) };
        let dropped = ceremony.add(slot, message);
        // A third one is nothing new: whoever sends it again and again must not keep others busy.
        if !dropped.contains(&hash) {
            self.keep(hash, Place::Message(id, slot));
            dropped.iter().for_each(|old| self.drop_statement(old));
        }
        Ok(Step::Taken)
    }

    /// Messages of an organization that is not known any more, or by a key that it does not list any
    /// more or that was not valid when they were signed, wait until they hold again: so that it is the
    /// same whether they came before that was known or after.
    pub(super) fn review_messages(&mut self, sender: &OrganizationId) {
        let organization = self.organizations.get(sender);
        let holds = |message: &Verified<CeremonyMessage>| {
            let key = organization.and_then(|known| known.transport_key(&message.key_id()));
            key.is_some_and(|(_, valid)| valid.contains(&message.issued))
        };
        let out = self.ceremonies.values_mut().flat_map(|one| one.take_out(sender, holds));
        let out: Vec<_> = out.collect();
        let need = match organization {
            Some(_) => Need::Keys(*sender),
            None => Need::Organization(*sender),
        };
        for message in out {
            self.drop_statement(&message.hash());
            self.waiting.add(need, message.hash(), &message.bytes().into());
        }
    }

    /// Drops the ceremonies whose time is over.
    pub(super) fn end_ceremonies(&mut self, now: Timestamp) {
        let over = self.ceremonies.iter().filter(|(_, one)| one.call.expires <= now);
        for id in over.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.calls.retain(|_, known| *known != id);
            self.drop_ceremony(&id);
        }
    }

    fn drop_ceremony(&mut self, id: &ContentHash) {
        let Some(ceremony) = self.ceremonies.remove(id) else { return };
        for (_, message) in ceremony.messages() {
            self.drop_statement(&message.hash());
        }
        self.drop_statement(id);
    }
}

/// Checks a call, as far as it can be without knowing who evaluates now.
fn check_call(call: &CeremonyCall) -> Result<(), &'static str> {
    if call.expires <= call.issued {
        return Err("the ceremony would be over before it is called to");
    }
    let evaluators: BTreeSet<_> = call.evaluators.iter().collect();
    if evaluators.len() != call.evaluators.len() {
        return Err("an organization is to evaluate twice");
    }
    if call.threshold < 2 || usize::from(call.threshold) > evaluators.len() {
        return Err("the threshold of a ceremony is 2 at least, and no more than its evaluators");
    }
    let ascend = call.dealers.windows(2).all(|pair| pair[0].index < pair[1].index);
    let dealers: BTreeSet<_> = call.dealers.iter().map(|dealer| dealer.organization).collect();
    if !ascend || call.dealers.iter().any(|dealer| dealer.index == 0) {
        return Err("dealers stand in the order of their indices, from 1");
    }
    if dealers.len() != call.dealers.len() {
        return Err("an organization is to deal twice");
    }
    Ok(())
}

/// What a message of a ceremony says of itself, and which ceremony it names.
fn read(bytes: &[u8]) -> Option<(MessageSlot, [u8; 32])> {
    if let Ok(dealing) = Dealing::from_bytes(bytes) {
        let slot = (MessageKind::Dealing, dealing.dealer(), None);
        return Some((slot, *dealing.ceremony().as_bytes()));
    }
    if let Ok(enrolment) = Enrolment::from_bytes(bytes) {
        let slot = (MessageKind::Enrolment, enrolment.receiver(), None);
        return Some((slot, *enrolment.ceremony().as_bytes()));
    }
    if let Ok(share) = SealedShare::from_bytes(bytes) {
        let slot = (MessageKind::SealedShare, share.dealer(), Some(share.receiver()));
        return Some((slot, *share.ceremony().as_bytes()));
    }
    let confirmation = Confirmation::from_bytes(bytes).ok()?;
    let slot = (MessageKind::Confirmation, confirmation.receiver(), None);
    Some((slot, *confirmation.ceremony().as_bytes()))
}
