//! The signed envelope: COSE_Sign1 (RFC 9052 §4.2) around a deterministic CBOR body.
//!
//! The signature covers the received payload bytes, so there is nothing to canonicalize. It also
//! covers, as external data, the kind of statement and the network, so that a signature made for
//! one purpose or one network is worthless for another. There is one envelope for a given kind,
//! key, payload and signature, so a statement's hash names it. This module lays out bytes; it
//! neither signs nor verifies (`signpost-keys` does both, in one place).

use coset::{
    CborSerializable as _, CoseSign1, CoseSign1Builder, Header, HeaderBuilder,
    RegisteredLabelWithPrivate, TaggedCborSerializable as _, iana,
};
use minicbor::{Decode, Encode};

use crate::{
    codec::{self, DecodeError},
    ids::{ContentHash, KeyId, NetworkId, OrganizationId},
    time::Timestamp,
};

/// What may stand inside an envelope. The name is signed along with the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum StatementKind {
    /// An organization's birth certificate, signed by its root key, outside any network.
    Inception,
    /// A founder's signature under the founding roster.
    Endorsement,
    /// An organization's nodes and keys.
    OrganizationKeys,
    /// A steward's signature under a proposal.
    Approval,
    /// A root key's protest against its replacement.
    Objection,
    /// A steward's sign of life.
    Heartbeat,
    /// A steward's call to a ceremony of evaluators.
    CeremonyCall,
    /// A message of a party to one.
    CeremonyMessage,
    /// An organization's word that it takes part in one.
    CeremonyConsent,
    /// A pointer.
    Pointer,
    /// The head of a digest.
    DigestHead,
    /// A question to one candidate.
    Ask,
    /// The reply to an ask.
    Answer,
    /// Blinded elements for an evaluator.
    EvaluateRequest,
    /// Evaluated elements with their proof.
    EvaluateAnswer,
}

impl StatementKind {
    /// Every kind.
    pub const ALL: [Self; 15] = [
        Self::Inception,
        Self::Endorsement,
        Self::OrganizationKeys,
        Self::Approval,
        Self::Objection,
        Self::Heartbeat,
        Self::CeremonyCall,
        Self::CeremonyMessage,
        Self::CeremonyConsent,
        Self::Pointer,
        Self::DigestHead,
        Self::Ask,
        Self::Answer,
        Self::EvaluateRequest,
        Self::EvaluateAnswer,
    ];

    /// The domain-separation tag.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inception => "inception",
            Self::Endorsement => "endorsement",
            Self::OrganizationKeys => "organization-keys",
            Self::Approval => "approval",
            Self::Objection => "objection",
            Self::Heartbeat => "heartbeat",
            Self::CeremonyCall => "ceremony-call",
            Self::CeremonyMessage => "ceremony-message",
            Self::CeremonyConsent => "ceremony-consent",
            Self::Pointer => "pointer",
            Self::DigestHead => "digest-head",
            Self::Ask => "ask",
            Self::Answer => "answer",
            Self::EvaluateRequest => "evaluate-request",
            Self::EvaluateAnswer => "evaluate-answer",
        }
    }

    fn content_type(self) -> String {
        format!("application/vnd.signpost.{}+cbor", self.name())
    }

    /// The external data of the signature: `"signpost/v1/" kind 0x00 network-id`.
    fn external_data(self, network: &NetworkId) -> Vec<u8> {
        let mut data = format!("signpost/v1/{}\0", self.name()).into_bytes();
        data.extend_from_slice(network.as_bytes());
        data
    }
}

/// What a key may be used for (DESIGN §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum KeyUse {
    /// Offline; vouches for the organization's other keys.
    #[n(0)]
    Root,
    /// On an admin's machine; approves roster statements.
    #[n(1)]
    Govern,
    /// On a node; says what the organization holds: pointers, digest heads, answers.
    #[n(2)]
    Pointer,
    /// On a node; its libp2p identity, and speaks for it: asks, evaluations.
    #[n(3)]
    Transport,
}

/// A body that travels signed.
pub trait Body: Encode<()> + for<'b> Decode<'b, ()> {
    /// Its kind.
    const KIND: StatementKind;
    /// The use that the signing key must have.
    const SIGNED_BY: KeyUse;
    /// The longest accepted statement, envelope included, in bytes.
    const BYTES_MAX: usize;

    /// The organization on whose behalf it speaks; the key must be that organization's.
    fn author(&self) -> OrganizationId;
    /// When it was made, by the author's clock.
    fn issued(&self) -> Timestamp;
}

/// A parsed envelope whose signature has **not** been checked.
#[derive(Clone, Debug)]
pub struct Envelope {
    kind: StatementKind,
    sign1: CoseSign1,
    key_id: KeyId,
}

