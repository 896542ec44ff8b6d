//! The network of a node that is to join: asks the nodes that its invitation names, one thing at a
//! time, and refuses whatever is asked of it.

use std::time::Duration;

use signpost_protocol::PublicKey;
use tokio::{sync::mpsc, time};

use super::JoinError;
use crate::{
    network::{
        self, Member, Multiaddr, NetworkCommand, NetworkConfig, NetworkEvent, NetworkHandle, Plane,
        RequestFailure, Transport, Verdict, members_at,
    },
    setup::Candidate,
};

/// How often a request is made that fails for a reason that passes: the connection of a dial-back
/// takes another's place for a moment, and a stranger's ends when it is admitted.
const ATTEMPTS_MAX: usize = 6;
/// Between two of them.
const ATTEMPTS_PAUSE: Duration = Duration::from_millis(500);

/// The way to those that the invitation names.
pub(super) struct Line {
    network: NetworkHandle,
    events: mpsc::Receiver<NetworkEvent>,
    peers: Vec<Member>,
    token: u64,
}

impl Line {
    /// Listens where the node will, and dials nobody yet.
    pub(super) fn open(candidate: &Candidate) -> Result<Self, JoinError> {
        let peers = members_at(candidate.invitation.addresses.iter().map(|text| &**text))?;
        let parse = |text: &String| text.parse::<Multiaddr>();
        let listen: Result<Vec<_>, _> = candidate.config.peer.listen.iter().map(parse).collect();
        let (network, events) = network::spawn(NetworkConfig {
            transport_secret: candidate.transport.expose_seed(),
            network: candidate.invitation.network,
            transport: Transport::Tcp,
            listen: listen.map_err(|error| JoinError::Listen(error.to_string()))?,
            members: peers.clone(),
            tap: None,
            request_timeout: None,
        })?;
        Ok(Self { network, events, peers, token: 0 })
    }

    /// Whom the invitation names.
    pub(super) fn peers(&self) -> Vec<Member> {
        self.peers.clone()
    }

    /// One request, and its reply; made again when what failed passes.
    pub(super) async fn ask(
        &mut self,
        peer: PublicKey,
        plane: Plane,
        frame: impl Fn() -> Vec<u8>,
    ) -> Result<Vec<u8>, RequestFailure> {
        let mut attempt = 1;
        loop {
            let failure = match self.ask_once(peer, plane, frame()).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            let passes = matches!(
                failure,
                RequestFailure::Closed | RequestFailure::Unsupported | RequestFailure::Refused
            );
            if !passes || attempt == ATTEMPTS_MAX {
                return Err(failure);
            }
            attempt += 1;
            self.idle(ATTEMPTS_PAUSE).await;
        }
    }

    async fn ask_once(
        &mut self,
        peer: PublicKey,
        plane: Plane,
        frame: Vec<u8>,
    ) -> Result<Vec<u8>, RequestFailure> {
        self.token += 1;
        let token = self.token;
        self.command(NetworkCommand::Request { token, peer, plane, frame }).await;
        loop {
            match self.events.recv().await {
                Some(NetworkEvent::Response { token: found, result, .. }) if found == token => {
                    return result;
                }
                Some(event) => self.decline(event).await,
                None => return Err(RequestFailure::Closed),
            }
        }
    }

    /// Lets go of a connection: a stranger's has few hellos and little time, and the next one begins anew.
    pub(super) async fn hang_up(&mut self, peer: PublicKey) {
        self.command(NetworkCommand::Disconnect(peer)).await;
    }

    /// Waits, and declines what comes in meanwhile.
    pub(super) async fn idle(&mut self, pause: Duration) {
        let until = time::Instant::now() + pause;
        while let Ok(event) = time::timeout_at(until, self.events.recv()).await {
            match event {
                Some(event) => self.decline(event).await,
                None => return time::sleep_until(until).await,
            }
        }
    }

    /// Members connect as soon as they know this node; it serves when it runs.
    async fn decline(&mut self, event: NetworkEvent) {
        match event {
            NetworkEvent::Request { id, .. } => self.command(NetworkCommand::Refuse { id }).await,
            NetworkEvent::Gossip { id, .. } => {
                self.command(NetworkCommand::Judge { id, verdict: Verdict::Ignore }).await;
            }
            _ => {}
        }
    }

    async fn command(&self, command: NetworkCommand) {
        // An error means that the network has ended, and so have its events: the asker notices.
        let _ = self.network.send(command).await;
    }

    /// Closes all connections, so that the port is free for the node itself.
    pub(super) async fn close(mut self) {
        // What waits in the queue must not keep the network from ending.
        self.events.close();
        self.network.shutdown().await;
    }
}
