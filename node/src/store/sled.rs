//! The embedded engine of a single node: sled 0.34.7, with the settings under which it is safe.
//!
//! What this file adds to sled, each for a reason found by reading and measuring it:
//!
//! - **A real sync.** On Linux, sled's own flush stops at `sync_file_range(2)`, which neither
//!   writes the new length of a grown file nor empties the cache of the disk; its periodic thread,
//!   which would call fsync, is off here. That survives a killed process, not a power cut. A flush
//!   therefore ends with `fdatasync(2)` on the data file (0.3 ms more, where it was measured).
//! - **No page in a file of its own.** sled moves a page beyond a quarter of a segment to a
//!   separate file, and never syncs it. Segments of 2 MiB and [`VALUE_BYTES_MAX`] keep every leaf
//!   (16 entries before it splits) well below that.
//! - **A lock with a clear error**, and a panic while opening damaged files turned into
//!   [`StoreError::Damaged`].
//! - **No half snapshot in the way.** A snapshot that sled did not finish writing, for a kill or a
//!   full disk, is taken for the newest at the next start, which then fails for ever. It is removed.
//! - **A loss that shows.** At damaged places of its log sled goes back to an earlier state, or
//!   passes over a piece in the middle, and says nothing. The [`tally`](super::tally) shows either.
//!
//! To know when tuning: a batch takes a lock that is shared by all of sled in the process, and a
//! flush holds it while it waits for the disk. So `apply` can wait for one flush. One directory on a local disk, never a network file system.
//!
//! [`VALUE_BYTES_MAX`]: super::VALUE_BYTES_MAX

