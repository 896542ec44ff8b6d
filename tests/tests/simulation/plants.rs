//! Bugs planted on purpose are caught, each within a few seeds that pass without it.

use signpost_tests::sim::Plant;

use crate::seeds::play;

/// Seeds within which a planted bug must show.
const SEEDS: u64 = 20;

fn assert_caught(plant: Plant, symptoms: &[&str]) {
    for seed in 1..=SEEDS {
        let Err(failure) = play(seed, Some(plant), false) else { continue };
        let violation = failure.lines().find(|line| line.starts_with("seed ")).unwrap();
        println!("{plant:?}: {violation}");
        assert!(symptoms.iter().any(|symptom| violation.contains(symptom)), "{violation}");
        assert!(play(seed, None, false).is_ok(), "seed {seed} fails without {plant:?}");
        return;
    }
    panic!("{plant:?} was not caught within {SEEDS} seeds");
}

#[test]
fn a_reply_that_leaves_before_its_flush_is_caught() {
    assert_caught(Plant::ReplyBeforeFlush, &["on disk"]);
}

#[test]
fn an_answer_about_another_patient_is_caught() {
    assert_caught(Plant::PreviousAnswer, &["another patient", "without"]);
}

#[test]
fn a_failed_candidate_that_is_not_named_is_caught() {
    assert_caught(Plant::ForgottenCauses, &["called a result"]);
}

#[test]
fn an_audit_that_finds_nothing_is_caught() {
    assert_caught(Plant::BlindAudit, &["called a result"]);
}
