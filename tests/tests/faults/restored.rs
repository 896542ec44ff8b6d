//! A node whose directory is taken back to yesterday's copy.
//!
//! What was acknowledged since is not there, and nobody is told otherwise: every result, at every
//! node, names the organization as restored as of yesterday, until what came later was sent again
//! and its admin has confirmed. Then everything is there.

use std::{collections::BTreeMap, path::Path, process::Command};

use rand_chacha::ChaCha20Rng;
use rand_core::Rng as _;
use serde_json::Value;
use signpost_protocol::roster::Parameters;
use signpost_tests::{
    client::{patient, record},
    processes::{Federation, until},
};

use crate::{PROGRAM, counts::Counts};

const NODE: usize = 1;
const NODES: usize = 4;
/// Records made before the copy, and after it.
const EACH: u32 = 60;
/// Records in one request.
const CHUNK: usize = 20;
/// How often the node is taken back: ended well, or killed.
const ROUNDS: u32 = 2;

pub(crate) fn run(counts: &mut Counts, rng: &mut ChaCha20Rng) {
    let mut federation = Federation::found(PROGRAM, NODES, Parameters::STANDARD, "info");
    (0..NODES).for_each(|n| federation.start(n));
    federation.await_fresh();
    let mut held = BTreeMap::new();
    for round in 0..ROUNDS {
        let first = round * 2 * EACH;
        send(&federation, lines(&federation, first, EACH, 1), &mut held, counts);
        await_found(&federation, first + EACH - 1);

        let dir = federation.node(NODE).dir.clone();
        let back_up = dir.with_extension("yesterday");
        stop(&mut federation, round);
        copy(&dir, &back_up);
        federation.start(NODE);
        federation.await_fresh();

        // New records, new versions of old ones, and one deletion, that the copy does not have.
        let mut later = lines(&federation, first + EACH, EACH, 1);
        later.extend(lines(&federation, first, EACH / 2, 2));
        send(&federation, later.clone(), &mut held, counts);
        let deleted = id(&federation, first + EACH - 2);
        assert_eq!(federation.client(NODE).delete(&deleted).status, 204);
        counts.acknowledged += 1;
        held.remove(&deleted);
        await_found(&federation, first + 2 * EACH - 1);

        stop(&mut federation, round);
        copy(&back_up, &dir);
        counts.faults += 1;
        federation.start(NODE);
        federation.await_ready(NODE);
        named_restored_everywhere(&federation, first, rng, counts);

        // The producers send again what came later, and the admin says so.
        send(&federation, later, &mut held, counts);
        assert!([204, 410].contains(&federation.client(NODE).delete(&deleted).status));
        named_restored_everywhere(&federation, first, rng, counts);
        confirm(&dir);
        for n in 0..NODES {
            until("nobody names it any more", || (!is_named(&federation, n, first)).then_some(()));
        }
        for (id, (version, number)) in &held {
            let read = federation.client(NODE).read(id);
            if (read.status, &read.etag) != (200, &format!("W/\"{version}\"")) {
                counts.lost(format!("{id} at version {version}: {} {}", read.status, read.etag));
            }
            let reply = federation.client((NODE + 1) % NODES).search(&patient(*number));
            if reply.completeness == "complete" && !reply.ids().contains(id) {
                counts.wrong(format!("complete without {id}"));
            }
            counts.complete += u64::from(reply.completeness == "complete");
            counts.partial += u64::from(reply.completeness == "partial");
        }
        assert_eq!(federation.client(NODE).read(&deleted).status, 410);
        println!("round {round}: {} records of {} are there again", held.len(), held.len());
    }
}

fn id(federation: &Federation, n: u32) -> String {
    format!("{}-{n}", federation.node(NODE).ods)
}

fn lines(federation: &Federation, first: u32, count: u32, version: u32) -> Vec<Value> {
    let line = |n: u32| {
        let url = format!("https://records.example/{n}/{version}");
        let mut line = record(&federation.node(NODE).ods, &patient(n), &url);
        line["id"] = id(federation, n).into();
        line
    };
    (first..first + count).map(line).collect()
}

/// Imports lines; notes what the node acknowledged.
fn send(
    federation: &Federation,
    lines: Vec<Value>,
    held: &mut BTreeMap<String, (u64, u32)>,
    counts: &mut Counts,
) {
    for chunk in lines.chunks(CHUNK) {
        let reply = federation.client(NODE).import(chunk).expect("it runs");
        for (line, result) in chunk.iter().zip(reply.body["results"].as_array().unwrap()) {
            let version = result["version"].as_u64().unwrap_or_else(|| panic!("{result}"));
            let id = line["id"].as_str().unwrap().to_owned();
            let number = id.rsplit('-').next().unwrap().parse().unwrap();
            counts.acknowledged += u64::from(result["effect"] != "unchanged");
            held.insert(id, (version, number));
        }
    }
}

/// Waits until everybody finds the record of the `n`th patient: by then the others know the head
/// that tells of it.
fn await_found(federation: &Federation, n: u32) {
    for at in 0..NODES {
        until("the newest record is found", || {
            let reply = federation.client(at).search(&patient(n));
            reply.ids().contains(&id(federation, n)).then_some(())
        });
    }
}

fn stop(federation: &mut Federation, round: u32) {
    if round == 0 {
        let process = federation.node_mut(NODE).process();
        signpost_tests::processes::signal(process.id(), "TERM");
        assert!(process.end().success());
    }
    federation.kill(NODE);
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

fn is_named(federation: &Federation, at: usize, n: u32) -> bool {
    let (ods, reply) = (&federation.node(NODE).ods, federation.client(at).search(&patient(n)));
    reply.cause("restored", ods).is_some()
}

/// Waits until every node names it, then asks about patients old, new and unknown: no result may
/// be called complete.
fn named_restored_everywhere(
    federation: &Federation,
    first: u32,
    rng: &mut ChaCha20Rng,
    counts: &mut Counts,
) {
    let (ods, name) = (&federation.node(NODE).ods, &federation.node(NODE).name);
    for at in 0..NODES {
        until("it is named as restored", || {
            let reply = federation.client(at).search(&patient(first));
            if reply.completeness == "complete" {
                counts.wrong(format!("node {at} says complete while node {NODE} is restored"));
            }
            reply.cause("restored", ods).is_some().then_some(())
        });
        for _ in 0..10 {
            let n = first + (rng.next_u64() % u64::from(3 * EACH)) as u32;
            let reply = federation.client(at).search(&patient(n));
            if reply.completeness == "complete" {
                counts.wrong(format!("node {at} says complete of patient {n}"));
            }
            reply.assert_partial("restored", ods, name);
            counts.partial += 1;
        }
    }
}

/// Confirms, as an admin does, that everything was sent again.
pub(crate) fn confirm(dir: &Path) {
    until("the node takes the confirmation", || {
        let mut confirm = Command::new(PROGRAM);
        confirm.arg("confirm-restored").arg("--dir").arg(dir);
        confirm.output().unwrap().status.success().then_some(())
    });
}
