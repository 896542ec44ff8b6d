//! The completeness statement: whether a result is all there is, and if not, why not.
//!
//! `Complete` is the absence of causes, so that it can never be claimed by forgetting to set a
//! flag: whoever notices a gap adds its cause.

use serde::Serialize;
use signpost_protocol::{OdsCode, Timestamp};

/// Why a result may lack something. The kinds are kept apart because people act on them differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CauseKind {
    /// A candidate could not be asked, or did not answer in time. Act: ring them, or try again.
    Unreachable,
    /// A candidate refused to answer or its answer did not hold. Act.
    AnswerRefused,
    /// A candidate has more pointers than could be fetched in time. Act.
    Truncated,
    /// An organization's digest has not been re-issued in time: newer records may be missed. Routine.
    DigestStale,
    /// No verified digest of an organization has arrived: it may hold records. Routine.
    DigestMissing,
    /// An organization came back from a back-up and may lack pointers made since.
    Restored,
    /// A member is suspended: it was not asked.
    Suspended,
    /// Too few stewards were heard of for so long that who is a member is no longer known.
    RosterStale,
    /// The custodian named in the search is no member.
    NotAMember,
    /// This node's clock differs from its peers'.
    ClockWrong,
}

impl CauseKind {
    /// The name in JSON and in FHIR codings.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::AnswerRefused => "answer-refused",
            Self::Truncated => "truncated",
            Self::DigestStale => "digest-stale",
            Self::DigestMissing => "digest-missing",
            Self::Restored => "restored",
            Self::Suspended => "suspended",
            Self::RosterStale => "roster-stale",
            Self::NotAMember => "not-a-member",
            Self::ClockWrong => "clock-wrong",
        }
    }
}

/// One gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// What kind of gap.
    pub kind: CauseKind,
    /// Whose records may be missing; absent when it may be anybody's.
    pub organization: Option<(OdsCode, String)>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// A sentence for people, without any patient data.
    pub detail: String,
}

/// All gaps of a result; none means complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completeness {
    causes: Vec<Cause>,
}

impl Completeness {
    /// Whether the result is all there is.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.causes.is_empty()
    }

    /// The gaps, sorted by kind and organization.
    #[must_use]
    pub fn causes(&self) -> &[Cause] {
        &self.causes
    }

    /// Adds a gap, once.
    pub fn add(&mut self, cause: Cause) {
        let key = |c: &Cause| (c.kind, c.organization.as_ref().map(|(ods, _)| ods.clone()));
        match self.causes.binary_search_by(|known| key(known).cmp(&key(&cause))) {
            Ok(_) => {}
            Err(at) => self.causes.insert(at, cause),
        }
    }

    /// `complete` or `partial`, as in the `Signpost-Completeness` header.
    #[must_use]
    pub fn word(&self) -> &'static str {
        if self.is_complete() { "complete" } else { "partial" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(kind: CauseKind, ods: &str) -> Cause {
        let organization = Some((ods.parse().unwrap(), String::new()));
        Cause { kind, organization, since: None, detail: String::new() }
    }

    #[test]
    fn nothing_missing_is_complete_and_any_cause_is_partial() {
        let mut completeness = Completeness::default();
        assert_eq!(completeness.word(), "complete");
        completeness.add(cause(CauseKind::Unreachable, "RX1"));
        assert_eq!(completeness.word(), "partial");
    }

    #[test]
    fn a_gap_is_named_once_and_gaps_are_sorted() {
        let mut completeness = Completeness::default();
        completeness.add(cause(CauseKind::DigestStale, "RX2"));
        completeness.add(cause(CauseKind::Unreachable, "RX2"));
        completeness.add(cause(CauseKind::Unreachable, "RX1"));
        completeness.add(cause(CauseKind::Unreachable, "RX1"));
        let kinds: Vec<_> = completeness.causes().iter().map(|c| c.kind).collect();
        use CauseKind::{DigestStale, Unreachable};
        assert_eq!(kinds, [Unreachable, Unreachable, DigestStale]);
    }
}
