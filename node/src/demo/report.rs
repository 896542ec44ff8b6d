//! What the demonstration found, as data (`--json`) and as a page to read.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use serde::Serialize;
use signpost_protocol::PatientIdentifier;

use super::{
    ceremony::SHARED_FROM,
    client::LookUp,
    federation::Node,
    outage::Outage,
    trial::{Trial, spaced},
    truth::Tally,
};

/// Said wherever the federation is described: nobody may take it for a model of founding.
pub(super) const fn notice(nodes: usize) -> &'static str {
    if nodes < SHARED_FROM { DEALT } else { TOGETHER }
}

/// Of a network so small that its key was dealt.
const DEALT: &str = "The shares of the blinding key were dealt by this program, which so knew the whole key \
     for a moment: for demonstration only. The patients are synthetic.";
/// Of a network whose evaluators have made its key.
const TOGETHER: &str = "All nodes and their keys are on this one machine, so whoever can read its disk could put the \
     blinding key together: for demonstration only. The patients are synthetic.";

/// The whole report.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// No fault was found.
    pub(super) ok: bool,
    /// See [`notice`].
    pub(super) notice: &'static str,
    /// Where the nodes' files are.
    pub(super) dir: String,
    /// Synthetic patients made.
    pub(super) patients: u32,
    /// Pointers imported.
    pub(super) pointers: u64,
    /// Seconds that the import took.
    pub(super) import_seconds: f64,
    /// The organizations.
    pub(super) organizations: Vec<OrganizationLine>,
    /// Look-ups with every node up.
    pub(super) look_ups: Trial,
    /// Look-ups with one node down; absent when there is nobody left to ask.
    pub(super) outage: Option<Outage>,
    /// Everything that was not as it should be.
    pub(super) faults: Vec<String>,
}

/// One organization.
#[derive(Debug, Serialize)]
pub(super) struct OrganizationLine {
    /// ODS code.
    pub(super) ods: String,
    /// Name.
    pub(super) name: String,
    /// What it does.
    pub(super) kind: &'static str,
    /// What it holds.
    #[serde(flatten)]
    pub(super) tally: Tally,
}

/// A look-up in words.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Shown {
    /// The number, spaced.
    pub(super) patient: String,
    /// ODS code of the node that was asked.
    pub(super) asked_at: String,
    /// The `Signpost-Completeness` header.
    pub(super) completeness: String,
    /// Who holds what.
    pub(super) holders: Vec<HolderLine>,
    /// What the answer itself says is missing.
    pub(super) issues: Vec<String>,
    /// Milliseconds it took.
    pub(super) took_ms: f64,
}

/// One holder of a look-up.
#[derive(Clone, Debug, Serialize)]
pub(super) struct HolderLine {
    /// ODS code.
    pub(super) ods: String,
    /// Name.
    pub(super) name: String,
    /// Types of record, each with how many there are.
    pub(super) records: BTreeMap<String, usize>,
}

/// How long look-ups took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Times {
    /// How many.
    pub(super) count: usize,
    /// Milliseconds that half of them did not exceed.
    pub(super) median_ms: f64,
    /// Milliseconds that 99 of 100 did not exceed (nearest rank).
    pub(super) p99_ms: f64,
}

impl Times {
    /// The figures of `times`; zeros for none.
    pub(super) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let rank = |hundredths: usize| {
            let place = (times.len() * hundredths).div_ceil(100).saturating_sub(1);
            times.get(place).map_or(0.0, |time| milliseconds(*time))
        };
        Self { count: times.len(), median_ms: rank(50), p99_ms: rank(99) }
    }
}

/// Milliseconds with one decimal: more would be noise.
pub(super) fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

