//! The first round: everybody shows commitments and keys.

use std::collections::BTreeMap;

use curve25519_dalek::scalar::Scalar;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{
    super::{EvaluatorIndex, KeyShare},
    dealing::{Dealing, Enrolment},
    fault::{Fault, MessageKind, Party, Reason},
    generation,
    inbox::Inbox,
    plan::{GeneratePlan, Plan, ResharePlan, RoleError},
    polynomial::Polynomial,
    sealed::{KeyPair, Route, SealedShare},
    share_round::{OwnPart, Receiving, ShareRound},
};

/// A ceremony that waits for dealings, and in a resharing for enrolments.
///
/// Its secrets are in memory alone. A party that is to survive a restart can give `rng` a
/// generator seeded for this one ceremony, keep the seed as carefully as a key share, and begin
/// again with the same seed, plan and messages: the same messages come out. A seed used for two
/// ceremonies would show one polynomial in both, which gives secrets away.
#[must_use]
pub struct DealingRound {
    plan: Plan,
    dealer: Option<Dealer>,
    receiver: Option<Receiver>,
    dealings: Inbox<Dealing>,
    enrolments: Inbox<Enrolment>,
}

/// What a party does in a resharing.
#[derive(Clone, Copy, Debug)]
pub enum ReshareRole<'a> {
    /// Deals its old share, and will hold none.
    Dealer(&'a KeyShare),
    /// Held no share, or deals none, and will hold the share of this index.
    Receiver(EvaluatorIndex),
    /// Deals its old share and will hold a new one.
    Both {
        /// The old share, under its old index.
        share: &'a KeyShare,
        /// The new index.
        receiver: EvaluatorIndex,
    },
}

/// A resharing as it begins, with what this party must broadcast.
#[must_use]
pub struct Opening {
    /// Waits for the others.
    pub round: DealingRound,
    /// Of a dealer.
    pub dealing: Option<Dealing>,
    /// Of a receiver.
    pub enrolment: Option<Enrolment>,
}

struct Dealer {
    index: EvaluatorIndex,
    key: KeyPair,
    secret: Secret,
}

struct Receiver {
    index: EvaluatorIndex,
    key: KeyPair,
}

/// The polynomial of a dealer.
enum Secret {
    Generated(Box<generation::Dealt>),
    Reshared(Polynomial),
}

impl DealingRound {
    /// Begins to generate a key, as evaluator `index`. The dealing is for everybody else.
    ///
    /// `rng` must be the operating system's or as good: whoever guesses its output of t parties
    /// has the key.
    ///
    /// # Errors
    /// When the plan knows no such evaluator.
    pub fn generate(
        plan: GeneratePlan,
        index: EvaluatorIndex,
        rng: &mut impl CryptoRng,
    ) -> Result<(Self, Dealing), RoleError> {
        let plan = plan.0;
        plan.check_dealer(index)?;
        let key = KeyPair::generate(rng);
        let (secret, public) = generation::deal(index, plan.threshold, plan.receivers.len(), rng)?;
        let dealing = Dealing {
            ceremony: plan.ceremony,
            dealer: index,
            key: key.public,
            commitments: public.commitments,
            proof: Some(public.proof),
        };
        let receiver = Some(Receiver { index, key: key.clone() });
        let dealer = Some(Dealer { index, key, secret: Secret::Generated(Box::new(secret)) });
        Ok((Self::new(plan, dealer, receiver, Some(&dealing), None)?, dealing))
    }

