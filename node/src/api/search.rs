//! Searching DocumentReferences: the look-up itself.
//!
//! Every result carries the header `Signpost-Completeness`. A request that has no result (an
//! error) has none, and is never shown as an empty Bundle.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::Response,
};

use super::{
    ApiState, body,
    error::{ApiError, fhir},
    guard::{self, OnBehalf},
    preferences::{Prefer, caller},
    query::{SearchQuery, pairs},
};
use crate::{
    core::{
        completeness::{Cause, CauseKind, Completeness},
        local::{Caller, FoundPointer, LocateRequest},
    },
    fhir::{bundle::Searchset, document_reference::to_resource, outcome::completeness_outcome},
    handle::NodeHandle,
};

/// The header that says whether a result is all there is.
const COMPLETENESS: HeaderName = HeaderName::from_static("signpost-completeness");

/// `GET DocumentReference?...`
pub(super) async fn by_query(
    State(state): State<ApiState>,
    OnBehalf(handle): OnBehalf,
    request: Request,
) -> Result<Response, ApiError> {
    let pairs = pairs(request.uri().query().unwrap_or_default().as_bytes())?;
    search((&state, &handle), request.headers(), pairs).await
}

/// `POST DocumentReference/_search`: parameters in a form, in the query, or in both.
pub(super) async fn by_form(
    State(state): State<ApiState>,
    OnBehalf(handle): OnBehalf,
    request: Request,
) -> Result<Response, ApiError> {
    let headers = request.headers().clone();
    let mut parameters = pairs(request.uri().query().unwrap_or_default().as_bytes())?;
    let form = ["application/x-www-form-urlencoded"];
    let form = body::read(request, &form, body::FORM_BODY_BYTES_MAX).await?;
    parameters.extend(pairs(&form)?);
    search((&state, &handle), &headers, parameters).await
}

async fn search(
    (state, handle): (&ApiState, &NodeHandle),
    headers: &HeaderMap,
    parameters: Vec<(String, String)>,
) -> Result<Response, ApiError> {
    let query = SearchQuery::parse(parameters, Prefer::of(headers).strict)?;
    guard::check_format(query.format.as_deref(), headers)?;
    let (caller, deadline) = caller(headers, &state.settings)?;
    refuse_number_in_caller(&caller, &query)?;
    let request =
        LocateRequest { patient: query.patient, caller, deadline, custodian: query.custodian() };
    let located = handle.locate(request).await?;

    let mut completeness = located.completeness;
    let mut matches = Vec::new();
    for found in &located.pointers {
        match to_resource(found, Some(&query.patient)) {
            Ok(resource) if query.matches(found, &resource) => {
                matches.push((found.pointer.id.to_string(), resource));
            }
            Ok(_) => {}
            Err(_) => note_unreadable(&mut completeness, found),
        }
    }

    let base = state.base(headers);
    let searchset = Searchset {
        base: &base,
        self_link: query.self_link(&base),
        matches,
        outcome: completeness_outcome(&completeness),
        count_only: query.count_only,
    };
    let mut response = fhir(StatusCode::OK, &searchset.into_bundle());
    response.headers_mut().insert(COMPLETENESS, HeaderValue::from_static(completeness.word()));
    Ok(response)
}

/// These texts go to other organizations, so the patient's number must not stand in them.
fn refuse_number_in_caller(caller: &Caller, query: &SearchQuery) -> Result<(), ApiError> {
    let texts: [&str; 2] = [&caller.role, &caller.user];
    if texts.iter().any(|text| query.patient.occurs_in(text)) {
        return Err(ApiError::invalid(
            "Signpost-Role and Signpost-User travel to other organizations and must not hold the \
             patient's number",
        ));
    }
    // Ten digits make a well-formed ODS code, and the disclosure record names who was asked.
    if query.custodian().is_some_and(|ods| query.patient.occurs_in(ods.as_str())) {
        return Err(ApiError::invalid(
            "the search parameter custodian:identifier must not hold the patient's number",
        ));
    }
    Ok(())
}

/// A pointer that its holder wrote so that it cannot be shown leaves a gap.
fn note_unreadable(completeness: &mut Completeness, found: &FoundPointer) {
    tracing::warn!(id = %found.pointer.id, "a holder's pointer is no DocumentReference");
    completeness.add(Cause {
        kind: CauseKind::AnswerRefused,
        organization: Some((found.ods.clone(), found.name.clone())),
        since: None,
        detail: "one of its pointers is not a FHIR DocumentReference and cannot be shown".into(),
    });
}
