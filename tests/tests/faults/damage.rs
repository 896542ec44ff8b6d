//! Files of a stopped node that were cut short, zeroed in places or altered.
//!
//! Whatever is damaged, the node then does one of three things. It starts with everything that it
//! acknowledged; or it starts and its records are named as incomplete at everybody; or it does not
//! start, and says which file is at fault and what to do. It never shows less, or anything else,
//! under the word `complete`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    thread,
    time::Duration,
};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use rand_core::Rng as _;
use signpost_node::setup;
use signpost_protocol::roster::Parameters;
use signpost_tests::{
    client::{patient, record},
    processes::{Federation, until},
};

use crate::{
    PROGRAM,
    counts::Counts,
    ledger::Ledger,
    restored::confirm,
    writers::{Target, settle},
};

/// Its files are damaged.
const NODE: usize = 0;
const ASKER: usize = 1;
const NODES: usize = 3;
/// Acknowledged writes before the damage.
const WRITES: u64 = 200;
/// Further ones, imported: they take the store over several segments of 2 MiB.
const IMPORTED: u64 = 1_500;
/// Of so many records one is looked at when everything should be there.
const AUDIT_ODDS: u64 = 10;
/// Look-ups at the node before the damage: lines in its disclosure log.
const LOOK_UPS: u64 = 60;
/// Patients looked up after each damage, from afar and at the node.
const SAMPLE: usize = 12;
/// Ends the names of the copies.
const SOUND: &str = "sound";
/// A page of a disk.
const PAGE: usize = 4_096;
/// What an error must hold one of: what to do about it.
const REMEDIES: [&str; 2] = ["back-up", "signpost.toml names the file"];

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Truncate,
    Zero,
    Flip,
    Remove,
}

/// What became of the node.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Refused,
    Intact,
    NamedIncomplete,
}

pub(crate) fn run(counts: &mut Counts, rng: &mut ChaCha20Rng) {
    let mut federation = Federation::found(PROGRAM, NODES, Parameters::STANDARD, "info");
    (0..NODES).for_each(|n| federation.start(n));
    federation.await_fresh();
    let ledger = Ledger::default();
    prepare(&federation, &ledger, counts, rng);
    // As a killed node leaves them.
    (0..NODES).for_each(|n| federation.kill(n));
    let sound = keep_all(&mut federation);
    split_disclosures(&sound.join("disclosures"));
    put_back_all(&mut federation);

    let mut fates: Vec<(String, Fate)> = Vec::new();
    for (file, harm, at) in harms(&sound, rng) {
        let name = file.strip_prefix(&sound).unwrap().display().to_string();
        let text = format!("{harm:?} {name} at {at}");
        let dir = federation.node(NODE).dir.clone();
        copy(&sound, &dir);
        do_harm(&dir.join(&name), harm, at);
        counts.faults += 1;
        let fate = fate(&mut federation, &ledger, counts, rng, &text, &name);
        println!("{text}: {fate:?}");
        if name.starts_with("store/data") && fate == Fate::NamedIncomplete {
            goes_on_until_confirmed(&mut federation, counts);
        }
        federation.kill(NODE);
        if fate != Fate::Refused {
            // It has issued heads: to the others its sound copy would now be a back-up.
            put_back_all(&mut federation);
        }
        fates.push((name, fate));
    }
    // The damage is what the node could not stand: without it, it is as before.
    let dir = federation.node(NODE).dir.clone();
    copy(&sound, &dir);
    assert_eq!(fate(&mut federation, &ledger, counts, rng, "nothing", ""), Fate::Intact);
    counts.acknowledged += ledger.acknowledged();

    let count = |part: &str, fate: &Fate| {
        fates.iter().filter(|(name, found)| name.contains(part) && found == fate).count()
    };
    assert!(count("store/data/db", &Fate::NamedIncomplete) > 0, "no damage cut the store short");
    assert!(count("store/data/db", &Fate::Refused) > 0, "no damage left a hole in the store");
    for file in ["keys/node.keystore", "roster.cbor", "inception.cose", "signpost.toml"] {
        assert_eq!(count(file, &Fate::Refused), 2, "the damage to {file} was not noticed");
    }
    let digests = fates.iter().filter(|(name, _)| name.starts_with("digests/")).count();
    assert_eq!(count("digests/", &Fate::Intact), digests, "digests can be had again");
    assert!(count("disclosures/", &Fate::Refused) > 3);
}

