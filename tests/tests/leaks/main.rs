//! No patient's number leaves a node except to its own clinical systems: real nodes over TCP, every
//! plaintext frame tapped, every log line at `trace`, every file of every node.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)] // Tests fail by panicking and print their seeds.

mod federation;
mod search;

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use signpost_node::network::{Plane, Traffic};
use signpost_protocol::{IdentifierSystem, PatientIdentifier};

use crate::{
    federation::{Federation, Http, capture_logs, captured_logs},
    search::Search,
};

const RESOURCE: &str = "/fhir/R4/DocumentReference";
const SYSTEM: &str = "https://fhir.nhs.uk/Id/nhs-number";
const NODES: usize = 4;

fn number(stem: u32) -> String {
    let patient = (stem..)
        .find_map(|stem| PatientIdentifier::from_stem(IdentifierSystem::NhsNumber, stem))
        .expect("one stem in eleven has no check digit");
    patient.expose_digits().to_owned()
}

fn resource(at: usize, number: &str) -> Value {
    json!({
        "resourceType": "DocumentReference",
        "status": "current",
        "type": {"coding": [{"system": "http://snomed.info/sct", "code": "736253002"}]},
        "category": [{"coding": [{"system": "http://snomed.info/sct", "code": "734163000"}]}],
        "subject": {"identifier": {"system": SYSTEM, "value": number}},
        "custodian": {"identifier": {
            "system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": format!("ORG{at}")
        }},
        "content": [{"attachment": {"url": "https://trust.example/records/1"}}],
    })
}

fn create(node: &Http, at: usize, number: &str) -> String {
    let reply = node.send("POST", RESOURCE, &[], &resource(at, number).to_string());
    assert_eq!(reply.status, 201, "{}", reply.body);
    reply.json()["id"].as_str().map_or_else(
        || {
            let location = reply.header("location").expect("a created resource has a place");
            location.split("DocumentReference/").nth(1).unwrap().split('/').next().unwrap().into()
        },
        str::to_owned,
    )
}

/// Locates until the result is complete with so many pointers.
fn located(node: &Http, number: &str, pointers: u64) {
    let path = format!("{RESOURCE}?subject:identifier={SYSTEM}%7C{number}");
    federation::eventually("a complete result", || {
        let reply = node.send("GET", &path, &[], "");
        assert!(reply.status == 200 || reply.status == 503, "{}", reply.body);
        reply.status == 200
            && reply.header("signpost-completeness") == Some("complete".to_owned())
            && reply.json()["total"] == pointers
    });
}

/// Everything that a clinical system may rightly ask.
fn right_use(federation: &Federation, patients: &[String]) -> Vec<String> {
    let mut ids = Vec::new();
    for (n, number) in patients.iter().enumerate() {
        ids.push(create(&federation.http(n % NODES), n % NODES, number));
    }
    // One patient is known to two organizations, one comes by import.
    create(&federation.http(1), 1, &patients[0]);
    let line = format!("{}\n", resource(2, &patients[1]));
    let ndjson = [("content-type", "application/x-ndjson")];
    let reply = federation.http(2).send("POST", "/signpost/v1/import", &ndjson, &line);
    assert_eq!(reply.status, 200, "{}", reply.body);
    for (n, number) in patients.iter().enumerate() {
        for at in 0..NODES {
            located(&federation.http(at), number, if n < 2 { 2 } else { 1 });
        }
    }
    let grouped = format!("{} {} {}", &patients[2][..3], &patients[2][3..6], &patients[2][6..]);
    let form = format!("patient.identifier={SYSTEM}|{}", grouped.replace(' ', "+"));
    let urlencoded = [("content-type", "application/x-www-form-urlencoded")];
    let reply = federation.http(0).send("POST", &format!("{RESOURCE}/_search"), &urlencoded, &form);
    assert_eq!(reply.status, 200, "{}", reply.body);
    for id in &ids {
        for at in 0..NODES {
            let reply = federation.http(at).send("GET", &format!("{RESOURCE}/{id}"), &[], "");
            assert_eq!(reply.status, 200, "{}", reply.body);
        }
    }
    let mut changed = resource(3, &patients[3]);
    changed["id"] = ids[3].as_str().into();
    changed["description"] = "changed".into();
    let path = format!("{RESOURCE}/{}", ids[3]);
    let reply = federation.http(3).send("PUT", &path, &[], &changed.to_string());
    assert_eq!(reply.status, 200, "{}", reply.body);
    let reply = federation.http(3).send("DELETE", &path, &[], "");
    assert!(reply.status == 200 || reply.status == 204, "{}", reply.body);
    assert_eq!(federation.http(0).send("GET", &path, &[], "").status, 410);
    located(&federation.http(0), &patients[3], 0);
    ids
}

