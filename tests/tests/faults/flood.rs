//! A member with valid keys that sends all it can, over several connections; and one that asks for
//! much and never reads.
//!
//! The others' look-ups go on and are complete, the flooder meets the limits that are there for it,
//! the flooded node's memory stays bounded, and so does what it logs.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use rand_core::Rng as _;
use signpost_keys::{blinding::Blinding, sign};
use signpost_node::{
    network::{
        self, Member, NetworkCommand, NetworkConfig, NetworkEvent, NetworkHandle, Plane, Transport,
    },
    runtime::wall_clock,
    setup::{self, Identity},
};
use signpost_protocol::{
    ContentHash, Locator, OrganizationId, Pointer, PublicKey, RequestId,
    blind::{EvaluatePurpose, EvaluateRequest},
    codec::{self, Bounded, Text},
    digest::DigestsRequest,
    limits,
    locate::{Answer, Ask, AskSubject, RefusalCode, Reply},
    statement::{Body as _, Envelope},
};
use signpost_tests::{
    client::{Client, patient, record},
    processes::{Federation, NO_QUOTAS, until},
};
use tokio::{runtime::Runtime, sync::mpsc};

use crate::{PROGRAM, counts::Counts};

const VICTIM: usize = 0;
/// Looks up what the victim holds.
const OTHER: usize = 1;
/// Its keys are the flooder's.
const FLOODER: usize = 4;
const NODES: usize = 5;
/// As many as the victim lets one peer have.
const CONNECTIONS: usize = 4;
/// Requests under way on each connection: as many as this program's own network allows.
const UNDER_WAY: usize = 96;
/// Look-ups of others that must succeed during each flood.
const LOOK_UPS: u64 = 15;
/// Records of one patient, of 11 KB each: an answer of half a megabyte.
const LARGE_RECORDS: u32 = 40;
const LARGE_RECORD_BYTES: usize = 11_000;
/// What a flood may add to the victim's memory, in KiB: of 96 asks on each of four connections, the
/// large answers that nobody reads (450 KiB each), and as much again for buffers would be 340 MiB; a
/// node that let more wait would pass this soon.
const GROWTH_KIB_MAX: u64 = 340 * 1024;
/// Lines that a flood may add to the victim's log, but for one for each look-up of others.
const LOG_LINES_MAX: usize = 400;

pub(crate) fn run(counts: &mut Counts, rng: &mut ChaCha20Rng) {
    let standard = signpost_protocol::roster::Parameters::STANDARD;
    // Other limits are what is tried here.
    let parameters = signpost_protocol::roster::Parameters { quotas: Some(NO_QUOTAS), ..standard };
    let mut federation = Federation::found(PROGRAM, NODES, parameters, "info");
    (0..NODES).for_each(|n| federation.start(n));
    federation.await_fresh();
    let (client, ods) = (federation.client(VICTIM).clone(), federation.node(VICTIM).ods.clone());
    let held: Vec<String> = (0..50)
        .map(|n| client.created(&record(&ods, &patient(n), "https://records.example/1")))
        .collect();
    let large = (0..LARGE_RECORDS).map(|n| {
        let mut large = record(&ods, &patient(60), &format!("https://records.example/{n}"));
        large["description"] = "x".repeat(LARGE_RECORD_BYTES).into();
        client.created(&large)
    });
    let large: Vec<String> = large.collect();
    counts.acknowledged = (held.len() + large.len()) as u64;
    until("the last record is found", || {
        let reply = federation.client(OTHER).search(&patient(60));
        (reply.ids().len() == large.len()).then_some(())
    });
    // The flooder takes the place of a node, whose digest the others have for a while yet.
    federation.kill(FLOODER);
    let flooder = Arc::new(Flooder::new(&federation, &large[0]));

    let others = |federation: &Federation, counts: &mut Counts| {
        look_up(federation.client(OTHER), &held, counts);
    };
    counts.faults += 1;
    measured(&mut federation, "a flood over one connection", counts, |federation, counts| {
        flooder.flood(1, rng, || others(federation, counts));
    });
    counts.faults += 1;
    measured(&mut federation, "a flood over four connections", counts, |federation, counts| {
        flooder.flood(CONNECTIONS, rng, || others(federation, counts));
    });
    counts.faults += 1;
    measured(&mut federation, "a peer that never reads", counts, |federation, counts| {
        flooder.never_read(|| others(federation, counts));
    });
    let refusals = flooder.refusals.lock().unwrap();
    println!("the flooder sent {}, and was told: {:?}", refusals.sent, refusals.outcomes);
    for limit in ["it is too busy", "the peer refused the request"] {
        let met = refusals.outcomes.iter().any(|(outcome, _)| outcome.contains(limit));
        assert!(met, "the flooder never met a limit that says: {limit}");
    }
    for (n, id) in (0..).zip(&held) {
        let reply = federation.client(OTHER).search(&patient(n));
        reply.assert_complete();
        if !reply.ids().contains(id) {
            counts.lost(id.clone());
        }
    }
}

