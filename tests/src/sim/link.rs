//! What lies between two nodes: connections, delay, loss, and whoever meddles with frames.

use std::collections::{BTreeMap, BTreeSet};

use rand_core::Rng as _;
use signpost_node::{
    core::Event,
    network::{InboundId, Plane, RequestFailure},
};
use signpost_protocol::PublicKey;

use super::{Due, Network, SimNode, node::Asker};

/// Milliseconds that a message takes, at least; up to as much again by chance.
const LINK_DELAY: u64 = 5;
/// Milliseconds that the connection of a stranger lasts, as in the real network.
const STRANGER_LIFETIME: u64 = 20_000;
/// Milliseconds after which a request without reply fails, as in the real network.
const REQUEST_TIMEOUT: u64 = 10_000;

/// A frame on its way.
pub struct Passing<'a> {
    /// Number of the sending node.
    pub from: usize,
    /// Number of the receiving node.
    pub to: usize,
    /// Its protocol, also of a reply; `None` for gossip.
    pub plane: Option<Plane>,
    /// Whether it is a reply.
    pub is_reply: bool,
    /// The bytes.
    pub bytes: &'a [u8],
    /// Milliseconds of true time since the network was founded.
    pub time: u64,
}

/// What becomes of a frame.
pub enum Fate {
    /// It arrives.
    Pass,
    /// It is lost.
    Drop,
    /// It arrives twice.
    Twice,
    /// It arrives this many milliseconds later than it should.
    Late(u64),
    /// Something else arrives in its place.
    Replace(Vec<u8>),
}

