//! The local HTTP API: what clinical systems and the node's own command line speak (FHIR R4).
//!
//! A thin shell: it reads requests, lets [`crate::fhir`] judge them, hands them to the core through
//! [`NodeHandle`] and writes the reply. Every error is an OperationOutcome, and none repeats a value
//! from the request: patient numbers come in through queries and bodies, so these are never logged
//! either. One file a resource; `guard` holds what is common to all requests.

use std::sync::Arc;

use axum::{
    Router,
    http::{HeaderMap, header},
    middleware,
    routing::{get, post},
};
use signpost_protocol::{codec::Text, limits};
use tokio::sync::Semaphore;

use crate::{config, fhir::purpose::purpose, handle::NodeHandle};

mod admin;
mod body;
mod document_reference;
mod error;
pub(crate) mod evaluators;
mod guard;
mod import;
pub(crate) mod joining;
mod metrics;
mod preferences;
mod query;
pub(crate) mod roster;
mod search;
mod serve;
mod token;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use serve::serve;
pub use token::ApiTokens;

/// Path under which FHIR is served.
pub const FHIR_PATH: &str = "/fhir/R4";

/// Requests that are worked on at a time: the 125 look-ups a second of England's busy hour, each at
/// the 3 s that one takes when an organization does not answer.
pub const REQUESTS_MAX: usize = 384;
/// Imports among them: each holds 4 MiB, and the core takes them one after the other anyway.
pub const IMPORTS_MAX: usize = 8;
/// Requests about the roster among them: a roster file of 20,000 members has 100 MB, and people
/// send these by hand.
pub const ROSTER_REQUESTS_MAX: usize = 2;

/// What the API needs to know of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the API listens: the base of links when a request has no usable `Host`.
    pub listen: std::net::SocketAddr,
    /// How long a look-up may take, in milliseconds, unless the request says otherwise.
    pub deadline: u64,
    /// The purpose of use of requests that name none.
    pub default_purpose: Text<{ limits::PURPOSE_BYTES_MAX }>,
}

impl Settings {
    /// Takes the settings out of `[api]`; `None` when the default purpose is too long.
    #[must_use]
    pub fn new(api: &config::Api) -> Option<Self> {
        let default_purpose = Text::new(purpose(&api.default_purpose)?)?;
        Some(Self { listen: api.listen, deadline: api.deadline_ms, default_purpose })
    }
}

/// What every request handler shares.
#[derive(Clone, Debug)]
pub struct ApiState {
    /// The way to the core.
    pub handle: NodeHandle,
    /// What callers must show, one for each organization.
    pub tokens: ApiTokens,
    /// From the configuration.
    pub settings: Settings,
}

impl ApiState {
    /// The base URL of FHIR, without a final slash, as the caller sees it.
    fn base(&self, headers: &HeaderMap) -> String {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let plain = |host: &&str| {
            // 253 letters of a DNS name and a port.
            (1..=260).contains(&host.len())
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".:-[]".contains(&b))
        };
        match host.filter(plain) {
            Some(host) => format!("http://{host}{FHIR_PATH}"),
            None => format!("http://{}{FHIR_PATH}", self.settings.listen),
        }
    }
}

/// The whole API.
pub fn router(state: ApiState) -> Router {
    let slots = |max| middleware::from_fn_with_state(Arc::new(Semaphore::new(max)), guard::bounded);
    let resource = format!("{FHIR_PATH}/DocumentReference");
    let fhir = Router::new()
        .route(&format!("{FHIR_PATH}/metadata"), get(admin::metadata))
        .route(&resource, get(search::by_query).post(document_reference::create))
        .route(&format!("{resource}/_search"), post(search::by_form))
        .route(
            &format!("{resource}/{{id}}"),
            get(document_reference::read)
                .put(document_reference::update)
                .delete(document_reference::delete),
        )
        .route_layer(middleware::from_fn(guard::json_only));
    let own = Router::new()
        .route("/signpost/v1/status", get(admin::status))
        .route("/signpost/v1/import", post(import::import).layer(slots(IMPORTS_MAX)))
        .route("/signpost/v1/export", get(import::export))
        .route("/signpost/v1/sources/{source}/ids", get(import::ids))
        .route("/signpost/v1/sources/{source}/delete", post(import::delete))
        .route(
            "/signpost/v1/roster",
            get(roster::read).post(roster::submit).layer(slots(ROSTER_REQUESTS_MAX)),
        )
        .route("/signpost/v1/invitations", post(joining::invite))
        .route("/signpost/v1/evaluators/ceremonies/join", post(evaluators::join))
        .route("/signpost/v1/evaluators/evidence", get(evaluators::evidence))
        .route("/signpost/v1/evaluators/usage", get(evaluators::usage))
        .route("/signpost/v1/applicants", get(joining::applicants))
        .route("/signpost/v1/confirm-restored", post(admin::confirm_restored));
    // Layers run from the last to the first.
    let protected = Router::new()
        .merge(fhir)
        .merge(own)
        .fallback(guard::unknown_path)
        .method_not_allowed_fallback(guard::unknown_method)
        .layer(slots(REQUESTS_MAX))
        .layer(middleware::from_fn_with_state(state.clone(), guard::authenticated));
    // Probes answer whoever asks, and also when every slot is taken.
    let probes = Router::new()
        .route("/healthz", get(admin::healthz))
        .route("/readyz", get(admin::readyz))
        .route("/metrics", get(metrics::metrics))
        .method_not_allowed_fallback(guard::unknown_method);
    protected.merge(probes).layer(middleware::from_fn(guard::observed)).with_state(state)
}
