//! DocumentReference: from a producer's resource to a [`Draft`], and from a pointer back to a resource.
//!
//! On the way in, what links to the patient (`subject`) and what this network states itself (`id`,
//! `meta`, `status`, the custodian's code) is taken out of the resource, and what is left must not
//! hold the patient's number anywhere. On the way back those elements are put back from the
//! verified pointer, so that nothing the holder wrote into its resource can replace them. Elements
//! that Signpost does not know are kept as they are.

use serde_json::{Map, Value, json};
use signpost_protocol::{
    OdsCode, PatientIdentifier, PointerId, PointerState, Timestamp,
    codec::{ByteString, Text},
    limits,
};

use super::{
    FhirError, ODS_SYSTEM,
    hidden_number::HiddenNumber,
    identifier::{Custodian, Token, TokenSystem, known_systems},
    instant, json,
    outcome::IssueCode,
};
use crate::core::local::{Draft, FoundPointer, Written};

/// System of the `meta.tag` that says whether a pointer counts in the digest.
pub const LISTING_SYSTEM: &str = "urn:signpost:listing";
/// Code of the tag of pointers that never count in a digest (sensitive services).
pub const UNLISTED: &str = "unlisted";
/// Code of the tag that makes an unlisted pointer count again. Without a tag, a new pointer is listed
/// and a new version is as the one before it.
pub const LISTED: &str = "listed";

/// Elements that the network states itself, with the companions of the primitive ones.
const OWN_ELEMENTS: [&str; 6] = ["id", "_id", "status", "_status", "subject", "implicitRules"];
/// Elements of `meta` that are the producer's; the others are of one server's copy.
const PRODUCERS_META: [&str; 3] = ["profile", "security", "tag"];
/// Resources that say who the patient is.
const PERSONS: [&str; 3] = ["Patient", "Person", "RelatedPerson"];

/// Checks a producer's resource. The id is the resource's own, when it has one.
///
/// # Errors
/// Names the element and the rule, never the value.
pub fn draft(resource: Value) -> Result<(Option<PointerId>, Draft), FhirError> {
    let mut object = as_document_reference(resource)?;
    let state = state_of(&object)?;
    let patient = patient_of(&object)?;
    let id = id_of(&object)?;
    let custodian = custodian_of(&object)?;
    let listed = listed_of(&object)?;
    check_content(&object)?;
    check_refused_elements(&object)?;
    if let Some(path) = hidden_number(&mut object, &patient) {
        return Err(FhirError::Element {
            path,
            rule: "holds the patient's number, which may stand in subject.identifier only: \
                   everything else travels to other organizations"
                .into(),
            code: IssueCode::BusinessRule,
        });
    }

    for name in OWN_ELEMENTS {
        object.remove(name);
    }
    let meta = producers_meta(object.remove("meta"));
    if !meta.is_empty() {
        object.insert("meta".into(), meta.into());
    }
    if let Some(Value::Object(custodian)) = object.get_mut("custodian") {
        custodian.remove("identifier");
        if custodian.is_empty() {
            object.remove("custodian");
        }
    }
    let mut resource = Value::Object(object);
    // The same content in another order is the same content.
    resource.sort_all_objects();
    let bytes = resource.to_string().into_bytes();
    let length = bytes.len();
    let max = limits::RESOURCE_BYTES_MAX;
    let resource = ByteString::new(bytes).ok_or(FhirError::TooLarge { length, max })?;
    let custodian_suffix = custodian
        .suffix
        .map(|suffix| Text::new(&suffix).expect("Custodian::parse keeps to the limit of a suffix"));
    let custodian = custodian.ods;
    Ok((id, Draft { patient, custodian, custodian_suffix, state, listed, resource }))
}

/// The resource of a pointer from the network or the store. `subject` is the patient when this
/// node knows: the one it asked for, or its own. Otherwise the subject is masked.
///
/// # Errors
/// When the holder's resource is no DocumentReference: the holder is at fault, and its pointer
/// cannot be shown.
pub fn to_resource(
    found: &FoundPointer,
    subject: Option<&PatientIdentifier>,
) -> Result<Value, FhirError> {
    let pointer = &found.pointer;
    let stated = Stated {
        id: &pointer.id,
        version: pointer.version,
        issued: pointer.issued,
        state: pointer.state,
        listed: pointer.listed,
        ods: &found.ods,
        suffix: pointer.custodian_suffix.as_deref(),
        subject,
    };
    stated.put_into(&pointer.resource)
}

