//! What is not signed, each beside what is.

use signpost_keys::sign;
use signpost_protocol::{
    ContentHash, Timestamp,
    codec::Bounded,
    roster::{
        Change, KeyRecord, MemberRecord, OrganizationKeys, Proposal, Revocation, RevocationReason,
        RootReset, Standing, StewardEpoch,
    },
    statement::KeyUse,
};

use super::{
    super::{
        checks::{self, Signed},
        draft::{self, Edit, EpochEdit},
    },
    DAY, NOW, Network, network, network_from,
};
use crate::cli::error::Hinted;

#[track_caller]
fn refused(result: Result<impl std::fmt::Debug, Hinted>, why: &str) {
    let refused = result.unwrap_err();
    assert!(refused.message.contains(why), "{}", refused.message);
    assert!(!refused.hint.is_empty());
}

#[track_caller]
fn no_draft(result: anyhow::Result<Change>, why: &str) {
    let error = result.unwrap_err();
    assert!(error.to_string().contains(why), "{error}");
    assert!(crate::cli::error::hint(&error).is_some());
}

fn record_of(change: &Change) -> MemberRecord {
    let Change::Member(record) = change else { panic!("{change:?}") };
    record.clone()
}

fn judge(network: &Network, proposal: &Proposal) -> Result<(), Hinted> {
    let id = ContentHash::of(&signpost_protocol::codec::encode(proposal));
    checks::proposal(&network.view, &id, proposal)
}

/// An organization lists its keys anew, changed.
pub(super) fn relist(network: &mut Network, n: usize, change: impl Fn(&mut KeyRecord)) {
    let view = &network.view;
    let last = view.last_keys(&network.organizations[n]).unwrap();
    let mut keys = last.keys.to_vec();
    keys.iter_mut().filter(|key| key.usage == KeyUse::Govern).for_each(change);
    let next = OrganizationKeys {
        version: last.version + 1,
        previous: last.hash(),
        keys: Bounded::new(keys).unwrap(),
        issued: view.now,
        ..OrganizationKeys::clone(last)
    };
    let next = sign(next, &network.root[n], &view.roster.network());
    network.view = view.with(&[next.bytes().to_vec()]).unwrap();
}

#[test]
fn only_stewards_sign_and_only_with_the_key_of_the_epoch() {
    let network = network();
    let change = network.standing(5, Standing::Suspended);
    let steward = |govern| checks::steward(&network.view, &govern, &change);
    assert_eq!(steward(network.govern[4].public()).unwrap(), network.organizations[4]);
    refused(steward(network.govern[5].public()), "Trust 5 (RX5) is no steward of epoch 0");
    refused(
        steward(network_from(2).govern[0].public()),
        "no member of Trial lists this govern key",
    );

    // Whoever is to become a steward has a say in that.
    let edit = EpochEdit { add: vec![network.organizations[5]], ..EpochEdit::default() };
    let epoch = draft::epoch(&network.view, &edit).unwrap();
    let next = checks::steward(&network.view, &network.govern[5].public(), &epoch);
    let next = next.unwrap();
    assert_eq!(next, network.organizations[5]);
    // Once somebody in office wants it.
    let mut network = network;
    let (id, proposal) = network.propose(epoch);
    refused(checks::begun(&network.view, &next, &id), "none of epoch 0 has approved it yet");
    checks::begun(&network.view, &network.organizations[0], &id).unwrap();
    network.approve(&[0], &proposal);
    checks::begun(&network.view, &next, &id).unwrap();
    network.approve(&[5], &proposal);
}

#[test]
fn a_key_that_is_revoked_expired_or_not_listed_signs_nothing() {
    let mut network = network();
    let organization = network.organizations[0];
    let key = network.govern[0].public();
    let judge = |network: &Network| checks::key(&network.view, &organization, &key);
    judge(&network).unwrap();
    network.at(NOW.plus(400 * DAY));
    refused(judge(&network), "expired at 2026-12-31T");
    network.at(Timestamp(NOW.0 - DAY));
    refused(judge(&network), "is not valid before");
    network.at(NOW);
    let revoked = Revocation { since: NOW, reason: RevocationReason::Compromised };
    relist(&mut network, 0, |key| key.revoked = Some(revoked));
    refused(judge(&network), "was revoked as of 2026-01-01T01:00:00Z");
    let other = network_from(2).govern[0].public();
    relist(&mut network, 0, |key| (key.key, key.revoked) = (other, None));
    refused(judge(&network), "does not list this govern key any more");
    let change = network.standing(5, Standing::Suspended);
    let new = checks::steward(&network.view, &other, &change);
    refused(new, "is a steward with another govern key than this one");
}

