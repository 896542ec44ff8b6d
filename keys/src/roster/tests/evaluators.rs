//! Who evaluates: the chain of records, and ceremonies played from the call to the law.

use signpost_protocol::blind::Evaluator;

use super::*;
use crate::{
    blinding::{
        self, Dealt, EvaluatorIndex, KeyShare,
        ceremony::{MessageKind, Outcome, Progress, ReshareRole, Role, advance},
    },
    roster::{Ceremony, Evaluators, VERSIONS_AHEAD_MAX},
};

const GRACE: u64 = Parameters::STANDARD.reapproval_grace;

/// A key in the hands of whoever tests, with shares for more evaluators than one set has.
pub(super) struct Key {
    epoch: u32,
    threshold: u16,
    dealt: Dealt,
}

impl Key {
    pub(super) fn of_epoch(epoch: u32) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(epoch.into());
        Self { epoch, threshold: 2, dealt: blinding::deal(2, 8, &mut rng).unwrap() }
    }

    /// As evaluators hold it after a ceremony.
    pub(super) fn set(
        &self,
        network: &Network,
        evaluators: &[usize],
        share_epoch: u32,
    ) -> EvaluatorSet {
        let evaluators = evaluators.iter().zip(&self.dealt.shares).map(|(at, share)| Evaluator {
            index: share.index().get(),
            organization: network.parties[*at].id,
            public_share: share.public().to_bytes().into(),
        });
        EvaluatorSet {
            key_epoch: KeyEpoch(self.epoch),
            share_epoch,
            threshold: self.threshold,
            group: self.dealt.group_public.to_bytes().into(),
            evaluators: list(evaluators.collect()),
            dealt: false,
        }
    }
}

pub(super) fn record(
    version: u64,
    previous: ContentHash,
    sets: Vec<EvaluatorSet>,
) -> EvaluatorsRecord {
    let made_up = ContentHash([version as u8; 32]);
    EvaluatorsRecord { version, previous, sets: list(sets), ceremony: made_up, transcript: made_up }
}

fn evaluators(network: &Network, now: Timestamp) -> Evaluators {
    network.roster(now).evaluators().clone()
}

/// A network of five that has made its first key on day 1, with the proposal of that.
fn with_key() -> (Network, Key, Proposal) {
    let mut network = Network::keyless(5);
    let key = Key::of_epoch(1);
    let first = record(1, ContentHash(network.id().0), vec![key.set(&network, &[0, 1, 2], 1)]);
    let proposal = network.decide(Change::Evaluators(first), day(1));
    (network, key, proposal)
}

#[test]
fn a_network_begins_without_a_key_and_makes_its_first() {
    let network = Network::keyless(5);
    let founding = ContentHash(network.id().0);
    assert!(network.open().is_ok());
    let none = evaluators(&network, NOW);
    assert_eq!((none.version, none.id, none.current()), (0, founding, None));
    assert!(none.sets.is_empty() && none.former.is_empty());

    let (mut network, key, proposal) = with_key();
    let set = key.set(&network, &[0, 1, 2], 1);
    let first = evaluators(&network, NOW);
    assert_eq!((first.version, first.id), (1, id_of(&proposal)));
    assert_eq!((first.current(), first.former.len()), (Some(&set), 0));
    assert_eq!(network.state(&proposal, NOW), State::Law);
    let adopted = |network: &Network, number: u8| {
        network.statements(NOW).law(NOW).adopted(&ContentHash([number; 32])).is_some()
    };
    assert!(adopted(&network, 1) && !adopted(&network, 2));
    // One approval short it is nothing.
    network.said.pop();
    assert_eq!(evaluators(&network, NOW), none);
    assert!(!adopted(&network, 1));
    assert_eq!(network.state(&proposal, NOW), State::Open);
}

