//! How a patient becomes a locator: asks the evaluators, checks what they say, combines it.
//!
//! Enough evaluators are asked at once, one more when they are slow or wrong. A wrong share is
//! never combined: it would be a plausible wrong locator, that is, a silent "no records".

use std::{collections::BTreeSet, sync::Arc};

use rand_core::Rng as _;
use signpost_keys::{
    ValidAt, Verified,
    blinding::{Blinding, CheckedEvaluation, Evaluation, EvaluatorIndex, Proof, PublicShare},
    sign,
};
use signpost_protocol::{
    ContentHash, Locator, OrganizationId, PatientIdentifier, PublicKey,
    blind::{EvaluateAnswer, EvaluatePurpose, EvaluateRequest, Evaluator, EvaluatorSet},
    codec::{self, Bounded},
    limits,
    locate::{RefusalCode, Reply},
};
use tracing::warn;

use super::{Core, Outstanding, Turn, local::LocateError, usage};
use crate::network::{Plane, RequestFailure};

/// Milliseconds without enough answers before one more evaluator is asked: ten times a round trip
/// across the country with its evaluation.
const HEDGE_AFTER: u64 = 300;

/// Who waits for the locators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiter {
    Inquiry(u64),
    Writes(u64),
}

/// A batch of patients on its way to become locators.
pub(super) struct BlindingJob {
    waiter: Waiter,
    asking: OrganizationId,
    /// Who was asked from the beginning: answers by other shares do not go together with theirs.
    set: Arc<EvaluatorSet>,
    patients: Vec<PatientIdentifier>,
    blinding: Blinding,
    purpose: EvaluatePurpose,
    checked: Vec<CheckedEvaluation>,
    /// Positions in the set's list, the next to ask last.
    unasked: Vec<usize>,
    /// Asked and not yet heard from.
    waiting: Vec<Asked>,
    failures: Vec<String>,
    /// How many have said that the quota is used up.
    over_quota: usize,
    hedge_at: u64,
    deadline: u64,
}

/// An evaluator that was asked.
struct Asked {
    /// Its position in the set's list.
    evaluator: usize,
    /// The signed request.
    request: Verified<EvaluateRequest>,
    /// The node that it was sent to.
    peer: PublicKey,
}

impl BlindingJob {
    pub(super) fn wakeup(&self) -> u64 {
        if self.unasked.is_empty() { self.deadline } else { self.deadline.min(self.hedge_at) }
    }
}

impl Core {
    /// Starts to blind `patients` (1 to 1,000, none of them in the cache) on behalf of `asking`, for
    /// `waiter`, which is told when it is done or has failed.
    pub(super) fn start_blinding(
        &mut self,
        turn: &mut Turn<'_>,
        (waiter, asking): (Waiter, OrganizationId),
        patients: Vec<PatientIdentifier>,
        purpose: EvaluatePurpose,
        deadline: u64,
    ) {
        let Some(set) = self.evaluator_set() else {
            return self.blinded(turn, waiter, Err(LocateError::NoKey));
        };
        let inputs = patients.iter().map(PatientIdentifier::blinding_input).collect();
        let blinding = Blinding::new(inputs, &mut self.rng)
            .expect("callers give 1 to 1,000 patients, whose inputs are short");
        let mut unasked: Vec<usize> = (0..set.evaluators.len()).collect();
        // Every node begins elsewhere, and connected evaluators come first (that is, last).
        let turn_by = self.rng.next_u64() as usize % unasked.len().max(1);
        unasked.rotate_left(turn_by);
        unasked.sort_by_key(|at| self.evaluator_is_near(turn, &set, *at));
        let id = self.number();
        let job = BlindingJob {
            waiter,
            asking,
            set,
            patients,
            blinding,
            purpose,
            checked: Vec::new(),
            unasked,
            waiting: Vec::new(),
            failures: Vec::new(),
            over_quota: 0,
            hedge_at: turn.now.uptime + HEDGE_AFTER,
            deadline,
        };
        self.blindings.insert(id, job);
        self.advance_blinding(turn, id, 0);
    }

    /// Asks as many evaluators as it takes, and `extra` more; ends the job when it can be ended.
    fn advance_blinding(&mut self, turn: &mut Turn<'_>, id: u64, extra: usize) {
        loop {
            let Some(job) = self.blindings.get_mut(&id) else { return };
            let threshold = usize::from(job.set.threshold);
            if job.checked.len() >= threshold {
                return self.finish_blinding(turn, id);
            }
            if job.checked.len() + job.waiting.len() >= threshold + extra {
                return;
            }
            let Some(evaluator) = job.unasked.pop() else {
                if job.waiting.is_empty() {
                    self.fail_blinding(turn, id);
                }
                return;
            };
            self.ask_evaluator(turn, id, evaluator);
        }
    }

