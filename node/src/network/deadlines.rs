//! When connections end that all last equally long.

use std::{
    collections::VecDeque,
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use libp2p::swarm::ConnectionId;
use tokio::time::{Instant, Sleep, sleep_until};

/// Connections with their deadlines; see the module. Whoever adds bounds their number.
pub(super) struct Deadlines {
    lifetime: Duration,
    /// Soonest first, since all last equally long.
    queue: VecDeque<(Instant, ConnectionId)>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadlines {
    pub(super) const fn new(lifetime: Duration) -> Self {
        Self { lifetime, queue: VecDeque::new(), timer: None }
    }

    /// Begins a connection's time.
    pub(super) fn add(&mut self, id: ConnectionId) {
        self.queue.push_back((Instant::now() + self.lifetime, id));
    }

    /// Forgets a connection.
    pub(super) fn remove(&mut self, id: ConnectionId) {
        self.queue.retain(|(_, other)| *other != id);
    }

    /// A connection whose time is up, each once.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionId> {
        let Some((deadline, id)) = self.queue.front().copied() else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        std::task::ready!(timer.as_mut().poll(cx));
        self.queue.pop_front();
        Poll::Ready(id)
    }
}
