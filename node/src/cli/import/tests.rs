use std::collections::VecDeque;

use super::*;
use crate::cli::client::tests::serve;

fn fault(diagnostics: &str, retry: bool) -> Fault {
    Fault { code: "x".to_owned(), diagnostics: diagnostics.to_owned(), retry }
}

fn busy() -> ClientError {
    ClientError::Refused { status: 503, reason: "busy".to_owned() }
}

fn broken() -> ClientError {
    ClientError::Garbled("gone".to_owned())
}

type Reply = fn(&[&str]) -> Result<Vec<Outcome>, ClientError>;

fn created(lines: &[&str]) -> Result<Vec<Outcome>, ClientError> {
    Ok(vec![Outcome::Done(Effect::Created); lines.len()])
}

/// Follows a script; at its end, everything is created.
struct ScriptedNode {
    script: VecDeque<Reply>,
    requests: Vec<usize>,
}

impl Node for ScriptedNode {
    fn import(&mut self, lines: &[&str]) -> Result<Vec<Outcome>, ClientError> {
        self.requests.push(lines.len());
        self.script.pop_front().unwrap_or(created)(lines)
    }
}

struct Run {
    tally: Tally,
    outcome: Result<(), Interruption>,
    refused: Vec<String>,
    paused: Duration,
    requests: Vec<usize>,
}

fn run(text: &str, script: Vec<Reply>) -> Run {
    let mut node = ScriptedNode { script: script.into(), requests: Vec::new() };
    let (mut refused, mut paused) = (Vec::new(), Duration::ZERO);
    let mut refuse = |place: &Place, fault: &Fault| refused.push(refused_text(place, fault));
    let mut pause = |pause| paused += pause;
    let mut importer = Importer::new(&mut node, &mut refuse, &mut pause);
    let outcome = importer.items(Items::new("f", text.as_bytes()));
    let outcome = outcome.and_then(|()| importer.flush());
    let tally = importer.tally;
    Run { tally, outcome, refused, paused, requests: node.requests }
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
    assert_eq!(run.requests, [100, 100, 50]);
    assert_eq!(run.tally, Tally { created: 250, ..Tally::default() });
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
    let text = format!("{}oops\n{}", lines(2), lines(1));
    let refuse_second: Reply = |lines| {
        assert_eq!(lines.len(), 3);
        Ok(vec![
            Outcome::Done(Effect::Updated),
            Outcome::Refused(fault("wrong custodian", false)),
            Outcome::Done(Effect::Unchanged),
        ])
    };
    let run = run(&text, vec![refuse_second]);
    assert_eq!(run.refused, ["f:3: not JSON: a resource begins with '{'", "f:2: wrong custodian"]);
    assert_eq!(run.tally, Tally { updated: 1, unchanged: 1, refused: 2, created: 0 });
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
    let mut script: Vec<Reply> = vec![|_| Err(busy()); 1000];
    script[0] = created;
    let run = run(&lines(101), script);
    assert!(matches!(run.outcome, Err(Interruption::Busy(_))));
    assert_eq!(run.tally.acknowledged(), 100);
    assert!((PAUSES_MAX..PAUSES_MAX + PAUSE_MAX).contains(&run.paused), "{:?}", run.paused);
}

#[test]
fn a_broken_connection_ends_the_import_and_tells_what_is_safe() {
    let run = run(&lines(300), vec![created, |_| Err(broken())]);
    assert!(matches!(run.outcome, Err(Interruption::Client(_))));
    assert_eq!(run.requests, [100, 100]);
    let said = run.tally.interrupted();
    assert!(said.message.contains("100 pointers") && said.hint.contains("safe"), "{said:?}");
}

#[test]
fn replies_must_fit_the_request() {
    let reply = |text: &str, lines| outcomes(&serde_json::from_str(text).unwrap(), lines);
    let good = r#"{"results":[{"id":"RX1-1","version":1,"effect":"created"},
        {"error":{"code":"value","diagnostics":"bad","retry":true}}]}"#;
    let refused = Fault { code: "value".to_owned(), ..fault("bad", true) };
    let expected = [Outcome::Done(Effect::Created), Outcome::Refused(refused)];
    assert_eq!(reply(good, 2).unwrap(), expected);
    assert!(reply(good, 1).is_err());
    assert!(reply(r#"{"results":[{}]}"#, 1).is_err());
}

#[test]
fn the_report_can_be_read_by_programs() {
    let place = Place { file: "f".to_owned(), line: Some(3), entry: None };
    let text = refused_json(&place, &fault("bad\u{1b}", false));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&value["line"], &value["error"]), (&json!(3), &json!("bad\u{1b}")));
    assert_eq!(refused_text(&place, &fault("bad\u{1b}", false)), "f:3: bad\u{fffd}");
    let tally = Tally { created: 1, refused: 2, ..Tally::default() };
    assert_eq!(tally.text(), "1 created, 0 updated, 0 unchanged, 2 refused");
    let value: serde_json::Value = serde_json::from_str(&tally.json(true)).unwrap();
    assert_eq!((&value["refused"], &value["interrupted"]), (&json!(2), &json!(true)));
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
        match (command(dir.path(), &Args { files: vec![file] }, true), expected) {
            (Ok(code), Ok(expected)) => assert_eq!(code, expected),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (outcome, expected) => panic!("{outcome:?} instead of {expected:?}"),
        }
        let request = server.join().unwrap();
        assert!(request.starts_with("POST /signpost/v1/import "), "{request}");
        assert!(request.ends_with(&lines(2)), "{request}");
    }
}

#[test]
fn a_misspelt_file_is_noticed_before_anything_is_sent() {
    let (dir, _server) = serve("200 OK", "");
    let good = dir.path().join("good.ndjson");
    std::fs::write(&good, lines(1)).unwrap();
    let files = vec![good, dir.path().join("misspelt")];
    let error = command(dir.path(), &Args { files }, true).unwrap_err().to_string();
    assert!(error.contains("misspelt"), "{error}");
}

#[test]
fn a_node_that_is_not_there_is_told_with_the_way_to_start_it() {
    let (url, dir) = ("http://127.0.0.1:1".to_owned(), PathBuf::from("d"));
    let error = Interruption::from(ClientError::NotRunning { url, dir });
    let hint = error::hint(&anyhow::Error::from(error)).unwrap();
    assert!(hint.contains("signpost run --dir d"), "{hint}");
}
