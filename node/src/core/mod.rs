//! The core: decides everything, does nothing.
//!
//! [`Core::handle`] takes what happened, the time and the stored state, and yields what is to be
//! done. It has no clock, socket, disk or randomness of its own (a seeded generator is given at
//! birth), so that whole networks of cores replay from a seed. One file for each thing it decides:
//!
//! | file | decides |
//! |---|---|
//! | `inquiry` | locating a patient, reading a pointer: whom to ask, what is missing |
//! | `result` | what is said in the end, and what of it is recorded |
//! | `answers` | what to believe of what they say |
//! | `blinder` | how a patient becomes a locator: which evaluators to ask, when it fails |
//! | `evaluator` | which blinded elements to evaluate for others |
//! | `usage` | how much to evaluate for whom in a day |
//! | `shares` | which evaluators to ask, and by which shares to answer |
//! | `evidence` | which wrong evaluations to keep, to be shown |
//! | `ceremony` | what this node owes to ceremonies of evaluators |
//! | `holder` | what to answer when another organization asks |
//! | `advertise` | creating, changing, deleting own pointers |
//! | `own_digest` | when and how own pointers are advertised |
//! | `restored` | whether this node lacks something that it once had |
//! | `digests`, `fetch` | which digests of others to believe, and how their parts are fetched |
//! | `catch_up` | what to compare with whom |
//! | `peers` | to whom to be connected, and whose clock to trust |
//! | `membership` | which roster to believe, and whom the network lets in |
//! | `joining` | invitations, and what those who want to join are told |
//! | `roster_gossip` | which gossiped statements of the roster to pass on |
//! | `roster_exchange` | comparing the statements of the roster, and handing them out |
//! | `roster_fetch` | which of them to fetch from whom |
//! | `heartbeat` | signs of life of stewards, and what their absence means |
//! | `complaints` | how much is logged about one peer |

mod advertise;
mod answers;
mod blinder;
mod cache;
mod catch_up;
mod ceremony;
mod ceremony_part;
mod complaints;
pub mod completeness;
mod digests;
mod evaluator;
mod event;
mod evidence;
mod fetch;
mod filter_work;
mod heartbeat;
mod held;
mod holder;
mod inquiry;
mod joining;
pub mod local;
mod membership;
mod own_digest;
mod own_pointers;
mod peers;
mod replay;
mod restored;
mod result;
mod roster_exchange;
mod roster_fetch;
mod roster_gossip;
pub mod rows;
mod shares;
pub mod source;
mod sources;
mod status;
mod usage;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use signpost_keys::{Roster, SecretKey, StorageKey, blinding::KeyShare, roster::Statements};
use signpost_protocol::{
    ContentHash, NodeId, OdsCode, OrganizationId, PublicKey, RequestId, Timestamp,
    locate::RefusalCode, roster::Standing,
};

use self::local::{
    LocalReply, LocalRequest, LocateError, NotAdmitted, ReadError, WRITES_PER_REQUEST_MAX,
    WriteError,
};
use self::{
    advertise::WriteJob, blinder::BlindingJob, cache::LocatorCache, complaints::Complaints,
    digests::Digests, fetch::Fetches, inquiry::Inquiry, membership::Membership,
    own_digest::OwnDigest, peers::Peers, replay::ReplayGuard, restored::Recall,
};
pub use self::{
    event::{Action, Event, NewFilter, Now, Persist, Ticket},
    filter_work::{FilterBuild, FilterJob, audit_filter, build_filter},
};
use crate::{
    network::{InboundId, Plane, RequestFailure},
    store::Store,
};

/// Requests of own clinical systems under way at once: ten seconds' worth of the busiest hour of
/// England (125/s); more would only wait for each other.
const INQUIRIES_MAX: usize = 1_024;
/// Requests to peers under way at once while own clinical systems may begin more. Each look-up sends at
/// most 256, so that failures that come back at once find room in the network's outbox (4,096).
const OUTSTANDING_MAX: usize = 2_048;
/// Batches of writes under way at once.
const WRITE_JOBS_MAX: usize = 64;
/// Milliseconds between two looks at connections, clocks and digests.
const MAINTENANCE_INTERVAL: u64 = 1_000;

