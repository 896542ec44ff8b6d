//! One disclosure, as it is written down.

use serde::{Deserialize, Serialize};
use signpost_protocol::Timestamp;

use crate::store::StoreError;

/// Bytes of a request id in hexadecimal (16 bytes).
pub const REQUEST_BYTES_MAX: usize = 32;
/// Bytes of an ODS code (see `signpost_protocol::limits::ODS_CODE_CHARS_MAX`).
pub const ODS_BYTES_MAX: usize = signpost_protocol::limits::ODS_CODE_CHARS_MAX;
/// Organizations asked in one locate: normally 1 to 10; the most-travelled patient has far fewer.
pub const ASKED_MAX: usize = 256;
/// Bytes of a purpose, role or outcome: codes, not prose.
pub const TOKEN_BYTES_MAX: usize = 64;
/// Bytes of the opaque user id: a UUID, a smart-card number or a directory name.
pub const USER_BYTES_MAX: usize = 128;
/// Bytes of a pointer id (see `signpost_protocol::limits::POINTER_ID_CHARS_MAX`).
pub const POINTER_BYTES_MAX: usize = signpost_protocol::limits::POINTER_ID_CHARS_MAX;
/// Pointers named in one record: more than the answers of one locate carry.
pub const POINTERS_MAX: usize = 1000;
/// Bytes of the completeness statement in words: each cause with a few organizations.
pub const COMPLETENESS_BYTES_MAX: usize = 1024;

/// Which side of the exchange wrote the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DisclosureRole {
    /// The node that located, for its own clinical system.
    Asker,
    /// The node that answered another organization.
    Holder,
}

/// Who was told what, for what purpose, on whose behalf.
///
/// There is deliberately no field that could hold a patient's number, locator or name. Whoever
/// fills `user` must pass the opaque id of a member of staff, and `purpose`, `user_role` and
/// `outcome` are codes: never text that a client wrote freely.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisclosureRecord {
    /// When; RFC 3339 in UTC in the file.
    #[serde(with = "rfc3339")]
    pub time: Timestamp,
    /// Which side wrote this.
    pub role: DisclosureRole,
    /// The request id in hexadecimal, at most [`REQUEST_BYTES_MAX`] bytes: at a holder that of the ask, at
    /// the asker that of the whole inquiry.
    pub request: String,
    /// ODS code of the asking organization.
    pub asking: String,
    /// ODS codes of those asked; at most [`ASKED_MAX`].
    pub asked: Vec<String>,
    /// The request ids of the asks (askers only), in the order of `asked`: each is `request` in
    /// that holder's record. Further pages have the same id with its last byte counted on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asks: Vec<String>,
    /// Purpose of the request, a code of at most [`TOKEN_BYTES_MAX`] bytes.
    pub purpose: String,
    /// Opaque id of the person asking, at most [`USER_BYTES_MAX`] bytes.
    pub user: String,
    /// Role of that person, a code of at most [`TOKEN_BYTES_MAX`] bytes.
    pub user_role: String,
    /// What came of it, a code of at most [`TOKEN_BYTES_MAX`] bytes.
    pub outcome: String,
    /// Ids of the pointers disclosed; at most [`POINTERS_MAX`].
    pub pointers: Vec<String>,
    /// How complete the result was (askers only), at most [`COMPLETENESS_BYTES_MAX`] bytes.
    pub completeness: Option<String>,
}

impl DisclosureRecord {
    /// Checks every bound, so that a line never exceeds what a reader accepts.
    pub(super) fn check(&self) -> Result<(), DisclosureError> {
        let request = |id: &String| id.len() <= REQUEST_BYTES_MAX;
        let ods = |code: &String| code.len() <= ODS_BYTES_MAX;
        let pointer = |id: &String| id.len() <= POINTER_BYTES_MAX;
        let completeness = self.completeness.as_ref().map_or(0, String::len);
        let bounds = [
            // Beyond the year 9999 RFC 3339 has no form.
            ("time", rfc3339::text(self.time).is_some()),
            ("request", request(&self.request)),
            ("asking", ods(&self.asking)),
            ("asked", self.asked.len() <= ASKED_MAX && self.asked.iter().all(ods)),
            ("asks", self.asks.len() <= ASKED_MAX && self.asks.iter().all(request)),
            ("purpose", self.purpose.len() <= TOKEN_BYTES_MAX),
            ("user", self.user.len() <= USER_BYTES_MAX),
            ("user_role", self.user_role.len() <= TOKEN_BYTES_MAX),
            ("outcome", self.outcome.len() <= TOKEN_BYTES_MAX),
            ("pointers", self.pointers.len() <= POINTERS_MAX && self.pointers.iter().all(pointer)),
            ("completeness", completeness <= COMPLETENESS_BYTES_MAX),
        ];
        match bounds.iter().find(|(_, kept)| !kept) {
            Some((field, _)) => Err(DisclosureError::Record { field }),
            None => Ok(()),
        }
    }
}

