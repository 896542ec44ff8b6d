//! The CapabilityStatement (FHIR R4 §5.1): what the API does, and nothing that it does not.

use serde_json::{Value, json};

/// When the capabilities below last changed.
const DATE: &str = "2026-11-24";

/// The CapabilityStatement of the API at `base`.
#[must_use]
pub fn capability_statement(base: &str) -> Value {
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": DATE,
        "kind": "instance",
        "software": {"name": "Signpost", "version": env!("CARGO_PKG_VERSION")},
        "implementation": {
            "description": "A node of a federated record locator: tells who holds records of a patient",
            "url": base,
        },
        "fhirVersion": "4.0.1",
        "format": ["json", "application/fhir+json"],
        "rest": [{
            "mode": "server",
            "security": {
                "description": "Every request carries the node's bearer token. The API listens on the loopback interface only.",
            },
            "resource": [{
                "type": "DocumentReference",
                "documentation": DOCUMENTATION,
                "interaction": interactions(),
                "versioning": "versioned",
                "readHistory": false,
                "updateCreate": false,
                "conditionalCreate": false,
                "conditionalRead": "not-supported",
                "conditionalUpdate": false,
                "conditionalDelete": "not-supported",
                "searchParam": search_parameters(),
            }],
        }],
    })
}

const DOCUMENTATION: &str = "A pointer to a record; Signpost never holds the record itself. \
A search finds pointers in the whole federation and says with the header Signpost-Completeness, and with an \
OperationOutcome entry when it is partial, whether that is all. Create, update and delete are for pointers of \
the organizations that this node serves; an update never creates. A pointer of another organization read by id \
has its subject masked.";

fn interactions() -> Value {
    let codes = ["read", "create", "update", "delete", "search-type"];
    codes.iter().map(|code| json!({"code": code})).collect()
}

fn search_parameters() -> Value {
    let patient = "Exactly one patient is required, as subject:identifier, patient:identifier or patient.identifier (system|value). Other forms are refused.";
    let parameters = [
        ("subject", "reference", patient),
        ("patient", "reference", patient),
        (
            "custodian",
            "reference",
            "custodian:identifier only: the ODS code, with or without its suffix. The organization is asked directly, whatever its digest says.",
        ),
        ("type", "token", "Alternatives are separated by commas. No modifiers."),
        ("category", "token", "Alternatives are separated by commas. No modifiers."),
        ("status", "token", "current, superseded or entered-in-error. No modifiers."),
    ];
    parameters
        .iter()
        .map(|(name, kind, documentation)| {
            let definition = if *name == "patient" {
                "http://hl7.org/fhir/SearchParameter/clinical-patient".to_owned()
            } else if *name == "type" {
                "http://hl7.org/fhir/SearchParameter/clinical-type".to_owned()
            } else {
                format!("http://hl7.org/fhir/SearchParameter/DocumentReference-{name}")
            };
            json!({"name": name, "definition": definition, "type": kind, "documentation": documentation})
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_claims_what_the_api_does_and_no_more() {
        let statement = capability_statement("http://127.0.0.1:7700/fhir/R4");
        let resource = &statement["rest"][0]["resource"][0];
        let codes: Vec<_> =
            resource["interaction"].as_array().unwrap().iter().map(|i| &i["code"]).collect();
        assert_eq!(codes, ["read", "create", "update", "delete", "search-type"]);
        assert_eq!(resource["updateCreate"], false);
        assert_eq!(statement["fhirVersion"], "4.0.1");
        assert_eq!(resource["searchParam"].as_array().unwrap().len(), 6);
    }
}
