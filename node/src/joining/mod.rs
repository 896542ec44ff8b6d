//! How a node that was invited becomes a member: it hands in who it is, lets the other side try
//! whether it can be reached, waits until the stewards have admitted it, and fetches the roster.
//!
//! What is said and what follows from the answers is decided without IO, in `applying` and
//! `fetching`; `line` does the asking. Nothing is kept between two runs but the directory: whatever
//! was handed in before is handed in again, which changes nothing.
//!
//! Nobody is believed: the roster counts because its founding hashes to the network of the
//! invitation, and every statement in it is verified like any other.

mod applying;
mod fetching;
mod line;
#[cfg(test)]
mod tests;

use std::time::Duration;

use signpost_keys::roster::Statements;
use signpost_protocol::{
    PublicKey, codec, joining::JoiningStage, limits, roster_exchange::RosterAnswer,
};

pub use self::{applying::Refused, fetching::FetchError};
use self::{
    applying::{Applying, Heard},
    fetching::Fetching,
    line::Line,
};
use crate::{
    network::{NetworkError, PeerAddressError, Plane, RequestFailure},
    runtime::wall_clock,
    setup::Candidate,
};

/// Between two looks at how far things are: people wait for it, and each is one short connection.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(3);
/// Between two rounds in which nobody could be reached, at first; doubled with each ...
const BACK_OFF_MIN: Duration = Duration::from_secs(1);
/// ... up to this.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
/// Looks after which a node that was not reachable is tried again, a minute: somebody is at work on
/// the firewall.
const DIAL_BACK_EVERY: u32 = 20;

/// What an admin who waits wants to know; each is told when it is new.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum News {
    /// The application is on disk at a node that invited.
    HandedIn,
    /// Whether this node can be reached from there; if not, why.
    Reachable(Result<(), String>),
    /// How far the application is.
    Stage(JoiningStage),
    /// The stewards have admitted the organization; the roster is being fetched.
    Admitted,
    /// None of those that the invitation names can be reached: why, for each. It is tried again.
    NobodyReachable(Vec<String>),
    /// The roster could not be fetched. It is tried again.
    FetchFailed(String),
}

