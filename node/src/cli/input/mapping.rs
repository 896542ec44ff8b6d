//! Which column of a CSV file means what: our names, or a mapping file's.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context as _;
use serde::Deserialize;

/// A value that a pointer is made of: its name as a column, and what it becomes.
pub(super) const FIELDS: [&str; 32] = [
    "id",
    "nhs_number",
    "patient_system",
    "patient_value",
    "custodian",
    "status",
    "doc_status",
    "type_system",
    "type_code",
    "type_display",
    "category_system",
    "category_code",
    "category_display",
    "date",
    "author",
    "description",
    "url",
    "content_type",
    "language",
    "title",
    "created",
    "format_system",
    "format_code",
    "format_display",
    "practice_setting_system",
    "practice_setting_code",
    "practice_setting_display",
    "facility_type_code",
    "period_start",
    "period_end",
    "master_identifier",
    "unlisted",
];

/// How to read a CSV file.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct CsvOptions {
    mapping: Mapping,
    /// Whether columns without a meaning are left out rather than refused.
    pub(in crate::cli) ignore_unknown: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mapping {
    delimiter: Option<String>,
    #[serde(default)]
    columns: BTreeMap<String, String>,
    #[serde(default)]
    constants: BTreeMap<String, String>,
}

impl CsvOptions {
    /// Reads a mapping file.
    pub(in crate::cli) fn read(map: Option<&Path>, ignore_unknown: bool) -> anyhow::Result<Self> {
        let Some(path) = map else { return Ok(Self { ignore_unknown, ..Self::default() }) };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the mapping file {}", path.display()))?;
        let mapping = Mapping::parse(&text)
            .with_context(|| format!("the mapping file {} cannot be used", path.display()))?;
        Ok(Self { mapping, ignore_unknown })
    }

    /// Whether the file is CSV by the user's own word.
    pub(super) fn is_mapped(&self) -> bool {
        !self.mapping.columns.is_empty() || !self.mapping.constants.is_empty()
    }

    /// What stands between two cells of a header: as mapped, or whichever of the usual ones makes
    /// most columns known. `None` when none makes two.
    pub(super) fn delimiter(&self, header: &str) -> Option<u8> {
        if let Some(delimiter) = self.mapping.delimiter_byte() {
            return Some(delimiter);
        }
        let known = |delimiter: &u8| {
            let cells = header.trim_end().split(char::from(*delimiter));
            cells.filter(|cell| self.field(cell.trim_matches(['"', ' '])).is_some()).count()
        };
        let best = [b',', b';', b'\t'].into_iter().max_by_key(|delimiter| {
            // Of equals the first wins.
            (known(delimiter), std::cmp::Reverse(*delimiter))
        });
        best.filter(|best| known(best) >= 2)
    }

    /// The field that a column of the file fills.
    fn field(&self, header: &str) -> Option<&'static str> {
        let mapped = self.mapping.columns.iter().find(|(_, theirs)| theirs.as_str() == header);
        match mapped {
            Some((ours, _)) => FIELDS.into_iter().find(|field| field == ours),
            None => FIELDS
                .into_iter()
                .filter(|field| !self.mapping.columns.contains_key(*field))
                .filter(|field| !self.mapping.constants.contains_key(*field))
                .find(|field| field.eq_ignore_ascii_case(header)),
        }
    }

    /// The meaning of every column, `None` for one to be left out.
    ///
    /// # Errors
    /// A sentence that names the column: one without a meaning, two with the same, or one that the
    /// mapping names and the file lacks.
    pub(super) fn columns(&self, header: &[&str]) -> Result<Columns, String> {
        let mut fields = Vec::new();
        for theirs in header {
            let theirs = theirs.trim();
            let field = self.field(theirs);
            if field.is_none() && !self.ignore_unknown {
                return Err(format!(
                    "the column {} has no meaning here: give it one with --map, or leave such \
                     columns out with --ignore-unknown-columns; the known columns are {}",
                    quoted(theirs),
                    FIELDS.join(", ")
                ));
            }
            if field.is_some() && fields.contains(&field) {
                return Err(format!("two columns mean {}", field.unwrap_or_default()));
            }
            fields.push(field);
        }
        for (ours, theirs) in &self.mapping.columns {
            if !header.iter().any(|header| header.trim() == theirs) {
                let theirs = quoted(theirs);
                return Err(format!(
                    "the mapping takes {ours} from the column {theirs}, which this file does not have"
                ));
            }
        }
        let constants = self.mapping.constants.iter().filter_map(|(ours, value)| {
            FIELDS.into_iter().find(|field| field == ours).map(|field| (field, value.clone()))
        });
        Ok(Columns { fields, constants: constants.collect() })
    }
}

