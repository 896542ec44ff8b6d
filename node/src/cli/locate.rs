//! `signpost locate`: who holds a record for this patient?

use std::{io::Read as _, path::Path, process::ExitCode};

use anyhow::{Context as _, bail};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use signpost_protocol::{IdentifierSystem, PatientIdentifier, limits};

use super::{
    PARTLY,
    client::{Client, Reply},
    text::{print, printable, table},
};

/// Arguments of `signpost locate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An IDENTIFIER on the command line can be seen by every user of this machine in the list of
processes, and stays in the shell's history. With - it is read from standard input instead.

Exit code: 0 when the result is complete, 3 when it is partial, 1 when there is none.

Examples:
  signpost locate 9990000018
  signpost locate - < number.txt
  signpost locate --system chi --type 'http://snomed.info/sct|736253002' --json -")]
pub(super) struct Args {
    /// The patient's number, spaces allowed; - reads it from standard input.
    identifier: String,
    /// What kind of number it is.
    #[arg(long, default_value = "nhs-number", value_parser = ["nhs-number", "chi", "hcn"])]
    system: String,
    /// Only records of this type, as SYSTEM|CODE.
    #[arg(long = "type", value_name = "SYSTEM|CODE")]
    kind: Option<String>,
    /// Purpose of use (HL7 v3 PurposeOfUse, e.g. TREAT); the node's default otherwise.
    #[arg(long)]
    purpose: Option<String>,
}

/// Runs the command.
pub(super) fn command(dir: &Path, args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    let patient = patient(args)?;
    let client = Client::open(dir)?;
    let mut form = format!(
        "subject%3Aidentifier={}%7C{}",
        encoded(patient.system().uri()),
        patient.expose_digits()
    );
    if let Some(kind) = &args.kind {
        form += &format!("&type={}", encoded(kind));
    }
    let headers: Vec<_> = args.purpose.iter().map(|p| ("Signpost-Purpose", p.as_str())).collect();
    // POST, so that the number stands in no URL.
    let reply = client.post(
        "/fhir/R4/DocumentReference/_search",
        "application/x-www-form-urlencoded",
        &form,
        &headers,
    )?;
    let complete = is_complete(&reply);
    print(&if json { reply.body } else { report(&reply.json()?, complete) })?;
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::from(PARTLY) })
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn patient(args: &Args) -> anyhow::Result<PatientIdentifier> {
    let mut value = args.identifier.clone();
    if value == "-" {
        value.clear();
        // One byte more than any identifier that parses: a longer input is refused by its length.
        let read = std::io::stdin().take(64).read_to_string(&mut value);
        read.context("cannot read the identifier from standard input")?;
    }
    let Some(system) = IdentifierSystem::from_name(&args.system) else {
        bail!("unknown identifier system");
    };
    if args.purpose.as_ref().is_some_and(|p| p.len() > limits::PURPOSE_BYTES_MAX || !p.is_ascii()) {
        bail!("a purpose is a code of at most {} letters", limits::PURPOSE_BYTES_MAX);
    }
    Ok(PatientIdentifier::parse(system, value.trim())?)
}

/// Only the plain word counts: a reply that says nothing of completeness is not complete.
fn is_complete(reply: &Reply) -> bool {
    reply.completeness.as_deref() == Some("complete")
}

/// The result for people: a table, then whether it is all, then what is missing.
fn report(bundle: &Value, complete: bool) -> String {
    let entries = bundle["entry"].as_array().map_or(&[][..], Vec::as_slice);
    let (outcomes, matches): (Vec<_>, Vec<_>) =
        entries.iter().partition(|entry| entry["search"]["mode"] == "outcome");
    let mut rows =
        vec![["ORGANIZATION", "NAME", "TYPE", "ID", "VERSION", "URL"].map(str::to_owned).to_vec()];
    rows.extend(matches.iter().map(|entry| row(&entry["resource"])));
    let mut text = if matches.is_empty() { String::new() } else { table(&rows) + "\n" };
    let count = match matches.len() {
        0 => "No records were found".to_owned(),
        1 => "1 record was found".to_owned(),
        count => format!("{count} records were found"),
    };
    if complete {
        text += &format!("{count}. The result is complete.\n");
        return text;
    }
    text += &format!("{count}. The result is PARTIAL: there may be more.\n");
    for issue in outcomes.iter().filter_map(|entry| entry["resource"]["issue"].as_array()).flatten()
    {
        let said = [&issue["diagnostics"], &issue["details"]["text"], &issue["code"]];
        let said =
            said.into_iter().find_map(Value::as_str).unwrap_or("a cause without description");
        text += &format!("  - {}\n", printable(said));
    }
    text
}