/// An organization that this node serves, with the key that speaks for its records.
#[derive(Debug)]
pub struct Served {
    /// The organization.
    pub organization: OrganizationId,
    /// Its ODS code.
    pub ods: OdsCode,
    /// Its name.
    pub name: String,
    /// Signs its pointers, digest heads and answers.
    pub pointer: SecretKey,
}

/// Who this node is.
pub struct Me {
    /// The node.
    pub node: NodeId,
    /// Signs what the node asks and evaluates.
    pub transport: SecretKey,
    /// The organizations it serves, at least one.
    pub served: Vec<Served>,
    /// The share of the blinding key that was dealt to one of them, if any.
    pub share: Option<KeyShare>,
    /// Seals whose records its pointers stand for.
    pub storage: StorageKey,
}

/// What the organization discloses.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Purposes of use for which pointers are disclosed to other organizations.
    pub purposes: Vec<String>,
}

/// What an outstanding request to a peer was for.
enum Outstanding {
    Hello { sent: Timestamp },
    Compare,
    Heads,
    RosterCompare { digests: ContentHash },
    RosterBuckets { fetch: u64 },
    RosterStatements { fetch: u64, wanted: Vec<ContentHash> },
    Blob { hash: ContentHash, offset: u64 },
    Ask { inquiry: u64, target: usize },
    Evaluate { job: u64, evaluator: usize },
}

/// One call of [`Core::handle`]: the time, the stored state, and what is to be done.
struct Turn<'a> {
    now: Now,
    store: &'a dyn Store,
    actions: Vec<Action>,
}

impl Turn<'_> {
    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn reply(&mut self, id: InboundId, message: &impl minicbor::Encode<()>) {
        self.act(Action::Reply { id, frame: signpost_protocol::codec::encode(message) });
    }

    fn answer(&mut self, ticket: Ticket, reply: LocalReply) {
        self.act(Action::Answer { ticket, reply });
    }

    /// Answers once everything that the reply may rely on is durable, and otherwise when it cannot
    /// be made so.
    fn answer_durably(&mut self, ticket: Ticket, reply: LocalReply, otherwise: LocalReply) {
        self.act(Action::Persist(Persist {
            then: vec![Action::Answer { ticket, reply }],
            otherwise: vec![Action::Answer { ticket, reply: otherwise }],
            ..Persist::default()
        }));
    }
}

/// The deciding part of a node.
pub struct Core {
    me: Me,
    membership: Membership,
    /// What follows from the statements of the roster now.
    roster: Arc<Roster>,
    policy: Policy,
    rng: ChaCha20Rng,
    cache: LocatorCache,
    replays: ReplayGuard,
    complaints: Complaints,
    peers: Peers,
    digests: Digests,
    fetches: Fetches,
    own: BTreeMap<OrganizationId, OwnDigest>,
    /// What each request to a peer was for, and when (uptime) it was sent.
    outstanding: HashMap<u64, (Outstanding, u64)>,
    inquiries: BTreeMap<u64, Inquiry>,
    blindings: BTreeMap<u64, BlindingJob>,
    writes: BTreeMap<u64, WriteJob>,
    /// Jobs that can be decided; one in a turn, so that each sees what the one before it wrote.
    ready_writes: VecDeque<(WriteJob, Result<(), LocateError>)>,
    shares: shares::Shares,
    ceremonies: ceremony::Ceremonies,
    caught: evidence::Caught,
    evaluated: evaluator::Evaluated,
    usage: usage::Usage,
    /// Dial-backs under way for applicants.
    dial_backs: BTreeMap<u64, joining::DialBack>,
    /// Whether peers have told which heads of this node they know.
    recall: Recall,
    /// Wall clock minus uptime at the last turn: it moves only when the clock jumps.
    clock_base: Option<i128>,
    /// When this node started, by its own clock.
    started: Timestamp,
    next_number: u64,
    maintenance_at: u64,
}

