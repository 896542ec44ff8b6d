//! Real processes: a sixth organization joins five founders, by the commands that two admins type;
//! and what is refused on the way.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the times belong to the result")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::Instant,
};

use serde_json::Value;
use signpost_node::{
    runtime::wall_clock,
    setup::{API_TOKEN_FILE, organization_dir},
};
use signpost_protocol::{
    InvitationCode, NetworkId,
    codec::{Bounded, Text},
    invitation::Invitation,
};
use signpost_tests::{
    client::{Client, patient, record},
    processes::{Federation, Process, free_ports, until},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_signpost-under-test");
const URL: &str = "https://records.example/1";
const ODS: &str = "RX9";
const NAME: &str = "Sixth Trust";
const PRACTICE: &str = "A81003";
/// How often a join is killed: from before anything is there until after everything was handed in.
const KILLS: u32 = 12;

fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("--dir").arg(dir).args(arguments).env_remove("SIGNPOST_DIR");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command to its end, with nothing on standard input.
fn run(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = command(dir, arguments);
    command.stdin(Stdio::null()).output().expect("the program can be started")
}

/// What a command that must succeed prints.
fn done(dir: &Path, arguments: &[&str]) -> String {
    let ran = run(dir, arguments);
    assert!(ran.status.success(), "{arguments:?}: {}{}", text(&ran.stdout), text(&ran.stderr));
    text(&ran.stdout)
}

/// What a command that must fail says.
fn refused(dir: &Path, arguments: &[&str]) -> String {
    let ran = run(dir, arguments);
    assert_eq!(ran.status.code(), Some(1), "{arguments:?}: {}", text(&ran.stdout));
    text(&ran.stderr)
}

/// An organization that is to join.
struct Newcomer {
    root: tempfile::TempDir,
    ods: String,
    api: u16,
    peer: u16,
}

impl Newcomer {
    fn new(ods: &str) -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        let ports = free_ports(2);
        Self { root, ods: ods.to_owned(), api: ports[0], peer: ports[1] }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("node")
    }

    /// The arguments of `signpost join`, the first time.
    fn arguments(&self, invitation: &str) -> Vec<String> {
        let peer = format!("/ip4/127.0.0.1/tcp/{}", self.peer);
        let api = format!("127.0.0.1:{}", self.api);
        let all = ["join", invitation, "--ods", &self.ods, "--name", NAME, "--yes"];
        let addresses = ["--peer-address", &peer, "--api", &api];
        all.into_iter().chain(addresses).map(str::to_owned).collect()
    }

    fn join(&self, invitation: &str, more: &[&str]) -> Output {
        let arguments = self.arguments(invitation);
        let arguments: Vec<&str> =
            arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        run(&self.dir(), &arguments)
    }

    /// Joining that is refused: what it says.
    fn refused(&self, invitation: &str) -> String {
        let ran = self.join(invitation, &["--no-wait"]);
        assert_eq!(ran.status.code(), Some(1), "{}", text(&ran.stdout));
        text(&ran.stderr)
    }

    /// Joins in the background; what it says is in [`Newcomer::said`].
    fn start(&self, arguments: &[String]) -> Process {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Process::start(&mut command(&self.dir(), &arguments), &self.root.path().join("log"))
    }

    fn said(&self) -> String {
        fs::read_to_string(self.root.path().join("log")).unwrap_or_default()
    }

    fn client(&self) -> Client {
        self.client_of(&self.ods)
    }

    fn client_of(&self, ods: &str) -> Client {
        let ods = ods.parse().expect("a code");
        let file = organization_dir(&self.dir(), &ods).join(API_TOKEN_FILE);
        let token = fs::read_to_string(file).expect("a token").trim().to_owned();
        Client::new(format!("http://127.0.0.1:{}", self.api), token)
    }
}

fn invite(federation: &Federation) -> String {
    let made = done(&federation.node(0).dir, &["invite", "--hours", "2", "--json"]);
    let made: Value = serde_json::from_str(&made).expect("JSON");
    made["invitation"].as_str().expect("a text").to_owned()
}

/// Founder 0 proposes to admit, 1 and 2 approve: three of five.
fn admit(federation: &Federation, ods: &str) {
    let proposed = done(
        &federation.node(0).dir,
        &["--json", "roster", "propose", "admit", ods, "--reason", "Joins today", "--yes"],
    );
    approve(federation, &proposed);
}

