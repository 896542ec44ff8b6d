//! What nobody can fill, and what is kept in which order.

use super::*;
use crate::roster::{Finding, OPEN_PER_STEWARD_MAX};

#[test]
fn a_flood_by_one_steward_stops_nobody_else() {
    let mut network = Network::of(5);
    let mut statements = network.statements(NOW);
    let change = network.parties[5].member(1, Standing::Admitted);
    let proposal = |network: &Network, number: usize| {
        let mut proposal = network.proposal(change.clone(), day(1));
        proposal.reason = Text::new(&format!("Flood {number}")).unwrap();
        proposal
    };
    let before = statements.len();
    for number in 0..OPEN_PER_STEWARD_MAX + 10 {
        let taken =
            statements.take(&network.approval(0, &proposal(&network, number), day(1)), day(1));
        match taken {
            Ok(_) => assert!(number < OPEN_PER_STEWARD_MAX),
            Err(Refusal::TooManyOpen) => assert!(number >= OPEN_PER_STEWARD_MAX),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(statements.len(), before + OPEN_PER_STEWARD_MAX);
    // The others propose and decide; the flooder may vote, if by now nobody counts on it.
    let good = network.proposal(network.parties[6].member(1, Standing::Admitted), day(1));
    for party in [1, 2, 0, 3] {
        statements.take(&network.approval(party, &good, day(1)), day(1)).unwrap();
    }
    assert!(statements.roster(day(1)).is_admitted(&network.parties[6].id));
    // All lapse, and of what the flooder signed a proof of its contradictions remains.
    let taken = statements.take(&network.heartbeat(0, &[], day(12)), day(12)).unwrap();
    assert_eq!(taken.dropped.len(), OPEN_PER_STEWARD_MAX - 2);
    let file = statements.write();
    network.said.clear();
    let again = Statements::read(&file, None, day(12)).unwrap();
    assert!(again.hashes().eq(statements.hashes()));
}

#[test]
fn whom_a_proposal_would_make_steward_cannot_begin_it() {
    let network = Network::of(5);
    let founding = ContentHash(network.id().0);
    let proposal = |number: usize| {
        let change = network.epoch(1, founding, &[0, 1, 2, 5]);
        let mut proposal = network.proposal(change, day(1));
        proposal.reason = Text::new(&format!("Flood {number}")).unwrap();
        proposal
    };
    let mut statements = network.statements(NOW);
    let before = statements.len();
    for number in 0..100 {
        let taken = statements.take(&network.approval(5, &proposal(number), day(1)), day(1));
        assert!(taken.unwrap().waits);
    }
    assert_eq!(statements.len(), before);
    assert_eq!(statements.law(day(1)).proposals().count(), 0);
    // One that a steward wants is kept with all its approvals, and whoever agrees to several of them
    // contradicts nothing; a steward does.
    for number in [7, 8] {
        let taken = statements.take(&network.approval(0, &proposal(number), day(1)), day(1));
        assert_eq!(taken.unwrap().new.len(), 2);
    }
    let findings = statements.roster(day(1)).findings().to_vec();
    let [Finding::Equivocation { steward, .. }] = findings.as_slice() else {
        panic!("{findings:?}");
    };
    assert_eq!(*steward, network.parties[0].id);
    // Also when it has lapsed by the time that all of it is known.
    let (late, now) = (proposal(200), day(12));
    for party in [5, 1, 2, 3] {
        statements.take(&network.approval(party, &late, day(1)), now).unwrap();
    }
    assert_eq!(statements.law(now).proposal(&id_of(&late)).unwrap().state, State::Law);
    assert_eq!(statements.roster(now).epoch().number(), 1);
}

#[test]
fn what_waits_is_bounded_and_costs_others_nothing() {
    let network = Network::of(3);
    let mut statements = network.statements(NOW);
    let stranger = &network.parties[4];
    let junk = |number: u64| {
        let mut set = stranger.key_set();
        set.version = number;
        network.keys(&set, &stranger.root)
    };
    for number in 0..5_000 {
        assert!(statements.take(&junk(number), NOW).unwrap().waits);
    }
    assert_eq!(statements.waiting(), 4_096);
    assert_eq!(statements.len(), network.begun().len());
    // The latest are there still, and what was dropped is taken up when it is offered again.
    let mut admitting = network.clone();
    admitting.decide(stranger.member(1, Standing::Admitted), day(1));
    let newest =
        |statements: &Statements| last_keys(statements, &stranger.id, NOW).map(|set| set.version);
    for bytes in &admitting.said {
        statements.take(bytes, NOW).unwrap();
    }
    assert_eq!(newest(&statements), Some(4_999));
    assert_eq!(statements.waiting(), 0);
    assert_eq!(statements.len(), network.begun().len() + 2 + 1);
}

#[test]
fn of_a_stewards_heartbeats_what_bears_witness_first_is_kept_and_the_newest() {
    let mut network = Network::of(3);
    let proposal = network.admit(3, day(1));
    let unknown = network.proposal(network.parties[4].member(1, Standing::Admitted), day(1));
    let mut statements = network.statements(NOW);
    let before = statements.len();
    for at in [6, 4, 9, 3, 8, 5] {
        statements.take(&network.heartbeat(0, &[&unknown, &proposal], day(at)), NOW).unwrap();
    }
    assert_eq!(statements.len(), before + 2);
    let kept: Vec<_> = statements
        .heartbeats_of(&network.parties[0].id)
        .flat_map(|(_, beats)| beats.iter().map(|beat| beat.issued))
        .collect();
    assert!(kept.contains(&day(3)) && kept.contains(&day(9)));
    // The other turns out to be law as well: the first to say so is still there.
    network.decide(network.parties[4].member(1, Standing::Admitted), day(1));
    for bytes in &network.said {
        statements.take(bytes, NOW).unwrap();
    }
    let witness = statements.witness(&network.parties[0].id, &id_of(&unknown));
    assert_eq!(witness, Some((day(3), day(3))), "it is not settled yet");
}

#[test]
fn no_heartbeat_is_numbered_so_that_none_may_follow() {
    let network = Network::of(3);
    let party = &network.parties[0];
    let beat = |number, issued| {
        let (roster, witnessed) = (ContentHash([0; 32]), Bounded::default());
        let beat = Heartbeat { steward: party.id, number, roster, witnessed, issued };
        let bytes = sign(beat, &party.transport, &network.id()).bytes().to_vec();
        network.statements(NOW).take(&bytes, NOW)
    };
    assert!(beat(1_000, FOUNDED).is_ok());
    assert!(matches!(beat(1_001, FOUNDED), Err(Refusal::Inconsistent(_))));
    assert!(beat(1_001, FOUNDED.plus(1)).is_ok());
    assert!(matches!(beat(u64::MAX, NOW), Err(Refusal::Inconsistent(_))));
    assert!(matches!(beat(1, NOW.plus(DAY)), Err(Refusal::Future)));
    assert!(matches!(beat(1, Timestamp(u64::MAX)), Err(Refusal::Future)));
    // Before its key was valid it is no sign of life, unless a later key set says otherwise.
    assert!(!beat(1, FOUNDED).unwrap().waits);
    assert!(beat(1, FOUNDED.minus(1)).unwrap().waits);
}

#[test]
fn an_organization_is_known_only_for_as_long_as_it_is_proposed() {
    let mut network = Network::of(3);
    let joins = network.parties[3].clone();
    let keys = network.keys(&joins.key_set(), &joins.root);
    let proposal = network.proposal(joins.member(1, Standing::Admitted), day(1));
    let mut statements = network.statements(day(1));
    assert!(statements.take(&keys, day(1)).unwrap().waits);
    let taken = statements.take(&network.approval(0, &proposal, day(1)), day(1)).unwrap();
    assert_eq!(taken.new.len(), 2);
    assert!(last_keys(&statements, &joins.id, day(1)).is_some());
    // It lapses, and all that hangs on it goes; decided after all, it comes back.
    let taken = statements.take(&network.heartbeat(0, &[], day(12)), day(12)).unwrap();
    assert_eq!(taken.dropped.len(), 2);
    assert!(last_keys(&statements, &joins.id, day(12)).is_none());
    network.approve(&[1], &proposal, day(2));
    let taken = statements.take(&network.said[0], day(12)).unwrap();
    assert_eq!(taken.new.len(), 3);
    assert!(statements.roster(day(12)).is_admitted(&joins.id));
}

#[test]
fn a_file_reads_as_it_was_written_and_a_damaged_one_not_at_all() {
    let mut network = Network::of(3);
    let proposal = network.admit(3, day(1));
    network.witness(&[0, 1], &proposal, day(2));
    network.approve(
        &[0, 1],
        &network.proposal(network.reset(2, 1, &SecretKey::from_seed(&[1; 32])), day(2)),
        day(2),
    );
    let statements = network.statements(NOW);
    let written = statements.write();
    let read = Statements::read(&written, Some(network.id()), NOW).unwrap();
    assert!(read.hashes().eq(statements.hashes()));
    assert_eq!(read.write(), written);
    assert_eq!(read.roster(NOW).digest(), statements.roster(NOW).digest());
    for hash in statements.hashes() {
        assert_eq!(ContentHash::of(&statements.get(hash).unwrap()), *hash);
    }
    // What is changed is refused, or waits in vain: never taken.
    for at in (0..written.len()).step_by(7) {
        let mut altered = written.clone();
        altered[at] ^= 1;
        if let Ok(read) = Statements::read(&altered, Some(network.id()), NOW) {
            assert!(read.len() < statements.len(), "byte {at} changed");
            assert!(read.hashes().all(|hash| statements.has(hash)), "byte {at} changed");
        }
    }
}

#[test]
fn a_steward_that_floods_and_votes_makes_no_file_unreadable() {
    let network = Network::of(5);
    let mut statements = network.statements(NOW);
    let member = |party: usize, number: usize| {
        let change = network.parties[party].member(1, Standing::Admitted);
        let mut proposal = network.proposal(change, day(1));
        proposal.reason = Text::new(&format!("Flood {number}")).unwrap();
        proposal
    };
    for number in 0..OPEN_PER_STEWARD_MAX {
        statements.take(&network.approval(0, &member(5, number), day(1)), day(1)).unwrap();
    }
    // Of twenty honest proposals it votes for each: some votes stand before what they vote for.
    let mut votes = Vec::new();
    for number in 0..20 {
        let honest = member(6, 1_000 + number);
        for party in [1, 0] {
            let vote = network.approval(party, &honest, day(1));
            statements.take(&vote, day(1)).unwrap();
            votes.push(ContentHash::of(&vote));
        }
    }
    // What is left out is some of the flood.
    let read = Statements::read(&statements.write(), None, day(1)).unwrap();
    assert!(votes.iter().all(|vote| read.has(vote)));
    assert!(read.len() + 20 >= statements.len());
}

#[test]
fn a_clock_that_has_fallen_behind_refuses_others_files_and_not_its_own() {
    let mut network = Network::of(3);
    network.admit(3, day(9));
    let (file, early) = (network.statements(NOW).write(), day(1));
    let refused = Statements::read(&file, None, early).unwrap_err();
    let FoundingError::Statement { source: Refusal::Future, .. } = refused else {
        panic!("{refused}")
    };
    let own = Statements::read_own(&file).unwrap();
    assert!(own.hashes().eq(network.statements(NOW).hashes()));
    // What does not hold is refused there too.
    network.say(vec![0; 8]);
    assert!(Statements::read_own(&network.file()).is_err());
}

#[test]
fn a_thief_of_a_transport_key_does_not_silence_its_steward() {
    let network = Network::of(3);
    let party = network.parties[0].clone();
    let mut set = party.key_set();
    let reason = RevocationReason::Compromised;
    set.version = 2;
    let new = SecretKey::from_seed(&[7; 32]);
    let key = KeyRecord { key: new.public(), ..party.key(KeyUse::Transport) };
    set.keys = list([set.keys.to_vec(), vec![key]].concat());
    edit(&mut set.keys, 1, |key| key.revoked = Some(Revocation { since: day(2), reason }));
    let mut statements = network.statements(NOW);
    let mut beat = |key: &SecretKey, number, issued| {
        let (roster, witnessed) = (ContentHash([0; 32]), Bounded::default());
        let beat = Heartbeat { steward: party.id, number, roster, witnessed, issued };
        statements.take(sign(beat, key, &network.id()).bytes(), NOW).unwrap();
        let last = statements.last_heartbeat(&party.id).map(|beat| beat.issued);
        (last, statements.next_heartbeat_number(&party.id, NOW))
    };
    assert_eq!(beat(&party.transport, 1, day(1)), (Some(day(1)), 2));
    let most = NOW.since(FOUNDED) + 1_000;
    assert_eq!(beat(&party.transport, most, NOW), (Some(NOW), most), "it is not revoked yet");
    let keys = network.keys(&set, &party.root);
    statements.take(&keys, NOW).unwrap();
    let mut beat = |key: &SecretKey, number, issued| {
        let (roster, witnessed) = (ContentHash([0; 32]), Bounded::default());
        let beat = Heartbeat { steward: party.id, number, roster, witnessed, issued };
        statements.take(sign(beat, key, &network.id()).bytes(), NOW).unwrap();
        statements.last_heartbeat(&party.id).map(|beat| beat.issued)
    };
    assert_eq!(beat(&party.transport, most, NOW), None, "only what counts shows that it is there");
    assert_eq!(beat(&new, most - 1, NOW.minus(1)), Some(NOW.minus(1)));
}

#[test]
fn whatever_lapses_in_whatever_number_is_forgotten_in_order() {
    let network = Network::of(3);
    let mut statements = network.statements(day(20));
    let mut number = 0;
    // All has expired when it comes, and what contradicts each other lives at once.
    let mut fill = |statements: &mut Statements, version, lives: std::ops::Range<u64>| {
        let mut change = network.parties[5].record(version, Standing::Admitted);
        change.class_max = 1;
        let mut proposal = network.proposal(Change::Member(change), FOUNDED.plus(lives.start));
        proposal.expires = FOUNDED.plus(lives.end);
        number += 1;
        proposal.reason = Text::new(&number.to_string()).unwrap();
        let approve = |at| network.approval(0, &proposal, FOUNDED.plus(at));
        statements.take(&approve(lives.start), day(20)).unwrap();
        (proposal.clone(), approve(lives.start + 1))
    };
    let (_, again) = fill(&mut statements, 2, 0..10);
    let (_, other) = fill(&mut statements, 2, 0..10);
    for _ in 0..2 {
        fill(&mut statements, 1, 0..10);
    }
    for at in 0..4_100 {
        fill(&mut statements, 1, 20 + at * 10..30 + at * 10);
    }
    for bytes in [&again, &other, &again] {
        statements.take(bytes, day(20)).unwrap();
    }
    let proof: Vec<_> = statements.roster(day(20)).findings().to_vec();
    assert!(matches!(proof.as_slice(), [Finding::Equivocation { version: 1, .. }]), "{proof:?}");
    let before = network.begun().len();
    assert_eq!(statements.len(), before + 2, "a proof, and nothing else");
}

#[test]
fn what_a_clock_that_was_ahead_let_lapse_is_opened_again() {
    let mut network = Network::of(3);
    let proposal = network.proposal(network.parties[3].member(1, Standing::Admitted), day(1));
    let mut statements = network.statements(day(1));
    let (one, other) =
        (network.approval(0, &proposal, day(1)), network.approval(0, &proposal, day(2)));
    statements.take(&other, day(2)).unwrap();
    // By a wrong clock it is over.
    let dropped = statements.drop_lapsed(day(30));
    assert_eq!(dropped, [ContentHash::of(&other)]);
    assert!(statements.take(&one, day(30)).unwrap().waits);
    // By a right one it is not, with all that hangs on it.
    let taken = statements.take(&network.approval(0, &proposal, day(1).plus(1)), day(2)).unwrap();
    assert_eq!(taken.new.len(), 1);
    let keys = network.keys(&network.parties[3].key_set(), &network.parties[3].root);
    assert!(!statements.take(&keys, day(2)).unwrap().waits);
    network.approve(&[1], &proposal, day(2));
    statements.take(&network.said[0], day(2)).unwrap();
    assert!(statements.roster(day(2)).is_admitted(&network.parties[3].id));
    // And what a node kept itself it takes up by any clock.
    let file = statements.write();
    let own = Statements::read_own(&file).unwrap();
    assert!(own.hashes().eq(statements.hashes()));
}

#[test]
fn nothing_expires_by_a_clock_that_nobody_has_confirmed() {
    let network = Network::of(3);
    let proposal = network.proposal(network.parties[3].member(1, Standing::Admitted), day(1));
    let approval = network.approval(0, &proposal, day(2));
    let mut statements = network.statements(day(2));
    statements.take(&approval, day(2)).unwrap();
    let taken = statements.take_unsure(&network.heartbeat(0, &[], day(30)), day(30)).unwrap();
    assert!(taken.dropped.is_empty() && statements.has(&ContentHash::of(&approval)));
    let taken = statements.take(&network.heartbeat(0, &[], day(31)), day(31)).unwrap();
    assert!(taken.dropped.contains(&ContentHash::of(&approval)));
}
