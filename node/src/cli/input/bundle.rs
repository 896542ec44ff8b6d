//! Transaction Bundles: references between their entries, resolved.
//!
//! A record system that exports a patient as one transaction (Synthea does) writes
//! `subject.reference` where a pointer needs the patient's identifier, refers to the custodian the
//! same way, and names its entries by UUIDs. What a pointer needs is all in the Bundle; this module
//! finds it there. It is a function of the Bundle and the options, without IO.

use std::collections::HashMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json, value::RawValue};
use signpost_protocol::IdentifierSystem;

use super::InputError;
use crate::fhir::{ODS_SYSTEM, identifier::Custodian, json::parse};

/// What stays as it is in a url's path (RFC 3986 §2.3).
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What the command line adds to resources that lack it.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Additions {
    /// The custodian of resources that name none.
    pub(in crate::cli) custodian: Option<Custodian>,
    /// Where a record is to be had whose content stands in the resource itself.
    pub(in crate::cli) document_url: Option<DocumentUrl>,
}

impl Additions {
    /// Whether nothing is added.
    pub(super) const fn is_empty(&self) -> bool {
        self.custodian.is_none() && self.document_url.is_none()
    }
}

/// A url with `{id}` where the record's id goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct DocumentUrl(String);

impl std::str::FromStr for DocumentUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        let lettered =
            |scheme: &str| !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric());
        if !scheme.is_some_and(lettered) {
            return Err("must be a url, such as https://records.example/documents/{id}");
        }
        match text.matches("{id}").count() {
            1 => Ok(Self(text.to_owned())),
            _ => Err("must hold {id} once, where the record's id goes"),
        }
    }
}

impl DocumentUrl {
    fn of(&self, id: &str) -> String {
        self.0.replace("{id}", &utf8_percent_encode(id, PLAIN).to_string())
    }
}

/// An entry of any Bundle.
#[derive(Deserialize)]
pub(super) struct Entry {
    #[serde(rename = "fullUrl")]
    full_url: Option<String>,
    pub(super) resource: Option<Inner>,
    search: Option<Search>,
    request: Option<Request>,
}

#[derive(Deserialize)]
struct Request {
    method: Option<String>,
}

#[derive(Deserialize)]
struct Search {
    mode: Option<String>,
}

impl Entry {
    /// Whether it asks for something to be deleted, which no import does.
    pub(super) fn is_deletion(&self) -> bool {
        self.request.as_ref().is_some_and(|request| request.method.as_deref() == Some("DELETE"))
    }

    /// Whether it says that the search did not find everything.
    pub(super) fn is_warning(&self) -> bool {
        self.is_outcome() && self.resource.as_ref().is_some_and(|inner| inner.warns)
    }

    /// Whether it says something about the search that found the Bundle, and is no match.
    pub(super) fn is_outcome(&self) -> bool {
        self.search.as_ref().is_some_and(|search| search.mode.as_deref() == Some("outcome"))
    }
}

/// A resource in a Bundle. A DocumentReference becomes text again at once, and of the others only
/// the identifiers are kept: a Bundle of parsed values would need many times its length in memory.
pub(super) struct Inner {
    pub(super) kind: Option<String>,
    pub(super) id: Option<String>,
    pub(super) text: String,
    identifiers: Vec<Identifier>,
    /// Why it cannot be read: it repeats a member, say, and so would be of two patients.
    pub(super) fault: Option<String>,
    /// Whether it is an OperationOutcome with more than information.
    warns: bool,
}

/// A FHIR Identifier. No `Debug`: it may be a patient's number.
struct Identifier {
    system: String,
    value: String,
    old: bool,
}

impl<'de> Deserialize<'de> for Inner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        let (value, fault) = match parse(raw.get().as_bytes()) {
            Ok(value) => (value, None),
            Err(error) => (Value::Null, Some(error.to_string())),
        };
        let member = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let (kind, id) = (member("resourceType"), member("id"));
        let identified = matches!(kind.as_deref(), Some("Patient" | "Organization"));
        let identifiers = value.get("identifier").filter(|_| identified).and_then(Value::as_array);
        let identifiers = identifiers.into_iter().flatten().filter_map(|identifier| {
            let member = |name: &str| identifier.get(name).and_then(Value::as_str);
            Some(Identifier {
                system: member("system")?.to_owned(),
                value: member("value")?.to_owned(),
                old: member("use") == Some("old"),
            })
        });
        let identifiers = identifiers.collect();
        let text = match kind.as_deref() {
            Some("DocumentReference") => value.to_string(),
            _ => String::new(),
        };
        let issues = value.get("issue").and_then(Value::as_array).into_iter().flatten();
        let warns = kind.as_deref() == Some("OperationOutcome")
            && issues.into_iter().any(|issue| issue["severity"] != "information");
        Ok(Self { kind, id, text, identifiers, fault, warns })
    }
}

