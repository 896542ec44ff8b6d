//! The deterministic form of CBOR (RFC 8949 §4.2.1), checked before anything is decoded.
//!
//! Decoders differ in what they make of a key that comes twice, an over-long integer or a length
//! that is left open; signed bytes that two of them read differently would be two statements under
//! one signature. So there is one encoding of each value, and everything else is refused: integers
//! and lengths in their shortest form, definite lengths, map keys ascending and each once.
//! Signpost uses integers, byte and text strings, arrays, maps, `false`, `true` and `null`; tags,
//! floating point and other simple values have no place in a message, in unknown fields neither.
//!
//! Left to the decoders: whether the value is the one expected, and that text is UTF-8.

/// Arrays and maps inside each other. Today's messages need 6; unknown fields may need a few more.
pub(crate) const DEPTH_MAX: usize = 16;

/// Why bytes are not deterministic CBOR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// They end before the item does.
    Ends,
    /// The item breaks a rule.
    Breaks { at: usize, rule: &'static str },
}

/// The length of the one item that `bytes` begin with.
pub(crate) fn item_length(bytes: &[u8]) -> Result<usize, Fault> {
    let mut reader = Reader { bytes, at: 0 };
    reader.item(0)?;
    Ok(reader.at)
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    fn fault<T>(&self, rule: &'static str) -> Result<T, Fault> {
        Err(Fault::Breaks { at: self.at, rule })
    }

    fn take(&mut self, count: u64) -> Result<&'b [u8], Fault> {
        let rest = &self.bytes[self.at..];
        match usize::try_from(count).ok().and_then(|count| rest.get(..count)) {
            Some(taken) => {
                self.at += taken.len();
                Ok(taken)
            }
            None => Err(Fault::Ends),
        }
    }

    /// Reads a head: the major type, and its argument in the shortest form.
    fn head(&mut self) -> Result<(u8, u64), Fault> {
        let first = self.take(1)?[0];
        let (major, short) = (first >> 5, first & 0x1f);
        let (length, least) = match short {
            0..24 => return Ok((major, u64::from(short))),
            _ if major == 7 => return self.fault("only false, true and null are allowed"),
            24 => (1, 24),
            25 => (2, 1 << 8),
            26 => (4, 1 << 16),
            27 => (8, 1 << 32),
            _ => return self.fault("lengths must be definite"),
        };
        let argument =
            self.take(length)?.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        if argument < least {
            return self.fault("integers and lengths must be in their shortest form");
        }
        Ok((major, argument))
    }

    fn item(&mut self, depth: usize) -> Result<(), Fault> {
        let (major, argument) = self.head()?;
        if matches!(major, 4 | 5) && depth == DEPTH_MAX {
            return self.fault("arrays and maps are nested too deeply");
        }
        match major {
            0 | 1 => Ok(()),
            2 | 3 => self.take(argument).map(drop),
            // Every turn reads at least a byte, so a claimed count costs nothing.
            4 => (0..argument).try_for_each(|_| self.item(depth + 1)),
            5 => self.map(argument, depth),
            7 if (20..=22).contains(&argument) => Ok(()),
            7 => self.fault("only false, true and null are allowed"),
            _ => self.fault("tags are not allowed"),
        }
    }

    fn map(&mut self, pairs: u64, depth: usize) -> Result<(), Fault> {
        let mut last: Option<&[u8]> = None;
        for _ in 0..pairs {
            let start = self.at;
            self.item(depth + 1)?;
            let key = &self.bytes[start..self.at];
            if last.is_some_and(|last| last >= key) {
                return self.fault("map keys must ascend, each once");
            }
            last = Some(key);
            self.item(depth + 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn broken_rule(bytes: &[u8]) -> Option<&'static str> {
        match item_length(bytes) {
            Err(Fault::Breaks { rule, .. }) => Some(rule),
            _ => None,
        }
    }

    #[test]
    fn deterministic_items_have_a_length() {
        for (text, length) in [
            ("00", 1),
            ("1818", 2),
            ("190100", 3),
            ("1bffffffffffffffff", 9),
            ("20", 1),
            ("43010203", 4),
            ("6161", 2),
            ("8201820203", 5),
            ("a200f401f6", 5),
            ("a2181800190100f5", 8),
            ("0000", 1),
        ] {
            let bytes = hex::decode(text).expect("hexadecimal");
            assert_eq!(item_length(&bytes), Ok(length), "{text}");
        }
    }

    #[test]
    fn every_other_spelling_is_refused_with_its_rule() {
        for (text, rule) in [
            ("1817", "integers and lengths must be in their shortest form"),
            ("1900ff", "integers and lengths must be in their shortest form"),
            ("1a0000ffff", "integers and lengths must be in their shortest form"),
            ("1b00000000ffffffff", "integers and lengths must be in their shortest form"),
            ("580101", "integers and lengths must be in their shortest form"),
            ("9f00ff", "lengths must be definite"),
            ("bf0000ff", "lengths must be definite"),
            ("5f4100ff", "lengths must be definite"),
            ("a200000000", "map keys must ascend, each once"),
            ("a201000000", "map keys must ascend, each once"),
            ("c000", "tags are not allowed"),
            ("f7", "only false, true and null are allowed"),
            ("f93c00", "only false, true and null are allowed"),
            ("ff", "only false, true and null are allowed"),
        ] {
            let bytes = hex::decode(text).expect("hexadecimal");
            assert_eq!(broken_rule(&bytes), Some(rule), "{text}");
        }
    }

    #[test]
    fn an_item_that_ends_early_is_told_apart() {
        for text in ["", "18", "430102", "8101", "a100", "9b1000000000000000", "5bffffffffffffffff"]
        {
            let bytes = hex::decode(text).expect("hexadecimal");
            let expected = if text == "8101" { Ok(2) } else { Err(Fault::Ends) };
            assert_eq!(item_length(&bytes), expected, "{text}");
        }
    }

    #[test]
    fn nesting_ends_at_its_cap() {
        let nested = |depth: usize| [vec![0x81; depth], vec![0]].concat();
        assert_eq!(item_length(&nested(DEPTH_MAX)), Ok(DEPTH_MAX + 1));
        let rule = broken_rule(&nested(DEPTH_MAX + 1));
        assert_eq!(rule, Some("arrays and maps are nested too deeply"));
        assert!(item_length(&vec![0x81; 1 << 20]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_a_length_is_within_them(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            if let Ok(length) = item_length(&bytes) {
                prop_assert!((1..=bytes.len()).contains(&length));
                prop_assert_eq!(item_length(&bytes[..length]), Ok(length));
            }
        }
    }
}
