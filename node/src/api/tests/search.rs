//! Searches: who is asked for, what is filtered, and that a result never looks complete when it is not.

use serde_json::{Value, json};
use signpost_protocol::{PointerState, Timestamp};

use crate::{
    api::testing::{Api, NUMBER, PATIENT, RESOURCE, located, pointer, pointer_of, search},
    core::{
        completeness::{Cause, CauseKind, Completeness},
        local::{LocalReply, LocalRequest, LocateError, LocateRequest, Located},
    },
};

fn locate_of(api: &Api) -> LocateRequest {
    match api.asked().pop() {
        Some(LocalRequest::Locate(request)) => request,
        other => panic!("no look-up but {other:?}"),
    }
}

fn partial(pointers: Vec<crate::core::local::FoundPointer>) -> LocalReply {
    let mut completeness = Completeness::default();
    completeness.add(Cause {
        kind: CauseKind::Unreachable,
        organization: Some(("RX2".parse().unwrap(), "Example Care".into())),
        since: Some(Timestamp(1_764_000_000_000)),
        detail: "it did not answer".into(),
    });
    LocalReply::Locate(Ok(Located { pointers, completeness, asked: 2, cached: true }))
}

#[tokio::test]
async fn a_search_finds_pointers_and_puts_the_patient_back() {
    let api = Api::new(|_| located(vec![pointer("RX1-1", |_| {}), pointer("RX2-2", |_| {})]));
    let reply = api.send("GET", &search(""), &[("host", "node.example:7700")], "").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("signpost-completeness"), "complete");
    assert_eq!(reply.header("cache-control"), "no-store");
    let bundle = reply.json();
    assert_eq!((&bundle["type"], &bundle["total"]), (&json!("searchset"), &json!(2)));
    assert_eq!(
        bundle["link"][0]["url"],
        "http://node.example:7700/fhir/R4/DocumentReference?subject:identifier=https%3A%2F%2Ffhir.nhs.uk%2FId%2Fnhs-number%7C9990000018"
    );
    let entry = &bundle["entry"][1];
    assert_eq!(entry["fullUrl"], "http://node.example:7700/fhir/R4/DocumentReference/RX2-2");
    assert_eq!(entry["search"]["mode"], "match");
    assert_eq!(entry["resource"]["subject"]["identifier"]["value"], NUMBER);
    assert_eq!(entry["resource"]["custodian"]["identifier"]["value"], "RX2");
    assert_eq!(entry["resource"]["meta"]["versionId"], "3");
    assert!(bundle["entry"].as_array().unwrap().iter().all(|e| e["search"]["mode"] != "outcome"));
    assert_eq!(locate_of(&api).patient.expose_digits(), NUMBER);
}

