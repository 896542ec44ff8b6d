//! Whether this node lacks something that it once had.
//!
//! A node that starts cannot tell its disk of today from that of yesterday; its peers can, for they
//! keep its digest heads. So after a start it first learns which of its heads they know. One that
//! this node issued after what it has stored shows that it came back from a back-up: it goes on
//! above that version and is named as restored in everybody's results, until its admin confirms
//! that the producers have sent again what came later. A store that has lost its last writes says so
//! itself when it is opened; that counts the same.
//!
//! Until somebody has told, this node issues no head and answers no ask: both would say "this is
//! all" without knowing. That takes a round trip where peers are well.

use std::collections::BTreeMap;

use signpost_keys::Verified;
use signpost_protocol::{
    OrganizationId, Timestamp,
    digest::{DigestHead, HeadVersion, Life},
};
use tracing::{info, warn};

use super::{
    Core, Persist, Ticket, Turn,
    completeness::{Cause, CauseKind, Completeness},
    event::Action,
    local::{Confirmation, LocalReply},
    own_digest::OwnDigest,
};
use crate::{
    network::Verdict,
    store::{Batch, ROLLED_BACK_KEY},
};

/// Milliseconds that a node whose peers know less than itself waits for one that knows more: the
/// members of a network are connected within a second or two of a start. Peers know less when this
/// node stopped between writing a head down and sending it, which must not silence it for ever.
const PATIENCE: u64 = 5_000;
/// Milliseconds after its founding in which nobody remembers a network's heads, because there were none.
const FOUNDING_TIME: u64 = 600_000;

/// What this life began with, for one organization, and what peers showed beyond it.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// The version of the stored head; 0 without one.
    stored: u64,
    /// When that head was issued: what was stored by then is not in doubt.
    stored_as_of: Option<Timestamp>,
    /// Versions from here on were issued in this life.
    first_of_life: Option<u64>,
    /// Heads were issued elsewhere, or in a life that is lost, up to this version.
    floor: u64,
    restored_as_of: Option<Timestamp>,
}

impl Past {
    /// Begins with a stored head.
    pub(super) fn begin(&mut self, stored: &DigestHead) {
        self.stored = stored.version;
        self.stored_as_of = Some(stored.issued);
        self.floor = stored.version;
        self.restored_as_of = self.restored_as_of.into_iter().chain(stored.restored_as_of).min();
    }

    /// The store itself noticed at its opening that what came after this instant is lost.
    pub(super) const fn rolled_back(&mut self, as_of: Option<Timestamp>) {
        self.restored_as_of = as_of;
    }

    pub(super) const fn restored_as_of(&self) -> Option<Timestamp> {
        self.restored_as_of
    }

    /// The version of the next head: above every head known, and never below the clock. The clock
    /// keeps the versions of one life apart from those of another, though their heads be lost.
    pub(super) fn next_version(&mut self, last: u64, now: Timestamp) -> (u64, Life) {
        let version = (last.max(self.floor) + 1).max(now.0);
        let first = *self.first_of_life.get_or_insert(version);
        (version, Life { resumed: self.stored, first })
    }

    /// What was lost is made good, `last` being the version of the head in use: no head known by now
    /// has more to say, not even when this life has issued none above it yet. A next one that left
    /// any of them out would be refused by every peer that has it, for ever.
    fn make_good(&mut self, last: u64) {
        self.restored_as_of = None;
        self.stored = self.stored.max(last).max(self.floor);
        self.first_of_life = None;
    }

    /// Whether a head of this version was issued by a life that this one knows nothing of.
    fn is_lost(&self, version: u64) -> bool {
        version > self.stored
            && version > self.floor
            && self.first_of_life.is_none_or(|first| version < first)
    }
}

/// Whether peers have told which own heads they know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recall {
    /// Nobody has. With the uptime since when peers are heard that know less than this node.
    Waiting { heard_less_since: Option<u64> },
    /// They have, or there is nobody to ask.
    Told,
}

impl Core {
    /// Whether peers have yet to tell what they know of this node.
    pub(super) fn is_recalling(&self) -> bool {
        self.recall != Recall::Told
    }

