//! Proof, in the type, that a statement was checked.

use std::sync::Arc;

use signpost_protocol::{ContentHash, KeyId, statement::statement_hash};

/// A statement whose signature was verified under a key that the roster lists for its author and
/// use at the instant that counts. Only this crate can make one.
#[derive(Clone, Debug)]
pub struct Verified<T> {
    body: T,
    bytes: Arc<[u8]>,
    key_id: KeyId,
}

impl<T> Verified<T> {
    pub(crate) fn new(body: T, bytes: &[u8], key_id: KeyId) -> Self {
        Self { body, bytes: bytes.into(), key_id }
    }

    /// The statement's bytes, envelope included, as they were signed and may be handed on.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The name of the statement: the hash of [`Self::bytes`].
    #[must_use]
    pub fn hash(&self) -> ContentHash {
        statement_hash(&self.bytes)
    }

    /// The key that signed.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The body, owned.
    #[must_use]
    pub fn into_body(self) -> T {
        self.body
    }
}

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.body
    }
}
