//! Reads what `signpost import` is given, one resource at a time.
//!
//! A file may be a single FHIR DocumentReference, a Bundle, NDJSON (a resource a line) or CSV (a
//! pointer a row), each plain or gzipped. Which it is follows from its bytes, never from its name:
//! exports are often renamed, and standard input has none.
//!
//! What it guarantees: NDJSON and CSV are streamed, so that an export of any size needs little
//! memory; every resource comes as one line of text with its place in the file; a fault costs one
//! line where the lines after it can still be told apart, and otherwise ends the file with a last,
//! faulty item. No message repeats anything of the content, which includes patients' numbers.
//!
//! What it leaves to others: whether the resource is a good pointer. The node decides that.

mod bundle;
mod csv;
mod lines;
mod mapping;
#[cfg(test)]
mod tests;
pub(super) mod watched;

use std::{
    collections::VecDeque,
    fmt,
    io::{self, BufReader, Cursor, Read},
};

use serde::Deserialize;
use serde_json::Value;

pub(super) use self::{
    bundle::{Additions, DocumentUrl},
    mapping::CsvOptions,
};
use self::{
    bundle::{Entry, Transaction, completed},
    csv::{Rows, is_open},
    lines::{BUFFER_BYTES, Failing, Lines, Until, append, plain, read_error},
};

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
    /// It is not text as it should be.
    #[error("not UTF-8 text{}, perhaps Windows-1252: save it as UTF-8", at(*.line))]
    Utf8 {
        /// The line, where the place does not say it.
        line: Option<u64>,
    },
    /// It is text of another kind.
    #[error("UTF-16 text: save it as UTF-8")]
    Utf16,
    /// The line or the resource is too long.
    #[error("longer than {} MiB, the most that one resource may have", LINE_BYTES_MAX >> 20)]
    TooLong,
    /// The document is too long to be read as a whole.
    #[error(
        "a JSON document or line of more than {} MiB: convert it to NDJSON, one resource a line",
        DOCUMENT_BYTES_MAX >> 20
    )]
    DocumentTooLong,
    /// It is JSON, but no resource.
    #[error("no FHIR resource: it has no resourceType")]
    NoResource,
    /// It is another resource.
    #[error("a {0}, where only a DocumentReference can be imported")]
    OtherResource(String),
    /// It breaks a rule of its format.
    #[error("{0}")]
    Rule(String),
    /// A quote opens and does not close: which line belongs to which row cannot be told.
    #[error("a quote opens here and does not close, so nothing behind it can be read")]
    OpenQuote,
    /// The compressed data end before their end.
    #[error("the compressed file ends too early: it was probably cut off")]
    Truncated,
    /// The file cannot be read on.
    #[error("cannot be read on: {0}")]
    Read(io::Error),
}

fn at(line: Option<u64>) -> String {
    line.map(|line| format!(" in line {line}")).unwrap_or_default()
}

/// What the command line says about the input.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    /// What resources may lack.
    pub(super) additions: Additions,
    /// How CSV is read.
    pub(super) csv: CsvOptions,
}

/// A place, and the resource there as one line of JSON.
#[derive(Debug)]
pub(super) struct Item {
    /// Where.
    pub(super) place: Place,
    /// The pointer's id, when the resource gives one.
    pub(super) id: Option<String>,
    /// What.
    pub(super) line: Result<String, InputError>,
}

/// Something with the number of its line.
type Numbered<T> = (u64, T);

/// What a file turned out to be.
enum Format {
    /// Everything is in the queue.
    Document,
    Ndjson,
    Csv(Rows),
}

/// The resources of one file, in their order. Not restartable.
pub(super) struct Items<'a> {
    file: String,
    options: &'a Options,
    format: Format,
    /// Taken out once the file is at its end.
    lines: Option<Lines<'a>>,
    /// Resources of the Bundle or the line that was read last.
    waiting: VecDeque<Item>,
    skipped: u64,
}

impl<'a> Items<'a> {
    /// Reads from `source`; `file` is what messages call it.
    pub(super) fn new(file: &str, source: impl Read + 'a, options: &'a Options) -> Self {
        let mut items = Self {
            file: file.to_owned(),
            options,
            format: Format::Document,
            lines: None,
            waiting: VecDeque::new(),
            skipped: 0,
        };
        if let Err(error) = items.open(Box::new(source)) {
            let line = items.lines.take().map(|lines| lines.number());
            let place = items.place(line);
            items.waiting.push_back(Item { place, id: None, line: Err(error) });
        }
        items
    }

