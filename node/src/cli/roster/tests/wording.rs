//! What admins read, word for word.

use signpost_keys::{roster::Finding, sign};
use signpost_protocol::{
    ContentHash, PublicKey, Timestamp,
    codec::{Bounded, Text},
    roster::{Change, Objection, Revocation, RevocationReason, Standing, Subject},
    statement::KeyUse,
};

use super::{
    super::{
        change::{Words, is_grave, objection},
        diff::difference,
        draft::{self, Edit, EpochEdit},
        keys_words, words,
    },
    DAY, NOW, Network, network, network_from,
};
use crate::cli::text::{fingerprint, fingerprint_words};

/// A change as it is shown, without the lines that every proposal has.
#[track_caller]
fn shows(network: &Network, change: &Change, expected: &str) {
    let (id, proposal) = network.propose(change.clone());
    let text = Words::of(&network.view, &id, &proposal).text();
    let void = words::time(proposal.expires);
    let common = format!(
        "  Why: A test\n  Written at 2026-01-01T01:00:00Z; void at {void} unless it is decided by \
         then.\n"
    );
    assert!(text.contains(&common), "{text}");
    assert_eq!(text.replace(&common, ""), expected);
}

#[test]
fn a_suspension() {
    let network = network();
    let words = fingerprint_words(network.organizations[5].as_bytes());
    let change = network.standing(5, Standing::Suspended);
    assert_eq!(is_grave(&network.view, &change), Some(network.organizations[5]));
    let expected = format!(
        "\
Suspend Trust 5 (RX5).
  From then on no node asks it or answers it; results name it as excluded, so that nobody takes its \
silence for \"no records\". It can be readmitted.
  Changes: version 0 → 1; standing admitted → suspended.
  Stays: ODS code RX5; name Trust 5; largest digest class 9; successor none.
  Fingerprint of the organization: {words}
"
    );
    shows(&network, &change, &expected);
}

#[test]
fn the_expulsion_of_a_steward_that_evaluates() {
    let network = network();
    let words = fingerprint_words(network.organizations[1].as_bytes());
    let edit = Edit {
        standing: Some(Standing::Expelled),
        successor: Some(network.organizations[2]),
        ..Edit::default()
    };
    let expected = format!(
        "\
Expel Trust 1 (RX1) for good.
  From then on no node asks it or answers it, and results do not wait for it. It does not come back: \
it would have to apply anew, as a new organization.
  Changes: version 0 → 1; standing admitted → expelled; successor none → Trust 2 (RX2).
  Stays: ODS code RX1; name Trust 1; largest digest class 9.
  Fingerprint of the organization: {words}
  CAREFUL: It is a steward, and its approvals go on counting when it is expelled: replace the \
stewards as well (`signpost roster propose stewards --remove RX1`).
  CAREFUL: It is an evaluator: 4 evaluators remain, of which 3 must be up for any look-up.
"
    );
    shows(&network, &network.change(1, &edit), &expected);
}

#[test]
fn a_readmission_and_a_new_name() {
    let mut network = network();
    network.decide(network.standing(5, Standing::Suspended));
    let readmit = network.standing(5, Standing::Admitted);
    assert_eq!(is_grave(&network.view, &readmit), None);
    let words = fingerprint_words(network.organizations[5].as_bytes());
    let expected = format!(
        "\
Readmit Trust 5 (RX5).
  From then on it asks and is asked again, like every other member.
  Changes: version 1 → 2; standing suspended → admitted.
  Stays: ODS code RX5; name Trust 5; largest digest class 9; successor none.
  Fingerprint of the organization: {words}
"
    );
    shows(&network, &readmit, &expected);
    let edit = Edit {
        name: Some("Old Mill".to_owned()),
        ods: Some("RX1".parse().unwrap()),
        class_max: Some(10),
        ..Edit::default()
    };
    let expected = format!(
        "\
Change the record of Trust 5 (RX5).
  It stands as it stood.
  Changes: version 1 → 2; ODS code RX5 → RX1; name Trust 5 → Old Mill; largest digest class 9 → 10.
  Stays: standing suspended; successor none.
  Each of its nodes may advertise up to 28672 patients (digest class 10).
  Fingerprint of the organization: {words}
  CAREFUL: ODS code RX1 belongs to Trust 1 (admitted) already: whoever was admitted with it later is \
treated as suspended.
"
    );
    shows(&network, &network.change(5, &edit), &expected);
}

