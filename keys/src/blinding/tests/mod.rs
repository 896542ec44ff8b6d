//! Tests of the protocol as a whole, from blinding to output.

mod interoperability;
mod rfc9497;
mod tampering;
mod threshold;

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use super::{Blinding, CheckedEvaluation, Dealt, KeyShare, deal};

pub(super) fn seeded(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn three_of_five(seed: u64) -> Dealt {
    deal(3, 5, &mut seeded(seed)).unwrap()
}

/// Inputs of the real form; the numbers are from the range reserved for tests.
pub(super) fn inputs(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| format!("signpost/v1/nhs-number\0{}", 9_990_000_000 + n).into()).collect()
}

/// Evaluates a batch with each share in turn, and checks every answer.
pub(super) fn evaluate<'a>(
    blinding: &Blinding,
    shares: impl IntoIterator<Item = &'a KeyShare>,
) -> Vec<CheckedEvaluation> {
    shares
        .into_iter()
        .map(|share| {
            let answer = share.evaluate(blinding.blinded(), &mut seeded(100)).unwrap();
            blinding.check(&share.public(), share.index(), &answer).unwrap()
        })
        .collect()
}
