//! Finding a patient's number in the strings of a resource.
//!
//! A pointer travels to whoever asks for its locator, and its locator must be all that links it
//! to a patient. Producers put the number into document urls, titles and member names without a
//! second thought; this search is the control. It covers the renderings that software makes by
//! itself (grouped digits, percent-encoding, base64, hexadecimal, numbers), not deliberate
//! disguise: the producer is this organization's own system.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use signpost_protocol::PatientIdentifier;

/// Layers of percent-encoding that are taken off: a url as a parameter of a url as a parameter of
/// a url has three.
const ENCODING_LAYERS_MAX: usize = 4;

/// The number of one patient, prepared for searching.
pub(super) struct HiddenNumber<'a> {
    patient: &'a PatientIdentifier,
    encoded: Vec<String>,
}

impl<'a> HiddenNumber<'a> {
    pub(super) fn of(patient: &'a PatientIdentifier) -> Self {
        let digits = patient.expose_digits();
        let grouped = |by: &str| [&digits[..3], &digits[3..6], &digits[6..]].join(by);
        let mut encoded = vec![hex::encode(digits)];
        for form in [digits.to_owned(), grouped(" "), grouped("-")] {
            encoded.extend((0..3).map(|offset| base64_core(&form, offset)));
        }
        Self { patient, encoded }
    }

    /// Whether the number occurs in `text` in some rendering.
    pub(super) fn is_in(&self, text: &str) -> bool {
        let mut layer = text.to_owned();
        for _ in 0..ENCODING_LAYERS_MAX {
            // Decoding `%99` may swallow digits of a number that stands there in plain sight.
            if self.patient.occurs_in(&layer)
                || self.patient.occurs_in(&layer.replace('%', " "))
                || self.encoded.iter().any(|rendering| layer.contains(rendering))
            {
                return true;
            }
            let decoded = percent_decode_str(&layer).decode_utf8_lossy().into_owned();
            if decoded == layer {
                return false;
            }
            layer = decoded;
        }
        false
    }

    /// The FHIRPath of the first element below `path` whose name or value holds the number.
    pub(super) fn find(&self, path: &str, value: &Value) -> Option<String> {
        let here = |found: bool| found.then(|| self.shown(path));
        match value {
            Value::Null | Value::Bool(_) => None,
            Value::Number(number) => here(self.is_in(&number.to_string())),
            Value::String(text) => here(self.is_in(text)),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .find_map(|(index, item)| self.find(&format!("{path}[{index}]"), item)),
            Value::Object(members) => members.iter().find_map(|(name, item)| {
                if self.is_in(name) {
                    return here(true);
                }
                let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                let name = if plain && !name.is_empty() { name.as_str() } else { "?" };
                self.find(&format!("{path}.{name}"), item)
            }),
        }
    }

    /// A path may spell the number in its member names, piece by piece: then only its root is shown.
    fn shown(&self, path: &str) -> String {
        let digits = path.bytes().filter(u8::is_ascii_digit).collect::<Vec<_>>();
        let spelt = digits.windows(10).any(|run| run == self.patient.expose_digits().as_bytes());
        let shown = if spelt { path.split('.').next().unwrap_or_default() } else { path };
        shown.to_owned()
    }
}

/// The characters of base64 (the same in its two alphabets, as all come from digits, blanks and
/// hyphens) that `form` decides alone when it starts `offset` bytes into a group of three.
fn base64_core(form: &str, offset: usize) -> String {
    let text = STANDARD_NO_PAD.encode([&[0_u8; 2][..offset], form.as_bytes()].concat());
    let first = (offset * 8).div_ceil(6);
    let end = (offset + form.len()) * 8 / 6;
    text[first..end].to_owned()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    use proptest::prelude::*;
    use serde_json::json;
    use signpost_protocol::IdentifierSystem;

    use super::*;

    fn patient() -> PatientIdentifier {
        PatientIdentifier::parse(IdentifierSystem::NhsNumber, "9990000018").unwrap()
    }

    fn found(text: &str) -> bool {
        HiddenNumber::of(&patient()).is_in(text)
    }

    #[test]
    fn a_number_is_found_in_each_rendering_and_another_number_is_not() {
        for number in ["9990000018", "999 000 0018", "999-000-0018"] {
            for before in ["", "x", "ab", "NHS no ", "https://a.example/p?n="] {
                let text = format!("{before}{number}/summary");
                assert!(found(&text), "{text}");
                assert!(found(&STANDARD.encode(&text)), "base64 of {text}");
                assert!(found(&URL_SAFE.encode(&text)), "base64url of {text}");
                let other = text.replace("18", "26");
                assert!(!found(&other), "{other}");
                assert!(!found(&STANDARD.encode(&other)), "base64 of {other}");
            }
        }
        assert!(found(&hex::encode("9990000018")));
        assert!(found("999%30000018"));
        assert!(found("999%252530000018"), "a digit encoded three times");
        assert!(!found(&hex::encode("9990000026")));
    }

    #[test]
    fn the_path_leads_to_the_element_and_never_shows_the_number() {
        let patient = patient();
        let search = HiddenNumber::of(&patient);
        let find = |value: &Value| search.find("R", value);
        assert_eq!(find(&json!({"a":[{"b":"x"},{"b":"9990000018"}]})).unwrap(), "R.a[1].b");
        assert_eq!(find(&json!({"a": 9_990_000_018_u64})).unwrap(), "R.a");
        assert_eq!(find(&json!({"a": -9_990_000_018_i64})).unwrap(), "R.a");
        assert_eq!(find(&json!({"a": 9_990_000_018.5})).unwrap(), "R.a");
        assert_eq!(find(&json!({"a": {"9990000018": 1}})).unwrap(), "R.a");
        assert_eq!(find(&json!({"a b": "9990000018"})).unwrap(), "R.?");
        assert_eq!(find(&json!({"n999":{"n000":{"n0018":"9990000018"}}})).unwrap(), "R");
        assert_eq!(find(&json!({"a":[1,null,true,"999000001"], "b": "9990000026"})), None);
    }

    proptest! {
        #[test]
        fn any_string_is_searched_without_a_panic(text: String, before in "[a-zA-Z/%=]{0,8}") {
            found(&text);
            let planted = format!("{before}9990000018");
            prop_assert!(found(&planted), "missed in {}", planted);
        }
    }
}
