//! One node dies. The others must go on, and must not pretend that nothing is missing.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;

use super::{
    Interrupt,
    client::{Holdings, LookUp},
    federation::{Federation, Node},
    report::Shown,
    trial::{self, differences, spaced},
    truth::{Case, Survey},
};

/// The longest that a restarted node may take until it answers its peers again.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked whether it has.
const RECOVERY_POLL: Duration = Duration::from_millis(100);

/// What the outage showed.
#[derive(Debug, Serialize)]
pub(super) struct Outage {
    /// ODS code of the node that was killed.
    pub(super) ods: String,
    /// Its name.
    pub(super) name: String,
    /// A look-up of a patient it holds, while it was down.
    pub(super) down: Shown,
    /// The same, after it was started again.
    pub(super) up_again: Shown,
    /// From its start to the complete answer.
    pub(super) recovered_seconds: f64,
    /// Everything that was not as it should be.
    pub(super) faults: Vec<String>,
}

/// Who is killed, which patient is looked up, and where.
struct Scene<'a> {
    victim: usize,
    case: &'a Case,
    asker: usize,
}

/// Kills a node, looks up a patient it holds, starts it again and looks the patient up once more.
/// `None` when no other node could show anything.
///
/// # Errors
/// When a node that should run does not answer, or the killed one cannot be started.
pub(super) fn run(
    federation: &mut Federation,
    survey: &Survey,
    interrupt: &Interrupt,
) -> anyhow::Result<Option<Outage>> {
    let status = federation.nodes()[0].client().status()?;
    let evaluators = &status.evaluators;
    let spared = |ods: &str| {
        let left = evaluators.members.iter().filter(|member| *member != ods).count();
        left >= evaluators.threshold
    };
    let Some(scene) = scene(federation.nodes(), &survey.cases, spared) else { return Ok(None) };
    let Scene { victim, case, asker } = scene;

    federation.kill(victim);
    let (down, down_shown) = look_up(federation.nodes(), asker, case)?;
    let faults = faults_while_down(case, federation.nodes()[victim].ods(), &down);

    let started = Instant::now();
    federation.start(victim)?;
    let (up_again, up_shown) = loop {
        interrupt.pause(RECOVERY_POLL)?;
        federation.nodes_alive()?;
        let (answer, shown) = look_up(federation.nodes(), asker, case)?;
        let right = answer.is_complete() && answer.status == 200;
        if right || started.elapsed() > RECOVERY_PATIENCE {
            break (answer, shown);
        }
    };
    let recovered_seconds = started.elapsed().as_secs_f64();
    let after = trial::faults(case, &up_again)
        .into_iter()
        .map(|fault| format!("after the restart, {}: {fault}", spaced(&case.patient)));
    let node = &federation.nodes()[victim];
    Ok(Some(Outage {
        ods: node.ods().to_owned(),
        name: node.name().to_owned(),
        down: down_shown,
        up_again: up_shown,
        recovered_seconds,
        faults: faults.into_iter().chain(after).collect(),
    }))
}

/// A node whose death leaves enough evaluators, a patient it holds, most telling when others hold
/// records too, and another node to ask.
fn scene<'a>(
    nodes: &[Node],
    cases: &'a [Case],
    spared: impl Fn(&str) -> bool,
) -> Option<Scene<'a>> {
    let scenes = nodes.iter().enumerate().filter(|(_, node)| spared(node.ods())).flat_map(
        |(victim, node)| {
            cases
                .iter()
                .filter(|case| case.truth.contains_key(node.ods()))
                .map(move |case| (victim, case))
        },
    );
    // Two or three holders are easier to follow than many.
    let (victim, case) = scenes.min_by_key(|(_, case)| case.truth.len().abs_diff(2))?;
    let asker = (1..nodes.len())
        .map(|step| (victim + step) % nodes.len())
        .max_by_key(|&at| !case.truth.contains_key(nodes[at].ods()))?;
    Some(Scene { victim, case, asker })
}

fn look_up(nodes: &[Node], at: usize, case: &Case) -> anyhow::Result<(LookUp, Shown)> {
    let node = &nodes[at];
    let look_up = node
        .client()
        .look_up(&case.patient)
        .with_context(|| format!("asking at {}", node.ods()))?;
    let shown = Shown::new(nodes, &case.patient, node, &look_up);
    Ok((look_up, shown))
}

/// What is wrong with an answer given while the node of `ods` is down: it must hold what the others
/// hold, say that it is partial, and name `ods`.
fn faults_while_down(case: &Case, ods: &str, answer: &LookUp) -> Vec<String> {
    let mut rest: Holdings = case.truth.clone();
    rest.remove(ods);
    let mut faults = differences(&rest, case, answer);
    if answer.completeness != "partial" {
        faults.push(format!("should be partial, but says {}", answer.completeness));
    }
    if !answer.issues.iter().any(|issue| issue.contains(ods)) {
        faults.push(format!("does not name {ods}, which was down"));
    }
    let patient = spaced(&case.patient);
    faults.into_iter().map(|fault| format!("while {ods} was down, {patient}: {fault}")).collect()
}

#[cfg(test)]
mod tests {
    use signpost_protocol::{IdentifierSystem, PatientIdentifier};

    use super::{super::client::Found, *};

    fn case() -> Case {
        let patient = PatientIdentifier::parse(IdentifierSystem::NhsNumber, "9990000018").unwrap();
        let truth = ["RZ1", "RZ2"].map(|ods| (ods.to_owned(), [format!("{ods}-a")].into())).into();
        Case { patient, truth }
    }

    /// An answer that holds what RZ2 holds and says that RZ1 is silent.
    fn honest() -> LookUp {
        LookUp {
            status: 200,
            completeness: "partial".to_owned(),
            found: vec![Found {
                custodian: "RZ2".to_owned(),
                id: "RZ2-a".to_owned(),
                title: "Summary record".to_owned(),
                subject: "9990000018".to_owned(),
            }],
            total: Some(1),
            issues: vec!["Northmoor University Hospitals (RZ1): could not be asked".to_owned()],
            took: Duration::ZERO,
        }
    }

    #[test]
    fn an_honest_partial_answer_has_no_fault() {
        assert_eq!(faults_while_down(&case(), "RZ1", &honest()), Vec::<String>::new());
    }

    #[test]
    fn an_answer_that_hides_the_gap_has_its_fault() {
        let says = |answer: LookUp, what: &str| {
            let faults = faults_while_down(&case(), "RZ1", &answer).join("; ");
            assert!(faults.contains(what), "{faults}");
        };
        let complete = "complete".to_owned();
        says(LookUp { completeness: complete, ..honest() }, "should be partial, but says complete");
        says(LookUp { issues: Vec::new(), ..honest() }, "does not name RZ1");
        says(LookUp { found: Vec::new(), total: Some(0), ..honest() }, "lacks RZ2-a");
    }
}
