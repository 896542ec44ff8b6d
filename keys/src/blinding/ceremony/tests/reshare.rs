//! Resharing keeps the key and makes the old shares useless beside the new.

use super::*;
use crate::blinding::{
    PublicShare,
    ceremony::{PlanError, RoleError, generation},
    deal,
};

struct Case {
    old: (usize, usize),
    dealers: &'static [u16],
    new: (usize, usize),
    /// Which dealer gets which new index; all other receivers are newcomers or held shares that
    /// they do not deal.
    seats: &'static [(u16, u16)],
}

const CASES: &[Case] = &[
    // To a larger set, by just enough dealers, who stay.
    Case { old: (3, 5), dealers: &[1, 3, 5], new: (4, 7), seats: &[(1, 1), (3, 3), (5, 5)] },
    // By all.
    Case {
        old: (3, 5),
        dealers: &[1, 2, 3, 4, 5],
        new: (4, 7),
        seats: &[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)],
    },
    // To a smaller set: two dealers leave.
    Case { old: (4, 7), dealers: &[2, 4, 6, 7], new: (3, 5), seats: &[(2, 2), (4, 4)] },
    // Refresh of the same set, by all, by a threshold, and by one more than that.
    Case {
        old: (3, 5),
        dealers: &[1, 2, 3, 4, 5],
        new: (3, 5),
        seats: &[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)],
    },
    Case { old: (3, 5), dealers: &[5, 2, 4], new: (3, 5), seats: &[(2, 2), (4, 4), (5, 5)] },
    Case {
        old: (3, 5),
        dealers: &[1, 2, 3, 4],
        new: (3, 5),
        seats: &[(1, 1), (2, 2), (3, 3), (4, 4)],
    },
    // Members replaced: 4 and 5 are newcomers.
    Case { old: (3, 5), dealers: &[1, 2, 3], new: (3, 5), seats: &[(1, 1), (2, 2), (3, 3)] },
    // Everybody replaced: dealers and receivers have nobody in common.
    Case { old: (3, 5), dealers: &[1, 2, 3], new: (3, 5), seats: &[] },
    // Indices change hands.
    Case { old: (3, 5), dealers: &[1, 2, 5], new: (2, 3), seats: &[(1, 3), (5, 1), (2, 2)] },
    // The key of a demonstration whose dealer gave it to one.
    Case { old: (1, 1), dealers: &[1], new: (2, 3), seats: &[(1, 2)] },
];

fn old(threshold: usize, evaluators: usize, seed: u64) -> (PublicKeySet, Vec<KeyShare>) {
    if threshold > 1 {
        return generated(threshold, evaluators, seed);
    }
    let dealt = deal(threshold, evaluators, &mut seeded(seed)).unwrap();
    let public = dealt.shares.iter().map(|share| (share.index(), share.public())).collect();
    (PublicKeySet::new(threshold, public, dealt.group_public).unwrap(), dealt.shares)
}

fn numbers(numbers: &[u16]) -> Vec<EvaluatorIndex> {
    numbers.iter().copied().map(index).collect()
}

#[test]
fn outputs_stay_the_same_for_every_subset() {
    for (seed, case) in (20..).zip(CASES) {
        let (old, old_shares) = old(case.old.0, case.old.1, seed);
        let holders: Vec<_> = old_shares.iter().collect();
        let key = reconstructed(&holders[..case.old.0]);
        let expected = one_key_outputs(&key, 2);

        let (threshold, receivers) = case.new;
        let plan =
            ResharePlan::new(id(2), &old, &numbers(case.dealers), threshold, receivers).unwrap();
        let seats = case.seats.iter().copied().collect();
        let starts = resharers(&plan, &old_shares, &seats, seed + 1000);
        let (new, new_shares) = agreed(run(starts, &mut Honest));
        assert_eq!(new.group_public(), old.group_public());
        for subset in subsets(&new_shares, threshold) {
            assert_eq!(outputs(&new, threshold, &subset, 2).unwrap(), expected);
            assert_eq!(reconstructed(&subset), key);
        }
        for subset in subsets(&new_shares, threshold - 1) {
            assert!(outputs(&new, threshold - 1, &subset, 1).is_err());
            assert_ne!(reconstructed(&subset), key);
        }
    }
}

#[test]
fn old_and_new_shares_do_not_mix() {
    let (old, old_shares) = generated(3, 5, 40);
    let plan = ResharePlan::new(id(2), &old, &numbers(&[1, 2, 3, 4, 5]), 3, 5).unwrap();
    let starts = resharers(&plan, &old_shares, &same_seats(1..=5), 41);
    let (new, new_shares) = agreed(run(starts, &mut Honest));
    let key = reconstructed(&old_shares.iter().take(3).collect::<Vec<_>>());
    for mask in 1..(1 << 5) - 1u32 {
        // Of each evaluator the old or the new share, at least one of each kind.
        let mixed: Vec<_> = (0..5)
            .map(|at| if mask >> at & 1 == 0 { &old_shares[at] } else { &new_shares[at] })
            .collect();
        for three in subsets(&mixed, 3) {
            let three: Vec<_> = three.into_iter().copied().collect();
            let olds =
                three.iter().filter(|share| old.share(share.index()) == Some(share.public()));
            if !matches!(olds.count(), 1 | 2) {
                continue;
            }
            for keys in [&old, &new] {
                let refused = outputs(keys, 3, &three, 1).unwrap_err();
                assert_eq!(refused, CombineError::OtherKey);
            }
            assert_ne!(reconstructed(&three), key);
        }
    }
    for (before, after) in old.shares().iter().zip(new.shares()) {
        assert_ne!(before, after, "a refresh leaves no share as it was");
    }
}

