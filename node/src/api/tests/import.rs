//! Bulk import.

use serde_json::json;
use signpost_protocol::Timestamp;

use crate::{
    api::testing::{Api, Reply, pointer, resource},
    core::{
        local::{
            Effect, LocalReply, LocalRequest, NewId, Page, Put, ReadPointer, Write, WriteError,
            Written,
        },
        source::Source,
    },
};

async fn import(api: &Api, body: String) -> Reply {
    let headers = [("content-type", "application/x-ndjson")];
    api.send("POST", "/signpost/v1/import", &headers, body).await
}

/// A core that takes every write but those with the id RX1-busy.
fn core() -> Api {
    Api::new(|request| {
        let LocalRequest::Write(writes) = request else { panic!("not a write") };
        LocalReply::Write(
            writes
                .into_iter()
                .enumerate()
                .map(|(n, write)| {
                    let Write::Put(Put { id, .. }) = write else { panic!("not a put") };
                    let id = match id {
                        NewId::Given(id) if id.as_str() == "RX1-busy" => {
                            return Err(WriteError::Busy("much to do"));
                        }
                        NewId::Given(id) if id.as_str() == "RX1-gone" => {
                            return Err(WriteError::Gone(id));
                        }
                        NewId::Given(id) => id,
                        NewId::FromContent => format!("RX1-{n}").parse().unwrap(),
                        NewId::Random => panic!("an import must be repeatable"),
                    };
                    let (issued, effect) = (Timestamp(0), Effect::Created);
                    Ok(Written { id, version: 1, issued, listed: true, effect })
                })
                .collect(),
        )
    })
}

#[tokio::test]
async fn each_line_gets_its_own_result_in_order() {
    let given = |id: &str| {
        let mut resource = resource();
        resource["id"] = id.into();
        resource.to_string()
    };
    let planted = resource().to_string().replace("records/1", "records/9990000018");
    let lines = [
        resource().to_string(),
        "not json".to_owned(),
        given("RX1-busy"),
        String::new(),
        given("RX1-kept"),
        planted,
        given("RX1-gone"),
        given("9990000018"),
    ];
    let reply = import(&core(), lines.join("\r\n") + "\n").await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert!(!reply.text.contains("999"), "{}", reply.text);
    let results = reply.json()["results"].as_array().unwrap().clone();
    let short: Vec<_> = results
        .iter()
        .map(|result| match result.get("error") {
            Some(error) => json!([error["code"], error["retry"]]),
            None => json!([result["id"], result["version"], result["effect"]]),
        })
        .collect();
    assert_eq!(
        json!(short),
        json!([
            ["RX1-0", 1, "created"],
            ["structure", false],
            ["throttled", true],
            ["RX1-kept", 1, "created"],
            ["business-rule", false],
            ["deleted", false],
            ["value", false],
        ])
    );
}

#[tokio::test]
async fn an_import_is_bounded() {
    let line = resource().to_string() + "\n";
    assert_eq!(import(&core(), line.repeat(100)).await.status, 200);
    import(&Api::unasked(), line.repeat(101)).await.refused(413, "too-long");
    import(&Api::unasked(), "x".repeat(4 * 1024 * 1024 + 1)).await.refused(413, "too-long");
    let nothing = import(&Api::unasked(), "\n\n".to_owned()).await;
    assert_eq!(nothing.json(), json!({"results": []}));
}

fn patient() -> signpost_protocol::PatientIdentifier {
    use signpost_protocol::{IdentifierSystem, PatientIdentifier};
    PatientIdentifier::parse(IdentifierSystem::NhsNumber, crate::api::testing::NUMBER).unwrap()
}

#[tokio::test]
async fn an_import_names_its_source_and_a_dry_run_writes_nothing() {
    let headers = [("content-type", "application/x-ndjson")];
    let api = Api::new(|request| match request {
        LocalRequest::Write(writes) => LocalReply::Write(
            writes
                .iter()
                .map(|_| {
                    let (id, owner) = ("RX1-1".parse().unwrap(), "PAS".parse().unwrap());
                    Err(WriteError::OtherSource { id, owner })
                })
                .collect(),
        ),
        LocalRequest::Rehearse(puts) => LocalReply::Rehearse(
            puts.iter()
                .map(|put| {
                    assert_eq!(put.source.as_str(), "LAB.2");
                    let id = "RX1-1".parse().unwrap();
                    Ok(Written {
                        id,
                        version: 2,
                        issued: Timestamp(0),
                        listed: true,
                        effect: Effect::Updated,
                    })
                })
                .collect(),
        ),
        other => panic!("{other:?}"),
    });
    let line = resource().to_string();
    let reply = api.send("POST", "/signpost/v1/import", &headers, line.clone()).await;
    let error = &reply.json()["results"][0]["error"];
    assert_eq!((&error["code"], &error["retry"]), (&json!("conflict"), &json!(false)));
    let text = error["diagnostics"].as_str().unwrap();
    assert!(text.contains("source PAS") && text.contains("--source PAS"), "{text}");
    let Some(LocalRequest::Write(writes)) = api.asked().pop() else { panic!("no write") };
    let [Write::Put(put)] = &writes[..] else { panic!("no put") };
    assert_eq!(put.source, Source::default());

    let path = "/signpost/v1/import?source=LAB.2&dry_run=true";
    let reply = api.send("POST", path, &headers, line.clone()).await;
    assert_eq!(reply.json()["results"][0]["effect"], "updated");
    assert!(matches!(api.asked().pop(), Some(LocalRequest::Rehearse(_))));

    for query in ["dryrun=true", "dry_run=yes", "source=a/b", "source=", "dry_run=", "after=RX1-1"]
    {
        let path = format!("/signpost/v1/import?{query}");
        Api::unasked().send("POST", &path, &headers, line.clone()).await.refused(400, "invalid");
    }
}

