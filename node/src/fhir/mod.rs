//! FHIR R4 as the local API speaks it: resources in and out, without HTTP.
//!
//! Everything here is a function of its arguments. What comes in (a producer's resource, or one
//! that another organization holds) is judged element by element; nothing in an error repeats a
//! value from it, because any value may be the patient's number. Rules that need the state of the
//! node (whose custodian, which version) belong to the core.

use signpost_protocol::Timestamp;

pub mod bundle;
pub mod capability;
pub mod document_reference;
mod hidden_number;
pub mod identifier;
pub mod json;
pub mod outcome;
pub mod purpose;

use outcome::IssueCode;

/// FHIR `Identifier.system` of ODS codes.
pub const ODS_SYSTEM: &str = "https://fhir.nhs.uk/Id/ods-organization-code";

/// Why a resource cannot be taken. Names the element and the rule, never a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FhirError {
    /// Not JSON, or JSON that two readers could read differently.
    #[error("this is not well-formed JSON: {0}")]
    NotJson(String),
    /// JSON, but no DocumentReference.
    #[error("{0}")]
    NotTheResource(&'static str),
    /// An element breaks a rule.
    #[error("{path} {rule}")]
    Element {
        /// The element, as a FHIRPath from the resource.
        path: String,
        /// The rule, as the end of a sentence that begins with the element.
        rule: String,
        /// The kind of fault.
        code: IssueCode,
    },
    /// Over [`signpost_protocol::limits::RESOURCE_BYTES_MAX`].
    #[error("the pointer has {length} bytes without its subject, more than the {max} allowed")]
    TooLarge {
        /// Its length in bytes.
        length: usize,
        /// The cap in bytes.
        max: usize,
    },
}

impl FhirError {
    pub(crate) fn element(path: &str, rule: impl Into<String>, code: IssueCode) -> Self {
        Self::Element { path: format!("DocumentReference.{path}"), rule: rule.into(), code }
    }

    /// The FHIR issue type.
    #[must_use]
    pub fn code(&self) -> IssueCode {
        match self {
            Self::NotJson(_) | Self::NotTheResource(_) => IssueCode::Structure,
            Self::Element { code, .. } => *code,
            Self::TooLarge { .. } => IssueCode::TooLong,
        }
    }

    /// The element at fault, as a FHIRPath.
    #[must_use]
    pub fn expression(&self) -> Option<&str> {
        match self {
            Self::Element { path, .. } => Some(path),
            _ => None,
        }
    }

    /// Whether the request could not even be read, so that looking at its content was pointless
    /// (HTTP 400 rather than 422).
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::NotJson(_) | Self::NotTheResource(_))
    }
}

/// An instant as FHIR writes it: RFC 3339, UTC, milliseconds. `None` beyond the year 9999.
#[must_use]
pub fn instant(at: Timestamp) -> Option<String> {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(at.0).ok()?).ok()?;
    Some(at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_rfc_3339_with_milliseconds() {
        let text = instant(Timestamp(1_764_000_000_007));
        assert_eq!(text.as_deref(), Some("2025-11-24T16:00:00.007Z"));
        assert_eq!(instant(Timestamp(u64::MAX)), None);
    }
}