/// Writes and looks up, so that every file has something in it.
fn prepare(federation: &Federation, ledger: &Ledger, counts: &mut Counts, rng: &mut ChaCha20Rng) {
    let target = Target::new(federation.node(NODE), NODE, ledger);
    thread::scope(|scope| {
        let target = &target;
        for _ in 0..2 {
            let rng = ChaCha20Rng::seed_from_u64(rng.next_u64());
            scope.spawn(move || target.write_one_by_one(rng));
        }
        until("enough is acknowledged", || (ledger.acknowledged() >= WRITES).then_some(()));
        let rng = ChaCha20Rng::seed_from_u64(rng.next_u64());
        scope.spawn(move || target.import(rng, 100));
        let enough = || (ledger.acknowledged() >= WRITES + IMPORTED).then_some(());
        until("enough is imported", enough);
        target.stop.store(true, Ordering::Relaxed);
    });
    settle(federation, ledger, NODE, ASKER);
    // What comes last no digest head comes after: changes and deletions of what is advertised.
    for _ in 0..10 {
        let taken = ledger.take(NODE, rng.next_u64()).unwrap();
        ledger.deleting(taken.serial);
        assert_eq!(federation.client(NODE).delete(&taken.id).status, 204);
        ledger.deleted(taken.serial);
    }
    for _ in 0..LOOK_UPS {
        let mut faults = Vec::new();
        ledger.look_up(federation.client(NODE), rng.next_u64(), Duration::ZERO, &mut faults);
        faults.into_iter().for_each(|fault| counts.wrong(fault));
    }
}

/// The damages: to each kind of file, at places that the seed picks.
fn harms(sound: &Path, rng: &mut ChaCha20Rng) -> Vec<(PathBuf, Harm, usize)> {
    let mut harms = Vec::new();
    let store = sound.join("store");
    let database = store.join("data/db");
    let written = fs::read(&database).unwrap().iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut place = |length: usize| (rng.next_u64() % length.max(1) as u64) as usize;
    for short in [1, 200, 3_000] {
        harms.push((database.clone(), Harm::Truncate, written - short));
    }
    for _ in 0..6 {
        harms.push((database.clone(), Harm::Zero, place(written)));
        harms.push((database.clone(), Harm::Flip, place(written)));
    }
    harms.push((database.clone(), Harm::Truncate, written / 2));
    harms.push((database.clone(), Harm::Truncate, place(written)));
    harms.push((database, Harm::Remove, 0));
    harms.push((store.join("acknowledged"), Harm::Flip, place(8)));
    harms.push((store.join("acknowledged"), Harm::Remove, 0));
    for file in files(&store.join("data")) {
        if !file.ends_with("db") {
            harms.push((file, Harm::Flip, 0));
        }
    }
    let segments = files(&sound.join("disclosures"));
    let segments: Vec<_> = segments.iter().filter(|file| file.extension().is_some()).collect();
    let (middle, last) = (segments[segments.len() - 2], segments[segments.len() - 1]);
    for (file, short) in [(middle, 1), (middle, 900), (last, 1), (last, 900)] {
        harms.push((file.clone(), Harm::Truncate, length(file) - short));
    }
    for file in [middle, last] {
        harms.push((file.clone(), Harm::Flip, place(length(file) / 2)));
        harms.push((file.clone(), Harm::Zero, place(length(file) / 2)));
    }
    for file in files(&sound.join("digests")) {
        harms.push((file.clone(), Harm::Flip, place(length(&file))));
    }
    // Every key of the configuration may be left out, so only what cuts one in two is damage.
    let config = sound.join("signpost.toml");
    let inside = fs::read_to_string(&config).unwrap().find("listen = \"").unwrap() + 12;
    harms.push((config.clone(), Harm::Truncate, inside));
    harms.push((config, Harm::Zero, inside));
    let served = setup::organizations(sound).unwrap().remove(0);
    let inception = setup::organization_dir(sound, &served).join("inception.cose");
    let own = ["keys/node.keystore", "roster.cbor", "passphrase"];
    for file in own.map(|name| sound.join(name)).into_iter().chain([inception]) {
        for harm in [Harm::Truncate, Harm::Zero] {
            harms.push((file.clone(), harm, place(length(&file))));
        }
    }
    harms
}

/// The files of a directory, in the order of their names.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn length(file: &Path) -> usize {
    file.metadata().unwrap().len() as usize
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

/// Keeps a copy of the directories of all nodes, which are stopped; returns that of [`NODE`].
fn keep_all(federation: &mut Federation) -> PathBuf {
    for n in 0..NODES {
        let dir = &federation.node(n).dir;
        copy(dir, &dir.with_extension(SOUND));
    }
    federation.node(NODE).dir.with_extension(SOUND)
}

/// Takes all nodes back to their copies, and starts all but [`NODE`].
fn put_back_all(federation: &mut Federation) {
    for n in (0..NODES).filter(|n| *n != NODE) {
        if federation.is_running(n) {
            federation.kill(n);
        }
        let dir = federation.node(n).dir.clone();
        copy(&dir.with_extension(SOUND), &dir);
        federation.start(n);
    }
    for n in (0..NODES).filter(|n| *n != NODE) {
        federation.await_ready(n);
    }
}

