//! What holds of ceremonies and evaluators in any order, whoever signs what.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use signpost_protocol::roster::Dealer;

use super::{
    ceremonies::{confirmation, dealing, enrolment, name, sealed},
    evaluators::{Key, record},
    properties::{CASES, HOUR, hear, shuffled, written},
    *,
};
use crate::roster::{Ceremony, Evaluators};

/// Something that somebody signs; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Act {
    Call(usize),
    Say {
        ceremony: usize,
        kind: u8,
        /// The place of its sender among those that owe such messages.
        seat: usize,
        to: u16,
        salt: u8,
        /// Who signs it, if not the one whose seat it is.
        other: Option<usize>,
        hour: u64,
    },
    Approve {
        steward: usize,
        proposal: usize,
        hour: u64,
    },
    Beat {
        party: usize,
        proposals: Vec<usize>,
        hour: u64,
    },
    Keys {
        party: usize,
        version: u64,
        /// Which key is revoked, and since when.
        revoked: Option<(usize, u64)>,
        hour: u64,
    },
}

const HOURS: std::ops::Range<u64> = 0..200;

fn message() -> impl Strategy<Value = Act> {
    let other = proptest::option::weighted(0.1, 0..8usize);
    (0..8usize, 0..4u8, 0..5usize, 1..4u16, 0..3u8, other, 24..HOURS.end).prop_map(
        |(ceremony, kind, seat, to, salt, other, hour)| Act::Say {
            ceremony,
            kind,
            seat,
            to,
            salt,
            other,
            hour,
        },
    )
}

fn act(keys_revoked: std::ops::Range<usize>) -> impl Strategy<Value = Act> {
    let call = (0..8usize).prop_map(Act::Call);
    let approve = (0..8usize, 0..16usize, HOURS)
        .prop_map(|(steward, proposal, hour)| Act::Approve { steward, proposal, hour });
    let beat = (0..8usize, vec(0..16usize, 0..12), HOURS)
        .prop_map(|(party, proposals, hour)| Act::Beat { party, proposals, hour });
    let revoked = proptest::option::of((keys_revoked, HOURS));
    let keys = (0..8usize, 1..4u64, revoked, HOURS)
        .prop_map(|(party, version, revoked, hour)| Act::Keys { party, version, revoked, hour });
    prop_oneof![2 => call, 12 => message(), 24 => approve, 4 => beat, 1 => keys]
}

/// Calls that compete, replace each other, are over early, or need stewards to come.
fn calls(network: &Network) -> Vec<CeremonyCall> {
    let make = |steward, number, evaluators: &[usize], until| {
        let mut call = network.call(steward, number, evaluators);
        call.expires = day(until);
        call
    };
    let mut handing_on = make(1, 3, &[2, 3], 20);
    let dealer = |index, at: usize| Dealer { index, organization: network.parties[at].id };
    (handing_on.share_epoch, handing_on.dealers) = (2, list(vec![dealer(1, 0), dealer(3, 2)]));
    vec![
        make(0, 1, &[0, 1, 2], 20),
        make(0, 2, &[0, 1, 3], 12),
        make(0, 2, &[1, 2, 4], 20),
        make(1, 1, &[0, 1, 2, 3, 4], 25),
        handing_on,
        make(5, 1, &[0, 5, 1], 30),
        make(2, 1, &[2, 3, 4], 40),
    ]
}

/// Proposals of who evaluates, that follow each other or do not, and of other stewards.
fn pool(network: &Network) -> Vec<Proposal> {
    let founding = ContentHash(network.id().0);
    let set = |seed: u32, evaluators: &[usize], share_epoch| {
        let mut set = Key::of_epoch(seed).set(network, evaluators, share_epoch);
        set.key_epoch = KeyEpoch(1);
        set
    };
    let propose =
        |record: EvaluatorsRecord, at| network.proposal(Change::Evaluators(record), day(at));
    let one = propose(record(1, founding, vec![set(1, &[0, 1, 2], 1)]), 1);
    let other = propose(record(1, founding, vec![set(2, &[0, 1, 2], 1)]), 2);
    let handed_on = record(2, id_of(&one), vec![set(1, &[2, 3, 4], 2)]);
    let mut next = Key::of_epoch(2).set(network, &[1, 2, 3], 1);
    next.key_epoch = KeyEpoch(2);
    let both = record(3, id_of(&propose(handed_on.clone(), 3)), vec![set(1, &[2, 3, 4], 2), next]);
    let Change::Stewards(mut epoch) = network.epoch(1, founding, &[0, 1, 2, 3, 5]) else {
        unreachable!("it is one")
    };
    epoch.parameters.proposal_life_max *= 2;
    let admitted = network.parties[5].member(1, Standing::Admitted);
    let mut of_epoch = propose(record(2, id_of(&one), vec![set(1, &[0, 1, 3], 2)]), 5);
    of_epoch.epoch = 1;
    vec![
        propose(record(1, founding, vec![set(3, &[0, 1, 2], 1)]), 12),
        propose(handed_on, 3),
        propose(both, 3),
        propose(record(2, id_of(&other), vec![set(2, &[2, 3, 4], 2)]), 3),
        propose(record(4, founding, vec![set(4, &[0, 1, 2], 1)]), 4),
        propose(record(2, id_of(&one), vec![set(1, &[2, 3, 4], 1)]), 4),
        one,
        other,
        network.proposal(Change::Stewards(epoch), day(1)),
        network.proposal(admitted, day(1)),
        of_epoch,
    ]
}

