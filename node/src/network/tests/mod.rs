//! Several networks in one process, over loopback TCP or memory.

mod dial_back;
mod exchanges;
mod gossip;
mod hostile;
mod joining;
mod membership;
mod strangers;

use std::{future::Future, time::Duration};

use tokio::time::timeout;

use super::*;

/// Long enough for a busy machine; only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(60);
const NETWORK: NetworkId = NetworkId([0x5a; 32]);

pub(super) fn tcp() -> NetworkConfig {
    config(Transport::Tcp, "/ip4/127.0.0.1/tcp/0")
}

pub(super) fn memory() -> NetworkConfig {
    config(Transport::Memory, "/memory/0")
}

fn config(transport: Transport, listen: &str) -> NetworkConfig {
    let mut transport_secret = Zeroizing::new([0; 32]);
    getrandom::fill(transport_secret.as_mut_slice()).expect("the system has randomness");
    NetworkConfig {
        transport_secret,
        network: NETWORK,
        transport,
        listen: vec![listen.parse().expect("an address")],
        members: Vec::new(),
        tap: None,
        request_timeout: None,
    }
}

pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("no {what}"))
}

/// A network and the test in the place of its core.
pub(super) struct Node {
    pub(super) key: PublicKey,
    pub(super) address: Multiaddr,
    pub(super) handle: NetworkHandle,
    pub(super) events: mpsc::Receiver<NetworkEvent>,
}

impl Node {
    pub(super) async fn start(config: NetworkConfig) -> Self {
        let keypair =
            Keypair::ed25519_from_bytes(*config.transport_secret).expect("any seed is a key");
        let key = peers::public_key_of(&keypair.public().to_peer_id()).expect("an Ed25519 key");
        let (handle, mut events) = spawn(config).expect("the network starts");
        let address = match soon("listener", events.recv()).await {
            Some(NetworkEvent::Listening { address }) => address,
            other => panic!("{other:?} before listening"),
        };
        Self { key, address, handle, events }
    }

    pub(super) fn member(&self) -> Member {
        Member { key: self.key, addresses: vec![self.address.clone()] }
    }

    pub(super) async fn send(&self, command: NetworkCommand) {
        soon("place for a command", self.handle.send(command)).await.expect("the network runs");
    }

    pub(super) async fn set_members(&self, members: &[&Self]) {
        let members = members.iter().map(|node| node.member()).collect();
        self.send(NetworkCommand::SetMembers(members)).await;
    }

    /// The first event that `pick` takes; those before it are dropped.
    pub(super) async fn until<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(NetworkEvent) -> Option<T>,
    ) -> T {
        let picked = async {
            loop {
                let event = self.events.recv().await.expect("the network runs");
                if let Some(picked) = pick(event) {
                    return picked;
                }
            }
        };
        soon(what, picked).await
    }

    pub(super) async fn connected(&mut self, member: bool) -> PublicKey {
        self.until("connection", |event| match event {
            NetworkEvent::Connected { peer, member: found, .. } if found == member => Some(peer),
            _ => None,
        })
        .await
    }

    pub(super) async fn disconnected(&mut self, member: bool) -> PublicKey {
        self.until("end of the connection", |event| match event {
            NetworkEvent::Disconnected { peer, member: found } if found == member => Some(peer),
            _ => None,
        })
        .await
    }

    pub(super) async fn ask(&self, token: u64, peer: PublicKey, plane: Plane, frame: &[u8]) {
        let frame = frame.to_vec();
        self.send(NetworkCommand::Request { token, peer, plane, frame }).await;
    }

    pub(super) async fn request(&mut self) -> (PublicKey, Plane, InboundId, Vec<u8>) {
        self.until("request", |event| match event {
            NetworkEvent::Request { peer, plane, id, frame } => Some((peer, plane, id, frame)),
            _ => None,
        })
        .await
    }

    pub(super) async fn response(&mut self, token: u64) -> Result<Vec<u8>, RequestFailure> {
        self.until("response", |event| match event {
            NetworkEvent::Response { token: found, result, .. } if found == token => Some(result),
            _ => None,
        })
        .await
    }

    /// A request's outcome and the end of a member's connection, whichever comes first.
    pub(super) async fn cut_off(
        &mut self,
        token: u64,
    ) -> (Result<Vec<u8>, RequestFailure>, PublicKey) {
        let (mut outcome, mut gone) = (None, None);
        self.until("response and end of the connection", |event| {
            match event {
                NetworkEvent::Response { token: found, result, .. } if found == token => {
                    outcome = Some(result);
                }
                NetworkEvent::Disconnected { peer, member: true } => gone = Some(peer),
                _ => {}
            }
            outcome.clone().zip(gone)
        })
        .await
    }

    pub(super) async fn reply(&self, id: InboundId, frame: &[u8]) {
        self.send(NetworkCommand::Reply { id, frame: frame.to_vec() }).await;
    }

    /// Whether an event that already waits is one that `matches`; drops all that wait.
    pub(super) fn waits(&mut self, matches: impl Fn(&NetworkEvent) -> bool) -> bool {
        std::iter::from_fn(|| self.events.try_recv().ok()).any(|event| matches(&event))
    }
}

/// One exchange, from a request to its reply at the asker.
pub(super) async fn exchange(asker: &mut Node, holder: &mut Node, plane: Plane, token: u64) {
    asker.ask(token, holder.key, plane, b"question").await;
    let (from, on, id, frame) = holder.request().await;
    assert_eq!((from, on, frame.as_slice()), (asker.key, plane, &b"question"[..]));
    holder.reply(id, b"reply").await;
    assert_eq!(asker.response(token).await, Ok(b"reply".to_vec()));
}

/// Two nodes that list each other.
pub(super) async fn pair(first: NetworkConfig, second: NetworkConfig) -> (Node, Node) {
    let (first, second) = (Node::start(first).await, Node::start(second).await);
    first.set_members(&[&second]).await;
    second.set_members(&[&first]).await;
    (first, second)
}
