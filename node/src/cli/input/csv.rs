//! From a row of a CSV file to a DocumentReference. A function of the row, without IO.
//!
//! What can be judged from the cells alone is judged here, because only here the error can name
//! the column. Values are never repeated: any of them may be a patient's number.

use serde_json::{Map, Value, json};
use signpost_protocol::{IdentifierSystem, OdsCode, PatientIdentifier, PointerId};

use super::{
    InputError,
    bundle::Additions,
    mapping::{Columns, CsvOptions},
};
use crate::fhir::{
    ODS_SYSTEM,
    document_reference::{LISTED, LISTING_SYSTEM, UNLISTED, state_from_status},
    identifier::Custodian,
};

const SNOMED: &str = "http://snomed.info/sct";
/// The formats of NRL.
const FORMAT_SYSTEM: &str = "https://fhir.nhs.uk/England/CodeSystem/England-NRLFormatCode";

/// Makes resources of rows.
pub(super) struct Rows {
    columns: Columns,
    delimiter: u8,
}

impl Rows {
    /// Understands the header.
    pub(super) fn new(header: &str, options: &CsvOptions) -> Result<Self, InputError> {
        let no_csv = || InputError::Rule("the first line is no CSV header".to_owned());
        let delimiter = options.delimiter(header).ok_or_else(no_csv)?;
        let cells = cells(header, delimiter).ok_or_else(no_csv)?;
        let columns =
            options.columns(&cells.iter().collect::<Vec<_>>()).map_err(InputError::Rule)?;
        Ok(Self { columns, delimiter })
    }

    /// The resource of a row: its id and its text.
    pub(super) fn resource(
        &self,
        row: &str,
        additions: &Additions,
    ) -> Result<(Option<String>, String), InputError> {
        let rule = |text: String| InputError::Rule(text);
        let cells = cells(row, self.delimiter)
            .filter(|_| !is_open(row.as_bytes()))
            .ok_or_else(|| rule("the quotes of this row do not close".to_owned()))?;
        let (have, want) = (cells.len(), self.columns.fields.len());
        if have != want {
            return Err(rule(format!("the row has {have} cells, where the header has {want}")));
        }
        let mut values = Values(Vec::new());
        for (field, cell) in self.columns.fields.iter().zip(cells.iter()) {
            if let (Some(field), cell) = (field, cell.trim())
                && !cell.is_empty()
            {
                values.0.push((field, cell));
            }
        }
        let constants = self.columns.constants.iter();
        values.0.extend(constants.map(|(field, value)| (*field, value.as_str())));
        let (id, resource) = document_reference(&values, additions)?;
        Ok((id.map(|id| id.to_string()), resource.to_string()))
    }
}

/// The cells of one record; `None` when its text is not exactly one.
fn cells(text: &str, delimiter: u8) -> Option<csv::StringRecord> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .buffer_capacity(text.len().max(1))
        .from_reader(text.as_bytes());
    let mut record = csv::StringRecord::new();
    let read = reader.read_record(&mut record).ok()?;
    (read && !reader.read_record(&mut csv::StringRecord::new()).ok()?).then_some(record)
}

/// Whether the text up to here ends inside quotes: then the record goes on in the next line.
pub(super) fn is_open(text: &[u8]) -> bool {
    // A quote within quotes is doubled (RFC 4180 §2.7), which leaves the parity as it is.
    text.iter().filter(|byte| **byte == b'"').count() % 2 == 1
}

/// The cells of a row that are not empty, by field.
struct Values<'a>(Vec<(&'static str, &'a str)>);

impl Values<'_> {
    fn of(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| *name == field).map(|(_, value)| *value)
    }

    fn required(&self, field: &str) -> Result<&str, InputError> {
        self.of(field).ok_or_else(|| at(field, "is required"))
    }

    fn put(&self, object: &mut Map<String, Value>, element: &str, field: &str) {
        if let Some(value) = self.of(field) {
            object.insert(element.to_owned(), value.into());
        }
    }

    /// A coding of `<name>_system`, `<name>_code` and `<name>_display`.
    fn coding(&self, name: &str, system: &str) -> Result<Option<Value>, InputError> {
        let field = |part: &str| format!("{name}_{part}");
        let (code, display) = (self.of(&field("code")), self.of(&field("display")));
        let Some(code) = code else {
            return match display {
                Some(_) => Err(at(&field("code"), "is required with a display")),
                None => Ok(None),
            };
        };
        let system = self.of(&field("system")).unwrap_or(system);
        let mut coding = json!({"system": system, "code": code});
        if let Some(display) = display {
            coding["display"] = display.into();
        }
        Ok(Some(coding))
    }

    fn time(&self, field: &str, whole: bool) -> Result<Option<&str>, InputError> {
        match self.of(field) {
            Some(text) if whole && !is_instant(text) => {
                Err(at(field, "must be a time with its zone, such as 2026-03-01T09:30:00Z"))
            }
            Some(text) if !is_date(text) && !is_instant(text) => Err(at(
                field,
                "must be a date such as 2026-03-01, or a time with its zone, such as \
                 2026-03-01T09:30:00Z",
            )),
            value => Ok(value),
        }
    }
}

