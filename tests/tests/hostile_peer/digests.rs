//! Digest heads and their parts that must not be believed.

use std::rc::Rc;

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use signpost_keys::SecretKey;
use signpost_node::{
    core::completeness::CauseKind,
    digests::{FilterBuilder, SizeClass},
    network::{Plane, Verdict},
};
use signpost_protocol::{
    ContentHash,
    codec::{self, Bounded, ByteString},
    digest::{DigestHead, DigestsAnswer, DigestsRequest, FilterHead},
    limits,
};
use signpost_tests::sim::{Fate, Network};

use crate::common::{
    ASKER, HOLDER, Seen, assert_honest, body_of, causes, create, network, now, only, patient,
    pointer, pointer_key, sign,
};

/// Everything is found; the node whose newer head cannot be used is named, since what that head
/// stands for may be missing.
fn assert_doubted(network: &mut Network, writer: usize) {
    network.behave();
    let found = network.locate(ASKER, patient(1)).unwrap();
    assert_eq!(found.pointers.len(), 1);
    assert_eq!(causes(&found), only(CauseKind::DigestStale, writer));
}

/// The head that a node has issued last.
fn head(network: &mut Network, at: usize) -> DigestHead {
    let founder = &network.nodes[at].founder;
    let wanted = Bounded::new(vec![(founder.organization, founder.node)]).unwrap();
    let (peer, frame) = (network.key(1), codec::encode(&DigestsRequest::Heads(wanted)));
    let reply = network.exchange(peer, at, Plane::Digests, frame).unwrap();
    let max = limits::DIGESTS_ANSWER_FRAME_BYTES_MAX;
    match codec::decode("digests answer", &reply, max).unwrap() {
        DigestsAnswer::Heads(heads) => body_of(&heads[0]),
        other => panic!("{other:?}"),
    }
}

/// The version of the holder's digest that the asker uses.
fn in_use(network: &Network) -> u64 {
    let status = network.status(ASKER);
    let peer = status.peers.iter().find(|peer| peer.ods == "ORG0").unwrap();
    peer.digest_version.unwrap()
}

/// Offers the asker a successor of the holder's head, changed and signed by `key`.
fn offer(
    network: &mut Network,
    key: &SecretKey,
    change: impl FnOnce(&mut DigestHead),
) -> (Verdict, u64) {
    let mut head = head(network, HOLDER);
    head.version += 1;
    change(&mut head);
    let version = head.version;
    let frame = sign(network, head, key);
    (network.gossip(1, ASKER, frame), version)
}

fn change_filter(head: &mut DigestHead, change: impl FnOnce(&mut FilterHead)) {
    let mut filters = head.filters.to_vec();
    change(&mut filters[0]);
    head.filters = Bounded::new(filters).unwrap();
}

/// A head that differs from a good one in one point is not put to use, no part of it is fetched,
/// and what is in use still serves.
fn assert_not_taken(seed: u64, verdict: Verdict, change: impl FnOnce(&mut DigestHead)) {
    let mut network = network(seed);
    let key = pointer_key(&network, HOLDER);
    let before = in_use(&network);
    let fetched: Seen<()> = Rc::default();
    let counted = fetched.clone();
    network.meddle(move |frame| {
        let request = frame.plane == Some(Plane::Digests) && !frame.is_reply;
        let max = limits::DIGESTS_REQUEST_FRAME_BYTES_MAX;
        let is_blob = |bytes: &[u8]| {
            matches!(codec::decode("request", bytes, max), Ok(DigestsRequest::Blob(..)))
        };
        if request && is_blob(frame.bytes) {
            counted.borrow_mut().push(());
        }
        Fate::Pass
    });
    assert_eq!(offer(&mut network, &key, change).0, verdict);
    network.run_for(5_000);
    assert_eq!(in_use(&network), before);
    assert!(fetched.borrow().is_empty(), "a part of it was fetched");
    assert_honest(&mut network);
}

#[test]
fn a_newer_head_is_put_to_use() {
    let mut network = network(70);
    let key = pointer_key(&network, HOLDER);
    let (verdict, version) = offer(&mut network, &key, |_| {});
    assert_eq!(verdict, Verdict::Accept);
    network.run_for(5_000);
    assert_eq!(in_use(&network), version);
    assert_honest(&mut network);
}

