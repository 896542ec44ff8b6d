//! Which roster files make a network.

use signpost_protocol::{
    ContentHash, NetworkId, NodeId, OrganizationId, PublicKey, blind::Evaluator, codec::Bounded,
    roster::EndorsedFounding, statement::Body as _, statement::KeyUse,
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

fn edit_evaluator(network: &mut Network, at: usize, change: impl FnOnce(&mut Evaluator)) {
    edit(&mut network.founding.evaluators.evaluators, at, change);
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
        assert_eq!(roster.evaluators().evaluators.len(), count);
        for founder in &network.founders {
            let member = roster.member(&founder.organization).unwrap();
            assert_eq!(member.ods, founder.ods);
            assert_eq!(
                roster.member_by_ods(&founder.ods).unwrap().organization,
                founder.organization
            );
            assert_eq!(roster.node_of_key(&founder.pointer.key_id()), Some(founder.node));
            let transport = founder.transport.public();
            let node = &member.nodes[0];
            assert_eq!(node.transport_keys(NOW).collect::<Vec<_>>(), [transport]);
            assert_eq!(node.transport_keys(EXPIRES).count(), 0);
            assert_eq!(roster.organizations_of_peer(&transport, NOW), [founder.organization]);
            for (peer, when) in [
                (transport, EXPIRES),
                (transport, FOUNDED.minus(1)),
                (founder.pointer.public(), NOW),
                (founder.root.public(), NOW),
            ] {
                assert!(roster.organizations_of_peer(&peer, when).is_empty());
            }
            assert!(roster.class_allowed(&founder.organization, 10));
            assert!(!roster.class_allowed(&founder.organization, 11));
        }
        assert!(!roster.class_allowed(&OrganizationId([0; 32]), 0));
    }
}

#[test]
fn the_expected_network_opens_and_another_is_refused() {
    let network = Network::of(1);
    let id = network.open().unwrap().network();
    assert!(Roster::open(&network.file(), Some(id)).is_ok());
    let other = NetworkId([9; 32]);
    let error = Roster::open(&network.file(), Some(other)).unwrap_err();
    assert!(
        matches!(error, FoundingError::OtherNetwork { found, expected } if found == id && expected == other)
    );
}

#[test]
fn one_byte_changed_anywhere_is_refused() {
    let network = Network::of(1);
    let file = network.file();
    assert!(Roster::open(&file, None).is_ok());
    for at in 0..file.len() {
        for change in [0x01, 0x20, 0x80, 0xff] {
            let mut altered = file.clone();
            altered[at] ^= change;
            assert!(Roster::open(&altered, None).is_err(), "byte {at} ^ {change:#x}");
        }
        assert!(Roster::open(&file[..at], None).is_err(), "cut at {at}");
    }
}

#[test]
fn every_founder_must_endorse() {
    let network = Network::of(3);
    let bytes = codec::encode(&network.founding);
    let all = network.endorsements();
    for missing in 0..3 {
        let mut some = all.clone();
        some.remove(missing);
        let error = Roster::open(&assemble(bytes.clone(), &some).unwrap(), None).unwrap_err();
        assert!(
            matches!(error, FoundingError::NotEndorsed { ods } if ods == network.founders[missing].ods)
        );
    }
    // Order is free, and nobody counts twice.
    let mut turned = all.clone();
    turned.rotate_left(1);
    assert!(Roster::open(&assemble(bytes.clone(), &turned).unwrap(), None).is_ok());
    let twice = [all[0].clone(), all[0].clone(), all[1].clone()];
    assert!(Roster::open(&assemble(bytes, &twice).unwrap(), None).is_err());
}

