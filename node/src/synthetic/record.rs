//! Invented records: what an organization of a kind would point at.
//!
//! Types, categories and codings are those of the National Record Locator's published list, so
//! that a clinical system sees what it would see in earnest.

use rand_chacha::ChaCha8Rng;
use rand_core::Rng as _;
use serde_json::{Value, json};
use signpost_protocol::{PatientIdentifier, PointerId};

use super::{
    draw::{below, chance},
    organizations::{Organization, OrganizationKind},
};

/// Records of one patient at one organization: NRL pointers are one a document type, and few
/// types fit each kind of organization.
const RECORDS_MAX: u32 = 4;

const SNOMED: &str = "http://snomed.info/sct";
const ODS_SYSTEM: &str = "https://fhir.nhs.uk/Id/ods-organization-code";

/// A SNOMED CT code with the display that NRL gives it.
type Coding = (&'static str, &'static str);

const CARE_PLAN: Coding = ("734163000", "Care plan");
const OBSERVATIONS: Coding = ("1102421000000108", "Observations");
const CLINICAL_NOTE: Coding = ("823651000000106", "Clinical note");
const RECORD_ARTIFACT: Coding = ("419891008", "Record artifact");
const CLINICAL_DOCUMENT: Coding = ("423876004", "Clinical document");

/// How a document is fetched, and in what form it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A PDF, straight from its holder.
    Document,
    /// A PDF too large for the usual way.
    LargeDocument,
    /// A web page that says whom to ring.
    Contact,
}

/// One document type of the published list.
#[derive(Clone, Copy, Debug)]
struct RecordType {
    coding: Coding,
    category: Coding,
    form: Form,
    /// Built on retrieval, for as long as the patient lives; otherwise written once.
    dynamic: bool,
}

const fn record_type(coding: Coding, category: Coding, form: Form, dynamic: bool) -> RecordType {
    RecordType { coding, category, form, dynamic }
}

const CRISIS_PLAN: RecordType =
    record_type(("736253002", "Mental health crisis plan"), CARE_PLAN, Form::Contact, false);
const EMERGENCY_PLAN: RecordType = record_type(
    ("887701000000100", "Emergency health care plan"),
    CARE_PLAN,
    Form::Document,
    false,
);
const END_OF_LIFE_SUMMARY: RecordType = record_type(
    ("861421000000109", "End of life care coordination summary"),
    CARE_PLAN,
    Form::Document,
    true,
);
const RESPECT: RecordType = record_type(
    (
        "1382601000000107",
        "ReSPECT (Recommended Summary Plan for Emergency Care and Treatment) form",
    ),
    CARE_PLAN,
    Form::Document,
    false,
);
const CONTINGENCY_PLAN: RecordType =
    record_type(("325691000000100", "Contingency plan"), CARE_PLAN, Form::Contact, false);
const END_OF_LIFE_PLAN: RecordType =
    record_type(("736373009", "End of life care plan"), CARE_PLAN, Form::Document, false);
const LLOYD_GEORGE: RecordType = record_type(
    ("16521000000101", "Lloyd George record folder"),
    CARE_PLAN,
    Form::LargeDocument,
    false,
);
const ADVANCE_PLAN: RecordType =
    record_type(("736366004", "Advance care plan"), CARE_PLAN, Form::Document, false);
const ESCALATION_PLAN: RecordType =
    record_type(("735324008", "Treatment escalation plan"), CARE_PLAN, Form::Document, false);
const SUPPORT_PLAN: RecordType = record_type(
    ("2181441000000107", "Personalised Care and Support Plan"),
    CARE_PLAN,
    Form::Document,
    true,
);
const NEWS2: RecordType = record_type(
    (
        "1363501000000100",
        "Royal College of Physicians NEWS2 (National Early Warning Score 2) chart",
    ),
    OBSERVATIONS,
    Form::Document,
    false,
);
const SUMMARY: RecordType =
    record_type(("824321000000109", "Summary record"), CLINICAL_NOTE, Form::Document, true);
const APPOINTMENT: RecordType =
    record_type(("749001000000101", "Appointment"), RECORD_ARTIFACT, Form::Contact, false);
const ABOUT_ME: RecordType =
    record_type(("1515851000000101", "About me"), CLINICAL_DOCUMENT, Form::Document, true);

impl OrganizationKind {
    /// The types of record it holds, the most usual first.
    const fn record_types(self) -> &'static [RecordType] {
        match self {
            Self::Trust => &[SUMMARY, NEWS2, APPOINTMENT, ESCALATION_PLAN, RESPECT],
            Self::Practice => &[SUMMARY, LLOYD_GEORGE, SUPPORT_PLAN, ADVANCE_PLAN],
            Self::Ambulance => &[NEWS2, EMERGENCY_PLAN, SUMMARY],
            Self::Hospice => &[END_OF_LIFE_SUMMARY, END_OF_LIFE_PLAN, RESPECT, ADVANCE_PLAN],
            Self::MentalHealth => &[CRISIS_PLAN, CONTINGENCY_PLAN, ABOUT_ME, APPOINTMENT],
            Self::Community => &[SUPPORT_PLAN, APPOINTMENT, ABOUT_ME],
        }
    }

    /// The setting of care, in codes that NRL's published examples use.
    const fn practice_setting(self) -> Coding {
        match self {
            Self::Trust | Self::Practice | Self::Community => ("224891009", "Healthcare services"),
            Self::Ambulance => ("409971007", "Emergency medical services"),
            Self::Hospice => ("395092004", "Specialist palliative care"),
            Self::MentalHealth => ("788002001", "Adult mental health service"),
        }
    }
}

