//! What the node's own clinical systems and admins ask of it, and what they are told.
//!
//! These types are the seam between the HTTP API and the core: nothing of HTTP or FHIR beyond
//! this line, nothing of peers or signatures before it.

use serde::{Deserialize, Serialize};
use signpost_keys::roster::WrongEvaluation;
use signpost_protocol::{
    OdsCode, OrganizationId, PatientIdentifier, Pointer, PointerId, PointerState, Timestamp,
    codec::{ByteString, Text},
    invitation::Invitation,
    limits,
};

use super::{completeness::Completeness, source::Source};

/// On whose behalf a clinical system asks. Reaches the holder with the ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// HL7 v3 PurposeOfUse code, e.g. `TREAT`.
    pub purpose: Text<{ limits::PURPOSE_BYTES_MAX }>,
    /// The user's role.
    pub role: Text<{ limits::ROLE_BYTES_MAX }>,
    /// The user, opaque outside this organization.
    pub user: Text<{ limits::USER_BYTES_MAX }>,
}

/// The organization on whose behalf something is asked is not admitted: no other would answer it.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "{name} ({ods}) {standing}: nothing can be looked up or published on its behalf until it is \
     admitted again; what it holds here can still be exported and deleted"
)]
pub struct NotAdmitted {
    /// Its ODS code.
    pub ods: OdsCode,
    /// Its name.
    pub name: String,
    /// Where it stands, as the end of a sentence.
    pub standing: &'static str,
}

/// "Who holds a record for this patient?"
#[derive(Clone, Debug)]
pub struct LocateRequest {
    /// The patient.
    pub patient: PatientIdentifier,
    /// Who asks.
    pub caller: Caller,
    /// How long the answer may take, in milliseconds.
    pub deadline: u64,
    /// Only this organization's pointers: it is asked directly, whatever its digest says, and
    /// completeness speaks of it alone.
    pub custodian: Option<OdsCode>,
}

/// A pointer that passed every check, ready to be shown.
#[derive(Clone, Debug)]
pub struct FoundPointer {
    /// The pointer.
    pub pointer: Pointer,
    /// The ODS code of its organization today.
    pub ods: OdsCode,
    /// The name of its organization today.
    pub name: String,
}

/// The outcome of a locate.
#[derive(Clone, Debug)]
pub struct Located {
    /// By custodian and id.
    pub pointers: Vec<FoundPointer>,
    /// Whether that is all.
    pub completeness: Completeness,
    /// How many others were asked, those that the same node serves among them.
    pub asked: usize,
    /// Whether the locator came from the cache.
    pub cached: bool,
}

/// Why a locate has no outcome at all.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocateError {
    /// Without the locator nothing can be said, least of all "no records".
    #[error(
        "too few evaluators could be reached to look this patient up: {reached} of the {needed} that are needed ({detail})"
    )]
    TooFewEvaluators {
        /// How many answered correctly.
        reached: usize,
        /// How many it takes.
        needed: usize,
        /// Which failed, and why, by ODS code.
        detail: String,
    },
    /// So many evaluators say that the organization has had as much as it may today, that too few are left.
    #[error(
        "this organization's quota of evaluations is used up for today: it begins anew in {left} \
         seconds, at midnight UTC; patients that were looked up lately can still be ({detail})"
    )]
    OverQuota {
        /// Seconds until midnight UTC.
        left: u64,
        /// Which evaluators failed, and why, by ODS code.
        detail: String,
    },
    /// The network has no key yet by which locators are made.
    #[error(
        "the network has no blinding key yet, so nobody can be looked up: its evaluators have to make \
         one first"
    )]
    NoKey,
    /// Nobody would answer.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// The node has too much to do.
    #[error("the node is too busy: {0}")]
    Busy(&'static str),
    /// Own pointers could not be read, or the disclosure could not be recorded: nothing may be shown.
    #[error("the node's disk failed, so the result is withheld: {0}")]
    Storage(String),
}

/// "Show me the pointer with this id" (FHIR read).
#[derive(Clone, Debug)]
pub struct ReadRequest {
    /// The id; its ODS code leads to the holder.
    pub id: PointerId,
    /// Who asks.
    pub caller: Caller,
    /// How long the answer may take, in milliseconds.
    pub deadline: u64,
}

