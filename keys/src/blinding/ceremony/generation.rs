//! The door to the library that generates keys (FROST key generation: Komlo and Goldberg, SAC 2020,
//! figure 1). It lives on an older generation of the curve library, so scalars and elements pass
//! through here as 32 bytes each and as nothing else.
//!
//! The library wipes what it holds when it is dropped, though not the copies that it makes of
//! coefficients while it computes.

use std::collections::BTreeMap;

use curve25519_dalek::{RistrettoPoint, scalar::Scalar};
use frost_ristretto255::{
    Error, Identifier, Signature,
    keys::{
        SigningShare, VerifiableSecretSharingCommitment,
        dkg::{self, round1, round2},
    },
};
use rand_core::CryptoRng;
use sha2::{Digest as _, Sha512};
use zeroize::Zeroizing;

use super::{
    super::{
        EvaluatorIndex,
        suite::{Element, decode_scalar},
    },
    dealing::{Dealing, PROOF_BYTES},
    fault::{Fault, Party, Reason, Unexplained},
    plan::{PublicKeySet, RoleError},
    share_round::Share,
};

/// Our generator behind the older trait that the library asks for.
struct OlderRng<'a, R>(&'a mut R);

impl<R: CryptoRng> rand_core_06::RngCore for OlderRng<'_, R> {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core_06::Error> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

impl<R: CryptoRng> rand_core_06::CryptoRng for OlderRng<'_, R> {}

/// A dealer's secrets after its dealing.
pub(super) struct Dealt(round1::SecretPackage);

/// What a dealer commits to, and the proof that it knows it.
pub(super) struct Public {
    pub(super) commitments: Vec<Element>,
    pub(super) proof: [u8; PROOF_BYTES],
}

/// A party's secrets after the shares to others are made, and what others dealt.
pub(super) struct Shared {
    secret: round2::SecretPackage,
    dealings: BTreeMap<Identifier, round1::Package>,
    indices: BTreeMap<Identifier, EvaluatorIndex>,
}

/// Draws a polynomial for `index` among `evaluators`.
pub(super) fn deal(
    index: EvaluatorIndex,
    threshold: usize,
    evaluators: usize,
    rng: &mut impl CryptoRng,
) -> Result<(Dealt, Public), RoleError> {
    let refused = RoleError::Generation;
    let counts = (u16::try_from(evaluators), u16::try_from(threshold));
    let (Ok(evaluators), Ok(threshold)) = counts else { return Err(refused) };
    let id = identifier(index).map_err(|_| refused)?;
    let (secret, package) =
        dkg::part1(id, evaluators, threshold, OlderRng(rng)).map_err(|_| refused)?;
    let commitments = package.commitment().serialize().map_err(|_| refused)?;
    let commitments = commitments
        .into_iter()
        .map(|bytes| Element::decode(array(&bytes)?).ok())
        .collect::<Option<_>>()
        .ok_or(refused)?;
    let proof = package.proof_of_knowledge().serialize().map_err(|_| refused)?;
    let proof = array(&proof).ok_or(refused)?;
    Ok((Dealt(secret), Public { commitments, proof }))
}

impl Dealt {
    /// Checks the proofs of all others, and gives the share for each of them.
    pub(super) fn share<'a>(
        self,
        others: impl Iterator<Item = &'a Dealing>,
    ) -> Result<(Shared, BTreeMap<EvaluatorIndex, Zeroizing<Scalar>>), Fault> {
        let (mut dealings, mut indices) = (BTreeMap::new(), BTreeMap::new());
        for dealing in others {
            let id = identifier(dealing.dealer).map_err(|_| defect())?;
            indices.insert(id, dealing.dealer);
            dealings.insert(id, package(dealing)?);
        }
        let (secret, packages) =
            dkg::part2(self.0, &dealings).map_err(|error| fault(&error, &indices))?;
        let mut shares = BTreeMap::new();
        for (id, package) in &packages {
            let index = indices.get(id).ok_or_else(defect)?;
            let bytes = Zeroizing::new(package.signing_share().serialize());
            let bytes = Zeroizing::new(array(&bytes).ok_or_else(defect)?);
            let share = decode_scalar(*bytes).ok_or_else(defect)?;
            shares.insert(*index, Zeroizing::new(share));
        }
        Ok((Shared { secret, dealings, indices }, shares))
    }
}

