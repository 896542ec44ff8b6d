//! The admin's log: what was signed on this machine, and what became of it.
//!
//! JSON, one object a line, each with the hash of the line before, as the disclosure log has it
//! (`store/disclosure`). A line is on disk before what it tells of leaves this machine, so that the
//! same steward does not contradict itself after a command that was cut short. The chain shows
//! alterations as long as the tail was not rewritten whole; who wants to rule that out keeps a copy.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use signpost_protocol::{OrganizationId, Timestamp, roster::Subject};

use super::{checks::Signed, fail};
use crate::store::{Head, LINE_BYTES_MAX, Line, set_torn_tail_aside, walk};

/// Name of the log in the node's directory.
pub(super) const FILE: &str = "admin.log";

/// Which step of a command a line tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Event {
    /// A statement was signed; it has not left yet.
    Signed,
    /// The node has taken it up.
    Accepted,
    /// The node has refused it.
    Refused,
    /// It was written to a file, to be handed on.
    Written,
}

/// One line's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// When, RFC 3339.
    pub(super) time: String,
    /// The command.
    pub(super) command: String,
    /// The step.
    pub(super) event: Event,
    /// What was signed, in words.
    pub(super) what: String,
    /// Who signed: the organization's id.
    pub(super) organization: String,
    /// The hash of the statement.
    pub(super) statement: String,
    /// The id of the proposal.
    pub(super) proposal: String,
    /// What the proposal is about, as [`subject`] writes it.
    pub(super) subject: String,
    /// Which version of it.
    pub(super) version: u64,
    /// When the proposal is void, in milliseconds since 1970.
    pub(super) expires: u64,
    /// Whether an approval was signed, rather than an objection.
    pub(super) approves: bool,
}

/// The log, open and locked. Another command waits for this one to end.
pub(super) struct AdminLog {
    path: PathBuf,
    file: File,
    head: Head,
    entries: Vec<Entry>,
}

/// A log as it was read.
pub(super) struct LogReading {
    pub(super) entries: Vec<Entry>,
    /// The first break of the chain, if any.
    pub(super) fault: Option<String>,
}

impl AdminLog {
    /// Opens the log in `dir`, and checks it.
    ///
    /// # Errors
    /// When there is no such directory, or the log was altered.
    pub(super) fn open(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(FILE);
        if !dir.is_dir() {
            return Err(fail(
                format!(
                    "there is no directory {}, where the log of what you sign is kept",
                    dir.display()
                ),
                "name the node's directory with --dir, or make a directory for it",
            ));
        }
        let cannot = || format!("cannot open {}", path.display());
        let mut options = OpenOptions::new();
        options.append(true).create(true).read(true).mode(0o600);
        let file = options.open(&path).with_context(cannot)?;
        file.lock().with_context(cannot)?;
        let walked = walk(&path, 0, None).with_context(cannot)?;
        match &walked.fault {
            None => {}
            // A crash in the middle of a line, which nothing has relied on yet.
            Some(fault) if fault.is_torn_tail() => {
                set_torn_tail_aside(&path, walked.sound_bytes).with_context(cannot)?;
            }
            Some(fault) => return Err(altered(&fault.to_string())),
        }
        let entries = read_entries(&path)?;
        Ok(Self { path, file, head: walked.head.unwrap_or(Head::START), entries })
    }

    /// Adds a line. It is on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn append(&mut self, entry: Entry) -> anyhow::Result<()> {
        let previous = hex::encode(self.head.hash);
        let line = Line { n: self.head.next, previous: &previous, record: &entry };
        let mut line = serde_json::to_vec(&line)?;
        let head = Head::behind(self.head.next, &line);
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_all());
        written.with_context(|| format!("cannot write {}", self.path.display()))?;
        self.head = head;
        self.entries.push(entry);
        Ok(())
    }

    /// What it holds.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// The proposals for one subject and version that an organization has approved.
pub(super) fn signed(
    entries: &[Entry],
    organization: &OrganizationId,
    about: Subject,
    version: u64,
) -> Vec<Signed> {
    let (organization, about) = (organization.to_string(), subject(about));
    let same = |entry: &&Entry| {
        entry.approves
            && entry.organization == organization
            && entry.subject == about
            && entry.version == version
    };
    let by_id: BTreeMap<&str, u64> =
        entries.iter().filter(same).map(|e| (e.proposal.as_str(), e.expires)).collect();
    let signed = by_id.into_iter().filter_map(|(id, expires)| {
        Some(Signed { proposal: id.parse().ok()?, expires: Timestamp(expires) })
    });
    signed.collect()
}

/// The highest version of a subject that was approved.
pub(super) fn version_max(entries: &[Entry], about: Subject) -> u64 {
    let about = subject(about);
    let versions = entries.iter().filter(|e| e.approves && e.subject == about);
    versions.map(|entry| entry.version).max().unwrap_or(0)
}

/// What the log in `dir` holds, nothing when there is none; for rehearsals, which write nothing.
///
/// # Errors
/// When it cannot be read, or was altered.
pub(super) fn peek(dir: &Path) -> anyhow::Result<Vec<Entry>> {
    let path = dir.join(FILE);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let walked = walk(&path, 0, None).with_context(|| format!("cannot read {}", path.display()))?;
    match &walked.fault {
        Some(fault) if !fault.is_torn_tail() => Err(altered(&fault.to_string())),
        _ => read_entries(&path),
    }
}

