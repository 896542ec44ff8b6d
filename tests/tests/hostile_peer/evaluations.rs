//! Evaluators that do not evaluate as they should, and requests that must not be evaluated.

use std::{cell::RefCell, rc::Rc};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use signpost_keys::{
    SecretKey,
    blinding::{Blinding, KeyShare},
};
use signpost_node::{
    core::local::{LocateError, NewId, Write},
    network::Plane,
};
use signpost_protocol::{
    ContentHash, RequestId,
    blind::{Element, EvaluateAnswer, EvaluatePurpose, EvaluateRequest},
    codec::Bounded,
    locate::RefusalCode,
};
use signpost_tests::{
    founding::Plan,
    sim::{Fate, Network},
};

use crate::common::{
    ASKER, HOLDER, assert_honest, body_of, create, draft, network, now, patient, pointer_key,
    refused, reply_with, sign, statement_in, transport_key,
};

/// An answer on its way: who evaluates, with which keys of all, what was asked, what it would say.
struct Lie<'a> {
    liar: usize,
    transport: &'a [SecretKey],
    shares: &'a [KeyShare],
    request: &'a EvaluateRequest,
    honest: EvaluateAnswer,
}

impl Lie<'_> {
    fn key(&self) -> &SecretKey {
        &self.transport[self.liar]
    }

    /// What somebody else's share makes of the request, with a proof that holds for that share.
    fn by_share(&self, at: usize) -> EvaluateAnswer {
        let blinded: Vec<[u8; 32]> = self.request.blinded.iter().map(|element| **element).collect();
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let evaluation = self.shares[at].evaluate(&blinded, &mut rng).unwrap();
        let evaluated = evaluation.elements.into_iter().map(Element::from).collect();
        EvaluateAnswer {
            evaluated: Bounded::new(evaluated).unwrap(),
            proof_c: evaluation.proof.c.into(),
            proof_s: evaluation.proof.s.into(),
            ..self.honest.clone()
        }
    }
}