/// Why joining does not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The other side refuses.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// None of those that the invitation names can be reached.
    #[error("none of the nodes that the invitation names can be reached: {0}")]
    NobodyReachable(String),
    /// The invitation names something that is no address.
    #[error("the invitation: {0}")]
    Address(#[from] PeerAddressError),
    /// The configuration's address for other nodes is none.
    #[error("peer.listen in signpost.toml is no address: {0}")]
    Listen(String),
    /// The address cannot be listened on.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// What was fetched is not the roster of the network that was joined.
    #[error("what the network's nodes hand out is not its roster: {0}")]
    Fetch(#[from] FetchError),
}

/// What a conversation with one node came to.
enum Outcome {
    /// The application is there, and has not led to membership yet.
    Waits,
    Member,
}

/// Applies with a candidate's invitation until it is admitted, and returns the roster, verified;
/// `None` when it waits and `wait` is false. `tell` hears what is new.
///
/// Cancel safe: what was handed in stays there, and doing so again is harmless.
///
/// # Errors
/// When waiting would not help. An unreachable network is waited for, if `wait` is true.
pub async fn join(
    candidate: &Candidate,
    wait: bool,
    mut tell: impl FnMut(&News),
) -> Result<Option<Statements>, JoinError> {
    let mut line = Line::open(candidate)?;
    let result = follow(candidate, &mut line, wait, &mut tell).await;
    line.close().await;
    result
}

async fn follow(
    candidate: &Candidate,
    line: &mut Line,
    wait: bool,
    tell: &mut impl FnMut(&News),
) -> Result<Option<Statements>, JoinError> {
    let mut peers: Vec<(PublicKey, Applying)> =
        line.peers().into_iter().map(|peer| (peer.key, Applying::new(candidate))).collect();
    let mut told = Told { tell, said: Vec::new() };
    let mut back_off = BACK_OFF_MIN;
    let mut rounds = 0_u32;
    loop {
        rounds = rounds.wrapping_add(1);
        let (mut waits, mut is_member) = (false, false);
        let (mut refused, mut fetch_error, mut unreachable) = (None, None, Vec::new());
        for (peer, applying) in &mut peers {
            if rounds.is_multiple_of(DIAL_BACK_EVERY) && !told.is_reachable() {
                applying.dial_back_again();
            }
            match converse(line, *peer, applying, &mut told).await {
                Ok(Ok(Outcome::Waits)) => waits = true,
                Ok(Ok(Outcome::Member)) => {
                    told.news(News::Admitted);
                    is_member = true;
                    line.hang_up(*peer).await;
                    match fetch(line, *peer, candidate).await {
                        Ok(Ok(statements)) if is_admitted(candidate, &statements) => {
                            return Ok(Some(statements));
                        }
                        Ok(Ok(_)) => unreachable.push("its roster does not list us yet".to_owned()),
                        Ok(Err(error)) => fetch_error = Some(error),
                        Err(failure) => unreachable.push(failure.to_string()),
                    }
                }
                // Another of its nodes may have made the invitation.
                Ok(Err(error)) => refused = Some(error),
                Err(failure) => unreachable.push(failure.to_string()),
            }
            line.hang_up(*peer).await;
            if waits {
                break;
            }
        }
        let pause = match (waits, is_member) {
            (true, _) => {
                back_off = BACK_OFF_MIN;
                PROGRESS_INTERVAL
            }
            (false, true) => match fetch_error {
                Some(error @ FetchError::Founding(_)) => return Err(error.into()),
                Some(error) if !wait => return Err(error.into()),
                None if !wait => return Err(JoinError::NobodyReachable(unreachable.join("; "))),
                error => {
                    let reason = error.map_or(unreachable.join("; "), |error| error.to_string());
                    told.news(News::FetchFailed(reason));
                    grown(&mut back_off)
                }
            },
            (false, false) => {
                if let Some(refused) = refused {
                    return Err(refused.into());
                }
                unreachable.dedup();
                if !wait {
                    return Err(JoinError::NobodyReachable(unreachable.join("; ")));
                }
                told.news(News::NobodyReachable(unreachable));
                grown(&mut back_off)
            }
        };
        if !wait {
            return Ok(None);
        }
        line.idle(pause).await;
    }
}

/// The pause before the next attempt; the one after it is longer.
fn grown(back_off: &mut Duration) -> Duration {
    let pause = *back_off;
    *back_off = (2 * pause).min(BACK_OFF_MAX);
    pause
}

fn is_admitted(candidate: &Candidate, statements: &Statements) -> bool {
    let now = wall_clock();
    let peer = candidate.transport.public();
    let speaks_for = statements.roster(now).organizations_of_peer(&peer, now);
    speaks_for.contains(&candidate.application.organization)
}

/// Says to one node all that there is to say now.
async fn converse(
    line: &mut Line,
    peer: PublicKey,
    applying: &mut Applying,
    told: &mut Told<'_, impl FnMut(&News)>,
) -> Result<Result<Outcome, Refused>, RequestFailure> {
    loop {
        let sent = std::cell::Cell::new(wall_clock());
        let frame = || {
            sent.set(wall_clock());
            applying.hello(sent.get())
        };
        let reply = line.ask(peer, Plane::Hello, frame).await?;
        match applying.hear(&reply, sent.get(), wall_clock()) {
            Ok(Heard::GoOn) => {}
            Ok(Heard::HandedIn) => told.news(News::HandedIn),
            Ok(Heard::DialBack(result)) => told.news(News::Reachable(result)),
            Ok(Heard::Stage(stage)) => {
                told.news(News::Stage(stage));
                return Ok(Ok(Outcome::Waits));
            }
            Ok(Heard::Member) => return Ok(Ok(Outcome::Member)),
            Err(refused) => return Ok(Err(refused)),
        }
    }
}

/// Fetches the whole roster from one member.
async fn fetch(
    line: &mut Line,
    peer: PublicKey,
    candidate: &Candidate,
) -> Result<Result<Statements, FetchError>, RequestFailure> {
    let mut fetching = Fetching::new(candidate.invitation.network);
    while let Some(request) = fetching.next() {
        let frame = codec::encode(&request);
        let reply = line.ask(peer, Plane::Roster, || frame.clone()).await?;
        let max = limits::ROSTER_ANSWER_FRAME_BYTES_MAX;
        let answer: RosterAnswer = codec::decode("roster answer", &reply, max)
            .map_err(|error| RequestFailure::Malformed(error.to_string()))?;
        if let Err(error) = fetching.take(answer, wall_clock()) {
            return Ok(Err(error));
        }
    }
    Ok(fetching.finish())
}

/// What was told, so that nothing is told twice.
struct Told<'a, F> {
    tell: &'a mut F,
    /// The latest of each kind.
    said: Vec<News>,
}

impl<F: FnMut(&News)> Told<'_, F> {
    fn news(&mut self, news: News) {
        if !self.said.contains(&news) {
            let kind = std::mem::discriminant(&news);
            self.said.retain(|said| std::mem::discriminant(said) != kind);
            // Once somebody answers again, silence is news again.
            if !matches!(news, News::NobodyReachable(_)) {
                self.said.retain(|said| !matches!(said, News::NobodyReachable(_)));
            }
            (self.tell)(&news);
            self.said.push(news);
        } else if !matches!(news, News::NobodyReachable(_)) {
            self.said.retain(|said| !matches!(said, News::NobodyReachable(_)));
        }
    }

    fn is_reachable(&self) -> bool {
        self.said.contains(&News::Reachable(Ok(())))
    }
}
