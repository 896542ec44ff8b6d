use std::{
    collections::{BTreeSet, HashSet},
    fs,
    io::Read as _,
};

use clap::Parser;
use serde_json::Value;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn args(line: &str) -> Args {
    let words = std::iter::once("generate").chain(line.split_whitespace());
    Line::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}")).args
}

fn refused(line: &str) -> String {
    let words = std::iter::once("generate").chain(line.split_whitespace());
    match Line::try_parse_from(words) {
        Err(error) => error.to_string(),
        Ok(Line { args }) => command(&args, true).unwrap_err().to_string(),
    }
}

/// What the command writes for one organization.
fn lines(line: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.ndjson");
    let args = args(&format!("{line} --output {}", path.display()));
    assert_eq!(command(&args, true).unwrap(), ExitCode::SUCCESS);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    fs::read(path).unwrap()
}

fn resources(bytes: &[u8]) -> Vec<Value> {
    bytes
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

#[test]
fn exactly_so_many_pointers_each_with_its_own_id() {
    let written = lines("--ods RX1 --pointers 777");
    let resources = resources(&written);
    assert_eq!(resources.len(), 777);
    let ids: HashSet<_> = resources.iter().map(|r| r["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 777);
    assert!(ids.iter().all(|id| id.starts_with("RX1-")));
    assert!(resources.iter().all(|r| r["custodian"]["identifier"]["value"] == "RX1"));
}

#[test]
fn the_same_options_write_the_same_bytes_and_more_begins_with_less() {
    let written = lines("--ods RX1 --pointers 300");
    assert_eq!(written, lines("--ods RX1 --pointers 300"));
    assert!(lines("--ods RX1 --pointers 301").starts_with(&written));
    assert!(lines("--ods RX1 --patients 2000").starts_with(&written));
    assert_ne!(written, lines("--ods RX1 --pointers 300 --seed 2"));
}

#[test]
fn all_pointers_of_so_many_patients() {
    let resources = resources(&lines("--ods RX1 --patients 200"));
    let patients: BTreeSet<_> =
        resources.iter().map(|r| r["subject"]["identifier"]["value"].as_str().unwrap()).collect();
    assert_eq!(patients.len(), 200);
    assert!(resources.len() > 200);
}

#[test]
fn a_name_in_gz_is_compressed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.ndjson.gz");
    let args = args(&format!("--ods RX1 --pointers 100 --output {}", path.display()));
    command(&args, true).unwrap();
    let compressed = fs::read(path).unwrap();
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&*compressed).read_to_end(&mut plain).unwrap();
    assert_eq!(plain, lines("--ods RX1 --pointers 100"));
    assert!(compressed.len() < plain.len() / 4);
}

#[test]
fn several_organizations_share_their_patients() {
    let dir = tempfile::tempdir().unwrap();
    let args = args(&format!("--orgs 3 --patients 300 --output {}", dir.path().display()));
    command(&args, true).unwrap();
    let population = Population::new(1, Organization::invent(3), 300).unwrap();
    let mut files = 0;
    for (position, organization) in population.organizations().iter().enumerate() {
        let written = fs::read(dir.path().join(format!("{}.ndjson", organization.ods))).unwrap();
        let expected: Vec<_> = population
            .patients()
            .flat_map(|patient| population.records(&patient, position))
            .map(|record| record.id.to_string())
            .collect();
        let ids: Vec<_> =
            resources(&written).iter().map(|r| r["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids, expected);
        files += 1;
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), files);
}

/// The range has 909,090 numbers; this draws some of them and counts on.
#[test]
fn one_organization_can_have_a_million_pointers() {
    const DRAWN: u32 = 5_000;
    let population = Population::new(1, Organization::invent(1), DRAWN).unwrap();
    let drawn: usize = population.patients().map(|p| population.records(&p, 0).len()).sum();
    let all = drawn as u64 * u64::from(PATIENTS_MAX) / u64::from(DRAWN);
    assert!(all > 1_200_000, "{all}");
}

#[test]
fn senseless_requests_are_refused() {
    for (line, part) in [
        ("--ods RX1", "--pointers"),
        ("--pointers 5", "--ods"),
        ("--ods RX1 --pointers 0", "0"),
        ("--ods RX1 --patients 900001", "900001"),
        ("--ods RX1 --patients 5 --pointers 5", "cannot be used with"),
        ("--ods RX1 --orgs 2 --pointers 5", "cannot be used with"),
        ("--ods rx1 --pointers 5", "rx1"),
        ("--ods RX1,RX1 --pointers 5", "twice"),
        ("--ods RX1,RX2 --pointers 5", "several organizations"),
        ("--ods RX1 --pointers 5 --output /nowhere/at/all", "/nowhere/at/all"),
    ] {
        let said = refused(line);
        assert!(said.contains(part), "{line}: {said}");
    }
}

#[test]
fn more_than_there_are_leaves_no_file() {
    let population = Population::new(1, Organization::invent(1), 10).unwrap();
    let mut out = vec![Vec::new()];
    let failure = write(&population, Some(1_000), &mut out, &ProgressBar::hidden()).unwrap_err();
    let written = resources(&out[0]).len() as u64;
    assert!(matches!(failure, Failure::Exhausted { written: w } if w == written));

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.ndjson");
    let mut sink = Sink::file(&path).unwrap();
    io::Write::write_all(&mut sink, b"{}\n").unwrap();
    drop(sink);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "half a file is no file");
}
