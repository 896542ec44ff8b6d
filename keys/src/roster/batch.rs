//! Many statements at once: from a store, a file or a peer.

use signpost_protocol::{
    ContentHash, OrganizationId, Timestamp,
    roster::{
        Approval, CeremonyCall, CeremonyMessage, Endorsement, Heartbeat, Objection,
        OrganizationKeys, Proposal,
    },
    statement::{Body, Envelope, StatementKind},
};

/// An epoch and a proposal.
type Place = (u64, ContentHash);
const FIRST: Place = (0, ContentHash([0; 32]));
const LAST: Place = (u64::MAX, ContentHash([0xff; 32]));

/// Sorts statements so that few have to wait for others: endorsements, approvals by the epoch that
/// decides and those of one proposal together, keys, objections, heartbeats, ceremonies. What cannot be
/// read comes last.
pub fn in_order(statements: &mut [Vec<u8>]) {
    statements.sort_by_cached_key(|bytes| match Envelope::kind_of(bytes) {
        Some(StatementKind::Endorsement) => (0, FIRST),
        Some(StatementKind::Approval) => (1, place_of(bytes).unwrap_or(LAST)),
        Some(StatementKind::OrganizationKeys) => (2, FIRST),
        Some(StatementKind::Objection) => (3, FIRST),
        Some(StatementKind::Heartbeat) => (4, FIRST),
        Some(StatementKind::CeremonyCall) => (5, FIRST),
        Some(StatementKind::CeremonyMessage) => (6, FIRST),
        _ => (7, FIRST),
    });
}

/// The epoch and the proposal that an approval names. Nothing is believed by this: it only puts
/// things in order.
fn place_of(bytes: &[u8]) -> Option<Place> {
    let envelope = Envelope::parse(Approval::KIND, bytes, Approval::BYTES_MAX).ok()?;
    let approval: Approval = envelope.body().ok()?;
    let proposal = Proposal::decode(&approval.proposal).ok()?;
    Some((proposal.epoch, ContentHash::of(&approval.proposal)))
}

/// Whose a statement of the roster claims to be, and of when. Nothing is believed by this.
#[must_use]
pub fn claimed(bytes: &[u8]) -> Option<(OrganizationId, Timestamp)> {
    fn read<B: Body>(bytes: &[u8]) -> Option<(OrganizationId, Timestamp)> {
        let body: B = Envelope::parse(B::KIND, bytes, B::BYTES_MAX).ok()?.body().ok()?;
        Some((body.author(), body.issued()))
    }
    match Envelope::kind_of(bytes)? {
        StatementKind::Endorsement => read::<Endorsement>(bytes),
        StatementKind::OrganizationKeys => read::<OrganizationKeys>(bytes),
        StatementKind::Approval => read::<Approval>(bytes),
        StatementKind::Objection => read::<Objection>(bytes),
        StatementKind::Heartbeat => read::<Heartbeat>(bytes),
        StatementKind::CeremonyCall => read::<CeremonyCall>(bytes),
        StatementKind::CeremonyMessage => read::<CeremonyMessage>(bytes),
        _ => None,
    }
}