#[test]
fn shares_are_handed_on_and_a_key_is_added_and_retired() {
    let (mut network, key, first) = with_key();
    let old = key.set(&network, &[0, 1, 2], 1);
    let new = key.set(&network, &[3, 4, 0, 1], 2);
    let second =
        network.decide(Change::Evaluators(record(2, id_of(&first), vec![new.clone()])), day(2));
    let now = evaluators(&network, NOW);
    assert_eq!((now.version, now.id, now.sets), (2, id_of(&second), vec![new.clone()]));
    assert_eq!(now.former, [(old.clone(), day(2))]);
    assert_eq!(network.state(&first, NOW), State::Superseded);
    assert_eq!(network.state(&second, NOW), State::Law);
    let law = network.statements(NOW).law(NOW);
    assert!([1, 2].iter().all(|number| law.adopted(&ContentHash([*number; 32])).is_some()));

    // A second key beside the first, by whose epoch locators are made until it is retired.
    let next = Key::of_epoch(2).set(&network, &[0, 1, 2], 1);
    let both = vec![new.clone(), next.clone()];
    let third = network.decide(Change::Evaluators(record(3, id_of(&second), both)), day(3));
    let now = evaluators(&network, NOW);
    assert_eq!((now.current(), now.sets.len()), (Some(&new), 2));
    assert_eq!(now.former, [(old.clone(), day(2))], "nothing has gone");
    network.decide(Change::Evaluators(record(4, id_of(&third), vec![next.clone()])), day(4));
    let now = evaluators(&network, NOW);
    assert_eq!((now.version, now.sets), (4, vec![next]));
    assert_eq!(now.former, [(new, day(4)), (old, day(2))]);
    // In whatever order it is heard.
    network.said.reverse();
    assert_eq!(evaluators(&network, NOW).former.len(), 2);
}

#[test]
fn a_record_that_does_not_follow_is_of_no_effect() {
    let (mut network, key, first) = with_key();
    network.witness(&[1, 2, 3], &first, day(2));
    let founding = ContentHash(network.id().0);
    let before = evaluators(&network, NOW);
    let set = |share_epoch| key.set(&network, &[2, 3, 4], share_epoch);
    let newer = Key::of_epoch(2);
    let follows = "it does not follow the evaluators that are in force";
    let (not_newer, other_key) = (
        "its shares are not newer than those in force",
        "it has another key in the same key epoch",
    );
    let mut other = newer.set(&network, &[0, 1, 2], 2);
    other.key_epoch = KeyEpoch(1);
    let mut dealt = newer.set(&network, &[0, 1, 2], 1);
    dealt.dealt = true;
    let mut old = newer.set(&network, &[0, 1, 2], 1);
    old.key_epoch = KeyEpoch(0);
    for (record, rule) in [
        (record(2, founding, vec![set(2)]), follows),
        (record(2, ContentHash([7; 32]), vec![set(2)]), follows),
        (record(1, id_of(&first), vec![set(2)]), follows),
        (record(2, id_of(&first), vec![set(1)]), not_newer),
        (record(2, id_of(&first), vec![set(0)]), not_newer),
        (record(2, id_of(&first), vec![other]), other_key),
        (record(2, id_of(&first), vec![old]), "its key epoch is not newer than all before"),
        (
            record(2, id_of(&first), vec![set(2), dealt]),
            "one party dealt the key, and could have kept it",
        ),
    ] {
        assert_eq!(before.check_next(&record), Err(rule));
        let mut network = network.clone();
        let ceremony = ContentHash([9; 32]);
        // As late as it can be, so that nothing but the rule stands against it.
        let proposal =
            network.decide(Change::Evaluators(EvaluatorsRecord { ceremony, ..record }), day(11));
        let now = day(12);
        assert_eq!(evaluators(&network, now), before, "{rule}");
        assert_eq!(network.state(&proposal, now), State::Superseded);
        assert_eq!(network.state(&first, now), State::Law);
        assert!(network.statements(now).law(now).adopted(&ceremony).is_none(), "{rule}");
        // The chain goes on past it.
        let next = record_after(&network, 3, &first, set(2));
        assert_eq!(evaluators(&next, now).version, 3);
    }
    // What follows may leave numbers out, and everything as it is.
    for (version, share_epoch) in [(2, 2), (2, 9), (VERSIONS_AHEAD_MAX, 2)] {
        let next = record_after(&network, version, &first, set(share_epoch));
        assert_eq!(evaluators(&next, day(12)).version, version);
    }
    let same = before.sets.clone();
    assert_eq!(before.check_next(&record(2, id_of(&first), same)), Ok(()));
}

fn record_after(network: &Network, version: u64, before: &Proposal, set: EvaluatorSet) -> Network {
    let mut network = network.clone();
    network.decide(Change::Evaluators(record(version, id_of(before), vec![set])), day(11));
    network
}