impl Core {
    /// A core that has seen nothing yet; all its randomness comes from `seed`.
    ///
    /// # Panics
    /// When `me` serves no organization: there would be nobody to ask or answer for.
    #[must_use]
    pub fn new(mut me: Me, statements: Statements, policy: Policy, seed: [u8; 32]) -> Self {
        assert!(!me.served.is_empty(), "a node serves at least one organization");
        let own = me
            .served
            .iter()
            .map(|served| (served.organization, OwnDigest::new(served.organization)))
            .collect();
        let dealt = me.share.take();
        // Of the time nothing is known yet; the start makes it anew.
        let roster = Arc::new(statements.roster(Timestamp(0)));
        Self {
            me,
            membership: Membership::new(statements),
            roster,
            policy,
            rng: ChaCha20Rng::from_seed(seed),
            cache: LocatorCache::default(),
            replays: ReplayGuard::default(),
            complaints: Complaints::default(),
            peers: Peers::default(),
            digests: Digests::default(),
            fetches: Fetches::default(),
            own,
            outstanding: HashMap::new(),
            inquiries: BTreeMap::new(),
            blindings: BTreeMap::new(),
            writes: BTreeMap::new(),
            ready_writes: VecDeque::new(),
            shares: shares::Shares::new(dealt),
            ceremonies: ceremony::Ceremonies::default(),
            caught: evidence::Caught::default(),
            evaluated: evaluator::Evaluated::default(),
            usage: usage::Usage::default(),
            dial_backs: BTreeMap::new(),
            recall: Recall::Told,
            clock_base: None,
            started: Timestamp(0),
            next_number: 0,
            maintenance_at: 0,
        }
    }

    /// Takes up what an earlier life left in the store.
    ///
    /// # Errors
    /// When an own row is damaged; cached rows of others are dropped and fetched again.
    pub fn start(&mut self, now: Now, store: &dyn Store) -> Result<Vec<Action>, rows::RowError> {
        let mut turn = Turn { now, store, actions: Vec::new() };
        self.started = now.unix;
        self.load_ceremonies(&turn)?;
        self.load_membership(&mut turn)?;
        self.load_evidence(&turn)?;
        self.load_usage(&turn)?;
        self.load_own_digests(&mut turn)?;
        self.load_heads(&mut turn)?;
        Ok(turn.actions)
    }

    /// Decides what to do about `event`.
    pub fn handle(&mut self, event: Event, now: Now, store: &dyn Store) -> Vec<Action> {
        let mut turn = Turn { now, store, actions: Vec::new() };
        let turn_mut = &mut turn;
        match event {
            Event::Connected { peer } => self.on_connected(turn_mut, peer),
            Event::Disconnected { peer } => self.on_disconnected(turn_mut, &peer),
            Event::DialFailed { peer, reason } => self.on_dial_failed(turn_mut, peer, reason),
            Event::Request { peer, plane, id, frame } => {
                self.on_request(turn_mut, peer, plane, id, &frame);
            }
            Event::Response { token, peer, result } => {
                self.on_response(turn_mut, token, peer, result);
            }
            Event::Gossip { id, via, frame } => self.on_gossip(turn_mut, id, via, &frame),
            Event::DialBack { token, result } => self.on_dial_back(turn_mut, token, result),
            Event::Local { ticket, asking, request } => {
                self.on_local(turn_mut, ticket, asking, request);
            }
            Event::Blob { hash, bytes } => self.on_blob(turn_mut, hash, bytes),
            Event::FilterBuilt { organization, result } => {
                self.on_filter_built(turn_mut, organization, result);
            }
            Event::FilterAudited { organization, result } => {
                self.on_filter_audited(turn_mut, organization, result);
            }
            Event::Tick => {}
        }
        self.on_time(turn_mut);
        turn.actions
    }

    /// The uptime at which [`Event::Tick`] is due if nothing else happens first.
    #[must_use]
    pub fn next_wakeup(&self) -> u64 {
        let inquiries = self.inquiries.values().map(Inquiry::wakeup);
        let blindings = self.blindings.values().map(BlindingJob::wakeup);
        let own = self.own.values().filter(|own| self.roster.is_admitted(&own.organization));
        let own = own.map(|own| own.wakeup(self.is_recalling()));
        let writes = (!self.ready_writes.is_empty()).then_some(0);
        let soon = self.maintenance_at.min(self.membership.wakeup());
        let soon = soon.min(self.shares.wakeup()).min(self.ceremonies.wakeup());
        inquiries.chain(blindings).chain(own).chain(writes).fold(soon, u64::min)
    }

