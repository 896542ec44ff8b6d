use std::{collections::BTreeSet, os::unix::fs::PermissionsExt as _};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use signpost_keys::keystore::Cost;
use signpost_protocol::{Timestamp, roster::Parameters};

use super::*;

/// 2026-01-01T00:00:00Z.
const NOW: Timestamp = Timestamp(1_767_225_600_000);
const DAY: u64 = 24 * 3_600_000;

fn plan(parent: &Path, count: usize) -> Plan {
    let organizations = (1..=count)
        .map(|number| PlannedOrganization {
            ods: format!("RX{number}").parse().unwrap(),
            name: format!("Trust {number}"),
            dir: parent.join(format!("rx{number}")),
            peer_address: format!("/ip4/127.0.0.1/tcp/{}", 20_000 + number),
            api_listen: format!("127.0.0.1:{}", 30_000 + number).parse().unwrap(),
        })
        .collect();
    Plan {
        network_name: "Trial".to_owned(),
        parameters: Parameters::STANDARD,
        organizations,
        class_max: 10,
        cost: Cost::weak_for_tests(),
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

fn copy(from: &Path, to: &Path, name: &str) {
    fs::copy(from.join(name), to.join(name)).unwrap();
}

#[test]
fn every_founder_opens_what_was_founded() {
    for (count, evaluators, threshold) in [(1, 1, 1), (2, 1, 1), (3, 3, 2), (5, 5, 3), (6, 5, 3)] {
        let (_parent, plan, founded) = network(count);
        assert_eq!(founded.warnings.len(), if count < 3 { 2 } else { 1 });
        let mut nodes = BTreeSet::new();
        let mut tokens = BTreeSet::new();
        let mut shares = 0;
        for planned in &plan.organizations {
            let identity = open(&planned.dir).unwrap();
            assert_eq!(identity.roster.network(), founded.network);
            assert_eq!(identity.roster.admitted().count(), count);
            assert_eq!((&identity.ods, &identity.name), (&planned.ods, &planned.name));
            assert_eq!(identity.config.api.listen, planned.api_listen);
            assert_eq!(identity.config.peer.listen, std::slice::from_ref(&planned.peer_address));
            let peer = identity.transport.public();
            let speaks_for = |now| identity.roster.organizations_of_peer(&peer, now);
            assert_eq!(speaks_for(NOW.minus(3_600_000)), [identity.organization]);
            assert_eq!(speaks_for(NOW.plus(89 * DAY)), [identity.organization]);
            assert!(speaks_for(NOW.plus(90 * DAY)).is_empty());
            let set = identity.roster.evaluators();
            assert_eq!(set.evaluators.len(), evaluators);
            assert_eq!((usize::from(set.threshold), set.dealt), (threshold, true));
            shares += usize::from(identity.evaluator_share.is_some());
            assert!(nodes.insert(identity.node));
            assert!(identity.api_token.len() >= 43 && tokens.insert(identity.api_token));
        }
        assert_eq!(shares, evaluators);
    }
}

#[test]
fn nobody_else_can_enter_the_directory_or_read_its_secrets() {
    let (_parent, plan, _) = network(1);
    let dir = &plan.organizations[0].dir;
    let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
    for (name, expected) in [
        ("", 0o700),
        ("keys", 0o700),
        ("keys/node.keystore", 0o600),
        ("keys/root.keystore", 0o600),
        ("keys/next-root.keystore", 0o600),
        ("passphrase", 0o600),
        ("api.token", 0o600),
        ("signpost.toml", 0o644),
    ] {
        assert_eq!(mode(name), expected, "{name}");
    }
    assert_eq!(fs::read_dir(dir).unwrap().count(), PLACES_COUNT, "something was left behind");
    let roots = |name: &str| {
        let passphrase = Passphrase::read_file(&dir.join("passphrase")).unwrap();
        let keystore = Keystore::read(&dir.join("keys").join(name), &passphrase).unwrap();
        keystore.names().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(roots("root.keystore"), ["root"]);
    assert_eq!(roots("next-root.keystore"), ["next-root"]);
    assert_eq!(roots("node.keystore"), ["evaluator-share", "pointer", "storage", "transport"]);
}

/// keys, passphrase, api.token, signpost.toml, inception.cose, roster.cbor.
const PLACES_COUNT: usize = 6;

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
    again.organizations[0].dir = parent.path().join("free");
    assert!(matches!(make(&again, 2), Err(SetupError::Occupied { .. })));
    assert!(!parent.path().join("free").exists());
    assert_eq!(fs::read(dir.join("keys/node.keystore")).unwrap(), before);

    let mut other = plan(parent.path(), 1);
    other.organizations[0].dir = parent.path().join("photographs");
    fs::create_dir(&other.organizations[0].dir).unwrap();
    fs::write(other.organizations[0].dir.join("a.jpg"), "").unwrap();
    assert!(matches!(make(&other, 2), Err(SetupError::NotEmpty { .. })));
}

#[test]
fn an_empty_directory_and_the_leavings_of_a_founding_cut_short_are_used() {
    let parent = tempfile::tempdir().unwrap();
    let plan = plan(parent.path(), 1);
    let dir = &plan.organizations[0].dir;
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
    let cases: [Case; 10] = [
        (|p| p.organizations.clear(), "1 to 64 organizations"),
        (|p| p.network_name.clear(), "a name has"),
        (|p| p.organizations[1].name = "x".repeat(161), "a name has"),
        (
            |p| p.organizations[1].ods = p.organizations[0].ods.clone(),
            "two organizations have the ODS code RX1",
        ),
        (
            |p| p.organizations[1].dir = p.organizations[0].dir.clone(),
            "two organizations have the directory",
        ),
        (
            |p| p.organizations[1].api_listen = p.organizations[0].api_listen,
            "two organizations have the API address",
        ),
        (|p| p.organizations[0].peer_address = "localhost:1".to_owned(), "is not a multiaddr"),
        (|p| p.organizations[0].peer_address = "/ip4/127.0.0.1/tcp/0".to_owned(), "fixed TCP port"),
        (
            |p| p.organizations[0].peer_address = "/ip4/127.0.0.1/tcp/30001".to_owned(),
            "cannot serve both",
        ),
        (|p| p.organizations[0].api_listen = "0.0.0.0:7700".parse().unwrap(), "must be loopback"),
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
    for (organization, address) in plan.organizations.iter_mut().zip([
        "/dns4/signpost.example/tcp/7701",
        "/ip4/192.0.2.1/tcp/7701",
        "/ip6/2001:db8::1/tcp/7701",
    ]) {
        organization.peer_address = address.to_owned();
    }
    make(&plan, 1).unwrap();
    let listens = plan.organizations.iter().map(|o| open(&o.dir).unwrap().config.peer.listen);
    let expected = ["/ip4/0.0.0.0/tcp/7701", "/ip4/0.0.0.0/tcp/7701", "/ip6/::/tcp/7701"];
    assert_eq!(listens.collect::<Vec<_>>().concat(), expected);
}

#[test]
fn no_file_of_another_founding_fits() {
    let (_first, plan, _) = network(3);
    let parent = tempfile::tempdir().unwrap();
    let other = self::plan(parent.path(), 3);
    make(&other, 2).unwrap();
    let [dir, sibling, foreign] =
        [&plan.organizations[0].dir, &plan.organizations[1].dir, &other.organizations[0].dir];
    let good = |name: &str| fs::read(dir.join(name)).unwrap();
    for (name, from) in [
        (ROSTER_FILE, foreign),
        (INCEPTION_FILE, foreign),
        (INCEPTION_FILE, sibling),
        ("keys/node.keystore", sibling),
        (PASSPHRASE_FILE, sibling),
    ] {
        let kept = good(name);
        copy(from, dir, name);
        let error = open(dir).unwrap_err();
        assert!(error.hint().is_some(), "{name}: {error}");
        fs::write(dir.join(name), kept).unwrap();
    }
    // The keystore and passphrase of another member open, but are not this organization's.
    copy(sibling, dir, "keys/node.keystore");
    copy(sibling, dir, PASSPHRASE_FILE);
    let error = open(dir).unwrap_err();
    assert!(matches!(error, SetupError::Mismatch { .. }), "{error}");
}

#[test]
fn a_roster_with_one_byte_changed_is_refused() {
    let (_parent, plan, _) = network(2);
    let path = plan.organizations[0].dir.join(ROSTER_FILE);
    let good = fs::read(&path).unwrap();
    for at in (0..good.len()).step_by(17).chain([good.len() - 1]) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, bad).unwrap();
        let error = open(&plan.organizations[0].dir).unwrap_err();
        assert!(matches!(error, SetupError::Roster { .. }), "byte {at}: {error}");
    }
    fs::write(&path, good).unwrap();
    open(&plan.organizations[0].dir).unwrap();
}

#[test]
fn a_wrong_passphrase_is_told_with_the_file_to_look_at() {
    let (_parent, plan, _) = network(1);
    let dir = &plan.organizations[0].dir;
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
    let dir = &plan.organizations[0].dir;
    for name in [API_TOKEN_FILE, INCEPTION_FILE, "keys/node.keystore", PASSPHRASE_FILE, ROSTER_FILE]
    {
        let kept = fs::read(dir.join(name)).unwrap();
        fs::remove_file(dir.join(name)).unwrap();
        let said = open(dir).unwrap_err().to_string();
        assert!(said.contains(name), "{said}");
        fs::write(dir.join(name), kept).unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::write(dir.join(API_TOKEN_FILE), "two words\r\nX: y").unwrap();
    assert!(open(dir).unwrap_err().to_string().contains("not a token"));
}

#[test]
fn debug_shows_no_secret() {
    let (_parent, plan, _) = network(1);
    let identity = open(&plan.organizations[0].dir).unwrap();
    let shown = format!("{identity:?}");
    assert!(shown.contains("RX1") && !shown.contains(&identity.api_token), "{shown}");
}
