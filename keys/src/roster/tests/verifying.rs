//! Which statements a roster lets count.

use signpost_protocol::{
    ContentHash, KeyEpoch, Locator, NetworkId, Pointer, PointerState, RequestId,
    blind::{EvaluateAnswer, EvaluatePurpose, EvaluateRequest},
    codec::Bounded,
    digest::DigestHead,
    locate::{Answer, Ask, AskSubject},
    roster::Endorsement,
    statement::{Body, Unsigned},
};

use super::*;
use crate::{
    roster::ValidAt,
    signing::{VerifyError, sign},
};

/// How each test makes a body for an author and an instant.
type Make<B> = fn(OrganizationId, Timestamp) -> B;

fn pointer(organization: OrganizationId, issued: Timestamp) -> Pointer {
    Pointer {
        id: "F0F-1".parse().unwrap(),
        version: 1,
        organization,
        custodian_suffix: None,
        state: PointerState::Current,
        listed: true,
        key_epoch: KeyEpoch(1),
        locator: Locator([1; 32]),
        issued,
        resource: ByteString::default(),
    }
}

fn digest_head(organization: OrganizationId, issued: Timestamp) -> DigestHead {
    DigestHead {
        organization,
        node: NodeId([1; 16]),
        version: 1,
        filters: Bounded::default(),
        issued,
        expires: issued.plus(1),
        restored_as_of: None,
        life: None,
    }
}

fn ask(asking: OrganizationId, issued: Timestamp) -> Ask {
    Ask {
        asked: OrganizationId([1; 32]),
        asking,
        subject: AskSubject::Pointer { id: "F0F-1".parse().unwrap() },
        purpose: Text::new("TREAT").unwrap(),
        role: Text::default(),
        user: Text::default(),
        request: RequestId([1; 16]),
        issued,
        expires: issued.plus(1),
    }
}

fn answer(organization: OrganizationId, issued: Timestamp) -> Answer {
    let (ask, pointers) = (ContentHash([1; 32]), Bounded::default());
    Answer { ask, organization, pointers, more: false, issued, restored_as_of: None }
}

fn evaluate_request(asking: OrganizationId, issued: Timestamp) -> EvaluateRequest {
    EvaluateRequest {
        asked: OrganizationId([1; 32]),
        asking,
        request: RequestId([1; 16]),
        key_epoch: KeyEpoch(1),
        share_epoch: 1,
        purpose: EvaluatePurpose::Lookup,
        blinded: Bounded::default(),
        issued,
        expires: issued.plus(1),
    }
}

fn evaluate_answer(organization: OrganizationId, issued: Timestamp) -> EvaluateAnswer {
    EvaluateAnswer {
        request: ContentHash([1; 32]),
        organization,
        index: 1,
        share_epoch: 1,
        evaluated: Bounded::default(),
        proof_c: [0; 32].into(),
        proof_s: [0; 32].into(),
        issued,
    }
}

