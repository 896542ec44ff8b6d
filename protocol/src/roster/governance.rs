//! How members decide together: a proposal, the approvals that make it law, and the signs of life
//! by which old law is told from a frozen view.

use minicbor::{Decode, Encode};

use super::{EvaluatorsRecord, Parameters};
use crate::{
    codec::{self, Bounded, ByteString, DecodeError, Text},
    ids::{ContentHash, OdsCode, OrganizationId, PublicKey},
    limits,
    statement::{Body, KeyUse, StatementKind},
    time::Timestamp,
};

/// Where a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Standing {
    /// Takes part.
    #[n(0)]
    Admitted,
    /// Cut off until it is admitted again; named in results as excluded.
    #[n(1)]
    Suspended,
    /// Gone for good.
    #[n(2)]
    Expelled,
}

/// What the network has decided of one member. The highest version that is law counts; records of
/// different members do not touch each other.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct MemberRecord {
    /// The signed [`Inception`](super::Inception), whole: its hash is the organization's identity.
    #[n(0)]
    pub inception: ByteString<{ limits::INCEPTION_BYTES_MAX }>,
    /// Counts up with every change; 0 in the founding.
    #[n(1)]
    pub version: u64,
    /// Where the member stands.
    #[n(2)]
    pub standing: Standing,
    /// ODS code today, unique among admitted members.
    #[n(3)]
    pub ods: OdsCode,
    /// Name today.
    #[n(4)]
    pub name: Text<{ limits::NAME_BYTES_MAX }>,
    /// The largest digest size class that it may advertise, per node.
    #[n(5)]
    pub class_max: u8,
    /// The organization that has taken its place, as when trusts merge.
    #[n(6)]
    pub successor: Option<OrganizationId>,
}

impl MemberRecord {
    /// Whose record it is: the hash of the signed inception, which this does not check.
    #[must_use]
    pub fn organization(&self) -> OrganizationId {
        OrganizationId(ContentHash::of(&self.inception).0)
    }
}

/// A member whose approval counts, with the key that gives it.
///
/// The key is fixed for the epoch, so that an approval can be checked for ever, whatever keys the
/// organization lists later. Its revocation counts all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Steward {
    /// The organization.
    #[n(0)]
    pub organization: OrganizationId,
    /// Its govern key.
    #[n(1)]
    pub govern: PublicKey,
}

/// The next stewards, and the network's durations under them.
///
/// Law once `threshold` of the stewards before and `threshold` of these have approved it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct StewardEpoch {
    /// One more than the epoch before it; the founding is epoch 0.
    #[n(0)]
    pub number: u64,
    /// The id of the proposal that made the epoch before it law; the network id for epoch 1.
    #[n(1)]
    pub previous: ContentHash,
    /// The stewards.
    #[n(2)]
    pub stewards: Bounded<Steward, { limits::STEWARDS_MAX }>,
    /// How many of them make law: more than half.
    #[n(3)]
    pub threshold: u16,
    /// Shared durations.
    #[n(4)]
    pub parameters: Parameters,
}

/// A new root key for an organization that has lost its own. Takes effect only after a waiting
/// time, in which a former root key can object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RootReset {
    /// Whose.
    #[n(0)]
    pub organization: OrganizationId,
    /// One more than the lineage before it; the inception is lineage 0.
    #[n(1)]
    pub lineage: u32,
    /// The new root public key.
    #[n(2)]
    pub root: PublicKey,
    /// SHA-256 of the root public key after it.
    #[n(3)]
    pub next_root: ContentHash,
}

