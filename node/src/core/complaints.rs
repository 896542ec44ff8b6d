//! How much is logged about one peer: enough to see what it does, never so much that a peer who
//! sends nonsense as fast as it can fills the disk.

use std::collections::BTreeMap;

use signpost_protocol::PublicKey;
use tracing::warn;

/// Lines about one peer in one [`SPAN`]: enough to see every kind of fault that it makes.
const LINES_MAX: u64 = 10;
/// Milliseconds.
const SPAN: u64 = 60_000;

/// In whose name all strangers are complained of: there can be any number of them.
pub(super) const ALL_STRANGERS: PublicKey = PublicKey([0; 32]);

/// What was complained of lately, by peer. Members have a name each, of which there are as many as
/// they have keys; strangers share one.
#[derive(Debug, Default)]
pub(super) struct Complaints(BTreeMap<PublicKey, Span>);

#[derive(Debug)]
struct Span {
    began: u64,
    complaints: u64,
}

impl Complaints {
    /// Whether another line about `peer` is to be logged at this uptime.
    pub(super) fn may_log(&mut self, peer: &PublicKey, uptime: u64) -> bool {
        let span = self.0.entry(*peer).or_insert(Span { began: uptime, complaints: 0 });
        if uptime.saturating_sub(span.began) >= SPAN {
            let unsaid = span.complaints.saturating_sub(LINES_MAX);
            if unsaid > 0 {
                warn!(?peer, unsaid, "messages of a peer were refused without a line for each");
            }
            *span = Span { began: uptime, complaints: 0 };
        }
        span.complaints += 1;
        if span.complaints == LINES_MAX {
            warn!(
                ?peer,
                "a peer sends much that is refused; not every message is logged from now on"
            );
        }
        span.complaints <= LINES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_gets_its_lines_in_a_minute_and_no_more_whatever_others_do() {
        let (loud, quiet) = (PublicKey([1; 32]), PublicKey([2; 32]));
        let mut complaints = Complaints::default();
        let lines = |complaints: &mut Complaints, peer, from: u64| {
            (from..from + 1_000).filter(|at| complaints.may_log(peer, *at)).count() as u64
        };
        assert_eq!(lines(&mut complaints, &loud, 0), LINES_MAX);
        assert_eq!(lines(&mut complaints, &loud, 1_000), 0);
        assert!(complaints.may_log(&quiet, 2_000));
        assert_eq!(lines(&mut complaints, &loud, SPAN), LINES_MAX);
    }
}
