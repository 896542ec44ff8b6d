//! Look-ups from different organizations, each compared with the truth.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde::Serialize;
use signpost_protocol::PatientIdentifier;

use super::{
    Interrupt,
    client::{Holdings, LookUp},
    federation::Node,
    progress::Step,
    report::{Shown, Times},
    truth::{Case, Survey},
};

/// The longest that news of an import may take to reach every node. Normally a second; a loaded
/// laptop that builds digests of a million patients needs more.
const NEWS_PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked whether the news has arrived.
const NEWS_POLL: Duration = Duration::from_millis(100);

/// What the look-ups showed.
#[derive(Debug, Default, Serialize)]
pub(super) struct Trial {
    /// Look-ups made.
    pub(super) look_ups: usize,
    /// Of them, those that said they were complete.
    pub(super) complete: usize,
    /// Patients looked up.
    pub(super) patients: usize,
    /// Time of a look-up whose locator the asking node had to have evaluated.
    pub(super) new_locator: Times,
    /// Time of a look-up whose locator the asking node knew.
    pub(super) cached_locator: Times,
    /// What three of them showed.
    pub(super) examples: Vec<Shown>,
    /// Everything that was not as it should be.
    pub(super) faults: Vec<String>,
}

/// Waits until every node finds what every other node imported last, and so all that came before.
///
/// # Errors
/// Names who does not know whose pointers.
pub(super) fn await_news(
    nodes: &[Node],
    last: &[Option<Case>],
    step: &Step,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + NEWS_PATIENCE;
    for (holder, case) in nodes.iter().zip(last) {
        let Some(case) = case else { continue };
        let wanted = case.truth.get(holder.ods());
        for asker in nodes {
            loop {
                interrupt.check()?;
                let look_up = asker.client().look_up(&case.patient)?;
                if look_up.holdings().get(holder.ods()) == wanted {
                    break;
                }
                if Instant::now() > deadline {
                    bail!(
                        "{} does not find what {} imported {} s ago: {} {} {}",
                        asker.ods(),
                        holder.ods(),
                        NEWS_PATIENCE.as_secs(),
                        look_up.status,
                        look_up.completeness,
                        look_up.issues.join("; ")
                    );
                }
                interrupt.pause(NEWS_POLL)?;
            }
            step.advance(1);
        }
    }
    Ok(())
}

/// Looks every case of the survey up, twice, from organizations in turn.
///
/// # Errors
/// Only when a node does not answer at all; whatever is wrong with an answer is a fault.
pub(super) fn run(
    nodes: &[Node],
    survey: &Survey,
    step: &Step,
    interrupt: &Interrupt,
) -> anyhow::Result<Trial> {
    // Every node has looked these up already.
    let known: HashSet<PatientIdentifier> =
        survey.last.iter().flatten().map(|case| case.patient).collect();
    let examples = examples(&survey.cases);
    let mut trial = Trial { patients: survey.cases.len(), ..Trial::default() };
    let (mut new, mut cached) = (Vec::new(), Vec::new());
    for (turn, case) in survey.cases.iter().enumerate() {
        interrupt.check()?;
        let asker = asker(nodes, case, turn);
        for again in [false, true] {
            let look_up = asker
                .client()
                .look_up(&case.patient)
                .with_context(|| format!("asking at {}", asker.ods()))?;
            trial.look_ups += 1;
            trial.complete += usize::from(look_up.is_complete());
            trial.faults.extend(faults(case, &look_up).into_iter().map(|fault| {
                format!("{}, asked at {}: {fault}", spaced(&case.patient), asker.ods())
            }));
            // A holder had the locator evaluated when it imported.
            let fresh =
                !again && !case.truth.contains_key(asker.ods()) && !known.contains(&case.patient);
            if fresh {
                new.push(look_up.took);
            } else if again {
                cached.push(look_up.took);
            }
            if !again && examples.contains(&turn) {
                trial.examples.push(Shown::new(nodes, &case.patient, asker, &look_up));
            }
        }
        step.advance(1);
    }
    trial.new_locator = Times::of(new);
    trial.cached_locator = Times::of(cached);
    Ok(trial)
}

/// Which cases to show: the first, the one with the most holders, and the one nobody knows.
fn examples(cases: &[Case]) -> HashSet<usize> {
    let busiest = (0..cases.len()).max_by_key(|&at| cases[at].truth.len()).unwrap_or(0);
    [0, busiest, cases.len().saturating_sub(1)].into()
}

