//! What `signpost join` says to the person who types it.

use signpost_protocol::{Timestamp, invitation::Invitation, joining::JoiningStage};

use crate::{
    cli::text::{fingerprint, fingerprint_words, printable},
    joining::News,
    setup::{Candidate, Identity, PlannedNode, organization_dir},
};

/// An instant, to the second.
pub(super) fn time(at: Timestamp) -> String {
    let seconds = i64::try_from(at.0 / 1_000).ok();
    seconds
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| format!("{} ms", at.0), |time| time.to_string())
}

/// Before anything is made.
pub(super) fn invited(invitation: &Invitation) -> String {
    format!(
        "\
{who} ({ods}) invites you to join the network {network}, until {expires}.

The network's fingerprint, which the admin of {who} must read out to you in the same words:
  {words}
  {digits}
",
        who = printable(&invitation.name),
        ods = invitation.ods,
        network = printable(&invitation.network_name),
        expires = time(invitation.expires),
        words = fingerprint_words(invitation.network.as_bytes()),
        digits = fingerprint(&invitation.network.to_string()),
    )
}

/// When the directory is there.
pub(super) fn made(plan: &PlannedNode) -> String {
    let Some(organization) = plan.organizations.first() else { return String::new() };
    let folder = organization_dir(&plan.dir, &organization.ods);
    format!(
        "\
Made the keys and the node in {dir}.
  {folder}/root.keystore, next-root.keystore and root.passphrase: move them off this
  machine, to two offline places; the node does not need them.
",
        dir = plan.dir.display(),
        folder = folder.display()
    )
}

/// When it goes on.
pub(super) fn resumes(candidate: &Candidate) -> String {
    format!(
        "{} goes on to join {}, with what is in {}.",
        candidate.application.inception.ods,
        printable(&candidate.invitation.network_name),
        candidate.dir.display()
    )
}

/// What is new while it waits.
pub(super) fn news(candidate: &Candidate, news: &News) -> String {
    let invitation = &candidate.invitation;
    let who = printable(&invitation.name);
    match news {
        News::HandedIn => {
            let organization = candidate.application.organization;
            let ods = &candidate.application.inception.ods;
            format!(
                "\
Handed in to {who} ({}).

Ring its admin, on a number that you know from elsewhere, and read out the fingerprint of {ods}:
  {}
  {}
There, the admin types
  signpost roster propose admit {ods} --reason 'WHY'
and must see the same words.
",
                invitation.ods,
                fingerprint_words(organization.as_bytes()),
                fingerprint(&organization.to_string()),
            )
        }
        News::Reachable(Ok(())) => {
            format!("The port is open: {who} has reached {}.", candidate.peer_address())
        }
        News::Reachable(Err(reason)) => format!(
            "\
The port is NOT open: {who} could not reach {address}: {reason}.
  Let TCP connections from outside through the firewall to port {port} of this machine. You can be
  admitted meanwhile, but nobody finds your records before. It is tried again every minute.",
            address = candidate.peer_address(),
            reason = printable(reason),
            port = port(candidate.peer_address()),
        ),
        News::Stage(JoiningStage::Waiting) => {
            format!("Waiting for {who} to propose the admission ... (Ctrl-C: goes on later)")
        }
        News::Stage(JoiningStage::Proposed { approvals, needed }) => {
            format!("Proposed: {approvals} of {needed} stewards have approved ...")
        }
        News::Stage(JoiningStage::Admitted) => {
            "Admitted; waiting for the keys to arrive there ...".to_owned()
        }
        News::Admitted => "Admitted. Fetching the roster ...".to_owned(),
        News::NobodyReachable(reasons) => format!(
            "Nobody that the invitation names can be reached: {}. Trying again from time to time ...",
            printable(&reasons.join("; "))
        ),
        News::FetchFailed(reason) => format!(
            "The roster cannot be fetched: {}. Trying again from time to time ...",
            printable(reason)
        ),
    }
}

/// The port that a multiaddr names.
fn port(address: &str) -> &str {
    let mut parts = address.split('/');
    parts.find(|part| *part == "tcp").and_then(|_| parts.next()).unwrap_or("of the peer address")
}

/// When it ends without waiting.
pub(super) fn waits(candidate: &Candidate) -> String {
    format!(
        "The application waits for the stewards.\nNext: signpost join --dir {}\n",
        candidate.dir.display()
    )
}

/// After Ctrl-C.
pub(super) fn stopped(candidate: &Candidate) -> String {
    format!(
        "Stopped. What was handed in stays there.\nNext: signpost join --dir {}",
        candidate.dir.display()
    )
}

/// When all is done.
pub(super) fn admitted(candidate: &Candidate, identity: &Identity) -> String {
    let ods = &candidate.application.inception.ods;
    format!(
        "\
{name} ({ods}) is a member of {network}, one of {members}.

  {dir}/signpost.toml        configuration; every key is explained there
  {dir}/organizations/{ods}/
    api.token            the token of {ods}'s clinical systems; they reach http://{api}
    govern.keystore      the key with which an admin approves what the network decides
    root.keystore        the organization's root key: keep it offline

Next: signpost run --dir {dir}
",
        name = printable(&candidate.application.inception.name),
        network = printable(&candidate.invitation.network_name),
        members = identity.roster.admitted().count(),
        dir = candidate.dir.display(),
        api = identity.config.api.listen,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_to_open_is_that_of_the_address() {
        assert_eq!(port("/ip4/192.0.2.7/tcp/7701"), "7701");
        assert_eq!(port("/dns4/tcp.example/tcp/1"), "1");
        assert_eq!(port("/memory/1"), "of the peer address");
    }
}
