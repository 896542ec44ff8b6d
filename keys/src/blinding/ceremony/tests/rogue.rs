//! A party that follows no rules: it can show each receiver another face, and spoil its shares.

use zeroize::Zeroizing;

use super::*;
use crate::blinding::{
    ceremony::{
        generation, outcome,
        plan::Plan,
        polynomial::Polynomial,
        sealed::{KeyPair, Route},
    },
    suite::Element,
};

pub(super) struct Rogue {
    plan: Plan,
    dealer: EvaluatorIndex,
    receiver: Option<EvaluatorIndex>,
    key: KeyPair,
    faces: Vec<Face>,
    /// Which face is for the party that has this index as receiver.
    face_for: Box<dyn Fn(u16) -> usize>,
    spoil: Spoil,
    dealings: BTreeMap<EvaluatorIndex, Dealing>,
    enrolments: BTreeMap<EvaluatorIndex, Element>,
}

/// What becomes of the bytes of a share for this receiver.
type Spoil = Box<dyn Fn(u16, &mut [u8; 32])>;

/// One dealing and the secret behind it.
struct Face {
    dealing: Dealing,
    secret: Secret,
}

enum Secret {
    Generated(Option<generation::Dealt>),
    Shares(BTreeMap<EvaluatorIndex, Zeroizing<Scalar>>),
    Reshared(Polynomial),
}

impl Rogue {
    /// A dealer in a generation, with a key of its own and two polynomials.
    pub(super) fn in_generation(plan: &GeneratePlan, number: u16, seed: u64) -> Self {
        let (plan, dealer, rng) = (plan.0.clone(), index(number), &mut seeded(seed));
        let key = KeyPair::generate(rng);
        let faces = (0..2)
            .map(|_| {
                let (dealt, public) =
                    generation::deal(dealer, plan.threshold, plan.receivers.len(), rng).unwrap();
                let dealing = Dealing {
                    ceremony: plan.ceremony,
                    dealer,
                    key: key.public,
                    commitments: public.commitments,
                    proof: Some(public.proof),
                };
                Face { dealing, secret: Secret::Generated(Some(dealt)) }
            })
            .collect();
        Self::new(plan, dealer, Some(dealer), key, faces)
    }

    /// A dealer in a resharing, who deals `secret` in two ways.
    pub(super) fn in_resharing(
        plan: &ResharePlan,
        number: u16,
        receiver: Option<u16>,
        secret: &Scalar,
        seed: u64,
    ) -> Self {
        let (plan, dealer, rng) = (plan.0.clone(), index(number), &mut seeded(seed));
        let key = KeyPair::generate(rng);
        let faces = (0..2)
            .map(|_| {
                let polynomial = Polynomial::new(secret, plan.threshold, rng);
                let dealing = Dealing {
                    ceremony: plan.ceremony,
                    dealer,
                    key: key.public,
                    commitments: polynomial.commitments(),
                    proof: None,
                };
                Face { dealing, secret: Secret::Reshared(polynomial) }
            })
            .collect();
        Self::new(plan, dealer, receiver.map(index), key, faces)
    }

    fn new(
        plan: Plan,
        dealer: EvaluatorIndex,
        receiver: Option<EvaluatorIndex>,
        key: KeyPair,
        faces: Vec<Face>,
    ) -> Self {
        let (face_for, spoil) = (Box::new(|_| 0), Box::new(|_, _: &mut _| ()));
        let (dealings, enrolments) = (BTreeMap::new(), BTreeMap::new());
        Self { plan, dealer, receiver, key, faces, face_for, spoil, dealings, enrolments }
    }

    pub(super) fn facing(mut self, face_for: impl Fn(u16) -> usize + 'static) -> Self {
        self.face_for = Box::new(face_for);
        self
    }

    pub(super) fn spoiling(mut self, spoil: impl Fn(u16, &mut [u8; 32]) + 'static) -> Self {
        self.spoil = Box::new(spoil);
        self
    }

    /// What it shows to two receivers.
    pub(super) fn dealings(&self) -> [&Dealing; 2] {
        [&self.faces[0].dealing, &self.faces[1].dealing]
    }

    fn sealed_share(&mut self, face: usize, receiver: u16) -> Vec<u8> {
        let receiver = index(receiver);
        if let Secret::Generated(dealt) = &mut self.faces[face].secret {
            let (_, shares) = dealt.take().unwrap().share(self.dealings.values()).unwrap();
            self.faces[face].secret = Secret::Shares(shares);
        }
        let share = match &self.faces[face].secret {
            Secret::Shares(shares) => shares[&receiver].clone(),
            Secret::Reshared(polynomial) => polynomial.at(receiver),
            Secret::Generated(_) => unreachable!("replaced above"),
        };
        let receiver_key = match self.plan.reshare {
            Some(_) => &self.enrolments[&receiver],
            None => &self.dealings[&receiver].key,
        };
        let (ceremony, dealer) = (self.plan.ceremony, self.dealer);
        let dealer_key = &self.key.public;
        let route = Route { ceremony, dealer, receiver, dealer_key, receiver_key };
        let mut bytes = share.to_bytes();
        (self.spoil)(receiver.get(), &mut bytes);
        route.seal_bytes(&self.key, &bytes).to_bytes()
    }

    /// What an honest party that sees this face would confirm.
    fn confirmation(&self, face: usize, receiver: EvaluatorIndex) -> Vec<u8> {
        let mut dealings = self.dealings.clone();
        dealings.insert(self.dealer, self.faces[face].dealing.clone());
        let keys = outcome::public_keys(&self.plan, dealings.values()).unwrap();
        Confirmation::new(&self.plan, receiver, dealings.values(), &keys).to_bytes()
    }
}

impl Wire for Rogue {
    fn pass(
        &mut self,
        kind: MessageKind,
        from: EvaluatorIndex,
        _: Who,
        bytes: Vec<u8>,
    ) -> Option<Vec<u8>> {
        match kind {
            MessageKind::Dealing => {
                self.dealings.insert(from, Dealing::from_bytes(&bytes).unwrap());
            }
            MessageKind::Enrolment => {
                self.enrolments.insert(from, Enrolment::from_bytes(&bytes).unwrap().key);
            }
            MessageKind::SealedShare | MessageKind::Confirmation => (),
        }
        Some(bytes)
    }

    fn extra(&mut self, kind: MessageKind, to: Who) -> Vec<(EvaluatorIndex, Vec<u8>)> {
        let face = to.receiver.map_or(0, |receiver| (self.face_for)(receiver));
        let message = match (kind, self.receiver, to.receiver) {
            (MessageKind::Dealing, ..) => (self.dealer, self.faces[face].dealing.to_bytes()),
            (MessageKind::SealedShare, _, Some(to)) => (self.dealer, self.sealed_share(face, to)),
            (MessageKind::Enrolment, Some(receiver), _) if self.plan.reshare.is_some() => {
                let (ceremony, key) = (self.plan.ceremony, self.key.public);
                (receiver, Enrolment { ceremony, receiver, key }.to_bytes())
            }
            (MessageKind::Confirmation, Some(receiver), _) => {
                (receiver, self.confirmation(face, receiver))
            }
            _ => return Vec::new(),
        };
        vec![message]
    }
}

/// The part of the old key that a dealer owes.
pub(super) fn part(plan: &ResharePlan, share: &KeyShare) -> Scalar {
    plan.0.reshare.as_ref().unwrap().weight(share.index()).unwrap() * share.scalar()
}
