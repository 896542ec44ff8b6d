//! When and how this node's own pointers are advertised.
//!
//! New locators wait a moment for company, then travel as a change list; when there is no room for
//! one more list, the filter is built anew from the store. Every head is on disk before it leaves,
//! so that its version never goes back; a node that was restored from an older back-up learns its
//! last version from its peers, goes on above it, and says so until its producers have re-sent.

use std::collections::{BTreeMap, BTreeSet};

use rand_core::Rng as _;
use signpost_keys::{ValidAt, Verified, sign};
use signpost_protocol::{
    ContentHash, KeyEpoch, Locator, OrganizationId,
    codec::{self, Bounded, ByteString},
    digest::{DigestHead, FILTER_KIND_BLOOM_AES12, FilterHead},
    limits,
    statement::{Body as _, Envelope},
};
use tracing::{error, info, warn};

use super::{
    Core, NewFilter, Persist, Turn,
    digests::{ReadyFilter, blobs_of},
    event::Action,
    filter_work::{FilterBuild, FilterJob},
    restored::Past,
    rows::{self, OwnHeadRow},
};
use crate::{
    digests::{
        ChangeList, Changes, DigestKeying, Filter, LocatorKey, SharedBytes, SizeClass,
        changes::CHANGE_LOCATORS,
    },
    store::Batch,
};

/// Milliseconds that a new locator waits for others before a head is issued: well within the
/// second in which it should be advertised.
const HEAD_DELAY: u64 = 200;
/// A filter is not built anew before this many times its building time has passed, so that
/// building takes at most a twentieth of one core, however fast pointers arrive.
const BUILD_SPACING: u64 = 20;
/// ... but never later than this, in milliseconds.
const BUILD_SPACING_MAX: u64 = 60_000;
/// Milliseconds before a filter that could not be built is tried again.
const BUILD_RETRY: u64 = 10_000;
/// Milliseconds for which a stored locator may be missing from a digest that is called up to date:
/// several times the longest wait for a filter, and a third of the age at which digests are stale.
const LAG_MAX: u64 = 300_000;
/// Milliseconds before a head that would not have told the truth is thought of again.
const LAG_RETRY: u64 = 1_000;
/// New locators that are remembered one by one; more than that means building the filter anew.
const PENDING_MAX: usize = CHANGE_LOCATORS * limits::CHANGE_LISTS_MAX;

/// What this node advertises for one organization.
pub(super) struct OwnDigest {
    pub(super) organization: OrganizationId,
    head: Option<Verified<DigestHead>>,
    filter: Option<Advertised>,
    /// Parts of the stored head that are still looked for on disk, at start.
    loading: Option<BTreeMap<ContentHash, Option<SharedBytes>>>,
    /// Locators that the digest does not find yet ...
    pending: BTreeSet<Locator>,
    /// ... and the uptime at which the first of them was stored.
    pending_since: Option<u64>,
    build: Build,
    /// What this life began with.
    pub(super) past: Past,
    /// Whether the resumed digest is still being compared with the store.
    is_auditing: bool,
    /// Whether the comparison found stored locators that the digest still lacks. They may be of
    /// any age, so no head is issued before they are in.
    is_behind: bool,
    /// When the next head is due.
    due: u64,
    fault: Option<String>,
}

/// The filter in use and what the head says of it.
struct Advertised {
    ready: ReadyFilter,
    head: FilterHead,
    lists: Vec<ChangeList>,
}

enum Build {
    /// None is under way; the next may start at this uptime.
    Idle { not_before: u64, wanted: bool },
    /// Started at this uptime, for locators of which the first was stored at that one.
    /// With whether another is wanted after it: not everything stored will be in this one.
    Running { since: u64, pending_since: Option<u64>, again: bool },
}

impl OwnDigest {
    pub(super) fn new(organization: OrganizationId) -> Self {
        Self {
            organization,
            head: None,
            filter: None,
            loading: None,
            pending: BTreeSet::new(),
            pending_since: None,
            build: Build::Idle { not_before: 0, wanted: false },
            past: Past::default(),
            is_auditing: false,
            is_behind: false,
            due: u64::MAX,
            fault: None,
        }
    }

    pub(super) const fn head(&self) -> Option<&Verified<DigestHead>> {
        self.head.as_ref()
    }