/// A pointer read by id.
#[derive(Clone, Debug)]
pub struct ReadPointer {
    /// The pointer; a tombstone when it was deleted.
    pub found: FoundPointer,
    /// Its subject, when whoever asks is the holder. Otherwise it stays masked.
    pub subject: Option<PatientIdentifier>,
}

/// Why a pointer cannot be shown. The texts leave out the id: an organization may have chosen one that
/// holds a patient's number.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No such pointer, or none for this asker, or its prefix is no member.
    #[error("no pointer of this id is known")]
    NotFound(PointerId),
    /// The holder could not be asked.
    #[error("{name} ({ods}), which holds this pointer, could not be asked: {reason}")]
    HolderDown {
        /// ODS code of the holder.
        ods: OdsCode,
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// Nobody would answer.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// The node has too much to do.
    #[error("the node is too busy: {0}")]
    Busy(&'static str),
    /// A fault of this node's store.
    #[error("the node's store failed: {0}")]
    Storage(String),
}

/// What a producer wants a pointer to say. Only [`crate::fhir`] makes one, after its checks.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Whose record it is.
    pub patient: PatientIdentifier,
    /// The custodian's ODS code, without suffix.
    pub custodian: OdsCode,
    /// The suffix after the custodian's code.
    pub custodian_suffix: Option<Text<{ limits::CUSTODIAN_SUFFIX_BYTES_MAX }>>,
    /// `Current`, `Superseded` or `EnteredInError`.
    pub state: PointerState,
    /// Whether it counts in the digest. Unless it is said, a new pointer does, and a new version does
    /// if the one before it did: forgetting to say it again must not advertise a sensitive record.
    pub listed: Option<bool>,
    /// The resource as [`Pointer::resource`] wants it.
    pub resource: ByteString<{ limits::RESOURCE_BYTES_MAX }>,
}

/// How a new pointer gets its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewId {
    /// The producer chose it.
    Given(PointerId),
    /// Random.
    Random,
    /// A keyed hash of its content: importing the same content again meets the same pointer.
    /// Keyed with a secret of the node, because the content includes the patient's number.
    FromContent,
}

/// A change to this node's own pointers.
#[derive(Clone, Debug)]
pub enum Write {
    /// Makes a new pointer (FHIR create). A given id that exists is refused.
    Create {
        /// Its id.
        id: NewId,
        /// Its content.
        draft: Draft,
    },
    /// See [`Put`].
    Put(Put),
    /// Changes an existing pointer (FHIR update).
    Update {
        /// Its id.
        id: PointerId,
        /// The version that the producer saw (`If-Match`).
        if_match: Option<u64>,
        /// Its content.
        draft: Draft,
    },
    /// Deletes a pointer (FHIR delete). Deleting a deleted pointer changes nothing.
    Delete {
        /// Its id.
        id: PointerId,
        /// The version that the producer saw (`If-Match`).
        if_match: Option<u64>,
    },
    /// Deletes a pointer that its source no longer has (import), unless it has become another
    /// source's meanwhile.
    Remove {
        /// Its id.
        id: PointerId,
        /// Whose it must be.
        source: Source,
    },
}

/// Makes a pointer of `source` say this, whether it exists or not; the same content again changes
/// nothing (import).
///
/// A pointer of no source becomes the source's own, also when its content stays. One that was
/// deleted and was this source's comes back, with the next version: in nightly extracts records
/// vanish and return.
#[derive(Clone, Debug)]
pub struct Put {
    /// Its id.
    pub id: NewId,
    /// Its content.
    pub draft: Draft,
    /// The producer system that says so.
    pub source: Source,
}

/// What became of a [`Write`], durable when it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The pointer.
    pub id: PointerId,
    /// Its version now.
    pub version: u64,
    /// When that version was made.
    pub issued: Timestamp,
    /// Whether it counts in the digest.
    pub listed: bool,
    /// What happened.
    pub effect: Effect,
}

/// The effect of a [`Write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// There is a new pointer.
    Created,
    /// There is a new version.
    Updated,
    /// It was so already.
    Unchanged,
    /// It is deleted.
    Deleted,
}

