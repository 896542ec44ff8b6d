//! Durable state behind a narrow, synchronous trait.
//!
//! The core reads a [`Store`] while it decides; what it wants written comes back as an action.
//! The shell carries such an action out at once with [`Store::apply`], which makes the batch
//! visible to the next decision, and hands whatever must wait for the disk (a reply, a gossip
//! message) to the [`Committer`]. That makes a whole group durable with one flush, and only
//! then lets the continuations run: a reply never leaves before the state that it relies on is on
//! disk.
//!
//! The trait is small so that other engines fit behind it: [`SledStore`] for a single node,
//! [`MemoryStore`] for tests and simulations, later a shared engine (PostgreSQL, redb). Which keys
//! exist and what they hold is the business of the core. The [`DisclosureLog`] stands outside: an
//! audit trail is a file that an auditor can read without this program.

mod committer;
#[cfg(test)]
mod conformance;
mod disclosure;
mod engine;
mod files;
mod mark;
mod memory;
mod sled;
mod tally;

use std::{error::Error, io, path::Path, path::PathBuf};

pub(crate) use self::disclosure::{Line, set_torn_tail_aside, walk};
pub use self::{
    committer::{Committer, CommitterStopped, GROUP_MAX, Outcome, QUEUE_MAX},
    disclosure::{
        ASKED_MAX, COMPLETENESS_BYTES_MAX, ChainFault, ChainReport, DisclosureError, DisclosureLog,
        DisclosureRecord, DisclosureRole, Head, LINE_BYTES_MAX, ODS_BYTES_MAX, POINTER_BYTES_MAX,
        POINTERS_MAX, REQUEST_BYTES_MAX, SEGMENT_BYTES_MAX, TOKEN_BYTES_MAX, USER_BYTES_MAX,
        verify,
    },
    memory::MemoryStore,
    sled::{CACHE_BYTES_DEFAULT, SledStore},
};

/// Writes in one [`Batch`]. sled's memory grows far past its cache with large batches of scattered
/// keys (698 MiB at 1,000 keys a batch, 105 MiB at 100 or at single writes, 500,000 rows).
pub const BATCH_KEYS_MAX: usize = 100;

/// Bytes of a key: a tag, two 32-byte hashes and a 64-character identifier fit with room.
pub const KEY_BYTES_MAX: usize = 256;

/// Bytes of a value. A leaf of sled (16 entries when it splits) must stay below its limit for
/// storing a page as a separate file, because it never syncs such files; see [`SledStore`].
/// A signed pointer takes about 1 KiB.
pub const VALUE_BYTES_MAX: usize = 16 * 1024;

/// Where an engine puts down that it went back to an earlier state by itself: since when something
/// may be missing, as milliseconds since 1970 (u64 BE). Whoever uses the store removes it once what
/// is missing was written again.
pub const ROLLED_BACK_KEY: &[u8] = b"r";

/// Key and value as a scan returns them.
pub type Row = (Vec<u8>, Vec<u8>);

/// An ordered map from byte strings to byte strings that survives a crash.
///
/// Reads see every applied batch at once, durable or not. Keys order as byte strings.
pub trait Store: Send + Sync {
    /// The value under `key`, if any.
    ///
    /// # Errors
    /// When the engine cannot read its files.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` rows whose keys begin with `prefix`, strictly after `after`, ascending.
    ///
    /// Fewer than `limit` rows means the end. To go on, pass the last key of the page as `after`;
    /// rows written or deleted between two pages are seen or not according to their place.
    ///
    /// # Errors
    /// When the engine cannot read its files.
    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;

    /// Carries out all writes of the batch or none, in order: the last write to a key wins.
    ///
    /// Visible to reads from any thread on return; durable after the next successful
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    /// When the engine cannot write. What is on disk is then unknown until it is opened again.
    fn apply(&self, batch: &Batch) -> Result<(), StoreError>;

    /// Returns when everything applied before the call is on disk.
    ///
    /// # Errors
    /// When the disk refuses. No later flush may be trusted then: the operating system may have
    /// dropped the unwritten pages and reports that only once. [`Committer`] keeps this rule.
    fn flush(&self) -> Result<(), StoreError>;
}

/// One write of a [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets the value under a key.
    Put {
        /// 1 to [`KEY_BYTES_MAX`] bytes.
        key: Vec<u8>,
        /// At most [`VALUE_BYTES_MAX`] bytes.
        value: Vec<u8>,
    },
    /// Removes a key, whether present or not.
    Delete {
        /// 1 to [`KEY_BYTES_MAX`] bytes.
        key: Vec<u8>,
    },
}

/// Up to [`BATCH_KEYS_MAX`] ordered writes that become visible and durable together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    writes: Vec<Write>,
}

impl Batch {
    /// A batch without writes.
    #[must_use]
    pub const fn new() -> Self {
        Self { writes: Vec::new() }
    }

    /// Adds: set `value` under `key`.
    ///
    /// # Errors
    /// When the batch is full or the key or value breaks its bound; the batch is unchanged.
    pub fn put(
        &mut self,
        key: impl Into<Vec<u8>>,
        value: impl Into<Vec<u8>>,
    ) -> Result<(), BatchError> {
        let (key, value) = (key.into(), value.into());
        if value.len() > VALUE_BYTES_MAX {
            return Err(BatchError::Value { length: value.len() });
        }
        self.room_for(&key)?;
        self.writes.push(Write::Put { key, value });
        Ok(())
    }

