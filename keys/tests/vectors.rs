//! Signs, verifies and blinds what the vectors of the protocol say, to the byte.

use std::{fs, path::PathBuf};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use serde_json::Value;
use signpost_keys::{
    Roster, SecretKey, ValidAt, VerifyError,
    blinding::{Blinding, Evaluation, EvaluatorIndex, KeyShare, Proof, PublicShare},
    roster::{FoundingError, Refusal, Statements, verify_inception},
    sign,
};
use signpost_protocol::{
    ContentHash, DecodeError, IdentifierSystem, NetworkId, OrganizationId, PatientIdentifier,
    Pointer, Timestamp,
    blind::{EvaluateAnswer, EvaluateRequest},
    codec::{self, ByteString},
    digest::DigestHead,
    locate::{Answer, Ask},
    roster::{
        Approval, CeremonyCall, CeremonyMessage, Endorsement, Heartbeat, Inception, Objection,
        OrganizationKeys, Proposal,
    },
    statement::Body,
};

fn read(name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../protocol/vectors")
        .join(format!("{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).expect("a vector file is JSON")
}

fn cases(document: &Value) -> &[Value] {
    document["cases"].as_array().expect("a list of cases")
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("a text")).expect("hexadecimal")
}

fn array(value: &Value) -> [u8; 32] {
    bytes(value).try_into().expect("32 bytes")
}

fn network(value: &Value) -> NetworkId {
    value.as_str().and_then(|text| text.parse().ok()).expect("a network id")
}

fn now() -> Timestamp {
    Timestamp(read("network")["now"].as_u64().expect("an instant"))
}

fn roster() -> Roster {
    let document = read("network");
    Roster::open(&bytes(&document["roster"]), Some(network(&document["network"])), now())
        .expect("the example roster holds")
}

/// What a node has that was given the example roster, and the approvals on record.
fn statements() -> Statements {
    let mut statements = Statements::read(&bytes(&read("network")["roster"]), None, now())
        .expect("the example roster holds");
    let approvals = read("approval");
    let good = cases(&approvals).iter().filter(|case| case["expect"] == "ok");
    for case in good.filter(|case| case.get("statement").is_some()) {
        statements.take(&bytes(&case["statement"]), now()).expect("an approval that holds");
    }
    statements
}

/// The same with the calls on record.
fn called() -> Statements {
    let mut statements = statements();
    let calls = read("ceremony-call");
    let good = cases(&calls).iter().filter(|case| case["expect"] == "ok");
    for case in good.filter(|case| case.get("statement").is_some()) {
        statements.take(&bytes(&case["statement"]), now()).expect("a call that holds");
    }
    statements
}

fn outcome(error: &VerifyError) -> &'static str {
    match error {
        VerifyError::Decode(error) => match error {
            DecodeError::TooLong { .. } => "too-long",
            DecodeError::Malformed { .. } => "malformed",
            DecodeError::NotDeterministic { .. } => "not-deterministic",
            DecodeError::Trailing { .. } => "trailing",
            DecodeError::Envelope { .. } => "envelope",
            _ => "unknown",
        },
        VerifyError::UnknownKey => "unknown-key",
        VerifyError::WrongUse => "wrong-use",
        VerifyError::WrongAuthor => "wrong-author",
        VerifyError::KeyNotValid => "key-not-valid",
        VerifyError::NotAdmitted => "not-admitted",
        VerifyError::WeakKey => "weak-key",
        VerifyError::BadSignature => "bad-signature",
        _ => "unknown",
    }
}

/// Signs again what the vectors signed: Ed25519 is deterministic, so the statements are equal.
fn check_signing<B: Body>(file: &str) {
    let document = read(file);
    let mut signed = 0;
    for case in cases(&document).iter().filter(|case| case.get("seed").is_some()) {
        let body: B =
            codec::decode("vector", &bytes(&case["cbor"]), B::BYTES_MAX).expect("an accepted body");
        let key = SecretKey::from_seed(&array(&case["seed"]));
        let statement = sign(body, &key, &network(&case["network"]));
        assert_eq!(
            hex::encode(statement.bytes()),
            case["statement"].as_str().expect("a statement"),
            "{file}: {}",
            case["name"]
        );
        assert_eq!(case["hash"], statement.hash().to_string());
        signed += 1;
    }
    assert!(signed > 0, "{file} signs nothing");
}

/// Verifies every statement of a file against the roster, or is refused for the reason given.
fn check_verifying<B: Body>(file: &str, roster: &Roster) {
    check_signing::<B>(file);
    let document = read(file);
    let (mut accepted, mut refused) = (0, 0);
    for case in cases(&document).iter().filter(|case| case.get("statement").is_some()) {
        let at = match case["at"].as_u64() {
            Some(now) => ValidAt::Now(Timestamp(now)),
            None => {
                assert_eq!(case["at"], "issue", "{file}: {}", case["name"]);
                ValidAt::Issue
            }
        };
        match roster.verify::<B>(&bytes(&case["statement"]), at) {
            Ok(_) => {
                assert_eq!(case["expect"], "ok", "{file}: {}", case["name"]);
                accepted += 1;
            }
            Err(error) => {
                assert_eq!(case["expect"], outcome(&error), "{file}: {}: {error}", case["name"]);
                refused += 1;
            }
        }
    }
    assert!(accepted > 0 && refused > 25, "{file}: {accepted} accepted, {refused} refused");
}

