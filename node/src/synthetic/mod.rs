//! Synthetic patients and their records, for demonstrations, tests and measurements.
//!
//! A seed, a list of organizations and a number of patients fix everything. Nothing is held in
//! memory: a patient is drawn from its place alone, so any part of a population can be made again
//! at any time, by several threads at once. Every number lies between 999 000 0000 and 999 999
//! 9999, a range that is never issued to a person.
//!
//! The spread is England's (its figures stand at `COUNTRY`): nearly everybody has a practice and a
//! trust, a tail is known to many organizations, practices are of one order of size, and a few of
//! the larger organizations hold most of the patients.

mod draw;
mod organizations;
mod record;

use signpost_protocol::{IdentifierSystem, PatientIdentifier};

use draw::{below, chance, generator};

pub use organizations::{Organization, OrganizationKind};
pub use record::Record;

/// First nine digits of the smallest synthetic number.
const FIRST_STEM: u32 = 999_000_000;
/// Number of stems in the range; one in eleven has no check digit.
const STEMS: u32 = 1_000_000;

/// Most patients of a population: the range has 909,090 or so valid numbers, and some must be
/// left over that nobody knows.
pub const PATIENTS_MAX: u32 = 900_000;

/// Organizations from which on a population stands for a country. A patient of England is known to
/// five organizations on average (63.6 million patients, some 318 million pairs of organization and
/// patient), but of those five only some lie inside a smaller federation.
const COUNTRY: usize = 50;
/// How many in 1,000 patients are known to somebody besides a practice and a trust, and how many of
/// those that are to one more, to yet another, and so on: in a country ...
const MORE_IN_COUNTRY: (u32, u32) = (850, 720);
/// ... and in a region.
const MORE_IN_REGION: (u32, u32) = (400, 450);

/// Bits of a stream's number that tell organizations apart; the rest is the patient's place.
const ORGANIZATION_BITS: u32 = 16;

/// A seed, organizations and a number of patients: what they fix.
#[derive(Clone, Debug)]
pub struct Population {
    seed: u64,
    multiplier: u32,
    offset: u32,
    patients: u32,
    organizations: Vec<Organization>,
    practices: Vec<(usize, u32)>,
    trusts: Vec<(usize, u32)>,
    others: Vec<(usize, u32)>,
}

/// A synthetic patient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patient {
    /// The NHS number.
    pub number: PatientIdentifier,
    /// Positions of the organizations that hold records, ascending; at least one.
    pub holders: Vec<usize>,
    place: u32,
}

impl Population {
    /// The population of `seed`; `None` without organizations or patients, or beyond
    /// [`PATIENTS_MAX`] patients or 65,535 organizations.
    #[must_use]
    pub fn new(seed: u64, organizations: Vec<Organization>, patients: u32) -> Option<Self> {
        let fits = (1..=PATIENTS_MAX).contains(&patients)
            && (1..1 << ORGANIZATION_BITS).contains(&organizations.len());
        if !fits {
            return None;
        }
        let mut rng = generator(seed, u64::MAX);
        // Coprime to the number of stems, so that every stem has its turn, once.
        let multiplier =
            10 * (1000 + below(&mut rng, 90_000)) + [1, 3, 7, 9][below(&mut rng, 4) as usize];
        let offset = below(&mut rng, STEMS);
        let weighted = |wanted: &dyn Fn(OrganizationKind) -> bool,
                        weight: &dyn Fn(u32, OrganizationKind) -> u32| {
            organizations
                .iter()
                .enumerate()
                .filter(|(_, organization)| wanted(organization.kind))
                .enumerate()
                .map(|(rank, (at, organization))| (at, weight(rank as u32, organization.kind)))
                .collect::<Vec<_>>()
        };
        // Zipf's law by rank within the list: a few hold most of the patients.
        let zipf = |rank: u32, weight: u32| weight * 10_000 / (rank + 1) + 1;
        let practices =
            weighted(&|kind| kind == OrganizationKind::Practice, &|rank, _| practice_size(rank));
        let trusts = weighted(&|kind| kind == OrganizationKind::Trust, &|rank, _| zipf(rank, 1));
        let others = weighted(&|_| true, &|rank, kind| zipf(rank, kind.weight()));
        Some(Self { seed, multiplier, offset, patients, organizations, practices, trusts, others })
    }

