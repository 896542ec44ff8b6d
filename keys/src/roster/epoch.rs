//! A steward epoch: whose approvals make law.

use std::collections::BTreeSet;

use signpost_protocol::{
    ContentHash, KeyId, OrganizationId, Timestamp,
    roster::{Parameters, Steward, StewardEpoch},
};

use crate::signing::CheckedKey;

/// Stewards with their keys checked, and how many of them it takes.
#[derive(Clone, Debug)]
pub struct Epoch {
    pub(super) number: u64,
    pub(super) id: ContentHash,
    pub(super) since: Timestamp,
    pub(super) threshold: u16,
    pub(super) parameters: Parameters,
    pub(super) stewards: Vec<(Steward, KeyId, CheckedKey)>,
}

impl Epoch {
    /// Checks the stewards of an epoch.
    ///
    /// # Errors
    /// Says which rule they break: none, half of them or fewer suffice, one twice, a weak key.
    pub(super) fn check(
        number: u64,
        id: ContentHash,
        stewards: &[Steward],
        threshold: u16,
        parameters: &Parameters,
    ) -> Result<Self, &'static str> {
        if usize::from(threshold) > stewards.len() || usize::from(threshold) * 2 <= stewards.len() {
            return Err(
                "the threshold must be more than half of the stewards, and no more than all",
            );
        }
        let organizations: BTreeSet<_> = stewards.iter().map(|s| s.organization).collect();
        let keys: BTreeSet<_> = stewards.iter().map(|s| s.govern).collect();
        if organizations.len() < stewards.len() {
            return Err("an organization is steward twice");
        }
        if keys.len() < stewards.len() {
            return Err("two stewards have the same govern key");
        }
        if let Some(fault) = parameters.fault() {
            return Err(fault);
        }
        let stewards = stewards
            .iter()
            .map(|steward| {
                let key = CheckedKey::new(&steward.govern).map_err(|_| "a govern key is weak")?;
                Ok((*steward, steward.govern.key_id(), key))
            })
            .collect::<Result<_, &'static str>>()?;
        let parameters = *parameters;
        Ok(Self { number, id, since: Timestamp(0), threshold, parameters, stewards })
    }

    /// The epoch that a proposal of this id would begin.
    pub(super) fn proposed(id: ContentHash, epoch: &StewardEpoch) -> Result<Self, &'static str> {
        Self::check(epoch.number, id, &epoch.stewards, epoch.threshold, &epoch.parameters)
    }

    /// Counts up from 0, the founding.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The id of the proposal that made it law; the network id for the founding.
    #[must_use]
    pub const fn id(&self) -> ContentHash {
        self.id
    }

    /// When it became law.
    #[must_use]
    pub const fn since(&self) -> Timestamp {
        self.since
    }

    /// How many stewards make law.
    #[must_use]
    pub const fn threshold(&self) -> u16 {
        self.threshold
    }

    /// The network's durations under it.
    #[must_use]
    pub const fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The stewards.
    pub fn stewards(&self) -> impl ExactSizeIterator<Item = Steward> + '_ {
        self.stewards.iter().map(|(steward, _, _)| *steward)
    }

    /// Whether an organization is one of them.
    #[must_use]
    pub fn has(&self, organization: &OrganizationId) -> bool {
        self.stewards().any(|steward| steward.organization == *organization)
    }

    /// Whether this key is the govern key of that steward.
    pub(super) fn has_key(&self, organization: &OrganizationId, key_id: &KeyId) -> bool {
        self.key(organization, key_id).is_some()
    }

    pub(super) fn key(&self, organization: &OrganizationId, id: &KeyId) -> Option<&CheckedKey> {
        let is_it = |(steward, key_id, _): &&(Steward, KeyId, CheckedKey)| {
            steward.organization == *organization && key_id == id
        };
        self.stewards.iter().find(is_it).map(|(_, _, key)| key)
    }

    /// How many others must bear witness to an approval of `signer` whose key is in doubt: with the
    /// signer, if it is one of them, as many as make law, and one at least.
    pub(super) fn witnesses_without(&self, signer: &OrganizationId) -> usize {
        (usize::from(self.threshold) - usize::from(self.has(signer))).max(1)
    }
}
