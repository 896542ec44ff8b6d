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
    fs::File,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    Batch, ROLLED_BACK_KEY, Row, Store, StoreError, Write,
    engine::{Contents, Engine, fold},
    files::{create_private_directory, lock_directory},
    mark::{Found, MARK_FILE, Mark},
    tally::{TALLY_KEY, Tally},
};

/// Cache that suits most nodes: 200,000 rows of 344 bytes, written in batches of 100 at random
/// places, peaked at 58 MiB of resident memory; a hospice's whole state fits.
pub const CACHE_BYTES_DEFAULT: u64 = 32 * 1024 * 1024;

/// A [`Store`] in one directory on a local disk.
///
/// The directory holds `lock`, `acknowledged` and `data`; its mode is 0700 when it is created here.
/// The last state is flushed when the store is dropped, but only [`Store::flush`] says whether that
/// worked.
pub struct SledStore {
    // Fields drop in this order: the engine lets go of its files before the lock is released.
    engine: Engine,
    /// Held while a batch is applied, so that tallies follow each other as the batches do.
    tally: Mutex<Tally>,
    mark: Mark,
    /// The batches that the last flush made durable.
    flushed: AtomicU64,
    directory: PathBuf,
    _lock: File,
}

impl SledStore {
    /// Opens the store in `directory`, creating it when there is none.
    ///
    /// `cache_bytes` bounds sled's page cache, not its whole memory: allow twice as much again.
    ///
    /// Reads every row once, to see whether all are there. When the engine has gone back to an
    /// earlier state that is sound in itself, that is copied to fresh files, and the row under
    /// [`ROLLED_BACK_KEY`] says since when something may be missing.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it open, [`StoreError::Damaged`] when the
    /// files cannot be understood or rows are missing, otherwise what the system said.
    pub fn open(directory: impl AsRef<Path>, cache_bytes: u64) -> Result<Self, StoreError> {
        let directory = directory.as_ref();
        create_private_directory(directory)?;
        let lock = lock_directory(directory)?;
        let mut engine = Engine::open(directory, cache_bytes)?;
        let mark_failed = |error| StoreError::from_io(&directory.join(MARK_FILE), error);
        let (mark, found) = Mark::open(directory).map_err(mark_failed)?;
        let (tally, lost) = judge(&engine.read_all(directory)?, found)
            .map_err(|what| StoreError::damaged(directory, what))?;
        if lost {
            tracing::error!(
                directory = %directory.display(), there = tally.batches, acknowledged = ?found,
                "the store has lost its last writes, or cannot tell: look at the disk; results name \
                 this node as restored until what came later was sent again and `signpost \
                 confirm-restored`"
            );
            engine = engine.copied_afresh(directory, cache_bytes)?;
        }
        let reached = match found {
            Found::Reached(reached) => reached.max(tally.batches),
            Found::Nothing | Found::Unreadable => tally.batches,
        };
        let store = Self {
            engine,
            tally: Mutex::new(Tally { batches: reached, ..tally }),
            mark,
            flushed: AtomicU64::new(reached),
            directory: directory.to_owned(),
            _lock: lock,
        };
        if lost {
            // What was lost before and is not confirmed yet began earlier. Written again all the same:
            // the next start must find a tally that has caught up with the mark.
            let since = store.get(ROLLED_BACK_KEY)?;
            let since = since.unwrap_or_else(|| tally.at.to_be_bytes().to_vec());
            let mut batch = Batch::new();
            batch.put(ROLLED_BACK_KEY, since).expect("one small row fits a batch");
            store.apply(&batch)?;
            store.engine.flush(directory)?;
        }
        let batches = store.lock_tally().batches;
        store.mark.begin(batches).map_err(mark_failed)?;
        Ok(store)
    }

    fn lock_tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fold(&self, error: sled::Error) -> StoreError {
        fold(&self.directory, error)
    }
}

/// Compares the rows with their tally, and the tally with the mark: the tally, and whether what came
/// after it may be lost; or what is wrong with rows that do not fit together.
fn judge(contents: &Contents, found: Found) -> Result<(Tally, bool), &'static str> {
    let tally = match contents.tally {
        Some(Some(tally)) if tally.sum == contents.sum => tally,
        Some(_) => return Err("rows that were written are missing, or are of another time"),
        None if matches!(found, Found::Reached(batches) if batches > 0) => {
            return Err("all that was written is missing");
        }
        // A new store, or one of a version that kept no tally.
        None => return Ok((Tally { sum: contents.sum, ..Tally::default() }, false)),
    };
    let lost = match found {
        Found::Reached(reached) => reached > tally.batches,
        // Nobody can say how many there were.
        Found::Nothing | Found::Unreadable => true,
    };
    Ok((tally, lost))
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.engine.tree.get(key).map_err(|error| self.fold(error))?;
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
        for row in self.engine.tree.range::<&[u8], _>((start, Bound::Unbounded)).take(limit) {
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
        self.engine.tree.apply_batch(writes).map_err(|error| self.fold(error))?;
        *tally = next;
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        // Batches that are applied meanwhile are the next flush's.
        let reached = self.lock_tally().batches;
        if self.flushed.load(Ordering::SeqCst) >= reached {
            return Ok(());
        }
        self.engine.flush(&self.directory)?;
        self.flushed.fetch_max(reached, Ordering::SeqCst);
        self.mark
            .raise(reached)
            .map_err(|error| StoreError::from_io(&self.directory.join(MARK_FILE), error))
    }
}

impl std::fmt::Debug for SledStore {
    /// Where it is, never what it holds.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SledStore({})", self.directory.display())
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
        let unflushed = || store.lock_tally().batches - store.flushed.load(Ordering::SeqCst);
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
        std::fs::copy(directory.path().join(MARK_FILE), copy.path().join(MARK_FILE)).unwrap();
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
        let (mut refused, mut holes, mut rolled, mut intact) = (0, 0, 0, 0);
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
                        let there = newest(&store);
                        fill(&store, 1_000, 3);
                        drop(store);
                        let again = SledStore::open(directory.path(), CACHE).unwrap();
                        assert!(rolled_back(&again), "the loss is forgotten");
                        assert_eq!(
                            newest(&again),
                            Some(1_002),
                            "written after {there:?}, and lost"
                        );
                    }
                    Ok(store) => {
                        intact += 1;
                        assert_eq!(newest(&store), Some(400), "{harm} at {at}: lost in silence");
                        for end in [b"a", b"z"] {
                            let rows = store.scan(end, None, usize::MAX).unwrap();
                            assert_eq!(rows.len(), 400, "{harm} at {at}: lost in silence");
                        }
                    }
                    Err(StoreError::Damaged { source, .. }) => {
                        refused += 1;
                        holes += u32::from(source.to_string().contains("are missing"));
                    }
                    Err(error) => panic!("{harm} at {at}: {error:?}"),
                }
            }
        }
        let all = format!(
            "{holes} holes, {refused} refused with them, {rolled} rolled back, {intact} intact"
        );
        assert!(rolled > 5 && refused > 10, "too little was damaged to prove anything: {all}");
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
