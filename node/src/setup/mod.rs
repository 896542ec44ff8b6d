//! A node's directory: making it ([`found`], [`apply`], [`prepare`]) and reading it ([`open`], [`candidate`],
//! [`prepared`]).
//!
//! | file | what | mode |
//! |---|---|---|
//! | `signpost.toml` | configuration | 0644 |
//! | `passphrase` | opens the node's keystore | 0600 |
//! | `roster.cbor` | the founding of its network, and what had been decided when it joined | 0644 |
//! | `joining.cbor` | in its place while the node waits to be admitted: its invitation, and what it hands in | 0644 |
//! | `prepared.cbor` | in its place at a further node of a member until that lists it: what the node asks for | 0644 |
//! | `keys/node.keystore` | `transport`, `storage`, a `pointer-ORGANIZATION` for each organization, and `evaluator-share` of an evaluator; `transport-next` and the like while a key is renewed | 0600 |
//! | `organizations/ODS/inception.cose` | an organization's signed birth certificate | 0644 |
//! | `organizations/ODS/api.token` | its bearer token of the local API | 0600 |
//! | `organizations/ODS/root.keystore`, `next-root.keystore` | `root`; `next-root` | 0600 |
//! | `organizations/ODS/root.passphrase` | opens these two | 0600 |
//! | `organizations/ODS/govern.keystore` | `govern`, which approves what the network decides | 0600 |
//! | `organizations/ODS/govern.passphrase` | opens that | 0600 |
//! | `applications/ODS/` | the same of an organization that has applied and is no member yet, with its `application.cbor` | |
//!
//! What is an organization's stands in its folder, whether the node serves one or hundreds; the
//! folder's name is for people, and the inception in it says whose it is.
//!
//! The directory and all folders are 0700. The daemon needs neither root keystores nor those of
//! govern keys: the former belong offline, the latter on an admin's machine, with their passphrases. A
//! further node of an organization never had them. `store/`, `digests/` and `disclosures/` appear when the node runs.
//!
//! Guarantees: a directory that holds a node is never written over, a founding that is cut short
//! leaves nothing that looks like a node, and an [`Identity`] fits together: its keys are those
//! that the roster lists for its organizations.

mod admin_keys;
mod config_file;
mod founding;
mod further;
mod joining;
mod key_change;
mod opening;
mod preparing;
mod staging;
#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use signpost_keys::{
    Roster, SecretKey, VerifyError,
    blinding::KeyShare,
    keystore::{FileError, KeystoreError, PassphraseError},
    roster::{FoundingError, Statements},
};
use signpost_protocol::{NodeId, OdsCode, OrganizationId};
use zeroize::Zeroizing;

use crate::config::{Config, ConfigError};

pub use admin_keys::{AdminKey, admin_key};
pub use founding::{Founded, Plan, PlannedNode, PlannedOrganization, found};
pub use founding::{KEY_LEAD, KEY_LIFE};
pub(crate) use further::ApplicationFile;
pub use further::{apply_further, take_on, waiting_folder, waits};
pub use joining::{Candidate, admit, apply, candidate, renew};
pub use key_change::{KeysLock, NodeKeys, OwnKey, keep_roster, new_root, organization_of};
pub use opening::{open, organizations};
pub use preparing::{NodeRequest, Prepared, RequestError, prepare, prepared, take_up};

/// Name of the file that holds the bearer token of an organization, in its folder.
pub const API_TOKEN_FILE: &str = "api.token";
/// Name of the directory of the organizations' folders.
pub const ORGANIZATIONS_DIRECTORY: &str = "organizations";
/// Organizations that one node serves at the most: a keystore holds two pointer keys of each, the
/// one in use and the one that follows it, and the node's own secrets.
pub const SERVED_MAX: usize = 2_000;
/// Name of the passphrase file that a founding writes.
const PASSPHRASE_FILE: &str = "passphrase";
/// Name of the file that holds the organization's signed inception, in its folder.
const INCEPTION_FILE: &str = "inception.cose";
/// Name of the file that holds the endorsed founding.
const ROSTER_FILE: &str = "roster.cbor";
/// Name of the file that a node keeps in place of that one until it is a member.
const JOINING_FILE: &str = "joining.cbor";
/// Name of the file that a further node of a member keeps in place of that one until it is listed.
const PREPARED_FILE: &str = "prepared.cbor";
/// Name of the directory of the node's keystore.
const KEYS_DIRECTORY: &str = "keys";
/// The keystore that the daemon opens, inside [`KEYS_DIRECTORY`].
const NODE_KEYSTORE: &str = "node.keystore";
/// The keystore of the govern key, in the organization's folder; for an admin's machine.
pub const GOVERN_KEYSTORE: &str = "govern.keystore";
/// What opens it.
pub const GOVERN_PASSPHRASE_FILE: &str = "govern.passphrase";
/// The keystore of the root key, in the organization's folder; for an offline place.
const ROOT_KEYSTORE: &str = "root.keystore";
/// The keystore of the committed next root key, for another offline place.
const NEXT_ROOT_KEYSTORE: &str = "next-root.keystore";
/// What opens the two: apart from the node's own, because they go to other hands.
const ROOT_PASSPHRASE_FILE: &str = "root.passphrase";

