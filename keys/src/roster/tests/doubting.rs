//! Approvals by keys that are revoked, or that have contradicted themselves.

use super::*;
use crate::roster::{Counts, Finding};

const GRACE: u64 = Parameters::STANDARD.reapproval_grace;
/// When the proposals of these tests are settled: they are issued on day 1 and live for ten.
const SETTLES: Timestamp = Timestamp(FOUNDED.0 + 11 * DAY + GRACE);

fn approve_again(roster: &Roster, proposal: &Proposal) -> Option<Timestamp> {
    roster.findings().iter().find_map(|finding| match finding {
        Finding::ApproveAgain { proposal: id, until } if *id == id_of(proposal) => Some(*until),
        _ => None,
    })
}

/// Three of five admit a member on day 1: the first, the second and the third.
fn admitted() -> (Network, Proposal) {
    let mut network = Network::of(5);
    let proposal = network.admit(5, day(1));
    (network, proposal)
}

#[test]
fn a_revocation_undoes_nothing_that_had_witnesses_before() {
    let (mut network, proposal) = admitted();
    network.witness(&[1, 4], &proposal, day(2));
    network.revoke(0, day(3), day(9));
    let roster = network.roster(day(80));
    assert_eq!(roster.member(&network.parties[5].id).unwrap().standing, Standing::Admitted);
    assert_eq!(approve_again(&roster, &proposal), None);
}

#[test]
fn too_few_witnesses_in_time_leave_a_time_of_grace() {
    let (mut network, proposal) = admitted();
    // One in time; the second too late; and what the steward itself says is no witness.
    network.witness(&[0, 1], &proposal, day(2));
    network.witness(&[4], &proposal, day(3));
    assert_eq!(network.roster(day(8)).findings(), []);
    network.revoke(0, day(3), day(8));
    // It would have been settled a grace after the proposal's end; the time runs from then.
    let until = SETTLES.plus(GRACE);
    let roster = network.roster(until.minus(1));
    assert_eq!(approve_again(&roster, &proposal), Some(until));
    assert_eq!(roster.next_change(), Some(until));
    assert_eq!(roster.member(&network.parties[5].id).unwrap().standing, Standing::Admitted);
    // Nobody approved it again: it cuts off rather than lets in.
    assert_eq!(network.standing(5, until), Some(Standing::Suspended));
    assert_eq!(network.state(&proposal, until), State::Fallen);
    // A fourth approval, by whom nobody doubts, mends it.
    network.approve(&[3], &proposal, day(10));
    assert_eq!(network.standing(5, until), Some(Standing::Admitted));
    assert_eq!(approve_again(&network.roster(until), &proposal), None);
}

#[test]
fn what_is_settled_falls_by_no_revocation_that_comes_later() {
    let (mut network, proposal) = admitted();
    let late = day(80);
    // Dated back to before anybody bore witness, and said to be old.
    let fallen = |network: &Network| {
        let mut network = network.clone();
        network.revoke(0, day(1), day(2));
        network.standing(5, late) == Some(Standing::Suspended)
    };
    network.witness(&[0, 1, 2, 3, 4], &proposal, day(2));
    assert!(fallen(&network));
    // Too early, too few, and what the steward says itself.
    network.witness(&[1, 2, 3], &proposal, SETTLES.minus(1));
    network.witness(&[0, 4], &proposal, SETTLES);
    assert!(fallen(&network));
    network.witness(&[3], &proposal, SETTLES.plus(DAY));
    assert!(!fallen(&network));
}

#[test]
fn whom_a_later_epoch_made_steward_can_settle_what_was_decided_before() {
    let (mut network, proposal) = admitted();
    let change = network.epoch(1, ContentHash(network.id().0), &[2, 3, 4]);
    let epoch = network.proposal(change, day(1));
    network.approve(&[0, 1, 2, 3, 4], &epoch, day(1));
    network.witness(&[1], &proposal, day(2));
    network.witness(&[3, 4], &proposal, SETTLES);
    network.revoke(0, day(1), day(2));
    assert_eq!(network.standing(5, day(80)), Some(Standing::Admitted));
    // Not those of an epoch before.
    let mut later = network.clone();
    later.said.clear();
    later.approve(&[0, 1, 2, 3, 4], &epoch, day(1));
    let mut member = later.proposal(later.parties[5].member(1, Standing::Admitted), day(1));
    member.epoch = 1;
    later.approve(&[2, 3], &member, day(2));
    later.witness(&[4], &member, day(3));
    later.witness(&[0, 1], &member, SETTLES);
    later.revoke(2, day(1), day(2));
    assert_eq!(later.standing(5, day(80)), Some(Standing::Suspended));
    later.witness(&[4], &member, SETTLES);
    assert_eq!(later.standing(5, day(80)), Some(Standing::Admitted));
}

