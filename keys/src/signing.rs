//! The one place that signs and verifies.
//!
//! Verification is `verify_strict` (RFC 8032 §5.1.7 without the cofactor, small-order keys and
//! points refused) over the bytes received. Lenient or batched verification accepts signatures
//! that strict verification refuses, so two peers could disagree; it is used nowhere.

use ed25519_dalek::{Signature, Signer as _, VerifyingKey};
use signpost_protocol::{
    DecodeError, NetworkId, PublicKey,
    statement::{Body, Envelope, Unsigned},
};

use crate::{secret::SecretKey, verified::Verified};

/// Why a statement is not accepted. Always the sender's fault, or a stale roster on this side.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The bytes are not such a statement.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// No key of this id is in the roster.
    #[error("signed by a key that is not in the roster")]
    UnknownKey,
    /// The key may not sign this kind of statement.
    #[error("signed by a key that may not sign this")]
    WrongUse,
    /// The key belongs to an organization other than the author.
    #[error("signed by a key of another organization")]
    WrongAuthor,
    /// The key was not valid at the instant that counts.
    #[error("signed by a key that was not valid at that time")]
    KeyNotValid,
    /// The signing organization is not admitted.
    #[error("the signing organization is not an admitted member")]
    NotAdmitted,
    /// The public key is of small order or not a point: nothing it signs proves anything.
    #[error("the public key is weak or malformed")]
    WeakKey,
    /// The signature does not verify.
    #[error("the signature does not verify")]
    BadSignature,
}

/// Signs `body` for `network`. What one signs oneself counts as verified.
#[must_use]
pub fn sign<B: Body>(body: B, key: &SecretKey, network: &NetworkId) -> Verified<B> {
    let key_id = key.key_id();
    let unsigned = Unsigned::new(&body, key_id);
    let signature = key.signing_key().sign(&unsigned.signed_bytes(network));
    let bytes = unsigned.finish(signature.to_bytes());
    Verified::new(body, &bytes, key_id)
}

/// Checks the signature of `envelope` under `key`, then decodes the body: unauthenticated
/// payloads are never parsed.
pub(crate) fn verify<B: Body>(
    envelope: &Envelope,
    bytes: &[u8],
    key: &CheckedKey,
    network: &NetworkId,
) -> Result<Verified<B>, VerifyError> {
    let signature = Signature::from_bytes(&envelope.signature());
    key.0
        .verify_strict(&envelope.signed_bytes(network), &signature)
        .map_err(|_| VerifyError::BadSignature)?;
    Ok(Verified::new(envelope.body()?, bytes, envelope.key_id()))
}

/// A public key that decodes and is not weak.
#[derive(Clone, Debug)]
pub(crate) struct CheckedKey(VerifyingKey);

impl CheckedKey {
    pub(crate) fn new(key: &PublicKey) -> Result<Self, VerifyError> {
        let key = VerifyingKey::from_bytes(key.as_bytes()).map_err(|_| VerifyError::WeakKey)?;
        if key.is_weak() {
            return Err(VerifyError::WeakKey);
        }
        Ok(Self(key))
    }
}
