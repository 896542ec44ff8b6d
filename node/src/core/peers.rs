//! To whom to be connected, how they regard us, and whether our clock agrees with theirs.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::Decode;
use signpost_keys::roster::PeerStanding;
use signpost_protocol::{
    PublicKey, Timestamp,
    codec::{self, Bounded},
    hello::{HelloAnswer, HelloRequest, Regard, VERSIONS},
    joining::JoiningAnswer,
    limits,
};
use tracing::{debug, info, warn};

use super::{Core, Outstanding, Turn, complaints::ALL_STRANGERS, event::Action};
use crate::network::{InboundId, Plane, RequestFailure};

/// Connections that a node holds open by itself: gossip needs about six neighbours, and the most
/// frequent partners of a trust are about twenty. Others are dialled when they are to be asked.
const CONNECTIONS_TARGET: usize = 32;
/// Milliseconds before a failed dial is repeated: doubled with every failure ...
const BACK_OFF_MIN: u64 = 500;
/// ... up to this, so that a node that comes back is found within half a minute, always.
const BACK_OFF_MAX: u64 = 30_000;
/// Milliseconds between two looks at a peer's clock: a clock can jump while connections stand (a
/// machine that was suspended), and with a wrong one a digest may look fresh that is not.
const HELLO_INTERVAL: u64 = 10_000;

/// The peers that matter now.
#[derive(Default)]
pub(super) struct Peers {
    pub(super) connected: BTreeMap<PublicKey, Connected>,
    unreachable: BTreeMap<PublicKey, Unreachable>,
    /// Since when each member's node that is not connected has been out of reach.
    lost: BTreeMap<PublicKey, Timestamp>,
    /// Which nodes have said that they cannot evaluate for their organization.
    without_share: BTreeSet<PublicKey>,
    /// The uptime at which to compare clocks again.
    hello_at: u64,
}

/// A connected member.
#[derive(Default)]
pub(super) struct Connected {
    /// Its clock minus ours, in milliseconds.
    clock_offset: Option<i64>,
    /// How it regards this node, once it has said so.
    regard: Option<Regard>,
    /// Uptime at which something last came from it.
    heard_at: u64,
    /// Fetches of heads from it that are under way.
    pub(super) heads_awaited: usize,
    /// Whether it has more heads that are wanted than are being fetched.
    pub(super) has_more_heads: bool,
}

struct Unreachable {
    failures: u32,
    retry_at: u64,
}

impl Peers {
    /// The connected peers' clocks minus ours, in milliseconds, ascending.
    fn clock_offsets(&self) -> Vec<i64> {
        let mut offsets: Vec<i64> =
            self.connected.values().filter_map(|p| p.clock_offset).collect();
        offsets.sort_unstable();
        offsets
    }

    /// The median of the connected peers' clocks minus ours, in milliseconds; of two in the middle
    /// the one nearer to ours.
    pub(super) fn clock_offset(&self) -> Option<i64> {
        let offsets = self.clock_offsets();
        let middle = offsets.len().checked_sub(1)? / 2..=offsets.len() / 2;
        offsets[middle].iter().copied().min_by_key(|offset| offset.unsigned_abs())
    }

    /// Notes that something came from a peer.
    pub(super) fn heard(&mut self, peer: &PublicKey, uptime: u64) {
        if let Some(connected) = self.connected.get_mut(peer) {
            connected.heard_at = uptime;
        }
    }

    /// Whether anything has come from a peer after this uptime.
    pub(super) fn heard_since(&self, peer: &PublicKey, uptime: u64) -> bool {
        self.connected.get(peer).is_some_and(|connected| connected.heard_at > uptime)
    }

    /// Since when the node with one of these transport keys has been out of reach; `None` while it
    /// is connected, or when nobody has tried to reach it.
    pub(super) fn lost_since(
        &self,
        mut keys: impl Iterator<Item = PublicKey>,
    ) -> Option<Timestamp> {
        keys.find_map(|key| self.lost.get(&key).copied())
    }

    /// Notes that a node has no share of the blinding key.
    pub(super) fn note_without_share(&mut self, peer: PublicKey) {
        self.without_share.insert(peer);
    }