struct World {
    network: Network,
    calls: Vec<CeremonyCall>,
    proposals: Vec<Proposal>,
}

impl World {
    fn new(network: Network) -> Self {
        let (calls, proposals) = (calls(&network), pool(&network));
        Self { network, calls, proposals }
    }

    /// Nothing, for a seat that there is not.
    fn say(&self, act: &Act) -> Option<Vec<u8>> {
        let network = &self.network;
        Some(match act {
            Act::Call(at) => network.called(&self.calls[at % self.calls.len()]),
            Act::Say { ceremony, kind, seat, to, salt, other, hour } => {
                let call = &self.calls[ceremony % self.calls.len()];
                let id = name(&network.called(call));
                let deals = kind % 4 < 2 && !call.dealers.is_empty();
                let (index, sender) = if deals {
                    let dealer = &call.dealers[seat % call.dealers.len()];
                    (dealer.index, dealer.organization)
                } else {
                    let seat = seat % call.evaluators.len();
                    (seat as u16 + 1, call.evaluators[seat])
                };
                let bytes = match kind % 4 {
                    0 => dealing(id, index, *salt),
                    1 => sealed(id, index, *to, *salt),
                    2 => enrolment(id, index, *salt),
                    _ => confirmation(id, index, *salt),
                };
                let sender = network.parties.iter().position(|party| party.id == sender)?;
                let sender = other.unwrap_or(sender) % network.parties.len();
                network.message(sender, id, bytes, FOUNDED.plus(hour * HOUR))
            }
            Act::Approve { steward, proposal, hour } => {
                let proposal = &self.proposals[proposal % self.proposals.len()];
                let steward = steward % network.parties.len();
                network.approval(steward, proposal, proposal.issued.plus(hour * HOUR))
            }
            Act::Beat { party, proposals, hour } => {
                let named = proposals.iter().map(|at| &self.proposals[at % self.proposals.len()]);
                let party = party % network.parties.len();
                network.heartbeat(party, &named.collect::<Vec<_>>(), FOUNDED.plus(hour * HOUR))
            }
            Act::Keys { party, version, revoked, hour } => {
                let party = &network.parties[party % network.parties.len()];
                let mut set = party.key_set();
                (set.version, set.issued) = (*version, FOUNDED.plus(hour * HOUR));
                if let Some((at, since)) = revoked {
                    let since = FOUNDED.plus(since * HOUR);
                    let reason = RevocationReason::Compromised;
                    let revocation = Revocation { since, reason };
                    edit(&mut set.keys, *at, |key| key.revoked = Some(revocation));
                }
                network.keys(&set, &party.root)
            }
        })
    }

    fn all(&self, acts: &[Act]) -> Vec<Vec<u8>> {
        let mut all = self.network.begun();
        all.extend(acts.iter().filter_map(|act| self.say(act)));
        all
    }
}

/// All that can be asked of the ceremonies.
fn under_way(statements: &Statements) -> String {
    let ceremonies = statements.ceremonies().map(|(id, ceremony)| {
        let messages: Vec<_> =
            ceremony.messages().map(|(slot, message)| (slot, message.hash())).collect();
        (*id, messages, ceremony.watch(&Evaluators::of_founding(statements)).is_ok())
    });
    format!("{:?}", ceremonies.collect::<Vec<_>>())
}

fn days() -> impl Strategy<Value = u64> {
    prop_oneof![Just(9u64), Just(15), Just(26)]
}

