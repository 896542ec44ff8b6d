//! Who says nothing, too much, or what is wrong.

use super::*;
use crate::blinding::{
    ceremony::{
        MessageError, SealedShare,
        sealed::{KeyPair, Route},
    },
    suite::Element,
};

/// What 1 concludes of a 2-of-3 generation, and all its messages, after a change to them.
fn generate(change: impl Fn(&mut Messages)) -> Advance {
    let task = generation(1, 2, 3);
    let players = generating(&task, 30);
    let mut all = gathered(&players);
    change(&mut all);
    players[0].ask(&all)
}

/// The same of a resharing by 1 and 2 to 1, who stays, 2 and 3.
fn reshare(change: impl Fn(&mut Messages)) -> Advance {
    let (old, shares) = generated(2, 3, 31);
    let task = resharing(2, &old, &[1, 2], 2, 3);
    let players = handing_on(&task, &shares, &same_seats([1]), 32);
    let mut all = gathered(&players);
    change(&mut all);
    players[0].ask(&all)
}

/// The first message of a sender that passes; of sealed shares the one for evaluator 1.
fn of(messages: &mut Messages, kind: MessageKind, from: u16) -> &mut Vec<u8> {
    let found = list(messages, kind).iter_mut().find(|(sender, bytes)| {
        let for_first = |share: SealedShare| share.receiver() == index(1);
        sender.get() == from
            && (kind != MessageKind::SealedShare
                || SealedShare::from_bytes(bytes).is_ok_and(for_first))
    });
    &mut found.unwrap().1
}

/// Puts a message beside those that are there.
fn add(messages: &mut Messages, kind: MessageKind, from: u16, bytes: Vec<u8>) {
    list(messages, kind).push((index(from), bytes));
}

fn drop_from(messages: &mut Messages, kind: MessageKind, from: u16) {
    list(messages, kind).retain(|(sender, _)| sender.get() != from);
}

/// What is sent in another attempt with the same parties and seeds.
fn of_other_attempt(kind: MessageKind, from: u16, reshared: bool) -> Vec<u8> {
    let (old, shares) = generated(2, 3, 31);
    let task = if reshared { resharing(9, &old, &[1, 2], 2, 3) } else { generation(9, 2, 3) };
    let players = if reshared {
        handing_on(&task, &shares, &same_seats([1]), 32)
    } else {
        generating(&task, 30)
    };
    of(&mut gathered(&players), kind, from).clone()
}

fn waits_for(progress: &Progress) -> Vec<Party> {
    match progress {
        Progress::Dealing(missing)
        | Progress::Sharing(missing)
        | Progress::Confirming { missing, .. } => missing.clone(),
        other => panic!("not waiting: {other:?}"),
    }
}

fn due_kinds(answer: &Advance) -> Vec<MessageKind> {
    let mut kinds: Vec<_> = answer.due.iter().map(|due| due.kind).collect();
    kinds.dedup();
    kinds
}

#[test]
fn whoever_is_silent_is_listed() {
    let dealer = |number| Party::Dealer(index(number));
    let receiver = |number| Party::Receiver(index(number));
    let cases = [
        (MessageKind::Dealing, 2, dealer(2)),
        (MessageKind::Enrolment, 3, receiver(3)),
        (MessageKind::SealedShare, 2, dealer(2)),
        (MessageKind::Confirmation, 3, receiver(3)),
    ];
    for (kind, from, party) in cases {
        let silent = |all: &mut Messages| drop_from(all, kind, from);
        let mut answers = vec![reshare(silent)];
        if kind != MessageKind::Enrolment {
            answers.push(generate(silent));
        }
        for answer in answers {
            assert_eq!(waits_for(&answer.progress), [party]);
            let waits_in_turn = match kind {
                MessageKind::Dealing | MessageKind::Enrolment => {
                    matches!(answer.progress, Progress::Dealing(_))
                }
                MessageKind::SealedShare => matches!(answer.progress, Progress::Sharing(_)),
                MessageKind::Confirmation => {
                    matches!(answer.progress, Progress::Confirming { .. })
                }
            };
            assert!(waits_in_turn, "{kind}: {:?}", answer.progress);
        }
    }
    let nothing = generate(|all| *all = Messages::default());
    assert_eq!(waits_for(&nothing.progress), [dealer(2), dealer(3)], "not for itself");
}