    /// Whoever had none may have one of the next.
    pub(super) fn forget_without_share(&mut self) {
        self.without_share.clear();
    }

    pub(super) fn is_without_share(&self, peer: &PublicKey) -> bool {
        self.without_share.contains(peer)
    }

    pub(super) fn is_connected(&self, peer: &PublicKey) -> bool {
        self.connected.contains_key(peer)
    }

    /// How many connected peers have said how they regard this node, and how those do that do not
    /// regard it as a member.
    pub(super) fn regards(&self) -> (usize, Vec<Regard>) {
        let regards: Vec<Regard> = self.connected.values().filter_map(|p| p.regard).collect();
        (regards.len(), regards.into_iter().filter(|regard| *regard != Regard::Member).collect())
    }
}

impl Core {
    /// Forgets what is known of peers that are not let in any more.
    pub(super) fn forget_peers(&mut self, is_let_in: impl Fn(&PublicKey) -> bool) {
        self.peers.unreachable.retain(|peer, _| is_let_in(peer));
        self.peers.lost.retain(|peer, _| is_let_in(peer));
        self.peers.without_share.retain(|peer| is_let_in(peer));
    }

    pub(super) fn on_connected(&mut self, turn: &mut Turn<'_>, peer: PublicKey) {
        self.peers.lost.remove(&peer);
        self.peers.connected.insert(peer, Connected::default());
        self.say_hello(turn, peer);
        self.compare_roster(turn, peer);
        self.compare_heads(turn, peer);
        self.pump_fetches(turn);
    }

    pub(super) fn on_disconnected(&mut self, turn: &Turn<'_>, peer: &PublicKey) {
        let connected = self.peers.connected.remove(peer);
        self.stop_roster_fetch(turn, peer);
        self.peers.lost.entry(*peer).or_insert(turn.now.unix);
        // One that does not know this node as a member is not dialled again and again.
        if connected.and_then(|connected| connected.regard) != Some(Regard::Member) {
            self.back_off(turn, *peer);
        }
    }

    /// Puts off the next attempt to reach a peer; how often that has failed by now.
    fn back_off(&mut self, turn: &Turn<'_>, peer: PublicKey) -> u32 {
        let entry =
            self.peers.unreachable.entry(peer).or_insert(Unreachable { failures: 0, retry_at: 0 });
        entry.failures = entry.failures.saturating_add(1);
        let wait = BACK_OFF_MIN.saturating_mul(1 << entry.failures.min(10)).min(BACK_OFF_MAX);
        entry.retry_at = turn.now.uptime + wait;
        entry.failures
    }

    pub(super) fn on_dial_failed(&mut self, turn: &Turn<'_>, peer: PublicKey, reason: String) {
        self.peers.lost.entry(peer).or_insert(turn.now.unix);
        if self.back_off(turn, peer) == 1 {
            info!(
                ?peer,
                reason, "a member's node cannot be reached; trying again from time to time"
            );
        }
    }

    /// Whether this node's clock is so surely wrong that it must sign nothing: at least two peers
    /// say so. One peer's clock against ours decides nothing: it may be the one that is wrong.
    pub(super) fn clock_is_surely_wrong(&self) -> bool {
        self.peers.clock_offsets().len() > 1 && self.clock_is_wrong()
    }

    /// Whether peers have confirmed this node's clock.
    pub(super) fn clock_is_confirmed(&self) -> bool {
        self.peers.clock_offset().is_some() && !self.clock_is_wrong()
    }

    /// Whether this node's clock differs from its peers' by more than the network allows.
    pub(super) fn clock_is_wrong(&self) -> bool {
        let max = self.roster.parameters().clock_skew_max;
        self.peers.clock_offset().is_some_and(|offset| offset.unsigned_abs() > max)
    }

    /// The transport key by which to reach one node: a connected one before any other, and one that
    /// failed only when there is no other.
    pub(super) fn way_to(
        &self,
        node: &signpost_keys::MemberNode,
        now: Timestamp,
    ) -> Option<PublicKey> {
        let connected = node.transport_keys(now).find(|key| self.peers.is_connected(key));
        connected.or_else(|| node.transport_keys(now).min_by_key(|key| self.failures(key)))
    }

