//! A network of real nodes: each an operating-system process with files, sockets and a log.

use std::{
    fs::{self, OpenOptions},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use signpost_keys::keystore::Cost;
use signpost_node::{
    digests::SizeClass,
    runtime::wall_clock,
    setup::{self, API_TOKEN_FILE, Plan, PlannedNode, PlannedOrganization, organization_dir},
    synthetic::Organization,
};
use signpost_protocol::{
    OdsCode,
    roster::{Parameters, Quotas},
};
use tempfile::TempDir;

use crate::client::Client;

/// How long is waited for anything: no test is decided by the time that something takes.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether it has happened.
const POLL: Duration = Duration::from_millis(20);
/// Patients that each node may advertise.
const PATIENTS_MAX: u64 = 20_000;
/// For networks that have more evaluated in minutes than an organization needs in a day.
pub const NO_QUOTAS: Quotas = Quotas { lookups: u32::MAX, publishes: u32::MAX, ..Quotas::STANDARD };

/// Waits until `done` gives something; returns it with the time that it took.
///
/// # Panics
/// When it has not after [`PATIENCE`].
pub fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> (T, Duration) {
    let started = Instant::now();
    loop {
        if let Some(value) = done() {
            return (value, started.elapsed());
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(POLL);
    }
}

/// Sends a signal to a process, as an admin would.
///
/// # Panics
/// When there is no such process.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
    assert!(sent.expect("kill is there").success(), "cannot send {name} to {pid}");
}

/// Whether a process of this id is there.
///
/// # Panics
/// When it cannot be told.
#[must_use]
pub fn is_running(pid: u32) -> bool {
    let mut kill = Command::new("kill");
    let asked = kill.args(["-0", &pid.to_string()]).stderr(Stdio::null()).status();
    asked.expect("kill is there").success()
}

/// `count` free TCP ports.
///
/// Below the range that the system gives to outgoing connections, so that a node finds its port
/// free when it is started again.
///
/// # Panics
/// When so many are not free.
#[must_use]
pub fn free_ports(count: usize) -> Vec<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(97);
    let ports = std::iter::repeat_with(|| {
        let next = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        u16::try_from(10_000 + next % 20_000).expect("below 30,000")
    });
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let free: Vec<_> = ports.take(20_000).filter(free).take(count).collect();
    assert_eq!(free.len(), count, "not enough free ports");
    free
}

/// A process that is killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a program; what it prints goes to the end of `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let output = OpenOptions::new().create(true).append(true).open(log).expect("a log");
        let errors = output.try_clone().expect("a second handle of the log");
        let command = command.stdin(Stdio::piped()).stdout(output).stderr(errors);
        Self { child: command.spawn().expect("the program can be started") }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended; `None` while it runs.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it does not.
    pub fn end(&mut self) -> ExitStatus {
        until("a process ends", || self.ended()).0
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A further organization that a node serves.
pub struct Hosted {
    /// ODS code.
    pub ods: String,
    /// Its name.
    pub name: String,
    /// What its clinical systems use.
    pub client: Client,
}

/// A node and the organization that it serves.
pub struct Node {
    /// ODS code.
    pub ods: String,
    /// Name of the organization.
    pub name: String,
    /// The node's directory.
    pub dir: PathBuf,
    /// Port of its API.
    pub api_port: u16,
    /// Port for other nodes.
    pub peer_port: u16,
    /// What its clinical systems use.
    pub client: Client,
    /// Further organizations that it serves.
    pub hosted: Vec<Hosted>,
    process: Option<Process>,
}

impl Node {
    /// The file with the token of its organization.
    #[must_use]
    pub fn token_file(&self) -> PathBuf {
        token_file(&self.dir, &self.ods)
    }

    /// What it has logged so far, all its lives.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.with_extension("log")).unwrap_or_default()
    }

    /// Its process.
    ///
    /// # Panics
    /// When it was not started, or was stopped.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the node was started")
    }
}

