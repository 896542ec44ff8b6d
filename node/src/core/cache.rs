//! Locators that were evaluated before, so that the evaluators need not be asked again.

use std::collections::HashMap;

use signpost_protocol::{KeyEpoch, Locator, PatientIdentifier};

/// Patients in the cache: a large trust's busy day, at about 100 bytes each.
pub(super) const CACHED_LOCATORS_MAX: usize = 200_000;
/// Milliseconds that a locator stays: a day (privacy note §5).
pub(super) const CACHED_LOCATOR_LIFE: u64 = 24 * 3_600 * 1_000;

/// Two generations: the young one takes what is new and what is used; when it is full or half a
/// life has passed it becomes the old one, and what was old and never used is forgotten. So a
/// locator lives between half a life and a life after its last use, in constant time and memory.
#[derive(Default)]
pub(super) struct LocatorCache {
    young: HashMap<(KeyEpoch, PatientIdentifier), Locator>,
    old: HashMap<(KeyEpoch, PatientIdentifier), Locator>,
    turned_at: u64,
}

impl LocatorCache {
    /// The locator of `patient`, if it is known.
    pub(super) fn find(
        &mut self,
        epoch: KeyEpoch,
        patient: &PatientIdentifier,
        uptime: u64,
    ) -> Option<Locator> {
        self.turn(uptime);
        let key = (epoch, *patient);
        if let Some(locator) = self.young.get(&key) {
            return Some(*locator);
        }
        let locator = self.old.remove(&key)?;
        self.young.insert(key, locator);
        Some(locator)
    }

    /// Remembers a locator.
    pub(super) fn insert(
        &mut self,
        epoch: KeyEpoch,
        patient: PatientIdentifier,
        locator: Locator,
        uptime: u64,
    ) {
        self.turn(uptime);
        self.young.insert((epoch, patient), locator);
    }

    fn turn(&mut self, uptime: u64) {
        let aged = uptime.saturating_sub(self.turned_at) >= CACHED_LOCATOR_LIFE / 2;
        if aged || self.young.len() >= CACHED_LOCATORS_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
            self.turned_at = uptime;
        }
    }
}

#[cfg(test)]
mod tests {
    use signpost_protocol::IdentifierSystem;

    use super::*;

    fn patients() -> impl Iterator<Item = PatientIdentifier> {
        (999_000_000..)
            .filter_map(|stem| PatientIdentifier::from_stem(IdentifierSystem::NhsNumber, stem))
    }

    #[test]
    fn a_locator_is_found_for_its_epoch_and_forgotten_after_its_life() {
        let mut cache = LocatorCache::default();
        let patient = patients().next().unwrap();
        cache.insert(KeyEpoch(1), patient, Locator([1; 32]), 0);
        assert_eq!(cache.find(KeyEpoch(1), &patient, 1), Some(Locator([1; 32])));
        assert_eq!(cache.find(KeyEpoch(2), &patient, 1), None);
        cache.find(KeyEpoch(2), &patient, CACHED_LOCATOR_LIFE / 2);
        assert_eq!(
            cache.find(KeyEpoch(1), &patient, CACHED_LOCATOR_LIFE - 1),
            Some(Locator([1; 32]))
        );
        cache.find(KeyEpoch(2), &patient, 2 * CACHED_LOCATOR_LIFE);
        assert_eq!(cache.find(KeyEpoch(1), &patient, 3 * CACHED_LOCATOR_LIFE), None);
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut cache = LocatorCache::default();
        for patient in patients().take(CACHED_LOCATORS_MAX + 10) {
            cache.insert(KeyEpoch(1), patient, Locator([1; 32]), 0);
        }
        assert!(cache.young.len() + cache.old.len() <= CACHED_LOCATORS_MAX);
    }
}
