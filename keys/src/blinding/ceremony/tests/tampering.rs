//! Whatever is changed in a message, whoever gets it refuses it and names its sender.

use super::{rogue::*, *};
use crate::blinding::{
    ElementError, PublicShare,
    ceremony::{MessageError, message::Tag, message::header},
};

/// Where fields begin.
const SENDER: usize = 34;
const BODY: usize = 36;
const COUNT: usize = 68;
const COMMITMENTS: usize = 70;

/// What evaluator 1 says of a 2-of-3 generation in which what 2 sends to it is changed.
fn generate(kind: MessageKind, change: impl Fn(&mut Vec<u8>)) -> Fault {
    let plan = GeneratePlan::new(id(1), 2, 3).unwrap();
    changed(generators(&plan, 70), kind, change)
}

/// The same of a resharing from 2-of-3 to 2-of-3.
fn reshare(kind: MessageKind, change: impl Fn(&mut Vec<u8>)) -> Fault {
    let (old, shares) = generated(2, 3, 71);
    let plan = ResharePlan::new(id(2), &old, &[1, 2, 3].map(index), 2, 3).unwrap();
    changed(resharers(&plan, &shares, &same_seats(1..=3), 72), kind, change)
}

fn changed(starts: Vec<Start>, changed: MessageKind, change: impl Fn(&mut Vec<u8>)) -> Fault {
    let mut wire = Change(|kind, from, to: Who, mut bytes: Vec<u8>| {
        if (kind, from, to.receiver) == (changed, 2, Some(1)) {
            let before = bytes.clone();
            change(&mut bytes);
            assert_ne!(before, bytes, "it is changed");
        }
        Some(bytes)
    });
    let mut results = run(starts, &mut wire);
    results.swap_remove(0).1.unwrap_err()
}

