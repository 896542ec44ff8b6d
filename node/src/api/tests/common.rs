//! What is common to all requests: token, paths, methods, formats, request ids, probes.

use std::sync::Arc;

use axum::{body::Body, http::Request};
use serde_json::json;
use tokio::sync::oneshot;

use crate::{
    api::testing::{
        Api, OTHER_TOKEN, RESOURCE, SERVED, TOKEN, located, resource, search, with_handle,
    },
    core::local::{
        Confirmation, EvaluatorsStatus, InviteError, JoinCeremonyError, LocalReply, LocalRequest,
        NotAdmitted, Page, ReadError, RosterStatus, StatusReport,
    },
    handle::NodeHandle,
};

pub(super) fn report(ready: bool) -> StatusReport {
    StatusReport {
        network_name: "test".into(),
        network: "00".into(),
        serves: Vec::new(),
        node: "00".into(),
        peers: Vec::new(),
        evaluators: EvaluatorsStatus {
            threshold: 1,
            members: Vec::new(),
            connected: Vec::new(),
            dealt: true,
            ..EvaluatorsStatus::default()
        },
        roster: RosterStatus {
            epoch: 0,
            stewards: Vec::new(),
            threshold: 1,
            digest: "00".into(),
            heard_of: "2026-01-01T00:00:00Z".into(),
            expiry: "fresh".into(),
            hours_to_no_governance: 336.0,
            hours_to_no_disclosure: 720.0,
            findings: 0,
            shared: true,
            key_void: false,
        },
        ready,
        notices: vec!["a notice".into()],
        clock_offset: None,
    }
}

#[tokio::test]
async fn only_the_token_opens_the_api() {
    let api = Api::unasked();
    for shown in
        ["", "Bearer", "Bearer wrong-token-wrong-token", "Basic a-token-that-only-tests-use"]
    {
        for path in ["/fhir/R4/metadata", RESOURCE, "/signpost/v1/status", "/nothing"] {
            let reply = api.send("GET", path, &[("authorization", shown)], "").await;
            reply.refused(401, "login");
            assert_eq!(reply.header("www-authenticate"), "Bearer");
        }
    }
    let none = Request::builder().uri("/fhir/R4/metadata").body(Body::empty()).unwrap();
    api.raw(none).await.refused(401, "login");
    let twice = Request::builder()
        .uri("/fhir/R4/metadata")
        .header("authorization", format!("Bearer {TOKEN}"));
    let twice = twice.header("authorization", "Bearer x").body(Body::empty()).unwrap();
    api.raw(twice).await.refused(401, "login");

    let lower = format!("bearer {TOKEN}");
    let reply = api.send("GET", "/fhir/R4/metadata", &[("authorization", &lower)], "").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["resourceType"], "CapabilityStatement");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_apart() {
    let api = Api::unasked();
    for path in [
        "/",
        "/fhir/R4",
        "/fhir/R4/Patient",
        "/fhir/R4/DocumentReference/",
        "/fhir/R4/DocumentReference/RX1-1/_history/1",
    ] {
        api.get(path).await.refused(404, "not-found");
    }
    for (method, path, allowed) in [
        ("DELETE", RESOURCE, "GET,HEAD,POST"),
        ("GET", "/fhir/R4/DocumentReference/_search", "POST"),
        ("PATCH", "/fhir/R4/DocumentReference/RX1-1", "GET,HEAD,PUT,DELETE"),
        ("OPTIONS", "/fhir/R4/metadata", "GET,HEAD"),
        ("GET", "/signpost/v1/import", "POST"),
        ("POST", "/healthz", "GET,HEAD"),
    ] {
        let reply = api.send(method, path, &[], "").await;
        reply.refused(405, "not-supported");
        let mut known: Vec<_> = reply.header("allow").split(',').collect();
        let mut expected: Vec<_> = allowed.split(',').collect();
        known.sort_unstable();
        expected.sort_unstable();
        assert_eq!(known, expected, "{method} {path}");
    }
}

#[tokio::test]
async fn json_is_served_and_nothing_else() {
    let api = Api::new(|_| located(Vec::new()));
    for accept in [
        "application/fhir+json",
        "application/json",
        "*/*",
        "application/*;q=0.1",
        "application/xml, application/fhir+json; fhirVersion=4.0",
        "",
    ] {
        let reply = api.send("GET", &search(""), &[("accept", accept)], "").await;
        assert_eq!(reply.status, 200, "{accept}");
        assert_eq!(reply.header("content-type"), "application/fhir+json; charset=utf-8");
    }
    for accept in [
        "application/xml",
        "text/html",
        "application/json;q=0",
        "application/fhir+xml, text/turtle",
    ] {
        api.send("GET", &search(""), &[("accept", accept)], "").await.refused(406, "not-supported");
    }
    for (format, status) in [
        ("json", 200),
        ("application/fhir+json", 200),
        ("application%2Fjson", 200),
        ("xml", 406),
        ("", 406),
    ] {
        let reply = api.get(&search(&format!("&_format={format}"))).await;
        assert_eq!(reply.status, status, "{format}");
    }
    let overridden = [("accept", "application/xml")];
    assert_eq!(api.send("GET", &search("&_format=json"), &overridden, "").await.status, 200);
}

