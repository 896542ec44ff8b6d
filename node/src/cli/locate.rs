//! `signpost locate`: who holds a record for this patient?

use std::{collections::BTreeMap, io::Read as _, path::Path, process::ExitCode};

use anyhow::{Context as _, bail};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use signpost_protocol::{IdentifierSystem, PatientIdentifier, limits};

use super::{
    PARTLY,
    behalf::Behalf,
    client::{Client, Reply},
    text::{print, printable, table},
};
use crate::{
    core::local::StatusReport,
    fhir::purpose::{RULE, purpose},
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
    /// Who asks, for the disclosure records: an opaque id [default: cli: and your login name].
    #[arg(long)]
    user: Option<String>,
    /// The role in which they ask.
    #[arg(long)]
    role: Option<String>,
    #[command(flatten)]
    behalf: Behalf,
}

/// Runs the command.
pub(super) fn command(dir: &Path, args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    let patient = patient(args)?;
    let client = Client::open(dir, &args.behalf)?;
    let mut form = format!(
        "subject%3Aidentifier={}%7C{}",
        encoded(patient.system().uri()),
        patient.expose_digits()
    );
    if let Some(kind) = &args.kind {
        form += &format!("&type={}", encoded(kind));
    }
    let user = args.user.clone().or_else(login_name);
    let headers: Vec<_> = [
        ("Signpost-Purpose", &args.purpose),
        ("Signpost-User", &user),
        ("Signpost-Role", &args.role),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value.as_deref()?)))
    .collect();
    // POST, so that the number stands in no URL.
    let reply = client.post(
        "/fhir/R4/DocumentReference/_search",
        "application/x-www-form-urlencoded",
        &form,
        &headers,
    )?;
    let complete = is_complete(&reply);
    print(&if json { reply.body } else { report(&reply.json()?, complete, &names(&client)) })?;
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::from(PARTLY) })
}

/// The person at the terminal, as far as the machine knows: a disclosure record names somebody.
fn login_name() -> Option<String> {
    let name = ["LOGNAME", "USER"].into_iter().find_map(|name| std::env::var(name).ok())?;
    let plain = name.len() <= 32 && name.bytes().all(|b| b.is_ascii_graphic());
    (plain && !name.is_empty()).then(|| format!("cli:{name}"))
}

/// The organizations' names by ODS code; none when the node does not say.
fn names(client: &Client) -> BTreeMap<String, String> {
    let status: Option<StatusReport> =
        client.get("/signpost/v1/status").and_then(|reply| reply.json()).ok();
    let status = status.into_iter();
    status
        .flat_map(|status| {
            let own = status.serves.into_iter().map(|served| (served.ods, served.name));
            own.chain(status.peers.into_iter().map(|peer| (peer.ods, peer.name)))
                .collect::<Vec<_>>()
        })
        .collect()
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
    if args.purpose.as_ref().is_some_and(|text| purpose(text).is_none()) {
        bail!("--purpose {RULE}");
    }
    let plain =
        |text: &String, max| text.len() <= max && text.bytes().all(|b| b.is_ascii_graphic());
    if args.user.as_ref().is_some_and(|user| !plain(user, limits::USER_BYTES_MAX)) {
        bail!(
            "--user must be plain text without blanks, of at most {} bytes",
            limits::USER_BYTES_MAX
        );
    }
    if args.role.as_ref().is_some_and(|role| !plain(role, limits::ROLE_BYTES_MAX)) {
        bail!(
            "--role must be plain text without blanks, of at most {} bytes",
            limits::ROLE_BYTES_MAX
        );
    }
    Ok(PatientIdentifier::parse(system, value.trim())?)
}

/// Only the plain word counts: a reply that says nothing of completeness is not complete.
fn is_complete(reply: &Reply) -> bool {
    reply.completeness.as_deref() == Some("complete")
}

/// The result for people: a table, then whether it is all, then what is missing.
fn report(bundle: &Value, complete: bool, names: &BTreeMap<String, String>) -> String {
    let entries = bundle["entry"].as_array().map_or(&[][..], Vec::as_slice);
    let (outcomes, matches): (Vec<_>, Vec<_>) =
        entries.iter().partition(|entry| entry["search"]["mode"] == "outcome");
    let mut rows =
        vec![["ORGANIZATION", "NAME", "TYPE", "ID", "VERSION", "URL"].map(str::to_owned).to_vec()];
    rows.extend(matches.iter().map(|entry| row(&entry["resource"], names)));
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

fn row(resource: &Value, names: &BTreeMap<String, String>) -> Vec<String> {
    let custodian = &resource["custodian"];
    let coding = &resource["type"]["coding"][0];
    let first = |choices: [&Value; 3]| {
        printable(choices.into_iter().find_map(Value::as_str).unwrap_or("-"))
    };
    let one = |value| first([value, &Value::Null, &Value::Null]);
    let code = custodian["identifier"]["value"].as_str().unwrap_or_default();
    // The code may have a suffix after a dot.
    let name = names.get(code.split('.').next().unwrap_or_default());
    vec![
        one(&custodian["identifier"]["value"]),
        name.map_or_else(|| one(&custodian["display"]), |name| printable(name)),
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
            {"search": {"mode": "match"}, "resource": {"id": "RX2-1",
                "custodian": {"identifier": {"value": "RX2.001"}}}},
            {"search": {"mode": "outcome"}, "resource": {"resourceType": "OperationOutcome", "issue": [
                {"code": "incomplete", "diagnostics": "York (RX3) could not be reached"}]}},
        ]})
    }

    #[test]
    fn a_partial_result_says_so_and_why() {
        let names = [("RX2".to_owned(), "Selby".to_owned())].into();
        let text = report(&bundle(), false, &names);
        let expected = "\
ORGANIZATION  NAME        TYPE         ID     VERSION  URL
RX1           Harrow\u{fffd}[2J  Crisis plan  RX1-7  2        https://rx1.example/7
RX2.001       Selby       -            RX2-1  -        -

2 records were found. The result is PARTIAL: there may be more.
  - York (RX3) could not be reached
";
        assert_eq!(text, expected);
        assert!(report(&bundle(), true, &names).ends_with("found. The result is complete.\n"));
    }

    #[test]
    fn nothing_found_is_told_apart_from_nothing_known() {
        let empty = json!({"resourceType": "Bundle", "total": 0});
        let nobody = BTreeMap::new();
        let complete = report(&empty, true, &nobody);
        assert_eq!(complete, "No records were found. The result is complete.\n");
        assert!(report(&empty, false, &nobody).contains("PARTIAL"));
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
            user: None,
            role: None,
            behalf: Behalf::default(),
        };
        assert!(patient(&args("999 000 0018", "nhs-number")).is_ok());
        for (identifier, system) in [("9990000019", "nhs-number"), ("9990000018", "chi")] {
            let error = patient(&args(identifier, system)).unwrap_err().to_string();
            assert!(!error.contains("999"), "{error}");
        }
        let refused = |change: fn(&mut Args)| {
            let mut args = args("9990000018", "nhs-number");
            change(&mut args);
            patient(&args).unwrap_err().to_string()
        };
        assert!(refused(|args| args.purpose = Some("TRAET".to_owned())).contains("PurposeOfUse"));
        assert!(refused(|args| args.user = Some("a b".to_owned())).contains("--user"));
        assert!(refused(|args| args.role = Some("\u{1}".to_owned())).contains("--role"));
    }
}
