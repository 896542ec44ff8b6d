//! Group commit: many writers, one flush.
//!
//! A flush costs the same for one write as for a hundred (0.5 ms to 10 ms by disk), so what waits
//! for the disk is gathered and made durable together. The thread here owns that wait, and nobody
//! else blocks on the disk for being durable.
//!
//! Guarantees: every item submitted is delivered exactly once, in the order of submission, after a
//! flush that *began* after its submission; after the first failed flush every later item is
//! delivered as failed without another attempt, since an operating system that failed to write
//! may drop the pages and then report success (Rebello et al., "Can Applications Recover from
//! fsync Failures?", USENIX ATC 2020). Applying the writes before submitting is the caller's part.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use super::StoreError;

/// Items that may wait for the disk. At the 125 locates a second that all of England makes in the
/// busy hour this is eight seconds of standstill; beyond it, taking on more work helps nobody.
pub const QUEUE_MAX: usize = 1024;

/// Items in one group: bounds how long the first reply of a group waits behind the delivery of the
/// last, and the memory of a group.
pub const GROUP_MAX: usize = 256;

/// One item after its flush.
#[derive(Debug)]
pub struct Outcome<T> {
    /// What was submitted.
    pub item: T,
    /// `Ok` when everything applied before the submission is on disk; otherwise the failure, which
    /// the whole group and all later items share.
    pub result: Result<(), Arc<StoreError>>,
}

/// The committer's thread has ended by a panic in one of its two functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing can be made durable any more: the committer has stopped")]
pub struct CommitterStopped;

/// A thread that makes applied writes durable and then lets their continuations run.
///
/// Dropping it delivers everything that was submitted, then waits for the thread to end.
#[derive(Debug)]
pub struct Committer<T> {
    queue: Option<SyncSender<T>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Committer<T> {
    /// Starts the thread.
    ///
    /// `flush` makes durable whatever was applied before it was called. `deliver` runs on the
    /// committer's thread and delays the next flush: it should hand on and return, and must never
    /// wait for the thread that submits, which may itself be waiting in [`submit`](Self::submit).
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub fn spawn(
        flush: impl Fn() -> Result<(), StoreError> + Send + 'static,
        deliver: impl Fn(Outcome<T>) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, items) = sync_channel(QUEUE_MAX);
        let thread = thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || run(&items, flush, deliver))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Queues `item` for delivery after the next flush that begins.
    ///
    /// Waits while [`QUEUE_MAX`] items are queued. Refusing instead would come too late, since the
    /// write is already applied and visible; making the core wait lets the shells' own queues fill,
    /// and those refuse before anything has been decided.
    ///
    /// # Errors
    /// When the thread has panicked; the item is dropped undelivered.
    pub fn submit(&self, item: T) -> Result<(), CommitterStopped> {
        let queue = self.queue.as_ref().ok_or(CommitterStopped)?;
        queue.send(item).map_err(|_| CommitterStopped)
    }

    /// Delivers everything that was submitted and ends the thread. Dropping does the same.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl<T> Drop for Committer<T> {
    fn drop(&mut self) {
        // Closing the queue lets the thread drain it and end.
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the committer panicked: what it had not delivered is lost");
        }
    }
}

fn run<T>(
    items: &Receiver<T>,
    flush: impl Fn() -> Result<(), StoreError>,
    deliver: impl Fn(Outcome<T>),
) {
    let mut failure: Option<Arc<StoreError>> = None;
    let mut group = Vec::with_capacity(GROUP_MAX);
    while gather(items, &mut group) {
        if failure.is_none()
            && let Err(error) = flush()
        {
            tracing::error!(%error, "a flush failed: nothing is acknowledged until a restart");
            failure = Some(Arc::new(error));
        }
        for item in group.drain(..) {
            let result = failure.clone().map_or(Ok(()), Err);
            deliver(Outcome { item, result });
        }
    }
}