impl Envelope {
    /// Parses a COSE_Sign1 of the given kind, at most `max` bytes long.
    ///
    /// # Errors
    /// When it is too long, not a tagged COSE_Sign1, not EdDSA, of another content type, has a
    /// header outside SPEC §2 (unknown critical headers among them), no 64-byte signature, or is
    /// spelt otherwise than [`Unsigned::finish`] would.
    pub fn parse(kind: StatementKind, bytes: &[u8], max: usize) -> Result<Self, DecodeError> {
        let what = kind.name();
        if bytes.len() > max {
            return Err(DecodeError::TooLong { what, length: bytes.len(), max });
        }
        let rule = |rule| DecodeError::Envelope { what, rule };
        let sign1 = CoseSign1::from_tagged_slice(bytes)
            .map_err(|_| rule("must be a tagged COSE_Sign1 and nothing after it"))?;
        let Header { alg, crit, content_type, key_id, iv, partial_iv, counter_signatures, rest } =
            &sign1.protected.header;
        if *alg != Some(RegisteredLabelWithPrivate::Assigned(iana::Algorithm::EdDSA)) {
            return Err(rule("the algorithm must be EdDSA (-8)"));
        }
        if *content_type != Some(coset::ContentType::Text(kind.content_type())) {
            return Err(rule("the content type names another kind of statement"));
        }
        if !crit.is_empty() {
            return Err(rule("critical headers are not understood"));
        }
        if !(iv.is_empty() && partial_iv.is_empty() && counter_signatures.is_empty()) {
            return Err(rule("headers for encryption or counter-signatures have no place here"));
        }
        if !rest.is_empty() || !sign1.unprotected.is_empty() {
            return Err(rule("no further header is allowed"));
        }
        let key_id =
            KeyId(key_id.as_slice().try_into().map_err(|_| rule("the key id must be 16 bytes"))?);
        if sign1.signature.len() != 64 {
            return Err(rule("the signature must be 64 bytes"));
        }
        let Some(payload) = &sign1.payload else {
            return Err(rule("the payload must be inside"));
        };
        // Lengths and the order of headers could be spelt in many ways, some of them under the
        // same signature: the hash of a statement would then not name it.
        let canonical = CoseSign1Builder::new()
            .protected(headers(kind, key_id))
            .payload(payload.clone())
            .signature(sign1.signature.clone())
            .build()
            .to_tagged_vec();
        if !canonical.is_ok_and(|canonical| canonical == bytes) {
            return Err(rule("the envelope must be deterministic CBOR"));
        }
        Ok(Self { kind, sign1, key_id })
    }

    /// Which kind of statement some bytes claim to be; `None` when they are no statement at all.
    /// [`Self::parse`] checks the rest.
    #[must_use]
    pub fn kind_of(bytes: &[u8]) -> Option<StatementKind> {
        let sign1 = CoseSign1::from_tagged_slice(bytes).ok()?;
        let Some(coset::ContentType::Text(text)) = sign1.protected.header.content_type else {
            return None;
        };
        StatementKind::ALL.into_iter().find(|kind| kind.content_type() == text)
    }

    /// The key that claims to have signed.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The bytes that the signature must cover (RFC 9052 §4.4, `Sig_structure`).
    #[must_use]
    pub fn signed_bytes(&self, network: &NetworkId) -> Vec<u8> {
        self.sign1.tbs_data(&self.kind.external_data(network))
    }

    /// The signature (RFC 8032 §5.1.6).
    #[must_use]
    pub fn signature(&self) -> [u8; 64] {
        self.sign1.signature.as_slice().try_into().expect("parse checked the length")
    }

    /// The bytes of the body, as they were signed.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.sign1.payload.as_deref().expect("parse checked the payload")
    }

    /// Decodes the body. Unchecked: only worth something after the signature has been verified.
    ///
    /// # Errors
    /// When the payload is not a `B`.
    pub fn body<B: Body>(&self) -> Result<B, DecodeError> {
        debug_assert_eq!(self.kind, B::KIND);
        codec::decode(B::KIND.name(), self.payload(), B::BYTES_MAX)
    }
}

/// A statement on its way to be signed.
#[derive(Clone, Debug)]
pub struct Unsigned {
    kind: StatementKind,
    sign1: CoseSign1,
}

impl Unsigned {
    /// Encodes `body` and puts the headers of SPEC §2 around it.
    #[must_use]
    pub fn new<B: Body>(body: &B, key_id: KeyId) -> Self {
        let sign1 = CoseSign1Builder::new()
            .protected(headers(B::KIND, key_id))
            .payload(codec::encode(body))
            .build();
        // Parsing once pins the header bytes that `tbs_data` signs to those that will be sent.
        let bytes = sign1.to_vec().expect("headers built here are serializable");
        let sign1 = CoseSign1::from_slice(&bytes).expect("what was just written can be read");
        Self { kind: B::KIND, sign1 }
    }

    /// The bytes to sign.
    #[must_use]
    pub fn signed_bytes(&self, network: &NetworkId) -> Vec<u8> {
        self.sign1.tbs_data(&self.kind.external_data(network))
    }

    /// The finished statement: a CBOR-tagged COSE_Sign1.
    #[must_use]
    pub fn finish(mut self, signature: [u8; 64]) -> Vec<u8> {
        self.sign1.signature = signature.to_vec();
        self.sign1.to_tagged_vec().expect("headers built here are serializable")
    }
}

/// The protected headers, all that there are.
fn headers(kind: StatementKind, key_id: KeyId) -> Header {
    HeaderBuilder::new()
        .algorithm(iana::Algorithm::EdDSA)
        .content_type(kind.content_type())
        .key_id(key_id.0.to_vec())
        .build()
}

/// The name of a statement: the hash of its bytes, envelope included.
#[must_use]
pub fn statement_hash(bytes: &[u8]) -> ContentHash {
    ContentHash::of(bytes)
}
