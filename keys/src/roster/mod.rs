//! The roster as a function of statements and time: who is a member, and which signatures count.
//!
//! [`Statements`] are what a node has been told, each verified. [`Law`] is what counts of them at an
//! instant. A [`Roster`] is the membership that follows. It answers the two questions that all else
//! rests on: whose key is this, and does this statement count? The answer to the second is a
//! [`Verified`] body, which only this crate can make.
//!
//! Two nodes that have the same statements have the same roster at the same time, in whatever order
//! the statements came, and no set of fewer than `threshold` stewards' keys changes it.

mod approvals;
mod batch;
mod ceremonies;
mod ceremony_outcome;
mod counting;
mod epoch;
mod evaluators;
mod evidence;
mod file;
mod founding;
mod governing;
mod heartbeats;
mod inception;
mod law;
mod organization;
mod statements;
#[cfg(test)]
mod tests;
mod waiting;
mod witness;

use std::{collections::BTreeMap, sync::Arc};

use signpost_protocol::{
    ContentHash, KeyId, NetworkId, NodeId, OdsCode, OrganizationId, PublicKey, Timestamp, limits,
    roster::{Change, KeyRecord, Parameters, Standing},
    statement::{Body, Envelope, KeyUse},
};

use self::organization::is_valid_at;
use crate::{
    signing::{self, CheckedKey, VerifyError},
    verified::Verified,
};

pub use approvals::OPEN_PER_STEWARD_MAX;
pub use batch::{claimed, in_order};
pub use ceremonies::{Ceremony, MessageSlot};
pub use ceremony_outcome::ceremony_task;
pub use counting::Counts;
pub use epoch::Epoch;
pub use evaluators::{Evaluators, VERSIONS_AHEAD_MAX};
pub use evidence::{NoEvidence, WrongEvaluation};
pub use founding::{FoundingError, dealt_evaluators, endorse};
pub use governing::Application;
pub use inception::{incept, verify_inception};
pub use law::{Decision, Finding, Law, State};
pub use statements::{Refusal, Statements, Taken};

/// A member as the node sees it.
#[derive(Clone, Debug)]
pub struct Member {
    /// The organization.
    pub organization: OrganizationId,
    /// Where it stands.
    pub standing: Standing,
    /// Its ODS code today.
    pub ods: OdsCode,
    /// Its name today.
    pub name: String,
    /// The version of its record.
    pub version: u64,
    /// Since when its record counts.
    pub since: Timestamp,
    /// The organization that has taken its place.
    pub successor: Option<OrganizationId>,
    /// Its nodes, each with its addresses.
    pub nodes: Vec<MemberNode>,
    /// Its govern keys, with their validity.
    pub govern: Vec<KeyRecord>,
    /// The largest digest size class it may advertise.
    pub class_max: u8,
    /// How many resets of its root key are in effect.
    pub lineage: u32,
}

/// A node of a member.
#[derive(Clone, Debug)]
pub struct MemberNode {
    /// The node.
    pub node: NodeId,
    /// Multiaddrs without the peer id.
    pub addresses: Vec<String>,
    /// The transport keys, with their validity: which PeerIds are this node.
    pub transport: Vec<KeyRecord>,
}

impl MemberNode {
    /// The transport keys valid at `now`.
    pub fn transport_keys(&self, now: Timestamp) -> impl Iterator<Item = PublicKey> + '_ {
        self.transport.iter().filter(move |key| is_valid_at(key, now)).map(|record| record.key)
    }
}

/// One organization's listing of a key. Several may list the transport key of the node that serves
/// them all; whoever lists another's key gains nothing, since the signer names its organization.
#[derive(Clone, Debug)]
struct Listing {
    organization: OrganizationId,
    record: KeyRecord,
    key: Arc<CheckedKey>,
}

/// The instant at which a key must be valid for a statement to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidAt {
    /// When the statement says it was issued: pointers outlive the keys that signed them.
    Issue,
    /// Now: whatever is part of a live exchange.
    Now(Timestamp),
}

/// How the roster regards a peer that has proved to hold a transport key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerStanding {
    /// No member has ever listed the key, as far as this roster knows.
    Unknown,
    /// All that listed it are gone for good.
    Expelled,
    /// It is not valid any more, or not yet.
    KeyExpired,
    /// It was revoked.
    KeyRevoked,
    /// All that list it are suspended.
    Suspended,
    /// At least one admitted member lists it now.
    Member,
}

