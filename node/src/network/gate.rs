//! Keeps strangers away from everything but `hello`.
//!
//! [`Gate`] wraps the behaviours that members use. A member's connection gets their handlers; a
//! stranger's gets a handler that speaks nothing, and the wrapped behaviours never hear of that
//! connection. So a stranger's stream negotiation finds no protocol of ours, and it takes part in
//! no gossip. A connection keeps the class it was made with: when membership changes, connections
//! of the wrong class are closed and the peer comes back through the gate. To dial, a peer must be a
//! member; the one exception, which exchanges nothing, is in `dial_back`.
//!
//! The gate also owns the members' addresses. Behaviours of libp2p remember the addresses of 100
//! peers at most, and a network has more members: every dial asks here instead.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    task::{Context, Poll},
    time::Duration,
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, DialError, FromSwarm, NetworkBehaviour,
        NotifyHandler, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        behaviour::{ConnectionClosed, ConnectionEstablished},
        derive_prelude::Either,
        dummy,
    },
};

use super::{
    deadlines::Deadlines,
    dial_back::{self, DialBacks},
    doorstep::Doorstep,
    failure::dial_reason,
    peers::public_key_of,
};

/// Connections of strangers at one time. Enough for a rush of applicants; a flood of strangers
/// fills these and leaves the members' connections alone.
pub(super) const STRANGER_CONNECTIONS_MAX: usize = 64;
/// How long a stranger's connection lasts, from its establishment: three dial-backs of 3 seconds each
/// at the worst, and five other exchanges over a slow line. Whole life rather than idle time, so
/// that nobody can hold one by trickling: a flood that takes all places lets go of them in that time.
pub(super) const STRANGER_CONNECTION_LIFETIME: Duration = Duration::from_secs(20);
/// Hello requests on one connection of a stranger: why it is refused, the inception, the keys, three
/// dial-backs (an address inside, one outside, one corrected), the progress, one retry. Who needs more
/// connects again.
pub(super) const STRANGER_HELLOS_MAX: u32 = 8;
/// Addresses kept for one member: two networks, two families, and as many spares.
pub(super) const ADDRESSES_PER_MEMBER_MAX: usize = 8;

/// Why the gate denied a connection.
#[derive(Debug, thiserror::Error)]
enum GateError {
    #[error("the peer is not a member")]
    NotAMember,
    #[error("the peer's key is not an Ed25519 key")]
    OtherKeyType,
    #[error("too many strangers are connected")]
    TooManyStrangers,
    #[error("too many handshakes with this address are under way")]
    TooManyHandshakes,
    #[error("the dial-back has shown what it was to show")]
    DialedBack,
}

/// What the gate reports: the members' events, and who came and went.
#[derive(Debug)]
pub(super) enum GateEvent<E> {
    /// From the wrapped behaviours.
    Inner(E),
    /// A peer's first connection of this class stands.
    Joined { peer: PeerId, member: bool, outbound: bool },
    /// A peer's last connection of this class is gone.
    Left { peer: PeerId, member: bool },
    /// An attempt to reach a peer failed.
    DialFailed { peer: PeerId, reason: String },
    /// A dial-back has an outcome.
    DialedBack(dial_back::Outcome),
}

struct Stranger {
    peer: PeerId,
    hellos: u32,
}

/// The wrapper; see the module.
pub(super) struct Gate<B: NetworkBehaviour> {
    inner: B,
    /// Our own peer id: never a member to dial.
    local: PeerId,
    members: HashMap<PeerId, Vec<Multiaddr>>,
    doorstep: Doorstep,
    /// Connections that the wrapped behaviours know, by peer; at most the limit per peer each.
    admitted: HashMap<PeerId, Vec<ConnectionId>>,
    strangers: HashMap<ConnectionId, Stranger>,
    /// When strangers' connections end.
    expiries: Deadlines,
    dial_backs: DialBacks,
    /// The last failure to reach each member, until it is reached.
    dial_failures: HashMap<PeerId, String>,
    pending: VecDeque<ToSwarm<GateEvent<B::ToSwarm>, THandlerInEvent<Self>>>,
}

impl<B: NetworkBehaviour> Gate<B> {
    pub(super) fn new(inner: B, local: PeerId) -> Self {
        Self {
            inner,
            local,
            members: HashMap::new(),
            doorstep: Doorstep::default(),
            admitted: HashMap::new(),
            strangers: HashMap::new(),
            expiries: Deadlines::new(STRANGER_CONNECTION_LIFETIME),
            dial_backs: DialBacks::new(),
            dial_failures: HashMap::new(),
            pending: VecDeque::new(),
        }
    }

    pub(super) fn inner_mut(&mut self) -> &mut B {
        &mut self.inner
    }

    pub(super) fn is_member(&self, peer: &PeerId) -> bool {
        self.members.contains_key(peer)
    }

    /// Whether a member's connection to `peer` stands.
    pub(super) fn is_connected(&self, peer: &PeerId) -> bool {
        self.admitted.contains_key(peer)
    }

