//! What a replacing import needs to know before and after it writes: what each line would do,
//! which pointers a source has, and what they say.
//!
//! All of it reads; nothing here changes anything. Pages are bounded, so that a list of millions
//! never keeps the core from a look-up for longer than one of them takes.

use std::collections::BTreeMap;

use signpost_protocol::{PointerId, PointerState};
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
    /// Answers with a page of the ids of a source.
    pub(super) fn list_source(
        &self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        source: &Source,
        after: Option<&PointerId>,
    ) {
        let page = self.source_page(turn.store, source, after);
        let otherwise = LocalReply::SourceIds(Err(ListError::Storage(UNDURABLE.to_owned())));
        turn.answer_durably(ticket, LocalReply::SourceIds(page), otherwise);
    }

    /// Answers with a page of own pointers.
    pub(super) fn export(
        &self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        source: Option<&Source>,
        after: Option<&PointerId>,
    ) {
        let page = self.export_page(turn.store, source, after);
        let otherwise = LocalReply::Export(Err(ListError::Storage(UNDURABLE.to_owned())));
        turn.answer_durably(ticket, LocalReply::Export(page), otherwise);
    }

    /// Tells what each put would do, in order, each seeing the ones before it.
    pub(super) fn rehearse(&mut self, turn: &mut Turn<'_>, ticket: Ticket, puts: Vec<Put>) {
        const TOO_MANY: &str = "too many writes in one request";
        if puts.len() > WRITES_PER_REQUEST_MAX {
            let refused = puts.iter().map(|_| Err(WriteError::Busy(TOO_MANY))).collect();
            return turn.answer(ticket, LocalReply::Rehearse(refused));
        }
        let mut before = BTreeMap::new();
        let results: Vec<_> =
            puts.into_iter().map(|put| self.rehearsed(turn, put, &mut before)).collect();
        let failed = |_| Err(WriteError::Storage(UNDURABLE.to_owned()));
        let otherwise = LocalReply::Rehearse(results.iter().map(failed).collect());
        turn.answer_durably(ticket, LocalReply::Rehearse(results), otherwise);
    }

    fn rehearsed(
        &mut self,
        turn: &Turn<'_>,
        put: Put,
        before: &mut BTreeMap<PointerId, (Put, u64)>,
    ) -> Result<Written, WriteError> {
        let id = self.new_id(&put.id, &put.draft)?;
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

    fn source_page(
        &self,
        store: &dyn Store,
        source: &Source,
        after: Option<&PointerId>,
    ) -> Result<Page<PointerId>, ListError> {
        let ids = self.source_ids(store, source, after, IDS_PER_PAGE_MAX).map_err(failed)?;
        let next = (ids.len() == IDS_PER_PAGE_MAX).then(|| ids.last().cloned()).flatten();
        Ok(Page { items: ids, next })
    }

    fn export_page(
        &self,
        store: &dyn Store,
        source: Option<&Source>,
        after: Option<&PointerId>,
    ) -> Result<Page<ReadPointer>, ListError> {
        let page = EXPORTS_PER_PAGE_MAX;
        let read = || -> Result<_, RowError> {
            let ids = match source {
                Some(source) => self.source_ids(store, source, after, page)?,
                None => {
                    let after = after.map(rows::pointer_key);
                    let rows = store.scan(rows::POINTERS_PREFIX, after.as_deref(), page)?;
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
                if read.found.pointer.state != PointerState::Tombstone {
                    items.push(read);
                }
            }
            Ok(Page { items, next })
        };
        read().map_err(failed)
    }

    /// At most `limit` ids of a source, organization by organization.
    fn source_ids(
        &self,
        store: &dyn Store,
        source: &Source,
        after: Option<&PointerId>,
        limit: usize,
    ) -> Result<Vec<PointerId>, RowError> {
        let served = &self.me.served;
        let start = after.and_then(|id| self.served_by_ods(&id.ods_code()));
        let start = start.and_then(|start| {
            served.iter().position(|served| served.organization == start.organization)
        });
        let mut after = after.filter(|_| start.is_some());
        let mut ids = Vec::new();
        for served in served.iter().skip(start.unwrap_or(0)) {
            let prefix = rows::source_prefix(&served.organization, source);
            let from = after.take().map(|id| rows::source_key(&served.organization, source, id));
            let rows = store.scan(&prefix, from.as_deref(), limit - ids.len())?;
            for (key, _) in rows {
                ids.push(rows::id_behind(&prefix, &key)?);
            }
            if ids.len() == limit {
                break;
            }
        }
        Ok(ids)
    }
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
