//! Input that is wrong, or goes wrong on its way: what is kept is said, and true.

use std::{
    fs::OpenOptions,
    io::{BufRead as _, BufReader, Write as _},
    process::ChildStderr,
};

use signpost_tests::{
    client::{patient, record},
    processes::{signal, until},
};

use crate::{Alone, command, ended, extract, signpost_with};

/// Enough that an import is still reading when its first lines are stored.
const MANY: u32 = 6_000;

/// A line of NDJSON.
fn line(n: u32) -> String {
    let mut resource = record("RX1", &patient(n % 500), &format!("https://records.example/{n}"));
    resource["id"] = format!("RX1-{n}").into();
    resource.to_string() + "\n"
}

#[test]
fn what_is_wrong_with_the_input_is_said_and_the_rest_is_kept() {
    let mut node = Alone::new();
    encodings_and_line_ends(&node);
    a_truncated_file_keeps_what_came_before(&node);
    ctrl_c_finishes_what_is_under_way_and_the_next_run_resumes(&node);
    a_file_that_changes_while_it_is_read_is_noticed(&node);
    a_file_that_changes_between_check_and_import_deletes_nothing(&node);
    a_node_that_is_killed_keeps_what_it_acknowledged_and_the_next_run_resumes(&mut node);
}

fn encodings_and_line_ends(node: &Alone) {
    let text = extract(&patient(1), &[("e1", "a"), ("e2", "b")]);
    let mixed = format!("\u{feff}{}", text.replacen('\n', "\r\n", 2));
    node.run(&["import", &node.file("mixed.csv", mixed)]).expect(0).says("2 created");
    let utf16: Vec<u8> =
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    node.run(&["import", &node.file("utf16.csv", utf16)]).expect(1).says("UTF-16 text");
    let mut windows = text.replace("/b", "/É").into_bytes();
    let at = windows.iter().position(|byte| *byte == 0xc3).expect("it is there");
    windows.splice(at..at + 2, [0xc9]);
    let ran = node.run(&["import", &node.file("windows.csv", windows)]).expect(3);
    ran.says("windows.csv:3: not UTF-8 text, perhaps Windows-1252").says("1 unchanged");
    let mapping = node.file("wrong.toml", "[columns]\nnhs_nunber = \"NHS\"\n");
    let ran =
        node.run(&["import", "--map", &mapping, &node.path("mixed.csv").display().to_string()]);
    ran.expect(1).says("no field \"nhs_nunber\"");
}

fn a_truncated_file_keeps_what_came_before(node: &Alone) {
    let text: String = (0..1_000).map(line).collect();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(text.as_bytes()).expect("memory");
    let whole = gz.finish().expect("memory");
    let cut = node.file("cut.ndjson.gz", &whole[..whole.len() * 2 / 3]);
    let before = node.count();
    let ran = node.run(&["import", "--source", "T", &cut]).expect(3).says("was probably cut off");
    let created: u64 = ran.sum().split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
    assert!((1..1_000).contains(&created), "{}", ran.sum());
    assert_eq!(node.count() - before, created, "the sum is exact");
    // With --replace it deletes nothing.
    let few = node.file("few.ndjson", (0..3).map(line).collect::<String>() + &line(5_000));
    node.run(&["import", "--source", "T", &few]).expect(0);
    let ran = node.run(&["import", "--replace", "--source", "T", &cut]).expect(3);
    ran.says("Nothing was deleted").says("0 deleted");
    let whole = node.file("whole.ndjson.gz", whole);
    let ran = node.run(&["import", "--replace", "--source", "T", &whole]).expect(0);
    assert!(ran.sum().contains("1 deleted"), "{}", ran.sum());
    assert_eq!(node.count() - before, 1_000);
    let ran = node.run(&["import", "--replace", "--allow-mass-delete", "--source", "T", "-"]);
    ran.expect(0);
    assert_eq!(node.count(), before);
}

