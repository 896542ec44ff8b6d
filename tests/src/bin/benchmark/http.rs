//! An HTTP client for one request after the other, and for many at a time.
//!
//! The same client drives the node and its floor, so that what it costs itself is in both.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use axum::body::{Body, Bytes};
use hyper::{Request, Response, body::Incoming, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use signpost_protocol::PatientIdentifier;
use signpost_tests::processes::Node;
use tokio::{net::TcpStream, runtime::Runtime};

/// A reply longer than this is none that is expected here.
const REPLY_BYTES_MAX: usize = 1024 * 1024;

/// Where requests go.
#[derive(Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    token: String,
}

/// A request, and what its reply must be.
#[derive(Clone)]
pub(crate) struct Call {
    method: &'static str,
    path: String,
    body: Bytes,
    status: u16,
    /// Whether the result has to be complete, and how many matches it has to have.
    matches: Option<usize>,
}

/// What many requests at a time came to.
pub(crate) struct Outcome {
    /// Requests in a second.
    pub(crate) rate: f64,
}

impl Target {
    pub(crate) fn node(node: &Node) -> anyhow::Result<Self> {
        let token = std::fs::read_to_string(node.token_file())?;
        let address = SocketAddr::from(([127, 0, 0, 1], node.api_port));
        Ok(Self { address, token: token.trim().to_owned() })
    }

    pub(crate) fn floor(address: &str) -> anyhow::Result<Self> {
        Ok(Self { address: address.parse()?, token: "of-no-consequence-to-it".to_owned() })
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (requests, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the connection; what went wrong is seen by the request.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Connection { target: self.clone(), requests })
    }
}

impl Call {
    /// A look-up that must be complete and find so many pointers.
    pub(crate) fn search(patient: &PatientIdentifier, matches: usize) -> Self {
        let system = patient.system().uri().replace(':', "%3A").replace('/', "%2F");
        let path = format!(
            "/fhir/R4/DocumentReference?subject:identifier={system}%7C{}",
            patient.expose_digits()
        );
        Self { method: "GET", path, body: Bytes::new(), status: 200, matches: Some(matches) }
    }

    /// A pointer to be made.
    pub(crate) fn create(resource: String) -> Self {
        let path = "/fhir/R4/DocumentReference".to_owned();
        Self { method: "POST", path, body: resource.into(), status: 201, matches: None }
    }

    /// A request to a handler that does nothing, as long as a search.
    pub(crate) fn nothing(like: &Self) -> Self {
        Self { status: 200, matches: None, ..like.clone() }
    }
}

/// One connection, kept open.
pub(crate) struct Connection {
    target: Target,
    requests: SendRequest<Body>,
}

impl Connection {
    /// From sending to the last byte of the reply, which must be what the call expects.
    pub(crate) async fn call(&mut self, call: &Call) -> anyhow::Result<Duration> {
        let request = Request::builder()
            .method(call.method)
            .uri(&call.path)
            .header("Host", "localhost")
            .header("Authorization", format!("Bearer {}", self.target.token))
            .header("Content-Type", "application/fhir+json")
            .header("Signpost-Deadline", "20000")
            .body(Body::from(call.body.clone()))?;
        let started = Instant::now();
        self.requests.ready().await?;
        let reply: Response<Incoming> = self.requests.send_request(request).await?;
        let status = reply.status().as_u16();
        let complete = reply.headers().get("signpost-completeness").cloned();
        let body = axum::body::to_bytes(Body::new(reply.into_body()), REPLY_BYTES_MAX).await?;
        let took = started.elapsed();
        let text = || String::from_utf8_lossy(&body).into_owned();
        anyhow::ensure!(status == call.status, "{} {}: {}", call.method, status, text());
        if let Some(matches) = call.matches {
            let total = format!("\"total\":{matches}");
            let whole = complete.is_some_and(|complete| complete == "complete");
            anyhow::ensure!(whole && text().contains(&total), "not {matches}: {}", text());
        }
        Ok(took)
    }
}

/// The client's threads.
pub(crate) struct Http(Runtime);

impl Http {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map(Self).context("cannot start the client")
    }

    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.0.block_on(work)
    }

    /// Sends requests over so many connections for so long; each connection sends its next when it
    /// has its reply. Any reply that is not what was expected is an error.
    pub(crate) fn load(
        &self,
        target: &Target,
        connections: usize,
        time: Duration,
        call: impl Fn(u64) -> Call + Send + Sync + 'static,
    ) -> anyhow::Result<Outcome> {
        let call = Arc::new(call);
        let next = Arc::new(AtomicU64::new(0));
        self.wait(async {
            let mut open = Vec::new();
            for _ in 0..connections {
                open.push(target.connect().await?);
            }
            let started = Instant::now();
            let workers: Vec<_> = open
                .into_iter()
                .map(|mut connection| {
                    let (call, next) = (call.clone(), next.clone());
                    tokio::spawn(async move {
                        let mut done = 0_u64;
                        while started.elapsed() < time {
                            let call = call(next.fetch_add(1, Ordering::Relaxed));
                            connection.call(&call).await?;
                            done += 1;
                        }
                        anyhow::Ok(done)
                    })
                })
                .collect();
            let mut done = 0;
            for worker in workers {
                done += worker.await??;
            }
            Ok(Outcome { rate: done as f64 / started.elapsed().as_secs_f64() })
        })
    }
}
