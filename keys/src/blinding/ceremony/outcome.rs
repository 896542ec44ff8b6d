//! What the dealings of all dealers amount to.

use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroizing;

use super::{
    super::{EvaluatorIndex, KeyShare, PublicShare},
    dealing::Dealing,
    fault::{Fault, Unexplained},
    plan::{Plan, PublicKeySet},
    polynomial,
};

/// The end of a ceremony that all receivers confirmed. [`super::ConfirmationRound::finish`] alone
/// makes one.
#[derive(Debug)]
pub struct Outcome {
    pub(super) keys: PublicKeySet,
    pub(super) share: Option<KeyShare>,
    pub(super) transcript: [u8; 32],
}

impl Outcome {
    /// The public half: what the roster is to list.
    #[must_use]
    pub const fn keys(&self) -> &PublicKeySet {
        &self.keys
    }

    /// This party's share of the key; `None` for one that only dealt.
    ///
    /// It has the bytes that [`KeyShare`] always had. A share of the epoch before has the same
    /// form and is useless beside the new ones, so whoever stores it keeps the share epoch beside
    /// it.
    #[must_use]
    pub const fn share(&self) -> Option<&KeyShare> {
        self.share.as_ref()
    }

    /// The hash that all receivers confirmed ([`super::Confirmation`]).
    #[must_use]
    pub const fn transcript(&self) -> [u8; 32] {
        self.transcript
    }

    /// The public half, and the share.
    #[must_use]
    pub fn into_parts(self) -> (PublicKeySet, Option<KeyShare>) {
        (self.keys, self.share)
    }
}

/// The public half of the new sharing. Every dealing was checked against the plan.
pub(super) fn public_keys<'a>(
    plan: &Plan,
    dealings: impl Iterator<Item = &'a Dealing>,
) -> Result<PublicKeySet, Fault> {
    let commitments = dealings.map(|dealing| dealing.commitments.as_slice());
    let total = polynomial::sum(commitments, plan.threshold);
    let public = |point: curve25519_dalek::RistrettoPoint| {
        PublicShare::from_bytes(point.compress().to_bytes())
            .map_err(|_| Fault::Unexplained(Unexplained::Zero))
    };
    let group_public = public(*total.first().ok_or(NOT_ONE_KEY)?)?;
    let shares = plan
        .receivers
        .iter()
        .map(|receiver| Ok((*receiver, public(polynomial::public_at_points(&total, *receiver))?)))
        .collect::<Result<Vec<_>, Fault>>()?;
    let is_other = |old: &PublicKeySet| old.group_public() != group_public;
    if plan.reshare.as_ref().is_some_and(|reshare| is_other(&reshare.old)) {
        return Err(NOT_ONE_KEY);
    }
    PublicKeySet::new(plan.threshold, shares, group_public).map_err(|_| NOT_ONE_KEY)
}

/// The share of `receiver`, if it is the one whose public half the dealings give.
pub(super) fn key_share(
    keys: &PublicKeySet,
    receiver: EvaluatorIndex,
    share: &Zeroizing<Scalar>,
) -> Result<KeyShare, Fault> {
    if **share == Scalar::ZERO {
        return Err(Fault::Unexplained(Unexplained::Zero));
    }
    let share = KeyShare::of(receiver, **share);
    let matches = keys.share(receiver) == Some(share.public());
    if matches { Ok(share) } else { Err(NOT_ONE_KEY) }
}

const NOT_ONE_KEY: Fault = Fault::Unexplained(Unexplained::NotOneKey);
