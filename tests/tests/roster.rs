//! Admins govern a network of real nodes with `signpost roster`, each at his own node.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "what is said to an admin belongs to the result")]

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;
use signpost_node::setup::organization_dir;
use signpost_protocol::roster::Parameters;
use signpost_tests::processes::{Federation, Node, until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_signpost-under-test");

/// What a command has said.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    error: String,
}

impl Said {
    #[track_caller]
    fn done(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    #[track_caller]
    fn json(self) -> Value {
        let out = self.done();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error} in {out}"))
    }

    #[track_caller]
    fn refused(self, why: &str) {
        assert_eq!(self.code, 1, "{self:?}");
        assert!(self.error.contains(why), "{self:?}");
        assert!(self.error.contains("hint: "), "{self:?}");
    }
}

/// Runs `signpost roster` in a directory, with something typed.
fn roster_in(dir: &Path, arguments: &[&str], typed: &str) -> Said {
    let mut command = Command::new(PROGRAM);
    command.arg("--dir").arg(dir).arg("roster").args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    // It may end without having read anything.
    let _ = child.stdin.take().expect("a pipe").write_all(typed.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    Said {
        code: output.status.code().expect("no signal"),
        out: String::from_utf8(output.stdout).expect("text"),
        error: String::from_utf8(output.stderr).expect("text"),
    }
}

fn roster(federation: &Federation, n: usize, arguments: &[&str]) -> Said {
    roster_in(&federation.node(n).dir, arguments, "")
}

/// Proposes a change at the first of these nodes and approves it at the others; returns its id.
fn decide(federation: &Federation, stewards: &[usize], change: &[&str]) -> String {
    let (first, others) = stewards.split_first().expect("somebody proposes");
    let arguments = [&["--json", "propose"], change, &["--yes"]].concat();
    let proposed = roster(federation, *first, &arguments).json();
    assert_eq!(proposed["state"], "open", "{proposed}");
    let id = proposed["proposal"].as_str().expect("an id").to_owned();
    for n in others {
        await_proposal(federation, *n, &id);
        let approved = roster(federation, *n, &["--json", "approve", &id[..6], "--yes"]).json();
        assert_eq!(approved["signed"], true, "{approved}");
    }
    id
}

fn await_proposal(federation: &Federation, n: usize, id: &str) {
    until(&format!("{} has the proposal", federation.node(n).ods), || {
        (roster(federation, n, &["review", id]).code == 0).then_some(())
    });
}

fn standing(federation: &Federation, n: usize, ods: &str) -> String {
    let member = roster(federation, n, &["--json", "show", ods]).json();
    member["standing"].as_str().expect("a standing").to_owned()
}

#[test]
fn three_of_five_stewards_decide_at_their_own_nodes() {
    // Five stewards, and a member that is none.
    let mut federation = Federation::running(PROGRAM, 6);
    let ods = federation.node(4).ods.clone();
    a_dry_run_and_a_no_change_nothing(&federation, &ods);
    let id = one_steward_alone_changes_nothing(&federation, &ods);
    what_was_decided_reads_the_same_at_every_node(&federation, &id, &ods);

    let readmitted = ["readmit", &ods, "--reason", "It has new keys"];
    decide(&federation, &[2, 3, 1], &readmitted);
    until("it is readmitted", || (standing(&federation, 0, &ods) == "admitted").then_some(()));
    wrong_keys_are_refused(&federation);
    a_member_that_is_no_steward_hands_its_proposal_over(&federation);
    a_roster_travels_by_file(&mut federation);
}

fn a_dry_run_and_a_no_change_nothing(federation: &Federation, ods: &str) {
    let before = roster(federation, 0, &["log"]).done();
    let suspend = ["propose", "suspend", ods, "--reason", "A trial"];
    let dry = roster(federation, 0, &[&suspend[..], &["--dry-run"]].concat()).done();
    for part in ["Suspend ", "results name it as excluded", "It is a steward", "Dry run"] {
        assert!(dry.contains(part), "no {part} in\n{dry}");
    }
    assert!(!federation.node(0).dir.join("admin.log").exists(), "a dry run writes nothing");
    for typed in ["", "y\n", "RX0\n"] {
        let said = roster_in(&federation.node(0).dir, &suspend, typed);
        assert!(said.error.contains(&format!("type {ods}: ")), "{said:?}");
        said.refused("not confirmed");
    }
    assert_eq!(roster(federation, 0, &["log"]).done(), before);
    println!("{}\n{dry}", roster(federation, 5, &["show"]).done());
}

fn one_steward_alone_changes_nothing(federation: &Federation, ods: &str) -> String {
    let suspend = ["propose", "suspend", ods, "--reason", "Its node key was stolen"];
    let said = roster_in(&federation.node(0).dir, &suspend, &format!("{ods}\n")).done();
    println!("{said}");
    assert!(said.contains("2 more approvals needed"), "{said}");
    let log = roster(federation, 0, &["--json", "log"]).json();
    let id = log["proposals"][0]["proposal"].as_str().expect("an id").to_owned();
    let again = roster(federation, 0, &["--json", "approve", &id, "--yes"]).json();
    assert_eq!((&again["signed"], &again["missing"]), (&false.into(), &2.into()));

    await_proposal(federation, 1, &id);
    println!("{}", roster(federation, 1, &["review", &id[..6]]).done());
    roster(federation, 1, &["approve", &id[..5], "--yes"]).refused("neither a file nor the id");
    roster(federation, 1, &["approve", "ffffffffff", "--yes"]).refused("no proposal here");
    let second = roster_in(&federation.node(1).dir, &["approve", &id[..8]], &format!("{ods}\n"));
    let second = second.done();
    assert!(second.contains("1 more approval needed"), "{second}");
    assert_eq!(standing(federation, 1, ods), "admitted");

    await_proposal(federation, 2, &id);
    let third = roster(federation, 2, &["approve", &id[..8], "--yes"]).done();
    println!("{third}");
    assert!(third.contains("State: law since"), "{third}");
    roster(federation, 2, &["object", &id, "--reason", "no"]).refused("replaces no root key");
    id
}

fn what_was_decided_reads_the_same_at_every_node(federation: &Federation, id: &str, ods: &str) {
    for n in [0, 3, 5] {
        until("it is suspended", || (standing(federation, n, ods) == "suspended").then_some(()));
    }
    for arguments in [&["log"][..], &["review", id]] {
        let here = roster(federation, 2, arguments).done();
        until("another node says the same", || {
            (roster(federation, 5, arguments).done() == here).then_some(())
        });
    }
    let log = roster(federation, 5, &["log"]).done();
    println!("{log}");
    assert!(log.contains("  Suspend ") && log.contains("founded by 6 members"), "{log}");
    let members = |n| roster(federation, n, &["--json", "show"]).json()["members"].clone();
    assert_eq!(members(5), members(2));
    let verified = roster(federation, 3, &["--json", "verify"]).json();
    assert_eq!(verified["statements"]["approval"], 3, "{verified}");
    let decided = roster(federation, 3, &["approve", id, "--yes"]);
    decided.refused("is decided: law since");
    let local = roster(federation, 0, &["log", "--local"]).done();
    assert!(local.contains(": signed\n") && local.contains(": accepted by the node"), "{local}");
}

fn wrong_keys_are_refused(federation: &Federation) {
    let stranger = Federation::found(PROGRAM, 1, Parameters::STANDARD, "info");
    let (own, other) = (federation.node(0), stranger.node(0));
    let path = |node: &Node, name: &str| {
        let folder = organization_dir(&node.dir, &node.ods.parse().expect("a code"));
        folder.join(name).to_str().expect("text").to_owned()
    };
    let suspend = ["propose", "suspend", &federation.node(1).ods, "--reason", "x", "--yes"];
    let with = |govern: String, passphrase: String| {
        let keys = ["--govern", &govern, "--passphrase-file", &passphrase];
        roster_in(&own.dir, &[&suspend[..], &keys].concat(), "")
    };
    let (keystore, passphrase) = ("govern.keystore", "govern.passphrase");
    with(path(other, keystore), path(own, passphrase)).refused("passphrase is wrong");
    let strange = with(path(other, keystore), path(other, passphrase));
    strange.refused("lists this govern key");
    let root = with(path(own, "root.keystore"), path(own, "root.passphrase"));
    root.refused("no usable secret named govern");
}

fn a_member_that_is_no_steward_hands_its_proposal_over(federation: &Federation) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("proposal.cbor");
    let file = file.to_str().expect("text");
    let name = ["rename", &federation.node(5).ods, "--name", "Old Mill Surgery"];
    let arguments = [&["propose"], &name[..], &["--reason", "A new name", "--out", file]].concat();
    let said = roster_in(&federation.node(5).dir, &arguments, "y\n").done();
    assert!(said.contains("hand it to a steward"), "{said}");
    roster(federation, 5, &["approve", file, "--yes"]).refused("is no steward of epoch 0");
    roster(federation, 0, &["import", file]).refused("that no steward has signed");
    let review = roster(federation, 0, &["review", file]).done();
    assert!(
        review.contains("→ Old Mill Surgery") && review.contains("not proposed yet"),
        "{review}"
    );
    let approved = roster(federation, 0, &["--json", "approve", file, "--yes"]).json();
    assert_eq!((&approved["signed"], &approved["missing"]), (&true.into(), &2.into()));
}

