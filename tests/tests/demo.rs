//! `signpost demo` as a newcomer runs it, compared with its truth file by somebody else.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the times and counts belong to the result")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::Value;
use signpost_protocol::{IdentifierSystem, PatientIdentifier};
use signpost_tests::{
    client::{Client, Reply, patient},
    processes::{Process, free_ports, is_running, signal, until},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_signpost-under-test");
/// Numbers that nobody has to be looked up.
const STRANGERS: usize = 20;

#[derive(Deserialize)]
struct FederationFile {
    state: String,
    nodes: Vec<NodeEntry>,
    patients: Vec<String>,
}

#[derive(Deserialize)]
struct NodeEntry {
    ods: String,
    name: String,
    api: String,
    token: String,
    peer: String,
    pid: u32,
    dir: String,
}

impl NodeEntry {
    fn client(&self) -> Client {
        Client::new(self.api.clone(), self.token.clone())
    }
}

/// By patient and ODS code, the ids of the pointers.
#[derive(Deserialize)]
struct TruthFile {
    patients: BTreeMap<String, Holdings>,
}

type Holdings = BTreeMap<String, BTreeSet<String>>;

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> T {
    let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn number(digits: &str) -> PatientIdentifier {
    PatientIdentifier::parse(IdentifierSystem::NhsNumber, digits).expect("a valid number")
}

fn holdings(reply: &Reply) -> Holdings {
    let mut holdings = Holdings::new();
    for (ods, id) in reply.found() {
        holdings.entry(ods).or_default().insert(id);
    }
    holdings
}

fn percentile(times: &mut [Duration], hundredths: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * hundredths / 100]
}

#[test]
fn the_demonstration_tells_the_truth_and_leaves_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("demo");
    let log = root.path().join("demo.log");
    let mut command = Command::new(PROGRAM);
    let mut demo =
        Process::start(command.args(["demo", "--patients", "300", "--dir"]).arg(&dir), &log);
    let place = dir.join("federation.json");
    let said = || fs::read_to_string(&log).unwrap_or_default();
    let (_, took) = until("the demonstration is ready", || {
        assert!(demo.ended().is_none(), "{}", said());
        place.exists().then_some(())
    });
    println!("ready after {took:.1?}");
    // It is there whole, or not at all.
    let federation: FederationFile = read(&place);
    let truth: TruthFile = read(&dir.join("truth.json"));
    assert_eq!((&*federation.state, federation.nodes.len()), ("ready", 5));
    assert_eq!((federation.patients.len(), truth.patients.len()), (300, 300));
    for node in &federation.nodes {
        assert!(node.peer.contains("/p2p/12D3Koo"), "{}", node.peer);
        assert!(is_running(node.pid));
        let invitation =
            format!("curl -i -H 'Authorization: Bearer {}' '{}/", node.token, node.api);
        until("it says how to try the node", || said().contains(&invitation).then_some(()));
    }

    every_look_up_is_true(&federation, &truth);
    let mut by_hand = a_killed_node_stays_dead_until_started_by_hand(&federation, &truth, &said);

    signal(demo.id(), "INT");
    let status = demo.end();
    assert_eq!(status.code(), Some(0), "{}", said());
    for node in &federation.nodes {
        assert!(!is_running(node.pid), "{} is left behind", node.ods);
    }
    let federation: FederationFile = read(&place);
    assert_eq!((&*federation.state, federation.nodes.len()), ("stopped", 0));
    assert!(by_hand.ended().is_none(), "what was started by hand is stopped by hand");
    signal(by_hand.id(), "TERM");
    assert_eq!(by_hand.end().code(), Some(0));
}

#[test]
fn a_demonstration_that_is_killed_leaves_no_node_behind() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("demo");
    let log = root.path().join("demo.log");
    let mut command = Command::new(PROGRAM);
    let command = command.args(["demo", "--orgs", "3", "--patients", "20", "--dir"]).arg(&dir);
    let mut demo = Process::start(command, &log);
    let place = dir.join("federation.json");
    until("the demonstration is ready", || {
        let said = fs::read_to_string(&log).unwrap_or_default();
        assert!(demo.ended().is_none(), "{said}");
        place.exists().then_some(())
    });
    let federation: FederationFile = read(&place);
    demo.kill();
    for node in &federation.nodes {
        let (_, took) = until("its node has ended", || (!is_running(node.pid)).then_some(()));
        println!("{} ended {took:.1?} after the demonstration was killed", node.ods);
    }
}

