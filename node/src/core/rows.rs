//! What the store holds: the layout of keys and the rows that are the node's own.
//!
//! One ordered map, a tag byte first:
//!
//! | key | row |
//! |---|---|
//! | `p` pointer id | [`PointerRow`]: the newest version, with its sealed subject |
//! | `v` pointer id 0x00 version (u64 BE) | an older version's signed bytes, for audit |
//! | `l` organization, key epoch (u32 BE), locator, pointer id | index by patient; the row is [`LISTED`] or [`UNLISTED`] |
//! | `s` organization, source, 0x00, pointer id | empty: a pointer of that source, not deleted |
//! | `c` organization | number of pointers that are not deleted (u64 BE) |
//! | `o` organization | [`OwnHeadRow`] |
//! | `h` organization, node | another node's signed digest head: a cache |
//! | `t` hash | a statement of the roster |
//! | `i` code | an invitation, and what was handed in with it |
//! | `e` hash of a call | the part that this node has in a ceremony of evaluators, and the share that came of it; sealed |
//! | `u` day (u32 BE) organization | how much this node has evaluated for an organization on a day |
//! | `b` organization, number (u8) | a part of the evidence that an evaluator has answered wrongly |
//! | `r` | the store lost what came after this instant (u64 BE); see [`ROLLED_BACK_KEY`] |

use minicbor::{Decode, Encode};
use signpost_keys::{StorageKey, Verified, sealing};
use signpost_protocol::{
    ContentHash, InvitationCode, KeyEpoch, Locator, NodeId, OdsCode, OrganizationId,
    PatientIdentifier, Pointer, PointerId, Timestamp,
    codec::{self, ByteString},
    limits,
    patient::IdentifierSystem,
    statement::{Body as _, Envelope},
};

use super::source::{SOURCE_BYTES_MAX, Source};
use crate::store::{ROLLED_BACK_KEY, Store, StoreError};

/// Row of the index for a pointer that counts in the digest.
pub const LISTED: [u8; 1] = [1];
/// Row of the index for a pointer that does not.
pub const UNLISTED: [u8; 1] = [0];

/// System name, a separator and ten digits, sealed.
const SEALED_SUBJECT_BYTES_MAX: usize = 32 + sealing::OVERHEAD_BYTES;
const ROW_BYTES_MAX: usize =
    limits::POINTER_BYTES_MAX + SEALED_SUBJECT_BYTES_MAX + SOURCE_BYTES_MAX + 16;

/// A pointer as its holder keeps it.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub struct PointerRow {
    /// The signed pointer.
    #[n(0)]
    pub statement: ByteString<{ limits::POINTER_BYTES_MAX }>,
    /// The patient, sealed for this pointer id.
    #[n(1)]
    pub subject: ByteString<SEALED_SUBJECT_BYTES_MAX>,
    /// The producer system that imported it; none for a pointer made through the FHIR API, and in
    /// rows from before there were sources. A tombstone keeps it.
    #[n(2)]
    pub source: Option<Source>,
}

/// A row cannot be read: the store is damaged, or the key of this node was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row does not decode.
    #[error("a stored {0} is damaged: restore the node from its back-up")]
    Damaged(&'static str),
}

impl PointerRow {
    /// Puts a signed pointer, its patient and its source together.
    pub fn new(
        pointer: &Verified<Pointer>,
        patient: &PatientIdentifier,
        source: Option<Source>,
        key: &StorageKey,
        rng: &mut impl rand_core::CryptoRng,
    ) -> Self {
        let plain = format!("{}\0{}", patient.system().name(), patient.expose_digits());
        let sealed = key.seal(pointer.id.as_str().as_bytes(), plain.as_bytes(), rng);
        Self {
            statement: ByteString::new(pointer.bytes().to_vec())
                .expect("a signed pointer is within its cap: the resource's cap leaves room"),
            subject: ByteString::new(sealed).expect("the longest system name fits"),
            source,
        }
    }

    /// The row of `id`, if there is one.
    ///
    /// # Errors
    /// When the store fails or the row is damaged.
    pub fn read(store: &dyn Store, id: &PointerId) -> Result<Option<Self>, RowError> {
        store.get(&pointer_key(id))?.map(|bytes| Self::decode(&bytes)).transpose()
    }

