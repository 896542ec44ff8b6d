//! A federation in one process with a tap on every stream, its logs, and a plain HTTP client.
//!
//! The client is written out here because a library would write its own requests, numbers and all,
//! to the very logs that are searched.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use serde_json::Value;
use signpost_keys::keystore::Cost;
use signpost_node::{
    digests::SizeClass,
    network::{FrameTap, Traffic},
    runtime::{Node, NodeOptions, wall_clock},
    setup::{self, Plan, PlannedNode, PlannedOrganization},
};
use signpost_protocol::roster::Parameters;

/// Long enough for a busy machine; only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(60);

type Frames = Arc<Mutex<Vec<(Traffic, Vec<u8>)>>>;

pub(crate) struct Federation {
    nodes: Vec<Option<Node>>,
    https: Vec<Http>,
    dirs: Vec<PathBuf>,
    frames: Frames,
}

impl Federation {
    pub(crate) async fn start(dir: &Path, count: usize) -> Self {
        // All are held until all are chosen, so that no two are the same.
        let listeners: Vec<TcpListener> =
            (0..2 * count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        let ports: Vec<u16> = listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
        drop(listeners);
        let nodes: Vec<_> = (0..count)
            .map(|at| PlannedNode {
                organizations: vec![PlannedOrganization::new(
                    format!("ORG{at}").parse().unwrap(),
                    format!("Organization {at}"),
                )],
                dir: dir.join(format!("ORG{at}")),
                peer_address: format!("/ip4/127.0.0.1/tcp/{}", ports[at]),
                api_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, ports[count + at])),
            })
            .collect();
        let plan = Plan {
            network_name: "leak hunt".to_owned(),
            parameters: Parameters::STANDARD,
            nodes,
            class_max: SizeClass::for_locators(1_000).unwrap().number(),
            cost: Cost::weak_for_tests(),
            deals_key: true,
        };
        setup::found(&plan, wall_clock(), &mut ChaCha20Rng::seed_from_u64(7)).unwrap();
        let mut federation = Self {
            nodes: (0..count).map(|_| None).collect(),
            https: Vec::new(),
            dirs: plan.nodes.iter().map(|node| node.dir.clone()).collect(),
            frames: Frames::default(),
        };
        for node in &plan.nodes {
            let token = setup::open(&node.dir).unwrap().served.remove(0).api_token;
            federation.https.push(Http { address: node.api_listen, token });
        }
        for at in 0..count {
            federation.restart(at).await;
        }
        federation
    }

    pub(crate) async fn restart(&mut self, at: usize) {
        let frames = self.frames.clone();
        let tap: FrameTap = Arc::new(move |seen| {
            frames.lock().unwrap().push((seen.traffic, seen.bytes.to_vec()));
        });
        let options = NodeOptions::new(setup::open(&self.dirs[at]).unwrap()).tap(tap);
        self.nodes[at] = Some(Node::spawn(options).await.unwrap());
    }

    pub(crate) async fn stop(&mut self, at: usize) {
        self.nodes[at].take().unwrap().shutdown().await;
    }

    /// Waits until every node is connected to every other and has its digest.
    pub(crate) fn settle(&self) {
        tokio::task::block_in_place(|| {
            for http in &self.https {
                eventually("a settled federation", || {
                    let status = http.send("GET", "/signpost/v1/status", &[], "").json();
                    let peers = status["peers"].as_array().unwrap().iter();
                    status["ready"] == true
                        && peers.clone().all(|peer| peer["digest"] == "fresh")
                        && peers.clone().all(|peer| peer["connected"] == true)
                });
            }
        });
    }

    pub(crate) fn http(&self, at: usize) -> Http {
        self.https[at].clone()
    }

    pub(crate) fn frames(&self) -> Vec<(Traffic, Vec<u8>)> {
        self.frames.lock().unwrap().clone()
    }
}

pub(crate) fn eventually(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "no {what} after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The way to one node's API.
#[derive(Clone)]
pub(crate) struct Http {
    address: SocketAddr,
    token: String,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: String,
    pub(crate) body: String,
}

impl Http {
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let given = |name: &str| headers.iter().any(|(known, _)| *known == name);
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        head += &format!("connection: close\r\ncontent-length: {}\r\n", body.len());
        if !given("authorization") {
            head += &format!("authorization: Bearer {}\r\n", self.token);
        }
        if !given("content-type") && !body.is_empty() {
            head += "content-type: application/fhir+json\r\n";
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (headers, body) = reply.split_once("\r\n\r\n").expect("a header and a body");
        let status = headers.split(' ').nth(1).and_then(|status| status.parse().ok());
        Reply {
            status: status.expect("a status line"),
            headers: headers.to_owned(),
            body: body.to_owned(),
        }
    }
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let lines = self.headers.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.to_owned())
    }
}

static LOGS: OnceLock<Arc<Mutex<Vec<u8>>>> = OnceLock::new();

struct Capture(Arc<Mutex<Vec<u8>>>);

impl io::Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps every log line of this process from now on, down to `trace`, of every library.
pub(crate) fn capture_logs() {
    let logs = LOGS.get_or_init(Arc::default).clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(move || Capture(logs.clone()))
        .try_init()
        .unwrap();
}

pub(crate) fn captured_logs() -> Vec<u8> {
    LOGS.get().unwrap().lock().unwrap().clone()
}