#[test]
fn nothing_is_signed_on_a_roster_that_may_be_frozen() {
    let mut network = network();
    checks::governance(&network.view).unwrap();
    network.at(NOW.plus(13 * DAY));
    checks::governance(&network.view).unwrap();
    network.at(NOW.plus(14 * DAY));
    refused(checks::governance(&network.view), "governance has stopped");
}

#[test]
fn a_proposal_that_cannot_become_law_is_not_approved() {
    let mut network = network();
    let (_, good) = network.propose(network.standing(5, Standing::Suspended));
    judge(&network, &good).unwrap();
    refused(judge(&network, &Proposal { expires: NOW, ..good.clone() }), "expired at");
    refused(judge(&network, &Proposal { epoch: 1, ..good.clone() }), "stewards of epoch 1");

    let record = record_of(&good.change);
    let with = |change| Proposal { change, ..good.clone() };
    let old = Change::Member(MemberRecord { version: 0, ..record.clone() });
    refused(judge(&network, &with(old)), "version 0 of the record is not newer");
    let taken = MemberRecord { ods: "RX1".parse().unwrap(), ..record.clone() };
    refused(
        judge(&network, &with(Change::Member(taken))),
        "ODS code RX1 belongs to Trust 1 already",
    );
    let stranger = network_from(2);
    let successor = Some(stranger.organizations[0]);
    let successor = Change::Member(MemberRecord { successor, ..record.clone() });
    refused(judge(&network, &with(successor)), "is no member");
    let strange = stranger.standing(0, Standing::Suspended);
    refused(judge(&network, &with(strange)), "was never a member");

    network.approve(&[0, 1], &good);
    judge(&network, &good).unwrap();
    network.approve(&[2], &good);
    refused(judge(&network, &good), "is decided: law since 2026-01-01T01:00:00Z");
}

#[test]
fn a_member_that_was_expelled_does_not_come_back() {
    let mut network = network();
    let suspended = network.standing(5, Standing::Suspended);
    network.decide(network.standing(5, Standing::Expelled));
    let mut record = record_of(&suspended);
    (record.version, record.standing) = (2, Standing::Admitted);
    let (_, proposal) = network.propose(Change::Member(record));
    refused(judge(&network, &proposal), "was expelled for good");
    let member = network.view.member(&network.organizations[5]).unwrap();
    let readmit = Edit { standing: Some(Standing::Admitted), ..Edit::default() };
    no_draft(draft::record(&network.view, member, &readmit, 0), "was expelled for good");
}

#[test]
fn stewards_follow_the_present_ones_with_keys_of_their_own() {
    let mut network = network();
    let edit = EpochEdit { add: vec![network.organizations[5]], ..EpochEdit::default() };
    let change = draft::epoch(&network.view, &edit).unwrap();
    let (_, good) = network.propose(change.clone());
    judge(&network, &good).unwrap();
    let Change::Stewards(epoch) = change else { panic!("stewards were proposed") };
    let with = |change| Proposal { change, ..good.clone() };

    let other = StewardEpoch { previous: ContentHash([1; 32]), ..epoch.clone() };
    refused(judge(&network, &with(Change::Stewards(other))), "would follow another epoch 0");
    let mut stewards = epoch.stewards.to_vec();
    stewards[5].govern = network_from(2).govern[0].public();
    let planted = StewardEpoch { stewards: Bounded::new(stewards).unwrap(), ..epoch };
    refused(judge(&network, &with(Change::Stewards(planted))), "has no valid govern key like");

    network.decide(network.standing(5, Standing::Suspended));
    refused(judge(&network, &good), "is no admitted member, so it cannot be a steward");
}

#[test]
fn root_keys_are_reset_one_after_the_other() {
    let network = network();
    let member = network.view.member(&network.organizations[5]).unwrap();
    let root = network_from(2).root[0].public();
    let (_, good) = network.propose(draft::reset(member, root, ContentHash([1; 32])).unwrap());
    judge(&network, &good).unwrap();
    let Change::Root(reset) = good.change else { panic!("a reset was proposed") };
    let with = |reset| Proposal { change: Change::Root(reset), ..good.clone() };
    refused(judge(&network, &with(RootReset { lineage: 2, ..reset })), "would begin lineage 2");
    let organization = network_from(2).organizations[0];
    refused(judge(&network, &with(RootReset { organization, ..reset })), "is no member");
    no_draft(draft::reset(member, root, ContentHash::of(root.as_bytes())), "hash of --root itself");
}

