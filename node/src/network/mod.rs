//! The libp2p shell: moves opaque frames between nodes and knows who is at the other end.
//!
//! It decides nothing. The core says who the members are, what to send and what to make of what
//! arrives; this shell guarantees that
//! - a peer is named by the transport key it proved to hold, never by what it says of itself;
//! - a peer that is no member is offered `hello` and nothing else (`gate` says how);
//! - every frame is within its plane's cap, and every queue, table and wait is bounded;
//! - frames appear in no log.
//!
//! One task owns the connections; [`NetworkHandle`] gives it commands and a receiver yields its
//! events. Authenticity of content is not its affair: frames carry their own signatures.

mod behaviour;
mod bounded;
mod codec;
mod deadlines;
mod dial_back;
mod doorstep;
mod event_loop;
mod failure;
mod frame;
mod gate;
mod messages;
mod outbox;
mod peers;
mod plane;
#[cfg(test)]
mod tests;
mod transport;

use std::{fmt, time::Duration};

pub use libp2p::Multiaddr;
use libp2p::{Swarm, identity::Keypair};
use signpost_protocol::{NetworkId, PublicKey};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use self::{behaviour::NodeBehaviour, event_loop::EventLoop};
pub use self::{
    codec::{Direction, FrameSeen, FrameTap, Traffic},
    failure::{NetworkError, RequestFailure},
    messages::{GossipId, InboundId, NetworkCommand, NetworkEvent, Verdict},
    peers::{PeerAddressError, members_at, peer_address},
    plane::Plane,
    transport::Transport,
};

/// Commands on their way to the network's task, which takes them faster than any core sends them.
const COMMANDS_MAX: usize = 256;
/// Events on their way to the core, in the order of their coming; the task keeps those that find no
/// room and hands them on peer by peer, so this is short: what is in it stands before everybody else.
const EVENTS_MAX: usize = 8;

/// A node that may connect as a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The transport key it proves to hold.
    pub key: PublicKey,
    /// Where it listens; may be empty for one that only dials out. At most 8 are used.
    pub addresses: Vec<Multiaddr>,
}

/// What the network needs to start.
pub struct NetworkConfig {
    /// The Ed25519 transport key of this node (RFC 8032 seed, 32 bytes).
    pub transport_secret: Zeroizing<[u8; 32]>,
    /// The network whose planes are spoken.
    pub network: NetworkId,
    /// What carries the connections.
    pub transport: Transport,
    /// Where to listen; port 0 lets the system choose.
    pub listen: Vec<Multiaddr>,
    /// The members so far; [`NetworkCommand::SetMembers`] replaces them. This node itself is
    /// left out if present. A node that is still to join lists those that its invitation names
    /// ([`members_at`]): to them it is a stranger, with whom they exchange hellos.
    pub members: Vec<Member>,
    /// Sees every frame, for tests and diagnosis.
    pub tap: Option<FrameTap>,
    /// Replaces every plane's own timeout.
    pub request_timeout: Option<Duration>,
}

impl fmt::Debug for NetworkConfig {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkConfig")
            .field("network", &self.network)
            .field("transport", &self.transport)
            .field("listen", &self.listen)
            .field("members", &self.members.len())
            .finish_non_exhaustive()
    }
}

/// Gives commands to the network's task. The network ends when all handles are dropped.
#[derive(Clone, Debug)]
pub struct NetworkHandle {
    commands: mpsc::Sender<NetworkCommand>,
}

/// The network's task has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the network has been shut down")]
pub struct NetworkClosed;

impl NetworkHandle {
    /// Gives a command. Waits for a place in the queue only as long as the task takes to empty it.
    /// The task goes on taking commands while events wait for the core, so a core that awaits
    /// this between two events cannot be locked out; up to 1,024 requests may be under way.
    ///
    /// Cancel safe: a cancelled command was not given.
    ///
    /// # Errors
    /// When the network has ended.
    pub async fn send(&self, command: NetworkCommand) -> Result<(), NetworkClosed> {
        self.commands.send(command).await.map_err(|_| NetworkClosed)
    }

    /// Closes all connections and waits until the task has ended. Doing so again is harmless.
    pub async fn shutdown(&self) {
        // An error means that the task has ended, which is what was wanted.
        let _ = self.commands.send(NetworkCommand::Shutdown).await;
        self.commands.closed().await;
    }
}

/// Binds the listen addresses and starts the network's task. The receiver yields its events and
/// must be read: dropping it ends the network.
///
/// # Errors
/// When the key is unusable or an address cannot be listened on, such as "cannot listen on
/// /ip4/127.0.0.1/tcp/4001: address already in use".
///
/// # Panics
/// Outside a tokio runtime.
pub fn spawn(
    config: NetworkConfig,
) -> Result<(NetworkHandle, mpsc::Receiver<NetworkEvent>), NetworkError> {
    let NetworkConfig {
        mut transport_secret,
        network,
        transport,
        listen,
        members,
        tap,
        request_timeout,
    } = config;
    // Wipes the copy it is given.
    let keypair = Keypair::ed25519_from_bytes(transport_secret.as_mut_slice())
        .map_err(|error| NetworkError::Key(error.to_string()))?;
    let carrier = transport::build(transport, &keypair)
        .map_err(|error| NetworkError::Key(error.to_string()))?;
    let behaviour = NodeBehaviour::new(&keypair, &network, tap.as_ref(), request_timeout)
        .map_err(NetworkError::Setup)?;
    let local = keypair.public().to_peer_id();
    let mut swarm = Swarm::new(carrier, behaviour, local, transport::swarm_config());
    for address in listen {
        transport::listen(&mut swarm, address)?;
    }
    let (commands, commands_in) = mpsc::channel(COMMANDS_MAX);
    let (events, events_in) = mpsc::channel(EVENTS_MAX);
    let mut event_loop = EventLoop::new(swarm, behaviour::topic(&network), tap);
    event_loop.set_members(members);
    tokio::spawn(event_loop.run(commands_in, events));
    Ok((NetworkHandle { commands }, events_in))
}
