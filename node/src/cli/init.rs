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

use super::text::{fingerprint, fingerprint_words, print};
use crate::{
    digests::SizeClass,
    setup::{self, Founded, Identity, Plan, PlannedNode, PlannedOrganization, organization_dir},
};

/// Arguments of `signpost init`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signpost init --ods RX1 --name 'Harrowgate Vale Community Health'
  signpost --dir /var/lib/signpost init --ods RX1 --name 'Harrowgate Vale Community Health' \\
      --peer-address /dns4/signpost.leeds.example/tcp/7701 --api 127.0.0.1:7700
  signpost init --ods A81001 --name 'Priory Surgery' --also 'A81002=Mill Lane Practice'
      A supplier's node, which serves both.")]
pub(super) struct Args {
    /// The organization's ODS code.
    #[arg(long, value_name = "CODE")]
    ods: OdsCode,
    /// The organization's name.
    #[arg(long)]
    name: String,
    /// Another organization that the node serves, for suppliers; may be repeated.
    #[arg(long, value_name = "CODE=NAME", value_parser = also)]
    also: Vec<PlannedOrganization>,
    /// Where other nodes reach this one.
    #[arg(long, value_name = "MULTIADDR", default_value = "/ip4/127.0.0.1/tcp/7701")]
    peer_address: String,
    /// Where clinical systems reach this node: a loopback address.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7700")]
    api: SocketAddr,
}

/// Runs the command.
pub(super) fn command(dir: &Path, args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    let first = PlannedOrganization::new(args.ods.clone(), args.name.clone());
    let plan = Plan {
        network_name: args.name.clone(),
        parameters: Parameters::STANDARD,
        nodes: vec![PlannedNode {
            dir: dir.to_owned(),
            peer_address: args.peer_address.clone(),
            api_listen: args.api,
            organizations: std::iter::once(first).chain(args.also.iter().cloned()).collect(),
        }],
        class_max: SizeClass::LARGEST.number(),
        cost: Cost::standard(),
        deals_key: true,
    };
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).context("the operating system gives no randomness")?;
    let founded = setup::found(&plan, now()?, &mut ChaCha20Rng::from_seed(*seed))?;
    // Reading it back proves that the node will start.
    let identity = setup::open(dir)?;
    print(&if json { report_json(&founded, &identity) } else { report(&founded, &identity) })?;
    Ok(ExitCode::SUCCESS)
}

/// `CODE=NAME`.
fn also(text: &str) -> Result<PlannedOrganization, String> {
    let (code, name) = text.split_once('=').ok_or("must be CODE=NAME, such as 'RX1=Harrow'")?;
    let ods = code.trim().parse().map_err(|error| format!("{error}"))?;
    Ok(PlannedOrganization::new(ods, name.trim().to_owned()))
}

fn now() -> anyhow::Result<Timestamp> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(Timestamp(u64::try_from(since.as_millis())?))
}

fn report_json(founded: &Founded, identity: &Identity) -> String {
    let organizations: Vec<_> = identity
        .served
        .iter()
        .map(|served| {
            json!({
                "ods": served.ods.as_str(),
                "name": served.name,
                "organization": served.organization.to_string(),
                "dir": organization_dir(&identity.dir, &served.ods),
            })
        })
        .collect();
    json!({
        "dir": identity.dir,
        "organizations": organizations,
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
    let made: String = identity
        .served
        .iter()
        .map(|served| {
            let words = fingerprint_words(served.organization.as_bytes());
            let fingerprint = fingerprint(&served.organization.to_string());
            let (ods, name) = (&served.ods, &served.name);
            format!(
                "Organization  {ods} {name}\n              {words}\n              {fingerprint}\n"
            )
        })
        .collect();
    let (whose, folder) = match &*identity.served {
        [only] => (only.ods.to_string(), only.ods.to_string()),
        _ => ("that organization".to_owned(), "CODE".to_owned()),
    };
    let each = if identity.served.len() > 1 { ", a folder for each CODE" } else { "" };
    format!(
        "\
Made a node in a network of its own{each}.

{made}Network       {network_words}
              {network}
Directory     {dir}

  {dir}/signpost.toml        configuration; every key is explained there
  {dir}/keys/node.keystore   the node's keys
  {dir}/passphrase           opens it; the node reads it when it starts

  {dir}/organizations/{folder}/
    api.token            the token of {whose}'s clinical systems; they reach http://{api}
    root.keystore        the organization's root key
    next-root.keystore   the root key that may follow it
    root.passphrase      opens these two

Move the two root keystores off this machine, to two offline places, each with a copy of
root.passphrase; the node needs none of the three. Whoever has root.keystore and root.passphrase can
speak for {whose}.

Know this:
{warnings}
Next: signpost run --dir {dir}
",
        network_words = fingerprint_words(founded.network.as_bytes()),
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
            also: Vec::new(),
            peer_address: "/ip4/127.0.0.1/tcp/7701".to_owned(),
            api: "127.0.0.1:7700".parse().unwrap(),
        };
        assert_eq!(command(&dir, &args, true).unwrap(), ExitCode::SUCCESS);
        let identity = setup::open(&dir).unwrap();
        let founded =
            Founded { network: identity.roster.network(), warnings: vec!["careful".to_owned()] };
        let text = report(&founded, &identity);
        let organization = identity.served[0].organization.to_string();
        for part in [
            &fingerprint(&organization),
            &fingerprint_words(identity.served[0].organization.as_bytes()),
            "root.keystore",
            "careful",
            &format!("signpost run --dir {}", dir.display()),
        ] {
            assert!(text.contains(part), "no {part} in\n{text}");
        }
        assert!(!text.contains(&identity.served[0].api_token));
        let value: serde_json::Value =
            serde_json::from_str(&report_json(&founded, &identity)).unwrap();
        assert_eq!(value["organizations"][0]["organization"], organization.as_str());
        let error = command(&dir, &args, true).unwrap_err().to_string();
        let expected =
            format!("{} already holds a node of RX1; choose another --dir", dir.display());
        assert_eq!(error, expected);
    }

    #[test]
    fn a_suppliers_node_serves_all_that_were_named() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("node");
        let args = Args {
            ods: "A81001".parse().unwrap(),
            name: "Priory Surgery".to_owned(),
            also: vec![also("A81002=Mill Lane Practice").unwrap()],
            peer_address: "/ip4/127.0.0.1/tcp/7701".to_owned(),
            api: "127.0.0.1:7700".parse().unwrap(),
        };
        assert_eq!(command(&dir, &args, true).unwrap(), ExitCode::SUCCESS);
        let identity = setup::open(&dir).unwrap();
        let names: Vec<_> = identity.served.iter().map(|served| served.name.as_str()).collect();
        assert_eq!(names, ["Priory Surgery", "Mill Lane Practice"]);
        let founded = Founded { network: identity.roster.network(), warnings: Vec::new() };
        let text = report(&founded, &identity);
        assert!(text.contains("A81002 Mill Lane Practice") && text.contains("CODE"), "{text}");
        let error = command(&dir, &args, true).unwrap_err().to_string();
        assert!(error.contains("already holds a node of A81001 and 1 more"), "{error}");
        for wrong in ["A81002", "a81002=lower case", "=nameless"] {
            assert!(also(wrong).is_err(), "{wrong}");
        }
    }
}
