//! Entry points for fuzzers: one plain function for each decoder, so that ordinary tests can
//! replay a corpus through them too.
//!
//! Each takes any bytes. It panics when a decoder panics, and when what was decoded does not
//! survive encoding: decoding it again must give an equal value, in no more bytes than came in.
//! `protocol/fuzz/corpus/<entry>/` holds inputs to begin with.

use std::fmt::Debug;

use minicbor::{Decode, Encode};

use crate::{
    blind::{EvaluateAnswer, EvaluateRequest, EvaluationEvidence},
    codec::{self, DecodeError},
    digest::{DigestHead, DigestsAnswer, DigestsRequest},
    hello::{HelloAnswer, HelloRequest},
    ids::{NetworkId, OdsCode, PointerId},
    invitation::Invitation,
    limits,
    locate::{Answer, Ask, Reply},
    patient::{IdentifierSystem, PatientIdentifier},
    pointer::Pointer,
    roster::{
        Approval, CeremonyCall, CeremonyConsent, CeremonyMessage, Endorsement, Founding, Heartbeat,
        Inception, Objection, OrganizationKeys, Proposal, RosterFile,
    },
    roster_exchange::{RosterAnswer, RosterRequest},
    statement::{Body, Envelope},
};

/// Takes any bytes; see the module.
pub type Entry = fn(&[u8]);

/// Every entry point with the name of its corpus.
pub const ENTRIES: [(&str, Entry); 29] = [
    ("inception", inception),
    ("founding", founding),
    ("endorsement", endorsement),
    ("roster-file", roster_file),
    ("organization-keys", organization_keys),
    ("proposal", proposal),
    ("approval", approval),
    ("objection", objection),
    ("heartbeat", heartbeat),
    ("ceremony-call", ceremony_call),
    ("ceremony-message", ceremony_message),
    ("ceremony-consent", ceremony_consent),
    ("roster-request", roster_request),
    ("roster-answer", roster_answer),
    ("pointer", pointer),
    ("digest-head", digest_head),
    ("digests-request", digests_request),
    ("digests-answer", digests_answer),
    ("ask", ask),
    ("answer", answer),
    ("reply", reply),
    ("evaluate-request", evaluate_request),
    ("evaluate-answer", evaluate_answer),
    ("evaluation-evidence", evaluation_evidence),
    ("hello-request", hello_request),
    ("hello-answer", hello_answer),
    ("invitation", invitation),
    ("identifiers", identifiers),
    ("patient-identifier", patient_identifier),
];

/// An organization's inception, signed or bare.
pub fn inception(bytes: &[u8]) {
    statement::<Inception>(bytes);
}

/// A founding.
pub fn founding(bytes: &[u8]) {
    message::<Founding>(bytes, limits::FOUNDING_BYTES_MAX);
}

/// A founder's endorsement, signed or bare.
pub fn endorsement(bytes: &[u8]) {
    statement::<Endorsement>(bytes);
}

/// A roster file.
pub fn roster_file(bytes: &[u8]) {
    message::<RosterFile>(bytes, limits::ROSTER_FILE_BYTES_MAX);
}

/// An organization's nodes and keys, signed or bare.
pub fn organization_keys(bytes: &[u8]) {
    statement::<OrganizationKeys>(bytes);
}

/// The content of a proposal.
pub fn proposal(bytes: &[u8]) {
    message::<Proposal>(bytes, limits::PROPOSAL_BYTES_MAX);
}

/// A steward's approval, signed or bare.
pub fn approval(bytes: &[u8]) {
    statement::<Approval>(bytes);
}

/// A root key's objection, signed or bare.
pub fn objection(bytes: &[u8]) {
    statement::<Objection>(bytes);
}

/// A steward's heartbeat, signed or bare.
pub fn heartbeat(bytes: &[u8]) {
    statement::<Heartbeat>(bytes);
}

/// A steward's call to a ceremony, signed or bare.
pub fn ceremony_call(bytes: &[u8]) {
    statement::<CeremonyCall>(bytes);
}

/// An organization's consent to a ceremony, signed or bare.
pub fn ceremony_consent(bytes: &[u8]) {
    statement::<CeremonyConsent>(bytes);
}

/// Evidence against an evaluator.
pub fn evaluation_evidence(bytes: &[u8]) {
    message::<EvaluationEvidence>(bytes, limits::EVIDENCE_BYTES_MAX);
}

/// A message of a party to a ceremony, signed or bare.
pub fn ceremony_message(bytes: &[u8]) {
    statement::<CeremonyMessage>(bytes);
}

