//! Nodes that were away, or come back with what they once knew.

use signpost_node::{network::Plane, store::Store as _};
use signpost_protocol::{
    codec, limits,
    locate::{AskSubject, Reply},
    roster::{Change, MemberRecord, Standing},
};
use signpost_tests::{founding::Plan, sim::Network};

use super::{
    LAST, SHORT, agree_within, finds_all,
    messages::{ask, served},
    network, network_of,
};

/// Longer than anything in these networks lives.
const MONTH: u64 = 300_000;

#[test]
fn a_node_that_was_away_while_everything_expired_converges_by_itself() {
    let mut network = network(50);
    network.kill(LAST);
    let fourth = network.nodes[4].founder.organization;
    network.set_standing(0, fourth, Standing::Suspended);
    network.run_for(MONTH / 2);
    network.set_standing(0, fourth, Standing::Admitted);
    network.run_for(MONTH / 2);
    network.start(LAST);
    let took = agree_within(&mut network, 60_000);
    println!("agrees {took} ms after it started");
    // Until it has compared with two, it discloses nothing.
    network.run_for(5_000);
    network.settle();
    for at in 0..=LAST {
        finds_all(&mut network, at).unwrap();
    }
}

#[test]
fn a_whole_network_that_was_down_for_a_month_comes_back() {
    let mut network = network_of(&Plan::of(6), 51);
    (0..=LAST).for_each(|at| network.kill(at));
    network.run_for(31 * 24 * 3_600_000);
    (0..=LAST).for_each(|at| network.start(at));
    network.run_for(60_000);
    network.settle();
    for at in 0..=LAST {
        finds_all(&mut network, at).unwrap();
        assert_eq!(network.status(at).roster.expiry, "fresh");
    }
}

/// With yesterday's disk a node knows nothing of who was cut off since; it finds out before it
/// tells anybody anything.
#[test]
fn an_old_back_up_brings_back_neither_a_revoked_key_nor_an_expelled_member() {
    let mut network = network(52);
    let backup = network.back_up(LAST);
    let fourth = network.nodes[4].founder.organization;
    network.set_standing(0, fourth, Standing::Expelled);
    network.revoke_transport(0, 3);
    network.run_for(5_000);
    network.kill(LAST);
    network.restore(LAST, &backup);
    network.start(LAST);
    // The first that it hears is an ask of the expelled one.
    let id = "ORG5-x".parse().unwrap();
    let ask = ask(&network, 4, LAST, AskSubject::Pointer { id });
    let peer = network.key(4);
    let reply = network.exchange(peer, LAST, Plane::Ask, ask);
    let reply = reply.map(|frame| codec::decode("reply", &frame, limits::ANSWER_FRAME_BYTES_MAX));
    assert!(!matches!(reply, Some(Ok(Reply::Statement(_)))), "it was told something");
    network.run_for(5_000);
    for cut_off in [3, 4] {
        assert_eq!(served(&mut network, cut_off, LAST), [""; 0]);
    }
    assert!(served(&mut network, 1, LAST).contains(&"ask"), "members are answered again");
    assert_eq!(network.status(LAST).roster.digest, network.status(0).roster.digest);
}

/// More than two thousand statements, for a node that has none of them.
#[test]
fn a_node_that_begins_with_the_founding_catches_up_with_everything() {
    const DECISIONS: u64 = 700;
    let mut network = network_of(&Plan { parameters: SHORT, ..Plan::of(6) }, 53);
    let last = network.nodes[LAST].founder.organization;
    let record = network.next_record(0, last);
    network.kill(LAST);
    network.wipe(LAST);
    let mut statements = Vec::new();
    for version in 1..=DECISIONS {
        let standing = if version < DECISIONS && version % 2 == 0 {
            Standing::Suspended
        } else {
            Standing::Admitted
        };
        let change = Change::Member(MemberRecord { version, standing, ..record.clone() });
        let proposal = network.proposal_in(0, change, 60_000);
        statements.extend(network.approvals(&proposal, &[0, 1, 2]));
        // One after the other: no two of one version, and so no contradiction.
        if statements.len() > 255 || version == DECISIONS {
            for result in network.submit(0, std::mem::take(&mut statements)) {
                result.unwrap();
            }
        }
    }
    network.run_for(60_000);
    let count = network.statements_at(0).len();
    assert!(count > 2_000, "{count}");
    agree_within(&mut network, 120_000);
    network.start(LAST);
    let took = agree_within(&mut network, 120_000);
    println!("{count} statements, {took} ms after it started");
    network.run_for(30_000);
    assert_eq!(network.statements_at(LAST).len(), network.statements_at(0).len());
}

/// What expired while a node was down is of no use any more, on its disk as in its memory.
#[test]
fn what_lapsed_while_a_node_was_down_is_deleted_when_it_starts() {
    let mut network = network(55);
    let fourth = network.nodes[4].founder.organization;
    let mut record = network.next_record(0, fourth);
    record.standing = Standing::Suspended;
    let proposal = network.proposal_in(0, Change::Member(record), 60_000);
    let approval = network.approvals(&proposal, &[1]).remove(0);
    network.submit(0, vec![approval.clone()]).remove(0).unwrap();
    network.run_for(10_000);
    let is_stored = |network: &Network| {
        let rows = network.nodes[LAST].store.scan(&[], None, 10_000).unwrap();
        rows.iter().any(|(_, value)| *value == approval)
    };
    assert!(is_stored(&network));
    network.kill(LAST);
    network.start(LAST);
    network.run_for(5_000);
    assert!(is_stored(&network), "it is open");
    network.kill(LAST);
    network.run_for(120_000);
    network.start(LAST);
    network.run_for(1);
    assert!(is_stored(&network), "nobody has confirmed its clock");
    network.run_for(5_000);
    assert!(!is_stored(&network));
}

/// The twin: with the founding alone, and nobody to ask, nothing is known.
#[test]
fn without_anybody_to_ask_it_stays_as_it_was() {
    let mut network = network(54);
    let fourth = network.nodes[4].founder.organization;
    network.kill(LAST);
    network.wipe(LAST);
    network.set_standing(0, fourth, Standing::Suspended);
    (0..LAST).for_each(|at| network.set_cut(at, LAST, true));
    network.start(LAST);
    network.run_for(60_000);
    assert_ne!(network.status(LAST).roster.digest, network.status(0).roster.digest);
    (0..LAST).for_each(|at| network.set_cut(at, LAST, false));
    // The fourth is cut off, and not told.
    let agree =
        |network: &Network| network.status(LAST).roster.digest == network.status(0).roster.digest;
    network.run_until(60_000, agree);
    assert!(agree(&network));
}
