//! Frames that are no messages, halves of messages, and hellos from whoever.

use std::rc::Rc;

use signpost_keys::SecretKey;
use signpost_node::{
    core::{completeness::CauseKind, local::LocateError},
    network::{Plane, Verdict},
};
use signpost_protocol::{
    ContentHash, NetworkId, PublicKey, Timestamp,
    codec::{self, Bounded},
    digest::{DigestsAnswer, DigestsRequest},
    hello::{HelloAnswer, HelloRequest, Regard, VERSIONS},
    limits,
    locate::RefusalCode,
    roster::Standing,
};
use signpost_tests::{
    founding::Plan,
    sim::{Fate, Network},
};

use crate::common::{
    ASKER, HOLDER, Seen, assert_honest, causes, create, network, now, only, patient, refused,
};

/// What is nobody's message: nothing, zeros, text, a deep nesting, an endless length.
fn garbage() -> Vec<Vec<u8>> {
    vec![
        Vec::new(),
        vec![0; 100],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0x81; 1_000],
        vec![0xd2; 1_000],
        vec![0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        vec![0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        vec![0xff; 1_000],
    ]
}

/// An unread request: a code where the plane has codes, silence where it has none.
fn assert_unread(plane: Plane, reply: Option<Vec<u8>>) {
    match plane {
        Plane::Ask | Plane::Evaluate => assert_eq!(refused(reply), RefusalCode::Malformed),
        Plane::Hello | Plane::Digests | Plane::Roster => {
            assert!(reply.is_none(), "{plane:?} was answered")
        }
    }
}

#[test]
fn garbage_on_any_plane_is_refused() {
    let mut network = network(50);
    let peer = network.key(ASKER);
    for plane in Plane::ALL {
        for frame in garbage() {
            let reply = network.exchange(peer, HOLDER, plane, frame);
            assert_unread(plane, reply);
        }
    }
    for frame in garbage() {
        assert_eq!(network.gossip(ASKER, HOLDER, frame), Verdict::Reject);
    }
    assert_honest(&mut network);
}

/// One honest frame of every kind of request and of gossip, caught before it arrived.
fn honest_frames(network: &mut Network) -> Vec<(Option<Plane>, Vec<u8>)> {
    let seen: Seen<(Option<Plane>, Vec<u8>)> = Rc::default();
    let kept = seen.clone();
    network.meddle(move |frame| {
        let mut kept = kept.borrow_mut();
        let wanted = !frame.is_reply && frame.from == ASKER && frame.to == HOLDER;
        if wanted && !kept.iter().any(|(plane, _)| *plane == frame.plane) {
            kept.push((frame.plane, frame.bytes.to_vec()));
            return Fate::Drop;
        }
        Fate::Pass
    });
    // A new pointer is gossiped, a new patient blinded, a known one asked about; hello and
    // comparison come by themselves when the connection is made anew.
    create(network, ASKER, patient(60));
    network.set_cut(ASKER, HOLDER, true);
    network.run_for(10);
    network.set_cut(ASKER, HOLDER, false);
    for n in 61..70 {
        let _ = network.locate(ASKER, patient(n));
    }
    network.run_for(40_000);
    create(network, ASKER, patient(71));
    network.run_for(2_000);
    let _ = network.locate(ASKER, patient(1));
    network.behave();
    assert_eq!(seen.borrow().len(), 6, "five planes and gossip");
    seen.take()
}

#[test]
fn half_messages_are_refused_wherever_they_end() {
    let mut network = network(51);
    for (plane, whole) in honest_frames(&mut network) {
        let peer = network.key(ASKER);
        let ends = (0..whole.len()).step_by((whole.len() / 40).max(1)).chain([whole.len() - 1]);
        for end in ends {
            let half = whole[..end].to_vec();
            match plane {
                Some(plane) => {
                    let reply = network.exchange(peer, HOLDER, plane, half);
                    assert_unread(plane, reply);
                }
                None => assert_eq!(network.gossip(ASKER, HOLDER, half), Verdict::Reject),
            }
        }
        let mut longer = whole.clone();
        longer.push(0);
        match plane {
            Some(plane) => {
                let reply = network.exchange(peer, HOLDER, plane, longer);
                assert_unread(plane, reply);
            }
            None => assert_eq!(network.gossip(ASKER, HOLDER, longer), Verdict::Reject),
        }
    }
    assert_honest(&mut network);
}

#[test]
fn garbage_as_an_answer_makes_the_result_partial() {
    let mut network = network(53);
    assert_honest(&mut network);
    for reply in garbage() {
        network.meddle(move |frame| {
            let hit = frame.plane == Some(Plane::Ask) && frame.is_reply && frame.to == ASKER;
            if hit { Fate::Replace(reply.clone()) } else { Fate::Pass }
        });
        let found = network.locate(ASKER, patient(1)).unwrap();
        assert_eq!(causes(&found), only(CauseKind::AnswerRefused, HOLDER));
        assert!(found.pointers.is_empty());
    }
    assert_honest(&mut network);
}

#[test]
fn half_an_answer_makes_the_result_partial() {
    let mut network = network(54);
    assert_honest(&mut network);
    for part in 0..20 {
        network.meddle(move |frame| {
            let hit = frame.plane == Some(Plane::Ask) && frame.is_reply && frame.to == ASKER;
            let end = frame.bytes.len() * part / 20;
            if hit { Fate::Replace(frame.bytes[..end].to_vec()) } else { Fate::Pass }
        });
        let found = network.locate(ASKER, patient(1)).unwrap();
        assert_eq!(causes(&found), only(CauseKind::AnswerRefused, HOLDER));
    }
    assert_honest(&mut network);
}

#[test]
fn no_answer_makes_the_result_partial_within_its_deadline() {
    let mut network = network(54);
    assert_honest(&mut network);
    network.meddle(|frame| {
        let hit = frame.plane == Some(Plane::Ask) && frame.is_reply && frame.to == ASKER;
        if hit { Fate::Drop } else { Fate::Pass }
    });
    let before = network.now;
    let found = network.locate(ASKER, patient(1)).unwrap();
    assert_eq!(causes(&found), only(CauseKind::Unreachable, HOLDER));
    assert!(network.now - before < 3_500, "took {} ms", network.now - before);
    assert_honest(&mut network);
}

#[test]
fn garbage_from_every_evaluator_is_an_error_and_never_an_empty_result() {
    let mut network = network(52);
    for (reply, n) in garbage().into_iter().zip(100..) {
        network.meddle(move |frame| {
            let hit = frame.plane == Some(Plane::Evaluate) && frame.is_reply && frame.to == ASKER;
            if hit { Fate::Replace(reply.clone()) } else { Fate::Pass }
        });
        let found = network.locate(ASKER, patient(n));
        assert!(matches!(found, Err(LocateError::TooFewEvaluators { needed: 3, .. })));
        assert_honest(&mut network);
    }
}

#[test]
fn garbage_as_a_hello_or_on_the_digests_plane_harms_nothing() {
    for plane in [Plane::Hello, Plane::Digests] {
        let mut network = network(55);
        for reply in garbage() {
            network.meddle(move |frame| {
                let hit = frame.plane == Some(plane) && frame.is_reply && frame.to == ASKER;
                if hit { Fate::Replace(reply.clone()) } else { Fate::Pass }
            });
            network.set_cut(ASKER, HOLDER, true);
            network.run_for(10);
            network.set_cut(ASKER, HOLDER, false);
            network.run_for(35_000);
            let found = network.locate(ASKER, patient(1)).unwrap();
            assert_eq!(found.pointers.len(), 1);
        }
        assert_honest(&mut network);
    }
}

fn hello(network: &mut Network, peer: PublicKey, change: impl FnOnce(&mut HelloRequest)) -> Regard {
    let mut hello = HelloRequest {
        versions: Bounded::new(VERSIONS.to_vec()).unwrap(),
        network: network.roster.network(),
        now: now(network),
        joining: None,
    };
    change(&mut hello);
    let reply = network.exchange(peer, HOLDER, Plane::Hello, codec::encode(&hello)).unwrap();
    assert!(reply.len() < 64, "a hello tells no more than it must");
    let answer: HelloAnswer =
        codec::decode("hello answer", &reply, limits::HELLO_FRAME_BYTES_MAX).unwrap();
    answer.regard
}

#[test]
fn a_hello_says_how_its_sender_is_regarded() {
    let mut network = network(56);
    let member = network.key(ASKER);
    let stranger = SecretKey::from_seed(&[9; 32]).public();
    assert_eq!(hello(&mut network, member, |_| {}), Regard::Member);
    assert_eq!(hello(&mut network, stranger, |_| {}), Regard::Stranger);
    // A member's pointer key is no transport key.
    let pointer = crate::common::pointer_key(&network, ASKER).public();
    assert_eq!(hello(&mut network, pointer, |_| {}), Regard::Stranger);
    for peer in [member, stranger] {
        let regard = hello(&mut network, peer, |hello| hello.network = NetworkId([9; 32]));
        assert_eq!(regard, Regard::OtherNetwork);
        let versions = Bounded::new(vec![900, 901]).unwrap();
        assert_eq!(hello(&mut network, peer, |h| h.versions = versions), Regard::Version);
    }
    let later =
        |by: i64| move |h: &mut HelloRequest| h.now = Timestamp(h.now.0.saturating_add_signed(by));
    for (by, regard) in [
        (119_000, Regard::Member),
        (-119_000, Regard::Member),
        (121_000, Regard::Clock),
        (-121_000, Regard::Clock),
    ] {
        assert_eq!(hello(&mut network, member, later(by)), regard, "{by} ms");
    }
    assert_honest(&mut network);
}

#[test]
fn a_suspended_member_is_told_so() {
    let plan = Plan { standings: vec![(3, Standing::Suspended)], ..Plan::of(5) };
    let mut network = Network::new(&plan, 57);
    network.run_for(1_000);
    let suspended = network.key(3);
    assert_eq!(hello(&mut network, suspended, |_| {}), Regard::Suspended);
}

#[test]
fn a_stranger_gets_nothing_on_the_digests_plane() {
    let mut network = network(58);
    let stranger = SecretKey::from_seed(&[9; 32]).public();
    let organization = network.nodes[HOLDER].founder.organization;
    let node = network.nodes[HOLDER].founder.node;
    for request in [
        DigestsRequest::Compare(ContentHash([0; 32])),
        DigestsRequest::Heads(Bounded::new(vec![(organization, node)]).unwrap()),
        DigestsRequest::Blob(ContentHash([0; 32]), 0),
    ] {
        let frame = codec::encode(&request);
        assert!(network.exchange(stranger, HOLDER, Plane::Digests, frame.clone()).is_none());
        let member = network.key(ASKER);
        let reply = network.exchange(member, HOLDER, Plane::Digests, frame).unwrap();
        let max = limits::DIGESTS_ANSWER_FRAME_BYTES_MAX;
        assert!(codec::decode::<DigestsAnswer>("digests answer", &reply, max).is_ok());
    }
}
