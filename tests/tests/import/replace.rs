//! `import --replace`: a nightly extract makes its source equal to itself, and nothing else.

use signpost_tests::client::patient;

use crate::{Alone, extract};

#[test]
fn a_nightly_extract_makes_its_source_equal_to_itself() {
    let node = Alone::new();
    creates_updates_tombstones_and_revives(&node);
    other_sources_and_hand_made_pointers_stay(&node);
    a_dry_run_writes_nothing(&node);
    a_refused_line_keeps_everything(&node);
    repeated_ids_are_told_and_the_last_counts(&node);
    what_looks_cut_off_deletes_nothing(&node);
}

fn replace<'a>(source: &'a str, file: &'a str) -> Vec<&'a str> {
    vec!["import", "--replace", "--source", source, file]
}

fn creates_updates_tombstones_and_revives(node: &Alone) {
    let patient = patient(1);
    let first = node.file("1.csv", extract(&patient, &[("1", "a"), ("2", "b"), ("3", "c")]));
    let ran = node.run(&replace("PAS", &first)).expect(0);
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "to do for source PAS: 3 created, 0 updated, 0 unchanged, 0 deleted (tombstoned), 0 refused",
            "3 created, 0 updated, 0 unchanged, 0 deleted (tombstoned), 0 refused",
        ]
    );
    let second = node.file("2.csv", extract(&patient, &[("1", "a"), ("2", "B"), ("4", "d")]));
    let ran = node.run(&replace("PAS", &second)).expect(0);
    let sum = "1 created, 1 updated, 1 unchanged, 1 deleted (tombstoned), 0 refused";
    assert_eq!(ran.stdout, format!("to do for source PAS: {sum}\n{sum}\n"));
    let held = node.held(&patient);
    let of = |id: &str| held.get(id).map(|(url, version)| (url.as_str(), version.as_str()));
    assert_eq!(of("RX1-1"), Some(("https://records.example/a", "1")));
    assert_eq!(of("RX1-2"), Some(("https://records.example/B", "2")));
    assert_eq!(of("RX1-4"), Some(("https://records.example/d", "1")));
    assert_eq!(held.len(), 3);
    node.client().read("RX1-3").assert_refused(410);

    // The record that vanished returns, as the same pointer.
    let text = extract(&patient, &[("1", "a"), ("2", "B"), ("4", "d"), ("3", "c")]);
    let third = node.file("3.csv", &text);
    node.run(&replace("PAS", &third))
        .expect(0)
        .says("\n1 created, 0 updated, 3 unchanged, 0 deleted");
    assert_eq!(
        node.held(&patient)["RX1-3"],
        ("https://records.example/c".to_owned(), "3".to_owned())
    );
    let again = node.run(&replace("PAS", &third)).expect(0);
    assert!(again.sum().starts_with("0 created, 0 updated, 4 unchanged, 0 deleted"));

    // From a pipe, which has to be read twice, it is the same.
    let piped = crate::signpost_with(node.dir(), &replace("PAS", "-"), text.as_bytes()).expect(0);
    assert!(piped.sum().starts_with("0 created, 0 updated, 4 unchanged, 0 deleted"));
    assert_eq!(node.count(), 4);
}

fn other_sources_and_hand_made_pointers_stay(node: &Alone) {
    let patient = patient(2);
    let lab = node.file("lab.csv", extract(&patient, &[("lab-1", "x")]));
    node.run(&replace("LAB", &lab)).expect(0).says("1 created");
    let made = node.client().created(&signpost_tests::client::record(
        "RX1",
        &patient,
        "https://a.example/1",
    ));
    let pas = node.path("3.csv");
    node.run(&replace("PAS", pas.to_str().expect("UTF-8"))).expect(0).says("0 deleted");
    assert_eq!(
        node.held(&patient).keys().collect::<Vec<_>>(),
        [&made, &"RX1-lab-1".to_owned()]
            .into_iter()
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    );
    // One id cannot be two sources': the second is told whose it is.
    let stolen = node.file("stolen.csv", extract(&patient, &[("lab-1", "x"), ("pas-1", "y")]));
    let ran = node.run(&replace("PAS", &stolen)).expect(3);
    let ran = ran.says("comes from the source LAB").says("--source LAB");
    // And because of that line nothing was deleted, though the file lacks all of PAS.
    let ran = ran.says("Nothing is deleted, because 1 lines were refused");
    assert!(ran.sum().starts_with("1 created, 0 updated, 0 unchanged, 0 deleted"), "{}", ran.sum());
    assert_eq!(node.held(&crate::replace::patient(1)).len(), 4);
    node.run(&replace("PAS", pas.to_str().expect("UTF-8"))).expect(0).says("1 deleted");
}

