//! A key is renewed, and killed after every step: the node starts, and typing it again goes on.

use std::{net::SocketAddr, path::PathBuf};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use signpost_keys::{SecretKey, keystore::Cost, sign};
use signpost_protocol::{
    OrganizationId, PublicKey, Timestamp,
    roster::{KeyRecord, OrganizationKeys, Parameters, Revocation, RevocationReason},
    statement::KeyUse,
};

use super::{
    super::{
        by_root::{next_set, with_keys},
        keys_words::Reason,
        leave,
        renewal::{Begin, Renewal},
        view::View,
    },
    DAY, FOUNDED, HOUR, NOW,
};
use crate::setup::{
    self, AdminKey, KeysLock, NodeKeys, OwnKey, Plan, PlannedNode, PlannedOrganization, admin_key,
    keep_roster, organization_dir,
};

/// A node of several organizations, `GP0` and so on, and the newest roster.
pub(super) struct Supplier {
    pub(super) view: View,
    pub(super) dir: PathBuf,
    pub(super) organizations: Vec<OrganizationId>,
    pub(super) root: Vec<SecretKey>,
    pub(super) rng: ChaCha20Rng,
    _parent: tempfile::TempDir,
}

pub(super) fn supplier(count: usize) -> Supplier {
    supplier_among(count, 0, FOUNDED)
}

/// One of a network that was founded an hour before now, with as many other nodes.
pub(super) fn supplier_among(count: usize, others: u16, founded: Timestamp) -> Supplier {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("node");
    let planned =
        |code: String, name: String| PlannedOrganization::new(code.parse().unwrap(), name);
    let node = |dir, port: u16, organizations| PlannedNode {
        dir,
        peer_address: format!("/ip4/127.0.0.1/tcp/{port}"),
        api_listen: SocketAddr::from(([127, 0, 0, 1], port + 1_000)),
        organizations,
    };
    let own = (0..count).map(|n| planned(format!("GP{n}"), format!("Practice {n}"))).collect();
    let mut nodes = vec![node(dir.clone(), 20_001, own)];
    nodes.extend((0..others).map(|n| {
        let organization = planned(format!("RX{n}"), format!("Trust {n}"));
        node(parent.path().join(format!("rx{n}")), 20_002 + n, vec![organization])
    }));
    let plan = Plan {
        network_name: "Trial".to_owned(),
        parameters: Parameters::STANDARD,
        nodes,
        class_max: 9,
        cost: Cost::weak_for_tests(),
        deals_key: true,
    };
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    setup::found(&plan, founded, &mut rng).unwrap();
    let file = std::fs::read(dir.join("roster.cbor")).unwrap();
    let view = View::read(&file, None, founded.plus(HOUR)).unwrap();
    let id = |n| view.find_member(&format!("GP{n}")).unwrap().organization;
    let folder = |n: usize| organization_dir(&dir, &format!("GP{n}").parse().unwrap());
    let root = |n| admin_key(Some(&folder(n)), AdminKey::Root, None, None).unwrap();
    Supplier {
        organizations: (0..count).map(id).collect(),
        root: (0..count).map(root).collect(),
        view,
        dir,
        rng,
        _parent: parent,
    }
}

impl Supplier {
    pub(super) fn lock(&self) -> KeysLock {
        KeysLock::take(&self.dir, || panic!("another has the lock")).unwrap()
    }

    fn begin(&mut self, n: usize, which: OwnKey) -> anyhow::Result<Renewal> {
        self.begin_as(n, which, Begin::default())
    }

    fn begin_as(&mut self, n: usize, which: OwnKey, begin: Begin) -> anyhow::Result<Renewal> {
        let lock = self.lock();
        let Self { view, organizations, rng, .. } = self;
        Renewal::begin(lock, which, &organizations[n], view, begin, rng)
    }

    fn left_to_sign(
        &self,
        renewal: &Renewal,
        n: usize,
        revoke: Option<Reason>,
    ) -> Option<OrganizationKeys> {
        let set = next_set(&self.view, &self.organizations[n]).unwrap();
        renewal.set(&self.view, set, revoke).unwrap()
    }

    pub(super) fn signed(&self, n: usize, set: OrganizationKeys) -> Vec<u8> {
        sign(set, &self.root[n], &self.view.roster.network()).bytes().to_vec()
    }

    fn publish(&mut self, n: usize, set: OrganizationKeys) {
        self.view = self.view.with(&[self.signed(n, set)]).unwrap();
    }

    /// The whole command; whether the node uses the new key from its next start on.
    fn renew(&mut self, n: usize, which: OwnKey, revoke: Option<Reason>) -> bool {
        let mut renewal = self.begin(n, which).unwrap();
        if let Some(set) = self.left_to_sign(&renewal, n, revoke) {
            self.publish(n, set);
        }
        assert!(!renewal.must_be_heard_of(&self.view).unwrap(), "there is no other node");
        let is_complete = renewal.is_complete(&self.view).unwrap();
        if is_complete {
            renewal.finish(&self.view, &mut self.rng).unwrap();
        }
        is_complete
    }

