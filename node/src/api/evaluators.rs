//! Ceremonies of evaluators, for the admins of the organization whose token is shown. What comes of
//! them travels with the roster, and is read there.

use axum::{extract::Request, http::StatusCode, response::Response};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use serde_json::json;
use signpost_protocol::limits::CEREMONY_CONSENT_BYTES_MAX;

use super::{
    body,
    error::{self, ApiError},
    guard::OnBehalf,
    joining::rfc3339,
    roster::CBOR,
};
use crate::{
    core::local::{JoinCeremonyError, UsageDay},
    fhir::outcome::IssueCode,
};

/// `POST /signpost/v1/evaluators/ceremonies/join`: has this node take part in a ceremony, by a consent that
/// the govern key of the organization has signed; the token alone is the clinical systems', too. Once more
/// does no harm.
pub(super) async fn join(
    OnBehalf(handle): OnBehalf,
    request: Request,
) -> Result<Response, ApiError> {
    let consent = body::read(request, &[CBOR], CEREMONY_CONSENT_BYTES_MAX).await?;
    handle.join_ceremony(consent).await.map_err(refused)?;
    Ok(error::json(StatusCode::OK, &json!({ "joined": true })))
}

/// The reply to `GET /signpost/v1/evaluators/usage`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct UsageList {
    /// The latest day first.
    pub(crate) days: Vec<UsageDay>,
}

/// `GET /signpost/v1/evaluators/usage`: how much this node has evaluated for whom, by day.
pub(super) async fn usage(OnBehalf(handle): OnBehalf) -> Result<Response, ApiError> {
    let busy = |reason| ApiError::busy(format!("the counts cannot be read: {reason}"));
    let days = handle.usage().await.map_err(busy)?;
    Ok(error::json(StatusCode::OK, &UsageList { days }))
}

/// A wrong evaluation in the reply to `GET /signpost/v1/evaluators/evidence`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EvidenceEntry {
    /// The evaluator's organization id, hexadecimal.
    pub(crate) organization: String,
    /// Its ODS code.
    pub(crate) ods: String,
    /// Its name.
    pub(crate) name: String,
    /// Its index.
    pub(crate) index: u16,
    /// The key epoch.
    pub(crate) key_epoch: u32,
    /// The share epoch.
    pub(crate) share_epoch: u32,
    /// When it answered, RFC 3339.
    pub(crate) issued: String,
    /// The evidence, base64 of CBOR.
    pub(crate) evidence: String,
}

/// The reply.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EvidenceList {
    /// One for each evaluator that was caught.
    pub(crate) evidence: Vec<EvidenceEntry>,
}

/// `GET /signpost/v1/evaluators/evidence`: wrong evaluations that this node has caught, each with the
/// evaluator's signature.
pub(super) async fn evidence(OnBehalf(handle): OnBehalf) -> Result<Response, ApiError> {
    let busy = |reason| ApiError::busy(format!("the node is too busy: {reason}"));
    let shown = handle.evidence().await.map_err(busy)?.into_iter().map(|shown| EvidenceEntry {
        organization: shown.wrong.organization.to_string(),
        ods: shown.ods.to_string(),
        name: shown.name,
        index: shown.wrong.index,
        key_epoch: shown.wrong.key_epoch.0,
        share_epoch: shown.wrong.share_epoch,
        issued: rfc3339(shown.wrong.issued),
        evidence: BASE64.encode(shown.evidence),
    });
    Ok(error::json(StatusCode::OK, &EvidenceList { evidence: shown.collect() }))
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