#[test]
fn a_rolled_back_head_is_ignored() {
    let mut network = network(71);
    create(&mut network, HOLDER, patient(2));
    network.run_for(2_000);
    let key = pointer_key(&network, HOLDER);
    let before = in_use(&network);
    for back in [0, 1, 2, 1_000, before] {
        let (verdict, _) = offer(&mut network, &key, |head| head.version = before - back);
        assert_eq!(verdict, Verdict::Ignore);
    }
    network.run_for(5_000);
    assert_eq!(in_use(&network), before);
    assert_honest(&mut network);
}

#[test]
fn a_second_head_of_the_same_version_is_ignored() {
    assert_not_taken(71, Verdict::Ignore, |head| {
        head.version -= 1;
        head.expires = head.expires.plus(1);
    });
}

#[test]
fn a_head_from_the_future_is_ignored() {
    let mut network = network(72);
    let key = pointer_key(&network, HOLDER);
    let before = in_use(&network);
    let future = now(&network).plus(130_000);
    let (verdict, _) = offer(&mut network, &key, |head| head.issued = future);
    assert_eq!(verdict, Verdict::Ignore);
    network.run_for(1_000);
    assert_eq!(in_use(&network), before);
    let soon = now(&network).plus(60_000);
    let (verdict, _) = offer(&mut network, &key, |head| head.issued = soon);
    assert_eq!(verdict, Verdict::Accept, "clocks may differ a little");
    assert_honest(&mut network);
}

#[test]
fn a_head_signed_by_another_key_is_refused() {
    let mut network = network(73);
    let before = in_use(&network);
    for key in [
        pointer_key(&network, 1),
        crate::common::transport_key(&network, HOLDER),
        SecretKey::from_seed(&[9; 32]),
    ] {
        assert_eq!(offer(&mut network, &key, |_| {}).0, Verdict::Reject);
    }
    network.run_for(5_000);
    assert_eq!(in_use(&network), before);
    assert_honest(&mut network);
}

#[test]
fn a_head_of_another_organizations_node_is_refused() {
    let mut network = network(74);
    let (node, organization) =
        (network.nodes[1].founder.node, network.nodes[1].founder.organization);
    let key = pointer_key(&network, HOLDER);
    assert_eq!(offer(&mut network, &key, |head| head.node = node).0, Verdict::Reject);
    let (verdict, _) = offer(&mut network, &key, |head| head.organization = organization);
    assert_eq!(verdict, Verdict::Reject);
    assert_honest(&mut network);
}

#[test]
fn an_over_full_filter_is_refused_before_it_is_fetched() {
    assert_not_taken(75, Verdict::Reject, |head| {
        change_filter(head, |filter| {
            filter.ones = SizeClass::new(filter.class).unwrap().ones_max() + 1;
            filter.filter = ContentHash([1; 32]);
        });
    });
}

#[test]
fn a_class_above_what_the_roster_allows_is_refused_before_it_is_fetched() {
    for class in [18, 30, 31, 255] {
        assert_not_taken(76, Verdict::Reject, |head| {
            change_filter(head, |filter| {
                filter.class = class;
                filter.filter = ContentHash([1; 32]);
            });
        });
    }
}

#[test]
fn an_unknown_kind_of_filter_is_refused() {
    assert_not_taken(77, Verdict::Reject, |head| change_filter(head, |filter| filter.kind = 2));
}

#[test]
fn more_change_lists_than_the_class_has_are_refused() {
    let mut network = network(77);
    let class = SizeClass::new(head(&mut network, HOLDER).filters[0].class).unwrap();
    let lists = class.change_lists_max() + 1;
    assert!(lists <= limits::CHANGE_LISTS_MAX, "a small class has room for few");
    assert_not_taken(77, Verdict::Reject, move |head| {
        change_filter(head, |filter| {
            let names = (0..lists).map(|n| ContentHash([n as u8; 32])).collect();
            filter.changes = Bounded::new(names).unwrap();
        });
    });
}

