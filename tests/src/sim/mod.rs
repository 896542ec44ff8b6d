//! A network of cores in one thread: time, loss, crashes and lies are all under the test's control,
//! and everything follows from one seed.
//!
//! `mod` is the clock and the queue of what is due; one node in `node`, what lies between two of them
//! in `link`, what passes from one to all in `gossip`, what carries out the decisions of a core in `shell`, its users in `client`,
//! its admins and the network's stewards in `governing`, bugs to be caught in `plant`.

mod client;
mod gossip;
mod governing;
mod link;
mod node;
mod plant;
mod shell;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use signpost_keys::{Roster, roster::Statements};
use signpost_node::{
    core::{Action, Event, local::StatusReport},
    network::RequestFailure,
    store::{DisclosureRecord, Store as _},
};
use signpost_protocol::PublicKey;

use self::link::{Meddler, Witness};
pub use self::{
    client::caller,
    governing::PROPOSAL_LIFE,
    link::{Fate, Passing},
    node::{Backup, Load, SimNode},
    plant::Plant,
};
use crate::founding::{FOUNDED, Plan, found};

enum Due {
    Event { node: usize, life: u64, event: Event },
    Reply { node: usize, life: u64, token: u64, from: usize, frame: Vec<u8> },
    Gossip { node: usize, life: u64, via: usize, frame: Vec<u8> },
    Durable { node: usize, life: u64, disclosures: Vec<DisclosureRecord>, then: Vec<Action> },
    Timeout { node: usize, life: u64, token: u64 },
    Stranger { node: usize, life: u64, to: usize },
    Wakeup { node: usize, life: u64, time: u64 },
}

/// A network of cores.
pub struct Network {
    /// The nodes, in the order of their organizations.
    pub nodes: Vec<SimNode>,
    /// The statements that every node begins with.
    pub statements: Statements,
    /// The membership that follows from them.
    pub roster: Arc<Roster>,
    /// Milliseconds of true time since the network was founded.
    pub now: u64,
    rng: ChaCha20Rng,
    /// What is due, by time and then in the order in which it was decided.
    due: BTreeMap<(u64, u64), Due>,
    cut: BTreeSet<(usize, usize)>,
    numbers: BTreeMap<PublicKey, usize>,
    meddler: Option<Meddler>,
    witness: Option<Witness>,
    plant: Option<Plant>,
    next: u64,
}

impl Network {
    /// Founds a network and starts its nodes.
    #[must_use]
    pub fn new(plan: &Plan, seed: u64) -> Self {
        let (statements, founders) = found(plan, seed);
        let roster = Arc::new(statements.roster(FOUNDED.plus(plan.age)));
        let nodes: Vec<SimNode> = founders.into_iter().map(SimNode::new).collect();
        let numbers = nodes.iter().enumerate().map(|(at, node)| (node.key, at)).collect();
        let mut network = Self {
            nodes,
            statements,
            roster,
            now: plan.age,
            rng: ChaCha20Rng::seed_from_u64(seed ^ 0x5eed),
            due: BTreeMap::new(),
            cut: BTreeSet::new(),
            numbers,
            meddler: None,
            witness: None,
            plant: None,
            next: 0,
        };
        for node in 0..network.nodes.len() {
            network.start(node);
        }
        network
    }

    /// A network in which every node has every digest.
    #[must_use]
    pub fn settled(plan: &Plan, seed: u64) -> Self {
        let mut network = Self::new(plan, seed);
        network.settle();
        network
    }

    /// Runs until every running node has a digest in use of every running node.
    ///
    /// # Panics
    /// When that has not happened after ten minutes.
    pub fn settle(&mut self) {
        let settled = |network: &Self| {
            let running: Vec<usize> = network.running().collect();
            running.iter().all(|at| {
                let status = network.status(*at);
                let fresh = status.peers.iter().filter(|peer| peer.digest == "fresh").count();
                fresh + 1 >= running.len() && status.serves[0].digest_version.is_some()
            })
        };
        self.run_until(600_000, settled);
        assert!(settled(self), "the digests have not settled");
        // What was advertised just now has time to travel.
        self.run_for(3_000);
    }

    /// Runs for some time.
    pub fn run_for(&mut self, milliseconds: u64) {
        let end = self.now + milliseconds;
        self.run(end, |_| false);
        self.now = end;
    }

    /// Runs until `done`, at most for some time.
    pub fn run_until(&mut self, milliseconds: u64, done: impl Fn(&Self) -> bool) {
        self.run(self.now + milliseconds, done);
    }

    /// What a running node says of itself now.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn status(&self, at: usize) -> StatusReport {
        let core = self.nodes[at].core.as_ref().expect("the node runs");
        core.status(&self.nodes[at].founder.organization, self.time(at), &*self.nodes[at].store)
    }

    /// The numbers of the nodes that run.
    pub fn running(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|at| self.nodes[*at].core.is_some())
    }

    fn run(&mut self, end: u64, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let Some(next) = self.due.first_entry() else { return };
            let (time, _) = *next.key();
            if time > end {
                return;
            }
            let due = next.remove();
            self.now = self.now.max(time);
            self.happen(due);
        }
    }

    fn happen(&mut self, due: Due) {
        let (at, life) = match &due {
            Due::Event { node, life, .. }
            | Due::Reply { node, life, .. }
            | Due::Gossip { node, life, .. }
            | Due::Durable { node, life, .. }
            | Due::Timeout { node, life, .. }
            | Due::Stranger { node, life, .. }
            | Due::Wakeup { node, life, .. } => (*node, *life),
        };
        if self.nodes[at].life != life || self.nodes[at].core.is_none() {
            return;
        }
        let event = match due {
            Due::Event { event, .. } => event,
            Due::Wakeup { time, .. } if self.nodes[at].wakeup != Some(time) => return,
            Due::Wakeup { .. } => {
                self.nodes[at].wakeup = None;
                Event::Tick
            }
            Due::Reply { token, from, frame, .. } => {
                let Some(event) = self.response(at, token, from, frame) else { return };
                event
            }
            Due::Gossip { via, frame, .. } => {
                let Some(event) = self.heard(at, via, frame) else { return };
                event
            }
            Due::Durable { disclosures, then, .. } => {
                self.nodes[at].store.flush().expect("the memory store does not fail");
                self.nodes[at].disclosures.extend(disclosures);
                return self.carry_out(at, then);
            }
            Due::Stranger { to, .. } => return self.end_stranger(at, to),
            Due::Timeout { token, .. } => {
                let Some(to) = self.nodes[at].outstanding.remove(&token) else { return };
                let peer = self.key(to);
                Event::Response { token, peer, result: Err(RequestFailure::Timeout) }
            }
        };
        let now = self.time(at);
        let store = self.nodes[at].store.clone();
        let core = self.nodes[at].core.as_mut().expect("looked at above");
        let actions = core.handle(event, now, &*store);
        self.carry_out(at, actions);
        self.wake_later(at);
    }

    fn push_event(&mut self, node: usize, delay: u64, event: Event) {
        let life = self.nodes[node].life;
        self.push(delay, Due::Event { node, life, event });
    }

    fn push(&mut self, delay: u64, due: Due) {
        let id = self.number();
        self.due.insert((self.now + delay, id), due);
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}
