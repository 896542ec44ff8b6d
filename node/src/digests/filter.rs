//! The filter itself: built from locators and decoys, checked when it comes from a peer, tested.
//!
//! Bit i of a filter is byte i / 8, mask `0x80 >> (i % 8)`: a hexadecimal dump reads in the order
//! of the positions.
//!
//! A fresh filter stands for exactly [`SizeClass::filled`] locators; those that the organization
//! does not have are random decoys that nobody, its owner included, remembers. Neither its length
//! nor its set bits tell an empty practice from one about to outgrow its class. A filter from a peer
//! is accepted only below [`SizeClass::ones_max`]: one with all bits set would say "maybe" to
//! everything, and its owner would be asked about every patient in the country.
//!
//! Left to others: that the bytes hash to what the signed head names ([`super::blobs`]), and which
//! class the member may use.

use std::fmt;

use rand_core::CryptoRng;
use signpost_protocol::{Locator, OrganizationId};

use super::{
    Changes, DigestKeying, LocatorKey, SharedBytes, SizeClass,
    positions::{ABREAST, POSITIONS, SALT_BYTES, position},
};

/// Why a filter, or its changes, are refused: always the fault of the peer that signed the head.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// The filter does not have the length of its class.
    #[error("filter has {actual} bytes, its class {expected}")]
    WrongLength {
        /// Bytes that the class has.
        expected: usize,
        /// Bytes that came.
        actual: usize,
    },
    /// The head claims another number of set bits than the filter has.
    #[error("filter has {actual} bits set, its head claims {claimed}")]
    OnesDiffer {
        /// Bits set according to the head.
        claimed: u32,
        /// Bits set.
        actual: u32,
    },
    /// More bits are set than a full filter of the class may have.
    #[error("{actual} bits set, where the class allows {max}")]
    TooManyOnes {
        /// Bits set, by changes too where they were part of the check.
        actual: u32,
        /// The most that are accepted.
        max: u32,
    },
    /// The changes were decoded for another class than the filter's.
    #[error("changes are of {changes:?}, the filter of {filter:?}")]
    ClassDiffers {
        /// Class of the filter.
        filter: SizeClass,
        /// Class of the changes.
        changes: SizeClass,
    },
}

/// A locator was inserted into a filter that already stands for all its class may: the caller
/// should have chosen a larger class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fresh filter of {0:?} stands for {filled} locators at most", filled = .0.filled())]
pub struct Overfull(
    /// The class that is too small.
    pub SizeClass,
);

/// A checked filter, ready to be tested. Clones share the bytes.
#[derive(Clone)]
pub struct Filter {
    bytes: SharedBytes,
    class: SizeClass,
    ones: u32,
}

impl Filter {
    /// Accepts the bytes of a filter whose head gives `class` and `claimed_ones`. Reads all of it.
    ///
    /// # Errors
    /// When the length is not the class's, the set bits are not the claimed ones, or more are set
    /// than [`SizeClass::ones_max`]. A claim above that can be refused before fetching.
    pub fn check(
        bytes: SharedBytes,
        class: SizeClass,
        claimed_ones: u32,
    ) -> Result<Self, FilterError> {
        let slice = (*bytes).as_ref();
        let (expected, actual) = (class.bytes(), slice.len());
        if actual != expected {
            return Err(FilterError::WrongLength { expected, actual });
        }
        let ones = count_ones(slice);
        if ones != claimed_ones {
            return Err(FilterError::OnesDiffer { claimed: claimed_ones, actual: ones });
        }
        within_class(ones, class)?;
        Ok(Self { bytes, class, ones })
    }

    /// Accepts changes beside this filter, by an exact count of the bits that both set together.
    ///
    /// # Errors
    /// When the changes are of another class, or together more bits are set than
    /// [`SizeClass::ones_max`].
    pub fn check_changes(&self, changes: &Changes) -> Result<(), FilterError> {
        if changes.class() != self.class {
            return Err(FilterError::ClassDiffers { filter: self.class, changes: changes.class() });
        }
        let added = changes.positions().iter().filter(|&&p| !self.is_set(p)).count();
        // Distinct positions, so the sum is at most the bits of the class.
        within_class(self.ones + added as u32, self.class)
    }

    /// Whether the organization may have pointers for the locator. `false` is certain.
    ///
    /// `changes` have passed [`check_changes`](Self::check_changes) with this filter. Most calls
    /// that end in `false` encrypt one block and read one or two bytes.
    #[must_use]
    pub fn may_contain(
        &self,
        locator: &LocatorKey,
        keying: &DigestKeying,
        changes: &Changes,
    ) -> bool {
        locator.positions(keying, self.class).all(|p| self.is_set(p) || changes.contains(p))
    }

