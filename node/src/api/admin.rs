//! What is not about pointers: capabilities, status, probes, the confirmation after a restore.

use std::time::Duration;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde_json::json;

use super::{
    ApiState,
    error::{self, ApiError, fhir},
    guard::OnBehalf,
};
use crate::{core::local::Confirmation, fhir::capability::capability_statement};

/// How long a probe waits for the core: an orchestrator's probes commonly time out after a few
/// seconds, and a core that is silent for this long is not ready.
const PROBE_TIME_MAX: Duration = Duration::from_secs(2);

/// `GET /fhir/R4/metadata`
pub(super) async fn metadata(State(state): State<ApiState>, headers: HeaderMap) -> Response {
    fhir(StatusCode::OK, &capability_statement(&state.base(&headers)))
}

/// `GET /signpost/v1/status`
pub(super) async fn status(OnBehalf(handle): OnBehalf) -> Result<Response, ApiError> {
    let report = handle.status().await.map_err(busy)?;
    Ok(error::json(StatusCode::OK, &report))
}

/// `POST /signpost/v1/confirm-restored`
pub(super) async fn confirm_restored(OnBehalf(handle): OnBehalf) -> Result<Response, ApiError> {
    let confirmed = match handle.confirm_restored().await.map_err(busy)? {
        Confirmation::Done => true,
        Confirmation::Nothing => false,
        Confirmation::NotYet => {
            return Err(ApiError::busy(
                "nothing was confirmed: the digest is still being made, no peer has been heard yet, \
                 or this node's clock is wrong (`signpost status` says so); try again in a moment"
                    .to_owned(),
            ));
        }
    };
    Ok(error::json(StatusCode::OK, &json!({"confirmed": confirmed})))
}

/// `GET /healthz`: the process serves.
pub(super) async fn healthz() -> Response {
    error::json(StatusCode::OK, &json!({"serving": true}))
}

/// `GET /readyz`: the node can do its work.
pub(super) async fn readyz(State(state): State<ApiState>) -> Response {
    let failed = |notice: String| json!({"ready": false, "notices": [notice]});
    let report = match tokio::time::timeout(PROBE_TIME_MAX, state.handle.status()).await {
        Ok(Ok(report)) => {
            json!({"ready": report.ready, "notices": report.notices, "roster": report.roster})
        }
        Ok(Err(reason)) => failed(format!("the node is too busy: {reason}")),
        Err(_) => failed("the node does not answer".to_owned()),
    };
    let is_ready = report["ready"] == true;
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    error::json(status, &report)
}

fn busy(reason: &'static str) -> ApiError {
    ApiError::busy(format!("the node is too busy: {reason}"))
}