#[test]
fn any_order_and_duplication_keeps_the_same_of_ceremonies_and_has_the_same_evaluators() {
    let world = World::new(Network::keyless(5));
    let seen = std::cell::RefCell::new(BTreeMap::<&str, u32>::new());
    let count = |what: &'static str, is_so: bool| {
        *seen.borrow_mut().entry(what).or_default() += u32::from(is_so);
    };
    proptest!(ProptestConfig::with_cases(CASES), |(
        acts in vec(act(2..3), 100..360),
        orders in any::<[u64; 2]>(),
        day_of in days(),
    )| {
        let now = day(day_of);
        let all = world.all(&acts);
        let one = hear(&world.network, &all, now);
        let roster = one.roster(now);
        for order in orders {
            // Some come twice.
            let mut other = shuffled(&all, order);
            other.extend(all.iter().take(order as usize % all.len()).cloned());
            let other = hear(&world.network, &shuffled(&other, order), now);
            let missing: Vec<_> = one.hashes().filter(|hash| !other.has(hash)).collect();
            prop_assert!(missing.is_empty(), "{missing:?} of {}", one.len());
            prop_assert!(other.hashes().eq(one.hashes()));
            prop_assert!(written(&other.roster(now)) == written(&roster));
            prop_assert_eq!(under_way(&other), under_way(&one));
            let adopted = |of: &Statements| of.law(now).evaluators().adopted.clone();
            prop_assert_eq!(adopted(&other), adopted(&one));
        }
        let again = Statements::read(&one.write(), None, now).unwrap();
        prop_assert!(again.hashes().eq(one.hashes()));
        prop_assert_eq!(under_way(&again), under_way(&one));
        for hash in one.hashes() {
            prop_assert_eq!(name(&one.get(hash).unwrap()), *hash);
        }
        let law = one.law(now);
        let has = |number: usize| one.has(&name(&world.network.called(&world.calls[number])));
        count("a call of a steward to come", has(5));
        count("a call for longer than at first", has(6));
        count("one of two calls of one number", has(1) || has(2));
        let two = |one: &Ceremony| {
            let slots: Vec<_> = one.messages().map(|(slot, _)| slot).collect();
            slots.windows(2).any(|pair| pair[0] == pair[1])
        };
        count("a contradiction", one.ceremonies().any(|(_, ceremony)| two(ceremony)));
        let joined = world.network.parties[5].id;
        let of_joined = one.ceremonies().any(|(_, ceremony)| {
            ceremony.messages().any(|(_, message)| message.organization == joined)
        });
        count("a message of one that has joined", of_joined);
        let told: Vec<_> = all.iter().filter(|bytes| !one.has(&name(bytes))).collect();
        count("something that is not kept", !told.is_empty());
        let version = roster.evaluators().version;
        count("a key", version > 0);
        count("a key handed on", version == 2);
        count("another key", roster.evaluators().sets.len() == 2);
        count("former evaluators", !roster.evaluators().former.is_empty());
        let follows_none = law.proposals().any(|(_, decision)| {
            matches!(&decision.proposal.change, Change::Evaluators(record)
                if decision.state == State::Superseded && !law.evaluators().adopted.contains_key(&record.ceremony))
        });
        count("what does not follow", follows_none);
    });
    // The statements were rich enough to say something.
    for (what, times) in seen.into_inner() {
        assert!(times > 0, "never {what}");
    }
}

#[test]
fn nodes_that_offer_each_other_all_they_have_agree_on_ceremonies_when_keys_are_revoked() {
    let world = World::new(Network::keyless(5));
    let cut_off = std::cell::Cell::new(0);
    proptest!(ProptestConfig::with_cases(CASES), |(
        acts in vec(act(1..3), 100..260),
        order in any::<u64>(),
        day_of in days(),
    )| {
        let now = day(day_of);
        let all = world.all(&acts);
        let mut one = hear(&world.network, &all, now);
        let mut other = hear(&world.network, &shuffled(&all, order), now);
        let (others, _): (Vec<_>, Vec<_>) =
            acts.into_iter().partition(|act| !matches!(act, Act::Keys { .. }));
        let unrevoked = hear(&world.network, &world.all(&others), now);
        let is_cut_off = |ceremony: &Ceremony| {
            let mut messages = ceremony.messages();
            messages.any(|(_, message)| !one.has(&message.hash()))
        };
        let cut = unrevoked.ceremonies().any(|(_, ceremony)| is_cut_off(ceremony));
        cut_off.set(cut_off.get() + u32::from(cut));
        // As a comparison does: each takes what it lacks. What is gone from one is not pressed on it
        // for ever.
        for _ in 0..3 {
            let offer = |from: &Statements, to: &Statements| -> Vec<Vec<u8>> {
                let lacking = from.iter().filter(|(hash, _)| !to.has(hash));
                lacking.map(|(_, bytes)| bytes.into_owned()).collect()
            };
            for bytes in offer(&one, &other) {
                let _ = other.take(&bytes, now);
            }
            for bytes in offer(&other, &one) {
                let _ = one.take(&bytes, now);
            }
        }
        let missing: Vec<_> = one.hashes().filter(|hash| !other.has(hash)).collect();
        prop_assert!(missing.is_empty(), "{missing:?} of {}", one.len());
        prop_assert!(other.hashes().eq(one.hashes()));
        prop_assert_eq!(under_way(&other), under_way(&one));
        // Nothing is kept by a key that does not count.
        for (_, ceremony) in one.ceremonies() {
            for (_, message) in ceremony.messages() {
                let known = &one.organizations[&message.organization];
                let (_, valid) = known.transport_key(&message.key_id()).unwrap();
                prop_assert!(valid.contains(&message.issued));
            }
        }
    });
    assert!(cut_off.get() > 0, "no revocation ever mattered");
}

