//! Every error of the API: a status, an OperationOutcome, and when to try again.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::Value;

use crate::{
    core::local::{LocateError, NotAdmitted, ReadError, WriteError},
    fhir::{
        FhirError,
        outcome::{Issue, IssueCode, Severity, outcome},
    },
};

/// Content type of FHIR responses.
pub(super) const FHIR_JSON: &str = "application/fhir+json; charset=utf-8";
/// System of the codings that tell the API's errors apart.
const ERROR_SYSTEM: &str = "urn:signpost:error";
/// Seconds after which a busy node is worth another try: its queues drain in less.
const BUSY_RETRY: u64 = 1;
/// Seconds after which an unreachable peer is worth another try: redialling takes as long.
const PEER_RETRY: u64 = 5;

/// Why a request was not done. Boxed contents, because handlers return it by value everywhere.
#[derive(Debug)]
pub(super) struct ApiError(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    code: IssueCode,
    detail: Option<&'static str>,
    diagnostics: String,
    expression: Option<String>,
    retry_after: Option<u64>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: IssueCode, diagnostics: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            status,
            code,
            detail: None,
            diagnostics: diagnostics.into(),
            expression: None,
            retry_after: None,
        }))
    }

    /// The request is malformed: 400.
    pub(super) fn invalid(diagnostics: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, IssueCode::Invalid, diagnostics)
    }

    /// The node has too much to do: 503.
    pub(super) fn busy(diagnostics: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, IssueCode::Throttled, diagnostics)
            .detail("busy")
            .retry_after(BUSY_RETRY)
    }

    pub(super) fn at(mut self, expression: &str) -> Self {
        self.0.expression = Some(expression.to_owned());
        self
    }

    fn detail(mut self, code: &'static str) -> Self {
        self.0.detail = Some(code);
        self
    }

    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// The FHIR issue type.
    pub(super) fn code(&self) -> IssueCode {
        self.0.code
    }

    /// The sentence for people.
    pub(super) fn diagnostics(&self) -> &str {
        &self.0.diagnostics
    }

    /// Whether the same request may well succeed a moment later. Not after a failure of the disk:
    /// somebody must mend that first, and the node stops.
    pub(super) fn is_worth_repeating(&self) -> bool {
        self.0.status.is_server_error() && self.0.code != IssueCode::NoStore
    }

    fn issue(&self) -> Issue {
        let mut issue = Issue::new(Severity::Error, self.0.code, &self.0.diagnostics);
        if let Some(detail) = self.0.detail {
            issue = issue.coded(ERROR_SYSTEM, detail, None);
        }
        match &self.0.expression {
            Some(expression) => issue.at(expression),
            None => issue,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = fhir(self.0.status, &outcome(vec![self.issue()]));
        let headers = response.headers_mut();
        if let Some(seconds) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.0.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<FhirError> for ApiError {
    fn from(error: FhirError) -> Self {
        let status = if error.is_unreadable() {
            StatusCode::BAD_REQUEST
        } else {
            StatusCode::UNPROCESSABLE_ENTITY
        };
        let api = Self::new(status, error.code(), error.to_string());
        match error.expression() {
            Some(expression) => api.at(expression),
            None => api,
        }
    }
}

impl From<NotAdmitted> for ApiError {
    fn from(error: NotAdmitted) -> Self {
        Self::new(StatusCode::FORBIDDEN, IssueCode::Forbidden, error.to_string())
            .detail("not-admitted")
    }
}

impl From<LocateError> for ApiError {
    fn from(error: LocateError) -> Self {
        let text = error.to_string();
        match error {
            LocateError::TooFewEvaluators { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, IssueCode::Transient, text)
                    .detail("too-few-evaluators")
                    .retry_after(PEER_RETRY)
            }
            LocateError::OverQuota { left, .. } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, IssueCode::Throttled, text)
                    .detail("over-quota")
                    .retry_after(left)
            }
            LocateError::NoKey => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, IssueCode::Transient, text)
                    .detail("no-key")
                    .retry_after(PEER_RETRY)
            }
            LocateError::NotAdmitted(error) => error.into(),
            LocateError::Busy(_) => Self::busy(text),
            LocateError::Storage(_) => storage(text),
        }
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        let text = error.to_string();
        match error {
            ReadError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, IssueCode::NotFound, text),
            ReadError::HolderDown { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, IssueCode::Transient, text)
                    .detail("holder-unreachable")
                    .retry_after(PEER_RETRY)
            }
            ReadError::NotAdmitted(error) => error.into(),
            ReadError::Busy(_) => Self::busy(text),
            ReadError::Storage(_) => storage(text),
        }
    }
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> Self {
        let text = error.to_string();
        let unprocessable =
            |text| Self::new(StatusCode::UNPROCESSABLE_ENTITY, IssueCode::BusinessRule, text);
        match error {
            WriteError::NotServed { .. } => {
                Self::new(StatusCode::FORBIDDEN, IssueCode::Forbidden, text).detail("not-served")
            }
            WriteError::OtherServed { .. } => {
                Self::new(StatusCode::FORBIDDEN, IssueCode::Forbidden, text).detail("other-token")
            }
            WriteError::NotAdmitted(error) => error.into(),
            WriteError::IdPrefix { .. } => unprocessable(text).at("DocumentReference.id"),
            WriteError::OtherSource { .. } | WriteError::NotOfSource { .. } => {
                Self::new(StatusCode::CONFLICT, IssueCode::Conflict, text).detail("other-source")
            }
            WriteError::Exists(_) => Self::new(StatusCode::CONFLICT, IssueCode::Duplicate, text),
            WriteError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, IssueCode::NotFound, text),
            WriteError::Gone(_) => Self::new(StatusCode::GONE, IssueCode::Deleted, text),
            WriteError::VersionMismatch { .. } => {
                Self::new(StatusCode::PRECONDITION_FAILED, IssueCode::Conflict, text)
            }
            WriteError::SubjectChanged(_) => unprocessable(text).at("DocumentReference.subject"),
            WriteError::Blinding(error) => error.into(),
            WriteError::CannotSign(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, IssueCode::Transient, text)
                    .detail("cannot-sign")
                    .retry_after(PEER_RETRY)
            }
            WriteError::Busy(_) => Self::busy(text),
            WriteError::Storage(_) => storage(text),
        }
    }
}

pub(super) fn storage(text: String) -> ApiError {
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, IssueCode::NoStore, text)
}

/// A response with a FHIR resource.
pub(super) fn fhir(status: StatusCode, resource: &Value) -> Response {
    let content_type = HeaderValue::from_static(FHIR_JSON);
    (status, [(header::CONTENT_TYPE, content_type)], resource.to_string()).into_response()
}

/// A response with JSON that is no FHIR resource.
pub(super) fn json(status: StatusCode, value: &impl serde::Serialize) -> Response {
    let content_type = HeaderValue::from_static("application/json");
    match serde_json::to_string(value) {
        Ok(text) => (status, [(header::CONTENT_TYPE, content_type)], text).into_response(),
        Err(error) => ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            IssueCode::Exception,
            format!("the reply cannot be written as JSON: {error}"),
        )
        .into_response(),
    }
}
