//! What an admin mails to the admin of an organization that is to join.
//!
//! An invitation names the network by its id, which is the fingerprint of its founding, and says
//! where to connect first; whatever is then fetched there is checked against that id. It is not
//! signed: whoever holds it may apply with it, and is then checked by people. The node that made it
//! knows its code, and no other does.

use std::{fmt, str::FromStr};

use data_encoding::{BASE32_NOPAD, BASE32_NOPAD_NOCASE};
use minicbor::{Decode, Encode};
use sha2::{Digest as _, Sha256};

use crate::{
    codec::{self, Bounded, DecodeError, Text},
    ids::{InvitationCode, NetworkId, OdsCode},
    limits,
    time::Timestamp,
};

/// What an invitation's text begins with.
pub const INVITATION_PREFIX: &str = "signpost-invitation:";
/// What is hashed before the invitation itself, so that no other checksum fits.
const CHECKSUM_LABEL: &[u8] = b"signpost/v1/invitation";
/// Bytes of the checksum: of four billion typing mistakes one is not noticed.
const CHECKSUM_BYTES: usize = 4;
/// Characters of a text, white space aside, that is looked at: the longest invitation in base32.
const TEXT_CHARS_MAX: usize =
    INVITATION_PREFIX.len() + (limits::INVITATION_BYTES_MAX + CHECKSUM_BYTES).div_ceil(5) * 8;

/// An invitation to join a network; see the module.
///
/// Its text, to be mailed or pasted, is [`INVITATION_PREFIX`] and base32 (RFC 4648 §6) in lower case
/// without padding, of the encoded record and the first four bytes of
/// SHA-256(`"signpost/v1/invitation"` ‖ record).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Invitation {
    /// The network: the hash of its founding.
    #[n(0)]
    pub network: NetworkId,
    /// The network's name, for people.
    #[n(1)]
    pub network_name: Text<{ limits::NAME_BYTES_MAX }>,
    /// The ODS code of the organization that invites.
    #[n(2)]
    pub ods: OdsCode,
    /// Its name, for people.
    #[n(3)]
    pub name: Text<{ limits::NAME_BYTES_MAX }>,
    /// What its node knows the invitation by.
    #[n(4)]
    pub code: InvitationCode,
    /// Where its nodes listen: multiaddrs with the peer id, at least one, e.g.
    /// `/ip4/192.0.2.1/tcp/4001/p2p/12D3KooW..`.
    #[n(5)]
    pub addresses:
        Bounded<Text<{ limits::PEER_ADDRESS_BYTES_MAX }>, { limits::INVITATION_ADDRESSES_MAX }>,
    /// First instant at which it is of no use any more.
    #[n(6)]
    pub expires: Timestamp,
}

/// Why a text is no invitation that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvitationError {
    /// It does not begin as one.
    #[error("this is no invitation: one begins with \"{INVITATION_PREFIX}\"")]
    NoPrefix,
    /// It holds what base32 does not.
    #[error(
        "the invitation holds {found:?} at character {at}, where only letters and the digits 2 to 7 \
         can be: copy it again"
    )]
    Character {
        /// Which character of the text it is, white space left out, the first being 1.
        at: usize,
        /// The character.
        found: char,
    },
    /// It ends early or goes on too long.
    #[error("the invitation is cut off or has too much at its end: copy it again, as a whole")]
    Length,
    /// The checksum does not fit.
    #[error("the invitation is mistyped: its checksum does not fit; copy it again, as a whole")]
    Checksum,
    /// The checksum fits, the rest does not.
    #[error("the invitation was made by something that this version does not understand: {0}")]
    Content(#[from] DecodeError),
    /// It says nowhere to go.
    #[error("the invitation names no address: ask for another one")]
    NoAddress,
}

impl Invitation {
    fn checksum(record: &[u8]) -> [u8; CHECKSUM_BYTES] {
        let mut hash = Sha256::new();
        hash.update(CHECKSUM_LABEL);
        hash.update(record);
        let mut checksum = [0; CHECKSUM_BYTES];
        checksum.copy_from_slice(&hash.finalize()[..CHECKSUM_BYTES]);
        checksum
    }
}

impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = codec::encode(self);
        bytes.extend(Self::checksum(&bytes));
        let text = BASE32_NOPAD.encode(&bytes).to_ascii_lowercase();
        write!(f, "{INVITATION_PREFIX}{text}")
    }
}

impl FromStr for Invitation {
    type Err = InvitationError;

