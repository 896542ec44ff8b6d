//! What is handed on by file: applications, drafts, rosters; and what is wrong with them.

use std::fs;

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use signpost_keys::{
    roster::{State, incept},
    sign,
};
use signpost_protocol::{
    NetworkId, NodeId, OrganizationId,
    codec::{self, Bounded, ByteString, Text},
    roster::{KeyRecord, NodeRecord, OrganizationKeys, RosterFile, Standing},
    statement::KeyUse,
};

use super::{
    super::{
        draft,
        handed::{self, Draft, Handed, parcel},
        view::{Reading, View},
    },
    DAY, FOUNDED, NOW, network, network_from,
};
use crate::setup::ApplicationFile;

/// An application to a network of `RX9`, and its file.
fn application(network: &NetworkId) -> ApplicationFile {
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let name = Text::new("Trust 9").unwrap();
    let (inception, root, next) = incept("RX9".parse().unwrap(), name, FOUNDED, &mut rng);
    let key = KeyRecord {
        key: next.public(),
        usage: KeyUse::Transport,
        node: Some(NodeId([9; 16])),
        not_before: FOUNDED,
        not_after: FOUNDED.plus(90 * DAY),
        revoked: None,
    };
    let addresses = Bounded::new(vec![Text::new("/ip4/127.0.0.1/tcp/9").unwrap()]).unwrap();
    let keys = OrganizationKeys {
        organization: OrganizationId(inception.hash().0),
        lineage: 0,
        version: 1,
        previous: inception.hash(),
        nodes: Bounded::new(vec![NodeRecord { node: NodeId([9; 16]), addresses }]).unwrap(),
        keys: Bounded::new(vec![key]).unwrap(),
        issued: FOUNDED,
    };
    ApplicationFile {
        inception: ByteString::new(inception.bytes().to_vec()).unwrap(),
        keys: ByteString::new(sign(keys, &root, network).bytes().to_vec()).unwrap(),
    }
}

#[test]
fn an_application_is_admitted_with_its_keys() {
    let mut network = network();
    let id = network.view.roster.network();
    let path = network.dirs[0].join("rx9.application");
    fs::write(&path, codec::encode(&application(&id))).unwrap();
    let read = handed::application(&path, &id).unwrap();
    let admission = |view: &View| draft::admission(view, &read, 9, 0);
    let (_, proposal) = network.propose(admission(&network.view).unwrap());
    let mut new: Vec<_> = (0..3).map(|n| network.approval(n, &proposal)).collect();
    new.push(read.keys.bytes().to_vec());
    network.view = network.view.with(&new).unwrap();
    let member = network.view.find_member("RX9").unwrap();
    assert_eq!((member.standing, member.nodes.len()), (Standing::Admitted, 1));
    let error = admission(&network.view).unwrap_err().to_string();
    assert_eq!(error, "Trust 9 (RX9) is a member already, and admitted");
}

#[test]
fn an_application_to_another_network_or_by_another_root_is_refused() {
    let network = network();
    let id = network.view.roster.network();
    let path = network.dirs[0].join("rx9.application");
    let read = |file: &[u8]| {
        fs::write(&path, file).unwrap();
        format!("{:#}", handed::application(&path, &id).unwrap_err())
    };
    let elsewhere = application(&network_from(2).view.roster.network());
    assert!(read(&codec::encode(&elsewhere)).contains("does not verify"));
    let mut mixed = application(&id);
    let other = network.view.last_keys(&network.organizations[5]).unwrap();
    mixed.keys = ByteString::new(other.bytes().to_vec()).unwrap();
    assert!(read(&codec::encode(&mixed)).contains("not in the roster"));
    assert!(read(b"something else").contains("is no application"));
}

#[test]
fn drafts_and_rosters_of_another_network_are_refused() {
    let network = network();
    let (id, proposal) = network.propose(network.standing(5, Standing::Suspended));
    let draft = |network| {
        codec::encode(&Draft {
            network,
            proposal: ByteString::new(codec::encode(&proposal)).unwrap(),
            statements: Bounded::default(),
        })
    };
    let (own, other) = (network.view.roster.network(), NetworkId([1; 32]));
    let path = network.dirs[0].join("handed.cbor");
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        Handed::read(&path, &own)
    };
    let proposals = |bytes: &[u8]| read(bytes).unwrap().proposals();
    assert_eq!(proposals(&draft(own)), [(id, proposal.clone())]);
    let founding = network.view.statements.founding();
    let approval = network.approval(1, &proposal);
    assert_eq!(proposals(&approval), [(id, proposal.clone())]);
    let twice = [approval, network.approval(2, &proposal)];
    assert_eq!(proposals(&parcel(founding, &twice)), [(id, proposal.clone())]);
    let roster = network.view.statements.write();
    assert!(proposals(&roster).is_empty());

    let refused = |bytes: &[u8]| read(bytes).err().unwrap().to_string();
    assert!(refused(&draft(other)).contains("is of network 0101"));
    let strange = network_from(2).view.statements.write();
    assert!(refused(&strange).contains("is of network"));
    assert!(refused(b"a letter").contains("holds no proposal, roster or statement"));
}

#[test]
fn a_roster_in_which_something_does_not_hold_is_read_to_its_end_and_refused() {
    let mut network = network();
    network.decide(network.standing(5, Standing::Suspended));
    let whole = network.view.statements.write();
    let reading = Reading::of(&whole, None, NOW).unwrap();
    assert!(reading.faults.is_empty() && reading.void == 0);
    assert_eq!(reading.counts["approval"], 3);

    let file: RosterFile = codec::decode("roster", &whole, whole.len()).unwrap();
    let mut statements: Vec<Vec<u8>> = file.statements.iter().map(|bytes| bytes.to_vec()).collect();
    let last = statements[7].len() - 1;
    statements[7][last] ^= 1;
    statements.remove(0);
    let spoilt = parcel(&file.founding, &statements);
    let faults = Reading::of(&spoilt, None, NOW).unwrap().faults;
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].contains("statement 7: the signature does not verify"), "{faults:?}");
    assert!(faults[1].contains("has not endorsed"), "{faults:?}");
    assert!(View::read(&spoilt, None, NOW).err().unwrap().to_string().contains("does not hold"));
    let other = Some(NetworkId([1; 32]));
    assert!(Reading::of(&whole, other, NOW).err().unwrap().to_string().contains("of network"));
}

#[test]
fn an_approval_that_has_expired_is_void_and_no_fault() {
    let mut network = network();
    let (id, proposal) = network.propose(network.standing(5, Standing::Suspended));
    network.approve(&[0], &proposal);
    let file = network.view.statements.write();
    let reading = Reading::of(&file, None, proposal.expires).unwrap();
    assert_eq!((reading.void, reading.faults.len()), (1, 0));
    let decision = reading.view.law.proposal(&id);
    assert!(decision.is_none_or(|decision| decision.state == State::Expired));
}
