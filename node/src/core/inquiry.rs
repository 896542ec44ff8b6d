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
    locate::{Ask, AskSubject},
    roster::Standing,
};
use tracing::{error, warn};

use super::{
    Core, Outstanding, Persist, Ticket, Turn,
    blinder::Waiter,
    completeness::{Cause, CauseKind, Completeness},
    digests::Candidate,
    event::Action,
    local::{
        Caller, FoundPointer, LocalReply, LocateError, LocateRequest, Located, ReadError,
        ReadPointer, ReadRequest,
    },
};
use crate::{
    network::Plane,
    store::{ASKED_MAX, COMPLETENESS_BYTES_MAX, DisclosureRecord, DisclosureRole, POINTERS_MAX},
};

/// Nodes asked in one inquiry: normally 1 to 10 hold something; more than this and the digests
/// themselves are at fault. As many as a disclosure record names.
const TARGETS_MAX: usize = ASKED_MAX;

/// Pointers by id and organization: no organization can put its own in another's place.
pub(super) type Found = BTreeMap<(PointerId, OrganizationId), FoundPointer>;

/// A local request under way.
pub(super) struct Inquiry {
    pub(super) ticket: Ticket,
    pub(super) caller: Caller,
    pub(super) request: RequestId,
    /// The uptime at which what is there by then is told.
    pub(super) deadline: u64,
    pub(super) goal: Goal,
    pub(super) targets: Vec<Target>,
    /// Own and received pointers, by id: the newest version of each.
    pub(super) found: Found,
    pub(super) completeness: Completeness,
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

    fn is_done(&self) -> bool {
        self.targets.iter().all(|target| !target.waiting)
    }
}

impl Core {
    pub(super) fn start_locate(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        request: LocateRequest,
    ) {
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
        let epoch = self.roster.evaluators().key_epoch;
        let cached = self.cache.find(epoch, &patient, turn.now.uptime).is_some();
        let id = self.number();
        let deadline = turn.now.uptime + deadline;
        let inquiry = Inquiry {
            ticket,
            caller,
            request: self.request_id(),
            deadline,
            goal: Goal::Locate { patient, only, locator: None, cached },
            targets: Vec::new(),
            found: BTreeMap::new(),
            completeness,
        };
        self.inquiries.insert(id, inquiry);
        if cached {
            self.inquiry_blinded(turn, id, Ok(()));
        } else {
            let patients = vec![patient];
            let purpose = EvaluatePurpose::Lookup;
            self.start_blinding(turn, Waiter::Inquiry(id), patients, purpose, deadline);
        }
    }