#[test]
fn no_fewer_than_the_threshold_change_the_evaluators() {
    for founders in [4, 5] {
        let mut network = Network::keyless(founders);
        let founding = ContentHash(network.id().0);
        let key = Key::of_epoch(1);
        let made = record(1, founding, vec![key.set(&network, &[0, 1, 2], 1)]);
        let made = network.decide(Change::Evaluators(made), day(1));
        let handed_on = record(2, id_of(&made), vec![key.set(&network, &[1, 2, 3], 2)]);
        let handed_on = network.decide(Change::Evaluators(handed_on), day(2));
        for at in [3, 20] {
            for party in 0..founders {
                let beat = network.heartbeat(party, &[&made, &handed_on], day(at));
                network.say(beat);
            }
        }
        let mut world = World::new(network.clone());
        // What follows the law, at several times; the law itself; and the stewards it takes.
        for at in [2, 11, 20, 29] {
            let set = key.set(&network, &[0, 1, 3], 3);
            let others = Key::of_epoch(2).set(&network, &[0, 1, 2], 1);
            for next in [vec![set.clone()], vec![set, others.clone()], vec![others]] {
                let next = record(3, id_of(&handed_on), next);
                world.proposals.push(network.proposal(Change::Evaluators(next), day(at)));
            }
            let rival = record(2, id_of(&made), vec![key.set(&network, &[0, 1], 2)]);
            world.proposals.push(network.proposal(Change::Evaluators(rival), day(at)));
            let epoch = network.epoch(1, founding, &[0, 1]);
            world.proposals.push(network.proposal(epoch, day(at)));
        }
        world.proposals.extend([made, handed_on.clone()]);
        let all = world.proposals.len();
        let thieves = network.threshold() - 1;
        let honest = network.statements(day(30));
        let before: Vec<_> =
            [30, 37, 60, 85].map(|at| honest.roster(day(at)).evaluators().clone()).into();
        assert_eq!(before[0].version, 2);
        let taken = std::cell::Cell::new(0);
        proptest!(ProptestConfig::with_cases(CASES), |(
            acts in vec((act(2..3), 0..all), 1..80),
        )| {
            let mut statements = honest.clone();
            for (act, at) in &acts {
                let theirs = |party: usize| match party % (thieves + 3) {
                    at if at < thieves => at,
                    at => founders + at - thieves,
                };
                // Govern keys and roots of too few, and everything of whoever is no steward. Parties
                // of ceremonies say what they like.
                let act = match act.clone() {
                    Act::Approve { steward, hour, .. } => {
                        Act::Approve { steward: theirs(steward), proposal: *at, hour }
                    }
                    Act::Beat { party, mut proposals, hour } => {
                        proposals.push(*at);
                        Act::Beat { party: theirs(party), proposals, hour }
                    }
                    Act::Keys { party, version, revoked, hour } => {
                        Act::Keys { party: theirs(party), version, revoked, hour }
                    }
                    other => other,
                };
                let bytes = world.say(&act);
                let new = bytes.and_then(|bytes| statements.take(&bytes, day(30)).ok());
                taken.set(taken.get() + new.map_or(0, |taken| taken.new.len()));
            }
            for (at, before) in [30, 37, 60, 85].into_iter().zip(&before) {
                let roster = statements.roster(day(at));
                prop_assert_eq!(roster.evaluators(), before);
            }
        });
        assert!(taken.get() > 0, "nothing was taken up");
        // One key more does it.
        let next = record(3, id_of(&handed_on), vec![key.set(&network, &[0, 1, 3], 3)]);
        network.decide(Change::Evaluators(next), day(20));
        assert_eq!(network.roster(day(30)).evaluators().version, 3);
    }
}
