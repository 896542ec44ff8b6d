//! The source of a pointer: the producer system whose extract it came with.
//!
//! A nightly extract says what *one* system holds. Only with the system's name beside each pointer
//! can "equal to the file" be told from "everything that other systems published, deleted". The
//! name is this node's own affair: it is stored beside the pointer, not signed, and never leaves.

use std::{fmt, str::FromStr};

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

/// Bytes of a [`Source`]: enough for a host name or `SYSTEM-site-table`.
pub const SOURCE_BYTES_MAX: usize = 64;

/// A producer system's name: 1 to [`SOURCE_BYTES_MAX`] letters, digits, `.`, `_` and `-` (ASCII).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(String);

/// The text cannot be the name of a source. Does not repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of a source has 1 to {SOURCE_BYTES_MAX} letters, digits, dots, hyphens and underscores"
)]
pub struct SourceError;

impl Source {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Source {
    /// `default`: for organizations with one producer system, who need not think of names.
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let fits = (1..=SOURCE_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain);
        fits.then(|| Self(text.to_owned())).ok_or(SourceError)
    }
}

impl<C> Encode<C> for Source {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.str(&self.0)?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Source {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        d.str()?.parse().map_err(|error| decode::Error::custom(error).at(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for text in ["default", "PAS.site-2_new", &"x".repeat(SOURCE_BYTES_MAX)] {
            assert_eq!(text.parse::<Source>().unwrap().as_str(), text);
        }
        for text in ["", "a b", "a/b", "é", "a\0", &"x".repeat(SOURCE_BYTES_MAX + 1)] {
            assert_eq!(text.parse::<Source>(), Err(SourceError), "{text:?}");
        }
    }
}
