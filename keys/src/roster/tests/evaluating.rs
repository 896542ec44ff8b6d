//! Which record of the evaluators may follow, and which calls and messages of ceremonies are kept.

use signpost_protocol::{
    KeyEpoch,
    roster::{CeremonyCall, CeremonyMessage, EvaluatorsRecord},
};

use super::*;
use crate::{
    blinding::{
        EvaluatorIndex,
        ceremony::{CeremonyId, DealingRound, GeneratePlan},
    },
    roster::Evaluators,
};

/// The shares that are there, as if they were new ones.
fn handed_on(set: &EvaluatorSet) -> EvaluatorSet {
    EvaluatorSet { share_epoch: set.share_epoch + 1, ..set.clone() }
}

/// A key that somebody else has made.
fn another_key(network: &Network, key_epoch: u32, dealt: bool) -> EvaluatorSet {
    let founders: Vec<_> = network.parties[..network.founders].iter().map(|p| p.id).collect();
    let mut rng = ChaCha20Rng::seed_from_u64(77);
    let (set, _) = dealt_evaluators(&founders, 2, &mut rng).unwrap();
    EvaluatorSet { key_epoch: KeyEpoch(key_epoch), dealt, ..set }
}

fn record(before: &Evaluators, sets: Vec<EvaluatorSet>) -> EvaluatorsRecord {
    EvaluatorsRecord {
        version: before.version + 1,
        previous: before.id,
        sets: list(sets),
        ceremony: ContentHash([1; 32]),
        transcript: ContentHash([2; 32]),
    }
}

#[test]
fn a_key_stays_dealt_or_not_dealt_however_often_it_is_handed_on() {
    let mut network = Network::of(3);
    for dealt in [true, false] {
        network.dealt().dealt = dealt;
        let evaluators = network.roster(NOW).evaluators().clone();
        let next = handed_on(evaluators.current().unwrap());
        assert_eq!(evaluators.check_next(&record(&evaluators, vec![next.clone()])), Ok(()));
        let turned = EvaluatorSet { dealt: !dealt, ..next };
        let refused = evaluators.check_next(&record(&evaluators, vec![turned]));
        assert_eq!(
            refused,
            Err("whether one party dealt the key is not what the roster says"),
            "{dealt}"
        );
    }
}

#[test]
fn a_new_key_has_a_new_epoch_and_was_not_dealt() {
    let network = Network::of(3);
    let evaluators = network.roster(NOW).evaluators().clone();
    let old = evaluators.current().unwrap().clone();
    let check = |sets| evaluators.check_next(&record(&evaluators, sets));
    assert_eq!(check(vec![old.clone()]), Ok(()), "nothing changes");
    assert_eq!(check(vec![old.clone(), another_key(&network, 2, false)]), Ok(()));
    assert_eq!(check(vec![another_key(&network, 2, false)]), Ok(()), "the old one is retired");
    let refused = [
        (another_key(&network, 2, true), "one party dealt the key, and could have kept it"),
        (another_key(&network, 0, false), "its key epoch is not newer than all before"),
        (another_key(&network, 1, true), "it has another key in the same key epoch"),
        (
            EvaluatorSet { threshold: 3, ..old.clone() },
            "its shares are not newer than those in force",
        ),
        (
            EvaluatorSet { share_epoch: 0, ..old.clone() },
            "its shares are not newer than those in force",
        ),
    ];
    for (set, reason) in refused {
        assert_eq!(check(vec![set]), Err(reason));
    }

    let follows = "it does not follow the evaluators that are in force";
    let good = record(&evaluators, vec![handed_on(&old)]);
    let other = EvaluatorsRecord { previous: ContentHash([9; 32]), ..good.clone() };
    assert_eq!(evaluators.check_next(&other), Err(follows));
    let not_above = EvaluatorsRecord { version: 0, ..good };
    assert_eq!(evaluators.check_next(&not_above), Err(follows));
}

#[test]
fn a_dealt_key_is_handed_on_by_law_and_the_old_shares_are_remembered() {
    let mut network = Network::of(3);
    let before = network.roster(NOW).evaluators().clone();
    let next = handed_on(before.current().unwrap());
    let change = Change::Evaluators(record(&before, vec![next.clone()]));
    let proposal = network.decide(change, day(2));
    network.witness(&[0, 1, 2], &proposal, day(2));
    assert_eq!(network.state(&proposal, NOW), State::Law);
    let after = network.roster(NOW).evaluators().clone();
    assert_eq!((after.version, after.id), (1, id_of(&proposal)));
    assert_eq!(after.sets, [next]);
    assert_eq!(after.former, [(before.sets[0].clone(), day(2))]);

    // One that starts from the founding's comes too late.
    let late = Change::Evaluators(EvaluatorsRecord {
        version: 2,
        ..record(&before, vec![handed_on(&after.sets[0])])
    });
    let late = network.decide(late, day(3));
    assert_eq!(network.state(&late, NOW), State::Superseded);
    assert_eq!(*network.roster(NOW).evaluators(), after);
}

#[test]
fn a_network_may_begin_without_a_key_and_make_one() {
    let mut network = Network::of(3);
    network.founding.evaluators = None;
    let before = network.roster(NOW).evaluators().clone();
    assert_eq!(before.current(), None);
    let made = another_key(&network, 1, false);
    network.decide(Change::Evaluators(record(&before, vec![made.clone()])), day(2));
    assert_eq!(network.roster(NOW).evaluators().current(), Some(&made));
}

