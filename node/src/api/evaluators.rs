//! Ceremonies of evaluators, for the admins of the organization whose token is shown. What comes of
//! them travels with the roster, and is read there.

use axum::{extract::Path, http::StatusCode, response::Response};
use serde_json::json;
use signpost_protocol::ContentHash;

use super::{
    error::{self, ApiError},
    guard::OnBehalf,
};
use crate::{core::local::JoinCeremonyError, fhir::outcome::IssueCode};

/// `POST /signpost/v1/evaluators/ceremonies/{call}/join`: has this node take part in the ceremony, as
/// the organization whose token is shown. Once more does no harm.
pub(super) async fn join(
    OnBehalf(handle): OnBehalf,
    Path(call): Path<String>,
) -> Result<Response, ApiError> {
    let call: ContentHash = call.parse().map_err(|_| {
        ApiError::invalid("a ceremony is named by 64 hexadecimal digits".to_owned())
    })?;
    handle.join_ceremony(call).await.map_err(refused)?;
    Ok(error::json(StatusCode::OK, &json!({ "ceremony": call.to_string(), "joined": true })))
}

fn refused(error: JoinCeremonyError) -> ApiError {
    let text = error.to_string();
    match error {
        JoinCeremonyError::Unknown => {
            ApiError::new(StatusCode::NOT_FOUND, IssueCode::NotFound, text)
        }
        JoinCeremonyError::Refused(_) => {
            ApiError::new(StatusCode::CONFLICT, IssueCode::BusinessRule, text)
        }
        JoinCeremonyError::Busy(_) => ApiError::busy(text),
        JoinCeremonyError::Storage(_) => error::storage(text),
    }
}
