//! A node's directory: making it ([`found`]) and reading it ([`open`]).
//!
//! | file | what | mode |
//! |---|---|---|
//! | `signpost.toml` | configuration | 0644 |
//! | `passphrase` | opens the keystores | 0600 |
//! | `api.token` | bearer token of the local API | 0600 |
//! | `inception.cose` | the organization's signed birth certificate | 0644 |
//! | `roster.cbor` | the endorsed founding of its network | 0644 |
//! | `keys/node.keystore` | `pointer`, `transport`, `storage`, and `evaluator-share` of an evaluator | 0600 |
//! | `keys/root.keystore`, `keys/next-root.keystore` | `root`; `next-root` | 0600 |
//!
//! The directory itself is 0700. The daemon needs neither root keystore: they belong elsewhere,
//! offline. `store/`, `digests/` and `disclosures/` appear when the node runs.
//!
//! Guarantees: a directory that holds a node is never written over, a founding that is cut short
//! leaves nothing that looks like a node, and an [`Identity`] fits together: its keys are those
//! that the roster lists for its organization.

mod config_file;
mod founding;
#[cfg(test)]
mod tests;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use signpost_keys::{
    Roster, SecretKey, VerifyError,
    blinding::{EvaluatorIndex, KeyShare},
    keystore::{FileError, Keystore, KeystoreError, Passphrase, PassphraseError},
    roster::{FoundingError, verify_inception},
};
use signpost_protocol::{NodeId, OdsCode, OrganizationId};
use zeroize::Zeroizing;

use crate::config::{Config, ConfigError};

pub use founding::{Founded, Plan, PlannedOrganization, found};

/// Name of the file that holds the API's bearer token.
pub const API_TOKEN_FILE: &str = "api.token";
/// Name of the passphrase file that a founding writes.
const PASSPHRASE_FILE: &str = "passphrase";
/// Name of the file that holds the organization's signed inception.
const INCEPTION_FILE: &str = "inception.cose";
/// Name of the file that holds the endorsed founding.
const ROSTER_FILE: &str = "roster.cbor";
/// Name of the directory of the keystores.
const KEYS_DIRECTORY: &str = "keys";
/// The keystore that the daemon opens, inside [`KEYS_DIRECTORY`].
const NODE_KEYSTORE: &str = "node.keystore";
/// The keystore of the root key, for an offline place.
const ROOT_KEYSTORE: &str = "root.keystore";
/// The keystore of the committed next root key, for another offline place.
const NEXT_ROOT_KEYSTORE: &str = "next-root.keystore";

/// Names of the secrets inside the keystores.
mod secret_names {
    pub(super) const POINTER: &str = "pointer";
    pub(super) const TRANSPORT: &str = "transport";
    pub(super) const STORAGE: &str = "storage";
    pub(super) const EVALUATOR_SHARE: &str = "evaluator-share";
    pub(super) const ROOT: &str = "root";
    pub(super) const NEXT_ROOT: &str = "next-root";
}