/// The resource that a write just made, for `Prefer: return=representation`.
///
/// # Errors
/// As [`to_resource`]; not for a draft that [`draft`] made.
pub fn written_resource(written: &Written, draft: &Draft) -> Result<Value, FhirError> {
    let stated = Stated {
        id: &written.id,
        version: written.version,
        issued: written.issued,
        state: draft.state,
        listed: written.listed,
        ods: &draft.custodian,
        suffix: draft.custodian_suffix.as_deref(),
        subject: Some(&draft.patient),
    };
    stated.put_into(&draft.resource)
}

/// The FHIR `status` of a pointer; a deleted one has none.
#[must_use]
pub const fn status_code(state: PointerState) -> Option<&'static str> {
    match state {
        PointerState::Current => Some("current"),
        PointerState::Superseded => Some("superseded"),
        PointerState::EnteredInError => Some("entered-in-error"),
        PointerState::Tombstone => None,
    }
}

/// The state that a FHIR `status` means.
#[must_use]
pub fn state_from_status(status: &str) -> Option<PointerState> {
    [PointerState::Current, PointerState::Superseded, PointerState::EnteredInError]
        .into_iter()
        .find(|state| status_code(*state) == Some(status))
}

/// What the network states about a pointer, over whatever its resource says.
struct Stated<'a> {
    id: &'a PointerId,
    version: u64,
    issued: Timestamp,
    state: PointerState,
    listed: bool,
    ods: &'a OdsCode,
    suffix: Option<&'a str>,
    subject: Option<&'a PatientIdentifier>,
}

impl Stated<'_> {
    fn put_into(&self, resource: &[u8]) -> Result<Value, FhirError> {
        let mut object = as_document_reference(json::parse(resource)?)?;
        for name in OWN_ELEMENTS {
            object.remove(name);
        }
        remove_refused_elements(&mut object);

        let mut meta = producers_meta(object.remove("meta"));
        meta.insert("versionId".into(), self.version.to_string().into());
        if let Some(issued) = instant(self.issued) {
            meta.insert("lastUpdated".into(), issued.into());
        }
        if !self.listed {
            let tag = json!({"system": LISTING_SYSTEM, "code": UNLISTED});
            match meta.get_mut("tag") {
                Some(Value::Array(tags)) => tags.push(tag),
                _ => drop(meta.insert("tag".into(), json!([tag]))),
            }
        }
        let subject = match self.subject {
            Some(patient) => json!({"identifier": {
                "system": patient.system().uri(),
                "value": patient.expose_digits(),
            }}),
            None => json!({"extension": [{
                "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
                "valueCode": "masked",
            }]}),
        };
        let mut custodian = match object.remove("custodian") {
            Some(Value::Object(custodian)) => custodian,
            _ => Map::new(),
        };
        let code = match self.suffix {
            Some(suffix) => format!("{}.{suffix}", self.ods),
            None => self.ods.to_string(),
        };
        custodian.insert("identifier".into(), json!({"system": ODS_SYSTEM, "value": code}));

        object.insert("id".into(), self.id.as_str().into());
        object.insert("meta".into(), meta.into());
        if let Some(status) = status_code(self.state) {
            object.insert("status".into(), status.into());
        }
        object.insert("subject".into(), subject);
        object.insert("custodian".into(), custodian.into());
        Ok(Value::Object(object))
    }
}

fn as_document_reference(resource: Value) -> Result<Map<String, Value>, FhirError> {
    match resource {
        Value::Object(object)
            if object.get("resourceType").and_then(Value::as_str) == Some("DocumentReference") =>
        {
            Ok(object)
        }
        Value::Object(_) => {
            Err(FhirError::NotTheResource("resourceType must be DocumentReference"))
        }
        _ => Err(FhirError::NotTheResource("a resource must be a JSON object")),
    }
}

fn state_of(object: &Map<String, Value>) -> Result<PointerState, FhirError> {
    let status = object
        .get("status")
        .ok_or_else(|| FhirError::element("status", "is required", IssueCode::Required))?;
    status.as_str().and_then(state_from_status).ok_or_else(|| {
        let rule = "must be current, superseded or entered-in-error";
        FhirError::element("status", rule, IssueCode::CodeInvalid)
    })
}

