//! Creating, changing and deleting this node's own pointers.
//!
//! A change is told only when it is durable. Each pointer is one atomic batch: its newest version,
//! the version before it, the index by patient and the count move together.

use std::collections::BTreeSet;

use rand_core::Rng as _;
use signpost_keys::{Verified, sign};
use signpost_protocol::{
    KeyEpoch, OdsCode, OrganizationId, PatientIdentifier, Pointer, PointerId, PointerState,
    Timestamp, blind::EvaluatePurpose, codec::ByteString,
};
use tracing::error;

use super::{
    Core, Persist, Served, Ticket, Turn,
    blinder::Waiter,
    event::Action,
    held::{Change, Held, Overlay, PendingWrites},
    local::{Draft, Effect, LocalReply, LocateError, NewId, Put, Write, WriteError, Written},
    rows::{self, PointerRow, RowError},
    source::Source,
};
use crate::store::Batch;

/// Milliseconds in which the locators of a batch of writes must be had: producers are machines
/// that try again.
const WRITE_DEADLINE: u64 = 10_000;

/// A batch of writes that waits for locators.
pub(super) struct WriteJob {
    ticket: Ticket,
    asking: OrganizationId,
    writes: Vec<Write>,
}

impl Core {
    pub(super) fn start_writes(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        asking: OrganizationId,
        writes: Vec<Write>,
    ) {
        let is_admitted = self.check_admitted(&asking).is_ok();
        let epoch = self.key_epoch();
        let mut unknown = BTreeSet::new();
        for write in &writes {
            let (Write::Create { draft, .. }
            | Write::Put(Put { draft, .. })
            | Write::Update { draft, .. }) = write
            else {
                continue;
            };
            // What will be refused anyhow costs no evaluation; what is held already needs none.
            if is_admitted
                && self.served_of(&asking, &draft.custodian).is_ok()
                && !self.recall(turn, (asking, epoch), write, draft)
            {
                unknown.insert(draft.patient);
            }
        }
        let job = WriteJob { ticket, asking, writes };
        if unknown.is_empty() {
            return self.ready_writes.push_back((job, Ok(())));
        }
        let id = self.number();
        self.writes.insert(id, job);
        let patients = unknown.into_iter().collect();
        let deadline = turn.now.uptime + WRITE_DEADLINE;
        let waiter = (Waiter::Writes(id), asking);
        self.start_blinding(turn, waiter, patients, EvaluatePurpose::Publish, deadline);
    }

    /// Whether the locator of a draft's patient is known, from the cache or from the pointer
    /// that the write is about.
    fn recall(
        &mut self,
        turn: &Turn<'_>,
        (asking, epoch): (OrganizationId, KeyEpoch),
        write: &Write,
        draft: &Draft,
    ) -> bool {
        let uptime = turn.now.uptime;
        if self.cache.find(asking, epoch, &draft.patient, uptime).is_some() {
            return true;
        }
        let id = match write {
            Write::Update { id, .. } => Some(id.clone()),
            Write::Create { id, .. } | Write::Put(Put { id, .. }) => match id {
                NewId::Given(id) => Some(id.clone()),
                NewId::FromContent => self.content_id(&asking, draft).ok(),
                NewId::Random => None,
            },
            Write::Delete { .. } | Write::Remove { .. } => None,
        };
        let held = id.and_then(|id| self.held(turn.store, &id).ok().flatten());
        match held {
            Some(held) if held.patient == draft.patient && held.pointer.key_epoch == epoch => {
                self.cache.insert(asking, epoch, draft.patient, held.pointer.locator, uptime);
                true
            }
            _ => false,
        }
    }

    pub(super) fn writes_blinded(&mut self, job: u64, result: Result<(), LocateError>) {
        if let Some(job) = self.writes.remove(&job) {
            self.ready_writes.push_back((job, result));
        }
    }

    /// Carries out the writes of a job, one after the other, and tells all results once what was
    /// done is durable.
    pub(super) fn finish_writes(
        &mut self,
        turn: &mut Turn<'_>,
        job: WriteJob,
        blinded: Result<(), LocateError>,
    ) {
        let mut pending = PendingWrites::default();
        let mut results = Vec::with_capacity(job.writes.len());
        for write in job.writes {
            let overlay = Overlay { asking: job.asking, store: turn.store, pending: &pending };
            let decided = self.decide_write(turn, &overlay, write, &blinded);
            results.push(decided.map(|(written, change)| {
                if let Some(change) = change {
                    pending.changes.push(change);
                }
                written
            }));
        }
        let mut batches = Vec::with_capacity(pending.changes.len());
        for change in pending.changes {
            if let Some(locator) = change.advertise {
                self.advertise(&change.organization, locator, turn.now.uptime);
            }
            batches.push(change.batch);
        }
        let failed = results
            .iter()
            .map(|result| match result {
                Ok(_) => Err(WriteError::Storage("the node's store failed".to_owned())),
                Err(error) => Err(error.clone()),
            })
            .collect();
        let answer =
            |results| Action::Answer { ticket: job.ticket, reply: LocalReply::Write(results) };
        turn.act(Action::Persist(Persist {
            batches,
            disclosures: Vec::new(),
            then: vec![answer(results)],
            otherwise: vec![answer(failed)],
        }));
    }