    fn ask_evaluator(&mut self, turn: &mut Turn<'_>, id: u64, at: usize) {
        let set = self.blindings[&id].set.clone();
        let evaluator = set.evaluators[at];
        let request_id = self.request_id();
        let now = turn.now;
        let peer = self.way_to_evaluator(turn, &evaluator);
        let own = self.own_share(&set);
        let job = self.blindings.get_mut(&id).expect("the caller holds a running job");
        if let Some((own, share)) = own
            && own.index == evaluator.index
        {
            let evaluation = share
                .evaluate(job.blinding.blinded(), &mut self.rng)
                .map_err(|error| error.to_string())
                .and_then(|evaluation| check(job, &evaluator, &evaluation));
            match evaluation {
                Ok(checked) => job.checked.push(checked),
                Err(fault) => job.failures.push(format!("own share: {fault}")),
            }
            return;
        }
        let Some(peer) = peer else {
            let (ods, _) = self.label(&evaluator.organization);
            let job = self.blindings.get_mut(&id).expect("the caller holds a running job");
            return job.failures.push(format!("{ods}: no valid transport key in the roster"));
        };
        let blinded = job.blinding.blinded().iter().map(|element| (*element).into()).collect();
        let life = self.roster.parameters().request_life_max;
        let left = job.deadline.saturating_sub(now.uptime).max(1);
        let request = EvaluateRequest {
            asked: evaluator.organization,
            asking: job.asking,
            request: request_id,
            key_epoch: set.key_epoch,
            share_epoch: set.share_epoch,
            purpose: job.purpose,
            blinded: Bounded::new(blinded).expect("a batch has at most 1,000 elements"),
            issued: now.unix,
            expires: now.unix.plus(left.min(life)),
        };
        let request = sign(request, &self.me.transport, &self.roster.network());
        let frame = request.bytes().to_vec();
        job.waiting.push(Asked { evaluator: at, request, peer });
        let outstanding = Outstanding::Evaluate { job: id, evaluator: at };
        self.send(turn, peer, Plane::Evaluate, frame, outstanding);
    }

    pub(super) fn on_evaluated(
        &mut self,
        turn: &mut Turn<'_>,
        id: u64,
        at: usize,
        result: Result<Vec<u8>, RequestFailure>,
    ) {
        let Some(job) = self.blindings.get_mut(&id) else { return };
        let position = job.waiting.iter().position(|asked| asked.evaluator == at);
        let Some(position) = position else { return };
        let Asked { request, peer, .. } = job.waiting.remove(position);
        let over_quota = &mut job.over_quota;
        let set = job.set.clone();
        let evaluator = set.evaluators[at];
        let reply = result.map_err(|failure| failure.to_string()).and_then(|frame| {
            codec::decode("reply", &frame, limits::EVALUATE_FRAME_BYTES_MAX)
                .map_err(|error| error.to_string())
        });
        *over_quota += usize::from(matches!(reply, Ok(Reply::Refused(RefusalCode::OverQuota))));
        if matches!(reply, Ok(Reply::Refused(RefusalCode::NotServed))) {
            // Of an organization's nodes one has its share, and the roster does not say which.
            self.peers.note_without_share(peer);
            let other = self.way_to_evaluator(turn, &evaluator);
            if other.is_some_and(|peer| !self.peers.is_without_share(&peer)) {
                let job = self.blindings.get_mut(&id).expect("looked up above");
                job.unasked.push(at);
                return self.advance_blinding(turn, id, 0);
            }
        }
        let outcome = reply.and_then(|reply| {
            self.read_evaluation(turn, (&set, &evaluator), &request.hash(), reply)
        });
        let (ods, name) = self.label(&evaluator.organization);
        let job = self.blindings.get_mut(&id).expect("looked up above");
        match outcome {
            Err(fault) => job.failures.push(format!("{ods}: {fault}")),
            Ok((answer, evaluation)) => match check(job, &evaluator, &evaluation) {
                Ok(checked) => job.checked.push(checked),
                Err(fault) => {
                    warn!(%ods, name, fault, "an evaluator's proof does not hold: its answer is not used");
                    job.failures.push(format!("{ods}: {fault}"));
                    self.keep_evidence(turn, request.bytes(), answer.bytes());
                }
            },
        }
        self.advance_blinding(turn, id, 0);
    }

    /// Reads an evaluator's reply and checks that it is its answer to this request.
    fn read_evaluation(
        &self,
        turn: &Turn<'_>,
        (set, evaluator): (&EvaluatorSet, &Evaluator),
        request: &ContentHash,
        reply: Reply,
    ) -> Result<(Verified<EvaluateAnswer>, Evaluation), String> {
        let bytes = match reply {
            Reply::Statement(bytes) => bytes,
            Reply::Refused(code) => return Err(code.sentence().to_owned()),
        };
        let answer = self
            .roster
            .verify::<EvaluateAnswer>(&bytes, ValidAt::Now(turn.now.unix))
            .map_err(|error| error.to_string())?;
        if answer.organization != evaluator.organization || answer.index != evaluator.index {
            return Err("another evaluator answered".to_owned());
        }
        if answer.request != *request {
            return Err("it answered another request".to_owned());
        }
        if answer.share_epoch != set.share_epoch {
            return Err("it used a share of another epoch".to_owned());
        }
        let evaluation = Evaluation {
            elements: answer.evaluated.iter().map(|element| **element).collect(),
            proof: Proof { c: *answer.proof_c, s: *answer.proof_s },
        };
        Ok((answer, evaluation))
    }

