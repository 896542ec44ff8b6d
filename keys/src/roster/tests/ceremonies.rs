//! Calls to ceremonies and the messages of their parties: which are kept, and for how long.

use signpost_protocol::roster::Dealer;

use super::*;
use crate::{
    blinding,
    roster::{Taken, in_order},
    signing::VerifyError,
};

/// When most of this happens: all calls are from day 1 and over on day 5.
const DURING: Timestamp = Timestamp(FOUNDED.0 + 2 * DAY);
const LIFE_MAX: u64 = Parameters::STANDARD.proposal_life_max;

/// Messages that decode: `salt` makes them differ.
pub(super) fn dealing(ceremony: ContentHash, dealer: u16, salt: u8) -> Vec<u8> {
    let element = element(salt);
    let proof = [element, [0; 32]].concat();
    [header(1, ceremony, dealer), element.to_vec(), vec![0, 1], element.to_vec(), proof].concat()
}

pub(super) fn enrolment(ceremony: ContentHash, receiver: u16, salt: u8) -> Vec<u8> {
    [header(3, ceremony, receiver), element(salt).to_vec()].concat()
}

pub(super) fn sealed(ceremony: ContentHash, dealer: u16, receiver: u16, salt: u8) -> Vec<u8> {
    [header(4, ceremony, dealer), receiver.to_be_bytes().to_vec(), vec![salt; 48]].concat()
}

pub(super) fn confirmation(ceremony: ContentHash, receiver: u16, salt: u8) -> Vec<u8> {
    [header(5, ceremony, receiver), vec![salt; 32], vec![0, 1], vec![salt; 32]].concat()
}

fn header(kind: u8, ceremony: ContentHash, sender: u16) -> Vec<u8> {
    [&[1, kind][..], ceremony.as_bytes(), &sender.to_be_bytes()].concat()
}

fn element(salt: u8) -> [u8; 32] {
    let mut rng = ChaCha20Rng::seed_from_u64(salt.into());
    blinding::deal(1, 1, &mut rng).unwrap().group_public.to_bytes()
}

pub(super) fn name(bytes: &[u8]) -> ContentHash {
    ContentHash::of(bytes)
}

/// What a network has that has heard nothing yet of a ceremony, and a call of its first steward to its
/// first three.
fn called() -> (Network, Statements, Vec<u8>) {
    let network = Network::keyless(4);
    let statements = network.statements(DURING);
    let call = network.called(&network.call(0, 1, &[0, 1, 2]));
    (network, statements, call)
}

/// A call of the first steward to hand on what two of the first three hold to the last two.
fn handing_on(network: &Network) -> CeremonyCall {
    let mut call = network.call(0, 1, &[2, 3]);
    call.share_epoch = 2;
    call.dealers = dealers(network, &[(1, 0), (3, 2)]);
    call
}

fn dealers<const MAX: usize>(network: &Network, of: &[(u16, usize)]) -> Bounded<Dealer, MAX> {
    let dealer = |(index, at): &(u16, usize)| Dealer {
        index: *index,
        organization: network.parties[*at].id,
    };
    list(of.iter().map(dealer).collect())
}

#[track_caller]
fn is_new(taken: Result<Taken, Refusal>) {
    let taken = taken.unwrap();
    assert_eq!((taken.new.len(), taken.waits), (1, false));
}

#[track_caller]
fn waits(taken: Result<Taken, Refusal>) {
    let taken = taken.unwrap();
    assert_eq!((taken.new.len(), taken.dropped.len(), taken.waits), (0, 0, true));
}

#[track_caller]
fn adds_nothing(taken: Result<Taken, Refusal>) {
    let taken = taken.unwrap();
    assert_eq!((taken.new.len(), taken.dropped.len(), taken.waits), (0, 0, false));
}