#[tokio::test]
async fn bodies_of_another_kind_are_refused() {
    let api = Api::unasked();
    for content_type in
        ["text/plain", "application/xml", "application/fhir+json; charset=latin1", ""]
    {
        let headers = [("content-type", content_type)];
        api.send("POST", RESOURCE, &headers, resource().to_string())
            .await
            .refused(415, "not-supported");
        api.send("PUT", "/fhir/R4/DocumentReference/RX1-1", &headers, "{}")
            .await
            .refused(415, "not-supported");
        api.send("POST", "/signpost/v1/import", &headers, "{}").await.refused(415, "not-supported");
    }
    let form = [("content-type", "application/json")];
    api.send("POST", "/fhir/R4/DocumentReference/_search", &form, "{}")
        .await
        .refused(415, "not-supported");
}

#[tokio::test]
async fn well_formed_request_ids_come_back() {
    let api = Api::unasked();
    let id = "60e0b220-8136-4ca5-ae46-1d97ef59d068";
    let reply = api
        .send("GET", "/fhir/R4/metadata", &[("x-request-id", id), ("x-correlation-id", "a.b")], "")
        .await;
    assert_eq!((reply.header("x-request-id"), reply.header("x-correlation-id")), (id, "a.b"));
    let long = "a".repeat(65);
    for other in ["<script>", "a b", &long, ""] {
        let reply = api.send("GET", "/nothing", &[("x-request-id", other)], "").await;
        assert!(!reply.headers.contains_key("x-request-id"), "{other}");
    }
}

#[tokio::test]
async fn probes_need_no_token_and_tell_ready_from_not() {
    let mut ready = false;
    let api = Api::new(move |_| {
        ready = !ready;
        LocalReply::Status(Box::new(report(ready)))
    });
    let anonymous = [("authorization", "")];
    assert_eq!(api.send("GET", "/healthz", &anonymous, "").await.status, 200);
    let reply = api.send("GET", "/readyz", &anonymous, "").await;
    let told = reply.json();
    assert_eq!((reply.status.as_u16(), &told["ready"]), (200, &json!(true)));
    assert_eq!(told["notices"], json!(["a notice"]));
    assert_eq!(told["roster"]["hours_to_no_governance"], 336.0);
    let reply = api.send("GET", "/readyz", &anonymous, "").await;
    assert_eq!((reply.status.as_u16(), &reply.json()["ready"]), (503, &json!(false)));
}

#[tokio::test]
async fn status_and_confirmation_are_passed_on() {
    let api = Api::new(|request| match request {
        crate::core::local::LocalRequest::Status => LocalReply::Status(Box::new(report(true))),
        _ => LocalReply::ConfirmRestored(Confirmation::Done),
    });
    assert_eq!(api.get("/signpost/v1/status").await.json()["network_name"], "test");
    let reply = api.send("POST", "/signpost/v1/confirm-restored", &[], "").await;
    assert_eq!(reply.json(), json!({"confirmed": true}));
}