#[test]
fn two_first_messages_of_one_sender_end_it() {
    let other = |task: &Task| {
        let role = Role::Generates(index(2));
        advance(task, role, &Messages::default(), &mut seeded(33)).unwrap().due[0].bytes.clone()
    };
    let task = generation(1, 2, 3);
    let answer = generate(|all| add(all, MessageKind::Dealing, 2, other(&task)));
    let twice = at_dealer(2, Reason::Contradiction(MessageKind::Dealing));
    assert_eq!(failed(&answer.progress), &twice);
    assert_eq!(due_kinds(&answer), [MessageKind::Dealing]);
    // Even before the others are there.
    let answer = generate(|all| {
        drop_from(all, MessageKind::Dealing, 3);
        add(all, MessageKind::Dealing, 2, other(&task));
    });
    assert_eq!(failed(&answer.progress), &twice);

    let answer = reshare(|all| {
        let (first, third) =
            (of(all, MessageKind::Enrolment, 2).clone(), of(all, MessageKind::Enrolment, 3));
        let other = [&first[..36], &third[36..]].concat();
        add(all, MessageKind::Enrolment, 2, other);
    });
    let twice = at_receiver(2, Reason::Contradiction(MessageKind::Enrolment));
    assert_eq!(failed(&answer.progress), &twice);
}

#[test]
fn a_second_sealed_share_is_wrong() {
    for (at, expected) in [
        (40, Reason::NotOpened),
        (85, Reason::NotOpened),
        (1, Reason::Malformed(MessageError::Kind(5))),
        (35, Reason::OtherSender(index(3))),
    ] {
        let change = |all: &mut Messages| {
            let mut second = of(all, MessageKind::SealedShare, 2).clone();
            second[at] ^= 1;
            add(all, MessageKind::SealedShare, 2, second);
        };
        for answer in [generate(change), reshare(change)] {
            assert_eq!(failed(&answer.progress), &at_dealer(2, expected.clone()));
            assert!(!answer.confirms());
        }
    }
}

#[test]
fn a_share_that_was_not_committed_to_is_wrong() {
    // The first thing that the seed of evaluator 2 gives is its ephemeral key.
    let pair = KeyPair::generate(&mut seeded(31));
    let answer = generate(|all| {
        let key = of(all, MessageKind::Dealing, 1)[36..68].try_into().unwrap();
        let receiver_key = Element::decode(key).unwrap();
        let route = Route {
            ceremony: id(1),
            dealer: index(2),
            receiver: index(1),
            dealer_key: &pair.public,
            receiver_key: &receiver_key,
        };
        *of(all, MessageKind::SealedShare, 2) = route.seal(&pair, &Scalar::from(5u8)).to_bytes();
    });
    assert_eq!(failed(&answer.progress), &at_dealer(2, Reason::WrongShare));
    assert_eq!(due_kinds(&answer), [MessageKind::Dealing, MessageKind::SealedShare]);
}

