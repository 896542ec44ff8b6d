//! How evaluators come by their shares: the call to a ceremony, the messages of its parties, and the
//! record by which what came out is the network's.

use minicbor::{Decode, Encode};

use crate::{
    blind::EvaluatorSet,
    codec::{Bounded, ByteString},
    ids::{ContentHash, OrganizationId},
    limits,
    locator::KeyEpoch,
    statement::{Body, KeyUse, StatementKind},
    time::Timestamp,
};

/// Who evaluates from now on: the whole state, so that the highest version that is law says it all.
///
/// Law like any other change, once as many stewards as needed have approved it. Each names the one
/// before it, so that no set is put in force beside what it was handed on from.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EvaluatorsRecord {
    /// Counts up with every change; 0 is the state of the founding.
    #[n(0)]
    pub version: u64,
    /// The id of the proposal that made the version before it law; the network id for version 1.
    #[n(1)]
    pub previous: ContentHash,
    /// The sets, by ascending key epoch: one, or two while locators move to a new key.
    #[n(2)]
    pub sets: Bounded<EvaluatorSet, { limits::KEY_EPOCHS_MAX }>,
    /// The ceremony that the newest of the shares come from: the hash of its [`CeremonyCall`].
    #[n(3)]
    pub ceremony: ContentHash,
    /// What all evaluators have confirmed in it: the hash of everything that was dealt and came out.
    #[n(4)]
    pub transcript: ContentHash,
}

/// A holder of a share who deals in a resharing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Dealer {
    /// Its Shamir coordinate in the set that is in force.
    #[n(0)]
    pub index: u16,
    /// The organization.
    #[n(1)]
    pub organization: OrganizationId,
}

/// A steward's call to a ceremony: who is to make, or hand on, a shared key. The hash of the signed
/// statement names the ceremony, and every message of it carries that name.
///
/// It changes nothing by itself: evaluators take part when their own admins say so, and what comes out
/// is in force when it is law.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CeremonyCall {
    /// The steward.
    #[n(0)]
    pub steward: OrganizationId,
    /// Counts up with every call of this steward; the highest counts. A new attempt is a new call.
    #[n(1)]
    pub number: u64,
    /// The state of the evaluators that it starts from: the id of the proposal that made it law, or the
    /// network id for that of the founding.
    #[n(2)]
    pub previous: ContentHash,
    /// The key epoch of the shares to be.
    #[n(3)]
    pub key_epoch: KeyEpoch,
    /// The share epoch of the shares to be.
    #[n(4)]
    pub share_epoch: u32,
    /// How many of the evaluators it takes afterwards.
    #[n(5)]
    pub threshold: u16,
    /// The evaluators to be; the first has index 1.
    #[n(6)]
    pub evaluators: Bounded<OrganizationId, { limits::EVALUATORS_MAX }>,
    /// The holders who hand on the key of this epoch, by ascending index; none when a new key is made.
    #[n(7)]
    pub dealers: Bounded<Dealer, { limits::EVALUATORS_MAX }>,
    /// When it was signed.
    #[n(8)]
    pub issued: Timestamp,
    /// When the ceremony is over, whatever has come of it.
    #[n(9)]
    pub expires: Timestamp,
}

impl CeremonyCall {
    /// The index under which an organization deals, if it does.
    #[must_use]
    pub fn dealer(&self, organization: &OrganizationId) -> Option<u16> {
        if self.dealers.is_empty() {
            return self.receiver(organization);
        }
        let mut dealers = self.dealers.iter();
        dealers.find(|dealer| dealer.organization == *organization).map(|dealer| dealer.index)
    }

    /// The index under which an organization is to hold a share, if it is.
    #[must_use]
    pub fn receiver(&self, organization: &OrganizationId) -> Option<u16> {
        let at = self.evaluators.iter().position(|one| one == organization)?;
        u16::try_from(at + 1).ok()
    }
}

impl Body for CeremonyCall {
    const KIND: StatementKind = StatementKind::CeremonyCall;
    const SIGNED_BY: KeyUse = KeyUse::Govern;
    const BYTES_MAX: usize = limits::CEREMONY_CALL_BYTES_MAX;

    fn author(&self) -> OrganizationId {
        self.steward
    }

    fn issued(&self) -> Timestamp {
        self.issued
    }
}

/// A message of a party to a ceremony, for all to have; a sealed share too, which only its receiver can
/// open. What is inside is laid out by `signpost_keys::blinding::ceremony`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CeremonyMessage {
    /// The party.
    #[n(0)]
    pub organization: OrganizationId,
    /// The ceremony: the hash of its [`CeremonyCall`].
    #[n(1)]
    pub ceremony: ContentHash,
    /// The message.
    #[n(2)]
    pub message: ByteString<{ limits::CEREMONY_MESSAGE_BYTES_MAX }>,
    /// When it was signed.
    #[n(3)]
    pub issued: Timestamp,
}

impl Body for CeremonyMessage {
    const KIND: StatementKind = StatementKind::CeremonyMessage;
    const SIGNED_BY: KeyUse = KeyUse::Transport;
    const BYTES_MAX: usize = limits::CEREMONY_STATEMENT_BYTES_MAX;

    fn author(&self) -> OrganizationId {
        self.organization
    }

    fn issued(&self) -> Timestamp {
        self.issued
    }
}

/// That an organization takes part in a ceremony: its admins', not its clinical systems', word to its own
/// node. It goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CeremonyConsent {
    /// The organization.
    #[n(0)]
    pub organization: OrganizationId,
    /// The ceremony: the hash of its [`CeremonyCall`].
    #[n(1)]
    pub ceremony: ContentHash,
    /// When it was signed.
    #[n(2)]
    pub issued: Timestamp,
}

impl Body for CeremonyConsent {
    const KIND: StatementKind = StatementKind::CeremonyConsent;
    const SIGNED_BY: KeyUse = KeyUse::Govern;
    const BYTES_MAX: usize = limits::CEREMONY_CONSENT_BYTES_MAX;

    fn author(&self) -> OrganizationId {
        self.organization
    }

    fn issued(&self) -> Timestamp {
        self.issued
    }
}