#[test]
fn a_record_that_contradicts_itself_is_refused() {
    let network = Network::of(3);
    let before = network.roster(NOW).evaluators().clone();
    let old = before.current().unwrap().clone();
    let refusal = |record: EvaluatorsRecord| {
        let proposal = network.proposal(Change::Evaluators(record), day(2));
        let approval = network.approval(0, &proposal, day(2));
        match network.statements(NOW).take(&approval, NOW) {
            Err(Refusal::Inconsistent(reason)) => reason,
            other => panic!("{other:?}"),
        }
    };
    let good = record(&before, vec![handed_on(&old)]);
    let version_0 = EvaluatorsRecord { version: 0, ..good.clone() };
    assert_eq!(refusal(version_0), "version 0 of the evaluators is that of the founding");
    let none = EvaluatorsRecord { sets: list(Vec::new()), ..good };
    assert_eq!(refusal(none), "it names no evaluators");
    let twice = record(&before, vec![old.clone(), handed_on(&old)]);
    assert_eq!(refusal(twice), "key epochs do not ascend");
    let other = EvaluatorSet { group: old.evaluators[0].public_share, ..handed_on(&old) };
    let other = record(&before, vec![other]);
    assert_eq!(refusal(other), "the public shares do not make up the group key");
}

fn call(network: &Network, number: u64) -> CeremonyCall {
    CeremonyCall {
        steward: network.parties[0].id,
        number,
        previous: ContentHash(network.id().0),
        key_epoch: KeyEpoch(2),
        share_epoch: 1,
        threshold: 2,
        evaluators: list(network.parties[..3].iter().map(|party| party.id).collect()),
        dealers: Bounded::default(),
        issued: day(2),
        expires: day(20),
    }
}

fn call_bytes(network: &Network, call: CeremonyCall) -> Vec<u8> {
    sign(call, &network.parties[0].govern, &network.id()).bytes().to_vec()
}

/// What party 0 deals, if its seed is this one.
fn dealing(ceremony: ContentHash, seed: u64) -> Vec<u8> {
    let plan = GeneratePlan::new(CeremonyId::new(ceremony.0), 2, 3).unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let own = EvaluatorIndex::new(1).unwrap();
    DealingRound::generate(plan, own, &mut rng).unwrap().1.to_bytes()
}

fn message_bytes(
    network: &Network,
    ceremony: ContentHash,
    message: &[u8],
    issued: Timestamp,
) -> Vec<u8> {
    let organization = network.parties[0].id;
    let message = ByteString::new(message.to_vec()).unwrap();
    let body = CeremonyMessage { organization, ceremony, message, issued };
    sign(body, &network.parties[0].transport, &network.id()).bytes().to_vec()
}

#[test]
fn a_ceremony_goes_when_its_steward_calls_again_or_its_time_is_over() {
    let network = Network::of(3);
    let mut statements = network.statements(NOW);
    let began_with = statements.len();
    let first = call_bytes(&network, call(&network, 1));
    let id = ContentHash::of(&first);
    let message = message_bytes(&network, id, &dealing(id, 1), day(2));
    assert!(statements.take(&message, NOW).unwrap().waits, "its call may come yet");
    assert_eq!(statements.take(&first, NOW).unwrap().new.len(), 2);
    assert_eq!(statements.ceremony(&id).unwrap().messages().count(), 1);

    let second = call_bytes(&network, call(&network, 2));
    let mut dropped = statements.take(&second, NOW).unwrap().dropped;
    dropped.sort();
    let mut expected = vec![id, ContentHash::of(&message)];
    expected.sort();
    assert_eq!(dropped, expected);
    assert!(statements.take(&first, NOW).unwrap().new.is_empty(), "the newer one stays");
    assert_eq!(statements.ceremonies().count(), 1);

    assert_eq!(statements.drop_lapsed(day(20)), [ContentHash::of(&second)]);
    assert_eq!(statements.len(), began_with);
    assert!(statements.take(&second, day(20)).unwrap().waits);
    assert_eq!(statements.len(), began_with);
}

#[test]
fn a_roster_file_outlives_the_ceremonies_in_it() {
    let network = Network::of(3);
    let mut statements = network.statements(NOW);
    let began_with = statements.len();
    let call = call_bytes(&network, call(&network, 1));
    let id = ContentHash::of(&call);
    statements.take(&call, NOW).unwrap();
    statements.take(&message_bytes(&network, id, &dealing(id, 1), day(2)), NOW).unwrap();
    let file = statements.write();
    assert_eq!(Statements::read(&file, None, NOW).unwrap().len(), began_with + 2);
    assert_eq!(Statements::read(&file, None, day(20)).unwrap().len(), began_with);
}

#[test]
fn of_each_message_one_is_kept_and_of_contradicting_ones_two_in_whatever_order() {
    let network = Network::of(3);
    let call = call_bytes(&network, call(&network, 1));
    let id = ContentHash::of(&call);
    let said: Vec<_> = [(1, day(2)), (1, day(3)), (2, day(2)), (3, day(2)), (3, day(4))]
        .map(|(seed, issued)| message_bytes(&network, id, &dealing(id, seed), issued))
        .into();
    let kept = |order: &[usize]| {
        let mut statements = network.statements(NOW);
        statements.take(&call, NOW).unwrap();
        for at in order {
            statements.take(&said[*at], NOW).unwrap();
        }
        let hashes: Vec<_> = statements.hashes().copied().collect();
        let messages = statements.ceremony(&id).unwrap().messages();
        (hashes, messages.map(|(_, message)| message.message.to_vec()).collect::<Vec<_>>())
    };
    let (_, once) = kept(&[1, 0]);
    assert_eq!(once, [dealing(id, 1)]);
    let all = kept(&[0, 1, 2, 3, 4]);
    assert_eq!(all.1.len(), 2);
    assert_ne!(all.1[0], all.1[1]);
    for order in [[4, 3, 2, 1, 0], [2, 4, 1, 3, 0], [3, 0, 4, 2, 1]] {
        assert_eq!(kept(&order), all);
    }
}
