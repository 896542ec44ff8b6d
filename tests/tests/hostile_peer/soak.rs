//! Random loss, copies, garbling, kills and restarts, from seeds: whatever happens, a result that
//! says complete is complete as far as the asker's digests reach, and nothing acknowledged is lost.

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use rand_core::Rng as _;
use signpost_node::core::local::{LocalRequest, NewId, Write};
use signpost_protocol::PointerId;
use signpost_tests::{
    founding::Plan,
    sim::{Fate, Network},
};

use crate::common::{draft, patient};

/// Seeds that once failed, tried first for ever.
const FAILED_BEFORE: &[u64] = &[];
/// Further seeds.
const SEEDS: std::ops::Range<u64> = 1_000..1_020;
const NODES: usize = 4;
const PATIENTS: u64 = 8;
/// Milliseconds within which a pointer is advertised.
const ADVERTISED_WITHIN: u64 = 5_000;

/// What became of a pointer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fact {
    /// Acknowledged at this time.
    Held(u64),
    /// Its writer was killed before it could acknowledge, or its deletion was.
    Perhaps,
}

struct Soak {
    network: Network,
    rng: ChaCha20Rng,
    /// By patient, holder and id.
    facts: BTreeMap<(u32, usize, PointerId), Fact>,
    deleted: BTreeSet<PointerId>,
    started: [u64; NODES],
    complete: u32,
    partial: u32,
}

impl Soak {
    fn below(&mut self, n: u64) -> u64 {
        self.rng.next_u64() % n
    }

    fn is_up(&self, at: usize) -> bool {
        self.network.running().any(|running| running == at)
    }

    fn write(&mut self) {
        let (at, n) = (self.below(NODES as u64) as usize, self.below(PATIENTS) as u32);
        if !self.is_up(at) {
            return;
        }
        let id: PointerId = format!("ORG{at}-{:x}", self.rng.next_u64()).parse().unwrap();
        let write = Write::Create { id: NewId::Given(id.clone()), draft: draft(at, patient(n)) };
        if self.below(8) == 0 {
            // Killed while the write is under way: nobody was told that it is held.
            self.network.begin(at, LocalRequest::Write(vec![write]));
            let pause = self.below(30);
            self.network.run_for(pause);
            self.network.kill(at);
            self.facts.insert((n, at, id), Fact::Perhaps);
        } else if self.network.write(at, vec![write]).remove(0).is_ok() {
            self.facts.insert((n, at, id), Fact::Held(self.network.now));
        }
    }

    fn delete(&mut self) {
        let held = self.facts.iter().filter(|(_, fact)| matches!(fact, Fact::Held(_)));
        let held: Vec<_> = held.map(|(key, _)| key.clone()).collect();
        if held.is_empty() {
            return;
        }
        let nth = self.below(held.len() as u64) as usize;
        let (n, at, id) = held[nth].clone();
        if self.is_up(at) {
            let delete = Write::Delete { id: id.clone(), if_match: None };
            assert!(
                self.network.write(at, vec![delete]).remove(0).is_ok(),
                "a delete needs nobody"
            );
            self.facts.remove(&(n, at, id.clone()));
            self.deleted.insert(id);
        }
    }

    fn kill_or_start(&mut self) {
        let at = self.below(NODES as u64) as usize;
        if !self.is_up(at) {
            self.network.start(at);
            self.started[at] = self.network.now;
        } else if self.network.running().count() > 3 {
            self.network.kill(at);
        }
    }

    /// Whether the asker's digest of a running holder is the holder's own newest.
    fn is_caught_up(&self, asker: usize, holder: usize) -> bool {
        let theirs = self.network.status(holder).serves[0].digest_version;
        let ods = format!("ORG{holder}");
        let status = self.network.status(asker);
        let known = status.peers.iter().find(|peer| peer.ods == ods);
        known.is_some_and(|peer| peer.digest_version == theirs)
    }

