//! Threads for work on disk that the core must not wait for: blobs, and the building of filters.

use std::{collections::HashSet, sync::Arc, thread, time::Duration};

use futures::executor::block_on;
use signpost_protocol::{
    ContentHash,
    codec::{self, ByteString},
    digest::DigestsAnswer,
    limits,
};
use tokio::sync::{mpsc, watch};
use tracing::error;

use crate::{
    core::{Event, FilterBuild, FilterJob, NewFilter, audit_filter, build_filter},
    digests::Blobs,
    network::{InboundId, NetworkCommand, NetworkHandle},
    store::{Store, StoreError},
};

/// Jobs on their way to a worker. What finds no room waits with the core's loop, which has at most
/// one job for every part of a digest that it wants.
pub(super) const JOBS_MAX: usize = 64;

/// How old an unused blob is before it is removed: one that was written just now may be named by a
/// head that is not in the list yet.
const UNUSED_AGE_MIN: Duration = Duration::from_secs(600);

/// Something to do with blobs.
pub(super) enum BlobJob {
    Load(ContentHash),
    Store { hash: ContentHash, bytes: Vec<u8> },
    Serve { id: InboundId, hash: ContentHash, offset: u64 },
    Retain(HashSet<ContentHash>),
}

/// Something to do with own filters.
pub(super) enum FilterWork {
    Build(FilterBuild),
    Audit(FilterJob),
}

/// Ends the node when the thread that holds it panics: the core would wait for its work for ever,
/// and all the while say that it is well.
pub(super) struct Lifeline {
    work: &'static str,
    fault: Arc<watch::Sender<Option<String>>>,
}

impl Lifeline {
    /// For a thread that does this work.
    pub(super) fn new(work: &'static str, fault: &Arc<watch::Sender<Option<String>>>) -> Self {
        Self { work, fault: fault.clone() }
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        if thread::panicking() {
            let fault = format!("the thread for {} has failed", self.work);
            error!(fault, "the node cannot go on");
            self.fault.send_replace(Some(fault));
        }
    }
}

/// Starts the thread that keeps, finds and serves blobs.
pub(super) fn blobs(
    blobs: Arc<Blobs>,
    network: NetworkHandle,
    events: mpsc::Sender<Event>,
    lifeline: Lifeline,
) -> std::io::Result<mpsc::Sender<BlobJob>> {
    let (sender, mut jobs) = mpsc::channel(JOBS_MAX);
    thread::Builder::new().name("signpost-blobs".to_owned()).spawn(move || {
        let _lifeline = lifeline;
        while let Some(job) = jobs.blocking_recv() {
            let event = match job {
                BlobJob::Load(hash) => Some(Event::Blob { hash, bytes: load(&blobs, &hash) }),
                BlobJob::Store { hash, bytes } => {
                    // The bytes came from a peer: they count only under the hash asked for.
                    let fits = ContentHash::of(&bytes) == hash;
                    let kept = fits.then(|| keep(&blobs, &bytes)).flatten();
                    Some(Event::Blob { hash, bytes: kept.and_then(|hash| load(&blobs, &hash)) })
                }
                BlobJob::Serve { id, hash, offset } => {
                    let frame = codec::encode(&piece(&blobs, &hash, offset));
                    // An error means that the node is stopping.
                    let _ = block_on(network.send(NetworkCommand::Reply { id, frame }));
                    None
                }
                BlobJob::Retain(named) => {
                    if let Err(error) = blobs.retain(&named, UNUSED_AGE_MIN) {
                        error!(%error, "unused parts of digests could not be removed");
                    }
                    None
                }
            };
            if event.is_some_and(|event| events.blocking_send(event).is_err()) {
                return;
            }
        }
    })?;
    Ok(sender)
}

/// Starts the thread that builds and audits own filters.
pub(super) fn filters(
    store: Arc<dyn Store>,
    blobs: Arc<Blobs>,
    events: mpsc::Sender<Event>,
    lifeline: Lifeline,
) -> std::io::Result<mpsc::Sender<FilterWork>> {
    let (sender, mut jobs) = mpsc::channel(JOBS_MAX);
    thread::Builder::new().name("signpost-filters".to_owned()).spawn(move || {
        let _lifeline = lifeline;
        while let Some(job) = jobs.blocking_recv() {
            let event = match job {
                FilterWork::Build(build) => Event::FilterBuilt {
                    organization: build.organization,
                    result: build_and_keep(&build, &*store, &blobs),
                },
                FilterWork::Audit(job) => Event::FilterAudited {
                    organization: job.organization,
                    result: audit_filter(&job, &*store),
                },
            };
            if events.blocking_send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(sender)
}

fn build_and_keep(
    build: &FilterBuild,
    store: &dyn Store,
    blobs: &Blobs,
) -> Result<NewFilter, String> {
    let built = build_filter(build, store)?;
    let failed = |error| told(blobs, error).to_string();
    let hash = blobs.put(&built.bytes).map_err(failed)?;
    let bytes = blobs.map(&hash).map_err(failed)?;
    let bytes = bytes.ok_or("the filter was damaged on disk while it was written")?;
    Ok(NewFilter { hash, salt: build.salt, class: built.class, ones: built.ones, bytes })
}

fn load(blobs: &Blobs, hash: &ContentHash) -> Option<crate::digests::SharedBytes> {
    blobs.map(hash).unwrap_or_else(|error| {
        error!(error = %told(blobs, error), "a part of a digest could not be read");
        None
    })
}

fn keep(blobs: &Blobs, bytes: &[u8]) -> Option<ContentHash> {
    blobs
        .put(bytes)
        .map_err(|error| {
            error!(error = %told(blobs, error), "a part of a digest could not be kept on disk");
        })
        .ok()
}

/// A failure with the directory that it concerns, and what to do.
fn told(blobs: &Blobs, error: std::io::Error) -> StoreError {
    StoreError::from_io(blobs.directory(), error)
}

fn piece(blobs: &Blobs, hash: &ContentHash, offset: u64) -> DigestsAnswer {
    match blobs.read_range(hash, offset, limits::BLOB_PIECE_BYTES_MAX) {
        Ok(bytes) => {
            bytes.and_then(ByteString::new).map_or(DigestsAnswer::NotFound, DigestsAnswer::Blob)
        }
        Err(error) => {
            error!(error = %told(blobs, error), "a part of a digest could not be read");
            DigestsAnswer::NotFound
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_panics_ends_the_node_and_one_that_ends_does_not() {
        let (fault, told) = watch::channel(None);
        let fault = Arc::new(fault);
        let lifeline = Lifeline::new("filters", &fault);
        thread::spawn(move || drop(lifeline)).join().unwrap();
        assert_eq!(*told.borrow(), None);
        let lifeline = Lifeline::new("filters", &fault);
        let thread = thread::spawn(move || {
            let _lifeline = lifeline;
            panic!("as a damaged store may cause");
        });
        thread.join().unwrap_err();
        assert!(told.borrow().as_ref().unwrap().contains("filters"));
    }
}
