//! What it takes to make law, and of which records counts which.

use super::*;
use crate::{
    roster::{Finding, PeerStanding},
    signing::VerifyError,
};

/// Why an approval, or anything else, is refused by a node that knows all that was said.
fn refusal(network: &Network, bytes: &[u8]) -> Refusal {
    network.statements(NOW).take(bytes, NOW).expect_err("it is to be refused")
}

#[test]
fn as_many_as_the_threshold_admit_a_member_and_one_less_do_not() {
    let mut network = Network::of(5);
    let joins = network.parties[5].clone();
    let proposal = network.proposal(joins.member(1, Standing::Admitted), day(1));
    network.approve(&[0, 3], &proposal, day(2));
    let keys = network.keys(&joins.key_set(), &joins.root);
    network.say(keys);
    assert_eq!(network.state(&proposal, day(3)), State::Open);
    assert!(network.roster(day(3)).member(&joins.id).is_none());
    assert!(network.roster(day(3)).member_by_ods(&joins.ods).is_none());

    network.approve(&[4], &proposal, day(3));
    assert_eq!(network.state(&proposal, day(3)), State::Law);
    let roster = network.roster(day(3));
    let member = roster.member(&joins.id).unwrap();
    assert_eq!((member.standing, member.version), (Standing::Admitted, 1));
    assert_eq!(roster.member_by_ods(&joins.ods).unwrap().organization, joins.id);
    let peer = joins.transport.public();
    assert_eq!(roster.organizations_of_peer(&peer, day(3)), [joins.id]);
    assert_eq!(roster.standing_of_peer(&peer, day(3)), PeerStanding::Member);
}

#[test]
fn nobody_counts_twice() {
    let mut network = Network::of(5);
    let proposal = network.proposal(network.parties[5].member(1, Standing::Admitted), day(1));
    for hour in 0..5 {
        network.approve(&[0, 1], &proposal, day(2).plus(hour));
    }
    assert_eq!(network.state(&proposal, NOW), State::Open);
    // Of several by one steward the earliest is kept.
    assert_eq!(network.statements(NOW).len(), network.begun().len() + 2);
    network.approve(&[2], &proposal, day(2));
    assert_eq!(network.state(&proposal, NOW), State::Law);
}

#[test]
fn an_approval_is_signed_by_a_govern_key_of_its_steward_for_this_network() {
    let network = Network::of(3);
    let outside = network.parties[3].clone();
    let proposal = network.proposal(outside.member(1, Standing::Admitted), day(1));
    let first = network.parties[0].clone();
    let body = |steward: &Party| Approval {
        steward: steward.id,
        proposal: ByteString::new(codec::encode(&proposal)).unwrap(),
        issued: day(2),
    };
    let taken = network.statements(NOW).take(&network.approval(0, &proposal, day(2)), NOW);
    assert_eq!(taken.unwrap().new.len(), 1);
    let id = network.id();
    for (what, steward, key) in [
        ("a root key", &first, &first.root),
        ("a transport key", &first, &first.transport),
        ("another steward's key", &first, &network.parties[1].govern),
        ("a stranger", &outside, &outside.govern),
        ("for another steward", &network.parties[1], &first.govern),
    ] {
        let forged = sign(body(steward), key, &id);
        let refused = refusal(&network, forged.bytes());
        assert!(matches!(refused, Refusal::Verify(VerifyError::UnknownKey)), "{what}: {refused}");
    }
    for other in [NetworkId::NONE, NetworkId([1; 32])] {
        let replayed = sign(body(&first), &first.govern, &other);
        let refused = refusal(&network, replayed.bytes());
        assert!(matches!(refused, Refusal::Verify(VerifyError::BadSignature)), "{refused}");
    }
    let good = network.approval(0, &proposal, day(2));
    for at in 0..good.len() {
        let mut altered = good.clone();
        altered[at] ^= 1;
        let mut statements = network.statements(NOW);
        let before = statements.len();
        let _ = statements.take(&altered, NOW);
        assert_eq!(statements.len(), before, "byte {at} changed");
    }
}