    /// Reads a row.
    ///
    /// # Errors
    /// When the bytes are damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, RowError> {
        codec::decode("row", bytes, ROW_BYTES_MAX).map_err(|_| RowError::Damaged("pointer"))
    }

    /// The row's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The pointer. Its signature is this node's own and is checked by whoever receives it.
    ///
    /// # Errors
    /// When the row is damaged.
    pub fn pointer(&self) -> Result<Pointer, RowError> {
        Envelope::parse(Pointer::KIND, &self.statement, Pointer::BYTES_MAX)
            .and_then(|envelope| envelope.body())
            .map_err(|_| RowError::Damaged("pointer"))
    }

    /// The patient.
    ///
    /// # Errors
    /// When the row is damaged, or was sealed with another key.
    pub fn patient(&self, id: &PointerId, key: &StorageKey) -> Result<PatientIdentifier, RowError> {
        let damaged = RowError::Damaged("subject");
        let Ok(plain) = key.open(id.as_str().as_bytes(), &self.subject) else {
            return Err(damaged);
        };
        std::str::from_utf8(&plain)
            .ok()
            .and_then(|text| text.split_once('\0'))
            .and_then(|(name, digits)| {
                PatientIdentifier::parse(IdentifierSystem::from_name(name)?, digits).ok()
            })
            .ok_or(damaged)
    }
}

/// The digest head that this node last made for an organization.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub struct OwnHeadRow {
    /// The signed head.
    #[n(0)]
    pub head: ByteString<{ limits::DIGEST_HEAD_BYTES_MAX }>,
}

impl OwnHeadRow {
    /// The row of `organization`, if there is one.
    ///
    /// # Errors
    /// When the store fails or the row is damaged.
    pub fn read(
        store: &dyn Store,
        organization: &OrganizationId,
    ) -> Result<Option<Self>, RowError> {
        let bytes = store.get(&own_head_key(organization))?;
        bytes
            .map(|bytes| codec::decode("row", &bytes, limits::DIGEST_HEAD_BYTES_MAX + 16))
            .transpose()
            .map_err(|_| RowError::Damaged("digest head"))
    }
}

/// Since when rows may be missing because the store went back to an earlier state.
///
/// # Errors
/// When the store fails or the row is damaged.
pub fn rolled_back(store: &dyn Store) -> Result<Option<Timestamp>, RowError> {
    let Some(bytes) = store.get(ROLLED_BACK_KEY)? else { return Ok(None) };
    let at = bytes.try_into().map(u64::from_be_bytes);
    at.map(|at| Some(Timestamp(at))).map_err(|_| RowError::Damaged("note of a loss"))
}

/// The number of pointers of `organization` that are not deleted.
///
/// # Errors
/// When the store fails or the row is damaged.
pub fn read_count(store: &dyn Store, organization: &OrganizationId) -> Result<u64, RowError> {
    let Some(bytes) = store.get(&count_key(organization))? else { return Ok(0) };
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| RowError::Damaged("count"))
}

/// Key of a [`PointerRow`].
#[must_use]
pub fn pointer_key(id: &PointerId) -> Vec<u8> {
    [b"p", id.as_str().as_bytes()].concat()
}

/// Key of an older version.
#[must_use]
pub fn version_key(id: &PointerId, version: u64) -> Vec<u8> {
    [b"v", id.as_str().as_bytes(), b"\0", &version.to_be_bytes()].concat()
}

/// Prefix of the index rows of an organization in one key epoch.
#[must_use]
pub fn index_epoch_prefix(organization: &OrganizationId, epoch: KeyEpoch) -> Vec<u8> {
    [b"l", &organization.as_bytes()[..], &epoch.0.to_be_bytes()].concat()
}

/// Prefix of the index rows of one patient.
#[must_use]
pub fn index_prefix(organization: &OrganizationId, epoch: KeyEpoch, locator: &Locator) -> Vec<u8> {
    [&index_epoch_prefix(organization, epoch)[..], locator.as_bytes()].concat()
}

