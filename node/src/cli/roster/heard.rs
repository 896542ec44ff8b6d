//! Whether anybody else has heard of a new set of keys, before its keys are used.
//!
//! A node hands a set on as soon as it is brought, but may be killed before it has, or be connected with
//! nobody. Started again with a transport key that it alone knows, it would be a stranger to all others,
//! who ask no stranger what is new. So the old key stays until one of them is known to have the set.

use std::time::Duration;

use crate::{cli::text::tell, core::local::StatusReport};

/// How long one waits: nodes compare what they have every 30 seconds, so twice that and some.
const WAIT: Duration = Duration::from_secs(75);
/// How often the node is asked meanwhile.
const POLL: Duration = Duration::from_millis(500);
/// How often the person is told that one still waits.
const TELL: Duration = Duration::from_secs(15);

/// What others need to be brought when they do not let the node in any more.
pub(super) const BY_FILE: &str = "  \
  here:                        signpost roster export roster.cbor
  with the file from here,
  at any other member's node:  signpost roster import roster.cbor
";

/// What is known of others before a new key is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nobody has to know of it, or a person says that somebody does.
    Unasked,
    /// Another node has all that this one has.
    Shared,
    /// Another node does not let this one in by the old key any more: that is of no use to either.
    CutOff,
}

impl Heard {
    /// Waits until the node says one or the other, for some 75 seconds; `pause` is to sleep. Of a node
    /// whose old key counts, no refusal tells whether the new one is known.
    pub(super) fn wait(
        mut status: impl FnMut() -> anyhow::Result<StatusReport>,
        is_cut_off: bool,
        mut pause: impl FnMut(Duration),
    ) -> Option<Self> {
        let mut waited = Duration::ZERO;
        let mut told = None;
        loop {
            // One that is just being started again does not answer for a moment.
            match status().map(|status| status.roster) {
                Ok(roster) if roster.shared => return Some(Self::Shared),
                Ok(roster) if is_cut_off && roster.key_void => return Some(Self::CutOff),
                _ => {}
            }
            if waited >= WAIT {
                return None;
            }
            if told.is_none_or(|told| waited >= told + TELL) {
                told = Some(waited);
                tell(&format!(
                    "Waiting until another member's node has the new set of keys: up to {} s more \
                     (cut short, it is gone on with when this is typed again).",
                    (WAIT - waited).as_secs()
                ));
            }
            pause(POLL);
            waited += POLL;
        }
    }

    /// What is to be done when the new key has taken its place.
    pub(super) fn next(self) -> String {
        let restart = "All is listed: start the node again to take the new key into use.\n";
        match self {
            Self::Unasked | Self::Shared => restart.to_owned(),
            Self::CutOff => format!(
                "{restart}The others refuse the old key already. If they do not know the new one a minute \
                 after the start (`signpost status`), bring it to them by file:\n{BY_FILE}"
            ),
        }
    }
}

/// What is to be done when nobody is known to have heard of the new key.
pub(super) fn unheard(is_cut_off: bool) -> String {
    let mut text = "\
The new key is listed, but no other member's node is known to have heard of it: started with it now, the
node might be a stranger to all others. So it goes on with the old key. Nothing is lost: the new one is in
its keystore. See to it that the node runs and is connected (`signpost status`), then type this again.
"
    .to_owned();
    if is_cut_off {
        text += "The old key does not count any more: whoever knows that takes nothing from this node.\n";
    }
    text + "If it cannot be connected with anybody, bring the new set to one of them by file:\n"
        + BY_FILE
        + "and then type this again with --imported.\n"
}