fn patient_of(object: &Map<String, Value>) -> Result<PatientIdentifier, FhirError> {
    let path = "subject.identifier";
    let identifier = object.get("subject").and_then(|subject| subject.get("identifier"));
    let identifier = identifier.and_then(Value::as_object).ok_or_else(|| {
        let rule = format!(
            "is required, with system and value: a reference alone does not name a patient; {}",
            known_systems()
        );
        FhirError::element(path, rule, IssueCode::Required)
    })?;
    let text = |name: &str| {
        identifier.get(name).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| {
            let path = format!("{path}.{name}");
            FhirError::element(&path, "is required, as a string", IssueCode::Required)
        })
    };
    let token = Token { system: TokenSystem::Uri(text("system")?), code: Some(text("value")?) };
    token.patient().map_err(|rule| FhirError::element(path, rule, IssueCode::Value))
}

fn id_of(object: &Map<String, Value>) -> Result<Option<PointerId>, FhirError> {
    let Some(id) = object.get("id") else { return Ok(None) };
    let fault = |rule: &str| FhirError::element("id", rule, IssueCode::Value);
    let text = id.as_str().ok_or_else(|| fault("must be a string"))?;
    text.parse().map(Some).map_err(|error: signpost_protocol::ids::IdError| fault(error.rule))
}

fn custodian_of(object: &Map<String, Value>) -> Result<Custodian, FhirError> {
    let path = "custodian.identifier";
    let identifier = object.get("custodian").and_then(|custodian| custodian.get("identifier"));
    let Some(Value::Object(identifier)) = identifier else {
        let rule = format!("is required, with system {ODS_SYSTEM} and value");
        return Err(FhirError::element(path, rule, IssueCode::Required));
    };
    if identifier.get("system").and_then(Value::as_str) != Some(ODS_SYSTEM) {
        let rule = format!("must be {ODS_SYSTEM}");
        return Err(FhirError::element("custodian.identifier.system", rule, IssueCode::Value));
    }
    let value = identifier.get("value").and_then(Value::as_str).unwrap_or_default();
    Custodian::parse(value)
        .map_err(|rule| FhirError::element("custodian.identifier.value", rule, IssueCode::Value))
}

/// What the producer says of `meta` that concerns all copies, without the listing.
fn producers_meta(meta: Option<Value>) -> Map<String, Value> {
    let Some(Value::Object(mut meta)) = meta else { return Map::new() };
    meta.retain(|name, _| PRODUCERS_META.contains(&name.as_str()));
    if let Some(Value::Array(tags)) = meta.get_mut("tag") {
        tags.retain(|tag| tag.get("system").and_then(Value::as_str) != Some(LISTING_SYSTEM));
    }
    meta.retain(|_, value| value.as_array().is_some_and(|values| !values.is_empty()));
    meta
}

/// A tag that cannot be read is refused: to overlook one would advertise a sensitive record.
fn listed_of(object: &Map<String, Value>) -> Result<Option<bool>, FhirError> {
    let Some(meta) = object.get("meta") else { return Ok(None) };
    let fault = |path: &str, rule: &str| FhirError::element(path, rule, IssueCode::Structure);
    let Value::Object(meta) = meta else { return Err(fault("meta", "must be an object")) };
    let Some(tags) = meta.get("tag") else { return Ok(None) };
    let Value::Array(tags) = tags else { return Err(fault("meta.tag", "must be an array")) };
    let mut listed = None;
    for tag in tags {
        let Value::Object(tag) = tag else {
            return Err(fault("meta.tag", "must hold codings only"));
        };
        if tag.get("system").and_then(Value::as_str) == Some(LISTING_SYSTEM) {
            let said = match tag.get("code").and_then(Value::as_str) {
                Some(UNLISTED) => false,
                Some(LISTED) => true,
                _ => {
                    let rule = "of system urn:signpost:listing must be unlisted or listed";
                    return Err(fault("meta.tag", rule));
                }
            };
            if listed.replace(said).is_some_and(|before| before != said) {
                return Err(fault("meta.tag", "says both listed and unlisted"));
            }
        }
    }
    Ok(listed)
}

