//! How a network comes to be: every founder signs the same founding.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use rand_core::CryptoRng;
use signpost_protocol::{
    ContentHash, DecodeError, KeyEpoch, KeyId, NetworkId, OdsCode, OrganizationId, Timestamp,
    blind::{Evaluator, EvaluatorSet},
    codec::{self, Bounded, ByteString},
    limits,
    roster::{EndorsedFounding, Endorsement, Founding, KeyRecord, MemberRecord, Parameters},
    statement::{Body as _, Envelope, KeyUse},
};

use super::{KeyUser, Listing, Member, MemberNode, Roster, inception::verify_inception};
use crate::{
    blinding::{self, EvaluatorIndex, KeyShare, PublicShare},
    secret::SecretKey,
    signing::{self, CheckedKey, VerifyError},
    verified::Verified,
};

/// Why a founding makes no network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoundingError {
    /// The file is not an endorsed founding.
    #[error("the roster cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// A founder's inception does not hold.
    #[error("the inception of member {member} does not hold: {source}")]
    Inception {
        /// Which of the members, from 1.
        member: usize,
        /// Why.
        source: VerifyError,
    },
    /// An endorsement does not hold.
    #[error("endorsement {endorsement} does not hold: {source}")]
    Endorsement {
        /// Which of the endorsements, from 1.
        endorsement: usize,
        /// Why.
        source: VerifyError,
    },
    /// A founder has not signed.
    #[error("{ods} has not endorsed the founding: every founder must sign it")]
    NotEndorsed {
        /// Whose signature is missing.
        ods: OdsCode,
    },
    /// The content contradicts itself.
    #[error("the founding is not consistent: {0}")]
    Inconsistent(&'static str),
    /// It founds another network than the one this node belongs to.
    #[error("the roster is of network {found}, but this node belongs to {expected}")]
    OtherNetwork {
        /// What the file founds.
        found: NetworkId,
        /// What was expected.
        expected: NetworkId,
    },
}

/// Signs `founding` as one of its founders.
#[must_use]
pub fn endorse(
    founding: &[u8],
    organization: OrganizationId,
    root: &SecretKey,
    issued: Timestamp,
) -> Verified<Endorsement> {
    let network = NetworkId(ContentHash::of(founding).0);
    signing::sign(Endorsement { organization, network, issued }, root, &network)
}

/// Puts a founding and its endorsements together as the bytes of a roster file.
///
/// # Errors
/// When there are too many of them, or they are too long.
pub fn assemble(
    founding: Vec<u8>,
    endorsements: &[Verified<Endorsement>],
) -> Result<Vec<u8>, FoundingError> {
    let list = endorsements
        .iter()
        .map(|endorsement| ByteString::new(endorsement.bytes().to_vec()))
        .collect::<Option<Vec<_>>>()
        .and_then(Bounded::new)
        .ok_or(FoundingError::Inconsistent("too many founders"))?;
    let founding =
        ByteString::new(founding).ok_or(FoundingError::Inconsistent("the founding is too long"))?;
    Ok(codec::encode(&EndorsedFounding { founding, endorsements: list }))
}

/// Deals a key to `organizations` and describes the evaluators: **for demonstrations only**, for
/// whoever runs this knows the key for a moment.
///
/// # Errors
/// When `threshold` is 0 or above the number of organizations, or there are too many.
pub fn dealt_evaluators(
    organizations: &[OrganizationId],
    threshold: u16,
    rng: &mut impl CryptoRng,
) -> Result<(EvaluatorSet, Vec<KeyShare>), FoundingError> {
    let refused = FoundingError::Inconsistent("the threshold does not fit the evaluators");
    let dealt =
        blinding::deal(usize::from(threshold), organizations.len(), rng).map_err(|_| refused)?;
    let evaluators = dealt
        .shares
        .iter()
        .zip(organizations)
        .map(|(share, organization)| Evaluator {
            index: share.index().get(),
            organization: *organization,
            public_share: share.public().to_bytes().into(),
        })
        .collect();
    let set = EvaluatorSet {
        key_epoch: KeyEpoch(1),
        share_epoch: 1,
        threshold,
        group: dealt.group_public.to_bytes().into(),
        evaluators: Bounded::new(evaluators)
            .ok_or(FoundingError::Inconsistent("too many evaluators"))?,
        dealt: true,
    };
    Ok((set, dealt.shares))
}