    /// Takes upper case for lower case and passes over white space, which mail adds.
    fn from_str(text: &str) -> Result<Self, InvitationError> {
        let chars = text.chars().filter(|c| !c.is_whitespace());
        let text: String = chars.take(TEXT_CHARS_MAX + 1).collect();
        let start = text.get(..INVITATION_PREFIX.len()).ok_or(InvitationError::NoPrefix)?;
        if !start.eq_ignore_ascii_case(INVITATION_PREFIX) {
            return Err(InvitationError::NoPrefix);
        }
        let in_base32 = |c: char| c.is_ascii_alphabetic() || ('2'..='7').contains(&c);
        let strange = text.chars().enumerate().skip(INVITATION_PREFIX.len());
        if let Some((at, found)) = strange.into_iter().find(|(_, c)| !in_base32(*c)) {
            return Err(InvitationError::Character { at: at + 1, found });
        }
        let encoded = &text.as_bytes()[INVITATION_PREFIX.len()..];
        // No whole number of bytes has 1, 3 or 6 characters beyond the last eight.
        if text.len() > TEXT_CHARS_MAX || matches!(encoded.len() % 8, 1 | 3 | 6) {
            return Err(InvitationError::Length);
        }
        // Bits beyond the last whole byte that are set: no program writes them.
        let bytes = BASE32_NOPAD_NOCASE.decode(encoded).map_err(|_| InvitationError::Checksum)?;
        let (record, checksum) =
            bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(InvitationError::Length)?;
        if Self::checksum(record) != *checksum {
            return Err(InvitationError::Checksum);
        }
        let invitation: Self = codec::decode("invitation", record, limits::INVITATION_BYTES_MAX)?;
        if invitation.addresses.is_empty() {
            return Err(InvitationError::NoAddress);
        }
        Ok(invitation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation() -> Invitation {
        let address =
            "/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
        Invitation {
            network: NetworkId([0xab; 32]),
            network_name: Text::new("Example network").expect("short"),
            ods: "RX1".parse().expect("a code"),
            name: Text::new("St Elsewhere's").expect("short"),
            code: InvitationCode([7; 16]),
            addresses: Bounded::new(vec![Text::new(address).expect("short")]).expect("one"),
            expires: Timestamp(1_768_089_600_000),
        }
    }

    fn error(text: &str) -> String {
        text.parse::<Invitation>().expect_err(text).to_string()
    }

    #[test]
    fn an_invitation_survives_mail_and_upper_case() {
        let text = invitation().to_string();
        assert!(text.starts_with("signpost-invitation:u4"), "{text}");
        assert_eq!(text.parse::<Invitation>().expect("as written"), invitation());
        let mailed: String =
            text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line) + "\r\n").collect();
        assert_eq!(format!("  {mailed} ").parse::<Invitation>().expect("wrapped"), invitation());
        assert_eq!(text.to_uppercase().parse::<Invitation>().expect("shouted"), invitation());
    }

    #[test]
    fn every_single_mistyped_character_is_noticed() {
        let text = invitation().to_string();
        for at in 0..text.len() {
            let mut typed = text.clone().into_bytes();
            typed[at] = if typed[at] == b'a' { b'b' } else { b'a' };
            let typed = String::from_utf8(typed).expect("ASCII");
            let error = typed.parse::<Invitation>().expect_err("mistyped");
            let in_prefix = at < INVITATION_PREFIX.len();
            assert_eq!(matches!(error, InvitationError::NoPrefix), in_prefix, "{at}: {error}");
            assert_eq!(matches!(error, InvitationError::Checksum), !in_prefix, "{at}: {error}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let text = invitation().to_string();
        for start in ["", "sign", "https://example.org/", &text[1..], "ſignpost-invitation:aa"] {
            assert!(error(start).starts_with("this is no invitation"), "{start}");
        }
        assert!(error(&text.replace(":u", ":1")).contains("'1' at character 21"));
        assert!(error(&format!("{text}ü")).contains("'ü'"));
        let whole = text.len() - (text.len() - INVITATION_PREFIX.len()) % 8;
        assert!(error(&text[..=whole - 8]).contains("cut off"));
        assert!(error(&text[..whole - 8]).contains("mistyped"));
        assert!(error(INVITATION_PREFIX).contains("cut off"));
        assert!(error(&format!("{text}{}", "a".repeat(100_000))).contains("too much at its end"));
    }

    #[test]
    fn what_has_a_checksum_and_is_no_invitation_is_refused() {
        let with_checksum = |record: &[u8]| {
            let bytes = [record, &Invitation::checksum(record)].concat();
            format!("{INVITATION_PREFIX}{}", BASE32_NOPAD.encode(&bytes))
        };
        assert!(error(&with_checksum(b"forged")).contains("does not understand"));
        let nowhere = Invitation { addresses: Bounded::default(), ..invitation() };
        assert!(error(&nowhere.to_string()).contains("names no address"));
        let record = codec::encode(&invitation());
        assert!(with_checksum(&record).parse::<Invitation>().is_ok());
        assert!(error(&with_checksum(&[&record[..], &[0]].concat())).contains("stray"));
    }

    #[test]
    fn the_longest_invitation_has_a_text() {
        let address = Text::new(&"x".repeat(limits::PEER_ADDRESS_BYTES_MAX)).expect("the longest");
        let name = Text::new(&"y".repeat(limits::NAME_BYTES_MAX)).expect("the longest");
        let longest = Invitation {
            network_name: name.clone(),
            ods: "ABCDEFGHIJKL".parse().expect("a code"),
            name,
            addresses: Bounded::new(vec![address; limits::INVITATION_ADDRESSES_MAX])
                .expect("eight"),
            expires: Timestamp(u64::MAX),
            ..invitation()
        };
        assert!(codec::encode(&longest).len() <= limits::INVITATION_BYTES_MAX);
        assert_eq!(longest.to_string().parse::<Invitation>().expect("it fits"), longest);
    }
}
