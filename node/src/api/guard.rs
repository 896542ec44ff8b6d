//! What is common to all requests: who may ask, how many at a time, how long, in which format, and
//! what is logged of it (method, route and outcome; never a query, a path or a body).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::sync::Semaphore;

use super::{ApiState, error::ApiError, query};
use crate::{fhir::outcome::IssueCode, handle::NodeHandle};

/// How long one request may take, its body included: the longest deadline of a look-up (30 s) and
/// room for recording it. A backstop: the core keeps the deadlines.
pub(super) const REQUEST_TIME_MAX: Duration = Duration::from_secs(40);

/// Letters of a request id that is echoed: a UUID has 36.
const REQUEST_ID_CHARS_MAX: usize = 64;
const ECHOED: [HeaderName; 2] =
    [HeaderName::from_static("x-request-id"), HeaderName::from_static("x-correlation-id")];

/// The outermost layer: logs the outcome, echoes request ids, keeps patient data out of caches.
pub(super) async fn observed(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let echoed = ECHOED.map(|name| {
        let well_formed = |id: &&HeaderValue| {
            (1..=REQUEST_ID_CHARS_MAX).contains(&id.len())
                && id.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
        };
        let id = request.headers().get(&name).filter(well_formed).cloned();
        (name, id)
    });

    let mut response = next.run(request).await;

    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, id) in echoed {
        if let Some(id) = id {
            headers.insert(name, id);
        }
    }
    tracing::info!(
        method = known_method(&method),
        route = route.as_ref().map_or("unknown", MatchedPath::as_str),
        status = response.status().as_u16(),
        milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "request"
    );
    response
}

/// A method is text from the caller, too: only the known ones are logged.
fn known_method(method: &axum::http::Method) -> &'static str {
    ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
        .into_iter()
        .find(|known| method.as_str() == *known)
        .unwrap_or("other")
}

/// The way to the core on behalf of the organization whose token the request shows.
pub(super) struct OnBehalf(pub(super) NodeHandle);

impl<S: Send + Sync> FromRequestParts<S> for OnBehalf {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<NodeHandle>().cloned().map(Self).ok_or_else(token_required)
    }
}

/// Asks for a bearer token (RFC 6750 §2.1), which decides on whose behalf the request is made.
pub(super) async fn authenticated(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let mut shown = request.headers().get_all(header::AUTHORIZATION).iter();
    let bearer = match (shown.next(), shown.next()) {
        (Some(one), None) => one.to_str().ok().and_then(|text| text.split_once(' ')),
        _ => None,
    };
    let handle = match bearer {
        Some((scheme, shown)) if scheme.eq_ignore_ascii_case("Bearer") => {
            let organization = state.tokens.find(shown.trim());
            organization.and_then(|organization| state.handle.on_behalf_of(organization))
        }
        _ => None,
    };
    request.extensions_mut().insert(handle.ok_or_else(token_required)?);
    Ok(next.run(request).await)
}

fn token_required() -> ApiError {
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        IssueCode::Login,
        "an API token of an organization that this node serves is required, as \
         'Authorization: Bearer <token>'",
    )
}

/// Bounds how many requests are worked on at a time, and for how long.
pub(super) async fn bounded(
    State(slots): State<Arc<Semaphore>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let Ok(_slot) = slots.try_acquire() else {
        return Err(ApiError::busy("the node is too busy: it works on as many requests as it can"));
    };
    let safe = request.method().is_safe();
    tokio::time::timeout(REQUEST_TIME_MAX, next.run(request)).await.map_err(|_| {
        let seconds = REQUEST_TIME_MAX.as_secs();
        let also =
            if safe { "" } else { "; whether the change was made is not known: read it back" };
        let text = format!("the request took more than {seconds} seconds{also}");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, IssueCode::Timeout, text).retry_after(1)
    })
}

/// Refuses to be asked for anything but JSON (FHIR R4 §3.1.0.1.11).
pub(super) async fn json_only(request: Request, next: Next) -> Result<Response, ApiError> {
    let pairs = query::pairs(request.uri().query().unwrap_or_default().as_bytes())?;
    let format = pairs.iter().find(|(name, _)| name == "_format").map(|(_, value)| value.as_str());
    check_format(format, request.headers())?;
    Ok(next.run(request).await)
}

/// `_format` goes before `Accept`.
pub(super) fn check_format(format: Option<&str>, headers: &HeaderMap) -> Result<(), ApiError> {
    let acceptable = match format {
        Some(format) => is_json(format),
        None => {
            let ranges: Vec<_> = headers
                .get_all(header::ACCEPT)
                .iter()
                .flat_map(|accept| accept.to_str().unwrap_or_default().split(','))
                .filter(|range| !range.trim().is_empty())
                .collect();
            ranges.is_empty() || ranges.iter().any(|range| is_accepted(range))
        }
    };
    if acceptable {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::NOT_ACCEPTABLE,
        IssueCode::NotSupported,
        "only JSON is served: application/fhir+json",
    ))
}

fn is_json(media_type: &str) -> bool {
    // A '+' in a query means a blank unless it is encoded, and few clients encode it.
    let essence = media_type.split(';').next().unwrap_or_default().trim().replace(' ', "+");
    ["json", "application/json", "application/fhir+json", "text/json"]
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
}

fn is_accepted(range: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let unwanted = parts.any(|parameter| {
        let weight = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
        weight.is_some_and(|weight| weight.parse() == Ok(0.0_f32))
    });
    !unwanted
        && (essence == "*/*" || essence.eq_ignore_ascii_case("application/*") || is_json(essence))
}

pub(super) async fn unknown_path() -> ApiError {
    let text = "nothing is served at this path; FHIR R4 is at /fhir/R4";
    ApiError::new(StatusCode::NOT_FOUND, IssueCode::NotFound, text)
}

pub(super) async fn unknown_method() -> Response {
    let text = "this path does not know the method; the header Allow lists those it knows";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, IssueCode::NotSupported, text).into_response()
}
