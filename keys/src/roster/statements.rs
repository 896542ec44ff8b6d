//! The statements that a node has, each verified, and what they are found by.
//!
//! Taking one up does not decide whether it counts: that is [`Law`](super::law::Law), which sees
//! them all. Here it is only established that it was signed by whom it names, and what is kept: the
//! same whatever the order in which statements arrive, and however often.
//!
//! Bounded: what waits for a statement that it needs, what a steward has proposed and nobody
//! decided, key sets of an organization, heartbeats of a steward. All else needs the signatures of
//! a majority.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use signpost_protocol::{
    ContentHash, DecodeError, KeyId, NetworkId, OrganizationId, Timestamp, limits,
    roster::{Change, Endorsement, Founding, Objection, OrganizationKeys, Subject},
    statement::{Body, Envelope, StatementKind, statement_hash},
};

use super::{
    Roster,
    approvals::{Contradiction, OPEN_PER_STEWARD_MAX, Proposed, Signer, Status},
    ceremonies::{Ceremony, MessageSlot},
    epoch::Epoch,
    founding::{self, FoundingError},
    heartbeats::Heartbeats,
    law::Law,
    organization::{KeySet, Organization},
    waiting::{Need, Waiting},
};
use crate::{
    signing::{self, VerifyError},
    verified::Verified,
};

/// Why a statement is not taken up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It does not decode, or its signature does not hold.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The bytes are no statement of the roster.
    #[error("this is no statement of a roster")]
    Kind,
    /// Its content breaks a rule.
    #[error("the statement is not consistent: {0}")]
    Inconsistent(&'static str),
    /// It says that it was issued later than now, by more than clocks may differ.
    #[error("the statement is from the future: compare the clocks")]
    Future,
    /// The steward has too many proposals that nobody decided.
    #[error(
        "the steward has {OPEN_PER_STEWARD_MAX} proposals that are not decided: wait until they \
         are, or have expired"
    )]
    TooManyOpen,
    /// There is no room for more.
    #[error("the roster is full")]
    Full,
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self::Verify(error.into())
    }
}

/// What taking up a statement led to.
#[derive(Debug, Default)]
pub struct Taken {
    /// The statements that are new, this one and those that had waited for it: to be stored, and
    /// passed on.
    pub new: Vec<Arc<[u8]>>,
    /// Names of statements that are no longer kept.
    pub dropped: Vec<ContentHash>,
    /// Whether this one waits for another.
    pub waits: bool,
}

/// The verified statements of one network.
#[derive(Clone, Debug)]
pub struct Statements {
    pub(super) network: NetworkId,
    pub(super) founding: Founding,
    pub(super) founding_bytes: Arc<[u8]>,
    /// Epoch 0.
    pub(super) first: Arc<Epoch>,
    pub(super) endorsements: BTreeMap<OrganizationId, (ContentHash, Arc<[u8]>)>,
    pub(super) organizations: BTreeMap<OrganizationId, Organization>,
    pub(super) proposals: BTreeMap<ContentHash, Proposed>,
    /// The proposals of each subject and version.
    pub(super) subjects: BTreeMap<(Subject, u64), BTreeSet<ContentHash>>,
    /// Those that are open, by when they expire.
    pub(super) open: BTreeSet<(Timestamp, ContentHash)>,
    /// How many of these each steward's key has approved.
    pub(super) open_of: BTreeMap<Signer, usize>,
    /// Those that have expired undecided, the longest known first: what is missing may be late.
    pub(super) lapsed: VecDeque<ContentHash>,
    /// Of each steward's key that has approved two things of which only one can be law, a proof.
    pub(super) contradictions: BTreeMap<Signer, Contradiction>,
    /// Epochs that enough stewards have approved at some time, whatever counts today.
    pub(super) decided_epochs: BTreeMap<u64, Vec<Arc<Epoch>>>,
    pub(super) objections: BTreeMap<(ContentHash, KeyId), Verified<Objection>>,
    pub(super) heartbeats: BTreeMap<(OrganizationId, KeyId), Heartbeats>,
    pub(super) ceremonies: BTreeMap<ContentHash, Ceremony>,
    /// Of each steward's key the newest ceremony that it calls to.
    pub(super) calls: BTreeMap<Signer, ContentHash>,
    pub(super) waiting: Waiting,
    /// Where each statement is kept.
    pub(super) places: BTreeMap<ContentHash, Place>,
    /// What came to be kept, and what is not kept any more, since a statement was last taken up.
    added: Vec<ContentHash>,
    dropped: Vec<ContentHash>,
    /// What others may have waited for.
    pub(super) met: Vec<Need>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Endorsement(OrganizationId),
    Keys(OrganizationId),
    Approval(ContentHash, OrganizationId, KeyId),
    Objection(ContentHash, KeyId),
    Heartbeat(OrganizationId, KeyId),
    Call(ContentHash),
    /// Of this ceremony.
    Message(ContentHash, MessageSlot),
}

