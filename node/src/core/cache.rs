//! Locators that were evaluated before, so that the evaluators need not be asked again.
//!
//! Each organization has its own: whether a patient was looked up by one must not show to another
//! in the time that its look-up takes, and its evaluators are to see its look-ups.

use std::collections::HashMap;

use signpost_protocol::{KeyEpoch, Locator, OrganizationId, PatientIdentifier};

/// Patients in the cache, of all organizations together: a large trust's busy day, at about 130
/// bytes each.
pub(super) const CACHED_LOCATORS_MAX: usize = 200_000;
/// Milliseconds that a locator stays: a day (privacy note §5).
pub(super) const CACHED_LOCATOR_LIFE: u64 = 24 * 3_600 * 1_000;

type Key = (OrganizationId, KeyEpoch, PatientIdentifier);

/// Two generations: the young one takes what is new and what is used; when it is full or half a
/// life has passed it becomes the old one, and what was old and never used is forgotten. So a
/// locator lives between half a life and a life after its last use, in constant time and memory.
#[derive(Default)]
pub(super) struct LocatorCache {
    young: HashMap<Key, Locator>,
    old: HashMap<Key, Locator>,
    turned_at: u64,
}

impl LocatorCache {
    /// The locator of `patient`, if `asking` knows it.
    pub(super) fn find(
        &mut self,
        asking: OrganizationId,
        epoch: KeyEpoch,
        patient: &PatientIdentifier,
        uptime: u64,
    ) -> Option<Locator> {
        self.turn(uptime);
        let key = (asking, epoch, *patient);
        if let Some(locator) = self.young.get(&key) {
            return Some(*locator);
        }
        let locator = self.old.remove(&key)?;
        self.young.insert(key, locator);
        Some(locator)
    }

    /// Remembers a locator for `asking`.
    pub(super) fn insert(
        &mut self,
        asking: OrganizationId,
        epoch: KeyEpoch,
        patient: PatientIdentifier,
        locator: Locator,
        uptime: u64,
    ) {
        self.turn(uptime);
        self.young.insert((asking, epoch, patient), locator);
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

    const A: OrganizationId = OrganizationId([1; 32]);
    const B: OrganizationId = OrganizationId([2; 32]);

    fn patients() -> impl Iterator<Item = PatientIdentifier> {
        (999_000_000..)
            .filter_map(|stem| PatientIdentifier::from_stem(IdentifierSystem::NhsNumber, stem))
    }

    #[test]
    fn a_locator_is_found_for_its_epoch_and_forgotten_after_its_life() {
        let mut cache = LocatorCache::default();
        let patient = patients().next().unwrap();
        cache.insert(A, KeyEpoch(1), patient, Locator([1; 32]), 0);
        assert_eq!(cache.find(A, KeyEpoch(1), &patient, 1), Some(Locator([1; 32])));
        assert_eq!(cache.find(A, KeyEpoch(2), &patient, 1), None);
        cache.find(A, KeyEpoch(2), &patient, CACHED_LOCATOR_LIFE / 2);
        assert_eq!(
            cache.find(A, KeyEpoch(1), &patient, CACHED_LOCATOR_LIFE - 1),
            Some(Locator([1; 32]))
        );
        cache.find(A, KeyEpoch(2), &patient, 2 * CACHED_LOCATOR_LIFE);
        assert_eq!(cache.find(A, KeyEpoch(1), &patient, 3 * CACHED_LOCATOR_LIFE), None);
    }

    #[test]
    fn what_one_organization_looked_up_another_does_not_know() {
        let mut cache = LocatorCache::default();
        let patient = patients().next().unwrap();
        cache.insert(A, KeyEpoch(1), patient, Locator([1; 32]), 0);
        assert_eq!(cache.find(B, KeyEpoch(1), &patient, 1), None);
        assert_eq!(cache.find(A, KeyEpoch(1), &patient, 1), Some(Locator([1; 32])));
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut cache = LocatorCache::default();
        for patient in patients().take(CACHED_LOCATORS_MAX + 10) {
            cache.insert(A, KeyEpoch(1), patient, Locator([1; 32]), 0);
        }
        assert!(cache.young.len() + cache.old.len() <= CACHED_LOCATORS_MAX);
    }
}
