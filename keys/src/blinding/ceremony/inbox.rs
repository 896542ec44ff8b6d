//! Messages of one kind, one from each of the parties that owe one.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::{
    super::EvaluatorIndex,
    fault::{Fault, MessageKind, Party, Reason},
    message::Message,
    plan::CeremonyId,
};

/// Collects what `T` each party's message comes to. Bounded by the parties expected.
pub(super) struct Inbox<T> {
    ceremony: CeremonyId,
    kind: MessageKind,
    expected: Vec<EvaluatorIndex>,
    received: BTreeMap<EvaluatorIndex, Received<T>>,
    /// The first party that sent two messages; the round cannot end well after that.
    contradiction: Option<Fault>,
}

struct Received<T> {
    hash: [u8; 32],
    content: T,
}

impl<T> Inbox<T> {
    pub(super) const fn new(
        ceremony: CeremonyId,
        kind: MessageKind,
        expected: Vec<EvaluatorIndex>,
    ) -> Self {
        Self { ceremony, kind, expected, received: BTreeMap::new(), contradiction: None }
    }

    /// Takes a message that the caller knows to come `from` this party. The same one again does no
    /// harm; another one that is right as well is remembered as a contradiction.
    pub(super) fn accept<M: Message>(
        &mut self,
        from: EvaluatorIndex,
        bytes: &[u8],
        check: impl FnOnce(M) -> Result<T, Reason>,
    ) -> Result<(), Fault> {
        let at = |reason| Fault::at(self.party(from), reason);
        if !self.expected.contains(&from) {
            return Err(at(Reason::NotExpected(self.kind)));
        }
        let hash = Sha256::digest(bytes).into();
        let earlier = self.received.get(&from);
        if earlier.is_some_and(|earlier| earlier.hash == hash) {
            return Ok(());
        }
        let content = self.read(from, bytes).and_then(check).map_err(at)?;
        if earlier.is_some() {
            let fault = at(Reason::Contradiction(self.kind));
            self.contradiction.get_or_insert_with(|| fault.clone());
            return Err(fault);
        }
        self.received.insert(from, Received { hash, content });
        Ok(())
    }

    fn read<M: Message>(&self, from: EvaluatorIndex, bytes: &[u8]) -> Result<M, Reason> {
        let message = M::decode(bytes)?;
        if message.ceremony() != self.ceremony {
            return Err(Reason::OtherCeremony);
        }
        if message.sender() != from {
            return Err(Reason::OtherSender(message.sender()));
        }
        Ok(message)
    }

    /// Who still owes a message.
    pub(super) fn missing(&self) -> impl Iterator<Item = Party> {
        self.expected
            .iter()
            .filter(|index| !self.received.contains_key(index))
            .map(|index| self.party(*index))
    }

    /// All messages in order of their senders, if each sent one and nobody two.
    pub(super) fn finish(self) -> Result<BTreeMap<EvaluatorIndex, T>, Fault> {
        let missing = self.missing().next();
        if let Some(fault) = self.contradiction {
            return Err(fault);
        }
        if let Some(party) = missing {
            return Err(Fault::at(party, Reason::Missing(self.kind)));
        }
        let received = self.received.into_iter();
        Ok(received.map(|(index, received)| (index, received.content)).collect())
    }

    const fn party(&self, index: EvaluatorIndex) -> Party {
        match self.kind {
            MessageKind::Dealing | MessageKind::SealedShare => Party::Dealer(index),
            MessageKind::Enrolment | MessageKind::Confirmation => Party::Receiver(index),
        }
    }
}