    /// The filter's class.
    #[must_use]
    pub fn class(&self) -> SizeClass {
        self.class
    }

    /// Number of bits set, changes apart.
    #[must_use]
    pub fn ones(&self) -> u32 {
        self.ones
    }

    fn is_set(&self, position: u32) -> bool {
        let byte = (*self.bytes).as_ref().get(position as usize / 8);
        // The length was checked. Should it have changed, "maybe" costs a question, "no" a record.
        byte.is_none_or(|byte| byte & mask(position) != 0)
    }
}

/// Which of many digests say "maybe" to a locator, in their order: for each the same as
/// [`Filter::may_contain`].
///
/// One after the other, nearly every test would wait for memory, since no cache holds the digests of
/// a federation, and the processor could not begin with the next before it knows how this one
/// ends. So the first two positions are read in several digests side by side, whatever is found;
/// only the one in six or so that both fit is tested alone.
#[must_use]
pub fn test_all(locator: &LocatorKey, digests: &[(&Filter, &DigestKeying, &Changes)]) -> Vec<bool> {
    let mut said = Vec::with_capacity(digests.len());
    for digests in digests.chunks(ABREAST) {
        let filters = digests.iter().map(|(filter, keying, _)| (*keying, filter.class));
        let positions = locator.first_positions(filters);
        let mut fits = [false; ABREAST];
        for ((fits, [a, b]), (filter, _, changes)) in fits.iter_mut().zip(positions).zip(digests) {
            let may = |position| filter.is_set(position) | changes.may_contain(position);
            *fits = may(a) & may(b);
        }
        said.extend(fits.iter().zip(digests).map(|(fits, (filter, keying, changes))| {
            *fits && filter.may_contain(locator, keying, changes)
        }));
    }
    said
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, ones, .. } = self;
        f.debug_struct("Filter").field("class", class).field("ones", ones).finish_non_exhaustive()
    }
}

/// Collects an organization's own locators into a fresh filter.
pub struct FilterBuilder {
    bytes: Vec<u8>,
    class: SizeClass,
    keying: DigestKeying,
    locators: u32,
}

impl FilterBuilder {
    /// An empty filter of this class.
    ///
    /// The salt must be fresh for every filter, drawn at random. Under the same salt real locators
    /// keep their bits while decoys change, so that the bits common to two filters would show the
    /// real ones.
    #[must_use]
    pub fn new(class: SizeClass, organization: &OrganizationId, salt: &[u8; SALT_BYTES]) -> Self {
        let keying = DigestKeying::new(organization, salt);
        Self { bytes: vec![0; class.bytes()], class, keying, locators: 0 }
    }

    /// Adds a locator. Each is to be added once: one added twice takes the place of a decoy
    /// without setting bits.
    ///
    /// # Errors
    /// When the filter already stands for [`SizeClass::filled`] locators; it is left as it was.
    pub fn insert(&mut self, locator: &Locator) -> Result<(), Overfull> {
        if self.locators >= self.class.filled() {
            return Err(Overfull(self.class));
        }
        self.locators += 1;
        for position in LocatorKey::new(locator).positions(&self.keying, self.class) {
            set(&mut self.bytes, position);
        }
        Ok(())
    }

    /// Tops the filter up with decoys, so that it stands for exactly [`SizeClass::filled`].
    #[must_use]
    pub fn finish(mut self, rng: &mut impl CryptoRng) -> BuiltFilter {
        // Random positions are what the positions of a random locator look like, without the AES.
        for _ in self.locators..self.class.filled() {
            for _ in 0..POSITIONS {
                set(&mut self.bytes, position(rng.next_u64(), self.class));
            }
        }
        BuiltFilter { ones: count_ones(&self.bytes), bytes: self.bytes, class: self.class }
    }
}

impl fmt::Debug for FilterBuilder {
    /// The class alone: fill and bits would show what the decoys hide.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilterBuilder").field("class", &self.class).finish_non_exhaustive()
    }
}

/// A fresh filter and what its head says of it.
#[derive(Clone, PartialEq, Eq)]
pub struct BuiltFilter {
    /// The filter, [`SizeClass::bytes`] long.
    pub bytes: Vec<u8>,
    /// Number of bits set.
    pub ones: u32,
    /// Its class.
    pub class: SizeClass,
}

impl fmt::Debug for BuiltFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, ones, .. } = self;
        f.debug_struct("BuiltFilter")
            .field("class", class)
            .field("ones", ones)
            .finish_non_exhaustive()
    }
}

/// Number of bits set in at most 512 MiB, more than five times the largest filter.
#[must_use]
pub fn count_ones(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<8>();
    let words: u32 = words.iter().map(|word| u64::from_ne_bytes(*word).count_ones()).sum();
    words + rest.iter().map(|byte| byte.count_ones()).sum::<u32>()
}