/// Cuts the disclosure log of a stopped node into three segments, as a long life would have: a
/// segment is a file named after the number of its first line.
fn split_disclosures(dir: &Path) {
    let whole = fs::read_to_string(dir.join("disclosures-000000000000.jsonl")).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let third = lines.len() / 3;
    assert!(third > 3);
    for (first, part) in
        [(0, &lines[..third]), (third, &lines[third..2 * third]), (2 * third, &lines[2 * third..])]
    {
        fs::write(dir.join(format!("disclosures-{first:012}.jsonl")), part.concat()).unwrap();
    }
}

fn do_harm(file: &Path, harm: Harm, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    let end = (at + PAGE).min(bytes.len());
    match harm {
        Harm::Truncate => bytes.truncate(at),
        Harm::Zero => bytes[at..end].fill(0),
        Harm::Flip => bytes[at] ^= 0x10,
        Harm::Remove => return fs::remove_file(file).unwrap(),
    }
    // In place, so that the file keeps its mode.
    let open = File::options().write(true).truncate(true).open(file).unwrap();
    std::io::Write::write_all(&mut &open, &bytes).unwrap();
}

/// Starts the damaged node and holds everything it says against what it acknowledged.
fn fate(
    federation: &mut Federation,
    ledger: &Ledger,
    counts: &mut Counts,
    rng: &mut ChaCha20Rng,
    harm: &str,
    name: &str,
) -> Fate {
    let before = federation.node(NODE).log().len();
    federation.start(NODE);
    let (ended, _) = until("the node has started or ended", || {
        match federation.node_mut(NODE).process().ended() {
            Some(status) => Some(Some(status)),
            None => federation.client(NODE).is_ready().then_some(None),
        }
    });
    if let Some(status) = ended {
        let log = federation.node(NODE).log().split_off(before);
        assert_eq!(status.code(), Some(1), "{harm}:\n{log}");
        let said = log.split("error: ").last().unwrap_or_default();
        // A store, and a log, are named as a whole.
        let whole = name.split('/').next().unwrap_or_default();
        assert!(said.contains(whole), "{harm}: no word of the file in: {said}");
        assert!(REMEDIES.iter().any(|remedy| said.contains(remedy)), "{harm}: {said}");
        // Nobody is told that this is all.
        look_up(federation, ledger, counts, ASKER, harm);
        return Fate::Refused;
    }
    await_recalled(federation);
    for at in [NODE, ASKER] {
        look_up(federation, ledger, counts, at, harm);
    }
    if is_restored(federation, NODE) {
        until("the asker says so too", || is_restored(federation, ASKER).then_some(()));
        return Fate::NamedIncomplete;
    }
    // Nothing is missing, so everything must be there.
    ledger
        .audit(federation.client(NODE), NODE, counts, || rng.next_u64().is_multiple_of(AUDIT_ODDS));
    Fate::Intact
}

fn is_restored(federation: &Federation, at: usize) -> bool {
    let reply = federation.client(at).search(&patient(1));
    reply.cause("restored", &federation.node(NODE).ods).is_some()
}

/// A node whose store lost its end takes writes that survive a kill, is named for as long as nobody
/// has confirmed, restarts or not, and then no more.
fn goes_on_until_confirmed(federation: &mut Federation, counts: &mut Counts) {
    let (ods, dir) = (federation.node(NODE).ods.clone(), federation.node(NODE).dir.clone());
    let new = record(&ods, &patient(499_000), "https://records.example/new");
    let id = federation.client(NODE).created(&new);
    counts.acknowledged += 1;
    for confirmed in [false, true] {
        if confirmed {
            confirm(&dir);
            let nobody = || !is_restored(federation, NODE) && !is_restored(federation, ASKER);
            until("nobody names it any more", || nobody().then_some(()));
        }
        federation.kill(NODE);
        federation.start(NODE);
        federation.await_ready(NODE);
        await_recalled(federation);
        assert_eq!(is_restored(federation, NODE), !confirmed, "confirmed: {confirmed}");
        let read = federation.client(NODE).read(&id);
        if read.status != 200 {
            counts.lost(format!("{id}, written after a loss: {}", read.body));
        }
    }
}

/// Waits until the peers have told the node what they know of it.
fn await_recalled(federation: &Federation) {
    until("the peers were heard", || {
        let notices = federation.client(NODE).status()?.notices;
        (!notices.iter().any(|notice| notice.starts_with("waiting for a peer"))).then_some(())
    });
}

/// Looks up a few patients; what says `complete` must be.
fn look_up(federation: &Federation, ledger: &Ledger, counts: &mut Counts, at: usize, harm: &str) {
    let patients = ledger.patients();
    for n in patients.iter().step_by(patients.len() / SAMPLE) {
        let mut faults = Vec::new();
        let client = federation.client(at);
        let result = ledger.look_up_of(client, *n, Duration::ZERO, &mut faults);
        faults.into_iter().for_each(|fault| counts.wrong(format!("{harm}: {fault}")));
        counts.complete += u64::from(result == Some(true));
        counts.partial += u64::from(result == Some(false));
    }
}