    fn failures(&self, key: &PublicKey) -> u32 {
        self.peers.unreachable.get(key).map_or(0, |unreachable| unreachable.failures)
    }

    /// The transport key by which to be connected with one node: one that does not count by this
    /// clock may do so by others', and whoever holds it tells which clock is wrong.
    fn connection_to(&self, node: &signpost_keys::MemberNode, now: Timestamp) -> Option<PublicKey> {
        let let_in = node.transport.iter().filter(|record| self.lets_in(record, now));
        let any = || let_in.map(|record| record.key).min_by_key(|key| self.failures(key));
        self.way_to(node, now).or_else(any)
    }

    pub(super) fn maintain_connections(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        if self.peers.hello_at <= now.uptime {
            self.peers.hello_at = now.uptime + HELLO_INTERVAL;
            self.say_hello_to_all(turn);
        }
        let own = self.me.transport.public();
        let mut room = CONNECTIONS_TARGET.saturating_sub(self.peers.connected.len());
        // Every node begins at another place of the ring, so that nobody is everybody's neighbour.
        let keys: BTreeMap<PublicKey, ()> = self
            .roster
            .admitted()
            .flat_map(|member| &member.nodes)
            .filter_map(|node| Some((self.connection_to(node, now.unix)?, ())))
            .collect();
        let ring = keys.range(own..).chain(keys.range(..own)).map(|(key, ())| *key);
        for key in ring.filter(|key| *key != own) {
            if room == 0 {
                break;
            }
            if self.peers.is_connected(&key) {
                continue;
            }
            let due = self.peers.unreachable.get(&key).is_none_or(|u| u.retry_at <= now.uptime);
            if due {
                turn.act(Action::Connect(key));
                room -= 1;
            }
        }
    }

    /// Asks every connected peer for its time again.
    pub(super) fn say_hello_to_all(&mut self, turn: &mut Turn<'_>) {
        let peers: Vec<PublicKey> = self.peers.connected.keys().copied().collect();
        for peer in peers {
            self.say_hello(turn, peer);
        }
    }

    /// When the wall clock jumps, what was known of the peers' clocks is void.
    pub(super) fn watch_clock(&mut self, turn: &mut Turn<'_>) {
        let base = i128::from(turn.now.unix.0) - i128::from(turn.now.uptime);
        let last = self.clock_base.replace(base).unwrap_or(base);
        if (base - last).unsigned_abs() > u128::from(self.roster.parameters().clock_skew_max) {
            warn!("the clock of this machine has jumped; comparing it with the peers' again");
            for connected in self.peers.connected.values_mut() {
                // Ours moved against theirs by this much; they are asked again all the same.
                let moved = i64::try_from(base - last).unwrap_or(i64::MAX);
                connected.clock_offset =
                    connected.clock_offset.map(|offset| offset.saturating_sub(moved));
            }
            self.say_hello_to_all(turn);
            // What was from the future by the clock before may hold by this one.
            self.membership.inventory.forget_refused();
            // A head that was dated by the clock before the jump may have been ignored.
            self.own.values_mut().for_each(|own| own.advertise_at(turn.now.uptime));
        }
    }

    fn say_hello(&mut self, turn: &mut Turn<'_>, peer: PublicKey) {
        let hello = HelloRequest {
            versions: versions(),
            network: self.roster.network(),
            now: turn.now.unix,
            joining: None,
        };
        let sent = turn.now.unix;
        let frame = codec::encode(&hello);
        self.send(turn, peer, Plane::Hello, frame, Outstanding::Hello { sent });
    }

    /// Reads a request that only members may make; refuses it otherwise.
    pub(super) fn request_of_member<T: for<'a> Decode<'a, ()>>(
        &mut self,
        turn: &mut Turn<'_>,
        (peer, id): (&PublicKey, InboundId),
        what: &'static str,
        (frame, bytes_max): (&[u8], usize),
    ) -> Option<T> {
        let is_member = !self.roster.organizations_of_peer(peer, turn.now.unix).is_empty();
        let request = is_member.then(|| codec::decode(what, frame, bytes_max));
        match request {
            Some(Ok(request)) => return Some(request),
            Some(Err(error)) if self.complaints.may_log(peer, turn.now.uptime) => {
                warn!(?peer, %error, "refused a {what}");
            }
            _ => {}
        }
        turn.act(Action::Refuse { id });
        None
    }