/// A message, what is done to it, and what its sender is then at fault for.
#[test]
fn a_bad_message_is_its_senders_fault_even_beside_a_good_one() {
    type Case = (MessageKind, u16, fn(&mut Vec<u8>), Reason);
    let cases: [Case; 9] = [
        (MessageKind::Dealing, 2, Vec::clear, Reason::Malformed(MessageError::Short)),
        (MessageKind::Dealing, 2, |b| b.push(0), Reason::Malformed(MessageError::Trailing(1))),
        (MessageKind::Dealing, 2, |b| b[0] = 2, Reason::Malformed(MessageError::Format(2))),
        (MessageKind::Dealing, 2, |b| b[35] = 1, Reason::OtherSender(index(1))),
        (MessageKind::SealedShare, 2, |b| b.truncate(85), Reason::Malformed(MessageError::Short)),
        (MessageKind::SealedShare, 2, |b| b[50] ^= 1, Reason::NotOpened),
        (MessageKind::Confirmation, 2, |b| b[36] ^= 1, Reason::WrongConfirmation),
        (MessageKind::Confirmation, 2, |b| b[1] = 3, Reason::Malformed(MessageError::Kind(3))),
        (MessageKind::Confirmation, 2, |b| b[35] = 3, Reason::OtherSender(index(3))),
    ];
    for (kind, from, change, reason) in cases {
        let instead = |all: &mut Messages| change(of(all, kind, from));
        let beside = |all: &mut Messages| {
            let mut bad = of(all, kind, from).clone();
            change(&mut bad);
            add(all, kind, from, bad);
        };
        let expected = match kind {
            MessageKind::Confirmation => at_receiver(from, reason),
            _ => at_dealer(from, reason),
        };
        for answer in [generate(instead), reshare(instead)] {
            assert_eq!(failed(&answer.progress), &expected);
        }
        for answer in [generate(beside), reshare(beside)] {
            if kind == MessageKind::Confirmation {
                done(answer.progress);
            } else {
                assert_eq!(failed(&answer.progress), &expected);
            }
        }
    }
    // Of a resharing's own messages.
    let answer = reshare(|all| of(all, MessageKind::Enrolment, 3).push(0));
    let trailing = Reason::Malformed(MessageError::Trailing(1));
    assert_eq!(failed(&answer.progress), &at_receiver(3, trailing));
    let answer = reshare(|all| {
        let opening = of(all, MessageKind::Dealing, 1)[70..102].to_vec();
        of(all, MessageKind::Dealing, 2)[70..102].copy_from_slice(&opening);
    });
    assert_eq!(failed(&answer.progress), &at_dealer(2, Reason::OtherSecret));
}

#[test]
fn a_proof_that_does_not_hold_is_the_dealers_fault() {
    let answer = generate(|all| {
        let dealing = of(all, MessageKind::Dealing, 2);
        let scalar = dealing.len() - 32;
        dealing[scalar..].copy_from_slice(Scalar::from(9u8).as_bytes());
    });
    assert_eq!(failed(&answer.progress), &at_dealer(2, Reason::WrongProof));
}

#[test]
fn a_message_of_another_attempt_is_as_good_as_none() {
    for kind in KINDS {
        for reshared in [false, true] {
            if !reshared && kind == MessageKind::Enrolment {
                continue;
            }
            let ask = |change: &dyn Fn(&mut Messages)| {
                if reshared { reshare(change) } else { generate(change) }
            };
            let replayed = of_other_attempt(kind, 2, reshared);
            let good = shown(&ask(&|_| ()));
            assert_eq!(shown(&ask(&|all| add(all, kind, 2, replayed.clone()))), good);
            let instead = ask(&|all| *of(all, kind, 2) = replayed.clone());
            assert_eq!(waits_for(&instead.progress).len(), 1, "the right one is missing");
            assert_eq!(waits_for(&instead.progress)[0].index(), index(2));
        }
    }
}

#[test]
fn a_share_of_another_attempt_does_not_open_under_this_ones_name() {
    let mut renamed = of_other_attempt(MessageKind::SealedShare, 2, false);
    renamed[2..34].copy_from_slice(id(1).as_bytes());
    let answer = generate(|all| *of(all, MessageKind::SealedShare, 2) = renamed.clone());
    assert_eq!(failed(&answer.progress), &at_dealer(2, Reason::NotOpened));
}

