//! The commands that sign with the root key, whole, beside a node that answers them: whose roster may
//! change while somebody thinks, and which may know of nobody who has heard of what it was brought.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use clap::Parser as _;
use serde_json::{Value, json};
use signpost_keys::roster::Statements;
use signpost_protocol::{
    OdsCode, PublicKey, codec, limits,
    roster::{KeyRecord, OrganizationKeys, RosterFile},
    statement::{KeyUse, statement_hash},
};

use super::{
    super::{
        by_root::next_set,
        draft, handed,
        heard::{Heard, unheard},
        leave, own_keys,
        view::View,
    },
    HOUR,
    renewing::{Supplier, supplier_among},
};
use crate::{
    cli::error::hint,
    core::local::StatusReport,
    runtime::wall_clock,
    setup::{self, AdminKey, KeysLock, OwnKey, PlannedOrganization, admin_key},
};

/// What the node has and says.
struct State {
    statements: Statements,
    /// Brought by somebody else right after the roster was next asked for.
    meanwhile: Vec<Vec<u8>>,
    /// Whether another node has all of it, and whether one refuses the old key.
    shared: bool,
    key_void: bool,
    /// What was asked for: the first line of each request.
    requests: Vec<String>,
}

/// A node as far as these commands need one.
#[derive(Clone)]
struct Fake(Arc<Mutex<State>>);

impl Fake {
    /// One with the supplier's roster, that listens where the supplier's directory says.
    fn start(node: &Supplier) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listen_at(&node.dir, listener.local_addr().unwrap());
        let fake = Self(Arc::new(Mutex::new(State {
            statements: node.view.statements.clone(),
            meanwhile: Vec::new(),
            shared: false,
            key_void: false,
            requests: Vec::new(),
        })));
        let answering = fake.clone();
        thread::spawn(move || {
            listener.incoming().for_each(|stream| answering.answer(stream.unwrap()));
        });
        fake
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn view(&self) -> View {
        View::new(self.state().statements.clone(), wall_clock())
    }

    fn answer(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let (mut head, mut body_bytes) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let start = head.len();
            stream.read_line(&mut head).unwrap();
            if let Some(length) = head[start..].to_lowercase().strip_prefix("content-length:") {
                body_bytes = length.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; body_bytes];
        stream.read_exact(&mut body).unwrap();
        let request = head.lines().next().unwrap().to_owned();
        let reply = self.reply(&request, &body);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            reply.len()
        );
        stream.get_mut().write_all(&[head.as_bytes(), &*reply].concat()).unwrap();
    }

    fn reply(&self, request: &str, body: &[u8]) -> Vec<u8> {
        let mut state = self.state();
        state.requests.push(request.to_owned());
        match request.split(' ').take(2).collect::<Vec<_>>()[..] {
            ["GET", "/signpost/v1/roster"] => {
                let file = state.statements.write();
                for bytes in std::mem::take(&mut state.meanwhile) {
                    state.statements.take(&bytes, wall_clock()).unwrap();
                }
                file
            }
            ["GET", "/signpost/v1/status"] => {
                serde_json::to_vec(&status(state.shared, state.key_void)).unwrap()
            }
            ["POST", "/signpost/v1/roster"] => {
                let file: RosterFile =
                    codec::decode("parcel", body, limits::ROSTER_FILE_BYTES_MAX).unwrap();
                let results = file.statements.iter().map(|bytes| {
                    let taken = state.statements.take(bytes, wall_clock());
                    json!({
                        "statement": statement_hash(bytes).to_string(),
                        "kind": null,
                        "outcome": if taken.is_ok() { "new" } else { "refused" },
                        "reason": taken.err().map(|error| error.to_string()),
                    })
                });
                json!({ "results": results.collect::<Vec<Value>>() }).to_string().into_bytes()
            }
            _ => panic!("{request}"),
        }
    }

    fn was_brought_anything(&self) -> bool {
        self.state().requests.iter().any(|request| request.starts_with("POST"))
    }
}

/// Has the node in `dir` listen elsewhere: tests run beside each other.
fn listen_at(dir: &Path, address: SocketAddr) {
    let path = dir.join(crate::config::FILE);
    let config = std::fs::read_to_string(&path).unwrap();
    assert!(config.contains("127.0.0.1:21001"), "{config}");
    std::fs::write(&path, config.replace("127.0.0.1:21001", &address.to_string())).unwrap();
}

