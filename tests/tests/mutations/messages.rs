//! Valid messages of every kind, in a small network that is really founded.

use std::{collections::BTreeSet, fmt, marker::PhantomData};

use minicbor::{Decode, Decoder, Encode, Encoder, bytes::ByteArray, decode, encode};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use signpost_keys::{
    Roster, SecretKey, ValidAt, Verified, VerifyError,
    roster::{FoundingError, assemble, dealt_evaluators, endorse, incept, verify_inception},
    sign,
};
use signpost_protocol::{
    ContentHash, KeyEpoch, Locator, NetworkId, NodeId, OdsCode, OrganizationId, Pointer,
    PointerState, RequestId, Timestamp,
    blind::{EvaluateAnswer, EvaluatePurpose, EvaluateRequest},
    codec::{self, Bounded, ByteString, Text},
    digest::{DigestHead, DigestsAnswer, DigestsRequest, FilterHead, HeadVersion, Life},
    hello::{HelloAnswer, HelloRequest, Regard},
    limits,
    locate::{Answer, Ask, AskSubject, RefusalCode, Reply},
    roster::{Founding, Inception, KeyRecord, MemberRecord, NodeRecord, Parameters, Standing},
    statement::{Body, Envelope, KeyUse, StatementKind},
};

use crate::outcome::Outcome;

const NOW: Timestamp = Timestamp(1_767_225_600_000);
const DAY: u64 = 24 * 60 * 60 * 1000;

type Judge = fn(&Network, &[u8]) -> Outcome;
type Sign = fn(&Network, &[u8]) -> Option<Vec<u8>>;

/// A valid message, how it is judged, and how a changed payload is signed again.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) message: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    judge: Judge,
    sign: Option<Sign>,
    names_its_key: bool,
    /// How often it is picked, beside others.
    pub(crate) weight: usize,
}

/// A roster file takes ten times as long as any other message: the time goes further elsewhere.
const WEIGHT: usize = 8;

impl Subject {
    fn unsigned<T>(name: &'static str, message: &T) -> Self
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
            let raw = Raw::<B>(payload.to_vec(), PhantomData);
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
    match codec::decode::<T>("mutant", bytes, limits::ROSTER_BYTES_MAX) {
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

fn survives<B: Body + PartialEq + fmt::Debug>(statement: Verified<B>) -> Outcome {
    let again: B = codec::decode("mutant", &codec::encode(&*statement), B::BYTES_MAX)
        .expect("what was decoded can be encoded");
    assert_eq!(again, *statement);
    Outcome::Verified
}

/// Any bytes in the place of a body of kind `B`.
struct Raw<B>(Vec<u8>, PhantomData<B>);

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

struct Founder {
    organization: OrganizationId,
    inception: Vec<u8>,
    node: NodeId,
    root: SecretKey,
    pointer: SecretKey,
    transport: SecretKey,
}

/// Three founders; the first one's messages are changed.
pub(crate) struct Network {
    id: NetworkId,
    roster: Roster,
    founders: Vec<Founder>,
    founding: Vec<u8>,
    file: Vec<u8>,
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
            members: list(founders.iter().enumerate().map(|(n, f)| f.record(n)).collect()),
            evaluators,
        });
        let file = endorsed(&founders, &founding).expect("three founders fit");
        let roster = Roster::open(&file, None).expect("a consistent founding");
        let id = roster.network();
        let mut network = Self { id, roster, founders, founding, file, originals: BTreeSet::new() };
        network.originals = network.subjects().into_iter().map(|s| s.message).collect();
        network
    }

    /// The key that signs bodies of kind `B` for the first founder.
    fn key<B: Body>(&self) -> &SecretKey {
        let first = &self.founders[0];
        match B::SIGNED_BY {
            KeyUse::Pointer => &first.pointer,
            KeyUse::Transport => &first.transport,
            KeyUse::Root | KeyUse::Govern => &first.root,
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
        vec![
            Subject::signed("pointer", self, pointer),
            Subject::signed("tombstone", self, tombstone),
            Subject::signed("digest head", self, head),
            Subject::signed("ask by locator", self, ask(by_locator)),
            Subject::signed("ask by id", self, ask(by_id)),
            Subject::signed("answer", self, answer),
            Subject::signed("evaluation request", self, request),
            Subject::signed("evaluation answer", self, evaluated),
            self.inception(),
            self.roster_file(),
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
                &HelloRequest { versions: versions(), network: self.id, now: NOW },
            ),
            Subject::unsigned(
                "hello answer",
                &HelloAnswer { regard: Regard::Member, versions: versions(), now: NOW },
            ),
        ]
    }

