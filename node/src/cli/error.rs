//! Where every error of a command ends: said once, with what to do about it.

use std::process::ExitCode;

use super::{
    client::ClientError,
    text::{printable, tell},
};
use crate::{config, network::NetworkError, runtime::NodeError, setup::SetupError};

/// A hint that belongs to an error of any kind; attach it with [`anyhow::Error::context`].
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Hinted {
    /// What happened.
    pub(super) message: String,
    /// What to do about it.
    pub(super) hint: String,
}

/// Prints `error` to standard error. Returns exit code 1.
pub(super) fn report(error: &anyhow::Error, json: bool) -> ExitCode {
    let (message, hint) = (folded(error), hint(error));
    if json {
        tell(&serde_json::json!({ "error": message, "hint": hint }).to_string());
    } else {
        // A configuration error shows the line and marks the place below it.
        let lines: Vec<String> = message.lines().map(printable).collect();
        tell(&format!("error: {}", lines.join("\n")));
        if let Some(hint) = hint {
            tell(&format!("hint: {}", printable(&hint)));
        }
    }
    ExitCode::FAILURE
}

/// An error and its causes on one line. A cause that the message already contains is not repeated.
fn folded(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if message.is_empty() {
            message = cause;
        } else if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

/// What the user can do about an error, if any of its causes knows.
pub(super) fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(hinted) = error.downcast_ref::<Hinted>() {
        return Some(hinted.hint.clone());
    }
    error.chain().find_map(|cause| {
        cause
            .downcast_ref::<ClientError>()
            .and_then(ClientError::hint)
            .or_else(|| cause.downcast_ref::<SetupError>().and_then(SetupError::hint))
            .or_else(|| cause.downcast_ref::<NodeError>().and_then(address_hint))
    })
}

/// An address that cannot be had is most often taken, by this very node.
fn address_hint(error: &NodeError) -> Option<String> {
    let key = match error {
        NodeError::Api { .. } => "api.listen",
        NodeError::Network(NetworkError::Listen { .. }) => "peer.listen",
        _ => return None,
    };
    Some(format!("does the node run already? Otherwise choose another {key} in {}", config::FILE))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use anyhow::Context as _;

    use super::*;

    #[test]
    fn causes_are_said_once() {
        let inner = std::io::Error::other("disk full");
        let error = anyhow::Error::new(inner).context("cannot write x: disk full").context("init");
        assert_eq!(folded(&error), "init: cannot write x: disk full");
    }

    #[test]
    fn hints_are_found_below_the_surface() {
        let none: Result<(), _> = Err(ClientError::NoNode { dir: PathBuf::from("d") });
        let error = none.context("locate").unwrap_err();
        assert!(hint(&error).unwrap().contains("--dir"));
        let hinted = Hinted { message: "m".to_owned(), hint: "h".to_owned() };
        let error = anyhow::anyhow!("below").context(hinted);
        assert_eq!((folded(&error).as_str(), hint(&error).as_deref()), ("m: below", Some("h")));
        assert_eq!(hint(&anyhow::anyhow!("no hint")), None);
    }
}