fn token_file(dir: &Path, ods: &str) -> PathBuf {
    let ods = ods.parse().expect("an ODS code");
    organization_dir(dir, &ods).join(API_TOKEN_FILE)
}

/// So many invented organizations: ODS code and name.
#[must_use]
pub fn invented(organizations: usize) -> Vec<(OdsCode, String)> {
    let organizations = Organization::invent(organizations);
    organizations.into_iter().map(|organization| (organization.ods, organization.name)).collect()
}

/// A network of real nodes. Dropping it kills them.
pub struct Federation {
    program: PathBuf,
    log_filter: String,
    nodes: Vec<Node>,
    // Dropped after the nodes.
    _dir: TempDir,
}

impl Federation {
    /// Founds a network of `organizations` in a temporary directory; starts no node.
    ///
    /// `program` is `signpost`; `log_filter` is each node's `RUST_LOG`.
    ///
    /// # Panics
    /// When it cannot be founded.
    #[must_use]
    pub fn found(
        program: &str,
        organizations: usize,
        parameters: Parameters,
        log_filter: &str,
    ) -> Self {
        Self::found_by(program, invented(organizations), parameters, log_filter, PATIENTS_MAX)
    }

    /// The same, of these organizations (ODS code and name), with room for `patients_max` patients in
    /// each node's digest.
    ///
    /// # Panics
    /// When it cannot be founded.
    #[must_use]
    pub fn found_by(
        program: &str,
        organizations: Vec<(OdsCode, String)>,
        parameters: Parameters,
        log_filter: &str,
        patients_max: u64,
    ) -> Self {
        let nodes = organizations.into_iter();
        let nodes = nodes.map(|(ods, name)| vec![PlannedOrganization::new(ods, name)]).collect();
        Self::found_hosting(program, nodes, parameters, log_filter, patients_max)
    }

    /// Founds a network whose evaluators have yet to make its key.
    ///
    /// # Panics
    /// When it cannot be founded.
    #[must_use]
    pub fn found_without_key(
        program: &str,
        organizations: usize,
        parameters: Parameters,
        log_filter: &str,
    ) -> Self {
        let nodes = invented(organizations).into_iter();
        let nodes = nodes.map(|(ods, name)| vec![PlannedOrganization::new(ods, name)]).collect();
        Self::found_as(program, nodes, parameters, log_filter, (PATIENTS_MAX, false))
    }

    /// The same, of nodes that each serve these organizations, at least one.
    ///
    /// # Panics
    /// When it cannot be founded.
    #[must_use]
    pub fn found_hosting(
        program: &str,
        nodes: Vec<Vec<PlannedOrganization>>,
        parameters: Parameters,
        log_filter: &str,
        patients_max: u64,
    ) -> Self {
        Self::found_as(program, nodes, parameters, log_filter, (patients_max, true))
    }

