//! How a network begins, what its durations are, and the file in which a roster is kept.

use minicbor::{Decode, Encode};

use super::{MemberRecord, Steward};
use crate::{
    blind::EvaluatorSet,
    codec::{Bounded, ByteString, Text},
    ids::{NetworkId, OrganizationId},
    limits,
    statement::{Body, KeyUse, StatementKind},
    time::Timestamp,
};

/// What the whole network shares: durations, all in milliseconds, and quotas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Parameters {
    /// A digest head is re-issued this often even when nothing changed.
    #[n(0)]
    pub head_interval: u64,
    /// A head older than this makes a result partial ("stale").
    #[n(1)]
    pub head_age_max: u64,
    /// The greatest accepted difference between two clocks.
    #[n(2)]
    pub clock_skew_max: u64,
    /// The longest accepted life of an ask or evaluation request, from issued to expires.
    #[n(3)]
    pub request_life_max: u64,
    /// A node of a steward issues a heartbeat this often.
    #[n(4)]
    pub heartbeat_interval: u64,
    /// Without heartbeats of enough stewards for this long, admins are warned.
    #[n(5)]
    pub heartbeat_warn: u64,
    /// ... nothing more is proposed or approved ...
    #[n(6)]
    pub governance_age_max: u64,
    /// ... and holders stop disclosing; asking goes on, and every result is partial.
    #[n(7)]
    pub disclosure_age_max: u64,
    /// How long an approved reset of a root key waits, so that the old one can object.
    #[n(8)]
    pub reset_wait: u64,
    /// How long a member record whose approvals no longer suffice goes on to count.
    #[n(9)]
    pub reapproval_grace: u64,
    /// The longest life of a proposal, from issued to expires.
    #[n(10)]
    pub proposal_life_max: u64,
    /// How much may be evaluated for one organization in a day; [`Quotas::STANDARD`] when absent.
    #[n(11)]
    pub quotas: Option<Quotas>,
}

/// How much one evaluator evaluates for one organization in a day, midnight to midnight UTC: a number for
/// everybody, and more for larger ones, by the capacity of the size class that its record allows.
///
/// Each evaluation tells its asker about one number, so these bound how fast anybody can try numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Quotas {
    /// Look-ups, for everybody. Past its quota an organization may look up as many again.
    #[n(0)]
    pub lookups: u32,
    /// Look-ups more, in thousandths of the capacity.
    #[n(1)]
    pub lookups_permille: u16,
    /// Patients to publish pointers of, for everybody.
    #[n(2)]
    pub publishes: u32,
    /// Patients to publish more, in thousandths of the capacity.
    #[n(3)]
    pub publishes_permille: u16,
}

impl Quotas {
    /// 2,000 look-ups and one in a hundred of the capacity: in England 0.6 million look-ups a day come to a
    /// hundred an organization, a large trust has some thousands. 10,000 patients to publish and one in five:
    /// a practice is published in a day, the largest trust in a week.
    pub const STANDARD: Self =
        Self { lookups: 2_000, lookups_permille: 10, publishes: 10_000, publishes_permille: 200 };
}

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

impl Parameters {
    /// The durations of DESIGN §2, §3 and §5: heads every 5 minutes and stale at 15, clocks within
    /// 120 s; heartbeats daily, a warning after 3 days, no governance after 14, no disclosure after
    /// 30; a reset waits 72 hours.
    ///
    /// A request lives 30 s: ten times the default deadline of a locate. A record that must be
    /// approved again has a week for it, a proposal 30 days to be decided.
    pub const STANDARD: Self = Self {
        head_interval: 300_000,
        head_age_max: 900_000,
        clock_skew_max: 120_000,
        request_life_max: 30_000,
        heartbeat_interval: DAY,
        heartbeat_warn: 3 * DAY,
        governance_age_max: 14 * DAY,
        disclosure_age_max: 30 * DAY,
        reset_wait: 72 * HOUR,
        reapproval_grace: 7 * DAY,
        proposal_life_max: 30 * DAY,
        quotas: None,
    };

    /// How much may be evaluated for one organization in a day.
    #[must_use]
    pub fn quotas(&self) -> Quotas {
        self.quotas.unwrap_or(Quotas::STANDARD)
    }

    /// What contradicts itself in these durations, if anything.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        let durations = [
            self.head_interval,
            self.head_age_max,
            self.clock_skew_max,
            self.request_life_max,
            self.heartbeat_interval,
            self.heartbeat_warn,
            self.governance_age_max,
            self.disclosure_age_max,
            self.reset_wait,
            self.reapproval_grace,
            self.proposal_life_max,
        ];
        if durations.contains(&0) {
            return Some("a duration is zero");
        }
        if self.quotas.is_some_and(|quotas| quotas.lookups == 0) {
            return Some("a small organization could not look anybody up");
        }
        if self.head_age_max <= self.head_interval {
            return Some("digest heads would be stale before they are re-issued");
        }
        if self.heartbeat_warn <= self.heartbeat_interval {
            return Some("the roster would be called stale between two heartbeats");
        }
        if self.governance_age_max < self.heartbeat_warn
            || self.disclosure_age_max < self.governance_age_max
        {
            return Some("a roster goes stale in this order: warning, governance, disclosure");
        }
        None
    }
}

/// The roster that a network begins with: steward epoch 0. Its hash is the [`NetworkId`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Founding {
    /// A name for people.
    #[n(0)]
    pub name: Text<{ limits::NAME_BYTES_MAX }>,
    /// When the network was founded.
    #[n(1)]
    pub founded: Timestamp,
    /// Shared durations.
    #[n(2)]
    pub parameters: Parameters,
    /// The founders, each in version 0 of its record.
    #[n(3)]
    pub members: Bounded<MemberRecord, { limits::FOUNDERS_MAX }>,
    /// Who evaluates blinded identifiers from the start, by shares that one party has dealt; none when
    /// the key is still to be made, as it should be ([`CeremonyCall`](super::CeremonyCall)).
    #[n(4)]
    pub evaluators: Option<EvaluatorSet>,
    /// The first stewards, all of them founders.
    #[n(5)]
    pub stewards: Bounded<Steward, { limits::STEWARDS_MAX }>,
    /// How many of them make law: more than half.
    #[n(6)]
    pub threshold: u16,
}

/// One founder's signature under the founding, by its root key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Endorsement {
    /// The founder.
    #[n(0)]
    pub organization: OrganizationId,
    /// The network, that is, the hash of the founding's bytes.
    #[n(1)]
    pub network: NetworkId,
    /// When it was signed.
    #[n(2)]
    pub issued: Timestamp,
}

impl Body for Endorsement {
    const KIND: StatementKind = StatementKind::Endorsement;
    const SIGNED_BY: KeyUse = KeyUse::Root;
    const BYTES_MAX: usize = limits::ENDORSEMENT_BYTES_MAX;

    fn author(&self) -> OrganizationId {
        self.organization
    }

    fn issued(&self) -> Timestamp {
        self.issued
    }
}

/// A founding with statements about it, in any order: the file that a node begins with, and in
/// which a roster is handed on by other means than the network.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RosterFile {
    /// The bytes of the [`Founding`], whose SHA-256 is the network id.
    #[n(0)]
    pub founding: ByteString<{ limits::FOUNDING_BYTES_MAX }>,
    /// Signed statements: endorsements, organization keys, approvals, objections, heartbeats, and those
    /// of ceremonies under way.
    #[n(1)]
    pub statements:
        Bounded<ByteString<{ limits::STATEMENT_BYTES_MAX }>, { limits::STATEMENTS_MAX }>,
}
