//! Founds a network in one go: every founder's keys, inception and directory, and the roster that
//! they all endorse.
//!
//! Whoever runs this holds every founder's root key for a moment, and may deal the blinding key, so it
//! suits demonstrations, tests and a network of one. Founders who do not share a machine exchange
//! their signed statements instead.

use std::{collections::BTreeSet, fs, net::SocketAddr, path::PathBuf};

use libp2p::{Multiaddr, multiaddr::Protocol};
use rand_core::CryptoRng;
use signpost_keys::{
    SecretKey, Verified,
    keystore::Cost,
    roster::{FoundingError, Refusal, Statements, dealt_evaluators, endorse, incept},
    sign,
};
use signpost_protocol::{
    ContentHash, NetworkId, NodeId, OdsCode, OrganizationId, Timestamp,
    codec::{self, Bounded, ByteString, Text},
    limits,
    roster::{
        Founding, Inception, KeyRecord, MemberRecord, NodeRecord, OrganizationKeys, Parameters,
        Standing, Steward,
    },
    statement::KeyUse,
};

use super::{
    ROSTER_FILE, SetupError,
    staging::{STAGING, publish, refuse_occupied},
};

/// Life of a pointer or transport key, in milliseconds: 90 days (DESIGN §5).
pub const KEY_LIFE: u64 = 90 * 24 * 3_600_000;
/// Life of a govern key, in milliseconds: a year (DESIGN §5).
const GOVERN_KEY_LIFE: u64 = 365 * 24 * 3_600_000;
/// How long before the founding its keys are valid already, in milliseconds: a peer whose clock is
/// up to an hour slow can still take part while its clock is mended.
pub const KEY_LEAD: u64 = 3_600_000;
/// The most evaluators that a founding deals to: 3 of 5 stand the loss of two; more only cost time.
const EVALUATORS_MAX: usize = 5;
/// The most founders that become stewards: of five, three make law, and two may be away.
const STEWARDS_MAX: usize = 5;
/// The fewest nodes among which the blinding key is shared: of two, either would stop the other.
const SHARED_FROM: usize = 3;
/// An organization to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedOrganization {
    /// Its ODS code.
    pub ods: OdsCode,
    /// Its name, 1 to 160 bytes.
    pub name: String,
    /// Where it stands from the start: admitted, but for trials of what follows otherwise.
    pub standing: Standing,
}

/// A node to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedNode {
    /// Its directory; created if need be, and otherwise empty.
    pub dir: PathBuf,
    /// Where other nodes reach it: a multiaddr with a fixed TCP port and without a peer id.
    pub peer_address: String,
    /// Where clinical systems reach it: a loopback address with a fixed port.
    pub api_listen: SocketAddr,
    /// The organizations that it serves, at least one: commonly one, many at a supplier's node.
    pub organizations: Vec<PlannedOrganization>,
}

/// A network to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The network's name for people, 1 to 160 bytes.
    pub network_name: String,
    /// The shared durations.
    pub parameters: Parameters,
    /// The founders' nodes; 1 to 64 founders altogether.
    pub nodes: Vec<PlannedNode>,
    /// The largest digest size class that each may advertise.
    pub class_max: u8,
    /// What guessing a keystore's passphrase costs.
    pub cost: Cost,
    /// Whether the blinding key is dealt with the founding, by a party that could keep it; otherwise the
    /// evaluators make it themselves afterwards, which takes three nodes at least.
    pub deals_key: bool,
}

impl PlannedOrganization {
    /// An organization that takes part from the start.
    #[must_use]
    pub fn new(ods: OdsCode, name: String) -> Self {
        Self { ods, name, standing: Standing::Admitted }
    }
}

/// A network that was founded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founded {
    /// Its id.
    pub network: NetworkId,
    /// What its people must know, in sentences.
    pub warnings: Vec<String>,
}

