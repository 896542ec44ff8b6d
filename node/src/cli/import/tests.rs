use std::{
    collections::{HashMap, VecDeque},
    sync::Mutex,
};

use serde_json::json;

use super::{
    node::{Fault, Node, outcomes},
    pipeline::{PAUSE_MAX, PAUSE_MIN, PAUSES_MAX, REQUESTS_IN_FLIGHT_MAX},
    report::{refused_json, refused_text, repeated_text},
    *,
};
use crate::{
    cli::{
        client::{ClientError, tests::serve},
        input::{LINE_BYTES_MAX, Place},
    },
    core::local::Effect,
};

fn fault(diagnostics: &str, retry: bool) -> Fault {
    Fault { code: "x".to_owned(), diagnostics: diagnostics.to_owned(), retry }
}

fn busy() -> ClientError {
    ClientError::Refused { status: 503, reason: "busy".to_owned() }
}

fn broken() -> ClientError {
    ClientError::Garbled("gone".to_owned())
}

fn done(effect: Effect, line: &str) -> Outcome {
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    Outcome::Done { effect, id: value["id"].as_str().unwrap_or("RX1-content").to_owned() }
}

type Reply = fn(&[&str]) -> Result<Vec<Outcome>, ClientError>;

fn created(lines: &[&str]) -> Result<Vec<Outcome>, ClientError> {
    Ok(lines.iter().map(|line| done(Effect::Created, line)).collect())
}

/// Follows a script, by the first id of the request; without one, everything is created.
#[derive(Default)]
struct ScriptedNode {
    script: Mutex<VecDeque<Reply>>,
    requests: Mutex<Vec<usize>>,
    /// Ids that are being written now, and how many requests were at most.
    writing: Mutex<(HashMap<String, usize>, usize, usize)>,
}

impl Node for ScriptedNode {
    fn put(&self, lines: &[&str], _: bool) -> Result<Vec<Outcome>, ClientError> {
        let ids: Vec<_> = lines
            .iter()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].to_string())
            .collect();
        {
            let (writing, requests, most) = &mut *self.writing.lock().unwrap();
            *requests += 1;
            *most = (*most).max(*requests);
            for id in &ids {
                let twice = writing.insert(id.clone(), 1);
                assert!(id == "null" || twice.is_none(), "{id} is under way twice");
            }
        }
        // Give the other requests a chance to be under way, too.
        std::thread::sleep(Duration::from_millis(2));
        self.requests.lock().unwrap().push(lines.len());
        let reply = self.script.lock().unwrap().pop_front().unwrap_or(created)(lines);
        let (writing, requests, _) = &mut *self.writing.lock().unwrap();
        *requests -= 1;
        writing.retain(|id, _| !ids.contains(id));
        reply
    }

    fn remove(&self, _: &[&str]) -> Result<Vec<Outcome>, ClientError> {
        panic!("nothing is to be deleted")
    }

    fn ids(&self, _: Option<&str>) -> Result<(Vec<String>, Option<String>), ClientError> {
        panic!("nothing is to be listed")
    }
}

struct Run {
    tally: Tally,
    outcome: Result<(), Interruption>,
    unknown: usize,
    /// The places in the order in which they were told.
    places: Vec<String>,
    refused: Vec<String>,
    paused: Duration,
    requests: Vec<usize>,
    most: usize,
}

fn run(text: &str, script: Vec<Reply>) -> Run {
    let node = ScriptedNode { script: Mutex::new(script.into()), ..ScriptedNode::default() };
    let (mut tally, mut places, mut refused) = (Tally::default(), Vec::new(), Vec::new());
    let mut sink = |settled: Settled| {
        places.push(settled.place.to_string());
        match settled.outcome {
            Outcome::Done { effect, .. } => tally.count(effect),
            Outcome::Refused(fault) => {
                tally.refused += 1;
                refused.push(refused_text(&settled.place, &fault));
            }
        }
    };
    let paused = Mutex::new(Duration::ZERO);
    let pause = |pause: Duration| {
        *paused.lock().unwrap() += pause;
        true
    };
    let sending = Sending { node: &node, pause: &pause, dry_run: false };
    let options = Options::default();
    let (outcome, unknown) = std::thread::scope(|scope| {
        let mut pipeline = Pipeline::new(scope, sending, &mut sink);
        let mut items = Items::new("f", text.as_bytes(), &options);
        let outcome = items.try_for_each(|item| pipeline.push(item));
        pipeline.finish(outcome)
    });
    let requests = std::mem::take(&mut *node.requests.lock().unwrap());
    let most = node.writing.lock().unwrap().2;
    let paused = *paused.lock().unwrap();
    Run { tally, outcome, unknown, places, refused, paused, requests, most }
}

fn lines(count: usize) -> String {
    (0..count)
        .map(|n| format!("{{\"resourceType\":\"DocumentReference\",\"id\":\"RX1-{n}\"}}\n"))
        .collect()
}

