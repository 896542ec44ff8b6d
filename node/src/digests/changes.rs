//! Change lists: what was added to a digest since its filter was built.
//!
//! Fetching a whole filter for every new patient would cost the federation its traffic, so new
//! locators travel as positions to be set. A list always has 768 distinct positions in ascending
//! order, as many as [`CHANGE_LOCATORS`] locators set, made up with random ones. Real positions are
//! as good as random to whoever lacks the locators, so a list is a uniformly drawn set of 768
//! positions whether it stands for one new patient, for 64 or for none.
//!
//! Nothing is ever taken out of a digest: a removed pointer leaves a "maybe" until the filter is
//! rebuilt. Left to others: when to issue a list, and rebuilding when there is no room for one more.

use std::{collections::BTreeSet, fmt};

use rand_core::CryptoRng;
use signpost_protocol::Locator;

use super::{
    DigestKeying, LocatorKey, SizeClass,
    positions::{POSITIONS, position},
};

/// Locators that one list has room for. A busy hospital's second brings fewer, and 3 KiB fit a
/// few network packets.
pub const CHANGE_LOCATORS: usize = 64;

/// Positions of every list.
pub const CHANGE_POSITIONS: usize = CHANGE_LOCATORS * POSITIONS;

/// Length of every list in bytes: its positions, as u32 big-endian.
pub const CHANGE_BYTES: usize = CHANGE_POSITIONS * 4;

/// Lists beside one filter. Bounds what a head names and what a peer may make us hold: the
/// positions of 32 lists take 96 KiB, so changes cost all of England's digests at most 600 MB.
pub use signpost_protocol::limits::CHANGE_LISTS_MAX;

/// Why changes are refused. [`TooManyLocators`](Self::TooManyLocators) is the caller's mistake, the
/// others are the fault of the peer that signed the head.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// More than [`CHANGE_LOCATORS`] locators for one list.
    #[error("{0} locators for one change list, which has room for {CHANGE_LOCATORS}")]
    TooManyLocators(usize),
    /// Not [`CHANGE_BYTES`] long.
    #[error("change list has {0} bytes, not {CHANGE_BYTES}")]
    WrongLength(usize),
    /// A position is not above the one before it.
    #[error("positions of the change list do not ascend")]
    NotAscending,
    /// A position lies beyond the filter.
    #[error("position {position} lies beyond a filter of {class:?}")]
    OutOfRange {
        /// The position.
        position: u32,
        /// Class of the filter.
        class: SizeClass,
    },
    /// More than [`CHANGE_LISTS_MAX`] lists beside one filter.
    #[error("{0} change lists, where {CHANGE_LISTS_MAX} are allowed")]
    TooManyLists(usize),
    /// A list is of another class than the filter.
    #[error("change list is of {list:?}, the filter of {filter:?}")]
    ClassDiffers {
        /// Class of the filter.
        filter: SizeClass,
        /// Class of the list.
        list: SizeClass,
    },
}

/// One list of 768 positions, distinct, ascending and inside a filter of its class.
#[derive(Clone, PartialEq, Eq)]
pub struct ChangeList {
    class: SizeClass,
    positions: Vec<u32>,
}

impl ChangeList {
    /// A list that makes up to [`CHANGE_LOCATORS`] locators found, with the keying and class of
    /// the filter that it goes beside. None at all give a list of decoys.
    ///
    /// Locators that the digest finds already are to be left out: they need no list, and their
    /// positions would stand out by being set in the filter.
    ///
    /// # Errors
    /// [`ChangeError::TooManyLocators`].
    pub fn build(
        locators: &[Locator],
        keying: &DigestKeying,
        class: SizeClass,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, ChangeError> {
        if locators.len() > CHANGE_LOCATORS {
            return Err(ChangeError::TooManyLocators(locators.len()));
        }
        let mut positions: BTreeSet<u32> = locators
            .iter()
            .flat_map(|locator| {
                LocatorKey::new(locator).positions(keying, class).collect::<Vec<_>>()
            })
            .collect();
        // Ends soon: even the smallest filter has 32 times as many positions.
        while positions.len() < CHANGE_POSITIONS {
            positions.insert(position(rng.next_u64(), class));
        }
        Ok(Self { class, positions: positions.into_iter().collect() })
    }

    /// Reads a list that goes beside a filter of this class.
    ///
    /// # Errors
    /// When it has another length, a position not above the one before it, or one beyond the
    /// filter.
    pub fn decode(bytes: &[u8], class: SizeClass) -> Result<Self, ChangeError> {
        if bytes.len() != CHANGE_BYTES {
            return Err(ChangeError::WrongLength(bytes.len()));
        }
        let (words, _) = bytes.as_chunks::<4>();
        let positions: Vec<u32> = words.iter().map(|word| u32::from_be_bytes(*word)).collect();
        if !positions.is_sorted_by(|a, b| a < b) {
            return Err(ChangeError::NotAscending);
        }
        match positions.last() {
            Some(&position) if position >= class.bits() => {
                Err(ChangeError::OutOfRange { position, class })
            }
            _ => Ok(Self { class, positions }),
        }
    }

    /// The list's [`CHANGE_BYTES`] bytes: positions as u32 big-endian.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.positions.iter().flat_map(|position| position.to_be_bytes()).collect()
    }
}