/// Whether a statement could be verified.
pub(super) enum Step {
    Taken,
    /// It needs a statement that is not here.
    Waits(Need),
    /// It approves what has lapsed, and is remembered in case that is decided; or calls to a ceremony
    /// that is over.
    Lapsed,
}

impl Statements {
    /// Begins with the bytes of a founding, whose hash is the network.
    ///
    /// # Errors
    /// When it does not decode or is not consistent, or founds another network than `expected`.
    pub fn begin(founding: &[u8], expected: Option<NetworkId>) -> Result<Self, FoundingError> {
        let network = NetworkId(ContentHash::of(founding).0);
        if let Some(expected) = expected.filter(|expected| *expected != network) {
            return Err(FoundingError::OtherNetwork { found: network, expected });
        }
        let (body, mut first, organizations) = founding::check(founding, &network)?;
        first.since = body.founded;
        Ok(Self {
            network,
            founding: body,
            founding_bytes: founding.into(),
            first: Arc::new(first),
            endorsements: BTreeMap::new(),
            organizations,
            proposals: BTreeMap::new(),
            subjects: BTreeMap::new(),
            open: BTreeSet::new(),
            open_of: BTreeMap::new(),
            lapsed: VecDeque::new(),
            contradictions: BTreeMap::new(),
            decided_epochs: BTreeMap::new(),
            objections: BTreeMap::new(),
            heartbeats: BTreeMap::new(),
            ceremonies: BTreeMap::new(),
            calls: BTreeMap::new(),
            waiting: Waiting::default(),
            places: BTreeMap::new(),
            added: Vec::new(),
            dropped: Vec::new(),
            met: Vec::new(),
        })
    }

    /// The network.
    #[must_use]
    pub const fn network(&self) -> NetworkId {
        self.network
    }

    /// The bytes of the founding.
    #[must_use]
    pub fn founding(&self) -> &[u8] {
        &self.founding_bytes
    }

    /// How many statements are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many statements wait for one that is not here, and are not kept meanwhile.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The names of all statements, ascending.
    pub fn hashes(&self) -> impl ExactSizeIterator<Item = &ContentHash> {
        self.places.keys()
    }

    /// The names of the statements that begin with this byte, ascending.
    pub fn hashes_in(&self, bucket: u8) -> impl Iterator<Item = &ContentHash> {
        let edge = |byte: u8| {
            let mut hash = [byte; ContentHash::LENGTH];
            hash[0] = bucket;
            ContentHash(hash)
        };
        self.places.range(edge(0)..=edge(0xff)).map(|(hash, _)| hash)
    }

    /// Whether a statement is kept.
    #[must_use]
    pub fn has(&self, hash: &ContentHash) -> bool {
        self.places.contains_key(hash)
    }

