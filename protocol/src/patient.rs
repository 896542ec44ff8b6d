//! Patient identifiers: the only personal number that Signpost handles, and only inside its own node.
//!
//! `Debug` and errors never show the value, so that it cannot reach a log by accident; there is
//! no `Display`. [`PatientIdentifier::occurs_in`] finds a number hidden in the strings of a
//! pointer, which would otherwise carry it across the network.

use std::fmt;

/// A kind of patient identifier that the network can locate by.
///
/// The short name goes into the blinding input, so every member must agree on it; the list is
/// part of the protocol, never of one node's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum IdentifierSystem {
    /// NHS number of England, Wales and the Isle of Man.
    NhsNumber,
    /// Community Health Index number of Scotland.
    Chi,
    /// Health and Care number of Northern Ireland.
    HealthAndCare,
}

impl IdentifierSystem {
    /// Every system, in the order of their wire names.
    pub const ALL: [Self; 3] = [Self::NhsNumber, Self::Chi, Self::HealthAndCare];

    /// The name inside the blinding input.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NhsNumber => "nhs-number",
            Self::Chi => "chi",
            Self::HealthAndCare => "hcn",
        }
    }

    /// The FHIR `Identifier.system` (UK Core naming systems).
    #[must_use]
    pub const fn uri(self) -> &'static str {
        match self {
            Self::NhsNumber => "https://fhir.nhs.uk/Id/nhs-number",
            Self::Chi => "https://phfapi.digitalhealthplatform.net/fhir/chinumber",
            Self::HealthAndCare => "https://fhir.hscni.net/Id/hcn-number",
        }
    }

    /// The system that a FHIR `Identifier.system` names.
    #[must_use]
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|system| system.uri() == uri)
    }

    /// The system with this short name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|system| system.name() == name)
    }
}

/// Why a value is no patient identifier. Never repeats the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatientIdentifierError {
    /// Not ten digits (spaces and hyphens between them are allowed).
    #[error("the identifier must have exactly 10 digits")]
    Shape,
    /// The tenth digit does not fit the nine before it: most often a typing error.
    #[error("the check digit does not fit: please check the number for a typing error")]
    CheckDigit,
    /// The first six digits of a CHI number are a date of birth.
    #[error("a CHI number must begin with a date of birth (DDMMYY)")]
    DateOfBirth,
    /// The number lies outside the range that the system issues.
    #[error(
        "the number lies outside the range of Health and Care numbers (320 000 0000 to 399 999 9999)"
    )]
    Range,
}

/// A patient identifier whose check digit has been verified: a system and ten digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PatientIdentifier {
    system: IdentifierSystem,
    digits: [u8; 10],
}

impl PatientIdentifier {
    /// Parses `value` as an identifier of `system`; spaces and hyphens are ignored.
    ///
    /// # Errors
    /// When it has not ten digits, its check digit is wrong (modulus 11, as for NHS numbers), or
    /// it lies outside what the system issues.
    pub fn parse(system: IdentifierSystem, value: &str) -> Result<Self, PatientIdentifierError> {
        let mut digits = [0_u8; 10];
        let mut count = 0;
        // Ten digits with separators fit easily; a longer text is no number and costs nothing.
        if value.len() > 32 {
            return Err(PatientIdentifierError::Shape);
        }
        for byte in value.bytes().filter(|b| !matches!(b, b' ' | b'-')) {
            if count == 10 || !byte.is_ascii_digit() {
                return Err(PatientIdentifierError::Shape);
            }
            digits[count] = byte;
            count += 1;
        }
        if count != 10 {
            return Err(PatientIdentifierError::Shape);
        }
        if check_digit(&digits) != Some(digits[9] - b'0') {
            return Err(PatientIdentifierError::CheckDigit);
        }
        let number = |range: std::ops::Range<usize>| {
            digits[range].iter().fold(0_u32, |n, d| n * 10 + u32::from(d - b'0'))
        };
        match system {
            IdentifierSystem::NhsNumber => {}
            IdentifierSystem::Chi => {
                if !(1..=31).contains(&number(0..2)) || !(1..=12).contains(&number(2..4)) {
                    return Err(PatientIdentifierError::DateOfBirth);
                }
            }
            IdentifierSystem::HealthAndCare => {
                if !(320..=399).contains(&number(0..3)) {
                    return Err(PatientIdentifierError::Range);
                }
            }
        }
        Ok(Self { system, digits })
    }

    /// Completes nine digits to an identifier; `None` when no check digit fits them or the system refuses them.
    ///
    /// For generators of synthetic patients.
    #[must_use]
    pub fn from_stem(system: IdentifierSystem, stem: u32) -> Option<Self> {
        let mut text = format!("{:09}0", stem % 1_000_000_000).into_bytes();
        let mut digits = [0; 10];
        digits.copy_from_slice(&text);
        text[9] = b'0' + check_digit(&digits)?;
        Self::parse(system, std::str::from_utf8(&text).ok()?).ok()
    }

    /// The system.
    #[must_use]
    pub const fn system(&self) -> IdentifierSystem {
        self.system
    }

    /// The ten digits. The one way to the value: never pass it to a log or a peer.
    #[must_use]
    pub fn expose_digits(&self) -> &str {
        std::str::from_utf8(&self.digits).expect("parse stores ASCII digits only")
    }

