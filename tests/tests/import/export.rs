//! `export` writes what `import` takes.

use std::{fs, io::Read as _, os::unix::fs::PermissionsExt as _};

use signpost_tests::client::{patient, record};

use crate::{Alone, extract};

#[test]
fn what_is_exported_can_be_imported_and_changes_nothing() {
    let node = Alone::new();
    // More than a page, deleted ones among them, an unlisted one, and one that no source sent.
    let names: Vec<_> = (0..130).map(|n| format!("e{n}")).collect();
    let records: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
    let file = node.file("many.csv", extract(&patient(1), &records));
    node.run(&["import", "--source", "PAS", &file]).expect(0);
    let fewer = node.file("fewer.csv", extract(&patient(1), &records[..120]));
    node.run(&["import", "--replace", "--source", "PAS", &fewer]).expect(0).says("10 deleted");
    node.run(&["import", "--source", "PLANS", &crate::data("csv/pointers.csv")]).expect(0);
    let made = node.client().created(&record("RX1", &patient(2), "https://records.example/1"));

    let all = node.run(&["export"]);
    assert_eq!((all.code, all.stdout.lines().count()), (Some(0), 124));
    assert!(all.stdout.contains(&made) && all.stdout.contains("RX1-sh-7"));
    let path = node.path("pas.ndjson.gz");
    let name = path.to_str().expect("UTF-8");
    node.run(&["export", "--source", "PAS", "--output", name])
        .expect(0)
        .says("120 pointers were exported");
    assert_eq!(fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600);
    let mut text = String::new();
    let file = fs::File::open(&path).expect("the file");
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("a gzip file");
    assert_eq!(text.lines().count(), 120);

    let unchanged = "0 created, 0 updated, 120 unchanged, 0 deleted (tombstoned), 0 refused";
    let ran = node.run(&["import", "--replace", "--source", "PAS", name]).expect(0);
    assert_eq!(ran.sum(), unchanged);
    let plans = node.run(&["export", "--source", "PLANS"]);
    let plans = node.file("plans.ndjson", plans.stdout);
    let ran = node.run(&["import", "--replace", "--source", "PLANS", &plans]).expect(0);
    assert!(ran.sum().starts_with("0 created, 0 updated, 3 unchanged, 0 deleted"), "{}", ran.sum());
    // A changed export is a change.
    let changed = node.file("changed.ndjson", text.replacen("example/e7\"", "example/E7\"", 1));
    let ran = node.run(&["import", "--replace", "--source", "PAS", &changed]).expect(0);
    assert!(
        ran.sum().starts_with("0 created, 1 updated, 119 unchanged, 0 deleted"),
        "{}",
        ran.sum()
    );

    // Nothing of a source that nobody has, and no file where none can be.
    let nobody = node.run(&["export", "--source", "NOBODY"]);
    assert_eq!((nobody.code, nobody.stdout.as_str()), (Some(0), ""));
    let nowhere = node.path("no/such/place.ndjson");
    let ran = node.run(&["export", "--output", nowhere.to_str().expect("UTF-8")]).expect(1);
    ran.says("cannot write");
    node.run(&["export", "--source", "a b"]).expect(2);
}
