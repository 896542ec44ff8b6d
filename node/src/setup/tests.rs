use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use signpost_keys::keystore::{Cost, Keystore, Passphrase};
use signpost_protocol::{
    Timestamp,
    roster::{Parameters, Standing},
};

use super::*;

/// 2026-01-01T00:00:00Z.
const NOW: Timestamp = Timestamp(1_767_225_600_000);
const DAY: u64 = 24 * 3_600_000;

fn planned(ods: &str) -> PlannedOrganization {
    PlannedOrganization::new(ods.parse().unwrap(), format!("Trust {ods}"))
}

/// A name in the folder of the only organization of a plan's node.
fn in_folder(plan: &Plan, node: usize, name: &str) -> PathBuf {
    let PlannedNode { dir, organizations, .. } = &plan.nodes[node];
    organization_dir(dir, &organizations[0].ods).join(name)
}

fn plan(parent: &Path, count: usize) -> Plan {
    let nodes = (1..=count)
        .map(|number| PlannedNode {
            dir: parent.join(format!("rx{number}")),
            peer_address: format!("/ip4/127.0.0.1/tcp/{}", 20_000 + number),
            api_listen: format!("127.0.0.1:{}", 30_000 + number).parse().unwrap(),
            organizations: vec![planned(&format!("RX{number}"))],
        })
        .collect();
    Plan {
        network_name: "Trial".to_owned(),
        parameters: Parameters::STANDARD,
        nodes,
        class_max: 10,
        cost: Cost::weak_for_tests(),
        deals_key: true,
    }
}

fn make(plan: &Plan, seed: u64) -> Result<Founded, SetupError> {
    found(plan, NOW, &mut ChaCha20Rng::seed_from_u64(seed))
}

/// A founded network of `count` with its directories.
fn network(count: usize) -> (tempfile::TempDir, Plan, Founded) {
    let parent = tempfile::tempdir().unwrap();
    let plan = plan(parent.path(), count);
    let founded = make(&plan, 1).unwrap();
    (parent, plan, founded)
}

#[test]
fn every_founder_opens_what_was_founded() {
    for (count, evaluators, threshold) in [(1, 1, 1), (2, 1, 1), (3, 3, 2), (5, 5, 3), (6, 5, 3)] {
        let (_parent, plan, founded) = network(count);
        assert_eq!(founded.warnings.len(), if count < 3 { 2 } else { 1 });
        let mut nodes = BTreeSet::new();
        let mut tokens = BTreeSet::new();
        let mut shares = 0;
        for planned in &plan.nodes {
            let identity = open(&planned.dir).unwrap();
            assert_eq!(identity.roster.network(), founded.network);
            assert_eq!(identity.roster.admitted().count(), count);
            let [served] = &*identity.served else { panic!("a node serves one organization") };
            let organization = &planned.organizations[0];
            assert_eq!((&served.ods, &served.name), (&organization.ods, &organization.name));
            assert_eq!(identity.config.api.listen, planned.api_listen);
            assert_eq!(identity.config.peer.listen, std::slice::from_ref(&planned.peer_address));
            let peer = identity.transport.public();
            let speaks_for = |now| identity.roster.organizations_of_peer(&peer, now);
            assert_eq!(speaks_for(NOW.minus(3_600_000)), [served.organization]);
            assert_eq!(speaks_for(NOW.plus(89 * DAY)), [served.organization]);
            assert!(speaks_for(NOW.plus(90 * DAY)).is_empty());
            let set = identity.roster.evaluators().current().unwrap();
            assert_eq!(set.evaluators.len(), evaluators);
            assert_eq!((usize::from(set.threshold), set.dealt), (threshold, true));
            shares += usize::from(identity.evaluator_share.is_some());
            assert!(nodes.insert(identity.node));
            assert!(served.api_token.len() >= 43 && tokens.insert(served.api_token.clone()));
        }
        assert_eq!(shares, evaluators);
    }
}