    /// Why the last attempt to reach a member failed, if it was not reached since.
    pub(super) fn dial_failure(&self, peer: &PeerId) -> Option<&str> {
        self.dial_failures.get(peer).map(String::as_str)
    }

    /// Replaces the members and closes the connections that no longer fit.
    pub(super) fn set_members(
        &mut self,
        members: impl IntoIterator<Item = (PeerId, Vec<Multiaddr>)>,
    ) {
        self.members = members
            .into_iter()
            .filter(|(peer, _)| *peer != self.local)
            .map(|(peer, mut addresses)| {
                addresses.truncate(ADDRESSES_PER_MEMBER_MAX);
                (peer, addresses)
            })
            .collect();
        self.doorstep.set_members(self.members.values().flatten());
        self.dial_failures.retain(|peer, _| self.members.contains_key(peer));
        let removed = self.admitted.iter().filter(|(peer, _)| !self.members.contains_key(peer));
        let welcomed =
            self.strangers.iter().filter(|(_, stranger)| self.members.contains_key(&stranger.peer));
        let closed = removed
            .flat_map(|(peer, connections)| connections.iter().map(|id| (*peer, *id)))
            .chain(welcomed.map(|(id, stranger)| (stranger.peer, *id)))
            .collect::<Vec<_>>();
        for (peer, id) in closed {
            self.close(peer, id);
        }
    }

    /// Lets the attempt through that is about to be made under `id`, whoever it goes to; `false` when
    /// too many such are under way. [`GateEvent::DialedBack`] follows once.
    pub(super) fn begin_dial_back(&mut self, id: ConnectionId, token: u64) -> bool {
        self.dial_backs.begin(id, token)
    }

    /// Counts a hello on a connection. `false` when it is a stranger's and its last was before;
    /// the connection is closed then.
    pub(super) fn allow_hello(&mut self, id: ConnectionId) -> bool {
        let Some(stranger) = self.strangers.get_mut(&id) else { return true };
        stranger.hellos = stranger.hellos.saturating_add(1);
        if stranger.hellos <= STRANGER_HELLOS_MAX {
            return true;
        }
        let peer = stranger.peer;
        self.close(peer, id);
        false
    }

    fn close(&mut self, peer_id: PeerId, id: ConnectionId) {
        let connection = CloseConnection::One(id);
        self.pending.push_back(ToSwarm::CloseConnection { peer_id, connection });
    }

    fn report(&mut self, event: GateEvent<B::ToSwarm>) {
        self.pending.push_back(ToSwarm::GenerateEvent(event));
    }

    fn admit(&mut self, peer: PeerId, id: ConnectionId) {
        self.admitted.entry(peer).or_default().push(id);
    }

    fn is_admitted(&self, peer: &PeerId, id: ConnectionId) -> bool {
        self.admitted.get(peer).is_some_and(|connections| connections.contains(&id))
    }

    /// Forgets a connection: the number of the peer's members' connections left, if it was one.
    fn forget(&mut self, peer: &PeerId, id: ConnectionId) -> Option<usize> {
        if self.strangers.remove(&id).is_some() {
            self.expiries.remove(id);
            return None;
        }
        let connections = self.admitted.get_mut(peer)?;
        let at = connections.iter().position(|other| *other == id)?;
        connections.swap_remove(at);
        let left = connections.len();
        if left == 0 {
            self.admitted.remove(peer);
        }
        Some(left)
    }

    fn is_stranger_connected(&self, peer: &PeerId, except: ConnectionId) -> bool {
        self.strangers.iter().any(|(id, stranger)| *id != except && stranger.peer == *peer)
    }

