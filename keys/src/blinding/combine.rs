//! Combines t checked answers into what one holder of the whole key would have answered, and
//! unblinds it.

use std::fmt;

use curve25519_dalek::{ristretto::RistrettoPoint, scalar::Scalar, traits::VartimeMultiscalarMul};
use sha2::{Digest, Sha512};
use zeroize::Zeroizing;

use super::{
    client::{BatchTag, Blinding},
    prf::Prf,
    sharing::{EvaluatorIndex, PublicShare, interpolate, lagrange},
    suite::two_bytes,
};

/// An evaluator's answer whose proof held. Only [`Blinding::check`] makes one, and only the
/// [`Blinding`] that did can combine it.
#[derive(Clone)]
pub struct CheckedEvaluation {
    pub(super) batch: BatchTag,
    pub(super) index: EvaluatorIndex,
    pub(super) share: PublicShare,
    pub(super) points: Vec<RistrettoPoint>,
}

impl CheckedEvaluation {
    /// Who answered.
    #[must_use]
    pub const fn index(&self) -> EvaluatorIndex {
        self.index
    }
}

impl fmt::Debug for CheckedEvaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedEvaluation").field("index", &self.index).finish_non_exhaustive()
    }
}

/// Why checked answers do not combine. None is the fault of an evaluator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CombineError {
    /// Fewer than the threshold: ask further evaluators.
    #[error("{got} evaluations where {threshold} are needed")]
    TooFew {
        /// Answers given.
        got: usize,
        /// Answers needed, at least one.
        threshold: usize,
    },
    /// One evaluator comes twice.
    #[error("evaluator {0} comes twice")]
    Duplicate(EvaluatorIndex),
    /// An answer that was checked for another batch.
    #[error("the answer of evaluator {0} belongs to another batch")]
    OtherBatch(EvaluatorIndex),
    /// The public shares do not amount to the group's key: shares of two generations are mixed, an
    /// index is wrong, or the threshold is.
    #[error("the evaluators' public shares do not amount to the group's public key")]
    OtherKey,
}

impl Blinding {
    /// Combines `threshold` answers and unblinds them (`Finalize`, RFC 9497 §3.3.2): the outputs in
    /// the order of the inputs.
    ///
    /// The first `threshold` of `checked` count. Their public shares must amount to
    /// `group_public`; with the proofs already checked, the outputs are then those of the group's
    /// key and no other, whoever answered. Takes about 60 µs an input for a threshold of 3.
    ///
    /// # Errors
    /// When there are too few answers, one comes twice or from another batch, or they are not of
    /// one key.
    pub fn combine(
        &self,
        threshold: usize,
        group_public: &PublicShare,
        checked: &[CheckedEvaluation],
    ) -> Result<Vec<Prf>, CombineError> {
        let Some(used) = checked.get(..threshold).filter(|used| !used.is_empty()) else {
            return Err(CombineError::TooFew { got: checked.len(), threshold: threshold.max(1) });
        };
        for (place, answer) in checked.iter().enumerate() {
            if answer.batch != self.batch {
                return Err(CombineError::OtherBatch(answer.index));
            }
            if checked[..place].iter().any(|earlier| earlier.index == answer.index) {
                return Err(CombineError::Duplicate(answer.index));
            }
        }
        let shares: Vec<_> = used.iter().map(|answer| (answer.index, answer.share)).collect();
        if interpolate(&shares, Scalar::ZERO) != Some(group_public.element().point) {
            return Err(CombineError::OtherKey);
        }

        let indices: Vec<_> = used.iter().map(|answer| answer.index).collect();
        let coefficients =
            lagrange(&indices, Scalar::ZERO).expect("duplicate indices were refused above");
        let mut unblinds = self.blinds.clone();
        Scalar::invert_batch_alloc(&mut unblinds);
        let outputs = self.inputs.iter().zip(unblinds.iter()).enumerate();
        Ok(outputs
            .map(|(position, (input, unblind))| {
                // Still blinded, hence public; the unblinding below is constant-time.
                let evaluated = RistrettoPoint::vartime_multiscalar_mul(
                    &coefficients,
                    used.iter().map(|answer| answer.points[position]),
                );
                finalize(input, &Zeroizing::new(evaluated * unblind))
            })
            .collect())
    }
}

/// The last hash of `Finalize` (RFC 9497 §3.3.1).
fn finalize(input: &[u8], unblinded: &RistrettoPoint) -> Prf {
    let element = Zeroizing::new(unblinded.compress().to_bytes());
    let hash = Sha512::new()
        .chain_update(two_bytes(input.len()))
        .chain_update(input)
        .chain_update(two_bytes(element.len()))
        .chain_update(element.as_slice())
        .chain_update(b"Finalize")
        .finalize();
    Prf::new(hash.into())
}
