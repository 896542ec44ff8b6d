//! The one protocol that strangers get: why they are refused, what time it is here, and how to join.

use minicbor::{Decode, Encode};

use crate::{
    codec::{self, Bounded},
    ids::NetworkId,
    joining::{Joining, JoiningAnswer},
    limits,
    time::Timestamp,
};

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
    /// What it asks as an applicant.
    #[cbor(n(3), decode_with = "codec::known_or_absent")]
    pub joining: Option<Joining>,
}

/// How the answering node regards the one that said hello.
///
/// What says more than "stranger" is told only to a peer that proved to hold the very key it is
/// about, so that nobody learns where others stand. Each says what its admin is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum Regard {
    /// A current transport key of an admitted member. Nothing is to be done.
    #[n(0)]
    Member,
    /// A key that the roster does not know: join, with an invitation from a member. An admitted
    /// member's new key is not known yet where its statement of keys has not arrived: wait, or
    /// publish that statement again.
    #[n(1)]
    Stranger,
    /// The node belongs to another network: compare the network id with the one that a member tells,
    /// and correct the configuration or the address.
    #[n(2)]
    OtherNetwork,
    /// No version in common: update the older of the two nodes.
    #[n(3)]
    Version,
    /// The clocks differ by more than the network allows: set the one that is wrong, by NTP.
    #[n(4)]
    Clock,
    /// The organization is suspended: ask the stewards why, and until when; they admit it again.
    #[n(5)]
    Suspended,
    /// A transport key of an admitted member whose time is over, or has not begun: let the root key
    /// sign a new set of keys, and publish that statement.
    #[n(6)]
    KeyExpired,
    /// A transport key that its organization revoked: set the node up with a new key, and find out
    /// who uses the old one if it is not its own node.
    #[n(7)]
    KeyRevoked,
    /// The organization was expelled: nothing is left to do at this node but to take its clinical
    /// systems elsewhere; it may apply again with a new invitation.
    #[n(8)]
    Expelled,
}

/// The answer to a hello, at most 1 KiB. Says nothing about the network that a stranger did not say
/// itself, unless that shows the code of an invitation.
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
    /// The answer to what an applicant asked; absent when nothing was, or when this node's version
    /// does not know how to join that way.
    #[cbor(n(3), decode_with = "codec::known_or_absent")]
    pub joining: Option<JoiningAnswer>,
}