impl Roster {
    /// Checks an endorsed founding and makes the roster it stands for.
    ///
    /// # Errors
    /// When anything in it does not decode, verify or fit together; nothing is taken over in part.
    pub fn open(bytes: &[u8], expected: Option<NetworkId>) -> Result<Self, FoundingError> {
        let file: EndorsedFounding = codec::decode("roster", bytes, limits::ROSTER_BYTES_MAX)?;
        let network = NetworkId(ContentHash::of(&file.founding).0);
        if let Some(expected) = expected.filter(|expected| *expected != network) {
            return Err(FoundingError::OtherNetwork { found: network, expected });
        }
        let founding: Founding =
            codec::decode("founding", &file.founding, limits::ROSTER_BYTES_MAX)?;
        let mut roster = Self {
            network,
            name: founding.name.to_string(),
            founded: founding.founded,
            parameters: founding.parameters,
            members: BTreeMap::new(),
            by_ods: BTreeMap::new(),
            keys: BTreeMap::new(),
            evaluators: founding.evaluators,
        };
        if founding.members.is_empty() {
            return Err(FoundingError::Inconsistent("it has no members"));
        }
        let mut roots = BTreeMap::new();
        for (number, record) in founding.members.iter().enumerate() {
            let (organization, root) = roster.admit(number + 1, record)?;
            roots.insert(root.0, (organization, root.1));
        }
        if roots.keys().any(|root| roster.keys.contains_key(root)) {
            return Err(FoundingError::Inconsistent("a root key is in use at a node"));
        }
        let mut endorsed = BTreeSet::new();
        for (number, bytes) in file.endorsements.iter().enumerate() {
            let organization = verify_endorsement(bytes, &roots, &network)
                .map_err(|source| FoundingError::Endorsement { endorsement: number + 1, source })?;
            endorsed.insert(organization);
        }
        if let Some(missing) = roster.members().find(|m| !endorsed.contains(&m.organization)) {
            return Err(FoundingError::NotEndorsed { ods: missing.ods.clone() });
        }
        roster.check_parameters()?;
        roster.check_evaluators()?;
        Ok(roster)
    }

    fn admit(
        &mut self,
        number: usize,
        record: &MemberRecord,
    ) -> Result<(OrganizationId, (KeyId, CheckedKey)), FoundingError> {
        let at = |source| FoundingError::Inception { member: number, source };
        let (organization, inception) = verify_inception(&record.inception).map_err(at)?;
        let root = CheckedKey::new(&inception.root).map_err(at)?;
        if self.by_ods.insert(record.ods.clone(), organization).is_some() {
            return Err(FoundingError::Inconsistent("two members have the same ODS code"));
        }
        let mut nodes: Vec<MemberNode> = Vec::new();
        for node in record.nodes.iter() {
            if nodes.iter().any(|known| known.node == node.node) {
                return Err(FoundingError::Inconsistent("a member lists a node twice"));
            }
            let addresses = node.addresses.iter().map(ToString::to_string).collect();
            nodes.push(MemberNode { node: node.node, addresses, transport: Vec::new() });
        }
        for record in record.keys.iter() {
            let key = CheckedKey::new(&record.key).map_err(at)?;
            let node = nodes
                .iter_mut()
                .find(|node| node.node == record.node)
                .ok_or(FoundingError::Inconsistent("a key belongs to a node that is not listed"))?;
            if !matches!(record.usage, KeyUse::Pointer | KeyUse::Transport) {
                return Err(FoundingError::Inconsistent("a node has a key of another use"));
            }
            if record.not_before >= record.not_after {
                return Err(FoundingError::Inconsistent("a key is never valid"));
            }
            if record.usage == KeyUse::Transport {
                node.transport.push((record.key, record.not_before, record.not_after));
            }
            self.list(record, organization, key)?;
        }
        let member = Member {
            organization,
            standing: record.standing,
            ods: record.ods.clone(),
            name: record.name.to_string(),
            nodes,
            class_max: record.class_max,
        };
        if self.members.insert(organization, member).is_some() {
            return Err(FoundingError::Inconsistent("an organization is listed twice"));
        }
        Ok((organization, (inception.root.key_id(), root)))
    }