    fn decide_write(
        &mut self,
        turn: &Turn<'_>,
        overlay: &Overlay<'_>,
        write: Write,
        blinded: &Result<(), LocateError>,
    ) -> Result<(Written, Option<Change>), WriteError> {
        let asking = &overlay.asking;
        // Deleting goes on whatever the organization's standing: what is gone is in no answer.
        if !matches!(write, Write::Delete { .. } | Write::Remove { .. }) {
            self.check_admitted(asking)?;
        }
        match write {
            Write::Create { id, draft } => {
                let id = self.new_id(asking, &id, &draft)?;
                match self.held(overlay, &id).map_err(storage)? {
                    None => self.write_version(turn, overlay, id, draft, (None, None), blinded),
                    Some(held) if held.is_deleted() => Err(WriteError::Gone(id)),
                    Some(_) => Err(WriteError::Exists(id)),
                }
            }
            Write::Put(Put { id, draft, source }) => {
                let id = self.new_id(asking, &id, &draft)?;
                let held = self.held(overlay, &id).map_err(storage)?;
                if let Some(held) = &held {
                    held.admits(&source)?;
                }
                self.write_version(turn, overlay, id, draft, (held, Some(source)), blinded)
            }
            Write::Update { id, if_match, draft } => {
                self.check_prefix(asking, &id, &draft.custodian)?;
                let held = self.to_change(overlay, &id, if_match)?;
                let source = held.source().cloned();
                self.write_version(turn, overlay, id, draft, (Some(held), source), blinded)
            }
            Write::Delete { id, if_match } => self.delete(turn, overlay, id, if_match),
            Write::Remove { id, source } => {
                self.served_of(asking, &id.ods_code())?;
                let held = self.held(overlay, &id).map_err(storage)?;
                if held.is_some_and(|held| held.source() != Some(&source)) {
                    return Err(WriteError::NotOfSource { id, owner: source });
                }
                self.delete(turn, overlay, id, None)
            }
        }
    }

    /// The pointer to be changed, at the version that the producer saw.
    fn to_change(
        &self,
        overlay: &Overlay<'_>,
        id: &PointerId,
        if_match: Option<u64>,
    ) -> Result<Held, WriteError> {
        self.served_of(&overlay.asking, &id.ods_code())?;
        let held = self.held(overlay, id).map_err(storage)?;
        let held = held.ok_or_else(|| WriteError::NotFound(id.clone()))?;
        if held.is_deleted() {
            return Err(WriteError::Gone(id.clone()));
        }
        match if_match.filter(|expected| *expected != held.pointer.version) {
            None => Ok(held),
            Some(expected) => {
                let current = held.pointer.version;
                Err(WriteError::VersionMismatch { id: id.clone(), current, expected })
            }
        }
    }

    fn write_version(
        &mut self,
        turn: &Turn<'_>,
        overlay: &Overlay<'_>,
        id: PointerId,
        draft: Draft,
        (held, source): (Option<Held>, Option<Source>),
        blinded: &Result<(), LocateError>,
    ) -> Result<(Written, Option<Change>), WriteError> {
        // Whose custodian this is was checked with the id.
        let organization = overlay.asking;
        if let Some(held) = &held {
            // A version that others refuse spoils every answer it is part of: it is signed again.
            match held.effect_of(&draft, self.is_believed(held, turn.now.unix))? {
                Effect::Unchanged if held.source() == source.as_ref() => {
                    return Ok((held.written(Effect::Unchanged), None));
                }
                Effect::Unchanged => {
                    let change = self.take_over(overlay, held, source)?;
                    return Ok((held.written(Effect::Unchanged), Some(change)));
                }
                _ => {}
            }
        }
        self.check_signing(&organization, turn.now.unix)?;
        let key_epoch = self.key_epoch();
        let locator = self.cache.find(organization, key_epoch, &draft.patient, turn.now.uptime);
        let locator = locator.ok_or_else(|| {
            let busy = LocateError::Busy("the locator was not evaluated; try again");
            WriteError::Blinding(blinded.clone().err().unwrap_or(busy))
        })?;
        let pointer = Pointer {
            id,
            version: held.as_ref().map_or(1, |held| held.pointer.version + 1),
            organization,
            custodian_suffix: draft.custodian_suffix,
            state: draft.state,
            listed: draft.listed.unwrap_or(held.as_ref().is_none_or(|held| held.pointer.listed)),
            key_epoch,
            locator,
            issued: turn.now.unix,
            resource: draft.resource,
        };
        let effect = match &held {
            Some(held) if !held.is_deleted() => Effect::Updated,
            _ => Effect::Created,
        };
        let change = self.change(overlay, pointer, &draft.patient, (held, source), effect)?;
        Ok((change.0, Some(change.1)))
    }

