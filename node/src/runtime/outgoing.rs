//! What leaves the node: replies to its own systems and commands to the network.
//!
//! Used by the core's loop for what may leave at once, and by the committer's thread for what may
//! leave now that it is durable.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use signpost_protocol::PublicKey;
use tokio::sync::oneshot;
use tracing::{debug, error};

use crate::{
    core::{Action, Ticket, local::LocalReply},
    network::{self, NetworkCommand, NetworkHandle},
};

/// Where replies to local requests go; at most as many as the core takes.
type Waiting = HashMap<Ticket, oneshot::Sender<LocalReply>>;

/// A cloneable way out.
#[derive(Clone)]
pub(super) struct Outgoing {
    network: NetworkHandle,
    waiting: Arc<Mutex<Waiting>>,
}

impl Outgoing {
    pub(super) fn new(network: NetworkHandle) -> Self {
        Self { network, waiting: Arc::default() }
    }

    /// Remembers where the reply to `ticket` goes.
    pub(super) fn expect(&self, ticket: Ticket, reply: oneshot::Sender<LocalReply>) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(ticket, reply);
    }

    /// Carries out what is to leave when the disk has failed; local replies say how it failed.
    pub(super) async fn send_instead(&self, otherwise: Vec<Action>, fault: &str) {
        for mut action in otherwise {
            if let Action::Answer { reply, .. } = &mut action {
                reply.explain(fault);
            }
            self.send(action).await;
        }
    }

    /// Carries out an action that leaves the node; gives back any other.
    pub(super) async fn send(&self, action: Action) -> Option<Action> {
        let command = match action {
            Action::Answer { ticket, reply } => {
                let waiting =
                    self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket);
                // The clinical system may have gone.
                if waiting.is_none_or(|waiting| waiting.send(reply).is_err()) {
                    debug!("nobody waits for a reply any more");
                }
                return None;
            }
            Action::Connect(peer) => NetworkCommand::Connect(peer),
            Action::Disconnect(peer) => NetworkCommand::Disconnect(peer),
            Action::Send { token, peer, plane, frame } => {
                NetworkCommand::Request { token, peer, plane, frame }
            }
            Action::Reply { id, frame } => NetworkCommand::Reply { id, frame },
            Action::Refuse { id } => NetworkCommand::Refuse { id },
            Action::DialBack { token, peer, address } => match address.parse() {
                Ok(address) => NetworkCommand::DialBack { token, peer, address },
                Err(error) => {
                    error!(%error, "an address to dial back to is no multiaddr");
                    return None;
                }
            },
            Action::SetMembers(members) => NetworkCommand::SetMembers(
                members.into_iter().map(|(key, addresses)| member(key, &addresses)).collect(),
            ),
            Action::Publish(frame) => NetworkCommand::Publish(frame),
            Action::Judge { id, verdict } => NetworkCommand::Judge { id, verdict },
            other => return Some(other),
        };
        if self.network.send(command).await.is_err() {
            error!("the network has stopped");
        }
        None
    }
}

/// A member as the network knows it. An address that is no multiaddr leads nowhere.
pub(super) fn member(key: PublicKey, addresses: &[String]) -> network::Member {
    let addresses = addresses.iter().filter_map(|address| address.parse().ok()).collect();
    network::Member { key, addresses }
}
