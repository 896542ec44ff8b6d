//! A running node: the core on a thread of its own, and the shells around it.
//!
//! | thread or task | does |
//! |---|---|
//! | `signpost-core` | [`crate::core::Core`], one event at a time; applies writes |
//! | `committer` | makes writes durable in groups, then lets out what waited for them |
//! | `signpost-blobs`, `signpost-filters` | disk work on digests |
//! | network task | libp2p |
//! | API tasks | HTTP |

mod driver;
mod outgoing;
mod workers;

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    thread::JoinHandle,
    time::Instant,
};

use signpost_keys::{Roster, StorageKey};
use signpost_protocol::Timestamp;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle as Task,
};
use tracing::{info, warn};
use zeroize::Zeroizing;

use self::{
    driver::{Continuation, Driver, Inputs},
    outgoing::{Outgoing, member},
};
use crate::{
    api,
    config::Config,
    core::{Core, Me, Policy, Served},
    digests::Blobs,
    fhir::purpose::{RULE, purpose},
    handle::NodeHandle,
    network::{
        self, FrameTap, Multiaddr, NetworkConfig, NetworkError, NetworkEvent, NetworkHandle,
        Transport,
    },
    setup::{Identity, ServedIdentity},
    store::{Committer, DisclosureLog, MemoryStore, SledStore, Store, StoreError},
};

/// Events of peers that are quicker than our own listeners; more than that, and the addresses shown
/// may be incomplete.
const EARLY_EVENTS_MAX: usize = 64;
/// Results of disk work on their way to the core.
const DONE_MAX: usize = 256;

/// Why a node does not run, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The store or the disclosure log cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The API's address cannot be listened on.
    #[error("cannot listen for clinical systems on {address}: {source}")]
    Api {
        /// As configured.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A value in the configuration cannot be used.
    #[error("the configuration's {key}: {reason}")]
    Config {
        /// Which.
        key: &'static str,
        /// Why.
        reason: String,
    },
    /// The system refuses a thread or a directory.
    #[error("cannot start: {0}")]
    Start(#[from] std::io::Error),
    /// The node stopped because it could not go on.
    #[error("the node stopped: {0}")]
    Stopped(String),
}

/// What a node needs to run. [`NodeOptions::new`] fits a node's directory; the rest is for tests
/// and embedding programs.
pub struct NodeOptions {
    identity: Identity,
    store: Option<Arc<dyn Store>>,
    transport: Transport,
    tap: Option<FrameTap>,
}

impl NodeOptions {
    /// The node that lives in `identity`'s directory.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self { identity, store: None, transport: Transport::Tcp, tap: None }
    }

    /// Keeps pointers in `store` instead of the directory's own.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Keeps pointers in memory: they are gone when the node stops.
    #[must_use]
    pub fn in_memory(self) -> Self {
        self.store(Arc::new(MemoryStore::new()))
    }

    /// Connects by other means than TCP.
    #[must_use]
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Shows every frame to `tap`.
    #[must_use]
    pub fn tap(mut self, tap: FrameTap) -> Self {
        self.tap = Some(tap);
        self
    }
}

impl fmt::Debug for NodeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeOptions").field("dir", &self.identity.dir).finish_non_exhaustive()
    }
}

/// A running node. Dropping it stops it; [`Node::shutdown`] also waits.
pub struct Node {
    handle: NodeHandle,
    api_address: SocketAddr,
    peer_addresses: Vec<String>,
    stop: watch::Sender<bool>,
    fault: watch::Receiver<Option<String>>,
    core: Option<JoinHandle<()>>,
    api: Option<Task<()>>,
    network: NetworkHandle,
}