fn ctrl_c_finishes_what_is_under_way_and_the_next_run_resumes(node: &Alone) {
    let before = node.count();
    let mut child =
        command(node.dir(), &["import", "--source", "C", "-"]).spawn().expect("started");
    let mut stdin = child.stdin.take().expect("piped");
    for n in 0..450 {
        stdin.write_all(line(n + 10_000).as_bytes()).expect("it reads");
    }
    stdin.flush().expect("it reads");
    // Four requests are full; the rest waits for more input, which does not come.
    until("something is stored", || (node.count() > before).then_some(()));
    signal(child.id(), "INT");
    drop(stdin);
    let ran = ended(child).expect(130);
    let ran = ran
        .says("interrupted")
        .says("pointers were acknowledged")
        .says("run the same command again");
    let created: u64 = ran.sum().split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
    assert!((100..=450).contains(&created), "{}", ran.sum());
    assert_eq!(node.count() - before, created, "what is told is what is kept");
    let text: String = (0..450).map(|n| line(n + 10_000)).collect();
    let ran =
        signpost_with(node.dir(), &["import", "--source", "C", "-"], text.as_bytes()).expect(0);
    let rest = format!("{} created, 0 updated, {created} unchanged, 0 refused", 450 - created);
    assert_eq!(ran.sum(), rest);
}

fn a_file_that_changes_while_it_is_read_is_noticed(node: &Alone) {
    let before = node.count();
    let file = node.file("growing.ndjson", (0..MANY).map(|n| line(n + 20_000)).collect::<String>());
    let child = command(node.dir(), &["import", "--source", "G", &file]).spawn().expect("started");
    until("something is stored", || (node.count() > before).then_some(()));
    append(&file, &line(99_999));
    let ran = ended(child).expect(3);
    ran.says("growing.ndjson changed while it was read").says("Import it again");
    let ran = node.run(&["import", "--source", "G", &file]).expect(0);
    assert!(ran.sum().ends_with(" unchanged, 0 refused"), "{}", ran.sum());
    assert_eq!(node.count() - before, u64::from(MANY) + 1);
}

fn a_file_that_changes_between_check_and_import_deletes_nothing(node: &Alone) {
    let before = node.count();
    // What is held is that of the test before: one line less would delete one pointer.
    let file = node.file("growing.ndjson", (0..MANY).map(|n| line(n + 20_000)).collect::<String>());
    let arguments = ["import", "--replace", "--source", "G", &file];
    let mut child = command(node.dir(), &arguments).spawn().expect("started");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut summary = String::new();
    stdout.read_line(&mut summary).expect("a summary");
    assert!(summary.contains("1 deleted"), "{summary}");
    append(&file, &line(88_888));
    let stderr: ChildStderr = child.stderr.take().expect("piped");
    let said: Vec<_> = BufReader::new(stderr).lines().map(|line| line.expect("text")).collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(3), "{said:?}");
    let said = said.join("\n");
    assert!(
        said.contains("Nothing was deleted") && said.contains("changed after it was checked"),
        "{said}"
    );
    assert!(node.count() >= before, "nothing is gone");
    assert_eq!(node.client().read("RX1-99999").status, 200);
}

fn a_node_that_is_killed_keeps_what_it_acknowledged_and_the_next_run_resumes(node: &mut Alone) {
    let before = node.count();
    let lines = (0..MANY).map(|n| line(n + 30_000));
    let file = node.file("long.ndjson", lines.collect::<String>());
    let arguments = ["import", "--source", "K", &file];
    let child = command(node.dir(), &arguments).spawn().expect("started");
    // More than are under way at once, so that some are acknowledged.
    until("much is stored", || (node.count() > before + 1_000).then_some(()));
    node.federation.kill(0);
    let ran = ended(child).expect(3);
    let acknowledged: u64 =
        ran.sum().split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
    let said = format!("stopped after {acknowledged} pointers were acknowledged");
    ran.says(&said).says("run the same command again");
    assert!((1..u64::from(MANY)).contains(&acknowledged));
    node.run(&arguments).expect(1).says("is the node running?");

    node.federation.start(0);
    node.federation.await_ready(0);
    let kept = node.count() - before;
    assert!(kept >= acknowledged, "{kept} are there, and {acknowledged} were acknowledged");
    let ran = node.run(&arguments).expect(0);
    let rest = u64::from(MANY) - kept;
    assert_eq!(ran.sum(), format!("{rest} created, 0 updated, {kept} unchanged, 0 refused"));
    assert_eq!(node.count() - before, u64::from(MANY), "nothing is there twice");
}

fn append(file: &str, text: &str) {
    let mut file = OpenOptions::new().append(true).open(file).expect("the file is there");
    file.write_all(text.as_bytes()).expect("it can be written");
}
