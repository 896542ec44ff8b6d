//! The disclosure log: who was told what about whom, for what purpose, on whose behalf.
//!
//! It stands outside the store because it answers to other people: an auditor reads it with any
//! text tool, an admin archives it, and it must outlive a damaged or replaced store. Append-only
//! JSON, one object a line:
//!
//! ```json
//! {"n":7,"previous":"<SHA-256 of line 6, without its newline>","record":{...}}
//! ```
//!
//! Segments are bounded by size rather than by month: opening checks the newest two, which must
//! take a moment however busy the month was, and no clock decides where a line goes. A segment is
//! named after its first `n`, so names sort in the order of the chain, and old segments may be
//! archived from the oldest on.
//!
//! How many lines were on disk at the last sync stands in a small file of its own, so that whole
//! lines missing from the end show too.
//!
//! The chain shows that a line was altered, removed or inserted, as long as the lines after it were
//! not rewritten too. Whoever can write the files can rewrite the whole tail; to rule that out,
//! keep the [`Head`] somewhere else from time to time and compare.
//!
//! **No line holds a patient number**: [`DisclosureRecord`] has no field for a subject or a locator.
//! It names pointers and requests, from which the holder alone can tell the patient.

mod chain;
mod record;

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub(crate) use self::chain::{Line, walk};
use self::chain::{segment_name, segments};
pub use self::{
    chain::{ChainFault, ChainReport, Head, LINE_BYTES_MAX, verify},
    record::{
        ASKED_MAX, COMPLETENESS_BYTES_MAX, DisclosureError, DisclosureRecord, DisclosureRole,
        ODS_BYTES_MAX, POINTER_BYTES_MAX, POINTERS_MAX, REQUEST_BYTES_MAX, TOKEN_BYTES_MAX,
        USER_BYTES_MAX,
    },
};
use super::{
    StoreError,
    files::{append_private, create_private_directory, lock_directory, sync_directory},
    mark::{Found, MARK_FILE, Mark},
};

/// Bytes after which a new segment begins: some 25,000 disclosures, checked in about 0.1 s.
pub const SEGMENT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The open log of one directory. All methods may be called from any thread.
#[derive(Debug)]
pub struct DisclosureLog {
    state: Mutex<State>,
    mark: Mark,
    directory: PathBuf,
    segment_bytes_max: u64,
    _lock: File,
}

#[derive(Debug)]
struct State {
    head: Head,
    file: Arc<File>,
    writer: BufWriter<Arc<File>>,
    segment_bytes: u64,
    /// The `n` before which every line of this life is on disk.
    synced: u64,
    /// Set by the first failed write: half a line may be on disk, nothing may follow it.
    failed: bool,
}

