//! One seed: fifty nodes, their users, and everything that goes wrong, checked at every step.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use rand_core::Rng as _;
use signpost_node::{
    core::{
        Ticket,
        completeness::{Cause, CauseKind},
        local::{
            Confirmation, LocalReply, LocalRequest, LocateError, LocateRequest, Located, NewId,
            ReadError, ReadPointer, ReadRequest, Write, WriteError, Written,
        },
    },
    store::DisclosureRole,
};
use signpost_protocol::{Pointer, PointerId, PointerState, Timestamp, roster::Parameters};
use signpost_tests::{
    founding::{FOUNDED, Plan},
    sim::{Backup, Network, Plant, caller},
};

use crate::{
    common::{draft, patient},
    liar::{Liar, Lie},
    restored::Restored,
    truth::{Truth, Violation},
    weather::Weather,
    witness::Witness,
};

const NODES: usize = 50;
const EVALUATORS: usize = 5;
const PATIENTS: u64 = 12;
/// A fifteenth of the standard durations, so that little time covers much; digests go stale sooner
/// still, within one storm, and clocks may differ by less.
const PARAMETERS: Parameters = Parameters {
    head_interval: Parameters::STANDARD.head_interval / 15,
    head_age_max: Parameters::STANDARD.head_age_max / 36,
    clock_skew_max: Parameters::STANDARD.clock_skew_max / 30,
    request_life_max: Parameters::STANDARD.request_life_max,
};
/// Milliseconds within which a new pointer is advertised when all is well (`docs/hazards.md`, row 2).
const ADVERTISED_WITHIN: u64 = 1_000;
/// Building times for which a filter is not built again (`BUILD_SPACING`), and the building itself
/// before and after.
const BUILD_TIMES: u64 = 22;
/// Milliseconds that a user gives a locate or a read.
const DEADLINE: u64 = 3_000;
/// ... and that a node gives the blinding of a batch of writes.
const WRITE_DEADLINE: u64 = 10_000;
/// ... and that the node may take beside, for what goes on inside it.
const SLACK: u64 = 100;
/// Milliseconds after the last fault in which the network must be complete again: a node is found
/// within 30 s, a part of a digest that nobody had is asked for again within 60 s, and everybody
/// issues a head within an interval.
const RECOVERY: u64 = 30_000 + 60_000 + PARAMETERS.head_interval;
/// Requests of one node to others that may be under way: some for each peer, and every inquiry's.
const OUTSTANDING_MAX: usize = 5_000;
/// Filters and change lists that a node may have on disk before it cleans up, every ten minutes:
/// two digests of everybody, and what came since.
const BLOBS_MAX: usize = 20_000;

/// What a seed came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub complete: u64,
    pub partial: u64,
    pub failed: u64,
    pub acknowledged: u64,
    pub kills: u64,
    pub restored: u64,
    pub lies: u64,
    /// Times that something had to be in a complete result.
    pub demands: u64,
}

impl Counts {
    pub const fn add(&mut self, other: Self) {
        self.complete += other.complete;
        self.partial += other.partial;
        self.failed += other.failed;
        self.acknowledged += other.acknowledged;
        self.kills += other.kills;
        self.restored += other.restored;
        self.lies += other.lies;
        self.demands += other.demands;
    }
}

/// Why something has to be in a complete result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Because {
    Own,
    AskedDirectly,
    AllIsWell,
    DigestCoversIt,
    DigestTooOld,
    DiskReplaced,
}

struct Due {
    id: PointerId,
    because: Because,
    /// The true time at which the head was signed that the asker goes by.
    head: Option<i64>,
}

enum Op {
    Write { writes: Vec<PointerId> },
    OfLiar,
    Locate { patient: u32, directly: bool, due: Vec<Due>, alone: bool, in_calm: bool },
    Read { id: PointerId, in_calm: bool },
    Confirm,
}

struct Asked {
    at: usize,
    begun: u64,
    op: Op,
}

enum Disk {
    Kept,
    Lost,
    Old,
}