    /// The key that the node starts with, be it with the roster from before or with that of now.
    pub(super) fn starts_with(&self) -> PublicKey {
        let found = setup::open(&self.dir).unwrap().transport.public();
        let path = self.dir.join("roster.cbor");
        let kept = std::fs::read(&path).unwrap();
        keep_roster(&self.dir, &self.view.statements.write()).unwrap();
        assert_eq!(setup::open(&self.dir).unwrap().transport.public(), found);
        keep_roster(&self.dir, &kept).unwrap();
        found
    }

    pub(super) fn staged(&self, which: OwnKey) -> Option<PublicKey> {
        let keys = NodeKeys::open(self.lock()).unwrap();
        keys.staged(which, &self.organizations[0]).unwrap()
    }

    /// What the roster has of a key of an organization.
    fn record(&self, n: usize, key: &PublicKey) -> Option<KeyRecord> {
        let keys = self.view.roster.keys_of(&self.organizations[n]);
        keys.into_iter().find(|record| record.key == *key)
    }
}

#[test]
fn the_new_key_is_on_disk_before_anything_is_signed_and_a_rehearsal_leaves_nothing() {
    let mut node = supplier(1);
    let old = node.starts_with();
    let before = std::fs::read(node.dir.join("keys/node.keystore")).unwrap();
    let rehearsal = Begin { dry_run: true, ..Begin::default() };
    drop(node.begin_as(0, OwnKey::Transport, rehearsal).unwrap());
    assert_eq!(std::fs::read(node.dir.join("keys/node.keystore")).unwrap(), before);
    // Drawn, and declined or killed.
    let renewal = node.begin(0, OwnKey::Transport).unwrap();
    assert_eq!(renewal.origin(), "");
    drop(renewal);
    let next = node.staged(OwnKey::Transport).expect("it is on disk");
    assert_eq!(node.starts_with(), old);
    // Typed again, it is that key which is listed.
    let renewal = node.begin(0, OwnKey::Transport).unwrap();
    assert!(renewal.origin().contains("was drawn earlier"), "{}", renewal.origin());
    let set = node.left_to_sign(&renewal, 0, None).unwrap();
    assert!(set.keys.iter().any(|key| key.key == next));
    drop(renewal);
    assert!(node.renew(0, OwnKey::Transport, None));
    assert_eq!((node.starts_with(), node.staged(OwnKey::Transport)), (next, None));
    // The old one counts for two weeks more.
    assert_eq!(node.record(0, &old).unwrap().not_after, NOW.plus(14 * DAY));
    assert_eq!(node.record(0, &old).unwrap().revoked, None);
}

#[test]
fn a_key_that_is_listed_already_is_not_signed_for_again() {
    let mut node = supplier(1);
    let old = node.starts_with();
    // Killed between the publication and the keystore.
    let renewal = node.begin(0, OwnKey::Transport).unwrap();
    let set = node.left_to_sign(&renewal, 0, None).unwrap();
    node.publish(0, set);
    drop(renewal);
    let next = node.staged(OwnKey::Transport).unwrap();
    assert_eq!(node.starts_with(), old);
    let mut renewal = node.begin(0, OwnKey::Transport).unwrap();
    assert_eq!(node.left_to_sign(&renewal, 0, None), None);
    // To revoke the old one is still to be signed, once.
    let set = node.left_to_sign(&renewal, 0, Some(Reason::Compromised)).unwrap();
    assert_eq!(set.keys.iter().filter(|key| key.key == next).count(), 1);
    let warning = renewal.warning(&node.view, &set, Some(Reason::Compromised));
    assert!(warning.contains("until the node is started again"), "{warning}");
    node.publish(0, set);
    assert_eq!(node.left_to_sign(&renewal, 0, Some(Reason::Compromised)), None);
    let revoked = node.record(0, &old).unwrap().revoked.unwrap();
    assert_eq!((revoked.since, revoked.reason), (NOW, RevocationReason::Compromised));
    assert!(renewal.is_complete(&node.view).unwrap());
    renewal.finish(&node.view, &mut node.rng).unwrap();
    drop(renewal);
    assert_eq!(node.starts_with(), next);
}

