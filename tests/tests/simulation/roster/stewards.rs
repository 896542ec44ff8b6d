//! Stewards that are replaced, and roots that are reset.

use signpost_keys::{SecretKey, roster::Finding, sign};
use signpost_protocol::{
    ContentHash, codec,
    roster::{Change, MemberRecord, Standing},
};
use signpost_tests::sim::Network;

use super::{LAST, agree_within, network};

/// Whether these nodes' approvals suspend [`LAST`] in the view of node 1.
fn may_suspend(network: &mut Network, by: &[usize]) -> bool {
    let last = network.nodes[LAST].founder.organization;
    let record = MemberRecord { standing: Standing::Suspended, ..network.next_record(1, last) };
    let proposal = network.proposal(1, Change::Member(record), 60_000);
    let before = network.status(1).roster.digest;
    let approvals = network.approvals(&proposal, by);
    network.submit(1, approvals);
    network.run_for(2_000);
    network.status(1).roster.digest != before
}

#[test]
fn a_replaced_steward_decides_nothing_more_and_the_new_one_does() {
    let mut network = network(20);
    let change = network.next_stewards(0, &[0, 1, 2, 3, LAST]);
    // Three of the old and three of the new.
    network.decide(0, change);
    agree_within(&mut network, 5_000);
    for at in 0..=LAST {
        let roster = network.status(at).roster;
        assert_eq!((roster.epoch, roster.threshold), (1, 3));
        assert!(!roster.stewards.contains(&"ORG4".to_owned()));
    }
    assert!(!may_suspend(&mut network, &[0, 1, 4]), "ORG4 is no steward any more");
    network.run_for(60_000);
    assert!(may_suspend(&mut network, &[0, 1, LAST]), "ORG5 is");
}

#[test]
fn an_epoch_that_the_old_stewards_alone_approve_does_not_begin() {
    let mut network = network(21);
    let change = network.next_stewards(0, &[LAST, 3, 4]);
    network.decide(0, change);
    network.run_for(5_000);
    assert_eq!(network.status(1).roster.epoch, 0, "two of the new ones have to approve as well");
}

/// Signs what [`LAST`] lists with another root, in its second lineage.
fn keys_by(network: &mut Network, root: &[u8; 32]) -> Vec<u8> {
    let mut keys = network.nodes[LAST].founder.keys();
    (keys.lineage, keys.version) = (1, 1);
    keys.issued = network.true_time();
    sign(keys, &SecretKey::from_seed(root), &network.statements.network()).bytes().to_vec()
}

#[test]
fn a_lost_root_is_reset_after_its_wait_unless_the_old_one_objects() {
    for objects in [false, true] {
        let mut network = network(22);
        let root = [77; 32];
        let change = network.root_reset(LAST, &root);
        let proposal = network.proposal(0, change, 10_000);
        let approvals = network.approvals(&proposal, &[0, 1, 2]);
        network.submit(0, approvals);
        let keys = keys_by(&mut network, &root);
        network.submit(2, vec![keys]);
        network.run_for(5_000);
        if objects {
            let objection = network.objection(LAST, &proposal);
            network.submit(LAST, vec![objection]).remove(0).unwrap();
        }
        let lineage = |network: &mut Network| {
            let last = network.nodes[LAST].founder.organization;
            (0..=LAST)
                .map(|at| network.roster_at(at).member(&last).unwrap().lineage)
                .collect::<Vec<_>>()
        };
        assert_eq!(lineage(&mut network), [0; 6], "it waits");
        // The proposal's life, and the wait.
        network.run_for(40_000);
        assert_eq!(lineage(&mut network), [u32::from(!objects); 6]);
        agree_within(&mut network, 5_000);
        let id = ContentHash::of(&codec::encode(&proposal));
        let law = network.statements_at(3).law(network.true_time());
        let state = &law.proposal(&id).unwrap().state;
        println!("objected: {objects}: {state:?}");
    }
}

/// Halves of a contradiction on two sides of a partition are found once they meet, by everybody.
#[test]
fn a_steward_that_contradicts_itself_is_found_once_both_halves_meet() {
    let mut network = network(23);
    let sides = |at: usize| at >= 3;
    let set_cut = |network: &mut Network, cut| {
        for a in 0..=LAST {
            (a + 1..=LAST)
                .filter(|b| sides(a) != sides(*b))
                .for_each(|b| network.set_cut(a, b, cut));
        }
    };
    set_cut(&mut network, true);
    let last = network.nodes[LAST].founder.organization;
    for (at, standing) in [(0, Standing::Suspended), (4, Standing::Expelled)] {
        let record = MemberRecord { standing, ..network.next_record(at, last) };
        let proposal = network.proposal(at, Change::Member(record), 60_000);
        let approvals = network.approvals(&proposal, &[1]);
        network.submit(at, approvals).remove(0).unwrap();
    }
    network.run_for(5_000);
    let findings = |network: &mut Network| -> Vec<Vec<Finding>> {
        (0..=LAST).map(|at| network.roster_at(at).findings().to_vec()).collect()
    };
    assert!(findings(&mut network).iter().all(Vec::is_empty), "each side has one half");
    set_cut(&mut network, false);
    network.run_for(60_000);
    let found = findings(&mut network);
    let steward = network.nodes[1].founder.organization;
    assert!(
        matches!(found[0][..], [Finding::Equivocation { steward: who, .. }] if who == steward),
        "{found:?}"
    );
    assert!(found.iter().all(|at| *at == found[0]), "{found:?}");
}
