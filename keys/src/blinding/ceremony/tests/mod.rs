//! Whole ceremonies in process, over a wire that a test can cut, change and add to.

mod attempt;
mod codec;
mod equivocation;
mod generate;
mod properties;
mod reshare;
mod rogue;
mod silence;
mod tampering;

use std::collections::BTreeMap;

use curve25519_dalek::scalar::Scalar;

use super::{
    CeremonyId, Confirmation, Dealing, DealingRound, Enrolment, Fault, GeneratePlan, MessageKind,
    Opening, Outcome, Party, PublicKeySet, Reason, ResharePlan, ReshareRole,
};
use crate::blinding::{
    Blinding, CombineError, EvaluatorIndex, KeyShare,
    sharing::lagrange,
    suite::decode_scalar,
    tests::{evaluate, inputs, seeded},
};

fn index(number: u16) -> EvaluatorIndex {
    EvaluatorIndex::new(number).unwrap()
}

fn id(number: u8) -> CeremonyId {
    CeremonyId::new([number; 32])
}

fn at_dealer(number: u16, reason: Reason) -> Fault {
    Fault::At { party: Party::Dealer(index(number)), reason }
}

fn at_receiver(number: u16, reason: Reason) -> Fault {
    Fault::At { party: Party::Receiver(index(number)), reason }
}

/// One party, by its indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Who {
    dealer: Option<u16>,
    receiver: Option<u16>,
}

impl Who {
    fn sends(self, kind: MessageKind, from: EvaluatorIndex) -> bool {
        let own = match kind {
            MessageKind::Dealing | MessageKind::SealedShare => self.dealer,
            MessageKind::Enrolment | MessageKind::Confirmation => self.receiver,
        };
        own == Some(from.get())
    }
}

/// What happens to messages between parties.
trait Wire {
    /// What arrives of a message.
    fn pass(
        &mut self,
        _kind: MessageKind,
        _from: EvaluatorIndex,
        _to: Who,
        bytes: Vec<u8>,
    ) -> Option<Vec<u8>> {
        Some(bytes)
    }

    /// What arrives besides, of parties that do not run the protocol.
    fn extra(&mut self, _kind: MessageKind, _to: Who) -> Vec<(EvaluatorIndex, Vec<u8>)> {
        Vec::new()
    }
}

/// A wire that does its job.
struct Honest;
impl Wire for Honest {}

/// Changes what arrives, or drops it.
struct Change<F>(F);
impl<F: FnMut(MessageKind, u16, Who, Vec<u8>) -> Option<Vec<u8>>> Wire for Change<F> {
    fn pass(
        &mut self,
        kind: MessageKind,
        from: EvaluatorIndex,
        to: Who,
        bytes: Vec<u8>,
    ) -> Option<Vec<u8>> {
        (self.0)(kind, from.get(), to, bytes)
    }
}

/// A party about to begin.
struct Start {
    who: Who,
    opening: Opening,
}

type Results = Vec<(Who, Result<Outcome, Fault>)>;

/// Runs a ceremony to its end. Whoever meets a fault stops and says no more.
fn run(starts: Vec<Start>, wire: &mut dyn Wire) -> Results {
    let mut results: Results = Vec::new();
    let mut messages = Vec::new();
    let mut rounds = Vec::new();
    for Start { who, opening } in starts {
        let Opening { round, dealing, enrolment } = opening;
        messages.extend(dealing.map(|m| (MessageKind::Dealing, m.dealer(), m.to_bytes())));
        messages.extend(enrolment.map(|m| (MessageKind::Enrolment, m.receiver(), m.to_bytes())));
        rounds.push((who, round));
    }

    let mut sealed = Vec::new();
    let mut next = Vec::new();
    for (who, mut round) in rounds {
        let mut deliver = || {
            for kind in [MessageKind::Dealing, MessageKind::Enrolment] {
                for (from, bytes) in arriving(kind, who, &messages, wire) {
                    match kind {
                        MessageKind::Dealing => round.accept_dealing(from, &bytes)?,
                        _ => round.accept_enrolment(from, &bytes)?,
                    }
                }
            }
            Ok(())
        };
        match deliver().and_then(|()| round.finish()) {
            Ok((round, shares)) => {
                sealed.extend(shares);
                next.push((who, round));
            }
            Err(fault) => results.push((who, Err(fault))),
        }
    }

    let mut messages = Vec::new();
    let mut last = Vec::new();
    for (who, mut round) in next {
        let own: Vec<_> = sealed
            .iter()
            .filter(|share| Some(share.receiver().get()) == who.receiver)
            .map(|share| (MessageKind::SealedShare, share.dealer(), share.to_bytes()))
            .collect();
        let mut deliver = || {
            for (from, bytes) in arriving(MessageKind::SealedShare, who, &own, wire) {
                round.accept(from, &bytes)?;
            }
            Ok(())
        };
        match deliver().and_then(|()| round.finish()) {
            Ok((round, confirmation)) => {
                messages.extend(
                    confirmation.map(|m| (MessageKind::Confirmation, m.receiver(), m.to_bytes())),
                );
                last.push((who, round));
            }
            Err(fault) => results.push((who, Err(fault))),
        }
    }

    for (who, mut round) in last {
        let mut deliver = || {
            for (from, bytes) in arriving(MessageKind::Confirmation, who, &messages, wire) {
                round.accept(from, &bytes)?;
            }
            Ok(())
        };
        results.push((who, deliver().and_then(|()| round.finish())));
    }
    results.sort_by_key(|(who, _)| (who.dealer, who.receiver));
    results
}

