//! What goes wrong on the way to a peer, put by what can be done about it.

use std::{error::Error, io};

use libp2p::{
    Multiaddr,
    core::{transport::TransportError, upgrade::NegotiationError},
    request_response::OutboundFailure,
    swarm::DialError,
};

use super::{frame::FrameError, gate::ADDRESSES_PER_MEMBER_MAX};

/// Why the network could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// As configured.
        address: Multiaddr,
        /// Why, in a few words.
        reason: String,
    },
    /// The transport key cannot be used.
    #[error("cannot use the transport key: {0}")]
    Key(String),
    /// The protocols refuse their settings.
    #[error("cannot set up the network: {0}")]
    Setup(String),
}

impl NetworkError {
    pub(super) fn listen(address: Multiaddr, error: &TransportError<io::Error>) -> Self {
        let reason = match error {
            TransportError::MultiaddrNotSupported(_) => {
                "addresses of this kind are not supported".to_owned()
            }
            TransportError::Other(error) => match error.kind() {
                io::ErrorKind::AddrInUse => "address already in use".to_owned(),
                io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
                io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
                _ => innermost(error),
            },
        };
        Self::Listen { address, reason }
    }
}

/// Why a request has no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestFailure {
    /// There is no connection and none could be made.
    #[error("the peer cannot be reached: {0}")]
    Unreachable(String),
    /// The reply took too long. Whether the peer saw the request is unknown.
    #[error("the peer did not reply in time")]
    Timeout,
    /// The connection or the stream broke. Whether the peer saw the request is unknown.
    #[error("the connection was closed before the reply")]
    Closed,
    /// The peer does not offer this exchange: it speaks another version or network, or we are a
    /// stranger to it.
    #[error("the peer does not offer this exchange")]
    Unsupported,
    /// The peer took the request and ended it without a reply.
    #[error("the peer refused the request")]
    Refused,
    /// The request, or the reply that the peer announced, is longer than its plane allows.
    #[error("the {what} of {length} bytes exceeds the {bytes_max} bytes allowed")]
    TooLong {
        /// "request" or "reply".
        what: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The cap in bytes.
        bytes_max: usize,
    },
    /// The reply is no whole frame.
    #[error("the reply is malformed: {0}")]
    Malformed(String),
    /// Too many requests of ours are under way, to this peer or altogether; nothing was sent.
    #[error("too many requests are under way")]
    Busy,
}

impl RequestFailure {
    /// Reads libp2p's failure; `unreachable` is why the peer could not be dialled.
    pub(super) fn new(failure: &OutboundFailure, unreachable: Option<&str>) -> Self {
        match failure {
            OutboundFailure::DialFailure => {
                Self::Unreachable(unreachable.unwrap_or("the attempt failed").to_owned())
            }
            OutboundFailure::Timeout => Self::Timeout,
            OutboundFailure::ConnectionClosed => Self::Closed,
            OutboundFailure::UnsupportedProtocols => Self::Unsupported,
            OutboundFailure::Io(error) => Self::from_stream(error),
        }
    }

    /// Reads the failure of a stream. The protocol is negotiated along with the first bytes, so a
    /// refusal to speak it comes out here too.
    fn from_stream(error: &io::Error) -> Self {
        let Some(inner) = error.get_ref() else { return Self::Closed };
        if let Some(NegotiationError::Failed) = inner.downcast_ref() {
            return Self::Unsupported;
        }
        match inner.downcast_ref() {
            Some(FrameError::Unanswered) => Self::Refused,
            Some(FrameError::TooLong { length, bytes_max }) => {
                Self::TooLong { what: "reply", length: *length, bytes_max: *bytes_max }
            }
            Some(error @ (FrameError::Truncated { .. } | FrameError::StrayBytes)) => {
                Self::Malformed(error.to_string())
            }
            Some(FrameError::Io(_)) | None => Self::Closed,
        }
    }
}

