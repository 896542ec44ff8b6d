//! Locating a patient's pointers, and reading a pointer by its id: whom to ask, and what is missing.
//!
//! Both are one conversation: asks go out to nodes in parallel under one deadline, every answer is
//! checked (`answers`), and whatever could not be had is named. The result is recorded before it
//! leaves.

use std::collections::BTreeMap;

use signpost_keys::sign;
use signpost_protocol::{
    ContentHash, KeyEpoch, Locator, NodeId, OrganizationId, PatientIdentifier, PointerId,
    RequestId,
    blind::EvaluatePurpose,
    codec,
    locate::{Ask, AskSubject},
    roster::Standing,
};
use tracing::{error, warn};

use super::{
    Core, Now, Outstanding, Ticket, Turn,
    blinder::Waiter,
    completeness::{Cause, CauseKind, Completeness},
    digests::Candidate,
    local::{
        Caller, FoundPointer, LocalReply, LocateError, LocateRequest, ReadError, ReadPointer,
        ReadRequest,
    },
    rows::RowError,
};
use crate::{
    network::Plane,
    store::{ASKED_MAX, DisclosureRecord},
};

/// Nodes asked in one inquiry: normally 1 to 10 hold something; more than this and the digests
/// themselves are at fault. As many as a disclosure record names.
const TARGETS_MAX: usize = ASKED_MAX;

/// What is said of a suspended member.
pub(super) const SUSPENDED: &str = "is suspended: nothing of it is shown";

/// Pointers by id and organization: no organization can put its own in another's place.
pub(super) type Found = BTreeMap<(PointerId, OrganizationId), FoundPointer>;

/// A local request under way.
pub(super) struct Inquiry {
    pub(super) ticket: Ticket,
    /// On whose behalf.
    pub(super) asking: OrganizationId,
    pub(super) caller: Caller,
    pub(super) request: RequestId,
    /// The uptime at which what is there by then is told.
    pub(super) deadline: u64,
    pub(super) goal: Goal,
    pub(super) targets: Vec<Target>,
    /// Own and received pointers, by id: the newest version of each.
    pub(super) found: Found,
    pub(super) completeness: Completeness,
    /// What other organizations on this node disclosed, to be recorded before the result leaves.
    pub(super) disclosures: Vec<DisclosureRecord>,
}

pub(super) enum Goal {
    Locate {
        patient: PatientIdentifier,
        only: Option<OrganizationId>,
        locator: Option<(KeyEpoch, Locator)>,
        cached: bool,
    },
    Read {
        id: PointerId,
    },
}

/// A node that is asked.
pub(super) struct Target {
    pub(super) organization: OrganizationId,
    pub(super) node: NodeId,
    /// Of the first page.
    pub(super) request: RequestId,
    pub(super) pages: usize,
    pub(super) ask: ContentHash,
    pub(super) waiting: bool,
}

impl Inquiry {
    pub(super) fn wakeup(&self) -> u64 {
        self.deadline
    }

    pub(super) fn is_done(&self) -> bool {
        self.targets.iter().all(|target| !target.waiting)
    }
}

impl Core {
    pub(super) fn start_locate(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        asking: OrganizationId,
        request: LocateRequest,
    ) {
        if let Err(error) = self.check_admitted(&asking) {
            return turn.answer(ticket, LocalReply::Locate(Err(error.into())));
        }
        let LocateRequest { patient, caller, deadline, custodian } = request;
        let mut completeness = Completeness::default();
        let member = custodian.as_ref().map(|ods| self.roster.member_by_ods(ods));
        let only = match (member, custodian) {
            (Some(Some(member)), _) => Some(member.organization),
            (Some(None), Some(ods)) => {
                completeness.add(Cause {
                    kind: CauseKind::NotAMember,
                    detail: format!("no member of this network has the ODS code {ods}"),
                    organization: Some((ods, String::new())),
                    since: None,
                });
                // Nobody has this id, so nobody will be asked.
                Some(OrganizationId([0; 32]))
            }
            _ => None,
        };
        let epoch = self.key_epoch();
        let cached = self.cache.find(asking, epoch, &patient, turn.now.uptime).is_some();
        let id = self.number();
        let deadline = turn.now.uptime + deadline;
        let inquiry = Inquiry {
            ticket,
            asking,
            caller,
            request: self.request_id(),
            deadline,
            goal: Goal::Locate { patient, only, locator: None, cached },
            targets: Vec::new(),
            found: BTreeMap::new(),
            completeness,
            disclosures: Vec::new(),
        };
        self.inquiries.insert(id, inquiry);
        if cached {
            self.inquiry_blinded(turn, id, Ok(()));
        } else {
            let patients = vec![patient];
            let purpose = EvaluatePurpose::Lookup;
            let waiter = (Waiter::Inquiry(id), asking);
            self.start_blinding(turn, waiter, patients, purpose, deadline);
        }
    }

