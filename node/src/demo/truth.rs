//! What every organization really holds: the measure of every look-up.
//!
//! One pass over the population writes the truth file as it goes and keeps the few patients that
//! the demonstration will look up.

use std::io::{self, Write};

use serde::Serialize;
use signpost_protocol::PatientIdentifier;

use super::client::Holdings;
use crate::synthetic::Population;

/// Name of the truth file inside the demonstration's directory.
pub(super) const TRUTH_FILE: &str = "truth.json";

/// Patients that are looked up as a sample, evenly spread over the population.
const SAMPLES: u32 = 40;
/// Patients with the most holders that are looked up too.
const BUSIEST: usize = 5;

/// A patient with what the organizations hold.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// The patient.
    pub(super) patient: PatientIdentifier,
    /// Who holds what.
    pub(super) truth: Holdings,
}

/// What one organization holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Tally {
    /// Patients.
    pub(super) patients: u64,
    /// Pointers.
    pub(super) pointers: u64,
}

/// What a pass over the population found.
#[derive(Debug)]
pub(super) struct Survey {
    /// By position of the organization.
    pub(super) tallies: Vec<Tally>,
    /// Patients to look up: an even sample, then those with the most holders, then one whom
    /// nobody knows. No patient twice.
    pub(super) cases: Vec<Case>,
    /// By position of the organization: the patient that it imports last.
    pub(super) last: Vec<Option<Case>>,
    /// The patients' numbers: 10 MB and some for the largest population.
    pub(super) numbers: Vec<String>,
}

impl Survey {
    /// Pointers of all organizations together.
    pub(super) fn pointers(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.pointers).sum()
    }
}

/// Goes through the population once: writes `{"patients":{"<number>":{"<ods>":["<id>",..]}}}` to
/// `sink` and calls `tick` after each patient.
///
/// # Errors
/// When `sink` fails.
pub(super) fn survey(
    population: &Population,
    sink: &mut impl Write,
    mut tick: impl FnMut(),
) -> io::Result<Survey> {
    let organizations = population.organizations();
    let mut tallies = vec![Tally::default(); organizations.len()];
    let mut last: Vec<Option<Case>> = vec![None; organizations.len()];
    let mut sample = Vec::new();
    let mut busiest: Vec<Case> = Vec::new();
    let mut numbers = Vec::new();
    let stride = population.len().div_ceil(SAMPLES) as usize;

    sink.write_all(b"{\"patients\":{")?;
    for (at, patient) in population.patients().enumerate() {
        let mut truth = Holdings::new();
        for &holder in &patient.holders {
            let records = population.records(&patient, holder);
            tallies[holder].patients += 1;
            tallies[holder].pointers += records.len() as u64;
            let ids = records.iter().map(|record| record.id.as_str().to_owned()).collect();
            truth.insert(organizations[holder].ods.as_str().to_owned(), ids);
        }
        let digits = patient.number.expose_digits();
        write!(sink, "{}\n\"{digits}\":", if at == 0 { "" } else { "," })?;
        serde_json::to_writer(&mut *sink, &truth)?;

        numbers.push(digits.to_owned());
        let case = Case { patient: patient.number, truth };
        if at % stride == 0 {
            sample.push(case.clone());
        } else if busiest.len() < BUSIEST
            || busiest.last().is_some_and(|least| least.truth.len() < case.truth.len())
        {
            let place = busiest.partition_point(|other| other.truth.len() >= case.truth.len());
            busiest.insert(place, case.clone());
            busiest.truncate(BUSIEST);
        }
        for &holder in &patient.holders {
            last[holder] = Some(case.clone());
        }
        tick();
    }
    sink.write_all(b"\n}}\n")?;

    let unknown = Case { patient: population.unknown(), truth: Holdings::new() };
    let cases = sample.into_iter().chain(busiest).chain([unknown]).collect();
    Ok(Survey { tallies, cases, last, numbers })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use serde::Deserialize;

    use super::*;
    use crate::synthetic::Organization;

    #[derive(Deserialize)]
    struct TruthFile {
        patients: BTreeMap<String, Holdings>,
    }

    fn surveyed(organizations: usize, patients: u32) -> (Population, Survey, TruthFile) {
        let population = Population::new(7, Organization::invent(organizations), patients).unwrap();
        let (mut bytes, mut ticks) = (Vec::new(), 0);
        let survey = survey(&population, &mut bytes, || ticks += 1).unwrap();
        assert_eq!(ticks, patients);
        (population, survey, serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn the_file_says_what_the_population_says() {
        let (population, survey, file) = surveyed(5, 500);
        assert_eq!(file.patients.len(), 500);
        let mut pointers = 0;
        for patient in population.patients() {
            let truth = &file.patients[patient.number.expose_digits()];
            assert_eq!(truth.len(), patient.holders.len());
            for &holder in &patient.holders {
                let ods = population.organizations()[holder].ods.as_str();
                let records = population.records(&patient, holder);
                assert!(records.iter().all(|record| truth[ods].contains(record.id.as_str())));
                assert_eq!(records.len(), truth[ods].len());
                pointers += records.len() as u64;
            }
        }
        assert_eq!(survey.pointers(), pointers);
        assert_eq!(survey.numbers.len(), 500);
    }

    #[test]
    fn the_cases_are_distinct_true_and_end_with_a_stranger() {
        let (_, survey, file) = surveyed(5, 500);
        let numbers: HashSet<_> = survey.cases.iter().map(|case| case.patient).collect();
        assert_eq!(numbers.len(), survey.cases.len());
        assert!((40..=46).contains(&survey.cases.len()));
        let (stranger, known) = survey.cases.split_last().unwrap();
        assert!(stranger.truth.is_empty());
        assert!(!file.patients.contains_key(stranger.patient.expose_digits()));
        for case in known {
            assert_eq!(file.patients[case.patient.expose_digits()], case.truth);
        }
        let most = file.patients.values().map(BTreeMap::len).max();
        assert_eq!(known.iter().map(|case| case.truth.len()).max(), most);
    }

    #[test]
    fn small_populations_are_looked_up_whole() {
        let (_, survey, _) = surveyed(2, 1);
        assert_eq!(survey.cases.len(), 2);
        let (_, survey, _) = surveyed(3, 40);
        assert_eq!(survey.cases.len(), 41);
    }
}
