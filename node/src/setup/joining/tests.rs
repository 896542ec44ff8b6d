use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use signpost_protocol::{
    InvitationCode, NetworkId,
    codec::{Bounded, Text},
    roster::{Change, MemberRecord, Parameters, Proposal, Standing},
};

use super::*;
use crate::{
    digests::SizeClass,
    runtime::wall_clock,
    setup::{
        AdminKey, Plan, PlannedOrganization, admin_key, found, open, organization_dir,
        staging::PLACES,
    },
};

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(7)
}

fn invitation(network: NetworkId, code: u8) -> Invitation {
    let address =
        "/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
    Invitation {
        network,
        network_name: Text::new("Trial").unwrap(),
        ods: "RX1".parse().unwrap(),
        name: Text::new("Trust RX1").unwrap(),
        code: InvitationCode([code; 16]),
        addresses: Bounded::new(vec![Text::new(address).unwrap()]).unwrap(),
        expires: wall_clock().plus(3_600_000),
    }
}

fn planned(dir: &Path, ods: &str, port: u16) -> PlannedNode {
    let name = format!("Trust {ods}");
    PlannedNode {
        dir: dir.to_owned(),
        peer_address: format!("/ip4/127.0.0.1/tcp/{port}"),
        api_listen: format!("127.0.0.1:{}", port + 1).parse().unwrap(),
        organizations: vec![PlannedOrganization::new(ods.parse().unwrap(), name)],
    }
}

fn begin(dir: &Path, network: NetworkId) -> Candidate {
    let (plan, invitation) = (planned(dir, "RX9", 20_000), invitation(network, 1));
    apply(&plan, &invitation, Cost::weak_for_tests(), wall_clock(), &mut rng()).unwrap();
    candidate(dir).unwrap().expect("it is there")
}

/// A network of one in `dir`, and a function that lets its only steward admit an applicant.
fn network(dir: &Path) -> Statements {
    let plan = Plan {
        network_name: "Trial".to_owned(),
        parameters: Parameters::STANDARD,
        nodes: vec![planned(dir, "RX1", 20_100)],
        class_max: SizeClass::LARGEST.number(),
        cost: Cost::weak_for_tests(),
        deals_key: true,
    };
    found(&plan, wall_clock().minus(1_000), &mut rng()).unwrap();
    open(dir).unwrap().statements
}

fn admitted(dir: &Path, statements: &Statements, candidate: &Candidate) -> Statements {
    let folder = organization_dir(dir, &"RX1".parse().unwrap());
    let govern = admin_key(Some(&folder), AdminKey::Govern, None, None).unwrap();
    let now = wall_clock();
    let application = &candidate.application;
    let record = MemberRecord {
        inception: ByteString::new(application.inception.bytes().to_vec()).unwrap(),
        version: 1,
        standing: Standing::Admitted,
        ods: application.inception.ods.clone(),
        name: application.inception.name.clone(),
        class_max: 10,
        successor: None,
    };
    let proposal = Proposal {
        epoch: 0,
        change: Change::Member(record),
        reason: Text::new("A trial").unwrap(),
        issued: now,
        expires: now.plus(3_600_000),
    };
    let steward = statements.roster(now).epoch().stewards().next().unwrap().organization;
    let approval = signpost_protocol::roster::Approval {
        steward,
        proposal: ByteString::new(codec::encode(&proposal)).unwrap(),
        issued: now,
    };
    let approval = sign(approval, &govern, &statements.network());
    let mut statements = statements.clone();
    for bytes in [approval.bytes(), application.keys.bytes()] {
        statements.take(bytes, now).unwrap();
    }
    statements
}

