//! What `signpost generate` writes goes into a node, once.
#![allow(missing_docs)]

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use signpost_tests::processes::Federation;

const PROGRAM: &str = env!("CARGO_BIN_EXE_signpost-under-test");

fn signpost(arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).stdin(Stdio::null()).output().expect("the program can be started")
}

fn import(dir: &Path, file: &str) -> Value {
    let dir = dir.to_str().expect("plain text");
    let output = signpost(&["import", "--dir", dir, "--json", file]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    serde_json::from_slice(&output.stdout).expect("JSON and nothing else")
}

#[test]
fn importing_generated_pointers_twice_changes_nothing_the_second_time() {
    let federation = Federation::running(PROGRAM, 1);
    let node = federation.node(0);
    let place = tempfile::tempdir().expect("a temporary directory");
    let file = place.path().join("pointers.ndjson.gz");
    let file = file.to_str().expect("plain text");
    let output = signpost(&[
        "generate",
        "--ods",
        &node.ods,
        "--pointers",
        "250",
        "--output",
        file,
        "--json",
    ]);
    let summary: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(summary["pointers"], 250, "{summary}");

    let first = import(&node.dir, file);
    assert_eq!((&first["created"], &first["unchanged"]), (&250.into(), &0.into()), "{first}");
    let again = import(&node.dir, file);
    assert_eq!((&again["created"], &again["unchanged"]), (&0.into(), &250.into()), "{again}");
    assert_eq!(node.client.status().expect("it runs").serves[0].pointers, Some(250));

    // The same seed and numbers for another organization are not this node's to keep.
    let other = place.path().join("other.ndjson");
    let other = other.to_str().expect("plain text");
    signpost(&["generate", "--ods", "RZ9", "--pointers", "5", "--output", other]);
    let dir = node.dir.to_str().expect("plain text");
    let output = signpost(&["import", "--dir", dir, "--json", other]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(node.client.status().expect("it runs").serves[0].pointers, Some(250));
}
