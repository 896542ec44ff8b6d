//! The batched proof of equal discrete logarithms of RFC 9497 §2.2: one key k satisfies both
//! `public = k * G` and `evaluated[i] = k * blinded[i]` for every i.
//!
//! One proof covers a whole batch, because it is made over a combination of the items with weights
//! that nobody can choose. All elements here are public, so the combinations use variable-time
//! multiplication; what involves the key or the nonce does not.

use curve25519_dalek::{
    constants::RISTRETTO_BASEPOINT_TABLE, ristretto::RistrettoPoint, scalar::Scalar,
    traits::VartimeMultiscalarMul,
};
use sha2::{Digest, Sha512};

use super::{
    evaluation::Proof,
    suite::{Element, decode_scalar, domain, hash_to_scalar, two_bytes},
};

/// `GenerateProof` (RFC 9497 §2.2.1) with A = G. `nonce` must be fresh and uniform: two proofs with
/// one nonce give the key away. `blinded` and `evaluated` have the same length.
pub(super) fn prove(
    key: &Scalar,
    public: &Element,
    blinded: &[Element],
    evaluated: &[Element],
    nonce: &Scalar,
) -> Proof {
    let weights = weights(public, blinded, evaluated);
    // ComputeCompositesFast: the holder of the key needs one multiplication for the second one.
    let blinded_sum = weighted_sum(&weights, blinded);
    let evaluated_sum = blinded_sum * key;
    let challenge = challenge(
        public,
        &[blinded_sum, evaluated_sum, nonce * RISTRETTO_BASEPOINT_TABLE, blinded_sum * nonce],
    );
    Proof { c: challenge.to_bytes(), s: (nonce - challenge * key).to_bytes() }
}

/// `VerifyProof` (RFC 9497 §2.2.2) with A = G. Scalars that are not canonical make it false.
/// `blinded` and `evaluated` have the same length.
pub(super) fn verify(
    public: &Element,
    blinded: &[Element],
    evaluated: &[Element],
    proof: &Proof,
) -> bool {
    let (Some(c), Some(s)) = (decode_scalar(proof.c), decode_scalar(proof.s)) else {
        return false;
    };
    let weights = weights(public, blinded, evaluated);
    let blinded_sum = weighted_sum(&weights, blinded);
    let evaluated_sum = weighted_sum(&weights, evaluated);
    let base_commitment =
        RistrettoPoint::vartime_double_scalar_mul_basepoint(&c, &public.point, &s);
    let batch_commitment =
        RistrettoPoint::vartime_multiscalar_mul([s, c], [blinded_sum, evaluated_sum]);
    c == challenge(public, &[blinded_sum, evaluated_sum, base_commitment, batch_commitment])
}

/// The weight of each item (`di` of `ComputeComposites`, RFC 9497 §2.2.1): a hash of the item, its
/// place and the public key, so that errors in two items cannot be made to cancel out.
fn weights(public: &Element, blinded: &[Element], evaluated: &[Element]) -> Vec<Scalar> {
    let domain = domain("Seed-");
    let seed = Sha512::new()
        .chain_update(two_bytes(public.bytes.len()))
        .chain_update(public.bytes)
        .chain_update(two_bytes(domain.len()))
        .chain_update(&domain)
        .finalize();
    let element_length = two_bytes(32);
    blinded
        .iter()
        .zip(evaluated)
        .enumerate()
        .map(|(place, (blinded, evaluated))| {
            hash_to_scalar(&[
                &two_bytes(seed.len()),
                &seed,
                &two_bytes(place),
                &element_length,
                &blinded.bytes,
                &element_length,
                &evaluated.bytes,
                b"Composite",
            ])
        })
        .collect()
}

fn weighted_sum(weights: &[Scalar], elements: &[Element]) -> RistrettoPoint {
    RistrettoPoint::vartime_multiscalar_mul(weights, elements.iter().map(|element| element.point))
}

/// The Fiat-Shamir challenge over the public key and the four points M, Z, t2, t3 of the RFC.
fn challenge(public: &Element, points: &[RistrettoPoint; 4]) -> Scalar {
    let element_length = two_bytes(32);
    let encoded = points.map(|point| point.compress().to_bytes());
    let mut transcript: Vec<&[u8]> = vec![&element_length, &public.bytes];
    for bytes in &encoded {
        transcript.extend([&element_length as &[u8], bytes]);
    }
    transcript.push(b"Challenge");
    hash_to_scalar(&transcript)
}
