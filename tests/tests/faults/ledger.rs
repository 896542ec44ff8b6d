//! What was asked of the nodes and what they acknowledged: the truth that results are held against.
//!
//! A record is told by its serial number and its content's version, which both stand in its url, so
//! that whatever comes back says what it is. One writer at a time has a record; a write without an
//! answer leaves a doubt, which is settled by looking once the node is back: either outcome is right,
//! a third is not.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use serde_json::Value;
use signpost_tests::client::{Client, Reply, patient, record};

use crate::counts::Counts;

/// Patients among whom the records are spread, some eight records each at the end.
const PATIENTS: u32 = 400;

/// What a writer did without hearing of the outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Doubt {
    Create,
    Update,
    Delete,
}

#[derive(Clone, Debug)]
struct Record {
    patient: u32,
    holder: usize,
    id: Option<String>,
    /// Acknowledged versions, with the time of the acknowledgement.
    versions: Vec<(u64, Instant)>,
    deleting: Option<Instant>,
    deleted: Option<Instant>,
    doubt: Option<Doubt>,
    /// A writer has it.
    taken: bool,
    /// From then on every complete result must show it.
    settled: Option<Instant>,
}

impl Record {
    fn version(&self) -> u64 {
        self.versions.last().map_or(0, |(version, _)| *version)
    }

    /// The code of its holder, with which its id begins.
    fn ods(&self) -> Option<&str> {
        self.id.as_deref()?.split('-').next()
    }

    fn is_held(&self) -> bool {
        !self.versions.is_empty() && self.deleted.is_none()
    }
}

/// A record in the hands of a writer.
pub(crate) struct Taken {
    pub(crate) serial: u32,
    pub(crate) id: String,
    pub(crate) version: u64,
}

#[derive(Default)]
pub(crate) struct Ledger {
    records: Mutex<BTreeMap<u32, Record>>,
}

/// The url of a record's version.
fn url(serial: u32, version: u64) -> String {
    format!("https://records.example/{serial}/{version}")
}

/// The serial number and version that a resource is of.
fn name_of(resource: &Value) -> Option<(u32, u64)> {
    let url = resource["content"][0]["attachment"]["url"].as_str()?;
    let (serial, version) = url.strip_prefix("https://records.example/")?.split_once('/')?;
    Some((serial.parse().ok()?, version.parse().ok()?))
}