pub struct Scenario {
    rng: ChaCha20Rng,
    network: Network,
    truth: Truth,
    witness: Rc<RefCell<Witness>>,
    weather: Rc<RefCell<Weather>>,
    liar: usize,
    asked: BTreeMap<Ticket, Asked>,
    /// Nodes that are down, and when they come back.
    down: BTreeMap<usize, (u64, Disk)>,
    backups: BTreeMap<usize, Backup>,
    restored: BTreeMap<usize, Restored>,
    /// Nodes that may say that they were restored: whose disk was replaced, and who lies about itself.
    replaced: BTreeSet<usize>,
    /// The least and the greatest difference that each clock had, and whether it ever changed.
    skews: Vec<(i64, i64)>,
    /// Since when there are no faults and every node knows every digest.
    calm_since: Option<u64>,
    /// Results of each node's users in its present life that have a record.
    recorded: Vec<u64>,
    cut: Option<(u64, Vec<bool>)>,
    looked_at: u64,
    next_text: u64,
    pub counts: Counts,
    pub trace: Vec<String>,
    aloud: bool,
}

impl Scenario {
    pub fn new(seed: u64, plant: Option<Plant>, aloud: bool) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let young = rng.next_u64().is_multiple_of(2);
        let plan = Plan {
            parameters: PARAMETERS,
            evaluators: EVALUATORS,
            threshold: 3,
            age: if young { 1_000 } else { 700_000 },
            ..Plan::of(NODES)
        };
        let mut network = Network::new(&plan, seed);
        if let Some(plant) = plant {
            network.plant(plant);
        }
        let liar = rng.next_u64() as usize % NODES;
        let victim = (liar + 1) % NODES;
        let lies = ChaCha20Rng::seed_from_u64(seed ^ 0x11e);
        let chance = ChaCha20Rng::seed_from_u64(seed ^ 0xbad);
        let weather = Weather::new(Liar::new(&network, liar, victim, lies), chance);
        let weather = Rc::new(RefCell::new(weather));
        let witness = Rc::new(RefCell::new(Witness::default()));
        let (w, seen) = (weather.clone(), witness.clone());
        network.meddle(move |frame| w.borrow_mut().fate(frame));
        network.watch(move |frame, sender| seen.borrow_mut().see(frame, sender));
        let mut scenario = Self {
            rng,
            network,
            truth: Truth::default(),
            witness,
            weather,
            liar,
            asked: BTreeMap::new(),
            down: BTreeMap::new(),
            backups: BTreeMap::new(),
            restored: BTreeMap::new(),
            replaced: BTreeSet::from([liar]),
            skews: vec![(0, 0); NODES],
            calm_since: None,
            recorded: vec![0; NODES],
            cut: None,
            looked_at: 0,
            next_text: 0,
            counts: Counts::default(),
            trace: Vec::new(),
            aloud,
        };
        scenario.set_clocks();
        scenario
    }

    /// Plays the seed to its end, or to the first thing that is not as it must be.
    pub fn play(&mut self) -> Result<(), Violation> {
        self.recover("everybody starts")?;
        for _ in 0..15 {
            self.user_acts()?;
            self.pass_time(150)?;
        }
        for storm in 0..1 + self.below(4) / 3 {
            self.begin_storm(storm);
            let until = self.network.now + 6_000 + self.below(8_000);
            while self.network.now < until {
                match self.below(4) {
                    0 => self.fault()?,
                    _ => self.user_acts()?,
                }
                self.pass_time(250)?;
            }
        }
        self.end_faults()?;
        self.recover("all faults have ended")?;
        self.check_all()
    }

    // -- time ---------------------------------------------------------------------------------

    fn pass_time(&mut self, up_to: u64) -> Result<(), Violation> {
        let pause = 1 + self.below(up_to);
        self.network.run_for(pause);
        self.step()
    }

    /// Takes every reply, brings back who is due, looks at everything that can be seen at any time.
    fn step(&mut self) -> Result<(), Violation> {
        for at in 0..NODES {
            for (ticket, time, reply) in self.network.take_replies(at) {
                self.reply(ticket, time, reply)?;
            }
        }
        let now = self.network.now;
        for asked in self.asked.values() {
            let limit = match asked.op {
                Op::Locate { .. } | Op::Read { .. } => DEADLINE,
                Op::Write { .. } | Op::OfLiar | Op::Confirm => WRITE_DEADLINE,
            };
            if now > asked.begun + limit + SLACK {
                return Err(format!("ORG{} leaves a user without a reply", asked.at));
            }
        }
        if let Some(violation) = self.witness.borrow_mut().violations.pop() {
            return Err(violation);
        }
        let back: Vec<usize> =
            self.down.iter().filter(|(_, (until, _))| *until <= now).map(|(at, _)| *at).collect();
        for at in back {
            self.come_back(at);
        }
        if self.cut.as_ref().is_some_and(|(until, _)| *until <= now) {
            self.heal();
        }
        if now >= self.looked_at + 500 {
            self.looked_at = now;
            self.look()?;
        }
        Ok(())
    }

    fn look(&mut self) -> Result<(), Violation> {
        let sides = self.cut.as_ref().map(|(_, sides)| sides.clone());
        for (holder, restored) in &mut self.restored {
            let side = |at: usize| sides.as_ref().is_none_or(|s| s[at] == s[*holder]);
            restored.look(&self.network, *holder, |at| at != self.liar && side(at));
        }
        for at in 0..NODES {
            let load = self.network.load(at);
            if load.outstanding > OUTSTANDING_MAX
                || load.inbound > OUTSTANDING_MAX
                || load.blobs > BLOBS_MAX
            {
                return Err(format!("ORG{at} holds more than it should: {load:?}"));
            }
        }
        Ok(())
    }

    /// Runs until every node has every digest and nothing to complain of.
    fn recover(&mut self, after: &str) -> Result<(), Violation> {
        self.note(|| format!("-- {after}"));
        let start = self.network.now;
        let first = if self.calm_since.is_none() && self.counts.acknowledged == 0 {
            0
        } else {
            PARAMETERS.head_interval
        };
        loop {
            self.network.run_for(500);
            self.step()?;
            self.resend_and_confirm()?;
            let Some(fault) = self.complaint()? else {
                if self.network.now >= start + first + 1_000 && self.asked.is_empty() {
                    break;
                }
                continue;
            };
            if self.network.now > start + RECOVERY {
                return Err(format!("not complete again {RECOVERY} ms after {after}: {fault}"));
            }
        }
        let took = self.network.now - start;
        self.note(|| format!("-- all is well after {took} ms"));
        self.calm_since = Some(self.network.now);
        Ok(())
    }

    /// What some node complains of.
    fn complaint(&mut self) -> Result<Option<String>, Violation> {
        let mut complaint = None;
        for at in 0..NODES {
            if !self.is_up(at) {
                continue;
            }
            let status = self.network.status(at);
            if status.serves[0].restored_as_of.is_some() {
                if !self.replaced.contains(&at) {
                    return Err(format!("ORG{at} says that it was restored, and was not"));
                }
                let restored = Restored::new(&self.network, at);
                self.restored.entry(at).or_insert(restored);
            }
            // Test networks have dealt keys, and nodes say so. Evaluators that are not connected are
            // dialled when they are needed.
            let is_fault = |notice: &&String| {
                !notice.contains("dealt by one party")
                    && !notice.contains("evaluators that it takes")
            };
            let fault = status.notices.iter().find(is_fault);
            complaint = complaint.or(fault.map(|fault| format!("ORG{at}: {fault}")));
        }
        Ok(complaint)
    }

    // -- users --------------------------------------------------------------------------------

    fn below(&mut self, n: u64) -> u64 {
        self.rng.next_u64() % n
    }

    fn is_up(&self, at: usize) -> bool {
        !self.down.contains_key(&at)
    }

    fn some_node(&mut self) -> usize {
        loop {
            let at = self.below(NODES as u64) as usize;
            if self.is_up(at) {
                return at;
            }
        }
    }

    fn user_acts(&mut self) -> Result<(), Violation> {
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

    fn begin(&mut self, at: usize, request: LocalRequest, op: Op) -> Ticket {
        let ticket = self.network.begin(at, request);
        self.asked.insert(ticket, Asked { at, begun: self.network.now, op });
        ticket
    }

    fn text(&mut self) -> u64 {
        self.next_text += 1;
        self.next_text
    }

    fn create(&mut self, at: usize) -> Ticket {
        let mut writes = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..=self.below(8) / 6 {
            let of = self.below(PATIENTS) as u32;
            let (listed, text) = (self.below(8) > 0, self.text());
            let id: PointerId = format!("ORG{at}-{text}").parse().expect("well formed");
            let mut draft = draft(at, patient(of), text);
            draft.listed = listed;
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

    /// A pointer at a node that runs, with nothing under way.
    fn some_pointer(
        &mut self,
        wanted: impl Fn(&crate::truth::Record) -> bool,
    ) -> Option<PointerId> {
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

    fn change(&mut self, delete: bool) {
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
    fn retry(&mut self) {
        let found = self.some_pointer(|r| {
            !r.in_doubt && r.attempts.last().is_some_and(|a| a.acknowledged.is_none())
        });
        let Some(id) = found else { return };
        let text = self.truth.pointers[&id].attempts.last().and_then(|a| a.text);
        self.send(&id, text, true);
    }

    fn send(&mut self, id: &PointerId, text: Option<u64>, again: bool) {
        let record = &self.truth.pointers[id];
        let (at, of, listed) = (record.holder, record.patient, record.listed);
        let id = id.clone();
        let write = match text {
            None => Write::Delete { id: id.clone(), if_match: None },
            Some(text) => {
                let mut draft = draft(at, patient(of), text);
                draft.listed = listed;
                if again {
                    Write::Put { id: NewId::Given(id.clone()), draft }
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
    fn resend_and_confirm(&mut self) -> Result<(), Violation> {
        let holders: Vec<usize> =
            self.restored.keys().copied().filter(|at| self.is_up(*at)).collect();
        for holder in holders {
            if self.calm_or_peace() || self.below(12) == 0 {
                self.resend(holder);
            }
        }
        Ok(())
    }

    fn calm_or_peace(&self) -> bool {
        self.weather.borrow().liar.lies.is_empty() && self.cut.is_none() && self.down.is_empty()
    }

    fn resend(&mut self, holder: usize) {
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

    fn read(&mut self, at: usize) {
        let ids: Vec<PointerId> = self.truth.pointers.keys().cloned().collect();
        if ids.is_empty() {
            return;
        }
        let nth = self.below(ids.len() as u64) as usize;
        let id = ids[nth].clone();
        let request = ReadRequest { id: id.clone(), caller: caller(), deadline: DEADLINE };
        self.not_alone(at);
        let in_calm = self.calm_since.is_some();
        self.begin(at, LocalRequest::Read(request), Op::Read { id, in_calm });
    }

    fn not_alone(&mut self, at: usize) -> bool {
        let mut was_alone = true;
        for asked in self.asked.values_mut().filter(|asked| asked.at == at) {
            match &mut asked.op {
                Op::Locate { alone, .. } => {
                    *alone = false;
                    was_alone = false;
                }
                Op::Read { .. } => was_alone = false,
                _ => {}
            }
        }
        was_alone
    }

    fn locate(&mut self, at: usize, of: u32, directly: bool) -> Ticket {
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
        let op = Op::Locate { patient: of, directly, due, alone, in_calm };
        self.begin(at, LocalRequest::Locate(request), op)
    }

    // -- what must be in a complete result ----------------------------------------------------

    /// What a holder's building of filters may delay, and the second that everything may.
    fn lag(&self, holder: usize) -> u64 {
        ADVERTISED_WITHIN + BUILD_TIMES * self.network.nodes[holder].build_time
    }

    /// How long a head may be missed unsaid: as long as the one before it counts as fresh, to a clock
    /// that differs by no more than is allowed.
    fn delay(&self, asker: usize, holder: usize) -> u64 {
        let apart = (self.skews[holder].1 - self.skews[asker].0).max(0) as u64;
        let steady = self.skews[holder].0 == self.skews[holder].1
            && self.skews[asker].0 == self.skews[asker].1;
        let apart = if steady { apart.min(PARAMETERS.clock_skew_max) } else { apart };
        PARAMETERS.head_age_max + apart + self.lag(holder)
    }

    fn due(&self, asker: usize, of: u32, custodian: Option<usize>) -> Vec<Due> {
        let now = self.network.now;
        let status = self.network.status(asker);
        let mut due = Vec::new();
        for (id, record) in self.truth.pointers.iter().filter(|(_, r)| r.patient == of) {
            let holder = record.holder;
            if !record.exists(now, now) || custodian.is_some_and(|only| only != holder) {
                continue;
            }
            let known = status.peers.iter().find(|peer| peer.ods == format!("ORG{holder}"));
            let version = known.and_then(|peer| peer.digest_version);
            let head = version.and_then(|version| self.signed_at(holder, version));
            let mut add = |because| due.push(Due { id: id.clone(), because, head });
            if !record.listed && custodian.is_none() && holder != asker {
                continue;
            }
            let Some(held) = record.held_since else {
                add(Because::DiskReplaced);
                continue;
            };
            let started = held.max(self.network.started(holder));
            let lag = self.lag(holder);
            let is_steady = self.skews[holder].0 == self.skews[holder].1;
            let covers = |head: i64| is_steady && head >= (started + lag) as i64;
            let before = head.is_some_and(|head| is_steady && head < held as i64);
            let since = if before { held } else { started };
            if holder == asker {
                add(Because::Own);
            } else if custodian.is_some() {
                add(Because::AskedDirectly);
            } else if self.calm_since.is_some_and(|calm| now >= calm.max(held) + lag) {
                add(Because::AllIsWell);
            } else if head.is_some_and(covers) {
                add(Because::DigestCoversIt);
            } else if now > since + self.delay(asker, holder) {
                add(Because::DigestTooOld);
            }
        }
        due
    }

    /// The true time at which a head was signed.
    fn signed_at(&self, holder: usize, version: u64) -> Option<i64> {
        let witness = self.witness.borrow();
        let signed = witness.heads.get(&(holder, version))?;
        Some(signed.0 as i64 - FOUNDED.0 as i64 - self.skews[holder].0)
    }

    // -- replies ------------------------------------------------------------------------------

    fn reply(&mut self, ticket: Ticket, time: u64, reply: LocalReply) -> Result<(), Violation> {
        let asked = self.asked.remove(&ticket).ok_or("a user was given a second reply")?;
        let Asked { at, begun, op } = asked;
        match (op, reply) {
            (Op::Write { writes }, LocalReply::Write(results)) => {
                self.written(at, time, &writes, results)
            }
            (Op::OfLiar, LocalReply::Write(_)) => Ok(()),
            (Op::Locate { patient, due, alone, in_calm, directly }, LocalReply::Locate(result)) => {
                self.located(at, begun, time, patient, &due, alone, in_calm, directly, result)
            }
            (Op::Read { id, in_calm }, LocalReply::Read(result)) => {
                self.has_read(at, begun, time, &id, in_calm, result)
            }
            (Op::Confirm, LocalReply::ConfirmRestored(confirmation)) => {
                self.note(|| format!("ORG{at} on the confirmation: {confirmation:?}"));
                if confirmation != Confirmation::NotYet && !self.truth.has_doubt(at) {
                    self.restored.remove(&at);
                }
                Ok(())
            }
            _ => Err(format!("ORG{at} does not reply in kind")),
        }
    }

    fn written(
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

    fn check_pointer(
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

    #[expect(clippy::too_many_arguments, reason = "everything that is known of one locate")]
    fn located(
        &mut self,
        at: usize,
        from: u64,
        to: u64,
        of: u32,
        due: &[Due],
        alone: bool,
        in_calm: bool,
        directly: bool,
        result: Result<Located, LocateError>,
    ) -> Result<(), Violation> {
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
        for Due { id, because, head } in due {
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
    fn check_lies(&self, at: usize, from: u64, to: u64, alone: bool) -> Result<(), Violation> {
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

    fn has_read(
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
                if record.settled(from).is_some() && !excused {
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

    // -- faults -------------------------------------------------------------------------------

    fn set_clocks(&mut self) {
        let most = PARAMETERS.clock_skew_max as i64 / 2 - 100;
        for at in 0..NODES {
            if self.below(3) == 0 {
                let skew = self.below(2 * most as u64) as i64 - most;
                self.network.nodes[at].skew = skew;
                self.skews[at] = (skew, skew);
            }
        }
        for node in &mut self.network.nodes {
            node.build_time = 5 + self.rng.next_u64() % 40;
        }
    }

    fn begin_storm(&mut self, number: u64) {
        self.calm_since = None;
        let lies: Vec<Lie> =
            (0..5).map(|_| Lie::ALL[self.rng.next_u64() as usize % Lie::ALL.len()]).collect();
        let mut weather = self.weather.borrow_mut();
        weather.lost = [0, 20, 100, 250][self.rng.next_u64() as usize % 4];
        weather.doubled = [0, 50][self.rng.next_u64() as usize % 2];
        weather.late = [0, 100][self.rng.next_u64() as usize % 2];
        weather.late_max = [100, 2_000, 5_000][self.rng.next_u64() as usize % 3];
        weather.liar.lies = lies;
        let line = format!(
            "-- storm {number}: of 1,000 frames {} lost, {} doubled, {} late by up to {} ms; ORG{} lies about {:?}",
            weather.lost,
            weather.doubled,
            weather.late,
            weather.late_max,
            self.liar,
            weather.liar.lies
        );
        drop(weather);
        self.note(|| line);
    }

    fn fault(&mut self) -> Result<(), Violation> {
        match self.below(10) {
            0..3 => {
                let at = self.some_node();
                self.kill(at)?;
            }
            3 | 4 => self.kill_at_reply()?,
            5 | 6 => {
                let at = self.some_node();
                if at != self.liar {
                    self.note(|| format!("ORG{at} is backed up"));
                    self.backups.insert(at, self.network.back_up(at));
                }
            }
            7 if self.cut.is_none() => self.divide(),
            8 => self.turn_clock(),
            _ => {}
        }
        Ok(())
    }

    /// Kills a node at the very moment in which it replies.
    fn kill_at_reply(&mut self) -> Result<(), Violation> {
        let at = self.some_node();
        if !self.may_die(at) {
            return Ok(());
        }
        let ticket = if self.below(3) == 0 {
            let of = self.below(PATIENTS) as u32;
            self.locate(at, of, false)
        } else {
            self.create(at)
        };
        self.network.run_until(WRITE_DEADLINE, |network| network.is_answered(at, ticket));
        self.step()?;
        if self.is_up(at) { self.kill(at) } else { Ok(()) }
    }

    /// So many may be down that some look-ups fail, not so many that all do.
    fn may_die(&self, at: usize) -> bool {
        let evaluators = self.down.keys().filter(|at| **at < EVALUATORS).count();
        self.down.len() < 12 && (at >= EVALUATORS || evaluators < 3)
    }

    fn kill(&mut self, at: usize) -> Result<(), Violation> {
        if !self.may_die(at) {
            return Ok(());
        }
        self.counts.kills += 1;
        self.network.kill(at);
        self.asked.retain(|_, asked| asked.at != at);
        let disk = match self.below(8) {
            0 if at != self.liar => Disk::Lost,
            1 | 2 if self.backups.contains_key(&at) => Disk::Old,
            _ => Disk::Kept,
        };
        self.truth.check_disk(at, &*self.network.nodes[at].store)?;
        let records = self.network.nodes[at].disclosures.iter();
        let records = records.filter(|record| record.role == DisclosureRole::Asker).count() as u64;
        if records < self.recorded[at] {
            return Err(format!("ORG{at} told its users something without a record of it on disk"));
        }
        let until = self.network.now + 100 + self.below(8_000);
        self.note(|| format!("ORG{at} is killed"));
        self.down.insert(at, (until, disk));
        Ok(())
    }

    fn come_back(&mut self, at: usize) {
        let (_, disk) = self.down.remove(&at).expect("it is down");
        match disk {
            Disk::Kept => self.note(|| format!("ORG{at} starts")),
            Disk::Lost => {
                self.note(|| format!("ORG{at} starts without its disk"));
                self.network.wipe(at);
            }
            Disk::Old => {
                self.note(|| format!("ORG{at} starts with an old disk"));
                self.network.restore(at, &self.backups[&at]);
            }
        }
        if !matches!(disk, Disk::Kept) {
            self.counts.restored += 1;
            self.truth.disk_replaced(at);
            self.replaced.insert(at);
            self.restored.insert(at, Restored::new(&self.network, at));
        }
        self.network.start(at);
    }

    fn divide(&mut self) {
        let sides: Vec<bool> = (0..NODES).map(|_| self.rng.next_u64().is_multiple_of(3)).collect();
        let until = self.network.now + 2_000 + self.below(12_000);
        let silently = self.below(2) == 0;
        self.note(|| format!("the network falls in two, silently: {silently}; {sides:?}"));
        if silently {
            self.weather.borrow_mut().sides = Some(sides.clone());
        } else {
            self.cut_all(&sides, true);
        }
        self.cut = Some((until, sides));
    }

    fn cut_all(&mut self, sides: &[bool], cut: bool) {
        for a in 0..NODES {
            for b in (a + 1..NODES).filter(|b| sides[a] != sides[*b]) {
                self.network.set_cut(a, b, cut);
            }
        }
    }

    fn heal(&mut self) {
        let Some((_, sides)) = self.cut.take() else { return };
        self.note(|| "the network is one again".to_owned());
        self.weather.borrow_mut().sides = None;
        self.cut_all(&sides, false);
    }

    fn turn_clock(&mut self) {
        let at = self.some_node();
        let by = PARAMETERS.clock_skew_max as i64 + 500 + self.below(100_000) as i64;
        let skew = if self.below(2) == 0 { by } else { -by };
        self.note(|| format!("the clock of ORG{at} is {skew} ms wrong"));
        self.set_clock(at, skew);
    }

    fn set_clock(&mut self, at: usize, skew: i64) {
        self.network.nodes[at].skew = skew;
        let (least, most) = &mut self.skews[at];
        *least = (*least).min(skew);
        *most = (*most).max(skew);
    }

    fn end_faults(&mut self) -> Result<(), Violation> {
        self.heal();
        let mut weather = self.weather.borrow_mut();
        self.counts.lies = weather.liar.count;
        weather.clear();
        drop(weather);
        for at in self.down.keys().copied().collect::<Vec<_>>() {
            self.come_back(at);
        }
        for at in 0..NODES {
            if self.skews[at].0 != self.skews[at].1 {
                self.set_clock(at, 0);
            }
        }
        // The liar has lied about itself too; its admin has nothing to send again.
        let restored = Restored::new(&self.network, self.liar);
        self.restored.insert(self.liar, restored);
        Ok(())
    }

    /// In peace everybody finds everything, and nothing else.
    fn check_all(&mut self) -> Result<(), Violation> {
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
            if let Op::Locate { due, .. } = &mut asked.op {
                *due = everything;
            }
        }
        self.network.run_for(DEADLINE);
        self.step()?;
        if self.asked.is_empty() { Ok(()) } else { Err("a user waits in vain".to_owned()) }
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        let line = format!("{:>9} {}", self.network.now, line());
        if self.aloud {
            println!("{line}");
        }
        self.trace.push(line);
    }
}
