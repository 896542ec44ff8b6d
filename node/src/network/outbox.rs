//! What waits for the core, in an order that lets nobody hold up the others.
//!
//! What concerns this node's own doing goes first: replies to its requests, comings and goings. Then
//! one message of each peer in turn, so that a peer with a hundred requests waiting costs another
//! with one the time of a single request, not of a hundred.

use std::collections::{HashMap, VecDeque};

use signpost_protocol::PublicKey;

use super::NetworkEvent;

#[derive(Default)]
pub(super) struct Outbox {
    first: VecDeque<NetworkEvent>,
    /// Requests and gossip, by who sent or passed them on; no queue is empty.
    peers: HashMap<PublicKey, Queue>,
    /// The peers with something waiting, next to be served first.
    turns: VecDeque<PublicKey>,
    len: usize,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<NetworkEvent>,
    gossip: usize,
}

impl Outbox {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn push(&mut self, event: NetworkEvent) {
        self.len += 1;
        let (peer, gossip) = match &event {
            NetworkEvent::Request { peer, .. } => (*peer, 0),
            NetworkEvent::Gossip { via, .. } => (*via, 1),
            _ => return self.first.push_back(event),
        };
        let queue = self.peers.entry(peer).or_default();
        if queue.events.is_empty() {
            self.turns.push_back(peer);
        }
        queue.gossip += gossip;
        queue.events.push_back(event);
    }

    pub(super) fn pop(&mut self) -> Option<NetworkEvent> {
        let event = self.first.pop_front().or_else(|| self.pop_of_a_peer())?;
        self.len -= 1;
        Some(event)
    }

    fn pop_of_a_peer(&mut self) -> Option<NetworkEvent> {
        let peer = self.turns.pop_front()?;
        let queue = self.peers.get_mut(&peer)?;
        let event = queue.events.pop_front()?;
        queue.gossip -= usize::from(matches!(event, NetworkEvent::Gossip { .. }));
        if queue.events.is_empty() {
            self.peers.remove(&peer);
        } else {
            self.turns.push_back(peer);
        }
        Some(event)
    }

    /// Gossip that waits of one peer.
    pub(super) fn gossip_of(&self, peer: &PublicKey) -> usize {
        self.peers.get(peer).map_or(0, |queue| queue.gossip)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{GossipId, InboundId, Plane},
        *,
    };

    fn request(peer: u8, id: u64) -> NetworkEvent {
        let (peer, id) = (PublicKey([peer; 32]), InboundId(id));
        NetworkEvent::Request { peer, plane: Plane::Ask, id, frame: Vec::new() }
    }

    fn gossip(via: u8, id: u64) -> NetworkEvent {
        let via = PublicKey([via; 32]);
        NetworkEvent::Gossip { id: GossipId(id), from: via, via, frame: Vec::new() }
    }

    #[test]
    fn a_peer_with_much_waits_longer_than_one_with_little() {
        let mut outbox = Outbox::default();
        (0..100).for_each(|n| outbox.push(request(1, n)));
        outbox.push(request(2, 100));
        outbox.push(gossip(3, 1));
        let left = NetworkEvent::Disconnected { peer: PublicKey([4; 32]), member: true };
        outbox.push(left.clone());
        assert_eq!((outbox.len(), outbox.gossip_of(&PublicKey([3; 32]))), (103, 1));
        let first: Vec<_> = std::iter::from_fn(|| outbox.pop()).take(5).collect();
        let expected = [left, request(1, 0), request(2, 100), gossip(3, 1), request(1, 1)];
        assert!(first == expected);
        assert_eq!(outbox.gossip_of(&PublicKey([3; 32])), 0);
        // The rest comes in its order, and nothing is left behind.
        for n in 2..100 {
            assert!(outbox.pop() == Some(request(1, n)));
        }
        assert!(outbox.pop().is_none() && outbox.is_empty());
        assert!(outbox.peers.is_empty() && outbox.turns.is_empty());
    }
}
