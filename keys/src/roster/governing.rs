//! What people need to see of the statements before they sign one: the record that a change begins
//! from, who has approved what with which key, and whether an application holds.

use signpost_protocol::{
    ContentHash, KeyId, NetworkId, OrganizationId, Timestamp,
    roster::{Change, Inception, KeyRecord, Objection, OrganizationKeys, Subject},
    statement::{Body as _, Envelope},
};

use super::{Refusal, Roster, Statements, inception::verify_inception, organization::KeySet};
use crate::{
    signing::{CheckedKey, VerifyError},
    verified::Verified,
};

impl Roster {
    /// The keys that count for an organization, whatever their validity, by use and then by the end
    /// of their validity.
    #[must_use]
    pub fn keys_of(&self, organization: &OrganizationId) -> Vec<KeyRecord> {
        let listings = self.keys.values().flatten();
        let own = listings.filter(|listing| listing.organization == *organization);
        let mut keys: Vec<KeyRecord> = own.map(|listing| listing.record).collect();
        keys.sort_by_key(|key| (key.usage, key.not_after, key.key));
        keys
    }
}

impl Statements {
    /// Who has approved a proposal, with which key, and when, by the time; whether or not that counts.
    #[must_use]
    pub fn approvers(&self, proposal: &ContentHash) -> Vec<(OrganizationId, KeyId, Timestamp)> {
        let approvals = self.proposals.get(proposal).into_iter().flat_map(|p| &p.approvals);
        let given = approvals.map(|((steward, key), given)| (*steward, *key, given.issued));
        let mut given: Vec<_> = given.collect();
        given.sort_by_key(|(steward, _, issued)| (*issued, *steward));
        given
    }

    /// The proposals that a steward has approved for one subject and version, with any key: two of
    /// them contradict each other.
    pub fn approved_by(
        &self,
        steward: &OrganizationId,
        subject: Subject,
        version: u64,
    ) -> impl Iterator<Item = ContentHash> + '_ {
        let ids = self.subjects.get(&(subject, version)).into_iter().flatten();
        let steward = *steward;
        let has_approved = move |id: &&ContentHash| {
            let proposed = self.proposals.get(*id);
            proposed.is_some_and(|p| p.approvals.keys().any(|(other, _)| *other == steward))
        };
        ids.filter(has_approved).copied()
    }

    /// The objections to a proposal.
    pub fn objections_to(
        &self,
        proposal: &ContentHash,
    ) -> impl Iterator<Item = &Verified<Objection>> {
        let all = (*proposal, KeyId([0; 16]))..=(*proposal, KeyId([0xff; 16]));
        self.objections.range(all).map(|(_, objection)| objection)
    }

    /// Whether a key was a root key of an organization before a lineage: it may object to the reset
    /// that begins this one.
    #[must_use]
    pub fn is_root_before(&self, organization: &OrganizationId, key: &KeyId, lineage: u32) -> bool {
        let known = self.organizations.get(organization);
        known.is_some_and(|known| known.root_before(key, lineage).is_some())
    }

    /// The inception of an organization that the roster names, be it only in a proposal.
    #[must_use]
    pub fn inception(&self, organization: &OrganizationId) -> Option<Inception> {
        let subjects =
            (Subject::Member(*organization), 0)..=(Subject::Member(*organization), u64::MAX);
        let proposed = self.subjects.range(subjects).flat_map(|(_, ids)| ids);
        let proposed = proposed.filter_map(|id| match &self.proposals.get(id)?.proposal.change {
            Change::Member(record) => Some(record),
            _ => None,
        });
        let mut records = proposed.chain(self.founding.members.iter());
        let record = records.find(|record| record.organization() == *organization)?;
        Some(verify_inception(&record.inception).ok()?.1.into_body())
    }
}

/// What an organization hands to the stewards to be admitted: who it is, and its nodes and keys.
#[derive(Clone, Debug)]
pub struct Application {
    /// The organization.
    pub organization: OrganizationId,
    /// Its birth certificate.
    pub inception: Verified<Inception>,
    /// Its nodes and keys in the network, signed by the root key that the inception names.
    pub keys: Verified<OrganizationKeys>,
}

impl Application {
    /// Checks both statements, and that they belong together and to this network.
    ///
    /// # Errors
    /// Says what does not hold. That the organization is who it says it is, no signature can show:
    /// people compare fingerprints by other means.
    pub fn verify(inception: &[u8], keys: &[u8], network: &NetworkId) -> Result<Self, Refusal> {
        let (organization, inception) = verify_inception(inception)?;
        let envelope = Envelope::parse(OrganizationKeys::KIND, keys, OrganizationKeys::BYTES_MAX)?;
        if envelope.key_id() != inception.root.key_id() {
            return Err(VerifyError::UnknownKey.into());
        }
        let root = CheckedKey::new(&inception.root)?;
        let keys = KeySet::verify(&envelope, keys, &root, network)?.statement;
        if keys.organization != organization {
            return Err(VerifyError::WrongAuthor.into());
        }
        if keys.lineage != 0 {
            return Err(Refusal::Inconsistent("the keys are of a root key that was reset"));
        }
        if keys.nodes.is_empty() {
            return Err(Refusal::Inconsistent("the organization lists no node"));
        }
        Ok(Self { organization, inception, keys })
    }
}
