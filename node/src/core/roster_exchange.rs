//! Comparing the statements of the roster with peers, and handing them out.
//!
//! Gossip spreads what is new; this finds whatever gossip missed: after a partition, a month away,
//! a restored back-up. Each node asks for what it lacks itself (`roster_fetch`); nobody pushes.

use std::{collections::HashSet, mem};

use signpost_protocol::{
    ContentHash, PublicKey,
    codec::{self, Bounded, ByteString},
    limits,
    roster_exchange::{BucketDigests, RosterAnswer, RosterRequest},
};
use tracing::{debug, warn};

use super::{
    Core, Outstanding, Turn,
    event::{Action, Persist},
};
use crate::network::{InboundId, Plane, RequestFailure};

/// Milliseconds between two comparisons with a neighbour picked by chance: what gossip lost is
/// found within minutes, for a few hundred bytes each time.
const COMPARE_INTERVAL: u64 = 30_000;
/// Milliseconds between two comparisons while there is reason to expect more: little for one who
/// waits, and more than a peer needs that would have this node ask for ever.
const COMPARE_AGAIN: u64 = 1_000;
/// Milliseconds for which the digests of the own statements may be old, while statements keep
/// coming: to make them anew takes some 20 ms in a network of 20,000.
const DIGESTS_AGE_MAX: u64 = 1_000;
/// Statements that were refused and are not asked for again, for at least this many milliseconds ...
const REFUSED_FOR: u64 = 600_000;
/// ... the first so many in that time: 256 KiB, and work for whoever sends them.
const REFUSED_MAX: usize = 4_096;
/// Milliseconds for which a node that has just started waits to compare with somebody else before
/// it believes the only one that it can reach: members are connected within a second or two.
const PATIENCE: u64 = 5_000;

/// What this node knows of its own statements, and of others' that are of no use.
#[derive(Default)]
pub(super) struct Inventory {
    /// With their hash, and the uptime at which they were made.
    digests: Option<(BucketDigests, ContentHash, u64)>,
    /// Whether statements have come or gone since then.
    has_changed: bool,
    /// Those of the present span, and of the one before.
    refused: [HashSet<ContentHash>; 2],
    refused_span: u64,
    pub(super) compare_at: u64,
    hinted_at: Option<u64>,
    /// Two peers, no more, with which this node has had the same statements in this life.
    compared: Vec<PublicKey>,
    /// Whether a peer has been found to have the same statements, in this life and since an admin last
    /// brought a new one here.
    pub(super) is_shared: bool,
}

impl Inventory {
    /// Notes that statements have come or gone.
    pub(super) const fn changed(&mut self) {
        self.has_changed = true;
    }

    /// Has the digests made anew, and compared, at once.
    pub(super) fn begin_anew(&mut self, uptime: u64) {
        self.digests = None;
        self.compare_at = uptime;
    }

    /// Notes a statement that is of no use now.
    pub(super) fn refuse(&mut self, statement: ContentHash, uptime: u64) {
        let span = uptime / REFUSED_FOR;
        if self.refused_span != span {
            self.refused_span = span;
            self.refused[1] = mem::take(&mut self.refused[0]);
        }
        if self.refused[0].len() < REFUSED_MAX {
            self.refused[0].insert(statement);
        }
    }

    pub(super) fn is_refused(&self, statement: &ContentHash) -> bool {
        self.refused.iter().any(|refused| refused.contains(statement))
    }

    /// Notes that a peer has the statements of these digests, if they are those of now.
    fn shared(&mut self, digests: &ContentHash) {
        let is_current = self.digests.as_ref().is_some_and(|(_, made, _)| made == digests);
        self.is_shared |= is_current && !self.has_changed;
    }

    /// Everything may be asked for again.
    pub(super) fn forget_refused(&mut self) {
        self.refused = Default::default();
    }
}

impl Core {
    fn roster_digests(&mut self, uptime: u64) -> (BucketDigests, ContentHash) {
        let Inventory { digests, has_changed, .. } = &mut self.membership.inventory;
        let is_old = |at: u64| *has_changed && uptime >= at + DIGESTS_AGE_MAX;
        if digests.as_ref().is_none_or(|(_, _, at)| is_old(*at)) {
            let made = BucketDigests::of(self.membership.statements.hashes());
            let hash = made.hash();
            *digests = Some((made, hash, uptime));
            *has_changed = false;
        }
        let (digests, hash, _) = digests.as_ref().expect("made above");
        (digests.clone(), *hash)
    }

