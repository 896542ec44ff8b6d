//! The keys that an admin signs with, and no daemon ever opens.

use std::path::Path;

use signpost_keys::{
    SecretKey,
    keystore::{Keystore, KeystoreError, Passphrase},
};

use super::{GOVERN_KEYSTORE, ROOT_KEYSTORE, SetupError, opening::secret, secret_names};

/// A key of an admin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminKey {
    /// Approves what the network decides.
    Govern,
    /// Vouches for all other keys of the organization.
    Root,
}

/// Opens a key of an admin: from `keystore`, else from where a founding puts it in the
/// organization's `folder`. The passphrase is in `passphrase`, else in the file that is named like
/// the keystore. Takes as long as the keystore's cost says, on purpose.
///
/// # Errors
/// Names the file at fault; see [`SetupError::hint`].
///
/// # Panics
/// When there is neither a keystore nor a folder.
pub fn admin_key(
    folder: Option<&Path>,
    which: AdminKey,
    keystore: Option<&Path>,
    passphrase: Option<&Path>,
) -> Result<SecretKey, SetupError> {
    let (file, name) = match which {
        AdminKey::Govern => (GOVERN_KEYSTORE, secret_names::GOVERN),
        AdminKey::Root => (ROOT_KEYSTORE, secret_names::ROOT),
    };
    let path = match (keystore, folder) {
        (Some(path), _) => path.to_owned(),
        (None, Some(folder)) => folder.join(file),
        (None, None) => unreachable!("without a keystore there is a folder to look in"),
    };
    let passphrase_file = match passphrase {
        Some(path) => path.to_owned(),
        None => path.with_extension("passphrase"),
    };
    // The keystore first: that it is not here is the likelier news.
    if let Err(source) = std::fs::metadata(&path) {
        return Err(SetupError::Io { path, source });
    }
    let passphrase = Passphrase::read_file(&passphrase_file)
        .map_err(|source| SetupError::Passphrase { path: passphrase_file, source })?;
    let keystore = match Keystore::read(&path, &passphrase) {
        Ok(keystore) => keystore,
        Err(KeystoreError::File(source)) => return Err(SetupError::KeystoreFile(source)),
        Err(source) => return Err(SetupError::Keystore { path, source }),
    };
    Ok(SecretKey::from_seed(&*secret(&keystore, &path, name)?))
}
