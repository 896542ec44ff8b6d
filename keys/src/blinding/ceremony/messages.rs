//! The messages of one attempt at a ceremony, as whoever drives it keeps them.

use std::num::NonZeroU16;

use minicbor::{Decode, Encode};
use signpost_protocol::{
    codec::{self, Bounded, ByteString, DecodeError},
    limits::EVALUATORS_MAX,
};

use super::super::EvaluatorIndex;

/// One message of each sender in a network of the most evaluators, and a second one that contradicts
/// it. A third adds nothing.
const LIST_MAX: usize = 2 * EVALUATORS_MAX;
/// The longest message has 2,182 bytes, a dealing with 64 commitments.
const MESSAGE_BYTES_MAX: usize = 2_300;
/// All lists full, with at most 7 bytes of CBOR about each message and 3 about each list.
const BYTES_MAX: usize = 4 * (LIST_MAX * (MESSAGE_BYTES_MAX + 7) + 3) + 1;

/// The messages of one attempt known so far: exact bytes, each with the sender that its signature
/// shows, by its index in the role in which it sends such messages.
///
/// The order does not matter, nor does the same message twice. Two different messages of one sender
/// may be there; two are enough, so whoever gathers them can leave out a third. Own messages may be
/// among them, and had better be: a party that lost its seed is kept from contradicting itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// [`super::Dealing`]s, by the index of the dealer.
    pub dealings: Vec<(EvaluatorIndex, Vec<u8>)>,
    /// [`super::Enrolment`]s, by the index of the receiver.
    pub enrolments: Vec<(EvaluatorIndex, Vec<u8>)>,
    /// [`super::SealedShare`]s, by the index of the dealer. Those for others do no harm.
    pub shares: Vec<(EvaluatorIndex, Vec<u8>)>,
    /// [`super::Confirmation`]s, by the index of the receiver.
    pub confirmations: Vec<(EvaluatorIndex, Vec<u8>)>,
}

/// The form on disk: an array of the four lists, deterministic CBOR.
#[derive(Encode, Decode)]
#[cbor(array)]
struct Kept {
    #[n(0)]
    dealings: List,
    #[n(1)]
    enrolments: List,
    #[n(2)]
    shares: List,
    #[n(3)]
    confirmations: List,
}

type List = Bounded<Entry, LIST_MAX>;

/// An array of index and message.
#[derive(Encode, Decode)]
#[cbor(array)]
struct Entry {
    #[n(0)]
    sender: NonZeroU16,
    #[n(1)]
    message: ByteString<MESSAGE_BYTES_MAX>,
}

impl Messages {
    /// The form to keep on disk: CBOR, at most 300 kB. Nothing in it is secret.
    ///
    /// `None` when a list has more than 32 messages, or a message more than 2,300 bytes, which none
    /// has that a party of a ceremony among 16 sends. Sealed shares for others are best left out.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let kept = Kept {
            dealings: list(&self.dealings)?,
            enrolments: list(&self.enrolments)?,
            shares: list(&self.shares)?,
            confirmations: list(&self.confirmations)?,
        };
        Some(codec::encode(&kept))
    }

    /// Reads what [`Self::to_bytes`] gave, in the same order.
    ///
    /// # Errors
    /// When the bytes are anything else, or hold more than it gives.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let kept: Kept = codec::decode("messages of a ceremony", bytes, BYTES_MAX)?;
        Ok(Self {
            dealings: messages(kept.dealings),
            enrolments: messages(kept.enrolments),
            shares: messages(kept.shares),
            confirmations: messages(kept.confirmations),
        })
    }
}

fn list(messages: &[(EvaluatorIndex, Vec<u8>)]) -> Option<List> {
    if messages.len() > LIST_MAX {
        return None;
    }
    let entries = messages.iter().map(|(sender, message)| {
        let message = ByteString::new(message.clone())?;
        Some(Entry { sender: NonZeroU16::new(sender.get())?, message })
    });
    Bounded::new(entries.collect::<Option<_>>()?)
}

fn messages(list: List) -> Vec<(EvaluatorIndex, Vec<u8>)> {
    list.into_inner()
        .into_iter()
        .filter_map(|Entry { sender, message }| {
            Some((EvaluatorIndex::new(sender.get())?, message.into_inner()))
        })
        .collect()
}
