//! Fetching the statements of the roster that a peer has and this node lacks.
//!
//! From one peer at a time: several would send the same. Who it is changes by chance, for no peer
//! can keep this node busy for more than a minute, and one that sends nothing of use is left at once.

use std::collections::{BTreeSet, VecDeque};

use signpost_keys::roster::in_order;
use signpost_protocol::{
    ContentHash, PublicKey,
    codec::{Bounded, ByteString},
    limits,
    roster_exchange::{RosterAnswer, RosterRequest, bucket_of},
    statement::statement_hash,
};
use tracing::debug;

use super::{Core, Outstanding, Turn, local::Submitted, membership::From};
use crate::network::RequestFailure;

/// Fetches of statements under way at one time: 512 statements, well below the requests that may
/// be under way to one peer.
const FETCHES_MAX: usize = 4;
/// Milliseconds that one peer is asked for, before it may be another's turn: the statements of a
/// network of 20,000 over a slow line take some minutes, and whoever is next goes on.
const FETCH_TIME_MAX: u64 = 60_000;

/// What is being fetched, and from whom.
#[derive(Default)]
pub(super) struct Fetching {
    /// Counts up: responses to an earlier fetch are void.
    number: u64,
    from: Option<Fetch>,
}

struct Fetch {
    peer: PublicKey,
    /// The uptime at which it began.
    began: u64,
    /// Buckets that differ and whose hashes have not come yet.
    buckets: Vec<u8>,
    /// At most as many as one answer holds.
    wanted: VecDeque<ContentHash>,
    under_way: usize,
    /// Whether something that came was new: then it is worth comparing again.
    gained: bool,
}

impl Core {
    /// Begins to fetch what a peer has in these buckets, unless another peer is being asked.
    pub(super) fn fetch_roster(&mut self, turn: &mut Turn<'_>, peer: PublicKey, buckets: Vec<u8>) {
        let uptime = turn.now.uptime;
        let fetching = &mut self.membership.fetching;
        let is_busy = |fetch: &Fetch| uptime < fetch.began + FETCH_TIME_MAX;
        if fetching.from.as_ref().is_some_and(is_busy) || !self.peers.is_connected(&peer) {
            return;
        }
        fetching.number += 1;
        fetching.from = Some(Fetch {
            peer,
            began: uptime,
            buckets,
            wanted: VecDeque::new(),
            under_way: 0,
            gained: false,
        });
        self.pump_roster_fetch(turn);
    }

    /// The fetch that a response belongs to, if it is still under way.
    fn fetch_of(&mut self, number: u64) -> Option<&mut Fetch> {
        let fetching = &mut self.membership.fetching;
        let fetch = fetching.from.as_mut().filter(|_| fetching.number == number)?;
        fetch.under_way = fetch.under_way.saturating_sub(1);
        Some(fetch)
    }

    pub(super) fn on_roster_hashes(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PublicKey,
        number: u64,
        result: Result<Vec<u8>, RequestFailure>,
    ) {
        let answer = self.roster_answer(turn, &peer, result);
        let Some(fetch) = self.fetch_of(number) else { return };
        let Some(RosterAnswer::Hashes { buckets, hashes }) = answer else {
            return self.end_roster_fetch(turn, false);
        };
        let count = usize::from(buckets).min(fetch.buckets.len());
        let covered: BTreeSet<u8> = fetch.buckets.drain(..count).collect();
        if covered.is_empty() {
            // It would be asked in a circle.
            return self.end_roster_fetch(turn, false);
        }
        let membership = &self.membership;
        let wanted: BTreeSet<ContentHash> = hashes
            .iter()
            .filter(|hash| covered.contains(&bucket_of(hash)))
            .filter(|hash| !membership.statements.has(hash))
            .filter(|hash| !membership.inventory.is_refused(hash))
            .copied()
            .collect();
        if let Some(fetch) = &mut self.membership.fetching.from {
            fetch.wanted.extend(wanted);
        }
        self.pump_roster_fetch(turn);
    }

