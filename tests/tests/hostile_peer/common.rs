//! A network with one pointer, and the secrets to forge whatever is wanted.

use std::{cell::RefCell, rc::Rc};

use signpost_keys::SecretKey;
use signpost_node::{
    core::{
        completeness::CauseKind,
        local::{Draft, Located, NewId, Write, Written},
    },
    network::Plane,
    store::DisclosureRole,
};
use signpost_protocol::{
    ContentHash, IdentifierSystem, PatientIdentifier, Pointer, PointerState, RequestId, Timestamp,
    codec::{self, ByteString, Text},
    limits,
    locate::{Answer, Ask, AskSubject, RefusalCode, Reply},
    statement::{Body, Envelope},
};
use signpost_tests::{
    founding::{FOUNDED, Plan},
    sim::{Fate, Network},
};

/// Holds the pointer; its answers are what most attacks replace.
pub(crate) const HOLDER: usize = 0;
/// Locates.
pub(crate) const ASKER: usize = 4;

pub(crate) fn patient(n: u32) -> PatientIdentifier {
    (999_000_000 + n * 20..)
        .find_map(|stem| PatientIdentifier::from_stem(IdentifierSystem::NhsNumber, stem))
        .expect("one stem in eleven has no check digit")
}

pub(crate) fn draft(at: usize, patient: PatientIdentifier) -> Draft {
    Draft {
        patient,
        custodian: format!("ORG{at}").parse().unwrap(),
        custodian_suffix: None,
        state: PointerState::Current,
        listed: None,
        resource: ByteString::new(br#"{"resourceType":"DocumentReference"}"#.to_vec()).unwrap(),
    }
}

pub(crate) fn create(network: &mut Network, at: usize, patient: PatientIdentifier) -> Written {
    let write = Write::Create { id: NewId::Random, draft: draft(at, patient) };
    network.write(at, vec![write]).remove(0).unwrap()
}

/// Five organizations; [`HOLDER`] has a pointer for `patient(1)` and everybody knows.
pub(crate) fn network(seed: u64) -> Network {
    let mut network = Network::settled(&Plan::of(5), seed);
    create(&mut network, HOLDER, patient(1));
    network.run_for(2_000);
    network
}

pub(crate) fn pointer_key(network: &Network, at: usize) -> SecretKey {
    SecretKey::from_seed(&network.nodes[at].founder.pointer)
}

pub(crate) fn transport_key(network: &Network, at: usize) -> SecretKey {
    SecretKey::from_seed(&network.nodes[at].founder.transport)
}

/// The true time.
pub(crate) fn now(network: &Network) -> Timestamp {
    FOUNDED.plus(network.now)
}

/// Signs for the network of the test.
pub(crate) fn sign<B: Body>(network: &Network, body: B, key: &SecretKey) -> Vec<u8> {
    signpost_keys::sign(body, key, &network.roster.network()).bytes().to_vec()
}

/// The body of a statement, unchecked.
pub(crate) fn body_of<B: Body>(bytes: &[u8]) -> B {
    Envelope::parse(B::KIND, bytes, B::BYTES_MAX).unwrap().body().unwrap()
}

pub(crate) fn reply_of(frame: &[u8]) -> Reply {
    codec::decode("reply", frame, limits::ANSWER_FRAME_BYTES_MAX).unwrap()
}

/// The signed statement in a reply that is no refusal.
pub(crate) fn statement_in(frame: &[u8]) -> Vec<u8> {
    match reply_of(frame) {
        Reply::Statement(bytes) => bytes.to_vec(),
        Reply::Refused(code) => panic!("refused: {code:?}"),
    }
}

pub(crate) fn reply_with(statement: Vec<u8>) -> Vec<u8> {
    codec::encode(&Reply::Statement(ByteString::new(statement).unwrap()))
}

pub(crate) fn refused(frame: Option<Vec<u8>>) -> RefusalCode {
    match reply_of(&frame.expect("a reply")) {
        Reply::Refused(code) => code,
        Reply::Statement(_) => panic!("was answered"),
    }
}

/// The answer to an ask that was put by hand.
pub(crate) fn answer(frame: Option<Vec<u8>>) -> Answer {
    body_of(&statement_in(&frame.expect("a reply")))
}

pub(crate) fn causes(found: &Located) -> Vec<(CauseKind, String)> {
    let ods = |cause: &signpost_node::core::completeness::Cause| {
        cause.organization.as_ref().map_or(String::new(), |(ods, _)| ods.to_string())
    };
    found.completeness.causes().iter().map(|cause| (cause.kind, ods(cause))).collect()
}

pub(crate) fn only(kind: CauseKind, at: usize) -> Vec<(CauseKind, String)> {
    vec![(kind, format!("ORG{at}"))]
}

/// The whole network still works: the pointer of `patient(1)` is found by everybody, completely.
pub(crate) fn assert_honest(network: &mut Network) {
    network.behave();
    for at in [1, ASKER] {
        let found = network.locate(at, patient(1)).unwrap();
        assert!(found.completeness.is_complete(), "{:?}", found.completeness);
        assert_eq!(found.pointers.len(), 1);
    }
}

/// The pointer of `patient(1)` as its holder signed it.
pub(crate) fn pointer(network: &mut Network) -> Pointer {
    network.locate(HOLDER, patient(1)).unwrap().pointers[0].pointer.clone()
}

/// An ask of [`ASKER`] to [`HOLDER`] about `patient(1)`, as an honest node would put it.
pub(crate) fn ask(network: &mut Network) -> Ask {
    let Pointer { key_epoch, locator, .. } = pointer(network);
    network.run_for(1);
    let mut request = [0; 16];
    request[..8].copy_from_slice(&network.now.to_be_bytes());
    Ask {
        asked: network.nodes[HOLDER].founder.organization,
        asking: network.nodes[ASKER].founder.organization,
        subject: AskSubject::Locator { key_epoch, locator, after: None },
        purpose: Text::new("TREAT").unwrap(),
        role: Text::new("clinician").unwrap(),
        user: Text::new("user-1").unwrap(),
        request: RequestId(request),
        issued: now(network),
        expires: now(network).plus(3_000),
    }
}

/// How often a node has told others something.
pub(crate) fn disclosures(network: &Network, at: usize) -> usize {
    let holder = |record: &&_| {
        matches!(
            record,
            signpost_node::store::DisclosureRecord { role: DisclosureRole::Holder, .. }
        )
    };
    network.nodes[at].disclosures.iter().filter(holder).count()
}

/// Replaces what [`HOLDER`] answers to [`ASKER`]: `forge` is given the ask, its hash, and the
/// honest answer, and makes the frame.
pub(crate) fn forging(
    network: &mut Network,
    mut forge: impl FnMut(&Ask, ContentHash, Answer) -> Vec<u8> + 'static,
) {
    let mut last: Option<(Ask, ContentHash)> = None;
    network.meddle(move |frame| {
        if frame.plane != Some(Plane::Ask) {
            return Fate::Pass;
        }
        if frame.from == ASKER && frame.to == HOLDER && !frame.is_reply {
            last = Some((body_of(frame.bytes), ContentHash::of(frame.bytes)));
        }
        match &last {
            Some((ask, hash)) if frame.from == HOLDER && frame.to == ASKER && frame.is_reply => {
                Fate::Replace(forge(ask, *hash, body_of(&statement_in(frame.bytes))))
            }
            _ => Fate::Pass,
        }
    });
}

/// A list that a meddler fills and the test reads.
pub(crate) type Seen<T> = Rc<RefCell<Vec<T>>>;
