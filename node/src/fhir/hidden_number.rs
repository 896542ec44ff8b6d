//! Finding a patient's number in the strings of a resource.
//!
//! A pointer travels to whoever asks for its locator, and its locator must be all that links it
//! to a patient. Producers put the number into document urls, titles and member names without a
//! second thought; this search is the control. It covers the renderings that software makes by
//! itself (grouped digits, percent-encoding, markup, base64, hexadecimal, numbers), not deliberate
//! disguise: the producer is this organization's own system.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use signpost_protocol::PatientIdentifier;

/// Layers of percent-encoding that are taken off: a url as a parameter of a url as a parameter of
/// a url has three.
const ENCODING_LAYERS_MAX: usize = 4;
/// Bytes of one tag or character reference: longer ones do not stand between the digits of a number, and
/// the search for their end must not begin again at each of a million `<`.
const MARKUP_BYTES_MAX: usize = 1024;
/// Letters of a member's name that a message repeats: FHIR's longest has 31.
const NAME_SHOWN_MAX: usize = 40;

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
                || (layer.contains(['<', '&']) && self.patient.occurs_in(&without_markup(&layer)))
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

    /// The FHIRPath of the first element below `root` whose name or value holds the number.
    pub(super) fn find(&self, root: &str, value: &Value) -> Option<String> {
        self.find_at(&Path::Root(root), value).map(|path| self.shown(&path))
    }

    fn find_at(&self, path: &Path<'_>, value: &Value) -> Option<String> {
        let here = |found: bool| found.then(|| path.to_string());
        match value {
            Value::Null | Value::Bool(_) => None,
            Value::Number(number) => here(self.is_in(&number.to_string())),
            Value::String(text) => here(self.is_in(text)),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .find_map(|(index, item)| self.find_at(&Path::Item(path, index), item)),
            Value::Object(members) => members.iter().find_map(|(name, item)| {
                here(self.is_in(name)).or_else(|| self.find_at(&Path::Member(path, name), item))
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

/// Where the search is. Put into words only when something is found: a resource may have a million
/// elements, and names of any length.
enum Path<'a> {
    Root(&'a str),
    Member(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(root) => f.write_str(root),
            Self::Item(path, index) => write!(f, "{path}[{index}]"),
            Self::Member(path, name) => {
                let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                let known = plain && (1..=NAME_SHOWN_MAX).contains(&name.len());
                write!(f, "{path}.{}", if known { name } else { "?" })
            }
        }
    }
}

/// The text as a browser would show it: tags taken out, character references replaced by what they
/// stand for. Narrative (`text.div`) groups digits with both.
fn without_markup(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['<', '&']) {
        shown.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = if rest.starts_with('<') { '>' } else { ';' };
        let bound = rest.len().min(MARKUP_BYTES_MAX);
        match rest.bytes().take(bound).position(|byte| byte == end as u8) {
            Some(length) if end == '>' => rest = &rest[length + 1..],
            Some(length) => {
                shown.push(referred(&rest[1..length]));
                rest = &rest[length + 1..];
            }
            None => {
                shown.push_str(&rest[..1]);
                rest = &rest[1..];
            }
        }
    }
    shown + rest
}

/// The character of a reference without its `&` and `;`; of a named one it matters only that it is
/// no digit.
fn referred(name: &str) -> char {
    let number = name.strip_prefix('#').and_then(|number| {
        let hexadecimal = number.strip_prefix(['x', 'X']);
        hexadecimal.map_or_else(|| number.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok())
    });
    number.and_then(char::from_u32).unwrap_or(' ')
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
    fn a_number_is_found_between_tags_and_character_references() {
        for text in [
            "999&nbsp;000&nbsp;0018",
            "999&#160;000&#160;0018",
            "999&#xA0;000&#xa0;0018",
            "<b>999</b> <b>000</b> <b>0018</b>",
            "<td class='n3'>999</td><td>000</td><td>0018</td>",
            "&#57;990000018",
            "a < b, R&D; 9990000018",
        ] {
            assert!(found(text), "{text}");
            assert!(!found(&text.replace("18", "26")), "{text}");
        }
        assert!(!found("?a=999&b=000&c=0018"), "three parameters are no number");
    }

    #[test]
    fn a_million_elements_below_a_long_name_are_searched_once_each() {
        // Putting each of their paths into words would write 100 GB.
        let name = "n".repeat(300_000);
        let mut resource = json!({ (name.clone()): vec![0; 300_000] });
        let patient = patient();
        let search = HiddenNumber::of(&patient);
        assert_eq!(search.find("R", &resource), None);
        resource[&name][299_999] = 9_990_000_018_u64.into();
        assert_eq!(search.find("R", &resource).unwrap(), "R.?[299999]");
        assert!(!found(&"<".repeat(1_000_000)));
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