fn within_class(ones: u32, class: SizeClass) -> Result<(), FilterError> {
    let max = class.ones_max();
    if ones > max { Err(FilterError::TooManyOnes { actual: ones, max }) } else { Ok(()) }
}

const fn mask(position: u32) -> u8 {
    0x80 >> (position % 8)
}

/// `position` comes from [`position`], which stays below the class's bits.
fn set(bytes: &mut [u8], position: u32) {
    bytes[position as usize / 8] |= mask(position);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng as _;

    use super::*;
    use crate::digests::{ChangeList, changes::CHANGE_LOCATORS};

    const ORGANIZATION: OrganizationId = OrganizationId([7; 32]);
    const SALT: [u8; SALT_BYTES] = [9; SALT_BYTES];
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

    fn build(class: SizeClass, locators: &[Locator], rng: &mut ChaCha20Rng) -> BuiltFilter {
        let mut builder = FilterBuilder::new(class, &ORGANIZATION, &SALT);
        locators.iter().for_each(|locator| builder.insert(locator).unwrap());
        builder.finish(rng)
    }

    fn checked(built: BuiltFilter) -> Filter {
        Filter::check(Arc::new(built.bytes), built.class, built.ones).unwrap()
    }

    #[test]
    fn tested_together_digests_say_what_each_says_alone() {
        let mut rng = ChaCha20Rng::seed_from_u64(23);
        let held = locators(&mut rng, 60);
        // More than are tested side by side, of different classes, some with changes.
        let digests: Vec<_> = (0..ABREAST * 2 + 3)
            .map(|n| {
                let class = SizeClass::new((n % 3) as u8).unwrap();
                let keying = DigestKeying::new(&OrganizationId([n as u8; 32]), &SALT);
                let mut built = FilterBuilder::new(class, &OrganizationId([n as u8; 32]), &SALT);
                held[..n].iter().for_each(|locator| built.insert(locator).unwrap());
                let filter = checked(built.finish(&mut rng));
                let list = ChangeList::build(&held[n..n + 5], &keying, class, &mut rng).unwrap();
                let lists = if n % 2 == 0 { vec![list] } else { Vec::new() };
                (filter, keying, Changes::merge(class, &lists).unwrap())
            })
            .collect();
        let tests: Vec<_> = digests.iter().map(|(f, k, c)| (f, k, c)).collect();
        let mut maybe = 0;
        for locator in held.into_iter().chain(locators(&mut rng, 500)) {
            let key = LocatorKey::new(&locator);
            let alone: Vec<_> = tests.iter().map(|(f, k, c)| f.may_contain(&key, k, c)).collect();
            let together = test_all(&key, &tests);
            assert_eq!(together, alone);
            maybe += together.into_iter().filter(|maybe| *maybe).count();
        }
        assert!(maybe > 500 && test_all(&LocatorKey::new(&Locator([0; 32])), &[]).is_empty());
    }

    /// σ of the bits set at random in a filter: see [`SizeClass::ones_max`].
    fn sigma(class: SizeClass) -> f64 {
        0.234 * f64::from(class.bits()).sqrt()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_was_inserted_is_found(seed: u64, count in 0_usize..=896, number in 0_u8..6) {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let class = SizeClass::new(number).unwrap();
            let own = locators(&mut rng, count);
            let filter = checked(build(class, &own, &mut rng));
            let none = Changes::none(class);
            for locator in &own {
                prop_assert!(filter.may_contain(&LocatorKey::new(locator), &keying(), &none));
            }
        }

        #[test]
        fn no_bytes_make_the_check_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..4_000),
            number in 0_u8..=30,
            claimed: u32,
        ) {
            let class = SizeClass::new(number).unwrap();
            prop_assert!(Filter::check(Arc::new(bytes), class, claimed).is_err());
        }

        #[test]
        fn bytes_of_the_right_length_are_judged_by_their_ones(
            bytes in prop::collection::vec(any::<u8>(), CLASS.bytes()),
            keep: u8,
        ) {
            let bytes: Vec<u8> = bytes.into_iter().map(|byte| byte & keep).collect();
            let ones = bytes.iter().map(|byte| byte.count_ones()).sum();
            let accepted = Filter::check(Arc::new(bytes), CLASS, ones).is_ok();
            prop_assert_eq!(accepted, ones <= CLASS.ones_max());
        }
    }

    /// A full class expects 1.4 false "maybe" in 100,000 probes, and each probed position set in
    /// 39.3 % of cases.
    #[test]
    fn a_full_class_says_maybe_wrongly_as_rarely_as_designed() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let own = locators(&mut rng, CLASS.filled() as usize);
        let filter = checked(build(CLASS, &own, &mut rng));
        let lists: Vec<ChangeList> = (0..CLASS.change_lists_max())
            .map(|_| {
                let new = locators(&mut rng, CHANGE_LOCATORS);
                ChangeList::build(&new, &keying(), CLASS, &mut rng).unwrap()
            })
            .collect();
        let changes = Changes::merge(CLASS, &lists).unwrap();
        filter.check_changes(&changes).unwrap();

        let probes = 100_000;
        let (mut wrong, mut positions_set) = (0, 0);
        for locator in locators(&mut rng, probes) {
            let key = LocatorKey::new(&locator);
            wrong += usize::from(filter.may_contain(&key, &keying(), &changes));
            let is_set = |&p: &u32| filter.is_set(p) || changes.contains(p);
            positions_set += key.positions(&keying(), CLASS).filter(is_set).count();
        }
        assert!(wrong < 10, "{wrong} of {probes} probes");
        let share = positions_set as f64 / (probes * POSITIONS) as f64;
        assert!((share - 0.3935).abs() < 0.01, "{share} of the probed positions are set");
    }

    #[test]
    fn set_bits_do_not_show_how_many_locators_are_real() {
        for number in [0, 1, 7] {
            let class = SizeClass::new(number).unwrap();
            let mut rng = ChaCha20Rng::seed_from_u64(u64::from(number));
            for count in [0, 1, class.filled() as usize] {
                let own = locators(&mut rng, count);
                let ones = f64::from(build(class, &own, &mut rng).ones);
                let off = (ones - f64::from(class.fresh_ones())).abs() / sigma(class);
                assert!(off < 6.0, "{count} locators in {class:?}: {ones} ones, {off} σ off");
            }
        }
    }

    #[test]
    fn a_locator_too_many_is_refused() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let own = locators(&mut rng, CLASS.filled() as usize + 1);
        let mut builder = FilterBuilder::new(CLASS, &ORGANIZATION, &SALT);
        let (last, fitting) = own.split_last().unwrap();
        for locator in fitting {
            builder.insert(locator).unwrap();
        }
        assert_eq!(builder.insert(last), Err(Overfull(CLASS)));
        assert_eq!(builder.finish(&mut rng), build(CLASS, fitting, &mut rng));
    }

    #[test]
    fn decoys_differ_from_filter_to_filter() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        assert_ne!(build(CLASS, &[], &mut rng).bytes, build(CLASS, &[], &mut rng).bytes);
    }

    #[test]
    fn bits_are_numbered_from_the_left() {
        let mut bytes = [0; 3];
        [0, 9, 23].into_iter().for_each(|position| set(&mut bytes, position));
        assert_eq!(bytes, [0x80, 0x40, 0x01]);
        assert_eq!(count_ones(&bytes), 3);
        assert_eq!(count_ones(&[0xff; 19]), 152);
    }

    #[test]
    fn filters_with_too_many_ones_are_refused() {
        let mut bytes = vec![0; CLASS.bytes()];
        (0..CLASS.ones_max()).for_each(|position| set(&mut bytes, position));
        assert!(Filter::check(Arc::new(bytes.clone()), CLASS, CLASS.ones_max()).is_ok());

        set(&mut bytes, CLASS.ones_max());
        let actual = CLASS.ones_max() + 1;
        let refusal = FilterError::TooManyOnes { actual, max: CLASS.ones_max() };
        assert_eq!(Filter::check(Arc::new(bytes), CLASS, actual).unwrap_err(), refusal);

        let all = Arc::new(vec![0xff; CLASS.bytes()]);
        let refusal = FilterError::TooManyOnes { actual: CLASS.bits(), max: CLASS.ones_max() };
        assert_eq!(Filter::check(all, CLASS, CLASS.bits()).unwrap_err(), refusal);
    }

    #[test]
    fn wrong_lengths_and_wrong_claims_are_refused() {
        let built = build(CLASS, &[], &mut ChaCha20Rng::seed_from_u64(4));
        let check = |bytes: &[u8], ones| Filter::check(Arc::new(bytes.to_vec()), CLASS, ones);
        assert!(check(&built.bytes, built.ones).is_ok());

        let expected = CLASS.bytes();
        let long = [&built.bytes[..], &[0]].concat();
        for bytes in [&built.bytes[1..], &long, &[]] {
            let refusal = FilterError::WrongLength { expected, actual: bytes.len() };
            assert_eq!(check(bytes, count_ones(bytes)).unwrap_err(), refusal);
        }
        for claimed in [built.ones - 1, built.ones + 1, 0, u32::MAX] {
            let refusal = FilterError::OnesDiffer { claimed, actual: built.ones };
            assert_eq!(check(&built.bytes, claimed).unwrap_err(), refusal);
        }
    }
}