fn at(column: &str, rule: &str) -> InputError {
    InputError::Rule(format!("column {column} {rule}"))
}

/// FHIR `date`: year, month and day, or the first of them.
fn is_date(text: &str) -> bool {
    let whole = match text.len() {
        4 => format!("{text}-01-01"),
        7 => format!("{text}-01"),
        10 => text.to_owned(),
        _ => return false,
    };
    whole.parse::<jiff::civil::Date>().is_ok()
}

/// FHIR `instant`: RFC 3339 with a zone.
fn is_instant(text: &str) -> bool {
    text.contains('T') && text.parse::<jiff::Timestamp>().is_ok()
}

fn document_reference(
    values: &Values<'_>,
    additions: &Additions,
) -> Result<(Option<PointerId>, Value), InputError> {
    let patient = patient(values)?;
    let custodian = match (values.of("custodian"), &additions.custodian) {
        (Some(code), _) => Custodian::parse(code).map_err(|rule| at("custodian", &rule))?,
        (None, Some(given)) => given.clone(),
        (None, None) => return Err(at("custodian", "is required, or --custodian")),
    };
    let id = values.of("id").map(|id| own_id(id, &custodian.ods)).transpose()?;
    let status = values.of("status").unwrap_or("current");
    if state_from_status(status).is_none() {
        return Err(at("status", "must be current, superseded or entered-in-error"));
    }
    let code = match &custodian.suffix {
        Some(suffix) => format!("{}.{suffix}", custodian.ods),
        None => custodian.ods.to_string(),
    };
    let mut object = Map::new();
    object.insert("resourceType".into(), "DocumentReference".into());
    if let Some(id) = &id {
        object.insert("id".into(), id.as_str().into());
    }
    if let Some(unlisted) = unlisted(values)? {
        let code = if unlisted { UNLISTED } else { LISTED };
        let tag = json!([{"system": LISTING_SYSTEM, "code": code}]);
        object.insert("meta".into(), json!({"tag": tag}));
    }
    object.insert("status".into(), status.into());
    let subject = json!({"system": patient.system().uri(), "value": patient.expose_digits()});
    object.insert("subject".into(), json!({"identifier": subject}));
    object.insert("custodian".into(), json!({"identifier": {"system": ODS_SYSTEM, "value": code}}));
    values.put(&mut object, "docStatus", "doc_status");
    values.put(&mut object, "description", "description");
    if let Some(date) = values.time("date", true)? {
        object.insert("date".into(), date.into());
    }
    if let Some(value) = values.of("master_identifier") {
        object.insert("masterIdentifier".into(), json!({"value": value}));
    }
    if let Some(coding) = values.coding("type", SNOMED)? {
        object.insert("type".into(), json!({"coding": [coding]}));
    }
    if let Some(coding) = values.coding("category", SNOMED)? {
        object.insert("category".into(), json!([{"coding": [coding]}]));
    }
    if let Some(author) = values.of("author") {
        author.parse::<OdsCode>().map_err(|_| at("author", "must be an ODS code"))?;
        let author = json!([{"identifier": {"system": ODS_SYSTEM, "value": author}}]);
        object.insert("author".into(), author);
    }
    object.insert("content".into(), json!([content(values)?]));
    let context = context(values)?;
    if !context.is_empty() {
        object.insert("context".into(), context.into());
    }
    Ok((id, Value::Object(object)))
}

fn content(values: &Values<'_>) -> Result<Value, InputError> {
    let mut attachment = Map::new();
    attachment.insert("url".into(), values.required("url")?.into());
    values.put(&mut attachment, "contentType", "content_type");
    values.put(&mut attachment, "language", "language");
    values.put(&mut attachment, "title", "title");
    if let Some(created) = values.time("created", false)? {
        attachment.insert("creation".into(), created.into());
    }
    let mut content = json!({"attachment": attachment});
    if let Some(format) = values.coding("format", FORMAT_SYSTEM)? {
        content["format"] = format;
    }
    Ok(content)
}