impl fmt::Debug for ChangeList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeList").field("class", &self.class).finish_non_exhaustive()
    }
}

/// Sections of a sieve for each position in it: one position in eight that is not among the changes
/// falls into a section that has one, and is looked for in vain.
const SECTIONS_PER_POSITION: usize = 8;

/// All changes beside one filter, merged.
#[derive(Clone, PartialEq, Eq)]
pub struct Changes {
    class: SizeClass,
    lists: usize,
    /// Distinct and ascending; at most [`CHANGE_LISTS_MAX`] lists' worth, 96 KiB.
    positions: Vec<u32>,
    /// Which of many equal sections of the filter have a change: a bit each, a quarter of the size
    /// of the positions. A locate looks into the changes of every organization in the federation,
    /// mostly in vain, and memory that is not in the processor's cache makes up the time: one such
    /// access tells here, where a binary search needs a dozen.
    sieve: Vec<u64>,
}

impl Changes {
    /// No changes: the filter is fresh.
    #[must_use]
    pub fn none(class: SizeClass) -> Self {
        Self { class, lists: 0, positions: Vec::new(), sieve: Vec::new() }
    }

    /// Merges the lists beside a filter of this class. A peer's changes have then to pass
    /// [`Filter::check_changes`](super::Filter::check_changes).
    ///
    /// # Errors
    /// When there are more than [`CHANGE_LISTS_MAX`], or one is of another class.
    pub fn merge(class: SizeClass, lists: &[ChangeList]) -> Result<Self, ChangeError> {
        if lists.len() > CHANGE_LISTS_MAX {
            return Err(ChangeError::TooManyLists(lists.len()));
        }
        if let Some(list) = lists.iter().find(|list| list.class != class) {
            return Err(ChangeError::ClassDiffers { filter: class, list: list.class });
        }
        let mut positions: Vec<u32> =
            lists.iter().flat_map(|list| list.positions.iter().copied()).collect();
        positions.sort_unstable();
        positions.dedup();
        let words = (positions.len() * SECTIONS_PER_POSITION).div_ceil(64);
        let mut changes = Self { class, lists: lists.len(), positions, sieve: vec![0; words] };
        for at in 0..changes.positions.len() {
            if let Some((word, mask)) = changes.section(changes.positions[at]) {
                changes.sieve[word] |= mask;
            }
        }
        Ok(changes)
    }

    /// Where the sieve has the bit of a position's section; `None` without a change, or for a
    /// position beyond the filter.
    fn section(&self, position: u32) -> Option<(usize, u64)> {
        let sections = self.sieve.len() as u64 * 64;
        let section = u64::from(position) * sections / u64::from(self.class.bits());
        (section < sections).then_some(((section / 64) as usize, 1 << (section % 64)))
    }