/// Founders 1 and 2 approve what founder 0 has proposed.
fn approve(federation: &Federation, proposed: &str) {
    let proposed: Value = serde_json::from_str(proposed).expect("JSON");
    let id = proposed["proposal"].as_str().expect("an id").to_owned();
    for n in [1, 2] {
        let dir = &federation.node(n).dir;
        until("the proposal has come", || {
            run(dir, &["roster", "review", &id]).status.success().then_some(())
        });
        done(dir, &["roster", "approve", &id, "--yes"]);
    }
}

#[test]
fn a_sixth_organization_joins_by_the_commands_of_two_admins() {
    let started = Instant::now();
    let federation = Federation::running(PROGRAM, 5);
    println!("five founders are ready after {} ms", started.elapsed().as_millis());
    let founder = federation.node(0);

    let started = Instant::now();
    let invitation = invite(&federation);
    let newcomer = Newcomer::new(ODS);
    let mut joining = newcomer.start(&newcomer.arguments(&invitation));
    let waits = |times: usize| {
        let (_, took) = until("the application waits", || {
            (newcomer.said().matches("Waiting for").count() >= times).then_some(())
        });
        println!("handed in and dialled back after {} ms", took.as_millis());
    };
    waits(1);
    let said = newcomer.said();
    assert!(said.contains("The port is open") && said.contains("propose admit RX9"), "{said}");
    let run_early = refused(&newcomer.dir(), &["run"]);
    assert!(run_early.contains("no member yet") && run_early.contains("signpost join"));

    // Killed, and started again without a word.
    joining.kill();
    let mut joining = newcomer.start(&["join".to_owned()]);
    waits(2);

    // What the one reads out is what the other sees.
    let applicants = done(&founder.dir, &["roster", "applicants", "--json"]);
    let applicants: Value = serde_json::from_str(&applicants).expect("JSON");
    let [applicant] = &**applicants.as_array().expect("a list") else { panic!("{applicants}") };
    assert_eq!((&applicant["ods"], &applicant["reachable"]), (&ODS.into(), &true.into()));
    let seen = done(&founder.dir, &["roster", "applicants"]);
    let words = seen.lines().find(|line| line.starts_with(ODS)).expect("a row");
    let words = words.split("open").nth(1).expect("the last column").trim();
    assert_eq!(words.split(' ').count(), 8, "{seen}");
    assert!(newcomer.said().contains(words), "{words}\n{}", newcomer.said());

    let shown =
        run(&founder.dir, &["roster", "propose", "admit", ODS, "--reason", "A trial", "--dry-run"]);
    let shown = text(&shown.stderr) + &text(&shown.stdout);
    let address = format!("/ip4/127.0.0.1/tcp/{}", newcomer.peer);
    for part in [words, &address, "This node has reached it there", "Admit Sixth Trust (RX9)"] {
        assert!(shown.contains(part), "no {part} in\n{shown}");
    }
    admit(&federation, ODS);
    assert!(joining.end().success(), "{}", newcomer.said());
    println!("from the invitation to membership {} ms", started.elapsed().as_millis());
    assert!(
        newcomer.said().contains("is a member of Test network, one of 6"),
        "{}",
        newcomer.said()
    );
    let again = done(&newcomer.dir(), &["join"]);
    assert!(again.contains("a member already") && again.contains("signpost run"), "{again}");

    let mut node = newcomer.start(&["run", "--stop-with-stdin"].map(str::to_owned));
    let client = newcomer.client();
    until("the newcomer is ready", || {
        assert!(node.ended().is_none(), "{}", newcomer.said());
        client.is_ready().then_some(())
    });
    let _ = client.created(&record(ODS, &patient(1), URL));
    let other = federation.node(4);
    let _ = other.client.created(&record(&other.ods, &patient(1), URL));
    for (who, client) in [("a founder", &federation.node(3).client), ("the newcomer", &client)] {
        let (_, took) = until(&format!("{who} finds both records, completely"), || {
            let reply = client.search(&patient(1));
            (reply.completeness == "complete" && reply.found().len() == 2).then_some(())
        });
        println!("{who} finds both records, completely, after {} ms", took.as_millis());
    }
    println!("from the invitation to a complete locate {} ms", started.elapsed().as_millis());
    let _node = it_takes_on_a_practice(&federation, &newcomer, node);
    it_leaves_as_easily(&federation, &newcomer);
}