/// A head whose parts are fetched and found bad leaves the digest before it in use.
fn assert_refused_after_fetching(seed: u64, part: impl FnOnce(&mut FilterHead) -> Vec<u8>) {
    let mut network = network(seed);
    let key = pointer_key(&network, HOLDER);
    let before = in_use(&network);
    let mut head = head(&mut network, HOLDER);
    head.version += 1;
    let mut bytes = Vec::new();
    change_filter(&mut head, |filter| {
        bytes = part(filter);
        filter.filter = ContentHash::of(&bytes);
        filter.changes = Bounded::default();
    });
    for at in 0..ASKER {
        network.put_blob(at, bytes.clone());
    }
    let frame = sign(&network, head, &key);
    assert_eq!(network.gossip(HOLDER, ASKER, frame), Verdict::Accept, "it looks well from outside");
    network.run_for(5_000);
    assert_eq!(in_use(&network), before);
    let found = network.locate(ASKER, patient(3)).unwrap();
    assert_eq!(found.asked, 0, "nobody says maybe to everything");
    assert_doubted(&mut network, HOLDER);
    // The holder's next honest head counts again.
    create(&mut network, HOLDER, patient(4));
    create(&mut network, HOLDER, patient(5));
    network.run_for(2_000);
    create(&mut network, HOLDER, patient(6));
    network.run_for(2_000);
    assert!(in_use(&network) > before);
    assert_eq!(network.locate(ASKER, patient(6)).unwrap().pointers.len(), 1);
}

#[test]
fn a_filter_of_ones_that_claims_fewer_is_refused_after_it_is_fetched() {
    assert_refused_after_fetching(78, |filter| {
        vec![0xff; SizeClass::new(filter.class).unwrap().bytes()]
    });
}

#[test]
fn a_filter_with_fewer_ones_than_it_claims_is_refused_after_it_is_fetched() {
    assert_refused_after_fetching(78, |filter| {
        vec![0; SizeClass::new(filter.class).unwrap().bytes()]
    });
}

#[test]
fn a_filter_of_another_length_is_refused_after_it_is_fetched() {
    assert_refused_after_fetching(79, |filter| {
        filter.ones = 0;
        vec![0; SizeClass::new(filter.class).unwrap().bytes() - 1]
    });
}

/// What is wrong with the blobs that the holder serves.
fn assert_fetched_elsewhere(seed: u64, spoil: impl Fn(Vec<u8>) -> Vec<u8> + 'static) {
    let mut network = network(seed);
    let asked: Seen<usize> = Rc::default();
    let kept = asked.clone();
    network.meddle(move |frame| {
        if frame.plane != Some(Plane::Digests) {
            return Fate::Pass;
        }
        if frame.from == ASKER && !frame.is_reply {
            let max = limits::DIGESTS_REQUEST_FRAME_BYTES_MAX;
            if let Ok(DigestsRequest::Blob(..)) = codec::decode("request", frame.bytes, max) {
                kept.borrow_mut().push(frame.to);
            }
        }
        if frame.from == HOLDER && frame.to == ASKER && frame.is_reply {
            let max = limits::DIGESTS_ANSWER_FRAME_BYTES_MAX;
            if let Ok(DigestsAnswer::Blob(piece)) = codec::decode("answer", frame.bytes, max) {
                let piece = ByteString::new(spoil(piece.to_vec())).unwrap();
                return Fate::Replace(codec::encode(&DigestsAnswer::Blob(piece)));
            }
        }
        Fate::Pass
    });
    let before = in_use(&network);
    create(&mut network, HOLDER, patient(2));
    network.run_for(5_000);
    assert!(in_use(&network) > before);
    let asked = asked.take();
    assert_eq!(asked.first(), Some(&HOLDER), "the owner is asked first");
    assert!(asked.iter().any(|at| *at != HOLDER), "then another: {asked:?}");
    let found = network.locate(ASKER, patient(2)).unwrap();
    assert!(found.completeness.is_complete(), "{:?}", found.completeness);
    assert_eq!(found.pointers.len(), 1);
    assert_honest(&mut network);
}

#[test]
fn a_part_that_does_not_fit_its_name_is_fetched_from_the_next_peer() {
    assert_fetched_elsewhere(80, |piece| vec![0; piece.len()]);
    assert_fetched_elsewhere(80, |mut piece| {
        piece[7] ^= 1;
        piece
    });
}

#[test]
fn a_part_of_the_wrong_length_is_fetched_from_the_next_peer() {
    assert_fetched_elsewhere(81, |mut piece| {
        piece.push(0);
        piece
    });
    assert_fetched_elsewhere(81, |mut piece| {
        piece.pop();
        piece
    });
    assert_fetched_elsewhere(81, |piece| piece[..1].to_vec());
    assert_fetched_elsewhere(81, |_| Vec::new());
    assert_fetched_elsewhere(81, |_| vec![0; limits::BLOB_PIECE_BYTES_MAX]);
}

