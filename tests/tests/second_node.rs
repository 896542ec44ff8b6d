//! Real processes: a founder gets a second node by the commands that two admins type, both are found,
//! one of them is killed, and taken off the list.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the times belong to the result")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use signpost_node::setup::{API_TOKEN_FILE, organization_dir};
use signpost_tests::{
    client::{Client, patient, record},
    processes::{Federation, Process, free_ports, until},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_signpost-under-test");
/// Whose second node it is, and who looks up.
const OWNER: usize = 0;
const ASKER: usize = 2;

fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("--dir").arg(dir).args(arguments).env_remove("SIGNPOST_DIR");
    command
}

fn run(dir: &Path, arguments: &[&str]) -> (bool, String, String) {
    let ran = command(dir, arguments).stdin(Stdio::null()).output().expect("the program starts");
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
fn refused(dir: &Path, arguments: &[&str], why: &str, hint: &str) {
    let (ok, out, error) = run(dir, arguments);
    assert!(!ok && error.contains(why) && error.contains(hint), "{arguments:?}: {out}{error}");
}

/// The second node: its machine, as far as it has one.
struct Second {
    root: tempfile::TempDir,
    ods: String,
    ports: Vec<u16>,
}

impl Second {
    fn dir(&self) -> PathBuf {
        self.root.path().join("node")
    }

    fn path(&self, name: &str) -> String {
        self.root.path().join(name).to_str().expect("text").to_owned()
    }

    fn start(&self) -> Process {
        let mut command = command(&self.dir(), &["run", "--stop-with-stdin"]);
        Process::start(&mut command, &self.root.path().join("log"))
    }

    fn client(&self) -> Client {
        let folder = organization_dir(&self.dir(), &self.ods.parse().expect("a code"));
        let token = fs::read_to_string(folder.join(API_TOKEN_FILE)).expect("a token");
        Client::new(format!("http://127.0.0.1:{}", self.ports[0]), token.trim().to_owned())
    }
}

/// Waits until a look-up has found so many records of everybody that there is.
fn await_whole(what: &str, client: &Client, of: u32, found: usize) {
    let (_, took) = until(what, || {
        let reply = client.search(&patient(of));
        (reply.completeness == "complete" && reply.found().len() == found).then_some(reply)
    });
    println!("{what}: after {} ms", took.as_millis());
}

#[test]
fn a_founder_gets_a_second_node_and_gives_it_up_again() {
    let federation = Federation::running(PROGRAM, 3);
    let owner = federation.node(OWNER);
    let second = Second {
        root: tempfile::tempdir().expect("a temporary directory"),
        ods: owner.ods.clone(),
        ports: free_ports(2),
    };
    let node = make(&federation, &second);

    let mut running = second.start();
    let (client, asker) = (second.client(), federation.client(ASKER));
    until("the second node is ready", || client.is_ready().then_some(()));
    for (client, url) in [(&owner.client, "first"), (&client, "second")] {
        let url = format!("https://records.example/{url}");
        let _ = client.created(&record(&owner.ods, &patient(1), &url));
    }
    await_whole("a third organization finds the records of both", asker, 1, 2);
    let owners = asker.search(&patient(1));
    assert!(owners.found().iter().all(|(ods, _)| *ods == owner.ods), "{}", owners.body);
    // Each of the two is asked by the other, and has its locators from the evaluators: of these
    // the second node is none, though its organization is one.
    await_whole("the first finds both", &owner.client, 1, 2);
    await_whole("the second finds both", &client, 1, 2);
    let evaluators = client.status().expect("it runs").evaluators;
    assert_eq!((evaluators.members.len(), evaluators.threshold), (3, 2));

    running.kill();
    let (reply, took) = until("the result is partial without the second", || {
        let reply = asker.search(&patient(1));
        (reply.completeness == "partial").then_some(reply)
    });
    println!("the result is partial after {} ms", took.as_millis());
    reply.assert_partial("unreachable", &owner.ods, &owner.name);
    assert_eq!(reply.found().len(), 1, "that of the first is there");

    let remove = ["keys", "remove-node", &node[..8]];
    let rehearsed = done(&owner.dir, &[&remove[..], &["--dry-run"]].concat());
    let what = rehearsed["what"].as_str().expect("text");
    assert!(what.contains(&format!("Node {} is gone.", &node[..8])), "{what}");
    assert!(!what.contains("CAREFUL"), "the share is at the first node: {what}");
    refused(&owner.dir, &remove, "not confirmed", "--yes");
    let own = owner.client.status().expect("it runs").node;
    let itself = ["keys", "remove-node", &own[..8], "--yes"];
    refused(&owner.dir, &itself, "was typed at", "another node");
    let removed = done(&owner.dir, &[&remove[..], &["--yes"]].concat());
    assert_eq!((&removed["signed"], &removed["node"]), (&true.into(), &node.as_str().into()));
    await_whole("the result is whole without the second", asker, 1, 1);
    await_whole("at its organization too", &owner.client, 1, 1);
    refused(&owner.dir, &itself, "the only node", "signpost leave");
}

/// Everything that is typed until the second node can run; its id.
fn make(federation: &Federation, second: &Second) -> String {
    let owner = federation.node(OWNER);
    let (dir, old, new) = (second.dir(), second.path("old.cbor"), second.path("new.cbor"));
    let request = second.path("request.cbor");
    // Any member's roster serves.
    done(&federation.node(1).dir, &["roster", "export", &old]);
    let address = format!("/ip4/127.0.0.1/tcp/{}", second.ports[1]);
    let api = format!("127.0.0.1:{}", second.ports[0]);
    let prepare = ["node", "prepare", "--roster", &old, "--organization", &owner.ods];
    let at = ["--peer-address", &address, "--api", &api, "--out", &request];
    let prepared = done(&dir, &[&prepare[..], &at].concat());
    let node = prepared["node"].as_str().expect("an id").to_owned();
    refused(&dir, &["run"], "is prepared, and no roster", "signpost keys add-node");
    refused(&dir, &["join"], "is prepared, and no roster", "signpost keys add-node");
    refused(&dir, &["node", "take-up", &old], "lists it yet", "signpost keys add-node");

    let add = ["keys", "add-node", &request];
    let other = &federation.node(1).dir;
    refused(other, &[&add[..], &["--yes"]].concat(), "is for a node of", "root key");
    let rehearsed = done(&owner.dir, &[&add[..], &["--dry-run"]].concat());
    let what = rehearsed["what"].as_str().expect("text");
    assert!(what.contains(prepared["request_words"].as_str().expect("text")), "{what}");
    assert!(what.contains(&address), "{what}");
    refused(&owner.dir, &add, "not confirmed", "--yes");
    let added = done(&owner.dir, &[&add[..], &["--yes"]].concat());
    assert_eq!((&added["signed"], &added["node"]), (&true.into(), &node.as_str().into()));
    let again = done(&owner.dir, &[&add[..], &["--yes"]].concat());
    assert_eq!(again["signed"], false);
    assert!(again["what"].as_str().expect("text").contains("already"), "{again}");

    // Until it runs, nobody takes what it has not said for all there is.
    let (reply, _) = until("its organization is named while it is not there", || {
        let reply = federation.client(ASKER).search(&patient(1));
        (reply.completeness == "partial").then_some(reply)
    });
    assert!(reply.causes().iter().all(|(_, ods)| *ods == owner.ods), "{}", reply.body);
    done(&owner.dir, &["roster", "export", &new]);
    let listed = done(&dir, &["node", "take-up", &new]);
    assert_eq!((&listed["listed"], &listed["node"]), (&true.into(), &node.as_str().into()));
    node
}
