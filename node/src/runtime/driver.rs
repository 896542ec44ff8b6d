//! The core's thread: gives the core its events, one at a time, and carries out what it decides.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use signpost_protocol::{codec, digest::DigestsAnswer};
use tokio::sync::{mpsc, watch};
use tracing::error;

use super::{
    outgoing::Outgoing,
    workers::{BlobJob, FilterWork},
};
use crate::{
    core::{Action, Core, Event, Now, Persist, Ticket},
    digests::Blobs,
    handle::LocalCall,
    network::NetworkEvent,
    store::{
        Batch, Committer, DisclosureError, DisclosureLog, DisclosureRecord, Store, StoreError,
    },
};

/// Jobs that wait while pieces of blobs are still served: own work comes first.
const SERVES_WAITING_MAX: usize = 256;

/// Said when a thread for disk work has ended, which it does only when it panics.
const STOPPED: &str = "a thread for disk work has stopped";

/// What leaves once a write is durable, and what leaves instead when it cannot be made so.
pub(super) struct Continuation {
    pub(super) then: Vec<Action>,
    pub(super) otherwise: Vec<Action>,
}

/// Everything that the core's loop needs.
pub(super) struct Driver {
    pub(super) core: Core,
    pub(super) store: Arc<dyn Store>,
    pub(super) disclosures: Arc<DisclosureLog>,
    pub(super) committer: Committer<Continuation>,
    pub(super) blobs: Arc<Blobs>,
    pub(super) outgoing: Outgoing,
    pub(super) blob_jobs: mpsc::Sender<BlobJob>,
    pub(super) filter_jobs: mpsc::Sender<FilterWork>,
    /// Jobs that found no room; one for each part of a digest that the core wants at the most.
    pub(super) blobs_waiting: VecDeque<BlobJob>,
    pub(super) filters_waiting: VecDeque<FilterWork>,
    pub(super) started: Instant,
    pub(super) next_ticket: u64,
    /// Set when the node cannot go on.
    pub(super) fault: Arc<watch::Sender<Option<String>>>,
}

/// Why a write was not done.
enum Fault {
    /// The record itself cannot be written down; the disk is well.
    Record(DisclosureError),
    Disk(String),
}

/// What came first.
enum Next {
    Wakeup,
    /// Disk work was done.
    Done(Option<Event>),
    Network(Option<NetworkEvent>),
    Call(Option<LocalCall>),
}

/// What the loop waits for.
pub(super) struct Inputs {
    /// What the network said before the core ran.
    pub(super) early: Vec<NetworkEvent>,
    pub(super) network: mpsc::Receiver<NetworkEvent>,
    pub(super) calls: mpsc::Receiver<LocalCall>,
    pub(super) done: mpsc::Receiver<Event>,
    pub(super) stop: watch::Receiver<bool>,
}

impl Driver {
    /// Runs until told to stop, the network ends, or nothing can be made durable any more.
    pub(super) async fn run(mut self, mut inputs: Inputs) {
        let mut fault = self.fault.subscribe();
        let mut early = VecDeque::from(std::mem::take(&mut inputs.early));
        match self.core.start(self.now(), &*self.store) {
            Ok(actions) => self.carry_out(actions).await,
            Err(error) => return self.fail(error.to_string()),
        }
        loop {
            let wakeup = self.started + Duration::from_millis(self.core.next_wakeup());
            if let Some(event) = early.pop_front() {
                let Some(event) = core_event(event) else { continue };
                let now = self.now();
                let actions = self.core.handle(event, now, &*self.store);
                self.carry_out(actions).await;
                continue;
            }
            let next = tokio::select! {
                _ = inputs.stop.changed() => return,
                _ = fault.changed() => return,
                permit = self.blob_jobs.reserve(), if !self.blobs_waiting.is_empty() => {
                    let Ok(permit) = permit else { return self.fail(STOPPED.to_owned()) };
                    permit.send(self.blobs_waiting.pop_front().expect("checked in the guard"));
                    continue;
                }
                permit = self.filter_jobs.reserve(), if !self.filters_waiting.is_empty() => {
                    let Ok(permit) = permit else { return self.fail(STOPPED.to_owned()) };
                    permit.send(self.filters_waiting.pop_front().expect("checked in the guard"));
                    continue;
                }
                event = inputs.done.recv() => Next::Done(event),
                event = inputs.network.recv() => Next::Network(event),
                call = inputs.calls.recv() => Next::Call(call),
                () = tokio::time::sleep_until(wakeup.into()) => Next::Wakeup,
            };
            let event = match next {
                Next::Wakeup => None,
                Next::Done(Some(event)) => Some(event),
                Next::Done(None) => return self.fail(STOPPED.to_owned()),
                Next::Network(Some(event)) => core_event(event),
                Next::Network(None) => return self.fail("the network has stopped".to_owned()),
                Next::Call(Some(call)) => Some(self.local_event(call)),
                // The node itself has a handle: it is gone.
                Next::Call(None) => return,
            };
            let now = self.now();
            let actions = self.core.handle(event.unwrap_or(Event::Tick), now, &*self.store);
            self.carry_out(actions).await;
        }
    }

    fn now(&self) -> Now {
        let uptime = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { unix: super::wall_clock(), uptime }
    }

    fn local_event(&mut self, call: LocalCall) -> Event {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.outgoing.expect(ticket, call.reply);
        Event::Local { ticket, asking: call.asking, request: call.request }
    }

