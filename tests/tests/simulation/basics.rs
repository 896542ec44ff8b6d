//! Who finds what, and what is said when something is missing.

use signpost_node::core::{
    completeness::CauseKind,
    local::{Effect, LocateError, Write},
};
use signpost_tests::{founding::Plan, sim::Network};

use crate::common::{create, patient};

#[test]
fn a_pointer_made_at_one_node_is_found_from_another_and_gone_when_deleted() {
    let mut network = Network::settled(&Plan::of(5), 1);
    let patient = patient(1);
    let written = network.write(0, vec![create(0, patient)]).remove(0).unwrap();
    assert_eq!(written.effect, Effect::Created);
    network.run_for(1_000);
    let found = network.locate(4, patient).unwrap();
    assert!(found.completeness.is_complete(), "{:?}", found.completeness);
    assert_eq!(found.pointers.len(), 1);
    assert_eq!(found.pointers[0].pointer.id, written.id);
    let gone = network.write(0, vec![Write::Delete { id: written.id, if_match: None }]).remove(0);
    assert_eq!(gone.unwrap().effect, Effect::Deleted);
    let found = network.locate(4, patient).unwrap();
    assert!(found.completeness.is_complete());
    assert!(found.pointers.is_empty());
}

#[test]
fn a_dead_holder_makes_the_result_partial_and_is_named() {
    let mut network = Network::settled(&Plan::of(5), 2);
    let patient = patient(2);
    network.write(0, vec![create(0, patient)]).remove(0).unwrap();
    network.run_for(1_000);
    network.kill(0);
    let found = network.locate(4, patient).unwrap();
    let causes = found.completeness.causes();
    assert_eq!(causes.len(), 1, "{causes:?}");
    assert_eq!(causes[0].kind, CauseKind::Unreachable);
    assert_eq!(causes[0].organization.as_ref().unwrap().0.as_str(), "ORG0");
    network.start(0);
    network.run_for(60_000);
    let found = network.locate(4, patient).unwrap();
    assert!(found.completeness.is_complete(), "{:?}", found.completeness);
    assert_eq!(found.pointers.len(), 1, "nothing acknowledged was lost");
}

#[test]
fn two_of_five_evaluators_may_be_dead_but_not_three() {
    let mut network = Network::settled(&Plan::of(5), 3);
    network.kill(0);
    network.kill(1);
    assert!(network.locate(4, patient(3)).is_ok());
    network.kill(2);
    match network.locate(4, patient(4)) {
        Err(LocateError::TooFewEvaluators { reached: 2, needed: 3, detail }) => {
            assert!(detail.contains("ORG0") && detail.contains("ORG2"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
}
