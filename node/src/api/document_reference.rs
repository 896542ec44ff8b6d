//! Reading, creating, updating and deleting one DocumentReference.

use axum::{
    extract::{FromRequestParts, Path, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use signpost_protocol::{PointerId, PointerState, Timestamp};

use super::{
    ApiState, body,
    error::{ApiError, fhir},
    guard::OnBehalf,
    preferences::{Prefer, Return, caller, if_match},
};
use crate::{
    core::local::{Draft, Effect, NewId, ReadRequest, Write, WriteError, Written},
    fhir::{
        document_reference::{draft, to_resource, written_resource},
        json,
        outcome::{Issue, IssueCode, Severity, outcome},
    },
    handle::NodeHandle,
};

/// Content types of a resource.
pub(super) const RESOURCE_TYPES: [&str; 2] = ["application/fhir+json", "application/json"];
/// System of the codings that say what a write did.
const RESPONSE_SYSTEM: &str = "urn:signpost:response";

/// The id in the path. One that cannot be a pointer's id is not found, like any other unknown id.
pub(super) struct IdInPath(PointerId);

impl<S: Send + Sync> FromRequestParts<S> for IdInPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut request::Parts, state: &S) -> Result<Self, ApiError> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        text.ok().and_then(|Path(text)| text.parse().ok()).map(Self).ok_or_else(|| {
            let text = "no pointer has such an id: it must look like <ODS code>-<local part>";
            ApiError::new(StatusCode::NOT_FOUND, IssueCode::NotFound, text)
        })
    }
}

/// `GET DocumentReference/{id}`: own pointers, and those of other organizations.
pub(super) async fn read(
    State(state): State<ApiState>,
    OnBehalf(handle): OnBehalf,
    IdInPath(id): IdInPath,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (caller, deadline) = caller(&headers, &state.settings)?;
    let read = handle.read(ReadRequest { id, caller, deadline }).await?;
    let pointer = &read.found.pointer;
    if pointer.state == PointerState::Tombstone {
        let gone = ApiError::from(WriteError::Gone(pointer.id.clone()));
        return Ok(with_version(gone.into_response(), pointer.version, pointer.issued));
    }
    let resource = to_resource(&read.found, read.subject.as_ref()).map_err(|_| {
        let text =
            format!("{} holds a pointer of this id that is no DocumentReference", read.found.ods);
        ApiError::new(StatusCode::BAD_GATEWAY, IssueCode::Exception, text)
    })?;
    Ok(with_version(fhir(StatusCode::OK, &resource), pointer.version, pointer.issued))
}

/// `POST DocumentReference`: a new pointer under a new id; an id in the body is ignored, as FHIR
/// wants it (R4 §3.1.0.8).
pub(super) async fn create(
    State(state): State<ApiState>,
    OnBehalf(handle): OnBehalf,
    request: Request,
) -> Result<Response, ApiError> {
    let headers = request.headers().clone();
    let mut resource = resource(request).await?;
    if let Value::Object(members) = &mut resource {
        members.remove("id");
    }
    let (_, draft) = draft(resource)?;
    let written = write(&handle, Write::Create { id: NewId::Random, draft: draft.clone() }).await?;
    // Without the version: an older one cannot be read here, so a link to one would soon lead nowhere.
    let location = format!("{}/DocumentReference/{}", state.base(&headers), written.id);
    let mut response = reply(StatusCode::CREATED, &headers, &written, &draft);
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `PUT DocumentReference/{id}`: a new version of an existing pointer.
pub(super) async fn update(
    OnBehalf(handle): OnBehalf,
    IdInPath(id): IdInPath,
    request: Request,
) -> Result<Response, ApiError> {
    let headers = request.headers().clone();
    let if_match = if_match(&headers)?;
    let (given, draft) = draft(resource(request).await?)?;
    if given.as_ref() != Some(&id) {
        let text = "the id in the body must be the id in the path";
        return Err(ApiError::invalid(text).at("DocumentReference.id"));
    }
    let written = write(&handle, Write::Update { id, if_match, draft: draft.clone() }).await?;
    Ok(reply(StatusCode::OK, &headers, &written, &draft))
}

/// `DELETE DocumentReference/{id}`; deleting again changes nothing and is no error.
pub(super) async fn delete(
    OnBehalf(handle): OnBehalf,
    IdInPath(id): IdInPath,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let if_match = if_match(&headers)?;
    let written = write(&handle, Write::Delete { id, if_match }).await?;
    let response = match Prefer::of(&headers).returned {
        Some(Return::OperationOutcome) => {
            fhir(StatusCode::OK, &success("deleted", "the pointer is deleted"))
        }
        _ => StatusCode::NO_CONTENT.into_response(),
    };
    Ok(with_version(response, written.version, written.issued))
}

async fn resource(request: Request) -> Result<Value, ApiError> {
    let bytes = body::read(request, &RESOURCE_TYPES, body::RESOURCE_BODY_BYTES_MAX).await?;
    Ok(json::parse(&bytes)?)
}

async fn write(handle: &NodeHandle, write: Write) -> Result<Written, ApiError> {
    let result = handle.write(vec![write]).await.pop().unwrap_or_else(|| {
        Err(WriteError::Storage("the store did not say what became of it".to_owned()))
    });
    Ok(result?)
}

fn reply(status: StatusCode, headers: &HeaderMap, written: &Written, draft: &Draft) -> Response {
    let response = match Prefer::of(headers).returned.unwrap_or_default() {
        Return::Minimal => status.into_response(),
        Return::OperationOutcome => {
            let (code, text) = match written.effect {
                Effect::Created => ("created", "the pointer is created"),
                Effect::Updated => ("updated", "the pointer is updated"),
                Effect::Unchanged => ("unchanged", "the pointer said so already"),
                Effect::Deleted => ("deleted", "the pointer is deleted"),
            };
            fhir(status, &success(code, text))
        }
        Return::Representation => match written_resource(written, draft) {
            Ok(resource) => fhir(status, &resource),
            // It is written all the same.
            Err(_) => status.into_response(),
        },
    };
    with_version(response, written.version, written.issued)
}

fn success(code: &str, text: &str) -> Value {
    let issue = Issue::new(Severity::Information, IssueCode::Informational, text);
    outcome(vec![issue.coded(RESPONSE_SYSTEM, code, None)])
}

/// Adds `ETag` and `Last-Modified`.
fn with_version(mut response: Response, version: u64, issued: Timestamp) -> Response {
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::try_from(format!("W/\"{version}\"")) {
        headers.insert(header::ETAG, tag);
    }
    let date = i64::try_from(issued.0)
        .ok()
        .and_then(|at| jiff::Timestamp::from_millisecond(at).ok())
        .and_then(|at| {
            jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).ok()
        })
        .and_then(|date| HeaderValue::try_from(date).ok());
    if let Some(date) = date {
        headers.insert(header::LAST_MODIFIED, date);
    }
    response
}