    /// Entries of Bundles that are no pointers and need not be, so far.
    pub(super) const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Tells the formats apart. A file whose first line is a whole JSON value is NDJSON; otherwise
    /// it is one document if it parses as one. What does neither is NDJSON with a bad first line
    /// if any of its other lines is good, and else a bad document.
    fn open(&mut self, source: Box<dyn Read + 'a>) -> Result<(), InputError> {
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
        if is_utf16(&head) {
            return Err(InputError::Utf16);
        }
        let csv = self.is_csv(&head);
        if !csv && (!head.ends_with(b"\n") || resource(&head).is_err()) {
            let room = DOCUMENT_BYTES_MAX.saturating_sub(head.len()) + 1;
            if failure.is_none() && !ended {
                (_, failure) = append(&mut *reader, &mut head, room, Until::End);
            }
            let fault = match (&failure, resource_document(&head)) {
                (None, Ok(None)) => return Ok(()),
                (None, Ok(Some(resource))) => {
                    let place = self.place(None);
                    self.queue(&place, resource, &head);
                    return Ok(());
                }
                (None, Err(fault)) => Some(fault),
                (Some(_), _) => None,
            };
            // One endless line may be the first of many.
            let one_line = head.len() > DOCUMENT_BYTES_MAX
                && !head.contains(&b'\n')
                && !head.trim_ascii().is_empty();
            if !one_line && !has_a_good_line(&head) {
                let failed = failure.map(read_error);
                return Err(failed.or(fault).expect("a document without fault was returned above"));
            }
        }
        let rest: Box<dyn Read + 'a> = match failure {
            Some(error) => Box::new(Failing(Some(error))),
            None => reader,
        };
        let reader = BufReader::with_capacity(BUFFER_BYTES, Cursor::new(head).chain(rest));
        let lines = self.lines.insert(Lines::new(reader));
        self.format = match csv {
            false => Format::Ndjson,
            true => {
                let header = lines.next()?.unwrap_or_default();
                Format::Csv(Rows::new(text_of(&header)?, &self.options.csv)?)
            }
        };
        Ok(())
    }

    /// Whether the first line that is not blank is a CSV header.
    fn is_csv(&self, head: &[u8]) -> bool {
        let Ok(header) = text_of(head.trim_ascii()) else { return false };
        let csv = &self.options.csv;
        !header.is_empty()
            && !header.starts_with(['{', '['])
            && (csv.is_mapped() || csv.delimiter(header).is_some())
    }

    fn place(&self, line: Option<u64>) -> Place {
        Place { file: self.file.clone(), line, entry: None }
    }

    /// Puts a resource into the queue, or those of a Bundle.
    fn queue(&mut self, place: &Place, resource: Resource, text: &[u8]) {
        if resource.kind.as_deref() != Some("Bundle") {
            let id = resource.id();
            let line = checked(resource.kind, || self.complete(one_line(text)?));
            return self.waiting.push_back(Item { place: place.clone(), id, line });
        }
        let kind = resource.bundle_type.as_ref().and_then(Value::as_str);
        if let Some(why) = resource.is_incomplete() {
            let line = Err(InputError::Rule(why.to_owned()));
            self.waiting.push_back(Item { place: place.clone(), id: None, line });
        }
        let entries = resource.entry.unwrap_or_default();
        let transaction =
            matches!(kind, Some("transaction" | "batch")).then(|| Transaction::new(&entries));
        for (number, entry) in entries.iter().enumerate() {
            let is_pointer = entry
                .resource
                .as_ref()
                .is_some_and(|inner| inner.kind.as_deref() == Some("DocumentReference"));
            if let Some(fault) = entry.resource.as_ref().and_then(|inner| inner.fault.clone()) {
                let place = Place { entry: Some(number), ..place.clone() };
                let line = Err(InputError::Json(fault));
                self.waiting.push_back(Item { place, id: None, line });
                continue;
            }
            if entry.is_deletion() {
                let place = Place { entry: Some(number), ..place.clone() };
                let rule = "asks for a deletion, which an import does not do: delete the pointer \
                            itself, or leave it out of an import with --replace";
                let line = Err(InputError::Rule(rule.to_owned()));
                self.waiting.push_back(Item { place, id: None, line });
                continue;
            }
            if entry.is_outcome() || (transaction.is_some() && !is_pointer) {
                self.skipped += 1;
                continue;
            }
            let place = Place { entry: Some(number), ..place.clone() };
            let (id, line) = match (&transaction, &entry.resource) {
                (Some(transaction), _) => {
                    match transaction.resolved(entry, &self.options.additions) {
                        Ok((id, text)) => (id, short(text)),
                        Err(error) => (None, Err(error)),
                    }
                }
                (None, Some(inner)) => {
                    let line = checked(inner.kind.clone(), || self.complete(inner.text.clone()));
                    (inner.id.clone(), line)
                }
                (None, None) => (None, Err(InputError::NoResource)),
            };
            self.waiting.push_back(Item { place, id, line });
        }
    }

    /// A resource with what the command line adds.
    fn complete(&self, text: String) -> Result<String, InputError> {
        match self.options.additions.is_empty() {
            true => Ok(text),
            false => completed(&text, &self.options.additions),
        }
    }

    /// The next row of a CSV file, which may have several lines; the number is that of its first.
    fn row(lines: &mut Lines<'_>) -> Result<Option<Numbered<Vec<u8>>>, Numbered<InputError>> {
        let mut row = loop {
            match lines.next_whole().map_err(|error| (lines.number(), error))? {
                Some(line) if line.trim_ascii().is_empty() => {}
                Some(line) => break line,
                None => return Ok(None),
            }
        };
        let number = lines.number();
        while is_open(&row) {
            if row.len() > LINE_BYTES_MAX {
                return Err((number, InputError::OpenQuote));
            }
            row.push(b'\n');
            let more = lines.next_whole().and_then(|line| line.ok_or(InputError::OpenQuote));
            row.extend(more.map_err(|error| match error {
                // Behind a line that was left out, rows and lines no longer fit.
                InputError::TooLong | InputError::DocumentTooLong => {
                    (number, InputError::OpenQuote)
                }
                error => (number, error),
            })?);
        }
        Ok(Some((number, row)))
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
            let read = match &self.format {
                Format::Csv(_) => Self::row(lines),
                _ => match lines.next() {
                    Ok(line) => Ok(line.map(|line| (lines.number(), line))),
                    Err(error) => Err((lines.number(), error)),
                },
            };
            match read {
                Ok(None) => self.lines = None,
                Ok(Some((number, text))) => {
                    let place = self.place(Some(number));
                    if let Format::Csv(rows) = &self.format {
                        let additions = &self.options.additions;
                        let read = text_of(&text).and_then(|row| rows.resource(row, additions));
                        let (id, line) = match read {
                            Ok((id, line)) => (id, short(line)),
                            Err(error) => (None, Err(error)),
                        };
                        return Some(Item { place, id, line });
                    }
                    match resource(&text) {
                        Ok(resource) => self.queue(&place, resource, &text),
                        Err(error) => return Some(Item { place, id: None, line: Err(error) }),
                    }
                }
                Err((number, error)) => {
                    if !matches!(error, InputError::TooLong | InputError::DocumentTooLong) {
                        self.lines = None;
                    }
                    let place = self.place(Some(number));
                    return Some(Item { place, id: None, line: Err(error) });
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
    /// A string where it is as it should be; the node says when it is not.
    id: Option<Value>,
    /// Of a Bundle, a string.
    #[serde(rename = "type")]
    bundle_type: Option<Value>,
    /// Of a Bundle.
    entry: Option<Vec<Entry>>,
    /// Of a Bundle: links to other pages among them.
    link: Option<Value>,
    /// Of a Bundle that a search found: how many matches there are.
    total: Option<Value>,
}

impl Resource {
    /// Why a Bundle does not hold everything that the search for it was about: with `--replace` the
    /// rest would be deleted.
    fn is_incomplete(&self) -> Option<&'static str> {
        let entries = self.entry.as_deref().unwrap_or_default();
        let links = self.link.as_ref().and_then(Value::as_array).into_iter().flatten();
        let matches = entries.iter().filter(|entry| !entry.is_outcome()).count() as u64;
        if links.into_iter().any(|link| link["relation"] == "next") {
            Some("is one page of several (it has a link to the next): import all of them together")
        } else if self.total.as_ref().and_then(Value::as_u64).is_some_and(|all| all > matches) {
            Some("holds fewer entries than its total says: it is not the whole result")
        } else if entries.iter().any(Entry::is_warning) {
            Some("says itself that it may lack something: it is a partial result")
        } else {
            None
        }
    }

    fn id(&self) -> Option<String> {
        self.id.as_ref().and_then(Value::as_str).map(str::to_owned)
    }
}

fn resource(text: &[u8]) -> Result<Resource, InputError> {
    let text = text_of(text)?;
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
        Some(_) => text().and_then(short),
    }
}

fn short(text: String) -> Result<String, InputError> {
    if text.len() > LINE_BYTES_MAX { Err(InputError::TooLong) } else { Ok(text) }
}

fn text_of(bytes: &[u8]) -> Result<&str, InputError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let lines = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        let is_one_line = !bytes.trim_ascii_end().contains(&b'\n');
        InputError::Utf8 { line: (!is_one_line).then_some(lines as u64 + 1) }
    })
}

/// Whether the text begins with UTF-16's byte order mark, or with a character that has a zero byte
/// in UTF-16 and none in UTF-8.
fn is_utf16(head: &[u8]) -> bool {
    head.starts_with(b"\xff\xfe")
        || head.starts_with(b"\xfe\xff")
        || head.get(..2).is_some_and(|two| two.contains(&0) && two != [0, 0])
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
    let text = text_of(text)?;
    Ok(text.trim().replace(['\r', '\n'], " "))
}

/// Whether some line is a whole resource: then the others are lines too.
fn has_a_good_line(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| line.len() <= LINE_BYTES_MAX)
        .any(|line| resource(line).is_ok_and(|resource| resource.kind.is_some()))
}
