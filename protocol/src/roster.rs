//! The messages of the roster plane: who is a member, by which keys, at which addresses.
//!
//! A network begins with a [`Founding`] that all its founders endorse. Which statement may follow
//! which is decided in `signpost-keys`.

use minicbor::{Decode, Encode};

use crate::{
    blind::EvaluatorSet,
    codec::{Bounded, ByteString, Text},
    ids::{ContentHash, NetworkId, NodeId, OdsCode, OrganizationId, PublicKey},
    limits,
    statement::{Body, KeyUse, StatementKind},
    time::Timestamp,
};

/// An organization's birth certificate. Its [`OrganizationId`] is the hash of the signed statement.
///
/// Signed by the root key it names, with [`NetworkId::NONE`]: an organization exists before it
/// joins any network.
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

/// A public key in the roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeyRecord {
    /// The key.
    #[n(0)]
    pub key: PublicKey,
    /// What it may sign. Root keys stand in the inception, not here.
    #[n(1)]
    pub usage: KeyUse,
    /// The node that holds it.
    #[n(2)]
    pub node: NodeId,
    /// First instant of its validity.
    #[n(3)]
    pub not_before: Timestamp,
    /// First instant after its validity.
    #[n(4)]
    pub not_after: Timestamp,
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

/// Where a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Standing {
    /// Takes part.
    #[n(0)]
    Admitted,
    /// Cut off until it is admitted again; named in results as excluded.
    #[n(1)]
    Suspended,
    /// Gone for good.
    #[n(2)]
    Expelled,
}

/// One member of the network.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct MemberRecord {
    /// The signed [`Inception`], whole: its hash is the organization's identity.
    #[n(0)]
    pub inception: ByteString<{ limits::INCEPTION_BYTES_MAX }>,
    /// Where the member stands.
    #[n(1)]
    pub standing: Standing,
    /// ODS code today, unique among admitted members.
    #[n(2)]
    pub ods: OdsCode,
    /// Name today.
    #[n(3)]
    pub name: Text<{ limits::NAME_BYTES_MAX }>,
    /// Its nodes.
    #[n(4)]
    pub nodes: Bounded<NodeRecord, { limits::NODES_PER_MEMBER_MAX }>,
    /// Its pointer and transport keys.
    #[n(5)]
    pub keys: Bounded<KeyRecord, { limits::KEYS_PER_MEMBER_MAX }>,
    /// The largest digest size class that it may advertise, per node.
    #[n(6)]
    pub class_max: u8,
}

/// Durations that the whole network shares, all in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Parameters {
    /// A digest head is re-issued this often even when nothing changed.
    #[n(0)]
    pub head_interval: u64,
    /// A head older than this makes a result partial ("stale").
    #[n(1)]
    pub head_age_max: u64,
    /// The greatest accepted difference between two clocks.
    #[n(2)]
    pub clock_skew_max: u64,
    /// The longest accepted life of an ask or evaluation request, from issued to expires.
    #[n(3)]
    pub request_life_max: u64,
}

impl Parameters {
    /// The durations of DESIGN §2 and §3: heads every 5 minutes and stale at 15, clocks within 120 s.
    ///
    /// A request lives 30 s: ten times the default deadline of a locate.
    pub const STANDARD: Self = Self {
        head_interval: 300_000,
        head_age_max: 900_000,
        clock_skew_max: 120_000,
        request_life_max: 30_000,
    };
}

/// The roster that a network begins with. Its hash is the [`NetworkId`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Founding {
    /// A name for people.
    #[n(0)]
    pub name: Text<{ limits::NAME_BYTES_MAX }>,
    /// When the network was founded.
    #[n(1)]
    pub founded: Timestamp,
    /// Shared durations.
    #[n(2)]
    pub parameters: Parameters,
    /// The founders.
    #[n(3)]
    pub members: Bounded<MemberRecord, { limits::FOUNDERS_MAX }>,
    /// Who evaluates blinded identifiers, and with which public shares.
    #[n(4)]
    pub evaluators: EvaluatorSet,
}

/// One founder's signature under the founding, by its root key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Endorsement {
    /// The founder.
    #[n(0)]
    pub organization: OrganizationId,
    /// The network, that is, the hash of the founding's bytes.
    #[n(1)]
    pub network: NetworkId,
    /// When it was signed.
    #[n(2)]
    pub issued: Timestamp,
}

impl Body for Endorsement {
    const KIND: StatementKind = StatementKind::Endorsement;
    const SIGNED_BY: KeyUse = KeyUse::Root;
    const BYTES_MAX: usize = limits::ENDORSEMENT_BYTES_MAX;

    fn author(&self) -> OrganizationId {
        self.organization
    }

    fn issued(&self) -> Timestamp {
        self.issued
    }
}

/// A founding with its endorsements, as it is kept in a file and handed on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EndorsedFounding {
    /// The bytes of the [`Founding`], whose SHA-256 is the network id.
    #[n(0)]
    pub founding: ByteString<{ limits::ROSTER_BYTES_MAX }>,
    /// A signed [`Endorsement`] of every founder.
    #[n(1)]
    pub endorsements:
        Bounded<ByteString<{ limits::ENDORSEMENT_BYTES_MAX }>, { limits::FOUNDERS_MAX }>,
}
