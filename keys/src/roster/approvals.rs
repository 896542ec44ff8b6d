//! Proposals with the approvals that carry them: open, lapsed or decided.
//!
//! Decided means that enough stewards of some epoch have approved it while it lived, whenever that
//! becomes known: what is law for one node must be so for another that hears of it later. So nobody
//! can tell an approval that was held back from one that was late, and what has lapsed may yet be
//! decided. Whoever wants another decision proposes the next version, or waits for the end of the
//! first proposal's life: of two that do not overlap the later counts.

use std::{collections::BTreeMap, sync::Arc};

use signpost_protocol::{
    ContentHash, KeyId, OrganizationId, Timestamp,
    codec::{self, ByteString},
    roster::{Approval, Change, Proposal, Subject},
    statement::{Body as _, Envelope, Unsigned},
};

use super::{
    epoch::Epoch,
    evaluators::check_record,
    inception::verify_inception,
    organization::Organization,
    statements::{Place, Refusal, Statements, Step},
    waiting::Need,
};
use crate::signing::{self, CheckedKey, VerifyError};

/// Proposals of one steward that are not decided: a busy quarter's admissions.
pub const OPEN_PER_STEWARD_MAX: usize = 256;
/// Proposals that have lapsed and may yet be decided: in the order in which statements are handed
/// on there is one at a time; thousands when they come in disorder.
const LAPSED_MAX: usize = 4_096;

/// A steward, in office or proposed, and the govern key that it has signed with.
pub(super) type Signer = (OrganizationId, KeyId);

/// A proposal with its approvals.
#[derive(Clone, Debug)]
pub(super) struct Proposed {
    pub(super) proposal: Arc<Proposal>,
    bytes: Arc<[u8]>,
    pub(super) status: Status,
    /// The earliest of each signer.
    pub(super) approvals: BTreeMap<Signer, Given>,
    /// Whether it is in the list of those that have lapsed.
    is_listed: bool,
}

/// What has become of a proposal, whatever counts today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// More approvals may come.
    Open,
    /// It has expired. What arrives of it is not kept, until it turns out to be decided.
    Lapsed,
    /// Enough stewards have approved it.
    Decided,
}

/// Whether a signer is a steward of the epoch that decides, or only of the one that would begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Office {
    Held,
    Proposed,
}

/// An approval, without the proposal that it carries.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) issued: Timestamp,
    hash: ContentHash,
    signature: [u8; 64],
    /// The bytes, if they are not those that follow from the above: a later version of the format
    /// may have added something.
    unusual: Option<Arc<[u8]>>,
}

/// That a steward has approved two proposals of which only one can be law. Of several such pairs
/// the smallest is kept, however old, so that all nodes keep the same. Only stewards of the epoch that
/// decides can contradict themselves: whom two proposals would make steward may agree to both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Contradiction {
    pub(super) subject: Subject,
    pub(super) version: u64,
    pub(super) proposals: [ContentHash; 2],
}

impl Proposed {
    /// The bytes of an approval, put together again.
    pub(super) fn approval_bytes(
        &self,
        steward: OrganizationId,
        key_id: KeyId,
    ) -> Option<std::borrow::Cow<'_, [u8]>> {
        let given = self.approvals.get(&(steward, key_id))?;
        Some(match &given.unusual {
            Some(bytes) => bytes.as_ref().into(),
            None => usual_bytes((steward, key_id), &self.bytes, given)?.into(),
        })
    }
}

fn usual_bytes((steward, key): Signer, proposal: &[u8], given: &Given) -> Option<Vec<u8>> {
    let proposal = ByteString::new(proposal.to_vec())?;
    let approval = Approval { steward, proposal, issued: given.issued };
    Some(Unsigned::new(&approval, key).finish(given.signature))
}

/// Whether there is an instant at which both could be approved.
pub(super) fn overlap(a: &Proposal, b: &Proposal) -> bool {
    a.issued < b.expires && b.issued < a.expires
}

