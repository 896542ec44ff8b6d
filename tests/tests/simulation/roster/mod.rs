//! A network whose roster changes while it runs.

mod away;
mod ceremony;
mod clocks;
mod expiry;
mod hosted;
mod joining;
mod keys;
mod messages;
mod misbehaving;
mod partition;
mod second_node;
mod standing;
mod stewards;

use signpost_node::core::local::LocateError;
use signpost_protocol::roster::Parameters;
use signpost_tests::{founding::Plan, sim::Network};

use crate::common::{causes, create, patient};

/// The number of the last of six organizations, which is neither steward nor evaluator.
const LAST: usize = 5;

/// Durations in which a month passes in two minutes.
const SHORT: Parameters = Parameters {
    heartbeat_interval: 10_000,
    heartbeat_warn: 30_000,
    governance_age_max: 60_000,
    disclosure_age_max: 120_000,
    reset_wait: 20_000,
    reapproval_grace: 60_000,
    proposal_life_max: 120_000,
    ..Parameters::STANDARD
};

/// Six organizations, the first five of them stewards and evaluators; [`LAST`] and the first hold a
/// pointer each for `patient(1)`.
fn network(seed: u64) -> Network {
    network_of(&Plan { parameters: SHORT, ..Plan::of(6) }, seed)
}

fn network_of(plan: &Plan, seed: u64) -> Network {
    let mut network = Network::settled(plan, seed);
    for at in [0, LAST] {
        network.write(at, vec![create(at, patient(1))]).remove(0).unwrap();
    }
    network.run_for(2_000);
    network
}

/// Whether a node finds both pointers, and says that this is all.
fn finds_all(network: &mut Network, at: usize) -> Result<(), String> {
    let found = network.locate(at, patient(1)).map_err(|error: LocateError| error.to_string())?;
    let causes = causes(&found);
    if causes.is_empty() && found.pointers.len() == 2 {
        return Ok(());
    }
    let causes = found.completeness.causes();
    Err(format!("ORG{at} finds {} pointers, and {causes:?}", found.pointers.len()))
}

/// Runs until all nodes agree on what is law, at most for some time; how long it took.
#[track_caller]
fn agree_within(network: &mut Network, milliseconds: u64) -> u64 {
    let start = network.now;
    network.run_until(milliseconds, Network::agrees);
    assert!(network.agrees(), "{:?}", network.roster_digests());
    network.now - start
}
