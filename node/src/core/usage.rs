//! How much each organization has had evaluated today, and how much more it may.
//!
//! Whoever may evaluate can test numbers, one evaluation each; so what one organization may have in a day
//! is bounded by what it needs. Counted by purpose, at each evaluator for itself, from midnight to
//! midnight UTC, and before any curve arithmetic.
//!
//! Counts are on disk ahead of what is granted, a block at a time, so that a look-up does not wait for the
//! disk: after a kill an organization may count as having used up to a block more than it did.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use signpost_protocol::{
    OrganizationId, Timestamp, blind::EvaluatePurpose, codec, locate::RefusalCode, roster::Quotas,
};
use tracing::warn;

use super::{
    Core, Turn,
    event::{Action, Persist},
    local::{UsageDay, UsageShown},
    rows,
};
use crate::{digests::SizeClass, store::Batch};

/// Milliseconds of a day.
const DAY: u64 = 24 * 3_600_000;
/// Days for which counts are kept: a month, to be looked into when somebody asks.
const DAYS_KEPT: u64 = 35;
/// The part of a quota that is put on disk ahead: a kill costs no more than this, and a day takes no more
/// writes.
const BLOCKS: u64 = 20;
/// Look-ups past the quota, as many times the quota: people treat patients also on a day that is unlike
/// others, but not without end.
const LOOKUP_CAP: u64 = 2;
/// Rows that are deleted in one go when a day is over.
const PAGE: usize = 500;

/// What one organization has had evaluated in a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(super) struct Used {
    #[n(0)]
    lookups: u64,
    #[n(1)]
    publishes: u64,
}

impl Used {
    fn of(&mut self, purpose: EvaluatePurpose) -> &mut u64 {
        match purpose {
            EvaluatePurpose::Lookup => &mut self.lookups,
            EvaluatePurpose::Publish | EvaluatePurpose::Rekey => &mut self.publishes,
        }
    }
}

/// The counts of today.
#[derive(Default)]
pub(super) struct Usage {
    /// Days since 1970.
    day: u64,
    of: BTreeMap<OrganizationId, Counted>,
    /// The uptime at which old rows are looked for next.
    clear_at: u64,
}

#[derive(Default)]
struct Counted {
    used: Used,
    /// As on disk.
    reserved: Used,
}

/// What may be evaluated for an organization in a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    lookups: u64,
    publishes: u64,
}

impl Allowance {
    /// By the size class up to which the organization may advertise.
    fn new(quotas: &Quotas, class_max: u8) -> Self {
        let capacity = SizeClass::new(class_max).map_or(0, |class| u64::from(class.capacity()));
        let of =
            |least: u32, permille: u16| u64::from(least) + capacity * u64::from(permille) / 1_000;
        Self {
            lookups: of(quotas.lookups, quotas.lookups_permille),
            publishes: of(quotas.publishes, quotas.publishes_permille),
        }
    }

    const fn of(&self, purpose: EvaluatePurpose) -> u64 {
        match purpose {
            EvaluatePurpose::Lookup => self.lookups,
            EvaluatePurpose::Publish | EvaluatePurpose::Rekey => self.publishes,
        }
    }

    const fn cap(&self, purpose: EvaluatePurpose) -> u64 {
        match purpose {
            EvaluatePurpose::Lookup => self.lookups.saturating_mul(LOOKUP_CAP),
            EvaluatePurpose::Publish | EvaluatePurpose::Rekey => self.publishes,
        }
    }
}

/// What follows from counting.
#[derive(Debug, PartialEq, Eq)]
enum Admitted {
    /// Within what is on disk.
    Counted,
    /// This is to be put on disk; whether the quota was passed just now.
    Reserve(Used, bool),
}

impl Usage {
    /// Counts `elements`, unless that would be more than the organization may have.
    fn admit(
        &mut self,
        asking: OrganizationId,
        purpose: EvaluatePurpose,
        elements: u64,
        allowance: &Allowance,
    ) -> Result<Admitted, RefusalCode> {
        let counted = self.of.entry(asking).or_default();
        let before = *counted.used.of(purpose);
        let after = before.saturating_add(elements);
        if after > allowance.cap(purpose) {
            return Err(RefusalCode::OverQuota);
        }
        *counted.used.of(purpose) = after;
        let quota = allowance.of(purpose);
        let passes = before <= quota && after > quota;
        let reserved = counted.reserved.of(purpose);
        if after <= *reserved && !passes {
            return Ok(Admitted::Counted);
        }
        *reserved = (*reserved).max(after.saturating_add((quota / BLOCKS).max(1)));
        Ok(Admitted::Reserve(counted.reserved, passes))
    }
}

const fn day_of(time: Timestamp) -> u64 {
    time.0 / DAY
}

