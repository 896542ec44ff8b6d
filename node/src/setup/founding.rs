//! Founds a network in one go: every founder's keys, inception and directory, and the roster that
//! they all endorse.
//!
//! Whoever runs this holds every founder's root key for a moment and deals the blinding key, so it
//! suits demonstrations, tests and a network of one. Founders who do not share a machine exchange
//! their signed statements instead.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use libp2p::{Multiaddr, multiaddr::Protocol};
use rand_core::CryptoRng;
use signpost_keys::{
    Roster, SecretKey, Verified,
    blinding::KeyShare,
    keystore::{Cost, Keystore, Passphrase},
    roster::{FoundingError, assemble, dealt_evaluators, endorse, incept, verify_inception},
};
use signpost_protocol::{
    NetworkId, NodeId, OdsCode, OrganizationId, Timestamp,
    codec::{self, Bounded, ByteString, Text},
    limits,
    roster::{Founding, Inception, KeyRecord, MemberRecord, NodeRecord, Parameters, Standing},
    statement::KeyUse,
};
use zeroize::Zeroizing;

use super::{
    API_TOKEN_FILE, INCEPTION_FILE, KEYS_DIRECTORY, NEXT_ROOT_KEYSTORE, NODE_KEYSTORE,
    PASSPHRASE_FILE, ROOT_KEYSTORE, ROSTER_FILE, SetupError, config_file, secret_names,
};
use crate::config::{self, Config};

/// Life of a pointer or transport key, in milliseconds: 90 days (DESIGN §5).
const KEY_LIFE: u64 = 90 * 24 * 3_600_000;
/// How long before the founding its keys are valid already, in milliseconds: a peer whose clock is
/// up to an hour slow can still take part while its clock is mended.
const KEY_LEAD: u64 = 3_600_000;
/// The most evaluators that a founding deals to: 3 of 5 stand the loss of two; more only cost time.
const EVALUATORS_MAX: usize = 5;
/// The fewest members among whom the blinding key is shared: of two, either would stop the other.
const SHARED_FROM: usize = 3;
/// Random bytes of an API token.
const TOKEN_BYTES: usize = 32;
/// Where a directory's files are written before they take their places.
const STAGING: &str = "founding.tmp";
/// The files of a directory in the order in which they take their places. The roster comes last:
/// without it a directory holds no node.
const PLACES: [&str; 6] =
    [KEYS_DIRECTORY, PASSPHRASE_FILE, API_TOKEN_FILE, config::FILE, INCEPTION_FILE, ROSTER_FILE];

/// An organization to be, with its one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedOrganization {
    /// Its ODS code.
    pub ods: OdsCode,
    /// Its name, 1 to 160 bytes.
    pub name: String,
    /// The node's directory; created if need be, and otherwise empty.
    pub dir: PathBuf,
    /// Where other nodes reach it: a multiaddr with a fixed TCP port and without a peer id.
    pub peer_address: String,
    /// Where its clinical systems reach it: a loopback address with a fixed port.
    pub api_listen: SocketAddr,
}

/// A network to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The network's name for people, 1 to 160 bytes.
    pub network_name: String,
    /// The shared durations.
    pub parameters: Parameters,
    /// The founders, 1 to 64.
    pub organizations: Vec<PlannedOrganization>,
    /// The largest digest size class that each may advertise.
    pub class_max: u8,
    /// What guessing a keystore's passphrase costs.
    pub cost: Cost,
}

/// A network that was founded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founded {
    /// Its id.
    pub network: NetworkId,
    /// What its people must know, in sentences.
    pub warnings: Vec<String>,
}

