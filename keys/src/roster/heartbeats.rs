//! The heartbeats that are kept: what shows when a steward was last heard of, and what first bore
//! witness to each decision.

use std::collections::BTreeMap;

use signpost_protocol::{ContentHash, Timestamp, roster::Heartbeat};

use crate::verified::Verified;

/// One heartbeat, by when it was signed and its name.
type Beat = (Timestamp, ContentHash);

/// The heartbeats that one key of a steward has signed.
///
/// Kept are the newest, and for each decided proposal the first that bears witness to it and a second.
/// Which these are does not depend on the order in which they came, and whatever a thief of the key
/// signs, there are no more than two for each decision.
#[derive(Clone, Debug, Default)]
pub(super) struct Heartbeats {
    kept: BTreeMap<ContentHash, Verified<Heartbeat>>,
    newest: Option<Beat>,
    first: BTreeMap<ContentHash, Beat>,
    second: BTreeMap<ContentHash, Beat>,
    /// In how many of the above each is named.
    uses: BTreeMap<ContentHash, usize>,
}

/// Which heartbeat is kept beside the first that bears witness to a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Second {
    /// The first of this instant or later, which shows that the decision was settled. Nothing that is
    /// signed later, with a key that was stolen since, can take its place.
    From(Timestamp),
    /// The last, which shows that the reset of a root took effect.
    Last,
}

impl Heartbeats {
    /// Takes up a heartbeat. `second` says of a decided proposal what is to be kept beside the first.
    /// Returns the names of those that are not needed any more, among them perhaps the new one's.
    pub(super) fn add(
        &mut self,
        beat: Verified<Heartbeat>,
        second: impl Fn(&ContentHash) -> Option<Second>,
    ) -> Vec<ContentHash> {
        let this = (beat.issued, beat.hash());
        let mut replaced = Vec::new();
        let witnessed: Vec<_> =
            beat.witnessed.iter().filter_map(|id| Some((*id, second(id)?))).collect();
        self.kept.insert(this.1, beat);
        *self.uses.entry(this.1).or_default() += 1;
        replaced.push(this);
        let mut take = |uses: &mut BTreeMap<ContentHash, usize>, place: Option<Beat>| {
            *uses.entry(this.1).or_default() += 1;
            replaced.extend(place);
        };
        if self.newest.is_none_or(|newest| newest < this) {
            take(&mut self.uses, self.newest.replace(this));
        }
        for (id, second) in witnessed {
            if self.first.get(&id).is_none_or(|first| this < *first) {
                take(&mut self.uses, self.first.insert(id, this));
            }
            let known = self.second.get(&id);
            let is_second = match second {
                Second::From(instant) => instant <= this.0 && known.is_none_or(|k| this < *k),
                Second::Last => known.is_none_or(|known| *known < this),
            };
            if is_second {
                take(&mut self.uses, self.second.insert(id, this));
            }
        }
        let mut dropped = Vec::new();
        for (_, hash) in replaced {
            let Some(uses) = self.uses.get_mut(&hash) else { continue };
            *uses -= 1;
            if *uses == 0 {
                self.uses.remove(&hash);
                self.kept.remove(&hash);
                dropped.push(hash);
            }
        }
        dropped
    }

    pub(super) fn get(&self, hash: &ContentHash) -> Option<&Verified<Heartbeat>> {
        self.kept.get(hash)
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Verified<Heartbeat>> {
        self.kept.values()
    }

    /// When the newest was signed.
    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.newest.map(|(issued, _)| issued)
    }

    /// When witness was first borne to a proposal, and for the second time, if at all.
    pub(super) fn witness(&self, id: &ContentHash) -> Option<(Timestamp, Timestamp)> {
        let first = self.first.get(id)?.0;
        Some((first, self.second.get(id).map_or(first, |second| second.0)))
    }
}