impl Statements {
    pub(super) fn take_approval(
        &mut self,
        hash: ContentHash,
        bytes: &[u8],
        now: Option<Timestamp>,
    ) -> Result<Step, Refusal> {
        let envelope = Envelope::parse(Approval::KIND, bytes, Approval::BYTES_MAX)?;
        // Which epoch's stewards decide stands inside; nothing else is believed before the signature.
        let claimed: Approval = envelope.body()?;
        let signer = (claimed.steward, envelope.key_id());
        let id = ContentHash::of(&claimed.proposal);
        let known = self.proposals.get(&id).map(|proposed| proposed.proposal.clone());
        let is_known = known.is_some();
        let proposal =
            known.map_or_else(|| Proposal::decode(&claimed.proposal).map(Arc::new), Ok)?;
        let Some((key, office)) = self.key_of_steward(&signer, &proposal)? else {
            return Ok(Step::Waits(Need::Epoch(proposal.epoch)));
        };
        let approval = signing::verify::<Approval>(&envelope, bytes, &key, &self.network)?;
        self.check_issued(approval.issued, now)?;
        let skew = self.founding.parameters.clock_skew_max;
        if approval.issued >= proposal.expires || approval.issued.plus(skew) < proposal.issued {
            return Err(Refusal::Inconsistent("it was approved outside the proposal's life"));
        }
        if !is_known && office == Office::Proposed {
            // Anybody can write a proposal that names its own key: others keep it only for a steward.
            if proposal.epoch > 0 {
                self.waiting.add(Need::Epoch(proposal.epoch), hash, &bytes.into());
            }
            return Ok(Step::Waits(Need::Beginning(id)));
        }
        let is_open = now.is_none_or(|now| now < proposal.expires);
        if is_known && is_open {
            self.reopen(id)?;
        }
        if !is_known {
            let organization = self.check_change(id, &proposal)?;
            let open = self.open_of.get(&signer).copied().unwrap_or_default();
            if is_open && now.is_some() && open >= OPEN_PER_STEWARD_MAX {
                return Err(Refusal::TooManyOpen);
            }
            self.begin_proposal(id, &proposal, &approval.proposal, is_open, organization)?;
        }
        // An envelope is the same for the same body; so is a body unless there is more in it.
        let is_usual = codec::encode(&*approval) == envelope.payload();
        let given = Given {
            issued: approval.issued,
            hash,
            signature: envelope.signature(),
            unusual: (!is_usual).then(|| bytes.into()),
        };
        self.record(id, signer, given);
        // A new epoch may decide what others have approved before it was known.
        let mut approved = vec![id];
        while let Some(id) = approved.pop() {
            if self.proposals[&id].status != Status::Decided && self.is_approved(id) {
                self.decide(id)?;
                if let Change::Stewards(epoch) = &self.proposals[&id].proposal.change {
                    approved.extend(self.undecided_of(epoch.number));
                }
            }
        }
        Ok(match self.proposals[&id].status {
            Status::Lapsed if !self.has(&hash) => Step::Lapsed,
            _ => Step::Taken,
        })
    }

    /// The proposals of an epoch that are not decided.
    fn undecided_of(&self, epoch: u64) -> Vec<ContentHash> {
        let ids = self.open.iter().map(|(_, id)| id).chain(&self.lapsed);
        let is_of = |id: &&ContentHash| {
            let proposed = self.proposals.get(id);
            proposed.is_some_and(|p| p.proposal.epoch == epoch && p.status != Status::Decided)
        };
        ids.filter(is_of).copied().collect()
    }

    fn begin_proposal(
        &mut self,
        id: ContentHash,
        proposal: &Arc<Proposal>,
        bytes: &[u8],
        is_open: bool,
        organization: Option<Organization>,
    ) -> Result<(), Refusal> {
        let proposed = Proposed {
            proposal: proposal.clone(),
            bytes: bytes.into(),
            status: if is_open { Status::Open } else { Status::Lapsed },
            approvals: BTreeMap::new(),
            is_listed: false,
        };
        self.subjects.entry(proposal.change.subject()).or_default().insert(id);
        self.proposals.insert(id, proposed);
        self.met.push(Need::Beginning(id));
        if is_open {
            self.open.insert((proposal.expires, id));
            self.name_organization(proposal, organization)?;
            self.met.push(Need::Proposal(id));
        } else {
            self.remember_lapsed(id);
        }
        Ok(())
    }

    /// Opens a proposal that has lapsed, by a clock that was ahead.
    fn reopen(&mut self, id: ContentHash) -> Result<(), Refusal> {
        let Some(proposed) = self.proposals.get_mut(&id) else { return Ok(()) };
        if proposed.status != Status::Lapsed {
            return Ok(());
        }
        proposed.status = Status::Open;
        let proposal = proposed.proposal.clone();
        let signers: Vec<_> = proposed.approvals.keys().copied().collect();
        self.open.insert((proposal.expires, id));
        for signer in signers {
            *self.open_of.entry(signer).or_default() += 1;
            self.settle(id, signer);
        }
        self.name_organization(&proposal, None)?;
        self.met.push(Need::Proposal(id));
        Ok(())
    }

