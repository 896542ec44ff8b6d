//! Holders whose disk was replaced by an older one or an empty one: what may be missing unsaid, and
//! for how long (`docs/hazards.md`, row 8).

use signpost_node::core::rows::OwnHeadRow;
use signpost_protocol::digest::DigestHead;
use signpost_tests::sim::Network;

use crate::witness::body_of;

/// Milliseconds after which a node that comes back is found by everybody, at most.
const FOUND_WITHIN: u64 = 30_000;

/// A holder whose producers have not yet sent everything again.
#[derive(Clone, Copy, Debug)]
pub struct Restored {
    /// The version of the head on its disk; 0 without one.
    stored: u64,
    /// Since when it says so itself.
    pub noticed: Option<u64>,
    /// Since when there is somebody in its reach who knows a later head of it.
    known_since: Option<u64>,
}

impl Restored {
    /// A holder that is about to start with another disk.
    pub fn new(network: &Network, holder: usize) -> Self {
        let node = &network.nodes[holder];
        let row = OwnHeadRow::read(&*node.store, &node.founder.organization);
        let row = row.expect("the memory store does not fail");
        let stored = row.and_then(|row| body_of::<DigestHead>(&row.head));
        Self { stored: stored.map_or(0, |head| head.version), noticed: None, known_since: None }
    }

    /// Looks at where things stand; `reaches` says who is in the holder's reach.
    pub fn look(&mut self, network: &Network, holder: usize, reaches: impl Fn(usize) -> bool) {
        let runs = network.running().any(|at| at == holder);
        let says_so = runs && network.status(holder).serves[0].restored_as_of.is_some();
        match (runs, says_so) {
            (true, true) => self.noticed = self.noticed.or(Some(network.now)),
            (true, false) => self.noticed = None,
            (false, _) => {}
        }
        if self.noticed.is_some() {
            return;
        }
        let ods = &network.nodes[holder].founder.ods;
        let knows_more = |at: usize| {
            let peers = network.status(at).peers;
            let known = peers.iter().find(|peer| peer.ods == *ods).and_then(|p| p.digest_version);
            known.is_some_and(|version| version > self.stored)
        };
        let mut others = network.running().filter(|at| *at != holder && reaches(*at));
        self.known_since =
            (runs && others.any(knows_more)).then(|| self.known_since.unwrap_or(network.now));
    }

    /// Whether a result may lack, unsaid, what the holder's disk lacks: nobody who knows better was
    /// in its reach for long enough, or word of it is still on its way, `delay` being what heads may
    /// take. `head` is the true time at which the head was signed that the asker goes by.
    pub fn excuses(&self, from: u64, delay: u64, head: Option<i64>) -> bool {
        match self.noticed {
            Some(noticed) => {
                from < noticed + delay && head.is_none_or(|signed| signed < noticed as i64)
            }
            None => self.known_since.is_none_or(|since| from < since + FOUND_WITHIN + delay),
        }
    }
}
