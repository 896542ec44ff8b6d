//! A new organization with a node of its own.

use signpost_protocol::{
    hello::Regard,
    roster::{Change, Standing},
};

use super::{
    agree_within,
    messages::{ALL, regard, served},
    network,
};
use crate::common::{draft, patient};

#[test]
fn an_admitted_newcomer_takes_part_and_a_stranger_does_not() {
    let mut network = network(80);
    let (at, record) = network.add_newcomer(80);
    let keys = network.next_keys(0, at, |_| {});
    network.run_for(30_000);
    for member in 0..6 {
        assert_eq!(regard(&mut network, at, member), Regard::Stranger);
        assert_eq!(served(&mut network, at, member), [""; 0]);
    }
    let organization = record.organization();
    network.decide(0, Change::Member(record));
    network.submit(0, vec![keys]).remove(0).unwrap();
    let took = agree_within(&mut network, 60_000);
    println!("the newcomer agrees {took} ms after it was admitted");
    network.settle();
    // The last of the six does not evaluate.
    for member in 0..5 {
        assert_eq!(regard(&mut network, at, member), Regard::Member);
        assert_eq!(served(&mut network, at, member), ALL);
    }
    let mut record = draft(at, patient(3), 1);
    record.custodian = network.nodes[at].founder.ods.parse().unwrap();
    let id = signpost_node::core::local::NewId::Random;
    let write = signpost_node::core::local::Write::Create { id, draft: record };
    network.write(at, vec![write]).remove(0).unwrap();
    network.run_for(2_000);
    let found = network.locate(1, patient(3)).unwrap();
    assert!(found.completeness.is_complete(), "{:?}", found.completeness);
    assert_eq!(found.pointers.len(), 1);
    network.set_standing(1, organization, Standing::Expelled);
    network.run_for(2_000);
    assert_eq!(regard(&mut network, at, 2), Regard::Expelled);
}
