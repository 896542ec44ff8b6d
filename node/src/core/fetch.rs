//! Fetching the parts of digests by their hash, from any peer that has them.
//!
//! A part is first looked for on disk, then asked of the peer that passed the head on, of the
//! organization itself, of anybody else connected. Its length is known from the class, so a peer
//! cannot make us take more; its hash is checked by the shell that writes it. A piece that is not
//! full is the last: nobody can hold a fetch up with crumbs.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use signpost_protocol::{
    ContentHash, NodeId, OrganizationId, PublicKey, codec,
    digest::{DigestsAnswer, DigestsRequest},
    limits,
};
use tracing::warn;

use super::{Core, Outstanding, Turn, catch_up::digests_answer, event::Action};
use crate::{
    digests::SharedBytes,
    network::{Plane, RequestFailure},
};

/// Parts being fetched at once: each may be a 100 MB filter, held in memory until it is whole.
const FETCHES_MAX: usize = 4;

/// ... of which parts of one writer's digest.
const FETCHES_PER_WRITER_MAX: usize = 2;
/// Milliseconds before a part that nobody had is asked for again: doubled each time ...
const RETRY_MIN: u64 = 500;
/// ... up to this.
const RETRY_MAX: u64 = 60_000;

/// Milliseconds in which a peer has to send a part, besides ...
const FETCH_TIME: u64 = 30_000;
/// ... these for each piece: 128 KiB a second is slower than any line that a node should have. A
/// peer that takes its time must not keep the place of others.
const FETCH_TIME_PER_PIECE: u64 = 2_000;

type Wanter = (OrganizationId, NodeId);

/// Parts of digests that incoming heads name.
#[derive(Default)]
pub(super) struct Fetches {
    wants: BTreeMap<ContentHash, Want>,
}

struct Want {
    /// The greatest length that any head gives it. Heads may lie about others' parts, so a shorter
    /// one is not refused here; its hash and, once assembled, its class decide.
    length_max: u64,
    wanters: BTreeSet<Wanter>,
    source: PublicKey,
    /// Peers that do not have it, or sent something else.
    tried: BTreeSet<PublicKey>,
    /// How often nobody had it, and the uptime before which it is not tried again.
    failures: u32,
    retry_at: u64,
    state: State,
}

enum State {
    /// Being looked for on disk.
    Looking,
    /// To be fetched.
    Queued,
    /// Being fetched.
    Fetching { from: PublicKey, bytes: Vec<u8>, until: u64 },
    /// Whole, being checked and written.
    Storing { from: PublicKey },
    /// Here.
    Here(SharedBytes),
}

impl Want {
    /// The organizations whose digests it is part of.
    fn writers(&self) -> impl Iterator<Item = OrganizationId> + '_ {
        self.wanters.iter().map(|(organization, _)| *organization)
    }

    /// Milliseconds that one peer may take to send it.
    fn time_max(&self) -> u64 {
        let pieces = self.length_max.div_ceil(limits::BLOB_PIECE_BYTES_MAX as u64);
        FETCH_TIME + pieces.saturating_mul(FETCH_TIME_PER_PIECE)
    }
}

impl Fetches {
    /// Gives up on peers that take too long.
    fn give_up(&mut self, uptime: u64) {
        for want in self.wants.values_mut() {
            match want.state {
                State::Fetching { from, until, .. } if until <= uptime => {
                    warn!(peer = ?from, "a peer takes too long to send a part of a digest");
                    want.tried.insert(from);
                    want.state = State::Queued;
                }
                _ => {}
            }
        }
    }

    pub(super) fn has(&self, hash: &ContentHash) -> bool {
        self.bytes(hash).is_some()
    }