/// Makes every directory of the plan. Takes as long as the cost of a keystore for each node and of
/// two for each organization, on purpose.
///
/// # Errors
/// When the plan makes no network or a directory holds something already: then nothing is
/// written. When the file system fails midway, what was written is no node, and a second attempt
/// in the same directories is refused until they are emptied.
pub fn found(plan: &Plan, now: Timestamp, rng: &mut impl CryptoRng) -> Result<Founded, SetupError> {
    check(plan)?;
    for node in &plan.nodes {
        refuse_occupied(&node.dir)?;
    }
    let nodes = plan
        .nodes
        .iter()
        .map(|node| FoundingNode::new(node, now, rng))
        .collect::<Result<Vec<_>, _>>()?;
    let founders: Vec<&Founder<'_>> = nodes.iter().flat_map(|node| &node.founders).collect();
    // Shares at one node are as good as one share, whomever the node serves.
    let (evaluators, threshold) = match nodes.len() {
        count if count < SHARED_FROM => (1, 1),
        count => (count.min(EVALUATORS_MAX), count.min(EVALUATORS_MAX) / 2 + 1),
    };
    let ids: Vec<_> =
        nodes[..evaluators].iter().map(|node| node.founders[0].organization).collect();
    let deals = plan.deals_key || nodes.len() < SHARED_FROM;
    let (evaluator_set, shares) = match deals {
        true => dealt_evaluators(&ids, threshold as u16, rng).map(|(set, s)| (Some(set), s)),
        false => Ok((None, Vec::new())),
    }
    .map_err(no_network)?;
    let members = founders.iter().map(|founder| founder.record(plan)).collect::<Option<_>>();
    let stewards: Vec<Steward> =
        nodes.iter().take(STEWARDS_MAX).map(|node| node.founders[0].steward()).collect();
    let founding = Founding {
        name: name(&plan.network_name)?,
        founded: now,
        parameters: plan.parameters,
        members: members.and_then(Bounded::new).ok_or_else(too_many)?,
        evaluators: evaluator_set,
        threshold: (stewards.len() / 2 + 1) as u16,
        stewards: Bounded::new(stewards).ok_or_else(too_many)?,
    };
    // What every node will check when it starts is checked before anything is written.
    let founding = codec::encode(&founding);
    let mut statements = Statements::begin(&founding, None).map_err(no_network)?;
    let network = statements.network();
    for founder in &founders {
        let endorsement = endorse(&founding, founder.organization, &founder.root, now);
        let keys = sign(founder.keys(now).ok_or_else(too_many)?, &founder.root, &network);
        statements.take(endorsement.bytes(), now).map_err(no_statement)?;
        statements.take(keys.bytes(), now).map_err(no_statement)?;
    }
    statements.check_endorsed().map_err(no_network)?;
    let roster = statements.write();

    let mut shares = shares.into_iter();
    for node in &nodes {
        let staged = node.stage(plan.cost, (ROSTER_FILE, &roster), shares.next(), rng);
        if staged.is_err() {
            for node in &nodes {
                // Best effort: the error that led here is the one worth telling.
                let _ = fs::remove_dir_all(node.plan.dir.join(STAGING));
            }
        }
        staged?;
    }
    for node in &nodes {
        publish(&node.plan.dir)?;
    }
    let warnings = if deals { warnings(nodes.len()) } else { Vec::new() };
    Ok(Founded { network, warnings })
}

fn warnings(nodes: usize) -> Vec<String> {
    let mut warnings = vec![
        "The shares of the blinding key were dealt by one party, which could have kept the key and \
         enumerated patients with it: for demonstrations only."
            .to_owned(),
    ];
    if nodes < SHARED_FROM {
        warnings.push(format!(
            "With fewer than {SHARED_FROM} nodes a single evaluator holds the whole blinding key: \
             it could enumerate patients, and no look-up works while it is down."
        ));
    }
    warnings
}

fn no_network(error: FoundingError) -> SetupError {
    SetupError::Plan(error.to_string())
}

fn no_statement(error: Refusal) -> SetupError {
    SetupError::Plan(error.to_string())
}

