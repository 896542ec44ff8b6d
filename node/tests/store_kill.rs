//! What the store acknowledged survives `kill -9`, at whatever moment it comes.
//!
//! The test runs itself again as a child, which writes numbered rows through the committer and
//! prints the number of each acknowledged one. The parent kills it after a random time, opens what
//! is left and looks for every number it has read. A killed process leaves its unwritten pages with
//! the system: this shows that no reply leaves before its flush, not that a disk survives a power
//! cut.

// The counts are the point, and helpers of a test may fail as loudly as the test.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use signpost_node::store::{
    Batch, CACHE_BYTES_DEFAULT, Committer, DisclosureLog, DisclosureRecord, DisclosureRole,
    Outcome, SledStore, Store, verify,
};
use signpost_protocol::Timestamp;

/// Tells the child where to write; its presence makes this process the child.
const DIRECTORY: &str = "SIGNPOST_STORE_KILL_DIRECTORY";
/// Where the child's numbering begins: behind that of the rounds before.
const FIRST: &str = "SIGNPOST_STORE_KILL_FIRST";
const ROUNDS: u32 = 10;
/// Marks the child's lines among those of the test harness, which may share a line with the first.
const ACKNOWLEDGED: &str = "acknowledged ";

#[test]
fn every_acknowledged_row_survives_a_kill() {
    if let (Ok(directory), Ok(first)) = (env::var(DIRECTORY), env::var(FIRST)) {
        write_until_killed(directory.as_ref(), first.parse().unwrap());
    }
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<u64> = Vec::new();
    let mut first = 0;
    for round in 1..=ROUNDS {
        let numbers = kill_a_writer(directory.path(), first);
        assert!(!numbers.is_empty(), "round {round}: killed before anything was acknowledged");
        let fresh = numbers.len();
        acknowledged.extend(numbers);

        let store = SledStore::open(directory.path().join("store"), CACHE_BYTES_DEFAULT).unwrap();
        for number in &acknowledged {
            for (key, value) in rows_of(*number) {
                assert_eq!(store.get(&key).unwrap(), Some(value), "round {round}: {number} lost");
            }
        }
        // Both rows of a batch or neither, acknowledged or not.
        let numbers = |prefix: &[u8]| -> Vec<u64> {
            let rows = store.scan(prefix, None, usize::MAX).unwrap();
            rows.iter().map(|(key, _)| number_of(key)).collect()
        };
        let found = numbers(b"row/a");
        assert_eq!(found, numbers(b"row/z"), "round {round}: half a batch came back");
        first = found.last().unwrap() + 1;
        drop(store);

        let log = directory.path().join("disclosures");
        drop(DisclosureLog::open(&log).unwrap());
        let report = verify(&log).unwrap();
        assert_eq!(report.fault, None, "round {round}");
        let disclosed = report.head.unwrap().next;
        assert!(disclosed >= acknowledged.len() as u64, "round {round}: a disclosure is lost");
        println!(
            "round {round}: {fresh} rows acknowledged, {} in all, {} found, {disclosed} disclosures",
            acknowledged.len(),
            found.len(),
        );
    }
}

/// Runs a child, kills it, and returns the numbers that it acknowledged before it died.
fn kill_a_writer(directory: &Path, first: u64) -> Vec<u64> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "every_acknowledged_row_survives_a_kill", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The kill may cut the last line short: a number counts only with its full stop.
    let mut numbers = lines.map_while(Result::ok).filter_map(|line| -> Option<u64> {
        line.split_once(ACKNOWLEDGED)?.1.strip_suffix('.')?.parse().ok()
    });
    // The clock starts at the first acknowledgement, so that a slow start cannot empty a round.
    let start = numbers.next();
    let reader = thread::spawn(move || start.into_iter().chain(numbers).collect());
    let mut random = [0];
    getrandom::fill(&mut random).unwrap();
    thread::sleep(Duration::from_millis(20 + 2 * u64::from(random[0])));
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

fn write_until_killed(directory: &Path, first: u64) -> ! {
    let store = SledStore::open(directory.join("store"), CACHE_BYTES_DEFAULT).unwrap();
    let (store, log) =
        (Arc::new(store), Arc::new(DisclosureLog::open(directory.join("disclosures")).unwrap()));
    let flush = {
        let (store, log) = (store.clone(), log.clone());
        move || {
            store.flush()?;
            log.sync()
        }
    };
    let deliver = |outcome: Outcome<u64>| {
        outcome.result.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "{ACKNOWLEDGED}{}.", outcome.item).unwrap();
        out.flush().unwrap();
    };
    let committer = Committer::spawn(flush, deliver).unwrap();
    for number in first.. {
        let mut batch = Batch::new();
        for (key, value) in rows_of(number) {
            batch.put(key, value).unwrap();
        }
        store.apply(&batch).unwrap();
        log.append(&record(number)).unwrap();
        committer.submit(number).unwrap();
    }
    unreachable!("the numbers do not run out")
}

/// Two rows far apart, so that a batch touches two leaves; the values tell their number.
fn rows_of(number: u64) -> [(Vec<u8>, Vec<u8>); 2] {
    [b'a', b'z'].map(|end| {
        let key = [b"row/", [end].as_slice(), &number.to_be_bytes()].concat();
        (key, number.to_string().repeat(40).into_bytes())
    })
}

fn number_of(key: &[u8]) -> u64 {
    u64::from_be_bytes(key[5..].try_into().unwrap())
}

fn record(number: u64) -> DisclosureRecord {
    DisclosureRecord {
        time: Timestamp(1_795_500_000_000 + number),
        role: DisclosureRole::Holder,
        request: format!("{number:032x}"),
        asking: "RJ1".to_owned(),
        asked: vec!["RX898".to_owned()],
        asks: Vec::new(),
        purpose: "direct-care".to_owned(),
        user: "b3f1".to_owned(),
        user_role: "clinician".to_owned(),
        outcome: "answered".to_owned(),
        pointers: vec![format!("RX898-{number}")],
        completeness: None,
    }
}
