//! Where a locator's bits lie in a filter.
//!
//! Positions are AES-256 outputs keyed by the locator itself. Somebody without the locator sees
//! random positions; somebody who compares the filters of two organizations, or two filters of one,
//! sees unrelated ones, because organization and salt are part of what is encrypted. AES was chosen
//! over a hash for speed: the key schedule runs once a locate, and then a "no" costs one block
//! (some ten nanoseconds with hardware AES) for most of the federation's digests.
//!
//! Guarantees only that positions are the same everywhere. Who may see a locator is decided
//! elsewhere.

use std::fmt;

use aes::{
    Aes256Enc, Block,
    cipher::{BlockCipherEncrypt as _, KeyInit as _},
};
use sha2::{Digest as _, Sha256};
use signpost_protocol::{Locator, OrganizationId};

use super::SizeClass;

/// Positions of a locator. At 24 bits a locator the ideal is 24 ln 2 = 17; 12 is nearly as
/// selective, leaves filters 39 % full instead of 50 %, and costs two thirds of the changes.
pub const POSITIONS: usize = 12;

/// Bytes of the salt that a head carries.
pub const SALT_BYTES: usize = 16;

/// AES blocks that give the positions, two each.
const BLOCKS: u32 = POSITIONS as u32 / 2;

/// Filters that are tested side by side: twice as many accesses to memory as a core has under way at a
/// time, so that none waits for another.
pub(super) const ABREAST: usize = 16;

/// What makes one filter's positions unrelated to every other filter's.
///
/// The first 12 bytes of SHA-256 of `"signpost/v1/digest"`, the organization id (32 bytes) and the
/// salt (16 bytes). Public: anybody can compute it from the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestKeying {
    prefix: [u8; 12],
}

impl DigestKeying {
    /// The keying of the organization's filter that has this salt.
    #[must_use]
    pub fn new(organization: &OrganizationId, salt: &[u8; SALT_BYTES]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"signpost/v1/digest");
        hash.update(organization.as_bytes());
        hash.update(salt);
        let mut prefix = [0; 12];
        prefix.copy_from_slice(&hash.finalize()[..12]);
        Self { prefix }
    }

    /// The `i`th block to encrypt.
    fn block(&self, i: u32) -> Block {
        let mut block = Block::default();
        block[..12].copy_from_slice(&self.prefix);
        block[12..].copy_from_slice(&i.to_be_bytes());
        block
    }
}

fn pair(block: &Block, class: SizeClass) -> [u32; 2] {
    let both = u128::from_be_bytes((*block).into());
    [position((both >> 64) as u64, class), position(both as u64, class)]
}

/// A locator made ready to be tested against many digests: its AES-256 key schedule.
///
/// As much personal data as the locator itself; `Debug` shows nothing of it.
#[derive(Clone)]
pub struct LocatorKey(Aes256Enc);

impl LocatorKey {
    /// Runs the key schedule.
    #[must_use]
    pub fn new(locator: &Locator) -> Self {
        Self(Aes256Enc::new(locator.as_bytes().into()))
    }

    /// The locator's 12 positions in a filter of this class and keying, each below
    /// [`SizeClass::bits`]; two may coincide.
    ///
    /// Block i (0 to 5) is the keying's 12 bytes and i as u32 big-endian, encrypted under the
    /// locator; its two halves, as u64 big-endian, give positions 2i and 2i + 1 as
    /// `(half * bits) >> 64`. Blocks are encrypted only as the iterator reaches them.
    pub fn positions(
        &self,
        keying: &DigestKeying,
        class: SizeClass,
    ) -> impl Iterator<Item = u32> + use<'_> {
        let keying = *keying;
        (0..BLOCKS).flat_map(move |i| {
            let mut block = keying.block(i);
            self.0.encrypt_block(&mut block);
            pair(&block, class)
        })
    }

    /// The first two positions in each of up to [`ABREAST`] filters. The processor encrypts
    /// several blocks in little more time than one.
    pub(super) fn first_positions<'a>(
        &self,
        filters: impl Iterator<Item = (&'a DigestKeying, SizeClass)> + Clone,
    ) -> [[u32; 2]; ABREAST] {
        let mut blocks = [Block::default(); ABREAST];
        for (block, (keying, _)) in blocks.iter_mut().zip(filters.clone()) {
            *block = keying.block(0);
        }
        self.0.encrypt_blocks(&mut blocks);
        let mut pairs = [[0; 2]; ABREAST];
        for ((positions, block), (_, class)) in pairs.iter_mut().zip(&blocks).zip(filters) {
            *positions = pair(block, class);
        }
        pairs
    }
}

