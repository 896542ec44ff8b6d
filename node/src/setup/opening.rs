//! Reading a node's directory, and checking that its parts belong together.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use signpost_keys::{
    MemberNode, Roster, SecretKey,
    blinding::{EvaluatorIndex, KeyShare},
    keystore::{Keystore, KeystoreError, Passphrase},
    roster::{Statements, verify_inception},
};
use signpost_protocol::{OdsCode, OrganizationId, PublicKey};
use zeroize::Zeroizing;

use super::{
    API_TOKEN_FILE, INCEPTION_FILE, Identity, JOINING_FILE, KEYS_DIRECTORY, NODE_KEYSTORE,
    ORGANIZATIONS_DIRECTORY, PREPARED_FILE, ROSTER_FILE, SERVED_MAX, ServedIdentity, SetupError,
    secret_names,
};
use crate::{config::Config, runtime::wall_clock};

/// Reads and checks the node in `dir`. Takes as long as its keystore's cost says, on purpose.
///
/// # Errors
/// Names the file at fault; see [`SetupError::hint`].
pub fn open(dir: &Path) -> Result<Identity, SetupError> {
    let (statements, roster) = own_roster(dir)?;
    let folders = folders(dir)?;
    let config = Config::read(dir)?;
    let (keystore, path, _) = node_keystore(dir, &config)?;
    let secret = |name: &str| secret(&keystore, &path, name);
    let transport = SecretKey::from_seed(&*secret(secret_names::TRANSPORT)?);
    let storage = secret(secret_names::STORAGE)?;
    let evaluator_share = evaluator_share(&keystore, &path)?;

    let pointer = |organization: &OrganizationId| {
        Ok(SecretKey::from_seed(&*secret(&secret_names::pointer(organization))?))
    };
    let keys = (&transport.public(), pointer);
    let (node, served) = fit((dir, &folders), &roster, keys)?;
    let dir = dir.to_owned();
    Ok(Identity {
        statements,
        roster,
        served,
        node,
        transport,
        storage,
        evaluator_share,
        config,
        dir,
    })
}

/// The roster that the node in `dir` begins with, and what follows from it.
///
/// # Errors
/// When there is none, or it does not hold.
pub(super) fn own_roster(dir: &Path) -> Result<(Statements, Roster), SetupError> {
    let path = dir.join(ROSTER_FILE);
    let bytes = match file(dir, path.clone(), ROSTER_FILE) {
        Err(SetupError::NoNode { .. }) if dir.join(JOINING_FILE).exists() => {
            return Err(SetupError::NoMember { dir: dir.to_owned() });
        }
        Err(SetupError::NoNode { .. }) if dir.join(PREPARED_FILE).exists() => {
            return Err(SetupError::NotListed { dir: dir.to_owned() });
        }
        read => read?,
    };
    let statements =
        Statements::read_own(&bytes).map_err(|source| SetupError::Roster { path, source })?;
    // By a clock that has fallen behind, a key could seem not to be listed yet.
    let roster = statements.roster(wall_clock().max(statements.latest()));
    Ok((statements, roster))
}

/// Checks that a node's folders, its keys and a roster belong together; whether the roster is the one
/// that it has, or the one that it is to have. Returns what it would be, and serve.
pub(super) fn fit(
    (dir, folders): (&Path, &[PathBuf]),
    roster: &Roster,
    (transport, pointer): (&PublicKey, impl Fn(&OrganizationId) -> Result<SecretKey, SetupError>),
) -> Result<(signpost_protocol::NodeId, Vec<ServedIdentity>), SetupError> {
    let mismatch = |what: &str| SetupError::Mismatch { dir: dir.to_owned(), what: what.to_owned() };
    let mut served: Vec<ServedIdentity> = Vec::with_capacity(folders.len());
    let mut node = None;
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().display();
        let unlisted = |what| mismatch(&format!("the roster does not list {what} (of {name})"));
        let (organization, api_token) = read_folder(dir, folder)?;
        let member = roster.member(&organization).ok_or_else(|| unlisted("this organization"))?;
        let listed = node_of_key(&member.nodes, transport)
            .ok_or_else(|| unlisted("the node's transport key"))?;
        if *node.get_or_insert(listed.node) != listed.node {
            return Err(mismatch("the roster lists the transport key at several nodes"));
        }
        let pointer = pointer(&organization)?;
        if roster.node_of_key(&pointer.key_id(), &organization) != Some(listed.node) {
            return Err(unlisted("the node's pointer key"));
        }
        if served.iter().any(|other| other.organization == organization) {
            return Err(mismatch("two of its folders are of the same organization"));
        }
        if served.iter().any(|other| other.api_token == api_token) {
            return Err(mismatch("two of its organizations have the same API token"));
        }
        let (ods, name) = (member.ods.clone(), member.name.clone());
        served.push(ServedIdentity { organization, ods, name, pointer, api_token });
    }
    let node = node.ok_or_else(|| mismatch("it serves no organization"))?;
    Ok((node, served))
}

