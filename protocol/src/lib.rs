//! What travels between Signpost nodes: identifiers, statements, messages and their bounds.
//!
//! Everything here is pure: no clock, socket, disk, randomness or async. Who may say a thing is
//! decided in `signpost-keys`; what to do about it in `signpost-node`. `SPEC.md` beside this
//! crate gives the byte layouts for a second implementation, and `vectors/` pins them.

pub mod blind;
pub mod codec;
mod deterministic;
pub mod digest;
pub mod fuzz;
pub mod hello;
pub mod ids;
pub mod invitation;
pub mod joining;
pub mod limits;
pub mod locate;
pub mod locator;
pub mod patient;
pub mod pointer;
pub mod roster;
pub mod roster_exchange;
pub mod statement;
pub mod time;

pub use codec::DecodeError;
pub use ids::{
    ContentHash, InvitationCode, KeyId, NetworkId, NodeId, OdsCode, OrganizationId, PointerId,
    PublicKey, RequestId,
};
pub use locator::{KeyEpoch, Locator};
pub use patient::{IdentifierSystem, PatientIdentifier};
pub use pointer::{Pointer, PointerState};
pub use time::Timestamp;