#[tokio::test]
async fn the_patient_may_be_named_in_three_ways_and_by_form() {
    let api = Api::new(|_| located(Vec::new()));
    for name in ["subject:identifier", "patient:identifier", "patient.identifier"] {
        let value = PATIENT.replace("9990000018", "999+000+0018");
        let reply = api.get(&format!("{RESOURCE}?{name}={value}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert_eq!(locate_of(&api).patient.expose_digits(), NUMBER);
        assert!(reply.json()["link"][0]["url"].as_str().unwrap().contains(&format!("?{name}=")));
    }
    let form = [("content-type", "application/x-www-form-urlencoded; charset=UTF-8")];
    let path = format!("{RESOURCE}/_search?status=current");
    let reply = api.send("POST", &path, &form, format!("subject%3Aidentifier={PATIENT}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let link = reply.json()["link"][0]["url"].as_str().unwrap().to_owned();
    assert!(link.contains("status=current&subject:identifier="), "{link}");
    let long = "a".repeat(100_000);
    api.send("POST", &path, &form, long).await.refused(413, "too-long");
}

#[tokio::test]
async fn a_search_without_exactly_one_valid_patient_is_refused() {
    let api = Api::unasked();
    let other = "https://fhir.nhs.uk/Id/nhs-number|9990000026";
    for (query, code) in [
        (String::new(), "required"),
        ("type=x".to_owned(), "required"),
        ("subject:identifier=".to_owned(), "required"),
        (format!("subject:identifier={PATIENT}&patient.identifier={PATIENT}"), "required"),
        (format!("subject:identifier={PATIENT}&subject:identifier={other}"), "required"),
        (format!("subject:identifier={PATIENT},{other}"), "required"),
        ("subject=Patient/9990000018".to_owned(), "required"),
        (format!("subject:identifier={PATIENT}&patient=Patient/1"), "required"),
        (format!("subject.name=x&subject:identifier={PATIENT}"), "required"),
        ("subject:identifier=9990000018".to_owned(), "invalid"),
        ("subject:identifier=urn:x|9990000018".to_owned(), "invalid"),
        (PATIENT.replace("https", "subject:identifier=https").replace("0018", "0019"), "invalid"),
        (format!("subject:identifier={PATIENT}x"), "invalid"),
        (format!("subject:identifier={PATIENT}&a=%ff"), "invalid"),
    ] {
        api.get(&format!("{RESOURCE}?{query}")).await.refused(400, code);
    }
    let many = "&a=b".repeat(80);
    api.get(&search(&many)).await.refused(400, "invalid");
}

#[tokio::test]
async fn filters_narrow_what_is_shown() {
    let api = Api::new(|_| {
        let mut superseded = pointer("RX1-3", |_| {});
        superseded.pointer.state = PointerState::Superseded;
        let mut tombstone = pointer("RX1-4", |_| {});
        tombstone.pointer.state = PointerState::Tombstone;
        let other_type = |r: &mut Value| r["type"]["coding"][0]["code"] = "861421000000109".into();
        let odd = |r: &mut Value| {
            r["type"] = json!("x");
            r["category"] = json!({});
        };
        located(vec![
            pointer("RX1-1", |_| {}),
            pointer("RX2-2", other_type),
            superseded,
            tombstone,
            pointer("RX2-5", odd),
        ])
    });
    let snomed = "http://snomed.info/sct";
    for (filter, ids) in [
        ("".to_owned(), &["RX1-1", "RX2-2", "RX1-3", "RX2-5"][..]),
        (format!("&type={snomed}|736253002"), &["RX1-1", "RX1-3"]),
        ("&type=736253002,861421000000109".to_owned(), &["RX1-1", "RX2-2", "RX1-3"]),
        ("&type=736253002&type=861421000000109".to_owned(), &[]),
        (format!("&type={snomed}|"), &["RX1-1", "RX2-2", "RX1-3"]),
        ("&type=urn:x|736253002".to_owned(), &[]),
        ("&category=734163000".to_owned(), &["RX1-1", "RX2-2", "RX1-3"]),
        ("&category=1".to_owned(), &[]),
        ("&status=current".to_owned(), &["RX1-1", "RX2-2", "RX2-5"]),
        ("&status=current,superseded&status=superseded".to_owned(), &["RX1-3"]),
        (
            "&custodian:identifier=https://fhir.nhs.uk/Id/ods-organization-code|RX2".to_owned(),
            &["RX2-2", "RX2-5"],
        ),
        ("&custodian:identifier=RX2.7".to_owned(), &[]),
        ("&type=".to_owned(), &["RX1-1", "RX2-2", "RX1-3", "RX2-5"]),
    ] {
        let bundle = api.get(&search(&filter)).await.json();
        let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
        let found: Vec<_> = entries.iter().map(|e| e["resource"]["id"].as_str().unwrap()).collect();
        assert_eq!(found, ids, "{filter}");
        assert_eq!(bundle["total"], ids.len(), "{filter}");
    }
    for filter in [
        "&status=draft",
        "&status=urn:x|current",
        "&status=,",
        "&custodian:identifier=rx2",
        "&custodian:identifier=urn:x|RX2",
        "&custodian=Organization/1",
        "&type:not=1",
        "&_summary=text",
        "&category:in=1",
    ] {
        api.get(&search(filter)).await.refused(400, "invalid");
    }
}

#[tokio::test]
async fn one_custodian_is_asked_directly_and_several_are_refused() {
    let api = Api::new(|_| located(Vec::new()));
    for (filter, asked) in [
        ("", None),
        ("&custodian:identifier=RX1", Some("RX1")),
        ("&custodian:identifier=RX1.001,RX1", Some("RX1")),
    ] {
        assert_eq!(api.get(&search(filter)).await.status, 200);
        assert_eq!(locate_of(&api).custodian.as_ref().map(|ods| ods.as_str()), asked, "{filter}");
    }
    // Completeness speaks of one organization or of all: of two it would have to say which.
    api.get(&search("&custodian:identifier=RX1,RX2")).await.refused(400, "invalid");
    // Ten digits can be an ODS code, and the disclosure record names it.
    let number = api.get(&search(&format!("&custodian:identifier={NUMBER}"))).await;
    number.refused(400, "invalid");
}

#[tokio::test]
async fn a_partial_result_says_so_in_every_form() {
    let api = Api::new(|_| partial(vec![pointer("RX1-1", |_| {})]));
    let reply = api.get(&search("")).await;
    assert_eq!(reply.header("signpost-completeness"), "partial");
    let bundle = reply.json();
    assert_eq!(bundle["total"], 1, "the outcome is no match");
    let outcome = &bundle["entry"][1];
    assert_eq!(outcome["search"]["mode"], "outcome");
    let issue = &outcome["resource"]["issue"][0];
    assert_eq!(issue["severity"], "warning");
    assert_eq!(
        issue["diagnostics"],
        "Example Care (RX2): it did not answer (since 2025-11-24T16:00:00.000Z)"
    );

    let reply = api.get(&search("&_summary=count")).await;
    assert_eq!(reply.header("signpost-completeness"), "partial");
    let bundle = reply.json();
    assert_eq!(bundle["total"], 1);
    assert_eq!(bundle["entry"].as_array().unwrap().len(), 1);
    assert_eq!(bundle["entry"][0]["search"]["mode"], "outcome");

    let head = api.send("HEAD", &search(""), &[], "").await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
    assert_eq!(head.header("signpost-completeness"), "partial");
}

#[tokio::test]
async fn a_complete_count_has_no_entries() {
    let api = Api::new(|_| located(vec![pointer("RX1-1", |_| {})]));
    let reply = api.get(&search("&_summary=count")).await;
    assert_eq!(reply.header("signpost-completeness"), "complete");
    let bundle = reply.json();
    assert_eq!(bundle["total"], 1);
    assert!(bundle.get("entry").is_none());
    assert!(bundle["link"][0]["url"].as_str().unwrap().ends_with("&_summary=count"));
}

#[tokio::test]
async fn a_holders_pointer_that_cannot_be_shown_makes_the_result_partial() {
    for hostile in
        [&b"{"[..], b"[]", b"\xff", b"{\"resourceType\":\"Patient\"}", &b"[".repeat(10_000)]
    {
        let hostile = hostile.to_vec();
        let api = Api::new(move |_| {
            located(vec![pointer_of("RX2-1", &hostile), pointer("RX1-1", |_| {})])
        });
        let reply = api.get(&search("")).await;
        assert_eq!(reply.header("signpost-completeness"), "partial");
        let bundle = reply.json();
        assert_eq!(
            (&bundle["total"], &bundle["entry"][0]["resource"]["id"]),
            (&json!(1), &json!("RX1-1"))
        );
        let outcome = bundle["entry"][1]["resource"].to_string();
        assert!(outcome.contains("answer-refused") && outcome.contains("RX2"), "{outcome}");
    }
}

#[tokio::test]
async fn a_holder_cannot_speak_for_another_patient_or_custodian() {
    let api = Api::new(|_| {
        located(vec![pointer("RX2-1", |r| {
            r["id"] = "RX1-1".into();
            r["subject"] = json!({"identifier": {"value": "9990000026"}});
            r["custodian"] = json!({"identifier": {"value": "RX1"}});
            r["contained"] = json!([{"resourceType": "Patient"}]);
        })])
    });
    let bundle = api.get(&search("")).await.json();
    let shown = &bundle["entry"][0]["resource"];
    assert_eq!(shown["id"], "RX2-1");
    assert_eq!(shown["subject"]["identifier"]["value"], NUMBER);
    assert_eq!(shown["custodian"]["identifier"]["value"], "RX2");
    assert!(shown.get("contained").is_none());
}

#[tokio::test]
async fn without_a_locator_there_is_no_bundle() {
    let api = Api::new(|_| {
        let detail = "RX4: does not answer".to_owned();
        LocalReply::Locate(Err(LocateError::TooFewEvaluators { reached: 2, needed: 3, detail }))
    });
    let reply = api.get(&search("")).await;
    let outcome = reply.refused(503, "transient");
    assert_eq!(reply.header("retry-after"), "5");
    assert!(outcome["issue"][0]["diagnostics"].as_str().unwrap().contains("2 of the 3"));
    assert_eq!(outcome["issue"][0]["details"]["coding"][0]["code"], "too-few-evaluators");

    let api = Api::new(|_| LocalReply::Locate(Err(LocateError::Busy("much to do"))));
    api.get(&search("")).await.refused(503, "throttled");
    let api = Api::new(|_| LocalReply::Locate(Err(LocateError::Storage("disk full".into()))));
    api.get(&search("")).await.refused(500, "no-store");
}

#[tokio::test]
async fn unknown_parameters_are_ignored_unless_the_caller_is_strict() {
    let api = Api::new(|_| located(Vec::new()));
    let reply = api.get(&search("&colour=red&_count=10&status=current")).await;
    assert_eq!(reply.status, 200);
    let link = reply.json()["link"][0]["url"].as_str().unwrap().to_owned();
    assert!(link.ends_with("&status=current") && !link.contains("colour"), "{link}");
    let strict = [("prefer", "handling=strict")];
    let outcome =
        api.send("GET", &search("&colour=red"), &strict, "").await.refused(400, "invalid");
    assert!(outcome.to_string().contains("colour"));
    api.send("GET", &search("&9990000018=1"), &strict, "").await.refused(400, "invalid");
    assert_eq!(api.send("GET", &search("&status=current"), &strict, "").await.status, 200);
}

#[tokio::test]
async fn the_caller_and_the_deadline_reach_the_core() {
    let api = Api::new(|_| located(Vec::new()));
    api.get(&search("")).await;
    let request = locate_of(&api);
    assert_eq!(
        (&*request.caller.purpose, &*request.caller.user, request.deadline),
        ("TREAT", "", 3000)
    );
    let headers = [
        ("signpost-purpose", "ETREAT"),
        ("signpost-user", "urn:uuid:1"),
        ("signpost-role", "nurse"),
        ("signpost-deadline", "50"),
    ];
    api.send("GET", &search(""), &headers, "").await;
    let request = locate_of(&api);
    let caller = &request.caller;
    assert_eq!((&*caller.purpose, &*caller.user, &*caller.role), ("ETREAT", "urn:uuid:1", "nurse"));
    assert_eq!(request.deadline, 50);

    let before = api.asked().len();
    let long = "a".repeat(65);
    for (name, value) in [
        ("signpost-deadline", "49"),
        ("signpost-deadline", "30001"),
        ("signpost-deadline", "soon"),
        ("signpost-deadline", ""),
        ("signpost-purpose", ""),
        ("signpost-purpose", "TRAET"),
        ("signpost-role", &long),
        ("signpost-user", &long),
        ("signpost-user", "é"),
        ("signpost-user", "999 000 0018"),
        ("signpost-role", "of 9990000018"),
    ] {
        api.send("GET", &search(""), &[(name, value)], "").await.refused(400, "invalid");
    }
    assert_eq!(api.asked().len(), before);
}