/// The node's keystore, where it is, and what opens it.
pub(super) fn node_keystore(
    dir: &Path,
    config: &Config,
) -> Result<(Keystore, PathBuf, Passphrase), SetupError> {
    let path = dir.join(&config.keystore.passphrase_file);
    let passphrase =
        Passphrase::read_file(&path).map_err(|source| SetupError::Passphrase { path, source })?;
    let path = dir.join(KEYS_DIRECTORY).join(NODE_KEYSTORE);
    match Keystore::read(&path, &passphrase) {
        Ok(keystore) => Ok((keystore, path, passphrase)),
        Err(KeystoreError::File(source)) => Err(SetupError::KeystoreFile(source)),
        Err(source) => Err(SetupError::Keystore { path, source }),
    }
}

/// The organizations that the node in `dir` serves, as its folders are named, in order; without
/// opening or checking them.
///
/// # Errors
/// When there is no node.
pub fn organizations(dir: &Path) -> Result<Vec<OdsCode>, SetupError> {
    let code = |folder: &PathBuf| folder.file_name()?.to_str()?.parse().ok();
    Ok(folders(dir)?.iter().filter_map(code).collect())
}

/// The organizations' folders, by name: those whose name is an ODS code.
pub(super) fn folders(dir: &Path) -> Result<Vec<PathBuf>, SetupError> {
    let none = || SetupError::NoNode { dir: dir.to_owned(), missing: ORGANIZATIONS_DIRECTORY };
    let parent = dir.join(ORGANIZATIONS_DIRECTORY);
    let entries = match fs::read_dir(&parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(none()),
        Err(source) => return Err(SetupError::Io { path: parent, source }),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry.map_err(SetupError::io(&parent))?;
        let is_code =
            entry.file_name().to_str().is_some_and(|name| name.parse::<OdsCode>().is_ok());
        if is_code && entry.path().is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort_unstable();
    match folders.len() {
        0 => Err(none()),
        1..=SERVED_MAX => Ok(folders),
        _ => {
            let what = "it has folders of more organizations than a node can serve".to_owned();
            Err(SetupError::Mismatch { dir: dir.to_owned(), what })
        }
    }
}

/// Whose a folder is, and its token.
fn read_folder(dir: &Path, folder: &Path) -> Result<(OrganizationId, String), SetupError> {
    let path = folder.join(INCEPTION_FILE);
    let inception = file(dir, path.clone(), INCEPTION_FILE)?;
    let (organization, _) =
        verify_inception(&inception).map_err(|source| SetupError::Inception { path, source })?;
    let path = folder.join(API_TOKEN_FILE);
    let bytes = Zeroizing::new(file(dir, path.clone(), API_TOKEN_FILE)?);
    // It goes into a header, so it must be visible ASCII.
    let text = str::from_utf8(&bytes).ok().map(|text| text.trim().to_owned());
    let token = text.filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()));
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "not a token: visible ASCII only");
    let token = token.ok_or_else(|| SetupError::Io { path, source: wrong() })?;
    Ok((organization, token))
}

pub(super) fn file(
    dir: &Path,
    path: PathBuf,
    missing: &'static str,
) -> Result<Vec<u8>, SetupError> {
    match fs::read(&path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(SetupError::NoNode { dir: dir.to_owned(), missing })
        }
        Err(source) => Err(SetupError::Io { path, source }),
    }
}

/// The node at which one of an organization's lists this transport key, whether or not it counts now.
pub(super) fn node_of_key<'a>(
    nodes: &'a [MemberNode],
    transport: &PublicKey,
) -> Option<&'a MemberNode> {
    nodes.iter().find(|node| node.transport.iter().any(|listed| listed.key == *transport))
}

pub(super) fn secret(
    keystore: &Keystore,
    path: &Path,
    name: &str,
) -> Result<Zeroizing<[u8; 32]>, SetupError> {
    let bytes = keystore.get(name).and_then(|bytes| bytes.try_into().ok());
    let missing = || SetupError::Secret { path: path.to_owned(), name: name.to_owned() };
    bytes.map(Zeroizing::new).ok_or_else(missing)
}

/// A 2-byte big-endian index and a 32-byte scalar.
pub(super) fn evaluator_share(
    keystore: &Keystore,
    path: &Path,
) -> Result<Option<KeyShare>, SetupError> {
    let name = secret_names::EVALUATOR_SHARE;
    let Some(bytes) = keystore.get(name) else {
        return Ok(None);
    };
    let share = || {
        let (index, scalar) = bytes.split_first_chunk::<2>()?;
        let index = EvaluatorIndex::new(u16::from_be_bytes(*index))?;
        KeyShare::from_bytes(index, scalar.try_into().ok()?).ok()
    };
    let unusable = || SetupError::Secret { path: path.to_owned(), name: name.to_owned() };
    share().map(Some).ok_or_else(unusable)
}
