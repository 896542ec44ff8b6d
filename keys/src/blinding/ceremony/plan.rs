//! What the parties of a ceremony agree on before it begins.

use std::fmt;

use curve25519_dalek::scalar::Scalar;

use super::{
    super::{
        EVALUATORS_MAX, EvaluatorIndex, KeyShare, PublicShare,
        sharing::{group_public_matches, lagrange},
        suite::Element,
    },
    fault::Reason,
};

/// The least threshold of a ceremony. With 1, each share is the key, and no ceremony is needed to
/// give every party the whole key.
const THRESHOLD_MIN: usize = 2;

/// Names one attempt at one ceremony: 32 bytes that all its parties derive alike and that no other
/// attempt has. The caller hashes into it the network, the key epoch, the share epoch, who takes
/// part under which index, the threshold, and the number of the attempt.
///
/// Every message, seal and transcript carries it, so nothing of one attempt counts in another.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CeremonyId([u8; 32]);

impl CeremonyId {
    /// The id of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for CeremonyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CeremonyId(")?;
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// The public half of a shared key: any `threshold` of its shares amount to its group key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKeySet {
    threshold: usize,
    shares: Vec<(EvaluatorIndex, PublicShare)>,
    group_public: PublicShare,
}

/// Why there is no such ceremony. Each is the caller's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Not 2 <= threshold <= evaluators <= [`EVALUATORS_MAX`].
    #[error(
        "{threshold} of {evaluators} is not a threshold for a ceremony: it takes {THRESHOLD_MIN} to {EVALUATORS_MAX} evaluators, and no more than there are"
    )]
    Threshold {
        /// The threshold asked for.
        threshold: usize,
        /// The evaluators asked for.
        evaluators: usize,
    },
    /// The public shares are not those of one key with this threshold and this group key.
    #[error("the public shares do not amount to the group's public key")]
    NotOneKey,
    /// A dealer that has no share of the old key.
    #[error("dealer {0} has no share of the old key")]
    UnknownDealer(EvaluatorIndex),
    /// A dealer that comes twice.
    #[error("dealer {0} comes twice")]
    DuplicateDealer(EvaluatorIndex),
    /// Fewer dealers than the old threshold: together they do not know the key.
    #[error("{got} dealers where the old key takes {threshold}")]
    TooFewDealers {
        /// Dealers named.
        got: usize,
        /// The old threshold.
        threshold: usize,
    },
}

/// Why a party cannot take part in this role. Each is the caller's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoleError {
    /// Not one of the dealers.
    #[error("{0} is not a dealer of this ceremony")]
    NotADealer(EvaluatorIndex),
    /// Not one of the receivers.
    #[error("{0} is not a receiver of this ceremony")]
    NotAReceiver(EvaluatorIndex),
    /// The key share is of another key, or of another share epoch.
    #[error("the key share of {0} is not the one that the old set lists")]
    OtherShare(EvaluatorIndex),
    /// A role in a generation where a resharing is planned, or the other way round.
    #[error("the role belongs to the other kind of ceremony")]
    OtherTask,
    /// The library for key generation refused.
    #[error("key generation could not begin")]
    Generation,
}

impl PublicKeySet {
    /// Checks that the shares belong together ([`group_public_matches`]).
    ///
    /// # Errors
    /// When they do not amount to the group's key with exactly this threshold.
    pub fn new(
        threshold: usize,
        mut shares: Vec<(EvaluatorIndex, PublicShare)>,
        group_public: PublicShare,
    ) -> Result<Self, PlanError> {
        if !group_public_matches(threshold, &shares, &group_public) {
            return Err(PlanError::NotOneKey);
        }
        shares.sort_by_key(|(index, _)| *index);
        Ok(Self { threshold, shares, group_public })
    }

    /// How many shares it takes.
    #[must_use]
    pub const fn threshold(&self) -> usize {
        self.threshold
    }

    /// The public shares, in order of their indices.
    #[must_use]
    pub fn shares(&self) -> &[(EvaluatorIndex, PublicShare)] {
        &self.shares
    }

    /// The public half of the whole key.
    #[must_use]
    pub const fn group_public(&self) -> PublicShare {
        self.group_public
    }

    /// The public share of one evaluator.
    #[must_use]
    pub fn share(&self, index: EvaluatorIndex) -> Option<PublicShare> {
        self.shares.iter().find(|(other, _)| *other == index).map(|(_, share)| *share)
    }
}

/// A plan to generate a key among evaluators 1 to n, each of them dealer and receiver.
#[derive(Clone)]
pub struct GeneratePlan(pub(super) Plan);

impl GeneratePlan {
    /// Plans a key of which any `threshold` of `evaluators` can evaluate.
    ///
    /// # Errors
    /// When the numbers are not a threshold.
    pub fn new(
        ceremony: CeremonyId,
        threshold: usize,
        evaluators: usize,
    ) -> Result<Self, PlanError> {
        let receivers = receivers(threshold, evaluators)?;
        Ok(Self(Plan { ceremony, threshold, dealers: receivers.clone(), receivers, reshare: None }))
    }
}

