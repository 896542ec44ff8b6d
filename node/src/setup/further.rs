//! A further organization at a member's node: a supplier takes on another practice.
//!
//! Until it is admitted its folder waits in `applications/`, where the node does not look; its
//! application is in it, as a file. Then [`take_on`] moves it to the others.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use minicbor::{Decode, Encode};
use rand_core::CryptoRng;
use signpost_keys::{
    keystore::Cost,
    roster::{Application, Statements, verify_inception},
    sign,
};
use signpost_protocol::{
    NetworkId, OdsCode, PublicKey, Timestamp,
    codec::{self, ByteString},
    limits,
};

use super::{
    INCEPTION_FILE, ORGANIZATIONS_DIRECTORY, PlannedNode, PlannedOrganization, SERVED_MAX,
    SetupError,
    founding::Founder,
    key_change::{KeysLock, NodeKeys, keep_roster},
    open,
    opening::{folders, node_keystore, node_of_key, organizations},
    organization_dir, secret_names,
    staging::{STAGING, private_directory, sync, write_whole},
};

/// Where the folders of organizations wait that have applied and are no members yet.
const APPLICATIONS_DIRECTORY: &str = "applications";
/// The application, in such a folder.
const APPLICATION_FILE: &str = "application.cbor";
/// Bytes of one: its two parts, and what frames them.
const APPLICATION_BYTES_MAX: usize = limits::INCEPTION_BYTES_MAX + limits::STATEMENT_BYTES_MAX + 64;

/// An organization that wants to be admitted, as a file: its signed inception, and its signed nodes
/// and keys in this network.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct ApplicationFile {
    #[n(0)]
    pub(crate) inception: ByteString<{ limits::INCEPTION_BYTES_MAX }>,
    #[n(1)]
    pub(crate) keys: ByteString<{ limits::STATEMENT_BYTES_MAX }>,
}

/// The folder in which a further organization of this code waits in `dir`, if one does.
#[must_use]
pub fn waiting_folder(dir: &Path, ods: &OdsCode) -> PathBuf {
    dir.join(APPLICATIONS_DIRECTORY).join(ods.as_str())
}

/// Whether a further organization of this code waits in `dir`.
#[must_use]
pub fn waits(dir: &Path, ods: &OdsCode) -> bool {
    waiting_folder(dir, ods).join(APPLICATION_FILE).is_file()
}

/// Makes the keys of a further organization at the node in `dir`, and its application to the node's
/// network; returns the application's file. What the node needs is in its keystore then; a running
/// node does not notice.
///
/// # Errors
/// When there is no member's node, it belongs to another network than `network`, or has an
/// organization of this code.
pub fn apply_further(
    lock: &KeysLock,
    organization: &PlannedOrganization,
    network: Option<NetworkId>,
    cost: Cost,
    now: Timestamp,
    rng: &mut impl CryptoRng,
) -> Result<PathBuf, SetupError> {
    let dir = lock.dir();
    let identity = open(dir)?;
    let own = identity.roster.network();
    let fault = |rule: String| Err(SetupError::Plan(rule));
    if network.is_some_and(|network| network != own) {
        return fault("the node belongs to another network than the invitation".to_owned());
    }
    let served = organizations(dir)?;
    if served.contains(&organization.ods) || waiting_folder(dir, &organization.ods).exists() {
        return fault(format!("this node has an organization with the code {}", organization.ods));
    }
    if served.len() >= SERVED_MAX {
        return fault(format!("a node serves at most {SERVED_MAX} organizations"));
    }
    let member = identity.roster.member(&identity.served[0].organization);
    let mut nodes = member.into_iter().flat_map(|member| &member.nodes);
    let listed = nodes.find(|node| node.node == identity.node);
    let address = listed.and_then(|node| node.addresses.first());
    let planned = PlannedNode {
        dir: dir.to_owned(),
        peer_address: address.cloned().unwrap_or_default(),
        api_listen: identity.config.api.listen,
        organizations: vec![organization.clone()],
    };
    let at = (&planned, identity.node, identity.transport);
    let founder = Founder::new(organization, at, now, rng)?;
    let keys = founder.keys(now).map(|keys| sign(keys, &founder.root, &own));
    let file = keys.and_then(|keys| {
        Some(ApplicationFile {
            inception: ByteString::new(founder.inception.bytes().to_vec())?,
            keys: ByteString::new(keys.bytes().to_vec())?,
        })
    });
    let Some(file) = file else { return fault("the name is too long".to_owned()) };

    let staging = dir.join(STAGING);
    match fs::remove_dir_all(&staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(SetupError::Io { path: staging, source: error });
        }
        _ => {}
    }
    founder.stage(&staging, cost, rng)?;
    let staged = organization_dir(&staging, &organization.ods);
    write_whole(&staged.join(APPLICATION_FILE), &codec::encode(&file))?;
    // The key first: one without a folder is of no effect, a folder without its key would be.
    let (mut keystore, path, passphrase) = node_keystore(dir, &identity.config)?;
    let name = secret_names::pointer(&founder.organization);
    let secret = founder.pointer.expose_seed();
    keystore.insert(&name, &*secret).map_err(|error| SetupError::Plan(error.to_string()))?;
    keystore
        .write(&path, &passphrase, cost, rng)
        .map_err(|source| SetupError::Keystore { path, source })?;
    private_directory(&dir.join(APPLICATIONS_DIRECTORY))?;
    let place = waiting_folder(dir, &organization.ods);
    fs::rename(&staged, &place).map_err(SetupError::io(&place))?;
    fs::remove_dir_all(&staging).map_err(SetupError::io(&staging))?;
    sync(&dir.join(APPLICATIONS_DIRECTORY))?;
    Ok(place.join(APPLICATION_FILE))
}

