//! Requests seen before are refused.
//!
//! A request is bound to the connection of the peer that signed it, so only that peer could
//! replay it; the guard keeps it from making us disclose and record twice. It is kept in memory:
//! a request from before a restart has been answered or has expired.

use std::collections::{BTreeSet, HashMap, HashSet};

use signpost_protocol::{OrganizationId, RequestId, Timestamp};

/// Requests of one organization remembered at once, for up to five minutes each: 66 a second of them
/// at one node, half of what all England asks in its busy hour.
pub(super) const REPLAYS_PER_ORGANIZATION_MAX: usize = 20_000;
/// Requests of all organizations remembered at once.
pub(super) const REPLAYS_MAX: usize = 200_000;

/// What a guard thinks of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Not seen before; remembered from now on.
    New,
    /// Seen before.
    Before,
    /// There is no room to remember it, so it cannot be let through.
    Full,
}

/// Remembers requests until they expire.
#[derive(Default)]
pub(super) struct ReplayGuard {
    seen: HashSet<(OrganizationId, RequestId)>,
    by_expiry: BTreeSet<(Timestamp, OrganizationId, RequestId)>,
    counts: HashMap<OrganizationId, usize>,
}

impl ReplayGuard {
    /// Checks and remembers one request, void after `forget_at`.
    pub(super) fn check(
        &mut self,
        asking: OrganizationId,
        request: RequestId,
        forget_at: Timestamp,
        now: Timestamp,
    ) -> Seen {
        while let Some(first) = self.by_expiry.first().copied().filter(|(at, ..)| *at < now) {
            self.by_expiry.remove(&first);
            self.seen.remove(&(first.1, first.2));
            if let Some(count) = self.counts.get_mut(&first.1) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&first.1);
                }
            }
        }
        if self.seen.contains(&(asking, request)) {
            return Seen::Before;
        }
        let count = self.counts.get(&asking).copied().unwrap_or(0);
        if self.seen.len() >= REPLAYS_MAX || count >= REPLAYS_PER_ORGANIZATION_MAX {
            return Seen::Full;
        }
        self.counts.insert(asking, count + 1);
        self.seen.insert((asking, request));
        self.by_expiry.insert((forget_at, asking, request));
        Seen::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORGANIZATION: OrganizationId = OrganizationId([1; 32]);

    #[test]
    fn a_request_passes_once_until_it_is_forgotten() {
        let mut guard = ReplayGuard::default();
        let (request, until) = (RequestId([1; 16]), Timestamp(100));
        assert_eq!(guard.check(ORGANIZATION, request, until, Timestamp(1)), Seen::New);
        assert_eq!(guard.check(ORGANIZATION, request, until, Timestamp(100)), Seen::Before);
        let other = OrganizationId([2; 32]);
        assert_eq!(guard.check(other, request, until, Timestamp(100)), Seen::New);
        assert_eq!(guard.check(ORGANIZATION, request, until, Timestamp(101)), Seen::New);
    }

    #[test]
    fn a_full_guard_lets_nothing_through() {
        let mut guard = ReplayGuard::default();
        let id = |n: usize| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&(n as u64).to_be_bytes());
            RequestId(id)
        };
        for n in 0..REPLAYS_PER_ORGANIZATION_MAX {
            assert_eq!(guard.check(ORGANIZATION, id(n), Timestamp(9), Timestamp(1)), Seen::New);
        }
        let next = id(REPLAYS_PER_ORGANIZATION_MAX);
        let other = OrganizationId([2; 32]);
        assert_eq!(guard.check(other, next, Timestamp(9), Timestamp(1)), Seen::New);
        assert_eq!(guard.check(ORGANIZATION, next, Timestamp(9), Timestamp(1)), Seen::Full);
        assert_eq!(guard.check(ORGANIZATION, next, Timestamp(20), Timestamp(10)), Seen::New);
    }
}