#[test]
fn an_endorsement_counts_for_its_network_and_signer_only() {
    let (network, mut other) = (Network::of(3), Network::of(3));
    other.founding.founded = FOUNDED.plus(1);
    let bytes = codec::encode(&network.founding);
    let open = |endorsement: Verified<Endorsement>| {
        let mut all = network.endorsements();
        all[1] = endorsement;
        match Roster::open(&assemble(bytes.clone(), &all).unwrap(), None) {
            Err(FoundingError::Endorsement { endorsement: 2, source }) => source,
            other => panic!("{other:?}"),
        }
    };
    let (second, third) = (&network.founders[1], &network.founders[2]);
    assert!(matches!(open(other.endorsements().remove(1)), VerifyError::BadSignature));
    let forged = endorse(&bytes, second.organization, &third.root, FOUNDED);
    assert!(matches!(open(forged), VerifyError::WrongAuthor));
    let forged = endorse(&bytes, second.organization, &second.pointer, FOUNDED);
    assert!(matches!(open(forged), VerifyError::UnknownKey));
    // Signed for this network, but speaking of another.
    let id = NetworkId(ContentHash::of(&bytes).0);
    let body = Endorsement {
        organization: second.organization,
        network: NetworkId([1; 32]),
        issued: FOUNDED,
    };
    assert!(matches!(open(crate::sign(body, &second.root, &id)), VerifyError::WrongAuthor));
}

