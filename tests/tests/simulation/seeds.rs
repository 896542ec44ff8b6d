//! Many seeds, on all cores of the machine; those that once failed come first.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use signpost_tests::sim::Plant;

use crate::scenario::{Counts, Scenario};

/// One seed a line, with what it found; kept for ever.
const FAILED_BEFORE: &str = include_str!("seeds.txt");
/// How many new seeds an ordinary run plays; `SIGNPOST_SIM_SEEDS` asks for more.
const SEEDS: u64 = 200;
/// Lines of the trace that are shown of a seed that fails.
const TRACE_LINES: usize = 60;

/// Plays one seed.
///
/// # Errors
/// What is not as it must be, and what came before it.
pub fn play(seed: u64, plant: Option<Plant>, aloud: bool) -> Result<Counts, String> {
    let mut scenario = Scenario::new(seed, plant, aloud);
    let outcome = catch_unwind(AssertUnwindSafe(|| scenario.play()));
    let violation = match outcome {
        Ok(Ok(())) => return Ok(scenario.counts),
        Ok(Err(violation)) => violation,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            format!("a panic: {text}")
        }
    };
    let trace = &scenario.trace[scenario.trace.len().saturating_sub(TRACE_LINES)..];
    Err(format!(
        "{}\nseed {seed}: {violation}\nreplay: SIGNPOST_SIM_SEED={seed} cargo test -p signpost-tests \
         --test simulation seeds -- --nocapture",
        trace.join("\n")
    ))
}

fn number_in(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable}={value} is no number")))
}

/// Plays seeds on as many threads as the machine has cores.
fn play_all(seeds: &[u64]) -> Vec<(u64, Result<Counts, String>)> {
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = play(*seed, None, false);
                    if let Err(failure) = &outcome {
                        println!("{failure}");
                    }
                    let mut outcomes = outcomes.lock().expect("nobody panics with it");
                    outcomes.push((*seed, outcome));
                    if outcomes.len().is_multiple_of(SEEDS as usize) {
                        println!("{} of {} seeds are played", outcomes.len(), seeds.len());
                    }
                }
            });
        }
    });
    outcomes.into_inner().expect("nobody panics with it")
}

#[test]
fn whatever_happens_nothing_false_is_shown_and_nothing_missing_is_called_complete() {
    if let Some(seed) = number_in("SIGNPOST_SIM_SEED") {
        let counts = play(seed, None, true).unwrap_or_else(|failure| panic!("{failure}"));
        println!("{counts:?}");
        return;
    }
    let before = FAILED_BEFORE.lines().filter_map(|line| line.split_whitespace().next());
    let before = before.filter(|word| !word.starts_with('#')).map(|word| word.parse().unwrap());
    let seeds: Vec<u64> =
        before.chain(1..=number_in("SIGNPOST_SIM_SEEDS").unwrap_or(SEEDS)).collect();
    let start = Instant::now();
    let outcomes = play_all(&seeds);
    let mut total = Counts::default();
    let failed: Vec<u64> =
        outcomes.iter().filter(|(_, outcome)| outcome.is_err()).map(|(seed, _)| *seed).collect();
    outcomes.into_iter().filter_map(|(_, outcome)| outcome.ok()).for_each(|c| total.add(c));
    println!("{} seeds in {:.0?}: {total:?}", seeds.len(), start.elapsed());
    assert!(failed.is_empty(), "seeds {failed:?} failed; how to replay them is said above");
    // A simulation in which nothing happens proves nothing.
    let many = seeds.len() as u64;
    assert!(total.complete > 20 * many && total.partial > 3 * many, "{total:?}");
    assert!(total.kills > many && total.lies > many && total.demands > 20 * many, "{total:?}");
    assert!(total.restored > many / 4, "{total:?}");
}

#[test]
fn a_seed_replays_exactly() {
    let run = || {
        let mut scenario = Scenario::new(77, None, false);
        (scenario.play(), scenario.trace)
    };
    assert_eq!(run(), run());
}
