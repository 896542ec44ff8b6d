//! Reading this node's own pointers for its own clinical systems.

use signpost_protocol::{KeyEpoch, Locator, OrganizationId, PointerId, limits};

use super::{
    Core, Turn,
    inquiry::Found,
    local::{FoundPointer, ReadPointer},
    rows::{self, PointerRow, RowError},
};

impl Core {
    /// What this node itself holds for a locator.
    pub(super) fn own_pointers(
        &self,
        turn: &Turn<'_>,
        epoch: KeyEpoch,
        locator: &Locator,
        only: Option<OrganizationId>,
    ) -> Result<Found, RowError> {
        let mut found = Found::new();
        let served = self.me.served.iter();
        for served in served.filter(|s| only.is_none_or(|o| o == s.organization)) {
            let prefix = rows::index_prefix(&served.organization, epoch, locator);
            let mut after: Option<Vec<u8>> = None;
            loop {
                let page = limits::POINTERS_PER_ANSWER_MAX;
                let index = turn.store.scan(&prefix, after.as_deref(), page)?;
                let Some((last, _)) = index.last() else { break };
                after = Some(last.clone());
                for (key, _) in &index {
                    let id = rows::index_pointer(key)?;
                    let row = PointerRow::read(turn.store, &id)?;
                    let pointer = row.ok_or(RowError::Damaged("index"))?.pointer()?;
                    let key = (id, served.organization);
                    found.insert(
                        key,
                        FoundPointer {
                            pointer,
                            ods: served.ods.clone(),
                            name: served.name.clone(),
                        },
                    );
                }
            }
        }
        Ok(found)
    }

    /// One of them, with its subject.
    pub(super) fn own_pointer(
        &self,
        turn: &Turn<'_>,
        id: &PointerId,
    ) -> Result<Option<ReadPointer>, RowError> {
        let row = PointerRow::read(turn.store, id)?;
        row.map(|row| self.opened(id, &row)).transpose()
    }

    /// An own pointer with its subject, from its row.
    pub(super) fn opened(&self, id: &PointerId, row: &PointerRow) -> Result<ReadPointer, RowError> {
        let pointer = row.pointer()?;
        let subject = Some(row.patient(id, &self.me.storage)?);
        let (ods, name) = self.label(&pointer.organization);
        Ok(ReadPointer { found: FoundPointer { pointer, ods, name }, subject })
    }
}
