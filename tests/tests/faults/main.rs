//! What real nodes do when their processes, disks, files and peers fail.
//!
//! Each fault counts what was acknowledged, what of it was lost, and which results said `complete`
//! and were not; the last two must be 0. The counts are printed as a table at the end, which is why
//! this binary has a `main` of its own; it takes names of faults, or parts of them, as the usual test
//! binaries do.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the counts are the result")]
#![allow(clippy::unwrap_used, reason = "helpers of a test may fail as loudly as the test")]

mod counts;
mod damage;
mod flood;
mod full_disk;
mod kills;
mod ledger;
mod namespace;
mod restored;
mod strangers;
mod writers;

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};

use self::counts::Counts;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_signpost-under-test");
/// Names the environment variable with the seed of a run to repeat.
const SEED: &str = "SIGNPOST_TEST_SEED";
/// Options of other test binaries that are followed by a value.
const OPTIONS_WITH_VALUE: [&str; 4] = ["--test-threads", "--skip", "--format", "--color"];

type Fault = fn(&mut Counts, &mut ChaCha20Rng);

const FAULTS: [(&str, Fault); 6] = [
    ("kill_9_during_writes_and_imports", kills::run),
    ("full_disk", full_disk::run),
    ("damaged_files", damage::run),
    ("restored_from_yesterday", restored::run),
    ("a_member_floods", flood::run),
    ("200_strangers", strangers::run),
];

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let (mut filters, mut exact) = (Vec::new(), false);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--list" => {
                FAULTS.iter().for_each(|(name, _)| println!("{name}: test"));
                return ExitCode::SUCCESS;
            }
            // None is ignored.
            "--ignored" => return ExitCode::SUCCESS,
            "--exact" => exact = true,
            option if OPTIONS_WITH_VALUE.contains(&option) => drop(arguments.next()),
            option if option.starts_with('-') => {}
            filter => filters.push(filter.to_owned()),
        }
    }
    let wanted = |name: &str| {
        let matches = |filter: &String| if exact { filter == name } else { name.contains(filter) };
        filters.is_empty() || filters.iter().any(matches)
    };
    let faults: Vec<_> = FAULTS.into_iter().filter(|(name, _)| wanted(name)).collect();
    if faults.is_empty() {
        return ExitCode::SUCCESS;
    }
    namespace::enter();

    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as u64;
    let seed = env::var(SEED).ok().and_then(|seed| seed.parse().ok()).unwrap_or(now);
    println!("{SEED}={seed}");
    let mut rows = Vec::new();
    let mut failed = false;
    for (name, fault) in faults {
        println!("\n== {name}");
        // Each fault from the same seed, so that one can be repeated alone.
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut counts = Counts::default();
        let started = Instant::now();
        let ended = catch_unwind(AssertUnwindSafe(|| fault(&mut counts, &mut rng)));
        failed |= ended.is_err() || !counts.is_clean();
        rows.push((name, counts, ended.is_ok(), started.elapsed()));
    }
    println!("\n{}", counts::HEADER);
    for (name, counts, ended, took) in &rows {
        println!("{}", counts.row(name, *ended, *took));
    }
    for (name, counts, ..) in &rows {
        counts.complaints().for_each(|complaint| println!("{name}: {complaint}"));
    }
    if failed {
        println!("\nto repeat: {SEED}={seed}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
