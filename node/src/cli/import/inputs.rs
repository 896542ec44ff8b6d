//! The files of an import, opened once or twice, and watched while they are read.

use std::{
    fs::File,
    io::{self, Read, Seek as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::cli::input::watched::{self, Watch};

/// One of the files on the command line.
pub(super) struct Input {
    /// What messages call it.
    pub(super) name: String,
    /// Its bytes; 0 when nobody knows.
    pub(super) size: u64,
    from: From,
}

enum From {
    Path(PathBuf),
    Pipe,
    /// A pipe that has to be read twice, kept in a file without a name.
    Spooled(File),
}

impl Input {
    /// Checks that `file` can be read; a misspelt name is noticed before anything is imported.
    /// `-` is standard input, which is kept in a private temporary file if it is needed `twice`.
    pub(super) fn new(file: &Path, twice: bool) -> anyhow::Result<Self> {
        if file.as_os_str() == "-" {
            let from = match twice {
                false => From::Pipe,
                true => From::Spooled(watched::spool(io::stdin().lock()).context(
                    "cannot keep standard input in a temporary file ($TMPDIR), which is needed \
                     because it has to be read twice",
                )?),
            };
            return Ok(Self { name: "stdin".to_owned(), size: 0, from });
        }
        let opened = File::open(file).and_then(|file| file.metadata());
        let meta = opened.with_context(|| format!("cannot read {}", file.display()))?;
        anyhow::ensure!(!meta.is_dir(), "{} is a directory: name the files in it", file.display());
        anyhow::ensure!(
            meta.is_file() || !twice,
            "{} is no regular file, and has to be read twice: pass it as - instead",
            file.display()
        );
        let from = From::Path(file.to_owned());
        Ok(Self { name: file.display().to_string(), size: meta.len(), from })
    }

    /// Begins to read it.
    pub(super) fn open(&self) -> io::Result<(Box<dyn Read>, Watch)> {
        match &self.from {
            From::Path(path) => {
                let (source, watch) = watched::open(path)?;
                Ok((Box::new(source), watch))
            }
            From::Pipe => {
                let (source, watch) = watched::pipe(io::stdin().lock());
                Ok((Box::new(source), watch))
            }
            From::Spooled(file) => {
                let mut file = file.try_clone()?;
                file.rewind()?;
                let (source, watch) = watched::pipe(file);
                Ok((Box::new(source), watch))
            }
        }
    }
}
