//! Drawing from a seeded generator, by rules of our own, so that a seed means the same patients
//! whatever version of a library draws them.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// The generator for one purpose, independent of every other: the seed is the key, the purpose
/// the stream.
pub(super) fn generator(seed: u64, purpose: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(purpose);
    rng
}

/// A number from 0 to `bound` - 1; the bias of one in 2^32 / `bound` does not matter here.
pub(super) fn below(rng: &mut ChaCha8Rng, bound: u32) -> u32 {
    ((u64::from(rng.next_u32()) * u64::from(bound)) >> 32) as u32
}

/// True in `per_mille` of 1,000 cases.
pub(super) fn chance(rng: &mut ChaCha8Rng, per_mille: u32) -> bool {
    below(rng, 1000) < per_mille
}