#[test]
fn every_line_is_sent_once_in_bounded_requests() {
    let run = run(&lines(250), Vec::new());
    assert!(run.outcome.is_ok());
    assert_eq!(run.requests.iter().sum::<usize>(), 250);
    assert_eq!(run.requests.len(), 3);
    assert_eq!(run.tally, Tally { created: 250, ..Tally::default() });
}

#[test]
fn several_requests_are_under_way_and_the_report_keeps_the_order() {
    let run = run(&lines(2000), Vec::new());
    assert!((2..=REQUESTS_IN_FLIGHT_MAX).contains(&run.most), "{} at once", run.most);
    let expected: Vec<_> = (1..=2000).map(|line| format!("f:{line}")).collect();
    assert_eq!(run.places, expected);
}

#[test]
fn two_lines_of_one_id_are_never_under_way_at_once() {
    // The scripted node panics when they are.
    let line =
        |n: usize| format!("{{\"resourceType\":\"DocumentReference\",\"id\":\"RX1-{n}\"}}\n");
    let text: String = (0..600).map(|n| line(n % 70)).collect();
    let run = run(&text, Vec::new());
    assert!(run.outcome.is_ok());
    assert_eq!(run.tally.created, 600);
}

#[test]
fn long_lines_make_shorter_requests() {
    let filler = "x".repeat(LINE_BYTES_MAX - 100);
    let text: String = (0..10)
        .map(|_| format!("{{\"resourceType\":\"DocumentReference\",\"x\":\"{filler}\"}}\n"))
        .collect();
    let run = run(&text, Vec::new());
    assert_eq!(run.requests.iter().sum::<usize>(), 10);
    assert!(run.requests.iter().all(|lines| lines * LINE_BYTES_MAX <= 4 << 20));
}

#[test]
fn bad_lines_are_named_and_good_ones_kept() {
    let text = format!("{}oops\n{}", lines(2), lines(3).lines().last().unwrap());
    let refuse_second: Reply = |lines| {
        assert_eq!(lines.len(), 3);
        Ok(vec![
            done(Effect::Updated, lines[0]),
            Outcome::Refused(fault("wrong custodian", false)),
            done(Effect::Unchanged, lines[2]),
        ])
    };
    let run = run(&text, vec![refuse_second]);
    assert_eq!(run.refused, ["f:2: wrong custodian", "f:3: not JSON: a resource begins with '{'"]);
    assert_eq!(run.tally, Tally { updated: 1, unchanged: 1, refused: 2, ..Tally::default() });
}

#[test]
fn what_the_node_was_too_busy_for_is_sent_again() {
    let script: Vec<Reply> = vec![
        |_| Err(busy()),
        |lines| {
            let mut outcomes = created(lines)?;
            outcomes[1] = Outcome::Refused(fault("evaluators", true));
            Ok(outcomes)
        },
        |lines| {
            assert!(lines[0].contains("RX1-1"), "{lines:?}");
            created(lines)
        },
    ];
    let run = run(&lines(3), script);
    assert!(run.outcome.is_ok() && run.refused.is_empty());
    assert_eq!((run.requests, run.tally.created), (vec![3, 3, 1], 3));
    assert_eq!(run.paused, PAUSE_MIN * 3);
}

#[test]
fn a_node_that_stays_busy_ends_the_import_after_a_bounded_time() {
    let run = run(&lines(50), vec![|_| Err(busy()); 1000]);
    assert!(matches!(run.outcome, Err(Interruption::Busy(_))));
    assert_eq!((run.tally.acknowledged(), run.unknown), (0, 0));
    assert!((PAUSES_MAX..PAUSES_MAX + PAUSE_MAX).contains(&run.paused), "{:?}", run.paused);
}

#[test]
fn a_broken_connection_ends_the_import_and_tells_what_is_safe() {
    // Which of the first three requests meets the fault is left to chance; one does.
    let run = run(&lines(1000), vec![created, |_| Err(broken())]);
    let Err(why) = run.outcome else { panic!("the import went on") };
    assert!(matches!(why, Interruption::Client(_)));
    assert_eq!(run.unknown, 100);
    let said = run.tally.interrupted(&why, run.unknown);
    let kept = format!("after {} pointers were acknowledged", run.tally.created);
    assert!(said.message.contains(&kept), "{said:?}");
    assert!(said.message.contains("100 lines sent last") && said.hint.contains("safe"), "{said:?}");
    assert!(run.tally.created < 1000);
}