    /// The organizations.
    #[must_use]
    pub fn organizations(&self) -> &[Organization] {
        &self.organizations
    }

    /// How many patients there are.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.patients
    }

    /// Never: a population has at least one patient.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// The patients, one by one, always in the same order.
    pub fn patients(&self) -> impl Iterator<Item = Patient> + '_ {
        self.numbers().take(self.patients as usize).map(|(place, number)| Patient {
            number,
            holders: self.holders(place),
            place,
        })
    }

    /// A number that belongs to nobody in this population.
    #[must_use]
    pub fn unknown(&self) -> PatientIdentifier {
        let (_, number) = self
            .numbers()
            .nth(self.patients as usize)
            .expect("PATIENTS_MAX leaves valid numbers over");
        number
    }

    /// The records that the organization at `position` holds of `patient`; none unless it is one
    /// of the holders.
    #[must_use]
    pub fn records(&self, patient: &Patient, position: usize) -> Vec<Record> {
        match self.organizations.get(position) {
            Some(organization) if patient.holders.contains(&position) => {
                Record::draw(organization, &mut self.generator(patient.place, position + 1))
            }
            _ => Vec::new(),
        }
    }

    /// Every valid number of the range with its place, in the order of this seed.
    fn numbers(&self) -> impl Iterator<Item = (u32, PatientIdentifier)> + '_ {
        (0..STEMS).filter_map(|place| {
            let turn = u64::from(self.multiplier) * u64::from(place) + u64::from(self.offset);
            let stem = FIRST_STEM + (turn % u64::from(STEMS)) as u32;
            Some((place, PatientIdentifier::from_stem(IdentifierSystem::NhsNumber, stem)?))
        })
    }

    fn generator(&self, place: u32, part: usize) -> rand_chacha::ChaCha8Rng {
        generator(self.seed, u64::from(place) << ORGANIZATION_BITS | part as u64)
    }

    fn holders(&self, place: u32) -> Vec<usize> {
        let rng = &mut self.generator(place, 0);
        let mut holders = Vec::new();
        // Some 3 in 100 people are registered nowhere; 15 have no trust that knows them.
        if chance(rng, 970) {
            holders.extend(pick(&self.practices, &[], rng));
        }
        if chance(rng, 850) {
            holders.extend(pick(&self.trusts, &[], rng));
        }
        let (some, again) =
            if self.organizations.len() < COUNTRY { MORE_IN_REGION } else { MORE_IN_COUNTRY };
        let mut more = u32::from(chance(rng, some));
        while more > 0 && chance(rng, again) {
            more += 1;
        }
        // One in a hundred lives with conditions that many services treat.
        if chance(rng, 10) {
            more += 4;
        }
        for _ in 0..more {
            let next = pick(&self.others, &holders, rng);
            holders.extend(next);
        }
        if holders.is_empty() {
            holders.extend(pick(&self.others, &[], rng));
        }
        holders.sort_unstable();
        holders
    }
}

/// Practices differ, but no practice is a trust: from half to twice the usual size.
const fn practice_size(rank: u32) -> u32 {
    1_000 + 600 * (rank % 6)
}

