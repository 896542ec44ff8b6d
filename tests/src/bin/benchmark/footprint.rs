//! What a pointer costs a node in memory and on disk.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{
    figures::{Figure, Series},
    setting::{Scale, Setting},
};

/// How often a running command's memory is looked at.
const POLL: Duration = Duration::from_millis(100);

pub(crate) fn measure(program: &Path, scale: Scale) -> anyhow::Result<Vec<Figure>> {
    let pointers: u64 = scale.choose(100_000, 1_000_000);
    let mut setting = Setting::start(program, 1, pointers);
    let node = setting.node(0);
    let (ods, node_dir) = (node.ods.clone(), node.dir.clone());
    let file = setting.dir.join("pointers.ndjson.gz");

    let mut generate = Command::new(program);
    let count = pointers.to_string();
    generate.args(["generate", "--ods", &ods, "--pointers", &count, "--output"]).arg(&file);
    let (_, generate_peak, generate_time) = watched(&mut generate)?;

    let pid = setting.federation.node_mut(0).process().id();
    let (empty_disk, empty_memory) = (disk(&node_dir)?, peak(pid)?);
    let mut import = Command::new(program);
    import.args(["import", "--json", "--dir"]).arg(&node_dir).arg(&file);
    let (said, import_peak, import_time) = watched(&mut import)?;
    let summary: Value = serde_json::from_str(&said)?;
    ensure!(summary["created"] == pointers, "import: {said}");
    // A filter may still be under way.
    thread::sleep(Duration::from_secs(3));
    let (node_peak, resting) = (peak(pid)?, resident(pid)?);
    let each = |bytes: f64| bytes / pointers as f64;
    let mut rate = Series::default();
    rate.push(pointers as f64 / import_time.as_secs_f64());
    let mut made = Series::default();
    made.push(pointers as f64 / generate_time.as_secs_f64());
    Ok(vec![
        Figure::new(format!("generate {pointers} pointers, compressed"), "/s", &made),
        Figure::exact("generate: most memory", "bytes", generate_peak),
        Figure::new(format!("import {pointers} pointers into one node"), "/s", &rate),
        Figure::exact("import: most memory of the command", "bytes", import_peak),
        Figure::exact("node: most memory", "bytes", node_peak),
        Figure::exact("node: memory before", "bytes", empty_memory),
        Figure::exact("node: memory after", "bytes", resting),
        Figure::exact(
            "node: most memory for each pointer",
            "bytes",
            each(node_peak - empty_memory),
        ),
        Figure::exact("node: disk for each pointer", "bytes", each(disk(&node_dir)? - empty_disk)),
    ])
}

/// Runs a command; returns what it printed, the most memory that it had, and how long it took.
fn watched(command: &mut Command) -> anyhow::Result<(String, f64, Duration)> {
    let started = Instant::now();
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().context("cannot start a command")?;
    let mut most = 0.0_f64;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        // It may have ended just now.
        most = most.max(peak(child.id()).unwrap_or_default());
        thread::sleep(POLL);
    };
    let took = started.elapsed();
    let mut said = String::new();
    if let Some(mut out) = child.stdout.take() {
        std::io::Read::read_to_string(&mut out, &mut said)?;
    }
    ensure!(status.success(), "a command failed: {said}");
    Ok((said, most, took))
}

/// Bytes of memory that a process had at the most.
fn peak(pid: u32) -> anyhow::Result<f64> {
    status(pid, "VmHWM:")
}

/// Bytes of memory that a process has.
fn resident(pid: u32) -> anyhow::Result<f64> {
    status(pid, "VmRSS:")
}

fn status(pid: u32, field: &str) -> anyhow::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    Ok(kilobytes.context("the system does not tell a process's memory")? * 1024.0)
}

/// Bytes of all files below a directory.
fn disk(dir: &Path) -> anyhow::Result<f64> {
    let mut bytes = 0.0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // A file may go while it is looked at.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() { disk(&entry.path())? } else { metadata.len() as f64 };
    }
    Ok(bytes)
}
