//! A root key that was lost is replaced, after a time in which it can object.

use super::*;
use crate::signing::VerifyError;

const WAIT: u64 = Parameters::STANDARD.reset_wait;
/// When a reset takes effect that was proposed on day 1: its life is over, and it has waited.
const EFFECT: Timestamp = day_const(11, WAIT);

const fn day_const(number: u64, more: u64) -> Timestamp {
    FOUNDED.plus(number * DAY + more)
}

fn new_root(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

/// Of five founders the fourth loses its root: three others reset it, and it lists other keys.
fn reset() -> (Network, Proposal) {
    let mut network = Network::of(5);
    let proposal = network.decide(network.reset(3, 1, &new_root(1)), day(1));
    list_key(&mut network, 1, 1, 1);
    (network, proposal)
}

/// The fourth founder's root of this lineage lists a transport key of its own.
fn list_key(network: &mut Network, lineage: u32, root: u8, version: u64) {
    let party = network.parties[3].clone();
    let mut set = party.key_set();
    (set.lineage, set.version) = (lineage, version);
    edit(&mut set.keys, 1, |key| key.key = transport(lineage, root).public());
    let key =
        if lineage == 0 { SecretKey::from_seed(&party.root.expose_seed()) } else { new_root(root) };
    let bytes = network.keys(&set, &key);
    network.say(bytes);
}

fn transport(lineage: u32, root: u8) -> SecretKey {
    SecretKey::from_seed(&[100 + lineage as u8 * 10 + root; 32])
}

/// Whether the keys that count are those of this root.
fn counts(network: &Network, lineage: u32, root: u8, now: Timestamp) -> bool {
    let peer = transport(lineage, root).public();
    network.roster(now).organizations_of_peer(&peer, now) == [network.parties[3].id]
}

#[test]
fn a_reset_takes_effect_after_its_waiting_time() {
    let (network, proposal) = reset();
    let id = network.parties[3].id;
    let before = network.roster(EFFECT.minus(1));
    assert_eq!(network.state(&proposal, EFFECT.minus(1)), State::Waits(EFFECT));
    assert_eq!(before.next_change(), Some(EFFECT));
    assert_eq!(before.member(&id).unwrap().lineage, 0);
    assert!(!counts(&network, 1, 1, EFFECT.minus(1)));
    // The old keys count until then, and the new ones from then on.
    let old = network.parties[3].transport.public();
    assert_eq!(before.organizations_of_peer(&old, EFFECT.minus(1)), [id]);
    assert_eq!(network.state(&proposal, EFFECT), State::Law);
    assert_eq!(network.roster(EFFECT).member(&id).unwrap().lineage, 1);
    assert!(counts(&network, 1, 1, EFFECT));
    assert!(network.roster(EFFECT).organizations_of_peer(&old, EFFECT).is_empty());
    // One more approval, dated back, makes the wait no shorter.
    let mut hurried = network.clone();
    hurried.approve(&[4], &proposal, day(1).minus(1));
    assert_eq!(hurried.state(&proposal, EFFECT.minus(1)), State::Waits(EFFECT));
}

#[test]
fn too_few_reset_nothing() {
    let mut network = Network::of(5);
    let proposal = network.proposal(network.reset(3, 1, &new_root(1)), day(1));
    network.approve(&[0, 1], &proposal, day(1));
    list_key(&mut network, 1, 1, 1);
    assert_eq!(network.state(&proposal, EFFECT), State::Expired);
    assert!(!counts(&network, 1, 1, EFFECT));
    // What its root has signed is not even kept.
    assert_eq!(network.statements(day(2)).len(), network.begun().len() + 2);
}

#[test]
fn the_old_root_objects_in_time_or_not_at_all() {
    let (network, proposal) = reset();
    let party = network.parties[3].clone();
    let after = |key: &SecretKey, issued: Timestamp| {
        let mut network = network.clone();
        let objection = network.objection(3, &proposal, key, issued);
        network.say(objection);
        network.state(&proposal, day(20))
    };
    assert_eq!(after(&party.root, EFFECT.minus(1)), State::Objected);
    assert_eq!(after(&party.root, EFFECT), State::Law);
    let mut objected = network.clone();
    let objection = network.objection(3, &proposal, &party.root, day(3));
    objected.said.insert(0, objection);
    assert_eq!(objected.state(&proposal, day(20)), State::Objected);
    assert!(!counts(&objected, 1, 1, day(20)));
    // Nobody else can object: neither the new root, nor a node, nor another organization's root.
    for key in [&new_root(1), &party.transport, &party.govern, &network.parties[4].root] {
        let objection = network.objection(3, &proposal, key, day(3));
        let refused = network.statements(day(3)).take(&objection, day(3)).unwrap_err();
        assert!(matches!(refused, Refusal::Verify(VerifyError::UnknownKey)), "{refused}");
    }
    let objection = network.objection(4, &proposal, &network.parties[4].root, day(3));
    let refused = network.statements(day(3)).take(&objection, day(3)).unwrap_err();
    assert!(matches!(refused, Refusal::Verify(VerifyError::WrongAuthor)), "{refused}");
    let mut other = network.clone();
    let admits = other.admit(5, day(2));
    let objection = network.objection(3, &admits, &party.root, day(3));
    let refused = other.statements(day(3)).take(&objection, day(3)).unwrap_err();
    assert!(matches!(refused, Refusal::Inconsistent(_)), "{refused}");
}

#[test]
fn what_a_majority_has_seen_in_effect_is_final() {
    let (mut network, proposal) = reset();
    let party = network.parties[3].clone();
    let objection = network.objection(3, &proposal, &party.root, day(2));
    // Two of five have seen it, and a third has before it was in effect: the objection is heeded.
    network.witness(&[0, 1], &proposal, EFFECT);
    network.witness(&[2], &proposal, EFFECT.minus(1));
    let mut objected = network.clone();
    objected.say(objection.clone());
    assert_eq!(objected.state(&proposal, day(20)), State::Objected);
    // A third has: whatever the thief of the old root dates back, it is too late.
    network.witness(&[2], &proposal, EFFECT.plus(1));
    network.say(objection);
    assert_eq!(network.state(&proposal, day(20)), State::Law);
    assert!(counts(&network, 1, 1, day(20)));
    // ... and what else that root signs counts for nothing.
    list_key(&mut network, 0, 0, u64::MAX);
    assert!(counts(&network, 1, 1, day(20)));
    assert!(!counts(&network, 0, 0, day(20)));
}

#[test]
fn a_thief_of_the_old_root_revokes_nothing_after_the_reset() {
    let mut network = Network::of(5);
    let admits = network.proposal(network.parties[5].member(1, Standing::Admitted), day(1));
    network.approve(&[1, 2, 3], &admits, day(1));
    let proposal = network.decide(network.reset(3, 1, &new_root(1)), day(1));
    list_key(&mut network, 1, 1, 1);
    network.revoke(3, Timestamp(0), Timestamp(0));
    // Before the reset takes effect the root is what it is.
    assert_eq!(network.state(&admits, EFFECT.minus(1)), State::Expired);
    assert_eq!(network.state(&admits, EFFECT), State::Law);
    network.witness(&[0, 1, 2], &proposal, EFFECT);
    assert_eq!(network.state(&admits, day(20)), State::Law);
}

#[test]
fn lineages_follow_each_other_in_any_order_of_arrival() {
    let (mut network, _) = reset();
    let second = network.decide(network.reset(3, 2, &new_root(2)), day(15));
    list_key(&mut network, 2, 2, 1);
    list_key(&mut network, 1, 1, 7);
    let effect = day_const(25, WAIT);
    assert!(counts(&network, 1, 1, effect.minus(1)));
    assert!(counts(&network, 2, 2, effect));
    network.said.reverse();
    assert!(counts(&network, 2, 2, effect));
    assert_eq!(network.roster(effect).member(&network.parties[3].id).unwrap().lineage, 2);
    // Without the first the second is none.
    let mut only = Network { said: Vec::new(), ..network.clone() };
    only.approve(&[0, 1, 2], &second, day(15));
    assert_eq!(only.state(&second, effect), State::Open);
    assert_eq!(only.roster(effect).member(&network.parties[3].id).unwrap().lineage, 0);
}

#[test]
fn a_root_that_was_proposed_in_vain_is_in_nobodys_way() {
    let mut network = Network::of(5);
    // One steward alone proposes another root, which lists keys of the highest version.
    let vain = network.proposal(network.reset(3, 1, &new_root(3)), day(1));
    network.approve(&[4], &vain, day(1));
    list_key(&mut network, 1, 3, u64::MAX);
    let proposal = network.decide(network.reset(3, 1, &new_root(1)), day(1));
    list_key(&mut network, 1, 1, 1);
    assert!(counts(&network, 1, 1, EFFECT));
    assert!(!counts(&network, 1, 3, EFFECT));
    assert_eq!(network.state(&proposal, EFFECT), State::Law);
}

#[test]
fn the_next_set_follows_the_root_that_counts() {
    let (mut network, proposal) = reset();
    let party = network.parties[3].clone();
    let last = |network: &Network, now| {
        let set = last_keys(&network.statements(now), &party.id, now).unwrap();
        (set.lineage, set.version)
    };
    // Until it takes effect the old root's set is the last one; from then on the new root's is.
    assert_eq!(last(&network, EFFECT.minus(1)), (0, 1));
    assert_eq!(last(&network, EFFECT), (1, 1));
    // Stopped, it never is, whatever its root signs.
    let mut stopped = network.clone();
    let objection = stopped.objection(3, &proposal, &party.root, day(3));
    stopped.say(objection);
    list_key(&mut stopped, 1, 1, u64::MAX);
    assert_eq!(last(&stopped, day(20)), (0, 1));
    list_key(&mut stopped, 0, 0, 2);
    assert_eq!(last(&stopped, day(20)), (0, 2));
    // In effect, and its root has signed nothing yet.
    network.said.pop();
    assert_eq!(network.state(&proposal, EFFECT), State::Law);
    assert_eq!(last(&network, EFFECT), (0, 1));
}
