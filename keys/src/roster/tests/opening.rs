//! Which roster files make a network.

use signpost_protocol::{
    ContentHash, NetworkId, NodeId, OrganizationId, PublicKey, blind::Evaluator, codec::Bounded,
    roster::Endorsement, statement::Body as _, statement::KeyUse,
};

use super::*;
use crate::signing::VerifyError;

/// Opens three founders' network after a change that all of them endorsed.
fn refusal(change: impl FnOnce(&mut Network)) -> FoundingError {
    let mut network = Network::of(3);
    change(&mut network);
    network.open().expect_err("the change is to be refused")
}

/// The same, where the content contradicts itself.
fn contradiction(change: impl FnOnce(&mut Network)) -> &'static str {
    match refusal(change) {
        FoundingError::Inconsistent(rule) => rule,
        other => panic!("refused for another reason: {other}"),
    }
}

/// Opens three founders' network after one of them has changed its key set.
fn set_refusal(change: impl FnOnce(&[Rc<Party>], &mut OrganizationKeys)) -> Refusal {
    let mut network = Network::of(3);
    let parties = network.parties.clone();
    change(&parties, &mut network.sets[0]);
    match network.open() {
        Err(FoundingError::Statement { statement: 4, source }) => source,
        other => panic!("refused for another reason: {other:?}"),
    }
}

/// The same, where the key set contradicts itself.
fn set_contradiction(change: impl FnOnce(&[Rc<Party>], &mut OrganizationKeys)) -> &'static str {
    match set_refusal(change) {
        Refusal::Inconsistent(rule) => rule,
        other => panic!("refused for another reason: {other}"),
    }
}

fn edit_member(network: &mut Network, at: usize, change: impl FnOnce(&mut MemberRecord)) {
    edit(&mut network.founding.members, at, change);
}

fn edit_evaluator(network: &mut Network, at: usize, change: impl FnOnce(&mut Evaluator)) {
    edit(&mut network.dealt().evaluators, at, change);
}

#[test]
fn one_three_and_five_founders_make_a_network() {
    for count in [1, 3, 5] {
        let network = Network::of(count);
        let roster = network.open().unwrap();
        let id = NetworkId(ContentHash::of(&codec::encode(&network.founding)).0);
        assert_eq!(roster.network(), id);
        assert_eq!(roster.members().count(), count);
        assert_eq!(roster.admitted().count(), count);
        assert_eq!(roster.evaluators().current().unwrap().evaluators.len(), count);
        for founder in &network.parties[..count] {
            let member = roster.member(&founder.id).unwrap();
            assert_eq!(member.ods, founder.ods);
            assert_eq!(roster.member_by_ods(&founder.ods).unwrap().organization, founder.id);
            let pointer = founder.pointer.key_id();
            assert_eq!(roster.node_of_key(&pointer, &founder.id), Some(founder.node));
            assert_eq!(roster.key_validity(&pointer, &founder.id), Some((FOUNDED, EXPIRES)));
            assert_eq!(roster.key_validity(&pointer, &OrganizationId([0; 32])), None);
            let transport = founder.transport.public();
            let node = &member.nodes[0];
            assert_eq!(node.transport_keys(NOW).collect::<Vec<_>>(), [transport]);
            assert_eq!(node.transport_keys(EXPIRES).count(), 0);
            assert_eq!(roster.organizations_of_peer(&transport, NOW), [founder.id]);
            for (peer, when) in [
                (transport, EXPIRES),
                (transport, FOUNDED.minus(1)),
                (founder.pointer.public(), NOW),
                (founder.root.public(), NOW),
            ] {
                assert!(roster.organizations_of_peer(&peer, when).is_empty());
            }
            assert!(roster.class_allowed(&founder.id, 10));
            assert!(!roster.class_allowed(&founder.id, 11));
        }
        assert!(!roster.class_allowed(&OrganizationId([0; 32]), 0));
    }
}

#[test]
fn the_expected_network_opens_and_another_is_refused() {
    let network = Network::of(1);
    let id = network.open().unwrap().network();
    assert!(Roster::open(&network.file(), Some(id), NOW).is_ok());
    let other = NetworkId([9; 32]);
    let error = Roster::open(&network.file(), Some(other), NOW).unwrap_err();
    assert!(
        matches!(error, FoundingError::OtherNetwork { found, expected } if found == id && expected == other)
    );
}