    /// Adds: remove `key`.
    ///
    /// # Errors
    /// When the batch is full or the key breaks its bound; the batch is unchanged.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) -> Result<(), BatchError> {
        let key = key.into();
        self.room_for(&key)?;
        self.writes.push(Write::Delete { key });
        Ok(())
    }

    /// Moves all writes of `other` behind those of this batch, leaving `other` empty.
    ///
    /// # Errors
    /// When they do not fit together; both are then unchanged, so the caller can apply them apart.
    pub fn append(&mut self, other: &mut Self) -> Result<(), BatchError> {
        if self.len() + other.len() > BATCH_KEYS_MAX {
            return Err(BatchError::Full);
        }
        self.writes.append(&mut other.writes);
        Ok(())
    }

    /// Number of writes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// The writes in the order in which they were added.
    #[must_use]
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    fn room_for(&self, key: &[u8]) -> Result<(), BatchError> {
        if !(1..=KEY_BYTES_MAX).contains(&key.len()) {
            return Err(BatchError::Key { length: key.len() });
        }
        if self.len() >= BATCH_KEYS_MAX { Err(BatchError::Full) } else { Ok(()) }
    }
}

/// Why a write cannot join a batch: the caller asks for more than the store takes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// Already [`BATCH_KEYS_MAX`] writes.
    #[error("a batch holds at most {BATCH_KEYS_MAX} writes")]
    Full,
    /// Empty or too long a key.
    #[error("a key has 1 to {KEY_BYTES_MAX} bytes, not {length}")]
    Key {
        /// Its bytes.
        length: usize,
    },
    /// Too long a value.
    #[error("a value has at most {VALUE_BYTES_MAX} bytes, not {length}")]
    Value {
        /// Its bytes.
        length: usize,
    },
}

/// Why state cannot be read or made durable, by what the admin should do about it.
///
/// Every one is our own fault, never a peer's. The path is always the directory or file to look at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No space or quota left.
    #[error("the disk is full: free space on {}, then restart the node", path.display())]
    DiskFull {
        /// Where space is needed.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process (or another part of this one) has the directory open.
    #[error(
        "{} is in use by another process: stop that one, or give this node a directory of its own",
        path.display()
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The files do not hold what was written.
    #[error(
        "the files in {} are damaged: move that directory aside, then restore it from a back-up",
        path.display()
    )]
    Damaged {
        /// The directory or file.
        path: PathBuf,
        /// What was found.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The system refuses to read or write, for instance for lack of permission.
    #[error("cannot read or write {}: check its permissions and the health of the disk", path.display())]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl StoreError {
    /// Sorts a failure of the system by what can be done about it.
    pub(crate) fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path, source }
            }
            _ => Self::Io { path, source },
        }
    }

    fn damaged(path: &Path, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Damaged { path: path.to_owned(), source: source.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_takes_its_cap_and_not_one_write_more() {
        let mut batch = Batch::new();
        assert!(batch.is_empty());
        for n in 0..BATCH_KEYS_MAX {
            batch.put([u8::try_from(n).unwrap()], [0]).unwrap();
        }
        let full = batch.clone();
        assert_eq!(batch.put([0], [0]), Err(BatchError::Full));
        assert_eq!(batch.delete([0]), Err(BatchError::Full));
        assert_eq!(batch, full);
    }

    #[test]
    fn two_batches_join_when_they_fit_and_stay_apart_when_not() {
        let batch = |count: usize| {
            let mut batch = Batch::new();
            for n in 0..count {
                batch.delete([u8::try_from(n).unwrap()]).unwrap();
            }
            batch
        };
        let (mut left, mut right) = (batch(BATCH_KEYS_MAX - 1), batch(1));
        left.append(&mut right).unwrap();
        assert_eq!((left.len(), right.len()), (BATCH_KEYS_MAX, 0));

        let mut right = batch(1);
        assert_eq!(left.append(&mut right), Err(BatchError::Full));
        assert_eq!((left.len(), right.len()), (BATCH_KEYS_MAX, 1));
    }

    #[test]
    fn keys_and_values_are_bounded() {
        let mut batch = Batch::new();
        batch.put([1; KEY_BYTES_MAX], [1; VALUE_BYTES_MAX]).unwrap();
        assert_eq!(batch.put([], [1]), Err(BatchError::Key { length: 0 }));
        assert!(matches!(batch.delete([1; KEY_BYTES_MAX + 1]), Err(BatchError::Key { .. })));
        assert!(matches!(batch.put([1], [1; VALUE_BYTES_MAX + 1]), Err(BatchError::Value { .. })));
        assert_eq!(batch.len(), 1);
    }

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        let path = Path::new("somewhere");
        let full = StoreError::from_io(path, io::ErrorKind::StorageFull.into());
        assert!(matches!(full, StoreError::DiskFull { .. }));
        assert!(full.to_string().contains("free space on somewhere"));
        let denied = StoreError::from_io(path, io::ErrorKind::PermissionDenied.into());
        assert!(matches!(denied, StoreError::Io { .. }));
    }
}