    fn found_as(
        program: &str,
        nodes: Vec<Vec<PlannedOrganization>>,
        parameters: Parameters,
        log_filter: &str,
        (patients_max, deals_key): (u64, bool),
    ) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let ports = free_ports(2 * nodes.len());
        let nodes: Vec<_> = nodes
            .into_iter()
            .zip(ports.chunks(2))
            .map(|(organizations, ports)| PlannedNode {
                dir: dir.path().join(organizations[0].ods.as_str()),
                peer_address: format!("/ip4/127.0.0.1/tcp/{}", ports[1]),
                api_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, ports[0])),
                organizations,
            })
            .collect();
        let plan = Plan {
            network_name: "Test network".to_owned(),
            parameters,
            nodes,
            class_max: SizeClass::for_locators(patients_max).expect("few").number(),
            cost: Cost::weak_for_tests(),
            deals_key,
        };
        let mut rng = ChaCha20Rng::seed_from_u64(ports[0].into());
        setup::found(&plan, wall_clock(), &mut rng).expect("the plan is sound");
        let nodes = plan.nodes.into_iter().zip(ports.chunks(2)).map(|(planned, ports)| {
            let base = format!("http://127.0.0.1:{}", ports[0]);
            let served = planned.organizations.into_iter().map(|organization| {
                let ods = organization.ods.to_string();
                let token = fs::read_to_string(token_file(&planned.dir, &ods)).expect("a token");
                let client = Client::new(base.clone(), token.trim().to_owned());
                Hosted { ods, name: organization.name, client }
            });
            let mut served: Vec<_> = served.collect();
            let Hosted { ods, name, client } = served.remove(0);
            Node {
                ods,
                name,
                client,
                hosted: served,
                dir: planned.dir,
                api_port: ports[0],
                peer_port: ports[1],
                process: None,
            }
        });
        let (program, log_filter) = (program.into(), log_filter.to_owned());
        Self { program, log_filter, nodes: nodes.collect(), _dir: dir }
    }

    /// Founds a network with the usual durations, starts all nodes, and waits until each has the
    /// digest of every other.
    #[must_use]
    pub fn running(program: &str, organizations: usize) -> Self {
        let mut federation = Self::found(program, organizations, Parameters::STANDARD, "info");
        (0..organizations).for_each(|n| federation.start(n));
        federation.await_fresh();
        federation
    }

    /// How many nodes there are.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a network has nodes")]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The node at a position, from 0.
    #[must_use]
    pub fn node(&self, n: usize) -> &Node {
        &self.nodes[n]
    }

    /// The node at a position, with its process.
    pub fn node_mut(&mut self, n: usize) -> &mut Node {
        &mut self.nodes[n]
    }

    /// The client of the node at a position.
    #[must_use]
    pub fn client(&self, n: usize) -> &Client {
        &self.nodes[n].client
    }

    /// The command that runs the node at a position.
    #[must_use]
    pub fn command(&self, n: usize) -> Command {
        let mut command = Command::new(&self.program);
        // The nodes stop when this process ends, however it does.
        command.arg("run").arg("--dir").arg(&self.nodes[n].dir).arg("--stop-with-stdin");
        command.env("RUST_LOG", &self.log_filter);
        command
    }

    /// Starts a node, without waiting for it.
    pub fn start(&mut self, n: usize) {
        let log = self.nodes[n].dir.with_extension("log");
        self.nodes[n].process = Some(Process::start(&mut self.command(n), &log));
    }

    /// SIGKILL; returns when the process is gone.
    pub fn kill(&mut self, n: usize) {
        self.nodes[n].process().kill();
        self.nodes[n].process = None;
    }

    /// Whether a node was started and not stopped; it may have ended by itself.
    #[must_use]
    pub fn is_running(&self, n: usize) -> bool {
        self.nodes[n].process.is_some()
    }

    /// Waits until a node says that it is ready; returns how long that took.
    ///
    /// # Panics
    /// When it ends instead.
    pub fn await_ready(&mut self, n: usize) -> Duration {
        let node = &mut self.nodes[n];
        let (_, took) = until(&format!("{} is ready", node.ods), || {
            let ended = node.process.as_mut().and_then(Process::ended);
            assert!(ended.is_none(), "{} ended with {ended:?}:\n{}", node.ods, node.log());
            node.client.is_ready().then_some(())
        });
        took
    }

    /// Waits until every running node is ready and has a fresh digest of every other running one.
    ///
    /// # Panics
    /// When one ends, or it takes too long.
    pub fn await_fresh(&mut self) {
        let running: Vec<_> = (0..self.nodes.len()).filter(|n| self.is_running(*n)).collect();
        let codes: Vec<_> = running.iter().map(|n| self.nodes[*n].ods.clone()).collect();
        for n in running {
            self.await_ready(n);
            let node = &self.nodes[n];
            until(&format!("{} has every digest", node.ods), || {
                let peers = node.client.status()?.peers;
                let mut peers = peers.iter().filter(|peer| codes.contains(&peer.ods));
                peers.all(|peer| peer.digest == "fresh" && peer.connected).then_some(())
            });
        }
    }
}
