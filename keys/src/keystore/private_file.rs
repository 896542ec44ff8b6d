//! Files that their owner alone may read, written whole or not at all. Unix permissions only.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// Read and write for the owner, nothing for anyone else.
const OWNER_ONLY: u32 = 0o600;

/// Every permission of the group and of others.
const ANYONE_ELSE: u32 = 0o077;

/// Why a private file is not read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Other users may read or change it.
    #[error(
        "{} is open to other users (mode {mode:04o}): run `chmod 600 {}`, and consider whether its secrets are still secret",
        path.display(), path.display()
    )]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A directory, a pipe or the like.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// Larger than such a file can be.
    #[error("{} is larger than {max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The cap in bytes.
        max: usize,
    },
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl FileError {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

/// Reads at most `max` bytes. The file that was checked is the file that is read, even if another
/// takes its name meanwhile.
pub(super) fn read(path: &Path, max: usize) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let failed = |source| FileError::io(path, source);
    // Before it is opened too, since opening a pipe waits for its other end.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(FileError::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(FileError::NotAFile { path: path.to_owned() });
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & ANYONE_ELSE != 0 {
        return Err(FileError::Permissions { path: path.to_owned(), mode });
    }
    // Room for all of it at once: a buffer that grows leaves unwiped copies behind.
    let room = usize::try_from(metadata.len()).map_or(max, |length| length.min(max)) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(max as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > max {
        return Err(FileError::TooLarge { path: path.to_owned(), max });
    }
    Ok(bytes)
}

/// Puts `bytes` at `path` with mode 0600, on disk when this returns.
///
/// They go to a file beside it that then takes its name, so a crash leaves the old file or the
/// new one, at worst with a stray `.NAME.*.tmp` that is just as private.
pub(super) fn replace(
    path: &Path,
    bytes: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<(), FileError> {
    let Some(name) = path.file_name() else {
        return Err(FileError::NotAFile { path: path.to_owned() });
    };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut temporary_name = std::ffi::OsString::from(".");
    temporary_name.push(name);
    temporary_name.push(format!(".{:016x}.tmp", rng.next_u64()));
    let temporary = directory.join(temporary_name);

    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(OWNER_ONLY)
        .open(&temporary)
        .map_err(|source| FileError::io(&temporary, source))?;
    if let Err(source) = fill_and_rename(file, bytes, &temporary, path) {
        // The first error is the one to report; a stray file is harmless.
        let _ = fs::remove_file(&temporary);
        return Err(FileError::io(path, source));
    }
    // The new name is durable only when the directory is.
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| FileError::io(directory, source))
}

fn fill_and_rename(mut file: File, bytes: &[u8], from: &Path, to: &Path) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(from, to)
}

#[cfg(test)]
mod tests {
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;

    fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
        replace(path, bytes, &mut ChaCha20Rng::seed_from_u64(1))
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_written_is_private_and_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        write(&path, b"first").unwrap();
        assert_eq!(mode(&path), OWNER_ONLY);
        assert_eq!(read(&path, 5).unwrap().as_slice(), b"first");

        set_mode(&path, 0o644);
        write(&path, b"second").unwrap();
        assert_eq!(mode(&path), OWNER_ONLY, "the mode of what it replaces does not matter");
        assert_eq!(read(&path, 100).unwrap().as_slice(), b"second");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing stays beside it");
    }

    #[test]
    fn files_open_to_others_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        write(&path, b"x").unwrap();
        for open in [0o644, 0o640, 0o604, 0o620, 0o602, 0o610] {
            set_mode(&path, open);
            let error = read(&path, 10).unwrap_err();
            assert!(matches!(&error, FileError::Permissions { mode, .. } if *mode == open));
            let hint = format!("chmod 600 {}", path.display());
            assert!(error.to_string().contains(&hint), "{error}");
        }
        for private in [0o600, 0o700] {
            set_mode(&path, private);
            assert!(read(&path, 10).is_ok());
        }
    }

    #[test]
    fn size_and_kind_are_checked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        write(&path, b"four").unwrap();
        assert!(read(&path, 4).is_ok());
        assert!(matches!(read(&path, 3), Err(FileError::TooLarge { max: 3, .. })));
        assert!(matches!(read(directory.path(), 3), Err(FileError::NotAFile { .. })));
        let missing = read(&directory.path().join("none"), 3).unwrap_err();
        assert!(
            matches!(&missing, FileError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
        );
        assert!(missing.to_string().contains("none"), "{missing}");
    }

    #[test]
    fn a_write_that_fails_leaves_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        // A directory in its place makes the last step, the renaming, fail.
        let path = directory.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), b"x").unwrap();
        assert!(matches!(write(&path, b"new"), Err(FileError::Io { .. })));
        assert_eq!(fs::read(path.join("inside")).unwrap(), b"x");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing stays beside it");

        assert!(matches!(write(Path::new("/"), b"new"), Err(FileError::NotAFile { .. })));
        let nowhere = directory.path().join("no/such/directory");
        assert!(matches!(write(&nowhere, b"new"), Err(FileError::Io { .. })));
    }
}
