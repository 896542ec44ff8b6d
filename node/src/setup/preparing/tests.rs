use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use signpost_keys::{keystore::Keystore, sign};
use signpost_protocol::roster::{OrganizationKeys, Parameters, Revocation, RevocationReason};

use super::*;
use crate::{
    runtime::wall_clock,
    setup::{
        AdminKey, NODE_KEYSTORE, Plan, PlannedOrganization, admin_key, candidate, found, open,
        organization_dir, staging::PLACES,
    },
};

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(7)
}

fn planned(dir: &Path, port: u16) -> PlannedNode {
    PlannedNode {
        dir: dir.to_owned(),
        peer_address: format!("/ip4/127.0.0.1/tcp/{port}"),
        api_listen: format!("127.0.0.1:{}", port + 1).parse().unwrap(),
        organizations: vec![PlannedOrganization::new("RX1".parse().unwrap(), "Trust".to_owned())],
    }
}

/// A network of one organization, whose first node is in `host`.
struct Network {
    root: tempfile::TempDir,
    statements: Statements,
    organization: OrganizationId,
}

fn network() -> Network {
    let root = tempfile::tempdir().unwrap();
    let host = root.path().join("host");
    let plan = Plan {
        network_name: "Trial".to_owned(),
        parameters: Parameters::STANDARD,
        nodes: vec![planned(&host, 20_100)],
        class_max: 10,
        cost: Cost::weak_for_tests(),
        deals_key: true,
    };
    found(&plan, wall_clock().minus(1_000), &mut rng()).unwrap();
    let identity = open(&host).unwrap();
    let organization = identity.served[0].organization;
    Network { root, statements: identity.statements, organization }
}

impl Network {
    fn dir(&self) -> PathBuf {
        self.root.path().join("second")
    }

    fn prepare(&self, plan: &PlannedNode) -> Result<Prepared, SetupError> {
        let mut rng = ChaCha20Rng::seed_from_u64(8);
        let (statements, cost) = (&self.statements, Cost::weak_for_tests());
        prepare(plan, &self.organization, statements, cost, wall_clock(), &mut rng)
    }

    fn prepared(&self) -> Prepared {
        self.prepare(&planned(&self.dir(), 20_000)).unwrap()
    }

    /// The roster in which the organization lists also these nodes and keys.
    fn listing(&self, nodes: &[NodeRecord], keys: &[KeyRecord]) -> Statements {
        let now = wall_clock();
        let folder = organization_dir(&self.root.path().join("host"), &"RX1".parse().unwrap());
        let root = admin_key(Some(&folder), AdminKey::Root, None, None).unwrap();
        let law = self.statements.law(now);
        let last = self.statements.last_keys(&law, &self.organization).unwrap();
        let set = OrganizationKeys {
            version: last.version + 1,
            previous: last.hash(),
            nodes: Bounded::new([&last.nodes[..], nodes].concat()).unwrap(),
            keys: Bounded::new([&last.keys[..], keys].concat()).unwrap(),
            issued: now,
            ..(**last).clone()
        };
        let mut statements = self.statements.clone();
        statements.take(sign(set, &root, &statements.network()).bytes(), now).unwrap();
        statements
    }

    fn granted(&self, request: &NodeRequest) -> Statements {
        let keys = [request.pointer, request.transport];
        self.listing(std::slice::from_ref(&request.node), &keys)
    }
}

