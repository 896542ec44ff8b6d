//! How the API, the CLI and embedding programs talk to a running node.

use std::sync::Arc;

use signpost_protocol::{OrganizationId, PointerId, invitation::Invitation};
use tokio::sync::{mpsc, oneshot};

use crate::core::{
    local::{
        Applicant, Confirmation, EvidenceShown, InviteError, JoinCeremonyError, ListError,
        LocalReply, LocalRequest, LocateError, LocateRequest, Located, Page, Put, ReadError,
        ReadPointer, ReadRequest, StatusReport, Submitted, UsageDay, Write, WriteError, Written,
    },
    source::Source,
};

/// Requests of clinical systems that may wait for the core: a second's worth at the highest rate
/// measured; beyond it the caller is told that the node is busy rather than left waiting.
pub const LOCAL_QUEUE_MAX: usize = 1024;

/// A request with the place for its reply.
#[derive(Debug)]
pub struct LocalCall {
    /// On whose behalf: one of the organizations that the node serves.
    pub asking: OrganizationId,
    /// What is asked.
    pub request: LocalRequest,
    /// Where the reply goes.
    pub reply: oneshot::Sender<LocalReply>,
}

/// A cloneable way to a running node, on behalf of one of the organizations that it serves:
/// whatever is located, read, written or listed through it is theirs alone.
#[derive(Clone, Debug)]
pub struct NodeHandle {
    calls: mpsc::Sender<LocalCall>,
    served: Arc<[OrganizationId]>,
    asking: OrganizationId,
}

/// Said when the queue to the core is full.
const QUEUE_FULL: &str = "its queue of requests is full; try again in a moment";
/// Said when the core has stopped.
const STOPPING: &str = "it is stopping";

impl NodeHandle {
    /// A handle, on behalf of the first of those that are `served`, and the end from which the
    /// node's core takes the calls.
    ///
    /// # Panics
    /// When nobody is served.
    #[must_use]
    pub fn channel(served: &[OrganizationId]) -> (Self, mpsc::Receiver<LocalCall>) {
        let (calls, receiver) = mpsc::channel(LOCAL_QUEUE_MAX);
        let asking = *served.first().expect("a node serves at least one organization");
        (Self { calls, served: served.into(), asking }, receiver)
    }

    /// The same node, on behalf of another organization; `None` when it does not serve that one.
    #[must_use]
    pub fn on_behalf_of(&self, organization: OrganizationId) -> Option<Self> {
        let is_served = self.served.contains(&organization);
        is_served.then(|| Self { asking: organization, ..self.clone() })
    }

