//! Two hundred connections from those who are no members: with libp2p keys of their own, some silent,
//! some asking for what is not theirs; and with nothing but a socket, silent or sending garbage.
//!
//! Members connect and are served as ever, results stay complete, the strangers get `hello` and
//! nothing else, and the node's open files stay bounded.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use rand_core::Rng as _;
use signpost_keys::SecretKey;
use signpost_node::{
    network::{
        self, Member, NetworkCommand, NetworkConfig, NetworkEvent, Plane, RequestFailure, Transport,
    },
    runtime::wall_clock,
    setup,
};
use signpost_protocol::{NetworkId, PublicKey, codec, hello::HelloRequest, roster::Parameters};
use signpost_tests::{
    client::{patient, record},
    processes::{Federation, until},
};

use crate::{PROGRAM, counts::Counts};

const VICTIM: usize = 0;
const OTHER: usize = 1;
/// Is started while the strangers are there.
const LATE: usize = 2;
const NODES: usize = 3;
/// Strangers with keys, and with sockets only: two hundred together.
const KEYED: usize = 140;
const SOCKETS: usize = 60;
/// Before a socket that was closed is opened again.
const PAUSE: Duration = Duration::from_millis(50);
/// Look-ups while they are there, and at least this long.
const LOOK_UPS: u32 = 60;
const AT_LEAST: Duration = Duration::from_secs(15);
/// Files that the victim may have open: the 64 strangers' connections and 64 handshakes that it
/// allows, as many that are being closed, and its own.
const FILES_MAX: usize = 64 + 64 + 64 + 128;

/// Lines that the strangers may add to the victim's log: one a second would still be few.
const LOG_LINES_MAX: usize = 100;

#[derive(Default)]
struct Seen {
    hellos: AtomicU64,
    refused: AtomicU64,
    connections: AtomicU64,
    /// What a stranger got and should not have.
    leaks: Mutex<Vec<String>>,
}

pub(crate) fn run(counts: &mut Counts, rng: &mut ChaCha20Rng) {
    let mut federation = Federation::found(PROGRAM, NODES, Parameters::STANDARD, "info");
    (0..NODES).for_each(|n| federation.start(n));
    federation.await_fresh();
    let create = |federation: &Federation, n: u32| {
        let node = federation.node(VICTIM);
        node.client.created(&record(&node.ods, &patient(n), "https://records.example/1"))
    };
    let mut held: Vec<String> = (0..LOOK_UPS).map(|n| create(&federation, n)).collect();
    until("the last record is found", || {
        let reply = federation.client(OTHER).search(&patient(LOOK_UPS - 1));
        (!reply.ids().is_empty()).then_some(())
    });
    federation.kill(LATE);

    let pid = federation.node_mut(VICTIM).process().id();
    let files = || fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let (before, mut most) = (files(), 0);
    let lines = log_lines(&federation);
    let identity = setup::open(&federation.node(VICTIM).dir).unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", federation.node(VICTIM).peer_port);
    let victim =
        Member { key: identity.transport.public(), addresses: vec![address.parse().unwrap()] };
    let (stop, seen) = (AtomicBool::new(false), Seen::default());
    thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        let (stop, seen, victim) = (&stop, &seen, &victim);
        let network = identity.roster.network();
        let (seed, port) = (rng.next_u64(), federation.node(VICTIM).peer_port);
        scope.spawn(move || keyed_strangers(victim, network, seed, stop, seen));
        for n in 0..SOCKETS {
            scope.spawn(move || socket(port, n, stop, seen));
        }
        counts.faults = (KEYED + SOCKETS) as u64;
        let all_tried =
            || (seen.connections.load(Ordering::Relaxed) >= counts.faults).then_some(());
        until("every stranger has tried", all_tried);
        until("strangers got their hello", || {
            (seen.hellos.load(Ordering::Relaxed) > 10).then_some(())
        });

        // A member comes back, and is served and found like before.
        federation.start(LATE);
        let late = federation.await_ready(LATE);
        federation.await_fresh();
        println!("a member started among the strangers: ready after {late:.1?}");
        held.push(create(&federation, LOOK_UPS));
        let started = Instant::now();
        let mut n = 0;
        while n < LOOK_UPS || started.elapsed() < AT_LEAST {
            most = most.max(files());
            let at = n % LOOK_UPS;
            for asker in [OTHER, LATE] {
                let reply = federation.client(asker).search(&patient(at));
                reply.assert_complete();
                counts.complete += 1;
                if !reply.ids().contains(&held[at as usize]) {
                    counts.wrong(format!("complete without {}", held[at as usize]));
                }
            }
            n += 1;
        }
        let (_, took) = until("a record made among the strangers is found", || {
            let reply = federation.client(LATE).search(&patient(LOOK_UPS));
            reply.ids().contains(&held[LOOK_UPS as usize]).then_some(())
        });
        println!("a record made among the strangers is found after {took:.1?}");
    });
    counts.acknowledged = held.len() as u64;
    let lines = log_lines(&federation) - lines;
    println!(
        "{} connections of strangers, {} hellos, {} requests refused; {before} files open before, \
         {most} at the most; {lines} lines of log",
        seen.connections.into_inner(),
        seen.hellos.into_inner(),
        seen.refused.load(Ordering::Relaxed),
    );
    let leaks = seen.leaks.into_inner().unwrap();
    assert!(leaks.is_empty(), "strangers got {leaks:?}");
    assert!(seen.refused.into_inner() > 10, "too few strangers asked for more");
    assert!(most < FILES_MAX, "{most} files");
    let log = federation.node(VICTIM).log();
    let last: Vec<_> = log.lines().rev().filter(|line| is_of_peers(line)).take(20).collect();
    assert!(lines < LOG_LINES_MAX, "{lines} lines of log, the last: {last:#?}");
    for (n, id) in (0..).zip(&held) {
        if !federation.client(VICTIM).search(&patient(n)).ids().contains(id) {
            counts.lost(id.clone());
        }
    }
}