#[test]
fn a_prepared_node_takes_part_with_the_roster_that_lists_it() {
    let network = network();
    let dir = network.dir();
    let made = network.prepared();
    let again = prepared(&dir).unwrap().expect("it is there");
    assert_eq!(again.request, made.request);
    assert_eq!(made.request.organization, network.organization);
    assert_eq!(NodeRequest::parse(&fs::read(made.file()).unwrap()).unwrap(), made.request);

    // It does not start, and does not join; both say what to do.
    for error in [open(&dir).unwrap_err(), candidate(&dir).unwrap_err()] {
        assert!(matches!(error, SetupError::NotListed { .. }), "{error}");
        let hint = error.hint().unwrap();
        assert!(hint.contains("keys add-node") && hint.contains("node take-up"), "{hint}");
    }
    // Rosters that do not list it, that list only half of it, or that are of another network.
    let NodeRequest { node, pointer, transport, .. } = &made.request;
    let half = network.listing(std::slice::from_ref(node), &[*pointer]);
    for strange in [&network.statements, &half] {
        let error = take_up(&made, strange, wall_clock()).unwrap_err();
        assert!(matches!(error, SetupError::NotListed { .. }), "{error}");
    }
    let own = network.statements.roster(wall_clock());
    let first = own.member(&network.organization).unwrap().nodes[0].node;
    let misplaced = KeyRecord { node: Some(first), ..*transport };
    let misplaced = network.listing(std::slice::from_ref(node), &[*pointer, misplaced]);
    let error = take_up(&made, &misplaced, wall_clock()).unwrap_err();
    assert!(matches!(error, SetupError::NotListed { .. }), "{error}");
    let other = network_of_others();
    let error = take_up(&made, &other, wall_clock()).unwrap_err();
    assert!(error.to_string().contains("of another network"), "{error}");
    assert!(prepared(&dir).unwrap().is_some(), "it is prepared still");

    take_up(&made, &network.granted(&made.request), wall_clock()).unwrap();
    assert!(prepared(&dir).unwrap().is_none() && !made.file().exists());
    let identity = open(&dir).unwrap();
    assert_eq!(identity.node, node.node);
    assert_eq!(identity.served[0].organization, network.organization);
    assert!(identity.evaluator_share.is_none(), "the share stays where it is");
    let host = open(&network.root.path().join("host")).unwrap();
    assert_ne!(host.served[0].api_token, identity.served[0].api_token);
    assert_ne!(*host.storage, *identity.storage);
}

fn network_of_others() -> Statements {
    let root = tempfile::tempdir().unwrap();
    let plan = Plan {
        network_name: "Others".to_owned(),
        parameters: Parameters::STANDARD,
        nodes: vec![planned(root.path(), 20_200)],
        class_max: 10,
        cost: Cost::weak_for_tests(),
        deals_key: true,
    };
    found(&plan, wall_clock().minus(1_000), &mut rng()).unwrap();
    open(root.path()).unwrap().statements
}

#[test]
fn no_key_that_decides_comes_to_the_new_machine() {
    let network = network();
    network.prepared();
    let dir = network.dir();
    let names = |dir: &Path| -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> = entries.map(|entry| name(entry).into_string().unwrap()).collect();
        names.sort();
        names
    };
    let all = ["keys", "organizations", "passphrase", "prepared.cbor", "signpost.toml"];
    assert_eq!(names(&dir), all);
    let folder = organization_dir(&dir, &"RX1".parse().unwrap());
    assert_eq!(names(&folder), ["api.token", "inception.cose"]);
    let (keystore, path, _) = node_keystore(&dir, &Config::read(&dir).unwrap()).unwrap();
    assert!(path.ends_with(NODE_KEYSTORE));
    let held = Keystore::names(&keystore).collect::<Vec<_>>();
    let pointer = secret_names::pointer(&network.organization);
    assert_eq!(held, [&*pointer, "storage", "transport"]);
}

#[test]
fn what_was_stopped_at_any_rename_is_finished_with_the_same_keys() {
    let last = PLACES.iter().position(|name| *name == PREPARED_FILE).unwrap();
    for moved in 0..=last {
        let network = network();
        let (before, dir) = (network.prepared(), network.dir());
        // Back to how it was after so many renames.
        let staging = dir.join(STAGING);
        fs::create_dir(&staging).unwrap();
        for name in PLACES.iter().skip(moved).filter(|name| dir.join(name).exists()) {
            fs::rename(dir.join(name), staging.join(name)).unwrap();
        }
        assert!(open(&dir).is_err(), "it is no node");
        let after = prepared(&dir).unwrap().expect("it goes on");
        assert_eq!(after.request, before.request);
        assert!(!staging.exists());
    }
}