#[tokio::test]
async fn a_source_is_listed_and_deleted_from_in_bounded_pages() {
    let api = Api::new(|request| match request {
        LocalRequest::SourceIds { source, after } => {
            assert_eq!(source.as_str(), "PAS");
            let next = after.is_none().then(|| "RX1-1".parse().unwrap());
            LocalReply::SourceIds(Ok(Page { items: vec!["RX1-1".parse().unwrap()], next }))
        }
        LocalRequest::Write(writes) => LocalReply::Write(
            writes
                .into_iter()
                .map(|write| {
                    let Write::Remove { id, source } = write else { panic!("not a removal") };
                    if id.as_str() == "RX1-moved" {
                        return Err(WriteError::NotOfSource { id, owner: source });
                    }
                    Ok(Written {
                        id,
                        version: 2,
                        issued: Timestamp(0),
                        listed: true,
                        effect: Effect::Deleted,
                    })
                })
                .collect(),
        ),
        other => panic!("{other:?}"),
    });
    let reply = api.get("/signpost/v1/sources/PAS/ids").await;
    assert_eq!(reply.json(), json!({"ids": ["RX1-1"], "next": "RX1-1"}));
    let reply = api.get("/signpost/v1/sources/PAS/ids?after=RX1-1").await;
    assert_eq!(reply.json()["next"], json!(null));

    let headers = [("content-type", "application/json")];
    let path = "/signpost/v1/sources/PAS/delete";
    let ids = json!({"ids": ["RX1-1", "RX1-moved"]}).to_string();
    let results = api.send("POST", path, &headers, ids).await.json();
    assert_eq!(results["results"][0]["effect"], "deleted");
    assert_eq!(results["results"][1]["error"]["code"], "conflict");

    let unasked = Api::unasked();
    let many = json!({"ids": vec!["RX1-1"; 101]}).to_string();
    unasked.send("POST", path, &headers, many).await.refused(413, "too-long");
    for body in ["{}", "[]", r#"{"ids":["x"]}"#, r#"{"ids":[],"all":true}"#] {
        unasked.send("POST", path, &headers, body).await.refused(400, "invalid");
    }
    unasked.get("/signpost/v1/sources/PAS/ids?after=x").await.refused(400, "invalid");
    unasked.get("/signpost/v1/sources/a%20b/ids").await.refused(404, "not-found");
}

#[tokio::test]
async fn an_export_is_what_an_import_takes() {
    let api = Api::new(|request| {
        let LocalRequest::Export { source, after } = request else { panic!("{request:?}") };
        assert_eq!(source.map(|source| source.to_string()).as_deref(), Some("PAS"));
        let next = after.is_none().then(|| "RX1-2".parse().unwrap());
        let items = ["RX1-1", "RX1-2"]
            .map(|id| ReadPointer { found: pointer(id, |_| {}), subject: Some(patient()) });
        LocalReply::Export(Ok(Page { items: items.to_vec(), next }))
    });
    let reply = api.get("/signpost/v1/export?source=PAS").await;
    assert_eq!(reply.header("content-type"), "application/fhir+ndjson");
    assert_eq!(reply.header("signpost-next"), "RX1-2");
    assert_eq!(reply.text.lines().count(), 2);
    let reimported = import(&core(), reply.text.clone()).await;
    assert_eq!(reimported.json()["results"][1]["id"], "RX1-2", "{}", reimported.text);
    let last = api.get("/signpost/v1/export?source=PAS&after=RX1-2").await;
    assert_eq!(last.header("signpost-next"), "");
    Api::unasked().get("/signpost/v1/export?sauce=PAS").await.refused(400, "invalid");
}