fn row(resource: &Value) -> Vec<String> {
    let custodian = &resource["custodian"];
    let coding = &resource["type"]["coding"][0];
    let first = |choices: [&Value; 3]| {
        printable(choices.into_iter().find_map(Value::as_str).unwrap_or("-"))
    };
    let one = |value| first([value, &Value::Null, &Value::Null]);
    vec![
        one(&custodian["identifier"]["value"]),
        one(&custodian["display"]),
        first([&coding["display"], &resource["type"]["text"], &coding["code"]]),
        one(&resource["id"]),
        one(&resource["meta"]["versionId"]),
        one(&resource["content"][0]["attachment"]["url"]),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bundle() -> Value {
        json!({"resourceType": "Bundle", "entry": [
            {"search": {"mode": "match"}, "resource": {
                "resourceType": "DocumentReference", "id": "RX1-7", "meta": {"versionId": "2"},
                "type": {"coding": [{"code": "736253002", "display": "Crisis plan"}]},
                "custodian": {"identifier": {"value": "RX1"}, "display": "Harrow\u{1b}[2J"},
                "content": [{"attachment": {"url": "https://rx1.example/7"}}]}},
            {"search": {"mode": "match"}, "resource": {"id": "RX2-1"}},
            {"search": {"mode": "outcome"}, "resource": {"resourceType": "OperationOutcome", "issue": [
                {"code": "incomplete", "diagnostics": "York (RX3) could not be reached"}]}},
        ]})
    }

    #[test]
    fn a_partial_result_says_so_and_why() {
        let text = report(&bundle(), false);
        let expected = "\
ORGANIZATION  NAME        TYPE         ID     VERSION  URL
RX1           Harrow\u{fffd}[2J  Crisis plan  RX1-7  2        https://rx1.example/7
-             -           -            RX2-1  -        -

2 records were found. The result is PARTIAL: there may be more.
  - York (RX3) could not be reached
";
        assert_eq!(text, expected);
        assert!(report(&bundle(), true).ends_with("found. The result is complete.\n"));
    }

    #[test]
    fn nothing_found_is_told_apart_from_nothing_known() {
        let empty = json!({"resourceType": "Bundle", "total": 0});
        assert_eq!(report(&empty, true), "No records were found. The result is complete.\n");
        assert!(report(&empty, false).contains("PARTIAL"));
    }

    #[test]
    fn only_the_word_complete_means_complete() {
        for (header, complete) in
            [(None, false), (Some("partial"), false), (Some(""), false), (Some("complete"), true)]
        {
            let completeness = header.map(str::to_owned);
            assert_eq!(
                is_complete(&Reply { completeness, next: None, body: String::new() }),
                complete
            );
        }
    }

    #[test]
    fn identifiers_are_checked_before_anything_is_sent_and_never_repeated() {
        let args = |identifier: &str, system: &str| Args {
            identifier: identifier.to_owned(),
            system: system.to_owned(),
            kind: None,
            purpose: None,
        };
        assert!(patient(&args("999 000 0018", "nhs-number")).is_ok());
        for (identifier, system) in [("9990000019", "nhs-number"), ("9990000018", "chi")] {
            let error = patient(&args(identifier, system)).unwrap_err().to_string();
            assert!(!error.contains("999"), "{error}");
        }
    }
}