    /// A network of one node has nobody to ask.
    pub(super) fn start_recall(&mut self) {
        let mut nodes = self.roster.admitted().flat_map(|member| &member.nodes);
        if nodes.any(|node| node.node != self.me.node) {
            self.recall = Recall::Waiting { heard_less_since: None };
        }
    }

    /// A peer has the same heads as this node.
    pub(super) fn recalled_the_same(&mut self) {
        self.recall = Recall::Told;
    }

    /// A peer has said which heads it knows. Own ones among them that this node does not know are
    /// fetched before this counts: then the peer is asked again.
    pub(super) fn recalled(&mut self, turn: &Turn<'_>, versions: &[HeadVersion]) {
        let Recall::Waiting { heard_less_since } = self.recall else { return };
        let me = self.me.node;
        let theirs: BTreeMap<OrganizationId, u64> = versions
            .iter()
            .filter(|theirs| theirs.node == me)
            .map(|theirs| (theirs.organization, theirs.version))
            .collect();
        let mut knows_less = false;
        let is_new = turn.now.unix.since(self.roster.founded()) < FOUNDING_TIME;
        // Of one that is not admitted nobody keeps a head.
        let own = self.own.iter().filter(|(organization, _)| self.roster.is_admitted(organization));
        for (organization, own) in own {
            match theirs.get(organization) {
                Some(version) if own.past.is_lost(*version) => return,
                Some(version) => knows_less |= *version < own.past.stored,
                None => knows_less |= own.past.stored > 0 || !is_new,
            }
        }
        let uptime = turn.now.uptime;
        let since = heard_less_since.unwrap_or(uptime);
        self.recall = if !knows_less {
            Recall::Told
        } else if uptime.saturating_sub(since) < PATIENCE {
            Recall::Waiting { heard_less_since: Some(since) }
        } else {
            info!("no peer that can be reached knows the last digest of this node; going on");
            Recall::Told
        };
    }

    /// Whether an own head at a peer is unknown here and is to be fetched.
    pub(super) fn wants_own_head(&self, theirs: &HeadVersion) -> bool {
        let own = self.own.get(&theirs.organization);
        own.is_some_and(|own| {
            let last = own.head().map_or(0, |head| head.version);
            own.past.is_lost(theirs.version) || theirs.version > last.max(own.past.floor)
        })
    }

    /// A head of this very node came from a peer.
    pub(super) fn on_own_head(
        &mut self,
        turn: &Turn<'_>,
        theirs: &Verified<DigestHead>,
    ) -> Verdict {
        let founded = self.roster.founded();
        let Some(own) = self.own.get_mut(&theirs.organization) else { return Verdict::Ignore };
        let (version, hash) =
            own.head().map_or((0, None), |head| (head.version, Some(head.hash())));
        let unknown = own.past.is_lost(theirs.version)
            || theirs.version > version.max(own.past.floor)
            || (theirs.version == version && hash.is_some_and(|hash| hash != theirs.hash()));
        if unknown {
            warn!(
                ours = version,
                theirs = theirs.version,
                "peers know a later digest of this node: it was restored from a back-up; \
                 results name it until `signpost confirm-restored`"
            );
            let as_of = own.past.stored_as_of.unwrap_or(founded);
            own.past.floor = own.past.floor.max(theirs.version);
            own.past.restored_as_of = Some(own.past.restored_as_of.unwrap_or(as_of));
            own.advertise_at(turn.now.uptime);
        }
        Verdict::Ignore
    }

    /// What own records may lack, for a result of this node's own clinical systems.
    pub(super) fn note_own_past(
        &self,
        only: Option<OrganizationId>,
        completeness: &mut Completeness,
    ) {
        let served = self.me.served.iter().map(|served| served.organization);
        for organization in served.filter(|o| only.is_none_or(|only| only == *o)) {
            let restored = self.own.get(&organization).and_then(|own| own.past.restored_as_of);
            if let Some(since) = restored {
                completeness.add(self.restored(&organization, since));
            } else if self.is_recalling() {
                let reason = "has just started and has not yet heard from its peers whether its \
                              own records are up to date";
                completeness.add(self.cause(CauseKind::DigestMissing, &organization, reason));
            }
        }
    }

