//! One node: its life, its disk, its clock.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use rand_core::Rng as _;
use signpost_node::{
    core::{
        Core, Now, Policy, Ticket,
        local::{LocalReply, Located},
        rows::STATEMENTS_PREFIX,
    },
    digests::SharedBytes,
    network::{GossipId, InboundId, Plane, Verdict},
    store::{Batch, DisclosureRecord, MemoryStore, Store as _},
};
use signpost_protocol::{ContentHash, PublicKey, Timestamp};

use super::{Due, Network};
use crate::founding::{FOUNDED, Founder};

/// One node of the simulation.
pub struct SimNode {
    /// Its secrets.
    pub founder: Founder,
    /// What it has stored.
    pub store: Arc<MemoryStore>,
    /// What it disclosed and located, as far as that is on disk.
    pub disclosures: Vec<DisclosureRecord>,
    /// Its clock minus true time, in milliseconds.
    pub skew: i64,
    /// The purposes for which it discloses.
    pub purposes: Vec<String>,
    /// Milliseconds that it takes to build a filter, or to compare one with the store.
    pub build_time: u64,
    pub(super) key: PublicKey,
    pub(super) core: Option<Core>,
    pub(super) life: u64,
    pub(super) started: u64,
    pub(super) blobs: HashMap<ContentHash, SharedBytes>,
    /// Whom its core lets in; everybody before it has said so.
    pub(super) members: Option<BTreeSet<usize>>,
    pub(super) connected: BTreeSet<usize>,
    /// Connected ones to whom gossip is passed on, and who pass it on to this one.
    pub(super) mesh: BTreeSet<usize>,
    pub(super) inbound: BTreeMap<InboundId, Asker>,
    pub(super) outstanding: BTreeMap<u64, usize>,
    pub(super) replies: BTreeMap<Ticket, (u64, LocalReply)>,
    /// What it told the user before.
    pub(super) told_last: Option<Located>,
    /// What became of requests that were handed in: a frame, or none where it was left unanswered.
    pub(super) answers: BTreeMap<InboundId, Option<Vec<u8>>>,
    pub(super) verdicts: BTreeMap<GossipId, Verdict>,
    /// Gossiped frames that came before.
    pub(super) seen: HashSet<ContentHash>,
    /// Gossiped frames that the core is looking at, and who passed them on.
    pub(super) judging: BTreeMap<GossipId, (usize, Vec<u8>)>,
    /// The wake-up that counts; later ones are void.
    pub(super) wakeup: Option<u64>,
}

/// To whom a reply goes: the node, the life of it that asked, and by what it knows the request.
#[derive(Clone, Copy)]
pub(super) struct Asker {
    pub(super) at: usize,
    pub(super) life: u64,
    pub(super) token: u64,
    pub(super) plane: Plane,
}

/// How much of what must be bounded a node holds now.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Requests to others that have no response yet.
    pub outstanding: usize,
    /// Requests of others that have no reply yet.
    pub inbound: usize,
    /// Filters and change lists on disk.
    pub blobs: usize,
}

/// What a node had on disk at some time.
pub struct Backup {
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    blobs: HashMap<ContentHash, SharedBytes>,
}

impl SimNode {
    pub(super) fn new(founder: Founder) -> Self {
        let key = signpost_keys::SecretKey::from_seed(&founder.transport).public();
        Self {
            founder,
            store: Arc::new(MemoryStore::new()),
            disclosures: Vec::new(),
            skew: 0,
            purposes: vec!["TREAT".to_owned()],
            build_time: 5,
            key,
            core: None,
            life: 0,
            started: 0,
            blobs: HashMap::new(),
            members: None,
            connected: BTreeSet::new(),
            mesh: BTreeSet::new(),
            inbound: BTreeMap::new(),
            outstanding: BTreeMap::new(),
            replies: BTreeMap::new(),
            told_last: None,
            answers: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            seen: HashSet::new(),
            judging: BTreeMap::new(),
            wakeup: None,
        }
    }
}

impl Network {
    /// Starts a node, with what its store holds.
    pub fn start(&mut self, at: usize) {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let statements = self.statements.clone();
        let node = &mut self.nodes[at];
        node.life += 1;
        node.started = self.now;
        node.wakeup = None;
        let policy = Policy { purposes: node.purposes.clone() };
        let mut core = Core::new(node.founder.me(), statements, policy, seed);
        let now = self.time(at);
        let store = self.nodes[at].store.clone();
        let actions = core.start(now, &*store).expect("the memory store does not fail");
        self.nodes[at].core = Some(core);
        self.carry_out(at, actions);
        self.wake_later(at);
    }

