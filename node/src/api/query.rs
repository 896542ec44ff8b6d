//! Reading a DocumentReference search: its parameters, what of them is understood, and the link
//! that says so.
//!
//! A parameter that narrows the result and is not understood would, if ignored, show too much;
//! FHIR lets a server ignore unknown parameters and leave them out of `self`. The parameters that
//! are known here are never ignored: a form of them that is not supported is an error. Repeating
//! a parameter means "and", a comma means "or" (FHIR R4 §3.1.1.4.17).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use signpost_protocol::{OdsCode, PatientIdentifier, PointerState};

use super::error::ApiError;
use crate::{
    core::local::FoundPointer,
    fhir::{
        document_reference::state_from_status,
        identifier::{Custodian, Token, TokenSystem},
    },
};

/// Parameters in one search: every known one a few times over.
const PARAMETERS_MAX: usize = 64;
/// Alternatives of one parameter: NRL knows 18 types.
const ALTERNATIVES_MAX: usize = 128;
/// What stays as it is in a query value (RFC 3986 §2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// System of the codes of `DocumentReference.status`.
const STATUS_SYSTEM: &str = "http://hl7.org/fhir/document-reference-status";

/// Splits a query string or a form into its decoded pairs (WHATWG URL §5.1).
pub(super) fn pairs(encoded: &[u8]) -> Result<Vec<(String, String)>, ApiError> {
    let fields = encoded.split(|b| *b == b'&').filter(|field| !field.is_empty());
    let mut pairs = Vec::new();
    for field in fields {
        if pairs.len() == PARAMETERS_MAX {
            let text = format!("a search has at most {PARAMETERS_MAX} parameters");
            return Err(ApiError::invalid(text));
        }
        let equals = field.iter().position(|b| *b == b'=').unwrap_or(field.len());
        let value = field.get(equals + 1..).unwrap_or_default();
        pairs.push((decoded(&field[..equals])?, decoded(value)?));
    }
    Ok(pairs)
}

fn decoded(text: &[u8]) -> Result<String, ApiError> {
    let spaced: Vec<u8> = text.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    let decoded = percent_encoding::percent_decode(&spaced).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| ApiError::invalid("the search parameters are not UTF-8"))
}

/// A search as it was understood. No `Debug`: it holds the patient's number.
pub(super) struct SearchQuery {
    pub(super) patient: PatientIdentifier,
    pub(super) count_only: bool,
    /// The `_format` of the reply, when it was given.
    pub(super) format: Option<String>,
    types: Vec<Vec<Token>>,
    categories: Vec<Vec<Token>>,
    statuses: Vec<Vec<PointerState>>,
    custodians: Vec<Vec<Custodian>>,
    /// The parameters that took part, for the self link.
    used: Vec<(String, String)>,
}

impl SearchQuery {
    /// Understands the parameters of a search.
    ///
    /// # Errors
    /// Names the parameter, never its value.
    pub(super) fn parse(pairs: Vec<(String, String)>, strict: bool) -> Result<Self, ApiError> {
        let mut patient = None;
        let mut query = Filters::default();
        let mut used = Vec::new();
        for (name, value) in pairs {
            match name.as_str() {
                "subject:identifier" | "patient:identifier" | "patient.identifier" => {
                    let found = patient_of(&name, &value)?;
                    if patient.replace(found).is_some() {
                        return Err(ONE_PATIENT.error());
                    }
                    let canonical = format!("{}|{}", found.system().uri(), found.expose_digits());
                    used.push((name, canonical));
                    continue;
                }
                "_format" => {
                    query.format = Some(value);
                    continue;
                }
                // FHIR: a parameter without a value says nothing.
                _ if value.trim().is_empty() && !strict => continue,
                "type" => query.types.push(tokens(&name, &value)?),
                "category" => query.categories.push(tokens(&name, &value)?),
                "status" => query.statuses.push(statuses(&name, &value)?),
                "custodian:identifier" => {
                    let alternatives = custodians(&name, &value)?;
                    if alternatives.iter().any(|other| other.ods != alternatives[0].ods) {
                        return Err(fault(
                            &name,
                            "must name one organization: search once for each",
                        ));
                    }
                    query.custodians.push(alternatives);
                }
                "_summary" => match value.as_str() {
                    "count" => query.count_only = true,
                    "false" => query.count_only = false,
                    _ => return Err(fault(&name, "must be count or false")),
                },
                _ => {
                    refuse_unsupported_form(&name)?;
                    if strict {
                        return Err(fault(&shown(&name), "is not a parameter of this search"));
                    }
                    continue;
                }
            }
            used.push((name, value));
        }
        let Filters { count_only, format, types, categories, statuses, custodians } = query;
        let patient = patient.ok_or_else(|| ONE_PATIENT.error())?;
        Ok(Self { patient, count_only, format, types, categories, statuses, custodians, used })
    }

    /// The organization to ask directly, when the search is for its pointers only.
    pub(super) fn custodian(&self) -> Option<OdsCode> {
        Some(self.custodians.first()?.first()?.ods.clone())
    }