#[test]
fn a_node_bears_witness_again_when_a_decision_is_settled_unless_it_is_in_doubt() {
    let (mut network, proposal) = admitted();
    let from = |network: &Network, now| {
        network.statements(now).law(now).witnessed_from(&id_of(&proposal), now)
    };
    assert_eq!(from(&network, day(1)), Some(Timestamp(0)));
    assert_eq!(from(&network, SETTLES.minus(1)), Some(Timestamp(0)));
    assert_eq!(from(&network, SETTLES), Some(SETTLES));
    network.witness(&[1], &proposal, day(2));
    network.revoke(0, day(1), SETTLES.minus(1));
    // Any witness would settle it now, also that of one who never bore any.
    assert_eq!(from(&network, SETTLES.minus(1)), Some(Timestamp(0)));
    assert_eq!(from(&network, SETTLES), None);
}

#[test]
fn who_is_to_be_the_only_steward_bears_witness_for_nobody() {
    // Of five stewards three keys were stolen, and revoked when that was noticed.
    let mut network = Network::of(5);
    for party in 0..3 {
        network.revoke(party, day(2), day(3));
    }
    let change = network.epoch(1, ContentHash(network.id().0), &[5]);
    let mut proposal = network.proposal(change, day(1));
    proposal.expires = day(1).plus(1_000);
    network.approve(&[0, 1, 2, 5], &proposal, day(1));
    assert_eq!(network.state(&proposal, NOW), State::Expired);
    assert_eq!(network.roster(NOW).epoch().number(), 0);
}

#[test]
fn what_former_stewards_decided_stays_when_all_of_them_have_left() {
    let mut network = Network::of(3);
    for party in [3, 4] {
        let admitted = network.admit(party, day(1));
        network.witness(&[0, 1, 2], &admitted, day(2));
    }
    let epoch = network.proposal(network.epoch(1, ContentHash(network.id().0), &[3, 4]), day(2));
    network.approve(&[0, 1, 2, 3, 4], &epoch, day(2));
    network.witness(&[3, 4], &epoch, day(3));
    let proposals: Vec<_> =
        network.statements(NOW).law(NOW).proposals().map(|p| p.1.proposal.clone()).collect();
    for proposal in &proposals {
        network.witness(&[3, 4], proposal, day(30));
    }
    // They list nothing any more, so that their heartbeats bear no witness either.
    for party in 0..3 {
        let party = network.parties[party].clone();
        let mut set = party.key_set();
        (set.version, set.issued) = (2, day(31));
        set.nodes = Bounded::default();
        set.keys = list(vec![set.keys[2]]);
        let reason = RevocationReason::Retired;
        edit(&mut set.keys, 0, |key| key.revoked = Some(Revocation { since: day(31), reason }));
        let keys = network.keys(&set, &party.root);
        network.say(keys);
    }
    let roster = network.roster(day(80));
    assert_eq!(roster.epoch().number(), 1);
    assert_eq!(roster.findings(), []);
    for party in [3, 4] {
        assert_eq!(network.standing(party, day(80)), Some(Standing::Admitted));
    }
}

#[test]
fn a_later_epoch_that_takes_fewer_settles_nothing_more_easily() {
    // Three of five, then one of one; the first's key is revoked since ever.
    let mut network = Network::of(5);
    let proposal = network.decide(network.parties[5].member(1, Standing::Admitted), day(1));
    network.witness(&[1], &proposal, day(2));
    let epoch = network.proposal(network.epoch(1, ContentHash(network.id().0), &[4]), day(1));
    network.approve(&[1, 2, 3, 4], &epoch, day(1));
    network.revoke(0, day(1), day(2));
    assert_eq!(network.roster(NOW).epoch().threshold(), 1);
    assert_eq!(network.standing(5, day(80)), Some(Standing::Suspended));
    // The one has to bear witness, when it is settled.
    network.witness(&[4], &proposal, SETTLES.minus(1));
    assert_eq!(network.standing(5, day(80)), Some(Standing::Suspended));
    network.witness(&[4], &proposal, SETTLES);
    assert_eq!(network.standing(5, day(80)), Some(Standing::Admitted));
}

#[test]
fn what_is_signed_after_a_transport_key_has_ended_takes_no_witness_away() {
    let (mut network, proposal) = admitted();
    network.witness(&[1], &proposal, day(2));
    network.witness(&[3, 4], &proposal, SETTLES);
    network.revoke(0, day(1), day(2));
    let late = EXPIRES.plus(DAY);
    assert_eq!(network.standing(5, late), Some(Standing::Admitted));
    network.witness(&[3, 4], &proposal, EXPIRES.plus(1));
    assert_eq!(network.standing(5, late), Some(Standing::Admitted));
}

