//! One seed: fifty nodes, their users, and everything that goes wrong, checked at every step.

mod demands;
mod faults;
mod governing;
mod replies;
mod users;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use rand_core::Rng as _;
use signpost_node::core::Ticket;
use signpost_protocol::{PointerId, roster::Parameters};
use signpost_tests::{
    founding::Plan,
    sim::{Backup, Network, Plant},
};

use self::{demands::Due, governing::Decided};
use crate::{
    liar::Liar,
    restored::Restored,
    truth::{Truth, Violation},
    weather::Weather,
    witness::Witness,
};

const NODES: usize = 50;
const EVALUATORS: usize = 5;
const PATIENTS: u64 = 12;
/// A fifteenth of the standard durations, so that little time covers much; digests go stale sooner
/// still, within one storm, and clocks may differ by less.
const PARAMETERS: Parameters = Parameters {
    head_interval: Parameters::STANDARD.head_interval / 15,
    head_age_max: Parameters::STANDARD.head_age_max / 36,
    clock_skew_max: Parameters::STANDARD.clock_skew_max / 30,
    request_life_max: Parameters::STANDARD.request_life_max,
    ..Parameters::STANDARD
};
/// Milliseconds within which a new pointer is advertised when all is well (`docs/hazards.md`, row 2).
const ADVERTISED_WITHIN: u64 = 1_000;
/// Building times for which a filter is not built again (`BUILD_SPACING`), and the building itself
/// before and after.
const BUILD_TIMES: u64 = 22;
/// Milliseconds that a user gives a locate or a read.
const DEADLINE: u64 = 3_000;
/// ... and that a node gives the blinding of a batch of writes.
const WRITE_DEADLINE: u64 = 10_000;
/// ... and that the node may take beside, for what goes on inside it.
const SLACK: u64 = 100;
/// Milliseconds after the last fault in which the network must be complete again: a node is found
/// within 30 s, a part of a digest that nobody had is asked for again within 60 s, and everybody
/// issues a head within an interval.
const RECOVERY: u64 = 30_000 + 60_000 + PARAMETERS.head_interval;
/// Requests of one node to others that may be under way: some for each peer, and every inquiry's.
const OUTSTANDING_MAX: usize = 5_000;
/// Filters and change lists that a node may have on disk before it cleans up, every ten minutes:
/// two digests of everybody, and what came since.
const BLOBS_MAX: usize = 20_000;

/// What a seed came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub complete: u64,
    pub partial: u64,
    pub failed: u64,
    pub acknowledged: u64,
    pub kills: u64,
    pub restored: u64,
    pub lies: u64,
    /// Times that something had to be in a complete result.
    pub demands: u64,
    /// Decisions of the stewards, and of members about their keys.
    pub decided: u64,
}

impl Counts {
    pub const fn add(&mut self, other: Self) {
        self.complete += other.complete;
        self.partial += other.partial;
        self.failed += other.failed;
        self.acknowledged += other.acknowledged;
        self.kills += other.kills;
        self.restored += other.restored;
        self.lies += other.lies;
        self.demands += other.demands;
        self.decided += other.decided;
    }
}

enum Op {
    Write { writes: Vec<PointerId> },
    OfLiar,
    Locate(Search),
    Read { id: PointerId, in_calm: bool },
    Confirm,
    Submit,
}

/// A locate under way.
struct Search {
    patient: u32,
    /// Whether one holder is asked, whatever its digest says.
    directly: bool,
    /// What has to be in a complete result.
    due: Vec<Due>,
    /// Whether the node's only other inquiries are other nodes'.
    alone: bool,
    in_calm: bool,
    /// Whom the node knew to be suspended when it was asked.
    cut_off: Vec<usize>,
}

struct Asked {
    at: usize,
    begun: u64,
    op: Op,
}

enum Disk {
    Kept,
    Lost,
    Old,
}

pub struct Scenario {
    rng: ChaCha20Rng,
    network: Network,
    truth: Truth,
    witness: Rc<RefCell<Witness>>,
    weather: Rc<RefCell<Weather>>,
    liar: usize,
    asked: BTreeMap<Ticket, Asked>,
    /// Nodes that are down, and when they come back.
    down: BTreeMap<usize, (u64, Disk)>,
    backups: BTreeMap<usize, Backup>,
    restored: BTreeMap<usize, Restored>,
    /// When the admin of a restored node confirmed last: others may learn of it by the next head only.
    confirmed_at: u64,
    decided: Decided,
    /// Nodes that may say that they were restored: whose disk was replaced, and who lies about itself.
    replaced: BTreeSet<usize>,
    /// The least and the greatest difference that each clock had, and whether it ever changed.
    skews: Vec<(i64, i64)>,
    /// Since when there are no faults and every node knows every digest.
    calm_since: Option<u64>,
    /// Results of each node's users in its present life that have a record.
    recorded: Vec<u64>,
    cut: Option<(u64, Vec<bool>)>,
    looked_at: u64,
    next_text: u64,
    pub counts: Counts,
    pub trace: Vec<String>,
    aloud: bool,
}