    pub(super) fn add_node(&mut self, node: SimNode) {
        self.numbers.insert(node.key, self.nodes.len());
        self.nodes.push(node);
    }

    /// Gives a node another transport key, with which it starts next time.
    pub fn set_transport(&mut self, at: usize, seed: [u8; 32]) {
        let key = signpost_keys::SecretKey::from_seed(&seed).public();
        self.nodes[at].founder.transport = seed;
        let old = std::mem::replace(&mut self.nodes[at].key, key);
        self.numbers.remove(&old);
        self.numbers.insert(key, at);
    }

    /// Kills a node: what was not flushed is lost, its connections break.
    pub fn kill(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.core = None;
        node.life += 1;
        node.store.crash();
        node.members = None;
        node.inbound.clear();
        node.judging.clear();
        node.seen.clear();
        node.outstanding.clear();
        node.mesh.clear();
        node.connected.clear();
        for peer in 0..self.nodes.len() {
            if self.nodes[peer].connected.contains(&at) {
                self.disconnect(peer, at);
            }
        }
    }

    /// Forgets what a killed node has on disk.
    pub fn wipe(&mut self, at: usize) {
        self.nodes[at].store = Arc::new(MemoryStore::new());
        self.nodes[at].blobs.clear();
    }

    /// What a node has on disk now.
    ///
    /// # Panics
    /// Never: the memory store does not fail.
    #[must_use]
    pub fn back_up(&self, at: usize) -> Backup {
        let rows = self.nodes[at].store.scan(&[], None, usize::MAX);
        let rows = rows.expect("the memory store does not fail");
        Backup { rows, blobs: self.nodes[at].blobs.clone() }
    }

    /// Puts back what a killed node once had on disk, and nothing else.
    ///
    /// # Panics
    /// Never: the memory store does not fail.
    pub fn restore(&mut self, at: usize, backup: &Backup) {
        self.wipe(at);
        let node = &mut self.nodes[at];
        for (key, value) in &backup.rows {
            let mut batch = Batch::new();
            batch.put(key.clone(), value.clone()).expect("it was stored before");
            node.store.apply(&batch).expect("the memory store does not fail");
        }
        node.store.flush().expect("the memory store does not fail");
        node.blobs.clone_from(&backup.blobs);
    }

    /// Puts a blob on a node's disk, to be served to whoever asks for it by its hash.
    pub fn put_blob(&mut self, at: usize, bytes: Vec<u8>) -> ContentHash {
        let hash = ContentHash::of(&bytes);
        self.nodes[at].blobs.insert(hash, Arc::new(bytes));
        hash
    }

    pub(super) fn wake_later(&mut self, at: usize) {
        let node = &self.nodes[at];
        let Some(core) = &node.core else { return };
        let time = (node.started + core.next_wakeup()).max(self.now + 1);
        if node.wakeup.is_some_and(|earlier| earlier <= time) {
            return;
        }
        let life = node.life;
        self.nodes[at].wakeup = Some(time);
        self.push(time - self.now, Due::Wakeup { node: at, life, time });
    }

    pub(super) fn time(&self, at: usize) -> Now {
        let node = &self.nodes[at];
        let unix = FOUNDED.0 + self.now;
        let unix = Timestamp(unix.saturating_add_signed(node.skew));
        Now { unix, uptime: self.now - node.started }
    }

    /// The transport key of a node.
    #[must_use]
    pub fn key(&self, at: usize) -> PublicKey {
        self.nodes[at].key
    }

    pub(super) fn number_of(&self, key: &PublicKey) -> Option<usize> {
        self.numbers.get(key).copied()
    }

    /// Milliseconds of true time since the network was founded at which a running node started.
    #[must_use]
    pub fn started(&self, at: usize) -> u64 {
        self.nodes[at].started
    }

    /// How many statements of the roster a node has on disk.
    ///
    /// # Panics
    /// Never: the memory store does not fail.
    #[must_use]
    pub fn statements_held(&self, at: usize) -> usize {
        let rows = self.nodes[at].store.scan(STATEMENTS_PREFIX, None, usize::MAX);
        rows.expect("the memory store does not fail").len()
    }

    /// What a node holds that must be bounded.
    #[must_use]
    pub fn load(&self, at: usize) -> Load {
        let node = &self.nodes[at];
        Load {
            outstanding: node.outstanding.len(),
            inbound: node.inbound.len(),
            blobs: node.blobs.len(),
        }
    }
}
