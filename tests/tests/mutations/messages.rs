//! Valid messages of every kind, in a small network that is really founded.

use std::{collections::BTreeSet, fmt, marker::PhantomData};

use minicbor::{Decode, Decoder, Encode, Encoder, bytes::ByteArray, decode, encode};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use signpost_keys::{
    Roster, SecretKey, ValidAt, Verified,
    roster::{Statements, dealt_evaluators},
    sign,
};
use signpost_protocol::{
    ContentHash, InvitationCode, KeyEpoch, Locator, NetworkId, OrganizationId, Pointer,
    PointerState, RequestId, Timestamp,
    blind::{EvaluateAnswer, EvaluatePurpose, EvaluateRequest},
    codec::{self, Bounded, ByteString, Text},
    digest::{DigestHead, DigestsAnswer, DigestsRequest, FilterHead, HeadVersion, Life},
    hello::{HelloAnswer, HelloRequest, Regard},
    invitation::Invitation,
    joining::{Joining, JoiningAnswer, JoiningStage},
    limits,
    locate::{Answer, Ask, AskSubject, RefusalCode, Reply},
    roster::{Founding, Parameters},
    roster_exchange::{BucketDigests, RosterAnswer, RosterRequest},
    statement::{Body, Envelope, KeyUse, StatementKind},
};

use crate::{
    outcome::Outcome,
    roster::{self, Founder},
};

pub(crate) const NOW: Timestamp = Timestamp(1_767_225_600_000);
pub(crate) const DAY: u64 = 24 * 60 * 60 * 1000;

pub(crate) type Judge = fn(&Network, &[u8]) -> Outcome;
pub(crate) type Sign = fn(&Network, &[u8]) -> Option<Vec<u8>>;

/// A valid message, how it is judged, and how a changed payload is signed again.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) message: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) judge: Judge,
    pub(crate) sign: Option<Sign>,
    pub(crate) names_its_key: bool,
    /// How often it is picked, beside others.
    pub(crate) weight: usize,
}

/// A roster file takes ten times as long as any other message: the time goes further elsewhere.
pub(crate) const WEIGHT: usize = 8;

impl Subject {
    pub(crate) fn unsigned<T>(name: &'static str, message: &T) -> Self
    where
        T: Encode<()> + for<'b> Decode<'b, ()> + PartialEq + fmt::Debug,
    {
        let message = codec::encode(message);
        let payload = message.clone();
        let judge: Judge = |_, bytes| decoded::<T>(bytes);
        Self { name, message, payload, judge, sign: None, names_its_key: false, weight: WEIGHT }
    }

    fn signed<B>(name: &'static str, network: &Network, body: B) -> Self
    where
        B: Body + PartialEq + fmt::Debug,
    {
        let payload = codec::encode(&body);
        let message = sign(body, network.key::<B>(), &network.id).bytes().to_vec();
        let judge: Judge = |network, bytes| {
            let envelope = Envelope::parse(B::KIND, bytes, B::BYTES_MAX);
            match network.roster.verify::<B>(bytes, ValidAt::Now(NOW)) {
                Ok(statement) => survives(statement),
                Err(error) => Outcome::of_verifying(&error, envelope.is_ok()),
            }
        };
        let again: Sign = |network, payload| {
            let raw = Raw::<B>::new(payload);
            Some(sign(raw, network.key::<B>(), &network.id).bytes().to_vec())
        };
        Self {
            name,
            message,
            payload,
            judge,
            sign: Some(again),
            names_its_key: false,
            weight: WEIGHT,
        }
    }

    pub(crate) fn is_signed(&self) -> bool {
        self.sign.is_some()
    }

    /// Whether the key stands inside the payload, so that a change may replace it.
    pub(crate) fn names_its_key(&self) -> bool {
        self.names_its_key
    }

    pub(crate) fn judge(&self, network: &Network, bytes: &[u8]) -> Outcome {
        (self.judge)(network, bytes)
    }

    /// The message with this payload; `None` when it is too long to be put together.
    pub(crate) fn sign_again(&self, network: &Network, payload: &[u8]) -> Option<Vec<u8>> {
        self.sign.and_then(|sign| sign(network, payload))
    }
}

/// Decodes a message, which then must survive its own encoding.
fn decoded<T>(bytes: &[u8]) -> Outcome
where
    T: Encode<()> + for<'b> Decode<'b, ()> + PartialEq + fmt::Debug,
{
    match codec::decode::<T>("mutant", bytes, limits::DIGESTS_ANSWER_FRAME_BYTES_MAX) {
        Ok(message) => {
            let encoded = codec::encode(&message);
            assert!(encoded.len() <= bytes.len());
            let again: T = codec::decode("mutant", &encoded, encoded.len()).expect("own encoding");
            assert_eq!(again, message);
            Outcome::Decoded
        }
        Err(error) => Outcome::of_decoding(&error, false),
    }
}

pub(crate) fn survives<B: Body + PartialEq + fmt::Debug>(statement: Verified<B>) -> Outcome {
    let again: B = codec::decode("mutant", &codec::encode(&*statement), B::BYTES_MAX)
        .expect("what was decoded can be encoded");
    assert_eq!(again, *statement);
    Outcome::Verified
}

/// Any bytes in the place of a body of kind `B`.
pub(crate) struct Raw<B>(Vec<u8>, PhantomData<B>);

impl<B> Raw<B> {
    pub(crate) fn new(payload: &[u8]) -> Self {
        Self(payload.to_vec(), PhantomData)
    }
}

impl<B> Encode<()> for Raw<B> {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut (),
    ) -> Result<(), encode::Error<W::Error>> {
        e.writer_mut().write_all(&self.0).map_err(encode::Error::write)
    }
}

impl<'b, B> Decode<'b, ()> for Raw<B> {
    fn decode(_: &mut Decoder<'b>, _: &mut ()) -> Result<Self, decode::Error> {
        Err(decode::Error::message("only ever written"))
    }
}

impl<B: Body> Body for Raw<B> {
    const KIND: StatementKind = B::KIND;
    const SIGNED_BY: KeyUse = B::SIGNED_BY;
    const BYTES_MAX: usize = B::BYTES_MAX;