#[test]
fn a_record_that_contradicts_itself_is_refused() {
    let network = Network::keyless(5);
    let founding = ContentHash(network.id().0);
    let (one, two) = (Key::of_epoch(1), Key::of_epoch(2));
    let good = || one.set(&network, &[0, 1, 2], 1);
    let try_it = |record: EvaluatorsRecord| {
        let proposal = network.proposal(Change::Evaluators(record), day(1));
        let approval = network.approval(0, &proposal, day(1));
        match network.statements(NOW).take(&approval, NOW) {
            Ok(taken) => Ok(taken.new.len()),
            Err(Refusal::Inconsistent(rule)) => Err(rule),
            Err(other) => panic!("{other}"),
        }
    };
    let with = |change: &dyn Fn(&mut EvaluatorSet)| {
        let mut set = good();
        change(&mut set);
        try_it(record(1, founding, vec![set]))
    };
    assert_eq!(with(&|_| {}), Ok(1));
    let zero = "version 0 of the evaluators is that of the founding";
    assert_eq!(try_it(record(0, founding, vec![good()])), Err(zero));
    assert_eq!(try_it(record(1, founding, vec![])), Err("it names no evaluators"));
    let second = two.set(&network, &[0, 1, 2], 1);
    let ascend = "key epochs do not ascend";
    assert_eq!(try_it(record(1, founding, vec![good(), second.clone()])), Ok(1));
    assert_eq!(try_it(record(1, founding, vec![second, good()])), Err(ascend));
    assert_eq!(try_it(record(1, founding, vec![good(), good()])), Err(ascend));
    let numbered = "evaluators are not numbered from 1";
    for index in [0, 2, u16::MAX] {
        assert_eq!(
            with(&|set| edit(&mut set.evaluators, 0, |one| one.index = index)),
            Err(numbered)
        );
    }
    let again = network.parties[0].id;
    let twice = with(&|set| edit(&mut set.evaluators, 1, |one| one.organization = again));
    assert_eq!(twice, Err("an organization evaluates twice"));
    let share = with(&|set| edit(&mut set.evaluators, 1, |one| one.public_share = [0; 32].into()));
    assert_eq!(share, Err("a public share is not a group element"));
    let group = with(&|set| set.group = [0xff; 32].into());
    assert_eq!(group, Err("the group key is not a group element"));
    let others = "the public shares do not make up the group key";
    let another = two.dealt.group_public.to_bytes();
    assert_eq!(with(&|set| set.group = another.into()), Err(others));
    let foreign =
        with(&|set| edit(&mut set.evaluators, 2, |one| one.public_share = another.into()));
    assert_eq!(foreign, Err(others));
    for threshold in [0, 1, 3, 4, u16::MAX] {
        assert_eq!(with(&|set| set.threshold = threshold), Err(others));
    }
    assert_eq!(with(&|set| set.evaluators = Bounded::default()), Err(others));
}