#[test]
fn what_was_not_all_there_is_begun_anew_and_what_is_there_is_not_written_over() {
    let network = network();
    let dir = network.dir();
    let staging = dir.join(STAGING);
    fs::create_dir_all(staging.join("keys")).unwrap();
    fs::write(staging.join("prepared.partial"), b"half").unwrap();
    assert!(prepared(&dir).unwrap().is_none());
    let made = network.prepared();
    let again = network.prepare(&planned(&dir, 20_000));
    assert!(matches!(again, Err(SetupError::Occupied { .. })), "{again:?}");
    let host = network.root.path().join("host");
    let again = network.prepare(&planned(&host, 20_000));
    assert!(matches!(again, Err(SetupError::Occupied { .. })), "{again:?}");
    assert!(prepared(&host).unwrap().is_none(), "a node that was listed is not prepared");

    // A request for another key in its place is noticed.
    let mut changed = made.request.clone();
    let roster = network.statements.roster(wall_clock());
    changed.pointer.key = roster.keys_of(&network.organization)[0].key;
    fs::write(made.file(), changed.to_bytes()).unwrap();
    let error = prepared(&dir).unwrap_err();
    assert!(matches!(error, SetupError::Mismatch { .. }), "{error}");
    fs::write(made.file(), b"damaged").unwrap();
    let error = prepared(&dir).unwrap_err();
    assert!(matches!(error, SetupError::Request { .. }) && error.hint().is_some(), "{error}");
}

#[test]
fn what_makes_no_node_is_refused_before_anything_is_written() {
    let network = network();
    let dir = network.dir();
    let plan = planned(&dir, 20_000);
    let long = format!("/dns4/{}/tcp/1", "x".repeat(270));
    for (peer_address, api_listen) in [
        ("/ip4/127.0.0.1/tcp/0", plan.api_listen),
        ("127.0.0.1:7701", plan.api_listen),
        ("/ip4/127.0.0.1/tcp/7701", "0.0.0.0:7700".parse().unwrap()),
        (&long, plan.api_listen),
    ] {
        let plan =
            PlannedNode { peer_address: peer_address.to_owned(), api_listen, ..plan.clone() };
        let made = network.prepare(&plan);
        assert!(matches!(made, Err(SetupError::Plan(_))), "{peer_address}: {made:?}");
    }
    let stranger = OrganizationId([9; 32]);
    let (statements, cost) = (&network.statements, Cost::weak_for_tests());
    let made = prepare(&plan, &stranger, statements, cost, wall_clock(), &mut rng());
    assert!(made.unwrap_err().to_string().contains("no member"));
    assert!(!dir.exists());
}

#[test]
fn a_request_that_contradicts_itself_is_refused() {
    let network = network();
    let good = network.prepared().request;
    assert_eq!(NodeRequest::parse(&good.to_bytes()).unwrap(), good);
    let revoked = Revocation { since: good.pointer.not_before, reason: RevocationReason::Retired };
    type Case = (fn(&mut NodeRequest, Revocation), &'static str);
    let cases: [Case; 9] = [
        (|r, _| r.node.addresses = Bounded::default(), "no address"),
        (
            |r, _| r.node.addresses = Bounded::new(vec![Text::new("here").unwrap()]).unwrap(),
            "not a multiaddr",
        ),
        (|r, _| r.node.node = NodeId([9; NodeId::LENGTH]), "another use or node"),
        (|r, _| r.pointer.node = None, "another use or node"),
        (|r, _| r.transport.usage = KeyUse::Govern, "another use or node"),
        (|r, _| r.transport.not_after = r.transport.not_before, "never valid"),
        (|r, _| r.pointer.not_after = r.pointer.not_after.plus(1), "longer"),
        (|r, revoked| r.pointer.revoked = Some(revoked), "revoked already"),
        (|r, _| r.pointer.key = r.transport.key, "both uses"),
    ];
    for (change, reason) in cases {
        let mut request = good.clone();
        change(&mut request, revoked);
        assert_ne!(request.fingerprint(), good.fingerprint());
        let error = NodeRequest::parse(&request.to_bytes()).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    let mut bytes = good.to_bytes();
    bytes.push(0);
    assert!(matches!(NodeRequest::parse(&bytes), Err(RequestError::Decode(_))));
    let long = vec![0; NodeRequest::BYTES_MAX + 1];
    assert!(matches!(NodeRequest::parse(&long), Err(RequestError::Decode(_))));
}
