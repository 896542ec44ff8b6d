use proptest::prelude::*;
use signpost_protocol::{KeyEpoch, Locator, OrganizationId, Pointer};

use super::*;

const NUMBER: &str = "9990000018";

fn minimal() -> Value {
    json!({
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"identifier": {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": NUMBER}},
        "custodian": {"identifier": {"system": ODS_SYSTEM, "value": "RX1"}},
        "content": [{"attachment": {"url": "https://trust.example/records/1"}}],
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut resource = minimal();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    resource.pointer_mut(parent).unwrap()[name] = value;
    resource
}

fn refusal(resource: Value) -> FhirError {
    let error = draft(resource).expect_err("must be refused");
    assert!(!error.to_string().contains("999"), "{error}");
    error
}

fn path_of(resource: Value) -> String {
    refusal(resource).expression().expect("an element is named").to_owned()
}

fn found(resource: &[u8]) -> FoundPointer {
    FoundPointer {
        pointer: Pointer {
            id: "RX1-1".parse().unwrap(),
            version: 7,
            organization: OrganizationId([1; 32]),
            custodian_suffix: Text::new("002"),
            state: PointerState::Superseded,
            listed: false,
            key_epoch: KeyEpoch(1),
            locator: Locator([2; 32]),
            issued: Timestamp(1_764_000_000_007),
            resource: ByteString::new(resource.to_vec()).unwrap(),
        },
        ods: "RX9".parse().unwrap(),
        name: "Royal Example".to_owned(),
    }
}

#[test]
fn a_draft_keeps_everything_but_what_the_network_states_itself() {
    let mut resource = with("/custodian/display", json!("Royal Example"));
    resource["id"] = json!("RX1.001-a");
    resource["custodian"]["identifier"]["value"] = json!("RX1.001");
    resource["meta"] = json!({"tag": [{"system": LISTING_SYSTEM, "code": UNLISTED}]});
    resource["x-unknown"] = json!({"b": 1, "a": [2.5]});
    let (id, draft) = draft(resource).unwrap();
    assert_eq!(id.unwrap().as_str(), "RX1.001-a");
    assert_eq!(draft.custodian.as_str(), "RX1");
    assert_eq!(draft.custodian_suffix.as_deref(), Some("001"));
    assert_eq!((draft.state, draft.listed), (PointerState::Current, Some(false)));
    assert_eq!(
        std::str::from_utf8(&draft.resource).unwrap(),
        r#"{"content":[{"attachment":{"url":"https://trust.example/records/1"}}],"custodian":{"display":"Royal Example"},"resourceType":"DocumentReference","x-unknown":{"a":[2.5],"b":1}}"#
    );
}

#[test]
fn the_published_examples_survive_the_way_in_and_back() {
    for text in [
        include_str!("../../../testdata/nrl/consumer-06-DocumentReference.json"),
        include_str!("../../../testdata/nrl/producer-11-DocumentReference.json"),
        include_str!("../../../testdata/nrl/producer-17-DocumentReference.json"),
    ] {
        let original = json::parse(text.as_bytes()).unwrap();
        let (id, draft) = draft(original.clone()).unwrap();
        let written = Written {
            id: id.unwrap_or_else(|| "Y05868-new".parse().unwrap()),
            version: 1,
            issued: Timestamp(1_764_000_000_000),
            listed: true,
            effect: crate::core::local::Effect::Created,
        };
        let mut back = written_resource(&written, &draft).unwrap();
        assert_eq!(back["meta"]["versionId"], "1");
        back.as_object_mut().unwrap().remove("meta");
        let mut expected = original;
        expected["id"] = written.id.as_str().into();
        assert_eq!(back, expected);
        assert!(!String::from_utf8_lossy(&draft.resource).contains(draft.patient.expose_digits()));
    }
}

#[test]
fn the_producers_part_of_meta_is_kept_and_no_more() {
    let mut resource = minimal();
    resource["meta"] = json!({
        "versionId": "99", "lastUpdated": "2020-01-01T00:00:00Z", "source": "urn:x",
        "profile": ["https://example.org/profile"],
        "security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}],
        "tag": [{"system": LISTING_SYSTEM, "code": LISTED}, {"system": "urn:x", "code": "y"}],
    });
    let (_, draft) = draft(resource.clone()).unwrap();
    assert_eq!(draft.listed, Some(true));
    let back = to_resource(&found(&draft.resource), None).unwrap();
    let mut expected = resource["meta"].clone();
    expected["versionId"] = "7".into();
    expected["lastUpdated"] = back["meta"]["lastUpdated"].clone();
    expected.as_object_mut().unwrap().remove("source");
    expected["tag"] =
        json!([{"system": "urn:x", "code": "y"}, {"system": LISTING_SYSTEM, "code": UNLISTED}]);
    assert_eq!(back["meta"], expected);
}

#[test]
fn the_order_of_members_makes_no_other_content() {
    let text = minimal().to_string();
    let reversed = r#"{"content":[{"attachment":{"url":"https://trust.example/records/1"}}],"custodian":{"identifier":{"value":"RX1","system":"https://fhir.nhs.uk/Id/ods-organization-code"}},"subject":{"identifier":{"value":"9990000018","system":"https://fhir.nhs.uk/Id/nhs-number"}},"status":"current","resourceType":"DocumentReference"}"#;
    let stored = |text: &str| draft(json::parse(text.as_bytes()).unwrap()).unwrap().1.resource;
    assert_eq!(stored(&text), stored(reversed));
    let other = text.replace("records/1", "records/2");
    assert_ne!(stored(&text), stored(&other));
}

#[test]
fn what_a_pointer_must_have_is_asked_for_by_name() {
    for name in ["status", "subject", "custodian", "content"] {
        let mut resource = minimal();
        resource.as_object_mut().unwrap().remove(name);
        assert!(path_of(resource).starts_with(&format!("DocumentReference.{name}")), "{name}");
    }
    assert!(refusal(json!([])).is_unreadable());
    assert!(refusal(json!({"resourceType": "Patient"})).is_unreadable());
    for (pointer, value, path) in [
        ("/status", json!("draft"), "status"),
        ("/status", json!(1), "status"),
        ("/subject", json!({"reference": "Patient/1"}), "subject.identifier"),
        ("/subject/identifier", json!([]), "subject.identifier"),
        ("/subject/identifier/system", json!("urn:x"), "subject.identifier"),
        ("/subject/identifier/value", json!("9990000019"), "subject.identifier"),
        ("/subject/identifier/value", json!(9_990_000_018_u64), "subject.identifier.value"),
        ("/custodian/identifier/system", json!("urn:x"), "custodian.identifier.system"),
        ("/custodian/identifier/value", json!("rx1"), "custodian.identifier.value"),
        ("/custodian/identifier/value", json!("RX1.!"), "custodian.identifier.value"),
        ("/id", json!("no prefix"), "id"),
        ("/id", json!(7), "id"),
        ("/meta", json!([]), "meta"),
        ("/meta", json!({"tag": {}}), "meta.tag"),
        ("/meta", json!({"tag": ["unlisted"]}), "meta.tag"),
        ("/meta", json!({"tag": [{"system": LISTING_SYSTEM, "code": "Unlisted"}]}), "meta.tag"),
        (
            "/meta",
            json!({"tag": [
                {"system": LISTING_SYSTEM, "code": UNLISTED},
                {"system": LISTING_SYSTEM, "code": LISTED}
            ]}),
            "meta.tag",
        ),
        ("/content", json!([]), "content"),
        ("/content/0/attachment", json!("x"), "content[0].attachment"),
        ("/content/0/attachment/url", json!(" "), "content[0].attachment.url"),
        ("/content/0/attachment/url", json!(null), "content[0].attachment.url"),
    ] {
        assert_eq!(path_of(with(pointer, value)), format!("DocumentReference.{path}"), "{pointer}");
    }
}

#[test]
fn records_and_persons_are_refused_and_their_harmless_twins_are_not() {
    for (pointer, value, path) in [
        ("/content/0/attachment/data", json!("aGVsbG8="), "content[0].attachment"),
        ("/content/0/attachment/url", json!("DATA:,x"), "content[0].attachment"),
        ("/contained", json!([{"resourceType": "Patient"}]), "contained[0]"),
        ("/contained", json!([{"resourceType": "Organization"}, {}]), "contained[1]"),
        ("/contained", json!({}), "contained"),
        ("/context", json!({"sourcePatientInfo": {}}), "context.sourcePatientInfo"),
        ("/implicitRules", json!("urn:x"), "implicitRules"),
    ] {
        assert_eq!(path_of(with(pointer, value)), format!("DocumentReference.{path}"), "{pointer}");
    }
    for (pointer, value) in [
        ("/content/0/attachment", json!({"title": "in person only"})),
        ("/contained", json!([{"resourceType": "Organization"}])),
        ("/context", json!({"period": {}})),
    ] {
        assert!(draft(with(pointer, value)).is_ok(), "{pointer}");
    }
}

#[test]
fn a_planted_number_is_found_wherever_it_stands() {
    for (pointer, value, path) in [
        ("/id", json!("RX1-9990000018"), ".id"),
        ("/custodian/identifier/value", json!("RX1.9990000018"), ".custodian.identifier.value"),
        ("/custodian/display", json!("999 000 0018"), ".custodian.display"),
        ("/subject/display", json!("Patient 9990000018"), ".subject.display"),
        ("/subject/reference", json!("Patient/9990000018"), ".subject.reference"),
        ("/meta", json!({"source": "urn:999-000-0018"}), ".meta.source"),
        (
            "/content/0/attachment/url",
            json!("x://a?n=OTk5MDAwMDAxOA=="),
            ".content[0].attachment.url",
        ),
        ("/content/0/attachment/size", json!(9_990_000_018_u64), ".content[0].attachment.size"),
        ("/text", json!({"div": "<p>999%20000%200018</p>"}), ".text.div"),
        ("/extension", json!([[{"9990000018": null}]]), ".extension[0][0]"),
        ("/description", json!(hex::encode(NUMBER)), ".description"),
    ] {
        assert_eq!(path_of(with(pointer, value)), format!("DocumentReference{path}"), "{pointer}");
    }
    let other = with("/subject/reference", json!("Patient/9990000026"));
    assert!(draft(other).is_ok(), "another number is no fault");
}

#[test]
fn a_resource_over_the_cap_is_refused_and_one_at_the_cap_is_not() {
    let title = |letters: usize| with("/description", json!("a".repeat(letters)));
    let used = draft(title(0)).unwrap().1.resource.len();
    let room = limits::RESOURCE_BYTES_MAX - used;
    assert!(draft(title(room)).is_ok());
    let error = refusal(title(room + 1));
    assert_eq!(error.code(), IssueCode::TooLong);
}

#[test]
fn what_the_network_states_overrides_what_the_holder_smuggled_in() {
    let hostile = json!({
        "resourceType": "DocumentReference",
        "id": "RX2-other",
        "meta": {"versionId": "99", "tag": [{"system": LISTING_SYSTEM, "code": LISTED}]},
        "status": "current",
        "_status": {"id": "x"},
        "implicitRules": "urn:x",
        "subject": {"identifier": {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000026"}},
        "custodian": {"display": "Kept", "identifier": {"value": "RX2"}},
        "contained": [{"resourceType": "Patient"}, 5],
        "context": {"sourcePatientInfo": {"display": "x"}, "period": {"start": "2026"}},
        "content": [{"attachment": {"data": "eA==", "url": "data:,x", "title": "t"}}, 7],
        "description": "kept",
    });
    let patient = draft(minimal()).unwrap().1.patient;
    let found = found(hostile.to_string().as_bytes());
    assert_eq!(
        to_resource(&found, Some(&patient)).unwrap(),
        json!({
            "resourceType": "DocumentReference",
            "id": "RX1-1",
            "meta": {
                "versionId": "7",
                "lastUpdated": "2025-11-24T16:00:00.007Z",
                "tag": [{"system": LISTING_SYSTEM, "code": UNLISTED}],
            },
            "status": "superseded",
            "subject": {"identifier": {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": NUMBER}},
            "custodian": {"display": "Kept", "identifier": {"system": ODS_SYSTEM, "value": "RX9.002"}},
            "context": {"period": {"start": "2026"}},
            "content": [{"attachment": {"title": "t"}}, 7],
            "description": "kept",
        })
    );
    let masked = to_resource(&found, None).unwrap();
    assert_eq!(masked["subject"]["extension"][0]["valueCode"], "masked");
    assert!(masked["subject"].get("identifier").is_none());
}

#[test]
fn a_holders_resource_that_is_none_is_an_error() {
    let deep = "[".repeat(4000);
    for text in ["", "[]", "7", "{", "{\"resourceType\":\"Patient\"}", "\u{fffd}", &deep] {
        assert!(to_resource(&found(text.as_bytes()), None).is_err(), "{text}");
    }
    assert!(to_resource(&found(br#"{"resourceType":"DocumentReference"}"#), None).is_ok());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(Value::from("current")),
    ];
    let name = prop_oneof![
        any::<String>(),
        prop::sample::select(vec![
            "resourceType",
            "status",
            "subject",
            "identifier",
            "system",
            "value",
            "custodian",
            "content",
            "attachment",
            "url",
            "data",
            "contained",
            "context",
            "meta",
            "tag",
            "id",
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Puts `planted` under a member name into one of the objects or arrays of `value`.
fn plant(value: &mut Value, turns: &[u8], planted: &Value) {
    match value {
        Value::Object(members) => match turns.split_first() {
            Some((turn, rest)) if !members.is_empty() => {
                let at = usize::from(*turn) % members.len();
                let child = members.values_mut().nth(at).expect("within the length");
                plant(child, rest, planted);
            }
            _ => drop(members.insert("planted".into(), planted.clone())),
        },
        Value::Array(items) => match turns.split_first() {
            Some((turn, rest)) if !items.is_empty() => {
                let at = usize::from(*turn) % items.len();
                plant(&mut items[at], rest, planted);
            }
            _ => items.push(planted.clone()),
        },
        leaf => *leaf = planted.clone(),
    }
}

proptest! {
    #[test]
    fn any_json_is_judged_without_a_panic(value in any_json(), name in "status|subject|content|meta|contained|context|custodian|id") {
        let _ = draft(value.clone());
        let mut resource = minimal();
        resource[&name] = value.clone();
        let _ = draft(resource);
        let _ = to_resource(&found(&value.to_string().into_bytes()[..limits::RESOURCE_BYTES_MAX.min(value.to_string().len())]), None);
    }

    #[test]
    fn a_number_planted_anywhere_in_unknown_elements_is_found(
        value in any_json(),
        turns in prop::collection::vec(any::<u8>(), 0..6),
        form in 0..4_usize,
    ) {
        let planted = [
            json!(NUMBER),
            json!("see 999 000 0018."),
            json!(9_990_000_018_u64),
            json!({"9990000018": 1}),
        ][form].clone();
        let mut value = value;
        plant(&mut value, &turns, &planted);
        let error = refusal(with("/x", value));
        let path = error.expression().unwrap_or_default().to_owned();
        prop_assert!(path.starts_with("DocumentReference"), "{}", path);
        prop_assert!(error.to_string().contains("patient's number"), "{}", error);
    }
}
