//! Size classes: the few sizes that a filter can have.
//!
//! A filter sized to its contents would publish how many patients an organization knows, and every
//! rebuild how that changed. With classes a factor √2 apart a size says no more than "between 10,000
//! and 14,000", and costs at most √2 times the space. Everything here is exact integer arithmetic,
//! so that every implementation agrees on every length and bound.

use std::fmt;

use super::changes::{CHANGE_LISTS_MAX, CHANGE_LOCATORS};

/// Filter bits for each locator of capacity. With 12 positions a full filter has 1 - e^-0.5 = 39 %
/// of its bits set and says "maybe" wrongly 0.3935^12 = 1.4 times in 100,000: about 0.09 wrong
/// candidates a locate over the 6,332 organizations of England.
pub const BITS_PER_LOCATOR: u64 = 24;

/// Filter lengths are multiples of this many bits: one 64-byte cache line.
const BITS_MULTIPLE: u64 = 512;

/// Share of bits set in a full filter, in millionths, rounded up: 12 positions in 24 bits a
/// locator set 1 - e^-0.5 = 0.393469 of them.
const FULL_ONES_PER_MILLION: u64 = 393_470;

/// Share of bits set in a fresh filter, in millionths: it stands for 7/8 of the capacity, which
/// sets 1 - e^(-0.5 * 7/8) = 0.354351 of them.
const FRESH_ONES_PER_MILLION: u64 = 354_351;

/// Number of classes.
const CLASSES: usize = 31;

/// Locators that each class has room for: 1024 * √2^i rounded down, by integer square root.
const CAPACITIES: [u32; CLASSES] = {
    let mut capacities = [0; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        // (1024 * √2^i)² = 2^(20 + i); at most 2^50, whose root 2^25 fits.
        capacities[class] = (1_u64 << (20 + class)).isqrt() as u32;
        class += 1;
    }
    capacities
};

/// A filter's size class, 0 to 30: from 1,024 locators (3 KiB) to 33,554,432 (96 MiB).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SizeClass(u8);

impl SizeClass {
    /// The smallest class: a hospice or a practice that has just joined.
    pub const SMALLEST: Self = Self(0);
    /// The largest class. It holds half of England, more than any one organization will; and its
    /// positions, like its bits, are far below 2^32.
    pub const LARGEST: Self = Self(CLASSES as u8 - 1);

    /// The class with this number; `None` above 30.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number <= Self::LARGEST.0 { Some(Self(number)) } else { None }
    }

    /// The smallest class whose fresh filter can stand for `locators` of them; `None` when even
    /// the largest is too small.
    #[must_use]
    pub fn for_locators(locators: u64) -> Option<Self> {
        Self::all().find(|class| locators <= u64::from(class.filled()))
    }

    /// Every class, smallest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=Self::LARGEST.0).map(Self)
    }

    /// The class's number, as the head carries it.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Locators that filter and changes together may stand for: the integer part of
    /// 1024 * √2^number.
    #[must_use]
    pub const fn capacity(self) -> u32 {
        CAPACITIES[self.0 as usize]
    }

    /// Locators, real and decoy, that a fresh filter stands for: exactly this many, always. The
    /// last eighth of the capacity is room for changes.
    #[must_use]
    pub const fn filled(self) -> u32 {
        self.capacity() - self.capacity() / 8
    }

    /// Length of the filter in bits: 24 for each locator of capacity, rounded up to a multiple
    /// of 512.
    #[must_use]
    pub const fn bits(self) -> u32 {
        // At most 24 * 2^25 = 805,306,368.
        (self.capacity() as u64 * BITS_PER_LOCATOR).next_multiple_of(BITS_MULTIPLE) as u32
    }

    /// Length of the filter in bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.bits() as usize / 8
    }

    /// The most bits that may be set in a filter of this class, changes included.
    ///
    /// The expectation for a full class, plus 1.5 √bits. Setting bits at random deviates by
    /// σ = √(e^-0.5 - 1.5 e^-1) √bits = 0.234 √bits, so that is 6.4 σ; change lists, whose
    /// positions are distinct, set up to 15 bits more than random ones would, which in the smallest
    /// class (σ = 37) leaves 6 σ. An honest filter is refused once in a billion; the most that a
    /// dishonest one gains, in the smallest class, is 1.9 wrong "maybe" in 100,000 instead of 1.4.
    #[must_use]
    pub const fn ones_max(self) -> u32 {
        let bits = self.bits() as u64;
        (bits * FULL_ONES_PER_MILLION / 1_000_000 + (9 * bits / 4).isqrt()) as u32
    }

    /// Bits expected to be set in a fresh filter, whatever it holds. A fresh filter far from this
    /// was not filled by the rules.
    #[must_use]
    pub const fn fresh_ones(self) -> u32 {
        (self.bits() as u64 * FRESH_ONES_PER_MILLION / 1_000_000) as u32
    }

    /// Change lists that a fresh filter has room for before it must be rebuilt: 2 in the smallest
    /// class, [`CHANGE_LISTS_MAX`] from capacity 16,384 on. With so many, honest filters stay
    /// under [`ones_max`](Self::ones_max).
    #[must_use]
    pub fn change_lists_max(self) -> usize {
        let room = (self.capacity() - self.filled()) as usize / CHANGE_LOCATORS;
        room.min(CHANGE_LISTS_MAX)
    }
}