    /// The bytes of a statement.
    #[must_use]
    pub fn get(&self, hash: &ContentHash) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(match *self.places.get(hash)? {
            Place::Endorsement(organization) => &self.endorsements.get(&organization)?.1,
            Place::Keys(organization) => {
                self.organizations.get(&organization)?.get(hash)?.statement.bytes()
            }
            Place::Approval(proposal, steward, key) => {
                return self.proposals.get(&proposal)?.approval_bytes(steward, key);
            }
            Place::Objection(proposal, key) => self.objections.get(&(proposal, key))?.bytes(),
            Place::Heartbeat(steward, key) => {
                self.heartbeats.get(&(steward, key))?.get(hash)?.bytes()
            }
            Place::Call(id) => self.ceremonies.get(&id)?.call().bytes(),
            Place::Message(id, slot) => self.ceremonies.get(&id)?.get(&slot, hash)?.bytes(),
        }))
    }

    /// The newest key set of the root of an organization that counts, as its next one has to follow
    /// it: of what another root has signed, be it that of a reset that was stopped, nothing does.
    /// After a reset it is that of the root before until the new one has signed any.
    #[must_use]
    pub fn last_keys(
        &self,
        law: &Law,
        organization: &OrganizationId,
    ) -> Option<&Verified<OrganizationKeys>> {
        let sets = self.organizations.get(organization)?.top(law.resets_in_effect(organization));
        sets.last().map(|set| &set.statement)
    }

    /// What counts at `now`, of all these statements.
    #[must_use]
    pub fn law(&self, now: Timestamp) -> Law {
        Law::of(self, now)
    }

    /// The roster that follows from these statements at `now`.
    #[must_use]
    pub fn roster(&self, now: Timestamp) -> Roster {
        Roster::of(self, &self.law(now), now)
    }

    /// Takes up a statement, and those that had waited for it. One that is known already, or that
    /// adds nothing, leads to nothing new.
    ///
    /// # Errors
    /// When it can never count, or there is no room.
    pub fn take(&mut self, bytes: &[u8], now: Timestamp) -> Result<Taken, Refusal> {
        self.lapse(now);
        self.end_ceremonies(now);
        self.take_up(bytes, Some(now))
    }

    /// Takes up a statement that this node kept once before, whatever the clock says now: with one that
    /// is wrong it must forget nothing. What has expired goes at the next [`Self::take`] or
    /// [`Self::drop_lapsed`].
    ///
    /// # Errors
    /// When it can never count, or there is no room.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<Taken, Refusal> {
        self.take_up(bytes, None)
    }

    /// As [`Self::take`] by a clock that may be wrong: nothing expires by it.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn take_unsure(&mut self, bytes: &[u8], now: Timestamp) -> Result<Taken, Refusal> {
        self.take_up(bytes, Some(now))
    }

    /// Drops what has expired by `now`: proposals without a decision, and ceremonies. Returns the names
    /// of statements that are no longer kept.
    pub fn drop_lapsed(&mut self, now: Timestamp) -> Vec<ContentHash> {
        self.lapse(now);
        self.end_ceremonies(now);
        self.forget_lapsed();
        self.changes(false).dropped
    }

    fn take_up(&mut self, bytes: &[u8], now: Option<Timestamp>) -> Result<Taken, Refusal> {
        let hash = statement_hash(bytes);
        let mut waits = false;
        if !self.has(&hash) {
            if self.places.len() >= limits::STATEMENTS_MAX {
                return Err(Refusal::Full);
            }
            match self.step(hash, bytes, now)? {
                Step::Taken => {}
                Step::Lapsed => waits = true,
                Step::Waits(need) => {
                    self.waiting.add(need, hash, &bytes.into());
                    waits = true;
                }
            }
        }
        // What was taken up may be what others have waited for.
        while let Some(need) = self.met.pop() {
            for (hash, bytes) in self.waiting.met(need) {
                if self.places.len() >= limits::STATEMENTS_MAX {
                    break;
                }
                // If it does not hold, nobody is left to be told.
                if let Ok(Step::Waits(need)) = self.step(hash, &bytes, now) {
                    self.waiting.add(need, hash, &bytes);
                }
            }
        }
        self.forget_lapsed();
        Ok(self.changes(waits))
    }

    /// What has come to be kept, and is not kept any more, since this was last asked.
    fn changes(&mut self, waits: bool) -> Taken {
        let (added, mut dropped) =
            (std::mem::take(&mut self.added), std::mem::take(&mut self.dropped));
        dropped.retain(|hash| !self.has(hash));
        let new = added.iter().filter_map(|hash| Some(self.get(hash)?.into())).collect();
        Taken { new, dropped, waits }
    }

    /// The latest instant at which any of the statements says that it was issued.
    #[must_use]
    pub fn latest(&self) -> Timestamp {
        let sets = self.organizations.values().flat_map(Organization::sets);
        let approvals = self.proposals.values().flat_map(|p| p.approvals.values());
        let beats = self.heartbeats.values().filter_map(Heartbeats::newest);
        let issued =
            sets.map(|set| set.statement.issued).chain(approvals.map(|given| given.issued));
        issued.chain(beats).max().unwrap_or(self.founding.founded)
    }

    fn step(
        &mut self,
        hash: ContentHash,
        bytes: &[u8],
        now: Option<Timestamp>,
    ) -> Result<Step, Refusal> {
        match Envelope::kind_of(bytes).ok_or(Refusal::Kind)? {
            StatementKind::Endorsement => self.take_endorsement(hash, bytes),
            StatementKind::OrganizationKeys => self.take_keys(hash, bytes, now),
            StatementKind::Approval => self.take_approval(hash, bytes, now),
            StatementKind::Objection => self.take_objection(hash, bytes, now),
            StatementKind::Heartbeat => self.take_heartbeat(hash, bytes, now),
            StatementKind::CeremonyCall => self.take_call(hash, bytes, now),
            StatementKind::CeremonyMessage => self.take_message(hash, bytes, now),
            _ => Err(Refusal::Kind),
        }
    }

    pub(super) fn keep(&mut self, hash: ContentHash, place: Place) {
        if self.places.insert(hash, place).is_none() {
            self.added.push(hash);
        }
    }

    pub(super) fn drop_statement(&mut self, hash: &ContentHash) {
        if self.places.remove(hash).is_some() {
            self.dropped.push(*hash);
        }
    }

    /// Refuses what says it was issued later than now, by more than clocks may differ.
    pub(super) fn check_issued(
        &self,
        issued: Timestamp,
        now: Option<Timestamp>,
    ) -> Result<(), Refusal> {
        let skew = self.founding.parameters.clock_skew_max;
        let is_later = now.is_some_and(|now| issued > now.plus(skew));
        if is_later { Err(Refusal::Future) } else { Ok(()) }
    }

    fn take_endorsement(&mut self, hash: ContentHash, bytes: &[u8]) -> Result<Step, Refusal> {
        let envelope = Envelope::parse(Endorsement::KIND, bytes, Endorsement::BYTES_MAX)?;
        // Whose root to look for stands inside; nothing else is believed before the signature.
        let claimed: Endorsement = envelope.body()?;
        let founders = self.founding.members.iter().map(|record| record.organization());
        let is_founder = founders.into_iter().any(|founder| founder == claimed.organization);
        let founder = self.organizations.get(&claimed.organization).filter(|_| is_founder);
        let root = founder.ok_or(VerifyError::WrongAuthor)?.root(&envelope.key_id(), 0);
        let root = root.ok_or(VerifyError::UnknownKey)?;
        let endorsement = signing::verify::<Endorsement>(&envelope, bytes, root, &self.network)?;
        if endorsement.network != self.network {
            return Err(VerifyError::WrongAuthor.into());
        }
        let founder = endorsement.organization;
        let known = self.endorsements.get(&founder).map(|(known, _)| *known);
        if known.is_none_or(|known| hash < known) {
            self.endorsements.insert(founder, (hash, bytes.into()));
            self.keep(hash, Place::Endorsement(founder));
            known.inspect(|known| self.drop_statement(known));
        }
        Ok(Step::Taken)
    }

    fn take_keys(
        &mut self,
        hash: ContentHash,
        bytes: &[u8],
        now: Option<Timestamp>,
    ) -> Result<Step, Refusal> {
        let envelope = Envelope::parse(OrganizationKeys::KIND, bytes, OrganizationKeys::BYTES_MAX)?;
        // Whose root to look for stands inside; nothing else is believed before the signature.
        let claimed: OrganizationKeys = envelope.body()?;
        let id = claimed.organization;
        let Some(organization) = self.organizations.get_mut(&id) else {
            return Ok(Step::Waits(Need::Organization(id)));
        };
        let Some(root) = organization.root(&envelope.key_id(), claimed.lineage) else {
            // The reset that makes it a root may come yet; for the first there is the inception.
            return match claimed.lineage {
                0 => Err(VerifyError::UnknownKey.into()),
                _ => Ok(Step::Waits(Need::Root(id))),
            };
        };
        let set = KeySet::verify(&envelope, bytes, root, &self.network)?;
        self.check_issued(set.statement.issued, now)?;
        let organization = self.organizations.get_mut(&id).expect("it was found above");
        let dropped = organization.add(set);
        self.keep(hash, Place::Keys(id));
        for old in &dropped {
            self.drop_statement(old);
        }
        if !dropped.contains(&hash) {
            self.met.push(Need::Keys(id));
            self.review_heartbeats(&id);
            self.review_messages(&id);
        }
        Ok(Step::Taken)
    }

    fn take_objection(
        &mut self,
        hash: ContentHash,
        bytes: &[u8],
        now: Option<Timestamp>,
    ) -> Result<Step, Refusal> {
        let envelope = Envelope::parse(Objection::KIND, bytes, Objection::BYTES_MAX)?;
        let key_id = envelope.key_id();
        // Whose root to look for stands inside; nothing else is believed before the signature.
        let claimed: Objection = envelope.body()?;
        let proposed = self.proposals.get(&claimed.proposal);
        let Some(proposed) = proposed.filter(|proposed| proposed.status != Status::Lapsed) else {
            return Ok(Step::Waits(Need::Proposal(claimed.proposal)));
        };
        let Change::Root(reset) = &proposed.proposal.change else {
            return Err(Refusal::Inconsistent("only the reset of a root key can be objected to"));
        };
        if reset.organization != claimed.organization {
            return Err(VerifyError::WrongAuthor.into());
        }
        let Some(organization) = self.organizations.get(&reset.organization) else {
            return Ok(Step::Waits(Need::Organization(reset.organization)));
        };
        let Some(root) = organization.root_before(&key_id, reset.lineage) else {
            return match reset.lineage {
                1 => Err(VerifyError::UnknownKey.into()),
                _ => Ok(Step::Waits(Need::Root(reset.organization))),
            };
        };
        let objection = signing::verify::<Objection>(&envelope, bytes, root, &self.network)?;
        self.check_issued(objection.issued, now)?;
        let place = (claimed.proposal, key_id);
        let earlier = self.objections.get(&place).map(|known| (known.issued, known.hash()));
        if earlier.is_none_or(|earlier| (objection.issued, hash) < earlier) {
            self.objections.insert(place, objection);
            self.keep(hash, Place::Objection(claimed.proposal, key_id));
            earlier.inspect(|(_, hash)| self.drop_statement(hash));
        }
        Ok(Step::Taken)
    }

    /// The founding's epoch, and all that were decided.
    pub(super) fn epochs(&self) -> impl Iterator<Item = &Arc<Epoch>> {
        std::iter::once(&self.first).chain(self.decided_epochs.values().flatten())
    }

    /// Whether an organization is a steward in the founding or in any decided epoch.
    pub(super) fn is_or_was_steward(&self, organization: &OrganizationId) -> bool {
        self.epochs().any(|epoch| epoch.has(organization))
    }
}
