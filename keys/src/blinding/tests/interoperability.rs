//! Both directions against an independent implementation of RFC 9497, the `voprf` crate.

use rand_chacha::rand_core::Rng;
use voprf::{BlindedElement, EvaluationElement, Proof as TheirProof, Ristretto255};

use super::{evaluate, inputs, seeded, three_of_five};
use crate::blinding::{Blinding, Evaluation, KeyShare, Prf, Proof};

type Server = voprf::VoprfServer<Ristretto255>;
type Client = voprf::VoprfClient<Ristretto255>;

/// Our generator behind the older trait that the other implementation asks for.
struct OlderRng(rand_chacha::ChaCha20Rng);

impl rand_core_06::RngCore for OlderRng {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }
    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core_06::Error> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

impl rand_core_06::CryptoRng for OlderRng {}

fn server(share: &KeyShare) -> Server {
    Server::new_with_key(share.to_bytes().as_slice()).unwrap()
}

/// The other implementation's answer to a batch, in our types.
fn their_answer(share: &KeyShare, blinded: &[[u8; 32]]) -> Evaluation {
    let server = server(share);
    let blinded: Vec<_> =
        blinded.iter().map(|bytes| BlindedElement::deserialize(bytes).unwrap()).collect();
    let prepared: Vec<_> = server.batch_blind_evaluate_prepare(blinded.iter()).collect();
    let answer = server
        .batch_blind_evaluate_finish(&mut OlderRng(seeded(7)), blinded.iter(), &prepared)
        .unwrap();
    let proof = answer.proof.serialize();
    Evaluation {
        elements: answer.messages.map(|element| element.serialize().into()).collect(),
        proof: Proof { c: proof[..32].try_into().unwrap(), s: proof[32..].try_into().unwrap() },
    }
}

fn bytes(outputs: &[Prf]) -> Vec<Vec<u8>> {
    outputs.iter().map(|prf| prf.as_bytes().to_vec()).collect()
}

#[test]
fn their_evaluators_serve_our_client() {
    let dealt = three_of_five(8);
    for count in [1, 2, 9] {
        let blinding = Blinding::new(inputs(count), &mut seeded(9)).unwrap();
        let theirs: Vec<_> = dealt.shares[1..4]
            .iter()
            .map(|share| {
                let answer = their_answer(share, blinding.blinded());
                blinding.check(&share.public(), share.index(), &answer).unwrap()
            })
            .collect();
        let outputs = blinding.combine(3, &dealt.group_public, &theirs).unwrap();
        let ours = evaluate(&blinding, &dealt.shares[1..4]);
        let our_outputs = blinding.combine(3, &dealt.group_public, &ours).unwrap();
        assert_eq!(bytes(&outputs), bytes(&our_outputs));
    }
}

#[test]
fn our_evaluator_serves_their_client() {
    let share = &three_of_five(10).shares[0];
    let inputs = inputs(5);
    let blinded: Vec<_> = inputs
        .iter()
        .map(|input| Client::blind(input, &mut OlderRng(seeded(11))).unwrap())
        .collect();
    let clients: Vec<_> = blinded.iter().map(|blinded| blinded.state.clone()).collect();
    let encoded: Vec<_> =
        blinded.iter().map(|blinded| blinded.message.serialize().into()).collect();

    let ours = share.evaluate(&encoded, &mut seeded(12)).unwrap();
    let messages: Vec<_> = ours
        .elements
        .iter()
        .map(|bytes| EvaluationElement::<Ristretto255>::deserialize(bytes).unwrap())
        .collect();
    let finalize = |proof: [u8; 64]| {
        let proof = TheirProof::deserialize(&proof).unwrap();
        let public = server(share).get_public_key();
        Client::batch_finalize(&inputs, &clients, &messages, &proof, public)
            .map(|outputs| outputs.map(|output| output.unwrap().to_vec()).collect::<Vec<_>>())
    };
    let proof: [u8; 64] = [ours.proof.c, ours.proof.s].concat().try_into().unwrap();

    let expected: Vec<_> =
        inputs.iter().map(|input| server(share).evaluate(input).unwrap().to_vec()).collect();
    assert_eq!(finalize(proof).unwrap(), expected);

    let mut other_nonce = proof;
    other_nonce[32] ^= 1;
    assert!(finalize(other_nonce).is_err(), "their client does check our proof");
}

#[test]
fn three_shares_equal_their_server_with_the_whole_key() {
    let coefficients = [3u8, 5, 7].map(curve25519_dalek::scalar::Scalar::from);
    let dealt = crate::blinding::dealer::share(&coefficients, 5).unwrap();
    let whole = Server::new_with_key(coefficients[0].as_bytes()).unwrap();
    let inputs = inputs(4);
    let expected: Vec<_> =
        inputs.iter().map(|input| whole.evaluate(input).unwrap().to_vec()).collect();

    let blinding = Blinding::new(inputs, &mut seeded(13)).unwrap();
    let checked = evaluate(&blinding, &dealt.shares[2..]);
    let outputs = blinding.combine(3, &dealt.group_public, &checked).unwrap();
    assert_eq!(bytes(&outputs), expected);
}
