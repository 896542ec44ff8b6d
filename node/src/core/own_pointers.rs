//! Reading the pointers that this node holds for the organizations that it serves.

use signpost_protocol::{KeyEpoch, Locator, OrganizationId, PointerId, limits};

use super::{
    Core, Turn,
    digests::Candidate,
    inquiry::Found,
    local::{FoundPointer, ReadPointer},
    rows::{self, PointerRow, RowError},
};

impl Core {
    /// What `asking` itself holds here for a locator.
    pub(super) fn own_pointers(
        &self,
        turn: &Turn<'_>,
        asking: &OrganizationId,
        epoch: KeyEpoch,
        locator: &Locator,
    ) -> Result<Found, RowError> {
        let mut found = Found::new();
        let (ods, name) = self.label(asking);
        let prefix = rows::index_prefix(asking, epoch, locator);
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = limits::POINTERS_PER_ANSWER_MAX;
            let index = turn.store.scan(&prefix, after.as_deref(), page)?;
            let Some((last, _)) = index.last() else { return Ok(found) };
            after = Some(last.clone());
            for (key, _) in &index {
                let id = rows::index_pointer(key)?;
                let row = PointerRow::read(turn.store, &id)?;
                let pointer = row.ok_or(RowError::Damaged("index"))?.pointer()?;
                let shown = FoundPointer { pointer, ods: ods.clone(), name: name.clone() };
                found.insert((id, *asking), shown);
            }
        }
    }

    /// Which other admitted organizations that this node serves are to be asked about a locator:
    /// those that have listed pointers for it, as their digests would say. With `only`, that one,
    /// whatever it has.
    pub(super) fn candidates_here(
        &self,
        turn: &Turn<'_>,
        asking: &OrganizationId,
        epoch: KeyEpoch,
        locator: &Locator,
        only: Option<OrganizationId>,
    ) -> Result<Vec<Candidate>, RowError> {
        let mut candidates = Vec::new();
        for organization in self.me.served.iter().map(|served| served.organization) {
            if organization == *asking
                || only.is_some_and(|only| only != organization)
                || !self.roster.is_admitted(&organization)
            {
                continue;
            }
            if only.is_some() || has_listed(turn, &organization, epoch, locator)? {
                candidates.push(Candidate { organization, node: self.me.node });
            }
        }
        Ok(candidates)
    }

    /// A pointer of `asking`, with its subject.
    pub(super) fn own_pointer(
        &self,
        turn: &Turn<'_>,
        asking: &OrganizationId,
        id: &PointerId,
    ) -> Result<Option<ReadPointer>, RowError> {
        let Some(row) = PointerRow::read(turn.store, id)? else { return Ok(None) };
        let read = self.opened(id, &row)?;
        Ok((read.found.pointer.organization == *asking).then_some(read))
    }

    /// An own pointer with its subject, from its row.
    pub(super) fn opened(&self, id: &PointerId, row: &PointerRow) -> Result<ReadPointer, RowError> {
        let pointer = row.pointer()?;
        let subject = Some(row.patient(id, &self.me.storage)?);
        let (ods, name) = self.label(&pointer.organization);
        Ok(ReadPointer { found: FoundPointer { pointer, ods, name }, subject })
    }
}

fn has_listed(
    turn: &Turn<'_>,
    organization: &OrganizationId,
    epoch: KeyEpoch,
    locator: &Locator,
) -> Result<bool, RowError> {
    let prefix = rows::index_prefix(organization, epoch, locator);
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = limits::POINTERS_PER_ANSWER_MAX;
        let index = turn.store.scan(&prefix, after.as_deref(), page)?;
        if index.iter().any(|(_, row)| **row == rows::LISTED) {
            return Ok(true);
        }
        let Some((last, _)) = index.last() else { return Ok(false) };
        after = Some(last.clone());
    }
}
