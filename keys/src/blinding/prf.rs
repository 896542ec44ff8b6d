//! What comes out of the blinding, and what is derived from it (DESIGN: "locator").

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha512;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The pseudorandom value of one input under the group's key: 64 bytes, wiped on drop.
///
/// It stands for the patient in every derived value, so it never leaves the node.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Prf([u8; 64]);

impl Prf {
    pub(super) const fn new(output: [u8; 64]) -> Self {
        Self(output)
    }

    /// The locator of the input in a key epoch: HKDF-Expand-SHA512 (RFC 5869 §2.3) of
    /// `"signpost/v1/locator"` and the epoch as u32 big-endian.
    #[must_use]
    pub fn locator(&self, key_epoch: u32) -> [u8; 32] {
        *self.expand(b"signpost/v1/locator", key_epoch)
    }

    /// The key that seals pointers of the input for mirrors: as [`Self::locator`], under
    /// `"signpost/v1/seal"`.
    #[must_use]
    pub fn seal_key(&self, key_epoch: u32) -> Zeroizing<[u8; 32]> {
        self.expand(b"signpost/v1/seal", key_epoch)
    }

    fn expand(&self, label: &[u8], key_epoch: u32) -> Zeroizing<[u8; 32]> {
        let mut derived = Zeroizing::new([0; 32]);
        Hkdf::<Sha512>::from_prk(&self.0)
            .expect("64 bytes are one SHA-512 output, the least that HKDF takes")
            .expand_multi_info(&[label, &key_epoch.to_be_bytes()], derived.as_mut())
            .expect("32 bytes are below HKDF's cap");
        derived
    }

    #[cfg(test)]
    pub(super) const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for Prf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prf(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pinned: a change would orphan every locator of every member. The figures are
    /// HMAC-SHA512(prf, label || epoch || 0x01), cut to 32 bytes.
    #[test]
    fn derived_values_are_pinned() {
        let prf = Prf::new([0x0b; 64]);
        assert_eq!(
            hex::encode(prf.locator(7)),
            "b41c7c7bba433f88805970e17426f334f19b7d23c51704d4fc1229cac18e5fd6"
        );
        assert_eq!(
            hex::encode(*prf.seal_key(7)),
            "e2138f043e621b512f1350a26a2875bf7124d8212cc42f85c7bb470dd54f5bd3"
        );
    }

    #[test]
    fn epochs_inputs_and_uses_are_told_apart() {
        let prf = Prf::new([1; 64]);
        assert_eq!(prf.locator(1), Prf::new([1; 64]).locator(1));
        assert_ne!(prf.locator(1), prf.locator(2));
        assert_ne!(prf.locator(1), Prf::new([2; 64]).locator(1));
        assert_ne!(prf.locator(1), *prf.seal_key(1));
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Prf::new([1; 64])), "Prf(..)");
    }
}