/// Seconds until the next day begins.
pub(super) const fn seconds_left(now: Timestamp) -> u64 {
    (DAY - now.0 % DAY).div_ceil(1_000)
}

impl Core {
    /// Takes up the counts of today that an earlier life has stored.
    pub(super) fn load_usage(&mut self, turn: &Turn<'_>) -> Result<(), rows::RowError> {
        self.load_day(turn, day_of(turn.now.unix))
    }

    fn load_day(&mut self, turn: &Turn<'_>, day: u64) -> Result<(), rows::RowError> {
        self.usage.day = day;
        let prefix = rows::usage_prefix(self.usage.day);
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = turn.store.scan(&prefix, after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, row) in page {
                let damaged = || rows::RowError::Damaged("count of evaluations");
                let (_, organization) = rows::usage_of_key(&key).ok_or_else(damaged)?;
                let used: Used = codec::decode("usage", &row, row.len()).map_err(|_| damaged())?;
                self.usage.of.insert(organization, Counted { used, reserved: used });
            }
        }
    }

    /// Counts an evaluation for another organization against what it may have in a day.
    pub(super) fn count_usage(
        &mut self,
        turn: &mut Turn<'_>,
        asking: OrganizationId,
        purpose: EvaluatePurpose,
        elements: usize,
    ) -> Result<(), RefusalCode> {
        self.turn_day(turn);
        let class_max = self.roster.member(&asking).map_or(0, |member| member.class_max);
        let allowance = Allowance::new(&self.roster.parameters().quotas(), class_max);
        match self.usage.admit(asking, purpose, elements as u64, &allowance)? {
            Admitted::Counted => {}
            Admitted::Reserve(reserved, passes) => {
                let day = self.usage.day;
                self.put_usage(turn, day, &[(asking, reserved)]);
                if passes {
                    let (ods, name) = self.label(&asking);
                    warn!(%ods, name, ?purpose, "an organization has passed its quota of evaluations");
                }
            }
        }
        Ok(())
    }

    /// Begins another day, by a clock that can be trusted: a wrong one would have all begin anew, or none
    /// for long. One that is a little behind turns no day back.
    fn turn_day(&mut self, turn: &mut Turn<'_>) {
        let today = day_of(turn.now.unix);
        let is_another = today > self.usage.day || today + 1 < self.usage.day;
        if !is_another || !(self.clock_is_confirmed() || self.is_alone()) {
            return;
        }
        self.end_day(turn);
        if let Err(error) = self.load_day(turn, today) {
            warn!(%error, "the counts of evaluations of today cannot be read");
        }
    }

    /// Writes down what was used, instead of what was put on disk ahead.
    fn end_day(&mut self, turn: &mut Turn<'_>) {
        let day = self.usage.day;
        let exact: Vec<_> = std::mem::take(&mut self.usage.of).into_iter().collect();
        let exact: Vec<_> = exact.into_iter().map(|(one, counted)| (one, counted.used)).collect();
        exact.chunks(PAGE).for_each(|some| self.put_usage(turn, day, some));
    }

    fn put_usage(&self, turn: &mut Turn<'_>, day: u64, counts: &[(OrganizationId, Used)]) {
        let mut batches = vec![Batch::default()];
        for (organization, used) in counts {
            let (key, row) = (rows::usage_key(day, organization), codec::encode(used));
            let last = batches.last_mut().expect("begun with one");
            if last.put(key.clone(), row.clone()).is_err() {
                let mut next = Batch::default();
                next.put(key, row).expect("one fits an empty batch");
                batches.push(next);
            }
        }
        turn.act(Action::Persist(Persist { batches, ..Persist::default() }));
    }

    /// Deletes counts that are older than they are kept, some at a time.
    pub(super) fn maintain_usage(&mut self, turn: &mut Turn<'_>) {
        if turn.now.uptime < self.usage.clear_at {
            return;
        }
        self.usage.clear_at = turn.now.uptime + 60_000;
        let Ok(page) = turn.store.scan(rows::USAGE_PREFIX, None, PAGE) else { return };
        let oldest = self.usage.day.saturating_sub(DAYS_KEPT);
        let is_old = |key: &[u8]| rows::usage_of_key(key).is_some_and(|(day, _)| day < oldest);
        let mut batch = Batch::default();
        for (key, _) in page.into_iter().take_while(|(key, _)| is_old(key)) {
            if batch.delete(key).is_err() {
                break;
            }
        }
        if !batch.is_empty() {
            turn.act(Action::Persist(Persist { batches: vec![batch], ..Persist::default() }));
        }
    }

    /// Who has passed the quota of look-ups today.
    pub(super) fn over_quota(&self) -> impl Iterator<Item = (OrganizationId, u64, u64)> + '_ {
        let quotas = self.roster.parameters().quotas();
        self.usage.of.iter().filter_map(move |(organization, counted)| {
            let class_max = self.roster.member(organization)?.class_max;
            let quota = Allowance::new(&quotas, class_max).lookups;
            let used = counted.used.lookups;
            (used > quota).then_some((*organization, used, quota))
        })
    }

    /// The counts of the last days, the latest first.
    pub(super) fn usage_report(&self, turn: &Turn<'_>) -> Result<Vec<UsageDay>, rows::RowError> {
        let quotas = self.roster.parameters().quotas();
        let shown = |organization: &OrganizationId, used: &Used| {
            let (ods, name) = self.label(organization);
            let class_max = self.roster.member(organization).map_or(0, |member| member.class_max);
            let allowance = Allowance::new(&quotas, class_max);
            UsageShown {
                organization: organization.to_string(),
                ods: ods.to_string(),
                name,
                lookups: used.lookups,
                lookups_quota: allowance.lookups,
                publishes: used.publishes,
                publishes_quota: allowance.publishes,
            }
        };
        let today = self.usage.of.iter().map(|(one, counted)| shown(one, &counted.used)).collect();
        let mut days = vec![UsageDay { day: self.usage.day, organizations: today }];
        for day in (self.usage.day.saturating_sub(DAYS_KEPT)..self.usage.day).rev() {
            let mut organizations = Vec::new();
            let prefix = rows::usage_prefix(day);
            let mut after: Option<Vec<u8>> = None;
            loop {
                let page = turn.store.scan(&prefix, after.as_deref(), PAGE)?;
                let Some((last, _)) = page.last() else { break };
                after = Some(last.clone());
                for (key, row) in page {
                    let damaged = || rows::RowError::Damaged("count of evaluations");
                    let (_, organization) = rows::usage_of_key(&key).ok_or_else(damaged)?;
                    let used = codec::decode("usage", &row, row.len()).map_err(|_| damaged())?;
                    organizations.push(shown(&organization, &used));
                }
            }
            if !organizations.is_empty() {
                days.push(UsageDay { day, organizations });
            }
        }
        Ok(days)
    }
}