impl fmt::Debug for LocatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocatorKey(..)")
    }
}

/// Scales 64 uniform bits to a position. The bias, bits / 2^64, is below one part in 10^10.
pub(super) fn position(word: u64, class: SizeClass) -> u32 {
    // Below `bits`, which is a u32.
    ((u128::from(word) * u128::from(class.bits())) >> 64) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const ORGANIZATION: OrganizationId = OrganizationId([0x11; 32]);
    const SALT: [u8; SALT_BYTES] = [0x22; SALT_BYTES];

    fn locator(n: u32) -> Locator {
        Locator(Sha256::digest(n.to_be_bytes()).into())
    }

    fn class(number: u8) -> SizeClass {
        SizeClass::new(number).unwrap()
    }

    fn positions(locator: &Locator, keying: &DigestKeying, class: SizeClass) -> Vec<u32> {
        LocatorKey::new(locator).positions(keying, class).collect()
    }

    /// Pinned: every node must compute these, or digests stop finding anything.
    #[test]
    fn positions_are_pinned() {
        let keying = DigestKeying::new(&ORGANIZATION, &SALT);
        assert_eq!(hex::encode(keying.prefix), "63280a3e829b111bd69b9496");
        let locator = Locator([0x33; 32]);
        assert_eq!(
            positions(&locator, &keying, class(0)),
            [1097, 15333, 17808, 14436, 8970, 834, 13239, 18226, 10471, 6325, 13684, 4842]
        );
        assert_eq!(
            positions(&locator, &keying, class(30)),
            [
                35948812, 502436812, 583538601, 473071590, 293961557, 27352955, 433835229,
                597254293, 343137520, 207286326, 448429871, 158673105
            ]
        );
        let other_organization = DigestKeying::new(&OrganizationId([0x12; 32]), &SALT);
        assert_eq!(
            positions(&locator, &other_organization, class(30)),
            [
                342172832, 559637912, 487888927, 798867241, 59086395, 653479892, 743456242,
                166683376, 444763889, 694003126, 731632003, 626862689
            ]
        );
        let other_salt = DigestKeying::new(&ORGANIZATION, &[0x23; SALT_BYTES]);
        assert_eq!(
            positions(&locator, &other_salt, class(30)),
            [
                728399061, 46472347, 97459844, 781309711, 698672865, 505042931, 84849829,
                150356668, 115242859, 151576963, 121839658, 59685650
            ]
        );
    }

    #[test]
    fn words_scale_to_the_whole_filter_and_no_further() {
        for class in SizeClass::all() {
            assert_eq!(position(0, class), 0);
            assert_eq!(position(u64::MAX, class), class.bits() - 1);
        }
    }

    /// Positions shared by chance: 2,000 locators * 12 * 12 / 24,576 = 11.7 expected, so 45 is
    /// beyond 9 σ; a locator compared with itself shares all of them.
    #[test]
    fn organizations_and_salts_give_unrelated_positions() {
        let class = SizeClass::SMALLEST;
        let own = DigestKeying::new(&ORGANIZATION, &SALT);
        let shared = |other: DigestKeying| -> usize {
            (0..2_000)
                .map(|n| {
                    let mine: HashSet<u32> =
                        positions(&locator(n), &own, class).into_iter().collect();
                    positions(&locator(n), &other, class)
                        .iter()
                        .filter(|p| mine.contains(p))
                        .count()
                })
                .sum()
        };
        assert_eq!(shared(own), 2_000 * POSITIONS);
        assert!(shared(DigestKeying::new(&OrganizationId([0x12; 32]), &SALT)) < 45);
        assert!(shared(DigestKeying::new(&ORGANIZATION, &[0x23; SALT_BYTES])) < 45);
    }

    #[test]
    fn debug_shows_nothing_of_the_locator() {
        assert_eq!(format!("{:?}", LocatorKey::new(&locator(1))), "LocatorKey(..)");
    }
}
