//! The five exchanges between nodes, each its own protocol with its own bounds.
//!
//! One protocol an exchange lets a peer be offered some and not others, and lets every cap be
//! checked before a frame is read: the shell needs no look inside a frame to bound it.

use std::time::Duration;

use libp2p::StreamProtocol;
use signpost_protocol::{NetworkId, limits};

/// Bytes of the network id in a protocol name. Two networks never share a name, so they cannot
/// merge by accident; 8 bytes keep the name short and are no secret.
const NETWORK_BYTES_IN_NAME: usize = 8;

/// What gossip may send in one piece, in bytes: a frame with its envelope (signature, source,
/// topic). Gossip carries single statements, heads of digests and of the roster, never bulk.
pub(super) const GOSSIP_TRANSMIT_BYTES_MAX: usize = limits::GOSSIP_FRAME_BYTES_MAX + 1024;

/// A kind of request and reply between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Plane {
    /// Why a peer is refused, and joining. The only exchange that a stranger is offered.
    Hello,
    /// A locate's question to a holder, and its answer.
    Ask,
    /// Blinded elements to an evaluator, and its evaluation.
    Evaluate,
    /// Heads, filters and change lists.
    Digests,
    /// Roster statements, compared and fetched by their hashes.
    Roster,
}

impl Plane {
    /// Every plane.
    pub const ALL: [Self; 5] =
        [Self::Hello, Self::Ask, Self::Evaluate, Self::Digests, Self::Roster];

    /// The plane's name in protocol names and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Ask => "ask",
            Self::Evaluate => "evaluate",
            Self::Digests => "digests",
            Self::Roster => "roster",
        }
    }

    /// The longest request frame, in bytes.
    #[must_use]
    pub const fn request_bytes_max(self) -> usize {
        match self {
            Self::Hello => limits::HELLO_FRAME_BYTES_MAX,
            Self::Ask => limits::ASK_FRAME_BYTES_MAX,
            Self::Evaluate => limits::EVALUATE_FRAME_BYTES_MAX,
            Self::Digests => limits::DIGESTS_REQUEST_FRAME_BYTES_MAX,
            Self::Roster => limits::ROSTER_REQUEST_FRAME_BYTES_MAX,
        }
    }

    /// The longest reply frame, in bytes.
    #[must_use]
    pub const fn reply_bytes_max(self) -> usize {
        match self {
            Self::Hello => limits::HELLO_FRAME_BYTES_MAX,
            Self::Ask => limits::ANSWER_FRAME_BYTES_MAX,
            Self::Evaluate => limits::EVALUATE_FRAME_BYTES_MAX,
            Self::Digests => limits::DIGESTS_ANSWER_FRAME_BYTES_MAX,
            Self::Roster => limits::ROSTER_ANSWER_FRAME_BYTES_MAX,
        }
    }

    /// How long one exchange may take, both ways. An upper bound that frees the stream; the
    /// deadlines that matter to a user are the core's.
    #[must_use]
    pub const fn timeout(self) -> Duration {
        match self {
            Self::Hello => Duration::from_secs(5),
            Self::Ask | Self::Evaluate => Duration::from_secs(10),
            // 2 MiB over a line of 1 Mbit/s takes 17 s.
            Self::Digests | Self::Roster => Duration::from_secs(40),
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
    network_protocol(network, "statements")
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
        assert_eq!(gossip_name(&network), "/signpost/abababababababab/statements/1");
        for plane in Plane::ALL.into_iter().filter(|plane| *plane != Plane::Hello) {
            assert_ne!(plane.protocol(&network), plane.protocol(&NetworkId([0xac; 32])));
        }
    }
}