    /// The blinding input: `"signpost/v1/" name 0x00 digits` (DESIGN §4).
    #[must_use]
    pub fn blinding_input(&self) -> Vec<u8> {
        let mut input = format!("signpost/v1/{}\0", self.system.name()).into_bytes();
        input.extend_from_slice(&self.digits);
        input
    }

    /// Whether the number occurs in `text`, also with separators between its digits or
    /// percent-encoded. A pointer with such a string must not leave the node.
    #[must_use]
    pub fn occurs_in(&self, text: &str) -> bool {
        // Both readings count: decoding `%9990000018` would swallow two digits.
        self.occurs_in_bytes(text.as_bytes())
            || self.occurs_in_bytes(&percent_decoded(text.as_bytes()))
    }

    fn occurs_in_bytes(&self, bytes: &[u8]) -> bool {
        let mut last = [0_u8; 10];
        let mut seen = 0;
        for &byte in bytes {
            if byte.is_ascii_digit() {
                last.rotate_left(1);
                last[9] = byte;
                seen += 1;
            } else if byte.is_ascii_alphabetic() {
                // Letters end a number; punctuation and blanks may merely group its digits.
                seen = 0;
            }
            if seen >= 10 && last == self.digits {
                return true;
            }
        }
        false
    }
}

impl fmt::Debug for PatientIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PatientIdentifier({}, ..)", self.system.name())
    }
}

/// Modulus 11: weights 10 down to 2, eleven minus the remainder, 11 becomes 0 and 10 is never issued.
fn check_digit(digits: &[u8; 10]) -> Option<u8> {
    let sum: u32 = digits[..9]
        .iter()
        .zip((2..=10).rev())
        .map(|(d, weight)| u32::from(d - b'0') * weight)
        .sum();
    match 11 - sum % 11 {
        11 => Some(0),
        10 => None,
        digit => Some(digit as u8),
    }
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let nibble = |b: u8| char::from(b).to_digit(16).map(|n| n as u8);
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let decoded = (text[at] == b'%' && at + 2 < text.len())
            .then(|| Some(nibble(text[at + 1])? << 4 | nibble(text[at + 2])?))
            .flatten();
        out.push(decoded.unwrap_or(text[at]));
        at += if decoded.is_some() { 3 } else { 1 };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nhs(value: &str) -> Result<PatientIdentifier, PatientIdentifierError> {
        PatientIdentifier::parse(IdentifierSystem::NhsNumber, value)
    }

    #[test]
    fn valid_numbers_parse_with_and_without_separators() {
        // 943 476 5919 is the example of the NHS data dictionary, 900 000 0009 the test patient of NRL.
        for value in ["9434765919", "943 476 5919", "943-476-5919", "9000000009", "9990000018"] {
            assert!(nhs(value).is_ok(), "refused {value}");
        }
        assert!(PatientIdentifier::parse(IdentifierSystem::Chi, "0101701230").is_err());
        assert!(PatientIdentifier::parse(IdentifierSystem::HealthAndCare, "3200000074").is_ok());
    }

    #[test]
    fn wrong_numbers_are_refused_with_the_reason() {
        assert_eq!(nhs("9434765918"), Err(PatientIdentifierError::CheckDigit));
        assert_eq!(nhs("943476591"), Err(PatientIdentifierError::Shape));
        assert_eq!(nhs("94347659199"), Err(PatientIdentifierError::Shape));
        assert_eq!(nhs("943476591X"), Err(PatientIdentifierError::Shape));
        assert_eq!(nhs(&" ".repeat(1000)), Err(PatientIdentifierError::Shape));
        assert_eq!(
            PatientIdentifier::parse(IdentifierSystem::HealthAndCare, "9434765919"),
            Err(PatientIdentifierError::Range)
        );
        assert_eq!(
            PatientIdentifier::parse(IdentifierSystem::Chi, "9434765919"),
            Err(PatientIdentifierError::DateOfBirth)
        );
    }

    #[test]
    fn debug_never_shows_the_number() {
        let shown = format!("{:?}", nhs("9434765919"));
        assert!(!shown.contains("943"), "{shown}");
    }

    #[test]
    fn the_blinding_input_is_pinned() {
        assert_eq!(
            nhs("943 476 5919").expect("valid").blinding_input(),
            b"signpost/v1/nhs-number\x009434765919"
        );
    }

    #[test]
    fn a_hidden_number_is_found() {
        let patient = nhs("9434765919").expect("valid");
        for text in [
            "9434765919",
            "https://trust.example/records/9434765919/summary.pdf",
            "NHS no. 943 476 5919",
            "943-476-5919",
            "https://trust.example/?n=943%20476%205919",
            "https://trust.example/?n=%39434765919",
            "x19434765919",
            "%9434765919",
        ] {
            assert!(patient.occurs_in(text), "missed in {text}");
        }
        for text in ["", "9434765918", "https://trust.example/943476/a5919", "943476591"] {
            assert!(!patient.occurs_in(text), "found in {text}");
        }
    }

    #[test]
    fn stems_complete_to_valid_numbers_or_none() {
        let made: Vec<_> = (999_000_000..999_000_100)
            .filter_map(|stem| PatientIdentifier::from_stem(IdentifierSystem::NhsNumber, stem))
            .collect();
        assert!(made.len() > 85, "about one stem in eleven has no check digit");
        assert!(made.iter().all(|p| nhs(p.expose_digits()) == Ok(*p)));
    }
}