#[test]
fn without_a_dealt_key_three_nodes_are_founded_without_any_and_fewer_are_not() {
    for (count, has_key) in [(1, true), (2, true), (3, false), (5, false)] {
        let parent = tempfile::tempdir().unwrap();
        let mut plan = plan(parent.path(), count);
        plan.deals_key = false;
        let founded = make(&plan, 1).unwrap();
        assert_eq!(founded.warnings.is_empty(), !has_key, "{:?}", founded.warnings);
        for planned in &plan.nodes {
            let identity = open(&planned.dir).unwrap();
            assert_eq!(identity.roster.evaluators().current().is_some(), has_key);
            assert!(has_key || identity.evaluator_share.is_none());
        }
    }
}

#[test]
fn a_node_of_many_organizations_has_keys_and_a_token_for_each_and_evaluates_once() {
    let parent = tempfile::tempdir().unwrap();
    let mut plan = plan(parent.path(), 3);
    plan.nodes[1].organizations = vec![planned("Z1"), planned("GP1"), planned("GP2")];
    plan.nodes[1].organizations[2].standing = Standing::Suspended;
    let founded = make(&plan, 1).unwrap();
    assert_eq!(founded.warnings.len(), 1, "three nodes share the blinding key");
    let identity = open(&plan.nodes[1].dir).unwrap();
    let codes: Vec<_> = identity.served.iter().map(|served| served.ods.as_str()).collect();
    assert_eq!(codes, ["GP1", "GP2", "Z1"]);
    assert_eq!(
        organizations(&plan.nodes[1].dir).unwrap().iter().map(OdsCode::as_str).collect::<Vec<_>>(),
        ["GP1", "GP2", "Z1"]
    );
    assert!(identity.evaluator_share.is_some());
    let evaluators = identity.roster.evaluators().current().unwrap();
    assert_eq!((evaluators.evaluators.len(), evaluators.threshold), (3, 2));
    let evaluates = |served: &ServedIdentity| {
        evaluators.evaluators.iter().any(|e| e.organization == served.organization)
    };
    assert!(evaluates(&identity.served[2]) && !identity.served[..2].iter().any(evaluates));
    let keys: BTreeSet<_> = identity.served.iter().map(|s| s.pointer.public()).collect();
    let tokens: BTreeSet<_> = identity.served.iter().map(|s| &s.api_token).collect();
    assert_eq!((keys.len(), tokens.len()), (3, 3));
    let speaks_for = identity.roster.organizations_of_peer(&identity.transport.public(), NOW);
    assert_eq!(speaks_for.len(), 2, "not for the suspended one");
    assert!(identity.roster.members().all(|member| member.nodes.len() == 1));
    assert_eq!(identity.roster.members().count(), 5);

    // Each has a root of its own, with a passphrase of its own.
    let folder = |ods: &str| organization_dir(&plan.nodes[1].dir, &ods.parse().unwrap());
    let passphrase = |ods| Passphrase::read_file(&folder(ods).join(ROOT_PASSPHRASE_FILE)).unwrap();
    let root = |ods, of| Keystore::read(&folder(ods).join(ROOT_KEYSTORE), &passphrase(of));
    let (first, second) = (root("GP1", "GP1").unwrap(), root("GP2", "GP2").unwrap());
    assert_ne!(first.get("root").unwrap(), second.get("root").unwrap());
    assert!(root("GP1", "GP2").is_err());
}

#[test]
fn what_is_of_one_organization_does_not_serve_another() {
    let parent = tempfile::tempdir().unwrap();
    let mut plan = plan(parent.path(), 1);
    plan.nodes[0].organizations.push(planned("RX2"));
    make(&plan, 1).unwrap();
    let dir = &plan.nodes[0].dir;
    let file = |ods: &str, name| organization_dir(dir, &ods.parse().unwrap()).join(name);
    let kept = fs::read(file("RX2", API_TOKEN_FILE)).unwrap();
    fs::copy(file("RX1", API_TOKEN_FILE), file("RX2", API_TOKEN_FILE)).unwrap();
    let error = open(dir).unwrap_err().to_string();
    assert!(error.contains("the same API token"), "{error}");
    fs::write(file("RX2", API_TOKEN_FILE), kept).unwrap();
    open(dir).unwrap();
    fs::copy(file("RX1", INCEPTION_FILE), file("RX2", INCEPTION_FILE)).unwrap();
    let error = open(dir).unwrap_err().to_string();
    assert!(error.contains("of the same organization"), "{error}");
    fs::remove_dir_all(file("RX2", "")).unwrap();
    assert_eq!(open(dir).unwrap().served.len(), 1, "the other is served all the same");
    fs::remove_dir_all(file("RX1", "")).unwrap();
    let error = open(dir).unwrap_err();
    assert!(
        matches!(error, SetupError::NoNode { missing: ORGANIZATIONS_DIRECTORY, .. }),
        "{error}"
    );
}

