//! A dealer that shows different polynomials to different receivers passes every check but the
//! last one, in every way to split the receivers.

use super::{rogue::*, *};

/// Each honest party has found that views of the rogue's dealing differ, and has no share.
fn assert_disputed(results: Results, dealer: u16, face_for: impl Fn(u16) -> usize) {
    for (who, result) in results {
        let fault = result.unwrap_err();
        let Fault::Disputed { receiver, dealers } = &fault else { panic!("{who:?}: {fault}") };
        assert_eq!(dealers, &[index(dealer)], "{who:?}");
        let own = who.receiver.map_or(0, &face_for);
        assert_ne!(face_for(receiver.get()), own, "{who:?} disputes with the other side");
    }
}

fn without(starts: Vec<Start>, dealer: u16) -> Vec<Start> {
    starts.into_iter().filter(|start| start.who.dealer != Some(dealer)).collect()
}

#[test]
fn every_split_of_a_generation_is_caught() {
    let plan = GeneratePlan::new(id(1), 3, 5).unwrap();
    for dealer in 1..=5 {
        for mask in 0..1u16 << 5 {
            if mask >> (dealer - 1) & 1 == 1 {
                continue;
            }
            let face_for = move |receiver: u16| usize::from(mask >> (receiver - 1) & 1);
            let rogue = Rogue::in_generation(&plan, dealer, 60);
            assert!(rogue.dealings()[0].contradicts(rogue.dealings()[1]), "so it is convicted");
            let starts = without(generators(&plan, 61), dealer);
            let results = run(starts, &mut rogue.facing(face_for));
            let all_see_the_other = 0b11111 & !(1 << (dealer - 1));
            if mask == 0 || mask == all_see_the_other {
                // All see one face: the rogue has done nothing wrong.
                let keys: Vec<_> =
                    results.into_iter().map(|(_, result)| result.unwrap().keys().clone()).collect();
                assert!(keys.iter().all(|other| *other == keys[0]));
                continue;
            }
            assert_disputed(results, dealer, move |receiver| {
                // The rogue confirms to each what it wants to hear.
                face_for(receiver)
            });
        }
    }
}

#[test]
fn every_split_of_a_resharing_is_caught() {
    let (old, shares) = generated(3, 5, 62);
    // The rogue stays, or leaves the set with this ceremony and does not confirm.
    for (receivers, seat) in [(5, Some(3)), (4, None)] {
        let dealers = [1, 2, 3].map(index);
        let plan = ResharePlan::new(id(2), &old, &dealers, 3, receivers).unwrap();
        let honest: Vec<u16> = (1..=receivers as u16).filter(|at| Some(*at) != seat).collect();
        for mask in 0..1u16 << honest.len() {
            let mut second = Vec::new();
            for (bit, receiver) in honest.iter().enumerate() {
                if mask >> bit & 1 == 1 {
                    second.push(*receiver);
                }
            }
            let (none, all) = (second.is_empty(), second.len() == honest.len());
            let face_for = move |receiver: u16| usize::from(second.contains(&receiver));
            let secret = part(&plan, &shares[2]);
            let rogue = Rogue::in_resharing(&plan, 3, seat, &secret, 63);
            let mut starts = resharers(&plan, &shares, &same_seats([1, 2]), 64);
            starts.retain(|start| {
                start.who.dealer != Some(3) && (start.who.receiver != seat || seat.is_none())
            });
            let results = run(starts, &mut rogue.facing(face_for.clone()));
            if none || all {
                let fine = results.iter().all(|(_, result)| {
                    result
                        .as_ref()
                        .is_ok_and(|outcome| outcome.keys().group_public() == old.group_public())
                });
                assert!(fine);
                continue;
            }
            assert_disputed(results, 3, face_for);
        }
    }
}

#[test]
fn a_receiver_that_lies_about_a_dealing_is_disputed_and_cannot_show_another() {
    let plan = GeneratePlan::new(id(1), 2, 3).unwrap();
    let results = run(
        generators(&plan, 65),
        &mut Change(|kind, from, to: Who, mut bytes: Vec<u8>| {
            if (kind, from, to.receiver) == (MessageKind::Confirmation, 2, Some(1)) {
                bytes[36] ^= 1; // the transcript
                bytes[70 + 2 * 32] ^= 1; // the third dealing
            }
            Some(bytes)
        }),
    );
    let disputed = Fault::Disputed { receiver: index(2), dealers: vec![index(3)] };
    assert_eq!(results[0].1.as_ref().unwrap_err(), &disputed);
    assert!(results[1].1.is_ok() && results[2].1.is_ok());
}

#[test]
fn only_two_dealings_of_one_dealer_in_one_ceremony_contradict() {
    let dealing = |ceremony, number, seed| {
        let plan = GeneratePlan::new(id(ceremony), 2, 3).unwrap();
        DealingRound::generate(plan, index(number), &mut seeded(seed)).unwrap().1
    };
    let first = dealing(1, 1, 66);
    assert!(first.contradicts(&dealing(1, 1, 67)));
    assert!(!first.contradicts(&first.clone()));
    assert!(!first.contradicts(&dealing(2, 1, 66)), "another ceremony");
    assert!(!first.contradicts(&dealing(1, 2, 66)), "another dealer");
}
