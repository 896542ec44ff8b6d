//! What one guess at a passphrase costs: the parameters of Argon2id (RFC 9106).

use argon2::Params;

/// Memory and time that it takes to derive the keystore's key, once for each opening and guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// The most memory that opening a file may take, in KiB: 1 GiB, sixteen times the standard and
    /// still to be had on any server.
    pub const MEMORY_KIB_MAX: u32 = 1024 * 1024;

    /// The most passes that opening a file may take: at the memory cap, about 15 seconds.
    pub const PASSES_MAX: u32 = 16;

    /// The most lanes. They do not add to the work, so the cap merely keeps the header sane.
    pub const LANES_MAX: u32 = 16;

    /// 64 MiB, 3 passes, 1 lane: about 150 ms.
    ///
    /// Memory and passes are RFC 9106's second recommendation (§4), which suits a node that starts
    /// in a small container. One lane instead of four, because lanes run one after the other here:
    /// more of them would spare only an attacker, who can run them side by side.
    #[must_use]
    pub const fn standard() -> Self {
        Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 }
    }

    /// The least that Argon2 allows: **no protection against guessing**. It spares tests the wait.
    #[must_use]
    pub const fn weak_for_tests() -> Self {
        Self { memory_kib: Params::MIN_M_COST, passes: 1, lanes: 1 }
    }

    /// The cost that a file's header asks for, if it is within bounds and Argon2 allows it.
    pub(super) fn from_header(memory_kib: u32, passes: u32, lanes: u32) -> Option<Self> {
        let within = memory_kib <= Self::MEMORY_KIB_MAX
            && passes <= Self::PASSES_MAX
            && lanes <= Self::LANES_MAX;
        let cost = Self { memory_kib, passes, lanes };
        (within && cost.build().is_some()).then_some(cost)
    }

    pub(super) fn params(self) -> Params {
        self.build().expect("every Cost is within Argon2's bounds")
    }

    fn build(self) -> Option<Params> {
        Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).ok()
    }

    pub(super) const fn memory_kib(self) -> u32 {
        self.memory_kib
    }

    pub(super) const fn passes(self) -> u32 {
        self.passes
    }

    pub(super) const fn lanes(self) -> u32 {
        self.lanes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_bounded() {
        let max = (Cost::MEMORY_KIB_MAX, Cost::PASSES_MAX, Cost::LANES_MAX);
        assert!(Cost::from_header(max.0, max.1, max.2).is_some());
        for (memory_kib, passes, lanes) in [
            (max.0 + 1, 1, 1),
            (u32::MAX, 1, 1),
            (64, max.1 + 1, 1),
            (64, u32::MAX, 1),
            (1024, 1, max.2 + 1),
            // Below what Argon2 allows: 8 KiB a lane, one pass, one lane.
            (7, 1, 1),
            (8, 1, 2),
            (8, 0, 1),
            (8, 1, 0),
        ] {
            assert_eq!(Cost::from_header(memory_kib, passes, lanes), None);
        }
    }

    #[test]
    fn what_we_write_we_read() {
        for cost in [Cost::standard(), Cost::weak_for_tests()] {
            let again = Cost::from_header(cost.memory_kib, cost.passes, cost.lanes);
            assert_eq!(again, Some(cost));
            assert_eq!(cost.params().m_cost(), cost.memory_kib);
        }
    }
}
