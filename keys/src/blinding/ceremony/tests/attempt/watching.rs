//! One that receives nothing concludes what the receivers do, and no more.

use super::*;

/// All messages of a resharing by 1 and 2, who leaves, to three; those who take no share; and what
/// comes out.
fn resharing_seen(check: impl Fn(&[Player<'_>], &Messages, &Outcome)) {
    let (old, shares) = generated(2, 3, 50);
    let task = resharing(2, &old, &[1, 2], 2, 3);
    let players = handing_on(&task, &shares, &same_seats([1]), 51);
    let all = gathered(&players);
    let outcome = done(players[0].ask(&all).progress);
    let dealer = players.iter().find(|player| player.who().receiver.is_none()).unwrap();
    check(&[watcher(&task), dealer.clone()], &all, &outcome);
}

fn assert_same(progress: Progress, outcome: &Outcome) {
    let seen = done(progress);
    assert_eq!(seen.keys(), outcome.keys());
    assert_eq!(seen.transcript(), outcome.transcript());
    assert!(seen.share().is_none());
}

#[test]
fn it_reaches_the_same_without_a_share() {
    let task = generation(1, 3, 5);
    let players = generating(&task, 52);
    let all = gathered(&players);
    let answer = watcher(&task).ask(&all);
    assert_eq!(answer.due, []);
    assert_same(answer.progress, &done(players[4].ask(&all).progress));

    resharing_seen(|players, all, outcome| {
        for player in players {
            assert_same(player.ask(all).progress, outcome);
        }
        let public = Messages { shares: Vec::new(), ..all.clone() };
        assert_same(players[0].ask(&public).progress, outcome);
        let answer = players[0].ask(&Messages::default());
        assert_eq!(answer.due, []);
        let Progress::Dealing(missing) = answer.progress else { panic!("nothing is there") };
        assert_eq!(missing.len(), 2 + 3, "dealings and enrolments");
    });
}

#[test]
fn it_is_not_done_before_all_have_confirmed() {
    resharing_seen(|players, all, outcome| {
        for absent in 1..=3 {
            let mut some = all.clone();
            some.confirmations.retain(|(from, _)| from.get() != absent);
            for player in players {
                let Progress::Confirming { missing, transcript } = player.ask(&some).progress
                else {
                    panic!("one is missing")
                };
                assert_eq!(missing, [Party::Receiver(index(absent))]);
                assert_eq!(transcript, outcome.transcript());
            }
        }
    });
}

/// Nothing freezes what they know, so what all receivers have signed has to.
#[test]
fn what_comes_after_all_have_agreed_does_not_undo_it() {
    resharing_seen(|players, all, outcome| {
        let mut after = all.clone();
        // Another dealing of 2, right in itself; one of 1 under 2's signature; and rubbish.
        let Role::Reshares(role) = players[1].role else { panic!("a dealer") };
        let Task::Reshare(plan) = players[1].task else { panic!("a resharing") };
        let other = DealingRound::reshare(plan.clone(), role, &mut seeded(53)).unwrap();
        after.dealings.push((index(2), other.dealing.unwrap().to_bytes()));
        let first = after.dealings.iter().find(|(from, _)| from.get() == 1).unwrap().1.clone();
        after.dealings.push((index(2), first));
        after.dealings.push((index(1), vec![1; 40]));
        // Other enrolments, or none.
        let third = after.enrolments.iter().find(|(from, _)| from.get() == 3).unwrap().1.clone();
        let mut second = third;
        second[35] = 2;
        after.enrolments.push((index(2), second));
        for player in players {
            assert_same(player.ask(&after).progress, outcome);
        }
        after.enrolments.clear();
        assert_same(players[0].ask(&after).progress, outcome);
        // Nor other confirmations, in whose place there is one that agrees.
        for (from, bytes) in all.confirmations.clone() {
            let mut other = bytes;
            other[90] ^= 1;
            after.confirmations.push((from, other));
        }
        for player in players {
            assert_same(player.ask(&after).progress, outcome);
        }
        // Without the dealing that they confirmed it takes nothing for it.
        after.dealings.retain(|(from, bytes)| {
            from.get() != 2 || all.dealings.iter().all(|(_, known)| known != bytes)
        });
        for player in players {
            assert!(!matches!(player.ask(&after).progress, Progress::Done(_)));
        }
    });
}

#[test]
fn a_receiver_that_freezes_is_not_moved_either() {
    let task = generation(1, 2, 3);
    let mut players = generating(&task, 54);
    let mut all = gathered(&players);
    let confirmations = std::mem::take(&mut all.confirmations);
    let dice = &mut seeded(450);
    for player in &mut players {
        player.known = all.clone();
        player.think(dice);
        assert!(player.kept.is_some());
        // Whatever comes now besides confirmations.
        player.known.dealings.extend([(index(2), vec![0; 9]), (index(3), Vec::new())]);
        player.known.shares.clear();
        player.known.confirmations = confirmations.clone();
        done(player.think(dice).1);
    }
}

#[test]
fn it_checks_what_can_be_checked() {
    let task = generation(1, 2, 3);
    let all = gathered(&generating(&task, 55));
    let bad = |change: fn(&mut Vec<u8>)| {
        let mut all = all.clone();
        change(&mut all.dealings.iter_mut().find(|(from, _)| from.get() == 2).unwrap().1);
        watcher(&task).ask(&all).progress
    };
    let cases: [fn(&mut Vec<u8>); 3] = [
        |bytes| {
            let scalar = bytes.len() - 32;
            bytes[scalar..].copy_from_slice(Scalar::from(9u8).as_bytes());
        },
        |bytes| {
            // Another commitment in place of the first.
            let second: [u8; 32] = bytes[102..134].try_into().unwrap();
            bytes[70..102].copy_from_slice(&second);
        },
        |bytes| {
            // Another element in place of the first half.
            let second: [u8; 32] = bytes[102..134].try_into().unwrap();
            let half = bytes.len() - 64;
            bytes[half..half + 32].copy_from_slice(&second);
        },
    ];
    for change in cases {
        assert_eq!(failed(&bad(change)), &at_dealer(2, Reason::WrongProof));
    }
    let degree = Reason::Degree { expected: 2, got: 1 };
    let progress = bad(|bytes| {
        bytes[69] = 1;
        bytes.drain(70..102);
    });
    assert_eq!(failed(&progress), &at_dealer(2, degree));
}
