//! Tokens of FHIR searches (FHIR R4 §3.1.1.4.10): `system|value`, lists of them, and what they name.

use serde_json::Value;
use signpost_protocol::{IdentifierSystem, OdsCode, PatientIdentifier};

use super::ODS_SYSTEM;

/// The system of a [`Token`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSystem {
    /// `code`: any system, or none.
    Any,
    /// `|code`: no system.
    None,
    /// `system|code`.
    Uri(String),
}

/// One token. `Debug` would show a patient's number, so there is none.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// In which system.
    pub system: TokenSystem,
    /// Which code; absent (`system|`) means any.
    pub code: Option<String>,
}

impl Token {
    /// Reads the tokens of one parameter value: alternatives, separated by commas. `\,`, `\|`,
    /// `\$` and `\\` stand for themselves (FHIR R4 §3.1.1.5.7). Empty alternatives are dropped.
    #[must_use]
    pub fn list(text: &str) -> Vec<Self> {
        split_unescaped(text, ',').iter().filter_map(|token| Self::parse(token)).collect()
    }

    fn parse(text: &str) -> Option<Self> {
        let parts = split_unescaped(text, '|');
        let (system, code) = match parts.as_slice() {
            [code] => (TokenSystem::Any, unescaped(code)),
            // A further bar can only be part of the code.
            [system, code @ ..] => {
                let system = match unescaped(system) {
                    empty if empty.is_empty() => TokenSystem::None,
                    uri => TokenSystem::Uri(uri),
                };
                (system, unescaped(&code.join("|")))
            }
            [] => return None,
        };
        let code = Some(code).filter(|code| !code.is_empty());
        (code.is_some() || matches!(system, TokenSystem::Uri(_))).then_some(Self { system, code })
    }

    /// Whether a FHIR `Coding` is what this token names.
    #[must_use]
    pub fn matches_coding(&self, coding: &Value) -> bool {
        let member = |name| coding.get(name).and_then(Value::as_str);
        let system_fits = match &self.system {
            TokenSystem::Any => true,
            TokenSystem::None => coding.get("system").is_none(),
            TokenSystem::Uri(uri) => member("system") == Some(uri),
        };
        system_fits && self.code.as_deref().is_none_or(|code| member("code") == Some(code))
    }

    /// Whether some coding of a FHIR `CodeableConcept` is what this token names.
    #[must_use]
    pub fn matches_concept(&self, concept: &Value) -> bool {
        let codings = concept.get("coding").and_then(Value::as_array);
        codings.is_some_and(|codings| codings.iter().any(|coding| self.matches_coding(coding)))
    }

    /// The patient that this token names.
    ///
    /// # Errors
    /// A sentence that never repeats the value.
    pub fn patient(&self) -> Result<PatientIdentifier, String> {
        let TokenSystem::Uri(uri) = &self.system else {
            return Err(format!("must look like system|value; {}", known_systems()));
        };
        let system = IdentifierSystem::from_uri(uri)
            .ok_or_else(|| format!("has an unknown system; {}", known_systems()))?;
        PatientIdentifier::parse(system, self.code.as_deref().unwrap_or_default())
            .map_err(|error| format!("is not valid: {error}"))
    }

    /// The custodian that this token names.
    ///
    /// # Errors
    /// A sentence that never repeats the value.
    pub fn custodian(&self) -> Result<Custodian, String> {
        if matches!(&self.system, TokenSystem::Uri(uri) if uri == ODS_SYSTEM)
            || self.system == TokenSystem::Any
        {
            return Custodian::parse(self.code.as_deref().unwrap_or_default());
        }
        Err(format!("must have the system {ODS_SYSTEM}"))
    }
}

/// A custodian as its identifier writes it: `ODS` or `ODS.suffix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Custodian {
    /// Its ODS code.
    pub ods: OdsCode,
    /// The part after the dot: letters and digits.
    pub suffix: Option<String>,
}