    /// Tells anybody, also a stranger, how we regard them, and nothing else.
    pub(super) fn on_hello(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PublicKey,
        id: InboundId,
        frame: &[u8],
    ) {
        let hello: HelloRequest = match codec::decode("hello", frame, limits::HELLO_FRAME_BYTES_MAX)
        {
            Ok(hello) => hello,
            Err(error) => {
                debug!(?peer, %error, "unreadable hello");
                return turn.act(Action::Refuse { id });
            }
        };
        let now = turn.now.unix;
        let standing = self.roster.standing_of_peer(&peer, now);
        let regard = if hello.network != self.roster.network() {
            Regard::OtherNetwork
        } else if !hello.versions.iter().any(|version| VERSIONS.contains(version)) {
            Regard::Version
        } else {
            let skew = self.roster.parameters().clock_skew_max;
            match standing {
                // A key that seems expired may be so by the wrong one of two clocks.
                PeerStanding::Member | PeerStanding::KeyExpired
                    if hello.now.distance(now) > skew =>
                {
                    Regard::Clock
                }
                PeerStanding::Member => Regard::Member,
                PeerStanding::Suspended => Regard::Suspended,
                PeerStanding::Expelled => Regard::Expelled,
                PeerStanding::KeyExpired => Regard::KeyExpired,
                PeerStanding::KeyRevoked => Regard::KeyRevoked,
                PeerStanding::Unknown => Regard::Stranger,
            }
        };
        let known = if standing == PeerStanding::Unknown { ALL_STRANGERS } else { peer };
        if regard != Regard::Member && self.complaints.may_log(&known, turn.now.uptime) {
            info!(?peer, ?regard, "told a peer why it is refused");
        }
        match &hello.joining {
            // Whoever means another network would join it by mistake.
            Some(joining) if hello.network == self.roster.network() => {
                self.on_joining(turn, peer, id, regard, joining);
            }
            _ => turn.reply(id, &hello_answer(regard, now, None)),
        }
    }

    pub(super) fn on_hello_answer(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PublicKey,
        sent: Timestamp,
        result: Result<Vec<u8>, RequestFailure>,
    ) {
        let answer = match &result {
            Ok(frame) => {
                codec::decode::<HelloAnswer>("hello answer", frame, limits::HELLO_FRAME_BYTES_MAX)
            }
            Err(failure) => return debug!(?peer, %failure, "no answer to hello"),
        };
        match answer {
            Err(error) => {
                if self.complaints.may_log(&peer, turn.now.uptime) {
                    warn!(?peer, %error, "unreadable answer to hello");
                }
            }
            Ok(HelloAnswer { regard, now, .. }) => {
                if regard == Regard::Member {
                    self.peers.unreachable.remove(&peer);
                } else if self.complaints.may_log(&peer, turn.now.uptime) {
                    warn!(?peer, ?regard, "a member's node does not regard this node as a member");
                }
                // Half the round trip has passed since the peer read its clock.
                let ours = sent.0.midpoint(turn.now.unix.0);
                let offset = i128::from(now.0) - i128::from(ours);
                if let Some(connected) = self.peers.connected.get_mut(&peer) {
                    connected.clock_offset =
                        Some(offset.clamp(i64::MIN.into(), i64::MAX.into()) as i64);
                    connected.regard = Some(regard);
                }
            }
        }
    }
}

/// The answer to a hello.
pub(super) fn hello_answer(
    regard: Regard,
    now: Timestamp,
    joining: Option<JoiningAnswer>,
) -> HelloAnswer {
    HelloAnswer { regard, versions: versions(), now, joining }
}

fn versions() -> Bounded<u16, { limits::VERSIONS_MAX }> {
    Bounded::new(VERSIONS.to_vec()).expect("there are few versions")
}