    /// Whether a pointer, shown as `resource`, is one that was searched for.
    pub(super) fn matches(&self, found: &FoundPointer, resource: &Value) -> bool {
        let suffix = found.pointer.custodian_suffix.as_deref();
        let is_custodian = |custodian: &Custodian| {
            custodian.ods == found.ods
                && (custodian.suffix.is_none() || custodian.suffix.as_deref() == suffix)
        };
        let concept_is = |token: &Token| token.matches_concept(&resource["type"]);
        let categories = resource["category"].as_array().map(Vec::as_slice).unwrap_or_default();
        let some_category_is =
            |token: &Token| categories.iter().any(|concept| token.matches_concept(concept));
        found.pointer.state != PointerState::Tombstone
            && self.statuses.iter().all(|any| any.contains(&found.pointer.state))
            && self.custodians.iter().all(|any| any.iter().any(is_custodian))
            && self.types.iter().all(|any| any.iter().any(concept_is))
            && self.categories.iter().all(|any| any.iter().any(some_category_is))
    }

    /// The URL of this search. It holds the patient's number: it goes back to the caller who sent
    /// it (FHIR asks for that) and nowhere else.
    pub(super) fn self_link(&self, base: &str) -> String {
        let query: Vec<_> = self
            .used
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, ENCODED)))
            .collect();
        format!("{base}/DocumentReference?{}", query.join("&"))
    }
}

#[derive(Default)]
struct Filters {
    count_only: bool,
    format: Option<String>,
    types: Vec<Vec<Token>>,
    categories: Vec<Vec<Token>>,
    statuses: Vec<Vec<PointerState>>,
    custodians: Vec<Vec<Custodian>>,
}

/// The one rule that every search must keep.
struct OnePatient(&'static str);

const ONE_PATIENT: OnePatient = OnePatient(
    "a search names exactly one patient, by one of subject:identifier, patient:identifier and \
     patient.identifier, as system|value",
);

impl OnePatient {
    fn error(&self) -> ApiError {
        ApiError::new(
            axum::http::StatusCode::BAD_REQUEST,
            crate::fhir::outcome::IssueCode::Required,
            self.0,
        )
    }
}

fn fault(name: &str, rule: &str) -> ApiError {
    ApiError::invalid(format!("the search parameter {name} {rule}"))
}

/// A name from the caller is repeated only when it cannot be a number in disguise.
fn shown(name: &str) -> String {
    let plain = name.bytes().all(|b| b.is_ascii_alphabetic() || b"_:.-".contains(&b));
    if plain && name.len() <= 64 { name.to_owned() } else { "of an unprintable name".to_owned() }
}

fn patient_of(name: &str, value: &str) -> Result<PatientIdentifier, ApiError> {
    match Token::list(value).as_slice() {
        [token] => token.patient().map_err(|rule| fault(name, &rule)),
        _ => Err(ONE_PATIENT.error()),
    }
}

fn tokens(name: &str, value: &str) -> Result<Vec<Token>, ApiError> {
    let tokens = Token::list(value);
    if (1..=ALTERNATIVES_MAX).contains(&tokens.len()) {
        return Ok(tokens);
    }
    Err(fault(name, &format!("must have 1 to {ALTERNATIVES_MAX} values, as system|code")))
}

fn statuses(name: &str, value: &str) -> Result<Vec<PointerState>, ApiError> {
    let rule = "must be current, superseded or entered-in-error";
    tokens(name, value)?
        .iter()
        .map(|token| {
            let known = !matches!(&token.system, TokenSystem::Uri(uri) if uri != STATUS_SYSTEM);
            let state = token.code.as_deref().and_then(state_from_status);
            state.filter(|_| known).ok_or_else(|| fault(name, rule))
        })
        .collect()
}

fn custodians(name: &str, value: &str) -> Result<Vec<Custodian>, ApiError> {
    let tokens = tokens(name, value)?;
    tokens.iter().map(|token| token.custodian().map_err(|rule| fault(name, &rule))).collect()
}

/// A known parameter in a form that is not supported must not be ignored.
fn refuse_unsupported_form(name: &str) -> Result<(), ApiError> {
    let known = ["subject", "patient", "custodian", "type", "category", "status", "_summary"];
    let root = name.split([':', '.']).next().unwrap_or_default();
    match known.into_iter().find(|known| *known == root) {
        Some("subject" | "patient") => Err(ONE_PATIENT.error()),
        Some("custodian") => Err(fault("custodian", "is supported as custodian:identifier only")),
        Some(known) => Err(fault(known, "is supported without a modifier only")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pairs_are_decoded_once() {
        let read = |text: &str| pairs(text.as_bytes()).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(read("a=b&&c=d%20e+f%2B"), [pair("a", "b"), pair("c", "d e f+")]);
        assert_eq!(
            read("a&b=&=c&d=e=f"),
            [pair("a", ""), pair("b", ""), pair("", "c"), pair("d", "e=f")]
        );
        assert_eq!(read("a=%2525&b=%"), [pair("a", "%25"), pair("b", "%")]);
        assert!(pairs(b"a=%ff").is_err());
    }

    proptest! {
        #[test]
        fn any_query_is_read_without_a_panic(bytes: Vec<u8>, value: String, strict: bool) {
            let _ = pairs(&bytes);
            for name in ["subject:identifier", "type", "status", "custodian:identifier", "_summary", "x"] {
                let patient = "https://fhir.nhs.uk/Id/nhs-number|9990000018".to_owned();
                let given = vec![
                    ("patient.identifier".to_owned(), patient),
                    (name.to_owned(), value.clone()),
                ];
                if let Ok(query) = SearchQuery::parse(given, strict) {
                    // What the link says is what was understood.
                    let link = query.self_link("http://x");
                    let (_, text) = link.split_once('?').expect("a query");
                    let again = SearchQuery::parse(pairs(text.as_bytes()).expect("decodes"), true);
                    prop_assert_eq!(again.map(|again| again.self_link("http://x")).ok(), Some(link));
                }
            }
        }
    }
}
