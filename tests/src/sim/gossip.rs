//! Gossip: a frame goes to everybody connected, and whoever finds it worth having passes it on.
//!
//! To its neighbours in a mesh, that is, which go both ways and last, as gossipsub's do. (Passing on to
//! some others by chance would leave one node in four hundred out of every frame, which gossipsub does
//! not do where no frame is lost.)

use rand_core::Rng as _;
use signpost_node::{
    core::Event,
    network::{GossipId, Verdict},
};
use signpost_protocol::ContentHash;

use super::{Due, Network};

/// Neighbours that a node sees to having: the size of gossipsub's mesh. Others may choose it as well.
const MESH: usize = 6;

impl Network {
    /// Sends an own frame to everybody connected.
    pub(super) fn publish(&mut self, at: usize, frame: Vec<u8>) {
        self.nodes[at].seen.insert(ContentHash::of(&frame));
        for to in self.nodes[at].connected.clone() {
            // A stranger's connection carries no gossip.
            if !self.lets_in(to, at) {
                continue;
            }
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
        self.fill_mesh(at);
        for to in self.nodes[at].mesh.clone() {
            if to != via {
                self.pass_on(at, to, &frame);
            }
        }
    }

    /// Chooses new neighbours for a node that has too few.
    fn fill_mesh(&mut self, at: usize) {
        let node = &self.nodes[at];
        let mut others: Vec<usize> = node.connected.difference(&node.mesh).copied().collect();
        others.retain(|to| self.lets_in(*to, at));
        while self.nodes[at].mesh.len() < MESH && !others.is_empty() {
            let nth = self.rng.next_u64() as usize % others.len();
            let to = others.swap_remove(nth);
            self.nodes[at].mesh.insert(to);
            self.nodes[to].mesh.insert(at);
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