/// One record of one patient at one organization.
#[derive(Clone, Debug)]
pub struct Record {
    /// The id of its pointer, `<ODS>-<16 bytes in the form of a UUID>`.
    pub id: PointerId,
    record_type: RecordType,
    /// RFC 3339.
    created: String,
}

impl Record {
    /// Draws the records that `organization` holds of one patient: at least one.
    pub(super) fn draw(organization: &Organization, rng: &mut ChaCha8Rng) -> Vec<Self> {
        let types = organization.kind.record_types();
        let mut count = 1;
        while count < RECORDS_MAX && chance(rng, 300) {
            count += 1;
        }
        // The smaller of two draws: the usual types come first.
        let first = below(rng, types.len() as u32).min(below(rng, types.len() as u32));
        (first..first + count)
            .map(|place| Self {
                id: PointerId::new(&organization.ods, &uuid(rng))
                    .expect("an ODS code of 12 and a UUID of 36 characters fit a pointer id"),
                record_type: types[place as usize % types.len()],
                created: format!(
                    "20{:02}-{:02}-{:02}T{:02}:{:02}:00Z",
                    16 + below(rng, 10),
                    1 + below(rng, 12),
                    1 + below(rng, 28),
                    8 + below(rng, 10),
                    below(rng, 60)
                ),
            })
            .collect()
    }

    /// What kind of record it is, in words.
    #[must_use]
    pub fn title(&self) -> &'static str {
        self.record_type.coding.1
    }

    /// The record's pointer as a FHIR R4 `DocumentReference` with its id, by NRL's 2026 rules.
    /// The patient's number stands in `subject` and nowhere else.
    #[must_use]
    pub fn resource(&self, patient: &PatientIdentifier, organization: &Organization) -> Value {
        let kind = &self.record_type;
        let ods = organization.ods.as_str();
        let (content_type, format, mechanism) = match kind.form {
            Form::Document => (
                "application/pdf",
                ("urn:nhs-ic:unstructured", "Unstructured Document"),
                ("Direct", "Direct"),
            ),
            Form::LargeDocument => (
                "application/pdf",
                ("urn:nhs-ic:unstructured", "Unstructured Document"),
                ("LDR", "Large Document Retrieval"),
            ),
            Form::Contact => (
                "text/html",
                ("urn:nhs-ic:record-contact", "Contact details (HTTP Unsecured)"),
                ("Direct", "Direct"),
            ),
        };
        let stability = if kind.dynamic { ("dynamic", "Dynamic") } else { ("static", "Static") };
        let local = self.id.as_str().split_once('-').map_or("", |(_, local)| local);
        let url = format!("https://{}.records.example/documents/{local}", ods.to_lowercase());
        json!({
            "resourceType": "DocumentReference",
            "id": self.id.as_str(),
            "status": "current",
            "docStatus": "final",
            "type": {"coding": [coding(SNOMED, kind.coding)]},
            "category": [{"coding": [coding(SNOMED, kind.category)]}],
            "subject": {"identifier": {
                "system": patient.system().uri(),
                "value": patient.expose_digits(),
            }},
            "author": [{"identifier": {"system": ODS_SYSTEM, "value": ods}}],
            "custodian": {"identifier": {"system": ODS_SYSTEM, "value": ods}},
            "description": format!("{}, {}", kind.coding.1, organization.name),
            "content": [{
                "extension": [
                    extension("Extension-England-ContentStability", "England-NRLContentStability", stability),
                    extension(
                        "Extension-England-NRLRetrievalMechanism",
                        "England-NRLRetrievalMechanism",
                        mechanism,
                    ),
                ],
                "attachment": {
                    "contentType": content_type,
                    "language": "en-GB",
                    "url": url,
                    "title": kind.coding.1,
                    "creation": self.created,
                },
                "format": coding("https://fhir.nhs.uk/England/CodeSystem/England-NRLFormatCode", format),
            }],
            "context": {
                "practiceSetting": {"coding": [coding(SNOMED, organization.kind.practice_setting())]},
            },
        })
    }
}

fn coding(system: &str, (code, display): Coding) -> Value {
    json!({"system": system, "code": code, "display": display})
}

fn extension(definition: &str, system: &str, value: Coding) -> Value {
    let base = "https://fhir.nhs.uk/England";
    json!({
        "url": format!("{base}/StructureDefinition/{definition}"),
        "valueCodeableConcept": {
            "coding": [coding(&format!("{base}/CodeSystem/{system}"), value)],
        },
    })
}

/// Sixteen drawn bytes in the form of a random UUID (RFC 9562 §5.4).
fn uuid(rng: &mut ChaCha8Rng) -> String {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}
