//! What a thief of a node's whole disk and of its opened keystore can find out by trying numbers.
//!
//! There are so few patient numbers that all can be tried; what stands against it is that no node has the
//! key. The attacker here has everything that one evaluator's node has, tries every number of a range
//! against all digests by the share that it found, and finds no more than chance. With the shares of as
//! many nodes as it takes, the same program finds every patient: so it would have, had it been possible.
//!
//! `SIGNPOST_ENUMERATE=1000000` tries a million stems, which takes some minutes in a release build.
#![allow(missing_docs, clippy::unwrap_used)] // Tests fail by panicking.
#![allow(clippy::print_stdout, reason = "the counts belong to the result")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
    thread,
    time::Instant,
};

use minicbor::{Decode, bytes::ByteArray};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use signpost_keys::{
    StorageKey,
    blinding::{Blinding, CheckedEvaluation, EvaluatorIndex, KeyShare, PublicShare},
};
use signpost_node::{
    core::rows,
    digests::{Blobs, ChangeList, Changes, DigestKeying, Filter, LocatorKey, SizeClass},
    setup,
    store::{SledStore, Store as _},
};
use signpost_protocol::{
    IdentifierSystem, Locator, OrganizationId, PatientIdentifier,
    digest::DigestHead,
    roster::Parameters,
    statement::{Body as _, Envelope},
};
use signpost_tests::{
    client::{patient, record},
    processes::{Federation, until},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_signpost-under-test");
const NODES: usize = 5;
const THRESHOLD: usize = 3;
const PATIENTS: u32 = 60;
/// Stems (the first nine digits) that are tried unless told otherwise.
const STEMS: u32 = 6_000;
/// The first stem of the numbers that are never issued.
const FIRST: u32 = 999_000_000;
/// In one batch, as a client would.
const BATCH: usize = 500;

/// Of the row of a part in a ceremony what the attacker is after.
#[derive(Decode)]
#[cbor(map)]
struct PartRow {
    #[n(4)]
    share: Option<(u16, ByteArray<32>)>,
}

/// What is found on one disk, with the keystore opened.
struct Loot {
    shares: Vec<KeyShare>,
    digests: Vec<(OrganizationId, Filter, DigestKeying, Changes)>,
}

/// Takes everything that the directory of a node holds.
fn steal(dir: &Path) -> Loot {
    let identity = setup::open(dir).expect("the passphrase is known");
    let storage = StorageKey::new(identity.storage);
    let store = SledStore::open(dir.join("store"), 1 << 20).expect("the node is stopped");
    let mut shares: Vec<KeyShare> = identity.evaluator_share.into_iter().collect();
    for (key, sealed) in store.scan(rows::CEREMONIES_PREFIX, None, 100).unwrap() {
        let plain = storage.open(&key, &sealed).expect("sealed by this node");
        let row: PartRow = minicbor::decode(&plain).expect("a part");
        if let Some((index, scalar)) = row.share {
            let index = EvaluatorIndex::new(index).unwrap();
            shares.push(KeyShare::from_bytes(index, &scalar).unwrap());
        }
    }
    let blobs = Blobs::open(&dir.join("digests")).unwrap();
    let mut digests = Vec::new();
    for (_, bytes) in store.scan(rows::HEADS_PREFIX, None, 100).unwrap() {
        let envelope = Envelope::parse(DigestHead::KIND, &bytes, DigestHead::BYTES_MAX).unwrap();
        let head: DigestHead = envelope.body().unwrap();
        for filter in head.filters.iter() {
            let class = SizeClass::new(filter.class).unwrap();
            let Some(bits) = blobs.map(&filter.filter).unwrap() else { continue };
            let checked = Filter::check(bits, class, filter.ones).unwrap();
            let lists = filter.changes.iter().filter_map(|hash| blobs.map(hash).unwrap());
            let lists: Vec<_> =
                lists.map(|list| ChangeList::decode((*list).as_ref(), class).unwrap()).collect();
            let changes = Changes::merge(class, &lists).unwrap();
            let keying = DigestKeying::new(&head.organization, &filter.salt);
            digests.push((head.organization, checked, keying, changes));
        }
    }
    Loot { shares, digests }
}

/// The locators of a batch by these shares, as if they were all that it takes.
fn locators(
    patients: &[PatientIdentifier],
    shares: &[&KeyShare],
    rng: &mut ChaCha20Rng,
) -> Vec<Locator> {
    let inputs = patients.iter().map(PatientIdentifier::blinding_input).collect();
    let blinding = Blinding::new(inputs, rng).unwrap();
    let checked: Vec<CheckedEvaluation> = shares
        .iter()
        .map(|share| {
            let evaluation = share.evaluate(blinding.blinded(), rng).unwrap();
            blinding.check(&share.public(), share.index(), &evaluation).unwrap()
        })
        .collect();
    let group = group_of(shares);
    let prfs = blinding.combine(shares.len(), &group, &checked).unwrap();
    prfs.iter().map(|prf| Locator(prf.locator(1))).collect()
}

/// The public key to which these shares would amount.
fn group_of(shares: &[&KeyShare]) -> PublicShare {
    use curve25519_dalek::{RistrettoPoint, Scalar, ristretto::CompressedRistretto};
    let x = |share: &KeyShare| Scalar::from(u64::from(share.index().get()));
    let terms = shares.iter().map(|share| {
        let others = shares.iter().filter(|other| other.index() != share.index());
        let weight: Scalar = others.map(|o| x(o) * (x(o) - x(share)).invert()).product();
        let public = CompressedRistretto(share.public().to_bytes()).decompress().unwrap();
        public * weight
    });
    let sum: RistrettoPoint = terms.sum();
    PublicShare::from_bytes(sum.compress().to_bytes()).unwrap()
}

/// Tries all numbers of these stems; the stems with a hit in any digest, and how many numbers there were.
fn enumerate(loot: &Loot, shares: &[&KeyShare], stems: u32) -> (BTreeSet<u32>, u32) {
    let threads = thread::available_parallelism().map_or(1, usize::from) as u32;
    let per_thread = stems.div_ceil(threads);
    let start = Instant::now();
    let parts: Vec<_> = thread::scope(|scope| {
        let tasks: Vec<_> = (0..threads)
            .map(|at| {
                let range = at * per_thread..((at + 1) * per_thread).min(stems);
                scope.spawn(move || {
                    let mut rng = ChaCha20Rng::seed_from_u64(at.into());
                    let numbers: Vec<_> = range
                        .filter_map(|n| {
                            let system = IdentifierSystem::NhsNumber;
                            Some((n, PatientIdentifier::from_stem(system, FIRST + n)?))
                        })
                        .collect();
                    let mut hits = BTreeSet::new();
                    for batch in numbers.chunks(BATCH) {
                        let patients: Vec<_> = batch.iter().map(|(_, patient)| *patient).collect();
                        let found = locators(&patients, shares, &mut rng);
                        for ((stem, _), locator) in batch.iter().zip(&found) {
                            let key = LocatorKey::new(locator);
                            let is_hit = |(_, filter, keying, changes): &(
                                _,
                                Filter,
                                DigestKeying,
                                Changes,
                            )| {
                                filter.may_contain(&key, keying, changes)
                            };
                            if loot.digests.iter().any(is_hit) {
                                hits.insert(*stem);
                            }
                        }
                    }
                    (hits, numbers.len() as u32)
                })
            })
            .collect();
        tasks.into_iter().map(|task| task.join().unwrap()).collect()
    });
    let count = parts.iter().map(|(_, count)| count).sum();
    let hits: BTreeSet<u32> = parts.into_iter().flat_map(|(hits, _)| hits).collect();
    println!(
        "{count} numbers tried against {} digests by {} share(s): {} hits, {:.0?}",
        loot.digests.len(),
        shares.len(),
        hits.len(),
        start.elapsed()
    );
    (hits, count)
}

fn evaluators(federation: &Federation, at: usize, words: &[&str]) -> bool {
    let mut command = Command::new(PROGRAM);
    command.arg("evaluators").args(words).arg("--dir").arg(&federation.node(at).dir);
    command.output().expect("the program runs").status.success()
}

/// A network whose evaluators have made its key, with patients at one node: by which their stems are known.
fn network() -> (Federation, BTreeMap<u32, PatientIdentifier>) {
    let parameters = Parameters::STANDARD;
    let mut federation = Federation::found_without_key(PROGRAM, NODES, parameters, "info");
    (0..NODES).for_each(|n| federation.start(n));
    federation.await_fresh();
    let codes: Vec<_> = (0..NODES).map(|n| federation.node(n).ods.clone()).collect();
    let (codes, threshold) = (codes.join(","), THRESHOLD.to_string());
    let start = ["ceremony", "start", "--evaluators", &codes, "--threshold", &threshold, "--yes"];
    assert!(evaluators(&federation, 0, &start));
    for at in 0..NODES {
        until("it takes part", || {
            evaluators(&federation, at, &["ceremony", "join", "--yes"]).then_some(())
        });
    }
    for at in 0..3 {
        until("it is confirmed", || {
            evaluators(&federation, at, &["ceremony", "confirm", "--yes"]).then_some(())
        });
    }
    let holder = federation.node(4).ods.clone();
    let mut held = BTreeMap::new();
    let step = STEMS / PATIENTS / 2;
    for n in 0..PATIENTS {
        let subject = patient(n * step);
        until("the key is in force", || {
            let record = record(&holder, &subject, "https://records.example/1");
            let reply = federation.client(4).create(&record);
            (reply.status == 201).then_some(())
        });
        let stem = subject.expose_digits()[..9].parse::<u32>().unwrap() - FIRST;
        held.insert(stem, subject);
    }
    until("the last is found from afar", || {
        let last = held.values().next_back().unwrap();
        let reply = federation.client(0).search(last);
        (reply.status == 200 && !reply.ids().is_empty()).then_some(())
    });
    (federation, held)
}

#[test]
fn one_nodes_disk_and_keys_are_not_enough_to_find_out_patients_and_a_threshold_of_them_is() {
    let stems = std::env::var("SIGNPOST_ENUMERATE").map_or(STEMS, |n| n.parse().expect("a number"));
    let (mut federation, held) = network();
    (0..NODES).for_each(|n| federation.kill(n));
    let loot = steal(&federation.node(0).dir);
    assert_eq!(loot.shares.len(), 1, "an evaluator's node has one share");
    assert!(loot.digests.len() >= NODES - 1, "it has everybody's digests");

    // Each digest takes one locator in some 70,000 for one that it has.
    let (hits, count) = enumerate(&loot, &[&loot.shares[0]], stems);
    let chance = f64::from(count) * loot.digests.len() as f64 / 70_000.0;
    println!("by chance {chance:.1} would be");
    assert!(hits.len() as f64 <= 5.0 * chance + 5.0, "{} hits, by chance {chance:.1}", hits.len());
    let found = held.keys().filter(|stem| hits.contains(stem)).count();
    assert!(found <= 1, "{found} of {PATIENTS} patients were found with one share");

    // Two are one too few, three are all that it takes.
    let others: Vec<KeyShare> =
        (1..THRESHOLD).map(|n| steal(&federation.node(n).dir).shares.remove(0)).collect();
    let two = [&loot.shares[0], &others[0]];
    let (hits, _) = enumerate(&loot, &two, stems.min(STEMS));
    let found = held.keys().filter(|stem| hits.contains(stem)).count();
    assert!(found <= 1, "{found} of {PATIENTS} patients were found with two shares");
    let three = [&loot.shares[0], &others[0], &others[1]];
    let (hits, _) = enumerate(&loot, &three, stems.min(STEMS));
    assert!(held.keys().all(|stem| hits.contains(stem)), "the control finds all: {}", hits.len());
}