    /// Whether the class has room for one more list; otherwise the filter is to be rebuilt.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.lists < self.class.change_lists_max()
    }

    /// Whether the changes set this position.
    #[must_use]
    pub fn contains(&self, position: u32) -> bool {
        self.may_contain(position) && self.positions.binary_search(&position).is_ok()
    }

    /// Whether the changes may set this position: `false` is certain, at the price of one access to
    /// memory.
    pub(super) fn may_contain(&self, position: u32) -> bool {
        self.section(position).is_some_and(|(word, mask)| self.sieve[word] & mask != 0)
    }

    /// The positions that the changes set: distinct and ascending.
    #[must_use]
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// Class of the filter that the changes go beside.
    #[must_use]
    pub fn class(&self) -> SizeClass {
        self.class
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, lists, .. } = self;
        f.debug_struct("Changes")
            .field("class", class)
            .field("lists", lists)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng as _;
    use signpost_protocol::OrganizationId;

    use super::*;
    use crate::digests::{Filter, FilterBuilder, FilterError};

    const ORGANIZATION: OrganizationId = OrganizationId([7; 32]);
    const SALT: [u8; 16] = [9; 16];
    const CLASS: SizeClass = SizeClass::SMALLEST;

    fn keying() -> DigestKeying {
        DigestKeying::new(&ORGANIZATION, &SALT)
    }

    fn locators(rng: &mut ChaCha20Rng, count: usize) -> Vec<Locator> {
        let mut draw = || {
            let mut bytes = [0; 32];
            rng.fill_bytes(&mut bytes);
            Locator(bytes)
        };
        (0..count).map(|_| draw()).collect()
    }

    fn list(rng: &mut ChaCha20Rng, count: usize, class: SizeClass) -> ChangeList {
        let new = locators(rng, count);
        ChangeList::build(&new, &keying(), class, rng).unwrap()
    }

    #[test]
    fn exactly_the_positions_are_contained_in_every_class() {
        let mut rng = ChaCha20Rng::seed_from_u64(17);
        for class in [SizeClass::SMALLEST, SizeClass::new(9).unwrap(), SizeClass::LARGEST] {
            assert!(!Changes::none(class).contains(0));
            for count in [1, class.change_lists_max()] {
                let lists: Vec<_> = (0..count).map(|_| list(&mut rng, 3, class)).collect();
                let changes = Changes::merge(class, &lists).unwrap();
                let all: BTreeSet<u32> = changes.positions().iter().copied().collect();
                let around =
                    changes.positions().iter().flat_map(|p| [p.saturating_sub(1), *p, p + 1]);
                for position in around.chain([0, class.bits() - 1, class.bits(), u32::MAX]) {
                    assert_eq!(
                        changes.contains(position),
                        all.contains(&position),
                        "{position} in {class:?}"
                    );
                }
            }
        }
    }

    fn fresh_filter(class: SizeClass, rng: &mut ChaCha20Rng) -> Filter {
        let built = FilterBuilder::new(class, &ORGANIZATION, &SALT).finish(rng);
        Filter::check(Arc::new(built.bytes), class, built.ones).unwrap()
    }

    fn encode(positions: impl IntoIterator<Item = u32>) -> Vec<u8> {
        positions.into_iter().flat_map(u32::to_be_bytes).collect()
    }

    #[test]
    fn changes_make_new_locators_found() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let filter = fresh_filter(CLASS, &mut rng);
        let new = locators(&mut rng, CHANGE_LOCATORS);
        let list = ChangeList::build(&new, &keying(), CLASS, &mut rng).unwrap();
        let other = self::list(&mut rng, 3, CLASS);
        let changes = Changes::merge(CLASS, &[other, list]).unwrap();
        filter.check_changes(&changes).unwrap();
        for locator in &new {
            let key = LocatorKey::new(locator);
            assert!(!filter.may_contain(&key, &keying(), &Changes::none(CLASS)));
            assert!(filter.may_contain(&key, &keying(), &changes));
        }
        let stranger = LocatorKey::new(&locators(&mut rng, 1)[0]);
        assert!(!filter.may_contain(&stranger, &keying(), &changes));
    }

    #[test]
    fn lists_have_one_length_and_survive_encoding() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        for class in [CLASS, SizeClass::new(9).unwrap(), SizeClass::LARGEST] {
            for count in [0, 1, CHANGE_LOCATORS] {
                let list = list(&mut rng, count, class);
                let bytes = list.encode();
                assert_eq!(bytes.len(), CHANGE_BYTES);
                assert_eq!(ChangeList::decode(&bytes, class), Ok(list));
            }
        }
        let many = locators(&mut rng, CHANGE_LOCATORS + 1);
        let refusal = Err(ChangeError::TooManyLocators(CHANGE_LOCATORS + 1));
        assert_eq!(ChangeList::build(&many, &keying(), CLASS, &mut rng), refusal);
    }

    #[test]
    fn malformed_lists_are_refused() {
        let count = CHANGE_POSITIONS as u32;
        let last = CLASS.bits() - 1;
        let decode = |bytes: &[u8]| ChangeList::decode(bytes, CLASS);
        assert!(decode(&encode(0..count)).is_ok());
        assert!(decode(&encode((0..count - 1).chain([last]))).is_ok());

        let out_of_range = ChangeError::OutOfRange { position: last + 1, class: CLASS };
        assert_eq!(decode(&encode((0..count - 1).chain([last + 1]))), Err(out_of_range));
        let duplicate = encode([0].into_iter().chain(0..count - 1));
        assert_eq!(decode(&duplicate), Err(ChangeError::NotAscending));
        let swapped = encode([1, 0].into_iter().chain(2..count));
        assert_eq!(decode(&swapped), Err(ChangeError::NotAscending));
        assert_eq!(decode(&encode((0..count).rev())), Err(ChangeError::NotAscending));

        let bytes = encode(0..count + 1);
        for length in [0, 1, CHANGE_BYTES - 4, CHANGE_BYTES - 1, CHANGE_BYTES + 1, CHANGE_BYTES + 4]
        {
            assert_eq!(decode(&bytes[..length]), Err(ChangeError::WrongLength(length)));
        }
    }

    #[test]
    fn a_full_digest_stays_within_its_class_and_one_beyond_is_refused() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        for number in [0, 1, 4, 8] {
            let class = SizeClass::new(number).unwrap();
            let filter = fresh_filter(class, &mut rng);
            let lists: Vec<ChangeList> =
                (0..class.change_lists_max()).map(|_| list(&mut rng, 64, class)).collect();
            for used in 0..lists.len() {
                assert!(Changes::merge(class, &lists[..used]).unwrap().has_room());
            }
            let changes = Changes::merge(class, &lists).unwrap();
            assert!(!changes.has_room());
            assert_eq!(filter.check_changes(&changes), Ok(()));
        }

        // Four lists too many are 10 % of the smallest filter.
        let filter = fresh_filter(CLASS, &mut rng);
        let lists: Vec<ChangeList> =
            (0..CLASS.change_lists_max() + 4).map(|_| list(&mut rng, 64, CLASS)).collect();
        let changes = Changes::merge(CLASS, &lists).unwrap();
        assert!(matches!(
            filter.check_changes(&changes),
            Err(FilterError::TooManyOnes { max, .. }) if max == CLASS.ones_max()
        ));
    }

    #[test]
    fn bits_set_by_filter_and_changes_are_counted_once() {
        let mut bytes = vec![0_u8; CLASS.bytes()];
        let ones = CLASS.ones_max();
        assert_eq!(ones % 8, 0);
        bytes[..ones as usize / 8].fill(0xff);
        let filter = Filter::check(Arc::new(bytes), CLASS, ones).unwrap();
        let check = |first: u32| {
            let positions = encode(first..first + CHANGE_POSITIONS as u32);
            let list = ChangeList::decode(&positions, CLASS).unwrap();
            filter.check_changes(&Changes::merge(CLASS, &[list]).unwrap())
        };
        assert_eq!(check(0), Ok(()));
        assert_eq!(check(ones - CHANGE_POSITIONS as u32), Ok(()));
        let refusal = FilterError::TooManyOnes { actual: ones + 1, max: ones };
        assert_eq!(check(ones - CHANGE_POSITIONS as u32 + 1), Err(refusal));
    }

    #[test]
    fn too_many_lists_and_foreign_classes_are_refused() {
        let mut rng = ChaCha20Rng::seed_from_u64(4);
        let lists = vec![list(&mut rng, 1, CLASS); CHANGE_LISTS_MAX + 1];
        let merged = Changes::merge(CLASS, &lists[1..]).unwrap();
        assert_eq!(merged.positions().len(), CHANGE_POSITIONS);
        let refusal = Err(ChangeError::TooManyLists(CHANGE_LISTS_MAX + 1));
        assert_eq!(Changes::merge(CLASS, &lists), refusal);

        let other = SizeClass::new(1).unwrap();
        let refusal = Err(ChangeError::ClassDiffers { filter: other, list: CLASS });
        assert_eq!(Changes::merge(other, &lists[..1]), refusal);
        let refusal = Err(FilterError::ClassDiffers { filter: other, changes: CLASS });
        assert_eq!(fresh_filter(other, &mut rng).check_changes(&merged), refusal);
    }

    /// The mean position of a list of one locator and of 64 is the middle of the filter: 768
    /// uniform positions deviate by bits / √12 / √768.
    #[test]
    fn positions_spread_evenly_whatever_the_list_holds() {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let class = SizeClass::new(20).unwrap();
        let sigma = f64::from(class.bits()) / 12_f64.sqrt() / (CHANGE_POSITIONS as f64).sqrt();
        for count in [0, 1, CHANGE_LOCATORS] {
            let positions = list(&mut rng, count, class).positions;
            let sum: f64 = positions.iter().map(|&p| f64::from(p)).sum();
            let off = (sum / CHANGE_POSITIONS as f64 - f64::from(class.bits()) / 2.0).abs();
            assert!(off < 6.0 * sigma, "{count} locators: {} σ off", off / sigma);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..2 * CHANGE_BYTES),
            number in 0_u8..=30,
        ) {
            let _ = ChangeList::decode(&bytes, SizeClass::new(number).unwrap());
        }

        /// Gaps of 32 on average end near the end of the filter: about half of the lists fit.
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(
            gaps in prop::collection::vec(1_u32..=63, CHANGE_POSITIONS),
        ) {
            let positions: Vec<u32> = gaps
                .iter()
                .scan(0, |at, gap| {
                    *at += gap;
                    Some(*at)
                })
                .collect();
            let bytes = encode(positions.iter().copied());
            let in_range = positions.last().is_some_and(|&last| last < CLASS.bits());
            let decoded = ChangeList::decode(&bytes, CLASS);
            prop_assert_eq!(decoded.is_ok(), in_range);
            if let Ok(list) = decoded {
                prop_assert_eq!(list.encode(), bytes);
            }
        }
    }
}
