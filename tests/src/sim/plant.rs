//! Bugs that a test plants, to see that its checks catch them.
//!
//! They sit here, on the shell's side of the core, so that nothing in the product can switch one on:
//! each is a mistake that a runtime could make with the decisions of a correct core.

use signpost_node::core::{
    Action,
    completeness::{CauseKind, Completeness},
    local::{LocalReply, Located},
};

use super::Network;

/// A mistake of the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// What is to leave once a write is durable leaves before.
    ReplyBeforeFlush,
    /// A user is given the pointers that were meant for the one before.
    PreviousAnswer,
    /// Candidates that could not be asked are left out of what a user is told.
    ForgottenCauses,
    /// The comparison of an own digest with the store, after a restart, finds nothing missing.
    BlindAudit,
}

impl Network {
    /// Plants a bug in the shells of all nodes.
    pub fn plant(&mut self, plant: Plant) {
        self.plant = Some(plant);
    }

    /// Lets out at once what should wait, if that is the bug; what is left to wait.
    pub(super) fn spoil_order(&mut self, at: usize, then: Vec<Action>) -> Vec<Action> {
        if self.plant != Some(Plant::ReplyBeforeFlush) {
            return then;
        }
        self.carry_out(at, then);
        Vec::new()
    }

    pub(super) fn spoil_reply(&mut self, at: usize, reply: LocalReply) -> LocalReply {
        let LocalReply::Locate(Ok(located)) = reply else { return reply };
        let spoilt = match self.plant {
            Some(Plant::PreviousAnswer) => {
                let last = self.nodes[at].told_last.replace(located.clone());
                let pointers = last.map_or(Vec::new(), |last| last.pointers);
                Located { pointers, ..located }
            }
            Some(Plant::ForgottenCauses) => {
                let mut completeness = Completeness::default();
                for cause in located.completeness.causes() {
                    if cause.kind != CauseKind::Unreachable {
                        completeness.add(cause.clone());
                    }
                }
                Located { completeness, ..located }
            }
            _ => located,
        };
        LocalReply::Locate(Ok(spoilt))
    }
}
