//! The roster as a file, and statements that an admin brings: what `signpost roster` speaks to.
//!
//! Nothing here is trusted for having come through the local API: the core verifies every statement
//! as if a stranger had sent it.

use axum::{
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};
use signpost_protocol::{
    ContentHash, codec,
    limits::STATEMENT_BYTES_MAX,
    roster::RosterFile,
    statement::{Envelope, statement_hash},
};

use super::{
    ApiState, body,
    error::{self, ApiError},
};
use crate::{
    core::local::{STATEMENTS_PER_REQUEST_MAX, Submitted},
    fhir::outcome::IssueCode,
};

/// Media type of a roster file and of a statement.
pub(crate) const CBOR: &str = "application/cbor";
/// Bytes of statements that are brought at once: twice a full batch of the longest ones, with the
/// founding. A longer roster is brought in several files, as `signpost roster import` does.
const ROSTER_BODY_BYTES_MAX: usize = 2 * STATEMENTS_PER_REQUEST_MAX * STATEMENT_BYTES_MAX;

/// `GET /signpost/v1/roster`: everything that this node was told of the roster, as a roster file.
pub(super) async fn read(State(state): State<ApiState>) -> Result<Response, ApiError> {
    let file = state.handle.roster_file().await.map_err(busy)?;
    let content_type = HeaderValue::from_static(CBOR);
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, content_type)], file).into_response())
}

/// `POST /signpost/v1/roster`: a roster file of this network, or one statement. Replies what became
/// of each statement, in their order: `new`, `known`, `waits` for another statement (and is not
/// kept on disk), or `refused` with the reason. One that is refused does not keep out the others.
pub(super) async fn submit(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, ApiError> {
    let bytes = body::read(request, &[CBOR], ROSTER_BODY_BYTES_MAX).await?;
    let statements = if Envelope::kind_of(&bytes).is_some() {
        vec![bytes]
    } else {
        of_file(&state, &bytes).await?
    };
    let mut results = Vec::with_capacity(statements.len());
    for batch in statements.chunks(STATEMENTS_PER_REQUEST_MAX) {
        let done = state.handle.submit_statements(batch.to_vec()).await.map_err(busy)?;
        results.extend(batch.iter().zip(done).map(|(bytes, done)| outcome(bytes, done)));
    }
    Ok(error::json(StatusCode::OK, &json!({ "results": results })))
}

/// The statements of a roster file, if it is of this node's network.
async fn of_file(state: &ApiState, bytes: &[u8]) -> Result<Vec<Vec<u8>>, ApiError> {
    let file: RosterFile = codec::decode("roster file", bytes, ROSTER_BODY_BYTES_MAX)
        .map_err(|error| ApiError::invalid(format!("no statement and no roster file: {error}")))?;
    let own = state.handle.status().await.map_err(busy)?.network;
    let found = ContentHash::of(&file.founding).to_string();
    if found != own {
        let text = format!("the file is of network {found}, but this node belongs to {own}");
        return Err(ApiError::new(StatusCode::CONFLICT, IssueCode::Conflict, text));
    }
    Ok(file.statements.iter().map(|statement| statement.to_vec()).collect())
}

fn outcome(bytes: &[u8], done: Result<Submitted, String>) -> Value {
    let statement = statement_hash(bytes).to_string();
    let kind = Envelope::kind_of(bytes).map(|kind| kind.name());
    match done {
        Ok(outcome) => json!({ "statement": statement, "kind": kind, "outcome": outcome }),
        Err(reason) => json!({
            "statement": statement,
            "kind": kind,
            "outcome": "refused",
            "reason": reason,
        }),
    }
}

fn busy(reason: &'static str) -> ApiError {
    ApiError::busy(format!("the node is too busy: {reason}"))
}
