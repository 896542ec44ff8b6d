//! Transport keys that are revoked, expire, or are replaced.

use signpost_node::core::completeness::CauseKind;
use signpost_protocol::{
    codec::Bounded,
    hello::Regard,
    roster::{KeyRecord, OrganizationKeys},
};
use signpost_tests::sim::Network;

use super::{
    LAST, finds_all,
    messages::{ALL, regard, served},
    network,
};
use crate::common::{causes, patient};

/// Lists another transport key for the node of [`LAST`], beside the old one.
fn add_key(keys: &mut OrganizationKeys, seed: [u8; 32]) {
    let mut records = keys.keys.clone().into_inner();
    let old = *records
        .iter()
        .find(|r| r.usage == signpost_protocol::statement::KeyUse::Transport)
        .unwrap();
    let key = signpost_keys::SecretKey::from_seed(&seed).public();
    records.push(KeyRecord { key, revoked: None, not_after: old.not_after.plus(3_600_000), ..old });
    keys.keys = Bounded::new(records).unwrap();
}

fn restart_with_new_key(network: &mut Network) {
    let seed = [42; 32];
    let keys = network.next_keys(0, LAST, |keys| add_key(keys, seed));
    network.submit(0, vec![keys]).remove(0).unwrap();
    network.kill(LAST);
    network.set_transport(LAST, seed);
    network.start(LAST);
    network.run_for(60_000);
    network.settle();
    for at in 0..=LAST {
        finds_all(network, at).unwrap();
    }
}

#[test]
fn a_revoked_key_is_cut_off_at_once_and_a_new_one_takes_its_place() {
    let mut network = network(10);
    assert_eq!(served(&mut network, LAST, 1), ALL);
    network.revoke_transport(0, LAST);
    network.run_for(1_000);
    for at in 0..LAST {
        assert_eq!(served(&mut network, LAST, at), [""; 0], "ORG{at}");
        assert_eq!(regard(&mut network, LAST, at), Regard::KeyRevoked);
        let found = network.locate(at, patient(1)).unwrap();
        assert_eq!(causes(&found), [(CauseKind::Unreachable, "ORG5".to_owned())]);
        assert_eq!(served(&mut network, (at + 1) % LAST, at), ALL, "the others are untouched");
    }
    restart_with_new_key(&mut network);
}

#[test]
fn an_expired_key_is_cut_off_too() {
    let mut network = network(11);
    let until = network.true_time().plus(10_000);
    let key = network.key(LAST);
    let keys = network.next_keys(0, LAST, |keys| {
        let mut records = keys.keys.clone().into_inner();
        records.iter_mut().filter(|record| record.key == key).for_each(|record| {
            record.not_after = until;
        });
        keys.keys = Bounded::new(records).unwrap();
    });
    network.submit(0, vec![keys]).remove(0).unwrap();
    network.run_for(5_000);
    assert_eq!(served(&mut network, LAST, 1), ALL, "it has not expired yet");
    // Connections stand for as long as clocks may differ; what is signed does not count any more.
    network.run_for(10_000);
    for at in 0..LAST {
        assert_eq!(served(&mut network, LAST, at), [""; 0], "ORG{at}");
        assert_eq!(regard(&mut network, LAST, at), Regard::KeyExpired);
        let found = network.locate(at, patient(1)).unwrap();
        assert!(!found.completeness.is_complete());
    }
    restart_with_new_key(&mut network);
}
