//! The chain of lines: its form on disk, and the walk that checks it.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::IgnoredAny};
use sha2::{Digest as _, Sha256};

use super::record::DisclosureRecord;
use crate::store::StoreError;

/// Bytes of a line, its newline included: the largest record, with every character escaped, takes
/// 420 KiB. A reader stops there, whatever was put into the file.
pub const LINE_BYTES_MAX: usize = 512 * 1024;

const NAME_START: &str = "disclosures-";
const NAME_END: &str = ".jsonl";

/// A line as written: `previous` is the SHA-256 of the line before, in hexadecimal.
#[derive(Serialize)]
pub(crate) struct Line<'a, R = DisclosureRecord> {
    pub(crate) n: u64,
    pub(crate) previous: &'a str,
    pub(crate) record: &'a R,
}

/// A line as checked: records written by another version are as good.
#[derive(Deserialize)]
struct Link {
    n: u64,
    previous: String,
    #[serde(rename = "record")]
    _record: IgnoredAny,
}

/// Where a chain stands: enough to continue it, or to compare it with a copy kept elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The sequence number of the next line, which is the number of lines so far.
    pub next: u64,
    /// SHA-256 of the last line without its newline; zeros before the first.
    pub hash: [u8; 32],
}

impl Head {
    /// Before the first line ever.
    pub const START: Self = Self { next: 0, hash: [0; 32] };

    /// Behind line `n`, given without its newline.
    pub(crate) fn behind(n: u64, line: &[u8]) -> Self {
        Self { next: n.saturating_add(1), hash: Sha256::digest(line).into() }
    }
}

/// Why a line is not the one that belongs there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} at line {n}: {kind}", segment.display())]
pub struct ChainFault {
    /// The file.
    pub segment: PathBuf,
    /// The sequence number that was expected there.
    pub n: u64,
    kind: FaultKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum FaultKind {
    #[error("the file ends in the middle of a line")]
    Torn,
    #[error("not a line of this log, though such lines follow")]
    Unreadable,
    #[error("the line carries another sequence number: lines were removed, inserted or moved")]
    Sequence,
    #[error("the line before, or this one, was altered")]
    Previous,
}

impl ChainFault {
    /// Whether a crash explains it: nothing readable follows.
    pub(crate) fn is_torn_tail(&self) -> bool {
        self.kind == FaultKind::Torn
    }
}

/// The result of [`verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainReport {
    /// The first line present: 0, or later when older segments are archived.
    pub first: u64,
    /// Where the chain stands behind the last sound line. The chain cannot vouch for that line
    /// itself: compare with a head kept elsewhere. `None` when the only segment is a later one
    /// without a sound line, so that its predecessor would have to tell.
    pub head: Option<Head>,
    /// The first break, if any; nothing behind it was looked at.
    pub fault: Option<ChainFault>,
}

/// Walks all segments in `directory`, oldest first, up to the first break.
///
/// Reads only, and takes no lock: a line that a running node is just writing is reported as torn.
///
/// # Errors
/// When a file cannot be read.
pub fn verify(directory: impl AsRef<Path>) -> Result<ChainReport, StoreError> {
    let directory = directory.as_ref();
    let segments = segments(directory).map_err(|error| StoreError::from_io(directory, error))?;
    let first = segments.first().map_or(0, |(first, _)| *first);
    let start = segments.is_empty().then_some(Head::START);
    let mut report = ChainReport { first, head: start, fault: None };
    for (first, path) in segments {
        let walked =
            walk(&path, first, report.head).map_err(|error| StoreError::from_io(&path, error))?;
        (report.head, report.fault) = (walked.head, walked.fault);
        if report.fault.is_some() {
            break;
        }
    }
    Ok(report)
}

/// One segment, as far as it is sound.
pub(crate) struct Walked {
    pub(crate) head: Option<Head>,
    pub(crate) sound_bytes: u64,
    pub(crate) fault: Option<ChainFault>,
}

/// Checks the lines of a segment, which begins at line `first`, against each other and against
/// `head`, where the segment before ended. Without that, the first line is taken as it is.
pub(crate) fn walk(path: &Path, first: u64, head: Option<Head>) -> io::Result<Walked> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut head = head.or((first == 0).then_some(Head::START));
    let mut n = head.map_or(first, |head| head.next);
    let mut kind = (first != n).then_some(FaultKind::Sequence);
    let mut sound_bytes = 0;
    let mut line = Vec::new();
    while kind.is_none() {
        let length = read_line(&mut reader, &mut line)?;
        if length == 0 {
            break;
        }
        match check(&line, n, head) {
            Ok(behind) => {
                (head, n) = (Some(behind), behind.next);
                sound_bytes += length as u64;
            }
            Err(FaultKind::Torn) if followed_by_a_line(&mut reader, &mut line)? => {
                kind = Some(FaultKind::Unreadable);
            }
            Err(fault) => kind = Some(fault),
        }
    }
    let fault = kind.map(|kind| ChainFault { segment: path.to_owned(), n, kind });
    Ok(Walked { head, sound_bytes, fault })
}

fn check(line: &[u8], n: u64, head: Option<Head>) -> Result<Head, FaultKind> {
    let Some((b'\n', line)) = line.split_last() else { return Err(FaultKind::Torn) };
    let link: Link = serde_json::from_slice(line).map_err(|_| FaultKind::Torn)?;
    if link.n != n {
        return Err(FaultKind::Sequence);
    }
    if head.is_some_and(|head| hex::encode(head.hash) != link.previous) {
        return Err(FaultKind::Previous);
    }
    Ok(Head::behind(n, line))
}

