//! What lies between two nodes: connections, delay, loss, and whoever meddles with frames.

use rand_core::Rng as _;
use signpost_node::{
    core::Event,
    network::{InboundId, Plane, RequestFailure},
};
use signpost_protocol::PublicKey;

use super::{Due, Network};

/// Milliseconds that a message takes, at least; up to as much again by chance.
const LINK_DELAY: u64 = 5;
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
}

/// What becomes of a frame.
pub enum Fate {
    /// It arrives.
    Pass,
    /// It is lost.
    Drop,
    /// It arrives twice.
    Twice,
    /// Something else arrives in its place.
    Replace(Vec<u8>),
}

pub(super) type Meddler = Box<dyn FnMut(&Passing<'_>) -> Fate>;

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
        let Some(to) = self.number_of(peer) else { return };
        self.nodes[at].outstanding.insert(token, to);
        if !self.nodes[at].connected.contains(&to) && !self.connect(at, to) {
            let why = RequestFailure::Unreachable("connection refused".to_owned());
            return self.fail_request(at, token, to, why);
        }
        let life = self.nodes[at].life;
        self.push(REQUEST_TIMEOUT, Due::Timeout { node: at, life, token });
        for frame in self.pass(at, to, Some(plane), false, &frame) {
            let id = InboundId(self.number());
            self.nodes[to].inbound.insert(id, (at, token, plane));
            let peer = self.key(at);
            let delay = self.link_delay();
            self.push_event(to, delay, Event::Request { peer, plane, id, frame });
        }
    }

    pub(super) fn send_reply(&mut self, at: usize, id: InboundId, frame: Vec<u8>) {
        let Some((to, token, plane)) = self.nodes[at].inbound.remove(&id) else {
            self.nodes[at].answers.insert(id, Some(frame));
            return;
        };
        for frame in self.pass(at, to, Some(plane), true, &frame) {
            if self.nodes[to].outstanding.remove(&token).is_none() {
                continue;
            }
            let peer = self.key(at);
            let delay = self.link_delay();
            self.push_event(to, delay, Event::Response { token, peer, result: Ok(frame) });
        }
    }

    pub(super) fn fail_request(&mut self, at: usize, token: u64, to: usize, why: RequestFailure) {
        if self.nodes[at].outstanding.remove(&token).is_some() {
            let peer = self.key(to);
            self.push_event(at, 1, Event::Response { token, peer, result: Err(why) });
        }
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) -> bool {
        let up = self.nodes[b].core.is_some() && !self.cut.contains(&(a.min(b), a.max(b)));
        if !up {
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

    pub(super) fn pass(
        &mut self,
        from: usize,
        to: usize,
        plane: Option<Plane>,
        is_reply: bool,
        bytes: &[u8],
    ) -> Vec<Vec<u8>> {
        let fate = self
            .meddler
            .as_mut()
            .map_or(Fate::Pass, |meddler| meddler(&Passing { from, to, plane, is_reply, bytes }));
        match fate {
            Fate::Pass => vec![bytes.to_vec()],
            Fate::Drop => Vec::new(),
            Fate::Twice => vec![bytes.to_vec(), bytes.to_vec()],
            Fate::Replace(bytes) => vec![bytes],
        }
    }

    pub(super) fn link_delay(&mut self) -> u64 {
        LINK_DELAY + self.rng.next_u64() % LINK_DELAY
    }
}