/// Why a [`Write`] was not done. Nothing was changed. The texts leave out the id, as those of [`ReadError`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The custodian is another organization.
    #[error(
        "this node holds no records of {ods}: a pointer can only be made at the node of its custodian ({served})"
    )]
    NotServed {
        /// The custodian or the prefix of the id.
        ods: OdsCode,
        /// On whose behalf it was asked.
        served: OdsCode,
    },
    /// The custodian is another organization that this node serves.
    #[error(
        "this is asked on behalf of {asking}, with its token: only {ods}'s own token can make or \
         change pointers of {ods}"
    )]
    OtherServed {
        /// The custodian or the prefix of the id.
        ods: OdsCode,
        /// On whose behalf it was asked.
        asking: OdsCode,
    },
    /// Nobody would believe it.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// The id does not begin with the custodian's ODS code.
    #[error("the id must begin with the custodian's ODS code {ods} and '-'")]
    IdPrefix {
        /// The custodian.
        ods: OdsCode,
    },
    /// A pointer of this id exists.
    #[error("a pointer of this id exists already")]
    Exists(PointerId),
    /// No pointer of this id exists here.
    #[error("no pointer of this id is held here")]
    NotFound(PointerId),
    /// It was deleted; its id is never used again.
    #[error("the pointer of this id was deleted; its id cannot be used again")]
    Gone(PointerId),
    /// Another producer system imports it.
    #[error(
        "pointer {id} comes from the source {owner}: import it with --source {owner}; to move it \
         to another source, delete it in a replacing import of {owner} and give it a new id"
    )]
    OtherSource {
        /// The pointer.
        id: PointerId,
        /// Its source.
        owner: Source,
    },
    /// It was to be deleted as a pointer of a source that it does not belong to.
    #[error("pointer {id} does not belong to the source {owner}, so it was left as it is")]
    NotOfSource {
        /// The pointer.
        id: PointerId,
        /// Whose it was thought to be.
        owner: Source,
    },
    /// Somebody else changed it first.
    #[error(
        "the pointer is at version {current}, not {expected}: read it again and repeat your change"
    )]
    VersionMismatch {
        /// The pointer.
        id: PointerId,
        /// Its version now.
        current: u64,
        /// The version in `If-Match`.
        expected: u64,
    },
    /// A pointer stays with its patient.
    #[error("a pointer's subject cannot be changed: delete the pointer and create another")]
    SubjectChanged(PointerId),
    /// Its locator could not be had, see [`LocateError::TooFewEvaluators`].
    #[error("{0}")]
    Blinding(LocateError),
    /// What would be signed now would be believed by nobody.
    #[error("nothing can be signed now: {0}")]
    CannotSign(&'static str),
    /// The node has too much to do.
    #[error("the node is too busy: {0}")]
    Busy(&'static str),
    /// The store failed: what the node holds after its restart may be the old or the new.
    #[error("the pointer could not be stored: {0}")]
    Storage(String),
}

/// A part of a list, and where the next one begins.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// In the order of their ids, at most the bound of the request.
    pub items: Vec<T>,
    /// Passed as `after` with the next request; `None` at the end of the list.
    pub next: Option<PointerId>,
}

/// Ids in one page of [`LocalRequest::SourceIds`]: 64 KiB, and well under a millisecond of the
/// core's time.
pub const IDS_PER_PAGE_MAX: usize = 1_000;
/// Pointers in one page of [`LocalRequest::Export`], deleted ones among them: 1.3 MiB when each
/// has the most bytes allowed, and a few milliseconds of the core's time.
pub const EXPORTS_PER_PAGE_MAX: usize = 100;

/// Own pointers cannot be listed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// The node has too much to do.
    #[error("the node is too busy: {0}")]
    Busy(&'static str),
    /// A fault of this node's store.
    #[error("the node's store failed: {0}")]
    Storage(String),
}

/// The state of the node, for `signpost status` and `/readyz`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatusReport {
    /// The network's name.
    pub network_name: String,
    /// The network's id, hexadecimal.
    pub network: String,
    /// The organizations that this node serves; first the one on whose behalf this was asked.
    pub serves: Vec<ServedStatus>,
    /// This node's id, hexadecimal.
    pub node: String,
    /// Every other node of the network.
    pub peers: Vec<PeerStatus>,
    /// The evaluators.
    pub evaluators: EvaluatorsStatus,
    /// The roster, and how long it can still be relied on.
    pub roster: RosterStatus,
    /// Whether the node can do its work.
    pub ready: bool,
    /// What stands in the way of `ready`, or makes results partial, in sentences.
    pub notices: Vec<String>,
    /// Difference between this clock and the median of the connected peers', in milliseconds.
    pub clock_offset: Option<i64>,
}