    fn inception(&self) -> Subject {
        let message = self.founders[0].inception.clone();
        let (_, inception) = verify_inception(&message).expect("it was just made");
        Subject {
            name: "inception",
            payload: codec::encode(&*inception),
            message,
            judge: |_, bytes| match verify_inception(bytes) {
                Ok((_, inception)) => survives(inception),
                // The key stands inside, so these two come before the signature.
                Err(VerifyError::WrongAuthor) => Outcome::Roster("an inception names another key"),
                Err(error) => Outcome::of_verifying(&error, false),
            },
            sign: Some(|network, payload| {
                let raw = Raw::<Inception>(payload.to_vec(), PhantomData);
                let root = &network.founders[0].root;
                Some(sign(raw, root, &NetworkId::NONE).bytes().to_vec())
            }),
            names_its_key: true,
            weight: WEIGHT,
        }
    }

    /// The roster file; signed again means endorsed again by every founder.
    fn roster_file(&self) -> Subject {
        Subject {
            name: "roster",
            message: self.file.clone(),
            payload: self.founding.clone(),
            judge: |network, bytes| match Roster::open(bytes, None) {
                // Unknown fields around founding and endorsements mean nothing to anybody.
                Ok(roster) if roster.network() == network.id => Outcome::SameNetwork,
                Ok(_) => Outcome::Verified,
                Err(FoundingError::Decode(error)) => Outcome::of_decoding(&error, false),
                Err(FoundingError::Inception { .. }) => Outcome::Roster("an inception"),
                Err(FoundingError::Endorsement { .. }) => Outcome::Roster("an endorsement"),
                Err(FoundingError::NotEndorsed { .. }) => Outcome::Roster("not endorsed"),
                Err(FoundingError::Inconsistent(_)) => {
                    Outcome::Roster("the founding is not consistent")
                }
                Err(other) => panic!("an error that this test does not know: {other}"),
            },
            sign: Some(|network, founding| endorsed(&network.founders, founding)),
            names_its_key: true,
            weight: 1,
        }
    }
}

impl Founder {
    fn draw(number: usize, rng: &mut ChaCha20Rng) -> Self {
        let ods: OdsCode = format!("F{number}").parse().expect("an ODS code");
        let (inception, root, _) = incept(ods, text("Founder"), NOW, rng);
        let inception = inception.bytes().to_vec();
        let (organization, _) = verify_inception(&inception).expect("it was just made");
        let node = NodeId([number as u8; 16]);
        let (pointer, transport) = (SecretKey::generate(rng), SecretKey::generate(rng));
        Self { organization, inception, node, root, pointer, transport }
    }

    fn record(&self, number: usize) -> MemberRecord {
        let key = |key: &SecretKey, usage| KeyRecord {
            key: key.public(),
            usage,
            node: self.node,
            not_before: NOW.minus(DAY),
            not_after: NOW.plus(DAY),
        };
        let addresses = list(vec![text("/ip4/192.0.2.1/tcp/4001")]);
        MemberRecord {
            inception: bytes(&self.inception),
            standing: Standing::Admitted,
            ods: format!("F{number}").parse().expect("an ODS code"),
            name: text("Founder"),
            nodes: list(vec![NodeRecord { node: self.node, addresses }]),
            keys: list(vec![
                key(&self.pointer, KeyUse::Pointer),
                key(&self.transport, KeyUse::Transport),
            ]),
            class_max: 10,
        }
    }
}

fn endorsed(founders: &[Founder], founding: &[u8]) -> Option<Vec<u8>> {
    let endorsements: Vec<_> =
        founders.iter().map(|f| endorse(founding, f.organization, &f.root, NOW)).collect();
    assemble(founding.to_vec(), &endorsements).ok()
}

fn text<const MAX: usize>(text: &str) -> Text<MAX> {
    Text::new(text).expect("a short text")
}

fn bytes<const MAX: usize>(bytes: &[u8]) -> ByteString<MAX> {
    ByteString::new(bytes.to_vec()).expect("a few bytes")
}

fn list<T, const MAX: usize>(items: Vec<T>) -> Bounded<T, MAX> {
    Bounded::new(items).expect("a short list")
}