/// Why a reference leads nowhere, or a resource cannot be completed. Never repeats a value.
fn fault(rule: &str) -> InputError {
    InputError::Rule(rule.to_owned())
}

/// The entries of a transaction by what refers to them; `None` where that is more than one entry.
pub(super) struct Transaction<'a> {
    entries: HashMap<String, Option<&'a Inner>>,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(entries: &'a [Entry]) -> Self {
        let mut by_reference: HashMap<String, Option<&Inner>> = HashMap::new();
        for entry in entries {
            let Some(inner) = &entry.resource else { continue };
            let (Some(kind), id) = (&inner.kind, &inner.id) else { continue };
            if !matches!(kind.as_str(), "Patient" | "Organization") {
                continue;
            }
            let names = id.iter().flat_map(|id| [format!("{kind}/{id}"), format!("urn:uuid:{id}")]);
            for name in entry.full_url.iter().cloned().chain(names) {
                let known = by_reference.entry(name).or_insert(Some(inner));
                // Two systems may both have a Patient/1: neither is meant for sure.
                if known.is_some_and(|known| !std::ptr::eq(known, inner)) {
                    *known = None;
                }
            }
        }
        Self { entries: by_reference }
    }

    /// The DocumentReference of an entry with its references resolved: its id and its text.
    pub(super) fn resolved(
        &self,
        entry: &Entry,
        additions: &Additions,
    ) -> Result<(Option<String>, String), InputError> {
        let inner = entry.resource.as_ref().ok_or(InputError::NoResource)?;
        let mut object: Map<String, Value> = serde_json::from_str(&inner.text)
            .expect("the text was made of an object with a resourceType");
        // A relative reference is relative to the referring entry's own base (FHIR R4 §2.36.4.1).
        let base = entry.full_url.as_deref().and_then(|url| url.rsplitn(3, '/').nth(2));
        let referred = |object: &Map<String, Value>, name: &str| {
            let reference = object.get(name)?.get("reference")?.as_str()?;
            let beside = base.and_then(|base| self.entries.get(&format!("{base}/{reference}")));
            beside.or_else(|| self.entries.get(reference)).copied()
        };

        if object.get("subject").is_none_or(|subject| subject.get("identifier").is_none()) {
            let patient = match referred(&object, "subject") {
                Some(None) => {
                    return Err(fault(
                        "subject refers to several entries of this Bundle, so that it cannot be told \
                         whose record it is: refer to the patient by the fullUrl of its entry",
                    ));
                }
                found => found.flatten().filter(|is| is.is("Patient")).ok_or_else(|| {
                    fault("subject refers to no Patient in this Bundle, and has no identifier")
                })?,
            };
            object.insert("subject".into(), json!({"identifier": patient.patient()?}));
        }
        let named = object.get("custodian").is_some_and(|it| it.get("identifier").is_some());
        if !named && let Some(organization) = referred(&object, "custodian").flatten() {
            let mut codes = organization.identifiers.iter().filter(|it| it.system == ODS_SYSTEM);
            if let (Some(code), None) = (codes.next(), codes.next()) {
                object.insert("custodian".into(), custodian(&code.value));
            }
        }
        add(&mut object, additions);
        let ods = object.get("custodian").and_then(|it| it["identifier"]["value"].as_str());
        let ods = ods.map(str::to_owned).ok_or_else(|| {
            fault(
                "custodian refers to no Organization in this Bundle with an ODS code: name the \
                 custodian with --custodian",
            )
        })?;
        if object.get("id").and_then(Value::as_str).is_none() {
            let uuid = entry.full_url.as_deref().and_then(|url| url.strip_prefix("urn:uuid:"));
            if let Some(uuid) = uuid {
                object.insert("id".into(), uuid.into());
            }
        }
        replace_data(&mut object, additions);
        // What the producer calls it is unique in its own system only.
        let ods = ods.split('.').next().unwrap_or_default();
        if let Some(id) = object.get("id").and_then(Value::as_str)
            && !id.starts_with(&format!("{ods}-"))
        {
            object.insert("id".into(), format!("{ods}-{id}").into());
        }
        let id = object.get("id").and_then(Value::as_str).map(str::to_owned);
        Ok((id, Value::Object(object).to_string()))
    }
}

impl Inner {
    fn is(&self, kind: &str) -> bool {
        self.kind.as_deref() == Some(kind)
    }

