//! Any t evaluators give the one-key answer; fewer, or a mix, give an error.

use proptest::prelude::*;
use rand_chacha::rand_core::Rng;

use super::{evaluate, inputs, seeded, three_of_five};
use crate::blinding::{
    BATCH_MAX, BlindError, Blinding, CombineError, EvaluatorIndex, KeyShare, dealer::share,
    suite::random_scalar,
};

#[test]
fn every_three_of_five_equal_the_reconstructed_key() {
    let mut rng = seeded(20);
    let coefficients = [(); 3].map(|()| random_scalar(&mut rng));
    let dealt = share(&coefficients, 5).unwrap();
    let whole = KeyShare::of(EvaluatorIndex::new(1).unwrap(), coefficients[0]);
    assert_eq!(whole.public(), dealt.group_public);

    let blinding = Blinding::new(inputs(2), &mut seeded(21)).unwrap();
    let one_key = evaluate(&blinding, [&whole]);
    let expected = blinding.combine(1, &whole.public(), &one_key).unwrap();

    let checked = evaluate(&blinding, &dealt.shares);
    let mut subsets = 0;
    for a in 0..5 {
        for b in (0..5).filter(|b| *b != a) {
            for c in (0..5).filter(|c| *c != a && *c != b) {
                let three = [a, b, c].map(|place| checked[place].clone());
                let outputs = blinding.combine(3, &dealt.group_public, &three).unwrap();
                for (output, expected) in outputs.iter().zip(&expected) {
                    assert_eq!(output.as_bytes(), expected.as_bytes(), "{a} {b} {c}");
                }
                subsets += 1;
            }
        }
    }
    assert_eq!(subsets, 60, "ten subsets, each in six orders");
}

#[test]
fn answers_past_the_threshold_do_no_harm() {
    let dealt = three_of_five(22);
    let blinding = Blinding::new(inputs(1), &mut seeded(23)).unwrap();
    let checked = evaluate(&blinding, &dealt.shares);
    let five = blinding.combine(3, &dealt.group_public, &checked).unwrap();
    let three = blinding.combine(3, &dealt.group_public, &checked[2..]).unwrap();
    assert_eq!(five[0].as_bytes(), three[0].as_bytes());
}

#[test]
fn the_output_depends_on_the_input_alone() {
    let dealt = three_of_five(24);
    let locators = |seed, count| {
        let blinding = Blinding::new(inputs(count), &mut seeded(seed)).unwrap();
        let checked = evaluate(&blinding, &dealt.shares[..3]);
        let outputs = blinding.combine(3, &dealt.group_public, &checked).unwrap();
        let locators: Vec<_> = outputs.iter().map(|prf| prf.locator(1)).collect();
        (blinding.blinded()[0], locators)
    };
    let (first_blinded, first) = locators(25, 2);
    let (second_blinded, second) = locators(26, 1);
    assert_ne!(first_blinded, second_blinded, "evaluators cannot tell that it is one patient");
    assert_eq!(first[0], second[0]);
    assert_ne!(first[0], first[1]);
}

#[test]
fn too_few_are_refused() {
    let dealt = three_of_five(27);
    let blinding = Blinding::new(inputs(1), &mut seeded(28)).unwrap();
    let checked = evaluate(&blinding, &dealt.shares[..2]);
    let combine = |threshold, count: usize| {
        blinding.combine(threshold, &dealt.group_public, &checked[..count]).unwrap_err()
    };
    assert_eq!(combine(3, 2), CombineError::TooFew { got: 2, threshold: 3 });
    assert_eq!(combine(0, 0), CombineError::TooFew { got: 0, threshold: 1 });
    // A client that has the threshold wrong does not get a wrong locator instead.
    assert_eq!(combine(2, 2), CombineError::OtherKey);
    assert_eq!(combine(1, 2), CombineError::OtherKey);
}

#[test]
fn shares_of_two_keys_do_not_mix() {
    let (old, new) = (three_of_five(29), three_of_five(30));
    let blinding = Blinding::new(inputs(1), &mut seeded(31)).unwrap();
    let checked = evaluate(&blinding, old.shares[..2].iter().chain(&new.shares[2..3]));
    for group in [&old.group_public, &new.group_public] {
        assert_eq!(blinding.combine(3, group, &checked).unwrap_err(), CombineError::OtherKey);
    }
}

#[test]
fn one_evaluator_counts_once() {
    let dealt = three_of_five(32);
    let blinding = Blinding::new(inputs(1), &mut seeded(33)).unwrap();
    let mut checked = evaluate(&blinding, &dealt.shares[..3]);
    let duplicate = CombineError::Duplicate(checked[0].index());
    checked[2] = checked[0].clone();
    assert_eq!(blinding.combine(3, &dealt.group_public, &checked).unwrap_err(), duplicate);
}

#[test]
fn answers_to_another_batch_do_not_combine() {
    let dealt = three_of_five(34);
    let blinding = Blinding::new(inputs(1), &mut seeded(35)).unwrap();
    let other = Blinding::new(inputs(1), &mut seeded(36)).unwrap();
    let mut checked = evaluate(&blinding, &dealt.shares[..3]);
    checked[1] = evaluate(&other, &dealt.shares[1..2]).remove(0);
    assert_eq!(
        blinding.combine(3, &dealt.group_public, &checked).unwrap_err(),
        CombineError::OtherBatch(checked[1].index())
    );
}

#[test]
fn inputs_are_bounded() {
    let blind = |inputs| Blinding::new(inputs, &mut seeded(37)).map(|b| b.blinded().len());
    assert_eq!(blind(inputs(BATCH_MAX)), Ok(BATCH_MAX));
    assert_eq!(blind(Vec::new()), Err(BlindError::BatchSize { got: 0 }));
    let got = BATCH_MAX + 1;
    assert_eq!(blind(inputs(got)), Err(BlindError::BatchSize { got }));
    assert_eq!(blind(vec![vec![0; 65_535]]), Ok(1));
    assert_eq!(blind(vec![vec![], vec![0; 65_536]]), Err(BlindError::InputTooLong { position: 1 }));
}

#[test]
fn debug_shows_no_input() {
    let blinding = Blinding::new(inputs(2), &mut seeded(38)).unwrap();
    assert_eq!(format!("{blinding:?}"), "Blinding { inputs: 2, .. }");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The whole exchange for any threshold, any choice of evaluators and any inputs.
    #[test]
    fn any_threshold_of_any_evaluators(
        threshold in 1usize..5, spare in 0usize..4, seed: u64,
        inputs in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..4),
    ) {
        let mut rng = seeded(seed);
        let dealt = crate::blinding::deal(threshold, threshold + spare, &mut rng).unwrap();
        let outputs = |rng: &mut rand_chacha::ChaCha20Rng| {
            let blinding = Blinding::new(inputs.clone(), rng).unwrap();
            let first = rng.next_u32() as usize % (spare + 1);
            let checked = evaluate(&blinding, &dealt.shares[first..first + threshold]);
            let outputs = blinding.combine(threshold, &dealt.group_public, &checked).unwrap();
            outputs.iter().map(|prf| *prf.as_bytes()).collect::<Vec<_>>()
        };
        prop_assert_eq!(outputs(&mut rng), outputs(&mut rng));
    }
}
