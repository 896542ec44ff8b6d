//! Suspended, readmitted, expelled: from the next message on, everywhere.

use signpost_node::{
    core::{
        completeness::CauseKind,
        local::{LocalReply, LocalRequest, LocateError, LocateRequest, ReadError},
    },
    network::Plane,
};
use signpost_protocol::{PointerId, hello::Regard, roster::Standing};
use signpost_tests::sim::{Fate, Network, caller};

use super::{
    LAST, agree_within, finds_all,
    messages::{ALL, regard, served},
    network,
};
use crate::common::{causes, create, patient};

fn set(network: &mut Network, standing: Standing) {
    let last = network.nodes[LAST].founder.organization;
    let before = network.status(0).roster.digest;
    network.set_standing(0, last, standing);
    let took = agree_within_others(network, &before);
    println!("{standing:?} everywhere after {took} ms");
}

/// Until all have changed but [`LAST`], which may not be told.
fn agree_within_others(network: &mut Network, before: &str) -> u64 {
    let start = network.now;
    let agree = |network: &Network| {
        let digests: Vec<String> = (0..LAST).map(|at| network.status(at).roster.digest).collect();
        digests[0] != before && digests.windows(2).all(|two| two[0] == two[1])
    };
    network.run_until(5_000, agree);
    assert!(agree(network));
    network.now - start
}

#[test]
fn a_suspended_member_is_named_in_every_result_and_cut_off_until_it_is_admitted_again() {
    let mut network = network(1);
    for at in 0..LAST {
        finds_all(&mut network, at).unwrap();
        assert_eq!(served(&mut network, LAST, at), ALL);
        assert_eq!(regard(&mut network, LAST, at), Regard::Member);
    }
    let theirs: PointerId = network
        .locate(1, patient(1))
        .unwrap()
        .pointers
        .iter()
        .find_map(|found| (found.ods.as_str() == "ORG5").then(|| found.pointer.id.clone()))
        .unwrap();
    set(&mut network, Standing::Suspended);
    for at in 0..LAST {
        for n in [1, 2] {
            let found = network.locate(at, patient(n)).unwrap();
            assert_eq!(causes(&found), [(CauseKind::Suspended, "ORG5".to_owned())], "ORG{at}");
            assert_eq!(found.pointers.len(), usize::from(n == 1));
        }
        let read = network.read(at, &theirs);
        assert!(matches!(read, Err(ReadError::HolderDown { .. })), "{read:?}");
        assert_eq!(served(&mut network, LAST, at), [""; 0], "ORG{at}");
        assert_eq!(regard(&mut network, LAST, at), Regard::Suspended);
    }
    // What it says itself, though nobody sends it the decision any more.
    network.run_for(30_000);
    let status = network.status(LAST);
    assert!(!status.ready);
    assert!(status.notices.iter().any(|notice| notice.contains("suspended")), "{status:?}");
    assert!(network.locate(LAST, patient(2)).is_err(), "nobody evaluates for it");

    set(&mut network, Standing::Admitted);
    agree_within(&mut network, 60_000);
    network.settle();
    for at in 0..=LAST {
        finds_all(&mut network, at).unwrap();
    }
    for at in 0..LAST {
        assert_eq!(served(&mut network, LAST, at), ALL);
    }
    assert!(network.status(LAST).ready, "{:?}", network.status(LAST).notices);
}

#[test]
fn an_expelled_member_is_neither_asked_nor_named() {
    let mut network = network(2);
    set(&mut network, Standing::Expelled);
    for at in 0..LAST {
        let found = network.locate(at, patient(1)).unwrap();
        assert!(found.completeness.is_complete(), "{:?}", found.completeness);
        assert_eq!((found.pointers.len(), found.asked), (1, usize::from(at != 0)));
        let read = network.read(at, &"ORG5-1".parse().unwrap());
        assert!(matches!(read, Err(ReadError::NotFound(_))), "{read:?}");
        assert_eq!(served(&mut network, LAST, at), [""; 0]);
        assert_eq!(regard(&mut network, LAST, at), Regard::Expelled);
        assert!(network.status(at).peers.iter().all(|peer| peer.ods != "ORG5"));
    }
}

/// Two of five stewards are not enough.
#[test]
fn what_too_few_have_approved_changes_nothing() {
    let mut network = network(3);
    let last = network.nodes[LAST].founder.organization;
    let before = network.status(0).roster.digest;
    let record = network.next_record(0, last);
    let record =
        signpost_protocol::roster::MemberRecord { standing: Standing::Suspended, ..record };
    let change = signpost_protocol::roster::Change::Member(record);
    let proposal = network.proposal(0, change, 60_000);
    let mut approvals = network.approvals(&proposal, &[0, 1]);
    // Nor does an approval count twice, nor that of one that is no steward.
    approvals.extend(network.approvals(&proposal, &[1, LAST]));
    network.submit(0, approvals);
    network.run_for(5_000);
    for at in 0..=LAST {
        assert_eq!(network.status(at).roster.digest, before);
        finds_all(&mut network, at).unwrap();
    }
}

/// A holder that is suspended while it answers is named, and nothing of it is shown.
#[test]
fn an_answer_under_way_is_cut_off_too() {
    for suspended in [false, true] {
        let mut network = network(4);
        network.meddle(|frame| match frame.plane {
            Some(Plane::Ask) if frame.is_reply && frame.from == LAST => Fate::Late(2_000),
            _ => Fate::Pass,
        });
        let request = LocateRequest {
            patient: patient(1),
            caller: caller(),
            deadline: 3_000,
            custodian: None,
        };
        let ticket = network.begin(4, LocalRequest::Locate(request));
        network.run_for(500);
        if suspended {
            set(&mut network, Standing::Suspended);
        }
        network.run_until(5_000, |network| network.is_answered(4, ticket));
        let Some(LocalReply::Locate(Ok(found))) = network.reply(4, ticket) else { panic!() };
        if suspended {
            assert_eq!(causes(&found), [(CauseKind::Suspended, "ORG5".to_owned())]);
            assert_eq!(found.pointers.len(), 1);
        } else {
            assert!(found.completeness.is_complete());
            assert_eq!(found.pointers.len(), 2);
        }
    }
}

/// One that knows of its own suspension refuses its users, also those that wait.
#[test]
fn who_knows_that_it_is_suspended_refuses_its_users() {
    let mut network = network(5);
    network.meddle(|frame| match frame.plane {
        Some(Plane::Ask) if frame.is_reply => Fate::Late(2_000),
        _ => Fate::Pass,
    });
    let request =
        LocateRequest { patient: patient(1), caller: caller(), deadline: 3_000, custodian: None };
    let ticket = network.begin(LAST, LocalRequest::Locate(request));
    network.run_for(500);
    let last = network.nodes[LAST].founder.organization;
    network.set_standing(LAST, last, Standing::Suspended);
    network.run_until(5_000, |network| network.is_answered(LAST, ticket));
    let reply = network.reply(LAST, ticket);
    assert!(
        matches!(reply, Some(LocalReply::Locate(Err(LocateError::NotAdmitted(_))))),
        "{reply:?}"
    );
    network.behave();
    let refused = network.locate(LAST, patient(1)).unwrap_err().to_string();
    assert!(refused.contains("is suspended"), "{refused}");
    assert!(network.write(LAST, vec![create(LAST, patient(2))]).remove(0).is_err());
}
