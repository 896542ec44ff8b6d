//! Over random damage.

use proptest::prelude::*;

use super::*;

/// What is done to one message.
#[derive(Clone, Debug)]
enum Damage {
    Drop,
    Flip(usize, u8),
    Cut(usize),
    Lengthen(u8),
    /// Left as it is, with a changed one beside it.
    Double(usize, u8),
    /// Under another sender.
    Move(u16),
}

fn damages() -> impl Strategy<Value = Vec<(usize, usize, Damage)>> {
    let damage = prop_oneof![
        Just(Damage::Drop),
        (0usize..300, 1u8..).prop_map(|(at, change)| Damage::Flip(at, change)),
        (0usize..300).prop_map(Damage::Cut),
        any::<u8>().prop_map(Damage::Lengthen),
        (0usize..300, 1u8..).prop_map(|(at, change)| Damage::Double(at, change)),
        (1u16..6).prop_map(Damage::Move),
    ];
    proptest::collection::vec((0usize..4, any::<usize>(), damage), 0..5)
}

fn apply(messages: &mut Messages, damages: &[(usize, usize, Damage)]) {
    for (kind, place, damage) in damages {
        let list = list(messages, KINDS[*kind]);
        if list.is_empty() {
            continue;
        }
        let place = place % list.len();
        let changed = |at: usize, change: u8| {
            let mut bytes = list[place].1.clone();
            let at = at % bytes.len().max(1);
            bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= change);
            bytes
        };
        match *damage {
            Damage::Drop => drop(list.swap_remove(place)),
            Damage::Flip(at, change) => list[place].1 = changed(at, change),
            Damage::Cut(length) => list[place].1.truncate(length),
            Damage::Lengthen(byte) => list[place].1.push(byte),
            Damage::Double(at, change) => {
                let double = (list[place].0, changed(at, change));
                list.push(double);
            }
            Damage::Move(number) => list[place].0 = index(number),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// No bytes make it panic, no order makes a difference, and whoever is done has the one key set.
    #[test]
    fn damage_never_makes_outcomes_differ(damages in damages(), reshared: bool, seed in 0u64..4) {
        let (old, shares) = generated(2, 3, seed);
        let task =
            if reshared { resharing(2, &old, &[1, 2], 2, 3) } else { generation(1, 2, 3) };
        let mut players = if reshared {
            handing_on(&task, &shares, &same_seats([1]), seed)
        } else {
            generating(&task, seed)
        };
        let all = gathered(&players);
        let Progress::Done(outcome) = players[0].ask(&all).progress else { panic!("not done") };
        let mut damaged = all;
        apply(&mut damaged, &damages);
        players.push(watcher(&task));
        for player in &players {
            if let Progress::Done(other) = player.ask(&damaged).progress {
                prop_assert_eq!(other.keys(), outcome.keys());
                prop_assert_eq!(other.transcript(), outcome.transcript());
                let own = other.share().map(|share| (share.index(), share.public()));
                prop_assert!(own.is_none_or(|own| outcome.keys().shares().contains(&own)));
            }
        }
    }

    /// Nor do bytes that are no messages at all.
    #[test]
    fn no_bytes_make_it_panic(
        bytes in proptest::collection::vec(
            (0usize..4, 1u16..5, proptest::collection::vec(any::<u8>(), 0..120)), 0..8,
        ),
    ) {
        let task = generation(1, 2, 3);
        let mut messages = Messages::default();
        for (kind, from, bytes) in bytes {
            list(&mut messages, KINDS[kind]).push((index(from), bytes));
        }
        generating(&task, 70)[0].ask(&messages);
        watcher(&task).ask(&messages);
    }
}