    /// The one identifier of a known system, by the order of the systems.
    fn patient(&self) -> Result<Value, InputError> {
        for system in IdentifierSystem::ALL {
            let known = self.identifiers.iter().filter(|it| it.system == system.uri() && !it.old);
            let mut values: Vec<_> = known.map(|it| it.value.as_str()).collect();
            values.dedup();
            match values[..] {
                [] => {}
                [value] => return Ok(json!({"system": system.uri(), "value": value})),
                _ => {
                    return Err(fault(
                        "the Patient that subject refers to has two different numbers of one \
                         system: mark the former one with use = old",
                    ));
                }
            }
        }
        let systems: Vec<_> = IdentifierSystem::ALL.iter().map(|system| system.uri()).collect();
        Err(fault(&format!(
            "the Patient that subject refers to has no identifier of a known system; the known \
             systems are {}",
            systems.join(", ")
        )))
    }
}

fn custodian(code: &str) -> Value {
    json!({"identifier": {"system": ODS_SYSTEM, "value": code}})
}

/// Completes a resource of any format, whose id is the pointer's own.
pub(super) fn completed(text: &str, additions: &Additions) -> Result<String, InputError> {
    // Read so that a repeated name, which the node refuses, is not silently dropped here.
    let value = crate::fhir::json::parse(text.as_bytes())
        .map_err(|error| InputError::Rule(error.to_string()))?;
    let Value::Object(mut object) = value else { return Err(InputError::NoResource) };
    add(&mut object, additions);
    replace_data(&mut object, additions);
    Ok(Value::Object(object).to_string())
}

fn add(object: &mut Map<String, Value>, additions: &Additions) {
    let named = object.get("custodian").is_some_and(|it| it.get("identifier").is_some());
    if let Some(given) = additions.custodian.as_ref().filter(|_| !named) {
        let code = match &given.suffix {
            Some(suffix) => format!("{}.{suffix}", given.ods),
            None => given.ods.to_string(),
        };
        object.insert("custodian".into(), custodian(&code));
    }
}