/// The roster as this node has it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RosterStatus {
    /// Number of the steward epoch; the founding is 0.
    pub epoch: u64,
    /// ODS codes of the stewards.
    pub stewards: Vec<String>,
    /// How many of them make law.
    pub threshold: u16,
    /// What nodes that agree have in common, hexadecimal.
    pub digest: String,
    /// When enough stewards to make law had last been heard of (RFC 3339).
    pub heard_of: String,
    /// How far trust has come down for lack of their signs of life: `fresh`, `warned`,
    /// `no-governance` or `no-disclosure`.
    pub expiry: String,
    /// Hours until nothing more can be decided, unless stewards are heard of; negative since then.
    pub hours_to_no_governance: f64,
    /// Hours until holders stop disclosing, unless stewards are heard of; negative since then.
    pub hours_to_no_disclosure: f64,
    /// What people should look into: how many findings `signpost roster show` explains.
    pub findings: usize,
    /// Whether another node has been found to have all that this one was brought by its admins: the
    /// same statements, since it was started and the last of these came.
    #[serde(default)]
    pub shared: bool,
    /// Whether a connected peer says that this node's transport key was revoked or has expired.
    #[serde(default)]
    pub key_void: bool,
}

/// An organization that this node serves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServedStatus {
    /// ODS code.
    pub ods: String,
    /// Name.
    pub name: String,
    /// Organization id, hexadecimal.
    pub organization: String,
    /// Where it stands: `admitted`, `suspended` or `expelled`.
    pub standing: String,
    /// Pointers held, deleted ones not counted: told to the organization itself alone, as no other
    /// learns it from a digest either.
    pub pointers: Option<u64>,
    /// Version of its digest head; absent while the first is being made.
    pub digest_version: Option<u64>,
    /// Set when the node came back from a back-up as of this instant (RFC 3339).
    pub restored_as_of: Option<String>,
}

/// Another node as seen from this one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerStatus {
    /// ODS code of its organization.
    pub ods: String,
    /// Name of its organization.
    pub name: String,
    /// Whether there is a connection now.
    pub connected: bool,
    /// Its digest: `fresh`, `stale` or `missing`.
    pub digest: String,
    /// When its digest head was issued (RFC 3339).
    pub digest_issued: Option<String>,
    /// Version of its digest head.
    pub digest_version: Option<u64>,
}

/// The blinding service as seen from this node.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EvaluatorsStatus {
    /// How many it takes.
    pub threshold: usize,
    /// Their ODS codes.
    pub members: Vec<String>,
    /// Those that are this node or connected now.
    pub connected: Vec<String>,
    /// Whether the shares were dealt by one party: for demonstrations only.
    pub dealt: bool,
    /// The epoch of their key; none while the network has no key.
    #[serde(default)]
    pub key_epoch: Option<u32>,
    /// The epoch of their shares of it.
    #[serde(default)]
    pub share_epoch: Option<u32>,
    /// Whether an organization of this node is one of them, and this node has no share.
    #[serde(default)]
    pub lacks_share: bool,
}

/// A request to the core, always on behalf of one organization that the node serves.
#[derive(Clone, Debug)]
pub enum LocalRequest {
    /// See [`LocateRequest`].
    Locate(LocateRequest),
    /// See [`ReadRequest`].
    Read(ReadRequest),
    /// Changes to own pointers, at most [`WRITES_PER_REQUEST_MAX`], each for itself.
    Write(Vec<Write>),
    /// What each of these would do, at most [`WRITES_PER_REQUEST_MAX`]: nothing is evaluated,
    /// signed or stored.
    Rehearse(Vec<Put>),
    /// The ids of a source's pointers that are not deleted, in order, at most
    /// [`IDS_PER_PAGE_MAX`].
    SourceIds {
        /// The source.
        source: Source,
        /// Only ids behind this one.
        after: Option<PointerId>,
    },
    /// Own pointers that are not deleted, with their subjects, at most [`EXPORTS_PER_PAGE_MAX`].
    Export {
        /// Only those of this source.
        source: Option<Source>,
        /// Only those behind this one.
        after: Option<PointerId>,
    },
    /// The producers have re-sent what came after the back-up: see `restored_as_of`.
    ConfirmRestored,
    /// An invitation by the asking organization.
    Invite {
        /// How long it lasts, in milliseconds; at most [`INVITATION_LIFE_MAX`].
        life: u64,
    },
    /// What was handed in with invitations.
    Applicants,
    /// The roster as this node has it, as the bytes of a roster file.
    RosterFile,
    /// Statements of the roster that an admin brings, at most [`STATEMENTS_PER_REQUEST_MAX`].
    SubmitStatements(Vec<Vec<u8>>),
    /// Takes part in a ceremony of evaluators, as the asking organization: the bytes of its
    /// [`CeremonyConsent`](signpost_protocol::roster::CeremonyConsent), signed by its govern key.
    JoinCeremony(Vec<u8>),
    /// How much this node has evaluated for whom.
    Usage,
    /// Wrong evaluations that this node has caught.
    Evidence,
    /// See [`StatusReport`].
    Status,
}

