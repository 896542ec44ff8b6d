//! sled's own files: opening them, reading all that is in them, and copying it to fresh ones.
//!
//! sled asserts what it expects of its files and pages; whoever opens damaged ones gets an error here
//! instead of a panic.

use std::{
    error::Error,
    fs::{self, File},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{
    BATCH_KEYS_MAX, StoreError,
    files::sync_directory,
    tally::{TALLY_KEY, Tally, row_hash},
};

/// Bytes of a segment of the data file: see the second point of [`sled`](super::sled). Fixed when
/// the files are created; sled refuses to open them with another value.
const SEGMENT_BYTES: usize = 2 * 1024 * 1024;

/// How long to wait for files that this process has just closed: sled's own threads may hold the
/// data file a moment longer. No other process can, since the lock is ours by then.
const CLOSING_MAX: Duration = Duration::from_secs(5);

/// The files in use.
const DATA: &str = "data";
/// Fresh files while the rows are copied into them.
const FRESH: &str = "data.fresh";
/// Files that were found damaged, kept to be looked at; the newest such.
const DAMAGED: &str = "data.damaged";

/// sled with its files open.
pub(super) struct Engine {
    pub(super) tree: sled::Tree,
    _database: sled::Db,
    data_file: File,
}

/// What all rows say together.
pub(super) struct Contents {
    /// The tally's row, if there is one that can be read.
    pub(super) tally: Option<Option<Tally>>,
    /// What the other rows add up to.
    pub(super) sum: u128,
}

impl Engine {
    /// Opens the files in `directory`, creating them when there are none.
    pub(super) fn open(directory: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let io = |error| StoreError::from_io(directory, error);
        let (data, fresh) = (directory.join(DATA), directory.join(FRESH));
        if fresh.exists() && !data.exists() {
            // Stopped between the two steps of putting whole fresh files in the place of damaged.
            fs::rename(&fresh, &data).map_err(io)?;
        }
        let engine = Self::open_files(directory, &data, cache_bytes)?;
        sync_directory(directory).map_err(io)?;
        Ok(engine)
    }

    fn open_files(directory: &Path, data: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let io = |error| StoreError::from_io(directory, error);
        remove_half_snapshots(data).map_err(io)?;
        let config = sled::Config::new()
            .path(data)
            .mode(sled::Mode::LowSpace)
            .cache_capacity(cache_bytes)
            .segment_size(SEGMENT_BYTES)
            .use_compression(false)
            .flush_every_ms(None);
        let database = open_database(&config, directory)?;
        let tree = database.open_tree("signpost").map_err(|error| fold(directory, error))?;
        database.flush().map_err(|error| fold(directory, error))?;
        // A descriptor of our own also learns of every failed write since now (errseq, fsync(2)).
        let data_file = File::options().write(true).open(data.join("db")).map_err(io)?;
        data_file.sync_all().map_err(io)?;
        sync_directory(data).map_err(io)?;
        Ok(Self { tree, _database: database, data_file })
    }

    /// Reads every row.
    pub(super) fn read_all(&self, directory: &Path) -> Result<Contents, StoreError> {
        let started = Instant::now();
        let mut contents = Contents { tally: None, sum: 0 };
        let mut rows = 0_u64;
        unpanicked(directory, || {
            for row in &self.tree {
                let (key, value) = row.map_err(|error| fold(directory, error))?;
                if key == TALLY_KEY {
                    contents.tally = Some(Tally::decode(&value));
                } else {
                    contents.sum = contents.sum.wrapping_add(row_hash(&key, &value));
                    rows += 1;
                }
            }
            Ok(())
        })?;
        tracing::debug!(rows, took = ?started.elapsed(), "every row of the store was read");
        Ok(contents)
    }

    /// Copies all rows to fresh files and puts those in the place of the damaged, which are kept
    /// aside: what was written over a damaged log might not be found again.
    pub(super) fn copied_afresh(
        self,
        directory: &Path,
        cache_bytes: u64,
    ) -> Result<Self, StoreError> {
        let io = |error| StoreError::from_io(directory, error);
        let [data, fresh, damaged] = [DATA, FRESH, DAMAGED].map(|name| directory.join(name));
        remove(&fresh).map_err(io)?;
        unpanicked(directory, || {
            let copy = Self::open_files(directory, &fresh, cache_bytes)?;
            let mut rows = self.tree.iter();
            loop {
                let mut batch = sled::Batch::default();
                let mut length = 0;
                for row in rows.by_ref().take(BATCH_KEYS_MAX) {
                    let (key, value) = row.map_err(|error| fold(directory, error))?;
                    batch.insert(key, value);
                    length += 1;
                }
                if length == 0 {
                    return copy.flush(directory);
                }
                copy.tree.apply_batch(batch).map_err(|error| fold(directory, error))?;
            }
        })?;
        drop(self);
        remove(&damaged).map_err(io)?;
        fs::rename(&data, &damaged).map_err(io)?;
        fs::rename(&fresh, &data).map_err(io)?;
        Self::open(directory, cache_bytes)
    }

    /// Returns when everything applied before is on disk.
    pub(super) fn flush(&self, directory: &Path) -> Result<(), StoreError> {
        self.tree.flush().map_err(|error| fold(directory, error))?;
        self.data_file.sync_data().map_err(|error| StoreError::from_io(directory, error))
    }
}

fn open_database(config: &sled::Config, directory: &Path) -> Result<sled::Db, StoreError> {
    let deadline = Instant::now() + CLOSING_MAX;
    loop {
        match unpanicked(directory, || Ok(config.open()))? {
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
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn remove(directory: &Path) -> io::Result<()> {
    if directory.exists() { fs::remove_dir_all(directory) } else { Ok(()) }
}

/// sled reports its own file lock only in words.
fn is_still_closing(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.kind() == io::ErrorKind::Other
        && error.to_string().contains("could not acquire lock"))
}

/// Runs what may meet damaged files.
fn unpanicked<T>(
    directory: &Path,
    run: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(run))
        .map_err(|panic| StoreError::damaged(directory, panic_text(panic.as_ref())))?
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> Box<dyn Error + Send + Sync> {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("the engine gave up while opening its files")
        .into()
}

pub(super) fn fold(directory: &Path, error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(error) => StoreError::from_io(directory, error),
        // Corruption, a file of another format, and the engine's own faults alike leave the admin
        // with one thing to do.
        other => StoreError::damaged(directory, other),
    }
}