#[test]
fn of_two_that_would_follow_the_same_the_one_that_was_seen_first_counts() {
    let mut network = Network::keyless(5);
    let founding = ContentHash(network.id().0);
    let made = |network: &Network, version, seed, at| {
        let mut set = Key::of_epoch(seed).set(network, &[0, 1, 2], 1);
        set.key_epoch = KeyEpoch(1);
        network.proposal(Change::Evaluators(record(version, founding, vec![set])), at)
    };
    // One was given up, short of an approval; the other became law, was seen, and was built upon.
    let given_up = made(&network, 1, 1, day(1));
    let other = made(&network, 2, 2, day(2));
    network.approve(&[0, 1], &given_up, day(1));
    network.approve(&[0, 3, 4], &other, day(2));
    network.witness(&[2, 3, 4], &other, day(3));
    let Change::Evaluators(first) = &other.change else { unreachable!("it was made so") };
    let mut next = first.sets[0].clone();
    next.share_epoch += 1;
    let next = record(3, id_of(&other), vec![next]);
    let next = network.proposal(Change::Evaluators(next), day(4));
    network.approve(&[1, 2, 3], &next, day(4));
    assert_eq!(evaluators(&network, NOW).version, 3);
    // An approval that was held back, or is dated back, changes nothing; nor does witness to it.
    network.approve(&[2], &given_up, day(1));
    assert_eq!(evaluators(&network, NOW).id, id_of(&next));
    network.witness(&[0, 1, 2, 3, 4], &given_up, day(5));
    for _ in 0..2 {
        assert_eq!(evaluators(&network, NOW).id, id_of(&next));
        assert_eq!(network.state(&given_up, NOW), State::Superseded);
        network.said.reverse();
    }

    // Before anybody has borne witness, the one proposed last.
    let mut network = Network::keyless(5);
    let founding = ContentHash(network.id().0);
    let (early, late) = (made(&network, 2, 1, day(1)), made(&network, 1, 2, day(2)));
    network.approve(&[0, 1, 2], &early, day(1));
    network.approve(&[2, 3, 4], &late, day(2));
    assert_eq!(evaluators(&network, NOW).id, id_of(&late));

    // No version is so far ahead that nothing can follow it.
    let mut network = Network::keyless(5);
    let far = made(&network, VERSIONS_AHEAD_MAX + 1, 1, day(1));
    network.approve(&[0, 1, 2], &far, day(1));
    assert_eq!(evaluators(&network, NOW).version, 0);
    let near = made(&network, VERSIONS_AHEAD_MAX, 1, day(1));
    network.approve(&[0, 1, 2], &near, day(1));
    assert_eq!(evaluators(&network, NOW).version, VERSIONS_AHEAD_MAX);

    // Two that never lived at one time contradict nothing: the later one counts.
    let mut network = Network::keyless(5);
    let set = |seed: u32| {
        let mut set = Key::of_epoch(seed).set(&network, &[0, 1, 2], 1);
        set.key_epoch = KeyEpoch(1);
        set
    };
    let (one, other) = (record(1, founding, vec![set(1)]), record(1, founding, vec![set(2)]));
    let early = network.decide(Change::Evaluators(one), day(1));
    let late = network.decide(Change::Evaluators(other), day(11));
    assert_eq!(evaluators(&network, day(12)).id, id_of(&late));
    assert_eq!(network.state(&early, day(12)), State::Superseded);
}

#[test]
fn a_record_in_doubt_and_one_that_fell_count_until_another_follows() {
    let (mut network, key, first) = with_key();
    // Seen by too few before a govern key was revoked, and approved by nobody again.
    network.witness(&[1], &first, day(2));
    let settled = evaluators(&network, NOW);
    network.revoke(0, day(3), day(9));
    let until = day(11).plus(GRACE).plus(GRACE);
    for (now, state) in [(NOW, State::Law), (until.minus(1), State::Law), (until, State::Fallen)] {
        assert_eq!(network.state(&first, now), state);
        assert_eq!(evaluators(&network, now), settled);
        assert!(network.statements(now).law(now).adopted(&ContentHash([1; 32])).is_some());
    }
    let later = until.plus(DAY);
    let next = key.set(&network, &[2, 3, 4], 2);
    let next = network.proposal(Change::Evaluators(record(2, id_of(&first), vec![next])), later);
    network.approve(&[1, 2], &next, later);
    assert_eq!(evaluators(&network, later), settled);
    network.approve(&[3], &next, later);
    let now = evaluators(&network, later);
    assert_eq!((now.version, now.former.len()), (2, 1));
    assert_eq!(network.state(&first, later), State::Superseded);
    // Approved anew instead, it is what others of its version give way to.
    let again = record(1, ContentHash(network.id().0), vec![key.set(&network, &[2, 3, 4], 1)]);
    let mut other = network.clone();
    other.said.truncate(other.said.len() - 3);
    let proposal = other.proposal(Change::Evaluators(again), later);
    other.approve(&[1, 2, 3], &proposal, later);
    assert_eq!(evaluators(&other, later).id, id_of(&proposal));
    assert_eq!(other.state(&first, later), State::Superseded);

    // What nobody bore witness to before its key was in doubt was never law.
    let (mut network, _, first) = with_key();
    network.revoke(0, day(1), day(9));
    assert_eq!(evaluators(&network, NOW).version, 0);
    assert_eq!(network.state(&first, NOW), State::Open);
}

#[test]
fn former_evaluators_are_remembered_the_latest_first() {
    let (mut network, key, mut last) = with_key();
    for number in 2..=7 {
        let set = key.set(&network, &[0, 1, 2], number);
        let next = record(number.into(), id_of(&last), vec![set]);
        last = network.decide(Change::Evaluators(next), day(number.into()));
    }
    let now = evaluators(&network, NOW);
    let former: Vec<_> = now.former.iter().map(|(set, since)| (set.share_epoch, *since)).collect();
    assert_eq!(former, [6, 5, 4, 3, 2, 1].map(|epoch| (epoch, day(u64::from(epoch) + 1))));
    assert_eq!(now.current().unwrap().share_epoch, 7);
}

