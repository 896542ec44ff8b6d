//! Nodes whose clock is wrong, and nodes that came back from an old back-up.

use signpost_node::core::{
    completeness::CauseKind,
    local::{
        Confirmation, Draft, Effect, LocalReply, LocalRequest, LocateError, NewId, Put,
        WRITES_PER_REQUEST_MAX, Write, WriteError,
    },
};
use signpost_protocol::{PointerState, Timestamp, codec, digest::DigestsAnswer, limits};
use signpost_tests::{
    founding::{FOUNDED, Plan},
    sim::{Fate, Network},
};

use crate::common::{
    ASKER, HOLDER, assert_honest, causes, create, draft, network, now, only, patient,
};

fn is_named_clock_wrong(network: &mut Network, patient_number: u32) -> bool {
    is_named_clock_wrong_at(network, ASKER, patient_number)
}

fn is_named_clock_wrong_at(network: &mut Network, at: usize, patient_number: u32) -> bool {
    match network.locate(at, patient(patient_number)) {
        Ok(found) => {
            assert!(!found.completeness.is_complete(), "a wrong clock is never complete");
            causes(&found).iter().any(|(kind, _)| *kind == CauseKind::ClockWrong)
        }
        Err(LocateError::TooFewEvaluators { .. }) => false,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_clock_that_jumps_makes_the_node_unready_and_its_results_partial() {
    for skew in [130_000, -130_000, 3_600_000, -3_600_000] {
        let mut network = network(40);
        assert_honest(&mut network);
        network.nodes[ASKER].skew = skew;
        network.run_for(15_000);
        assert!(!network.status(ASKER).ready, "off by {skew} ms");
        // The locator is known from before, so no evaluator needs to be asked.
        assert!(is_named_clock_wrong(&mut network, 1), "off by {skew} ms");
        // For a new patient the evaluators refuse: an error, never an empty result.
        is_named_clock_wrong(&mut network, 77);
        let others = network.locate(1, patient(1)).unwrap();
        assert!(others.completeness.is_complete(), "the others are not harmed");
        network.nodes[ASKER].skew = 0;
        network.run_for(15_000);
        assert!(network.status(ASKER).ready);
        assert_honest(&mut network);
    }
}

#[test]
fn a_clock_within_what_is_allowed_is_no_matter() {
    for skew in [100_000, -100_000] {
        let mut network = network(41);
        network.nodes[ASKER].skew = skew;
        network.run_for(15_000);
        assert!(network.status(ASKER).ready);
        assert_honest(&mut network);
        assert!(network.locate(ASKER, patient(77)).unwrap().completeness.is_complete());
    }
}

#[test]
fn a_node_that_starts_with_a_wrong_clock_says_so() {
    let mut network = network(42);
    network.kill(ASKER);
    network.nodes[ASKER].skew = 200_000;
    network.start(ASKER);
    network.run_for(15_000);
    assert!(!network.status(ASKER).ready);
    assert!(network.status(ASKER).notices.iter().any(|notice| notice.contains("clock")));
    is_named_clock_wrong(&mut network, 1);
}

/// What is missing is said of the holder, as of when, until its admin confirms.
fn assert_restored(network: &mut Network, as_of: Timestamp, last: u64) {
    let status = network.status(HOLDER);
    assert!(status.serves[0].digest_version.unwrap() > last, "it goes on above its last head");
    for at in [1, ASKER] {
        let found = network.locate(at, patient(1)).unwrap();
        assert_eq!(causes(&found), only(CauseKind::Restored, HOLDER));
        let since = found.completeness.causes()[0].since.unwrap();
        assert!(since <= as_of, "nothing after the back-up can be relied on: {since:?} {as_of:?}");
    }
}

fn confirm(network: &mut Network) -> bool {
    match network.call(HOLDER, LocalRequest::ConfirmRestored) {
        LocalReply::ConfirmRestored(confirmation) => confirmation == Confirmation::Done,
        _ => unreachable!("the core replies in kind"),
    }
}

#[test]
fn a_node_restored_from_a_back_up_is_named_until_it_is_confirmed() {
    let mut network = network(43);
    let backup = network.back_up(HOLDER);
    let as_of = now(&network);
    network.run_for(5_000);
    for n in 10..14 {
        create(&mut network, HOLDER, patient(n));
        network.run_for(1_000);
    }
    let last = network.status(HOLDER).serves[0].digest_version.unwrap();
    network.kill(HOLDER);
    network.restore(HOLDER, &backup);
    network.start(HOLDER);
    network.run_for(5_000);
    assert_restored(&mut network, as_of, last);
    let lost = network.locate(ASKER, patient(10)).unwrap();
    assert_eq!(causes(&lost), only(CauseKind::Restored, HOLDER));

    // It is still so after another restart.
    network.kill(HOLDER);
    network.start(HOLDER);
    network.run_for(5_000);
    assert_restored(&mut network, as_of, last);

    for n in 10..14 {
        create(&mut network, HOLDER, patient(n));
    }
    assert!(confirm(&mut network));
    network.run_for(5_000);
    assert_honest(&mut network);
    let found = network.locate(ASKER, patient(10)).unwrap();
    assert!(found.completeness.is_complete(), "{:?}", found.completeness);
    assert_eq!(found.pointers.len(), 1);
    assert!(!confirm(&mut network), "there is nothing left to confirm");
}

#[test]
fn a_node_restored_to_just_before_its_last_head_is_named_too() {
    let mut network = network(44);
    let backup = network.back_up(HOLDER);
    let as_of = now(&network);
    create(&mut network, HOLDER, patient(10));
    network.run_for(1_000);
    let last = network.status(HOLDER).serves[0].digest_version.unwrap();
    network.kill(HOLDER);
    network.restore(HOLDER, &backup);
    network.start(HOLDER);
    network.run_for(5_000);
    assert_restored(&mut network, as_of, last);
}

#[test]
fn a_node_restored_while_nobody_can_be_reached_is_named_once_somebody_can() {
    let mut network = network(47);
    let backup = network.back_up(HOLDER);
    let as_of = now(&network);
    create(&mut network, HOLDER, patient(10));
    network.run_for(1_000);
    let last = network.status(HOLDER).serves[0].digest_version.unwrap();
    network.kill(HOLDER);
    network.restore(HOLDER, &backup);
    let cut = |network: &mut Network, cut| (1..5).for_each(|at| network.set_cut(HOLDER, at, cut));
    cut(&mut network, true);
    network.start(HOLDER);
    // Long enough for heads of its own to pass the number of the last, were they issued.
    network.run_for(700_000);
    cut(&mut network, false);
    network.run_for(60_000);
    assert_restored(&mut network, as_of, last);
}

#[test]
fn a_node_that_lost_everything_is_named_since_the_founding() {
    let mut network = network(45);
    let last = network.status(HOLDER).serves[0].digest_version.unwrap();
    network.kill(HOLDER);
    network.wipe(HOLDER);
    network.start(HOLDER);
    network.run_for(5_000);
    assert_restored(&mut network, FOUNDED, last);
}

#[test]
fn a_node_that_only_restarts_is_not_called_restored() {
    let mut network = network(46);
    network.kill(HOLDER);
    network.start(HOLDER);
    network.run_for(5_000);
    assert_honest(&mut network);
    assert!(network.status(HOLDER).serves[0].restored_as_of.is_none());
}

#[test]
fn a_restored_node_is_never_believed_while_it_finds_out() {
    let mut network = network(48);
    let backup = network.back_up(HOLDER);
    create(&mut network, HOLDER, patient(10));
    network.run_for(2_000);
    network.kill(HOLDER);
    network.restore(HOLDER, &backup);
    network.start(HOLDER);
    let begun = network.now;
    while network.now < begun + 5_000 {
        for at in [HOLDER, ASKER] {
            let found = network.locate(at, patient(10)).unwrap();
            assert!(found.pointers.is_empty(), "it is lost");
            assert!(!found.completeness.is_complete(), "after {} ms", network.now - begun);
        }
    }
    let found = network.locate(ASKER, patient(10)).unwrap();
    assert_eq!(causes(&found), only(CauseKind::Restored, HOLDER));
}

#[test]
fn a_restored_node_is_not_fooled_by_a_peer_that_knows_less() {
    const BEHIND: usize = 1;
    let mut network = network(49);
    let cut = |network: &mut Network, from: &[usize], cut| {
        from.iter().for_each(|at| network.set_cut(HOLDER, *at, cut));
    };
    // One peer misses what comes.
    (0..5).filter(|at| *at != BEHIND).for_each(|at| network.set_cut(BEHIND, at, true));
    let backup = network.back_up(HOLDER);
    let as_of = now(&network);
    create(&mut network, HOLDER, patient(10));
    network.run_for(2_000);
    let last = network.status(HOLDER).serves[0].digest_version.unwrap();
    network.kill(HOLDER);
    network.restore(HOLDER, &backup);
    // The restored node hears that one alone at first, for much longer than it waits.
    cut(&mut network, &[2, 3, 4], true);
    network.set_cut(HOLDER, BEHIND, false);
    network.start(HOLDER);
    network.run_for(60_000);
    cut(&mut network, &[2, 3, 4], false);
    for at in 2..5 {
        network.set_cut(BEHIND, at, false);
    }
    network.run_for(30_000);
    assert_restored(&mut network, as_of, last);
    let found = network.locate(ASKER, patient(10)).unwrap();
    assert_eq!(causes(&found), only(CauseKind::Restored, HOLDER));
}

#[test]
fn a_node_whose_heads_cannot_be_had_waits() {
    let mut network = network(50);
    let backup = network.back_up(HOLDER);
    let stored = network.status(HOLDER).serves[0].digest_version;
    let as_of = now(&network);
    create(&mut network, HOLDER, patient(10));
    network.run_for(2_000);
    let last = network.status(HOLDER).serves[0].digest_version.unwrap();
    network.kill(HOLDER);
    network.restore(HOLDER, &backup);
    // The later head is announced, but every answer with the head itself is lost.
    network.meddle(|frame| {
        let is_heads = frame.to == HOLDER
            && frame.is_reply
            && matches!(
                codec::decode("answer", frame.bytes, limits::DIGESTS_ANSWER_FRAME_BYTES_MAX),
                Ok(DigestsAnswer::Heads(_))
            );
        if is_heads { Fate::Drop } else { Fate::Pass }
    });
    network.start(HOLDER);
    network.run_for(30_000);
    assert_eq!(network.status(HOLDER).serves[0].digest_version, stored);
    let found = network.locate(ASKER, patient(10)).unwrap();
    assert_eq!(causes(&found), only(CauseKind::AnswerRefused, HOLDER));
    network.behave();
    network.run_for(60_000);
    assert_restored(&mut network, as_of, last);
}

#[test]
fn a_node_whose_clock_is_wrong_signs_no_pointer_and_still_deletes() {
    let mut network = network(60);
    let written = create(&mut network, HOLDER, patient(2));
    network.nodes[HOLDER].skew = 3_600_000;
    network.run_for(15_000);
    let write = Write::Create { id: NewId::Random, draft: draft(HOLDER, patient(2)) };
    match network.write(HOLDER, vec![write]).remove(0) {
        Err(WriteError::CannotSign(reason)) => assert!(reason.contains("clock"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let delete = Write::Delete { id: written.id, if_match: None };
    assert_eq!(network.write(HOLDER, vec![delete]).remove(0).unwrap().effect, Effect::Deleted);
    network.nodes[HOLDER].skew = 0;
    network.run_for(15_000);
    create(&mut network, HOLDER, patient(2));
    network.run_for(2_000);
    let found = network.locate(ASKER, patient(2)).unwrap();
    assert!(found.completeness.is_complete(), "{:?}", found.completeness);
    assert_eq!(found.pointers.len(), 1);
}

#[test]
fn one_peer_with_a_wrong_clock_keeps_nobody_from_publishing() {
    let mut network = Network::settled(&Plan::of(2), 63);
    network.nodes[1].skew = 3_600_000;
    network.run_for(15_000);
    assert!(is_named_clock_wrong_at(&mut network, 0, 1), "who is right cannot be told: it is said");
    let written = create(&mut network, 0, patient(2));
    assert_eq!(written.effect, Effect::Created);
}

#[test]
fn a_pointer_that_was_signed_by_a_wrong_clock_is_signed_again_when_it_is_sent_again() {
    let mut network = network(61);
    let id = create(&mut network, HOLDER, patient(2)).id;
    // A day ahead, and just started: nobody has told it yet.
    network.kill(HOLDER);
    network.nodes[HOLDER].skew = 24 * 3_600_000;
    network.start(HOLDER);
    let superseded = Draft { state: PointerState::Superseded, ..draft(HOLDER, patient(2)) };
    let source = "default".parse().unwrap();
    let put = Write::Put(Put { id: NewId::Given(id), draft: superseded, source });
    let first = network.write(HOLDER, vec![put.clone()]).remove(0).unwrap();
    assert_eq!((first.effect, first.version), (Effect::Updated, 2));
    network.kill(HOLDER);
    network.nodes[HOLDER].skew = 0;
    network.start(HOLDER);
    network.run_for(30_000);
    let found = network.locate(ASKER, patient(2)).unwrap();
    assert_eq!(causes(&found), only(CauseKind::AnswerRefused, HOLDER));
    let again = network.write(HOLDER, vec![put.clone()]).remove(0).unwrap();
    assert_eq!((again.effect, again.version), (Effect::Updated, 3));
    let found = network.locate(ASKER, patient(2)).unwrap();
    assert!(found.completeness.is_complete(), "{:?}", found.completeness);
    assert_eq!(found.pointers.len(), 1);
    let third = network.write(HOLDER, vec![put]).remove(0).unwrap();
    assert_eq!(third.effect, Effect::Unchanged, "what others believe is left alone");
}

#[test]
fn what_a_crash_kept_from_being_advertised_is_in_the_digest_before_the_next_head() {
    // More than the change lists of the smallest filter take, so that a new one has to be built.
    const UNADVERTISED: u32 = 400;
    let mut network = network(62);
    let head = network.status(HOLDER).serves[0].digest_version;
    let numbers: Vec<u32> = (100..100 + UNADVERTISED).collect();
    let tickets: Vec<_> = numbers
        .chunks(WRITES_PER_REQUEST_MAX)
        .map(|numbers| {
            let put =
                |n: &u32| Write::Create { id: NewId::Random, draft: draft(HOLDER, patient(*n)) };
            network.begin(HOLDER, LocalRequest::Write(numbers.iter().map(put).collect()))
        })
        .collect();
    for ticket in tickets {
        let reply = loop {
            network.run_for(1);
            if let Some(reply) = network.reply(HOLDER, ticket) {
                break reply;
            }
        };
        let LocalReply::Write(results) = reply else { panic!("{reply:?}") };
        assert!(results.iter().all(Result::is_ok), "{results:?}");
    }
    // Killed before any of them was advertised.
    assert_eq!(network.status(HOLDER).serves[0].digest_version, head);
    network.kill(HOLDER);
    // A large trust's filter takes minutes to build.
    network.nodes[HOLDER].build_time = 20_000;
    network.start(HOLDER);
    let in_use = |network: &Network| {
        let status = network.status(ASKER);
        status.peers.iter().find(|peer| peer.ods == "ORG0").and_then(|peer| peer.digest_version)
    };
    let before = in_use(&network);
    // Whoever has a head of this life finds everything.
    while in_use(&network) == before {
        network.run_for(50);
        assert!(network.now < 600_000, "no head was issued any more");
    }
    for n in [100, 99 + UNADVERTISED] {
        let found = network.locate(ASKER, patient(n)).unwrap();
        assert!(found.completeness.is_complete(), "{:?}", found.completeness);
        assert_eq!(found.pointers.len(), 1, "a head said that it had been in");
    }
}