/// Accepts a statement of this kind, and refuses everything one step away from it.
fn check<B: Body + PartialEq + std::fmt::Debug>(make: Make<B>) {
    let mut network = Network::of(3);
    network.decide(network.parties[2].member(1, Standing::Suspended), day(1));
    let roster = network.open().unwrap();
    let id = roster.network();
    let [first, second, suspended, ..] = &network.parties[..] else { panic!("three founders") };
    let right = |founder: &Party| match B::SIGNED_BY {
        KeyUse::Pointer => founder.pointer.expose_seed(),
        _ => founder.transport.expose_seed(),
    };
    let right = |founder: &Party| SecretKey::from_seed(&right(founder));
    let wrong = match B::SIGNED_BY {
        KeyUse::Pointer => &first.transport,
        _ => &first.pointer,
    };
    let author = first.id;
    let now = ValidAt::Now(NOW);
    let verify = |body: B, key: &SecretKey, network: &NetworkId, at: ValidAt| {
        roster.verify::<B>(sign(body, key, network).bytes(), at)
    };

    for at in [now, ValidAt::Issue, ValidAt::Now(FOUNDED), ValidAt::Now(EXPIRES.minus(1))] {
        let verified = verify(make(author, NOW), &right(first), &id, at).unwrap();
        assert_eq!(*verified, make(author, NOW));
        assert_eq!(verified.key_id(), right(first).key_id());
    }
    let stranger = SecretKey::from_seed(&[5; 32]);
    for (what, result, expected) in [
        ("a stranger", verify(make(author, NOW), &stranger, &id, now), VerifyError::UnknownKey),
        ("a root key", verify(make(author, NOW), &first.root, &id, now), VerifyError::UnknownKey),
        ("another use", verify(make(author, NOW), wrong, &id, now), VerifyError::WrongUse),
        (
            "another author",
            verify(make(author, NOW), &right(second), &id, now),
            VerifyError::WrongAuthor,
        ),
        (
            "an author outside",
            verify(make(OrganizationId([0; 32]), NOW), &right(first), &id, now),
            VerifyError::WrongAuthor,
        ),
        (
            "an expired key",
            verify(make(author, NOW), &right(first), &id, ValidAt::Now(EXPIRES)),
            VerifyError::KeyNotValid,
        ),
        (
            "a key not valid yet",
            verify(make(author, NOW), &right(first), &id, ValidAt::Now(FOUNDED.minus(1))),
            VerifyError::KeyNotValid,
        ),
        (
            "issued after the key's time",
            verify(make(author, EXPIRES), &right(first), &id, ValidAt::Issue),
            VerifyError::KeyNotValid,
        ),
        (
            "issued before the key's time",
            verify(make(author, FOUNDED.minus(1)), &right(first), &id, ValidAt::Issue),
            VerifyError::KeyNotValid,
        ),
        (
            "a suspended member",
            verify(make(suspended.id, NOW), &right(suspended), &id, now),
            VerifyError::NotAdmitted,
        ),
        (
            "another network",
            verify(make(author, NOW), &right(first), &NetworkId([1; 32]), now),
            VerifyError::BadSignature,
        ),
        (
            "no network",
            verify(make(author, NOW), &right(first), &NetworkId::NONE, now),
            VerifyError::BadSignature,
        ),
    ] {
        let error = result.expect_err(what);
        assert_eq!(error.to_string(), expected.to_string(), "{what}");
    }

    // R the identity and s zero: what a lenient verifier takes from the identity as public key.
    let mut forged = [0; 64];
    forged[0] = 1;
    for (key, expected) in [
        (right(first).key_id(), VerifyError::BadSignature),
        (identity().key_id(), VerifyError::UnknownKey),
    ] {
        let statement = Unsigned::new(&make(author, NOW), key).finish(forged);
        let error = roster.verify::<B>(&statement, now).unwrap_err();
        assert_eq!(error.to_string(), expected.to_string());
    }

    let statement = sign(make(author, NOW), &right(first), &id);
    for at in 0..statement.bytes().len() {
        let mut altered = statement.bytes().to_vec();
        altered[at] ^= 1;
        assert!(roster.verify::<B>(&altered, now).is_err(), "byte {at} changed");
    }
}

fn identity() -> signpost_protocol::PublicKey {
    let mut bytes = [0; 32];
    bytes[0] = 1;
    signpost_protocol::PublicKey(bytes)
}

#[test]
fn pointers() {
    check::<Pointer>(pointer);
}

#[test]
fn digest_heads() {
    check::<DigestHead>(digest_head);
}

#[test]
fn asks() {
    check::<Ask>(ask);
}

#[test]
fn answers() {
    check::<Answer>(answer);
}

#[test]
fn evaluation_requests() {
    check::<EvaluateRequest>(evaluate_request);
}

#[test]
fn evaluation_answers() {
    check::<EvaluateAnswer>(evaluate_answer);
}

/// A body of one kind under the name, and so under the signature, of another.
struct Disguised<B>(B);