    pub(super) fn bytes(&self, hash: &ContentHash) -> Option<SharedBytes> {
        match &self.wants.get(hash)?.state {
            State::Here(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }

    /// Forgets what `wanter` no longer needs: everything that is not among the blobs `named` by
    /// some head in use. Parts in use stay, so that the next head shares them.
    pub(super) fn release(&mut self, wanter: &Wanter, named: &HashSet<ContentHash>) {
        self.wants.retain(|hash, want| {
            if !named.contains(hash) {
                want.wanters.remove(wanter);
            }
            !want.wanters.is_empty()
        });
    }
}

impl Core {
    pub(super) fn want_blob(
        &mut self,
        turn: &mut Turn<'_>,
        hash: ContentHash,
        length: u64,
        wanter: Wanter,
        source: PublicKey,
    ) {
        let want = self.fetches.wants.entry(hash).or_insert_with(|| {
            turn.act(Action::LoadBlob(hash));
            let wanters = BTreeSet::new();
            let tried = BTreeSet::new();
            let (failures, retry_at) = (0, 0);
            Want {
                length_max: length,
                wanters,
                source,
                tried,
                failures,
                retry_at,
                state: State::Looking,
            }
        });
        want.length_max = want.length_max.max(length);
        want.wanters.insert(wanter);
    }

    /// A part was found on disk, or stored, or neither.
    pub(super) fn on_blob(
        &mut self,
        turn: &mut Turn<'_>,
        hash: ContentHash,
        bytes: Option<SharedBytes>,
    ) {
        self.on_own_blob(turn, hash, bytes.clone());
        let Some(want) = self.fetches.wants.get_mut(&hash) else { return };
        match bytes {
            Some(bytes) => {
                want.state = State::Here(bytes);
                for wanter in want.wanters.clone() {
                    self.promote(turn, wanter);
                }
            }
            None => {
                let from = match want.state {
                    State::Storing { from } => Some(from),
                    _ => None,
                };
                want.tried.extend(from);
                want.state = State::Queued;
                if let Some(from) = from {
                    self.note_bad_blob(&from);
                }
            }
        }
        self.pump_fetches(turn);
    }

    /// Starts fetching what is queued, as far as there is room and somebody to ask. What failed
    /// least comes first, and no writer takes more than its share: heads that name parts which
    /// nobody has cannot keep the others from being fetched.
    pub(super) fn pump_fetches(&mut self, turn: &mut Turn<'_>) {
        let uptime = turn.now.uptime;
        self.fetches.give_up(uptime);
        let mut busy: BTreeMap<OrganizationId, usize> = BTreeMap::new();
        let mut room = FETCHES_MAX;
        let mut queued = Vec::new();
        for (hash, want) in &self.fetches.wants {
            match want.state {
                State::Fetching { .. } | State::Storing { .. } => {
                    room = room.saturating_sub(1);
                    want.writers().for_each(|writer| *busy.entry(writer).or_default() += 1);
                }
                State::Queued if want.retry_at <= uptime => queued.push((want.failures, *hash)),
                _ => {}
            }
        }
        queued.sort_unstable();
        for (_, hash) in queued {
            if room == 0 {
                return;
            }
            let source = self.source_of(turn, &hash);
            let want = self.fetches.wants.get_mut(&hash).expect("listed above");
            let shares = want.writers().map(|writer| busy.get(&writer).copied().unwrap_or(0));
            if shares.min().unwrap_or(0) >= FETCHES_PER_WRITER_MAX {
                continue;
            }
            let Some(peer) = source else {
                // Nobody has it now; peers that failed are tried again later, never given up.
                if !want.tried.is_empty() {
                    let wait = RETRY_MIN.saturating_mul(1 << want.failures.min(10)).min(RETRY_MAX);
                    want.tried.clear();
                    want.failures = want.failures.saturating_add(1);
                    want.retry_at = uptime + wait;
                }
                continue;
            };
            want.writers().for_each(|writer| *busy.entry(writer).or_default() += 1);
            want.state =
                State::Fetching { from: peer, bytes: Vec::new(), until: uptime + want.time_max() };
            self.ask_piece(turn, peer, hash, 0);
            room -= 1;
        }
    }

    pub(super) fn on_piece(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PublicKey,
        hash: ContentHash,
        offset: u64,
        result: Result<Vec<u8>, RequestFailure>,
    ) {
        let answer = digests_answer(&peer, result);
        let Some(want) = self.fetches.wants.get_mut(&hash) else { return };
        let State::Fetching { from, bytes, .. } = &mut want.state else { return };
        if *from != peer || bytes.len() as u64 != offset {
            // Of an attempt that was given up.
            return;
        }
        match answer {
            Some(DigestsAnswer::Blob(piece))
                if (1..=want.length_max).contains(&((bytes.len() + piece.len()) as u64)) =>
            {
                bytes.extend_from_slice(&piece);
                let is_full = piece.len() == limits::BLOB_PIECE_BYTES_MAX;
                if is_full && (bytes.len() as u64) < want.length_max {
                    let offset = bytes.len() as u64;
                    return self.ask_piece(turn, peer, hash, offset);
                }
                let bytes = std::mem::take(bytes);
                want.state = State::Storing { from: peer };
                turn.act(Action::StoreBlob { hash, bytes });
            }
            other => {
                if matches!(other, Some(DigestsAnswer::Blob(_))) {
                    warn!(
                        ?peer,
                        at_most = want.length_max,
                        "refused a part of a digest: wrong length"
                    );
                }
                want.tried.insert(peer);
                want.state = State::Queued;
                self.pump_fetches(turn);
            }
        }
    }

    fn ask_piece(&mut self, turn: &mut Turn<'_>, peer: PublicKey, hash: ContentHash, offset: u64) {
        let frame = codec::encode(&DigestsRequest::Blob(hash, offset));
        self.send(turn, peer, Plane::Digests, frame, Outstanding::Blob { hash, offset });
    }

    /// Whom to ask for a part: the organization itself, who passed the head on, then anybody.
    fn source_of(&self, turn: &Turn<'_>, hash: &ContentHash) -> Option<PublicKey> {
        let want = self.fetches.wants.get(hash)?;
        let owners = want.wanters.iter().filter_map(|(organization, node)| {
            let member = self.roster.member(organization)?;
            let node = member.nodes.iter().find(|known| known.node == *node)?;
            self.way_to(node, turn.now.unix)
        });
        owners
            .chain([want.source])
            .chain(self.peers.connected.keys().copied())
            .find(|peer| self.peers.is_connected(peer) && !want.tried.contains(peer))
    }
}