/// A dial's failure in one short sentence: the innermost cause says what an operator can act on.
pub(super) fn dial_reason(error: &DialError) -> String {
    match error {
        DialError::NoAddresses => "no address is known".to_owned(),
        DialError::Denied { cause } => innermost(cause),
        DialError::Aborted => "the attempt was given up".to_owned(),
        DialError::LocalPeerId { address } => format!("{address} is this node itself"),
        DialError::WrongPeerId { address, .. } => format!("another key answers at {address}"),
        DialError::DialPeerConditionFalse(_) => "an attempt is already under way".to_owned(),
        DialError::Transport(attempts) => {
            let attempts = attempts
                .iter()
                .take(ADDRESSES_PER_MEMBER_MAX)
                .map(|(address, error)| format!("{address}: {}", innermost(error)))
                .collect::<Vec<_>>();
            attempts.join("; ")
        }
    }
}

/// Why a dial-back did not reach its peer, in one sentence for the admin who is to open a port. Says
/// nothing of addresses: the admin gave the only one.
pub(super) fn dial_back_reason(error: &DialError) -> String {
    let reason = match error {
        DialError::WrongPeerId { .. } => "another key answered",
        DialError::LocalPeerId { .. } | DialError::NoAddresses => {
            "that is an address of the node that was asked"
        }
        DialError::Denied { .. } => "the node that was asked has too many connections; try again",
        DialError::Aborted | DialError::DialPeerConditionFalse(_) => "the attempt was given up",
        DialError::Transport(attempts) => match attempts.first() {
            Some((_, TransportError::Other(error))) => return connect_reason(error),
            Some((_, TransportError::MultiaddrNotSupported(_))) | None => {
                "only addresses such as /ip4/192.0.2.1/tcp/4001 can be reached"
            }
        },
    };
    reason.to_owned()
}

fn connect_reason(error: &io::Error) -> String {
    let text = innermost(error);
    let reason = match system_error(&text) {
        Some(io::ErrorKind::ConnectionRefused) => {
            "connection refused: nothing listens there, or a firewall says no"
        }
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
            "no route leads there"
        }
        // Not the system's: the handshake failed.
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) | None => {
            "connected, but what listens there is no Signpost node"
        }
        Some(_) => return text,
    };
    reason.to_owned()
}

/// The kind of an error of the operating system, read from its text: the layers of the transport hide
/// the error itself.
fn system_error(text: &str) -> Option<io::ErrorKind> {
    let (_, code) = text.rsplit_once("(os error ")?;
    let code = code.strip_suffix(')')?.parse().ok()?;
    Some(io::Error::from_raw_os_error(code).kind())
}

/// The text of the cause at the bottom of an error's chain.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_stream(error: impl Into<io::Error>) -> RequestFailure {
        RequestFailure::new(&OutboundFailure::Io(error.into()), None)
    }

    #[test]
    fn a_stream_failure_keeps_its_meaning() {
        assert_eq!(from_stream(NegotiationError::Failed), RequestFailure::Unsupported);
        assert_eq!(from_stream(FrameError::Unanswered), RequestFailure::Refused);
        assert_eq!(from_stream(io::ErrorKind::BrokenPipe), RequestFailure::Closed);
        let too_long = from_stream(FrameError::TooLong { length: 9, bytes_max: 8 });
        assert_eq!(too_long.to_string(), "the reply of 9 bytes exceeds the 8 bytes allowed");
        let truncated = from_stream(FrameError::Truncated { expected: 9, received: 8 });
        assert!(matches!(truncated, RequestFailure::Malformed(_)));
    }

    #[test]
    fn an_error_of_the_system_is_told_from_others_by_its_text() {
        for kind in [io::ErrorKind::ConnectionRefused, io::ErrorKind::ConnectionReset] {
            let codes = 1..200;
            let found = codes.map(io::Error::from_raw_os_error).find(|error| error.kind() == kind);
            assert_eq!(system_error(&found.expect("a code").to_string()), Some(kind));
        }
        for text in ["", "Timeout has been reached", "(os error )", "(os error x)", "os error 111"]
        {
            assert_eq!(system_error(text), None, "{text}");
        }
    }

    #[test]
    fn an_unreachable_peer_says_why() {
        let failure = RequestFailure::new(&OutboundFailure::DialFailure, Some("no address"));
        assert_eq!(failure.to_string(), "the peer cannot be reached: no address");
    }
}
