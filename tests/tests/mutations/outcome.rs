//! What becomes of a message, told apart by what stopped it and whether the signature came first.

use std::fmt;

use signpost_keys::VerifyError;
use signpost_protocol::DecodeError;

/// What became of a message.
#[derive(Debug)]
pub(crate) enum Outcome {
    Verified,
    Decoded,
    Envelope,
    TooLong,
    BodyTooLong,
    Malformed,
    BodyMalformed,
    NotDeterministic,
    BodyNotDeterministic,
    Trailing,
    BodyTrailing,
    UnknownKey,
    WrongUse,
    WrongAuthor,
    KeyNotValid,
    NotAdmitted,
    WeakKey,
    BadSignature,
    /// A roster file whose founding and endorsements are the original's.
    SameNetwork,
    Roster(&'static str),
}

impl Outcome {
    pub(crate) fn is_accepted(&self) -> bool {
        matches!(self, Self::Verified | Self::Decoded)
    }

    const PAST_THE_SIGNATURE: [Self; 8] = [
        Self::Verified,
        Self::BodyTooLong,
        Self::BodyMalformed,
        Self::BodyNotDeterministic,
        Self::BodyTrailing,
        Self::WrongAuthor,
        Self::KeyNotValid,
        Self::NotAdmitted,
    ];

    /// Whether a message with this outcome, as printed, is known to have had a signature that
    /// verified: what comes before the signature is told apart.
    pub(crate) fn passed_the_signature(printed: &str) -> bool {
        Self::PAST_THE_SIGNATURE.iter().any(|outcome| outcome.to_string() == printed)
    }

    pub(crate) fn of_decoding(error: &DecodeError, in_body: bool) -> Self {
        match (error, in_body) {
            (DecodeError::TooLong { .. }, false) => Self::TooLong,
            (DecodeError::TooLong { .. }, true) => Self::BodyTooLong,
            (DecodeError::Malformed { .. }, false) => Self::Malformed,
            (DecodeError::Malformed { .. }, true) => Self::BodyMalformed,
            (DecodeError::NotDeterministic { .. }, false) => Self::NotDeterministic,
            (DecodeError::NotDeterministic { .. }, true) => Self::BodyNotDeterministic,
            (DecodeError::Trailing { .. }, false) => Self::Trailing,
            (DecodeError::Trailing { .. }, true) => Self::BodyTrailing,
            (DecodeError::Envelope { .. }, _) => Self::Envelope,
            (other, _) => panic!("an error that this test does not know: {other}"),
        }
    }

    pub(crate) fn of_verifying(error: &VerifyError, envelope_is_good: bool) -> Self {
        match error {
            VerifyError::Decode(error) => Self::of_decoding(error, envelope_is_good),
            VerifyError::UnknownKey => Self::UnknownKey,
            VerifyError::WrongUse => Self::WrongUse,
            VerifyError::WrongAuthor => Self::WrongAuthor,
            VerifyError::KeyNotValid => Self::KeyNotValid,
            VerifyError::NotAdmitted => Self::NotAdmitted,
            VerifyError::WeakKey => Self::WeakKey,
            VerifyError::BadSignature => Self::BadSignature,
            other => panic!("an error that this test does not know: {other}"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Verified => "verified",
            Self::Decoded => "decoded",
            Self::Envelope => "envelope",
            Self::TooLong => "too long",
            Self::BodyTooLong => "the body is too long",
            Self::Malformed => "malformed",
            Self::BodyMalformed => "the body is malformed",
            Self::NotDeterministic => "not deterministic",
            Self::BodyNotDeterministic => "the body is not deterministic",
            Self::Trailing => "trailing bytes",
            Self::BodyTrailing => "trailing bytes in the body",
            Self::UnknownKey => "unknown key",
            Self::WrongUse => "wrong use",
            Self::WrongAuthor => "wrong author",
            Self::KeyNotValid => "key not valid",
            Self::NotAdmitted => "not admitted",
            Self::WeakKey => "weak key",
            Self::BadSignature => "bad signature",
            Self::SameNetwork => "roster: the same network",
            Self::Roster(reason) => return write!(f, "roster: {reason}"),
        })
    }
}