    fn author(&self) -> OrganizationId {
        OrganizationId([0; 32])
    }

    fn issued(&self) -> Timestamp {
        NOW
    }
}

/// Three founders; the first one's messages are changed.
pub(crate) struct Network {
    pub(crate) id: NetworkId,
    /// What the founders have said, and one approval of a reset of the first one's root.
    pub(crate) statements: Statements,
    roster: Roster,
    pub(crate) founders: Vec<Founder>,
    originals: BTreeSet<Vec<u8>>,
}

impl Network {
    pub(crate) fn found(rng: &mut ChaCha20Rng) -> Self {
        // Two runs with one seed are to be the same, whatever else draws from it.
        let mut rng = ChaCha20Rng::seed_from_u64(rng.next_u64());
        let founders: Vec<_> = (0..3).map(|number| Founder::draw(number, &mut rng)).collect();
        let organizations: Vec<_> = founders.iter().map(|founder| founder.organization).collect();
        let (evaluators, _) = dealt_evaluators(&organizations, 2, &mut rng).expect("2 of 3");
        let founding = codec::encode(&Founding {
            name: text("Mutations"),
            founded: NOW,
            parameters: Parameters::STANDARD,
            members: list(founders.iter().map(Founder::record).collect()),
            evaluators: Some(evaluators),
            stewards: list(founders.iter().map(Founder::steward).collect()),
            threshold: 2,
        });
        let file = roster::file(&founders, &founding).expect("three founders fit");
        let statements = Statements::read(&file, None, NOW).expect("a consistent founding");
        let (id, roster) = (statements.network(), statements.roster(NOW));
        let mut network = Self { id, statements, roster, founders, originals: BTreeSet::new() };
        network.originals = network.subjects().into_iter().map(|s| s.message).collect();
        network
    }

    /// The key that signs bodies of kind `B` for the first founder.
    pub(crate) fn key<B: Body>(&self) -> &SecretKey {
        let first = &self.founders[0];
        match B::SIGNED_BY {
            KeyUse::Pointer => &first.pointer,
            KeyUse::Transport => &first.transport,
            KeyUse::Govern => &first.govern,
            KeyUse::Root => &first.root,
        }
    }

    /// Whether these are the bytes of a valid message: a splice may restore one.
    pub(crate) fn is_original(&self, bytes: &[u8]) -> bool {
        self.originals.contains(bytes)
    }

