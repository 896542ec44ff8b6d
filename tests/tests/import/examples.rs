//! Published and typical files go in as they are, and another node finds what they say.

use std::path::Path;

use serde_json::Value;
use signpost_protocol::{IdentifierSystem, PatientIdentifier};
use signpost_tests::{client::Client, processes::until};

use crate::{data, federation, signpost};

/// The DocumentReferences of a file.
fn documents(text: &str) -> Vec<Value> {
    let value: Value = serde_json::from_str(text).expect("JSON");
    match value["resourceType"].as_str() {
        Some("Bundle") => value["entry"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|entry| entry["resource"].clone())
            .collect(),
        _ => vec![value],
    }
}

fn subject(resource: &Value) -> PatientIdentifier {
    let identifier = &resource["subject"]["identifier"];
    let system = IdentifierSystem::from_uri(identifier["system"].as_str().expect("a system"));
    PatientIdentifier::parse(
        system.expect("a known system"),
        identifier["value"].as_str().unwrap_or_default(),
    )
    .expect("a valid number")
}

/// Without what the server sets: `meta`, and `id` where the example has none.
fn comparable(resource: &Value, like: &Value) -> Value {
    let mut resource = resource.clone();
    if let Some(object) = resource.as_object_mut() {
        object.remove("meta");
        if like.get("id").is_none() {
            object.remove("id");
        }
    }
    resource
}

/// Waits until a search from `asker` shows a resource equal in meaning.
fn found(asker: &Client, wanted: &Value) {
    let patient = subject(wanted);
    let wanted = comparable(wanted, wanted);
    until("the example is found elsewhere", || {
        let reply = asker.search(&patient);
        reply.assert_complete();
        let entries = reply.body["entry"].as_array().into_iter().flatten();
        let mut shown = entries.map(|entry| comparable(&entry["resource"], &wanted));
        shown.any(|shown| shown == wanted).then_some(())
    });
}

#[test]
fn every_published_example_comes_back_from_another_node() {
    let codes = ["X26", "Y05868", "RX1"];
    let federation = federation(&codes);
    let asker = federation.client(2);
    let mut files: Vec<_> = std::fs::read_dir(data("nrl"))
        .expect("the examples are there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    let mut count = 0;
    for file in &files {
        let text = std::fs::read_to_string(file).expect("the example can be read");
        let documents = documents(&text);
        assert!(!documents.is_empty(), "{}", file.display());
        let custodian = documents[0]["custodian"]["identifier"]["value"].as_str().expect("a code");
        let at = codes.iter().position(|code| *code == custodian).expect("a founder");
        let dir = &federation.node(at).dir;
        let ran = signpost(dir, &["import", file.to_str().expect("UTF-8")]).expect(0);
        assert!(ran.sum().ends_with("0 refused"), "{}", ran.sum());
        documents.iter().for_each(|document| found(asker, document));
        count += documents.len();

        // At a node that is not the custodian's it is refused, and the rule is named.
        let elsewhere = &federation.node(1 - at).dir;
        let ran = signpost(elsewhere, &["import", file.to_str().expect("UTF-8")]).expect(1);
        ran.says(&format!("holds no records of {custodian}"));
    }
    println!("{count} DocumentReferences in {} files", files.len());
    assert_eq!((files.len(), count), (6, 7));
    an_example_that_breaks_a_published_rule_is_refused(&federation.node(1).dir, &files[5]);
    a_transaction_is_found_elsewhere(&federation);
    csv_is_found_elsewhere(&federation);
}

fn an_example_that_breaks_a_published_rule_is_refused(dir: &Path, example: &Path) {
    let text = std::fs::read_to_string(example).expect("the example can be read");
    let files = tempfile::tempdir().expect("a temporary directory");
    for (from, to, said) in [
        ("9999999999", "9999999998", "check digit"),
        ("\"current\"", "\"final\"", "status must be"),
        ("Id/nhs-number", "Id/hospital-number", "unknown system"),
        ("\"content\"", "\"contents\"", "content is required"),
    ] {
        assert!(text.contains(from));
        let path = files.path().join("broken.json");
        std::fs::write(&path, text.replacen(from, to, 1)).expect("the file can be written");
        signpost(dir, &["import", path.to_str().expect("UTF-8")]).expect(1).says(said);
    }
}

fn a_transaction_is_found_elsewhere(federation: &signpost_tests::processes::Federation) {
    let dir = &federation.node(2).dir;
    let file = data("synthea-like/transaction.json");
    // One of its two records stands in the resource itself.
    let ran = signpost(dir, &["import", &file]).expect(3);
    ran.says("entry[4]: ").says("holds the record itself").says("4 entries that are no pointers");
    let url = "https://records.example/documents/{id}";
    let arguments = ["import", "--document-url", url, &file];
    signpost(dir, &arguments).expect(0).says("1 created, 0 updated, 1 unchanged, 0 refused");
    let again = signpost(dir, &arguments).expect(0);
    assert!(again.sum().starts_with("0 created, 0 updated, 2 unchanged"), "{}", again.sum());

    let patient =
        PatientIdentifier::parse(IdentifierSystem::NhsNumber, "9990000018").expect("valid");
    let reply = until("the transaction's records are found", || {
        let reply = federation.client(0).search(&patient);
        reply.assert_complete();
        (reply.ids().len() == 2).then_some(reply)
    });
    let entries = reply.0.body["entry"].as_array().expect("entries").clone();
    let urls: Vec<_> = entries
        .iter()
        .map(|entry| entry["resource"]["content"][0]["attachment"]["url"].as_str())
        .collect();
    let note = "https://records.example/documents/1f2e3d4c-5b6a-4978-8695-a4b3c2d1e005";
    assert_eq!(urls, [Some(note), Some("https://records.example/plans/31")]);
    assert!(!reply.0.body.to_string().contains("Testpatient"));
}

fn csv_is_found_elsewhere(federation: &signpost_tests::processes::Federation) {
    let dir = &federation.node(2).dir;
    let ours = data("csv/pointers.csv");
    signpost(dir, &["import", "--source", "PLANS", &ours]).expect(0).says("3 created");
    let (theirs, map) = (data("csv/theirs.csv"), data("csv/mapping.toml"));
    let unmapped = ["import", "--source", "LETTERS", &theirs];
    signpost(dir, &unmapped).expect(1).says("not JSON");
    let mapped = ["import", "--source", "LETTERS", "--map", &map, &theirs];
    signpost(dir, &mapped).expect(1).says("theirs.csv:1: the column \"Ward\" has no meaning here");
    let lenient = [&mapped[..], &["--ignore-unknown-columns"]].concat();
    signpost(dir, &lenient).expect(0).says("2 created");

    for (number, ids) in [
        // The third row of the file is unlisted: nobody is led to it by a digest.
        ("9990000026", vec!["RX1-cp-2"]),
        ("9990000034", vec!["RX1-4711", "RX1-4712"]),
    ] {
        let patient = PatientIdentifier::parse(IdentifierSystem::NhsNumber, number).expect("valid");
        until("the rows are found", || {
            let reply = federation.client(0).search(&patient);
            reply.assert_complete();
            (reply.ids() == ids.iter().map(|id| (*id).to_owned()).collect()).then_some(())
        });
    }
    let read = federation.client(2).read("RX1-sh-7");
    assert_eq!(read.body["meta"]["tag"][0]["code"], "unlisted", "{}", read.body);
    let read = federation.client(2).read("RX1-cp-1");
    assert_eq!(read.body["description"], "Agreed with the patient, \"first\" version");
}