/// What a lie says, and whose key signs it.
type Lying = fn(&Lie<'_>) -> (EvaluateAnswer, usize);

/// Lets the first `liars` evaluators that the asker turns to lie.
fn lying(network: &mut Network, liars: usize, lie: Lying) -> Rc<RefCell<Vec<usize>>> {
    let transport: Vec<_> = (0..5).map(|at| transport_key(network, at)).collect();
    let share = |at: usize| {
        let share = network.nodes[at].founder.share.as_ref().unwrap();
        KeyShare::from_bytes(share.index(), &share.to_bytes()).unwrap()
    };
    let shares: Vec<_> = (0..5).map(share).collect();
    let id = network.roster.network();
    let mut requests: Vec<Option<EvaluateRequest>> = vec![None; 5];
    let lied = Rc::new(RefCell::new(Vec::new()));
    let seen = lied.clone();
    network.meddle(move |frame| {
        if frame.plane != Some(Plane::Evaluate) {
            return Fate::Pass;
        }
        if !frame.is_reply && frame.from == ASKER {
            requests[frame.to] = Some(body_of(frame.bytes));
        }
        if frame.is_reply && frame.to == ASKER {
            let mut seen = seen.borrow_mut();
            if !seen.contains(&frame.from) && seen.len() < liars {
                seen.push(frame.from);
            }
            if seen.contains(&frame.from) {
                let lie_told = Lie {
                    liar: frame.from,
                    transport: &transport,
                    shares: &shares,
                    request: requests[frame.from].as_ref().unwrap(),
                    honest: body_of(&statement_in(frame.bytes)),
                };
                let (answer, signer) = lie(&lie_told);
                let key = if signer == frame.from { lie_told.key() } else { &transport[signer] };
                return Fate::Replace(reply_with(
                    signpost_keys::sign(answer, key, &id).bytes().to_vec(),
                ));
            }
        }
        Fate::Pass
    });
    lied
}

/// One evaluator lies: the next is asked, and the locator is the honest one. All lie: an error.
fn assert_asked_another(seed: u64, lie: Lying) {
    let mut network = network(seed);
    create(&mut network, 1, patient(2));
    network.run_for(1_000);
    let lied = lying(&mut network, 1, lie);
    let found = network.locate(ASKER, patient(2)).unwrap();
    assert_eq!(lied.borrow().len(), 1, "somebody lied");
    assert!(found.completeness.is_complete(), "{:?}", found.completeness);
    let honest = network.locate(1, patient(2)).unwrap();
    assert_eq!(found.pointers.len(), 1);
    assert_eq!(found.pointers[0].pointer.locator, honest.pointers[0].pointer.locator);

    lying(&mut network, 4, lie);
    match network.locate(ASKER, patient(3)) {
        Err(LocateError::TooFewEvaluators { reached: 1, needed: 3, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_honest(&mut network);
}

#[test]
fn an_honest_evaluation_that_is_only_signed_again_is_taken() {
    let mut network = network(90);
    lying(&mut network, 4, |lie| (lie.honest.clone(), lie.liar));
    assert!(network.locate(ASKER, patient(3)).unwrap().completeness.is_complete());
}

#[test]
fn an_evaluation_by_another_share_is_refused() {
    assert_asked_another(90, |lie| (lie.by_share((lie.liar + 1) % 4), lie.liar));
}

#[test]
fn another_evaluators_coordinate_is_refused() {
    assert_asked_another(90, |lie| {
        let at = (lie.liar + 1) % 4;
        (EvaluateAnswer { index: lie.shares[at].index().get(), ..lie.by_share(at) }, lie.liar)
    });
}

#[test]
fn a_wrong_proof_is_refused() {
    assert_asked_another(91, |lie| {
        let mut answer = lie.honest.clone();
        answer.proof_s[0] ^= 1;
        (answer, lie.liar)
    });
    assert_asked_another(91, |lie| {
        (EvaluateAnswer { proof_c: [0xff; 32].into(), ..lie.honest.clone() }, lie.liar)
    });
}

#[test]
fn elements_that_are_none_are_refused() {
    for element in [0x00, 0xff] {
        let lie: Lying = if element == 0 {
            |lie| (with_elements(lie, vec![[0; 32].into()]), lie.liar)
        } else {
            |lie| (with_elements(lie, vec![[0xff; 32].into()]), lie.liar)
        };
        assert_asked_another(92, lie);
    }
}

#[test]
fn fewer_or_more_elements_than_asked_for_are_refused() {
    assert_asked_another(92, |lie| (with_elements(lie, Vec::new()), lie.liar));
    assert_asked_another(92, |lie| {
        (with_elements(lie, vec![lie.honest.evaluated[0], lie.honest.evaluated[0]]), lie.liar)
    });
}

fn with_elements(lie: &Lie<'_>, elements: Vec<Element>) -> EvaluateAnswer {
    EvaluateAnswer { evaluated: Bounded::new(elements).unwrap(), ..lie.honest.clone() }
}

#[test]
fn an_answer_to_another_request_is_refused() {
    assert_asked_another(93, |lie| {
        (EvaluateAnswer { request: ContentHash([1; 32]), ..lie.honest.clone() }, lie.liar)
    });
}

#[test]
fn a_share_of_another_epoch_is_refused() {
    assert_asked_another(94, |lie| {
        let share_epoch = lie.honest.share_epoch + 1;
        (EvaluateAnswer { share_epoch, ..lie.honest.clone() }, lie.liar)
    });
}

#[test]
fn an_evaluation_signed_by_another_evaluator_is_refused() {
    assert_asked_another(95, |lie| (lie.honest.clone(), (lie.liar + 1) % 4));
}

#[test]
fn swapped_elements_are_refused_and_no_pointer_gets_anothers_locator() {
    let mut network = network(96);
    create(&mut network, 1, patient(20));
    create(&mut network, 1, patient(21));
    let lied = lying(&mut network, 1, |lie| {
        let mut elements = lie.honest.evaluated.to_vec();
        elements.reverse();
        (with_elements(lie, elements), lie.liar)
    });
    let writes = [20, 21]
        .map(|n| Write::Create { id: NewId::Random, draft: draft(ASKER, patient(n)) })
        .to_vec();
    let written = network.write(ASKER, writes);
    assert_eq!(lied.borrow().len(), 1, "somebody lied");
    network.behave();
    network.run_for(1_000);
    for (n, written) in [20, 21].into_iter().zip(written) {
        let found = network.locate(2, patient(n)).unwrap();
        assert!(found.completeness.is_complete(), "{:?}", found.completeness);
        let ids: Vec<_> = found.pointers.iter().map(|found| &found.pointer.id).collect();
        assert_eq!(ids.len(), 2);
        assert!(ids.contains(&&written.unwrap().id));
    }
    assert_honest(&mut network);
}

/// A request of the asker to the holder, as an honest node would put it.
fn request(network: &mut Network) -> EvaluateRequest {
    network.run_for(1);
    let mut rng = ChaCha20Rng::seed_from_u64(network.now);
    let blinding = Blinding::new(vec![patient(1).blinding_input()], &mut rng).unwrap();
    let blinded = blinding.blinded().iter().map(|element| (*element).into()).collect();
    let set = network.roster.evaluators().current().unwrap();
    let mut id = [0; 16];
    id[..8].copy_from_slice(&network.now.to_be_bytes());
    EvaluateRequest {
        asked: network.nodes[HOLDER].founder.organization,
        asking: network.nodes[ASKER].founder.organization,
        request: RequestId(id),
        key_epoch: set.key_epoch,
        share_epoch: set.share_epoch,
        purpose: EvaluatePurpose::Lookup,
        blinded: Bounded::new(blinded).unwrap(),
        issued: now(network),
        expires: now(network).plus(3_000),
    }
}

fn put(network: &mut Network, to: usize, request: EvaluateRequest) -> Option<Vec<u8>> {
    let frame = sign(network, request, &transport_key(network, ASKER));
    let peer = network.key(ASKER);
    network.exchange(peer, to, Plane::Evaluate, frame)
}

fn refusal_of(change: impl FnOnce(&mut EvaluateRequest)) -> RefusalCode {
    let mut network = network(97);
    let mut wrong = request(&mut network);
    change(&mut wrong);
    let reply = put(&mut network, HOLDER, wrong);
    let right = request(&mut network);
    let right = put(&mut network, HOLDER, right).unwrap();
    let answer: EvaluateAnswer = body_of(&statement_in(&right));
    assert_eq!(answer.evaluated.len(), 1, "the honest twin is evaluated");
    assert_honest(&mut network);
    refused(reply)
}

#[test]
fn malformed_elements_the_identity_and_none_at_all_are_refused() {
    for elements in [vec![[0; 32]], vec![[0xff; 32]], vec![[1; 32]], vec![]] {
        let elements = elements.into_iter().map(Element::from).collect();
        let code = refusal_of(|request| request.blinded = Bounded::new(elements).unwrap());
        assert_eq!(code, RefusalCode::Malformed);
    }
}

#[test]
fn a_bad_element_among_good_ones_is_refused() {
    let code = refusal_of(|request| {
        let mut blinded = request.blinded.to_vec();
        blinded.push([0; 32].into());
        request.blinded = Bounded::new(blinded).unwrap();
    });
    assert_eq!(code, RefusalCode::Malformed);
}

#[test]
fn other_epochs_are_refused() {
    assert_eq!(refusal_of(|request| request.key_epoch.0 += 1), RefusalCode::Epoch);
    assert_eq!(refusal_of(|request| request.share_epoch += 1), RefusalCode::Epoch);
}

#[test]
fn requests_out_of_time_are_refused() {
    assert_eq!(
        refusal_of(|r| (r.issued, r.expires) = (r.issued.minus(200_000), r.issued.minus(190_000))),
        RefusalCode::Clock
    );
    assert_eq!(refusal_of(|r| r.expires = r.issued.plus(30_001)), RefusalCode::Clock);
}

#[test]
fn a_request_is_evaluated_once() {
    let mut network = network(98);
    let request = request(&mut network);
    statement_in(&put(&mut network, HOLDER, request.clone()).unwrap());
    assert_eq!(refused(put(&mut network, HOLDER, request)), RefusalCode::Replayed);
}

#[test]
fn a_request_passed_on_by_another_member_is_refused() {
    let mut network = network(98);
    let request = request(&mut network);
    let frame = sign(&network, request, &transport_key(&network, ASKER));
    let peer = network.key(3);
    let reply = network.exchange(peer, HOLDER, Plane::Evaluate, frame);
    assert_eq!(refused(reply), RefusalCode::BadSignature);
}

#[test]
fn requests_by_strangers_and_by_pointer_keys_are_refused() {
    let mut network = network(98);
    let stranger = SecretKey::from_seed(&[9; 32]);
    let pointer = pointer_key(&network, ASKER);
    for (key, code) in [(stranger, RefusalCode::NotAdmitted), (pointer, RefusalCode::BadSignature)]
    {
        let request = request(&mut network);
        let frame = sign(&network, request, &key);
        let reply = network.exchange(key.public(), HOLDER, Plane::Evaluate, frame);
        assert_eq!(refused(reply), code);
    }
}

#[test]
fn a_node_that_is_no_evaluator_evaluates_nothing() {
    let plan = Plan { evaluators: 3, threshold: 2, ..Plan::of(5) };
    let mut network = Network::settled(&plan, 99);
    let mut request = request(&mut network);
    request.asked = network.nodes[3].founder.organization;
    assert_eq!(refused(put(&mut network, 3, request)), RefusalCode::NotServed);
}