/// Looks up, during a flood, what the victim holds, until enough results were complete.
fn look_up(client: &Client, held: &[String], counts: &mut Counts) {
    let mut times = Vec::new();
    let mut n = 0;
    until("the look-ups of others succeed", || {
        let at = n % held.len();
        n += 1;
        let reply = client.search(&patient(at as u32));
        match reply.completeness.as_str() {
            "complete" => {
                counts.complete += 1;
                times.push(reply.took);
                if !reply.ids().contains(&held[at]) {
                    counts.wrong(format!("complete without {}", held[at]));
                }
            }
            _ => counts.partial += u64::from(reply.status == 200),
        }
        (times.len() as u64 >= LOOK_UPS).then_some(())
    });
    times.sort_unstable();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "{} of {n} look-ups of others complete, median {median:.1?}, worst {worst:.1?}",
        times.len()
    );
}

/// Runs a flood and measures what it leaves at the victim.
fn measured(
    federation: &mut Federation,
    what: &str,
    counts: &mut Counts,
    flood: impl FnOnce(&Federation, &mut Counts),
) {
    let pid = federation.node_mut(VICTIM).process().id();
    let (memory, lines) = (peak_kib(pid), log_lines(federation));
    let started = Instant::now();
    flood(federation, counts);
    let took = started.elapsed();
    assert!(federation.node_mut(VICTIM).process().ended().is_none(), "{what} ended the node");
    let (grown, lines) = (peak_kib(pid) - memory, log_lines(federation) - lines);
    println!(
        "{what}, {took:.1?}: {memory} KiB of memory at its peak before, {grown} more; {lines} lines of log"
    );
    assert!(grown < GROWTH_KIB_MAX, "{what}: {grown} KiB more");
    let log = federation.node(VICTIM).log();
    let last: Vec<_> = log.lines().rev().filter(|line| is_of_peers(line)).take(20).collect();
    assert!(lines < LOG_LINES_MAX, "{what}: {lines} lines of log, the last: {last:#?}");
}

/// The most memory that a process ever had resident, in KiB (proc(5)).
fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Whether a line of a log is about something else than the node's own clinical systems.
fn is_of_peers(line: &str) -> bool {
    !line.contains("signpost_node::api::guard")
}

fn log_lines(federation: &Federation) -> usize {
    federation.node(VICTIM).log().lines().filter(|line| is_of_peers(line)).count()
}

/// What became of the flooder's requests.
#[derive(Default)]
struct Refusals {
    sent: u64,
    outcomes: std::collections::BTreeMap<String, u64>,
}

struct Flooder {
    identity: Identity,
    victim: PublicKey,
    victim_organization: OrganizationId,
    members: Vec<Member>,
    /// A pointer of the patient with many.
    large: String,
    blinded: Vec<[u8; 32]>,
    refusals: Mutex<Refusals>,
}

impl Flooder {
    fn new(federation: &Federation, large: &str) -> Self {
        let identity = setup::open(&federation.node(FLOODER).dir).unwrap();
        let victim = setup::open(&federation.node(VICTIM).dir).unwrap();
        let address = format!("/ip4/127.0.0.1/tcp/{}", federation.node(VICTIM).peer_port);
        let key = victim.transport.public();
        let inputs = (0..limits::EVALUATIONS_PER_REQUEST_MAX).map(|n| n.to_string().into_bytes());
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let blinding = Blinding::new(inputs.collect(), &mut rng).unwrap();
        Self {
            victim: key,
            victim_organization: victim.served[0].organization,
            members: vec![Member { key, addresses: vec![address.parse().unwrap()] }],
            large: large.to_owned(),
            blinded: blinding.blinded().to_vec(),
            identity,
            refusals: Mutex::default(),
        }
    }

