//! Test networks, founded in memory.

use std::sync::Arc;

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use rand_core::Rng as _;
use signpost_keys::{
    Roster, SecretKey, StorageKey,
    blinding::KeyShare,
    roster::{assemble, dealt_evaluators, endorse, incept},
};
use signpost_node::core::{Me, Served};
use signpost_protocol::{
    NodeId, OrganizationId, Timestamp,
    codec::{self, Bounded, ByteString, Text},
    roster::{Founding, KeyRecord, MemberRecord, NodeRecord, Parameters, Standing},
    statement::KeyUse,
};

/// When test networks are founded: 2026-01-01T00:00:00Z.
pub const FOUNDED: Timestamp = Timestamp(1_767_225_600_000);
/// Ninety days in milliseconds.
const KEY_LIFE: u64 = 90 * 24 * 3_600 * 1_000;
/// The class that every member may advertise in test networks: some 300,000 patients.
const CLASS_MAX: u8 = 17;

/// What is to be founded.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many organizations, `ORG0`, `ORG1`, ...
    pub organizations: usize,
    /// Shared durations.
    pub parameters: Parameters,
    /// How many evaluators it takes; the first organizations evaluate.
    pub threshold: u16,
    /// How many evaluators there are.
    pub evaluators: usize,
    /// The standing of each organization that is not admitted.
    pub standings: Vec<(usize, Standing)>,
    /// Milliseconds after the founding at which the nodes start.
    pub age: u64,
}

impl Plan {
    /// A network of `organizations`, with the evaluators that a demonstration has.
    #[must_use]
    pub fn of(organizations: usize) -> Self {
        let evaluators = if organizations < 3 { 1 } else { organizations.min(5) };
        Self {
            organizations,
            parameters: Parameters::STANDARD,
            threshold: (evaluators / 2 + 1) as u16,
            evaluators,
            standings: Vec::new(),
            age: 1_000,
        }
    }
}

/// The secrets of one founder.
pub struct Founder {
    /// The organization.
    pub organization: OrganizationId,
    /// Its node.
    pub node: NodeId,
    /// Seed of its pointer key.
    pub pointer: [u8; 32],
    /// Seed of its transport key.
    pub transport: [u8; 32],
    /// Its storage key.
    pub storage: [u8; 32],
    /// Its share of the blinding key, if it evaluates.
    pub share: Option<KeyShare>,
    /// ODS code.
    pub ods: String,
}

impl Founder {
    /// What its node's core needs; can be made anew after a restart.
    #[must_use]
    pub fn me(&self) -> Me {
        let share = self.share.as_ref().map(|share| {
            KeyShare::from_bytes(share.index(), &share.to_bytes()).expect("was a share before")
        });
        Me {
            node: self.node,
            transport: SecretKey::from_seed(&self.transport),
            served: vec![Served {
                organization: self.organization,
                ods: self.ods.parse().expect("test codes are well formed"),
                name: format!("Organization {}", self.ods),
                pointer: SecretKey::from_seed(&self.pointer),
            }],
            share,
            storage: StorageKey::new(self.storage.into()),
        }
    }
}

/// Founds a network; everything in it follows from `seed`.
///
/// # Panics
/// When the plan makes no network.
#[must_use]
pub fn found(plan: &Plan, seed: u64) -> (Arc<Roster>, Vec<Founder>) {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut founders = Vec::new();
    let mut members = Vec::new();
    let mut roots = Vec::new();
    for number in 0..plan.organizations {
        let ods = format!("ORG{number}");
        let name = Text::new(&format!("Organization {ods}")).expect("short");
        let code = ods.parse().expect("well formed");
        let (inception, root, _) = incept(code, name.clone(), FOUNDED, &mut rng);
        let organization = OrganizationId(inception.hash().0);
        let mut seed = || {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            seed
        };
        let (pointer, transport, storage) = (seed(), seed(), seed());
        let mut node = [0; 16];
        node.copy_from_slice(&seed()[..16]);
        let node = NodeId(node);
        let key = |seed, usage| KeyRecord {
            key: SecretKey::from_seed(seed).public(),
            usage,
            node,
            not_before: FOUNDED.minus(3_600_000),
            not_after: FOUNDED.plus(KEY_LIFE),
        };
        let keys = vec![key(&pointer, KeyUse::Pointer), key(&transport, KeyUse::Transport)];
        let address = Text::new("/ip4/127.0.0.1/tcp/1").expect("short");
        let nodes =
            vec![NodeRecord { node, addresses: Bounded::new(vec![address]).expect("one fits") }];
        let standing = plan.standings.iter().find(|(at, _)| *at == number);
        members.push(MemberRecord {
            inception: ByteString::new(inception.bytes().to_vec()).expect("within its cap"),
            standing: standing.map_or(Standing::Admitted, |(_, standing)| *standing),
            ods: ods.parse().expect("well formed"),
            name,
            nodes: Bounded::new(nodes).expect("one fits"),
            keys: Bounded::new(keys).expect("two fit"),
            class_max: CLASS_MAX,
        });
        founders.push(Founder {
            organization,
            node,
            pointer,
            transport,
            storage,
            share: None,
            ods,
        });
        roots.push(root);
    }
    let evaluators: Vec<OrganizationId> =
        founders.iter().take(plan.evaluators).map(|founder| founder.organization).collect();
    let (set, shares) =
        dealt_evaluators(&evaluators, plan.threshold, &mut rng).expect("the plan fits");
    for (founder, share) in founders.iter_mut().zip(shares) {
        founder.share = Some(share);
    }
    let founding = codec::encode(&Founding {
        name: Text::new("test network").expect("short"),
        founded: FOUNDED,
        parameters: plan.parameters,
        members: Bounded::new(members).expect("few"),
        evaluators: set,
    });
    let endorsements: Vec<_> = founders
        .iter()
        .zip(&roots)
        .map(|(founder, root)| endorse(&founding, founder.organization, root, FOUNDED))
        .collect();
    let bytes = assemble(founding, &endorsements).expect("few");
    (Arc::new(Roster::open(&bytes, None).expect("was founded correctly")), founders)
}