/// Invitations that a node keeps at one time: a busy month's admissions.
pub const INVITATIONS_MAX: usize = 64;
/// The longest life of an invitation, in milliseconds: a month.
pub const INVITATION_LIFE_MAX: u64 = 30 * 24 * 3_600_000;

/// An organization that wants to join, as it describes itself. Whether it is whom it says is for
/// people to find out.
#[derive(Clone, Debug)]
pub struct Applicant {
    /// The organization.
    pub organization: OrganizationId,
    /// Its ODS code, as it says.
    pub ods: OdsCode,
    /// Its name, as it says.
    pub name: String,
    /// Its signed inception.
    pub inception: Vec<u8>,
    /// Its signed key set.
    pub keys: Vec<u8>,
    /// When it was handed in.
    pub received: Timestamp,
    /// When its invitation is void.
    pub expires: Timestamp,
    /// Why it could not be dialled back, empty when it could; `None` when it was not tried.
    pub unreachable: Option<String>,
    /// Whether the network has a record of it.
    pub is_member: bool,
}

/// Why there is no invitation.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InviteError {
    /// Who invites is itself no admitted member.
    #[error("only an admitted member can invite")]
    NotAdmitted,
    /// There are as many as are kept.
    #[error("this node keeps as many invitations as it can: wait until some have expired")]
    TooMany,
    /// None of its nodes can be found by others.
    #[error("the roster lists no address of this organization: publish its keys first")]
    NoAddress,
    /// The node has too much to do.
    #[error("the node is too busy: {0}")]
    Busy(&'static str),
    /// A fault of this node's store.
    #[error("the node's store failed: {0}")]
    Storage(String),
}

/// What an evaluator has evaluated for others on one day.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UsageDay {
    /// Days since 1970-01-01, UTC.
    pub day: u64,
    /// For whom.
    pub organizations: Vec<UsageShown>,
}

/// What was evaluated for one organization.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UsageShown {
    /// Organization id, hexadecimal.
    pub organization: String,
    /// ODS code.
    pub ods: String,
    /// Name.
    pub name: String,
    /// Numbers to look up.
    pub lookups: u64,
    /// How many it may have in a day by today's roster, before people look into it.
    pub lookups_quota: u64,
    /// Numbers to publish pointers of.
    pub publishes: u64,
    /// How many it may have in a day by today's roster.
    pub publishes_quota: u64,
}

/// A wrong evaluation, with what shows it to others.
#[derive(Clone, Debug)]
pub struct EvidenceShown {
    /// What it shows.
    pub wrong: WrongEvaluation,
    /// The evaluator's ODS code.
    pub ods: OdsCode,
    /// Its name.
    pub name: String,
    /// The bytes of an [`EvaluationEvidence`](signpost_protocol::blind::EvaluationEvidence).
    pub evidence: Vec<u8>,
}

/// Why this node takes no part in a ceremony.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinCeremonyError {
    /// No such ceremony is under way, as far as this node has heard.
    #[error(
        "no such ceremony is under way: `signpost evaluators ceremony status` lists those that are"
    )]
    Unknown,
    /// It cannot take part; the reason in a sentence.
    #[error("{0}")]
    Refused(String),
    /// The node has too much to do.
    #[error("the node is too busy: {0}")]
    Busy(&'static str),
    /// A fault of this node's store.
    #[error("the node's store failed: {0}")]
    Storage(String),
}