impl Shown {
    /// Puts a look-up in words; `nodes` know the names.
    pub(super) fn new(
        nodes: &[Node],
        patient: &PatientIdentifier,
        asker: &Node,
        look_up: &LookUp,
    ) -> Self {
        let mut holders: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
        for found in &look_up.found {
            let records = holders.entry(&found.custodian).or_default();
            *records.entry(found.title.clone()).or_default() += 1;
        }
        let name = |ods: &str| {
            let node = nodes.iter().find(|node| node.ods() == ods);
            node.map_or_else(String::new, |node| node.name().to_owned())
        };
        Self {
            patient: spaced(patient),
            asked_at: asker.ods().to_owned(),
            completeness: look_up.completeness.clone(),
            holders: holders
                .into_iter()
                .map(|(ods, records)| HolderLine { ods: ods.to_owned(), name: name(ods), records })
                .collect(),
            issues: look_up.issues.clone(),
            took_ms: milliseconds(look_up.took),
        }
    }

    fn render(&self, page: &mut String) {
        let _ = writeln!(
            page,
            "  Patient {}, asked at {}: {} ({} ms)",
            self.patient, self.asked_at, self.completeness, self.took_ms
        );
        if self.holders.is_empty() {
            let _ = writeln!(page, "    nobody holds a record");
        }
        for holder in &self.holders {
            let records: Vec<_> = holder
                .records
                .iter()
                .map(|(title, count)| match count {
                    1 => title.clone(),
                    count => format!("{title} ({count})"),
                })
                .collect();
            let _ = writeln!(page, "    {} {}: {}", holder.ods, holder.name, records.join("; "));
        }
        for issue in &self.issues {
            let _ = writeln!(page, "    the answer says: {issue}");
        }
    }
}

impl Report {
    /// The report as a page of plain text. Writing to a `String` cannot fail.
    pub(super) fn render(&self) -> String {
        let mut page = String::new();
        let _ = writeln!(
            page,
            "\nSignpost demonstration: {} organizations, {} patients, {} pointers\n{}\n",
            self.organizations.len(),
            grouped(self.patients.into()),
            grouped(self.pointers),
            self.notice
        );

        let _ = writeln!(page, "The organizations, each a node in a process of its own");
        let widest = self.organizations.iter().map(|line| line.name.chars().count()).max();
        let code = self.organizations.iter().map(|line| line.ods.len()).max().unwrap_or(0);
        for line in &self.organizations {
            let _ = writeln!(
                page,
                "  {:code$}  {:width$}  {:19}  {:>9} patients  {:>9} pointers",
                line.ods,
                line.name,
                line.kind,
                grouped(line.tally.patients),
                grouped(line.tally.pointers),
                width = widest.unwrap_or(0)
            );
        }

        let _ = writeln!(page, "\nWho holds what");
        for shown in &self.look_ups.examples {
            shown.render(&mut page);
        }

        let trial = &self.look_ups;
        let _ = writeln!(
            page,
            "\nLook-ups\n  {} look-ups of {} patients, each compared with the truth: {} wrong; {} of them complete",
            trial.look_ups,
            trial.patients,
            trial.faults.len(),
            trial.complete
        );
        for (what, times) in
            [("new locator", trial.new_locator), ("cached locator", trial.cached_locator)]
        {
            if times.count > 0 {
                let _ = writeln!(
                    page,
                    "  {what:14}  median {:>7.1} ms   p99 {:>7.1} ms   ({} look-ups)",
                    times.median_ms, times.p99_ms, times.count
                );
            }
        }
        let rate = self.pointers as f64 / self.import_seconds.max(0.001);
        let _ = writeln!(
            page,
            "  import          {} pointers in {:.1} s, {} a second over all nodes",
            grouped(self.pointers),
            self.import_seconds,
            grouped(rate as u64)
        );

        let _ = writeln!(page, "\nWhen a node is down");
        match &self.outage {
            Some(outage) => {
                let _ = writeln!(page, "  {} ({}) was killed (SIGKILL).", outage.name, outage.ods);
                outage.down.render(&mut page);
                let _ = writeln!(
                    page,
                    "  Started again: the same look-up was complete after {:.1} s.",
                    outage.recovered_seconds
                );
                outage.up_again.render(&mut page);
            }
            None => {
                let _ = writeln!(
                    page,
                    "  Not shown: it takes another node to ask, and a patient who is known to the one that is down."
                );
            }
        }

        if self.faults.is_empty() {
            let _ = writeln!(page, "\nEverything was as it should be.");
        } else {
            let _ = writeln!(page, "\nWhat was wrong");
            for fault in &self.faults {
                let _ = writeln!(page, "  - {fault}");
            }
        }
        page
    }
}