#[cfg(test)]
mod tests {
    use EvaluatePurpose::{Lookup, Publish};

    use super::*;

    const ONE: OrganizationId = OrganizationId([1; 32]);
    const OTHER: OrganizationId = OrganizationId([2; 32]);

    #[test]
    fn look_ups_pass_the_quota_up_to_a_cap_and_publishing_does_not() {
        let allowance = Allowance { lookups: 2_000, publishes: 3_000 };
        let mut usage = Usage::default();
        let mut admit = |organization, purpose, elements| {
            usage.admit(organization, purpose, elements, &allowance)
        };
        let passes = |admitted| matches!(admitted, Ok(Admitted::Reserve(_, true)));
        assert!(!passes(admit(ONE, Lookup, 2_000)));
        assert!(passes(admit(ONE, Lookup, 1)), "said once");
        assert!(!passes(admit(ONE, Lookup, 1_999)));
        assert_eq!(admit(ONE, Lookup, 1), Err(RefusalCode::OverQuota));
        assert!(admit(ONE, Publish, 3_000).is_ok(), "counted apart");
        assert_eq!(admit(ONE, Publish, 1), Err(RefusalCode::OverQuota));
        assert!(admit(OTHER, Publish, 3_000).is_ok(), "each for itself");
    }

    #[test]
    fn what_is_on_disk_is_never_less_than_what_was_granted() {
        let allowance = Allowance { lookups: 100_000, publishes: 0 };
        let mut usage = Usage::default();
        let (mut on_disk, mut granted, mut writes) = (0, 0, 0);
        for elements in (1..400).cycle().take(2_000) {
            match usage.admit(ONE, Lookup, elements, &allowance) {
                Ok(admitted) => {
                    granted += elements;
                    if let Admitted::Reserve(reserved, _) = admitted {
                        on_disk = reserved.lookups;
                        writes += 1;
                    }
                    assert!(granted <= on_disk);
                }
                Err(_) => break,
            }
        }
        assert!(granted > 190_000 && granted <= 200_000, "{granted}");
        assert!(writes < 50, "{writes} writes");
    }

    #[test]
    fn a_larger_organization_may_have_more() {
        let small = Allowance::new(&Quotas::STANDARD, 0);
        let large = Allowance::new(&Quotas::STANDARD, SizeClass::LARGEST.number());
        assert!(
            small.lookups >= 2_000 && large.lookups > 10 * small.lookups,
            "{small:?} {large:?}"
        );
        assert!(large.publishes > 10 * small.publishes);
    }

    #[test]
    fn a_day_ends_at_midnight() {
        assert_eq!(seconds_left(Timestamp(0)), 86_400);
        assert_eq!(seconds_left(Timestamp(DAY - 1)), 1);
        assert_eq!(day_of(Timestamp(DAY)), 1);
    }
}
