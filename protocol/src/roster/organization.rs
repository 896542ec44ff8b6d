//! What an organization says of itself: that it exists, and which keys and nodes it has.

use minicbor::{Decode, Encode};

use crate::{
    codec::{Bounded, Text},
    ids::{ContentHash, NodeId, OdsCode, OrganizationId, PublicKey},
    limits,
    statement::{Body, KeyUse, StatementKind},
    time::Timestamp,
};

/// An organization's birth certificate. Its [`OrganizationId`] is the hash of the signed statement.
///
/// Signed by the root key it names, with [`NetworkId::NONE`](crate::NetworkId::NONE): an
/// organization exists before it joins any network.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Inception {
    /// The root public key.
    #[n(0)]
    pub root: PublicKey,
    /// SHA-256 of the next root public key, which alone may follow this one (pre-rotation).
    #[n(1)]
    pub next_root: ContentHash,
    /// ODS code at birth.
    #[n(2)]
    pub ods: OdsCode,
    /// Name at birth.
    #[n(3)]
    pub name: Text<{ limits::NAME_BYTES_MAX }>,
    /// When it was made.
    #[n(4)]
    pub created: Timestamp,
}

impl Body for Inception {
    const KIND: StatementKind = StatementKind::Inception;
    const SIGNED_BY: KeyUse = KeyUse::Root;
    const BYTES_MAX: usize = limits::INCEPTION_BYTES_MAX;

    /// An inception makes its author: there is none before it.
    fn author(&self) -> OrganizationId {
        OrganizationId([0; 32])
    }

    fn issued(&self) -> Timestamp {
        self.created
    }
}

/// Why a key was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum RevocationReason {
    /// Somebody else may have it.
    #[n(0)]
    Compromised,
    /// Another has taken its place.
    #[n(1)]
    Superseded,
    /// It is no longer needed.
    #[n(2)]
    Retired,
}

/// That a key counts for nothing from an instant on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Revocation {
    /// From when on: what the key signed at this instant or later does not count. May lie in the
    /// past, when a theft is found out late.
    #[n(0)]
    pub since: Timestamp,
    /// Why.
    #[n(1)]
    pub reason: RevocationReason,
}

/// A public key of an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeyRecord {
    /// The key.
    #[n(0)]
    pub key: PublicKey,
    /// What it may sign. Root keys stand in the inception, not here.
    #[n(1)]
    pub usage: KeyUse,
    /// The node that holds it; none for a govern key, which is on an admin's machine.
    #[n(2)]
    pub node: Option<NodeId>,
    /// First instant of its validity.
    #[n(3)]
    pub not_before: Timestamp,
    /// First instant after its validity.
    #[n(4)]
    pub not_after: Timestamp,
    /// Whether it was revoked.
    #[n(5)]
    pub revoked: Option<Revocation>,
}

/// A node of a member.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct NodeRecord {
    /// The node.
    #[n(0)]
    pub node: NodeId,
    /// Where it listens, as multiaddrs without the peer id, e.g. `/ip4/192.0.2.1/tcp/4001`.
    #[n(1)]
    pub addresses: Bounded<Text<{ limits::ADDRESS_BYTES_MAX }>, { limits::ADDRESSES_PER_NODE_MAX }>,
}

/// Everything that an organization lists in one network: its nodes and its **whole** key set.
///
/// The highest `lineage`, and in it the highest `version`, counts. A key that is not listed any
/// more does not count for anything, so a retired one stays listed for as long as what it signed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct OrganizationKeys {
    /// The organization.
    #[n(0)]
    pub organization: OrganizationId,
    /// Which of its root keys signs: 0 for that of the inception, *n* for that of the *n*-th
    /// [`RootReset`](super::RootReset).
    #[n(1)]
    pub lineage: u32,
    /// Counts up from 1 within a lineage.
    #[n(2)]
    pub version: u64,
    /// The hash of the statement that this one follows; the [`OrganizationId`]'s bytes for the first.
    #[n(3)]
    pub previous: ContentHash,
    /// Its nodes.
    #[n(4)]
    pub nodes: Bounded<NodeRecord, { limits::NODES_PER_MEMBER_MAX }>,
    /// Its govern, pointer and transport keys.
    #[n(5)]
    pub keys: Bounded<KeyRecord, { limits::KEYS_PER_MEMBER_MAX }>,
    /// When it was signed.
    #[n(6)]
    pub issued: Timestamp,
}

impl Body for OrganizationKeys {
    const KIND: StatementKind = StatementKind::OrganizationKeys;
    const SIGNED_BY: KeyUse = KeyUse::Root;
    const BYTES_MAX: usize = limits::STATEMENT_BYTES_MAX;

    fn author(&self) -> OrganizationId {
        self.organization
    }

    fn issued(&self) -> Timestamp {
        self.issued
    }
}
