//! An evaluator's answer, and the check that anyone can make of it.

use super::{
    BATCH_MAX, EvaluateError, proof,
    sharing::PublicShare,
    suite::{Element, ElementError},
};

/// The proof that comes with an evaluation (RFC 9497 §2.2): two canonical scalars, little-endian.
///
/// Not checked by itself; [`PublicShare::refutes`] and [`super::Blinding::check`] do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The challenge.
    pub c: [u8; 32],
    /// The response.
    pub s: [u8; 32],
}

/// One evaluator's answer to a batch: `share * blinded[i]` for every i, and one proof for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// Encoded elements, in the order of the batch.
    pub elements: Vec<[u8; 32]>,
    /// The proof that every element was made with the evaluator's share.
    pub proof: Proof,
}

/// Why an evaluation is refused. Each is the evaluator's fault, and can be shown to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadEvaluation {
    /// Not one element for each blinded element.
    #[error("{got} evaluated elements for a batch of {expected}")]
    Count {
        /// Items in the batch.
        expected: usize,
        /// Elements in the answer.
        got: usize,
    },
    /// An element that does not decode.
    #[error("evaluated element {position}: {source}")]
    Element {
        /// Its place in the batch, from 0.
        position: usize,
        /// What is wrong with it.
        source: ElementError,
    },
    /// The proof does not hold for this batch under this public share.
    #[error("the proof does not hold under the evaluator's public share")]
    Proof,
}

/// Decodes a batch of blinded elements, of 1 to [`BATCH_MAX`].
pub(super) fn decode_batch(blinded: &[[u8; 32]]) -> Result<Vec<Element>, EvaluateError> {
    if blinded.is_empty() || blinded.len() > BATCH_MAX {
        return Err(EvaluateError::BatchSize { got: blinded.len() });
    }
    decode_all(blinded).map_err(|(position, source)| EvaluateError::Element { position, source })
}

/// Checks an evaluation of a decoded batch, and hands back the decoded answer.
pub(super) fn check(
    share: &PublicShare,
    blinded: &[Element],
    evaluation: &Evaluation,
) -> Result<Vec<Element>, BadEvaluation> {
    let (expected, got) = (blinded.len(), evaluation.elements.len());
    if got != expected {
        return Err(BadEvaluation::Count { expected, got });
    }
    let evaluated = decode_all(&evaluation.elements)
        .map_err(|(position, source)| BadEvaluation::Element { position, source })?;
    if !proof::verify(share.element(), blinded, &evaluated, &evaluation.proof) {
        return Err(BadEvaluation::Proof);
    }
    Ok(evaluated)
}

fn decode_all(encoded: &[[u8; 32]]) -> Result<Vec<Element>, (usize, ElementError)> {
    encoded
        .iter()
        .enumerate()
        .map(|(position, bytes)| Element::decode(*bytes).map_err(|source| (position, source)))
        .collect()
}

impl PublicShare {
    /// Whether `evaluation` is a wrong answer of this share to `blinded`. It needs no secret, so
    /// whoever is shown a signed request and the signed answer can judge the evaluator.
    ///
    /// # Errors
    /// When the batch is one that every evaluator must refuse: no answer to it proves anything.
    pub fn refutes(
        &self,
        blinded: &[[u8; 32]],
        evaluation: &Evaluation,
    ) -> Result<bool, EvaluateError> {
        Ok(check(self, &decode_batch(blinded)?, evaluation).is_err())
    }
}
