//! Evaluating blinded elements for other members: learns nothing about the patients.

use std::collections::BTreeMap;

use signpost_keys::{ValidAt, Verified, sign};
use signpost_protocol::{
    OrganizationId, PublicKey,
    blind::{EvaluateAnswer, EvaluatePurpose, EvaluateRequest, EvaluatorSet},
    codec::{self, Bounded, ByteString},
    locate::{RefusalCode, Reply},
};
use tracing::{debug, error, warn};

use super::{Core, Now, Turn};
use crate::network::InboundId;

/// Elements evaluated for one organization in a second: a quarter of a core, at 50 µs each.
/// An import waits.
const ELEMENTS_PER_SECOND_MAX: usize = 5_000;
/// Elements evaluated for all organizations in a second: two fifths of a core, so that together
/// they cannot keep an evaluator from its other work ...
const ELEMENTS_OF_ALL_PER_SECOND_MAX: usize = 8_000;
/// ... of which these are kept for looking patients up, by up to 2,000 clinicians a second: whoever
/// publishes can wait.
const ELEMENTS_FOR_LOOK_UPS: usize = 2_000;

/// Elements evaluated in the current second of uptime.
#[derive(Debug, Default)]
pub(super) struct Evaluated {
    second: u64,
    of_all: usize,
    by_organization: BTreeMap<OrganizationId, usize>,
}

impl Evaluated {
    /// Counts `elements`, unless that would be too many.
    fn admit(
        &mut self,
        asking: OrganizationId,
        purpose: EvaluatePurpose,
        elements: usize,
        uptime: u64,
    ) -> bool {
        let second = uptime / 1_000;
        if self.second != second {
            *self = Self { second, ..Self::default() };
        }
        let reserve = if purpose == EvaluatePurpose::Lookup { 0 } else { ELEMENTS_FOR_LOOK_UPS };
        let of_one = self.by_organization.entry(asking).or_default();
        if *of_one + elements > ELEMENTS_PER_SECOND_MAX
            || self.of_all + elements > ELEMENTS_OF_ALL_PER_SECOND_MAX - reserve
        {
            return false;
        }
        *of_one += elements;
        self.of_all += elements;
        true
    }
}

impl Core {
    pub(super) fn on_evaluate(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PublicKey,
        id: InboundId,
        frame: &[u8],
    ) {
        let reply = self.evaluate(turn, &peer, frame);
        let reply = match reply {
            Ok(answer) => Reply::Statement(
                ByteString::new(answer.bytes().to_vec()).expect("an answer is within its cap"),
            ),
            Err(code) => {
                debug!(?peer, ?code, "refused an evaluation");
                Reply::Refused(code)
            }
        };
        turn.act(super::Action::Reply { id, frame: codec::encode(&reply) });
    }

    fn evaluate(
        &mut self,
        turn: &mut Turn<'_>,
        peer: &PublicKey,
        frame: &[u8],
    ) -> Result<Verified<EvaluateAnswer>, RefusalCode> {
        let now = turn.now.unix;
        let request = self.verify_request::<EvaluateRequest>(turn, frame, peer)?;
        let wanted = |set: &&EvaluatorSet| {
            set.key_epoch == request.key_epoch && set.share_epoch == request.share_epoch
        };
        let set =
            self.answered_sets(turn.now.uptime).find(wanted).ok_or(RefusalCode::Epoch)?.clone();
        let own = self.own_share(&set);
        let own = own.filter(|(evaluator, _)| evaluator.organization == request.asked);
        let (evaluator, share) = own.ok_or(RefusalCode::NotServed)?;
        let asking = request.asking;
        self.admit_request(turn, asking, request.request, request.issued, request.expires)?;
        let elements = request.blinded.len();
        if !self.evaluated.admit(asking, request.purpose, elements, turn.now.uptime) {
            return Err(RefusalCode::Busy);
        }
        self.count_usage(turn, asking, request.purpose, elements)?;
        let blinded: Vec<[u8; 32]> = request.blinded.iter().map(|element| **element).collect();
        let evaluation = share.evaluate(&blinded, &mut self.rng).map_err(|error| {
            if self.complaints.may_log(peer, turn.now.uptime) {
                warn!(?peer, %error, "refused blinded elements");
            }
            RefusalCode::Malformed
        })?;
        let evaluated = evaluation.elements.into_iter().map(Into::into).collect();
        let answer = EvaluateAnswer {
            request: request.hash(),
            organization: request.asked,
            index: evaluator.index,
            share_epoch: set.share_epoch,
            evaluated: Bounded::new(evaluated).ok_or_else(|| {
                error!("an evaluation has more elements than its request");
                RefusalCode::Internal
            })?,
            proof_c: evaluation.proof.c.into(),
            proof_s: evaluation.proof.s.into(),
            issued: now,
        };
        Ok(sign(answer, &self.me.transport, &self.roster.network()))
    }

    /// Checks a signed request: by a member's transport key, and by the very key that the peer
    /// proved to hold when it connected, so that nobody can pass on another's request.
    pub(super) fn verify_request<B: signpost_protocol::statement::Body>(
        &mut self,
        turn: &Turn<'_>,
        frame: &[u8],
        peer: &PublicKey,
    ) -> Result<Verified<B>, RefusalCode> {
        use signpost_keys::VerifyError;
        let Now { unix, uptime } = turn.now;
        let request = self.roster.verify::<B>(frame, ValidAt::Now(unix)).map_err(|error| {
            if self.complaints.may_log(peer, uptime) {
                warn!(?peer, %error, "refused a request");
            }
            match error {
                VerifyError::Decode(_) => RefusalCode::Malformed,
                VerifyError::NotAdmitted | VerifyError::UnknownKey => RefusalCode::NotAdmitted,
                _ => RefusalCode::BadSignature,
            }
        })?;
        if request.key_id() != peer.key_id() {
            if self.complaints.may_log(peer, uptime) {
                warn!(?peer, "refused a request that another peer signed");
            }
            return Err(RefusalCode::BadSignature);
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_and_all_together_take_more_than_their_share_and_look_ups_go_first() {
        let mut evaluated = Evaluated::default();
        let mut admit = |organization: u8, purpose, elements, uptime| {
            evaluated.admit(OrganizationId([organization; 32]), purpose, elements, uptime)
        };
        use EvaluatePurpose::{Lookup, Publish};
        assert!(admit(1, Publish, 1_000, 0));
        assert!(admit(1, Publish, 4_000, 500));
        assert!(!admit(1, Lookup, 1, 900), "its share of this second is used up");
        assert!(admit(2, Publish, 1_000, 900));
        assert!(!admit(3, Publish, 1, 900), "the rest is for look-ups");
        assert!(admit(3, Lookup, 2_000, 900));
        assert!(!admit(4, Lookup, 1, 999), "no more than all together may have");
        assert!(admit(1, Publish, 1_000, 1_000), "the next second");
    }
}
