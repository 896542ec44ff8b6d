//! Changing keys in place: each keystore is replaced whole or not at all, as dear to guess as it was.
//!
//! The key that is to follow one of the node's is in the keystore before anybody is told of it, under
//! a name of its own, so that no kill leaves the roster with a key that nobody has.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use rand_core::CryptoRng;
use signpost_keys::{
    SecretKey,
    keystore::{Cost, Keystore, KeystoreError, Passphrase},
};
use signpost_protocol::{ContentHash, OrganizationId, PublicKey};
use zeroize::Zeroizing;

use super::{
    INCEPTION_FILE, KEYS_DIRECTORY, NEXT_ROOT_KEYSTORE, ROOT_KEYSTORE, ROOT_PASSPHRASE_FILE,
    ROSTER_FILE, SetupError,
    opening::{node_keystore, secret},
    secret_names,
    staging::{private_directory, write_keystore, write_passphrase},
};
use crate::{atomic_file::AtomicFile, config::Config};

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

/// The keys of a node while they are changed, one command at a time: another waits until this is
/// dropped. A running node goes on with what it found when it was started.
pub struct NodeKeys {
    keystore: Keystore,
    path: PathBuf,
    passphrase: Passphrase,
    cost: Cost,
    _lock: File,
}

impl NodeKeys {
    /// Opens the keystore of the node in `dir`. Takes as long as its cost says, on purpose.
    ///
    /// # Errors
    /// Names the file at fault.
    pub fn open(dir: &Path) -> Result<Self, SetupError> {
        let lock = lock_keys(dir)?;
        let (keystore, path, passphrase) = node_keystore(dir, &Config::read(dir)?)?;
        let cost = Keystore::cost_of(&path).map_err(at(&path))?;
        Ok(Self { keystore, path, passphrase, cost, _lock: lock })
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
        let key = SecretKey::from_seed(&*secret(&self.keystore, &self.path, &next)?);
        self.put(&name, &key)?;
        self.keystore.remove(&next);
        self.write(rng)
    }

    fn public(&self, name: &str) -> Result<PublicKey, SetupError> {
        Ok(SecretKey::from_seed(&*secret(&self.keystore, &self.path, name)?).public())
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

/// Has the node's keystore for oneself until what is returned is dropped: it is read, changed and
/// written whole, so that of two commands at once one would undo what the other did.
///
/// # Errors
/// When there is no keystore, or the file system has no locks.
pub(super) fn lock_keys(dir: &Path) -> Result<File, SetupError> {
    let path = dir.join(KEYS_DIRECTORY);
    let locked = || {
        let directory = File::open(&path)?;
        directory.lock()?;
        Ok(directory)
    };
    locked().map_err(SetupError::io(&path))
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
    let path = dir.join(ROSTER_FILE);
    let written = || {
        let mut to = AtomicFile::create(&path)?;
        to.write_all(file)?;
        to.commit()
    };
    written().map_err(SetupError::io(&path))
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
