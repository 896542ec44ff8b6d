//! What the absence of stewards means, in stages, and that it ends by itself.

use signpost_node::core::completeness::CauseKind;
use signpost_tests::{founding::Plan, sim::Network};

use super::{LAST, SHORT, finds_all, messages::served, network_of};
use crate::common::{causes, patient};

fn expiry(network: &Network, at: usize) -> String {
    network.status(at).roster.expiry
}

#[test]
fn without_stewards_trust_ends_in_stages_and_comes_back_with_them() {
    // Two evaluators suffice, so that what is missing is the stewards' word alone.
    let plan = Plan { parameters: SHORT, threshold: 2, ..Plan::of(6) };
    let mut network = network_of(&plan, 40);
    network.run_for(120_000);
    assert_eq!(expiry(&network, LAST), "fresh", "heartbeats keep it so");
    for steward in 1..4 {
        network.kill(steward);
    }
    network.run_for(25_000);
    assert_eq!(expiry(&network, LAST), "fresh");
    network.run_for(20_000);
    assert_eq!(expiry(&network, LAST), "warned");
    assert!(network.status(LAST).notices.iter().any(|n| n.contains("stewards have been heard of")));
    assert!(served(&mut network, 4, 0).contains(&"ask"), "a holder still answers");
    network.run_for(30_000);
    assert_eq!(expiry(&network, LAST), "no-governance");
    let found = network.locate(LAST, patient(1)).unwrap();
    assert!(found.completeness.causes().iter().all(|cause| cause.kind != CauseKind::RosterStale));
    network.run_for(60_000);
    assert_eq!(expiry(&network, LAST), "no-disclosure");
    assert!(!network.status(LAST).ready);
    let found = network.locate(LAST, patient(1)).unwrap();
    assert!(causes(&found).contains(&(CauseKind::RosterStale, String::new())), "{found:?}");
    assert!(causes(&found).contains(&(CauseKind::AnswerRefused, "ORG0".to_owned())), "{found:?}");
    assert!(!served(&mut network, 4, 0).contains(&"ask"), "a holder discloses nothing");

    for steward in 1..4 {
        network.start(steward);
    }
    network.run_for(60_000);
    network.settle();
    for at in 0..=LAST {
        assert_eq!(expiry(&network, at), "fresh");
        finds_all(&mut network, at).unwrap();
    }
}