impl Ledger {
    fn records(&self) -> MutexGuard<'_, BTreeMap<u32, Record>> {
        self.records.lock().unwrap()
    }

    /// Writes that were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        let records = self.records();
        let count = |r: &Record| r.versions.len() + usize::from(r.deleted.is_some());
        records.values().map(count).sum::<usize>() as u64
    }

    /// Begins a record at `holder`; its patient is one of many, or one that has no other.
    pub(crate) fn begin(&self, holder: usize, only_one: bool) -> u32 {
        let mut records = self.records();
        let serial = records.len() as u32;
        let patient = if only_one { PATIENTS + serial } else { serial % PATIENTS };
        records.insert(
            serial,
            Record {
                patient,
                holder,
                id: None,
                versions: Vec::new(),
                deleting: None,
                deleted: None,
                doubt: None,
                taken: true,
                settled: None,
            },
        );
        serial
    }

    /// The resource of a record's version.
    pub(crate) fn resource(&self, ods: &str, serial: u32, version: u64) -> Value {
        record(ods, &patient(self.records()[&serial].patient), &url(serial, version))
    }

    /// Takes a record that `holder` has; `choice` says which.
    pub(crate) fn take(&self, holder: usize, choice: u64) -> Option<Taken> {
        let mut records = self.records();
        let free = |r: &Record| r.holder == holder && r.is_held() && !r.taken && r.doubt.is_none();
        let count = records.values().filter(|record| free(record)).count();
        let nth = (choice as usize).checked_rem(count)?;
        let (serial, record) = records.iter_mut().filter(|(_, record)| free(record)).nth(nth)?;
        record.taken = true;
        Some(Taken { serial: *serial, id: record.id.clone()?, version: record.version() })
    }

    /// Notes that a taken record is about to be deleted.
    pub(crate) fn deleting(&self, serial: u32) {
        self.records().get_mut(&serial).unwrap().deleting = Some(Instant::now());
    }

    /// A version was acknowledged.
    pub(crate) fn written(&self, serial: u32, id: &str, version: u64) {
        let mut records = self.records();
        let record = records.get_mut(&serial).unwrap();
        assert_eq!(version, record.version() + 1, "{id} of {serial}");
        record.id = Some(id.to_owned());
        record.versions.push((version, Instant::now()));
        record.taken = false;
    }

    /// A deletion was acknowledged.
    pub(crate) fn deleted(&self, serial: u32) {
        let mut records = self.records();
        let record = records.get_mut(&serial).unwrap();
        record.deleted = Some(Instant::now());
        record.taken = false;
    }

    /// A write was not answered, or with a failure.
    pub(crate) fn doubt(&self, serial: u32, doubt: Doubt) {
        let mut records = self.records();
        let record = records.get_mut(&serial).unwrap();
        record.doubt = Some(doubt);
        record.taken = false;
    }

    /// Everything that `holder` acknowledged before `since` must be in complete results from now on.
    pub(crate) fn settle(&self, holder: usize, since: Instant) {
        let now = Instant::now();
        for record in self.records().values_mut().filter(|record| record.holder == holder) {
            if record.versions.first().is_some_and(|(_, created)| *created < since) {
                record.settled.get_or_insert(now);
            }
        }
    }

    /// Looks at its holder, which has just come back, for the records that `which` picks: what was
    /// acknowledged must be there as it was, and doubts are settled by what is there.
    pub(crate) fn audit(
        &self,
        client: &Client,
        holder: usize,
        counts: &mut Counts,
        mut which: impl FnMut() -> bool,
    ) -> usize {
        let records: Vec<(u32, Record)> = self
            .records()
            .iter()
            .filter(|(_, record)| record.holder == holder)
            .filter(|(_, record)| record.doubt.is_some() || which())
            .map(|(serial, record)| (*serial, record.clone()))
            .collect();
        let count = records.len();
        for (serial, record) in records {
            let seen = self.seen(client, serial, &record);
            let held = record.is_held().then(|| record.version());
            let expected = match record.doubt {
                None => vec![held],
                Some(Doubt::Create | Doubt::Update) => vec![held, Some(record.version() + 1)],
                Some(Doubt::Delete) => vec![held, None],
            };
            match seen {
                Ok((_, seen)) if !expected.contains(&seen) => counts.lost(format!(
                    "record {serial} ({:?}): version {seen:?}, acknowledged {held:?}, doubt {:?}",
                    record.id, record.doubt
                )),
                Err(fault) => counts.lost(format!("record {serial} ({:?}): {fault}", record.id)),
                Ok((id, seen)) if record.doubt.is_some() => {
                    let mut records = self.records();
                    let record = records.get_mut(&serial).unwrap();
                    record.doubt = None;
                    record.id = record.id.take().or(id);
                    match seen {
                        Some(version) if version > record.version() => {
                            record.versions.push((version, Instant::now()));
                        }
                        // It was not deleted, and may be again.
                        Some(_) => record.deleting = None,
                        None if record.is_held() => record.deleted = Some(Instant::now()),
                        None => {}
                    }
                }
                Ok(_) => {}
            }
        }
        count
    }

    /// The id and version under which the holder has a record; `None` when it is deleted or was
    /// never made.
    fn seen(
        &self,
        client: &Client,
        serial: u32,
        record: &Record,
    ) -> Result<(Option<String>, Option<u64>), String> {
        let Some(id) = &record.id else {
            let reply = client.search(&patient(record.patient));
            let found = reply.pointers().find(|r| name_of(r).is_some_and(|(s, _)| s == serial));
            let id = found.and_then(|resource| resource["id"].as_str()).map(str::to_owned);
            return Ok((id, found.and_then(name_of).map(|(_, version)| version)));
        };
        let read = client.read(id);
        match read.status {
            200 => {
                let (found, version) = name_of(&read.body).ok_or("without its url")?;
                let etag = format!("W/\"{version}\"");
                if (found, &read.etag) != (serial, &etag) {
                    return Err(format!("{} and content {found}/{version}", read.etag));
                }
                Ok((None, Some(version)))
            }
            410 | 404 if record.versions.is_empty() || record.deleting.is_some() => {
                Ok((None, None))
            }
            status => Err(format!("{status}: {}", read.body)),
        }
    }

    /// Looks a patient up, and holds the result against what was acknowledged before it began.
    /// Returns whether it was complete; `None` when there was no result.
    pub(crate) fn look_up(
        &self,
        client: &Client,
        choice: u64,
        within: Duration,
        faults: &mut Vec<String>,
    ) -> Option<bool> {
        let of = {
            let records = self.records();
            let nth = (choice as usize).checked_rem(records.len())?;
            records.values().nth(nth)?.patient
        };
        self.look_up_of(client, of, within, faults)
    }

    /// [`Ledger::look_up`] of one patient.
    pub(crate) fn look_up_of(
        &self,
        client: &Client,
        of: u32,
        within: Duration,
        faults: &mut Vec<String>,
    ) -> Option<bool> {
        let began = Instant::now();
        let reply = client.search(&patient(of));
        let ended = Instant::now();
        // No result is no wrong result: the evaluators may be out of reach.
        if reply.status == 503 {
            return None;
        }
        assert_eq!(reply.status, 200, "{}", reply.body);
        faults.extend(self.judge(&reply, of, began, ended, within));
        Some(reply.completeness == "complete")
    }

    fn judge(
        &self,
        reply: &Reply,
        of: u32,
        began: Instant,
        ended: Instant,
        within: Duration,
    ) -> Vec<String> {
        let is_complete = reply.completeness == "complete";
        let found: BTreeMap<u32, u64> = reply.pointers().filter_map(name_of).collect();
        let records = self.records();
        let mut faults = Vec::new();
        for serial in found.keys() {
            if records.get(serial).is_none_or(|record| record.patient != of) {
                faults.push(format!("record {serial} is not of patient {of}"));
            }
        }
        for (serial, record) in records.iter().filter(|(_, record)| record.patient == of) {
            let first = record.versions.first().map(|(_, created)| *created);
            let age = first.and_then(|created| began.checked_duration_since(created));
            let is_due = age.is_some_and(|age| age >= within)
                || record.settled.is_some_and(|settled| settled <= began);
            let may_be_gone = record.deleting.is_some_and(|deleting| deleting <= ended);
            let before = record.versions.iter().filter(|(_, at)| *at <= began).map(|(v, _)| *v);
            let at_least = before.max().unwrap_or(0);
            // Its results are said to be of the time of a back-up: older is no surprise.
            let is_old = record.ods().is_some_and(|ods| reply.cause("restored", ods).is_some());
            match found.get(serial) {
                None if is_complete && is_due && !may_be_gone => faults.push(format!(
                    "called complete without record {serial} of node {}, acknowledged {age:.1?} before",
                    record.holder,
                )),
                Some(_) if is_old => {}
                Some(_) if record.deleted.is_some_and(|deleted| deleted <= began) => {
                    faults.push(format!("record {serial} is shown and was deleted before"));
                }
                Some(version) if *version < at_least => faults.push(format!(
                    "record {serial} is shown at version {version}, not {at_least}"
                )),
                Some(version) if *version > record.version() + 1 => {
                    faults.push(format!("nobody wrote version {version} of record {serial}"));
                }
                _ => {}
            }
        }
        faults
    }

    /// The patients of all records that some node holds.
    pub(crate) fn patients(&self) -> Vec<u32> {
        let records = self.records();
        let held = records.values().filter(|record| record.is_held());
        let mut patients: Vec<u32> = held.map(|record| record.patient).collect();
        patients.sort_unstable();
        patients.dedup();
        patients
    }

    /// Whether a result shows a record.
    pub(crate) fn shows(reply: &Reply, serial: u32) -> bool {
        reply.pointers().any(|resource| name_of(resource).is_some_and(|(found, _)| found == serial))
    }

    /// Whether a record is held, as far as is known.
    pub(crate) fn is_held(&self, serial: u32) -> bool {
        self.records()[&serial].is_held()
    }

    /// The patient of a record.
    pub(crate) fn patient_of(&self, serial: u32) -> u32 {
        self.records()[&serial].patient
    }
}
