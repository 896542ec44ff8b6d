//! Test networks, founded in memory.

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use rand_core::Rng as _;
use signpost_keys::{
    SecretKey, StorageKey,
    blinding::KeyShare,
    roster::{Statements, dealt_evaluators, endorse, incept},
    sign,
};
use signpost_node::core::{Me, Served};
use signpost_protocol::{
    ContentHash, NodeId, OrganizationId, Timestamp,
    codec::{self, Bounded, ByteString, Text},
    roster::{
        Founding, KeyRecord, MemberRecord, NodeRecord, OrganizationKeys, Parameters, Standing,
        Steward,
    },
    statement::KeyUse,
};

/// When test networks are founded: 2026-01-01T00:00:00Z.
pub const FOUNDED: Timestamp = Timestamp(1_767_225_600_000);
/// Ninety days in milliseconds.
const KEY_LIFE: u64 = 90 * 24 * 3_600 * 1_000;
/// The most founders that are stewards in test networks.
const STEWARDS_MAX: usize = 5;
/// The class that every member may advertise in test networks: some 300,000 patients.
pub const CLASS_MAX: u8 = 17;

/// What is to be founded.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many organizations, `ORG0`, `ORG1`, ...
    pub organizations: usize,
    /// How many of them each node serves, in order; one at every node beyond these.
    pub served: Vec<usize>,
    /// Shared durations.
    pub parameters: Parameters,
    /// How many evaluators it takes; the first organizations of the first nodes evaluate.
    pub threshold: u16,
    /// How many evaluators there are; without any the network begins without a key.
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
            served: Vec::new(),
            parameters: Parameters::STANDARD,
            threshold: (evaluators / 2 + 1) as u16,
            evaluators,
            standings: Vec::new(),
            age: 1_000,
        }
    }
}

/// The secrets of one node and of the organization that it serves.
pub struct Founder {
    /// The organization.
    pub organization: OrganizationId,
    /// Its node.
    pub node: NodeId,
    /// Seed of its root key.
    pub root: [u8; 32],
    /// Seed of its govern key.
    pub govern: [u8; 32],
    /// Seed of its pointer key.
    pub pointer: [u8; 32],
    /// Further organizations that the node serves.
    pub others: Vec<Hosted>,
    /// Seed of its transport key.
    pub transport: [u8; 32],
    /// Its storage key.
    pub storage: [u8; 32],
    /// Its share of the blinding key, if it evaluates.
    pub share: Option<KeyShare>,
    /// ODS code.
    pub ods: String,
}

/// A further organization of a node that serves several.
pub struct Hosted {
    /// The organization.
    pub organization: OrganizationId,
    /// Seed of its root key.
    pub root: [u8; 32],
    /// Seed of its govern key.
    pub govern: [u8; 32],
    /// Seed of its pointer key.
    pub pointer: [u8; 32],
    /// ODS code.
    pub ods: String,
}

impl Founder {
    /// It as a steward.
    #[must_use]
    pub fn steward(&self) -> Steward {
        let govern = SecretKey::from_seed(&self.govern).public();
        Steward { organization: self.organization, govern }
    }

    /// The first statement of its nodes and keys.
    #[must_use]
    pub fn keys(&self) -> OrganizationKeys {
        let seeds = [&self.govern, &self.pointer, &self.transport];
        keys_of(self.organization, self.node, seeds)
    }

    /// A further node of its organization, with keys of its own and without a share.
    #[must_use]
    pub fn second(&self, seed: u64) -> Self {
        // Apart from what founders and newcomers draw from the same seed.
        let mut rng = ChaCha20Rng::seed_from_u64(seed ^ 0x5ec0);
        let mut seed = || {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            seed
        };
        let [pointer, transport, storage, node] = [(); 4].map(|()| seed());
        Self {
            organization: self.organization,
            node: NodeId(node[..16].try_into().expect("16 of 32")),
            root: self.root,
            govern: self.govern,
            pointer,
            others: Vec::new(),
            transport,
            storage,
            share: None,
            ods: self.ods.clone(),
        }
    }

