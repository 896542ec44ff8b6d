//! The embedded engine of a single node: sled 0.34.7, with the settings under which it is safe.
//!
//! What this file adds to sled, each for a reason found by reading and measuring it:
//!
//! - **A real sync.** On Linux, sled's own flush stops at `sync_file_range(2)`, which neither
//!   writes the new length of a grown file nor empties the cache of the disk; its periodic thread,
//!   which would call fsync, is off here. That survives a killed process, not a power cut. A flush
//!   therefore ends with `fdatasync(2)` on the data file (0.3 ms more, where it was measured); and
//!   when nothing was applied since the last one it does neither, since `fdatasync` empties the
//!   cache of the disk even then. A look-up writes nothing here, only to the disclosure log.
//! - **No page in a file of its own.** sled moves a page beyond a quarter of a segment to a
//!   separate file, and never syncs it. Segments of 2 MiB and [`VALUE_BYTES_MAX`] keep every leaf
//!   (16 entries before it splits) well below that.
//! - **A lock with a clear error**, and a panic while opening damaged files turned into
//!   [`StoreError::Damaged`].
//!
//! To know when tuning: a batch of several writes takes a lock that is shared by all of sled in the
//! process, and a flush holds it while it waits for the disk. So `apply` can wait for one flush; a
//! single write does not. One directory on a local disk, never a network file system.
//!
//! [`VALUE_BYTES_MAX`]: super::VALUE_BYTES_MAX

use std::{
    error::Error,
    fs::File,
    io,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    Batch, Row, Store, StoreError, Write,
    files::{create_private_directory, lock_directory, sync_directory},
};

/// Cache that suits most nodes: 200,000 rows of 344 bytes, written in batches of 100 at random
/// places, peaked at 58 MiB of resident memory; a hospice's whole state fits.
pub const CACHE_BYTES_DEFAULT: u64 = 32 * 1024 * 1024;

/// Bytes of a segment of the data file: see the module's second point. Fixed when the files are
/// created; sled refuses to open them with another value.
const SEGMENT_BYTES: usize = 2 * 1024 * 1024;

/// How long to wait for a store that this process has just closed: sled's own threads may hold the
/// data file a moment longer. No other process can, since the lock is ours by then.
const CLOSING_MAX: Duration = Duration::from_secs(5);

/// A [`Store`] in one directory on a local disk.
///
/// The directory holds `lock` and `data`; its mode is 0700 when it is created here. The last state
/// is flushed when the store is dropped, but only [`Store::flush`] says whether that worked.
pub struct SledStore {
    tree: sled::Tree,
    // Fields drop in this order: the engine lets go of its files before the lock is released.
    _database: sled::Db,
    data_file: File,
    /// Batches applied so far, whatever came of them ...
    applied: AtomicU64,
    /// ... and how many of them the last flush made durable.
    flushed: AtomicU64,
    directory: PathBuf,
    _lock: File,
}

impl SledStore {
    /// Opens the store in `directory`, creating it when there is none.
    ///
    /// `cache_bytes` bounds sled's page cache, not its whole memory: allow twice as much again.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it open, [`StoreError::Damaged`] when the
    /// files cannot be understood, otherwise what the system said.
    pub fn open(directory: impl AsRef<Path>, cache_bytes: u64) -> Result<Self, StoreError> {
        let directory = directory.as_ref();
        create_private_directory(directory)?;
        let lock = lock_directory(directory)?;
        let data = directory.join("data");
        let config = sled::Config::new()
            .path(&data)
            .mode(sled::Mode::LowSpace)
            .cache_capacity(cache_bytes)
            .segment_size(SEGMENT_BYTES)
            .use_compression(false)
            .flush_every_ms(None);
        let database = open_database(&config, directory)?;
        let tree = database.open_tree("signpost").map_err(|error| fold(directory, error))?;
        database.flush().map_err(|error| fold(directory, error))?;
        let io = |error| StoreError::from_io(directory, error);
        // A descriptor of our own also learns of every failed write since now (errseq, fsync(2)).
        let data_file = File::options().write(true).open(data.join("db")).map_err(io)?;
        data_file.sync_all().map_err(io)?;
        sync_directory(&data).map_err(io)?;
        sync_directory(directory).map_err(io)?;
        Ok(Self {
            tree,
            _database: database,
            data_file,
            applied: AtomicU64::new(0),
            flushed: AtomicU64::new(0),
            directory: directory.to_owned(),
            _lock: lock,
        })
    }