/// Why a disclosure is not on record, and so must not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DisclosureError {
    /// A field breaks its bound: the fault of whoever made the record.
    #[error("the disclosure record's {field} is longer than allowed")]
    Record {
        /// The field's name.
        field: &'static str,
    },
    /// The log cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An instant as an auditor reads it.
mod rfc3339 {
    use serde::{Deserialize as _, Deserializer, Serializer, de, ser};
    use signpost_protocol::Timestamp;

    pub(super) fn text(time: Timestamp) -> Option<String> {
        let milliseconds = i64::try_from(time.0).ok()?;
        jiff::Timestamp::from_millisecond(milliseconds).ok().map(|time| time.to_string())
    }

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&text(*time).ok_or_else(|| ser::Error::custom("an instant past 9999"))?)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Timestamp, D::Error> {
        let time: jiff::Timestamp = String::deserialize(d)?.parse().map_err(de::Error::custom)?;
        u64::try_from(time.as_millisecond()).map(Timestamp).map_err(de::Error::custom)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::store::disclosure::LINE_BYTES_MAX;

    pub(in crate::store::disclosure) fn record() -> DisclosureRecord {
        DisclosureRecord {
            time: Timestamp(1_795_500_000_123),
            role: DisclosureRole::Holder,
            request: "00112233445566778899aabbccddeeff".to_owned(),
            asking: "RJ1".to_owned(),
            asked: vec!["RX898".to_owned()],
            asks: Vec::new(),
            purpose: "direct-care".to_owned(),
            user: "b3f1".to_owned(),
            user_role: "clinician".to_owned(),
            outcome: "answered".to_owned(),
            pointers: vec!["RX898-1f3c".to_owned()],
            completeness: None,
        }
    }

    #[test]
    fn the_text_of_a_record_is_pinned() {
        let text = serde_json::to_string(&record()).unwrap();
        assert_eq!(
            text,
            "{\"time\":\"2026-11-24T06:00:00.123Z\",\"role\":\"holder\",\
             \"request\":\"00112233445566778899aabbccddeeff\",\"asking\":\"RJ1\",\
             \"asked\":[\"RX898\"],\"purpose\":\"direct-care\",\"user\":\"b3f1\",\
             \"user_role\":\"clinician\",\"outcome\":\"answered\",\
             \"pointers\":[\"RX898-1f3c\"],\"completeness\":null}"
        );
        assert_eq!(serde_json::from_str::<DisclosureRecord>(&text).unwrap(), record());
    }

    /// Control characters are the longest in JSON: six bytes for one.
    fn worst(bytes: usize) -> String {
        "\u{1}".repeat(bytes)
    }

    #[test]
    fn the_largest_record_fits_a_line_and_every_bound_is_kept() {
        let largest = DisclosureRecord {
            time: Timestamp(1_795_500_000_123),
            role: DisclosureRole::Holder,
            request: worst(REQUEST_BYTES_MAX),
            asking: worst(ODS_BYTES_MAX),
            asked: vec![worst(ODS_BYTES_MAX); ASKED_MAX],
            asks: vec![worst(REQUEST_BYTES_MAX); ASKED_MAX],
            purpose: worst(TOKEN_BYTES_MAX),
            user: worst(USER_BYTES_MAX),
            user_role: worst(TOKEN_BYTES_MAX),
            outcome: worst(TOKEN_BYTES_MAX),
            pointers: vec![worst(POINTER_BYTES_MAX); POINTERS_MAX],
            completeness: Some(worst(COMPLETENESS_BYTES_MAX)),
        };
        largest.check().unwrap();
        assert!(serde_json::to_vec(&largest).unwrap().len() + 200 < LINE_BYTES_MAX);

        let refused = |change: fn(&mut DisclosureRecord), name: &str| {
            let mut record = largest.clone();
            change(&mut record);
            match record.check() {
                Err(DisclosureError::Record { field }) => assert_eq!(field, name),
                other => panic!("{name}: {other:?}"),
            }
        };
        refused(|r| r.time = Timestamp(u64::MAX), "time");
        refused(|r| r.request.push('x'), "request");
        refused(|r| r.asking.push('x'), "asking");
        refused(|r| r.asked.push(String::new()), "asked");
        refused(|r| r.asked[0].push('x'), "asked");
        refused(|r| r.asks.push(String::new()), "asks");
        refused(|r| r.asks[0].push('x'), "asks");
        refused(|r| r.purpose.push('x'), "purpose");
        refused(|r| r.user.push('x'), "user");
        refused(|r| r.user_role.push('x'), "user_role");
        refused(|r| r.outcome.push('x'), "outcome");
        refused(|r| r.pointers.push(String::new()), "pointers");
        refused(|r| r.pointers[7].push('x'), "pointers");
        refused(|r| r.completeness = Some(worst(COMPLETENESS_BYTES_MAX + 1)), "completeness");
    }
}