#[test]
fn a_full_disk_ends_the_import_at_once_and_says_what_is_kept() {
    let full: Reply = |lines| {
        let mut outcomes = created(lines)?;
        outcomes[1] = Outcome::Refused(Fault {
            code: "no-store".to_owned(),
            diagnostics: "the disk is full".to_owned(),
            retry: true,
        });
        Ok(outcomes)
    };
    let run = run(&lines(3), vec![full]);
    let Err(why) = run.outcome else { panic!("the import went on") };
    assert!(matches!(why, Interruption::Storage(_)) && run.paused.is_zero());
    assert_eq!((run.tally.created, run.unknown), (2, 1));
    let said = run.tally.interrupted(&why, run.unknown);
    assert!(why.to_string().contains("the disk is full"));
    assert!(said.hint.contains("free space on the node's disk"), "{said:?}");
}

#[test]
fn replies_must_fit_the_request() {
    let reply = |text: &str, lines| outcomes(serde_json::from_str(text).unwrap(), lines);
    let good = r#"{"results":[{"id":"RX1-1","version":1,"effect":"created"},
        {"error":{"code":"value","diagnostics":"bad","retry":true}}]}"#;
    let refused = Fault { code: "value".to_owned(), ..fault("bad", true) };
    let created = Outcome::Done { effect: Effect::Created, id: "RX1-1".to_owned() };
    let expected = [created, Outcome::Refused(refused)];
    assert_eq!(reply(good, 2).unwrap(), expected);
    assert!(reply(good, 1).is_err());
    assert!(reply(r#"{"results":[{}]}"#, 1).is_err());
}

#[test]
fn the_report_can_be_read_by_programs() {
    let place = Place { file: "f".to_owned(), line: Some(3), entry: None };
    let value = refused_json(&place, &fault("bad\u{1b}", false));
    assert_eq!((&value["line"], &value["error"]), (&json!(3), &json!("bad\u{1b}")));
    assert_eq!(refused_text(&place, &fault("bad\u{1b}", false)), "f:3: bad\u{fffd}");
    let tally = Tally { created: 1, refused: 2, ..Tally::default() };
    assert_eq!(tally.text(false), "1 created, 0 updated, 0 unchanged, 2 refused");
    let tally = Tally { deleted: 3, skipped: 4, ..tally };
    let said = "1 created, 0 updated, 0 unchanged, 3 deleted (tombstoned), 2 refused; 4 entries that \
                are no pointers were skipped";
    assert_eq!(tally.text(true), said);
    assert_eq!((&tally.json()["refused"], &tally.json()["deleted"]), (&json!(2), &json!(3)));
    let before = Place { line: Some(1), ..place.clone() };
    let said = "f:3: warning: the same id as f:1; the later one counts";
    assert_eq!(repeated_text(&place, &before), said);
}

fn import(dir: &Path, files: Vec<PathBuf>) -> anyhow::Result<ExitCode> {
    let args = Args {
        files,
        source: Source::default(),
        replace: false,
        dry_run: false,
        allow_mass_delete: false,
        custodian: None,
        document_url: None,
        map: None,
        ignore_unknown_columns: false,
        behalf: Behalf::default(),
    };
    super::run(dir, &args, true, &Interrupt::default())
}

#[test]
fn the_exit_code_tells_how_the_import_went() {
    let created = r#"{"id":"RX1-0","version":1,"effect":"created"}"#;
    let refused = r#"{"error":{"code":"value","diagnostics":"bad","retry":false}}"#;
    for (status, results, expected) in [
        ("200 OK", format!("{created},{created}"), Ok(ExitCode::SUCCESS)),
        ("200 OK", format!("{created},{refused}"), Ok(ExitCode::from(PARTLY))),
        ("500 Internal Server Error", String::new(), Err("500")),
    ] {
        let (dir, server) = serve(status, &format!("{{\"results\":[{results}]}}"));
        let file = dir.path().join("two.ndjson");
        std::fs::write(&file, lines(2)).unwrap();
        match (import(dir.path(), vec![file]), expected) {
            (Ok(code), Ok(expected)) => assert_eq!(code, expected),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (outcome, expected) => panic!("{outcome:?} instead of {expected:?}"),
        }
        let request = server.join().unwrap();
        let path = "POST /signpost/v1/import?source=default&dry_run=false ";
        assert!(request.starts_with(path), "{request}");
        assert!(request.ends_with(&lines(2)), "{request}");
    }
}

#[test]
fn a_misspelt_file_is_noticed_before_anything_is_sent() {
    let (dir, _server) = serve("200 OK", "");
    let good = dir.path().join("good.ndjson");
    std::fs::write(&good, lines(1)).unwrap();
    let files = vec![good, dir.path().join("misspelt")];
    let error = import(dir.path(), files).unwrap_err().to_string();
    assert!(error.contains("misspelt"), "{error}");
}

#[test]
fn a_node_that_is_not_there_is_told_with_the_way_to_start_it() {
    let (url, dir) = ("http://127.0.0.1:1".to_owned(), PathBuf::from("d"));
    let error = Interruption::from(ClientError::NotRunning { url, dir });
    let hint = error::hint(&anyhow::Error::from(error)).unwrap();
    assert!(hint.contains("signpost run --dir d"), "{hint}");
}
