//! The messages of blind evaluation (DESIGN §4): blinded identifiers out, evaluated ones back.

use minicbor::{Decode, Encode, bytes::ByteArray};

use crate::{
    codec::{Bounded, ByteString},
    ids::{ContentHash, OrganizationId, RequestId},
    limits,
    locator::KeyEpoch,
    statement::{Body, KeyUse, StatementKind},
    time::Timestamp,
};

/// A ristretto255 element (RFC 9496 §4.3.2, 32 bytes), not yet checked.
pub type Element = ByteArray<32>;

/// One evaluator and the public half of its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Evaluator {
    /// The Shamir coordinate, 1 to n.
    #[n(0)]
    pub index: u16,
    /// The organization.
    #[n(1)]
    pub organization: OrganizationId,
    /// Its share times the generator.
    #[n(2)]
    pub public_share: Element,
}

/// Who evaluates for one key epoch.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EvaluatorSet {
    /// The key epoch: changes when the key changes.
    #[n(0)]
    pub key_epoch: KeyEpoch,
    /// The share epoch: changes when only the shares change.
    #[n(1)]
    pub share_epoch: u32,
    /// How many evaluators it takes.
    #[n(2)]
    pub threshold: u16,
    /// The public half of the whole key.
    #[n(3)]
    pub group: Element,
    /// The evaluators, by ascending index.
    #[n(4)]
    pub evaluators: Bounded<Evaluator, { limits::EVALUATORS_MAX }>,
    /// True when one party dealt the shares and could know the key: demonstrations only.
    #[n(5)]
    pub dealt: bool,
}

/// What an evaluation is for; quotas are kept apart by purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum EvaluatePurpose {
    /// A clinical system looks a patient up.
    #[n(0)]
    Lookup,
    /// A producer creates pointers.
    #[n(1)]
    Publish,
    /// Locators move to a new key epoch.
    #[n(2)]
    Rekey,
}

/// Blinded identifiers for one evaluator. Signed by a transport key of the asking node.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EvaluateRequest {
    /// The evaluator's organization.
    #[n(0)]
    pub asked: OrganizationId,
    /// Who asks.
    #[n(1)]
    pub asking: OrganizationId,
    /// Tells this exchange from every other.
    #[n(2)]
    pub request: RequestId,
    /// The wanted key epoch.
    #[n(3)]
    pub key_epoch: KeyEpoch,
    /// The share epoch that the asker knows.
    #[n(4)]
    pub share_epoch: u32,
    /// What for.
    #[n(5)]
    pub purpose: EvaluatePurpose,
    /// The blinded elements, at least one.
    #[n(6)]
    pub blinded: Bounded<Element, { limits::EVALUATIONS_PER_REQUEST_MAX }>,
    /// When it was signed.
    #[n(7)]
    pub issued: Timestamp,
    /// When it is void.
    #[n(8)]
    pub expires: Timestamp,
}

impl Body for EvaluateRequest {
    const KIND: StatementKind = StatementKind::EvaluateRequest;
    const SIGNED_BY: KeyUse = KeyUse::Transport;
    const BYTES_MAX: usize = limits::EVALUATE_BYTES_MAX;

    fn author(&self) -> OrganizationId {
        self.asking
    }

    fn issued(&self) -> Timestamp {
        self.issued
    }
}

/// Evaluated elements with one proof for all. Signed by a transport key of the evaluator.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EvaluateAnswer {
    /// The hash of the request, envelope included.
    #[n(0)]
    pub request: ContentHash,
    /// Who answers.
    #[n(1)]
    pub organization: OrganizationId,
    /// Its Shamir coordinate.
    #[n(2)]
    pub index: u16,
    /// The share epoch of the share that was used.
    #[n(3)]
    pub share_epoch: u32,
    /// The evaluated elements, in the order of the request.
    #[n(4)]
    pub evaluated: Bounded<Element, { limits::EVALUATIONS_PER_REQUEST_MAX }>,
    /// Challenge of the batched proof (RFC 9497 §2.2.1), a scalar of 32 bytes.
    #[n(5)]
    pub proof_c: ByteArray<32>,
    /// Response of the batched proof, a scalar of 32 bytes.
    #[n(6)]
    pub proof_s: ByteArray<32>,
    /// When it was signed.
    #[n(7)]
    pub issued: Timestamp,
}

impl Body for EvaluateAnswer {
    const KIND: StatementKind = StatementKind::EvaluateAnswer;
    const SIGNED_BY: KeyUse = KeyUse::Transport;
    const BYTES_MAX: usize = limits::EVALUATE_BYTES_MAX;

    fn author(&self) -> OrganizationId {
        self.organization
    }

    fn issued(&self) -> Timestamp {
        self.issued
    }
}

/// A wrong answer of an evaluator, which it has signed, with the request that it answers: whoever has the
/// roster can check it, and has to trust nobody for it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EvaluationEvidence {
    /// The signed [`EvaluateRequest`].
    #[n(0)]
    pub request: ByteString<{ limits::EVALUATE_BYTES_MAX }>,
    /// The signed [`EvaluateAnswer`].
    #[n(1)]
    pub answer: ByteString<{ limits::EVALUATE_BYTES_MAX }>,
}
