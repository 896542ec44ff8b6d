//! A look-up at one node whose patient another node knows, beside what it cannot do without.

use crate::{
    child::Floor,
    figures::{Aim, Figure, Series},
    floors::{Disk, RoundTrip, Signatures, Voprf},
    http::{Call, Http, Target},
    setting::{ASKER, Records, Scale, Setting},
};

/// Bytes of a disclosure record.
pub(crate) const DISCLOSURE_BYTES: usize = 640;
/// The seed of the patients that are located.
const SEED: u64 = 11;

pub(crate) fn measure(setting: &Setting, scale: Scale) -> anyhow::Result<Vec<Figure>> {
    let patients_each = scale.choose(60, 400);
    let mut patients = Vec::new();
    for holder in 0..ASKER {
        // Everybody is known to one organization: no two holders have a patient in common.
        let records = Records::of(holder, SEED);
        let own: Vec<_> =
            records.patients().skip(holder * patients_each).take(patients_each).collect();
        let lines: Vec<_> = own.iter().map(|patient| records.line(patient, 0)).collect();
        setting.import(holder, &lines)?;
        patients.extend(own);
    }
    setting.await_settled();

    let http = Http::new()?;
    let mut node = http.wait(Target::node(setting.node(ASKER))?.connect())?;
    let floor = Floor::empty_handler()?;
    let mut empty = http.wait(Target::floor(&floor.address)?.connect())?;
    let mut peer = RoundTrip::connect()?;
    let (signatures, mut voprf) = (Signatures::new(), Voprf::new()?);
    let mut disk = Disk::new(&setting.dir)?;
    let record = [b'r'; DISCLOSURE_BYTES];

    let (mut new, mut cached) = (Series::default(), Series::default());
    let (mut new_floor, mut cached_floor) = (Series::default(), Series::default());
    let (mut new_durable, mut cached_durable) = (Series::default(), Series::default());
    let (mut round_trip, mut signing) = (Series::default(), Series::default());
    let (mut blinding, mut flush, mut exchange) =
        (Series::default(), Series::default(), Series::default());
    // The holders' turns come one after the other, as patients do.
    for at in 0..patients_each {
        for holder in 0..ASKER {
            let patient = &patients[holder * patients_each + at];
            let call = Call::search(&patient.number, 1);
            // What one look-up after the other would find warm must not be colder here.
            let nothing = http.wait(empty.call(&Call::nothing(&call)))?;
            exchange.time(nothing);

            new.time(http.wait(node.call(&call))?);
            let ask = peer.ask()?;
            let evaluate = peer.evaluate()?;
            let signed = signatures.of_an_ask();
            let evaluation = signatures.of_an_evaluation();
            let locator = voprf.locators(1)?;
            let flushes = disk.append(&record)? + disk.append(&record)?;

            cached.time(http.wait(node.call(&call))?);
            round_trip.time(ask);
            signing.time(signed);
            blinding.time(locator);
            flush.time(flushes);
            cached_floor.time(ask + signed);
            cached_durable.time(ask + signed + flushes + nothing);
            let floor = ask + evaluate + signed + evaluation + locator;
            new_floor.time(floor);
            new_durable.time(floor + flushes + nothing);
        }
    }
    Ok(vec![
        Figure::new("locate, cached locator, one holder", "ms", &cached)
            .beside("round trip + signatures", &cached_floor, Some(Aim::AtMost(2.0)))
            .beside("the same + two flushes + an HTTP exchange", &cached_durable, None),
        Figure::new("locate, new locator, one holder", "ms", &new)
            .beside("two round trips + signatures + VOPRF", &new_floor, Some(Aim::AtMost(2.0)))
            .beside("the same + two flushes + an HTTP exchange", &new_durable, None),
        Figure::new("of these: a bare libp2p round trip", "ms", &round_trip),
        Figure::new("of these: signatures of an ask", "ms", &signing),
        Figure::new("of these: VOPRF of one patient, 3 of 5", "ms", &blinding),
        Figure::new("of these: two appends, each flushed", "ms", &flush),
        Figure::new("of these: an HTTP exchange with an empty handler", "ms", &exchange),
    ])
}