use std::{
    error::Error,
    fs::File,
    io,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{
    Batch, ROLLED_BACK_KEY, Row, Store, StoreError, Write,
    files::{create_private_directory, lock_directory, sync_directory},
    mark::{Found, MARK_FILE, Mark},
    tally::{TALLY_KEY, Tally, row_hash},
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
/// The directory holds `lock`, `acknowledged` and `data`; its mode is 0700 when it is created here.
/// The last state is flushed when the store is dropped, but only [`Store::flush`] says whether that
/// worked.
pub struct SledStore {
    tree: sled::Tree,
    /// Held while a batch is applied, so that tallies follow each other as the batches do.
    tally: Mutex<Tally>,
    mark: Mark,
    // Fields drop in this order: the engine lets go of its files before the lock is released.
    _database: sled::Db,
    data_file: File,
    directory: PathBuf,
    _lock: File,
}

impl SledStore {
    /// Opens the store in `directory`, creating it when there is none.
    ///
    /// `cache_bytes` bounds sled's page cache, not its whole memory: allow twice as much again.
    ///
    /// Reads every row once, to see whether all are there. When the engine has gone back to an
    /// earlier state that is sound in itself, the row under [`ROLLED_BACK_KEY`] says so.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it open, [`StoreError::Damaged`] when the
    /// files cannot be understood or rows are missing, otherwise what the system said.
    pub fn open(directory: impl AsRef<Path>, cache_bytes: u64) -> Result<Self, StoreError> {
        let directory = directory.as_ref();
        create_private_directory(directory)?;
        let lock = lock_directory(directory)?;
        let data = directory.join("data");
        remove_half_snapshots(&data).map_err(|error| StoreError::from_io(&data, error))?;
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
        let (mark, found) = Mark::open(directory).map_err(io)?;
        let store = Self {
            tree,
            tally: Mutex::new(Tally::default()),
            mark,
            _database: database,
            data_file,
            directory: directory.to_owned(),
            _lock: lock,
        };
        // sled asserts what it expects of its pages, too.
        catch_unwind(AssertUnwindSafe(|| store.check(found)))
            .map_err(|panic| StoreError::damaged(directory, panic_text(panic.as_ref())))??;
        sync_directory(directory).map_err(io)?;
        Ok(store)
    }

    /// Compares the rows with their tally, and the tally with the mark.
    fn check(&self, found: Found) -> Result<(), StoreError> {
        let started = Instant::now();
        let (mut tally, mut sum, mut rows) = (None, 0_u128, 0_u64);
        for row in &self.tree {
            let (key, value) = row.map_err(|error| self.fold(error))?;
            if key == TALLY_KEY {
                tally = Some(value);
            } else {
                (sum, rows) = (sum.wrapping_add(row_hash(&key, &value)), rows + 1);
            }
        }
        tracing::debug!(rows, took = ?started.elapsed(), "every row of the store was read");
        let damaged = |what: &str| Err(StoreError::damaged(&self.directory, what));
        let tally = match tally.map(|bytes| Tally::decode(&bytes)) {
            Some(Some(tally)) if tally.sum == sum => tally,
            Some(_) => {
                return damaged("rows that were written are missing, or are of another time");
            }
            None if matches!(found, Found::Reached(batches) if batches > 0) => {
                return damaged("all that was written is missing");
            }
            // A new store, or one of a version that kept no tally.
            None => Tally { sum, ..Tally::default() },
        };
        let (reached, is_told) = match found {
            Found::Reached(reached) => (reached, true),
            Found::Nothing | Found::Unreadable => (0, false),
        };
        *self.lock_tally() = Tally { batches: tally.batches.max(reached), ..tally };
        if reached > tally.batches || (tally.batches > 0 && !is_told) {
            self.note_rolled_back(tally, reached)?;
        }
        Store::flush(self)?;
        self.mark
            .begin(self.lock_tally().batches)
            .map_err(|error| StoreError::from_io(&self.directory.join(MARK_FILE), error))
    }

    /// Puts down, for the core, that what came after `tally` may be lost.
    fn note_rolled_back(&self, tally: Tally, reached: u64) -> Result<(), StoreError> {
        tracing::error!(
            directory = %self.directory.display(),
            there = tally.batches,
            acknowledged = reached,
            "the store has lost its last writes, or cannot tell: look at the disk; results name this \
             node as restored until what came later was sent again and `signpost confirm-restored`"
        );
        if self.get(ROLLED_BACK_KEY)?.is_some() {
            // What was lost before and not confirmed began earlier.
            return Ok(());
        }
        let mut batch = Batch::new();
        batch.put(ROLLED_BACK_KEY, tally.at.to_be_bytes()).expect("one small row fits a batch");
        self.apply(&batch)
    }

    fn lock_tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
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
            _ if prefix == TALLY_KEY => Bound::Excluded(TALLY_KEY),
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
        if batch.is_empty() {
            return Ok(());
        }
        let mut tally = self.lock_tally();
        let next = tally.after(batch, |key| self.get(key))?;
        let mut writes = sled::Batch::default();
        for write in batch.writes() {
            match write {
                Write::Put { key, value } => writes.insert(key.as_slice(), value.as_slice()),
                Write::Delete { key } => writes.remove(key.as_slice()),
            }
        }
        writes.insert(TALLY_KEY, &next.encode());
        self.tree.apply_batch(writes).map_err(|error| self.fold(error))?;
        *tally = next;
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        // Batches that are applied meanwhile are the next flush's.
        let reached = self.lock_tally().batches;
        self.tree.flush().map_err(|error| self.fold(error))?;
        self.data_file
            .sync_data()
            .and_then(|()| self.mark.raise(reached))
            .map_err(|error| StoreError::from_io(&self.directory, error))
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

/// Removes what sled left of snapshots that it did not finish. They are found again from the log.
fn remove_half_snapshots(data: &Path) -> io::Result<()> {
    if !data.is_dir() {
        return Ok(());
    }
    for entry in data.read_dir()? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(".generating") {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
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

    /// Writes `count` batches of two rows, flushed every one, numbered from `first`.
    fn fill(store: &SledStore, first: u64, count: u64) {
        for n in first..first + count {
            let mut batch = Batch::new();
            for end in [b'a', b'z'] {
                let key = [&[end], &n.to_be_bytes()[..]].concat();
                batch.put(key, n.to_string().repeat(3_000).into_bytes()).unwrap();
            }
            batch.put(b"newest", n.to_be_bytes()).unwrap();
            store.apply(&batch).unwrap();
            store.flush().unwrap();
        }
    }

    fn newest(store: &SledStore) -> Option<u64> {
        store.get(b"newest").unwrap().map(|bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
    }

    fn rolled_back(store: &SledStore) -> bool {
        store.get(ROLLED_BACK_KEY).unwrap().is_some()
    }

    /// A store that was killed, so to speak: a copy of its files while it is open.
    ///
    /// Some 20 KB a batch, so that hundreds of them take several segments.
    fn killed(count: u64) -> tempfile::TempDir {
        let (live, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = SledStore::open(live.path(), CACHE).unwrap();
        fill(&store, 1, count);
        std::fs::create_dir(copy.path().join("data")).unwrap();
        for name in ["acknowledged", "data/db", "data/conf"] {
            std::fs::copy(live.path().join(name), copy.path().join(name)).unwrap();
        }
        copy
    }

    #[test]
    fn an_undamaged_store_is_whole_after_a_kill_and_after_a_clean_end() {
        let directory = killed(200);
        for _ in 0..2 {
            let store = SledStore::open(directory.path(), CACHE).unwrap();
            assert_eq!((newest(&store), rolled_back(&store)), (Some(200), false));
        }
        let store = SledStore::open(directory.path(), CACHE).unwrap();
        fill(&store, 201, 100);
        drop(store);
        let store = SledStore::open(directory.path(), CACHE).unwrap();
        assert_eq!((newest(&store), rolled_back(&store)), (Some(300), false));
    }

    #[test]
    fn a_half_written_snapshot_is_in_nobodys_way() {
        let directory = killed(50);
        let half = directory.path().join("data").join("snap.7FFFFFFFFFFFFFFF.generating");
        std::fs::write(&half, b"half").unwrap();
        let store = SledStore::open(directory.path(), CACHE).unwrap();
        assert_eq!((newest(&store), rolled_back(&store)), (Some(50), false));
        assert!(!half.exists());
        drop(store);
        // A whole one that is damaged is no half one.
        let snapshot = std::fs::read_dir(directory.path().join("data")).unwrap();
        let snapshot = snapshot.map(|entry| entry.unwrap().path());
        let is_snapshot = |path: &PathBuf| path.to_string_lossy().contains("snap.");
        std::fs::write(snapshot.into_iter().find(is_snapshot).unwrap(), b"damaged").unwrap();
        let refusal = SledStore::open(directory.path(), CACHE).unwrap_err();
        assert!(matches!(refusal, StoreError::Damaged { .. }), "{refusal:?}");
    }

    #[test]
    fn damage_is_noticed_wherever_it_is() {
        let whole = killed(400);
        let sound = std::fs::read(whole.path().join("data").join("db")).unwrap();
        let written = sound.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        let (mut refused, mut rolled, mut intact) = (0, 0, 0);
        for step in 0..40 {
            let at = written * step / 40;
            for harm in ["truncated", "zeroed", "flipped"] {
                let directory = tempfile::tempdir().unwrap();
                std::fs::create_dir(directory.path().join("data")).unwrap();
                for name in ["acknowledged", "data/conf"] {
                    std::fs::copy(whole.path().join(name), directory.path().join(name)).unwrap();
                }
                let mut bytes = sound.clone();
                let end = (at + 512).min(written);
                match harm {
                    "truncated" => bytes.truncate(at),
                    "zeroed" => bytes[at..end].fill(0),
                    _ => bytes[at..end].iter_mut().for_each(|byte| *byte ^= 0x55),
                }
                std::fs::write(directory.path().join("data").join("db"), bytes).unwrap();
                match SledStore::open(directory.path(), CACHE) {
                    Ok(store) if rolled_back(&store) => {
                        assert!(newest(&store) < Some(400));
                        rolled += 1;
                        drop(store);
                        let again = SledStore::open(directory.path(), CACHE).unwrap();
                        assert!(rolled_back(&again), "the loss is forgotten");
                    }
                    Ok(store) => {
                        intact += 1;
                        assert_eq!(newest(&store), Some(400), "{harm} at {at}: lost in silence");
                        for end in [b"a", b"z"] {
                            let rows = store.scan(end, None, usize::MAX).unwrap();
                            assert_eq!(rows.len(), 400, "{harm} at {at}: lost in silence");
                        }
                    }
                    Err(StoreError::Damaged { .. }) => refused += 1,
                    Err(error) => panic!("{harm} at {at}: {error:?}"),
                }
            }
        }
        assert!(
            rolled > 20 && refused > 2,
            "{refused} refused, {rolled} rolled back, {intact} intact"
        );
    }

    #[test]
    fn a_store_without_its_data_or_without_its_mark_is_no_whole_store() {
        let directory = killed(10);
        std::fs::remove_file(directory.path().join("acknowledged")).unwrap();
        let store = SledStore::open(directory.path(), CACHE).unwrap();
        assert!(rolled_back(&store), "nobody can say whether it is whole");
        drop(store);
        std::fs::remove_dir_all(directory.path().join("data")).unwrap();
        let refusal = SledStore::open(directory.path(), CACHE).unwrap_err();
        assert!(matches!(refusal, StoreError::Damaged { .. }), "{refusal:?}");
    }
}