    /// The wrapped behaviours count connections per peer, so they are told of their own alone.
    fn on_established(&mut self, event: ConnectionEstablished<'_>) {
        let (peer, id) = (event.peer_id, event.connection_id);
        let outbound = event.endpoint.is_dialer();
        if self.is_admitted(&peer, id) {
            self.dial_failures.remove(&peer);
            let others = self.admitted.get(&peer).map_or(0, |all| all.len().saturating_sub(1));
            if others == 0 {
                self.report(GateEvent::Joined { peer, member: true, outbound });
            }
            self.inner.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                other_established: others,
                ..event
            }));
        } else if self.strangers.contains_key(&id) {
            self.expiries.add(id);
            if !self.is_stranger_connected(&peer, id) {
                self.report(GateEvent::Joined { peer, member: false, outbound });
            }
        }
    }

    fn on_closed(&mut self, event: ConnectionClosed<'_>) {
        let peer = event.peer_id;
        if let Some(left) = self.forget(&peer, event.connection_id) {
            if left == 0 {
                self.report(GateEvent::Left { peer, member: true });
            }
            self.inner.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
                remaining_established: left,
                ..event
            }));
        } else if !self.is_stranger_connected(&peer, event.connection_id) {
            self.report(GateEvent::Left { peer, member: false });
        }
    }

    fn on_dial_failure(&mut self, peer: Option<PeerId>, error: &DialError) {
        let Some(peer) = peer else { return };
        if matches!(error, DialError::DialPeerConditionFalse(_)) {
            // Another attempt is under way and will tell.
            return;
        }
        let reason = dial_reason(error);
        if self.is_member(&peer) {
            self.dial_failures.insert(peer, reason.clone());
        }
        self.report(GateEvent::DialFailed { peer, reason });
    }

    /// Closes the strangers' connections whose time is up, and gives up dial-backs.
    fn poll_deadlines(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(id) = self.expiries.poll_next(cx) {
            if let Some(stranger) = self.strangers.get(&id) {
                self.close(stranger.peer, id);
            }
        }
        while let Poll::Ready(outcome) = self.dial_backs.poll_timeout(cx) {
            self.report(GateEvent::DialedBack(outcome));
        }
    }

    /// An inner behaviour's wish, put so that it can only touch members' connections.
    fn translate(
        &self,
        event: ToSwarm<B::ToSwarm, THandlerInEvent<B>>,
    ) -> Option<ToSwarm<GateEvent<B::ToSwarm>, THandlerInEvent<Self>>> {
        let event = match event {
            ToSwarm::NotifyHandler { peer_id, handler, event } => {
                let id = match handler {
                    NotifyHandler::One(id) if self.is_admitted(&peer_id, id) => id,
                    NotifyHandler::One(_) => return None,
                    // "Any" might pick a stranger's connection, whose handler takes no event.
                    NotifyHandler::Any => *self.admitted.get(&peer_id)?.first()?,
                };
                ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::One(id), event }
            }
            other => other,
        };
        Some(event.map_out(GateEvent::Inner).map_in(Either::Left))
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Gate<B> {
    type ConnectionHandler = Either<THandler<B>, dummy::ConnectionHandler>;
    type ToSwarm = GateEvent<B::ToSwarm>;

    // Pending inbound connections have no identity yet: the wrapped behaviours are not asked.
    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if self.doorstep.admit(id, remote) {
            return Ok(());
        }
        Err(ConnectionDenied::new(GateError::TooManyHandshakes))
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if public_key_of(&peer).is_none() {
            return Err(ConnectionDenied::new(GateError::OtherKeyType));
        }
        if self.is_member(&peer) {
            let handler =
                self.inner.handle_established_inbound_connection(id, peer, local, remote)?;
            self.admit(peer, id);
            return Ok(Either::Left(handler));
        }
        if self.strangers.len() >= STRANGER_CONNECTIONS_MAX {
            return Err(ConnectionDenied::new(GateError::TooManyStrangers));
        }
        self.strangers.insert(id, Stranger { peer, hellos: 0 });
        Ok(Either::Right(dummy::ConnectionHandler))
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.dial_backs.contains(id) {
            // The attempt brings its only address along.
            return Ok(Vec::new());
        }
        let known = peer
            .and_then(|peer| self.members.get(&peer))
            .ok_or_else(|| ConnectionDenied::new(GateError::NotAMember))?
            .clone();
        // Asked so that it may deny; where a member is reached is the roster's word alone.
        self.inner.handle_pending_outbound_connection(id, peer, addresses, role)?;
        Ok(known)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.dial_backs.prove(id) {
            return Err(ConnectionDenied::new(GateError::DialedBack));
        }
        if !self.is_member(&peer) {
            // It was one when the dial began.
            return Err(ConnectionDenied::new(GateError::NotAMember));
        }
        let handler =
            self.inner.handle_established_outbound_connection(id, peer, address, role, port_use)?;
        self.admit(peer, id);
        Ok(Either::Left(handler))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                self.doorstep.done(event.connection_id);
                self.on_established(event);
            }
            FromSwarm::ConnectionClosed(event) => self.on_closed(event),
            FromSwarm::AddressChange(change) => {
                if self.is_admitted(&change.peer_id, change.connection_id) {
                    self.inner.on_swarm_event(event);
                }
            }
            FromSwarm::DialFailure(failure) if self.dial_backs.contains(failure.connection_id) => {
                let outcome = self.dial_backs.end(failure.connection_id, failure.error);
                if let Some(outcome) = outcome {
                    self.report(GateEvent::DialedBack(outcome));
                }
            }
            FromSwarm::DialFailure(failure) => {
                if let Some(peer) = &failure.peer_id {
                    self.forget(peer, failure.connection_id);
                }
                self.on_dial_failure(failure.peer_id, failure.error);
                self.inner.on_swarm_event(event);
            }
            FromSwarm::ListenFailure(failure) => {
                self.doorstep.done(failure.connection_id);
                // A connection that another behaviour denied after the gate had let it in.
                if let Some(peer) = &failure.peer_id {
                    self.forget(peer, failure.connection_id);
                }
            }
            // Addresses come from the roster, never from what a peer says of itself.
            FromSwarm::NewExternalAddrOfPeer(_) => {}
            other => self.inner.on_swarm_event(other),
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {
            Either::Left(event) => self.inner.on_connection_handler_event(peer, id, event),
            Either::Right(never) => {
                let never: Infallible = never;
                match never {}
            }
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.poll_deadlines(cx);
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Poll::Ready(event);
            }
            let Poll::Ready(event) = self.inner.poll(cx) else { return Poll::Pending };
            if let Some(event) = self.translate(event) {
                return Poll::Ready(event);
            }
        }
    }
}
