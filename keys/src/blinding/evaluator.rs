//! The evaluator: holds one share of the key, and applies it to blinded elements.

use std::fmt;

use curve25519_dalek::scalar::Scalar;
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{
    BATCH_MAX,
    evaluation::{Evaluation, decode_batch},
    proof,
    sharing::{EvaluatorIndex, PublicShare},
    suite::{Element, ElementError, decode_scalar, random_scalar},
};

/// One evaluator's share of the key. Wiped on drop; `Debug` shows the index alone.
pub struct KeyShare {
    index: EvaluatorIndex,
    scalar: Scalar,
    public: PublicShare,
}

/// Why bytes are not a key share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyShareError {
    /// At or above the order of the group.
    #[error("the key share is not a canonical scalar")]
    NotCanonical,
    /// Zero, which maps every input to the identity.
    #[error("the key share is zero")]
    Zero,
}

/// Why a batch is not evaluated. Each is the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// Empty, or over [`BATCH_MAX`].
    #[error("a batch has 1 to {BATCH_MAX} elements, not {got}")]
    BatchSize {
        /// Elements in the batch.
        got: usize,
    },
    /// An element that does not decode.
    #[error("blinded element {position}: {source}")]
    Element {
        /// Its place in the batch, from 0.
        position: usize,
        /// What is wrong with it.
        source: ElementError,
    },
}

impl KeyShare {
    /// Decodes 32 bytes, little-endian.
    ///
    /// # Errors
    /// When they are zero, or not below the order of the group.
    pub fn from_bytes(index: EvaluatorIndex, bytes: &[u8; 32]) -> Result<Self, KeyShareError> {
        let scalar = decode_scalar(*bytes).ok_or(KeyShareError::NotCanonical)?;
        if scalar == Scalar::ZERO {
            return Err(KeyShareError::Zero);
        }
        Ok(Self::of(index, scalar))
    }

    /// The share of a scalar that is not zero.
    pub(super) fn of(index: EvaluatorIndex, scalar: Scalar) -> Self {
        Self { index, scalar, public: PublicShare::of(&scalar) }
    }

    /// The scalar, for the ceremonies.
    pub(super) const fn scalar(&self) -> &Scalar {
        &self.scalar
    }

    /// The scalar, little-endian: for the keystore and nowhere else.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.scalar.to_bytes())
    }

    /// The evaluator's place.
    #[must_use]
    pub const fn index(&self) -> EvaluatorIndex {
        self.index
    }

    /// The public half, which the roster lists.
    #[must_use]
    pub const fn public(&self) -> PublicShare {
        self.public
    }

    /// Applies the share to every element, and proves it (`BlindEvaluate`, RFC 9497 §3.3.2).
    ///
    /// `rng` gives the nonce of the proof, so it must be the operating system's or as good: whoever
    /// guesses the nonce has the share. Takes about 50 µs an element.
    ///
    /// # Errors
    /// When the batch is empty, over [`BATCH_MAX`], or has an element that does not decode.
    pub fn evaluate(
        &self,
        blinded: &[[u8; 32]],
        rng: &mut impl CryptoRng,
    ) -> Result<Evaluation, EvaluateError> {
        let nonce = Zeroizing::new(random_scalar(rng));
        self.evaluate_with(blinded, &nonce)
    }

    /// [`Self::evaluate`] with a given nonce, as test vectors need it.
    pub(super) fn evaluate_with(
        &self,
        blinded: &[[u8; 32]],
        nonce: &Scalar,
    ) -> Result<Evaluation, EvaluateError> {
        let blinded = decode_batch(blinded)?;
        let evaluated: Vec<_> =
            blinded.iter().map(|element| Element::encode(element.point * self.scalar)).collect();
        let proof = proof::prove(&self.scalar, self.public.element(), &blinded, &evaluated, nonce);
        Ok(Evaluation { elements: evaluated.iter().map(|element| element.bytes).collect(), proof })
    }
}

impl fmt::Debug for KeyShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyShare").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Drop for KeyShare {
    fn drop(&mut self) {
        self.scalar.zeroize();
    }
}

impl ZeroizeOnDrop for KeyShare {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;
    use crate::blinding::suite::hash_to_group;

    fn share() -> KeyShare {
        KeyShare::of(EvaluatorIndex::new(1).unwrap(), Scalar::from(42u8))
    }

    fn element() -> [u8; 32] {
        Element::encode(hash_to_group(b"x")).bytes
    }

    #[test]
    fn a_share_survives_its_bytes_and_bad_bytes_are_refused() {
        let share = share();
        let again = KeyShare::from_bytes(share.index(), &share.to_bytes()).unwrap();
        assert_eq!(again.public(), share.public());

        let refused = |bytes| KeyShare::from_bytes(share.index(), &bytes).unwrap_err();
        assert_eq!(refused([0; 32]), KeyShareError::Zero);
        assert_eq!(refused([0xff; 32]), KeyShareError::NotCanonical);
    }

    #[test]
    fn debug_shows_nothing_of_the_scalar() {
        assert_eq!(format!("{:?}", share()), "KeyShare { index: EvaluatorIndex(1), .. }");
    }

    #[test]
    fn batches_are_bounded() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let evaluate = |length, rng: &mut ChaCha20Rng| {
            share().evaluate(&vec![element(); length], rng).map(|answer| answer.elements.len())
        };
        assert_eq!(evaluate(BATCH_MAX, &mut rng), Ok(BATCH_MAX));
        for got in [0, BATCH_MAX + 1] {
            assert_eq!(evaluate(got, &mut rng), Err(EvaluateError::BatchSize { got }));
        }
    }

    #[test]
    fn undecodable_elements_are_named() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        for (bytes, source) in
            [([0; 32], ElementError::Identity), ([0xff; 32], ElementError::NotCanonical)]
        {
            assert_eq!(
                share().evaluate(&[element(), bytes], &mut rng),
                Err(EvaluateError::Element { position: 1, source })
            );
        }
    }

    #[test]
    fn proofs_never_share_a_nonce() {
        let mut rng = ChaCha20Rng::seed_from_u64(4);
        let proofs = [(); 2].map(|()| share().evaluate(&[element()], &mut rng).unwrap().proof);
        assert_ne!(proofs[0].c, proofs[1].c);
    }

    proptest! {
        #[test]
        fn no_bytes_make_an_evaluator_panic(
            blinded in proptest::collection::vec(any::<[u8; 32]>(), 0..4), key: [u8; 32],
        ) {
            let index = EvaluatorIndex::new(1).unwrap();
            let share = KeyShare::from_bytes(index, &key).unwrap_or_else(|_| share());
            let _ = share.evaluate(&blinded, &mut ChaCha20Rng::seed_from_u64(5));
        }
    }
}
