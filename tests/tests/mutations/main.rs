//! A million mutations of valid messages, half of them signed again after the change.
//!
//! What must hold: nothing panics; a statement changed under its old signature never counts; one
//! that was signed again and counts survives its own encoding; and a signature by the right key is
//! never what stops a statement, so that the second half does reach the decoders and the checks
//! behind them. The shares are printed (`cargo test -p signpost-tests --test mutations --
//! --nocapture`). `SIGNPOST_SEED` chooses another run.

#![allow(clippy::print_stdout, reason = "the seed and the shares are the report")]

mod messages;
mod mutator;
mod outcome;
mod roster;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use messages::{Network, Subject};
use mutator::Mutator;
use outcome::Outcome;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

const MUTATIONS: u64 = 1_000_000;
/// The machines that run this in CI have two cores.
const THREADS: u64 = 2;
const SEED: u64 = 0x5149_4e50;

/// How often each outcome came, of messages changed under their old signature or without one,
/// and of messages signed again.
#[derive(Default)]
struct Counts {
    kept: BTreeMap<String, u64>,
    signed_again: BTreeMap<String, u64>,
    unchanged: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        for (sum, part) in
            [(&mut self.kept, other.kept), (&mut self.signed_again, other.signed_again)]
        {
            for (outcome, count) in part {
                *sum.entry(outcome).or_default() += count;
            }
        }
        self.unchanged += other.unchanged;
    }
}

#[test]
fn a_million_mutations() {
    let seed = std::env::var("SIGNPOST_SEED").map_or(SEED, |text| text.parse().expect("a number"));
    println!("SIGNPOST_SEED={seed}");
    let mut counts = Counts::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|worker| scope.spawn(move || run(seed, worker, MUTATIONS / THREADS)))
            .collect();
        for worker in workers {
            counts.add(worker.join().expect("a worker found a fault, printed above"));
        }
    });
    report(&counts);

    let total = |part: &BTreeMap<String, u64>| part.values().sum::<u64>();
    assert_eq!(total(&counts.kept) + total(&counts.signed_again) + counts.unchanged, MUTATIONS);
    // Were the mutations too coarse, the checks behind the signature would never be reached.
    for outcome in
        ["verified", "the body is malformed", "wrong author", "trailing bytes in the body"]
    {
        assert!(
            counts.signed_again.get(outcome).is_some_and(|count| *count > 1_000),
            "too few mutants signed again were: {outcome}"
        );
    }
    for outcome in counts.kept.keys() {
        assert!(!Outcome::passed_the_signature(outcome), "under the old signature: {outcome}");
    }
    for outcome in ["bad signature", "envelope", "decoded"] {
        assert!(counts.kept.get(outcome).is_some_and(|count| *count > 1_000), "too few: {outcome}");
    }
}

fn run(seed: u64, worker: u64, mutations: u64) -> Counts {
    let mut rng = ChaCha20Rng::seed_from_u64(seed.wrapping_add(worker));
    let network = Network::found(&mut rng);
    let subjects = network.subjects();
    for subject in &subjects {
        let outcome = subject.judge(&network, &subject.message);
        let valid = outcome.is_accepted() || matches!(outcome, Outcome::SameNetwork);
        assert!(valid, "{} is not valid to begin with: {outcome:?}", subject.name);
    }
    let weighted =
        || subjects.iter().flat_map(|subject| std::iter::repeat_n(subject, subject.weight));
    let all: Vec<_> = weighted().collect();
    let signed: Vec<_> = weighted().filter(|subject| subject.is_signed()).collect();
    let mut counts = Counts::default();
    for turn in 0..mutations {
        let again = turn % 2 == 1;
        let pool = if again { &signed } else { &all };
        let subject = pool[(rng.next_u64() % pool.len() as u64) as usize];
        let donor = &subjects[(rng.next_u64() % subjects.len() as u64) as usize];
        let mutant = if again {
            Mutator::new(&mut rng, &donor.payload).mutate(&subject.payload)
        } else {
            Mutator::new(&mut rng, &donor.message).mutate(&subject.message)
        };
        let judged = catch_unwind(AssertUnwindSafe(|| judge(&network, subject, &mutant, again)));
        match judged {
            Ok(Some(outcome)) => {
                let part = if again { &mut counts.signed_again } else { &mut counts.kept };
                *part.entry(outcome.to_string()).or_default() += 1;
            }
            Ok(None) => counts.unchanged += 1,
            Err(_) => panic!(
                "seed {seed}, worker {worker}, turn {turn}, {}, signed again: {again}, mutant {}",
                subject.name,
                hex::encode(&mutant)
            ),
        }
    }
    counts
}

/// What becomes of a mutant; `None` when it is no change at all.
fn judge(network: &Network, subject: &Subject, mutant: &[u8], again: bool) -> Option<Outcome> {
    if again {
        if mutant == subject.payload {
            return None;
        }
        let message = subject.sign_again(network, mutant)?;
        let outcome = subject.judge(network, &message);
        assert!(
            subject.names_its_key()
                || !matches!(outcome, Outcome::BadSignature | Outcome::UnknownKey),
            "the right key signed"
        );
        return Some(outcome);
    }
    if network.is_original(mutant) {
        return None;
    }
    let outcome = subject.judge(network, mutant);
    if subject.is_signed() {
        assert!(!outcome.is_accepted(), "it counts without having been signed");
    }
    Some(outcome)
}

fn report(counts: &Counts) {
    for (title, part) in [
        ("changed under the old signature, or unsigned", &counts.kept),
        ("signed again after the change", &counts.signed_again),
    ] {
        let total: u64 = part.values().sum();
        println!("{title}: {total}");
        let share = |count: u64| 100.0 * count as f64 / total.max(1) as f64;
        for (outcome, count) in part {
            println!("  {count:>8}  {:5.1} %  {outcome}", share(*count));
        }
        let passed: u64 = part
            .iter()
            .filter(|(outcome, _)| Outcome::passed_the_signature(outcome))
            .map(|(_, count)| count)
            .sum();
        println!("  {passed:>8}  {:5.1} %  passed the signature check", share(passed));
    }
    println!("no change at all: {}", counts.unchanged);
}