    pub(super) fn on_roster_statements(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PublicKey,
        (number, asked): (u64, &[ContentHash]),
        result: Result<Vec<u8>, RequestFailure>,
    ) {
        let answer = self.roster_answer(turn, &peer, result);
        if self.fetch_of(number).is_none() {
            return;
        }
        let Some(RosterAnswer::Statements(statements)) = answer else {
            return self.end_roster_fetch(turn, false);
        };
        let mut asked: BTreeSet<ContentHash> = asked.iter().copied().collect();
        let count = asked.len();
        // What was not asked for, or comes twice, is dropped.
        let mut statements: Vec<Vec<u8>> = statements
            .into_inner()
            .into_iter()
            .map(ByteString::into_inner)
            .filter(|bytes| asked.remove(&statement_hash(bytes)))
            .collect();
        in_order(&mut statements);
        let results = self.take_statements(turn, &statements, From::Fetch);
        let (mut of_use, mut gained) = (0, false);
        for (bytes, result) in statements.iter().zip(results) {
            match result {
                Ok(submitted) => {
                    of_use += 1;
                    gained |= submitted == Submitted::New;
                }
                Err(error) => {
                    if self.complaints.may_log(&peer, turn.now.uptime) {
                        debug!(?peer, %error, "a statement of a peer's roster is of no use");
                    }
                    self.membership.inventory.refuse(statement_hash(bytes), turn.now.uptime);
                }
            }
        }
        if let Some(fetch) = &mut self.membership.fetching.from {
            fetch.gained |= gained;
        }
        // Hashes that lead nowhere are not held against the statements: others may have them.
        if of_use * 2 < count {
            return self.end_roster_fetch(turn, false);
        }
        self.pump_roster_fetch(turn);
    }

    /// A peer that is gone is not asked any more.
    pub(super) fn stop_roster_fetch(&mut self, turn: &Turn<'_>, peer: &PublicKey) {
        if self.membership.fetching.from.as_ref().is_some_and(|fetch| fetch.peer == *peer) {
            self.end_roster_fetch(turn, false);
        }
    }

    /// Ends a fetch, and compares again in a moment if that promises to gain something; `all`:
    /// whether everything that the peer has has come.
    fn end_roster_fetch(&mut self, turn: &Turn<'_>, all: bool) {
        let Some(fetch) = self.membership.fetching.from.take() else { return };
        if all {
            self.has_compared(fetch.peer);
        }
        if fetch.gained {
            self.compare_again(turn.now.uptime);
        }
    }

    /// Asks for what is wanted, some at a time.
    fn pump_roster_fetch(&mut self, turn: &mut Turn<'_>) {
        loop {
            let fetching = &mut self.membership.fetching;
            let number = fetching.number;
            let Some(fetch) = &mut fetching.from else { return };
            if fetch.under_way >= FETCHES_MAX {
                return;
            }
            let (request, purpose) = if !fetch.wanted.is_empty() {
                let count = fetch.wanted.len().min(limits::STATEMENTS_PER_FETCH_MAX);
                let wanted: Vec<ContentHash> = fetch.wanted.drain(..count).collect();
                let list = Bounded::new(wanted.clone()).expect("cut to the cap");
                let purpose = Outstanding::RosterStatements { fetch: number, wanted };
                (RosterRequest::Statements(list), purpose)
            } else if fetch.under_way > 0 {
                return;
            } else if !fetch.buckets.is_empty() {
                let buckets = Bounded::new(fetch.buckets.clone()).expect("there are 256");
                (RosterRequest::Buckets(buckets), Outstanding::RosterBuckets { fetch: number })
            } else {
                return self.end_roster_fetch(turn, true);
            };
            fetch.under_way += 1;
            let peer = fetch.peer;
            self.ask_roster(turn, peer, &request, purpose);
        }
    }
}
