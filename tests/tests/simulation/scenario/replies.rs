//! Whether what a node tells its users is as it must be.

use signpost_node::core::{
    Ticket,
    completeness::{Cause, CauseKind},
    local::{
        Confirmation, LocalReply, LocateError, Located, ReadError, ReadPointer, WriteError, Written,
    },
};
use signpost_protocol::{Pointer, PointerId, PointerState, Timestamp};
use signpost_tests::founding::FOUNDED;

use super::{
    Asked, DEADLINE, NODES, Op, PARAMETERS, PATIENTS, Scenario, Search,
    demands::{Because, Due},
};
use crate::{common::patient, truth::Violation};

impl Scenario {
    pub(super) fn reply(
        &mut self,
        ticket: Ticket,
        time: u64,
        reply: LocalReply,
    ) -> Result<(), Violation> {
        let asked = self.asked.remove(&ticket).ok_or("a user was given a second reply")?;
        let Asked { at, begun, op } = asked;
        match (op, reply) {
            (Op::Write { writes }, LocalReply::Write(results)) => {
                self.written(at, time, &writes, results)
            }
            (Op::OfLiar, LocalReply::Write(_)) | (Op::Submit, LocalReply::SubmitStatements(_)) => {
                Ok(())
            }
            (Op::Locate(search), LocalReply::Locate(result)) => {
                self.located(at, begun, time, &search, result)
            }
            (Op::Read { id, in_calm }, LocalReply::Read(result)) => {
                self.has_read(at, begun, time, &id, in_calm, result)
            }
            (Op::Confirm, LocalReply::ConfirmRestored(confirmation)) => {
                self.note(|| format!("ORG{at} on the confirmation: {confirmation:?}"));
                self.confirmed_at = time;
                if confirmation != Confirmation::NotYet && !self.truth.has_doubt(at) {
                    self.restored.remove(&at);
                }
                Ok(())
            }
            _ => Err(format!("ORG{at} does not reply in kind")),
        }
    }

    /// Whether a node's clock has been wrong.
    fn was_wrong(&self, at: usize) -> bool {
        let (least, most) = self.skews[at];
        least.unsigned_abs().max(most.unsigned_abs()) > PARAMETERS.clock_skew_max
    }

    pub(super) fn written(
        &mut self,
        at: usize,
        time: u64,
        ids: &[PointerId],
        results: Vec<Result<Written, WriteError>>,
    ) -> Result<(), Violation> {
        for (id, result) in ids.iter().zip(results) {
            let record = self.truth.pointers[id].clone();
            let deleting = record.attempts.last().is_some_and(|a| a.text.is_none());
            let was_deleted = record.attempts.iter().rev().skip(1).any(|a| a.text.is_none());
            let was_held = record.settled(u64::MAX).is_some();
            let outcome = result
                .as_ref()
                .map_or_else(ToString::to_string, |w| format!("version {}", w.version));
            self.note(|| format!("ORG{at} on {id}: {outcome}"));
            match result {
                Ok(written) => {
                    self.counts.acknowledged += 1;
                    self.truth.acknowledged(id, time, &written)?;
                }
                Err(WriteError::Blinding(_) | WriteError::Busy(_)) => self.truth.refused(id),
                Err(WriteError::NotAdmitted(_)) if self.decided.ever.contains(&at) => {
                    self.truth.refused(id);
                }
                Err(WriteError::CannotSign(_)) if self.was_wrong(at) => self.truth.refused(id),
                Err(WriteError::Gone(_)) if was_deleted => self.truth.gone(id, time),
                Err(WriteError::NotFound(_)) if record.in_doubt && deleting => {
                    self.truth.nothing_to_resend(id);
                }
                Err(WriteError::NotFound(_)) if !was_held => self.truth.refused(id),
                Err(error) => return Err(format!("ORG{at} refuses a change of {id}: {error}")),
            }
        }
        Ok(())
    }

    pub(super) fn check_pointer(
        &mut self,
        shown: &Pointer,
        of: Option<u32>,
        from: u64,
        to: u64,
    ) -> Result<(), Violation> {
        let holder = (0..NODES)
            .find(|at| self.network.nodes[*at].founder.organization == shown.organization);
        let holder = holder.ok_or("a pointer of nobody was shown")?;
        if holder != self.liar {
            let record = self.truth.pointers.get(&shown.id);
            if record.is_some_and(|record| record.holder != holder) {
                return Err(format!("{} was shown as ORG{holder}'s", shown.id));
            }
            return self.truth.check_shown(shown, of, from, to);
        }
        // Its own pointers it may make as it likes, of this patient and in its own name.
        if shown.id.ods_code().as_str() != format!("ORG{holder}") {
            return Err(format!("{} was shown as the liar's", shown.id));
        }
        match of {
            Some(_) if shown.state == PointerState::Tombstone => {
                Err("a tombstone was shown".to_owned())
            }
            Some(of) => self.truth.check_locator(of, shown.locator),
            None => Ok(()),
        }
    }