/// A request on the roster protocol.
pub fn roster_request(bytes: &[u8]) {
    message::<RosterRequest>(bytes, limits::ROSTER_REQUEST_FRAME_BYTES_MAX);
}

/// A reply on the roster protocol.
pub fn roster_answer(bytes: &[u8]) {
    message::<RosterAnswer>(bytes, limits::ROSTER_ANSWER_FRAME_BYTES_MAX);
}

/// A pointer, signed or bare.
pub fn pointer(bytes: &[u8]) {
    statement::<Pointer>(bytes);
}

/// A digest head, signed or bare.
pub fn digest_head(bytes: &[u8]) {
    statement::<DigestHead>(bytes);
}

/// A request on the digests protocol.
pub fn digests_request(bytes: &[u8]) {
    message::<DigestsRequest>(bytes, limits::DIGESTS_REQUEST_FRAME_BYTES_MAX);
}

/// A reply on the digests protocol.
pub fn digests_answer(bytes: &[u8]) {
    message::<DigestsAnswer>(bytes, limits::DIGESTS_ANSWER_FRAME_BYTES_MAX);
}

/// An ask, signed or bare.
pub fn ask(bytes: &[u8]) {
    statement::<Ask>(bytes);
}

/// An answer, signed or bare.
pub fn answer(bytes: &[u8]) {
    statement::<Answer>(bytes);
}

/// A reply on the ask and evaluate protocols.
pub fn reply(bytes: &[u8]) {
    message::<Reply>(bytes, limits::ANSWER_FRAME_BYTES_MAX);
}

/// A request for evaluation, signed or bare.
pub fn evaluate_request(bytes: &[u8]) {
    statement::<EvaluateRequest>(bytes);
}

/// An evaluator's answer, signed or bare.
pub fn evaluate_answer(bytes: &[u8]) {
    statement::<EvaluateAnswer>(bytes);
}

/// A hello.
pub fn hello_request(bytes: &[u8]) {
    message::<HelloRequest>(bytes, limits::HELLO_FRAME_BYTES_MAX);
}

/// The answer to a hello.
pub fn hello_answer(bytes: &[u8]) {
    message::<HelloAnswer>(bytes, limits::HELLO_FRAME_BYTES_MAX);
}

/// An invitation, encoded or as text.
pub fn invitation(bytes: &[u8]) {
    message::<Invitation>(bytes, limits::INVITATION_BYTES_MAX);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(invitation) = text.parse::<Invitation>() {
        let again = invitation.to_string().parse::<Invitation>();
        assert_eq!(again.expect("what was read can be written"), invitation);
    }
}

/// ODS codes and pointer ids as text.
pub fn identifiers(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(code) = text.parse::<OdsCode>() {
        assert_eq!(code.as_str(), text);
    }
    if let Ok(id) = text.parse::<PointerId>() {
        assert_eq!(id.as_str(), text);
        let ods = id.ods_code();
        assert_eq!(ods.as_str().parse::<OdsCode>(), Ok(ods), "a pointer id leads to its holder");
    }
}

/// A patient identifier as text, in every system.
pub fn patient_identifier(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for system in IdentifierSystem::ALL {
        if let Ok(patient) = PatientIdentifier::parse(system, text) {
            let again = PatientIdentifier::parse(system, patient.expose_digits());
            assert_eq!(again, Ok(patient));
            assert!(patient.occurs_in(text), "a number must be found where it was read");
        }
    }
}

fn message<T>(bytes: &[u8], bytes_max: usize)
where
    T: Encode<()> + for<'b> Decode<'b, ()> + PartialEq + Debug,
{
    let Ok(message) = codec::decode::<T>("fuzzed message", bytes, bytes_max) else { return };
    let encoded = codec::encode(&message);
    assert!(encoded.len() <= bytes.len(), "encoding adds nothing");
    let again: Result<T, DecodeError> = codec::decode("fuzzed message", &encoded, bytes_max);
    assert_eq!(again.expect("what was decoded can be encoded"), message);
}

fn statement<B: Body + PartialEq + Debug>(bytes: &[u8]) {
    message::<B>(bytes, B::BYTES_MAX);
    let Ok(envelope) = Envelope::parse(B::KIND, bytes, B::BYTES_MAX) else { return };
    assert!(envelope.signed_bytes(&NetworkId::NONE).len() > NetworkId::LENGTH);
    assert!(bytes.ends_with(&envelope.signature()), "the signature stands last");
    if let Ok(body) = envelope.body::<B>() {
        message::<B>(&codec::encode(&body), B::BYTES_MAX);
    }
}