    fn finish_blinding(&mut self, turn: &mut Turn<'_>, id: u64) {
        let Some(job) = self.blindings.get_mut(&id) else { return };
        let (threshold, epoch) = (usize::from(job.set.threshold), job.set.key_epoch);
        let group = PublicShare::from_bytes(*job.set.group).expect("the roster was checked");
        let prfs = match job.blinding.combine(threshold, &group, &job.checked) {
            Ok(prfs) => prfs,
            Err(error) => {
                job.failures.push(error.to_string());
                return self.fail_blinding(turn, id);
            }
        };
        let job = self.blindings.remove(&id).expect("looked up above");
        for (patient, prf) in job.patients.iter().zip(&prfs) {
            let locator = Locator(prf.locator(epoch.0));
            self.cache.insert(job.asking, epoch, *patient, locator, turn.now.uptime);
        }
        self.blinded(turn, job.waiter, Ok(()));
    }

    fn fail_blinding(&mut self, turn: &mut Turn<'_>, id: u64) {
        let Some(job) = self.blindings.remove(&id) else { return };
        let mut failures = job.failures;
        let waiting: BTreeSet<usize> = job.waiting.iter().map(|asked| asked.evaluator).collect();
        for at in waiting {
            let (ods, _) = self.label(&job.set.evaluators[at].organization);
            failures.push(format!("{ods}: no answer in time"));
        }
        let (needed, detail) = (usize::from(job.set.threshold), failures.join("; "));
        let is_over = job.set.evaluators.len() < needed + job.over_quota;
        let error = if is_over {
            LocateError::OverQuota { left: usage::seconds_left(turn.now.unix), detail }
        } else {
            LocateError::TooFewEvaluators { reached: job.checked.len(), needed, detail }
        };
        self.blinded(turn, job.waiter, Err(error));
    }

    fn blinded(&mut self, turn: &mut Turn<'_>, waiter: Waiter, result: Result<(), LocateError>) {
        match waiter {
            Waiter::Inquiry(inquiry) => self.inquiry_blinded(turn, inquiry, result),
            Waiter::Writes(job) => self.writes_blinded(job, result),
        }
    }

    /// Asks one more evaluator where the first are slow, and gives up where time has run out.
    pub(super) fn expire_blindings(&mut self, turn: &mut Turn<'_>) {
        let uptime = turn.now.uptime;
        let due: Vec<u64> = self
            .blindings
            .iter()
            .filter(|(_, job)| job.wakeup() <= uptime)
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let job = self.blindings.get_mut(&id).expect("listed above");
            if job.deadline <= uptime {
                self.fail_blinding(turn, id);
            } else {
                job.hedge_at = uptime + HEDGE_AFTER;
                let threshold = usize::from(job.set.threshold);
                let extra = (job.checked.len() + job.waiting.len() + 1).saturating_sub(threshold);
                self.advance_blinding(turn, id, extra);
            }
        }
    }

    /// The node to ask for an evaluation: of several of the organization's not one that is known to
    /// have no share, and rather one that is connected; never this node itself.
    fn way_to_evaluator(&self, turn: &Turn<'_>, evaluator: &Evaluator) -> Option<PublicKey> {
        let member = self.roster.member(&evaluator.organization)?;
        let others = member.nodes.iter().filter(|node| node.node != self.me.node);
        others
            .filter_map(|node| self.way_to(node, turn.now.unix))
            .min_by_key(|key| (self.peers.is_without_share(key), !self.peers.is_connected(key)))
    }

    /// 3 for this node's own share, 2 for a connected evaluator, 1 for any other, 0 for one that has
    /// answered wrongly.
    fn evaluator_is_near(&self, turn: &Turn<'_>, set: &EvaluatorSet, at: usize) -> u8 {
        let evaluator = set.evaluators[at];
        if self.evaluates_for(set, &evaluator.organization) {
            return 3;
        }
        if self.caught.has(set, &evaluator.organization) {
            return 0;
        }
        let way = self.way_to_evaluator(turn, &evaluator);
        1 + u8::from(way.is_some_and(|key| self.peers.is_connected(&key)))
    }
}

fn check(
    job: &BlindingJob,
    evaluator: &Evaluator,
    evaluation: &Evaluation,
) -> Result<CheckedEvaluation, String> {
    let index = EvaluatorIndex::new(evaluator.index).ok_or("its index is zero")?;
    let share =
        PublicShare::from_bytes(*evaluator.public_share).map_err(|error| error.to_string())?;
    job.blinding.check(&share, index, evaluation).map_err(|error| error.to_string())
}
