//! The roster that this node believes: what it is told, what follows, and whom the network lets in.
//!
//! Every statement that was verified is stored and passed on; the roster is worked out anew from
//! all of them when one was added or time changes something. Enforcement needs no more: every
//! message is checked against the roster of the moment.

use std::{collections::BTreeMap, sync::Arc};

use signpost_keys::roster::{Finding, Law, Refusal, Statements, in_order};
use signpost_protocol::{
    ContentHash, PublicKey, Timestamp, limits, roster::KeyRecord, statement::statement_hash,
};
use tracing::{info, warn};

use super::{
    Core, Persist, Turn, event::Action, local::Submitted, roster_exchange::Inventory,
    roster_fetch::Fetching, roster_gossip::PassedOn, rows,
};
use crate::store::Batch;

/// Statements that are read from the store in one go.
const PAGE: usize = 512;
/// New statements of one batch that are gossiped; what more there is, neighbours find when they
/// compare.
const PUBLISHED_MAX: usize = 64;
/// Statements that were fetched, and so are news to some neighbours at most, gossiped in one
/// [`FETCHED_SPAN`]: a decision crosses a healed partition at once, and a node that was away for a
/// month does not tell the others all that happened.
const FETCHED_PUBLISHED_MAX: usize = 64;
/// Milliseconds.
const FETCHED_SPAN: u64 = 60_000;
/// Milliseconds between two times that the roster is worked out while statements keep coming. The
/// first counts at once. Working it out takes some 100 ms in a network of 20,000: whoever sends
/// statements without end gets a fifth of the core's time.
const REFRESH_SPACING: u64 = 500;
/// Findings that are logged, each once: whoever has more looks at `signpost roster show`.
const FINDINGS_LOGGED_MAX: usize = 32;

/// Where statements came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// This node made it, or its admin brings it.
    Here,
    /// A peer gossiped it; if it is worth it, the network passes it on.
    Gossip,
    /// A peer was asked for it.
    Fetch,
}

/// What this node was told of the roster, and what it has made of that.
pub(super) struct Membership {
    pub(super) statements: Statements,
    /// Whom the network was last told to let in.
    told: BTreeMap<PublicKey, Vec<String>>,
    /// When a key becomes valid or void, at the earliest: then the network is told again.
    tell_at: Option<Timestamp>,
    /// Whether the clock was confirmed by peers when this was last looked at.
    was_confirmed: bool,
    /// The uptime at which the next heartbeat is due, if this node is a steward's.
    pub(super) heartbeat_at: u64,
    /// What was found and said already.
    said: Vec<Finding>,
    /// What counts, worked out when it is asked for.
    law: Option<Arc<Law>>,
    /// Whether statements have come since the roster was worked out.
    is_behind: bool,
    /// The uptime at which the roster was last worked out.
    refreshed_at: u64,
    /// Fetched statements that were gossiped, and in which span of uptime.
    published: (u64, usize),
    pub(super) passed_on: PassedOn,
    pub(super) inventory: Inventory,
    pub(super) fetching: Fetching,
}

impl Membership {
    pub(super) fn new(statements: Statements) -> Self {
        Self {
            statements,
            told: BTreeMap::new(),
            tell_at: None,
            was_confirmed: false,
            heartbeat_at: 0,
            said: Vec::new(),
            law: None,
            is_behind: false,
            refreshed_at: 0,
            published: (0, 0),
            passed_on: PassedOn::default(),
            inventory: Inventory::default(),
            fetching: Fetching::default(),
        }
    }

    /// The uptime at which the roster is to be worked out anew.
    pub(super) const fn wakeup(&self) -> u64 {
        if self.is_behind { self.refreshed_at + REFRESH_SPACING } else { u64::MAX }
    }

    /// How many more fetched statements may be gossiped now.
    fn may_publish(&mut self, uptime: u64) -> &mut usize {
        let span = uptime / FETCHED_SPAN;
        if self.published.0 != span {
            self.published = (span, 0);
        }
        &mut self.published.1
    }
}

/// Changes of the stored statements, in as many batches as it takes.
#[derive(Default)]
struct Rows {
    full: Vec<Batch>,
    last: Batch,
}

impl Rows {
    fn put(&mut self, statement: &[u8]) {
        let key = rows::statement_key(&statement_hash(statement));
        if self.last.put(key.clone(), statement.to_vec()).is_err() {
            self.full.push(std::mem::take(&mut self.last));
            self.last.put(key, statement.to_vec()).expect("one fits an empty batch");
        }
    }