    /// Does whatever is due by now.
    fn on_time(&mut self, turn: &mut Turn<'_>) {
        self.watch_clock(turn);
        self.refresh_when_due(turn);
        self.follow_evaluators(turn);
        self.drive_ceremonies(turn);
        self.expire_blindings(turn);
        self.expire_inquiries(turn);
        if let Some((job, blinded)) = self.ready_writes.pop_front() {
            self.finish_writes(turn, job, blinded);
        }
        self.advertise_due(turn);
        if turn.now.uptime >= self.maintenance_at {
            self.maintenance_at = turn.now.uptime + MAINTENANCE_INTERVAL;
            self.maintain_membership(turn);
            self.maintain_usage(turn);
            self.maintain_connections(turn);
            self.maintain_digests(turn);
        }
    }

    /// Whatever is asked is of `asking` alone: its patients, its pointers, its sources.
    fn on_local(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        asking: OrganizationId,
        request: LocalRequest,
    ) {
        const BUSY: &str = "too many requests are under way; try again in a moment";
        let full =
            self.inquiries.len() >= INQUIRIES_MAX || self.outstanding.len() >= OUTSTANDING_MAX;
        match request {
            LocalRequest::Locate(_) if full => {
                turn.answer(ticket, LocalReply::Locate(Err(LocateError::Busy(BUSY))));
            }
            LocalRequest::Locate(request) => self.start_locate(turn, ticket, asking, request),
            LocalRequest::Read(_) if full => {
                turn.answer(ticket, LocalReply::Read(Err(ReadError::Busy(BUSY))));
            }
            LocalRequest::Read(request) => self.start_read(turn, ticket, asking, request),
            LocalRequest::Write(writes)
                if self.writes.len() + self.ready_writes.len() >= WRITE_JOBS_MAX
                    || writes.len() > WRITES_PER_REQUEST_MAX =>
            {
                let busy = writes.iter().map(|_| Err(WriteError::Busy(BUSY))).collect();
                turn.answer(ticket, LocalReply::Write(busy));
            }
            LocalRequest::Write(writes) => self.start_writes(turn, ticket, asking, writes),
            LocalRequest::Rehearse(puts) => self.rehearse(turn, ticket, asking, puts),
            LocalRequest::SourceIds { source, after } => {
                self.list_source(turn, ticket, (asking, &source), after.as_ref());
            }
            LocalRequest::Export { source, after } => {
                self.export(turn, ticket, (asking, source.as_ref()), after.as_ref());
            }
            LocalRequest::ConfirmRestored => self.confirm_restored(turn, ticket, asking),
            LocalRequest::Invite { life } => self.invite(turn, ticket, asking, life),
            LocalRequest::Applicants => self.applicants(turn, ticket, asking),
            LocalRequest::RosterFile => {
                let file = self.membership.statements.write();
                turn.answer(ticket, LocalReply::RosterFile(file));
            }
            LocalRequest::SubmitStatements(statements) => {
                let results = self.take_statements(turn, &statements, membership::From::Here);
                let is_new = |result: &Result<_, _>| matches!(result, Ok(local::Submitted::New));
                self.membership.inventory.is_shared &= !results.iter().any(is_new);
                let results = results.into_iter().map(|r| r.map_err(|error| error.to_string()));
                let failed = statements.iter().map(|_| Err(String::new())).collect();
                turn.answer_durably(
                    ticket,
                    LocalReply::SubmitStatements(results.collect()),
                    LocalReply::SubmitStatements(failed),
                );
            }
            LocalRequest::JoinCeremony(consent) => {
                self.join_ceremony(turn, ticket, asking, &consent);
            }
            LocalRequest::Usage => {
                let usage = self.usage_report(turn).map_err(|error| error.to_string());
                turn.answer(ticket, LocalReply::Usage(usage));
            }
            LocalRequest::Evidence => {
                let evidence = self.evidence();
                turn.answer(ticket, LocalReply::Evidence(evidence));
            }
            LocalRequest::Status => {
                let report = self.status(&asking, turn.now, turn.store);
                turn.answer(ticket, LocalReply::Status(Box::new(report)));
            }
        }
    }

    fn on_request(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PublicKey,
        plane: Plane,
        id: InboundId,
        frame: &[u8],
    ) {
        self.peers.heard(&peer, turn.now.uptime);
        match plane {
            Plane::Hello => self.on_hello(turn, peer, id, frame),
            Plane::Ask => self.on_ask(turn, peer, id, frame),
            Plane::Evaluate => self.on_evaluate(turn, peer, id, frame),
            Plane::Digests => self.on_digests_request(turn, peer, id, frame),
            Plane::Roster => self.on_roster_request(turn, peer, id, frame),
        }
    }

