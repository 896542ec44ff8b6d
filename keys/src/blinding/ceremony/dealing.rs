//! The public messages of the first round: what a dealer commits to, and the key of a receiver.

use std::fmt;

use super::{
    super::{
        EvaluatorIndex,
        suite::{Element, two_bytes},
    },
    message::{Message, MessageError, Reader, Tag, header},
    plan::CeremonyId,
};

/// Bytes of a proof of knowledge: an element and a scalar, as RFC 9591 §6.2 encodes a signature.
pub(super) const PROOF_BYTES: usize = 64;

/// What a dealer shows to everybody: commitments to its polynomial and an ephemeral key. To be
/// broadcast, signed by the dealer's organization.
///
/// `70 + 32 * threshold` bytes, and 64 more when a key is generated; 2,182 at most:
///
/// | bytes | field |
/// |---|---|
/// | 36 | header, kind 1 or 2 |
/// | 32 | ephemeral key of the dealer: its shares are sealed with it; others seal to it in kind 1 |
/// | 2 | number of commitments, which is the threshold |
/// | 32 each | commitments to the coefficients, lowest first |
/// | 64 | kind 1 only: proof of knowledge of the lowest coefficient (FROST, Komlo and Goldberg, SAC 2020, figure 1) |
#[derive(Clone)]
pub struct Dealing {
    pub(super) ceremony: CeremonyId,
    pub(super) dealer: EvaluatorIndex,
    pub(super) key: Element,
    pub(super) commitments: Vec<Element>,
    /// In key generation only.
    pub(super) proof: Option<[u8; PROOF_BYTES]>,
}

impl Dealing {
    /// The encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let tag = if self.proof.is_some() { Tag::GenerateDealing } else { Tag::ReshareDealing };
        let mut bytes = header(tag, self.ceremony, self.dealer);
        bytes.extend(self.key.bytes);
        bytes.extend(two_bytes(self.commitments.len()));
        for commitment in &self.commitments {
            bytes.extend(commitment.bytes);
        }
        bytes.extend(self.proof.iter().flatten());
        bytes
    }

    /// Decodes a dealing. It is not checked against any plan or key.
    ///
    /// # Errors
    /// When the bytes are not the one encoding of a dealing.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MessageError> {
        let (mut reader, tag, ceremony, dealer) =
            Reader::new(bytes, &[Tag::GenerateDealing, Tag::ReshareDealing])?;
        let key = reader.element()?;
        let count = reader.count()?;
        let commitments = (0..count).map(|_| reader.element()).collect::<Result<_, _>>()?;
        let proof = if tag == Tag::GenerateDealing {
            let mut proof = [0; PROOF_BYTES];
            proof[..32].copy_from_slice(&reader.element()?.bytes);
            proof[32..].copy_from_slice(&reader.scalar()?);
            Some(proof)
        } else {
            None
        };
        reader.end()?;
        Ok(Self { ceremony, dealer, key, commitments, proof })
    }

    /// The ceremony that it belongs to.
    #[must_use]
    pub const fn ceremony(&self) -> CeremonyId {
        self.ceremony
    }

    /// Who deals, by its index in the old set, or its only one.
    #[must_use]
    pub const fn dealer(&self) -> EvaluatorIndex {
        self.dealer
    }

    /// Whether two dealings show that their dealer cheated: one ceremony, one dealer, and yet
    /// different. It is evidence only with the dealer's signature under both.
    #[must_use]
    pub fn contradicts(&self, other: &Self) -> bool {
        self.ceremony == other.ceremony
            && self.dealer == other.dealer
            && self.to_bytes() != other.to_bytes()
    }
}

impl Message for Dealing {
    fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        Self::from_bytes(bytes)
    }

    fn ceremony(&self) -> CeremonyId {
        self.ceremony
    }

    fn sender(&self) -> EvaluatorIndex {
        self.dealer
    }
}

impl fmt::Debug for Dealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dealing")
            .field("ceremony", &self.ceremony)
            .field("dealer", &self.dealer)
            .field("commitments", &self.commitments.len())
            .finish_non_exhaustive()
    }
}

/// The ephemeral key that dealers of a resharing seal to, from each receiver. To be broadcast,
/// signed by the receiver's organization. In key generation the dealing carries it.
///
/// 68 bytes: header (kind 3), ephemeral key.
#[derive(Clone)]
pub struct Enrolment {
    pub(super) ceremony: CeremonyId,
    pub(super) receiver: EvaluatorIndex,
    pub(super) key: Element,
}

impl Enrolment {
    /// The encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = header(Tag::Enrolment, self.ceremony, self.receiver);
        bytes.extend(self.key.bytes);
        bytes
    }

    /// Decodes an enrolment.
    ///
    /// # Errors
    /// When the bytes are not the one encoding of an enrolment.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MessageError> {
        let (mut reader, _, ceremony, receiver) = Reader::new(bytes, &[Tag::Enrolment])?;
        let key = reader.element()?;
        reader.end()?;
        Ok(Self { ceremony, receiver, key })
    }

    /// The ceremony that it belongs to.
    #[must_use]
    pub const fn ceremony(&self) -> CeremonyId {
        self.ceremony
    }

    /// Whose key it is, by its index in the new set.
    #[must_use]
    pub const fn receiver(&self) -> EvaluatorIndex {
        self.receiver
    }
}

impl Message for Enrolment {
    fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        Self::from_bytes(bytes)
    }

    fn ceremony(&self) -> CeremonyId {
        self.ceremony
    }

    fn sender(&self) -> EvaluatorIndex {
        self.receiver
    }
}

impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrolment")
            .field("ceremony", &self.ceremony)
            .field("receiver", &self.receiver)
            .finish_non_exhaustive()
    }
}
