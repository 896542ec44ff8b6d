//! The key is made, refreshed and handed to other evaluators while twenty look-ups a second go on.

use signpost_protocol::roster::Parameters;
use signpost_tests::{
    client::{Client, patient, record},
    processes::{Federation, until},
};

use super::{
    codes,
    load::{Truth, during},
    play, run, typed,
};

const NODES: usize = 7;
/// Patients that have a record at each of the holders.
const PATIENTS: u32 = 40;
const HOLDERS: [usize; 2] = [1, 6];

fn network() -> Federation {
    let parameters = Parameters::STANDARD;
    let mut federation = Federation::found_without_key(super::PROGRAM, NODES, parameters, "info");
    (0..NODES).for_each(|n| federation.start(n));
    federation.await_fresh();
    federation
}

fn fill(federation: &Federation) -> Truth {
    let mut ids = Vec::new();
    for n in 0..PATIENTS {
        let made = HOLDERS.map(|at| {
            let ods = &federation.node(at).ods;
            federation.client(at).created(&record(ods, &patient(n), "https://records.example/1"))
        });
        ids.push(made.into());
    }
    for at in 0..NODES {
        until("the last record is found everywhere", || {
            let reply = federation.client(at).search(&patient(PATIENTS - 1));
            (reply.ids() == *ids.last().expect("some")).then_some(())
        });
    }
    Truth { patients: PATIENTS, ids }
}

#[test]
fn shares_change_while_look_ups_go_on() {
    let mut federation = network();
    let refused = federation.client(0).search(&patient(1));
    assert_eq!(refused.status, 503, "{}", refused.body);
    let text = refused.body.to_string();
    assert!(text.contains("no blinding key yet") && text.contains("no-key"), "{text}");

    let first = codes(&federation, &[0, 1, 2, 3, 4]);
    let start = format!("ceremony start --evaluators {first} --threshold 3 --yes");
    play(&federation, &start, &[0, 1, 2, 3, 4], 1);
    let truth = fill(&federation);
    let clients: Vec<Client> = (0..NODES).map(|n| federation.client(n).clone()).collect();

    let (_, counts) = during(&clients, &truth, 200, || {
        let call = "refresh --yes";
        play(&federation, call, &[0, 1, 2, 3, 4], 2);
        let away = codes(&federation, &[4]);
        play(&federation, &format!("refresh --without {away} --yes"), &[4, 0, 1, 2, 3], 3);
        let others = codes(&federation, &[6, 5, 0, 1, 2, 3, 4]);
        let call = format!("reshare --evaluators {others} --threshold 4 --yes");
        play(&federation, &call, &[0, 1, 2, 3, 4, 5, 6], 4);
        let fewer = codes(&federation, &[5, 6, 0]);
        let call = format!("reshare --evaluators {fewer} --threshold 2 --yes");
        play(&federation, &call, &[0, 1, 2, 3, 4, 5, 6], 5);
    });
    assert!(counts.wrong.is_empty(), "{:#?}", counts.wrong);
    assert!(counts.right > 100, "{counts:?}");
    assert_eq!((counts.partial, counts.unavailable), (0, 0), "{counts:?}");

    // A new evaluator evaluates after it was killed: its share is on its disk.
    federation.kill(5);
    federation.kill(0);
    federation.start(5);
    federation.await_ready(5);
    until("two of three are enough", || {
        let reply = federation.client(3).search(&patient(5_000));
        (reply.status == 200).then_some(())
    });
    federation.kill(6);
    // For ten seconds after the change the old evaluators were asked, who still answer.
    let mut fresh = 5_001..;
    let (refused, _) = until("one is not", || {
        let reply = federation.client(3).search(&patient(fresh.next().expect("many")));
        (reply.status == 503).then_some(reply)
    });
    assert!(refused.body.to_string().contains("too-few-evaluators"), "{}", refused.body);
}

#[test]
fn an_evaluator_that_is_killed_in_a_ceremony_goes_on_and_wrong_commands_are_refused() {
    let mut federation = network();
    let three = codes(&federation, &[0, 1, 2]);
    let refused = |federation: &Federation, at, words: &str, why: &str| {
        let output = typed(federation, at, words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{words}: {said}");
        assert!(said.contains(why) && said.contains("hint"), "{words}: {said}");
    };
    refused(&federation, 0, "refresh --yes", "no key yet");
    refused(&federation, 0, "ceremony join --yes", "no such ceremony");
    refused(&federation, 0, "ceremony confirm --yes", "no such ceremony");
    let one = codes(&federation, &[0]);
    refused(
        &federation,
        0,
        &format!("ceremony start --evaluators {one} --threshold 1"),
        "whole key",
    );
    refused(
        &federation,
        0,
        &format!("ceremony start --evaluators {three} --threshold 4"),
        "not possible",
    );
    refused(
        &federation,
        6,
        &format!("ceremony start --evaluators {three} --threshold 2"),
        "no steward",
    );

    let call = format!("ceremony start --evaluators {three} --threshold 2 --yes");
    let rehearsed = run(&federation, 0, &format!("{call} --dry-run"));
    assert_eq!(rehearsed["signed"], false);
    assert!(run(&federation, 0, "ceremony status")["ceremonies"].as_array().unwrap().is_empty());
    let id = run(&federation, 0, &call)["ceremony"].as_str().unwrap().to_owned();
    run(&federation, 0, &format!("ceremony join {id} --yes"));
    federation.kill(0);
    federation.start(0);
    federation.await_ready(0);
    run(&federation, 1, &format!("ceremony join {id} --yes"));
    federation.kill(1);
    refused(&federation, 6, &format!("ceremony join {id} --yes"), "no part in");
    refused(&federation, 2, &format!("ceremony confirm {id} --yes"), "not complete");
    run(&federation, 2, &format!("ceremony join {id} --yes"));
    federation.start(1);
    federation.await_ready(1);
    federation.kill(2);
    federation.start(2);
    federation.await_ready(2);
    until("all have confirmed", || {
        let status = run(&federation, 4, &format!("ceremony status {id}"));
        (status["ceremonies"][0]["stage"] == "confirmed").then_some(())
    });
    for at in [2, 0, 1] {
        run(&federation, at, &format!("ceremony confirm {id} --yes"));
    }
    until("it is in force", || {
        let reply = federation.client(5).search(&patient(1));
        (reply.status == 200).then_some(())
    });
    refused(&federation, 0, &call, "has a key already");
}