#[test]
fn a_stolen_key_that_is_revoked_makes_no_law() {
    let mut network = Network::of(5);
    let proposal = network.proposal(network.parties[5].member(1, Standing::Admitted), day(1));
    network.approve(&[1, 2], &proposal, day(1));
    network.revoke(0, day(3), day(4));
    // Dated back to before the revocation: nobody has borne witness then.
    network.approve(&[0], &proposal, day(2));
    assert_eq!(network.state(&proposal, NOW), State::Open);
    let law = network.statements(NOW).law(NOW);
    let decision = law.proposal(&id_of(&proposal)).unwrap();
    let of_thief = decision.approvals.iter().find(|(id, ..)| *id == network.parties[0].id);
    assert!(matches!(of_thief, Some((_, _, Counts::Not(_)))));
    // Without the revocation it would count.
    network.said.remove(2);
    assert_eq!(network.state(&proposal, NOW), State::Law);
}

#[test]
fn a_revocation_is_not_taken_back() {
    let (mut network, proposal) = admitted();
    network.witness(&[1], &proposal, day(2));
    network.revoke(0, day(1), day(12));
    let (until, now) = (SETTLES.plus(GRACE), day(16));
    let first = network.parties[0].clone();
    // A later set that lists the key as good, one that says so once more, one that omits it.
    let again: Vec<_> = (3..6)
        .map(|version| {
            let mut set = first.key_set();
            (set.version, set.issued) = (version, day(version + 10));
            if version == 5 {
                set.keys = list(set.keys[..2].to_vec());
            }
            network.keys(&set, &first.root)
        })
        .collect();
    for bytes in again {
        network.say(bytes);
        assert_eq!(approve_again(&network.roster(now), &proposal), Some(until));
    }
    network.said.reverse();
    assert_eq!(approve_again(&network.roster(now), &proposal), Some(until));
    assert_eq!(last_keys(&network.statements(now), &first.id, now).unwrap().version, 5);
}

#[test]
fn whoever_approves_two_things_of_which_one_can_be_law_counts_no_more() {
    let mut network = Network::of(5);
    let (one, other) = (Standing::Admitted, Standing::Suspended);
    let [one, other] =
        [one, other].map(|s| network.proposal(network.parties[5].member(1, s), day(1)));
    network.approve(&[0], &one, day(1));
    assert_eq!(network.roster(NOW).findings(), []);
    network.approve(&[0], &other, day(2));
    let found = |network: &Network| {
        let roster = network.roster(NOW);
        let [Finding::Equivocation { steward, proposals, version: 1, .. }] = roster.findings()
        else {
            panic!("{:?}", roster.findings())
        };
        assert_eq!(*steward, network.parties[0].id);
        assert!(proposals.contains(&id_of(&one)) && proposals.contains(&id_of(&other)));
    };
    found(&network);
    network.approve(&[1, 2], &one, day(1));
    network.approve(&[3, 4], &other, day(1));
    found(&network);
    // Neither is law by its vote; and in the other order all is the same.
    for proposal in [&one, &other] {
        assert_eq!(network.state(proposal, NOW), State::Open);
    }
    network.said.reverse();
    found(&network);
    assert!(network.roster(NOW).member(&network.parties[5].id).is_none());
}

#[test]
fn the_proof_of_a_contradiction_outlives_both_proposals() {
    let mut network = Network::of(5);
    let change = |standing| network.parties[5].member(1, standing);
    let [one, other] = [Standing::Admitted, Standing::Suspended]
        .map(|standing| network.proposal(change(standing), day(1)));
    network.approve(&[0, 1], &one, day(1));
    network.approve(&[0], &other, day(1));
    let at_once = network.statements(day(2));
    let mut later = network.statements(day(50));
    later.take(&network.heartbeat(1, &[], day(50)), day(50)).unwrap();
    for statements in [&at_once, &later] {
        assert_eq!(statements.roster(day(50)).findings().len(), 1);
    }
    // Of the honest steward's approval nothing is left.
    assert_eq!(later.len(), network.begun().len() + 2 + 1);
    let file = later.write();
    assert_eq!(Roster::open(&file, None, day(60)).unwrap().findings().len(), 1);
}

