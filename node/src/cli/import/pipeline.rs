//! Lines on their way to the node: gathered into requests, a few of which are under way at once,
//! and accounted for in their order.
//!
//! Two lines with the same id never travel in two requests at once, nor in one: the node may take
//! requests in another order than they were sent, and put a line off, and the later line must win.

use std::{
    collections::{HashSet, VecDeque},
    thread::{Scope, ScopedJoinHandle},
    time::Duration,
};

use serde_json::{Map, Value};

use super::node::{Fault, Node, Outcome, Reply};
use crate::{
    cli::{
        client::ClientError,
        input::{Item, LINE_BYTES_MAX, Place},
    },
    core::local::WRITES_PER_REQUEST_MAX,
};

/// Requests under way at once: the node stores one while it waits for the locators of another, and
/// several share a flush of the disk. 6,000 pointers took 12.3 s with one, 8.9 with two, 7.2 with
/// three, 6.4 with four and 5.7 with six (unoptimized, on a busy machine). Four are half of the
/// imports that a node works on at a time, and leave the other half to other producers.
pub(super) const REQUESTS_IN_FLIGHT_MAX: usize = 4;
/// Bytes of one request: the node accepts 4 MiB; a last line of full length still fits.
const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024 - LINE_BYTES_MAX - 1024;
/// The first pause before lines are sent again for which the node was too busy; each further one is twice as long.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest of these pauses: a node that recovers is noticed within this.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(8);
/// How long one request is tried in pauses: an evaluator's restart takes less; longer needs a person.
pub(super) const PAUSES_MAX: Duration = Duration::from_secs(60);

/// Why an import stopped before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Interruption {
    /// The node cannot be reached, or its reply makes no sense.
    #[error("{0}")]
    Client(#[from] ClientError),
    /// The node stayed busy.
    #[error("the node could take no more for {} seconds: {}", PAUSES_MAX.as_secs(), .0.diagnostics)]
    Busy(Fault),
    /// The node's disk is full or broken.
    #[error("the node's disk takes no more: {}", .0.diagnostics)]
    Storage(Fault),
    /// A file that could be read before cannot be read now.
    #[error("cannot read {name}: {source}")]
    File {
        /// As on the command line.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Signal,
}

impl Interruption {
    /// Whether lines may have been stored although the node did not say so.
    const fn leaves_doubt(&self) -> bool {
        matches!(
            self,
            Self::Client(ClientError::Broken { .. } | ClientError::Garbled(_)) | Self::Storage(_)
        )
    }
}

/// Waits, or says that it is time to stop.
pub(super) type Pause<'a> = &'a (dyn Fn(Duration) -> bool + Sync);

/// What became of a line, told in the order of the lines.
pub(super) struct Settled {
    pub(super) place: Place,
    /// Tells lines apart: equal for equal text, and by chance once in 4 billion for other.
    pub(super) text_hash: u32,
    pub(super) outcome: Outcome,
}

/// How the lines are sent.
#[derive(Clone, Copy)]
pub(super) struct Sending<'a> {
    pub(super) node: &'a dyn Node,
    pub(super) pause: Pause<'a>,
    pub(super) dry_run: bool,
}

/// A line on its way, or one that need not be sent.
struct Line {
    place: Place,
    text_hash: u32,
    text: Result<String, Fault>,
}

struct InFlight<'scope> {
    ids: HashSet<String>,
    lines: usize,
    request: ScopedJoinHandle<'scope, (Vec<Settled>, Option<Interruption>)>,
}

/// Gathers lines into requests and accounts for the outcomes.
pub(super) struct Pipeline<'scope, 'env, 'sink> {
    scope: &'scope Scope<'scope, 'env>,
    sending: Sending<'env>,
    sink: &'sink mut dyn FnMut(Settled),
    chunk: Vec<Line>,
    ids: HashSet<String>,
    bytes: usize,
    in_flight: VecDeque<InFlight<'scope>>,
    unknown: usize,
}

impl<'scope, 'env, 'sink> Pipeline<'scope, 'env, 'sink> {
    pub(super) fn new(
        scope: &'scope Scope<'scope, 'env>,
        sending: Sending<'env>,
        sink: &'sink mut dyn FnMut(Settled),
    ) -> Self {
        Self {
            scope,
            sending,
            sink,
            chunk: Vec::new(),
            ids: HashSet::new(),
            bytes: 0,
            in_flight: VecDeque::new(),
            unknown: 0,
        }
    }

    /// Takes a line; may wait for the node.
    pub(super) fn push(&mut self, mut item: Item) -> Result<(), Interruption> {
        if item.id.is_none() {
            item.id = item.line.as_ref().ok().and_then(|text| content_name(text));
        }
        if item.id.as_ref().is_some_and(|id| self.ids.contains(id)) {
            self.send()?;
        }
        let text = item.line.map_err(|error| Fault {
            code: "structure".to_owned(),
            diagnostics: error.to_string(),
            retry: false,
        });
        self.bytes += text.as_ref().map_or(0, |text| text.len() + 1);
        self.ids.extend(item.id);
        let text_hash = text.as_ref().map_or(0, |text| hash(text));
        self.chunk.push(Line { place: item.place, text_hash, text });
        if self.chunk.len() == WRITES_PER_REQUEST_MAX || self.bytes >= REQUEST_BYTES_MAX {
            self.send()?;
        }
        Ok(())
    }