impl fmt::Debug for SizeClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SizeClass({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(number: u8) -> SizeClass {
        SizeClass::new(number).unwrap()
    }

    #[test]
    fn lengths_and_bounds_are_pinned() {
        let row = |number| {
            let c = class(number);
            [c.capacity(), c.filled(), c.bits(), c.fresh_ones(), c.ones_max()]
        };
        assert_eq!(row(0), [1_024, 896, 24_576, 8_708, 9_904]);
        assert_eq!(row(1), [1_448, 1_267, 34_816, 12_337, 13_978]);
        assert_eq!(row(2), [2_048, 1_792, 49_152, 17_417, 19_671]);
        assert_eq!(row(29), [23_726_566, 20_760_746, 569_437_696, 201_780_817, 224_092_444]);
        assert_eq!(row(30), [33_554_432, 29_360_128, 805_306_368, 285_361_116, 316_906_462]);
    }

    #[test]
    fn classes_end_at_thirty() {
        assert_eq!(SizeClass::new(30), Some(SizeClass::LARGEST));
        assert_eq!(SizeClass::new(31), None);
        assert_eq!(SizeClass::new(255), None);
        assert_eq!(SizeClass::all().count(), 31);
    }

    #[test]
    fn every_measure_grows_with_the_class_and_stays_in_proportion() {
        for (small, large) in SizeClass::all().zip(SizeClass::all().skip(1)) {
            let growth = f64::from(large.capacity()) / f64::from(small.capacity());
            assert!((growth - 2_f64.sqrt()).abs() < 0.001, "{large:?} grew by {growth}");
            assert!(large.filled() > small.filled());
            assert!(large.bits() > small.bits());
            assert!(large.ones_max() > small.ones_max());
            assert!(large.change_lists_max() >= small.change_lists_max());
        }
        for class in SizeClass::all() {
            assert_eq!(class.bits() % 512, 0);
            assert_eq!(class.bytes() * 8, class.bits() as usize);
            assert!(u64::from(class.bits()) >= u64::from(class.capacity()) * BITS_PER_LOCATOR);
            assert!(class.fresh_ones() < class.ones_max());
            let full = 1.0 - (-0.5_f64).exp();
            let share = f64::from(class.ones_max()) / f64::from(class.bits());
            assert!(share > full && share < full + 0.01, "{class:?} allows {share}");
        }
    }

    #[test]
    fn the_smallest_class_that_fits_is_chosen() {
        assert_eq!(SizeClass::for_locators(0), Some(SizeClass::SMALLEST));
        for class in SizeClass::all() {
            let filled = u64::from(class.filled());
            assert_eq!(SizeClass::for_locators(filled), Some(class));
            assert_eq!(SizeClass::for_locators(filled + 1), SizeClass::new(class.number() + 1));
        }
        assert_eq!(SizeClass::for_locators(u64::MAX), None);
    }

    #[test]
    fn changes_never_exceed_the_capacity() {
        assert_eq!(class(0).change_lists_max(), 2);
        assert_eq!(class(8).change_lists_max(), CHANGE_LISTS_MAX);
        assert_eq!(class(30).change_lists_max(), CHANGE_LISTS_MAX);
        for class in SizeClass::all() {
            let changes = (class.change_lists_max() * CHANGE_LOCATORS) as u32;
            assert!(class.filled() + changes <= class.capacity());
        }
    }
}