#[test]
fn a_reshared_key_can_be_reshared() {
    let (mut keys, mut shares) = generated(2, 3, 42);
    let expected = outputs(&keys, 2, &shares.iter().take(2).collect::<Vec<_>>(), 1).unwrap();
    for (round, (threshold, receivers)) in [(3, 4), (2, 2), (3, 5)].into_iter().enumerate() {
        let dealers: Vec<_> = shares.iter().map(KeyShare::index).collect();
        let plan = ResharePlan::new(id(3), &keys, &dealers, threshold, receivers).unwrap();
        let starts = resharers(&plan, &shares, &BTreeMap::new(), 43 + round as u64);
        (keys, shares) = agreed(run(starts, &mut Honest));
        let some: Vec<_> = shares.iter().take(threshold).collect();
        assert_eq!(outputs(&keys, threshold, &some, 1).unwrap(), expected);
    }
}

#[test]
fn only_sound_plans_are_made() {
    let (old, _) = generated(3, 5, 44);
    let plan = |dealers: &[u16], threshold, receivers| {
        ResharePlan::new(id(2), &old, &numbers(dealers), threshold, receivers).err()
    };
    assert_eq!(plan(&[1, 2, 3], 3, 5), None);
    assert_eq!(plan(&[1, 2], 3, 5), Some(PlanError::TooFewDealers { got: 2, threshold: 3 }));
    assert_eq!(plan(&[], 3, 5), Some(PlanError::TooFewDealers { got: 0, threshold: 3 }));
    assert_eq!(plan(&[1, 2, 2], 3, 5), Some(PlanError::DuplicateDealer(index(2))));
    assert_eq!(plan(&[1, 2, 6], 3, 5), Some(PlanError::UnknownDealer(index(6))));
    for (threshold, evaluators) in [(0, 5), (1, 5), (6, 5), (2, 65)] {
        let refused = PlanError::Threshold { threshold, evaluators };
        assert_eq!(plan(&[1, 2, 3], threshold, evaluators), Some(refused));
    }
    for threshold in [0, 2, 4, 6] {
        let shares = old.shares().to_vec();
        let refused = PublicKeySet::new(threshold, shares, old.group_public());
        assert_eq!(refused, Err(PlanError::NotOneKey));
    }
    let stranger = PublicShare::of(&Scalar::from(7u8));
    assert!(PublicKeySet::new(3, old.shares().to_vec(), stranger).is_err());
}

#[test]
fn only_the_parties_of_the_plan_begin() {
    let (old, shares) = generated(3, 5, 45);
    let (_, strangers) = generated(3, 5, 46);
    let plan = ResharePlan::new(id(2), &old, &numbers(&[1, 2, 3]), 2, 3).unwrap();
    let begin = |role| DealingRound::reshare(plan.clone(), role, &mut seeded(47)).err();
    assert_eq!(begin(ReshareRole::Dealer(&shares[0])), None);
    assert_eq!(begin(ReshareRole::Dealer(&shares[3])), Some(RoleError::NotADealer(index(4))));
    assert_eq!(begin(ReshareRole::Receiver(index(4))), Some(RoleError::NotAReceiver(index(4))));
    assert_eq!(
        begin(ReshareRole::Both { share: &shares[0], receiver: index(4) }),
        Some(RoleError::NotAReceiver(index(4)))
    );
    // A share of another key, or of this key before it was refreshed.
    let other = RoleError::OtherShare(index(1));
    assert_eq!(begin(ReshareRole::Dealer(&strangers[0])), Some(other));
}

#[test]
fn a_dealing_of_a_generation_is_not_one_of_a_resharing() {
    let (old, shares) = generated(2, 3, 48);
    let plan = ResharePlan::new(id(2), &old, &numbers(&[1, 2]), 2, 3).unwrap();
    let (_, public) = generation::deal(index(2), 2, 3, &mut seeded(49)).unwrap();
    let starts = resharers(&plan, &shares, &same_seats(1..=2), 50);
    let results = run(
        starts,
        &mut Change(|kind, from, _, bytes: Vec<u8>| {
            if (kind, from) != (MessageKind::Dealing, 2) {
                return Some(bytes);
            }
            let mut dealing = Dealing::from_bytes(&bytes).unwrap();
            dealing.proof = Some(public.proof);
            Some(dealing.to_bytes())
        }),
    );
    for (who, result) in results {
        if who.dealer != Some(2) {
            assert_eq!(result.unwrap_err(), at_dealer(2, Reason::OtherKind), "{who:?}");
        }
    }
}
