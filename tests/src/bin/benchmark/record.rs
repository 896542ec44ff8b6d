//! Where the figures of a run are kept: a line in the history, tables in the documents.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context as _, bail};
use serde::Serialize;

use crate::{
    figures::{Group, short_table, table},
    setting::Scale,
};

/// Where the tables are in a document: between these lines.
const BEGIN: &str = "<!-- benchmark table: written by --write-docs -->";
const END: &str = "<!-- end of benchmark table -->";

/// One run of the command.
#[derive(Serialize)]
pub(crate) struct Run {
    /// RFC 3339, UTC.
    date: String,
    /// Short name of the commit that was measured; `None` outside a checkout.
    commit: Option<String>,
    scale: &'static str,
    cores: usize,
    /// As the processor names itself, if it does.
    processor: Option<String>,
    groups: Vec<Group>,
}

impl Run {
    pub(crate) fn new(scale: Scale, groups: Vec<Group>) -> Self {
        let now = jiff::Timestamp::now();
        Self {
            date: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            commit: commit(),
            scale: scale.name(),
            cores: thread::available_parallelism().map_or(1, usize::from),
            processor: processor(),
            groups,
        }
    }

    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).expect("figures are plain JSON")
    }

    pub(crate) fn text(&self) -> String {
        format!("{}\n\n{}", self.caption(), table(&self.groups))
    }

    fn caption(&self) -> String {
        let processor = self.processor.as_deref().unwrap_or("processor unknown");
        let commit = self.commit.as_deref().unwrap_or("unknown");
        let seconds: f64 = self.groups.iter().map(|group| group.seconds).sum();
        format!(
            "Scale {}, {}, commit {commit}, {} cores ({processor}), {seconds:.0} s.",
            self.scale, self.date, self.cores
        )
    }

    /// Adds a line to `docs/benchmarks/history.jsonl`.
    pub(crate) fn append_history(&self) -> anyhow::Result<()> {
        let path = root().join("docs/benchmarks/history.jsonl");
        let file = File::options().create(true).append(true).open(&path);
        file.and_then(|mut file| writeln!(file, "{}", self.json()))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Puts the tables into the documents.
    pub(crate) fn write_docs(&self) -> anyhow::Result<()> {
        replace(&root().join("docs/benchmarks/README.md"), &self.text())?;
        let short = format!("{}\n\n{}", self.caption(), short_table(&self.groups));
        replace(&root().join("README.md"), &short)
    }
}

/// The checkout that this program was built in.
fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

fn replace(path: &Path, with: &str) -> anyhow::Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("no {}", path.display()))?;
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let Some((before, after)) = parts else {
        bail!("{} has no place for the table", path.display());
    };
    let text = format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", with.trim());
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn commit() -> Option<String> {
    let mut git = Command::new("git");
    let git = git.arg("-C").arg(root()).args(["describe", "--always", "--dirty"]).output().ok()?;
    let name = String::from_utf8(git.stdout).ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