    /// A connection under the flooder's key.
    fn connect(&self) -> (NetworkHandle, mpsc::Receiver<NetworkEvent>) {
        network::spawn(NetworkConfig {
            transport_secret: self.identity.transport.expose_seed(),
            network: self.identity.roster.network(),
            transport: Transport::Tcp,
            listen: Vec::new(),
            members: self.members.clone(),
            tap: None,
            request_timeout: None,
        })
        .unwrap()
    }

    fn ask(&self, subject: AskSubject, rng: &mut ChaCha20Rng) -> Vec<u8> {
        let mut request = [0; 16];
        rng.fill_bytes(&mut request);
        let now = wall_clock();
        let ask = Ask {
            asked: self.victim_organization,
            asking: self.identity.served[0].organization,
            subject,
            purpose: Text::new("TREAT").unwrap(),
            role: Text::new("clinician").unwrap(),
            user: Text::new("user-1").unwrap(),
            request: RequestId(request),
            issued: now,
            expires: now.plus(20_000),
        };
        sign(ask, &self.identity.transport, &self.identity.roster.network()).bytes().to_vec()
    }

    fn evaluate(&self, rng: &mut ChaCha20Rng) -> Vec<u8> {
        let mut request = [0; 16];
        rng.fill_bytes(&mut request);
        let set = self.identity.roster.evaluators().current().unwrap();
        let now = wall_clock();
        let blinded = self.blinded.iter().map(|element| (*element).into()).collect();
        let request = EvaluateRequest {
            asked: self.victim_organization,
            asking: self.identity.served[0].organization,
            request: RequestId(request),
            key_epoch: set.key_epoch,
            share_epoch: set.share_epoch,
            purpose: EvaluatePurpose::Lookup,
            blinded: Bounded::new(blinded).unwrap(),
            issued: now,
            expires: now.plus(20_000),
        };
        sign(request, &self.identity.transport, &self.identity.roster.network()).bytes().to_vec()
    }

    /// One of all that a member may send, and of what it may not.
    fn anything(&self, rng: &mut ChaCha20Rng) -> (Plane, Vec<u8>) {
        let mut locator = [0; 32];
        rng.fill_bytes(&mut locator);
        let key_epoch = self.identity.roster.evaluators().current().unwrap().key_epoch;
        let subject = AskSubject::Locator { key_epoch, locator: Locator(locator), after: None };
        match rng.next_u64() % 8 {
            0 | 1 => (Plane::Ask, self.ask(subject, rng)),
            2 => (Plane::Evaluate, self.evaluate(rng)),
            3 => (Plane::Digests, codec::encode(&DigestsRequest::Compare(ContentHash(locator)))),
            4 => (Plane::Digests, codec::encode(&DigestsRequest::Blob(ContentHash(locator), 0))),
            5 => (Plane::Digests, locator.repeat(100)),
            6 => (Plane::Ask, locator.repeat(20)),
            _ => {
                // Its own ask, altered under way.
                let mut ask = self.ask(subject, rng);
                let at = ask.len() - 1;
                ask[at] ^= 1;
                (Plane::Ask, ask)
            }
        }
    }

