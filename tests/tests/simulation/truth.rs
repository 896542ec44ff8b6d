//! What is true, kept apart from the nodes: what each holder was asked to write, what it
//! acknowledged and when, and so what may be shown, what must be shown, and what must not.
//!
//! Times are milliseconds of true time since the founding.

use std::collections::BTreeMap;

use signpost_node::{
    core::{local::Written, rows::PointerRow},
    store::Store,
};
use signpost_protocol::{Locator, Pointer, PointerId, PointerState, Timestamp};

use crate::common::text_of;

/// Something is not as it must be: one sentence.
pub type Violation = String;

/// One thing that a producer wanted of a pointer.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// When it was sent.
    pub begun: u64,
    /// The text it is to have; `None` to delete it.
    pub text: Option<u64>,
    /// When it was acknowledged; before that, and for ever after a crash, nobody knows.
    pub acknowledged: Option<u64>,
}

/// One pointer.
#[derive(Clone, Debug)]
pub struct Record {
    /// The node that holds it.
    pub holder: usize,
    /// The patient's number in the test.
    pub patient: u32,
    /// Whether its holder advertises it.
    pub listed: bool,
    /// In the order in which they were sent, one at a time; refused ones are taken out.
    pub attempts: Vec<Attempt>,
    /// When the oldest version that its holder's disk holds now was acknowledged.
    pub held_since: Option<u64>,
    /// Its holder's disk is an older one, or empty, and the producer has not yet sent it again.
    pub in_doubt: bool,
    /// It was deleted, its tombstone went with its holder's disk, and the holder said since that it
    /// has nothing of it: there is nothing of it to be found on this disk.
    pub forgotten: bool,
    /// The last version acknowledged by this disk.
    version: u64,
}

impl Record {
    /// The position of the last attempt acknowledged by `time`.
    pub fn settled(&self, time: u64) -> Option<usize> {
        self.attempts.iter().rposition(|a| a.acknowledged.is_some_and(|at| at <= time))
    }

    /// The text that it has if nothing is under way; `None` when deleted or never acknowledged.
    pub fn text(&self) -> Option<u64> {
        self.settled(u64::MAX).and_then(|at| self.attempts[at].text)
    }

    /// Whether it certainly exists from `from` to `to`.
    pub fn exists(&self, from: u64, to: u64) -> bool {
        let Some(base) = self.settled(from) else { return false };
        self.attempts[base].text.is_some()
            && !self.attempts[base..].iter().any(|a| a.text.is_none() && a.begun <= to)
    }
}

/// What is true.
#[derive(Default)]
pub struct Truth {
    /// Every pointer that an honest producer asked for.
    pub pointers: BTreeMap<PointerId, Record>,
    locators: BTreeMap<u32, Locator>,
    /// What each version of each pointer says, on each disk of its holder.
    pins: BTreeMap<(PointerId, u32, u64), (Timestamp, Option<u64>)>,
    disks: BTreeMap<usize, u32>,
}

impl Truth {
    /// Notes what a producer sends.
    pub fn begin(
        &mut self,
        id: &PointerId,
        holder: usize,
        patient: u32,
        listed: bool,
        begun: u64,
        text: Option<u64>,
    ) {
        let record = self.pointers.entry(id.clone()).or_insert(Record {
            holder,
            patient,
            listed,
            attempts: Vec::new(),
            held_since: None,
            in_doubt: false,
            forgotten: false,
            version: 0,
        });
        record.attempts.push(Attempt { begun, text, acknowledged: None });
    }

    /// The last thing sent was refused: nothing was changed.
    pub fn refused(&mut self, id: &PointerId) {
        let record = self.pointers.get_mut(id).expect("was begun");
        record.attempts.pop();
    }

    /// The last thing sent was acknowledged at `time`.
    pub fn acknowledged(
        &mut self,
        id: &PointerId,
        time: u64,
        written: &Written,
    ) -> Result<(), Violation> {
        let record = self.pointers.get_mut(id).expect("was begun");
        let attempt = record.attempts.last_mut().expect("was begun");
        attempt.acknowledged = Some(time);
        let text = attempt.text;
        if !record.in_doubt && written.version < record.version {
            return Err(format!(
                "{id} went back to version {} from {}",
                written.version, record.version
            ));
        }
        record.version = written.version;
        record.held_since = match text {
            Some(_) => Some(record.held_since.filter(|_| !record.in_doubt).unwrap_or(time)),
            None => None,
        };
        (record.in_doubt, record.forgotten) = (false, false);
        let holder = record.holder;
        self.pin(id, holder, written.version, written.issued, text)
    }

