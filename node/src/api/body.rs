//! Reading request bodies, up to a cap and of the right kind.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, StatusCode, header},
};
use futures::StreamExt as _;

use super::error::ApiError;
use crate::fhir::outcome::IssueCode;

/// Bytes of a resource: far over what a pointer may have, so that the error can name the pointer's own cap.
pub(super) const RESOURCE_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of a search form: a few parameters.
pub(super) const FORM_BODY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an import: 100 lines of the size that a pointer may have, and room.
pub(super) const IMPORT_BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Reads the body of a request that has one of these content types.
///
/// A body over `bytes_max` is refused when its announced length or its bytes pass the cap,
/// whichever comes first; what follows is not read.
pub(super) async fn read(
    request: Request,
    media_types: &[&str],
    bytes_max: usize,
) -> Result<Vec<u8>, ApiError> {
    check_content_type(request.headers(), media_types)?;
    let too_long = || {
        let text = format!("the body is longer than the {bytes_max} bytes allowed here");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, IssueCode::TooLong, text)
    };
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > bytes_max as u64) {
        return Err(too_long());
    }
    collect(request.into_body(), bytes_max).await?.ok_or_else(too_long)
}

/// `None` when there are more than `bytes_max`.
async fn collect(body: Body, bytes_max: usize) -> Result<Option<Vec<u8>>, ApiError> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| ApiError::invalid("the body ended early"))?;
        if chunk.len() > bytes_max - bytes.len() {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

fn check_content_type(headers: &HeaderMap, media_types: &[&str]) -> Result<(), ApiError> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let mut parts = content_type.unwrap_or_default().split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, charset)) if name.eq_ignore_ascii_case("charset") => {
            charset.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    if utf8 && media_types.iter().any(|known| known.eq_ignore_ascii_case(essence)) {
        return Ok(());
    }
    let text = format!("the Content-Type must be {}, in UTF-8", media_types.join(" or "));
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, IssueCode::NotSupported, text))
}
