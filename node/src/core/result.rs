//! What a result says once everybody has answered, or time has run out: recorded before it leaves.

use signpost_protocol::{OrganizationId, PointerId, roster::Standing};

use super::{
    Core, Now, Persist, Turn,
    completeness::{CauseKind, Completeness},
    event::Action,
    inquiry::{Found, Goal, Inquiry, SUSPENDED, Target},
    local::{LocalReply, LocateError, Located, NotAdmitted, ReadError, ReadPointer},
};
use crate::store::{
    ASKED_MAX, COMPLETENESS_BYTES_MAX, DisclosureRecord, DisclosureRole, POINTERS_MAX,
};

impl Core {
    /// Tells what was found, if nobody is waited for any more.
    pub(super) fn finish_if_done(&mut self, turn: &mut Turn<'_>, id: u64) {
        if self.inquiries.get(&id).is_none_or(|inquiry| !inquiry.is_done()) {
            return;
        }
        let mut inquiry = self.inquiries.remove(&id).expect("looked up above");
        let refusal = self.follow_roster(turn.now, &mut inquiry);
        let disclosure = self.asker_record(turn, &inquiry);
        let ticket = inquiry.ticket;
        let mut disclosures = std::mem::take(&mut inquiry.disclosures);
        disclosures.push(disclosure);
        let unrecorded = "the disclosure log cannot be written";
        let (reply, otherwise) = match inquiry.goal {
            Goal::Locate { cached, .. } => {
                let located = Located {
                    pointers: inquiry.found.into_values().collect(),
                    completeness: inquiry.completeness,
                    asked: inquiry.targets.len(),
                    cached,
                };
                let located = refusal.map_or(Ok(located), |refusal| Err(refusal.into()));
                (
                    LocalReply::Locate(located),
                    LocalReply::Locate(Err(LocateError::Storage(unrecorded.to_owned()))),
                )
            }
            Goal::Read { id } => {
                let read = read_result(id, inquiry.found, &inquiry.completeness);
                let read = refusal.map_or(read, |refusal| Err(refusal.into()));
                (
                    LocalReply::Read(read),
                    LocalReply::Read(Err(ReadError::Storage(unrecorded.to_owned()))),
                )
            }
        };
        turn.act(Action::Persist(Persist {
            disclosures,
            then: vec![Action::Answer { ticket, reply }],
            otherwise: vec![Action::Answer { ticket, reply: otherwise }],
            ..Persist::default()
        }));
    }

    /// What the roster has come to say while an inquiry was under way: members that were suspended
    /// are named, and nothing of theirs is shown; one that was suspended itself is told nothing.
    fn follow_roster(&self, now: Now, inquiry: &mut Inquiry) -> Option<NotAdmitted> {
        let Inquiry { asking, goal, targets, found, completeness, .. } = inquiry;
        let is_cut_off = |organization: &OrganizationId| {
            organization != asking && !self.roster.is_admitted(organization)
        };
        found.retain(|(_, organization), _| !is_cut_off(organization));
        for Target { organization, .. } in targets.iter() {
            if self.standing_of(organization) == Some(Standing::Suspended) {
                completeness.add(self.cause(CauseKind::Suspended, organization, SUSPENDED));
            }
        }
        if let Goal::Locate { only, .. } = goal {
            self.note_excluded(*only, now, completeness);
        }
        let refusal = self.check_admitted(asking).err();
        if refusal.is_some() {
            found.clear();
        }
        refusal
    }

    pub(super) fn standing_of(&self, organization: &OrganizationId) -> Option<Standing> {
        self.roster.member(organization).map(|member| member.standing)
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
            asking: self.label(&inquiry.asking).0.to_string(),
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