fn context(values: &Values<'_>) -> Result<Map<String, Value>, InputError> {
    let mut context = Map::new();
    let concepts = [("practiceSetting", "practice_setting"), ("facilityType", "facility_type")];
    for (element, name) in concepts {
        if let Some(coding) = values.coding(name, SNOMED)? {
            context.insert(element.into(), json!({"coding": [coding]}));
        }
    }
    let mut period = Map::new();
    for (element, field) in [("start", "period_start"), ("end", "period_end")] {
        if let Some(time) = values.time(field, false)? {
            period.insert(element.into(), time.into());
        }
    }
    if !period.is_empty() {
        context.insert("period".into(), period.into());
    }
    Ok(context)
}

fn patient(values: &Values<'_>) -> Result<PatientIdentifier, InputError> {
    let (system, column, number) = match (values.of("nhs_number"), values.of("patient_value")) {
        (Some(_), Some(_)) => {
            return Err(at("patient_value", "says again what nhs_number says: one must be empty"));
        }
        (Some(number), None) => (IdentifierSystem::NhsNumber, "nhs_number", number),
        (None, Some(number)) => {
            let system = values.required("patient_system")?;
            let system = IdentifierSystem::from_name(system)
                .or_else(|| IdentifierSystem::from_uri(system))
                .ok_or_else(|| at("patient_system", &format!("must be {}", known_systems())))?;
            (system, "patient_value", number)
        }
        (None, None) => {
            return Err(at("nhs_number", "is required (or patient_system and patient_value)"));
        }
    };
    PatientIdentifier::parse(system, number)
        .map_err(|error| at(column, &format!("is not valid: {error}")))
}

fn known_systems() -> String {
    let names: Vec<_> = IdentifierSystem::ALL.iter().map(|system| system.name()).collect();
    names.join(", ")
}

/// What the producer calls it is unique in its own system only, so the custodian stands before it.
fn own_id(id: &str, ods: &OdsCode) -> Result<PointerId, InputError> {
    let own = match id.starts_with(&format!("{ods}-")) {
        true => id.parse(),
        false => PointerId::new(ods, id),
    };
    own.map_err(|error| at("id", error.rule))
}