    /// Nothing of it is on the disk and nothing need be: it was deleted before, by a request that was
    /// acknowledged on another disk or never at all.
    pub fn nothing_to_resend(&mut self, id: &PointerId) {
        let record = self.pointers.get_mut(id).expect("was begun");
        record.attempts.pop();
        (record.in_doubt, record.forgotten) = (false, true);
    }

    /// It turned out that it was deleted by a request whose outcome nobody was told.
    pub fn gone(&mut self, id: &PointerId, time: u64) {
        let record = self.pointers.get_mut(id).expect("was begun");
        record.attempts.pop();
        let deletion = record.attempts.iter_mut().rfind(|attempt| attempt.text.is_none());
        deletion.expect("nothing else makes it gone").acknowledged = Some(time);
        (record.in_doubt, record.held_since) = (false, None);
    }

    /// A holder's disk was replaced by an older one, or by an empty one.
    pub fn disk_replaced(&mut self, holder: usize) {
        *self.disks.entry(holder).or_default() += 1;
        for record in self.pointers.values_mut().filter(|record| record.holder == holder) {
            record.in_doubt = true;
            record.held_since = None;
            record.version = 0;
        }
    }

    /// Whether a holder's producers have something to send again.
    pub fn has_doubt(&self, holder: usize) -> bool {
        self.pointers.values().any(|record| record.holder == holder && record.in_doubt)
    }

    /// DESIGN §7.3: after a crash everything acknowledged is on this disk.
    pub fn check_disk(&self, holder: usize, store: &dyn Store) -> Result<(), Violation> {
        for (id, record) in &self.pointers {
            let Some(base) = record.settled(u64::MAX) else { continue };
            if record.holder != holder || record.in_doubt || record.forgotten {
                continue;
            }
            let row = PointerRow::read(store, id).map_err(|error| error.to_string())?;
            let row = row.ok_or_else(|| format!("{id} was acknowledged and is not on disk"))?;
            let pointer = row.pointer().map_err(|error| error.to_string())?;
            let at = self.attempt_of(record, &pointer, u64::MAX);
            if at.is_none_or(|at| at < base) || pointer.version < record.version {
                return Err(format!(
                    "version {} of {id} was acknowledged, and version {} is on disk",
                    record.version, pointer.version
                ));
            }
        }
        Ok(())
    }

    /// DESIGN §7.2: a pointer shown between `from` and `to` is one that its holder was asked to make,
    /// of that patient, not replaced or deleted before.
    pub fn check_shown(
        &mut self,
        pointer: &Pointer,
        patient: Option<u32>,
        from: u64,
        to: u64,
    ) -> Result<(), Violation> {
        let id = &pointer.id;
        let Some(record) = self.pointers.get(id).cloned() else {
            return Err(format!("{id} was shown and nobody ever made it"));
        };
        if patient.is_some_and(|patient| patient != record.patient) {
            return Err(format!("{id} was shown and is of another patient"));
        }
        self.check_locator(record.patient, pointer.locator)?;
        let Some(at) = self.attempt_of(&record, pointer, to) else {
            return Err(format!("{id} was shown with a content that nobody gave it"));
        };
        if !record.in_doubt && record.settled(from).is_some_and(|base| at < base) {
            let text = record.attempts[record.settled(from).expect("just looked")].text;
            let what = if text.is_none() { "deleted" } else { "changed" };
            return Err(format!("{id} was shown as it was before it was {what}"));
        }
        if record.in_doubt {
            // Which of its holder's disks this version is of cannot be told.
            return Ok(());
        }
        self.pin(id, record.holder, pointer.version, pointer.issued, record.attempts[at].text)
    }

    /// Every pointer of a patient has the same locator.
    pub fn check_locator(&mut self, patient: u32, locator: Locator) -> Result<(), Violation> {
        let known = *self.locators.entry(patient).or_insert(locator);
        if known == locator { Ok(()) } else { Err(format!("two locators for patient {patient}")) }
    }

    /// The last attempt, begun by `to`, that a pointer agrees with.
    pub fn attempt_of(&self, record: &Record, pointer: &Pointer, to: u64) -> Option<usize> {
        let text = match pointer.state {
            PointerState::Tombstone => None,
            _ => Some(text_of(&pointer.resource)?),
        };
        record.attempts.iter().rposition(|attempt| attempt.text == text && attempt.begun <= to)
    }

    fn pin(
        &mut self,
        id: &PointerId,
        holder: usize,
        version: u64,
        issued: Timestamp,
        text: Option<u64>,
    ) -> Result<(), Violation> {
        let disk = self.disks.get(&holder).copied().unwrap_or(0);
        let says = (issued, text);
        let known = *self.pins.entry((id.clone(), disk, version)).or_insert(says);
        if known == says {
            Ok(())
        } else {
            Err(format!("version {version} of {id} is two different things"))
        }
    }
}
