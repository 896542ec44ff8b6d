//! A network that falls in two, decides on both sides, and becomes one again.

use signpost_protocol::roster::{Parameters, Standing};
use signpost_tests::{founding::Plan, sim::Network};

use super::agree_within;

#[test]
fn what_two_sides_decided_apart_is_law_everywhere_once_they_meet() {
    let plan = Plan { parameters: Parameters::STANDARD, ..Plan::of(12) };
    let mut network = Network::settled(&plan, 30);
    let cut = |network: &mut Network, cut| {
        for a in 0..6 {
            (6..12).for_each(|b| network.set_cut(a, b, cut));
        }
    };
    cut(&mut network, true);
    for (at, of) in [(0, 10), (7, 11)] {
        let organization = network.nodes[of].founder.organization;
        network.set_standing(at, organization, Standing::Suspended);
    }
    network.run_for(10_000);
    let digests = network.roster_digests();
    assert!(digests[..6].iter().all(|digest| *digest == digests[0]));
    assert_ne!(digests[0], digests[6], "each side knows its own decision alone");
    cut(&mut network, false);
    let took = {
        // Those that were cut off hear of it from whomever serves them: nobody, until readmitted.
        let agree = |network: &Network| {
            let digests: Vec<String> = (0..10).map(|at| network.status(at).roster.digest).collect();
            digests.windows(2).all(|two| two[0] == two[1])
        };
        let start = network.now;
        network.run_until(60_000, agree);
        assert!(agree(&network), "{:?}", network.roster_digests());
        network.now - start
    };
    println!("ten nodes agree {took} ms after the partition");
    for of in [10, 11] {
        let organization = network.nodes[of].founder.organization;
        assert_eq!(
            network.roster_at(3).member(&organization).unwrap().standing,
            Standing::Suspended
        );
        network.set_standing(3, organization, Standing::Admitted);
        network.run_for(2_000);
    }
    let took = agree_within(&mut network, 120_000);
    println!("all agree {took} ms after both were admitted again");
    network.settle();
}