#[test]
fn statements_of_members() {
    let roster = roster();
    check_verifying::<Pointer>("pointer", &roster);
    check_verifying::<DigestHead>("digest-head", &roster);
    check_verifying::<Ask>("ask", &roster);
    check_verifying::<Answer>("answer", &roster);
    check_verifying::<EvaluateRequest>("evaluate-request", &roster);
    check_verifying::<EvaluateAnswer>("evaluate-answer", &roster);
}

#[test]
fn inceptions() {
    check_signing::<Inception>("inception");
    let document = read("inception");
    let (mut accepted, mut refused) = (0, 0);
    for case in cases(&document).iter().filter(|case| case.get("statement").is_some()) {
        match verify_inception(&bytes(&case["statement"])) {
            Ok((organization, _)) => {
                assert_eq!(case["expect"], "ok", "{}", case["name"]);
                assert_eq!(case["organization"], organization.to_string());
                accepted += 1;
            }
            Err(error) => {
                assert_eq!(case["expect"], outcome(&error), "{}: {error}", case["name"]);
                refused += 1;
            }
        }
    }
    assert!(accepted > 0 && refused > 25, "{accepted} accepted, {refused} refused");
}

/// Takes up every statement of a file, or is refused for the reason given.
fn check_taking<B: Body>(file: &str, statements: &Statements) {
    check_signing::<B>(file);
    let document = read(file);
    let (mut accepted, mut refused) = (0, 0);
    for case in cases(&document).iter().filter(|case| case.get("statement").is_some()) {
        let mut statements = statements.clone();
        let found = match statements.take(&bytes(&case["statement"]), now()) {
            Ok(taken) if taken.waits => "waits",
            Ok(_) => "ok",
            Err(Refusal::Verify(error)) => outcome(&error),
            // It shows no kind of a roster's statement: something about its envelope is wrong.
            Err(Refusal::Kind) => "envelope",
            Err(_) => "refused",
        };
        accepted += u32::from(found == "ok");
        refused += u32::from(found != "ok");
        let (expected, name) = (case["expect"].as_str().expect("a text"), &case["name"]);
        // Another fault may be seen first; what could only wait may be refused if it waits in vain.
        let fits = (found == "ok") == (expected == "ok");
        assert!(fits, "{file}: {name}: {found} rather than {expected}");
    }
    assert!(accepted > 0 && refused > 20, "{file}: {accepted} accepted, {refused} refused");
}

#[test]
fn statements_of_the_roster() {
    let statements = statements();
    check_signing::<Endorsement>("endorsement");
    check_taking::<OrganizationKeys>("organization-keys", &statements);
    check_taking::<Approval>("approval", &statements);
    check_taking::<Objection>("objection", &statements);
    check_taking::<Heartbeat>("heartbeat", &statements);
    check_taking::<CeremonyCall>("ceremony-call", &statements);
    check_taking::<CeremonyMessage>("ceremony-message", &called());
}

/// Of the messages on record each ceremony has what its parties owe it.
#[test]
fn ceremonies() {
    let mut statements = called();
    let document = read("ceremony-message");
    let good = cases(&document).iter().filter(|case| case["expect"] == "ok");
    for case in good.filter(|case| case.get("statement").is_some()) {
        let taken = statements.take(&bytes(&case["statement"]), now()).expect("it holds");
        assert_eq!(taken.new.len(), 1, "{}", case["name"]);
    }
    let mut kept: Vec<_> =
        statements.ceremonies().map(|(_, ceremony)| ceremony.messages().count()).collect();
    kept.sort_unstable();
    assert_eq!(kept, [0, 3, 5]);
}

#[test]
fn proposals() {
    let document = read("proposal");
    let network_document = read("network");
    let mut keys = network_document["keys"].as_array().expect("a list").iter();
    let key = keys.find(|key| key["name"] == "A1A govern").expect("Alder's govern key");
    let key = SecretKey::from_seed(&array(&key["seed"]));
    let steward = network_document["organizations"][0]["organization"].as_str();
    let steward: OrganizationId = steward.and_then(|o| o.parse().ok()).expect("an id");
    let statements = statements();
    let mut counts = [0, 0];
    for case in cases(&document) {
        let is_good = case["expect"] == "ok";
        if !is_good && case["expect"] != "refused" {
            continue;
        }
        let cbor = bytes(&case["cbor"]);
        let proposal = Proposal::decode(&cbor).expect("a proposal");
        if let Some(id) = case["id"].as_str() {
            assert_eq!(id, ContentHash::of(&cbor).to_string(), "{}", case["name"]);
        } else if is_good {
            // It shows how something is encoded, and not what may be proposed.
            continue;
        }
        let (network, issued) = (statements.network(), proposal.issued);
        let proposal = ByteString::new(cbor).expect("within its cap");
        let approval = sign(Approval { steward, proposal, issued }, &key, &network);
        let taken = statements.clone().take(approval.bytes(), now());
        assert_eq!(taken.is_ok(), is_good, "{}: {taken:?}", case["name"]);
        counts[usize::from(!is_good)] += 1;
    }
    assert!(counts[0] > 5 && counts[1] > 25, "{counts:?}");
}