/// A header cell as a message shows it. One that has many digits is no header but a row of data,
/// perhaps with a patient's number: the file has no header then.
fn quoted(header: &str) -> String {
    if header.bytes().filter(u8::is_ascii_digit).count() >= 6 || header.len() > 60 {
        return "with a long number or text in the first line (is that line the header?)"
            .to_owned();
    }
    format!("\"{header}\"")
}

/// What the cells of a row mean.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    /// By position.
    pub(super) fields: Vec<Option<&'static str>>,
    /// What every row has.
    pub(super) constants: Vec<(&'static str, String)>,
}

impl Mapping {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let mapping: Self = toml::from_str(text)?;
        for ours in mapping.columns.keys().chain(mapping.constants.keys()) {
            anyhow::ensure!(
                FIELDS.contains(&ours.as_str()),
                "there is no field {ours:?}; the fields are {}",
                FIELDS.join(", ")
            );
        }
        let twice = mapping.columns.keys().find(|ours| mapping.constants.contains_key(*ours));
        if let Some(ours) = twice {
            anyhow::bail!("{ours} has both a column and a constant: one of them must go");
        }
        if let Some(delimiter) = &mapping.delimiter {
            anyhow::ensure!(
                mapping.delimiter_byte().is_some(),
                "the delimiter must be one character of ASCII punctuation, or \"tab\", not \
                 {delimiter:?}"
            );
        }
        Ok(mapping)
    }

    fn delimiter_byte(&self) -> Option<u8> {
        match self.delimiter.as_deref()?.as_bytes() {
            b"tab" | b"\t" => Some(b'\t'),
            [byte] if byte.is_ascii_punctuation() && *byte != b'"' => Some(*byte),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(text: &str) -> CsvOptions {
        CsvOptions { mapping: Mapping::parse(text).unwrap(), ignore_unknown: false }
    }

    #[test]
    fn the_delimiter_is_the_one_that_makes_sense_of_the_header() {
        let options = CsvOptions::default();
        assert_eq!(options.delimiter("id,nhs_number,url\r\n"), Some(b','));
        assert_eq!(options.delimiter("\"id\";NHS_Number;url"), Some(b';'));
        assert_eq!(options.delimiter("id\tnhs_number\tx"), Some(b'\t'));
        assert_eq!(options.delimiter("hello, world"), None);
        assert_eq!(options.delimiter("url"), None);
        assert_eq!(mapped("delimiter = \"|\"").delimiter("a|b"), Some(b'|'));
    }

    #[test]
    fn a_mapping_gives_their_columns_our_meaning() {
        let options = mapped(
            "[columns]\nnhs_number = \"NHS No\"\nurl = \"Link\"\n[constants]\ncustodian = \"RX1\"",
        );
        let columns = options.columns(&["Link", "id", " NHS No "]).unwrap();
        assert_eq!(columns.fields, [Some("url"), Some("id"), Some("nhs_number")]);
        assert_eq!(columns.constants, [("custodian", "RX1".to_owned())]);
        let fault = |header: &[&str]| options.columns(header).unwrap_err();
        assert!(fault(&["Link", "NHS No", "Ward"]).contains("\"Ward\" has no meaning"));
        assert!(fault(&["NHS No"]).contains("takes url from the column \"Link\""));
        assert!(fault(&["Link", "NHS No", "id", "ID"]).contains("two columns mean id"));
        // What the mapping takes from elsewhere has no second way in.
        assert!(fault(&["Link", "NHS No", "url"]).contains("\"url\" has no meaning"));
        let lenient = CsvOptions { ignore_unknown: true, ..options };
        assert_eq!(lenient.columns(&["Link", "NHS No", "Ward"]).unwrap().fields[2], None);
    }

    #[test]
    fn misspelt_mappings_are_refused() {
        for (text, said) in [
            ("[columns]\nnhsnumber = \"x\"", "no field \"nhsnumber\""),
            ("[constants]\ncustodean = \"x\"", "no field \"custodean\""),
            ("[column]\nid = \"x\"", "unknown field `column`"),
            ("delimiter = \"ab\"", "the delimiter must be"),
            ("delimiter = '\"'", "the delimiter must be"),
            ("[columns]\nid = \"x\"\n[constants]\nid = \"y\"", "both a column and a constant"),
        ] {
            let error = Mapping::parse(text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_file_without_a_header_does_not_show_its_first_row() {
        let error = CsvOptions::default().columns(&["id", "url", "999 000 0018"]).unwrap_err();
        assert!(!error.contains("999") && error.contains("header"), "{error}");
    }
}
