//! Look-ups at a steady rate, each compared with what is true.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use signpost_tests::{
    client::{Client, patient},
    processes::until,
};

/// Between two look-ups: twenty a second.
const PACE: Duration = Duration::from_millis(50);
/// Threads that look up, so that one that waits does not hold up the others.
const THREADS: u64 = 8;

/// What is true: each of the first so many patients has one record at each holder, and nobody else has any.
pub(crate) struct Truth {
    pub(crate) patients: u32,
    /// The ids, for each of these patients.
    pub(crate) ids: Vec<BTreeSet<String>>,
}

/// What became of the look-ups.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) right: u64,
    pub(crate) partial: u64,
    pub(crate) unavailable: u64,
    /// What was found or called complete and was not so.
    pub(crate) wrong: Vec<String>,
    pub(crate) worst: Duration,
}

/// Looks up while something else is done, and then until there were at least so many look-ups: patients that have records, known or new to the node, and in
/// turn such that nobody has ever looked up.
pub(crate) fn during<T>(
    clients: &[Client],
    truth: &Truth,
    at_least: u32,
    work: impl FnOnce() -> T,
) -> (T, Counts) {
    let (counts, stop) = (Mutex::new(Counts::default()), AtomicBool::new(false));
    let turn = AtomicU32::new(0);
    let start = Instant::now();
    let done = thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let n = turn.fetch_add(1, Ordering::Relaxed);
                    let due = start + PACE * n;
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    look_up(clients, truth, n, &counts);
                }
            });
        }
        let _stop = StopOnDrop(&stop);
        let done = work();
        until("there were enough look-ups", || {
            (turn.load(Ordering::Relaxed) >= at_least + THREADS as u32).then_some(())
        });
        done
    });
    let counts = counts.into_inner().expect("nobody panics with it");
    println!(
        "{} look-ups in {:.0?}: {} right, {} partial, {} unavailable, {} wrong; the slowest took {:.1?}",
        turn.into_inner(),
        start.elapsed(),
        counts.right,
        counts.partial,
        counts.unavailable,
        counts.wrong.len(),
        counts.worst
    );
    (done, counts)
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn look_up(clients: &[Client], truth: &Truth, n: u32, counts: &Mutex<Counts>) {
    let client = &clients[n as usize % clients.len()];
    let is_known = n.is_multiple_of(2);
    let number = if is_known { n / 2 % truth.patients } else { 10_000 + n };
    let wanted = truth.ids.get(number as usize).cloned().unwrap_or_default();
    let reply = client.search(&patient(number));
    let mut counts = counts.lock().expect("nobody panics with it");
    counts.worst = counts.worst.max(reply.took);
    match (reply.status, reply.completeness.as_str()) {
        (200, "complete") if reply.ids() == wanted => counts.right += 1,
        (200, "complete") => {
            let wrong = format!("look-up {n}: {:?} instead of {wanted:?}", reply.ids());
            counts.wrong.push(wrong);
        }
        (200, "partial") if reply.ids().is_subset(&wanted) => counts.partial += 1,
        (503, _) => counts.unavailable += 1,
        _ => counts.wrong.push(format!("look-up {n}: {} {}", reply.status, reply.body)),
    }
}
