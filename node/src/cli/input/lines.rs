//! From the bytes of a file to its lines: compression and byte order mark taken off, nothing longer
//! than a bound ever in memory, and every failure met exactly once, behind what was read before it.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use super::{DOCUMENT_BYTES_MAX, InputError, LINE_BYTES_MAX};

/// What a gzip file begins with (RFC 1952 §2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// The byte order mark that some editors and exports put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// Bytes asked for at a time.
pub(super) const BUFFER_BYTES: usize = 64 * 1024;

/// The lines of a file that are not blank.
pub(super) struct Lines<'a> {
    reader: Box<dyn BufRead + 'a>,
    number: u64,
}

impl<'a> Lines<'a> {
    pub(super) fn new(reader: impl BufRead + 'a) -> Self {
        Self { reader: Box::new(reader), number: 0 }
    }

    /// The number of the line that was returned last, from 1.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// The next line that is not blank, trimmed; `None` at the end.
    ///
    /// # Errors
    /// As [`Self::next_whole`].
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, InputError> {
        loop {
            let Some(line) = self.next_whole()? else { return Ok(None) };
            let trimmed = line.trim_ascii();
            if !trimmed.is_empty() {
                return Ok(Some(trimmed.to_vec()));
            }
        }
    }

    /// The next line as it is, without its end; `None` at the end.
    ///
    /// # Errors
    /// After [`InputError::TooLong`] and [`InputError::DocumentTooLong`] the lines go on, after any
    /// other error they do not.
    pub(super) fn next_whole(&mut self) -> Result<Option<Vec<u8>>, InputError> {
        let mut line = Vec::new();
        self.number += 1;
        let (mut ended, mut failure) =
            append(&mut *self.reader, &mut line, LINE_BYTES_MAX + 1, Until::LineEnd);
        let too_long = line.len() > LINE_BYTES_MAX && !line.ends_with(b"\n");
        let mut length = line.len();
        while too_long && !ended && failure.is_none() && !line.ends_with(b"\n") {
            line.clear();
            (ended, failure) = append(&mut *self.reader, &mut line, LINE_BYTES_MAX, Until::LineEnd);
            length = length.saturating_add(line.len());
        }
        // A line that the failure cut short is no line.
        if let Some(failure) = failure {
            return Err(read_error(failure));
        }
        if too_long {
            return Err(match length > DOCUMENT_BYTES_MAX {
                true => InputError::DocumentTooLong,
                false => InputError::TooLong,
            });
        }
        if line.is_empty() && ended {
            return Ok(None);
        }
        if line.pop_if(|byte| *byte == b'\n').is_some() {
            line.pop_if(|byte| *byte == b'\r');
        }
        Ok(Some(line))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// The next line end, which is included.
    LineEnd,
    /// The end of the file.
    End,
}

/// Appends at most `room` bytes. Returns whether the file is at its end, and what failed.
pub(super) fn append(
    reader: &mut (impl BufRead + ?Sized),
    text: &mut Vec<u8>,
    room: usize,
    until: Until,
) -> (bool, Option<io::Error>) {
    let mut reader = reader.take(room as u64);
    let before = text.len();
    let read = match until {
        Until::LineEnd => reader.read_until(b'\n', text),
        Until::End => reader.read_to_end(text),
    };
    match read {
        Err(error) => (false, Some(error)),
        Ok(_) => {
            let stopped = until == Until::LineEnd && text[before..].ends_with(b"\n");
            (!stopped && reader.limit() > 0, None)
        }
    }
}

/// The file without compression and byte order mark.
pub(super) fn plain<'a>(source: Box<dyn Read + 'a>) -> io::Result<Box<dyn BufRead + 'a>> {
    let source = without_prefix(source, &GZIP_MAGIC)?;
    let text: Box<dyn Read + 'a> = match source {
        (true, rest) => {
            let whole = Cursor::new(GZIP_MAGIC).chain(rest);
            // Several compressed files may follow one another, as `cat a.gz b.gz` makes them.
            Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, whole)))
        }
        (false, whole) => whole,
    };
    let (_, text) = without_prefix(text, BYTE_ORDER_MARK)?;
    Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, text)))
}

/// Takes `prefix` off the front, and says whether it was there.
fn without_prefix<'a>(
    mut source: Box<dyn Read + 'a>,
    prefix: &[u8],
) -> io::Result<(bool, Box<dyn Read + 'a>)> {
    let mut front = Vec::new();
    let read = source.by_ref().take(prefix.len() as u64).read_to_end(&mut front);
    // What was read before a failure counts, and the failure is met again behind it.
    let failure = read.err();
    if front == prefix {
        return Ok((true, source));
    }
    let rest: Box<dyn Read + 'a> = match failure {
        Some(error) if front.is_empty() => return Err(error),
        Some(error) => Box::new(Failing(Some(error))),
        None => source,
    };
    Ok((false, Box::new(Cursor::new(front).chain(rest))))
}

/// A reader that fails once, where another one failed.
pub(super) struct Failing(pub(super) Option<io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

pub(super) fn read_error(error: io::Error) -> InputError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => InputError::Truncated,
        _ => InputError::Read(error),
    }
}
