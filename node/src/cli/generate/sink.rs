//! Where generated lines go: standard output, or a file that gets its name only when it is whole.

use std::{
    fs::{self, File},
    io::{self, BufWriter, StdoutLock, Write},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use flate2::{Compression, write::GzEncoder};

/// Bytes gathered before each write: some thirty pointers.
const BUFFER_BYTES: usize = 64 * 1024;

/// One place for lines.
pub(super) struct Sink {
    out: Out,
    /// The name that the file has until it is whole, and the one that it gets then.
    names: Option<(PathBuf, PathBuf)>,
}

enum Out {
    Stdout(BufWriter<StdoutLock<'static>>),
    Plain(BufWriter<File>),
    /// Gathered before it is compressed, since each write costs the encoder 32 KiB of zeros.
    Gzip(BufWriter<GzEncoder<BufWriter<File>>>),
}

impl Sink {
    pub(super) fn stdout() -> Self {
        let out = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
        Self { out: Out::Stdout(out), names: None }
    }

    /// A file, compressed when its name ends in `.gz`.
    pub(super) fn file(path: &Path) -> anyhow::Result<Self> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = File::create(&partial);
        let file = file.with_context(|| format!("cannot write {}", partial.display()))?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        let out = match path.extension() {
            Some(extension) if extension.eq_ignore_ascii_case("gz") => {
                let encoder = GzEncoder::new(file, Compression::fast());
                Out::Gzip(BufWriter::with_capacity(BUFFER_BYTES, encoder))
            }
            _ => Out::Plain(file),
        };
        Ok(Self { out, names: Some((partial, path.to_owned())) })
    }

    /// Writes what is still held back, and gives the file its name.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        let Some((partial, path)) = self.names.take() else {
            return Ok(self.flush()?);
        };
        let flushed = match &mut self.out {
            Out::Gzip(out) => out
                .flush()
                .and_then(|()| out.get_mut().try_finish())
                .and_then(|()| out.get_mut().get_mut().flush()),
            _ => self.flush(),
        };
        flushed
            .and_then(|()| fs::rename(&partial, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn out(&mut self) -> &mut dyn Write {
        match &mut self.out {
            Out::Stdout(out) => out,
            Out::Plain(out) => out,
            Out::Gzip(out) => out,
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out().flush()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some((partial, _)) = &self.names {
            // Left behind at worst; the next attempt overwrites it.
            let _ = fs::remove_file(partial);
        }
    }
}