    async fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            if self.fault.borrow().is_some() {
                // Nothing more may rely on a disk that has failed.
                return;
            }
            let Some(action) = self.outgoing.send(action).await else { continue };
            match action {
                Action::Persist(persist) => self.persist(persist).await,
                Action::KeepBlob(bytes) => {
                    // Small, and on disk before the head that names it can leave.
                    if let Err(error) = self.blobs.put(&bytes) {
                        let error = StoreError::from_io(self.blobs.directory(), error);
                        return self.fail(error.to_string());
                    }
                }
                Action::LoadBlob(hash) => self.blobs_waiting.push_back(BlobJob::Load(hash)),
                Action::StoreBlob { hash, bytes } => {
                    self.blobs_waiting.push_back(BlobJob::Store { hash, bytes });
                }
                Action::ServeBlob { id, .. } if self.blobs_waiting.len() >= SERVES_WAITING_MAX => {
                    let frame = codec::encode(&DigestsAnswer::Busy);
                    self.outgoing.send(Action::Reply { id, frame }).await;
                }
                Action::ServeBlob { id, hash, offset } => {
                    self.blobs_waiting.push_back(BlobJob::Serve { id, hash, offset });
                }
                Action::RetainBlobs(named) => self.blobs_waiting.push_back(BlobJob::Retain(named)),
                Action::BuildFilter(build) => {
                    self.filters_waiting.push_back(FilterWork::Build(build));
                }
                Action::AuditFilter(job) => {
                    self.filters_waiting.push_back(FilterWork::Audit(job));
                }
                _ => unreachable!("every action that leaves the node has left"),
            }
        }
    }

    /// Applies writes at once, so that the next decision sees them, and hands what relies on them
    /// to the committer.
    async fn persist(&mut self, persist: Persist) {
        let Persist { batches, disclosures, then, otherwise } = persist;
        if let Err(fault) = self.apply(batches, disclosures) {
            let text = match &fault {
                Fault::Record(error) => error.to_string(),
                Fault::Disk(error) => error.clone(),
            };
            self.outgoing.send_instead(otherwise, &text).await;
            return match fault {
                Fault::Record(error) => error!(%error, "a disclosure could not be recorded"),
                Fault::Disk(fault) => self.fail(fault),
            };
        }
        if self.committer.submit(Continuation { then, otherwise }).is_err() {
            self.fail("the thread that makes writes durable has stopped".to_owned());
        }
    }

    fn apply(&self, batches: Vec<Batch>, disclosures: Vec<DisclosureRecord>) -> Result<(), Fault> {
        for batch in joined(batches) {
            self.store.apply(&batch).map_err(|error| Fault::Disk(error.to_string()))?;
        }
        match disclosures.iter().try_for_each(|record| self.disclosures.append(record)) {
            Ok(()) => Ok(()),
            Err(error @ DisclosureError::Record { .. }) => Err(Fault::Record(error)),
            Err(error) => Err(Fault::Disk(error.to_string())),
        }
    }

    /// Ends the node: what is on disk is no longer known, so nothing more may rely on it.
    pub(super) fn fail(&self, fault: String) {
        error!(fault, "the node cannot go on");
        self.fault.send_replace(Some(fault));
    }
}

/// The same writes in the same order, in as few batches as hold them: sled writes to the disk before
/// and after each, so that a hundred pointers of an import would cost two hundred writes.
fn joined(batches: Vec<Batch>) -> Vec<Batch> {
    let mut joined: Vec<Batch> = Vec::new();
    for mut batch in batches {
        // Only what does not fit is left.
        let fits = joined.last_mut().is_some_and(|last| last.append(&mut batch).is_ok());
        if !fits {
            joined.push(batch);
        }
    }
    joined
}

fn core_event(event: NetworkEvent) -> Option<Event> {
    match event {
        NetworkEvent::Connected { peer, member: true, .. } => Some(Event::Connected { peer }),
        NetworkEvent::Disconnected { peer, member: true } => Some(Event::Disconnected { peer }),
        NetworkEvent::DialFailed { peer, reason } => Some(Event::DialFailed { peer, reason }),
        NetworkEvent::Request { peer, plane, id, frame } => {
            Some(Event::Request { peer, plane, id, frame })
        }
        NetworkEvent::Response { token, peer, result } => {
            Some(Event::Response { token, peer, result })
        }
        NetworkEvent::Gossip { id, via, frame, .. } => Some(Event::Gossip { id, via, frame }),
        NetworkEvent::ListenFailed { addresses, reason } => {
            error!(?addresses, reason, "no longer listening for other nodes");
            None
        }
        NetworkEvent::DialBack { token, result } => Some(Event::DialBack { token, result }),
        NetworkEvent::Listening { .. }
        | NetworkEvent::Connected { .. }
        | NetworkEvent::Disconnected { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::BATCH_KEYS_MAX;

    fn batch(first: usize, writes: usize) -> Batch {
        let mut batch = Batch::new();
        for n in first..first + writes {
            batch.put(n.to_be_bytes(), *b"value").unwrap();
        }
        batch
    }

    #[test]
    fn batches_are_joined_whole_and_in_order() {
        let each = 3;
        let batches: Vec<_> = (0..100).map(|n| batch(n * each, each)).collect();
        let writes = |batches: &[Batch]| -> Vec<_> {
            batches.iter().flat_map(|batch| batch.writes().to_vec()).collect()
        };
        let joined = joined(batches.clone());
        assert_eq!(writes(&joined), writes(&batches));
        assert_eq!(joined.len(), 100_usize.div_ceil(BATCH_KEYS_MAX / each));
        assert!(joined.iter().all(|batch| batch.len() % each == 0), "a batch was torn");
    }

    #[test]
    fn a_full_batch_stays_alone_and_none_makes_none() {
        assert!(joined(Vec::new()).is_empty());
        let full = [batch(0, BATCH_KEYS_MAX), batch(200, 1), batch(300, BATCH_KEYS_MAX)];
        assert_eq!(joined(full.to_vec()), full);
    }
}
