//! Real processes: a supplier's node that serves fifty organizations, one of them suspended, among
//! nodes that serve one each.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the times belong to the result")]

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Output, Stdio},
};

use signpost_node::setup::PlannedOrganization;
use signpost_protocol::roster::{Parameters, Standing};
use signpost_tests::{
    client::{Client, Reply, patient, record},
    processes::{Federation, invented, until},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_signpost-under-test");
const URL: &str = "https://records.example/1";

/// The node that serves many.
const HOST: usize = 1;
/// A node of one organization.
const ASKER: usize = 2;
/// How many it serves.
const HOSTED: usize = 50;
/// Which of them is suspended.
const SUSPENDED: usize = 17;

/// A network of three nodes: one, fifty, one.
fn federation() -> Federation {
    let mut organizations =
        invented(HOSTED + 2).into_iter().map(|(ods, name)| PlannedOrganization::new(ods, name));
    let mut take = |count| organizations.by_ref().take(count).collect::<Vec<_>>();
    let mut nodes = vec![take(1), take(HOSTED), take(1)];
    nodes[HOST][SUSPENDED].standing = Standing::Suspended;
    let mut federation =
        Federation::found_hosting(PROGRAM, nodes, Parameters::STANDARD, "info", 1_000);
    (0..3).for_each(|n| federation.start(n));
    federation
}

/// The organizations of the host: ODS code, name, client.
fn hosted(federation: &Federation) -> Vec<(&str, &str, &Client)> {
    let host = federation.node(HOST);
    let others = host.hosted.iter().map(|other| (&*other.ods, &*other.name, &other.client));
    std::iter::once((&*host.ods, &*host.name, &host.client)).chain(others).collect()
}

/// Waits until the asker has the digest of every admitted organization.
fn await_digests(federation: &mut Federation) {
    for n in 0..3 {
        federation.await_ready(n);
    }
    for n in [0, ASKER] {
        let client = federation.client(n);
        let (_, took) = until("every digest is there", || {
            let peers = client.status()?.peers;
            let fresh = peers.iter().filter(|peer| peer.digest == "fresh" && peer.connected);
            (fresh.count() == HOSTED).then_some(())
        });
        println!("node {n} has {HOSTED} digests after {} ms", took.as_millis());
    }
}

fn custodians(reply: &Reply) -> BTreeSet<String> {
    reply.found().into_iter().map(|(custodian, _)| custodian).collect()
}

fn signpost(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).arg("--dir").arg(dir).stdin(Stdio::null());
    command.output().expect("the program can be started")
}

#[test]
fn a_suppliers_node_serves_fifty_organizations_of_which_one_is_suspended() {
    let mut federation = federation();
    await_digests(&mut federation);
    everybody_finds_what_each_of_them_publishes(&federation);
    no_token_opens_what_is_another_organizations(&federation);
    the_suspended_one_is_refused_with_the_reason(&federation);
    the_command_line_asks_whose_token_to_use(&federation);

    federation.kill(HOST);
    federation.start(HOST);
    await_digests(&mut federation);
    let all = all_but_the_suspended(&federation);
    until("all are there after a restart", || {
        let reply = federation.client(ASKER).search(&patient(1));
        (custodians(&reply) == all).then_some(())
    });
}

fn all_but_the_suspended(federation: &Federation) -> BTreeSet<String> {
    let hosted = hosted(federation).into_iter().enumerate();
    hosted.filter(|(n, _)| *n != SUSPENDED).map(|(_, (ods, ..))| ods.to_owned()).collect()
}

fn everybody_finds_what_each_of_them_publishes(federation: &Federation) {
    let hosted = hosted(federation);
    for (n, (ods, _, client)) in hosted.iter().enumerate().filter(|(n, _)| *n != SUSPENDED) {
        let id = client.created(&record(ods, &patient(1), URL));
        assert!(id.starts_with(&format!("{ods}-")), "{n}: {id}");
    }
    let all = all_but_the_suspended(federation);
    assert_eq!(all.len(), HOSTED - 1);
    let (suspended, name, _) = hosted[SUSPENDED];
    let find_all = |client: &Client| {
        let (reply, took) = until("all 49 are found", || {
            let reply = client.search(&patient(1));
            (custodians(&reply) == all).then_some(reply)
        });
        reply.assert_partial("suspended", suspended, name);
        assert_eq!(reply.issues().len(), 1, "nothing else is missing: {}", reply.body);
        println!("49 holders on one node found after {} ms", took.as_millis());
    };
    find_all(federation.client(0));
    find_all(federation.client(ASKER));
    // Another organization on the same node.
    find_all(hosted[HOSTED - 1].2);
}