/// Every mistake that puts a number where it does not belong, each refused.
fn wrong_use(node: &Http, number: &str, mistyped: &str) {
    let grouped = format!("{}-{}-{}", &number[..3], &number[3..6], &number[6..]);
    let mut bodies = vec![
        resource(0, mistyped).to_string(),
        format!("{{\"resourceType\": {number}"),
        format!("[\"{number}\"]"),
    ];
    for hidden in [number, &grouped] {
        let mut inside = resource(0, number);
        inside["description"] = format!("seen {hidden} today").into();
        bodies.push(inside.to_string());
        let mut inside = resource(0, number);
        inside["content"][0]["attachment"]["url"] = format!("https://x.example/{hidden}").into();
        bodies.push(inside.to_string());
        let mut inside = resource(0, number);
        inside[hidden] = "unknown".into();
        bodies.push(inside.to_string());
        let mut inside = resource(0, number);
        inside["custodian"]["identifier"]["value"] = hidden.into();
        bodies.push(inside.to_string());
        let mut inside = resource(0, number);
        inside["subject"]["identifier"]["system"] = hidden.into();
        bodies.push(inside.to_string());
    }
    for body in &bodies {
        let reply = node.send("POST", RESOURCE, &[], body);
        assert!((400..500).contains(&reply.status), "{} for {body}", reply.status);
        let ndjson = [("content-type", "application/x-ndjson")];
        node.send("POST", "/signpost/v1/import", &ndjson, body);
    }
    let mut with_id = resource(0, number);
    with_id["id"] = format!("ORG0-{number}").into();
    let path = format!("{RESOURCE}/ORG0-{number}");
    let reply = node.send("PUT", &path, &[], &with_id.to_string());
    assert!((400..500).contains(&reply.status), "{}", reply.body);

    let search = format!("{RESOURCE}?subject:identifier={SYSTEM}%7C");
    for path in [
        format!("{search}{mistyped}"),
        format!("{search}{number}&nothing={number}"),
        format!("{search}{number}&type={number}"),
        format!("{search}{number}&status={number}"),
        format!("{RESOURCE}?{number}={number}"),
        format!("{RESOURCE}/{number}"),
        format!("/fhir/R4/Patient/{number}"),
        format!("/{number}"),
    ] {
        let reply = node.send("GET", &path, &[], "");
        assert!(reply.status < 500 || reply.status == 503, "{}", reply.body);
    }
    for header in [
        "signpost-user",
        "signpost-role",
        "signpost-purpose",
        "signpost-deadline",
        "x-request-id",
        "if-match",
        "accept",
        "prefer",
        "authorization",
    ] {
        node.send("GET", &format!("{search}{number}"), &[(header, number)], "");
    }
    node.send(&format!("X{number}"), RESOURCE, &[], "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_patient_number_leaves_a_node() {
    capture_logs();
    let patients: Vec<String> = (0..6).map(|n| number(999_314_159 + n * 27_182)).collect();
    let unknown = number(999_876_543);
    let mistyped = {
        let (stem, last) = patients[5].split_at(9);
        format!("{stem}{}", (last.parse::<u8>().unwrap() + 1) % 10)
    };
    let control = number(999_555_123);

    let dir = tempfile::tempdir().unwrap();
    let mut federation = Federation::start(dir.path(), NODES).await;
    federation.settle();
    tokio::task::block_in_place(|| {
        right_use(&federation, &patients);
        wrong_use(&federation.http(0), &patients[0], &mistyped);
        located(&federation.http(1), &unknown, 0);
    });
    federation.stop(1).await;
    tokio::task::block_in_place(|| {
        let path = format!("{RESOURCE}?subject:identifier={SYSTEM}%7C{}", patients[1]);
        let reply = federation.http(3).send("GET", &path, &[], "");
        assert_eq!(reply.header("signpost-completeness").as_deref(), Some("partial"));
    });
    federation.restart(1).await;
    federation.settle();
    tokio::task::block_in_place(|| located(&federation.http(3), &patients[1], 2));
    // What gossip and maintenance do by themselves is part of it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for at in 0..NODES {
        federation.stop(at).await;
    }

    let numbers = patients.iter().chain([&unknown, &mistyped]).map(String::as_str);
    let search = Search::for_numbers(numbers);
    let frames = federation.frames();
    for plane in Plane::ALL {
        let seen = frames.iter().any(|(traffic, _)| *traffic == Traffic::Exchange(plane));
        assert!(seen, "nothing was seen on {}", plane.name());
    }
    assert!(frames.iter().any(|(traffic, _)| *traffic == Traffic::Gossip), "no gossip was seen");
    for (traffic, bytes) in &frames {
        search.assert_absent(&format!("a frame of {traffic:?}"), bytes);
    }

    tracing::info!(planted = control, "control");
    let logs = captured_logs();
    let text = String::from_utf8_lossy(&logs);
    for target in ["libp2p_", "yamux", "signpost_node::core", "signpost_node::api", "TRACE"] {
        assert!(text.contains(target), "the logs hold nothing of {target}");
    }
    search.assert_absent("the logs", &logs);

    let mut files = 0;
    each_file(dir.path(), &mut |path, bytes| {
        files += 1;
        search.assert_absent(&path.display().to_string(), bytes);
    });
    assert!(files > 4 * 8, "only {files} files were searched");

    // The control: what is planted in any of the three places is found by the same search.
    let search = Search::for_numbers([control.as_str()]);
    assert!(!search.hits(&logs).is_empty(), "a number in the logs is not found");
    let planted = dir.path().join("ORG2/store/planted");
    for needle in search.needles() {
        let mut frame = frames[frames.len() / 2].1.clone();
        let middle = frame.len() / 2;
        frame.splice(middle..middle, needle.bytes.iter().copied());
        assert!(!search.hits(&frame).is_empty(), "{} in a frame is not found", needle.form);
        std::fs::write(&planted, &frame).unwrap();
        let mut found = false;
        each_file(dir.path(), &mut |_, bytes| found |= !search.hits(bytes).is_empty());
        assert!(found, "{} in a file is not found", needle.form);
    }
}

fn each_file(dir: &Path, visit: &mut impl FnMut(&Path, &[u8])) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_file(&path, visit);
        } else {
            visit(&path, &std::fs::read(&path).unwrap());
        }
    }
}
