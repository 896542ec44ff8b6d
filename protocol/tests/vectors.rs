//! Pins the wire: every vector encodes to its bytes, decodes to its fields, or is refused as it says.

mod fields;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use fields::{Fields, roster};
use minicbor::{Decode, Encode};
use serde_json::Value;
use signpost_protocol::{
    ContentHash, DecodeError, IdentifierSystem, NetworkId, PatientIdentifier, PublicKey,
    blind::{EvaluateAnswer, EvaluateRequest},
    codec,
    digest::{DigestHead, DigestsAnswer, DigestsRequest},
    hello::{HelloAnswer, HelloRequest},
    invitation::{Invitation, InvitationError},
    limits,
    locate::{Answer, Ask, Reply},
    patient::PatientIdentifierError,
    pointer::Pointer,
    roster::{
        Approval, CeremonyCall, CeremonyMessage, Endorsement, Founding, Heartbeat, Inception,
        Objection, OrganizationKeys, Proposal, RosterFile,
    },
    roster_exchange::{RosterAnswer, RosterRequest},
    statement::{Body, Envelope, StatementKind, Unsigned, statement_hash},
};

fn read(name: &str) -> Value {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(format!("{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).expect("a vector file is JSON")
}

fn bytes(case: &Value, field: &str) -> Option<Vec<u8>> {
    case.get(field)?.as_str().map(|text| hex::decode(text).expect("hexadecimal"))
}

fn outcome(error: &DecodeError) -> &'static str {
    match error {
        DecodeError::TooLong { .. } => "too-long",
        DecodeError::Malformed { .. } => "malformed",
        DecodeError::NotDeterministic { .. } => "not-deterministic",
        DecodeError::Trailing { .. } => "trailing",
        DecodeError::Envelope { .. } => "envelope",
        _ => "unknown",
    }
}

/// Checks the bare messages of a file, and returns how many were accepted and refused.
fn check_messages<T>(file: &str, build: fn(Fields<'_>) -> T) -> [usize; 2]
where
    T: Encode<()> + for<'b> Decode<'b, ()> + PartialEq + std::fmt::Debug,
{
    let document = read(file);
    let max = document["bytes_max"].as_u64().expect("a cap") as usize;
    let mut counts = [0, 0];
    for case in document["cases"].as_array().expect("a list of cases") {
        let Some(cbor) = bytes(case, "cbor") else { continue };
        let (name, expect) = (&case["name"], case["expect"].as_str().expect("an outcome"));
        match codec::decode::<T>("vector", &cbor, max) {
            Ok(message) => {
                // "refused" is for rules above the codec: such a message decodes.
                assert!(matches!(expect, "ok" | "refused"), "{file}: {name} was accepted");
                if let Some(fields) = case.get("fields") {
                    assert_eq!(message, build(Fields::new(fields)), "{file}: {name}");
                }
                if case.get("tolerated").is_none() {
                    assert_eq!(
                        hex::encode(codec::encode(&message)),
                        hex::encode(&cbor),
                        "{file}: {name} is not encoded to its bytes"
                    );
                }
                counts[0] += 1;
            }
            Err(error) => {
                assert_eq!(outcome(&error), expect, "{file}: {name}: {error}");
                counts[1] += 1;
            }
        }
    }
    assert!(counts[0] > 0 && counts[1] > 5, "{file} has too few cases: {counts:?}");
    counts
}

/// Checks the envelopes of a file, too: signed bytes, layout and refusals. Signatures are for
/// `signpost-keys`.
fn check_statements<B: Body + PartialEq + std::fmt::Debug>(file: &str, build: fn(Fields<'_>) -> B) {
    check_messages(file, build);
    let document = read(file);
    assert_eq!(document["kind"], B::KIND.name());
    assert_eq!(document["bytes_max"].as_u64(), Some(B::BYTES_MAX as u64));
    let (mut accepted, mut refused) = (0, 0);
    for case in document["cases"].as_array().expect("a list of cases") {
        let Some(statement) = bytes(case, "statement") else { continue };
        let (name, expect) = (&case["name"], case["expect"].as_str().expect("an outcome"));
        let parsed = Envelope::parse(B::KIND, &statement, B::BYTES_MAX);
        if let Err(error) = &parsed {
            assert_eq!(outcome(error), expect, "{file}: {name}: {error}");
            refused += 1;
            continue;
        }
        assert!(!matches!(expect, "envelope" | "too-long"), "{file}: {name} was accepted");
        let Some(signed) = bytes(case, "sig_structure") else { continue };
        let network: NetworkId =
            case["network"].as_str().and_then(|n| n.parse().ok()).expect("a network");
        let envelope = parsed.expect("checked above");
        assert_eq!(envelope.signed_bytes(&network), signed, "{file}: {name}");
        let body: B = build(Fields::new(&case["fields"]));
        assert_eq!(envelope.body::<B>().expect("an accepted body"), body, "{file}: {name}");
        let unsigned = Unsigned::new(&body, envelope.key_id());
        assert_eq!(unsigned.signed_bytes(&network), signed, "{file}: {name}");
        assert_eq!(unsigned.finish(envelope.signature()), statement, "{file}: {name}");
        assert_eq!(Some(statement_hash(&statement).to_string().as_str()), case["hash"].as_str());
        accepted += 1;
    }
    assert!(accepted > 0 && refused > 10, "{file}: {accepted} accepted, {refused} refused");
}

#[test]
fn the_roster_plane() {
    check_statements::<Inception>("inception", roster::inception);
    check_messages::<Founding>("founding", roster::founding);
    check_statements::<Endorsement>("endorsement", roster::endorsement);
    check_messages::<RosterFile>("roster-file", roster::roster_file);
    check_statements::<OrganizationKeys>("organization-keys", roster::organization_keys);
    check_messages::<Proposal>("proposal", roster::proposal);
    check_statements::<Approval>("approval", roster::approval);
    check_statements::<Objection>("objection", roster::objection);
    check_statements::<Heartbeat>("heartbeat", roster::heartbeat);
    check_statements::<CeremonyCall>("ceremony-call", roster::ceremony_call);
    check_statements::<CeremonyMessage>("ceremony-message", roster::ceremony_message);
    check_messages::<RosterRequest>("roster-request", fields::roster_request);
    check_messages::<RosterAnswer>("roster-answer", fields::roster_answer);
}

#[test]
fn ids_of_what_the_roster_names() {
    let network = read("network");
    let file = bytes(&network, "roster").expect("a roster file");
    let file: RosterFile =
        codec::decode("roster", &file, limits::ROSTER_FILE_BYTES_MAX).expect("a roster file");
    let founding = codec::decode::<Founding>("founding", &file.founding, file.founding.len());
    assert_eq!(network["network"], ContentHash::of(&file.founding).to_string());
    for document in [read("founding"), read("roster-file")] {
        assert_eq!(document["network"], network["network"]);
    }

    let members = founding.expect("a founding").members;
    let organizations = network["organizations"].as_array().expect("a list");
    assert_eq!(members.len(), organizations.len());
    for (member, organization) in members.iter().zip(organizations) {
        assert_eq!(organization["organization"], member.organization().to_string());
    }

    let mut subjects = BTreeSet::new();
    let document = read("proposal");
    for case in document["cases"].as_array().expect("a list of cases") {
        let (Some(cbor), Some(id)) = (bytes(case, "cbor"), case.get("id")) else { continue };
        assert_eq!(*id, ContentHash::of(&cbor).to_string(), "{}", case["name"]);
        subjects.insert(Proposal::decode(&cbor).expect("an accepted proposal").change.subject());
    }
    assert_eq!(subjects.len(), 7, "{subjects:?}");
}

/// A roster file says of no statement what it is.
#[test]
fn statements_of_a_roster_file_name_their_kind() {
    let file = bytes(&read("network"), "roster").expect("a roster file");
    let file: RosterFile =
        codec::decode("roster", &file, limits::ROSTER_FILE_BYTES_MAX).expect("a roster file");
    let mut kinds = BTreeMap::<StatementKind, usize>::new();
    for statement in file.statements.iter() {
        let kind = Envelope::kind_of(statement).expect("a statement");
        for other in StatementKind::ALL {
            let parsed = Envelope::parse(other, statement, limits::STATEMENT_BYTES_MAX);
            assert_eq!(parsed.is_ok(), other == kind, "{kind:?} parsed as {other:?}");
        }
        *kinds.entry(kind).or_default() += 1;
    }
    let expected = [
        (StatementKind::Endorsement, 4),
        (StatementKind::OrganizationKeys, 4),
        (StatementKind::Approval, 2),
        (StatementKind::Heartbeat, 3),
    ];
    assert_eq!(kinds, BTreeMap::from(expected));
    let statement = &file.statements[0];
    for none in [&file.founding[..], &statement[1..], &statement[..statement.len() - 1], &[]] {
        assert_eq!(Envelope::kind_of(none), None);
    }
}

#[test]
fn the_digests_plane() {
    check_statements::<DigestHead>("digest-head", fields::digest_head);
    check_messages::<DigestsRequest>("digests-request", fields::digests_request);
    check_messages::<DigestsAnswer>("digests-answer", fields::digests_answer);
}

#[test]
fn the_pointers_plane() {
    check_statements::<Pointer>("pointer", fields::pointer);
    check_statements::<Ask>("ask", fields::ask);
    check_statements::<Answer>("answer", fields::answer);
    check_messages::<Reply>("reply", fields::reply);
}

#[test]
fn blind_evaluation() {
    check_statements::<EvaluateRequest>("evaluate-request", fields::evaluate_request);
    check_statements::<EvaluateAnswer>("evaluate-answer", fields::evaluate_answer);
}

#[test]
fn hello() {
    check_messages::<HelloRequest>("hello-request", fields::hello_request);
    check_messages::<HelloAnswer>("hello-answer", fields::hello_answer);
}

#[test]
fn invitations() {
    check_messages::<Invitation>("invitation", fields::invitation);
    let document = read("invitation");
    let mut counts = [0, 0];
    for case in document["cases"].as_array().expect("a list of cases") {
        let Some(text) = case.get("text").and_then(Value::as_str) else { continue };
        let outcome = match text.parse::<Invitation>() {
            Ok(invitation) => {
                assert_eq!(invitation, fields::invitation(Fields::new(&case["fields"])), "{case}");
                if case.get("tolerated").is_none() {
                    assert_eq!(invitation.to_string(), text, "{case}");
                }
                "ok"
            }
            Err(InvitationError::NoPrefix) => "prefix",
            Err(InvitationError::Character { .. }) => "character",
            Err(InvitationError::Length) => "length",
            Err(InvitationError::Checksum) => "checksum",
            Err(InvitationError::Content(_)) => "content",
            Err(InvitationError::NoAddress) => "no-address",
            Err(_) => "unknown",
        };
        assert_eq!(case["expect"], outcome, "{case}");
        counts[usize::from(outcome != "ok")] += 1;
    }
    assert!(counts[0] > 3 && counts[1] > 10, "{counts:?}");
}

#[test]
fn key_ids() {
    for key in read("network")["keys"].as_array().expect("a list of keys") {
        let public: PublicKey =
            key["public"].as_str().and_then(|k| k.parse().ok()).expect("a public key");
        assert_eq!(Some(public.key_id().to_string().as_str()), key["key_id"].as_str());
    }
}

#[test]
fn patient_identifiers() {
    let document = read("patient-identifier");
    let mut counts = [0, 0];
    for case in document["cases"].as_array().expect("a list of cases") {
        let system = case["system"].as_str().and_then(IdentifierSystem::from_name);
        let value = case["value"].as_str().expect("a value");
        let parsed = PatientIdentifier::parse(system.expect("a known system"), value);
        let (outcome, place) = match parsed {
            Ok(patient) => {
                assert_eq!(Some(patient.blinding_input()), bytes(case, "input"), "{case}");
                ("ok", 0)
            }
            Err(PatientIdentifierError::Shape) => ("shape", 1),
            Err(PatientIdentifierError::CheckDigit) => ("check-digit", 1),
            Err(PatientIdentifierError::DateOfBirth) => ("date-of-birth", 1),
            Err(PatientIdentifierError::Range) => ("range", 1),
            Err(_) => ("unknown", 1),
        };
        assert_eq!(case["expect"], outcome, "{case}");
        counts[place] += 1;
    }
    assert!(counts[0] > 4 && counts[1] > 4, "{counts:?}");
}