/// The folder of an organization in a node's directory.
#[must_use]
pub fn organization_dir(dir: &Path, ods: &OdsCode) -> PathBuf {
    dir.join(ORGANIZATIONS_DIRECTORY).join(ods.as_str())
}

/// Names of the secrets inside the keystores.
mod secret_names {
    use signpost_protocol::OrganizationId;

    pub(super) const TRANSPORT: &str = "transport";
    pub(super) const STORAGE: &str = "storage";
    pub(super) const EVALUATOR_SHARE: &str = "evaluator-share";
    pub(super) const GOVERN: &str = "govern";
    pub(super) const ROOT: &str = "root";
    pub(super) const NEXT_ROOT: &str = "next-root";

    /// The pointer key of an organization. By its id, which never changes.
    pub(super) fn pointer(organization: &OrganizationId) -> String {
        format!("pointer-{organization}")
    }

    /// The key that is to follow one of the node's, until the roster lists it.
    pub(super) fn next(name: &str) -> String {
        format!("{name}-next")
    }
}

/// Why a node's directory cannot be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// What was asked for makes no network.
    #[error("{0}")]
    Plan(String),
    /// There is a node already.
    #[error("{} already holds a node of {served}; choose another --dir", dir.display())]
    Occupied {
        /// The directory.
        dir: PathBuf,
        /// Whose node: an ODS code, and how many more there are.
        served: String,
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
    /// The node waits to be admitted.
    #[error("the node in {} has applied to join a network, and is no member yet", dir.display())]
    NoMember {
        /// The directory.
        dir: PathBuf,
    },
    /// The node is prepared, and its organization does not list it.
    #[error(
        "the node in {} is prepared, and no roster that it was given lists it yet", dir.display()
    )]
    NotListed {
        /// The directory.
        dir: PathBuf,
    },
    /// What a prepared node asks for does not hold.
    #[error("{}: the request cannot be used: {source}", path.display())]
    Request {
        /// The file.
        path: PathBuf,
        /// Why.
        source: RequestError,
    },
    /// An application does not hold, or cannot be made.
    #[error("{}: the application cannot be used: {reason}", path.display())]
    Application {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
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
        name: String,
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
        what: String,
    },
}

impl SetupError {
    /// What the admin can do about it, when the error itself does not say.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotListed { dir } => {
                return Some(format!(
                    "at a node that the organization has: `signpost keys add-node FILE` with {}, then \
                     `signpost roster export ROSTER`; here: `signpost node take-up ROSTER` with the same \
                     --dir",
                    dir.join(PREPARED_FILE).display()
                ));
            }
            Self::NoNode { .. } => {
                "name the node's directory with --dir, or make a node with `signpost init`"
            }
            Self::NoMember { .. } => {
                "`signpost join` with the same --dir goes on where it was, and ends when it is admitted"
            }
            Self::Application { .. } => {
                "restore the directory from a back-up, or join anew in another one with a new \
                 invitation"
            }
            Self::Request { .. } => {
                "prepare the node anew in another directory: `signpost node prepare`"
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
    /// The founding of its network, with the statements that the directory holds; the store may
    /// hold more.
    pub statements: Statements,
    /// The membership that follows from them.
    pub roster: Roster,
    /// The organizations that it serves, 1 to [`SERVED_MAX`], in the order of their folders' names.
    pub served: Vec<ServedIdentity>,
    /// The node.
    pub node: NodeId,
    /// The libp2p identity; signs asks and evaluations.
    pub transport: SecretKey,
    /// Encrypts the subjects of its own pointers at rest.
    pub storage: Zeroizing<[u8; 32]>,
    /// The share of the blinding key that was dealt with the founding to one of them, if any. Those of
    /// ceremonies are in the store.
    pub evaluator_share: Option<KeyShare>,
    /// The configuration.
    pub config: Config,
    /// The directory.
    pub dir: PathBuf,
}

/// An organization that a node serves.
pub struct ServedIdentity {
    /// The organization.
    pub organization: OrganizationId,
    /// Its ODS code today.
    pub ods: OdsCode,
    /// Its name today.
    pub name: String,
    /// Signs its pointers, digest heads and answers.
    pub pointer: SecretKey,
    /// Its bearer token of the local API.
    pub api_token: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("served", &self.served)
            .field("node", &self.node)
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ServedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServedIdentity").field("ods", &self.ods).finish_non_exhaustive()
    }
}