fn no_token_opens_what_is_another_organizations(federation: &Federation) {
    let hosted = hosted(federation);
    let ((first, _, ours), (second, _, theirs)) = (hosted[0], hosted[1]);
    let said = ours.create(&record(second, &patient(2), URL));
    let said = said.assert_refused(403);
    assert!(said.contains(first) && said.contains(second), "{said}");
    let id = theirs.created(&record(second, &patient(2), URL));
    ours.put(&id, &record(second, &patient(2), URL), None).assert_refused(403);
    ours.delete(&id).assert_refused(403);
    let exported = |client: &Client| {
        let reply = client.send("GET", "/signpost/v1/sources/default/ids", &[], b"");
        reply.expect("a reply").body["ids"].as_array().expect("a list").len()
    };
    let before = exported(theirs);
    let mut imported = record(second, &patient(3), URL);
    imported["id"] = format!("{second}-imported").into();
    let refused = ours.import(std::slice::from_ref(&imported)).expect("a reply").body;
    assert_eq!(refused["results"][0]["error"]["code"], "forbidden", "{refused}");
    assert_eq!(exported(theirs), before);
    let done = theirs.import(&[imported]).expect("a reply").body;
    assert_eq!(done["results"][0]["effect"], "created", "{done}");
    assert_eq!((exported(ours), exported(theirs)), (0, before + 1));

    // Whose patient it is, only the holder itself is told.
    let subject = |client: &Client| {
        let reply = client.read(&id);
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.body["subject"]["identifier"]["value"].clone()
    };
    assert_eq!(subject(theirs), patient(2).expose_digits());
    assert_ne!(subject(ours), patient(2).expose_digits());
    ours.with_token("0123456789abcdef0123456789abcdef").search(&patient(1)).assert_refused(401);
    let pointers = |client: &Client| {
        let status = client.status().expect("it runs");
        assert_eq!(status.serves.len(), HOSTED);
        assert!(status.serves[1..].iter().all(|other| other.pointers.is_none()));
        (status.serves[0].ods.clone(), status.serves[0].pointers)
    };
    assert_eq!(pointers(ours), (first.to_owned(), Some(1)));
    assert_eq!(pointers(theirs), (second.to_owned(), Some(3)));
}

fn the_suspended_one_is_refused_with_the_reason(federation: &Federation) {
    let (ods, name, client) = hosted(federation)[SUSPENDED];
    let searched = client.search(&patient(1));
    let created = client.create(&record(ods, &patient(1), URL));
    for reply in [&searched, &created] {
        let said = reply.assert_refused(403);
        assert!(said.contains(&format!("{name} ({ods}) is suspended")), "{said}");
    }
    let status = client.status().expect("it runs");
    assert_eq!((&*status.serves[0].standing, status.ready), ("suspended", true));
    assert!(status.notices.iter().any(|notice| notice.contains("is suspended")));
    assert!(federation.client(HOST).is_ready(), "the node serves the others");
}

fn the_command_line_asks_whose_token_to_use(federation: &Federation) {
    let dir = &federation.node(HOST).dir;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let number = patient(2).expose_digits().to_owned();
    let ran = signpost(dir, &["locate", &number]);
    let said = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(said.contains("serves several organizations") && said.contains("30 more"), "{said}");
    assert!(said.contains("--organization"), "{said}");
    let ods = &federation.node(HOST).ods;
    let ran = signpost(dir, &["locate", &number, "--organization", ods]);
    // Partial, for one member is suspended.
    assert_eq!(ran.status.code(), Some(3), "{}", text(&ran.stderr));
    assert!(text(&ran.stdout).contains("1 record was found"), "{}", text(&ran.stdout));
    let ran = signpost(dir, &["locate", &number, "--organization", "NOBODY"]);
    assert_eq!(ran.status.code(), Some(1));
    assert!(text(&ran.stderr).contains("does not serve NOBODY"), "{}", text(&ran.stderr));
    let ran = signpost(dir, &["status"]);
    let said = text(&ran.stdout);
    assert!(said.contains("50 organizations, 49 of them admitted"), "{said}");
    assert!(said.contains("suspended") && said.contains("and 30 more"), "{said}");
    // Where there is but one, nobody is asked.
    let ran = signpost(&federation.node(ASKER).dir, &["locate", &number]);
    assert_eq!(ran.status.code(), Some(3), "{}", text(&ran.stderr));
}