#[test]
fn nobody_else_can_enter_the_directory_or_read_its_secrets() {
    let (_parent, plan, _) = network(1);
    let dir = &plan.nodes[0].dir;
    let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
    for (name, expected) in [
        ("", 0o700),
        ("keys", 0o700),
        ("keys/node.keystore", 0o600),
        ("passphrase", 0o600),
        ("organizations", 0o700),
        ("organizations/RX1", 0o700),
        ("organizations/RX1/root.keystore", 0o600),
        ("organizations/RX1/next-root.keystore", 0o600),
        ("organizations/RX1/root.passphrase", 0o600),
        ("organizations/RX1/api.token", 0o600),
        ("signpost.toml", 0o644),
    ] {
        assert_eq!(mode(name), expected, "{name}");
    }
    assert_eq!(fs::read_dir(dir).unwrap().count(), PLACES_COUNT, "something was left behind");
    let names = |keystore: PathBuf, passphrase: PathBuf| {
        let passphrase = Passphrase::read_file(&passphrase).unwrap();
        let keystore = Keystore::read(&keystore, &passphrase).unwrap();
        keystore.names().map(str::to_owned).collect::<Vec<_>>()
    };
    let roots = |name| names(in_folder(&plan, 0, name), in_folder(&plan, 0, ROOT_PASSPHRASE_FILE));
    assert_eq!(roots(ROOT_KEYSTORE), ["root"]);
    assert_eq!(roots(NEXT_ROOT_KEYSTORE), ["next-root"]);
    let pointer = secret_names::pointer(&open(dir).unwrap().served[0].organization);
    assert_eq!(
        names(dir.join("keys/node.keystore"), dir.join(PASSPHRASE_FILE)),
        ["evaluator-share", &pointer, "storage", "transport"]
    );
}

#[test]
fn a_roster_that_takes_the_place_of_another_may_be_read_as_that() {
    let (_parent, plan, _) = network(1);
    let dir = &plan.nodes[0].dir;
    let file = fs::read(dir.join(ROSTER_FILE)).unwrap();
    let mode = || fs::metadata(dir.join(ROSTER_FILE)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o644);
    keep_roster(dir, &file).unwrap();
    assert_eq!(mode(), 0o644);
    assert_eq!(fs::read_dir(dir).unwrap().count(), PLACES_COUNT, "something was left behind");
    open(dir).unwrap();
}

