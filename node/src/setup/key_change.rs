//! Changing keys in place: each keystore is replaced whole or not at all, as dear to guess as it was.
//!
//! The key that is to follow one of the node's is in the keystore before anybody is told of it, under
//! a name of its own, so that no kill leaves the roster with a key that nobody has.

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
};

use rand_core::CryptoRng;
use signpost_keys::{
    Roster, SecretKey,
    keystore::{Cost, Keystore, KeystoreError, Passphrase},
};
use signpost_protocol::{ContentHash, NodeId, OrganizationId, PublicKey};
use zeroize::Zeroizing;

use super::{
    INCEPTION_FILE, KEYS_DIRECTORY, NEXT_ROOT_KEYSTORE, ROOT_KEYSTORE, ROOT_PASSPHRASE_FILE,
    ROSTER_FILE, SetupError,
    opening::{fit, folders, node_keystore, node_of_key, own_roster, secret},
    secret_names,
    staging::{private_directory, write_keystore, write_passphrase, write_whole},
};
use crate::config::Config;

/// A key that is changed without the stewards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OwnKey {
    /// The node's libp2p identity.
    Transport,
    /// What signs pointers, heads and answers.
    Pointer,
}

impl OwnKey {
    /// Its name in the node's keystore.
    fn name(self, organization: &OrganizationId) -> String {
        match self {
            Self::Transport => secret_names::TRANSPORT.to_owned(),
            Self::Pointer => secret_names::pointer(organization),
        }
    }
}

/// The right to change a node's keys, roster file and organizations, which one command at a time has:
/// another waits until this and its clones are dropped.
///
/// Whatever is read, judged and written anew is so under one lock, from the first look on: of two
/// commands at once one would undo, or contradict, what the other did.
#[derive(Clone, Debug)]
pub struct KeysLock {
    dir: PathBuf,
    _directory: Arc<File>,
}

impl KeysLock {
    /// Takes the lock of the node in `dir`. While another command has it, this waits, after it has
    /// called `waits` once.
    ///
    /// # Errors
    /// When there is no keystore, or the file system has no locks.
    pub fn take(dir: &Path, waits: impl FnOnce()) -> Result<Self, SetupError> {
        let path = dir.join(KEYS_DIRECTORY);
        let locked = || {
            let directory = File::open(&path)?;
            match directory.try_lock() {
                Ok(()) => {}
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) => {
                    waits();
                    directory.lock()?;
                }
            }
            Ok(directory)
        };
        let directory = Arc::new(locked().map_err(SetupError::io(&path))?);
        Ok(Self { dir: dir.to_owned(), _directory: directory })
    }

    /// The node's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// The keys of a node while they are changed. A running node goes on with what it found when it was
/// started.
pub struct NodeKeys {
    keystore: Keystore,
    path: PathBuf,
    passphrase: Passphrase,
    cost: Cost,
    lock: KeysLock,
}

impl NodeKeys {
    /// Opens the keystore of the node whose lock this is. Takes as long as its cost says, on purpose.
    ///
    /// # Errors
    /// Names the file at fault.
    pub fn open(lock: KeysLock) -> Result<Self, SetupError> {
        let (keystore, path, passphrase) = node_keystore(lock.dir(), &Config::read(lock.dir())?)?;
        let cost = Keystore::cost_of(&path).map_err(at(&path))?;
        Ok(Self { keystore, path, passphrase, cost, lock })
    }

