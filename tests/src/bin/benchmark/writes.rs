//! Creating and importing, beside a signature and a write that is on disk.

use std::time::{Duration, Instant};

use signpost_tests::client::{patient, record};

use crate::{
    figures::{Aim, Figure, Series},
    floors::{Disk, Signatures, Voprf},
    http::{Call, Http, Target},
    setting::{Records, Scale, Setting},
};

/// The node that is written to.
const WRITER: usize = 0;
/// Patients of created pointers: their locators are known after the first round.
const PATIENTS: u64 = 64;
/// Lines in one request of an import.
const LINES: usize = 100;
/// The seed of the patients that are imported.
const SEED: u64 = 13;

pub(crate) fn measure_create(setting: &Setting, scale: Scale) -> anyhow::Result<Vec<Figure>> {
    let rounds = scale.choose(6, 20);
    let time = Duration::from_millis(700);
    let http = Http::new()?;
    let target = Target::node(setting.node(WRITER))?;
    let ods = setting.node(WRITER).ods.clone();
    let resource = move |n: u64| {
        let patient = patient((n % PATIENTS) as u32);
        record(&ods, &patient, &format!("https://records.example/{n}")).to_string()
    };
    let bytes = resource(1).into_bytes();
    let call = move |n: u64| Call::create(resource(n));
    http.load(&target, 1, time, call.clone())?;

    let signatures = Signatures::new();
    let mut disk = Disk::new(&setting.dir)?;
    let (mut one, mut sixteen) = (Series::default(), Series::default());
    let (mut alone, mut grouped) = (Series::default(), Series::default());
    for _ in 0..rounds {
        one.push(http.load(&target, 1, time, call.clone())?.rate);
        alone.push(signed_writes(&signatures, &mut disk, &bytes, 1, time / 3)?);
        sixteen.push(http.load(&target, 16, time, call.clone())?.rate);
        grouped.push(signed_writes(&signatures, &mut disk, &bytes, 16, time / 3)?);
    }
    Ok(vec![
        Figure::new("create, 1 connection", "/s", &one).beside(
            "sign + write + flush, each alone",
            &alone,
            None,
        ),
        Figure::new("create, 16 connections", "/s", &sixteen).beside(
            "sign + write + flush, 16 together",
            &grouped,
            None,
        ),
    ])
}

pub(crate) fn measure_import(setting: &Setting, scale: Scale) -> anyhow::Result<Vec<Figure>> {
    let rounds = scale.choose(5, 12);
    let patients_each = scale.choose(1_000, 3_000);
    let records = Records::of(WRITER, SEED);
    let mut patients = records.patients();
    let signatures = Signatures::new();
    let mut voprf = Voprf::new()?;
    let mut disk = Disk::new(&setting.dir)?;
    let (mut new, mut known) = (Series::default(), Series::default());
    let (mut alone, mut grouped, mut blinded) =
        (Series::default(), Series::default(), Series::default());
    for _ in 0..rounds {
        let batch: Vec<_> = patients.by_ref().take(patients_each).collect();
        let lines = |copies: std::ops::Range<usize>| -> Vec<String> {
            let copy = |copy| batch.iter().map(move |patient| (patient, copy));
            copies.flat_map(copy).map(|(patient, copy)| records.line(patient, copy)).collect()
        };
        let rate = |lines: &[String]| {
            setting.import(WRITER, lines).map(|took| lines.len() as f64 / took.as_secs_f64())
        };
        new.push(rate(&lines(0..1))?);
        let time = Duration::from_millis(400);
        let bytes = lines(0..1).swap_remove(0).into_bytes();
        alone.push(signed_writes(&signatures, &mut disk, &bytes, 1, time)?);
        let together = signed_writes(&signatures, &mut disk, &bytes, LINES, time)?;
        grouped.push(together);
        let locator = voprf.locators(LINES)?.as_secs_f64() / LINES as f64;
        blinded.push(1.0 / (1.0 / together + locator));
        known.push(rate(&lines(1..4))?);
    }
    Ok(vec![
        Figure::new("import, known locators", "/s", &known)
            .beside("sign + write + flush, 100 together", &grouped, Some(Aim::AtLeast(0.3)))
            .beside("sign + write + flush, each alone", &alone, None),
        Figure::new("import, new patients", "/s", &new)
            .beside("sign + write + flush, 100 together", &grouped, Some(Aim::AtLeast(0.3)))
            .beside("the same + VOPRF, 3 of 5, of 100 patients", &blinded, None),
    ])
}

/// Signs, writes, and flushes after each `group`, for so long; returns how many in a second.
fn signed_writes(
    signatures: &Signatures,
    disk: &mut Disk,
    bytes: &[u8],
    group: usize,
    time: Duration,
) -> anyhow::Result<f64> {
    let started = Instant::now();
    let mut done = 0;
    while started.elapsed() < time {
        (0..group).for_each(|_| signatures.sign(bytes));
        disk.append(&bytes.repeat(group))?;
        done += group;
    }
    Ok(done as f64 / started.elapsed().as_secs_f64())
}
