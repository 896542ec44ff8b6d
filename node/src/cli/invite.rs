//! `signpost invite`: an invitation for an organization that is to join.

use std::{path::Path, process::ExitCode};

use anyhow::Context as _;
use signpost_protocol::invitation::Invitation;

use super::{
    behalf::Behalf,
    client::Client,
    text::{fingerprint, fingerprint_words, print, printable},
};
use crate::api::joining::{InvitationMade, InvitationWanted};

/// Arguments of `signpost invite`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Whoever has the invitation can apply to join with it, one organization with each. It admits nobody: the
stewards do, after you have compared fingerprints by telephone. The node must be running.

Examples:
  signpost invite
  signpost invite --hours 24
  signpost invite --organization RX1 --json")]
pub(super) struct Args {
    /// How long it lasts, in hours, at most 720.
    #[arg(long, value_name = "HOURS", default_value_t = 168,
          value_parser = clap::value_parser!(u64).range(1..=720))]
    hours: u64,
    #[command(flatten)]
    behalf: Behalf,
}

/// Runs the command.
pub(super) fn command(dir: &Path, args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    let client = Client::open(dir, &args.behalf)?;
    let wanted = serde_json::to_string(&InvitationWanted { hours: args.hours })?;
    let reply = client.post("/signpost/v1/invitations", "application/json", wanted, &[])?;
    let made: InvitationMade = reply.json()?;
    let invitation = made.invitation.parse().context("the node made no usable invitation")?;
    print(&if json { reply.body } else { report(&made, &invitation) })?;
    Ok(ExitCode::SUCCESS)
}

fn report(made: &InvitationMade, invitation: &Invitation) -> String {
    format!(
        "\
An invitation to join {network}, by {name} ({ods}), until {expires}:

{text}

The network's fingerprint:
  {words}
  {digits}

Next:
  1. Send the invitation to the admin of the organization that is to join. It is for one organization.
  2. There, on the machine of the new node:
       signpost join INVITATION --ods CODE --name NAME --peer-address /dns4/HOST/tcp/7701
  3. Ring that admin, on a number that you know from elsewhere. He sees the network's fingerprint,
     which must be the one above; and he reads out the fingerprint of his organization.
  4. Here: signpost roster propose admit CODE --reason WHY
     It shows you the same fingerprint, or it is not he who has applied.
",
        network = printable(&made.network_name),
        name = printable(&made.name),
        ods = made.ods,
        expires = made.expires,
        text = made.invitation,
        words = fingerprint_words(invitation.network.as_bytes()),
        digits = fingerprint(&made.network),
    )
}

#[cfg(test)]
mod tests {
    use signpost_protocol::{
        InvitationCode, NetworkId, Timestamp,
        codec::{Bounded, Text},
    };

    use super::*;

    #[test]
    fn an_invitation_is_told_with_the_fingerprint_and_what_the_other_side_does() {
        let address = "/ip4/192.0.2.1/tcp/7701/p2p/12D3KooW";
        let invitation = Invitation {
            network: NetworkId([0; 32]),
            network_name: Text::new("Trial\u{202e}").unwrap(),
            ods: "RX1".parse().unwrap(),
            name: Text::new("Harrow").unwrap(),
            code: InvitationCode([7; 16]),
            addresses: Bounded::new(vec![Text::new(address).unwrap()]).unwrap(),
            expires: Timestamp(1_768_089_600_000),
        };
        let made = InvitationMade {
            invitation: invitation.to_string(),
            network_name: invitation.network_name.to_string(),
            network: invitation.network.to_string(),
            ods: "RX1".to_owned(),
            name: "Harrow".to_owned(),
            addresses: vec![address.to_owned()],
            expires: "2026-01-11T00:00:00Z".to_owned(),
        };
        let text = report(&made, &invitation);
        for part in [
            &*made.invitation,
            "abandon abandon",
            "signpost join INVITATION --ods",
            "signpost roster propose admit CODE",
            "until 2026-01-11",
        ] {
            assert!(text.contains(part), "no {part} in\n{text}");
        }
        assert!(!text.contains('\u{202e}'));
    }
}
