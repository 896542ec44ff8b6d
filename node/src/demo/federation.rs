//! The demonstration's nodes: founded together, each a process of its own, started, watched and
//! stopped from here.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::{
    Interrupt,
    client::Client,
    processes::{Process, stop_all, tail},
    progress::Step,
};

/// Time for all nodes to start and to have each other's digests. Normally two seconds; an
/// unoptimized build of twenty nodes on a small machine needs most of this.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How often a starting node is looked at.
const START_POLL: Duration = Duration::from_millis(100);

/// What it takes to run one node. No `Debug`: it holds the token.
#[derive(Clone)]
pub(super) struct NodeSpec {
    /// ODS code of its organization.
    pub(super) ods: String,
    /// Name of its organization.
    pub(super) name: String,
    /// Its directory.
    pub(super) dir: PathBuf,
    /// Where its API is, e.g. `http://127.0.0.1:7700`.
    pub(super) api: String,
    /// The API's token.
    pub(super) token: String,
    /// Its multiaddr with its PeerId.
    pub(super) peer: String,
}

/// One node.
pub(super) struct Node {
    spec: NodeSpec,
    client: Client,
    process: Option<Process>,
    mourned: bool,
}

/// All nodes. Dropping it stops them.
pub(super) struct Federation {
    program: PathBuf,
    nodes: Vec<Node>,
}

impl Node {
    /// ODS code of its organization.
    pub(super) fn ods(&self) -> &str {
        &self.spec.ods
    }

    /// Name of its organization.
    pub(super) fn name(&self) -> &str {
        &self.spec.name
    }

    /// Its directory.
    pub(super) fn dir(&self) -> &Path {
        &self.spec.dir
    }

    /// Its multiaddr with its PeerId.
    pub(super) fn peer(&self) -> &str {
        &self.spec.peer
    }

    /// A way to its API.
    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// Its process id; 0 when it was never started.
    pub(super) fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Process::id)
    }

    fn log(&self) -> PathBuf {
        self.spec.dir.join("node.log")
    }

    /// How its process ended, if it did.
    fn ended(&mut self) -> Option<ExitStatus> {
        self.process.as_mut().and_then(Process::ended)
    }

    fn start(&mut self, program: &Path) -> anyhow::Result<()> {
        let arguments: [&OsStr; 4] = [
            "run".as_ref(),
            "--dir".as_ref(),
            self.spec.dir.as_ref(),
            "--stop-with-stdin".as_ref(),
        ];
        let process = Process::start(program, &arguments, &self.log())
            .with_context(|| format!("cannot start the node of {}", self.ods()))?;
        self.process = Some(process);
        self.mourned = false;
        Ok(())
    }
}

impl Federation {
    /// Starts every node with `program`, the `signpost` executable.
    ///
    /// # Errors
    /// When one cannot be started; those that were are stopped.
    pub(super) fn start_all(program: PathBuf, specs: Vec<NodeSpec>) -> anyhow::Result<Self> {
        let nodes = specs.into_iter().map(|spec| {
            let client = Client::new(spec.api.clone(), spec.token.clone());
            Node { spec, client, process: None, mourned: false }
        });
        let mut federation = Self { program, nodes: nodes.collect() };
        for node in &mut federation.nodes {
            node.start(&federation.program)?;
        }
        Ok(federation)
    }

    /// The nodes, in the order of the organizations.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Waits until every node is ready and has a fresh digest of every other.
    ///
    /// # Errors
    /// Names the node that is not, and shows the end of its log.
    pub(super) fn await_ready(&mut self, step: &Step, interrupt: &Interrupt) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_PATIENCE;
        for at in 0..self.nodes.len() {
            loop {
                interrupt.check()?;
                self.nodes_alive()?;
                let node = &self.nodes[at];
                let lacking = match lacking(node.client(), self.nodes.len() - 1) {
                    Ok(None) => break,
                    Ok(Some(lacking)) => lacking,
                    Err(error) => format!("{error:#}"),
                };
                if Instant::now() > deadline {
                    bail!(
                        "the node of {} is not ready after {} s: {lacking}. The end of {}:\n{}",
                        node.ods(),
                        START_PATIENCE.as_secs(),
                        node.log().display(),
                        tail(&node.log())
                    );
                }
                interrupt.pause(START_POLL)?;
            }
            step.advance(1);
        }
        Ok(())
    }

    /// Fails when a node's process has ended by itself.
    ///
    /// # Errors
    /// Names the node and shows the end of its log.
    pub(super) fn nodes_alive(&mut self) -> anyhow::Result<()> {
        for node in &mut self.nodes {
            if let Some(status) = node.ended() {
                let log = node.log();
                bail!(
                    "the node of {} has ended ({status}). The end of {}:\n{}",
                    node.ods(),
                    log.display(),
                    tail(&log)
                );
            }
        }
        Ok(())
    }

    /// Kills a node at once.
    pub(super) fn kill(&mut self, at: usize) {
        if let Some(process) = &mut self.nodes[at].process {
            process.kill();
        }
    }

    /// Starts a node that was killed.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub(super) fn start(&mut self, at: usize) -> anyhow::Result<()> {
        self.nodes[at].start(&self.program)
    }

    /// Reaps nodes that have ended since the last time, and says so, a line each.
    pub(super) fn obituaries(&mut self) -> Vec<String> {
        let program = &self.program;
        let mut lines = Vec::new();
        for node in &mut self.nodes {
            let pid = node.pid();
            if let Some(status) = node.ended().filter(|_| !node.mourned) {
                node.mourned = true;
                lines.push(format!(
                    "The node of {} (process {pid}) has ended: {status}. Start it again with: {} run --dir {}",
                    node.ods(),
                    program.display(),
                    node.dir().display()
                ));
            }
        }
        lines
    }

    /// Stops every node: asks, waits, kills.
    pub(super) fn stop(&mut self) {
        stop_all(self.nodes.iter_mut().filter_map(|node| node.process.as_mut()));
    }
}

