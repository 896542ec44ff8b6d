//! What the stewards decide while everything else goes wrong: members are suspended and admitted
//! again, stewards and transport keys replaced. Admins hand each decision to some node, and to another
//! once the faults have ended, as they would with a file that they keep.

use std::collections::BTreeMap;

use rand_core::Rng as _;
use signpost_keys::{SecretKey, sign};
use signpost_node::core::{
    completeness::CauseKind,
    local::{LocalRequest, Located},
};
use signpost_protocol::{
    ContentHash,
    codec::{self, Bounded},
    roster::{Change, MemberRecord, OrganizationKeys, Revocation, RevocationReason, Standing},
};

use super::{Disk, EVALUATORS, NODES, Op, Scenario};
use crate::truth::Violation;

/// Milliseconds that a proposal lives.
const LIFE: u64 = 600_000;
/// Members that may be suspended at one time.
const SUSPENDED_MAX: usize = 3;

/// The decisions of one seed.
#[derive(Default)]
pub(super) struct Decided {
    /// Whether anything is decided in this seed.
    pub(super) governs: bool,
    /// Every statement, in the order in which they were signed.
    statements: Vec<Vec<u8>>,
    epoch: u64,
    previous: Option<ContentHash>,
    records: BTreeMap<usize, MemberRecord>,
    keys: BTreeMap<usize, (OrganizationKeys, ContentHash)>,
    /// Who was ever suspended.
    pub(super) ever: Vec<usize>,
    pub(super) count: u64,
}

impl Decided {
    pub(super) fn new(governs: bool) -> Self {
        Self { governs, ..Self::default() }
    }
}

impl Scenario {
    /// Decides something at random.
    pub(super) fn govern(&mut self) -> Result<(), Violation> {
        let member = EVALUATORS + self.below((NODES - EVALUATORS) as u64) as usize;
        let is_special = member == self.liar || member == (self.liar + 1) % NODES;
        match self.below(4) {
            0 | 1 if !is_special => self.turn_standing(member),
            2 => self.replace_steward(),
            3 if !is_special && self.is_up(member) => return self.replace_key(member),
            _ => {}
        }
        Ok(())
    }

    fn is_suspended(&self, member: usize) -> bool {
        let record = self.decided.records.get(&member);
        record.is_some_and(|record| record.standing == Standing::Suspended)
    }

    fn turn_standing(&mut self, member: usize) {
        let suspended = (0..NODES).filter(|at| self.is_suspended(*at)).count();
        let standing = match self.is_suspended(member) {
            true => Standing::Admitted,
            false if suspended < SUSPENDED_MAX => Standing::Suspended,
            false => return,
        };
        self.note(|| format!("the stewards say of ORG{member}: {standing:?}"));
        if standing == Standing::Suspended && !self.decided.ever.contains(&member) {
            self.decided.ever.push(member);
        }
        let organization = self.network.nodes[member].founder.organization;
        let law = self.network.statements.law(self.network.true_time());
        let first = law.record(&self.network.statements, &organization).expect("a founder");
        let last = self.decided.records.get(&member).unwrap_or(first);
        let record = MemberRecord { version: last.version + 1, standing, ..last.clone() };
        self.decided.records.insert(member, record.clone());
        self.decide(Change::Member(record));
    }

    fn replace_steward(&mut self) {
        let fourth = 3 + self.below(3) as usize;
        let founding = self.network.roster.epoch();
        let stewards = [0, 1, 2, fourth, fourth + 3];
        let stewards = stewards.map(|at| self.network.nodes[at].founder.steward()).to_vec();
        let epoch = signpost_protocol::roster::StewardEpoch {
            number: self.decided.epoch + 1,
            previous: self.decided.previous.unwrap_or_else(|| founding.id()),
            stewards: Bounded::new(stewards).expect("five"),
            threshold: 3,
            parameters: *founding.parameters(),
        };
        self.note(|| format!("the stewards of epoch {} are chosen", epoch.number));
        let id = self.decide(Change::Stewards(epoch));
        self.decided.epoch += 1;
        self.decided.previous = Some(id);
    }

