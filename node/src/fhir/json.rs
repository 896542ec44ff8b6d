//! Reading JSON so that no two readers can differ on what it says.
//!
//! Most readers keep the last of two members of the same name, some the first: with two `subject`
//! members that would be two different patients, so repeated names are refused. Nesting is bounded
//! by serde_json (128 levels, RFC 8259 §9 allows a bound).

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

use super::FhirError;

/// Reads one JSON text.
///
/// # Errors
/// When it is no JSON, nests deeper than 128 levels, or an object repeats a member name. The
/// reason gives line and column, never content.
pub fn parse(text: &[u8]) -> Result<Value, FhirError> {
    // Windows tools like to put a byte order mark before their UTF-8.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    match serde_json::from_slice(text) {
        Ok(Unambiguous(value)) => Ok(value),
        Err(error) => Err(FhirError::NotJson(error.to_string())),
    }
}

struct Unambiguous(Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue).map(Self)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unambiguous(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Unambiguous(value))) = members.next_entry::<String, Unambiguous>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("an object has two members of the same name"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_read_as_serde_json_reads_them() {
        let text = r#"{"a":[1,-2,3.5,true,null,"\u00e9"],"b":{"c":{}}}"#;
        assert_eq!(parse(text.as_bytes()), Ok(json!({"a":[1,-2,3.5,true,null,"é"],"b":{"c":{}}})));
        assert!(parse(b"\xef\xbb\xbf{}").is_ok());
    }

    #[test]
    fn two_members_of_one_name_are_refused_at_any_depth() {
        for text in
            [r#"{"subject":1,"subject":2}"#, r#"{"a":[{"b":1,"b":1}]}"#, r#"{"a":1,"\u0061":2}"#]
        {
            let error = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("same name"), "{error}");
        }
    }

    #[test]
    fn deep_nesting_and_garbage_are_errors_that_show_no_content() {
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        assert!(parse(deep.as_bytes()).is_err());
        let shallow = "[".repeat(100) + &"]".repeat(100);
        assert!(parse(shallow.as_bytes()).is_ok());
        for text in [
            &b""[..],
            b"{",
            b"\xff\xfe",
            b"{\"a\":9990000018x}",
            b"{} {}",
            b"9990000018e999",
            b"[\"9990000018\n\"]",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(!error.contains("999"), "{error}");
        }
    }
}