/// The newcomer's node is to serve another organization as well.
fn it_takes_on_a_practice(
    federation: &Federation,
    newcomer: &Newcomer,
    mut node: Process,
) -> Process {
    let dir = newcomer.dir();
    let made = done(&dir, &["--json", "join", "--ods", PRACTICE, "--name", "Mill Lane", "--yes"]);
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let file = made["application"].as_str().expect("a file");
    let said = refused(&dir, &["join", "--ods", PRACTICE]);
    assert!(said.contains("has not been admitted yet"), "{said}");
    let proposed = done(
        &federation.node(0).dir,
        &[
            "--json",
            "roster",
            "propose",
            "admit",
            "--application",
            file,
            "--reason",
            "A practice",
            "--yes",
        ],
    );
    approve(federation, &proposed);
    until("the newcomer has heard of it", || {
        run(&dir, &["join", "--ods", PRACTICE]).status.success().then_some(())
    });
    node.kill();
    let node = newcomer.start(&["run", "--stop-with-stdin"].map(str::to_owned));
    let client = newcomer.client_of(PRACTICE);
    until("it runs again", || client.is_ready().then_some(()));
    let _ = client.created(&record(PRACTICE, &patient(2), URL));
    until("a founder finds what the practice has", || {
        let reply = federation.node(3).client.search(&patient(2));
        (reply.completeness == "complete" && reply.found().len() == 1).then_some(())
    });
    node
}

fn it_leaves_as_easily(federation: &Federation, newcomer: &Newcomer) {
    let said = refused(&federation.node(0).dir, &["leave", "--yes"]);
    assert!(said.contains("is a steward") && said.contains("propose stewards --remove"), "{said}");
    let shown = done(&newcomer.dir(), &["leave", "--dry-run", "--organization", ODS]);
    for part in ["What stays behind", "found by nobody", "disclosure records", "nothing was signed"]
    {
        assert!(shown.contains(part), "no {part} in\n{shown}");
    }
    let said = refused(&newcomer.dir(), &["leave", "--organization", ODS]);
    assert!(said.contains("nothing was handed on"), "{said}");
    let started = Instant::now();
    let said = done(&newcomer.dir(), &["leave", "--yes", "--organization", ODS]);
    let next = "signpost roster propose expel RX9 --reason 'It has left'";
    assert!(said.contains("has left Test network") && said.contains(next), "{said}");

    let client = &federation.node(3).client;
    let (reply, took) = until("a founder names the one that left", || {
        let reply = client.search(&patient(1));
        // At first it may only be known that it does not answer any more.
        let is_named = reply.cause("digest-missing", ODS).is_some();
        (is_named && reply.found().len() == 1).then_some(reply)
    });
    println!("a founder names the one that left after {} ms", took.as_millis());
    reply.assert_partial("digest-missing", ODS, NAME);
    assert!(reply.body.to_string().contains("lists no node: it has left"), "{}", reply.body);

    let proposed = done(
        &federation.node(0).dir,
        &["--json", "roster", "propose", "expel", ODS, "--reason", "It has left", "--yes"],
    );
    approve(federation, &proposed);
    until("a founder's results are complete without it", || {
        (client.search(&patient(1)).completeness == "complete").then_some(())
    });
    println!("from leaving to being forgotten {} ms", started.elapsed().as_millis());
}

