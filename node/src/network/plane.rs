//! The four exchanges between nodes, each its own protocol with its own bounds.
//!
//! One protocol an exchange lets a peer be offered some and not others, and lets every cap be
//! checked before a frame is read: the shell needs no look inside a frame to bound it.

use std::time::Duration;

use libp2p::StreamProtocol;
use signpost_protocol::NetworkId;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Bytes of the network id in a protocol name. Two networks never share a name, so they cannot
/// merge by accident; 8 bytes keep the name short and are no secret.
const NETWORK_BYTES_IN_NAME: usize = 8;

/// Gossip frames, in bytes. Gossip sends 64 KiB at most, its envelope (signature, source, topic)
/// included; a digest head is below 1 KiB, so this is room to grow.
pub const GOSSIP_FRAME_BYTES_MAX: usize = 63 * KIB;

/// What gossip may send in one piece, in bytes: gossip carries heads, never bulk.
pub(super) const GOSSIP_TRANSMIT_BYTES_MAX: usize = 64 * KIB;

/// A kind of request and reply between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Plane {
    /// Why a peer is refused, and joining. The only exchange that a stranger is offered.
    Hello,
    /// A locate's question to a holder, and its answer.
    Ask,
    /// Blinded elements to an evaluator, and its evaluation.
    Evaluate,
    /// Roster statements, filters and change lists, fetched by content hash.
    Digests,
}

impl Plane {
    /// Every plane.
    pub const ALL: [Self; 4] = [Self::Hello, Self::Ask, Self::Evaluate, Self::Digests];

    /// The plane's name in protocol names and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Ask => "ask",
            Self::Evaluate => "evaluate",
            Self::Digests => "digests",
        }
    }

    /// The longest request frame, in bytes.
    #[must_use]
    pub const fn request_bytes_max(self) -> usize {
        match self {
            // Anyone may send one, so it is no larger than an application to join needs.
            Self::Hello => KIB,
            // An ask has a dozen short fields and one signature.
            Self::Ask => 4 * KIB,
            // A batch of 1,024 blinded elements of 32 bytes, with as much again for the envelope.
            Self::Evaluate => 64 * KIB,
            // A list of content hashes held or wanted: 2,000 at 32 bytes.
            Self::Digests => 64 * KIB,
        }
    }

    /// The longest reply frame, in bytes.
    #[must_use]
    pub const fn reply_bytes_max(self) -> usize {
        match self {
            Self::Hello => KIB,
            // Some 500 signed pointers of 2 KiB; a holder with more says so in its answer.
            Self::Ask => MIB,
            Self::Evaluate => 64 * KIB,
            // One piece of a filter: large enough to fetch England in minutes, small enough that
            // every slot of a peer in use stays within memory.
            Self::Digests => 4 * MIB,
        }
    }

    /// How long one exchange may take, both ways. An upper bound that frees the stream; the
    /// deadlines that matter to a user are the core's.
    #[must_use]
    pub const fn timeout(self) -> Duration {
        match self {
            Self::Hello => Duration::from_secs(5),
            Self::Ask | Self::Evaluate => Duration::from_secs(10),
            // 4 MiB over a line of 1 Mbit/s.
            Self::Digests => Duration::from_secs(40),
        }
    }

    /// The protocol name under which the plane is negotiated. `hello` names no network: a
    /// stranger may not know the id yet.
    pub(super) fn protocol(self, network: &NetworkId) -> StreamProtocol {
        let name = match self {
            Self::Hello => "/signpost/hello/1".to_owned(),
            other => network_protocol(network, other.name()),
        };
        StreamProtocol::try_from_owned(name).expect("the name begins with a slash")
    }
}

/// The name of gossip: of its protocol and of its only topic.
pub(super) fn gossip_name(network: &NetworkId) -> String {
    network_protocol(network, "heads")
}

fn network_protocol(network: &NetworkId, name: &str) -> String {
    let network = hex::encode(&network.as_bytes()[..NETWORK_BYTES_IN_NAME]);
    format!("/signpost/{network}/{name}/1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_network_except_hello() {
        let network = NetworkId([0xab; 32]);
        let name = |plane: Plane| plane.protocol(&network).to_string();
        assert_eq!(name(Plane::Hello), "/signpost/hello/1");
        assert_eq!(name(Plane::Ask), "/signpost/abababababababab/ask/1");
        assert_eq!(gossip_name(&network), "/signpost/abababababababab/heads/1");
        for plane in [Plane::Ask, Plane::Evaluate, Plane::Digests] {
            assert_ne!(plane.protocol(&network), plane.protocol(&NetworkId([0xac; 32])));
        }
    }
}
