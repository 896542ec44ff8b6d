//! The statements of the roster plane: who is a member, by which keys, at which addresses, and who
//! decides so.
//!
//! | statement | signed by | says |
//! |---|---|---|
//! | [`Inception`] | the root key it names | an organization exists |
//! | [`OrganizationKeys`] | that organization's root key | its nodes and all its keys |
//! | [`Founding`] with an [`Endorsement`] of every founder | the founders' root keys | a network exists |
//! | [`Approval`] of a [`Proposal`] | a steward's govern key | let this be law |
//! | [`Objection`] | a root key that is to be replaced | do not |
//! | [`Heartbeat`] | a node of a steward | we are here, and this is what became law |
//! | [`CeremonyCall`] | a steward's govern key | let these make, or hand on, a shared key |
//! | [`CeremonyMessage`] | a node of a party to it | what the ceremony asks of it |
//!
//! Which statement counts, and what follows from all of them, is decided in `signpost-keys`.

mod ceremony;
mod founding;
mod governance;
mod organization;

pub use ceremony::{CeremonyCall, CeremonyConsent, CeremonyMessage, Dealer, EvaluatorsRecord};
pub use founding::{Endorsement, Founding, Parameters, Quotas, RosterFile};
pub use governance::{
    Approval, Change, Heartbeat, MemberRecord, Objection, Proposal, RootReset, Standing, Steward,
    StewardEpoch, Subject,
};
pub use organization::{
    Inception, KeyRecord, NodeRecord, OrganizationKeys, Revocation, RevocationReason,
};
