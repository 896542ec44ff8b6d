//! `kill -9` at random moments of single writes and imports, while another node looks things up.
//!
//! After each restart everything acknowledged is there at the acknowledged version and what was
//! deleted is gone. Every result that said `complete` held everything that was acknowledged long
//! enough before: documented are the age at which a digest is stale and a minute for the building of
//! a filter ([docs/hazards.md](../../../docs/hazards.md), row 2); and, once the asker has found a
//! newer record of a node, all older ones of that node.

use std::{
    env,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use rand_core::Rng as _;
use signpost_protocol::roster::Parameters;
use signpost_tests::{
    client::patient,
    processes::{Federation, until},
};

use crate::{
    PROGRAM,
    counts::Counts,
    ledger::Ledger,
    writers::{Target, settle},
};

/// Sets another number of kills.
const KILLS: &str = "SIGNPOST_TEST_KILLS";
/// Kills in an ordinary run.
const KILLS_DEFAULT: u32 = 25;
const NODES: usize = 5;
/// Those that are written to and killed: with one of them away, four of five evaluators are left.
const VICTIMS: u64 = 3;
/// Looks up.
const ASKER: usize = 4;
const PARAMETERS: Parameters =
    Parameters { head_interval: 500, head_age_max: 5_000, ..Parameters::STANDARD };
/// How long after its acknowledgement a record must be in every complete result: a digest is stale
/// after 5 s here, a filter takes up to a minute, and a loaded machine a little longer.
const ADVERTISED_WITHIN: Duration = Duration::from_secs(5 + 60 + 5);
/// Connections for single writes.
const WRITERS: usize = 3;
/// The longest time from the first acknowledgement of a round to its kill, in microseconds.
const KILL_AFTER_MAX: u64 = 600_000;
/// Older records that are looked at after each restart, on average; the last audit looks at all.
const SAMPLE: u64 = 100;

pub(crate) fn run(counts: &mut Counts, rng: &mut ChaCha20Rng) {
    let kills = env::var(KILLS).ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS_DEFAULT);
    let mut federation = Federation::found(PROGRAM, NODES, PARAMETERS, "info");
    (0..NODES).for_each(|n| federation.start(n));
    federation.await_fresh();
    let ledger = Ledger::default();
    let looking = Looking::default();
    thread::scope(|scope| {
        // Ends the look-ups also when a round panics.
        let _stop = StopOnDrop(&looking.stop);
        for seed in [rng.next_u64(), rng.next_u64()] {
            let (client, ledger, looking) = (federation.client(ASKER).clone(), &ledger, &looking);
            scope.spawn(move || {
                let mut rng = ChaCha20Rng::seed_from_u64(seed);
                while !looking.stop.load(Ordering::Relaxed) {
                    let mut faults = Vec::new();
                    let within = ADVERTISED_WITHIN;
                    let result = ledger.look_up(&client, rng.next_u64(), within, &mut faults);
                    looking.note(result, faults);
                    thread::sleep(Duration::from_millis(rng.next_u64() % 20));
                }
            });
        }
        for kill in 1..=kills {
            let victim = (rng.next_u64() % VICTIMS) as usize;
            round(&mut federation, &ledger, counts, rng, victim, kill);
        }
    });
    federation.await_fresh();
    for holder in 0..VICTIMS as usize {
        let count = ledger.audit(federation.client(holder), holder, counts, || true);
        println!("node {holder}: all {count} records looked at");
    }
    let records = looking.results.into_inner().unwrap();
    (counts.complete, counts.partial) = (records.complete, records.partial);
    records.faults.into_iter().for_each(|fault| counts.wrong(fault));
    everything_is_found(&federation, &ledger, counts);
    counts.faults = kills.into();
    counts.acknowledged = ledger.acknowledged();
    assert!(counts.complete > u64::from(kills), "too few complete results to prove anything");
}

fn round(
    federation: &mut Federation,
    ledger: &Ledger,
    counts: &mut Counts,
    rng: &mut ChaCha20Rng,
    victim: usize,
    kill: u32,
) {
    let before = ledger.acknowledged();
    let (singles, imports) = [(WRITERS, 0), (0, 2), (WRITERS, 1)][(rng.next_u64() % 3) as usize];
    let then = Duration::from_micros(rng.next_u64() % KILL_AFTER_MAX);
    let target = Target::new(federation.node(victim), victim, ledger);
    thread::scope(|scope| {
        let target = &target;
        for _ in 0..singles {
            let rng = ChaCha20Rng::seed_from_u64(rng.next_u64());
            scope.spawn(move || target.write_one_by_one(rng));
        }
        for _ in 0..imports {
            let (lines, rng) = (10 + rng.next_u64() % 90, rng.next_u64());
            let rng = ChaCha20Rng::seed_from_u64(rng);
            scope.spawn(move || target.import(rng, lines as u32));
        }
        let acknowledged = || (ledger.acknowledged() > before).then_some(());
        until("a write is acknowledged", acknowledged);
        thread::sleep(then);
        federation.kill(victim);
    });
    let acknowledged = ledger.acknowledged() - before;

    federation.start(victim);
    let ready = federation.await_ready(victim);
    let odds = (ledger.acknowledged() / SAMPLE).max(1);
    let client = federation.client(victim);
    let audited = ledger.audit(client, victim, counts, || rng.next_u64().is_multiple_of(odds));
    let took = settle(federation, ledger, victim, ASKER);
    println!(
        "kill {kill} of node {victim} after {then:.1?} of {singles} writers and {imports} imports: \
         {acknowledged} acknowledged, ready after {ready:.1?}, {audited} looked at, found from \
         afar after {took:.1?}"
    );
}

/// In peace, every patient's records are found from afar, completely.
fn everything_is_found(federation: &Federation, ledger: &Ledger, counts: &mut Counts) {
    for n in ledger.patients() {
        let mut faults = Vec::new();
        let complete = || {
            let reply = federation.client(ASKER).search(&patient(n));
            (reply.completeness == "complete").then_some(())
        };
        until("a look-up is complete", complete);
        // Everything is settled: no time is allowed for.
        ledger.look_up_of(federation.client(ASKER), n, Duration::ZERO, &mut faults);
        faults.into_iter().for_each(|fault| counts.wrong(fault));
    }
}

#[derive(Default)]
struct Looking {
    stop: AtomicBool,
    results: Mutex<Results>,
}

#[derive(Default)]
struct Results {
    complete: u64,
    partial: u64,
    faults: Vec<String>,
}

impl Looking {
    fn note(&self, complete: Option<bool>, faults: Vec<String>) {
        let mut results = self.results.lock().unwrap();
        results.complete += u64::from(complete == Some(true));
        results.partial += u64::from(complete == Some(false));
        results.faults.extend(faults);
    }
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
