//! Asks that must not be answered, and that leave no record as if they had been.

use signpost_node::{core::completeness::CauseKind, network::Plane, store::DisclosureRole};
use signpost_protocol::{
    Locator,
    codec::Text,
    locate::{Ask, AskSubject, RefusalCode},
    roster::Standing,
};
use signpost_tests::{founding::Plan, sim::Network};

use crate::common::{
    ASKER, HOLDER, answer, ask, assert_honest, causes, create, disclosures, network, only, patient,
    pointer_key, refused, sign, transport_key,
};

/// Sends an ask, signed by `signer`'s node, over `via`'s connection.
fn put(network: &mut Network, ask: Ask, signer: usize, via: usize) -> Option<Vec<u8>> {
    let frame = sign(network, ask, &transport_key(network, signer));
    let peer = network.key(via);
    network.exchange(peer, HOLDER, Plane::Ask, frame)
}

/// What an ask that differs from an honest one in one point is refused with; nothing is recorded.
fn refusal_of(seed: u64, change: impl FnOnce(&mut Network, &mut Ask)) -> RefusalCode {
    let mut network = network(seed);
    let before = disclosures(&network, HOLDER);
    let mut ask = ask(&mut network);
    change(&mut network, &mut ask);
    let reply = put(&mut network, ask, ASKER, ASKER);
    assert_eq!(disclosures(&network, HOLDER), before, "a refused ask discloses nothing");
    assert_honest(&mut network);
    refused(reply)
}

#[test]
fn an_honest_ask_is_answered_once_and_its_copy_refused() {
    let mut network = network(20);
    let before = disclosures(&network, HOLDER);
    let ask = ask(&mut network);
    let first = put(&mut network, ask.clone(), ASKER, ASKER);
    assert_eq!(answer(first).pointers.len(), 1);
    assert_eq!(refused(put(&mut network, ask, ASKER, ASKER)), RefusalCode::Replayed);
    assert_eq!(disclosures(&network, HOLDER), before + 1, "told once, recorded once");
    assert_honest(&mut network);
}

#[test]
fn a_copy_is_refused_as_long_as_its_times_would_pass() {
    let mut network = network(20);
    let ask = ask(&mut network);
    answer(put(&mut network, ask.clone(), ASKER, ASKER));
    network.run_for(122_000);
    assert_eq!(refused(put(&mut network, ask.clone(), ASKER, ASKER)), RefusalCode::Replayed);
    network.run_for(2_000);
    assert_eq!(refused(put(&mut network, ask, ASKER, ASKER)), RefusalCode::Clock);
}

#[test]
fn an_expired_ask_is_refused() {
    let code = refusal_of(21, |_, ask| {
        ask.issued = ask.issued.minus(130_000);
        ask.expires = ask.issued.plus(3_000);
    });
    assert_eq!(code, RefusalCode::Clock);
}

#[test]
fn an_ask_issued_in_the_future_is_refused() {
    let code = refusal_of(21, |_, ask| {
        ask.issued = ask.issued.plus(130_000);
        ask.expires = ask.issued.plus(3_000);
    });
    assert_eq!(code, RefusalCode::Clock);
}

#[test]
fn an_ask_with_too_long_a_life_is_refused() {
    let code = refusal_of(21, |_, ask| ask.expires = ask.issued.plus(30_001));
    assert_eq!(code, RefusalCode::Clock);
}

#[test]
fn an_ask_that_expires_before_it_was_issued_is_refused() {
    assert_eq!(refusal_of(21, |_, ask| ask.expires = ask.issued.minus(1)), RefusalCode::Clock);
}

#[test]
fn times_within_what_clocks_may_differ_are_accepted() {
    let mut network = network(21);
    for offset in [-110_000_i64, 110_000] {
        let mut ask = ask(&mut network);
        ask.issued.0 = ask.issued.0.saturating_add_signed(offset);
        ask.expires = ask.issued.plus(30_000);
        assert_eq!(answer(put(&mut network, ask, ASKER, ASKER)).pointers.len(), 1);
    }
}

#[test]
fn an_ask_passed_on_by_another_member_is_refused() {
    let mut network = network(22);
    let before = disclosures(&network, HOLDER);
    let mut ask = ask(&mut network);
    ask.asking = network.nodes[3].founder.organization;
    let relayed = put(&mut network, ask.clone(), 3, ASKER);
    assert_eq!(refused(relayed), RefusalCode::BadSignature);
    assert_eq!(disclosures(&network, HOLDER), before);
    let direct = put(&mut network, ask, 3, 3);
    assert_eq!(answer(direct).pointers.len(), 1, "from its signer it is answered");
}