/// Puts a url in the place of a record that stands in the resource.
fn replace_data(object: &mut Map<String, Value>, additions: &Additions) {
    let Some(url) = &additions.document_url else { return };
    let Some(id) = object.get("id").and_then(Value::as_str).map(str::to_owned) else { return };
    let contents = object.get_mut("content").and_then(Value::as_array_mut).into_iter().flatten();
    for content in contents {
        let Some(Value::Object(attachment)) = content.get_mut("attachment") else { continue };
        if attachment.remove("data").is_some() {
            attachment.remove("_data");
            attachment.insert("url".into(), url.of(&id).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBER: &str = "9990000018";
    const UUID: &str = "8ca2a6a5-9fb3-4cfc-a1ba-0ee76a0c11b0";

    fn patient() -> Value {
        json!({"fullUrl": "urn:uuid:p-1", "resource": {
            "resourceType": "Patient", "id": "p-1", "name": [{"family": "Secret"}],
            "identifier": [
                {"system": "https://example.org/mrn", "value": "17"},
                {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": NUMBER},
            ],
        }})
    }

    fn organization() -> Value {
        json!({"fullUrl": "urn:uuid:o-1", "resource": {
            "resourceType": "Organization", "id": "o-1",
            "identifier": [{"system": ODS_SYSTEM, "value": "RX1"}],
        }})
    }

    fn document(subject: &str, custodian: &str) -> Value {
        json!({"fullUrl": format!("urn:uuid:{UUID}"), "resource": {
            "resourceType": "DocumentReference", "id": UUID, "status": "current",
            "subject": {"reference": subject, "display": "Secret"},
            "custodian": {"reference": custodian},
            "content": [{"attachment": {"contentType": "text/plain", "data": "AAAA"}}],
        }, "request": {"method": "POST", "url": "DocumentReference"}})
    }

    fn resolve(entries: &[Value], additions: &Additions) -> Result<Value, String> {
        let entries: Vec<Entry> = serde_json::from_str(&json!(entries).to_string()).unwrap();
        let document = entries.last().unwrap();
        let resolved = Transaction::new(&entries).resolved(document, additions);
        resolved
            .map(|(id, text)| {
                let value: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(value["id"].as_str().map(str::to_owned), id);
                value
            })
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_reference_to_two_entries_is_refused_and_one_beside_the_entry_goes_first() {
        let at = |base: &str, number: &str| {
            json!({"fullUrl": format!("{base}/Patient/1"), "resource": {
                "resourceType": "Patient", "id": "1",
                "identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": number}]}})
        };
        let (a, b) = (at("http://a.example", "9990000018"), at("http://b.example", "9990000026"));
        let additions = Additions { custodian: Custodian::parse("RX1").ok(), document_url: None };
        let mut document = document("Patient/1", "Organization/none");
        let entries = |document: &Value| [a.clone(), b.clone(), document.clone()];
        let error = resolve(&entries(&document), &additions).unwrap_err();
        assert!(error.contains("several entries") && !error.contains("999"), "{error}");
        for (base, number) in [("a", "9990000018"), ("b", "9990000026")] {
            document["fullUrl"] = format!("http://{base}.example/DocumentReference/9").into();
            let resolved = resolve(&entries(&document), &additions).unwrap();
            assert_eq!(resolved["subject"]["identifier"]["value"], number);
        }
    }

    #[test]
    fn subject_and_custodian_are_found_in_the_bundle_however_they_are_referred_to() {
        for (subject, custodian) in
            [("urn:uuid:p-1", "urn:uuid:o-1"), ("Patient/p-1", "Organization/o-1")]
        {
            let entries = [patient(), organization(), document(subject, custodian)];
            let resolved = resolve(&entries, &Additions::default()).unwrap();
            assert_eq!(
                resolved["subject"],
                json!({"identifier": {
                    "system": "https://fhir.nhs.uk/Id/nhs-number", "value": NUMBER,
                }})
            );
            assert_eq!(resolved["custodian"]["identifier"]["value"], "RX1");
            assert_eq!(resolved["id"], format!("RX1-{UUID}"));
            assert!(!resolved.to_string().contains("Secret"));
        }
    }

    #[test]
    fn an_id_comes_from_the_full_url_and_is_never_prefixed_twice() {
        let mut entry = document("Patient/p-1", "Organization/o-1");
        entry["resource"].as_object_mut().unwrap().remove("id");
        let entries = [patient(), organization(), entry.clone()];
        assert_eq!(resolve(&entries, &Additions::default()).unwrap()["id"], format!("RX1-{UUID}"));
        entry["resource"]["id"] = "RX1-7".into();
        let entries = [patient(), organization(), entry];
        assert_eq!(resolve(&entries, &Additions::default()).unwrap()["id"], "RX1-7");
    }

    #[test]
    fn what_is_lacking_is_named_and_can_be_given() {
        let nothing = Additions::default();
        let lone = [document("Patient/p-1", "Organization/o-1")];
        assert!(resolve(&lone, &nothing).unwrap_err().contains("refers to no Patient"));
        let entries = [patient(), document("Patient/p-1", "Organization/o-1")];
        assert!(resolve(&entries, &nothing).unwrap_err().contains("--custodian"));
        let given = Additions {
            custodian: Some(Custodian::parse("RX2.001").unwrap()),
            document_url: Some("https://records.example/{id}/pdf".parse().unwrap()),
        };
        let resolved = resolve(&entries, &given).unwrap();
        assert_eq!(resolved["custodian"]["identifier"]["value"], "RX2.001");
        assert_eq!(resolved["id"], format!("RX2-{UUID}"));
        assert_eq!(
            resolved["content"][0]["attachment"],
            json!({
                "contentType": "text/plain", "url": format!("https://records.example/{UUID}/pdf"),
            })
        );
        // One who is named is not replaced.
        let entries = [patient(), organization(), document("Patient/p-1", "Organization/o-1")];
        assert_eq!(resolve(&entries, &given).unwrap()["custodian"]["identifier"]["value"], "RX1");
    }

    #[test]
    fn an_ambiguous_or_unknown_patient_is_refused_without_its_numbers() {
        let mut two = patient();
        let numbers = two["resource"]["identifier"].as_array_mut().unwrap();
        numbers.push(json!({
            "system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000026",
        }));
        let entries = [two.clone(), organization(), document("Patient/p-1", "Organization/o-1")];
        let error = resolve(&entries, &Additions::default()).unwrap_err();
        assert!(error.contains("two different numbers") && !error.contains("999"), "{error}");
        two["resource"]["identifier"][2]["use"] = "old".into();
        let entries = [two.clone(), organization(), document("Patient/p-1", "Organization/o-1")];
        assert!(resolve(&entries, &Additions::default()).is_ok());
        two["resource"]["identifier"] = json!([{"system": "urn:x", "value": NUMBER}]);
        let entries = [two, organization(), document("Patient/p-1", "Organization/o-1")];
        let error = resolve(&entries, &Additions::default()).unwrap_err();
        assert!(error.contains("no identifier of a known system"), "{error}");
        assert!(!error.contains("999"), "{error}");
    }

    #[test]
    fn a_document_url_holds_the_place_of_the_id_once() {
        assert!("https://a.example/{id}".parse::<DocumentUrl>().is_ok());
        for text in ["", "{id}", "https://a.example/", "https://a.example/{id}/{id}", "://{id}"] {
            assert!(text.parse::<DocumentUrl>().is_err(), "{text}");
        }
        let url = "https://a.example/{id}".parse::<DocumentUrl>().unwrap();
        assert_eq!(url.of("a/b?c"), "https://a.example/a%2Fb%3Fc");
    }
}