fn status(shared: bool, key_void: bool) -> StatusReport {
    let roster = json!({
        "epoch": 0, "stewards": [], "threshold": 1, "digest": "00", "heard_of": "", "expiry": "fresh",
        "hours_to_no_governance": 1.0, "hours_to_no_disclosure": 1.0, "findings": 0,
        "shared": shared, "key_void": key_void,
    });
    let evaluators = json!({ "threshold": 1, "members": [], "connected": [], "dealt": true });
    let report = json!({
        "network_name": "", "network": "00", "serves": [], "node": "00", "peers": [],
        "evaluators": evaluators, "roster": roster, "ready": true, "notices": [],
        "clock_offset": null,
    });
    serde_json::from_value(report).unwrap()
}

#[derive(clap::Parser)]
struct Keys {
    #[command(flatten)]
    args: own_keys::Args,
}

#[derive(clap::Parser)]
struct Leave {
    #[command(flatten)]
    args: leave::Args,
}

/// `signpost keys` with these words, and without a question.
fn keys(dir: &Path, words: &[&str]) -> anyhow::Result<ExitCode> {
    let words = [&["keys"], words, &["--yes"]].concat();
    own_keys::command(dir, &Keys::parse_from(words).args, false)
}

/// A node that was founded an hour ago, with as many organizations, and as many others.
fn supplier(count: usize, others: u16) -> Supplier {
    supplier_among(count, others, wall_clock().minus(HOUR))
}

#[test]
fn no_key_is_used_before_another_node_has_heard_of_it() {
    let pauses = |answers: &mut dyn FnMut() -> anyhow::Result<StatusReport>, is_cut_off| {
        let mut waited = Duration::ZERO;
        let heard = Heard::wait(answers, is_cut_off, |pause| waited += pause);
        (heard, waited.as_secs())
    };
    assert_eq!(pauses(&mut || Ok(status(true, false)), false), (Some(Heard::Shared), 0));
    assert_eq!(pauses(&mut || Ok(status(false, false)), true), (None, 75));
    // Peers that refuse the node for the key from before its last start say nothing of this one.
    assert_eq!(pauses(&mut || Ok(status(false, true)), false), (None, 75));
    assert_eq!(pauses(&mut || Ok(status(false, true)), true), (Some(Heard::CutOff), 0));
    assert!(Heard::CutOff.next().contains("signpost roster import"));
    // It is killed and comes back.
    let mut asked = 0;
    let mut comes_back = || {
        asked += 1;
        if asked < 21 { Err(anyhow::anyhow!("nobody answers")) } else { Ok(status(true, false)) }
    };
    assert_eq!(pauses(&mut comes_back, false), (Some(Heard::Shared), 10));
    for (is_cut_off, says) in [(false, "--imported"), (true, "does not count any more")] {
        let text = unheard(is_cut_off);
        for part in ["Nothing is lost", "type this again", "signpost roster export", says] {
            assert!(text.contains(part), "no {part} in\n{text}");
        }
    }
}

