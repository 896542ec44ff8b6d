//! Answers and pointers that are not what they should be.

use minicbor::{Decode, Encode};
use signpost_keys::SecretKey;
use signpost_node::core::{
    completeness::CauseKind,
    local::{Located, NewId, Write},
};
use signpost_protocol::{
    ContentHash, NetworkId, OrganizationId, Pointer, PointerState, Timestamp,
    codec::{Bounded, ByteString},
    limits,
    locate::{Answer, AskSubject},
    roster::KeyUse,
    statement::{Body, StatementKind},
};
use signpost_tests::sim::Network;

use crate::common::{
    ASKER, HOLDER, assert_honest, body_of, causes, create, draft, forging, network, only, patient,
    pointer_key, reply_with, sign, transport_key,
};

type Statements =
    Bounded<ByteString<{ limits::POINTER_BYTES_MAX }>, { limits::POINTERS_PER_ANSWER_MAX }>;

fn statements(pointers: Vec<Vec<u8>>) -> Statements {
    let pointers = pointers.into_iter().map(|bytes| ByteString::new(bytes).unwrap());
    Bounded::new(pointers.collect()).unwrap()
}

/// Locates while the holder's answers are forged, then checks that nothing else was harmed.
fn attacked(
    mut network: Network,
    forge: impl FnMut(&SecretKey, NetworkId, ContentHash, Answer) -> Vec<u8> + 'static,
) -> Located {
    let (key, id, mut forge) = (pointer_key(&network, HOLDER), network.roster.network(), forge);
    forging(&mut network, move |_, hash, honest| reply_with(forge(&key, id, hash, honest)));
    let found = network.locate(ASKER, patient(1)).unwrap();
    assert_honest(&mut network);
    found
}

/// Locates while the holder's pointer is replaced, in an answer that the holder really signs.
fn with_pointer(
    network: Network,
    mut forge: impl FnMut(&SecretKey, NetworkId, Vec<u8>) -> Vec<u8> + 'static,
) -> Located {
    attacked(network, move |key, id, _, honest| {
        let pointers = statements(vec![forge(key, id, honest.pointers[0].to_vec())]);
        signpost_keys::sign(Answer { pointers, ..honest }, key, &id).bytes().to_vec()
    })
}

fn changed(change: impl Fn(Pointer) -> Pointer + 'static) -> Located {
    with_pointer(network(1), move |key, id, honest| {
        signpost_keys::sign(change(body_of(&honest)), key, &id).bytes().to_vec()
    })
}

fn assert_refused(found: &Located) {
    assert_eq!(causes(found), only(CauseKind::AnswerRefused, HOLDER));
    assert!(found.pointers.is_empty());
}

#[test]
fn an_answer_that_is_only_signed_again_is_believed() {
    let found = attacked(network(1), |key, id, _, honest| {
        signpost_keys::sign(honest, key, &id).bytes().to_vec()
    });
    assert!(found.completeness.is_complete(), "{:?}", found.completeness);
    assert_eq!(found.pointers.len(), 1);
    assert_eq!(changed(|pointer| pointer).pointers.len(), 1);
}

#[test]
fn a_pointer_signed_by_another_organizations_key_is_refused() {
    let network = network(2);
    let other = pointer_key(&network, 1);
    assert_refused(&with_pointer(network, move |_, id, honest| {
        signpost_keys::sign(body_of::<Pointer>(&honest), &other, &id).bytes().to_vec()
    }));
}

#[test]
fn a_pointer_signed_by_a_key_outside_the_roster_is_refused() {
    assert_refused(&with_pointer(network(3), |_, id, honest| {
        let key = SecretKey::from_seed(&[7; 32]);
        signpost_keys::sign(body_of::<Pointer>(&honest), &key, &id).bytes().to_vec()
    }));
}

#[test]
fn a_pointer_signed_by_the_transport_key_is_refused() {
    let network = network(3);
    let transport = transport_key(&network, HOLDER);
    assert_refused(&with_pointer(network, move |_, id, honest| {
        signpost_keys::sign(body_of::<Pointer>(&honest), &transport, &id).bytes().to_vec()
    }));
}

#[test]
fn a_pointer_signed_for_another_network_is_refused() {
    assert_refused(&with_pointer(network(3), |key, _, honest| {
        let other = NetworkId([9; 32]);
        signpost_keys::sign(body_of::<Pointer>(&honest), key, &other).bytes().to_vec()
    }));
}

#[test]
fn a_pointer_with_any_one_byte_changed_is_refused() {
    let mut network = network(4);
    let id = network.roster.network();
    let pointer = crate::common::pointer(&mut network);
    let length = sign(&network, pointer, &pointer_key(&network, HOLDER)).len();
    for at in (0..length).step_by(7) {
        let key = pointer_key(&network, HOLDER);
        forging(&mut network, move |_, _, honest| {
            let mut pointer = honest.pointers[0].to_vec();
            pointer[at] ^= 1;
            let pointers = statements(vec![pointer]);
            reply_with(
                signpost_keys::sign(Answer { pointers, ..honest }, &key, &id).bytes().to_vec(),
            )
        });
        assert_refused(&network.locate(ASKER, patient(1)).unwrap());
    }
    assert_honest(&mut network);
}