impl DisclosureLog {
    /// Opens the log in `directory`, creating it when there is none, and checks its newest end.
    ///
    /// A tail torn by a crash, which was never synced and so never relied on, moves to a file
    /// ending in `.torn`, with a warning.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the chain is broken elsewhere, or ends before a line that was
    /// once synced; [`StoreError::Locked`] when another process has the log open; otherwise what the
    /// system said.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_bounded(directory.as_ref(), SEGMENT_BYTES_MAX)
    }

    fn open_bounded(directory: &Path, segment_bytes_max: u64) -> Result<Self, StoreError> {
        create_private_directory(directory)?;
        let lock = lock_directory(directory)?;
        let io = |error| StoreError::from_io(directory, error);
        let segments = segments(directory).map_err(io)?;
        // The one before the newest says where the newest must begin.
        let newest_two = &segments[segments.len().saturating_sub(2)..];
        let mut head = segments.is_empty().then_some(Head::START);
        let mut segment_bytes = 0;
        for (at, (first, path)) in newest_two.iter().enumerate() {
            let walked =
                walk(path, *first, head).map_err(|error| StoreError::from_io(path, error))?;
            match walked.fault {
                None => {}
                Some(fault) if at + 1 == newest_two.len() && fault.is_torn_tail() => {
                    set_torn_tail_aside(path, walked.sound_bytes)
                        .map_err(|error| StoreError::from_io(path, error))?;
                    tracing::warn!(segment = %path.display(),
                        "the disclosure log ended in a torn line: moved to a .torn file");
                }
                Some(fault) => return Err(StoreError::damaged(path, fault)),
            }
            (head, segment_bytes) = (walked.head, walked.sound_bytes);
        }
        let missing = "the segment before the newest, empty one is missing: the chain cannot go on";
        let head = head.ok_or_else(|| StoreError::damaged(directory, missing))?;
        let newest = segments.last().map(|(_, path)| path.clone());
        let path = newest.unwrap_or_else(|| directory.join(segment_name(0)));
        let mark_failed = |error| StoreError::from_io(&directory.join(MARK_FILE), error);
        let (mark, found) = Mark::open(directory).map_err(mark_failed)?;
        match found {
            Found::Reached(lines) if lines > head.next => {
                let missing = format!("it ends with {} lines, and had {lines}", head.next);
                return Err(StoreError::damaged(&path, missing));
            }
            Found::Unreadable => tracing::warn!(file = %directory.join(MARK_FILE).display(),
                "the number of disclosures cannot be read: whether some are missing is not known"),
            Found::Nothing | Found::Reached(_) => {}
        }
        let file = Arc::new(append_private().open(path).map_err(io)?);
        // An earlier life may have been killed before its last lines were on disk: the mark must not
        // vouch for them before they are.
        file.sync_data().map_err(io)?;
        sync_directory(directory).map_err(io)?;
        mark.begin(head.next).map_err(mark_failed)?;
        let writer = BufWriter::new(file.clone());
        // Nothing that an earlier life did not sync was relied on.
        let synced = head.next;
        let state = State { head, file, writer, segment_bytes, synced, failed: false };
        let directory = directory.to_owned();
        Ok(Self { state: Mutex::new(state), mark, directory, segment_bytes_max, _lock: lock })
    }

    /// Adds a record behind all earlier ones. Durable after the next successful
    /// [`sync`](Self::sync) only; no disclosure may leave before that.
    ///
    /// # Errors
    /// When the record breaks a bound (nothing is written), or when this or an earlier write
    /// failed (the log must then be opened again).
    pub fn append(&self, record: &DisclosureRecord) -> Result<(), DisclosureError> {
        record.check()?;
        let mut state = self.state()?;
        let line = Line { n: state.head.next, previous: &hex::encode(state.head.hash), record };
        let line = serde_json::to_vec(&line).map_err(|error| self.io(error.into()))?;
        let length = line.len() as u64 + 1;
        let full = state.segment_bytes + length > self.segment_bytes_max;
        let written = match full && state.segment_bytes > 0 {
            true => self.begin_segment(&mut state),
            false => Ok(()),
        };
        let written = written
            .and_then(|()| state.writer.write_all(&line))
            .and_then(|()| state.writer.write_all(b"\n"));
        self.note(&mut state, written)?;
        state.segment_bytes += length;
        state.head = Head::behind(state.head.next, &line);
        Ok(())
    }

    /// Returns when every record appended before the call is on disk: at once when there is none
    /// since the last call.
    ///
    /// # Errors
    /// When the system refuses, now or earlier: the log must then be opened again.
    pub fn sync(&self) -> Result<(), StoreError> {
        let mut state = self.state()?;
        let next = state.head.next;
        if state.synced >= next {
            return Ok(());
        }
        let flushed = state.writer.flush();
        self.note(&mut state, flushed)?;
        let file = state.file.clone();
        // Appending goes on while the disk works.
        drop(state);
        let synced = file.sync_data().and_then(|()| self.mark.raise(next));
        let mut state = self.state()?;
        self.note(&mut state, synced)?;
        state.synced = state.synced.max(next);
        Ok(())
    }

    /// Where the chain stands, for keeping elsewhere; includes records not yet synced.
    #[must_use]
    pub fn head(&self) -> Head {
        self.lock().head
    }

    fn begin_segment(&self, state: &mut State) -> io::Result<()> {
        // A later sync reaches the new file only, so the old one must be on disk first.
        state.writer.flush()?;
        state.file.sync_data()?;
        let path = self.directory.join(segment_name(state.head.next));
        let file = Arc::new(append_private().open(path)?);
        sync_directory(&self.directory)?;
        state.writer = BufWriter::new(file.clone());
        state.file = file;
        state.segment_bytes = 0;
        Ok(())
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.lock();
        if state.failed {
            return Err(self.io(io::Error::other("an earlier write to the disclosure log failed")));
        }
        Ok(state)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, state: &mut State, result: io::Result<()>) -> Result<(), StoreError> {
        state.failed |= result.is_err();
        result.map_err(|error| self.io(error))
    }

    fn io(&self, error: io::Error) -> StoreError {
        StoreError::from_io(&self.directory, error)
    }
}