    /// Sends one request and waits for its reply.
    async fn call(&self, request: LocalRequest) -> Result<LocalReply, &'static str> {
        let (reply, answer) = oneshot::channel();
        let call = LocalCall { asking: self.asking, request, reply };
        self.calls.try_send(call).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => QUEUE_FULL,
            mpsc::error::TrySendError::Closed(_) => STOPPING,
        })?;
        answer.await.map_err(|_| STOPPING)
    }

    /// Asks who holds records for a patient.
    ///
    /// # Errors
    /// See [`LocateError`]. A partial result is not an error.
    pub async fn locate(&self, request: LocateRequest) -> Result<Located, LocateError> {
        match self.call(LocalRequest::Locate(request)).await {
            Ok(LocalReply::Locate(result)) => result,
            Ok(_) => unreachable!("the core replies in kind"),
            Err(busy) => Err(LocateError::Busy(busy)),
        }
    }

    /// Reads one pointer by its id, here or at its holder.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read(&self, request: ReadRequest) -> Result<ReadPointer, ReadError> {
        match self.call(LocalRequest::Read(request)).await {
            Ok(LocalReply::Read(result)) => result,
            Ok(_) => unreachable!("the core replies in kind"),
            Err(busy) => Err(ReadError::Busy(busy)),
        }
    }

    /// Changes own pointers, at most [`crate::core::local::WRITES_PER_REQUEST_MAX`] at once. Each
    /// stands for itself; what is reported as done is durable.
    ///
    /// # Errors
    /// One [`WriteError`] for each write that was not done.
    pub async fn write(&self, writes: Vec<Write>) -> Vec<Result<Written, WriteError>> {
        let count = writes.len();
        match self.call(LocalRequest::Write(writes)).await {
            Ok(LocalReply::Write(results)) => results,
            Ok(_) => unreachable!("the core replies in kind"),
            Err(busy) => (0..count).map(|_| Err(WriteError::Busy(busy))).collect(),
        }
    }

    /// What each of these would do, at most [`crate::core::local::WRITES_PER_REQUEST_MAX`] at
    /// once. Nothing is written.
    ///
    /// # Errors
    /// One [`WriteError`] for each that would be refused.
    pub async fn rehearse(&self, puts: Vec<Put>) -> Vec<Result<Written, WriteError>> {
        let count = puts.len();
        match self.call(LocalRequest::Rehearse(puts)).await {
            Ok(LocalReply::Rehearse(results)) => results,
            Ok(_) => unreachable!("the core replies in kind"),
            Err(busy) => (0..count).map(|_| Err(WriteError::Busy(busy))).collect(),
        }
    }

    /// A page of the ids of a source's pointers, from the one behind `after` on.
    ///
    /// # Errors
    /// When the store fails or the node is too busy.
    pub async fn source_ids(
        &self,
        source: Source,
        after: Option<PointerId>,
    ) -> Result<Page<PointerId>, ListError> {
        match self.call(LocalRequest::SourceIds { source, after }).await {
            Ok(LocalReply::SourceIds(page)) => page,
            Ok(_) => unreachable!("the core replies in kind"),
            Err(busy) => Err(ListError::Busy(busy)),
        }
    }

    /// A page of own pointers with their subjects, of all sources or one, from the one behind
    /// `after` on. A page may hold fewer than its bound, even none, and yet not be the last.
    ///
    /// # Errors
    /// When the store fails or the node is too busy.
    pub async fn export(
        &self,
        source: Option<Source>,
        after: Option<PointerId>,
    ) -> Result<Page<ReadPointer>, ListError> {
        match self.call(LocalRequest::Export { source, after }).await {
            Ok(LocalReply::Export(page)) => page,
            Ok(_) => unreachable!("the core replies in kind"),
            Err(busy) => Err(ListError::Busy(busy)),
        }
    }

    /// An invitation by the asking organization, to last so many milliseconds.
    ///
    /// # Errors
    /// See [`InviteError`].
    pub async fn invite(&self, life: u64) -> Result<Invitation, InviteError> {
        match self.call(LocalRequest::Invite { life }).await {
            Ok(LocalReply::Invite(result)) => result.map(|invitation| *invitation),
            Ok(_) => unreachable!("the core replies in kind"),
            Err(busy) => Err(InviteError::Busy(busy)),
        }
    }

    /// How much this node has evaluated for whom, the latest day first.
    ///
    /// # Errors
    /// When the store fails or the node is too busy.
    pub async fn usage(&self) -> Result<Vec<UsageDay>, String> {
        match self.call(LocalRequest::Usage).await? {
            LocalReply::Usage(usage) => usage,
            _ => unreachable!("the core replies in kind"),
        }
    }

    /// Wrong evaluations that this node has caught.
    ///
    /// # Errors
    /// When the node is too busy.
    pub async fn evidence(&self) -> Result<Vec<EvidenceShown>, &'static str> {
        match self.call(LocalRequest::Evidence).await? {
            LocalReply::Evidence(evidence) => Ok(evidence),
            _ => unreachable!("the core replies in kind"),
        }
    }

    /// Takes part in a ceremony of evaluators: by the signed consent of the asking organization.
    ///
    /// # Errors
    /// See [`JoinCeremonyError`].
    pub async fn join_ceremony(&self, consent: Vec<u8>) -> Result<(), JoinCeremonyError> {
        match self.call(LocalRequest::JoinCeremony(consent)).await {
            Ok(LocalReply::JoinCeremony(result)) => result,
            Ok(_) => unreachable!("the core replies in kind"),
            Err(busy) => Err(JoinCeremonyError::Busy(busy)),
        }
    }

    /// The organizations that applied to join with invitations of this node.
    ///
    /// # Errors
    /// When the store fails or the node is too busy.
    pub async fn applicants(&self) -> Result<Vec<Applicant>, String> {
        match self.call(LocalRequest::Applicants).await? {
            LocalReply::Applicants(applicants) => applicants,
            _ => unreachable!("the core replies in kind"),
        }
    }

    /// The roster as this node has it: the bytes of a roster file.
    ///
    /// # Errors
    /// When the node is stopping or too busy.
    pub async fn roster_file(&self) -> Result<Vec<u8>, &'static str> {
        match self.call(LocalRequest::RosterFile).await? {
            LocalReply::RosterFile(file) => Ok(file),
            _ => unreachable!("the core replies in kind"),
        }
    }

    /// Brings statements of the roster, at most
    /// [`crate::core::local::STATEMENTS_PER_REQUEST_MAX`] at once. What is new is durable when this
    /// returns, and passed on.
    ///
    /// # Errors
    /// When the node is stopping or too busy; and for each statement, why it is refused.
    pub async fn submit_statements(
        &self,
        statements: Vec<Vec<u8>>,
    ) -> Result<Vec<Result<Submitted, String>>, &'static str> {
        match self.call(LocalRequest::SubmitStatements(statements)).await? {
            LocalReply::SubmitStatements(results) => Ok(results),
            _ => unreachable!("the core replies in kind"),
        }
    }

    /// Says that producers have re-sent what came after a back-up.
    ///
    /// # Errors
    /// When the node is stopping or too busy.
    pub async fn confirm_restored(&self) -> Result<Confirmation, &'static str> {
        match self.call(LocalRequest::ConfirmRestored).await? {
            LocalReply::ConfirmRestored(done) => Ok(done),
            _ => unreachable!("the core replies in kind"),
        }
    }

    /// The state of the node.
    ///
    /// # Errors
    /// When the node is stopping or too busy.
    pub async fn status(&self) -> Result<StatusReport, &'static str> {
        match self.call(LocalRequest::Status).await? {
            LocalReply::Status(report) => Ok(*report),
            _ => unreachable!("the core replies in kind"),
        }
    }
}
