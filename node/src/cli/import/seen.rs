//! Which ids the input has named, and where: a million of them in some 60 MB.

use std::collections::{HashMap, hash_map::Entry};

use signpost_protocol::ContentHash;

use crate::{cli::input::Place, core::local::Effect};

/// The first 16 bytes of SHA-256 of an id: two ids that share one would keep a pointer that should
/// be deleted, and of a million ids no two do (1 in 10^27).
pub(super) type Fingerprint = [u8; 16];

pub(super) fn fingerprint(id: &str) -> Fingerprint {
    let mut fingerprint = [0; 16];
    fingerprint.copy_from_slice(&ContentHash::of(id.as_bytes()).0[..16]);
    fingerprint
}

/// A place without the name of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Position {
    file: u32,
    line: u32,
    entry: u32,
}

/// No line or entry: they count from 0 and 1, and no file of 4 billion lines is read line by line
/// in a night.
const NONE: u32 = u32::MAX;

/// The ids of the input so far.
#[derive(Default)]
pub(super) struct Seen {
    files: Vec<String>,
    ids: HashMap<Fingerprint, (Position, u32)>,
}

/// An id that was named before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Repeat {
    /// Where it was named last.
    pub(super) before: Place,
    /// Whether the text was the same.
    pub(super) same: bool,
}

impl Repeat {
    /// What the later line does after the one before.
    pub(super) const fn effect(&self) -> Effect {
        if self.same { Effect::Unchanged } else { Effect::Updated }
    }
}

impl Seen {
    pub(super) fn position(&mut self, place: &Place) -> Position {
        if self.files.last() != Some(&place.file) {
            self.files.push(place.file.clone());
        }
        let short = |number: Option<u64>| {
            number.map_or(NONE, |number| u32::try_from(number).unwrap_or(NONE - 1))
        };
        Position {
            file: u32::try_from(self.files.len() - 1).unwrap_or(NONE),
            line: short(place.line),
            entry: short(place.entry.map(|entry| entry as u64)),
        }
    }

    /// Notes that `id` was named; says where it was before.
    pub(super) fn note(&mut self, id: &str, place: &Place, text_hash: u32) -> Option<Repeat> {
        let now = (self.position(place), text_hash);
        match self.ids.entry(fingerprint(id)) {
            Entry::Vacant(vacant) => {
                vacant.insert(now);
                None
            }
            Entry::Occupied(mut occupied) => {
                let (position, hash) = occupied.insert(now);
                let long = |number: u32| (number != NONE).then_some(u64::from(number));
                let before = Place {
                    file: self.files.get(position.file as usize).cloned().unwrap_or_default(),
                    line: long(position.line),
                    entry: long(position.entry).map(|entry| entry as usize),
                };
                Some(Repeat { before, same: hash == text_hash })
            }
        }
    }

    /// Whether the input names an id.
    pub(super) fn has(&self, id: &str) -> bool {
        self.ids.contains_key(&fingerprint(id))
    }

    /// How many ids were named.
    pub(super) fn count(&self) -> usize {
        self.ids.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_id_is_told_with_its_last_place() {
        let mut seen = Seen::default();
        let place = |file: &str, line, entry| Place { file: file.to_owned(), line, entry };
        let first = place("a", Some(3), None);
        assert_eq!(seen.note("RX1-1", &first, 7), None);
        assert_eq!(seen.note("RX1-2", &first, 7), None);
        let second = place("b", None, Some(0));
        assert_eq!(seen.note("RX1-1", &second, 7), Some(Repeat { before: first, same: true }));
        let third = place("b", Some(9), Some(1));
        assert_eq!(seen.note("RX1-1", &third, 8), Some(Repeat { before: second, same: false }));
        assert!(seen.has("RX1-2") && !seen.has("RX1-3"));
        assert_eq!(seen.count(), 2);
    }

    #[test]
    fn an_entry_stays_small() {
        let bytes = size_of::<(Fingerprint, (Position, u32))>();
        assert!(bytes <= 32, "{bytes} bytes an id");
    }
}