/// Whether a line of a log is about something else than the node's own clinical systems.
fn is_of_peers(line: &str) -> bool {
    !line.contains("signpost_node::api::guard")
}

fn log_lines(federation: &Federation) -> usize {
    federation.node(VICTIM).log().lines().filter(|line| is_of_peers(line)).count()
}

/// Strangers with keys, who come back whenever they are sent away. Of three, one is silent, one says
/// hello, one asks for what members ask for.
fn keyed_strangers(victim: &Member, network: NetworkId, seed: u64, stop: &AtomicBool, seen: &Seen) {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let strangers = (0..KEYED).map(|n| {
            let mut secret = [0; 32];
            rng.fill_bytes(&mut secret);
            stranger(victim, network, SecretKey::from_seed(&secret), n, stop, seen)
        });
        futures::future::join_all(strangers).await;
    });
}

async fn stranger(
    victim: &Member,
    network: NetworkId,
    key: SecretKey,
    n: usize,
    stop: &AtomicBool,
    seen: &Seen,
) {
    let (handle, mut events) = network::spawn(NetworkConfig {
        transport_secret: key.expose_seed(),
        network,
        transport: Transport::Tcp,
        listen: Vec::new(),
        members: vec![victim.clone()],
        tap: None,
        request_timeout: None,
    })
    .unwrap();
    let mut token = 0;
    while !stop.load(Ordering::Relaxed) {
        token += 1;
        let command = match n % 3 {
            0 => NetworkCommand::Connect(victim.key),
            1 => request(victim.key, token, Plane::Hello, hello(network)),
            _ => {
                let plane = [Plane::Ask, Plane::Evaluate, Plane::Digests, Plane::Roster][n / 3 % 4];
                request(victim.key, token, plane, vec![0x81, 0x00])
            }
        };
        if n.is_multiple_of(3) {
            seen.connections.fetch_add(1, Ordering::Relaxed);
        }
        handle.send(command).await.unwrap();
        handle.send(NetworkCommand::Publish(vec![n as u8; 100])).await.unwrap();
        let pause = tokio::time::sleep(Duration::from_millis(200 + 10 * n as u64));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                event = events.recv() => match event {
                    Some(NetworkEvent::Response { result, .. }) => {
                        seen.connections.fetch_add(1, Ordering::Relaxed);
                        note(n, result, seen);
                    }
                    Some(NetworkEvent::Gossip { .. }) => {
                        seen.leaks.lock().unwrap().push("gossip".to_owned());
                    }
                    Some(NetworkEvent::Request { plane, .. }) => {
                        seen.leaks.lock().unwrap().push(format!("a request on {}", plane.name()));
                    }
                    Some(_) => {}
                    None => panic!("a stranger's own network ended"),
                }
            }
        }
    }
    handle.shutdown().await;
}

fn request(peer: PublicKey, token: u64, plane: Plane, frame: Vec<u8>) -> NetworkCommand {
    NetworkCommand::Request { token, peer, plane, frame }
}

/// What a node asks first of all.
fn hello(network: NetworkId) -> Vec<u8> {
    let versions = codec::Bounded::new(vec![1]).unwrap();
    codec::encode(&HelloRequest { versions, network, now: wall_clock(), joining: None })
}

fn note(n: usize, result: Result<Vec<u8>, RequestFailure>, seen: &Seen) {
    match (n % 3, result) {
        (1, Ok(_)) => drop(seen.hellos.fetch_add(1, Ordering::Relaxed)),
        (_, Ok(frame)) => {
            seen.leaks.lock().unwrap().push(format!("an answer of {} bytes", frame.len()));
        }
        (_, Err(_)) => drop(seen.refused.fetch_add(1, Ordering::Relaxed)),
    }
}

/// A stranger with nothing but a socket: silent, or sending what is no handshake.
fn socket(port: u16, n: usize, stop: &AtomicBool, seen: &Seen) {
    while !stop.load(Ordering::Relaxed) {
        seen.connections.fetch_add(1, Ordering::Relaxed);
        thread::sleep(PAUSE);
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut buffer = [0; 1024];
        loop {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            if n % 2 == 1 && stream.write_all(&[n as u8; 64]).is_err() {
                break;
            }
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
    }
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
