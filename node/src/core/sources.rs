//! What a replacing import needs to know before and after it writes: what each line would do,
//! which pointers a source has, and what they say.
//!
//! All of it reads; nothing here changes anything. Pages are bounded, so that a list of millions
//! never keeps the core from a look-up for longer than one of them takes.

use std::collections::BTreeMap;

use signpost_protocol::{OrganizationId, Pointer, PointerId, PointerState};
use tracing::error;

use super::{
    Core, Ticket, Turn,
    advertise::storage,
    local::{
        Draft, EXPORTS_PER_PAGE_MAX, Effect, IDS_PER_PAGE_MAX, ListError, LocalReply, Page, Put,
        ReadPointer, WRITES_PER_REQUEST_MAX, WriteError, Written,
    },
    rows::{self, PointerRow, RowError},
    source::Source,
};
use crate::store::Store;

/// Said instead of what was read, when that cannot be made durable.
const UNDURABLE: &str = "what was read is not durable";

impl Core {
    /// Answers with a page of the ids of a source of `asking`.
    pub(super) fn list_source(
        &self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        (asking, source): (OrganizationId, &Source),
        after: Option<&PointerId>,
    ) {
        let page = source_page(turn.store, &asking, source, after);
        let otherwise = LocalReply::SourceIds(Err(ListError::Storage(UNDURABLE.to_owned())));
        turn.answer_durably(ticket, LocalReply::SourceIds(page), otherwise);
    }

    /// Answers with a page of the pointers of `asking`.
    pub(super) fn export(
        &self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        (asking, source): (OrganizationId, Option<&Source>),
        after: Option<&PointerId>,
    ) {
        let page = self.export_page(turn.store, &asking, source, after);
        let otherwise = LocalReply::Export(Err(ListError::Storage(UNDURABLE.to_owned())));
        turn.answer_durably(ticket, LocalReply::Export(page), otherwise);
    }

    /// Tells what each put would do, in order, each seeing the ones before it.
    pub(super) fn rehearse(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        asking: OrganizationId,
        puts: Vec<Put>,
    ) {
        const TOO_MANY: &str = "too many writes in one request";
        if puts.len() > WRITES_PER_REQUEST_MAX {
            let refused = puts.iter().map(|_| Err(WriteError::Busy(TOO_MANY))).collect();
            return turn.answer(ticket, LocalReply::Rehearse(refused));
        }
        let mut before = BTreeMap::new();
        let results: Vec<_> =
            puts.into_iter().map(|put| self.rehearsed(turn, &asking, put, &mut before)).collect();
        let failed = |_| Err(WriteError::Storage(UNDURABLE.to_owned()));
        let otherwise = LocalReply::Rehearse(results.iter().map(failed).collect());
        turn.answer_durably(ticket, LocalReply::Rehearse(results), otherwise);
    }

    fn rehearsed(
        &mut self,
        turn: &Turn<'_>,
        asking: &OrganizationId,
        put: Put,
        before: &mut BTreeMap<PointerId, (Put, u64)>,
    ) -> Result<Written, WriteError> {
        self.check_admitted(asking)?;
        let id = self.new_id(asking, &put.id, &put.draft)?;
        let (version, effect) = if let Some((earlier, version)) = before.get(&id) {
            if earlier.source != put.source {
                return Err(WriteError::OtherSource { id, owner: earlier.source.clone() });
            }
            if earlier.draft.patient != put.draft.patient {
                return Err(WriteError::SubjectChanged(id));
            }
            match earlier.draft.says_the_same(&put.draft) {
                true => (*version, Effect::Unchanged),
                false => (version + 1, Effect::Updated),
            }
        } else {
            match self.held(turn.store, &id).map_err(storage)? {
                None => (1, Effect::Created),
                Some(held) => {
                    held.admits(&put.source)?;
                    match held.effect_of(&put.draft, self.is_believed(&held, turn.now.unix))? {
                        Effect::Unchanged => (held.pointer.version, Effect::Unchanged),
                        effect => (held.pointer.version + 1, effect),
                    }
                }
            }
        };
        let listed = put.draft.listed.unwrap_or(true);
        before.insert(id.clone(), (put, version));
        Ok(Written { id, version, issued: turn.now.unix, listed, effect })
    }

    fn export_page(
        &self,
        store: &dyn Store,
        asking: &OrganizationId,
        source: Option<&Source>,
        after: Option<&PointerId>,
    ) -> Result<Page<ReadPointer>, ListError> {
        let page = EXPORTS_PER_PAGE_MAX;
        let read = || -> Result<_, RowError> {
            let ids = match source {
                Some(source) => source_ids(store, asking, source, after, page)?,
                None => {
                    let prefix = rows::pointers_prefix(&self.label(asking).0);
                    let after = after.map(rows::pointer_key);
                    let rows = store.scan(&prefix, after.as_deref(), page)?;
                    let ids =
                        rows.iter().map(|(key, _)| rows::id_behind(rows::POINTERS_PREFIX, key));
                    ids.collect::<Result<_, _>>()?
                }
            };
            let next = (ids.len() == page).then(|| ids.last().cloned()).flatten();
            let mut items = Vec::with_capacity(ids.len());
            for id in &ids {
                let row = PointerRow::read(store, id)?.ok_or(RowError::Damaged("index"))?;
                let read = self.opened(id, &row)?;
                let Pointer { organization, state, .. } = &read.found.pointer;
                if organization == asking && *state != PointerState::Tombstone {
                    items.push(read);
                }
            }
            Ok(Page { items, next })
        };
        read().map_err(failed)
    }
}

fn source_page(
    store: &dyn Store,
    asking: &OrganizationId,
    source: &Source,
    after: Option<&PointerId>,
) -> Result<Page<PointerId>, ListError> {
    let ids = source_ids(store, asking, source, after, IDS_PER_PAGE_MAX).map_err(failed)?;
    let next = (ids.len() == IDS_PER_PAGE_MAX).then(|| ids.last().cloned()).flatten();
    Ok(Page { items: ids, next })
}

/// At most `limit` ids of a source of `asking`. Another organization's source of the same name is
/// another source.
fn source_ids(
    store: &dyn Store,
    asking: &OrganizationId,
    source: &Source,
    after: Option<&PointerId>,
    limit: usize,
) -> Result<Vec<PointerId>, RowError> {
    let prefix = rows::source_prefix(asking, source);
    let after = after.map(|id| rows::source_key(asking, source, id));
    let rows = store.scan(&prefix, after.as_deref(), limit)?;
    rows.iter().map(|(key, _)| rows::id_behind(&prefix, key)).collect()
}

impl Draft {
    /// Whether the same pointer would come of both, the patient left aside.
    fn says_the_same(&self, other: &Self) -> bool {
        self.state == other.state
            && (self.listed == other.listed || other.listed.is_none())
            && self.custodian_suffix == other.custodian_suffix
            && self.resource == other.resource
    }
}

fn failed(error: RowError) -> ListError {
    error!(%error, "the store failed");
    ListError::Storage(error.to_string())
}