#[test]
fn a_drawn_key_that_was_revoked_is_drawn_again() {
    let mut node = supplier(2);
    assert!(!node.renew(0, OwnKey::Transport, None));
    let first = node.staged(OwnKey::Transport).unwrap();
    // One that is not used yet is revoked by the first; the second must not rely on it.
    let set = next_set(&node.view, &node.organizations[0]).unwrap();
    let mut keys = set.keys.to_vec();
    let drawn = keys.iter_mut().find(|key| key.key == first).unwrap();
    drawn.revoked = Some(Revocation { since: NOW, reason: RevocationReason::Compromised });
    node.publish(0, with_keys(set, keys).unwrap());
    let renewal = node.begin(1, OwnKey::Transport).unwrap();
    assert!(renewal.origin().contains("another takes its place"), "{}", renewal.origin());
    drop(renewal);
    assert_ne!(node.staged(OwnKey::Transport).unwrap(), first);
    assert!(!node.renew(1, OwnKey::Transport, None));
    assert!(node.renew(0, OwnKey::Transport, None));
}

#[test]
fn a_transport_key_is_taken_into_use_when_all_whom_the_node_serves_list_it() {
    let mut node = supplier(3);
    let old = node.starts_with();
    assert!(!node.renew(0, OwnKey::Transport, None));
    let next = node.staged(OwnKey::Transport).unwrap();
    assert_eq!(node.starts_with(), old);
    assert!(node.record(0, &next).is_some() && node.record(1, &next).is_none());

    let renewal = node.begin(1, OwnKey::Transport).unwrap();
    let codes = |renewal: &Renewal| -> Vec<String> {
        renewal.missing(&node.view).iter().map(|(ods, _)| ods.to_string()).collect()
    };
    assert_eq!(codes(&renewal), ["GP1", "GP2"]);
    let left = renewal.left(&node.view, None);
    for part in [
        "Practice 1 (GP1): signpost keys renew transport --organization GP1\n",
        "Practice 2 (GP2): signpost keys renew transport --organization GP2\n",
        "counts for Practice 0 (GP0) until 2026-01-15T01:00:00Z",
    ] {
        assert!(left.contains(part), "no {part} in\n{left}");
    }
    assert!(!left.contains("GP0:") && !left.contains("Cut off"), "{left}");
    drop(renewal);

    assert!(!node.renew(1, OwnKey::Transport, None), "the third is missing");
    assert!(!node.renew(1, OwnKey::Transport, None), "nor is it there by asking twice");
    assert_eq!(node.view.last_keys(&node.organizations[1]).unwrap().version, 2);
    assert_eq!(node.starts_with(), old);
    assert!(node.renew(2, OwnKey::Transport, None));
    assert_eq!((node.starts_with(), node.staged(OwnKey::Transport)), (next, None));
    assert_eq!(node.view.roster.organizations_of_peer(&next, NOW).len(), 3);
}

#[test]
fn whoever_revokes_before_the_others_list_the_new_key_is_told_what_that_means() {
    let mut node = supplier(2);
    let old = node.starts_with();
    let revoke = Some(Reason::Compromised);
    let renewal = node.begin(0, OwnKey::Transport).unwrap();
    let set = node.left_to_sign(&renewal, 0, None).unwrap();
    assert_eq!(renewal.warning(&node.view, &set, None), "", "it works on");
    let set = node.left_to_sign(&renewal, 0, revoke).unwrap();
    let warning = renewal.warning(&node.view, &set, revoke);
    let id = old.key_id().to_string()[..8].to_owned();
    for part in [
        "Practice 0 (GP0) is cut off",
        "listed for Practice 1 (GP1) as well",
        &format!("signpost keys revoke {id} --reason compromised --organization GP0"),
    ] {
        assert!(warning.contains(part), "no {part} in\n{warning}");
    }
    node.publish(0, set);
    // From now on the node speaks for the other alone, until that one signs as well.
    let speaks_for = |node: &Supplier, key| node.view.roster.organizations_of_peer(key, NOW);
    assert_eq!(speaks_for(&node, &old), [node.organizations[1]]);
    let left = renewal.left(&node.view, revoke);
    for part in [
        "--organization GP1 --revoke compromised",
        "Cut off until then, because the old key does not count for them: Practice 0 (GP0).",
    ] {
        assert!(left.contains(part), "no {part} in\n{left}");
    }
    drop(renewal);
    assert_eq!(node.starts_with(), old);
    assert!(node.renew(1, OwnKey::Transport, revoke));
    let next = node.starts_with();
    assert_eq!(speaks_for(&node, &next).len(), 2);
    assert!(speaks_for(&node, &old).is_empty());
}

#[test]
fn a_pointer_key_is_its_organizations_own_affair() {
    let mut node = supplier(2);
    let transport = node.starts_with();
    let pointer = |node: &Supplier, n: usize| {
        let identity = setup::open(&node.dir).unwrap();
        let of = |one: &&setup::ServedIdentity| one.organization == node.organizations[n];
        identity.served.iter().find(of).unwrap().pointer.public()
    };
    let (first, second) = (pointer(&node, 0), pointer(&node, 1));
    assert!(node.renew(0, OwnKey::Pointer, None));
    assert_ne!(pointer(&node, 0), first);
    assert_eq!((pointer(&node, 1), node.starts_with()), (second, transport));
}