    /// Takes up an approval; of several by one signer the earliest.
    fn record(&mut self, id: ContentHash, signer: Signer, given: Given) {
        let Some(proposed) = self.proposals.get_mut(&id) else { return };
        let is_open = proposed.status == Status::Open;
        let earlier = proposed.approvals.get(&signer).map(|given| (given.issued, given.hash));
        if earlier.is_some_and(|earlier| earlier <= (given.issued, given.hash)) {
            return;
        }
        proposed.approvals.insert(signer, given);
        match earlier {
            Some((_, hash)) => self.drop_statement(&hash),
            None if is_open => *self.open_of.entry(signer).or_default() += 1,
            None => {}
        }
        self.find_contradiction(id, signer);
        self.settle(id, signer);
    }

    /// Keeps or drops an approval by what has become of its proposal.
    fn settle(&mut self, id: ContentHash, signer: Signer) {
        let Some(proposed) = self.proposals.get(&id) else { return };
        let Some(given) = proposed.approvals.get(&signer) else { return };
        let hash = given.hash;
        let is_proof = self.contradictions.get(&signer).is_some_and(|c| c.proposals.contains(&id));
        if proposed.status != Status::Lapsed || is_proof {
            self.keep(hash, Place::Approval(id, signer.0, signer.1));
        } else {
            self.drop_statement(&hash);
        }
    }

    /// Looks for another proposal which the signer has approved and which excludes this one.
    fn find_contradiction(&mut self, id: ContentHash, signer: Signer) {
        let proposal = self.proposals[&id].proposal.clone();
        // One epoch decides all proposals for a version of the stewards, and anything else only those
        // in office approve: so this holds of the other proposal as well.
        if !self.epochs_numbered(proposal.epoch).any(|epoch| epoch.has_key(&signer.0, &signer.1)) {
            return;
        }
        let (subject, version) = proposal.change.subject();
        let others = self.subjects[&(subject, version)].iter().filter(|other| **other != id);
        let contradicts = |other: &&ContentHash| {
            self.proposals.get(other).is_some_and(|other| {
                other.approvals.contains_key(&signer) && overlap(&other.proposal, &proposal)
            })
        };
        let pairs = others.filter(contradicts).map(|other| Contradiction {
            subject,
            version,
            proposals: [id.min(*other), id.max(*other)],
        });
        let Some(smallest) = pairs.min() else { return };
        let known = self.contradictions.get(&signer).copied();
        if known.is_some_and(|known| known <= smallest) {
            return;
        }
        self.contradictions.insert(signer, smallest);
        for half in
            smallest.proposals.into_iter().chain(known.into_iter().flat_map(|k| k.proposals))
        {
            self.settle(half, signer);
            if self.proposals.get(&half).is_some_and(|half| half.status == Status::Lapsed) {
                self.remember_lapsed(half);
            }
        }
    }

    /// Whoever was only proposed may hold the office in an epoch that competes with the one known.
    fn find_contradictions_of(&mut self, epoch: &Epoch) {
        let of_epoch = self.proposals.iter().filter(|(_, p)| p.proposal.epoch == epoch.number);
        let given = of_epoch.flat_map(|(id, p)| p.approvals.keys().map(|signer| (*id, *signer)));
        let given: Vec<_> =
            given.filter(|(_, (steward, key))| epoch.has_key(steward, key)).collect();
        for (id, signer) in given {
            self.find_contradiction(id, signer);
        }
    }

    /// Lets proposals lapse that have expired by `now` without a decision.
    pub(super) fn lapse(&mut self, now: Timestamp) {
        while let Some((expires, id)) = self.open.first().copied()
            && expires <= now
        {
            self.open.pop_first();
            let Some(proposed) = self.proposals.get_mut(&id) else { continue };
            proposed.status = Status::Lapsed;
            let proposal = proposed.proposal.clone();
            self.close(id);
            self.forget_organization(&proposal);
            let objections = (id, KeyId([0; 16]))..=(id, KeyId([0xff; 16]));
            let objections: Vec<_> = self.objections.range(objections).map(|(p, _)| *p).collect();
            for place in objections {
                let Some(objection) = self.objections.remove(&place) else { continue };
                self.drop_statement(&objection.hash());
                self.waiting.add(Need::Proposal(id), objection.hash(), &objection.bytes().into());
            }
            self.remember_lapsed(id);
        }
    }

    /// Settles the approvals of a proposal that is not open any more.
    fn close(&mut self, id: ContentHash) {
        let signers: Vec<_> = self.proposals[&id].approvals.keys().copied().collect();
        for signer in signers {
            if let Some(open) = self.open_of.get_mut(&signer) {
                *open -= 1;
                if *open == 0 {
                    self.open_of.remove(&signer);
                }
            }
            self.settle(id, signer);
        }
    }

