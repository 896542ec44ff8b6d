//! A node that is killed at random moments of an import holds everything that it acknowledged.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the counts belong to the result")]

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use rand_core::Rng as _;
use serde_json::Value;
use signpost_protocol::roster::Parameters;
use signpost_tests::{
    client::{Client, patient, record},
    processes::{Federation, until},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_signpost-under-test");
/// How often the node is killed.
const ROUNDS: u32 = 5;
/// New pointers in a round.
const NEW: u32 = 2_000;
/// Of the pointers of the round before, every so many gets a second version.
const CHANGED_EVERY: u32 = 10;
/// Pointers in one request.
const CHUNK: usize = 100;
/// Names the environment variable with the seed of a run to repeat.
const SEED: &str = "SIGNPOST_TEST_SEED";

/// What the node is to hold: by id, the version and the content's URL.
type Held = BTreeMap<String, (u64, String)>;

fn id_of(ods: &str, n: u32) -> String {
    format!("{ods}-{n}")
}

fn pointer(ods: &str, n: u32, version: u64) -> Value {
    let url = format!("https://records.example/{n}/{version}");
    let mut resource = record(ods, &patient(n), &url);
    resource["id"] = id_of(ods, n).into();
    resource
}

/// What a round imports: new pointers, and among them second versions of older ones.
fn lines_of(ods: &str, round: u32) -> Vec<Value> {
    let first = round * NEW;
    let mut lines = Vec::new();
    for n in first..first + NEW {
        lines.push(pointer(ods, n, 1));
        if round > 0 && n % CHANGED_EVERY == 0 {
            lines.push(pointer(ods, n - NEW, 2));
        }
    }
    lines
}

fn url_of(resource: &Value) -> &str {
    resource["content"][0]["attachment"]["url"].as_str().expect("test pointers have one")
}

/// Imports chunk after chunk until the node is gone; returns what it acknowledged.
fn import(client: &Client, lines: &[Value], chunks: &AtomicUsize) -> Held {
    let mut acknowledged = Held::new();
    for chunk in lines.chunks(CHUNK) {
        let Ok(reply) = client.import(chunk) else { break };
        assert_eq!(reply.status, 200, "{}", reply.body);
        let results = reply.body["results"].as_array().expect("a result for each line");
        assert_eq!(results.len(), chunk.len());
        for (line, result) in chunk.iter().zip(results) {
            assert_eq!(result["id"], line["id"], "{result}");
            let version = result["version"].as_u64().expect("a version");
            let id = line["id"].as_str().expect("a given id").to_owned();
            acknowledged.insert(id, (version, url_of(line).to_owned()));
        }
        chunks.fetch_add(1, Ordering::SeqCst);
    }
    acknowledged
}

fn assert_held(client: &Client, expected: &Held) {
    for (id, (version, url)) in expected {
        let read = client.read(id);
        assert_eq!(read.status, 200, "{id} is lost: {}", read.body);
        assert_eq!(read.etag, format!("W/\"{version}\""), "{id}");
        assert_eq!(url_of(&read.body), url, "{id}");
    }
}

#[test]
fn what_was_acknowledged_is_there_after_kill_9() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as u64;
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok()).unwrap_or(now);
    println!("{SEED}={seed}");
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut federation = Federation::found(PROGRAM, 1, Parameters::STANDARD, "info");
    let ods = federation.node(0).ods.clone();
    let mut held = Held::new();
    let mut cut_short = 0;

    for round in 0..ROUNDS {
        federation.start(0);
        federation.await_ready(0);
        let lines = lines_of(&ods, round);
        let chunks = AtomicUsize::new(0);
        let client = federation.client(0).clone();
        // In the first half of the import: the second is time for the kill to happen in.
        let kill_after = rng.next_u64() as usize % (lines.len() / CHUNK / 2);
        let then = Duration::from_micros(rng.next_u64() % 50_000);
        let acknowledged = thread::scope(|scope| {
            let importing = scope.spawn(|| import(&client, &lines, &chunks));
            until("so much is imported", || {
                (chunks.load(Ordering::SeqCst) >= kill_after).then_some(())
            });
            thread::sleep(then);
            federation.kill(0);
            importing.join().expect("every reply was as it should be")
        });
        cut_short += u32::from(acknowledged.len() < lines.len());

        federation.start(0);
        let ready = federation.await_ready(0);
        assert_held(&client, &acknowledged);
        let (mut unchanged, mut repaired) = (0, 0);
        for chunk in lines.chunks(CHUNK) {
            let reply = client.import(chunk).expect("it runs");
            let results = reply.body["results"].as_array().expect("a result for each line");
            for (line, result) in chunk.iter().zip(results) {
                let id = line["id"].as_str().expect("a given id");
                let version = result["version"].as_u64().expect("a version");
                match result["effect"].as_str() {
                    Some("unchanged") => unchanged += 1,
                    Some("created" | "updated") => {
                        repaired += 1;
                        assert!(!acknowledged.contains_key(id), "{id} was lost: {result}");
                    }
                    _ => panic!("{id}: {result}"),
                }
                // Whether it was stored before the kill or now, it is stored once.
                assert!(url_of(line).ends_with(&format!("/{version}")), "{id}: {result}");
                held.insert(id.to_owned(), (version, url_of(line).to_owned()));
            }
        }
        assert_eq!(unchanged + repaired, lines.len());
        assert!(unchanged >= acknowledged.len());
        let pointers = client.status().expect("it runs").serves[0].pointers;
        assert_eq!(pointers, held.len() as u64, "each once");
        println!(
            "round {round}: {} of {} acknowledged before the kill, 0 lost, ready again after \
             {ready:.1?}; imported again: {unchanged} unchanged, {repaired} new",
            acknowledged.len(),
            lines.len(),
        );
        federation.kill(0);
    }

    federation.start(0);
    federation.await_ready(0);
    let client = federation.client(0);
    assert_held(client, &held);
    for n in [0, CHANGED_EVERY, NEW, ROUNDS * NEW - 1] {
        let reply = client.search(&patient(n));
        reply.assert_complete();
        assert_eq!(reply.ids(), [id_of(&ods, n)].into());
    }
    assert!(cut_short > 0, "no import was cut short: the kills came too late to show anything");
    println!(
        "{} pointers after {} kills, {cut_short} of them during an import",
        held.len(),
        2 * ROUNDS
    );
}
