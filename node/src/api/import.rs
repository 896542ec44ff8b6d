//! Bulk import: many pointers in one request, each judged for itself.

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::Response,
};
use serde_json::{Value, json};

use super::{
    ApiState, body,
    error::{self, ApiError},
};
use crate::{
    core::local::{NewId, WRITES_PER_REQUEST_MAX, Write, WriteError},
    fhir::{document_reference::draft, json as fhir_json, outcome::IssueCode},
};

/// `POST /signpost/v1/import`: one DocumentReference a line, blank lines skipped.
///
/// The results come in the order of the lines. A line that fails does not keep the others from
/// being stored, and what is reported as done is durable.
pub(super) async fn import(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, ApiError> {
    let media_types = ["application/x-ndjson", "application/fhir+ndjson"];
    let bytes = body::read(request, &media_types, body::IMPORT_BODY_BYTES_MAX).await?;
    let lines: Vec<_> = bytes
        .split(|b| *b == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
        .take(WRITES_PER_REQUEST_MAX + 1)
        .collect();
    if lines.len() > WRITES_PER_REQUEST_MAX {
        let text = format!("an import has at most {WRITES_PER_REQUEST_MAX} lines in one request");
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, IssueCode::TooLong, text));
    }

    let judged: Vec<Result<Write, ApiError>> = lines.into_iter().map(put).collect();
    let mut writes = Vec::new();
    let places: Vec<Result<(), ApiError>> =
        judged.into_iter().map(|judged| judged.map(|write| writes.push(write))).collect();
    let written = if writes.is_empty() { Vec::new() } else { state.handle.write(writes).await };
    let mut written = written.into_iter();
    let results: Vec<Value> = places
        .into_iter()
        .map(|place| {
            let result = place.and_then(|()| {
                let unknown = || WriteError::Storage("nothing was said about this line".to_owned());
                written.next().unwrap_or_else(|| Err(unknown())).map_err(ApiError::from)
            });
            match result {
                Ok(done) => json!({
                    "id": done.id.as_str(),
                    "version": done.version,
                    "effect": done.effect,
                }),
                Err(error) => json!({"error": {
                    "code": error.code().code(),
                    "diagnostics": error.diagnostics(),
                    "retry": error.is_worth_repeating(),
                }}),
            }
        })
        .collect();
    Ok(error::json(StatusCode::OK, &json!({"results": results})))
}

fn put(line: &[u8]) -> Result<Write, ApiError> {
    let (id, draft) = draft(fhir_json::parse(line)?)?;
    let id = id.map_or(NewId::FromContent, NewId::Given);
    Ok(Write::Put { id, draft })
}