#[test]
fn rosters() {
    let document = read("roster-file");
    let (mut accepted, mut refused) = (0, 0);
    for case in cases(&document) {
        match Roster::open(&bytes(&case["cbor"]), None, now()) {
            Ok(opened) => {
                assert_eq!(case["expect"], "ok", "{}", case["name"]);
                assert_eq!(opened.network(), network(&document["network"]));
                accepted += 1;
            }
            Err(FoundingError::Decode(_)) => assert_ne!(case["expect"], "ok", "{}", case["name"]),
            Err(_) => {
                assert_eq!(case["expect"], "refused", "{}", case["name"]);
                refused += 1;
            }
        }
    }
    assert!(accepted > 0 && refused > 15, "{accepted} accepted, {refused} refused");
}

#[test]
fn the_example_network() {
    let (document, roster) = (read("network"), roster());
    for member in document["organizations"].as_array().expect("a list") {
        let organization: OrganizationId =
            member["organization"].as_str().and_then(|o| o.parse().ok()).expect("an id");
        let found = roster.member(&organization).expect("a member");
        assert_eq!(member["ods"], found.ods.as_str());
        assert_eq!(member["node"], found.nodes[0].node.to_string());
        assert_eq!(roster.is_admitted(&organization), member["standing"] == "admitted");
    }
    for key in document["keys"].as_array().expect("a list") {
        let secret = SecretKey::from_seed(&array(&key["seed"]));
        assert_eq!(key["public"], secret.public().to_string());
        assert_eq!(key["key_id"], secret.key_id().to_string());
    }
}

#[test]
fn blinding() {
    let document = read("blinding");
    let list = |name: &str| document[name].as_array().expect("a list").clone();
    let threshold = document["threshold"].as_u64().expect("a number") as usize;
    let group = PublicShare::from_bytes(array(&document["group"])).expect("an element");
    let blinded: Vec<[u8; 32]> = list("blinded").iter().map(array).collect();
    let inputs: Vec<Vec<u8>> = list("outputs").iter().map(|o| bytes(&o["input"])).collect();
    for output in list("outputs") {
        let system = output["system"].as_str().and_then(IdentifierSystem::from_name);
        let value = output["value"].as_str().expect("a value");
        let patient = PatientIdentifier::parse(system.expect("known"), value).expect("valid");
        assert_eq!(patient.blinding_input(), bytes(&output["input"]));
    }

    // The answers on record hold, and none holds once altered.
    let mut shares = Vec::new();
    for answer in list("evaluations") {
        let index = EvaluatorIndex::new(answer["index"].as_u64().expect("a number") as u16)
            .expect("not zero");
        let share = KeyShare::from_bytes(index, &array(&answer["share"])).expect("a scalar");
        assert_eq!(share.public().to_bytes(), array(&answer["public_share"]));
        let elements: Vec<[u8; 32]> =
            answer["evaluated"].as_array().expect("a list").iter().map(array).collect();
        let proof = Proof { c: array(&answer["proof_c"]), s: array(&answer["proof_s"]) };
        let good = Evaluation { elements, proof };
        assert_eq!(share.public().refutes(&blinded, &good), Ok(false));
        let mut swapped = good.clone();
        swapped.elements.swap(0, 1);
        assert_eq!(share.public().refutes(&blinded, &swapped), Ok(true));
        let mut other = good.clone();
        other.proof.s[0] ^= 1;
        assert_eq!(share.public().refutes(&blinded, &other), Ok(true));
        shares.push(share);
    }

    // Whatever the blinds and whoever answers, the locators are those on record.
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    for first in 0..shares.len() {
        let blinding = Blinding::new(inputs.clone(), &mut rng).expect("a small batch");
        let checked: Vec<_> = (0..threshold)
            .map(|next| &shares[(first + next) % shares.len()])
            .map(|share| {
                let evaluation =
                    share.evaluate(blinding.blinded(), &mut rng).expect("good elements");
                blinding.check(&share.public(), share.index(), &evaluation).expect("it is honest")
            })
            .collect();
        let outputs = blinding.combine(threshold, &group, &checked).expect("enough answers");
        for (output, expected) in outputs.iter().zip(list("outputs")) {
            assert_eq!(output.locator(1), array(&expected["locator_epoch_1"]));
            assert_eq!(output.locator(2), array(&expected["locator_epoch_2"]));
            assert_eq!(*output.seal_key(1), array(&expected["seal_key_epoch_1"]));
        }
    }
}