    /// Lists a proposal that has lapsed, the longest known first.
    fn remember_lapsed(&mut self, id: ContentHash) {
        if let Some(proposed) = self.proposals.get_mut(&id).filter(|p| !p.is_listed) {
            proposed.is_listed = true;
            self.lapsed.push_back(id);
        }
    }

    /// Forgets those that have lapsed the longest, where they are too many. Only when a statement has
    /// been taken up: nothing vanishes on the way.
    pub(super) fn forget_lapsed(&mut self) {
        while self.lapsed.len() > LAPSED_MAX {
            let Some(oldest) = self.lapsed.pop_front() else { return };
            let Some(proposed) = self.proposals.get_mut(&oldest) else { continue };
            proposed.is_listed = false;
            if proposed.status != Status::Lapsed {
                continue;
            }
            let proofs = &self.contradictions;
            proposed.approvals.retain(|signer, _| {
                proofs.get(signer).is_some_and(|proof| proof.proposals.contains(&oldest))
            });
            if !proposed.approvals.is_empty() {
                continue;
            }
            let subject = proposed.proposal.change.subject();
            self.proposals.remove(&oldest);
            if let Some(others) = self.subjects.get_mut(&subject) {
                others.remove(&oldest);
                if others.is_empty() {
                    self.subjects.remove(&subject);
                }
            }
        }
    }

    /// Takes up what an approved proposal brings: an epoch, a root, an organization.
    fn decide(&mut self, id: ContentHash) -> Result<(), Refusal> {
        let Some(proposed) = self.proposals.get_mut(&id) else { return Ok(()) };
        let was_open = proposed.status == Status::Open;
        proposed.status = Status::Decided;
        let proposal = proposed.proposal.clone();
        if was_open {
            self.open.remove(&(proposal.expires, id));
            self.close(id);
        } else {
            let signers: Vec<_> = proposed.approvals.keys().copied().collect();
            for signer in signers {
                self.settle(id, signer);
            }
            self.name_organization(&proposal, None)?;
            self.met.push(Need::Proposal(id));
        }
        self.met.push(Need::Decision(id));
        self.find_witness(&id);
        match &proposal.change {
            Change::Member(_) | Change::Evaluators(_) => {}
            Change::Root(reset) => {
                self.learn_root(id, &proposal);
                self.met.push(Need::Root(reset.organization));
            }
            Change::Stewards(epoch) => {
                if let Ok(epoch) = Epoch::proposed(id, epoch) {
                    self.met.push(Need::Epoch(epoch.number));
                    self.met.extend(epoch.stewards().map(|s| Need::Steward(s.organization)));
                    let epoch = Arc::new(epoch);
                    let same = self.decided_epochs.entry(epoch.number).or_default();
                    same.push(epoch.clone());
                    same.sort_by_key(|epoch| epoch.id);
                    self.find_contradictions_of(&epoch);
                }
            }
        }
        Ok(())
    }

    /// Makes the organization known whose record a proposal would change, so that its keys can be
    /// verified: for as long as the proposal is kept.
    fn name_organization(
        &mut self,
        proposal: &Proposal,
        organization: Option<Organization>,
    ) -> Result<(), Refusal> {
        let Change::Member(record) = &proposal.change else { return Ok(()) };
        let id = record.organization();
        if let Some(known) = self.organizations.get_mut(&id) {
            known.named += 1;
            return Ok(());
        }
        let organization = match organization {
            Some(organization) => organization,
            None => incepted(&record.inception)?,
        };
        self.organizations.insert(id, organization);
        let resets = (Subject::Root(id), 0)..=(Subject::Root(id), u64::MAX);
        let resets: Vec<_> =
            self.subjects.range(resets).flat_map(|(_, ids)| ids).copied().collect();
        for reset in resets {
            let Some(proposed) = self.proposals.get(&reset) else { continue };
            if proposed.status == Status::Decided {
                let proposal = proposed.proposal.clone();
                self.learn_root(reset, &proposal);
            }
        }
        self.met.push(Need::Organization(id));
        Ok(())
    }

    fn forget_organization(&mut self, proposal: &Proposal) {
        let Change::Member(record) = &proposal.change else { return };
        let id = record.organization();
        let Some(known) = self.organizations.get_mut(&id) else { return };
        known.named -= 1;
        if known.named > 0 {
            return;
        }
        let Some(gone) = self.organizations.remove(&id) else { return };
        for set in gone.sets() {
            self.drop_statement(&set.hash);
            self.waiting.add(Need::Organization(id), set.hash, &set.statement.bytes().into());
        }
        self.review_messages(&id);
    }

