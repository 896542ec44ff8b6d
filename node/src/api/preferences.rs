//! Request headers that say how a request is to be done: `Prefer`, `If-Match`, and on whose behalf.

use axum::http::HeaderMap;
use signpost_protocol::codec::Text;

use super::{Settings, error::ApiError};
use crate::{
    core::local::Caller,
    fhir::purpose::{RULE, purpose},
};

/// Milliseconds that `Signpost-Deadline` may ask for, as the configuration's `api.deadline_ms`.
const DEADLINE_RANGE: std::ops::RangeInclusive<u64> = 50..=30_000;

/// What a write answers with (`Prefer: return=...`, FHIR R4 §3.1.0.1.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Return {
    /// Headers only.
    Minimal,
    /// The resource as it is now.
    #[default]
    Representation,
    /// An OperationOutcome.
    OperationOutcome,
}

/// `Prefer` (RFC 7240); what is not known there is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Prefer {
    /// What a write answers with; absent when the caller does not mind.
    pub(super) returned: Option<Return>,
    /// `handling=strict`: unknown search parameters are errors.
    pub(super) strict: bool,
}

impl Prefer {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut prefer = Self::default();
        let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        for preference in values.flat_map(|value| value.split([',', ';'])) {
            let Some((name, value)) = preference.split_once('=') else { continue };
            let value = value.trim().trim_matches('"');
            let is = |known: &str| value.eq_ignore_ascii_case(known);
            match name.trim().to_ascii_lowercase().as_str() {
                "return" if is("minimal") => prefer.returned = Some(Return::Minimal),
                "return" if is("representation") => prefer.returned = Some(Return::Representation),
                "return" if is("OperationOutcome") => {
                    prefer.returned = Some(Return::OperationOutcome);
                }
                "handling" => prefer.strict = is("strict"),
                _ => {}
            }
        }
        prefer
    }
}

/// The version in `If-Match`, as `W/"3"` or `"3"`; `*` asks for no particular one.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(tag) = single(headers, "if-match")? else { return Ok(None) };
    if tag == "*" {
        return Ok(None);
    }
    let quoted = tag.strip_prefix("W/").unwrap_or(tag);
    let version = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let version = version.filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    match version.and_then(|digits| digits.parse().ok()) {
        Some(version) => Ok(Some(version)),
        None => Err(ApiError::invalid("If-Match must hold one version, as W/\"3\"")),
    }
}

/// On whose behalf the request is made, and how long it may take in milliseconds.
pub(super) fn caller(headers: &HeaderMap, settings: &Settings) -> Result<(Caller, u64), ApiError> {
    let purpose = match single(headers, "Signpost-Purpose")? {
        Some(given) => purpose(given)
            .and_then(Text::new)
            .ok_or_else(|| ApiError::invalid(format!("Signpost-Purpose {RULE}")))?,
        None => settings.default_purpose.clone(),
    };
    let role = text(headers, "Signpost-Role")?.unwrap_or_default();
    let user = text(headers, "Signpost-User")?.unwrap_or_default();
    let deadline = match single(headers, "Signpost-Deadline")? {
        None => settings.deadline,
        Some(value) => value
            .parse()
            .ok()
            .filter(|deadline| DEADLINE_RANGE.contains(deadline))
            .ok_or_else(|| {
                let (min, max) = (DEADLINE_RANGE.start(), DEADLINE_RANGE.end());
                ApiError::invalid(format!("Signpost-Deadline must be {min} to {max} milliseconds"))
            })?,
    };
    Ok((Caller { purpose, role, user }, deadline))
}

fn text<const MAX: usize>(headers: &HeaderMap, name: &str) -> Result<Option<Text<MAX>>, ApiError> {
    let Some(value) = single(headers, name)? else { return Ok(None) };
    Text::new(value).map(Some).ok_or_else(|| {
        ApiError::invalid(format!("{name} must have at most {MAX} bytes and no control characters"))
    })
}

fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let (first, more) = (values.next(), values.next().is_some());
    match first {
        None => Ok(None),
        Some(value) if !more => match value.to_str() {
            Ok(value) => Ok(Some(value.trim())),
            Err(_) => Err(ApiError::invalid(format!("{name} must be plain ASCII"))),
        },
        Some(_) => Err(ApiError::invalid(format!("{name} must not be repeated"))),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap())
        });
        pairs.fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        })
    }

    #[test]
    fn preferences_are_read_from_one_header_or_many() {
        let prefer = |values: &[&str]| {
            let pairs: Vec<_> = values.iter().map(|value| ("prefer", *value)).collect();
            Prefer::of(&headers(&pairs))
        };
        assert_eq!(prefer(&[]), Prefer::default());
        assert_eq!(prefer(&["return=minimal"]).returned, Some(Return::Minimal));
        let both = prefer(&["handling=strict, return=OperationOutcome"]);
        assert_eq!(both, prefer(&["handling=strict", "return=\"operationoutcome\""]));
        assert_eq!((both.returned, both.strict), (Some(Return::OperationOutcome), true));
        assert_eq!(prefer(&["return=everything; x, handling=lenient"]), Prefer::default());
    }

    #[test]
    fn if_match_takes_one_version() {
        let read = |value: &str| if_match(&headers(&[("if-match", value)]));
        assert_eq!(if_match(&HeaderMap::new()).unwrap(), None);
        assert_eq!(read("W/\"3\"").unwrap(), Some(3));
        assert_eq!(read("\"3\"").unwrap(), Some(3));
        assert_eq!(read("*").unwrap(), None);
        for value in
            ["3", "W/3", "\"\"", "\"x\"", "\"+3\"", "W/\"3\", W/\"4\"", "\"99999999999999999999\""]
        {
            assert!(read(value).is_err(), "{value}");
        }
        assert!(if_match(&headers(&[("if-match", "*"), ("if-match", "*")])).is_err());
    }
}
