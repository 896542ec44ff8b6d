//! Who spoiled a ceremony, and how.

use std::fmt;

use super::{super::EvaluatorIndex, message::MessageError};

/// A party of a ceremony, by what it does there. The dealers of a resharing are numbered as in the
/// old set and its receivers as in the new one, so one number may be two organizations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// One that deals, by its index in the old set; in key generation by its only index.
    Dealer(EvaluatorIndex),
    /// One that is to hold a share afterwards, by its index in the new set.
    Receiver(EvaluatorIndex),
}

impl Party {
    /// Its index in that role.
    #[must_use]
    pub const fn index(self) -> EvaluatorIndex {
        match self {
            Self::Dealer(index) | Self::Receiver(index) => index,
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dealer(index) => write!(f, "dealer {index}"),
            Self::Receiver(index) => write!(f, "receiver {index}"),
        }
    }
}

/// The messages of a ceremony.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageKind {
    /// A dealer's commitments: [`super::Dealing`].
    Dealing,
    /// A receiver's key: [`super::Enrolment`].
    Enrolment,
    /// A share for one receiver: [`super::SealedShare`].
    SealedShare,
    /// A receiver's view of the whole: [`super::Confirmation`].
    Confirmation,
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dealing => "dealing",
            Self::Enrolment => "enrolment",
            Self::SealedShare => "sealed share",
            Self::Confirmation => "confirmation",
        })
    }
}

/// Why a ceremony cannot go on. The attempt is over when a round's `finish` gives one; one that
/// only `accept` gave leaves the round as it was, unless it says that a party contradicted itself
/// or confirmed something else.
///
/// It is what this party saw. The signed messages show most of it to others; not, of course, that
/// one is missing, nor [`Reason::NotOpened`] and [`Reason::WrongShare`]: there a receiver that lies
/// looks like a dealer that cheated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// One party is at fault.
    #[error("{party}: {reason}")]
    At {
        /// Who.
        party: Party,
        /// How.
        reason: Reason,
    },
    /// A receiver confirms other dealings of these dealers than came here. It cannot be told
    /// from here whether a dealer showed two or the receiver lies; the dealings as their dealers
    /// signed them can: by [`super::Dealing::contradicts`] they convict a dealer, and a receiver
    /// that has no other to show lied.
    #[error(
        "receiver {receiver} has seen other dealings of the dealers {dealers:?}: compare the signed ones"
    )]
    Disputed {
        /// Who confirmed something else.
        receiver: EvaluatorIndex,
        /// Whose dealings differ, in order, at least one.
        dealers: Vec<EvaluatorIndex>,
    },
    /// Nobody can be named.
    #[error("{0}: nobody in particular is at fault; start another attempt")]
    Unexplained(Unexplained),
}

/// What one party did wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// A message that the round needs did not come.
    #[error("its {0} is missing")]
    Missing(MessageKind),
    /// It sent a message that this ceremony does not expect of it.
    #[error("no {0} is expected of it")]
    NotExpected(MessageKind),
    /// Bytes that are no such message.
    #[error("its message is malformed: {0}")]
    Malformed(#[from] MessageError),
    /// A message of another ceremony, replayed or by mistake.
    #[error("its message belongs to another ceremony")]
    OtherCeremony,
    /// A message that gives another party as its sender.
    #[error("its message claims to come from {0}")]
    OtherSender(EvaluatorIndex),
    /// A share for somebody else.
    #[error("its sealed share is for receiver {0}")]
    OtherReceiver(EvaluatorIndex),
    /// A dealing for another kind of ceremony: with a proof where none belongs, or without one.
    #[error("its dealing is for another kind of ceremony")]
    OtherKind,
    /// Not exactly as many commitments as the threshold says, so its polynomial has the wrong
    /// degree.
    #[error("its dealing has {got} commitments instead of {expected}")]
    Degree {
        /// The threshold.
        expected: usize,
        /// The commitments in the dealing.
        got: usize,
    },
    /// Its proof that it knows what it deals does not hold (key generation).
    #[error("its proof of knowledge does not hold")]
    WrongProof,
    /// It does not deal its share of the old key (resharing).
    #[error("it does not deal its share of the old key")]
    OtherSecret,
    /// The sealed share does not open.
    #[error("its sealed share does not open")]
    NotOpened,
    /// The share is not a canonical scalar, or not on the polynomial committed to.
    #[error("its share is not the one that it committed to")]
    WrongShare,
    /// Two different messages where one is due.
    #[error("it sent two different messages: {0}")]
    Contradiction(MessageKind),
    /// It has seen the same dealings and drawn another conclusion, or contradicts itself in one
    /// confirmation.
    #[error("its confirmation does not follow from the dealings")]
    WrongConfirmation,
}

/// What came out wrong without anybody to name. Each takes luck of one in 2^250, or a defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unexplained {
    /// The shares that were dealt do not amount to one key with this threshold, or not to the old.
    #[error("the dealt shares do not amount to the key")]
    NotOneKey,
    /// A share or a key came out as zero.
    #[error("a share came out as zero")]
    Zero,
    /// The library for key generation refused, or disagreed with our own reckoning.
    #[error("key generation failed")]
    Generation,
}

impl Fault {
    pub(super) const fn at(party: Party, reason: Reason) -> Self {
        Self::At { party, reason }
    }
}
