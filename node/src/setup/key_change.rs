//! Changing keys in place: each keystore is replaced whole or not at all, as dear to guess as it was.

use std::{io::Write as _, path::Path};

use rand_core::CryptoRng;
use signpost_keys::{
    SecretKey,
    keystore::{Cost, Keystore, KeystoreError, Passphrase},
};
use signpost_protocol::{ContentHash, OrganizationId, PublicKey};
use zeroize::Zeroizing;

use super::{
    INCEPTION_FILE, KEYS_DIRECTORY, NEXT_ROOT_KEYSTORE, NODE_KEYSTORE, ROOT_KEYSTORE,
    ROOT_PASSPHRASE_FILE, ROSTER_FILE, SetupError, secret_names,
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

/// Puts a key in the place of the one before it, in the node's keystore. A running node goes on with
/// the old one until it is started again.
///
/// # Errors
/// Names the file at fault; then the old key is still there.
pub fn replace_key(
    dir: &Path,
    which: OwnKey,
    organization: &OrganizationId,
    key: &SecretKey,
    rng: &mut impl CryptoRng,
) -> Result<(), SetupError> {
    let path = dir.join(KEYS_DIRECTORY).join(NODE_KEYSTORE);
    let passphrase = dir.join(&Config::read(dir)?.keystore.passphrase_file);
    let passphrase = Passphrase::read_file(&passphrase)
        .map_err(|source| SetupError::Passphrase { path: passphrase.clone(), source })?;
    let at = |source| match source {
        KeystoreError::File(source) => SetupError::KeystoreFile(source),
        source => SetupError::Keystore { path: path.clone(), source },
    };
    let cost = Keystore::cost_of(&path).map_err(at)?;
    let mut keystore = Keystore::read(&path, &passphrase).map_err(at)?;
    let name = match which {
        OwnKey::Transport => secret_names::TRANSPORT.to_owned(),
        OwnKey::Pointer => secret_names::pointer(organization),
    };
    keystore.remove(&name);
    let seed = key.expose_seed();
    keystore.insert(&name, &*seed).expect("the name was in use, and a seed has 32 bytes");
    keystore.write(&path, &passphrase, cost, rng).map_err(at)
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
