//! What users and producers ask of their nodes.

use rand_core::Rng as _;
use signpost_node::core::{
    Ticket,
    local::{LocalRequest, LocateRequest, NewId, Put, ReadRequest, Write},
    source::Source,
};
use signpost_protocol::PointerId;
use signpost_tests::sim::caller;

use super::{Asked, DEADLINE, Op, PATIENTS, Scenario, Search};
use crate::{
    common::{draft, patient},
    truth::{Record, Violation},
};

impl Scenario {
    pub(super) fn user_acts(&mut self) -> Result<(), Violation> {
        let at = self.some_node();
        match self.below(20) {
            0..6 => {
                self.create(at);
            }
            6..8 => self.change(false),
            8 => self.change(true),
            9 => self.retry(),
            10..12 => self.read(at),
            12 => {
                let of = self.below(PATIENTS) as u32;
                self.locate(at, of, true);
            }
            _ => {
                let of = self.below(PATIENTS) as u32;
                self.locate(at, of, false);
            }
        }
        self.resend_and_confirm()
    }

    pub(super) fn begin(&mut self, at: usize, request: LocalRequest, op: Op) -> Ticket {
        let ticket = self.network.begin(at, request);
        self.asked.insert(ticket, Asked { at, begun: self.network.now, op });
        ticket
    }

    pub(super) fn text(&mut self) -> u64 {
        self.next_text += 1;
        self.next_text
    }

    pub(super) fn create(&mut self, at: usize) -> Ticket {
        let mut writes = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..=self.below(8) / 6 {
            let of = self.below(PATIENTS) as u32;
            let (listed, text) = (self.below(8) > 0, self.text());
            let id: PointerId = format!("ORG{at}-{text}").parse().expect("well formed");
            let mut draft = draft(at, patient(of), text);
            draft.listed = Some(listed);
            if at != self.liar {
                self.truth.begin(&id, at, of, listed, self.network.now, Some(text));
            }
            writes.push(Write::Create { id: NewId::Given(id.clone()), draft });
            ids.push(id);
        }
        self.note(|| format!("ORG{at} creates {ids:?}"));
        let op = if at == self.liar { Op::OfLiar } else { Op::Write { writes: ids } };
        self.begin(at, LocalRequest::Write(writes), op)
    }

    /// The liar holds something of every patient, so that everybody asks it.
    pub(super) fn liar_creates(&mut self) {
        let (at, mut writes) = (self.liar, Vec::new());
        for of in 0..PATIENTS as u32 {
            let text = self.text();
            writes.push(Write::Create { id: NewId::Random, draft: draft(at, patient(of), text) });
        }
        self.begin(at, LocalRequest::Write(writes), Op::OfLiar);
    }

    /// A pointer at a node that runs, with nothing under way.
    pub(super) fn some_pointer(&mut self, wanted: impl Fn(&Record) -> bool) -> Option<PointerId> {
        let is_busy = |id: &PointerId| {
            self.asked
                .values()
                .any(|asked| matches!(&asked.op, Op::Write { writes } if writes.contains(id)))
        };
        let ids: Vec<&PointerId> = self
            .truth
            .pointers
            .iter()
            .filter(|(id, record)| self.is_up(record.holder) && wanted(record) && !is_busy(id))
            .map(|(id, _)| id)
            .collect();
        let count = ids.len() as u64;
        if count == 0 {
            return None;
        }
        let nth = self.rng.next_u64() % count;
        Some(ids[nth as usize].clone())
    }

    pub(super) fn change(&mut self, delete: bool) {
        let found = self.some_pointer(|r| {
            !r.in_doubt
                && r.text().is_some()
                && r.attempts.last().is_some_and(|a| a.acknowledged.is_some())
        });
        let Some(id) = found else { return };
        let text = (!delete).then(|| self.text());
        self.send(&id, text, false);
    }

    /// A producer that was not told what became of its last request sends it again.
    pub(super) fn retry(&mut self) {
        let found = self.some_pointer(|r| {
            !r.in_doubt && r.attempts.last().is_some_and(|a| a.acknowledged.is_none())
        });
        let Some(id) = found else { return };
        let text = self.truth.pointers[&id].attempts.last().and_then(|a| a.text);
        self.send(&id, text, true);
    }

