//! The one protocol that strangers get: why they are refused, and what time it is here.

use minicbor::{Decode, Encode};

use crate::{codec::Bounded, ids::NetworkId, limits, time::Timestamp};

/// The protocol versions that this implementation speaks, newest first.
pub const VERSIONS: [u16; 1] = [1];

/// What a node says on every new connection, at most 1 KiB.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct HelloRequest {
    /// The versions it speaks, newest first.
    #[n(0)]
    pub versions: Bounded<u16, { limits::VERSIONS_MAX }>,
    /// The network it means.
    #[n(1)]
    pub network: NetworkId,
    /// Its clock.
    #[n(2)]
    pub now: Timestamp,
}

/// How the answering node regards the one that said hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum Regard {
    /// A current transport key of an admitted member.
    #[n(0)]
    Member,
    /// Not (or no longer) a transport key of an admitted member: ask a steward to be admitted, or check the key's expiry.
    #[n(1)]
    Stranger,
    /// The node belongs to another network.
    #[n(2)]
    OtherNetwork,
    /// No version in common.
    #[n(3)]
    Version,
    /// The clocks differ by more than the network allows.
    #[n(4)]
    Clock,
    /// The organization is suspended.
    #[n(5)]
    Suspended,
}

/// The answer to a hello, at most 1 KiB. Says nothing about the network that a stranger did not say itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct HelloAnswer {
    /// How the asker is regarded.
    #[n(0)]
    pub regard: Regard,
    /// The versions that this node speaks, newest first.
    #[n(1)]
    pub versions: Bounded<u16, { limits::VERSIONS_MAX }>,
    /// This node's clock.
    #[n(2)]
    pub now: Timestamp,
}