#[test]
fn one_byte_changed_anywhere_is_refused_or_left_out() {
    let network = Network::of(1);
    let (file, whole) = (network.file(), network.statements(NOW));
    assert_eq!((whole.len(), whole.waiting()), (2, 0));
    for at in 0..file.len() {
        for change in [0x01, 0x20, 0x80, 0xff] {
            let mut altered = file.clone();
            altered[at] ^= change;
            // A key set of an organization that nobody knows is not refused, for it may come yet.
            if let Ok(read) = Statements::read(&altered, None, NOW) {
                assert_eq!((read.len(), read.waiting()), (1, 1), "byte {at} ^ {change:#x}");
            }
        }
        assert!(Roster::open(&file[..at], None, NOW).is_err(), "cut at {at}");
    }
}

#[test]
fn every_founder_must_endorse() {
    let network = Network::of(3);
    let all = network.begun();
    for missing in 0..3 {
        let mut some = all.clone();
        some.remove(missing);
        let error = Roster::open(&file(network.founding_bytes(), &some), None, NOW).unwrap_err();
        let ods_of_missing = &network.parties[missing].ods;
        assert!(matches!(error, FoundingError::NotEndorsed { ods } if ods == *ods_of_missing));
        // Nobody counts twice.
        some.push(some[0].clone());
        assert!(Roster::open(&file(network.founding_bytes(), &some), None, NOW).is_err());
    }
    let mut turned = all.clone();
    turned.reverse();
    let turned = Roster::open(&file(network.founding_bytes(), &turned), None, NOW).unwrap();
    assert_eq!(turned.digest(), network.open().unwrap().digest());
}

#[test]
fn an_endorsement_counts_for_its_network_and_signer_only() {
    let (network, mut other) = (Network::of(3), Network::of(3));
    other.founding.founded = FOUNDED.plus(1);
    let bytes = network.founding_bytes();
    let open = |endorsement: &[u8]| {
        let mut all = network.begun();
        all[1] = endorsement.to_vec();
        match Roster::open(&file(bytes.clone(), &all), None, NOW) {
            Err(FoundingError::Statement { statement: 2, source: Refusal::Verify(source) }) => {
                source
            }
            other => panic!("{other:?}"),
        }
    };
    let (second, third, outside) = (&network.parties[1], &network.parties[2], &network.parties[3]);
    assert!(matches!(open(&other.begun()[1]), VerifyError::BadSignature));
    let forged = endorse(&bytes, second.id, &third.root, FOUNDED);
    assert!(matches!(open(forged.bytes()), VerifyError::UnknownKey));
    let forged = endorse(&bytes, second.id, &second.pointer, FOUNDED);
    assert!(matches!(open(forged.bytes()), VerifyError::UnknownKey));
    let forged = endorse(&bytes, outside.id, &outside.root, FOUNDED);
    assert!(matches!(open(forged.bytes()), VerifyError::WrongAuthor));
    // Signed for this network, but speaking of another.
    let body =
        Endorsement { organization: second.id, network: NetworkId([1; 32]), issued: FOUNDED };
    let forged = sign(body, &second.root, &network.id());
    assert!(matches!(open(forged.bytes()), VerifyError::WrongAuthor));
}

#[test]
fn an_inception_must_hold() {
    let error = refusal(|n| edit_member(n, 1, |m| m.inception = ByteString::default()));
    assert!(matches!(error, FoundingError::Inception { member: 2, .. }));
    let error = refusal(|n| {
        edit_member(n, 0, |m| {
            let mut altered = m.inception.to_vec();
            *altered.last_mut().unwrap() ^= 1;
            m.inception = ByteString::new(altered).unwrap();
        });
    });
    assert!(matches!(
        error,
        FoundingError::Inception { member: 1, source: VerifyError::BadSignature }
    ));
}

#[test]
fn members_are_told_apart() {
    assert_eq!(contradiction(|n| n.founding.members = Bounded::default()), "it has no members");
    let same_ods = |n: &mut Network| {
        let ods = n.parties[0].ods.clone();
        edit_member(n, 1, |m| m.ods = ods);
    };
    assert_eq!(contradiction(same_ods), "two members have the same ODS code");
    let twice = |n: &mut Network| {
        let mut again = n.parties[0].record(0, Standing::Admitted);
        again.ods = "X9X".parse().unwrap();
        n.founding.members = list(n.founding.members.iter().cloned().chain([again]).collect());
    };
    assert_eq!(contradiction(twice), "an organization is listed twice");
    let later = |n: &mut Network| edit_member(n, 0, |m| m.version = 1);
    assert_eq!(contradiction(later), "a founder's record has a version other than 0");
}

