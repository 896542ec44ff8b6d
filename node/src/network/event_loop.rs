//! The task that owns the connections.
//!
//! **Back-pressure without deadlock.** The core reads our events and sends us commands, both over
//! bounded queues; if each side waited for the other's queue, both would stand still. So this task
//! never waits for room among the events. What finds none is kept in an outbox, and when the
//! outbox is full the swarm is left alone: streams stop being read and the peers' own windows push
//! back. Commands are still taken, so that the core always gets to its next event. A command
//! yields at most one event at once (new members: one for each request that ends), and commands wait too when the outbox reaches its hard bound,
//! which a core that reads an event between any [`OUTBOX_OF_COMMANDS_MAX`] commands never sees.
//! What waits in the outbox is bounded by kind as well: requests and gossip for each peer, so that
//! none can fill it, responses by the requests under way; comings and goings by the outbox.

use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    gossipsub::{self, IdentTopic, MessageAcceptance, MessageId, PublishError},
    request_response::{self, InboundRequestId, OutboundRequestId, ResponseChannel},
    swarm::{
        ConnectionId, DialError, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use signpost_protocol::{PublicKey, limits::GOSSIP_FRAME_BYTES_MAX};
use tokio::{sync::mpsc, time::timeout};
use tracing::{debug, error, trace, warn};

use super::{
    Direction, FrameSeen, FrameTap, GossipId, InboundId, Member, NetworkCommand, NetworkEvent,
    RequestFailure, Traffic, Verdict,
    behaviour::{MemberBehaviourEvent, NodeBehaviour, NodeBehaviourEvent},
    bounded::{Bounded, Full},
    failure::dial_reason,
    gate::GateEvent,
    outbox::Outbox,
    peers::{peer_id_of, public_key_of},
    plane::Plane,
};

/// Events that wait for the core before the swarm is left alone.
const OUTBOX_MAX: usize = 1_024;
/// Further events that commands may cause while the swarm is left alone.
const OUTBOX_OF_COMMANDS_MAX: usize = 4_096;
/// Requests of one peer that wait for the core's reply.
const INBOUND_PER_PEER_MAX: usize = 96;
/// Requests of all peers that wait for the core's reply. All strangers together can fill half.
const INBOUND_MAX: usize = 1_024;
/// Requests of ours under way to one peer: a busy pair of trusts has some six look-ups under way at
/// a time. With as many from it, and gossip, a connection stays below the 256 streams past which it
/// would be ended.
const OUTBOUND_PER_PEER_MAX: usize = 96;
/// Requests of ours under way to all peers.
const OUTBOUND_MAX: usize = 2_048;
/// Gossip messages that wait for the core's judgement, at 16 KiB each at the worst.
const JUDGEMENTS_MAX: usize = 256;
/// Gossip messages of one peer that wait for the core: a second's worth of all that England's nodes
/// send. A peer that passes on more gets the rest ignored; what is missed is found when heads and
/// rosters are compared.
const GOSSIP_PER_PEER_MAX: usize = 32;
/// How long connections get to close in good order.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// A request that waits for the core's reply.
struct Inbound {
    plane: Plane,
    request: InboundRequestId,
    channel: ResponseChannel<Vec<u8>>,
}

/// A gossip message that waits for the core's judgement.
struct Judgement {
    message: MessageId,
    via: PeerId,
}

/// The task; see the module.
pub(super) struct EventLoop {
    swarm: Swarm<NodeBehaviour>,
    outbox: Outbox,
    topic: IdentTopic,
    tap: Option<FrameTap>,
    inbound: Bounded<InboundId, Inbound>,
    outbound: Bounded<(Plane, OutboundRequestId), u64>,
    judgements: BTreeMap<GossipId, Judgement>,
    next_inbound: u64,
    next_gossip: u64,
}

impl EventLoop {
    pub(super) fn new(
        swarm: Swarm<NodeBehaviour>,
        topic: IdentTopic,
        tap: Option<FrameTap>,
    ) -> Self {
        Self {
            swarm,
            outbox: Outbox::default(),
            topic,
            tap,
            inbound: Bounded::new(INBOUND_PER_PEER_MAX, INBOUND_MAX),
            outbound: Bounded::new(OUTBOUND_PER_PEER_MAX, OUTBOUND_MAX),
            judgements: BTreeMap::new(),
            next_inbound: 0,
            next_gossip: 0,
        }
    }

    /// Runs until the handles or the events' receiver are gone, or a shutdown is asked for.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<NetworkCommand>,
        events: mpsc::Sender<NetworkEvent>,
    ) {
        loop {
            tokio::select! {
                room = events.reserve(), if !self.outbox.is_empty() => {
                    let Ok(room) = room else { break };
                    if let Some(event) = self.outbox.pop() {
                        room.send(event);
                    }
                }
                command = commands.recv(),
                    if self.outbox.len() < OUTBOX_MAX + OUTBOX_OF_COMMANDS_MAX =>
                {
                    match command {
                        None | Some(NetworkCommand::Shutdown) => break,
                        Some(command) => self.on_command(command),
                    }
                }
                event = self.swarm.select_next_some(), if self.outbox.len() < OUTBOX_MAX => {
                    self.on_swarm_event(event);
                }
                () = events.closed() => break,
            }
        }
        self.close_connections().await;
    }

    async fn close_connections(mut self) {
        let peers = self.swarm.connected_peers().copied().collect::<Vec<_>>();
        for peer in peers {
            // An error means that the peer has gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let all_closed = async {
            while self.swarm.connected_peers().next().is_some() {
                self.swarm.select_next_some().await;
            }
        };
        if timeout(SHUTDOWN_GRACE, all_closed).await.is_err() {
            debug!("connections did not close in time and are cut");
        }
    }

    fn tell(&mut self, event: NetworkEvent) {
        self.outbox.push(event);
    }

    pub(super) fn set_members(&mut self, members: Vec<Member>) {
        let members = members.into_iter().filter_map(|member| {
            let peer = peer_id_of(&member.key);
            if peer.is_none() {
                warn!(key = ?member.key, "a member's transport key is no Ed25519 key");
            }
            Some((peer?, member.addresses))
        });
        let gate = &mut self.swarm.behaviour_mut().gate;
        gate.set_members(members);
        // A connection takes its time to close, and a peer that does not read can prolong that.
        self.inbound
            .remove_where(|peer, inbound| inbound.plane != Plane::Hello && !gate.is_member(peer));
        for (peer, token) in self.outbound.remove_where(|peer, _| !gate.is_member(peer)) {
            if let Some(peer) = public_key_of(&peer) {
                let result = Err(RequestFailure::Closed);
                self.outbox.push(NetworkEvent::Response { token, peer, result });
            }
        }
    }

    fn is_member(&self, peer: &PeerId) -> bool {
        self.swarm.behaviour().gate.is_member(peer)
    }

    // -- commands --

    fn on_command(&mut self, command: NetworkCommand) {
        match command {
            NetworkCommand::SetMembers(members) => self.set_members(members),
            NetworkCommand::Connect(peer) => self.connect(peer),
            NetworkCommand::Disconnect(peer) => {
                if let Some(peer) = peer_id_of(&peer) {
                    // An error means that there is no connection to close.
                    let _ = self.swarm.disconnect_peer_id(peer);
                }
            }
            NetworkCommand::DialBack { token, peer, address } => {
                if let Err(reason) = self.dial_back(token, peer, address) {
                    self.tell(NetworkEvent::DialBack { token, result: Err(reason.to_owned()) });
                }
            }
            NetworkCommand::Request { token, peer, plane, frame } => {
                if let Err(failure) = self.request(token, peer, plane, frame) {
                    debug!(?peer, plane = plane.name(), %failure, "request not sent");
                    self.tell(NetworkEvent::Response { token, peer, result: Err(failure) });
                }
            }
            NetworkCommand::Reply { id, frame } => self.reply(id, frame),
            // Dropping the channel ends the stream.
            NetworkCommand::Refuse { id } => drop(self.inbound.remove(&id)),
            NetworkCommand::Publish(frame) => self.publish(frame),
            NetworkCommand::Judge { id, verdict } => match self.judgements.remove(&id) {
                Some(judgement) => self.report(&judgement, verdict),
                None => debug!(?id, "a gossip message was judged too late"),
            },
            NetworkCommand::Shutdown => {}
        }
    }

    fn connect(&mut self, key: PublicKey) {
        let Some(peer) = peer_id_of(&key).filter(|peer| self.is_member(peer)) else {
            let reason = "the peer is not a member".to_owned();
            return self.tell(NetworkEvent::DialFailed { peer: key, reason });
        };
        // A failure is reported by the gate, which is told of every one.
        let _ = self.dial(peer);
    }

    /// Makes sure that a member's connection to `peer` stands or is on its way.
    fn dial(&mut self, peer: PeerId) -> Result<(), DialError> {
        if self.swarm.behaviour().gate.is_connected(&peer) {
            return Ok(());
        }
        let options = DialOpts::peer_id(peer)
            // Even when connected: that can only be as a stranger, on a connection about to close.
            .condition(PeerCondition::NotDialing)
            // From the listening port, two nodes that dial each other at the same moment would
            // open one connection with two dialling ends.
            .allocate_new_port()
            .build();
        match self.swarm.dial(options) {
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Tries an address from outside; the gate tells the outcome.
    ///
    /// # Errors
    /// When nothing was tried.
    fn dial_back(
        &mut self,
        token: u64,
        key: PublicKey,
        address: Multiaddr,
    ) -> Result<(), &'static str> {
        let peer = peer_id_of(&key).ok_or("the key is no Ed25519 key")?;
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(vec![address])
            .allocate_new_port()
            .build();
        if !self.swarm.behaviour_mut().gate.begin_dial_back(options.connection_id(), token) {
            return Err("too many dial-backs are under way; try again in some seconds");
        }
        // The gate is told of every failure, of one at once too.
        let _ = self.swarm.dial(options);
        Ok(())
    }

    fn request(
        &mut self,
        token: u64,
        key: PublicKey,
        plane: Plane,
        frame: Vec<u8>,
    ) -> Result<(), RequestFailure> {
        let (length, bytes_max) = (frame.len(), plane.request_bytes_max());
        if length > bytes_max {
            return Err(RequestFailure::TooLong { what: "request", length, bytes_max });
        }
        let peer = peer_id_of(&key)
            .filter(|peer| self.is_member(peer))
            .ok_or_else(|| RequestFailure::Unreachable("the peer is not a member".to_owned()))?;
        self.outbound.check(&peer).map_err(|Full { .. }| RequestFailure::Busy)?;
        self.dial(peer).map_err(|error| RequestFailure::Unreachable(dial_reason(&error)))?;
        let id = self.swarm.behaviour_mut().exchange(plane).send_request(&peer, frame);
        self.outbound.insert(peer, (plane, id), token);
        trace!(?key, plane = plane.name(), bytes = length, "request sent");
        Ok(())
    }

    fn reply(&mut self, id: InboundId, frame: Vec<u8>) {
        let Some((_, Inbound { plane, channel, .. })) = self.inbound.remove(&id) else {
            debug!(?id, "the asker did not wait for its reply");
            return;
        };
        if frame.len() > plane.reply_bytes_max() {
            error!(plane = plane.name(), bytes = frame.len(), "a reply is too long and is dropped");
            return;
        }
        if self.swarm.behaviour_mut().exchange(plane).send_response(channel, frame).is_err() {
            debug!(?id, "the asker did not wait for its reply");
        }
    }

    fn publish(&mut self, frame: Vec<u8>) {
        let bytes = frame.len();
        if bytes > GOSSIP_FRAME_BYTES_MAX {
            error!(bytes, "a statement is too long for gossip and is dropped");
            return;
        }
        self.seen(Direction::Out, None, &frame);
        let topic = self.topic.hash();
        match self.swarm.behaviour_mut().gate.inner_mut().gossip.publish(topic, frame) {
            Ok(_) => trace!(bytes, "statement published"),
            Err(error @ (PublishError::NoPeersSubscribedToTopic | PublishError::Duplicate)) => {
                debug!(bytes, %error, "statement not published");
            }
            Err(error) => warn!(bytes, %error, "statement not published"),
        }
    }

    fn report(&mut self, judgement: &Judgement, verdict: Verdict) {
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Reject => MessageAcceptance::Reject,
            Verdict::Ignore => MessageAcceptance::Ignore,
        };
        // `false` means that the message grew too old to pass on.
        let _ =
            self.swarm.behaviour_mut().gate.inner_mut().gossip.report_message_validation_result(
                &judgement.message,
                &judgement.via,
                acceptance,
            );
    }

    fn seen(&self, direction: Direction, peer: Option<PublicKey>, bytes: &[u8]) {
        if let Some(tap) = &self.tap {
            tap(FrameSeen { traffic: Traffic::Gossip, direction, peer, bytes });
        }
    }

    // -- the swarm --

    fn on_swarm_event(&mut self, event: SwarmEvent<NodeBehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(NodeBehaviourEvent::Gate(event)) => self.on_gate_event(event),
            SwarmEvent::Behaviour(NodeBehaviourEvent::Hello(event)) => {
                self.on_exchange_event(Plane::Hello, event);
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                self.tell(NetworkEvent::Listening { address });
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                let reason = match reason {
                    Ok(()) => "the listener was closed".to_owned(),
                    Err(error) => error.to_string(),
                };
                self.tell(NetworkEvent::ListenFailed { addresses, reason });
            }
            SwarmEvent::ListenerError { error, .. } => {
                let reason = error.to_string();
                self.tell(NetworkEvent::ListenFailed { addresses: Vec::new(), reason });
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                debug!(from = %send_back_addr, %error, "connection refused");
            }
            other => trace!(event = ?other, "swarm"),
        }
    }

    fn on_gate_event(&mut self, event: GateEvent<MemberBehaviourEvent>) {
        match event {
            GateEvent::Inner(MemberBehaviourEvent::Ask(event)) => {
                self.on_exchange_event(Plane::Ask, event);
            }
            GateEvent::Inner(MemberBehaviourEvent::Evaluate(event)) => {
                self.on_exchange_event(Plane::Evaluate, event);
            }
            GateEvent::Inner(MemberBehaviourEvent::Digests(event)) => {
                self.on_exchange_event(Plane::Digests, event);
            }
            GateEvent::Inner(MemberBehaviourEvent::Roster(event)) => {
                self.on_exchange_event(Plane::Roster, event);
            }
            GateEvent::Inner(MemberBehaviourEvent::Gossip(event)) => self.on_gossip_event(event),
            GateEvent::Joined { peer, member, outbound } => {
                if let Some(peer) = public_key_of(&peer) {
                    self.tell(NetworkEvent::Connected { peer, member, outbound });
                }
            }
            GateEvent::Left { peer, member } => {
                if let Some(peer) = public_key_of(&peer) {
                    self.tell(NetworkEvent::Disconnected { peer, member });
                }
            }
            GateEvent::DialedBack((token, result)) => {
                debug!(token, ?result, "dialled back");
                self.tell(NetworkEvent::DialBack { token, result });
            }
            GateEvent::DialFailed { peer, reason } => {
                if let Some(peer) = public_key_of(&peer) {
                    self.tell(NetworkEvent::DialFailed { peer, reason });
                }
            }
        }
    }

    fn on_exchange_event(
        &mut self,
        plane: Plane,
        event: request_response::Event<Vec<u8>, Vec<u8>>,
    ) {
        use request_response::{Event, Message};
        match event {
            Event::Message { peer, connection_id, message } => match message {
                Message::Request { request_id, request, channel } => {
                    let inbound = Inbound { plane, request: request_id, channel };
                    self.on_request(peer, connection_id, inbound, request);
                }
                Message::Response { request_id, response } => {
                    self.on_response(plane, request_id, Ok(response));
                }
            },
            Event::OutboundFailure { peer, request_id, error, .. } => {
                let unreachable = self.swarm.behaviour().gate.dial_failure(&peer);
                let failure = RequestFailure::new(&error, unreachable);
                self.on_response(plane, request_id, Err(failure));
            }
            Event::InboundFailure { request_id, error, .. } => {
                let gone =
                    |inbound: &Inbound| inbound.plane == plane && inbound.request == request_id;
                if let Some(id) = self.inbound.find(gone) {
                    self.inbound.remove(&id);
                    debug!(?id, plane = plane.name(), %error, "a request ended unanswered");
                }
            }
            Event::ResponseSent { .. } => {}
        }
    }

    fn on_request(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        inbound: Inbound,
        frame: Vec<u8>,
    ) {
        let plane = inbound.plane;
        let Some(key) = public_key_of(&peer) else { return };
        let allowed = match plane {
            Plane::Hello => self.swarm.behaviour_mut().gate.allow_hello(connection),
            // A member may have been removed while its request was on the way.
            Plane::Ask | Plane::Evaluate | Plane::Digests | Plane::Roster => self.is_member(&peer),
        };
        if !allowed {
            debug!(peer = ?key, plane = plane.name(), "request of a stranger refused");
            return;
        }
        if let Err(Full { first }) = self.inbound.check(&peer) {
            if first {
                warn!(peer = ?key, plane = plane.name(), "too many requests wait; more are refused");
            }
            return;
        }
        trace!(peer = ?key, plane = plane.name(), bytes = frame.len(), "request received");
        let id = InboundId(self.next_inbound);
        self.next_inbound += 1;
        self.inbound.insert(peer, id, inbound);
        self.tell(NetworkEvent::Request { peer: key, plane, id, frame });
    }

    fn on_response(
        &mut self,
        plane: Plane,
        request: OutboundRequestId,
        result: Result<Vec<u8>, RequestFailure>,
    ) {
        let Some((peer, token)) = self.outbound.remove(&(plane, request)) else { return };
        let Some(peer) = public_key_of(&peer) else { return };
        match &result {
            Ok(frame) => trace!(?peer, plane = plane.name(), bytes = frame.len(), "reply received"),
            Err(failure) => debug!(?peer, plane = plane.name(), %failure, "request failed"),
        }
        self.tell(NetworkEvent::Response { token, peer, result });
    }

    fn on_gossip_event(&mut self, event: gossipsub::Event) {
        let gossipsub::Event::Message { propagation_source, message_id, message } = event else {
            return;
        };
        let judgement = Judgement { message: message_id, via: propagation_source };
        let via =
            public_key_of(&propagation_source).filter(|_| self.is_member(&propagation_source));
        let Some(via) = via else { return self.report(&judgement, Verdict::Ignore) };
        if self.outbox.gossip_of(&via) >= GOSSIP_PER_PEER_MAX {
            return self.report(&judgement, Verdict::Ignore);
        }
        let Some(from) = message.source.as_ref().and_then(public_key_of) else {
            return self.report(&judgement, Verdict::Reject);
        };
        self.seen(Direction::In, Some(via), &message.data);
        while self.judgements.len() >= JUDGEMENTS_MAX {
            if let Some((_, oldest)) = self.judgements.pop_first() {
                self.report(&oldest, Verdict::Ignore);
            }
        }
        trace!(?from, ?via, bytes = message.data.len(), "statement received");
        let id = GossipId(self.next_gossip);
        self.next_gossip += 1;
        self.judgements.insert(id, judgement);
        self.tell(NetworkEvent::Gossip { id, from, via, frame: message.data });
    }
}
