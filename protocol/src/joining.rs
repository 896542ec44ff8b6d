//! How an applicant and the node that invited it speak, inside `hello`.
//!
//! A stranger that holds an [`Invitation`](crate::invitation::Invitation) hands in its inception and
//! its keys, asks to be dialled back, and asks from time to time where its application stands. The
//! code of the invitation stands in each of these, and names the application; the peer's transport
//! key, which the connection proves, must stay the same. Whether it becomes a member is decided by
//! the stewards, who compare fingerprints with its admins by other means: nothing here admits anybody.

use minicbor::{Decode, Encode};

use crate::{
    codec::{ByteString, Text},
    ids::InvitationCode,
    limits,
};

/// What an applicant asks of the node that invited it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Joining {
    /// "This is who we are."
    #[n(0)]
    Inception {
        /// Of the invitation.
        #[n(0)]
        code: InvitationCode,
        /// The signed [`Inception`](crate::roster::Inception).
        #[n(1)]
        inception: ByteString<{ limits::JOINING_INCEPTION_BYTES_MAX }>,
    },
    /// "These are our nodes and their keys."
    #[n(1)]
    Keys {
        /// Of the invitation.
        #[n(0)]
        code: InvitationCode,
        /// The signed statement of the organization's keys.
        #[n(1)]
        keys: ByteString<{ limits::JOINING_KEYS_BYTES_MAX }>,
    },
    /// "Please try to connect to me, by the key that I speak with, at this address." The connection
    /// that is tried may stand for a moment at the applicant's side; a hello that was sent over it and
    /// has failed is sent again.
    #[n(2)]
    DialBack {
        /// Of the invitation.
        #[n(0)]
        code: InvitationCode,
        /// A multiaddr without peer id, e.g. `/ip4/192.0.2.1/tcp/4001`.
        #[n(1)]
        address: Text<{ limits::ADDRESS_BYTES_MAX }>,
    },
    /// "Where does my application stand?"
    #[n(3)]
    Progress {
        /// Of the invitation.
        #[n(0)]
        code: InvitationCode,
    },
}

impl Joining {
    /// The code of the invitation that it shows.
    #[must_use]
    pub const fn code(&self) -> &InvitationCode {
        match self {
            Self::Inception { code, .. }
            | Self::Keys { code, .. }
            | Self::DialBack { code, .. }
            | Self::Progress { code } => code,
        }
    }
}

/// The answer to [`Joining`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum JoiningAnswer {
    /// Kept for the admins of the answering organization.
    #[n(0)]
    Noted,
    /// This node knows no invitation with that code: forged, used up, withdrawn or expired. Ask for
    /// a new one.
    #[n(1)]
    UnknownCode,
    /// As many applications as this node keeps wait for its admins: try again when they have worked
    /// them off.
    #[n(2)]
    Full,
    /// What was sent cannot be used.
    #[n(3)]
    Refused(
        /// One sentence: what is wrong, and what to do.
        #[n(0)]
        Text<{ limits::JOINING_REASON_BYTES_MAX }>,
    ),
    /// The outcome of a dial-back.
    #[n(4)]
    DialBack {
        /// Whether the applicant's key answered at that address.
        #[n(0)]
        reachable: bool,
        /// Why not, in one sentence; empty when it did.
        #[n(1)]
        reason: Text<{ limits::JOINING_REASON_BYTES_MAX }>,
    },
    /// Where the application stands.
    #[n(5)]
    Progress {
        /// How far it is.
        #[n(0)]
        stage: JoiningStage,
    },
}

/// How far an application is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum JoiningStage {
    /// It waits for an admin of the inviting organization to propose it.
    #[n(0)]
    Waiting,
    /// It is proposed to the stewards.
    #[n(1)]
    Proposed {
        /// Stewards that have approved.
        #[n(0)]
        approvals: u16,
        /// Approvals that make it law.
        #[n(1)]
        needed: u16,
    },
    /// The organization is a member: connect anew.
    #[n(2)]
    Admitted,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Timestamp,
        codec::{self, Bounded},
        hello::{HelloAnswer, HelloRequest, Regard},
        ids::NetworkId,
    };

    fn longest<const MAX: usize>() -> ByteString<MAX> {
        ByteString::new(vec![0xff; MAX]).expect("as long as it may be")
    }

    fn longest_text<const MAX: usize>() -> Text<MAX> {
        Text::new(&"x".repeat(MAX)).expect("as long as it may be")
    }

    #[test]
    fn the_longest_of_each_fits_a_hello() {
        let code = InvitationCode([0xff; 16]);
        let versions = || Bounded::new(vec![u16::MAX; limits::VERSIONS_MAX]).expect("eight");
        let now = Timestamp(u64::MAX);
        for joining in [
            Joining::Inception { code, inception: longest() },
            Joining::Keys { code, keys: longest() },
            Joining::DialBack { code, address: longest_text() },
            Joining::Progress { code },
        ] {
            assert_eq!(joining.code(), &code);
            let network = NetworkId([0xff; 32]);
            let hello = HelloRequest { versions: versions(), network, now, joining: Some(joining) };
            let length = codec::encode(&hello).len();
            assert!(length <= limits::HELLO_FRAME_BYTES_MAX, "{length}: {hello:?}");
        }
        let stage = JoiningStage::Proposed { approvals: u16::MAX, needed: u16::MAX };
        for joining in [
            JoiningAnswer::Refused(longest_text()),
            JoiningAnswer::DialBack { reachable: false, reason: longest_text() },
            JoiningAnswer::Progress { stage },
        ] {
            let regard = Regard::Expelled;
            let answer = HelloAnswer { regard, versions: versions(), now, joining: Some(joining) };
            let length = codec::encode(&answer).len();
            assert!(length <= limits::HELLO_FRAME_BYTES_MAX, "{length}: {answer:?}");
        }
    }
}