    /// Asks a peer whether it has the same statements.
    pub(super) fn compare_roster(&mut self, turn: &mut Turn<'_>, peer: PublicKey) {
        let digests = self.roster_digests(turn.now.uptime).1;
        let request = RosterRequest::Compare(digests);
        self.ask_roster(turn, peer, &request, Outstanding::RosterCompare { digests });
    }

    /// Compares with a peer that seems to know more, unless that was done just now.
    pub(super) fn compare_roster_soon(&mut self, turn: &mut Turn<'_>, peer: PublicKey) {
        let uptime = turn.now.uptime;
        let hinted_at = &mut self.membership.inventory.hinted_at;
        if hinted_at.is_none_or(|at| uptime >= at + COMPARE_AGAIN) {
            *hinted_at = Some(uptime);
            self.compare_roster(turn, peer);
        }
    }

    /// Compares with a neighbour from time to time; a node that has just started, often.
    pub(super) fn maintain_roster_exchange(&mut self, turn: &mut Turn<'_>) {
        let uptime = turn.now.uptime;
        let inventory = &mut self.membership.inventory;
        if inventory.compare_at > uptime {
            return;
        }
        let is_new = inventory.compared.is_empty();
        inventory.compare_at = uptime + if is_new { COMPARE_AGAIN } else { COMPARE_INTERVAL };
        let peers: Vec<PublicKey> = self.peers.connected.keys().copied().collect();
        if let Some(peer) = self.any_of(&peers) {
            self.compare_roster(turn, peer);
        }
    }

    /// Has this node compare again in a moment.
    pub(super) fn compare_again(&mut self, uptime: u64) {
        let at = &mut self.membership.inventory.compare_at;
        *at = (*at).min(uptime + COMPARE_AGAIN);
    }

    /// Notes that this node has all that a peer has.
    pub(super) fn has_compared(&mut self, peer: PublicKey) {
        let compared = &mut self.membership.inventory.compared;
        if compared.len() < 2 && !compared.contains(&peer) {
            compared.push(peer);
        }
    }

    /// Whether this node, since it started, has yet to hear from anybody but `peer` what became law
    /// while it was away: with an old back-up, `peer` may be one that was cut off since.
    pub(super) fn may_have_missed_law(&self, peer: &PublicKey, uptime: u64) -> bool {
        let compared = &self.membership.inventory.compared;
        if self.is_alone() || compared.iter().any(|other| other != peer) {
            return false;
        }
        compared.is_empty() || uptime < PATIENCE
    }

    /// Whether this node, since it started, had all that some peer has; also where there is none.
    pub(super) fn has_compared_roster(&self) -> bool {
        !self.membership.inventory.compared.is_empty() || self.is_alone()
    }

    /// Whether the roster has no other node than this one.
    pub(super) fn is_alone(&self) -> bool {
        let mut nodes = self.roster.admitted().flat_map(|member| &member.nodes);
        nodes.all(|node| node.node == self.me.node)
    }

    pub(super) fn ask_roster(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PublicKey,
        request: &RosterRequest,
        purpose: Outstanding,
    ) {
        self.send(turn, peer, Plane::Roster, codec::encode(request), purpose);
    }

    pub(super) fn on_roster_request(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PublicKey,
        id: InboundId,
        frame: &[u8],
    ) {
        let frame = (frame, limits::ROSTER_REQUEST_FRAME_BYTES_MAX);
        let request = self.request_of_member(turn, (&peer, id), "roster request", frame);
        let Some(request) = request else { return };
        let answer = match request {
            RosterRequest::Compare(theirs) => {
                let (digests, ours) = self.roster_digests(turn.now.uptime);
                self.membership.inventory.shared(&theirs);
                if ours == theirs { RosterAnswer::Same } else { RosterAnswer::Digests(digests) }
            }
            RosterRequest::Buckets(buckets) => self.hashes_in(&buckets),
            RosterRequest::Statements(wanted) => {
                let statements = &self.membership.statements;
                let found = wanted.iter().filter_map(|hash| statements.get(hash));
                let found = found.filter_map(|bytes| ByteString::new(bytes.to_vec())).collect();
                RosterAnswer::Statements(Bounded::new(found).expect("no more than were asked for"))
            }
            RosterRequest::Founding => {
                let founding = self.membership.statements.founding().to_vec();
                RosterAnswer::Founding(ByteString::new(founding).expect("it was read once"))
            }
        };
        if !matches!(answer, RosterAnswer::Statements(_)) {
            return turn.reply(id, &answer);
        }
        // What this node has made itself must not be elsewhere before it is on its own disk.
        let frame = codec::encode(&answer);
        turn.act(Action::Persist(Persist {
            then: vec![Action::Reply { id, frame }],
            otherwise: vec![Action::Refuse { id }],
            ..Persist::default()
        }));
    }