#[test]
fn the_command_takes_a_key_into_use_when_another_node_has_the_set() {
    let node = supplier(1, 1);
    let old = node.starts_with();
    let fake = Fake::start(&node);
    let renewing = {
        let dir = node.dir.clone();
        thread::spawn(move || keys(&dir, &["renew", "transport"]).unwrap())
    };
    let has_asked = || fake.state().requests.iter().filter(|r| r.contains("/status")).count() > 1;
    while !has_asked() {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(setup::open(&node.dir).unwrap().transport.public(), old);
    fake.state().shared = true;
    assert_eq!(renewing.join().unwrap(), ExitCode::SUCCESS);
    let new = setup::open(&node.dir).unwrap().transport.public();
    assert_ne!(new, old);
    assert_eq!(node.staged(OwnKey::Transport), None);
    // Nobody has to have heard of a pointer key: the node is let in by the other.
    fake.state().shared = false;
    fake.state().requests.clear();
    assert_eq!(keys(&node.dir, &["renew", "pointer"]).unwrap(), ExitCode::SUCCESS);
    assert!(!has_asked() && fake.was_brought_anything());
    // Nor of one that a person has brought to them.
    let words = ["renew", "transport", "--again", "--imported"];
    assert_eq!(keys(&node.dir, &words).unwrap(), ExitCode::SUCCESS);
    assert_ne!(setup::open(&node.dir).unwrap().transport.public(), new);
}

#[test]
fn nothing_is_signed_on_keys_that_were_changed_meanwhile() {
    let words: [&[&str]; 4] = [
        &["renew", "pointer"],
        &["republish"],
        &["revoke", "PREFIX", "--reason", "retired"],
        &["leave"],
    ];
    for words in words {
        // No steward, who would not be let go.
        let mut node = supplier(6, 0);
        node.organizations.rotate_left(5);
        node.root.rotate_left(5);
        let fake = Fake::start(&node);
        let set = next_set(&node.view, &node.organizations[0]).unwrap();
        let govern = set.keys.iter().find(|key| key.usage == KeyUse::Govern).unwrap();
        let prefix = govern.key.key_id().to_string();
        let run = || match words {
            ["leave"] => {
                let words = ["leave", "--yes", "--organization", "GP5"];
                leave::command(&node.dir, &Leave::parse_from(words).args, false)
            }
            words => {
                let words =
                    words.iter().map(|word| if *word == "PREFIX" { &prefix } else { *word });
                keys(
                    &node.dir,
                    &[&words.collect::<Vec<_>>()[..], &["--organization", "GP5"]].concat(),
                )
            }
        };
        fake.state().meanwhile = vec![node.signed(0, set)];
        let error = run().unwrap_err();
        assert!(
            error.to_string().contains("Practice 5 (GP5) were changed meanwhile"),
            "{words:?}: {error}"
        );
        assert!(hint(&error).unwrap().contains("type it again"));
        assert!(!fake.was_brought_anything(), "{words:?}");
        run().unwrap();
        assert_eq!(fake.view().last_keys(&node.organizations[0]).unwrap().version, 3);
    }
}

#[test]
fn whoever_waits_for_the_lock_sees_what_was_signed_under_it() {
    let node = supplier(1, 0);
    let fake = Fake::start(&node);
    let lock = node.lock();
    let (dir, waits) = (node.dir.clone(), Arc::new(Mutex::new(false)));
    let told = waits.clone();
    let other = thread::spawn(move || {
        drop(KeysLock::take(&dir, || *told.lock().unwrap() = true).unwrap());
        keys(&dir, &["republish"]).unwrap();
    });
    while !*waits.lock().unwrap() {
        thread::sleep(Duration::from_millis(5));
    }
    assert!(fake.state().requests.is_empty());
    let set = next_set(&node.view, &node.organizations[0]).unwrap();
    fake.state().statements.take(&node.signed(0, set), wall_clock()).unwrap();
    drop(lock);
    other.join().unwrap();
    assert_eq!(fake.view().last_keys(&node.organizations[0]).unwrap().version, 3);
    // The command itself: a roster from before its turn would be an old one.
    let lock = node.lock();
    fake.state().requests.clear();
    let dir = node.dir.clone();
    let other = thread::spawn(move || keys(&dir, &["republish"]).unwrap());
    thread::sleep(Duration::from_millis(300));
    assert!(fake.state().requests.is_empty());
    drop(lock);
    other.join().unwrap();
    assert_eq!(fake.view().last_keys(&node.organizations[0]).unwrap().version, 4);
}

#[test]
fn keys_that_contradictory_sets_have_lost_are_listed_again() {
    let node = supplier(1, 0);
    let id = node.organizations[0];
    // This machine renews both keys; another, which has not heard of it, signs a set of its own.
    let before = node.view.clone();
    let fake = Fake::start(&node);
    keys(&node.dir, &["renew", "transport"]).unwrap();
    keys(&node.dir, &["renew", "pointer"]).unwrap();
    let mine = fake.view().last_keys(&id).unwrap().hash();
    let identity = setup::open(&node.dir).unwrap();
    let (transport, pointer) = (identity.transport.public(), identity.served[0].pointer.public());
    // Of the two sets the one of the smallest hash comes first: the other's is to be the last.
    let theirs = (0..).map(|later| {
        let set = next_set(&before, &id).unwrap();
        let issued = set.issued.plus(later);
        node.signed(0, OrganizationKeys { version: 3, issued, ..set })
    });
    let theirs = theirs.into_iter().find(|bytes| statement_hash(bytes) > mine).unwrap();
    fake.state().statements.take(&theirs, wall_clock()).unwrap();
    let listed = |key: &PublicKey| -> Option<KeyRecord> {
        let keys = fake.view().roster.keys_of(&id);
        keys.into_iter().find(|record| record.key == *key)
    };
    assert_eq!((listed(&transport), listed(&pointer)), (None, None));
    let error = keys(&node.dir, &["renew", "transport", "--again"]).unwrap_err();
    assert!(error.to_string().contains("does not list this node's transport key"), "{error}");
    assert!(hint(&error).unwrap().contains("keys republish --organization GP0"));
    keys(&node.dir, &["republish"]).unwrap();
    for key in [transport, pointer] {
        let record = listed(&key).expect("it is listed again");
        assert_eq!((record.node, record.revoked), (Some(identity.node), None));
    }
    setup::keep_roster(&node.dir, &fake.view().statements.write()).unwrap();
    setup::open(&node.dir).unwrap();
    // What is listed is not listed twice.
    keys(&node.dir, &["republish"]).unwrap();
    let set = fake.view().last_keys(&id).unwrap().keys.to_vec();
    assert_eq!(set.iter().filter(|key| key.key == transport).count(), 1);
    // Whoever has left has no key to list.
    let leaves = leave::last_keys(&fake.view(), &id).unwrap();
    fake.state().statements.take(&node.signed(0, leaves), wall_clock()).unwrap();
    keys(&node.dir, &["republish"]).unwrap();
    assert!(fake.view().last_keys(&id).unwrap().nodes.is_empty());
}

#[test]
fn an_application_from_before_a_renewal_is_brought_up_to_date() {
    let mut node = supplier(1, 0);
    let fake = Fake::start(&node);
    let ods: OdsCode = "GP9".parse().unwrap();
    let lock = node.lock();
    let organization = PlannedOrganization::new(ods.clone(), "Practice 9".to_owned());
    let cost = signpost_keys::keystore::Cost::weak_for_tests();
    let file = setup::apply_further(&lock, &organization, None, cost, wall_clock(), &mut node.rng)
        .unwrap();
    drop(lock);
    let take_on = |fake: &Fake| {
        let statements = fake.state().statements.clone();
        setup::take_on(&node.lock(), &ods, &statements, wall_clock())
    };
    let error = take_on(&fake).unwrap_err().to_string();
    assert!(error.contains("not been admitted yet: "), "{error}");
    keys(&node.dir, &["renew", "transport"]).unwrap();
    let error = take_on(&fake).unwrap_err().to_string();
    for part in ["not been admitted yet", "has renewed since", "republish --organization GP9"] {
        assert!(error.contains(part), "{error}");
    }
    // It is admitted as it has applied.
    let view = fake.view();
    let application = handed::application(&file, &view.roster.network()).unwrap();
    let change = draft::admission(&view, &application, 9, 0).unwrap();
    let proposal = draft::proposal(&view, change, "A test").unwrap();
    let folder = setup::organization_dir(&node.dir, &"GP0".parse().unwrap());
    let govern = admin_key(Some(&folder), AdminKey::Govern, None, None).unwrap();
    let approval = signpost_protocol::roster::Approval {
        steward: node.organizations[0],
        proposal: codec::ByteString::new(codec::encode(&proposal)).unwrap(),
        issued: view.now,
    };
    let approval = signpost_keys::sign(approval, &govern, &view.roster.network());
    for bytes in [approval.bytes(), application.keys.bytes()] {
        fake.state().statements.take(bytes, wall_clock()).unwrap();
    }
    let error = take_on(&fake).unwrap_err().to_string();
    for part in ["is a member, but with another transport key", "republish --organization GP9"] {
        assert!(error.contains(part), "{error}");
    }
    keys(&node.dir, &["republish", "--organization", "GP9"]).unwrap();
    // An old roster in the place of a new one would keep the node from starting.
    let old = Statements::read(&node.view.statements.write(), None, wall_clock()).unwrap();
    setup::take_on(&node.lock(), &ods, &old, wall_clock()).unwrap_err();
    take_on(&fake).unwrap();
    assert_eq!(setup::open(&node.dir).unwrap().served.len(), 2);
}
