//! What the core is told, and what it wants done.
//!
//! The core has no clock, socket, disk or source of randomness. The shells tell it what happened
//! ([`Event`]) and carry out what it decides ([`Action`]), in order.

use std::collections::{BTreeMap, HashSet};

use signpost_protocol::{ContentHash, Locator, OrganizationId, PublicKey, Timestamp};

use super::{
    filter_work::{FilterBuild, FilterJob},
    local::{LocalReply, LocalRequest},
};
use crate::{
    digests::{SharedBytes, SizeClass},
    network::{GossipId, InboundId, Plane, RequestFailure, Verdict},
    store::{Batch, DisclosureRecord},
};

/// The time as the shell sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The wall clock: for what is signed and compared with other nodes. May jump.
    pub unix: Timestamp,
    /// Milliseconds since the node started, never going back: for deadlines.
    pub uptime: u64,
}

/// Names a local request until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Something happened. No `Debug`: frames and blobs are not for logs.
pub enum Event {
    /// A member's first connection stands.
    Connected {
        /// Its transport key.
        peer: PublicKey,
    },
    /// A member's last connection is gone.
    Disconnected {
        /// Its transport key.
        peer: PublicKey,
    },
    /// A member could not be dialled.
    DialFailed {
        /// Its transport key.
        peer: PublicKey,
        /// One short sentence.
        reason: String,
    },
    /// A peer asks something.
    Request {
        /// Its transport key; a member's unless the plane is `Hello`.
        peer: PublicKey,
        /// On which protocol.
        plane: Plane,
        /// To reply with.
        id: InboundId,
        /// The bytes.
        frame: Vec<u8>,
    },
    /// The outcome of [`Action::Send`].
    Response {
        /// As sent.
        token: u64,
        /// Whom it was sent to.
        peer: PublicKey,
        /// The reply's bytes.
        result: Result<Vec<u8>, RequestFailure>,
    },
    /// The outcome of [`Action::DialBack`].
    DialBack {
        /// As given.
        token: u64,
        /// Whether the key answered there; if not, why.
        result: Result<(), String>,
    },
    /// A frame was gossiped.
    Gossip {
        /// To judge it with.
        id: GossipId,
        /// Who passed it on.
        via: PublicKey,
        /// The bytes.
        frame: Vec<u8>,
    },
    /// A clinical system or admin of this node asks something.
    Local {
        /// To answer with.
        ticket: Ticket,
        /// On whose behalf: one of the organizations that the node serves.
        asking: OrganizationId,
        /// What is asked.
        request: LocalRequest,
    },
    /// The outcome of [`Action::LoadBlob`] and [`Action::StoreBlob`].
    Blob {
        /// Its name.
        hash: ContentHash,
        /// The bytes; absent when it is not on disk, or what came did not have this hash.
        bytes: Option<SharedBytes>,
    },
    /// The outcome of [`Action::BuildFilter`].
    FilterBuilt {
        /// For whom.
        organization: OrganizationId,
        /// The filter.
        result: Result<NewFilter, String>,
    },
    /// The outcome of [`Action::AuditFilter`]: own listed locators that the digest does not find.
    FilterAudited {
        /// For whom.
        organization: OrganizationId,
        /// The locators; at most as many as the change lists beside a filter hold, and one more.
        result: Result<Vec<Locator>, String>,
    },
    /// Time has passed.
    Tick,
}

/// A filter that was built from the store.
#[derive(Clone)]
pub struct NewFilter {
    /// Its name; it is on disk.
    pub hash: ContentHash,
    /// The salt it was built with.
    pub salt: [u8; 16],
    /// Its class.
    pub class: SizeClass,
    /// Its bits set.
    pub ones: u32,
    /// Its bytes, mapped.
    pub bytes: SharedBytes,
}

/// Something is to be done.
pub enum Action {
    /// Connect to a member.
    Connect(PublicKey),
    /// Close the connections with a peer; the next request to it connects anew.
    Disconnect(PublicKey),
    /// Send a request; exactly one [`Event::Response`] follows.
    Send {
        /// Told back with the response.
        token: u64,
        /// To whom.
        peer: PublicKey,
        /// On which protocol.
        plane: Plane,
        /// The bytes.
        frame: Vec<u8>,
    },
    /// Reply to a peer's request.
    Reply {
        /// Which.
        id: InboundId,
        /// The bytes.
        frame: Vec<u8>,
    },
    /// Reply to a peer's request with a piece of a blob from disk, or "not found".
    ServeBlob {
        /// Which request.
        id: InboundId,
        /// Which blob.
        hash: ContentHash,
        /// From which byte on.
        offset: u64,
    },
    /// Leave a peer's request without a reply.
    Refuse {
        /// Which.
        id: InboundId,
    },
    /// Replace the members that the network lets in and may dial: their transport keys with the
    /// multiaddrs of each.
    SetMembers(BTreeMap<PublicKey, Vec<String>>),
    /// Try whether a peer answers at an address; [`Event::DialBack`] follows.
    DialBack {
        /// Told back with the outcome.
        token: u64,
        /// The key that is to answer.
        peer: PublicKey,
        /// A multiaddr without peer id.
        address: String,
    },
    /// Gossip a frame.
    Publish(Vec<u8>),
    /// Say what a gossiped frame is worth.
    Judge {
        /// Which.
        id: GossipId,
        /// Its worth.
        verdict: Verdict,
    },
    /// Answer a local request.
    Answer {
        /// Which.
        ticket: Ticket,
        /// The answer.
        reply: LocalReply,
    },
    /// Write, and act when it is durable.
    Persist(Persist),
    /// Look for a blob on disk; [`Event::Blob`] follows.
    LoadBlob(ContentHash),
    /// Check and keep a blob that was fetched; [`Event::Blob`] follows.
    StoreBlob {
        /// The hash it must have.
        hash: ContentHash,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Keep a change list of one's own, before the head that names it is published.
    KeepBlob(Vec<u8>),
    /// Remove every blob but these.
    RetainBlobs(HashSet<ContentHash>),
    /// Build a filter from the store; [`Event::FilterBuilt`] follows.
    BuildFilter(FilterBuild),
    /// Compare an own digest with the store; [`Event::FilterAudited`] follows.
    AuditFilter(FilterJob),
}

/// Writes that must be on disk before anything that relies on them leaves the node.
#[derive(Default)]
pub struct Persist {
    /// Each is applied whole or not at all, in order, visible to the core's next decision.
    pub batches: Vec<Batch>,
    /// Appended to the disclosure log, in order.
    pub disclosures: Vec<DisclosureRecord>,
    /// Done once all of that is durable.
    pub then: Vec<Action>,
    /// Done instead when it cannot be made durable.
    pub otherwise: Vec<Action>,
}
