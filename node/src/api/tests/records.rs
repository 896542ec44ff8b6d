//! Reading and writing single DocumentReferences.

use serde_json::{Value, json};
use signpost_protocol::{PatientIdentifier, PointerState, Timestamp};

use crate::{
    api::testing::{Api, NUMBER, PATIENT, RESOURCE, pointer, pointer_of, resource},
    core::local::{
        Effect, FoundPointer, LocalReply, LocalRequest, LocateError, NewId, ReadError, ReadPointer,
        Write, WriteError, Written,
    },
};

const ONE: &str = "/fhir/R4/DocumentReference/RX1-1";

fn written(effect: Effect) -> LocalReply {
    let id = "RX1-1".parse().unwrap();
    let issued = Timestamp(1_764_000_000_000);
    LocalReply::Write(vec![Ok(Written { id, version: 4, issued, listed: true, effect })])
}

fn refusing(error: WriteError) -> Api {
    Api::new(move |_| LocalReply::Write(vec![Err(error.clone())]))
}

fn reading(found: FoundPointer, subject: Option<PatientIdentifier>) -> Api {
    Api::new(move |_| LocalReply::Read(Ok(ReadPointer { found: found.clone(), subject })))
}

fn write_of(api: &Api) -> Write {
    match api.asked().pop() {
        Some(LocalRequest::Write(mut writes)) if writes.len() == 1 => writes.remove(0),
        other => panic!("no single write but {other:?}"),
    }
}

fn with_id() -> Value {
    let mut resource = resource();
    resource["id"] = "RX1-1".into();
    resource
}

#[tokio::test]
async fn a_pointer_is_read_with_its_version() {
    let patient = crate::fhir::identifier::Token::list(PATIENT)[0].patient().unwrap();
    let reply = reading(pointer("RX1-1", |_| {}), Some(patient)).get(ONE).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("etag"), "W/\"3\"");
    assert_eq!(reply.header("last-modified"), "Mon, 24 Nov 2025 16:00:00 GMT");
    assert_eq!(reply.json()["subject"]["identifier"]["value"], NUMBER);

    let masked = reading(pointer("RX1-1", |_| {}), None).get(ONE).await;
    assert_eq!(masked.json()["subject"]["extension"][0]["valueCode"], "masked");
    assert!(!masked.text.contains("999"), "{}", masked.text);
}

#[tokio::test]
async fn what_cannot_be_read_is_told_apart() {
    let mut tombstone = pointer_of("RX1-1", b"");
    tombstone.pointer.state = PointerState::Tombstone;
    let reply = reading(tombstone, None).get(ONE).await;
    reply.refused(410, "deleted");
    assert_eq!(reply.header("etag"), "W/\"3\"");
    reading(pointer_of("RX1-1", b"[]"), None).get(ONE).await.refused(502, "exception");

    let api = Api::new(|_| LocalReply::Read(Err(ReadError::NotFound("RX1-1".parse().unwrap()))));
    api.get(ONE).await.refused(404, "not-found");
    let api = Api::new(|_| {
        let (name, reason) = ("Example Care".to_owned(), "it does not answer".to_owned());
        LocalReply::Read(Err(ReadError::HolderDown { ods: "RX1".parse().unwrap(), name, reason }))
    });
    let reply = api.get(ONE).await;
    assert!(reply.refused(503, "transient").to_string().contains("Example Care (RX1)"));
    assert_eq!(reply.header("retry-after"), "5");
    for (error, status, code) in [
        (ReadError::Busy("much to do"), 503, "throttled"),
        (ReadError::Storage("disk".into()), 500, "no-store"),
    ] {
        let api = Api::new(move |_| LocalReply::Read(Err(error.clone())));
        api.get(ONE).await.refused(status, code);
    }
    let unasked = Api::unasked();
    for id in ["9990000018", "rx1-1", "RX1-", "RX1-%ff", "RX1-a%20b"] {
        unasked.get(&format!("{RESOURCE}/{id}")).await.refused(404, "not-found");
    }
}

#[tokio::test]
async fn a_created_pointer_comes_back_with_its_place() {
    let api = Api::new(|_| written(Effect::Created));
    let host = [("host", "127.0.0.1:7700")];
    let reply = api.send_resource("POST", RESOURCE, &host, &with_id()).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    assert_eq!(reply.header("location"), "http://127.0.0.1:7700/fhir/R4/DocumentReference/RX1-1");
    assert_eq!(reply.header("etag"), "W/\"4\"");
    assert_eq!(reply.header("last-modified"), "Mon, 24 Nov 2025 16:00:00 GMT");
    let shown = reply.json();
    assert_eq!((&shown["id"], &shown["meta"]["versionId"]), (&json!("RX1-1"), &json!("4")));
    assert_eq!(shown["subject"], resource()["subject"]);
    let Write::Create { id: NewId::Random, draft } = write_of(&api) else {
        panic!("the id in the body was not ignored")
    };
    assert_eq!(draft.patient.expose_digits(), NUMBER);

    let mut odd = resource();
    odd["id"] = json!(7);
    assert_eq!(api.send_resource("POST", RESOURCE, &host, &odd).await.status, 201);
}

#[tokio::test]
async fn a_write_answers_with_what_was_preferred() {
    let api = Api::new(|_| written(Effect::Created));
    let minimal = [("prefer", "return=minimal")];
    let reply = api.send_resource("POST", RESOURCE, &minimal, &resource()).await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (201, ""));
    assert!(!reply.header("location").is_empty());
    let outcome = [("prefer", "return=OperationOutcome")];
    let reply = api.send_resource("POST", RESOURCE, &outcome, &resource()).await;
    assert_eq!(reply.json()["issue"][0]["details"]["coding"][0]["code"], "created");
    let full = [("prefer", "return=representation")];
    let reply = api.send_resource("POST", RESOURCE, &full, &resource()).await;
    assert_eq!(reply.json()["resourceType"], "DocumentReference");
}

