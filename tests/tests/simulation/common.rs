//! What every test here needs: patients, drafts, times.

use signpost_node::core::{
    completeness::{Cause, CauseKind},
    local::{Draft, Located, NewId, Write},
};
use signpost_protocol::{IdentifierSystem, PatientIdentifier, PointerState, codec::ByteString};

/// The `n`th invented patient.
pub fn patient(n: u32) -> PatientIdentifier {
    (999_000_000 + n * 20..)
        .find_map(|stem| PatientIdentifier::from_stem(IdentifierSystem::NhsNumber, stem))
        .expect("one stem in eleven has no check digit")
}

/// A record at node `at`, told from every other by `text`.
pub fn draft(at: usize, patient: PatientIdentifier, text: u64) -> Draft {
    let resource = format!(r#"{{"resourceType":"DocumentReference","description":"{text}"}}"#);
    Draft {
        patient,
        custodian: format!("ORG{at}").parse().expect("well formed"),
        custodian_suffix: None,
        state: PointerState::Current,
        listed: None,
        resource: ByteString::new(resource.into_bytes()).expect("short"),
    }
}

/// The text of a draft, back from its resource.
pub fn text_of(resource: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(resource).ok()?;
    text.split_once(r#""description":""#)?.1.split_once('"')?.0.parse().ok()
}

/// A new record.
pub fn create(at: usize, patient: PatientIdentifier) -> Write {
    Write::Create { id: NewId::Random, draft: draft(at, patient, 0) }
}

/// The causes of a result, each with the ODS code that it names.
pub fn causes(found: &Located) -> Vec<(CauseKind, String)> {
    let ods = |cause: &Cause| {
        cause.organization.as_ref().map_or(String::new(), |(ods, _)| ods.to_string())
    };
    found.completeness.causes().iter().map(|cause| (cause.kind, ods(cause))).collect()
}