fn too_many() -> SetupError {
    SetupError::Plan(format!("a network is founded by 1 to {} organizations", limits::FOUNDERS_MAX))
}

fn name(text: &str) -> Result<Text<{ limits::NAME_BYTES_MAX }>, SetupError> {
    let fits = !text.trim().is_empty() && !text.contains(char::is_control);
    Text::new(text).filter(|_| fits).ok_or_else(|| {
        SetupError::Plan(format!(
            "a name has 1 to {} bytes and no control characters",
            limits::NAME_BYTES_MAX
        ))
    })
}

/// The port that other nodes dial.
pub(super) fn peer_port(address: &str) -> Result<u16, SetupError> {
    let fault = |rule: &str| SetupError::Plan(format!("the peer address {address} {rule}"));
    let parsed: Multiaddr = address.parse().map_err(|_| fault("is not a multiaddr"))?;
    if parsed.iter().any(|part| matches!(part, Protocol::P2p(_))) {
        return Err(fault("must not name a peer id: that follows from the keys"));
    }
    match parsed.iter().nth(1) {
        Some(Protocol::Tcp(port)) if port != 0 && parsed.iter().count() == 2 => Ok(port),
        _ => Err(fault(
            "must be a host and a fixed TCP port, such as /dns4/signpost.example/tcp/7701",
        )),
    }
}

/// Where to listen so that `address` leads here. An address that others see may belong to a
/// router or a name, so only loopback is taken as it is.
pub(super) fn listen_address(address: &str, port: u16) -> String {
    let parsed = address.parse::<Multiaddr>().ok();
    match parsed.as_ref().and_then(|parsed| parsed.iter().next()) {
        Some(Protocol::Ip4(ip)) if ip.is_loopback() => address.to_owned(),
        Some(Protocol::Ip6(ip)) if ip.is_loopback() => address.to_owned(),
        Some(Protocol::Ip6(_) | Protocol::Dns6(_)) => format!("/ip6/::/tcp/{port}"),
        _ => format!("/ip4/0.0.0.0/tcp/{port}"),
    }
}

fn check(plan: &Plan) -> Result<(), SetupError> {
    let fault = |rule: String| Err(SetupError::Plan(rule));
    let founders = plan.nodes.iter().map(|node| node.organizations.len()).sum::<usize>();
    if !(1..=limits::FOUNDERS_MAX).contains(&founders) {
        return Err(too_many());
    }
    if plan.nodes.iter().any(|node| node.organizations.is_empty()) {
        return fault("a node serves at least one organization".to_owned());
    }
    name(&plan.network_name)?;
    let mut taken = BTreeSet::new();
    let mut take = |what: &str, thing: String| match taken.replace(thing) {
        Some(twice) => fault(format!("two {what} have the {twice}")),
        None => Ok(()),
    };
    for node in &plan.nodes {
        check_addresses(node)?;
        let api = node.api_listen;
        let dir = std::path::absolute(&node.dir).map_err(SetupError::io(&node.dir))?;
        take("nodes", format!("directory {}", dir.display()))?;
        take("nodes", format!("peer address {}", node.peer_address))?;
        take("nodes", format!("API address {api}"))?;
        for organization in &node.organizations {
            name(&organization.name)?;
            take("organizations", format!("ODS code {}", organization.ods))?;
        }
    }
    Ok(())
}

/// Checks where a node is to be reached.
pub(super) fn check_addresses(node: &PlannedNode) -> Result<(), SetupError> {
    let fault = |rule: String| Err(SetupError::Plan(rule));
    let port = peer_port(&node.peer_address)?;
    if node.peer_address.len() > limits::ADDRESS_BYTES_MAX {
        return fault(format!("a peer address has at most {} bytes", limits::ADDRESS_BYTES_MAX));
    }
    let api = node.api_listen;
    if !api.ip().is_loopback() || api.port() == 0 {
        return fault(format!(
            "the API address {api} must be loopback with a fixed port: the API speaks plain HTTP"
        ));
    }
    if listen_address(&node.peer_address, port).contains("/127.") && port == api.port() {
        return fault(format!("port {port} cannot serve both other nodes and the API"));
    }
    Ok(())
}