    /// A member revokes the key of its node, which stops and comes back with another.
    fn replace_key(&mut self, member: usize) -> Result<(), Violation> {
        if !self.may_die(member) {
            return Ok(());
        }
        self.note(|| format!("ORG{member} replaces its transport key"));
        // Apart from what the founders drew, perhaps from the very same numbers.
        let seed = ContentHash::of(&self.rng.next_u64().to_be_bytes()).0;
        let now = self.network.true_time();
        let founder = &self.network.nodes[member].founder;
        let (old, root) = (self.network.key(member), SecretKey::from_seed(&founder.root));
        let first = || {
            let statements = &self.network.statements;
            let law = statements.law(now);
            let first = statements.last_keys(&law, &founder.organization).expect("a founder");
            ((**first).clone(), first.hash())
        };
        let (mut keys, last) = self.decided.keys.get(&member).cloned().unwrap_or_else(first);
        let mut records = keys.keys.clone().into_inner();
        let Some(record) = records.iter_mut().find(|record| record.key == old) else {
            return Ok(());
        };
        let mut new = *record;
        let reason = RevocationReason::Superseded;
        record.revoked = Some(Revocation { since: now, reason });
        new.key = SecretKey::from_seed(&seed).public();
        records.push(new);
        keys.keys = Bounded::new(records).expect("few");
        (keys.version, keys.previous, keys.issued) = (keys.version + 1, last, now);
        let signed = sign(keys.clone(), &root, &self.network.statements.network());
        self.decided.keys.insert(member, (keys, signed.hash()));
        self.hand_in(vec![signed.bytes().to_vec()]);
        self.kill(member)?;
        self.network.set_transport(member, seed);
        if let Some((_, disk)) = self.down.get_mut(&member) {
            *disk = Disk::Kept;
        }
        Ok(())
    }

    fn decide(&mut self, change: Change) -> ContentHash {
        let proposal = self.network.proposal_in(self.decided.epoch, change, LIFE);
        let approvals = self.network.approvals(&proposal, &[0, 1, 2]);
        self.hand_in(approvals);
        ContentHash::of(&codec::encode(&proposal))
    }

    fn hand_in(&mut self, statements: Vec<Vec<u8>>) {
        self.decided.count += 1;
        self.decided.statements.extend(statements.iter().cloned());
        let at = self.some_node();
        self.begin(at, LocalRequest::SubmitStatements(statements), Op::Submit);
    }

    /// Everybody is admitted again, and everything that was decided is handed in once more: at a
    /// steward's own node, since nobody takes anything from a member that is suspended.
    pub(super) fn end_governing(&mut self) {
        if !self.decided.governs {
            return;
        }
        for member in 0..NODES {
            if self.is_suspended(member) {
                self.turn_standing(member);
            }
        }
        let statements = std::mem::take(&mut self.decided.statements);
        let steward = self.below(3) as usize;
        self.begin(steward, LocalRequest::SubmitStatements(statements), Op::Submit);
    }

    /// Whom a node knows to be cut off: nobody that it calls a peer, and not itself.
    pub(super) fn cut_off(&self, at: usize) -> Vec<usize> {
        if self.decided.ever.is_empty() {
            return Vec::new();
        }
        let status = self.network.status(at);
        let is_peer = |member: usize| {
            let ods = format!("ORG{member}");
            status.peers.iter().any(|peer| peer.ods == ods)
        };
        let others = self.decided.ever.iter().copied().filter(|member| *member != at);
        others.filter(|member| !is_peer(*member)).collect()
    }

    /// A member that was cut off when a look-up began, and still is, is named.
    pub(super) fn check_cut_off(
        &self,
        at: usize,
        cut_off: &[usize],
        found: &Located,
    ) -> Result<(), Violation> {
        if cut_off.is_empty() || !self.is_up(at) {
            return Ok(());
        }
        let still = self.cut_off(at);
        for member in cut_off.iter().filter(|member| still.contains(member)) {
            let ods = format!("ORG{member}");
            let is_named = found.completeness.causes().iter().any(|cause| {
                cause.kind == CauseKind::Suspended
                    && cause.organization.as_ref().is_some_and(|(of, _)| of.as_str() == ods)
            });
            if !is_named {
                return Err(format!("ORG{at} does not name {ods}, which it knows to be suspended"));
            }
            if found.pointers.iter().any(|shown| shown.ods.as_str() == ods) {
                return Err(format!("ORG{at} shows what {ods} holds, which is suspended"));
            }
        }
        Ok(())
    }
}