    fn learn_root(&mut self, id: ContentHash, proposal: &Proposal) {
        if let Change::Root(reset) = &proposal.change
            && let Some(organization) = self.organizations.get_mut(&reset.organization)
            && let Ok(key) = CheckedKey::new(&reset.root)
        {
            organization.learn_root(id, (reset.lineage, reset.root.key_id()), key);
        }
    }

    /// Checks what a proposal would make law, as far as it can be without knowing what is law, and
    /// returns the organization that it makes known.
    fn check_change(
        &self,
        id: ContentHash,
        proposal: &Proposal,
    ) -> Result<Option<Organization>, Refusal> {
        let refuse = |rule| Err(Refusal::Inconsistent(rule));
        let lives = self.epochs_numbered(proposal.epoch).map(|e| e.parameters.proposal_life_max);
        let life_max = lives.max().unwrap_or_default();
        let life = proposal.expires.since(proposal.issued);
        if life == 0 || life > life_max {
            return refuse("a proposal lives longer than the network allows, or not at all");
        }
        match &proposal.change {
            Change::Member(record) => {
                if record.version == 0 {
                    return refuse("version 0 of a member's record is that of the founding");
                }
                let organization = record.organization();
                if record.successor == Some(organization) {
                    return refuse("a member cannot be its own successor");
                }
                match self.organizations.contains_key(&organization) {
                    true => Ok(None),
                    false => incepted(&record.inception).map(Some),
                }
            }
            Change::Stewards(epoch) => {
                if proposal.epoch.checked_add(1) != Some(epoch.number) {
                    return refuse("stewards are followed by those of the next epoch");
                }
                Epoch::proposed(id, epoch).map_err(Refusal::Inconsistent)?;
                Ok(None)
            }
            Change::Root(reset) => {
                if reset.lineage == 0 {
                    return refuse("lineage 0 is that of the inception");
                }
                CheckedKey::new(&reset.root)?;
                Ok(None)
            }
            Change::Evaluators(record) => {
                check_record(record).map_err(Refusal::Inconsistent)?;
                Ok(None)
            }
        }
    }

    fn epochs_numbered(&self, number: u64) -> impl Iterator<Item = &Arc<Epoch>> {
        let first = (number == 0).then_some(&self.first);
        first.into_iter().chain(self.decided_epochs.get(&number).into_iter().flatten())
    }

    /// The govern key of a steward that may approve a proposal: of the epoch that decides, or of
    /// the one that would begin. None when such an epoch may yet come.
    fn key_of_steward(
        &self,
        (steward, key_id): &Signer,
        proposal: &Proposal,
    ) -> Result<Option<(CheckedKey, Office)>, VerifyError> {
        let mut decides = self.epochs_numbered(proposal.epoch).peekable();
        if decides.peek().is_none() {
            return Ok(None);
        }
        if let Some(key) = decides.find_map(|epoch| epoch.key(steward, key_id)) {
            return Ok(Some((key.clone(), Office::Held)));
        }
        if let Change::Stewards(next) = &proposal.change {
            let mut stewards = next.stewards.iter().filter(|next| next.organization == *steward);
            if let Some(next) = stewards.find(|next| next.govern.key_id() == *key_id) {
                return CheckedKey::new(&next.govern).map(|key| Some((key, Office::Proposed)));
            }
        }
        // There is one founding, but two epochs may compete for a later number.
        if proposal.epoch == 0 { Err(VerifyError::UnknownKey) } else { Ok(None) }
    }

    /// Whether enough stewards of some epoch have approved a proposal, whatever counts today.
    fn is_approved(&self, id: ContentHash) -> bool {
        let proposed = &self.proposals[&id];
        let suffices = |epoch: &Epoch| {
            let approvals = proposed.approvals.keys();
            approvals.filter(|(steward, key)| epoch.has_key(steward, key)).count()
                >= usize::from(epoch.threshold)
        };
        self.epochs_numbered(proposed.proposal.epoch).any(|epoch| suffices(epoch))
            && match &proposed.proposal.change {
                Change::Stewards(next) => Epoch::proposed(id, next).is_ok_and(|e| suffices(&e)),
                _ => true,
            }
    }
}

fn incepted(inception: &[u8]) -> Result<Organization, Refusal> {
    let (_, inception) = verify_inception(inception)?;
    let root = CheckedKey::new(&inception.root)?;
    Ok(Organization::new(&inception, root))
}
