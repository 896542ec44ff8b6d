//! Whatever is changed in an honest answer, the client refuses it.

use proptest::prelude::*;
use rand_chacha::rand_core::Rng;

use super::{inputs, seeded, three_of_five};
use crate::blinding::{
    BATCH_MAX, BadEvaluation, Blinding, ElementError, EvaluateError, Evaluation, KeyShare, Proof,
    PublicShare,
};

/// A batch of four, its honest answer, and the share that gave it.
fn honest() -> (Blinding, Evaluation, KeyShare, KeyShare) {
    let mut shares = three_of_five(40).shares;
    let (share, other) = (shares.remove(0), shares.remove(0));
    let blinding = Blinding::new(inputs(4), &mut seeded(41)).unwrap();
    let evaluation = share.evaluate(blinding.blinded(), &mut seeded(42)).unwrap();
    (blinding, evaluation, share, other)
}

/// What the client says, having seen that a third party says the same.
fn refusal(blinding: &Blinding, evaluation: &Evaluation, share: &KeyShare) -> BadEvaluation {
    assert_eq!(share.public().refutes(blinding.blinded(), evaluation), Ok(true));
    blinding.check(&share.public(), share.index(), evaluation).unwrap_err()
}

#[test]
fn the_honest_answer_is_accepted() {
    let (blinding, evaluation, share, _) = honest();
    assert!(blinding.check(&share.public(), share.index(), &evaluation).is_ok());
    assert_eq!(share.public().refutes(blinding.blinded(), &evaluation), Ok(false));
}

#[test]
fn another_share_or_public_share_is_refused() {
    let (blinding, evaluation, share, other) = honest();
    assert_eq!(refusal(&blinding, &evaluation, &other), BadEvaluation::Proof);
    let evaluation = other.evaluate(blinding.blinded(), &mut seeded(43)).unwrap();
    assert_eq!(refusal(&blinding, &evaluation, &share), BadEvaluation::Proof);
}

#[test]
fn one_element_from_another_share_is_refused() {
    let (blinding, mut evaluation, share, other) = honest();
    let wrong = other.evaluate(blinding.blinded(), &mut seeded(44)).unwrap();
    evaluation.elements[3] = wrong.elements[3];
    assert_eq!(refusal(&blinding, &evaluation, &share), BadEvaluation::Proof);
}

#[test]
fn swapped_elements_are_refused() {
    let (blinding, mut evaluation, share, _) = honest();
    evaluation.elements.swap(0, 1);
    assert_eq!(refusal(&blinding, &evaluation, &share), BadEvaluation::Proof);
}

#[test]
fn the_answer_to_another_batch_is_refused() {
    let (_, evaluation, share, _) = honest();
    let other = Blinding::new(inputs(4), &mut seeded(45)).unwrap();
    assert_eq!(refusal(&other, &evaluation, &share), BadEvaluation::Proof);
}

#[test]
fn missing_and_surplus_elements_are_refused() {
    let (blinding, evaluation, share, _) = honest();
    for got in [0, 3, 5] {
        let mut wrong = evaluation.clone();
        wrong.elements.resize(got, evaluation.elements[0]);
        let expected = BadEvaluation::Count { expected: 4, got };
        assert_eq!(refusal(&blinding, &wrong, &share), expected);
    }
}

#[test]
fn the_identity_and_other_spellings_are_refused() {
    let (blinding, evaluation, share, _) = honest();
    for (bytes, source) in
        [([0; 32], ElementError::Identity), ([0xff; 32], ElementError::NotCanonical)]
    {
        let mut wrong = evaluation.clone();
        wrong.elements[2] = bytes;
        let expected = BadEvaluation::Element { position: 2, source };
        assert_eq!(refusal(&blinding, &wrong, &share), expected);
        assert_eq!(PublicShare::from_bytes(bytes), Err(source));
    }
}

#[test]
fn scalars_past_the_group_order_are_refused() {
    // The order of the group, little-endian: adding it leaves the value, and changes the bytes.
    let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let order = order.unwrap();
    let past_order = |scalar: [u8; 32]| {
        let mut sum = [0; 32];
        let mut carry = 0;
        for (place, byte) in sum.iter_mut().enumerate() {
            carry += u16::from(scalar[place]) + u16::from(order[place]);
            *byte = carry as u8;
            carry >>= 8;
        }
        sum
    };
    let (blinding, evaluation, share, _) = honest();
    let Proof { c, s } = evaluation.proof;
    for proof in [Proof { c: past_order(c), s }, Proof { c, s: past_order(s) }] {
        let wrong = Evaluation { proof, ..evaluation.clone() };
        assert_eq!(refusal(&blinding, &wrong, &share), BadEvaluation::Proof);
    }
}

#[test]
fn every_bit_counts() {
    let (blinding, evaluation, share, _) = honest();
    for bit in 0..256 {
        let flip = |bytes: &mut [u8; 32]| bytes[bit / 8] ^= 1 << (bit % 8);
        let mut wrong = [(); 3].map(|()| evaluation.clone());
        flip(&mut wrong[0].proof.c);
        flip(&mut wrong[1].proof.s);
        flip(&mut wrong[2].elements[1]);
        for wrong in wrong {
            assert!(
                blinding.check(&share.public(), share.index(), &wrong).is_err(),
                "bit {bit} of one of c, s and an element"
            );
        }
    }
}

#[test]
fn a_batch_that_no_evaluator_takes_is_no_evidence() {
    let (blinding, evaluation, share, _) = honest();
    let refutes = |blinded: &[[u8; 32]]| share.public().refutes(blinded, &evaluation);
    assert_eq!(refutes(&[]), Err(EvaluateError::BatchSize { got: 0 }));
    let got = BATCH_MAX + 1;
    assert_eq!(refutes(&vec![blinding.blinded()[0]; got]), Err(EvaluateError::BatchSize { got }));
    assert_eq!(
        refutes(&[[0; 32]; 4]),
        Err(EvaluateError::Element { position: 0, source: ElementError::Identity })
    );
}

proptest! {
    #[test]
    fn random_answers_are_refused_without_panic(seed: u64, c: [u8; 32], s: [u8; 32]) {
        let (blinding, honest, share, _) = honest();
        let mut rng = seeded(seed);
        let mut elements = honest.elements;
        if seed % 2 == 0 {
            rng.fill_bytes(&mut elements[(seed % 4) as usize]);
        }
        let answer = Evaluation { elements, proof: Proof { c, s } };
        prop_assert!(blinding.check(&share.public(), share.index(), &answer).is_err());
    }
}