    /// Several organizations may list the transport key of the one node that serves them all;
    /// a pointer key speaks for one organization only.
    fn list(
        &mut self,
        record: &KeyRecord,
        organization: OrganizationId,
        key: CheckedKey,
    ) -> Result<(), FoundingError> {
        let listing =
            Listing { organization, not_before: record.not_before, not_after: record.not_after };
        match self.keys.entry(record.key.key_id()) {
            Entry::Vacant(entry) => {
                entry.insert(KeyUser {
                    public: record.key,
                    key,
                    usage: record.usage,
                    node: record.node,
                    listings: vec![listing],
                });
            }
            Entry::Occupied(mut entry) => {
                let user = entry.get_mut();
                let shareable = user.usage == KeyUse::Transport
                    && record.usage == KeyUse::Transport
                    && user.public == record.key
                    && user.node == record.node
                    && user.listings.iter().all(|known| known.organization != organization);
                if !shareable {
                    return Err(FoundingError::Inconsistent("a key is listed twice"));
                }
                user.listings.push(listing);
            }
        }
        Ok(())
    }

    fn check_parameters(&self) -> Result<(), FoundingError> {
        let Parameters { head_interval, head_age_max, clock_skew_max, request_life_max } =
            self.parameters;
        if head_interval == 0 || clock_skew_max == 0 || request_life_max == 0 {
            return Err(FoundingError::Inconsistent("a duration is zero"));
        }
        if head_age_max <= head_interval {
            return Err(FoundingError::Inconsistent(
                "digest heads would be stale before they are re-issued",
            ));
        }
        Ok(())
    }

    fn check_evaluators(&self) -> Result<(), FoundingError> {
        let set = &self.evaluators;
        let mut shares = Vec::new();
        for (position, evaluator) in set.evaluators.iter().enumerate() {
            if usize::from(evaluator.index) != position + 1 {
                return Err(FoundingError::Inconsistent("evaluators are not numbered from 1"));
            }
            if !self.members.contains_key(&evaluator.organization) {
                return Err(FoundingError::Inconsistent("an evaluator is not a member"));
            }
            let share = PublicShare::from_bytes(*evaluator.public_share).map_err(|_| {
                FoundingError::Inconsistent("a public share is not a group element")
            })?;
            let index = EvaluatorIndex::new(evaluator.index)
                .ok_or(FoundingError::Inconsistent("evaluators are not numbered from 1"))?;
            shares.push((index, share));
        }
        let distinct: BTreeSet<_> = set.evaluators.iter().map(|e| e.organization).collect();
        if distinct.len() != set.evaluators.len() {
            return Err(FoundingError::Inconsistent("an organization evaluates twice"));
        }
        let group = PublicShare::from_bytes(*set.group)
            .map_err(|_| FoundingError::Inconsistent("the group key is not a group element"))?;
        if !blinding::group_public_matches(usize::from(set.threshold), &shares, &group) {
            return Err(FoundingError::Inconsistent(
                "the public shares do not make up the group key",
            ));
        }
        Ok(())
    }
}

fn verify_endorsement(
    bytes: &[u8],
    roots: &BTreeMap<KeyId, (OrganizationId, CheckedKey)>,
    network: &NetworkId,
) -> Result<OrganizationId, VerifyError> {
    let envelope = Envelope::parse(Endorsement::KIND, bytes, Endorsement::BYTES_MAX)?;
    let (organization, key) = roots.get(&envelope.key_id()).ok_or(VerifyError::UnknownKey)?;
    let endorsement = signing::verify::<Endorsement>(&envelope, bytes, key, network)?;
    if endorsement.author() != *organization || endorsement.network != *network {
        return Err(VerifyError::WrongAuthor);
    }
    Ok(*organization)
}