/// Waits for an item and takes with it what else is queued; false when the queue is closed and
/// empty.
///
/// There is no waiting for more to come. A lone write has nobody to share its flush with, and its
/// client is waiting; under load the next group gathers by itself while this one is flushed, and
/// the slower the disk, the larger it grows. Waiting for more was tried on sled, up to 5 ms with an
/// end at the first pause of 0.3 ms: throughput under load stayed within a tenth, the median wait
/// of single-row writes rose from 0.9 ms to 3.9 ms, and a writer that waits for each answer lost
/// 0.2 ms every time.
fn gather<T>(items: &Receiver<T>, group: &mut Vec<T>) -> bool {
    let Ok(first) = items.recv() else { return false };
    group.push(first);
    group.extend(items.try_iter().take(GROUP_MAX - 1));
    true
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Mutex,
            atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
            mpsc,
        },
        time::{Duration, Instant},
    };

    use super::*;

    /// Long enough for any machine: a test that waits this long has failed.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn io_failure() -> StoreError {
        StoreError::from_io("disk".as_ref(), io::Error::other("the disk is gone"))
    }

    /// A disk that knows which writes it would still hold after a power cut.
    #[derive(Default)]
    struct Disk {
        applied: AtomicU64,
        durable: AtomicU64,
        flushes: AtomicU64,
    }

    impl Disk {
        fn apply(&self) -> u64 {
            self.applied.fetch_add(1, SeqCst) + 1
        }

        fn flush(&self) {
            let covered = self.applied.load(SeqCst);
            thread::sleep(Duration::from_millis(1));
            self.durable.store(covered, SeqCst);
            self.flushes.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn everything_is_delivered_once_after_a_flush_that_covers_it() {
        const SUBMITTERS: u64 = 8;
        const EACH: u64 = 500;
        let disk = Arc::new(Disk::default());
        let delivered = Arc::new(Mutex::new(Vec::new()));
        let committer = {
            let (flushed, disk, delivered) = (disk.clone(), disk.clone(), delivered.clone());
            let flush = move || {
                flushed.flush();
                Ok(())
            };
            let deliver = move |outcome: Outcome<u64>| {
                outcome.result.unwrap();
                let covered = outcome.item <= disk.durable.load(SeqCst);
                delivered.lock().unwrap().push((outcome.item, covered));
            };
            Committer::spawn(flush, deliver).unwrap()
        };
        thread::scope(|scope| {
            for _ in 0..SUBMITTERS {
                scope.spawn(|| (0..EACH).for_each(|_| committer.submit(disk.apply()).unwrap()));
            }
        });
        committer.shutdown();

        let mut delivered = std::mem::take(&mut *delivered.lock().unwrap());
        assert!(delivered.iter().all(|(_, covered)| *covered), "a reply left before its flush");
        delivered.sort_unstable();
        let numbers: Vec<_> = delivered.into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, (1..=SUBMITTERS * EACH).collect::<Vec<_>>());
        let flushes = disk.flushes.load(SeqCst);
        assert!(flushes < SUBMITTERS * EACH, "{flushes} flushes: nothing was grouped");
    }

    #[test]
    fn one_submitter_is_answered_in_order() {
        let (answers, delivered) = mpsc::sync_channel(QUEUE_MAX);
        let deliver = move |outcome: Outcome<u32>| answers.send(outcome.item).unwrap();
        let committer = Committer::spawn(|| Ok(()), deliver).unwrap();
        (0..1000).for_each(|n| committer.submit(n).unwrap());
        committer.shutdown();
        assert!(delivered.iter().eq(0..1000));
    }

    #[test]
    fn a_failed_flush_fails_its_group_and_all_that_follows() {
        let disk_fails = Arc::new(AtomicBool::new(false));
        let flushes = Arc::new(AtomicU64::new(0));
        let (answers, delivered) = mpsc::sync_channel(QUEUE_MAX);
        let committer = {
            let (disk_fails, flushes) = (disk_fails.clone(), flushes.clone());
            let flush = move || {
                flushes.fetch_add(1, SeqCst);
                if disk_fails.load(SeqCst) { Err(io_failure()) } else { Ok(()) }
            };
            Committer::spawn(flush, move |outcome: Outcome<u8>| answers.send(outcome).unwrap())
                .unwrap()
        };
        let mut results = (0..4).map(|n| {
            disk_fails.store(n == 1 || n == 2, SeqCst);
            committer.submit(n).unwrap();
            let outcome = delivered.recv_timeout(PATIENCE).unwrap();
            assert_eq!(outcome.item, n);
            outcome.result
        });
        results.next().unwrap().unwrap();
        let first = results.next().unwrap().unwrap_err();
        // Twice more, the second time with a disk that claims to be well again.
        for _ in 0..2 {
            let later = results.next().unwrap().unwrap_err();
            assert!(Arc::ptr_eq(&first, &later), "the first failure is the one to report");
        }
        assert_eq!(flushes.load(SeqCst), 2, "a failed disk was asked again");
    }

    #[test]
    fn a_full_queue_holds_the_submitter_until_the_disk_catches_up() {
        let (release, gate) = mpsc::sync_channel::<()>(0);
        let gate = Mutex::new(gate);
        let delivered = Arc::new(AtomicU64::new(0));
        let count = delivered.clone();
        // The first flush waits for the gate; once that is dropped, none does.
        let flush = move || {
            let _ = gate.lock().unwrap().recv();
            Ok(())
        };
        let deliver = move |_| {
            count.fetch_add(1, SeqCst);
        };
        let committer = Committer::<usize>::spawn(flush, deliver).unwrap();
        let total = QUEUE_MAX + GROUP_MAX + 1;
        let submitted = AtomicU64::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..total {
                    committer.submit(n).unwrap();
                    submitted.fetch_add(1, SeqCst);
                }
            });
            // A group under way and a full queue; the last item can then not be in.
            while submitted.load(SeqCst) < QUEUE_MAX as u64 {
                thread::yield_now();
            }
            thread::sleep(Duration::from_millis(50));
            assert!(submitted.load(SeqCst) < total as u64, "the queue has no bound");
            drop(release);
        });
        committer.shutdown();
        assert_eq!(delivered.load(SeqCst), total as u64);
    }

    #[test]
    fn a_panicked_committer_refuses_instead_of_keeping_silent() {
        let committer = Committer::spawn(|| Ok(()), |_| panic!("a continuation's fault")).unwrap();
        committer.submit(0).unwrap();
        let started = Instant::now();
        while committer.submit(0).is_ok() {
            assert!(started.elapsed() < PATIENCE, "still accepting");
            thread::yield_now();
        }
    }
}