#[tokio::test]
async fn a_node_whose_core_is_gone_says_so() {
    let (handle, calls) = NodeHandle::channel(&SERVED);
    drop(calls);
    let request = |path: &str| {
        let request =
            Request::builder().uri(path).header("authorization", format!("Bearer {TOKEN}"));
        request.body(Body::empty()).unwrap()
    };
    use tower::ServiceExt as _;
    for path in [search(""), "/readyz".to_owned(), "/signpost/v1/status".to_owned()] {
        let response = with_handle(handle.clone()).oneshot(request(&path)).await.unwrap();
        assert_eq!(response.status(), 503, "{path}");
    }
    let response = with_handle(handle).oneshot(request("/healthz")).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn requests_beyond_the_bound_are_sent_away_and_probes_are_not() {
    let (handle, mut calls) = NodeHandle::channel(&SERVED);
    let router = with_handle(handle);
    let api = Arc::new(router);
    let mut waiting = Vec::new();
    let mut held: Vec<oneshot::Sender<LocalReply>> = Vec::new();
    use tower::ServiceExt as _;
    let request = || {
        let request =
            Request::builder().uri(search("")).header("authorization", format!("Bearer {TOKEN}"));
        request.body(Body::empty()).unwrap()
    };
    for _ in 0..crate::api::REQUESTS_MAX {
        waiting.push(tokio::spawn((*api).clone().oneshot(request())));
        held.push(calls.recv().await.unwrap().reply);
    }
    let refused = (*api).clone().oneshot(request()).await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    let probe = Request::builder().uri("/healthz").body(Body::empty()).unwrap();
    assert_eq!((*api).clone().oneshot(probe).await.unwrap().status(), 200);
    for reply in held {
        let _ = reply.send(located(Vec::new()));
    }
    for request in waiting {
        assert_eq!(request.await.unwrap().unwrap().status(), 200);
    }
    let again = tokio::spawn((*api).clone().oneshot(request()));
    let _ = calls.recv().await.unwrap().reply.send(located(Vec::new()));
    assert_eq!(again.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn nothing_of_the_patient_is_logged() {
    #[derive(Clone, Default)]
    struct Log(Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        // The digits of a time could be taken for those of a number.
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);

    let api = Api::new(|_| located(Vec::new()));
    api.get(&search("")).await;
    api.get(&format!("{RESOURCE}?9990000018=9990000018")).await;
    api.get("/fhir/R4/Patient/9990000018").await;
    api.get("/fhir/R4/DocumentReference/9990000018").await;
    api.send("9990000018", RESOURCE, &[("x-request-id", "9990000018")], "").await;
    let planted = resource().to_string().replace("records/1", "records/9990000018");
    api.send("POST", RESOURCE, &[("content-type", "application/json")], planted).await;

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("/fhir/R4/DocumentReference/{id}"), "the log is looked at: {text}");
    assert_eq!(text.lines().count(), 6, "{text}");
    assert!(!text.contains("999"), "{text}");
}

#[tokio::test]
async fn the_token_decides_on_whose_behalf_a_request_is_made() {
    let api = Api::new(|request| match request {
        LocalRequest::Locate(_) => located(Vec::new()),
        LocalRequest::Status => LocalReply::Status(Box::new(report(true))),
        LocalRequest::ConfirmRestored => LocalReply::ConfirmRestored(Confirmation::Done),
        LocalRequest::SourceIds { .. } => {
            LocalReply::SourceIds(Ok(Page { items: Vec::new(), next: None }))
        }
        LocalRequest::Export { .. } => {
            LocalReply::Export(Ok(Page { items: Vec::new(), next: None }))
        }
        LocalRequest::Read(request) => LocalReply::Read(Err(ReadError::NotFound(request.id))),
        LocalRequest::Rehearse(_) | LocalRequest::Write(_) => LocalReply::Write(Vec::new()),
        LocalRequest::Invite { .. } => LocalReply::Invite(Err(InviteError::NoAddress)),
        LocalRequest::Applicants => LocalReply::Applicants(Ok(Vec::new())),
        LocalRequest::RosterFile => LocalReply::RosterFile(Vec::new()),
        LocalRequest::SubmitStatements(_) => LocalReply::SubmitStatements(Vec::new()),
        LocalRequest::Usage => LocalReply::Usage(Ok(Vec::new())),
        LocalRequest::Evidence => LocalReply::Evidence(Vec::new()),
        LocalRequest::JoinCeremony(_) => LocalReply::JoinCeremony(Err(JoinCeremonyError::Unknown)),
    });
    let requests = [
        ("GET", search("")),
        ("GET", format!("{RESOURCE}/RX1-7")),
        ("DELETE", format!("{RESOURCE}/RX1-7")),
        ("GET", "/signpost/v1/status".to_owned()),
        ("GET", "/signpost/v1/export".to_owned()),
        ("GET", "/signpost/v1/sources/PAS/ids".to_owned()),
        ("POST", "/signpost/v1/confirm-restored".to_owned()),
        ("GET", "/signpost/v1/applicants".to_owned()),
        ("GET", "/signpost/v1/evaluators/evidence".to_owned()),
        ("GET", "/signpost/v1/evaluators/usage".to_owned()),
    ];
    for (method, path) in &requests {
        for token in [TOKEN, OTHER_TOKEN] {
            let bearer = format!("Bearer {token}");
            api.send(method, path, &[("authorization", &bearer)], "").await;
        }
    }
    let expected: Vec<_> = std::iter::repeat_n(SERVED, requests.len()).flatten().collect();
    assert_eq!(api.asking(), expected);
    // Two tokens at once are none.
    let two = [TOKEN, OTHER_TOKEN].map(|token| format!("Bearer {token}"));
    let both = [("authorization", &*two[0]), ("authorization", &*two[1])];
    api.send("GET", &search(""), &both, "").await.refused(401, "login");
}

#[tokio::test]
async fn an_organization_that_is_not_admitted_is_told_so() {
    let refusal = || NotAdmitted {
        ods: "RX1".parse().unwrap(),
        name: "Royal Example".into(),
        standing: "is suspended from the network",
    };
    let api = Api::new(move |request| match request {
        LocalRequest::Locate(_) => LocalReply::Locate(Err(refusal().into())),
        LocalRequest::Read(_) => LocalReply::Read(Err(refusal().into())),
        _ => LocalReply::Write(vec![Err(refusal().into())]),
    });
    let replies = [
        api.get(&search("")).await,
        api.get(&format!("{RESOURCE}/RX2-7")).await,
        api.send_resource("POST", RESOURCE, &[], &resource()).await,
    ];
    for reply in replies {
        let outcome = reply.refused(403, "forbidden");
        let issue = &outcome["issue"][0];
        assert_eq!(issue["details"]["coding"][0]["code"], "not-admitted");
        let said = issue["diagnostics"].as_str().unwrap();
        assert!(said.starts_with("Royal Example (RX1) is suspended from the network"), "{said}");
    }
}
