//! Who says nothing, says it twice, or says what it said elsewhere.

use super::*;
use crate::blinding::ceremony::ConfirmationRound;

/// A 2-of-3 resharing by two dealers; 3 is a newcomer, and dealer 2 leaves.
fn resharing() -> Vec<Start> {
    let (old, shares) = generated(2, 3, 90);
    let plan = ResharePlan::new(id(2), &old, &[1, 2].map(index), 2, 3).unwrap();
    resharers(&plan, &shares, &same_seats([1]), 91)
}

fn generation() -> Vec<Start> {
    generators(&GeneratePlan::new(id(1), 2, 3).unwrap(), 92)
}

#[test]
fn whoever_is_silent_is_named() {
    let kinds = [
        (MessageKind::Dealing, 2),
        (MessageKind::Enrolment, 3),
        (MessageKind::SealedShare, 2),
        (MessageKind::Confirmation, 3),
    ];
    for (silent, number) in kinds {
        for starts in [resharing(), generation()] {
            let results = run(
                starts,
                &mut Change(|kind, from, _, bytes| {
                    ((kind, from) != (silent, number)).then_some(bytes)
                }),
            );
            for (who, result) in results {
                let is_own = who.sends(silent, index(number));
                let dealer_only = who.receiver.is_none() && silent == MessageKind::SealedShare;
                match result {
                    Ok(_) => assert!(is_own || silent == MessageKind::Enrolment, "{who:?}"),
                    // Whoever heard nothing stopped, so it never confirmed to the others.
                    Err(fault) if is_own || dealer_only => assert!(
                        matches!(fault, Fault::At { reason: Reason::Missing(_), .. }),
                        "{who:?}"
                    ),
                    Err(fault) => {
                        let expected = match silent {
                            MessageKind::Dealing | MessageKind::SealedShare => {
                                at_dealer(number, Reason::Missing(silent))
                            }
                            _ => at_receiver(number, Reason::Missing(silent)),
                        };
                        assert_eq!(fault, expected, "{who:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_missing_is_listed_until_it_comes() {
    let mut starts = resharing();
    let (newcomer, others) = (starts.pop().unwrap(), starts);
    assert_eq!(newcomer.who, Who { dealer: None, receiver: Some(3) });
    let mut round = newcomer.opening.round;
    let dealer = |number| Party::Dealer(index(number));
    let receiver = |number| Party::Receiver(index(number));
    assert_eq!(round.missing(), [dealer(1), dealer(2), receiver(1), receiver(2)]);
    for start in others {
        let Opening { dealing, enrolment, .. } = start.opening;
        if let Some(dealing) = dealing {
            round.accept_dealing(dealing.dealer(), &dealing.to_bytes()).unwrap();
        }
        if let Some(enrolment) = enrolment {
            round.accept_enrolment(enrolment.receiver(), &enrolment.to_bytes()).unwrap();
        }
    }
    assert_eq!(round.missing(), []);
    let (round, shares) = round.finish().unwrap();
    assert!(shares.is_empty(), "it deals nothing");
    assert_eq!(round.missing(), [dealer(1), dealer(2)]);
    let fault = round.finish().err().unwrap();
    assert_eq!(fault, at_dealer(1, Reason::Missing(MessageKind::SealedShare)));
}

#[test]
fn nothing_comes_out_before_all_have_confirmed() {
    // Evaluator 1 hears only itself, then itself and 2.
    for heard in [1, 2] {
        let results = run(
            generation(),
            &mut Change(|kind, from, to: Who, bytes| {
                let deaf = kind == MessageKind::Confirmation && to.receiver == Some(1);
                (!deaf || from <= heard).then_some(bytes)
            }),
        );
        let missing = Reason::Missing(MessageKind::Confirmation);
        assert_eq!(results[0].1.as_ref().unwrap_err(), &at_receiver(heard + 1, missing));
        assert!(results[1].1.is_ok() && results[2].1.is_ok());
    }
}

/// Hands every message over several times, own ones too.
struct Echo(Vec<(MessageKind, EvaluatorIndex, Vec<u8>)>);

impl Wire for Echo {
    fn pass(
        &mut self,
        kind: MessageKind,
        from: EvaluatorIndex,
        to: Who,
        bytes: Vec<u8>,
    ) -> Option<Vec<u8>> {
        if kind != MessageKind::SealedShare || to.receiver == Some(1) {
            self.0.push((kind, from, bytes.clone()));
        }
        Some(bytes)
    }

    fn extra(&mut self, kind: MessageKind, to: Who) -> Vec<(EvaluatorIndex, Vec<u8>)> {
        if kind == MessageKind::SealedShare && to.receiver != Some(1) {
            return Vec::new();
        }
        let again = self.0.iter().filter(|(other, ..)| *other == kind);
        again.map(|(_, from, bytes)| (*from, bytes.clone())).collect()
    }
}

#[test]
fn the_same_message_again_does_no_harm() {
    for starts in [generation(), resharing()] {
        agreed(run(starts, &mut Echo(Vec::new())));
    }
}

#[test]
fn messages_of_another_ceremony_are_refused() {
    let (old, shares) = generated(2, 3, 93);
    let resharing = |number, seed| {
        let plan = ResharePlan::new(id(number), &old, &[1, 2, 3].map(index), 2, 3).unwrap();
        resharers(&plan, &shares, &same_seats(1..=3), seed)
    };
    let generation = |number, seed| generators(&GeneratePlan::new(id(number), 2, 3).unwrap(), seed);
    let kinds = [
        (MessageKind::Dealing, at_dealer(2, Reason::OtherCeremony)),
        (MessageKind::Enrolment, at_receiver(2, Reason::OtherCeremony)),
        (MessageKind::SealedShare, at_dealer(2, Reason::OtherCeremony)),
        (MessageKind::Confirmation, at_receiver(2, Reason::OtherCeremony)),
    ];
    for (replayed, expected) in kinds {
        for reshared in [false, true] {
            if !reshared && replayed == MessageKind::Enrolment {
                continue;
            }
            let begin = |number, seed| {
                if reshared { resharing(number, seed) } else { generation(number, seed) }
            };
            // What 2 said to 1 in an earlier ceremony with the same parties ...
            let mut earlier = None;
            let mut record = Change(|kind, from, to: Who, bytes: Vec<u8>| {
                if (kind, from, to.receiver) == (replayed, 2, Some(1)) {
                    earlier = Some(bytes.clone());
                }
                Some(bytes)
            });
            agreed(run(begin(3, 94), &mut record));
            // ... and now again.
            let results = run(
                begin(4, 94),
                &mut Change(|kind, from, to: Who, bytes| {
                    let replay = (kind, from, to.receiver) == (replayed, 2, Some(1));
                    if replay { earlier.clone() } else { Some(bytes) }
                }),
            );
            assert_eq!(results[0].1.as_ref().unwrap_err(), &expected);
        }
    }
}

#[test]
fn a_share_sealed_in_another_ceremony_does_not_open_under_a_new_header() {
    let plans = [3, 4].map(|number| GeneratePlan::new(id(number), 2, 3).unwrap());
    let mut earlier = None;
    // With the same seed both ceremonies have the same keys and polynomials.
    let mut record = Change(|kind, from, to: Who, bytes: Vec<u8>| {
        if (kind, from, to.receiver) == (MessageKind::SealedShare, 2, Some(1)) {
            earlier = Some(bytes.clone());
        }
        Some(bytes)
    });
    agreed(run(generators(&plans[0], 95), &mut record));
    let results = run(
        generators(&plans[1], 95),
        &mut Change(|kind, from, to: Who, bytes| {
            if (kind, from, to.receiver) != (MessageKind::SealedShare, 2, Some(1)) {
                return Some(bytes);
            }
            let mut replayed = earlier.clone()?;
            replayed[2..34].copy_from_slice(id(4).as_bytes());
            Some(replayed)
        }),
    );
    assert_eq!(results[0].1.as_ref().unwrap_err(), &at_dealer(2, Reason::NotOpened));
}

#[test]
fn a_share_for_somebody_else_does_not_open_as_ones_own() {
    // 2's share for 3, readdressed to 1.
    let mut for_third = None;
    let mut record = Change(|kind, from, to: Who, bytes: Vec<u8>| {
        if (kind, from, to.receiver) == (MessageKind::SealedShare, 2, Some(3)) {
            for_third = Some(bytes.clone());
        }
        Some(bytes)
    });
    agreed(run(generation(), &mut record));
    let results = run(
        generation(),
        &mut Change(|kind, from, to: Who, bytes| {
            if (kind, from, to.receiver) != (MessageKind::SealedShare, 2, Some(1)) {
                return Some(bytes);
            }
            let mut readdressed = for_third.clone()?;
            readdressed[36..38].copy_from_slice(&[0, 1]);
            Some(readdressed)
        }),
    );
    assert_eq!(results[0].1.as_ref().unwrap_err(), &at_dealer(2, Reason::NotOpened));
}

#[test]
fn two_different_messages_of_one_party_end_the_ceremony() {
    let plan = GeneratePlan::new(id(1), 2, 3).unwrap();
    let dealing = |number, seed| {
        DealingRound::generate(plan.clone(), index(number), &mut seeded(seed)).unwrap()
    };
    let (mut round, _) = dealing(1, 96);
    let (first, second) = (dealing(2, 97).1.to_bytes(), dealing(2, 98).1.to_bytes());
    let twice = at_dealer(2, Reason::Contradiction(MessageKind::Dealing));
    round.accept_dealing(index(2), &first).unwrap();
    round.accept_dealing(index(2), &first).unwrap();
    assert_eq!(round.accept_dealing(index(2), &second).unwrap_err(), twice);
    round.accept_dealing(index(3), &dealing(3, 99).1.to_bytes()).unwrap();
    assert_eq!(round.finish().err().unwrap(), twice);

    // A party that runs twice, perhaps since it was restarted, contradicts itself.
    let (mut round, _) = dealing(1, 96);
    let own = round.accept_dealing(index(1), &dealing(1, 100).1.to_bytes()).unwrap_err();
    assert_eq!(own, at_dealer(1, Reason::Contradiction(MessageKind::Dealing)));

    // Two enrolments.
    let mut starts = resharing();
    let enrolment = starts[0].opening.enrolment.clone().unwrap();
    let other = Enrolment { key: starts[2].opening.enrolment.clone().unwrap().key, ..enrolment };
    let round = &mut starts[1].opening.round;
    round.accept_enrolment(index(1), &enrolment.to_bytes()).unwrap();
    let twice = round.accept_enrolment(index(1), &other.to_bytes()).unwrap_err();
    assert_eq!(twice, at_receiver(1, Reason::Contradiction(MessageKind::Enrolment)));
}

/// Sends 2's confirmation to 1 in two versions, in either order.
struct TwoConfirmations {
    right_first: bool,
    right: Option<Vec<u8>>,
}

impl Wire for TwoConfirmations {
    fn pass(
        &mut self,
        kind: MessageKind,
        from: EvaluatorIndex,
        to: Who,
        mut bytes: Vec<u8>,
    ) -> Option<Vec<u8>> {
        if (kind, from.get(), to.receiver) == (MessageKind::Confirmation, 2, Some(1)) {
            self.right = Some(bytes.clone());
            if !self.right_first {
                bytes[36] ^= 1;
            }
        }
        Some(bytes)
    }

    fn extra(&mut self, kind: MessageKind, to: Who) -> Vec<(EvaluatorIndex, Vec<u8>)> {
        match &self.right {
            Some(right) if kind == MessageKind::Confirmation && to.receiver == Some(1) => {
                let mut wrong = right.clone();
                wrong[36] ^= 1;
                vec![(index(2), wrong)]
            }
            _ => Vec::new(),
        }
    }
}

#[test]
fn a_confirmation_cannot_be_taken_back() {
    let wrong = at_receiver(2, Reason::WrongConfirmation);
    let twice = at_receiver(2, Reason::Contradiction(MessageKind::Confirmation));
    for (right_first, expected) in [(true, twice), (false, wrong)] {
        let mut wire = TwoConfirmations { right_first, right: None };
        let results = run(generation(), &mut wire);
        assert_eq!(results[0].1.as_ref().unwrap_err(), &expected);
    }
}

/// The last rounds of two evaluators that generate a key, and their confirmations.
fn last_rounds() -> (Vec<ConfirmationRound>, Vec<Vec<u8>>) {
    let plan = GeneratePlan::new(id(1), 2, 2).unwrap();
    let starts: Vec<_> = generators(&plan, 101).into_iter().map(|start| start.opening).collect();
    let dealings: Vec<_> =
        starts.iter().map(|opening| opening.dealing.clone().unwrap().to_bytes()).collect();
    let mut dealt = Vec::new();
    for (mut round, other) in starts.into_iter().map(|opening| opening.round).zip([2, 1]) {
        round.accept_dealing(index(other), &dealings[usize::from(other) - 1]).unwrap();
        dealt.push(round.finish().unwrap());
    }
    let shares: Vec<_> = dealt.iter().map(|(_, shares)| shares[0].to_bytes()).collect();
    let (mut rounds, mut confirmations) = (Vec::new(), Vec::new());
    for ((mut round, _), other) in dealt.into_iter().zip([2, 1]) {
        round.accept(index(other), &shares[usize::from(other) - 1]).unwrap();
        let (round, confirmation) = round.finish().unwrap();
        rounds.push(round);
        confirmations.push(confirmation.unwrap().to_bytes());
    }
    (rounds, confirmations)
}

#[test]
fn nothing_comes_out_after_a_wrong_confirmation() {
    let (rounds, confirmations) = last_rounds();
    for mut round in rounds.into_iter().take(1) {
        let mut wrong = confirmations[1].clone();
        wrong[36] ^= 1;
        let fault = at_receiver(2, Reason::WrongConfirmation);
        let twice = at_receiver(2, Reason::Contradiction(MessageKind::Confirmation));
        assert_eq!(round.accept(index(2), &wrong).unwrap_err(), fault);
        assert_eq!(round.accept(index(2), &wrong).unwrap_err(), fault, "said again");
        assert_eq!(round.accept(index(2), &confirmations[1]).unwrap_err(), twice);
        assert_eq!(round.missing(), []);
        assert_eq!(round.finish().unwrap_err(), fault);
    }
}

#[test]
fn nothing_comes_out_after_two_confirmations() {
    let (rounds, confirmations) = last_rounds();
    for mut round in rounds.into_iter().take(1) {
        let mut wrong = confirmations[1].clone();
        wrong[70] ^= 1;
        let twice = at_receiver(2, Reason::Contradiction(MessageKind::Confirmation));
        round.accept(index(2), &confirmations[1]).unwrap();
        assert_eq!(round.accept(index(2), &wrong).unwrap_err(), twice);
        assert!(round.finish().is_err());
    }
}

#[test]
fn refused_messages_can_be_followed_by_right_ones() {
    let (rounds, confirmations) = last_rounds();
    for mut round in rounds.into_iter().take(1) {
        round.accept(index(2), &confirmations[1][1..]).unwrap_err();
        round.accept(index(2), &confirmations[0]).unwrap_err();
        round.accept(index(3), &confirmations[1]).unwrap_err();
        assert_eq!(round.missing(), [Party::Receiver(index(2))]);
        round.accept(index(2), &confirmations[1]).unwrap();
        assert!(round.finish().unwrap().share().is_some());
    }
}

#[test]
fn messages_that_nobody_owes_are_refused() {
    let mut starts = generation();
    let stranger = starts[0].opening.round.accept_dealing(index(4), &[]).unwrap_err();
    assert_eq!(stranger, at_dealer(4, Reason::NotExpected(MessageKind::Dealing)));
    let enrolment = starts[0].opening.round.accept_enrolment(index(2), &[]).unwrap_err();
    assert_eq!(enrolment, at_receiver(2, Reason::NotExpected(MessageKind::Enrolment)));

    // Dealer 2 of the resharing receives nothing.
    let mut starts = resharing();
    let mut round = starts.remove(1).opening.round;
    for start in &starts {
        if let Some(dealing) = &start.opening.dealing {
            round.accept_dealing(dealing.dealer(), &dealing.to_bytes()).unwrap();
        }
        if let Some(enrolment) = &start.opening.enrolment {
            round.accept_enrolment(enrolment.receiver(), &enrolment.to_bytes()).unwrap();
        }
    }
    let (mut round, shares) = round.finish().unwrap();
    assert_eq!(shares.len(), 3);
    assert_eq!(round.missing(), []);
    let share = round.accept(index(1), &shares[0].to_bytes()).unwrap_err();
    assert_eq!(share, at_dealer(1, Reason::NotExpected(MessageKind::SealedShare)));
    let (round, confirmation) = round.finish().unwrap();
    assert!(confirmation.is_none());
    assert_eq!(round.missing(), [1, 2, 3].map(|number| Party::Receiver(index(number))));
}