#[test]
fn new_stewards() {
    let network = network();
    let edit = EpochEdit {
        add: vec![network.organizations[5]],
        remove: vec![network.organizations[0], network.organizations[1], network.organizations[2]],
        threshold: None,
        set: vec![("reset-wait".to_owned(), DAY)],
        quota: Vec::new(),
    };
    let change = draft::epoch(&network.view, &edit).unwrap();
    let expected = "\
Replace the stewards: epoch 1 with 3 stewards, of whom 2 make law.
  From then on their approvals decide, and the approvals of those who leave count no more.
  Leaves: Trust 0 (RX0), Trust 1 (RX1), Trust 2 (RX2).
  Joins: Trust 5 (RX5).
  Stays: Trust 3 (RX3), Trust 4 (RX4).
  Threshold: 3 of 5 → 2 of 3.
  Durations: reset-wait 3 days → 1 day.
  It takes the approval of 3 of those until now and of 2 of those from then on.
  CAREFUL: 3 stewards are few: 5 are advised, so that some may be away and none decides alone.
  CAREFUL: Fewer stewards than until now could decide together: 2 instead of 3.
";
    shows(&network, &change, expected);
    let all = EpochEdit { threshold: Some(5), ..EpochEdit::default() };
    let (id, proposal) = network.propose(draft::epoch(&network.view, &all).unwrap());
    let words = Words::of(&network.view, &id, &proposal);
    assert!(words.warnings[0].starts_with("Every steward must approve everything"));
    assert!(words.lines.contains(&"The network's durations stay as they are.".to_owned()));
}

#[test]
fn a_reset_and_an_objection() {
    let mut network = network();
    let root: PublicKey = network_from(2).root[0].public();
    let member = network.view.member(&network.organizations[5]).unwrap();
    let change = draft::reset(member, root, ContentHash([1; 32])).unwrap();
    let (id, proposal) = network.propose(change.clone());
    let expected = format!(
        "\
Replace the root key of Trust 5 (RX5).
  From 2026-01-07T01:00:00Z on, if enough stewards approve it in time, keys of this organization count \
only if the new root key has signed them; its nodes go on working meanwhile.
  Until then whoever has its present root key can stop this: `signpost roster object {} --reason ...`.
  Root key number 2 of the organization (lineage 1).
  The new root key, to compare with what the organization reads out to you, face to face or in a \
video call:
    {}
    {}
  Hash of the root key after it: {}
  Objections are possible for another 144 h.
  CAREFUL: If somebody else may have its root key, suspend it first: who has the key can object, and \
can list keys of his own until the reset takes effect.
",
        words::short(&id),
        fingerprint_words(root.as_bytes()),
        fingerprint(&root.to_string()),
        ["0101"; 16].join(" ")
    );
    shows(&network, &change, &expected);

    assert_eq!(words::state(&network.view, &id), "not proposed yet");
    network.approve(&[0, 1], &proposal);
    assert_eq!(words::state(&network.view, &id), "open: 1 more approval needed");
    network.approve(&[2], &proposal);
    let waits = "approved at 2026-01-01T01:00:00Z; takes effect at 2026-01-07T01:00:00Z unless a \
                 former root key objects";
    assert_eq!(words::state(&network.view, &id), waits);
    let protest = Objection {
        organization: network.organizations[5],
        proposal: id,
        reason: Text::new("We have our key").unwrap(),
        issued: NOW,
    };
    let said = objection(&network.view, &protest);
    let expected = format!(
        "Trust 5 (RX5) objects to proposal {} with a former root key: We have our key",
        words::short(&id)
    );
    assert_eq!(said, expected);
    let signed = sign(protest, &network.root[5], &network.view.roster.network());
    network.view = network.view.with(&[signed.bytes().to_vec()]).unwrap();
    let objected = "approved, but a former root key has objected: of no effect";
    assert_eq!(words::state(&network.view, &id), objected);
}

