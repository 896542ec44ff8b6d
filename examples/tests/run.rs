//! The examples do what they say: each is run as its reader would run it.
#![allow(missing_docs, clippy::unwrap_used)]

use std::process::Command;

/// Runs a program to its end; its lines.
fn lines(program: &str) -> Vec<String> {
    let output = Command::new(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} failed:\n{text}\n{errors}");
    text.lines().map(str::to_owned).collect()
}

/// The word behind `before` in the only line that begins with it.
fn word<'a>(lines: &'a [String], before: &str) -> &'a str {
    let mut found = lines.iter().filter_map(|line| line.strip_prefix(before));
    let (Some(rest), None) = (found.next(), found.next()) else {
        panic!("not one line begins with {before:?}: {lines:#?}")
    };
    rest.split([' ', ';']).next().unwrap_or_default()
}

#[test]
fn an_embedded_node_finds_what_it_was_given() {
    let lines = lines(env!("CARGO_BIN_EXE_embed_a_node"));
    let id = word(&lines, "created ");
    assert!(id.starts_with("RX1-"), "{lines:#?}");
    assert_eq!(word(&lines, "found "), id);
    assert_eq!(word(&lines, "the result is "), "complete");
    assert_eq!(lines.last().unwrap(), "the node has stopped");
}

#[test]
fn one_of_two_nodes_finds_what_the_other_holds() {
    let lines = lines(env!("CARGO_BIN_EXE_two_nodes"));
    let id = word(&lines, "RX1 holds ");
    assert!(lines.iter().any(|line| line.starts_with(&format!("RX2 found {id} at RX1 "))));
    assert_eq!(word(&lines, "the result is "), "complete");
    assert_eq!(lines.last().unwrap(), "both nodes have stopped");
}

#[test]
fn a_store_of_ones_own_is_used_and_flushed_before_the_reply() {
    let lines = lines(env!("CARGO_BIN_EXE_custom_store"));
    let id = word(&lines, "created ");
    assert!(lines.contains(&format!("created {id}; flushed before that was told: true")));
    assert!(lines.contains(&"found 1 pointer, the result is complete".to_owned()));
    let counts = lines.last().unwrap().split([' ', ',']).filter_map(|word| word.parse().ok());
    let counts: Vec<u64> = counts.collect();
    assert_eq!(counts.len(), 4, "{lines:#?}");
    assert!(counts.iter().all(|count| *count > 0), "{lines:#?}");
}

#[test]
fn the_client_says_what_it_needs() {
    let client = env!("CARGO_BIN_EXE_publish_and_locate");
    let output = Command::new(client).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--dir DIR"));
}