#[test]
fn strays_change_nothing() {
    let good = (shown(&generate(|_| ())), shown(&reshare(|_| ())));
    for junk in [Vec::new(), vec![7; 10], vec![1; 3_000]] {
        let strays = |all: &mut Messages| {
            for kind in KINDS {
                let copied = list(all, kind).first().map(|(_, bytes)| bytes.clone());
                for bytes in [Some(junk.clone()), copied].into_iter().flatten() {
                    add(all, kind, 4, bytes.clone());
                    add(all, kind, 60_000, bytes);
                }
            }
        };
        assert_eq!(shown(&generate(strays)), good.0);
        assert_eq!(shown(&reshare(strays)), good.1);
        // Of parties that owe nothing of the kind: 3 does not deal, and nobody enrols for a new key.
        let reshared = reshare(|all| {
            add(all, MessageKind::Dealing, 3, junk.clone());
            add(all, MessageKind::SealedShare, 3, junk.clone());
        });
        assert_eq!(shown(&reshared), good.1);
        let generated = generate(|all| add(all, MessageKind::Enrolment, 2, junk.clone()));
        assert_eq!(shown(&generated), good.0);
    }
    // A share for somebody else, wrong besides.
    let for_other = |all: &mut Messages| {
        let mut bytes = of(all, MessageKind::SealedShare, 2).clone();
        bytes[37] = 3;
        bytes[50] ^= 1;
        add(all, MessageKind::SealedShare, 2, bytes);
    };
    assert_eq!(shown(&generate(for_other)), good.0);
    assert_eq!(shown(&reshare(for_other)), good.1);
}

/// A party that lost its seed, or the messages that it confirmed, says no second thing.
#[test]
fn nobody_contradicts_itself() {
    let task = generation(1, 2, 3);
    let players = generating(&task, 30);
    let all = gathered(&players);
    let mut forgetful = players[0].clone();
    forgetful.seed = 34;
    let answer = forgetful.ask(&all);
    let twice = |kind| Reason::Contradiction(kind);
    assert_eq!(failed(&answer.progress), &at_dealer(1, twice(MessageKind::Dealing)));
    assert_eq!(answer.due, []);

    let answer = generate(|all| {
        all.confirmations.retain(|(from, _)| from.get() != 1);
        let mut other = of(all, MessageKind::Confirmation, 2).clone();
        (other[35], other[36]) = (1, other[36] ^ 1);
        add(all, MessageKind::Confirmation, 1, other);
    });
    assert_eq!(failed(&answer.progress), &at_receiver(1, twice(MessageKind::Confirmation)));
    assert_eq!(due_kinds(&answer), [MessageKind::Dealing, MessageKind::SealedShare]);

    let other_share = |all: &mut Messages| {
        let own = all.shares.iter_mut().find(|(from, _)| from.get() == 1).unwrap();
        own.1[60] ^= 1;
    };
    for answer in [generate(other_share), reshare(other_share)] {
        assert_eq!(failed(&answer.progress), &at_dealer(1, twice(MessageKind::SealedShare)));
        assert!(!due_kinds(&answer).contains(&MessageKind::SealedShare));
    }
    let answer = reshare(|all| of(all, MessageKind::Enrolment, 1)[36] ^= 1);
    assert_eq!(failed(&answer.progress), &at_receiver(1, twice(MessageKind::Enrolment)));
    assert_eq!(answer.due, []);
}

#[test]
fn of_several_faults_the_same_is_named_in_any_order() {
    // `ask` shuffles.
    let answer = generate(|all| {
        of(all, MessageKind::Dealing, 3).push(0);
        of(all, MessageKind::Dealing, 2).push(0);
        add(all, MessageKind::Dealing, 2, Vec::new());
        of(all, MessageKind::Confirmation, 2)[36] ^= 1;
    });
    let short = Reason::Malformed(MessageError::Short);
    assert_eq!(failed(&answer.progress), &at_dealer(2, short));
}
