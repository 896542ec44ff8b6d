//! The pointer: signed metadata about one record, without its subject.

use minicbor::{Decode, Encode};

use crate::{
    codec::{ByteString, Text},
    ids::{OrganizationId, PointerId},
    limits,
    locator::{KeyEpoch, Locator},
    statement::{Body, KeyUse, StatementKind},
    time::Timestamp,
};

/// Where a pointer stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum PointerState {
    /// In force (FHIR `status` = `current`).
    #[n(0)]
    Current,
    /// Replaced by another (FHIR `status` = `superseded`).
    #[n(1)]
    Superseded,
    /// Should never have existed (FHIR `status` = `entered-in-error`).
    #[n(2)]
    EnteredInError,
    /// Deleted. Has no resource; kept so that the id is never used again.
    #[n(3)]
    Tombstone,
}

/// What the holder says about one record (DESIGN §2). Carries the locator, never the subject.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Pointer {
    /// Its id, `<ODS>-<local>`.
    #[n(0)]
    pub id: PointerId,
    /// Counts up from 1 with every change.
    #[n(1)]
    pub version: u64,
    /// The organization that holds the record.
    #[n(2)]
    pub organization: OrganizationId,
    /// The part of FHIR `custodian.identifier` after a dot, e.g. `001` of `RX898.001`.
    #[n(3)]
    pub custodian_suffix: Option<Text<{ limits::CUSTODIAN_SUFFIX_BYTES_MAX }>>,
    /// Where it stands in its life.
    #[n(4)]
    pub state: PointerState,
    /// Whether it counts in the digest. Unlisted pointers (sensitive services) are found only by asking their holder directly.
    #[n(5)]
    pub listed: bool,
    /// The key epoch of the locator.
    #[n(6)]
    pub key_epoch: KeyEpoch,
    /// Stands for the patient.
    #[n(7)]
    pub locator: Locator,
    /// When this version was signed (FHIR `meta.lastUpdated`).
    #[n(8)]
    pub issued: Timestamp,
    /// A FHIR R4 `DocumentReference` as UTF-8 JSON without `id`, `meta`, `status`, `subject` and
    /// `custodian.identifier`, which the reader puts back from the fields above. Empty in a tombstone.
    #[n(9)]
    pub resource: ByteString<{ limits::RESOURCE_BYTES_MAX }>,
}

impl Body for Pointer {
    const KIND: StatementKind = StatementKind::Pointer;
    const SIGNED_BY: KeyUse = KeyUse::Pointer;
    const BYTES_MAX: usize = limits::POINTER_BYTES_MAX;

    fn author(&self) -> OrganizationId {
        self.organization
    }

    fn issued(&self) -> Timestamp {
        self.issued
    }
}
