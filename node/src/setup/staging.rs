//! Writing a node's directory: all of it where it does not count yet, then each part to its place.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rand_core::CryptoRng;
use signpost_keys::{
    SecretKey,
    blinding::KeyShare,
    keystore::{Cost, Keystore, Passphrase},
};
use signpost_protocol::{OdsCode, OrganizationId};
use zeroize::Zeroizing;

use super::{
    API_TOKEN_FILE, GOVERN_KEYSTORE, GOVERN_PASSPHRASE_FILE, INCEPTION_FILE, JOINING_FILE,
    KEYS_DIRECTORY, NEXT_ROOT_KEYSTORE, NODE_KEYSTORE, ORGANIZATIONS_DIRECTORY, PASSPHRASE_FILE,
    PREPARED_FILE, PlannedNode, ROOT_KEYSTORE, ROOT_PASSPHRASE_FILE, ROSTER_FILE, SetupError,
    config_file,
    founding::{Founder, FoundingNode, listen_address, peer_port},
    opening::organizations,
    organization_dir, secret_names,
};
use crate::config::{self, Config};

/// Random bytes of an API token.
const TOKEN_BYTES: usize = 32;
/// Where a directory's files are written before they take their places.
pub(super) const STAGING: &str = "founding.tmp";
/// The parts of a directory in the order in which they take their places. The last is the one of the
/// three that makes it a node, one that is to join, or one that is prepared: without it there is none.
pub(super) const PLACES: [&str; 7] = [
    KEYS_DIRECTORY,
    PASSPHRASE_FILE,
    config::FILE,
    ORGANIZATIONS_DIRECTORY,
    ROSTER_FILE,
    PREPARED_FILE,
    JOINING_FILE,
];

pub(super) type Secrets = Vec<(String, Zeroizing<Vec<u8>>)>;

/// Refuses a directory that holds anything, but for what a founding cut short has left to stage.
pub(super) fn refuse_occupied(dir: &Path) -> Result<(), SetupError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(SetupError::Io { path: dir.to_owned(), source }),
    };
    for entry in entries {
        if entry.map_err(SetupError::io(dir))?.file_name() != STAGING {
            let served = organizations(dir).unwrap_or_default();
            let dir = dir.to_owned();
            return Err(match &*served {
                [] => SetupError::NotEmpty { dir },
                [one] => SetupError::Occupied { dir, served: one.to_string() },
                [first, more @ ..] => {
                    SetupError::Occupied { dir, served: format!("{first} and {} more", more.len()) }
                }
            });
        }
    }
    Ok(())
}

impl FoundingNode<'_> {
    /// Writes all files of the directory where they do not count yet; the `last` one when all others
    /// are on disk.
    pub(super) fn stage(
        &self,
        cost: Cost,
        (last, content): (&str, &[u8]),
        share: Option<KeyShare>,
        rng: &mut impl CryptoRng,
    ) -> Result<(), SetupError> {
        let secrets = self.secrets(share, rng);
        stage_node(self.plan, &secrets, cost, (last, content), rng, |staging, rng| {
            self.founders.iter().try_for_each(|founder| founder.stage(staging, cost, rng))
        })
    }

    /// What the daemon needs.
    fn secrets(&self, share: Option<KeyShare>, rng: &mut impl CryptoRng) -> Secrets {
        let pointers = self.founders.iter().map(|one| (&one.organization, &one.pointer));
        let mut secrets = secrets(&self.founders[0].transport, pointers, rng);
        if let Some(share) = share {
            let mut bytes = Zeroizing::new(Vec::with_capacity(2 + 32));
            bytes.extend_from_slice(&share.index().get().to_be_bytes());
            bytes.extend_from_slice(&*share.to_bytes());
            secrets.push((secret_names::EVALUATOR_SHARE.to_owned(), bytes));
        }
        secrets
    }
}

/// What every daemon needs: its transport key, a pointer key for each organization, and a storage key
/// that is drawn here.
pub(super) fn secrets<'a>(
    transport: &SecretKey,
    pointers: impl Iterator<Item = (&'a OrganizationId, &'a SecretKey)>,
    rng: &mut impl CryptoRng,
) -> Secrets {
    let mut storage = Zeroizing::new(vec![0; 32]);
    rng.fill_bytes(&mut storage);
    let seed = |key: &SecretKey| Zeroizing::new(key.expose_seed().to_vec());
    let mut secrets = vec![
        (secret_names::TRANSPORT.to_owned(), seed(transport)),
        (secret_names::STORAGE.to_owned(), storage),
    ];
    secrets.extend(pointers.map(|(organization, key)| {
        let name = secret_names::pointer(organization);
        (name, seed(key))
    }));
    secrets
}

/// Writes all files of a node's directory where they do not count yet: what every node has, then the
/// organizations' `folders`, and the `last` file when all others are on disk.
pub(super) fn stage_node<R: CryptoRng>(
    plan: &PlannedNode,
    secrets: &Secrets,
    cost: Cost,
    (last, content): (&str, &[u8]),
    rng: &mut R,
    folders: impl FnOnce(&Path, &mut R) -> Result<(), SetupError>,
) -> Result<(), SetupError> {
    private_directory(&plan.dir)?;
    let staging = plan.dir.join(STAGING);
    match fs::remove_dir_all(&staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(SetupError::Io { path: staging, source: error });
        }
        _ => {}
    }
    let keys = staging.join(KEYS_DIRECTORY);
    private_directory(&keys)?;
    let passphrase = Passphrase::generate(rng);
    write_keystore(&keys.join(NODE_KEYSTORE), secrets, &passphrase, cost, rng)?;
    write_passphrase(&staging.join(PASSPHRASE_FILE), &passphrase, rng)?;
    let config = config_file::commented(&config_of(plan)?);
    write(&staging.join(config::FILE), config.as_bytes(), 0o644)?;
    folders(&staging, rng)?;
    sync(&staging.join(ORGANIZATIONS_DIRECTORY))?;
    sync(&keys)?;
    sync(&staging)?;
    write_whole(&staging.join(last), content)
}

