//! How a network comes to be: every founder signs the same founding.

use std::collections::{BTreeMap, BTreeSet};

use rand_core::CryptoRng;
use signpost_protocol::{
    ContentHash, DecodeError, KeyEpoch, NetworkId, OdsCode, OrganizationId, Timestamp,
    blind::{Evaluator, EvaluatorSet},
    codec::{self, Bounded},
    limits,
    roster::{Endorsement, Founding},
};

use super::{
    epoch::Epoch, evaluators::check_set, inception::verify_inception, organization::Organization,
    statements::Refusal,
};
use crate::{
    blinding::{self, KeyShare},
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
    /// A statement in the file does not hold.
    #[error("statement {statement} of the roster does not hold: {source}")]
    Statement {
        /// Which of the statements, from 1.
        statement: usize,
        /// Why.
        source: Refusal,
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

/// A founding with its epoch 0 and its founders, by their inceptions.
pub(super) type Checked = (Founding, Epoch, BTreeMap<OrganizationId, Organization>);

/// Checks the bytes of a founding, as far as it can be without anybody's endorsement.
pub(super) fn check(bytes: &[u8], network: &NetworkId) -> Result<Checked, FoundingError> {
    let founding: Founding = codec::decode("founding", bytes, limits::FOUNDING_BYTES_MAX)?;
    let inconsistent = FoundingError::Inconsistent;
    if founding.members.is_empty() {
        return Err(inconsistent("it has no members"));
    }
    let mut organizations = BTreeMap::new();
    let mut codes = BTreeSet::new();
    for (number, record) in founding.members.iter().enumerate() {
        let at = |source| FoundingError::Inception { member: number + 1, source };
        let (organization, inception) = verify_inception(&record.inception).map_err(at)?;
        let root = CheckedKey::new(&inception.root).map_err(at)?;
        if record.version != 0 {
            return Err(inconsistent("a founder's record has a version other than 0"));
        }
        if !codes.insert(record.ods.clone()) {
            return Err(inconsistent("two members have the same ODS code"));
        }
        let known = Organization::new(&inception, root);
        if organizations.insert(organization, known).is_some() {
            return Err(inconsistent("an organization is listed twice"));
        }
    }
    let id = ContentHash(network.0);
    let Founding { stewards, threshold, parameters, .. } = &founding;
    let epoch = Epoch::check(0, id, stewards, *threshold, parameters).map_err(inconsistent)?;
    if epoch.stewards().any(|steward| !organizations.contains_key(&steward.organization)) {
        return Err(inconsistent("a steward is not a member"));
    }
    let is_member = |organization: &OrganizationId| organizations.contains_key(organization);
    if let Some(set) = &founding.evaluators {
        check_set(set, is_member).map_err(inconsistent)?;
    }
    Ok((founding, epoch, organizations))
}
