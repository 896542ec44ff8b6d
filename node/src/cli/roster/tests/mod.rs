//! A founded network in memory, and what its admins read, may sign and may not.

mod doubting;
mod files;
mod further_nodes;
mod next_sets;
mod refusals;
mod renewing;
mod running;
mod wording;

use std::{net::SocketAddr, path::PathBuf};

use clap::CommandFactory as _;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use signpost_keys::{SecretKey, keystore::Cost, sign};
use signpost_protocol::{
    ContentHash, OrganizationId, Timestamp,
    codec::{self, ByteString},
    roster::{Approval, Change, Parameters, Proposal, Standing},
};

use super::{
    draft::{self, Edit},
    view::View,
};
use crate::setup::{
    self, AdminKey, Plan, PlannedNode, PlannedOrganization, admin_key, organization_dir,
};

/// When the network was founded: 2026-01-01T00:00:00Z.
const FOUNDED: Timestamp = Timestamp(1_767_225_600_000);
const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
const NOW: Timestamp = FOUNDED.plus(HOUR);

/// Six organizations, `RX0` to `RX5`, of whom the first five are stewards and evaluators.
struct Network {
    view: View,
    organizations: Vec<OrganizationId>,
    govern: Vec<SecretKey>,
    root: Vec<SecretKey>,
    dirs: Vec<PathBuf>,
    _dir: tempfile::TempDir,
}

fn network() -> Network {
    network_from(1)
}

fn network_from(seed: u64) -> Network {
    let dir = tempfile::tempdir().unwrap();
    let nodes: Vec<_> = (0..6_u16)
        .map(|n| PlannedNode {
            dir: dir.path().join(n.to_string()),
            peer_address: format!("/ip4/127.0.0.1/tcp/{}", 20_000 + n),
            api_listen: SocketAddr::from(([127, 0, 0, 1], 21_000 + n)),
            organizations: vec![PlannedOrganization::new(
                format!("RX{n}").parse().unwrap(),
                format!("Trust {n}"),
            )],
        })
        .collect();
    let plan = Plan {
        network_name: "Trial".to_owned(),
        parameters: Parameters::STANDARD,
        nodes,
        class_max: 9,
        cost: Cost::weak_for_tests(),
        deals_key: true,
    };
    setup::found(&plan, FOUNDED, &mut ChaCha20Rng::seed_from_u64(seed)).unwrap();
    let dirs: Vec<PathBuf> = plan.nodes.into_iter().map(|planned| planned.dir).collect();
    let file = std::fs::read(dirs[0].join("roster.cbor")).unwrap();
    let view = View::read(&file, None, NOW).unwrap();
    let organization = |n| view.find_member(&format!("RX{n}")).unwrap().organization;
    let folder = |n: usize| organization_dir(&dirs[n], &format!("RX{n}").parse().unwrap());
    let key = |n, which| admin_key(Some(&folder(n)), which, None, None).unwrap();
    Network {
        organizations: (0..6).map(organization).collect(),
        govern: (0..6).map(|n| key(n, AdminKey::Govern)).collect(),
        root: (0..6).map(|n| key(n, AdminKey::Root)).collect(),
        dirs: dirs.clone(),
        view,
        _dir: dir,
    }
}

impl Network {
    /// The change of a member's record as the command drafts it.
    fn change(&self, n: usize, edit: &Edit) -> Change {
        let member = self.view.member(&self.organizations[n]).unwrap();
        draft::record(&self.view, member, edit, 0).unwrap()
    }

    fn standing(&self, n: usize, standing: Standing) -> Change {
        self.change(n, &Edit { standing: Some(standing), ..Edit::default() })
    }

    fn propose(&self, change: Change) -> (ContentHash, Proposal) {
        let proposal = draft::proposal(&self.view, change, "A test").unwrap();
        (ContentHash::of(&codec::encode(&proposal)), proposal)
    }

    fn approval(&self, n: usize, proposal: &Proposal) -> Vec<u8> {
        let approval = Approval {
            steward: self.organizations[n],
            proposal: ByteString::new(codec::encode(proposal)).unwrap(),
            issued: self.view.now,
        };
        sign(approval, &self.govern[n], &self.view.roster.network()).bytes().to_vec()
    }

    /// These stewards approve.
    fn approve(&mut self, stewards: &[usize], proposal: &Proposal) {
        let new: Vec<_> = stewards.iter().map(|n| self.approval(*n, proposal)).collect();
        self.view = self.view.with(&new).unwrap();
    }

    /// Three stewards make a change law.
    fn decide(&mut self, change: Change) -> ContentHash {
        let (id, proposal) = self.propose(change);
        self.approve(&[0, 1, 2], &proposal);
        id
    }

    /// The same statements at another time.
    fn at(&mut self, now: Timestamp) {
        self.view = View::new(self.view.statements.clone(), now);
    }
}

#[derive(clap::Parser)]
struct Program {
    #[command(flatten)]
    _args: super::Args,
}

#[test]
fn every_command_has_help_with_an_example() {
    let mut commands = vec![("signpost roster".to_owned(), Program::command())];
    let mut seen = 0;
    while let Some((name, command)) = commands.pop() {
        for sub in command.get_subcommands() {
            let name = format!("{name} {}", sub.get_name());
            let help = sub.clone().render_help().to_string();
            assert!(help.contains("Example"), "no example in the help of {name}:\n{help}");
            assert!(help.contains(&name) || name.contains("approve"), "{name}:\n{help}");
            seen += 1;
            commands.push((name, sub.clone()));
        }
    }
    assert_eq!(seen, 11 + 7);
}
