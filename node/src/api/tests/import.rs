//! Bulk import.

use serde_json::json;
use signpost_protocol::Timestamp;

use crate::{
    api::testing::{Api, Reply, resource},
    core::local::{Effect, LocalReply, LocalRequest, NewId, Write, WriteError, Written},
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
                    let Write::Put { id, .. } = write else { panic!("not a put") };
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