impl Scenario {
    pub fn new(seed: u64, plant: Option<Plant>, aloud: bool) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let young = rng.next_u64().is_multiple_of(2);
        let plan = Plan {
            parameters: PARAMETERS,
            evaluators: EVALUATORS,
            threshold: 3,
            age: if young { 1_000 } else { 700_000 },
            ..Plan::of(NODES)
        };
        let mut network = Network::new(&plan, seed);
        if let Some(plant) = plant {
            network.plant(plant);
        }
        let liar = rng.next_u64() as usize % NODES;
        let victim = (liar + 1) % NODES;
        let lies = ChaCha20Rng::seed_from_u64(seed ^ 0x11e);
        let chance = ChaCha20Rng::seed_from_u64(seed ^ 0xbad);
        let weather = Weather::new(Liar::new(&network, liar, victim, lies), chance);
        let weather = Rc::new(RefCell::new(weather));
        let witness = Rc::new(RefCell::new(Witness::default()));
        let (w, seen) = (weather.clone(), witness.clone());
        network.meddle(move |frame| w.borrow_mut().fate(frame));
        network.watch(move |frame, sender| seen.borrow_mut().see(frame, sender));
        let mut scenario = Self {
            rng,
            network,
            truth: Truth::default(),
            witness,
            weather,
            liar,
            asked: BTreeMap::new(),
            down: BTreeMap::new(),
            backups: BTreeMap::new(),
            restored: BTreeMap::new(),
            confirmed_at: 0,
            // One seed in four, and none of those that are kept from before there was governing.
            decided: Decided::new(matches!(seed % 8, 4 | 6)),
            replaced: BTreeSet::from([liar]),
            skews: vec![(0, 0); NODES],
            calm_since: None,
            recorded: vec![0; NODES],
            cut: None,
            looked_at: 0,
            next_text: 0,
            counts: Counts::default(),
            trace: Vec::new(),
            aloud,
        };
        scenario.set_clocks();
        scenario
    }

    /// Plays the seed to its end, or to the first thing that is not as it must be.
    pub fn play(&mut self) -> Result<(), Violation> {
        self.recover("everybody starts")?;
        self.liar_creates();
        for _ in 0..15 {
            self.user_acts()?;
            self.pass_time(150)?;
        }
        for storm in 0..1 + self.below(4) / 3 {
            self.begin_storm(storm);
            let until = self.network.now + 6_000 + self.below(8_000);
            while self.network.now < until {
                match self.below(4) {
                    0 if self.decided.governs && self.below(2) == 0 => self.govern()?,
                    0 => self.fault()?,
                    _ => self.user_acts()?,
                }
                self.pass_time(250)?;
            }
        }
        self.end_faults()?;
        self.recover("all faults have ended")?;
        self.check_all()
    }

    fn pass_time(&mut self, up_to: u64) -> Result<(), Violation> {
        let pause = 1 + self.below(up_to);
        self.network.run_for(pause);
        self.step()
    }

    /// Takes every reply, brings back who is due, looks at everything that can be seen at any time.
    fn step(&mut self) -> Result<(), Violation> {
        for at in 0..NODES {
            for (ticket, time, reply) in self.network.take_replies(at) {
                self.reply(ticket, time, reply)?;
            }
        }
        let now = self.network.now;
        for asked in self.asked.values() {
            let limit = match asked.op {
                Op::Locate(_) | Op::Read { .. } => DEADLINE,
                Op::Write { .. } | Op::OfLiar | Op::Confirm | Op::Submit => WRITE_DEADLINE,
            };
            if now > asked.begun + limit + SLACK {
                return Err(format!("ORG{} leaves a user without a reply", asked.at));
            }
        }
        if let Some(violation) = self.witness.borrow_mut().violations.pop() {
            return Err(violation);
        }
        let back: Vec<usize> =
            self.down.iter().filter(|(_, (until, _))| *until <= now).map(|(at, _)| *at).collect();
        for at in back {
            self.come_back(at);
        }
        if self.cut.as_ref().is_some_and(|(until, _)| *until <= now) {
            self.heal();
        }
        if now >= self.looked_at + 500 {
            self.looked_at = now;
            self.look()?;
        }
        Ok(())
    }

    fn look(&mut self) -> Result<(), Violation> {
        let sides = self.cut.as_ref().map(|(_, sides)| sides.clone());
        for (holder, restored) in &mut self.restored {
            let side = |at: usize| sides.as_ref().is_none_or(|s| s[at] == s[*holder]);
            restored.look(&self.network, *holder, |at| at != self.liar && side(at));
        }
        for at in 0..NODES {
            let load = self.network.load(at);
            if load.outstanding > OUTSTANDING_MAX
                || load.inbound > OUTSTANDING_MAX
                || load.blobs > BLOBS_MAX
            {
                return Err(format!("ORG{at} holds more than it should: {load:?}"));
            }
        }
        Ok(())
    }

    /// Runs until every node has every digest and nothing to complain of.
    fn recover(&mut self, after: &str) -> Result<(), Violation> {
        self.note(|| format!("-- {after}"));
        let start = self.network.now;
        let first = if self.calm_since.is_none() && self.counts.acknowledged == 0 {
            0
        } else {
            PARAMETERS.head_interval
        };
        loop {
            self.network.run_for(1_000);
            self.step()?;
            self.resend_and_confirm()?;
            let Some(fault) = self.complaint()? else {
                let begun = start.max(self.confirmed_at);
                if self.network.now >= begun + first + 1_000 && self.asked.is_empty() {
                    break;
                }
                continue;
            };
            if self.network.now > start + RECOVERY {
                self.note_all();
                return Err(format!("not complete again {RECOVERY} ms after {after}: {fault}"));
            }
        }
        let took = self.network.now - start;
        self.note(|| format!("-- all is well after {took} ms"));
        self.calm_since = Some(self.network.now);
        Ok(())
    }

    /// Everything that anybody complains of, and who agrees with whom, for whoever looks into it.
    fn note_all(&mut self) {
        for at in 0..NODES {
            let status = self.network.status(at);
            let (digest, statements) =
                (&status.roster.digest[..8], self.network.statements_held(at));
            let notices: Vec<&String> =
                status.notices.iter().filter(|n| !n.contains("dealt by one party")).collect();
            let shut_out: Vec<usize> =
                (0..NODES).filter(|peer| !self.network.lets_in(at, *peer)).collect();
            let line = format!(
                "   ORG{at}: law {digest} of {statements} statements; shuts out {shut_out:?}; {notices:?}"
            );
            self.note(|| line);
        }
    }

    /// What the first node that complains of anything complains of.
    fn complaint(&mut self) -> Result<Option<String>, Violation> {
        for at in 0..NODES {
            let status = self.network.status(at);
            if status.serves[0].restored_as_of.is_some() {
                if !self.replaced.contains(&at) {
                    return Err(format!("ORG{at} says that it was restored, and was not"));
                }
                let restored = Restored::new(&self.network, at);
                self.restored.entry(at).or_insert(restored);
            }
            // Test networks have dealt keys, and nodes say so. Evaluators that are not connected are
            // dialled when they are needed.
            let is_fault = |notice: &&String| {
                !notice.contains("dealt by one party")
                    && !notice.contains("evaluators that it takes")
            };
            // Who lies is caught, and that is said for ever; of nobody else.
            let caught = |notice: &&String| notice.contains("has evaluated wrongly");
            let liar = format!("(ORG{})", self.liar);
            if let Some(notice) = status.notices.iter().filter(caught).find(|n| !n.contains(&liar))
            {
                return Err(format!("ORG{at} accuses one that does not lie: {notice}"));
            }
            let is_fault = |notice: &&String| is_fault(notice) && !caught(notice);
            if let Some(fault) = status.notices.iter().find(is_fault) {
                return Ok(Some(format!("ORG{at}: {fault}")));
            }
        }
        if !self.network.agrees() {
            return Ok(Some("nodes do not agree on what is law".to_owned()));
        }
        // Keys are no law: whoever has missed the news of one finds it at the next comparison.
        let pairs = (0..NODES).flat_map(|at| (0..NODES).map(move |peer| (at, peer)));
        if let Some((at, peer)) = pairs
            .filter(|(at, peer)| at != peer)
            .find(|(at, peer)| !self.network.lets_in(*at, *peer))
        {
            return Ok(Some(format!("ORG{at} does not let ORG{peer} in")));
        }
        Ok(None)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.rng.next_u64() % n
    }

    fn is_up(&self, at: usize) -> bool {
        !self.down.contains_key(&at)
    }

    fn some_node(&mut self) -> usize {
        loop {
            let at = self.below(NODES as u64) as usize;
            if self.is_up(at) {
                return at;
            }
        }
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        let line = format!("{:>9} {}", self.network.now, line());
        if self.aloud {
            println!("{line}");
        }
        self.trace.push(line);
    }
}
