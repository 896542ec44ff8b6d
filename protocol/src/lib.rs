//! What travels between Signpost nodes: identifiers, statements, messages and their bounds.
//!
//! Everything here is pure: no clock, socket, disk, randomness or async. Who may say a thing is
//! decided in `signpost-keys`; what to do about it in `signpost-node`. `SPEC.md` beside this
//! crate gives the byte layouts for a second implementation, and `vectors/` pins them.

pub mod codec;
pub mod ids;
pub mod limits;
pub mod locator;
pub mod patient;
pub mod time;

pub use codec::DecodeError;
pub use ids::{KeyId, NetworkId, NodeId, OdsCode, OrganizationId, PointerId, PublicKey, RequestId};
pub use locator::{KeyEpoch, Locator};
pub use patient::{IdentifierSystem, PatientIdentifier};
pub use time::Timestamp;
