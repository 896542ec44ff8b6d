//! Real processes: five organizations find each other's records, and say so when they cannot.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "the times belong to the result")]

use std::collections::BTreeSet;

use signpost_protocol::roster::Parameters;
use signpost_tests::{
    client::{Client, patient, record},
    processes::{Federation, until},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_signpost-under-test");
const URL: &str = "https://records.example/1";

fn one(id: &str) -> BTreeSet<String> {
    [id.to_owned()].into()
}

/// Creates a record of the `n`th patient.
fn create(federation: &Federation, at: usize, n: u32) -> String {
    federation.client(at).created(&record(&federation.node(at).ods, &patient(n), URL))
}

/// Waits until everything that was made at one node before is known at another; `n` is a patient
/// of nobody yet.
fn news_spread(federation: &Federation, from: usize, to: usize, n: u32) {
    let id = create(federation, from, n);
    until("the news has spread", || {
        let reply = federation.client(to).search(&patient(n));
        reply.assert_complete();
        reply.ids().contains(&id).then_some(())
    });
}

#[test]
fn five_organizations_locate_each_others_records() {
    let mut federation = Federation::running(PROGRAM, 5);
    a_record_is_found_from_afar_until_it_is_deleted(&federation);
    a_killed_node_is_named_and_has_lost_nothing_when_it_is_back(&mut federation);
    two_of_five_evaluators_may_die_and_three_may_not(&mut federation);
}

fn a_record_is_found_from_afar_until_it_is_deleted(federation: &Federation) {
    let (holder, asker) = (federation.client(0), federation.client(4));
    let ods = &federation.node(0).ods;
    let subject = patient(1);
    let nobody = asker.search(&subject);
    nobody.assert_complete();
    assert!(nobody.ids().is_empty());

    let made = holder.create(&record(ods, &subject, URL));
    assert_eq!(made.status, 201, "{}", made.body);
    let id = made.body["id"].as_str().expect("an id").to_owned();
    assert!(id.starts_with(&format!("{ods}-")), "{id}");
    let (found, took) = until("the record is found", || {
        let reply = asker.search(&subject);
        reply.assert_complete();
        (!reply.ids().is_empty()).then_some(reply)
    });
    println!(
        "created at node 1, found from node 5 after {took:.1?}, a look-up of {:.1?}",
        found.took
    );
    assert_eq!(found.found(), [(ods.clone(), id.clone())].into());
    let resource = &found.body["entry"][0]["resource"];
    assert_eq!(resource["subject"]["identifier"]["value"], subject.expose_digits());
    assert_eq!(resource["content"][0]["attachment"]["url"], URL);

    let read = asker.read(&id);
    assert_eq!((read.status, &read.etag), (200, &made.etag), "{}", read.body);
    assert_eq!(read.body["subject"]["extension"][0]["valueCode"], "masked");
    assert!(!subject.occurs_in(&read.body.to_string()), "a reader by id learns no subject");
    assert_eq!(holder.read(&id).body["subject"]["identifier"]["value"], subject.expose_digits());

    let moved = "https://records.example/2";
    let changed = holder.put(&id, &record(ods, &subject, moved), Some(&made.etag));
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_ne!(changed.etag, made.etag);
    let stale = holder.put(&id, &record(ods, &subject, URL), Some(&made.etag));
    stale.assert_refused(412);
    let read = asker.read(&id);
    assert_eq!((read.status, &read.etag), (200, &changed.etag));
    assert_eq!(read.body["content"][0]["attachment"]["url"], moved);
    let found = asker.search(&subject);
    found.assert_complete();
    assert_eq!(found.body["entry"][0]["resource"]["content"][0]["attachment"]["url"], moved);
    // Only its custodian can change it.
    asker.put(&id, &record(ods, &subject, URL), None).assert_refused(403);
    asker.delete(&id).assert_refused(403);

    assert_eq!(holder.delete(&id).status, 204);
    let (_, took) = until("the record is gone", || {
        let reply = asker.search(&subject);
        reply.assert_complete();
        reply.ids().is_empty().then_some(())
    });
    println!("deleted at node 1, gone from node 5 after {took:.1?}");
    holder.read(&id).assert_refused(410);
    asker.read(&id).assert_refused(410);
    holder.put(&id, &record(ods, &subject, URL), None).assert_refused(410);
    asker.read(&format!("{ods}-never-made")).assert_refused(404);
}

fn a_killed_node_is_named_and_has_lost_nothing_when_it_is_back(federation: &mut Federation) {
    let (ods, name) = (federation.node(0).ods.clone(), federation.node(0).name.clone());
    let subject = patient(2);
    let ids = [create(federation, 0, 2), create(federation, 1, 2)];
    let both: BTreeSet<_> = ids.iter().cloned().collect();
    until("both records are found", || {
        let reply = federation.client(4).search(&subject);
        reply.assert_complete();
        (reply.ids() == both).then_some(())
    });
    let acknowledged: Vec<_> = (100..150)
        .map(|n| {
            let made = federation.client(0).create(&record(&ods, &patient(n), URL));
            assert_eq!(made.status, 201, "{}", made.body);
            (made.body["id"].as_str().expect("an id").to_owned(), made.etag)
        })
        .collect();
    let pointers = federation.client(0).status().expect("it runs").serves[0].pointers;
    federation.kill(0);

    let asker = federation.client(4);
    let reply = asker.search(&subject);
    let cause = reply.assert_partial("unreachable", &ods, &name);
    assert_eq!(cause["code"], "transient");
    println!("node 1 killed: partial after {:.1?}: {}", reply.took, cause["diagnostics"]);
    assert_eq!(reply.ids(), one(&ids[1]), "what the others hold is still found");
    let refused = asker.read(&ids[0]);
    let reason = refused.assert_refused(503);
    assert!(reason.contains(&ods) && reason.contains(&name), "{reason}");
    assert!(!refused.retry_after.is_empty());
    assert_eq!(asker.read(&ids[1]).status, 200);

    federation.start(0);
    let ready = federation.await_ready(0);
    let (_, took) = until("the look-up is complete again", || {
        let reply = federation.client(4).search(&subject);
        (reply.completeness == "complete").then(|| assert_eq!(reply.ids(), both))
    });
    println!("node 1 started again: ready after {ready:.1?}, complete {took:.1?} later");
    for (id, etag) in &acknowledged {
        let read = federation.client(0).read(id);
        assert_eq!((read.status, &read.etag), (200, etag), "{}", read.body);
    }
    for (n, (id, _)) in (100..).zip(&acknowledged) {
        let (reply, _) = until("the record is found again", || {
            let reply = federation.client(4).search(&patient(n));
            (!reply.ids().is_empty()).then_some(reply)
        });
        reply.assert_complete();
        assert_eq!(reply.ids(), one(id));
    }
    assert_eq!(federation.client(0).status().expect("it runs").serves[0].pointers, pointers);
    println!("{} acknowledged before the kill, 0 lost", acknowledged.len());
}

fn two_of_five_evaluators_may_die_and_three_may_not(federation: &mut Federation) {
    federation.await_fresh();
    let held = create(federation, 2, 200);
    let of_the_dead = create(federation, 0, 201);
    let cached = create(federation, 3, 202);
    let cached_of_2 = create(federation, 2, 203);
    for (from, n) in [(0, 210), (2, 211), (3, 212)] {
        news_spread(federation, from, 4, n);
    }
    assert_eq!(federation.client(4).search(&patient(202)).ids(), one(&cached));
    assert_eq!(federation.client(4).search(&patient(203)).ids(), one(&cached_of_2));
    let label = |n: usize| (federation.node(n).ods.clone(), federation.node(n).name.clone());
    let (first, third) = (label(0), label(2));

    federation.kill(0);
    federation.kill(1);
    let asker = federation.client(4);
    // No digest says that the dead hold anything of this patient, and none is stale yet.
    let reply = asker.search(&patient(200));
    reply.assert_complete();
    assert_eq!(reply.ids(), one(&held));
    println!("two of five evaluators dead: a new patient is located in {:.1?}", reply.took);
    let reply = asker.search(&patient(201));
    reply.assert_partial("unreachable", &first.0, &first.1);
    assert!(reply.ids().is_empty());
    create(federation, 4, 204);

    federation.kill(2);
    let asker = federation.client(4);
    let reply = asker.search(&patient(205));
    let reason = reply.assert_refused(503);
    assert!(reason.contains("evaluator"), "{reason}");
    assert!(!reply.retry_after.is_empty());
    println!("three dead: refused after {:.1?}: {reason}", reply.took);
    let reply = asker.create(&record(&federation.node(4).ods, &patient(206), URL));
    assert!(reply.assert_refused(503).contains("evaluator"), "{}", reply.body);
    let reply = asker.search(&patient(202));
    reply.assert_complete();
    assert_eq!(reply.ids(), one(&cached));
    let reply = asker.search(&patient(203));
    reply.assert_partial("unreachable", &third.0, &third.1);
    assert!(reply.ids().is_empty());

    (0..3).for_each(|n| federation.start(n));
    federation.await_fresh();
    let asker = federation.client(4);
    for (n, id) in [(201, &of_the_dead), (203, &cached_of_2)] {
        let reply = asker.search(&patient(n));
        reply.assert_complete();
        assert_eq!(reply.ids(), one(id));
    }
    let reply = asker.search(&patient(205));
    reply.assert_complete();
    assert!(reply.ids().is_empty());
}

#[test]
fn a_digest_that_is_missing_or_expired_makes_every_result_partial() {
    let parameters =
        Parameters { head_interval: 1_000, head_age_max: 8_000, ..Parameters::STANDARD };
    let mut federation = Federation::found(PROGRAM, 3, parameters, "info");
    federation.start(0);
    federation.start(1);
    federation.await_fresh();
    let (ods, name) = (federation.node(2).ods.clone(), federation.node(2).name.clone());

    // Its node has never run.
    let held = create(&federation, 1, 1);
    let (reply, _) = until("the record is found", || {
        let reply = federation.client(0).search(&patient(1));
        reply.assert_partial("digest-missing", &ods, &name);
        (!reply.ids().is_empty()).then_some(reply)
    });
    assert_eq!(reply.ids(), one(&held));
    for n in [0, 1] {
        federation.client(n).search(&patient(2)).assert_partial("digest-missing", &ods, &name);
    }
    federation.client(0).read(&format!("{ods}-1")).assert_refused(503);

    federation.start(2);
    federation.await_fresh();
    let of_2 = create(&federation, 2, 3);
    for (n, id) in [(1, &held), (3, &of_2)] {
        until("the result is complete", || {
            let reply = federation.client(0).search(&patient(n));
            (reply.completeness == "complete" && reply.ids() == one(id)).then_some(())
        });
    }

    federation.kill(2);
    let stale = |n: usize, patient_of: u32| {
        let client: &Client = federation.client(n);
        until("the digest is stale", || {
            let reply = client.search(&patient(patient_of));
            reply.cause("digest-stale", &ods).is_some().then_some(reply)
        })
    };
    let (reply, took) = stale(0, 1);
    let cause = reply.assert_partial("digest-stale", &ods, &name);
    println!("the digest is called stale {took:.1?} after the kill: {}", cause["diagnostics"]);
    assert_eq!(reply.ids(), one(&held));
    let since = cause["extension"][0]["valueInstant"].as_str().expect("since when");
    let peers = federation.client(0).status().expect("it runs").peers;
    let peer = peers.iter().find(|peer| peer.ods == ods).expect("a member");
    assert_eq!(peer.digest, "stale");
    let issued = peer.digest_issued.as_deref().expect("there was a digest");
    // To the second: one is written with milliseconds in any case.
    assert_eq!(since[..19], issued[..19]);
    // Whoever asks, and whomever about: also somebody nobody knows, and a patient of that node.
    stale(1, 1).0.assert_partial("digest-stale", &ods, &name);
    stale(0, 2).0.assert_partial("digest-stale", &ods, &name);
    let (reply, _) = stale(1, 3);
    reply.assert_partial("digest-stale", &ods, &name);
    reply.assert_partial("unreachable", &ods, &name);

    federation.start(2);
    until("the result is complete again", || {
        let reply = federation.client(0).search(&patient(3));
        (reply.completeness == "complete").then(|| assert_eq!(reply.ids(), one(&of_2)))
    });
}
