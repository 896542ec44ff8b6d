//! Evaluators that make the network's key themselves, and hand it on, while the network works.

use signpost_keys::{SecretKey, blinding::ceremony::Dealing, sign};
use signpost_node::{
    core::{local::LocateError, rows},
    store::Store as _,
};
use signpost_protocol::{
    ContentHash,
    codec::ByteString,
    roster::{CeremonyMessage, Change, Parameters},
};
use signpost_tests::{founding::Plan, sim::Network};

use super::{SHORT, agree_within, finds_all};
use crate::common::{create, patient};

/// Durations in which an old share counts for a minute after its successor is in force.
const QUICK: Parameters = Parameters {
    head_interval: 20_000,
    head_age_max: 60_000,
    heartbeat_interval: 60_000,
    heartbeat_warn: 120_000,
    governance_age_max: 600_000,
    disclosure_age_max: 1_200_000,
    ..SHORT
};

/// Seven organizations without a key, the first five of them stewards.
fn without_key(seed: u64) -> Network {
    let plan = Plan { parameters: QUICK, evaluators: 0, threshold: 0, ..Plan::of(7) };
    Network::settled(&plan, seed)
}

/// Calls to a ceremony at node 1, and has these nodes join.
fn begin(
    network: &mut Network,
    set: (&[usize], u16),
    dealers: &[usize],
    join: &[usize],
) -> ContentHash {
    let (id, call) = network.ceremony_call(1, set, dealers);
    network.submit(1, vec![call]).remove(0).unwrap();
    network.run_for(2_000);
    for at in join {
        network.join_ceremony(*at, id).unwrap();
    }
    id
}

/// Waits until a node sees that all have confirmed.
#[track_caller]
fn complete(network: &mut Network, at: usize, id: ContentHash) -> Change {
    for _ in 0..60 {
        if let Ok(change) = network.ceremony_outcome(at, id) {
            return change;
        }
        network.run_for(500);
    }
    panic!("not complete: {:?}", network.ceremony_outcome(at, id));
}

/// Plays a ceremony to its end, and puts what came out in force.
fn play(network: &mut Network, set: (&[usize], u16), dealers: &[usize], join: &[usize]) {
    let id = begin(network, set, dealers, join);
    let change = complete(network, 2, id);
    network.decide(2, change);
    network.run_for(2_000);
    agree_within(network, 10_000);
}

fn share_epochs(network: &Network) -> Vec<Option<u32>> {
    network.running().map(|at| network.status(at).evaluators.share_epoch).collect()
}

#[test]
fn a_network_makes_its_key_and_nobody_finds_anything_before() {
    let mut network = without_key(200);
    let error = network.locate(0, patient(1)).unwrap_err();
    assert!(matches!(error, LocateError::NoKey), "{error}");
    network.write(0, vec![create(0, patient(1))]).remove(0).unwrap_err();
    play(&mut network, (&[0, 1, 2, 3, 4], 3), &[], &[0, 1, 2, 3, 4]);
    for at in [0, 5] {
        network.write(at, vec![create(at, patient(1))]).remove(0).unwrap();
    }
    network.run_for(2_000);
    for at in 0..7 {
        finds_all(&mut network, at).unwrap();
        let evaluators = network.status(at).evaluators;
        assert!(!evaluators.dealt && !evaluators.lacks_share, "ORG{at}");
        assert_eq!(evaluators.connected.len(), 5, "ORG{at}");
    }
    // Any three will do, also after a restart, and two will not.
    for at in 0..7 {
        network.kill(at);
        network.start(at);
    }
    network.run_for(10_000);
    [0, 3].into_iter().for_each(|at| network.kill(at));
    network.locate(6, patient(2)).unwrap();
    network.kill(1);
    let error = network.locate(6, patient(3)).unwrap_err();
    assert!(matches!(error, LocateError::TooFewEvaluators { .. }), "{error}");
}

#[test]
fn parties_that_are_killed_at_any_time_go_on_where_they_were() {
    for seed in 210..222 {
        let mut network = without_key(seed);
        let evaluators = [0, 1, 2, 3, 4];
        let (id, call) = network.ceremony_call(1, (&evaluators, 3), &[]);
        network.submit(1, vec![call]).remove(0).unwrap();
        network.run_for(2_000);
        for at in evaluators {
            network.join_ceremony(at, id).unwrap();
            network.run_for(seed * 37 % 300);
            let victim = (at + seed as usize) % 5;
            network.kill(victim);
            network.run_for(seed * 53 % 700);
            network.start(victim);
            network.run_for(2_000);
        }
        let change = complete(&mut network, 6, id);
        network.decide(2, change);
        network.run_for(2_000);
        agree_within(&mut network, 10_000);
        network.write(0, vec![create(0, patient(1))]).remove(0).unwrap();
        network.run_for(2_000);
        let found = network.locate(6, patient(1)).unwrap();
        assert_eq!(found.pointers.len(), 1, "seed {seed}");
    }
}

