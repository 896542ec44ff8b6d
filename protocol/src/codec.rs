//! Bounded decoding.
//!
//! Every frame is length-checked before it is decoded, lists are capped while they are read, and
//! bytes after the message are refused: two readers can never disagree on what was said.

use minicbor::{Decode, Decoder, Encode, Encoder, decode as cbor_decode, encode as cbor_encode};

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
/// When it is too long, malformed, or followed by further bytes.
pub fn decode<'b, T: Decode<'b, ()>>(
    what: &'static str,
    bytes: &'b [u8],
    max: usize,
) -> Result<T, DecodeError> {
    if bytes.len() > max {
        return Err(DecodeError::TooLong { what, length: bytes.len(), max });
    }
    let mut decoder = Decoder::new(bytes);
    let message = decoder.decode().map_err(|source| DecodeError::Malformed { what, source })?;
    match bytes.len() - decoder.position() {
        0 => Ok(message),
        extra => Err(DecodeError::Trailing { what, extra }),
    }
}

/// A list that refuses more than `MAX` items while it is being read.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
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