/// Makes every directory of the plan. Takes as long as three keystores' cost for each, on purpose.
///
/// # Errors
/// When the plan makes no network or a directory holds something already: then nothing is
/// written. When the file system fails midway, what was written is no node, and a second attempt
/// in the same directories is refused until they are emptied.
pub fn found(plan: &Plan, now: Timestamp, rng: &mut impl CryptoRng) -> Result<Founded, SetupError> {
    check(plan)?;
    for organization in &plan.organizations {
        refuse_occupied(&organization.dir)?;
    }
    let founders = plan
        .organizations
        .iter()
        .map(|organization| Founder::new(organization, now, rng))
        .collect::<Result<Vec<_>, _>>()?;
    let (evaluators, threshold) = match founders.len() {
        count if count < SHARED_FROM => (1, 1),
        count => (count.min(EVALUATORS_MAX), count.min(EVALUATORS_MAX) / 2 + 1),
    };
    let ids: Vec<_> = founders[..evaluators].iter().map(|founder| founder.organization).collect();
    let (evaluator_set, shares) =
        dealt_evaluators(&ids, threshold as u16, rng).map_err(no_network)?;
    let members = founders.iter().map(|founder| founder.record(plan, now)).collect::<Option<_>>();
    let founding = Founding {
        name: name(&plan.network_name)?,
        founded: now,
        parameters: plan.parameters,
        members: members.and_then(Bounded::new).ok_or_else(too_many)?,
        evaluators: evaluator_set,
    };
    let founding = codec::encode(&founding);
    let endorsements: Vec<_> = founders
        .iter()
        .map(|founder| endorse(&founding, founder.organization, &founder.root, now))
        .collect();
    let roster = assemble(founding, &endorsements).map_err(no_network)?;
    // What every node will check when it starts is checked before anything is written.
    let network = Roster::open(&roster, None).map_err(no_network)?.network();

    let mut shares = shares.into_iter();
    for founder in &founders {
        let staged = founder.stage(plan, &roster, shares.next(), rng);
        if staged.is_err() {
            for founder in &founders {
                // Best effort: the error that led here is the one worth telling.
                let _ = fs::remove_dir_all(founder.plan.dir.join(STAGING));
            }
        }
        staged?;
    }
    for founder in &founders {
        founder.publish()?;
    }
    Ok(Founded { network, warnings: warnings(founders.len()) })
}

fn warnings(founders: usize) -> Vec<String> {
    let mut warnings = vec![
        "The shares of the blinding key were dealt by one party, which could have kept the key and \
         enumerated patients with it: for demonstrations only."
            .to_owned(),
    ];
    if founders < SHARED_FROM {
        warnings.push(format!(
            "With fewer than {SHARED_FROM} organizations a single evaluator holds the whole \
             blinding key: it could enumerate patients, and no look-up works while it is down."
        ));
    }
    warnings
}

