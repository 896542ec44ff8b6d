//! Files named by the SHA-256 of their bytes: filters and change lists, own and other's.
//!
//! Everything here is a cache. A blob can be fetched again from any peer that has it, or rebuilt
//! from the organization's own pointers; so writes are not forced to disk, and a file that a crash
//! or a failing disk damaged is found out by its hash, removed, and reported as absent.
//!
//! Guarantees that bytes handed out by [`Blobs::map`] are those that the name stands for, and that
//! they stay so while they are held. Left to others: which blobs are wanted, and with that how
//! much disk they take ([`Blobs::retain`]).
//!
//! Calls block on the disk. One owner should call `put` and `retain`, so that what was just
//! put is not cleared away by an older list of what is wanted.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use memmap2::Mmap;
use signpost_protocol::ids::ContentHash;

use super::SharedBytes;

/// Bytes of one answer of [`Blobs::read_range`], whatever is asked for: a peer cannot make the
/// node read a 96 MiB filter into memory at once.
pub const RANGE_BYTES_MAX: usize = 1 << 20;

/// Begins the name of a file that is still being written; no hash in hexadecimal begins so.
const TEMPORARY_PREFIX: &str = "tmp-";

/// Blobs up to this many bytes are read onto the heap: a mapping each for the change lists of all
/// England would pass the number of mappings that Linux allows a process (65,530).
const HEAP_BYTES_MAX: u64 = 64 * 1024;

/// A directory of content-addressed files, each named by its hash in hexadecimal.
#[derive(Debug)]
pub struct Blobs {
    directory: PathBuf,
    temporary_next: AtomicU64,
}

