//! Building an own filter from the store, and comparing one with it.
//!
//! Pure, but long for a large organization: shells run it away from the core's thread.

use std::collections::BTreeSet;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use signpost_protocol::{KeyEpoch, Locator, OrganizationId, limits};

use super::rows::{self, LISTED, RowError};
use crate::{
    digests::{
        BuiltFilter, Changes, DigestKeying, Filter, FilterBuilder, LocatorKey, SizeClass,
        changes::CHANGE_LOCATORS,
    },
    store::Store,
};

/// Index rows read at once.
const PAGE_ROWS: usize = 1_000;

/// What a new filter is built from.
pub struct FilterBuild {
    /// For whom.
    pub organization: OrganizationId,
    /// From locators of which key epoch.
    pub key_epoch: KeyEpoch,
    /// The largest class allowed.
    pub class_max: u8,
    /// Fresh, for the positions.
    pub salt: [u8; 16],
    /// Fresh, for the decoys.
    pub seed: [u8; 32],
}

/// An own filter together with all that is needed to test it.
pub struct FilterJob {
    /// For whom.
    pub organization: OrganizationId,
    /// Locators of which key epoch.
    pub key_epoch: KeyEpoch,
    /// The filter as advertised.
    pub digest: Filter,
    /// Its keying.
    pub keying: DigestKeying,
    /// Its changes.
    pub changes: Changes,
}

/// Builds a filter of all listed locators.
///
/// # Errors
/// A sentence: the store failed, or there are more patients than the largest class holds.
pub fn build_filter(build: &FilterBuild, store: &dyn Store) -> Result<BuiltFilter, String> {
    let FilterBuild { organization, key_epoch, class_max, salt, seed } = build;
    let text = |error: RowError| error.to_string();
    let mut count = 0_u64;
    each_listed(store, organization, *key_epoch, |_| count += 1).map_err(text)?;
    // Pointers arrive while we read: a little room, so that the second pass finds it too.
    let class = SizeClass::for_locators(count + count / 64 + 16)
        .filter(|class| class.number() <= *class_max)
        .ok_or_else(|| {
            format!(
                "{count} patients are more than size class {class_max}, which the roster allows, \
                 holds: ask the stewards for a larger class"
            )
        })?;
    let mut builder = FilterBuilder::new(class, organization, salt);
    let mut overfull = None;
    each_listed(store, organization, *key_epoch, |locator| {
        overfull = overfull.take().or(builder.insert(&locator).err());
    })
    .map_err(text)?;
    if let Some(overfull) = overfull {
        return Err(format!("pointers arrived faster than the filter was built: {overfull}"));
    }
    Ok(builder.finish(&mut ChaCha20Rng::from_seed(*seed)))
}

/// Listed locators that a digest does not find; stops at more than change lists can hold.
///
/// # Errors
/// A sentence: the store failed.
pub fn audit_filter(job: &FilterJob, store: &dyn Store) -> Result<Vec<Locator>, String> {
    let mut missing = BTreeSet::new();
    each_listed(store, &job.organization, job.key_epoch, |locator| {
        let enough = missing.len() > CHANGE_LOCATORS * limits::CHANGE_LISTS_MAX;
        let key = LocatorKey::new(&locator);
        if !enough && !job.digest.may_contain(&key, &job.keying, &job.changes) {
            missing.insert(locator);
        }
    })
    .map_err(|error| error.to_string())?;
    Ok(missing.into_iter().collect())
}

/// Visits every locator with a listed pointer once: rows of one patient are neighbours.
fn each_listed(
    store: &dyn Store,
    organization: &OrganizationId,
    key_epoch: KeyEpoch,
    mut visit: impl FnMut(Locator),
) -> Result<(), RowError> {
    let prefix = rows::index_epoch_prefix(organization, key_epoch);
    let mut after: Option<Vec<u8>> = None;
    let mut last = None;
    loop {
        let page = store.scan(&prefix, after.as_deref(), PAGE_ROWS)?;
        let Some((key, _)) = page.last() else { return Ok(()) };
        after = Some(key.clone());
        for (key, listed) in &page {
            let locator = rows::index_locator(key)?;
            if listed.as_slice() == LISTED && last != Some(locator) {
                last = Some(locator);
                visit(locator);
            }
        }
    }
}
