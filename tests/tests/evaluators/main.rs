//! The evaluators of a network of real processes: they make its key, hand it on while look-ups go on,
//! and one of them lies.
#![allow(missing_docs, clippy::unwrap_used)] // Tests fail by panicking.
#![allow(clippy::print_stdout, reason = "the counts and times belong to the result")]

mod changing;
mod liar;
mod load;
mod quotas;

use std::{
    process::{Command, Output},
    time::{Duration, Instant},
};

use serde_json::Value;
use signpost_tests::processes::{Federation, until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_signpost-under-test");

/// Types `signpost evaluators ...` at a node.
fn typed(federation: &Federation, at: usize, words: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("evaluators").args(words.split_whitespace()).arg("--json");
    command.arg("--dir").arg(&federation.node(at).dir);
    command.output().expect("the program runs")
}

/// Types it until it works: news take a moment to come to a node.
fn run(federation: &Federation, at: usize, words: &str) -> Value {
    let mut last = String::new();
    let (out, _) = until(words, || {
        let output = typed(federation, at, words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() && said != last {
            println!("{} said: {said}", federation.node(at).ods);
            last = said;
        }
        output.status.success().then_some(output.stdout)
    });
    serde_json::from_slice(&out).expect("JSON")
}

/// The ODS codes of these nodes.
fn codes(federation: &Federation, nodes: &[usize]) -> String {
    let codes: Vec<_> = nodes.iter().map(|n| federation.node(*n).ods.as_str()).collect();
    codes.join(",")
}

/// Plays the ceremony that the command at node 0 calls to, by these nodes, to its end; how long it took
/// from the call until all nodes used what came out, and until it was in force at the first.
fn play(federation: &Federation, call: &str, parties: &[usize], share_epoch: u32) -> Duration {
    let start = Instant::now();
    let called = run(federation, 0, call);
    let id = called["ceremony"].as_str().expect("an id").to_owned();
    for at in parties {
        run(federation, *at, &format!("ceremony join {id} --yes"));
    }
    until("all have confirmed", || {
        let status = run(federation, 1, &format!("ceremony status {id}"));
        (status["ceremonies"][0]["stage"] == "confirmed").then_some(())
    });
    let confirmed = start.elapsed();
    for at in 0..3 {
        run(federation, at, &format!("ceremony confirm {id} --yes"));
    }
    until("it is in force everywhere", || {
        let is_in_force = |n: usize| {
            let status = federation.client(n).status();
            status.is_some_and(|status| status.evaluators.share_epoch == Some(share_epoch))
        };
        (0..federation.len()).all(is_in_force).then_some(())
    });
    println!(
        "`{call}`: all had confirmed after {confirmed:.1?}, in force everywhere after {:.1?}",
        start.elapsed()
    );
    start.elapsed()
}
