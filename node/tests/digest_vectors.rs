//! Checks the digest's mathematics against the vectors of the protocol: classes, positions, the
//! order of bits, change lists.

use std::{fs, path::PathBuf, sync::Arc};

use serde_json::Value;
use signpost_node::digests::{
    ChangeList, Changes, DigestKeying, Filter, LocatorKey, SizeClass, filter::count_ones,
};
use signpost_protocol::{ContentHash, Locator, OrganizationId};

fn document() -> Value {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../protocol/vectors/digest-filter.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).expect("a vector file is JSON")
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().expect("a list")
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("a text")).expect("hexadecimal")
}

fn locator(value: &Value) -> Locator {
    Locator(bytes(value).try_into().expect("32 bytes"))
}

fn class(value: &Value) -> SizeClass {
    let number = value["class"].as_u64().and_then(|number| number.try_into().ok());
    number.and_then(SizeClass::new).expect("a class")
}

fn keying(value: &Value) -> DigestKeying {
    let organization: OrganizationId =
        value["organization"].as_str().and_then(|text| text.parse().ok()).expect("an organization");
    let salt: [u8; 16] = bytes(&value["salt"]).try_into().expect("16 bytes");
    DigestKeying::new(&organization, &salt)
}

#[test]
fn classes() {
    let document = document();
    let classes = list(&document, "classes");
    assert_eq!(classes.len(), SizeClass::all().count());
    for (expected, class) in classes.iter().zip(SizeClass::all()) {
        for (name, value) in [
            ("class", u64::from(class.number())),
            ("capacity", u64::from(class.capacity())),
            ("filled", u64::from(class.filled())),
            ("bits", u64::from(class.bits())),
            ("bytes", class.bytes() as u64),
            ("ones_max", u64::from(class.ones_max())),
            ("fresh_ones", u64::from(class.fresh_ones())),
            ("change_lists_max", class.change_lists_max() as u64),
        ] {
            assert_eq!(expected[name].as_u64(), Some(value), "{name} of {class:?}");
        }
    }
}

#[test]
fn positions() {
    let document = document();
    let cases = list(&document, "positions");
    assert!(cases.len() > 3);
    for case in cases {
        let key = LocatorKey::new(&locator(&case["locator"]));
        let got: Vec<u64> = key.positions(&keying(case), class(case)).map(u64::from).collect();
        let expected: Vec<u64> =
            list(case, "positions").iter().map(|p| p.as_u64().expect("a number")).collect();
        assert_eq!(got, expected, "{case}");
    }
}

#[test]
fn the_order_of_bits() {
    let document = document();
    let case = &document["filter"];
    let class = class(case);
    let mut filter = vec![0_u8; class.bytes()];
    for pair in list(case, "bytes_set") {
        let part = |at: usize| pair[at].as_u64().expect("a number");
        filter[part(0) as usize] = part(1) as u8;
    }
    assert_eq!(case["sha256"], ContentHash::of(&filter).to_string());
    assert_eq!(case["ones"].as_u64(), Some(u64::from(count_ones(&filter))));
    let ones = count_ones(&filter);
    let filter = Filter::check(Arc::new(filter), class, ones).expect("few bits are set");
    let none = Changes::none(class);
    for found in list(case, "locators") {
        let key = LocatorKey::new(&locator(found));
        assert!(filter.may_contain(&key, &keying(case), &none));
    }
    let other = LocatorKey::new(&Locator([0; 32]));
    assert!(!filter.may_contain(&other, &keying(case), &none));
}

#[test]
fn change_lists() {
    let document = document();
    let (mut accepted, mut refused) = (0, 0);
    for case in list(&document, "change_lists") {
        let class = class(case);
        let bytes = bytes(&case["bytes"]);
        let Ok(decoded) = ChangeList::decode(&bytes, class) else {
            assert_eq!(case["expect"], "refused", "{}", case["name"]);
            refused += 1;
            continue;
        };
        assert_eq!(case["expect"], "ok", "{}", case["name"]);
        assert_eq!(decoded.encode(), bytes);
        let changes = Changes::merge(class, &[decoded]).expect("one list");
        let empty = Filter::check(Arc::new(vec![0; class.bytes()]), class, 0).expect("empty");
        let finds = |value: &Value| {
            empty.may_contain(&LocatorKey::new(&locator(value)), &keying(case), &changes)
        };
        assert!(list(case, "finds").iter().all(finds));
        assert!(!list(case, "misses").iter().any(finds));
        accepted += 1;
    }
    assert!(accepted > 0 && refused > 3, "{accepted} accepted, {refused} refused");
}