    /// Why pointers are not advertised, if so.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    pub(super) fn named_blobs(&self) -> impl Iterator<Item = ContentHash> + '_ {
        self.filter.iter().flat_map(|advertised| blobs_of(&advertised.head))
    }

    /// When there is something to do; no head leaves while peers have yet to tell of former ones.
    pub(super) fn wakeup(&self, is_recalling: bool) -> u64 {
        let head = if self.is_ready() && !is_recalling { self.due } else { u64::MAX };
        match self.build {
            Build::Idle { not_before, wanted: true } => head.min(not_before),
            _ => head,
        }
    }

    /// Whether there is a digest that was compared with what is stored.
    fn is_ready(&self) -> bool {
        self.filter.is_some() && !self.is_auditing && self.fault.is_none()
    }

    /// Whether a head would tell the truth: the digest stands for everything that was stored, but
    /// for the newest, of less than [`LAG_MAX`].
    pub(super) fn may_issue(&self, uptime: u64) -> bool {
        let building = match self.build {
            Build::Running { pending_since, .. } => pending_since,
            Build::Idle { .. } => None,
        };
        let first = building.into_iter().chain(self.pending_since).min();
        let is_late = first.is_some_and(|first| uptime.saturating_sub(first) >= LAG_MAX);
        self.is_ready() && !self.is_behind && !is_late
    }

    /// Whether new locators have to wait for another filter.
    const fn is_full(&self) -> bool {
        !matches!(self.build, Build::Idle { wanted: false, .. })
    }

    /// Has a head issued at this uptime, at the latest.
    pub(super) fn advertise_at(&mut self, uptime: u64) {
        self.due = self.due.min(uptime);
    }

    fn want_build(&mut self) {
        match &mut self.build {
            Build::Idle { wanted, .. } => *wanted = true,
            Build::Running { again, .. } => *again = true,
        }
    }

    fn finds(&self, locator: &Locator) -> bool {
        let found = |a: &Advertised| a.ready.may_contain(&LocatorKey::new(locator));
        self.filter.as_ref().is_some_and(found)
    }

    /// Notes a listed locator that was just stored.
    fn add(&mut self, locator: Locator, uptime: u64) {
        if self.finds(&locator) {
            return;
        }
        self.pending.insert(locator);
        self.pending_since.get_or_insert(uptime);
        if self.pending.len() > PENDING_MAX {
            self.pending.clear();
            self.want_build();
        }
        // A head that could say nothing new would be work for the whole federation.
        if !self.is_full() {
            self.advertise_at(uptime + HEAD_DELAY);
        }
    }
}

impl Core {
    pub(super) fn load_own_digests(&mut self, turn: &mut Turn<'_>) -> Result<(), rows::RowError> {
        self.start_recall();
        let rolled_back = rows::rolled_back(turn.store)?;
        for own in self.own.values_mut() {
            own.past.rolled_back(rolled_back);
            let Some(row) = OwnHeadRow::read(turn.store, &own.organization)? else {
                own.want_build();
                continue;
            };
            let Ok(head) = self.roster.verify::<DigestHead>(&row.head, ValidAt::Issue) else {
                // Its key has left the roster; the version still must not go back.
                let head = Envelope::parse(DigestHead::KIND, &row.head, DigestHead::BYTES_MAX)
                    .and_then(|envelope| envelope.body::<DigestHead>())
                    .map_err(|_| rows::RowError::Damaged("digest head"))?;
                own.past.begin(&head);
                own.want_build();
                continue;
            };
            own.past.begin(&head);
            let parts: BTreeMap<_, _> =
                head.filters.iter().flat_map(blobs_of).map(|hash| (hash, None)).collect();
            turn.actions.extend(parts.keys().map(|hash| Action::LoadBlob(*hash)));
            own.loading = Some(parts);
            own.head = Some(head);
        }
        Ok(())
    }

    /// Notes a part of the stored head that was found on disk or not.
    pub(super) fn on_own_blob(
        &mut self,
        turn: &mut Turn<'_>,
        hash: ContentHash,
        bytes: Option<SharedBytes>,
    ) {
        for own in self.own.values_mut() {
            let Some(part) = own.loading.as_mut().and_then(|parts| parts.get_mut(&hash)) else {
                continue;
            };
            if bytes.is_none() {
                info!("a part of the own digest is not on disk; building it anew");
                own.loading = None;
                own.want_build();
                continue;
            }
            part.clone_from(&bytes);
            if own.loading.iter().flatten().all(|(_, bytes)| bytes.is_some()) {
                own.resume(turn);
            }
        }
    }

    /// Own listed locators that the resumed digest does not find.
    pub(super) fn on_filter_audited(
        &mut self,
        turn: &Turn<'_>,
        organization: OrganizationId,
        result: Result<Vec<Locator>, String>,
    ) {
        let Some(own) = self.own.get_mut(&organization) else { return };
        match result {
            Ok(missing) => {
                own.is_behind = !missing.is_empty();
                missing.into_iter().for_each(|locator| own.add(locator, turn.now.uptime));
            }
            Err(error) => {
                warn!(error, "the own digest could not be compared with the store");
                own.filter = None;
                own.want_build();
            }
        }
        own.is_auditing = false;
        // A fresh head says that the node is back.
        own.advertise_at(turn.now.uptime);
    }