/// What a proposal would make law.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Change {
    /// A member's record.
    #[n(0)]
    Member(#[n(0)] MemberRecord),
    /// The next stewards.
    #[n(1)]
    Stewards(#[n(0)] StewardEpoch),
    /// A new root key for a member.
    #[n(2)]
    Root(#[n(0)] RootReset),
    /// Who evaluates, with which public shares.
    #[n(3)]
    Evaluators(#[n(0)] EvaluatorsRecord),
}

/// What a change is about. Of the changes of one subject the highest version that is law counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A member's record.
    Member(OrganizationId),
    /// The stewards.
    Stewards,
    /// A member's root key.
    Root(OrganizationId),
    /// The evaluators.
    Evaluators,
}

impl Change {
    /// What it is about, and which version of it.
    #[must_use]
    pub fn subject(&self) -> (Subject, u64) {
        match self {
            Self::Member(record) => (Subject::Member(record.organization()), record.version),
            Self::Stewards(epoch) => (Subject::Stewards, epoch.number),
            Self::Root(reset) => (Subject::Root(reset.organization), u64::from(reset.lineage)),
            Self::Evaluators(record) => (Subject::Evaluators, record.version),
        }
    }
}

/// A change that stewards are asked to approve. Its bytes are content, not a statement: it counts
/// by the approvals that carry it, whoever wrote it. The hash of its bytes is its id.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Proposal {
    /// The steward epoch whose stewards decide.
    #[n(0)]
    pub epoch: u64,
    /// The change.
    #[n(1)]
    pub change: Change,
    /// Why, for the people who decide.
    #[n(2)]
    pub reason: Text<{ limits::REASON_BYTES_MAX }>,
    /// When it was written.
    #[n(3)]
    pub issued: Timestamp,
    /// When it is void unless it has become law.
    #[n(4)]
    pub expires: Timestamp,
}

impl Proposal {
    /// Reads the content of a proposal.
    ///
    /// # Errors
    /// When the bytes are no proposal.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode("proposal", bytes, limits::PROPOSAL_BYTES_MAX)
    }
}

/// A steward's signature under a proposal, which it carries whole: whoever has the approvals needs
/// nothing else, and two approvals that contradict each other are a proof by themselves.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Approval {
    /// The steward.
    #[n(0)]
    pub steward: OrganizationId,
    /// The bytes of the [`Proposal`].
    #[n(1)]
    pub proposal: ByteString<{ limits::PROPOSAL_BYTES_MAX }>,
    /// When it was signed.
    #[n(2)]
    pub issued: Timestamp,
}

impl Body for Approval {
    const KIND: StatementKind = StatementKind::Approval;
    const SIGNED_BY: KeyUse = KeyUse::Govern;
    const BYTES_MAX: usize = limits::STATEMENT_BYTES_MAX;

    fn author(&self) -> OrganizationId {
        self.steward
    }

    fn issued(&self) -> Timestamp {
        self.issued
    }
}

/// A root key's protest against its own replacement.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Objection {
    /// The organization whose root key is to be replaced.
    #[n(0)]
    pub organization: OrganizationId,
    /// The id of the proposal.
    #[n(1)]
    pub proposal: ContentHash,
    /// Why, for the people who decide.
    #[n(2)]
    pub reason: Text<{ limits::REASON_BYTES_MAX }>,
    /// When it was signed.
    #[n(3)]
    pub issued: Timestamp,
}

impl Body for Objection {
    const KIND: StatementKind = StatementKind::Objection;
    const SIGNED_BY: KeyUse = KeyUse::Root;
    const BYTES_MAX: usize = limits::OBJECTION_BYTES_MAX;

    fn author(&self) -> OrganizationId {
        self.organization
    }

    fn issued(&self) -> Timestamp {
        self.issued
    }
}

/// A sign of life of a steward's node: it shows that the roster is not a frozen view, and bears
/// witness to what became law by then.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Heartbeat {
    /// The steward.
    #[n(0)]
    pub steward: OrganizationId,
    /// Counts up with every heartbeat of this steward.
    #[n(1)]
    pub number: u64,
    /// The digest of the roster as this node sees it: SHA-256 over the ids of all law.
    #[n(2)]
    pub roster: ContentHash,
    /// Ids of the proposals that became law, or took effect, since the heartbeat before.
    #[n(3)]
    pub witnessed: Bounded<ContentHash, { limits::WITNESSED_MAX }>,
    /// When it was signed.
    #[n(4)]
    pub issued: Timestamp,
}

impl Body for Heartbeat {
    const KIND: StatementKind = StatementKind::Heartbeat;
    const SIGNED_BY: KeyUse = KeyUse::Transport;
    const BYTES_MAX: usize = limits::STATEMENT_BYTES_MAX;

    fn author(&self) -> OrganizationId {
        self.steward
    }

    fn issued(&self) -> Timestamp {
        self.issued
    }
}
