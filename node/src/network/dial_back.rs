//! Trying an applicant's address from outside, so that its admin learns whether the port is open.
//!
//! This is the only connection that a node makes to a peer that is no member. It goes to the one
//! address asked for. When the handshake has proved that the very key answers there, the gate denies
//! the connection: it never comes to stand, no protocol is offered on it, and it closes at once. The
//! wrapped behaviours hear nothing of it.

use std::{
    collections::HashMap,
    task::{Context, Poll},
    time::Duration,
};

use libp2p::swarm::{ConnectionId, DialError};

use super::{deadlines::Deadlines, failure::dial_back_reason};

/// Dial-backs under way at one time: applicants come one by one, and each asks about one address after
/// the other. An attempt costs the places of one connection for 5 seconds at the worst.
pub(super) const DIAL_BACKS_MAX: usize = 8;
/// How long an attempt may take before it counts as failed: a second attempt of TCP after the first
/// second included, and within the 5 seconds after which the applicant's hello has waited too long.
const DIAL_BACK_TIMEOUT: Duration = Duration::from_secs(3);
/// The reason when nothing came back in that time.
const TIMED_OUT: &str = "timed out: a firewall in between, or something else that listens there?";

/// How a dial-back went, under the token it was asked with.
pub(super) type Outcome = (u64, Result<(), String>);

struct DialBack {
    /// Until the outcome was told.
    token: Option<u64>,
    proved: bool,
}

/// The dial-backs under way; see the module.
pub(super) struct DialBacks {
    under_way: HashMap<ConnectionId, DialBack>,
    deadlines: Deadlines,
}

impl DialBacks {
    pub(super) fn new() -> Self {
        Self { under_way: HashMap::new(), deadlines: Deadlines::new(DIAL_BACK_TIMEOUT) }
    }

    /// Notes an attempt that is about to be made; `false` when too many are under way.
    pub(super) fn begin(&mut self, id: ConnectionId, token: u64) -> bool {
        if self.under_way.len() >= DIAL_BACKS_MAX {
            return false;
        }
        self.under_way.insert(id, DialBack { token: Some(token), proved: false });
        self.deadlines.add(id);
        true
    }

    pub(super) fn contains(&self, id: ConnectionId) -> bool {
        self.under_way.contains_key(&id)
    }

    /// Notes that the right key answered; `false` when the connection is no dial-back.
    pub(super) fn prove(&mut self, id: ConnectionId) -> bool {
        let Some(dial_back) = self.under_way.get_mut(&id) else { return false };
        dial_back.proved = true;
        true
    }

    /// Notes the end of a dial-back, which always is a failure to libp2p. The outcome, unless it was
    /// told before.
    pub(super) fn end(&mut self, id: ConnectionId, error: &DialError) -> Option<Outcome> {
        let dial_back = self.under_way.remove(&id)?;
        self.deadlines.remove(id);
        let result = if dial_back.proved { Ok(()) } else { Err(dial_back_reason(error)) };
        Some((dial_back.token?, result))
    }

    /// The outcome of an attempt that took too long. It keeps its place until it has really ended.
    pub(super) fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        while let Poll::Ready(id) = self.deadlines.poll_next(cx) {
            if let Some(token) = self.under_way.get_mut(&id).and_then(|d| d.token.take()) {
                return Poll::Ready((token, Err(TIMED_OUT.to_owned())));
            }
        }
        Poll::Pending
    }
}