    /// The hashes in the first of these buckets, as many as an answer holds.
    fn hashes_in(&self, buckets: &[u8]) -> RosterAnswer {
        let mut hashes: Vec<ContentHash> = Vec::new();
        let mut covered = 0;
        for bucket in buckets {
            let statements = self.membership.statements.hashes_in(*bucket);
            let in_bucket: Vec<ContentHash> =
                statements.copied().take(limits::STATEMENT_HASHES_MAX).collect();
            if hashes.len() + in_bucket.len() > limits::STATEMENT_HASHES_MAX {
                break;
            }
            hashes.extend(in_bucket);
            covered += 1;
        }
        let hashes = Bounded::new(hashes).expect("their number was looked at");
        RosterAnswer::Hashes { buckets: covered, hashes }
    }

    pub(super) fn on_roster_compared(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PublicKey,
        digests: &ContentHash,
        result: Result<Vec<u8>, RequestFailure>,
    ) {
        match self.roster_answer(turn, &peer, result) {
            Some(RosterAnswer::Same) => {
                self.membership.inventory.shared(digests);
                self.has_compared(peer);
            }
            Some(RosterAnswer::Digests(theirs)) => {
                let (ours, _) = self.roster_digests(turn.now.uptime);
                let buckets = ours.differing(&theirs).into_inner();
                self.fetch_roster(turn, peer, buckets);
            }
            _ => {}
        }
    }

    /// Decodes an answer on the roster plane; failures are routine and repaired by the next
    /// comparison.
    pub(super) fn roster_answer(
        &mut self,
        turn: &Turn<'_>,
        peer: &PublicKey,
        result: Result<Vec<u8>, RequestFailure>,
    ) -> Option<RosterAnswer> {
        let frame = result
            .inspect_err(|failure| debug!(?peer, %failure, "no answer on the roster"))
            .ok()?;
        let answer = codec::decode("roster answer", &frame, limits::ROSTER_ANSWER_FRAME_BYTES_MAX);
        answer
            .inspect_err(|error| {
                if self.complaints.may_log(peer, turn.now.uptime) {
                    warn!(?peer, %error, "refused a roster answer");
                }
            })
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: usize) -> ContentHash {
        ContentHash::of(&n.to_be_bytes())
    }

    #[test]
    fn what_a_peer_has_is_known_of_the_digests_of_now_alone() {
        let mut inventory = Inventory::default();
        let digests = BucketDigests::of([hash(0)].iter());
        let old = digests.hash();
        inventory.shared(&old);
        assert!(!inventory.is_shared, "these are not its own");
        inventory.digests = Some((digests, old, 0));
        inventory.changed();
        inventory.shared(&old);
        assert!(!inventory.is_shared, "a statement has come since");
        inventory.has_changed = false;
        inventory.shared(&hash(1));
        assert!(!inventory.is_shared, "another's");
        inventory.shared(&old);
        assert!(inventory.is_shared);
    }

    #[test]
    fn what_was_refused_is_asked_for_again_later_and_is_never_more_than_fits() {
        let mut inventory = Inventory::default();
        (0..2 * REFUSED_MAX).for_each(|n| inventory.refuse(hash(n), 0));
        assert!(inventory.is_refused(&hash(0)) && inventory.is_refused(&hash(REFUSED_MAX - 1)));
        assert!(!inventory.is_refused(&hash(REFUSED_MAX)), "there is no room for it");
        inventory.refuse(hash(REFUSED_MAX), REFUSED_FOR);
        assert!(inventory.is_refused(&hash(0)) && inventory.is_refused(&hash(REFUSED_MAX)));
        inventory.refuse(hash(1), 2 * REFUSED_FOR);
        assert!(!inventory.is_refused(&hash(0)) && inventory.is_refused(&hash(1)));
        inventory.forget_refused();
        assert!(!inventory.is_refused(&hash(1)), "another clock, another verdict");
    }
}
