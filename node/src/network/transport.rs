//! How bytes get to a peer: TCP, Noise, Yamux; or memory, for many nodes in one process.

use std::{
    io,
    net::{IpAddr, TcpListener},
    num::NonZeroU8,
    time::Duration,
};

use libp2p::{
    Multiaddr, PeerId, Swarm, Transport as _,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, MemoryTransport, TransportError},
        upgrade::Version,
    },
    identity::Keypair,
    multiaddr::Protocol,
    noise,
    swarm::{self, NetworkBehaviour},
    tcp, yamux,
};

use super::failure::NetworkError;

/// Streams on one connection, both ways. Yamux allows 512, each with its own window; past this
/// limit it ends the connection, so the bounds on exchanges stay well below it.
pub(super) const STREAMS_PER_CONNECTION_MAX: usize = 256;
/// How long a connection may take to stand, handshakes included: beyond a locate's deadline the
/// attempt is of no use to who asked.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an unused connection is kept: a busy pair asks more often, and a new connection costs
/// a locate two more round trips.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// Addresses of one member that are tried at the same time.
const DIAL_CONCURRENCY: NonZeroU8 = NonZeroU8::new(4).expect("four is not zero");
/// Inbound streams of one connection that are still negotiating their protocol: more than one
/// peer may have requests under way, since they may all begin at once.
const NEGOTIATING_STREAMS_MAX: usize = 128;

/// What carries the connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// TCP, the transport of a deployment.
    #[default]
    Tcp,
    /// Channels inside one process (`/memory/1234`), for tests with many nodes.
    Memory,
}

/// Builds the encrypted, multiplexed transport.
///
/// # Errors
/// When Noise cannot use the key.
pub(super) fn build(
    transport: Transport,
    keypair: &Keypair,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error> {
    let noise = noise::Config::new(keypair)?;
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(STREAMS_PER_CONNECTION_MAX);
    Ok(match transport {
        Transport::Tcp => tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
            .upgrade(Version::V1Lazy)
            .authenticate(noise)
            .multiplex(yamux)
            .timeout(CONNECT_TIMEOUT)
            .boxed(),
        Transport::Memory => MemoryTransport::default()
            .upgrade(Version::V1Lazy)
            .authenticate(noise)
            .multiplex(yamux)
            .timeout(CONNECT_TIMEOUT)
            .boxed(),
    })
}

/// The swarm's settings.
pub(super) fn swarm_config() -> swarm::Config {
    swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(IDLE_TIMEOUT)
        .with_dial_concurrency_factor(DIAL_CONCURRENCY)
        .with_max_negotiating_inbound_streams(NEGOTIATING_STREAMS_MAX)
        // The protocol's name travels with the first bytes instead of a round trip ahead of them.
        .with_substream_upgrade_protocol_override(Version::V1Lazy)
}

/// Starts to listen on `address`.
///
/// # Errors
/// When it is taken, not ours, or of a kind that the transport cannot listen on.
pub(super) fn listen<B: NetworkBehaviour>(
    swarm: &mut Swarm<B>,
    address: Multiaddr,
) -> Result<(), NetworkError> {
    check_port_is_free(&address)
        .map_err(TransportError::Other)
        .and_then(|()| swarm.listen_on(address.clone()))
        .map_err(|error| NetworkError::listen(address, &error))?;
    Ok(())
}

/// Refuses an address whose TCP port is taken.
///
/// libp2p binds with `SO_REUSEPORT`, so a second node would share the port and each would get
/// some of the connections. A plain bind just before tells.
fn check_port_is_free(address: &Multiaddr) -> io::Result<()> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => IpAddr::from(ip),
        Some(Protocol::Ip6(ip)) => IpAddr::from(ip),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => TcpListener::bind((ip, port)).map(drop),
        _ => Ok(()),
    }
}
