//! A disk that fills up under a running node, is full at its start, or is full for the disclosure
//! log alone.
//!
//! The node says so to who writes, to who looks up, on the command line and in its log, with the
//! path and what to do; it stops with exit code 1 and without a panic; and once there is room again
//! it has everything that it acknowledged.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    process::Command,
    sync::atomic::Ordering,
    thread,
    time::Duration,
};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use rand_core::Rng as _;
use signpost_protocol::roster::Parameters;
use signpost_tests::{
    client::{Reply, patient, record},
    processes::{Federation, until},
};

use crate::{
    PROGRAM,
    counts::Counts,
    ledger::Ledger,
    namespace::{self, Disk},
    writers::{Target, settle},
};

/// Its disk fills up.
const NODE: usize = 0;
const ASKER: usize = 1;
const NODES: usize = 3;
/// The disk: room for a few thousand records.
const DISK: &str = "24m";
/// Left free by the file that fills the disk: some hundreds of records.
const LEFT_FREE: u64 = 1024 * 1024;
/// The disk of the disclosure log alone: some hundred disclosures.
const LOG_DISK: &str = "128k";
const FILLER: &str = "filler";
/// What the command line imports: far more than fits.
const CLI_LINES: u32 = 5_000;
/// Patients looked up from afar after each restart, about.
const PATIENTS_LOOKED_UP: usize = 20;
const DISK_FULL: &str = "the disk is full: free space on ";

pub(crate) fn run(counts: &mut Counts, rng: &mut ChaCha20Rng) {
    let mut federation = Federation::found(PROGRAM, NODES, Parameters::STANDARD, "info");
    if !namespace::has_disks() {
        println!(
            "NOT RUN: this system allows no mount namespace (unshare(1), tmpfs), so no disk can be \
             filled. A limit on the size of files (ulimit -f) stands in for it."
        );
        return limited_files(&mut federation, counts, rng);
    }
    let disk = Disk::over(&federation.node(NODE).dir, DISK);
    (0..NODES).for_each(|n| federation.start(n));
    federation.await_fresh();
    let ledger = Ledger::default();
    fills_up_under_writes(&mut federation, &ledger, counts, rng);
    fills_up_under_the_command_line(&mut federation, &ledger, counts);
    is_full_at_the_start(&mut federation, &ledger, counts);
    is_full_for_disclosures_alone(&mut federation, &ledger, counts);
    counts.acknowledged += ledger.acknowledged();
    // Its node is down; the disk can go.
    drop(disk);
}