/// Why a node's directory cannot be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// What was asked for makes no network.
    #[error("{0}")]
    Plan(String),
    /// There is a node already.
    #[error("{} already holds a node of {ods}; choose another --dir", dir.display())]
    Occupied {
        /// The directory.
        dir: PathBuf,
        /// Whose node.
        ods: OdsCode,
    },
    /// There is something else.
    #[error("{} is not empty; choose another --dir", dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// There is no node to open.
    #[error("{} holds no node: {missing} is missing", dir.display())]
    NoNode {
        /// The directory.
        dir: PathBuf,
        /// The file that is missing.
        missing: &'static str,
    },
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was read or written.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configuration is not usable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The passphrase is not usable.
    #[error("{}: the passphrase cannot be used: {source}", path.display())]
    Passphrase {
        /// The file that should hold it.
        path: PathBuf,
        /// Why.
        source: PassphraseError,
    },
    /// A keystore's file cannot be had; the cause names it.
    #[error(transparent)]
    KeystoreFile(FileError),
    /// A keystore does not open, or cannot be written.
    #[error("{}: {source}", path.display())]
    Keystore {
        /// The keystore.
        path: PathBuf,
        /// Why.
        source: KeystoreError,
    },
    /// A keystore lacks a secret, or holds one of a wrong form.
    #[error("{} holds no usable secret named {name}", path.display())]
    Secret {
        /// The keystore.
        path: PathBuf,
        /// The secret.
        name: &'static str,
    },
    /// The inception does not hold.
    #[error("{}: {source}", path.display())]
    Inception {
        /// The file.
        path: PathBuf,
        /// Why.
        source: VerifyError,
    },
    /// The roster does not hold.
    #[error("{}: {source}", path.display())]
    Roster {
        /// The file.
        path: PathBuf,
        /// Why.
        source: FoundingError,
    },
    /// The parts of the directory do not belong together.
    #[error("the files in {} do not belong together: {what}", dir.display())]
    Mismatch {
        /// The directory.
        dir: PathBuf,
        /// What does not fit.
        what: &'static str,
    },
}

impl SetupError {
    /// What the admin can do about it, when the error itself does not say.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoNode { .. } => {
                "name the node's directory with --dir, or make a node with `signpost init`"
            }
            Self::Passphrase { .. } => {
                "keystore.passphrase_file in signpost.toml names the file with the passphrase"
            }
            Self::Keystore { source: KeystoreError::WrongPassphraseOrDamaged, .. } => {
                "keystore.passphrase_file in signpost.toml names the file with the passphrase; if \
                 that one is right, restore the keystore from a back-up"
            }
            Self::Keystore { source: KeystoreError::OutOfMemory { .. }, .. } => return None,
            Self::Keystore { .. } | Self::Secret { .. } => "restore the keystore from a back-up",
            Self::Config(_) => "mend the file, or restore it from a back-up",
            Self::Inception { .. } | Self::Roster { .. } | Self::Mismatch { .. } => {
                "restore the node's directory from a back-up, as a whole"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }

    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// All that a node knows of itself when it starts. Its parts have been checked against each other.
