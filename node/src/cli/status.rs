//! `signpost status`: how the node is, in one screen; and `signpost confirm-restored`.

use std::{fmt::Write as _, path::Path, process::ExitCode};

use serde_json::Value;

use super::{
    client::Client,
    text::{fingerprint, print, printable, table},
};
use crate::core::local::StatusReport;

/// Arguments of `signpost status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signpost status
  signpost --dir /var/lib/signpost status --json")]
pub(super) struct StatusArgs {}

/// Arguments of `signpost confirm-restored`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A node that came back from a back-up lacks what was published after it. Every look-up names this
organization as restored, and so as possibly incomplete, until this command says that its clinical
systems have sent those pointers again.

Example:
  signpost confirm-restored")]
pub(super) struct ConfirmRestoredArgs {}

/// Runs `signpost status`.
pub(super) fn command(dir: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let reply = Client::open(dir)?.get("/signpost/v1/status")?;
    print(&if json { reply.body } else { report(&reply.json()?) })?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `signpost confirm-restored`.
pub(super) fn confirm_restored(dir: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let reply =
        Client::open(dir)?.post("/signpost/v1/confirm-restored", "application/json", "", &[])?;
    let body: Value = reply.json()?;
    print(if json {
        &reply.body
    } else if body["confirmed"] == true {
        "Confirmed: this organization is no longer named as restored."
    } else {
        "There was nothing to confirm: the node was not restored from a back-up."
    })?;
    Ok(ExitCode::SUCCESS)
}

fn report(status: &StatusReport) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        writeln!(text, "{name:12}{}", printable(value)).expect("writing to a String succeeds");
    };
    line("ready", if status.ready { "yes" } else { "NO" });
    for notice in &status.notices {
        line("notice", notice);
    }
    line("network", &status.network_name);
    line("", &fingerprint(&status.network));
    for served in &status.serves {
        let digest =
            served.digest_version.map_or("none yet".to_owned(), |v| format!("version {v}"));
        line("serves", &format!("{} {}", served.ods, served.name));
        line("", &format!("{} pointers, digest {digest}", served.pointers));
        line("", &fingerprint(&served.organization));
        if let Some(instant) = &served.restored_as_of {
            let hint = "see `signpost confirm-restored --help`";
            line("", &format!("restored from a back-up as of {instant}; {hint}"));
        }
    }
    let evaluators = &status.evaluators;
    line(
        "evaluators",
        &format!(
            "{} of {} connected ({}), {} needed",
            evaluators.connected.len(),
            evaluators.members.len(),
            evaluators.connected.join(", "),
            evaluators.threshold
        ),
    );
    if evaluators.dealt {
        line("", "their shares were dealt by one party: for demonstrations only");
    }
    if let Some(offset) = status.clock_offset {
        line("clock", &format!("{offset} ms from its peers"));
    }
    let connected = status.peers.iter().filter(|peer| peer.connected).count();
    line("peers", &format!("{connected} of {} connected", status.peers.len()));
    if status.peers.is_empty() {
        return text;
    }
    let headings = ["ORGANIZATION", "NAME", "CONNECTED", "DIGEST", "VERSION", "ISSUED"];
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    rows.extend(status.peers.iter().map(|peer| {
        vec![
            printable(&peer.ods),
            printable(&peer.name),
            if peer.connected { "yes" } else { "NO" }.to_owned(),
            printable(&peer.digest),
            peer.digest_version.map_or("-".to_owned(), |version| version.to_string()),
            printable(peer.digest_issued.as_deref().unwrap_or("-")),
        ]
    }));
    text + "\n" + &table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::local::{EvaluatorsStatus, PeerStatus, ServedStatus};

    fn status() -> StatusReport {
        StatusReport {
            network_name: "Trial".to_owned(),
            network: "00112233".to_owned(),
            serves: vec![ServedStatus {
                ods: "RX1".to_owned(),
                name: "Harrow".to_owned(),
                organization: "aabbccdd".to_owned(),
                pointers: 12,
                digest_version: Some(3),
                restored_as_of: None,
            }],
            node: "ee".to_owned(),
            peers: vec![PeerStatus {
                ods: "RX2".to_owned(),
                name: "York\u{1b}".to_owned(),
                connected: false,
                digest: "stale".to_owned(),
                digest_issued: None,
                digest_version: Some(9),
            }],
            evaluators: EvaluatorsStatus {
                threshold: 2,
                members: vec!["RX1".to_owned(), "RX2".to_owned()],
                connected: vec!["RX1".to_owned()],
                dealt: true,
            },
            ready: false,
            notices: vec!["too few evaluators".to_owned()],
            clock_offset: Some(-7),
        }
    }

    #[test]
    fn one_screen_tells_what_matters() {
        let expected = "\
ready       NO
notice      too few evaluators
network     Trial
            0011 2233
serves      RX1 Harrow
            12 pointers, digest version 3
            aabb ccdd
evaluators  1 of 2 connected (RX1), 2 needed
            their shares were dealt by one party: for demonstrations only
clock       -7 ms from its peers
peers       0 of 1 connected

ORGANIZATION  NAME   CONNECTED  DIGEST  VERSION  ISSUED
RX2           York\u{fffd}  NO         stale   9        -
";
        assert_eq!(report(&status()), expected);
    }

    #[test]
    fn a_restored_organization_is_told_how_to_confirm() {
        let mut restored = status();
        restored.serves[0].restored_as_of = Some("2026-01-01T00:00:00Z".to_owned());
        assert!(report(&restored).contains("confirm-restored"));
        restored.peers.clear();
        assert!(!report(&restored).contains("ORGANIZATION"));
    }
}