    /// Notes a listed locator that was just stored.
    pub(super) fn advertise(
        &mut self,
        organization: &OrganizationId,
        locator: Locator,
        uptime: u64,
    ) {
        if let Some(own) = self.own.get_mut(organization) {
            own.add(locator, uptime);
        }
    }

    /// Issues the heads, and starts the building of filters, that are due.
    pub(super) fn advertise_due(&mut self, turn: &mut Turn<'_>) {
        let uptime = turn.now.uptime;
        let is_recalling = self.is_recalling();
        let clock_is_wrong = self.clock_is_surely_wrong();
        let organizations: Vec<OrganizationId> = self
            .own
            .values()
            // A head of one that is not admitted would be held against whoever passes it on.
            .filter(|own| self.roster.is_admitted(&own.organization))
            .filter(|own| own.wakeup(is_recalling) <= uptime)
            .map(|own| own.organization)
            .collect();
        for organization in organizations {
            let own = self.own.get_mut(&organization).expect("listed above");
            own.extend_changes(turn, &mut self.rng);
            if matches!(own.build, Build::Idle { not_before, wanted: true } if not_before <= uptime)
            {
                self.start_build(turn, organization);
            }
            let own = self.own.get_mut(&organization).expect("listed above");
            if own.due > uptime || is_recalling || !own.is_ready() {
                continue;
            }
            // Peers ignore a head of the future or the past, and would only hear of it again when the
            // next one is due.
            if own.may_issue(uptime) && !clock_is_wrong {
                self.issue_head(turn, organization);
            } else {
                own.due = uptime + LAG_RETRY;
            }
        }
    }

    fn start_build(&mut self, turn: &mut Turn<'_>, organization: OrganizationId) {
        let (mut salt, mut seed) = ([0; 16], [0; 32]);
        self.rng.fill_bytes(&mut salt);
        self.rng.fill_bytes(&mut seed);
        let class_max = self.roster.member(&organization).map_or(0, |member| member.class_max);
        let key_epoch = self.key_epoch();
        let own = self.own.get_mut(&organization).expect("only own digests are built");
        // Everything stored so far will be in it.
        own.pending.clear();
        let pending_since = own.pending_since.take();
        own.build = Build::Running { since: turn.now.uptime, pending_since, again: false };
        let build = FilterBuild { organization, key_epoch, class_max, salt, seed };
        turn.act(Action::BuildFilter(build));
    }

    pub(super) fn on_filter_built(
        &mut self,
        turn: &Turn<'_>,
        organization: OrganizationId,
        result: Result<NewFilter, String>,
    ) {
        let uptime = turn.now.uptime;
        let key_epoch = self.key_epoch();
        let Some(own) = self.own.get_mut(&organization) else { return };
        let (took, again, pending_since) = match own.build {
            Build::Running { since, again, pending_since } => {
                (uptime.saturating_sub(since), again, pending_since)
            }
            Build::Idle { .. } => (0, false, None),
        };
        let checked = result.and_then(|built| Advertised::fresh(&organization, key_epoch, &built));
        match checked {
            Ok(advertised) => {
                let wait = took.saturating_mul(BUILD_SPACING).min(BUILD_SPACING_MAX);
                own.build = Build::Idle { not_before: uptime + wait, wanted: again };
                own.filter = Some(advertised);
                own.fault = None;
                // What an earlier life had stored was there when the building began.
                own.is_behind = false;
                let arrived = std::mem::take(&mut own.pending);
                arrived.into_iter().for_each(|locator| own.add(locator, uptime));
                if own.pending.is_empty() && !again {
                    own.pending_since = None;
                }
                own.due = uptime;
            }
            Err(fault) => {
                error!(fault, "the digest could not be built: new pointers are not advertised");
                own.build = Build::Idle { not_before: uptime + BUILD_RETRY, wanted: true };
                own.fault = Some(fault);
                own.pending_since = pending_since.or(own.pending_since);
                // No head says "this is all" while it is not: the last one goes stale.
                own.due = u64::MAX;
            }
        }
    }

