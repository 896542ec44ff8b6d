//! What an organization signs next follows what its root that counts has signed last.

use signpost_keys::{SecretKey, sign};
use signpost_protocol::{
    ContentHash,
    codec::Text,
    roster::{Objection, OrganizationKeys},
};

use super::{
    super::{by_root::next_set, draft, leave},
    DAY, NOW, Network, network,
};

/// The organization whose root key is reset.
const LOSER: usize = 5;

fn new_root() -> SecretKey {
    SecretKey::from_seed(&[7; 32])
}

/// Stewards reset the root key of the loser, which takes effect within six days.
fn reset(network: &mut Network) -> ContentHash {
    let member = network.view.member(&network.organizations[LOSER]).unwrap();
    let change = draft::reset(member, new_root().public(), ContentHash([1; 32])).unwrap();
    network.decide(change)
}

fn next(network: &Network) -> OrganizationKeys {
    next_set(&network.view, &network.organizations[LOSER]).unwrap()
}

/// The loser's root key signs a set, if it counts.
fn publish(network: &mut Network, set: OrganizationKeys, root: &SecretKey) -> anyhow::Result<()> {
    let statement = sign(set, root, &network.view.roster.network());
    network.view = network.view.with(&[statement.bytes().to_vec()])?;
    Ok(())
}

#[test]
fn a_new_root_begins_a_lineage_and_the_old_one_goes_on_until_then() {
    let mut network = network();
    let id = network.organizations[LOSER];
    reset(&mut network);
    let before = next(&network);
    assert_eq!((before.lineage, before.version), (0, 2));
    assert_eq!(before.previous, network.view.last_keys(&id).unwrap().hash());
    network.at(NOW.plus(6 * DAY));
    // In effect, and the new root has signed nothing: to leave is as good a beginning.
    let leaves = leave::last_keys(&network.view, &id).unwrap();
    for set in [next(&network), leaves.clone()] {
        assert_eq!((set.lineage, set.version), (1, 1));
        assert_eq!(set.previous, ContentHash(id.0));
    }
    let old = SecretKey::from_seed(&network.root[LOSER].expose_seed());
    assert!(publish(&mut network, leaves.clone(), &old).is_err(), "the old root counts no more");
    publish(&mut network, leaves, &new_root()).unwrap();
    assert!(network.view.member(&id).unwrap().nodes.is_empty());
    assert_eq!((next(&network).lineage, next(&network).version), (1, 2));
}

#[test]
fn an_impostor_whose_reset_was_stopped_is_in_nobodys_way() {
    let mut network = network();
    let id = network.organizations[LOSER];
    let proposal = reset(&mut network);
    let first = next(&network);
    let theirs = OrganizationKeys {
        lineage: 1,
        version: u64::MAX,
        previous: ContentHash(id.0),
        ..first.clone()
    };
    publish(&mut network, theirs, &new_root()).unwrap();
    let reason = Text::new("We have our key").unwrap();
    let objection = Objection { organization: id, proposal, reason, issued: NOW };
    let objection = sign(objection, &network.root[LOSER], &network.view.roster.network());
    network.view = network.view.with(&[objection.bytes().to_vec()]).unwrap();
    network.at(NOW.plus(6 * DAY));
    let set = next(&network);
    assert_eq!((set.lineage, set.version, set.previous), (0, 2, first.previous));
    let leaves = leave::last_keys(&network.view, &id).unwrap();
    assert_eq!((leaves.lineage, leaves.version), (0, 2));
    let root = SecretKey::from_seed(&network.root[LOSER].expose_seed());
    publish(&mut network, set, &root).unwrap();
    assert_eq!(network.view.last_keys(&id).unwrap().version, 2);
}
