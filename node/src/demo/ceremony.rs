//! Has the evaluators of the demonstration make the network's key, by the commands that their admins
//! would type, each at its own node.

use std::{
    ffi::OsStr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::{
    Interrupt,
    federation::{Federation, Node},
    progress::Progress,
};

/// The most evaluators: 3 of 5 stand the loss of two.
const EVALUATORS_MAX: usize = 5;
/// The fewest nodes with which a key is shared: the founding deals one where there are fewer.
pub(super) const SHARED_FROM: usize = 3;
/// Time for all messages to go round. Normally two seconds.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked how far the ceremony has come.
const POLL: Duration = Duration::from_millis(200);

/// A command's report that matters here.
#[derive(Deserialize)]
struct Called {
    ceremony: String,
}

#[derive(Deserialize)]
struct Listed {
    ceremonies: Vec<Stage>,
}

#[derive(Deserialize)]
struct Stage {
    stage: String,
    waits_for: Vec<String>,
    fault: Option<String>,
}

/// Plays the whole ceremony; nodes can look patients up afterwards.
///
/// # Errors
/// When a command fails, or it takes far too long.
pub(super) fn make_key(
    federation: &Federation,
    program: &Path,
    progress: Progress,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let nodes = federation.nodes();
    if nodes.len() < SHARED_FROM {
        return Ok(());
    }
    let evaluators = &nodes[..nodes.len().min(EVALUATORS_MAX)];
    let threshold = evaluators.len() / 2 + 1;
    // The same nodes are the stewards of the network, of whom more than half make law.
    let (stewards, needed) = (evaluators, threshold);
    let step =
        progress.step("Making the blinding key", 2 * evaluators.len() as u64 + needed as u64);
    let deadline = Instant::now() + PATIENCE;
    let run = |node: &Node, words: &[&str]| command(program, node, words);

    let codes: Vec<_> = evaluators.iter().map(Node::ods).collect();
    let (codes, of) = (codes.join(","), threshold.to_string());
    let call = ["ceremony", "start", "--evaluators", &codes, "--threshold", &of, "--yes"];
    let called: Called = run(&stewards[0], &call)?.json()?;
    let id = called.ceremony.as_str();
    for node in evaluators {
        let until = |outcome: &Outcome| outcome.succeeded;
        repeat(deadline, interrupt, || run(node, &["ceremony", "join", id, "--yes"]), until)?;
        step.advance(1);
    }
    for node in stewards {
        let is_confirmed = |outcome: &Outcome| {
            let stages = outcome.json::<Listed>().map(|listed| listed.ceremonies);
            stages.is_ok_and(|stages| stages.iter().any(|one| one.stage == "confirmed"))
        };
        repeat(deadline, interrupt, || run(node, &["ceremony", "status", id]), is_confirmed)?;
        step.advance(1);
    }
    for node in &stewards[..needed] {
        let until = |outcome: &Outcome| outcome.succeeded;
        repeat(deadline, interrupt, || run(node, &["ceremony", "confirm", id, "--yes"]), until)?;
        step.advance(1);
    }
    for node in nodes {
        loop {
            interrupt.check()?;
            let evaluators = node.client().status()?.evaluators;
            if evaluators.key_epoch.is_some() && evaluators.connected.len() >= evaluators.threshold
            {
                break;
            }
            if Instant::now() > deadline {
                bail!("the node of {} has not heard of the key: {evaluators:?}", node.ods());
            }
            interrupt.pause(POLL)?;
        }
    }
    step.done(&format!(
        "the {} evaluators made it together; any {threshold} of them can evaluate, and nobody has it",
        evaluators.len()
    ));
    Ok(())
}

/// What a command came to.
struct Outcome {
    succeeded: bool,
    stdout: Vec<u8>,
    said: String,
}

impl Outcome {
    fn json<'a, T: Deserialize<'a>>(&'a self) -> anyhow::Result<T> {
        serde_json::from_slice(&self.stdout).with_context(|| self.said.clone())
    }
}

/// Runs `signpost evaluators` at a node.
fn command(program: &Path, node: &Node, words: &[&str]) -> anyhow::Result<Outcome> {
    let mut command = Command::new(program);
    command.args(["evaluators"]).args(words).arg("--json");
    command.args(["--dir".as_ref(), node.dir().as_os_str()] as [&OsStr; 2]);
    let output = command.output().with_context(|| format!("cannot run {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let said = format!("`signpost evaluators {}` at {}: {said}", words.join(" "), node.ods());
    Ok(Outcome { succeeded: output.status.success(), stdout: output.stdout, said })
}

/// Types a command again until it has come to what is wanted: news take a moment to reach a node.
fn repeat(
    deadline: Instant,
    interrupt: &Interrupt,
    run: impl Fn() -> anyhow::Result<Outcome>,
    is_done: impl Fn(&Outcome) -> bool,
) -> anyhow::Result<()> {
    loop {
        interrupt.check()?;
        let outcome = run()?;
        if is_done(&outcome) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let stage =
                outcome.json::<Listed>().ok().and_then(|mut listed| listed.ceremonies.pop());
            let stage = stage.map(|Stage { stage, waits_for, fault }| {
                format!(
                    "{stage}, waits for {}; {}",
                    waits_for.join(", "),
                    fault.unwrap_or_default()
                )
            });
            bail!("the ceremony does not go on: {} {}", outcome.said, stage.unwrap_or_default());
        }
        interrupt.pause(POLL)?;
    }
}