#[test]
fn an_old_answer_does_not_fit_a_new_ask() {
    let mut network = network(5);
    let key = pointer_key(&network, HOLDER);
    let id = network.roster.network();
    let mut first: Option<Vec<u8>> = None;
    forging(&mut network, move |_, _, honest| {
        let fresh = signpost_keys::sign(honest, &key, &id).bytes().to_vec();
        reply_with(first.get_or_insert(fresh).clone())
    });
    let found = network.locate(ASKER, patient(1)).unwrap();
    assert!(found.completeness.is_complete(), "the first time it is fresh");
    assert_refused(&network.locate(ASKER, patient(1)).unwrap());
    assert_honest(&mut network);
}

#[test]
fn an_answer_signed_by_another_organization_is_refused() {
    for posing in [false, true] {
        let network = network(6);
        let (other, organization) =
            (pointer_key(&network, 1), network.nodes[1].founder.organization);
        assert_refused(&attacked(network, move |_, id, _, honest| {
            let organization = if posing { honest.organization } else { organization };
            let pointers = statements(Vec::new());
            let forged = Answer { organization, pointers, ..honest };
            signpost_keys::sign(forged, &other, &id).bytes().to_vec()
        }));
    }
}

#[test]
fn a_pointer_of_another_patient_is_refused() {
    let mut network = network(7);
    let other = create(&mut network, HOLDER, patient(2)).id;
    network.run_for(1_000);
    let other = network.read(HOLDER, &other).unwrap().found.pointer;
    assert_refused(&with_pointer(network, move |key, id, _| {
        signpost_keys::sign(other.clone(), key, &id).bytes().to_vec()
    }));
}

#[test]
fn a_pointer_of_another_key_epoch_is_refused() {
    assert_refused(&changed(|mut pointer| {
        pointer.key_epoch.0 += 1;
        pointer
    }));
}

#[test]
fn a_deleted_pointer_is_no_answer() {
    assert_refused(&changed(|pointer| Pointer { state: PointerState::Tombstone, ..pointer }));
}

#[test]
fn a_pointer_from_the_future_is_refused() {
    assert_refused(&changed(|p| Pointer { issued: p.issued.plus(180_000), ..p }));
    let soon = changed(|p| Pointer { issued: p.issued.plus(60_000), ..p });
    assert!(soon.completeness.is_complete(), "clocks may differ a little");
}

#[test]
fn another_organizations_true_pointer_is_not_taken_from_this_one() {
    let mut network = network(8);
    let theirs = create(&mut network, 1, patient(1)).id;
    network.run_for(1_000);
    let theirs = network.read(1, &theirs).unwrap().found.pointer;
    let theirs = sign(&network, theirs, &pointer_key(&network, 1));
    let (key, id) = (pointer_key(&network, HOLDER), network.roster.network());
    forging(&mut network, move |_, _, honest| {
        let pointers = statements(vec![theirs.clone()]);
        reply_with(signpost_keys::sign(Answer { pointers, ..honest }, &key, &id).bytes().to_vec())
    });
    let found = network.locate(ASKER, patient(1)).unwrap();
    assert_eq!(causes(&found), only(CauseKind::AnswerRefused, HOLDER));
    assert_eq!(found.pointers.len(), 1, "the other organization's own answer counts");
    assert_eq!(found.pointers[0].ods.as_str(), "ORG1");
}

#[test]
fn pointers_out_of_order_are_refused() {
    let mut network = network(9);
    create(&mut network, HOLDER, patient(1));
    network.run_for(1_000);
    let (key, id) = (pointer_key(&network, HOLDER), network.roster.network());
    forging(&mut network, move |_, _, honest| {
        let pointers = honest.pointers.iter().rev().map(|bytes| bytes.to_vec()).collect();
        let forged = Answer { pointers: statements(pointers), ..honest };
        reply_with(signpost_keys::sign(forged, &key, &id).bytes().to_vec())
    });
    let found = network.locate(ASKER, patient(1)).unwrap();
    assert_eq!(causes(&found), only(CauseKind::AnswerRefused, HOLDER));
    network.behave();
    let found = network.locate(ASKER, patient(1)).unwrap();
    assert!(found.completeness.is_complete(), "in order they are taken");
    assert_eq!(found.pointers.len(), 2);
}

/// An [`Answer`] without its cap.
#[derive(Encode, Decode)]
#[cbor(map)]
struct WideAnswer {
    #[n(0)]
    ask: ContentHash,
    #[n(1)]
    organization: OrganizationId,
    #[n(2)]
    pointers: Vec<ByteString<{ limits::POINTER_BYTES_MAX }>>,
    #[n(3)]
    more: bool,
    #[n(4)]
    issued: Timestamp,
}

