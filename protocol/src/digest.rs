//! The messages of the digests plane: signed heads, and how heads, filters and changes are fetched.

use minicbor::{Decode, Encode, bytes::ByteArray};

use crate::{
    codec::{Bounded, ByteString},
    ids::{ContentHash, NodeId, OrganizationId},
    limits,
    locator::KeyEpoch,
    statement::{Body, KeyUse, StatementKind},
    time::Timestamp,
};

/// The kind of filter: a Bloom filter with 12 positions keyed by the locator (SPEC §6).
pub const FILTER_KIND_BLOOM_AES12: u8 = 1;

/// One filter and the changes since it was built, for one key epoch.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct FilterHead {
    /// The key epoch of the locators inside.
    #[n(0)]
    pub key_epoch: KeyEpoch,
    /// The kind of filter, [`FILTER_KIND_BLOOM_AES12`]; other kinds are for later versions.
    #[n(1)]
    pub kind: u8,
    /// The size class, which fixes the filter's length.
    #[n(2)]
    pub class: u8,
    /// Drawn afresh with every filter: positions in two filters are unrelated.
    #[n(3)]
    pub salt: ByteArray<16>,
    /// The filter's name.
    #[n(4)]
    pub filter: ContentHash,
    /// How many of its bits are set, so that an over-full filter is refused before it is fetched.
    #[n(5)]
    pub ones: u32,
    /// The change lists since, oldest first.
    #[n(6)]
    pub changes: Bounded<ContentHash, { limits::CHANGE_LISTS_MAX }>,
}

/// A node's signed summary of what it holds for one organization.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DigestHead {
    /// The organization.
    #[n(0)]
    pub organization: OrganizationId,
    /// Its node.
    #[n(1)]
    pub node: NodeId,
    /// The highest valid version wins.
    #[n(2)]
    pub version: u64,
    /// One filter, or two while a re-key is under way.
    #[n(3)]
    pub filters: Bounded<FilterHead, { limits::KEY_EPOCHS_MAX }>,
    /// When this head was signed.
    #[n(4)]
    pub issued: Timestamp,
    /// When it should no longer count as fresh. It still finds candidates.
    #[n(5)]
    pub expires: Timestamp,
    /// Set when the node came back from a back-up as of this instant and its producers have not
    /// yet confirmed that they re-sent what came later: results are partial until then.
    #[n(6)]
    pub restored_as_of: Option<Timestamp>,
    /// From which start of the writer it is: shows a reader that knows more than the writer does
    /// that the writer lost something.
    #[n(7)]
    pub life: Option<Life>,
}

/// The time from one start of a node to its end, seen in its digest heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Life {
    /// The version that was stored when it began, or when what was lost was last made good; 0 for none.
    #[n(0)]
    pub resumed: u64,
    /// The first version issued since, above `resumed`.
    #[n(1)]
    pub first: u64,
}

impl Life {
    /// Whether a head of this version belongs to neither this life nor what it began with: the
    /// writer has lost what that head stands for.
    #[must_use]
    pub const fn has_lost(&self, version: u64) -> bool {
        self.resumed < version && version < self.first
    }
}

impl Body for DigestHead {
    const KIND: StatementKind = StatementKind::DigestHead;
    const SIGNED_BY: KeyUse = KeyUse::Pointer;
    const BYTES_MAX: usize = limits::DIGEST_HEAD_BYTES_MAX;

    fn author(&self) -> OrganizationId {
        self.organization
    }

    fn issued(&self) -> Timestamp {
        self.issued
    }
}

/// Names one head and its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct HeadVersion {
    /// The organization.
    #[n(0)]
    pub organization: OrganizationId,
    /// Its node.
    #[n(1)]
    pub node: NodeId,
    /// The version.
    #[n(2)]
    pub version: u64,
}

/// A question on the digests plane. Answered to members only; nothing in it is about a patient.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum DigestsRequest {
    /// "My heads hash to this (SHA-256 over the sorted [`HeadVersion`]s); which versions have you?"
    #[n(0)]
    Compare(#[n(0)] ContentHash),
    /// "Send me these heads."
    #[n(1)]
    Heads(#[n(0)] Bounded<(OrganizationId, NodeId), { limits::HEADS_PER_FETCH_MAX }>),
    /// "Send me the blob of this name from this offset on."
    #[n(2)]
    Blob(#[n(0)] ContentHash, #[n(1)] u64),
}

/// The reply to a [`DigestsRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum DigestsAnswer {
    /// Both sides have the same heads.
    #[n(0)]
    Same,
    /// What this side has.
    #[n(1)]
    Versions(#[n(0)] Bounded<HeadVersion, { limits::HEADS_MAX }>),
    /// The signed heads asked for, those that this side has.
    #[n(2)]
    Heads(
        #[n(0)]
        Bounded<ByteString<{ limits::DIGEST_HEAD_BYTES_MAX }>, { limits::HEADS_PER_FETCH_MAX }>,
    ),
    /// A piece of a blob; the asker knows its whole length from the size class.
    #[n(3)]
    Blob(#[n(0)] ByteString<{ limits::BLOB_PIECE_BYTES_MAX }>),
    /// This side has no such blob.
    #[n(4)]
    NotFound,
    /// This side is too busy; ask another or try again.
    #[n(5)]
    Busy,
}
