//! Founds the demonstration's network: plays every founder at once, which no real network may do.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use getrandom::SysRng;
use libp2p::{PeerId, identity};
use rand_core::UnwrapErr;
use signpost_keys::keystore::Cost;
use signpost_protocol::{
    PublicKey, Timestamp,
    roster::{Parameters, Quotas},
};

use super::{federation::NodeSpec, ports::Ports};
use crate::{
    digests::SizeClass,
    setup::{self, Plan, PlannedNode, PlannedOrganization},
    synthetic::Population,
};

/// Times the patients of the demonstration that a digest may grow to: room for whoever stays to
/// import more.
const DIGEST_GROWTH: u64 = 4;
/// All patients are published in one go, by organizations that were founded a moment ago.
const NO_QUOTAS: Quotas = Quotas { lookups: u32::MAX, publishes: u32::MAX, ..Quotas::STANDARD };

/// Writes every node's directory below `dir`, and tells how to run each; with the warnings that
/// the founding gave.
///
/// # Errors
/// When a directory cannot be written or does not read back.
pub(super) fn found(
    population: &Population,
    dir: &Path,
    ports: &[Ports],
) -> anyhow::Result<(Vec<NodeSpec>, Vec<String>)> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    let now = Timestamp(u64::try_from(now.as_millis()).context("the clock is far in the future")?);
    let nodes: Vec<_> = population
        .organizations()
        .iter()
        .zip(ports)
        .map(|(organization, ports)| PlannedNode {
            dir: dir.join(organization.ods.as_str()),
            peer_address: format!("/ip4/127.0.0.1/tcp/{}", ports.peer),
            api_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, ports.api)),
            organizations: vec![PlannedOrganization::new(
                organization.ods.clone(),
                organization.name.clone(),
            )],
        })
        .collect();
    let class = SizeClass::for_locators(u64::from(population.len()) * DIGEST_GROWTH);
    let plan = Plan {
        network_name: "Signpost demonstration".to_owned(),
        parameters: Parameters { quotas: Some(NO_QUOTAS), ..Parameters::STANDARD },
        nodes,
        class_max: class.unwrap_or(SizeClass::LARGEST).number(),
        // The passphrase lies beside its keystore here, so a dearer guess would protect nothing.
        cost: Cost::weak_for_tests(),
        deals_key: false,
    };
    let founded = setup::found(&plan, now, &mut UnwrapErr(SysRng))?;
    let specs = plan.nodes.into_iter().map(|node| {
        let mut identity = setup::open(&node.dir)?;
        let served = identity.served.pop().context("a node serves its organization")?;
        let peer = peer_id(&identity.transport.public())
            .context("a transport key is no point of the curve")?;
        Ok(NodeSpec {
            ods: served.ods.to_string(),
            name: served.name,
            dir: node.dir,
            api: format!("http://{}", node.api_listen),
            token: served.api_token,
            peer: format!("{}/p2p/{peer}", node.peer_address),
        })
    });
    Ok((specs.collect::<anyhow::Result<_>>()?, founded.warnings))
}

fn peer_id(key: &PublicKey) -> Option<PeerId> {
    let key = identity::ed25519::PublicKey::try_from_bytes(key.as_bytes()).ok()?;
    Some(identity::PublicKey::from(key).to_peer_id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Organization;

    #[test]
    fn every_node_gets_a_directory_addresses_and_a_token_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let population = Population::new(1, Organization::invent(2), 10).unwrap();
        let ports = [Ports { api: 7700, peer: 7701 }, Ports { api: 7702, peer: 7703 }];
        let (specs, warnings) = found(&population, dir.path(), &ports).unwrap();
        assert_eq!(specs.len(), 2);
        assert_eq!(specs[1].ods, "Y99002");
        assert_eq!(specs[1].api, "http://127.0.0.1:7702");
        assert!(
            specs[1].peer.starts_with("/ip4/127.0.0.1/tcp/7703/p2p/12D3Koo"),
            "{}",
            specs[1].peer
        );
        assert!(specs[1].dir.join(crate::config::FILE).is_file());
        assert_ne!(specs[0].token, specs[1].token);
        assert_ne!(specs[0].peer, specs[1].peer);
        assert!(!warnings.is_empty(), "two organizations have a single evaluator");
    }
}
