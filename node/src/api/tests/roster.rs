//! The roster as a file, and statements that are brought.

use signpost_protocol::{
    ContentHash,
    codec::{self, Bounded, ByteString},
    roster::RosterFile,
};

use super::common::report;
use crate::{
    api::testing::Api,
    core::local::{LocalReply, LocalRequest, STATEMENTS_PER_REQUEST_MAX, Submitted},
};

const PATH: &str = "/signpost/v1/roster";
const CBOR: [(&str, &str); 1] = [("content-type", "application/cbor")];
const FOUNDING: &[u8] = b"a founding";

fn file(founding: &[u8], statements: usize) -> Vec<u8> {
    let statements = (0..statements).map(|n| ByteString::new(n.to_be_bytes().to_vec()).unwrap());
    codec::encode(&RosterFile {
        founding: ByteString::new(founding.to_vec()).unwrap(),
        statements: Bounded::new(statements.collect()).unwrap(),
    })
}

/// A core of the network that [`FOUNDING`] founds; it refuses the first statement of each batch.
fn api() -> Api {
    Api::new(|request| match request {
        LocalRequest::RosterFile => LocalReply::RosterFile(b"the file".to_vec()),
        LocalRequest::Status => {
            let mut report = report(true);
            report.network = ContentHash::of(FOUNDING).to_string();
            LocalReply::Status(Box::new(report))
        }
        LocalRequest::SubmitStatements(statements) => {
            let mut results: Vec<_> = statements.iter().map(|_| Ok(Submitted::New)).collect();
            results[0] = Err("the signature does not verify".to_owned());
            LocalReply::SubmitStatements(results)
        }
        other => panic!("asked {other:?}"),
    })
}

#[tokio::test]
async fn the_roster_is_read_as_a_file() {
    let reply = api().get(PATH).await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, "the file"));
    assert_eq!(reply.header("content-type"), "application/cbor");
}

#[tokio::test]
async fn statements_go_to_the_core_in_batches_and_each_is_told_what_became_of_it() {
    let api = api();
    let count = STATEMENTS_PER_REQUEST_MAX + 2;
    let reply = api.send("POST", PATH, &CBOR, file(FOUNDING, count)).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let results = reply.json()["results"].as_array().unwrap().clone();
    assert_eq!(results.len(), count);
    for (n, result) in results.iter().enumerate() {
        let refused = n % STATEMENTS_PER_REQUEST_MAX == 0;
        assert_eq!(result["outcome"], if refused { "refused" } else { "new" }, "{n}");
        assert_eq!(result["reason"].is_string(), refused, "{n}");
        assert_eq!(result["statement"], ContentHash::of(&n.to_be_bytes()).to_string());
    }
    let batches = api.asked().into_iter().filter_map(|request| match request {
        LocalRequest::SubmitStatements(batch) => Some(batch.len()),
        _ => None,
    });
    assert_eq!(batches.collect::<Vec<_>>(), [STATEMENTS_PER_REQUEST_MAX, 2]);
}

#[tokio::test]
async fn what_is_no_roster_of_this_network_does_not_reach_the_core() {
    let api = api();
    let other = api.send("POST", PATH, &CBOR, file(b"another founding", 1)).await;
    let text = other.refused(409, "conflict").to_string();
    assert!(text.contains("belongs to"), "{text}");
    api.send("POST", PATH, &CBOR, "no CBOR at all").await.refused(400, "invalid");
    api.send("POST", PATH, &[("content-type", "text/plain")], "x")
        .await
        .refused(415, "not-supported");
    let long = vec![0; 20 * 1024 * 1024];
    api.send("POST", PATH, &CBOR, long).await.refused(413, "too-long");
    let submitted = |request: &LocalRequest| matches!(request, LocalRequest::SubmitStatements(_));
    assert!(!api.asked().iter().any(submitted));
}