    fn delete(&mut self, statement: &ContentHash) {
        let key = rows::statement_key(statement);
        if self.last.delete(key.clone()).is_err() {
            self.full.push(std::mem::take(&mut self.last));
            self.last.delete(key).expect("one fits an empty batch");
        }
    }

    /// Has them carried out; whether there are any.
    fn persist(self, turn: &mut Turn<'_>) -> bool {
        let batches = self.into_batches();
        let is_any = !batches.is_empty();
        if is_any {
            turn.act(Action::Persist(Persist { batches, ..Persist::default() }));
        }
        is_any
    }

    fn into_batches(mut self) -> Vec<Batch> {
        if !self.last.is_empty() {
            self.full.push(self.last);
        }
        self.full
    }
}

impl Core {
    /// Takes up the statements that were stored. What does not hold any more is left alone: it is of no
    /// effect.
    pub(super) fn load_membership(&mut self, turn: &mut Turn<'_>) -> Result<(), rows::RowError> {
        let mut statements: Vec<Vec<u8>> = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = turn.store.scan(rows::STATEMENTS_PREFIX, after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            statements.extend(page.into_iter().map(|(_, bytes)| bytes));
        }
        in_order(&mut statements);
        let mut rows = Rows::default();
        for bytes in &statements {
            match self.membership.statements.restore(bytes) {
                Ok(taken) => taken.dropped.iter().for_each(|dropped| rows.delete(dropped)),
                Err(error) => warn!(%error, "a stored statement of the roster does not hold"),
            }
        }
        rows.persist(turn);
        self.refresh_roster(turn);
        Ok(())
    }

    /// Drops the proposals that have expired, by a clock that can be trusted.
    fn drop_lapsed(&mut self, turn: &mut Turn<'_>) {
        if !self.clock_is_confirmed() {
            return;
        }
        let mut rows = Rows::default();
        let dropped = self.membership.statements.drop_lapsed(turn.now.unix);
        dropped.iter().for_each(|dropped| rows.delete(dropped));
        if rows.persist(turn) {
            self.membership.law = None;
            // A node that has just started may have the same as its peers only now.
            self.membership.inventory.begin_anew(turn.now.uptime);
        }
    }

    /// Takes up statements, stores what is new, passes it on, and works out what follows.
    pub(super) fn take_statements(
        &mut self,
        turn: &mut Turn<'_>,
        statements: &[Vec<u8>],
        from: From,
    ) -> Vec<Result<Submitted, Refusal>> {
        let now = turn.now.unix;
        let (mut rows, mut publish, mut results) = (Rows::default(), Vec::new(), Vec::new());
        let may_expire = self.clock_is_confirmed() || self.is_alone();
        for bytes in statements {
            if bytes.len() > limits::STATEMENT_BYTES_MAX {
                results.push(Err(Refusal::Kind));
                continue;
            }
            let all = &mut self.membership.statements;
            let taken = match may_expire {
                true => all.take(bytes, now),
                false => all.take_unsure(bytes, now),
            };
            let taken = match taken {
                Ok(taken) => taken,
                Err(error) => {
                    results.push(Err(error));
                    continue;
                }
            };
            for new in &taken.new {
                rows.put(new);
                // The network passes a gossiped one on by itself; what had waited for it, it does not.
                if from != From::Gossip || **new != **bytes {
                    publish.push(new.to_vec());
                }
            }
            taken.dropped.iter().for_each(|dropped| rows.delete(dropped));
            results.push(Ok(match (taken.new.is_empty(), taken.waits) {
                (false, _) => Submitted::New,
                (true, true) => Submitted::Waits,
                (true, false) => Submitted::Known,
            }));
        }
        let batches = rows.into_batches();
        if !batches.is_empty() {
            self.membership.inventory.changed();
            self.ceremonies.changed();
            publish.truncate(PUBLISHED_MAX);
            if from != From::Here {
                let published = self.membership.may_publish(turn.now.uptime);
                publish.truncate(FETCHED_PUBLISHED_MAX - *published);
                *published += publish.len();
            }
            let then = publish.into_iter().map(Action::Publish).collect();
            turn.act(Action::Persist(Persist { batches, then, ..Persist::default() }));
            self.membership.is_behind = true;
            self.membership.law = None;
            self.refresh_when_due(turn);
        }
        results
    }

    /// Works the roster out anew if statements have come, and it is time.
    pub(super) fn refresh_when_due(&mut self, turn: &mut Turn<'_>) {
        if self.membership.wakeup() <= turn.now.uptime {
            self.refresh_roster(turn);
        }
    }