    pub(super) fn issue_head(&mut self, turn: &mut Turn<'_>, organization: OrganizationId) {
        let now = turn.now;
        let parameters = *self.roster.parameters();
        let served = self.me.served.iter().find(|served| served.organization == organization);
        let served = served.expect("own digests are of served organizations");
        let own = self.own.get_mut(&organization).expect("only own heads are issued");
        let advertised = own.filter.as_ref().expect("the caller checked that there is a filter");
        let last = own.head.as_ref().map_or(0, |head| head.version);
        let (version, life) = own.past.next_version(last, now.unix);
        let body = DigestHead {
            organization,
            node: self.me.node,
            version,
            filters: Bounded::new(vec![advertised.head.clone()]).expect("one filter fits"),
            issued: now.unix,
            expires: now.unix.plus(parameters.head_age_max),
            restored_as_of: own.past.restored_as_of(),
            life: Some(life),
        };
        let head = sign(body, &served.pointer, &self.roster.network());
        let row = OwnHeadRow {
            head: ByteString::new(head.bytes().to_vec()).expect("a head is within its cap"),
        };
        let mut batch = Batch::new();
        batch
            .put(rows::own_head_key(&organization), codec::encode(&row))
            .expect("a head is far smaller than a row may be");
        turn.act(Action::Persist(Persist {
            batches: vec![batch],
            then: vec![Action::Publish(head.bytes().to_vec())],
            ..Persist::default()
        }));
        own.head = Some(head);
        let can_say_more = !own.pending.is_empty() && !own.is_full();
        own.due = now.uptime + if can_say_more { HEAD_DELAY } else { parameters.head_interval };
    }
}

impl OwnDigest {
    /// Goes on with the stored filter, once all its parts are here.
    fn resume(&mut self, turn: &mut Turn<'_>) {
        let parts = self.loading.take().unwrap_or_default();
        let filter = self.head.as_ref().and_then(|head| head.filters.first()).cloned();
        let resumed = filter
            .ok_or_else(|| "the stored head names no filter".to_owned())
            .and_then(|head| Advertised::resumed(&self.organization, head, &parts));
        match resumed {
            Ok(advertised) => {
                let ready = advertised.ready.clone();
                turn.act(Action::AuditFilter(FilterJob {
                    organization: self.organization,
                    key_epoch: ready.key_epoch,
                    digest: ready.filter,
                    keying: ready.keying,
                    changes: ready.changes,
                }));
                self.filter = Some(advertised);
                self.is_auditing = true;
            }
            Err(fault) => {
                info!(fault, "the own digest on disk does not hold; building it anew");
                self.want_build();
            }
        }
    }

    /// Turns pending locators into change lists, or asks for a new filter when there is no room.
    fn extend_changes(&mut self, turn: &mut Turn<'_>, rng: &mut impl rand_core::CryptoRng) {
        let Some(advertised) = &mut self.filter else { return };
        if self.pending.is_empty() || matches!(self.build, Build::Running { .. }) {
            return;
        }
        let class = advertised.ready.filter.class();
        let lists = self.pending.len().div_ceil(CHANGE_LOCATORS);
        if advertised.lists.len() + lists > class.change_lists_max() {
            return self.want_build();
        }
        let pending: Vec<Locator> = std::mem::take(&mut self.pending).into_iter().collect();
        // While a new filter is wanted, others are waiting for it that are not remembered one by one.
        if !matches!(self.build, Build::Idle { wanted: true, .. }) {
            self.pending_since = None;
            self.is_behind = false;
        }
        for chunk in pending.chunks(CHANGE_LOCATORS) {
            let list = ChangeList::build(chunk, &advertised.ready.keying, class, rng)
                .expect("chunks have at most that many");
            let bytes = list.encode();
            let mut hashes = advertised.head.changes.to_vec();
            hashes.push(ContentHash::of(&bytes));
            advertised.head.changes = Bounded::new(hashes).expect("room was checked above");
            advertised.lists.push(list);
            turn.act(Action::KeepBlob(bytes));
        }
        advertised.ready.changes = Changes::merge(class, &advertised.lists)
            .expect("own lists are of the filter's class and few enough");
    }
}

impl Advertised {
    fn fresh(
        organization: &OrganizationId,
        key_epoch: KeyEpoch,
        built: &NewFilter,
    ) -> Result<Self, String> {
        let filter = Filter::check(built.bytes.clone(), built.class, built.ones)
            .map_err(|error| error.to_string())?;
        let ready = ReadyFilter {
            key_epoch,
            filter,
            keying: DigestKeying::new(organization, &built.salt),
            changes: Changes::none(built.class),
        };
        let head = FilterHead {
            key_epoch,
            kind: FILTER_KIND_BLOOM_AES12,
            class: built.class.number(),
            salt: built.salt.into(),
            filter: built.hash,
            ones: built.ones,
            changes: Bounded::default(),
        };
        Ok(Self { ready, head, lists: Vec::new() })
    }

    fn resumed(
        organization: &OrganizationId,
        head: FilterHead,
        parts: &BTreeMap<ContentHash, Option<SharedBytes>>,
    ) -> Result<Self, String> {
        let part = |hash: &ContentHash| parts.get(hash).cloned().flatten();
        let ready = ReadyFilter::assemble(organization, &head, None, part)?;
        let class = SizeClass::new(head.class).ok_or("unknown size class")?;
        let lists = head
            .changes
            .iter()
            .filter_map(part)
            .map(|bytes| ChangeList::decode((*bytes).as_ref(), class))
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        Ok(Self { ready, head, lists })
    }
}
