//! A decision that is in doubt, and what its stewards are told to do while they can approve it again,
//! and when they cannot any more.

use signpost_keys::{roster::State, sign};
use signpost_protocol::{
    ContentHash, Timestamp,
    codec::Bounded,
    roster::{Change, Heartbeat, Proposal, Revocation, RevocationReason, Standing},
};

use super::{
    super::{
        change, checks,
        draft::{self, Edit, EpochEdit},
        govern::next_step,
        show::findings,
        words::{short, state},
    },
    DAY, HOUR, NOW, Network, network,
    refusals::relist,
};
use crate::setup;

/// One steward bears witness: too few for a decision that is in doubt, and enough for it to count.
fn witness(network: &mut Network, n: usize, id: ContentHash) {
    let beat = Heartbeat {
        steward: network.organizations[n],
        number: 1,
        roster: ContentHash([0; 32]),
        witnessed: Bounded::new(vec![id]).unwrap(),
        issued: network.view.now,
    };
    let transport = setup::open(&network.dirs[n]).unwrap().transport;
    let beat = sign(beat, &transport, &network.view.roster.network());
    network.view = network.view.with(&[beat.bytes().to_vec()]).unwrap();
}

/// Three stewards make a change law, of whom the first says two days later that its key was stolen.
fn doubted(network: &mut Network, change: Change) -> (ContentHash, Proposal) {
    let (id, proposal) = network.propose(change);
    network.approve(&[0, 1, 2], &proposal);
    witness(network, 1, id);
    network.at(NOW.plus(2 * DAY));
    let (since, reason) = (NOW.plus(DAY), RevocationReason::Compromised);
    relist(network, 0, |key| key.revoked = Some(Revocation { since, reason }));
    (id, proposal)
}

fn rename(network: &Network) -> Change {
    network.change(5, &Edit { name: Some("Vale Trust".to_owned()), ..Edit::default() })
}

fn readmit(network: &Network, n: usize) -> anyhow::Result<Change> {
    let member = network.view.member(&network.organizations[n]).unwrap();
    let edit = Edit { standing: Some(Standing::Admitted), ..Edit::default() };
    draft::record(&network.view, member, &edit, 0)
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part} in: {text}");
    }
}

#[test]
fn while_it_takes_approvals_others_approve_it_again() {
    let mut network = network();
    let change = rename(&network);
    let (id, proposal) = doubted(&mut network, change);
    let again = format!(
        "have other stewards approve it again before 2026-01-31T01:00:00Z: `signpost roster approve {}`",
        short(&id)
    );
    says(&findings(&network.view).join("\n"), &["rests on approvals that are in doubt", &again]);
    says(&state(&network.view, &id), &["law since", "in doubt", &again]);
    says(&next_step(&network.view, &id, None), &[&again]);
    checks::proposal(&network.view, &id, &proposal).unwrap();
    network.approve(&[3], &proposal);
    assert_eq!(findings(&network.view), [""; 0]);
    assert!(!state(&network.view, &id).contains("doubt"));
    let refused = checks::proposal(&network.view, &id, &proposal).unwrap_err();
    says(&refused.message, &["is decided"]);
}

#[test]
fn once_it_has_expired_the_same_is_proposed_anew() {
    let mut network = network();
    let change = rename(&network);
    let (id, proposal) = doubted(&mut network, change);
    network.at(NOW.plus(30 * DAY));
    let anew = "it takes no more approvals (it expired at 2026-01-31T01:00:00Z): have the same decided \
                anew before 2026-02-14T01:00:00Z: `signpost roster propose readmit RX5 --reason ...`";
    for text in [
        findings(&network.view).join("\n"),
        state(&network.view, &id),
        next_step(&network.view, &id, None),
    ] {
        says(&text, &[anew]);
        assert!(!text.contains("roster approve"), "{text}");
    }
    let refused = checks::proposal(&network.view, &id, &proposal).unwrap_err();
    says(&refused.message, &["expired at"]);
    says(&refused.hint, &[anew]);
    // Of whom nothing is in doubt, nothing is decided anew.
    says(&readmit(&network, 4).unwrap_err().to_string(), &["is admitted already"]);
    let (next, proposal) = network.propose(readmit(&network, 5).unwrap());
    checks::proposal(&network.view, &next, &proposal).unwrap();
    network.approve(&[1, 2, 3], &proposal);
    says(&findings(&network.view).join("\n"), &["something newer has taken its place"]);
    network.at(NOW.plus(60 * DAY));
    let member = network.view.member(&network.organizations[5]).unwrap();
    assert_eq!((member.standing, &*member.name), (Standing::Admitted, "Vale Trust"));
}

#[test]
fn what_has_fallen_is_proposed_anew_as_well() {
    let mut network = network();
    let change = rename(&network);
    let (id, _) = doubted(&mut network, change);
    network.at(NOW.plus(44 * DAY));
    assert_eq!(network.view.law.proposal(&id).unwrap().state, State::Fallen);
    let text = state(&network.view, &id);
    says(&text, &["no longer suffice", "anew: `signpost roster propose readmit RX5"]);
    assert!(!text.contains("roster approve"), "{text}");
    let change = readmit(&network, 5).unwrap();
    assert_eq!(change::title(&network.view, &change), "Readmit Vale Trust (RX5).");
    let (_, proposal) = network.propose(change);
    network.approve(&[1, 2, 3], &proposal);
    let member = network.view.member(&network.organizations[5]).unwrap();
    assert_eq!(member.standing, Standing::Admitted);
}

#[test]
fn who_was_cut_off_stays_so_and_nothing_has_to_be_done() {
    let mut network = network();
    let change = network.standing(5, Standing::Suspended);
    doubted(&mut network, change);
    for now in [NOW.plus(3 * DAY), NOW.plus(31 * DAY), NOW.plus(50 * DAY)] {
        network.at(now);
        let member = network.view.member(&network.organizations[5]).unwrap();
        assert_eq!(member.standing, Standing::Suspended);
        let text = findings(&network.view).join("\n");
        says(&text, &["Trust 5 (RX5) stays suspended all the same, so nothing has to be done"]);
    }
}

#[test]
fn stewards_who_are_in_doubt_are_chosen_anew() {
    let mut network = network();
    let epoch = |network: &Network, edit| draft::epoch(&network.view, &edit);
    let add = EpochEdit { add: vec![network.organizations[5]], ..EpochEdit::default() };
    let five = EpochEdit { threshold: Some(5), ..add.clone() };
    let (id, proposal) = network.propose(epoch(&network, add).unwrap());
    let (_, other) = network.propose(epoch(&network, five).unwrap());
    network.approve(&[0, 1, 2, 5], &proposal);
    assert_eq!(network.view.roster.epoch().number(), 1);
    witness(&mut network, 1, id);
    assert!(epoch(&network, EpochEdit::default()).is_err(), "nothing would change");
    network.view.now = Timestamp(NOW.0 + HOUR);
    network.approve(&[0], &other);
    let anew = "it takes no more approvals (those of epoch 1 decide now): have the same decided anew \
                before 2026-02-14T01:00:00Z: `signpost roster propose stewards --reason ...`";
    says(&findings(&network.view).join("\n"), &[anew]);
    let (_, proposal) = network.propose(epoch(&network, EpochEdit::default()).unwrap());
    network.approve(&[1, 2, 3, 5], &proposal);
    assert_eq!(network.view.roster.epoch().number(), 2);
    says(&findings(&network.view).join("\n"), &["something newer has taken its place"]);
}
