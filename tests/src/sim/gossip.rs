//! Gossip: a frame goes to everybody connected, and whoever finds it worth having passes it on.

use rand_core::Rng as _;
use signpost_node::{
    core::Event,
    network::{GossipId, Verdict},
};
use signpost_protocol::ContentHash;

use super::{Due, Network};

/// How many a node passes a frame on to: the size of gossipsub's mesh.
const MESH: usize = 6;

impl Network {
    /// Sends an own frame to everybody connected.
    pub(super) fn publish(&mut self, at: usize, frame: Vec<u8>) {
        self.nodes[at].seen.insert(ContentHash::of(&frame));
        for to in self.nodes[at].connected.clone() {
            self.pass_on(at, to, &frame);
        }
    }

    /// A core has said what a frame is worth.
    pub(super) fn judge(&mut self, at: usize, id: GossipId, verdict: Verdict) {
        let Some((via, frame)) = self.nodes[at].judging.remove(&id) else {
            self.nodes[at].verdicts.insert(id, verdict);
            return;
        };
        if verdict != Verdict::Accept {
            return;
        }
        let mut others: Vec<usize> = self.nodes[at].connected.iter().copied().collect();
        others.retain(|to| *to != via);
        for _ in 0..MESH.min(others.len()) {
            let nth = self.rng.next_u64() as usize % others.len();
            let to = others.swap_remove(nth);
            self.pass_on(at, to, &frame);
        }
    }

    fn pass_on(&mut self, at: usize, to: usize, frame: &[u8]) {
        for (late, frame) in self.pass(at, to, None, false, frame) {
            let (delay, life) = (self.link_delay() + late, self.nodes[to].life);
            self.push(delay, Due::Gossip { node: to, life, via: at, frame });
        }
    }

    /// What a frame is to whom it reaches, unless it came before.
    pub(super) fn heard(&mut self, at: usize, via: usize, frame: Vec<u8>) -> Option<Event> {
        if !self.nodes[at].seen.insert(ContentHash::of(&frame)) {
            return None;
        }
        let id = GossipId(self.number());
        self.nodes[at].judging.insert(id, (via, frame.clone()));
        Some(Event::Gossip { id, via: self.key(via), frame })
    }
}