/// Moves what follows the first `sound_bytes` of a segment to its `.torn` file, that file first:
/// a crash in between leaves the tail in both, never in neither.
pub(crate) fn set_torn_tail_aside(segment: &Path, sound_bytes: u64) -> io::Result<()> {
    let mut tail = File::open(segment)?;
    io::Seek::seek(&mut tail, io::SeekFrom::Start(sound_bytes))?;
    let mut name = segment.as_os_str().to_owned();
    name.push(".torn");
    let mut torn = append_private().open(name)?;
    io::copy(&mut tail, &mut torn)?;
    torn.sync_all()?;
    let segment = OpenOptions::new().write(true).open(segment)?;
    segment.set_len(sound_bytes)?;
    segment.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::disclosure::record::tests::record;

    fn fill(directory: &Path, segment_bytes_max: u64, count: usize) -> Head {
        let log = DisclosureLog::open_bounded(directory, segment_bytes_max).unwrap();
        for _ in 0..count {
            log.append(&record()).unwrap();
        }
        log.sync().unwrap();
        log.head()
    }

    fn newest(directory: &Path) -> PathBuf {
        segments(directory).unwrap().pop().unwrap().1
    }

    #[test]
    fn records_follow_one_another_over_segments_and_restarts() {
        let directory = tempfile::tempdir().unwrap();
        for round in 1..=3 {
            let head = fill(directory.path(), 2000, 10);
            assert_eq!(head.next, 10 * round);
            let report = verify(directory.path()).unwrap();
            assert_eq!((report.first, report.head, report.fault), (0, Some(head), None));
        }
        assert!(segments(directory.path()).unwrap().len() > 3);
        let text = fs::read_to_string(newest(directory.path())).unwrap();
        assert!(text.lines().all(|line| line.starts_with("{\"n\":")), "{text}");
    }

    #[test]
    fn every_record_appended_before_a_sync_is_in_the_file_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let log = DisclosureLog::open_bounded(directory.path(), 2000).unwrap();
        let written = || verify(directory.path()).unwrap().head.unwrap().next;
        for round in 0..20 {
            log.sync().unwrap();
            assert_eq!(written(), 2 * round, "what was appended is missing");
            log.append(&record()).unwrap();
            log.append(&record()).unwrap();
        }
        assert!(written() < 40, "what was not synced yet is held back");
        log.sync().unwrap();
        assert_eq!(log.lock().synced, 40);
    }

    #[test]
    fn an_empty_log_is_sound() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(fill(directory.path(), 2000, 0), Head::START);
        assert_eq!(verify(directory.path()).unwrap().head, Some(Head::START));
        assert_eq!(fill(directory.path(), 2000, 1).next, 1);
    }

    #[test]
    fn a_torn_tail_is_set_aside_wherever_it_was_torn() {
        let whole = tempfile::tempdir().unwrap();
        let before = fill(whole.path(), SEGMENT_BYTES_MAX, 3);
        let sound = fs::read(newest(whole.path())).unwrap();
        fill(whole.path(), SEGMENT_BYTES_MAX, 1);
        let longer = fs::read(newest(whole.path())).unwrap();

        for cut in sound.len() + 1..longer.len() {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join(segment_name(0)), &longer[..cut]).unwrap();
            let head = fill(directory.path(), SEGMENT_BYTES_MAX, 0);
            assert_eq!(head, before, "cut at {cut}");
            let torn = fs::read(directory.path().join(segment_name(0) + ".torn")).unwrap();
            assert_eq!(torn, longer[sound.len()..cut]);
            fill(directory.path(), SEGMENT_BYTES_MAX, 1);
            assert_eq!(fs::read(newest(directory.path())).unwrap(), longer, "the chain goes on");
        }
    }

    #[test]
    fn a_tail_of_zeros_left_by_a_power_cut_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let head = fill(directory.path(), SEGMENT_BYTES_MAX, 3);
        let mut file = append_private().open(newest(directory.path())).unwrap();
        file.write_all(&[0; 3 * 4096]).unwrap();
        assert_eq!(fill(directory.path(), SEGMENT_BYTES_MAX, 0), head);
        assert_eq!(verify(directory.path()).unwrap().fault, None);
    }

    #[test]
    fn a_segment_with_nothing_but_a_torn_line_continues_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let head = fill(directory.path(), SEGMENT_BYTES_MAX, 3);
        fs::write(directory.path().join(segment_name(3)), b"{\"n\":3,\"prev").unwrap();
        assert_eq!(fill(directory.path(), SEGMENT_BYTES_MAX, 0), head);
        fill(directory.path(), SEGMENT_BYTES_MAX, 2);
        let report = verify(directory.path()).unwrap();
        assert_eq!((report.head.unwrap().next, report.fault), (5, None));
    }

    #[test]
    fn damage_before_the_tail_is_refused_rather_than_dropped() {
        let directory = tempfile::tempdir().unwrap();
        fill(directory.path(), SEGMENT_BYTES_MAX, 3);
        let path = newest(directory.path());
        let mut bytes = fs::read(&path).unwrap();
        bytes[0] = b'[';
        fs::write(&path, bytes).unwrap();
        let refusal = DisclosureLog::open(directory.path()).unwrap_err();
        assert!(matches!(refusal, StoreError::Damaged { .. }), "{refusal:?}");
    }

    #[test]
    fn whole_lines_missing_from_the_end_are_noticed() {
        let directory = tempfile::tempdir().unwrap();
        fill(directory.path(), SEGMENT_BYTES_MAX, 3);
        let path = newest(directory.path());
        let whole = fs::read_to_string(&path).unwrap();
        let shorter: String = whole.split_inclusive('\n').take(2).collect();
        for damaged in [shorter.as_str(), &whole[..whole.len() - 1], ""] {
            fs::write(&path, damaged).unwrap();
            for _ in 0..2 {
                let refusal = DisclosureLog::open(directory.path()).unwrap_err();
                assert!(matches!(&refusal, StoreError::Damaged { path: p, .. } if *p == path));
            }
        }
        fs::write(&path, &whole).unwrap();
        assert_eq!(fill(directory.path(), SEGMENT_BYTES_MAX, 1).next, 4);
        // A log of an earlier version has no such number; from then on it has one.
        fs::remove_file(directory.path().join(MARK_FILE)).unwrap();
        fs::write(&path, &whole).unwrap();
        assert_eq!(fill(directory.path(), SEGMENT_BYTES_MAX, 0).next, 3);
        fs::write(&path, shorter).unwrap();
        DisclosureLog::open(directory.path()).unwrap_err();
    }

    #[test]
    fn a_chain_whose_last_line_is_missing_cannot_go_on() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(segment_name(3)), b"").unwrap();
        let refusal = DisclosureLog::open(directory.path()).unwrap_err();
        assert!(matches!(refusal, StoreError::Damaged { .. }), "{refusal:?}");
        assert_eq!(verify(directory.path()).unwrap().head, None);
    }

    #[test]
    fn a_log_is_open_once() {
        let directory = tempfile::tempdir().unwrap();
        let log = DisclosureLog::open(directory.path()).unwrap();
        let refusal = DisclosureLog::open(directory.path()).unwrap_err();
        assert!(matches!(refusal, StoreError::Locked { .. }));
        drop(log);
        DisclosureLog::open(directory.path()).unwrap();
    }

    #[test]
    fn a_record_over_its_bounds_leaves_the_log_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let log = DisclosureLog::open(directory.path()).unwrap();
        let oversized = DisclosureRecord { user: "u".repeat(USER_BYTES_MAX + 1), ..record() };
        assert!(matches!(log.append(&oversized), Err(DisclosureError::Record { field: "user" })));
        assert_eq!(log.head(), Head::START);
        log.append(&record()).unwrap();
        assert_eq!(log.head().next, 1);
    }
}
