//! Showing others that an evaluator has answered wrongly.

use signpost_protocol::{
    KeyEpoch, OrganizationId, Timestamp,
    blind::{EvaluateAnswer, EvaluateRequest, EvaluationEvidence},
    statement::{Body, Envelope},
};

use super::Roster;
use crate::{
    blinding::{Evaluation, Proof, PublicShare},
    signing::VerifyError,
};

/// What evidence shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongEvaluation {
    /// The evaluator.
    pub organization: OrganizationId,
    /// Under this index.
    pub index: u16,
    /// Of this key.
    pub key_epoch: KeyEpoch,
    /// And these shares.
    pub share_epoch: u32,
    /// When it answered, by its own clock.
    pub issued: Timestamp,
    /// Whom it answered.
    pub asking: OrganizationId,
}

/// Why evidence shows nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoEvidence {
    /// A signature does not hold.
    #[error("the {0} does not hold: {1}")]
    Verify(&'static str, #[source] VerifyError),
    /// Request and answer do not belong together.
    #[error("the answer is not one to this request")]
    Apart,
    /// The roster lists no such evaluator, or not any more.
    #[error("this roster lists no such evaluator with shares of that epoch")]
    Unlisted,
    /// Every evaluator must refuse such a request.
    #[error(
        "the request is one that every evaluator must refuse, so no answer to it shows anything"
    )]
    Request,
    /// The answer is right.
    #[error("the answer is right")]
    Right,
}

impl NoEvidence {
    /// Whether it may have shown something once, by a roster that knew more of the past.
    #[must_use]
    pub const fn is_forgotten(&self) -> bool {
        matches!(self, Self::Unlisted | Self::Verify(_, VerifyError::UnknownKey))
    }
}

impl WrongEvaluation {
    /// What evidence says of itself, without being checked: of what was checked once before.
    #[must_use]
    pub fn claimed(evidence: &EvaluationEvidence) -> Option<Self> {
        fn body<B: Body>(bytes: &[u8]) -> Option<B> {
            Envelope::parse(B::KIND, bytes, B::BYTES_MAX).ok()?.body().ok()
        }
        let request: EvaluateRequest = body(&evidence.request)?;
        let answer: EvaluateAnswer = body(&evidence.answer)?;
        Some(Self {
            organization: answer.organization,
            index: answer.index,
            key_epoch: request.key_epoch,
            share_epoch: request.share_epoch,
            issued: answer.issued,
            asking: request.asking,
        })
    }
}

impl Roster {
    /// Checks evidence against an evaluator. Nobody needs to be trusted for it: the evaluator has signed
    /// the answer, and its public share refutes it. It holds for as long as the keys are listed, wherever
    /// both stand by then.
    ///
    /// # Errors
    /// Says why it shows nothing.
    pub fn convict(&self, evidence: &EvaluationEvidence) -> Result<WrongEvaluation, NoEvidence> {
        let verify = |what| move |error| NoEvidence::Verify(what, error);
        let request = self.verify_shown::<EvaluateRequest>(&evidence.request);
        let request = request.map_err(verify("request"))?;
        let answer = self.verify_shown::<EvaluateAnswer>(&evidence.answer);
        let answer = answer.map_err(verify("answer"))?;
        let is_answer = answer.request == request.hash()
            && answer.organization == request.asked
            && answer.share_epoch == request.share_epoch;
        if !is_answer {
            return Err(NoEvidence::Apart);
        }
        let former = self.evaluators.former.iter().map(|(set, _)| set);
        let mut sets = self.evaluators.sets.iter().chain(former).filter(|set| {
            set.key_epoch == request.key_epoch && set.share_epoch == request.share_epoch
        });
        let listed = sets.find_map(|set| {
            let is_it = |one: &&signpost_protocol::blind::Evaluator| {
                one.index == answer.index && one.organization == answer.organization
            };
            set.evaluators.iter().find(is_it)
        });
        let share = listed.and_then(|one| PublicShare::from_bytes(*one.public_share).ok());
        let share = share.ok_or(NoEvidence::Unlisted)?;
        let blinded: Vec<[u8; 32]> = request.blinded.iter().map(|element| **element).collect();
        let evaluation = Evaluation {
            elements: answer.evaluated.iter().map(|element| **element).collect(),
            proof: Proof { c: *answer.proof_c, s: *answer.proof_s },
        };
        match share.refutes(&blinded, &evaluation) {
            Err(_) => Err(NoEvidence::Request),
            Ok(false) => Err(NoEvidence::Right),
            Ok(true) => Ok(WrongEvaluation {
                organization: answer.organization,
                index: answer.index,
                key_epoch: request.key_epoch,
                share_epoch: request.share_epoch,
                issued: answer.issued,
                asking: request.asking,
            }),
        }
    }
}