    /// The node's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.lock.dir()
    }

    /// The node, as the roster that it begins with lists the transport key in use.
    ///
    /// # Errors
    /// When that roster cannot be read, or does not list the key.
    pub fn node(&self) -> Result<NodeId, SetupError> {
        let (_, roster) = own_roster(self.dir())?;
        let transport = self.public(secret_names::TRANSPORT)?;
        let mut members = roster.members();
        let listed = members.find_map(|member| node_of_key(&member.nodes, &transport));
        listed.map(|node| node.node).ok_or_else(|| SetupError::Mismatch {
            dir: self.dir().to_owned(),
            what: "the roster does not list the node's transport key".to_owned(),
        })
    }

    /// Checks that the node would start with this roster: with the keys in use, and with the one that
    /// is to follow in its place if `renewed` names one. Its folders are read anew.
    ///
    /// # Errors
    /// As [`super::open`], when it would not.
    pub fn check_starts(
        &self,
        roster: &Roster,
        renewed: Option<(OwnKey, &OrganizationId)>,
    ) -> Result<(), SetupError> {
        let folders = folders(self.dir())?;
        self.check_starts_with(&folders, roster, None)?;
        renewed.map_or(Ok(()), |_| self.check_starts_with(&folders, roster, renewed))
    }

    pub(super) fn check_starts_with(
        &self,
        folders: &[PathBuf],
        roster: &Roster,
        renewed: Option<(OwnKey, &OrganizationId)>,
    ) -> Result<(), SetupError> {
        let renewed = renewed.map(|(which, organization)| which.name(organization));
        let key = |name: String| match renewed.as_ref() == Some(&name) {
            true => self.secret(&secret_names::next(&name)),
            false => self.secret(&name),
        };
        let transport = key(secret_names::TRANSPORT.to_owned())?.public();
        let pointer = |organization: &OrganizationId| key(secret_names::pointer(organization));
        fit((self.dir(), folders), roster, (&transport, pointer)).map(|_| ())
    }

    /// The public half of the key that the node uses from its next start on.
    ///
    /// # Errors
    /// When there is none.
    pub fn in_use(
        &self,
        which: OwnKey,
        organization: &OrganizationId,
    ) -> Result<PublicKey, SetupError> {
        self.public(&which.name(organization))
    }

    /// The public half of the key that is to follow, if one was drawn.
    ///
    /// # Errors
    /// When what is there is no key.
    pub fn staged(
        &self,
        which: OwnKey,
        organization: &OrganizationId,
    ) -> Result<Option<PublicKey>, SetupError> {
        let name = secret_names::next(&which.name(organization));
        self.keystore.get(&name).map(|_| self.public(&name)).transpose()
    }

    /// Draws the key that is to follow, in place of one that was drawn before; it is on disk when this
    /// returns its public half.
    ///
    /// # Errors
    /// When the keystore cannot be written.
    pub fn stage(
        &mut self,
        which: OwnKey,
        organization: &OrganizationId,
        rng: &mut impl CryptoRng,
    ) -> Result<PublicKey, SetupError> {
        let key = SecretKey::generate(rng);
        self.put(&secret_names::next(&which.name(organization)), &key)?;
        self.write(rng)?;
        Ok(key.public())
    }

    /// Puts the key that is to follow in the place of the one in use.
    ///
    /// # Errors
    /// When there is none, or the keystore cannot be written; then the old key is still there.
    pub fn take_into_use(
        &mut self,
        which: OwnKey,
        organization: &OrganizationId,
        rng: &mut impl CryptoRng,
    ) -> Result<(), SetupError> {
        let name = which.name(organization);
        let next = secret_names::next(&name);
        let key = self.secret(&next)?;
        self.put(&name, &key)?;
        self.keystore.remove(&next);
        self.write(rng)
    }

    fn public(&self, name: &str) -> Result<PublicKey, SetupError> {
        Ok(self.secret(name)?.public())
    }

    fn secret(&self, name: &str) -> Result<SecretKey, SetupError> {
        Ok(SecretKey::from_seed(&*secret(&self.keystore, &self.path, name)?))
    }

    fn put(&mut self, name: &str, key: &SecretKey) -> Result<(), SetupError> {
        self.keystore.remove(name);
        let seed = key.expose_seed();
        let inserted = self.keystore.insert(name, &*seed);
        inserted.map_err(|error| SetupError::Plan(error.to_string()))
    }

    fn write(&self, rng: &mut impl CryptoRng) -> Result<(), SetupError> {
        self.keystore.write(&self.path, &self.passphrase, self.cost, rng).map_err(at(&self.path))
    }
}

fn at(path: &Path) -> impl FnOnce(KeystoreError) -> SetupError {
    let path = path.to_owned();
    |source| match source {
        KeystoreError::File(source) => SetupError::KeystoreFile(source),
        source => SetupError::Keystore { path, source },
    }
}

/// Draws a root key and its successor for an organization that has lost its own, and writes them to
/// a new directory. Returns what the stewards have to be told: the public key, and the hash of the
/// next one.
///
/// # Errors
/// When the directory is there already, or cannot be written.
pub fn new_root(
    out: &Path,
    cost: Cost,
    rng: &mut impl CryptoRng,
) -> Result<(PublicKey, ContentHash), SetupError> {
    if out.exists() {
        return Err(SetupError::NotEmpty { dir: out.to_owned() });
    }
    private_directory(out)?;
    let passphrase = Passphrase::generate(rng);
    let (root, next) = (SecretKey::generate(rng), SecretKey::generate(rng));
    for (file, name, key) in [
        (ROOT_KEYSTORE, secret_names::ROOT, &root),
        (NEXT_ROOT_KEYSTORE, secret_names::NEXT_ROOT, &next),
    ] {
        let secrets = [(name.to_owned(), Zeroizing::new(key.expose_seed().to_vec()))];
        write_keystore(&out.join(file), &secrets, &passphrase, cost, rng)?;
    }
    write_passphrase(&out.join(ROOT_PASSPHRASE_FILE), &passphrase, rng)?;
    Ok((root.public(), ContentHash::of(next.public().as_bytes())))
}

/// Replaces the roster that a node begins with: whole or not at all.
///
/// # Errors
/// When it cannot be written.
pub fn keep_roster(dir: &Path, file: &[u8]) -> Result<(), SetupError> {
    write_whole(&dir.join(ROSTER_FILE), file)
}

/// The organization that a folder is of.
///
/// # Errors
/// When its inception cannot be read or does not hold.
pub fn organization_of(folder: &Path) -> Result<OrganizationId, SetupError> {
    let path = folder.join(INCEPTION_FILE);
    let bytes = std::fs::read(&path).map_err(SetupError::io(&path))?;
    let (organization, _) = signpost_keys::roster::verify_inception(&bytes)
        .map_err(|source| SetupError::Inception { path, source })?;
    Ok(organization)
}
