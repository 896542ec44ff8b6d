//! What the node says of itself.

use signpost_protocol::{Timestamp, roster::Standing};

use super::{
    Core, Now,
    local::{EvaluatorsStatus, PeerStatus, ServedStatus, StatusReport},
    rows,
};
use crate::store::Store;

impl Core {
    /// The state of the node, for people and monitoring.
    #[must_use]
    pub fn status(&self, now: Now, store: &dyn Store) -> StatusReport {
        let mut notices = Vec::new();
        let mut ready = true;
        let serves = self.me.served.iter().map(|served| {
            let own = &self.own[&served.organization];
            let pointers = rows::read_count(store, &served.organization).unwrap_or_else(|error| {
                notices.push(format!("the store failed: {error}"));
                ready = false;
                0
            });
            if own.head().is_none() {
                notices.push(format!("{}: its first digest is being made", served.ods));
                ready = false;
            }
            if let Some(fault) = own.fault() {
                notices.push(format!("{}: new pointers are not advertised: {fault}", served.ods));
                ready = false;
            }
            if let Some(since) = own.past.restored_as_of() {
                notices.push(format!(
                    "{}: restored from a back-up as of {}; when producers have re-sent what came later, run `signpost confirm-restored`",
                    served.ods, rfc3339(since)
                ));
            }
            ServedStatus {
                ods: served.ods.to_string(),
                name: served.name.clone(),
                organization: served.organization.to_string(),
                pointers,
                digest_version: own.head().map(|head| head.version),
                restored_as_of: own.past.restored_as_of().map(rfc3339),
            }
        });
        let serves: Vec<ServedStatus> = serves.collect();
        if self.is_recalling() {
            notices.push(
                "waiting for a peer to tell whether this node's records are up to date: asks of \
                 others are refused until then"
                    .to_owned(),
            );
        }
        if self.clock_is_wrong() {
            notices.push(
                "the clock differs from the peers' by more than the network allows".to_owned(),
            );
            ready = false;
        }
        let peers = self.peer_statuses(now);
        for peer in peers.iter().filter(|peer| peer.digest != "fresh") {
            let PeerStatus { name, ods, digest, .. } = peer;
            notices.push(format!("the digest of {name} ({ods}) is {digest}: results are partial"));
        }
        let suspended = self.roster.members().filter(|m| m.standing == Standing::Suspended);
        notices.extend(suspended.map(|m| format!("{} ({}) is suspended", m.name, m.ods)));
        let evaluators = self.evaluators_status(now);
        if evaluators.connected.len() < evaluators.threshold {
            notices.push(format!(
                "{} of the {} evaluators that it takes are connected: new patients cannot be looked up",
                evaluators.connected.len(),
                evaluators.threshold
            ));
        }
        if evaluators.dealt {
            notices.push(
                "the blinding key was dealt by one party: for demonstrations only".to_owned(),
            );
        }
        StatusReport {
            network_name: self.roster.name().to_owned(),
            network: self.roster.network().to_string(),
            serves,
            node: self.me.node.to_string(),
            peers,
            evaluators,
            ready,
            notices,
            clock_offset: self.peers.clock_offset(),
        }
    }

    fn peer_statuses(&self, now: Now) -> Vec<PeerStatus> {
        let mut peers = Vec::new();
        for member in self.roster.admitted() {
            for node in member.nodes.iter().filter(|node| node.node != self.me.node) {
                let in_use = self.head_in_use(&member.organization, &node.node, now);
                let digest = match in_use {
                    None => "missing",
                    Some((_, true)) => "stale",
                    Some((_, false)) => "fresh",
                };
                let head = in_use.map(|(head, _)| head);
                let connected =
                    node.transport_keys(now.unix).any(|key| self.peers.is_connected(&key));
                peers.push(PeerStatus {
                    ods: member.ods.to_string(),
                    name: member.name.clone(),
                    connected,
                    digest: digest.to_owned(),
                    digest_issued: head.map(|head| rfc3339(head.issued)),
                    digest_version: head.map(|head| head.version),
                });
            }
        }
        peers
    }

    fn evaluators_status(&self, now: Now) -> EvaluatorsStatus {
        let set = self.roster.evaluators();
        let ods = |organization| self.label(organization).0.to_string();
        let reachable = |organization| {
            self.served(organization).is_some()
                || self.roster.member(organization).is_some_and(|member| {
                    let mut keys =
                        member.nodes.iter().flat_map(|node| node.transport_keys(now.unix));
                    keys.any(|key| self.peers.is_connected(&key))
                })
        };
        EvaluatorsStatus {
            threshold: usize::from(set.threshold),
            members: set.evaluators.iter().map(|e| ods(&e.organization)).collect(),
            connected: set
                .evaluators
                .iter()
                .filter(|e| reachable(&e.organization))
                .map(|e| ods(&e.organization))
                .collect(),
            dealt: set.dealt,
        }
    }
}

/// The text form of an instant.
fn rfc3339(time: Timestamp) -> String {
    i64::try_from(time.0)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map_or_else(|| format!("{} ms", time.0), |time| time.to_string())
}