/// A plan to hand an existing key to new shares: to other evaluators, another threshold, or the
/// same ones afresh.
#[derive(Clone)]
pub struct ResharePlan(pub(super) Plan);

impl ResharePlan {
    /// Plans that `dealers`, holders of shares of `old`, deal to evaluators 1 to `receivers`, of
    /// whom any `threshold` can evaluate afterwards.
    ///
    /// All parties must plan with the same dealers: what each deals depends on who else does.
    ///
    /// # Errors
    /// When the numbers are not a threshold, or the dealers are not distinct holders of shares, at
    /// least as many as the old threshold.
    pub fn new(
        ceremony: CeremonyId,
        old: &PublicKeySet,
        dealers: &[EvaluatorIndex],
        threshold: usize,
        receivers: usize,
    ) -> Result<Self, PlanError> {
        let receivers = self::receivers(threshold, receivers)?;
        let mut dealers = dealers.to_vec();
        dealers.sort_unstable();
        if let Some(pair) = dealers.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(PlanError::DuplicateDealer(pair[0]));
        }
        if dealers.len() < old.threshold {
            let (got, threshold) = (dealers.len(), old.threshold);
            return Err(PlanError::TooFewDealers { got, threshold });
        }
        let weights = lagrange(&dealers, Scalar::ZERO).ok_or(PlanError::NotOneKey)?;
        let parts = dealers
            .iter()
            .zip(weights)
            .map(|(dealer, weight)| {
                let share = old.share(*dealer).ok_or(PlanError::UnknownDealer(*dealer))?;
                let opening = Element::encode(share.element().point * weight);
                Ok(Part { dealer: *dealer, weight, opening })
            })
            .collect::<Result<_, _>>()?;
        let reshare = Some(Reshare { old: old.clone(), parts });
        Ok(Self(Plan { ceremony, threshold, dealers, receivers, reshare }))
    }
}

/// What both plans come down to.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) ceremony: CeremonyId,
    pub(super) threshold: usize,
    /// In order, without repetition.
    pub(super) dealers: Vec<EvaluatorIndex>,
    /// 1 to n.
    pub(super) receivers: Vec<EvaluatorIndex>,
    /// `None` when the key is generated.
    pub(super) reshare: Option<Reshare>,
}

/// What a resharing starts from.
#[derive(Clone)]
pub(super) struct Reshare {
    pub(super) old: PublicKeySet,
    parts: Vec<Part>,
}

/// What one dealer adds to the key among exactly these dealers: `weight * share`.
#[derive(Clone)]
struct Part {
    dealer: EvaluatorIndex,
    /// Lagrange coefficient at 0.
    weight: Scalar,
    /// The public half of the part.
    opening: Element,
}

impl Reshare {
    /// The Lagrange coefficient of a dealer.
    pub(super) fn weight(&self, dealer: EvaluatorIndex) -> Option<&Scalar> {
        self.part(dealer).map(|part| &part.weight)
    }

    /// Refuses a first commitment other than to the dealer's part of the old key.
    pub(super) fn check(&self, dealer: EvaluatorIndex, first: &Element) -> Result<(), Reason> {
        let expected = self.part(dealer).map(|part| part.opening.bytes);
        if expected == Some(first.bytes) { Ok(()) } else { Err(Reason::OtherSecret) }
    }

    fn part(&self, dealer: EvaluatorIndex) -> Option<&Part> {
        self.parts.iter().find(|part| part.dealer == dealer)
    }
}

impl Plan {
    pub(super) fn check_dealer(&self, dealer: EvaluatorIndex) -> Result<(), RoleError> {
        if self.dealers.contains(&dealer) { Ok(()) } else { Err(RoleError::NotADealer(dealer)) }
    }

    pub(super) fn check_receiver(&self, receiver: EvaluatorIndex) -> Result<(), RoleError> {
        let known = self.receivers.contains(&receiver);
        if known { Ok(()) } else { Err(RoleError::NotAReceiver(receiver)) }
    }
}

impl Reshare {
    /// Refuses a key share that the old set does not list.
    pub(super) fn check_share(&self, share: &KeyShare) -> Result<(), RoleError> {
        let listed = self.old.share(share.index()) == Some(share.public());
        if listed { Ok(()) } else { Err(RoleError::OtherShare(share.index())) }
    }
}

/// The indices 1 to `evaluators`, if the numbers are a threshold.
fn receivers(threshold: usize, evaluators: usize) -> Result<Vec<EvaluatorIndex>, PlanError> {
    let refused = PlanError::Threshold { threshold, evaluators };
    if threshold < THRESHOLD_MIN || threshold > evaluators || evaluators > EVALUATORS_MAX {
        return Err(refused);
    }
    let last = u16::try_from(evaluators).map_err(|_| refused)?;
    Ok((1..=last).filter_map(EvaluatorIndex::new).collect())
}