pub(super) type Meddler = Box<dyn FnMut(&Passing<'_>) -> Fate>;
pub(super) type Witness = Box<dyn FnMut(&Passing<'_>, &SimNode)>;

impl Network {
    /// Cuts the link between two nodes, or restores it.
    pub fn set_cut(&mut self, a: usize, b: usize, cut: bool) {
        let link = (a.min(b), a.max(b));
        if cut {
            self.cut.insert(link);
            self.disconnect(a, b);
            self.disconnect(b, a);
        } else {
            self.cut.remove(&link);
        }
    }

    /// Lets `meddler` decide about every frame from now on.
    pub fn meddle(&mut self, meddler: impl FnMut(&Passing<'_>) -> Fate + 'static) {
        self.meddler = Some(Box::new(meddler));
    }

    /// Shows `witness` every frame at the moment in which it leaves, with the node that sends it,
    /// before anybody meddles with it.
    pub fn watch(&mut self, witness: impl FnMut(&Passing<'_>, &SimNode) + 'static) {
        self.witness = Some(Box::new(witness));
    }

    /// Leaves frames alone again.
    pub fn behave(&mut self) {
        self.meddler = None;
    }

    pub(super) fn send_request(
        &mut self,
        at: usize,
        token: u64,
        peer: &PublicKey,
        plane: Plane,
        frame: Vec<u8>,
    ) {
        assert!(frame.len() <= plane.request_bytes_max(), "a request is over its plane's cap");
        let Some(to) = self.number_of(peer) else {
            let result = Err(RequestFailure::Unreachable("nobody has this key".to_owned()));
            return self.push_event(at, 1, Event::Response { token, peer: *peer, result });
        };
        self.nodes[at].outstanding.insert(token, to);
        if !self.nodes[at].connected.contains(&to) && !self.connect(at, to) {
            let why = RequestFailure::Unreachable("connection refused".to_owned());
            return self.fail_request(at, token, to, why);
        }
        if plane != Plane::Hello && !self.lets_in(to, at) {
            return self.fail_request(at, token, to, RequestFailure::Unsupported);
        }
        let life = self.nodes[at].life;
        self.push(REQUEST_TIMEOUT, Due::Timeout { node: at, life, token });
        for (late, frame) in self.pass(at, to, Some(plane), false, &frame) {
            let id = InboundId(self.number());
            self.nodes[to].inbound.insert(id, Asker { at, life, token, plane });
            let peer = self.key(at);
            let delay = self.link_delay() + late;
            self.push_event(to, delay, Event::Request { peer, plane, id, frame });
        }
    }

    pub(super) fn send_reply(&mut self, at: usize, id: InboundId, frame: Vec<u8>) {
        let Some(Asker { at: to, life, token, plane }) = self.nodes[at].inbound.remove(&id) else {
            self.nodes[at].answers.insert(id, Some(frame));
            return;
        };
        assert!(frame.len() <= plane.reply_bytes_max(), "a reply is over its plane's cap");
        for (late, frame) in self.pass(at, to, Some(plane), true, &frame) {
            let delay = self.link_delay() + late;
            self.push(delay, Due::Reply { node: to, life, token, from: at, frame });
        }
    }

    pub(super) fn fail_request(&mut self, at: usize, token: u64, to: usize, why: RequestFailure) {
        if self.nodes[at].outstanding.remove(&token).is_some() {
            let peer = self.key(to);
            self.push_event(at, 1, Event::Response { token, peer, result: Err(why) });
        }
    }

    /// What a reply is to its asker, unless the request has failed meanwhile.
    pub(super) fn response(
        &mut self,
        at: usize,
        token: u64,
        from: usize,
        frame: Vec<u8>,
    ) -> Option<Event> {
        self.nodes[at].outstanding.remove(&token)?;
        Some(Event::Response { token, peer: self.key(from), result: Ok(frame) })
    }

    /// Replaces whom a node lets in: connections with others break.
    pub(super) fn set_members(&mut self, at: usize, members: &BTreeMap<PublicKey, Vec<String>>) {
        let members: BTreeSet<usize> =
            members.keys().filter_map(|key| self.number_of(key)).collect();
        let gone = self.nodes[at].connected.iter().filter(|peer| !members.contains(peer));
        for peer in gone.copied().collect::<Vec<_>>() {
            self.disconnect(at, peer);
            self.disconnect(peer, at);
        }
        // Those that were strangers come back as members.
        let welcome = members.iter().copied();
        let welcome = welcome.filter(|peer| {
            self.nodes[*peer].connected.contains(&at) && !self.nodes[at].connected.contains(peer)
        });
        for peer in welcome.collect::<Vec<_>>() {
            self.disconnect(peer, at);
        }
        self.nodes[at].members = Some(members);
    }

    /// The time of a stranger's connection is up.
    pub(super) fn end_stranger(&mut self, at: usize, to: usize) {
        if self.nodes[at].connected.contains(&to) && !self.nodes[to].connected.contains(&at) {
            self.disconnect(at, to);
        }
    }

    /// Whether a node lets in another.
    #[must_use]
    pub fn lets_in(&self, at: usize, peer: usize) -> bool {
        self.nodes[at].members.as_ref().is_none_or(|members| members.contains(&peer))
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) -> bool {
        let up = self.nodes[b].core.is_some()
            && !self.cut.contains(&(a.min(b), a.max(b)))
            && self.lets_in(a, b);
        if up && !self.lets_in(b, a) {
            // It seems to stand: the other side answers hello, and nothing else.
            if self.nodes[a].connected.insert(b) {
                let (peer, life) = (self.key(b), self.nodes[a].life);
                self.push_event(a, LINK_DELAY, Event::Connected { peer });
                self.push(STRANGER_LIFETIME, Due::Stranger { node: a, life, to: b });
            }
        } else if !up {
            let peer = self.key(b);
            let reason = "connection refused".to_owned();
            self.push_event(a, 1, Event::DialFailed { peer, reason });
        } else if self.nodes[a].connected.insert(b) {
            self.nodes[b].connected.insert(a);
            let (peer_a, peer_b) = (self.key(a), self.key(b));
            self.push_event(a, LINK_DELAY, Event::Connected { peer: peer_b });
            self.push_event(b, LINK_DELAY, Event::Connected { peer: peer_a });
        }
        up
    }

    /// `at` loses its connection to `to`.
    pub(super) fn disconnect(&mut self, at: usize, to: usize) {
        self.nodes[at].connected.remove(&to);
        self.nodes[at].mesh.remove(&to);
        let peer = self.key(to);
        self.push_event(at, 1, Event::Disconnected { peer });
        let lost: Vec<u64> = self.nodes[at]
            .outstanding
            .iter()
            .filter(|(_, asked)| **asked == to)
            .map(|(token, _)| *token)
            .collect();
        for token in lost {
            self.fail_request(at, token, to, RequestFailure::Closed);
        }
    }

    /// What arrives of a frame, and how late.
    pub(super) fn pass(
        &mut self,
        from: usize,
        to: usize,
        plane: Option<Plane>,
        is_reply: bool,
        bytes: &[u8],
    ) -> Vec<(u64, Vec<u8>)> {
        let passing = Passing { from, to, plane, is_reply, bytes, time: self.now };
        if let Some(witness) = &mut self.witness {
            witness(&passing, &self.nodes[from]);
        }
        let fate = self.meddler.as_mut().map_or(Fate::Pass, |meddler| meddler(&passing));
        match fate {
            Fate::Pass => vec![(0, bytes.to_vec())],
            Fate::Drop => Vec::new(),
            Fate::Twice => vec![(0, bytes.to_vec()), (0, bytes.to_vec())],
            Fate::Late(late) => vec![(late, bytes.to_vec())],
            Fate::Replace(bytes) => vec![(0, bytes)],
        }
    }

    pub(super) fn link_delay(&mut self) -> u64 {
        LINK_DELAY + self.rng.next_u64() % LINK_DELAY
    }
}