#[test]
fn one_command_at_a_time_changes_keys_and_another_is_told_that_it_waits() {
    let (_parent, plan, _) = network(1);
    let dir = &plan.nodes[0].dir;
    let first = KeysLock::take(dir, || panic!("nobody has it")).unwrap();
    let clone = first.clone();
    drop(first);
    let (told, is_told) = std::sync::mpsc::sync_channel(1);
    let (dir, is_done) =
        (dir.clone(), std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let done = is_done.clone();
    let other = std::thread::spawn(move || {
        let _lock = KeysLock::take(&dir, || told.send(()).unwrap()).unwrap();
        done.load(std::sync::atomic::Ordering::SeqCst)
    });
    is_told.recv().unwrap();
    is_done.store(true, std::sync::atomic::Ordering::SeqCst);
    drop(clone);
    assert!(other.join().unwrap(), "it went on before it was its turn");
}

/// keys, passphrase, signpost.toml, organizations, roster.cbor.
const PLACES_COUNT: usize = 5;

#[test]
fn a_directory_that_holds_anything_is_not_written() {
    let (parent, mut again, _) = network(2);
    let before = fs::read(parent.path().join("rx1/keys/node.keystore")).unwrap();
    let error = make(&again, 2).unwrap_err().to_string();
    let dir = parent.path().join("rx1");
    assert_eq!(
        error,
        format!("{} already holds a node of RX1; choose another --dir", dir.display())
    );
    // One free directory beside an occupied one is left alone too.
    again.nodes[0].dir = parent.path().join("free");
    assert!(matches!(make(&again, 2), Err(SetupError::Occupied { .. })));
    assert!(!parent.path().join("free").exists());
    assert_eq!(fs::read(dir.join("keys/node.keystore")).unwrap(), before);

    let mut other = plan(parent.path(), 1);
    other.nodes[0].dir = parent.path().join("photographs");
    fs::create_dir(&other.nodes[0].dir).unwrap();
    fs::write(other.nodes[0].dir.join("a.jpg"), "").unwrap();
    assert!(matches!(make(&other, 2), Err(SetupError::NotEmpty { .. })));
}

#[test]
fn an_empty_directory_and_the_leavings_of_a_founding_cut_short_are_used() {
    let parent = tempfile::tempdir().unwrap();
    let plan = plan(parent.path(), 1);
    let dir = &plan.nodes[0].dir;
    fs::create_dir_all(dir.join("founding.tmp/keys")).unwrap();
    fs::write(dir.join("founding.tmp/api.token"), "old").unwrap();
    make(&plan, 1).unwrap();
    open(dir).unwrap();
    assert_eq!(fs::metadata(dir).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_plan_that_makes_no_network_is_refused_with_the_reason() {
    let parent = tempfile::tempdir().unwrap();
    let changed = |change: fn(&mut Plan)| {
        let mut plan = plan(parent.path(), 2);
        change(&mut plan);
        make(&plan, 1).unwrap_err().to_string()
    };
    type Case = (fn(&mut Plan), &'static str);
    let cases: [Case; 13] = [
        (|p| p.nodes.clear(), "1 to 64 organizations"),
        (
            |p| {
                let many = (0..63).map(|n| planned(&format!("GP{n}")));
                p.nodes[0].organizations.extend(many);
            },
            "1 to 64 organizations",
        ),
        (|p| p.nodes[1].organizations.clear(), "serves at least one organization"),
        (
            |p| {
                let twice = p.nodes[0].organizations[0].clone();
                p.nodes[0].organizations.push(twice);
            },
            "two organizations have the ODS code RX1",
        ),
        (|p| p.network_name.clear(), "a name has"),
        (|p| p.nodes[1].organizations[0].name = "x".repeat(161), "a name has"),
        (
            |p| p.nodes[1].organizations = p.nodes[0].organizations.clone(),
            "two organizations have the ODS code RX1",
        ),
        (|p| p.nodes[1].dir = p.nodes[0].dir.clone(), "two nodes have the directory"),
        (|p| p.nodes[1].api_listen = p.nodes[0].api_listen, "two nodes have the API address"),
        (|p| p.nodes[0].peer_address = "localhost:1".to_owned(), "is not a multiaddr"),
        (|p| p.nodes[0].peer_address = "/ip4/127.0.0.1/tcp/0".to_owned(), "fixed TCP port"),
        (|p| p.nodes[0].peer_address = "/ip4/127.0.0.1/tcp/30001".to_owned(), "cannot serve both"),
        (|p| p.nodes[0].api_listen = "0.0.0.0:7700".parse().unwrap(), "must be loopback"),
    ];
    for (change, reason) in cases {
        let error = changed(change);
        assert!(error.contains(reason), "{error}");
    }
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0, "something was written");
}

#[test]
fn an_address_that_others_see_is_listened_for_on_every_interface() {
    let parent = tempfile::tempdir().unwrap();
    let mut plan = plan(parent.path(), 3);
    for (node, address) in plan.nodes.iter_mut().zip([
        "/dns4/signpost.example/tcp/7701",
        "/ip4/192.0.2.1/tcp/7701",
        "/ip6/2001:db8::1/tcp/7701",
    ]) {
        node.peer_address = address.to_owned();
    }
    make(&plan, 1).unwrap();
    let listens = plan.nodes.iter().map(|node| open(&node.dir).unwrap().config.peer.listen);
    let expected = ["/ip4/0.0.0.0/tcp/7701", "/ip4/0.0.0.0/tcp/7701", "/ip6/::/tcp/7701"];
    assert_eq!(listens.collect::<Vec<_>>().concat(), expected);
}

#[test]
fn no_file_of_another_founding_fits() {
    let (_first, plan, _) = network(3);
    let parent = tempfile::tempdir().unwrap();
    let other = self::plan(parent.path(), 3);
    make(&other, 2).unwrap();
    let dir = &plan.nodes[0].dir;
    let keystore = |plan: &Plan, node: usize| plan.nodes[node].dir.join("keys/node.keystore");
    let passphrase = |plan: &Plan, node: usize| plan.nodes[node].dir.join(PASSPHRASE_FILE);
    for (to, from) in [
        (dir.join(ROSTER_FILE), other.nodes[0].dir.join(ROSTER_FILE)),
        (in_folder(&plan, 0, INCEPTION_FILE), in_folder(&other, 0, INCEPTION_FILE)),
        (in_folder(&plan, 0, INCEPTION_FILE), in_folder(&plan, 1, INCEPTION_FILE)),
        (keystore(&plan, 0), keystore(&plan, 1)),
        (passphrase(&plan, 0), passphrase(&plan, 1)),
    ] {
        let kept = fs::read(&to).unwrap();
        fs::copy(from, &to).unwrap();
        let error = open(dir).unwrap_err();
        assert!(error.hint().is_some(), "{}: {error}", to.display());
        fs::write(&to, kept).unwrap();
    }
    open(dir).unwrap();
    // The keystore and passphrase of another node open, but are not this organization's.
    fs::copy(keystore(&plan, 1), keystore(&plan, 0)).unwrap();
    fs::copy(passphrase(&plan, 1), passphrase(&plan, 0)).unwrap();
    let error = open(dir).unwrap_err();
    assert!(matches!(error, SetupError::Mismatch { .. }), "{error}");
}

#[test]
fn a_roster_with_one_byte_changed_is_refused_or_lacks_what_it_changed() {
    let (_parent, plan, _) = network(2);
    let path = plan.nodes[0].dir.join(ROSTER_FILE);
    let good = fs::read(&path).unwrap();
    let whole = open(&plan.nodes[0].dir).unwrap().statements.len();
    for at in (0..good.len()).step_by(17).chain([good.len() - 1]) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, bad).unwrap();
        // A set of keys of an organization that nobody knows may find its founding yet, elsewhere.
        match open(&plan.nodes[0].dir) {
            Err(SetupError::Roster { .. } | SetupError::Mismatch { .. }) => {}
            Err(other) => panic!("byte {at}: {other}"),
            Ok(identity) => assert!(identity.statements.len() < whole, "byte {at} was taken"),
        }
    }
    fs::write(&path, good).unwrap();
    open(&plan.nodes[0].dir).unwrap();
}

#[test]
fn a_wrong_passphrase_is_told_with_the_file_to_look_at() {
    let (_parent, plan, _) = network(1);
    let dir = &plan.nodes[0].dir;
    fs::write(dir.join(PASSPHRASE_FILE), "guess\n").unwrap();
    let error = open(dir).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("node.keystore") && said.contains("passphrase is wrong"), "{said}");
    assert!(error.hint().unwrap().contains("keystore.passphrase_file"));
    assert!(!said.contains("guess"), "{said}");
}

#[test]
fn what_is_missing_is_named() {
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(open(empty.path()), Err(SetupError::NoNode { missing: ROSTER_FILE, .. })));
    let (_parent, plan, _) = network(1);
    let dir = &plan.nodes[0].dir;
    for path in [
        in_folder(&plan, 0, API_TOKEN_FILE),
        in_folder(&plan, 0, INCEPTION_FILE),
        dir.join("keys/node.keystore"),
        dir.join(PASSPHRASE_FILE),
        dir.join(ROSTER_FILE),
    ] {
        let name = path.file_name().unwrap().to_str().unwrap();
        let kept = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let said = open(dir).unwrap_err().to_string();
        assert!(said.contains(name), "{said}");
        fs::write(&path, kept).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::write(in_folder(&plan, 0, API_TOKEN_FILE), "two words\r\nX: y").unwrap();
    assert!(open(dir).unwrap_err().to_string().contains("not a token"));
}

#[test]
fn debug_shows_no_secret() {
    let (_parent, plan, _) = network(1);
    let identity = open(&plan.nodes[0].dir).unwrap();
    let shown = format!("{identity:?}");
    assert!(shown.contains("RX1") && !shown.contains(&identity.served[0].api_token), "{shown}");
}
