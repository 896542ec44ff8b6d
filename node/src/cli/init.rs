//! `signpost init`: an organization, its keys and its node, in a network of one.

use std::{
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use serde_json::json;
use signpost_keys::keystore::Cost;
use signpost_protocol::{OdsCode, Timestamp, roster::Parameters};
use zeroize::Zeroizing;

use super::text::{fingerprint, print};
use crate::{
    digests::SizeClass,
    setup::{self, Founded, Identity, Plan, PlannedOrganization},
};

/// Arguments of `signpost init`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signpost init --ods RX1 --name 'Harrowgate Vale Community Health'
  signpost --dir /var/lib/signpost init --ods RX1 --name 'Harrowgate Vale Community Health' \\
      --peer-address /dns4/signpost.leeds.example/tcp/7701 --api 127.0.0.1:7700")]
pub(super) struct Args {
    /// The organization's ODS code.
    #[arg(long, value_name = "CODE")]
    ods: OdsCode,
    /// The organization's name.
    #[arg(long)]
    name: String,
    /// Where other nodes reach this one.
    #[arg(long, value_name = "MULTIADDR", default_value = "/ip4/127.0.0.1/tcp/7701")]
    peer_address: String,
    /// Where clinical systems reach this node: a loopback address.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7700")]
    api: SocketAddr,
}

/// Runs the command.
pub(super) fn command(dir: &Path, args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    let plan = Plan {
        network_name: args.name.clone(),
        parameters: Parameters::STANDARD,
        organizations: vec![PlannedOrganization {
            ods: args.ods.clone(),
            name: args.name.clone(),
            dir: dir.to_owned(),
            peer_address: args.peer_address.clone(),
            api_listen: args.api,
        }],
        class_max: SizeClass::LARGEST.number(),
        cost: Cost::standard(),
    };
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).context("the operating system gives no randomness")?;
    let founded = setup::found(&plan, now()?, &mut ChaCha20Rng::from_seed(*seed))?;
    // Reading it back proves that the node will start.
    let identity = setup::open(dir)?;
    print(&if json { report_json(&founded, &identity) } else { report(&founded, &identity) })?;
    Ok(ExitCode::SUCCESS)
}

fn now() -> anyhow::Result<Timestamp> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(Timestamp(u64::try_from(since.as_millis())?))
}

fn report_json(founded: &Founded, identity: &Identity) -> String {
    json!({
        "dir": identity.dir,
        "ods": identity.ods.as_str(),
        "name": identity.name,
        "organization": identity.organization.to_string(),
        "node": identity.node.to_string(),
        "network": founded.network.to_string(),
        "api": format!("http://{}", identity.config.api.listen),
        "warnings": founded.warnings,
    })
    .to_string()
}

fn report(founded: &Founded, identity: &Identity) -> String {
    let dir = identity.dir.display();
    let warnings: String =
        founded.warnings.iter().map(|warning| format!("  - {warning}\n")).collect();
    format!(
        "\
Made the organization {ods} {name} with a node, in a network of its own.

Organization  {organization}
Network       {network}
Directory     {dir}

  {dir}/signpost.toml           configuration; every key is explained there
  {dir}/api.token               the token of your clinical systems; they reach http://{api}
  {dir}/keys/node.keystore      the node's keys
  {dir}/passphrase              opens the keystores; the node reads it when it starts
  {dir}/keys/root.keystore      the organization's root key
  {dir}/keys/next-root.keystore the root key that may follow it

Move the two root keystores off this machine, to two offline places, each with a copy of the
passphrase; the node needs the passphrase, but neither of them. Whoever has root.keystore and the
passphrase can speak for {ods}.

Know this:
{warnings}
Next: signpost run --dir {dir}
",
        ods = identity.ods,
        name = identity.name,
        organization = fingerprint(&identity.organization.to_string()),
        network = fingerprint(&founded.network.to_string()),
        api = identity.config.api.listen,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_node_is_told_with_its_fingerprint_and_the_next_step() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("node");
        let args = Args {
            ods: "RX1".parse().unwrap(),
            name: "Harrow".to_owned(),
            peer_address: "/ip4/127.0.0.1/tcp/7701".to_owned(),
            api: "127.0.0.1:7700".parse().unwrap(),
        };
        assert_eq!(command(&dir, &args, true).unwrap(), ExitCode::SUCCESS);
        let identity = setup::open(&dir).unwrap();
        let founded =
            Founded { network: identity.roster.network(), warnings: vec!["careful".to_owned()] };
        let text = report(&founded, &identity);
        let organization = identity.organization.to_string();
        for part in [
            &fingerprint(&organization),
            "root.keystore",
            "careful",
            &format!("signpost run --dir {}", dir.display()),
        ] {
            assert!(text.contains(part), "no {part} in\n{text}");
        }
        assert!(!text.contains(&identity.api_token));
        let value: serde_json::Value =
            serde_json::from_str(&report_json(&founded, &identity)).unwrap();
        assert_eq!(value["organization"], organization.as_str());
        let error = command(&dir, &args, true).unwrap_err().to_string();
        let expected =
            format!("{} already holds a node of RX1; choose another --dir", dir.display());
        assert_eq!(error, expected);
    }
}
