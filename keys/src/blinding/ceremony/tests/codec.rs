//! Messages have one encoding, the documented one, and no bytes make a decoder panic.

use proptest::prelude::*;

use super::*;
use crate::blinding::{
    ceremony::{
        SealedShare,
        sealed::{KeyPair, Route},
    },
    suite::Element,
};

#[test]
fn lengths_are_as_documented() {
    let (old, shares) = generated(3, 5, 110);
    let plan = ResharePlan::new(id(2), &old, &[1, 2, 3, 5].map(index), 4, 7).unwrap();
    let generation = GeneratePlan::new(id(1), 3, 5).unwrap();
    let mut seen = Vec::new();
    for starts in
        [generators(&generation, 111), resharers(&plan, &shares, &same_seats([1, 2, 3, 5]), 112)]
    {
        let mut record = Change(|kind, _, _, bytes: Vec<u8>| {
            if !seen.contains(&(kind, bytes.len())) {
                seen.push((kind, bytes.len()));
            }
            Some(bytes)
        });
        agreed(run(starts, &mut record));
    }
    let expected = [
        (MessageKind::Dealing, 134 + 3 * 32),
        (MessageKind::SealedShare, 86),
        (MessageKind::Confirmation, 70 + 5 * 32),
        (MessageKind::Dealing, 70 + 4 * 32),
        (MessageKind::Enrolment, 68),
        (MessageKind::Confirmation, 70 + 4 * 32),
    ];
    assert_eq!(seen.len(), expected.len());
    assert!(expected.iter().all(|message| seen.contains(message)), "{seen:?}");
}

#[test]
fn what_is_sealed_is_pinned() {
    let mut rng = seeded(113);
    let [own, peer] = [(); 2].map(|()| KeyPair::generate(&mut rng));
    let route = Route {
        ceremony: id(9),
        dealer: index(258),
        receiver: index(3),
        dealer_key: &own.public,
        receiver_key: &peer.public,
    };
    let sealed = route.seal(&own, &Scalar::from(42u8));
    assert_eq!(*route.open(&peer, &sealed).unwrap(), Scalar::from(42u8));
    assert_eq!(hex::encode(sealed.to_bytes()), PINNED_SHARE);
}

/// Worked out from the documentation by an implementation that shares no code with this one.
const PINNED_SHARE: &str = "0104090909090909090909090909090909090909090909090909090909090909\
    09090102\
    0003\
    0f4570961cef4ff4e504d282a6927600f65fc76784043e937a00937d216dabc7\
    b05331698520d85d557b78372773b849";

/// The transcript as [`Confirmation`] documents it, put together by hand.
#[test]
fn the_transcript_is_as_documented() {
    use sha2::{Digest, Sha256};
    let (old, shares) = generated(2, 3, 114);
    let plan = ResharePlan::new(id(2), &old, &[3, 1].map(index), 3, 4).unwrap();
    let mut dealings = BTreeMap::new();
    let mut confirmation = Vec::new();
    let mut record = Change(|kind, from, _, bytes: Vec<u8>| {
        match kind {
            MessageKind::Dealing => drop(dealings.insert(from, bytes.clone())),
            MessageKind::Confirmation => confirmation = bytes.clone(),
            _ => (),
        }
        Some(bytes)
    });
    let starts = resharers(&plan, &shares, &same_seats([1, 3]), 115);
    let (new, _) = agreed(run(starts, &mut record));

    let keys = |keys: &PublicKeySet| {
        let mut bytes = vec![0, keys.threshold() as u8, 0, keys.shares().len() as u8];
        for (index, share) in keys.shares() {
            bytes.extend([0, index.get() as u8]);
            bytes.extend(share.to_bytes());
        }
        bytes.extend(keys.group_public().to_bytes());
        bytes
    };
    let mut transcript = b"signpost/v1/ceremony/transcript".to_vec();
    transcript.extend([2; 32]);
    transcript.extend([2, 0, 3, 0, 4]);
    transcript.extend(keys(&old));
    transcript.extend([0, 2]);
    let mut hashes = Vec::new();
    for dealing in dealings.values() {
        transcript.extend([0, dealing.len() as u8]);
        transcript.extend(dealing);
        let hashed = [&b"signpost/v1/ceremony/dealing"[..], dealing].concat();
        hashes.extend(Sha256::digest(hashed));
    }
    transcript.extend(keys(&new));
    let expected = [&Sha256::digest(transcript)[..], &[0, 2], &hashes].concat();
    assert_eq!(confirmation[36..], expected);
}

#[test]
fn debug_shows_no_secret() {
    let plan = GeneratePlan::new(id(1), 2, 2).unwrap();
    let (_, dealing) = DealingRound::generate(plan, index(1), &mut seeded(116)).unwrap();
    let shown = format!("{dealing:?}");
    assert!(shown.starts_with("Dealing { ceremony: CeremonyId(0101"), "{shown}");
    let results = run(generators(&GeneratePlan::new(id(1), 2, 2).unwrap(), 117), &mut Honest);
    let outcome = results[0].1.as_ref().unwrap();
    let share = outcome.share().unwrap();
    assert!(!format!("{outcome:?}").contains(&hex::encode(share.to_bytes())));
}

/// Decoding gives the same bytes back, or an error.
fn decode_all(bytes: &[u8]) {
    if let Ok(message) = Dealing::from_bytes(bytes) {
        assert_eq!(message.to_bytes(), bytes);
    }
    if let Ok(message) = Enrolment::from_bytes(bytes) {
        assert_eq!(message.to_bytes(), bytes);
    }
    if let Ok(message) = SealedShare::from_bytes(bytes) {
        assert_eq!(message.to_bytes(), bytes);
    }
    if let Ok(message) = Confirmation::from_bytes(bytes) {
        assert_eq!(message.to_bytes(), bytes);
    }
}

/// A body of elements, each an honest one or random bytes.
fn fields() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        any::<[u8; 32]>(),
        any::<u64>().prop_map(|secret| {
            let secret = Scalar::from(secret) + Scalar::ONE;
            Element::encode(curve25519_dalek::RistrettoPoint::mul_base(&secret)).bytes
        }),
        any::<u64>().prop_map(|scalar| Scalar::from(scalar).to_bytes()),
    ];
    proptest::collection::vec(field, 0..6).prop_map(|fields| fields.concat())
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        decode_all(&bytes);
    }

    #[test]
    fn no_almost_right_bytes_make_a_decoder_panic(
        tag in 0u8..7, sender: u16, key in fields(), count in 0u16..70, rest in fields(),
        tail in proptest::collection::vec(any::<u8>(), 0..4),
    ) {
        let mut bytes = vec![1, tag];
        bytes.extend([1; 32]);
        bytes.extend(sender.to_be_bytes());
        bytes.extend(key);
        bytes.extend(count.to_be_bytes());
        bytes.extend(rest);
        bytes.extend(tail);
        decode_all(&bytes);
        // Nor a round that takes them for messages.
        let plan = GeneratePlan::new(id(1), 2, 2).unwrap();
        let (mut round, _) = DealingRound::generate(plan, index(1), &mut seeded(118)).unwrap();
        let _ = round.accept_dealing(index(2), &bytes);
        let _ = round.accept_enrolment(index(2), &bytes);
    }
}
