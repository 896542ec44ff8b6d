//! What to believe of the answers to an inquiry: each answer must be that organization's to this very
//! ask, and each pointer must stand on its own signature and be of the patient asked for.

use signpost_keys::{ValidAt, Verified};
use signpost_protocol::{
    ContentHash, OrganizationId, Pointer, PointerId, PointerState, codec, limits,
    locate::{Answer, AskSubject, Reply},
};
use tracing::{info, warn};

use super::{
    Core, Turn,
    completeness::CauseKind,
    inquiry::{Goal, Inquiry},
    local::FoundPointer,
};
use crate::network::RequestFailure;

/// Pages fetched from one node: 128 pointers each, more than any person has documents at one place.
const PAGES_MAX: usize = 8;

impl Core {
    pub(super) fn on_answer(
        &mut self,
        turn: &mut Turn<'_>,
        id: u64,
        at: usize,
        result: Result<Vec<u8>, RequestFailure>,
    ) {
        let Some(target) = self.inquiries.get_mut(&id).map(|inquiry| &mut inquiry.targets[at])
        else {
            return;
        };
        target.waiting = false;
        let (organization, ask) = (target.organization, target.ask);
        match result.map(|frame| self.read_answer(turn, &organization, &ask, &frame)) {
            Err(failure) => {
                let (ods, _) = self.label(&organization);
                info!(%ods, %failure, "a candidate could not be asked");
                self.target_failed(id, at, CauseKind::Unreachable, in_words(&failure));
            }
            Ok(Err(fault)) => {
                let (ods, _) = self.label(&organization);
                warn!(%ods, fault, "an answer is not used");
                self.target_failed(id, at, CauseKind::AnswerRefused, &fault);
            }
            Ok(Ok(answer)) => self.take_answer(turn, id, at, &answer),
        }
        self.finish_if_done(turn, id);
    }

    /// Reads a reply and checks that it is that organization's answer to this very ask.
    fn read_answer(
        &self,
        turn: &Turn<'_>,
        organization: &OrganizationId,
        ask: &ContentHash,
        frame: &[u8],
    ) -> Result<Verified<Answer>, String> {
        let reply: Reply = codec::decode("reply", frame, limits::ANSWER_FRAME_BYTES_MAX)
            .map_err(|error| error.to_string())?;
        let bytes = match reply {
            Reply::Statement(bytes) => bytes,
            Reply::Refused(code) => return Err(code.sentence().to_owned()),
        };
        let answer = self
            .roster
            .verify::<Answer>(&bytes, ValidAt::Now(turn.now.unix))
            .map_err(|error| format!("its answer: {error}"))?;
        if answer.organization != *organization {
            return Err("another organization answered in its place".to_owned());
        }
        if answer.ask != *ask {
            return Err("its answer is to another ask".to_owned());
        }
        Ok(answer)
    }

    /// Takes over the pointers of an answer, each after its own checks, and asks for more. One that
    /// does not hold spoils the whole answer: its writer is at fault, or is not who it seems.
    fn take_answer(&mut self, turn: &mut Turn<'_>, id: u64, at: usize, answer: &Answer) {
        let Some(inquiry) = self.inquiries.get(&id) else { return };
        let organization = inquiry.targets[at].organization;
        let (ods, name) = self.label(&organization);
        if let Some(since) = answer.restored_as_of {
            let cause = self.restored(&organization, since);
            let Some(inquiry) = self.inquiries.get_mut(&id) else { return };
            inquiry.completeness.add(cause);
        }
        let mut last: Option<PointerId> = None;
        let mut pointers = Vec::with_capacity(answer.pointers.len());
        for bytes in answer.pointers.iter() {
            let checked = self.check_pointer(turn, &self.inquiries[&id], &organization, bytes);
            let pointer = checked.and_then(|pointer| match &last {
                Some(last) if *last >= pointer.id => {
                    Err("its pointers are out of order".to_owned())
                }
                _ => Ok(pointer),
            });
            match pointer {
                Ok(pointer) => {
                    last = Some(pointer.id.clone());
                    pointers.push(pointer.into_body());
                }
                Err(fault) => {
                    warn!(%ods, fault, "an answer is not used");
                    return self.target_failed(id, at, CauseKind::AnswerRefused, &fault);
                }
            }
        }
        let Some(inquiry) = self.inquiries.get_mut(&id) else { return };
        for pointer in pointers {
            inquiry.keep(FoundPointer { pointer, ods: ods.clone(), name: name.clone() });
        }
        if !answer.more {
            return;
        }
        let Some(inquiry) = self.inquiries.get(&id) else { return };
        let locator = match &inquiry.goal {
            Goal::Locate { locator, .. } => *locator,
            Goal::Read { .. } => None,
        };
        let fits = inquiry.targets[at].pages < PAGES_MAX;
        match (last, locator) {
            (Some(after), Some((key_epoch, locator))) if fits => {
                let subject = AskSubject::Locator { key_epoch, locator, after: Some(after) };
                self.ask(turn, id, at, subject);
            }
            _ => {
                let reason = "holds more pointers than could be fetched";
                self.target_failed(id, at, CauseKind::Truncated, reason);
            }
        }
    }

    /// The checks of DESIGN §3, step 6, on one pointer.
    fn check_pointer(
        &self,
        turn: &Turn<'_>,
        inquiry: &Inquiry,
        organization: &OrganizationId,
        bytes: &[u8],
    ) -> Result<Verified<Pointer>, String> {
        let pointer = self
            .roster
            .verify::<Pointer>(bytes, ValidAt::Issue)
            .map_err(|error| format!("one of its pointers: {error}"))?;
        if pointer.organization != *organization {
            return Err("it passed off another organization's pointer".to_owned());
        }
        let namesake = self.roster.member_by_ods(&pointer.id.ods_code());
        if namesake.is_some_and(|member| member.organization != *organization) {
            return Err("one of its pointers has another organization's id".to_owned());
        }
        let skew = self.roster.parameters().clock_skew_max;
        if pointer.issued > turn.now.unix.plus(skew) {
            return Err("one of its pointers is from the future: compare clocks".to_owned());
        }
        match &inquiry.goal {
            Goal::Locate { locator, .. } => {
                if *locator != Some((pointer.key_epoch, pointer.locator)) {
                    return Err("one of its pointers is of another patient".to_owned());
                }
                if pointer.state == PointerState::Tombstone {
                    return Err("it answered with a deleted pointer".to_owned());
                }
            }
            Goal::Read { id } => {
                if pointer.id != *id {
                    return Err("it answered with another pointer".to_owned());
                }
            }
        }
        Ok(pointer)
    }
}

impl Inquiry {
    /// Keeps the newest version of each pointer: two nodes of one organization may both hold it.
    fn keep(&mut self, found: FoundPointer) {
        let key = (found.pointer.id.clone(), found.pointer.organization);
        let known = self.found.get(&key);
        if known.is_none_or(|known| known.pointer.version < found.pointer.version) {
            self.found.insert(key, found);
        }
    }
}

/// What a clinician should read of a failure; the log has the rest.
fn in_words(failure: &RequestFailure) -> &'static str {
    match failure {
        RequestFailure::Unreachable(_) => "could not be reached",
        RequestFailure::Timeout => "did not answer in time",
        RequestFailure::Closed => "the connection broke before it answered",
        RequestFailure::Unsupported => "does not accept questions from this node",
        RequestFailure::Busy => "was not asked: too many questions to it are under way",
        _ => "did not answer as it should",
    }
}
