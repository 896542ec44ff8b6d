//! Bounded decoding.
//!
//! Every frame is length-checked before it is decoded, lists are capped while they are read, and
//! bytes after the message or in any but the deterministic form are refused: two readers can never
//! disagree on what was said.

use minicbor::{Decode, Decoder, Encode, Encoder, decode as cbor_decode, encode as cbor_encode};

use crate::deterministic::{self, Fault};

/// Why bytes are not the message they should be: the sender's fault, always.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Longer than the cap for this kind of message.
    #[error("{what} of {length} bytes is over the cap of {max}")]
    TooLong {
        /// The kind of message.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The cap in bytes.
        max: usize,
    },
    /// Not CBOR, or not of the expected shape.
    #[error("malformed {what}: {source}")]
    Malformed {
        /// The kind of message.
        what: &'static str,
        /// Where and why decoding stopped.
        source: cbor_decode::Error,
    },
    /// Not deterministic CBOR (SPEC §1).
    #[error("{what} is not deterministic CBOR at byte {at}: {rule}")]
    NotDeterministic {
        /// The kind of message.
        what: &'static str,
        /// Where, in bytes from the start.
        at: usize,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// Bytes follow the message.
    #[error("{what} is followed by {extra} stray bytes")]
    Trailing {
        /// The kind of message.
        what: &'static str,
        /// How many bytes follow.
        extra: usize,
    },
    /// The COSE envelope breaks a rule of SPEC §2.
    #[error("{what}: {rule}")]
    Envelope {
        /// The kind of statement.
        what: &'static str,
        /// The rule that it breaks.
        rule: &'static str,
    },
}

/// Encodes `message` as deterministic CBOR: definite lengths, shortest integers, ascending keys.
#[must_use]
pub fn encode<T: Encode<()>>(message: &T) -> Vec<u8> {
    minicbor::to_vec(message).expect("writing to a Vec cannot fail")
}

/// Decodes one message of at most `max` bytes that fills `bytes` exactly.
///
/// # Errors
/// When it is too long, not deterministic CBOR, malformed, or followed by further bytes.
pub fn decode<'b, T: Decode<'b, ()>>(
    what: &'static str,
    bytes: &'b [u8],
    max: usize,
) -> Result<T, DecodeError> {
    if bytes.len() > max {
        return Err(DecodeError::TooLong { what, length: bytes.len(), max });
    }
    let length = deterministic::item_length(bytes).map_err(|fault| match fault {
        Fault::Ends => DecodeError::Malformed { what, source: cbor_decode::Error::end_of_input() },
        Fault::Breaks { at, rule } => DecodeError::NotDeterministic { what, at, rule },
    })?;
    match bytes.len() - length {
        0 => Decoder::new(bytes).decode().map_err(|source| DecodeError::Malformed { what, source }),
        extra => Err(DecodeError::Trailing { what, extra }),
    }
}

/// Reads the value of an optional field whose choices later versions may add to: one that is not known
/// here is passed over and taken for absent, wherever in the value it stands.
///
/// # Errors
/// When the value is malformed otherwise.
pub fn known_or_absent<'b, C, T: Decode<'b, C>>(
    d: &mut Decoder<'b>,
    ctx: &mut C,
) -> Result<Option<T>, cbor_decode::Error> {
    let start = d.position();
    match Option::<T>::decode(d, ctx) {
        // Reading stopped somewhere inside.
        Err(error) if error.is_unknown_variant() => {
            d.set_position(start);
            d.skip().map(|()| None)
        }
        read => read,
    }
}

/// A list that refuses more than `MAX` items while it is being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounded<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> Bounded<T, MAX> {
    /// The most items it may hold.
    pub const MAX: usize = MAX;

    /// Wraps `items`; `None` when there are more than `MAX`.
    #[must_use]
    pub fn new(items: Vec<T>) -> Option<Self> {
        (items.len() <= MAX).then_some(Self(items))
    }

    /// The items, owned.
    #[must_use]
    pub fn into_inner(self) -> Vec<T> {
        self.0
    }
}

impl<T, const MAX: usize> Default for Bounded<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MAX: usize> std::ops::Deref for Bounded<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<C, T: Encode<C>, const MAX: usize> Encode<C> for Bounded<T, MAX> {
    fn encode<W: cbor_encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), cbor_encode::Error<W::Error>> {
        self.0.encode(e, ctx)
    }
}

impl<'b, C, T: Decode<'b, C>, const MAX: usize> Decode<'b, C> for Bounded<T, MAX> {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, cbor_decode::Error> {
        let at = d.position();
        let mut items = Vec::new();
        for item in d.array_iter_with(ctx)? {
            if items.len() == MAX {
                return Err(cbor_decode::Error::message("too many items in a list").at(at));
            }
            items.push(item?);
        }
        Ok(Self(items))
    }
}