pub struct Identity {
    /// The membership of its network.
    pub roster: Roster,
    /// The bytes of the roster, as they may be handed on.
    pub roster_bytes: Vec<u8>,
    /// The organization that it serves.
    pub organization: OrganizationId,
    /// The organization's ODS code today.
    pub ods: OdsCode,
    /// The organization's name today.
    pub name: String,
    /// The node.
    pub node: NodeId,
    /// Signs pointers, digest heads and answers.
    pub pointer: SecretKey,
    /// The libp2p identity; signs asks and evaluations.
    pub transport: SecretKey,
    /// Encrypts the subjects of its own pointers at rest.
    pub storage: Zeroizing<[u8; 32]>,
    /// The share of the blinding key, when the organization is an evaluator.
    pub evaluator_share: Option<KeyShare>,
    /// The bearer token of the local API.
    pub api_token: String,
    /// The configuration.
    pub config: Config,
    /// The directory.
    pub dir: PathBuf,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("ods", &self.ods)
            .field("node", &self.node)
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

/// Reads and checks the node in `dir`. Takes as long as its keystore's cost says, on purpose.
///
/// # Errors
/// Names the file at fault; see [`SetupError::hint`].
pub fn open(dir: &Path) -> Result<Identity, SetupError> {
    let file = |name: &'static str| {
        let path = dir.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(SetupError::NoNode { dir: dir.to_owned(), missing: name })
            }
            Err(source) => Err(SetupError::Io { path, source }),
        }
    };
    let roster_bytes = file(ROSTER_FILE)?;
    let inception = file(INCEPTION_FILE)?;
    let api_token = token(dir, file(API_TOKEN_FILE)?)?;
    let config = Config::read(dir)?;
    let roster = Roster::open(&roster_bytes, None)
        .map_err(|source| SetupError::Roster { path: dir.join(ROSTER_FILE), source })?;
    let (organization, _) = verify_inception(&inception)
        .map_err(|source| SetupError::Inception { path: dir.join(INCEPTION_FILE), source })?;

    let path = dir.join(&config.keystore.passphrase_file);
    let passphrase =
        Passphrase::read_file(&path).map_err(|source| SetupError::Passphrase { path, source })?;
    let path = dir.join(KEYS_DIRECTORY).join(NODE_KEYSTORE);
    let keystore = match Keystore::read(&path, &passphrase) {
        Ok(keystore) => keystore,
        Err(KeystoreError::File(source)) => return Err(SetupError::KeystoreFile(source)),
        Err(source) => return Err(SetupError::Keystore { path, source }),
    };
    let secret = |name| secret(&keystore, &path, name);
    let pointer = SecretKey::from_seed(&*secret(secret_names::POINTER)?);
    let transport = SecretKey::from_seed(&*secret(secret_names::TRANSPORT)?);
    let storage = secret(secret_names::STORAGE)?;
    let evaluator_share = evaluator_share(&keystore, &path)?;

    let mismatch = |what| SetupError::Mismatch { dir: dir.to_owned(), what };
    let member = roster
        .member(&organization)
        .ok_or_else(|| mismatch("the roster does not list this organization"))?;
    let node = member
        .nodes
        .iter()
        .find(|node| node.transport.iter().any(|(key, _, _)| *key == transport.public()))
        .map(|node| node.node)
        .ok_or_else(|| mismatch("the roster does not list the node's transport key"))?;
    if roster.node_of_key(&pointer.key_id()) != Some(node) {
        return Err(mismatch("the roster does not list the node's pointer key"));
    }
    if let Some(share) = &evaluator_share {
        let listed = roster.evaluators().evaluators.iter().any(|evaluator| {
            evaluator.organization == organization
                && evaluator.index == share.index().get()
                && *evaluator.public_share == share.public().to_bytes()
        });
        if !listed {
            return Err(mismatch("the evaluator's share is not the one that the roster lists"));
        }
    }
    let (ods, name) = (member.ods.clone(), member.name.clone());
    Ok(Identity {
        roster,
        roster_bytes,
        organization,
        ods,
        name,
        node,
        pointer,
        transport,
        storage,
        evaluator_share,
        api_token,
        config,
        dir: dir.to_owned(),
    })
}

/// The token's text. It goes into a header, so it must be visible ASCII.
fn token(dir: &Path, bytes: Vec<u8>) -> Result<String, SetupError> {
    let text = String::from_utf8(bytes).ok().map(|text| text.trim().to_owned());
    text.filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())).ok_or_else(
        || SetupError::Io {
            path: dir.join(API_TOKEN_FILE),
            source: io::Error::new(io::ErrorKind::InvalidData, "not a token: visible ASCII only"),
        },
    )
}

fn secret(
    keystore: &Keystore,
    path: &Path,
    name: &'static str,
) -> Result<Zeroizing<[u8; 32]>, SetupError> {
    let bytes = keystore.get(name).and_then(|bytes| bytes.try_into().ok());
    bytes.map(Zeroizing::new).ok_or_else(|| SetupError::Secret { path: path.to_owned(), name })
}

/// A 2-byte big-endian index and a 32-byte scalar.
fn evaluator_share(keystore: &Keystore, path: &Path) -> Result<Option<KeyShare>, SetupError> {
    let name = secret_names::EVALUATOR_SHARE;
    let Some(bytes) = keystore.get(name) else {
        return Ok(None);
    };
    let share = || {
        let (index, scalar) = bytes.split_first_chunk::<2>()?;
        let index = EvaluatorIndex::new(u16::from_be_bytes(*index))?;
        KeyShare::from_bytes(index, scalar.try_into().ok()?).ok()
    };
    share().map(Some).ok_or_else(|| SetupError::Secret { path: path.to_owned(), name })
}