#[test]
fn a_head_that_names_anothers_filter_as_its_change_list_does_not_keep_it_out() {
    // A filter that is shorter than a change list, and one that is longer.
    for class in [0, 12] {
        let mut network = network(82);
        let class = SizeClass::new(class).unwrap();
        let locator = pointer(&mut network).locator;
        let mut good = head(&mut network, HOLDER);
        let salt = [5; 16];
        let mut builder = FilterBuilder::new(class, &good.organization, &salt);
        builder.insert(&locator).unwrap();
        let built = builder.finish(&mut ChaCha20Rng::seed_from_u64(1));
        let hash = network.put_blob(HOLDER, built.bytes);
        good.version += 1;
        change_filter(&mut good, |filter| {
            (filter.class, filter.salt) = (class.number(), salt.into());
            (filter.filter, filter.ones) = (hash, built.ones);
            filter.changes = Bounded::default();
        });
        let mut bad = head(&mut network, 1);
        bad.version += 1;
        change_filter(&mut bad, |filter| filter.changes = Bounded::new(vec![hash]).unwrap());
        let version = good.version;
        let good = sign(&network, good, &pointer_key(&network, HOLDER));
        let bad = sign(&network, bad, &pointer_key(&network, 1));
        assert_eq!(network.gossip(1, ASKER, bad), Verdict::Accept);
        assert_eq!(network.gossip(HOLDER, ASKER, good), Verdict::Accept);
        network.run_for(5_000);
        assert_eq!(in_use(&network), version);
        assert_doubted(&mut network, 1);
    }
}

#[test]
fn a_head_whose_parts_nobody_has_leaves_the_one_before_in_use() {
    let mut network = network(83);
    let key = pointer_key(&network, HOLDER);
    let before = in_use(&network);
    let (verdict, _) = offer(&mut network, &key, |head| {
        change_filter(head, |filter| filter.filter = ContentHash([3; 32]));
    });
    assert_eq!(verdict, Verdict::Accept);
    network.run_for(5_000);
    assert_honest(&mut network);
    network.run_for(10_000);
    assert_eq!(in_use(&network), before);
    assert_doubted(&mut network, HOLDER);
}

#[test]
fn two_writers_of_ever_new_heads_do_not_keep_the_others_digests_out() {
    const LIARS: [usize; 2] = [1, 2];
    let mut network = network(84);
    // Whatever the liars' heads name is asked for in vain until the time for it is up.
    network.meddle(|frame| {
        let max = limits::DIGESTS_REQUEST_FRAME_BYTES_MAX;
        match codec::decode("request", frame.bytes, max) {
            Ok(DigestsRequest::Blob(hash, _))
                if frame.plane == Some(Plane::Digests) && !frame.is_reply && hash.0[0] == 0 =>
            {
                Fate::Drop
            }
            _ => Fate::Pass,
        }
    });
    let heads: Vec<_> = LIARS.map(|liar| (liar, head(&mut network, liar))).into();
    let before = in_use(&network);
    create(&mut network, HOLDER, patient(2));
    for round in 1..=60_u8 {
        for (liar, head) in &heads {
            let mut head = head.clone();
            head.version = now(&network).0 + u64::from(round);
            head.issued = now(&network);
            head.expires = head.issued.plus(60_000);
            // Lower than nearly every hash, others every time, and as many as the writer may have fetched.
            let hash = |part| {
                let mut hash = [0; 32];
                (hash[1], hash[2], hash[3]) = (*liar as u8, round, part);
                ContentHash(hash)
            };
            change_filter(&mut head, |filter| {
                filter.filter = hash(0);
                filter.changes = Bounded::new(vec![hash(1), hash(2)]).unwrap();
            });
            let frame = sign(&network, head, &pointer_key(&network, *liar));
            assert_eq!(network.gossip(3, ASKER, frame), Verdict::Accept);
        }
        network.run_for(1_000);
    }
    assert!(in_use(&network) > before, "the honest digest was kept out");
    assert_eq!(network.locate(ASKER, patient(2)).unwrap().pointers.len(), 1);
}
