//! What the measurements run in: how much of everything, and a network with its patients.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use signpost_node::synthetic::{Organization, Patient, Population};
use signpost_protocol::roster::Parameters;
use signpost_tests::processes::{Federation, NO_QUOTAS, Node, invented, until};

/// Organizations of the loopback network.
pub(crate) const ORGANIZATIONS: usize = 5;
/// The node that asks; the others hold what is looked up.
pub(crate) const ASKER: usize = 4;
/// How long every node's view must have stayed the same before it counts as settled.
const SETTLED: Duration = Duration::from_millis(1_500);
/// What the nodes log: as an installation does.
const LOG_FILTER: &str = "info";

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Scale {
    /// In a few minutes, for comparing one change with the next.
    Small,
    /// For the record.
    Full,
}

impl Scale {
    pub(crate) fn choose<T>(self, small: T, full: T) -> T {
        match self {
            Self::Small => small,
            Self::Full => full,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Full => "full",
        }
    }
}

/// A network of real processes, with a link that makes this very program `signpost`.
pub(crate) struct Setting {
    pub(crate) federation: Federation,
    pub(crate) program: PathBuf,
    pub(crate) dir: PathBuf,
}

impl Setting {
    /// Founds and starts a network; `program` is `signpost`.
    pub(crate) fn start(program: &Path, organizations: usize, patients: u64) -> Self {
        let name = program.to_str().expect("a temporary path is plain text");
        let parameters = Parameters { quotas: Some(NO_QUOTAS), ..Parameters::STANDARD };
        let mut federation =
            Federation::found_by(name, invented(organizations), parameters, LOG_FILTER, patients);
        (0..organizations).for_each(|n| federation.start(n));
        federation.await_fresh();
        let dir = federation.node(0).dir.parent().expect("nodes lie in a directory").to_owned();
        Self { federation, program: program.to_owned(), dir }
    }

    pub(crate) fn node(&self, n: usize) -> &Node {
        self.federation.node(n)
    }

    /// Imports lines at a node, as an admin would; returns how long the command took.
    pub(crate) fn import(&self, n: usize, lines: &[String]) -> anyhow::Result<Duration> {
        let file = self.dir.join("lines.ndjson");
        std::fs::write(&file, lines.join("\n"))?;
        let started = Instant::now();
        let output = Command::new(&self.program)
            .arg("import")
            .arg("--dir")
            .arg(&self.node(n).dir)
            .arg(&file)
            .stdin(Stdio::null())
            .output()
            .context("cannot run signpost import")?;
        let took = started.elapsed();
        let said = String::from_utf8_lossy(&output.stdout);
        let whole = said.contains(&format!("{} created", lines.len()));
        ensure!(whole, "import: {said} {}", String::from_utf8_lossy(&output.stderr));
        Ok(took)
    }

    /// Waits until every node's digest is what the asker knows of it, and stays so.
    pub(crate) fn await_settled(&self) {
        let view = || -> Option<BTreeMap<String, u64>> {
            let known = self.federation.client(ASKER).status()?.peers;
            let known: BTreeMap<_, _> =
                known.into_iter().filter_map(|p| Some((p.ods, p.digest_version?))).collect();
            (0..ASKER)
                .all(|n| {
                    let own = self.federation.client(n).status();
                    own.is_some_and(|own| {
                        known.get(&own.serves[0].ods).copied() == own.serves[0].digest_version
                    })
                })
                .then_some(known)
        };
        let mut last = (None, Instant::now());
        until("digests are everywhere", || {
            let now = view();
            if now.is_none() || now != last.0 {
                last = (now, Instant::now());
            }
            (last.1.elapsed() > SETTLED).then_some(())
        });
        thread::sleep(Duration::from_millis(100));
    }
}

/// Patients with a record each, made by the generator.
pub(crate) struct Records {
    population: Population,
    ods: Organization,
}

impl Records {
    /// Records of the organization at a position of the network. Those of different `seed` are of
    /// other patients only by chance.
    pub(crate) fn of(position: usize, seed: u64) -> Self {
        let ods = Organization::invent(ORGANIZATIONS).swap_remove(position);
        let population = Population::new(seed, vec![ods.clone()], 900_000);
        Self { population: population.expect("within the bounds of a population"), ods }
    }

    /// The `n`th patient and those after.
    pub(crate) fn patients(&self) -> impl Iterator<Item = Patient> + '_ {
        self.population.patients()
    }

    /// One line for a patient; lines with different `copy` are different records.
    pub(crate) fn line(&self, patient: &Patient, copy: usize) -> String {
        let record = &self.population.records(patient, 0)[0];
        let mut resource = record.resource(&patient.number, &self.ods);
        let id = resource["id"].as_str().unwrap_or_default();
        resource["id"] = format!("{id}-{copy}").into();
        resource.to_string()
    }
}