fn stranger() -> [u8; 32] {
    PublicShare::of(&Scalar::from(7u8)).to_bytes()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

const NOT_CANONICAL: MessageError = MessageError::Element(ElementError::NotCanonical);
const IDENTITY: MessageError = MessageError::Element(ElementError::Identity);

/// A test for each field: the ceremony, the message, the change, whom evaluator 1 names and why.
macro_rules! refused {
    ($($name:ident: $ceremony:ident $kind:ident, $change:expr => $party:ident, $reason:expr;)*) => {
        $(#[test]
        fn $name() {
            assert_eq!($ceremony(MessageKind::$kind, $change), $party(2, $reason));
        })*
    };
}

// The dealing of a generation: 36 header, 32 key, 2 count, 2 * 32 commitments, 64 proof.
refused! {
    generate_dealing_format: generate Dealing, |b| b[0] = 2
        => at_dealer, Reason::Malformed(MessageError::Format(2));
    generate_dealing_as_reshare_dealing: generate Dealing, |b| b[1] = 2
        => at_dealer, Reason::Malformed(MessageError::Trailing(64));
    generate_dealing_as_share: generate Dealing, |b| b[1] = 4
        => at_dealer, Reason::Malformed(MessageError::Kind(4));
    generate_dealing_without_proof: generate Dealing, |b| { b[1] = 2; b.truncate(134) }
        => at_dealer, Reason::OtherKind;
    generate_dealing_ceremony: generate Dealing, |b| b[2] ^= 1
        => at_dealer, Reason::OtherCeremony;
    generate_dealing_dealer: generate Dealing, |b| b[SENDER + 1] = 3
        => at_dealer, Reason::OtherSender(index(3));
    generate_dealing_no_dealer: generate Dealing, |b| b[SENDER + 1] = 0
        => at_dealer, Reason::Malformed(MessageError::Index);
    generate_dealing_key: generate Dealing, |b| put(b, BODY, &stranger())
        => at_dealer, Reason::NotOpened;
    generate_dealing_key_not_canonical: generate Dealing, |b| put(b, BODY, &[0xff; 32])
        => at_dealer, Reason::Malformed(NOT_CANONICAL);
    generate_dealing_key_identity: generate Dealing, |b| put(b, BODY, &[0; 32])
        => at_dealer, Reason::Malformed(IDENTITY);
    generate_dealing_count_none: generate Dealing, |b| b[COUNT + 1] = 0
        => at_dealer, Reason::Malformed(MessageError::Count(0));
    generate_dealing_count_above_cap: generate Dealing, |b| b[COUNT + 1] = 65
        => at_dealer, Reason::Malformed(MessageError::Count(65));
    generate_dealing_degree_too_high: generate Dealing, |b| {
        b[COUNT + 1] = 3;
        b.splice(COMMITMENTS..COMMITMENTS, stranger());
    } => at_dealer, Reason::Degree { expected: 2, got: 3 };
    generate_dealing_degree_too_low: generate Dealing, |b| {
        b[COUNT + 1] = 1;
        b.drain(COMMITMENTS..COMMITMENTS + 32);
    } => at_dealer, Reason::Degree { expected: 2, got: 1 };
    generate_dealing_first_commitment: generate Dealing, |b| put(b, COMMITMENTS, &stranger())
        => at_dealer, Reason::WrongProof;
    generate_dealing_second_commitment: generate Dealing, |b| put(b, COMMITMENTS + 32, &stranger())
        => at_dealer, Reason::WrongShare;
    generate_dealing_commitment_identity: generate Dealing, |b| put(b, COMMITMENTS + 32, &[0; 32])
        => at_dealer, Reason::Malformed(IDENTITY);
    generate_dealing_commitment_not_canonical: generate Dealing,
        |b| put(b, COMMITMENTS, &[0xff; 32])
        => at_dealer, Reason::Malformed(NOT_CANONICAL);
    generate_dealing_proof_element: generate Dealing, |b| put(b, COMMITMENTS + 64, &stranger())
        => at_dealer, Reason::WrongProof;
    generate_dealing_proof_element_identity: generate Dealing, |b| put(b, COMMITMENTS + 64, &[0; 32])
        => at_dealer, Reason::Malformed(IDENTITY);
    generate_dealing_proof_scalar: generate Dealing, |b| put(b, COMMITMENTS + 96, &[0xff; 32])
        => at_dealer, Reason::Malformed(MessageError::Scalar);
    generate_dealing_proof_other_scalar: generate Dealing,
        |b| put(b, COMMITMENTS + 96, Scalar::from(9u8).as_bytes())
        => at_dealer, Reason::WrongProof;
    generate_dealing_trailing: generate Dealing, |b| b.push(0)
        => at_dealer, Reason::Malformed(MessageError::Trailing(1));
    generate_dealing_short: generate Dealing, |b| b.truncate(197)
        => at_dealer, Reason::Malformed(MessageError::Short);
    generate_dealing_empty: generate Dealing, Vec::clear
        => at_dealer, Reason::Malformed(MessageError::Short);
}

// The dealing of a resharing: 36 header, 32 key, 2 count, 2 * 32 commitments.
refused! {
    reshare_dealing_format: reshare Dealing, |b| b[0] = 0
        => at_dealer, Reason::Malformed(MessageError::Format(0));
    reshare_dealing_as_generate_dealing: reshare Dealing, |b| b[1] = 1
        => at_dealer, Reason::Malformed(MessageError::Short);
    reshare_dealing_ceremony: reshare Dealing, |b| b[33] ^= 1
        => at_dealer, Reason::OtherCeremony;
    reshare_dealing_dealer: reshare Dealing, |b| b[SENDER + 1] = 1
        => at_dealer, Reason::OtherSender(index(1));
    reshare_dealing_key: reshare Dealing, |b| put(b, BODY, &stranger())
        => at_dealer, Reason::NotOpened;
    reshare_dealing_key_identity: reshare Dealing, |b| put(b, BODY, &[0; 32])
        => at_dealer, Reason::Malformed(IDENTITY);
    reshare_dealing_degree_too_high: reshare Dealing, |b| {
        b[COUNT + 1] = 3;
        b.extend(stranger());
    } => at_dealer, Reason::Degree { expected: 2, got: 3 };
    reshare_dealing_degree_too_low: reshare Dealing, |b| {
        b[COUNT + 1] = 1;
        b.truncate(COMMITMENTS + 32);
    } => at_dealer, Reason::Degree { expected: 2, got: 1 };
    reshare_dealing_count: reshare Dealing, |b| b[COUNT + 1] = 3
        => at_dealer, Reason::Malformed(MessageError::Short);
    reshare_dealing_first_commitment: reshare Dealing, |b| put(b, COMMITMENTS, &stranger())
        => at_dealer, Reason::OtherSecret;
    reshare_dealing_second_commitment: reshare Dealing, |b| put(b, COMMITMENTS + 32, &stranger())
        => at_dealer, Reason::WrongShare;
    reshare_dealing_commitment_identity: reshare Dealing, |b| put(b, COMMITMENTS + 32, &[0; 32])
        => at_dealer, Reason::Malformed(IDENTITY);
    reshare_dealing_commitment_not_canonical: reshare Dealing,
        |b| put(b, COMMITMENTS + 32, &[0xff; 32])
        => at_dealer, Reason::Malformed(NOT_CANONICAL);
    reshare_dealing_trailing: reshare Dealing, |b| b.push(0)
        => at_dealer, Reason::Malformed(MessageError::Trailing(1));
}

// The enrolment: 36 header, 32 key.
refused! {
    enrolment_format: reshare Enrolment, |b| b[0] = 2
        => at_receiver, Reason::Malformed(MessageError::Format(2));
    enrolment_kind: reshare Enrolment, |b| b[1] = 5
        => at_receiver, Reason::Malformed(MessageError::Kind(5));
    enrolment_ceremony: reshare Enrolment, |b| b[20] ^= 1
        => at_receiver, Reason::OtherCeremony;
    enrolment_receiver: reshare Enrolment, |b| b[SENDER + 1] = 3
        => at_receiver, Reason::OtherSender(index(3));
    // Evaluator 1 seals for the key that it was shown; 2 cannot open that and never confirms.
    enrolment_key: reshare Enrolment, |b| put(b, BODY, &stranger())
        => at_receiver, Reason::Missing(MessageKind::Confirmation);
    enrolment_key_identity: reshare Enrolment, |b| put(b, BODY, &[0; 32])
        => at_receiver, Reason::Malformed(IDENTITY);
    enrolment_key_not_canonical: reshare Enrolment, |b| put(b, BODY, &[0xff; 32])
        => at_receiver, Reason::Malformed(NOT_CANONICAL);
    enrolment_trailing: reshare Enrolment, |b| b.push(0)
        => at_receiver, Reason::Malformed(MessageError::Trailing(1));
    enrolment_short: reshare Enrolment, |b| b.truncate(67)
        => at_receiver, Reason::Malformed(MessageError::Short);
}

// The sealed share: 36 header, 2 receiver, 32 ciphertext, 16 tag.
refused! {
    share_format: generate SealedShare, |b| b[0] = 2
        => at_dealer, Reason::Malformed(MessageError::Format(2));
    share_kind: generate SealedShare, |b| b[1] = 1
        => at_dealer, Reason::Malformed(MessageError::Kind(1));
    share_ceremony: generate SealedShare, |b| b[2] ^= 1
        => at_dealer, Reason::OtherCeremony;
    share_dealer: generate SealedShare, |b| b[SENDER + 1] = 3
        => at_dealer, Reason::OtherSender(index(3));
    share_receiver: generate SealedShare, |b| b[BODY + 1] = 3
        => at_dealer, Reason::OtherReceiver(index(3));
    share_no_receiver: generate SealedShare, |b| b[BODY + 1] = 0
        => at_dealer, Reason::Malformed(MessageError::Index);
    share_ciphertext: generate SealedShare, |b| b[BODY + 2] ^= 1
        => at_dealer, Reason::NotOpened;
    share_tag: generate SealedShare, |b| b[85] ^= 1
        => at_dealer, Reason::NotOpened;
    share_trailing: generate SealedShare, |b| b.push(0)
        => at_dealer, Reason::Malformed(MessageError::Trailing(1));
    share_short: generate SealedShare, |b| b.truncate(85)
        => at_dealer, Reason::Malformed(MessageError::Short);
    reshared_ciphertext: reshare SealedShare, |b| b[BODY + 2] ^= 1
        => at_dealer, Reason::NotOpened;
    reshared_tag: reshare SealedShare, |b| b[85] ^= 1
        => at_dealer, Reason::NotOpened;
    reshared_receiver: reshare SealedShare, |b| b[BODY + 1] = 3
        => at_dealer, Reason::OtherReceiver(index(3));
}

// The confirmation: 36 header, 32 transcript, 2 count, 3 * 32 hashes of dealings.
refused! {
    confirmation_format: generate Confirmation, |b| b[0] = 2
        => at_receiver, Reason::Malformed(MessageError::Format(2));
    confirmation_kind: generate Confirmation, |b| b[1] = 3
        => at_receiver, Reason::Malformed(MessageError::Kind(3));
    confirmation_ceremony: generate Confirmation, |b| b[2] ^= 1
        => at_receiver, Reason::OtherCeremony;
    confirmation_receiver: generate Confirmation, |b| b[SENDER + 1] = 3
        => at_receiver, Reason::OtherSender(index(3));
    confirmation_transcript: generate Confirmation, |b| b[BODY] ^= 1
        => at_receiver, Reason::WrongConfirmation;
    confirmation_dealing: generate Confirmation, |b| b[COMMITMENTS + 32] ^= 1
        => at_receiver, Reason::WrongConfirmation;
    confirmation_of_fewer: generate Confirmation, |b| {
        b[COUNT + 1] = 2;
        b[BODY] ^= 1;
        b.truncate(COMMITMENTS + 64);
    } => at_receiver, Reason::WrongConfirmation;
    confirmation_count_none: generate Confirmation, |b| b[COUNT + 1] = 0
        => at_receiver, Reason::Malformed(MessageError::Count(0));
    confirmation_count: generate Confirmation, |b| b[COUNT + 1] = 2
        => at_receiver, Reason::Malformed(MessageError::Trailing(32));
    confirmation_trailing: generate Confirmation, |b| b.push(0)
        => at_receiver, Reason::Malformed(MessageError::Trailing(1));
    confirmation_short: generate Confirmation, |b| b.truncate(165)
        => at_receiver, Reason::Malformed(MessageError::Short);
    reshare_confirmation_transcript: reshare Confirmation, |b| b[BODY + 31] ^= 1
        => at_receiver, Reason::WrongConfirmation;
}

/// Every byte of every message, changed in one bit, on its way from 2 to 1 of two.
#[test]
fn every_byte_counts() {
    let (old, shares) = generated(2, 2, 73);
    let plan = GeneratePlan::new(id(1), 2, 2).unwrap();
    let reshare = ResharePlan::new(id(2), &old, &[1, 2].map(index), 2, 2).unwrap();
    let cases = [
        (MessageKind::Dealing, false, 198),
        (MessageKind::SealedShare, false, 86),
        (MessageKind::Confirmation, false, 134),
        (MessageKind::Dealing, true, 134),
        (MessageKind::Enrolment, true, 68),
        (MessageKind::SealedShare, true, 86),
        (MessageKind::Confirmation, true, 134),
    ];
    for (kind, reshared, length) in cases {
        for at in 0..length {
            let starts = if reshared {
                resharers(&reshare, &shares, &same_seats(1..=2), 74)
            } else {
                generators(&plan, 74)
            };
            let fault = changed(starts, kind, |bytes| {
                assert_eq!(bytes.len(), length);
                bytes[at] ^= 1 << (at % 8);
            });
            let named = match &fault {
                Fault::At { party: Party::Dealer(number) | Party::Receiver(number), .. } => {
                    number.get()
                }
                _ => 0,
            };
            assert_eq!(named, 2, "{kind} byte {at}: {fault}");
        }
    }
}

/// A share that is sealed and opens, but is not the value committed to; the others are right.
#[test]
fn a_wrong_share_is_refused_by_the_one_that_gets_it() {
    let plan = GeneratePlan::new(id(1), 3, 5).unwrap();
    let (old, shares) = generated(3, 5, 75);
    let again = ResharePlan::new(id(2), &old, &[1, 2, 3, 4, 5].map(index), 3, 5).unwrap();
    let others = |starts: Vec<Start>| {
        starts.into_iter().filter(|start| start.who.dealer != Some(2)).collect::<Vec<_>>()
    };
    for victim in [1, 3, 4, 5] {
        let spoil: [fn(&mut [u8; 32]); 4] = [
            |share| *share = (decode_scalar(*share).unwrap() + Scalar::ONE).to_bytes(),
            |share| *share = [0; 32],
            // At or above the order of the group.
            |share| *share = [0xff; 32],
            |share| share[31] |= 0x80,
        ];
        for spoil in spoil {
            let spoil = move |receiver, share: &mut _| {
                if receiver == victim {
                    spoil(share);
                }
            };
            let rogue = Rogue::in_generation(&plan, 2, 76).spoiling(spoil);
            let secret = part(&again, &shares[1]);
            let dealer = Rogue::in_resharing(&again, 2, Some(2), &secret, 77).spoiling(spoil);
            let seats = same_seats(1..=5);
            let runs = [
                run(others(generators(&plan, 78)), &mut { rogue }),
                run(others(resharers(&again, &shares, &seats, 79)), &mut { dealer }),
            ];
            for (who, result) in runs.into_iter().flatten() {
                let expected = if who.receiver == Some(victim) {
                    at_dealer(2, Reason::WrongShare)
                } else {
                    // They know only that it never confirmed.
                    at_receiver(victim, Reason::Missing(MessageKind::Confirmation))
                };
                assert_eq!(result.unwrap_err(), expected, "{who:?}");
            }
        }
    }
}

/// A dealer that deals something else than its part of the old key.
#[test]
fn a_dealer_of_another_secret_is_refused_by_all() {
    let (old, shares) = generated(3, 5, 80);
    let plan = ResharePlan::new(id(2), &old, &[1, 2, 3].map(index), 3, 5).unwrap();
    let other_dealers = ResharePlan::new(id(2), &old, &[1, 2, 4].map(index), 3, 5).unwrap();
    let secrets = [
        Scalar::from(5u8),
        // Its bare share; the part of somebody else; its part among other dealers.
        *shares[1].scalar(),
        part(&plan, &shares[0]),
        part(&other_dealers, &shares[1]),
        -part(&plan, &shares[1]),
    ];
    for secret in secrets {
        let mut starts = resharers(&plan, &shares, &same_seats(1..=3), 81);
        starts.retain(|start| start.who.dealer != Some(2));
        let results = run(starts, &mut Rogue::in_resharing(&plan, 2, Some(2), &secret, 82));
        for (who, result) in results {
            assert_eq!(result.unwrap_err(), at_dealer(2, Reason::OtherSecret), "{who:?}");
        }
    }
}

/// The proof of a dealer is bound to its index, so nobody can deal what another dealt.
#[test]
fn a_copied_dealing_is_refused() {
    let plan = GeneratePlan::new(id(1), 2, 3).unwrap();
    let mut copied = None;
    let mut wire = Change(|kind, from, _, bytes: Vec<u8>| {
        if kind == MessageKind::Dealing && from == 1 {
            copied = Some(bytes.clone());
        }
        match (&copied, kind, from) {
            (Some(copied), MessageKind::Dealing, 2) => {
                let mut bytes = copied.clone();
                let own = header(Tag::GenerateDealing, id(1), index(2));
                put(&mut bytes, 0, &own);
                Some(bytes)
            }
            _ => Some(bytes),
        }
    });
    let results = run(generators(&plan, 83), &mut wire);
    let third = results.into_iter().find(|(who, _)| who.dealer == Some(3)).unwrap();
    assert_eq!(third.1.unwrap_err(), at_dealer(2, Reason::WrongProof));
}
