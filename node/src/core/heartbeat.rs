//! Signs of life of a steward's node, and what their absence means.
//!
//! Nobody can tell a quiet network from one whose statements are kept back, except by signs of life
//! of those who make law. When too few are heard of for too long, trust in the roster ends in stages
//! (DESIGN §5): people are warned, nothing more is decided, holders stop disclosing.

use signpost_keys::sign;
use signpost_protocol::{ContentHash, OrganizationId, codec::Bounded, limits, roster::Heartbeat};
use tracing::warn;

use super::{
    Core, Now, Turn,
    completeness::{Cause, CauseKind},
    local::Submitted,
    membership::From,
};

/// The shortest time between two heartbeats, as a part of the interval.
const SPACING_PARTS: u64 = 48;

/// Milliseconds after which a heartbeat that did not count is tried again: an admin mends the keys
/// meanwhile.
const RETRY: u64 = 60_000;

/// How far trust in the roster has come down, for lack of signs of life of its stewards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Expiry {
    /// Enough stewards were heard of lately.
    Fresh,
    /// People should see to it.
    Warned,
    /// Nothing more is proposed or approved.
    NoGovernance,
    /// Holders disclose nothing; every result is partial.
    NoDisclosure,
}

impl Core {
    /// How far trust in the roster has come down.
    pub(super) fn expiry(&self, now: Now) -> Expiry {
        let age = now.unix.since(self.roster.fresh());
        let parameters = self.roster.parameters();
        if age >= parameters.disclosure_age_max {
            Expiry::NoDisclosure
        } else if age >= parameters.governance_age_max {
            Expiry::NoGovernance
        } else if age >= parameters.heartbeat_warn {
            Expiry::Warned
        } else {
            Expiry::Fresh
        }
    }

    /// The cause that names the roster as too old to rely on, if it is.
    pub(super) fn stale_roster(&self, now: Now) -> Option<Cause> {
        (self.expiry(now) == Expiry::NoDisclosure).then(|| Cause {
            kind: CauseKind::RosterStale,
            organization: None,
            since: Some(self.roster.fresh()),
            detail: "too few stewards of the network have been heard of for too long: who is a \
                     member may have changed"
                .to_owned(),
        })
    }

    /// The stewards among the organizations that this node serves.
    fn own_stewards(&self) -> Vec<OrganizationId> {
        let served = self.me.served.iter().map(|served| served.organization);
        served.filter(|organization| self.roster.epoch().has(organization)).collect()
    }

    /// Issues the heartbeats that are due.
    pub(super) fn maintain_heartbeat(&mut self, turn: &mut Turn<'_>) {
        // By a wrong clock a sign of life would count for nobody, and put off the next. Where there is
        // somebody to confirm it, nothing is signed before.
        let may_sign = self.clock_is_confirmed() || self.is_alone();
        if self.membership.heartbeat_at > turn.now.uptime || !may_sign {
            return;
        }
        let interval = self.roster.parameters().heartbeat_interval;
        let spacing = (interval / SPACING_PARTS).max(1);
        let now = turn.now.unix;
        let mut next = interval;
        for steward in self.own_stewards() {
            let last = self.membership.statements.last_heartbeat(&steward);
            let issued = last.map(|last| last.issued);
            let skew = self.roster.parameters().clock_skew_max;
            // One from the future was signed by a clock that was wrong then.
            let issued = issued.filter(|issued| *issued <= now.plus(skew));
            let age = issued.map_or(u64::MAX, |issued| now.since(issued));
            let witnessed = self.unwitnessed(&steward, turn.now);
            let due_in = match (witnessed.is_empty(), age) {
                (true, age) => interval.saturating_sub(age),
                (false, age) => spacing.saturating_sub(age),
            };
            if due_in > 0 {
                // What is held back goes out soon after the reason has gone.
                let held_back = if self.may_be_behind(turn.now) { spacing } else { due_in };
                next = next.min(due_in).min(held_back);
                continue;
            }
            let heartbeat = Heartbeat {
                steward,
                number: self.membership.statements.next_heartbeat_number(&steward, now),
                roster: self.roster.digest(),
                witnessed: Bounded::new(witnessed).expect("cut to its cap"),
                issued: now,
            };
            let heartbeat = sign(heartbeat, &self.me.transport, &self.roster.network());
            let heartbeat = [heartbeat.bytes().to_vec()];
            match self.take_statements(turn, &heartbeat, From::Here).first() {
                Some(Ok(Submitted::New)) => {}
                // Its key is not listed, or was revoked: others would refuse it as well.
                outcome => {
                    let own = self.me.transport.public();
                    if self.complaints.may_log(&own, turn.now.uptime) {
                        warn!(?outcome, "this steward's sign of life does not count");
                    }
                    next = next.min(RETRY);
                }
            }
        }
        self.membership.heartbeat_at = turn.now.uptime + next;
    }

    /// Whether this node may be behind: it would bear witness to what the others have in doubt by now.
    fn may_be_behind(&self, now: Now) -> bool {
        !self.has_compared_roster() || self.expiry(now) != Expiry::Fresh
    }

    /// What has become law, taken effect or been settled, and this steward has not borne witness to.
    fn unwitnessed(&mut self, steward: &OrganizationId, now: Now) -> Vec<ContentHash> {
        if self.may_be_behind(now) {
            return Vec::new();
        }
        let law = self.law(now.unix);
        let statements = &self.membership.statements;
        let seen = law.proposals();
        let seen = seen.filter_map(|(id, _)| Some((*id, law.witnessed_from(id, now.unix)?)));
        let new = seen.filter(|(id, from)| !statements.has_witnessed(steward, id, *from));
        new.map(|(id, _)| id).take(limits::WITNESSED_MAX).collect()
    }
}