impl<B: Body> minicbor::Encode<()> for Disguised<B> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        ctx: &mut (),
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        self.0.encode(e, ctx)
    }
}

impl<'b, B: Body> minicbor::Decode<'b, ()> for Disguised<B> {
    fn decode(
        d: &mut minicbor::Decoder<'b>,
        ctx: &mut (),
    ) -> Result<Self, minicbor::decode::Error> {
        B::decode(d, ctx).map(Self)
    }
}

impl<B: Body> Body for Disguised<B> {
    const KIND: signpost_protocol::statement::StatementKind =
        signpost_protocol::statement::StatementKind::DigestHead;
    const SIGNED_BY: KeyUse = B::SIGNED_BY;
    const BYTES_MAX: usize = B::BYTES_MAX;

    fn author(&self) -> OrganizationId {
        self.0.author()
    }

    fn issued(&self) -> Timestamp {
        self.0.issued()
    }
}

#[test]
fn a_signature_for_one_kind_is_none_for_another() {
    let network = Network::of(1);
    let roster = network.open().unwrap();
    let founder = &network.parties[0];
    let body = answer(founder.id, NOW);
    let as_head = sign(Disguised(body.clone()), &founder.pointer, &roster.network());
    let as_answer = sign(body.clone(), &founder.pointer, &roster.network());
    // Same key, same payload: the content type gives it away, ...
    let error = roster.verify::<Answer>(as_head.bytes(), ValidAt::Now(NOW)).unwrap_err();
    assert!(matches!(error, VerifyError::Decode(_)), "{error}");
    // ... and with the signature moved into the right envelope, the signature does.
    let signature: [u8; 64] = as_head.bytes()[as_head.bytes().len() - 64..].try_into().unwrap();
    let moved = Unsigned::new(&body, founder.pointer.key_id()).finish(signature);
    let error = roster.verify::<Answer>(&moved, ValidAt::Now(NOW)).unwrap_err();
    assert!(matches!(error, VerifyError::BadSignature), "{error}");
    assert!(roster.verify::<Answer>(as_answer.bytes(), ValidAt::Now(NOW)).is_ok());
}

#[test]
fn a_shared_node_speaks_for_each_organization_that_lists_it() {
    let mut network = Network::of(3);
    let (first, second) = (network.parties[0].clone(), network.parties[1].clone());
    let (node, key) = (first.key_set().nodes[0].clone(), first.key(KeyUse::Transport));
    let set = &mut network.sets[1];
    set.nodes = list(set.nodes.iter().cloned().chain([node]).collect());
    set.keys = list(set.keys.iter().copied().chain([key]).collect());
    network.decide(second.member(1, Standing::Expelled), day(1));
    let roster = network.open().unwrap();
    let verify = |asking: &Party| {
        let statement = sign(ask(asking.id, NOW), &first.transport, &roster.network());
        roster.verify::<Ask>(statement.bytes(), ValidAt::Now(NOW))
    };
    assert!(verify(&first).is_ok());
    // Cut off message by message: the node goes on speaking for the member that remains.
    assert!(matches!(verify(&second), Err(VerifyError::NotAdmitted)));
    let peer = first.transport.public();
    assert_eq!(roster.organizations_of_peer(&peer, NOW), [first.id]);
}

#[test]
fn statements_of_the_roster_count_nowhere_but_in_it() {
    let mut network = Network::of(1);
    network.witness(
        &[0],
        &network.proposal(network.parties[1].member(1, Standing::Admitted), day(1)),
        day(1),
    );
    let roster = network.open().unwrap();
    let root = roster.verify::<Endorsement>(&network.all()[0], ValidAt::Issue).unwrap_err();
    assert!(matches!(root, VerifyError::UnknownKey), "{root}");
    // A govern key of a member is known, and so is what it may sign; a heartbeat counts as well.
    assert!(roster.verify::<Heartbeat>(&network.said[0], ValidAt::Issue).is_ok());
}