#[tokio::test]
async fn an_update_names_the_version_that_it_changes() {
    let api = Api::new(|_| written(Effect::Updated));
    let reply = api.send_resource("PUT", ONE, &[("if-match", "W/\"3\"")], &with_id()).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(reply.header("etag"), "W/\"4\"");
    let Write::Update { id, if_match, .. } = write_of(&api) else { panic!("no update") };
    assert_eq!((id.as_str(), if_match), ("RX1-1", Some(3)));
    assert_eq!(api.send_resource("PUT", ONE, &[], &with_id()).await.status, 200);
    assert!(matches!(write_of(&api), Write::Update { if_match: None, .. }));

    let unasked = Api::unasked();
    unasked
        .send_resource("PUT", ONE, &[("if-match", "3")], &with_id())
        .await
        .refused(400, "invalid");
    unasked.send_resource("PUT", ONE, &[], &resource()).await.refused(400, "invalid");
    let other = "/fhir/R4/DocumentReference/RX1-2";
    unasked.send_resource("PUT", other, &[], &with_id()).await.refused(400, "invalid");
}

#[tokio::test]
async fn a_delete_says_nothing_unless_asked_to() {
    let api = Api::new(|_| written(Effect::Deleted));
    let reply = api.send("DELETE", ONE, &[("if-match", "W/\"3\"")], "").await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (204, ""));
    assert_eq!(reply.header("etag"), "W/\"4\"");
    assert!(matches!(write_of(&api), Write::Delete { if_match: Some(3), .. }));
    let reply = api.send("DELETE", ONE, &[("prefer", "return=OperationOutcome")], "").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["resourceType"], "OperationOutcome");
    let unasked = Api::unasked();
    unasked.send("DELETE", ONE, &[("if-match", "x")], "").await.refused(400, "invalid");
}

#[tokio::test]
async fn each_reason_against_a_write_has_its_status() {
    let id = || "RX1-1".parse().unwrap();
    let ods = || "RX9".parse().unwrap();
    let too_few = || LocateError::TooFewEvaluators { reached: 0, needed: 1, detail: String::new() };
    let cases = [
        (WriteError::NotServed { ods: ods(), served: ods() }, 403, "forbidden"),
        (WriteError::OtherServed { ods: ods(), asking: ods() }, 403, "forbidden"),
        (WriteError::IdPrefix { ods: ods() }, 422, "business-rule"),
        (WriteError::Exists(id()), 409, "duplicate"),
        (WriteError::NotFound(id()), 404, "not-found"),
        (WriteError::Gone(id()), 410, "deleted"),
        (WriteError::VersionMismatch { id: id(), current: 4, expected: 3 }, 412, "conflict"),
        (WriteError::SubjectChanged(id()), 422, "business-rule"),
        (WriteError::Blinding(too_few()), 503, "transient"),
        (WriteError::CannotSign("the clock is wrong"), 503, "transient"),
        (WriteError::Busy("much to do"), 503, "throttled"),
        (WriteError::Storage("disk".into()), 500, "no-store"),
    ];
    for (error, status, code) in cases {
        let api = refusing(error);
        let reply = api.send_resource("PUT", ONE, &[], &with_id()).await;
        reply.refused(status, code);
        assert_eq!(reply.headers.contains_key("retry-after"), status == 503, "{status}");
        api.send("DELETE", ONE, &[], "").await.refused(status, code);
    }
    let silent = Api::new(|_| LocalReply::Write(Vec::new()));
    silent.send("DELETE", ONE, &[], "").await.refused(500, "no-store");
}

#[tokio::test]
async fn bad_bodies_are_refused_before_the_core_is_asked() {
    let api = Api::unasked();
    let json = [("content-type", "application/json")];
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let twice = resource().to_string().replacen('{', "{\"subject\":{},", 1);
    for body in [
        "",
        "{",
        "\"9990000018\"",
        "{\"resourceType\":\"Patient\",\"id\":\"9990000018\"}",
        &deep,
        &twice,
    ] {
        for method in ["POST", "PUT"] {
            let path = if method == "POST" { RESOURCE } else { ONE };
            let body = body.to_owned();
            api.send(method, path, &json, body).await.refused(400, "structure");
        }
    }
    let change = |pointer: &str, value: Value| {
        let mut resource = resource();
        *resource.pointer_mut(pointer).unwrap() = value;
        resource
    };
    for (resource, code, expression) in [
        (change("/subject/identifier/value", json!("9990000019")), "value", "subject.identifier"),
        (change("/subject/identifier/system", json!("urn:x")), "value", "subject.identifier"),
        (change("/status", json!("draft")), "code-invalid", "status"),
        (change("/content", json!([])), "required", "content"),
        (
            change("/content/0/attachment/url", json!("https://t.example/9990000018")),
            "business-rule",
            "content[0].attachment.url",
        ),
    ] {
        let reply = api.send_resource("POST", RESOURCE, &[], &resource).await;
        let outcome = reply.refused(422, code);
        assert_eq!(outcome["issue"][0]["expression"][0], format!("DocumentReference.{expression}"));
    }
    let long = change("/content/0/attachment/url", json!("a".repeat(13_000)));
    api.send_resource("POST", RESOURCE, &[], &long).await.refused(422, "too-long");
    let too_long = "x".repeat(1024 * 1024 + 1);
    api.send("POST", RESOURCE, &json, too_long).await.refused(413, "too-long");
}