fn no_network(error: FoundingError) -> SetupError {
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
fn peer_port(address: &str) -> Result<u16, SetupError> {
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
fn listen_address(address: &str, port: u16) -> String {
    let parsed = address.parse::<Multiaddr>().ok();
    match parsed.as_ref().and_then(|parsed| parsed.iter().next()) {
        Some(Protocol::Ip4(ip)) if ip.is_loopback() => address.to_owned(),
        Some(Protocol::Ip6(ip)) if ip.is_loopback() => address.to_owned(),
        Some(Protocol::Ip6(_) | Protocol::Dns6(_)) => format!("/ip6/::/tcp/{port}"),
        _ => format!("/ip4/0.0.0.0/tcp/{port}"),
    }
}

fn check(plan: &Plan) -> Result<(), SetupError> {
    if !(1..=limits::FOUNDERS_MAX).contains(&plan.organizations.len()) {
        return Err(too_many());
    }
    name(&plan.network_name)?;
    let mut taken = BTreeSet::new();
    for organization in &plan.organizations {
        name(&organization.name)?;
        let port = peer_port(&organization.peer_address)?;
        let fault = |rule: String| Err(SetupError::Plan(rule));
        if organization.peer_address.len() > limits::ADDRESS_BYTES_MAX {
            return fault(format!(
                "a peer address has at most {} bytes",
                limits::ADDRESS_BYTES_MAX
            ));
        }
        let api = organization.api_listen;
        if !api.ip().is_loopback() || api.port() == 0 {
            return fault(format!(
                "the API address {api} must be loopback with a fixed port: the API speaks plain HTTP"
            ));
        }
        if listen_address(&organization.peer_address, port).contains("/127.") && port == api.port()
        {
            return fault(format!("port {port} cannot serve both other nodes and the API"));
        }
        let dir =
            std::path::absolute(&organization.dir).map_err(SetupError::io(&organization.dir))?;
        for thing in [
            format!("ODS code {}", organization.ods),
            format!("directory {}", dir.display()),
            format!("peer address {}", organization.peer_address),
            format!("API address {api}"),
        ] {
            if let Some(twice) = taken.replace(thing) {
                return fault(format!("two organizations have the {twice}"));
            }
        }
    }
    Ok(())
}

/// Refuses a directory that holds anything, but for what a founding cut short has left to stage.
fn refuse_occupied(dir: &Path) -> Result<(), SetupError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(SetupError::Io { path: dir.to_owned(), source }),
    };
    for entry in entries {
        if entry.map_err(SetupError::io(dir))?.file_name() != STAGING {
            let inception = fs::read(dir.join(INCEPTION_FILE)).ok();
            let inception = inception.and_then(|bytes| verify_inception(&bytes).ok());
            let dir = dir.to_owned();
            return Err(match inception {
                Some((_, inception)) => SetupError::Occupied { dir, ods: inception.ods.clone() },
                None => SetupError::NotEmpty { dir },
            });
        }
    }
    Ok(())
}

/// A founder with its secrets.
struct Founder<'a> {
    plan: &'a PlannedOrganization,
    inception: Verified<Inception>,
    organization: OrganizationId,
    root: SecretKey,
    next_root: SecretKey,
    node: NodeId,
    pointer: SecretKey,
    transport: SecretKey,
}

impl<'a> Founder<'a> {
    fn new(
        plan: &'a PlannedOrganization,
        now: Timestamp,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, SetupError> {
        let (inception, root, next_root) = incept(plan.ods.clone(), name(&plan.name)?, now, rng);
        let mut node = [0; NodeId::LENGTH];
        rng.fill_bytes(&mut node);
        Ok(Self {
            plan,
            organization: OrganizationId(inception.hash().0),
            inception,
            root,
            next_root,
            node: NodeId(node),
            pointer: SecretKey::generate(rng),
            transport: SecretKey::generate(rng),
        })
    }

    /// The founder's line in the roster. `None` when it breaks a bound, which [`check`] rules out.
    fn record(&self, plan: &Plan, now: Timestamp) -> Option<MemberRecord> {
        let not_before = now.minus(KEY_LEAD);
        let key = |key: &SecretKey, usage| KeyRecord {
            key: key.public(),
            usage,
            node: self.node,
            not_before,
            not_after: not_before.plus(KEY_LIFE),
        };
        let addresses = Bounded::new(vec![Text::new(&self.plan.peer_address)?])?;
        Some(MemberRecord {
            inception: ByteString::new(self.inception.bytes().to_vec())?,
            standing: Standing::Admitted,
            ods: self.plan.ods.clone(),
            name: Text::new(&self.plan.name)?,
            nodes: Bounded::new(vec![NodeRecord { node: self.node, addresses }])?,
            keys: Bounded::new(vec![
                key(&self.pointer, KeyUse::Pointer),
                key(&self.transport, KeyUse::Transport),
            ])?,
            class_max: plan.class_max,
        })
    }

    /// Writes all files of the directory where they do not count yet.
    fn stage(
        &self,
        plan: &Plan,
        roster: &[u8],
        share: Option<KeyShare>,
        rng: &mut impl CryptoRng,
    ) -> Result<(), SetupError> {
        let dir = &self.plan.dir;
        private_directory(dir)?;
        let staging = dir.join(STAGING);
        match fs::remove_dir_all(&staging) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(SetupError::Io { path: staging, source: error });
            }
            _ => {}
        }
        let keys = staging.join(KEYS_DIRECTORY);
        private_directory(&keys)?;

