//! Sealing small secrets of this node at rest: whose record a pointer stands for.
//!
//! A holder must know the subject of its own pointers (to show them to its producers, and to make
//! new locators at a re-key), but the number need not lie readable in its store.

use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use hkdf::HkdfExtract;
use rand_core::CryptoRng;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Bytes that sealing adds: a 24-byte random nonce and a 16-byte tag.
pub const OVERHEAD_BYTES: usize = 40;
const NONCE_BYTES: usize = 24;

/// The sealed bytes do not open: another key, another place, or damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed bytes do not open with this key in this place")]
pub struct OpenError;

/// A 32-byte key that never leaves the node: seals, and names content by keyed hash.
pub struct StorageKey(Zeroizing<[u8; 32]>);

impl StorageKey {
    /// The key as the keystore holds it.
    #[must_use]
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// Seals `plain` for one `place` (XChaCha20-Poly1305, random nonce, the place as associated
    /// data): nonce, then ciphertext and tag.
    #[must_use]
    pub fn seal(&self, place: &[u8], plain: &[u8], rng: &mut impl CryptoRng) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let sealed = self
            .cipher()
            .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: place })
            .expect("XChaCha20-Poly1305 takes messages up to 256 GiB");
        [&nonce[..], &sealed].concat()
    }

    /// Opens what was sealed for `place`.
    ///
    /// # Errors
    /// When key, place or bytes are not those of the sealing.
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(OpenError)?;
        self.cipher()
            .decrypt(&XNonce::from(*nonce), Payload { msg: text, aad: place })
            .map(Zeroizing::new)
            .map_err(|_| OpenError)
    }

    /// A name for content that nobody without this key can test guesses against: the first 16
    /// bytes of HMAC-SHA-256 (as HKDF-Extract, RFC 5869 §2.2) over the parts, each with its length.
    #[must_use]
    pub fn content_name(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut extract = HkdfExtract::<Sha256>::new(Some(&*self.0));
        extract.input_ikm(b"signpost/v1/content-name");
        for part in parts {
            extract.input_ikm(&(part.len() as u64).to_be_bytes());
            extract.input_ikm(part);
        }
        let (hash, _) = extract.finalize();
        let mut name = [0; 16];
        name.copy_from_slice(&hash[..16]);
        name
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.0).into())
    }
}

impl std::fmt::Debug for StorageKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StorageKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};

    use super::*;

    #[test]
    fn what_is_sealed_opens_only_with_the_same_key_place_and_bytes() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let key = StorageKey::new(Zeroizing::new([7; 32]));
        let sealed = key.seal(b"RX1-1", b"9990000018", &mut rng);
        assert_eq!(sealed.len(), 10 + OVERHEAD_BYTES);
        assert_eq!(key.open(b"RX1-1", &sealed).unwrap().as_slice(), b"9990000018");
        assert_eq!(key.open(b"RX1-2", &sealed), Err(OpenError));
        assert!(StorageKey::new(Zeroizing::new([8; 32])).open(b"RX1-1", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(b"RX1-1", &changed).is_err(), "byte {at}");
        }
        assert!(key.open(b"RX1-1", &sealed[..10]).is_err());
    }

    #[test]
    fn content_names_depend_on_key_and_on_where_parts_end() {
        let key = StorageKey::new(Zeroizing::new([7; 32]));
        let other = StorageKey::new(Zeroizing::new([8; 32]));
        assert_eq!(key.content_name(&[b"a", b"b"]), key.content_name(&[b"a", b"b"]));
        assert_ne!(key.content_name(&[b"a", b"b"]), key.content_name(&[b"ab", b""]));
        assert_ne!(key.content_name(&[b"a"]), other.content_name(&[b"a"]));
    }
}
