//! What goes wrong: nodes, disks, clocks, links, and a member that lies.

use rand_core::Rng as _;
use signpost_node::store::DisclosureRole;

use super::{Disk, EVALUATORS, NODES, PARAMETERS, PATIENTS, Scenario, WRITE_DEADLINE};
use crate::{liar::Lie, restored::Restored, truth::Violation};

impl Scenario {
    pub(super) fn set_clocks(&mut self) {
        let most = PARAMETERS.clock_skew_max as i64 / 2 - 100;
        for at in 0..NODES {
            if self.below(3) == 0 {
                let skew = self.below(2 * most as u64) as i64 - most;
                self.network.nodes[at].skew = skew;
                self.skews[at] = (skew, skew);
            }
        }
        for node in &mut self.network.nodes {
            node.build_time = 5 + self.rng.next_u64() % 40;
        }
    }

    pub(super) fn begin_storm(&mut self, number: u64) {
        self.calm_since = None;
        let lies: Vec<Lie> =
            (0..5).map(|_| Lie::ALL[self.rng.next_u64() as usize % Lie::ALL.len()]).collect();
        let mut weather = self.weather.borrow_mut();
        weather.lost = [0, 20, 100, 250][self.rng.next_u64() as usize % 4];
        weather.doubled = [0, 50][self.rng.next_u64() as usize % 2];
        weather.late = [0, 100][self.rng.next_u64() as usize % 2];
        weather.late_max = [100, 2_000, 5_000][self.rng.next_u64() as usize % 3];
        weather.liar.lies = lies;
        let line = format!(
            "-- storm {number}: of 1,000 frames {} lost, {} doubled, {} late by up to {} ms; ORG{} lies about {:?}",
            weather.lost,
            weather.doubled,
            weather.late,
            weather.late_max,
            self.liar,
            weather.liar.lies
        );
        drop(weather);
        self.note(|| line);
    }

    pub(super) fn fault(&mut self) -> Result<(), Violation> {
        match self.below(10) {
            0..3 => {
                let at = self.some_node();
                self.kill(at)?;
            }
            3 | 4 => self.kill_at_reply()?,
            5 | 6 => {
                let at = self.some_node();
                if at != self.liar {
                    self.note(|| format!("ORG{at} is backed up"));
                    self.backups.insert(at, self.network.back_up(at));
                }
            }
            7 if self.cut.is_none() => self.divide(),
            8 => self.turn_clock(),
            _ => {}
        }
        Ok(())
    }

    /// Kills a node at the very moment in which it replies.
    pub(super) fn kill_at_reply(&mut self) -> Result<(), Violation> {
        let at = self.some_node();
        if !self.may_die(at) {
            return Ok(());
        }
        let ticket = if self.below(3) == 0 {
            let of = self.below(PATIENTS) as u32;
            self.locate(at, of, false)
        } else {
            self.create(at)
        };
        self.network.run_until(WRITE_DEADLINE, |network| network.is_answered(at, ticket));
        self.step()?;
        if self.is_up(at) { self.kill(at) } else { Ok(()) }
    }

    /// So many may be down that some look-ups fail, not so many that all do.
    pub(super) fn may_die(&self, at: usize) -> bool {
        let evaluators = self.down.keys().filter(|at| **at < EVALUATORS).count();
        self.down.len() < 12 && (at >= EVALUATORS || evaluators < 3)
    }

    pub(super) fn kill(&mut self, at: usize) -> Result<(), Violation> {
        if !self.may_die(at) {
            return Ok(());
        }
        self.counts.kills += 1;
        self.network.kill(at);
        self.asked.retain(|_, asked| asked.at != at);
        let disk = match self.below(8) {
            0 if at != self.liar => Disk::Lost,
            1 | 2 if self.backups.contains_key(&at) => Disk::Old,
            _ => Disk::Kept,
        };
        self.truth.check_disk(at, &*self.network.nodes[at].store)?;
        let records = self.network.nodes[at].disclosures.iter();
        let records = records.filter(|record| record.role == DisclosureRole::Asker).count() as u64;
        if records < self.recorded[at] {
            return Err(format!("ORG{at} told its users something without a record of it on disk"));
        }
        let until = self.network.now + 100 + self.below(8_000);
        self.note(|| format!("ORG{at} is killed"));
        self.down.insert(at, (until, disk));
        Ok(())
    }

    pub(super) fn come_back(&mut self, at: usize) {
        let (_, disk) = self.down.remove(&at).expect("it is down");
        match disk {
            Disk::Kept => self.note(|| format!("ORG{at} starts")),
            Disk::Lost => {
                self.note(|| format!("ORG{at} starts without its disk"));
                self.network.wipe(at);
            }
            Disk::Old => {
                self.note(|| format!("ORG{at} starts with an old disk"));
                self.network.restore(at, &self.backups[&at]);
            }
        }
        if !matches!(disk, Disk::Kept) {
            self.counts.restored += 1;
            self.truth.disk_replaced(at);
            self.replaced.insert(at);
            self.restored.insert(at, Restored::new(&self.network, at));
        }
        self.network.start(at);
    }

    pub(super) fn divide(&mut self) {
        let sides: Vec<bool> = (0..NODES).map(|_| self.rng.next_u64().is_multiple_of(3)).collect();
        let until = self.network.now + 2_000 + self.below(12_000);
        let silently = self.below(2) == 0;
        self.note(|| format!("the network falls in two, silently: {silently}; {sides:?}"));
        if silently {
            self.weather.borrow_mut().sides = Some(sides.clone());
        } else {
            self.cut_all(&sides, true);
        }
        self.cut = Some((until, sides));
    }

    pub(super) fn cut_all(&mut self, sides: &[bool], cut: bool) {
        for a in 0..NODES {
            for b in (a + 1..NODES).filter(|b| sides[a] != sides[*b]) {
                self.network.set_cut(a, b, cut);
            }
        }
    }

    pub(super) fn heal(&mut self) {
        let Some((_, sides)) = self.cut.take() else { return };
        self.note(|| "the network is one again".to_owned());
        self.weather.borrow_mut().sides = None;
        self.cut_all(&sides, false);
    }

    pub(super) fn turn_clock(&mut self) {
        let at = self.some_node();
        let by = PARAMETERS.clock_skew_max as i64 + 500 + self.below(100_000) as i64;
        let skew = if self.below(2) == 0 { by } else { -by };
        self.note(|| format!("the clock of ORG{at} is {skew} ms wrong"));
        self.set_clock(at, skew);
    }

    pub(super) fn set_clock(&mut self, at: usize, skew: i64) {
        self.network.nodes[at].skew = skew;
        let (least, most) = &mut self.skews[at];
        *least = (*least).min(skew);
        *most = (*most).max(skew);
    }

    pub(super) fn end_faults(&mut self) -> Result<(), Violation> {
        self.heal();
        let mut weather = self.weather.borrow_mut();
        self.counts.lies = weather.liar.count;
        weather.clear();
        drop(weather);
        for at in self.down.keys().copied().collect::<Vec<_>>() {
            self.come_back(at);
        }
        for at in 0..NODES {
            if self.skews[at].0 != self.skews[at].1 {
                self.set_clock(at, 0);
            }
        }
        self.counts.decided = self.decided.count;
        self.end_governing();
        // The liar has lied about itself too; its admin has nothing to send again.
        let restored = Restored::new(&self.network, self.liar);
        self.restored.insert(self.liar, restored);
        Ok(())
    }
}