impl Shared {
    /// Adds up the shares of all others and this party's own, and says whether the library came to
    /// the same public keys as we did.
    pub(super) fn finish(
        self,
        shares: &BTreeMap<EvaluatorIndex, Share>,
        keys: &PublicKeySet,
    ) -> Result<(Zeroizing<Scalar>, bool), Fault> {
        let mut packages = BTreeMap::new();
        for (index, share) in shares {
            let id = identifier(*index).map_err(|_| defect())?;
            let bytes = Zeroizing::new(share.to_bytes());
            let share = SigningShare::deserialize(bytes.as_slice()).map_err(|_| defect())?;
            packages.insert(id, round2::Package::new(share));
        }
        let (key, public) = dkg::part3(&self.secret, &self.dealings, &packages)
            .map_err(|error| fault(&error, &self.indices))?;
        let bytes = Zeroizing::new(key.signing_share().serialize());
        let bytes = Zeroizing::new(array(&bytes).ok_or_else(defect)?);
        let share = decode_scalar(*bytes).map(Zeroizing::new).ok_or_else(defect)?;

        let group_public = public.verifying_key().serialize().map_err(|_| defect())?;
        let mut same = group_public == keys.group_public().to_bytes()
            && public.verifying_shares().len() == keys.shares().len();
        for (index, ours) in keys.shares() {
            let id = identifier(*index).map_err(|_| defect())?;
            let theirs = public.verifying_shares().get(&id).ok_or_else(defect)?;
            same &= theirs.serialize().map_err(|_| defect())? == ours.to_bytes();
        }
        Ok((share, same))
    }
}

/// Whether the proof of knowledge in a dealing holds: a Schnorr signature `(R, z)` with
/// `R = z * B - c * C`, where `C` is the first commitment and `c` is `HDKG` of RFC 9591 §6.2's suite
/// over the dealer's identifier, `C` and `R`, as the library has it.
///
/// The library checks it only for one that deals itself. This is for one that only watches.
pub(super) fn is_proven(dealing: &Dealing) -> bool {
    let (Some(proof), Some(first)) = (&dealing.proof, dealing.commitments.first()) else {
        return false;
    };
    let halves = (proof.first_chunk().copied(), proof.last_chunk().copied());
    let (Some(nonce), Some(response)) = halves else { return false };
    let (Ok(nonce), Some(response)) = (Element::decode(nonce), decode_scalar(response)) else {
        return false;
    };
    let challenge = Sha512::new_with_prefix(b"FROST-RISTRETTO255-SHA512-v1dkg")
        .chain_update(dealing.dealer.coordinate().to_bytes())
        .chain_update(first.bytes)
        .chain_update(nonce.bytes)
        .finalize();
    let challenge = Scalar::from_bytes_mod_order_wide(&challenge.into());
    // All of it is public.
    let expected =
        RistrettoPoint::vartime_double_scalar_mul_basepoint(&-challenge, &first.point, &response);
    expected == nonce.point
}

fn identifier(index: EvaluatorIndex) -> Result<Identifier, Error> {
    Identifier::try_from(index.get())
}

/// A dealing in the library's types. Its elements were decoded once already, so it cannot fail.
fn package(dealing: &Dealing) -> Result<round1::Package, Fault> {
    let commitments = dealing.commitments.iter().map(|commitment| commitment.bytes);
    let commitment =
        VerifiableSecretSharingCommitment::deserialize(commitments).map_err(|_| defect())?;
    let at = |reason| Fault::at(Party::Dealer(dealing.dealer), reason);
    let proof = dealing.proof.as_ref().ok_or_else(|| at(Reason::OtherKind))?;
    let proof = Signature::deserialize(proof).map_err(|_| at(Reason::WrongProof))?;
    Ok(round1::Package::new(commitment, proof))
}

fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

/// Whom the library names, in our words.
fn fault(error: &Error, indices: &BTreeMap<Identifier, EvaluatorIndex>) -> Fault {
    let (culprit, reason) = match error {
        Error::InvalidProofOfKnowledge { culprit } => (culprit, Reason::WrongProof),
        Error::InvalidSecretShare { culprit: Some(culprit) } => (culprit, Reason::WrongShare),
        _ => return defect(),
    };
    match indices.get(culprit) {
        Some(index) => Fault::at(Party::Dealer(*index), reason),
        None => defect(),
    }
}

const fn defect() -> Fault {
    Fault::Unexplained(Unexplained::Generation)
}
