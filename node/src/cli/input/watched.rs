//! Notices that a file changes while it is read, or between two readings.
//!
//! An export that is still being written, or is replaced half-way, is neither the old content nor
//! the new. Size, time of change and inode are compared at the beginning and at the end; a hash of
//! everything read tells two readings apart even when those are kept.

use std::{
    cell::RefCell,
    fs::{File, Metadata},
    io::{self, Read, Seek as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    rc::Rc,
};

use sha2::{Digest as _, Sha256};

/// What a file looked like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Look {
    fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            changed: (meta.mtime(), meta.mtime_nsec()),
        }
    }
}

/// Counts and hashes what is read through it.
pub(in crate::cli) struct Watched<R> {
    source: R,
    seen: Rc<RefCell<(u64, Sha256)>>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        let (bytes, hash) = &mut *self.seen.borrow_mut();
        *bytes += length as u64;
        hash.update(&buffer[..length]);
        Ok(length)
    }
}

/// What to compare once the file has been read.
pub(in crate::cli) struct Watch {
    /// Of a regular file: where it is, the open file, and what it looked like. A pipe has no look.
    regular: Option<(PathBuf, File, Look)>,
    seen: Rc<RefCell<(u64, Sha256)>>,
}

/// What was read of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Reading {
    /// Whether the file was the same throughout.
    pub(in crate::cli) steady: bool,
    /// SHA-256 of the bytes that were read.
    pub(in crate::cli) hash: [u8; 32],
}

/// Opens a file to be watched.
pub(in crate::cli) fn open(path: &Path) -> io::Result<(Watched<File>, Watch)> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    let regular = match meta.is_file() {
        true => Some((path.to_owned(), file.try_clone()?, Look::of(&meta))),
        false => None,
    };
    Ok(watch(file, regular))
}

/// Watches what comes through a pipe: there is nothing to compare but its bytes.
pub(in crate::cli) fn pipe<R: Read>(source: R) -> (Watched<R>, Watch) {
    watch(source, None)
}

fn watch<R: Read>(source: R, regular: Option<(PathBuf, File, Look)>) -> (Watched<R>, Watch) {
    let seen = Rc::new(RefCell::new((0, Sha256::new())));
    (Watched { source, seen: Rc::clone(&seen) }, Watch { regular, seen })
}

impl Watch {
    /// Looks again, after the last byte was read.
    pub(in crate::cli) fn end(self) -> Reading {
        let (bytes, hash) = &*self.seen.borrow();
        let steady = self.regular.is_none_or(|(path, file, before)| {
            let look = |meta: io::Result<Metadata>| meta.ok().map(|meta| Look::of(&meta));
            let (open, named) = (look(file.metadata()), look(std::fs::metadata(path)));
            // More bytes than there were: somebody appends, and the last line may be half a line.
            open == Some(before) && named == Some(before) && *bytes <= before.size
        });
        Reading { steady, hash: hash.clone().finalize().into() }
    }
}

/// Keeps everything of a pipe in a file without a name, so that it can be read twice. Only this
/// process can open it, and it is gone when the process ends.
pub(in crate::cli) fn spool(mut source: impl Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(&mut source, &mut file)?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::*;

    fn reading(path: &Path, meanwhile: impl FnOnce()) -> Reading {
        let (mut watched, watch) = open(path).unwrap();
        let mut first = [0; 2];
        watched.read_exact(&mut first).unwrap();
        meanwhile();
        io::copy(&mut watched, &mut io::sink()).unwrap();
        watch.end()
    }

    #[test]
    fn a_file_that_stays_is_steady_and_one_that_changes_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "abcdef").unwrap();
        let first = reading(&path, || {});
        assert!(first.steady);
        assert_eq!(reading(&path, || {}), first);

        let appended = reading(&path, || {
            fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"g").unwrap();
        });
        assert!(!appended.steady && appended.hash != first.hash);
        let replaced = reading(&path, || {
            fs::write(dir.path().join("y"), "abcdefg").unwrap();
            fs::rename(dir.path().join("y"), &path).unwrap();
        });
        assert!(!replaced.steady);
        assert!(!reading(&path, || fs::remove_file(&path).unwrap()).steady);
    }

    #[test]
    fn a_spooled_pipe_can_be_read_twice() {
        let mut file = spool(&b"abc"[..]).unwrap();
        for _ in 0..2 {
            let (mut watched, watch) = pipe(&file);
            io::copy(&mut watched, &mut io::sink()).unwrap();
            let reading = watch.end();
            assert!(reading.steady);
            assert_eq!(reading.hash, <[u8; 32]>::from(Sha256::digest(b"abc")));
            file.rewind().unwrap();
        }
    }
}
