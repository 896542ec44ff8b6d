//! Without anybody who cheats an attempt ends well, whatever the order in which messages come.

use super::*;
use crate::blinding::ceremony::RoleError;

#[test]
fn a_generation_in_any_order_gives_one_key() {
    let task = generation(1, 3, 5);
    let mut first = None;
    for dice in 400..404 {
        let mut players = generating(&task, 10);
        players.push(watcher(&task));
        let (keys, shares) = all_done(settle(players, &mut seeded(dice), &mut unchanged));
        let expected =
            one_key_outputs(&reconstructed(&shares.iter().take(3).collect::<Vec<_>>()), 2);
        for subset in subsets(&shares, 3) {
            assert_eq!(outputs(&keys, 3, &subset, 2).unwrap(), expected);
        }
        assert_eq!(first.get_or_insert(keys.clone()), &keys, "the seeds alone settle the key");
    }
}

#[test]
fn a_resharing_in_any_order_keeps_the_key() {
    let (old, shares) = generated(3, 4, 20);
    let some: Vec<_> = shares.iter().take(3).collect();
    let expected = outputs(&old, 3, &some, 2).unwrap();
    /// Dealers, threshold, receivers, and which dealer gets which new index.
    type Case = (&'static [u16], usize, usize, &'static [(u16, u16)]);
    let cases: [Case; 4] = [
        // To more: one dealer leaves, two change seats, 3 holds a share and does not deal it.
        (&[1, 2, 4], 4, 7, &[(1, 1), (2, 5)]),
        // To more, by all.
        (&[1, 2, 3, 4], 4, 7, &[(1, 1), (2, 2), (3, 3), (4, 4)]),
        // Refreshes, by all and by some.
        (&[1, 2, 3, 4], 3, 4, &[(1, 1), (2, 2), (3, 3), (4, 4)]),
        (&[1, 3, 4], 3, 4, &[(1, 1), (3, 3), (4, 4)]),
    ];
    for (dice, (dealers, threshold, receivers, seats)) in (410..).zip(cases) {
        let task = resharing(2, &old, dealers, threshold, receivers);
        let seats = seats.iter().copied().collect();
        let mut players = handing_on(&task, &shares, &seats, 21);
        players.push(watcher(&task));
        let (new, again) = all_done(settle(players, &mut seeded(dice), &mut unchanged));
        assert_eq!(new.group_public(), old.group_public());
        for subset in subsets(&again, threshold).iter().step_by(5) {
            assert_eq!(outputs(&new, threshold, subset, 2).unwrap(), expected);
        }
    }
}

#[test]
fn what_is_due_comes_in_order_and_stays() {
    let (old, shares) = generated(2, 3, 22);
    let task = resharing(2, &old, &[1, 2], 2, 3);
    let players = handing_on(&task, &shares, &same_seats([1]), 23);
    let all = gathered(&players);
    let stages = [
        Messages::default(),
        Messages { dealings: all.dealings.clone(), ..Messages::default() },
        Messages { shares: Vec::new(), ..all.clone() },
        Messages { confirmations: Vec::new(), ..all.clone() },
        all,
    ];
    use MessageKind::{Confirmation, Dealing, Enrolment, SealedShare};
    let both = vec![Dealing, Enrolment];
    let sealed = [both.clone(), vec![SealedShare; 2]].concat();
    let confirmed = [sealed.clone(), vec![Confirmation]].concat();
    let deals = vec![Dealing];
    let dealt = vec![Dealing, SealedShare, SealedShare, SealedShare];
    let expected = [
        // 1 deals and receives, 2 deals, 2 and 3 are newcomers.
        [both.clone(), both, sealed, confirmed.clone(), confirmed],
        [deals.clone(), deals, dealt.clone(), dealt.clone(), dealt],
    ];
    for (player, expected) in players.iter().zip(expected) {
        for (messages, expected) in stages.iter().zip(expected) {
            let answer = player.ask(messages);
            let kinds: Vec<_> = answer.due.iter().map(|due| due.kind).collect();
            assert_eq!(kinds, expected);
            assert_eq!(answer.confirms(), kinds.contains(&Confirmation));
            for due in &answer.due {
                let (from, who) = (due.from, player.who());
                let own = match from {
                    Party::Dealer(_) => who.dealer,
                    Party::Receiver(_) => who.receiver,
                };
                assert_eq!(Some(from.index().get()), own);
                assert_eq!(due.receiver.is_some(), due.kind == SealedShare);
                assert_ne!(due.receiver.map(EvaluatorIndex::get), who.receiver.or(Some(0)));
            }
        }
    }
}

#[test]
fn only_roles_of_the_task_begin() {
    let (old, shares) = generated(2, 3, 24);
    let generate = generation(1, 2, 3);
    let reshare = resharing(2, &old, &[1, 2], 2, 3);
    let receiver = Role::Reshares(ReshareRole::Receiver(index(4)));
    let third = Role::Reshares(ReshareRole::Dealer(&shares[2]));
    let cases = [
        (&generate, Role::Generates(index(3)), None),
        (&generate, Role::Generates(index(4)), Some(RoleError::NotADealer(index(4)))),
        (&generate, third, Some(RoleError::OtherTask)),
        (&reshare, Role::Generates(index(1)), Some(RoleError::OtherTask)),
        (&reshare, third, Some(RoleError::NotADealer(index(3)))),
        (&reshare, receiver, Some(RoleError::NotAReceiver(index(4)))),
        (&generate, Role::Watches, None),
        (&reshare, Role::Watches, None),
    ];
    for (task, role, expected) in cases {
        let answer = advance(task, role, &Messages::default(), &mut seeded(25));
        assert_eq!(answer.err(), expected, "{role:?}");
    }
    assert_eq!((generate.ceremony(), reshare.ceremony()), (id(1), id(2)));
}
