//! Receivers and dealers that say different things to different parties.

use super::*;

/// Two runs of one party, with two seeds, each heard by its own half.
fn two_faced<'a>(mut players: Vec<Player<'a>>, at: usize, half: &[usize]) -> Vec<Player<'a>> {
    let mut second = players[at].clone();
    second.seed += 1000;
    let last = players.len();
    players[at].reaches = Some((0..last).filter(|other| !half.contains(other)).collect());
    second.reaches = Some(half.iter().copied().chain([last]).collect());
    players.push(second);
    players
}

#[test]
fn nobody_finishes_when_a_dealer_shows_two_dealings() {
    let (old, shares) = generated(3, 5, 40);
    let tasks = [generation(1, 3, 5), resharing(2, &old, &[1, 2, 3, 4, 5], 3, 5)];
    for (dice, half) in (420..).zip([&[0][..], &[3, 4], &[0, 2, 3]]) {
        for task in &tasks {
            let players = match task {
                Task::Generate(_) => generating(task, 41),
                Task::Reshare(_) => handing_on(task, &shares, &same_seats(1..=5), 41),
            };
            let players = two_faced(players, 1, half);
            let ended = settle(players, &mut seeded(dice), &mut unchanged);
            for (at, (player, progress)) in ended.iter().enumerate() {
                if player.who().dealer == Some(2) {
                    continue;
                }
                match failed(progress) {
                    Fault::Disputed { receiver, dealers } => {
                        assert_eq!(dealers, &[index(2)]);
                        let other = usize::from(receiver.get() - 1);
                        assert_ne!(half.contains(&other), half.contains(&at), "of one half");
                    }
                    fault => panic!("{fault}"),
                }
            }
        }
    }
}

#[test]
fn a_dealer_that_shows_both_to_all_is_convicted() {
    let task = generation(1, 2, 3);
    let mut players = generating(&task, 42);
    players.push(Player { seed: 43_000, ..players[1].clone() });
    let twice = at_dealer(2, Reason::Contradiction(MessageKind::Dealing));
    let mut confirmed = 0;
    for (player, progress) in settle(players, &mut seeded(430), &mut unchanged) {
        if let (Some(1 | 3), None) = (player.who().dealer, &player.kept) {
            assert_eq!(failed(&progress), &twice);
        } else {
            confirmed += 1;
        }
        assert!(!matches!(progress, Progress::Done(_)));
    }
    assert!(confirmed < 4, "somebody saw both in time");
}

/// 2 agrees, and says something else besides, to everybody or to some, before or after.
#[test]
fn a_receiver_that_contradicts_itself_stops_nobody_from_agreeing() {
    let (old, shares) = generated(2, 3, 44);
    let tasks = [generation(1, 2, 3), resharing(2, &old, &[1, 2, 3], 2, 3)];
    for dice in 440..446 {
        for task in &tasks {
            let mut players = match task {
                Task::Generate(_) => generating(task, 45),
                Task::Reshare(_) => handing_on(task, &shares, &same_seats(1..=3), 45),
            };
            players.push(watcher(task));
            let mut also_says_otherwise = |due: &Due, to: &Player<'_>| {
                let mut arriving = vec![due.bytes.clone()];
                if due.kind == MessageKind::Confirmation
                    && due.from.index() == index(2)
                    && to.who().receiver != Some(2)
                {
                    for at in [36, 70] {
                        let mut other = due.bytes.clone();
                        other[at] ^= 1;
                        arriving.push(other);
                    }
                    arriving.push(vec![0; 9]);
                }
                arriving
            };
            all_done(settle(players, &mut seeded(dice), &mut also_says_otherwise));
        }
    }
}

#[test]
fn only_the_agreeing_one_helps() {
    let task = generation(1, 2, 3);
    let players = generating(&task, 46);
    let all = gathered(&players);
    let second = all.confirmations.iter().find(|(from, _)| from.get() == 2).unwrap().1.clone();
    let changed = |positions: &[usize]| {
        let mut bytes = second.clone();
        positions.iter().for_each(|at| bytes[*at] ^= 1);
        bytes
    };
    let without: Vec<_> =
        all.confirmations.iter().filter(|(from, _)| from.get() != 2).cloned().collect();
    let ask = |said: &[Vec<u8>]| {
        let mut messages = Messages { confirmations: without.clone(), ..all.clone() };
        messages.confirmations.extend(said.iter().map(|bytes| (index(2), bytes.clone())));
        players[0].ask(&messages)
    };
    let wrong = at_receiver(2, Reason::WrongConfirmation);
    let disputed = Fault::Disputed { receiver: index(2), dealers: vec![index(3)] };
    // Transcript and third dealing changed, or only one of them.
    let other_dealing = changed(&[36, 70 + 2 * 32]);
    for (said, expected) in [
        (vec![changed(&[36])], &wrong),
        (vec![changed(&[70])], &wrong),
        (vec![other_dealing.clone()], &disputed),
        (vec![changed(&[36]), changed(&[37])], &wrong),
    ] {
        let answer = ask(&said);
        assert_eq!(failed(&answer.progress), expected);
        assert!(answer.confirms(), "so that all learn of it");
        // And then it comes after all, passed on by one that it agreed with.
        let late = ask(&[said, vec![second.clone()]].concat());
        done(late.progress);
    }
    // While others are missing the fault is there already, and goes away all the same.
    let mut early = Messages { confirmations: Vec::new(), ..all.clone() };
    early.confirmations.push((index(2), other_dealing.clone()));
    assert_eq!(failed(&players[0].ask(&early).progress), &disputed);
    early.confirmations.push((index(2), second.clone()));
    let Progress::Confirming { missing, .. } = players[0].ask(&early).progress else {
        panic!("3 is missing")
    };
    assert_eq!(missing, [Party::Receiver(index(3))]);
}

/// The transcript that is announced is the one that comes out.
#[test]
fn the_transcript_is_known_before_the_end() {
    let task = generation(1, 2, 3);
    let players = generating(&task, 47);
    let mut all = gathered(&players);
    let outcome = done(players[0].ask(&all).progress);
    all.confirmations.clear();
    for player in players.iter().chain([&watcher(&task)]) {
        let Progress::Confirming { missing, transcript } = player.ask(&all).progress else {
            panic!("nobody has confirmed")
        };
        assert_eq!(transcript, outcome.transcript());
        assert_eq!(missing.len(), if player.who().receiver.is_some() { 2 } else { 3 });
    }
}
