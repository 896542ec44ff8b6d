//! OperationOutcome: how every error, and every gap in a result, is told.

use serde_json::{Map, Value, json};

use super::{ODS_SYSTEM, instant};
use crate::core::completeness::{Cause, CauseKind, Completeness};

/// FHIR `IssueSeverity` (R4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The request was not done.
    Error,
    /// It was done, with a gap.
    Warning,
    /// It was done.
    Information,
}

/// FHIR `IssueType` (R4), as far as it is used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "defined by FHIR R4, value set issue-type")]
pub enum IssueCode {
    Invalid,
    Structure,
    Required,
    Value,
    CodeInvalid,
    NotSupported,
    NotFound,
    Deleted,
    Duplicate,
    Conflict,
    BusinessRule,
    TooLong,
    Login,
    Forbidden,
    Suppressed,
    Transient,
    Throttled,
    Timeout,
    NoStore,
    Exception,
    Incomplete,
    Informational,
}

impl IssueCode {
    /// The code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Structure => "structure",
            Self::Required => "required",
            Self::Value => "value",
            Self::CodeInvalid => "code-invalid",
            Self::NotSupported => "not-supported",
            Self::NotFound => "not-found",
            Self::Deleted => "deleted",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
            Self::BusinessRule => "business-rule",
            Self::TooLong => "too-long",
            Self::Login => "login",
            Self::Forbidden => "forbidden",
            Self::Suppressed => "suppressed",
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::Timeout => "timeout",
            Self::NoStore => "no-store",
            Self::Exception => "exception",
            Self::Incomplete => "incomplete",
            Self::Informational => "informational",
        }
    }
}

/// One issue of an OperationOutcome.
#[derive(Clone, Debug)]
pub struct Issue(Map<String, Value>);

impl Issue {
    /// An issue with a sentence for people.
    #[must_use]
    pub fn new(severity: Severity, code: IssueCode, diagnostics: &str) -> Self {
        let severity = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Information => "information",
        };
        let mut issue = Map::new();
        issue.insert("severity".into(), severity.into());
        issue.insert("code".into(), code.code().into());
        issue.insert("diagnostics".into(), diagnostics.into());
        Self(issue)
    }

    /// Names the element or parameter at fault, as a FHIRPath.
    #[must_use]
    pub fn at(mut self, expression: &str) -> Self {
        self.0.insert("expression".into(), json!([expression]));
        self
    }

    /// Adds a coding to `details`, for software.
    #[must_use]
    pub fn coded(mut self, system: &str, code: &str, display: Option<&str>) -> Self {
        let details = self.0.entry("details").or_insert_with(|| json!({"coding": []}));
        let mut coding = json!({"system": system, "code": code});
        if let Some(display) = display.filter(|display| !display.is_empty()) {
            coding["display"] = display.into();
        }
        if let Some(Value::Array(codings)) = details.get_mut("coding") {
            codings.push(coding);
        }
        self
    }
}

/// System of the codings that say why a result is partial; the codes are those of [`CauseKind`].
pub const COMPLETENESS_SYSTEM: &str = "urn:signpost:completeness";
/// Extension of an issue: since when records may be missing (`valueInstant`).
pub const SINCE_EXTENSION: &str = "urn:signpost:since";

/// An OperationOutcome of these issues.
#[must_use]
pub fn outcome(issues: Vec<Issue>) -> Value {
    let issues: Vec<_> = issues.into_iter().map(|issue| Value::Object(issue.0)).collect();
    json!({"resourceType": "OperationOutcome", "issue": issues})
}

/// What a partial result lacks, one issue for each cause; `None` when it is complete.
#[must_use]
pub fn completeness_outcome(completeness: &Completeness) -> Option<Value> {
    let issues: Vec<_> = completeness.causes().iter().map(cause_issue).collect();
    (!completeness.is_complete()).then(|| outcome(issues))
}

fn cause_issue(cause: &Cause) -> Issue {
    let since = cause.since.and_then(instant);
    let mut sentence = match &cause.organization {
        Some((ods, name)) if name.is_empty() => format!("{ods}: {}", cause.detail),
        Some((ods, name)) => format!("{name} ({ods}): {}", cause.detail),
        None => cause.detail.clone(),
    };
    if let Some(since) = &since {
        sentence.push_str(&format!(" (since {since})"));
    }
    let code = match cause.kind {
        CauseKind::Unreachable => IssueCode::Transient,
        CauseKind::Suspended => IssueCode::Suppressed,
        CauseKind::NotAMember => IssueCode::NotFound,
        // "Not all data sources could be reached or responded in time, so the returned
        // information might not be complete" (FHIR R4, issue-type).
        CauseKind::AnswerRefused
        | CauseKind::Truncated
        | CauseKind::DigestStale
        | CauseKind::DigestMissing
        | CauseKind::Restored
        | CauseKind::RosterStale
        | CauseKind::ClockWrong => IssueCode::Incomplete,
    };
    let mut issue = Issue::new(Severity::Warning, code, &sentence).coded(
        COMPLETENESS_SYSTEM,
        cause.kind.code(),
        None,
    );
    if let Some((ods, name)) = &cause.organization {
        issue = issue.coded(ODS_SYSTEM, ods.as_str(), Some(name));
    }
    if let Some(since) = since {
        let extension = json!([{"url": SINCE_EXTENSION, "valueInstant": since}]);
        issue.0.insert("extension".into(), extension);
    }
    issue
}

#[cfg(test)]
mod tests {
    use signpost_protocol::Timestamp;

    use super::*;

    #[test]
    fn each_cause_is_one_warning_that_names_the_organization_and_since_when() {
        let mut completeness = Completeness::default();
        assert!(completeness_outcome(&completeness).is_none());
        completeness.add(Cause {
            kind: CauseKind::DigestStale,
            organization: Some(("RX1".parse().unwrap(), "Royal Example".into())),
            since: Some(Timestamp(1_764_000_000_000)),
            detail: "its digest is old".into(),
        });
        completeness.add(Cause {
            kind: CauseKind::Unreachable,
            organization: Some(("RX2".parse().unwrap(), "Example Care".into())),
            since: None,
            detail: "it did not answer".into(),
        });
        let outcome = completeness_outcome(&completeness).unwrap();
        assert_eq!(outcome["issue"].as_array().unwrap().len(), 2);
        assert_eq!(
            outcome["issue"][1],
            json!({
                "severity": "warning",
                "code": "incomplete",
                "details": {"coding": [
                    {"system": "urn:signpost:completeness", "code": "digest-stale"},
                    {"system": ODS_SYSTEM, "code": "RX1", "display": "Royal Example"},
                ]},
                "diagnostics": "Royal Example (RX1): its digest is old (since 2025-11-24T16:00:00.000Z)",
                "extension": [{"url": "urn:signpost:since", "valueInstant": "2025-11-24T16:00:00.000Z"}],
            })
        );
        assert_eq!(outcome["issue"][0]["code"], "transient");
    }
}