#[track_caller]
fn is_refused(taken: Result<Taken, Refusal>, rule: &str) {
    match taken {
        Err(Refusal::Inconsistent(found)) => assert_eq!(found, rule),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_steward_calls_to_a_ceremony_and_nobody_else_does() {
    let (mut network, _, bytes) = called();
    network.admit(4, day(1));
    let mut statements = network.statements(DURING);
    let before = statements.len();
    let call = network.call(0, 1, &[0, 1, 2]);
    let by = |key: &SecretKey| sign(call.clone(), key, &network.id()).bytes().to_vec();
    // Not its own govern key, another's, or one that is no key of the network: it may yet become one.
    let steward = &network.parties[0];
    for key in [&steward.transport, &steward.root, &network.parties[1].govern] {
        waits(statements.take(&by(key), DURING));
    }
    // Nor a member that is no steward, or a stranger.
    for party in [4, 5] {
        waits(statements.take(&network.called(&network.call(party, 1, &[0, 1, 2])), DURING));
    }
    let mut altered = bytes.clone();
    *altered.last_mut().unwrap() ^= 1;
    let elsewhere = sign(call.clone(), &steward.govern, &NetworkId([1; 32]));
    for bad in [&altered, elsewhere.bytes()] {
        let refused = statements.take(bad, DURING);
        assert!(matches!(refused, Err(Refusal::Verify(VerifyError::BadSignature))));
    }
    assert_eq!((statements.len(), statements.ceremonies().count()), (before, 0));
    is_new(statements.take(&bytes, DURING));
    adds_nothing(statements.take(&bytes, DURING));
    assert_eq!(statements.get(&name(&bytes)).unwrap(), bytes);
    let ceremony = statements.ceremony(&name(&bytes)).unwrap();
    assert_eq!((ceremony.id(), **ceremony.call() == call), (name(&bytes), true));
    assert_eq!(statements.next_call_number(&steward.id), 2);
    assert_eq!(statements.next_call_number(&network.parties[1].id), 1);
}

#[test]
fn whoever_is_steward_in_any_epoch_calls_once_that_is_known() {
    let mut network = Network::keyless(3);
    network.admit(3, day(1));
    let epoch = network.decide(network.epoch(1, ContentHash(network.id().0), &[0, 1, 3]), day(1));
    let approvals = network.said.split_off(network.said.len() - network.threshold());
    let call = network.called(&network.call(3, 1, &[0, 1, 3]));
    let mut statements = network.statements(DURING);
    waits(statements.take(&call, DURING));
    waits(statements.take(&network.approval(3, &epoch, day(1)), DURING));
    for approval in &approvals {
        statements.take(approval, DURING).unwrap();
    }
    assert!(statements.ceremony(&name(&call)).is_some());
    // Who was steward before may call as well, since others may not know yet that it is none; whoever
    // takes part looks at who is steward now.
    is_new(statements.take(&network.called(&network.call(2, 1, &[0, 1, 3])), DURING));
    assert!(!statements.roster(DURING).epoch().has(&network.parties[2].id));
}

#[test]
fn a_call_that_breaks_a_rule_is_refused() {
    let network = Network::keyless(4);
    let try_it = |change: &dyn Fn(&mut CeremonyCall)| {
        let mut call = network.call(0, 1, &[0, 1, 2]);
        change(&mut call);
        network.statements(DURING).take(&network.called(&call), DURING)
    };
    is_new(try_it(&|_| {}));
    is_new(try_it(&|call| call.expires = call.issued.plus(LIFE_MAX)));
    let over = "the ceremony would be over before it is called to";
    is_refused(try_it(&|call| call.expires = call.issued), over);
    is_refused(try_it(&|call| call.expires = call.issued.minus(1)), over);
    // Stewards to come may allow for more.
    waits(try_it(&|call| call.expires = call.issued.plus(LIFE_MAX + 1)));
    waits(try_it(&|call| call.expires = Timestamp(u64::MAX)));
    is_new(try_it(&|call| call.expires = DURING.plus(1)));
    waits(try_it(&|call| call.expires = DURING));
    let skew = Parameters::STANDARD.clock_skew_max;
    is_new(try_it(&|call| call.issued = DURING.plus(skew)));
    let future = try_it(&|call| call.issued = DURING.plus(skew + 1));
    assert!(matches!(future, Err(Refusal::Future)));

    let rule = "the threshold of a ceremony is 2 at least, and no more than its evaluators";
    for threshold in [0, 1, 4, u16::MAX] {
        is_refused(try_it(&|call| call.threshold = threshold), rule);
    }
    is_new(try_it(&|call| call.threshold = 3));
    is_refused(try_it(&|call| call.evaluators = Bounded::default()), rule);
    let [one, other] = [0, 1].map(|at| network.parties[at].id);
    let twice = try_it(&|call| call.evaluators = list(vec![one, other, one]));
    is_refused(twice, "an organization is to evaluate twice");

    is_new(try_it(&|call| call.dealers = dealers(&network, &[(1, 2), (2, 0), (u16::MAX, 1)])));
    let rule = "dealers stand in the order of their indices, from 1";
    for wrong in [&[(2, 0), (1, 1)][..], &[(1, 0), (1, 1)], &[(0, 0), (1, 1)]] {
        is_refused(try_it(&|call| call.dealers = dealers(&network, wrong)), rule);
    }
    let twice = try_it(&|call| call.dealers = dealers(&network, &[(1, 0), (2, 0)]));
    is_refused(twice, "an organization is to deal twice");
}

#[test]
fn how_long_a_call_may_last_does_not_depend_on_what_came_first() {
    let mut network = Network::keyless(3);
    let change = network.epoch(1, ContentHash(network.id().0), &[0, 1]);
    let Change::Stewards(mut epoch) = change else { unreachable!("it is one") };
    epoch.parameters.proposal_life_max = 2 * LIFE_MAX;
    network.decide(Change::Stewards(epoch), day(1));
    let long = |steward| {
        let mut call = network.call(steward, 1, &[0, 1, 2]);
        call.expires = call.issued.plus(LIFE_MAX + 1);
        network.called(&call)
    };
    // Of the third one, who is in office no more, none may last as long.
    let calls = [long(0), long(2)];
    let mut late = network.statements(DURING);
    let mut early = Network { said: Vec::new(), ..network.clone() }.statements(DURING);
    for call in &calls {
        late.take(call, DURING).unwrap();
        waits(early.take(call, DURING));
    }
    for approval in &network.said {
        early.take(approval, DURING).unwrap();
    }
    assert!(late.hashes().eq(early.hashes()));
    assert!(late.has(&name(&calls[0])) && !late.has(&name(&calls[1])));
}

#[test]
fn a_newer_call_takes_the_place_of_an_older_one_of_the_same_key() {
    let (network, mut statements, first) = called();
    let message = network.message(1, name(&first), dealing(name(&first), 2, 1), day(2));
    let others = network.called(&network.call(1, 1, &[0, 1, 2]));
    for bytes in [&first, &message, &others] {
        is_new(statements.take(bytes, DURING));
    }
    let before = statements.len();
    let second = network.called(&network.call(0, 7, &[1, 2, 3]));
    let taken = statements.take(&second, DURING).unwrap();
    assert_eq!((taken.new.len(), taken.waits), (1, false));
    let mut dropped = taken.dropped;
    dropped.sort();
    let mut expected = vec![name(&first), name(&message)];
    expected.sort();
    assert_eq!(dropped, expected);
    assert_eq!(statements.len(), before - 1);
    assert!(statements.has(&name(&others)), "every steward has its own");
    // The older one is not taken back, and nothing is said of it; its messages wait for it in vain.
    adds_nothing(statements.take(&first, DURING));
    waits(statements.take(&message, DURING));
    assert_eq!(statements.next_call_number(&network.parties[0].id), 8);
    // Not before the newer one is over: then whoever has it still may offer it, if it has time left.
    let mut shorter = network.call(0, 9, &[1, 2, 3]);
    shorter.expires = day(3);
    statements.take(&network.called(&shorter), DURING).unwrap();
    let taken = statements.take(&second, day(3)).unwrap();
    assert_eq!((taken.new.len(), taken.dropped.len()), (1, 1));
}

#[test]
fn of_two_calls_of_one_number_all_keep_the_same() {
    let (network, statements, one) = called();
    let other = network.called(&network.call(0, 1, &[1, 2, 3]));
    let kept = name(&one).max(name(&other));
    for order in [[&one, &other], [&other, &one]] {
        let mut statements = statements.clone();
        for bytes in order {
            statements.take(bytes, DURING).unwrap();
        }
        assert_eq!(statements.ceremonies().map(|(id, _)| *id).collect::<Vec<_>>(), [kept]);
    }
    let last = network.call(0, u64::MAX, &[0, 1]);
    let mut statements = statements;
    statements.take(&network.called(&last), DURING).unwrap();
    let next = statements.next_call_number(&last.steward);
    assert_eq!(next, u64::MAX, "of one number, if there is none above");
}

#[test]
fn a_party_sends_what_the_ceremony_asks_of_it_and_nothing_else() {
    let (network, mut statements, call) = called();
    let id = name(&call);
    statements.take(&call, DURING).unwrap();
    let mut try_it = |party: usize, message: Vec<u8>| {
        statements.take(&network.message(party, id, message, day(2)), DURING)
    };
    let unexpected = "the ceremony does not expect this of its sender";
    is_new(try_it(0, dealing(id, 1, 1)));
    is_new(try_it(2, dealing(id, 3, 1)));
    is_refused(try_it(0, dealing(id, 2, 1)), unexpected);
    is_refused(try_it(0, dealing(id, 4, 1)), unexpected);
    let no_part = "its sender has no part in the ceremony";
    is_refused(try_it(3, dealing(id, 4, 1)), no_part);
    is_refused(try_it(4, dealing(id, 1, 1)), no_part);
    // Where a key is made the dealing has all that an enrolment has.
    is_refused(try_it(0, enrolment(id, 1, 1)), unexpected);
    is_new(try_it(0, sealed(id, 1, 3, 1)));
    is_refused(try_it(0, sealed(id, 1, 4, 1)), unexpected);
    is_refused(try_it(0, sealed(id, 2, 3, 1)), unexpected);
    is_new(try_it(1, confirmation(id, 2, 1)));
    is_refused(try_it(1, confirmation(id, 3, 1)), unexpected);
    let other = "the message is of another ceremony";
    for inside in [ContentHash([0; 32]), ContentHash(network.id().0)] {
        is_refused(try_it(0, dealing(inside, 1, 1)), other);
    }
    let junk = "it is no message of a ceremony";
    let cut = dealing(id, 1, 2);
    let longer = [dealing(id, 1, 2), vec![0]].concat();
    for bytes in [vec![], vec![0; 40], cut[..cut.len() - 1].to_vec(), longer] {
        is_refused(try_it(0, bytes), junk);
    }
    is_refused(try_it(0, header(1, id, 0)), junk);
    let ceremony = statements.ceremony(&id).unwrap();
    assert_eq!(ceremony.messages().count(), 4);
    for (_, message) in ceremony.messages() {
        assert_eq!(statements.get(&message.hash()).unwrap(), message.bytes());
    }
}

#[test]
fn dealers_of_a_resharing_deal_and_receivers_enrol() {
    let network = Network::keyless(4);
    let mut statements = network.statements(DURING);
    let call = network.called(&handing_on(&network));
    let id = name(&call);
    statements.take(&call, DURING).unwrap();
    let mut try_it = |party: usize, message: Vec<u8>| {
        statements.take(&network.message(party, id, message, day(2)), DURING)
    };
    // The first deals only, the last receives only, the third does both under two indices.
    let unexpected = "the ceremony does not expect this of its sender";
    is_new(try_it(0, dealing(id, 1, 1)));
    is_refused(try_it(0, enrolment(id, 1, 1)), unexpected);
    is_refused(try_it(0, confirmation(id, 1, 1)), unexpected);
    is_new(try_it(2, dealing(id, 3, 1)));
    is_refused(try_it(2, dealing(id, 1, 1)), unexpected);
    is_new(try_it(2, enrolment(id, 1, 1)));
    is_refused(try_it(2, enrolment(id, 3, 1)), unexpected);
    is_new(try_it(2, sealed(id, 3, 2, 1)));
    is_refused(try_it(2, sealed(id, 3, 3, 1)), unexpected);
    is_new(try_it(3, confirmation(id, 2, 1)));
    is_refused(try_it(3, dealing(id, 2, 1)), unexpected);
    is_refused(try_it(1, dealing(id, 2, 1)), "its sender has no part in the ceremony");
    // For each receiver the shares that are for it, and everything that is for all.
    let ceremony = statements.ceremony(&id).unwrap();
    let shares = |to| ceremony.received(blinding::EvaluatorIndex::new(to)).shares.len();
    assert_eq!([shares(1), shares(2), ceremony.received(None).shares.len()], [0, 1, 0]);
    let all = ceremony.received(None);
    assert_eq!([all.dealings.len(), all.enrolments.len(), all.confirmations.len()], [2, 1, 1]);
}

#[test]
fn a_message_waits_for_the_call_and_for_its_senders_keys() {
    let network = Network::keyless(4);
    let (joins, call) = (network.parties[4].clone(), network.call(0, 1, &[0, 1, 4]));
    let call = network.called(&call);
    let id = name(&call);
    let of_member = network.message(1, id, dealing(id, 2, 1), day(2));
    let of_joining = network.message(4, id, dealing(id, 3, 1), day(2));
    let mut statements = network.statements(DURING);
    for bytes in [&of_member, &of_joining] {
        waits(statements.take(bytes, DURING));
    }
    let taken = statements.take(&call, DURING).unwrap();
    assert_eq!(taken.new.len(), 2, "the call and the message of a member");
    // The other one's organization, then its keys.
    let proposal = network.proposal(joins.member(1, Standing::Admitted), day(1));
    statements.take(&network.approval(0, &proposal, day(1)), DURING).unwrap();
    assert!(!statements.has(&name(&of_joining)));
    let taken = statements.take(&network.keys(&joins.key_set(), &joins.root), DURING).unwrap();
    assert_eq!(taken.new.len(), 2, "the keys and the message");
    assert_eq!(statements.waiting(), 0);
    // When nobody has decided on it, all that hangs on it goes; and comes back with it.
    let kept = statements.clone();
    let mut last = network.call(1, 1, &[0, 1, 4]);
    (last.issued, last.expires) = (day(10), day(20));
    let last = network.called(&last);
    let message = network.message(4, name(&last), dealing(name(&last), 3, 1), day(10));
    statements.take(&last, day(10)).unwrap();
    is_new(statements.take(&message, day(10)));
    let dropped = statements.drop_lapsed(day(12));
    assert!(dropped.contains(&name(&message)) && !statements.has(&name(&message)));
    let mut otherwise = kept;
    otherwise.drop_lapsed(day(12));
    otherwise.take(&last, day(12)).unwrap();
    waits(otherwise.take(&message, day(12)));
    assert!(otherwise.hashes().eq(statements.hashes()));
    for statements in [&mut statements, &mut otherwise] {
        for party in 0..3 {
            statements.take(&network.approval(party, &proposal, day(1)), day(12)).unwrap();
        }
        assert!(statements.has(&name(&message)));
    }
}

#[test]
fn a_message_counts_by_a_key_that_was_valid_when_it_was_signed() {
    let (network, mut statements, call) = called();
    let id = name(&call);
    statements.take(&call, DURING).unwrap();
    let party = network.parties[1].clone();
    for issued in [FOUNDED.minus(1), EXPIRES] {
        waits(statements.take(&network.message(1, id, dealing(id, 2, 1), issued), DURING));
    }
    let other = CeremonyMessage {
        organization: party.id,
        ceremony: id,
        message: ByteString::new(dealing(id, 2, 1)).unwrap(),
        issued: day(2),
    };
    let by = |key: &SecretKey| sign(other.clone(), key, &network.id()).bytes().to_vec();
    for key in [&party.pointer, &party.govern, &network.parties[0].transport] {
        waits(statements.take(&by(key), DURING));
    }
    let mut altered = by(&party.transport);
    *altered.last_mut().unwrap() ^= 1;
    let refused = statements.take(&altered, DURING);
    assert!(matches!(refused, Err(Refusal::Verify(VerifyError::BadSignature))));
    let late = network.message(1, id, dealing(id, 2, 1), DURING.plus(DAY));
    assert!(matches!(statements.take(&late, DURING), Err(Refusal::Future)));

    // A revocation drops what was signed after it, whether that came before or after.
    let mut set = party.key_set();
    set.version = 2;
    let reason = RevocationReason::Compromised;
    let since = day(2);
    edit(&mut set.keys, 1, |key| key.revoked = Some(Revocation { since, reason }));
    let revokes = network.keys(&set, &party.root);
    let before = network.message(1, id, dealing(id, 2, 1), since.minus(1));
    let after = network.message(1, id, confirmation(id, 2, 1), since);
    for order in [[&before, &after, &revokes], [&revokes, &after, &before]] {
        let mut statements = statements.clone();
        for bytes in order {
            statements.take(bytes, DURING).unwrap();
        }
        assert!(statements.has(&name(&before)) && !statements.has(&name(&after)));
        // So does a set that does not list the key, and one that lists it again brings it back.
        set.version = 3;
        set.keys = list(vec![party.key(KeyUse::Govern)]);
        let taken = statements.take(&network.keys(&set, &party.root), DURING).unwrap();
        assert!(taken.dropped.contains(&name(&before)) && !statements.has(&name(&before)));
        set.version = 4;
        set.keys = party.key_set().keys;
        let taken = statements.take(&network.keys(&set, &party.root), DURING).unwrap();
        assert_eq!(taken.new.len(), 3, "the keys and both messages");
    }
}

#[test]
fn the_same_message_signed_twice_is_kept_once() {
    let (network, mut statements, call) = called();
    let id = name(&call);
    statements.take(&call, DURING).unwrap();
    let before = statements.len();
    let [one, other] =
        [0, 1].map(|later| network.message(0, id, dealing(id, 1, 1), day(1).plus(later)));
    for order in [[&one, &other], [&other, &one]] {
        let mut statements = statements.clone();
        for bytes in order {
            statements.take(bytes, DURING).unwrap();
        }
        assert_eq!(statements.len(), before + 1);
        assert!(statements.has(&name(&one).min(name(&other))));
        assert_eq!(statements.ceremony(&id).unwrap().received(None).dealings.len(), 1);
    }
}

#[test]
fn of_several_messages_in_one_place_all_keep_the_same_two() {
    let (network, mut statements, call) = called();
    let id = name(&call);
    statements.take(&call, DURING).unwrap();
    let before = statements.len();
    let mut said = [1, 2, 3].map(|salt| network.message(0, id, dealing(id, 1, salt), day(1)));
    said.sort_by_key(|bytes| name(bytes));
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut statements = statements.clone();
        let taken: Vec<_> =
            order.iter().map(|at| statements.take(&said[*at], DURING).unwrap()).collect();
        assert_eq!(statements.len(), before + 2);
        assert!(statements.has(&name(&said[0])) && statements.has(&name(&said[1])));
        // A third that is not kept is nothing that anybody has to store, delete or pass on.
        if order[2] == 2 {
            assert_eq!((taken[2].new.len(), taken[2].dropped.len()), (0, 0));
        } else {
            assert_eq!((taken[2].new.len(), taken[2].dropped.clone()), (1, vec![name(&said[2])]));
        }
        // In another place there is room.
        let elsewhere = [confirmation(id, 1, 1), sealed(id, 1, 2, 1), sealed(id, 1, 3, 1)];
        for message in elsewhere {
            is_new(statements.take(&network.message(0, id, message, day(1)), DURING));
        }
    }
}

#[test]
fn a_party_can_fill_its_own_places_only() {
    let network = Network::keyless(4);
    let mut statements = network.statements(DURING);
    let call = network.called(&handing_on(&network));
    let id = name(&call);
    statements.take(&call, DURING).unwrap();
    let before = statements.len();
    let (mut said, mut most) = (0, 0);
    for salt in 0..10 {
        for index in 0..=4 {
            let mut all = vec![dealing(id, index, salt), enrolment(id, index, salt)];
            all.push(confirmation(id, index, salt));
            all.extend((0..=4).map(|to| sealed(id, index, to, salt)));
            for message in all {
                for party in 0..4 {
                    let bytes = network.message(party, id, message.clone(), day(1));
                    said += statements.take(&bytes, DURING).map_or(0, |taken| taken.new.len());
                    most = most.max(statements.len() - before);
                }
            }
        }
    }
    // Two dealers, each one dealing and two sealed shares; two receivers with two messages each.
    assert_eq!((statements.len() - before, most), (2 * (2 * 3 + 2 * 2), 20));
    assert!(said < 100, "{said}");
}

#[test]
fn neither_calls_nor_messages_without_number_fill_a_roster() {
    let (network, mut statements, _) = called();
    let before = statements.len();
    // One steward that calls again and again has one ceremony, and its number is the highest.
    for number in 1..=300 {
        let taken = statements.take(&network.called(&network.call(0, number, &[0, 1])), DURING);
        let dropped = usize::from(number > 1);
        assert_eq!(
            taken.map(|taken| (taken.new.len(), taken.dropped.len())).unwrap(),
            (1, dropped)
        );
    }
    assert_eq!((statements.len(), statements.ceremonies().count()), (before + 1, 1));
    // Whoever sends messages of ceremonies that nobody called to keeps none of them, and nobody from
    // what comes later.
    for number in 0..5_000_u32 {
        let unknown = name(&number.to_be_bytes());
        waits(statements.take(&network.message(5, unknown, vec![], day(2)), DURING));
    }
    assert_eq!((statements.len(), statements.waiting()), (before + 1, 4_096));
    let call = network.called(&network.call(1, 1, &[0, 1]));
    let message = network.message(0, name(&call), dealing(name(&call), 1, 1), day(2));
    waits(statements.take(&message, DURING));
    assert_eq!(statements.take(&call, DURING).unwrap().new.len(), 2);
}

#[test]
fn a_ceremony_that_is_over_goes_with_all_that_belongs_to_it() {
    let (network, mut statements, call) = called();
    let id = name(&call);
    let messages = [1, 2, 3].map(|index: u16| {
        network.message(usize::from(index) - 1, id, dealing(id, index, 1), day(2))
    });
    let before: Vec<_> = statements.hashes().copied().collect();
    let mut rows: Vec<_> = messages.iter().map(|bytes| name(bytes)).collect();
    rows.push(id);
    rows.sort();
    statements.take(&call, DURING).unwrap();
    for bytes in &messages {
        is_new(statements.take(bytes, DURING));
    }
    let (full, over) = (statements, day(5));
    let sorted = |mut dropped: Vec<ContentHash>| {
        dropped.sort();
        dropped
    };
    let is_gone = |statements: &Statements| {
        assert!(statements.hashes().eq(&before));
        assert_eq!(statements.ceremonies().count(), 0);
        assert_eq!(statements.next_call_number(&network.parties[0].id), 1);
    };
    let beat = |at| network.heartbeat(0, &[], at);

    let mut statements = full.clone();
    assert_eq!(statements.drop_lapsed(over.minus(1)), []);
    assert_eq!(sorted(statements.drop_lapsed(over)), rows);
    is_gone(&statements);
    waits(statements.take(&call, over));
    waits(statements.take(&messages[0], over));
    is_gone(&statements);

    let mut statements = full.clone();
    assert_eq!(statements.take(&beat(over.minus(1)), over.minus(1)).unwrap().dropped, []);
    assert_eq!(sorted(statements.take(&beat(over), over).unwrap().dropped), {
        let mut rows = rows.clone();
        rows.push(name(&beat(over.minus(1))));
        sorted(rows)
    });
    assert_eq!(statements.ceremonies().count(), 0);
    // What was dropped before a refusal is reported with what is taken up next.
    let mut statements = full.clone();
    statements.take(&[0; 4], over).unwrap_err();
    assert_eq!(sorted(statements.take(&beat(over), over).unwrap().dropped), rows);

    // By a clock that nobody has confirmed nothing goes, and one's own is taken back by any.
    let mut statements = full.clone();
    assert_eq!(statements.take_unsure(&beat(over), over).unwrap().dropped, []);
    let more = network.message(0, id, confirmation(id, 1, 1), over);
    is_new(statements.take_unsure(&more, over));
    assert_eq!(statements.ceremony(&id).unwrap().messages().count(), 4);
    let mut own = network.statements(over);
    for (_, bytes) in full.iter() {
        own.restore(&bytes).unwrap();
    }
    assert!(own.hashes().eq(full.hashes()));
    assert_eq!(sorted(own.drop_lapsed(over)), rows);
    let own = Statements::read_own(&full.write()).unwrap();
    assert!(own.hashes().eq(full.hashes()));
}

#[test]
fn a_file_has_ceremonies_and_calls_come_before_messages() {
    let (network, mut statements, call) = called();
    let id = name(&call);
    statements.take(&call, DURING).unwrap();
    let mut said = Vec::new();
    for (party, index) in [(0, 1), (1, 2), (2, 3)] {
        for message in [dealing(id, index, 1), dealing(id, index, 2), confirmation(id, index, 1)] {
            said.push(network.message(party, id, message, day(2)));
        }
    }
    for bytes in &said {
        is_new(statements.take(bytes, DURING));
    }
    let file = statements.write();
    let read = Statements::read(&file, Some(network.id()), DURING).unwrap();
    assert!(read.hashes().eq(statements.hashes()));
    assert_eq!(read.waiting(), 0);
    assert_eq!(read.write(), file);
    let mut mixed = [said, vec![call.clone()], network.begun()].concat();
    in_order(&mut mixed);
    let mut ordered = Statements::begin(&network.founding_bytes(), None).unwrap();
    for bytes in &mixed {
        assert!(!ordered.take(bytes, DURING).unwrap().waits);
    }
    assert!(ordered.hashes().eq(statements.hashes()));
    let at = |bytes: &[u8]| mixed.iter().position(|other| other == bytes).unwrap();
    assert_eq!(at(&call), network.begun().len());
    // Once the ceremony is over the file is read without it.
    let late = Statements::read(&file, None, day(5)).unwrap();
    assert!(late.hashes().eq(network.statements(day(5)).hashes()));
}
