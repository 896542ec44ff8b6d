//! A running node.

use std::net::SocketAddr;

use crate::setup::Identity;

/// What a node needs to run.
#[derive(Debug)]
pub struct NodeOptions {
    identity: Identity,
}

impl NodeOptions {
    /// The standard options for `identity`.
    #[must_use]
    pub const fn new(identity: Identity) -> Self {
        Self { identity }
    }
}

/// Why a node does not run.
#[derive(Debug, thiserror::Error)]
#[error("the node cannot run")]
pub struct NodeError;

/// A running node.
#[derive(Debug)]
pub struct Node {
    options: NodeOptions,
}

impl Node {
    /// Starts a node.
    ///
    /// # Errors
    /// When it cannot start.
    pub async fn spawn(options: NodeOptions) -> Result<Self, NodeError> {
        Ok(Self { options })
    }

    /// Where its API listens.
    #[must_use]
    pub fn api_address(&self) -> SocketAddr {
        self.options.identity.config.api.listen
    }

    /// Where it listens for other nodes.
    #[must_use]
    pub fn peer_addresses(&self) -> Vec<String> {
        self.options.identity.config.peer.listen.clone()
    }

    /// Resolves when the node has stopped by itself.
    ///
    /// # Errors
    /// Why it stopped.
    pub async fn stopped(&self) -> Result<(), NodeError> {
        std::future::pending().await
    }

    /// Stops the node.
    pub async fn shutdown(&self) {}
}