#[test]
fn whoever_does_not_take_part_is_named_and_another_attempt_does_without() {
    let mut network = without_key(230);
    let id = begin(&mut network, (&[0, 1, 2, 3], 2), &[], &[0, 1, 2]);
    network.run_for(10_000);
    let waiting = network.ceremony_outcome(5, id).unwrap_err();
    assert!(waiting.contains('4') && waiting.contains("Dealing"), "{waiting}");
    network.join_ceremony(6, id).unwrap_err();
    network.join_ceremony(5, ContentHash([9; 32])).unwrap_err();
    play(&mut network, (&[0, 1, 2], 2), &[], &[0, 1, 2]);
    network.locate(6, patient(1)).unwrap();
    // The first attempt has gone with the call that took its place.
    assert_eq!(network.ceremony_outcome(5, id).unwrap_err(), "it is not known");
}

#[test]
fn shares_are_handed_on_while_look_ups_go_on() {
    let mut network = without_key(240);
    play(&mut network, (&[0, 1, 2, 3, 4], 3), &[], &[0, 1, 2, 3, 4]);
    for at in [0, 5] {
        network.write(at, vec![create(at, patient(1))]).remove(0).unwrap();
    }
    network.run_for(2_000);
    let mut fresh = 10;
    let mut look_up = |network: &mut Network| {
        for at in [6, 5, 0] {
            finds_all(network, at).unwrap();
            fresh += 1;
            let found = network.locate(at, patient(fresh)).unwrap();
            assert!(found.completeness.is_complete() && found.pointers.is_empty());
        }
    };
    // A refresh, one without a holder that is away, others and more of them, fewer.
    let steps: [(&[usize], u16, &[usize]); 4] = [
        (&[0, 1, 2, 3, 4], 3, &[0, 1, 2, 3, 4]),
        (&[0, 1, 2, 3, 4], 3, &[0, 1, 2]),
        (&[5, 6, 1, 2, 3, 4, 0], 4, &[0, 1, 2, 3, 4]),
        (&[6, 5, 0], 2, &[0, 1, 2, 3, 4, 5, 6]),
    ];
    for (round, (evaluators, threshold, dealers)) in steps.into_iter().enumerate() {
        let (id, call) = network.ceremony_call(1, (evaluators, threshold), dealers);
        network.submit(1, vec![call]).remove(0).unwrap();
        network.run_for(2_000);
        let mut parties = [evaluators, dealers].concat();
        parties.sort_unstable();
        parties.dedup();
        for at in parties {
            network.join_ceremony(at, id).unwrap();
            look_up(&mut network);
        }
        let change = complete(&mut network, 2, id);
        look_up(&mut network);
        network.decide(2, change);
        for _ in 0..8 {
            look_up(&mut network);
            network.run_for(3_000);
        }
        agree_within(&mut network, 10_000);
        assert_eq!(share_epochs(&network), [Some(round as u32 + 2); 7]);
        // By now the old shares are gone, and nobody answers by them.
        network.run_for(130_000);
        look_up(&mut network);
        for at in 0..7 {
            let rows = network.nodes[at].store.scan(rows::CEREMONIES_PREFIX, None, 100).unwrap();
            assert_eq!(rows.len(), usize::from(evaluators.contains(&at)), "ORG{at}, round {round}");
        }
    }
}

#[test]
fn a_dealer_that_shows_two_dealings_ends_the_attempt_and_is_named() {
    let mut network = without_key(250);
    let id = begin(&mut network, (&[0, 1, 2], 2), &[], &[0]);
    network.run_for(2_000);
    // What another attempt would have made it show, under this one's name.
    let statements = network.statements_at(5);
    let ceremony = statements.ceremony(&id).unwrap();
    let (_, shown) = ceremony.messages().next().unwrap();
    let mut bytes = shown.message.to_vec();
    let other = Dealing::from_bytes(&bytes).unwrap();
    // Another ephemeral key: any element will do, such as the first commitment.
    let commitment = bytes[70..102].to_vec();
    bytes[36..68].copy_from_slice(&commitment);
    let second = Dealing::from_bytes(&bytes).unwrap();
    assert!(second.contradicts(&other));
    let founder = &network.nodes[0].founder;
    let body = CeremonyMessage {
        organization: founder.organization,
        ceremony: id,
        message: ByteString::new(bytes).unwrap(),
        issued: network.true_time(),
    };
    let key = SecretKey::from_seed(&founder.transport);
    let signed = sign(body, &key, &network.statements.network()).bytes().to_vec();
    network.submit(3, vec![signed]).remove(0).unwrap();
    for at in [1, 2] {
        network.join_ceremony(at, id).unwrap();
    }
    network.run_for(10_000);
    for at in 0..7 {
        let why = network.ceremony_outcome(at, id).unwrap_err();
        assert!(why.contains("two different") && why.contains('1'), "{why}");
    }
    // And the network can make its key without it.
    play(&mut network, (&[1, 2, 3], 2), &[], &[1, 2, 3]);
    network.locate(6, patient(1)).unwrap();
}
