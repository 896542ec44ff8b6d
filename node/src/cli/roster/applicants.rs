//! `signpost roster applicants`: who has applied to join with invitations of this node.

use std::process::ExitCode;

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use signpost_keys::roster::Application;
use signpost_protocol::NetworkId;

use super::{fail, source::Source};
use crate::{
    api::joining::ApplicantShown,
    cli::text::{fingerprint_words, print, printable, table},
};

/// Arguments of `signpost roster applicants`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
They applied with invitations of this node (`signpost invite`); another member's node knows its own.

Examples:
  signpost roster applicants
  signpost roster applicants --json")]
pub(super) struct Args {}

/// Runs the command.
pub(super) fn command(source: &Source, json: bool) -> anyhow::Result<ExitCode> {
    let applicants = source.applicants()?;
    print(&if json { serde_json::to_string(&applicants)? } else { report(&applicants)? })?;
    Ok(ExitCode::SUCCESS)
}

fn report(applicants: &[ApplicantShown]) -> anyhow::Result<String> {
    if applicants.is_empty() {
        return Ok("Nobody has applied with an invitation of this node.\n\
                   Next: `signpost invite` makes one.\n"
            .to_owned());
    }
    let mut rows =
        vec![["ODS", "NAME", "RECEIVED", "PORT", "FINGERPRINT"].map(str::to_owned).to_vec()];
    for applicant in applicants {
        rows.push(vec![
            printable(&applicant.ods),
            printable(&applicant.name),
            applicant.received.clone(),
            if applicant.is_member { "member already" } else { port(applicant) }.to_owned(),
            words(applicant)?,
        ]);
    }
    let next =
        "Next: compare the fingerprint by telephone, then `signpost roster propose admit ODS`.";
    Ok(format!("{}\n{next}\n", table(&rows)))
}

const fn port(applicant: &ApplicantShown) -> &'static str {
    match applicant.reachable {
        Some(true) => "open",
        Some(false) => "closed",
        None => "not tried",
    }
}

/// The words of its fingerprint, which the node's admin reads out.
fn words(applicant: &ApplicantShown) -> anyhow::Result<String> {
    let id = hex::decode(&applicant.organization).ok().and_then(|id| id.try_into().ok());
    Ok(fingerprint_words(&id.context("the node's reply cannot be understood")?))
}

/// The application of the organization that a person means: by its ODS code, or by the beginning of
/// its id where several say that they have that code. With it, what to know of it before it is
/// proposed.
pub(super) fn find(
    source: &Source,
    text: &str,
    network: &NetworkId,
) -> anyhow::Result<(Application, String)> {
    let all = source.applicants()?;
    let fits = |applicant: &&ApplicantShown| {
        applicant.ods == text || (text.len() >= 6 && applicant.organization.starts_with(text))
    };
    let mut found: Vec<&ApplicantShown> = all.iter().filter(fits).collect();
    // The same organization, with two invitations.
    found.dedup_by_key(|applicant| &applicant.organization);
    let applicant = match &*found {
        [one] => *one,
        [] => {
            return Err(fail(
                format!("{} has not applied with an invitation of this node", printable(text)),
                "`signpost roster applicants` lists those that have; with a file that you were sent, \
                 use --application FILE",
            ));
        }
        several => {
            let ids: Vec<&str> = several.iter().map(|one| &one.organization[..12]).collect();
            return Err(fail(
                format!(
                    "{} organizations say that they have the code {}: {}",
                    ids.len(),
                    printable(text),
                    ids.join(", ")
                ),
                "at most one of them is right: compare fingerprints (`signpost roster applicants`), \
                 and name it by its id",
            ));
        }
    };
    let decoded = |text: &str| BASE64.decode(text).context("the node's reply cannot be understood");
    let (inception, keys) = (decoded(&applicant.inception)?, decoded(&applicant.keys)?);
    let application =
        Application::verify(&inception, &keys, network).context("the application does not hold")?;
    let text = describe(applicant, &application);
    Ok((application, text))
}

/// What to know of an application.
fn describe(applicant: &ApplicantShown, application: &Application) -> String {
    let mut text = format!(
        "{} ({}) applied at {}.\nFingerprint to compare with what its admin reads out:\n  {}\n",
        printable(&application.inception.name),
        application.inception.ods,
        applicant.received,
        fingerprint_words(application.organization.as_bytes()),
    );
    for node in application.keys.nodes.iter() {
        let addresses: Vec<_> = node.addresses.iter().map(|address| printable(address)).collect();
        text += &format!("Its node listens at {}.\n", addresses.join(", "));
    }
    text += &match (applicant.reachable, &applicant.unreachable_because) {
        (Some(true), _) => "This node has reached it there.\n".to_owned(),
        (Some(false), reason) => format!(
            "CAREFUL: this node could NOT reach it there: {}. Nobody will find its records until its \
             port is open.\n",
            printable(reason.as_deref().unwrap_or("without a reason"))
        ),
        (None, _) => "Whether it can be reached there was not tried.\n".to_owned(),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applicant(ods: &str, reachable: Option<bool>) -> ApplicantShown {
        ApplicantShown {
            organization: "00".repeat(32),
            ods: ods.to_owned(),
            name: "Harrow\u{1b}".to_owned(),
            received: "2026-01-11T00:00:00Z".to_owned(),
            expires: "2026-01-18T00:00:00Z".to_owned(),
            reachable,
            unreachable_because: None,
            is_member: false,
            inception: String::new(),
            keys: String::new(),
        }
    }

    #[test]
    fn applicants_are_listed_with_what_to_compare() {
        let text = report(&[applicant("RX9", Some(true)), applicant("RX8", Some(false))]).unwrap();
        for part in ["RX9  Harrow\u{fffd}", "abandon abandon", "open", "closed", "propose admit"] {
            assert!(text.contains(part), "no {part} in\n{text}");
        }
        assert!(report(&[]).unwrap().contains("signpost invite"));
        let strange = ApplicantShown { organization: "xy".to_owned(), ..applicant("RX9", None) };
        assert!(report(&[strange]).is_err());
    }
}
