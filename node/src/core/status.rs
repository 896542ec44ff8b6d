//! What the node says of itself.

use signpost_keys::roster::PeerStanding;
use signpost_protocol::{OrganizationId, Timestamp, hello::Regard, roster::Standing};

use super::{
    Core, Now, Served,
    heartbeat::Expiry,
    local::{EvaluatorsStatus, PeerStatus, RosterStatus, ServedStatus, StatusReport},
    rows,
};
use crate::store::Store;

/// The standing of a member that takes part.
const ADMITTED: &str = "admitted";
/// Organizations that one notice names: as many as fit a line.
const CODES_LISTED_MAX: usize = 8;

impl Core {
    /// The state of the node, for people and monitoring, as told to `asking`.
    #[must_use]
    pub fn status(&self, asking: &OrganizationId, now: Now, store: &dyn Store) -> StatusReport {
        let mut notices = Vec::new();
        let mut ready = true;
        let mut without_digest = Vec::new();
        let mut serves: Vec<&Served> = self.me.served.iter().collect();
        serves.sort_by_key(|served| served.organization != *asking);
        let serves = serves.into_iter().map(|served| {
            let organization = served.organization;
            let own = &self.own[&organization];
            if let Err(refusal) = self.check_admitted(&organization) {
                notices.push(refusal.to_string());
            } else if own.head().is_none() {
                without_digest.push(served.ods.as_str());
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
            let count = (organization == *asking).then(|| rows::read_count(store, &organization));
            let pointers = count.transpose().unwrap_or_else(|error| {
                notices.push(format!("the store failed: {error}"));
                ready = false;
                None
            });
            ServedStatus {
                ods: served.ods.to_string(),
                name: served.name.clone(),
                organization: organization.to_string(),
                standing: self.standing(&organization).to_owned(),
                pointers,
                digest_version: own.head().map(|head| head.version),
                restored_as_of: own.past.restored_as_of().map(rfc3339),
            }
        });
        let serves: Vec<ServedStatus> = serves.collect();
        if !without_digest.is_empty() {
            notices.push(format!("{}: the first digest is being made", listed(&without_digest)));
            ready = false;
        }
        if serves.iter().all(|served| served.standing != ADMITTED) {
            ready = false;
        }
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
        let roster = self.roster_status(now);
        self.note_roster(now, &roster, &mut notices, &mut ready);
        let suspended = self.roster.members().filter(|m| m.standing == Standing::Suspended);
        let suspended = suspended.filter(|m| self.served(&m.organization).is_none());
        notices.extend(suspended.map(|m| format!("{} ({}) is suspended", m.name, m.ods)));
        let evaluators = self.evaluators_status(now);
        if evaluators.key_epoch.is_none() {
            notices.push(
                "the network has no blinding key yet, so nobody can be looked up: stewards call its \
                 evaluators to make one with `signpost evaluators ceremony start`"
                    .to_owned(),
            );
        }
        notices.extend(self.over_quota().map(|(organization, used, quota)| {
            let (ods, name) = self.label(&organization);
            format!(
                "{name} ({ods}) has had {used} numbers evaluated here today to look patients up, more than \
                 its quota of {quota}: ask it why"
            )
        }));
        notices.extend(self.caught.iter().map(|wrong| {
            let (ods, name) = self.label(&wrong.organization);
            format!(
                "{name} ({ods}) has evaluated wrongly at {}; that was not used: send the stewards what \
                 `signpost evaluators evidence` has",
                rfc3339(wrong.issued)
            )
        }));
        if evaluators.lacks_share {
            notices.push(
                "this organization is an evaluator and this node has no share of the key: if no other \
                 node of it has, ask the stewards for a resharing"
                    .to_owned(),
            );
        }
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
            roster,
            ready,
            notices,
            clock_offset: self.peers.clock_offset(),
        }
    }

    fn roster_status(&self, now: Now) -> RosterStatus {
        let epoch = self.roster.epoch();
        let parameters = self.roster.parameters();
        let age = now.unix.since(self.roster.fresh()) as f64;
        let hours_to = |limit: u64| ((limit as f64 - age) / 360_000.0).round() / 10.0;
        let expiry = match self.expiry(now) {
            Expiry::Fresh => "fresh",
            Expiry::Warned => "warned",
            Expiry::NoGovernance => "no-governance",
            Expiry::NoDisclosure => "no-disclosure",
        };
        RosterStatus {
            epoch: epoch.number(),
            stewards: epoch.stewards().map(|s| self.label(&s.organization).0.to_string()).collect(),
            threshold: epoch.threshold(),
            digest: self.roster.digest().to_string(),
            heard_of: rfc3339(self.roster.fresh()),
            expiry: expiry.to_owned(),
            hours_to_no_governance: hours_to(parameters.governance_age_max),
            hours_to_no_disclosure: hours_to(parameters.disclosure_age_max),
            findings: self.roster.findings().len(),
            shared: self.membership.inventory.is_shared,
            key_void: (self.peers.regards().1.iter())
                .any(|regard| matches!(regard, Regard::KeyRevoked | Regard::KeyExpired)),
        }
    }