impl Blobs {
    /// Opens the directory, creates it if need be, closes it to other users, and removes what
    /// interrupted writes left behind. One process at a time may have it open.
    ///
    /// # Errors
    /// When the directory cannot be created, closed to others or read.
    pub fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        close_to_other_users(directory)?;
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { directory: directory.to_owned(), temporary_next: AtomicU64::new(0) })
    }

    /// Where the files are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Keeps the bytes under their hash. A file of that name is replaced, which repairs it if it
    /// was damaged.
    ///
    /// The file appears whole or not at all, but is not forced to disk: after a power cut it may
    /// be missing or damaged, and is then fetched or rebuilt.
    ///
    /// # Errors
    /// When the disk fails or is full.
    pub fn put(&self, bytes: &[u8]) -> io::Result<ContentHash> {
        let hash = ContentHash::of(bytes);
        let number = self.temporary_next.fetch_add(1, Ordering::Relaxed);
        let temporary = self.directory.join(format!("{TEMPORARY_PREFIX}{number}"));
        let written =
            fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, self.path(&hash)));
        if written.is_err() {
            // A full disk must not stay full of half a file. The first error says more.
            let _ = fs::remove_file(&temporary);
        }
        written.map(|()| hash)
    }

    /// Maps a blob into memory after checking all of it against its name, once for as long as the
    /// result is held. `None` when it is absent, or was damaged and has been removed.
    ///
    /// # Errors
    /// When the file is there but cannot be read, mapped or removed.
    #[allow(unsafe_code)]
    pub fn map(&self, hash: &ContentHash) -> io::Result<Option<SharedBytes>> {
        let Some(mut file) = self.file(hash)? else { return Ok(None) };
        if file.metadata()?.len() <= HEAP_BYTES_MAX {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            return if ContentHash::of(&bytes) == *hash {
                Ok(Some(Arc::new(bytes)))
            } else {
                self.remove_damaged(hash)
            };
        }
        // SAFETY: a mapping is sound while nobody changes or shortens the file. This module writes
        // a file once, under a temporary name, and never again after renaming it; replacing and
        // removing only unlink the name and leave a mapped file's bytes alone. The directory is the
        // node's own and `open` has closed it to other users.
        let mapped = unsafe { Mmap::map(&file)? };
        if ContentHash::of(&mapped) != *hash {
            return self.remove_damaged(hash);
        }
        Ok(Some(Arc::new(mapped)))
    }

    fn remove_damaged(&self, hash: &ContentHash) -> io::Result<Option<SharedBytes>> {
        match fs::remove_file(self.path(hash)) {
            // Another caller may have seen the damage too.
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(None),
        }
    }

    /// Reads part of a blob, to serve it to a peer: up to `bytes_max` bytes from `offset`, never
    /// more than [`RANGE_BYTES_MAX`], fewer at the end and none beyond it. `None` when it is absent.
    ///
    /// The part is not checked; whoever fetches a blob checks the whole against its name.
    ///
    /// # Errors
    /// When the file is there but cannot be read.
    pub fn read_range(
        &self,
        hash: &ContentHash,
        offset: u64,
        bytes_max: usize,
    ) -> io::Result<Option<Vec<u8>>> {
        let Some(mut file) = self.file(hash)? else { return Ok(None) };
        let mut bytes = Vec::new();
        // Some systems refuse to seek to what is no signed number; nothing is there anyway.
        if offset < file.metadata()?.len() {
            file.seek(SeekFrom::Start(offset))?;
            file.take(bytes_max.min(RANGE_BYTES_MAX) as u64).read_to_end(&mut bytes)?;
        }
        Ok(Some(bytes))
    }

    /// Removes every blob of at least this age that is not wanted and returns how many those were. What is mapped
    /// stays readable until it is dropped; files that are no blobs are left alone.
    ///
    /// # Errors
    /// When the directory cannot be read or a file not removed.
    pub fn retain(&self, wanted: &HashSet<ContentHash>, age_min: Duration) -> io::Result<usize> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let hash = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let unwanted = hash.is_some_and(|hash: ContentHash| !wanted.contains(&hash));
            let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
            if unwanted && age >= age_min {
                fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn file(&self, hash: &ContentHash) -> io::Result<Option<File>> {
        match File::open(self.path(hash)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn path(&self, hash: &ContentHash) -> PathBuf {
        self.directory.join(hash.to_string())
    }
}

#[cfg(unix)]
fn close_to_other_users(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
}

/// Elsewhere the directory takes over the access list of the node's data directory around it.
#[cfg(not(unix))]
fn close_to_other_users(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn blobs() -> (TempDir, Blobs) {
        let directory = TempDir::new().unwrap();
        let blobs = Blobs::open(&directory.path().join("blobs")).unwrap();
        (directory, blobs)
    }

    fn mapped(blobs: &Blobs, hash: &ContentHash) -> Option<Vec<u8>> {
        blobs.map(hash).unwrap().map(|bytes| (*bytes).as_ref().to_vec())
    }

    fn names(blobs: &Blobs) -> HashSet<String> {
        let entries = fs::read_dir(&blobs.directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn what_was_put_is_mapped_also_after_reopening() {
        let (_directory, blobs) = blobs();
        for bytes in [&b""[..], b"a", &[7; 100_000]] {
            let hash = blobs.put(bytes).unwrap();
            assert_eq!(hash, ContentHash::of(bytes));
            assert_eq!(blobs.put(bytes).unwrap(), hash);
            assert_eq!(mapped(&blobs, &hash).unwrap(), bytes);
            let again = Blobs::open(&blobs.directory).unwrap();
            assert_eq!(mapped(&again, &hash).unwrap(), bytes);
        }
        assert_eq!(names(&blobs).len(), 3);
        assert_eq!(mapped(&blobs, &ContentHash::of(b"never put")), None);
    }

    #[test]
    fn damaged_files_are_removed_and_can_be_put_again() {
        let (_directory, blobs) = blobs();
        let hash = blobs.put(b"whole").unwrap();
        for damage in [&b"whola"[..], b"whol", b"whole!", b""] {
            fs::write(blobs.path(&hash), damage).unwrap();
            assert_eq!(mapped(&blobs, &hash), None, "{damage:?} was accepted");
            assert!(names(&blobs).is_empty());
            blobs.put(b"whole").unwrap();
            assert_eq!(mapped(&blobs, &hash).unwrap(), b"whole");
        }
        fs::write(blobs.path(&hash), b"whola").unwrap();
        blobs.put(b"whole").unwrap();
        assert_eq!(mapped(&blobs, &hash).unwrap(), b"whole");
    }

    #[test]
    fn ranges_are_bounded_by_the_file_and_by_the_cap() {
        let (_directory, blobs) = blobs();
        let bytes: Vec<u8> = (0..RANGE_BYTES_MAX + 10).map(|i| (i % 251) as u8).collect();
        let hash = blobs.put(&bytes).unwrap();
        let range = |offset, max| blobs.read_range(&hash, offset, max).unwrap().unwrap();
        assert_eq!(range(3, 5), &bytes[3..8]);
        assert_eq!(range(0, usize::MAX), &bytes[..RANGE_BYTES_MAX]);
        assert_eq!(range(RANGE_BYTES_MAX as u64, 100), &bytes[RANGE_BYTES_MAX..]);
        assert_eq!(range(5, 0), b"");
        for beyond in [bytes.len() as u64, bytes.len() as u64 + 1, u64::MAX] {
            assert_eq!(range(beyond, 100), b"");
        }
        assert_eq!(blobs.read_range(&ContentHash::of(b"never put"), 0, 1).unwrap(), None);
    }

    #[test]
    fn only_unwanted_blobs_are_cleared_and_mapped_ones_stay_readable() {
        let (_directory, blobs) = blobs();
        let kept = blobs.put(b"kept").unwrap();
        let dropped = blobs.put(b"dropped").unwrap();
        fs::write(blobs.directory.join("README"), b"not a blob").unwrap();
        let held = blobs.map(&dropped).unwrap().unwrap();

        assert_eq!(blobs.retain(&HashSet::from([kept]), Duration::ZERO).unwrap(), 1);
        assert_eq!(names(&blobs), HashSet::from(["README".to_owned(), kept.to_string()]));
        assert_eq!(mapped(&blobs, &dropped), None);
        assert_eq!((*held).as_ref(), b"dropped");
        assert_eq!(blobs.retain(&HashSet::from([kept]), Duration::ZERO).unwrap(), 0);
    }

    #[test]
    fn opening_removes_interrupted_writes_only() {
        let (_directory, blobs) = blobs();
        let hash = blobs.put(b"kept").unwrap();
        fs::write(blobs.directory.join(format!("{TEMPORARY_PREFIX}0")), b"half").unwrap();
        let again = Blobs::open(&blobs.directory).unwrap();
        assert_eq!(names(&again), HashSet::from([hash.to_string()]));
    }

    #[cfg(unix)]
    #[test]
    fn the_directory_is_closed_to_other_users() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = TempDir::new().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let blobs = Blobs::open(directory.path()).unwrap();
        let mode = fs::metadata(&blobs.directory).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
