//! The directory that holds the demonstration: the one given, or a temporary one.
//!
//! A directory is used only when it is empty or an earlier demonstration, so that nobody's files
//! are lost to a slip of the keyboard; and by one demonstration at a time.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use signpost_protocol::OdsCode;

use super::{announce::FEDERATION_FILE, truth::TRUTH_FILE};
use crate::config;

/// Marks a directory as a demonstration's, and is locked while one uses it.
const MARKER: &str = "signpost-demo.lock";

/// The directory, until it is dropped: a temporary one is then removed.
#[derive(Debug)]
pub(super) struct Workspace {
    path: PathBuf,
    temporary: bool,
    // Held open: the lock on it goes with the process, however that ends.
    _marker: File,
}

impl Workspace {
    /// Prepares `dir`, or a new temporary directory.
    ///
    /// # Errors
    /// When it holds anything but an earlier demonstration, or one is running there.
    pub(super) fn open(dir: Option<&Path>) -> anyhow::Result<Self> {
        let (path, temporary) = match dir {
            Some(dir) => {
                create(dir).with_context(|| format!("cannot make {}", dir.display()))?;
                let full = dir.canonicalize();
                (full.with_context(|| format!("cannot use {}", dir.display()))?, false)
            }
            None => (new_temporary().context("cannot make a temporary directory")?, true),
        };
        let marker = take(&path)?;
        Ok(Self { path, temporary, _marker: marker })
    }

    /// Where it is, as an absolute path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is removed at the end.
    pub(super) const fn is_temporary(&self) -> bool {
        self.temporary
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if self.temporary {
            // At worst it stays where temporary files are cleaned up.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Makes `dir` for its owner alone: it will hold secrets.
fn create(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn new_temporary() -> anyhow::Result<PathBuf> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)?;
    let path = std::env::temp_dir().join(format!("signpost-demo-{}", hex::encode(random)));
    DirBuilder::new().mode(0o700).create(&path)?;
    Ok(path)
}

/// Takes the directory over and clears away what an earlier demonstration left in it.
fn take(dir: &Path) -> anyhow::Result<File> {
    let entries = fs::read_dir(dir)
        .and_then(Iterator::collect::<io::Result<Vec<_>>>)
        .with_context(|| format!("cannot read {}", dir.display()))?;
    let marker = dir.join(MARKER);
    if !entries.is_empty() && !marker.exists() {
        bail!(
            "{} is not empty and no earlier demonstration: choose an empty or a new directory with --dir",
            dir.display()
        );
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&marker)
        .with_context(|| format!("cannot write {}", marker.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            bail!(
                "a demonstration is running in {}: stop it, or choose another --dir",
                dir.display()
            )
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", marker.display()));
        }
    }
    writeln!(file, "This directory belongs to `signpost demo`, which clears it when it starts.")?;
    // First of all the file that says "ready".
    for name in [FEDERATION_FILE, TRUTH_FILE] {
        match fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove the earlier {name}"));
            }
            _ => {}
        }
    }
    for entry in entries {
        let name = entry.file_name();
        let node = name.to_str().is_some_and(|name| name.parse::<OdsCode>().is_ok())
            && entry.path().join(config::FILE).is_file();
        if node {
            fs::remove_dir_all(entry.path()).with_context(|| {
                format!("cannot remove the earlier node {}", entry.path().display())
            })?;
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_directory_goes_and_a_given_one_stays() {
        let workspace = Workspace::open(None).unwrap();
        let path = workspace.path().to_owned();
        assert!(path.is_dir() && workspace.is_temporary());
        drop(workspace);
        assert!(!path.exists());

        let dir = tempfile::tempdir().unwrap();
        let given = dir.path().join("new");
        let workspace = Workspace::open(Some(&given)).unwrap();
        assert!(!workspace.is_temporary());
        drop(workspace);
        assert!(given.is_dir());
    }

    #[test]
    fn an_earlier_demonstration_is_cleared_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        drop(Workspace::open(Some(dir.path())).unwrap());
        fs::write(dir.path().join(FEDERATION_FILE), "{}").unwrap();
        fs::write(dir.path().join("notes.txt"), "mine").unwrap();
        fs::create_dir(dir.path().join("RZ1")).unwrap();
        fs::write(dir.path().join("RZ1").join(config::FILE), "").unwrap();
        fs::create_dir(dir.path().join("MINE")).unwrap();
        drop(Workspace::open(Some(dir.path())).unwrap());
        assert!(!dir.path().join(FEDERATION_FILE).exists());
        assert!(!dir.path().join("RZ1").exists());
        assert!(dir.path().join("notes.txt").exists());
        assert!(dir.path().join("MINE").exists());
    }

    #[test]
    fn a_directory_with_other_files_is_refused_untouched() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FEDERATION_FILE), "{}").unwrap();
        let error = Workspace::open(Some(dir.path())).unwrap_err().to_string();
        assert!(error.contains("not empty") && error.contains("--dir"), "{error}");
        assert!(dir.path().join(FEDERATION_FILE).exists());
    }

    #[test]
    fn two_demonstrations_do_not_share_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Workspace::open(Some(dir.path())).unwrap();
        let error = Workspace::open(Some(dir.path())).unwrap_err().to_string();
        assert!(error.contains("is running in"), "{error}");
    }
}
