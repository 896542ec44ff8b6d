//! The frame that the messages of a ceremony share, and the reading of bounded bytes.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | format, 1 |
//! | 1 | kind: 1 dealing of a generation, 2 dealing of a resharing, 3 enrolment, 4 sealed share, 5 confirmation |
//! | 32 | ceremony |
//! | 2 | index of the sender, 1 or more: of the dealer in kinds 1, 2 and 4, of the receiver in 3 and 5 |
//!
//! Numbers are big-endian, elements and scalars canonical (RFC 9496 §4.3.1 and §4.4), no element is
//! the identity, and nothing may follow the last field: one message has one encoding.

use super::{
    super::{
        EVALUATORS_MAX, ElementError, EvaluatorIndex,
        suite::{Element, decode_scalar},
    },
    plan::CeremonyId,
};

/// The only format so far. A node that reads another one cannot take part.
const FORMAT: u8 = 1;

/// The second byte of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Tag {
    GenerateDealing = 1,
    ReshareDealing = 2,
    Enrolment = 3,
    SealedShare = 4,
    Confirmation = 5,
}

/// Why bytes are not a message of a ceremony.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// It ends too early.
    #[error("it is cut short")]
    Short,
    /// Something follows its end.
    #[error("{0} bytes follow its end")]
    Trailing(usize),
    /// A format that this version does not speak.
    #[error("format {0} is not known")]
    Format(u8),
    /// Another kind of message.
    #[error("kind {0} is not the one expected here")]
    Kind(u8),
    /// The index 0, which nobody has.
    #[error("index 0 belongs to nobody")]
    Index,
    /// A list of none, or of more than [`EVALUATORS_MAX`].
    #[error("a list of {0} is not one of 1 to {EVALUATORS_MAX}")]
    Count(u16),
    /// Not an element, or the identity.
    #[error(transparent)]
    Element(#[from] ElementError),
    /// A scalar at or above the order of the group.
    #[error("not a canonical scalar")]
    Scalar,
}

/// What every message says of itself.
pub(super) trait Message: Sized {
    fn decode(bytes: &[u8]) -> Result<Self, MessageError>;
    fn ceremony(&self) -> CeremonyId;
    fn sender(&self) -> EvaluatorIndex;
}

/// Begins a message.
pub(super) fn header(tag: Tag, ceremony: CeremonyId, sender: EvaluatorIndex) -> Vec<u8> {
    let mut bytes = vec![FORMAT, tag as u8];
    bytes.extend(ceremony.as_bytes());
    bytes.extend(sender.get().to_be_bytes());
    bytes
}

/// Whether a message says that it belongs to another ceremony, whatever else it says.
pub(super) fn is_of_another(bytes: &[u8], ceremony: CeremonyId) -> bool {
    // Behind format and kind.
    bytes.get(2..34).is_some_and(|theirs| theirs != ceremony.as_bytes())
}

/// Takes fields off the front of a message.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads the header of a message that may have any of `tags`.
    pub(super) fn new(
        bytes: &'a [u8],
        tags: &[Tag],
    ) -> Result<(Self, Tag, CeremonyId, EvaluatorIndex), MessageError> {
        let mut reader = Self(bytes);
        let [format, kind] = reader.array()?;
        if format != FORMAT {
            return Err(MessageError::Format(format));
        }
        let known = tags.iter().find(|tag| **tag as u8 == kind);
        let tag = *known.ok_or(MessageError::Kind(kind))?;
        let ceremony = CeremonyId::new(reader.array()?);
        let sender = reader.index()?;
        Ok((reader, tag, ceremony, sender))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], MessageError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(MessageError::Short)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(super) fn index(&mut self) -> Result<EvaluatorIndex, MessageError> {
        EvaluatorIndex::new(u16::from_be_bytes(self.array()?)).ok_or(MessageError::Index)
    }

    /// The length of a list, 1 to [`EVALUATORS_MAX`].
    pub(super) fn count(&mut self) -> Result<usize, MessageError> {
        let count = u16::from_be_bytes(self.array()?);
        if count == 0 || usize::from(count) > EVALUATORS_MAX {
            return Err(MessageError::Count(count));
        }
        Ok(count.into())
    }

    pub(super) fn element(&mut self) -> Result<Element, MessageError> {
        Ok(Element::decode(self.array()?)?)
    }

    /// The encoding of a scalar, having seen that it is canonical.
    pub(super) fn scalar(&mut self) -> Result<[u8; 32], MessageError> {
        let bytes = self.array()?;
        decode_scalar(bytes).map(|_| bytes).ok_or(MessageError::Scalar)
    }

    pub(super) const fn end(self) -> Result<(), MessageError> {
        match self.0.len() {
            0 => Ok(()),
            trailing => Err(MessageError::Trailing(trailing)),
        }
    }
}
