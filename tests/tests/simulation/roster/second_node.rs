//! An organization with two nodes, of which one alone has its share of the blinding key.

use signpost_node::core::local::LocateError;
use signpost_protocol::{
    codec::Bounded,
    roster::{OrganizationKeys, Parameters},
    statement::KeyUse,
};
use signpost_tests::{founding::Plan, sim::Network};

use super::{LAST, SHORT, network, network_of};
use crate::common::{create, patient};

/// Starts a second node of the first organization, and has it listed before the first one.
fn list_second(network: &mut Network, seed: u64) -> usize {
    let second = network.add_second(0, seed);
    let theirs = network.nodes[second].founder.keys();
    let keys = network.next_keys(1, 0, |keys| {
        let own = theirs.keys.iter().filter(|key| key.usage != KeyUse::Govern);
        let all = keys.keys.iter().chain(own).copied().collect();
        keys.keys = Bounded::new(all).unwrap();
        let all = theirs.nodes.iter().chain(keys.nodes.iter()).cloned().collect();
        keys.nodes = Bounded::new(all).unwrap();
    });
    network.submit(1, vec![keys]).remove(0).unwrap();
    network.settle();
    second
}

#[test]
fn both_nodes_are_found_and_the_one_with_the_share_evaluates() {
    let mut network = network(110);
    let second = list_second(&mut network, 110);
    network.write(second, vec![create(0, patient(1))]).remove(0).unwrap();
    network.run_for(2_000);
    for at in 0..=second {
        let found = network.locate(at, patient(1)).unwrap();
        assert!(found.completeness.is_complete(), "ORG{at}: {:?}", found.completeness);
        assert_eq!(found.pointers.len(), 3, "ORG{at}");
    }
    // Of five evaluators the first three are left, and all of them are needed.
    [3, 4].into_iter().for_each(|at| network.kill(at));
    for (n, at) in [LAST, second, 1].into_iter().enumerate() {
        network.locate(at, patient(50 + n as u32)).unwrap();
    }
    network.kill(0);
    for (n, at) in [LAST, second].into_iter().enumerate() {
        let error = network.locate(at, patient(60 + n as u32)).unwrap_err();
        assert!(matches!(error, LocateError::TooFewEvaluators { .. }), "{error}");
    }
}

#[test]
fn a_steward_is_heard_of_by_the_node_that_is_left() {
    let parameters = Parameters {
        heartbeat_interval: 60_000,
        heartbeat_warn: 120_000,
        governance_age_max: 300_000,
        disclosure_age_max: 600_000,
        ..SHORT
    };
    let mut network = network_of(&Plan { parameters, ..Plan::of(6) }, 111);
    let steward = network.nodes[0].founder.organization;
    let second = list_second(&mut network, 111);
    let heard = |network: &mut Network| {
        let beat = network.statements_at(1).last_heartbeat(&steward).map(|beat| beat.issued);
        network.true_time().since(beat.unwrap())
    };
    network.kill(0);
    network.run_for(150_000);
    network.start(0);
    network.run_for(5_000);
    assert!(heard(&mut network) <= 61_000, "the second node has given signs of life");

    let gone = network.nodes[second].founder.node;
    let keys = network.next_keys(1, 0, |keys: &mut OrganizationKeys| {
        let left = keys.nodes.iter().filter(|node| node.node != gone).cloned().collect();
        keys.nodes = Bounded::new(left).unwrap();
        let left = keys.keys.iter().filter(|key| key.node != Some(gone)).copied().collect();
        keys.keys = Bounded::new(left).unwrap();
    });
    network.submit(1, vec![keys]).remove(0).unwrap();
    network.run_for(4_000);
    let since = heard(&mut network);
    assert!(since < 4_000, "those of the second node have ceased to count: {since}");
    for at in 0..=LAST {
        let found = network.locate(at, patient(1)).unwrap();
        assert!(found.completeness.is_complete(), "ORG{at}: {:?}", found.completeness);
    }
}
