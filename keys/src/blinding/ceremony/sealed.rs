//! The message of the second round: one share, sealed so that only its receiver can read it.

use std::fmt;

use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use curve25519_dalek::{ristretto::RistrettoPoint, scalar::Scalar};
use hkdf::Hkdf;
use rand_core::CryptoRng;
use sha2::Sha512;
use zeroize::Zeroizing;

use super::{
    super::{
        EvaluatorIndex,
        suite::{Element, decode_scalar, random_scalar},
    },
    fault::Reason,
    message::{Message, MessageError, Reader, Tag, header},
    plan::CeremonyId,
};

/// A scalar and the tag of Poly1305 (RFC 8439 §2.8).
const SEALED_BYTES: usize = 32 + 16;
/// The key and the extended nonce of XChaCha20-Poly1305.
const DERIVED_BYTES: usize = 32 + 24;

/// An ephemeral key for one ceremony. The secret half is wiped on drop.
#[derive(Clone)]
pub(super) struct KeyPair {
    secret: Zeroizing<Scalar>,
    pub(super) public: Element,
}

impl KeyPair {
    pub(super) fn generate(rng: &mut impl CryptoRng) -> Self {
        let secret = Zeroizing::new(random_scalar(rng));
        let public = Element::encode(RistrettoPoint::mul_base(&secret));
        Self { secret, public }
    }
}

/// From whom to whom a share goes, and under which keys.
pub(super) struct Route<'a> {
    pub(super) ceremony: CeremonyId,
    pub(super) dealer: EvaluatorIndex,
    pub(super) receiver: EvaluatorIndex,
    pub(super) dealer_key: &'a Element,
    pub(super) receiver_key: &'a Element,
}

impl Route<'_> {
    /// What key and tag are bound to. All fields have a fixed length.
    fn context(&self) -> Vec<u8> {
        let mut context = b"signpost/v1/ceremony/share".to_vec();
        context.extend(self.ceremony.as_bytes());
        context.extend(self.dealer.get().to_be_bytes());
        context.extend(self.receiver.get().to_be_bytes());
        context.extend(self.dealer_key.bytes);
        context.extend(self.receiver_key.bytes);
        context
    }

    /// The cipher and the nonce of this route: HKDF-SHA512 (RFC 5869) of the Diffie-Hellman
    /// element of `own` and `peer`.
    ///
    /// The nonce is derived with the key, as HPKE does (RFC 9180 §5.1): a key seals one share.
    fn cipher(&self, own: &KeyPair, peer: &Element) -> (XChaCha20Poly1305, XNonce) {
        let shared = Zeroizing::new((peer.point * *own.secret).compress().to_bytes());
        let mut derived = Zeroizing::new([0; DERIVED_BYTES]);
        Hkdf::<Sha512>::new(Some(self.ceremony.as_bytes()), shared.as_slice())
            .expand(&self.context(), derived.as_mut())
            .expect("56 bytes are below HKDF's cap");
        let (mut key, mut nonce) = (Zeroizing::new([0; 32]), [0; 24]);
        key.copy_from_slice(&derived[..32]);
        nonce.copy_from_slice(&derived[32..]);
        (XChaCha20Poly1305::new((&*key).into()), XNonce::from(nonce))
    }

    /// Seals the dealer's `share` for the receiver. `own` is the dealer's pair.
    pub(super) fn seal(&self, own: &KeyPair, share: &Scalar) -> SealedShare {
        self.seal_bytes(own, &Zeroizing::new(share.to_bytes()))
    }

    /// [`Self::seal`] of bytes that need not be a scalar.
    pub(super) fn seal_bytes(&self, own: &KeyPair, share: &[u8; 32]) -> SealedShare {
        let (cipher, nonce) = self.cipher(own, self.receiver_key);
        let sealed = cipher
            .encrypt(&nonce, Payload { msg: share, aad: &self.context() })
            .expect("XChaCha20-Poly1305 takes messages up to 256 GiB")
            .try_into()
            .expect("32 bytes are sealed into 48");
        SealedShare {
            ceremony: self.ceremony,
            dealer: self.dealer,
            receiver: self.receiver,
            sealed,
        }
    }

    /// Opens what the dealer sealed. `own` is the receiver's pair.
    pub(super) fn open(
        &self,
        own: &KeyPair,
        sealed: &SealedShare,
    ) -> Result<Zeroizing<Scalar>, Reason> {
        let (cipher, nonce) = self.cipher(own, self.dealer_key);
        let plain = cipher
            .decrypt(&nonce, Payload { msg: &sealed.sealed, aad: &self.context() })
            .map(Zeroizing::new)
            .map_err(|_| Reason::NotOpened)?;
        let mut bytes = Zeroizing::new([0; 32]);
        bytes.copy_from_slice(plain.first_chunk::<32>().ok_or(Reason::WrongShare)?);
        decode_scalar(*bytes).map(Zeroizing::new).ok_or(Reason::WrongShare)
    }
}

/// One dealer's share for one receiver, sealed. For the receiver alone to act on, though anybody
/// may carry it.
///
/// 86 bytes:
///
/// | bytes | field |
/// |---|---|
/// | 36 | header, kind 4 |
/// | 2 | index of the receiver |
/// | 48 | XChaCha20-Poly1305 of the share, 32 bytes, and tag |
///
/// Key and nonce are HKDF-SHA512 with the ceremony as salt, the ristretto255 Diffie-Hellman
/// element of the two ephemeral keys as input, and as info `"signpost/v1/ceremony/share"`,
/// ceremony, dealer, receiver, the dealer's key and the receiver's; this is the associated data
/// too.
#[derive(Clone)]
pub struct SealedShare {
    pub(super) ceremony: CeremonyId,
    pub(super) dealer: EvaluatorIndex,
    pub(super) receiver: EvaluatorIndex,
    sealed: [u8; SEALED_BYTES],
}

impl SealedShare {
    /// The encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = header(Tag::SealedShare, self.ceremony, self.dealer);
        bytes.extend(self.receiver.get().to_be_bytes());
        bytes.extend(self.sealed);
        bytes
    }

    /// Decodes a sealed share, without opening it.
    ///
    /// # Errors
    /// When the bytes are not the one encoding of a sealed share.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MessageError> {
        let (mut reader, _, ceremony, dealer) = Reader::new(bytes, &[Tag::SealedShare])?;
        let receiver = reader.index()?;
        let sealed = reader.array()?;
        reader.end()?;
        Ok(Self { ceremony, dealer, receiver, sealed })
    }

    /// The ceremony that it belongs to.
    #[must_use]
    pub const fn ceremony(&self) -> CeremonyId {
        self.ceremony
    }

    /// Who dealt it.
    #[must_use]
    pub const fn dealer(&self) -> EvaluatorIndex {
        self.dealer
    }

    /// Who can open it.
    #[must_use]
    pub const fn receiver(&self) -> EvaluatorIndex {
        self.receiver
    }
}

impl Message for SealedShare {
    fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        Self::from_bytes(bytes)
    }

    fn ceremony(&self) -> CeremonyId {
        self.ceremony
    }

    fn sender(&self) -> EvaluatorIndex {
        self.dealer
    }
}

impl fmt::Debug for SealedShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedShare")
            .field("ceremony", &self.ceremony)
            .field("dealer", &self.dealer)
            .field("receiver", &self.receiver)
            .finish_non_exhaustive()
    }
}
