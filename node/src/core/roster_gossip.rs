//! What to make of a gossiped statement of the roster, and how much of one author's is passed on.
//!
//! Whatever is new and holds is passed on by every node, to everybody. So one author gets a share of
//! that and no more: what goes beyond it is found when nodes compare, and of that only the newest.

use std::collections::BTreeMap;

use signpost_keys::{
    VerifyError,
    roster::{Refusal, claimed},
};
use signpost_protocol::{OrganizationId, PublicKey, statement::statement_hash};
use tracing::warn;

use super::{Core, Turn, local::Submitted, membership::From};
use crate::network::Verdict;

/// Statements of one author that are passed on in one [`SPAN`]: as many as its own node publishes of
/// one decision of its admins (`membership`).
const PER_AUTHOR_MAX: usize = 64;
/// Milliseconds.
const SPAN: u64 = 60_000;

/// How many statements of each author were passed on lately. Only who has signed one is in it.
#[derive(Debug, Default)]
pub(super) struct PassedOn {
    span: u64,
    by_author: BTreeMap<OrganizationId, usize>,
}

impl PassedOn {
    fn is_spent(&mut self, author: &OrganizationId, uptime: u64) -> bool {
        let span = uptime / SPAN;
        if self.span != span {
            *self = Self { span, by_author: BTreeMap::new() };
        }
        self.by_author.get(author).is_some_and(|count| *count >= PER_AUTHOR_MAX)
    }

    fn count(&mut self, author: OrganizationId) {
        *self.by_author.entry(author).or_default() += 1;
    }
}

impl Core {
    /// Considers one statement that `source` passed on.
    pub(super) fn offer_statement(
        &mut self,
        turn: &mut Turn<'_>,
        bytes: &[u8],
        source: PublicKey,
    ) -> Verdict {
        let hash = statement_hash(bytes);
        if self.membership.statements.has(&hash) {
            return Verdict::Ignore;
        }
        let author = claimed(bytes).map(|(author, _)| author);
        let uptime = turn.now.uptime;
        if author.is_some_and(|author| self.membership.passed_on.is_spent(&author, uptime)) {
            return Verdict::Ignore;
        }
        match self.take_statements(turn, &[bytes.to_vec()], From::Gossip).pop() {
            Some(Ok(Submitted::New)) => {
                author.into_iter().for_each(|author| self.membership.passed_on.count(author));
                Verdict::Accept
            }
            // Nobody has verified it yet, so it is not passed on. Whoever did so knows more.
            Some(Ok(Submitted::Waits)) => {
                self.compare_roster_soon(turn, source);
                Verdict::Ignore
            }
            Some(Ok(Submitted::Known)) | None => Verdict::Ignore,
            Some(Err(error)) => {
                if self.complaints.may_log(&source, uptime) {
                    warn!(?source, %error, "refused a statement of the roster");
                }
                match error {
                    Refusal::Kind
                    | Refusal::Verify(VerifyError::Decode(_) | VerifyError::BadSignature) => {
                        Verdict::Reject
                    }
                    // Clocks differ, and so does what is known of keys: no fault of the messenger.
                    _ => Verdict::Ignore,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_author_gets_its_share_of_each_minute_and_others_theirs() {
        let (loud, quiet) = (OrganizationId([1; 32]), OrganizationId([2; 32]));
        let mut passed_on = PassedOn::default();
        let mut pass = |author, uptime| {
            let is_spent = passed_on.is_spent(&author, uptime);
            if !is_spent {
                passed_on.count(author);
            }
            !is_spent
        };
        assert_eq!((0..1_000).filter(|at| pass(loud, *at)).count(), PER_AUTHOR_MAX);
        assert!(pass(quiet, 1_000));
        assert!(!pass(loud, SPAN - 1) && pass(loud, SPAN), "the next minute");
    }
}
