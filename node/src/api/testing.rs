//! For tests: the API with a scripted core behind it.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use serde_json::{Value, json};
use signpost_protocol::{
    KeyEpoch, Locator, OrganizationId, Pointer, PointerState, Timestamp, codec::ByteString,
};
use tower::ServiceExt as _;

use super::{ApiState, ApiTokens, Settings, router};
use crate::{
    config,
    core::local::{FoundPointer, LocalReply, LocalRequest, Located},
    handle::NodeHandle,
};

pub(super) const TOKEN: &str = "a-token-that-only-tests-use";
/// The token of the other organization that the node serves.
pub(super) const OTHER_TOKEN: &str = "another-token-of-another-organization";
/// The organizations that the node serves: of [`TOKEN`], and of [`OTHER_TOKEN`].
pub(super) const SERVED: [OrganizationId; 2] = [OrganizationId([1; 32]), OrganizationId([2; 32])];
pub(super) const NUMBER: &str = "9990000018";
pub(super) const PATIENT: &str = "https://fhir.nhs.uk/Id/nhs-number|9990000018";
pub(super) const RESOURCE: &str = "/fhir/R4/DocumentReference";

/// The API, and what its core was asked.
pub(super) struct Api {
    router: Router,
    asked: Arc<Mutex<Vec<(OrganizationId, LocalRequest)>>>,
}

/// A reply as a test looks at it.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Api {
    /// An API whose core replies what `script` says.
    pub(super) fn new(mut script: impl FnMut(LocalRequest) -> LocalReply + Send + 'static) -> Self {
        let (handle, mut calls) = NodeHandle::channel(&SERVED);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Some(call) = calls.recv().await {
                log.lock().unwrap().push((call.asking, call.request.clone()));
                let _ = call.reply.send(script(call.request));
            }
        });
        Self { router: with_handle(handle), asked }
    }

    /// An API whose core must not be asked.
    pub(super) fn unasked() -> Self {
        Self::new(|request| panic!("the core was asked {request:?}"))
    }

    pub(super) fn router(&self) -> Router {
        self.router.clone()
    }

    /// What the core was asked, in order.
    pub(super) fn asked(&self) -> Vec<LocalRequest> {
        self.asked.lock().unwrap().iter().map(|(_, request)| request.clone()).collect()
    }

    /// On whose behalf the core was asked, in order.
    pub(super) fn asking(&self) -> Vec<OrganizationId> {
        self.asked.lock().unwrap().iter().map(|(asking, _)| *asking).collect()
    }

    /// Sends a request with the token and these headers.
    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", format!("Bearer {TOKEN}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.raw(request.body(body.into()).unwrap()).await
    }

    pub(super) async fn raw(&self, request: Request<Body>) -> Reply {
        let response = self.router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 16 * 1024 * 1024).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Reply { status: parts.status, headers: parts.headers, text }
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "").await
    }

    pub(super) async fn send_resource(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        resource: &Value,
    ) -> Reply {
        let headers = [&[("content-type", "application/fhir+json")], headers].concat();
        self.send(method, path, &headers, resource.to_string()).await
    }
}

pub(super) fn with_handle(handle: NodeHandle) -> Router {
    let tokens = ApiTokens::new(SERVED.into_iter().zip([TOKEN, OTHER_TOKEN])).unwrap();
    let settings = Settings::new(&config::Api::default()).unwrap();
    router(ApiState { handle, tokens, settings })
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e} in {}", self.text))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that this is an error of the right form that does not show the patient's number.
    #[track_caller]
    pub(super) fn refused(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/fhir+json; charset=utf-8");
        assert_eq!(self.header("cache-control"), "no-store");
        assert!(!self.text.contains("999"), "{}", self.text);
        let outcome = self.json();
        assert_eq!(outcome["resourceType"], "OperationOutcome");
        assert_eq!(outcome["issue"][0]["severity"], "error");
        assert_eq!(outcome["issue"][0]["code"], code, "{}", self.text);
        outcome
    }
}

/// A resource that the API accepts.
pub(super) fn resource() -> Value {
    json!({
        "resourceType": "DocumentReference",
        "status": "current",
        "type": {"coding": [{"system": "http://snomed.info/sct", "code": "736253002"}]},
        "category": [{"coding": [{"system": "http://snomed.info/sct", "code": "734163000"}]}],
        "subject": {"identifier": {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": NUMBER}},
        "custodian": {"identifier": {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "RX1"}},
        "content": [{"attachment": {"url": "https://trust.example/records/1"}}],
    })
}

/// A pointer of RX1 whose stored resource is that of [`resource`], changed by `change`.
pub(super) fn pointer(id: &str, change: impl FnOnce(&mut Value)) -> FoundPointer {
    let mut stored = resource();
    for name in ["status", "subject", "custodian"] {
        stored.as_object_mut().unwrap().remove(name);
    }
    change(&mut stored);
    pointer_of(id, stored.to_string().as_bytes())
}

pub(super) fn pointer_of(id: &str, resource: &[u8]) -> FoundPointer {
    let id: signpost_protocol::PointerId = id.parse().unwrap();
    FoundPointer {
        ods: id.ods_code(),
        name: "Royal Example".to_owned(),
        pointer: Pointer {
            id,
            version: 3,
            organization: OrganizationId([1; 32]),
            custodian_suffix: None,
            state: PointerState::Current,
            listed: true,
            key_epoch: KeyEpoch(1),
            locator: Locator([2; 32]),
            issued: Timestamp(1_764_000_000_000),
            resource: ByteString::new(resource.to_vec()).unwrap(),
        },
    }
}

pub(super) fn located(pointers: Vec<FoundPointer>) -> LocalReply {
    let completeness = Default::default();
    LocalReply::Locate(Ok(Located { pointers, completeness, asked: 1, cached: false }))
}

/// The search for [`PATIENT`] with further parameters.
pub(super) fn search(more: &str) -> String {
    let patient =
        percent_encoding::utf8_percent_encode(PATIENT, percent_encoding::NON_ALPHANUMERIC);
    format!("{RESOURCE}?subject:identifier={patient}{more}")
}