/// A number with commas: `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(completeness: &str) -> Shown {
        let records = [("Appointment".to_owned(), 2), ("Summary record".to_owned(), 1)].into();
        Shown {
            patient: "999 000 0018".to_owned(),
            asked_at: "RZ3".to_owned(),
            completeness: completeness.to_owned(),
            holders: vec![HolderLine {
                ods: "RZ1".to_owned(),
                name: "Northmoor University Hospitals".to_owned(),
                records,
            }],
            issues: Vec::new(),
            took_ms: 12.5,
        }
    }

    fn report(faults: Vec<String>) -> Report {
        let mut down = shown("partial");
        down.holders.clear();
        down.issues.push("Larkwater Surgery (Y99002) could not be asked".to_owned());
        Report {
            ok: faults.is_empty(),
            notice: notice(2),
            dir: "/tmp/demo".to_owned(),
            patients: 1000,
            pointers: 3456,
            import_seconds: 2.0,
            organizations: vec![OrganizationLine {
                ods: "RZ1".to_owned(),
                name: "Northmoor University Hospitals".to_owned(),
                kind: "hospital trust",
                tally: Tally { patients: 850, pointers: 1234 },
            }],
            look_ups: Trial {
                look_ups: 92,
                complete: 92,
                patients: 46,
                new_locator: Times { count: 40, median_ms: 20.0, p99_ms: 31.5 },
                examples: vec![shown("complete")],
                ..Trial::default()
            },
            outage: Some(Outage {
                ods: "Y99002".to_owned(),
                name: "Larkwater Surgery".to_owned(),
                down,
                up_again: shown("complete"),
                recovered_seconds: 1.25,
                faults: Vec::new(),
            }),
            faults,
        }
    }

    #[test]
    fn the_page_says_who_holds_what_and_what_is_missing() {
        let page = report(Vec::new()).render();
        for part in [
            "1 organizations, 1,000 patients, 3,456 pointers",
            "for demonstration only",
            "Patient 999 000 0018, asked at RZ3: complete (12.5 ms)",
            "RZ1 Northmoor University Hospitals: Appointment (2); Summary record",
            "92 look-ups of 46 patients, each compared with the truth: 0 wrong; 92 of them complete",
            "median    20.0 ms   p99    31.5 ms   (40 look-ups)",
            "Larkwater Surgery (Y99002) was killed",
            "asked at RZ3: partial",
            "the answer says: Larkwater Surgery (Y99002) could not be asked",
            "Everything was as it should be.",
        ] {
            assert!(page.contains(part), "{part:?} is missing from\n{page}");
        }
        assert!(!page.contains("What was wrong"));
    }

    #[test]
    fn faults_are_listed_in_place_of_the_good_word() {
        let page = report(vec!["lacks RZ1-b".to_owned()]).render();
        assert!(page.contains("What was wrong\n  - lacks RZ1-b"), "{page}");
        assert!(!page.contains("as it should be"));
    }

    #[test]
    fn json_has_the_same_facts() {
        let json = serde_json::to_value(report(Vec::new())).unwrap();
        for pointer in [
            "/look_ups/new_locator/median_ms",
            "/outage/down/issues/0",
            "/organizations/0/patients",
            "/look_ups/examples/0/holders/0/records/Appointment",
        ] {
            assert!(json.pointer(pointer).is_some(), "{pointer} is missing from {json:#}");
        }
    }

    #[test]
    fn times_are_by_nearest_rank() {
        let times = Times::of((1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!(times, Times { count: 200, median_ms: 100.0, p99_ms: 198.0 });
        assert_eq!(Times::of(vec![Duration::from_millis(7)]).p99_ms, 7.0);
        assert_eq!(Times::of(Vec::new()), Times::default());
    }

    #[test]
    fn large_numbers_are_grouped() {
        let shown: Vec<_> = [0, 999, 1000, 1_234_567].map(grouped).into();
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
    }
}