    pub(super) fn send(&mut self, id: &PointerId, text: Option<u64>, again: bool) {
        let record = &self.truth.pointers[id];
        let (at, of, listed) = (record.holder, record.patient, record.listed);
        let id = id.clone();
        let write = match text {
            None => Write::Delete { id: id.clone(), if_match: None },
            Some(text) => {
                let mut draft = draft(at, patient(of), text);
                draft.listed = Some(listed);
                if again {
                    let source = Source::default();
                    Write::Put(Put { id: NewId::Given(id.clone()), draft, source })
                } else {
                    Write::Update { id: id.clone(), if_match: None, draft }
                }
            }
        };
        self.note(|| format!("ORG{at} writes {id}: {text:?}"));
        self.truth.begin(&id, at, of, listed, self.network.now, text);
        self.begin(at, LocalRequest::Write(vec![write]), Op::Write { writes: vec![id] });
    }

    /// Producers of restored nodes send again; then their admins confirm.
    pub(super) fn resend_and_confirm(&mut self) -> Result<(), Violation> {
        let holders: Vec<usize> =
            self.restored.keys().copied().filter(|at| self.is_up(*at)).collect();
        for holder in holders {
            if self.calm_or_peace() || self.below(12) == 0 {
                self.resend(holder);
            }
        }
        Ok(())
    }

    pub(super) fn calm_or_peace(&self) -> bool {
        self.weather.borrow().liar.lies.is_empty() && self.cut.is_none() && self.down.is_empty()
    }

    pub(super) fn resend(&mut self, holder: usize) {
        let lost = self.some_pointer(|r| r.holder == holder && r.in_doubt);
        let confirming = |asked: &Asked| asked.at == holder && matches!(asked.op, Op::Confirm);
        if let Some(id) = lost {
            let record = &self.truth.pointers[&id];
            let known = record.settled(u64::MAX).map(|at| record.attempts[at].text);
            let text = known.unwrap_or_else(|| record.attempts.last().and_then(|a| a.text));
            self.send(&id, text, true);
        } else if !self.truth.has_doubt(holder) && !self.asked.values().any(confirming) {
            self.note(|| format!("the admin of ORG{holder} confirms"));
            self.begin(holder, LocalRequest::ConfirmRestored, Op::Confirm);
        }
    }

    pub(super) fn read(&mut self, at: usize) {
        let ids: Vec<PointerId> = self.truth.pointers.keys().cloned().collect();
        if ids.is_empty() {
            return;
        }
        let nth = self.below(ids.len() as u64) as usize;
        let id = ids[nth].clone();
        let holder = self.truth.pointers[&id].holder;
        let at = if self.is_up(holder) && self.below(4) == 0 { holder } else { at };
        let request = ReadRequest { id: id.clone(), caller: caller(), deadline: DEADLINE };
        self.not_alone(at);
        let in_calm = self.calm_since.is_some();
        self.begin(at, LocalRequest::Read(request), Op::Read { id, in_calm });
    }

    pub(super) fn not_alone(&mut self, at: usize) -> bool {
        let mut was_alone = true;
        for asked in self.asked.values_mut().filter(|asked| asked.at == at) {
            match &mut asked.op {
                Op::Locate(search) => {
                    search.alone = false;
                    was_alone = false;
                }
                Op::Read { .. } => was_alone = false,
                _ => {}
            }
        }
        was_alone
    }

    pub(super) fn locate(&mut self, at: usize, of: u32, directly: bool) -> Ticket {
        let custodian = directly.then(|| {
            let holders: Vec<usize> = self
                .truth
                .pointers
                .values()
                .filter(|r| r.patient == of)
                .map(|r| r.holder)
                .collect();
            if holders.is_empty() {
                0
            } else {
                holders[self.rng.next_u64() as usize % holders.len()]
            }
        });
        let due = self.due(at, of, custodian);
        let alone = self.not_alone(at);
        let request = LocateRequest {
            patient: patient(of),
            caller: caller(),
            deadline: DEADLINE,
            custodian: custodian.map(|of| format!("ORG{of}").parse().expect("well formed")),
        };
        let in_calm = self.calm_since.is_some();
        let cut_off = if directly { Vec::new() } else { self.cut_off(at) };
        let op = Op::Locate(Search { patient: of, directly, due, alone, in_calm, cut_off });
        self.begin(at, LocalRequest::Locate(request), op)
    }
}