/// Fills the disk of a directory but for `left` bytes.
fn fill(dir: &Path, left: u64) {
    let mut file = File::create(dir.join(FILLER)).unwrap();
    let chunk = vec![1; 64 * 1024];
    let error = loop {
        if let Err(error) = file.write_all(&chunk) {
            break error;
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    let full = file.metadata().unwrap().len();
    file.set_len(full.saturating_sub(left)).unwrap();
}

fn make_room(dir: &Path) {
    fs::remove_file(dir.join(FILLER)).unwrap();
}

/// What the node has logged since `before`, which was the length of its log.
fn logged(federation: &Federation, before: usize) -> String {
    federation.node(NODE).log().split_off(before)
}

/// The node has ended by itself, said why, and did not panic.
fn assert_stopped(federation: &mut Federation, before: usize, path: &str) {
    let status = federation.node_mut(NODE).process().end();
    let log = logged(federation, before);
    assert_eq!(status.code(), Some(1), "{log}");
    assert_says_full(&log, path);
    assert!(log.contains("error: "), "the last word is what the command says:\n{log}");
    assert!(!log.contains("panicked"), "{log}");
}

fn assert_says_full(text: &str, path: &str) {
    let said = text.split(DISK_FULL).nth(1).unwrap_or_else(|| panic!("no word of it in:\n{text}"));
    assert!(said.starts_with(path), "{path} in {said}");
    assert!(said.contains("then restart the node"), "{said}");
}

/// Starts the node again and looks at everything.
fn comes_back(federation: &mut Federation, ledger: &Ledger, counts: &mut Counts) {
    federation.start(NODE);
    let ready = federation.await_ready(NODE);
    let audited = ledger.audit(federation.client(NODE), NODE, counts, || true);
    let took = settle(federation, ledger, NODE, ASKER);
    println!("ready after {ready:.1?}: all {audited} records looked at, found after {took:.1?}");
    let patients = ledger.patients();
    for n in patients.iter().step_by(patients.len() / PATIENTS_LOOKED_UP + 1) {
        until("a look-up is complete", || {
            let mut faults = Vec::new();
            let client = federation.client(ASKER);
            assert_not_restored(&client.search(&patient(*n)));
            let result = ledger.look_up_of(client, *n, Duration::MAX, &mut faults);
            faults.into_iter().for_each(|fault| counts.wrong(fault));
            counts.complete += u64::from(result == Some(true));
            counts.partial += u64::from(result == Some(false));
            (result == Some(true)).then_some(())
        });
    }
}

fn assert_not_restored(reply: &Reply) {
    let text = reply.body.to_string();
    assert!(!text.contains("came back from a back-up"), "nothing was lost: {text}");
}

fn fills_up_under_writes(
    federation: &mut Federation,
    ledger: &Ledger,
    counts: &mut Counts,
    rng: &mut ChaCha20Rng,
) {
    counts.faults += 1;
    let dir = federation.node(NODE).dir.clone();
    let before = federation.node(NODE).log().len();
    let target = Target::new(federation.node(NODE), NODE, ledger);
    thread::scope(|scope| {
        let target = &target;
        for _ in 0..2 {
            let rng = ChaCha20Rng::seed_from_u64(rng.next_u64());
            scope.spawn(move || target.write_one_by_one(rng));
        }
        let rng = ChaCha20Rng::seed_from_u64(rng.next_u64());
        scope.spawn(move || target.import(rng, 50));
        until("a hundred are acknowledged", || (ledger.acknowledged() >= 100).then_some(()));
        fill(&dir, LEFT_FREE);
        assert_stopped(federation, before, &dir.display().to_string());
        target.stop.store(true, Ordering::Relaxed);
    });
    let refusals = target.refusals.into_inner().unwrap();
    let said = refusals.iter().find(|text| text.contains(DISK_FULL));
    let said = said.unwrap_or_else(|| panic!("no reply says that the disk is full: {refusals:?}"));
    assert_says_full(said, &dir.display().to_string());
    println!("{} acknowledged until the disk was full; a reply: {said}", ledger.acknowledged());
    make_room(&dir);
    comes_back(federation, ledger, counts);
}

fn fills_up_under_the_command_line(
    federation: &mut Federation,
    ledger: &Ledger,
    counts: &mut Counts,
) {
    counts.faults += 1;
    let dir = federation.node(NODE).dir.clone();
    let ods = federation.node(NODE).ods.clone();
    let lines = dir.with_extension("ndjson");
    let mut file = File::create(&lines).unwrap();
    let id = |n: u32| format!("{ods}-cli-{n}");
    for n in 0..CLI_LINES {
        let mut line = record(&ods, &patient(10_000 + n), &format!("https://cli.example/{n}/1"));
        line["id"] = id(n).into();
        writeln!(file, "{line}").unwrap();
    }
    let before = federation.node(NODE).log().len();
    fill(&dir, LEFT_FREE);
    let import = |federation: &Federation| {
        let mut import = Command::new(PROGRAM);
        import.args(["import", "--dir"]).arg(&federation.node(NODE).dir).arg(&lines);
        import.output().unwrap()
    };
    let output = import(federation);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(!output.status.success(), "{said}");
    assert_says_full(&said, &dir.display().to_string());
    let acknowledged = number_before(&said, " created");
    assert_stopped(federation, before, &dir.display().to_string());
    make_room(&dir);
    comes_back(federation, ledger, counts);
    // The same file again: what was there stays as it is, the rest comes in.
    let output = import(federation);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    counts.acknowledged += u64::from(CLI_LINES);
    let unchanged = number_before(&said, " unchanged");
    if unchanged < acknowledged {
        counts.lost(format!(
            "{acknowledged} were created by the command line, {unchanged} are there"
        ));
    }
    for n in (0..CLI_LINES).step_by(97) {
        let read = federation.client(NODE).read(&id(n));
        if (read.status, read.etag.as_str()) != (200, "W/\"1\"") {
            counts.lost(format!("{} after the second import: {}", id(n), read.body));
        }
    }
    println!("the command line says the same; imported again: {}", said.trim());
}

/// The number in front of a word of a summary.
fn number_before(text: &str, word: &str) -> u64 {
    let before = text.split(word).next().unwrap_or_default();
    let number = before.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    number.parse().unwrap_or_else(|_| panic!("no number before {word} in {text}"))
}

fn is_full_at_the_start(federation: &mut Federation, ledger: &Ledger, counts: &mut Counts) {
    counts.faults += 1;
    let dir = federation.node(NODE).dir.clone();
    federation.kill(NODE);
    fill(&dir, 0);
    let before = federation.node(NODE).log().len();
    federation.start(NODE);
    let ended = until("it has started or ended", || {
        let ended = federation.node_mut(NODE).process().ended();
        if ended.is_some() {
            Some(true)
        } else {
            federation.client(NODE).is_ready().then_some(false)
        }
    });
    if ended.0 {
        assert_stopped(federation, before, &dir.display().to_string());
        println!("refuses to start on a full disk");
    } else {
        // What is needed for a start may be there already.
        println!("starts on a full disk");
        ledger.audit(federation.client(NODE), NODE, counts, || true);
        federation.kill(NODE);
    }
    make_room(&dir);
    comes_back(federation, ledger, counts);
}

fn is_full_for_disclosures_alone(
    federation: &mut Federation,
    ledger: &Ledger,
    counts: &mut Counts,
) {
    counts.faults += 1;
    federation.kill(NODE);
    let dir = federation.node(NODE).dir.join("disclosures");
    // What is logged so far goes elsewhere, as an archive, so that the small disk holds a new log.
    fs::rename(&dir, dir.with_extension("archive")).unwrap();
    fs::create_dir(&dir).unwrap();
    let disk = Disk::over(&dir, LOG_DISK);
    comes_back(federation, ledger, counts);
    let before = federation.node(NODE).log().len();
    let refused = until("a look-up is refused", || {
        let client = federation.client(NODE);
        // Of everybody, so that each is recorded; the node may be gone before it has replied.
        let query = "/fhir/R4/DocumentReference?subject:identifier=https%3A%2F%2Ffhir.nhs.uk%2FId%2F\
                     nhs-number%7C";
        let query = format!("{query}{}", patient(1).expose_digits());
        let reply = client.send("GET", &query, &[], b"").expect("told before it ends");
        assert!(matches!(reply.status, 200 | 500), "{}", reply.body);
        counts.complete += u64::from(reply.completeness == "complete");
        (reply.status == 500).then_some(reply)
    });
    let said = refused.0.assert_refused(500).to_owned();
    assert_says_full(&said, &dir.display().to_string());
    assert_stopped(federation, before, &dir.display().to_string());
    println!("a look-up that cannot be recorded: {said}");
    disk.resize("4m");
    comes_back(federation, ledger, counts);
    let log = signpost_node::store::verify(&dir).unwrap();
    assert_eq!(log.fault, None);
    federation.kill(NODE);
    drop(disk);
}

/// Where no disk can be filled: files may not grow, which the system reports in other words.
fn limited_files(federation: &mut Federation, counts: &mut Counts, rng: &mut ChaCha20Rng) {
    counts.faults += 1;
    (0..NODES).for_each(|n| federation.start(n));
    federation.await_fresh();
    let ledger = Ledger::default();
    let before = federation.node(NODE).log().len();
    let target = Target::new(federation.node(NODE), NODE, &ledger);
    thread::scope(|scope| {
        let target = &target;
        let rng = ChaCha20Rng::seed_from_u64(rng.next_u64());
        scope.spawn(move || target.import(rng, 50));
        until("a hundred are acknowledged", || (ledger.acknowledged() >= 100).then_some(()));
        let pid = federation.node_mut(NODE).process().id().to_string();
        let limited = Command::new("prlimit").args(["--fsize=65536", "--pid", &pid]).status();
        assert!(limited.unwrap().success());
        // Ended by the failed write, or by the signal that comes with it.
        let status = federation.node_mut(NODE).process().end();
        assert!(!status.success());
        target.stop.store(true, Ordering::Relaxed);
    });
    assert!(!logged(federation, before).contains("panicked"));
    comes_back(federation, &ledger, counts);
    counts.acknowledged += ledger.acknowledged();
}
