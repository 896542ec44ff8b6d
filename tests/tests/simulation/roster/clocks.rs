//! A clock that is three days off at the start.

use signpost_node::core::completeness::CauseKind;
use signpost_protocol::{hello::Regard, roster::Standing};

use super::{
    LAST, agree_within, finds_all,
    messages::{regard, served},
    network,
};
use crate::common::{causes, patient};

const THREE_DAYS: i64 = 3 * 24 * 3_600_000;

#[test]
fn three_days_off_a_node_finds_out_signs_nothing_and_recovers_when_it_is_set_right() {
    for skew in [THREE_DAYS, -THREE_DAYS] {
        let mut network = network(60);
        let last = network.nodes[LAST].founder.organization;
        let fourth = network.nodes[4].founder.organization;
        // A steward, so that it would issue heartbeats; and something that it knows, and must not
        // forget, from what its clock calls the future.
        let change = network.next_stewards(0, &[0, 1, 2, 3, LAST]);
        network.decide(0, change);
        network.run_for(15_000);
        network.set_standing(0, fourth, Standing::Suspended);
        network.run_for(5_000);
        network.kill(LAST);
        network.nodes[LAST].skew = skew;
        network.start(LAST);
        network.run_for(15_000);
        let status = network.status(LAST);
        assert!(status.peers.iter().filter(|peer| peer.connected).count() >= 3, "{status:?}");
        assert!(!status.ready, "{skew}");
        assert!(status.notices.iter().any(|notice| notice.contains("clock")), "{status:?}");
        assert!(
            status.peers.iter().all(|peer| peer.ods != "ORG4"),
            "it still knows who is cut off"
        );
        assert_eq!(served(&mut network, 4, LAST), [""; 0]);
        assert_eq!(regard(&mut network, LAST, 0), Regard::Clock);
        if let Ok(found) = network.locate(LAST, patient(1)) {
            assert!(causes(&found).contains(&(CauseKind::ClockWrong, String::new())));
        }
        let beats = network.statements_at(0).last_heartbeat(&last).map(|beat| beat.number);
        network.run_for(30_000);
        let later = network.statements_at(0).last_heartbeat(&last).map(|beat| beat.number);
        assert_eq!(beats, later, "it signs no sign of life");

        network.nodes[LAST].skew = 0;
        network.run_for(60_000);
        network.set_standing(0, fourth, Standing::Admitted);
        agree_within(&mut network, 60_000);
        network.settle();
        assert!(network.status(LAST).ready, "{:?}", network.status(LAST).notices);
        finds_all(&mut network, LAST).unwrap();
        let since = network.statements_at(0).last_heartbeat(&last).map(|beat| beat.number);
        assert!(since > later, "{since:?}: it signs again");
    }
}
