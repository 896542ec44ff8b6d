//! What the node speaks, in the order in which it may say no.
//!
//! The limits come first, so that they deny before anything is allocated; then the gate with all
//! that members use; then `hello`, which is for everyone.

use std::time::Duration;

use libp2p::{
    connection_limits::{self, ConnectionLimits},
    gossipsub::{
        self, IdentTopic, MaxCountSubscriptionFilter, MessageAuthenticity, MessageId,
        ValidationMode, Version, WhitelistSubscriptionFilter,
    },
    identity::Keypair,
    request_response::{self, ProtocolSupport},
    swarm::NetworkBehaviour,
};
use sha2::{Digest as _, Sha256};
use signpost_protocol::NetworkId;

use super::{
    codec::{FrameCodec, FrameTap},
    gate::Gate,
    plane::{GOSSIP_TRANSMIT_BYTES_MAX, Plane, gossip_name},
    transport::STREAMS_PER_CONNECTION_MAX,
};

/// Inbound handshakes at one time: each costs a key agreement before we know who asks.
const PENDING_INBOUND_MAX: u32 = 64;
/// Outbound attempts at one time. A start-up that dials more members than this is refused the
/// rest at once and tries them later.
const PENDING_OUTBOUND_MAX: u32 = 128;
/// Connections at one time: a third of England's nodes, at some 100 KiB each when idle.
const ESTABLISHED_MAX: u32 = 2_048;
/// Connections with one peer: both sides may dial at once, while two old ones are closing.
const ESTABLISHED_PER_PEER_MAX: u32 = 4;
/// Hello streams on one connection, both ways.
const HELLO_STREAMS_MAX: usize = 4;
/// Bytes of the SHA-256 that names a gossip message: 160 bits are beyond collisions.
const MESSAGE_ID_BYTES: usize = 20;
/// Gossip messages waiting for one peer's connection: 4 MiB at the worst. A peer so slow gets
/// the statements on its next catch-up.
const GOSSIP_QUEUE_MAX: usize = 256;
/// Subscriptions in one gossip message; there is one topic to join and leave.
const SUBSCRIPTIONS_PER_MESSAGE_MAX: usize = 4;
/// How long a gossip message is remembered as seen; heads are re-issued every 5 minutes.
const GOSSIP_SEEN: Duration = Duration::from_secs(120);

/// One request and reply protocol.
pub(super) type Exchange = request_response::Behaviour<FrameCodec>;

type Gossip = gossipsub::Behaviour<
    gossipsub::IdentityTransform,
    MaxCountSubscriptionFilter<WhitelistSubscriptionFilter>,
>;

/// What members use among themselves.
#[derive(NetworkBehaviour)]
pub(super) struct MemberBehaviour {
    ask: Exchange,
    evaluate: Exchange,
    digests: Exchange,
    roster: Exchange,
    pub(super) gossip: Gossip,
}

/// Everything the node speaks.
#[derive(NetworkBehaviour)]
pub(super) struct NodeBehaviour {
    limits: connection_limits::Behaviour,
    pub(super) gate: Gate<MemberBehaviour>,
    hello: Exchange,
}

impl NodeBehaviour {
    /// # Errors
    /// When gossip refuses its settings; they are constants, so this is a fault of the build.
    pub(super) fn new(
        keypair: &Keypair,
        network: &NetworkId,
        tap: Option<&FrameTap>,
        request_timeout: Option<Duration>,
    ) -> Result<Self, String> {
        let exchange = |plane| exchange(plane, network, tap, request_timeout);
        let members = MemberBehaviour {
            ask: exchange(Plane::Ask),
            evaluate: exchange(Plane::Evaluate),
            digests: exchange(Plane::Digests),
            roster: exchange(Plane::Roster),
            gossip: gossip(keypair.clone(), network)?,
        };
        let limits = ConnectionLimits::default()
            .with_max_pending_incoming(Some(PENDING_INBOUND_MAX))
            .with_max_pending_outgoing(Some(PENDING_OUTBOUND_MAX))
            .with_max_established(Some(ESTABLISHED_MAX))
            .with_max_established_per_peer(Some(ESTABLISHED_PER_PEER_MAX));
        Ok(Self {
            limits: connection_limits::Behaviour::new(limits),
            gate: Gate::new(members, keypair.public().to_peer_id()),
            hello: exchange(Plane::Hello),
        })
    }

    /// The behaviour of one plane.
    pub(super) fn exchange(&mut self, plane: Plane) -> &mut Exchange {
        match plane {
            Plane::Hello => &mut self.hello,
            Plane::Ask => &mut self.gate.inner_mut().ask,
            Plane::Evaluate => &mut self.gate.inner_mut().evaluate,
            Plane::Digests => &mut self.gate.inner_mut().digests,
            Plane::Roster => &mut self.gate.inner_mut().roster,
        }
    }
}

/// The only topic.
pub(super) fn topic(network: &NetworkId) -> IdentTopic {
    IdentTopic::new(gossip_name(network))
}

fn exchange(
    plane: Plane,
    network: &NetworkId,
    tap: Option<&FrameTap>,
    request_timeout: Option<Duration>,
) -> Exchange {
    let streams_max = match plane {
        Plane::Hello => HELLO_STREAMS_MAX,
        Plane::Ask | Plane::Evaluate | Plane::Digests | Plane::Roster => STREAMS_PER_CONNECTION_MAX,
    };
    let config = request_response::Config::default()
        .with_request_timeout(request_timeout.unwrap_or_else(|| plane.timeout()))
        .with_max_concurrent_streams(streams_max);
    let protocols = [(plane.protocol(network), ProtocolSupport::Full)];
    Exchange::with_codec(FrameCodec::new(plane, tap.cloned()), protocols, config)
}

fn gossip(keypair: Keypair, network: &NetworkId) -> Result<Gossip, String> {
    let topic = topic(network);
    let config = gossipsub::ConfigBuilder::default()
        .protocol_id(gossip_name(network), Version::V1_1)
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .message_id_fn(message_id)
        .max_transmit_size(GOSSIP_TRANSMIT_BYTES_MAX)
        .flood_publish(true)
        .duplicate_cache_time(GOSSIP_SEEN)
        .connection_handler_queue_len(GOSSIP_QUEUE_MAX)
        .build()
        .map_err(|error| error.to_string())?;
    let filter = MaxCountSubscriptionFilter {
        filter: WhitelistSubscriptionFilter([topic.hash()].into()),
        max_subscribed_topics: 1,
        max_subscriptions_per_request: SUBSCRIPTIONS_PER_MESSAGE_MAX,
    };
    let signing = MessageAuthenticity::Signed(keypair);
    let mut gossip = Gossip::new_with_subscription_filter(signing, config, filter)?;
    gossip.subscribe(&topic).map_err(|error| error.to_string())?;
    Ok(gossip)
}

/// Names a message by its signer and content, so that the same statement published again within
/// [`GOSSIP_SEEN`] is the same message, whatever sequence number it got.
fn message_id(message: &gossipsub::Message) -> MessageId {
    let mut hash = Sha256::new();
    // A peer id describes its own length, so the two parts cannot be shifted into each other.
    hash.update(message.source.map(|source| source.to_bytes()).unwrap_or_default());
    hash.update(&message.data);
    MessageId::new(&hash.finalize()[..MESSAGE_ID_BYTES])
}