#[test]
fn evaluators_that_one_party_dealt_count_and_others_are_put_beside_them() {
    let mut network = Network::of(5);
    let founding = ContentHash(network.id().0);
    let dealt = network.dealt().clone();
    let begun = evaluators(&network, NOW);
    assert_eq!((begun.version, begun.id, begun.sets), (0, founding, vec![dealt.clone()]));
    assert!(dealt.dealt);
    let made = Key::of_epoch(2).set(&network, &[0, 1, 2], 1);
    let both = record(1, founding, vec![dealt.clone(), made.clone()]);
    let first = network.decide(Change::Evaluators(both), day(1));
    let now = evaluators(&network, NOW);
    assert_eq!((now.version, now.current()), (1, Some(&dealt)));
    network.decide(Change::Evaluators(record(2, id_of(&first), vec![made.clone()])), day(2));
    let now = evaluators(&network, NOW);
    assert_eq!((now.current(), &now.former), (Some(&made), &vec![(dealt, day(2))]));
}

#[test]
fn a_call_hands_on_what_is_in_force_or_nothing() {
    let (network, key, first) = with_key();
    let set = key.set(&network, &[0, 1, 2], 1);
    let now = evaluators(&network, NOW);
    let party = |at: usize| network.parties[at].id;
    let dealer =
        |index, at: usize| signpost_protocol::roster::Dealer { index, organization: party(at) };
    let mut reshares = network.call(0, 1, &[2, 3, 4]);
    reshares.previous = id_of(&first);
    reshares.share_epoch = 2;
    reshares.dealers = list(vec![dealer(1, 0), dealer(3, 2)]);
    let mut makes = network.call(0, 1, &[2, 3, 4]);
    makes.previous = id_of(&first);
    makes.key_epoch = KeyEpoch(2);
    assert_eq!(now.handed_on(&reshares), Ok(Some(&set)));
    assert_eq!(now.handed_on(&makes), Ok(None));
    let with = |call: &CeremonyCall, change: &dyn Fn(&mut CeremonyCall)| {
        let mut call = call.clone();
        change(&mut call);
        now.handed_on(&call).unwrap_err()
    };
    let founding = ContentHash(network.id().0);
    for call in [&reshares, &makes] {
        let others = "it starts from other evaluators than those in force";
        assert_eq!(with(call, &|call| call.previous = founding), others);
    }
    let none = "there is no key of this epoch to hand on";
    assert_eq!(with(&reshares, &|call| call.key_epoch = KeyEpoch(2)), none);
    let older = "a new key has a newer epoch than all before";
    assert_eq!(with(&makes, &|call| call.key_epoch = KeyEpoch(0)), older);
    let exists = "there is a key of this epoch already";
    assert_eq!(with(&makes, &|call| call.key_epoch = KeyEpoch(1)), exists);
    for share_epoch in [0, 2, u32::MAX] {
        let first = "shares of a new key are of epoch 1";
        assert_eq!(with(&makes, &|call| call.share_epoch = share_epoch), first);
    }
    for share_epoch in [0, 1, 3, u32::MAX] {
        let next = "its shares are not the next ones";
        assert_eq!(with(&reshares, &|call| call.share_epoch = share_epoch), next);
    }
    for wrong in [dealer(2, 2), dealer(3, 4), dealer(4, 2), dealer(u16::MAX, 2)] {
        let dealers = vec![dealer(1, 0), wrong];
        let holds = "a dealer holds no share of the key";
        assert_eq!(with(&reshares, &|call| call.dealers = list(dealers.clone())), holds);
    }
    let few = "it names fewer dealers than it takes to hand the key on";
    assert_eq!(with(&reshares, &|call| call.dealers = list(vec![dealer(1, 0)])), few);
    // The last of all share epochs has none after it.
    let mut last = now.clone();
    last.sets[0].share_epoch = u32::MAX;
    reshares.share_epoch = 0;
    assert_eq!(last.handed_on(&reshares), Err("its shares are not the next ones"));
}