    /// Refuses to sign what every other node would refuse: by a key that is not valid now, or
    /// dated by a clock that is wrong. Deleting goes on: what is gone is in no answer.
    fn check_signing(
        &self,
        organization: &OrganizationId,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        let served = self.served(organization).ok_or_else(lost_organization)?;
        let validity = self.roster.key_validity(&served.pointer.key_id(), organization);
        if validity.is_none_or(|(from, until)| now < from || until <= now) {
            return Err(WriteError::CannotSign(
                "the organization's pointer key is not valid at this time: see `signpost status`",
            ));
        }
        if self.clock_is_surely_wrong() {
            return Err(WriteError::CannotSign(
                "this machine's clock differs from the other nodes' by more than the network \
                 allows: correct it and try again",
            ));
        }
        Ok(())
    }

    /// Notes that a pointer is a source's from now on. What the pointer says stays, and so does its
    /// version.
    fn take_over(
        &self,
        overlay: &Overlay<'_>,
        held: &Held,
        source: Option<Source>,
    ) -> Result<Change, WriteError> {
        let Pointer { id, organization, .. } = &held.pointer;
        let row = PointerRow { source, ..held.row.clone() };
        let bytes = row.encode();
        let mut batch = Batch::new();
        let mut put = || {
            batch.put(rows::pointer_key(id), &*bytes)?;
            match &row.source {
                Some(source) => batch.put(rows::source_key(organization, source, id), []),
                None => Ok(()),
            }
        };
        put().map_err(unfitting)?;
        Ok(Change {
            organization: *organization,
            id: id.clone(),
            row: bytes,
            count: overlay.count(organization).map_err(storage)?,
            batch,
            advertise: None,
        })
    }

    fn delete(
        &mut self,
        turn: &Turn<'_>,
        overlay: &Overlay<'_>,
        id: PointerId,
        if_match: Option<u64>,
    ) -> Result<(Written, Option<Change>), WriteError> {
        let held = match self.to_change(overlay, &id, if_match) {
            // Deleting twice is deleting once.
            Err(WriteError::Gone(_)) => {
                let held = self.held(overlay, &id).map_err(storage)?;
                let held = held.ok_or(WriteError::NotFound(id))?;
                return Ok((held.written(Effect::Unchanged), None));
            }
            held => held?,
        };
        let pointer = Pointer {
            version: held.pointer.version + 1,
            state: PointerState::Tombstone,
            issued: turn.now.unix,
            resource: ByteString::default(),
            ..held.pointer.clone()
        };
        let (patient, source) = (held.patient, held.source().cloned());
        self.change(overlay, pointer, &patient, (Some(held), source), Effect::Deleted)
            .map(|(written, change)| (written, Some(change)))
    }

    /// Signs a new version and puts everything that moves with it into one batch.
    fn change(
        &mut self,
        overlay: &Overlay<'_>,
        pointer: Pointer,
        patient: &PatientIdentifier,
        (held, source): (Option<Held>, Option<Source>),
        effect: Effect,
    ) -> Result<(Written, Change), WriteError> {
        let organization = pointer.organization;
        let network = self.roster.network();
        let key = &self.served(&organization).ok_or_else(lost_organization)?.pointer;
        let pointer: Verified<Pointer> = sign(pointer, key, &network);
        let row = PointerRow::new(&pointer, patient, source, &self.me.storage, &mut self.rng);
        let count = overlay.count(&organization).map_err(storage)?;
        let count = match effect {
            Effect::Created => count + 1,
            Effect::Deleted => count.saturating_sub(1),
            Effect::Updated | Effect::Unchanged => count,
        };
        let written = Written {
            id: pointer.id.clone(),
            version: pointer.version,
            issued: pointer.issued,
            listed: pointer.listed,
            effect,
        };
        let row_bytes = row.encode();
        let batch =
            batch_of(&pointer, &row, &row_bytes, held.as_ref(), count).map_err(unfitting)?;
        let advertise =
            (pointer.listed && pointer.state != PointerState::Tombstone).then_some(pointer.locator);
        let id = pointer.id.clone();
        Ok((written, Change { organization, id, row: row_bytes, count, batch, advertise }))
    }