    pub(super) fn located(
        &mut self,
        at: usize,
        from: u64,
        to: u64,
        search: &Search,
        result: Result<Located, LocateError>,
    ) -> Result<(), Violation> {
        let &Search { patient: of, directly, alone, in_calm, .. } = search;
        let found = match result {
            Ok(found) => found,
            Err(error) if in_calm && self.calm_since.is_some() => {
                return Err(format!("all was well, and ORG{at} said: {error}"));
            }
            Err(error) => {
                self.note(|| format!("ORG{at} on patient {of}: {error}"));
                self.counts.failed += 1;
                return Ok(());
            }
        };
        self.recorded[at] += 1;
        let is_complete = found.completeness.is_complete();
        self.note(|| {
            let ids: Vec<&str> = found.pointers.iter().map(|f| f.pointer.id.as_str()).collect();
            let causes = found.completeness.causes().iter();
            let causes: Vec<String> = causes
                .map(|c| {
                    format!(
                        "{} {}",
                        c.kind.code(),
                        c.organization.as_ref().map_or("-", |o| o.0.as_str())
                    )
                })
                .collect();
            let word = found.completeness.word();
            format!("ORG{at} on patient {of}: {word} {causes:?} {ids:?} (asked at {from})")
        });
        for shown in &found.pointers {
            self.check_pointer(&shown.pointer, Some(of), from, to)?;
        }
        self.check_cut_off(at, &search.cut_off, &found)?;
        if !is_complete {
            self.counts.partial += 1;
            // What a holder signed while its clock was ahead is refused until that time comes.
            let was_ahead = |ods: &str| {
                let at = ods.strip_prefix("ORG").and_then(|at| at.parse::<usize>().ok());
                at.is_some_and(|at| self.skews[at].1 > PARAMETERS.clock_skew_max as i64)
            };
            let is_known = |cause: &Cause| {
                cause.kind == CauseKind::AnswerRefused
                    && cause.organization.as_ref().is_some_and(|(ods, _)| was_ahead(ods.as_str()))
            };
            if in_calm
                && self.calm_since.is_some()
                && !found.completeness.causes().iter().all(is_known)
            {
                let causes = found.completeness.causes();
                return Err(format!(
                    "all was well, and ORG{at} called a result partial: {causes:?}"
                ));
            }
            return Ok(());
        }
        self.counts.complete += 1;
        if !directly {
            self.check_lies(at, from, to, alone)?;
        }
        for Due { id, because, head } in &search.due {
            self.counts.demands += 1;
            let record = &self.truth.pointers[id];
            let shown = found.pointers.iter().find(|shown| shown.pointer.id == *id);
            let base = record.settled(from);
            let is_there = shown
                .is_some_and(|shown| self.truth.attempt_of(record, &shown.pointer, to) >= base);
            if is_there || !record.exists(from, to) {
                continue;
            }
            let restored = self.restored.get(&record.holder);
            // Its own word needs no time to travel.
            let by_word = directly || at == record.holder;
            let delay = if by_word { 0 } else { self.delay(at, record.holder) };
            if (record.in_doubt || *because == Because::DiskReplaced)
                && restored.is_none_or(|restored| restored.excuses(from, delay, *head))
            {
                continue;
            }
            return Err(format!(
                "ORG{at} called a result for patient {of} complete without {id} ({because:?}; \
                 head signed at {head:?}; {record:?}; {restored:?})"
            ));
        }
        Ok(())
    }

    /// A lie told in place of an answer makes a result partial.
    pub(super) fn check_lies(
        &self,
        at: usize,
        from: u64,
        to: u64,
        alone: bool,
    ) -> Result<(), Violation> {
        let clock =
            Timestamp((FOUNDED.0 + from).saturating_add_signed(self.network.nodes[at].skew));
        let weather = self.weather.borrow();
        let told =
            weather.liar.told.iter().rev().find(|told| {
                told.to == at && told.asked >= clock && (from..=to).contains(&told.time)
            });
        match told {
            Some(told) if alone && self.skews[at].0 == self.skews[at].1 => {
                Err(format!("ORG{at} called a result complete in spite of {:?}", told.lie))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn has_read(
        &mut self,
        at: usize,
        from: u64,
        to: u64,
        id: &PointerId,
        in_calm: bool,
        result: Result<ReadPointer, ReadError>,
    ) -> Result<(), Violation> {
        let record = self.truth.pointers[id].clone();
        let was_ahead = self.skews[record.holder].1 > PARAMETERS.clock_skew_max as i64;
        let is_calm = in_calm && self.calm_since.is_some() && !was_ahead;
        match result {
            Ok(read) => {
                if read.found.pointer.id != *id {
                    return Err(format!("{} was shown in place of {id}", read.found.pointer.id));
                }
                self.check_pointer(&read.found.pointer, Some(record.patient), from, to)?;
                let subject = (at == record.holder).then(|| patient(record.patient));
                if read.subject != subject {
                    return Err(format!("{id} was shown with another subject"));
                }
                Ok(())
            }
            Err(ReadError::NotFound(_)) => {
                let restored = self.restored.get(&record.holder);
                let excused = record.in_doubt
                    && restored.is_none_or(|restored| restored.excuses(from, 0, None));
                if record.settled(from).is_some() && !excused && !record.forgotten {
                    return Err(format!(
                        "ORG{at} says that there is no {id} ({record:?}; {restored:?})"
                    ));
                }
                Ok(())
            }
            Err(error) if is_calm => Err(format!("all was well, and ORG{at} said: {error}")),
            Err(_) => Ok(()),
        }
    }

    /// In peace everybody finds everything, and nothing else.
    pub(super) fn check_all(&mut self) -> Result<(), Violation> {
        for at in 0..NODES {
            let of = (at as u64 % PATIENTS) as u32;
            let ticket = self.locate(at, of, false);
            let everything = self.truth.pointers.iter().filter(|(_, record)| {
                record.patient == of
                    && (record.listed || record.holder == at)
                    && record.text().is_some()
            });
            // However new.
            let everything = everything
                .map(|(id, _)| Due { id: id.clone(), because: Because::AllIsWell, head: None })
                .collect();
            let asked = self.asked.get_mut(&ticket).expect("just begun");
            if let Op::Locate(search) = &mut asked.op {
                search.due = everything;
            }
        }
        self.network.run_for(DEADLINE);
        self.step()?;
        if self.asked.is_empty() { Ok(()) } else { Err("a user waits in vain".to_owned()) }
    }
}