/// A word that is not understood is refused: to overlook one would advertise a sensitive record.
fn unlisted(values: &Values<'_>) -> Result<Option<bool>, InputError> {
    match values.of("unlisted").map(str::to_ascii_lowercase).as_deref() {
        None => Ok(None),
        Some("false" | "no" | "0") => Ok(Some(false)),
        Some("true" | "yes" | "1") => Ok(Some(true)),
        Some(_) => Err(at("unlisted", "must be true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::document_reference::draft;

    const HEADER: &str = "id,nhs_number,custodian,type_code,url";

    fn read(header: &str, row: &str) -> Result<Value, String> {
        let rows = Rows::new(header, &CsvOptions::default()).map_err(|error| error.to_string())?;
        let (id, text) =
            rows.resource(row, &Additions::default()).map_err(|error| error.to_string())?;
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value.get("id").and_then(Value::as_str), id.as_deref());
        Ok(value)
    }

    #[test]
    fn a_row_becomes_a_resource_that_the_node_takes() {
        let resource =
            read(HEADER, "17,999 000 0018,RX1.001,736253002,https://a.example/17").unwrap();
        assert_eq!(resource["id"], "RX1-17");
        assert_eq!(resource["subject"]["identifier"]["value"], "9990000018");
        assert_eq!(resource["custodian"]["identifier"]["value"], "RX1.001");
        assert_eq!(resource["type"]["coding"][0]["system"], SNOMED);
        let (id, draft) = draft(resource).unwrap();
        assert_eq!((id.unwrap().as_str(), draft.listed), ("RX1-17", None));
        let no_id = read(HEADER, ",9990000018,RX1,,https://a.example/17").unwrap();
        assert!(no_id.get("id").is_none() && no_id.get("type").is_none());
        assert_eq!(read(HEADER, "RX1-17,9990000018,RX1,,u:x").unwrap()["id"], "RX1-17");
    }

    #[test]
    fn every_column_has_its_place() {
        let header = super::super::mapping::FIELDS
            .into_iter()
            .filter(|field| *field != "nhs_number")
            .collect::<Vec<_>>()
            .join(",");
        let row = "7,chi,0101000005,RX1,superseded,final,urn:t,t,T,urn:c,c,C,2026-03-01T09:30:00Z,\
                   RX2,\"a, \"\"b\"\"\",https://a.example/7,application/pdf,en-GB,Title,2026-03,\
                   urn:f,f,F,urn:p,p,P,h,2026-01-01,2026-02-01T00:00:00+01:00,m,yes";
        let rows = Rows::new(&header, &CsvOptions::default()).unwrap();
        // A valid CHI number of nobody: the first of a day that does not fit is passed over.
        let number = (0..100)
            .find_map(|n| PatientIdentifier::from_stem(IdentifierSystem::Chi, 10_100_000 + n))
            .unwrap();
        let row = row.replace("0101000005", number.expose_digits());
        let (_, text) = rows.resource(&row, &Additions::default()).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let coding = |system: &str, code: &str, display: &str| json!({"system": system, "code": code, "display": display});
        let expected = json!({
            "resourceType": "DocumentReference", "id": "RX1-7",
            "meta": {"tag": [{"system": LISTING_SYSTEM, "code": UNLISTED}]},
            "status": "superseded", "docStatus": "final", "description": "a, \"b\"",
            "masterIdentifier": {"value": "m"}, "date": "2026-03-01T09:30:00Z",
            "subject": {"identifier": {
                "system": IdentifierSystem::Chi.uri(), "value": number.expose_digits(),
            }},
            "custodian": {"identifier": {"system": ODS_SYSTEM, "value": "RX1"}},
            "author": [{"identifier": {"system": ODS_SYSTEM, "value": "RX2"}}],
            "type": {"coding": [coding("urn:t", "t", "T")]},
            "category": [{"coding": [coding("urn:c", "c", "C")]}],
            "content": [{
                "attachment": {
                    "url": "https://a.example/7", "contentType": "application/pdf",
                    "language": "en-GB", "title": "Title", "creation": "2026-03",
                },
                "format": coding("urn:f", "f", "F"),
            }],
            "context": {
                "practiceSetting": {"coding": [coding("urn:p", "p", "P")]},
                "facilityType": {"coding": [{"system": SNOMED, "code": "h"}]},
                "period": {"start": "2026-01-01", "end": "2026-02-01T00:00:00+01:00"},
            },
        });
        assert_eq!(value, expected);
        assert!(draft(value).is_ok());
    }

    #[test]
    fn a_fault_names_its_column_and_never_its_value() {
        let good = "17,9990000018,RX1,736253002,https://a.example/17";
        for (from, to, said) in [
            ("9990000018", "9990000019", "column nhs_number is not valid: the check digit"),
            ("9990000018", "9.99E+09", "column nhs_number is not valid: the identifier must have"),
            ("9990000018", "", "column nhs_number is required"),
            ("RX1", "rx1", "column custodian must be an ODS code"),
            ("RX1", "", "column custodian is required, or --custodian"),
            ("https://a.example/17", "", "column url is required"),
            ("17,", "1_7,", "column id may hold letters"),
            ("17,", "17,17,", "6 cells, where the header has 5"),
            ("17,", "\"17,", "the quotes of this row do not close"),
        ] {
            let error = read(HEADER, &good.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(said) && !error.contains("999"), "{error}");
        }
        let header = "nhs_number,custodian,url,status,date,created,unlisted,author,type_display";
        let good = "9990000018,RX1,u:x,current,,,,,";
        assert!(read(header, good).is_ok());
        for (row, said) in [
            ("9990000018,RX1,u:x,final,,,,,", "column status"),
            ("9990000018,RX1,u:x,,2026-03-01,,,,", "column date must be a time"),
            ("9990000018,RX1,u:x,,,01/03/2026,,,", "column created must be a date"),
            ("9990000018,RX1,u:x,,,2026-02-30,,,", "column created must be a date"),
            ("9990000018,RX1,u:x,,,,maybe,,", "column unlisted must be true or false"),
            ("9990000018,RX1,u:x,,,,,Dr Ward,", "column author must be an ODS code"),
            ("9990000018,RX1,u:x,,,,,,Plan", "column type_code is required"),
        ] {
            let error = read(header, row).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        let header = "patient_system,patient_value,nhs_number,custodian,url";
        for (row, said) in [
            ("passport,9990000018,,RX1,u:x", "column patient_system must be"),
            (",9990000018,,RX1,u:x", "column patient_system is required"),
            ("nhs-number,9990000018,9990000018,RX1,u:x", "column patient_value"),
        ] {
            let error = read(header, row).unwrap_err();
            assert!(error.contains(said) && !error.contains("999"), "{error}");
        }
    }

    #[test]
    fn open_quotes_are_told_by_their_parity() {
        assert!(is_open(br#"a,"b"#) && is_open(br#"a,"b""c"#));
        assert!(!is_open(br#"a,"b""c""#) && !is_open(b"a"));
    }
}
