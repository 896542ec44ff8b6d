//! Named secrets in one encrypted file: private keys, the blinding share, the storage key.
//!
//! A node must be rebuildable from its keystore, its pointers and its peers (DESIGN: "what must
//! always hold"), so every long-lived secret is here and nowhere else on disk.
//!
//! What it guarantees:
//! - The file shows nothing but its size to whoever lacks the passphrase, and any change to it is
//!   detected: XChaCha20-Poly1305 under a key from Argon2id (RFC 9106), header included.
//! - On disk it is readable by its owner alone, from the first byte; a file that others may read is
//!   refused, since its secrets may be gone already.
//! - Writing replaces the old file whole or not at all.
//! - Secrets are wiped from memory on drop, and none shows in `Debug` or an error.
//! - A hostile file costs at most [`Cost`]'s caps.
//!
//! What it leaves to others: what the secrets mean, where the passphrase comes from, and back-up.
//! A thief who has both file and passphrase has everything.

mod cost;
mod error;
mod format;
mod passphrase;
mod private_file;

pub use cost::Cost;
pub use error::{InsertError, KeystoreError};
pub use passphrase::{Passphrase, PassphraseError};
pub use private_file::FileError;

use std::{collections::BTreeMap, fmt, path::Path};

use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// Secrets in one keystore. A supplier that hosts hundreds of practices keeps a handful for each.
pub const SECRETS_MAX: usize = 4096;

/// Bytes of one secret. Keys are 32; the rest is room for a wrapped key with its description.
pub const SECRET_BYTES_MAX: usize = 1024;

/// Characters of a name: room for a use, an organization and a key id in hexadecimal.
pub const NAME_CHARS_MAX: usize = 160;

/// Named secrets, in memory. [`Keystore::write`] puts them in an encrypted file.
#[derive(Default)]
pub struct Keystore {
    secrets: BTreeMap<String, Secret>,
}

/// A secret's bytes. Deliberately without `Debug`, `Display`, `Clone` or any serialization.
struct Secret(Zeroizing<Box<[u8]>>);

impl Keystore {
    /// An empty keystore.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a secret under a name of lower-case letters, digits and `-`, such as `root`, `pointer`
    /// or `blinding-share`.
    ///
    /// # Errors
    /// When the name is taken (a key overwritten by mistake may be the only copy: [`Self::remove`]
    /// it first) or not of that form, the secret is empty or too long, or there are too many.
    pub fn insert(&mut self, name: &str, secret: &[u8]) -> Result<(), InsertError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(allowed) {
            return Err(InsertError::Name);
        }
        if secret.is_empty() || secret.len() > SECRET_BYTES_MAX {
            return Err(InsertError::Size { got: secret.len() });
        }
        if self.secrets.contains_key(name) {
            return Err(InsertError::Taken(name.to_owned()));
        }
        if self.secrets.len() >= SECRETS_MAX {
            return Err(InsertError::TooMany);
        }
        self.secrets.insert(name.to_owned(), Secret(Zeroizing::new(secret.into())));
        Ok(())
    }

    /// The secret under a name. Whoever copies it wipes the copy.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.secrets.get(name).map(|secret| &secret.0[..])
    }

    /// Removes and wipes a secret; whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        self.secrets.remove(name).is_some()
    }

    /// The names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.secrets.keys().map(String::as_str)
    }

    /// The bytes of an encrypted file. Takes as long as `cost` says, on purpose: call it off the
    /// event loop.
    ///
    /// # Errors
    /// When the memory that `cost` asks for cannot be had.
    pub fn seal(
        &self,
        passphrase: &Passphrase,
        cost: Cost,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, KeystoreError> {
        format::seal(self, passphrase, cost, rng)
    }

    /// Opens the bytes of an encrypted file. Takes as long as sealing them did.
    ///
    /// # Errors
    /// When the passphrase is wrong, or the bytes are damaged, of another version, or too costly.
    pub fn open(bytes: &[u8], passphrase: &Passphrase) -> Result<Self, KeystoreError> {
        format::open(bytes, passphrase)
    }

    /// Seals into a file of mode 0600, which replaces what was at `path` whole or not at all, and
    /// is on disk when this returns.
    ///
    /// # Errors
    /// As [`Self::seal`], and when the file cannot be written.
    pub fn write(
        &self,
        path: &Path,
        passphrase: &Passphrase,
        cost: Cost,
        rng: &mut impl CryptoRng,
    ) -> Result<(), KeystoreError> {
        let bytes = self.seal(passphrase, cost, rng)?;
        Ok(private_file::replace(path, &bytes, rng)?)
    }

    /// What guessing the passphrase of a file costs, so that a changed keystore is written as dear as
    /// it was.
    ///
    /// # Errors
    /// When the file cannot be read, or is no keystore of a version and cost that is understood.
    pub fn cost_of(path: &Path) -> Result<Cost, KeystoreError> {
        format::cost(&private_file::read(path, format::FILE_BYTES_MAX)?)
    }

    /// Opens a file.
    ///
    /// # Errors
    /// As [`Self::open`], and when the file cannot be read, or other users could read or change it.
    pub fn read(path: &Path, passphrase: &Passphrase) -> Result<Self, KeystoreError> {
        let bytes = private_file::read(path, format::FILE_BYTES_MAX)?;
        Self::open(&bytes, passphrase)
    }
}

impl fmt::Debug for Keystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keystore ")?;
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_kept_by_name() {
        let mut keystore = Keystore::new();
        keystore.insert("transport", &[2; 32]).unwrap();
        keystore.insert("pointer", &[1; 32]).unwrap();
        assert_eq!(keystore.names().collect::<Vec<_>>(), ["pointer", "transport"]);
        assert_eq!(keystore.get("pointer"), Some(&[1; 32][..]));
        assert_eq!(keystore.get("root"), None);
        assert!(keystore.remove("pointer"));
        assert!(!keystore.remove("pointer"));
        assert_eq!(keystore.get("pointer"), None);
    }

    #[test]
    fn no_secret_is_overwritten() {
        let mut keystore = Keystore::new();
        keystore.insert("root", &[1]).unwrap();
        assert!(matches!(keystore.insert("root", &[2]), Err(InsertError::Taken(_))));
        assert_eq!(keystore.get("root"), Some(&[1][..]));
    }

    #[test]
    fn names_sizes_and_number_are_bounded() {
        let mut keystore = Keystore::new();
        let longest = "a".repeat(NAME_CHARS_MAX);
        for name in ["", "Root", "a b", "a/b", "clé", &"a".repeat(NAME_CHARS_MAX + 1)] {
            assert!(matches!(keystore.insert(name, &[1]), Err(InsertError::Name)), "{name}");
        }
        for got in [0, SECRET_BYTES_MAX + 1] {
            let result = keystore.insert("root", &vec![1; got]);
            assert!(matches!(result, Err(InsertError::Size { got: said }) if said == got));
        }
        keystore.insert(&longest, &[1; SECRET_BYTES_MAX]).unwrap();
        for number in 1..SECRETS_MAX {
            keystore.insert(&format!("key-{number}"), &[1]).unwrap();
        }
        assert!(matches!(keystore.insert("root", &[1]), Err(InsertError::TooMany)));
    }

    #[test]
    fn debug_shows_names_only() {
        let mut keystore = Keystore::new();
        keystore.insert("root", &[171; 32]).unwrap();
        assert_eq!(format!("{keystore:?}"), r#"Keystore {"root"}"#);
    }
}