/// Puts an organization that was admitted among those that the node whose lock this is serves from its
/// next start on. `statements` is the roster that the node has by now, asked for under the lock: an
/// older one would take the place of one that a renewal of keys has just left.
///
/// # Errors
/// When the roster does not list it as an admitted member at this node, or the node would not start.
pub fn take_on(
    lock: &KeysLock,
    ods: &OdsCode,
    statements: &Statements,
    now: Timestamp,
) -> Result<(), SetupError> {
    let dir = lock.dir();
    let identity = open(dir)?;
    let from = waiting_folder(dir, ods);
    let path = from.join(INCEPTION_FILE);
    let inception = fs::read(&path).map_err(SetupError::io(&path))?;
    let (organization, _) =
        verify_inception(&inception).map_err(|source| SetupError::Inception { path, source })?;
    let roster = statements.roster(now);
    let transport = identity.transport.public();
    let speaks_for = roster.organizations_of_peer(&transport, now);
    if roster.network() != identity.roster.network() || !speaks_for.contains(&organization) {
        let member = roster.member(&organization);
        let is_listed = member.map(|member| node_of_key(&member.nodes, &transport).is_some());
        return Err(SetupError::Plan(match is_listed {
            Some(true) => format!(
                "{ods} is a member, but does not take part with this node now: it is suspended, or the \
                 node's transport key does not count; `signpost roster show {ods}` says which"
            ),
            Some(false) => format!(
                "{ods} is a member, but with another transport key than this node's: it applied before \
                 the node's was renewed; `signpost keys republish --organization {ods}` lists the \
                 present one, then type this again"
            ),
            None if applied_with_another(&from, &identity.roster.network(), &transport) => format!(
                "{ods} has not been admitted yet, and its application lists a transport key that this \
                 node has renewed since; when it is admitted (`signpost roster log`), list the present \
                 one with `signpost keys republish --organization {ods}`, then type this again"
            ),
            None => format!(
                "{ods} has not been admitted yet: `signpost roster log` has what was decided"
            ),
        }));
    }
    let folders: Vec<PathBuf> = folders(dir)?.into_iter().chain([from.clone()]).collect();
    NodeKeys::open(lock.clone())?.check_starts_with(&folders, &roster, None)?;
    keep_roster(dir, &statements.write())?;
    let to = organization_dir(dir, ods);
    fs::rename(&from, &to).map_err(SetupError::io(&to))?;
    sync(&dir.join(ORGANIZATIONS_DIRECTORY))
}

/// Whether the application that waits in a folder can be read, and does not list this transport key.
fn applied_with_another(folder: &Path, network: &NetworkId, transport: &PublicKey) -> bool {
    let bytes = fs::read(folder.join(APPLICATION_FILE)).unwrap_or_default();
    let file = codec::decode::<ApplicationFile>("application", &bytes, APPLICATION_BYTES_MAX);
    let application =
        file.ok().and_then(|file| Application::verify(&file.inception, &file.keys, network).ok());
    application.is_some_and(|one| one.keys.keys.iter().all(|listed| listed.key != *transport))
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng as _;
    use signpost_protocol::roster::Parameters;

    use super::*;
    use crate::{
        runtime::wall_clock,
        setup::{Plan, found},
    };

    fn organization(ods: &str) -> PlannedOrganization {
        PlannedOrganization::new(ods.parse().unwrap(), format!("Practice {ods}"))
    }

    #[test]
    fn a_further_organization_waits_beside_the_others_and_hurts_nobody() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("node");
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let plan = Plan {
            network_name: "Trial".to_owned(),
            parameters: Parameters::STANDARD,
            nodes: vec![PlannedNode {
                dir: dir.clone(),
                peer_address: "/ip4/127.0.0.1/tcp/20001".to_owned(),
                api_listen: "127.0.0.1:30001".parse().unwrap(),
                organizations: vec![organization("A81001")],
            }],
            class_max: 10,
            cost: Cost::weak_for_tests(),
            deals_key: true,
        };
        let founded = found(&plan, wall_clock(), &mut rng).unwrap();
        let lock = KeysLock::take(&dir, || ()).unwrap();
        let mut apply = |ods: &str, network| {
            let (cost, now) = (Cost::weak_for_tests(), wall_clock());
            apply_further(&lock, &organization(ods), network, cost, now, &mut rng)
        };
        assert!(apply("A81002", Some(NetworkId([9; 32]))).is_err());
        assert!(apply("A81001", None).is_err());
        let file = apply("A81002", Some(founded.network)).unwrap();
        assert!(apply("A81002", None).is_err(), "it has applied");

        let bytes = fs::read(&file).unwrap();
        let file: ApplicationFile = codec::decode("application", &bytes, 8_192).unwrap();
        let application =
            Application::verify(&file.inception, &file.keys, &founded.network).unwrap();
        let identity = open(&dir).unwrap();
        assert_eq!(identity.served.len(), 1, "the node starts as before");
        assert_eq!(application.keys.nodes[0].node, identity.node);
        let transport = identity.transport.public();
        assert!(application.keys.keys.iter().any(|listed| listed.key == transport));
        let ods = "A81002".parse().unwrap();
        assert!(waits(&dir, &ods) && !waits(&dir, &"A81003".parse().unwrap()));
        let error = take_on(&lock, &ods, &identity.statements, wall_clock()).unwrap_err();
        assert!(error.to_string().contains("not been admitted yet"), "{error}");
        assert_eq!(open(&dir).unwrap().served.len(), 1);
    }
}
