//! Feldman's verifiable secret sharing ("A practical scheme for non-interactive verifiable secret
//! sharing", FOCS 1987): a secret polynomial, and what its public commitments say of its values.

use std::{fmt, iter};

use curve25519_dalek::{
    ristretto::RistrettoPoint,
    scalar::Scalar,
    traits::{Identity, VartimeMultiscalarMul},
};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::super::{
    EvaluatorIndex,
    suite::{Element, random_scalar},
};

/// The polynomial of one dealer. Wiped on drop.
pub(super) struct Polynomial(Zeroizing<Vec<Scalar>>);

impl Polynomial {
    /// A polynomial of degree `threshold - 1` that is `secret`, which is not zero, at 0. The other
    /// coefficients are not zero either, so no commitment is the identity.
    pub(super) fn new(secret: &Scalar, threshold: usize, rng: &mut impl CryptoRng) -> Self {
        // All at once: a vector that grows leaves copies behind that nobody wipes.
        let mut coefficients = Zeroizing::new(vec![*secret; threshold]);
        for coefficient in coefficients.iter_mut().skip(1) {
            *coefficient = random_scalar(rng);
        }
        Self(coefficients)
    }

    /// The value at a receiver's place (Horner's rule).
    pub(super) fn at(&self, receiver: EvaluatorIndex) -> Zeroizing<Scalar> {
        let x = receiver.coordinate();
        let mut value = Zeroizing::new(Scalar::ZERO);
        for coefficient in self.0.iter().rev() {
            *value = *value * x + coefficient;
        }
        value
    }

    /// The public halves of the coefficients, lowest first.
    pub(super) fn commitments(&self) -> Vec<Element> {
        self.0.iter().map(|secret| Element::encode(RistrettoPoint::mul_base(secret))).collect()
    }
}

impl fmt::Debug for Polynomial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Polynomial(..)")
    }
}

/// The public half of the value at a receiver's place. Commitments are public, hence variable time.
pub(super) fn public_at(commitments: &[Element], receiver: EvaluatorIndex) -> RistrettoPoint {
    let points: Vec<_> = commitments.iter().map(|commitment| commitment.point).collect();
    public_at_points(&points, receiver)
}

/// [`public_at`] of bare points.
pub(super) fn public_at_points(
    commitments: &[RistrettoPoint],
    receiver: EvaluatorIndex,
) -> RistrettoPoint {
    let x = receiver.coordinate();
    let powers: Vec<_> = iter::successors(Some(Scalar::ONE), |power| Some(power * x))
        .take(commitments.len())
        .collect();
    RistrettoPoint::vartime_multiscalar_mul(powers, commitments)
}

/// Feldman's equation: whether `share` is the value that the commitments promise to a receiver.
/// Constant time in the share.
pub(super) fn is_promised(
    share: &Scalar,
    commitments: &[Element],
    receiver: EvaluatorIndex,
) -> bool {
    RistrettoPoint::mul_base(share) == public_at(commitments, receiver)
}

/// The commitments to the sum of all polynomials, lowest first, each of `threshold` coefficients.
pub(super) fn sum<'a>(
    dealings: impl Iterator<Item = &'a [Element]>,
    threshold: usize,
) -> Vec<RistrettoPoint> {
    let mut total = vec![RistrettoPoint::identity(); threshold];
    for commitments in dealings {
        for (sum, commitment) in total.iter_mut().zip(commitments) {
            *sum += commitment.point;
        }
    }
    total
}
