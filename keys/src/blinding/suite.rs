//! The cipher suite ristretto255-SHA512 of RFC 9497 §4.1 in VOPRF mode: hashing to the group and
//! to scalars (RFC 9380 §5.3.1, RFC 9496 §4.3.4), and the one door through which bytes become
//! elements.

use curve25519_dalek::{
    ristretto::{CompressedRistretto, RistrettoPoint},
    scalar::Scalar,
    traits::IsIdentity,
};
use rand_core::CryptoRng;
use sha2::{Digest, Sha512};
use zeroize::{Zeroize, Zeroizing};

/// Bytes of SHA-512's output, and of the uniform strings that are mapped to elements and scalars.
const HASH_BYTES: usize = 64;
/// Bytes of SHA-512's input block: the zero padding that opens `expand_message_xmd`.
const HASH_BLOCK_BYTES: usize = 128;

/// `contextString` of RFC 9497 §3.1 for mode 0x01: it parts this mode and suite from all others.
const CONTEXT: &[u8] = b"OPRFV1-\x01-ristretto255-SHA512";

/// `contextString` behind the label of its use, as RFC 9497 names its domains.
pub(super) fn domain(label: &str) -> Vec<u8> {
    [label.as_bytes(), CONTEXT].concat()
}

/// Why 32 bytes are not an element of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ElementError {
    /// Not the canonical encoding of any ristretto255 element (RFC 9496 §4.3.1).
    #[error("not a canonical ristretto255 encoding")]
    NotCanonical,
    /// The identity, which would make every input look the same (RFC 9497 §2.1).
    #[error("the identity element is refused")]
    Identity,
}

/// A checked element beside its encoding, since transcripts hash the bytes again and again.
#[derive(Clone, Copy)]
pub(super) struct Element {
    pub(super) point: RistrettoPoint,
    pub(super) bytes: [u8; 32],
}

impl Element {
    /// Encodes a point that is known not to be the identity.
    pub(super) fn encode(point: RistrettoPoint) -> Self {
        Self { point, bytes: point.compress().to_bytes() }
    }

    /// `DeserializeElement` (RFC 9497 §4.1), which refuses the identity.
    pub(super) fn decode(bytes: [u8; 32]) -> Result<Self, ElementError> {
        let point = CompressedRistretto(bytes).decompress().ok_or(ElementError::NotCanonical)?;
        if point.is_identity() {
            return Err(ElementError::Identity);
        }
        Ok(Self { point, bytes })
    }
}

/// `DeserializeScalar` (RFC 9497 §4.1): `None` for a value at or above the group order.
pub(super) fn decode_scalar(bytes: [u8; 32]) -> Option<Scalar> {
    Scalar::from_canonical_bytes(bytes).into_option()
}

/// `RandomScalar` (RFC 9497 §2.1): uniform and never zero, so that it can be inverted.
pub(super) fn random_scalar(rng: &mut impl CryptoRng) -> Scalar {
    let mut wide = Zeroizing::new([0; HASH_BYTES]);
    loop {
        rng.fill_bytes(wide.as_mut());
        let scalar = Scalar::from_bytes_mod_order_wide(&wide);
        if scalar != Scalar::ZERO {
            return scalar;
        }
    }
}

/// `HashToGroup` (RFC 9497 §4.1).
pub(super) fn hash_to_group(input: &[u8]) -> RistrettoPoint {
    let mut uniform = expand_message_xmd::<HASH_BYTES>(&[input], &domain("HashToGroup-"));
    let point = RistrettoPoint::from_uniform_bytes(&uniform);
    uniform.zeroize();
    point
}

/// `HashToScalar` (RFC 9497 §4.1) of the parts in a row, under the default domain.
pub(super) fn hash_to_scalar(message: &[&[u8]]) -> Scalar {
    hash_to_scalar_in(message, &domain("HashToScalar-"))
}

/// `HashToScalar` under a domain of its own, as `DeriveKeyPair` (RFC 9497 §3.2.1) asks.
pub(super) fn hash_to_scalar_in(message: &[&[u8]], domain: &[u8]) -> Scalar {
    let mut uniform = expand_message_xmd::<HASH_BYTES>(message, domain);
    let scalar = Scalar::from_bytes_mod_order_wide(&uniform);
    uniform.zeroize();
    scalar
}