    fn locate(&mut self) {
        let (at, n) = (self.below(NODES as u64) as usize, self.below(PATIENTS) as u32);
        if !self.is_up(at) {
            return;
        }
        let due: Vec<PointerId> = self
            .facts
            .iter()
            .filter(|((of, holder, _), fact)| {
                let Fact::Held(since) = fact else { return false };
                let settled =
                    self.network.now >= since.max(&self.started[*holder]) + ADVERTISED_WITHIN;
                *of == n
                    && self.is_up(*holder)
                    && (*holder == at || (settled && self.is_caught_up(at, *holder)))
            })
            .map(|((_, _, id), _)| id.clone())
            .collect();
        let Ok(found) = self.network.locate(at, patient(n)) else { return };
        let ids: BTreeSet<&PointerId> = found.pointers.iter().map(|f| &f.pointer.id).collect();
        for id in &ids {
            let known = self.facts.keys().any(|(of, _, known)| known == *id && *of == n);
            assert!(known && !self.deleted.contains(id), "{id} was never written or is deleted");
        }
        if found.completeness.is_complete() {
            self.complete += 1;
            let missing: Vec<_> = due.iter().filter(|id| !ids.contains(id)).collect();
            assert!(missing.is_empty(), "called complete without {missing:?}");
        } else {
            self.partial += 1;
        }
    }

    fn step(&mut self) {
        match self.below(20) {
            0..8 => self.write(),
            8..16 => self.locate(),
            16 => self.delete(),
            17 => self.kill_or_start(),
            _ => {}
        }
        let pause = self.below(4_000);
        self.network.run_for(pause);
    }

    /// In peace everything that was acknowledged is found by everybody.
    fn assert_nothing_lost(&mut self) {
        self.network.behave();
        for at in 0..NODES {
            if !self.is_up(at) {
                self.network.start(at);
            }
        }
        // Two rounds of comparing heads: what gossip lost has been found by then.
        self.network.run_for(620_000);
        for at in 0..NODES {
            for n in 0..PATIENTS as u32 {
                let found = self.network.locate(at, patient(n)).unwrap();
                assert!(found.completeness.is_complete(), "{:?}", found.completeness);
                let ids: BTreeSet<PointerId> =
                    found.pointers.into_iter().map(|found| found.pointer.id).collect();
                for ((of, _, id), fact) in &self.facts {
                    if *of == n && *fact != Fact::Perhaps {
                        assert!(ids.contains(id), "node {at} lacks {id}");
                    }
                }
                let known =
                    |id: &PointerId| self.facts.keys().any(|(of, _, k)| k == id && *of == n);
                assert!(ids.iter().all(known), "node {at} has something nobody wrote");
            }
        }
    }
}

/// Meddles with one frame in `odds`: a third each is lost, doubled, garbled.
fn meddler(seed: u64, odds: u64) -> impl FnMut(&signpost_tests::sim::Passing<'_>) -> Fate {
    let mut rng = ChaCha20Rng::seed_from_u64(seed ^ 0xbad);
    move |frame| {
        let (hit, bit) = (rng.next_u64().is_multiple_of(odds), rng.next_u64());
        match rng.next_u64() % 3 {
            _ if !hit => Fate::Pass,
            0 => Fate::Drop,
            1 => Fate::Twice,
            _ => {
                let mut bytes = frame.bytes.to_vec();
                let at = bit as usize % bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << (bit >> 60 & 7);
                }
                Fate::Replace(bytes)
            }
        }
    }
}

fn soak(seed: u64) -> (u32, u32) {
    println!("seed {seed}");
    let mut soak = Soak {
        network: Network::settled(&Plan::of(NODES), seed),
        rng: ChaCha20Rng::seed_from_u64(seed),
        facts: BTreeMap::new(),
        deleted: BTreeSet::new(),
        started: [0; NODES],
        complete: 0,
        partial: 0,
    };
    for odds in [4, 12, 40] {
        soak.network.meddle(meddler(seed, odds));
        for _ in 0..35 {
            soak.step();
        }
    }
    soak.assert_nothing_lost();
    (soak.complete, soak.partial)
}

fn soak_all(seeds: impl Iterator<Item = u64>) {
    let (mut complete, mut partial) = (0, 0);
    for seed in seeds {
        let (c, p) = soak(seed);
        (complete, partial) = (complete + c, partial + p);
    }
    println!("{complete} complete and {partial} partial results");
    assert!(complete > 50, "too few complete results to prove anything");
    assert!(partial > 20, "too little harm was done to prove anything");
}

#[test]
fn complete_means_complete_whatever_happens_first_half() {
    soak_all(FAILED_BEFORE.iter().copied().chain(SEEDS.step_by(2)));
}

#[test]
fn complete_means_complete_whatever_happens_second_half() {
    soak_all(SEEDS.skip(1).step_by(2));
}