    /// Sends what was gathered, once there is room and none of its ids is under way.
    fn send(&mut self) -> Result<(), Interruption> {
        let ids = std::mem::take(&mut self.ids);
        let chunk = std::mem::take(&mut self.chunk);
        self.bytes = 0;
        if chunk.is_empty() {
            return Ok(());
        }
        let busy = |request: &InFlight<'_>| !request.ids.is_disjoint(&ids);
        while self.in_flight.len() >= REQUESTS_IN_FLIGHT_MAX || self.in_flight.iter().any(busy) {
            self.settle()?;
        }
        let (sending, lines) = (self.sending, chunk.len());
        let request = self.scope.spawn(move || deliver(sending, chunk));
        self.in_flight.push_back(InFlight { ids, lines, request });
        Ok(())
    }

    /// Waits for the oldest request and accounts for its lines.
    fn settle(&mut self) -> Result<(), Interruption> {
        let Some(InFlight { lines, request, .. }) = self.in_flight.pop_front() else {
            return Ok(());
        };
        let (settled, interruption) = request.join().expect("a request returns its errors");
        if interruption.as_ref().is_some_and(Interruption::leaves_doubt) {
            self.unknown += lines - settled.len();
        }
        settled.into_iter().for_each(&mut *self.sink);
        interruption.map_or(Ok(()), Err)
    }

    /// Waits for every request under way. Unless the import has failed already, what was gathered
    /// is sent first. Returns how many lines were sent without an answer.
    pub(super) fn finish(
        mut self,
        so_far: Result<(), Interruption>,
    ) -> (Result<(), Interruption>, usize) {
        let mut outcome = so_far.and_then(|()| self.send());
        while !self.in_flight.is_empty() {
            outcome = match (outcome, self.settle()) {
                // Of requests side by side, one is told why and the next finds the node gone.
                (Err(_), Err(storage @ Interruption::Storage(_))) => Err(storage),
                (outcome, settled) => outcome.and(settled),
            };
        }
        (outcome, self.unknown)
    }
}

/// What tells lines without an id apart: the node names such a pointer by its content, but for status
/// and listing, so that two lines that differ in these alone are two versions of one.
fn content_name(text: &str) -> Option<String> {
    let mut resource: Map<String, Value> = serde_json::from_str(text).ok()?;
    resource.remove("status");
    resource.remove("meta");
    Some(format!("content {:x}", hash(&Value::Object(resource).to_string())))
}

/// Sends one request's lines, and again what the node was too busy for. Lines without an answer are
/// left out.
fn deliver(sending: Sending<'_>, lines: Vec<Line>) -> (Vec<Settled>, Option<Interruption>) {
    let texts: Vec<_> = lines.iter().filter_map(|line| line.text.as_deref().ok()).collect();
    let send = |texts: &[&str]| sending.node.put(texts, sending.dry_run);
    let (outcomes, interruption) = insist(&texts, &send, sending.pause);
    let mut outcomes = outcomes.into_iter();
    let settled = lines.into_iter().filter_map(|line| {
        let outcome = match line.text {
            Ok(_) => outcomes.next().flatten()?,
            Err(fault) => Outcome::Refused(fault),
        };
        Some(Settled { place: line.place, text_hash: line.text_hash, outcome })
    });
    (settled.collect(), interruption)
}

/// Sends items of one request until the node has decided each of them, with pauses of growing
/// length. Those without an answer are `None`; then there is a reason.
pub(super) fn insist(
    items: &[&str],
    send: &dyn Fn(&[&str]) -> Reply,
    pause: Pause<'_>,
) -> (Vec<Option<Outcome>>, Option<Interruption>) {
    let mut outcomes = vec![None; items.len()];
    let mut open: Vec<_> = (0..items.len()).collect();
    let (mut next_pause, mut paused) = (PAUSE_MIN, Duration::ZERO);
    while !open.is_empty() {
        let texts: Vec<_> = open.iter().map(|at| items[*at]).collect();
        let replies = match send(&texts) {
            Err(error) if error.is_busy() => {
                let code = "transient".to_owned();
                let fault = Fault { code, diagnostics: error.to_string(), retry: true };
                vec![Outcome::Refused(fault); texts.len()]
            }
            Ok(replies) => replies,
            Err(error) => return (outcomes, Some(error.into())),
        };
        let (mut busy, mut storage, mut again) = (None, None, Vec::new());
        for (at, outcome) in open.into_iter().zip(replies) {
            match outcome {
                Outcome::Refused(fault) if fault.is_storage() => storage = Some(fault),
                Outcome::Refused(fault) if fault.retry => {
                    busy = Some(fault);
                    again.push(at);
                }
                outcome => outcomes[at] = Some(outcome),
            }
        }
        if let Some(fault) = storage {
            return (outcomes, Some(Interruption::Storage(fault)));
        }
        if let Some(fault) = busy {
            if paused >= PAUSES_MAX {
                return (outcomes, Some(Interruption::Busy(fault)));
            }
            if !pause(next_pause) {
                return (outcomes, Some(Interruption::Signal));
            }
            paused += next_pause;
            next_pause = (next_pause * 2).min(PAUSE_MAX);
        }
        open = again;
    }
    (outcomes, None)
}

fn hash(text: &str) -> u32 {
    use std::hash::{DefaultHasher, Hasher as _};
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    // The low half of a good hash is as good.
    hasher.finish() as u32
}
