use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;

use super::*;

/// Each item as `place` and the outcome: `ok N`, N being the id, or the error.
fn read(bytes: &[u8]) -> Vec<String> {
    Items::new("f", bytes, &Options::default())
        .map(|item| match item.line {
            Ok(line) => {
                assert!(!line.contains(['\n', '\r']), "more than one line: {line}");
                let value: Value = serde_json::from_str(&line).unwrap();
                assert_eq!(value["resourceType"], "DocumentReference");
                format!("{} ok {}", item.place, value["id"].as_str().unwrap_or("?"))
            }
            Err(error) => format!("{} {error}", item.place),
        })
        .collect()
}

fn line(id: &str) -> String {
    format!(r#"{{"resourceType":"DocumentReference","id":"{id}"}}"#)
}

fn pretty(text: &str) -> String {
    serde_json::to_string_pretty(&serde_json::from_str::<Value>(text).unwrap()).unwrap()
}

fn bundle(entries: &[&str]) -> String {
    let entries: Vec<_> =
        entries.iter().map(|entry| format!(r#"{{"resource":{entry}}}"#)).collect();
    format!(r#"{{"resourceType":"Bundle","entry":[{}]}}"#, entries.join(","))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_format_is_told_by_its_content() {
    assert_eq!(read(line("a").as_bytes()), ["f ok a"]);
    assert_eq!(read(pretty(&line("a")).as_bytes()), ["f ok a"]);
    let lines = format!("{}\n{}\n", line("a"), line("b"));
    assert_eq!(read(lines.as_bytes()), ["f:1 ok a", "f:2 ok b"]);
    let bundle = bundle(&[&line("a"), &line("b")]);
    assert_eq!(read(bundle.as_bytes()), ["f entry[0] ok a", "f entry[1] ok b"]);
    assert_eq!(read(pretty(&bundle).as_bytes()), ["f entry[0] ok a", "f entry[1] ok b"]);
    let bundles = format!("{bundle}\n{bundle}\n");
    assert_eq!(read(bundles.as_bytes())[3], "f:2 entry[1] ok b");
    for text in [lines, pretty(&bundle)] {
        assert_eq!(read(&gzip(text.as_bytes())), read(text.as_bytes()));
    }
    for nothing in ["", "\n \r\n", "\u{feff}"] {
        assert_eq!(read(nothing.as_bytes()), [""; 0], "{nothing:?}");
        assert_eq!(read(&gzip(nothing.as_bytes())), [""; 0], "{nothing:?}");
    }
}

#[test]
fn byte_order_marks_line_ends_and_blank_lines_do_not_matter() {
    let text = format!("\u{feff}\r\n{}\r\n\r\n  {}", line("a"), line("b"));
    assert_eq!(read(text.as_bytes()), ["f:2 ok a", "f:4 ok b"]);
    assert_eq!(read(&gzip(text.as_bytes())), ["f:2 ok a", "f:4 ok b"]);
    let text = pretty(&line("a")).replace('\n', "\r\n");
    assert_eq!(read(format!("\u{feff}{text}").as_bytes()), ["f ok a"]);
    let mut parts = gzip(format!("{}\n", line("a")).as_bytes());
    parts.extend(gzip(line("b").as_bytes()));
    assert_eq!(read(&parts), ["f:1 ok a", "f:2 ok b"]);
}

#[test]
fn a_bad_line_costs_that_line_only() {
    let text = [
        &line("a"),
        "{\"resourceType\":",
        "[1]",
        "{}",
        r#"{"resourceType":"Patient"}"#,
        &line("b"),
    ];
    let bad = [
        "f:2 not JSON: EOF while parsing a value at line 1 column 16",
        "f:3 not JSON: a resource begins with '{'",
        "f:4 no FHIR resource: it has no resourceType",
        "f:5 a Patient, where only a DocumentReference can be imported",
    ];
    let outcome = read(text.join("\n").as_bytes());
    assert_eq!(outcome[0], "f:1 ok a");
    assert_eq!(outcome[1..5], bad);
    assert_eq!(outcome[5], "f:6 ok b");
    // The same with the bad line first, which looks like the first line of a document.
    let text = format!("{{\"resourceType\":\n{}\n{}", line("a"), line("b"));
    assert_eq!(read(text.as_bytes())[1..], ["f:2 ok a", "f:3 ok b"]);
    let mut text = line("a").into_bytes();
    text.extend_from_slice(b"\n{\"a\":\"\xff\"}\n");
    text.extend_from_slice(line("b").as_bytes());
    let bad = "f:2 not UTF-8 text, perhaps Windows-1252: save it as UTF-8";
    assert_eq!(read(&text), ["f:1 ok a", bad, "f:3 ok b"]);
}

#[test]
fn other_resources_in_a_bundle_are_refused_by_entry() {
    let text = bundle(&[r#"{"resourceType":"Patient"}"#, &line("a"), "null", "7"]);
    let expected = [
        "f entry[0] a Patient, where only a DocumentReference can be imported",
        "f entry[1] ok a",
        "f entry[2] no FHIR resource: it has no resourceType",
        "f entry[3] no FHIR resource: it has no resourceType",
    ];
    assert_eq!(read(text.as_bytes()), expected);
}

#[test]
fn a_bad_document_is_one_error() {
    let text = pretty(&bundle(&[&line("a"), &line("b")]));
    let outcome = read(&text.as_bytes()[..text.len() - 2]);
    assert_eq!(outcome.len(), 1, "{outcome:?}");
    assert!(outcome[0].starts_with("f not JSON: EOF"), "{outcome:?}");
    assert_eq!(read(b"hello\nworld"), ["f not JSON: a resource begins with '{'"]);
    assert_eq!(read(&[0xff, b'{']), ["f not UTF-8 text, perhaps Windows-1252: save it as UTF-8"]);
}

#[test]
fn content_is_never_repeated_in_an_error() {
    for text in [
        r#"{"resourceType":9990000018}"#,
        r#"{"resourceType":"9990000018"}"#,
        r#"{"resourceType":"Bundle","entry":"9990000018"}"#,
        r#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"P9990000018"}}]}"#,
        "9990000018",
    ] {
        let outcome = read(text.as_bytes());
        assert_eq!(outcome.len(), 1);
        assert!(!outcome[0].contains("ok ") && !outcome[0].contains("999"), "{outcome:?}");
    }
}

#[test]
fn nesting_without_end_is_no_danger() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let inner = format!(r#"{{"resourceType":"DocumentReference","x":{deep}}}"#);
    // It costs its own entry, and the ones beside it are kept.
    let outcome = read(bundle(&[&inner, &line("a")]).as_bytes());
    assert!(outcome[0].contains("recursion limit"), "{outcome:?}");
    assert_eq!(outcome[1], "f entry[1] ok a");
}

#[test]
fn a_member_that_is_repeated_is_refused_in_an_entry_as_in_a_file() {
    let twice = r#"{"resourceType":"DocumentReference","id":"b","subject":{},"subject":{}}"#;
    for kind in ["collection", "transaction"] {
        let bundle = format!(
            r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{{"resource":{twice}}}]}}"#
        );
        let outcome = read(bundle.as_bytes());
        assert!(outcome[0].contains("same name"), "{outcome:?}");
        assert_eq!(outcome.len(), 1);
    }
}

#[test]
fn a_part_of_a_search_result_is_not_taken_for_the_whole() {
    let entry = |text: &str| format!(r#"{{"resource":{text}}}"#);
    let warning = r#"{"search":{"mode":"outcome"},"resource":{"resourceType":"OperationOutcome",
        "issue":[{"severity":"warning","code":"transient"}]}}"#;
    let information = warning.replace("warning", "information");
    let of = |members: &str, entries: &[String]| {
        let entries = entries.join(",");
        read(
            format!(
                r#"{{"resourceType":"Bundle","type":"searchset",{members}"entry":[{entries}]}}"#
            )
            .as_bytes(),
        )
    };
    let a = entry(&line("a"));
    let ok = "f entry[0] ok a";
    assert_eq!(of(r#""total":1,"#, std::slice::from_ref(&a)), [ok]);
    assert_eq!(
        of(r#""total":1,"link":[{"relation":"self","url":"u:x"}],"#, std::slice::from_ref(&a)),
        [ok]
    );
    assert_eq!(of("", &[a.clone(), information]), [ok]);
    for (members, entries, said) in [
        (r#""link":[{"relation":"next","url":"u:x"}],"#, vec![a.clone()], "one page of several"),
        (r#""total":2,"#, vec![a.clone()], "fewer entries than its total"),
        ("", vec![a.clone(), warning.to_owned()], "partial result"),
    ] {
        let outcome = of(members, &entries);
        assert!(outcome[0].contains(said), "{outcome:?}");
        assert_eq!(outcome[1..], [ok], "what is there is kept");
    }
}

#[test]
fn a_deletion_in_a_transaction_is_refused_and_not_passed_over() {
    let bundle = r#"{"resourceType":"Bundle","type":"transaction","entry":[
        {"request":{"method":"DELETE","url":"DocumentReference/7"}}]}"#;
    let outcome = read(bundle.as_bytes());
    assert!(outcome[0].contains("entry[0]") && outcome[0].contains("deletion"), "{outcome:?}");
}

#[test]
fn what_a_search_without_results_returns_is_empty() {
    assert!(read(br#"{"resourceType":"Bundle","type":"searchset","total":0}"#).is_empty());
}

#[test]
fn lines_and_documents_have_a_longest() {
    let fill = |length: usize| {
        let empty = r#"{"resourceType":"DocumentReference","id":"a","x":""}"#;
        empty.replace(r#""x":"""#, &format!(r#""x":"{}""#, "x".repeat(length - empty.len())))
    };
    let (fits, long) = (fill(LINE_BYTES_MAX), fill(LINE_BYTES_MAX + 1));
    let too_long = "longer than 1 MiB, the most that one resource may have";
    let text = format!("{}\n{long}\n{fits}\n{}", line("a"), line("b"));
    let expected =
        ["f:1 ok a", &format!("f:2 {too_long}"), "f:3 ok a", "f:4 ok b"].map(str::to_owned);
    assert_eq!(read(text.as_bytes()), expected);
    assert_eq!(read(format!("{long}\n{}", line("b")).as_bytes())[1], "f:2 ok b");
    assert_eq!(read(long.as_bytes()), [format!("f {too_long}")]);
    // A Bundle may be one long line.
    let entries: Vec<_> = (0..9).map(|_| fill(LINE_BYTES_MAX / 4)).collect();
    let entries: Vec<_> = entries.iter().map(String::as_str).collect();
    assert_eq!(read(bundle(&entries).as_bytes()).len(), 9);
    let endless = io::repeat(b' ').take(2 * DOCUMENT_BYTES_MAX as u64);
    let errors: Vec<_> =
        Items::new("f", endless, &Options::default()).map(|item| item.line.unwrap_err()).collect();
    assert!(matches!(errors[..], [InputError::DocumentTooLong]), "{errors:?}");
}

#[test]
fn of_a_truncated_file_the_lines_before_the_end_are_read() {
    // Random ids, so that the compressed bytes spread over the whole file.
    let ids: Vec<_> =
        (0_u64..2000).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_string()).collect();
    let text: String = ids.iter().map(|id| line(id) + "\n").collect();
    let whole = gzip(text.as_bytes());
    let outcome = read(&whole[..whole.len() / 2]);
    let (last, lines) = outcome.split_last().unwrap();
    assert!(lines.len() > 100, "only {} lines were read", lines.len());
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(*line, format!("f:{} ok {}", number + 1, ids[number]));
    }
    let place = format!("f:{} ", lines.len() + 1);
    assert_eq!(*last, format!("{place}{}", InputError::Truncated));
    // A document has no part that could be kept; nor has a file cut within its first line.
    let document = gzip(pretty(&bundle(&[&line("a")])).as_bytes());
    for bytes in [&document[..document.len() - 4], &whole[..12]] {
        assert_eq!(read(bytes), [format!("f {}", InputError::Truncated)]);
    }
}

#[test]
fn a_damaged_file_is_reported() {
    let mut bytes = gzip(format!("{}\n", line("a")).as_bytes());
    let checksum = bytes.len() - 8;
    bytes[checksum] ^= 1;
    let outcome = read(&bytes);
    assert!(outcome.last().unwrap().contains("cannot be read on"), "{outcome:?}");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        read(&bytes);
        read(&gzip(&bytes));
    }

    #[test]
    fn no_cut_or_change_makes_the_reader_panic(
        at in 0_usize..1000, to in any::<u8>(), cut in 0_usize..1000, compress in any::<bool>(),
    ) {
        let text = format!("{}\n{}\n{}", line("a"), bundle(&[&line("b")]), line("c"));
        let mut bytes = if compress { gzip(text.as_bytes()) } else { text.into_bytes() };
        let length = bytes.len();
        bytes[at % length] = to;
        bytes.truncate(cut % (length + 1));
        for item in Items::new("f", &bytes[..], &Options::default()) {
            prop_assert_eq!(item.place.file, "f");
        }
    }

    #[test]
    fn lines_come_back_in_order_whatever_stands_between(
        blanks in prop::collection::vec("[ \t]{0,3}(\r\n|\n){0,3}", 1..40),
    ) {
        let mut text = String::new();
        for (number, blank) in blanks.iter().enumerate() {
            text += &format!("{blank}{}\n", line(&number.to_string()));
        }
        let ids: Vec<_> = read(text.as_bytes())
            .into_iter()
            .map(|outcome| outcome.rsplit(' ').next().unwrap().to_owned())
            .collect();
        prop_assert_eq!(ids, (0..blanks.len()).map(|n| n.to_string()).collect::<Vec<_>>());
    }
}

#[test]
fn other_encodings_are_named() {
    let utf16 = "{\"resourceType\":1}".encode_utf16();
    let (mut little, mut big) = (vec![0xff, 0xfe], vec![0xfe, 0xff]);
    for unit in utf16 {
        little.extend(unit.to_le_bytes());
        big.extend(unit.to_be_bytes());
    }
    for bytes in [&little[..], &little[2..], &big, &big[2..]] {
        assert_eq!(read(bytes), ["f UTF-16 text: save it as UTF-8"], "{bytes:?}");
        assert_eq!(read(&gzip(bytes)), ["f UTF-16 text: save it as UTF-8"], "{bytes:?}");
    }
    let mut windows = pretty(&line("a")).into_bytes();
    let at = windows.iter().position(|byte| *byte == b'a').unwrap();
    windows[at] = 0xe9;
    let line = windows[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    let said = format!("f not UTF-8 text in line {line}, perhaps Windows-1252: save it as UTF-8");
    assert_eq!(read(&windows), [said]);
    let csv = b"id,nhs_number,custodian,url\n1,9990000018,RX1,u:\xe9\n2,9990000018,RX1,u:2\n";
    let said = "f:2 not UTF-8 text, perhaps Windows-1252: save it as UTF-8";
    assert_eq!(read(csv), [said, "f:3 ok RX1-2"]);
}

#[test]
fn a_line_of_a_gigabyte_costs_that_line_and_little_memory() {
    let row = |n: u32| format!("{n},9990000018,RX1,u:{n}\n");
    let header = "id,nhs_number,custodian,url\n";
    // One of them as long as the rule has it; the others as short as makes the same difference, because
    // an unoptimized build takes its time.
    let (gigabyte, long) = (1 << 30, DOCUMENT_BYTES_MAX as u64 + 4096);
    let too_long = InputError::DocumentTooLong.to_string();
    for (head, length, foot, expected) in [
        (
            line("a") + "\n",
            gigabyte,
            format!("\n{}\n", line("b")),
            ["f:1 ok a", "f:2 !", "f:3 ok b"],
        ),
        (
            String::new(),
            long,
            format!("\n{}\n{}", line("a"), line("b")),
            ["f:1 !", "f:2 ok a", "f:3 ok b"],
        ),
        (
            header.to_owned() + &row(1),
            long,
            format!("\n{}", row(2)),
            ["f:2 ok RX1-1", "f:3 !", "f:4 ok RX1-2"],
        ),
    ] {
        let source = head.as_bytes().chain(io::repeat(b'x').take(length)).chain(foot.as_bytes());
        let items: Vec<_> = Items::new("f", source, &Options::default())
            .map(|item| match item.line {
                Ok(line) => {
                    let value: Value = serde_json::from_str(&line).unwrap();
                    format!("{} ok {}", item.place, value["id"].as_str().unwrap())
                }
                Err(error) => {
                    assert_eq!(error.to_string(), too_long);
                    format!("{} !", item.place)
                }
            })
            .collect();
        assert_eq!(items, expected);
    }
}

#[test]
fn a_csv_file_is_read_row_by_row() {
    let header = "id;nhs_number;custodian;url;title";
    let text = format!(
        "\u{feff}\r\n{header}\r\n1;9990000018;RX1;u:1;plain\n\r\n2;9990000018;RX1;u:2;\"two\r\nlines; \
         \"\"quoted\"\"\"\r\n3;9990000018;RX1;u:3\n4;9990000018;RX1;u:4;\"last\""
    );
    let expected = [
        "f:3 ok RX1-1",
        "f:5 ok RX1-2",
        "f:7 the row has 4 cells, where the header has 5",
        "f:8 ok RX1-4",
    ];
    assert_eq!(read(text.as_bytes()), expected);
    assert_eq!(read(&gzip(text.as_bytes())), expected);
    let whole = gzip(text.as_bytes());
    let cut = read(&whole[..whole.len() - 9]);
    assert!(cut.last().unwrap().ends_with(&InputError::Truncated.to_string()), "{cut:?}");
    // Rows behind a quote that does not close could be anybody's.
    let text = format!(
        "{header}\n1;9990000018;RX1;u:1;a\n2;9990000018;RX1;u:2;\"a\n3;9990000018;RX1;u:3;b\n"
    );
    let said = format!("f:3 {}", InputError::OpenQuote);
    assert_eq!(read(text.as_bytes()), ["f:2 ok RX1-1", &said]);
    let outcome = read(format!("{header};Ward\n1;9990000018;RX1;u:1;a;b\n").as_bytes());
    assert!(outcome.len() == 1 && outcome[0].starts_with("f:1 the column \"Ward\""), "{outcome:?}");
    assert_eq!(read(header.as_bytes()), [""; 0], "no rows are no fault");
}

#[test]
fn a_transaction_gives_its_pointers_and_counts_the_rest() {
    let text = json_text(include_str!("../../../../tests/data/synthea-like/transaction.json"));
    let options = Options {
        additions: Additions {
            custodian: None,
            document_url: Some("https://records.example/{id}".parse().unwrap()),
        },
        ..Options::default()
    };
    let mut items = Items::new("f", text.as_bytes(), &options);
    let read: Vec<_> = items.by_ref().map(|item| (item.id, item.line)).collect();
    assert_eq!((read.len(), items.skipped()), (2, 4));
    for (id, line) in read {
        let value: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert_eq!(value["id"].as_str(), id.as_deref());
        assert!(id.unwrap().starts_with("RX1-"));
        assert!(crate::fhir::document_reference::draft(value).is_ok());
    }
    // Without a url for what stands in the resource, the node refuses it: it holds the record.
    let options = Options::default();
    let items = Items::new("f", text.as_bytes(), &options);
    let refused = items.filter(|item| {
        let value = serde_json::from_str(item.line.as_ref().unwrap()).unwrap();
        crate::fhir::document_reference::draft(value).is_err()
    });
    assert_eq!(refused.count(), 1);
}

fn json_text(text: &str) -> String {
    serde_json::from_str::<Value>(text).unwrap().to_string()
}

#[test]
fn a_bundle_without_entries_and_outcomes_of_searches_are_no_faults() {
    assert_eq!(read(br#"{"resourceType":"Bundle","type":"searchset","total":0}"#), [""; 0]);
    // A count is not its result.
    let count = read(br#"{"resourceType":"Bundle","type":"searchset","total":1}"#);
    assert!(count[0].contains("fewer entries than its total"), "{count:?}");
    let text = format!(
        r#"{{"resourceType":"Bundle","type":"searchset","entry":[{{"resource":{}}},
        {{"search":{{"mode":"outcome"}},"resource":{{"resourceType":"OperationOutcome"}}}}]}}"#,
        line("a")
    );
    assert_eq!(read(text.as_bytes()), ["f entry[0] ok a"]);
}