/// Key of an index row.
#[must_use]
pub fn index_key(pointer: &Pointer) -> Vec<u8> {
    let prefix = index_prefix(&pointer.organization, pointer.key_epoch, &pointer.locator);
    [&prefix, pointer.id.as_str().as_bytes()].concat()
}

/// The pointer id at the end of an index key.
///
/// # Errors
/// When the key is damaged.
pub fn index_pointer(key: &[u8]) -> Result<PointerId, RowError> {
    const PREFIX: usize = 1 + OrganizationId::LENGTH + 4 + 32;
    key.get(PREFIX..)
        .and_then(|id| std::str::from_utf8(id).ok()?.parse().ok())
        .ok_or(RowError::Damaged("index"))
}

/// The locator inside an index key.
///
/// # Errors
/// When the key is damaged.
pub fn index_locator(key: &[u8]) -> Result<Locator, RowError> {
    const START: usize = 1 + OrganizationId::LENGTH + 4;
    key.get(START..START + 32)
        .and_then(|bytes| bytes.try_into().ok())
        .map(Locator)
        .ok_or(RowError::Damaged("index"))
}

/// Prefix of the rows of one source.
#[must_use]
pub fn source_prefix(organization: &OrganizationId, source: &Source) -> Vec<u8> {
    [b"s", &organization.as_bytes()[..], source.as_str().as_bytes(), b"\0"].concat()
}

/// Key that says that a pointer is of a source.
#[must_use]
pub fn source_key(organization: &OrganizationId, source: &Source, id: &PointerId) -> Vec<u8> {
    [&source_prefix(organization, source)[..], id.as_str().as_bytes()].concat()
}

/// The pointer id that stands behind `prefix` in a key.
///
/// # Errors
/// When the key is damaged.
pub fn id_behind(prefix: &[u8], key: &[u8]) -> Result<PointerId, RowError> {
    key.strip_prefix(prefix)
        .and_then(|id| std::str::from_utf8(id).ok()?.parse().ok())
        .ok_or(RowError::Damaged("index"))
}

/// Prefix of all [`PointerRow`]s.
pub const POINTERS_PREFIX: &[u8] = b"p";

/// Prefix of the [`PointerRow`]s whose ids begin with an ODS code.
#[must_use]
pub fn pointers_prefix(ods: &OdsCode) -> Vec<u8> {
    [POINTERS_PREFIX, ods.as_str().as_bytes(), b"-"].concat()
}

/// Key of the count of pointers.
#[must_use]
pub fn count_key(organization: &OrganizationId) -> Vec<u8> {
    [b"c", &organization.as_bytes()[..]].concat()
}

/// Key of an [`OwnHeadRow`].
#[must_use]
pub fn own_head_key(organization: &OrganizationId) -> Vec<u8> {
    [b"o", &organization.as_bytes()[..]].concat()
}

/// Prefix of the cached heads of other nodes.
pub const HEADS_PREFIX: &[u8] = b"h";

/// Prefix of the invitations.
pub const INVITATIONS_PREFIX: &[u8] = b"i";

/// Key of an invitation.
#[must_use]
pub fn invitation_key(code: &InvitationCode) -> Vec<u8> {
    [INVITATIONS_PREFIX, &code.as_bytes()[..]].concat()
}

/// Prefix of the statements of the roster.
pub const STATEMENTS_PREFIX: &[u8] = b"t";

/// Key of a statement of the roster: its name leads to it.
#[must_use]
pub fn statement_key(hash: &ContentHash) -> Vec<u8> {
    [STATEMENTS_PREFIX, &hash.as_bytes()[..]].concat()
}

/// Prefix of the counts of evaluations.
pub const USAGE_PREFIX: &[u8] = b"u";

/// Prefix of the counts of a day, in days since 1970.
#[must_use]
pub fn usage_prefix(day: u64) -> Vec<u8> {
    let day = u32::try_from(day).unwrap_or(u32::MAX);
    [USAGE_PREFIX, &day.to_be_bytes()].concat()
}

/// Key of the count of an organization on a day.
#[must_use]
pub fn usage_key(day: u64, organization: &OrganizationId) -> Vec<u8> {
    [&usage_prefix(day)[..], &organization.as_bytes()[..]].concat()
}

