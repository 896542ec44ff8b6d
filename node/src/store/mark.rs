//! A number that only grows, in a small file beside what it counts: how far everything was on disk.
//!
//! Whatever keeps acknowledged state here can come back with less than it had: an engine that finds
//! the end of its file damaged takes what comes before for the whole, and a log that lost whole
//! lines looks like a shorter log. Neither can tell by itself. So after each successful flush the
//! number of what is on disk is put down here, in another file, and compared at the next start.
//!
//! **No sync of its own.** The number is written after the flush that it speaks of and never synced,
//! so it costs a 24-byte write to a page in memory and no wait for the disk. It survives a killed
//! process; after a power cut it may be old, and then vouches for less: it never claims more than
//! was on disk. What it cannot notice is a loss of what was acknowledged in the last seconds before
//! a power cut, by a disk that lies about its syncs.
//!
//! Two places are written in turn, so that a write cut short leaves the other.

use std::{
    fs::{File, OpenOptions},
    io,
    path::Path,
    sync::{Mutex, PoisonError},
};

use sha2::{Digest as _, Sha256};

/// Name of the file.
pub(super) const MARK_FILE: &str = "acknowledged";
/// Bytes of a place: the number, and the beginning of its SHA-256.
const PLACE_BYTES: usize = 24;
const PLACES: usize = 2;

/// What the file said when it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There was none, or an empty one.
    Nothing,
    /// There is one, and no place in it holds a number with its sum.
    Unreadable,
    /// So much was on disk.
    Reached(u64),
}

/// The open file.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    /// The number last put down, and the place for the next.
    last: Mutex<(u64, usize)>,
}

impl Mark {
    /// Opens the file in `directory`, or makes it; puts nothing down.
    pub(super) fn open(directory: &Path) -> io::Result<(Self, Found)> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(directory.join(MARK_FILE))?;
        let mut bytes = Vec::new();
        io::Read::read_to_end(
            &mut io::Read::take(&mut file, (PLACES * PLACE_BYTES) as u64),
            &mut bytes,
        )?;
        let numbers = bytes.chunks(PLACE_BYTES).map(read_place);
        let newest = numbers.enumerate().filter_map(|(at, n)| Some((n?, at))).max();
        let found = match newest {
            Some((reached, _)) => Found::Reached(reached),
            None if bytes.is_empty() => Found::Nothing,
            None => Found::Unreadable,
        };
        let last = newest.map_or((0, 0), |(reached, at)| (reached, (at + 1) % PLACES));
        Ok((Self { file, last: Mutex::new(last) }, found))
    }

    /// Puts down that so much is on disk; a smaller number than the last changes nothing.
    pub(super) fn raise(&self, reached: u64) -> io::Result<()> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, place) = *last;
        if reached > number {
            write_at(&self.file, &place_of(reached), (place * PLACE_BYTES) as u64)?;
            *last = (reached, (place + 1) % PLACES);
        }
        Ok(())
    }

    /// Puts a number down in both places, whatever was there, and waits until it is on disk: for
    /// the start, so that no later write needs room on the disk.
    pub(super) fn begin(&self, reached: u64) -> io::Result<()> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        write_at(&self.file, &place_of(reached).repeat(PLACES), 0)?;
        *last = (reached, 0);
        self.file.sync_all()
    }
}

fn place_of(number: u64) -> [u8; PLACE_BYTES] {
    let mut place = [0; PLACE_BYTES];
    let (head, sum) = place.split_at_mut(8);
    head.copy_from_slice(&number.to_be_bytes());
    sum.copy_from_slice(&Sha256::digest(number.to_be_bytes())[..PLACE_BYTES - 8]);
    place
}

fn read_place(bytes: &[u8]) -> Option<u64> {
    let number = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
    (bytes == place_of(number)).then_some(number)
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
    io::Write::write_all(&mut file, bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_highest_number_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Mark::open(directory.path()).unwrap();
        let (mark, found) = open();
        assert_eq!(found, Found::Nothing);
        mark.begin(3).unwrap();
        for reached in [4, 7, 6, 9] {
            mark.raise(reached).unwrap();
        }
        let (mark, found) = open();
        assert_eq!(found, Found::Reached(9));
        mark.raise(10).unwrap();
        assert_eq!(open().1, Found::Reached(10));
        mark.begin(2).unwrap();
        assert_eq!(open().1, Found::Reached(2));
    }

    #[test]
    fn a_place_cut_short_leaves_the_other_and_no_number_is_made_up() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(MARK_FILE);
        let (mark, _) = Mark::open(directory.path()).unwrap();
        mark.begin(5).unwrap();
        mark.raise(6).unwrap();
        let sound = fs::read(&file).unwrap();
        let found_in = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            Mark::open(directory.path()).unwrap().1
        };
        for at in 0..PLACE_BYTES {
            let mut bytes = sound.clone();
            bytes[at] ^= 0x10;
            assert_eq!(found_in(&bytes), Found::Reached(5), "byte {at}");
            bytes[PLACE_BYTES + at] ^= 0x10;
            assert_eq!(found_in(&bytes), Found::Unreadable, "byte {at}");
        }
        assert_eq!(found_in(&sound[..PLACE_BYTES + 3]), Found::Reached(6));
        assert_eq!(found_in(&sound[..3]), Found::Unreadable);
        assert_eq!(found_in(&[]), Found::Nothing);
    }
}