    /// The locator is in the cache now, or cannot be had.
    pub(super) fn inquiry_blinded(
        &mut self,
        turn: &mut Turn<'_>,
        id: u64,
        result: Result<(), LocateError>,
    ) {
        let epoch = self.key_epoch();
        let uptime = turn.now.uptime;
        let Some(asking) = self.inquiries.get(&id).map(|inquiry| inquiry.asking) else { return };
        // It may have been suspended while its patient was blinded.
        let result = self.check_admitted(&asking).map_err(LocateError::from).and(result);
        let Some(inquiry) = self.inquiries.get_mut(&id) else { return };
        let Goal::Locate { patient, only, locator, .. } = &mut inquiry.goal else { return };
        let found = self.cache.find(asking, epoch, patient, uptime);
        let (Some(found), Ok(())) = (found, &result) else {
            let error =
                result.err().unwrap_or(LocateError::Busy("the locator was lost; try again"));
            let inquiry = self.inquiries.remove(&id).expect("looked up above");
            return turn.answer(inquiry.ticket, LocalReply::Locate(Err(error)));
        };
        *locator = Some((epoch, found));
        let (only, locator) = (*only, found);
        let mut completeness = std::mem::take(&mut inquiry.completeness);
        self.note_excluded(only, turn.now, &mut completeness);
        let mut candidates = self.candidates(&locator, epoch, only, turn.now, &mut completeness);
        if candidates.len() > TARGETS_MAX {
            warn!(candidates = candidates.len(), "far too many digests say maybe");
            for left_out in candidates.drain(TARGETS_MAX..) {
                completeness.add(self.cause(
                    CauseKind::Unreachable,
                    &left_out.organization,
                    "was not asked: too many organizations may hold records",
                ));
            }
        }
        let held = self.held_here(turn, &asking, epoch, &locator, only);
        let Some(inquiry) = self.inquiries.get_mut(&id) else { return };
        inquiry.completeness = completeness;
        match held {
            Ok((own, others)) => {
                inquiry.found = own;
                candidates.extend(others);
            }
            Err(fault) => {
                error!(%fault, "own pointers could not be read");
                let inquiry = self.inquiries.remove(&id).expect("looked up above");
                let error = LocateError::Storage(fault.to_string());
                return turn.answer(inquiry.ticket, LocalReply::Locate(Err(error)));
            }
        }
        let subject = AskSubject::Locator { key_epoch: epoch, locator, after: None };
        self.ask_all(turn, id, &candidates, &subject);
    }

    /// What this node has for a locator: the pointers of `asking`, and which of the others that it
    /// serves are to be asked.
    fn held_here(
        &self,
        turn: &Turn<'_>,
        asking: &OrganizationId,
        epoch: KeyEpoch,
        locator: &Locator,
        only: Option<OrganizationId>,
    ) -> Result<(Found, Vec<Candidate>), RowError> {
        let own = match only {
            Some(only) if only != *asking => Found::new(),
            _ => self.own_pointers(turn, asking, epoch, locator)?,
        };
        Ok((own, self.candidates_here(turn, asking, epoch, locator, only)?))
    }

