//! Evaluating blinded elements for other members: learns nothing about the patients.

use signpost_keys::{ValidAt, Verified, sign};
use signpost_protocol::{
    OrganizationId, PublicKey,
    blind::{EvaluateAnswer, EvaluateRequest},
    codec::{self, Bounded, ByteString},
    locate::{RefusalCode, Reply},
};
use tracing::{debug, error, warn};

use super::{Core, Now, Turn};
use crate::network::InboundId;

/// Elements evaluated for one organization in a second: a quarter of a core, at 50 µs each.
/// An import waits; nobody can keep an evaluator from its other work.
const ELEMENTS_PER_SECOND_MAX: usize = 5_000;

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
        turn: &Turn<'_>,
        peer: &PublicKey,
        frame: &[u8],
    ) -> Result<Verified<EvaluateAnswer>, RefusalCode> {
        let now = turn.now.unix;
        let request = self.verify_request::<EvaluateRequest>(turn, frame, peer)?;
        let set = self.roster.evaluators();
        let (key_epoch, share_epoch) = (set.key_epoch, set.share_epoch);
        if self.asking().organization != request.asked || self.me.share.is_none() {
            return Err(RefusalCode::NotServed);
        }
        if request.key_epoch != key_epoch || request.share_epoch != share_epoch {
            return Err(RefusalCode::Epoch);
        }
        let asking = request.asking;
        self.admit_request(turn, asking, request.request, request.issued, request.expires)?;
        self.admit_elements(asking, request.blinded.len(), turn.now.uptime)?;
        let share = self.me.share.as_ref().ok_or(RefusalCode::NotServed)?;
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
            index: share.index().get(),
            share_epoch,
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

    /// Counts what an organization has evaluated in the current second.
    fn admit_elements(
        &mut self,
        asking: OrganizationId,
        elements: usize,
        uptime: u64,
    ) -> Result<(), RefusalCode> {
        let second = uptime / 1_000;
        let entry = self.evaluated.entry(asking).or_default();
        if entry.0 != second {
            *entry = (second, 0);
        }
        if entry.1 + elements > ELEMENTS_PER_SECOND_MAX {
            return Err(RefusalCode::Busy);
        }
        entry.1 += elements;
        Ok(())
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