    /// Sends all it can, over so many connections, until `meanwhile` is done.
    fn flood(&self, connections: usize, rng: &mut ChaCha20Rng, meanwhile: impl FnOnce()) {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..connections {
                let rng = ChaCha20Rng::seed_from_u64(rng.next_u64());
                let stop = &stop;
                scope.spawn(move || runtime().block_on(self.flood_one(rng, stop)));
            }
            let _stop = StopOnDrop(&stop);
            let begun = || (self.refusals.lock().unwrap().sent > 200).then_some(());
            until("the flood has begun", begun);
            meanwhile();
        });
    }

    async fn flood_one(&self, mut rng: ChaCha20Rng, stop: &AtomicBool) {
        let (handle, mut events) = self.connect();
        let mut under_way = 0;
        let mut token = 0;
        while !stop.load(Ordering::Relaxed) {
            while under_way < UNDER_WAY {
                let (plane, frame) = self.anything(&mut rng);
                token += 1;
                under_way += 1;
                let peer = self.victim;
                handle.send(NetworkCommand::Request { token, peer, plane, frame }).await.unwrap();
                let mut head = vec![0; 300];
                rng.fill_bytes(&mut head);
                handle.send(NetworkCommand::Publish(head)).await.unwrap();
                self.refusals.lock().unwrap().sent += 2;
            }
            match tokio::time::timeout(Duration::from_millis(100), events.recv()).await {
                Ok(Some(NetworkEvent::Response { result, .. })) => {
                    under_way -= 1;
                    let outcome = match result {
                        Ok(frame) => refusal_in(&frame).unwrap_or_else(|| "an answer".to_owned()),
                        Err(failure) => failure.to_string(),
                    };
                    *self.refusals.lock().unwrap().outcomes.entry(outcome).or_default() += 1;
                }
                Ok(None) => panic!("the flooder's own network ended"),
                _ => {}
            }
        }
        handle.shutdown().await;
    }

    /// Asks for large answers on many connections and reads none, until `meanwhile` is done.
    fn never_read(&self, meanwhile: impl FnOnce()) {
        let stop = AtomicBool::new(false);
        let begun = AtomicBool::new(false);
        thread::scope(|scope| {
            for connection in 0..CONNECTIONS as u64 {
                let (stop, begun) = (&stop, &begun);
                scope.spawn(move || {
                    let runtime = runtime();
                    let network = runtime.block_on(self.ask_much(connection));
                    begun.store(true, Ordering::Relaxed);
                    // Nothing of this runtime runs now: the connection stands and nobody reads.
                    while !stop.load(Ordering::Relaxed) {
                        thread::sleep(Duration::from_millis(10));
                    }
                    drop(network);
                });
            }
            let _stop = StopOnDrop(&stop);
            until("nobody reads", || begun.load(Ordering::Relaxed).then_some(()));
            meanwhile();
        });
    }

    async fn ask_much(&self, seed: u64) -> (NetworkHandle, mpsc::Receiver<NetworkEvent>) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let (handle, mut events) = self.connect();
        let peer = self.victim;
        let id = self.large.parse().unwrap();
        let frame = self.ask(AskSubject::Pointer { id }, &mut rng);
        let plane = Plane::Ask;
        handle.send(NetworkCommand::Request { token: 0, peer, plane, frame }).await.unwrap();
        let pointer = loop {
            if let Some(NetworkEvent::Response { result, .. }) = events.recv().await {
                break pointer_in(&result.expect("the first ask is answered"));
            }
        };
        let Pointer { key_epoch, locator, .. } = pointer;
        for token in 1..=UNDER_WAY as u64 {
            let subject = AskSubject::Locator { key_epoch, locator, after: None };
            let frame = self.ask(subject, &mut rng);
            handle.send(NetworkCommand::Request { token, peer, plane, frame }).await.unwrap();
        }
        // The asks leave while the first answers are read.
        while let Some(event) = events.recv().await {
            if matches!(event, NetworkEvent::Response { .. }) {
                break;
            }
        }
        (handle, events)
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The sentence of a refusal; a digests answer is no reply of this form.
fn refusal_in(frame: &[u8]) -> Option<String> {
    match codec::decode::<Reply>("reply", frame, limits::ANSWER_FRAME_BYTES_MAX) {
        Ok(Reply::Refused(code)) => Some(code.sentence().to_owned()),
        _ => None,
    }
}

/// The pointer in an answer.
fn pointer_in(frame: &[u8]) -> Pointer {
    let reply = codec::decode("reply", frame, limits::ANSWER_FRAME_BYTES_MAX).unwrap();
    let Reply::Statement(bytes) = reply else { panic!("refused: {:?}", RefusalCode::Busy) };
    let answer = Envelope::parse(Answer::KIND, &bytes, Answer::BYTES_MAX).unwrap();
    let answer: Answer = answer.body().unwrap();
    let pointer = Envelope::parse(Pointer::KIND, &answer.pointers[0], Pointer::BYTES_MAX).unwrap();
    pointer.body().unwrap()
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