impl Custodian {
    /// Reads `ODS` or `ODS.suffix`.
    ///
    /// # Errors
    /// A sentence that never repeats the value.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (ods, suffix) = match text.split_once('.') {
            Some((ods, suffix)) => (ods, Some(suffix)),
            None => (text, None),
        };
        let ods = ods.parse().map_err(|_| {
            "must be an ODS code (1 to 12 upper-case letters and digits), with '.' and a suffix at most"
                .to_owned()
        })?;
        let max = signpost_protocol::limits::CUSTODIAN_SUFFIX_BYTES_MAX;
        match suffix {
            Some(suffix)
                if !(1..=max).contains(&suffix.len())
                    || !suffix.bytes().all(|b| b.is_ascii_alphanumeric()) =>
            {
                Err(format!("must have 1 to {max} letters and digits after the '.'"))
            }
            _ => Ok(Self { ods, suffix: suffix.map(str::to_owned) }),
        }
    }
}

/// For errors: the systems by which a patient can be named.
pub(super) fn known_systems() -> String {
    let uris: Vec<_> = IdentifierSystem::ALL.iter().map(|system| system.uri()).collect();
    format!("the known systems are {}", uris.join(", "))
}

/// Splits at `separator` where no backslash stands before it; escapes stay in place.
fn split_unescaped(text: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for character in text.chars() {
        if character == separator && !escaped {
            parts.push(String::new());
            continue;
        }
        escaped = character == '\\' && !escaped;
        parts.last_mut().expect("it starts with one part").push(character);
    }
    parts
}

fn unescaped(text: &str) -> String {
    let mut characters = text.trim().chars();
    let mut out = String::new();
    while let Some(character) = characters.next() {
        match character {
            '\\' => out.extend(characters.next()),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn one(text: &str) -> Token {
        let [token] = Token::list(text).try_into().ok().expect("one token");
        token
    }

    #[test]
    fn tokens_are_read_with_systems_lists_and_escapes() {
        assert!(one("c").system == TokenSystem::Any);
        assert!(one("|c").system == TokenSystem::None);
        assert!(one("s|c").system == TokenSystem::Uri("s".into()));
        assert!(one("s|").code.is_none());
        assert_eq!(one("s|a|b").code.as_deref(), Some("a|b"));
        assert_eq!(one(r"s|a\,b\|c\\").code.as_deref(), Some(r"a,b|c\"));
        assert_eq!(Token::list("a,,s|b,").len(), 2);
        assert!(Token::list("").is_empty() && Token::list("|").is_empty());
    }

    #[test]
    fn a_token_matches_its_coding_and_no_other() {
        let concept = json!({"coding":[{"system":"x","code":"0"},{"system":"s","code":"c"}]});
        for text in ["s|c", "c", "s|"] {
            assert!(one(text).matches_concept(&concept), "{text}");
        }
        for text in ["|c", "s|0", "t|c", "t|", "d"] {
            assert!(!one(text).matches_concept(&concept), "{text}");
        }
        assert!(one("|c").matches_coding(&json!({"code":"c"})));
        assert!(!one("c").matches_concept(&json!({"coding":"c"})));
    }

    #[test]
    fn patients_and_custodians_are_named_by_known_systems_only() {
        assert!(one("https://fhir.nhs.uk/Id/nhs-number|9990000018").patient().is_ok());
        for text in
            ["9990000018", "|9990000018", "urn:x|9990000018", "https://fhir.nhs.uk/Id/nhs-number|"]
        {
            assert!(one(text).patient().is_err(), "{text}");
        }
        let wrong = one("https://fhir.nhs.uk/Id/nhs-number|9990000019").patient().unwrap_err();
        assert!(wrong.contains("check digit") && !wrong.contains("999"), "{wrong}");

        let custodian = one(&format!("{ODS_SYSTEM}|RX898.001")).custodian().unwrap();
        assert_eq!((custodian.ods.as_str(), custodian.suffix.as_deref()), ("RX898", Some("001")));
        for text in ["RX1.", "rx1", "RX1.a-b", "RX1.aaaaaaaaaaaaa", "RX1.a.b"] {
            assert!(Custodian::parse(text).is_err(), "{text}");
        }
        assert!(one("urn:x|RX1").custodian().is_err());
    }

    proptest! {
        #[test]
        fn any_text_reads_as_tokens_without_a_panic(text: String) {
            for token in Token::list(&text) {
                let _ = token.patient();
                let _ = token.custodian();
            }
        }
    }
}