    pub(super) fn start_read(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        asking: OrganizationId,
        request: ReadRequest,
    ) {
        let ReadRequest { id, caller, deadline } = request;
        let Some(member) = self.roster.member_by_ods(&id.ods_code()) else {
            return turn.answer(ticket, LocalReply::Read(Err(ReadError::NotFound(id))));
        };
        if member.organization == asking {
            match self.own_pointer(turn, &asking, &id) {
                Ok(Some(found)) => return self.told_when_durable(turn, ticket, Ok(found)),
                Err(fault) => {
                    error!(%fault, "an own pointer could not be read");
                    let error = ReadError::Storage(fault.to_string());
                    return turn.answer(ticket, LocalReply::Read(Err(error)));
                }
                Ok(None) => {}
            }
        }
        if let Err(error) = self.check_admitted(&asking) {
            return turn.answer(ticket, LocalReply::Read(Err(error.into())));
        }
        let organization = member.organization;
        let (ods, name) = self.label(&organization);
        if !self.roster.is_admitted(&organization) {
            let reason = "it is suspended".to_owned();
            let error = ReadError::HolderDown { ods, name, reason };
            return turn.answer(ticket, LocalReply::Read(Err(error)));
        }
        let me = self.me.node;
        let nodes = self.roster.member(&organization).map(|member| &member.nodes);
        let candidates: Vec<Candidate> = nodes
            .into_iter()
            .flatten()
            .filter(|node| node.node != me || organization != asking)
            .map(|node| Candidate { organization, node: node.node })
            .take(TARGETS_MAX)
            .collect();
        if candidates.is_empty() && organization != asking {
            let reason = "the roster lists no node of it".to_owned();
            let error = ReadError::HolderDown { ods, name, reason };
            return turn.answer(ticket, LocalReply::Read(Err(error)));
        }
        let mut completeness = Completeness::default();
        // A pointer that this node does not hold may be one that it has lost.
        self.note_own_past(Some(organization), &mut completeness);
        let number = self.number();
        let inquiry = Inquiry {
            ticket,
            asking,
            caller,
            request: self.request_id(),
            deadline: turn.now.uptime + deadline,
            goal: Goal::Read { id: id.clone() },
            targets: Vec::new(),
            found: BTreeMap::new(),
            completeness,
            disclosures: Vec::new(),
        };
        self.inquiries.insert(number, inquiry);
        self.ask_all(turn, number, &candidates, &AskSubject::Pointer { id });
    }

    fn told_when_durable(
        &self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        result: Result<ReadPointer, ReadError>,
    ) {
        let fault = ReadError::Storage("its last change is not durable".to_owned());
        turn.answer_durably(ticket, LocalReply::Read(result), LocalReply::Read(Err(fault)));
    }

    fn ask_all(
        &mut self,
        turn: &mut Turn<'_>,
        id: u64,
        candidates: &[Candidate],
        subject: &AskSubject,
    ) {
        // All are there before the first is asked: one on this node answers at once.
        for Candidate { organization, node } in candidates.iter().copied() {
            // One of its own for each: from a common one, holders could tell how many were asked.
            let request = self.request_id();
            let Some(inquiry) = self.inquiries.get_mut(&id) else { return };
            let ask = ContentHash([0; 32]);
            let target = Target { organization, node, request, pages: 0, ask, waiting: true };
            inquiry.targets.push(target);
        }
        for target in 0..candidates.len() {
            self.ask(turn, id, target, subject.clone());
        }
        self.finish_if_done(turn, id);
    }

    pub(super) fn ask(&mut self, turn: &mut Turn<'_>, id: u64, at: usize, subject: AskSubject) {
        let now = turn.now;
        let Some(inquiry) = self.inquiries.get_mut(&id) else { return };
        let Target { organization, node, request, pages, .. } = inquiry.targets[at];
        let member = self.roster.member(&organization);
        let record = member.and_then(|m| m.nodes.iter().find(|known| known.node == node));
        let Some(peer) = record.and_then(|record| self.way_to(record, now.unix)) else {
            let reason = "has no valid transport key in the roster";
            return self.target_failed(id, at, CauseKind::Unreachable, reason);
        };
        let Some(inquiry) = self.inquiries.get_mut(&id) else { return };
        let asking = inquiry.asking;
        let left = inquiry.deadline.saturating_sub(now.uptime).max(1);
        let Caller { purpose, role, user } = inquiry.caller.clone();
        let ask = Ask {
            asked: organization,
            asking,
            subject,
            purpose,
            role,
            user,
            request: of_page(request, pages),
            issued: now.unix,
            expires: now.unix.plus(left.min(self.roster.parameters().request_life_max)),
        };
        let ask = sign(ask, &self.me.transport, &self.roster.network());
        let target = &mut inquiry.targets[at];
        target.ask = ask.hash();
        target.pages += 1;
        target.waiting = true;
        if node == self.me.node {
            let (reply, disclosure) = self.answer_own(turn, ask.bytes());
            let Some(inquiry) = self.inquiries.get_mut(&id) else { return };
            inquiry.disclosures.extend(disclosure);
            return self.on_answer(turn, id, at, Ok(codec::encode(&reply)));
        }
        let outstanding = Outstanding::Ask { inquiry: id, target: at };
        self.send(turn, peer, Plane::Ask, ask.bytes().to_vec(), outstanding);
    }