    /// The cause that names an organization as restored.
    pub(super) fn restored(&self, organization: &OrganizationId, since: Timestamp) -> Cause {
        let reason = "came back from a back-up and may lack pointers made since then";
        Cause { since: Some(since), ..self.cause(CauseKind::Restored, organization, reason) }
    }

    /// Takes an admin's word that the producers of `asking` have sent everything again.
    pub(super) fn confirm_restored(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        asking: OrganizationId,
    ) {
        let is_restored = |own: &OwnDigest| own.past.restored_as_of.is_some();
        let mut batch = Batch::new();
        // Not by a wrong clock: peers would ignore the head, and still name the node as restored.
        let must_wait = self.recall != Recall::Told || self.clock_is_surely_wrong();
        let confirmation = match self.own.get_mut(&asking) {
            Some(own) if is_restored(own) => {
                if must_wait || !own.may_issue(turn.now.uptime) {
                    Confirmation::NotYet
                } else {
                    let last = own.head().map_or(0, |head| head.version);
                    own.past.make_good(last);
                    self.issue_head(turn, asking);
                    Confirmation::Done
                }
            }
            _ => Confirmation::Nothing,
        };
        // The note in the store is of all organizations; what is left of it stands in their heads.
        let is_noted = |own: &OwnDigest| own.head().is_some_and(|h| h.restored_as_of.is_some());
        if confirmation == Confirmation::Done
            && self.own.values().all(|own| !is_restored(own) || is_noted(own))
        {
            batch.delete(ROLLED_BACK_KEY).expect("one key fits a batch");
        }
        // After the head, so that it is told when that is on disk.
        let answer = Action::Answer { ticket, reply: LocalReply::ConfirmRestored(confirmation) };
        let (batches, then) = (vec![batch], vec![answer]);
        turn.act(Action::Persist(Persist { batches, then, ..Persist::default() }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_one_life_are_told_from_those_of_another() {
        let mut past = Past { stored: 1_000, floor: 1_000, ..Past::default() };
        assert!(past.is_lost(1_001), "issued after what is stored, and not in this life");
        assert!(!past.is_lost(1_000), "this is what is stored");
        let life = Life { resumed: 1_000, first: 5_000 };
        assert_eq!(past.next_version(1_000, Timestamp(5_000)), (5_000, life));
        assert_eq!(past.next_version(5_000, Timestamp(5_000)), (5_001, life));
        assert!(past.is_lost(4_999));
        assert!(!past.is_lost(5_000) && !past.is_lost(5_001), "issued in this life");
        past.floor = 4_999;
        assert!(!past.is_lost(4_999), "already known to be lost");
    }

    #[test]
    fn once_made_good_the_next_head_owns_up_to_every_head_that_is_known() {
        let lost = 5_000;
        for last in [0, 4_000, 5_001] {
            // Its disk was wiped; a peer has told of the lost head, before this life issued one, after
            // it issued one below, and after it issued one above.
            let mut past = Past { floor: lost, ..Past::default() };
            let (_, before) = past.next_version(last, Timestamp(0));
            assert!(before.has_lost(lost), "not made good yet: {before:?}");
            past.make_good(last);
            let (version, life) = past.next_version(last, Timestamp(0));
            assert!(version > lost && !life.has_lost(lost) && !life.has_lost(last), "{life:?}");
            assert!(past.restored_as_of().is_none() && !past.is_lost(lost));
        }
        // One of which nobody has told yet is still lost.
        let mut past = Past { floor: lost, ..Past::default() };
        past.make_good(0);
        let (_, life) = past.next_version(0, Timestamp(9_000));
        assert!(life.has_lost(6_000) && past.is_lost(6_000));
    }

    #[test]
    fn a_version_never_goes_back_with_the_clock() {
        let mut past = Past { stored: 9_000, floor: 9_000, ..Past::default() };
        assert_eq!(past.next_version(9_000, Timestamp(5_000)).0, 9_001);
        past.floor = 10_000;
        assert_eq!(past.next_version(9_001, Timestamp(5_000)).0, 10_001);
    }
}
