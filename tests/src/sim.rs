//! A network of cores in one thread: time, loss, crashes and lies are all under the test's control,
//! and everything follows from one seed.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap},
    sync::Arc,
};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use rand_core::Rng as _;
use signpost_keys::Roster;
use signpost_node::{
    core::{
        Action, Core, Event, NewFilter, Now, Persist, Policy, Ticket, audit_filter, build_filter,
        local::{
            Caller, LocalReply, LocalRequest, LocateError, LocateRequest, Located, ReadError,
            ReadPointer, ReadRequest, StatusReport, Write, WriteError, Written,
        },
    },
    digests::SharedBytes,
    network::{GossipId, InboundId, Plane, RequestFailure, Verdict},
    store::{Batch, DisclosureRecord, MemoryStore, Store as _},
};
use signpost_protocol::{
    ContentHash, PatientIdentifier, PointerId, PublicKey, Timestamp,
    codec::{self, ByteString, Text},
    digest::DigestsAnswer,
    limits,
};

use crate::founding::{FOUNDED, Founder, Plan, found};

/// Milliseconds that a message takes, at least; up to as much again by chance.
const LINK_DELAY: u64 = 5;
/// Milliseconds until a write is durable.
const FLUSH_DELAY: u64 = 2;
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

type Meddler = Box<dyn FnMut(&Passing<'_>) -> Fate>;

/// One node of the simulation.
pub struct SimNode {
    /// Its secrets.
    pub founder: Founder,
    /// What it has stored.
    pub store: Arc<MemoryStore>,
    /// What it disclosed and located.
    pub disclosures: Vec<DisclosureRecord>,
    /// Its clock minus true time, in milliseconds.
    pub skew: i64,
    /// The purposes for which it discloses.
    pub purposes: Vec<String>,
    core: Option<Core>,
    life: u64,
    started: u64,
    blobs: HashMap<ContentHash, SharedBytes>,
    connected: BTreeSet<usize>,
    inbound: BTreeMap<InboundId, (usize, u64, Plane)>,
    outstanding: BTreeMap<u64, usize>,
    replies: BTreeMap<Ticket, LocalReply>,
    /// What became of requests that were handed in: a frame, or none where it was left unanswered.
    answers: BTreeMap<InboundId, Option<Vec<u8>>>,
    verdicts: BTreeMap<GossipId, Verdict>,
    /// The wake-up that counts; later ones are void.
    wakeup: Option<u64>,
}

/// What a node had on disk at some time.
pub struct Backup {
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    blobs: HashMap<ContentHash, SharedBytes>,
}

enum Due {
    Event { node: usize, life: u64, event: Event },
    Durable { node: usize, life: u64, then: Vec<Action> },
    Timeout { node: usize, life: u64, token: u64 },
    Wakeup { node: usize, life: u64, time: u64 },
}

/// A network of cores.
pub struct Network {
    /// The nodes, in the order of their organizations.
    pub nodes: Vec<SimNode>,
    /// The membership.
    pub roster: Arc<Roster>,
    /// Milliseconds of true time since the network was founded.
    pub now: u64,
    rng: ChaCha20Rng,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    due: HashMap<u64, Due>,
    cut: BTreeSet<(usize, usize)>,
    meddler: Option<Meddler>,
    next: u64,
}

impl Network {
    /// Founds a network and starts its nodes.
    #[must_use]
    pub fn new(plan: &Plan, seed: u64) -> Self {
        let (roster, founders) = found(plan, seed);
        let nodes = founders
            .into_iter()
            .map(|founder| SimNode {
                founder,
                store: Arc::new(MemoryStore::new()),
                disclosures: Vec::new(),
                skew: 0,
                purposes: vec!["TREAT".to_owned()],
                core: None,
                life: 0,
                started: 0,
                blobs: HashMap::new(),
                connected: BTreeSet::new(),
                inbound: BTreeMap::new(),
                outstanding: BTreeMap::new(),
                replies: BTreeMap::new(),
                answers: BTreeMap::new(),
                verdicts: BTreeMap::new(),
                wakeup: None,
            })
            .collect();
        let mut network = Self {
            nodes,
            roster,
            now: 1_000,
            rng: ChaCha20Rng::seed_from_u64(seed ^ 0x5eed),
            queue: BinaryHeap::new(),
            due: HashMap::new(),
            cut: BTreeSet::new(),
            meddler: None,
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

    /// Starts a node, with what its store holds.
    pub fn start(&mut self, at: usize) {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let roster = self.roster.clone();
        let node = &mut self.nodes[at];
        node.life += 1;
        node.started = self.now;
        node.wakeup = None;
        let policy = Policy { purposes: node.purposes.clone() };
        let mut core = Core::new(node.founder.me(), roster, policy, seed);
        let now = self.time(at);
        let store = self.nodes[at].store.clone();
        let actions = core.start(now, &*store).expect("the memory store does not fail");
        self.nodes[at].core = Some(core);
        self.carry_out(at, actions);
        self.wake_later(at);
    }

    /// Kills a node: what was not flushed is lost, its connections break.
    pub fn kill(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.core = None;
        node.life += 1;
        node.store.crash();
        node.inbound.clear();
        node.outstanding.clear();
        for peer in std::mem::take(&mut node.connected) {
            self.disconnect(peer, at);
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

    /// Hands a request to a node over a connection of `peer`, who need not be a member, and waits.
    /// `None` when it is left unanswered.
    ///
    /// # Panics
    /// When nothing comes of it in a minute.
    pub fn exchange(
        &mut self,
        peer: PublicKey,
        to: usize,
        plane: Plane,
        frame: Vec<u8>,
    ) -> Option<Vec<u8>> {
        let id = InboundId(self.number());
        self.push_event(to, 1, Event::Request { peer, plane, id, frame });
        self.run_until(60_000, |network| network.nodes[to].answers.contains_key(&id));
        self.nodes[to].answers.remove(&id).expect("every request is answered or refused")
    }

    /// Hands a gossiped frame to a node as if `via` had passed it on, and waits for its verdict.
    ///
    /// # Panics
    /// When there is none after a minute.
    pub fn gossip(&mut self, via: usize, to: usize, frame: Vec<u8>) -> Verdict {
        let id = GossipId(self.number());
        let via = self.key(via);
        self.push_event(to, 1, Event::Gossip { id, via, frame });
        self.run_until(60_000, |network| network.nodes[to].verdicts.contains_key(&id));
        self.nodes[to].verdicts.remove(&id).expect("every gossiped frame is judged")
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

    /// Asks a node to locate a patient, and waits.
    ///
    /// # Errors
    /// As the node says.
    pub fn locate(
        &mut self,
        at: usize,
        patient: PatientIdentifier,
    ) -> Result<Located, LocateError> {
        let request = LocateRequest { patient, caller: caller(), deadline: 3_000, custodian: None };
        match self.call(at, LocalRequest::Locate(request)) {
            LocalReply::Locate(result) => result,
            _ => unreachable!("the core replies in kind"),
        }
    }

    /// Asks a node to read a pointer by its id, and waits.
    ///
    /// # Errors
    /// As the node says.
    pub fn read(&mut self, at: usize, id: &PointerId) -> Result<ReadPointer, ReadError> {
        let request = ReadRequest { id: id.clone(), caller: caller(), deadline: 3_000 };
        match self.call(at, LocalRequest::Read(request)) {
            LocalReply::Read(result) => result,
            _ => unreachable!("the core replies in kind"),
        }
    }

    /// Gives a node changes to make, and waits.
    pub fn write(&mut self, at: usize, writes: Vec<Write>) -> Vec<Result<Written, WriteError>> {
        match self.call(at, LocalRequest::Write(writes)) {
            LocalReply::Write(results) => results,
            _ => unreachable!("the core replies in kind"),
        }
    }

    /// Sends a local request and waits for its reply.
    ///
    /// # Panics
    /// When there is none after a minute.
    pub fn call(&mut self, at: usize, request: LocalRequest) -> LocalReply {
        let ticket = self.begin(at, request);
        self.run_until(60_000, |network| network.nodes[at].replies.contains_key(&ticket));
        self.nodes[at].replies.remove(&ticket).expect("every local request is answered")
    }

    /// Sends a local request without waiting.
    pub fn begin(&mut self, at: usize, request: LocalRequest) -> Ticket {
        let ticket = Ticket(self.number());
        self.push_event(at, 0, Event::Local { ticket, request });
        ticket
    }

    /// The reply to [`Self::begin`], if it has come.
    pub fn reply(&mut self, at: usize, ticket: Ticket) -> Option<LocalReply> {
        self.nodes[at].replies.remove(&ticket)
    }

    /// What a running node says of itself now.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn status(&self, at: usize) -> StatusReport {
        let core = self.nodes[at].core.as_ref().expect("the node runs");
        core.status(self.time(at), &*self.nodes[at].store)
    }

    /// The numbers of the nodes that run.
    pub fn running(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|at| self.nodes[*at].core.is_some())
    }

    fn run(&mut self, end: u64, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let Some(Reverse((time, id))) = self.queue.peek().copied() else { return };
            if time > end {
                return;
            }
            self.queue.pop();
            self.now = self.now.max(time);
            let due = self.due.remove(&id).expect("everything queued is due once");
            self.happen(due);
        }
    }

    fn happen(&mut self, due: Due) {
        let (at, life) = match &due {
            Due::Event { node, life, .. }
            | Due::Durable { node, life, .. }
            | Due::Timeout { node, life, .. }
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
            Due::Durable { then, .. } => {
                self.nodes[at].store.flush().expect("the memory store does not fail");
                return self.carry_out(at, then);
            }
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

    fn carry_out(&mut self, at: usize, actions: Vec<Action>) {
        for action in actions {
            self.carry_out_one(at, action);
        }
    }

    fn carry_out_one(&mut self, at: usize, action: Action) {
        match action {
            Action::Connect(peer) => {
                if let Some(to) = self.number_of(&peer) {
                    self.connect(at, to);
                }
            }
            Action::Send { token, peer, plane, frame } => {
                self.send_request(at, token, &peer, plane, frame);
            }
            Action::Reply { id, frame } => self.send_reply(at, id, frame),
            Action::Refuse { id } => match self.nodes[at].inbound.remove(&id) {
                Some((from, token, _)) => {
                    self.fail_request(from, token, at, RequestFailure::Refused);
                }
                None => {
                    self.nodes[at].answers.insert(id, None);
                }
            },
            Action::ServeBlob { id, hash, offset } => {
                let answer =
                    self.nodes[at].blobs.get(&hash).map_or(DigestsAnswer::NotFound, |blob| {
                        let blob = (**blob).as_ref();
                        let start = (offset as usize).min(blob.len());
                        let end = (start + limits::BLOB_PIECE_BYTES_MAX).min(blob.len());
                        let piece = ByteString::new(blob[start..end].to_vec());
                        DigestsAnswer::Blob(piece.expect("cut to its cap"))
                    });
                self.send_reply(at, id, codec::encode(&answer));
            }
            Action::Publish(frame) => {
                for to in self.nodes[at].connected.clone() {
                    for frame in self.pass(at, to, None, false, &frame) {
                        let id = GossipId(self.number());
                        let via = self.key(at);
                        let delay = self.link_delay();
                        self.push_event(to, delay, Event::Gossip { id, via, frame });
                    }
                }
            }
            Action::Judge { id, verdict } => {
                self.nodes[at].verdicts.insert(id, verdict);
            }
            Action::Answer { ticket, reply } => {
                self.nodes[at].replies.insert(ticket, reply);
            }
            Action::Persist(Persist { batches, disclosure, then, .. }) => {
                for batch in &batches {
                    self.nodes[at].store.apply(batch).expect("the memory store does not fail");
                }
                self.nodes[at].disclosures.extend(disclosure);
                let life = self.nodes[at].life;
                self.push(FLUSH_DELAY, Due::Durable { node: at, life, then });
            }
            Action::LoadBlob(hash) => {
                let bytes = self.nodes[at].blobs.get(&hash).cloned();
                self.push_event(at, 1, Event::Blob { hash, bytes });
            }
            Action::StoreBlob { hash, bytes } => {
                let fits = ContentHash::of(&bytes) == hash;
                let bytes: Option<SharedBytes> = fits.then(|| Arc::new(bytes) as SharedBytes);
                if let Some(bytes) = &bytes {
                    self.nodes[at].blobs.insert(hash, bytes.clone());
                }
                self.push_event(at, 1, Event::Blob { hash, bytes });
            }
            Action::KeepBlob(bytes) => {
                self.nodes[at].blobs.insert(ContentHash::of(&bytes), Arc::new(bytes));
            }
            Action::RetainBlobs(named) => {
                self.nodes[at].blobs.retain(|hash, _| named.contains(hash));
            }
            Action::BuildFilter(build) => {
                let store = self.nodes[at].store.clone();
                let result = build_filter(&build, &*store).map(|built| {
                    let hash = ContentHash::of(&built.bytes);
                    let bytes: SharedBytes = Arc::new(built.bytes);
                    self.nodes[at].blobs.insert(hash, bytes.clone());
                    let (salt, class, ones) = (build.salt, built.class, built.ones);
                    NewFilter { hash, salt, class, ones, bytes }
                });
                let organization = build.organization;
                self.push_event(at, 5, Event::FilterBuilt { organization, result });
            }
            Action::AuditFilter(job) => {
                let store = self.nodes[at].store.clone();
                let result = audit_filter(&job, &*store);
                let organization = job.organization;
                self.push_event(at, 5, Event::FilterAudited { organization, result });
            }
        }
    }

    fn send_request(
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

    fn send_reply(&mut self, at: usize, id: InboundId, frame: Vec<u8>) {
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

    fn fail_request(&mut self, at: usize, token: u64, to: usize, why: RequestFailure) {
        if self.nodes[at].outstanding.remove(&token).is_some() {
            let peer = self.key(to);
            self.push_event(at, 1, Event::Response { token, peer, result: Err(why) });
        }
    }

    fn connect(&mut self, a: usize, b: usize) -> bool {
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
    fn disconnect(&mut self, at: usize, to: usize) {
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

    fn pass(
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

    fn wake_later(&mut self, at: usize) {
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

    fn time(&self, at: usize) -> Now {
        let node = &self.nodes[at];
        let unix = FOUNDED.0 + self.now;
        let unix = Timestamp(unix.saturating_add_signed(node.skew));
        Now { unix, uptime: self.now - node.started }
    }

    /// The transport key of a node.
    #[must_use]
    pub fn key(&self, at: usize) -> PublicKey {
        signpost_keys::SecretKey::from_seed(&self.nodes[at].founder.transport).public()
    }

    fn number_of(&self, key: &PublicKey) -> Option<usize> {
        (0..self.nodes.len()).find(|at| self.key(*at) == *key)
    }

    fn link_delay(&mut self) -> u64 {
        LINK_DELAY + self.rng.next_u64() % LINK_DELAY
    }

    fn push_event(&mut self, node: usize, delay: u64, event: Event) {
        let life = self.nodes[node].life;
        self.push(delay, Due::Event { node, life, event });
    }

    fn push(&mut self, delay: u64, due: Due) {
        let id = self.number();
        self.queue.push(Reverse((self.now + delay, id)));
        self.due.insert(id, due);
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// The caller of test requests.
#[must_use]
pub fn caller() -> Caller {
    Caller {
        purpose: Text::new("TREAT").expect("short"),
        role: Text::new("clinician").expect("short"),
        user: Text::new("user-1").expect("short"),
    }
}