/// What the parties of a ceremony hold, and where they stand.
struct Play<'a> {
    network: &'a Network,
    statements: Statements,
    id: ContentHash,
    /// Each party of the network with the share that it deals.
    parties: Vec<(usize, Option<&'a KeyShare>)>,
    old: Option<EvaluatorSet>,
}

impl Play<'_> {
    fn ceremony(&self) -> &Ceremony {
        self.statements.ceremony(&self.id).unwrap()
    }

    /// Each party says what is due until nobody has anything to say; then where each of them stands.
    fn play(&mut self) -> Vec<Progress> {
        loop {
            let (mut said, mut progress) = (Vec::new(), Vec::new());
            for (party, share) in &self.parties {
                let ceremony = self.ceremony();
                let organization = self.network.parties[*party].id;
                let receiver = ceremony.receiver(&organization);
                let role = match (share, receiver) {
                    (None, Some(index)) if self.old.is_none() => Role::Generates(index),
                    (None, Some(index)) => Role::Reshares(ReshareRole::Receiver(index)),
                    (Some(share), None) => Role::Reshares(ReshareRole::Dealer(share)),
                    (Some(share), Some(receiver)) => {
                        Role::Reshares(ReshareRole::Both { share, receiver })
                    }
                    (None, None) => panic!("it has no part"),
                };
                let task = ceremony.task(self.old.as_ref()).unwrap();
                let mut rng = ChaCha20Rng::seed_from_u64(*party as u64);
                let advanced =
                    advance(&task, role, &ceremony.received(receiver), &mut rng).unwrap();
                for due in advanced.due {
                    said.push(self.network.message(*party, self.id, due.bytes, day(2)));
                }
                progress.push(advanced.progress);
            }
            let mut news = 0;
            for bytes in said {
                news += self.statements.take(&bytes, day(2)).unwrap().new.len();
            }
            if news == 0 {
                return progress;
            }
        }
    }

    fn watched(&self, evaluators: &Evaluators) -> Outcome {
        match self.ceremony().watch(evaluators) {
            Ok(Progress::Done(outcome)) => *outcome,
            other => panic!("{other:?}"),
        }
    }
}

fn shares(progress: Vec<Progress>) -> Vec<Option<KeyShare>> {
    let share = |progress| match progress {
        Progress::Done(outcome) => Outcome::into_parts(*outcome).1,
        other => panic!("{other:?}"),
    };
    progress.into_iter().map(share).collect()
}

#[test]
fn a_key_is_made_and_handed_on_from_the_calls_to_the_law() {
    let mut network = Network::keyless(3);
    network.admit(3, day(1));
    let begun = evaluators(&network, day(2));
    let call = network.called(&network.call(0, 1, &[0, 1, 2]));
    let mut statements = network.statements(day(2));
    statements.take(&call, day(2)).unwrap();
    let id = ContentHash::of(&call);
    let parties = vec![(0, None), (1, None), (2, None)];
    let mut play = Play { network: &network, statements, id, parties, old: None };
    assert!(matches!(play.ceremony().watch(&begun), Ok(Progress::Dealing(all)) if all.len() == 3));
    let held: Vec<_> = shares(play.play()).into_iter().map(Option::unwrap).collect();
    let outcome = play.watched(&begun);
    assert!(outcome.share().is_none(), "whoever looks on has none");
    let first = begun.next(play.ceremony(), &outcome).unwrap();
    assert_eq!(begun.check_next(&first), Ok(()));
    assert_eq!((first.version, first.previous, first.ceremony), (1, begun.id, id));
    let listed: Vec<_> = first.sets[0].evaluators.iter().map(|one| *one.public_share).collect();
    assert_eq!(listed, held.iter().map(|share| share.public().to_bytes()).collect::<Vec<_>>());
    assert!(!first.sets[0].dealt);
    let ended = play.statements;
    let first = network.decide(Change::Evaluators(first), day(2));
    let made = evaluators(&network, day(2));
    let old = made.current().unwrap().clone();
    assert_eq!((made.version, made.id), (1, id_of(&first)));
    // Nothing more can come of that ceremony.
    assert!(ended.ceremony(&id).unwrap().watch(&made).is_err());

    // The first leaves, another comes; any two of three, as before.
    let mut call = network.call(1, 1, &[1, 2, 3]);
    (call.previous, call.share_epoch) = (made.id, 2);
    let dealer = |at: usize| signpost_protocol::roster::Dealer {
        index: at as u16 + 1,
        organization: network.parties[at].id,
    };
    call.dealers = list(vec![dealer(0), dealer(1)]);
    let call = network.called(&call);
    let id = ContentHash::of(&call);
    let mut statements = network.statements(day(2));
    statements.take(&call, day(2)).unwrap();
    let parties = vec![(0, Some(&held[0])), (1, Some(&held[1])), (2, None), (3, None)];
    let mut play = Play { network: &network, statements, id, parties, old: Some(old.clone()) };
    let new = shares(play.play());
    assert!(new[0].is_none() && new[1..].iter().all(Option::is_some));
    let second = made.next(play.ceremony(), &play.watched(&made)).unwrap();
    assert_eq!(made.check_next(&second), Ok(()));
    let proposal = network.decide(Change::Evaluators(second), day(3));
    let handed_on = evaluators(&network, NOW);
    let current = handed_on.current().unwrap();
    assert_eq!((handed_on.version, handed_on.id), (2, id_of(&proposal)));
    assert_eq!((current.group, current.share_epoch), (old.group, 2));
    let organizations: Vec<_> = current.evaluators.iter().map(|one| one.organization).collect();
    assert_eq!(organizations, [1, 2, 3].map(|at| network.parties[at].id));
    assert_eq!(handed_on.former, [(old, day(3))]);
    let law = network.statements(NOW).law(NOW);
    assert!(law.adopted(&id).is_some());
}