/// `I2OSP(length, 2)` (RFC 8017 §4.1).
///
/// # Panics
/// Past 65,535. Callers pass fixed lengths, positions below [`super::BATCH_MAX`], or inputs whose
/// length was checked.
pub(super) fn two_bytes(length: usize) -> [u8; 2] {
    u16::try_from(length).expect("lengths are checked before they are hashed").to_be_bytes()
}

/// `expand_message_xmd` with SHA-512 (RFC 9380 §5.3.1) of the parts in a row.
///
/// Domains here are constants of fewer than 256 bytes, so the RFC's rule for longer ones is not
/// needed.
fn expand_message_xmd<const N: usize>(message: &[&[u8]], domain: &[u8]) -> [u8; N] {
    const { assert!(N <= 255 * HASH_BYTES, "RFC 9380 caps the output at 255 hashes") };
    let domain_length = [u8::try_from(domain.len()).expect("domains are short constants")];

    let mut seed = Sha512::new_with_prefix([0; HASH_BLOCK_BYTES]);
    for part in message {
        seed.update(part);
    }
    let seed = seed
        .chain_update(two_bytes(N))
        .chain_update([0])
        .chain_update(domain)
        .chain_update(domain_length)
        .finalize();

    let mut output = [0; N];
    let mut block = [0; HASH_BYTES];
    for (counter, chunk) in (1..=255u8).zip(output.chunks_mut(HASH_BYTES)) {
        for (byte, seed) in block.iter_mut().zip(&seed) {
            *byte ^= seed;
        }
        block = Sha512::new_with_prefix(block)
            .chain_update([counter])
            .chain_update(domain)
            .chain_update(domain_length)
            .finalize()
            .into();
        chunk.copy_from_slice(&block[..chunk.len()]);
    }
    output
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 9380 appendix K.3: one block cut short, and two blocks.
    #[test]
    fn expansion_matches_rfc_9380() {
        let domain = b"QUUX-V01-CS02-with-expander-SHA512-256";
        assert_eq!(
            hex::encode(expand_message_xmd::<32>(&[b""], domain)),
            "6b9a7312411d92f921c6f68ca0b6380730a1a4d982c507211a90964c394179ba"
        );
        assert_eq!(
            hex::encode(expand_message_xmd::<32>(&[b"a", b"bc"], domain)),
            "0da749f12fbe5483eb066a5f595055679b976e93abe9be6f0f6318bce7aca8dc"
        );
        assert_eq!(
            hex::encode(expand_message_xmd::<128>(&[b"abc"], domain)),
            "7f1dddd13c08b543f2e2037b14cefb255b44c83cc397c1786d975653e36a6b11\
             bdd7732d8b38adb4a0edc26a0cef4bb45217135456e58fbca1703cd6032cb134\
             7ee720b87972d63fbf232587043ed2901bce7f22610c0419751c065922b48843\
             1851041310ad659e4b23520e1772ab29dcdeb2002222a363f0c2b1c972b3efe1"
        );
    }

    #[test]
    fn elements_round_trip_and_the_rest_is_refused() {
        let element = Element::encode(hash_to_group(b"x"));
        assert_eq!(Element::decode(element.bytes).map(|e| e.point), Ok(element.point));

        assert_eq!(Element::decode([0; 32]).err(), Some(ElementError::Identity));
        // p, a second spelling of zero; and 1, whose sign bit says "negative".
        let mut field_order = [0xff; 32];
        (field_order[0], field_order[31]) = (0xed, 0x7f);
        let mut negative = [0; 32];
        negative[0] = 1;
        for bytes in [field_order, negative, [0xff; 32]] {
            assert_eq!(Element::decode(bytes).err(), Some(ElementError::NotCanonical));
        }
    }

    #[test]
    fn scalars_at_or_above_the_order_are_refused() {
        let largest = Scalar::ZERO - Scalar::ONE;
        assert_eq!(decode_scalar(largest.to_bytes()), Some(largest));
        let mut order = largest.to_bytes();
        order[0] += 1;
        assert_eq!(decode_scalar(order), None);
        assert_eq!(decode_scalar([0xff; 32]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_to_their_own_encoding_or_refused(bytes: [u8; 32]) {
            if let Ok(element) = Element::decode(bytes) {
                prop_assert_eq!(element.point.compress().to_bytes(), bytes);
            }
            if let Some(scalar) = decode_scalar(bytes) {
                prop_assert_eq!(scalar.to_bytes(), bytes);
            }
        }
    }
}
