//! What an applicant says next to a node that invited it, and what it makes of the answers. No IO.

use std::fmt;

use signpost_protocol::{
    InvitationCode, NetworkId, Timestamp,
    codec::{self, Bounded, ByteString, Text},
    hello::{HelloAnswer, HelloRequest, Regard, VERSIONS},
    joining::{Joining, JoiningAnswer, JoiningStage},
    limits,
    roster::Parameters,
};

use crate::setup::Candidate;

/// How far this machine's clock may be from the answering node's before anything is handed in, in
/// milliseconds: what a network allows as a rule. What is signed with a wrong clock is refused later.
const CLOCK_SKEW_MAX: u64 = Parameters::STANDARD.clock_skew_max;

/// What is said next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing but hello: is it the right network, do the clocks agree?
    Greet,
    Inception,
    Keys,
    DialBack,
    Progress,
}

/// What an answer tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// There is more to say.
    GoOn,
    /// Who is to join, and with what keys, is on disk there.
    HandedIn,
    /// Whether this node could be reached from there, and if not, why.
    DialBack(Result<(), String>),
    /// Nothing more is to be said for now: the application is this far.
    Stage(JoiningStage),
    /// This node's key is that of an admitted member.
    Member,
}

/// Why an application does not go on at a node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The node knows no such invitation.
    #[error(
        "the node does not know this invitation: it was used up, has expired, was withdrawn, or was \
         never made there"
    )]
    UnknownCode,
    /// The node belongs to another network.
    #[error("the node belongs to another network than the invitation says")]
    OtherNetwork,
    /// No version in common.
    #[error("the node speaks no version of the protocol that this program speaks")]
    Version,
    /// The clocks differ.
    #[error("this machine's clock and the node's differ by {}", Offset(*.0))]
    Clock(
        /// The node's minus ours, in milliseconds.
        i64,
    ),
    /// The organization has been a member, or its key has been in use, and is no longer.
    #[error("the network refuses this node: {0}")]
    Standing(&'static str),
    /// As many applications as the node keeps wait for its admins.
    #[error("as many applications as the node keeps wait for its admins")]
    Full,
    /// The node says what is wrong.
    #[error("the node refuses: {0}")]
    Reason(String),
    /// The answer is none.
    #[error("the node's answer cannot be understood: {0}")]
    Garbled(String),
}

impl Refused {
    /// What the admin can do.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::UnknownCode => {
                "ask who invited you for a new invitation, and go on with `signpost join INVITATION`"
            }
            Self::OtherNetwork => {
                "compare the network's fingerprint with who invited you, and ask for a new invitation"
            }
            Self::Version => "update the older of the two",
            Self::Clock(_) => {
                "set this machine's clock by NTP, or ask the other side to set theirs"
            }
            Self::Standing(_) => "ask the stewards why",
            Self::Full => "ask who invited you to work them off, and try again",
            Self::Reason(_) => "ask who invited you, or for a new invitation",
            Self::Garbled(_) => "is that a node of Signpost? Ask who invited you",
        }
    }
}

/// A difference between clocks for people.
struct Offset(i64);

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.unsigned_abs() / 1_000;
        let way = if self.0 < 0 { "ahead" } else { "behind" };
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
        match (days, hours) {
            (0, 0) => write!(f, "{minutes} min {} s", seconds % 60)?,
            (0, _) => write!(f, "{hours} h {minutes} min")?,
            _ => write!(f, "{days} d {hours} h")?,
        }
        write!(f, ": this one is {way}")
    }
}

/// An application at one node.
pub(super) struct Applying {
    network: NetworkId,
    code: InvitationCode,
    inception: Vec<u8>,
    keys: Vec<u8>,
    address: String,
    step: Step,
}

impl Applying {
    pub(super) fn new(candidate: &Candidate) -> Self {
        Self {
            network: candidate.invitation.network,
            code: candidate.invitation.code,
            inception: candidate.application.inception.bytes().to_vec(),
            keys: candidate.application.keys.bytes().to_vec(),
            address: candidate.peer_address().to_owned(),
            step: Step::Greet,
        }
    }

    /// Tries again whether this node can be reached, before asking how far things are.
    pub(super) fn dial_back_again(&mut self) {
        if self.step == Step::Progress {
            self.step = Step::DialBack;
        }
    }