#[test]
fn an_inception_must_hold() {
    let error = refusal(|n| n.member(1, |m| m.inception = ByteString::default()));
    assert!(matches!(error, FoundingError::Inception { member: 2, .. }));
    let error = refusal(|n| {
        n.member(0, |m| {
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
        let ods = n.founders[0].ods.clone();
        n.member(1, |m| m.ods = ods);
    };
    assert_eq!(contradiction(same_ods), "two members have the same ODS code");
    let twice = |n: &mut Network| {
        let mut again = n.founders[0].record();
        again.ods = "X9X".parse().unwrap();
        again.keys = Bounded::default();
        let members = n.founding.members.iter().cloned().chain([again]).collect();
        n.founding.members = list(members);
    };
    assert_eq!(contradiction(twice), "an organization is listed twice");
    let node_twice = |n: &mut Network| {
        n.member(0, |m| m.nodes = list(vec![m.nodes[0].clone(), m.nodes[0].clone()]));
    };
    assert_eq!(contradiction(node_twice), "a member lists a node twice");
}

#[test]
fn keys_have_one_use_one_node_and_one_owner() {
    let never = |n: &mut Network| n.key(0, 0, |key| key.not_after = key.not_before);
    assert_eq!(contradiction(never), "a key is never valid");
    let backwards = |n: &mut Network| n.key(0, 0, |key| key.not_after = FOUNDED.minus(1));
    assert_eq!(contradiction(backwards), "a key is never valid");
    let elsewhere = |n: &mut Network| n.key(0, 0, |key| key.node = NodeId([0; 16]));
    assert_eq!(contradiction(elsewhere), "a key belongs to a node that is not listed");
    for usage in [KeyUse::Root, KeyUse::Govern] {
        let rule = contradiction(|n| n.key(0, 0, |key| key.usage = usage));
        assert_eq!(rule, "a node has a key of another use");
    }
    let root = |n: &mut Network| {
        let root = n.founders[2].root.public();
        n.key(0, 0, |key| key.key = root);
    };
    assert_eq!(contradiction(root), "a root key is in use at a node");
    for at in [0, 1] {
        let twice = |n: &mut Network| {
            n.member(0, |m| {
                let again = m.keys[at];
                m.keys = list(m.keys.iter().copied().chain([again]).collect());
            });
        };
        assert_eq!(contradiction(twice), "a key is listed twice");
    }
    let both = |n: &mut Network| {
        let pointer = n.founders[0].pointer.public();
        n.key(0, 1, |key| key.key = pointer);
    };
    assert_eq!(contradiction(both), "a key is listed twice");
}

/// The second founder lists the first one's node, and with it one of its keys.
fn share(network: &mut Network, usage: KeyUse) {
    let first = &network.founders[0];
    let (node, key) = (first.record().nodes[0].clone(), first.key(usage));
    network.member(1, |m| {
        m.nodes = list(m.nodes.iter().cloned().chain([node]).collect());
        m.keys = list(m.keys.iter().copied().chain([key]).collect());
    });
}

#[test]
fn organizations_may_share_a_nodes_transport_key_and_no_pointer_key() {
    let mut network = Network::of(3);
    share(&mut network, KeyUse::Transport);
    let roster = network.open().unwrap();
    let peer = network.founders[0].transport.public();
    let mut served = roster.organizations_of_peer(&peer, NOW);
    served.sort_unstable();
    let mut both = [network.founders[0].organization, network.founders[1].organization];
    both.sort_unstable();
    assert_eq!(served, both);

    assert_eq!(contradiction(|n| share(n, KeyUse::Pointer)), "a key is listed twice");
    // The same key at two nodes is two machines with one secret.
    let other_node = |n: &mut Network| {
        let key = n.founders[0].transport.public();
        n.key(1, 1, |record| record.key = key);
    };
    assert_eq!(contradiction(other_node), "a key is listed twice");
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
        for at in [0, 1] {
            let error = refusal(|n| n.key(2, at, |record| record.key = key));
            assert!(
                matches!(
                    error,
                    FoundingError::Inception { member: 3, source: VerifyError::WeakKey }
                ),
                "{weak}: {error}"
            );
        }
    }
    // 2 is the y coordinate of no point.
    let no_point = PublicKey([&[2][..], &[0; 31]].concat().try_into().unwrap());
    let error = refusal(|n| n.key(0, 0, |record| record.key = no_point));
    assert!(matches!(error, FoundingError::Inception { source: VerifyError::WeakKey, .. }));
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
    assert_eq!(zero(|p| p.head_age_max = 0), stale);
    assert_eq!(zero(|p| p.head_age_max = p.head_interval), stale);
}

#[test]
fn evaluators_must_be_members_with_shares_of_one_key() {
    let stranger =
        |n: &mut Network| edit_evaluator(n, 0, |e| e.organization = OrganizationId([0; 32]));
    assert_eq!(contradiction(stranger), "an evaluator is not a member");
    let twice = |n: &mut Network| {
        let first = n.founders[0].organization;
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
        let rule = contradiction(|n| n.founding.evaluators.group = bytes.into());
        assert_eq!(rule, "the group key is not a group element");
    }

    let other_key = "the public shares do not make up the group key";
    let swapped = |n: &mut Network| {
        let shares = n.founding.evaluators.evaluators.clone();
        edit_evaluator(n, 0, |e| e.public_share = shares[1].public_share);
        edit_evaluator(n, 1, |e| e.public_share = shares[0].public_share);
    };
    assert_eq!(contradiction(swapped), other_key);
    for at in 0..3 {
        let of_group = |n: &mut Network| {
            let group = n.founding.evaluators.group;
            edit_evaluator(n, at, |e| e.public_share = group);
        };
        assert_eq!(contradiction(of_group), other_key, "share {at}");
    }
    for threshold in [0, 1, 3, 4] {
        let rule = contradiction(|n| n.founding.evaluators.threshold = threshold);
        assert_eq!(rule, other_key, "threshold {threshold}");
    }
    assert_eq!(contradiction(|n| n.founding.evaluators.evaluators = Bounded::default()), other_key);
}

#[test]
fn bytes_that_are_no_roster_are_refused() {
    for bytes in [&[][..], &[0xa0], &[0xff; 64], b"signpost"] {
        assert!(matches!(Roster::open(bytes, None), Err(FoundingError::Decode(_))));
    }
    let file = EndorsedFounding {
        founding: ByteString::new(vec![0xa0]).unwrap(),
        endorsements: Bounded::default(),
    };
    let error = Roster::open(&codec::encode(&file), None).unwrap_err();
    assert!(matches!(error, FoundingError::Decode(_)));
    assert!(assemble(vec![0; 1 << 21], &[]).is_err());
    let one = Network::of(1).endorsements().remove(0);
    assert!(one.bytes().len() <= Endorsement::BYTES_MAX);
    assert!(assemble(Vec::new(), &vec![one; 65]).is_err());
}
