//! Searches under load: of a patient nobody holds, and of one whom three others hold.

use std::time::Duration;

use crate::{
    child::Floor,
    figures::{Aim, Figure, Series},
    floors::Disk,
    http::{Call, Http, Target},
    locate::DISCLOSURE_BYTES,
    setting::{ASKER, Records, Scale, Setting},
};

/// The seed of the patients that are searched.
const SEED: u64 = 12;
/// Holders of the patient whom others know.
const HOLDERS: usize = 3;

pub(crate) fn measure(setting: &Setting, scale: Scale) -> anyhow::Result<Vec<Figure>> {
    let rounds = scale.choose(6, 20);
    let time = Duration::from_millis(500);
    let mut known = None;
    for holder in 0..HOLDERS {
        let records = Records::of(holder, SEED);
        let mut patients = records.patients();
        let patient = patients.next().expect("there are many");
        setting.import(holder, &[records.line(&patient, 0)])?;
        known = Some((patient, patients.next().expect("there are many")));
    }
    let (held, nobodys) = known.expect("there are holders");
    setting.await_settled();

    let http = Http::new()?;
    let node = Target::node(setting.node(ASKER))?;
    let child = Floor::empty_handler()?;
    let floor = Target::floor(&child.address)?;
    let mut disk = Disk::new(&setting.dir)?;
    let nobody = Call::search(&nobodys.number, 0);
    let three = Call::search(&held.number, HOLDERS);
    let mut figures = Vec::new();
    for connections in [1, 32] {
        let (mut none, mut many) = (Series::default(), Series::default());
        let (mut empty, mut durable) = (Series::default(), Series::default());
        let load = |target: &Target, call: &Call| {
            let call = call.clone();
            http.load(target, connections, time, move |_| call.clone()).map(|load| load.rate)
        };
        for _ in 0..rounds {
            none.push(load(&node, &nobody)?);
            let bare = load(&floor, &Call::nothing(&nobody))?;
            many.push(load(&node, &three)?);
            // One record a request is on disk before its reply leaves; those of requests that wait
            // together are flushed together.
            let bytes = vec![b'r'; DISCLOSURE_BYTES * connections];
            let flushes: Vec<_> = (0..20).map(|_| disk.append(&bytes)).collect::<Result<_, _>>()?;
            let flush = flushes.iter().sum::<Duration>().as_secs_f64() / 20.0;
            empty.push(bare);
            durable.push(1.0 / (1.0 / bare + flush / connections as f64));
        }
        let s = if connections == 1 { "" } else { "s" };
        figures.push(
            Figure::new(format!("search, nobody holds, {connections} connection{s}"), "/s", &none)
                .beside("an empty axum handler", &empty, Some(Aim::AtLeast(0.3)))
                .beside("the same + a flush for all that wait", &durable, None),
        );
        figures.push(
            Figure::new(format!("search, three hold, {connections} connection{s}"), "/s", &many)
                .beside("an empty axum handler", &empty, None),
        );
    }
    Ok(figures)
}
