//! Fetching a whole roster from a member, by a node that has none: what to ask next, and what to
//! make of the answers. No IO.

use std::collections::VecDeque;

use signpost_keys::roster::{FoundingError, Statements, in_order};
use signpost_protocol::{
    ContentHash, NetworkId, Timestamp,
    codec::Bounded,
    limits,
    roster_exchange::{BucketDigests, RosterAnswer, RosterRequest, bucket_of},
};

/// Comparisons until it is enough: a second one shows whether something was decided meanwhile, and
/// what comes later is found when the node runs.
const ROUNDS_MAX: usize = 3;

/// Why a roster cannot be had from a member.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The founding is not that of the network that was joined.
    #[error(transparent)]
    Founding(#[from] FoundingError),
    /// An answer does not fit its question.
    #[error("a member answers what was not asked")]
    Unexpected,
    /// It has no time.
    #[error("a member is too busy")]
    Busy,
    /// There is more than a roster may have.
    #[error("a member names more statements than a roster may have")]
    TooMany,
}

/// A fetch under way.
pub(super) struct Fetching {
    network: NetworkId,
    statements: Option<Statements>,
    buckets: Vec<u8>,
    wanted: VecDeque<ContentHash>,
    rounds: usize,
    gained: bool,
    done: bool,
}

impl Fetching {
    pub(super) const fn new(network: NetworkId) -> Self {
        Self {
            network,
            statements: None,
            buckets: Vec::new(),
            wanted: VecDeque::new(),
            rounds: 0,
            gained: false,
            done: false,
        }
    }

    /// What to ask next; `None` when everything is here.
    pub(super) fn next(&self) -> Option<RosterRequest> {
        if self.done {
            return None;
        }
        let Some(statements) = &self.statements else { return Some(RosterRequest::Founding) };
        Some(if !self.wanted.is_empty() {
            let wanted = self.wanted.iter().take(limits::STATEMENTS_PER_FETCH_MAX).copied();
            let wanted = Bounded::new(wanted.collect()).expect("cut to the cap");
            RosterRequest::Statements(wanted)
        } else if !self.buckets.is_empty() {
            RosterRequest::Buckets(Bounded::new(self.buckets.clone()).expect("there are 256"))
        } else {
            RosterRequest::Compare(BucketDigests::of(statements.hashes()).hash())
        })
    }

    /// Takes the answer to what was asked last.
    ///
    /// # Errors
    /// When it cannot be used: then another member may be asked, from the beginning.
    pub(super) fn take(&mut self, answer: RosterAnswer, now: Timestamp) -> Result<(), FetchError> {
        if answer == RosterAnswer::Busy {
            return Err(FetchError::Busy);
        }
        let compares = self.wanted.is_empty() && self.buckets.is_empty();
        let Some(statements) = &mut self.statements else {
            let RosterAnswer::Founding(founding) = answer else {
                return Err(FetchError::Unexpected);
            };
            self.statements = Some(Statements::begin(&founding, Some(self.network))?);
            return Ok(());
        };
        match answer {
            RosterAnswer::Statements(found) if !self.wanted.is_empty() => {
                let asked = self.wanted.len().min(limits::STATEMENTS_PER_FETCH_MAX);
                self.wanted.drain(..asked);
                let mut found: Vec<Vec<u8>> = found.iter().map(|bytes| bytes.to_vec()).collect();
                in_order(&mut found);
                for bytes in found {
                    // What does not hold is of no effect, here as there.
                    self.gained |= statements.take(&bytes, now).is_ok_and(|t| !t.new.is_empty());
                }
            }
            RosterAnswer::Hashes { buckets, hashes }
                if self.wanted.is_empty() && !self.buckets.is_empty() =>
            {
                let covered = usize::from(buckets);
                if covered == 0 || covered > self.buckets.len() {
                    return Err(FetchError::Unexpected);
                }
                let covered: Vec<u8> = self.buckets.drain(..covered).collect();
                let lacking = hashes.iter().filter(|hash| covered.contains(&bucket_of(hash)));
                self.wanted.extend(lacking.filter(|hash| !statements.has(hash)));
                if self.wanted.len() + statements.len() > limits::STATEMENTS_MAX {
                    return Err(FetchError::TooMany);
                }
            }
            RosterAnswer::Same if compares => self.done = true,
            RosterAnswer::Digests(theirs) if compares => {
                let gained = std::mem::take(&mut self.gained);
                self.buckets =
                    BucketDigests::of(statements.hashes()).differing(&theirs).into_inner();
                self.done = self.rounds >= ROUNDS_MAX
                    || (self.rounds > 0 && !gained)
                    || self.buckets.is_empty();
                self.rounds += 1;
            }
            _ => return Err(FetchError::Unexpected),
        }
        Ok(())
    }

    /// What was fetched.
    ///
    /// # Errors
    /// When a founder has not endorsed the founding.
    pub(super) fn finish(self) -> Result<Statements, FetchError> {
        let statements = self.statements.filter(|_| self.done).ok_or(FetchError::Unexpected)?;
        statements.check_endorsed()?;
        Ok(statements)
    }
}
