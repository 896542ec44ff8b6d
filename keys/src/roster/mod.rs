//! The roster as a function of statements: who is a member, and which signatures count.
//!
//! A [`Roster`] is made from a founding that every founder endorsed. It answers the two questions
//! that all else rests on: whose key is this, and does this statement count? The answer to the
//! second is a [`Verified`] body, which only this crate can make.

mod founding;
mod inception;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use signpost_protocol::{
    KeyId, NetworkId, NodeId, OdsCode, OrganizationId, PublicKey, Timestamp,
    blind::EvaluatorSet,
    limits,
    roster::{Parameters, Standing},
    statement::{Body, Envelope, KeyUse},
};

use crate::{
    signing::{self, CheckedKey, VerifyError},
    verified::Verified,
};

pub use founding::{FoundingError, assemble, dealt_evaluators, endorse};
pub use inception::{incept, verify_inception};

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
    /// Its nodes, each with its addresses.
    pub nodes: Vec<MemberNode>,
    /// The largest digest size class it may advertise.
    pub class_max: u8,
}

/// A node of a member.
#[derive(Clone, Debug)]
pub struct MemberNode {
    /// The node.
    pub node: NodeId,
    /// Multiaddrs without the peer id.
    pub addresses: Vec<String>,
    /// The transport keys, with their validity: which PeerIds are this node.
    pub transport: Vec<(PublicKey, Timestamp, Timestamp)>,
}

impl MemberNode {
    /// The transport keys valid at `now`.
    pub fn transport_keys(&self, now: Timestamp) -> impl Iterator<Item = PublicKey> + '_ {
        self.transport
            .iter()
            .filter(move |(_, not_before, not_after)| *not_before <= now && now < *not_after)
            .map(|(key, _, _)| *key)
    }
}

/// A key and the organizations that list it: one for a pointer key; all that a node serves for its transport key.
#[derive(Clone, Debug)]
struct KeyUser {
    public: PublicKey,
    key: CheckedKey,
    usage: KeyUse,
    node: NodeId,
    listings: Vec<Listing>,
}

#[derive(Clone, Copy, Debug)]
struct Listing {
    organization: OrganizationId,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Listing {
    fn valid_at(&self, instant: Timestamp) -> bool {
        self.not_before <= instant && instant < self.not_after
    }
}

/// The instant at which a key must be valid for a statement to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidAt {
    /// When the statement says it was issued: pointers outlive the keys that signed them.
    Issue,
    /// Now: whatever is part of a live exchange.
    Now(Timestamp),
}

/// The membership that this node believes, checked.
#[derive(Clone, Debug)]
pub struct Roster {
    network: NetworkId,
    name: String,
    founded: Timestamp,
    parameters: Parameters,
    members: BTreeMap<OrganizationId, Member>,
    by_ods: BTreeMap<OdsCode, OrganizationId>,
    keys: BTreeMap<KeyId, KeyUser>,
    evaluators: EvaluatorSet,
}

impl Roster {
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
    pub const fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The evaluators of the current key epoch.
    #[must_use]
    pub const fn evaluators(&self) -> &EvaluatorSet {
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

    /// The member with this ODS code today.
    #[must_use]
    pub fn member_by_ods(&self, ods: &OdsCode) -> Option<&Member> {
        self.members.get(self.by_ods.get(ods)?)
    }

    /// The organizations for which a peer with this transport key may speak at `now`: admitted
    /// members that list it. Empty for a stranger.
    #[must_use]
    pub fn organizations_of_peer(&self, peer: &PublicKey, now: Timestamp) -> Vec<OrganizationId> {
        self.keys
            .get(&peer.key_id())
            .filter(|user| user.public == *peer && user.usage == KeyUse::Transport)
            .into_iter()
            .flat_map(|user| &user.listings)
            .filter(|listing| listing.valid_at(now) && self.is_admitted(&listing.organization))
            .map(|listing| listing.organization)
            .collect()
    }

    /// When a key may sign for `organization`, from and until (exclusive); `None` when the roster
    /// does not list it there.
    #[must_use]
    pub fn key_validity(
        &self,
        key_id: &KeyId,
        organization: &OrganizationId,
    ) -> Option<(Timestamp, Timestamp)> {
        let listings = &self.keys.get(key_id)?.listings;
        let listing = listings.iter().find(|listing| listing.organization == *organization)?;
        Some((listing.not_before, listing.not_after))
    }

    /// The node that a key belongs to.
    #[must_use]
    pub fn node_of_key(&self, key_id: &KeyId) -> Option<NodeId> {
        self.keys.get(key_id).map(|user| user.node)
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
        let user = self.keys.get(&envelope.key_id()).ok_or(VerifyError::UnknownKey)?;
        if user.usage != B::SIGNED_BY {
            return Err(VerifyError::WrongUse);
        }
        let statement = signing::verify::<B>(&envelope, bytes, &user.key, &self.network)?;
        let author = statement.author();
        let listing = user.listings.iter().find(|listing| listing.organization == author);
        let listing = listing.ok_or(VerifyError::WrongAuthor)?;
        if !self.is_admitted(&author) {
            return Err(VerifyError::NotAdmitted);
        }
        let instant = match at {
            ValidAt::Issue => statement.issued(),
            ValidAt::Now(now) => now,
        };
        if !listing.valid_at(instant) {
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