/// UTF-8 text of at most `MAX` bytes without control characters: safe to show and to log.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// Wraps `text`; `None` when it is over `MAX` bytes or holds a control character.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (text.len() <= MAX && !text.chars().any(char::is_control)).then(|| Self(text.to_owned()))
    }

    /// As much of `text` as fits, with a space for every control character: for reasons from below,
    /// which may be of any length.
    #[must_use]
    pub fn shortened(text: &str) -> Self {
        let longest = MAX.min(text.len());
        let end = (0..=longest).rfind(|at| text.is_char_boundary(*at)).unwrap_or(0);
        // Every control character is at least as long as a space.
        Self(text[..end].replace(char::is_control, " "))
    }
}

impl<const MAX: usize> std::ops::Deref for Text<MAX> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> std::fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const MAX: usize> std::fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&self.0, f)
    }
}

impl<C, const MAX: usize> Encode<C> for Text<MAX> {
    fn encode<W: cbor_encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), cbor_encode::Error<W::Error>> {
        e.str(&self.0)?;
        Ok(())
    }
}

impl<'b, C, const MAX: usize> Decode<'b, C> for Text<MAX> {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, cbor_decode::Error> {
        let at = d.position();
        Self::new(d.str()?).ok_or_else(|| {
            cbor_decode::Error::message("text is too long or holds a control character").at(at)
        })
    }
}

/// A byte string of at most `MAX` bytes.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ByteString<const MAX: usize>(Vec<u8>);

impl<const MAX: usize> ByteString<MAX> {
    /// Wraps `bytes`; `None` when there are more than `MAX`.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() <= MAX).then_some(Self(bytes))
    }

    /// The bytes, owned.
    #[must_use]
    pub fn into_inner(self) -> Vec<u8> {
        self.0
    }
}

impl<const MAX: usize> std::ops::Deref for ByteString<MAX> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const MAX: usize> std::fmt::Debug for ByteString<MAX> {
    /// The length only: contents may be personal data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

impl<C, const MAX: usize> Encode<C> for ByteString<MAX> {
    fn encode<W: cbor_encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), cbor_encode::Error<W::Error>> {
        e.bytes(&self.0)?;
        Ok(())
    }
}

impl<'b, C, const MAX: usize> Decode<'b, C> for ByteString<MAX> {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, cbor_decode::Error> {
        let at = d.position();
        Self::new(d.bytes()?.to_vec())
            .ok_or_else(|| cbor_decode::Error::message("byte string is too long").at(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_texts_and_byte_strings_stop_at_their_caps() {
        let three = encode(&vec![1_u8, 2, 3]);
        assert!(decode::<Bounded<u8, 3>>("list", &three, 64).is_ok());
        assert!(decode::<Bounded<u8, 2>>("list", &three, 64).is_err());
        let text = encode(&"abc".to_owned());
        assert!(decode::<Text<3>>("text", &text, 64).is_ok());
        assert!(decode::<Text<2>>("text", &text, 64).is_err());
        assert!(decode::<Text<8>>("text", &encode(&"a\nb".to_owned()), 64).is_err());
        let bytes = encode(&ByteString::<3>::new(vec![1, 2, 3]).expect("fits"));
        assert!(decode::<ByteString<3>>("bytes", &bytes, 64).is_ok());
        assert!(decode::<ByteString<2>>("bytes", &bytes, 64).is_err());
    }

    #[test]
    fn a_text_is_shortened_at_a_character_and_keeps_no_control() {
        assert_eq!(&*Text::<8>::shortened("short"), "short");
        assert_eq!(&*Text::<4>::shortened("a\nb\u{85}c"), "a b");
        assert_eq!(&*Text::<4>::shortened("abcé"), "abc");
        assert_eq!(&*Text::<5>::shortened("abcé"), "abcé");
    }

    #[test]
    fn over_long_and_trailing_bytes_are_refused() {
        assert!(matches!(decode::<u8>("n", &[1], 0), Err(DecodeError::TooLong { .. })));
        assert!(matches!(
            decode::<u8>("n", &[1, 2], 8),
            Err(DecodeError::Trailing { extra: 1, .. })
        ));
        assert!(matches!(decode::<u8>("n", &[0x20], 8), Err(DecodeError::Malformed { .. })));
        assert!(matches!(decode::<u8>("n", &[0xff], 8), Err(DecodeError::NotDeterministic { .. })));
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        // An array that claims 2^60 items, and a byte string that claims as many bytes.
        let array = [0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0];
        assert!(decode::<Bounded<u8, 1000>>("list", &array, 64).is_err());
        let bytes = [0x5b, 0x10, 0, 0, 0, 0, 0, 0, 0];
        assert!(decode::<ByteString<1000>>("bytes", &bytes, 64).is_err());
    }
}