fn a_dry_run_writes_nothing(node: &Alone) {
    let (patient, before) = (patient(1), node.held(&patient(1)));
    let file = node.file("dry.csv", extract(&patient, &[("1", "changed"), ("9", "new")]));
    for arguments in [
        ["import", "--replace", "--dry-run", "--source=PAS", &file],
        ["import", "--dry-run", "--json", "--source=PAS", &file],
    ] {
        let ran = node.run(&arguments).expect(0);
        assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
        assert_eq!(node.held(&patient), before);
    }
    let ran = node.run(&["import", "--replace", "--dry-run", "--source=PAS", &file]);
    ran.says("1 created, 1 updated, 0 unchanged, 3 deleted (tombstoned), 0 refused; dry run");
    // The same without --dry-run does change something, and is undone again.
    node.run(&replace("PAS", &file)).expect(0);
    assert_ne!(node.held(&patient), before);
    node.run(&replace("PAS", node.path("3.csv").to_str().expect("UTF-8"))).expect(0);
}

fn a_refused_line_keeps_everything(node: &Alone) {
    let patient = patient(1);
    let text = extract(&patient, &[("1", "a"), ("new", "n")]) + "2,9990000019,RX1,736253002,u:x\n";
    let file = node.file("refused.csv", text);
    let ran = node.run(&replace("PAS", &file)).expect(3);
    let told = ran.stderr.matches("refused.csv:4: column nhs_number is not valid").count();
    assert_eq!(told, 1, "said once, not in both passes: {}", ran.stderr);
    let ran = ran.says("Nothing was deleted: 1 lines were refused");
    assert!(ran.sum().starts_with("1 created, 0 updated, 1 unchanged, 0 deleted"), "{}", ran.sum());
    assert_eq!(node.held(&patient).len(), 5, "what was good is in, and nothing is out");
    node.run(&replace("PAS", node.path("3.csv").to_str().expect("UTF-8")))
        .expect(0)
        .says("1 deleted");
}

fn repeated_ids_are_told_and_the_last_counts(node: &Alone) {
    let patient = patient(3);
    let text = extract(&patient, &[("r", "first"), ("s", "s"), ("r", "second"), ("s", "s")]);
    let file = node.file("repeated.csv", text);
    let ran = node.run(&replace("REP", &file)).expect(0);
    let told = format!("{file}:4: warning: the same id as {file}:2; the later one counts");
    assert_eq!(ran.stderr.matches(&told).count(), 1, "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("warning").count(), 1, "the same twice is no second version");
    let sum = "2 created, 1 updated, 1 unchanged, 0 deleted (tombstoned), 0 refused";
    assert_eq!(ran.stdout, format!("to do for source REP: {sum}\n{sum}\n"));
    assert_eq!(node.held(&patient)["RX1-r"].0, "https://records.example/second");
}

fn what_looks_cut_off_deletes_nothing(node: &Alone) {
    let patient = patient(4);
    let names: Vec<_> = (0..150).map(|n| format!("m{n}")).collect();
    let records: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
    let whole = node.file("many.csv", extract(&patient, &records));
    node.run(&replace("MANY", &whole)).expect(0).says("150 created");
    let before = node.count();

    let cut = node.file(
        "cut.csv",
        extract(&patient, &records[..30]) + &extract(&patient, &[("n", "n")])[38..],
    );
    let ran = node.run(&replace("MANY", &cut)).expect(1);
    let ran =
        ran.says("120 of the 150 pointers of source MANY would be deleted; nothing was written");
    ran.says("--allow-mass-delete");
    assert_eq!(node.count(), before, "not even the new one is in");
    // A hundred are few enough, and less than half of a source is no sign.
    node.run(&replace("MANY", &node.file("50.csv", extract(&patient, &records[..50]))))
        .expect(0)
        .says("100 deleted");
    let none = node.file("none.csv", extract(&patient, &[]));
    node.run(&replace("MANY", &none)).expect(1).says("the files hold no pointer at all");
    assert_eq!(node.count(), before - 100);
    let mut allowed = replace("MANY", &none);
    allowed.push("--allow-mass-delete");
    node.run(&allowed).expect(0).says("50 deleted");
    assert_eq!(node.count(), before - 150);
    node.run(&["import", "--allow-mass-delete", &none]).expect(2).says("--replace");
}