        let passphrase = Passphrase::generate(rng);
        let mut storage = Zeroizing::new([0_u8; 32]);
        rng.fill_bytes(&mut *storage);
        let mut node = vec![
            (secret_names::POINTER, Zeroizing::new(self.pointer.expose_seed().to_vec())),
            (secret_names::TRANSPORT, Zeroizing::new(self.transport.expose_seed().to_vec())),
            (secret_names::STORAGE, Zeroizing::new(storage.to_vec())),
        ];
        if let Some(share) = share {
            let mut bytes = Zeroizing::new(Vec::with_capacity(2 + 32));
            bytes.extend_from_slice(&share.index().get().to_be_bytes());
            bytes.extend_from_slice(&*share.to_bytes());
            node.push((secret_names::EVALUATOR_SHARE, bytes));
        }
        let root = (secret_names::ROOT, Zeroizing::new(self.root.expose_seed().to_vec()));
        let next_root =
            (secret_names::NEXT_ROOT, Zeroizing::new(self.next_root.expose_seed().to_vec()));
        for (file, secrets) in [
            (NODE_KEYSTORE, node),
            (ROOT_KEYSTORE, vec![root]),
            (NEXT_ROOT_KEYSTORE, vec![next_root]),
        ] {
            let mut keystore = Keystore::new();
            for (name, secret) in &secrets {
                keystore.insert(name, secret).expect("distinct names, 32 or 34 bytes each");
            }
            let path = keys.join(file);
            keystore
                .write(&path, &passphrase, plan.cost, rng)
                .map_err(|source| SetupError::Keystore { path, source })?;
        }
        passphrase.write_file(&staging.join(PASSPHRASE_FILE), rng).map_err(|source| {
            SetupError::Io { path: staging.join(PASSPHRASE_FILE), source: io::Error::other(source) }
        })?;

        let mut token = Zeroizing::new([0_u8; TOKEN_BYTES]);
        rng.fill_bytes(&mut *token);
        let token = Zeroizing::new(hex::encode(*token) + "\n");
        let config = config_file::commented(&self.config()?);
        write(&staging.join(API_TOKEN_FILE), token.as_bytes(), 0o600)?;
        write(&staging.join(config::FILE), config.as_bytes(), 0o644)?;
        write(&staging.join(INCEPTION_FILE), self.inception.bytes(), 0o644)?;
        write(&staging.join(ROSTER_FILE), roster, 0o644)?;
        sync(&keys)?;
        sync(&staging)
    }

    fn config(&self) -> Result<Config, SetupError> {
        let mut config = Config::default();
        let port = peer_port(&self.plan.peer_address)?;
        config.api.listen = self.plan.api_listen;
        config.peer.listen = vec![listen_address(&self.plan.peer_address, port)];
        config.keystore.passphrase_file = PathBuf::from(PASSPHRASE_FILE);
        Ok(config)
    }

    /// Moves the files to their places.
    fn publish(&self) -> Result<(), SetupError> {
        let dir = &self.plan.dir;
        let staging = dir.join(STAGING);
        for name in PLACES {
            let place = dir.join(name);
            fs::rename(staging.join(name), &place).map_err(SetupError::io(&place))?;
        }
        fs::remove_dir(&staging).map_err(SetupError::io(&staging))?;
        sync(dir)
    }
}

/// Makes a directory, and its parents, that its owner alone may enter.
fn private_directory(dir: &Path) -> Result<(), SetupError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    // It may have been there, empty, with another mode.
    made.and_then(|()| fs::set_permissions(dir, fs::Permissions::from_mode(0o700)))
        .map_err(SetupError::io(dir))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), SetupError> {
    let written = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    written().map_err(SetupError::io(path))
}

/// Makes the names in a directory survive a crash.
fn sync(dir: &Path) -> Result<(), SetupError> {
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(SetupError::io(dir))
}
