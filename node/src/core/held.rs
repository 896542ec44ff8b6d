//! A pointer as it is stored now, and as it will be once the writes that are decided are applied.

use signpost_protocol::{
    Locator, OrganizationId, PatientIdentifier, Pointer, PointerId, PointerState, Timestamp,
    statement::{Body as _, Envelope},
};

use super::{
    Core,
    local::{Draft, Effect, WriteError, Written},
    rows::{self, PointerRow, RowError},
    source::Source,
};
use crate::store::{Batch, Store};

/// A stored pointer, opened.
pub(super) struct Held {
    pub(super) pointer: Pointer,
    pub(super) patient: PatientIdentifier,
    pub(super) row: PointerRow,
}

impl Core {
    pub(super) fn held(
        &self,
        rows: &(impl Rows + ?Sized),
        id: &PointerId,
    ) -> Result<Option<Held>, RowError> {
        let Some(row) = rows.row(id)? else { return Ok(None) };
        let patient = row.patient(id, &self.me.storage)?;
        let pointer = row.pointer()?;
        Ok(Some(Held { pointer, patient, row }))
    }

    /// Whether other nodes take a stored version: its key was valid when it was issued, and that is
    /// not in the future.
    pub(super) fn is_believed(&self, held: &Held, now: Timestamp) -> bool {
        let Pointer { organization, issued, .. } = &held.pointer;
        let envelope = Envelope::parse(Pointer::KIND, &held.row.statement, Pointer::BYTES_MAX);
        let validity =
            envelope.ok().and_then(|e| self.roster.key_validity(&e.key_id(), organization));
        *issued <= now.plus(self.roster.parameters().clock_skew_max)
            && validity.is_some_and(|(from, until)| from <= *issued && *issued < until)
    }
}

impl Held {
    /// What a draft under this id would do, if its source may say so. `is_believed`: whether other
    /// nodes take the version that is stored.
    pub(super) fn effect_of(&self, draft: &Draft, is_believed: bool) -> Result<Effect, WriteError> {
        if self.patient != draft.patient {
            return Err(WriteError::SubjectChanged(self.pointer.id.clone()));
        }
        Ok(match (self.is_deleted(), self.says(draft) && is_believed) {
            (true, _) => Effect::Created,
            (false, true) => Effect::Unchanged,
            (false, false) => Effect::Updated,
        })
    }

    /// Whether an import from `source` may say what this pointer is.
    pub(super) fn admits(&self, source: &Source) -> Result<(), WriteError> {
        let id = self.pointer.id.clone();
        match (self.is_deleted(), self.source()) {
            (_, Some(own)) if own == source => Ok(()),
            (true, _) => Err(WriteError::Gone(id)),
            (false, None) => Ok(()),
            (false, Some(own)) => Err(WriteError::OtherSource { id, owner: own.clone() }),
        }
    }

    pub(super) fn source(&self) -> Option<&Source> {
        self.row.source.as_ref()
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.pointer.state == PointerState::Tombstone
    }

    fn says(&self, draft: &Draft) -> bool {
        self.pointer.state == draft.state
            && draft.listed.is_none_or(|listed| self.pointer.listed == listed)
            && self.pointer.custodian_suffix == draft.custodian_suffix
            && self.pointer.resource == draft.resource
    }

    pub(super) fn written(&self, effect: Effect) -> Written {
        let Pointer { id, version, issued, listed, .. } = &self.pointer;
        Written { id: id.clone(), version: *version, issued: *issued, listed: *listed, effect }
    }
}

/// One decided write.
pub(super) struct Change {
    pub(super) organization: OrganizationId,
    pub(super) id: PointerId,
    pub(super) row: Vec<u8>,
    pub(super) count: u64,
    pub(super) batch: Batch,
    pub(super) advertise: Option<Locator>,
}

/// Writes of one job that are decided and not yet applied.
#[derive(Default)]
pub(super) struct PendingWrites {
    pub(super) changes: Vec<Change>,
}

/// Where a pointer's row is looked up.
pub(super) trait Rows {
    fn row(&self, id: &PointerId) -> Result<Option<PointerRow>, RowError>;
}

impl Rows for dyn Store + '_ {
    fn row(&self, id: &PointerId) -> Result<Option<PointerRow>, RowError> {
        PointerRow::read(self, id)
    }
}

/// The store as it will be once the job's writes so far are applied.
pub(super) struct Overlay<'a> {
    /// On whose behalf the job is.
    pub(super) asking: OrganizationId,
    pub(super) store: &'a dyn Store,
    pub(super) pending: &'a PendingWrites,
}

impl Rows for Overlay<'_> {
    fn row(&self, id: &PointerId) -> Result<Option<PointerRow>, RowError> {
        match self.pending.changes.iter().rev().find(|change| change.id == *id) {
            Some(change) => PointerRow::decode(&change.row).map(Some),
            None => PointerRow::read(self.store, id),
        }
    }
}

impl Overlay<'_> {
    pub(super) fn count(&self, organization: &OrganizationId) -> Result<u64, RowError> {
        let changes = &self.pending.changes;
        match changes.iter().rev().find(|change| change.organization == *organization) {
            Some(change) => Ok(change.count),
            None => rows::read_count(self.store, organization),
        }
    }
}