/// The day and the organization of a key of [`usage_key`].
#[must_use]
pub fn usage_of_key(key: &[u8]) -> Option<(u64, OrganizationId)> {
    let (day, organization) = key.strip_prefix(USAGE_PREFIX)?.split_first_chunk::<4>()?;
    let organization = OrganizationId(organization.try_into().ok()?);
    Some((u64::from(u32::from_be_bytes(*day)), organization))
}

/// Prefix of the evidence against evaluators.
pub const EVIDENCE_PREFIX: &[u8] = b"b";
/// Bytes of one part of it: a row holds 16 KiB.
pub const EVIDENCE_PART_BYTES: usize = 15 * 1024;
/// Parts of the longest.
pub const EVIDENCE_PARTS_MAX: usize = limits::EVIDENCE_BYTES_MAX.div_ceil(EVIDENCE_PART_BYTES);

/// Key of a part of the evidence against an evaluator.
#[must_use]
pub fn evidence_key(organization: &OrganizationId, part: usize) -> Vec<u8> {
    let part = u8::try_from(part).unwrap_or(u8::MAX);
    [EVIDENCE_PREFIX, &organization.as_bytes()[..], &[part]].concat()
}

/// Prefix of the parts in ceremonies of evaluators.
pub const CEREMONIES_PREFIX: &[u8] = b"e";
/// Bytes of the messages that a part is fixed by: of 16 dealers and 16 receivers 12.8 KiB. With the call
/// and the set that is handed on they fit a row.
pub const FIXED_MESSAGES_BYTES_MAX: usize = 13 * 1024;

/// Key of the part in the ceremony of this call.
#[must_use]
pub fn ceremony_key(call: &ContentHash) -> Vec<u8> {
    [CEREMONIES_PREFIX, &call.as_bytes()[..]].concat()
}

/// The ceremony that a key of [`ceremony_key`] leads to.
#[must_use]
pub fn ceremony_of_key(key: &[u8]) -> Option<ContentHash> {
    Some(ContentHash(key.strip_prefix(CEREMONIES_PREFIX)?.try_into().ok()?))
}

/// Key of a cached head.
#[must_use]
pub fn head_key(organization: &OrganizationId, node: &NodeId) -> Vec<u8> {
    [HEADS_PREFIX, &organization.as_bytes()[..], node.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_from_before_there_were_sources_has_none() {
        #[derive(Encode)]
        #[cbor(map)]
        struct OldRow {
            #[n(0)]
            statement: ByteString<16>,
            #[n(1)]
            subject: ByteString<16>,
        }
        let bytes = |text: &[u8]| ByteString::new(text.to_vec()).unwrap();
        let old = codec::encode(&OldRow { statement: bytes(b"s"), subject: bytes(b"p") });
        let mut row = PointerRow::decode(&old).unwrap();
        assert_eq!((&*row.statement, &*row.subject, &row.source), (&b"s"[..], &b"p"[..], &None));
        row.source = Some("PAS".parse().unwrap());
        assert_eq!(PointerRow::decode(&row.encode()).unwrap().source, row.source);
    }

    #[test]
    fn a_source_whose_name_begins_like_another_is_apart_from_it() {
        let organization = OrganizationId([1; 32]);
        let [short, long] = ["PAS", "PAS.2"].map(|name| name.parse::<Source>().unwrap());
        let id: PointerId = "RX1-7".parse().unwrap();
        let prefix = source_prefix(&organization, &short);
        let key = source_key(&organization, &short, &id);
        assert_eq!(id_behind(&prefix, &key).unwrap(), id);
        assert!(!source_key(&organization, &long, &id).starts_with(&prefix));
        assert!(id_behind(&prefix, &prefix).is_err());
    }

    #[test]
    fn an_index_key_gives_back_its_parts() {
        let (organization, locator) = (OrganizationId([1; 32]), Locator([2; 32]));
        let prefix = index_prefix(&organization, KeyEpoch(3), &locator);
        let key = [&prefix[..], b"RX1-7"].concat();
        assert_eq!(index_pointer(&key).unwrap().as_str(), "RX1-7");
        assert_eq!(index_locator(&key).unwrap(), locator);
        assert!(index_pointer(&prefix).is_err());
        assert!(index_locator(&key[..40]).is_err());
    }
}
