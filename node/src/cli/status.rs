//! `signpost status`: how the node is, in one screen; and `signpost confirm-restored`.

use std::{fmt::Write as _, path::Path, process::ExitCode};

use serde_json::Value;
use signpost_protocol::{NetworkId, OrganizationId};

use super::{
    behalf::Behalf,
    client::Client,
    text::{fingerprint, fingerprint_words, print, printable, table},
};
use crate::core::local::{PeerStatus, ServedStatus, StatusReport};

/// Organizations of one node that are shown: a screen's worth.
const SERVED_SHOWN_MAX: usize = 20;

/// Arguments of `signpost status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signpost status
  signpost --dir /var/lib/signpost status --json
  signpost status --organization RX1
      Of a node that serves several: how many pointers this one has.")]
pub(super) struct StatusArgs {
    #[command(flatten)]
    behalf: Behalf,
}

/// Arguments of `signpost confirm-restored`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A node that came back from a back-up lacks what was published after it. Every look-up names this
organization as restored, and so as possibly incomplete, until this command says that its clinical
systems have sent those pointers again.

Example:
  signpost confirm-restored")]
pub(super) struct ConfirmRestoredArgs {
    #[command(flatten)]
    behalf: Behalf,
}

/// Runs `signpost status`.
pub(super) fn command(dir: &Path, args: &StatusArgs, json: bool) -> anyhow::Result<ExitCode> {
    // Any organization's token shows how the node is.
    let reply = Client::open(dir, &args.behalf.or_first(dir))?.get("/signpost/v1/status")?;
    print(&if json { reply.body } else { report(&reply.json()?) })?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `signpost confirm-restored`.
pub(super) fn confirm_restored(
    dir: &Path,
    args: &ConfirmRestoredArgs,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let client = Client::open(dir, &args.behalf)?;
    let reply = client.post("/signpost/v1/confirm-restored", "application/json", "", &[])?;
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
    if let Ok(network) = status.network.parse::<NetworkId>() {
        line("", &fingerprint_words(network.as_bytes()));
    }
    line("", &fingerprint(&status.network));
    if let [served] = &*status.serves {
        line("serves", &format!("{} {}", served.ods, served.name));
        let count = served.pointers.map_or("unknown".to_owned(), |count| count.to_string());
        line("", &format!("{count} pointers, digest {}", digest(served)));
        if served.standing != "admitted" {
            line("", &format!("{}: see the notice above", served.standing));
        }
        if let Ok(organization) = served.organization.parse::<OrganizationId>() {
            line("", &fingerprint_words(organization.as_bytes()));
        }
        line("", &fingerprint(&served.organization));
        if let Some(instant) = &served.restored_as_of {
            let hint = "see `signpost confirm-restored --help`";
            line("", &format!("restored from a back-up as of {instant}; {hint}"));
        }
    } else {
        let admitted = status.serves.iter().filter(|s| s.standing == "admitted").count();
        let total = status.serves.len();
        line("serves", &format!("{total} organizations, {admitted} of them admitted; see below"));
    }
    let roster = &status.roster;
    let stewards = roster.stewards.len();
    line(
        "roster",
        &format!("epoch {}, {} of {stewards} stewards make law", roster.epoch, roster.threshold),
    );
    line("", &format!("enough of them heard of at {}; otherwise", roster.heard_of));
    for (what, hours) in [
        ("nothing more can be decided", roster.hours_to_no_governance),
        ("holders stop disclosing", roster.hours_to_no_disclosure),
    ] {
        let when = if hours > 0.0 { format!("in {hours} hours") } else { "NOW".to_owned() };
        line("", &format!("{what} {when}"));
    }
    let evaluators = &status.evaluators;
    line(
        "evaluators",
        &match evaluators.members.len() {
            0 => "none: the network has no blinding key yet".to_owned(),
            members => format!(
                "{} of {members} connected ({}), {} needed",
                evaluators.connected.len(),
                evaluators.connected.join(", "),
                evaluators.threshold
            ),
        },
    );
    if let (Some(key), Some(share)) = (evaluators.key_epoch, evaluators.share_epoch) {
        line("", &format!("key epoch {key}, share epoch {share}"));
    }
    if evaluators.dealt {
        line("", "their shares were dealt by one party: for demonstrations only");
    }
    if let Some(offset) = status.clock_offset {
        line("clock", &format!("{offset} ms from its peers"));
    }
    let connected = status.peers.iter().filter(|peer| peer.connected).count();
    line("peers", &format!("{connected} of {} connected", status.peers.len()));
    if status.serves.len() > 1 {
        text += "\n";
        text += &served_table(&status.serves);
    }
    if !status.peers.is_empty() {
        text += "\n";
        text += &peer_table(&status.peers);
    }
    text
}

fn digest(served: &ServedStatus) -> String {
    served.digest_version.map_or("none yet".to_owned(), |version| format!("version {version}"))
}

/// The organizations of a node that serves several: first the one that asks and those that need a
/// look, then as many of the others as fit a screen.
fn served_table(serves: &[ServedStatus]) -> String {
    let headings = ["SERVES", "NAME", "STANDING", "POINTERS", "DIGEST", "RESTORED AS OF"];
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    let mut shown: Vec<&ServedStatus> = serves.iter().collect();
    shown.sort_by_key(|served| {
        let is_well = served.standing == "admitted"
            && served.digest_version.is_some()
            && served.restored_as_of.is_none();
        (served.pointers.is_none(), is_well)
    });
    rows.extend(shown.iter().take(SERVED_SHOWN_MAX).map(|served| {
        vec![
            printable(&served.ods),
            printable(&served.name),
            printable(&served.standing),
            served.pointers.map_or("-".to_owned(), |count| count.to_string()),
            digest(served),
            printable(served.restored_as_of.as_deref().unwrap_or("-")),
        ]
    }));
    let table = table(&rows);
    match serves.len().checked_sub(SERVED_SHOWN_MAX) {
        None | Some(0) => table,
        Some(more) => format!("{table}... and {more} more (--json lists all)\n"),
    }
}

fn peer_table(peers: &[PeerStatus]) -> String {
    let headings = ["ORGANIZATION", "NAME", "CONNECTED", "DIGEST", "VERSION", "ISSUED"];
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    rows.extend(peers.iter().map(|peer| {
        vec![
            printable(&peer.ods),
            printable(&peer.name),
            if peer.connected { "yes" } else { "NO" }.to_owned(),
            printable(&peer.digest),
            peer.digest_version.map_or("-".to_owned(), |version| version.to_string()),
            printable(peer.digest_issued.as_deref().unwrap_or("-")),
        ]
    }));
    table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::local::{EvaluatorsStatus, RosterStatus};

    fn status() -> StatusReport {
        StatusReport {
            network_name: "Trial".to_owned(),
            network: "00112233".to_owned(),
            serves: vec![ServedStatus {
                ods: "RX1".to_owned(),
                name: "Harrow".to_owned(),
                organization: "aabbccdd".to_owned(),
                standing: "admitted".to_owned(),
                pointers: Some(12),
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
                key_epoch: Some(1),
                share_epoch: Some(1),
                lacks_share: false,
            },
            roster: RosterStatus {
                epoch: 2,
                stewards: vec!["RX1".to_owned(), "RX2".to_owned(), "RX3".to_owned()],
                threshold: 2,
                digest: "ab".to_owned(),
                heard_of: "2026-01-01T00:00:00Z".to_owned(),
                expiry: "no-governance".to_owned(),
                hours_to_no_governance: -0.5,
                hours_to_no_disclosure: 383.5,
                findings: 0,
                shared: true,
                key_void: false,
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
roster      epoch 2, 2 of 3 stewards make law
            enough of them heard of at 2026-01-01T00:00:00Z; otherwise
            nothing more can be decided NOW
            holders stop disclosing in 383.5 hours
evaluators  1 of 2 connected (RX1), 2 needed
            key epoch 1, share epoch 1
            their shares were dealt by one party: for demonstrations only
clock       -7 ms from its peers
peers       0 of 1 connected

ORGANIZATION  NAME   CONNECTED  DIGEST  VERSION  ISSUED
RX2           York\u{fffd}  NO         stale   9        -
";
        assert_eq!(report(&status()), expected);
    }

    #[test]
    fn whole_fingerprints_are_words_as_well() {
        let mut status = status();
        status.network = "7f".repeat(32);
        status.serves[0].organization = "00".repeat(32);
        let text = report(&status);
        assert!(text.contains("legal winner thank year wave sausage worth useful\n"), "{text}");
        assert!(text.contains("abandon abandon"), "{text}");
    }

    #[test]
    fn a_restored_organization_is_told_how_to_confirm() {
        let mut restored = status();
        restored.serves[0].restored_as_of = Some("2026-01-01T00:00:00Z".to_owned());
        assert!(report(&restored).contains("confirm-restored"));
        restored.peers.clear();
        assert!(!report(&restored).contains("ORGANIZATION"));
    }

    #[test]
    fn of_several_those_that_need_a_look_come_first_and_the_rest_is_counted() {
        let mut several = status();
        let own = several.serves.remove(0);
        several.serves = (0..50)
            .map(|n| ServedStatus {
                ods: format!("GP{n:02}"),
                pointers: (n == 30).then_some(12),
                ..own.clone()
            })
            .collect();
        several.serves[40].standing = "suspended".to_owned();
        let text = report(&several);
        assert!(text.contains("serves      50 organizations, 49 of them admitted"), "{text}");
        assert!(text.contains("... and 30 more (--json lists all)\n"), "{text}");
        let codes: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("GP")).collect();
        assert_eq!(codes.len(), SERVED_SHOWN_MAX);
        assert!(codes[0].starts_with("30 ") && codes[0].contains("12"), "{text}");
        assert!(codes[1].starts_with("40 ") && codes[1].contains("suspended"), "{text}");
        assert!(codes[2].starts_with("00 ") && !codes[2].contains("12"), "{text}");
    }
}