fn every_look_up_is_true(federation: &FederationFile, truth: &TruthFile) {
    let clients: Vec<_> = federation.nodes.iter().map(NodeEntry::client).collect();
    let strangers = (0..).map(patient).filter(|p| !truth.patients.contains_key(p.expose_digits()));
    let strangers: Vec<_> = strangers.take(STRANGERS).collect();
    let nobody = Holdings::new();
    let known = federation.patients.iter().map(|digits| (number(digits), &truth.patients[digits]));
    let cases: Vec<_> = known.chain(strangers.iter().map(|p| (*p, &nobody))).collect();
    let (mut times, mut pointers) = (Vec::new(), 0);
    for (at, (patient, expected)) in cases.iter().enumerate() {
        let reply = clients[at % clients.len()].search(patient);
        reply.assert_complete();
        assert_eq!(
            &&holdings(&reply),
            expected,
            "asked at {}",
            federation.nodes[at % clients.len()].ods
        );
        pointers += reply.ids().len();
        times.push(reply.took);
    }
    println!(
        "{} look-ups ({STRANGERS} of strangers), {pointers} pointers, 0 wrong; median {:.1?}, 99th of 100 {:.1?}",
        cases.len(),
        percentile(&mut times, 50),
        percentile(&mut times, 99),
    );
}

fn a_killed_node_stays_dead_until_started_by_hand(
    federation: &FederationFile,
    truth: &TruthFile,
    said: &dyn Fn() -> String,
) -> Process {
    let victim = &federation.nodes[1];
    let asker = federation.nodes[4].client();
    let shared = |truth: &&Holdings| truth.contains_key(&victim.ods) && truth.len() >= 3;
    let (digits, expected) =
        truth.patients.iter().find(|(_, truth)| shared(truth)).expect("many are like that");
    signal(victim.pid, "KILL");
    // The demonstration notices, says so, and leaves it at that.
    until("its death is told", || {
        said().contains(&format!("(process {})", victim.pid)).then_some(())
    });
    assert!(!is_running(victim.pid));
    let reply = asker.search(&number(digits));
    reply.assert_partial("unreachable", &victim.ods, &victim.name);
    let mut rest = expected.clone();
    rest.remove(&victim.ods);
    assert_eq!(holdings(&reply), rest);
    assert!(!victim.client().is_ready(), "it was started again");

    let started = Instant::now();
    let log = Path::new(&victim.dir).with_extension("by-hand.log");
    let by_hand = Process::start(Command::new(PROGRAM).args(["run", "--dir", &victim.dir]), &log);
    let (reply, _) = until("the look-up is complete again", || {
        let reply = asker.search(&number(digits));
        (reply.completeness == "complete").then_some(reply)
    });
    reply.assert_complete();
    assert_eq!(&holdings(&reply), expected);
    println!("{} started by hand: complete after {:.1?}", victim.ods, started.elapsed());
    by_hand
}

/// Runs a demonstration to its end.
fn once(arguments: &[&str]) -> (Output, Duration) {
    let started = Instant::now();
    let mut command = Command::new(PROGRAM);
    let command = command.args(["demo", "--once"]).args(arguments).stdin(Stdio::null());
    (command.output().expect("the program can be started"), started.elapsed())
}

fn report(arguments: &[&str]) -> Value {
    let (output, took) = once(&[arguments, &["--json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    println!("demo --once {}: {took:.1?}", arguments.join(" "));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["faults"], Value::Array(Vec::new()));
    // A directory of its own choice is removed.
    assert!(!Path::new(report["dir"].as_str().expect("a directory")).exists());
    report
}

#[test]
fn variants_end_as_they_should() {
    let two = report(&["--orgs", "2", "--patients", "40"]);
    assert_eq!(two["organizations"].as_array().map(Vec::len), Some(2));

    let three = report(&["--ods", "T1,T2,T3", "--patients", "40"]);
    let organizations = three["organizations"].as_array().expect("a list");
    let codes: Vec<_> = organizations.iter().map(|o| o["ods"].as_str().unwrap_or("")).collect();
    assert_eq!(codes, ["T1", "T2", "T3"]);

    let base = free_ports(1)[0];
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, base)).expect("just seen free");
    let base = base.to_string();
    let arguments = ["--orgs", "2", "--patients", "40", "--port-base", &base];
    let (output, _) = once(&arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    for part in [&*format!("port {base} is taken"), "--port-base"] {
        assert!(errors.contains(part), "{errors}");
    }
    assert!(output.stdout.is_empty(), "no report of what was not done");
    drop(taken);

    let (output, _) = once(&["--ods", "T1,T1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("T1 twice"));
}
