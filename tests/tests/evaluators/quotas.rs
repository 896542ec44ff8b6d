//! What one organization may have evaluated in a day is bounded, at each evaluator, and stays so after a kill.

use signpost_protocol::roster::{Parameters, Quotas};
use signpost_tests::{
    client::{patient, record},
    processes::Federation,
};

use super::run;

const NODES: usize = 7;
/// No evaluator.
const ASKER: usize = 6;
const OTHER: usize = 5;
const EVALUATORS: usize = 5;
const QUOTAS: Quotas =
    Quotas { lookups: 10, lookups_permille: 0, publishes: 8, publishes_permille: 0 };
/// All five together evaluate twice ten each, and it takes three for a look-up.
const LOOK_UPS_MAX: usize = EVALUATORS * 20 / 3;
/// The same of publishing, without going beyond.
const PUBLISHED_MAX: usize = EVALUATORS * 8 / 3;

/// Looks strangers up until the quota is used up; how many were, and what the refusal says.
fn use_up(federation: &Federation, first: u32) -> (usize, String) {
    for n in 0..2 * LOOK_UPS_MAX {
        let reply = federation.client(ASKER).search(&patient(first + n as u32));
        match reply.status {
            200 => assert_eq!(reply.completeness, "complete"),
            429 => return (n, reply.body.to_string()),
            status => panic!("{status}: {}", reply.body),
        }
    }
    panic!("the quota does not end");
}

#[test]
fn quotas_bound_what_an_organization_may_try_in_a_day() {
    let parameters = Parameters { quotas: Some(QUOTAS), ..Parameters::STANDARD };
    let mut federation = Federation::found(super::PROGRAM, NODES, parameters, "info");
    (0..NODES).for_each(|n| federation.start(n));
    federation.await_fresh();

    let (count, text) = use_up(&federation, 1_000);
    println!("{count} look-ups, then: {text}");
    assert!((10..=LOOK_UPS_MAX).contains(&count), "{count}");
    assert!(text.contains("over-quota") && text.contains("midnight UTC"), "{text}");
    let again = federation.client(ASKER).search(&patient(1_000));
    assert_eq!((again.status, again.completeness.as_str()), (200, "complete"), "it is known");
    let other = federation.client(OTHER).search(&patient(2_000));
    assert_eq!(other.status, 200, "others have their own quota: {}", other.body);

    let ods = federation.node(ASKER).ods.clone();
    let publish = |federation: &Federation, n| {
        let record = record(&ods, &patient(n), "https://records.example/1");
        federation.client(ASKER).create(&record)
    };
    let mut published = 0;
    let refused = loop {
        let reply = publish(&federation, 3_000 + published as u32);
        if reply.status != 201 {
            break reply;
        }
        published += 1;
    };
    println!("{published} published");
    assert!((8..=PUBLISHED_MAX).contains(&published), "{published}");
    assert_eq!(refused.status, 429, "{}", refused.body);

    // What was counted is on disk.
    (0..EVALUATORS).for_each(|n| federation.kill(n));
    (0..EVALUATORS).for_each(|n| federation.start(n));
    (0..EVALUATORS).for_each(|n| {
        federation.await_ready(n);
    });
    federation.await_fresh();
    let (count, _) = use_up(&federation, 4_000);
    assert_eq!(count, 0, "after a kill it has no more than before");

    let usage = run(&federation, 0, "usage");
    let today = usage["days"][0]["organizations"].as_array().expect("a list").clone();
    let of_asker = today.iter().find(|one| one["ods"] == *ods).expect("it has used some");
    assert_eq!((&of_asker["lookups_quota"], &of_asker["publishes_quota"]), (&10.into(), &8.into()));
    assert!(of_asker["lookups"].as_u64() > Some(10), "{of_asker}");
    let status = federation.client(0).status().expect("it runs");
    let noticed = status.notices.iter().any(|notice| notice.contains("more than its quota"));
    assert!(noticed, "{:?}", status.notices);
}
