//! Real processes: a network that governs itself. Members are suspended, readmitted and expelled, a
//! steward is replaced, a transport key is revoked, a root key is lost and reset, and of a supplier's
//! fifty organizations, which renew its transport key together, one is cut off. `joining.rs` is about how one comes in.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the times belong to the result")]

use std::{
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;
use signpost_node::setup::{PlannedOrganization, organization_dir};
use signpost_protocol::roster::Parameters;
use signpost_tests::{
    client::{Client, patient, record},
    processes::{Federation, invented, until},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_signpost-under-test");
/// The first five nodes' organizations are stewards; these two are none.
const MEMBER: usize = 5;
const SUPPLIER: usize = 6;
/// Organizations that the supplier serves.
const SERVED: usize = 50;
/// A root reset that all have to approve within this time takes effect after twice as long.
const RESET_WAIT: u64 = 60_000;

fn run(dir: &Path, arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(PROGRAM);
    command.arg("--dir").arg(dir).args(arguments).env_remove("SIGNPOST_DIR");
    let ran = command.stdin(Stdio::null()).output().expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (ran.status.success(), text(&ran.stdout), text(&ran.stderr))
}

#[track_caller]
fn done(dir: &Path, arguments: &[&str]) -> Value {
    let (ok, out, error) = run(dir, &[&["--json"], arguments].concat());
    assert!(ok, "{arguments:?}: {out}{error}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error} in {out}"))
}

#[track_caller]
fn refused(dir: &Path, arguments: &[&str], why: &str) {
    let (ok, out, error) = run(dir, arguments);
    assert!(!ok && error.contains(why) && error.contains("hint:"), "{arguments:?}: {out}{error}");
}

/// One steward proposes, the others approve; returns the proposal's id.
fn decide(federation: &Federation, stewards: &[usize], change: &[&str]) -> String {
    let dir = |n: usize| federation.node(n).dir.as_path();
    let proposed = done(dir(stewards[0]), &[&["roster", "propose"], change, &["--yes"]].concat());
    let id = proposed["proposal"].as_str().expect("an id").to_owned();
    for n in &stewards[1..] {
        until("the proposal has come", || run(dir(*n), &["roster", "review", &id]).0.then_some(()));
        done(dir(*n), &["roster", "approve", &id, "--yes"]);
    }
    id
}

/// Waits until a look-up at each of these names exactly these organizations as not searched.
fn await_causes(what: &str, clients: &[&Client], of: u32, expected: &[(&str, &str)]) {
    let mut all: Vec<(String, String)> =
        expected.iter().map(|(code, ods)| ((*code).to_owned(), (*ods).to_owned())).collect();
    all.sort();
    let (_, took) = until(what, || {
        clients
            .iter()
            .all(|client| {
                let reply = client.search(&patient(of));
                let mut causes = reply.causes();
                causes.sort();
                causes == all
            })
            .then_some(())
    });
    println!("{what}: after {} ms", took.as_millis());
}

fn founded() -> Federation {
    let mut invented = invented(6 + SERVED).into_iter();
    let mut nodes: Vec<Vec<PlannedOrganization>> = (0..6)
        .map(|_| {
            let (ods, name) = invented.next().expect("enough");
            vec![PlannedOrganization::new(ods, name)]
        })
        .collect();
    nodes.push(invented.map(|(ods, name)| PlannedOrganization::new(ods, name)).collect());
    let parameters = Parameters { reset_wait: RESET_WAIT, ..Parameters::STANDARD };
    let mut federation = Federation::found_hosting(PROGRAM, nodes, parameters, "info", 20_000);
    (0..7).for_each(|n| federation.start(n));
    federation.await_fresh();
    federation
}

#[test]
fn a_network_governs_itself() {
    let mut federation = founded();
    let _ = federation.client(MEMBER).created(&record(
        &federation.node(MEMBER).ods.clone(),
        &patient(1),
        "https://records.example/1",
    ));
    let clients: Vec<Client> = (0..7).map(|n| federation.client(n).clone()).collect();
    let everybody: Vec<&Client> = clients.iter().collect();
    await_causes("all is well", &everybody, 1, &[]);
    a_member_is_suspended_and_readmitted(&federation, &everybody);
    one_of_fifty_is_suspended(&federation, &everybody);
    a_transport_key_is_revoked(&mut federation, &everybody);
    a_supplier_renews_its_transport_key(&mut federation, &everybody);
    a_steward_is_replaced(&federation);
    a_root_is_lost_and_reset(&mut federation);
    a_member_is_expelled(&federation, &everybody);
}

fn a_member_is_suspended_and_readmitted(federation: &Federation, everybody: &[&Client]) {
    let member = federation.node(MEMBER);
    let ods = member.ods.as_str();
    let others: Vec<&Client> =
        everybody.iter().enumerate().filter(|(n, _)| *n != MEMBER).map(|(_, c)| *c).collect();
    decide(federation, &[0, 1, 2], &["suspend", ods, "--reason", "Its node was stolen"]);
    await_causes("it is named as suspended everywhere", &others, 1, &[("suspended", ods)]);
    let found: usize = others.iter().map(|client| client.search(&patient(1)).found().len()).sum();
    assert_eq!(found, 0, "its record is not shown any more");
    // Cut off before it could hear of the decision, it is told by those who refuse it.
    let (_, took) = until("its own admin and clinical systems are told", || {
        let status = member.client.status()?;
        let is_told = status.notices.iter().any(|notice| notice.contains("suspended"));
        (is_told && !status.ready).then_some(())
    });
    println!("its own admin is told after {} ms more", took.as_millis());
    let reply = member.client.search(&patient(1));
    assert_ne!((reply.status, &*reply.completeness), (200, "complete"), "{}", reply.body);
    refused(
        &federation.node(0).dir,
        &["roster", "propose", "suspend", ods, "--reason", "Again", "--yes"],
        "suspended",
    );

    decide(federation, &[1, 2, 3], &["readmit", ods, "--reason", "It has a new node"]);
    await_causes("it is readmitted, and everything complete", everybody, 1, &[]);
    assert_eq!(federation.client(0).search(&patient(1)).found().len(), 1);
}

fn one_of_fifty_is_suspended(federation: &Federation, everybody: &[&Client]) {
    let supplier = federation.node(SUPPLIER);
    let out = &supplier.hosted[20];
    for (n, hosted) in supplier.hosted.iter().enumerate() {
        let _ = hosted.client.created(&record(
            &hosted.ods,
            &patient(100),
            &format!("https://records.example/{n}"),
        ));
    }
    let all = supplier.hosted.len();
    until("all of them are found", || {
        let reply = federation.client(0).search(&patient(100));
        (reply.found().len() == all && reply.causes().is_empty()).then_some(())
    });
    decide(federation, &[2, 3, 4], &["suspend", &out.ods, "--reason", "It has moved"]);
    let expected = [("suspended", out.ods.as_str())];
    await_causes("one of the supplier's is named as suspended", everybody, 100, &expected);
    for client in everybody {
        assert_eq!(client.search(&patient(100)).found().len(), all - 1, "the others are found");
    }
    assert_eq!(out.client.search(&patient(100)).status, 403);
    for hosted in supplier.hosted.iter().filter(|hosted| hosted.ods != out.ods) {
        let reply = hosted.client.search(&patient(1));
        assert_eq!((reply.status, reply.found().len()), (200, 1), "{} works on", hosted.ods);
        assert_eq!(reply.causes(), [("suspended".to_owned(), out.ods.clone())]);
    }
    decide(federation, &[0, 1, 4], &["readmit", &out.ods, "--reason", "It is back"]);
    await_causes("it is readmitted", everybody, 100, &[]);
}

fn a_transport_key_is_revoked(federation: &mut Federation, everybody: &[&Client]) {
    let dir = federation.node(MEMBER).dir.clone();
    let ods = federation.node(MEMBER).ods.clone();
    let renewed = done(&dir, &["keys", "renew", "transport", "--revoke", "compromised", "--yes"]);
    assert_eq!(renewed["signed"], true, "{renewed}");
    // Whoever has the old key is cut off, and that is the running node.
    let (_, took) = until("the node with the revoked key is cut off", || {
        let reply = federation.client(0).search(&patient(1));
        reply.causes().contains(&("unreachable".to_owned(), ods.clone())).then_some(())
    });
    println!("the node with the revoked key is cut off after {} ms", took.as_millis());
    federation.kill(MEMBER);
    federation.start(MEMBER);
    await_causes("with its new key it is back", everybody, 1, &[]);
    let keys = done(&dir, &["keys", "list"]);
    let keys = keys["keys"].as_array().expect("a list").clone();
    let transport: Vec<_> = keys.iter().filter(|key| key["use"] == "transport").collect();
    assert_eq!(transport.len(), 2, "{keys:?}");
    assert_eq!(transport.iter().filter(|key| key["revoked_since"].is_null()).count(), 1);
}

/// Fifty root keys sign before the node uses the new key; meanwhile it starts and answers as before.
fn a_supplier_renews_its_transport_key(federation: &mut Federation, everybody: &[&Client]) {
    let supplier = federation.node(SUPPLIER);
    let dir = supplier.dir.clone();
    let hosted = supplier.hosted.iter().map(|hosted| &hosted.ods);
    let codes: Vec<String> = std::iter::once(&supplier.ods).chain(hosted).cloned().collect();
    let renew = ["keys", "renew", "transport", "--yes", "--organization"];
    refused(&dir, &renew[..4], "several organizations");
    // Nobody agrees: nothing is signed, and the key that was drawn is the one to go on with.
    refused(&dir, &["keys", "renew", "transport", "--organization", &codes[0]], "not confirmed");
    let transport = || -> Vec<Value> {
        let keys = done(&dir, &["keys", "list", "--organization", &codes[0]]);
        let keys = keys["keys"].as_array().expect("a list").iter();
        keys.filter(|key| key["use"] == "transport").cloned().collect()
    };
    let before = transport();
    let [old] = &*before else { panic!("one transport key until now: {before:?}") };
    for (n, ods) in codes.iter().enumerate() {
        let renewed = done(&dir, &[&renew[..], &[ods]].concat());
        let what = renewed["what"].as_str().expect("text");
        assert!(what.contains("was drawn earlier"), "{what}");
        assert_eq!(renewed["signed"], true, "{renewed}");
        let missing = renewed["missing"].as_array().expect("a list").len();
        assert_eq!((missing, &renewed["taken"]), (codes.len() - 1 - n, &(missing == 0).into()));
        if n == codes.len() / 2 {
            federation.kill(SUPPLIER);
            federation.start(SUPPLIER);
            await_causes("half of them have signed, and it is back", everybody, 100, &[]);
            let again = done(&dir, &[&renew[..], &[ods]].concat());
            assert_eq!((&again["signed"], &again["taken"]), (&false.into(), &false.into()));
        }
    }
    federation.kill(SUPPLIER);
    federation.start(SUPPLIER);
    await_causes("with its new key the supplier is back", everybody, 100, &[]);
    assert_eq!(transport().len(), 2);
    // Nobody misses the old one, which would cut off the running node otherwise.
    let old = old["key"].as_str().expect("an id");
    let revoke = ["keys", "revoke", old, "--reason", "superseded", "--yes", "--organization"];
    done(&dir, &[&revoke[..], &[&codes[0]]].concat());
    await_causes("without its old key it goes on", everybody, 100, &[]);
}

fn a_steward_is_replaced(federation: &Federation) {
    let (leaves, comes) = (federation.node(4), federation.node(MEMBER));
    let change =
        ["stewards", "--add", &comes.ods, "--remove", &leaves.ods, "--reason", "It is leaving"];
    decide(federation, &[0, 1, 2], &change);
    for n in 0..7 {
        until("the new stewards are known", || {
            let status = federation.client(n).status()?;
            (status.roster.epoch == 1 && status.roster.stewards.contains(&comes.ods)).then_some(())
        });
    }
    // The new one's approval counts; the former one's is not even given.
    let name = ["rename", &leaves.ods, "--name", "Another Name", "--reason", "A trial"];
    let id = decide(federation, &[0, MEMBER], &name);
    until("the proposal has come", || run(&leaves.dir, &["roster", "review", &id]).0.then_some(()));
    refused(&leaves.dir, &["roster", "approve", &id, "--yes"], "is no steward");
    let review = done(&federation.node(0).dir, &["roster", "review", &id]);
    assert_eq!((&review["state"], &review["missing"]), (&"open".into(), &1.into()), "{review}");
}

/// The former steward has lost its root key; the new one is among those who decide.
fn a_root_is_lost_and_reset(federation: &mut Federation) {
    let loser = federation.node(4);
    let folder = organization_dir(&loser.dir, &loser.ods.parse().expect("a code"));
    std::fs::remove_file(folder.join("root.keystore")).expect("it was there");
    let (ok, _, error) = run(&loser.dir, &["keys", "renew", "pointer", "--yes"]);
    assert!(!ok && error.contains("root.keystore"), "{error}");

    let new = loser.dir.join("new-root");
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let drawn = done(&loser.dir, &["keys", "new-root", "--out", &text(&new)]);
    let [root, next] = ["root", "next_root"].map(|key| drawn[key].as_str().expect("hexadecimal"));
    let change = ["reset-root", &loser.ods, "--root", root, "--next-root", next];
    let id = decide(
        federation,
        &[MEMBER, 0, 1],
        &[&change[..], &["--reason", "Seen in person"]].concat(),
    );
    let review = done(&loser.dir, &["roster", "review", &id]);
    assert_eq!(review["state"], "waits", "{review}");
    let keystore = text(&new.join("root.keystore"));
    let republish = ["keys", "republish", "--root", &keystore, "--yes"];
    let (ok, ..) = run(&loser.dir, &republish);
    assert!(!ok, "the new root key does not count yet");
    let (_, took) = until("the reset takes effect", || {
        (done(&loser.dir, &["roster", "review", &id])["state"] == "law").then_some(())
    });
    println!("the reset takes effect {} ms after it was decided", took.as_millis());
    until("the new root key lists the keys", || run(&loser.dir, &republish).0.then_some(()));
    for n in 0..7 {
        until("everybody follows the new root key", || {
            let member = done(&federation.node(n).dir, &["roster", "show", &loser.ods]);
            (member["lineage"] == 1).then_some(())
        });
    }
    let _ = loser.client.created(&record(&loser.ods, &patient(1), "https://records.example/2"));
    until("it works as before", || {
        let reply = federation.client(0).search(&patient(1));
        (reply.found().len() == 2 && reply.causes().is_empty()).then_some(())
    });
}

fn a_member_is_expelled(federation: &Federation, everybody: &[&Client]) {
    let out = &federation.node(SUPPLIER).hosted[20];
    decide(federation, &[0, 1, MEMBER], &["expel", &out.ods, "--reason", "It has closed"]);
    let (_, took) = until("it is not found and not named any more", || {
        everybody
            .iter()
            .all(|client| {
                let reply = client.search(&patient(100));
                reply.causes().is_empty() && reply.found().iter().all(|(ods, _)| *ods != out.ods)
            })
            .then_some(())
    });
    println!("it is not found and not named any more after {} ms", took.as_millis());
    assert_eq!(out.client.search(&patient(100)).status, 403);
    refused(
        &federation.node(0).dir,
        &["roster", "propose", "readmit", &out.ods, "--reason", "x", "--yes"],
        "expelled",
    );
    // All nodes have the same roster.
    let digests = || -> Vec<String> {
        (0..7).filter_map(|n| Some(federation.client(n).status()?.roster.digest)).collect()
    };
    until("all nodes agree on the roster", || {
        let digests = digests();
        (digests.len() == 7 && digests.iter().all(|digest| *digest == digests[0])).then_some(())
    });
}