/// The membership that this node believes, checked.
#[derive(Clone, Debug)]
pub struct Roster {
    network: NetworkId,
    name: String,
    founded: Timestamp,
    epoch: Arc<Epoch>,
    members: BTreeMap<OrganizationId, Member>,
    by_ods: BTreeMap<OdsCode, OrganizationId>,
    keys: BTreeMap<KeyId, Vec<Listing>>,
    evaluators: Evaluators,
    digest: ContentHash,
    findings: Vec<Finding>,
    /// When enough stewards were last heard of.
    fresh: Timestamp,
    next_change: Option<Timestamp>,
}

impl Roster {
    /// Reads a roster file and makes the roster that follows from it at `now`.
    ///
    /// # Errors
    /// As [`Statements::read`].
    pub fn open(
        file: &[u8],
        expected: Option<NetworkId>,
        now: Timestamp,
    ) -> Result<Self, FoundingError> {
        Ok(Statements::read(file, expected, now)?.roster(now))
    }

    fn of(statements: &Statements, law: &Law, now: Timestamp) -> Self {
        let founding = &statements.founding;
        let mut roster = Self {
            network: statements.network,
            name: founding.name.to_string(),
            founded: founding.founded,
            epoch: law.epochs.last().cloned().unwrap_or_else(|| statements.first.clone()),
            members: BTreeMap::new(),
            by_ods: BTreeMap::new(),
            keys: BTreeMap::new(),
            evaluators: law.evaluators.clone(),
            digest: law.digest(),
            findings: law.findings.clone(),
            fresh: Timestamp(0),
            next_change: law.next_change,
        };
        for (organization, member) in &law.members {
            roster.add_member(statements, law, *organization, member);
        }
        roster.add_former_codes(statements, law);
        roster.fresh = roster.heard_of_enough(statements, now);
        roster
    }

    /// A code that a member had before leads to it for as long as nobody else has it: ids of pointers
    /// begin with the code of their making.
    fn add_former_codes(&mut self, statements: &Statements, law: &Law) {
        let was_law =
            |decision: &&Decision| matches!(decision.state, State::Law | State::Superseded);
        let decided = law.proposals().map(|(_, decision)| decision).filter(was_law);
        let records = decided.filter_map(|decision| match &decision.proposal.change {
            Change::Member(record) => Some(record),
            _ => None,
        });
        for record in records.chain(statements.founding.members.iter()) {
            let organization = record.organization();
            if self.is_admitted(&organization) {
                self.by_ods.entry(record.ods.clone()).or_insert(organization);
            }
        }
    }

    fn add_member(
        &mut self,
        statements: &Statements,
        law: &Law,
        organization: OrganizationId,
        member: &law::MemberLaw,
    ) {
        let resets = law.resets_in_effect(&organization);
        let known = statements.organizations.get(&organization);
        let top = known.map(|known| known.top(resets)).unwrap_or_default();
        if let [set, _, ..] = top {
            let version = set.statement.version;
            self.findings.push(Finding::ContradictoryKeys { organization, version });
        }
        let mut nodes: Vec<MemberNode> = Vec::new();
        for node in top.iter().flat_map(|set| set.statement.nodes.iter()) {
            if nodes.iter().all(|other| other.node != node.node) {
                let addresses = node.addresses.iter().map(ToString::to_string).collect();
                nodes.push(MemberNode { node: node.node, addresses, transport: Vec::new() });
            }
        }
        let mut govern = Vec::new();
        for listed in known.map(|known| known.keys(resets)).unwrap_or_default() {
            let record = listed.record;
            let node = nodes.iter_mut().find(|node| Some(node.node) == record.node);
            match (record.usage, node) {
                (KeyUse::Govern, _) => govern.push(record),
                (KeyUse::Transport, Some(node)) => node.transport.push(record),
                _ => {}
            }
            let listing = Listing { organization, record, key: listed.key };
            self.keys.entry(listed.id).or_default().push(listing);
        }
        let entry = Member {
            organization,
            standing: member.standing,
            ods: member.ods.clone(),
            name: member.name.clone(),
            version: member.version,
            since: member.since,
            successor: member.successor,
            nodes,
            govern,
            class_max: member.class_max,
            lineage: u32::try_from(resets.len()).unwrap_or(u32::MAX),
        };
        // A code leads to its admitted member; one that is suspended is found only by its own.
        let takes_code = match self.by_ods.get(&member.ods).and_then(|o| self.members.get(o)) {
            None => member.standing != Standing::Expelled,
            Some(other) => {
                other.standing != Standing::Admitted && member.standing == Standing::Admitted
            }
        };
        if takes_code {
            self.by_ods.insert(member.ods.clone(), organization);
        }
        self.members.insert(organization, entry);
    }

