//! A trusted dealer, **for demonstrations and tests only**: whoever runs it knows the whole key,
//! and can enumerate every patient number offline. A real network generates its key among the
//! evaluators, so that no party ever holds it.

use curve25519_dalek::scalar::Scalar;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{
    evaluator::KeyShare,
    sharing::{EVALUATORS_MAX, EvaluatorIndex, PublicShare},
    suite::random_scalar,
};

/// A dealt key: the public half of the whole, and the share of each evaluator, 1 to n in order.
#[derive(Debug)]
pub struct Dealt {
    /// The group's public key.
    pub group_public: PublicShare,
    /// One share for each evaluator.
    pub shares: Vec<KeyShare>,
}

/// Why nothing was dealt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DealError {
    /// Not 1 <= threshold <= evaluators <= [`EVALUATORS_MAX`].
    #[error(
        "{threshold} of {evaluators} is not a threshold: it takes 1 to {EVALUATORS_MAX} evaluators, and no more than there are"
    )]
    Threshold {
        /// The threshold asked for.
        threshold: usize,
        /// The evaluators asked for.
        evaluators: usize,
    },
}

/// Draws a key and shares it so that any `threshold` of `evaluators` can evaluate (Shamir, "How to
/// share a secret", 1979).
///
/// The caller could have kept the key: **for demonstrations only**.
///
/// # Errors
/// When the numbers are not a threshold.
pub fn deal(
    threshold: usize,
    evaluators: usize,
    rng: &mut impl CryptoRng,
) -> Result<Dealt, DealError> {
    if threshold == 0 || threshold > evaluators || evaluators > EVALUATORS_MAX {
        return Err(DealError::Threshold { threshold, evaluators });
    }
    loop {
        let coefficients =
            Zeroizing::new((0..threshold).map(|_| random_scalar(rng)).collect::<Vec<_>>());
        if let Some(dealt) = share(&coefficients, evaluators) {
            return Ok(dealt);
        }
    }
}

/// The shares under a polynomial whose constant term is the key. `None` if one came out as zero,
/// which no evaluator would take; one chance in 2^252.
pub(super) fn share(coefficients: &[Scalar], evaluators: usize) -> Option<Dealt> {
    let shares = (1..=u16::try_from(evaluators).ok()?)
        .map(|number| {
            let index = EvaluatorIndex::new(number)?;
            let x = index.coordinate();
            let value = coefficients.iter().rev().fold(Scalar::ZERO, |sum, c| sum * x + c);
            (value != Scalar::ZERO).then(|| KeyShare::of(index, value))
        })
        .collect::<Option<_>>()?;
    Some(Dealt { group_public: PublicShare::of(coefficients.first()?), shares })
}

#[cfg(test)]
mod tests {
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;

    #[test]
    fn only_thresholds_are_dealt() {
        let mut rng = ChaCha20Rng::seed_from_u64(6);
        for (threshold, evaluators) in [(1, 1), (3, 5), (EVALUATORS_MAX, EVALUATORS_MAX)] {
            let dealt = deal(threshold, evaluators, &mut rng).unwrap();
            let numbers: Vec<_> = dealt.shares.iter().map(|share| share.index().get()).collect();
            assert_eq!(numbers, (1..=evaluators as u16).collect::<Vec<_>>());
        }
        for (threshold, evaluators) in [(0, 0), (0, 3), (4, 3), (2, EVALUATORS_MAX + 1)] {
            assert_eq!(
                deal(threshold, evaluators, &mut rng).unwrap_err(),
                DealError::Threshold { threshold, evaluators }
            );
        }
    }

    #[test]
    fn a_zero_share_is_not_dealt() {
        // 2 - x is zero at 2.
        assert!(share(&[Scalar::from(2u8), -Scalar::ONE], 1).is_some());
        assert!(share(&[Scalar::from(2u8), -Scalar::ONE], 2).is_none());
    }
}
