//! Users of a node, and whoever else puts something to it by hand.

use signpost_node::{
    core::{
        Event, Ticket,
        local::{
            Caller, LocalReply, LocalRequest, LocateError, LocateRequest, Located, ReadError,
            ReadPointer, ReadRequest, Write, WriteError, Written,
        },
    },
    network::{GossipId, InboundId, Plane, Verdict},
};
use signpost_protocol::{OrganizationId, PatientIdentifier, PointerId, PublicKey, codec::Text};

use super::Network;

impl Network {
    /// Hands a request to a node over a connection of `peer`, who need not be a member, and waits.
    /// `None` when it is left unanswered.
    ///
    /// # Panics
    /// When nothing comes of it in a minute.
    pub fn exchange(
        &mut self,
        peer: PublicKey,
        to: usize,
        plane: Plane,
        frame: Vec<u8>,
    ) -> Option<Vec<u8>> {
        let id = InboundId(self.number());
        self.push_event(to, 1, Event::Request { peer, plane, id, frame });
        self.run_until(60_000, |network| network.nodes[to].answers.contains_key(&id));
        self.nodes[to].answers.remove(&id).expect("every request is answered or refused")
    }

    /// Hands a gossiped frame to a node as if `via` had passed it on, and waits for its verdict.
    ///
    /// # Panics
    /// When there is none after a minute.
    pub fn gossip(&mut self, via: usize, to: usize, frame: Vec<u8>) -> Verdict {
        let id = GossipId(self.number());
        let via = self.key(via);
        self.push_event(to, 1, Event::Gossip { id, via, frame });
        self.run_until(60_000, |network| network.nodes[to].verdicts.contains_key(&id));
        self.nodes[to].verdicts.remove(&id).expect("every gossiped frame is judged")
    }

    /// Asks a node to locate a patient, and waits.
    ///
    /// # Errors
    /// As the node says.
    pub fn locate(
        &mut self,
        at: usize,
        patient: PatientIdentifier,
    ) -> Result<Located, LocateError> {
        let request = LocateRequest { patient, caller: caller(), deadline: 3_000, custodian: None };
        match self.call(at, LocalRequest::Locate(request)) {
            LocalReply::Locate(result) => result,
            _ => unreachable!("the core replies in kind"),
        }
    }

    /// Asks a node to read a pointer by its id, and waits.
    ///
    /// # Errors
    /// As the node says.
    pub fn read(&mut self, at: usize, id: &PointerId) -> Result<ReadPointer, ReadError> {
        let request = ReadRequest { id: id.clone(), caller: caller(), deadline: 3_000 };
        match self.call(at, LocalRequest::Read(request)) {
            LocalReply::Read(result) => result,
            _ => unreachable!("the core replies in kind"),
        }
    }

    /// Gives a node changes to make, and waits.
    pub fn write(&mut self, at: usize, writes: Vec<Write>) -> Vec<Result<Written, WriteError>> {
        match self.call(at, LocalRequest::Write(writes)) {
            LocalReply::Write(results) => results,
            _ => unreachable!("the core replies in kind"),
        }
    }

    /// Sends a local request, on behalf of the node's first organization, and waits for its reply.
    ///
    /// # Panics
    /// When there is none after a minute.
    pub fn call(&mut self, at: usize, request: LocalRequest) -> LocalReply {
        self.call_for(at, self.nodes[at].founder.organization, request)
    }

    /// Sends a local request on behalf of one of a node's organizations, and waits for its reply.
    ///
    /// # Panics
    /// When there is none after a minute.
    pub fn call_for(
        &mut self,
        at: usize,
        asking: OrganizationId,
        request: LocalRequest,
    ) -> LocalReply {
        let ticket = self.begin_for(at, asking, request);
        self.run_until(60_000, |network| network.nodes[at].replies.contains_key(&ticket));
        self.reply(at, ticket).expect("every local request is answered")
    }

    /// Sends a local request, on behalf of the node's first organization, without waiting.
    pub fn begin(&mut self, at: usize, request: LocalRequest) -> Ticket {
        self.begin_for(at, self.nodes[at].founder.organization, request)
    }

    fn begin_for(&mut self, at: usize, asking: OrganizationId, request: LocalRequest) -> Ticket {
        let ticket = Ticket(self.number());
        self.push_event(at, 0, Event::Local { ticket, asking, request });
        ticket
    }

    /// The reply to [`Self::begin`], if it has come.
    pub fn reply(&mut self, at: usize, ticket: Ticket) -> Option<LocalReply> {
        self.nodes[at].replies.remove(&ticket).map(|(_, reply)| reply)
    }

    /// Whether a request of [`Self::begin`] was answered.
    #[must_use]
    pub fn is_answered(&self, at: usize, ticket: Ticket) -> bool {
        self.nodes[at].replies.contains_key(&ticket)
    }

    /// All replies of a node that nobody has taken, each with the true time at which it left.
    pub fn take_replies(&mut self, at: usize) -> Vec<(Ticket, u64, LocalReply)> {
        let replies = std::mem::take(&mut self.nodes[at].replies);
        replies.into_iter().map(|(ticket, (time, reply))| (ticket, time, reply)).collect()
    }
}

/// The caller of test requests.
#[must_use]
pub fn caller() -> Caller {
    Caller {
        purpose: Text::new("TREAT").expect("short"),
        role: Text::new("clinician").expect("short"),
        user: Text::new("user-1").expect("short"),
    }
}