    fn fold(&self, error: sled::Error) -> StoreError {
        fold(&self.directory, error)
    }
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.tree.get(key).map_err(|error| self.fold(error))?;
        Ok(value.map(|value| value.to_vec()))
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
        let mut rows = Vec::new();
        for row in self.tree.range::<&[u8], _>((start, Bound::Unbounded)).take(limit) {
            let (key, value) = row.map_err(|error| self.fold(error))?;
            if !key.starts_with(prefix) {
                break;
            }
            rows.push((key.to_vec(), value.to_vec()));
        }
        Ok(rows)
    }

    fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        let applied = match batch.writes() {
            [] => Ok(()),
            // Atomic by itself, six times cheaper than a batch, and free of the process-wide lock.
            [Write::Put { key, value }] => self.tree.insert(key, value.as_slice()).map(drop),
            [Write::Delete { key }] => self.tree.remove(key).map(drop),
            writes => {
                let mut batch = sled::Batch::default();
                for write in writes {
                    match write {
                        Write::Put { key, value } => batch.insert(key.as_slice(), value.as_slice()),
                        Write::Delete { key } => batch.remove(key.as_slice()),
                    }
                }
                self.tree.apply_batch(batch)
            }
        };
        // Also after a failure, of which a part may have been applied.
        self.applied.fetch_add(1, Ordering::SeqCst);
        applied.map_err(|error| self.fold(error))
    }

    fn flush(&self) -> Result<(), StoreError> {
        // Read before the flush begins: what is applied meanwhile may miss it.
        let applied = self.applied.load(Ordering::SeqCst);
        if self.flushed.load(Ordering::SeqCst) >= applied {
            return Ok(());
        }
        self.tree.flush().map_err(|error| self.fold(error))?;
        self.data_file.sync_data().map_err(|error| StoreError::from_io(&self.directory, error))?;
        self.flushed.fetch_max(applied, Ordering::SeqCst);
        Ok(())
    }
}

impl std::fmt::Debug for SledStore {
    /// Where it is, never what it holds.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SledStore({})", self.directory.display())
    }
}

fn open_database(config: &sled::Config, directory: &Path) -> Result<sled::Db, StoreError> {
    let deadline = Instant::now() + CLOSING_MAX;
    loop {
        // sled asserts what it expects of its files; an admin deserves an error instead.
        let opened = catch_unwind(AssertUnwindSafe(|| config.open()))
            .map_err(|panic| StoreError::damaged(directory, panic_text(panic.as_ref())))?;
        match opened {
            Ok(database) => return Ok(database),
            Err(error) if is_still_closing(&error) && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(fold(directory, error)),
        }
    }
}

/// sled reports its own file lock only in words.
fn is_still_closing(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.kind() == io::ErrorKind::Other
        && error.to_string().contains("could not acquire lock"))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> Box<dyn Error + Send + Sync> {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("the engine gave up while opening its files")
        .into()
}

fn fold(directory: &Path, error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(error) => StoreError::from_io(directory, error),
        // Corruption, a file of another format, and the engine's own faults alike leave the admin
        // with one thing to do.
        other => StoreError::damaged(directory, other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{BATCH_KEYS_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};

    const CACHE: u64 = 1024 * 1024;

    #[test]
    fn a_second_opening_is_refused_until_the_first_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let store = SledStore::open(directory.path(), CACHE).unwrap();
        let refusal = SledStore::open(directory.path(), CACHE).unwrap_err();
        assert!(matches!(&refusal, StoreError::Locked { path } if path == directory.path()));
        drop(store);
        SledStore::open(directory.path(), CACHE).unwrap();
    }

    #[test]
    fn only_what_was_applied_is_flushed_and_all_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = SledStore::open(directory.path(), CACHE).unwrap();
        let unflushed = || {
            store
                .applied
                .load(Ordering::SeqCst)
                .saturating_sub(store.flushed.load(Ordering::SeqCst))
        };
        let mut one = Batch::new();
        one.put(*b"a", *b"1").unwrap();
        let mut two = Batch::new();
        two.put(*b"b", *b"2").unwrap();
        two.delete(*b"a").unwrap();
        for batch in [&one, &two] {
            assert_eq!(unflushed(), 0);
            store.flush().unwrap();
            store.apply(batch).unwrap();
            assert_eq!(unflushed(), 1, "a batch that was not flushed counts as flushed");
            store.flush().unwrap();
        }
        // What the engine itself still holds back is in no file that a copy would have.
        let copy = tempfile::tempdir().unwrap();
        std::fs::create_dir(copy.path().join("data")).unwrap();
        for name in ["conf", "db"] {
            let file = Path::new("data").join(name);
            std::fs::copy(directory.path().join(&file), copy.path().join(&file)).unwrap();
        }
        let copy = SledStore::open(copy.path(), CACHE).unwrap();
        assert_eq!(copy.scan(&[], None, 9).unwrap(), [(b"b".to_vec(), b"2".to_vec())]);
    }

    #[test]
    fn the_largest_rows_never_leave_the_data_file() {
        let directory = tempfile::tempdir().unwrap();
        let store = SledStore::open(directory.path(), CACHE).unwrap();
        for n in 0..5_u8 {
            let mut batch = Batch::new();
            for m in 0..BATCH_KEYS_MAX {
                let mut key = vec![u8::try_from(m).unwrap(); KEY_BYTES_MAX];
                key[KEY_BYTES_MAX - 1] = n;
                batch.put(key, vec![n; VALUE_BYTES_MAX]).unwrap();
            }
            store.apply(&batch).unwrap();
            store.flush().unwrap();
        }
        let separate = directory.path().join("data").join("blobs");
        assert_eq!(std::fs::read_dir(separate).unwrap().count(), 0);
        assert_eq!(store.scan(&[], None, usize::MAX).unwrap().len(), 5 * BATCH_KEYS_MAX);
    }

    #[test]
    fn files_of_another_format_are_reported_as_damaged() {
        let directory = tempfile::tempdir().unwrap();
        drop(SledStore::open(directory.path(), CACHE).unwrap());
        let file = directory.path().join("data").join("conf");
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[0] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        let refusal = SledStore::open(directory.path(), CACHE).unwrap_err();
        assert!(matches!(refusal, StoreError::Damaged { .. }), "{refusal:?}");
    }
}