    /// The locator is in the cache now, or cannot be had.
    pub(super) fn inquiry_blinded(
        &mut self,
        turn: &mut Turn<'_>,
        id: u64,
        result: Result<(), LocateError>,
    ) {
        let epoch = self.roster.evaluators().key_epoch;
        let uptime = turn.now.uptime;
        let Some(inquiry) = self.inquiries.get_mut(&id) else { return };
        let Goal::Locate { patient, only, locator, .. } = &mut inquiry.goal else { return };
        let found = self.cache.find(epoch, patient, uptime);
        let (Some(found), Ok(())) = (found, &result) else {
            let error =
                result.err().unwrap_or(LocateError::Busy("the locator was lost; try again"));
            let inquiry = self.inquiries.remove(&id).expect("looked up above");
            return turn.answer(inquiry.ticket, LocalReply::Locate(Err(error)));
        };
        *locator = Some((epoch, found));
        let (only, locator) = (*only, found);
        let mut completeness = std::mem::take(&mut inquiry.completeness);
        self.note_excluded(only, &mut completeness);
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
        let own = self.own_pointers(turn, epoch, &locator, only);
        let Some(inquiry) = self.inquiries.get_mut(&id) else { return };
        inquiry.completeness = completeness;
        match own {
            Ok(own) => inquiry.found = own,
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

    pub(super) fn start_read(&mut self, turn: &mut Turn<'_>, ticket: Ticket, request: ReadRequest) {
        let ReadRequest { id, caller, deadline } = request;
        let Some(member) = self.roster.member_by_ods(&id.ods_code()) else {
            return turn.answer(ticket, LocalReply::Read(Err(ReadError::NotFound(id))));
        };
        if self.served(&member.organization).is_some() {
            match self.own_pointer(turn, &id) {
                Ok(Some(found)) => return self.told_when_durable(turn, ticket, Ok(found)),
                Err(fault) => {
                    error!(%fault, "an own pointer could not be read");
                    let error = ReadError::Storage(fault.to_string());
                    return turn.answer(ticket, LocalReply::Read(Err(error)));
                }
                Ok(None) => {}
            }
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
            .filter(|node| node.node != me)
            .map(|node| Candidate { organization, node: node.node })
            .take(TARGETS_MAX)
            .collect();
        if candidates.is_empty() && self.served(&organization).is_none() {
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
            caller,
            request: self.request_id(),
            deadline: turn.now.uptime + deadline,
            goal: Goal::Read { id: id.clone() },
            targets: Vec::new(),
            found: BTreeMap::new(),
            completeness,
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
        for candidate in candidates {
            let Candidate { organization, node } = *candidate;
            // One of its own for each: from a common one, holders could tell how many were asked.
            let request = self.request_id();
            let Some(inquiry) = self.inquiries.get_mut(&id) else { return };
            let ask = ContentHash([0; 32]);
            let target = Target { organization, node, request, pages: 0, ask, waiting: true };
            inquiry.targets.push(target);
            let target = inquiry.targets.len() - 1;
            self.ask(turn, id, target, subject.clone());
        }
        self.finish_if_done(turn, id);
    }

    pub(super) fn ask(&mut self, turn: &mut Turn<'_>, id: u64, at: usize, subject: AskSubject) {
        let now = turn.now;
        let asking = self.asking().organization;
        let Some(inquiry) = self.inquiries.get_mut(&id) else { return };
        let Target { organization, node, request, pages, .. } = inquiry.targets[at];
        let member = self.roster.member(&organization);
        let record = member.and_then(|m| m.nodes.iter().find(|known| known.node == node));
        let Some(peer) = record.and_then(|record| self.way_to(record, now.unix)) else {
            let reason = "has no valid transport key in the roster";
            return self.target_failed(id, at, CauseKind::Unreachable, reason);
        };
        let Some(inquiry) = self.inquiries.get_mut(&id) else { return };
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
        let outstanding = Outstanding::Ask { inquiry: id, target: at };
        self.send(turn, peer, Plane::Ask, ask.bytes().to_vec(), outstanding);
    }

    pub(super) fn target_failed(&mut self, id: u64, at: usize, kind: CauseKind, reason: &str) {
        let Some(inquiry) = self.inquiries.get_mut(&id) else { return };
        inquiry.targets[at].waiting = false;
        let Target { organization, node, .. } = inquiry.targets[at];
        let mut cause = self.cause(kind, &organization, reason);
        if kind == CauseKind::Unreachable {
            let nodes = self.roster.member(&organization).into_iter().flat_map(|m| &m.nodes);
            let keys = nodes.filter(|known| known.node == node).flat_map(|node| &node.transport);
            cause.since = self.peers.lost_since(keys.map(|(key, _, _)| *key));
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

    pub(super) fn finish_if_done(&mut self, turn: &mut Turn<'_>, id: u64) {
        let Some(inquiry) = self.inquiries.get(&id).filter(|inquiry| inquiry.is_done()) else {
            return;
        };
        let disclosure = self.asker_record(turn, inquiry);
        let inquiry = self.inquiries.remove(&id).expect("looked up above");
        let ticket = inquiry.ticket;
        let unrecorded = "the disclosure log cannot be written";
        let (reply, otherwise) = match inquiry.goal {
            Goal::Locate { cached, .. } => (
                LocalReply::Locate(Ok(Located {
                    pointers: inquiry.found.into_values().collect(),
                    completeness: inquiry.completeness,
                    asked: inquiry.targets.len(),
                    cached,
                })),
                LocalReply::Locate(Err(LocateError::Storage(unrecorded.to_owned()))),
            ),
            Goal::Read { id } => (
                LocalReply::Read(read_result(id, inquiry.found, &inquiry.completeness)),
                LocalReply::Read(Err(ReadError::Storage(unrecorded.to_owned()))),
            ),
        };
        turn.act(Action::Persist(Persist {
            disclosure: Some(disclosure),
            then: vec![Action::Answer { ticket, reply }],
            otherwise: vec![Action::Answer { ticket, reply: otherwise }],
            ..Persist::default()
        }));
    }

    fn asker_record(&self, turn: &Turn<'_>, inquiry: &Inquiry) -> DisclosureRecord {
        const MORE: &str = "; …";
        let mut completeness = inquiry.completeness.word().to_owned();
        for cause in inquiry.completeness.causes() {
            let ods = cause.organization.as_ref().map_or("-", |(ods, _)| ods.as_str());
            let note = format!("; {} {ods}", cause.kind.code());
            if completeness.len() + note.len() > COMPLETENESS_BYTES_MAX - MORE.len() {
                completeness.push_str(MORE);
                break;
            }
            completeness.push_str(&note);
        }
        let asked = inquiry.targets.iter().map(|t| self.label(&t.organization).0.to_string());
        DisclosureRecord {
            time: turn.now.unix,
            role: DisclosureRole::Asker,
            request: inquiry.request.to_string(),
            asking: self.asking().ods.to_string(),
            asked: asked.take(ASKED_MAX).collect(),
            asks: inquiry.targets.iter().take(ASKED_MAX).map(|t| t.request.to_string()).collect(),
            purpose: inquiry.caller.purpose.to_string(),
            user: inquiry.caller.user.to_string(),
            user_role: inquiry.caller.role.to_string(),
            outcome: match inquiry.goal {
                Goal::Locate { .. } => "located",
                Goal::Read { .. } => "read",
            }
            .to_owned(),
            pointers: inquiry
                .found
                .keys()
                .take(POINTERS_MAX)
                .map(|(id, _)| id.to_string())
                .collect(),
            completeness: Some(completeness),
        }
    }

    /// Causes that no digest shows: suspended members, what this node itself may lack, a wrong clock.
    fn note_excluded(&self, only: Option<OrganizationId>, completeness: &mut Completeness) {
        let suspended = self
            .roster
            .members()
            .filter(|member| member.standing == Standing::Suspended)
            .filter(|member| only.is_none_or(|o| o == member.organization));
        for member in suspended {
            completeness.add(self.cause(
                CauseKind::Suspended,
                &member.organization,
                "is suspended and was not asked",
            ));
        }
        self.note_own_past(only, completeness);
        let expelled = only
            .and_then(|organization| self.roster.member(&organization))
            .filter(|member| member.standing == Standing::Expelled);
        if let Some(member) = expelled {
            let reason = "is no longer a member and was not asked";
            completeness.add(self.cause(CauseKind::NotAMember, &member.organization, reason));
        }
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

/// A pointer that was found is shown; if none was, the holder either has none or could not say.
fn read_result(
    id: PointerId,
    found: Found,
    completeness: &Completeness,
) -> Result<ReadPointer, ReadError> {
    if let Some(found) = found.into_values().next() {
        return Ok(ReadPointer { found, subject: None });
    }
    match completeness.causes().first() {
        None => Err(ReadError::NotFound(id)),
        Some(cause) => {
            let (ods, name) = cause.organization.clone().unwrap_or((id.ods_code(), String::new()));
            Err(ReadError::HolderDown { ods, name, reason: cause.detail.clone() })
        }
    }
}