#[test]
fn a_thief_of_one_stewards_key_undoes_nothing_by_contradicting_itself() {
    let (mut network, proposal) = admitted();
    network.witness(&[1, 2], &proposal, day(2));
    let other = network.proposal(network.parties[5].member(1, Standing::Expelled), day(1));
    network.approve(&[0], &other, day(1));
    let roster = network.roster(day(80));
    assert!(matches!(roster.findings(), [Finding::Equivocation { .. }]));
    assert_eq!(roster.member(&network.parties[5].id).unwrap().standing, Standing::Admitted);
    // With a witness too few, there is grace all the same, whatever dates the thief writes.
    let (mut network, proposal) = admitted();
    network.witness(&[1], &proposal, day(9));
    network.approve(&[0], &other, day(1));
    assert_eq!(approve_again(&network.roster(NOW), &proposal), Some(SETTLES.plus(GRACE)));
    assert_eq!(network.standing(5, NOW), Some(Standing::Admitted));
}

#[test]
fn two_majorities_that_share_a_double_signer_do_not_both_count() {
    // Two of three; the first signs both, and both have been witnessed by the side that sees them.
    let mut network = Network::of(3);
    let founding = ContentHash(network.id().0);
    let [one, other] =
        [[0, 1], [0, 2]].map(|s| network.proposal(network.epoch(1, founding, &s), day(1)));
    network.approve(&[0, 1], &one, day(1));
    network.witness(&[1], &one, day(2));
    assert_eq!(network.roster(NOW).epoch().number(), 1);
    network.approve(&[0, 2], &other, day(1));
    network.witness(&[2], &other, day(3));
    let roster = network.roster(NOW);
    assert!(roster.findings().iter().any(|f| matches!(f, Finding::Conflict { version: 1, .. })));
    // Governance goes on as it was, and so does all else.
    assert_eq!(roster.epoch().number(), 0);
    assert_eq!(roster.admitted().count(), 3);
    for proposal in [&one, &other] {
        assert_eq!(network.state(proposal, NOW), State::Conflicts);
    }
    // Not for ever: another one, proposed when both are over, follows.
    let third = network.proposal(network.epoch(1, founding, &[1, 2]), day(11));
    network.approve(&[1, 2], &third, day(11));
    assert_eq!(network.roster(day(12)).epoch().id(), id_of(&third));
}

#[test]
fn of_contradictory_key_sets_what_both_list_counts() {
    let mut network = Network::of(3);
    let first = network.parties[0].clone();
    let mut other = first.key_set();
    let reason = RevocationReason::Retired;
    edit(&mut other.keys, 0, |key| key.revoked = Some(Revocation { since: day(5), reason }));
    edit(&mut other.keys, 1, |key| key.key = SecretKey::from_seed(&[9; 32]).public());
    let bytes = network.keys(&other, &first.root);
    network.say(bytes);
    let check = |network: &Network| {
        let roster = network.roster(NOW);
        let [Finding::ContradictoryKeys { organization, version: 1 }] = roster.findings() else {
            panic!("{:?}", roster.findings())
        };
        assert_eq!(*organization, first.id);
        let until = roster.key_validity(&first.pointer.key_id(), &first.id).unwrap().1;
        assert_eq!(until, day(5));
        assert!(roster.organizations_of_peer(&first.transport.public(), NOW).is_empty());
    };
    check(&network);
    network.said.insert(0, network.all()[3].clone());
    check(&network);
    // The next version settles it.
    let mut next = first.key_set();
    next.version = 2;
    let bytes = network.keys(&next, &first.root);
    network.say(bytes);
    let roster = network.roster(NOW);
    assert_eq!(roster.findings(), []);
    assert_eq!(roster.organizations_of_peer(&first.transport.public(), NOW), [first.id]);
}

#[test]
fn a_revoked_transport_key_bears_no_witness_and_gives_no_sign_of_life() {
    let (mut network, proposal) = admitted();
    network.witness(&[1, 4], &proposal, day(5));
    let revoke = |network: &mut Network, since| {
        let party = network.parties[4].clone();
        let mut set = party.key_set();
        set.version = 2;
        let reason = RevocationReason::Compromised;
        edit(&mut set.keys, 1, |key| key.revoked = Some(Revocation { since, reason }));
        let bytes = network.keys(&set, &party.root);
        network.say(bytes);
    };
    network.revoke(0, day(6), day(7));
    let with = |since| {
        let mut network = network.clone();
        revoke(&mut network, since);
        let statements = network.statements(NOW);
        (approve_again(&statements.roster(NOW), &proposal), statements)
    };
    let (until, statements) = with(day(6));
    assert_eq!(until, None);
    assert!(statements.has_witnessed(&network.parties[4].id, &id_of(&proposal), day(5)));
    let (until, statements) = with(day(5));
    assert_eq!(until, Some(SETTLES.plus(GRACE)));
    assert!(!statements.has_witnessed(&network.parties[4].id, &id_of(&proposal), FOUNDED));
}
