//! Keys generated among evaluators are as good as dealt ones, and nobody held them.

use std::time::Instant;

use super::*;
use crate::blinding::ceremony::{PlanError, RoleError};

#[test]
fn every_subset_equals_the_one_key_and_one_fewer_gives_nothing() {
    for (threshold, evaluators, seed) in [(3, 5, 1), (4, 7, 2), (2, 2, 3), (2, 3, 4)] {
        let (keys, shares) = generated(threshold, evaluators, seed);
        let all: Vec<_> = shares.iter().collect();
        let key = reconstructed(&all[..threshold]);
        let expected = one_key_outputs(&key, 2);
        for subset in subsets(&shares, threshold) {
            assert_eq!(outputs(&keys, threshold, &subset, 2).unwrap(), expected);
        }
        for subset in subsets(&shares, threshold - 1) {
            let refused = outputs(&keys, threshold - 1, &subset, 1).unwrap_err();
            assert_eq!(refused, CombineError::OtherKey);
            // What they would compute without our checks is another key.
            assert_ne!(one_key_outputs(&reconstructed(&subset), 2), expected);
        }
    }
}

#[test]
fn shares_survive_the_keystore() {
    let (keys, shares) = generated(3, 5, 5);
    for share in shares {
        // What the node's keystore holds: two bytes of index, 32 of scalar.
        let again = KeyShare::from_bytes(share.index(), &share.to_bytes()).unwrap();
        assert_eq!(keys.share(again.index()), Some(again.public()));
        assert_eq!(again.to_bytes(), share.to_bytes());
    }
}

#[test]
fn other_randomness_is_another_key_and_the_same_replays() {
    let (first, _) = generated(2, 3, 6);
    let (again, _) = generated(2, 3, 6);
    let (other, _) = generated(2, 3, 7);
    assert_eq!(first, again, "a party can go on after a restart from its seed");
    assert_ne!(first.group_public(), other.group_public());
}

#[test]
fn another_ceremony_id_is_another_transcript() {
    let transcript = |number| {
        let plan = GeneratePlan::new(id(number), 2, 3).unwrap();
        let results = run(generators(&plan, 8), &mut Honest);
        results[0].1.as_ref().unwrap().transcript()
    };
    assert_ne!(transcript(1), transcript(2));
}

#[test]
fn only_thresholds_and_members_begin() {
    for (threshold, evaluators) in [(0, 0), (0, 3), (1, 1), (1, 3), (4, 3), (2, 65)] {
        assert_eq!(
            GeneratePlan::new(id(1), threshold, evaluators).err(),
            Some(PlanError::Threshold { threshold, evaluators })
        );
    }
    let plan = GeneratePlan::new(id(1), 2, 3).unwrap();
    let refused = DealingRound::generate(plan, index(4), &mut seeded(9)).err();
    assert_eq!(refused, Some(RoleError::NotADealer(index(4))));
}

/// Prints how long ceremonies take in process, all parties together.
#[test]
#[expect(clippy::print_stdout, reason = "the time is what this test is for")]
fn ceremonies_take_milliseconds() {
    for (threshold, evaluators) in [(3, 5), (4, 7)] {
        let begin = Instant::now();
        let (keys, shares) = generated(threshold, evaluators, 10);
        println!("generation {threshold} of {evaluators}: {:?}", begin.elapsed());
        let numbers: Vec<_> = shares.iter().map(KeyShare::index).collect();
        let begin = Instant::now();
        let plan = ResharePlan::new(id(2), &keys, &numbers, threshold, evaluators).unwrap();
        let seats = same_seats(1..=evaluators as u16);
        agreed(run(resharers(&plan, &shares, &seats, 11), &mut Honest));
        println!("refresh {threshold} of {evaluators}, all deal: {:?}", begin.elapsed());
    }
}
