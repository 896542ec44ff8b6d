//! A table bounded as a whole and for each peer, so that one peer cannot take every place.

use std::{collections::HashMap, hash::Hash};

use libp2p::PeerId;

/// The places of one peer.
#[derive(Default)]
struct Places {
    taken: usize,
    /// Whether a refusal was reported since the peer last had no entry.
    reported: bool,
}

/// There is no place for another entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full {
    /// Whether this is the peer's first refusal since it last had no entry: worth one log line.
    pub(super) first: bool,
}

/// Entries by key, each belonging to a peer.
pub(super) struct Bounded<K, V> {
    entries: HashMap<K, (PeerId, V)>,
    places: HashMap<PeerId, Places>,
    per_peer_max: usize,
    total_max: usize,
}

impl<K: Copy + Eq + Hash, V> Bounded<K, V> {
    pub(super) fn new(per_peer_max: usize, total_max: usize) -> Self {
        Self { entries: HashMap::new(), places: HashMap::new(), per_peer_max, total_max }
    }

    /// Whether `peer` may add an entry now.
    ///
    /// # Errors
    /// When its places or all places are taken.
    pub(super) fn check(&mut self, peer: &PeerId) -> Result<(), Full> {
        let total = self.entries.len();
        let Some(places) = self.places.get_mut(peer) else {
            // Others filled the table; nothing is remembered of a peer without entries.
            return if total < self.total_max { Ok(()) } else { Err(Full { first: false }) };
        };
        if total < self.total_max && places.taken < self.per_peer_max {
            return Ok(());
        }
        let first = !std::mem::replace(&mut places.reported, true);
        Err(Full { first })
    }

    /// Adds an entry that [`Self::check`] allowed, under a key not in use.
    pub(super) fn insert(&mut self, peer: PeerId, key: K, value: V) {
        self.entries.insert(key, (peer, value));
        self.places.entry(peer).or_default().taken += 1;
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<(PeerId, V)> {
        let (peer, value) = self.entries.remove(key)?;
        if let Some(places) = self.places.get_mut(&peer) {
            places.taken = places.taken.saturating_sub(1);
            if places.taken == 0 {
                self.places.remove(&peer);
            }
        }
        Some((peer, value))
    }

    /// Removes the entries that `matches` says, of whichever peer.
    pub(super) fn remove_where(
        &mut self,
        matches: impl Fn(&PeerId, &V) -> bool,
    ) -> Vec<(PeerId, V)> {
        let matching = self.entries.iter().filter(|(_, (peer, value))| matches(peer, value));
        let keys: Vec<K> = matching.map(|(key, _)| *key).collect();
        keys.iter().filter_map(|key| self.remove(key)).collect()
    }

    /// The key of the entry that `matches`; the table is small enough to look at each.
    pub(super) fn find(&self, matches: impl Fn(&V) -> bool) -> Option<K> {
        self.entries.iter().find(|(_, (_, value))| matches(value)).map(|(key, _)| *key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_its_places_and_all_peers_together_have_theirs() {
        let (a, b, c) = (PeerId::random(), PeerId::random(), PeerId::random());
        let mut table = Bounded::new(2, 3);
        for key in 0..2 {
            assert_eq!(table.check(&a), Ok(()));
            table.insert(a, key, ());
        }
        assert_eq!(table.check(&a), Err(Full { first: true }));
        assert_eq!(table.check(&a), Err(Full { first: false }), "one report is enough");
        assert_eq!(table.check(&b), Ok(()));
        table.insert(b, 2, ());
        assert_eq!(table.check(&c), Err(Full { first: false }), "the table is full");

        assert_eq!(table.remove(&0), Some((a, ())));
        assert_eq!(table.remove(&0), None);
        assert_eq!(table.check(&a), Ok(()));
        assert_eq!(table.check(&c), Ok(()));
    }

    #[test]
    fn entries_of_one_peer_go_and_others_stay() {
        let (a, b) = (PeerId::random(), PeerId::random());
        let mut table = Bounded::new(2, 4);
        for (peer, key) in [(a, 1), (a, 2), (b, 3)] {
            table.insert(peer, key, key);
        }
        let mut gone = table.remove_where(|peer, _| *peer == a);
        gone.sort_by_key(|(_, key)| *key);
        assert_eq!(gone, [(a, 1), (a, 2)]);
        assert_eq!(table.check(&a), Ok(()));
        assert_eq!(table.remove_where(|peer, key| *peer == b && *key == 2), []);
        assert_eq!(table.remove(&3), Some((b, 3)));
    }

    #[test]
    fn a_peer_without_entries_is_forgotten() {
        let peer = PeerId::random();
        let mut table = Bounded::new(1, 8);
        for key in 0..100 {
            assert_eq!(table.check(&peer), Ok(()));
            table.insert(peer, key, key);
            assert_eq!(table.find(|value| *value == key), Some(key));
            assert_eq!(table.remove(&key), Some((peer, key)));
        }
        assert!(table.places.is_empty() && table.entries.is_empty());
        assert_eq!(table.find(|_| true), None);
    }
}
