//! Goes through the ceremonies on record: from their seeds the same bytes, and from the bytes the same
//! key.

use std::{collections::BTreeMap, fs, path::PathBuf};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use serde_json::Value;
use signpost_keys::blinding::{
    EvaluatorIndex, KeyShare, PublicShare,
    ceremony::{
        Advance, CeremonyId, GeneratePlan, MessageKind, Messages, Progress, PublicKeySet,
        ResharePlan, ReshareRole, Role, Task, advance,
    },
};

/// What each message is: its kind, its sender and, of a sealed share, its receiver.
type Slot = (MessageKind, EvaluatorIndex, Option<EvaluatorIndex>);

fn document() -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/ceremony-v1.json");
    serde_json::from_str(&fs::read_to_string(path).expect("a file")).expect("JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("a text")).expect("hexadecimal")
}

fn array(value: &Value) -> [u8; 32] {
    bytes(value).try_into().expect("32 bytes")
}

fn index(value: &Value) -> Option<EvaluatorIndex> {
    EvaluatorIndex::new(u16::try_from(value.as_u64()?).ok()?)
}

fn id(part: &Value) -> CeremonyId {
    CeremonyId::new(array(&part["ceremony"]))
}

fn messages_of(part: &Value) -> BTreeMap<String, (Slot, Vec<u8>)> {
    let kinds = [
        ("dealings", MessageKind::Dealing, "dealer"),
        ("enrolments", MessageKind::Enrolment, "receiver"),
        ("sealed_shares", MessageKind::SealedShare, "dealer"),
        ("confirmations", MessageKind::Confirmation, "receiver"),
    ];
    let mut messages = BTreeMap::new();
    for (name, kind, sender) in kinds {
        for (at, message) in list(&part[name]).iter().enumerate() {
            let sender = index(&message[sender]).expect("a sender");
            let receiver = index(&message["receiver"]).filter(|_| kind == MessageKind::SealedShare);
            let slot = (kind, sender, receiver);
            messages.insert(format!("{name} {at}"), (slot, bytes(&message["message"])));
        }
    }
    messages
}

fn received<'a>(messages: impl Iterator<Item = &'a (Slot, Vec<u8>)>) -> Messages {
    let mut received = Messages::default();
    for ((kind, sender, _), bytes) in messages {
        let list = match kind {
            MessageKind::Dealing => &mut received.dealings,
            MessageKind::Enrolment => &mut received.enrolments,
            MessageKind::SealedShare => &mut received.shares,
            MessageKind::Confirmation => &mut received.confirmations,
        };
        list.push((*sender, bytes.clone()));
    }
    received
}

/// A party's part, as far as these messages allow.
fn play(task: &Task, party: &Value, shares: &[KeyShare], messages: &Messages) -> Advance {
    let (dealer, receiver) = (index(&party["dealer"]), index(&party["receiver"]));
    let share = dealer.and_then(|dealer| shares.iter().find(|share| share.index() == dealer));
    let role = match (task, share, receiver) {
        (Task::Generate(_), _, Some(index)) => Role::Generates(index),
        (Task::Reshare(_), Some(share), None) => Role::Reshares(ReshareRole::Dealer(share)),
        (Task::Reshare(_), Some(share), Some(receiver)) => {
            Role::Reshares(ReshareRole::Both { share, receiver })
        }
        (Task::Reshare(_), None, Some(index)) => Role::Reshares(ReshareRole::Receiver(index)),
        _ => panic!("{party} has no part"),
    };
    let mut rng = ChaCha20Rng::from_seed(array(&party["seed"]));
    advance(task, role, messages, &mut rng).expect("such a role")
}

/// Goes through a ceremony, and returns the public half of what comes out.
fn check(part: &Value, task: &Task, shares: &[KeyShare]) -> PublicKeySet {
    let on_record = messages_of(part);
    let all = received(on_record.values());
    let mut sent = Vec::new();
    for party in list(&part["parties"]) {
        // It owes to begin with what it owes in the end.
        let begins = play(task, party, shares, &Messages::default());
        let advance = play(task, party, shares, &all);
        assert_eq!(begins.due, advance.due[..begins.due.len()]);
        for due in &advance.due {
            sent.push(((due.kind, due.from.index(), due.receiver), due.bytes.clone()));
        }
        let Progress::Done(outcome) = advance.progress else { panic!("{:?}", advance.progress) };
        assert_eq!(outcome.transcript(), array(&part["transcript"]));
        assert_eq!(outcome.keys().group_public().to_bytes(), array(&part["group"]));
        let receiver = index(&party["receiver"]);
        assert_eq!(outcome.share().map(KeyShare::index), receiver);
        if let Some(share) = outcome.share() {
            let expected = &list(&part["shares"])[usize::from(share.index().get()) - 1];
            assert_eq!(*share.to_bytes(), array(&expected["share"]));
            assert_eq!(share.public().to_bytes(), array(&expected["public_share"]));
        }

        // With one byte changed in whatever message the party needs, nothing comes out.
        for (name, (slot, good)) in &on_record {
            let is_for_another = slot.2.is_some() && slot.2 != receiver;
            // Who deals seals to what is in an enrolment; one that receives nothing may learn without
            // what others have come to.
            let is_done_without = slot.0 == MessageKind::Enrolment
                && (receiver.is_none() || party.get("dealer").is_none());
            if is_for_another || is_done_without {
                continue;
            }
            let mut bad = on_record.clone();
            let mut bytes = good.clone();
            *bytes.last_mut().expect("not empty") ^= 1;
            bad.insert(name.clone(), (*slot, bytes));
            let spoilt = play(task, party, shares, &received(bad.values()));
            assert!(!matches!(spoilt.progress, Progress::Done(_)), "{name} of {party}");
        }
    }
    let mut expected: Vec<_> = on_record.into_values().collect();
    let key = |((kind, from, to), _): &(Slot, Vec<u8>)| (format!("{kind:?}"), *from, *to);
    sent.sort_by_key(key);
    expected.sort_by_key(key);
    assert_eq!(sent, expected);

    let mut rng = ChaCha20Rng::from_seed([0; 32]);
    let watched = advance(task, Role::Watches, &all, &mut rng).expect("anybody may watch");
    let Progress::Done(outcome) = watched.progress else { panic!("{:?}", watched.progress) };
    outcome.into_parts().0
}

#[test]
fn a_key_is_generated_and_handed_on_as_on_record() {
    let document = document();
    let threshold = document["threshold"].as_u64().expect("a number") as usize;
    let (first, second) = (&document["generation"], &document["resharing"]);
    let count = list(&first["parties"]).len();
    let plan = GeneratePlan::new(id(first), threshold, count).expect("a plan");
    let keys = check(first, &Task::Generate(plan), &[]);

    let share = |share: &Value| {
        let index = index(&share["index"]).expect("not zero");
        KeyShare::from_bytes(index, &array(&share["share"])).expect("a scalar")
    };
    let shares: Vec<_> = list(&first["shares"]).iter().map(share).collect();
    let dealers = list(&second["parties"]).iter().filter_map(|party| index(&party["dealer"]));
    let dealers: Vec<_> = dealers.collect();
    let receivers = list(&second["shares"]).len();
    let plan = ResharePlan::new(id(second), &keys, &dealers, threshold, receivers);
    let after = check(second, &Task::Reshare(plan.expect("a plan")), &shares);
    assert_eq!(after.group_public(), keys.group_public(), "the key stays");
    let differs = |(old, new): (&(_, PublicShare), &(_, PublicShare))| old.1 != new.1;
    assert!(keys.shares().iter().zip(after.shares()).all(differs), "and no share does");
}