    pub(super) fn new_id(
        &mut self,
        asking: &OrganizationId,
        id: &NewId,
        draft: &Draft,
    ) -> Result<PointerId, WriteError> {
        let ods = &self.served_of(asking, &draft.custodian)?.ods;
        match id {
            NewId::Given(id) => {
                self.check_prefix(asking, id, &draft.custodian)?;
                Ok(id.clone())
            }
            NewId::Random => {
                let mut bytes = [0; 16];
                let ods = ods.clone();
                self.rng.fill_bytes(&mut bytes);
                Ok(local_id(&ods, &bytes))
            }
            NewId::FromContent => self.content_id(asking, draft),
        }
    }

    fn content_id(&self, asking: &OrganizationId, draft: &Draft) -> Result<PointerId, WriteError> {
        let ods = &self.served_of(asking, &draft.custodian)?.ods;
        let suffix = draft.custodian_suffix.as_deref().unwrap_or_default();
        let name = self.me.storage.content_name(&[
            draft.patient.system().name().as_bytes(),
            draft.patient.expose_digits().as_bytes(),
            suffix.as_bytes(),
            &draft.resource,
        ]);
        Ok(local_id(ods, &name))
    }

    fn check_prefix(
        &self,
        asking: &OrganizationId,
        id: &PointerId,
        custodian: &OdsCode,
    ) -> Result<(), WriteError> {
        let served = self.served_of(asking, custodian)?;
        if id.ods_code() == served.ods {
            Ok(())
        } else {
            Err(WriteError::IdPrefix { ods: served.ods.clone() })
        }
    }

    /// The organization of this ODS code, which must be the one that asks.
    fn served_of(&self, asking: &OrganizationId, ods: &OdsCode) -> Result<&Served, WriteError> {
        let asking = self.served(asking).ok_or_else(lost_organization)?;
        let member = self.roster.member_by_ods(ods).map(|member| member.organization);
        if member == Some(asking.organization) {
            return Ok(asking);
        }
        let (ods, asking) = (ods.clone(), asking.ods.clone());
        Err(match member.and_then(|member| self.served(&member)) {
            Some(_) => WriteError::OtherServed { ods, asking },
            None => WriteError::NotServed { ods, served: asking },
        })
    }
}

fn batch_of(
    pointer: &Pointer,
    row: &PointerRow,
    row_bytes: &[u8],
    held: Option<&Held>,
    count: u64,
) -> Result<Batch, crate::store::BatchError> {
    let mut batch = Batch::new();
    if let Some(held) = held {
        let version = rows::version_key(&held.pointer.id, held.pointer.version);
        batch.put(version, &*held.row.statement)?;
        batch.delete(rows::index_key(&held.pointer))?;
    }
    batch.put(rows::pointer_key(&pointer.id), row_bytes)?;
    let lives = pointer.state != PointerState::Tombstone;
    if lives {
        let listed = if pointer.listed { rows::LISTED } else { rows::UNLISTED };
        batch.put(rows::index_key(pointer), listed)?;
    }
    if let Some(source) = &row.source {
        let key = rows::source_key(&pointer.organization, source, &pointer.id);
        if lives { batch.put(key, [])? } else { batch.delete(key)? }
    }
    batch.put(rows::count_key(&pointer.organization), count.to_be_bytes())?;
    Ok(batch)
}

/// `<ODS>-` and 16 bytes in the form of a UUID.
fn local_id(ods: &OdsCode, bytes: &[u8; 16]) -> PointerId {
    let hex = hex::encode(bytes);
    let local = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    PointerId::new(ods, &local).expect("an ODS code and 36 hexadecimal digits make an id")
}

fn unfitting(error: crate::store::BatchError) -> WriteError {
    error!(%error, "a pointer does not fit the store");
    WriteError::Storage("the pointer is too large for the store".to_owned())
}

pub(super) fn storage(error: RowError) -> WriteError {
    error!(%error, "the store failed");
    WriteError::Storage(error.to_string())
}

fn lost_organization() -> WriteError {
    WriteError::Storage("the organization is not served here".to_owned())
}