    fn on_response(
        &mut self,
        turn: &mut Turn<'_>,
        token: u64,
        peer: PublicKey,
        result: Result<Vec<u8>, RequestFailure>,
    ) {
        let Some((outstanding, sent)) = self.outstanding.remove(&token) else { return };
        if result.is_ok() {
            self.peers.heard(&peer, turn.now.uptime);
        } else if result == Err(RequestFailure::Timeout) && !self.peers.heard_since(&peer, sent) {
            // A peer that lost its power leaves a connection that looks open for a long time.
            turn.act(Action::Disconnect(peer));
        }
        match outstanding {
            Outstanding::Hello { sent } => self.on_hello_answer(turn, peer, sent, result),
            Outstanding::Compare => self.on_versions(turn, peer, result),
            Outstanding::Heads => self.on_heads(turn, peer, result),
            Outstanding::RosterCompare { digests } => {
                self.on_roster_compared(turn, peer, &digests, result);
            }
            Outstanding::RosterBuckets { fetch } => {
                self.on_roster_hashes(turn, peer, fetch, result);
            }
            Outstanding::RosterStatements { fetch, wanted } => {
                self.on_roster_statements(turn, peer, (fetch, &wanted), result);
            }
            Outstanding::Blob { hash, offset } => {
                self.on_piece(turn, peer, hash, offset, result);
            }
            Outstanding::Ask { inquiry, target } => {
                self.on_answer(turn, inquiry, target, result);
            }
            Outstanding::Evaluate { job, evaluator } => {
                self.on_evaluated(turn, job, evaluator, result);
            }
        }
    }

    /// Sends a request to a peer and remembers what it was for.
    fn send(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PublicKey,
        plane: Plane,
        frame: Vec<u8>,
        purpose: Outstanding,
    ) {
        let token = self.number();
        self.outstanding.insert(token, (purpose, turn.now.uptime));
        turn.act(Action::Send { token, peer, plane, frame });
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// One of some, by chance.
    fn any_of<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        let at = self.rng.next_u64().checked_rem(items.len() as u64)?;
        items.get(usize::try_from(at).ok()?).copied()
    }

    fn request_id(&mut self) -> RequestId {
        let mut id = [0; 16];
        self.rng.fill_bytes(&mut id);
        RequestId(id)
    }

    fn served(&self, organization: &OrganizationId) -> Option<&Served> {
        self.me.served.iter().find(|served| served.organization == *organization)
    }

    /// Refuses what an organization that is not admitted cannot do: nobody would answer it.
    fn check_admitted(&self, asking: &OrganizationId) -> Result<(), NotAdmitted> {
        if self.roster.is_admitted(asking) {
            return Ok(());
        }
        let (ods, name) = self.label(asking);
        let standing = match self.roster.member(asking).map(|member| member.standing) {
            Some(Standing::Suspended) => "is suspended from the network",
            _ => "is no longer a member of the network",
        };
        Err(NotAdmitted { ods, name, standing })
    }

    /// Name and ODS code of an organization, for people.
    fn label(&self, organization: &OrganizationId) -> (OdsCode, String) {
        match self.roster.member(organization) {
            Some(member) => (member.ods.clone(), member.name.clone()),
            None => ("UNKNOWN".parse().expect("a well-formed code"), organization.to_string()),
        }
    }

    /// Checks the times of a request, and that it was not seen before.
    fn admit_request(
        &mut self,
        turn: &Turn<'_>,
        asking: OrganizationId,
        request: RequestId,
        issued: Timestamp,
        expires: Timestamp,
    ) -> Result<(), RefusalCode> {
        let now = turn.now.unix;
        let skew = self.roster.parameters().clock_skew_max;
        let life = self.roster.parameters().request_life_max;
        let timely = issued <= now.plus(skew) && now <= expires.plus(skew);
        if !timely || expires < issued || expires.since(issued) > life {
            return Err(RefusalCode::Clock);
        }
        // Only what would still be accepted needs to be remembered.
        match self.replays.check(asking, request, expires.plus(skew), now) {
            replay::Seen::New => Ok(()),
            replay::Seen::Before => Err(RefusalCode::Replayed),
            replay::Seen::Full => Err(RefusalCode::Busy),
        }
    }
}