impl Node {
    /// Starts a node: opens its store, listens for peers and clinical systems, begins to connect.
    ///
    /// # Errors
    /// When something it needs is not to be had; nothing is left running then.
    pub async fn spawn(options: NodeOptions) -> Result<Self, NodeError> {
        let NodeOptions { identity, store, transport, tap } = options;
        let Identity {
            statements,
            roster,
            served,
            node,
            transport: transport_key,
            storage,
            evaluator_share,
            config,
            dir,
            ..
        } = identity;
        let store = match store {
            Some(store) => store,
            None => open_store(&dir, &config)?,
        };
        let disclosures = Arc::new(DisclosureLog::open(dir.join("disclosures"))?);
        let digests = dir.join("digests");
        let blobs = Blobs::open(&digests).map_err(|error| StoreError::from_io(&digests, error))?;
        let blobs = Arc::new(blobs);
        let address = config.api.listen;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| NodeError::Api { address, source })?;
        let api_address = listener.local_addr()?;
        let transport_secret = transport_key.expose_seed();
        let (network, mut network_events) = network::spawn(NetworkConfig {
            transport_secret,
            network: roster.network(),
            transport,
            listen: listen_addresses(&config)?,
            members: members(&roster),
            tap,
            request_timeout: None,
        })?;
        let (peer_addresses, early) =
            first_addresses(&mut network_events, config.peer.listen.len()).await;
        let (done_sender, done_receiver) = mpsc::channel(DONE_MAX);
        let outgoing = Outgoing::new(network.clone());
        let (fault_sender, fault) = watch::channel(None);
        let fault_sender = Arc::new(fault_sender);
        let committer = {
            let (store, disclosures) = (store.clone(), disclosures.clone());
            let (outgoing, fault) = (outgoing.clone(), fault_sender.clone());
            Committer::spawn(
                move || {
                    store.flush()?;
                    disclosures.sync()
                },
                move |outcome: crate::store::Outcome<Continuation>| {
                    let Continuation { then, otherwise } = outcome.item;
                    futures::executor::block_on(async {
                        match outcome.result {
                            Ok(()) => {
                                for action in then {
                                    outgoing.send(action).await;
                                }
                            }
                            Err(error) => {
                                let error = error.to_string();
                                outgoing.send_instead(otherwise, &error).await;
                                fault.send_replace(Some(error));
                            }
                        }
                    });
                },
            )?
        };
        let lifeline = |work| workers::Lifeline::new(work, &fault_sender);
        let done = (done_sender.clone(), done_sender);
        let blob_jobs =
            workers::blobs(blobs.clone(), network.clone(), done.0, lifeline("parts of digests"))?;
        let filter_jobs =
            workers::filters(store.clone(), blobs.clone(), done.1, lifeline("filters"))?;
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(|error| NodeError::Start(error.into()))?;
        let organizations: Vec<_> = served.iter().map(|served| served.organization).collect();
        let (handle, calls) = NodeHandle::channel(&organizations);
        let state = api_state(handle.clone(), &served, &config)?;
        let serves = summary(&served);
        let me = Me {
            node,
            transport: transport_key,
            served: served.into_iter().map(core_served).collect(),
            share: evaluator_share,
            storage: StorageKey::new(storage),
        };
        let purposes = config.disclosure.purposes.iter().filter_map(|text| purpose(text));
        let policy = Policy { purposes: purposes.map(str::to_owned).collect() };
        let driver = Driver {
            core: Core::new(me, statements, policy, *seed),
            store,
            disclosures,
            committer,
            blobs,
            outgoing,
            blob_jobs,
            filter_jobs,
            blobs_waiting: VecDeque::new(),
            filters_waiting: VecDeque::new(),
            started: Instant::now(),
            next_ticket: 0,
            fault: fault_sender,
        };
        let (stop, stopped) = watch::channel(false);
        let inputs = Inputs {
            early,
            network: network_events,
            calls,
            done: done_receiver,
            stop: stopped.clone(),
        };
        let core =
            std::thread::Builder::new().name("signpost-core".to_owned()).spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
                match runtime {
                    Ok(runtime) => runtime.block_on(driver.run(inputs)),
                    Err(error) => driver.fail(error.to_string()),
                }
            })?;
        let api = tokio::spawn(api::serve(listener, api::router(state), async move {
            let mut stopped = stopped;
            let _ = stopped.wait_for(|stopped| *stopped).await;
        }));
        info!(serves, api = %api_address, peer = ?peer_addresses, "the node is running");
        Ok(Self {
            handle,
            api_address,
            peer_addresses,
            stop,
            fault,
            core: Some(core),
            api: Some(api),
            network,
        })
    }

    /// How to ask the node things from within this process.
    #[must_use]
    pub fn handle(&self) -> NodeHandle {
        self.handle.clone()
    }

    /// Where clinical systems reach it.
    #[must_use]
    pub const fn api_address(&self) -> SocketAddr {
        self.api_address
    }

    /// Where other nodes reach it, as multiaddrs without the peer id.
    #[must_use]
    pub fn peer_addresses(&self) -> Vec<String> {
        self.peer_addresses.clone()
    }

    /// Waits until the node stops by itself because it cannot go on.
    ///
    /// # Errors
    /// Always ends in one: the reason.
    pub async fn stopped(&self) -> Result<(), NodeError> {
        let mut fault = self.fault.clone();
        match fault.wait_for(Option::is_some).await {
            Ok(fault) => Err(NodeError::Stopped(fault.clone().unwrap_or_default())),
            Err(_) => Err(NodeError::Stopped("its core has ended".to_owned())),
        }
    }

    /// Stops taking requests, makes durable what was begun, and closes all connections.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if let Some(api) = self.api.take()
            && let Err(error) = api.await
        {
            warn!(%error, "the API did not stop cleanly");
        }
        if let Some(core) = self.core.take() {
            // Joining blocks while the committer drains; do so away from the async tasks.
            let joined = tokio::task::spawn_blocking(move || core.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                warn!("the core did not stop cleanly");
            }
        }
        self.network.shutdown().await;
        info!("the node has stopped");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("api", &self.api_address).finish_non_exhaustive()
    }
}

