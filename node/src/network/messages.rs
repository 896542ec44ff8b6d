//! What the core and the network say to each other.
//!
//! Their `Debug` shows who, what and how long, never a frame: events end up in logs.

use std::fmt;

use libp2p::Multiaddr;
use signpost_protocol::PublicKey;

use super::{Member, failure::RequestFailure, plane::Plane};
#[cfg(doc)]
use signpost_protocol::limits::GOSSIP_FRAME_BYTES_MAX;

/// Names a request that arrived, until it is replied to or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InboundId(pub u64);

/// Names a gossip message that arrived, until it is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GossipId(pub u64);

/// What to do with a gossip message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Valid: pass it on.
    Accept,
    /// Invalid, and whoever passed it on should have known.
    Reject,
    /// Not worth passing on: old, or of a writer not known here.
    Ignore,
}

/// What the core asks of the network.
#[derive(Clone, PartialEq, Eq)]
pub enum NetworkCommand {
    /// Replaces the members. Connections of removed members are closed, their requests end without
    /// an answer and those to them fail with [`RequestFailure::Closed`]. Connections of strangers
    /// that became members are closed too: they come back as members. Those of other members stay,
    /// and new addresses are used when they are dialled next.
    SetMembers(Vec<Member>),
    /// Connects to a member; ends in [`NetworkEvent::Connected`] or [`NetworkEvent::DialFailed`].
    /// Nothing is reported when the connection stands already.
    Connect(PublicKey),
    /// Closes every connection with a peer.
    Disconnect(PublicKey),
    /// Sends a request to a member, connecting first if needed. Exactly one
    /// [`NetworkEvent::Response`] with the same token follows.
    Request {
        /// Chosen by the core.
        token: u64,
        /// To whom.
        peer: PublicKey,
        /// By which exchange.
        plane: Plane,
        /// At most [`Plane::request_bytes_max`] bytes.
        frame: Vec<u8>,
    },
    /// Answers a request. Without effect when the asker has gone or waited too long.
    Reply {
        /// Of the request.
        id: InboundId,
        /// At most [`Plane::reply_bytes_max`] bytes; a longer one is logged and becomes a refusal.
        frame: Vec<u8>,
    },
    /// Ends a request without an answer.
    Refuse {
        /// Of the request.
        id: InboundId,
    },
    /// Publishes a statement to the members, a digest head or one of the roster: at most
    /// [`GOSSIP_FRAME_BYTES_MAX`] bytes. Nobody being connected is no error: they catch up when
    /// they connect.
    Publish(Vec<u8>),
    /// Says what to do with a gossip message that arrived. Due within seconds, or it is too old
    /// to pass on.
    Judge {
        /// Of the message.
        id: GossipId,
        /// What to do.
        verdict: Verdict,
    },
    /// Tries whether a peer, member or not, can be reached at one address. The handshake proves its
    /// key; nothing is exchanged, and the connection closes at once. Exactly one
    /// [`NetworkEvent::DialBack`] with the same token follows, within some 3 seconds.
    ///
    /// To be given only for those who may ask for it: with it, others make this node connect to an
    /// address of their choice, and learn what happened.
    DialBack {
        /// Chosen by the core.
        token: u64,
        /// The key that is to answer.
        peer: PublicKey,
        /// Where: a multiaddr without peer id.
        address: Multiaddr,
    },
    /// Closes all connections and ends the task; see [`NetworkHandle::shutdown`](super::NetworkHandle::shutdown).
    Shutdown,
}

/// What the network tells the core.
#[derive(Clone, PartialEq, Eq)]
pub enum NetworkEvent {
    /// The node listens here now, with the port that was chosen.
    Listening {
        /// The address, without the peer's name.
        address: Multiaddr,
    },
    /// The node no longer listens on an address, or a listener has trouble.
    ListenFailed {
        /// What is no longer listened on; empty when a listener goes on in spite of the trouble.
        addresses: Vec<Multiaddr>,
        /// What happened.
        reason: String,
    },
    /// A peer's first connection stands. A peer that was a stranger and became a member is
    /// reported for each; the order of the one's end and the other's beginning is open.
    Connected {
        /// The key it proved to hold.
        peer: PublicKey,
        /// Whether it came as a member, or as a stranger.
        member: bool,
        /// Whether this node dialled.
        outbound: bool,
    },
    /// A peer's last connection of its kind is gone.
    Disconnected {
        /// Who.
        peer: PublicKey,
        /// Whether it had come as a member.
        member: bool,
    },
    /// An attempt to connect to a member failed, whatever it was made for.
    DialFailed {
        /// Who was to be reached.
        peer: PublicKey,
        /// One short sentence.
        reason: String,
    },
    /// A request arrived. Replying or refusing is due within [`Plane::timeout`].
    Request {
        /// Who asks: a member, or anyone on [`Plane::Hello`].
        peer: PublicKey,
        /// By which exchange.
        plane: Plane,
        /// To reply with.
        id: InboundId,
        /// The request.
        frame: Vec<u8>,
    },
    /// The outcome of [`NetworkCommand::Request`].
    Response {
        /// As given.
        token: u64,
        /// Who was asked.
        peer: PublicKey,
        /// The reply, or why there is none.
        result: Result<Vec<u8>, RequestFailure>,
    },
    /// The outcome of [`NetworkCommand::DialBack`].
    DialBack {
        /// As given.
        token: u64,
        /// Whether the key answered there; if not, why, in one sentence of less than 160 bytes as a
        /// rule: what the operating system says may be longer.
        result: Result<(), String>,
    },
    /// A statement arrived by gossip. It waits for [`NetworkCommand::Judge`] before it is passed on.
    Gossip {
        /// To judge it with.
        id: GossipId,
        /// The transport key that signed it: who published it.
        from: PublicKey,
        /// The member that passed it on.
        via: PublicKey,
        /// The statement.
        frame: Vec<u8>,
    },
}