/// A node with its secrets.
pub(super) struct FoundingNode<'a> {
    pub(super) plan: &'a PlannedNode,
    pub(super) founders: Vec<Founder<'a>>,
}

/// A founder with its secrets, and with those of its node.
pub(super) struct Founder<'a> {
    at: &'a PlannedNode,
    pub(super) plan: &'a PlannedOrganization,
    pub(super) inception: Verified<Inception>,
    pub(super) organization: OrganizationId,
    pub(super) root: SecretKey,
    pub(super) next_root: SecretKey,
    node: NodeId,
    pub(super) govern: SecretKey,
    pub(super) pointer: SecretKey,
    pub(super) transport: SecretKey,
}

impl<'a> FoundingNode<'a> {
    pub(super) fn new(
        plan: &'a PlannedNode,
        now: Timestamp,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, SetupError> {
        let mut node = [0; NodeId::LENGTH];
        rng.fill_bytes(&mut node);
        let transport = SecretKey::generate(rng).expose_seed();
        let organizations = plan.organizations.iter();
        let founders = organizations.map(|organization| {
            let at = (plan, NodeId(node), SecretKey::from_seed(&transport));
            Founder::new(organization, at, now, rng)
        });
        Ok(Self { plan, founders: founders.collect::<Result<_, _>>()? })
    }
}

impl<'a> Founder<'a> {
    pub(super) fn new(
        plan: &'a PlannedOrganization,
        (at, node, transport): (&'a PlannedNode, NodeId, SecretKey),
        now: Timestamp,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, SetupError> {
        let (inception, root, next_root) = incept(plan.ods.clone(), name(&plan.name)?, now, rng);
        Ok(Self {
            at,
            plan,
            organization: OrganizationId(inception.hash().0),
            inception,
            root,
            next_root,
            node,
            govern: SecretKey::generate(rng),
            pointer: SecretKey::generate(rng),
            transport,
        })
    }

    /// The founder's record. `None` when it breaks a bound, which [`check`] rules out.
    fn record(&self, plan: &Plan) -> Option<MemberRecord> {
        Some(MemberRecord {
            inception: ByteString::new(self.inception.bytes().to_vec())?,
            version: 0,
            standing: self.plan.standing,
            ods: self.plan.ods.clone(),
            name: Text::new(&self.plan.name)?,
            class_max: plan.class_max,
            successor: None,
        })
    }

    fn steward(&self) -> Steward {
        Steward { organization: self.organization, govern: self.govern.public() }
    }

    /// The founder's nodes and keys. `None` when they break a bound, which [`check`] rules out.
    pub(super) fn keys(&self, now: Timestamp) -> Option<OrganizationKeys> {
        let key = |key: &SecretKey, usage, node, life| new_key(key, (usage, node), life, now);
        let node = Some(self.node);
        let addresses = Bounded::new(vec![Text::new(&self.at.peer_address)?])?;
        Some(OrganizationKeys {
            organization: self.organization,
            lineage: 0,
            version: 1,
            previous: ContentHash(self.organization.0),
            nodes: Bounded::new(vec![NodeRecord { node: self.node, addresses }])?,
            keys: Bounded::new(vec![
                key(&self.govern, KeyUse::Govern, None, GOVERN_KEY_LIFE),
                key(&self.pointer, KeyUse::Pointer, node, KEY_LIFE),
                key(&self.transport, KeyUse::Transport, node, KEY_LIFE),
            ])?,
            issued: now,
        })
    }
}

/// The record of a key that was drawn at `now`, for this use and at this node.
pub(super) fn new_key(
    key: &SecretKey,
    (usage, node): (KeyUse, Option<NodeId>),
    life: u64,
    now: Timestamp,
) -> KeyRecord {
    let not_before = now.minus(KEY_LEAD);
    let not_after = not_before.plus(life);
    KeyRecord { key: key.public(), usage, node, not_before, not_after, revoked: None }
}
