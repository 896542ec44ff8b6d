//! Members that send what is of no use: floods, junk, old news, and hashes that lead nowhere.

use std::{cell::Cell, rc::Rc};

use signpost_node::network::{Plane, Verdict};
use signpost_protocol::{
    ContentHash, codec,
    codec::Bounded,
    limits,
    roster_exchange::{BucketDigests, RosterAnswer, RosterRequest},
};
use signpost_tests::sim::Fate;

use super::{LAST, agree_within, finds_all, network};

#[test]
fn a_flood_of_one_members_statements_is_cut_short_and_the_others_work_on() {
    let mut network = network(90);
    let mut accepted = 0;
    let base = network.statements_at(0).len();
    for version in 1..=300 {
        let keys = network.next_keys(LAST, LAST, |keys| keys.version += version);
        accepted += usize::from(network.gossip(LAST, 0, keys) == Verdict::Accept);
    }
    println!("{accepted} of 300 were passed on");
    assert!((1..=128).contains(&accepted), "no more than its share of two minutes");
    for at in 0..=LAST {
        finds_all(&mut network, at).unwrap();
    }
    let now = network.statements_at(0).len();
    assert!(now <= base + 20, "{base} statements became {now}: old key sets are not kept");
    let keys = network.next_keys(0, 1, |_| {});
    assert_eq!(network.gossip(1, 0, keys), Verdict::Accept, "others have their own share");
}

#[test]
fn old_news_and_what_nobody_can_verify_is_not_passed_on() {
    let mut network = network(91);
    let keys = network.next_keys(0, LAST, |_| {});
    let unknown = network.next_keys(0, LAST, |keys| (keys.lineage, keys.version) = (7, 1));
    let forged = {
        let mut keys = keys.clone();
        *keys.last_mut().unwrap() ^= 1;
        keys
    };
    assert_eq!(network.gossip(LAST, 0, forged), Verdict::Reject);
    assert_eq!(network.gossip(LAST, 0, keys.clone()), Verdict::Accept);
    assert_eq!(network.gossip(LAST, 0, keys.clone()), Verdict::Ignore, "it is known");
    assert_eq!(network.gossip(LAST, 0, unknown), Verdict::Ignore, "of a root nobody has heard of");
    let newer = network.next_keys(0, LAST, |_| {});
    assert_eq!(network.gossip(LAST, 0, newer), Verdict::Accept);
    assert_eq!(network.gossip(LAST, 0, keys), Verdict::Ignore, "something newer is known");
    assert_eq!(network.gossip(LAST, 0, vec![7; 40]), Verdict::Reject);
}

/// A peer that names statements which it does not have, without end.
#[test]
fn hashes_that_lead_nowhere_are_not_followed_for_long() {
    let mut network = network(92);
    let asked = Rc::new(Cell::new(0_u64));
    let count = asked.clone();
    network.meddle(move |frame| {
        if frame.plane != Some(Plane::Roster) || (frame.from, frame.is_reply) != (LAST, true) {
            if frame.to == LAST && frame.plane == Some(Plane::Roster) && frame.is_reply.eq(&false) {
                let max = limits::ROSTER_REQUEST_FRAME_BYTES_MAX;
                let request = codec::decode::<RosterRequest>("request", frame.bytes, max).unwrap();
                count.set(count.get() + u64::from(matches!(request, RosterRequest::Statements(_))));
            }
            return Fate::Pass;
        }
        let max = limits::ROSTER_ANSWER_FRAME_BYTES_MAX;
        let answer = codec::decode::<RosterAnswer>("answer", frame.bytes, max).unwrap();
        let lie = match answer {
            RosterAnswer::Same | RosterAnswer::Digests(_) => {
                let hash = ContentHash([1; 32]);
                RosterAnswer::Digests(BucketDigests::of([&hash]))
            }
            RosterAnswer::Hashes { buckets, .. } => {
                let hash = |n: u32| {
                    let mut hash = ContentHash::of(&n.to_be_bytes());
                    hash.0[0] = (n % 256) as u8;
                    hash
                };
                let hashes = (0..limits::STATEMENT_HASHES_MAX as u32).map(hash).collect();
                RosterAnswer::Hashes { buckets, hashes: Bounded::new(hashes).unwrap() }
            }
            // What nobody asked for.
            RosterAnswer::Statements(_) => RosterAnswer::Statements(Bounded::default()),
            other => other,
        };
        Fate::Replace(codec::encode(&lie))
    });
    network.run_for(300_000);
    let asked = asked.get();
    println!("asked {asked} times for statements in five minutes");
    // Five nodes compare every half minute, with one of five: some ten times with the liar.
    assert!((1..=200).contains(&asked), "{asked}");
    let fourth = network.nodes[4].founder.organization;
    network.set_standing(0, fourth, signpost_protocol::roster::Standing::Suspended);
    network.run_for(2_000);
    network.set_standing(0, fourth, signpost_protocol::roster::Standing::Admitted);
    agree_within(&mut network, 60_000);
}
