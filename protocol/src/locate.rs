//! The messages of the pointers plane: the ask, its answer, and the codes of refusal.

use minicbor::{Decode, Encode};

use crate::{
    codec::{Bounded, ByteString, Text},
    ids::{ContentHash, OrganizationId, PointerId, RequestId},
    limits,
    locator::{KeyEpoch, Locator},
    statement::{Body, KeyUse, StatementKind},
    time::Timestamp,
};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AskSubject {
    /// All pointers with this locator, listed or not, tombstones apart, in order of id.
    #[n(0)]
    Locator {
        /// The key epoch of the locator.
        #[n(0)]
        key_epoch: KeyEpoch,
        /// Stands for the patient.
        #[n(1)]
        locator: Locator,
        /// Go on after this id: the answer before this one said that there is more.
        #[n(2)]
        after: Option<PointerId>,
    },
    /// One pointer by its id (FHIR read).
    #[n(1)]
    Pointer {
        /// The id.
        #[n(0)]
        id: PointerId,
    },
}

/// A question to one organization (DESIGN §3, step 4). Signed by a transport key of the asking node.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Ask {
    /// Who is asked.
    #[n(0)]
    pub asked: OrganizationId,
    /// Who asks.
    #[n(1)]
    pub asking: OrganizationId,
    /// For what.
    #[n(2)]
    pub subject: AskSubject,
    /// Why: an HL7 v3 PurposeOfUse code, e.g. `TREAT`.
    #[n(3)]
    pub purpose: Text<{ limits::PURPOSE_BYTES_MAX }>,
    /// The user's role at the asking organization.
    #[n(4)]
    pub role: Text<{ limits::ROLE_BYTES_MAX }>,
    /// The user, opaque to the asked organization; the asking one can resolve it.
    #[n(5)]
    pub user: Text<{ limits::USER_BYTES_MAX }>,
    /// Tells this exchange from every other.
    #[n(6)]
    pub request: RequestId,
    /// When it was signed.
    #[n(7)]
    pub issued: Timestamp,
    /// When it is void.
    #[n(8)]
    pub expires: Timestamp,
}

impl Body for Ask {
    const KIND: StatementKind = StatementKind::Ask;
    const SIGNED_BY: KeyUse = KeyUse::Transport;
    const BYTES_MAX: usize = limits::ASK_BYTES_MAX;

    fn author(&self) -> OrganizationId {
        self.asking
    }

    fn issued(&self) -> Timestamp {
        self.issued
    }
}

/// The reply of the asked organization, signed by a pointer key valid now.
///
/// "Nothing", "refused" and "not for you" are all an empty list.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Answer {
    /// The hash of the ask, envelope included: an answer fits one ask only.
    #[n(0)]
    pub ask: ContentHash,
    /// Who answers.
    #[n(1)]
    pub organization: OrganizationId,
    /// The signed pointers.
    #[n(2)]
    pub pointers:
        Bounded<ByteString<{ limits::POINTER_BYTES_MAX }>, { limits::POINTERS_PER_ANSWER_MAX }>,
    /// Whether there are more than fitted: ask again after the last id.
    #[n(3)]
    pub more: bool,
    /// When it was signed.
    #[n(4)]
    pub issued: Timestamp,
    /// Set when the organization came back from a back-up as of this instant: it may lack pointers
    /// made since, and the asker's result is partial.
    #[n(5)]
    pub restored_as_of: Option<Timestamp>,
}

impl Body for Answer {
    const KIND: StatementKind = StatementKind::Answer;
    const SIGNED_BY: KeyUse = KeyUse::Pointer;
    const BYTES_MAX: usize = limits::ANSWER_BYTES_MAX;

    fn author(&self) -> OrganizationId {
        self.organization
    }

    fn issued(&self) -> Timestamp {
        self.issued
    }
}

/// Why a peer would not do what it was asked. All that ever leaves about the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum RefusalCode {
    /// The message does not decode or breaks a limit.
    #[n(0)]
    Malformed,
    /// The signature does not verify, or the key is not one that may sign this.
    #[n(1)]
    BadSignature,
    /// The asking organization is no admitted member.
    #[n(2)]
    NotAdmitted,
    /// Issued or expires lies outside the accepted window: compare clocks.
    #[n(3)]
    Clock,
    /// This very request was seen before.
    #[n(4)]
    Replayed,
    /// The organization asked for is not served by this node.
    #[n(5)]
    NotServed,
    /// The key epoch or share epoch is not (or no longer) one this node evaluates.
    #[n(6)]
    Epoch,
    /// Too much at once; try again later.
    #[n(7)]
    Busy,
    /// A fault on the answering side.
    #[n(8)]
    Internal,
    /// Too few stewards have been heard of on the answering side: it does not know any more who is
    /// a member.
    #[n(9)]
    RosterStale,
    /// As much as the organization may have today was evaluated for it.
    #[n(10)]
    OverQuota,
}

impl RefusalCode {
    /// A short sentence for people.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Malformed => "it could not read our message",
            Self::BadSignature => "it does not accept our signature",
            Self::NotAdmitted => "it does not regard us as an admitted member",
            Self::Clock => "our clocks differ by more than the network allows",
            Self::Replayed => "it has seen this request before",
            Self::RosterStale => {
                "it has heard of too few stewards for too long to know who is a member"
            }
            Self::NotServed => "the node does not serve that organization",
            Self::Epoch => "it does not serve this key epoch",
            Self::Busy => "it is too busy",
            Self::Internal => "it had a fault of its own",
            Self::OverQuota => "our quota of evaluations for today is used up there",
        }
    }
}

/// What comes back on the ask and evaluate protocols: a signed statement or a code.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Reply {
    /// The signed answer.
    #[n(0)]
    Statement(#[n(0)] ByteString<{ limits::ANSWER_BYTES_MAX }>),
    /// A refusal.
    #[n(1)]
    Refused(#[n(0)] RefusalCode),
}