    /// What counts of the statements, as of when the roster was last worked out or later.
    pub(super) fn law(&mut self, now: Timestamp) -> Arc<Law> {
        let statements = &self.membership.statements;
        self.membership.law.get_or_insert_with(|| Arc::new(statements.law(now))).clone()
    }

    /// Works the roster out anew.
    pub(super) fn refresh_roster(&mut self, turn: &mut Turn<'_>) {
        self.membership.is_behind = false;
        self.membership.refreshed_at = turn.now.uptime;
        self.membership.law = None;
        let roster = self.membership.statements.roster(turn.now.unix);
        let findings: Vec<Finding> =
            roster.findings().iter().take(FINDINGS_LOGGED_MAX).cloned().collect();
        for finding in findings.iter().filter(|finding| !self.membership.said.contains(finding)) {
            warn!(?finding, "something in the roster needs people to look at it");
        }
        self.membership.said = findings;
        let changed = roster.digest() != self.roster.digest();
        self.roster = Arc::new(roster);
        if changed {
            info!(epoch = self.roster.epoch().number(), "the roster has changed");
        }
        // Stewards bear witness to what has become law, and give a sign of life anew when those of a node
        // that they list no more have ceased to count.
        self.membership.heartbeat_at = self.membership.heartbeat_at.min(turn.now.uptime);
        self.forget_digests(turn);
        self.tell_members(turn);
        self.follow_evaluators(turn);
        self.ceremonies.changed();
    }

    /// Follows time: what it changes by itself, and which keys are valid.
    pub(super) fn maintain_membership(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.unix;
        let is_confirmed = self.clock_is_confirmed();
        let clock_has_turned = self.membership.was_confirmed != is_confirmed;
        self.membership.was_confirmed = is_confirmed;
        let changes = self.roster.next_change().is_some_and(|at| at <= now);
        let is_over = {
            let mut ceremonies = self.membership.statements.ceremonies();
            ceremonies.any(|(_, ceremony)| ceremony.call().expires <= now)
        };
        if changes || clock_has_turned || is_over {
            self.drop_lapsed(turn);
        }
        if changes {
            self.refresh_roster(turn);
        }
        if clock_has_turned {
            // What was from the future, or expired, by a wrong clock may hold by a right one.
            self.membership.inventory.forget_refused();
            self.ceremonies.changed();
        }
        if clock_has_turned || self.membership.tell_at.is_some_and(|at| at <= now) {
            self.tell_members(turn);
        }
        self.maintain_heartbeat(turn);
        self.ceremonies.maintain(turn.now.uptime);
        self.maintain_roster_exchange(turn);
    }

    /// Tells the network whom to let in and where they listen.
    fn tell_members(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.unix;
        let skew = self.roster.parameters().clock_skew_max;
        let mut members: BTreeMap<PublicKey, Vec<String>> = BTreeMap::new();
        let mut tell_at: Option<Timestamp> = None;
        for node in self.roster.admitted().flat_map(|member| &member.nodes) {
            for record in &node.transport {
                let bounds = [
                    Some(record.not_before.minus(skew)),
                    Some(record.not_after.plus(skew)),
                    record.revoked.map(|revoked| revoked.since),
                ];
                let next = bounds.into_iter().flatten().filter(|bound| now < *bound);
                tell_at = next.chain(tell_at).min();
                if !self.lets_in(record, now) {
                    continue;
                }
                let known = members.entry(record.key).or_default();
                let new = node.addresses.iter().filter(|address| !known.contains(address));
                let new: Vec<String> = new.cloned().collect();
                known.extend(new);
            }
        }
        self.membership.tell_at = tell_at;
        if members != self.membership.told {
            self.forget_peers(|key| members.contains_key(key));
            self.membership.told.clone_from(&members);
            turn.act(Action::SetMembers(members));
        }
    }

    /// Whether the holder of a transport key is let in, and dialled. Clocks differ by what is
    /// allowed; a revoked key is out at once.
    ///
    /// As long as no peer has confirmed this node's clock, keys count that may not be valid: with a
    /// wrong clock it could otherwise reach nobody who might tell it so.
    pub(super) fn lets_in(&self, record: &KeyRecord, now: Timestamp) -> bool {
        let skew = self.roster.parameters().clock_skew_max;
        let is_revoked = record.revoked.is_some_and(|revoked| revoked.since <= now);
        let is_valid = record.not_before.minus(skew) <= now && now < record.not_after.plus(skew);
        !is_revoked && (is_valid || !self.clock_is_confirmed())
    }
}