    pub(super) fn target_failed(&mut self, id: u64, at: usize, kind: CauseKind, reason: &str) {
        let Some(inquiry) = self.inquiries.get_mut(&id) else { return };
        inquiry.targets[at].waiting = false;
        let Target { organization, node, .. } = inquiry.targets[at];
        // One that was suspended while it was asked is named as what it is.
        let (kind, reason) = match self.standing_of(&organization) {
            Some(Standing::Suspended) => (CauseKind::Suspended, SUSPENDED),
            _ => (kind, reason),
        };
        let mut cause = self.cause(kind, &organization, reason);
        if kind == CauseKind::Unreachable {
            let nodes = self.roster.member(&organization).into_iter().flat_map(|m| &m.nodes);
            let keys = nodes.filter(|known| known.node == node).flat_map(|node| &node.transport);
            cause.since = self.peers.lost_since(keys.map(|listed| listed.key));
        }
        if let Some(inquiry) = self.inquiries.get_mut(&id) {
            inquiry.completeness.add(cause);
        }
    }

    /// Tells what is there by now of every inquiry whose time has run out.
    pub(super) fn expire_inquiries(&mut self, turn: &mut Turn<'_>) {
        let uptime = turn.now.uptime;
        let due: Vec<u64> = self
            .inquiries
            .iter()
            .filter(|(_, inquiry)| inquiry.deadline <= uptime && !inquiry.targets.is_empty())
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let waiting: Vec<usize> = self.inquiries[&id]
                .targets
                .iter()
                .enumerate()
                .filter(|(_, target)| target.waiting)
                .map(|(at, _)| at)
                .collect();
            for at in waiting {
                self.target_failed(id, at, CauseKind::Unreachable, "did not answer in time");
            }
            self.finish_if_done(turn, id);
        }
    }

    /// Causes that no digest shows: suspended members, what this node itself may lack, a wrong clock.
    pub(super) fn note_excluded(
        &self,
        only: Option<OrganizationId>,
        now: Now,
        completeness: &mut Completeness,
    ) {
        let suspended = self
            .roster
            .members()
            .filter(|member| member.standing == Standing::Suspended)
            .filter(|member| only.is_none_or(|o| o == member.organization));
        for member in suspended {
            completeness.add(self.cause(CauseKind::Suspended, &member.organization, SUSPENDED));
        }
        self.note_own_past(only, completeness);
        let expelled = only
            .and_then(|organization| self.roster.member(&organization))
            .filter(|member| member.standing == Standing::Expelled);
        if let Some(member) = expelled {
            let reason = "is no longer a member and was not asked";
            completeness.add(self.cause(CauseKind::NotAMember, &member.organization, reason));
        }
        self.stale_roster(now).into_iter().for_each(|cause| completeness.add(cause));
        if self.clock_is_wrong() {
            completeness.add(Cause {
                kind: CauseKind::ClockWrong,
                organization: None,
                since: None,
                detail: "this node's clock differs from its peers' by more than the network allows"
                    .to_owned(),
            });
        }
    }

    pub(super) fn cause(
        &self,
        kind: CauseKind,
        organization: &OrganizationId,
        reason: &str,
    ) -> Cause {
        let organization = Some(self.label(organization));
        Cause { kind, organization, since: None, detail: reason.to_owned() }
    }
}

/// The request id for a further page of an answer: the first with its last byte counted on, so that the
/// records of holder and asker can be put side by side.
fn of_page(first: RequestId, page: usize) -> RequestId {
    let RequestId(mut bytes) = first;
    bytes[15] = bytes[15].wrapping_add(u8::try_from(page).expect("there are few pages"));
    RequestId(bytes)
}
