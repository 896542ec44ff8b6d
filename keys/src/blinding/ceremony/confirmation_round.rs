//! The third round: no receiver uses its share before all have seen the same.

use std::{collections::BTreeMap, iter};

use super::{
    super::{EvaluatorIndex, KeyShare},
    confirmation::Confirmation,
    fault::{Fault, MessageKind, Party, Reason},
    inbox::Inbox,
    outcome::Outcome,
    plan::{Plan, PublicKeySet},
};

/// A ceremony that waits for the confirmations of all receivers. The share is inside, and nothing
/// but [`Self::finish`] lets it out.
#[must_use]
pub struct ConfirmationRound {
    /// What this party would confirm, or does.
    view: Confirmation,
    dealers: Vec<EvaluatorIndex>,
    keys: PublicKeySet,
    share: Option<KeyShare>,
    confirmations: Inbox<()>,
    /// Who confirmed something else. With one, the ceremony has failed.
    differing: BTreeMap<EvaluatorIndex, Fault>,
}

impl ConfirmationRound {
    /// A round that has this party's own confirmation already, if it is a receiver.
    pub(super) fn new(
        plan: Plan,
        view: Confirmation,
        keys: PublicKeySet,
        share: Option<KeyShare>,
        own: Option<EvaluatorIndex>,
    ) -> Result<Self, Fault> {
        let confirmations = Inbox::new(plan.ceremony, MessageKind::Confirmation, plan.receivers);
        let dealers = plan.dealers;
        let mut round =
            Self { view, dealers, keys, share, confirmations, differing: BTreeMap::new() };
        if let Some(own) = own {
            round.accept(own, &round.view.to_bytes())?;
        }
        Ok(round)
    }

    /// Takes a confirmation that the caller knows to come from this receiver, by its signature.
    /// The same again does no harm.
    ///
    /// # Errors
    /// When it is not the receiver's confirmation in this ceremony, or confirms something else. In
    /// the second case the ceremony has failed, whatever else arrives.
    pub fn accept(&mut self, from: EvaluatorIndex, bytes: &[u8]) -> Result<(), Fault> {
        let (view, dealers) = (&self.view, &self.dealers);
        let differing = &mut self.differing;
        self.confirmations.accept(from, bytes, |confirmation: Confirmation| {
            if let Err(fault) = compare(view, dealers, &confirmation) {
                // The first counts; what somebody says after it is a contradiction anyhow.
                differing.entry(from).or_insert(fault);
            }
            Ok(())
        })?;
        self.differing.get(&from).map_or(Ok(()), |fault| Err(fault.clone()))
    }

    /// What a receiver must say so that it agrees with this party, byte for byte.
    pub(super) fn agreeing(&self, receiver: EvaluatorIndex) -> Vec<u8> {
        Confirmation { receiver, ..self.view.clone() }.to_bytes()
    }

    /// The transcript that this party waits for all to confirm.
    pub(super) const fn transcript(&self) -> [u8; 32] {
        self.view.transcript
    }

    /// Who has not confirmed yet.
    #[must_use]
    pub fn missing(&self) -> Vec<Party> {
        self.confirmations.missing().collect()
    }

    /// Ends the ceremony. What comes out is the same key set for every receiver that gets here.
    ///
    /// # Errors
    /// When a confirmation is missing, or one differs. The share is wiped then; another attempt
    /// makes another.
    pub fn finish(self) -> Result<Outcome, Fault> {
        if let Some(fault) = self.differing.into_values().next() {
            return Err(fault);
        }
        self.confirmations.finish()?;
        Ok(Outcome { keys: self.keys, share: self.share, transcript: self.view.transcript })
    }
}

/// Whether a receiver has seen and concluded what we have, and if not, whose fault it may be.
fn compare(
    view: &Confirmation,
    dealers: &[EvaluatorIndex],
    theirs: &Confirmation,
) -> Result<(), Fault> {
    let same_dealings = view.dealings == theirs.dealings;
    let same_transcript = view.transcript == theirs.transcript;
    if same_dealings && same_transcript {
        return Ok(());
    }
    let receiver = theirs.receiver;
    // Transcripts cover the dealings, so one cannot be the same and the other not.
    if same_dealings || same_transcript || view.dealings.len() != theirs.dealings.len() {
        return Err(Fault::at(Party::Receiver(receiver), Reason::WrongConfirmation));
    }
    let pairs = iter::zip(&view.dealings, &theirs.dealings);
    let differing = iter::zip(dealers, pairs).filter(|(_, (ours, theirs))| ours != theirs);
    Err(Fault::Disputed { receiver, dealers: differing.map(|(dealer, _)| *dealer).collect() })
}