/// What reaches one party of the messages of one kind.
fn arriving(
    kind: MessageKind,
    to: Who,
    messages: &[(MessageKind, EvaluatorIndex, Vec<u8>)],
    wire: &mut dyn Wire,
) -> Vec<(EvaluatorIndex, Vec<u8>)> {
    let mut arriving = Vec::new();
    for (_, from, bytes) in messages.iter().filter(|(other, ..)| *other == kind) {
        if !to.sends(kind, *from) {
            arriving.extend(wire.pass(kind, *from, to, bytes.clone()).map(|bytes| (*from, bytes)));
        }
    }
    arriving.extend(wire.extra(kind, to));
    arriving
}

/// The parties of a generation.
fn generators(plan: &GeneratePlan, seed: u64) -> Vec<Start> {
    let rng = &mut seeded(seed);
    let receivers = plan.0.receivers.clone();
    receivers
        .into_iter()
        .map(|index| {
            let (round, dealing) = DealingRound::generate(plan.clone(), index, rng).unwrap();
            let who = Who { dealer: Some(index.get()), receiver: Some(index.get()) };
            Start { who, opening: Opening { round, dealing: Some(dealing), enrolment: None } }
        })
        .collect()
}

/// The parties of a resharing. `seats` says which old share gets which new index.
fn resharers(
    plan: &ResharePlan,
    shares: &[KeyShare],
    seats: &BTreeMap<u16, u16>,
    seed: u64,
) -> Vec<Start> {
    let rng = &mut seeded(seed);
    let old = |dealer: EvaluatorIndex| shares.iter().find(|share| share.index() == dealer).unwrap();
    let mut starts = Vec::new();
    for dealer in &plan.0.dealers {
        let receiver = seats.get(&dealer.get()).copied();
        let share = old(*dealer);
        let role = match receiver {
            Some(receiver) => ReshareRole::Both { share, receiver: index(receiver) },
            None => ReshareRole::Dealer(share),
        };
        let who = Who { dealer: Some(dealer.get()), receiver };
        let opening = DealingRound::reshare(plan.clone(), role, rng).unwrap();
        starts.push(Start { who, opening });
    }
    for receiver in plan.0.receivers.iter().map(|receiver| receiver.get()) {
        if starts.iter().all(|start| start.who.receiver != Some(receiver)) {
            let role = ReshareRole::Receiver(index(receiver));
            let who = Who { dealer: None, receiver: Some(receiver) };
            let opening = DealingRound::reshare(plan.clone(), role, rng).unwrap();
            starts.push(Start { who, opening });
        }
    }
    starts
}

/// Each of `numbers` keeps its index.
fn same_seats(numbers: impl IntoIterator<Item = u16>) -> BTreeMap<u16, u16> {
    numbers.into_iter().map(|number| (number, number)).collect()
}

/// The key set that all agree on, and the shares in order of their indices.
fn agreed(results: Results) -> (PublicKeySet, Vec<KeyShare>) {
    let outcomes: Vec<_> =
        results.into_iter().map(|(who, result)| (who, result.unwrap())).collect();
    let keys = outcomes[0].1.keys().clone();
    let transcript = outcomes[0].1.transcript();
    let mut shares = Vec::new();
    for (who, outcome) in outcomes {
        assert_eq!(outcome.transcript(), transcript);
        let (same, share) = outcome.into_parts();
        assert_eq!(same, keys);
        assert_eq!(share.as_ref().map(|share| share.index().get()), who.receiver);
        shares.extend(share);
    }
    shares.sort_by_key(KeyShare::index);
    let public: Vec<_> = shares.iter().map(|share| (share.index(), share.public())).collect();
    assert_eq!(public, keys.shares());
    (keys, shares)
}

/// An honest generation.
fn generated(threshold: usize, evaluators: usize, seed: u64) -> (PublicKeySet, Vec<KeyShare>) {
    let plan = GeneratePlan::new(id(1), threshold, evaluators).unwrap();
    agreed(run(generators(&plan, seed), &mut Honest))
}

/// The key itself, as only a test ever puts it together, if these are t shares of it.
fn reconstructed(shares: &[&KeyShare]) -> Scalar {
    let indices: Vec<_> = shares.iter().map(|share| share.index()).collect();
    let weights = lagrange(&indices, Scalar::ZERO).unwrap();
    let scalars = shares.iter().map(|share| decode_scalar(*share.to_bytes()).unwrap());
    scalars.zip(weights).map(|(share, weight)| share * weight).sum()
}

/// The outputs of an independent implementation with one whole key.
fn one_key_outputs(key: &Scalar, count: usize) -> Vec<Vec<u8>> {
    let server = voprf::VoprfServer::<voprf::Ristretto255>::new_with_key(&key.to_bytes()).unwrap();
    inputs(count).iter().map(|input| server.evaluate(input).unwrap().to_vec()).collect()
}

/// The outputs of the protocol with these shares.
fn outputs(
    keys: &PublicKeySet,
    threshold: usize,
    shares: &[&KeyShare],
    count: usize,
) -> Result<Vec<Vec<u8>>, CombineError> {
    let blinding = Blinding::new(inputs(count), &mut seeded(200)).unwrap();
    let checked = evaluate(&blinding, shares.iter().copied());
    let outputs = blinding.combine(threshold, &keys.group_public(), &checked)?;
    Ok(outputs.iter().map(|prf| prf.as_bytes().to_vec()).collect())
}

/// All subsets of `size` of `items`.
fn subsets<T>(items: &[T], size: usize) -> Vec<Vec<&T>> {
    (0..1u32 << items.len())
        .filter(|mask| mask.count_ones() as usize == size)
        .map(|mask| (0..items.len()).filter(move |bit| mask >> bit & 1 == 1).map(|bit| &items[bit]))
        .map(Iterator::collect)
        .collect()
}