    /// What its node's core needs; can be made anew after a restart.
    #[must_use]
    pub fn me(&self) -> Me {
        let share = self.share.as_ref().map(|share| {
            KeyShare::from_bytes(share.index(), &share.to_bytes()).expect("was a share before")
        });
        Me {
            node: self.node,
            transport: SecretKey::from_seed(&self.transport),
            served: std::iter::once((self.organization, &self.ods, &self.pointer))
                .chain(self.others.iter().map(|o| (o.organization, &o.ods, &o.pointer)))
                .map(|(organization, ods, pointer)| Served {
                    organization,
                    ods: ods.parse().expect("test codes are well formed"),
                    name: format!("Organization {ods}"),
                    pointer: SecretKey::from_seed(pointer),
                })
                .collect(),
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
pub fn found(plan: &Plan, seed: u64) -> (Statements, Vec<Founder>) {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut founders: Vec<Founder> = Vec::new();
    let mut members = Vec::new();
    let mut keys = Vec::new();
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
        let (govern, pointer, mut transport, storage) = (seed(), seed(), seed(), seed());
        let mut node = [0; 16];
        node.copy_from_slice(&seed()[..16]);
        let mut node = NodeId(node);
        // The node before may serve this one, too.
        let room = founders.len().checked_sub(1).and_then(|at| plan.served.get(at));
        let host = room.filter(|room| founders.last().is_some_and(|f| f.others.len() + 1 < **room));
        let host = host.and_then(|_| founders.last_mut());
        if let Some(host) = &host {
            (node, transport) = (host.node, host.transport);
        }
        let standing = plan.standings.iter().find(|(at, _)| *at == number);
        members.push(MemberRecord {
            inception: ByteString::new(inception.bytes().to_vec()).expect("within its cap"),
            version: 0,
            standing: standing.map_or(Standing::Admitted, |(_, standing)| *standing),
            ods: ods.parse().expect("well formed"),
            name,
            class_max: CLASS_MAX,
            successor: None,
        });
        let root = *root.expose_seed();
        keys.push((root, keys_of(organization, node, [&govern, &pointer, &transport])));
        match host {
            Some(host) => host.others.push(Hosted { organization, root, govern, pointer, ods }),
            None => founders.push(Founder {
                organization,
                node,
                root,
                govern,
                pointer,
                others: Vec::new(),
                transport,
                storage,
                share: None,
                ods,
            }),
        }
    }
    let evaluators: Vec<OrganizationId> =
        founders.iter().take(plan.evaluators).map(|founder| founder.organization).collect();
    let dealt = (plan.evaluators > 0)
        .then(|| dealt_evaluators(&evaluators, plan.threshold, &mut rng).expect("the plan fits"));
    let (set, shares) = dealt.map_or((None, Vec::new()), |(set, shares)| (Some(set), shares));
    for (founder, share) in founders.iter_mut().zip(shares) {
        founder.share = Some(share);
    }
    let stewards: Vec<Steward> = founders.iter().take(STEWARDS_MAX).map(Founder::steward).collect();
    let founding = codec::encode(&Founding {
        name: Text::new("test network").expect("short"),
        founded: FOUNDED,
        parameters: plan.parameters,
        members: Bounded::new(members).expect("few"),
        evaluators: set,
        threshold: (stewards.len() / 2 + 1) as u16,
        stewards: Bounded::new(stewards).expect("few"),
    });
    let mut statements = Statements::begin(&founding, None).expect("it is consistent");
    let network = statements.network();
    for (root, keys) in keys {
        let root = SecretKey::from_seed(&root);
        let endorsement = endorse(&founding, keys.organization, &root, FOUNDED);
        let keys = sign(keys, &root, &network);
        for statement in [endorsement.bytes(), keys.bytes()] {
            statements.take(statement, FOUNDED).expect("it was signed by its root");
        }
    }
    statements.check_endorsed().expect("all have signed");
    (statements, founders)
}

/// An organization with a node of its own, that wants to join a network: with its signed inception.
///
/// # Panics
/// Never: what it makes is well formed.
#[must_use]
pub fn newcomer(number: usize, seed: u64) -> (Founder, Vec<u8>) {
    // Apart from what founders draw from the same seed.
    let mut rng = ChaCha20Rng::seed_from_u64(seed ^ 0x2e77);
    let ods = format!("ORG{number}");
    let name = Text::new(&format!("Organization {ods}")).expect("short");
    let code = ods.parse().expect("well formed");
    let (inception, root, _) = incept(code, name, FOUNDED, &mut rng);
    let mut seed = || {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        seed
    };
    let [govern, pointer, transport, storage, node] = [(); 5].map(|()| seed());
    let node = NodeId(node[..16].try_into().expect("16 of 32"));
    let founder = Founder {
        organization: OrganizationId(inception.hash().0),
        node,
        root: *root.expose_seed(),
        govern,
        pointer,
        others: Vec::new(),
        transport,
        storage,
        share: None,
        ods,
    };
    (founder, inception.bytes().to_vec())
}

/// The first statement of an organization's node and keys, from the seeds of its govern, pointer and
/// transport keys.
fn keys_of(
    organization: OrganizationId,
    node: NodeId,
    [govern, pointer, transport]: [&[u8; 32]; 3],
) -> OrganizationKeys {
    let key = |seed, usage, node| KeyRecord {
        key: SecretKey::from_seed(seed).public(),
        usage,
        node,
        not_before: FOUNDED.minus(3_600_000),
        not_after: FOUNDED.plus(KEY_LIFE),
        revoked: None,
    };
    let address = Text::new("/ip4/127.0.0.1/tcp/1").expect("short");
    let addresses = Bounded::new(vec![address]).expect("one fits");
    OrganizationKeys {
        organization,
        lineage: 0,
        version: 1,
        previous: ContentHash(organization.0),
        nodes: Bounded::new(vec![NodeRecord { node, addresses }]).expect("one"),
        keys: Bounded::new(vec![
            key(govern, KeyUse::Govern, None),
            key(pointer, KeyUse::Pointer, Some(node)),
            key(transport, KeyUse::Transport, Some(node)),
        ])
        .expect("three fit"),
        issued: FOUNDED,
    }
}