    /// Every kind of message.
    pub(crate) fn subjects(&self) -> Vec<Subject> {
        let (us, them) = (self.founders[0].organization, self.founders[1].organization);
        let (node, hash) = (self.founders[0].node, ContentHash([0xcd; 32]));
        let pointer = Pointer {
            id: "F0-1".parse().expect("an id"),
            version: 3,
            organization: us,
            custodian_suffix: Some(text("001")),
            state: PointerState::Current,
            listed: true,
            key_epoch: KeyEpoch(1),
            locator: Locator([0xab; 32]),
            issued: NOW,
            resource: bytes(br#"{"resourceType":"DocumentReference","content":[]}"#),
        };
        let tombstone = Pointer {
            custodian_suffix: None,
            state: PointerState::Tombstone,
            resource: ByteString::default(),
            ..pointer.clone()
        };
        let filter = FilterHead {
            key_epoch: KeyEpoch(1),
            kind: 1,
            class: 4,
            salt: ByteArray::from([7; 16]),
            filter: hash,
            ones: 34_000,
            changes: list(vec![hash, ContentHash([1; 32])]),
        };
        let head = DigestHead {
            organization: us,
            node,
            version: 300,
            filters: list(vec![filter]),
            issued: NOW,
            expires: NOW.plus(900_000),
            restored_as_of: Some(NOW.minus(DAY)),
            life: Some(Life { resumed: 3, first: 5 }),
        };
        let ask = |subject| Ask {
            asked: them,
            asking: us,
            subject,
            purpose: text("TREAT"),
            role: text("clinician"),
            user: text("urn:uuid:0b0f5c3a-0000-4000-8000-000000000001"),
            request: RequestId([3; 16]),
            issued: NOW,
            expires: NOW.plus(3_000),
        };
        let by_locator = AskSubject::Locator {
            key_epoch: KeyEpoch(1),
            locator: Locator([0xab; 32]),
            after: Some("F1-7".parse().expect("an id")),
        };
        let by_id = AskSubject::Pointer { id: "F1-7".parse().expect("an id") };
        let signed_pointer = sign(pointer.clone(), self.key::<Pointer>(), &self.id);
        let signed_head = sign(head.clone(), self.key::<DigestHead>(), &self.id);
        let answer = Answer {
            ask: hash,
            organization: us,
            pointers: list(vec![bytes(signed_pointer.bytes())]),
            more: false,
            issued: NOW,
            restored_as_of: Some(NOW.minus(DAY)),
        };
        let signed_answer = sign(answer.clone(), self.key::<Answer>(), &self.id);
        let request = EvaluateRequest {
            asked: them,
            asking: us,
            request: RequestId([4; 16]),
            key_epoch: KeyEpoch(1),
            share_epoch: 1,
            purpose: EvaluatePurpose::Publish,
            blinded: list(vec![[5; 32].into(), [6; 32].into()]),
            issued: NOW,
            expires: NOW.plus(3_000),
        };
        let evaluated = EvaluateAnswer {
            request: hash,
            organization: us,
            index: 1,
            share_epoch: 1,
            evaluated: list(vec![[7; 32].into(), [8; 32].into()]),
            proof_c: [9; 32].into(),
            proof_s: [10; 32].into(),
            issued: NOW,
        };
        let version = HeadVersion { organization: us, node, version: 300 };
        let versions = || list(vec![2, 1]);
        let mut subjects = self.roster_subjects();
        subjects.extend([
            Subject::signed("pointer", self, pointer),
            Subject::signed("tombstone", self, tombstone),
            Subject::signed("digest head", self, head),
            Subject::signed("ask by locator", self, ask(by_locator)),
            Subject::signed("ask by id", self, ask(by_id)),
            Subject::signed("answer", self, answer),
            Subject::signed("evaluation request", self, request),
            Subject::signed("evaluation answer", self, evaluated),
            Subject::unsigned("compare", &DigestsRequest::Compare(hash)),
            Subject::unsigned("heads wanted", &DigestsRequest::Heads(list(vec![(us, node)]))),
            Subject::unsigned("blob wanted", &DigestsRequest::Blob(hash, 262_144)),
            Subject::unsigned("versions", &DigestsAnswer::Versions(list(vec![version, version]))),
            Subject::unsigned(
                "heads",
                &DigestsAnswer::Heads(list(vec![bytes(signed_head.bytes())])),
            ),
            Subject::unsigned("blob", &DigestsAnswer::Blob(bytes(&[0x55; 64]))),
            Subject::unsigned("same", &DigestsAnswer::Same),
            Subject::unsigned("reply", &Reply::Statement(bytes(signed_answer.bytes()))),
            Subject::unsigned("refusal", &Reply::Refused(RefusalCode::Busy)),
            Subject::unsigned(
                "hello",
                &HelloRequest { versions: versions(), network: self.id, now: NOW, joining: None },
            ),
            Subject::unsigned("hello answer", &hello_answer(Regard::Member, None)),
        ]);
        subjects.extend(self.roster_exchange());
        subjects.extend(self.joining());
        subjects
    }

    /// What members exchange to have the same roster.
    fn roster_exchange(&self) -> Vec<Subject> {
        let hashes = || [ContentHash([1; 32]), ContentHash([2; 32])];
        let statement = bytes(&self.founders[0].inception);
        vec![
            Subject::unsigned("rosters compared", &RosterRequest::Compare(hashes()[0])),
            Subject::unsigned("buckets", &RosterRequest::Buckets(list(vec![0, 23, 24, 255]))),
            Subject::unsigned(
                "statements wanted",
                &RosterRequest::Statements(list(hashes().to_vec())),
            ),
            Subject::unsigned("founding wanted", &RosterRequest::Founding),
            Subject::unsigned("same roster", &RosterAnswer::Same),
            Subject::unsigned(
                "digests of buckets",
                &RosterAnswer::Digests(BucketDigests::of(&hashes())),
            ),
            Subject::unsigned(
                "hashes",
                &RosterAnswer::Hashes { buckets: 3, hashes: list(hashes().to_vec()) },
            ),
            Subject::unsigned("statements", &RosterAnswer::Statements(list(vec![statement]))),
            Subject::unsigned(
                "founding told",
                &RosterAnswer::Founding(bytes(self.statements.founding())),
            ),
            Subject::unsigned("roster busy", &RosterAnswer::Busy),
        ]
    }

    /// What an applicant and the node that invited it say to each other, and the invitation.
    fn joining(&self) -> Vec<Subject> {
        let code = InvitationCode([9; 16]);
        let hello = |joining| HelloRequest {
            versions: list(vec![2, 1]),
            network: self.id,
            now: NOW,
            joining: Some(joining),
        };
        let answer = |joining| hello_answer(Regard::Stranger, Some(joining));
        let stage = JoiningStage::Proposed { approvals: 2, needed: 3 };
        let inception = bytes(&self.founders[0].inception);
        let invitation = Invitation {
            network: self.id,
            network_name: text("Mutations"),
            ods: "F0".parse().expect("an ODS code"),
            name: text("Founder"),
            code,
            addresses: list(vec![text("/ip4/192.0.2.1/tcp/4001/p2p/12D3KooW")]),
            expires: NOW.plus(DAY),
        };
        vec![
            Subject::unsigned("inception", &hello(Joining::Inception { code, inception })),
            Subject::unsigned("keys", &hello(Joining::Keys { code, keys: bytes(&[0x55; 64]) })),
            Subject::unsigned(
                "dial back",
                &hello(Joining::DialBack { code, address: text("/ip4/192.0.2.1/tcp/4001") }),
            ),
            Subject::unsigned("progress wanted", &hello(Joining::Progress { code })),
            Subject::unsigned("noted", &answer(JoiningAnswer::Noted)),
            Subject::unsigned("unknown code", &answer(JoiningAnswer::UnknownCode)),
            Subject::unsigned("full", &answer(JoiningAnswer::Full)),
            Subject::unsigned("refused", &answer(JoiningAnswer::Refused(text("not signed")))),
            Subject::unsigned(
                "dialled back",
                &answer(JoiningAnswer::DialBack { reachable: false, reason: text("refused") }),
            ),
            Subject::unsigned("progress", &answer(JoiningAnswer::Progress { stage })),
            Subject::unsigned("invitation", &invitation),
            invitation_text(&invitation),
        ]
    }
}

fn hello_answer(regard: Regard, joining: Option<JoiningAnswer>) -> HelloAnswer {
    HelloAnswer { regard, versions: list(vec![2, 1]), now: NOW, joining }
}

/// An invitation as it is mailed. Upper case and white space are no change, so what is accepted is
/// compared with the original: only a checksum that fits by chance would differ.
fn invitation_text(invitation: &Invitation) -> Subject {
    let message = invitation.to_string().into_bytes();
    Subject {
        name: "invitation as text",
        payload: message.clone(),
        message,
        judge: |network, bytes| {
            let parsed = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
            let Some(read): Option<Invitation> = parsed else { return Outcome::Malformed };
            let written = read.to_string();
            assert!(network.is_original(written.as_bytes()), "a mistyped invitation was taken");
            Outcome::Decoded
        },
        sign: None,
        names_its_key: false,
        weight: WEIGHT,
    }
}

pub(crate) fn text<const MAX: usize>(text: &str) -> Text<MAX> {
    Text::new(text).expect("a short text")
}

pub(crate) fn bytes<const MAX: usize>(bytes: &[u8]) -> ByteString<MAX> {
    ByteString::new(bytes.to_vec()).expect("a few bytes")
}

pub(crate) fn list<T, const MAX: usize>(items: Vec<T>) -> Bounded<T, MAX> {
    Bounded::new(items).expect("a short list")
}