/// Statements in one [`LocalRequest::SubmitStatements`]: some tens of milliseconds of the core's time.
pub const STATEMENTS_PER_REQUEST_MAX: usize = 512;

/// What became of a statement that was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Submitted {
    /// It is stored, and passed on to the other members.
    New,
    /// It was here already, or something newer was.
    Known,
    /// It waits for another statement; it is not stored.
    Waits,
}

/// Writes in one request: one evaluation batch, a few tens of milliseconds of the core's time.
pub const WRITES_PER_REQUEST_MAX: usize = 100;

/// What became of [`LocalRequest::ConfirmRestored`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// The organization is no longer named as restored.
    Done,
    /// It was not restored from a back-up.
    Nothing,
    /// Its digest is still being made, peers have yet to be heard, or its clock is wrong: try again in a
    /// moment, or once the clock is right.
    NotYet,
}

/// The core's reply, of the same name as the request.
#[derive(Clone, Debug)]
pub enum LocalReply {
    /// To [`LocalRequest::Locate`].
    Locate(Result<Located, LocateError>),
    /// To [`LocalRequest::Read`].
    Read(Result<ReadPointer, ReadError>),
    /// To [`LocalRequest::Write`], in the same order.
    Write(Vec<Result<Written, WriteError>>),
    /// To [`LocalRequest::Rehearse`], in the same order.
    Rehearse(Vec<Result<Written, WriteError>>),
    /// To [`LocalRequest::SourceIds`].
    SourceIds(Result<Page<PointerId>, ListError>),
    /// To [`LocalRequest::Export`].
    Export(Result<Page<ReadPointer>, ListError>),
    /// To [`LocalRequest::ConfirmRestored`].
    ConfirmRestored(Confirmation),
    /// To [`LocalRequest::Invite`].
    Invite(Result<Box<Invitation>, InviteError>),
    /// To [`LocalRequest::Applicants`].
    Applicants(Result<Vec<Applicant>, String>),
    /// To [`LocalRequest::RosterFile`].
    RosterFile(Vec<u8>),
    /// To [`LocalRequest::SubmitStatements`], in the same order: what became of each, or why it was
    /// refused.
    SubmitStatements(Vec<Result<Submitted, String>>),
    /// To [`LocalRequest::JoinCeremony`].
    JoinCeremony(Result<(), JoinCeremonyError>),
    /// To [`LocalRequest::Usage`], the latest day first.
    Usage(Result<Vec<UsageDay>, String>),
    /// To [`LocalRequest::Evidence`].
    Evidence(Vec<EvidenceShown>),
    /// To [`LocalRequest::Status`].
    Status(Box<StatusReport>),
}

impl LocalReply {
    /// Says why the store failed, where the reply says that it did.
    pub(crate) fn explain(&mut self, fault: &str) {
        match self {
            Self::Locate(Err(LocateError::Storage(reason)))
            | Self::Read(Err(ReadError::Storage(reason))) => fault.clone_into(reason),
            Self::Write(results) | Self::Rehearse(results) => {
                for result in results {
                    if let Err(WriteError::Storage(reason)) = result {
                        fault.clone_into(reason);
                    }
                }
            }
            Self::Invite(Err(InviteError::Storage(reason))) => fault.clone_into(reason),
            Self::SubmitStatements(results) => {
                for reason in results.iter_mut().filter_map(|result| result.as_mut().err()) {
                    if reason.is_empty() {
                        *reason = format!("the node's disk failed: {fault}");
                    }
                }
            }
            Self::SourceIds(Err(ListError::Storage(reason)))
            | Self::Export(Err(ListError::Storage(reason))) => fault.clone_into(reason),
            Self::JoinCeremony(Err(JoinCeremonyError::Storage(reason))) => {
                fault.clone_into(reason);
            }
            Self::Locate(_)
            | Self::JoinCeremony(_)
            | Self::Evidence(_)
            | Self::Usage(_)
            | Self::Read(_)
            | Self::SourceIds(_)
            | Self::Export(_)
            | Self::ConfirmRestored(_)
            | Self::Invite(_)
            | Self::Applicants(_)
            | Self::RosterFile(_)
            | Self::Status(_) => {}
        }
    }
}
