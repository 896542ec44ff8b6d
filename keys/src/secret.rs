//! Secret signing keys.

use std::fmt;

use rand_core::CryptoRng;
use signpost_protocol::{KeyId, PublicKey};
use zeroize::Zeroizing;

/// An Ed25519 secret key (RFC 8032 §5.1.5). Wiped on drop; cannot be shown, copied or serialized by accident.
pub struct SecretKey(ed25519_dalek::SigningKey);

impl SecretKey {
    /// Draws a key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *seed);
        Self::from_seed(&seed)
    }

    /// The key of a 32-byte seed, as a keystore keeps it.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The seed, for a keystore or for libp2p, and nothing else.
    #[must_use]
    pub fn expose_seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The short name of the public half.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.public().key_id()
    }

    pub(crate) const fn signing_key(&self) -> &ed25519_dalek::SigningKey {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {:?})", self.key_id())
    }
}