impl Body for WideAnswer {
    const KIND: StatementKind = StatementKind::Answer;
    const SIGNED_BY: KeyUse = KeyUse::Pointer;
    const BYTES_MAX: usize = limits::ANSWER_BYTES_MAX;

    fn author(&self) -> OrganizationId {
        self.organization
    }

    fn issued(&self) -> Timestamp {
        self.issued
    }
}

/// The holder's pointer under `count` ids in ascending order, from `first` on.
fn copies(
    key: &SecretKey,
    id: &NetworkId,
    pointer: &Pointer,
    first: usize,
    count: usize,
) -> Vec<Vec<u8>> {
    let copy = |n: usize| {
        let pointer = Pointer { id: format!("ORG0-{n:06}").parse().unwrap(), ..pointer.clone() };
        signpost_keys::sign(pointer, key, id).bytes().to_vec()
    };
    (first..first + count).map(copy).collect()
}

#[test]
fn more_than_a_page_in_one_answer_is_refused() {
    for (count, fits) in
        [(limits::POINTERS_PER_ANSWER_MAX, true), (limits::POINTERS_PER_ANSWER_MAX + 1, false)]
    {
        let found = attacked(network(10), move |key, id, ask, honest| {
            let pointer: Pointer = body_of(&honest.pointers[0]);
            let pointers = copies(key, &id, &pointer, 0, count);
            let wide = WideAnswer {
                ask,
                organization: honest.organization,
                pointers: pointers.into_iter().map(|p| ByteString::new(p).unwrap()).collect(),
                more: false,
                issued: honest.issued,
            };
            signpost_keys::sign(wide, key, &id).bytes().to_vec()
        });
        assert_eq!(found.completeness.is_complete(), fits, "{:?}", found.completeness);
        assert_eq!(found.pointers.len(), if fits { count } else { 0 });
    }
}

#[test]
fn a_holder_with_several_pages_is_read_to_the_end() {
    let mut network = network(11);
    for _ in 0..3 {
        let writes =
            (0..90).map(|_| Write::Create { id: NewId::Random, draft: draft(HOLDER, patient(1)) });
        assert!(network.write(HOLDER, writes.collect()).iter().all(Result::is_ok));
    }
    network.run_for(1_000);
    let found = network.locate(ASKER, patient(1)).unwrap();
    assert!(found.completeness.is_complete(), "{:?}", found.completeness);
    assert_eq!(found.pointers.len(), 271);
}

#[test]
fn a_holder_that_always_has_more_is_cut_off_and_called_truncated() {
    for fresh in [false, true] {
        let mut network = network(12);
        let (key, id) = (pointer_key(&network, HOLDER), network.roster.network());
        let asked = std::rc::Rc::new(std::cell::Cell::new(0));
        let counted = asked.clone();
        let mut sample: Option<Pointer> = None;
        forging(&mut network, move |ask, _, honest| {
            counted.set(counted.get() + 1);
            let sample =
                sample.get_or_insert_with(|| body_of::<Pointer>(&honest.pointers[0])).clone();
            let AskSubject::Locator { .. } = &ask.subject else { panic!("a locate") };
            let first = if fresh { 10 * counted.get() } else { 0 };
            let pointers = statements(copies(&key, &id, &sample, first, 10));
            let forged = Answer { pointers, more: true, ..honest };
            reply_with(signpost_keys::sign(forged, &key, &id).bytes().to_vec())
        });
        let found = network.locate(ASKER, patient(1)).unwrap();
        assert_eq!(causes(&found), only(CauseKind::Truncated, HOLDER));
        assert_eq!(found.pointers.len(), if fresh { 80 } else { 10 });
        assert_eq!(asked.get(), 8, "as many pages as one holder is given");
        assert_honest(&mut network);
    }
}

#[test]
fn more_without_a_pointer_to_go_on_from_is_truncated() {
    let found = attacked(network(13), |key, id, _, honest| {
        let forged = Answer { pointers: statements(Vec::new()), more: true, ..honest };
        signpost_keys::sign(forged, key, &id).bytes().to_vec()
    });
    assert_eq!(causes(&found), only(CauseKind::Truncated, HOLDER));
}

#[test]
fn a_read_answered_with_another_pointer_shows_nothing() {
    let mut network = network(14);
    let id = crate::common::pointer(&mut network).id;
    let (key, network_id) = (pointer_key(&network, HOLDER), network.roster.network());
    assert_eq!(network.read(ASKER, &id).unwrap().found.pointer.id, id);
    forging(&mut network, move |_, _, honest| {
        let pointer: Pointer = body_of(&honest.pointers[0]);
        let pointers = statements(copies(&key, &network_id, &pointer, 0, 1));
        let forged = Answer { pointers, ..honest };
        reply_with(signpost_keys::sign(forged, &key, &network_id).bytes().to_vec())
    });
    let error = network.read(ASKER, &id).unwrap_err().to_string();
    assert!(error.contains("another pointer"), "{error}");
}
