//! Reads what `signpost import` is given, one resource at a time.
//!
//! A file may be a single FHIR DocumentReference, a Bundle, or NDJSON (a resource a line), each
//! plain or gzipped. Which it is follows from its bytes, never from its name: exports are often
//! renamed, and standard input has none.
//!
//! What it guarantees: NDJSON is streamed, so that an export of any size needs little memory; every
//! resource comes as one line of text with its place in the file; a fault costs one line where the
//! lines after it can still be told apart, and otherwise ends the file with a last, faulty item. No
//! message repeats anything of the content, which includes patients' numbers.
//!
//! What it leaves to others: whether the resource is a good pointer. The node decides that.

mod lines;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    fmt,
    io::{self, BufReader, Cursor, Read},
};

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use self::lines::{BUFFER_BYTES, Failing, Lines, Until, append, plain, read_error};

/// Bytes of one line of NDJSON or one resource of a Bundle: a pointer may have 12 KiB, so this
/// admits every mistake worth a node's explanation, while a file without line ends stays cheap.
pub(super) const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of a file that is one JSON document, which has to be in memory as a whole: about 20,000
/// pointers of 3 KiB. Larger exports come as NDJSON.
pub(super) const DOCUMENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where a resource stands: `FILE`, `FILE:LINE`, `FILE entry[N]` or `FILE:LINE entry[N]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The file as the user named it.
    pub(super) file: String,
    /// The line, from 1.
    pub(super) line: Option<u64>,
    /// The position in the Bundle, from 0, as in a FHIRPath.
    pub(super) entry: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(entry) = self.entry {
            write!(f, " entry[{entry}]")?;
        }
        Ok(())
    }
}

/// Why there is no resource at a place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum InputError {
    /// It is not JSON.
    #[error("not JSON: {0}")]
    Json(String),
    /// It is not text.
    #[error("not UTF-8 text")]
    Utf8,
    /// The line or the resource is too long.
    #[error("longer than {} MiB, the most that one resource may have", LINE_BYTES_MAX >> 20)]
    TooLong,
    /// The document is too long to be read as a whole.
    #[error(
        "a single JSON document of more than {} MiB: convert it to NDJSON, one resource a line",
        DOCUMENT_BYTES_MAX >> 20
    )]
    DocumentTooLong,
    /// It is JSON, but no resource.
    #[error("no FHIR resource: it has no resourceType")]
    NoResource,
    /// It is another resource.
    #[error("a {0}, where only a DocumentReference can be imported")]
    OtherResource(String),
    /// The compressed data end before their end.
    #[error("the compressed file ends too early: it was probably cut off")]
    Truncated,
    /// The file cannot be read on.
    #[error("cannot be read on: {0}")]
    Read(io::Error),
}

/// A place, and the resource there as one line of JSON.
#[derive(Debug)]
pub(super) struct Item {
    /// Where.
    pub(super) place: Place,
    /// What.
    pub(super) line: Result<String, InputError>,
}

/// The resources of one file, in their order. Not restartable.
pub(super) struct Items<'a> {
    file: String,
    /// Taken out once the file is at its end.
    lines: Option<Lines<'a>>,
    /// Resources of the Bundle or the line that was read last.
    waiting: VecDeque<Item>,
}

impl<'a> Items<'a> {
    /// Reads from `source`; `file` is what messages call it.
    pub(super) fn new(file: &str, source: impl Read + 'a) -> Self {
        let mut items = Self { file: file.to_owned(), lines: None, waiting: VecDeque::new() };
        match items.open(Box::new(source)) {
            Ok(lines) => items.lines = lines,
            Err(error) => {
                let place = items.place(None);
                items.waiting.push_back(Item { place, line: Err(error) });
            }
        }
        items
    }

    /// Tells the formats apart. A file whose first line is a whole JSON value is NDJSON; otherwise
    /// it is one document if it parses as one. What does neither is NDJSON with a bad first line
    /// if any of its other lines is good, and else a bad document.
    fn open(&mut self, source: Box<dyn Read + 'a>) -> Result<Option<Lines<'a>>, InputError> {
        let mut reader = plain(source).map_err(read_error)?;
        let mut head = Vec::new();
        let mut failure = None;
        let mut ended = false;
        // Blank lines before the first resource say nothing about the format.
        while head.trim_ascii().is_empty()
            && head.len() <= DOCUMENT_BYTES_MAX
            && !ended
            && failure.is_none()
        {
            (ended, failure) = append(&mut *reader, &mut head, LINE_BYTES_MAX, Until::LineEnd);
        }
        if !head.ends_with(b"\n") || resource(&head).is_err() {
            let room = DOCUMENT_BYTES_MAX.saturating_sub(head.len()) + 1;
            if failure.is_none() && !ended {
                (_, failure) = append(&mut *reader, &mut head, room, Until::End);
            }
            let fault = match (&failure, resource_document(&head)) {
                (None, Ok(None)) => return Ok(None),
                (None, Ok(Some(resource))) => {
                    let place = self.place(None);
                    self.queue(&place, resource, &head);
                    return Ok(None);
                }
                (None, Err(fault)) => Some(fault),
                (Some(_), _) => None,
            };
            if !has_a_good_line(&head) {
                let failed = failure.map(read_error);
                return Err(failed.or(fault).expect("a document without fault was returned above"));
            }
        }
        let rest: Box<dyn Read + 'a> = match failure {
            Some(error) => Box::new(Failing(Some(error))),
            None => reader,
        };
        let reader = BufReader::with_capacity(BUFFER_BYTES, Cursor::new(head).chain(rest));
        Ok(Some(Lines::new(reader)))
    }

    fn place(&self, line: Option<u64>) -> Place {
        Place { file: self.file.clone(), line, entry: None }
    }

    /// Puts a resource into the queue, or those of a Bundle.
    fn queue(&mut self, place: &Place, resource: Resource, text: &[u8]) {
        let Some(entries) = resource.entry.filter(|_| resource.kind.as_deref() == Some("Bundle"))
        else {
            let line = checked(resource.kind, || one_line(text));
            self.waiting.push_back(Item { place: place.clone(), line });
            return;
        };
        for (number, entry) in entries.into_iter().enumerate() {
            let line = match entry.resource {
                Some(inner) => checked(inner.kind, || Ok(inner.text)),
                None => Err(InputError::NoResource),
            };
            let place = Place { entry: Some(number), ..place.clone() };
            self.waiting.push_back(Item { place, line });
        }
    }
}

impl Iterator for Items<'_> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.waiting.pop_front() {
                return Some(item);
            }
            let lines = self.lines.as_mut()?;
            let read = lines.next();
            let number = lines.number();
            let place = self.place(Some(number));
            match read {
                Ok(Some(text)) => match resource(&text) {
                    Ok(resource) => self.queue(&place, resource, &text),
                    Err(error) => return Some(Item { place, line: Err(error) }),
                },
                Ok(None) => self.lines = None,
                Err(error) => {
                    if !matches!(error, InputError::TooLong) {
                        self.lines = None;
                    }
                    return Some(Item { place, line: Err(error) });
                }
            }
        }
    }
}

/// What has to be known of a resource to send it on.
#[derive(Deserialize)]
struct Resource {
    #[serde(rename = "resourceType")]
    kind: Option<String>,
    /// Of a Bundle.
    entry: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    resource: Option<Inner>,
}

/// A resource in a Bundle. It becomes text again at once: a Bundle of parsed values would need
/// many times its length in memory.
struct Inner {
    kind: Option<String>,
    text: String,
}

impl<'de> Deserialize<'de> for Inner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let kind = value.get("resourceType").and_then(Value::as_str).map(str::to_owned);
        Ok(Self { kind, text: value.to_string() })
    }
}

fn resource(text: &[u8]) -> Result<Resource, InputError> {
    let text = std::str::from_utf8(text).map_err(|_| InputError::Utf8)?;
    if !text.trim_start().starts_with('{') {
        return Err(InputError::Json("a resource begins with '{'".to_owned()));
    }
    serde_json::from_str(text).map_err(|error| InputError::Json(json_fault(&error)))
}

/// A file as one document; `None` when it is blank.
fn resource_document(text: &[u8]) -> Result<Option<Resource>, InputError> {
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(InputError::DocumentTooLong);
    }
    if text.trim_ascii().is_empty() { Ok(None) } else { resource(text).map(Some) }
}

/// The parser's own words about wrong types quote the content, so they are not repeated.
fn json_fault(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Data => format!(
            "a field has the wrong type or occurs twice, before column {} of line {}",
            error.column(),
            error.line()
        ),
        _ => error.to_string(),
    }
}

fn checked(
    kind: Option<String>,
    text: impl FnOnce() -> Result<String, InputError>,
) -> Result<String, InputError> {
    match kind {
        None => Err(InputError::NoResource),
        Some(kind) if kind != "DocumentReference" => Err(InputError::OtherResource(name(&kind))),
        Some(_) => text().and_then(|text| {
            if text.len() > LINE_BYTES_MAX { Err(InputError::TooLong) } else { Ok(text) }
        }),
    }
}

/// A resource type fit for a message. Anything that is no FHIR type name is not repeated.
fn name(kind: &str) -> String {
    // The longest name in FHIR R4 has 34 letters.
    if kind.len() <= 40 && kind.bytes().all(|b| b.is_ascii_alphabetic()) {
        kind.to_owned()
    } else {
        "resource of unknown type".to_owned()
    }
}

/// The text on one line. Line ends stand between tokens only: within a JSON string they are escaped.
fn one_line(text: &[u8]) -> Result<String, InputError> {
    let text = std::str::from_utf8(text).map_err(|_| InputError::Utf8)?;
    Ok(text.trim().replace(['\r', '\n'], " "))
}

/// Whether some line is a whole resource: then the others are lines too.
fn has_a_good_line(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| line.len() <= LINE_BYTES_MAX)
        .any(|line| resource(line).is_ok_and(|resource| resource.kind.is_some()))
}