#[test]
fn stewards_are_members_each_once_with_more_than_half() {
    let majority = "the threshold must be more than half of the stewards, and no more than all";
    for threshold in [0, 1, 4, u16::MAX] {
        assert_eq!(contradiction(|n| n.founding.threshold = threshold), majority);
    }
    let mut all = Network::of(3);
    all.founding.threshold = 3;
    assert!(all.open().is_ok());
    assert_eq!(contradiction(|n| n.founding.stewards = Bounded::default()), majority);
    let outside = |n: &mut Network| {
        let steward = n.parties[3].steward();
        edit(&mut n.founding.stewards, 0, |s| *s = steward);
    };
    assert_eq!(contradiction(outside), "a steward is not a member");
    let twice = |n: &mut Network| {
        let again = n.parties[0].id;
        edit(&mut n.founding.stewards, 1, |s| s.organization = again);
    };
    assert_eq!(contradiction(twice), "an organization is steward twice");
    let one_key = |n: &mut Network| {
        let again = n.parties[0].govern.public();
        edit(&mut n.founding.stewards, 1, |s| s.govern = again);
    };
    assert_eq!(contradiction(one_key), "two stewards have the same govern key");
    let weak =
        |n: &mut Network| edit(&mut n.founding.stewards, 1, |s| s.govern = PublicKey([0; 32]));
    assert_eq!(contradiction(weak), "a govern key is weak");
}

#[test]
fn keys_have_one_use_and_one_node() {
    let never = |_: &[Rc<Party>], set: &mut OrganizationKeys| {
        edit(&mut set.keys, 0, |key| key.not_after = key.not_before);
    };
    assert_eq!(set_contradiction(never), "a key is never valid");
    let misplaced = "a key is of no use here, or of a node that is not listed";
    for (at, node) in [(0, Some(NodeId([0; 16]))), (0, None), (1, None)] {
        let rule = set_contradiction(|_, set| edit(&mut set.keys, at, |key| key.node = node));
        assert_eq!(rule, misplaced);
    }
    let governs = |_: &[Rc<Party>], set: &mut OrganizationKeys| {
        let node = set.nodes[0].node;
        edit(&mut set.keys, 2, |key| key.node = Some(node));
    };
    assert_eq!(set_contradiction(governs), misplaced);
    let root = |_: &[Rc<Party>], set: &mut OrganizationKeys| {
        edit(&mut set.keys, 0, |key| key.usage = KeyUse::Root);
    };
    assert_eq!(set_contradiction(root), misplaced);
    let own_root = |parties: &[Rc<Party>], set: &mut OrganizationKeys| {
        edit(&mut set.keys, 0, |key| key.key = parties[0].root.public());
    };
    assert_eq!(set_contradiction(own_root), "a root key is in use for something else");
    for at in 0..3 {
        let twice = |_: &[Rc<Party>], set: &mut OrganizationKeys| {
            set.keys = list(set.keys.iter().copied().chain([set.keys[at]]).collect());
        };
        assert_eq!(set_contradiction(twice), "a key is listed twice");
    }
    let node_twice = |_: &[Rc<Party>], set: &mut OrganizationKeys| {
        set.nodes = list(vec![set.nodes[0].clone(), set.nodes[0].clone()]);
    };
    assert_eq!(set_contradiction(node_twice), "an organization lists a node twice");
    let zero = |_: &[Rc<Party>], set: &mut OrganizationKeys| set.version = 0;
    assert_eq!(set_contradiction(zero), "versions of a key set count up from 1");
    let future = |_: &[Rc<Party>], set: &mut OrganizationKeys| set.issued = NOW.plus(DAY);
    assert!(matches!(set_refusal(future), Refusal::Future));
}

#[test]
fn a_key_set_is_signed_by_its_own_root_for_this_network() {
    let network = Network::of(3);
    let (set, [first, second, ..]) = (&network.sets[0], &network.parties[..]) else { panic!() };
    let refused = |bytes: &[u8]| match network.statements(NOW).take(bytes, NOW) {
        Err(Refusal::Verify(error)) => error,
        other => panic!("{other:?}"),
    };
    for key in [&second.root, &first.govern, &first.transport] {
        assert!(matches!(refused(&network.keys(set, key)), VerifyError::UnknownKey));
    }
    for id in [NetworkId::NONE, NetworkId([1; 32])] {
        let elsewhere = sign(set.clone(), &first.root, &id);
        assert!(matches!(refused(elsewhere.bytes()), VerifyError::BadSignature));
    }
    let mut later = set.clone();
    later.version = 2;
    assert_eq!(
        network.statements(NOW).take(&network.keys(&later, &first.root), NOW).unwrap().new.len(),
        1
    );
}

#[test]
fn organizations_may_share_a_nodes_transport_key() {
    let mut network = Network::of(3);
    let (node, key) = (network.sets[0].nodes[0].clone(), network.parties[0].key(KeyUse::Transport));
    let set = &mut network.sets[1];
    set.nodes = list(set.nodes.iter().cloned().chain([node]).collect());
    set.keys = list(set.keys.iter().copied().chain([key]).collect());
    let peer = network.parties[0].transport.public();
    let served = network.open().unwrap().organizations_of_peer(&peer, NOW);
    let mut both = vec![network.parties[0].id, network.parties[1].id];
    both.sort_unstable();
    assert_eq!(served, both);
}

