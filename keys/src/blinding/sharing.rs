//! Shamir sharing as seen from outside: who holds which share, what its public half is, and
//! whether public halves belong together.

use std::{fmt, num::NonZeroU16};

use curve25519_dalek::{ristretto::RistrettoPoint, scalar::Scalar, traits::VartimeMultiscalarMul};

use super::suite::{Element, ElementError};

/// Evaluators of one key. Each locate asks t of them at once, and t beyond a handful buys little;
/// checking a set costs the square of this number, a few milliseconds at the cap.
pub const EVALUATORS_MAX: usize = 64;

/// An evaluator's place, 1 to n: the x coordinate of its share, hence never 0, where the key lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EvaluatorIndex(NonZeroU16);

impl EvaluatorIndex {
    /// The index, or `None` for 0.
    #[must_use]
    pub const fn new(index: u16) -> Option<Self> {
        match NonZeroU16::new(index) {
            Some(index) => Some(Self(index)),
            None => None,
        }
    }

    /// The number, 1 or more.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    pub(super) fn coordinate(self) -> Scalar {
        Scalar::from(self.get())
    }
}

impl fmt::Display for EvaluatorIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The public half of a key share, or of the whole key: a checked element, never the identity.
#[derive(Clone, Copy)]
pub struct PublicShare(Element);

impl PublicShare {
    /// Decodes 32 bytes (RFC 9496 §4.3.1).
    ///
    /// # Errors
    /// When they are not a canonical encoding, or are the identity.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, ElementError> {
        Element::decode(bytes).map(Self)
    }

    /// The canonical encoding.
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; 32] {
        self.0.bytes
    }

    /// The public half of a secret that is not zero.
    pub(super) fn of(secret: &Scalar) -> Self {
        Self(Element::encode(RistrettoPoint::mul_base(secret)))
    }

    pub(super) const fn element(&self) -> &Element {
        &self.0
    }
}

impl PartialEq for PublicShare {
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for PublicShare {}

impl fmt::Debug for PublicShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicShare(")?;
        for byte in self.0.bytes {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// The Lagrange coefficients that take values at `indices` to the value at `x`.
///
/// `None` when an index comes twice. Indices are public, so variable time is no concern.
pub(super) fn lagrange(indices: &[EvaluatorIndex], x: Scalar) -> Option<Vec<Scalar>> {
    indices
        .iter()
        .enumerate()
        .map(|(place, index)| {
            let own = index.coordinate();
            let (mut numerator, mut denominator) = (Scalar::ONE, Scalar::ONE);
            for (other_place, other) in indices.iter().enumerate() {
                if other_place != place {
                    numerator *= other.coordinate() - x;
                    denominator *= other.coordinate() - own;
                }
            }
            (denominator != Scalar::ZERO).then(|| numerator * denominator.invert())
        })
        .collect()
}

/// The public value at `x` of the polynomial through `shares`, or `None` when an index comes twice.
pub(super) fn interpolate(
    shares: &[(EvaluatorIndex, PublicShare)],
    x: Scalar,
) -> Option<RistrettoPoint> {
    let indices: Vec<_> = shares.iter().map(|(index, _)| *index).collect();
    let coefficients = lagrange(&indices, x)?;
    let points = shares.iter().map(|(_, share)| share.0.point);
    Some(RistrettoPoint::vartime_multiscalar_mul(coefficients, points))
}

/// Whether any `threshold` of `shares` amount to the key whose public half is `group_public`.
///
/// The first `threshold` shares settle the polynomial; it must give `group_public` at 0, and every
/// further share must lie on it. False too when one share fewer would do as well, so that fewer
/// evaluators than the roster says could collude; when there are fewer shares than `threshold`,
/// none at all, more than [`EVALUATORS_MAX`], or two with one index.
#[must_use]
pub fn group_public_matches(
    threshold: usize,
    shares: &[(EvaluatorIndex, PublicShare)],
    group_public: &PublicShare,
) -> bool {
    if threshold == 0 || shares.len() < threshold || shares.len() > EVALUATORS_MAX {
        return false;
    }
    let (defining, further) = shares.split_at(threshold);
    // A further share with the index of an earlier one could lie on the polynomial all the same.
    let distinct = shares
        .iter()
        .enumerate()
        .all(|(place, (index, _))| shares[..place].iter().all(|(earlier, _)| earlier != index));
    distinct
        && interpolate(defining, Scalar::ZERO) == Some(group_public.0.point)
        && interpolate(&defining[1..], Scalar::ZERO) != Some(group_public.0.point)
        && further
            .iter()
            .all(|(index, share)| interpolate(defining, index.coordinate()) == Some(share.0.point))
}

#[cfg(test)]
mod tests {
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;
    use crate::blinding::deal;

    fn public_shares() -> (Vec<(EvaluatorIndex, PublicShare)>, PublicShare) {
        let dealt = deal(3, 5, &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
        let shares = dealt.shares.iter().map(|share| (share.index(), share.public())).collect();
        (shares, dealt.group_public)
    }

    #[test]
    fn shares_of_one_key_match_in_any_order() {
        let (mut shares, group) = public_shares();
        assert!(group_public_matches(3, &shares, &group));
        shares.rotate_left(2);
        assert!(group_public_matches(3, &shares, &group));
        assert!(group_public_matches(3, &shares[..3], &group));
    }

    #[test]
    fn a_wrong_set_does_not_match() {
        let (shares, group) = public_shares();
        let stranger = PublicShare::of(&Scalar::from(7u8));

        assert!(!group_public_matches(2, &shares, &group), "threshold too low");
        assert!(!group_public_matches(4, &shares, &group), "threshold too high");
        assert!(!group_public_matches(3, &shares[..2], &group), "too few");
        assert!(!group_public_matches(0, &shares, &group), "no threshold");
        assert!(!group_public_matches(3, &shares, &stranger), "another key");
        for place in 0..shares.len() {
            let mut wrong = shares.clone();
            wrong[place].1 = stranger;
            assert!(!group_public_matches(3, &wrong, &group), "share {place} replaced");
            let mut twice = shares.clone();
            twice.push(shares[place]);
            assert!(!group_public_matches(3, &twice, &group), "share {place} twice");
        }
        let mut swapped = shares.clone();
        (swapped[0].1, swapped[4].1) = (shares[4].1, shares[0].1);
        assert!(!group_public_matches(3, &swapped, &group), "indices swapped");
        let many = shares.repeat(EVALUATORS_MAX);
        assert!(!group_public_matches(3, &many, &group), "too many");
    }

    #[test]
    fn index_zero_is_refused() {
        assert_eq!(EvaluatorIndex::new(0), None);
        assert_eq!(EvaluatorIndex::new(1).map(EvaluatorIndex::get), Some(1));
    }
}