fn altered(fault: &str) -> anyhow::Error {
    fail(
        format!("the log of what you sign was altered: {fault}"),
        "find out by whom; to go on, move it aside and keep it: it shows what this steward must not \
         contradict",
    )
}

/// Reads the log in `dir` without locking it.
///
/// # Errors
/// When there is none, or it cannot be read.
pub(super) fn read(dir: &Path) -> anyhow::Result<LogReading> {
    let path = dir.join(FILE);
    if !path.exists() {
        return Err(fail(
            format!("{} has no log: nothing was signed there", dir.display()),
            "name the node's directory with --dir",
        ));
    }
    let walked = walk(&path, 0, None).with_context(|| format!("cannot read {}", path.display()))?;
    let fault = walked.fault.map(|fault| fault.to_string());
    let sound = walked.head.map_or(0, |head| head.next);
    let mut entries = read_entries(&path)?;
    entries.truncate(usize::try_from(sound).unwrap_or(usize::MAX));
    Ok(LogReading { entries, fault })
}

/// The entries up to the first line that is none.
fn read_entries(path: &Path) -> anyhow::Result<Vec<Entry>> {
    #[derive(Deserialize)]
    struct Kept {
        record: Entry,
    }
    let read = || -> io::Result<Vec<Entry>> {
        let mut reader = BufReader::new(File::open(path)?);
        let (mut entries, mut line) = (Vec::new(), Vec::new());
        loop {
            line.clear();
            let mut bounded = io::Read::take(&mut reader, LINE_BYTES_MAX as u64);
            bounded.read_until(b'\n', &mut line)?;
            match serde_json::from_slice::<Kept>(&line) {
                Ok(kept) => entries.push(kept.record),
                Err(_) => return Ok(entries),
            }
        }
    };
    read().with_context(|| format!("cannot read {}", path.display()))
}

/// A subject as the log writes it.
pub(super) fn subject(subject: Subject) -> String {
    match subject {
        Subject::Member(organization) => format!("member {organization}"),
        Subject::Stewards => "stewards".to_owned(),
        Subject::Evaluators => "evaluators".to_owned(),
        Subject::Root(organization) => format!("root {organization}"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use signpost_protocol::ContentHash;

    use super::*;

    fn entry(n: u8, version: u64) -> Entry {
        Entry {
            time: "2026-01-01T00:00:00Z".to_owned(),
            command: "approve".to_owned(),
            event: Event::Signed,
            what: "Suspend".to_owned(),
            organization: OrganizationId([7; 32]).to_string(),
            statement: ContentHash([n; 32]).to_string(),
            proposal: ContentHash([n; 32]).to_string(),
            subject: subject(Subject::Stewards),
            version,
            expires: 5,
            approves: true,
        }
    }

    fn written(entries: &[Entry]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for entry in entries {
            // Opened anew each time, as each command does.
            AdminLog::open(dir.path()).unwrap().append(entry.clone()).unwrap();
        }
        dir
    }

    #[test]
    fn what_was_signed_is_found_again() {
        let dir = written(&[entry(1, 3), entry(2, 4), entry(1, 3)]);
        let log = AdminLog::open(dir.path()).unwrap();
        let steward = OrganizationId([7; 32]);
        let signed = |steward, about| signed(log.entries(), steward, about, 3);
        let expected = Signed { proposal: ContentHash([1; 32]), expires: Timestamp(5) };
        assert_eq!(signed(&steward, Subject::Stewards), [expected]);
        assert!(signed(&OrganizationId([8; 32]), Subject::Stewards).is_empty());
        assert!(signed(&steward, Subject::Member(steward)).is_empty());
        assert_eq!(version_max(log.entries(), Subject::Stewards), 4);
        assert_eq!(peek(dir.path()).unwrap(), log.entries());
        let reading = read(dir.path()).unwrap();
        assert_eq!((reading.entries.len(), reading.fault), (3, None));
    }

    #[test]
    fn an_altered_log_is_shown_and_nothing_more_is_signed_with_it() {
        let dir = written(&[entry(1, 3), entry(2, 4), entry(3, 5)]);
        let path = dir.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replacen("\"version\":3", "\"version\":2", 1)).unwrap();
        let error = AdminLog::open(dir.path()).err().unwrap().to_string();
        assert!(error.contains("altered") && error.contains("line 1"), "{error}");
        assert!(peek(dir.path()).is_err());
        let reading = read(dir.path()).unwrap();
        assert_eq!(reading.entries.len(), 1, "only what is sound is shown");
        assert!(reading.fault.is_some());
    }

    #[test]
    fn a_line_torn_by_a_crash_is_set_aside() {
        let dir = written(&[entry(1, 3), entry(2, 4)]);
        let path = dir.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        let mut log = AdminLog::open(dir.path()).unwrap();
        assert_eq!(log.entries.len(), 1);
        log.append(entry(3, 5)).unwrap();
        drop(log);
        let reading = read(dir.path()).unwrap();
        assert_eq!((reading.entries.len(), reading.fault), (2, None));
        assert!(dir.path().join("admin.log.torn").exists());
    }

    #[test]
    fn without_a_directory_nothing_is_kept_nor_made() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        assert!(AdminLog::open(&missing).is_err());
        assert!(peek(&missing).unwrap().is_empty());
        assert!(!missing.exists());
        assert!(read(dir.path()).is_err());
    }
}
