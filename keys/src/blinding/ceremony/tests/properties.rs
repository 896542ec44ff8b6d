//! Over random numbers, sets and damage.

use proptest::{prelude::*, sample::subsequence};

use super::*;

/// A threshold and a number of evaluators.
fn numbers() -> impl Strategy<Value = (usize, usize)> {
    (2usize..=6).prop_flat_map(|evaluators| (2..=evaluators, Just(evaluators)))
}

/// Old numbers, a set of dealers among them, new numbers.
fn resharings() -> impl Strategy<Value = ((usize, usize), Vec<u16>, (usize, usize))> {
    (numbers(), numbers()).prop_flat_map(|((threshold, evaluators), new)| {
        let all: Vec<u16> = (1..=evaluators as u16).collect();
        let dealers = subsequence(all, threshold..=evaluators).prop_shuffle();
        (Just((threshold, evaluators)), dealers, Just(new))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_generation_and_any_resharing_give_one_key(
        (old, dealers, new) in resharings(), seed: u64, shift in 0u16..6, stay in 0usize..6,
    ) {
        let (keys, shares) = generated(old.0, old.1, seed);
        let some: Vec<_> = shares.iter().rev().take(old.0).collect();
        let key = reconstructed(&some);
        let expected = one_key_outputs(&key, 1);
        prop_assert_eq!(outputs(&keys, old.0, &some, 1).unwrap(), expected.clone());

        // Some dealers stay, under indices that may be others'.
        let seats = dealers
            .iter()
            .take(stay.min(new.1))
            .enumerate()
            .map(|(at, dealer)| (*dealer, (at as u16 + shift) % new.1 as u16 + 1))
            .collect();
        let dealers: Vec<_> = dealers.into_iter().map(index).collect();
        let plan = ResharePlan::new(id(2), &keys, &dealers, new.0, new.1).unwrap();
        let starts = resharers(&plan, &shares, &seats, seed.wrapping_add(1));
        let (again, new_shares) = agreed(run(starts, &mut Honest));
        let first: Vec<_> = new_shares.iter().take(new.0).collect();
        let last: Vec<_> = new_shares.iter().rev().take(new.0).collect();
        prop_assert_eq!(outputs(&again, new.0, &first, 1).unwrap(), expected.clone());
        prop_assert_eq!(outputs(&again, new.0, &last, 1).unwrap(), expected);
        prop_assert_eq!(reconstructed(&last), key);
        let fewer: Vec<_> = new_shares.iter().take(new.0 - 1).collect();
        prop_assert_ne!(reconstructed(&fewer), key);
        if new.0 > 1 && old.0 > 1 {
            let mut mixed: Vec<_> = new_shares.iter().skip(1).take(new.0 - 1).collect();
            mixed.push(&shares[0]);
            prop_assert_ne!(reconstructed(&mixed), key);
        }
    }

    /// Whatever arrives or does not, all who get an outcome get the same one.
    #[test]
    fn damage_never_makes_keys_differ(
        damage in proptest::collection::vec((0usize..40, 0usize..300, any::<u8>()), 0..4),
        reshared: bool, seed: u64,
    ) {
        let (old, shares) = generated(2, 3, seed);
        let starts = if reshared {
            let plan = ResharePlan::new(id(2), &old, &[1, 2, 3].map(index), 2, 3).unwrap();
            resharers(&plan, &shares, &same_seats([1, 2]), seed)
        } else {
            generators(&GeneratePlan::new(id(1), 2, 3).unwrap(), seed)
        };
        let mut count = 0;
        let results = run(
            starts,
            &mut Change(|_, _, _, mut bytes: Vec<u8>| {
                count += 1;
                for (message, at, change) in &damage {
                    if *message == count {
                        if *change == 0 {
                            return None;
                        }
                        let at = at % bytes.len();
                        bytes[at] ^= change;
                    }
                }
                Some(bytes)
            }),
        );
        let outcomes: Vec<_> =
            results.iter().filter_map(|(_, result)| result.as_ref().ok()).collect();
        for outcome in &outcomes {
            prop_assert_eq!(outcome.keys(), outcomes[0].keys());
            prop_assert_eq!(outcome.transcript(), outcomes[0].transcript());
            let own = outcome.share().map(|share| (share.index(), share.public()));
            prop_assert!(own.is_none_or(|own| outcome.keys().shares().contains(&own)));
        }
    }
}