#[test]
fn an_approval_is_dated_within_the_life_of_its_proposal_and_not_ahead() {
    let network = Network::of(3);
    let proposal = network.proposal(network.parties[3].member(1, Standing::Admitted), day(1));
    let skew = Parameters::STANDARD.clock_skew_max;
    let at = |issued: Timestamp, now: Timestamp| {
        network.statements(now).take(&network.approval(0, &proposal, issued), now)
    };
    for issued in [day(1).minus(skew), day(1), day(11).minus(1)] {
        assert!(at(issued, day(11)).is_ok(), "{issued:?}");
    }
    for issued in [Timestamp(0), day(1).minus(skew + 1), day(11)] {
        assert!(matches!(at(issued, day(11)), Err(Refusal::Inconsistent(_))), "{issued:?}");
    }
    assert!(at(day(2).plus(skew), day(2)).is_ok());
    for issued in [day(2).plus(skew + 1), day(10), Timestamp(u64::MAX)] {
        assert!(matches!(at(issued, day(2)), Err(Refusal::Future)), "{issued:?}");
    }
}

#[test]
fn a_proposal_makes_sense() {
    let network = Network::of(3);
    let outside = network.parties[3].clone();
    let life_max = Parameters::STANDARD.proposal_life_max;
    let try_it = |change: &dyn Fn(&mut Proposal)| {
        let mut proposal = network.proposal(outside.member(1, Standing::Admitted), day(1));
        change(&mut proposal);
        let approval = network.approval(0, &proposal, day(1));
        match network.statements(NOW).take(&approval, NOW) {
            Ok(taken) => Ok(taken.waits),
            Err(Refusal::Inconsistent(rule)) => Err(rule),
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(try_it(&|_| {}), Ok(false));
    assert_eq!(try_it(&|p| p.expires = day(1).plus(life_max)), Ok(false));
    let life = "a proposal lives longer than the network allows, or not at all";
    assert_eq!(try_it(&|p| p.expires = day(1).plus(life_max + 1)), Err(life));
    assert_eq!(try_it(&|p| p.expires = Timestamp(u64::MAX)), Err(life));
    let outside_life = "it was approved outside the proposal's life";
    assert_eq!(try_it(&|p| p.expires = day(1)), Err(outside_life));
    assert_eq!(try_it(&|p| p.issued = Timestamp(u64::MAX)), Err(outside_life));
    let zero = "version 0 of a member's record is that of the founding";
    assert_eq!(try_it(&|p| p.change = outside.member(0, Standing::Admitted)), Err(zero));
    let own = |p: &mut Proposal| {
        let mut record = outside.record(1, Standing::Admitted);
        record.successor = Some(outside.id);
        p.change = Change::Member(record);
    };
    assert_eq!(try_it(&own), Err("a member cannot be its own successor"));
    // An epoch that nobody knows yet.
    for epoch in [1, u64::MAX] {
        assert_eq!(try_it(&|p| p.epoch = epoch), Ok(true));
    }
    let next = "stewards are followed by those of the next epoch";
    for number in [0, 2, u64::MAX] {
        let change = network.epoch(number, ContentHash(network.id().0), &[0, 1, 2]);
        assert_eq!(try_it(&|p| p.change = change.clone()), Err(next));
    }
    let weak = SecretKey::from_seed(&[1; 32]);
    assert_eq!(try_it(&|p| p.change = network.reset(0, 1, &weak)), Ok(false));
    let zeroth = "lineage 0 is that of the inception";
    assert_eq!(try_it(&|p| p.change = network.reset(0, 0, &weak)), Err(zeroth));
    // A forged inception makes no member.
    let mut forged = outside.record(1, Standing::Admitted);
    let mut inception = forged.inception.to_vec();
    *inception.last_mut().unwrap() ^= 1;
    forged.inception = ByteString::new(inception).unwrap();
    let proposal = network.proposal(Change::Member(forged), day(1));
    let refused = refusal(&network, &network.approval(0, &proposal, day(1)));
    assert!(matches!(refused, Refusal::Verify(VerifyError::BadSignature)));
}

#[test]
fn the_highest_version_that_is_law_counts_whatever_came_first() {
    let mut network = Network::of(3);
    network.admit(3, day(1));
    let member = network.parties[3].clone();
    let suspended = network.decide(member.member(2, Standing::Suspended), day(2));
    assert_eq!(network.standing(3, NOW), Some(Standing::Suspended));
    let peer = member.transport.public();
    let roster = network.roster(NOW);
    assert!(roster.organizations_of_peer(&peer, NOW).is_empty());
    assert_eq!(roster.standing_of_peer(&peer, NOW), PeerStanding::Suspended);
    let admitted = network.decide(member.member(3, Standing::Admitted), day(3));
    assert_eq!(network.standing(3, NOW), Some(Standing::Admitted));
    assert_eq!(network.state(&suspended, NOW), State::Superseded);
    // An older version that is decided later changes nothing.
    network.said.reverse();
    assert_eq!(network.standing(3, NOW), Some(Standing::Admitted));
    assert_eq!(network.state(&admitted, NOW), State::Law);
    network.decide(member.member(4, Standing::Expelled), day(4));
    assert_eq!(network.standing(3, NOW), Some(Standing::Expelled));
    assert_eq!(network.roster(NOW).standing_of_peer(&peer, NOW), PeerStanding::Expelled);
    // A version that nobody decided does not count, however high.
    let high = network.proposal(member.member(u64::MAX, Standing::Admitted), day(5));
    network.approve(&[0], &high, day(5));
    assert_eq!(network.standing(3, NOW), Some(Standing::Expelled));
}

#[test]
fn what_is_decided_stays_so_for_those_that_hear_of_it_late() {
    let mut network = Network::of(5);
    let proposal = network.admit(5, day(1));
    // A year later a node joins: no proposal lives as long.
    let file = network.statements(day(2)).write();
    let roster = Roster::open(&file, None, day(365)).unwrap();
    assert_eq!(roster.member(&network.parties[5].id).unwrap().standing, Standing::Admitted);
    // One approval short, it is not kept: it has lapsed.
    let short: Vec<_> = network.said.iter().take(2).cloned().collect();
    let mut late = Network { said: short, ..network.clone() }.statements(day(2));
    assert_eq!(late.len(), network.begun().len() + 2);
    let beyond = network.heartbeat(0, &[], day(12));
    let taken = late.take(&beyond, day(12)).unwrap();
    assert_eq!((taken.new.len(), taken.dropped.len()), (1, 2));
    let state = |statements: &Statements| {
        statements.law(day(12)).proposal(&id_of(&proposal)).unwrap().state.clone()
    };
    assert_eq!(state(&late), State::Expired);
    // The last approval was given in time and only was late: all are kept again.
    let taken = late.take(&network.said[2], day(12)).unwrap();
    assert_eq!((taken.new.len(), taken.dropped.len()), (3, 0));
    assert_eq!(state(&late), State::Law);
    // One that is dated after the proposal's end is none.
    let after = network.approval(2, &proposal, day(11));
    assert!(matches!(late.take(&after, day(12)), Err(Refusal::Inconsistent(_))));
}

#[test]
fn one_code_has_one_member_whatever_approvals_say_later() {
    let mut network = Network::of(5);
    network.admit(5, day(1));
    let mut record = network.parties[6].record(1, Standing::Admitted);
    record.ods = network.parties[5].ods.clone();
    let second = network.decide(Change::Member(record), day(2));
    let check = |network: &Network| {
        let roster = network.roster(NOW);
        assert_eq!(roster.member(&network.parties[5].id).unwrap().standing, Standing::Admitted);
        assert_eq!(roster.member(&network.parties[6].id).unwrap().standing, Standing::Suspended);
        let code = roster.member_by_ods(&network.parties[5].ods).unwrap();
        assert_eq!(code.organization, network.parties[5].id);
        assert!(roster.findings().iter().any(|finding| matches!(
            finding,
            Finding::DuplicateOds { first, .. } if *first == network.parties[5].id
        )));
    };
    check(&network);
    // Neither a fourth approval, dated back, nor a new name of the first turns that round.
    network.approve(&[3, 4], &second, day(2).minus(1));
    network.decide(network.parties[5].member(2, Standing::Admitted), day(3));
    check(&network);
    // Once the first has gone, the code is free.
    network.decide(network.parties[5].member(3, Standing::Expelled), day(4));
    let roster = network.roster(NOW);
    assert_eq!(
        roster.member_by_ods(&network.parties[5].ods).unwrap().organization,
        network.parties[6].id
    );
    assert!(!roster.findings().iter().any(|f| matches!(f, Finding::DuplicateOds { .. })));
}

#[test]
fn stewards_follow_each_other_by_the_majorities_of_both() {
    let mut network = Network::of(3);
    network.admit(3, day(1));
    let founding = ContentHash(network.id().0);
    let change = network.epoch(1, founding, &[0, 1, 3]);
    let proposal = network.proposal(change, day(2));
    // Two of the new ones, but one of the old: not enough; nor the other way round.
    for (some, suffices) in
        [(&[0][..], false), (&[0, 3], false), (&[0, 2], false), (&[2, 1, 3], true), (&[0, 1], true)]
    {
        let mut network = network.clone();
        network.approve(some, &proposal, day(2));
        let roster = network.roster(NOW);
        assert_eq!(roster.epoch().number() == 1, suffices, "{some:?}");
        assert_eq!(roster.epoch().has(&network.parties[3].id), suffices);
        assert_eq!(roster.epoch().has(&network.parties[2].id), !suffices);
    }
    network.approve(&[0, 1], &proposal, day(2));

    // From now on the new ones decide, under the new number.
    let mut next = network.proposal(network.parties[4].member(1, Standing::Admitted), day(3));
    next.epoch = 1;
    let old = network.approval(2, &next, day(3));
    assert!(network.statements(NOW).take(&old, NOW).unwrap().waits);
    network.approve(&[3], &next, day(3));
    assert_eq!(network.state(&next, NOW), State::Open);
    network.approve(&[0], &next, day(3));
    assert_eq!(network.state(&next, NOW), State::Law);
    // And they are followed in turn.
    let change = network.epoch(2, id_of(&proposal), &[3]);
    let mut third = network.proposal(change, day(4));
    third.epoch = 1;
    network.approve(&[3, 1], &third, day(4));
    assert_eq!(network.roster(NOW).epoch().number(), 2);
    network.said.reverse();
    assert_eq!(network.roster(NOW).epoch().number(), 2);
}

#[test]
fn an_epoch_that_follows_another_one_is_no_law() {
    let mut network = Network::of(3);
    let change = network.epoch(1, ContentHash([1; 32]), &[0, 1]);
    let proposal = network.proposal(change, day(2));
    network.approve(&[0, 1, 2], &proposal, day(2));
    assert_eq!(network.state(&proposal, NOW), State::Open);
    assert_eq!(network.roster(NOW).epoch().number(), 0);
    // It blocks nothing.
    let change = network.epoch(1, ContentHash(network.id().0), &[0, 1]);
    let mut proper = network.proposal(change, day(2).plus(10 * DAY));
    proper.expires = proper.issued.plus(DAY);
    network.approve(&[0, 1], &proper, proper.issued);
    assert_eq!(network.roster(day(12)).epoch().number(), 1);
    assert!(network.roster(day(12)).findings().is_empty());
}

#[test]
fn former_stewards_finish_nothing_once_the_change_has_expired() {
    let mut network = Network::of(3);
    let change = network.epoch(1, ContentHash(network.id().0), &[0, 3, 4]);
    let proposal = network.proposal(change, day(1));
    network.approve(&[0, 1, 3], &proposal, day(1));
    let early = network.proposal(network.parties[5].member(1, Standing::Admitted), day(2));
    let mut late = network.proposal(network.parties[3].member(1, Standing::Admitted), day(2));
    late.expires = day(20);
    network.approve(&[1, 2], &early, day(3));
    network.approve(&[1, 2], &late, day(11));
    assert_eq!(network.state(&early, day(12)), State::Law);
    assert_eq!(network.state(&late, day(12)), State::Open);
    // Nor does one of them end the time of the others by dating an approval back.
    network.approve(&[2], &proposal, day(1).minus(1));
    assert_eq!(network.state(&early, day(12)), State::Law);
}

#[test]
fn of_two_epochs_that_compete_either_may_be_the_one_that_counts() {
    // The first of three signs both changes; what the next stewards of one decide is known first.
    let mut network = Network::of(3);
    let founding = ContentHash(network.id().0);
    let [one, other] =
        [[0, 1], [0, 2]].map(|s| network.proposal(network.epoch(1, founding, &s), day(1)));
    let mut next = network.proposal(network.parties[3].member(1, Standing::Admitted), day(2));
    next.epoch = 1;
    network.approve(&[0, 1], &one, day(1));
    network.approve(&[0, 2], &next, day(2));
    network.approve(&[0, 2], &other, day(1));
    let reversed =
        Network { said: network.said.iter().rev().cloned().collect(), ..network.clone() };
    for now in [NOW, day(30)] {
        let (one, other) = (network.statements(now), reversed.statements(now));
        assert!(one.hashes().eq(other.hashes()));
        assert_eq!(one.len(), network.begun().len() + 6);
        assert_eq!(one.law(now).digest(), other.law(now).digest());
    }
}

#[test]
fn an_expelled_steward_counts_until_the_next_epoch() {
    let mut network = Network::of(3);
    network.decide(network.parties[2].member(1, Standing::Expelled), day(1));
    let proposal = network.proposal(network.parties[3].member(1, Standing::Admitted), day(2));
    network.approve(&[0, 2], &proposal, day(2));
    assert_eq!(network.state(&proposal, NOW), State::Law);
    let change = network.epoch(1, ContentHash(network.id().0), &[0, 1]);
    let change = network.decide(change, day(3));
    let mut next = network.proposal(network.parties[4].member(1, Standing::Admitted), day(4));
    next.epoch = 1;
    network.approve(&[0], &next, day(4));
    let expelled = network.approval(2, &next, day(4));
    network.say(expelled);
    assert_eq!(network.state(&next, NOW), State::Open);
    network.approve(&[1], &next, day(4));
    assert_eq!(network.state(&next, NOW), State::Law);
    assert_eq!(network.state(&change, NOW), State::Law);
}

#[test]
fn a_split_vote_is_settled_by_the_next_version_or_after_its_time() {
    let mut network = Network::of(3);
    let founding = ContentHash(network.id().0);
    let one = network.proposal(network.epoch(1, founding, &[0, 1]), day(1));
    network.approve(&[0], &one, day(1));
    // Its life is over: to approve another one for the same number is no contradiction.
    let other = network.proposal(network.epoch(1, founding, &[0, 2]), day(11));
    network.approve(&[0, 2], &other, day(11));
    let roster = network.roster(day(12));
    assert!(roster.findings().is_empty());
    assert_eq!(roster.epoch().id(), id_of(&other));
    // An approval of the first that turns up now undoes nothing.
    network.approve(&[1], &one, day(2));
    let roster = network.roster(day(12));
    assert_eq!(roster.epoch().id(), id_of(&other));
    assert_eq!(network.state(&one, day(12)), State::Superseded);
}

#[test]
fn freshness_is_that_of_the_majority() {
    let mut network = Network::of(5);
    assert_eq!(network.roster(NOW).fresh(), FOUNDED);
    for (party, at) in [(0, 7), (1, 6)] {
        let beat = network.heartbeat(party, &[], day(at));
        network.say(beat);
    }
    assert_eq!(network.roster(NOW).fresh(), FOUNDED);
    let beat = network.heartbeat(2, &[], day(5));
    network.say(beat);
    assert_eq!(network.roster(NOW).fresh(), day(5));
    // Neither one steward alone nor a member that is no steward makes it fresher.
    let beat = network.heartbeat(0, &[], day(9));
    network.say(beat);
    assert_eq!(network.roster(NOW).fresh(), day(5));
    network.admit(5, day(1));
    let beat = network.heartbeat(5, &[], day(9));
    assert!(network.statements(NOW).take(&beat, NOW).unwrap().waits);
}

#[test]
fn a_former_code_leads_to_its_organization_until_another_has_it() {
    let mut network = Network::of(5);
    network.admit(5, day(1));
    let (renamed, other) = (network.parties[5].clone(), network.parties[6].clone());
    let mut record = renamed.record(2, Standing::Admitted);
    record.ods = "NEW1".parse().unwrap();
    let leads_to = |network: &Network, ods: &OdsCode| {
        network.roster(NOW).member_by_ods(ods).map(|member| member.organization)
    };
    network.decide(Change::Member(record.clone()), day(2));
    assert_eq!(leads_to(&network, &record.ods), Some(renamed.id));
    assert_eq!(leads_to(&network, &renamed.ods), Some(renamed.id));
    let mut successor = other.record(1, Standing::Admitted);
    successor.ods = renamed.ods.clone();
    network.decide(Change::Member(successor), day(3));
    assert_eq!(leads_to(&network, &renamed.ods), Some(other.id));
    // Whoever is out leads nowhere by a code that it had.
    record.version = 3;
    record.standing = Standing::Expelled;
    network.decide(Change::Member(record.clone()), day(4));
    assert_eq!(leads_to(&network, &record.ods), None);
}
