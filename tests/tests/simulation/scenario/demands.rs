//! What has to be in a result that says complete: exactly what `docs/hazards.md` promises, rows 2 and 8.

use signpost_protocol::PointerId;
use signpost_tests::founding::FOUNDED;

use super::{ADVERTISED_WITHIN, BUILD_TIMES, PARAMETERS, Scenario};

/// Why something has to be in a complete result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Because {
    Own,
    AskedDirectly,
    AllIsWell,
    DigestCoversIt,
    DigestTooOld,
    DiskReplaced,
}

pub(super) struct Due {
    pub(super) id: PointerId,
    pub(super) because: Because,
    /// The true time at which the head was signed that the asker goes by.
    pub(super) head: Option<i64>,
}

impl Scenario {
    /// What a holder's building of filters may delay, and the second that everything may.
    pub(super) fn lag(&self, holder: usize) -> u64 {
        ADVERTISED_WITHIN + BUILD_TIMES * self.network.nodes[holder].build_time
    }

    /// How long a head may be missed unsaid: as long as the one before it counts as fresh, to a clock
    /// that differs by no more than is allowed.
    pub(super) fn delay(&self, asker: usize, holder: usize) -> u64 {
        let apart = (self.skews[holder].1 - self.skews[asker].0).max(0) as u64;
        let steady = self.skews[holder].0 == self.skews[holder].1
            && self.skews[asker].0 == self.skews[asker].1;
        let apart = if steady { apart.min(PARAMETERS.clock_skew_max) } else { apart };
        PARAMETERS.head_age_max + apart + self.lag(holder)
    }

    pub(super) fn due(&self, asker: usize, of: u32, custodian: Option<usize>) -> Vec<Due> {
        let now = self.network.now;
        let status = self.network.status(asker);
        let mut due = Vec::new();
        for (id, record) in self.truth.pointers.iter().filter(|(_, r)| r.patient == of) {
            let holder = record.holder;
            if !record.exists(now, now) || custodian.is_some_and(|only| only != holder) {
                continue;
            }
            let known = status.peers.iter().find(|peer| peer.ods == format!("ORG{holder}"));
            let version = known.and_then(|peer| peer.digest_version);
            let head = version.and_then(|version| self.signed_at(holder, version));
            let mut add = |because| due.push(Due { id: id.clone(), because, head });
            if !record.listed && custodian.is_none() && holder != asker {
                continue;
            }
            let Some(held) = record.held_since else {
                add(Because::DiskReplaced);
                continue;
            };
            let started = held.max(self.network.started(holder));
            let lag = self.lag(holder);
            let is_steady = self.skews[holder].0 == self.skews[holder].1;
            let covers = |head: i64| is_steady && head >= (started + lag) as i64;
            let before = head.is_some_and(|head| is_steady && head < held as i64);
            let since = if before { held } else { started };
            if holder == asker {
                add(Because::Own);
            } else if custodian.is_some() {
                add(Because::AskedDirectly);
            } else if self.calm_since.is_some_and(|calm| now >= calm.max(held) + lag) {
                add(Because::AllIsWell);
            } else if head.is_some_and(covers) {
                add(Because::DigestCoversIt);
            } else if now > since + self.delay(asker, holder) {
                add(Because::DigestTooOld);
            }
        }
        due
    }

    /// The true time at which a head was signed.
    pub(super) fn signed_at(&self, holder: usize, version: u64) -> Option<i64> {
        let witness = self.witness.borrow();
        let signed = witness.heads.get(&(holder, version))?;
        Some(signed.0 as i64 - FOUNDED.0 as i64 - self.skews[holder].0)
    }
}
