//! Fetching a roster from members that are honest, and from such as are not.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use signpost_keys::{keystore::Cost, roster::Statements};
use signpost_protocol::{
    NetworkId,
    codec::{Bounded, ByteString},
    roster::Parameters,
    roster_exchange::{BucketDigests, RosterAnswer, RosterRequest},
};

use super::{FetchError, fetching::Fetching};
use crate::{
    runtime::wall_clock,
    setup::{self, Plan, PlannedNode, PlannedOrganization},
};

/// The roster of a new network of three.
fn roster(seed: u64) -> Statements {
    let root = tempfile::tempdir().unwrap();
    let nodes = (1..=3_u16).map(|n| PlannedNode {
        dir: root.path().join(n.to_string()),
        peer_address: format!("/ip4/127.0.0.1/tcp/{}", 20_000 + n),
        api_listen: format!("127.0.0.1:{}", 30_000 + n).parse().unwrap(),
        organizations: vec![PlannedOrganization::new(
            format!("RX{n}").parse().unwrap(),
            "Trust".to_owned(),
        )],
    });
    let plan = Plan {
        network_name: "Trial".to_owned(),
        parameters: Parameters::STANDARD,
        nodes: nodes.collect(),
        class_max: 10,
        cost: Cost::weak_for_tests(),
        deals_key: true,
    };
    setup::found(&plan, wall_clock(), &mut ChaCha20Rng::seed_from_u64(seed)).unwrap();
    setup::open(&plan.nodes[0].dir).unwrap().statements
}

/// What an honest member answers.
fn answer(statements: &Statements, request: &RosterRequest) -> RosterAnswer {
    match request {
        RosterRequest::Founding => {
            RosterAnswer::Founding(ByteString::new(statements.founding().to_vec()).unwrap())
        }
        RosterRequest::Compare(theirs) => {
            let ours = BucketDigests::of(statements.hashes());
            if ours.hash() == *theirs { RosterAnswer::Same } else { RosterAnswer::Digests(ours) }
        }
        RosterRequest::Buckets(buckets) => {
            // One at a time, as if there were very many.
            let hashes = statements.hashes_in(buckets[0]).copied().collect();
            RosterAnswer::Hashes { buckets: 1, hashes: Bounded::new(hashes).unwrap() }
        }
        RosterRequest::Statements(wanted) => {
            let found = wanted.iter().filter_map(|hash| statements.get(hash));
            let found = found.map(|bytes| ByteString::new(bytes.to_vec()).unwrap()).collect();
            RosterAnswer::Statements(Bounded::new(found).unwrap())
        }
    }
}

/// A fetch to its end; bounded, whatever is answered.
fn fetch(
    network: NetworkId,
    answer: impl Fn(&RosterRequest) -> RosterAnswer,
) -> Result<Statements, FetchError> {
    let mut fetching = Fetching::new(network);
    for _ in 0..10_000 {
        let Some(request) = fetching.next() else { return fetching.finish() };
        fetching.take(answer(&request), wall_clock())?;
    }
    panic!("it does not end");
}

#[test]
fn a_whole_roster_is_fetched() {
    let theirs = roster(1);
    let ours = fetch(theirs.network(), |request| answer(&theirs, request)).unwrap();
    assert!(ours.hashes().eq(theirs.hashes()));
    assert_eq!(ours.write(), theirs.write());
}

#[test]
fn a_founding_that_does_not_hash_to_the_network_is_refused() {
    let (theirs, other) = (roster(1), roster(2));
    let error = fetch(theirs.network(), |request| answer(&other, request)).unwrap_err();
    assert!(matches!(error, FetchError::Founding(_)), "{error}");
    assert!(error.to_string().contains("is of network"), "{error}");
}

#[test]
fn a_member_that_hands_out_too_little_or_other_things_makes_no_roster() {
    let theirs = roster(1);
    let network = theirs.network();
    // Nothing but the founding: nobody has endorsed it.
    let bare = Statements::begin(theirs.founding(), None).unwrap();
    let error = fetch(network, |request| answer(&bare, request)).unwrap_err();
    assert!(error.to_string().contains("has not endorsed"), "{error}");
    // It names what it does not give.
    let withheld = |request: &RosterRequest| match request {
        RosterRequest::Statements(_) => RosterAnswer::Statements(Bounded::default()),
        other => answer(&theirs, other),
    };
    assert!(fetch(network, withheld).is_err());
    // What it gives does not hold.
    let forged = |request: &RosterRequest| match answer(&theirs, request) {
        RosterAnswer::Statements(found) => {
            let forged = found.iter().map(|bytes| {
                let mut bytes = bytes.to_vec();
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                ByteString::new(bytes).unwrap()
            });
            RosterAnswer::Statements(Bounded::new(forged.collect()).unwrap())
        }
        other => other,
    };
    assert!(fetch(network, forged).is_err());
    let no_progress = |request: &RosterRequest| match answer(&theirs, request) {
        RosterAnswer::Hashes { hashes, .. } => RosterAnswer::Hashes { buckets: 0, hashes },
        other => other,
    };
    assert!(matches!(fetch(network, no_progress), Err(FetchError::Unexpected)));
    assert!(matches!(fetch(network, |_| RosterAnswer::Same), Err(FetchError::Unexpected)));
    assert!(matches!(fetch(network, |_| RosterAnswer::Busy), Err(FetchError::Busy)));
}