    /// Begins to reshare a key. What [`Opening`] holds is for everybody else.
    ///
    /// `rng` as for [`Self::generate`].
    ///
    /// # Errors
    /// When the plan knows no such dealer or receiver, or lists another public share for the
    /// dealer than that of its key share.
    pub fn reshare(
        plan: ResharePlan,
        role: ReshareRole<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Opening, RoleError> {
        let plan = plan.0;
        let (share, receiver) = match role {
            ReshareRole::Dealer(share) => (Some(share), None),
            ReshareRole::Receiver(receiver) => (None, Some(receiver)),
            ReshareRole::Both { share, receiver } => (Some(share), Some(receiver)),
        };
        let (dealer, dealing) = match share {
            Some(share) => {
                let (dealer, dealing) = deal_share(&plan, share, rng)?;
                (Some(dealer), Some(dealing))
            }
            None => (None, None),
        };
        let (receiver, enrolment) = match receiver {
            Some(index) => {
                plan.check_receiver(index)?;
                let key = KeyPair::generate(rng);
                let ceremony = plan.ceremony;
                let enrolment = Enrolment { ceremony, receiver: index, key: key.public };
                (Some(Receiver { index, key }), Some(enrolment))
            }
            None => (None, None),
        };
        let round = Self::new(plan, dealer, receiver, dealing.as_ref(), enrolment.as_ref())?;
        Ok(Opening { round, dealing, enrolment })
    }

    /// A round of one that neither deals nor receives, and sees what the public messages amount to.
    /// It lists the enrolments that are still to come, and yet ends without them: only who deals
    /// needs them.
    pub(super) fn watch(plan: Plan) -> Self {
        Self::empty(plan, None, None)
    }

    /// A round that has this party's own messages already.
    fn new(
        plan: Plan,
        dealer: Option<Dealer>,
        receiver: Option<Receiver>,
        dealing: Option<&Dealing>,
        enrolment: Option<&Enrolment>,
    ) -> Result<Self, RoleError> {
        let mut round = Self::empty(plan, dealer, receiver);
        let mut own = Ok(());
        if let Some(dealing) = dealing {
            own = own.and(round.accept_dealing(dealing.dealer, &dealing.to_bytes()));
        }
        if let Some(enrolment) = enrolment {
            own = own.and(round.accept_enrolment(enrolment.receiver, &enrolment.to_bytes()));
        }
        own.map(|()| round).map_err(|_| RoleError::Generation)
    }

    /// A round that has no message yet.
    fn empty(plan: Plan, dealer: Option<Dealer>, receiver: Option<Receiver>) -> Self {
        let id = plan.ceremony;
        let dealings = Inbox::new(id, MessageKind::Dealing, plan.dealers.clone());
        // In key generation the dealing carries the receiver's key.
        let owed = if plan.reshare.is_some() { plan.receivers.clone() } else { Vec::new() };
        let enrolments = Inbox::new(id, MessageKind::Enrolment, owed);
        Self { plan, dealer, receiver, dealings, enrolments }
    }

    /// Takes a dealing that the caller knows to come from this dealer, by its signature.
    ///
    /// The same dealing again does no harm.
    ///
    /// # Errors
    /// When it is not the dealer's one dealing of this ceremony, or not made as planned. Proofs of
    /// knowledge are checked by [`Self::finish`].
    pub fn accept_dealing(&mut self, from: EvaluatorIndex, bytes: &[u8]) -> Result<(), Fault> {
        let plan = &self.plan;
        self.dealings.accept(from, bytes, |dealing: Dealing| {
            if dealing.proof.is_some() != plan.reshare.is_none() {
                return Err(Reason::OtherKind);
            }
            let (expected, got) = (plan.threshold, dealing.commitments.len());
            if got != expected {
                return Err(Reason::Degree { expected, got });
            }
            if let (Some(reshare), Some(first)) = (&plan.reshare, dealing.commitments.first()) {
                reshare.check(from, first)?;
            }
            Ok(dealing)
        })
    }

    /// Takes an enrolment that the caller knows to come from this receiver, by its signature. The
    /// same again does no harm.
    ///
    /// # Errors
    /// When it is not the receiver's one enrolment in this ceremony, or when the ceremony
    /// generates a key.
    pub fn accept_enrolment(&mut self, from: EvaluatorIndex, bytes: &[u8]) -> Result<(), Fault> {
        self.enrolments.accept(from, bytes, |enrolment: Enrolment| Ok(enrolment))
    }

    /// Whose dealing or enrolment is still to come.
    #[must_use]
    pub fn missing(&self) -> Vec<Party> {
        self.dealings.missing().chain(self.enrolments.missing()).collect()
    }

    /// Ends the round: gives the share for each other receiver, which a party that only receives
    /// has none of.
    ///
    /// # Errors
    /// When a message is missing, somebody sent two, or a proof of knowledge does not hold. The
    /// attempt is over then, and this party's secrets are wiped.
    pub fn finish(self) -> Result<(ShareRound, Vec<SealedShare>), Fault> {
        let dealings = self.dealings.finish()?;
        if self.dealer.is_none() && self.receiver.is_none() {
            check_proofs(&self.plan, &dealings)?;
            return Ok((ShareRound::new(self.plan, dealings, None), Vec::new()));
        }
        let enrolments = self.enrolments.finish()?;
        let receiver_keys: BTreeMap<_, _> = if self.plan.reshare.is_some() {
            enrolments.iter().map(|(index, enrolment)| (*index, &enrolment.key)).collect()
        } else {
            dealings.iter().map(|(index, dealing)| (*index, &dealing.key)).collect()
        };
        let own = self.receiver.as_ref().map(|receiver| receiver.index);
        let (mut sealed, mut part) = (Vec::new(), None);
        if let Some(Dealer { index, key, secret }) = self.dealer {
            let (shares, own_part) = secret.share(index, own, &dealings, &self.plan)?;
            part = own_part;
            for (receiver, share) in &shares {
                let missing = Reason::Missing(MessageKind::Enrolment);
                let receiver_key = receiver_keys
                    .get(receiver)
                    .ok_or_else(|| Fault::at(Party::Receiver(*receiver), missing))?;
                let route = Route {
                    ceremony: self.plan.ceremony,
                    dealer: index,
                    receiver: *receiver,
                    dealer_key: &key.public,
                    receiver_key,
                };
                sealed.push(route.seal(&key, share));
            }
        }
        let receiving = self
            .receiver
            .map(|receiver| Receiving::new(&self.plan, receiver.index, receiver.key, part));
        Ok((ShareRound::new(self.plan, dealings, receiving), sealed))
    }
}

/// Checks the proofs of all dealers, as the library does for a party of a generation. In a
/// resharing there are none.
fn check_proofs(plan: &Plan, dealings: &BTreeMap<EvaluatorIndex, Dealing>) -> Result<(), Fault> {
    let wrong =
        dealings.values().find(|dealing| plan.reshare.is_none() && !generation::is_proven(dealing));
    wrong
        .map_or(Ok(()), |dealing| Err(Fault::at(Party::Dealer(dealing.dealer), Reason::WrongProof)))
}

/// A dealer's shares for others.
type Shares = BTreeMap<EvaluatorIndex, Zeroizing<Scalar>>;

impl Secret {
    /// The share of each receiver but `own`, and what is kept for that.
    fn share(
        self,
        dealer: EvaluatorIndex,
        own: Option<EvaluatorIndex>,
        dealings: &BTreeMap<EvaluatorIndex, Dealing>,
        plan: &Plan,
    ) -> Result<(Shares, Option<OwnPart>), Fault> {
        match self {
            Self::Generated(dealt) => {
                let others = dealings.values().filter(|dealing| dealing.dealer != dealer);
                let (shared, shares) = dealt.share(others)?;
                Ok((shares, Some(OwnPart::Generated(Box::new(shared)))))
            }
            Self::Reshared(polynomial) => {
                let others = plan.receivers.iter().filter(|receiver| Some(**receiver) != own);
                let shares = others.map(|receiver| (*receiver, polynomial.at(*receiver))).collect();
                let part = own.map(|own| OwnPart::Reshared { dealer, share: polynomial.at(own) });
                Ok((shares, part))
            }
        }
    }
}

/// A dealer's part of the old key under a fresh polynomial.
fn deal_share(
    plan: &Plan,
    share: &KeyShare,
    rng: &mut impl CryptoRng,
) -> Result<(Dealer, Dealing), RoleError> {
    let index = share.index();
    plan.check_dealer(index)?;
    let reshare = plan.reshare.as_ref().ok_or(RoleError::NotADealer(index))?;
    reshare.check_share(share)?;
    let weight = reshare.weight(index).ok_or(RoleError::NotADealer(index))?;
    let part = Zeroizing::new(weight * share.scalar());
    let polynomial = Polynomial::new(&part, plan.threshold, rng);
    let key = KeyPair::generate(rng);
    let dealing = Dealing {
        ceremony: plan.ceremony,
        dealer: index,
        key: key.public,
        commitments: polynomial.commitments(),
        proof: None,
    };
    Ok((Dealer { index, key, secret: Secret::Reshared(polynomial) }, dealing))
}