#[test]
fn a_steward_does_not_contradict_itself() {
    let mut network = network();
    let steward = network.organizations[0];
    let suspend = network.standing(5, Standing::Suspended);
    let (one, first) = network.propose(suspend.clone());
    let second = Proposal { issued: NOW.plus(1), ..first.clone() };
    let other = ContentHash::of(&signpost_protocol::codec::encode(&second));
    let judge = |network: &Network, signed: &[Signed]| {
        checks::contradiction(&network.view, &steward, &other, &second, signed)
    };
    judge(&network, &[]).unwrap();
    let signed = |proposal, expires| [Signed { proposal, expires }];
    refused(judge(&network, &signed(one, NOW.plus(1))), "has approved proposal");
    judge(&network, &signed(one, NOW)).unwrap();
    judge(&network, &signed(other, NOW.plus(1))).unwrap();
    network.approve(&[1], &first);
    judge(&network, &[]).unwrap();
    network.approve(&[0], &first);
    refused(judge(&network, &[]), "for version 1 of the record of Trust 5 (RX5) already");
    // The next one is another version, also of what this machine alone knows to be signed.
    assert_eq!(network.standing(5, Standing::Suspended).subject().1, 2);
    let member = network.view.member(&network.organizations[5]).unwrap();
    let edit = Edit { standing: Some(Standing::Suspended), ..Edit::default() };
    assert_eq!(draft::record(&network.view, member, &edit, 7).unwrap().subject().1, 8);
    // Once the first is void the way is free.
    network.at(first.expires);
    judge(&network, &[]).unwrap();
}

#[test]
fn senseless_drafts_are_refused() {
    let network = network();
    let view = &network.view;
    let member = view.member(&network.organizations[5]).unwrap();
    let edit = |edit| draft::record(view, member, &edit, 0);
    no_draft(edit(Edit::default()), "nothing would change");
    let admitted = Some(Standing::Admitted);
    no_draft(edit(Edit { standing: admitted, ..Edit::default() }), "is admitted already");
    no_draft(edit(Edit { name: Some(" ".to_owned()), ..Edit::default() }), "a name has 1 to 160");
    no_draft(edit(Edit { class_max: Some(200), ..Edit::default() }), "no digest class 200");
    let itself = Some(member.organization);
    no_draft(edit(Edit { successor: itself, ..Edit::default() }), "its own successor");
    edit(Edit { name: Some("Old Mill".to_owned()), ..Edit::default() }).unwrap();

    let epoch = |edit| draft::epoch(view, &edit);
    let (first, last) = (vec![network.organizations[0]], vec![network.organizations[5]]);
    no_draft(epoch(EpochEdit::default()), "nothing would change");
    no_draft(epoch(EpochEdit { add: first.clone(), ..EpochEdit::default() }), "a steward already");
    no_draft(epoch(EpochEdit { remove: last, ..EpochEdit::default() }), "is no steward");
    for threshold in [0, 2, 6] {
        let threshold = Some(threshold);
        no_draft(epoch(EpochEdit { threshold, ..EpochEdit::default() }), "cannot make law");
    }
    let set = |name: &str, value| EpochEdit {
        set: vec![(name.to_owned(), value)],
        ..EpochEdit::default()
    };
    no_draft(epoch(set("patience", 1)), "no duration called patience");
    no_draft(epoch(set("reset-wait", 0)), "a duration is zero");
    let four = epoch(EpochEdit { remove: first, ..set("reset-wait", DAY) }).unwrap();
    let Change::Stewards(four) = four else { panic!("stewards were proposed") };
    assert_eq!((four.stewards.len(), four.threshold, four.parameters.reset_wait), (4, 3, DAY));
}

#[test]
fn ids_and_codes_are_found_or_told_apart() {
    let mut network = network();
    let id = network.decide(network.standing(5, Standing::Suspended));
    let text = id.to_string();
    assert_eq!(network.view.find_proposal(&text).unwrap(), id);
    assert_eq!(network.view.find_proposal(&text[..6]).unwrap(), id);
    for wrong in [&text[..5], "", "zzzzzz", "no such file"] {
        let error = network.view.find_proposal(wrong).unwrap_err().to_string();
        assert!(error.contains("neither a file nor the id"), "{error}");
    }
    assert!(
        network.view.find_proposal("0123456789").unwrap_err().to_string().contains("no proposal")
    );
    let organization = network.organizations[3].to_string();
    assert_eq!(network.view.find_member(&organization[..8]).unwrap().ods.as_str(), "RX3");
    assert!(
        network.view.find_member("RX9").unwrap_err().to_string().contains("no member of Trial")
    );
}