fn check_content(object: &Map<String, Value>) -> Result<(), FhirError> {
    let contents = match object.get("content") {
        Some(Value::Array(contents)) if !contents.is_empty() => contents,
        _ => {
            let rule = "is required, with at least one entry";
            return Err(FhirError::element("content", rule, IssueCode::Required));
        }
    };
    for (index, content) in contents.iter().enumerate() {
        let path = format!("content[{index}].attachment");
        let Some(Value::Object(attachment)) = content.get("attachment") else {
            return Err(FhirError::element(&path, "is required", IssueCode::Required));
        };
        let url = match attachment.get("url") {
            None => continue,
            Some(url) => url.as_str().map(str::trim).filter(|url| !url.is_empty()),
        };
        if url.is_none() {
            let path = format!("{path}.url");
            let rule = "must be a string that is not empty";
            return Err(FhirError::element(&path, rule, IssueCode::Value));
        }
    }
    Ok(())
}

/// Refuses what a pointer must not carry: the record itself, and who the patient is.
fn check_refused_elements(object: &Map<String, Value>) -> Result<(), FhirError> {
    let refuse =
        |path: &str, rule: &str| Err(FhirError::element(path, rule, IssueCode::BusinessRule));
    if object.contains_key("implicitRules") {
        return refuse("implicitRules", "is not supported: no implicit rules are known here");
    }
    if object.get("context").is_some_and(|context| context.get("sourcePatientInfo").is_some()) {
        return refuse(
            "context.sourcePatientInfo",
            "is not accepted: a pointer names its patient in subject.identifier only",
        );
    }
    match object.get("contained") {
        None => {}
        Some(Value::Array(contained)) => {
            if let Some(index) = contained.iter().position(is_person) {
                return refuse(
                    &format!("contained[{index}]"),
                    "describes a person, which a pointer must not: it travels to other organizations",
                );
            }
        }
        Some(_) => return refuse("contained", "must be an array"),
    }
    let contents = object.get("content").and_then(Value::as_array).into_iter().flatten();
    for (index, content) in contents.enumerate() {
        let Some(Value::Object(attachment)) = content.get("attachment") else { continue };
        if holds_the_record(attachment) {
            return refuse(
                &format!("content[{index}].attachment"),
                "holds the record itself (data): Signpost holds pointers, give a url instead",
            );
        }
    }
    Ok(())
}

/// On the way back: the same elements, written by a holder that does not keep to the rules.
fn remove_refused_elements(object: &mut Map<String, Value>) {
    if let Some(Value::Object(context)) = object.get_mut("context") {
        context.remove("sourcePatientInfo");
    }
    match object.get_mut("contained") {
        None => {}
        Some(Value::Array(contained)) => contained.retain(|resource| !is_person(resource)),
        Some(_) => drop(object.remove("contained")),
    }
    if object.get("contained").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        object.remove("contained");
    }
    let contents = object.get_mut("content").and_then(Value::as_array_mut).into_iter().flatten();
    for content in contents {
        let Some(Value::Object(attachment)) = content.get_mut("attachment") else { continue };
        if holds_the_record(attachment) {
            attachment.remove("data");
            attachment.remove("_data");
            attachment.retain(|name, value| name != "url" || !is_data_url(value));
        }
    }
}

fn is_person(resource: &Value) -> bool {
    let kind = resource.get("resourceType").and_then(Value::as_str);
    kind.is_none_or(|kind| PERSONS.contains(&kind))
}

fn holds_the_record(attachment: &Map<String, Value>) -> bool {
    attachment.contains_key("data")
        || attachment.contains_key("_data")
        || attachment.get("url").is_some_and(is_data_url)
}

fn is_data_url(url: &Value) -> bool {
    let scheme = url.as_str().and_then(|url| url.trim_start().split_once(':'));
    scheme.is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("data"))
}

/// Searches everything but `subject.identifier`.
fn hidden_number(object: &mut Map<String, Value>, patient: &PatientIdentifier) -> Option<String> {
    if let Some(Value::Object(subject)) = object.get_mut("subject") {
        subject.remove("identifier");
    }
    let whole = Value::Object(std::mem::take(object));
    let found = HiddenNumber::of(patient).find("DocumentReference", &whole);
    if let Value::Object(taken) = whole {
        *object = taken;
    }
    found
}

#[cfg(test)]
mod tests;