/// Stands for a frame in `Debug`.
struct Bytes(usize);

impl Bytes {
    fn of(frame: &[u8]) -> Self {
        Self(frame.len())
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)
    }
}

impl fmt::Debug for NetworkCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetMembers(members) => f.debug_tuple("SetMembers").field(&members.len()).finish(),
            Self::Connect(peer) => f.debug_tuple("Connect").field(peer).finish(),
            Self::Disconnect(peer) => f.debug_tuple("Disconnect").field(peer).finish(),
            Self::Request { token, peer, plane, frame } => f
                .debug_struct("Request")
                .field("token", token)
                .field("peer", peer)
                .field("plane", plane)
                .field("frame", &Bytes::of(frame))
                .finish(),
            Self::Reply { id, frame } => {
                f.debug_struct("Reply").field("id", id).field("frame", &Bytes::of(frame)).finish()
            }
            Self::Refuse { id } => f.debug_struct("Refuse").field("id", id).finish(),
            Self::Publish(frame) => f.debug_tuple("Publish").field(&Bytes::of(frame)).finish(),
            Self::Judge { id, verdict } => {
                f.debug_struct("Judge").field("id", id).field("verdict", verdict).finish()
            }
            Self::DialBack { token, peer, address } => f
                .debug_struct("DialBack")
                .field("token", token)
                .field("peer", peer)
                .field("address", address)
                .finish(),
            Self::Shutdown => f.write_str("Shutdown"),
        }
    }
}

impl fmt::Debug for NetworkEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening { address } => {
                f.debug_struct("Listening").field("address", address).finish()
            }
            Self::ListenFailed { addresses, reason } => f
                .debug_struct("ListenFailed")
                .field("addresses", addresses)
                .field("reason", reason)
                .finish(),
            Self::Connected { peer, member, outbound } => f
                .debug_struct("Connected")
                .field("peer", peer)
                .field("member", member)
                .field("outbound", outbound)
                .finish(),
            Self::Disconnected { peer, member } => {
                f.debug_struct("Disconnected").field("peer", peer).field("member", member).finish()
            }
            Self::DialFailed { peer, reason } => {
                f.debug_struct("DialFailed").field("peer", peer).field("reason", reason).finish()
            }
            Self::Request { peer, plane, id, frame } => f
                .debug_struct("Request")
                .field("peer", peer)
                .field("plane", plane)
                .field("id", id)
                .field("frame", &Bytes::of(frame))
                .finish(),
            Self::Response { token, peer, result } => f
                .debug_struct("Response")
                .field("token", token)
                .field("peer", peer)
                .field("result", &result.as_deref().map(Bytes::of))
                .finish(),
            Self::DialBack { token, result } => {
                f.debug_struct("DialBack").field("token", token).field("result", result).finish()
            }
            Self::Gossip { id, from, via, frame } => f
                .debug_struct("Gossip")
                .field("id", id)
                .field("from", from)
                .field("via", via)
                .field("frame", &Bytes::of(frame))
                .finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_lengths_and_no_frame() {
        let peer = PublicKey([0xab; 32]);
        // 0x61 is 97; neither spelling may appear.
        let frame = vec![0x61; 300];
        let command = NetworkCommand::Request { token: 1, peer, plane: Plane::Ask, frame };
        assert_eq!(
            format!("{command:?}"),
            "Request { token: 1, peer: PublicKey(abababab..), plane: Ask, frame: 300 bytes }"
        );
        let frame = vec![0x61; 300];
        let texts = [
            format!("{:?}", NetworkCommand::Publish(frame.clone())),
            format!("{:?}", NetworkCommand::Reply { id: InboundId(1), frame: frame.clone() }),
            format!("{:?}", NetworkEvent::Response { token: 1, peer, result: Ok(frame.clone()) }),
            format!("{:?}", NetworkEvent::Gossip { id: GossipId(1), from: peer, via: peer, frame }),
        ];
        for text in texts {
            assert!(text.contains("300 bytes") && !text.contains("97") && !text.contains("aaa"));
        }
    }
}
