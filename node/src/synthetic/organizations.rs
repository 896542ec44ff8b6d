//! Invented organizations.
//!
//! Codes have the shape of ODS codes and names the sound of English health care, but no pair of
//! them is a real organization. The same position always gives the same organization.

use signpost_protocol::OdsCode;

/// What an organization does; decides which records it holds and of how many patients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrganizationKind {
    /// Hospitals.
    Trust,
    /// A GP practice.
    Practice,
    /// An ambulance service.
    Ambulance,
    /// A hospice.
    Hospice,
    /// A mental health trust.
    MentalHealth,
    /// A community health service.
    Community,
}

/// The kinds by position; repeated from the start beyond its end. The first five make the
/// standard demonstration, so they differ.
const KINDS: [OrganizationKind; 10] = [
    OrganizationKind::Trust,
    OrganizationKind::Practice,
    OrganizationKind::Ambulance,
    OrganizationKind::Hospice,
    OrganizationKind::MentalHealth,
    OrganizationKind::Practice,
    OrganizationKind::Trust,
    OrganizationKind::Community,
    OrganizationKind::Practice,
    OrganizationKind::Practice,
];

/// Places that do not exist.
const PLACES: [&str; 20] = [
    "Northmoor",
    "Larkwater",
    "Highfell",
    "Lanternhill",
    "Wyrecombe",
    "Otterstream",
    "Easterholt",
    "Brackenmere",
    "Thistleby",
    "Quernford",
    "Saltmarsh Regis",
    "Hollowbridge",
    "Cranewick",
    "Foxlow",
    "Merrowdale",
    "Stonegarth",
    "Willowhythe",
    "Applethorn",
    "Ravenscar Vale",
    "Dunmallow",
];

impl OrganizationKind {
    /// The kind in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Trust => "hospital trust",
            Self::Practice => "GP practice",
            Self::Ambulance => "ambulance service",
            Self::Hospice => "hospice",
            Self::MentalHealth => "mental health trust",
            Self::Community => "community service",
        }
    }

    /// How likely it is, beside the others, to have met a patient who needs more than a practice
    /// and a trust.
    pub(super) const fn weight(self) -> u32 {
        match self {
            Self::Trust => 8,
            Self::Ambulance => 6,
            Self::Community => 4,
            Self::MentalHealth => 3,
            Self::Practice | Self::Hospice => 1,
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::Trust => "University Hospitals",
            Self::Practice => "Surgery",
            Self::Ambulance => "Ambulance Service",
            Self::Hospice => "Hospice",
            Self::MentalHealth => "Mental Health Trust",
            Self::Community => "Community Health",
        }
    }
}

/// An invented organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    /// Its ODS-style code.
    pub ods: OdsCode,
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: OrganizationKind,
}

impl Organization {
    /// The organization at `position` (from 0), under the code `ods`.
    #[must_use]
    pub fn at(position: usize, ods: OdsCode) -> Self {
        let kind = KINDS[position % KINDS.len()];
        let place = PLACES[position % PLACES.len()];
        let name = match position / PLACES.len() {
            0 => format!("{place} {}", kind.suffix()),
            round => format!("{place} {} {}", kind.suffix(), round + 1),
        };
        Self { ods, name, kind }
    }

    /// The first `count` organizations, with codes of their own.
    #[must_use]
    pub fn invent(count: usize) -> Vec<Self> {
        (0..count)
            .map(|position| {
                let number = position + 1;
                let code = match KINDS[position % KINDS.len()] {
                    OrganizationKind::Practice => format!("Y99{number:03}"),
                    OrganizationKind::Hospice => format!("8HZ{number:02}"),
                    _ => format!("RZ{number}"),
                };
                Self::at(position, code.parse().expect("upper-case letters and few digits"))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_first_five_differ_in_kind() {
        let made = Organization::invent(5);
        let shown: Vec<_> = made.iter().map(|o| format!("{} {}", o.ods, o.kind.words())).collect();
        assert_eq!(
            shown,
            [
                "RZ1 hospital trust",
                "Y99002 GP practice",
                "RZ3 ambulance service",
                "8HZ04 hospice",
                "RZ5 mental health trust"
            ]
        );
    }

    #[test]
    fn any_number_can_be_invented_without_repetition() {
        let made = Organization::invent(2000);
        assert_eq!(made.iter().map(|o| &o.ods).collect::<HashSet<_>>().len(), 2000);
        assert_eq!(made.iter().map(|o| &o.name).collect::<HashSet<_>>().len(), 2000);
    }

    #[test]
    fn a_chosen_code_is_kept() {
        let chosen = Organization::at(1, "T0001".parse().unwrap());
        assert_eq!((chosen.ods.as_str(), chosen.kind), ("T0001", OrganizationKind::Practice));
    }
}