/// Who asks: organizations in turn, preferably one that holds nothing of the patient.
fn asker<'a>(nodes: &'a [Node], case: &Case, turn: usize) -> &'a Node {
    let in_turn = || (0..nodes.len()).map(|step| &nodes[(turn + step) % nodes.len()]);
    in_turn()
        .find(|node| !case.truth.contains_key(node.ods()))
        .unwrap_or(&nodes[turn % nodes.len()])
}

/// What is wrong with a look-up that should be complete.
pub(super) fn faults(case: &Case, look_up: &LookUp) -> Vec<String> {
    let mut faults = differences(&case.truth, case, look_up);
    if !look_up.is_complete() {
        let causes = look_up.issues.join("; ");
        faults.push(format!("should be complete, but says {}: {causes}", look_up.completeness));
    }
    faults
}

/// How the pointers of a look-up differ from `expected`.
pub(super) fn differences(expected: &Holdings, case: &Case, look_up: &LookUp) -> Vec<String> {
    let mut faults = Vec::new();
    if look_up.status != 200 {
        faults.push(format!("answered {}: {}", look_up.status, look_up.issues.join("; ")));
    }
    let found = look_up.holdings();
    let surplus = |from: &Holdings, of: &Holdings| {
        let ids = from.iter().flat_map(|(ods, ids)| ids.iter().map(move |id| (ods, id)));
        ids.filter(|(ods, id)| !of.get(*ods).is_some_and(|ids| ids.contains(*id)))
            .map(|(ods, id)| format!("{id} ({ods})"))
            .collect::<Vec<_>>()
    };
    for (ids, what) in
        [(surplus(expected, &found), "lacks"), (surplus(&found, expected), "has too much")]
    {
        if !ids.is_empty() {
            faults.push(format!("{what} {}", ids.join(", ")));
        }
    }
    let count: usize = found.values().map(std::collections::BTreeSet::len).sum();
    if look_up.status == 200 && look_up.total != Some(count as u64) {
        faults.push(format!("says total {:?} of {count} pointers", look_up.total));
    }
    if look_up.found.len() != count {
        faults.push("shows a pointer twice".to_owned());
    }
    if look_up.found.iter().any(|found| found.subject != case.patient.expose_digits()) {
        faults.push("shows a pointer with another subject".to_owned());
    }
    faults
}

/// A number as people write it: `999 123 4567`.
pub(super) fn spaced(patient: &PatientIdentifier) -> String {
    let digits = patient.expose_digits();
    format!("{} {} {}", &digits[..3], &digits[3..6], &digits[6..])
}

#[cfg(test)]
mod tests {
    use signpost_protocol::IdentifierSystem;

    use super::{super::client::Found, *};

    fn case() -> Case {
        let patient = PatientIdentifier::parse(IdentifierSystem::NhsNumber, "9990000018").unwrap();
        let truth = [("RZ1".to_owned(), ["RZ1-a".to_owned(), "RZ1-b".to_owned()].into())].into();
        Case { patient, truth }
    }

    fn look_up(ids: &[&str]) -> LookUp {
        let found = |id: &&str| Found {
            custodian: "RZ1".to_owned(),
            id: (*id).to_owned(),
            title: "Summary record".to_owned(),
            subject: "9990000018".to_owned(),
        };
        LookUp {
            status: 200,
            completeness: "complete".to_owned(),
            found: ids.iter().map(found).collect(),
            total: Some(ids.len() as u64),
            issues: Vec::new(),
            took: Duration::ZERO,
        }
    }

    #[test]
    fn a_true_answer_has_no_fault() {
        assert_eq!(faults(&case(), &look_up(&["RZ1-b", "RZ1-a"])), Vec::<String>::new());
    }

    #[test]
    fn every_kind_of_wrong_answer_has_its_fault() {
        let says = |look_up: &LookUp, what: &str| {
            let faults = faults(&case(), look_up).join("; ");
            assert!(faults.contains(what), "{faults}");
        };
        says(&look_up(&["RZ1-a"]), "lacks RZ1-b (RZ1)");
        says(&look_up(&["RZ1-a", "RZ1-b", "RZ1-c"]), "has too much RZ1-c (RZ1)");
        says(&look_up(&["RZ1-a", "RZ1-b", "RZ1-b"]), "twice");
        let right = look_up(&["RZ1-a", "RZ1-b"]);
        says(&LookUp { completeness: "partial".to_owned(), ..right.clone() }, "should be complete");
        says(&LookUp { status: 503, ..right.clone() }, "answered 503");
        says(&LookUp { total: None, ..right.clone() }, "total");
        let mut other = right;
        other.found[0].subject = "9990000026".to_owned();
        says(&other, "another subject");
    }

    #[test]
    fn numbers_are_shown_as_people_write_them() {
        assert_eq!(spaced(&case().patient), "999 000 0018");
    }
}