#[test]
fn what_cannot_be_joined_with_is_refused_in_clear_words() {
    let federation = Federation::running(PROGRAM, 5);
    let invitation = invite(&federation);
    let known: Invitation = invitation.parse().expect("as it was made");
    let newcomer = Newcomer::new(ODS);

    let mistyped = invitation.replacen('a', "b", 1).replacen("b2", "b3", 1);
    let typed = format!("{}{}", &invitation[..30], &invitation[31..]);
    for text in [typed.as_str(), mistyped.as_str(), "https://example.org/invitation"] {
        let said = newcomer.refused(text);
        assert!(said.contains("invitation") && said.contains("hint:"), "{said}");
    }
    let expired = Invitation { expires: wall_clock().minus(1_000), ..known.clone() };
    let said = newcomer.refused(&expired.to_string());
    assert!(said.contains("has expired at") && said.contains("a new one"), "{said}");
    let said = refused(&newcomer.dir(), &["join"]);
    assert!(said.contains("nothing has been begun"), "{said}");
    assert!(!newcomer.dir().exists(), "nothing was made so far");

    let forged = Invitation { code: InvitationCode([7; 16]), ..known.clone() };
    let said = Newcomer::new(ODS).refused(&forged.to_string());
    assert!(said.contains("does not know this invitation"), "{said}");
    assert!(said.contains("ask who invited you"), "{said}");

    let other = Invitation { network: NetworkId([7; 32]), ..known.clone() };
    let said = Newcomer::new(ODS).refused(&other.to_string());
    assert!(said.contains("another network"), "{said}");

    let address = known.addresses[0].split("/tcp/").collect::<Vec<_>>();
    let peer = address[1].split('/').nth(2).expect("a peer id");
    let nowhere = format!("{}/tcp/{}/p2p/{peer}", address[0], free_ports(1)[0]);
    let addresses = Bounded::new(vec![Text::new(&nowhere).expect("short")]).expect("one");
    let nowhere = Invitation { addresses, ..known };
    let said = Newcomer::new(ODS).refused(&nowhere.to_string());
    assert!(said.contains("can be reached") && said.contains("Connection refused"), "{said}");

    // The first that uses it is the only one.
    let ran = newcomer.join(&invitation, &["--no-wait", "--json"]);
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    let report: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    assert_eq!((&report["joined"], &report["ods"]), (&false.into(), &ODS.into()));
    let said = Newcomer::new("RX8").refused(&invitation);
    assert!(said.contains("another key has used this invitation"), "{said}");
    let said = refused(&newcomer.dir(), &["join", "--ods", "RX8"]);
    assert!(said.contains("RX9 has begun to join"), "{said}");
    let elsewhere = refused(&newcomer.dir(), &["join", &other.to_string()]);
    assert!(elsewhere.contains("another network"), "{elsewhere}");

    a_port_that_is_closed_is_said(&federation, &newcomer);
}

/// Listens at another port than the one that it has told.
fn a_port_that_is_closed_is_said(federation: &Federation, newcomer: &Newcomer) {
    let file = newcomer.dir().join("signpost.toml");
    let config = fs::read_to_string(&file).expect("a configuration");
    let (told, other) = (newcomer.peer.to_string(), free_ports(1)[0].to_string());
    assert!(config.contains(&told));
    fs::write(&file, config.replace(&told, &other)).expect("it can be written");
    let ran = run(&newcomer.dir(), &["join", "--no-wait"]);
    let said = text(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    assert!(said.contains("The port is NOT open") && said.contains("connection refused"), "{said}");
    assert!(said.contains(&format!("to port {told} of this machine")), "{said}");
    let seen = done(&federation.node(0).dir, &["roster", "applicants"]);
    assert!(seen.contains("closed"), "{seen}");
    let shown = run(
        &federation.node(0).dir,
        &["roster", "propose", "admit", ODS, "--reason", "A trial", "--dry-run"],
    );
    assert!(text(&shown.stderr).contains("could NOT reach it there"), "{}", text(&shown.stderr));
    fs::write(&file, config).expect("it can be written");
    let said = text(&run(&newcomer.dir(), &["join", "--no-wait"]).stderr);
    assert!(said.contains("The port is open"), "{said}");
}

#[test]
fn a_join_that_is_killed_at_any_moment_goes_on() {
    let federation = Federation::running(PROGRAM, 5);
    let other = Newcomer::new("RX8");
    let started = Instant::now();
    let ran = other.join(&invite(&federation), &["--no-wait"]);
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    let usual = started.elapsed();

    let invitation = invite(&federation);
    let newcomer = Newcomer::new(ODS);
    let arguments = newcomer.arguments(&invitation);
    let identity = || fs::read(newcomer.dir().join("joining.cbor")).ok();
    let mut first = None;
    let (mut before, mut after) = (0, 0);
    for kill in 1..=KILLS {
        let mut joining = newcomer.start(&arguments);
        // Where it is by then differs, and shall; the last ones come when all is handed in.
        thread::sleep(usual * kill / (KILLS * 2 / 3));
        joining.kill();
        match (&first, identity()) {
            (None, now) => {
                before += usize::from(now.is_none());
                first = now;
            }
            (Some(first), now) => {
                assert_eq!(Some(first), now.as_ref(), "the keys stay");
                after += 1;
            }
        }
    }
    println!("killed {before} times before there was a candidate, {after} times after");
    let mut joining = newcomer.start(&arguments);
    until("the application waits", || newcomer.said().contains("Waiting for").then_some(()));
    assert!(first.is_none() || first == identity());
    admit(&federation, ODS);
    assert!(joining.end().success(), "{}", newcomer.said());
    assert_eq!(identity(), None);
}