/// Whether anything that looks like a line of this log is left to read.
fn followed_by_a_line(reader: &mut BufReader<File>, line: &mut Vec<u8>) -> io::Result<bool> {
    while read_line(reader, line)? > 0 {
        if serde_json::from_slice::<Link>(line).is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn read_line(reader: &mut BufReader<File>, line: &mut Vec<u8>) -> io::Result<usize> {
    line.clear();
    reader.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', line)
}

/// The segments in `directory` with their first line's number, oldest first.
pub(super) fn segments(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut segments = Vec::new();
    for entry in directory.read_dir()? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(NAME_START));
        let number = number.and_then(|name| name.strip_suffix(NAME_END));
        if let Some(first) = number.and_then(|number| number.parse().ok()) {
            segments.push((first, entry.path()));
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

/// The name of the segment that begins at line `first`; twelve digits, so that names sort.
pub(super) fn segment_name(first: u64) -> String {
    format!("{NAME_START}{first:012}{NAME_END}")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::disclosure::record::tests::record;

    /// Ten lines over two segments.
    fn chain(directory: &Path) -> Head {
        let mut head = Head::START;
        for first in [0, 5] {
            let mut bytes = Vec::new();
            for _ in 0..5 {
                let previous = hex::encode(head.hash);
                let line = Line { n: head.next, previous: &previous, record: &record() };
                let line = serde_json::to_vec(&line).unwrap();
                head = Head::behind(head.next, &line);
                bytes.extend(line);
                bytes.push(b'\n');
            }
            fs::write(directory.join(segment_name(first)), bytes).unwrap();
        }
        head
    }

    /// The fault that `change`, applied to the lines of the first segment, leaves behind.
    fn fault_after(change: impl Fn(&mut Vec<String>)) -> Option<(u64, FaultKind)> {
        let directory = tempfile::tempdir().unwrap();
        chain(directory.path());
        let path = directory.path().join(segment_name(0));
        let text = fs::read_to_string(&path).unwrap();
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        change(&mut lines);
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        verify(directory.path()).unwrap().fault.map(|fault| (fault.n, fault.kind))
    }

    #[test]
    fn an_untouched_chain_is_sound() {
        let directory = tempfile::tempdir().unwrap();
        let head = chain(directory.path());
        let report = verify(directory.path()).unwrap();
        assert_eq!(report, ChainReport { first: 0, head: Some(head), fault: None });
        assert_eq!(fault_after(|_| {}), None);
    }

    #[test]
    fn an_altered_line_shows_at_the_line_behind_it_over_segments_too() {
        let forge = |line: &mut String| *line = line.replace("RX898-1f3c", "RX898-1f3d");
        assert_eq!(fault_after(|lines| forge(&mut lines[1])), Some((2, FaultKind::Previous)));
        assert_eq!(fault_after(|lines| forge(&mut lines[4])), Some((5, FaultKind::Previous)));
    }

    #[test]
    fn lines_removed_moved_or_spoilt_show() {
        let removed = fault_after(|lines| drop(lines.remove(2)));
        assert_eq!(removed, Some((2, FaultKind::Sequence)));
        let shortened = fault_after(|lines| lines.truncate(4));
        assert_eq!(shortened, Some((4, FaultKind::Sequence)));
        let moved = fault_after(|lines| lines.swap(1, 2));
        assert_eq!(moved, Some((1, FaultKind::Sequence)));
        let spoilt = fault_after(|lines| lines[3].insert(0, 'x'));
        assert_eq!(spoilt, Some((3, FaultKind::Unreadable)));
    }

    #[test]
    fn the_oldest_segments_may_be_archived_but_not_one_in_between() {
        let directory = tempfile::tempdir().unwrap();
        let head = chain(directory.path());
        fs::remove_file(directory.path().join(segment_name(0))).unwrap();
        let report = verify(directory.path()).unwrap();
        assert_eq!(report, ChainReport { first: 5, head: Some(head), fault: None });

        chain(directory.path());
        let second = directory.path().join(segment_name(5));
        fs::rename(&second, directory.path().join(segment_name(6))).unwrap();
        let fault = verify(directory.path()).unwrap().fault.unwrap();
        assert_eq!((fault.n, fault.kind), (5, FaultKind::Sequence));
    }

    #[test]
    fn a_forged_last_line_shows_against_a_head_kept_elsewhere_only() {
        let directory = tempfile::tempdir().unwrap();
        let kept = chain(directory.path());
        let path = directory.path().join(segment_name(5));
        let text = fs::read_to_string(&path).unwrap();
        let last = text.lines().last().unwrap();
        fs::write(&path, text.replace(last, &last.replace("answered", "refused"))).unwrap();
        let report = verify(directory.path()).unwrap();
        assert_eq!(report.fault, None);
        assert_ne!(report.head, Some(kept));
    }

    #[test]
    fn an_endless_line_is_refused_without_reading_it_whole() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(segment_name(0)), vec![b' '; 3 * LINE_BYTES_MAX]).unwrap();
        let report = verify(directory.path()).unwrap();
        assert_eq!(report.head, Some(Head::START));
        assert!(report.fault.unwrap().is_torn_tail());
    }
}