#[test]
fn beside_one_that_has_left_nothing_is_renewed_until_its_folder_is_gone() {
    let mut node = supplier(2);
    let leaves = leave::last_keys(&node.view, &node.organizations[1]).unwrap();
    node.publish(1, leaves);
    for which in [OwnKey::Transport, OwnKey::Pointer] {
        let error = node.begin(0, which).err().expect("the node would not start any more");
        assert!(error.to_string().contains("transport key for Practice 1 (GP1)"), "{error}");
        let hint = crate::cli::error::hint(&error).unwrap();
        assert!(hint.contains("move its folder, organizations/GP1"), "{hint}");
    }
    let folder = organization_dir(&node.dir, &"GP1".parse().unwrap());
    std::fs::rename(folder, node.dir.join("gone")).unwrap();
    for which in [OwnKey::Transport, OwnKey::Pointer] {
        assert!(node.renew(0, which, None));
        node.starts_with();
    }
}

#[test]
fn a_node_that_would_not_start_keeps_its_old_key_and_roster() {
    let mut node = supplier(2);
    assert!(!node.renew(0, OwnKey::Transport, None));
    let mut renewal = node.begin(1, OwnKey::Transport).unwrap();
    let set = node.left_to_sign(&renewal, 1, None).unwrap();
    let keys = set.keys.iter().filter(|key| key.usage != KeyUse::Pointer).copied().collect();
    node.publish(1, with_keys(set, keys).unwrap());
    let kept = |node: &Supplier| {
        ["roster.cbor", "keys/node.keystore"]
            .map(|name| std::fs::read(node.dir.join(name)).unwrap())
    };
    let before = kept(&node);
    assert!(renewal.is_complete(&node.view).unwrap(), "all list the transport key");
    let error = renewal.finish(&node.view, &mut node.rng).unwrap_err();
    assert!(error.to_string().contains("pointer key (of GP1)"), "{error}");
    assert!(crate::cli::error::hint(&error).unwrap().contains("keys republish"));
    assert_eq!(kept(&node), before);
    drop(renewal);
    setup::open(&node.dir).unwrap();
    let error = node.begin(1, OwnKey::Transport).err().expect("it is seen before anybody signs");
    assert!(error.to_string().contains("pointer key for Practice 1 (GP1)"), "{error}");
    assert!(crate::cli::error::hint(&error).unwrap().contains("republish --organization GP1"));
}

#[test]
fn a_folder_that_came_while_somebody_thought_is_waited_for() {
    let mut node = supplier(2);
    let folder = organization_dir(&node.dir, &"GP1".parse().unwrap());
    let elsewhere = node.dir.join("elsewhere");
    std::fs::rename(&folder, &elsewhere).unwrap();
    let mut renewal = node.begin(0, OwnKey::Transport).unwrap();
    let set = node.left_to_sign(&renewal, 0, None).unwrap();
    node.publish(0, set);
    std::fs::rename(&elsewhere, &folder).unwrap();
    assert!(!renewal.is_complete(&node.view).unwrap());
    assert!(renewal.left(&node.view, None).contains("--organization GP1"));
    renewal.finish(&node.view, &mut node.rng).unwrap_err();
    drop(renewal);
    node.starts_with();
}

#[test]
fn a_renewal_that_is_done_is_not_begun_again_by_chance() {
    for revoke in [None, Some(Reason::Compromised)] {
        let mut node = supplier(2);
        assert!(!node.renew(0, OwnKey::Transport, revoke));
        assert!(node.renew(1, OwnKey::Transport, revoke));
        let used = node.starts_with();
        // Killed before it could say so, or typed by the first in the belief that it helps.
        for n in [1, 0] {
            let error = node.begin(n, OwnKey::Transport).err().expect("it is done");
            let id = &used.key_id().to_string()[..8];
            assert!(
                error.to_string().contains(&format!(
                    "seems to be done: the key that the node starts with, {id}"
                )),
                "{error}"
            );
            assert!(crate::cli::error::hint(&error).unwrap().contains("--again"));
            assert_eq!(node.staged(OwnKey::Transport), None);
        }
        node.begin(0, OwnKey::Pointer).expect("another key");
        let again = Begin { again: true, ..Begin::default() };
        let dry_run = Begin { dry_run: true, again: false };
        node.begin_as(0, OwnKey::Transport, Begin { dry_run: true, ..again }).unwrap();
        node.begin_as(0, OwnKey::Transport, dry_run).err().expect("nor is it rehearsed");
        node.view = View::new(node.view.statements.clone(), NOW.plus(HOUR));
        node.begin(0, OwnKey::Transport).expect("an hour later it is meant");
    }
}
