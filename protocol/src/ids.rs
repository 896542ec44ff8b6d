//! One newtype per identifier, so that none can stand in for another.

use std::{fmt, str::FromStr};

use minicbor::{Decode, Decoder, Encode, Encoder, bytes::ByteArray, decode, encode};
use sha2::{Digest as _, Sha256};

use crate::limits::{ODS_CODE_CHARS_MAX, POINTER_ID_CHARS_MAX};

/// Why a text is not the identifier it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {rule}")]
pub struct IdError {
    /// The kind of identifier that was expected.
    pub what: &'static str,
    /// The rule that the text breaks.
    pub rule: &'static str,
}

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $length:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $length]);

        impl $name {
            /// Length in bytes.
            pub const LENGTH: usize = $length;

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            /// The first eight hexadecimal digits: enough to tell two apart in a log.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({}..)"), hex::encode(&self.0[..4]))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0; $length];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| IdError {
                    what: $what,
                    rule: concat!("must be ", $length, " bytes in hexadecimal"),
                })?;
                Ok(Self(bytes))
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), encode::Error<W::Error>> {
                e.bytes(&self.0)?;
                Ok(())
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
                ByteArray::<$length>::decode(d, ctx).map(|bytes| Self(bytes.into()))
            }
        }
    };
}

byte_id!(
    /// A legal body, for ever: SHA-256 of its signed inception statement (32 bytes).
    OrganizationId, 32, "organization id"
);
byte_id!(
    /// A network: SHA-256 of its founding roster's payload (32 bytes). Part of every signature.
    NetworkId, 32, "network id"
);
byte_id!(
    /// A running daemon of an organization: 16 random bytes drawn when it was set up.
    NodeId, 16, "node id"
);
byte_id!(
    /// A key: first 16 bytes of SHA-256 of `"signpost/v1/key-id"` and the public key.
    KeyId, 16, "key id"
);
byte_id!(
    /// One exchange: 16 random bytes, unique per asking node within the life of the request.
    RequestId, 16, "request id"
);
byte_id!(
    /// SHA-256 of some bytes, the name under which a filter or change list is fetched (32 bytes).
    ContentHash, 32, "content hash"
);
byte_id!(
    /// What an applicant shows to the node that invited it: 16 random bytes, drawn for one invitation.
    InvitationCode, 16, "invitation code"
);
byte_id!(
    /// An Ed25519 public key as it travels (RFC 8032 §5.1.5, 32 bytes); not yet checked to be one.
    PublicKey, 32, "public key"
);

impl NetworkId {
    /// Stands where no network exists yet: under an organization's inception statement.
    pub const NONE: Self = Self([0; 32]);
}

impl ContentHash {
    /// The name of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl PublicKey {
    /// The short name under which signatures refer to this key.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        let mut hash = Sha256::new();
        hash.update(b"signpost/v1/key-id");
        hash.update(self.0);
        let digest: [u8; 32] = hash.finalize().into();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        KeyId(id)
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), encode::Error<W::Error>> {
                e.str(&self.0)?;
                Ok(())
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
                let at = d.position();
                let text = d.str()?;
                text.parse().map_err(|error| decode::Error::custom(error).at(at))
            }
        }
    };
}

text_id!(
    /// An ODS code: 1 to 12 upper-case letters and digits. An attribute of an organization, never its identity.
    OdsCode, check_ods_code
);
text_id!(
    /// A pointer's identifier, `<ODS>[.<suffix>]-<local>`: a FHIR id, so at most 64 of `[A-Za-z0-9.-]`
    /// (FHIR R4 §2.24.0.1); the ODS code leads to the holder.
    PointerId, check_pointer_id
);

impl PointerId {
    /// Puts an id together from its holder's ODS code and a local part.
    ///
    /// # Errors
    /// When the result is too long or holds a character that a FHIR id may not.
    pub fn new(ods: &OdsCode, local: &str) -> Result<Self, IdError> {
        format!("{ods}-{local}").parse()
    }

    /// The ODS code of the organization that holds the record, without any dotted suffix.
    #[must_use]
    pub fn ods_code(&self) -> OdsCode {
        let principal = self.0.split('-').next().unwrap_or_default();
        OdsCode(principal.split('.').next().unwrap_or_default().to_owned())
    }
}

fn check_ods_code(text: &str) -> Result<(), IdError> {
    let rule = "must be 1 to 12 upper-case letters and digits";
    let fits = (1..=ODS_CODE_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if fits { Ok(()) } else { Err(IdError { what: "ODS code", rule }) }
}

fn check_pointer_id(text: &str) -> Result<(), IdError> {
    let error = |rule| Err(IdError { what: "pointer id", rule });
    if text.len() > POINTER_ID_CHARS_MAX {
        return error("must be at most 64 characters");
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-') {
        return error("may hold letters, digits, '.' and '-' only");
    }
    let Some((principal, local)) = text.split_once('-') else {
        return error("must look like <ODS code>-<local part>");
    };
    if local.is_empty() {
        return error("must have a local part after '-'");
    }
    check_ods_code(principal.split('.').next().unwrap_or_default())
        .map_err(|_| IdError { what: "pointer id", rule: "must begin with an ODS code" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_id_names_its_holder() {
        let id: PointerId = "RX898.001-1f3c".parse().expect("well formed");
        assert_eq!(id.ods_code().as_str(), "RX898");
        assert_eq!(id.to_string(), "RX898.001-1f3c");
    }

    #[test]
    fn malformed_pointer_ids_are_refused() {
        for text in ["", "RX1", "RX1-", "-x", "rx1-x", "RX1-a_b", "RX1-a b", "RX1-é"] {
            assert!(text.parse::<PointerId>().is_err(), "{text:?} was accepted");
        }
        assert!(format!("RX1-{}", "a".repeat(61)).parse::<PointerId>().is_err());
        assert!(format!("RX1-{}", "a".repeat(60)).parse::<PointerId>().is_ok());
    }

    #[test]
    fn ods_codes_are_upper_case_letters_and_digits() {
        assert!("RJ1".parse::<OdsCode>().is_ok());
        for text in ["", "rj1", "RJ 1", "RJ1-1", "ABCDEFGHIJKLM"] {
            assert!(text.parse::<OdsCode>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn byte_ids_round_trip_as_hexadecimal_and_debug_stays_short() {
        let id = KeyId([0xab; 16]);
        assert_eq!(id.to_string().parse::<KeyId>(), Ok(id));
        assert_eq!(format!("{id:?}"), "KeyId(abababab..)");
        assert!("ab".parse::<KeyId>().is_err());
    }
}
