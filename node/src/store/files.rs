//! Private directories and files, and their locks.
//!
//! Pointers and disclosures concern patients: what is created here can be read by the node's own
//! account only. A new file's name is durable only once its directory is synced, which is easily
//! forgotten; the helpers do it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::Path,
};

use super::StoreError;

/// Name of the lock file inside a locked directory.
const LOCK_FILE: &str = "lock";

/// Creates `directory` and its parents where missing, open to the own account only (mode 0700).
pub(super) fn create_private_directory(directory: &Path) -> Result<(), StoreError> {
    let create = || {
        if directory.is_dir() {
            return Ok(());
        }
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(directory)?;
        match directory.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
            _ => Ok(()),
        }
    };
    create().map_err(|error| StoreError::from_io(directory, error))
}

/// Options that append to a file, creating it with mode 0600.
pub(super) fn append_private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes the names inside `directory` durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    // Elsewhere a directory cannot be opened as a file, and names need no sync of their own.
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

/// Takes the exclusive lock of `directory`, held until the returned file is dropped. The system
/// releases it when the process ends, however it ends, so no stale lock needs removing.
pub(super) fn lock_directory(directory: &Path) -> Result<File, StoreError> {
    let file = append_private()
        .open(directory.join(LOCK_FILE))
        .map_err(|error| StoreError::from_io(directory, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: directory.to_owned() }),
        Err(TryLockError::Error(error)) => Err(StoreError::from_io(directory, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_locked_once_and_free_again_after() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("deep").join("er");
        create_private_directory(&directory).unwrap();
        let lock = lock_directory(&directory).unwrap();
        let refusal = lock_directory(&directory).unwrap_err();
        assert!(matches!(&refusal, StoreError::Locked { path } if *path == directory));
        assert!(refusal.to_string().contains(&directory.display().to_string()));
        drop(lock);
        lock_directory(&directory).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn what_is_created_is_private() {
        use std::os::unix::fs::PermissionsExt as _;

        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("private");
        create_private_directory(&directory).unwrap();
        append_private().open(directory.join("file")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&directory.join("file")), 0o600);
    }
}