fn a_roster_travels_by_file(federation: &mut Federation) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).to_str().expect("text").to_owned();
    federation.kill(5);
    let (before, after) = (path("before.cbor"), path("after.cbor"));
    roster(federation, 0, &["export", &before]).done();
    let ods = federation.node(4).ods.clone();
    decide(federation, &[0, 1, 2], &["expel", &ods, "--reason", "Closed"]);
    until("it is expelled", || (standing(federation, 0, &ods) == "expelled").then_some(()));
    roster(federation, 0, &["export", &after]).done();
    let same = roster(federation, 0, &["diff", &after]).done();
    assert!(same.contains("Nothing: both say the same"), "{same}");
    (0..5).for_each(|n| federation.kill(n));

    let offline = |arguments: &[&str]| roster_in(&dir.path().join("nowhere"), arguments, "");
    let diff = offline(&["diff", &before, &after]).done();
    println!("{diff}");
    assert!(diff.contains("standing admitted → expelled"), "{diff}");
    assert!(diff.contains("Expel "), "{diff}");
    let verified = offline(&["verify", &after]).done();
    println!("{verified}");
    assert!(verified.contains("6 endorsement"), "{verified}");

    // One more decision is prepared without any node, and comes to the last one by file.
    let signed = path("signed.cbor");
    let change = ["propose", "readmit", &ods, "--reason", "x", "--yes", "--out", &signed];
    let file = ["--file", &after];
    roster(federation, 0, &[&file[..], &change].concat()).refused("was expelled for good");
    let other = federation.node(3).ods.clone();
    let change = ["propose", "suspend", &other, "--reason", "A fire", "--yes"];
    roster(federation, 0, &[&file[..], &change].concat()).refused("with --file there is no node");
    let change = [&file[..], &change, &["--out", &signed]].concat();
    roster(federation, 0, &change).done();

    federation.start(5);
    until("the API answers", || (roster(federation, 5, &["show"]).code == 0).then_some(()));
    assert_eq!(standing(federation, 5, &ods), "admitted", "it has missed the decision");
    let imported = roster(federation, 5, &["--json", "import", &after]).json();
    assert!(imported["new"].as_u64() >= Some(3), "{imported}");
    assert_eq!(standing(federation, 5, &ods), "expelled");
    roster(federation, 5, &["--json", "import", &after]).json();
    let imported = roster(federation, 5, &["--json", "import", &signed]).json();
    assert_eq!(imported["new"], 1, "{imported}");
    let log = roster(federation, 5, &["log"]).done();
    assert!(log.contains("A fire"), "{log}");

    let stranger = Federation::found(PROGRAM, 1, Parameters::STANDARD, "info");
    let strange = stranger.node(0).dir.join("roster.cbor");
    let strange = roster(federation, 5, &["import", strange.to_str().expect("text")]);
    strange.refused("is of network");
}