/// Picks by weight among `choices` that are not `taken`; `None` when none is left.
fn pick(
    choices: &[(usize, u32)],
    taken: &[usize],
    rng: &mut rand_chacha::ChaCha8Rng,
) -> Option<usize> {
    let free = || choices.iter().filter(|(at, _)| !taken.contains(at));
    let total: u32 = free().map(|(_, weight)| weight).sum();
    let mut rest = if total == 0 { return None } else { below(rng, total) };
    for (at, weight) in free() {
        if rest < *weight {
            return Some(*at);
        }
        rest -= weight;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use serde_json::Value;
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn population(organizations: usize, patients: u32) -> Population {
        Population::new(1, Organization::invent(organizations), patients).unwrap()
    }

    fn fingerprint(population: &Population) -> String {
        let mut hash = Sha256::new();
        for patient in population.patients() {
            for &holder in &patient.holders {
                for record in population.records(&patient, holder) {
                    let organization = &population.organizations()[holder];
                    hash.update(canonical(&record.resource(&patient.number, organization)));
                }
            }
        }
        hex::encode(hash.finalize())
    }

    /// JSON with its keys sorted, whatever order the library keeps them in.
    fn canonical(value: &Value) -> String {
        let joined = |parts: Vec<String>| parts.join(",");
        match value {
            Value::Object(fields) => {
                let sorted: std::collections::BTreeMap<_, _> = fields.iter().collect();
                let field =
                    |(key, value): (&String, &Value)| format!("\"{key}\":{}", canonical(value));
                format!("{{{}}}", joined(sorted.into_iter().map(field).collect()))
            }
            Value::Array(values) => format!("[{}]", joined(values.iter().map(canonical).collect())),
            other => other.to_string(),
        }
    }

    #[test]
    fn a_seed_means_the_same_patients_for_ever() {
        let first = fingerprint(&population(5, 1000));
        assert_eq!(first, fingerprint(&population(5, 1000)));
        assert_eq!(first, "053acf8f414f6a8f49f814f7cc4af07b012f3a0a6d39ca80514c79fc8ecb3772");
        let other = Population::new(2, Organization::invent(5), 1000).unwrap();
        assert_ne!(first, fingerprint(&other));
    }

    #[test]
    fn a_larger_population_begins_with_the_smaller() {
        let (small, large) = (population(5, 10), population(5, 100));
        assert!(small.patients().eq(large.patients().take(10)));
    }

    #[test]
    fn numbers_are_valid_reserved_and_distinct() {
        let population = population(5, 5000);
        let mut seen = HashSet::new();
        for patient in population.patients() {
            let digits = patient.number.expose_digits();
            assert!(digits.starts_with("999"), "outside the reserved range");
            let parsed = PatientIdentifier::parse(IdentifierSystem::NhsNumber, digits);
            assert_eq!(parsed, Ok(patient.number));
            assert!(seen.insert(patient.number), "a number came twice");
        }
        assert_eq!(seen.len(), 5000);
        assert!(!seen.contains(&population.unknown()));
    }

    #[test]
    fn the_range_holds_the_largest_population_and_somebody_nobody_knows() {
        let largest = population(1, PATIENTS_MAX);
        let unknown = largest.unknown();
        let (mut seen, mut valid) = (vec![false; STEMS as usize], 0);
        for (at, (_, number)) in largest.numbers().enumerate() {
            let stem: usize = number.expose_digits()[3..9].parse().unwrap();
            assert!(!std::mem::replace(&mut seen[stem], true), "a stem came twice");
            assert_eq!(number == unknown, at == PATIENTS_MAX as usize);
            valid += 1;
        }
        assert!(valid > PATIENTS_MAX, "{valid} valid numbers");
    }

    #[test]
    fn senseless_populations_are_refused() {
        assert!(Population::new(1, Vec::new(), 1).is_none());
        assert!(Population::new(1, Organization::invent(1), 0).is_none());
        assert!(Population::new(1, Organization::invent(1), PATIENTS_MAX + 1).is_none());
    }

    #[test]
    fn most_have_two_holders_and_a_tail_has_many() {
        let population = population(20, 10_000);
        let mut known = vec![0_u32; 20];
        let (mut two, mut six, mut most) = (0, 0, 0);
        for patient in population.patients() {
            let count = patient.holders.len();
            assert!(count >= 1);
            assert!(patient.holders.is_sorted_by(|a, b| a < b), "a holder came twice");
            patient.holders.iter().for_each(|&holder| known[holder] += 1);
            two += u32::from(count >= 2);
            six += u32::from(count >= 6);
            most = most.max(count);
        }
        assert!((7_000..9_900).contains(&two), "{two} of 10,000 have two holders");
        assert!((50..600).contains(&six), "{six} of 10,000 have six holders");
        assert!(most >= 8, "the most holders are {most}");
        assert!(known.iter().all(|&patients| patients > 0), "{known:?}");
        let (largest, smallest) = (known.iter().max().unwrap(), known.iter().min().unwrap());
        assert!(largest > &(10 * smallest), "{known:?}");
    }

    /// England's figures: 63.6 million patients, 318 million pairs, practices of some 10,000
    /// patients, large trusts of a hundred times that and more.
    #[test]
    fn a_country_has_the_spread_of_england() {
        let population = population(400, 10_000);
        let mut known = vec![0_u32; 400];
        let (mut pairs, mut over_ten, mut most) = (0, 0, 0);
        for patient in population.patients() {
            let count = patient.holders.len();
            patient.holders.iter().for_each(|&holder| known[holder] += 1);
            pairs += count;
            over_ten += u32::from(count > 10);
            most = most.max(count);
        }
        let england = 318.0 / 63.6;
        let mean = pairs as f64 / 10_000.0;
        assert!((mean - england).abs() < 0.25, "{mean:.2} organizations know a patient");
        assert!((100..1_000).contains(&over_ten), "{over_ten} of 10,000 have more than ten");
        assert!((15..=60).contains(&most), "the most holders are {most}");

        let of = |kind| {
            let organizations = population.organizations().iter().zip(&known);
            let mut sizes: Vec<_> =
                organizations.filter(|(o, _)| o.kind == kind).map(|(_, size)| *size).collect();
            sizes.sort_unstable_by(|a, b| b.cmp(a));
            sizes
        };
        let (trusts, practices) = (of(OrganizationKind::Trust), of(OrganizationKind::Practice));
        let tenth: u32 = trusts[..trusts.len() / 10].iter().sum();
        assert!(
            2 * tenth > trusts.iter().sum(),
            "a tenth of the trusts holds over half: {trusts:?}"
        );
        let middle = practices[practices.len() / 2];
        assert!(practices[0] < 12 * middle, "practices are alike: {practices:?}");
        assert!(trusts[0] > 20 * middle, "{} and {middle}", trusts[0]);
    }

    #[test]
    fn a_small_federation_has_patients_everywhere() {
        for organizations in 1..=5 {
            let population = population(organizations, 1000);
            let held: BTreeSet<_> =
                population.patients().flat_map(|patient| patient.holders).collect();
            assert_eq!(held.len(), organizations);
        }
    }

    #[test]
    fn records_follow_the_published_rules_and_hide_the_number() {
        let population = population(20, 300);
        let mut ids = HashSet::new();
        for patient in population.patients() {
            for position in 0..20 {
                let records = population.records(&patient, position);
                assert_eq!(records.is_empty(), !patient.holders.contains(&position));
                let organization = &population.organizations()[position];
                for record in records {
                    assert!(ids.insert(record.id.clone()), "an id came twice");
                    assert_eq!(record.id.ods_code(), organization.ods);
                    let mut resource = record.resource(&patient.number, organization);
                    assert_eq!(
                        resource.pointer("/subject/identifier/value").and_then(Value::as_str),
                        Some(patient.number.expose_digits())
                    );
                    assert_eq!(
                        resource.pointer("/custodian/identifier/value").and_then(Value::as_str),
                        Some(organization.ods.as_str())
                    );
                    let extensions = resource.pointer("/content/0/extension");
                    assert_eq!(extensions.and_then(Value::as_array).map(Vec::len), Some(2));
                    resource.as_object_mut().unwrap().remove("subject");
                    assert!(!patient.number.occurs_in(&resource.to_string()));
                    assert!(!shows(&resource, &patient.number), "a string holds the number");
                }
            }
        }
        assert!(ids.len() > 500);
    }

    #[test]
    fn the_api_takes_every_record_as_it_is() {
        let population = population(20, 100);
        for patient in population.patients() {
            for &position in &patient.holders {
                let organization = &population.organizations()[position];
                for record in population.records(&patient, position) {
                    let resource = record.resource(&patient.number, organization);
                    let (id, draft) = crate::fhir::document_reference::draft(resource).unwrap();
                    assert_eq!(id, Some(record.id));
                    assert_eq!(draft.patient, patient.number);
                    assert_eq!(draft.custodian, organization.ods);
                    assert_eq!(draft.listed, None);
                }
            }
        }
    }

    /// Whether any string of `value` holds the number.
    fn shows(value: &Value, number: &PatientIdentifier) -> bool {
        match value {
            Value::String(text) => number.occurs_in(text),
            Value::Array(values) => values.iter().any(|value| shows(value, number)),
            Value::Object(fields) => fields.values().any(|value| shows(value, number)),
            _ => false,
        }
    }

    #[test]
    fn the_search_for_the_number_finds_one_that_is_there() {
        let population = population(1, 1);
        let patient = population.patients().next().unwrap();
        let record = &population.records(&patient, patient.holders[0])[0];
        let resource = record.resource(&patient.number, &population.organizations()[0]);
        assert!(shows(&resource, &patient.number));
    }
}