    /// When `threshold` stewards had last been heard of: the oldest of the newest heartbeats of
    /// those that were heard of last. An epoch begins with all of them.
    fn heard_of_enough(&self, statements: &Statements, now: Timestamp) -> Timestamp {
        let begun = self.epoch.since();
        let future = now.plus(self.parameters().clock_skew_max);
        let mut heard: Vec<Timestamp> = self
            .epoch
            .stewards()
            .map(|steward| {
                let heard = statements.last_heard(&steward.organization);
                heard.map_or(begun, |heard| heard.min(future).max(begun))
            })
            .collect();
        heard.sort_unstable();
        heard[heard.len() - usize::from(self.epoch.threshold())]
    }

    /// The network.
    #[must_use]
    pub const fn network(&self) -> NetworkId {
        self.network
    }

    /// The network's name for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When the network was founded.
    #[must_use]
    pub const fn founded(&self) -> Timestamp {
        self.founded
    }

    /// The shared durations.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        self.epoch.parameters()
    }

    /// The present stewards.
    #[must_use]
    pub fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// The names of all that is law, hashed: the same at nodes that agree.
    #[must_use]
    pub const fn digest(&self) -> ContentHash {
        self.digest
    }

    /// What people should look into.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// When enough stewards to make law had last been heard of.
    #[must_use]
    pub const fn fresh(&self) -> Timestamp {
        self.fresh
    }

    /// When time alone will change this roster, at the earliest.
    #[must_use]
    pub const fn next_change(&self) -> Option<Timestamp> {
        self.next_change
    }

    /// Who evaluates.
    #[must_use]
    pub const fn evaluators(&self) -> &Evaluators {
        &self.evaluators
    }

    /// All members, whatever their standing, by organization.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// The admitted members.
    pub fn admitted(&self) -> impl Iterator<Item = &Member> {
        self.members().filter(|member| member.standing == Standing::Admitted)
    }

    /// One member.
    #[must_use]
    pub fn member(&self, organization: &OrganizationId) -> Option<&Member> {
        self.members.get(organization)
    }

    /// The member with this ODS code today, or that had it before if nobody has it today.
    #[must_use]
    pub fn member_by_ods(&self, ods: &OdsCode) -> Option<&Member> {
        self.members.get(self.by_ods.get(ods)?)
    }

    /// The organizations for which a peer with this transport key may speak at `now`: admitted
    /// members that list it. Empty for a stranger.
    #[must_use]
    pub fn organizations_of_peer(&self, peer: &PublicKey, now: Timestamp) -> Vec<OrganizationId> {
        self.listings_of_peer(peer)
            .filter(|listing| is_valid_at(&listing.record, now))
            .map(|listing| listing.organization)
            .filter(|organization| self.is_admitted(organization))
            .collect()
    }

    /// How a peer with this transport key is to be regarded at `now`.
    #[must_use]
    pub fn standing_of_peer(&self, peer: &PublicKey, now: Timestamp) -> PeerStanding {
        let standing = |listing: &Listing| {
            let revoked = listing.record.revoked;
            if revoked.is_some_and(|revoked| revoked.since <= now) {
                return PeerStanding::KeyRevoked;
            }
            if !is_valid_at(&listing.record, now) {
                return PeerStanding::KeyExpired;
            }
            match self.member(&listing.organization).map(|member| member.standing) {
                Some(Standing::Admitted) => PeerStanding::Member,
                Some(Standing::Suspended) => PeerStanding::Suspended,
                Some(Standing::Expelled) => PeerStanding::Expelled,
                None => PeerStanding::Unknown,
            }
        };
        self.listings_of_peer(peer).map(standing).max().unwrap_or(PeerStanding::Unknown)
    }

    fn listings_of_peer(&self, peer: &PublicKey) -> impl Iterator<Item = &Listing> {
        self.keys
            .get(&peer.key_id())
            .into_iter()
            .flatten()
            .filter(|listing| listing.record.key == *peer)
            .filter(|listing| listing.record.usage == KeyUse::Transport)
    }

    fn listing(&self, key_id: &KeyId, organization: &OrganizationId) -> Option<&Listing> {
        let mut listings = self.keys.get(key_id)?.iter();
        listings.find(|listing| listing.organization == *organization)
    }

    /// When a key may sign for `organization`, from and until (exclusive); `None` when the roster
    /// does not list it there.
    #[must_use]
    pub fn key_validity(
        &self,
        key_id: &KeyId,
        organization: &OrganizationId,
    ) -> Option<(Timestamp, Timestamp)> {
        let record = self.listing(key_id, organization)?.record;
        let revoked = record.revoked.map(|revoked| revoked.since);
        let until = revoked.map_or(record.not_after, |since| since.min(record.not_after));
        Some((record.not_before, until))
    }

    /// Since when a key that an organization lists is revoked, if it is.
    #[must_use]
    pub fn revoked_since(
        &self,
        key_id: &KeyId,
        organization: &OrganizationId,
    ) -> Option<Timestamp> {
        Some(self.listing(key_id, organization)?.record.revoked?.since)
    }

    /// The node that a key of an organization belongs to.
    #[must_use]
    pub fn node_of_key(&self, key_id: &KeyId, organization: &OrganizationId) -> Option<NodeId> {
        self.listing(key_id, organization)?.record.node
    }

    /// Whether `organization` is an admitted member.
    #[must_use]
    pub fn is_admitted(&self, organization: &OrganizationId) -> bool {
        self.member(organization).is_some_and(|member| member.standing == Standing::Admitted)
    }

    /// The choke point for everything that arrives signed: checks that the key is in the roster,
    /// of the right use, valid at the instant that counts, that the signature verifies, and that
    /// the author is the key's organization and admitted.
    ///
    /// # Errors
    /// Says which of these failed.
    pub fn verify<B: Body>(&self, bytes: &[u8], at: ValidAt) -> Result<Verified<B>, VerifyError> {
        let envelope = Envelope::parse(B::KIND, bytes, B::BYTES_MAX)?;
        let listings = self.keys.get(&envelope.key_id()).ok_or(VerifyError::UnknownKey)?;
        let of_use: Vec<&Listing> =
            listings.iter().filter(|listing| listing.record.usage == B::SIGNED_BY).collect();
        let key = &of_use.first().ok_or(VerifyError::WrongUse)?.key;
        let statement = signing::verify::<B>(&envelope, bytes, key, &self.network)?;
        let author = statement.author();
        let listing = of_use.iter().find(|listing| listing.organization == author);
        let listing = listing.ok_or(VerifyError::WrongAuthor)?;
        if !self.is_admitted(&author) {
            return Err(VerifyError::NotAdmitted);
        }
        let instant = match at {
            ValidAt::Issue => statement.issued(),
            ValidAt::Now(now) => now,
        };
        if !is_valid_at(&listing.record, instant) {
            return Err(VerifyError::KeyNotValid);
        }
        Ok(statement)
    }

    /// As [`Self::verify`] of what is shown long afterwards: wherever the author stands by now, and whether
    /// or not the key was revoked since. Only that the author had listed the key for that time.
    ///
    /// # Errors
    /// Says which of these failed.
    fn verify_shown<B: Body>(&self, bytes: &[u8]) -> Result<Verified<B>, VerifyError> {
        let envelope = Envelope::parse(B::KIND, bytes, B::BYTES_MAX)?;
        let listings = self.keys.get(&envelope.key_id()).ok_or(VerifyError::UnknownKey)?;
        let of_use = listings.iter().filter(|listing| listing.record.usage == B::SIGNED_BY);
        let of_use: Vec<&Listing> = of_use.collect();
        let key = &of_use.first().ok_or(VerifyError::WrongUse)?.key;
        let statement = signing::verify::<B>(&envelope, bytes, key, &self.network)?;
        let author = statement.author();
        let listing = of_use.iter().find(|listing| listing.organization == author);
        let record = listing.ok_or(VerifyError::WrongAuthor)?.record;
        let lives = record.not_before..record.not_after;
        if !lives.contains(&statement.issued()) {
            return Err(VerifyError::KeyNotValid);
        }
        Ok(statement)
    }

    /// Whether a head's class lies within what the roster allows its organization.
    #[must_use]
    pub fn class_allowed(&self, organization: &OrganizationId, class: u8) -> bool {
        self.member(organization).is_some_and(|member| class <= member.class_max)
    }
}

const _: () = assert!(limits::FOUNDERS_MAX <= limits::HEADS_MAX, "every founder has a head");