    /// The frame to send next.
    pub(super) fn hello(&self, now: Timestamp) -> Vec<u8> {
        let code = self.code;
        let joining = match self.step {
            Step::Greet => None,
            Step::Inception => ByteString::new(self.inception.clone())
                .map(|inception| Joining::Inception { code, inception }),
            Step::Keys => {
                ByteString::new(self.keys.clone()).map(|keys| Joining::Keys { code, keys })
            }
            Step::DialBack => {
                Text::new(&self.address).map(|address| Joining::DialBack { code, address })
            }
            Step::Progress => Some(Joining::Progress { code }),
        };
        let versions = Bounded::new(VERSIONS.to_vec()).expect("there are few versions");
        codec::encode(&HelloRequest { versions, network: self.network, now, joining })
    }

    /// Takes the answer to the hello that was `sent` and answered `now`.
    pub(super) fn hear(
        &mut self,
        frame: &[u8],
        sent: Timestamp,
        now: Timestamp,
    ) -> Result<Heard, Refused> {
        let answer: HelloAnswer =
            codec::decode("hello answer", frame, limits::HELLO_FRAME_BYTES_MAX)
                .map_err(|error| Refused::Garbled(error.to_string()))?;
        // Half the round trip has passed since the node read its clock.
        let offset = i128::from(answer.now.0) - i128::from(sent.0.midpoint(now.0));
        let offset = i64::try_from(offset).unwrap_or(if offset < 0 { i64::MIN } else { i64::MAX });
        match answer.regard {
            Regard::Member => return Ok(Heard::Member),
            Regard::OtherNetwork => return Err(Refused::OtherNetwork),
            Regard::Version => return Err(Refused::Version),
            Regard::Clock => return Err(Refused::Clock(offset)),
            Regard::Suspended => return Err(Refused::Standing("the organization is suspended")),
            Regard::Expelled => return Err(Refused::Standing("the organization was expelled")),
            Regard::KeyExpired => return Err(Refused::Standing("its key is not valid now")),
            Regard::KeyRevoked => return Err(Refused::Standing("its key was revoked")),
            _ => {}
        }
        if offset.unsigned_abs() > CLOCK_SKEW_MAX {
            return Err(Refused::Clock(offset));
        }
        if self.step == Step::Greet {
            self.step = Step::Inception;
            return Ok(Heard::GoOn);
        }
        match (self.step, answer.joining) {
            (_, None) => Err(Refused::Garbled("it does not know how to join".to_owned())),
            (_, Some(JoiningAnswer::UnknownCode)) => Err(Refused::UnknownCode),
            (_, Some(JoiningAnswer::Full)) => Err(Refused::Full),
            // Another attempt is under way, or the node makes none: no reason to give up.
            (Step::DialBack, Some(JoiningAnswer::Refused(reason))) => {
                self.step = Step::Progress;
                Ok(Heard::DialBack(Err(reason.to_string())))
            }
            (_, Some(JoiningAnswer::Refused(reason))) => Err(Refused::Reason(reason.to_string())),
            (Step::Inception, Some(JoiningAnswer::Noted)) => {
                self.step = Step::Keys;
                Ok(Heard::GoOn)
            }
            (Step::Keys, Some(JoiningAnswer::Noted)) => {
                self.step = Step::DialBack;
                Ok(Heard::HandedIn)
            }
            (Step::DialBack, Some(JoiningAnswer::DialBack { reachable, reason })) => {
                self.step = Step::Progress;
                Ok(Heard::DialBack(if reachable { Ok(()) } else { Err(reason.to_string()) }))
            }
            (Step::Progress, Some(JoiningAnswer::Progress { stage })) => Ok(Heard::Stage(stage)),
            (_, Some(_)) => Err(Refused::Garbled("it answers what was not asked".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_768_089_600_000);

    fn applying() -> Applying {
        Applying {
            network: NetworkId([1; 32]),
            code: InvitationCode([2; 16]),
            inception: vec![3; 300],
            keys: vec![4; 600],
            address: "/ip4/192.0.2.1/tcp/7701".to_owned(),
            step: Step::Greet,
        }
    }

    fn asked(applying: &Applying) -> Option<Joining> {
        let max = limits::HELLO_FRAME_BYTES_MAX;
        let hello: HelloRequest = codec::decode("hello", &applying.hello(NOW), max).unwrap();
        assert_eq!((hello.network, hello.now), (applying.network, NOW));
        hello.joining
    }

    fn answer(regard: Regard, now: Timestamp, joining: Option<JoiningAnswer>) -> Vec<u8> {
        let versions = Bounded::new(VERSIONS.to_vec()).unwrap();
        codec::encode(&HelloAnswer { regard, versions, now, joining })
    }

    fn hear(applying: &mut Applying, joining: Option<JoiningAnswer>) -> Result<Heard, Refused> {
        applying.hear(&answer(Regard::Stranger, NOW, joining), NOW, NOW)
    }

    fn text(text: &str) -> Text<{ limits::JOINING_REASON_BYTES_MAX }> {
        Text::new(text).unwrap()
    }

    #[test]
    fn an_application_is_handed_in_tried_and_followed() {
        let mut applying = applying();
        assert_eq!(asked(&applying), None);
        assert_eq!(hear(&mut applying, None), Ok(Heard::GoOn));
        assert!(matches!(asked(&applying), Some(Joining::Inception { .. })));
        assert_eq!(hear(&mut applying, Some(JoiningAnswer::Noted)), Ok(Heard::GoOn));
        assert!(matches!(asked(&applying), Some(Joining::Keys { .. })));
        assert_eq!(hear(&mut applying, Some(JoiningAnswer::Noted)), Ok(Heard::HandedIn));
        for (reachable, heard) in [(false, Err("refused".to_owned())), (true, Ok(()))] {
            assert!(matches!(asked(&applying), Some(Joining::DialBack { .. })));
            let reason = text(if reachable { "" } else { "refused" });
            let said = Some(JoiningAnswer::DialBack { reachable, reason });
            assert_eq!(hear(&mut applying, said), Ok(Heard::DialBack(heard)));
            let stage = JoiningStage::Proposed { approvals: 1, needed: 3 };
            for _ in 0..2 {
                assert!(matches!(asked(&applying), Some(Joining::Progress { .. })));
                let said = Some(JoiningAnswer::Progress { stage });
                assert_eq!(hear(&mut applying, said), Ok(Heard::Stage(stage)));
            }
            applying.dial_back_again();
        }
        let member = answer(Regard::Member, NOW, Some(JoiningAnswer::UnknownCode));
        assert_eq!(applying.hear(&member, NOW, NOW), Ok(Heard::Member), "its time is over, too");
    }

    #[test]
    fn every_refusal_is_told_apart() {
        for (regard, refused) in [
            (Regard::OtherNetwork, Refused::OtherNetwork),
            (Regard::Version, Refused::Version),
            (Regard::Clock, Refused::Clock(0)),
            (Regard::Suspended, Refused::Standing("the organization is suspended")),
        ] {
            let heard = applying().hear(&answer(regard, NOW, None), NOW, NOW);
            assert_eq!(heard, Err(refused));
        }
        for (said, refused) in [
            (JoiningAnswer::UnknownCode, Refused::UnknownCode),
            (JoiningAnswer::Full, Refused::Full),
            (JoiningAnswer::Refused(text("a twin")), Refused::Reason("a twin".to_owned())),
        ] {
            let mut applying = applying();
            hear(&mut applying, None).unwrap();
            assert_eq!(hear(&mut applying, Some(said)), Err(refused));
        }
        let mut applying = applying();
        hear(&mut applying, None).unwrap();
        let strange = JoiningAnswer::Progress { stage: JoiningStage::Admitted };
        assert!(matches!(hear(&mut applying, Some(strange)), Err(Refused::Garbled(_))));
        assert!(matches!(hear(&mut applying, None), Err(Refused::Garbled(_))));
        assert!(matches!(applying.hear(b"", NOW, NOW), Err(Refused::Garbled(_))));
    }

    #[test]
    fn a_clock_that_differs_is_noticed_before_anything_is_handed_in() {
        let day = 24 * 3_600_000;
        for (theirs, said) in [
            (NOW.plus(3 * day + 5 * 3_600_000), "differ by 3 d 5 h: this one is behind"),
            (NOW.minus(2 * 3_600_000), "differ by 2 h 0 min: this one is ahead"),
            (NOW.plus(CLOCK_SKEW_MAX + 1_000), "differ by 2 min 1 s: this one is behind"),
        ] {
            let heard = applying().hear(&answer(Regard::Stranger, theirs, None), NOW, NOW);
            let error = heard.unwrap_err();
            assert!(error.to_string().ends_with(said), "{error}");
        }
        let near = answer(Regard::Stranger, NOW.plus(CLOCK_SKEW_MAX), None);
        assert_eq!(applying().hear(&near, NOW, NOW), Ok(Heard::GoOn));
        // A slow line is no wrong clock.
        let late = answer(Regard::Stranger, NOW.plus(CLOCK_SKEW_MAX + 2_000), None);
        assert_eq!(applying().hear(&late, NOW, NOW.plus(4_000)), Ok(Heard::GoOn));
    }
}