impl Drop for Federation {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the node still lacks; `None` when it is ready and knows `peers` fresh digests.
fn lacking(client: &Client, peers: usize) -> anyhow::Result<Option<String>> {
    if !client.ready()? {
        let notices = client.status()?.notices;
        return Ok(Some(format!("it says that it is not ready: {}", notices.join("; "))));
    }
    let status = client.status()?;
    let missing: Vec<_> = status
        .peers
        .iter()
        .filter(|peer| peer.digest != "fresh")
        .map(|peer| peer.ods.as_str())
        .collect();
    if status.peers.len() < peers {
        return Ok(Some(format!("it knows {} of {peers} peers", status.peers.len())));
    }
    Ok((!missing.is_empty()).then(|| format!("it has no digest of {}", missing.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stand-in for `signpost` that stops with its standard input, or at once.
    fn program(dir: &Path, script: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = dir.join("signpost");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    fn specs(dir: &Path) -> Vec<NodeSpec> {
        let spec = |ods: &str| NodeSpec {
            ods: ods.to_owned(),
            name: String::new(),
            dir: dir.join(ods),
            // Nothing listens on port 1.
            api: "http://127.0.0.1:1".to_owned(),
            token: String::new(),
            peer: String::new(),
        };
        let specs = vec![spec("RZ1"), spec("RZ2")];
        specs.iter().for_each(|spec| std::fs::create_dir(&spec.dir).unwrap());
        specs
    }

    #[test]
    fn nodes_are_started_with_their_directory_and_stopped_by_their_input() {
        let dir = tempfile::tempdir().unwrap();
        let program = program(dir.path(), "echo \"$@\"; cat; echo stopped");
        let mut federation = Federation::start_all(program, specs(dir.path())).unwrap();
        federation.nodes_alive().unwrap();
        assert!(federation.obituaries().is_empty());
        federation.stop();
        let log = std::fs::read_to_string(dir.path().join("RZ1/node.log")).unwrap();
        let wanted =
            format!("run --dir {} --stop-with-stdin\nstopped\n", dir.path().join("RZ1").display());
        assert_eq!(log, wanted);
    }

    #[test]
    fn a_killed_node_is_mourned_once_and_can_be_started_again() {
        let dir = tempfile::tempdir().unwrap();
        let program = program(dir.path(), "cat");
        let mut federation = Federation::start_all(program, specs(dir.path())).unwrap();
        let pid = federation.nodes()[1].pid();
        federation.kill(1);
        let lines = federation.obituaries();
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("RZ2") && lines[0].contains(&pid.to_string()), "{lines:?}");
        assert!(federation.obituaries().is_empty());
        federation.start(1).unwrap();
        federation.nodes_alive().unwrap();
        assert_ne!(federation.nodes()[1].pid(), pid);
    }

    #[test]
    fn a_node_that_dies_while_starting_is_named_with_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let program = program(dir.path(), "echo the disk is full >&2; exit 1");
        let mut federation = Federation::start_all(program, specs(dir.path())).unwrap();
        let step = super::super::progress::Progress::to_stderr().step("starting", 2);
        let error = federation.await_ready(&step, &Interrupt::default()).unwrap_err().to_string();
        assert!(error.contains("has ended (exit status: 1)"), "{error}");
        assert!(error.contains("the disk is full"), "{error}");
    }
}
