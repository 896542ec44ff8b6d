//! The message of the third round: what a receiver has seen and concluded, as hashes.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::{
    super::{EvaluatorIndex, suite::two_bytes},
    dealing::Dealing,
    message::{Message, MessageError, Reader, Tag, header},
    plan::{CeremonyId, Plan, PublicKeySet},
};

/// What a receiver says to everybody once its shares are right: the same transcript as everybody
/// else's, or the ceremony failed. To be broadcast, signed by the receiver's organization.
///
/// `70 + 32 * dealers` bytes, 2,118 at most:
///
/// | bytes | field |
/// |---|---|
/// | 36 | header, kind 5 |
/// | 32 | transcript (below) |
/// | 2 | number of dealers |
/// | 32 each | SHA-256 of `"signpost/v1/ceremony/dealing"` and each dealing, in order of the dealers |
///
/// The transcript is SHA-256 of these, in a row: `"signpost/v1/ceremony/transcript"`; ceremony, 32
/// bytes; 1 for a generation, 2 for a resharing; threshold and number of receivers, 2 bytes each;
/// for a resharing the old key set; number of dealers, 2 bytes; each dealing, in order of the
/// dealers, its length in 2 bytes before it; the new key set. A key set is threshold and number of
/// shares, 2 bytes each; for each share its index, 2 bytes, and the public share, 32 bytes; the
/// group key, 32 bytes. The hashes of single dealings are there so that a difference has a name.
#[derive(Clone, PartialEq, Eq)]
pub struct Confirmation {
    pub(super) ceremony: CeremonyId,
    pub(super) receiver: EvaluatorIndex,
    pub(super) transcript: [u8; 32],
    pub(super) dealings: Vec<[u8; 32]>,
}

impl Confirmation {
    /// What follows from these dealings, in order of their dealers, and this outcome.
    pub(super) fn new<'a>(
        plan: &Plan,
        receiver: EvaluatorIndex,
        dealings: impl Iterator<Item = &'a Dealing>,
        keys: &PublicKeySet,
    ) -> Self {
        let mut transcript = Sha256::new_with_prefix(b"signpost/v1/ceremony/transcript");
        transcript.update(plan.ceremony.as_bytes());
        transcript.update([if plan.reshare.is_none() { 1 } else { 2 }]);
        transcript.update(two_bytes(plan.threshold));
        transcript.update(two_bytes(plan.receivers.len()));
        if let Some(reshare) = &plan.reshare {
            update_with_keys(&mut transcript, &reshare.old);
        }
        transcript.update(two_bytes(plan.dealers.len()));
        let dealings = dealings
            .map(|dealing| {
                let bytes = dealing.to_bytes();
                transcript.update(two_bytes(bytes.len()));
                transcript.update(&bytes);
                dealing_hash(&bytes)
            })
            .collect();
        update_with_keys(&mut transcript, keys);
        let transcript = transcript.finalize().into();
        Self { ceremony: plan.ceremony, receiver, transcript, dealings }
    }

    /// What another receiver confirms that has seen the same.
    #[must_use]
    pub fn by(&self, receiver: EvaluatorIndex) -> Self {
        Self { receiver, ..self.clone() }
    }

    /// The encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = header(Tag::Confirmation, self.ceremony, self.receiver);
        bytes.extend(self.transcript);
        bytes.extend(two_bytes(self.dealings.len()));
        bytes.extend(self.dealings.as_flattened());
        bytes
    }

    /// Decodes a confirmation.
    ///
    /// # Errors
    /// When the bytes are not the one encoding of a confirmation.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MessageError> {
        let (mut reader, _, ceremony, receiver) = Reader::new(bytes, &[Tag::Confirmation])?;
        let transcript = reader.array()?;
        let count = reader.count()?;
        let dealings = (0..count).map(|_| reader.array()).collect::<Result<_, _>>()?;
        reader.end()?;
        Ok(Self { ceremony, receiver, transcript, dealings })
    }

    /// The ceremony that it belongs to.
    #[must_use]
    pub const fn ceremony(&self) -> CeremonyId {
        self.ceremony
    }

    /// Who confirms, by its index in the new set.
    #[must_use]
    pub const fn receiver(&self) -> EvaluatorIndex {
        self.receiver
    }

    /// The hash that all receivers must have in common.
    #[must_use]
    pub const fn transcript(&self) -> [u8; 32] {
        self.transcript
    }
}

impl Message for Confirmation {
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

impl fmt::Debug for Confirmation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confirmation")
            .field("ceremony", &self.ceremony)
            .field("receiver", &self.receiver)
            .finish_non_exhaustive()
    }
}

/// What a confirmation says of one dealing.
pub(super) fn dealing_hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::new_with_prefix(b"signpost/v1/ceremony/dealing").chain_update(bytes).finalize().into()
}

fn update_with_keys(transcript: &mut Sha256, keys: &PublicKeySet) {
    transcript.update(two_bytes(keys.threshold()));
    transcript.update(two_bytes(keys.shares().len()));
    for (index, share) in keys.shares() {
        transcript.update(index.get().to_be_bytes());
        transcript.update(share.to_bytes());
    }
    transcript.update(keys.group_public().to_bytes());
}