    /// What the roster means for this node's work.
    fn note_roster(
        &self,
        now: Now,
        roster: &RosterStatus,
        notices: &mut Vec<String>,
        ready: &mut bool,
    ) {
        let heard = &roster.heard_of;
        let rest = "see to it that the stewards' nodes run and can be reached";
        match self.expiry(now) {
            Expiry::Fresh => {}
            Expiry::Warned => notices.push(format!(
                "too few stewards have been heard of since {heard}: in {} hours nothing more can \
                 be decided, in {} holders stop disclosing; {rest}",
                roster.hours_to_no_governance, roster.hours_to_no_disclosure
            )),
            Expiry::NoGovernance => notices.push(format!(
                "too few stewards have been heard of since {heard}: nothing more can be decided, \
                 and in {} hours holders stop disclosing; {rest}",
                roster.hours_to_no_disclosure
            )),
            Expiry::NoDisclosure => {
                notices.push(format!(
                    "too few stewards have been heard of since {heard}: nothing is disclosed, and \
                     every result is partial; {rest}"
                ));
                *ready = false;
            }
        }
        if roster.findings > 0 {
            notices.push(format!(
                "{} findings in the roster need people to look at them: see `signpost roster show`",
                roster.findings
            ));
        }
        self.note_regards(notices, ready);
        let own = self.me.transport.public();
        let is_member = self.roster.standing_of_peer(&own, now.unix) == PeerStanding::Member;
        if !is_member && !self.clock_is_wrong() {
            notices.push(
                "this node's transport key is not that of an admitted member now: others refuse it"
                    .to_owned(),
            );
            *ready = false;
        }
    }

    /// What peers say of this node, which may not have heard what was decided about itself.
    fn note_regards(&self, notices: &mut Vec<String>, ready: &mut bool) {
        let (told, refused_by) = self.peers.regards();
        let Some(first) = refused_by.first() else { return };
        let why = match first {
            Regard::Clock => "their clocks and this node's differ: see that NTP runs",
            Regard::Suspended => "they say that it is suspended: ask the stewards",
            Regard::Expelled => "they say that it was expelled: ask the stewards",
            Regard::KeyExpired => "its transport key has expired: publish a new set of keys",
            Regard::KeyRevoked => "its transport key was revoked: set it up with a new key",
            Regard::OtherNetwork => "they are of another network: compare the network ids",
            Regard::Version => "they speak other versions of the protocol: update it",
            _ => "they do not know its transport key: publish its keys, or wait until they arrive",
        };
        let count = refused_by.len();
        notices.push(format!("{count} of {told} connected peers refuse this node: {why}"));
        // One or a few may be wrong themselves.
        if count * 2 > told {
            *ready = false;
        }
    }

    /// Where an organization stands, in a word.
    fn standing(&self, organization: &OrganizationId) -> &'static str {
        match self.roster.member(organization).map(|member| member.standing) {
            Some(Standing::Admitted) => ADMITTED,
            Some(Standing::Suspended) => "suspended",
            Some(Standing::Expelled) | None => "expelled",
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
                // Also by a key that does not count by this clock.
                let connected =
                    node.transport.iter().any(|record| self.peers.is_connected(&record.key));
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
        let Some(set) = self.roster.evaluators().current() else {
            return EvaluatorsStatus::default();
        };
        let ods = |organization| self.label(organization).0.to_string();
        let reachable = |organization: &OrganizationId| {
            self.evaluates_for(set, organization)
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
            key_epoch: Some(set.key_epoch.0),
            share_epoch: Some(set.share_epoch),
            lacks_share: (set.evaluators.iter())
                .any(|one| self.served(&one.organization).is_some())
                && self.own_share(set).is_none(),
        }
    }
}

/// Some ODS codes, and how many there are beyond these.
fn listed(codes: &[&str]) -> String {
    match codes.len().checked_sub(CODES_LISTED_MAX) {
        None | Some(0) => codes.join(", "),
        Some(more) => format!("{} and {more} more", codes[..CODES_LISTED_MAX].join(", ")),
    }
}

/// The text form of an instant.
fn rfc3339(time: Timestamp) -> String {
    i64::try_from(time.0)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map_or_else(|| format!("{} ms", time.0), |time| time.to_string())
}
