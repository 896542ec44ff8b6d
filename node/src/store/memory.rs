//! The store without a disk, for tests and simulations.
//!
//! It keeps the same promises as the engines on disk, including the unpleasant one: what was not
//! flushed may be lost. [`MemoryStore::crash`] makes that happen on demand, so that a simulation
//! can stop a node at any step and find out whether it replied too early.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{Batch, Row, Store, StoreError, Write};

/// A [`Store`] in memory whose unflushed writes can be thrown away.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What each key written since the last flush held at that flush. Bounded by the rows.
    flushed: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns to the state of the last flush, as a machine that loses power would.
    pub fn crash(&self) {
        let mut state = self.state();
        for (key, value) in std::mem::take(&mut state.flushed) {
            match value {
                Some(value) => state.rows.insert(key, value),
                None => state.rows.remove(&key),
            };
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing below panics half-way through a batch, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state().rows.get(key).cloned())
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        Ok(self
            .state()
            .rows
            .range::<[u8], _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        let State { rows, flushed } = &mut *self.state();
        for write in batch.writes() {
            let (key, before) = match write {
                Write::Put { key, value } => (key, rows.insert(key.clone(), value.clone())),
                Write::Delete { key } => (key, rows.remove(key)),
            };
            flushed.entry(key.clone()).or_insert(before);
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.state().flushed.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(store: &MemoryStore, key: u8, value: u8) {
        let mut batch = Batch::new();
        batch.put([key], [value]).unwrap();
        store.apply(&batch).unwrap();
    }

    #[test]
    fn a_crash_loses_what_was_not_flushed_and_nothing_else() {
        let store = MemoryStore::new();
        put(&store, 1, 10);
        put(&store, 2, 20);
        store.flush().unwrap();

        put(&store, 1, 11);
        put(&store, 1, 12);
        put(&store, 3, 30);
        let mut batch = Batch::new();
        batch.delete([2]).unwrap();
        store.apply(&batch).unwrap();
        assert_eq!(store.get(&[1]).unwrap(), Some(vec![12]), "visible before the flush");

        store.crash();
        assert_eq!(
            store.scan(&[], None, 10).unwrap(),
            vec![(vec![1], vec![10]), (vec![2], vec![20])]
        );

        put(&store, 3, 30);
        store.flush().unwrap();
        store.crash();
        assert_eq!(store.get(&[3]).unwrap(), Some(vec![30]), "flushed before the crash");
    }
}