#[test]
fn whoever_contradicts_itself_ends_a_ceremony_for_all_who_look_on() {
    let network = Network::keyless(3);
    let begun = evaluators(&network, day(2));
    let call = network.called(&network.call(0, 1, &[0, 1, 2]));
    let id = ContentHash::of(&call);
    let mut statements = network.statements(day(2));
    statements.take(&call, day(2)).unwrap();
    let parties = vec![(0, None), (1, None), (2, None)];
    let mut play = Play { network: &network, statements, id, parties, old: None };
    let second = super::ceremonies::dealing(id, 2, 1);
    play.statements.take(&network.message(1, id, second, day(2)), day(2)).unwrap();
    for progress in play.play() {
        assert!(matches!(progress, Progress::Failed(_)), "{progress:?}");
    }
    let (slot, _) = play.ceremony().messages().next().unwrap();
    assert_eq!(slot.0, MessageKind::Dealing);
    assert!(matches!(play.ceremony().watch(&begun), Ok(Progress::Failed(_))));
    // Nor does anybody see a task in what makes none.
    let mut odd = network.call(1, 1, &[0, 1, 2]);
    odd.share_epoch = 2;
    let odd = network.called(&odd);
    play.statements.take(&odd, day(2)).unwrap();
    let odd = play.statements.ceremony(&ContentHash::of(&odd)).unwrap();
    assert_eq!(odd.watch(&begun).unwrap_err(), "shares of a new key are of epoch 1");
}

#[test]
fn of_two_keys_one_is_retired_before_a_third_is_made() {
    let network = Network::keyless(3);
    let mut begun = evaluators(&network, day(2));
    let call = network.call(0, 1, &[0, 1, 2]);
    let call = network.called(&CeremonyCall { key_epoch: KeyEpoch(3), ..call });
    let mut statements = network.statements(day(2));
    statements.take(&call, day(2)).unwrap();
    let parties = vec![(0, None), (1, None), (2, None)];
    let mut play =
        Play { network: &network, statements, id: ContentHash::of(&call), parties, old: None };
    play.play();
    let outcome = play.watched(&begun);
    let keys = [1, 2].map(|epoch| Key::of_epoch(epoch).set(&network, &[0, 1, 2], 1));
    begun.sets = keys[..1].to_vec();
    let both = begun.next(play.ceremony(), &outcome).unwrap();
    let epochs: Vec<_> = both.sets.iter().map(|set| set.key_epoch.0).collect();
    assert_eq!(epochs, [1, 3]);
    begun.sets = keys.to_vec();
    let full = "there are two keys already: retire one first";
    assert_eq!(begun.next(play.ceremony(), &outcome).unwrap_err(), full);
    assert_eq!(EvaluatorIndex::new(1), play.ceremony().receiver(&network.parties[0].id));
}