#[test]
fn an_ask_in_another_organizations_name_is_refused() {
    let code = refusal_of(22, |network, ask| ask.asking = network.nodes[3].founder.organization);
    assert_eq!(code, RefusalCode::BadSignature);
}

#[test]
fn an_ask_signed_by_a_pointer_key_is_refused() {
    let mut network = network(22);
    let ask = ask(&mut network);
    let frame = sign(&network, ask, &pointer_key(&network, ASKER));
    let peer = network.key(ASKER);
    let reply = network.exchange(peer, HOLDER, Plane::Ask, frame);
    assert_eq!(refused(reply), RefusalCode::BadSignature);
}

#[test]
fn an_ask_by_a_stranger_is_refused() {
    let mut network = network(22);
    let ask = ask(&mut network);
    let stranger = signpost_keys::SecretKey::from_seed(&[9; 32]);
    let frame = sign(&network, ask, &stranger);
    let reply = network.exchange(stranger.public(), HOLDER, Plane::Ask, frame);
    assert_eq!(refused(reply), RefusalCode::NotAdmitted);
    assert_honest(&mut network);
}

#[test]
fn an_ask_for_an_organization_that_is_not_served_is_refused() {
    let code = refusal_of(23, |network, ask| ask.asked = network.nodes[1].founder.organization);
    assert_eq!(code, RefusalCode::NotServed);
}

#[test]
fn a_suspended_member_gets_no_answer_and_is_named_as_left_out() {
    let plan = Plan { standings: vec![(3, Standing::Suspended)], ..Plan::of(5) };
    let mut network = Network::new(&plan, 24);
    network.kill(3);
    network.settle();
    create(&mut network, HOLDER, patient(1));
    network.run_for(1_000);
    let mut suspended = ask(&mut network);
    suspended.asking = network.nodes[3].founder.organization;
    let before = disclosures(&network, HOLDER);
    assert_eq!(refused(put(&mut network, suspended, 3, 3)), RefusalCode::NotAdmitted);
    assert_eq!(disclosures(&network, HOLDER), before);
    let honest = ask(&mut network);
    assert_eq!(answer(put(&mut network, honest, ASKER, ASKER)).pointers.len(), 1);
    let found = network.locate(ASKER, patient(1)).unwrap();
    assert_eq!(causes(&found), only(CauseKind::Suspended, 3));
    assert_eq!(found.pointers.len(), 1);
}

#[test]
fn what_policy_refuses_looks_like_nothing_and_is_recorded_as_refused() {
    let mut network = network(25);
    let mut refused = ask(&mut network);
    refused.purpose = Text::new("HMARKT").unwrap();
    let refused = put(&mut network, refused, ASKER, ASKER).unwrap();
    let mut nothing = ask(&mut network);
    // As long as the other purpose, so that the two replies can be compared.
    nothing.purpose = Text::new("PATRQT").unwrap();
    network.nodes[HOLDER].purposes.push("PATRQT".to_owned());
    network.kill(HOLDER);
    network.start(HOLDER);
    network.run_for(10_000);
    nothing.issued = crate::common::now(&network);
    nothing.expires = nothing.issued.plus(3_000);
    let mut allowed = nothing.clone();
    allowed.request.0[15] = 1;
    if let AskSubject::Locator { locator, .. } = &mut nothing.subject {
        *locator = Locator([1; 32]);
    }
    let nothing = put(&mut network, nothing, ASKER, ASKER).unwrap();
    assert_eq!(refused.len(), nothing.len(), "not even the length tells them apart");
    for reply in [refused, nothing] {
        let answer = answer(Some(reply));
        assert!(answer.pointers.is_empty() && !answer.more);
    }
    let holder = network.nodes[HOLDER].disclosures.iter();
    let outcomes: Vec<_> = holder
        .filter(|record| record.role == DisclosureRole::Holder)
        .map(|record| (record.purpose.as_str(), record.outcome.as_str(), record.pointers.len()))
        .collect();
    assert_eq!(outcomes, [("HMARKT", "refused-by-policy", 0), ("PATRQT", "answered", 0)]);
    assert_eq!(answer(put(&mut network, allowed, ASKER, ASKER)).pointers.len(), 1);
}