fn config_of(plan: &PlannedNode) -> Result<Config, SetupError> {
    let mut config = Config::default();
    let port = peer_port(&plan.peer_address)?;
    config.api.listen = plan.api_listen;
    config.peer.listen = vec![listen_address(&plan.peer_address, port)];
    config.keystore.passphrase_file = PathBuf::from(PASSPHRASE_FILE);
    Ok(config)
}

/// Moves what is staged to its places; goes on where it was stopped.
pub(super) fn publish(dir: &Path) -> Result<(), SetupError> {
    let staging = dir.join(STAGING);
    for name in PLACES {
        let place = dir.join(name);
        match fs::rename(staging.join(name), &place) {
            // Moved before it was stopped, or one of the last three that this node has not.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            moved => moved.map_err(SetupError::io(&place))?,
        }
    }
    fs::remove_dir(&staging).map_err(SetupError::io(&staging))?;
    sync(dir)
}

impl Founder<'_> {
    /// Writes the organization's folder.
    pub(super) fn stage(
        &self,
        staging: &Path,
        cost: Cost,
        rng: &mut impl CryptoRng,
    ) -> Result<(), SetupError> {
        let folder = stage_folder(staging, &self.plan.ods, self.inception.bytes(), rng)?;
        let passphrase = Passphrase::generate(rng);
        let govern = Zeroizing::new(self.govern.expose_seed().to_vec());
        let govern = [(secret_names::GOVERN.to_owned(), govern)];
        write_keystore(&folder.join(GOVERN_KEYSTORE), &govern, &passphrase, cost, rng)?;
        write_passphrase(&folder.join(GOVERN_PASSPHRASE_FILE), &passphrase, rng)?;
        let passphrase = Passphrase::generate(rng);
        for (file, name, key) in [
            (ROOT_KEYSTORE, secret_names::ROOT, &self.root),
            (NEXT_ROOT_KEYSTORE, secret_names::NEXT_ROOT, &self.next_root),
        ] {
            let secrets = [(name.to_owned(), Zeroizing::new(key.expose_seed().to_vec()))];
            write_keystore(&folder.join(file), &secrets, &passphrase, cost, rng)?;
        }
        write_passphrase(&folder.join(ROOT_PASSPHRASE_FILE), &passphrase, rng)?;
        sync(&folder)
    }
}

/// Writes what of an organization's folder every node that serves it needs: whose it is, and a token
/// that is drawn here. Returns the folder.
pub(super) fn stage_folder(
    staging: &Path,
    ods: &OdsCode,
    inception: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<PathBuf, SetupError> {
    let folder = organization_dir(staging, ods);
    private_directory(&staging.join(ORGANIZATIONS_DIRECTORY))?;
    private_directory(&folder)?;
    let mut token = Zeroizing::new([0_u8; TOKEN_BYTES]);
    rng.fill_bytes(&mut *token);
    let token = Zeroizing::new(hex::encode(*token) + "\n");
    write(&folder.join(API_TOKEN_FILE), token.as_bytes(), 0o600)?;
    write(&folder.join(INCEPTION_FILE), inception, 0o644)?;
    sync(&folder)?;
    Ok(folder)
}

pub(super) fn write_keystore(
    path: &Path,
    secrets: &[(String, Zeroizing<Vec<u8>>)],
    passphrase: &Passphrase,
    cost: Cost,
    rng: &mut impl CryptoRng,
) -> Result<(), SetupError> {
    let mut keystore = Keystore::new();
    for (name, secret) in secrets {
        keystore.insert(name, secret).expect("names are short and distinct, and so are secrets");
    }
    keystore
        .write(path, passphrase, cost, rng)
        .map_err(|source| SetupError::Keystore { path: path.to_owned(), source })
}

pub(super) fn write_passphrase(
    path: &Path,
    passphrase: &Passphrase,
    rng: &mut impl CryptoRng,
) -> Result<(), SetupError> {
    let written = passphrase.write_file(path, rng).map_err(io::Error::other);
    written.map_err(SetupError::io(path))
}

/// Makes a directory, and its parents, that its owner alone may enter.
pub(super) fn private_directory(dir: &Path) -> Result<(), SetupError> {
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

/// Writes a file of a directory, or writes it anew: it is there whole or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), SetupError> {
    let partial = path.with_extension("partial");
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(SetupError::Io { path: partial, source: error });
        }
        _ => {}
    }
    write(&partial, bytes, 0o644)?;
    fs::rename(&partial, path).map_err(SetupError::io(path))?;
    path.parent().map_or(Ok(()), sync)
}

/// Makes the names in a directory survive a crash.
pub(super) fn sync(dir: &Path) -> Result<(), SetupError> {
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(SetupError::io(dir))
}