fn api_state(
    handle: NodeHandle,
    served: &[ServedIdentity],
    config: &Config,
) -> Result<api::ApiState, NodeError> {
    let fault = |key, reason: &str| NodeError::Config { key, reason: reason.to_owned() };
    let settings =
        api::Settings::new(&config.api).ok_or_else(|| fault("api.default_purpose", RULE))?;
    let tokens = served.iter().map(|served| (served.organization, &*served.api_token));
    let tokens = api::ApiTokens::new(tokens).ok_or_else(|| {
        fault("api.token", "a file of that name holds no usable token, or that of another")
    })?;
    Ok(api::ApiState { handle, tokens, settings })
}

fn core_served(served: ServedIdentity) -> Served {
    let ServedIdentity { organization, ods, name, pointer, .. } = served;
    Served { organization, ods, name, pointer }
}

/// Whom the node serves, in a few words.
fn summary(served: &[ServedIdentity]) -> String {
    match served {
        [ServedIdentity { ods, name, .. }] => format!("{ods} {name}"),
        _ => format!("{} organizations", served.len()),
    }
}

fn open_store(dir: &std::path::Path, config: &Config) -> Result<Arc<dyn Store>, NodeError> {
    let path: PathBuf = dir.join("store");
    let cache_bytes = config.store.cache_mib * 1024 * 1024;
    Ok(Arc::new(SledStore::open(path, cache_bytes)?))
}

fn listen_addresses(config: &Config) -> Result<Vec<Multiaddr>, NodeError> {
    let parse = |text: &String| {
        text.parse().map_err(|error| NodeError::Config {
            key: "peer.listen",
            reason: format!("{text} is no multiaddr: {error}"),
        })
    };
    config.peer.listen.iter().map(parse).collect()
}

/// Every node of every admitted member, by each of its transport keys; the core says more precisely
/// who is let in once it has started. A node that serves many organizations counts once.
fn members(roster: &Roster) -> Vec<network::Member> {
    let mut seen = BTreeSet::new();
    let nodes = roster.admitted().flat_map(|member| &member.nodes);
    nodes
        .flat_map(|node| node.transport.iter().map(|listed| member(listed.key, &node.addresses)))
        .filter(|member| seen.insert(member.key))
        .collect()
}

/// The addresses that the network reports first, one for each that was configured (more when one
/// means every interface), and what else happened meanwhile. Listening has begun already; only the
/// ports are waited for.
async fn first_addresses(
    events: &mut mpsc::Receiver<NetworkEvent>,
    configured: usize,
) -> (Vec<String>, Vec<NetworkEvent>) {
    let mut addresses = Vec::new();
    let mut early = Vec::new();
    while addresses.len() < configured && early.len() < EARLY_EVENTS_MAX {
        match events.recv().await {
            Some(NetworkEvent::Listening { address }) => addresses.push(address.to_string()),
            Some(NetworkEvent::ListenFailed { .. }) | None => break,
            Some(event) => early.push(event),
        }
    }
    (addresses, early)
}

/// The instant as the wall clock has it.
#[must_use]
pub fn wall_clock() -> Timestamp {
    let unix =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(unix.as_millis()).unwrap_or(u64::MAX))
}