#[test]
fn a_proposal_against_an_old_roster_and_its_rivals() {
    let mut network = network();
    let (_, first) = network.propose(network.standing(5, Standing::Suspended));
    network.approve(&[0], &first);
    let (id, second) = network.propose(network.standing(5, Standing::Suspended));
    network.approve(&[1], &second);
    let warnings = |network: &Network, id| {
        let proposal = network.view.law.proposal(&id).unwrap().proposal.clone();
        Words::of(&network.view, &id, &proposal).warnings.join("\n")
    };
    let found = warnings(&network, id);
    assert!(
        found.contains("It is version 2 of the record of Trust 5 (RX5), and version 0"),
        "{found}"
    );
    let older = ContentHash::of(&signpost_protocol::codec::encode(&first));
    let found = warnings(&network, older);
    assert!(found.contains("being version 2 it would take the place of this one"), "{found}");

    let edit = EpochEdit { add: vec![network.organizations[5]], ..EpochEdit::default() };
    let (_, next) = network.propose(draft::epoch(&network.view, &edit).unwrap());
    network.approve(&[0, 1, 2, 3], &next);
    assert_eq!(network.view.roster.epoch().number(), 1);
    let found = warnings(&network, id);
    assert!(found.contains("It was written against an old roster"), "{found}");
    network.at(NOW.plus(4 * DAY));
    assert!(warnings(&network, id).contains("This roster may be old"));
}

#[test]
fn keys_that_change() {
    let network = network();
    let before = network.view.last_keys(&network.organizations[0]).unwrap();
    assert_eq!(keys_words::difference(before, before), [""; 0]);
    let mut after = (**before).clone();
    let mut keys = after.keys.to_vec();
    keys[0].revoked = Some(Revocation { since: NOW, reason: RevocationReason::Superseded });
    keys[1].not_after = Timestamp(NOW.0 + DAY);
    keys.truncate(2);
    let mut nodes = after.nodes.to_vec();
    nodes[0].addresses = Bounded::new(vec![Text::new("/ip4/192.0.2.1/tcp/7701").unwrap()]).unwrap();
    after.keys = Bounded::new(keys).unwrap();
    after.nodes = Bounded::new(nodes).unwrap();
    let node = keys_words::short(&before.nodes[0].node);
    let id = |n: usize| before.keys[n].key.key_id().to_string()[..8].to_owned();
    let mut expected = [
        format!("Node {node} moves from /ip4/127.0.0.1/tcp/20000 to /ip4/192.0.2.1/tcp/7701."),
        format!(
            "Revoked: govern key {}, as of 2026-01-01T01:00:00Z: another has taken its place.",
            id(0)
        ),
        format!(
            "Valid from 2025-12-31T23:00:00Z until 2026-01-02T01:00:00Z now: pointer key {} of node \
             {node}.",
            id(1)
        ),
        format!("No longer listed: transport key {} of node {node}.", id(2)),
    ];
    expected.sort();
    let mut found = keys_words::difference(before, &after);
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(before.keys[0].usage, KeyUse::Govern);
}

#[test]
fn two_rosters_that_differ() {
    let mut network = network();
    let before = network.view.clone();
    assert!(difference(&before, &network.view).is_empty());
    let id = network.decide(network.standing(5, Standing::Suspended));
    let expected = [
        "Trust 5 (RX5): standing admitted → suspended; record version 0 → 1.".to_owned(),
        format!(
            "New proposal {}: Suspend Trust 5 (RX5). (law since 2026-01-01T01:00:00Z)",
            words::short(&id)
        ),
    ];
    assert_eq!(difference(&before, &network.view), expected);
}

#[test]
fn findings_freshness_and_durations() {
    let mut network = network();
    let view = &network.view;
    let (one, other) = (ContentHash([1; 32]), ContentHash([2; 32]));
    let found = Finding::Equivocation {
        steward: network.organizations[0],
        subject: Subject::Member(network.organizations[5]),
        version: 3,
        proposals: [one, other],
    };
    assert_eq!(
        words::finding(view, &found),
        "Trust 0 (RX0) has approved two proposals of version 3 of the record of Trust 5 (RX5): \
         01010101 and 02020202. Ask it why; its approvals are in doubt wherever others did not bear \
         witness."
    );
    let found = Finding::Conflict { subject: Subject::Stewards, version: 1 };
    assert_eq!(
        words::finding(view, &found),
        "Two proposals of version 1 of the stewards are approved, and neither counts: propose the \
         next version."
    );
    assert_eq!(
        words::freshness(view),
        "0 of 5 stewards heard of within 3 days; unless more are, nothing more can be decided in 335 \
         h, holders stop disclosing in 719 h"
    );
    network.at(NOW.plus(20 * DAY));
    assert_eq!(
        words::freshness(&network.view),
        "0 of 5 stewards heard of within 3 days; unless more are, nothing can be decided any more, \
         holders stop disclosing in 239 h"
    );
    for (milliseconds, text) in
        [(DAY, "1 day"), (7_200_000, "2 hours"), (90_000, "90 seconds"), (1, "1 ms"), (0, "0 ms")]
    {
        assert_eq!(words::duration(milliseconds), text);
    }
}