#[test]
fn weak_keys_are_refused() {
    for weak in [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ] {
        let key: PublicKey = weak.parse().unwrap();
        for at in [0, 1, 2] {
            let error = set_refusal(|_, set| edit(&mut set.keys, at, |record| record.key = key));
            assert!(matches!(error, Refusal::Verify(VerifyError::WeakKey)), "{weak}: {error}");
        }
    }
    // 2 is the y coordinate of no point.
    let no_point = PublicKey([&[2][..], &[0; 31]].concat().try_into().unwrap());
    let error = set_refusal(|_, set| edit(&mut set.keys, 0, |record| record.key = no_point));
    assert!(matches!(error, Refusal::Verify(VerifyError::WeakKey)));
}

#[test]
fn durations_must_make_sense() {
    fn zero(change: fn(&mut Parameters)) -> &'static str {
        contradiction(|n| change(&mut n.founding.parameters))
    }
    assert_eq!(zero(|p| p.head_interval = 0), "a duration is zero");
    assert_eq!(zero(|p| p.clock_skew_max = 0), "a duration is zero");
    assert_eq!(zero(|p| p.request_life_max = 0), "a duration is zero");
    let stale = "digest heads would be stale before they are re-issued";
    assert_eq!(zero(|p| p.head_age_max = 0), "a duration is zero");
    assert_eq!(zero(|p| p.head_age_max = p.head_interval), stale);
}

#[test]
fn evaluators_must_be_members_with_shares_of_one_key() {
    let stranger =
        |n: &mut Network| edit_evaluator(n, 0, |e| e.organization = OrganizationId([0; 32]));
    assert_eq!(contradiction(stranger), "an evaluator is not a member");
    let twice = |n: &mut Network| {
        let first = n.parties[0].id;
        edit_evaluator(n, 1, |e| e.organization = first);
    };
    assert_eq!(contradiction(twice), "an organization evaluates twice");
    for index in [0, 1, 3] {
        let rule = contradiction(|n| edit_evaluator(n, 1, |e| e.index = index));
        assert_eq!(rule, "evaluators are not numbered from 1");
    }
    for bytes in [[0; 32], [0xff; 32]] {
        let rule = contradiction(|n| edit_evaluator(n, 0, |e| e.public_share = bytes.into()));
        assert_eq!(rule, "a public share is not a group element");
        let rule = contradiction(|n| n.dealt().group = bytes.into());
        assert_eq!(rule, "the group key is not a group element");
    }

    let other_key = "the public shares do not make up the group key";
    let swapped = |n: &mut Network| {
        let shares = n.dealt().evaluators.clone();
        edit_evaluator(n, 0, |e| e.public_share = shares[1].public_share);
        edit_evaluator(n, 1, |e| e.public_share = shares[0].public_share);
    };
    assert_eq!(contradiction(swapped), other_key);
    for at in 0..3 {
        let of_group = |n: &mut Network| {
            let group = n.dealt().group;
            edit_evaluator(n, at, |e| e.public_share = group);
        };
        assert_eq!(contradiction(of_group), other_key, "share {at}");
    }
    for threshold in [0, 1, 3, 4] {
        let rule = contradiction(|n| n.dealt().threshold = threshold);
        assert_eq!(rule, other_key, "threshold {threshold}");
    }
    assert_eq!(contradiction(|n| n.dealt().evaluators = Bounded::default()), other_key);
}

#[test]
fn bytes_that_are_no_roster_are_refused() {
    for bytes in [&[][..], &[0xa0], &[0xff; 64], b"signpost"] {
        assert!(matches!(Roster::open(bytes, None, NOW), Err(FoundingError::Decode(_))));
    }
    let error = Roster::open(&file(vec![0xa0], &[]), None, NOW).unwrap_err();
    assert!(matches!(error, FoundingError::Decode(_)));
    let network = Network::of(1);
    for bytes in [&[][..], &[0xa0], b"signpost", network.parties[0].inception.bytes()] {
        let statements = [network.begun(), vec![bytes.to_vec()]].concat();
        let error = Roster::open(&file(network.founding_bytes(), &statements), None, NOW);
        let Err(FoundingError::Statement { statement: 3, source }) = error else {
            panic!("{error:?}")
        };
        assert!(matches!(source, Refusal::Kind), "{source}");
    }
    assert!(network.begun()[0].len() <= Endorsement::BYTES_MAX);
}
