//! Bulk import and export: many pointers in one request, each judged for itself; what a source
//! has; all of an organization's own pointers, page by page. All of it is of the organization whose token
//! is shown.

use axum::{
    extract::{Path, RawQuery, Request},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use signpost_protocol::PointerId;

use super::{
    body,
    error::{self, ApiError},
    guard::OnBehalf,
    query,
};
use crate::{
    core::{
        local::{ListError, NewId, Put, WRITES_PER_REQUEST_MAX, Write, WriteError, Written},
        source::Source,
    },
    fhir::{
        document_reference::{draft, to_resource},
        json as fhir_json,
        outcome::IssueCode,
    },
};

/// Header of a page of an export: the id to pass as `after` for the next page. Absent on the last.
pub(super) const NEXT: &str = "signpost-next";

/// What the query of these requests may say. Unknown names are refused: a misspelt `dry_run` would
/// write.
#[derive(Default)]
struct Options {
    source: Option<Source>,
    dry_run: bool,
    after: Option<PointerId>,
}

impl Options {
    fn parse(query: RawQuery, known: &[&str]) -> Result<Self, ApiError> {
        let mut options = Self::default();
        for (name, value) in query::pairs(query.0.unwrap_or_default().as_bytes())? {
            let fault = |rule: &str| ApiError::invalid(format!("{name} {rule}"));
            match name.as_str() {
                name if !known.contains(&name) => {
                    let text = format!("the parameters here are {}", known.join(", "));
                    return Err(ApiError::invalid(text));
                }
                "source" => {
                    let source = value.parse::<Source>();
                    options.source =
                        Some(source.map_err(|error| ApiError::invalid(error.to_string()))?);
                }
                "dry_run" => {
                    options.dry_run = value.parse().map_err(|_| fault("must be true or false"))?;
                }
                _ => options.after = Some(value.parse().map_err(|_| fault("must be an id"))?),
            }
        }
        Ok(options)
    }
}

/// `POST /signpost/v1/import`: one DocumentReference a line, blank lines skipped. They become
/// pointers of `source` (`default` when it is not named). With `dry_run=true` nothing is written,
/// and each result says what would happen.
///
/// The results come in the order of the lines. A line that fails does not keep the others from
/// being stored, and what is reported as done is durable.
pub(super) async fn import(
    OnBehalf(handle): OnBehalf,
    query: RawQuery,
    request: Request,
) -> Result<Response, ApiError> {
    let options = Options::parse(query, &["source", "dry_run"])?;
    let source = options.source.unwrap_or_default();
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

    let mut puts = Vec::new();
    let places: Vec<Result<(), ApiError>> =
        lines.into_iter().map(|line| put(line, &source).map(|put| puts.push(put))).collect();
    let done = match (puts.is_empty(), options.dry_run) {
        (true, _) => Vec::new(),
        (false, true) => handle.rehearse(puts).await,
        (false, false) => handle.write(puts.into_iter().map(Write::Put).collect()).await,
    };
    let mut done = done.into_iter();
    let results = places.into_iter().map(|place| place.and_then(|()| next(&mut done)));
    Ok(results_of(results))
}

/// What a client wants deleted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ids {
    ids: Vec<String>,
}

/// `POST /signpost/v1/sources/{source}/delete`: deletes these pointers, each only if it is the
/// source's. The results come in the order of the ids.
pub(super) async fn delete(
    OnBehalf(handle): OnBehalf,
    Path(source): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let source = named(&source)?;
    let bytes = body::read(request, &["application/json"], body::FORM_BODY_BYTES_MAX).await?;
    let Ids { ids } = serde_json::from_slice(&bytes)
        .map_err(|_| ApiError::invalid("the body must be {\"ids\": [...]}"))?;
    if ids.len() > WRITES_PER_REQUEST_MAX {
        let text = format!("at most {WRITES_PER_REQUEST_MAX} ids can be deleted in one request");
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, IssueCode::TooLong, text));
    }
    let mut writes = Vec::new();
    for id in ids {
        let id = id.parse().map_err(|_| ApiError::invalid("one of the ids is no pointer's id"))?;
        writes.push(Write::Remove { id, source: source.clone() });
    }
    let count = writes.len();
    let done = if count == 0 { Vec::new() } else { handle.write(writes).await };
    let mut done = done.into_iter();
    Ok(results_of((0..count).map(|_| next(&mut done))))
}

/// `GET /signpost/v1/sources/{source}/ids?after=ID`: what a source has, in the order of the ids.
pub(super) async fn ids(
    OnBehalf(handle): OnBehalf,
    Path(source): Path<String>,
    query: RawQuery,
) -> Result<Response, ApiError> {
    let source = named(&source)?;
    let Options { after, .. } = Options::parse(query, &["after"])?;
    let page = handle.source_ids(source, after).await?;
    let ids: Vec<_> = page.items.iter().map(PointerId::as_str).collect();
    let next = page.next.as_ref().map(PointerId::as_str);
    Ok(error::json(StatusCode::OK, &json!({"ids": ids, "next": next})))
}

/// `GET /signpost/v1/export?source=NAME&after=ID`: own pointers that are not deleted, one
/// DocumentReference a line, with their subjects, as `import` takes them.
pub(super) async fn export(
    OnBehalf(handle): OnBehalf,
    query: RawQuery,
) -> Result<Response, ApiError> {
    let Options { source, after, .. } = Options::parse(query, &["source", "after"])?;
    let page = handle.export(source, after).await?;
    let mut lines = String::new();
    for read in &page.items {
        let resource = to_resource(&read.found, read.subject.as_ref()).map_err(|_| {
            let text = format!("the pointer {} is stored damaged", read.found.pointer.id);
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, IssueCode::Exception, text)
        })?;
        lines.push_str(&resource.to_string());
        lines.push('\n');
    }
    let content_type = HeaderValue::from_static("application/fhir+ndjson");
    let mut response =
        (StatusCode::OK, [(header::CONTENT_TYPE, content_type)], lines).into_response();
    if let Some(next) = page.next {
        // An id has letters, digits, dots and hyphens only.
        if let Ok(next) = HeaderValue::try_from(next.as_str()) {
            response.headers_mut().insert(NEXT, next);
        }
    }
    Ok(response)
}

fn named(source: &str) -> Result<Source, ApiError> {
    source.parse().map_err(|_| {
        let text = "no source can have such a name";
        ApiError::new(StatusCode::NOT_FOUND, IssueCode::NotFound, text)
    })
}

fn next(done: &mut impl Iterator<Item = Result<Written, WriteError>>) -> Result<Written, ApiError> {
    let unknown = || WriteError::Storage("nothing was said about this line".to_owned());
    done.next().unwrap_or_else(|| Err(unknown())).map_err(ApiError::from)
}

fn results_of(results: impl Iterator<Item = Result<Written, ApiError>>) -> Response {
    let results: Vec<Value> = results
        .map(|result| match result {
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
        })
        .collect();
    error::json(StatusCode::OK, &json!({"results": results}))
}

fn put(line: &[u8], source: &Source) -> Result<Put, ApiError> {
    let (id, draft) = draft(fhir_json::parse(line)?)?;
    let id = id.map_or(NewId::FromContent, NewId::Given);
    Ok(Put { id, draft, source: source.clone() })
}

impl From<ListError> for ApiError {
    fn from(error: ListError) -> Self {
        let text = error.to_string();
        match error {
            ListError::Busy(_) => Self::busy(text),
            ListError::Storage(_) => error::storage(text),
        }
    }
}
