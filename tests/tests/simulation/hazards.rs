//! Single rows of `docs/hazards.md`, each with its refusing twin.

use signpost_node::{
    core::{
        completeness::CauseKind,
        local::{
            Caller, Confirmation, LocalReply, LocalRequest, LocateRequest, Located, NewId,
            ReadError, WRITES_PER_REQUEST_MAX, Write,
        },
    },
    store::DisclosureRole,
};
use signpost_protocol::{PointerId, codec::Text, limits, roster::Standing};
use signpost_tests::{
    founding::Plan,
    sim::{Network, caller},
};

use crate::common::{causes, create, draft, patient};

const HOLDER: usize = 0;
const ASKER: usize = 4;

/// Five organizations, the fourth of this standing; [`HOLDER`] has a pointer for `patient(1)`.
fn network(standing: Standing, seed: u64) -> (Network, PointerId) {
    let plan = Plan { standings: vec![(3, standing)], ..Plan::of(5) };
    let mut network = Network::new(&plan, seed);
    network.run_for(5_000);
    let written = network.write(HOLDER, vec![create(HOLDER, patient(1))]).remove(0).unwrap();
    network.run_for(1_000);
    (network, written.id)
}

/// Row 4.
#[test]
fn a_suspended_member_is_named_in_every_result_and_its_pointers_cannot_be_read() {
    let theirs: PointerId = "ORG3-1".parse().unwrap();
    let (mut network, id) = network_of(Standing::Suspended);
    for at in [0, 1, 2, ASKER] {
        for n in [1, 2] {
            let found = network.locate(at, patient(n)).unwrap();
            assert_eq!(causes(&found), [(CauseKind::Suspended, "ORG3".to_owned())]);
        }
        match network.read(at, &theirs) {
            Err(ReadError::HolderDown { ods, reason, .. }) => {
                assert_eq!(ods.as_str(), "ORG3");
                assert!(reason.contains("suspended"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
        assert!(network.read(at, &id).is_ok(), "the others are not harmed");
    }
}

#[test]
fn an_admitted_member_is_not_named_and_its_pointers_can_be_read() {
    let (mut network, _) = network_of(Standing::Admitted);
    let id: PointerId = "ORG3-1".parse().unwrap();
    let write = Write::Create { id: NewId::Given(id.clone()), draft: draft(3, patient(1), 1) };
    network.write(3, vec![write]).remove(0).unwrap();
    network.run_for(1_000);
    for at in [0, 1, 2, 3, ASKER] {
        let found = network.locate(at, patient(1)).unwrap();
        assert!(found.completeness.is_complete(), "{:?}", found.completeness);
        assert_eq!(found.pointers.len(), 2);
        assert_eq!(network.read(at, &id).unwrap().found.pointer.id, id);
        let nothing = network.read(at, &"ORG3-2".parse().unwrap());
        assert!(matches!(nothing, Err(ReadError::NotFound(_))), "{nothing:?}");
    }
}

fn network_of(standing: Standing) -> (Network, PointerId) {
    network(standing, 90)
}

fn locate_for(network: &mut Network, purpose: &str) -> Located {
    let caller = Caller { purpose: Text::new(purpose).unwrap(), ..caller() };
    let request = LocateRequest { patient: patient(1), caller, deadline: 3_000, custodian: None };
    match network.call(ASKER, LocalRequest::Locate(request)) {
        LocalReply::Locate(result) => result.unwrap(),
        _ => unreachable!("the core replies in kind"),
    }
}

/// Row 6.
#[test]
fn what_is_withheld_for_its_purpose_looks_like_nothing_and_its_holder_has_it_on_record() {
    let (mut network, id) = network(Standing::Admitted, 91);
    for (purpose, outcome, told) in [
        ("HMARKT", "refused-by-policy", vec![]),
        ("TREAT", "answered", vec![id.to_string()]),
        ("PATRQT", "refused-by-policy", vec![]),
    ] {
        let found = locate_for(&mut network, purpose);
        assert!(found.completeness.is_complete(), "{purpose}: as if there were nothing");
        assert_eq!(found.pointers.len(), told.len(), "{purpose}");
        assert_eq!(found.asked, 1, "{purpose}: the holder was asked");
        let record = network.nodes[HOLDER].disclosures.last().unwrap();
        assert_eq!(record.role, DisclosureRole::Holder);
        assert_eq!((record.outcome.as_str(), &record.pointers), (outcome, &told));
        assert_eq!(record.purpose, purpose);
    }
}

#[test]
fn a_holder_may_disclose_for_other_purposes() {
    let (mut network, _) = network(Standing::Admitted, 92);
    network.kill(HOLDER);
    network.nodes[HOLDER].purposes = vec!["PATRQT".to_owned()];
    network.start(HOLDER);
    network.run_for(5_000);
    assert_eq!(locate_for(&mut network, "PATRQT").pointers.len(), 1);
    assert_eq!(locate_for(&mut network, "TREAT").pointers.len(), 0);
}

/// Row 8: whether at its own node or at another, a pointer that a restored node has lost is not said
/// not to exist, until its admin confirms that everything was sent again.
#[test]
fn a_lost_pointer_is_not_said_not_to_exist() {
    let (mut network, kept) = network(Standing::Admitted, 96);
    let backup = network.back_up(HOLDER);
    let lost = network.write(HOLDER, vec![create(HOLDER, patient(2))]).remove(0).unwrap().id;
    network.run_for(1_000);
    network.kill(HOLDER);
    network.restore(HOLDER, &backup);
    network.start(HOLDER);
    network.run_for(5_000);
    for at in [HOLDER, ASKER] {
        let read = network.read(at, &lost);
        assert!(matches!(read, Err(ReadError::HolderDown { .. })), "at ORG{at}: {read:?}");
        assert!(network.read(at, &kept).is_ok(), "at ORG{at}");
    }
    network.call(HOLDER, LocalRequest::ConfirmRestored);
    for at in [HOLDER, ASKER] {
        let read = network.read(at, &lost);
        assert!(matches!(read, Err(ReadError::NotFound(_))), "at ORG{at}: {read:?}");
    }
}

/// Row 8: a confirmation is given by a right clock, and then everybody believes it, also of a node that
/// had not issued a head since it lost its disk. (With a wrong clock it was refused for ever after.)
#[test]
fn a_node_with_a_wrong_clock_is_confirmed_once_the_clock_is_right_and_is_then_believed() {
    let (mut network, _) = network(Standing::Admitted, 97);
    network.kill(HOLDER);
    network.wipe(HOLDER);
    network.nodes[HOLDER].skew = 3_600_000;
    network.start(HOLDER);
    network.run_for(15_000);
    let confirm = |network: &mut Network| match network.call(HOLDER, LocalRequest::ConfirmRestored)
    {
        LocalReply::ConfirmRestored(confirmation) => confirmation,
        _ => unreachable!("the core replies in kind"),
    };
    assert_eq!(confirm(&mut network), Confirmation::NotYet, "by a wrong clock");
    assert!(network.status(HOLDER).serves[0].digest_version.is_none(), "it has issued no head");
    let found = network.locate(ASKER, patient(1)).unwrap();
    assert!(!found.completeness.is_complete(), "its disk, with a pointer, was lost");

    network.nodes[HOLDER].skew = 0;
    network.run_for(15_000);
    let found = network.locate(ASKER, patient(1)).unwrap();
    assert_eq!(causes(&found), [(CauseKind::Restored, "ORG0".to_owned())]);
    assert_eq!(confirm(&mut network), Confirmation::Done, "by a right one");
    network.run_for(5_000);
    let found = network.locate(ASKER, patient(1)).unwrap();
    assert!(found.completeness.is_complete(), "{:?}", found.completeness);
}

/// Row 11: eight pages of an answer are fetched, and what is beyond them is said to be missing.
#[test]
fn more_pointers_than_fit_are_called_truncated_and_as_many_as_fit_are_not() {
    let (mut network, _) = network(Standing::Admitted, 93);
    let fit = 8 * limits::POINTERS_PER_ANSWER_MAX;
    let of = patient(7);
    let writes: Vec<Write> = (0..fit)
        .map(|n| Write::Create { id: NewId::Random, draft: draft(HOLDER, of, n as u64) })
        .collect();
    for chunk in writes.chunks(WRITES_PER_REQUEST_MAX) {
        assert!(network.write(HOLDER, chunk.to_vec()).iter().all(Result::is_ok));
    }
    network.run_for(1_000);
    let found = network.locate(ASKER, of).unwrap();
    assert!(found.completeness.is_complete(), "{:?}", found.completeness);
    assert_eq!(found.pointers.len(), fit);

    network.write(HOLDER, vec![create(HOLDER, of)]).remove(0).unwrap();
    let found = network.locate(ASKER, of).unwrap();
    assert_eq!(causes(&found), [(CauseKind::Truncated, "ORG0".to_owned())]);
    assert_eq!(found.pointers.len(), fit, "what was fetched is shown");
    let own = network.locate(HOLDER, of).unwrap();
    assert!(own.completeness.is_complete(), "its own node needs no pages");
    assert_eq!(own.pointers.len(), fit + 1);
}

/// Row 15: a holder whose clock is wrong by more than 120 s.
#[test]
fn a_holder_with_a_wrong_clock_is_named_and_one_within_what_is_allowed_is_believed() {
    for (skew, is_believed) in
        [(115_000, true), (-115_000, true), (125_000, false), (-155_000, false), (3_600_000, false)]
    {
        let (mut network, _) = network(Standing::Admitted, 94);
        network.nodes[HOLDER].skew = skew;
        network.run_for(15_000);
        assert_eq!(network.status(HOLDER).ready, is_believed, "{skew}");
        let found = network.locate(ASKER, patient(1)).unwrap();
        if is_believed {
            assert!(found.completeness.is_complete(), "{skew}: {:?}", found.completeness);
            assert_eq!(found.pointers.len(), 1);
        } else {
            assert_eq!(causes(&found), [(CauseKind::AnswerRefused, "ORG0".to_owned())], "{skew}");
            let own = network.locate(HOLDER, patient(1)).unwrap();
            assert!(causes(&own).contains(&(CauseKind::ClockWrong, String::new())), "{skew}");
        }
        let others = network.locate(ASKER, patient(2)).unwrap();
        assert!(others.pointers.is_empty());
    }
}

/// Row 15: what such a holder makes is not found, and once its last good head is old it is said so.
#[test]
fn a_holder_whose_heads_come_from_the_future_goes_stale() {
    let (mut network, _) = network(Standing::Admitted, 95);
    network.nodes[HOLDER].skew = 3_600_000;
    network.run_for(910_000);
    let found = network.locate(ASKER, patient(2)).unwrap();
    assert_eq!(causes(&found), [(CauseKind::DigestStale, "ORG0".to_owned())]);
    network.nodes[HOLDER].skew = 0;
    network.run_for(310_000);
    let found = network.locate(ASKER, patient(2)).unwrap();
    assert!(found.completeness.is_complete(), "{:?}", found.completeness);
}