#[test]
fn a_candidate_becomes_a_member_with_the_roster_that_lists_it() {
    let root = tempfile::tempdir().unwrap();
    let (host, dir) = (root.path().join("host"), root.path().join("node"));
    let statements = network(&host);
    let waiting = begin(&dir, statements.network());
    assert_eq!(waiting.peer_address(), "/ip4/127.0.0.1/tcp/20000");
    let error = open(&dir).unwrap_err();
    assert!(matches!(error, SetupError::NoMember { .. }), "{error}");
    assert!(error.hint().unwrap().contains("signpost join"));
    for file in ["root", "next-root", "govern"] {
        let folder = organization_dir(&dir, &"RX9".parse().unwrap());
        assert!(folder.join(format!("{file}.keystore")).is_file(), "{file}");
    }

    // A roster without it, and one of another network, make it no member.
    let other = network(&root.path().join("other"));
    for strange in [&statements, &other] {
        let error = admit(&waiting, strange, wall_clock()).unwrap_err();
        assert!(matches!(error, SetupError::Mismatch { .. }), "{error}");
        assert!(candidate(&dir).unwrap().is_some(), "it is a candidate still");
    }
    let statements = admitted(&host, &statements, &waiting);
    admit(&waiting, &statements, wall_clock()).unwrap();
    assert!(candidate(&dir).unwrap().is_none() && !dir.join(JOINING_FILE).exists());
    let identity = open(&dir).unwrap();
    assert_eq!(identity.served[0].organization, waiting.application.organization);
    assert_eq!(identity.roster.admitted().count(), 2);
}

#[test]
fn what_was_stopped_at_any_rename_is_finished_with_the_same_keys() {
    for moved in 0..PLACES.len() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("node");
        let before = begin(&dir, NetworkId([1; 32]));
        // Back to how it was after so many renames.
        let staging = dir.join(STAGING);
        fs::create_dir(&staging).unwrap();
        for name in PLACES.iter().skip(moved).filter(|name| dir.join(name).exists()) {
            fs::rename(dir.join(name), staging.join(name)).unwrap();
        }
        let is_staged = staging.join(JOINING_FILE).exists();
        assert_eq!(is_staged, moved < PLACES.len());
        let after = candidate(&dir).unwrap().expect("it goes on");
        assert_eq!(after.application.organization, before.application.organization);
        assert_eq!(after.transport.public(), before.transport.public());
        assert!(!staging.exists());
    }
}

#[test]
fn what_was_not_all_there_is_begun_anew() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("node");
    let staging = dir.join(STAGING);
    fs::create_dir_all(staging.join("keys")).unwrap();
    fs::write(staging.join("joining.partial"), b"half").unwrap();
    assert!(candidate(&dir).unwrap().is_none());
    let begun = begin(&dir, NetworkId([1; 32]));
    // A second time would make other keys.
    let plan = planned(&dir, "RX9", 20_000);
    let again = apply(&plan, &begun.invitation, Cost::weak_for_tests(), wall_clock(), &mut rng());
    assert!(matches!(again, Err(SetupError::Occupied { .. })), "{again:?}");
    fs::write(dir.join(JOINING_FILE), b"damaged").unwrap();
    let error = candidate(&dir).unwrap_err();
    assert!(matches!(error, SetupError::Application { .. }), "{error}");
}

#[test]
fn another_invitation_must_be_to_the_same_network() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("node");
    let mut begun = begin(&dir, NetworkId([1; 32]));
    let error = renew(&mut begun, invitation(NetworkId([2; 32]), 2)).unwrap_err();
    assert!(error.to_string().contains("another network"), "{error}");
    renew(&mut begun, invitation(NetworkId([1; 32]), 3)).unwrap();
    let after = candidate(&dir).unwrap().unwrap();
    assert_eq!(after.invitation.code, InvitationCode([3; 16]));
    assert_eq!(after.application.organization, begun.application.organization);
}

#[test]
fn what_makes_no_node_is_refused_before_anything_is_written() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("node");
    let plan = planned(&dir, "RX9", 20_000);
    let long = format!("/dns4/{}/tcp/1", "x".repeat(270));
    for (peer_address, api_listen) in [
        ("/ip4/127.0.0.1/tcp/0", plan.api_listen),
        ("127.0.0.1:7701", plan.api_listen),
        ("/ip4/127.0.0.1/tcp/7701", "0.0.0.0:7700".parse().unwrap()),
        (&long, plan.api_listen),
    ] {
        let plan =
            PlannedNode { peer_address: peer_address.to_owned(), api_listen, ..plan.clone() };
        let invitation = invitation(NetworkId([1; 32]), 1);
        let made = apply(&plan, &invitation, Cost::weak_for_tests(), wall_clock(), &mut rng());
        assert!(matches!(made, Err(SetupError::Plan(_))), "{peer_address}: {made:?}");
        assert!(!dir.exists());
    }
}
