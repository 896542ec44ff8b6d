//! Brings every organization's pointers to its node, as its own systems would.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};

use super::{Interrupt, client::Client, federation::Node, progress::Step};
use crate::synthetic::Population;

/// Lines in one request: the most that a node takes.
const LINES_MAX: usize = 100;
/// Times that a line is sent again when the node is busy: at the longest pause, about a minute.
const ATTEMPTS_MAX: u32 = 40;
/// The longest pause before a line is sent again.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Imports everything, the organizations side by side. Each thread holds one request's lines.
///
/// # Errors
/// The first line that a node refuses for good, or the first node that does not answer.
pub(super) fn import(
    population: &Population,
    nodes: &[Node],
    step: &Step,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = nodes
            .iter()
            .enumerate()
            .map(|(position, node)| {
                let failed = &failed;
                scope.spawn(move || {
                    let result = import_one(population, position, node.client(), |lines| {
                        step.advance(lines as u64);
                        if failed.load(Ordering::Relaxed) {
                            bail!("given up, because another organization's import failed");
                        }
                        Ok(interrupt.check()?)
                    });
                    failed.fetch_or(result.is_err(), Ordering::Relaxed);
                    result.with_context(|| format!("cannot import the pointers of {}", node.ods()))
                })
            })
            .collect();
        let results: Vec<_> = workers
            .into_iter()
            .map(|worker| worker.join().expect("an importing thread returns its errors"))
            .collect();
        // The first in order is not always the cause: those that gave up come last.
        let errors = results.into_iter().filter_map(Result::err);
        match errors.min_by_key(|error| error.root_cause().to_string().starts_with("given up")) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    })
}

fn import_one(
    population: &Population,
    position: usize,
    client: &Client,
    mut sent: impl FnMut(usize) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let organization = &population.organizations()[position];
    let mut lines = Vec::with_capacity(LINES_MAX);
    for patient in population.patients() {
        for record in population.records(&patient, position) {
            lines.push(record.resource(&patient.number, organization).to_string());
            if lines.len() == LINES_MAX {
                send(client, std::mem::take(&mut lines), &mut sent)?;
            }
        }
    }
    send(client, lines, &mut sent)
}

/// Sends lines until the node has taken all of them.
fn send(
    client: &Client,
    mut lines: Vec<String>,
    sent: &mut impl FnMut(usize) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut pause = Duration::from_millis(50);
    for _ in 0..ATTEMPTS_MAX {
        if lines.is_empty() {
            return Ok(());
        }
        let results = client.import(&lines)?;
        let before = lines.len();
        let mut again = Vec::new();
        let mut reason = String::new();
        for (line, result) in lines.into_iter().zip(results) {
            match result.error {
                None => {}
                Some(error) if error.retry => {
                    again.push(line);
                    reason = error.diagnostics;
                }
                Some(error) => bail!("a pointer was refused: {}", error.diagnostics),
            }
        }
        sent(before - again.len())?;
        lines = again;
        if !lines.is_empty() {
            tracing::debug!(lines = lines.len(), reason, "the node asks for a moment");
            thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
    bail!("{} pointers were put off {ATTEMPTS_MAX} times", lines.len())
}
