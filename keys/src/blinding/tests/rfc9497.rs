//! The published vectors of RFC 9497 appendix A.1.2, byte for byte.

use curve25519_dalek::scalar::Scalar;
use serde::Deserialize;

use crate::blinding::{
    Blinding, EvaluatorIndex, KeyShare,
    suite::{decode_scalar, domain, hash_to_scalar_in, two_bytes},
};

#[derive(Deserialize)]
struct Suite {
    seed: String,
    #[serde(rename = "keyInfo")]
    key_info: String,
    #[serde(rename = "skSm")]
    secret: String,
    #[serde(rename = "pkSm")]
    public: String,
    #[serde(rename = "groupDST")]
    group_domain: String,
    vectors: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Case {
    batch: usize,
    blind: String,
    blinded_element: String,
    evaluation_element: String,
    input: String,
    output: String,
    proof: CaseProof,
}

#[derive(Deserialize)]
struct CaseProof {
    proof: String,
    r: String,
}

fn suite() -> Suite {
    serde_json::from_str(include_str!("../../../vectors/rfc9497-ristretto255-sha512-voprf.json"))
        .unwrap()
}

/// The values of a field that holds one a batch item, separated by commas.
fn list(field: &str) -> Vec<Vec<u8>> {
    field.split(',').map(|value| hex::decode(value).unwrap()).collect()
}

/// The reverse of [`list`].
fn field<const N: usize>(values: &[[u8; N]]) -> String {
    values.iter().map(hex::encode).collect::<Vec<_>>().join(",")
}

fn scalar(bytes: &[u8]) -> Scalar {
    decode_scalar(bytes.try_into().unwrap()).unwrap()
}

fn key(suite: &Suite) -> KeyShare {
    let bytes = hex::decode(&suite.secret).unwrap().try_into().unwrap();
    KeyShare::from_bytes(EvaluatorIndex::new(1).unwrap(), &bytes).unwrap()
}

#[test]
fn key_and_domain_match() {
    let suite = suite();
    assert_eq!(hex::encode(domain("HashToGroup-")), suite.group_domain);
    assert_eq!(hex::encode(key(&suite).public().to_bytes()), suite.public);

    // DeriveKeyPair (§3.2.1), whose loop ends at its first turn here.
    let info = hex::decode(&suite.key_info).unwrap();
    let derived = hash_to_scalar_in(
        &[&hex::decode(&suite.seed).unwrap(), &two_bytes(info.len()), &info, &[0]],
        &domain("DeriveKeyPair"),
    );
    assert_eq!(hex::encode(derived.to_bytes()), suite.secret);
}

#[test]
fn every_case_matches() {
    let suite = suite();
    let key = key(&suite);
    assert_eq!(suite.vectors.iter().map(|case| case.batch).collect::<Vec<_>>(), [1, 1, 2]);
    for case in &suite.vectors {
        let blinds = list(&case.blind).iter().map(|bytes| scalar(bytes)).collect();
        let blinding = Blinding::with_blinds(list(&case.input), blinds).unwrap();
        assert_eq!(field(blinding.blinded()), case.blinded_element, "blinded elements");

        let nonce = scalar(&hex::decode(&case.proof.r).unwrap());
        let evaluation = key.evaluate_with(blinding.blinded(), &nonce).unwrap();
        assert_eq!(field(&evaluation.elements), case.evaluation_element, "evaluated elements");
        let proof = [evaluation.proof.c, evaluation.proof.s].concat();
        assert_eq!(hex::encode(proof), case.proof.proof, "proof");

        let checked = blinding.check(&key.public(), key.index(), &evaluation).unwrap();
        let outputs = blinding.combine(1, &key.public(), &[checked]).unwrap();
        let outputs: Vec<_> = outputs.iter().map(|prf| *prf.as_bytes()).collect();
        assert_eq!(field(&outputs), case.output, "outputs");
    }
}
