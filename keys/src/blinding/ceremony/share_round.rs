//! The second round: each receiver opens the shares that were dealt to it, and checks them.

use std::collections::BTreeMap;

use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroizing;

use super::{
    super::{EvaluatorIndex, KeyShare},
    confirmation::Confirmation,
    confirmation_round::ConfirmationRound,
    dealing::Dealing,
    fault::{Fault, MessageKind, Party, Reason, Unexplained},
    generation,
    inbox::Inbox,
    outcome::{key_share, public_keys},
    plan::{Plan, PublicKeySet},
    polynomial::is_promised,
    sealed::{KeyPair, Route, SealedShare},
};

/// A ceremony that waits for the shares sealed for this party. One that receives none waits for
/// nothing.
#[must_use]
pub struct ShareRound {
    plan: Plan,
    dealings: BTreeMap<EvaluatorIndex, Dealing>,
    receiving: Option<Receiving>,
}

/// A share that was opened. In a box of its own: a map that moves its values leaves copies behind
/// that nobody wipes.
pub(super) type Share = Box<Zeroizing<Scalar>>;

/// What a receiver gathers.
pub(super) struct Receiving {
    index: EvaluatorIndex,
    key: KeyPair,
    shares: Inbox<Share>,
    part: Option<OwnPart>,
}

/// What a receiver that deals too has dealt to itself.
pub(super) enum OwnPart {
    /// Inside the library for key generation.
    Generated(Box<generation::Shared>),
    /// A value of the polynomial of this dealer.
    Reshared { dealer: EvaluatorIndex, share: Zeroizing<Scalar> },
}

impl Receiving {
    pub(super) fn new(
        plan: &Plan,
        index: EvaluatorIndex,
        key: KeyPair,
        part: Option<OwnPart>,
    ) -> Self {
        let own = match &part {
            Some(OwnPart::Generated(_)) => Some(index),
            Some(OwnPart::Reshared { dealer, .. }) => Some(*dealer),
            None => None,
        };
        let others = plan.dealers.iter().filter(|dealer| Some(**dealer) != own);
        let shares = Inbox::new(plan.ceremony, MessageKind::SealedShare, others.copied().collect());
        Self { index, key, shares, part }
    }

    /// Opens and checks one share.
    fn accept(
        &mut self,
        from: EvaluatorIndex,
        bytes: &[u8],
        dealing: &Dealing,
    ) -> Result<(), Fault> {
        let (receiver, key) = (self.index, &self.key);
        self.shares.accept(from, bytes, |sealed: SealedShare| {
            if sealed.receiver != receiver {
                return Err(Reason::OtherReceiver(sealed.receiver));
            }
            let route = Route {
                ceremony: sealed.ceremony,
                dealer: from,
                receiver,
                dealer_key: &dealing.key,
                receiver_key: &key.public,
            };
            let share = route.open(key, &sealed)?;
            let promised = is_promised(&share, &dealing.commitments, receiver);
            if promised { Ok(Box::new(share)) } else { Err(Reason::WrongShare) }
        })
    }

    /// Adds everything up.
    fn finish(self, keys: &PublicKeySet) -> Result<KeyShare, Fault> {
        let shares = self.shares.finish()?;
        let share = match self.part {
            Some(OwnPart::Generated(shared)) => {
                let (share, same) = shared.finish(&shares, keys)?;
                if !same {
                    return Err(Fault::Unexplained(Unexplained::Generation));
                }
                share
            }
            Some(OwnPart::Reshared { share, .. }) => {
                sum(shares.values().map(|share| &**share).chain([&share]))
            }
            None => sum(shares.values().map(|share| &**share)),
        };
        key_share(keys, self.index, &share)
    }
}

fn sum<'a>(shares: impl Iterator<Item = &'a Zeroizing<Scalar>>) -> Zeroizing<Scalar> {
    let mut total = Zeroizing::new(Scalar::ZERO);
    for share in shares {
        *total += **share;
    }
    total
}

impl ShareRound {
    pub(super) const fn new(
        plan: Plan,
        dealings: BTreeMap<EvaluatorIndex, Dealing>,
        receiving: Option<Receiving>,
    ) -> Self {
        Self { plan, dealings, receiving }
    }

    /// Takes a sealed share that the caller knows to come from this dealer, by its signature. The
    /// same again does no harm.
    ///
    /// # Errors
    /// When it is not the dealer's share for this party, does not open, or is not what the dealer
    /// committed to.
    pub fn accept(&mut self, from: EvaluatorIndex, bytes: &[u8]) -> Result<(), Fault> {
        match (&mut self.receiving, self.dealings.get(&from)) {
            (Some(receiving), Some(dealing)) => receiving.accept(from, bytes, dealing),
            _ => {
                let reason = Reason::NotExpected(MessageKind::SealedShare);
                Err(Fault::at(Party::Dealer(from), reason))
            }
        }
    }

    /// Whose share is still to come.
    #[must_use]
    pub fn missing(&self) -> Vec<Party> {
        self.receiving.iter().flat_map(|receiving| receiving.shares.missing()).collect()
    }

    /// Ends the round: adds the shares up, and gives the confirmation for everybody else, which a
    /// party that only deals has none of.
    ///
    /// # Errors
    /// When a share is missing, or what was dealt does not amount to one key, in a resharing to the
    /// old one. The attempt is over then, and this party's secrets are wiped.
    pub fn finish(self) -> Result<(ConfirmationRound, Option<Confirmation>), Fault> {
        let keys = public_keys(&self.plan, self.dealings.values())?;
        let receiver = self.receiving.as_ref().map(|receiving| receiving.index);
        let share = self.receiving.map(|receiving| receiving.finish(&keys)).transpose()?;
        // Somebody's view is needed to compare with, also by a party that does not confirm.
        let viewer = receiver.or(self.plan.receivers.first().copied());
        let viewer = viewer.ok_or(Fault::Unexplained(Unexplained::NotOneKey))?;
        let view = Confirmation::new(&self.plan, viewer, self.dealings.values(), &keys);
        let confirmation = receiver.map(|_| view.clone());
        let round = ConfirmationRound::new(self.plan, view, keys, share, receiver)?;
        Ok((round, confirmation))
    }
}
